//! Metrics with their ranges and verdicts.

use serde::Serialize;
use sqlx::FromRow;

use super::{Filter, Select};
use crate::catalogue::{Catalogue, During, Result};

/// A metric of a job.
#[derive(Clone, Debug, Serialize, FromRow, utoipa::ToSchema)]
pub struct QcRow {
    /// Row id.
    pub id: i64,
    /// Row id of its job.
    pub job_id: i64,
    /// Name of its set.
    pub set_name: String,
    /// Recipe.
    pub recipe: String,
    /// Arm.
    pub arm: String,
    /// Night.
    pub night: String,
    /// Metric.
    pub name: String,
    /// `-1` for a global value, else the order.
    pub qc_order: String,
    /// Value; none when it could not be measured.
    pub value: Option<f64>,
    /// Why there is no value; empty when there is one.
    pub absent: String,
    /// Unit.
    pub unit: String,
    /// What it is.
    pub comment: String,
    /// `pass`, `warn` or `fail`.
    pub verdict: String,
    /// Lower limit, inclusive.
    pub min: Option<f64>,
    /// Upper limit, inclusive.
    pub max: Option<f64>,
    /// Start of the set's first exposure.
    pub at_us: i64,
}

const SELECT: &str = "SELECT q.id, q.job_id, s.name AS set_name, q.recipe, s.arm, s.night, q.name, q.qc_order, q.value, q.absent, q.unit,
                    q.comment, q.verdict, q.min, q.max, q.at_us
             FROM qc q JOIN job j ON j.id = q.job_id JOIN frame_set s ON s.id = j.set_id";

impl Catalogue {
    /// Metrics of the newest jobs first; within a job global values before order-resolved ones. Superseded jobs are left
    /// out.
    pub async fn qc(&self, filter: &Filter) -> Result<Vec<QcRow>> {
        let mut select = Select::new(SELECT)
            .equal("s.night", filter.night.as_deref())
            .arm("s.arm", filter)
            .equal("q.verdict", filter.state.as_deref())
            .equal("q.recipe", filter.recipe.as_deref())
            .only("j.state <> 'superseded'", true)
            .any_contains(&["q.name", "s.name"], filter.text.as_deref());
        if let Some(after) = filter.after {
            let last: Option<(i64, bool)> = sqlx::query_as("SELECT job_id, qc_order <> '-1' FROM qc WHERE id = ?1")
                .bind(after)
                .fetch_optional(self.reader())
                .await
                .during("find the last metric of a page")?;
            let (job, by_order) = last.unwrap_or((0, false));
            let builder = select.condition();
            builder.push("q.job_id <= ").push_bind(job);
            builder.push(" AND (q.job_id < ").push_bind(job);
            builder
                .push(" OR (q.qc_order <> '-1', q.id) > (")
                .push_bind(by_order)
                .push(", ")
                .push_bind(after)
                .push("))");
        }
        let mut builder = select.builder;
        builder.push(" ORDER BY q.job_id DESC, q.qc_order <> '-1', q.id LIMIT ").push_bind(filter.limit.max(0));
        builder.build_query_as().fetch_all(self.reader()).await.during("list metrics")
    }

    /// Every metric of a job.
    pub async fn qc_of_job(&self, id: i64) -> Result<Vec<QcRow>> {
        Select::new(SELECT)
            .id("q.job_id", id)
            .builder
            .push(" ORDER BY q.qc_order <> '-1', q.id")
            .build_query_as()
            .fetch_all(self.reader())
            .await
            .during("list the metrics of a job")
    }
}
