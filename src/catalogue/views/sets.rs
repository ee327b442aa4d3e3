//! Sets of frames with their template and their present job.

use serde::Serialize;
use sqlx::FromRow;

use super::{Filter, Select};
use crate::catalogue::{Catalogue, During, Result};

/// A set of frames.
#[derive(Clone, Debug, Serialize, FromRow, utoipa::ToSchema)]
pub struct SetRow {
    /// Row id.
    pub id: i64,
    /// Stem of its SOF and products.
    pub name: String,
    /// Recipe.
    pub recipe: String,
    /// Arm.
    pub arm: String,
    /// Night.
    pub night: String,
    /// OBJECT.
    pub object: String,
    /// Frames in it.
    pub n_frames: i64,
    /// Exposures planned in its template (`ESO TPL NEXP`).
    pub n_planned: i64,
    /// Exposures of the template that have been seen.
    pub n_seen: i64,
    /// `open`, `complete`, `partial`, `short` or `empty`.
    pub state: String,
    /// Why it is partial or short, or what it waits for.
    pub why: String,
    /// Start of its first exposure, MJD (UTC).
    pub mjd_first: f64,
    /// Row id of its present job.
    pub job_id: Option<i64>,
    /// State of that job.
    pub job_state: Option<String>,
    /// What that job waits for; empty when it does not wait.
    pub waits_for: String,
    /// Until when it waits.
    pub deadline_us: Option<i64>,
    /// Error of that job; empty when there is none.
    pub error: String,
    /// Current products.
    pub n_products: i64,
    /// When its content last changed.
    pub changed_us: i64,
}

const SELECT: &str = "SELECT id, name, recipe, arm, night, object, n_frames, n_planned, n_seen, state, why, mjd_first, job_id, job_state,
                    CASE WHEN job_state = 'waiting' THEN waits_for ELSE '' END AS waits_for,
                    CASE WHEN job_state = 'waiting' THEN deadline_us END AS deadline_us,
                    coalesce(job_error, '') AS error, n_products, changed_us
             FROM set_account";

/// States of sets; all others are states of jobs.
const OWN_STATES: [&str; 5] = ["open", "complete", "partial", "short", "empty"];

fn state_column(filter: &Filter) -> &'static str {
    if filter.state.as_deref().is_some_and(|state| OWN_STATES.contains(&state)) { "state" } else { "job_state" }
}

impl Select {
    /// Only sets that have a job in the state that is asked for: an index answers that, which the present job is not
    /// looked up from.
    fn set_of_job_in(mut self, filter: &Filter) -> Select {
        if let Some(state) = filter.state.as_ref().filter(|_| state_column(filter) == "job_state") {
            let builder = self.condition();
            builder.push("id IN (SELECT set_id FROM job WHERE state = ").push_bind(state.clone()).push(")");
        }
        self
    }
}

impl Catalogue {
    /// Sets, newest first. Sets whose frames have all moved elsewhere are listed only when asked for by state `empty`.
    pub async fn sets(&self, filter: &Filter) -> Result<Vec<SetRow>> {
        Select::new(SELECT)
            .equal("night", filter.night.as_deref())
            .arm("arm", filter)
            .equal(state_column(filter), filter.state.as_deref())
            .set_of_job_in(filter)
            .equal("recipe", filter.recipe.as_deref())
            .only("state <> 'empty'", filter.state.as_deref() != Some("empty"))
            .any_contains(&["name", "object"], filter.text.as_deref())
            .page("id", filter)
            .build_query_as()
            .fetch_all(self.reader())
            .await
            .during("list sets")
    }

    /// A set by its row id.
    pub async fn set_row(&self, id: i64) -> Result<Option<SetRow>> {
        Select::new(SELECT)
            .id("id", id)
            .builder
            .build_query_as()
            .fetch_optional(self.reader())
            .await
            .during("read a set")
    }
}
