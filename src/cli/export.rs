//! `soxsd export`: what goes out by whole nights, and the word that lets it go.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};

use super::table::{number, prose, render, stamp, terminal_width, text};
use super::{CliError, CliResult, FAILED, OK, acts, catalogue, lists, local, output};
use crate::catalogue::acts::Act;
use crate::catalogue::nights::NightState;
use crate::catalogue::{Catalogue, CatalogueError};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::delivery::monitor::MonitorFeed;
use crate::fault::FaultClass;

/// Nights that are listed.
const LISTED: i64 = 60;
/// How long the running daemon has to publish a night.
const PATIENCE: Duration = Duration::from_secs(120);

/// What can be exported.
#[derive(Clone, Debug, Subcommand)]
pub enum ExportCommand {
    /// Close a night for soxs-qc-monitor and publish it; without a night, show how far each has come
    Monitor(MonitorArgs),
}

/// Arguments of `soxsd export monitor`.
#[derive(Clone, Debug, Args)]
pub struct MonitorArgs {
    /// Night, YYYY-MM-DD
    #[arg(value_parser = lists::night)]
    pub night: Option<String>,
    /// Reason, kept in the journal
    #[arg(long, value_name = "REASON", default_value = "")]
    pub why: String,
    /// Who does it [default: $USER]
    #[arg(long, value_name = "NAME")]
    pub who: Option<String>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Do what the command says.
pub async fn run(config: &Config, command: &ExportCommand) -> CliResult {
    let ExportCommand::Monitor(args) = command;
    match &args.night {
        None => list(config, args.json).await,
        Some(night) => publish(config, night, args).await,
    }
}

async fn list(config: &Config, json: bool) -> CliResult {
    let nights = catalogue(config).await?.monitor_nights(LISTED).await?;
    if json {
        return output::json(&nights).map(|()| OK);
    }
    if nights.is_empty() {
        return output::print("no night has a set of frames yet").map(|()| OK);
    }
    let columns = [
        text("night", 0),
        text("state", 0),
        number("published", 1),
        number("metrics", 0),
        number("files", 0),
        text("at", 1),
        number("late", 0),
        prose("why", 0),
    ];
    let rows: Vec<Vec<String>> = nights.into_iter().map(row).collect();
    output::print(&render(&columns, &rows, terminal_width())).map(|()| OK)
}

fn row(night: NightState) -> Vec<String> {
    let some = |count: i64| if count == 0 { String::new() } else { count.to_string() };
    let why = match (night.error.is_empty(), night.late_jobs) {
        (false, _) => format!("not published: {}", night.error),
        (true, 1..) => {
            format!("{}; jobs ended since: `soxsd reopen {} --why REASON` lets them out", night.why, night.night)
        }
        (true, _) => night.why,
    };
    let at = night.published_us.map(stamp).unwrap_or_default();
    let counts = [night.revision, night.metrics, night.files].map(some);
    let [published, metrics, files] = counts;
    vec![night.night, night.state, published, metrics, files, at, some(night.late_jobs), why]
}

/// Close the night if that is due, see it published, and say so. Exit code 0: it is out.
async fn publish(config: &Config, night: &str, args: &MonitorArgs) -> CliResult {
    if config.monitor.root().is_none() {
        return Err(CliError::Engine {
            message: "monitor.path is empty, so nothing is exported".to_string(),
            class: FaultClass::Config,
            hint: "give the upstream root of soxs-qc-monitor as monitor.path in the configuration".to_string(),
        });
    }
    let known = catalogue(config).await?.monitor_night(night).await?;
    let state = known.map(|known| known.state).unwrap_or_default();
    let who = acts::name_of(args.who.as_deref());
    let target = format!("night:{night}");
    match Catalogue::open(&config.workspace().catalogue, Arc::new(SystemClock)).await {
        Ok(catalogue) => {
            if !matches!(state.as_str(), "closed" | "published") {
                catalogue.act(&who, Act::Close, &target, &args.why).await?;
            }
            let published = match MonitorFeed::of(&catalogue, config) {
                Some(feed) => feed.publish_closed().await?.map(|_| ()),
                None => Ok(()),
            };
            catalogue.close().await;
            published
                .map_err(|error| CliError::engine(&error, "the night stays closed and is published by the next try"))?;
        }
        Err(CatalogueError::Locked { .. }) => {
            if !matches!(state.as_str(), "closed" | "published") {
                local::ask(config, Act::Close, &target, &who, &args.why).await?;
            }
            wait_for_daemon(config, night).await?;
        }
        Err(error) => return Err(error.into()),
    }
    let Some(now) = catalogue(config).await?.monitor_night(night).await? else {
        return Err(CliError::NotFound { target });
    };
    let out = now.state == "published";
    if args.json {
        output::json(&now)?;
    } else {
        let place = config.monitor.path.display();
        let said = format!("night {night}: {}, {} metrics and {} files in {place}", now.state, now.metrics, now.files);
        output::print(&said)?;
        if now.late_jobs > 0 {
            let jobs = now.late_jobs;
            output::remark(&format!(
                "{jobs} jobs ended since it was published; `soxsd reopen {night} --why REASON` first"
            ));
        }
    }
    Ok(if out { OK } else { FAILED })
}

/// Until the running daemon has published the night, or has failed to.
async fn wait_for_daemon(config: &Config, night: &str) -> Result<(), CliError> {
    let began = Instant::now();
    let reader = catalogue(config).await?;
    loop {
        let state = reader.monitor_night(night).await?;
        let failed = state.as_ref().filter(|state| state.state == "closed" && !state.error.is_empty());
        if let Some(state) = failed {
            return Err(CliError::Refused {
                message: format!("night {night} is closed and was not published: {}", state.error),
                hint: "the daemon tries again every minute".to_string(),
            });
        }
        if state.is_some_and(|state| state.state == "published") {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            return Err(CliError::Refused {
                message: format!("night {night} is closed, and the daemon has not published it within {PATIENCE:?}"),
                hint: "is its monitor.path the same? `soxsd export monitor` shows how far it has come".to_string(),
            });
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}
