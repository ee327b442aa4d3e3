//! The feed of soxs-qc-monitor: a folder that looks as the reference pipeline leaves one behind, and changes only by whole
//! nights.
//!
//! ```text
//!  <monitor.path>/soxspipe.db              snapshot in rollback-journal mode, replaced by rename
//!  <monitor.path>/reduced/<night>/...      products of closed nights, put there and replaced by rename of the whole night
//!  <monitor.path>/closed/<night>.json      says that the night is complete; wrappers of the monitor depend on it
//!  <monitor.path>/.staging/                in the making, on the same disk
//! ```
//!
//! The monitor closes a night after its first complete reading and never reads it again. So a night is published once,
//! when nothing of it is left to do; what comes later stays out until an operator reopens it (`soxsd reopen`) and closes
//! it again (`soxsd export monitor`). Files go first, then the database, then the note: a crash in between publishes the
//! same once more.
//!
//! What never lives here: SQL and what a row says; that is in the catalogue's snapshot.

mod lint;
mod tree;

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::SinkError;
use super::error::io;
use super::folder::blocking;
use crate::catalogue::snapshot::{self, SnapshotError, SnapshotNight};
use crate::catalogue::{Catalogue, CatalogueError};
use crate::clock::iso;
use crate::config::{Config, Workspace};
use crate::fault::{Classified, FaultClass, chain};
use crate::fits::{AtomicError, Placement, write_atomically};
use crate::instrument::Night;

/// Between looks for nights to close.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Name of the database.
const DATABASE: &str = "soxspipe.db";

/// Why a night was not published. What was out before stays; it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum MonitorError {
    /// The snapshot.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The catalogue.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// The folder.
    #[error(transparent)]
    Folder(#[from] SinkError),
    /// A file could not be put in place.
    #[error(transparent)]
    Atomic(#[from] AtomicError),
}

impl Classified for MonitorError {
    fn class(&self) -> FaultClass {
        match self {
            MonitorError::Snapshot(SnapshotError::Catalogue(error)) | MonitorError::Catalogue(error) => error.class(),
            MonitorError::Snapshot(SnapshotError::Foreign { .. }) => FaultClass::Config,
            MonitorError::Snapshot(SnapshotError::Refused { .. }) => FaultClass::Bug,
            MonitorError::Folder(error) => error.class(),
            MonitorError::Atomic(error) => error.class(),
        }
    }
}

/// A file that the monitor would stumble over, and why; it is left out of the tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Place in the tree.
    pub file: String,
    /// What is wrong with it.
    pub why: String,
}

/// The note that a night is complete.
#[derive(Debug, Serialize)]
struct Note<'a> {
    night: &'a str,
    revision: i64,
    published: String,
    metrics: i64,
    files: usize,
    left_out: &'a [LeftOut],
}

/// The feed.
#[derive(Clone)]
pub struct MonitorFeed {
    catalogue: Catalogue,
    workspace: Workspace,
    root: PathBuf,
    close_after: SignedDuration,
}

impl MonitorFeed {
    /// The feed that a configuration asks for, if it does.
    pub fn of(catalogue: &Catalogue, config: &Config) -> Option<MonitorFeed> {
        let root = config.monitor.root()?;
        // A value that is no duration was refused when the configuration was checked.
        let close_after =
            SignedDuration::try_from_secs_f64(config.monitor.close_after_s).unwrap_or(SignedDuration::ZERO);
        Some(MonitorFeed { catalogue: catalogue.clone(), workspace: config.workspace(), root, close_after })
    }

    /// Close nights as they end and publish them, until cancelled.
    pub async fn run(&self, cancel: CancellationToken) {
        let mut changes = self.catalogue.subscribe();
        while !cancel.is_cancelled() {
            changes.mark_unchanged();
            if let Err(fault) = self.turn().await {
                error!(error = chain(&fault), "the catalogue does not serve the monitor's feed");
            }
            tokio::select! {
                () = cancel.cancelled() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
                // An operator's act should be seen soon; a night's work need not be looked at after every step.
                () = async { let _ = changes.changed().await; tokio::time::sleep(Duration::from_secs(2)).await } => {}
            }
        }
    }

    async fn turn(&self) -> Result<(), CatalogueError> {
        self.close_ended().await?;
        // What went wrong is in the catalogue and in the log; the next turn tries again.
        self.publish_closed().await.map(|_| ())
    }

    /// Close every night that has ended long enough ago, is drained and was never closed.
    pub async fn close_ended(&self) -> Result<(), CatalogueError> {
        let now = self.catalogue.clock().now();
        let before = Night::of(now.saturating_sub(self.close_after).unwrap_or(now)).to_string();
        for night in self.catalogue.nights_never_closed(&before).await? {
            let drained = self.catalogue.night_waits_for(&night).await?.is_none();
            if drained && self.catalogue.close_night(&night, "it has ended and nothing of it waits").await? {
                info!(night, "closed for the quality monitor");
            }
        }
        Ok(())
    }

    /// Publish every night that is closed. Returns those that were, and why it failed if it did.
    pub async fn publish_closed(&self) -> Result<Result<Vec<String>, MonitorError>, CatalogueError> {
        self.take_back_notes().await?;
        let nights = self.catalogue.nights_to_publish().await?;
        if nights.is_empty() {
            return Ok(Ok(nights));
        }
        match self.publish(&nights).await {
            Ok(()) => Ok(Ok(nights)),
            Err(fault) => {
                let told = chain(&fault);
                error!(error = told, nights = nights.join(" "), "not published for the quality monitor");
                for night in &nights {
                    self.catalogue.night_failed(night, &told).await?;
                }
                Ok(Err(fault))
            }
        }
    }

    async fn publish(&self, nights: &[String]) -> Result<(), MonitorError> {
        let staging = self.root.join(".staging");
        tree::empty(&staging)?;
        let mut shown = Vec::new();
        for night in nights {
            let files = self.catalogue.night_files(night).await?;
            let (workspace, root, staging, of) =
                (self.workspace.clone(), self.root.clone(), staging.clone(), night.clone());
            shown.push(blocking(move || tree::publish(&workspace, &root, &staging, &of, &files)).await?);
        }
        let held = self.publish_database(&staging.join(DATABASE), nights).await?;
        for (night, shown) in nights.iter().zip(&shown) {
            let metrics = held.iter().find(|row| row.night == *night).map_or(0, |row| row.metrics);
            self.catalogue.night_was_published(night, metrics, shown.files as i64).await?;
            self.leave_note(night, metrics, shown).await?;
            for left in &shown.left_out {
                error!(night, file = left.file, why = left.why, "left out of the monitor's tree");
            }
            info!(night, metrics, files = shown.files, "published for the quality monitor");
        }
        Ok(())
    }

    /// The new database is made from the one that is out, so that nights that are closed do not change in it.
    async fn publish_database(&self, staged: &Path, nights: &[String]) -> Result<Vec<SnapshotNight>, MonitorError> {
        let target = self.root.join(DATABASE);
        let mut all = nights.to_vec();
        if snapshot::is_sound(&target).await? {
            std::fs::copy(&target, staged).map_err(io("copy", &target))?;
        } else {
            all.extend(self.catalogue.nights_published().await?);
        }
        let held = self.catalogue.write_snapshot(staged, &all).await?;
        write_atomically::<MonitorError>(
            &target,
            &Placement { scratch: staged.parent(), read_only: false },
            |temporary| std::fs::rename(staged, temporary).map_err(|error| io("rename", staged)(error).into()),
        )?;
        Ok(held)
    }

    async fn leave_note(&self, night: &str, metrics: i64, shown: &tree::Shown) -> Result<(), MonitorError> {
        let state = self.catalogue.monitor_night(night).await?;
        let note = Note {
            night,
            revision: state.map_or(1, |state| state.revision),
            published: format!("{}Z", iso(self.catalogue.clock().now_us())),
            metrics,
            files: shown.files,
            left_out: &shown.left_out,
        };
        let text = serde_json::to_string_pretty(&note)
            .map_err(|error| SinkError::Broken { reason: format!("a note cannot be written as JSON: {error}") })?;
        Ok(super::folder::write_text(&self.note(night), &format!("{text}\n"))?)
    }

    /// A night that is in work again is not complete.
    async fn take_back_notes(&self) -> Result<(), CatalogueError> {
        for night in self.catalogue.nights_reopened().await? {
            if std::fs::remove_file(self.note(&night)).is_ok() {
                info!(night, "reopened: the monitor's note that it is complete is taken back");
            }
        }
        Ok(())
    }

    fn note(&self, night: &str) -> PathBuf {
        self.root.join("closed").join(format!("{night}.json"))
    }
}
