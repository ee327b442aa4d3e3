//! The state of everything in one answer. Counts come from indexes alone, so that it stays quick in a full catalogue.

use serde::Serialize;
use sqlx::FromRow;

use crate::catalogue::maintenance::HealthFact;
use crate::catalogue::{Catalogue, During, Result};

/// A name and how many.
#[derive(Clone, Debug, PartialEq, Serialize, FromRow, utoipa::ToSchema)]
pub struct Count {
    /// State, usage or outcome.
    pub name: String,
    /// How many.
    pub count: i64,
}

/// The frame that was taken in last.
#[derive(Clone, Debug, Serialize, FromRow, utoipa::ToSchema)]
pub struct LastFrame {
    /// Data id.
    pub data_id: String,
    /// Arm.
    pub arm: String,
    /// Kind.
    pub kind: String,
    /// When it was taken in.
    pub taken_us: i64,
}

/// A set that is not reduced yet.
#[derive(Clone, Debug, Serialize, FromRow, utoipa::ToSchema)]
pub struct WaitingSet {
    /// Row id.
    pub id: i64,
    /// Name.
    pub name: String,
    /// Recipe.
    pub recipe: String,
    /// Arm.
    pub arm: String,
    /// Since when it has been as it is.
    pub since_us: i64,
    /// What it waits for.
    pub reason: String,
}

/// A job that runs now.
#[derive(Clone, Debug, Serialize, FromRow, utoipa::ToSchema)]
pub struct RunningJob {
    /// Row id.
    pub id: i64,
    /// Name of its set.
    pub set_name: String,
    /// Recipe.
    pub recipe: String,
    /// When it began.
    pub started_us: i64,
    /// Seconds since then.
    #[sqlx(default)]
    pub elapsed_s: f64,
}

/// Median and worst of some durations.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Spread {
    /// How many.
    pub count: i64,
    /// Median in seconds.
    pub median_s: f64,
    /// Longest in seconds.
    pub worst_s: f64,
}

/// How long the newest night's products took.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Latency {
    /// The newest night with products.
    pub night: String,
    /// From the end of the last exposure to the product.
    pub exposure_to_product: Option<Spread>,
    /// From the product to the archive's confirmation.
    pub product_to_archive: Option<Spread>,
    /// From the end of the last exposure to the archive's confirmation.
    pub exposure_to_archive: Option<Spread>,
}

/// The state of everything.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct StatusView {
    /// When this was read.
    pub at_us: i64,
    /// The present night.
    pub night: String,
    /// Files by state.
    pub files: Vec<Count>,
    /// Frames by usage.
    pub frames: Vec<Count>,
    /// Sets by state.
    pub sets: Vec<Count>,
    /// Jobs by state.
    pub jobs: Vec<Count>,
    /// Products by state; current ones by verdict: `current/pass`.
    pub products: Vec<Count>,
    /// Deliveries by sink and state: `archive/confirmed`.
    pub deliveries: Vec<Count>,
    /// The frame that was taken in last.
    pub last_frame: Option<LastFrame>,
    /// The set that has waited longest.
    pub oldest_waiting: Option<WaitingSet>,
    /// Age in seconds of the oldest delivery that is neither confirmed, parked nor cancelled.
    pub oldest_undelivered_s: Option<f64>,
    /// Jobs that run now.
    pub running: Vec<RunningJob>,
    /// Facts about the running process: paused, last scan, free disk.
    pub facts: Vec<HealthFact>,
    /// How long the newest night's products took.
    pub latency: Option<Latency>,
}

impl Catalogue {
    /// The state of everything.
    pub async fn status(&self) -> Result<StatusView> {
        let now = self.clock().now();
        let at_us = now.as_microsecond();
        Ok(StatusView {
            at_us,
            night: crate::instrument::Night::of(now).to_string(),
            files: self.counts("SELECT state AS name, count(*) AS count FROM file GROUP BY state").await?,
            frames: self
                .counts(
                    "SELECT v.usage AS name, count(*) AS count FROM frame_version v INDEXED BY frame_version_usage
                     WHERE EXISTS (SELECT 1 FROM frame f WHERE f.current_version = v.id) GROUP BY v.usage",
                )
                .await?,
            sets: self
                .counts("SELECT state AS name, count(*) AS count FROM frame_set WHERE state <> 'empty' GROUP BY state")
                .await?,
            jobs: self
                .counts("SELECT state AS name, count(*) AS count FROM job WHERE state <> 'superseded' GROUP BY state")
                .await?,
            products: self
                .counts(
                    "SELECT CASE WHEN state = 'current' THEN 'current/' || verdict ELSE state END AS name, sum(n) AS count
                     FROM (SELECT state, verdict, count(*) AS n FROM product GROUP BY state, verdict) GROUP BY 1",
                )
                .await?,
            deliveries: self
                .counts(
                    "SELECT sink || '/' || state AS name, sum(n) AS count
                     FROM (SELECT sink, kind, state, count(*) AS n FROM delivery GROUP BY sink, kind, state)
                     GROUP BY sink, state ORDER BY 1",
                )
                .await?,
            last_frame: self.last_frame().await?,
            oldest_waiting: self.oldest_waiting().await?,
            oldest_undelivered_s: self.oldest_undelivered().await?.map(|us| (at_us - us) as f64 / 1e6),
            running: self.running(at_us).await?,
            facts: self.facts().await?,
            latency: self.latency().await?,
        })
    }

    async fn counts(&self, statement: &'static str) -> Result<Vec<Count>> {
        sqlx::query_as(statement).fetch_all(self.reader()).await.during("count states")
    }

    async fn last_frame(&self) -> Result<Option<LastFrame>> {
        sqlx::query_as(
            "SELECT f.data_id, f.arm, v.kind, v.taken_us FROM frame_version v JOIN frame f ON f.id = v.frame_id
             ORDER BY v.id DESC LIMIT 1",
        )
        .fetch_optional(self.reader())
        .await
        .during("find the last frame")
    }

    async fn oldest_waiting(&self) -> Result<Option<WaitingSet>> {
        sqlx::query_as(
            "SELECT id, name, recipe, arm, since_us, reason FROM (
                 SELECT * FROM (
                     SELECT id, name, recipe, arm, changed_us AS since_us,
                            coalesce(nullif(why, ''), 'the rest of its template') AS reason
                     FROM frame_set WHERE state = 'open' AND n_frames > 0 ORDER BY changed_us LIMIT 1)
                 UNION ALL
                 SELECT * FROM (
                     SELECT s.id, s.name, s.recipe, s.arm, j.created_us AS since_us,
                            CASE j.state WHEN 'held' THEN 'held by an operator' ELSE j.waits_for END AS reason
                     FROM job j JOIN frame_set s ON s.id = j.set_id WHERE j.state IN ('waiting', 'held')
                     ORDER BY j.created_us LIMIT 1))
             ORDER BY since_us LIMIT 1",
        )
        .fetch_optional(self.reader())
        .await
        .during("find the set that has waited longest")
    }

    async fn oldest_undelivered(&self) -> Result<Option<i64>> {
        sqlx::query_scalar(
            "SELECT min(created_us) FROM delivery
             WHERE state IN ('held', 'queued', 'sending', 'unknown', 'buffered', 'sent')",
        )
        .fetch_one(self.reader())
        .await
        .during("find the oldest delivery")
    }

    async fn running(&self, now_us: i64) -> Result<Vec<RunningJob>> {
        let mut running: Vec<RunningJob> = sqlx::query_as(
            "SELECT j.id, s.name AS set_name, j.recipe, coalesce(j.started_us, j.created_us) AS started_us
             FROM job j JOIN frame_set s ON s.id = j.set_id WHERE j.state = 'running' ORDER BY j.started_us",
        )
        .fetch_all(self.reader())
        .await
        .during("list running jobs")?;
        for job in &mut running {
            job.elapsed_s = (now_us - job.started_us) as f64 / 1e6;
        }
        Ok(running)
    }

    async fn latency(&self) -> Result<Option<Latency>> {
        let night: Option<String> = sqlx::query_scalar("SELECT max(night) FROM product")
            .fetch_one(self.reader())
            .await
            .during("find the newest night")?;
        let Some(night) = night else { return Ok(None) };
        // One row a set: the products of a job appear together. The newest five hundred sets say enough.
        let rows: Vec<(i64, i64, Option<i64>)> = sqlx::query_as(
            "SELECT (SELECT max(v.date_obs_us + CAST(v.exptime * 1e6 AS INTEGER)) FROM job_input i
                     JOIN frame_version v ON v.id = i.version_id WHERE i.job_id = p.job_id AND i.role = 'raw'),
                    p.made_us, p.confirmed_us
             FROM (SELECT job_id, max(created_us) AS made_us,
                          (SELECT CASE WHEN count(*) = count(confirmed_us) THEN max(confirmed_us) END FROM delivery
                           WHERE job_id = product.job_id AND kind = 'archive' AND state <> 'cancelled') AS confirmed_us
                   FROM product WHERE night = ?1 AND state IN ('current', 'bad')
                   GROUP BY job_id ORDER BY job_id DESC LIMIT 500) p
             WHERE EXISTS (SELECT 1 FROM job_input WHERE job_id = p.job_id AND role = 'raw')",
        )
        .bind(&night)
        .fetch_all(self.reader())
        .await
        .during("read latencies")?;
        let seconds = |us: i64| us as f64 / 1e6;
        Ok(Some(Latency {
            night,
            exposure_to_product: spread(rows.iter().map(|(end, made, _)| seconds(made - end)).collect()),
            product_to_archive: spread(
                rows.iter().filter_map(|(_, made, stored)| Some(seconds((*stored)? - made))).collect(),
            ),
            exposure_to_archive: spread(
                rows.iter().filter_map(|(end, _, stored)| Some(seconds((*stored)? - end))).collect(),
            ),
        }))
    }
}

/// Median and worst; the lower of the two middle values when their number is even.
fn spread(mut durations: Vec<f64>) -> Option<Spread> {
    durations.sort_by(f64::total_cmp);
    let median_s = *durations.get(durations.len().saturating_sub(1) / 2)?;
    let worst_s = *durations.last()?;
    Some(Spread { count: durations.len() as i64, median_s, worst_s })
}
