//! `soxsd demo`: the whole way of simulated frames, from landing to archive, with the real daemon in this process.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use super::super::{CliError, CliResult, FAILED, OK, output};
use super::account::Account;
use super::reduce::{progress_bar, said};
use super::{engine_error, stop_on_signals};
use crate::catalogue::Catalogue;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::daemon::{self, BatchProgress};
use crate::fault::{Classified, FaultClass};
use crate::fits::FileDigests;
use crate::instrument::{Arm, Binning};
use crate::simulator::{self, FrameKind, NightPlan, TemplatePlan};

/// Seed of the demonstration: the same frames every time, but for their dates.
const SEED: u64 = 20_260_310;
/// How long the demonstration may take after the last frame has landed.
const LIMIT: Duration = Duration::from_secs(180);

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
    let landed = land_all(&staging, &raw, &cancel, &bar).await?;
    wait_until_done(&catalogue_file, landed, &cancel, &bar).await?;
    bar.finish_and_clear();
    let interrupted = cancel.is_cancelled();
    cancel.cancel();
    daemon_ended(daemon.await)?;

    let catalogue = Catalogue::open_read_only(&catalogue_file, Arc::new(SystemClock)).await?;
    let account = Account::read(&catalogue).await?;
    if args.json {
        output::json(&account)?;
    } else {
        account.print()?;
        output::print(&format!("{}\n", account.totals()))?;
    }
    let faults = faults(&account, &reduced, &archive, landed);
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

/// A small evening that began an hour ago: biases in two modes, darks, one set that stays too small, a few frames whose
/// recipes are not in this build.
fn plan() -> NightPlan {
    let start = SystemClock.now().checked_sub(SignedDuration::from_hours(1)).unwrap_or(Timestamp::UNIX_EPOCH);
    NightPlan::new(start)
        .with(TemplatePlan::vis_bias(1, Binning { x: 1, y: 1 }, 5))
        .with(TemplatePlan::nir_dark(10.0, 5))
        .with(TemplatePlan::vis_bias(2, Binning { x: 2, y: 2 }, 5))
        .with(TemplatePlan::nir_dark(120.0, 2))
        .with(TemplatePlan::new(FrameKind::PinholeArc, Arm::Vis, 30.0, 1))
}

/// Let the frames land one by one, as the instrument writes them: every third in two halves, one never finished, one
/// twice. Returns how many files were landed.
async fn land_all(
    staging: &Path,
    raw: &Path,
    cancel: &CancellationToken,
    bar: &indicatif::ProgressBar,
) -> Result<usize, CliError> {
    let plan = plan();
    let folder = staging.to_path_buf();
    let (sender, mut frames) = tokio::sync::mpsc::channel::<PathBuf>(2);
    let simulating = tokio::task::spawn_blocking(move || -> Result<(), CliError> {
        for frame in plan.frames(SEED).map_err(|error| engine_error(&error))? {
            let frame = frame.map_err(|error| engine_error(&error))?;
            let path = simulator::write(&frame, &folder).map_err(|error| engine_error(&error))?;
            if sender.blocking_send(path).is_err() {
                break;
            }
        }
        Ok(())
    });
    let mut landed = 0;
    while let Some(path) = frames.recv().await {
        if cancel.is_cancelled() {
            break;
        }
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        bar.set_message(format!("landing {name}"));
        let bytes = tokio::fs::read(&path).await.map_err(io("read", &path))?;
        land(&bytes, &raw.join(&name), landed % 3 == 2).await?;
        landed += 1;
        if landed == 3 {
            // Somebody copies a frame once more under another name.
            land(&bytes, &raw.join(format!("copy-of-{name}")), false).await?;
            landed += 1;
        }
        tokio::fs::remove_file(&path).await.map_err(io("remove", &path))?;
    }
    frames.close();
    simulating.await.map_err(|error| CliError::Engine {
        message: error.to_string(),
        class: FaultClass::Bug,
        hint: String::new(),
    })??;
    // A transfer that breaks off and never comes back.
    let broken = [b"SIMPLE  =                    T".as_slice(), &[b' '; 2850]].concat();
    land(&broken, &raw.join("SOXS.broken-transfer.fits"), false).await?;
    let _ = std::fs::remove_dir(staging);
    Ok(landed + 1)
}

/// Write a file the way a transfer does: in place, with a pause in the middle when `slowly`.
async fn land(bytes: &[u8], path: &Path, slowly: bool) -> Result<(), CliError> {
    use tokio::io::AsyncWriteExt;
    let (first, rest) = bytes.split_at(if slowly { bytes.len() / 2 } else { bytes.len() });
    let mut file = tokio::fs::File::create(path).await.map_err(io("write", path))?;
    file.write_all(first).await.map_err(io("write", path))?;
    file.flush().await.map_err(io("write", path))?;
    if slowly {
        tokio::time::sleep(Duration::from_millis(700)).await;
        file.write_all(rest).await.map_err(io("write", path))?;
    }
    file.sync_all().await.map_err(io("write", path))
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
    while !cancel.is_cancelled() && tokio::time::Instant::now() < limit {
        let status = catalogue.status().await?;
        let count = |counts: &[crate::catalogue::views::Count], name: &str| {
            counts.iter().filter(|count| count.name == name).map(|count| count.count).sum::<i64>()
        };
        let files: i64 = status.files.iter().map(|count| count.count).sum();
        let settled =
            files as usize >= landed && count(&status.files, "waiting") == 0 && count(&status.sets, "open") == 0;
        bar.set_message(said(&BatchProgress::Work(Box::new(status))));
        if settled && catalogue.is_idle().await? && catalogue.open_deliveries().await? == 0 {
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
    if masters != 3 {
        faults.push(format!("3 masters were to be made, {masters} are there"));
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
