//! A night at a glance, in one answer: what the first view of the console shows.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::concerns::{Concern, concerns, count};
use super::error::{ApiError, ErrorBody};
use super::params::{self, Params};
use super::story::StatusBody;
use crate::catalogue::views::{FrameMark, LastSpectrum, NightReport, QueuedJob, SetMark};

/// Nights that can be chosen.
const NIGHTS: i64 = 60;

/// Which night.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TonightQuery {
    /// Night, `YYYY-MM-DD`; the present one, or the newest with files, when left out.
    #[param(example = "2026-03-10")]
    night: Option<String>,
}

/// An archive or health monitor and what is under way to it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SinkBody {
    /// Name.
    pub name: String,
    /// Confirmed by its own record.
    pub confirmed: i64,
    /// Queued or being sent.
    pub under_way: i64,
    /// Held until somebody releases it.
    pub held: i64,
    /// Refused.
    pub parked: i64,
    /// No longer to be sent: superseded or withdrawn.
    pub cancelled: i64,
    /// Age of the oldest that is not confirmed, seconds; none when nothing waits.
    pub oldest_s: Option<f64>,
}

/// Room on a disk.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DiskBody {
    /// What lies there.
    pub what: String,
    /// Free bytes.
    pub free: u64,
    /// All bytes.
    pub total: u64,
    /// Below so many free bytes no recipe is started; 0 where that does not matter.
    pub floor: u64,
}

/// A night at a glance.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TonightBody {
    /// The night that is shown.
    pub night: String,
    /// It is the present one.
    pub present: bool,
    /// Nights that have files, newest first.
    pub nights: Vec<String>,
    /// What needs somebody, the worst first; empty when all is well.
    pub concerns: Vec<Concern>,
    /// State of everything.
    pub status: StatusBody,
    /// Account of the night.
    pub report: NightReport,
    /// Frames, newest first.
    pub frames: Vec<FrameMark>,
    /// Sets, newest first.
    pub sets: Vec<SetMark>,
    /// What runs and waits.
    pub queue: Vec<QueuedJob>,
    /// The newest spectrum.
    pub spectrum: Option<LastSpectrum>,
    /// Archives and health monitors.
    pub sinks: Vec<SinkBody>,
    /// Room on disks.
    pub disks: Vec<DiskBody>,
}

/// A night at a glance.
#[utoipa::path(
    get,
    path = "/api/v1/tonight",
    tag = "status",
    summary = "A night at a glance",
    description = "Frames and sets in time, the queue with expected ends, the newest spectrum, deliveries, disk, and what \
                   needs a person. Without `night` the present night, or the newest with files when nothing has come yet.",
    params(TonightQuery),
    responses(
        (status = 200, description = "The night", body = TonightBody),
        (status = 400, description = "Not a night", body = ErrorBody),
        (status = 503, description = "The catalogue does not answer in time", body = ErrorBody),
    )
)]
pub(super) async fn tonight(
    State(app): State<App>,
    Params(query): Params<TonightQuery>,
) -> Result<Json<TonightBody>, ApiError> {
    let reader = &app.reader;
    let status = app.within(reader.status()).await?;
    let nights = app.within(reader.newest_nights(NIGHTS)).await?;
    let night = match &query.night {
        Some(night) => params::night("night", night)?,
        None if nights.contains(&status.night) => status.night.clone(),
        None => nights.first().unwrap_or(&status.night).clone(),
    };
    let late: Vec<String> = app.liveness.late().iter().map(ToString::to_string).collect();
    let undelivered = app.within(reader.undelivered_ages()).await?;
    let ready = app.within(reader.ready_age()).await?;
    let mut names: Vec<&str> =
        status.deliveries.iter().filter_map(|count| count.name.rsplit_once('/').map(|(sink, _)| sink)).collect();
    names.dedup();
    let sinks = names.into_iter().map(|name| {
        let of = |state: &str| count(&status.deliveries, &format!("{name}/{state}"));
        SinkBody {
            name: name.to_string(),
            confirmed: of("confirmed"),
            under_way: ["queued", "sending", "unknown", "buffered", "sent"].into_iter().map(of).sum(),
            held: of("held"),
            parked: of("parked"),
            cancelled: of("cancelled"),
            oldest_s: undelivered.iter().find(|oldest| oldest.group == name).map(|oldest| oldest.seconds),
        }
    });
    Ok(Json(TonightBody {
        present: night == status.night,
        concerns: concerns(&status, &late, &undelivered, ready),
        report: app.within(reader.night_report(&night)).await?,
        frames: app.within(reader.night_frames(&night)).await?,
        sets: app.within(reader.night_sets(&night)).await?,
        queue: app.within(reader.queue(app.site.jobs)).await?,
        spectrum: app.within(reader.last_spectrum()).await?,
        sinks: sinks.collect(),
        disks: disks(&app).await,
        nights,
        night,
        status: StatusBody { process: app.info.clone(), late, catalogue: status },
    }))
}

/// Room where products and raw frames are. A dying disk can keep statvfs waiting: it waits on a thread of its own, and
/// what does not answer in time is left out.
async fn disks(app: &App) -> Vec<DiskBody> {
    let (work, floor) = (app.site.workspace.root.clone(), app.site.min_free_mib << 20);
    let look = tokio::task::spawn_blocking(move || {
        rustix::fs::statvfs(&work).ok().map(|disk| DiskBody {
            what: "work folder".to_string(),
            free: disk.f_bavail.saturating_mul(disk.f_frsize),
            total: disk.f_blocks.saturating_mul(disk.f_frsize),
            floor,
        })
    });
    match tokio::time::timeout(super::QUERY_BUDGET, look).await {
        Ok(Ok(disk)) => disk.into_iter().collect(),
        _ => Vec::new(),
    }
}
