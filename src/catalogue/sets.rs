//! Templates and sets of frames: what association reads and writes.

use super::{Catalogue, CatalogueError, During, FrameId, Result, SetId, TemplateId, VersionId, WriteTx};
use crate::instrument::FrameMeta;

/// A frame version that association has not looked at.
#[derive(Clone, Debug)]
pub struct Ungrouped {
    /// Version.
    pub version: VersionId,
    /// Frame.
    pub frame: FrameId,
    /// Typed description.
    pub meta: FrameMeta,
}

/// A member of a set, by its current version.
#[derive(Clone, Debug)]
pub struct Member {
    /// Frame.
    pub frame: FrameId,
    /// Current version.
    pub version: VersionId,
    /// Digest of that version.
    pub digest: String,
    /// Typed description.
    pub meta: FrameMeta,
}

/// An execution of a template that may still bring frames.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct OpenTemplate {
    /// Row id.
    pub id: TemplateId,
    /// `VIS`, `NIR` or `ACQ`.
    pub arm: String,
    /// Start, microseconds UTC.
    pub start_us: i64,
    /// Exposures planned (`ESO TPL NEXP`).
    pub nexp: i64,
    /// Distinct exposure numbers seen.
    pub seen: i64,
    /// When its last frame was taken in.
    pub touched_us: i64,
    /// End of its last exposure by the headers, microseconds UTC.
    pub last_end_us: i64,
    /// Start of the next template of the same arm that has been seen, if any.
    pub next_start_us: Option<i64>,
}

/// What a set is, from the frames that define it.
#[derive(Clone, Debug)]
pub struct SetIdentity<'a> {
    /// Unique, made of arm, template and set keys.
    pub key: &'a str,
    /// Its template.
    pub template: TemplateId,
    /// Recipe.
    pub recipe: &'a str,
    /// Arm.
    pub arm: &'a str,
    /// Night of its first frame.
    pub night: &'a str,
    /// OBJECT of its frames.
    pub object: &'a str,
    /// Set keys as JSON.
    pub keys: &'a str,
    /// The set whose products it is made of, for one that has no frames of its own.
    pub follows: Option<SetId>,
}

/// What a set contains at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct SetContent {
    /// Stem of its SOF and product names.
    pub name: String,
    /// Night of products.
    pub night: String,
    /// Digest of its members.
    pub content: String,
    /// Number of members.
    pub n_frames: i64,
    /// Start of its first exposure.
    pub mjd_first: f64,
    /// Start of its last exposure.
    pub mjd_last: f64,
    /// `open`, `complete`, `partial`, `short` or `empty`.
    pub state: &'static str,
    /// Why it is partial or short, or what it waits for.
    pub why: String,
}

/// A set that must be planned (again).
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct DirtySet {
    /// Row id.
    pub id: SetId,
    /// How often it was marked since it was planned; hand it back to [`WriteTx::clean_set`].
    pub dirty: i64,
    /// Unique key.
    pub key: String,
    /// Recipe.
    pub recipe: String,
    /// Arm.
    pub arm: String,
    /// Set keys as JSON.
    pub keys: String,
    /// OBJECT.
    pub object: String,
    /// When it last changed.
    pub changed_us: i64,
    /// Exposures planned in its template.
    pub nexp: i64,
    /// Distinct exposure numbers of the template seen.
    pub seen: i64,
    /// 1 when the template can bring no more frames.
    pub template_closed: i64,
    /// Why it was closed.
    pub template_closed_why: String,
    /// Template of its frames.
    pub template_id: TemplateId,
    /// The set that it follows.
    pub follows: Option<SetId>,
}

impl Catalogue {
    /// Up to `limit` frame versions that association has not looked at, oldest first.
    pub async fn ungrouped(&self, limit: i64) -> Result<Vec<Ungrouped>> {
        let rows: Vec<(VersionId, FrameId, String)> = sqlx::query_as(
            "SELECT v.id, v.frame_id, v.meta FROM frame_version v WHERE v.grouped = 0 ORDER BY v.id LIMIT ?1",
        )
        .bind(limit)
        .fetch_all(self.reader())
        .await
        .during("list frames without a set")?;
        rows.into_iter()
            .map(|(version, frame, meta)| Ok(Ungrouped { version, frame, meta: parse_meta(&meta)? }))
            .collect()
    }

    /// Members of a set, or of the set that it follows, by their current versions, sorted by exposure start, then data id.
    pub async fn members(&self, set: SetId) -> Result<Vec<Member>> {
        let rows: Vec<(FrameId, VersionId, String, String)> = sqlx::query_as(
            "SELECT f.id, v.id, v.digest, v.meta FROM frame_set s JOIN set_member m ON m.set_id = coalesce(s.follows, s.id)
             JOIN frame f ON f.id = m.frame_id JOIN frame_version v ON v.id = f.current_version
             WHERE s.id = ?1 ORDER BY v.date_obs_us, f.data_id",
        )
        .bind(set)
        .fetch_all(self.reader())
        .await
        .during("list the members of a set")?;
        rows.into_iter()
            .map(|(frame, version, digest, meta)| Ok(Member { frame, version, digest, meta: parse_meta(&meta)? }))
            .collect()
    }

    /// Name and keys (JSON) of a set.
    pub async fn set_name_and_keys(&self, set: SetId) -> Result<(String, String)> {
        sqlx::query_as("SELECT name, keys FROM frame_set WHERE id = ?1")
            .bind(set)
            .fetch_one(self.reader())
            .await
            .during("read a set")
    }

    /// Sets that follow another one, each with that one.
    pub async fn followers(&self) -> Result<Vec<(SetId, SetId)>> {
        sqlx::query_as("SELECT id, follows FROM frame_set WHERE follows IS NOT NULL")
            .fetch_all(self.reader())
            .await
            .during("list the sets that follow others")
    }

    /// Templates that may still bring frames.
    pub async fn open_templates(&self) -> Result<Vec<OpenTemplate>> {
        sqlx::query_as(
            "SELECT t.id, t.arm, t.start_us, t.nexp, t.seen, t.touched_us,
                    coalesce((SELECT max(v.date_obs_us + CAST(v.exptime * 1e6 AS INTEGER)) FROM template_member m
                     JOIN frame f ON f.id = m.frame_id JOIN frame_version v ON v.id = f.current_version
                     WHERE m.template_id = t.id), t.start_us) AS last_end_us,
                    (SELECT min(n.start_us) FROM template n WHERE n.arm = t.arm AND n.start_us > t.start_us) AS next_start_us
             FROM template t WHERE t.closed = 0 ORDER BY t.start_us",
        )
        .fetch_all(self.reader())
        .await
        .during("list open templates")
    }

    /// Sets that must be planned (again), oldest exposure first.
    pub async fn dirty_sets(&self) -> Result<Vec<DirtySet>> {
        sqlx::query_as(
            "SELECT s.id, s.dirty, s.key, s.recipe, s.arm, s.keys, s.object, s.changed_us, t.nexp, t.seen,
                    t.closed AS template_closed, t.closed_why AS template_closed_why, s.template_id, s.follows
             FROM frame_set s JOIN template t ON t.id = s.template_id WHERE s.dirty > 0 ORDER BY s.mjd_first, s.key",
        )
        .fetch_all(self.reader())
        .await
        .during("list sets to plan")
    }
}

impl WriteTx {
    /// Find or make a template. A larger NEXP wins when frames disagree.
    pub async fn put_template(
        &mut self,
        key: &str,
        arm: &str,
        tpl_id: &str,
        start_us: i64,
        nexp: i64,
    ) -> Result<TemplateId> {
        sqlx::query_scalar(
            "INSERT INTO template (key, arm, tpl_id, start_us, nexp, touched_us) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (key) DO UPDATE SET nexp = max(nexp, excluded.nexp), touched_us = excluded.touched_us
             RETURNING id",
        )
        .bind(key)
        .bind(arm)
        .bind(tpl_id)
        .bind(start_us)
        .bind(nexp)
        .bind(self.now_us)
        .fetch_one(&mut *self.tx)
        .await
        .during("record a template")
    }

    /// Count a frame in its template (and out of the one that it was in before).
    pub async fn put_template_member(&mut self, template: TemplateId, frame: FrameId, expno: i64) -> Result<()> {
        let before: Option<TemplateId> =
            sqlx::query_scalar("SELECT template_id FROM template_member WHERE frame_id = ?1")
                .bind(frame)
                .fetch_optional(&mut *self.tx)
                .await
                .during("look for a frame's template")?;
        sqlx::query(
            "INSERT INTO template_member (frame_id, template_id, expno) VALUES (?1, ?2, ?3)
             ON CONFLICT (frame_id) DO UPDATE SET template_id = excluded.template_id, expno = excluded.expno",
        )
        .bind(frame)
        .bind(template)
        .bind(expno)
        .execute(&mut *self.tx)
        .await
        .during("count a frame in its template")?;
        for touched in before.into_iter().filter(|before| *before != template).chain([template]) {
            self.recount_template(touched).await?;
        }
        Ok(())
    }

    async fn recount_template(&mut self, template: TemplateId) -> Result<()> {
        sqlx::query(
            "UPDATE template SET seen = (SELECT count(DISTINCT expno) FROM template_member WHERE template_id = ?1) WHERE id = ?1",
        )
        .bind(template)
        .execute(&mut *self.tx)
        .await
        .during("count a template's frames")?;
        self.dirty_sets_of(template).await
    }

    async fn dirty_sets_of(&mut self, template: TemplateId) -> Result<()> {
        sqlx::query("UPDATE frame_set SET dirty = dirty + 1 WHERE template_id = ?1")
            .bind(template)
            .execute(&mut *self.tx)
            .await
            .during("mark a template's sets")
            .map(|_| ())
    }

    /// No more frames are expected of a template, and why.
    pub async fn close_template(&mut self, template: TemplateId, why: &str) -> Result<()> {
        sqlx::query("UPDATE template SET closed = 1, closed_why = ?2 WHERE id = ?1 AND closed = 0")
            .bind(template)
            .bind(why)
            .execute(&mut *self.tx)
            .await
            .during("close a template")?;
        self.dirty_sets_of(template).await
    }

    /// Find or make a set, and mark it to be planned.
    pub async fn put_set(&mut self, set: &SetIdentity<'_>) -> Result<SetId> {
        sqlx::query_scalar(
            "INSERT INTO frame_set (key, template_id, recipe, arm, night, name, object, keys, state, changed_us, follows)
             VALUES (?1, ?2, ?3, ?4, ?5, '', ?6, ?7, 'open', ?8, ?9)
             ON CONFLICT (key) DO UPDATE SET dirty = dirty + 1 RETURNING id",
        )
        .bind(set.key)
        .bind(set.template)
        .bind(set.recipe)
        .bind(set.arm)
        .bind(set.night)
        .bind(set.object)
        .bind(set.keys)
        .bind(self.now_us)
        .bind(set.follows)
        .fetch_one(&mut *self.tx)
        .await
        .during("record a set")
    }

    /// A frame belongs to this set (or to none); the set that it leaves is marked to be planned.
    pub async fn put_member(&mut self, frame: FrameId, set: Option<SetId>) -> Result<()> {
        sqlx::query(
            "UPDATE frame_set SET dirty = dirty + 1 WHERE id = (SELECT set_id FROM set_member WHERE frame_id = ?1)",
        )
        .bind(frame)
        .execute(&mut *self.tx)
        .await
        .during("mark the set that a frame leaves")?;
        match set {
            Some(set) => sqlx::query(
                "INSERT INTO set_member (frame_id, set_id) VALUES (?1, ?2)
                     ON CONFLICT (frame_id) DO UPDATE SET set_id = excluded.set_id",
            )
            .bind(frame)
            .bind(set),
            None => sqlx::query("DELETE FROM set_member WHERE frame_id = ?1").bind(frame),
        }
        .execute(&mut *self.tx)
        .await
        .during("put a frame into a set")
        .map(|_| ())
    }

    /// Association has looked at this version.
    pub async fn mark_grouped(&mut self, version: VersionId) -> Result<()> {
        sqlx::query("UPDATE frame_version SET grouped = 1 WHERE id = ?1")
            .bind(version)
            .execute(&mut *self.tx)
            .await
            .during("mark a frame as grouped")
            .map(|_| ())
    }

    /// The name for a set: its stem, or with a number when another set with the same stem has it.
    pub async fn free_set_name(&mut self, set: SetId, stem: &str) -> Result<String> {
        let taken: Vec<String> =
            sqlx::query_scalar("SELECT name FROM frame_set WHERE id <> ?1 AND name >= ?2 AND name < ?2 || '/'")
                .bind(set)
                .bind(stem)
                .fetch_all(&mut *self.tx)
                .await
                .during("name a set")?;
        let mut name = stem.to_string();
        let mut number = 1;
        while taken.contains(&name) {
            number += 1;
            name = format!("{stem}-{number}");
        }
        Ok(name)
    }

    /// Write what a set contains now.
    pub async fn put_set_content(&mut self, set: SetId, content: &SetContent) -> Result<()> {
        sqlx::query(
            "UPDATE frame_set SET changed_us = CASE WHEN content <> ?3 OR state <> ?7 THEN ?9 ELSE changed_us END,
                 name = ?2, content = ?3, n_frames = ?4, mjd_first = ?5, mjd_last = ?6, state = ?7, why = ?8, night = ?10
             WHERE id = ?1",
        )
        .bind(set)
        .bind(&content.name)
        .bind(&content.content)
        .bind(content.n_frames)
        .bind(content.mjd_first)
        .bind(content.mjd_last)
        .bind(content.state)
        .bind(&content.why)
        .bind(self.now_us)
        .bind(&content.night)
        .execute(&mut *self.tx)
        .await
        .during("describe a set")
        .map(|_| ())
    }

    /// A set has been planned on what was known when it was marked `seen` times; a mark since then stays.
    pub async fn clean_set(&mut self, set: SetId, seen: i64) -> Result<()> {
        sqlx::query("UPDATE frame_set SET dirty = 0 WHERE id = ?1 AND dirty = ?2")
            .bind(set)
            .bind(seen)
            .execute(&mut *self.tx)
            .await
            .during("mark a set as planned")
            .map(|_| ())
    }

    /// These sets must be planned again.
    pub async fn dirty_set(&mut self, set: SetId) -> Result<()> {
        sqlx::query("UPDATE frame_set SET dirty = dirty + 1 WHERE id = ?1")
            .bind(set)
            .execute(&mut *self.tx)
            .await
            .during("mark a set to be planned")
            .map(|_| ())
    }

    /// Every set must be planned again: rules, recipes or their parameters have changed.
    pub async fn dirty_all_sets(&mut self) -> Result<()> {
        sqlx::query("UPDATE frame_set SET dirty = dirty + 1")
            .execute(&mut *self.tx)
            .await
            .during("mark all sets to be planned")
            .map(|_| ())
    }
}

pub(super) fn parse_meta(text: &str) -> Result<FrameMeta> {
    serde_json::from_str(text).map_err(|source| CatalogueError::Content { what: "frame description", source })
}
