//! Alerts: a watch that finds trouble, and outboxes that tell people of it.
//!
//! ```text
//!  conditions --findings--> catalogue (alert, alert_message) --due--> receivers (webhook, mail, file)
//! ```
//!
//! The watch looks at everything again and again and says what is wrong now; the catalogue knows what was wrong before, so
//! trouble is told once, and once more when it is over, also across a crash. A message is marked before it is sent. Cut
//! off in between, it is sent again under the same identity: the file is looked through first, a webhook has its
//! `Idempotency-Key`, a mail its `Message-ID`.
//!
//! What never lives here: SQL, and what a metric's range is.

mod conditions;
mod file;
mod mail;
mod qc;
mod quiet;
mod webhook;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::SinkError;
use super::archive::Act;
use super::pace::{Backoff, Pace};
use crate::catalogue::alerts::{DueMessage, Receiver, Timing};
use crate::catalogue::{Catalogue, CatalogueError};
use crate::clock::iso;
use crate::config::{AlertKind, AlertSinkConfig, Config, Severity};
use crate::fault::{Classified, chain};
use crate::liveness::Liveness;

pub use conditions::Watch;

/// Longest pause between tries to send.
const LONGEST: Duration = Duration::from_secs(600);

/// Somebody who is told. Telling the same message again must be harmless.
pub trait Teller: Send + Sync {
    /// Tell a message.
    fn tell<'a>(&'a self, message: &'a Message) -> Act<'a, ()>;
}

/// A message as every receiver gets it.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Message {
    /// The same when it is sent again.
    pub id: String,
    /// Whether it may have been sent before.
    #[serde(skip)]
    pub again: bool,
    /// `raised`, `worse`, `reminder` or `cleared`.
    pub what: String,
    /// The same for the same trouble.
    pub key: String,
    /// `keep_up`, `delivery`, `monitor`, `qc`, `calibration`, `disk` or `daemon`.
    pub kind: String,
    /// `warning` or `error`.
    pub severity: String,
    /// What is wrong.
    pub text: String,
    /// What to do.
    pub hint: String,
    /// When it began, UTC.
    pub raised: String,
    /// When it was over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cleared: Option<String>,
}

impl Message {
    fn of(due: &DueMessage) -> Message {
        let time = |us: i64| format!("{}Z", iso(us));
        Message {
            id: format!("{}-{}", due.raised_us, due.id),
            again: due.again,
            what: due.what.clone(),
            key: due.key.clone(),
            kind: due.kind.clone(),
            severity: due.severity.clone(),
            text: due.text.clone(),
            hint: due.hint.clone(),
            raised: time(due.raised_us),
            cleared: (due.what == "cleared").then(|| due.cleared_us.map(time)).flatten(),
        }
    }

    /// In one line: a subject.
    pub fn headline(&self) -> String {
        let word = match self.what.as_str() {
            "cleared" => "over",
            "reminder" => "still",
            _ => self.severity.as_str(),
        };
        format!("[soxsd] {word}: {}", super::http::brief(&self.text))
    }
}

/// Who is told, as configured.
fn teller_of(config: &AlertSinkConfig) -> Result<Box<dyn Teller>, SinkError> {
    Ok(match config.kind {
        AlertKind::File => Box::new(file::File::new(&config.path)),
        AlertKind::Webhook => Box::new(webhook::Webhook::new(config)?),
        AlertKind::Smtp => Box::new(mail::Mail::new(config)?),
    })
}

/// Watch and tell until cancelled. `fresh_days` says how old a calibration may be, by PRO CATG with the arm. Fails at once
/// when a receiver cannot be set up.
pub async fn run(
    catalogue: Catalogue,
    config: Config,
    liveness: Liveness,
    fresh_days: BTreeMap<String, f64>,
    cancel: CancellationToken,
) -> Result<(), SinkError> {
    let mut tasks = JoinSet::new();
    for sink in config.alert_sinks() {
        let (catalogue, token, teller) = (catalogue.clone(), cancel.clone(), teller_of(&sink)?);
        let pace = Pace { longest: LONGEST, ..Pace::default() };
        tasks.spawn(async move { Outbox::new(&sink.name, catalogue, teller, &pace).run(token).await });
    }
    tasks.spawn(watch(catalogue, config, liveness, fresh_days, cancel));
    while let Some(ended) = tasks.join_next().await {
        if let Err(panic) = ended {
            error!(error = %panic, "a part of the alerts was lost");
        }
    }
    Ok(())
}

/// Look again and again. A look that the catalogue does not serve changes nothing.
async fn watch(
    catalogue: Catalogue,
    config: Config,
    liveness: Liveness,
    fresh_days: BTreeMap<String, f64>,
    cancel: CancellationToken,
) {
    let every = Duration::try_from_secs_f64(config.alerts.every_s).unwrap_or(Duration::from_secs(30));
    let mut watch = Watch::new(catalogue.clone(), config, liveness, fresh_days);
    while !cancel.is_cancelled() {
        if let Err(fault) = look(&catalogue, &mut watch).await {
            error!(error = chain(&fault), "the catalogue does not serve the alerts");
        }
        tokio::select! {
            () = cancel.cancelled() => {}
            () = tokio::time::sleep(every) => {}
        }
    }
}

/// Look once, and note what was found.
pub async fn look(catalogue: &Catalogue, watch: &mut Watch) -> Result<(), CatalogueError> {
    let findings = watch.findings().await?;
    let (receivers, timing) = (receivers(watch.config()), timing(catalogue, watch.config()));
    catalogue.note_findings(&findings, &receivers, &timing).await
}

fn receivers(config: &Config) -> Vec<Receiver> {
    let of = |sink: AlertSinkConfig| Receiver { warnings: sink.least == Severity::Warning, sink: sink.name };
    config.alert_sinks().into_iter().map(of).collect()
}

fn timing(catalogue: &Catalogue, config: &Config) -> Timing {
    let now = catalogue.clock().now();
    let us = |seconds: f64| (seconds * 1e6) as i64;
    let quiet_until = config.alerts.quiet().map_or(now, |hours| quiet::end(now, hours));
    let from = |severity: Severity| {
        let passes = severity >= config.alerts.quiet_passes;
        if passes { now } else { quiet_until }.as_microsecond()
    };
    Timing {
        warnings_from_us: from(Severity::Warning),
        errors_from_us: from(Severity::Error),
        clear_after_us: us(config.alerts.clear_after_s),
        repeat_us: us(config.alerts.repeat_s),
    }
}

/// Sends the messages of one receiver, one after the other.
pub struct Outbox {
    sink: String,
    catalogue: Catalogue,
    teller: Box<dyn Teller>,
    backoff: Backoff,
    longest: Duration,
    failures: i64,
}

impl Outbox {
    /// The outbox of a receiver, which is called `sink` in the catalogue.
    pub fn new(sink: &str, catalogue: Catalogue, teller: Box<dyn Teller>, pace: &Pace) -> Outbox {
        let backoff = Backoff::new(pace, catalogue.clock().now_us().unsigned_abs());
        Outbox { sink: sink.to_string(), catalogue, teller, backoff, longest: pace.longest, failures: 0 }
    }

    /// The outbox that a configuration asks for.
    pub fn of(config: &AlertSinkConfig, catalogue: Catalogue, pace: &Pace) -> Result<Outbox, SinkError> {
        Ok(Outbox::new(&config.name, catalogue, teller_of(config)?, pace))
    }

    /// Send what is due until cancelled.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut changes = self.catalogue.subscribe();
        while !cancel.is_cancelled() {
            changes.mark_unchanged();
            let pause = match self.send_due().await {
                Ok(pause) => pause,
                Err(fault) => {
                    error!(sink = self.sink, error = chain(&fault), "the catalogue does not serve the alerts");
                    Some(self.backoff.pause(1))
                }
            };
            tokio::select! {
                () = cancel.cancelled() => {}
                () = tokio::time::sleep(pause.unwrap_or(self.longest)) => {}
                _ = changes.changed(), if self.failures == 0 => {}
            }
        }
    }

    /// Send what is due. Returns how long to wait for the next one; `None`: until something changes.
    pub async fn send_due(&mut self) -> Result<Option<Duration>, CatalogueError> {
        while let Some(due) = self.catalogue.due_message(&self.sink).await? {
            let message = Message::of(&due);
            self.catalogue.message_leaves(due.id).await?;
            match self.teller.tell(&message).await {
                Ok(()) => {
                    self.failures = 0;
                    self.catalogue.message_arrived(due.id).await?;
                    info!(sink = self.sink, key = message.key, what = message.what, "told");
                }
                Err(fault) if fault.retry(due.attempts + 1) || matches!(fault, SinkError::Setup { .. }) => {
                    // Those after it wait too: nobody hears of an end before the beginning.
                    self.failures += 1;
                    let pause = self.backoff.pause(self.failures);
                    let story = fault.story();
                    warn!(sink = self.sink, error = story, pause_s = pause.as_secs_f64(), "an alert waits to be told");
                    self.catalogue.message_waits(due.id, &story, 0).await?;
                    return Ok(Some(pause));
                }
                Err(fault) => {
                    error!(sink = self.sink, error = fault.story(), "an alert was refused");
                    self.catalogue.message_refused(due.id, &fault.story()).await?;
                }
            }
        }
        let now = self.catalogue.clock().now_us();
        let next = self.catalogue.next_message_time(&self.sink).await?;
        Ok(next.map(|at| super::from_us(at - now).min(self.longest)))
    }
}
