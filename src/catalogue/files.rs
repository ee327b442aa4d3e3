//! Files below the raw roots, frames and their versions: what ingest reads and writes.

use sqlx::Row;

use super::{Catalogue, CatalogueError, During, FileId, FrameId, Result, VersionId, WriteTx};
use crate::fits::Header;
use crate::instrument::{FrameMeta, Night};

/// A path that ingest has met before.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct KnownFile {
    /// Row id.
    pub id: FileId,
    /// Absolute path.
    pub path: String,
    /// Size in bytes when it was last looked at.
    pub size: i64,
    /// Modification time in microseconds when it was last looked at.
    pub mtime_us: i64,
    /// `waiting`, `accepted`, `duplicate`, `superseded`, `quarantined`, `ignored` or `gone`.
    pub state: String,
    /// Stable code of a quarantine; empty otherwise.
    pub code: String,
    /// When size or time were last seen to change.
    pub changed_us: i64,
    /// When the state was last decided.
    pub looked_us: i64,
}

/// What the file system says of a file at one look.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// Absolute path.
    pub path: String,
    /// File name.
    pub name: String,
    /// Size in bytes.
    pub size: i64,
    /// Modification time in microseconds UTC.
    pub mtime_us: i64,
}

/// The content of a complete, classified frame.
#[derive(Clone, Debug)]
pub struct Content<'a> {
    /// sha256 of the uncompressed stream, hexadecimal.
    pub digest: &'a str,
    /// Uncompressed size in bytes.
    pub bytes: i64,
    /// Typed description.
    pub meta: &'a FrameMeta,
    /// All cards of the primary header.
    pub header: &'a Header,
}

/// What a file turned out to be when its content was known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// A frame that was not known.
    NewFrame(FrameId),
    /// New content of a known frame, now its current version.
    NewVersion(FrameId),
    /// Known content that another path carries already.
    Duplicate(FrameId),
    /// Content that is older than what the frame has now.
    Superseded(FrameId),
    /// Known content whose only carrier this path now is.
    Again(FrameId),
}

impl Catalogue {
    /// Every path met so far.
    pub async fn known_files(&self) -> Result<Vec<KnownFile>> {
        sqlx::query_as("SELECT id, path, size, mtime_us, state, code, changed_us, looked_us FROM file")
            .fetch_all(self.reader())
            .await
            .during("list the files it knows")
    }
}

impl WriteTx {
    /// The file is not complete yet, and why. `changed` says whether its size or time moved since the last look.
    pub async fn file_waits(&mut self, look: &Look, changed: bool, reason: &str) -> Result<()> {
        self.put_file(look, "waiting", None, "", reason, changed).await.map(|_| ())
    }

    /// The file cannot be used; `code` is stable, `reason` is for people.
    pub async fn quarantine_file(&mut self, look: &Look, code: &str, reason: &str) -> Result<FileId> {
        let file = self.put_file(look, "quarantined", None, code, reason, true).await?;
        self.release_versions_of_other(file).await?;
        Ok(file)
    }

    /// The file is not a frame and never will be one.
    pub async fn ignore_file(&mut self, look: &Look, reason: &str) -> Result<()> {
        self.put_file(look, "ignored", None, "not_a_frame", reason, true).await.map(|_| ())
    }

    /// The file is no longer there. A duplicate of what it carried takes its place.
    pub async fn file_gone(&mut self, file: FileId) -> Result<()> {
        let version: Option<VersionId> =
            sqlx::query_scalar("SELECT version_id FROM file WHERE id = ?1 AND state = 'accepted'")
                .bind(file)
                .fetch_optional(&mut *self.tx)
                .await
                .during("look for a vanished file")?
                .flatten();
        self.set_file_state(file, "gone", None, "", "no longer there").await?;
        match version {
            Some(version) => self.promote_duplicate(version).await,
            None => Ok(()),
        }
    }

    /// A complete, classified frame. Decides whether it is new, a new version, a duplicate or older content.
    pub async fn accept_file(&mut self, look: &Look, content: &Content<'_>) -> Result<Accepted> {
        let known: Option<(VersionId, FrameId)> =
            sqlx::query_as("SELECT id, frame_id FROM frame_version WHERE digest = ?1")
                .bind(content.digest)
                .fetch_optional(&mut *self.tx)
                .await
                .during("look for a digest")?;
        match known {
            Some((version, frame)) => self.accept_known(look, version, frame).await,
            None => self.accept_new(look, content).await,
        }
    }

    /// A quarantined file is looked at again as if it had just landed, with the whole time to become complete.
    pub(super) async fn look_again(&mut self, file: i64, why: &str) -> Result<()> {
        sqlx::query(
            "UPDATE file SET state = 'waiting', code = '', reason = ?2, changed_us = ?3, looked_us = 0
             WHERE id = ?1 AND state = 'quarantined'",
        )
        .bind(file)
        .bind(why)
        .bind(self.now_us)
        .execute(&mut *self.tx)
        .await
        .during("take a file out of quarantine")?;
        self.journal_file(FileId(file), "waiting", why).await
    }

    async fn accept_new(&mut self, look: &Look, content: &Content<'_>) -> Result<Accepted> {
        let meta = content.meta;
        let frame: Option<(FrameId, Option<VersionId>)> =
            sqlx::query_as("SELECT id, current_version FROM frame WHERE data_id = ?1 AND arm = ?2")
                .bind(&meta.data_id)
                .bind(meta.arm.as_str())
                .fetch_optional(&mut *self.tx)
                .await
                .during("look for a frame")?;
        let Some((frame, current)) = frame else {
            let frame = self.insert_frame(meta).await?;
            let version = self.insert_version(frame, 1, content).await?;
            self.make_current(frame, version).await?;
            self.carry(look, version, "accepted", "").await?;
            return Ok(Accepted::NewFrame(frame));
        };
        let number: i64 = sqlx::query_scalar("SELECT max(version) + 1 FROM frame_version WHERE frame_id = ?1")
            .bind(frame)
            .fetch_one(&mut *self.tx)
            .await
            .during("number a version")?;
        let version = self.insert_version(frame, number, content).await?;
        if self.newer_carrier(look, current).await? {
            let reason = format!("older content of {}; a newer file carries it", meta.data_id);
            sqlx::query("UPDATE frame_version SET grouped = 1 WHERE id = ?1")
                .bind(version)
                .execute(&mut *self.tx)
                .await
                .during("set a version aside")?;
            self.carry(look, version, "superseded", &reason).await?;
            return Ok(Accepted::Superseded(frame));
        }
        self.replace_current(frame, current, version, look).await?;
        Ok(Accepted::NewVersion(frame))
    }

    async fn accept_known(&mut self, look: &Look, version: VersionId, frame: FrameId) -> Result<Accepted> {
        let current: Option<VersionId> = sqlx::query_scalar("SELECT current_version FROM frame WHERE id = ?1")
            .bind(frame)
            .fetch_one(&mut *self.tx)
            .await
            .during("read a frame")?;
        if current != Some(version) {
            if self.newer_carrier(look, current).await? {
                self.carry(look, version, "superseded", "older content of its frame; a newer file carries it").await?;
                return Ok(Accepted::Superseded(frame));
            }
            self.replace_current(frame, current, version, look).await?;
            return Ok(Accepted::NewVersion(frame));
        }
        let carrier: Option<String> =
            sqlx::query_scalar("SELECT path FROM file WHERE version_id = ?1 AND state = 'accepted' AND path <> ?2")
                .bind(version)
                .bind(&look.path)
                .fetch_optional(&mut *self.tx)
                .await
                .during("look for a carrier")?;
        match carrier {
            Some(path) => {
                self.carry(look, version, "duplicate", &format!("same content as {path}")).await?;
                Ok(Accepted::Duplicate(frame))
            }
            None => {
                self.carry(look, version, "accepted", "").await?;
                Ok(Accepted::Again(frame))
            }
        }
    }

    /// Is there another file, newer than this look, that carries the current version? Decided by modification time, then
    /// path, so that the outcome does not depend on which file was met first.
    async fn newer_carrier(&mut self, look: &Look, current: Option<VersionId>) -> Result<bool> {
        sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM file WHERE version_id = ?1 AND state IN ('accepted', 'duplicate') AND path <> ?2
             AND (mtime_us > ?3 OR (mtime_us = ?3 AND path > ?2)))",
        )
        .bind(current)
        .bind(&look.path)
        .bind(look.mtime_us)
        .fetch_one(&mut *self.tx)
        .await
        .during("compare versions")
    }

    async fn replace_current(
        &mut self,
        frame: FrameId,
        old: Option<VersionId>,
        new: VersionId,
        look: &Look,
    ) -> Result<()> {
        let carriers: Vec<FileId> = sqlx::query_scalar(
            "SELECT id FROM file WHERE version_id = ?1 AND state IN ('accepted', 'duplicate') AND path <> ?2",
        )
        .bind(old)
        .bind(&look.path)
        .fetch_all(&mut *self.tx)
        .await
        .during("list carriers")?;
        for file in carriers {
            self.set_file_state(file, "superseded", old, "", "a newer file carries newer content").await?;
        }
        self.make_current(frame, new).await?;
        self.carry(look, new, "accepted", "").await.map(|_| ())
    }

    async fn insert_frame(&mut self, meta: &FrameMeta) -> Result<FrameId> {
        sqlx::query_scalar("INSERT INTO frame (data_id, arm, first_seen_us) VALUES (?1, ?2, ?3) RETURNING id")
            .bind(&meta.data_id)
            .bind(meta.arm.as_str())
            .bind(self.now_us)
            .fetch_one(&mut *self.tx)
            .await
            .during("record a frame")
    }

    async fn insert_version(&mut self, frame: FrameId, number: i64, content: &Content<'_>) -> Result<VersionId> {
        let meta = content.meta;
        let unreadable = |source| CatalogueError::Content { what: "frame description", source };
        sqlx::query_scalar(
            "INSERT INTO frame_version (frame_id, version, digest, bytes, night, night_raw, night_calendar, kind, usage,
                 usage_reason, recipe, mjd_obs, date_obs_us, exptime, object, dpr_type, dpr_tech, meta, header, taken_us)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)
             RETURNING id",
        )
        .bind(frame)
        .bind(number)
        .bind(content.digest)
        .bind(content.bytes)
        .bind(Night::of(meta.date_obs).to_string())
        .bind(Night::of_raw_folder(meta.date_obs).to_string())
        .bind(Night::calendar(meta.date_obs).to_string())
        .bind(&meta.kind)
        .bind(meta.usage.as_str())
        .bind(&meta.usage_reason)
        .bind(&meta.recipe)
        .bind(meta.mjd_obs)
        .bind(meta.date_obs.as_microsecond())
        .bind(meta.exptime)
        .bind(&meta.object)
        .bind(&meta.dpr_type)
        .bind(&meta.dpr_tech)
        .bind(serde_json::to_string(meta).map_err(unreadable)?)
        .bind(serde_json::to_string(content.header).map_err(unreadable)?)
        .bind(self.now_us)
        .fetch_one(&mut *self.tx)
        .await
        .during("record a frame's content")
    }

    /// The version becomes its frame's current one, and association must look at it (again).
    async fn make_current(&mut self, frame: FrameId, version: VersionId) -> Result<()> {
        sqlx::query("UPDATE frame SET current_version = ?2 WHERE id = ?1")
            .bind(frame)
            .bind(version)
            .execute(&mut *self.tx)
            .await
            .during("make a version current")?;
        sqlx::query("UPDATE frame_version SET grouped = 0 WHERE id = ?1")
            .bind(version)
            .execute(&mut *self.tx)
            .await
            .during("hand a version to association")?;
        Ok(())
    }

    async fn carry(&mut self, look: &Look, version: VersionId, state: &'static str, reason: &str) -> Result<FileId> {
        self.put_file(look, state, Some(version), "", reason, true).await
    }

    /// A file that carried a frame and is now quarantined leaves the place to a duplicate.
    async fn release_versions_of_other(&mut self, file: FileId) -> Result<()> {
        let orphaned: Vec<VersionId> = sqlx::query_scalar(
            "SELECT DISTINCT d.version_id FROM file d
             WHERE d.state = 'duplicate' AND d.id <> ?1
               AND NOT EXISTS (SELECT 1 FROM file a WHERE a.version_id = d.version_id AND a.state = 'accepted')",
        )
        .bind(file)
        .fetch_all(&mut *self.tx)
        .await
        .during("look for orphaned duplicates")?;
        for version in orphaned {
            self.promote_duplicate(version).await?;
        }
        Ok(())
    }

    async fn promote_duplicate(&mut self, version: VersionId) -> Result<()> {
        let next: Option<FileId> = sqlx::query_scalar(
            "SELECT id FROM file WHERE version_id = ?1 AND state = 'duplicate' ORDER BY path LIMIT 1",
        )
        .bind(version)
        .fetch_optional(&mut *self.tx)
        .await
        .during("look for a duplicate")?;
        match next {
            Some(file) => self.set_file_state(file, "accepted", Some(version), "", "").await,
            None => Ok(()),
        }
    }

    async fn put_file(
        &mut self,
        look: &Look,
        state: &'static str,
        version: Option<VersionId>,
        code: &str,
        reason: &str,
        changed: bool,
    ) -> Result<FileId> {
        let row = sqlx::query(
            "INSERT INTO file (path, name, size, mtime_us, state, version_id, code, reason, first_seen_us, changed_us, looked_us)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9, ?9)
             ON CONFLICT (path) DO UPDATE SET
                 size = excluded.size, mtime_us = excluded.mtime_us, state = excluded.state,
                 version_id = excluded.version_id, code = excluded.code, reason = excluded.reason,
                 changed_us = CASE WHEN ?10 THEN excluded.changed_us ELSE changed_us END, looked_us = excluded.looked_us
             RETURNING id, reason",
        )
        .bind(&look.path)
        .bind(&look.name)
        .bind(look.size)
        .bind(look.mtime_us)
        .bind(state)
        .bind(version)
        .bind(code)
        .bind(reason)
        .bind(self.now_us)
        .bind(changed)
        .fetch_one(&mut *self.tx)
        .await
        .during("record a file")?;
        let file: FileId = row.get("id");
        self.journal_file(file, state, reason).await?;
        Ok(file)
    }

    async fn set_file_state(
        &mut self,
        file: FileId,
        state: &'static str,
        version: Option<VersionId>,
        code: &str,
        reason: &str,
    ) -> Result<()> {
        sqlx::query("UPDATE file SET state = ?2, version_id = coalesce(?3, version_id), code = ?4, reason = ?5, looked_us = ?6 WHERE id = ?1")
            .bind(file)
            .bind(state)
            .bind(version)
            .bind(code)
            .bind(reason)
            .bind(self.now_us)
            .execute(&mut *self.tx)
            .await
            .during("change a file's state")?;
        self.journal_file(file, state, reason).await
    }

    /// One line in the file's history, unless it repeats the line before it.
    async fn journal_file(&mut self, file: FileId, state: &str, reason: &str) -> Result<()> {
        sqlx::query(
            "INSERT INTO file_event (file_id, at_us, state, reason)
             SELECT ?1, ?2, ?3, ?4 WHERE NOT EXISTS (
                 SELECT 1 FROM file_event WHERE id = (SELECT max(id) FROM file_event WHERE file_id = ?1)
                 AND state = ?3 AND reason = ?4)",
        )
        .bind(file)
        .bind(self.now_us)
        .bind(state)
        .bind(reason)
        .execute(&mut *self.tx)
        .await
        .during("journal a file")
        .map(|_| ())
    }
}
