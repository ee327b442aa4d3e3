//! One pass over the raw tree, and the only code that admits files: walk, compare with the catalogue, read what is new,
//! record in order.
//!
//! What never lives here: waiting (`run` in the module's root), and what makes a file good (`decide`, `examine`).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::decide::{Step, step};
use super::examine::{Candidate, Finding, Judge, Outcome};
use super::walk::{self, Promise, Seen, Tree};
use super::{Ingest, IngestError, NOT_RECORDED, READERS, ScanReport};
use crate::catalogue::files::{Accepted, Content, KnownFile};
use crate::catalogue::{CatalogueError, FileId, WriteTx};
use crate::fault::chain;

/// A transaction holds at most so many files...
const BATCH_FILES: usize = 200;
/// ... and files of together about so many bytes, so that frames of a backlog appear one after another.
const BATCH_BYTES: i64 = 256 << 20;

/// Name of the fact with the folders behind the raw roots, as JSON.
const IDENTITIES: &str = "raw_root_identity";

/// A file on its way through a batch.
enum Work {
    Read(Candidate),
    Record(Finding),
}

impl Work {
    fn order(&self) -> (i64, &str) {
        let look = match self {
            Work::Read(candidate) => &candidate.look,
            Work::Record(finding) => &finding.look,
        };
        (look.mtime_us, &look.path)
    }

    fn bytes(&self) -> i64 {
        match self {
            Work::Read(candidate) => candidate.look.size,
            Work::Record(_) => 0,
        }
    }
}

/// What the comparison of tree and catalogue asks for.
struct Comparison {
    work: Vec<Work>,
    gone: Vec<FileId>,
    /// Files that wait and are not due, and when the first of them is.
    waiting: usize,
    next_look_us: Option<i64>,
    /// What is wrong with roots and folders.
    problems: Vec<String>,
    /// Folders behind the roots, to be remembered.
    identities: BTreeMap<String, String>,
}

impl Ingest {
    /// See [`Ingest::scan_once`].
    pub(super) async fn pass(&self) -> Result<ScanReport, IngestError> {
        let _one_at_a_time = self.scanning.lock().await;
        let remembered = self.remembered_identities().await?;
        let known = self.catalogue.known_files().await?;
        let ingest = self.clone();
        let (seen, comparison) = blocking(move || {
            let tree = walk::walk(&ingest.roots, &ingest.excluded);
            let seen = tree.files.len();
            (seen, ingest.compare(tree, known, remembered))
        })
        .await?;
        let mut report = ScanReport {
            seen,
            waiting: comparison.waiting,
            next_look_us: comparison.next_look_us,
            problems: comparison.problems,
            ..ScanReport::default()
        };
        self.record_gone(&comparison.gone, &mut report).await?;
        self.read_and_record(comparison.work, &mut report).await?;
        report.pending = report.waiting > 0;
        self.leave_facts(&report, &comparison.identities).await?;
        Ok(report)
    }

    fn compare(&self, tree: Tree, known: Vec<KnownFile>, remembered: BTreeMap<String, String>) -> Comparison {
        let now_us = self.catalogue.clock().now_us();
        let known: HashMap<&str, &KnownFile> = known.iter().map(|known| (known.path.as_str(), known)).collect();
        let (lost_roots, mut problems, identities) = judge_roots(&tree, &known, remembered);
        problems.extend(tree.problems.iter().cloned());
        let gone = self.gone(&tree, &known, &lost_roots);
        let mut comparison =
            Comparison { work: Vec::new(), gone, waiting: 0, next_look_us: None, problems, identities };
        for seen in tree.files {
            let known = known.get(seen.look.path.as_str()).copied();
            self.compare_file(seen, known, now_us, &mut comparison);
        }
        // The outcome must not depend on the order of a listing.
        comparison.work.sort_by(|a, b| a.order().cmp(&b.order()));
        comparison
    }

    fn compare_file(&self, seen: Seen, known: Option<&KnownFile>, now_us: i64, comparison: &mut Comparison) {
        let Seen { look, path, promise } = seen;
        let unchanged = |state: &str, code: &str| {
            known.is_some_and(|known| {
                known.state == state
                    && (code.is_empty() || known.code == code)
                    && (known.size, known.mtime_us) == (look.size, look.mtime_us)
            })
        };
        let outcome = match promise {
            // Other files may grow as they like.
            Promise::Other(_) if known.is_some_and(|known| known.state == "ignored") => return,
            Promise::Other(reason) => Outcome::Ignored { reason },
            Promise::Broken(code, _) if unchanged("quarantined", code) => return,
            Promise::Broken(code, reason) => Outcome::Quarantined { code, reason: format!("{}: {reason}", look.path) },
            Promise::Frame => match step(known, &look, now_us, self.judge.patience) {
                Step::Leave => return,
                Step::LeaveUntil(until_us) => {
                    comparison.waiting += 1;
                    comparison.next_look_us = earlier(comparison.next_look_us, until_us);
                    return;
                }
                Step::Settle(until_us) => {
                    let reason = "it must stand still before it is read".to_string();
                    Outcome::Waits { changed: true, reason, until_us }
                }
                Step::Examine { still_us, changed } => {
                    let known_code = known.map(|known| known.code.clone()).unwrap_or_default();
                    comparison.work.push(Work::Read(Candidate { look, path, known_code, still_us, changed }));
                    return;
                }
            },
        };
        comparison.work.push(Work::Record(Finding { look, outcome }));
    }

    /// Known files that are no longer there, as far as that can be said.
    fn gone(&self, tree: &Tree, known: &HashMap<&str, &KnownFile>, lost_roots: &HashSet<&Path>) -> Vec<FileId> {
        let seen: HashSet<&str> = tree.files.iter().map(|seen| seen.look.path.as_str()).collect();
        let mut gone: Vec<(&str, FileId)> = known
            .values()
            .filter(|known| known.state != "gone" && !seen.contains(known.path.as_str()))
            .filter(|known| {
                let path = Path::new(&known.path);
                let mut roots = tree.roots.iter().filter(|root| path.starts_with(&root.path)).peekable();
                // A file of a root that is no longer configured is nobody's business.
                roots.peek().is_some()
                    && roots.all(|root| root.state.is_ok() && !lost_roots.contains(root.path.as_path()))
                    && !tree.blind.iter().any(|blind| path.starts_with(blind))
            })
            .map(|known| (known.path.as_str(), known.id))
            .collect();
        gone.sort_unstable_by_key(|(path, _)| *path);
        gone.into_iter().map(|(_, id)| id).collect()
    }

    async fn record_gone(&self, gone: &[FileId], report: &mut ScanReport) -> Result<(), IngestError> {
        for batch in gone.chunks(BATCH_FILES) {
            let mut tx = self.catalogue.begin().await?;
            for file in batch {
                tx.file_gone(*file).await?;
            }
            tx.commit().await?;
            report.gone += batch.len();
        }
        Ok(())
    }

    /// Read a batch while the one before it is being recorded. At most two batches are in memory.
    async fn read_and_record(&self, work: Vec<Work>, report: &mut ScanReport) -> Result<(), IngestError> {
        let mut batches = batches(work).into_iter();
        let mut reading = batches.next().map(|batch| tokio::spawn(self.clone().read(batch)));
        while let Some(current) = reading.take() {
            let findings = current.await.map_err(|error| IngestError::Task { reason: error.to_string() })??;
            reading = batches.next().map(|batch| tokio::spawn(self.clone().read(batch)));
            self.record(findings, report).await?;
            (self.tick)();
        }
        Ok(())
    }

    async fn read(self, batch: Vec<Work>) -> Result<Vec<Finding>, IngestError> {
        let now = self.catalogue.clock().now();
        blocking(move || {
            let judge: &Judge = &self.judge;
            side_by_side(batch, |work| match work {
                Work::Read(candidate) => judge.examine(candidate, now),
                Work::Record(finding) => finding,
            })
        })
        .await
    }

    /// Record a batch in one transaction. Should one file make it fail, the others must not suffer: then each gets its
    /// own, and the culprit is quarantined and tried again at the next scan.
    async fn record(&self, findings: Vec<Finding>, report: &mut ScanReport) -> Result<(), IngestError> {
        let Err(error) = self.record_together(&findings, report).await else { return Ok(()) };
        tracing::warn!(error = chain(&error), files = findings.len(), "a batch could not be recorded: one by one now");
        for finding in findings {
            let Err(error) = self.record_together(std::slice::from_ref(&finding), report).await else { continue };
            let reason = format!("{}: {}", finding.look.path, chain(&error));
            let refused = Finding { look: finding.look, outcome: Outcome::Quarantined { code: NOT_RECORDED, reason } };
            self.record_together(&[refused], report).await?;
        }
        Ok(())
    }

    async fn record_together(&self, findings: &[Finding], report: &mut ScanReport) -> Result<(), CatalogueError> {
        let mut tx = self.catalogue.begin().await?;
        let mut accepted = Vec::new();
        for finding in findings {
            accepted.push(record_one(&mut tx, finding).await?);
        }
        tx.commit().await?;
        for (finding, accepted) in findings.iter().zip(accepted) {
            report.count(finding, accepted);
            announce(finding, accepted);
        }
        Ok(())
    }

    async fn remembered_identities(&self) -> Result<BTreeMap<String, String>, IngestError> {
        let facts = self.catalogue.facts().await?;
        let text = facts.into_iter().find(|fact| fact.name == IDENTITIES).map(|fact| fact.value);
        // What cannot be read is as good as not remembered.
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
    }

    async fn leave_facts(&self, report: &ScanReport, identities: &BTreeMap<String, String>) -> Result<(), IngestError> {
        let identities = serde_json::to_string(identities).unwrap_or_default();
        self.catalogue.set_fact(IDENTITIES, &identities).await?;
        let problem = report.problems.join("; ");
        let facts = self.catalogue.facts().await?;
        let before = facts.iter().find(|fact| fact.name == "raw_root_error").map(|fact| fact.value.as_str());
        if before.unwrap_or_default() != problem {
            if problem.is_empty() {
                tracing::info!("raw roots are all right again");
            } else {
                tracing::error!(problem, "raw roots cannot be searched completely");
            }
            self.catalogue.set_fact("raw_root_error", &problem).await?;
        }
        // Not after every scan of a burst: each fact is a transaction.
        let now_us = self.catalogue.clock().now_us();
        let last = facts.iter().find(|fact| fact.name == "last_scan").map(|fact| fact.at_us);
        if last.is_none_or(|last| now_us.abs_diff(last) >= 5_000_000) {
            self.catalogue.set_fact("last_scan", &crate::clock::iso(now_us)).await?;
        }
        Ok(())
    }
}

impl ScanReport {
    fn count(&mut self, finding: &Finding, accepted: Option<Accepted>) {
        let counter = match (&finding.outcome, accepted) {
            (_, Some(Accepted::NewFrame(_))) => &mut self.frames,
            (_, Some(Accepted::NewVersion(_))) => &mut self.versions,
            (_, Some(Accepted::Duplicate(_))) => &mut self.duplicates,
            (_, Some(Accepted::Superseded(_))) => &mut self.superseded,
            (_, Some(Accepted::Again(_))) => &mut self.again,
            (Outcome::Quarantined { .. }, None) => &mut self.quarantined,
            (Outcome::Ignored { .. }, None) => &mut self.ignored,
            (Outcome::Waits { until_us, .. }, None) => {
                self.next_look_us = earlier(self.next_look_us, *until_us);
                &mut self.waiting
            }
            (Outcome::Nothing | Outcome::Frame(_), None) => return,
        };
        *counter += 1;
    }
}

async fn record_one(tx: &mut WriteTx, finding: &Finding) -> Result<Option<Accepted>, CatalogueError> {
    let look = &finding.look;
    match &finding.outcome {
        Outcome::Frame(frame) => {
            let content =
                Content { digest: &frame.digest, bytes: frame.bytes, meta: &frame.meta, header: &frame.header };
            return tx.accept_file(look, &content).await.map(Some);
        }
        Outcome::Waits { changed, reason, .. } => tx.file_waits(look, *changed, reason).await?,
        Outcome::Quarantined { code, reason } => tx.quarantine_file(look, code, reason).await.map(|_| ())?,
        Outcome::Ignored { reason } => tx.ignore_file(look, reason).await?,
        Outcome::Nothing => {}
    }
    Ok(None)
}

/// One line in the log for each frame and each quarantine, after it is durable.
fn announce(finding: &Finding, accepted: Option<Accepted>) {
    let path = finding.look.path.as_str();
    match &finding.outcome {
        Outcome::Frame(frame) => {
            let meta = &frame.meta;
            let span = tracing::info_span!("frame", data_id = meta.data_id, arm = %meta.arm);
            let _entered = span.enter();
            let warnings = meta.warnings.len();
            match accepted {
                Some(Accepted::NewFrame(_)) => {
                    tracing::info!(path, kind = meta.kind, usage = meta.usage.as_str(), warnings, "frame accepted");
                }
                Some(Accepted::NewVersion(_)) => {
                    tracing::info!(path, kind = meta.kind, "new content of a frame accepted")
                }
                Some(Accepted::Again(_)) => tracing::info!(path, "frame found again"),
                Some(Accepted::Duplicate(_)) => tracing::info!(path, "duplicate of a frame"),
                Some(Accepted::Superseded(_)) => tracing::info!(path, "older content of a frame"),
                None => {}
            }
        }
        Outcome::Quarantined { code, reason } => {
            let span = tracing::info_span!("frame", data_id = finding.look.name);
            span.in_scope(|| tracing::info!(path, code, reason, "file quarantined"));
        }
        Outcome::Waits { reason, .. } => tracing::debug!(path, reason, "file waits"),
        Outcome::Ignored { reason } => tracing::debug!(path, reason, "file ignored"),
        Outcome::Nothing => {}
    }
}

/// Roots whose folder cannot be trusted to be the one that held the known files, problems in words, and the folders
/// to remember. A disk that is not mounted leaves an empty folder in its place: its files are not gone.
fn judge_roots<'a>(
    tree: &'a Tree,
    known: &HashMap<&str, &KnownFile>,
    mut identities: BTreeMap<String, String>,
) -> (HashSet<&'a Path>, Vec<String>, BTreeMap<String, String>) {
    let mut lost = HashSet::new();
    let mut problems = Vec::new();
    for root in &tree.roots {
        let identity = match &root.state {
            Ok(identity) => identity.to_string(),
            Err(problem) => {
                problems.push(problem.clone());
                continue;
            }
        };
        let name = root.path.to_string_lossy().into_owned();
        if identities.get(&name) == Some(&identity) {
            continue;
        }
        let is_live = |path: &str| known.get(path).is_some_and(|known| known.state != "gone");
        let expected =
            || known.values().any(|file| file.state != "gone" && Path::new(&file.path).starts_with(&root.path));
        let found = || tree.files.iter().any(|seen| seen.path.starts_with(&root.path) && is_live(&seen.look.path));
        if identities.contains_key(&name) && expected() && !found() {
            problems.push(format!(
                "raw root {name}: another folder than before, with none of the files known there; mount it again, or \
                 remove it from paths.raw"
            ));
            lost.insert(root.path.as_path());
        } else {
            identities.insert(name, identity);
        }
    }
    (lost, problems, identities)
}

fn batches(work: Vec<Work>) -> Vec<Vec<Work>> {
    let mut batches: Vec<Vec<Work>> = Vec::new();
    let mut bytes = 0i64;
    for work in work {
        let size = work.bytes();
        match batches.last_mut() {
            Some(batch) if batch.len() < BATCH_FILES && bytes.saturating_add(size) <= BATCH_BYTES => batch.push(work),
            _ => {
                bytes = 0;
                batches.push(vec![work]);
                bytes = bytes.saturating_add(size);
                continue;
            }
        }
        bytes = bytes.saturating_add(size);
    }
    batches
}

/// Do the work on a few threads of our own, which end with it; results come in the order of the work. Blocking.
fn side_by_side<W: Send, R: Send>(work: Vec<W>, examine: impl Fn(W) -> R + Sync) -> Vec<R> {
    let queue = Mutex::new(work.into_iter().enumerate());
    let done = Mutex::new(Vec::new());
    let reader = || {
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((index, work)) = next else { return };
            let result = examine(work);
            done.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..READERS {
            // A thread that cannot be had is no loss: this one does all that is left.
            let _ = std::thread::Builder::new().name("ingest".to_string()).spawn_scoped(scope, reader);
        }
        reader();
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

fn earlier(present: Option<i64>, candidate: i64) -> Option<i64> {
    Some(present.map_or(candidate, |present| present.min(candidate)))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, IngestError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| IngestError::Task { reason: error.to_string() })
}
