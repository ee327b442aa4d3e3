//! The tables: the same rows that the command line prints, in pages.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::App;
use super::error::{ApiError, ErrorBody};
use super::params::{Params, TableQuery};
use crate::catalogue;
use crate::catalogue::views::{DeliveryRow, Filter, FrameRow, JobRow, ProductRow, QcRow, SetRow};

/// States of files, and outcomes of the frames that they carry.
const FRAME_STATES: &[&str] = &[
    "waiting",
    "accepted",
    "duplicate",
    "superseded",
    "quarantined",
    "ignored",
    "gone",
    "pending",
    "reduced",
    "partial",
    "flagged",
    "unreduced",
    "failed",
    "registered",
];
/// States of sets, and of their jobs.
const SET_STATES: &[&str] = &[
    "open",
    "complete",
    "partial",
    "short",
    "empty",
    "waiting",
    "ready",
    "running",
    "done",
    "flagged",
    "parked",
    "failed",
    "unsupported",
    "held",
];
/// States of jobs.
const JOB_STATES: &[&str] =
    &["waiting", "ready", "running", "done", "flagged", "parked", "failed", "unsupported", "superseded", "held"];
/// States and verdicts of products.
const PRODUCT_STATES: &[&str] = &["current", "stale", "superseded", "bad", "pass", "warn", "fail"];
/// Verdicts of metrics.
const QC_STATES: &[&str] = &["pass", "warn", "fail"];
/// States and kinds of deliveries.
const DELIVERY_STATES: &[&str] = &[
    "held",
    "queued",
    "sending",
    "unknown",
    "buffered",
    "sent",
    "confirmed",
    "parked",
    "cancelled",
    "archive",
    "health",
];

/// A page of a table, newest rows first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Page<T> {
    /// Rows.
    pub rows: Vec<T>,
    /// Value of `after` for the next page; null when this is the last.
    pub next: Option<i64>,
}

/// A row that has an id.
trait Row {
    fn id(&self) -> i64;
}

macro_rules! rows {
    ($($row:ty),*) => {
        $(impl Row for $row {
            fn id(&self) -> i64 {
                self.id
            }
        })*
    };
}

rows!(FrameRow, SetRow, JobRow, ProductRow, QcRow, DeliveryRow);

/// Ask for one row more than the page has, so that `next` is there only when there is a next page.
async fn page<T: Row>(
    app: &App,
    query: TableQuery,
    states: &[&str],
    read: impl AsyncFnOnce(&Filter) -> catalogue::Result<Vec<T>>,
) -> Result<Json<Page<T>>, ApiError> {
    let mut filter = query.filter(states)?;
    let limit = usize::try_from(filter.limit).unwrap_or(0);
    filter.limit += 1;
    let mut rows = app.within(read(&filter)).await?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = if more { rows.last().map(Row::id) } else { None };
    Ok(Json(Page { rows, next }))
}

macro_rules! table {
    ($(#[$doc:meta])* $name:ident, $path:literal, $row:ty, $states:expr, $summary:literal, $description:literal) => {
        $(#[$doc])*
        #[utoipa::path(
            get,
            path = $path,
            tag = "tables",
            summary = $summary,
            description = $description,
            params(TableQuery),
            responses(
                (status = 200, description = "A page of rows, newest first", body = Page<$row>),
                (status = 400, description = "A parameter cannot be used; `detail.parameter` names it", body = ErrorBody),
                (status = 503, description = "The catalogue does not answer in time", body = ErrorBody),
            )
        )]
        pub(super) async fn $name(
            State(app): State<App>,
            Params(query): Params<TableQuery>,
        ) -> Result<Json<Page<$row>>, ApiError> {
            page(&app, query, $states, async |filter| app.reader.$name(filter).await).await
        }
    };
}

table!(
    /// Files and what became of them.
    frames, "/api/v1/frames", FrameRow, FRAME_STATES, "Raw files and frames",
    "Every file below the raw roots exactly once: the frame that it carries, its set, and what became of it."
);
table!(
    /// Sets of frames.
    sets, "/api/v1/sets", SetRow, SET_STATES, "Sets of frames",
    "Sets of frames with their template and their present job."
);
table!(
    /// Jobs.
    jobs, "/api/v1/jobs", JobRow, JOB_STATES, "Jobs",
    "One recipe on one content of one set, with its state, what it waits for, and its error."
);
table!(
    /// Products.
    products, "/api/v1/products", ProductRow, PRODUCT_STATES, "Products",
    "Products with their verdict, digests and deliveries."
);
table!(
    /// QC metrics.
    qc, "/api/v1/qc", QcRow, QC_STATES, "QC metrics",
    "Metrics with their limits and verdicts. A metric that could not be measured has no value and says why."
);
table!(
    /// Deliveries.
    deliveries, "/api/v1/deliveries", DeliveryRow, DELIVERY_STATES, "Deliveries",
    "What goes to which archive or health monitor, and what the other side's record says."
);
