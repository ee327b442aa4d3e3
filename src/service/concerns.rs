//! What follows from the state of everything: whether the daemon keeps up, and what needs a person, with what to do about it.

use serde::Serialize;
use utoipa::ToSchema;

use super::PAUSED_FACT;
use crate::catalogue::measures::Seconds;
use crate::catalogue::views::{Count, StatusView};

/// Whatever waits longer than this is not kept up with: the time in which products are due at the archive.
const GOAL_S: f64 = 1800.0;
/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Nothing to do.
    Good,
    /// Keeps up, and a person is asked to look at something.
    Person,
    /// Does not keep up.
    Behind,
}

/// One thing that somebody should know.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Concern {
    /// How bad it is.
    pub level: Level,
    /// What is the matter.
    pub text: String,
    /// What to do about it.
    pub remedy: String,
    /// Section of the plain page that says more; empty when none does.
    #[serde(skip)]
    pub section: &'static str,
    /// View of the console that says more; empty when none does.
    pub link: &'static str,
}

/// Everything worth a sentence, the worst first.
pub fn concerns(
    status: &StatusView,
    late: &[String],
    undelivered: &[Seconds],
    oldest_ready_s: Option<f64>,
) -> Vec<Concern> {
    let mut concerns = delays(status, late, undelivered, oldest_ready_s);
    concerns.extend(tasks(status));
    concerns
}

/// Why it does not keep up.
fn delays(status: &StatusView, late: &[String], undelivered: &[Seconds], oldest_ready_s: Option<f64>) -> Vec<Concern> {
    let behind = |section, link, text, remedy: &str| {
        let remedy = remedy.to_string();
        Concern { level: Level::Behind, text, remedy, section, link }
    };
    let restart = "Restart soxsd (systemctl restart soxsd): no work is lost. Its log says what the loop did last.";
    let mut delays: Vec<Concern> = late.iter().map(|late| behind("", "", late.clone(), restart)).collect();
    if let Some(paused) = status.facts.iter().find(|fact| fact.name == PAUSED_FACT && !fact.value.is_empty()) {
        let text = format!("No recipe is started: {}", paused.value);
        delays.push(behind("", "", text, "Make room on the disk; work goes on by itself."));
    }
    if let Some(age) = oldest_ready_s.filter(|age| *age > GOAL_S) {
        let text = format!("A set has been ready for {} and is not reduced yet", age_text(age));
        let remedy = "If nothing runs, the log of soxsd says why; if much runs, the machine is too busy.";
        delays.push(behind("now", "/browse/jobs?state=ready", text, remedy));
    }
    for sink in undelivered.iter().filter(|sink| sink.seconds > GOAL_S) {
        let text = format!("The oldest delivery to {} has waited {}", sink.group, age_text(sink.seconds));
        let remedy = "See whether it can be reached; nothing is lost, sending goes on by itself.";
        delays.push(behind("deliveries", "/deliveries", text, remedy));
    }
    delays
}

/// What a person should look at.
fn tasks(status: &StatusView) -> Vec<Concern> {
    let deliveries = |state: &str| suffix_count(&status.deliveries, state);
    let person = |n: i64, noun: &str, what: &str, section, link, remedy: &str| {
        let text = format!("{} {what}", counted(n, noun));
        (n > 0).then(|| Concern { level: Level::Person, text, remedy: remedy.to_string(), section, link })
    };
    let failed = "Read the error and report it; retry when it is understood.";
    let parked = "Read the error, take its cause away, then retry.";
    let out_of_range = "Look at the metric: accept the product, or take the frames again.";
    let refused = "The error says what the other side objects to; retry when that is settled.";
    let quarantine = "The reason names keyword, value and remedy; the file is looked at again when it changes.";
    let held = "Release what is to go on.";
    [
        person(
            count(&status.jobs, "failed"),
            "job",
            "stopped by a fault of the program",
            "stopped",
            "/browse/jobs?state=failed",
            failed,
        ),
        person(
            count(&status.jobs, "parked"),
            "job",
            "given up, with an error",
            "stopped",
            "/browse/jobs?state=parked",
            parked,
        ),
        person(
            count(&status.products, "current/fail"),
            "product",
            "with QC out of range",
            "products",
            "/browse/products?state=fail",
            out_of_range,
        ),
        person(
            deliveries("/parked"),
            "delivery",
            "that the other side refuses",
            "deliveries",
            "/deliveries?state=parked",
            refused,
        ),
        person(
            count(&status.files, "quarantined"),
            "file",
            "in quarantine",
            "quarantine",
            "/browse/frames?state=quarantined",
            quarantine,
        ),
        person(
            count(&status.jobs, "held"),
            "job",
            "held until somebody releases it",
            "now",
            "/browse/jobs?state=held",
            held,
        ),
        person(
            deliveries("/held"),
            "delivery",
            "held until somebody releases it",
            "deliveries",
            "/deliveries?state=held",
            held,
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The count of a name; 0 when it is not listed.
pub fn count(counts: &[Count], name: &str) -> i64 {
    counts.iter().find(|count| count.name == name).map_or(0, |count| count.count)
}

/// Sum over the names that end so: `archive/parked`.
fn suffix_count(counts: &[Count], suffix: &str) -> i64 {
    counts.iter().filter(|count| count.name.ends_with(suffix)).map(|count| count.count).sum()
}

/// `1 file`, `2 files`, `3 deliveries`.
pub fn counted(n: i64, noun: &str) -> String {
    match (n, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) => format!("{n} {stem}ies"),
        (_, None) => format!("{n} {noun}s"),
    }
}

/// `42 s`, `7 min`, `3 h 05 min`, `2 d 4 h`.
pub fn age_text(seconds: f64) -> String {
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
