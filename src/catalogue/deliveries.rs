//! The outbox: items for archives and health monitors, and what became of them.

use serde::Serialize;
use sqlx::FromRow;

use super::{Catalogue, CatalogueError, DeliveryId, During, JobId, ProductId, Result, WriteTx};

/// An archive item that is due, with everything a sink needs to offer it.
#[derive(Clone, Debug, FromRow)]
pub struct ArchiveItem {
    /// Delivery.
    pub id: DeliveryId,
    /// Product.
    pub product_id: ProductId,
    /// Name in the archive, unique for all time.
    pub key: String,
    /// `queued`, `sending`, `unknown`, `buffered` or `sent`.
    pub state: String,
    /// Sends so far.
    pub attempts: i64,
    /// The other side's record so far, JSON.
    pub receipt: String,
    /// sha256: the name of the file in the store.
    pub sha256: String,
    /// md5.
    pub md5: String,
    /// CRC-32 (IEEE).
    pub crc32: i64,
    /// CRC-32C (Castagnoli).
    pub crc32c: i64,
    /// Bytes.
    pub size: i64,
    /// PRO CATG.
    pub catg: String,
    /// Arm.
    pub arm: String,
    /// Night.
    pub night: String,
    /// When it was queued.
    pub created_us: i64,
}

/// A health item that is due: all metrics of one job.
#[derive(Clone, Debug, FromRow)]
pub struct HealthItem {
    /// Delivery.
    pub id: DeliveryId,
    /// Job.
    pub job_id: JobId,
    /// Idempotency key.
    pub key: String,
    /// State.
    pub state: String,
    /// Sends so far.
    pub attempts: i64,
    /// The other side's record so far, JSON.
    pub receipt: String,
}

/// One metric as health monitors receive it. Absent metrics are named by `absent` and have no value.
#[derive(Clone, Debug, Serialize, FromRow, utoipa::ToSchema)]
pub struct QcRecord {
    /// Start of the set's first exposure, microseconds UTC.
    pub at_us: i64,
    /// When it was measured, microseconds UTC.
    pub made_us: i64,
    /// Night.
    pub night: String,
    /// Arm.
    pub arm: String,
    /// Recipe as the monitor knows it: `soxs-mbias`.
    pub recipe: String,
    /// Metric.
    pub name: String,
    /// `-1` for a global value.
    pub qc_order: String,
    /// Value; absent when it could not be measured.
    pub value: Option<f64>,
    /// Why there is no value; empty when there is one.
    pub absent: String,
    /// Unit.
    pub unit: String,
    /// What it is.
    pub comment: String,
    /// `pass`, `warn` or `fail`.
    pub verdict: String,
    /// Lower limit, inclusive.
    pub min: Option<f64>,
    /// Upper limit, inclusive.
    pub max: Option<f64>,
    /// Stem of the SOF.
    pub sof: String,
    /// Main product's file name.
    pub file: String,
    /// Version of the recipe.
    pub recipe_version: String,
    /// Keys of the set (binning, read mode, slit...) as JSON.
    pub keys: String,
}

/// What changes together with a delivery's state.
#[derive(Clone, Debug, Default)]
pub struct DeliveryChange<'a> {
    /// Why.
    pub why: &'a str,
    /// Class of the error, empty to clear.
    pub class: &'a str,
    /// Error, empty to clear.
    pub error: &'a str,
    /// The other side's record; `None` leaves it.
    pub receipt: Option<&'a str>,
    /// Not to be touched before this time.
    pub not_before_us: i64,
    /// Count this as a send.
    pub attempt: bool,
}

impl Catalogue {
    /// Archive items of a sink that may be worked on now, oldest first.
    pub async fn due_archive_items(&self, sink: &str, limit: i64) -> Result<Vec<ArchiveItem>> {
        sqlx::query_as(
            "SELECT d.id, d.product_id, d.key, d.state, d.attempts, d.receipt, p.sha256, p.md5, p.crc32, p.crc32c, p.size,
                    p.catg, p.arm, p.night, d.created_us
             FROM delivery d JOIN product p ON p.id = d.product_id
             WHERE d.sink = ?1 AND d.kind = 'archive' AND d.state IN ('queued', 'sending', 'unknown', 'buffered', 'sent')
               AND d.not_before_us <= ?2
             ORDER BY d.id LIMIT ?3",
        )
        .bind(sink)
        .bind(self.now_us())
        .bind(limit)
        .fetch_all(self.reader())
        .await
        .during("list due deliveries")
    }

    /// Health items of a sink that may be worked on now, oldest first.
    pub async fn due_health_items(&self, sink: &str, limit: i64) -> Result<Vec<HealthItem>> {
        sqlx::query_as(
            "SELECT id, job_id, key, state, attempts, receipt FROM delivery
             WHERE sink = ?1 AND kind = 'health' AND state IN ('queued', 'sending', 'unknown', 'buffered', 'sent')
               AND not_before_us <= ?2
             ORDER BY id LIMIT ?3",
        )
        .bind(sink)
        .bind(self.now_us())
        .bind(limit)
        .fetch_all(self.reader())
        .await
        .during("list due metrics")
    }

    /// The earliest time at which a delivery of a sink needs attention, if any does.
    pub async fn next_delivery_time(&self, sink: &str) -> Result<Option<i64>> {
        sqlx::query_scalar(
            "SELECT min(not_before_us) FROM delivery
             WHERE sink = ?1 AND state IN ('queued', 'sending', 'unknown', 'buffered', 'sent')",
        )
        .bind(sink)
        .fetch_one(self.reader())
        .await
        .during("look for the next delivery")
    }

    /// Number of deliveries that are neither confirmed nor given up.
    pub async fn open_deliveries(&self) -> Result<i64> {
        sqlx::query_scalar(
            "SELECT count(*) FROM delivery WHERE state IN ('queued', 'sending', 'unknown', 'buffered', 'sent')",
        )
        .fetch_one(self.reader())
        .await
        .during("count open deliveries")
    }

    /// All metrics of a job, as health monitors receive them.
    pub async fn qc_records(&self, job: JobId) -> Result<Vec<QcRecord>> {
        sqlx::query_as(
            "SELECT q.at_us, q.made_us, s.night, s.arm, 'soxs-' || replace(q.recipe, '_', '-') AS recipe, q.name, q.qc_order,
                    q.value, q.absent, q.unit, q.comment, q.verdict, q.min, q.max, s.name AS sof,
                    coalesce((SELECT name FROM product WHERE job_id = j.id ORDER BY id LIMIT 1), '') AS file,
                    j.recipe_version, s.keys
             FROM qc q JOIN job j ON j.id = q.job_id JOIN frame_set s ON s.id = j.set_id
             WHERE q.job_id = ?1 ORDER BY q.id",
        )
        .bind(job)
        .fetch_all(self.reader())
        .await
        .during("read the metrics of a job")
    }
}

impl WriteTx {
    /// Queue a product for an archive. A second request for the same name does nothing.
    pub async fn enqueue_archive(
        &mut self,
        sink: &str,
        product: ProductId,
        job: JobId,
        state: &'static str,
    ) -> Result<()> {
        self.archive_row(sink, product, job, state, ["", ""]).await
    }

    /// Put a product before an archive's door: it waits there for an operator, and `why` says for what. Class `gate`: his
    /// word lets it go. Class `phase3`: the archive would refuse it, so no word does.
    pub async fn hold_archive(
        &mut self,
        sink: &str,
        product: ProductId,
        job: JobId,
        class: &'static str,
        why: &str,
    ) -> Result<()> {
        self.archive_row(sink, product, job, "held", [class, why]).await
    }

    async fn archive_row(
        &mut self,
        sink: &str,
        product: ProductId,
        job: JobId,
        state: &'static str,
        [class, why]: [&str; 2],
    ) -> Result<()> {
        sqlx::query(
            "INSERT INTO delivery (sink, kind, key, product_id, job_id, state, class, error, created_us)
             SELECT ?1, 'archive', archive_name, id, ?3, ?4, ?5, ?6, ?7 FROM product WHERE id = ?2
             ON CONFLICT (sink, key) DO NOTHING",
        )
        .bind(sink)
        .bind(product)
        .bind(job)
        .bind(state)
        .bind(class)
        .bind(why)
        .bind(self.now_us)
        .execute(&mut *self.tx)
        .await
        .during("put a delivery before an archive")
        .map(|_| ())
    }

    /// Queue the metrics of a job for a health monitor. `key` makes the monitor's side idempotent.
    pub async fn enqueue_health(&mut self, sink: &str, job: JobId, key: &str) -> Result<()> {
        sqlx::query(
            "INSERT INTO delivery (sink, kind, key, job_id, state, created_us) VALUES (?1, 'health', ?2, ?3, 'queued', ?4)
             ON CONFLICT (sink, key) DO NOTHING",
        )
        .bind(sink)
        .bind(key)
        .bind(job)
        .bind(self.now_us)
        .execute(&mut *self.tx)
        .await
        .during("queue metrics")
        .map(|_| ())
    }

    /// Deliveries of a product that have not been sent are cancelled, because it was replaced or withdrawn.
    pub async fn cancel_deliveries(&mut self, product: ProductId, why: &str) -> Result<()> {
        let waiting: Vec<DeliveryId> =
            sqlx::query_scalar("SELECT id FROM delivery WHERE product_id = ?1 AND state IN ('held', 'queued')")
                .bind(product)
                .fetch_all(&mut *self.tx)
                .await
                .during("list deliveries to cancel")?;
        for delivery in waiting {
            let change = DeliveryChange { why, ..DeliveryChange::default() };
            self.move_delivery(delivery, &["held", "queued"], "cancelled", &change).await?;
        }
        Ok(())
    }

    /// Move a delivery from one of the states `from` to `to`. Fails when it is in none of them.
    pub async fn move_delivery(
        &mut self,
        delivery: DeliveryId,
        from: &[&str],
        to: &'static str,
        change: &DeliveryChange<'_>,
    ) -> Result<()> {
        let state: String = sqlx::query_scalar("SELECT state FROM delivery WHERE id = ?1")
            .bind(delivery)
            .fetch_one(&mut *self.tx)
            .await
            .during("read a delivery")?;
        if !from.contains(&state.as_str()) {
            return Err(CatalogueError::LostRace { what: "delivery", id: delivery.0, expected: from.join(" or ") });
        }
        let confirmed = (to == "confirmed").then_some(self.now_us);
        sqlx::query(
            "UPDATE delivery SET state = ?2, class = ?3, error = ?4, receipt = coalesce(?5, receipt), not_before_us = ?6,
                 attempts = attempts + ?7, confirmed_us = ?8 WHERE id = ?1",
        )
        .bind(delivery)
        .bind(to)
        .bind(change.class)
        .bind(change.error)
        .bind(change.receipt)
        .bind(change.not_before_us)
        .bind(i64::from(change.attempt))
        .bind(confirmed)
        .execute(&mut *self.tx)
        .await
        .during("change a delivery's state")?;
        sqlx::query(
            "INSERT INTO delivery_event (delivery_id, at_us, from_state, to_state, why) VALUES (?1, ?2, ?3, ?4, ?5)",
        )
        .bind(delivery)
        .bind(self.now_us)
        .bind(&state)
        .bind(to)
        .bind(change.why)
        .execute(&mut *self.tx)
        .await
        .during("journal a delivery")
        .map(|_| ())
    }
}
