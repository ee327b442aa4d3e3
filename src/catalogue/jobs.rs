//! Jobs: one recipe on one content of one set. Their states, candidates and inputs.

use sqlx::FromRow;

use super::{Catalogue, CatalogueError, During, JobId, ProductId, Result, SetId, VersionId, WriteTx};
use crate::instrument::Arm;

/// A job to be recorded.
#[derive(Clone, Debug)]
pub struct NewJob<'a> {
    /// Set.
    pub set: SetId,
    /// Recipe.
    pub recipe: &'a str,
    /// Version of the recipe.
    pub recipe_version: &'a str,
    /// Content key: recipe, version, parameters and inputs.
    pub key: &'a str,
    /// Parameters as JSON.
    pub parameters: &'a str,
    /// `waiting`, `ready`, `unsupported` or `parked`.
    pub state: &'static str,
    /// Lower runs first.
    pub priority: i64,
    /// Start of its newest frame: newest first within a priority.
    pub newest_mjd: f64,
    /// Memory it needs at its peak.
    pub peak_bytes: i64,
    /// What it waits for, when it waits.
    pub waits_for: &'a str,
    /// Until when it waits.
    pub deadline_us: Option<i64>,
    /// Worst validity level of its masters.
    pub level: Option<i64>,
    /// Class of the error, when it is parked from the start.
    pub class: &'a str,
    /// Error, when it is parked or unsupported from the start.
    pub error: &'a str,
    /// Why this job was made.
    pub why: &'a str,
    /// Raw inputs in order.
    pub raw: &'a [VersionId],
    /// Masters in order.
    pub masters: &'a [ProductId],
    /// Candidates considered, per need.
    pub candidates: &'a [NewCandidate],
}

/// A master that was considered.
#[derive(Clone, Debug, PartialEq)]
pub struct NewCandidate {
    /// PRO CATG that was looked for.
    pub need: String,
    /// The product, when it exists.
    pub product: Option<ProductId>,
    /// The set that made it or will make it.
    pub set: SetId,
    /// `chosen`, `awaited`, `eligible` or `refused`.
    pub verdict: &'static str,
    /// The rule that decided.
    pub rule: String,
    /// Reason with numbers.
    pub reason: String,
    /// Validity level.
    pub level: Option<i64>,
    /// Days between the data and the candidate, positive when the candidate is older.
    pub days: f64,
}

/// A job as the scheduler needs it.
#[derive(Clone, Debug, FromRow)]
pub struct Job {
    /// Row id.
    pub id: JobId,
    /// Set.
    pub set_id: SetId,
    /// Recipe.
    pub recipe: String,
    /// Version of the recipe.
    pub recipe_version: String,
    /// Content key.
    pub key: String,
    /// Parameters as JSON.
    pub parameters: String,
    /// State.
    pub state: String,
    /// Peak memory, bytes.
    pub peak_bytes: i64,
    /// Attempts so far.
    pub attempts: i64,
    /// How often in a row the process died while it ran.
    pub crashes: i64,
    /// What it waits for.
    pub waits_for: String,
    /// Until when it waits.
    pub deadline_us: Option<i64>,
    /// When it was made.
    pub created_us: i64,
    /// Class of its last error.
    pub class: String,
}

/// A statement that reads jobs, whole at compile time.
macro_rules! select_job {
    ($tail:literal) => {
        concat!(
            "SELECT id, set_id, recipe, recipe_version, key, parameters, state, peak_bytes, attempts, crashes, ",
            "waits_for, deadline_us, created_us, class FROM job ",
            $tail
        )
    };
}

/// A master input of a job.
#[derive(Clone, Debug, FromRow)]
pub struct MasterInput {
    /// Product.
    pub id: ProductId,
    /// PRO CATG.
    pub catg: String,
    /// File name.
    pub name: String,
    /// Folder below the root of products.
    pub folder: String,
    /// sha256 of the file.
    pub sha256: String,
    /// md5 of the file.
    pub md5: String,
}

/// A raw input of a job.
#[derive(Clone, Debug)]
pub struct RawInput {
    /// Version.
    pub version: VersionId,
    /// sha256 of the uncompressed stream.
    pub digest: String,
    /// Typed description.
    pub meta: crate::instrument::FrameMeta,
    /// The file that carries it; `None` when no file does any more.
    pub file: Option<CarrierFile>,
}

/// A file as it was when ingest took it in.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct CarrierFile {
    /// Absolute path.
    pub path: String,
    /// Size in bytes.
    pub size: i64,
    /// Modification time, microseconds UTC.
    pub mtime_us: i64,
}

/// What changes together with a job's state.
#[derive(Clone, Debug, Default)]
pub struct JobChange<'a> {
    /// Why.
    pub why: &'a str,
    /// Who: `scheduler`, `association`, or an operator's name.
    pub actor: &'a str,
    /// Class of the error, empty to clear.
    pub class: &'a str,
    /// Error text, empty to clear.
    pub error: &'a str,
    /// Last lines of its log; `None` leaves them.
    pub log: Option<&'a str>,
    /// Not to be started before this time.
    pub not_before_us: i64,
    /// Set the number of attempts and crashes back to zero.
    pub reset_attempts: bool,
}

impl Catalogue {
    /// A job by its id.
    pub async fn job(&self, id: JobId) -> Result<Option<Job>> {
        sqlx::query_as(select_job!("WHERE id = ?1")).bind(id).fetch_optional(self.reader()).await.during("read a job")
    }

    /// The job with this content key, if one was ever made.
    pub async fn job_by_key(&self, key: &str) -> Result<Option<Job>> {
        sqlx::query_as(select_job!("WHERE key = ?1"))
            .bind(key)
            .fetch_optional(self.reader())
            .await
            .during("look for a job")
    }

    /// The newest job of a set that was not superseded.
    pub async fn latest_job(&self, set: SetId) -> Result<Option<Job>> {
        sqlx::query_as(select_job!("WHERE set_id = ?1 AND state <> 'superseded' ORDER BY id DESC LIMIT 1"))
            .bind(set)
            .fetch_optional(self.reader())
            .await
            .during("read a set's job")
    }

    /// Jobs in one state, in the order in which they would run.
    pub async fn jobs_in(&self, state: &str) -> Result<Vec<Job>> {
        sqlx::query_as(select_job!("WHERE state = ?1 ORDER BY priority, newest_mjd DESC, id"))
            .bind(state)
            .fetch_all(self.reader())
            .await
            .during("list jobs")
    }

    /// Ready jobs that may start now, in the order in which they should.
    pub async fn ready_jobs(&self, limit: i64) -> Result<Vec<Job>> {
        sqlx::query_as(select_job!(
            "WHERE state = 'ready' AND not_before_us <= ?1 ORDER BY priority, newest_mjd DESC, id LIMIT ?2"
        ))
        .bind(self.now_us())
        .bind(limit)
        .fetch_all(self.reader())
        .await
        .during("list ready jobs")
    }

    /// The earliest time at which a ready job or a waiting job needs attention, if any.
    pub async fn next_job_time(&self) -> Result<Option<i64>> {
        sqlx::query_scalar(
            "SELECT min(t) FROM (SELECT min(not_before_us) AS t FROM job WHERE state = 'ready'
             UNION ALL SELECT min(deadline_us) FROM job WHERE state = 'waiting')",
        )
        .fetch_one(self.reader())
        .await
        .during("look for the next deadline")
    }

    /// Number of jobs that can still run by themselves.
    pub async fn live_jobs(&self) -> Result<i64> {
        sqlx::query_scalar("SELECT count(*) FROM job WHERE state IN ('waiting', 'ready', 'running')")
            .fetch_one(self.reader())
            .await
            .during("count live jobs")
    }

    /// True when no frame waits for a set, no set for a plan, and no job can go on by itself.
    pub async fn is_idle(&self) -> Result<bool> {
        sqlx::query_scalar(
            "SELECT NOT EXISTS (SELECT 1 FROM frame_version WHERE grouped = 0)
                AND NOT EXISTS (SELECT 1 FROM frame_set WHERE dirty > 0)
                AND NOT EXISTS (SELECT 1 FROM job WHERE state IN ('waiting', 'ready', 'running'))",
        )
        .fetch_one(self.reader())
        .await
        .during("look for work")
    }

    /// Raw inputs of a job, in order, with the paths that carry them now.
    pub async fn raw_inputs(&self, job: JobId) -> Result<Vec<RawInput>> {
        let rows: Vec<(VersionId, String, String)> = sqlx::query_as(
            "SELECT v.id, v.digest, v.meta FROM job_input i JOIN frame_version v ON v.id = i.version_id
             WHERE i.job_id = ?1 AND i.role = 'raw' ORDER BY i.position",
        )
        .bind(job)
        .fetch_all(self.reader())
        .await
        .during("list the raw inputs of a job")?;
        let mut inputs = Vec::with_capacity(rows.len());
        for (version, digest, meta) in rows {
            let file = self.carrier(version).await?;
            inputs.push(RawInput { version, digest, meta: super::sets::parse_meta(&meta)?, file });
        }
        Ok(inputs)
    }

    /// The file that carries a version now: the accepted one, else a duplicate.
    async fn carrier(&self, version: VersionId) -> Result<Option<CarrierFile>> {
        sqlx::query_as(
            "SELECT path, size, mtime_us FROM file WHERE version_id = ?1 AND state IN ('accepted', 'duplicate')
             ORDER BY state, path LIMIT 1",
        )
        .bind(version)
        .fetch_optional(self.reader())
        .await
        .during("find the file of a frame")
    }

    /// Master inputs of a job, in order.
    pub async fn master_inputs(&self, job: JobId) -> Result<Vec<MasterInput>> {
        sqlx::query_as(
            "SELECT p.id, p.catg, p.name, p.folder, p.sha256, p.md5 FROM job_input i JOIN product p ON p.id = i.product_id
             WHERE i.job_id = ?1 AND i.role = 'master' ORDER BY i.position",
        )
        .bind(job)
        .fetch_all(self.reader())
        .await
        .during("list the masters of a job")
    }

    /// Header of the first raw input of an arm, as it was read.
    pub async fn first_header(&self, job: JobId, arm: Arm) -> Result<Option<crate::fits::Header>> {
        let text: Option<String> = sqlx::query_scalar(
            "SELECT v.header FROM job_input i JOIN frame_version v ON v.id = i.version_id JOIN frame f ON f.id = v.frame_id
             WHERE i.job_id = ?1 AND i.role = 'raw' AND f.arm = ?2 ORDER BY i.position LIMIT 1",
        )
        .bind(job)
        .bind(arm.as_str())
        .fetch_optional(self.reader())
        .await
        .during("read a header")?;
        text.map(|text| serde_json::from_str(&text))
            .transpose()
            .map_err(|source| CatalogueError::Content { what: "header", source })
    }
}

impl WriteTx {
    /// Record a job. A live or finished job of the same set is superseded by it.
    pub async fn create_job(&mut self, job: &NewJob<'_>) -> Result<JobId> {
        self.supersede_jobs(job.set, job.why).await?;
        let id: JobId = sqlx::query_scalar(
            "INSERT INTO job (set_id, recipe, recipe_version, key, parameters, state, priority, newest_mjd, peak_bytes,
                 waits_for, deadline_us, level, class, error, created_us)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15) RETURNING id",
        )
        .bind(job.set)
        .bind(job.recipe)
        .bind(job.recipe_version)
        .bind(job.key)
        .bind(job.parameters)
        .bind(job.state)
        .bind(job.priority)
        .bind(job.newest_mjd)
        .bind(job.peak_bytes)
        .bind(job.waits_for)
        .bind(job.deadline_us)
        .bind(job.level)
        .bind(job.class)
        .bind(job.error)
        .bind(self.now_us)
        .fetch_one(&mut *self.tx)
        .await
        .during("record a job")?;
        for (position, version) in (1_i64..).zip(job.raw) {
            sqlx::query("INSERT INTO job_input (job_id, position, role, version_id) VALUES (?1, ?2, 'raw', ?3)")
                .bind(id)
                .bind(position)
                .bind(version)
                .execute(&mut *self.tx)
                .await
                .during("record a raw input")?;
        }
        for (position, product) in (1_i64..).zip(job.masters) {
            sqlx::query("INSERT INTO job_input (job_id, position, role, product_id) VALUES (?1, ?2, 'master', ?3)")
                .bind(id)
                .bind(position)
                .bind(product)
                .execute(&mut *self.tx)
                .await
                .during("record a master input")?;
        }
        self.put_candidates(id, job.candidates).await?;
        self.journal_job(id, "", job.state, job.why, "association").await?;
        Ok(id)
    }

    /// Replace the recorded candidates of a job: what was considered when it was last planned.
    pub async fn put_candidates(&mut self, job: JobId, candidates: &[NewCandidate]) -> Result<()> {
        sqlx::query("DELETE FROM candidate WHERE job_id = ?1")
            .bind(job)
            .execute(&mut *self.tx)
            .await
            .during("renew candidates")?;
        for (position, candidate) in (1_i64..).zip(candidates) {
            sqlx::query(
                "INSERT INTO candidate (job_id, need, position, product_id, set_id, verdict, rule, reason, level, days)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )
            .bind(job)
            .bind(&candidate.need)
            .bind(position)
            .bind(candidate.product)
            .bind(candidate.set)
            .bind(candidate.verdict)
            .bind(&candidate.rule)
            .bind(&candidate.reason)
            .bind(candidate.level)
            .bind(candidate.days)
            .execute(&mut *self.tx)
            .await
            .during("record a candidate")?;
        }
        Ok(())
    }

    /// What a waiting job waits for now, and how long.
    pub async fn put_waiting(&mut self, job: JobId, waits_for: &str, deadline_us: i64) -> Result<()> {
        sqlx::query("UPDATE job SET waits_for = ?2, deadline_us = ?3 WHERE id = ?1 AND state = 'waiting'")
            .bind(job)
            .bind(waits_for)
            .bind(deadline_us)
            .execute(&mut *self.tx)
            .await
            .during("say what a job waits for")
            .map(|_| ())
    }

    /// A job is urgent because others wait for what it makes.
    pub async fn put_priority(&mut self, set: SetId, priority: i64) -> Result<()> {
        sqlx::query(
            "UPDATE job SET priority = ?2 WHERE set_id = ?1 AND state IN ('ready', 'waiting') AND priority > ?2",
        )
        .bind(set)
        .bind(priority)
        .execute(&mut *self.tx)
        .await
        .during("raise a priority")
        .map(|_| ())
    }

    /// All jobs of a set that are not superseded yet become so; their products become stale.
    pub async fn supersede_jobs(&mut self, set: SetId, why: &str) -> Result<()> {
        let jobs: Vec<(JobId, String)> =
            sqlx::query_as("SELECT id, state FROM job WHERE set_id = ?1 AND state NOT IN ('superseded', 'running')")
                .bind(set)
                .fetch_all(&mut *self.tx)
                .await
                .during("list the jobs of a set")?;
        for (job, state) in jobs {
            sqlx::query("UPDATE job SET state = 'superseded', finished_us = coalesce(finished_us, ?2) WHERE id = ?1")
                .bind(job)
                .bind(self.now_us)
                .execute(&mut *self.tx)
                .await
                .during("supersede a job")?;
            self.journal_job(job, &state, "superseded", why, "association").await?;
            self.retire_products(job, "stale", why).await?;
        }
        Ok(())
    }

    /// Take a ready job for this process. `false` when somebody else did or it changed meanwhile.
    pub async fn claim_job(&mut self, job: JobId, boot_id: &str) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE job SET state = 'running', boot_id = ?2, attempts = attempts + 1, started_us = ?3, class = '', error = ''
             WHERE id = ?1 AND state = 'ready'",
        )
        .bind(job)
        .bind(boot_id)
        .bind(self.now_us)
        .execute(&mut *self.tx)
        .await
        .during("claim a job")?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        self.journal_job(job, "ready", "running", "taken by a worker", "scheduler").await?;
        Ok(true)
    }

    /// Move a job from one of the states `from` to `to`. Fails when it is in none of them.
    pub async fn move_job(
        &mut self,
        job: JobId,
        from: &[&str],
        to: &'static str,
        change: &JobChange<'_>,
    ) -> Result<()> {
        let state: String = sqlx::query_scalar("SELECT state FROM job WHERE id = ?1")
            .bind(job)
            .fetch_one(&mut *self.tx)
            .await
            .during("read a job")?;
        if !from.contains(&state.as_str()) {
            return Err(CatalogueError::LostRace { what: "job", id: job.0, expected: from.join(" or ") });
        }
        let finished = matches!(to, "done" | "flagged" | "parked" | "failed").then_some(self.now_us);
        sqlx::query(
            "UPDATE job SET state = ?2, class = ?3, error = ?4, log = coalesce(?5, log), not_before_us = ?6,
                 attempts = CASE WHEN ?7 THEN 0 ELSE attempts END, crashes = CASE WHEN ?7 THEN 0 ELSE crashes END,
                 finished_us = ?8, boot_id = CASE WHEN ?2 = 'running' THEN boot_id END
             WHERE id = ?1",
        )
        .bind(job)
        .bind(to)
        .bind(change.class)
        .bind(change.error)
        .bind(change.log)
        .bind(change.not_before_us)
        .bind(change.reset_attempts)
        .bind(finished)
        .execute(&mut *self.tx)
        .await
        .during("change a job's state")?;
        self.journal_job(job, &state, to, change.why, change.actor).await
    }

    /// An interruption that is not the job's fault gives its attempt back.
    pub async fn forgive_attempt(&mut self, job: JobId) -> Result<()> {
        sqlx::query("UPDATE job SET attempts = max(attempts - 1, 0) WHERE id = ?1")
            .bind(job)
            .execute(&mut *self.tx)
            .await
            .during("give an attempt back")
            .map(|_| ())
    }

    /// An attempt that ended, however it ended, did not kill the process.
    pub async fn forgive_crashes(&mut self, job: JobId) -> Result<()> {
        sqlx::query("UPDATE job SET crashes = 0 WHERE id = ?1 AND crashes > 0")
            .bind(job)
            .execute(&mut *self.tx)
            .await
            .during("forget the crashes of a job")
            .map(|_| ())
    }

    /// No job is suspected any more of killing the process.
    pub async fn forgive_all_crashes(&mut self) -> Result<()> {
        sqlx::query("UPDATE job SET crashes = 0 WHERE crashes > 0")
            .execute(&mut *self.tx)
            .await
            .during("forget the crashes of all jobs")
            .map(|_| ())
    }

    /// Jobs that are marked as running in a process other than `boot_id`, and their crashes in a row, each with one more
    /// when that process `died`. They stay marked: the caller moves them.
    pub async fn orphaned_jobs(&mut self, boot_id: &str, died: bool) -> Result<Vec<(JobId, i64)>> {
        sqlx::query_as(
            "UPDATE job SET crashes = crashes + ?2 WHERE state = 'running' AND boot_id <> ?1 RETURNING id, crashes",
        )
        .bind(boot_id)
        .bind(i64::from(died))
        .fetch_all(&mut *self.tx)
        .await
        .during("find the jobs of a process that is gone")
    }

    /// A raw input that the recipe left out, and why.
    pub async fn put_unused_input(&mut self, job: JobId, data_id: &str, remark: &str) -> Result<()> {
        sqlx::query(
            "UPDATE job_input SET used = 0, remark = ?3 WHERE job_id = ?1 AND role = 'raw' AND version_id IN (
                 SELECT v.id FROM frame_version v JOIN frame f ON f.id = v.frame_id WHERE f.data_id = ?2)",
        )
        .bind(job)
        .bind(data_id)
        .bind(remark)
        .execute(&mut *self.tx)
        .await
        .during("record a frame that was left out")
        .map(|_| ())
    }

    pub(super) async fn journal_job(&mut self, job: JobId, from: &str, to: &str, why: &str, actor: &str) -> Result<()> {
        sqlx::query(
            "INSERT INTO job_event (job_id, at_us, from_state, to_state, why, actor) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )
        .bind(job)
        .bind(self.now_us)
        .bind(from)
        .bind(to)
        .bind(why)
        .bind(actor)
        .execute(&mut *self.tx)
        .await
        .during("journal a job")
        .map(|_| ())
    }
}
