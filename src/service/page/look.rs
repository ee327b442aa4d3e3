//! What the page shows, gathered at one moment.

use crate::catalogue::measures::Seconds;
use crate::catalogue::views::{Filter, FrameRow, JobRow, NightReport, ProductRow, SetRow, StatusView};
use crate::service::concerns::{Concern, concerns};
use crate::service::error::ApiError;
use crate::service::{App, ServiceInfo};

/// Rows of each table.
const ROWS: i64 = 12;

/// Everything the page shows.
pub(super) struct Look {
    pub info: ServiceInfo,
    pub late: Vec<String>,
    pub status: StatusView,
    /// Account of tonight, or of the night of the newest file when nothing has come tonight.
    pub report: NightReport,
    pub open_sets: Vec<SetRow>,
    pub waiting_jobs: Vec<JobRow>,
    pub stopped_jobs: Vec<JobRow>,
    pub products: Vec<ProductRow>,
    pub quarantined: Vec<FrameRow>,
    /// Age of the oldest undelivered item per sink.
    pub undelivered: Vec<Seconds>,
    pub oldest_ready_s: Option<f64>,
}

impl Look {
    /// Read everything, each query within its budget.
    pub async fn take(app: &App) -> Result<Look, ApiError> {
        let reader = &app.reader;
        let in_state = |state: &str| Filter { state: Some(state.to_string()), limit: ROWS, ..Filter::default() };
        let status = app.within(reader.status()).await?;
        let mut report = app.within(reader.night_report(&status.night)).await?;
        if report.files == 0 {
            let newest = app.within(reader.frames(&Filter { limit: 1, ..Filter::default() })).await?;
            if let Some(night) = newest.into_iter().next().and_then(|file| file.night) {
                report = app.within(reader.night_report(&night)).await?;
            }
        }
        let mut stopped_jobs = app.within(reader.jobs(&in_state("failed"))).await?;
        stopped_jobs.extend(app.within(reader.jobs(&in_state("parked"))).await?);
        Ok(Look {
            info: app.info.clone(),
            late: app.liveness.late().iter().map(ToString::to_string).collect(),
            open_sets: app.within(reader.sets(&in_state("open"))).await?,
            waiting_jobs: app.within(reader.jobs(&in_state("waiting"))).await?,
            stopped_jobs,
            products: app.within(reader.products(&Filter { limit: ROWS, ..Filter::default() })).await?,
            quarantined: app.within(reader.frames(&in_state("quarantined"))).await?,
            undelivered: app.within(reader.undelivered_ages()).await?,
            oldest_ready_s: app.within(reader.ready_age()).await?,
            status,
            report,
        })
    }

    /// Everything worth a sentence, the worst first.
    pub fn concerns(&self) -> Vec<Concern> {
        concerns(&self.status, &self.late, &self.undelivered, self.oldest_ready_s)
    }
}
