//! The numbers behind `/metrics`: how many of what are in which state, how old the oldest waiting things are, how long
//! recipes take and how late products are. Counted in the tables at every reading, so they are right after a restart.

use sqlx::FromRow;

use super::{Catalogue, During, Result};

/// Upper bounds of the histogram of job durations, seconds; an unbounded bucket follows the last.
pub const JOB_SECONDS: [f64; 12] = [0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0];

/// A count of rows that share one or two properties.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct Count {
    /// What is counted apart: an arm, a recipe, a sink; empty when nothing is.
    pub group: String,
    /// State, usage or verdict.
    pub state: String,
    /// Number of rows.
    pub n: i64,
}

/// Durations of the finished jobs of one recipe.
#[derive(Clone, Debug, PartialEq)]
pub struct JobSeconds {
    /// Recipe.
    pub recipe: String,
    /// Jobs per interval: at most `JOB_SECONDS[i]` and more than the bound before; the last counts the rest.
    pub intervals: [u64; JOB_SECONDS.len() + 1],
    /// Sum of all durations, seconds.
    pub total: f64,
}

/// An age or a delay of one thing, in seconds.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct Seconds {
    /// What it belongs to: a recipe or a sink.
    pub group: String,
    /// Seconds.
    pub seconds: f64,
}

/// Everything `/metrics` takes from the catalogue.
#[derive(Clone, Debug, PartialEq)]
pub struct Measures {
    /// Files by state.
    pub files: Vec<Count>,
    /// Frames by arm and usage of their current version.
    pub frames: Vec<Count>,
    /// Sets by arm and state.
    pub sets: Vec<Count>,
    /// Jobs by recipe and state.
    pub jobs: Vec<Count>,
    /// Products by state and verdict (`group` is the state).
    pub products: Vec<Count>,
    /// Deliveries by sink and state.
    pub deliveries: Vec<Count>,
    /// Durations of finished jobs per recipe.
    pub job_seconds: Vec<JobSeconds>,
    /// Age of the oldest delivery per sink that is neither confirmed nor cancelled nor held.
    pub oldest_undelivered: Vec<Seconds>,
    /// Age of the oldest set that is still open or whose job waits for a calibration.
    pub oldest_waiting_set: Option<f64>,
    /// Age of the oldest job that could run and does not.
    pub oldest_ready_job: Option<f64>,
    /// End of exposure to product, newest product of each recipe.
    pub exposure_to_product: Vec<Seconds>,
    /// End of exposure to confirmation, newest confirmed product of each sink.
    pub exposure_to_archive: Vec<Seconds>,
    /// When the last frame was taken in, microseconds UTC.
    pub last_frame_taken_us: Option<i64>,
    /// Start of the last exposure known, microseconds UTC.
    pub last_exposure_us: Option<i64>,
    /// Open alerts by kind and severity.
    pub alerts: Vec<Count>,
    /// Nights by their state before the quality monitor; those that are open are not counted.
    pub monitor_nights: Vec<Count>,
}

impl Catalogue {
    /// Can the catalogue answer at all?
    pub async fn probe(&self) -> Result<()> {
        sqlx::query_scalar::<_, i64>("SELECT count(*) FROM (SELECT 1 FROM frame LIMIT 1)")
            .fetch_one(self.reader())
            .await
            .during("answer a query")
            .map(|_| ())
    }

    /// Count everything. A handful of index scans; meant for a scrape every some seconds.
    pub async fn measures(&self) -> Result<Measures> {
        Ok(Measures {
            files: self.counted(FILES).await?,
            frames: self.counted(FRAMES).await?,
            sets: self.counted(SETS).await?,
            jobs: self.counted(JOBS).await?,
            products: self.counted(PRODUCTS).await?,
            deliveries: self.counted(DELIVERIES).await?,
            job_seconds: self.job_seconds().await?,
            oldest_undelivered: self.undelivered_ages().await?,
            oldest_waiting_set: self.waiting_age().await?,
            oldest_ready_job: self.ready_age().await?,
            exposure_to_product: self.exposure_to_product().await?,
            exposure_to_archive: self.exposure_to_archive().await?,
            last_frame_taken_us: self.last_time_us(LAST_TAKEN).await?,
            last_exposure_us: self.last_time_us(LAST_EXPOSURE).await?,
            alerts: self.counted(ALERTS).await?,
            monitor_nights: self.counted(MONITOR_NIGHTS).await?,
        })
    }

    async fn counted(&self, statement: &'static str) -> Result<Vec<Count>> {
        sqlx::query_as(statement).fetch_all(self.reader()).await.during("count its rows")
    }

    async fn last_time_us(&self, statement: &'static str) -> Result<Option<i64>> {
        sqlx::query_scalar(statement).fetch_optional(self.reader()).await.during("look for the last frame")
    }

    /// Durations are sorted into their intervals here, so that the bounds stand in one place.
    async fn job_seconds(&self) -> Result<Vec<JobSeconds>> {
        let rows: Vec<(String, f64)> = sqlx::query_as(
            "SELECT recipe, (finished_us - started_us) / 1e6 FROM job
             WHERE started_us IS NOT NULL AND finished_us >= started_us AND state IN ('done', 'flagged', 'parked', 'failed')
             ORDER BY recipe",
        )
        .fetch_all(self.reader())
        .await
        .during("read the durations of jobs")?;
        let mut all: Vec<JobSeconds> = Vec::new();
        for (recipe, seconds) in rows {
            let interval = JOB_SECONDS.partition_point(|bound| *bound < seconds);
            if all.last().is_none_or(|last| last.recipe != recipe) {
                all.push(JobSeconds { recipe, intervals: [0; JOB_SECONDS.len() + 1], total: 0.0 });
            }
            if let Some(last) = all.last_mut() {
                // partition_point is at most the number of bounds, which is the index of the unbounded interval.
                last.intervals[interval] += 1;
                last.total += seconds;
            }
        }
        Ok(all)
    }

    /// Age of the oldest delivery per sink that is neither confirmed nor cancelled nor held, by sink.
    pub async fn undelivered_ages(&self) -> Result<Vec<Seconds>> {
        sqlx::query_as(
            r#"SELECT sink AS "group", (?1 - min(created_us)) / 1e6 AS seconds FROM delivery
               WHERE state IN ('queued', 'sending', 'unknown', 'buffered', 'sent', 'parked') GROUP BY sink ORDER BY sink"#,
        )
        .bind(self.now_us())
        .fetch_all(self.reader())
        .await
        .during("look for the oldest delivery")
    }

    async fn waiting_age(&self) -> Result<Option<f64>> {
        sqlx::query_scalar(
            "SELECT (?1 - min(since)) / 1e6 FROM (
                 SELECT min(t.touched_us) AS since FROM frame_set s JOIN template t ON t.id = s.template_id
                 WHERE s.state = 'open'
                 UNION ALL SELECT min(created_us) FROM job WHERE state = 'waiting')",
        )
        .bind(self.now_us())
        .fetch_one(self.reader())
        .await
        .during("look for the oldest waiting set")
    }

    /// Age of the oldest job that could run and does not, seconds.
    pub async fn ready_age(&self) -> Result<Option<f64>> {
        sqlx::query_scalar(
            "SELECT (?1 - min(max(created_us, not_before_us))) / 1e6 FROM job WHERE state = 'ready' AND not_before_us <= ?1",
        )
        .bind(self.now_us())
        .fetch_one(self.reader())
        .await
        .during("look for the oldest ready job")
    }

    async fn exposure_to_product(&self) -> Result<Vec<Seconds>> {
        sqlx::query_as(
            r#"SELECT j.recipe AS "group", (p.created_us - (SELECT max(v.date_obs_us + v.exptime * 1e6) FROM job_input i
                        JOIN frame_version v ON v.id = i.version_id WHERE i.job_id = p.job_id)) / 1e6 AS seconds
               FROM (SELECT max(p.id) AS id FROM product p JOIN job j ON j.id = p.job_id GROUP BY j.recipe) newest
               JOIN product p ON p.id = newest.id JOIN job j ON j.id = p.job_id
               WHERE EXISTS (SELECT 1 FROM job_input WHERE job_id = p.job_id AND role = 'raw') ORDER BY j.recipe"#,
        )
        .fetch_all(self.reader())
        .await
        .during("measure the delay of products")
    }

    async fn exposure_to_archive(&self) -> Result<Vec<Seconds>> {
        sqlx::query_as(
            r#"SELECT d.sink AS "group", (d.confirmed_us - (SELECT max(v.date_obs_us + v.exptime * 1e6) FROM job_input i
                        JOIN frame_version v ON v.id = i.version_id WHERE i.job_id = d.job_id)) / 1e6 AS seconds
               FROM (SELECT max(id) AS id FROM delivery WHERE state = 'confirmed' AND kind = 'archive' GROUP BY sink) newest
               JOIN delivery d ON d.id = newest.id
               WHERE EXISTS (SELECT 1 FROM job_input WHERE job_id = d.job_id AND role = 'raw') ORDER BY d.sink"#,
        )
        .fetch_all(self.reader())
        .await
        .during("measure the delay of deliveries")
    }
}

const FILES: &str = r#"SELECT '' AS "group", state, count(*) AS n FROM file GROUP BY state ORDER BY state"#;
const FRAMES: &str = r#"SELECT f.arm AS "group", v.usage AS state, count(*) AS n FROM frame f
    JOIN frame_version v ON v.id = f.current_version GROUP BY f.arm, v.usage ORDER BY f.arm, v.usage"#;
const SETS: &str =
    r#"SELECT arm AS "group", state, count(*) AS n FROM frame_set GROUP BY arm, state ORDER BY arm, state"#;
const JOBS: &str =
    r#"SELECT recipe AS "group", state, count(*) AS n FROM job GROUP BY recipe, state ORDER BY recipe, state"#;
const PRODUCTS: &str = r#"SELECT state AS "group", verdict AS state, count(*) AS n FROM product
    GROUP BY 1, 2 ORDER BY 1, 2"#;
const DELIVERIES: &str =
    r#"SELECT sink AS "group", state, count(*) AS n FROM delivery GROUP BY sink, state ORDER BY sink, state"#;
const ALERTS: &str = r#"SELECT kind AS "group", severity AS state, count(*) AS n FROM alert
    WHERE cleared_us IS NULL GROUP BY kind, severity ORDER BY kind, severity"#;
const MONITOR_NIGHTS: &str =
    r#"SELECT '' AS "group", state, count(*) AS n FROM monitor_night GROUP BY state ORDER BY state"#;
/// Both walk an index from its end instead of reading every frame.
const LAST_TAKEN: &str = "SELECT taken_us FROM frame_version ORDER BY id DESC LIMIT 1";
const LAST_EXPOSURE: &str = "SELECT date_obs_us FROM frame_version ORDER BY night DESC, date_obs_us DESC LIMIT 1";
