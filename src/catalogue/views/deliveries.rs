//! Deliveries, and the journal of what operators did.

use serde::Serialize;
use sqlx::FromRow;

use super::{Filter, Select};
use crate::catalogue::{Catalogue, During, Result};

/// One item for one archive or health monitor.
#[derive(Clone, Debug, Serialize, FromRow, utoipa::ToSchema)]
pub struct DeliveryRow {
    /// Row id.
    pub id: i64,
    /// Name of the archive or monitor.
    pub sink: String,
    /// `archive` or `health`.
    pub kind: String,
    /// Name in the archive, or the idempotency key of metrics.
    pub key: String,
    /// Row id of the product; none for metrics.
    pub product_id: Option<i64>,
    /// Row id of the job.
    pub job_id: i64,
    /// Name of the set.
    pub set_name: String,
    /// Arm.
    pub arm: String,
    /// Night.
    pub night: String,
    /// `held`, `queued`, `sending`, `unknown`, `buffered`, `sent`, `confirmed`, `parked` or `cancelled`.
    pub state: String,
    /// Sends so far.
    pub attempts: i64,
    /// Class of its error; empty when there is none.
    pub class: String,
    /// Its error; empty when there is none.
    pub error: String,
    /// The other side's record, JSON.
    pub receipt: String,
    /// When it was queued.
    pub created_us: i64,
    /// When the other side's record agreed.
    pub confirmed_us: Option<i64>,
}

/// What an operator did.
#[derive(Clone, Debug, Serialize, FromRow, utoipa::ToSchema)]
pub struct ActRow {
    /// Row id.
    pub id: i64,
    /// When.
    pub at_us: i64,
    /// Who.
    pub who: String,
    /// `retry`, `hold`, `release`, `reprocess`, `reject`, `accept` or `withdraw`.
    pub act: String,
    /// On what.
    pub target: String,
    /// Why, as the operator said; empty when nothing was said.
    pub why: String,
    /// What came of it.
    pub result: String,
}

const SELECT: &str = "SELECT d.id, d.sink, d.kind, d.key, d.product_id, d.job_id, s.name AS set_name, s.arm, s.night, d.state, d.attempts,
                    d.class, d.error, d.receipt, d.created_us, d.confirmed_us
             FROM delivery d JOIN job j ON j.id = d.job_id JOIN frame_set s ON s.id = j.set_id";

impl Catalogue {
    /// Deliveries, newest first.
    pub async fn deliveries(&self, filter: &Filter) -> Result<Vec<DeliveryRow>> {
        Select::new(SELECT)
            .equal("s.night", filter.night.as_deref())
            .arm("s.arm", filter)
            .any_equal(&["d.state", "d.kind"], filter.state.as_deref())
            .equal("d.sink", filter.recipe.as_deref())
            .any_contains(&["d.key", "s.name"], filter.text.as_deref())
            .page("d.id", filter)
            .build_query_as()
            .fetch_all(self.reader())
            .await
            .during("list deliveries")
    }

    /// What operators did, newest first.
    pub async fn operator_acts(&self, limit: i64) -> Result<Vec<ActRow>> {
        sqlx::query_as("SELECT id, at_us, who, act, target, why, result FROM operator_act ORDER BY id DESC LIMIT ?1")
            .bind(limit)
            .fetch_all(self.reader())
            .await
            .during("list what operators did")
    }

    /// A delivery by its row id.
    pub async fn delivery_row(&self, id: i64) -> Result<Option<DeliveryRow>> {
        Select::new(SELECT)
            .id("d.id", id)
            .builder
            .build_query_as()
            .fetch_optional(self.reader())
            .await
            .during("read a delivery")
    }

    /// Every delivery of what was made from a set.
    pub async fn deliveries_of_set(&self, id: i64) -> Result<Vec<DeliveryRow>> {
        Select::new(SELECT)
            .id("s.id", id)
            .builder
            .push(" ORDER BY d.id")
            .build_query_as()
            .fetch_all(self.reader())
            .await
            .during("list the deliveries of a set")
    }

    /// Every delivery of a product.
    pub async fn deliveries_of_product(&self, id: i64) -> Result<Vec<DeliveryRow>> {
        Select::new(SELECT)
            .id("d.product_id", id)
            .builder
            .push(" ORDER BY d.id")
            .build_query_as()
            .fetch_all(self.reader())
            .await
            .during("list the deliveries of a product")
    }
}
