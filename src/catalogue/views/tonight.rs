//! A night at a glance: its frames and sets in time, the queue with the time that each job is expected to take, and the
//! newest spectrum.

use serde::Serialize;
use sqlx::FromRow;

use crate::catalogue::{Catalogue, During, Result};

/// Finished jobs of a recipe from which its usual duration is taken.
const RECENT_JOBS: i64 = 25;
/// Most frames and sets of a night that are drawn.
const MOST_MARKS: i64 = 3000;
/// Most jobs of the queue that are told one by one.
const MOST_QUEUED: i64 = 200;

/// A frame on the time line.
#[derive(Clone, Debug, Serialize, FromRow, utoipa::ToSchema)]
pub struct FrameMark {
    /// Row id of its file.
    pub id: i64,
    /// File name.
    pub name: String,
    /// Arm; none when the file could not be read as a frame.
    pub arm: Option<String>,
    /// Name of the classification rule.
    pub kind: Option<String>,
    /// OBJECT.
    pub object: Option<String>,
    /// Start of the exposure; for a file that could not be read the time when it was first seen.
    pub start_us: i64,
    /// Exposure time, seconds.
    pub exptime: f64,
    /// What became of it, as in the table of frames.
    pub outcome: String,
    /// Row id of its set.
    pub set_id: Option<i64>,
}

/// A set on the time line.
#[derive(Clone, Debug, Serialize, FromRow, utoipa::ToSchema)]
pub struct SetMark {
    /// Row id.
    pub id: i64,
    /// Name.
    pub name: String,
    /// Recipe.
    pub recipe: String,
    /// Arm.
    pub arm: String,
    /// OBJECT.
    pub object: String,
    /// State of the set.
    pub state: String,
    /// State of its job.
    pub job_state: Option<String>,
    /// Frames in it.
    pub n_frames: i64,
    /// Exposures planned in its template.
    pub n_planned: i64,
    /// Current products.
    pub n_products: i64,
    /// Worst verdict of its current products; none without products.
    pub verdict: Option<String>,
    /// Start of its first exposure.
    pub start_us: i64,
    /// End of its last exposure.
    pub end_us: i64,
}

/// A job that runs, is ready or waits.
#[derive(Clone, Debug, Serialize, FromRow, utoipa::ToSchema)]
pub struct QueuedJob {
    /// Row id.
    pub id: i64,
    /// Row id of its set.
    pub set_id: i64,
    /// Name of its set.
    pub set_name: String,
    /// Recipe.
    pub recipe: String,
    /// Arm.
    pub arm: String,
    /// `running`, `ready`, `waiting` or `held`.
    pub state: String,
    /// When it was made.
    pub created_us: i64,
    /// When it began; none while it does not run.
    pub started_us: Option<i64>,
    /// What it waits for; empty when it does not wait.
    pub waits_for: String,
    /// Until when it waits.
    pub deadline_us: Option<i64>,
    /// Seconds that its recipe usually takes; none when it has never finished one.
    #[sqlx(default)]
    pub usual_s: Option<f64>,
    /// When it is expected to be done; none when nobody can tell.
    #[sqlx(default)]
    pub finish_us: Option<i64>,
}

/// The newest spectrum.
#[derive(Clone, Debug, Serialize, FromRow, utoipa::ToSchema)]
pub struct LastSpectrum {
    /// Row id of the product.
    pub product_id: i64,
    /// Its name.
    pub name: String,
    /// PRO CATG with the arm.
    pub catg: String,
    /// Arm.
    pub arm: String,
    /// OBJECT.
    pub object: String,
    /// Row id of its set.
    pub set_id: i64,
    /// Verdict.
    pub verdict: String,
    /// Median signal to noise of a sample; none when it was not measured.
    pub snr: Option<f64>,
    /// When it was made.
    pub created_us: i64,
}

impl Catalogue {
    /// Frames of a night in time, files that are no frames included; at most 3000, the newest.
    pub async fn night_frames(&self, night: &str) -> Result<Vec<FrameMark>> {
        sqlx::query_as(
            "SELECT id, name, arm, kind, object, coalesce(date_obs_us, first_seen_us) AS start_us,
                    coalesce(exptime, 0.0) AS exptime, outcome, set_id
             FROM file_account WHERE night = ?1 AND state NOT IN ('duplicate', 'superseded', 'gone')
             ORDER BY id DESC LIMIT ?2",
        )
        .bind(night)
        .bind(MOST_MARKS)
        .fetch_all(self.reader())
        .await
        .during("list the frames of a night")
    }

    /// Sets of a night in time; at most 3000, the newest.
    pub async fn night_sets(&self, night: &str) -> Result<Vec<SetMark>> {
        sqlx::query_as(
            "SELECT a.id, a.name, a.recipe, a.arm, a.object, a.state, a.job_state, a.n_frames, a.n_planned, a.n_products,
                    (SELECT verdict FROM product p WHERE p.set_id = a.id AND p.state = 'current'
                     ORDER BY CASE verdict WHEN 'fail' THEN 0 WHEN 'warn' THEN 1 ELSE 2 END LIMIT 1) AS verdict,
                    coalesce(t.start_us, CAST((a.mjd_first - 40587.0) * 86400e6 AS INTEGER)) AS start_us,
                    coalesce(t.end_us, CAST((a.mjd_last - 40587.0) * 86400e6 AS INTEGER)) AS end_us
             FROM set_account a
             LEFT JOIN (SELECT m.set_id, min(v.date_obs_us) AS start_us,
                               CAST(max(v.date_obs_us + v.exptime * 1e6) AS INTEGER) AS end_us
                        FROM frame_set s JOIN set_member m ON m.set_id = s.id JOIN frame f ON f.id = m.frame_id
                        JOIN frame_version v ON v.id = f.current_version
                        WHERE s.night = ?1 GROUP BY m.set_id) t ON t.set_id = a.id
             WHERE a.night = ?1 AND a.state <> 'empty' ORDER BY a.id DESC LIMIT ?2",
        )
        .bind(night)
        .bind(MOST_MARKS)
        .fetch_all(self.reader())
        .await
        .during("list the sets of a night")
    }

    /// What runs, is ready, waits or is held, in the order in which it runs; `workers` recipes run side by side. A job that
    /// waits or is held has no expected finish: it depends on others.
    pub async fn queue(&self, workers: usize) -> Result<Vec<QueuedJob>> {
        let mut queue: Vec<QueuedJob> = sqlx::query_as(
            "SELECT j.id, j.set_id, s.name AS set_name, j.recipe, s.arm, j.state, j.created_us, j.started_us,
                    CASE WHEN j.state = 'waiting' THEN j.waits_for ELSE '' END AS waits_for,
                    CASE WHEN j.state = 'waiting' THEN j.deadline_us END AS deadline_us
             FROM job j JOIN frame_set s ON s.id = j.set_id
             WHERE j.state IN ('running', 'ready', 'waiting', 'held')
             ORDER BY CASE j.state WHEN 'running' THEN 0 WHEN 'ready' THEN 1 WHEN 'waiting' THEN 2 ELSE 3 END,
                      j.priority, j.newest_mjd DESC LIMIT ?1",
        )
        .bind(MOST_QUEUED)
        .fetch_all(self.reader())
        .await
        .during("list the queue")?;
        let mut recipes: Vec<&str> = queue.iter().map(|job| job.recipe.as_str()).collect();
        recipes.sort_unstable();
        recipes.dedup();
        let mut usual = std::collections::BTreeMap::new();
        for recipe in recipes {
            usual.insert(recipe.to_string(), self.usual_duration(recipe).await?);
        }
        for job in &mut queue {
            job.usual_s = usual.get(&job.recipe).copied().flatten();
        }
        expect_finish(&mut queue, workers, self.now_us());
        Ok(queue)
    }

    /// Median duration of the last jobs of a recipe, seconds.
    async fn usual_duration(&self, recipe: &str) -> Result<Option<f64>> {
        let mut seconds: Vec<f64> = sqlx::query_scalar(
            "SELECT (finished_us - started_us) / 1e6 FROM job
             WHERE recipe = ?1 AND state IN ('done', 'flagged') AND finished_us IS NOT NULL AND started_us IS NOT NULL
             ORDER BY finished_us DESC LIMIT ?2",
        )
        .bind(recipe)
        .bind(RECENT_JOBS)
        .fetch_all(self.reader())
        .await
        .during("read the durations of a recipe")?;
        seconds.sort_by(f64::total_cmp);
        Ok(seconds.get(seconds.len() / 2).copied())
    }

    /// The newest spectrum of one target: of the sky if there is one, else of a standard.
    pub async fn last_spectrum(&self) -> Result<Option<LastSpectrum>> {
        sqlx::query_as(
            "WITH kinds (catg) AS (VALUES ('SCI_SLIT_FLUX_IDP_VIS'), ('SCI_SLIT_FLUX_IDP_NIR'), ('FLUXCAL_VIS'), ('FLUXCAL_NIR'),
                                          ('EXTRACTED_MERGED_VIS'), ('EXTRACTED_MERGED_NIR'))
             SELECT p.id AS product_id, p.name, p.catg, p.arm, s.object, p.set_id, p.verdict, p.created_us,
                    (SELECT value FROM qc WHERE job_id = p.job_id AND name = 'SNR MEDIAN' AND qc_order = '-1') AS snr
             FROM kinds k JOIN product p ON p.id = (SELECT id FROM product WHERE catg = k.catg AND state = 'current'
                                                    ORDER BY mjd DESC LIMIT 1)
             JOIN frame_set s ON s.id = p.set_id
             ORDER BY p.mjd DESC, p.catg NOT LIKE 'SCI%', p.catg NOT LIKE 'FLUXCAL%' LIMIT 1",
        )
        .fetch_optional(self.reader())
        .await
        .during("look for the newest spectrum")
    }

    /// The newest nights that have files, newest first.
    pub async fn newest_nights(&self, limit: i64) -> Result<Vec<String>> {
        sqlx::query_scalar(
            "WITH RECURSIVE nights (night) AS (
                 SELECT max(night) FROM file
                 UNION ALL SELECT (SELECT max(f.night) FROM file f WHERE f.night < nights.night) FROM nights
                 WHERE nights.night IS NOT NULL LIMIT ?1)
             SELECT night FROM nights WHERE night <> ''",
        )
        .bind(limit)
        .fetch_all(self.reader())
        .await
        .during("list the newest nights")
    }
}

/// Play the queue through: each ready job starts on the worker that is free first. A job whose recipe has no history makes
/// the end of all later ones unknown.
fn expect_finish(queue: &mut [QueuedJob], workers: usize, now_us: i64) {
    let mut free_at = vec![Some(now_us); workers.max(1)];
    for job in queue {
        let took_us = job.usual_s.map(|seconds| (seconds * 1e6) as i64);
        let worker = match job.state.as_str() {
            "running" | "ready" => free_at.iter_mut().min_by_key(|free| free.unwrap_or(i64::MAX)),
            _ => None,
        };
        let Some(worker) = worker else { continue };
        let start = if job.state == "running" { job.started_us } else { *worker };
        // A job that runs longer than usual is expected to end at any moment.
        job.finish_us = start.zip(took_us).map(|(start, took)| (start + took).max(now_us));
        *worker = job.finish_us;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::seeded::{NIGHT, Seeded};

    fn job(state: &str, started_us: Option<i64>, usual_s: Option<f64>) -> QueuedJob {
        QueuedJob {
            id: 1,
            set_id: 1,
            set_name: String::new(),
            recipe: "stare".to_string(),
            arm: "VIS".to_string(),
            state: state.to_string(),
            created_us: 0,
            started_us,
            waits_for: String::new(),
            deadline_us: None,
            usual_s,
            finish_us: None,
        }
    }

    #[test]
    fn jobs_end_one_after_the_other_on_the_workers_there_are() {
        let now = 100_000_000;
        let mut queue = vec![
            job("running", Some(95_000_000), Some(20.0)),
            job("running", Some(10_000_000), Some(20.0)),
            job("ready", None, Some(10.0)),
            job("ready", None, Some(1.0)),
            job("waiting", None, Some(1.0)),
        ];
        expect_finish(&mut queue, 2, now);
        let ends: Vec<Option<i64>> = queue.iter().map(|job| job.finish_us).collect();
        // The second is overdue, so its worker takes the third at once.
        assert_eq!(ends, [Some(115_000_000), Some(now), Some(110_000_000), Some(111_000_000), None]);
        let mut unknown = vec![job("ready", None, None), job("ready", None, Some(1.0))];
        expect_finish(&mut unknown, 1, now);
        assert!(unknown.iter().all(|job| job.finish_us.is_none()));
    }

    #[tokio::test]
    async fn a_night_has_all_its_frames_and_sets_and_the_queue_what_is_not_done() {
        let seeded = Seeded::night().await;
        let frames = seeded.catalogue.night_frames(NIGHT).await.expect("frames");
        assert_eq!(frames.len(), 23);
        assert!(frames.iter().any(|frame| frame.outcome == "quarantined" && frame.arm.is_none()));
        let sets = seeded.catalogue.night_sets(NIGHT).await.expect("sets");
        assert_eq!(sets.len(), 6);
        assert!(sets.iter().all(|set| set.end_us >= set.start_us && set.start_us > 1_770_000_000_000_000));
        let queue = seeded.catalogue.queue(2).await.expect("a queue");
        assert!(queue.iter().any(|job| job.state == "waiting" && job.waits_for.contains("MASTER_BIAS_VIS")));
        assert_eq!(seeded.catalogue.newest_nights(5).await.expect("nights"), [NIGHT]);
        assert!(seeded.catalogue.night_frames("2020-01-01").await.expect("none").is_empty());
    }
}
