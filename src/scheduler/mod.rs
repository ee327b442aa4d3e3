//! The scheduler: which job runs when, on what memory, how often it is tried, and what its end means for others.
//!
//! What lives here: the task that claims ready jobs, runs them on the executor and commits what they gave in one
//! transaction; the store of products; reconciliation after a crash.
//! What never lives here: the choice of inputs (`association`), the numerics (`recipes`), sending (`delivery`).
//!
//! Invariants: a job runs at most once at a time, and its products, metrics and deliveries appear together or not at all.
//! The death of the process is held against a job only when no other cause is plausible (`orphans`).

pub mod attempt;
pub mod book;
pub mod executor;
pub mod gallery;
pub mod joblog;
mod orphans;
pub mod science;
pub mod store;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use self::attempt::{AttemptError, Order, OrderedFile, OrderedFrame, OrderedMaster, Reduced};
use self::executor::Executor;
use self::gallery::{Gallery, Sheet};
use self::store::StoreError;
use crate::association::Rules;
use crate::catalogue::acts::{GATE, REFUSED};
use crate::catalogue::jobs::{Job, JobChange};
use crate::catalogue::products::{JudgedMetric, NewProduct, Reach};
use crate::catalogue::{Catalogue, CatalogueError, JobId, ProductId, WriteTx};
use crate::config::{Policy, ReleaseConfig, SchedulerConfig, Workspace};
use crate::fault::{Classified, FaultClass, chain};
use crate::fits::Header;
use crate::instrument::Arm;
use crate::quality::{Limits, Verdict};

/// How many ready jobs are looked at to find one that fits into memory.
const LOOK_AHEAD: i64 = 32;

/// Who receives products and metrics.
#[derive(Clone, Debug, Default)]
pub struct Recipients {
    /// Names of archives.
    pub archives: Vec<String>,
    /// Names of health monitors.
    pub monitors: Vec<String>,
    /// Which products wait for an operator.
    pub release: ReleaseConfig,
}

/// Why the scheduler could not do its own work.
#[derive(Debug, thiserror::Error)]
pub enum SchedulerError {
    /// The catalogue.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Classified for SchedulerError {
    fn class(&self) -> FaultClass {
        match self {
            SchedulerError::Catalogue(error) => error.class(),
            SchedulerError::Store(error) => error.class(),
        }
    }
}

/// The scheduler and what it works with.
#[derive(Clone)]
pub struct Scheduler {
    /// Catalogue, open for writing.
    pub catalogue: Catalogue,
    /// Limits and pauses.
    pub config: SchedulerConfig,
    /// Layout of the work folder.
    pub workspace: Workspace,
    /// Threads and memory.
    pub executor: Executor,
    /// QC ranges.
    pub limits: Arc<Limits>,
    /// Who needs what.
    pub rules: Arc<Rules>,
    /// How masters are chosen.
    pub policy: Policy,
    /// Who receives products and metrics.
    pub recipients: Recipients,
    /// This start of the process.
    pub boot_id: String,
    /// Where pictures are drawn.
    pub gallery: Gallery,
}

impl Scheduler {
    /// After a start: take back jobs of dead processes, empty the scratch folder, remove stored files that nobody
    /// knows, make the tree show what the catalogue says.
    pub async fn reconcile(&self) -> Result<(), SchedulerError> {
        let mut tx = self.catalogue.begin().await?;
        let taken = orphans::take_back(&mut tx, &self.boot_id, &self.config).await?;
        tx.commit().await?;
        if taken > 0 {
            tracing::warn!(jobs = taken, "took back jobs of a process that died");
        }
        for (digest, path) in store::stored_digests(&self.workspace)? {
            if !self.catalogue.knows_product(&digest).await? {
                tracing::warn!(file = %path.display(), "removing a stored file that no product uses");
                store::remove_orphan(&path)?;
            }
        }
        for product in self.catalogue.products_in_tree().await? {
            if let Err(error) = store::show(&self.workspace, &product) {
                tracing::error!(product = product.name, error = chain(&error), "the tree cannot show a product");
            }
        }
        for replaced in self.catalogue.replaced_in_tree().await? {
            store::hide(&self.workspace, &replaced)?;
        }
        Ok(())
    }

    /// Run jobs until cancelled; then wait for running ones for the drain time. `tick` is called at every turn.
    pub async fn run(self, cancel: CancellationToken, tick: impl Fn()) {
        let mut changes = self.catalogue.subscribe();
        let mut running = JoinSet::new();
        while !cancel.is_cancelled() {
            changes.borrow_and_update();
            if let Err(error) = self.start_jobs(&mut running).await {
                tracing::error!(error = chain(&error), "the scheduler could not start jobs");
            }
            tick();
            tokio::select! {
                () = cancel.cancelled() => break,
                _ = changes.changed() => {}
                _ = running.join_next(), if !running.is_empty() => {}
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
        }
        if !running.is_empty() {
            tracing::info!(jobs = running.len(), "waiting for running jobs");
            let drained = async { while running.join_next().await.is_some() {} };
            if tokio::time::timeout(Duration::from_secs_f64(self.config.drain_s), drained).await.is_err() {
                tracing::warn!("stopping with jobs unfinished; the next start takes them back");
            }
        }
        self.gallery.finish(Duration::from_secs_f64(self.config.drain_s)).await;
    }

    async fn start_jobs(&self, running: &mut JoinSet<()>) -> Result<(), SchedulerError> {
        while let Some(finished) = running.try_join_next() {
            if let Err(error) = finished {
                tracing::error!(%error, "a job's task ended abnormally");
            }
        }
        if running.len() >= self.config.jobs || !self.has_room().await? {
            return Ok(());
        }
        let mut ready = self.catalogue.ready_jobs(LOOK_AHEAD).await?;
        ready.sort_by_key(orphans::is_suspected);
        for job in ready {
            if running.len() >= self.config.jobs {
                break;
            }
            let suspected = orphans::is_suspected(&job);
            // Whoever has all the memory runs alone.
            let bytes = if suspected { u64::MAX } else { job.peak_bytes.max(0) as u64 };
            let Some(memory) = self.executor.try_reserve(bytes) else { continue };
            let mut tx = self.catalogue.begin().await?;
            let claimed = tx.claim_job(job.id, &self.boot_id).await?;
            tx.commit().await?;
            if !claimed {
                continue;
            }
            let scheduler = self.clone();
            let span = tracing::info_span!("job", job_id = job.id.0, recipe = job.recipe, attempt = job.attempts + 1);
            if suspected {
                span.in_scope(|| tracing::warn!(crashes = job.crashes, "the process died while it ran; runs alone"));
            } else if memory.oversized {
                span.in_scope(|| {
                    tracing::warn!(bytes = job.peak_bytes, "needs more memory than the budget; runs alone")
                });
            }
            running.spawn(
                async move {
                    scheduler.run_job(job).await;
                    drop(memory);
                }
                .instrument(span),
            );
        }
        Ok(())
    }

    /// Is there disk left to work on? The answer is left as a fact, with what to do.
    async fn has_room(&self) -> Result<bool, SchedulerError> {
        let free_mib = free_mib(&self.workspace.root);
        let has_room = free_mib.is_none_or(|free| free >= self.config.min_free_mib);
        let paused = match free_mib {
            Some(free) if !has_room => format!(
                "only {free} MiB free in {}, {} needed; recipes wait until there is room",
                self.workspace.root.display(),
                self.config.min_free_mib
            ),
            _ => String::new(),
        };
        self.catalogue.set_fact("paused", &paused).await?;
        Ok(has_room)
    }

    /// The whole life of one attempt. Errors end in the catalogue, never in the caller.
    async fn run_job(&self, job: Job) {
        let id = job.id;
        let result = match self.order(&job).await {
            Ok(order) => self.attempt(&job, order).await,
            Err(error) => Err(Failure::of(&error)),
        };
        let recorded = match result {
            Ok(outcome) => self.commit(&job, outcome).await,
            Err(failure) => self.record_failure(&job, failure).await,
        };
        if let Err(error) = recorded {
            tracing::error!(error = chain(&error), "the outcome could not be recorded; the job will run again");
            self.give_back(id).await;
        }
    }

    async fn order(&self, job: &Job) -> Result<Order, CatalogueError> {
        let unreadable = |source| CatalogueError::Content { what: "parameters", source };
        let raw = self.catalogue.raw_inputs(job.id).await?.into_iter().map(|input| OrderedFrame {
            meta: input.meta,
            digest: input.digest,
            file: input.file.map(|file| OrderedFile {
                path: file.path.into(),
                size: file.size,
                mtime_us: file.mtime_us,
            }),
        });
        let masters = self.catalogue.master_inputs(job.id).await?.into_iter().map(|master| OrderedMaster {
            path: self.workspace.stored(&master.sha256),
            shown: self.workspace.reduced.join(&master.folder).join(&master.name),
            name: master.name,
            catg: master.catg,
            md5: master.md5,
        });
        let raw: Vec<OrderedFrame> = raw.collect();
        let mut header = match raw.first() {
            Some(first) => self.catalogue.first_header(job.id, first.meta.arm).await?.unwrap_or_default(),
            None => Header::default(),
        };
        if raw.iter().any(|frame| frame.meta.arm != Arm::Nir)
            && let Some(infrared) = self.catalogue.first_header(job.id, Arm::Nir).await?
        {
            science::add_integrations(&mut header, &infrared);
        }
        Ok(Order {
            recipe: job.recipe.clone(),
            parameters: serde_json::from_str(&job.parameters).map_err(unreadable)?,
            ordered: Timestamp::from_microsecond(job.created_us).unwrap_or(Timestamp::UNIX_EPOCH),
            set_name: self.catalogue.set_name_and_keys(job.set_id).await?.0,
            raw,
            masters: masters.collect(),
            header,
            revision: u32::try_from(self.catalogue.earlier_revisions(job.set_id, job.id).await? + 1)
                .unwrap_or(u32::MAX),
            previews: self.config.pictures,
        })
    }

    async fn attempt(&self, job: &Job, order: Order) -> Result<Outcome, Failure> {
        let keys = self.catalogue.set_name_and_keys(job.set_id).await.map_err(|error| Failure::of(&error))?.1;
        let (workspace, limits, scratch) = (self.workspace.clone(), self.limits.clone(), format!("job-{}", job.id));
        let span = tracing::Span::current();
        let finished = self
            .executor
            .run(move || {
                span.in_scope(|| {
                    let mut reduced = attempt::reduce(&order, &limits)?;
                    let products = attempt::store(&order, &reduced, &workspace, &scratch, &keys)?;
                    let at_us = order.raw.first().map_or(0, |frame| frame.meta.date_obs.as_microsecond());
                    let sheets = gallery::sheets(&order, &mut reduced);
                    Ok::<Outcome, AttemptError>(Outcome { reduced, products, at_us, sheets })
                })
            })
            .await;
        match finished {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(error)) => Err(Failure::of(&error)),
            Err(panicked) => Err(Failure { class: FaultClass::Bug, text: panicked.to_string() }),
        }
    }

    /// Products, metrics, deliveries and the job's end: one transaction. The tree follows.
    async fn commit(&self, job: &Job, outcome: Outcome) -> Result<(), SchedulerError> {
        let Outcome { reduced, products, at_us, sheets } = outcome;
        let failed_qc = reduced.verdict == Verdict::Fail;
        let remarks = serde_json::to_string(&reduced.output.remarks)
            .map_err(|source| CatalogueError::Content { what: "remarks", source })?;
        let log = joblog::take(job.id.0);
        let mut tx = self.catalogue.begin().await?;
        for rejected in &reduced.output.rejected {
            tx.put_unused_input(job.id, &rejected.data_id, &rejected.reason).await?;
        }
        for judged in &reduced.qc {
            tx.put_qc(job.id, &job.recipe, at_us, judged).await?;
        }
        for product in &products {
            let id = tx.put_product(job.id, job.set_id, product, reduced.verdict).await?;
            self.offer(&mut tx, job.id, id, product, failed_qc).await?;
            tx.dirty_sets_for(product, &self.rules.users_of(&job.recipe), self.reach_of(product)).await?;
        }
        for monitor in &self.recipients.monitors {
            tx.enqueue_health(monitor, job.id, &job.key).await?;
        }
        tx.put_remarks(job.id, &remarks).await?;
        tx.forgive_crashes(job.id).await?;
        let out_of_range = out_of_range(&reduced.qc);
        let (state, why, class) = if failed_qc {
            ("flagged", "QC failed: the products are kept but serve no one", FaultClass::Quality.code())
        } else {
            ("done", "products stored", "")
        };
        let change =
            JobChange { why, actor: "scheduler", class, error: &out_of_range, log: Some(&log), ..JobChange::default() };
        tx.move_job(job.id, &["running"], state, &change).await?;
        tx.dirty_set(job.set_id).await?;
        tx.commit().await?;
        tracing::info!(state, products = products.len(), "job ended");
        self.gallery.draw(sheets);
        for product in self.catalogue.products_of(job.id).await? {
            store::show(&self.workspace, &product)?;
        }
        for replaced in self.catalogue.replaced_in_tree().await? {
            store::hide(&self.workspace, &replaced)?;
        }
        Ok(())
    }

    /// Queue a product for every archive, or hold it before them: the archive would refuse it, its metrics are out of
    /// range, or the stream is not open yet.
    async fn offer(
        &self,
        tx: &mut WriteTx,
        job: JobId,
        id: ProductId,
        product: &NewProduct,
        failed_qc: bool,
    ) -> Result<(), CatalogueError> {
        let (prodcatg, findings) = product
            .claim
            .as_ref()
            .map_or(("", [].as_slice()), |claim| (claim.prodcatg.as_str(), claim.findings.as_slice()));
        let refused = format!("it fails Phase 3 validation: {}", findings.join("; "));
        for archive in &self.recipients.archives {
            if !findings.is_empty() {
                tx.hold_archive(archive, id, job, REFUSED, &refused).await?;
            } else if failed_qc {
                tx.enqueue_archive(archive, id, job, "held").await?;
            } else if self.recipients.release.holds(prodcatg) {
                tx.hold_archive(archive, id, job, GATE, "it waits for `soxsd release` (release.gatekeeper)").await?;
            } else {
                tx.enqueue_archive(archive, id, job, "queued").await?;
            }
        }
        Ok(())
    }

    /// The data that a master can serve: all later ones, those of its own night, or (in the policies that look both ways)
    /// all, where a newer one need not be better.
    fn reach_of(&self, master: &NewProduct) -> Reach {
        let catg = master.catg.rsplit_once('_').map_or(master.catg.as_str(), |(catg, _arm)| catg);
        let mjd = master.mjd;
        match (self.policy, self.rules.taken(catg)) {
            (Policy::Newest, (true, _)) => Reach { from_mjd: mjd - 1.0, to_mjd: mjd + 1.0, enough: i64::MAX },
            (Policy::Newest, (false, most)) => {
                Reach { from_mjd: mjd, to_mjd: f64::INFINITY, enough: i64::try_from(most).unwrap_or(i64::MAX) }
            }
            _ => Reach { from_mjd: f64::NEG_INFINITY, to_mjd: f64::INFINITY, enough: i64::MAX },
        }
    }

    async fn record_failure(&self, job: &Job, failure: Failure) -> Result<(), SchedulerError> {
        let attempts = job.attempts + 1;
        let exhausted = attempts >= i64::from(self.config.max_attempts);
        let (state, retry, forgiven): (&'static str, bool, bool) = match failure.class {
            FaultClass::Resource => ("ready", true, true),
            FaultClass::Transient if !exhausted => ("ready", true, false),
            FaultClass::Bug => ("failed", false, false),
            _ => ("parked", false, false),
        };
        let pause = pause_s(&self.config, attempts);
        tracing::error!(class = failure.class.code(), error = failure.text, state, "job failed");
        let log = joblog::take(job.id.0);
        let why = match (retry, failure.class) {
            (true, _) => format!("will be tried again in {pause:.0} s: {}", failure.text),
            (false, FaultClass::Transient) => format!("given up after {attempts} attempts: {}", failure.text),
            (false, _) => failure.text.clone(),
        };
        let change = JobChange {
            why: &why,
            actor: "scheduler",
            class: failure.class.code(),
            error: &failure.text,
            log: Some(&log),
            not_before_us: if retry { self.catalogue.clock().now_us() + (pause * 1e6) as i64 } else { 0 },
            reset_attempts: false,
        };
        let mut tx = self.catalogue.begin().await?;
        tx.move_job(job.id, &["running"], state, &change).await?;
        tx.forgive_crashes(job.id).await?;
        if forgiven {
            tx.forgive_attempt(job.id).await?;
        }
        if !retry {
            // Whoever waits for this master must look for the next best.
            tx.dirty_users_of(job.set_id, &self.rules.users_of(&job.recipe)).await?;
        }
        tx.dirty_set(job.set_id).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The outcome could not be written (the disk may be full): the job must not stay "running".
    async fn give_back(&self, job: JobId) {
        let change = JobChange {
            why: "its outcome could not be recorded",
            actor: "scheduler",
            not_before_us: self.catalogue.clock().now_us() + (self.config.retry_first_s * 1e6) as i64,
            ..JobChange::default()
        };
        let given_back = async {
            let mut tx = self.catalogue.begin().await?;
            tx.move_job(job, &["running"], "ready", &change).await?;
            tx.commit().await
        };
        match given_back.await {
            Ok(()) | Err(CatalogueError::LostRace { .. }) => {}
            Err(error) => {
                tracing::error!(error = chain(&error), "the job stays marked as running until the next start")
            }
        }
    }
}

/// Seconds before the next attempt after so many that failed.
fn pause_s(config: &SchedulerConfig, attempts: i64) -> f64 {
    let doublings = attempts.clamp(1, 16) as i32 - 1;
    (config.retry_first_s * 2f64.powi(doublings)).min(config.retry_longest_s)
}

/// What an attempt gave: products are in the store already.
struct Outcome {
    reduced: Reduced,
    products: Vec<NewProduct>,
    /// Start of the first exposure, microseconds UTC.
    at_us: i64,
    /// To be drawn when the products are safe.
    sheets: Vec<Sheet>,
}

/// A failed attempt in the form in which it is recorded.
struct Failure {
    class: FaultClass,
    text: String,
}

impl Failure {
    fn of(error: &impl Classified) -> Failure {
        Failure { class: error.class(), text: chain(error) }
    }
}

/// The metrics that failed, each with its value and range; empty when none did.
fn out_of_range(qc: &[JudgedMetric]) -> String {
    let bound = |bound: Option<f64>, none: &str| bound.map_or(none.to_string(), |bound| bound.to_string());
    let failed = qc.iter().filter(|judged| judged.verdict == Verdict::Fail).map(|judged| {
        let value = judged.metric.number().map_or("absent".to_string(), |value| format!("{value:.4}"));
        let (min, max) = (bound(judged.min, "-inf"), bound(judged.max, "inf"));
        format!("{} = {value} {} is outside {min} .. {max}", judged.metric.name, judged.metric.unit)
    });
    failed.collect::<Vec<String>>().join("; ")
}

/// Free space of the file system of a folder, MiB; `None` when it cannot be found out.
pub fn free_mib(folder: &std::path::Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize) >> 20)
}
