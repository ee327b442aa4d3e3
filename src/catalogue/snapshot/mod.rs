//! The snapshot for the quality monitor: `soxspipe.db`, a database of its own in rollback-journal mode, that holds the
//! closed nights under the names and with the literal values that the monitor knows.
//!
//! What lives here: its schema (`soxspipe.sql`), what of the catalogue goes into it (`night.sql`), and the monitor's own
//! rule of acceptance, which is applied before a file leaves the house. What never lives here: where the file is put, and
//! when a night is closed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, FromRow};

use super::{Catalogue, CatalogueError, During};

/// Tells our snapshots from other databases of that name: "SOXS".
const APPLICATION_ID: i64 = 0x534f_5853;

const SCHEMA: &str = include_str!("soxspipe.sql");
const NIGHT: &str = include_str!("night.sql");

/// The first row that the monitor would refuse, with the whole night that it belongs to (the rule of its reader): a
/// required field that is empty, a value that is no finite number, an arm that is none, one identity with two values.
const REFUSED: &str = r#"
SELECT sof_name || ' ' || qc_name || ' (order ' || qc_order || '): ' || fault FROM (
    SELECT sof_name, qc_name, qc_order, CASE
        WHEN coalesce("eso seq arm", '') NOT IN ('VIS', 'NIR') THEN 'its arm is ' || coalesce("eso seq arm", 'not given')
        WHEN trim(coalesce("night start date", '')) = '' OR trim(coalesce(obs_date_utc, '')) = ''
            OR trim(coalesce(soxspipe_recipe, '')) = '' OR trim(coalesce(qc_name, '')) = '' THEN 'a required field is empty'
        WHEN coalesce(qc_value, '') NOT GLOB '*[0-9]*' OR qc_value GLOB '*[^-+.eE0-9]*'
            THEN 'its value ' || coalesce(qc_value, '(none)') || ' is no finite number' END AS fault
    FROM quality_control_plus_lite
    UNION ALL
    SELECT min(sof_name), qc_name, qc_order, 'one identity has different values' FROM quality_control_plus_lite
    GROUP BY obs_date_utc, soxspipe_recipe, qc_name, "eso seq arm", qc_order, file HAVING count(DISTINCT qc_value) > 1
) WHERE fault IS NOT NULL LIMIT 1"#;

/// What the monitor finds of one night.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct SnapshotNight {
    /// Night.
    pub night: String,
    /// Rows of `quality_control_plus_lite`.
    pub metrics: i64,
}

/// Why a snapshot was not written. What was published before stays.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The catalogue or the snapshot does not work.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// The file to write on is not one of ours.
    #[error("{path} is a database that soxsd did not write; move it away, or give monitor.path another folder")]
    Foreign {
        /// File.
        path: PathBuf,
    },
    /// The monitor would refuse it.
    #[error("the monitor would keep the night open: {fault}; this is a bug, nothing was published")]
    Refused {
        /// The first row at fault.
        fault: String,
    },
}

/// Is the file a snapshot of ours that can be built upon? False when there is none or when it is damaged.
pub async fn is_sound(path: &Path) -> std::result::Result<bool, SnapshotError> {
    if !path.is_file() {
        return Ok(false);
    }
    let Ok(mut db) = SqliteConnectOptions::new().filename(path).read_only(true).connect().await else {
        return Ok(false);
    };
    let id = sqlx::query_scalar::<_, i64>("PRAGMA application_id").fetch_one(&mut db).await;
    let tables = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM sqlite_master").fetch_one(&mut db).await;
    let check = sqlx::query_scalar::<_, String>("PRAGMA quick_check(1)").fetch_one(&mut db).await;
    db.close().await.during("close a snapshot")?;
    match (id, tables, check) {
        (Ok(APPLICATION_ID), _, Ok(found)) => Ok(found == "ok"),
        // A file without a table is nobody's.
        (Ok(_), Ok(1..), Ok(_)) => Err(SnapshotError::Foreign { path: path.to_path_buf() }),
        _ => Ok(false),
    }
}

impl Catalogue {
    /// Put these nights, as the catalogue has them now, into the snapshot at `staged`: a copy of the published one, or no
    /// file yet. Other nights in it stay as they are. Returns every night that it holds afterwards.
    pub async fn write_snapshot(
        &self,
        staged: &Path,
        nights: &[String],
    ) -> std::result::Result<Vec<SnapshotNight>, SnapshotError> {
        let fresh = !staged.exists();
        let options = SqliteConnectOptions::new()
            .filename(staged)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Delete)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(5))
            .pragma("temp_store", "memory");
        let mut db =
            options.connect().await.map_err(|source| CatalogueError::Open { path: staged.to_path_buf(), source })?;
        let written = self.fill(&mut db, fresh, nights).await;
        db.close().await.during("close a snapshot")?;
        written
    }

    async fn fill(
        &self,
        db: &mut SqliteConnection,
        fresh: bool,
        nights: &[String],
    ) -> std::result::Result<Vec<SnapshotNight>, SnapshotError> {
        if fresh {
            // A constant of ours, not anybody's text.
            let mark = sqlx::AssertSqlSafe(format!("PRAGMA application_id = {APPLICATION_ID}"));
            sqlx::raw_sql(mark).execute(&mut *db).await.during("mark a snapshot")?;
            sqlx::raw_sql(SCHEMA).execute(&mut *db).await.during("lay out a snapshot")?;
        }
        sqlx::query("ATTACH DATABASE ?1 AS soxsd")
            .bind(self.path().to_string_lossy().into_owned())
            .execute(&mut *db)
            .await
            .during("read itself into a snapshot")?;
        sqlx::raw_sql("CREATE TEMP TABLE chosen_night (night TEXT PRIMARY KEY)")
            .execute(&mut *db)
            .await
            .during("choose nights")?;
        // Deferred: the catalogue is only read, and as it was at one moment.
        let mut tx = db.begin().await.during("begin a snapshot")?;
        for night in nights {
            sqlx::query("INSERT OR IGNORE INTO temp.chosen_night (night) VALUES (?1)")
                .bind(night)
                .execute(&mut *tx)
                .await
                .during("choose nights")?;
        }
        sqlx::raw_sql(NIGHT).execute(&mut *tx).await.during("copy a night into a snapshot")?;
        let fault: Option<String> =
            sqlx::query_scalar(REFUSED).fetch_optional(&mut *tx).await.during("read a snapshot as the monitor does")?;
        if let Some(fault) = fault {
            return Err(SnapshotError::Refused { fault });
        }
        let held = sqlx::query_as(
            r#"SELECT s."night start date" AS night, (SELECT count(*) FROM quality_control_plus_lite
                   WHERE "night start date" = s."night start date") AS metrics
               FROM raw_frame_sets s GROUP BY 1 ORDER BY 1"#,
        )
        .fetch_all(&mut *tx)
        .await
        .during("count the rows of a snapshot")?;
        tx.commit().await.during("finish a snapshot")?;
        Ok(held)
    }
}
