//! Health monitors: who is told of every QC metric, and the outbox that tells them.
//!
//! A batch is all metrics of one job. A monitor may be told of a batch twice (a lost answer, a crash) and must come to the
//! same state as if told once: the batch has a key, and each metric an identity. Numbers are finite or there is none and a
//! reason instead; no NaN leaves the process.

pub mod http;
pub mod influx;
pub mod jsonl;

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tracing::{debug, error, info, warn};

use super::archive::Act;
use super::error::Scope;
use super::pace::{Backoff, Pace};
use super::{Outbox, SinkError, Turn, Working, us};
use crate::catalogue::deliveries::{DeliveryChange, HealthItem, QcRecord};
use crate::catalogue::{Catalogue, CatalogueError};
use crate::clock::iso;
use crate::fault::Classified;

/// Batches read from the catalogue at a time.
const ROUND: i64 = 64;

/// All metrics of one job.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Idempotency key.
    pub key: String,
    /// Job.
    pub job: i64,
    /// Whether it may have been told before.
    pub again: bool,
    /// The metrics.
    pub records: Vec<QcRecord>,
}

/// Somebody who is told of metrics.
pub trait Monitor: Send + Sync {
    /// Tell a batch. Returns where it went, for the record. Telling it again must change nothing.
    fn tell<'a>(&'a self, batch: &'a Batch) -> Act<'a, String>;
}

/// One metric as it is written in JSON.
#[derive(Clone, Debug, Serialize)]
pub struct Metric<'a> {
    /// What makes it the same metric: time, recipe, name, arm, order, file.
    pub id: String,
    /// Start of the set's first exposure, ISO, UTC.
    pub time: String,
    /// When it was measured, ISO, UTC.
    pub measured: String,
    /// Night.
    pub night: &'a str,
    /// Arm.
    pub arm: &'a str,
    /// `soxs-mbias`.
    pub recipe: &'a str,
    /// Version of the recipe.
    pub recipe_version: &'a str,
    /// Name.
    pub name: &'a str,
    /// `-1` for a global value.
    pub order: &'a str,
    /// The number; left out when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Why there is no number; left out when there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub absent: Option<&'a str>,
    /// Unit.
    pub unit: &'a str,
    /// What it is.
    pub comment: &'a str,
    /// `pass`, `warn` or `fail`.
    pub flag: &'a str,
    /// Lower limit, inclusive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Upper limit, inclusive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// Stem of the SOF.
    pub set: &'a str,
    /// Main product.
    pub file: &'a str,
    /// Binning, read mode, slit...
    pub keys: Value,
}

impl Metric<'_> {
    /// A record as JSON has it.
    pub fn of(record: &QcRecord) -> Metric<'_> {
        let time = format!("{}Z", iso(record.at_us));
        let value = record.value.filter(|value| value.is_finite());
        Metric {
            id: [&time, &record.recipe, &record.name, &record.arm, &record.qc_order, &record.file]
                .map(String::as_str)
                .join("|"),
            measured: format!("{}Z", iso(record.made_us)),
            time,
            night: &record.night,
            arm: &record.arm,
            recipe: &record.recipe,
            recipe_version: &record.recipe_version,
            name: &record.name,
            order: &record.qc_order,
            value,
            absent: value.is_none().then_some(record.absent.as_str()),
            unit: &record.unit,
            comment: &record.comment,
            flag: &record.verdict,
            min: record.min.filter(|limit| limit.is_finite()),
            max: record.max.filter(|limit| limit.is_finite()),
            set: &record.sof,
            file: &record.file,
            keys: serde_json::from_str(&record.keys).unwrap_or_else(|_| Value::String(record.keys.clone())),
        }
    }
}

/// What a step means for the batches after it.
enum Step {
    /// Go on with the next.
    On,
    /// The monitor needs a pause.
    Pause(Duration),
    /// Every other batch would be refused the same way.
    Hopeless(SinkError),
}

/// The outbox of one monitor.
pub struct HealthOutbox {
    sink: String,
    catalogue: Catalogue,
    monitor: Box<dyn Monitor>,
    backoff: Backoff,
    failures: i64,
}

impl HealthOutbox {
    /// The outbox of `monitor`, which is called `sink` in the catalogue.
    pub fn new(sink: &str, catalogue: Catalogue, monitor: Box<dyn Monitor>, pace: Pace) -> HealthOutbox {
        let backoff = Backoff::new(&pace, catalogue.clock().now_us().unsigned_abs());
        HealthOutbox { sink: sink.to_string(), catalogue, monitor, backoff, failures: 0 }
    }

    async fn work_round(&mut self) -> Result<Turn, CatalogueError> {
        let due = self.catalogue.due_health_items(&self.sink, ROUND).await?;
        if due.is_empty() {
            return Ok(Turn::Until(self.catalogue.next_delivery_time(&self.sink).await?));
        }
        let mut left = due.iter();
        while let Some(item) = left.next() {
            match self.step(item).await {
                Ok(Step::On) => {}
                Ok(Step::Pause(pause)) => return Ok(Turn::Pause(pause)),
                Ok(Step::Hopeless(change)) => {
                    for other in left.by_ref() {
                        self.park_as(other, &change).await?;
                    }
                }
                Err(CatalogueError::LostRace { .. }) => {
                    debug!(sink = %self.sink, batch = %item.key, "changed meanwhile")
                }
                Err(other) => return Err(other),
            }
        }
        Ok(Turn::Again)
    }

    /// Park a batch that was not tried, for what another was refused for.
    async fn park_as(&self, item: &HealthItem, fault: &SinkError) -> Result<(), CatalogueError> {
        let story = fault.story();
        let change =
            DeliveryChange { why: &story, class: fault.class().code(), error: &story, ..DeliveryChange::default() };
        match self.moved(item, &item.state, "parked", &change).await {
            Err(CatalogueError::LostRace { .. }) => Ok(()),
            other => other,
        }
    }

    /// Tell one batch.
    async fn step(&mut self, item: &HealthItem) -> Result<Step, CatalogueError> {
        let records = self.catalogue.qc_records(item.job_id).await?;
        let sending = DeliveryChange { why: "told to the monitor", attempt: true, ..DeliveryChange::default() };
        self.moved(item, &item.state, "sending", &sending).await?;
        let batch = Batch { key: item.key.clone(), job: item.job_id.0, again: item.attempts > 0, records };
        let told = if batch.records.is_empty() {
            Ok("nothing to tell: the job has no metrics".to_string())
        } else {
            self.monitor.tell(&batch).await
        };
        match told {
            Ok(place) => {
                self.failures = 0;
                let receipt = serde_json::json!({ "place": place, "metrics": batch.records.len() }).to_string();
                let change = DeliveryChange { why: "taken", receipt: Some(&receipt), ..DeliveryChange::default() };
                self.moved(item, "sending", "confirmed", &change).await?;
                info!(sink = %self.sink, batch = %item.key, metrics = batch.records.len(), "monitor told");
                Ok(Step::On)
            }
            Err(fault) => self.failed(item, fault).await,
        }
    }

    async fn failed(&mut self, item: &HealthItem, fault: SinkError) -> Result<Step, CatalogueError> {
        let (story, whole) = (fault.story(), fault.scope() == Scope::Sink);
        let mut change =
            DeliveryChange { why: &story, class: fault.class().code(), error: &story, ..DeliveryChange::default() };
        if !fault.retry(item.attempts + 1) {
            error!(sink = %self.sink, batch = %item.key, error = %story, "metrics parked");
            self.moved(item, "sending", "parked", &change).await?;
            return Ok(if whole { Step::Hopeless(fault) } else { Step::On });
        }
        self.failures += i64::from(whole);
        let pause = self.backoff.pause(if whole { self.failures } else { item.attempts + 1 });
        change.not_before_us = self.catalogue.clock().now_us() + us(pause);
        warn!(sink = %self.sink, batch = %item.key, pause_s = pause.as_secs_f64(), error = %story, "monitor waits");
        self.moved(item, "sending", "queued", &change).await?;
        Ok(if whole { Step::Pause(pause) } else { Step::On })
    }

    async fn moved(
        &self,
        item: &HealthItem,
        from: &str,
        to: &'static str,
        change: &DeliveryChange<'_>,
    ) -> Result<(), CatalogueError> {
        let mut tx = self.catalogue.begin().await?;
        tx.move_delivery(item.id, &[from], to, change).await?;
        tx.commit().await
    }
}

impl Outbox for HealthOutbox {
    fn sink(&self) -> &str {
        &self.sink
    }

    fn round(&mut self) -> Working<'_> {
        Box::pin(self.work_round())
    }
}
