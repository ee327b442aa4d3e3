//! Nights as the quality monitor takes them: whole, once, when nothing of them is left to do.
//!
//! What lives here: what of a night is still open, and the states closed, published and reopened. What never lives here:
//! what is written where (the snapshot and the tree of the monitor).

use serde::Serialize;
use sqlx::FromRow;

use super::{Catalogue, CatalogueError, During, Result, WriteTx};

/// A night and how far it has come on its way to the monitor.
#[derive(Clone, Debug, Serialize, FromRow, utoipa::ToSchema)]
pub struct NightState {
    /// Night.
    pub night: String,
    /// `open`, `closed` (to be published), `published` or `reopened`.
    pub state: String,
    /// How often it was published.
    pub revision: i64,
    /// Why it is in this state.
    pub why: String,
    /// Why it could not be published; empty when it was, or was not tried.
    pub error: String,
    /// Rows that the monitor sees of it.
    pub metrics: i64,
    /// Files that the monitor sees of it.
    pub files: i64,
    /// When it was published last, microseconds UTC.
    pub published_us: Option<i64>,
    /// Jobs that ended since then: the monitor does not know of them until the night is reopened and closed.
    pub late_jobs: i64,
}

/// A product of a night that the monitor's tree shows.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct NightFile {
    /// `<night>/soxs-<recipe>`.
    pub folder: String,
    /// File name in the tree.
    pub name: String,
    /// sha256: the name of the file in the store.
    pub sha256: String,
}

const STATES: &str = "SELECT n.night, coalesce(m.state, 'open') AS state, coalesce(m.revision, 0) AS revision,
        coalesce(m.why, '') AS why, coalesce(m.error, '') AS error, coalesce(m.metrics, 0) AS metrics,
        coalesce(m.files, 0) AS files, m.published_us,
        (SELECT count(*) FROM frame_set s JOIN job j ON j.set_id = s.id
         WHERE s.night = n.night AND j.finished_us > m.published_us AND j.state IN ('done', 'flagged', 'failed', 'parked'))
            AS late_jobs
    FROM (SELECT night FROM (SELECT night FROM monitor_night UNION SELECT night FROM frame_set WHERE n_frames > 0)
          WHERE ?1 = '' OR night = ?1 ORDER BY night DESC LIMIT ?2) n
    LEFT JOIN monitor_night m ON m.night = n.night ORDER BY n.night DESC";

impl Catalogue {
    /// The newest nights with their state.
    pub async fn monitor_nights(&self, limit: i64) -> Result<Vec<NightState>> {
        sqlx::query_as(STATES).bind("").bind(limit).fetch_all(self.reader()).await.during("list nights")
    }

    /// One night; `None` when nothing is known of it.
    pub async fn monitor_night(&self, night: &str) -> Result<Option<NightState>> {
        sqlx::query_as(STATES).bind(night).bind(1).fetch_optional(self.reader()).await.during("read a night")
    }

    /// What of a night is left to do, in words; `None` when it is drained.
    pub async fn night_waits_for(&self, night: &str) -> Result<Option<String>> {
        let left: Vec<(i64, String)> = sqlx::query_as(
            "SELECT count(*), 'files are not complete yet, for example ' || min(name) FROM file_account
                 WHERE state = 'waiting' AND night = ?1 HAVING count(*) > 0
             UNION ALL SELECT count(*), 'frames are in no set yet' FROM frame_version
                 WHERE night = ?1 AND grouped = 0 HAVING count(*) > 0
             UNION ALL SELECT count(*), 'sets wait for frames or for their plan, for example ' || min(name) FROM frame_set
                 WHERE night = ?1 AND n_frames > 0 AND (state = 'open' OR dirty > 0) HAVING count(*) > 0
             UNION ALL SELECT count(*), 'jobs have not ended, for example that of ' || min(s.name || ' (' || j.state || ')')
                 FROM job j JOIN frame_set s ON s.id = j.set_id
                 WHERE s.night = ?1 AND j.state IN ('waiting', 'ready', 'running', 'held') HAVING count(*) > 0",
        )
        .bind(night)
        .fetch_all(self.reader())
        .await
        .during("look what a night waits for")?;
        let told: Vec<String> = left.into_iter().map(|(count, what)| format!("{count} {what}")).collect();
        Ok((!told.is_empty()).then(|| told.join("; ")))
    }

    /// Nights before `before` that have products and were never closed, oldest first.
    pub async fn nights_never_closed(&self, before: &str) -> Result<Vec<String>> {
        sqlx::query_scalar(
            "SELECT DISTINCT night FROM product WHERE night < ?1 AND arm IN ('VIS', 'NIR')
                 AND night NOT IN (SELECT night FROM monitor_night) ORDER BY night",
        )
        .bind(before)
        .fetch_all(self.reader())
        .await
        .during("look for nights to close")
    }

    /// Nights that are to be published.
    pub async fn nights_to_publish(&self) -> Result<Vec<String>> {
        sqlx::query_scalar("SELECT night FROM monitor_night WHERE state = 'closed' ORDER BY night")
            .fetch_all(self.reader())
            .await
            .during("list nights to publish")
    }

    /// Nights that are out and not taken back into work.
    pub async fn nights_published(&self) -> Result<Vec<String>> {
        sqlx::query_scalar("SELECT night FROM monitor_night WHERE state = 'published' ORDER BY night")
            .fetch_all(self.reader())
            .await
            .during("list published nights")
    }

    /// Nights that were closed and could not be published, each with why.
    pub async fn nights_that_failed(&self) -> Result<Vec<(String, String)>> {
        sqlx::query_as("SELECT night, error FROM monitor_night WHERE state = 'closed' AND error <> '' ORDER BY night")
            .fetch_all(self.reader())
            .await
            .during("list nights that were not published")
    }

    /// Nights that an operator took back into work.
    pub async fn nights_reopened(&self) -> Result<Vec<String>> {
        sqlx::query_scalar("SELECT night FROM monitor_night WHERE state = 'reopened' ORDER BY night")
            .fetch_all(self.reader())
            .await
            .during("list reopened nights")
    }

    /// The files of a night that the monitor may see: of both spectrographs, and none that an operator rejected.
    pub async fn night_files(&self, night: &str) -> Result<Vec<NightFile>> {
        sqlx::query_as(
            "SELECT folder, CASE WHEN prodcatg = '' THEN name ELSE archive_name END AS name, sha256 FROM product
             WHERE night = ?1 AND arm IN ('VIS', 'NIR') AND state IN ('current', 'stale') ORDER BY folder, name",
        )
        .bind(night)
        .fetch_all(self.reader())
        .await
        .during("list the files of a night")
    }

    /// Close a night by itself: never closed before, and drained. False when somebody was faster.
    pub async fn close_night(&self, night: &str, why: &str) -> Result<bool> {
        let mut tx = self.begin().await?;
        // Nobody else writes from here on.
        if self.night_waits_for(night).await?.is_some() {
            return Ok(false);
        }
        let closed = tx.put_night(night, None, "closed", why).await;
        match closed {
            Ok(()) => tx.commit().await.map(|()| true),
            Err(CatalogueError::LostRace { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A night was published, with so many metrics and files.
    pub async fn night_was_published(&self, night: &str, metrics: i64, files: i64) -> Result<()> {
        let mut tx = self.begin().await?;
        tx.put_night(night, Some("closed"), "published", "everything of it is out").await?;
        sqlx::query(
            "UPDATE monitor_night SET revision = revision + 1, published_us = ?2, metrics = ?3, files = ?4, error = ''
             WHERE night = ?1",
        )
        .bind(night)
        .bind(tx.now_us)
        .bind(metrics)
        .bind(files)
        .execute(&mut *tx.tx)
        .await
        .during("record a published night")?;
        tx.commit().await
    }

    /// A night could not be published. Writes nothing when that is known.
    pub async fn night_failed(&self, night: &str, error: &str) -> Result<()> {
        let known = self.monitor_night(night).await?.is_some_and(|known| known.error == error);
        if known {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        sqlx::query("UPDATE monitor_night SET error = ?2 WHERE night = ?1 AND state = 'closed'")
            .bind(night)
            .bind(error)
            .execute(&mut *tx.tx)
            .await
            .during("record why a night was not published")?;
        tx.commit().await
    }
}

impl WriteTx {
    /// Change the state of a night that must be in state `from`; `None`: that has none yet.
    pub(super) async fn put_night(
        &mut self,
        night: &str,
        from: Option<&str>,
        to: &'static str,
        why: &str,
    ) -> Result<()> {
        let present: Option<String> = sqlx::query_scalar("SELECT state FROM monitor_night WHERE night = ?1")
            .bind(night)
            .fetch_optional(&mut *self.tx)
            .await
            .during("read a night")?;
        if present.as_deref() != from {
            return Err(CatalogueError::LostRace {
                what: "night",
                id: 0,
                expected: from.unwrap_or("open").to_string(),
            });
        }
        sqlx::query(
            "INSERT INTO monitor_night (night, state, why, changed_us, published_us)
             VALUES (?1, ?2, ?3, ?4, CASE WHEN ?2 = 'published' THEN ?4 END)
             ON CONFLICT (night) DO UPDATE SET state = excluded.state, why = excluded.why, changed_us = excluded.changed_us,
                 published_us = coalesce(excluded.published_us, published_us)",
        )
        .bind(night)
        .bind(to)
        .bind(why)
        .bind(self.now_us)
        .execute(&mut *self.tx)
        .await
        .during("change the state of a night")
        .map(|_| ())
    }
}
