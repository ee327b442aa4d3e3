//! What operators do: each act is one transaction that also journals who, when, why and what came of it.
//!
//! An act on a frame or a set reaches the job of that set; an act on a set, a job or a night reaches its deliveries too.
//! What an act cannot change it leaves alone; when it can change nothing, it fails and says what can be done instead.

use serde::{Deserialize, Serialize};
use sqlx::FromRow;

use super::deliveries::DeliveryChange;
use super::jobs::JobChange;
use super::target::{Match, Resolution, Target};
use super::{Catalogue, CatalogueError, DeliveryId, During, JobId, ProductId, Result, WriteTx};
use crate::fault::{Classified, FaultClass};

/// What an operator can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Try again what was given up: a parked or failed job, a parked delivery, a quarantined file.
    Retry,
    /// Keep a job from running, or a delivery from being sent.
    Hold,
    /// Let go what is held.
    Release,
    /// Run a finished job once more.
    Reprocess,
    /// Withdraw a product: it serves as a master no more and is not delivered.
    Reject,
    /// Take a withdrawn product back, or use one whose metrics are out of range.
    Accept,
    /// Take a product back from the archives, also from those that have it already.
    Withdraw,
    /// Close a night for the quality monitor: nothing of it is left to do.
    Close,
    /// Take a night that is closed for the quality monitor back into work.
    Reopen,
}

impl Act {
    /// Every act.
    pub const ALL: [Act; 9] = [
        Act::Retry,
        Act::Hold,
        Act::Release,
        Act::Reprocess,
        Act::Reject,
        Act::Accept,
        Act::Withdraw,
        Act::Close,
        Act::Reopen,
    ];

    /// Must a reason be given?
    pub fn needs_reason(self) -> bool {
        matches!(self, Act::Reject | Act::Withdraw | Act::Reopen)
    }

    /// Stable identifier, the name of the command.
    pub fn as_str(self) -> &'static str {
        match self {
            Act::Retry => "retry",
            Act::Hold => "hold",
            Act::Release => "release",
            Act::Reprocess => "reprocess",
            Act::Reject => "reject",
            Act::Accept => "accept",
            Act::Withdraw => "withdraw",
            Act::Close => "close",
            Act::Reopen => "reopen",
        }
    }

    /// Inverse of [`Act::as_str`].
    pub fn parse(text: &str) -> Option<Act> {
        Act::ALL.into_iter().find(|act| act.as_str() == text)
    }
}

/// What came of an act.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ActOutcome {
    /// The act.
    pub act: Act,
    /// On what, as `kind:id`.
    pub target: String,
    /// Who.
    pub who: String,
    /// When, microseconds UTC.
    pub at_us: i64,
    /// Each change in one line.
    pub changes: Vec<String>,
}

/// Why an act was not done. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    /// Nothing has this name.
    #[error("nothing is called {target:?}{}", suggestions(.similar))]
    NoTarget {
        /// As given.
        target: String,
        /// What contains it.
        similar: Vec<Match>,
    },
    /// Several things have this name.
    #[error("{target:?} can mean {}; give one of these instead", listed(.matches))]
    Ambiguous {
        /// As given.
        target: String,
        /// What it can mean.
        matches: Vec<Match>,
    },
    /// The target is in no state that the act can change.
    #[error("cannot {act} {target} ({present}); {}", remedies(.admits))]
    NotAdmitted {
        /// The act.
        act: &'static str,
        /// The target as `kind:id`.
        target: String,
        /// What it is now.
        present: String,
        /// Acts that it admits.
        admits: Vec<&'static str>,
    },
    /// Who did it must be said, and for some acts why.
    #[error("{act} needs {what}")]
    Unsaid {
        /// The act.
        act: &'static str,
        /// What must be said.
        what: &'static str,
    },
    /// The catalogue failed.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
}

impl ActError {
    /// Stable identifier.
    pub fn code(&self) -> &'static str {
        match self {
            ActError::NoTarget { .. } => "no_target",
            ActError::Ambiguous { .. } => "ambiguous",
            ActError::NotAdmitted { .. } => "not_admitted",
            ActError::Unsaid { .. } => "unsaid",
            ActError::Catalogue(_) => "catalogue",
        }
    }
}

impl Classified for ActError {
    fn class(&self) -> FaultClass {
        match self {
            ActError::Catalogue(error) => error.class(),
            _ => FaultClass::BadInput,
        }
    }
}

fn suggestions(similar: &[Match]) -> String {
    if similar.is_empty() { String::new() } else { format!("; similar: {}", listed(similar)) }
}

fn listed(matches: &[Match]) -> String {
    let shown: Vec<String> =
        matches.iter().take(5).map(|found| format!("{} ({}, {})", found.target, found.name, found.detail)).collect();
    let more = matches.len().saturating_sub(5);
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}

fn remedies(admits: &[&str]) -> String {
    if admits.is_empty() { "it admits no act now".to_string() } else { format!("it admits: {}", admits.join(", ")) }
}

/// Class of deliveries that are held because the archive would refuse the file.
pub const REFUSED: &str = "phase3";
/// Class of deliveries that are held for an operator's word.
pub const GATE: &str = "gate";
/// Class of deliveries that were taken back.
pub const WITHDRAWN: &str = "withdrawn";

/// Everything that an act on a target could reach.
struct Scope {
    files: Vec<FileState>,
    jobs: Vec<JobState>,
    products: Vec<ProductState>,
    deliveries: Vec<DeliveryState>,
    night: Option<NightScope>,
}

/// A night as its quality monitor has it.
struct NightScope {
    night: String,
    /// `open`, `closed`, `published` or `reopened`.
    state: String,
    /// What of it is left to do.
    waits: Option<String>,
}

#[derive(FromRow)]
struct FileState {
    id: i64,
    name: String,
    state: String,
}

#[derive(FromRow)]
struct JobState {
    id: JobId,
    state: String,
    class: String,
    created_us: i64,
    deadline_us: Option<i64>,
    /// State from which it was held; empty when it is not held.
    held_from: String,
}

#[derive(FromRow)]
struct ProductState {
    id: ProductId,
    name: String,
    state: String,
    verdict: String,
}

#[derive(FromRow)]
struct DeliveryState {
    id: DeliveryId,
    sink: String,
    key: String,
    state: String,
    /// The archive would refuse the file.
    refused: bool,
    /// State from which it was cancelled; empty when it is not.
    cancelled_from: String,
}

/// One change of one row.
enum Step<'a> {
    LookAgain(&'a FileState),
    Job(&'a JobState, &'static str),
    Delivery(&'a DeliveryState, &'static str),
    Reject(&'a ProductState),
    Withdraw(&'a ProductState),
    Restore(&'a ProductState),
    Overrule(&'a ProductState),
    Night(&'a NightScope, &'static str),
}

impl Scope {
    /// What the act would change here; empty when it is not admitted.
    fn steps(&self, act: Act) -> Vec<Step<'_>> {
        let jobs = |from: &'static [&'static str], to: fn(&JobState) -> &'static str| {
            self.jobs
                .iter()
                .filter(move |job| from.contains(&job.state.as_str()))
                .map(move |job| Step::Job(job, to(job)))
        };
        let deliveries = |from: &'static str, to: &'static str| {
            self.deliveries.iter().filter(move |item| item.state == from).map(move |item| Step::Delivery(item, to))
        };
        match act {
            Act::Retry => {
                let files = self.files.iter().filter(|file| file.state == "quarantined").map(Step::LookAgain);
                files.chain(jobs(&["parked", "failed"], retried)).chain(deliveries("parked", "queued")).collect()
            }
            Act::Hold => jobs(&["ready", "waiting"], |_| "held").chain(deliveries("queued", "held")).collect(),
            Act::Release => {
                let open = |step: &Step<'_>| !matches!(step, Step::Delivery(item, _) if item.refused);
                jobs(&["held"], released).chain(deliveries("held", "queued")).filter(open).collect()
            }
            Act::Reprocess => jobs(&["done", "flagged", "parked", "failed"], retried).collect(),
            Act::Reject => {
                self.products.iter().filter(|product| product.state == "current").map(Step::Reject).collect()
            }
            Act::Withdraw => {
                let offered = self.deliveries.iter().any(|item| item.state != "cancelled");
                self.products.iter().filter(|_| offered).map(Step::Withdraw).collect()
            }
            Act::Close => {
                let ready =
                    |night: &&NightScope| night.waits.is_none() && matches!(night.state.as_str(), "open" | "reopened");
                self.night.iter().filter(ready).map(|night| Step::Night(night, "closed")).collect()
            }
            Act::Reopen => {
                let out = |night: &&NightScope| matches!(night.state.as_str(), "closed" | "published");
                self.night.iter().filter(out).map(|night| Step::Night(night, "reopened")).collect()
            }
            Act::Accept => self
                .products
                .iter()
                .filter_map(|product| match (product.state.as_str(), product.verdict.as_str()) {
                    ("bad", _) => Some(Step::Restore(product)),
                    ("current", "fail") => Some(Step::Overrule(product)),
                    _ => None,
                })
                .collect(),
        }
    }

    /// What is there, for the message that nothing can be done with it.
    fn present(&self) -> String {
        let files = self.files.iter().map(|file| format!("file {} is {}", file.name, file.state));
        let jobs = self.jobs.iter().map(|job| format!("job:{} is {}", job.id, job.state));
        let products = self
            .products
            .iter()
            .map(|product| format!("{} is {} with verdict {}", product.name, product.state, product.verdict));
        let deliveries = self.deliveries.iter().map(|item| {
            let refused = if item.refused { ": the file fails Phase 3 validation" } else { "" };
            format!("delivery to {} is {}{refused}", item.sink, item.state)
        });
        let night = self.night.iter().map(|night| {
            let waits = night.waits.as_ref().map_or(String::new(), |waits| format!(", and of it {waits}"));
            format!("night {} is {}{waits}", night.night, night.state)
        });
        let all: Vec<String> = night.chain(files).chain(products).chain(jobs).chain(deliveries).collect();
        let more = all.len().saturating_sub(4);
        match (all.is_empty(), more) {
            (true, _) => "it has no job yet".to_string(),
            (false, 0) => all.join(", "),
            (false, more) => format!("{} and {more} more", all.get(..4).unwrap_or_default().join(", ")),
        }
    }
}

/// A job that gave up waiting for a master waits again; others run.
fn retried(job: &JobState) -> &'static str {
    if job.class == FaultClass::Missing.code() { "waiting" } else { "ready" }
}

/// A job that was held while it waited goes on waiting.
fn released(job: &JobState) -> &'static str {
    if job.held_from == "waiting" { "waiting" } else { "ready" }
}

impl Catalogue {
    /// Do `act` on `target` (`kind:id`, or a name that stands for one thing) in the name of `who`.
    pub async fn act(&self, who: &str, act: Act, target: &str, why: &str) -> std::result::Result<ActOutcome, ActError> {
        if who.trim().is_empty() {
            return Err(ActError::Unsaid { act: act.as_str(), what: "the name of who does it" });
        }
        if act.needs_reason() && why.trim().is_empty() {
            return Err(ActError::Unsaid { act: act.as_str(), what: "a reason" });
        }
        // Nobody else writes from here on, so what is read now is what will be changed.
        let mut tx = self.begin().await?;
        let target = match self.resolve(target).await? {
            Resolution::One(found) => found,
            Resolution::Several(matches) => return Err(ActError::Ambiguous { target: target.to_string(), matches }),
            Resolution::Nothing(similar) => return Err(ActError::NoTarget { target: target.to_string(), similar }),
        };
        let scope = self.scope(&target).await?;
        let steps = scope.steps(act);
        if steps.is_empty() {
            return Err(ActError::NotAdmitted {
                act: act.as_str(),
                target: target.to_string(),
                present: scope.present(),
                admits: Act::ALL.into_iter().filter(|act| !scope.steps(*act).is_empty()).map(Act::as_str).collect(),
            });
        }
        let mut changes = Vec::new();
        let said = if why.trim().is_empty() {
            format!("{} by {who}", act.as_str())
        } else {
            format!("{} by {who}: {}", act.as_str(), why.trim())
        };
        for step in &steps {
            changes.extend(tx.take_step(step, &scope, act, who, &said).await?);
        }
        tx.journal_act(who, act, &target, why.trim(), &changes.join("; ")).await?;
        let at_us = tx.now_us;
        tx.commit().await?;
        Ok(ActOutcome { act, target: target.to_string(), who: who.to_string(), at_us, changes })
    }

    /// Acts that a target admits now.
    pub async fn admitted_acts(&self, target: &Target) -> Result<Vec<Act>> {
        let scope = self.scope(target).await?;
        Ok(Act::ALL.into_iter().filter(|act| !scope.steps(*act).is_empty()).collect())
    }

    async fn scope(&self, target: &Target) -> Result<Scope> {
        let mut scope =
            Scope { files: Vec::new(), jobs: Vec::new(), products: Vec::new(), deliveries: Vec::new(), night: None };
        match target {
            Target::Frame(file) => {
                scope.files = self.scope_files(Some(*file), None).await?;
                scope.jobs = self.scope_jobs(Some(*file), None, None, None).await?;
            }
            Target::Set(set) => {
                scope.jobs = self.scope_jobs(None, Some(*set), None, None).await?;
                scope.deliveries = self.scope_deliveries(None, None, Some(*set), None, None).await?;
            }
            Target::Job(job) => {
                scope.jobs = self.scope_jobs(None, None, Some(*job), None).await?;
                scope.deliveries = self.scope_deliveries(None, Some(*job), None, None, None).await?;
            }
            Target::Product(product) => {
                scope.products = sqlx::query_as("SELECT id, name, state, verdict FROM product WHERE id = ?1")
                    .bind(product)
                    .fetch_all(self.reader())
                    .await
                    .during("read a product")?;
                let set: i64 = sqlx::query_scalar("SELECT set_id FROM product WHERE id = ?1")
                    .bind(product)
                    .fetch_one(self.reader())
                    .await
                    .during("read a product")?;
                scope.jobs = self.scope_jobs(None, Some(set), None, None).await?;
                scope.deliveries = self.scope_deliveries(None, None, None, Some(*product), None).await?;
            }
            Target::Delivery(delivery) => {
                scope.deliveries = self.scope_deliveries(Some(*delivery), None, None, None, None).await?;
            }
            Target::Night(night) => {
                scope.files = self.scope_files(None, Some(night)).await?;
                scope.jobs = self.scope_jobs(None, None, None, Some(night)).await?;
                scope.deliveries = self.scope_deliveries(None, None, None, None, Some(night)).await?;
                let waits = self.night_waits_for(night).await?;
                let known = self.monitor_night(night).await?;
                scope.night = known.map(|known| NightScope { night: known.night, state: known.state, waits });
            }
        }
        Ok(scope)
    }

    /// A file, or the files of a night.
    async fn scope_files(&self, file: Option<i64>, night: Option<&str>) -> Result<Vec<FileState>> {
        let query = match night {
            Some(night) => {
                sqlx::query_as("SELECT id, name, state FROM file_account WHERE night = ?1 ORDER BY id").bind(night)
            }
            None => sqlx::query_as("SELECT id, name, state FROM file WHERE id = ?1").bind(file),
        };
        query.fetch_all(self.reader()).await.during("read files")
    }

    /// The present job of a file's set, of a set, of every set of a night; or a job.
    async fn scope_jobs(
        &self,
        file: Option<i64>,
        set: Option<i64>,
        job: Option<i64>,
        night: Option<&str>,
    ) -> Result<Vec<JobState>> {
        sqlx::query_as(
            "SELECT j.id, j.state, j.class, j.created_us, j.deadline_us,
                    CASE WHEN j.state = 'held' THEN coalesce((SELECT e.from_state FROM job_event e
                        WHERE e.job_id = j.id AND e.to_state = 'held' ORDER BY e.id DESC LIMIT 1), '') ELSE '' END AS held_from
             FROM job j WHERE j.id = ?3 OR j.id IN (
                 SELECT a.job_id FROM set_account a
                 WHERE a.id = ?2 OR a.night = ?4 OR a.id = (SELECT set_id FROM file_account WHERE id = ?1))
             ORDER BY j.id",
        )
        .bind(file)
        .bind(set)
        .bind(job)
        .bind(night)
        .fetch_all(self.reader())
        .await
        .during("read jobs")
    }

    /// A delivery; or the deliveries of a job, of a set, of a product, of a night.
    async fn scope_deliveries(
        &self,
        delivery: Option<i64>,
        job: Option<i64>,
        set: Option<i64>,
        product: Option<i64>,
        night: Option<&str>,
    ) -> Result<Vec<DeliveryState>> {
        sqlx::query_as(
            "SELECT d.id, d.sink, d.key, d.state,
                    coalesce((SELECT p.findings <> '[]' FROM product p WHERE p.id = d.product_id), 0) AS refused,
                    CASE WHEN d.state = 'cancelled' THEN coalesce((SELECT e.from_state FROM delivery_event e
                        WHERE e.delivery_id = d.id AND e.to_state = 'cancelled' ORDER BY e.id DESC LIMIT 1), '') ELSE '' END
                        AS cancelled_from
             FROM delivery d WHERE d.id = ?1 OR d.job_id = ?2 OR d.product_id = ?4 OR d.job_id IN (
                 SELECT j.id FROM job j JOIN frame_set s ON s.id = j.set_id WHERE s.id = ?3 OR s.night = ?5)
             ORDER BY d.id",
        )
        .bind(delivery)
        .bind(job)
        .bind(set)
        .bind(product)
        .bind(night)
        .fetch_all(self.reader())
        .await
        .during("read deliveries")
    }
}

impl WriteTx {
    async fn take_step(
        &mut self,
        step: &Step<'_>,
        scope: &Scope,
        act: Act,
        who: &str,
        said: &str,
    ) -> Result<Vec<String>> {
        match step {
            Step::LookAgain(file) => {
                self.look_again(file.id, said).await?;
                Ok(vec![format!("file {}: quarantined -> waiting, looked at again by the next scan", file.name)])
            }
            Step::Job(job, to) => {
                self.step_job(job, to, act, who, said).await?;
                Ok(vec![format!("job:{}: {} -> {to}", job.id, job.state)])
            }
            Step::Delivery(item, to) => {
                let change = DeliveryChange { why: said, ..DeliveryChange::default() };
                self.move_delivery(item.id, &[item.state.as_str()], to, &change).await?;
                Ok(vec![format!("{} to {}: {} -> {to}", item.key, item.sink, item.state)])
            }
            Step::Reject(product) => self.reject(product, scope, said).await,
            Step::Night(night, to) => {
                let from = (night.state != "open").then_some(night.state.as_str());
                self.put_night(&night.night, from, to, said).await?;
                Ok(vec![format!("night {}: {} -> {to} for the quality monitor", night.night, night.state)])
            }
            Step::Withdraw(product) => self.withdraw(product, scope, said).await,
            Step::Restore(product) => self.restore(product, scope, said).await,
            Step::Overrule(product) => {
                sqlx::query("UPDATE product SET verdict = 'warn', state_why = ?2 WHERE id = ?1")
                    .bind(product.id)
                    .bind(said)
                    .execute(&mut *self.tx)
                    .await
                    .during("overrule a verdict")?;
                self.dirty_sets_that_considered(product.id).await?;
                Ok(vec![format!("{}: verdict fail -> warn, usable as a master", product.name)])
            }
        }
    }

    async fn step_job(&mut self, job: &JobState, to: &'static str, act: Act, who: &str, said: &str) -> Result<()> {
        if to == "waiting" {
            self.wait_again(job, act).await?;
        }
        let reset_attempts = matches!(act, Act::Retry | Act::Reprocess);
        let change = JobChange { why: said, actor: who, reset_attempts, ..JobChange::default() };
        self.move_job(job.id, &[job.state.as_str()], to, &change).await
    }

    /// A job that waits for a master again is planned anew; after a retry it may wait as long as it did the first time.
    async fn wait_again(&mut self, job: &JobState, act: Act) -> Result<()> {
        let patience = job.deadline_us.map_or(0, |deadline| (deadline - job.created_us).max(0));
        let deadline = match (act, job.deadline_us) {
            (Act::Release, Some(deadline)) => deadline,
            _ => self.now_us + patience,
        };
        sqlx::query(
            "UPDATE job SET waits_for = coalesce(nullif(waits_for, ''), nullif(error, ''), 'a master'), deadline_us = ?2
             WHERE id = ?1",
        )
        .bind(job.id)
        .bind(deadline)
        .execute(&mut *self.tx)
        .await
        .during("let a job wait again")?;
        sqlx::query("UPDATE frame_set SET dirty = dirty + 1 WHERE id = (SELECT set_id FROM job WHERE id = ?1)")
            .bind(job.id)
            .execute(&mut *self.tx)
            .await
            .during("mark a set to be planned")
            .map(|_| ())
    }

    /// The archives are to have it no more: what was not sent is cancelled, what was confirmed is marked. No archive offers
    /// removal to programs, so that remains to be asked for, and the delivery says so.
    async fn withdraw(&mut self, product: &ProductState, scope: &Scope, said: &str) -> Result<Vec<String>> {
        let mut changes = Vec::new();
        if matches!(product.state.as_str(), "current" | "stale") {
            self.set_product_state(product.id, "bad", said).await?;
            self.dirty_sets_that_considered(product.id).await?;
            changes.push(format!("{}: {} -> bad, its users are planned again", product.name, product.state));
        }
        for item in scope.deliveries.iter().filter(|item| item.state != "cancelled") {
            let left = !matches!(item.state.as_str(), "held" | "queued" | "parked");
            let remains = format!("{} may still hold {} until it is removed there; {said}", item.sink, item.key);
            let change = DeliveryChange {
                why: said,
                class: WITHDRAWN,
                error: if left { &remains } else { said },
                ..DeliveryChange::default()
            };
            self.move_delivery(item.id, &[item.state.as_str()], "cancelled", &change).await?;
            let ask = if left { ", ask for its removal there" } else { "" };
            changes.push(format!("{} to {}: {} -> cancelled{ask}", item.key, item.sink, item.state));
        }
        Ok(changes)
    }

    async fn reject(&mut self, product: &ProductState, scope: &Scope, said: &str) -> Result<Vec<String>> {
        self.set_product_state(product.id, "bad", said).await?;
        self.cancel_deliveries(product.id, said).await?;
        self.dirty_sets_that_considered(product.id).await?;
        let mut changes = vec![format!("{}: current -> bad, its users are planned again", product.name)];
        for item in &scope.deliveries {
            match item.state.as_str() {
                "held" | "queued" => {
                    changes.push(format!("{} to {}: {} -> cancelled", item.key, item.sink, item.state))
                }
                "cancelled" | "parked" => {}
                state => changes.push(format!("{} is {state} at {} and must be withdrawn there", item.key, item.sink)),
            }
        }
        Ok(changes)
    }

    async fn restore(&mut self, product: &ProductState, scope: &Scope, said: &str) -> Result<Vec<String>> {
        self.set_product_state(product.id, "current", said).await?;
        self.dirty_sets_that_considered(product.id).await?;
        let mut changes = vec![format!("{}: bad -> current", product.name)];
        for item in scope.deliveries.iter().filter(|item| item.state == "cancelled") {
            let to = if item.cancelled_from == "held" || item.refused { "held" } else { "queued" };
            let change = DeliveryChange { why: said, ..DeliveryChange::default() };
            self.move_delivery(item.id, &["cancelled"], to, &change).await?;
            changes.push(format!("{} to {}: cancelled -> {to}", item.key, item.sink));
        }
        Ok(changes)
    }

    /// Sets that had this product among their candidates may choose differently now.
    async fn dirty_sets_that_considered(&mut self, product: ProductId) -> Result<()> {
        sqlx::query(
            "UPDATE frame_set SET dirty = dirty + 1 WHERE id IN (
                 SELECT j.set_id FROM candidate c JOIN job j ON j.id = c.job_id
                 WHERE c.product_id = ?1 AND j.state <> 'superseded')",
        )
        .bind(product)
        .execute(&mut *self.tx)
        .await
        .during("mark the sets that considered a product")
        .map(|_| ())
    }

    async fn journal_act(&mut self, who: &str, act: Act, target: &Target, why: &str, result: &str) -> Result<()> {
        sqlx::query("INSERT INTO operator_act (at_us, who, act, target, why, result) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")
            .bind(self.now_us)
            .bind(who)
            .bind(act.as_str())
            .bind(target.to_string())
            .bind(why)
            .bind(result)
            .execute(&mut *self.tx)
            .await
            .during("journal what an operator did")
            .map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::seeded::{NIGHT, Seeded};

    async fn act(seeded: &Seeded, act: Act, target: &str) -> std::result::Result<Vec<String>, String> {
        let outcome = seeded.catalogue.act("ana", act, target, "test").await;
        outcome.map(|outcome| outcome.changes).map_err(|error| format!("{}: {error}", error.code()))
    }

    async fn state_of(seeded: &Seeded, table: &str, id: i64) -> String {
        let query = match table {
            "job" => "SELECT state FROM job WHERE id = ?1",
            "delivery" => "SELECT state FROM delivery WHERE id = ?1",
            "product" => "SELECT state FROM product WHERE id = ?1",
            _ => "SELECT state FROM file WHERE id = ?1",
        };
        sqlx::query_scalar(query).bind(id).fetch_one(seeded.catalogue.reader()).await.expect("a row")
    }

    #[tokio::test]
    async fn retry_takes_a_file_out_of_quarantine_once() {
        let seeded = Seeded::night().await;
        let file = "SOXS.2026-03-10T19:10:00.000.fits";
        assert!(act(&seeded, Act::Retry, file).await.expect("admitted")[0].contains("quarantined -> waiting"));
        assert_eq!(state_of(&seeded, "file", 1).await, "waiting");
        let error = act(&seeded, Act::Retry, file).await.expect_err("not twice");
        assert_eq!(error, format!("not_admitted: cannot retry frame:1 (file {file} is waiting); it admits no act now"));
        let journal = seeded.catalogue.operator_acts(10).await.expect("a journal");
        assert_eq!(journal.len(), 1, "what was refused is not journaled");
        assert_eq!((journal[0].who.as_str(), journal[0].target.as_str()), ("ana", "frame:1"));
    }

    #[tokio::test]
    async fn a_held_job_goes_back_to_waiting_when_it_waited() {
        let seeded = Seeded::night().await;
        act(&seeded, Act::Hold, "set:6").await.expect("admitted");
        assert_eq!(state_of(&seeded, "job", 4).await, "held");
        assert_eq!(act(&seeded, Act::Release, "set:6").await.expect("admitted"), ["job:4: held -> waiting"]);
        let job = seeded.catalogue.job(JobId(4)).await.expect("a row").expect("a job");
        let deadline = "2026-03-11T08:00:00Z".parse::<jiff::Timestamp>().expect("a time").as_microsecond();
        assert_eq!((job.state.as_str(), job.deadline_us), ("waiting", Some(deadline)), "a hold does not buy time");
        assert_eq!(seeded.catalogue.dirty_sets().await.expect("sets").len(), 1, "it is planned again");
    }

    #[tokio::test]
    async fn a_job_that_gave_up_waiting_waits_again_and_does_not_run_without_its_master() {
        let seeded = Seeded::night().await;
        let mut tx = seeded.catalogue.begin().await.expect("a transaction");
        let change = JobChange { class: "missing", error: "no MASTER_BIAS_VIS came", ..JobChange::default() };
        tx.move_job(JobId(4), &["waiting"], "parked", &change).await.expect("parked");
        tx.commit().await.expect("kept");
        seeded.set_time("2026-03-12T00:00:00Z");
        act(&seeded, Act::Retry, "job:4").await.expect("admitted");
        let job = seeded.catalogue.job(JobId(4)).await.expect("a row").expect("a job");
        assert_eq!(job.state, "waiting");
        assert!(job.deadline_us > Some(seeded.catalogue.now_us()), "with time to wait");
    }

    #[tokio::test]
    async fn hold_and_release_reach_queued_deliveries_only() {
        let seeded = Seeded::night().await;
        act(&seeded, Act::Hold, "product:3").await.expect("admitted");
        assert_eq!(state_of(&seeded, "delivery", 5).await, "held");
        assert_eq!(act(&seeded, Act::Release, "night:2026-03-10").await.expect("admitted").len(), 1);
        assert_eq!(state_of(&seeded, "delivery", 5).await, "queued");
        let error = act(&seeded, Act::Hold, "delivery:3").await.expect_err("it is confirmed");
        assert!(error.contains("delivery to archive is confirmed"), "{error}");
    }

    #[tokio::test]
    async fn a_rejected_product_is_taken_back_by_accept_with_its_deliveries() {
        let seeded = Seeded::night().await;
        let changes = act(&seeded, Act::Reject, "product:3").await.expect("admitted");
        assert!(changes.iter().any(|change| change.ends_with("queued -> cancelled")), "{changes:?}");
        assert_eq!(
            (state_of(&seeded, "product", 3).await, state_of(&seeded, "delivery", 5).await),
            ("bad".into(), "cancelled".into())
        );
        act(&seeded, Act::Accept, "product:3").await.expect("admitted");
        assert_eq!(
            (state_of(&seeded, "product", 3).await, state_of(&seeded, "delivery", 5).await),
            ("current".into(), "queued".into())
        );
    }

    #[tokio::test]
    async fn rejecting_a_master_has_its_users_planned_again_and_names_archives_that_hold_it() {
        let seeded = Seeded::night().await;
        let changes = act(&seeded, Act::Reject, "product:2").await.expect("admitted");
        assert!(changes.iter().any(|change| change.contains("must be withdrawn there")), "{changes:?}");
        let dirty: Vec<i64> = seeded.catalogue.dirty_sets().await.expect("sets").iter().map(|set| set.id.0).collect();
        assert_eq!(dirty, [4]);
    }

    #[tokio::test]
    async fn accept_overrules_a_failed_verdict_and_has_those_who_refused_it_planned_again() {
        let seeded = Seeded::night().await;
        act(&seeded, Act::Accept, "product:1").await.expect("admitted");
        let product = seeded.catalogue.product_row(1).await.expect("a row").expect("a product");
        assert_eq!((product.verdict.as_str(), product.state_why.as_str()), ("warn", "accept by ana: test"));
        let dirty: Vec<i64> = seeded.catalogue.dirty_sets().await.expect("sets").iter().map(|set| set.id.0).collect();
        assert_eq!(dirty, [4, 6]);
    }

    #[tokio::test]
    async fn reprocess_makes_a_finished_job_ready_with_its_attempts_back() {
        let seeded = Seeded::night().await;
        assert_eq!(act(&seeded, Act::Reprocess, "set:3").await.expect("admitted"), ["job:2: done -> ready"]);
        let job = seeded.catalogue.job(JobId(2)).await.expect("a row").expect("a job");
        assert_eq!((job.state.as_str(), job.attempts), ("ready", 0));
    }

    /// Put a delivery that is held before the archive in the place of the queued one of product 3.
    async fn hold_before_archive(seeded: &Seeded, class: &'static str, findings: &str) {
        let mut tx = seeded.catalogue.begin().await.expect("a transaction");
        sqlx::query("DELETE FROM delivery WHERE id = 5").execute(&mut *tx.tx).await.expect("deleted");
        sqlx::query("UPDATE product SET prodcatg = 'SCIENCE.SPECTRUM', findings = ?1 WHERE id = 3")
            .bind(findings)
            .execute(&mut *tx.tx)
            .await
            .expect("changed");
        tx.hold_archive("saf", ProductId(3), JobId(3), class, "it waits for its reason").await.expect("held");
        tx.commit().await.expect("kept");
    }

    async fn held(seeded: &Seeded) -> crate::catalogue::views::DeliveryRow {
        let rows = seeded.catalogue.deliveries_of_product(3).await.expect("rows");
        rows.into_iter().find(|row| row.sink == "saf").expect("a delivery")
    }

    #[tokio::test]
    async fn what_waits_at_the_gate_is_let_go_by_release_and_says_why_it_waits() {
        let seeded = Seeded::night().await;
        hold_before_archive(&seeded, GATE, "[]").await;
        assert_eq!(held(&seeded).await.error, "it waits for its reason");
        let changes = act(&seeded, Act::Release, "product:3").await.expect("admitted");
        assert!(changes[0].ends_with("to saf: held -> queued"), "{changes:?}");
        assert_eq!((held(&seeded).await.state.as_str(), held(&seeded).await.error.as_str()), ("queued", ""));
    }

    #[tokio::test]
    async fn what_the_archive_would_refuse_no_act_lets_go() {
        let seeded = Seeded::night().await;
        hold_before_archive(&seeded, REFUSED, "[\"K037 NCOMBINE: found 0\"]").await;
        let error = act(&seeded, Act::Release, "product:3").await.expect_err("refused");
        assert!(error.contains("the file fails Phase 3 validation"), "{error}");
        act(&seeded, Act::Withdraw, "product:3").await.expect("admitted");
        act(&seeded, Act::Accept, "product:3").await.expect("admitted");
        assert_eq!(held(&seeded).await.state, "held", "taken back, it is still refused");
    }

    #[tokio::test]
    async fn a_withdrawn_product_is_cancelled_where_it_waits_and_marked_where_it_is() {
        let seeded = Seeded::night().await;
        let error = seeded.catalogue.act("ana", Act::Withdraw, "product:2", " ").await.expect_err("no reason");
        assert_eq!(error.to_string(), "withdraw needs a reason");
        let changes = act(&seeded, Act::Withdraw, "product:2").await.expect("admitted");
        assert!(changes[0].contains("current -> bad"), "{changes:?}");
        assert!(
            changes.iter().any(|change| change.contains("confirmed -> cancelled, ask for its removal")),
            "{changes:?}"
        );
        let rows = seeded.catalogue.deliveries_of_product(2).await.expect("rows");
        let row = rows.iter().find(|row| row.class == WITHDRAWN).expect("marked");
        assert!(row.error.contains("may still hold") && row.error.contains("withdraw by ana: test"), "{}", row.error);
        assert!(act(&seeded, Act::Withdraw, "product:2").await.is_err(), "not twice");
        let journal = seeded.catalogue.operator_acts(10).await.expect("a journal");
        assert_eq!((journal[0].act.as_str(), journal[0].why.as_str()), ("withdraw", "test"));
        act(&seeded, Act::Accept, "product:2").await.expect("admitted");
        let rows = seeded.catalogue.deliveries_of_product(2).await.expect("rows");
        assert!(rows.iter().any(|row| row.state == "queued"), "offered again: the archive is asked what it has");
    }

    #[tokio::test]
    async fn a_night_is_closed_when_it_is_drained_and_reopened_with_a_reason() {
        let seeded = Seeded::night().await;
        let error = act(&seeded, Act::Close, "night:2026-03-10").await.expect_err("it is not drained");
        assert!(
            error.contains("night 2026-03-10 is open, and of it 1 frames are in no set yet; 1 sets wait"),
            "{error}"
        );
        assert!(
            error.contains("1 jobs have not ended, for example that of 20260310T230000_VIS_STARE (waiting)"),
            "{error}"
        );
        for end in [
            "UPDATE frame_version SET grouped = 1",
            "UPDATE frame_set SET state = 'short', why = 'test' WHERE state = 'open'",
            "UPDATE job SET state = 'parked', error = 'test' WHERE state = 'waiting'",
        ] {
            let mut tx = seeded.catalogue.begin().await.expect("a transaction");
            sqlx::query(end).execute(&mut *tx.tx).await.expect("ended");
            tx.commit().await.expect("kept");
        }
        let changes = act(&seeded, Act::Close, "night:2026-03-10").await.expect("admitted");
        assert_eq!(changes, ["night 2026-03-10: open -> closed for the quality monitor"]);
        assert!(act(&seeded, Act::Close, "night:2026-03-10").await.is_err(), "not twice");
        let error = seeded.catalogue.act("ana", Act::Reopen, "night:2026-03-10", "").await.expect_err("no reason");
        assert_eq!(error.to_string(), "reopen needs a reason");
        seeded.catalogue.night_was_published(NIGHT, 5, 6).await.expect("published");
        act(&seeded, Act::Reopen, "night:2026-03-10").await.expect("admitted");
        let night = seeded.catalogue.monitor_night(NIGHT).await.expect("a row").expect("a night");
        assert_eq!((night.state.as_str(), night.revision, night.metrics), ("reopened", 1, 5), "what is out is known");
        assert!(
            !seeded.catalogue.close_night(NIGHT, "by itself").await.expect("asked"),
            "only an operator closes it again"
        );
        act(&seeded, Act::Close, "night:2026-03-10").await.expect("admitted");
        assert_eq!(seeded.catalogue.nights_to_publish().await.expect("nights"), [NIGHT]);
    }

    #[tokio::test]
    async fn an_act_never_guesses_and_needs_a_name_and_a_reason() {
        let seeded = Seeded::night().await;
        let error = act(&seeded, Act::Hold, "STARE").await.expect_err("a part of a name");
        assert!(error.starts_with("no_target: nothing is called \"STARE\"; similar: set:6"), "{error}");
        let error = seeded.catalogue.act("ana", Act::Reject, "product:2", " ").await.expect_err("no reason");
        assert_eq!(error.to_string(), "reject needs a reason");
        let error = seeded.catalogue.act("", Act::Hold, "set:6", "").await.expect_err("nobody");
        assert_eq!(error.code(), "unsaid");
    }
}
