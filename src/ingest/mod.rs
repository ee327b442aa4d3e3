//! Ingest: a file is watched until it is complete, then becomes a frame, or a quarantine with a reason.
//!
//! ```text
//! watch (events)  --wake-->  run  --scan-->  walk -> decide -> examine -> catalogue
//! timer           --wake-->
//! ```
//!
//! One pass over the raw roots (`scan`) is the only code that admits files; events only make it come earlier. A pass
//! compares all of the tree with the catalogue, so it does not matter what was missed, in which order files came, or
//! when the process was killed: the next pass does what is left to do.
//!
//! What never lives here: opening a raw file for writing, moving, renaming or deleting one; pixels; what a frame is
//! good for (`association`).

mod decide;
mod examine;
mod scan;
mod walk;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;

use crate::catalogue::{Catalogue, CatalogueError};
use crate::config::{IngestConfig, WatchMode};
use crate::fault::{Classified, FaultClass, chain};
use crate::fits::ScanLimits;
use crate::instrument::Classification;
use decide::Patience;
use examine::Judge;
use watch::Watch;

/// Files read side by side: enough to keep a disk busy, few enough to leave the processors to the recipes.
const READERS: usize = 4;

/// Events that follow each other closer than this become one scan.
const DEBOUNCE: Duration = Duration::from_millis(150);

/// After a scan that took T, events wait for this many T: scanning a large tree must not become a full-time job.
const REST: u32 = 4;

/// How long at most `tick` is not called while nothing happens.
const TICK: Duration = Duration::from_secs(2);

/// Code of a good file that the catalogue refused.
const NOT_RECORDED: &str = "not_recorded";

/// Why a scan could not be finished. Whatever it recorded before stays; the next scan does the rest.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The catalogue failed.
    #[error("ingest cannot go on")]
    Catalogue(#[from] CatalogueError),
    /// A part of the scan panicked.
    #[error("a part of the scan broke: {reason}")]
    Task {
        /// What the runtime says.
        reason: String,
    },
}

impl Classified for IngestError {
    fn class(&self) -> FaultClass {
        match self {
            IngestError::Catalogue(error) => error.class(),
            IngestError::Task { .. } => FaultClass::Bug,
        }
    }
}

/// What one scan found. Counts are of files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScanReport {
    /// All names below the roots, but hidden and temporary ones.
    pub seen: usize,
    /// Frames that were not known.
    pub frames: usize,
    /// New content of known frames.
    pub versions: usize,
    /// Content that another file carries already.
    pub duplicates: usize,
    /// Older content than the frame has.
    pub superseded: usize,
    /// Known content whose only carrier the file now is: renamed, touched, brought back.
    pub again: usize,
    /// Put into quarantine.
    pub quarantined: usize,
    /// Not frames.
    pub ignored: usize,
    /// No longer there.
    pub gone: usize,
    /// Not complete yet; all of them, not only those found by this scan.
    pub waiting: usize,
    /// Roots and folders that could not be searched, in words.
    pub problems: Vec<String>,
    /// Some file waits, so another scan will bring news even if nothing changes.
    pub pending: bool,
    /// When the first of the waiting files is due, microseconds UTC.
    pub next_look_us: Option<i64>,
}

impl ScanReport {
    /// Did the scan change anything but the files that wait?
    pub fn changed(&self) -> bool {
        let counts = [self.frames, self.versions, self.duplicates, self.superseded, self.again];
        counts.iter().sum::<usize>() + self.quarantined + self.ignored + self.gone > 0
    }
}

/// Takes in files from the raw roots. Clones share everything.
#[derive(Clone)]
pub struct Ingest {
    catalogue: Catalogue,
    roots: Vec<PathBuf>,
    /// Folders of ours that may lie below a root: what we write must not come back in.
    excluded: Vec<PathBuf>,
    mode: WatchMode,
    rescan: Duration,
    judge: Arc<Judge>,
    tick: Arc<dyn Fn() + Send + Sync>,
    scanning: Arc<Mutex<()>>,
}

impl Ingest {
    /// An ingest of these raw roots into this catalogue. With `existing`, the data are taken to be there already: nothing
    /// settles, and a file that is incomplete is quarantined at once.
    pub fn new(
        catalogue: Catalogue,
        classification: Arc<Classification>,
        roots: Vec<PathBuf>,
        config: IngestConfig,
        existing: bool,
    ) -> Ingest {
        // Paths in the catalogue are absolute. Only an empty path cannot be made so; the scan will report it.
        let roots = roots.into_iter().map(|root| std::path::absolute(&root).unwrap_or(root)).collect();
        let patience = Patience {
            settle_us: if existing { 0 } else { microseconds(config.settle_s) },
            deadline_us: microseconds(config.incomplete_deadline_s),
            existing,
        };
        let limits = ScanLimits { bytes: config.max_file_mib.saturating_mul(1 << 20), ..ScanLimits::default() };
        Ingest {
            excluded: catalogue.path().parent().map(Path::to_path_buf).into_iter().collect(),
            catalogue,
            roots,
            mode: config.mode,
            rescan: Duration::try_from_secs_f64(config.rescan_s).unwrap_or(Duration::from_secs(60)),
            judge: Arc::new(Judge { classification, limits, patience }),
            tick: Arc::new(|| ()),
            scanning: Arc::new(Mutex::new(())),
        }
    }

    /// Do not search these folders either, should they lie below a root: trees of products, archives. The folder of the
    /// catalogue is never searched. A folder that is a root itself is searched all the same.
    pub fn excluding(mut self, folders: impl IntoIterator<Item = PathBuf>) -> Ingest {
        self.excluded.extend(folders.into_iter().filter(|folder| !folder.as_os_str().is_empty()));
        self
    }

    /// Call this while [`Ingest::run`] lives: after every batch and scan, and every two seconds of rest.
    pub fn ticking(mut self, tick: impl Fn() + Send + Sync + 'static) -> Ingest {
        self.tick = Arc::new(tick);
        self
    }

    /// One pass over all roots. Idempotent: what is unchanged is not read and not recorded again.
    pub async fn scan_once(&self) -> Result<ScanReport, IngestError> {
        let report = self.pass().await?;
        if report.pending && self.judge.patience.existing {
            // A file is being written after all; callers scan until nothing is pending, and need not do so at full speed.
            tokio::time::sleep(DEBOUNCE).await;
        }
        Ok(report)
    }

    /// Take in files until cancelled: at once, at every event, when a waiting file is due, and at the latest after
    /// `ingest.rescan_s`. Errors are logged and the scan is tried again.
    pub async fn run(self, cancel: CancellationToken) {
        let wake = Arc::new(Notify::new());
        let mut watch = match self.mode {
            WatchMode::Watch => Some(Watch::new(&self.roots, wake.clone())),
            WatchMode::Poll => None,
        };
        loop {
            // Before the scan, so that nothing falls between the two.
            watch = refreshed(watch, &self.roots, &wake).await;
            let started = Instant::now();
            let pause = tokio::select! {
                () = cancel.cancelled() => return,
                outcome = self.pass() => self.pause_after(outcome),
            };
            let rest = DEBOUNCE.max(started.elapsed().saturating_mul(REST)).min(self.rescan);
            (self.tick)();
            tokio::select! {
                () = cancel.cancelled() => return,
                // Due files must not make a full-time job of it either.
                () = rested(&wake, rest, pause.max(rest), &*self.tick) => {}
            }
        }
    }

    /// How long to sleep when no event comes.
    fn pause_after(&self, outcome: Result<ScanReport, IngestError>) -> Duration {
        match outcome {
            Ok(report) => {
                if report.changed() {
                    tracing::info!(
                        frames = report.frames,
                        versions = report.versions,
                        duplicates = report.duplicates,
                        superseded = report.superseded,
                        again = report.again,
                        quarantined = report.quarantined,
                        ignored = report.ignored,
                        gone = report.gone,
                        waiting = report.waiting,
                        "raw roots scanned"
                    );
                }
                let now_us = self.catalogue.clock().now_us();
                let due = report.next_look_us.map(|due| u64::try_from(due.saturating_sub(now_us)).unwrap_or(0));
                due.map_or(self.rescan, |due| Duration::from_micros(due).min(self.rescan))
            }
            Err(error) => {
                tracing::error!(error = chain(&error), class = error.class().code(), "scan of the raw roots failed");
                self.rescan.min(Duration::from_secs(5))
            }
        }
    }
}

/// Wait until an event came and `rest` is over, or until `pause` is.
async fn rested(wake: &Notify, rest: Duration, pause: Duration, tick: &(dyn Fn() + Send + Sync)) {
    let until = tokio::time::Instant::now() + pause;
    let timer = async {
        loop {
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(TICK)).await;
            tick();
        }
    };
    let event = async {
        wake.notified().await;
        tokio::time::sleep(rest).await;
    };
    tokio::select! {
        () = timer => {}
        () = event => {}
    }
}

/// Bring the watch up to date on a thread that may block. Should that panic, a new watch takes its place.
async fn refreshed(watch: Option<Watch>, roots: &[PathBuf], wake: &Arc<Notify>) -> Option<Watch> {
    let mut watch = watch?;
    let refreshing = tokio::task::spawn_blocking(move || {
        watch.refresh();
        watch
    });
    Some(refreshing.await.unwrap_or_else(|_| Watch::new(roots, wake.clone())))
}

fn microseconds(seconds: f64) -> i64 {
    // `as` saturates; the configuration has been checked to be finite and not negative.
    (seconds * 1e6).round() as i64
}
