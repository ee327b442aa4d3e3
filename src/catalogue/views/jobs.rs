//! Jobs: one recipe on one content of one set.

use serde::Serialize;
use sqlx::FromRow;

use super::{Filter, Select};
use crate::catalogue::{Catalogue, During, Result};

/// A job.
#[derive(Clone, Debug, Serialize, FromRow, utoipa::ToSchema)]
pub struct JobRow {
    /// Row id.
    pub id: i64,
    /// Row id of its set.
    pub set_id: i64,
    /// Name of its set.
    pub set_name: String,
    /// Recipe.
    pub recipe: String,
    /// Version of the recipe.
    pub recipe_version: String,
    /// Arm.
    pub arm: String,
    /// Night.
    pub night: String,
    /// `waiting`, `ready`, `running`, `done`, `flagged`, `parked`, `failed`, `unsupported`, `superseded` or `held`.
    pub state: String,
    /// Lower runs first.
    pub priority: i64,
    /// Runs begun.
    pub attempts: i64,
    /// How often the process died while it ran.
    pub crashes: i64,
    /// What it waits for; empty when it does not wait.
    pub waits_for: String,
    /// Until when it waits.
    pub deadline_us: Option<i64>,
    /// Not to be started before this time; 0 when there is none.
    pub not_before_us: i64,
    /// Worst validity level of its masters, 0 is best.
    pub level: Option<i64>,
    /// Class of its error; empty when there is none.
    pub class: String,
    /// Its error; empty when there is none.
    pub error: String,
    /// When it was made.
    pub created_us: i64,
    /// When it last began to run.
    pub started_us: Option<i64>,
    /// When it ended.
    pub finished_us: Option<i64>,
}

const SELECT: &str =
    "SELECT j.id, j.set_id, s.name AS set_name, j.recipe, j.recipe_version, s.arm, s.night, j.state, j.priority,
                    j.attempts, j.crashes, CASE WHEN j.state = 'waiting' THEN j.waits_for ELSE '' END AS waits_for,
                    CASE WHEN j.state = 'waiting' THEN j.deadline_us END AS deadline_us,
                    CASE WHEN j.state = 'ready' THEN j.not_before_us ELSE 0 END AS not_before_us,
                    j.level, j.class, j.error, j.created_us, j.started_us, j.finished_us
             FROM job j JOIN frame_set s ON s.id = j.set_id";

impl Catalogue {
    /// Jobs, newest first. Superseded ones are listed only when asked for by state.
    pub async fn jobs(&self, filter: &Filter) -> Result<Vec<JobRow>> {
        Select::new(SELECT)
            .equal("s.night", filter.night.as_deref())
            .arm("s.arm", filter)
            .equal("j.state", filter.state.as_deref())
            .only("j.state <> 'superseded'", filter.state.is_none())
            .equal("j.recipe", filter.recipe.as_deref())
            .any_contains(&["s.name", "s.object"], filter.text.as_deref())
            .page("j.id", filter)
            .build_query_as()
            .fetch_all(self.reader())
            .await
            .during("list jobs")
    }

    /// A job by its row id.
    pub async fn job_row(&self, id: i64) -> Result<Option<JobRow>> {
        Select::new(SELECT)
            .id("j.id", id)
            .builder
            .build_query_as()
            .fetch_optional(self.reader())
            .await
            .during("read a job")
    }
}
