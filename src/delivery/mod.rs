//! Delivery: what was reduced reaches the archives and the health monitors, once, and is known to have.
//!
//! What lives here: the outboxes, which take items from the catalogue and work on them until the other side's own record
//! confirms them, and the sinks: archives ([`directory`], [`spool`], [`ngas`]) and monitors ([`health`]).
//! What never lives here: the decision what is delivered (that is made when a product is recorded, and by operators), and
//! SQL.
//!
//! One task per sink, none waits for another. A sink that is down for a day delays its items by a day and loses none. The
//! tasks sleep until the catalogue changes or an item is due; nothing is polled that can be waited for.

pub mod alerts;
pub mod archive;
pub mod directory;
mod error;
mod folder;
pub mod health;
mod http;
pub mod monitor;
pub mod ngas;
pub mod outbox;
mod pace;
pub mod spool;
mod stored;

use std::pin::Pin;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::catalogue::{Catalogue, CatalogueError};
use crate::config::{ArchiveConfig, ArchiveKind, Config, HealthConfig, HealthKind};
use crate::fault::Classified;

use archive::Archive;
use health::{HealthOutbox, Monitor};
use outbox::ArchiveOutbox;

pub use error::{Scope, SinkError};
pub use http::install_tls;
pub use pace::Pace;

/// A round of an outbox.
pub type Working<'a> = Pin<Box<dyn Future<Output = Result<Turn, CatalogueError>> + Send + 'a>>;

/// Works on the items of one sink. A round may be cut off at any moment; the next one, also of another process, goes on
/// from what the catalogue says.
pub trait Outbox: Send {
    /// Name of the sink.
    fn sink(&self) -> &str;

    /// Work on what is due now.
    fn round(&mut self) -> Working<'_>;
}

/// When the next round is worth while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// At once: more may be due.
    Again,
    /// At this time (microseconds UTC), or when the catalogue changes; `None`: only then.
    Until(Option<i64>),
    /// After this pause, whatever the catalogue says.
    Pause(Duration),
}

/// Deliver until cancelled, at the pace that the configuration asks for. Fails at once when a sink cannot be set up.
pub async fn run(catalogue: Catalogue, config: Config, cancel: CancellationToken) -> Result<(), SinkError> {
    let outboxes = outboxes(&catalogue, &config, None)?;
    deliver(catalogue, outboxes, Pace::default(), cancel).await;
    Ok(())
}

/// [`run`] at a given pace, for all sinks.
pub async fn run_at(
    catalogue: Catalogue,
    config: Config,
    pace: Pace,
    cancel: CancellationToken,
) -> Result<(), SinkError> {
    let outboxes = outboxes(&catalogue, &config, Some(&pace))?;
    deliver(catalogue, outboxes, pace, cancel).await;
    Ok(())
}

/// Wait until every delivery is confirmed, parked, held or cancelled. Somebody else must [`run`]; an archive that is down
/// keeps this waiting, so callers set a limit of their own.
pub async fn drained(catalogue: &Catalogue) -> Result<(), CatalogueError> {
    let mut changes = catalogue.subscribe();
    while catalogue.open_deliveries().await? > 0 {
        if changes.changed().await.is_err() {
            // Nobody can write any more, so nothing will change.
            return Ok(());
        }
    }
    Ok(())
}

fn outboxes(catalogue: &Catalogue, config: &Config, pace: Option<&Pace>) -> Result<Vec<Box<dyn Outbox>>, SinkError> {
    let mut outboxes: Vec<Box<dyn Outbox>> = Vec::new();
    for archive in config.archives() {
        let pace = pace.cloned().unwrap_or_else(|| Pace::of(&archive));
        let sink = archive_of(&archive)?;
        let outbox = ArchiveOutbox::new(&archive.name, catalogue.clone(), sink, config.workspace(), pace);
        outboxes.push(Box::new(outbox));
    }
    for monitor in config.monitors() {
        let pace = pace.cloned().unwrap_or_default();
        let sink = monitor_of(&monitor)?;
        outboxes.push(Box::new(HealthOutbox::new(&monitor.name, catalogue.clone(), sink, pace)));
    }
    Ok(outboxes)
}

/// The archive that a configuration describes.
pub fn archive_of(config: &ArchiveConfig) -> Result<Box<dyn Archive>, SinkError> {
    Ok(match config.kind {
        ArchiveKind::Directory => Box::new(directory::Directory::new(&config.path)),
        ArchiveKind::Spool => Box::new(spool::Spool::new(&config.path)),
        ArchiveKind::Ngas => Box::new(ngas::Ngas::new(config)?),
    })
}

/// The health monitor that a configuration describes.
pub fn monitor_of(config: &HealthConfig) -> Result<Box<dyn Monitor>, SinkError> {
    Ok(match config.kind {
        HealthKind::Jsonl => Box::new(health::jsonl::Jsonl::new(&config.path)),
        HealthKind::Http => Box::new(health::http::HttpMonitor::new(config)?),
        HealthKind::Influx => Box::new(health::influx::Influx::new(config)?),
    })
}

/// Run the outboxes until cancelled, each in a task of its own. A panic in one is logged and ends only that round: what
/// it worked on is in the catalogue.
async fn deliver(catalogue: Catalogue, outboxes: Vec<Box<dyn Outbox>>, pace: Pace, cancel: CancellationToken) {
    let mut tasks = JoinSet::new();
    for outbox in outboxes {
        tasks.spawn(supervise(catalogue.clone(), outbox, pace.clone(), cancel.clone()));
    }
    while let Some(ended) = tasks.join_next().await {
        if let Err(panic) = ended {
            error!(error = %panic, "an outbox was lost");
        }
    }
}

async fn supervise(catalogue: Catalogue, outbox: Box<dyn Outbox>, pace: Pace, cancel: CancellationToken) {
    let sink = outbox.sink().to_string();
    let outbox = std::sync::Arc::new(tokio::sync::Mutex::new(outbox));
    info!(sink, "delivery begins");
    loop {
        let (catalogue, outbox, pace_of, token) = (catalogue.clone(), outbox.clone(), pace.clone(), cancel.clone());
        let work = tokio::spawn(async move {
            let mut outbox = outbox.lock().await;
            work(&catalogue, outbox.as_mut(), &pace_of, &token).await;
        });
        let mut work = AbortOnDrop(work);
        match (&mut work.0).await {
            Ok(()) => break,
            Err(panic) => error!(sink, error = %panic, "an outbox broke; it begins again"),
        }
        if pause(pace.longest, &cancel).await {
            break;
        }
    }
    info!(sink, "delivery ends");
}

/// A task that ends with whoever waits for it.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn work(catalogue: &Catalogue, outbox: &mut dyn Outbox, pace: &Pace, cancel: &CancellationToken) {
    let mut changes = catalogue.subscribe();
    while !cancel.is_cancelled() {
        changes.mark_unchanged();
        let sink = outbox.sink().to_string();
        let turn = tokio::select! {
            turn = outbox.round() => turn,
            () = stopped(cancel, pace.stop_grace) => {
                warn!(sink, "stopped in the middle of a delivery; the next start finds out what became of it");
                return;
            }
        };
        match turn {
            // Lost to an operator's act: the next round sees what the item is now.
            Ok(Turn::Again) | Err(CatalogueError::LostRace { .. }) => {}
            Ok(Turn::Pause(length)) => {
                pause(length, cancel).await;
            }
            Ok(Turn::Until(time)) => {
                let now = catalogue.clock().now_us();
                // An upper limit, so that a clock that is set does not strand an item.
                let length = time.map_or(pace.longest, |time| from_us(time - now)).min(pace.longest);
                tokio::select! {
                    _ = changes.changed() => {}
                    () = tokio::time::sleep(length) => {}
                    () = cancel.cancelled() => {}
                }
            }
            Err(fault) => {
                error!(sink, error = %fault.story(), "the catalogue does not serve the outbox");
                pause(pace.first, cancel).await;
            }
        }
    }
}

/// Sleep; true when cancelled.
async fn pause(length: Duration, cancel: &CancellationToken) -> bool {
    tokio::select! {
        () = tokio::time::sleep(length) => false,
        () = cancel.cancelled() => true,
    }
}

async fn stopped(cancel: &CancellationToken, grace: Duration) {
    cancel.cancelled().await;
    tokio::time::sleep(grace).await;
}

fn us(length: Duration) -> i64 {
    i64::try_from(length.as_micros()).unwrap_or(i64::MAX / 4)
}

fn from_us(us: i64) -> Duration {
    Duration::from_micros(u64::try_from(us).unwrap_or(0))
}
