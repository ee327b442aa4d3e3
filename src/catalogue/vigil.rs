//! What the watch over the daemon's work asks of the catalogue: how late things are, what the newest measurements say, and
//! which calibrations tonight will need.

use sqlx::FromRow;

use super::{Catalogue, During, JobId, Result};

/// A job that could have ended and has not.
#[derive(Clone, Debug, FromRow)]
pub struct LateJob {
    /// Name of its set.
    pub set_name: String,
    /// Recipe.
    pub recipe: String,
    /// `ready` or `running`.
    pub state: String,
    /// Seconds since it could have begun.
    pub age_s: f64,
    /// Jobs that are ready or running.
    pub behind: i64,
}

/// The newest measurement of a set-up: what a recipe made last of frames that share their keys, whatever the object.
#[derive(Clone, Debug, FromRow)]
pub struct Newest {
    /// Job.
    pub job_id: JobId,
    /// Recipe.
    pub recipe: String,
    /// Arm.
    pub arm: String,
    /// Keys of the set without the object, as JSON.
    pub setup: String,
    /// Name of the set.
    pub set_name: String,
    /// Start of the set's first exposure, microseconds UTC.
    pub at_us: i64,
    /// Its verdict still counts: the job is flagged, and no operator has accepted or rejected what it made.
    pub flagged: bool,
}

/// A metric out of its range.
#[derive(Clone, Debug, FromRow)]
pub struct OutOfRange {
    /// Job.
    pub job_id: JobId,
    /// Metric.
    pub name: String,
    /// Order; `-1` for a global value.
    pub qc_order: String,
    /// Value; none when it could not be measured.
    pub value: Option<f64>,
    /// Unit.
    pub unit: String,
    /// `warn` or `fail`.
    pub verdict: String,
    /// Lower limit.
    pub min: Option<f64>,
    /// Upper limit.
    pub max: Option<f64>,
}

/// A value of a metric at a time.
#[derive(Clone, Debug, FromRow)]
pub struct Measured {
    /// Job.
    pub job_id: JobId,
    /// Recipe.
    pub recipe: String,
    /// Arm.
    pub arm: String,
    /// Keys of the set without the object, as JSON.
    pub setup: String,
    /// Start of the set's first exposure, microseconds UTC.
    pub at_us: i64,
    /// Value.
    pub value: f64,
    /// Unit.
    pub unit: String,
}

/// A calibration that recent observations have used, and the newest one like it.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct CalibrationInUse {
    /// PRO CATG with the arm.
    pub catg: String,
    /// Slit, read mode, binning and, for darks, exposure time, as far as it has them.
    pub setup: String,
    /// Modified Julian date of the newest good one.
    pub newest_mjd: Option<f64>,
}

impl Catalogue {
    /// The job that has waited longest for its turn or its end, if any does.
    pub async fn longest_waiting_job(&self) -> Result<Option<LateJob>> {
        sqlx::query_as(
            "SELECT s.name AS set_name, j.recipe, j.state, (?1 - max(j.created_us, j.not_before_us)) / 1e6 AS age_s,
                    count(*) OVER () AS behind
             FROM job j JOIN frame_set s ON s.id = j.set_id
             WHERE j.state IN ('ready', 'running') AND j.not_before_us <= ?1
             ORDER BY max(j.created_us, j.not_before_us) LIMIT 1",
        )
        .bind(self.now_us())
        .fetch_optional(self.reader())
        .await
        .during("look for the latest job")
    }

    /// The newest measurement of every set-up, of jobs that ended since a time.
    pub async fn newest_measurements(&self, since_us: i64) -> Result<Vec<Newest>> {
        sqlx::query_as(
            "SELECT max(printf('%015.6f %012d', s.mjd_last, j.id)) AS newest, j.id AS job_id, s.recipe, s.arm, json_remove(s.keys, '$.object') AS setup,
                    s.name AS set_name, coalesce((SELECT at_us FROM qc WHERE job_id = j.id LIMIT 1), 0) AS at_us,
                    j.state = 'flagged' AND EXISTS (SELECT 1 FROM product p WHERE p.job_id = j.id AND p.state = 'current'
                        AND p.verdict = 'fail') AS flagged
             FROM job j JOIN frame_set s ON s.id = j.set_id
             WHERE j.state IN ('done', 'flagged') AND j.finished_us >= ?1 AND s.arm IN ('VIS', 'NIR')
             GROUP BY s.recipe, s.arm, json_remove(s.keys, '$.object') ORDER BY j.id",
        )
        .bind(since_us)
        .fetch_all(self.reader())
        .await
        .during("list the newest measurements")
    }

    /// Metrics of a job that are out of their range.
    pub async fn out_of_range(&self, job: JobId) -> Result<Vec<OutOfRange>> {
        sqlx::query_as(
            "SELECT job_id, name, qc_order, value, unit, verdict, min, max FROM qc
             WHERE job_id = ?1 AND verdict <> 'pass' ORDER BY verdict, id",
        )
        .bind(job)
        .fetch_all(self.reader())
        .await
        .during("list metrics out of range")
    }

    /// Every global value of a metric since a time, of sets whose job still stands, oldest first.
    pub async fn measured_since(&self, name: &str, since_us: i64) -> Result<Vec<Measured>> {
        sqlx::query_as(
            "SELECT q.job_id, s.recipe, s.arm, json_remove(s.keys, '$.object') AS setup, q.at_us, q.value, q.unit
             FROM qc q JOIN job j ON j.id = q.job_id JOIN frame_set s ON s.id = j.set_id
             WHERE q.name = ?1 AND q.at_us >= ?2 AND q.qc_order = '-1' AND q.value IS NOT NULL
               AND j.state IN ('done', 'flagged') ORDER BY q.at_us, q.id",
        )
        .bind(name)
        .bind(since_us)
        .fetch_all(self.reader())
        .await
        .during("read the history of a metric")
    }

    /// Changes whenever a metric is recorded.
    pub async fn metrics_generation(&self) -> Result<i64> {
        sqlx::query_scalar("SELECT coalesce(max(id), 0) FROM qc")
            .fetch_one(self.reader())
            .await
            .during("look for new metrics")
    }

    /// Calibrations that sets of the sky since a modified Julian date were reduced with, each with the newest good one of
    /// its kind and set-up.
    pub async fn calibrations_in_use(&self, since_mjd: f64) -> Result<Vec<CalibrationInUse>> {
        sqlx::query_as(
            "WITH described AS (
                 SELECT p.id, p.catg, p.mjd, p.state, p.verdict,
                        trim(coalesce(p.keys ->> '$.slit', '') || coalesce(' read mode ' || (p.keys ->> '$.read_mode'), '')
                            || coalesce(' ' || (p.keys ->> '$.binning'), '') || CASE WHEN p.catg LIKE 'MASTER_DARK%'
                            THEN ' ' || (p.keys ->> '$.exptime') || ' s' ELSE '' END) AS setup
                 FROM product p WHERE p.arm IN ('VIS', 'NIR') AND p.mjd >= ?1 - 400)
             SELECT u.catg, u.setup, (SELECT max(n.mjd) FROM described n WHERE n.catg = u.catg AND n.setup = u.setup
                        AND n.state = 'current' AND n.verdict <> 'fail') AS newest_mjd
             FROM frame_set s JOIN job j ON j.set_id = s.id AND j.state IN ('done', 'flagged')
             JOIN job_input i ON i.job_id = j.id AND i.role = 'master' JOIN described u ON u.id = i.product_id
             WHERE s.recipe IN ('stare', 'nod', 'offset', 'stare_std', 'nod_std', 'offset_std') AND s.mjd_last >= ?1 GROUP BY u.catg, u.setup ORDER BY u.catg, u.setup",
        )
        .bind(since_mjd)
        .fetch_all(self.reader())
        .await
        .during("list the calibrations in use")
    }
}
