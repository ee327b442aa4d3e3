//! Files and what became of them: every file below the raw roots exactly once.

use serde::Serialize;
use sqlx::FromRow;

use super::{Filter, Select};
use crate::catalogue::{Catalogue, During, Result};

/// A file, the frame that it carries, and what became of it.
#[derive(Clone, Debug, Serialize, FromRow, utoipa::ToSchema)]
pub struct FrameRow {
    /// Row id of the file.
    pub id: i64,
    /// Absolute path.
    pub path: String,
    /// File name.
    pub name: String,
    /// Size in bytes.
    pub size: i64,
    /// `waiting`, `accepted`, `duplicate`, `superseded`, `quarantined`, `ignored` or `gone`.
    pub state: String,
    /// Stable code of the reason; empty when there is none.
    pub code: String,
    /// Why the file is in this state; empty when there is nothing to say.
    pub reason: String,
    /// When it was first seen.
    pub first_seen_us: i64,
    /// Data id of the frame; none when the file has not been read as one.
    pub data_id: Option<String>,
    /// Arm.
    pub arm: Option<String>,
    /// Night of products. A file without a readable frame has the night of its name, else of its arrival.
    pub night: Option<String>,
    /// Version of the frame's content, from 1.
    pub version: Option<i64>,
    /// Name of the classification rule that matched.
    pub kind: Option<String>,
    /// `reduce`, `register` or `ignore`.
    pub usage: Option<String>,
    /// Recipe that consumes it.
    pub recipe: Option<String>,
    /// Exposure time in seconds.
    pub exptime: Option<f64>,
    /// OBJECT.
    pub object: Option<String>,
    /// Start of the exposure.
    pub date_obs_us: Option<i64>,
    /// Row id of its set.
    pub set_id: Option<i64>,
    /// Name of its set.
    pub set_name: Option<String>,
    /// State of its set.
    pub set_state: Option<String>,
    /// Row id of its set's job.
    pub job_id: Option<i64>,
    /// State of that job.
    pub job_state: Option<String>,
    /// What became of it: `pending`, `reduced`, `partial`, `flagged`, `unreduced`, `failed`, `registered`, `ignored`,
    /// or the state of a file that carries no frame's current content.
    pub outcome: String,
    /// Why; empty for a frame that was reduced.
    pub outcome_why: String,
    /// All products of its set are confirmed by every archive they were queued for.
    pub delivered: bool,
}

const SELECT: &str =
    "SELECT id, path, name, size, state, code, reason, first_seen_us, data_id, arm, night, version, kind, usage,
                    recipe, exptime, object, date_obs_us, set_id, set_name, set_state, job_id, job_state, outcome,
                    coalesce(outcome_why, '') AS outcome_why, delivered
             FROM file_account";

/// A condition that every file in a state or with an outcome fulfils, and that an index answers: what became of a file is
/// worked out row by row, which takes too long over all files when few of them are meant.
fn narrowed(state: Option<&str>) -> &'static str {
    match state.unwrap_or_default() {
        "quarantined" => "state = 'quarantined'",
        "waiting" => "state = 'waiting'",
        "duplicate" => "state = 'duplicate'",
        "superseded" => "state = 'superseded'",
        "gone" => "state = 'gone'",
        "failed" => "id IN (SELECT file_id FROM file_of_job WHERE job_state IN ('parked', 'failed'))",
        "flagged" => "id IN (SELECT file_id FROM file_of_job WHERE job_state = 'flagged')",
        "registered" => {
            "id IN (SELECT w.id FROM frame_version u JOIN file w ON w.version_id = u.id WHERE u.usage = 'register')"
        }
        _ => "1",
    }
}

impl Catalogue {
    /// Files, newest first.
    pub async fn frames(&self, filter: &Filter) -> Result<Vec<FrameRow>> {
        Select::new(SELECT)
            .equal("night", filter.night.as_deref())
            .arm("arm", filter)
            .only(narrowed(filter.state.as_deref()), filter.state.is_some())
            .any_equal(&["state", "outcome"], filter.state.as_deref())
            .equal("recipe", filter.recipe.as_deref())
            .any_contains(&["name", "data_id", "object"], filter.text.as_deref())
            .page("id", filter)
            .build_query_as()
            .fetch_all(self.reader())
            .await
            .during("list frames")
    }

    /// A file by its row id.
    pub async fn frame_row(&self, id: i64) -> Result<Option<FrameRow>> {
        Select::new(SELECT)
            .id("id", id)
            .builder
            .build_query_as()
            .fetch_optional(self.reader())
            .await
            .during("read a file")
    }
}
