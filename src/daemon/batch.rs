//! The same engine on existing data: ends when nothing is left to do.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::engine::{DaemonError, Engine, Mode};
use crate::catalogue::views::StatusView;
use crate::config::Config;
use crate::delivery;
use crate::delivery::monitor::MonitorFeed;
use crate::fault::chain;

/// How long deliveries may take after the last recipe before they are left to the next run.
const DELIVERY_LIMIT: Duration = Duration::from_secs(60);

/// What happens, for a progress display.
#[derive(Clone, Debug)]
pub enum BatchProgress {
    /// Files are being taken in.
    Ingest,
    /// Recipes run and products are delivered.
    Work(Box<StatusView>),
}

/// How a batch ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Deliveries that are left for the next run.
    pub undelivered: i64,
    /// It was stopped before everything was done.
    pub interrupted: bool,
    /// Why nights that have ended were not published for the quality monitor; empty when they were.
    pub unpublished: String,
}

/// Reduce what lies below the configured raw roots. Progress is told about twice a second.
pub async fn reduce(
    config: Config,
    cancel: CancellationToken,
    progress: impl Fn(BatchProgress),
) -> Result<Batch, DaemonError> {
    for root in &config.paths.raw {
        if !root.is_dir() {
            return Err(DaemonError::NoFolder { path: root.clone() });
        }
    }
    let engine = Engine::start(config, Mode::Existing).await?;
    let outcome = work(&engine, &cancel, &progress).await;
    engine.stop().await;
    outcome
}

async fn work(
    engine: &Engine,
    cancel: &CancellationToken,
    progress: &impl Fn(BatchProgress),
) -> Result<Batch, DaemonError> {
    progress(BatchProgress::Ingest);
    let ingest = engine.ingest();
    while !cancel.is_cancelled() && ingest.scan_once().await?.pending {}
    engine.association.pass().await?;
    engine.association.close_all_templates().await?;
    engine.association.pass().await?;

    let stop = cancel.child_token();
    let mut tasks = JoinSet::new();
    let (association, token) = (engine.association.clone(), stop.clone());
    tasks.spawn(async move {
        association.run(token, || {}).await;
        Ok(())
    });
    let (scheduler, token) = (engine.scheduler.clone(), stop.clone());
    tasks.spawn(async move {
        scheduler.run(token, || {}).await;
        Ok(())
    });
    let (catalogue, config, token) = (engine.catalogue.clone(), engine.config.clone(), stop.clone());
    tasks.spawn(async move { delivery::run(catalogue, config, token).await });

    let mut outcome = until_idle(engine, &stop, progress).await;
    if outcome.is_ok() {
        outcome = until_delivered(engine, &stop, progress).await;
    }
    stop.cancel();
    while let Some(ended) = tasks.join_next().await {
        match ended {
            Ok(result) => result?,
            Err(error) => return Err(DaemonError::TaskEnded { reason: error.to_string() }),
        }
    }
    outcome?;
    let interrupted = cancel.is_cancelled();
    let unpublished = if interrupted { String::new() } else { publish(engine).await? };
    Ok(Batch { undelivered: engine.catalogue.open_deliveries().await?, interrupted, unpublished })
}

/// Close and publish the nights that have ended, as the daemon does. Returns why that failed, if it did.
async fn publish(engine: &Engine) -> Result<String, DaemonError> {
    let Some(feed) = MonitorFeed::of(&engine.catalogue, &engine.config) else { return Ok(String::new()) };
    feed.close_ended().await?;
    Ok(feed.publish_closed().await?.err().map(|error| chain(&error)).unwrap_or_default())
}

/// Until no frame waits for a set, no set for a plan and no job for its end.
async fn until_idle(
    engine: &Engine,
    stop: &CancellationToken,
    progress: &impl Fn(BatchProgress),
) -> Result<(), DaemonError> {
    while !stop.is_cancelled() && !engine.catalogue.is_idle().await? {
        tell(engine, progress).await?;
        pause(engine, stop).await;
    }
    Ok(())
}

async fn until_delivered(
    engine: &Engine,
    stop: &CancellationToken,
    progress: &impl Fn(BatchProgress),
) -> Result<(), DaemonError> {
    let limit = tokio::time::Instant::now() + DELIVERY_LIMIT;
    while !stop.is_cancelled() && tokio::time::Instant::now() < limit && engine.catalogue.open_deliveries().await? > 0 {
        tell(engine, progress).await?;
        pause(engine, stop).await;
    }
    tell(engine, progress).await
}

async fn tell(engine: &Engine, progress: &impl Fn(BatchProgress)) -> Result<(), DaemonError> {
    progress(BatchProgress::Work(Box::new(engine.catalogue.status().await?)));
    Ok(())
}

/// Until something changes, but at least half a second apart, so that asking costs little.
async fn pause(engine: &Engine, stop: &CancellationToken) {
    let mut changes = engine.catalogue.subscribe();
    tokio::select! {
        () = stop.cancelled() => {}
        () = tokio::time::sleep(Duration::from_millis(500)) => {}
        _ = changes.changed() => tokio::time::sleep(Duration::from_millis(50)).await,
    }
}
