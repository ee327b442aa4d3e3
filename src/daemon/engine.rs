//! The engine: every room opened, checked and connected, before anything runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::association::{Association, Rules, RulesError, rules};
use crate::catalogue::{Catalogue, CatalogueError};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, ConfigError, Workspace};
use crate::delivery::SinkError;
use crate::fault::{Classified, FaultClass, chain};
use crate::fits::{FitsError, cfitsio_check};
use crate::ingest::Ingest;
use crate::instrument::{Classification, ClassificationError};
use crate::quality::{Limits, LimitsError};
use crate::recipes::RecipeError;
use crate::scheduler::book::RecipeBook;
use crate::scheduler::executor::Executor;
use crate::scheduler::gallery::Gallery;
use crate::scheduler::store::{self, StoreError};
use crate::scheduler::{Recipients, Scheduler, SchedulerError};
use crate::service::ServiceError;

/// Copies of the catalogue that are kept.
const BACKUPS: usize = 7;

/// Why the daemon cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Classification rules.
    #[error(transparent)]
    Classification(#[from] ClassificationError),
    /// Association rules.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// QC ranges.
    #[error(transparent)]
    Limits(#[from] LimitsError),
    /// Recipe parameters.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// The linked cfitsio cannot be used.
    #[error(transparent)]
    Fits(#[from] FitsError),
    /// Catalogue.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// Work folder.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Scheduler.
    #[error(transparent)]
    Scheduler(#[from] SchedulerError),
    /// Archives and monitors.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// Status page.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// Ingest.
    #[error(transparent)]
    Ingest(#[from] crate::ingest::IngestError),
    /// Threads for pixels.
    #[error("cannot make the pixel threads")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// The operating system refused.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// JSON.
    #[error("cannot write JSON")]
    Json {
        /// Cause.
        #[source]
        source: serde_json::Error,
    },
    /// A task ended that should not.
    #[error("a part of the daemon ended by itself: {reason}")]
    TaskEnded {
        /// How.
        reason: String,
    },
    /// Nowhere to look for frames.
    #[error(
        "paths.raw is empty, so no frame would ever be seen; name the folders in which raw frames land, for example \
         raw = [\"/data/raw\"], or use `soxsd reduce DIR`"
    )]
    NoRoots,
    /// Nothing to work on.
    #[error("{path} is not a folder; give the folder that holds the raw frames")]
    NoFolder {
        /// Path given.
        path: PathBuf,
    },
}

impl Classified for DaemonError {
    fn class(&self) -> FaultClass {
        match self {
            DaemonError::Catalogue(error) => error.class(),
            DaemonError::Store(error) => error.class(),
            DaemonError::Scheduler(error) => error.class(),
            DaemonError::Sink(error) => error.class(),
            DaemonError::Service(error) => error.class(),
            DaemonError::Ingest(error) => error.class(),
            DaemonError::Io { .. } | DaemonError::Threads(_) => FaultClass::Resource,
            DaemonError::Json { .. } | DaemonError::TaskEnded { .. } | DaemonError::Fits(_) => FaultClass::Bug,
            DaemonError::NoFolder { .. } => FaultClass::BadInput,
            DaemonError::Config(_)
            | DaemonError::Classification(_)
            | DaemonError::Rules(_)
            | DaemonError::Limits(_)
            | DaemonError::Recipe(_)
            | DaemonError::NoRoots => FaultClass::Config,
        }
    }
}

/// How the engine is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Frames may land at any time.
    Live,
    /// All frames are there: nothing is waited for that is not being made.
    Existing,
}

/// All rooms, connected.
#[derive(Clone)]
pub struct Engine {
    /// Configuration in force.
    pub config: Config,
    /// Layout of the work folder.
    pub workspace: Workspace,
    /// Catalogue, open for writing.
    pub catalogue: Catalogue,
    /// Association task.
    pub association: Association,
    /// Scheduler task.
    pub scheduler: Scheduler,
    /// This start of the process.
    pub boot_id: String,
    /// When it started, microseconds UTC.
    pub started_us: i64,
    classification: Arc<Classification>,
    mode: Mode,
}

/// The checked data files behind the rules.
pub struct CheckedRules {
    /// Classification of frames.
    pub classification: Classification,
    /// Association.
    pub association: Rules,
    /// QC ranges.
    pub limits: Limits,
    /// Recipes with parameters.
    pub book: RecipeBook,
    /// Digest of everything that decides how sets are made and planned.
    digest: String,
}

impl CheckedRules {
    /// Read and check all rules that a configuration names.
    pub fn load(config: &Config) -> Result<CheckedRules, DaemonError> {
        let given = &config.rules;
        let classification =
            Config::rules_text(&given.classification, Classification::builtin_text(), "config/classification.toml")?;
        let association = Config::rules_text(&given.association, rules::BUILTIN, "config/association.toml")?;
        let qc = Config::rules_text(&given.qc, Limits::DEFAULT_TEXT, "config/qc.toml")?;
        let book = RecipeBook::new(&config.recipes)?;
        let known = book.known();
        let policy = format!("{:?}", config.association.policy);
        let recipes: String =
            known.iter().map(|(name, recipe)| format!("{name} {} {}", recipe.version, recipe.parameters)).collect();
        let digest = Sha256::digest([association.0.as_str(), &policy, &recipes, env!("CARGO_PKG_VERSION")].join("\n"));
        Ok(CheckedRules {
            classification: Classification::parse(&classification.0, &classification.1)?,
            association: Rules::parse(&association.0, &association.1)?,
            limits: Limits::parse(&qc.0)?,
            book,
            digest: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        })
    }
}

impl Engine {
    /// Check everything, open the catalogue, take back what a dead process left.
    pub async fn start(config: Config, mode: Mode) -> Result<Engine, DaemonError> {
        cfitsio_check()?;
        crate::delivery::install_tls();
        let rules = CheckedRules::load(&config)?;
        let mut config = config;
        config.paths.work = absolute(&config.paths.work)?;
        for root in &mut config.paths.raw {
            *root = absolute(root)?;
        }
        if let Some(root) = config.monitor.root() {
            config.monitor.path = root;
        }
        let workspace = config.workspace();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let started_us = clock.now_us();
        let catalogue = Catalogue::open(&workspace.catalogue, clock).await?;
        store::prepare(&workspace)?;
        store::check_links(&workspace)?;
        let boot_id = format!("{started_us:x}-{}", std::process::id());
        catalogue.record_boot(&boot_id, env!("CARGO_PKG_VERSION")).await?;
        let executor = Executor::new(config.scheduler.pixel_threads, config.scheduler.memory_mib)?;
        let association_rules = Arc::new(rules.association);
        let mut waits = config.association.clone();
        if mode == Mode::Existing {
            waits.wait_for_master_s = 0.0;
            waits.wait_for_better_s = 1.0e9;
        }
        let association = Association::new(catalogue.clone(), association_rules.clone(), waits, rules.book.known());
        let recipients = Recipients {
            archives: config.archives().into_iter().map(|archive| archive.name).collect(),
            monitors: config.monitors().into_iter().map(|monitor| monitor.name).collect(),
            release: config.release.clone(),
        };
        let scheduler = Scheduler {
            catalogue: catalogue.clone(),
            config: config.scheduler.clone(),
            workspace: workspace.clone(),
            executor,
            limits: Arc::new(rules.limits),
            rules: association_rules,
            policy: config.association.policy,
            recipients,
            boot_id: boot_id.clone(),
            gallery: Gallery::new(config.scheduler.pictures.then(|| workspace.qc.clone())),
        };
        scheduler.reconcile().await?;
        let known_rules = catalogue.facts().await?.into_iter().find(|fact| fact.name == "rules").map(|fact| fact.value);
        if known_rules.as_deref() != Some(rules.digest.as_str()) {
            association.mark_everything().await?;
            catalogue.set_fact("rules", &rules.digest).await?;
        }
        tracing::info!(work = %workspace.root.display(), boot_id, mode = ?mode, "started");
        let classification = Arc::new(rules.classification);
        Ok(Engine { config, workspace, catalogue, association, scheduler, boot_id, started_us, classification, mode })
    }

    /// An ingest task on the configured raw roots. What we write ourselves is never taken for raw data.
    pub fn ingest(&self) -> Ingest {
        let existing = self.mode == Mode::Existing;
        let ours = [
            self.workspace.root.clone(),
            self.workspace.reduced.clone(),
            self.workspace.sof.clone(),
            self.workspace.qc.clone(),
        ];
        let archives = self.config.archives().into_iter().map(|archive| archive.path);
        let (roots, config) = (self.config.paths.raw.clone(), self.config.ingest.clone());
        let feed = self.config.monitor.root();
        Ingest::new(self.catalogue.clone(), self.classification.clone(), roots, config, existing)
            .excluding(ours.into_iter().chain(archives).chain(feed))
    }

    /// For how many days a calibration is inside the plan, by PRO CATG with the arm.
    pub fn fresh_days(&self) -> std::collections::BTreeMap<String, f64> {
        self.scheduler.rules.fresh_days()
    }

    /// The file with the token for commands that act.
    pub fn token_file(&self) -> PathBuf {
        let given = &self.config.service.token_file;
        if given.as_os_str().is_empty() { self.workspace.root.join("token") } else { given.clone() }
    }

    /// One JSON file for watchdogs that cannot speak HTTP.
    pub fn write_heartbeat(&self) -> Result<(), StoreError> {
        let now = self.catalogue.clock().now_us();
        let text = serde_json::json!({
            "at": crate::clock::iso(now), "pid": std::process::id(), "boot_id": self.boot_id,
            "up_s": (now - self.started_us) / 1_000_000,
        });
        store::write_text(&self.workspace.heartbeat, &format!("{text}\n"))
    }

    /// Back the catalogue up at start and at the configured interval until cancelled.
    pub async fn keep_backups(&self, cancel: CancellationToken) {
        let interval = Duration::from_secs_f64(self.config.scheduler.backup_every_s);
        loop {
            match self.catalogue.backup(BACKUPS).await {
                Ok(copy) => tracing::info!(copy = %copy.display(), "catalogue backed up"),
                Err(error) => tracing::error!(error = chain(&error), "the catalogue could not be backed up"),
            }
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(interval) => {}
            }
        }
    }

    /// Close the catalogue and take down the notice of where the daemon is.
    pub async fn stop(&self) {
        // Absent when existing data were reduced.
        let _ = std::fs::remove_file(&self.workspace.daemon);
        if let Err(error) = self.catalogue.record_stop(&self.boot_id).await {
            tracing::warn!(error = chain(&error), "the next start will think that this process died");
        }
        self.catalogue.close().await;
        tracing::info!("stopped");
    }
}

fn absolute(path: &std::path::Path) -> Result<PathBuf, DaemonError> {
    std::path::absolute(path).map_err(|source| DaemonError::Io { what: "find the working folder", source })
}
