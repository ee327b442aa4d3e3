//! What the page shows, gathered at one moment, and what follows from it: whether the daemon keeps up and what needs a
//! person.

use crate::catalogue::measures::Seconds;
use crate::catalogue::views::{Count, Filter, FrameRow, JobRow, NightReport, ProductRow, SetRow, StatusView};
use crate::service::error::ApiError;
use crate::service::{App, PAUSED_FACT, ServiceInfo};

/// Whatever waits longer than this is not kept up with: the time in which products are due at the archive.
const GOAL_S: f64 = 1800.0;
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

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Nothing to do.
    Good,
    /// Keeps up, and a person is asked to look at something.
    Person,
    /// Does not keep up.
    Behind,
}

/// One sentence of the banner.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Concern {
    pub level: Level,
    pub text: String,
    /// Section of the page that says more; empty when none does.
    pub section: &'static str,
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
        let mut concerns = self.delays();
        concerns.extend(self.tasks());
        concerns
    }

    /// Why it does not keep up.
    fn delays(&self) -> Vec<Concern> {
        let behind = |section, text| Concern { level: Level::Behind, text, section };
        let mut delays: Vec<Concern> = self.late.iter().map(|late| behind("", late.clone())).collect();
        if let Some(paused) = self.status.facts.iter().find(|fact| fact.name == PAUSED_FACT && !fact.value.is_empty()) {
            delays.push(behind("", format!("No recipe is started: {}", paused.value)));
        }
        if let Some(age) = self.oldest_ready_s.filter(|age| *age > GOAL_S) {
            delays.push(behind("now", format!("A set has been ready for {} and is not reduced yet", age_text(age))));
        }
        for sink in self.undelivered.iter().filter(|sink| sink.seconds > GOAL_S) {
            let text = format!("The oldest delivery to {} has waited {}", sink.group, age_text(sink.seconds));
            delays.push(behind("deliveries", text));
        }
        delays
    }

    /// What a person should look at.
    fn tasks(&self) -> Vec<Concern> {
        let status = &self.status;
        let parked_deliveries = suffix_count(&status.deliveries, "/parked");
        let held = count(&status.jobs, "held") + suffix_count(&status.deliveries, "/held");
        let tasks = [
            (count(&status.jobs, "failed"), "job", "stopped by a fault of the program", "stopped"),
            (count(&status.jobs, "parked"), "job", "given up, with an error", "stopped"),
            (count(&status.products, "current/fail"), "product", "with QC out of range", "products"),
            (parked_deliveries, "delivery", "that the other side refuses", "deliveries"),
            (count(&status.files, "quarantined"), "file", "in quarantine", "quarantine"),
            (held, "item", "held until somebody releases it", "now"),
        ];
        tasks
            .into_iter()
            .filter(|(n, ..)| *n > 0)
            .map(|(n, noun, what, section)| Concern {
                level: Level::Person,
                text: format!("{} {what}", counted(n, noun)),
                section,
            })
            .collect()
    }
}

/// The count of a name; 0 when it is not listed.
pub(super) fn count(counts: &[Count], name: &str) -> i64 {
    counts.iter().find(|count| count.name == name).map_or(0, |count| count.count)
}

/// Sum over the names that end so: `archive/parked`.
fn suffix_count(counts: &[Count], suffix: &str) -> i64 {
    counts.iter().filter(|count| count.name.ends_with(suffix)).map(|count| count.count).sum()
}

/// `1 file`, `2 files`, `3 deliveries`.
pub(super) fn counted(n: i64, noun: &str) -> String {
    match (n, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) => format!("{n} {stem}ies"),
        (_, None) => format!("{n} {noun}s"),
    }
}

/// `42 s`, `7 min`, `3 h 05 min`, `2 d 4 h`.
pub(super) fn age_text(seconds: f64) -> String {
    let whole = seconds.max(0.0) as i64;
    let (minutes, hours, days) = (whole / 60, whole / 3600, whole / 86400);
    match whole {
        0..100 => format!("{whole} s"),
        100..5400 => format!("{minutes} min"),
        5400..86400 => format!("{hours} h {:02} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_counts_read_like_sentences() {
        let ages = [(-3.0, "0 s"), (99.9, "99 s"), (100.0, "1 min"), (5400.0, "1 h 30 min"), (187200.0, "2 d 4 h")];
        for (seconds, text) in ages {
            assert_eq!(age_text(seconds), text);
        }
        assert_eq!(counted(1, "delivery"), "1 delivery");
        assert_eq!(counted(3, "delivery"), "3 deliveries");
        assert_eq!(counted(2, "file"), "2 files");
    }
}
