//! Integrity, backup, and the facts that the running process leaves for commands to show.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use sqlx::SqlitePool;

use super::{Catalogue, CatalogueError, During, Result, WriteTx};

/// Beginning of the name of a backup in the making.
const PARTIAL: &str = ".catalogue-";
/// Age at which the copy of a backup that was not finished is removed.
const UNFINISHED_FOR: Duration = Duration::from_secs(3600);

/// A fact about the running process, for example `paused`.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct HealthFact {
    /// Name.
    pub name: String,
    /// Value as text.
    pub value: String,
    /// When it was set, microseconds UTC.
    pub at_us: i64,
}

/// Fact: the process that stopped in order last.
const STOPPED: &str = "stopped";

/// Refuse a damaged database before anything is written to it.
pub(super) async fn quick_check(pool: &SqlitePool, path: &Path) -> Result<()> {
    let damaged =
        |finding: String| CatalogueError::Damaged { path: path.to_path_buf(), finding, backups: backup_folder(path) };
    match sqlx::query_scalar::<_, String>("PRAGMA quick_check(1)").fetch_one(pool).await {
        Ok(finding) if finding == "ok" => Ok(()),
        Ok(finding) => Err(damaged(finding)),
        Err(error) => Err(damaged(error.to_string())),
    }
}

/// Where backups are kept: `backups` beside the database.
pub fn backup_folder(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new(".")).join("backups")
}

impl Catalogue {
    /// A consistent copy of the database while it is in use, named by its time; keeps the newest `keep` copies.
    /// Returns the path of the copy.
    pub async fn backup(&self, keep: usize) -> Result<PathBuf> {
        let folder = backup_folder(&self.path);
        let stamp = self.clock.now().strftime("%Y%m%dT%H%M%S").to_string();
        let target = folder.join(format!("catalogue-{stamp}.db"));
        let partial = folder.join(format!("{PARTIAL}{stamp}.part"));
        let io = |source| CatalogueError::Lock { lock: target.clone(), source };
        std::fs::create_dir_all(&folder).map_err(io)?;
        let _ = std::fs::remove_file(&partial);
        for left in left_behind(&folder) {
            let _ = std::fs::remove_file(left);
        }
        sqlx::query("VACUUM INTO ?1")
            .bind(partial.to_string_lossy().into_owned())
            .execute(&self.reader)
            .await
            .during("write a backup")?;
        crate::fits::write_atomically::<BackupError>(&target, &crate::fits::Placement::default(), |temporary| {
            Ok(std::fs::rename(&partial, temporary)?)
        })
        .map_err(|error| io(error.0))?;
        for old in backups_beyond(&folder, keep) {
            let _ = std::fs::remove_file(old);
        }
        Ok(target)
    }

    /// Every page and index checked; `Ok` with "ok" or the first findings.
    pub async fn integrity_check(&self) -> Result<Vec<String>> {
        let mut findings: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check(20)")
            .fetch_all(&self.reader)
            .await
            .during("check its integrity")?;
        let broken: Vec<String> = sqlx::query_scalar(r#"SELECT "table" FROM pragma_foreign_key_check LIMIT 20"#)
            .fetch_all(&self.reader)
            .await
            .during("check its references")?;
        findings.extend(broken.into_iter().map(|table| format!("broken reference in table {table}")));
        Ok(findings)
    }

    /// Record that this process now keeps the catalogue.
    pub async fn record_boot(&self, boot_id: &str, version: &str) -> Result<()> {
        let mut tx = self.begin().await?;
        sqlx::query("INSERT INTO boot (id, started_us, version, pid) VALUES (?1, ?2, ?3, ?4)")
            .bind(boot_id)
            .bind(tx.now_us)
            .bind(version)
            .bind(i64::from(std::process::id()))
            .execute(&mut *tx.tx)
            .await
            .during("record the start")?;
        tx.commit().await
    }

    /// Record that this process stopped in order.
    pub async fn record_stop(&self, boot_id: &str) -> Result<()> {
        self.set_fact(STOPPED, boot_id).await
    }

    /// Did the process that kept the catalogue before this one end without saying so? False when there was none.
    pub async fn previous_process_died(&self) -> Result<bool> {
        let boots: Vec<String> = sqlx::query_scalar("SELECT id FROM boot ORDER BY started_us DESC, rowid DESC LIMIT 2")
            .fetch_all(self.reader())
            .await
            .during("look for the process before this one")?;
        let stopped = self.facts().await?.into_iter().find(|fact| fact.name == STOPPED).map(|fact| fact.value);
        Ok(boots.get(1).is_some_and(|previous| stopped.as_ref() != Some(previous)))
    }

    /// Leave a fact for commands and the status page. Writes nothing when the value has not changed.
    pub async fn set_fact(&self, name: &str, value: &str) -> Result<()> {
        let present = self.facts().await?;
        if present.iter().any(|fact| fact.name == name && fact.value == value) {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        sqlx::query(
            "INSERT INTO health_fact (name, value, at_us) VALUES (?1, ?2, ?3)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value, at_us = excluded.at_us",
        )
        .bind(name)
        .bind(value)
        .bind(tx.now_us)
        .execute(&mut *tx.tx)
        .await
        .during("leave a fact")?;
        tx.commit().await
    }

    /// All facts.
    pub async fn facts(&self) -> Result<Vec<HealthFact>> {
        sqlx::query_as("SELECT name, value, at_us FROM health_fact ORDER BY name")
            .fetch_all(self.reader())
            .await
            .during("read its facts")
    }
}

impl WriteTx {
    /// Did the process that kept the catalogue before `boot_id` end without saying so? False when there was none.
    pub async fn previous_died(&mut self, boot_id: &str) -> Result<bool> {
        let previous: Option<String> =
            sqlx::query_scalar("SELECT id FROM boot WHERE id <> ?1 ORDER BY started_us DESC, rowid DESC LIMIT 1")
                .bind(boot_id)
                .fetch_optional(&mut *self.tx)
                .await
                .during("look for the process before this one")?;
        let stopped: Option<String> = sqlx::query_scalar("SELECT value FROM health_fact WHERE name = ?1")
            .bind(STOPPED)
            .fetch_optional(&mut *self.tx)
            .await
            .during("read its facts")?;
        Ok(previous.is_some() && previous != stopped)
    }
}

/// A failed step of a backup, as the operating system's error.
struct BackupError(std::io::Error);

impl From<std::io::Error> for BackupError {
    fn from(error: std::io::Error) -> Self {
        BackupError(error)
    }
}

impl From<crate::fits::AtomicError> for BackupError {
    fn from(error: crate::fits::AtomicError) -> Self {
        BackupError(std::io::Error::other(error))
    }
}

/// Copies that were begun and not finished: by a process that died, if nobody has written to them for an hour. A second
/// backup may be made by hand at the same time.
fn left_behind(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let old = |entry: &std::fs::DirEntry| {
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age > UNFINISHED_FOR))
    };
    let ours = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with(PARTIAL);
    entries.flatten().filter(|entry| ours(entry) && old(entry)).map(|entry| entry.path()).collect()
}

/// Backups older than the newest `keep`, by name, which is by time.
fn backups_beyond(folder: &Path, keep: usize) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut copies: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "db"))
        .collect();
    copies.sort();
    let surplus = copies.len().saturating_sub(keep);
    copies.truncate(surplus);
    copies
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::seeded::Seeded;

    #[tokio::test]
    async fn a_backup_that_was_never_finished_is_removed_when_nobody_can_be_at_it() {
        let seeded = Seeded::night().await;
        let folder = backup_folder(seeded.catalogue.path());
        std::fs::create_dir_all(&folder).expect("a folder");
        let (dead, young, other) =
            (folder.join(".catalogue-1.part"), folder.join(".catalogue-2.part"), folder.join("notes"));
        for path in [&dead, &young, &other] {
            std::fs::write(path, "x").expect("written");
        }
        for path in [&dead, &other] {
            let time = std::time::SystemTime::now() - 2 * UNFINISHED_FOR;
            std::fs::File::options().write(true).open(path).and_then(|file| file.set_modified(time)).expect("aged");
        }
        let copy = seeded.catalogue.backup(3).await.expect("a backup");
        assert!(copy.is_file() && young.exists() && other.exists() && !dead.exists());
    }
}
