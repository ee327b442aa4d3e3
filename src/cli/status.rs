//! `soxsd status`: the state of everything on one screen.

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::local::{self, Daemon};
use super::table::{duration, stamp};
use super::{CliResult, OK, catalogue, output};
use crate::catalogue::maintenance::HealthFact;
use crate::catalogue::story::one_line;
use crate::catalogue::views::{Count, Latency, Spread, StatusView};
use crate::config::Config;

/// Arguments of `soxsd status`.
#[derive(Clone, Debug, Args)]
pub struct StatusArgs {
    /// Show it again every so many seconds [default: 2]
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = seconds)]
    pub watch: Option<f64>,
    /// As JSON; with --watch one line each time
    #[arg(long)]
    pub json: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.1..=86400.0).contains(&value) => Ok(value),
        _ => Err("must be a number of seconds from 0.1 to 86400".to_string()),
    }
}

/// The status and who keeps it up to date.
#[derive(Serialize)]
struct Everything {
    /// The running daemon; none when it does not run.
    daemon: Option<Daemon>,
    #[serde(flatten)]
    status: StatusView,
}

pub async fn run(config: &Config, args: &StatusArgs) -> CliResult {
    let catalogue = catalogue(config).await?;
    loop {
        let all = Everything { daemon: local::running(config), status: catalogue.status().await? };
        match (args.json, args.watch) {
            (true, None) => output::json(&all)?,
            (true, Some(_)) => output::json_line(&all)?,
            (false, Some(_)) if std::io::stdout().is_terminal() => {
                // Home and clear, then the page in one write, so that it does not flicker.
                output::print(&format!("\x1b[H\x1b[2J{}", page(&all)))?;
            }
            (false, _) => output::print(&page(&all))?,
        }
        match args.watch {
            Some(pause) => tokio::time::sleep(Duration::from_secs_f64(pause)).await,
            None => return Ok(OK),
        }
    }
}

fn page(all: &Everything) -> String {
    let status = &all.status;
    let mut lines: Vec<(&str, String)> = Vec::new();
    let daemon = match &all.daemon {
        Some(daemon) if daemon.address.is_empty() => format!("running, process {}", daemon.pid),
        Some(daemon) => format!("running, process {}, http://{}/", daemon.pid, daemon.address),
        None => "not running".to_string(),
    };
    lines.push(("time", format!("{} UTC, night {}", stamp(status.at_us), status.night)));
    lines.push(("daemon", daemon));
    lines.push(("files", counts(&status.files)));
    lines.push(("frames", counts(&status.frames)));
    lines.push(("sets", counts(&status.sets)));
    lines.push(("jobs", counts(&status.jobs)));
    lines.push(("products", counts(&status.products)));
    lines.push(("deliveries", counts(&status.deliveries)));
    if let Some(frame) = &status.last_frame {
        let ago = duration((status.at_us - frame.taken_us) as f64 / 1e6);
        lines.push(("last frame", format!("{} {} {}, {ago} ago", frame.data_id, frame.arm, frame.kind)));
    }
    for job in &status.running {
        lines.push(("running", format!("{} on {} for {}", job.recipe, job.set_name, duration(job.elapsed_s))));
    }
    if let Some(set) = &status.oldest_waiting {
        let since = duration((status.at_us - set.since_us) as f64 / 1e6);
        lines.push(("waiting", format!("{} (set:{}) for {since}: {}", set.name, set.id, set.reason)));
    }
    if let Some(age) = status.oldest_undelivered_s {
        lines.push(("undelivered", format!("the oldest has waited {}", duration(age))));
    }
    if let Some(latency) = &status.latency {
        lines.extend(latencies(latency));
    }
    // The others are notes of the process to itself; --json shows them all.
    let told = |fact: &&HealthFact| {
        ["last_scan", "paused", "raw_root_error"].contains(&fact.name.as_str()) && !fact.value.is_empty()
    };
    for fact in status.facts.iter().filter(told) {
        lines.push(("fact", format!("{}: {} (since {})", fact.name, fact.value, stamp(fact.at_us))));
    }
    let mut out = String::new();
    let mut before = "";
    for (label, text) in &lines {
        let shown = if *label == before { "" } else { label };
        out.push_str(&format!("{shown:<12}{}\n", one_line(text)));
        before = label;
    }
    out
}

fn counts(counts: &[Count]) -> String {
    if counts.is_empty() {
        return "none".to_string();
    }
    let each: Vec<String> = counts.iter().map(|one| format!("{} {}", one.count, one.name)).collect();
    each.join(", ")
}

fn latencies(latency: &Latency) -> Vec<(&'static str, String)> {
    [
        ("exposure end to product", &latency.exposure_to_product),
        ("product to archive", &latency.product_to_archive),
        ("exposure end to archive", &latency.exposure_to_archive),
    ]
    .into_iter()
    .filter_map(|(what, spread)| Some((what, spread.as_ref()?)))
    .map(|(what, spread)| ("latency", format!("{what}: {} (night {})", of(spread), latency.night)))
    .collect()
}

fn of(spread: &Spread) -> String {
    format!("median {}, worst {}, of {}", duration(spread.median_s), duration(spread.worst_s), spread.count)
}
