//! The daemon: wires the rooms together, keeps them running, stops them in order.
//!
//! What lives here: start-up checks, the tasks and their lifetimes, signals, watchdog, heartbeat, backups; the same
//! engine on existing data (`batch`). What never lives here: what a task does.

mod batch;
mod engine;

use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::delivery;
use crate::fault::chain;
use crate::liveness::Liveness;
use crate::scheduler::store;
use crate::service::{self, Service, ServiceInfo};

pub use batch::{Batch, BatchProgress, reduce};
pub use engine::{CheckedRules, DaemonError, Engine, Mode};

/// Where the status page of a running daemon is.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct DaemonFile {
    /// `127.0.0.1:8642`; empty when there is none.
    pub address: String,
    /// Process id.
    pub pid: u32,
    /// This start of the process.
    pub boot_id: String,
}

/// Run the daemon until `cancel`; `ready` is told the address of the status page once everything is up.
/// Returns when every task has ended or the drain time is over.
pub async fn run(
    config: Config,
    cancel: CancellationToken,
    ready: impl FnOnce(Option<String>),
) -> Result<(), DaemonError> {
    let engine = Engine::start(config, Mode::Live).await?;
    let liveness = Liveness::new();
    let mut tasks = JoinSet::new();
    let address = start_service(&engine, &liveness, &cancel, &mut tasks).await?;
    start_tasks(&engine, &liveness, &cancel, &mut tasks);
    engine.catalogue.set_fact("started", &engine.boot_id).await?;
    ready(address);
    notify(&[sd_notify::NotifyState::Ready]);
    let pulse = tokio::spawn(pulse(engine.clone(), liveness.clone(), cancel.clone()));
    // A task that ends by itself before the daemon is stopped has failed: stop in order, say so, let systemd restart.
    let mut failure = None;
    tokio::select! {
        () = cancel.cancelled() => {}
        // A task may end because of the signal and be seen here first: that is no failure.
        Some(ended) = tasks.join_next() => failure = (!cancel.is_cancelled()).then(|| ended_early(ended)),
    }
    cancel.cancel();
    notify(&[sd_notify::NotifyState::Stopping]);
    tracing::info!("stopping");
    let limit = Duration::from_secs_f64(engine.config.scheduler.drain_s + 10.0);
    let ended = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(limit, ended).await.is_err() {
        tracing::warn!("some tasks did not end in time; the next start takes their work back");
    }
    pulse.abort();
    engine.stop().await;
    failure.map_or(Ok(()), Err)
}

fn ended_early(ended: Result<Result<(), DaemonError>, tokio::task::JoinError>) -> DaemonError {
    match ended {
        Ok(Err(error)) => error,
        Ok(Ok(())) => DaemonError::TaskEnded { reason: "it returned".to_string() },
        Err(error) => DaemonError::TaskEnded { reason: error.to_string() },
    }
}

async fn start_service(
    engine: &Engine,
    liveness: &Liveness,
    cancel: &CancellationToken,
    tasks: &mut JoinSet<Result<(), DaemonError>>,
) -> Result<Option<String>, DaemonError> {
    let listen = &engine.config.service.listen;
    if listen.is_empty() {
        leave_notice(engine, "")?;
        return Ok(None);
    }
    let listener = service::bind(listen).await?;
    let address = listener.local_addr().map_err(|source| DaemonError::Io { what: "ask for the address", source })?;
    let token_file = engine.token_file();
    let service = Service {
        catalogue: engine.catalogue.clone(),
        token: service::load_or_make_token(&token_file)?,
        info: ServiceInfo {
            version: env!("CARGO_PKG_VERSION").to_string(),
            boot_id: engine.boot_id.clone(),
            started_us: engine.started_us,
        },
        liveness: liveness.clone(),
        pictures: engine.workspace.qc.clone(),
    };
    leave_notice(engine, &address.to_string())?;
    let token = cancel.clone();
    tasks.spawn(async move { Ok(service.serve(listener, token).await?) });
    tracing::info!(%address, "status page");
    Ok(Some(address.to_string()))
}

/// Say in the work folder who works there, and at which address; none when the service is switched off.
fn leave_notice(engine: &Engine, address: &str) -> Result<(), DaemonError> {
    let file = DaemonFile { address: address.to_string(), pid: std::process::id(), boot_id: engine.boot_id.clone() };
    let text = serde_json::to_string(&file).map_err(|source| DaemonError::Json { source })?;
    Ok(store::write_text(&engine.workspace.daemon, &text)?)
}

fn start_tasks(
    engine: &Engine,
    liveness: &Liveness,
    cancel: &CancellationToken,
    tasks: &mut JoinSet<Result<(), DaemonError>>,
) {
    // The allowed silence of a loop: its longest normal turn, with room for a busy disk.
    for (name, allowed) in [("ingest", 120), ("association", 120), ("scheduler", 60)] {
        liveness.expect(name, Duration::from_secs(allowed));
    }
    let (token, beat) = (cancel.clone(), liveness.clone());
    let ingest = engine.ingest().ticking(move || beat.tick("ingest"));
    tasks.spawn(async move {
        ingest.run(token).await;
        Ok(())
    });
    let (association, token, beat) = (engine.association.clone(), cancel.clone(), liveness.clone());
    tasks.spawn(async move {
        association.run(token, move || beat.tick("association")).await;
        Ok(())
    });
    let (scheduler, token, beat) = (engine.scheduler.clone(), cancel.clone(), liveness.clone());
    tasks.spawn(async move {
        scheduler.run(token, move || beat.tick("scheduler")).await;
        Ok(())
    });
    let (catalogue, config, token) = (engine.catalogue.clone(), engine.config.clone(), cancel.clone());
    tasks.spawn(async move { Ok(delivery::run(catalogue, config, token).await?) });
    let (keeper, token) = (engine.clone(), cancel.clone());
    tasks.spawn(async move {
        keeper.keep_backups(token).await;
        Ok(())
    });
}

/// Heartbeat file and systemd watchdog: fed only while every loop turns and the catalogue answers.
async fn pulse(engine: Engine, liveness: Liveness, cancel: CancellationToken) {
    let period = Duration::from_secs(5);
    while !cancel.is_cancelled() {
        let late = liveness.late();
        let answers = tokio::time::timeout(period, engine.catalogue.live_jobs()).await.is_ok_and(|jobs| jobs.is_ok());
        if late.is_empty() && answers {
            notify(&[sd_notify::NotifyState::Watchdog]);
            if let Err(error) = engine.write_heartbeat() {
                tracing::warn!(error = chain(&error), "no heartbeat");
            }
        } else {
            for late in late {
                tracing::error!(%late, "a loop is late");
            }
        }
        tokio::time::sleep(period).await;
    }
}

/// Tell systemd; without systemd this does nothing.
fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not told");
    }
}
