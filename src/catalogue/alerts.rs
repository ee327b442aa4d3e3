//! Alerts: trouble that people should know of, from the moment it is seen until it is over, and what was said of it to whom.
//!
//! What lives here: the states of alerts and of their messages. What never lives here: what counts as trouble, and how a
//! message travels.

use serde::Serialize;
use sqlx::FromRow;

use super::{Catalogue, During, Result, WriteTx};

/// Trouble as it was found now. The same trouble has the same key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What tells it from others: `delivery/saf`.
    pub key: String,
    /// `keep_up`, `delivery`, `monitor`, `qc`, `calibration`, `disk` or `daemon`.
    pub kind: &'static str,
    /// `warning` or `error`.
    pub severity: &'static str,
    /// What is wrong, in one sentence.
    pub text: String,
    /// What to do about it.
    pub hint: String,
}

/// Somebody who is told of alerts, and when a message to him may leave.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// Name.
    pub sink: String,
    /// Told of warnings too?
    pub warnings: bool,
}

/// When messages leave.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// A message on a warning does not leave before this time, microseconds UTC.
    pub warnings_from_us: i64,
    /// A message on an error does not leave before this time.
    pub errors_from_us: i64,
    /// Trouble that was not seen for so long is over, microseconds.
    pub clear_after_us: i64,
    /// Trouble that stays is told of again after so long; 0 for never.
    pub repeat_us: i64,
}

impl Timing {
    /// That trouble is still there is written so often, and not at every look.
    fn written_every_us(&self) -> i64 {
        self.clear_after_us / 2
    }

    /// Is trouble over that was last written to be there so long ago? It may have been seen since.
    fn is_over(&self, since_us: i64) -> bool {
        since_us >= self.clear_after_us + self.written_every_us()
    }
}

/// An alert.
#[derive(Clone, Debug, PartialEq, Serialize, FromRow, utoipa::ToSchema)]
pub struct AlertRow {
    /// Row id.
    pub id: i64,
    /// What tells it from others.
    pub key: String,
    /// `keep_up`, `delivery`, `monitor`, `qc`, `calibration`, `disk` or `daemon`.
    pub kind: String,
    /// `warning` or `error`.
    pub severity: String,
    /// What is wrong.
    pub text: String,
    /// What to do about it.
    pub hint: String,
    /// When it was seen first, microseconds UTC.
    pub raised_us: i64,
    /// When it was found to be over; none while it is there.
    pub cleared_us: Option<i64>,
    /// Messages that were sent.
    pub sent: i64,
    /// Messages that are still to be sent.
    pub waiting: i64,
    /// Why the last one could not be sent; empty when it was.
    pub error: String,
}

/// A message that is due.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct DueMessage {
    /// Row id.
    pub id: i64,
    /// `raised`, `worse`, `reminder` or `cleared`.
    pub what: String,
    /// Whether it may have been sent before.
    pub again: bool,
    /// Sends so far.
    pub attempts: i64,
    /// Key of its alert.
    pub key: String,
    /// Kind of its alert.
    pub kind: String,
    /// Severity of its alert.
    pub severity: String,
    /// What is wrong.
    pub text: String,
    /// What to do.
    pub hint: String,
    /// When the trouble began, microseconds UTC.
    pub raised_us: i64,
    /// When it was over.
    pub cleared_us: Option<i64>,
}

#[derive(FromRow)]
struct Open {
    id: i64,
    key: String,
    severity: String,
    text: String,
    hint: String,
    seen_us: i64,
}

const ROWS: &str = "SELECT a.id, a.key, a.kind, a.severity, a.text, a.hint, a.raised_us, a.cleared_us,
        (SELECT count(*) FROM alert_message WHERE alert_id = a.id AND state = 'sent') AS sent,
        (SELECT count(*) FROM alert_message WHERE alert_id = a.id AND state IN ('queued', 'sending')) AS waiting,
        coalesce((SELECT error FROM alert_message WHERE alert_id = a.id ORDER BY id DESC LIMIT 1), '') AS error
    FROM alert a WHERE ?1 = 0 OR a.cleared_us IS NULL
    ORDER BY CASE WHEN ?1 = 0 THEN -a.id END, a.severity, a.raised_us LIMIT ?2";

impl Catalogue {
    /// Alerts that are open, the gravest and oldest first.
    pub async fn open_alerts(&self) -> Result<Vec<AlertRow>> {
        sqlx::query_as(ROWS).bind(true).bind(-1).fetch_all(self.reader()).await.during("list alerts")
    }

    /// Alerts, also those that are over, newest first.
    pub async fn alerts(&self, limit: i64) -> Result<Vec<AlertRow>> {
        sqlx::query_as(ROWS).bind(false).bind(limit).fetch_all(self.reader()).await.during("list alerts")
    }

    /// Make the alerts what was found now: new trouble is raised, trouble that is gone is over, and whoever is to be told
    /// gets a message, all in one transaction.
    pub async fn note_findings(&self, findings: &[Finding], receivers: &[Receiver], timing: &Timing) -> Result<()> {
        let now = self.now_us();
        let open = self.alerts_to_keep().await?;
        let reminders = self.reminders_due(now, timing).await?;
        if !self.differs(&open, findings, now, timing) && reminders.is_empty() {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        for finding in findings {
            let message = match open.iter().find(|open| open.key == finding.key) {
                None => Some((tx.raise(finding).await?, "raised")),
                Some(known) => {
                    tx.see_again(known, finding).await?;
                    let worse = known.severity == "warning" && finding.severity == "error";
                    let told = reminders.contains(&known.id).then_some("reminder");
                    if worse { Some((known.id, "worse")) } else { told.map(|what| (known.id, what)) }
                }
            };
            let Some((alert, what)) = message else { continue };
            for receiver in receivers.iter().filter(|receiver| receiver.warnings || finding.severity == "error") {
                tx.queue_message(alert, receiver, what, finding.severity, timing).await?;
            }
        }
        let gone = |open: &&Open| !findings.iter().any(|finding| finding.key == open.key);
        for over in open.iter().filter(gone).filter(|open| timing.is_over(now - open.seen_us)) {
            tx.clear(over, receivers, timing).await?;
        }
        tx.commit().await
    }

    async fn alerts_to_keep(&self) -> Result<Vec<Open>> {
        sqlx::query_as("SELECT id, key, severity, text, hint, seen_us FROM alert WHERE cleared_us IS NULL")
            .fetch_all(self.reader())
            .await
            .during("read alerts")
    }

    /// Is there anything to write? That trouble is still there need not be written at every look.
    fn differs(&self, open: &[Open], findings: &[Finding], now: i64, timing: &Timing) -> bool {
        let news = findings.iter().any(|finding| match open.iter().find(|open| open.key == finding.key) {
            None => true,
            Some(known) => {
                let aged = now - known.seen_us > timing.written_every_us();
                aged || known.severity != finding.severity || known.text != finding.text || known.hint != finding.hint
            }
        });
        let over =
            |open: &Open| timing.is_over(now - open.seen_us) && !findings.iter().any(|finding| finding.key == open.key);
        news || open.iter().any(over)
    }

    /// Open alerts that were told of long ago, and of which nothing waits to be told.
    async fn reminders_due(&self, now: i64, timing: &Timing) -> Result<Vec<i64>> {
        if timing.repeat_us == 0 {
            return Ok(Vec::new());
        }
        sqlx::query_scalar(
            "SELECT a.id FROM alert a JOIN alert_message m ON m.alert_id = a.id WHERE a.cleared_us IS NULL
             GROUP BY a.id HAVING max(m.sent_us) <= ?1 AND sum(m.state IN ('queued', 'sending')) = 0",
        )
        .bind(now - timing.repeat_us)
        .fetch_all(self.reader())
        .await
        .during("look for alerts to be reminded of")
    }

    /// The oldest message to a receiver that is not sent, if it may leave now.
    pub async fn due_message(&self, sink: &str) -> Result<Option<DueMessage>> {
        sqlx::query_as(
            "SELECT * FROM (
                 SELECT m.id, m.what, m.state = 'sending' OR m.attempts > 0 AS again, m.attempts, m.not_before_us, a.key,
                        a.kind, a.severity, a.text, a.hint, a.raised_us, a.cleared_us
                 FROM alert_message m JOIN alert a ON a.id = m.alert_id
                 WHERE m.sink = ?1 AND m.state IN ('queued', 'sending') ORDER BY m.not_before_us, m.id LIMIT 1)
             WHERE not_before_us <= ?2",
        )
        .bind(sink)
        .bind(self.now_us())
        .fetch_optional(self.reader())
        .await
        .during("look for a message")
    }

    /// The earliest time at which a message to a receiver may leave.
    pub async fn next_message_time(&self, sink: &str) -> Result<Option<i64>> {
        sqlx::query_scalar(
            "SELECT min(not_before_us) FROM alert_message WHERE sink = ?1 AND state IN ('queued', 'sending')",
        )
        .bind(sink)
        .fetch_one(self.reader())
        .await
        .during("look for the next message")
    }

    /// A message is about to be sent: from here on it may have arrived.
    pub async fn message_leaves(&self, id: i64) -> Result<()> {
        self.message(id, "sending", "", 0).await
    }

    /// A message has arrived.
    pub async fn message_arrived(&self, id: i64) -> Result<()> {
        self.message(id, "sent", "", 0).await
    }

    /// A message could not be sent; it is tried again at a time.
    pub async fn message_waits(&self, id: i64, error: &str, not_before_us: i64) -> Result<()> {
        self.message(id, "queued", error, not_before_us).await
    }

    /// A message was refused for good.
    pub async fn message_refused(&self, id: i64, error: &str) -> Result<()> {
        self.message(id, "dropped", error, 0).await
    }

    async fn message(&self, id: i64, to: &'static str, error: &str, not_before_us: i64) -> Result<()> {
        let mut tx = self.begin().await?;
        sqlx::query(
            "UPDATE alert_message SET state = ?2, error = ?3, not_before_us = max(not_before_us, ?4),
                 attempts = attempts + (?2 = 'sending'), sent_us = CASE WHEN ?2 = 'sent' THEN ?5 END
             WHERE id = ?1 AND state IN ('queued', 'sending')",
        )
        .bind(id)
        .bind(to)
        .bind(error)
        .bind(not_before_us)
        .bind(tx.now_us)
        .execute(&mut *tx.tx)
        .await
        .during("change a message")?;
        tx.commit().await
    }
}

impl WriteTx {
    async fn raise(&mut self, finding: &Finding) -> Result<i64> {
        sqlx::query_scalar(
            "INSERT INTO alert (key, kind, severity, text, hint, raised_us, seen_us) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)
             RETURNING id",
        )
        .bind(&finding.key)
        .bind(finding.kind)
        .bind(finding.severity)
        .bind(&finding.text)
        .bind(&finding.hint)
        .bind(self.now_us)
        .fetch_one(&mut *self.tx)
        .await
        .during("raise an alert")
    }

    async fn see_again(&mut self, known: &Open, finding: &Finding) -> Result<()> {
        sqlx::query("UPDATE alert SET severity = ?2, text = ?3, hint = ?4, seen_us = ?5 WHERE id = ?1")
            .bind(known.id)
            .bind(finding.severity)
            .bind(&finding.text)
            .bind(&finding.hint)
            .bind(self.now_us)
            .execute(&mut *self.tx)
            .await
            .during("keep an alert")
            .map(|_| ())
    }

    async fn queue_message(
        &mut self,
        alert: i64,
        receiver: &Receiver,
        what: &'static str,
        severity: &str,
        timing: &Timing,
    ) -> Result<()> {
        let from_us = if severity == "error" { timing.errors_from_us } else { timing.warnings_from_us };
        sqlx::query(
            "INSERT INTO alert_message (alert_id, sink, what, state, not_before_us, created_us)
             VALUES (?1, ?2, ?3, 'queued', ?4, ?5)",
        )
        .bind(alert)
        .bind(&receiver.sink)
        .bind(what)
        .bind(from_us)
        .bind(self.now_us)
        .execute(&mut *self.tx)
        .await
        .during("queue a message")
        .map(|_| ())
    }

    /// Trouble is over. Whoever was told of it, or may have been, is told that; for others nothing happened.
    async fn clear(&mut self, over: &Open, receivers: &[Receiver], timing: &Timing) -> Result<()> {
        sqlx::query("UPDATE alert SET cleared_us = ?2 WHERE id = ?1")
            .bind(over.id)
            .bind(self.now_us)
            .execute(&mut *self.tx)
            .await
            .during("clear an alert")?;
        sqlx::query(
            "UPDATE alert_message SET state = 'dropped' WHERE alert_id = ?1 AND state = 'queued' AND attempts = 0",
        )
        .bind(over.id)
        .execute(&mut *self.tx)
        .await
        .during("drop messages of an alert")?;
        let told: Vec<String> =
            sqlx::query_scalar("SELECT DISTINCT sink FROM alert_message WHERE alert_id = ?1 AND state <> 'dropped'")
                .bind(over.id)
                .fetch_all(&mut *self.tx)
                .await
                .during("list who was told of an alert")?;
        for receiver in receivers.iter().filter(|receiver| told.contains(&receiver.sink)) {
            self.queue_message(over.id, receiver, "cleared", &over.severity, timing).await?;
        }
        Ok(())
    }
}
