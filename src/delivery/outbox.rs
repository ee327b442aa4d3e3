//! The outbox of one archive: every item becomes one copy there, whatever is cut off on the way.
//!
//! ```text
//!  queued --asked, absent--> sending --answered--> sent --read back, equal--> confirmed
//!    |  \                      |  |                  \--not there--> unknown
//!    |   \--equal: confirmed   |  \--accepted, not stored yet--> buffered --equal--> confirmed
//!    |                         \--no answer--> unknown --twice absent--> queued
//!    \--refused for good, or something else under that name--> parked
//! ```
//!
//! Each state is in the catalogue before the act that it announces begins. An item found in `sending` was therefore cut
//! off: whether it arrived is not known, and it is treated as `unknown`. Before anything is sent, the other side is asked.
//! One offer at a time; an archive that is down costs time and nothing else.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracing::{debug, error, info, warn};

use super::archive::{Archive, Offer, Receipt, Record};
use super::error::Scope;
use super::pace::{Backoff, Pace};
use super::{Outbox, SinkError, Turn, Working, us};
use crate::catalogue::deliveries::{ArchiveItem, DeliveryChange};
use crate::catalogue::{Catalogue, CatalogueError};
use crate::config::Workspace;
use crate::fault::Classified;

/// Items read from the catalogue at a time.
const ROUND: i64 = 64;

/// Looks that must find nothing before an item whose outcome is unknown is sent again.
const LOOKS: u32 = 2;

/// The outbox of one archive.
pub struct ArchiveOutbox {
    sink: String,
    catalogue: Catalogue,
    archive: Box<dyn Archive>,
    workspace: Workspace,
    pace: Pace,
    backoff: Backoff,
    /// Failures in a row that concern the whole archive.
    failures: i64,
}

/// What is remembered of an item between its acts, in its receipt.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Memo {
    /// Looks that found nothing since the last offer.
    #[serde(skip_serializing_if = "Option::is_none")]
    looks: Option<u32>,
    /// Since when the other side has it and has not stored it, microseconds UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    since_us: Option<i64>,
    /// What it answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<Receipt>,
}

/// What a step means for the items after it.
enum Step {
    /// Go on with the next.
    On,
    /// The archive needs a pause.
    Pause(Duration),
    /// Every other item would be refused the same way.
    Hopeless(Refusal),
}

/// Why items are parked together.
struct Refusal {
    class: &'static str,
    story: String,
}

impl ArchiveOutbox {
    /// The outbox of `archive`, which is called `sink` in the catalogue.
    pub fn new(
        sink: &str,
        catalogue: Catalogue,
        archive: Box<dyn Archive>,
        workspace: Workspace,
        pace: Pace,
    ) -> ArchiveOutbox {
        let backoff = Backoff::new(&pace, catalogue.clock().now_us().unsigned_abs());
        ArchiveOutbox { sink: sink.to_string(), catalogue, archive, workspace, pace, backoff, failures: 0 }
    }

    async fn work_round(&mut self) -> Result<Turn, CatalogueError> {
        let due = self.catalogue.due_archive_items(&self.sink, ROUND).await?;
        let Some(first) = due.first() else {
            return Ok(Turn::Until(self.catalogue.next_delivery_time(&self.sink).await?));
        };
        if let Err(fault) = self.archive.ready().await {
            return self.not_ready(first, &due, &fault).await;
        }
        let mut left = due.iter();
        while let Some(item) = left.next() {
            match self.step(item).await {
                Ok(Step::On) => {}
                Ok(Step::Pause(pause)) => return Ok(Turn::Pause(pause)),
                Ok(Step::Hopeless(why)) => {
                    for other in left.by_ref() {
                        self.park_as(other, &why).await?;
                    }
                }
                // Cancelled or released by an operator meanwhile; the next round sees what it is now.
                Err(CatalogueError::LostRace { .. }) => {
                    debug!(sink = %self.sink, item = %item.key, "changed meanwhile")
                }
                Err(other) => return Err(other),
            }
        }
        Ok(Turn::Again)
    }

    /// The archive as a whole takes nothing: the first item says so in the catalogue and all wait; or, when waiting
    /// cannot help, all are parked with one question asked.
    async fn not_ready(
        &mut self,
        first: &ArchiveItem,
        due: &[ArchiveItem],
        fault: &SinkError,
    ) -> Result<Turn, CatalogueError> {
        if fault.retry(0) {
            let pause = self.outage(fault);
            // Found in `sending`, it was cut off before this process began.
            let to = if first.state == "sending" { "unknown" } else { kept(first) };
            self.put_off(first, to, fault, pause).await?;
            return Ok(Turn::Pause(pause));
        }
        let why = Refusal { class: fault.class().code(), story: fault.story() };
        for item in due {
            self.park_as(item, &why).await?;
        }
        Ok(Turn::Again)
    }

    fn outage(&mut self, fault: &SinkError) -> Duration {
        self.failures += 1;
        let pause = self.backoff.pause(self.failures);
        warn!(sink = %self.sink, failures = self.failures, pause_s = pause.as_secs_f64(), error = %fault.story(), "archive waits");
        pause
    }

    async fn step(&mut self, item: &ArchiveItem) -> Result<Step, CatalogueError> {
        if item.state == "sending" {
            return self.unknown(item, "cut off while it was sent").await;
        }
        match self.archive.look_up(item).await {
            Err(fault) => self.failed(item, &fault).await,
            Ok(Record::Equal(receipt)) => self.confirm(item, &receipt).await,
            Ok(Record::Conflict(found)) => self.conflict(item, &found).await,
            Ok(Record::NotYet(why)) => self.wait(item, &why).await,
            Ok(Record::Absent) => match item.state.as_str() {
                "queued" => self.send(item).await,
                "buffered" => self.wait(item, "accepted and not stored yet").await,
                "sent" => self.unknown(item, "answered with success, yet it is not there").await,
                _ => self.absent_again(item).await,
            },
        }
    }

    async fn send(&mut self, item: &ArchiveItem) -> Result<Step, CatalogueError> {
        let file = self.workspace.stored(&item.sha256);
        let change = DeliveryChange {
            why: "the archive does not have it",
            receipt: Some("{}"),
            attempt: true,
            ..DeliveryChange::default()
        };
        self.moved(item, "sending", &change).await?;
        let mut item = item.clone();
        item.state = "sending".to_string();
        item.attempts += 1;
        item.receipt = "{}".to_string();
        match self.archive.offer(&item, &file).await {
            Ok(Offer::Answered(receipt)) => self.read_back(&mut item, receipt).await,
            Ok(Offer::Buffered(why)) => {
                let memo = Memo { since_us: Some(self.now_us()), ..Memo::default() };
                self.later(&item, "buffered", &why, &memo, self.pace.poll).await
            }
            Ok(Offer::Unknown(why)) => self.unknown(&item, &why).await,
            Err(fault) => self.failed(&item, &fault).await,
        }
    }

    /// The answer says that it is stored: believed only after the archive's own record was read.
    async fn read_back(&mut self, item: &mut ArchiveItem, receipt: Receipt) -> Result<Step, CatalogueError> {
        let memo = Memo { answer: Some(receipt), ..Memo::default() };
        self.later(item, "sent", "answered with success", &memo, Duration::ZERO).await?;
        item.state = "sent".to_string();
        item.receipt = text_of(&memo);
        match self.archive.look_up(item).await {
            Err(fault) => self.failed(item, &fault).await,
            Ok(Record::Equal(receipt)) => self.confirm(item, &receipt).await,
            Ok(Record::Conflict(found)) => self.conflict(item, &found).await,
            Ok(Record::NotYet(why)) => self.wait(item, &why).await,
            Ok(Record::Absent) => self.unknown(item, "answered with success, yet it is not there").await,
        }
    }

    async fn unknown(&mut self, item: &ArchiveItem, why: &str) -> Result<Step, CatalogueError> {
        warn!(sink = %self.sink, item = %item.key, why, "outcome unknown; the archive will be asked");
        self.later(item, "unknown", why, &Memo { looks: Some(0), ..Memo::default() }, self.pace.unknown_wait).await
    }

    async fn absent_again(&mut self, item: &ArchiveItem) -> Result<Step, CatalogueError> {
        let looks = memo_of(item).looks.unwrap_or(0) + 1;
        if looks < LOOKS {
            let memo = Memo { looks: Some(looks), ..Memo::default() };
            return self.later(item, "unknown", "not there; asked once more", &memo, self.pace.unknown_again).await;
        }
        let pause = self.backoff.pause(item.attempts);
        self.later(item, "queued", "asked twice and not there: it did not arrive", &Memo::default(), pause).await
    }

    /// The other side has it and has not stored it.
    async fn wait(&mut self, item: &ArchiveItem, why: &str) -> Result<Step, CatalogueError> {
        let now = self.now_us();
        let memo = memo_of(item);
        let since = memo.since_us.unwrap_or(now);
        if now - since > us(self.pace.buffered_longest) {
            let error = format!(
                "{why}; nothing came of it in {} s: ask the archive's operators, then retry (the archive is asked before anything is sent)",
                self.pace.buffered_longest.as_secs()
            );
            self.park(item, "resource", &error).await?;
            return Ok(Step::On);
        }
        let state = if item.state == "sent" { "sent" } else { "buffered" };
        self.later(item, state, why, &Memo { since_us: Some(since), ..memo }, self.pace.poll).await
    }

    async fn confirm(&mut self, item: &ArchiveItem, receipt: &Receipt) -> Result<Step, CatalogueError> {
        let why = if receipt.version > 1 {
            error!(sink = %self.sink, item = %item.key, version = receipt.version, "archived more than once");
            format!("equal, but as version {}: it was archived more than once", receipt.version)
        } else if item.attempts == 0 {
            "it is there already, equal".to_string()
        } else {
            "read back and equal".to_string()
        };
        let change = DeliveryChange { why: &why, receipt: Some(&text_of(receipt)), ..DeliveryChange::default() };
        self.moved(item, "confirmed", &change).await?;
        self.failures = 0;
        let seconds = (self.now_us() - item.created_us) as f64 / 1e6;
        info!(sink = %self.sink, item = %item.key, bytes = item.size, sends = item.attempts, seconds, "archived");
        Ok(Step::On)
    }

    async fn conflict(&mut self, item: &ArchiveItem, found: &str) -> Result<Step, CatalogueError> {
        let error = format!(
            "{} holds something else under the name {}: {found}; nothing was overwritten: settle it there, then retry or cancel",
            self.sink, item.key
        );
        self.park(item, "bad_input", &error).await?;
        Ok(Step::On)
    }

    async fn park(&mut self, item: &ArchiveItem, class: &str, error: &str) -> Result<(), CatalogueError> {
        error!(sink = %self.sink, item = %item.key, class, error, "delivery parked");
        let change = DeliveryChange { why: error, class, error, ..DeliveryChange::default() };
        self.moved(item, "parked", &change).await
    }

    /// Park an item that was not tried, for what another was refused for.
    async fn park_as(&mut self, item: &ArchiveItem, why: &Refusal) -> Result<(), CatalogueError> {
        match self.park(item, why.class, &why.story).await {
            Err(CatalogueError::LostRace { .. }) => Ok(()),
            other => other,
        }
    }

    /// An act failed, and nothing was taken by it.
    async fn failed(&mut self, item: &ArchiveItem, fault: &SinkError) -> Result<Step, CatalogueError> {
        if !fault.retry(item.attempts) {
            let why = Refusal { class: fault.class().code(), story: fault.story() };
            self.park(item, why.class, &why.story).await?;
            return Ok(if fault.scope() == Scope::Sink { Step::Hopeless(why) } else { Step::On });
        }
        if fault.scope() == Scope::Sink {
            let pause = self.outage(fault);
            self.put_off(item, kept(item), fault, pause).await?;
            return Ok(Step::Pause(pause));
        }
        let pause = self.backoff.pause(item.attempts.max(1));
        warn!(sink = %self.sink, item = %item.key, pause_s = pause.as_secs_f64(), error = %fault.story(), "tried again later");
        self.put_off(item, kept(item), fault, pause).await?;
        Ok(Step::On)
    }

    /// The item waits, with the error.
    async fn put_off(
        &mut self,
        item: &ArchiveItem,
        to: &'static str,
        fault: &SinkError,
        pause: Duration,
    ) -> Result<(), CatalogueError> {
        let story = fault.story();
        let change = DeliveryChange {
            why: &story,
            class: fault.class().code(),
            error: &story,
            not_before_us: self.now_us() + us(pause),
            ..DeliveryChange::default()
        };
        self.moved(item, to, &change).await
    }

    async fn later(
        &mut self,
        item: &ArchiveItem,
        to: &'static str,
        why: &str,
        memo: &Memo,
        pause: Duration,
    ) -> Result<Step, CatalogueError> {
        let not_before_us = if pause.is_zero() { 0 } else { self.now_us() + us(pause) };
        let change = DeliveryChange { why, receipt: Some(&text_of(memo)), not_before_us, ..DeliveryChange::default() };
        self.moved(item, to, &change).await?;
        Ok(Step::On)
    }

    async fn moved(
        &self,
        item: &ArchiveItem,
        to: &'static str,
        change: &DeliveryChange<'_>,
    ) -> Result<(), CatalogueError> {
        let mut tx = self.catalogue.begin().await?;
        tx.move_delivery(item.id, &[item.state.as_str()], to, change).await?;
        tx.commit().await
    }

    fn now_us(&self) -> i64 {
        self.catalogue.clock().now_us()
    }
}

impl Outbox for ArchiveOutbox {
    fn sink(&self) -> &str {
        &self.sink
    }

    fn round(&mut self) -> Working<'_> {
        Box::pin(self.work_round())
    }
}

/// The state in which an item waits after an act that took nothing: an offer goes back to the queue, what is known of
/// any other item is still so.
fn kept(item: &ArchiveItem) -> &'static str {
    match item.state.as_str() {
        "unknown" => "unknown",
        "buffered" => "buffered",
        "sent" => "sent",
        _ => "queued",
    }
}

fn memo_of(item: &ArchiveItem) -> Memo {
    // A receipt of another form (an operator sent a parked item back) remembers nothing, which costs a look at most.
    serde_json::from_str(&item.receipt).unwrap_or_default()
}

fn text_of(value: &impl Serialize) -> String {
    // Plain structs of strings and numbers always serialise.
    serde_json::to_string(value).unwrap_or_else(|_| "{}".to_string())
}
