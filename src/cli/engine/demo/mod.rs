//! `soxsd demo`: the whole way of simulated frames, from landing to archive, with the real daemon in this process.

mod landing;
mod latency;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use self::landing::{Landed, Lander};
use self::latency::Observation;
use super::super::{CliError, CliResult, FAILED, OK, output};
use super::account::Account;
use super::reduce::{progress_bar, said};
use super::stop_on_signals;
use crate::catalogue::Catalogue;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::daemon::{self, BatchProgress};
use crate::fault::{Classified, FaultClass};
use crate::fits::FileDigests;

/// How long the daemon may take for a block after its last frame has landed.
const LIMIT: Duration = Duration::from_secs(300);
/// A set that is still open when nothing has happened for so long waits for something that does not come.
const STILL: Duration = Duration::from_secs(15);
/// Master calibrations that the night makes: biases in two modes, darks of two DITs, flats of two arms.
const MASTERS: usize = 6;
/// Targets whose Phase 3 files of both arms must be in the archive.
const TARGETS: usize = 2;

/// Arguments of `soxsd demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// Folder to work in, must be empty or new [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Keep the temporary folder
    #[arg(long)]
    pub keep: bool,
    /// Closing table as JSON
    #[arg(long)]
    pub json: bool,
}

/// Simulate, land, reduce, deliver, account. Exit code 0 only if everything is accounted for.
pub async fn demo(config: Config, args: DemoArgs) -> CliResult {
    let (folder, temporary) = folder_of(&args)?;
    let raw = folder.join("raw");
    let staging = folder.join("simulated");
    for path in [&raw, &staging] {
        std::fs::create_dir_all(path).map_err(io("make", path))?;
    }
    let config = demo_config(config, &folder, &raw);
    let catalogue_file = config.workspace().catalogue;
    let reduced = config.workspace().reduced;
    let archive = config.archives().first().map(|archive| archive.path.clone()).unwrap_or_default();

    let cancel = stop_on_signals()?;
    let bar = progress_bar();
    output::remark(&format!("working in {}", folder.display()));
    let (ready_sender, ready) = tokio::sync::oneshot::channel();
    let announced = move |address: Option<String>| {
        // The receiver is gone only when the demonstration was stopped.
        let _ = ready_sender.send(address);
    };
    let daemon = tokio::spawn(daemon::run(config, cancel.clone(), announced));
    match ready.await {
        Ok(Some(address)) => output::remark(&format!("status page while it runs: http://{address}/")),
        Ok(None) => {}
        Err(_) => return daemon_ended(daemon.await),
    }
    let (landed, observed) = night(&staging, &raw, &catalogue_file, &cancel, &bar).await?;
    bar.finish_and_clear();
    let interrupted = cancel.is_cancelled();
    cancel.cancel();
    daemon_ended(daemon.await)?;

    let catalogue = Catalogue::open_read_only(&catalogue_file, Arc::new(SystemClock)).await?;
    let account = Account::read(&catalogue).await?;
    let observations = latency::observations(&catalogue, &account, &observed).await?;
    let mut faults = faults(&account, &reduced, &archive, landed);
    let complete = observations.iter().filter(|seen| seen.seconds.is_some() && seen.arms.len() == 2).count();
    if complete != TARGETS {
        faults.push(format!("{TARGETS} targets were to have Phase 3 files in both arms, {complete} have"));
    }
    if args.json {
        let median_s = latency::median(&observations);
        output::json(&Demonstrated { account: &account, observations: &observations, median_s })?;
    } else {
        account.print()?;
        latency::print(&observations)?;
        output::print(&format!("{}\n", account.totals()))?;
    }
    for fault in &faults {
        output::remark(&format!("not accounted for: {fault}"));
    }
    if args.keep || args.dir.is_some() {
        output::remark(&format!("everything is kept in {}", folder.display()));
        if let Some(temporary) = temporary {
            let _ = temporary.keep();
        }
    }
    let all_well = faults.is_empty() && !interrupted;
    if all_well && !args.json {
        output::print(
            "every file is accounted for; every product is stored, archived and equal to its archived copy\n",
        )?;
    }
    Ok(if all_well { OK } else { FAILED })
}

/// What was shown, for `--json`.
#[derive(Serialize)]
struct Demonstrated<'a> {
    #[serde(flatten)]
    account: &'a Account,
    observations: &'a [Observation],
    median_s: Option<f64>,
}

/// The night, block by block: the next one lands when the last one is done. Returns how many files have landed, and the
/// blocks on the sky.
async fn night(
    staging: &Path,
    raw: &Path,
    catalogue_file: &Path,
    cancel: &CancellationToken,
    bar: &indicatif::ProgressBar,
) -> Result<(usize, Vec<Landed>), CliError> {
    let (mut lander, blocks) = Lander::new(staging, raw)?;
    let mut observed = Vec::new();
    for (index, block) in blocks.iter().enumerate() {
        let landed = lander.block(block, cancel, bar).await?;
        if index == 0 {
            lander.broken().await?;
        }
        wait_until_done(catalogue_file, lander.files, cancel, bar).await?;
        if !landed.object.is_empty() {
            observed.push(landed);
        }
    }
    // Only a frame that was drawn and not landed is left behind, after an interruption.
    let _ = std::fs::remove_dir_all(staging);
    Ok((lander.files, observed))
}

fn folder_of(args: &DemoArgs) -> Result<(PathBuf, Option<tempfile::TempDir>), CliError> {
    match &args.dir {
        Some(path) => {
            std::fs::create_dir_all(path).map_err(io("make", path))?;
            let mut entries = std::fs::read_dir(path).map_err(io("list", path))?;
            if entries.next().is_some() {
                return Err(CliError::Engine {
                    message: format!("{} is not empty", path.display()),
                    class: FaultClass::BadInput,
                    hint: "give a new or empty folder".to_string(),
                });
            }
            Ok((std::path::absolute(path).map_err(io("find", path))?, None))
        }
        None => {
            let folder = tempfile::Builder::new()
                .prefix("soxsd-demo-")
                .tempdir()
                .map_err(|source| CliError::Io { what: "make a temporary folder".to_string(), source })?;
            Ok((folder.path().to_path_buf(), Some(folder)))
        }
    }
}

fn demo_config(mut config: Config, folder: &Path, raw: &Path) -> Config {
    config.paths.raw = vec![raw.to_path_buf()];
    config.paths.work = folder.join("work");
    config.paths.reduced = PathBuf::new();
    config.paths.sof = PathBuf::new();
    config.paths.qc = PathBuf::new();
    config.ingest.settle_s = 0.5;
    config.ingest.incomplete_deadline_s = 4.0;
    config.association.template_grace_s = 5.0;
    config.scheduler.min_free_mib = config.scheduler.min_free_mib.min(256);
    config.service.listen = "127.0.0.1:0".to_string();
    config.service.token_file = PathBuf::new();
    config.release.gatekeeper = false;
    config.archive.clear();
    config.health.clear();
    config
}

/// Until every landed file has its state, nothing is left to do, and every delivery is confirmed.
async fn wait_until_done(
    catalogue_file: &Path,
    landed: usize,
    cancel: &CancellationToken,
    bar: &indicatif::ProgressBar,
) -> Result<(), CliError> {
    let catalogue = Catalogue::open_read_only(catalogue_file, Arc::new(SystemClock)).await?;
    let limit = tokio::time::Instant::now() + LIMIT;
    let mut still_since = None;
    while !cancel.is_cancelled() && tokio::time::Instant::now() < limit {
        let status = catalogue.status().await?;
        let count = |counts: &[crate::catalogue::views::Count], name: &str| {
            counts.iter().filter(|count| count.name == name).map(|count| count.count).sum::<i64>()
        };
        let files: i64 = status.files.iter().map(|count| count.count).sum();
        let landed = files as usize >= landed && count(&status.files, "waiting") == 0;
        let open = count(&status.sets, "open") > 0;
        bar.set_message(said(&BatchProgress::Work(Box::new(status))));
        let still = landed && catalogue.is_idle().await? && catalogue.open_deliveries().await? == 0;
        let since = *still_since.get_or_insert_with(tokio::time::Instant::now);
        if !still {
            still_since = None;
        } else if !open || since.elapsed() > STILL {
            break;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    catalogue.close().await;
    Ok(())
}

/// What is not as it should be, one line each. An empty list is what the demonstration promises.
fn faults(account: &Account, reduced: &Path, archive: &Path, landed: usize) -> Vec<String> {
    let mut faults = Vec::new();
    if account.files.len() != landed {
        faults.push(format!("{landed} files landed, {} are known", account.files.len()));
    }
    for file in &account.files {
        let state = if file.state == "accepted" { file.outcome.as_str() } else { file.state.as_str() };
        let explained = match state {
            "reduced" => file.delivered,
            "duplicate" | "quarantined" | "registered" | "ignored" | "unreduced" => {
                !(file.reason.is_empty() && file.outcome_why.is_empty())
            }
            _ => false,
        };
        if !explained {
            faults.push(format!("{} is {state} {}", file.name, file.outcome_why));
        }
    }
    let masters = account.products.iter().filter(|product| product.catg.starts_with("MASTER_")).count();
    if masters != MASTERS {
        faults.push(format!("{MASTERS} masters were to be made, {masters} are there"));
    }
    for product in &account.products {
        let shown = reduced.join(&product.folder).join(&product.name);
        let archived = archive.join(&product.night).join(&product.archive_name);
        for path in [&shown, &archived] {
            match FileDigests::of(path) {
                Ok(digests) if digests.sha256 == product.sha256 => {}
                Ok(_) => faults.push(format!("{} differs from the catalogue", path.display())),
                Err(error) => faults.push(format!("{}: {error}", path.display())),
            }
        }
    }
    faults.extend(account.failures().into_iter().map(|job| format!("job {} is {}: {}", job.id, job.state, job.error)));
    faults
}

fn daemon_ended(ended: Result<Result<(), daemon::DaemonError>, tokio::task::JoinError>) -> CliResult {
    match ended {
        Ok(Ok(())) => Ok(OK),
        Ok(Err(error)) => Err(CliError::Engine { message: error.story(), class: error.class(), hint: String::new() }),
        Err(error) => Err(CliError::Engine { message: error.to_string(), class: FaultClass::Bug, hint: String::new() }),
    }
}

fn io<'a>(what: &'a str, path: &'a Path) -> impl FnOnce(std::io::Error) -> CliError + 'a {
    move |source| CliError::Io { what: format!("{what} {}", path.display()), source }
}
