//! `soxsd reduce`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::super::{CliError, CliResult, FAILED, OK, output};
use super::account::Account;
use super::{daemon_error, stop_on_signals};
use crate::catalogue::Catalogue;
use crate::catalogue::views::Count;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::daemon::{self, BatchProgress};
use crate::fault::FaultClass;

/// Arguments of `soxsd reduce`.
#[derive(Clone, Debug, Args)]
pub struct ReduceArgs {
    /// Folders with raw frames, searched with their sub-folders
    #[arg(required = true, value_name = "DIR")]
    pub dirs: Vec<PathBuf>,
    /// Closing table as JSON
    #[arg(long)]
    pub json: bool,
}

/// Reduce what is there, then say what became of every file.
pub async fn reduce(mut config: Config, args: ReduceArgs) -> CliResult {
    config.paths.raw.clone_from(&args.dirs);
    let folders = args.dirs;
    let catalogue_file = config.workspace().catalogue;
    let reduced = config.workspace().reduced;
    let cancel = stop_on_signals()?;
    let bar = progress_bar();
    let told = |progress: BatchProgress| bar.set_message(said(&progress));
    let outcome = daemon::reduce(config, cancel, told).await;
    bar.finish_and_clear();
    let batch = outcome.map_err(|error| daemon_error(&error))?;

    let catalogue = Catalogue::open_read_only(&catalogue_file, Arc::new(SystemClock)).await?;
    let account = Account::read(&catalogue).await?.below(&folders);
    if args.json {
        output::json(&account)?;
    } else if account.files.is_empty() {
        output::print("no file was found")?;
    } else {
        account.print()?;
        output::print(&format!("{}\nproducts in {}\n", account.totals(), reduced.display()))?;
    }
    for job in account.failures() {
        output::remark(&format!("job {} ({} on {}) is {}: {}", job.id, job.recipe, job.set_name, job.state, job.error));
    }
    if batch.undelivered > 0 {
        output::remark(&format!("{} deliveries are left; run the command again, or `soxsd run`", batch.undelivered));
    }
    if !batch.unpublished.is_empty() {
        output::remark(&format!("not published for the quality monitor: {}", batch.unpublished));
    }
    if batch.interrupted {
        output::remark("stopped before everything was done; run the command again to go on");
    }
    if !account.has_frames() && !batch.interrupted {
        let folders: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
        return Err(CliError::Engine {
            message: format!("there is no SOXS frame below {}", folders.join(", ")),
            class: FaultClass::BadInput,
            hint: "raw frames are called *.fits, *.fits.gz or *.fits.Z; the table says what is wrong with each file"
                .to_string(),
        });
    }
    let all_well = account.failures().is_empty() && !batch.interrupted && batch.unpublished.is_empty();
    Ok(if all_well { OK } else { FAILED })
}

/// A spinner on a terminal; nothing elsewhere.
pub(super) fn progress_bar() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// Progress in one line.
pub(super) fn said(progress: &BatchProgress) -> String {
    match progress {
        BatchProgress::Ingest => "taking in files".to_string(),
        BatchProgress::Work(status) => {
            let sum = |counts: &[Count], wanted: &dyn Fn(&str) -> bool| -> i64 {
                counts.iter().filter(|count| wanted(&count.name)).map(|count| count.count).sum()
            };
            let jobs = |states: &[&str]| sum(&status.jobs, &|name| states.contains(&name));
            let deliveries = |states: &[&str]| {
                sum(&status.deliveries, &|name| states.iter().any(|state| name.ends_with(&format!("/{state}"))))
            };
            format!(
                "jobs: {} running, {} ready, {} waiting, {} ended; deliveries: {} open, {} confirmed",
                jobs(&["running"]),
                jobs(&["ready"]),
                jobs(&["waiting"]),
                jobs(&["done", "flagged", "parked", "failed"]),
                deliveries(&["queued", "sending", "unknown", "buffered", "sent"]),
                deliveries(&["confirmed"]),
            )
        }
    }
}
