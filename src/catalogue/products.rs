//! Products, their QC, and their candidacy as masters.

use sqlx::FromRow;

use super::{Catalogue, CatalogueError, During, JobId, ProductId, Result, SetId, VersionId, WriteTx};
use crate::quality::{QcMetric, QcValue, Verdict};

/// The data that a new master could serve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reach {
    /// Earliest data.
    pub from_mjd: f64,
    /// Latest data.
    pub to_mjd: f64,
    /// Data that have chosen so many newer masters with the same keys do not want this one.
    pub enough: i64,
}

/// A product that was written to the store.
#[derive(Clone, Debug)]
pub struct NewProduct {
    /// PRO CATG with the arm.
    pub catg: String,
    /// Arm.
    pub arm: String,
    /// Night of products.
    pub night: String,
    /// File name in the tree of products.
    pub name: String,
    /// `<night>/<recipe>`.
    pub folder: String,
    /// Digests and size.
    pub digests: crate::fits::digest::FileDigests,
    /// Match keys as JSON.
    pub keys: String,
    /// Start of its last raw frame.
    pub mjd: f64,
    /// Number of frames combined.
    pub n_combined: i64,
    /// What it claims before ESO's archive; `None` for a product that goes there without a claim, as calibrations do.
    pub claim: Option<Claim>,
}

/// What a Phase 3 file claims, and what the validator says to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// PRODCATG.
    pub prodcatg: String,
    /// Name in archives: companions name each other by it.
    pub archive_name: String,
    /// Breaches for which the archive would refuse it, one text each; empty when it passed.
    pub findings: Vec<String>,
}

/// A metric with its range and verdict.
#[derive(Clone, Debug)]
pub struct JudgedMetric {
    /// The metric.
    pub metric: QcMetric,
    /// Verdict.
    pub verdict: Verdict,
    /// Lower limit, inclusive.
    pub min: Option<f64>,
    /// Upper limit, inclusive.
    pub max: Option<f64>,
}

/// A product as a candidate master.
#[derive(Clone, Debug, FromRow)]
pub struct ProductCandidate {
    /// Product.
    pub id: ProductId,
    /// Set that made it.
    pub set_id: SetId,
    /// File name.
    pub name: String,
    /// Match keys as JSON.
    pub keys: String,
    /// Start of its last raw frame.
    pub mjd: f64,
    /// Start of the first frame of that set.
    pub mjd_first: f64,
    /// `pass`, `warn` or `fail`.
    pub verdict: String,
    /// `current`, `stale` or `bad` (superseded ones are not listed).
    pub state: String,
    /// Why it is not current.
    pub state_why: String,
    /// sha256 of the file.
    pub sha256: String,
}

/// A set that will make a master, as far as is known.
#[derive(Clone, Debug, FromRow)]
pub struct PendingCandidate {
    /// Set.
    pub set_id: SetId,
    /// Its name.
    pub name: String,
    /// Match keys as JSON.
    pub keys: String,
    /// Start of its last raw frame.
    pub mjd: f64,
    /// Start of its first one.
    pub mjd_first: f64,
    /// State of its job, or of the set when it has none.
    pub state: String,
    /// What it waits for, or its error.
    pub why: String,
}

/// A product in the store and in the tree.
#[derive(Clone, Debug, FromRow)]
pub struct StoredProduct {
    /// Product.
    pub id: ProductId,
    /// Folder below the root of products.
    pub folder: String,
    /// File name.
    pub name: String,
    /// sha256 of the file: its name in the store.
    pub sha256: String,
    /// State.
    pub state: String,
}

impl Catalogue {
    /// Products of one PRO CATG (with the arm) that could serve as masters, by time.
    pub async fn product_candidates(&self, catg: &str) -> Result<Vec<ProductCandidate>> {
        sqlx::query_as(
            "SELECT p.id, p.set_id, p.name, p.keys, p.mjd, s.mjd_first, p.verdict, p.state, p.state_why, p.sha256
             FROM product p JOIN frame_set s ON s.id = p.set_id
             WHERE p.catg = ?1 AND p.state IN ('current', 'bad', 'stale') ORDER BY p.mjd, p.id",
        )
        .bind(catg)
        .fetch_all(self.reader())
        .await
        .during("list candidate masters")
    }

    /// Sets of a recipe and arm whose job has not ended: masters that may still come.
    pub async fn pending_candidates(&self, recipe: &str, arm: &str) -> Result<Vec<PendingCandidate>> {
        sqlx::query_as(
            "SELECT s.id AS set_id, s.name, s.keys, s.mjd_last AS mjd, s.mjd_first, coalesce(j.state, s.state) AS state,
                    coalesce(nullif(j.waits_for, ''), nullif(j.error, ''), s.why) AS why
             FROM frame_set s
             LEFT JOIN job j ON j.id = (SELECT max(id) FROM job WHERE set_id = s.id AND state <> 'superseded')
             WHERE s.recipe = ?1 AND s.arm = ?2 AND s.state IN ('open', 'complete', 'partial') AND s.n_frames > 0
               AND (j.id IS NULL OR j.state IN ('waiting', 'ready', 'running'))
             ORDER BY s.mjd_last, s.id",
        )
        .bind(recipe)
        .bind(arm)
        .fetch_all(self.reader())
        .await
        .during("list masters to come")
    }

    /// Raw frames that these products were made of, oldest first, each once.
    pub async fn frames_of_products(&self, products: &[ProductId]) -> Result<Vec<VersionId>> {
        let ids: Vec<i64> = products.iter().map(|product| product.0).collect();
        let list = serde_json::to_string(&ids)
            .map_err(|source| CatalogueError::Content { what: "list of products", source })?;
        sqlx::query_scalar(
            "SELECT v.id FROM frame_version v JOIN frame f ON f.id = v.frame_id
             WHERE v.id IN (SELECT i.version_id FROM product p JOIN job_input i ON i.job_id = p.job_id
                            WHERE i.role = 'raw' AND i.used = 1 AND p.id IN (SELECT value FROM json_each(?1)))
             ORDER BY v.date_obs_us, f.data_id",
        )
        .bind(list)
        .fetch_all(self.reader())
        .await
        .during("list the frames of products")
    }

    /// Jobs of a set, before this one, that made products: a later one makes a new revision of them.
    pub async fn earlier_revisions(&self, set: SetId, job: JobId) -> Result<i64> {
        sqlx::query_scalar("SELECT count(DISTINCT job_id) FROM product WHERE set_id = ?1 AND job_id < ?2")
            .bind(set)
            .bind(job)
            .fetch_one(self.reader())
            .await
            .during("count revisions")
    }

    /// Every product that should be in the tree now.
    pub async fn products_in_tree(&self) -> Result<Vec<StoredProduct>> {
        sqlx::query_as(
            "SELECT id, folder, CASE WHEN prodcatg = '' THEN name ELSE archive_name END AS name, sha256, state FROM product
             WHERE state IN ('current', 'bad', 'stale') ORDER BY id",
        )
        .fetch_all(self.reader())
        .await
        .during("list the tree of products")
    }

    /// The products of a job that the tree should show.
    pub async fn products_of(&self, job: JobId) -> Result<Vec<StoredProduct>> {
        sqlx::query_as(
            "SELECT id, folder, CASE WHEN prodcatg = '' THEN name ELSE archive_name END AS name, sha256, state FROM product
             WHERE job_id = ?1 AND state IN ('current', 'bad', 'stale')",
        )
        .bind(job)
        .fetch_all(self.reader())
        .await
        .during("list the products of a job")
    }

    /// Phase 3 files that were replaced: each revision has a name of its own in the tree, so the next does not take its
    /// place there.
    pub async fn replaced_in_tree(&self) -> Result<Vec<StoredProduct>> {
        sqlx::query_as(
            "SELECT id, folder, archive_name AS name, sha256, state FROM product
             WHERE state = 'superseded' AND prodcatg <> '' ORDER BY id",
        )
        .fetch_all(self.reader())
        .await
        .during("list what was replaced in the tree")
    }

    /// Is a file of this digest known as a product?
    pub async fn knows_product(&self, sha256: &str) -> Result<bool> {
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM product WHERE sha256 = ?1)")
            .bind(sha256)
            .fetch_one(self.reader())
            .await
            .during("look for a product")
    }

    /// sha256 of a product's file.
    pub async fn product_digest(&self, product: ProductId) -> Result<String> {
        sqlx::query_scalar("SELECT sha256 FROM product WHERE id = ?1")
            .bind(product)
            .fetch_one(self.reader())
            .await
            .during("read a product")
    }
}

impl WriteTx {
    /// Record a product. An older product at the same place in the tree is superseded; sets that used it are marked.
    /// The same bytes made again are the product that was there before, but for a Phase 3 file that claims another name: others
    /// name it by that, and a picture may well look the same after another reduction.
    pub async fn put_product(
        &mut self,
        job: JobId,
        set: SetId,
        product: &NewProduct,
        verdict: Verdict,
    ) -> Result<ProductId> {
        let same: Option<ProductId> =
            sqlx::query_scalar(
                "SELECT id FROM product WHERE folder = ?1 AND name = ?2 AND sha256 = ?3 AND archive_name = coalesce(?4, archive_name)",
            )
                .bind(&product.folder)
                .bind(&product.name)
                .bind(&product.digests.sha256)
                .bind(product.claim.as_ref().map(|claim| claim.archive_name.as_str()))
                .fetch_optional(&mut *self.tx)
                .await
                .during("look for the same product")?;
        let revision: i64 =
            sqlx::query_scalar("SELECT coalesce(max(revision), 0) + 1 FROM product WHERE folder = ?1 AND name = ?2")
                .bind(&product.folder)
                .bind(&product.name)
                .fetch_one(&mut *self.tx)
                .await
                .during("number a revision")?;
        let why = format!("replaced by a product made from other inputs, job {job}");
        let older: Vec<ProductId> = sqlx::query_scalar(
            "SELECT id FROM product WHERE folder = ?1 AND name = ?2 AND state IN ('current', 'stale', 'bad') AND id IS NOT ?3",
        )
        .bind(&product.folder)
        .bind(&product.name)
        .bind(same)
        .fetch_all(&mut *self.tx)
        .await
        .during("look for the product to replace")?;
        for old in older {
            self.set_product_state(old, "superseded", &why).await?;
            self.cancel_deliveries(old, &why).await?;
        }
        if let Some(same) = same {
            self.revive_product(same, verdict).await?;
            return Ok(same);
        }
        let claim = product.claim.as_ref();
        let archive_name = match claim {
            // The same job with another version of the program: its name is that of what it made before.
            Some(claim) if self.is_archived(&claim.archive_name).await? => archive_name(&claim.archive_name, revision),
            Some(claim) => claim.archive_name.clone(),
            None => archive_name(&product.name, revision),
        };
        let findings = claim.map(|claim| serde_json::Value::from(claim.findings.clone()).to_string());
        sqlx::query_scalar(
            "INSERT INTO product (job_id, set_id, catg, arm, night, name, folder, archive_name, revision, sha256, md5, crc32,
                 crc32c, size, keys, mjd, verdict, state, n_combined, created_us, prodcatg, findings)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, 'current', ?18, ?19, ?20, ?21)
             RETURNING id",
        )
        .bind(job)
        .bind(set)
        .bind(&product.catg)
        .bind(&product.arm)
        .bind(&product.night)
        .bind(&product.name)
        .bind(&product.folder)
        .bind(archive_name)
        .bind(revision)
        .bind(&product.digests.sha256)
        .bind(&product.digests.md5)
        .bind(i64::from(product.digests.crc32))
        .bind(i64::from(product.digests.crc32c))
        .bind(product.digests.size as i64)
        .bind(&product.keys)
        .bind(product.mjd)
        .bind(verdict.as_str())
        .bind(product.n_combined)
        .bind(self.now_us)
        .bind(claim.map_or("", |claim| claim.prodcatg.as_str()))
        .bind(findings.unwrap_or_else(|| "[]".to_string()))
        .fetch_one(&mut *self.tx)
        .await
        .during("record a product")
    }

    async fn is_archived(&mut self, name: &str) -> Result<bool> {
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM product WHERE archive_name = ?1)")
            .bind(name)
            .fetch_one(&mut *self.tx)
            .await
            .during("look for a name in the archive")
    }

    async fn revive_product(&mut self, product: ProductId, verdict: Verdict) -> Result<()> {
        sqlx::query(
            "UPDATE product SET state = 'current', state_why = '', verdict = ?2 WHERE id = ?1 AND state <> 'bad'",
        )
        .bind(product)
        .bind(verdict.as_str())
        .execute(&mut *self.tx)
        .await
        .during("take a product back into use")
        .map(|_| ())
    }

    /// Change the state of a product and mark every set that used it as a master.
    pub async fn set_product_state(&mut self, product: ProductId, state: &'static str, why: &str) -> Result<()> {
        sqlx::query("UPDATE product SET state = ?2, state_why = ?3 WHERE id = ?1")
            .bind(product)
            .bind(state)
            .bind(why)
            .execute(&mut *self.tx)
            .await
            .during("change a product's state")?;
        sqlx::query(
            "UPDATE frame_set SET dirty = dirty + 1 WHERE id IN (
                 SELECT j.set_id FROM job_input i JOIN job j ON j.id = i.job_id
                 WHERE i.product_id = ?1 AND j.state <> 'superseded')",
        )
        .bind(product)
        .execute(&mut *self.tx)
        .await
        .during("mark the users of a product")
        .map(|_| ())
    }

    /// All current products of a job change state together.
    pub(super) async fn retire_products(&mut self, job: JobId, state: &'static str, why: &str) -> Result<()> {
        let products: Vec<ProductId> =
            sqlx::query_scalar("SELECT id FROM product WHERE job_id = ?1 AND state IN ('current', 'bad')")
                .bind(job)
                .fetch_all(&mut *self.tx)
                .await
                .during("list the products of a job")?;
        for product in products {
            self.set_product_state(product, state, why).await?;
        }
        Ok(())
    }

    /// Sets that a new master could serve must be planned again: sets of these recipes in its reach, but for those that
    /// have chosen enough newer masters with the same keys.
    pub async fn dirty_sets_for(&mut self, master: &NewProduct, recipes: &[String], reach: Reach) -> Result<()> {
        for recipe in recipes {
            sqlx::query(
                "UPDATE frame_set SET dirty = dirty + 1
                 WHERE recipe = ?1 AND (arm = ?2 OR follows IS NOT NULL) AND mjd_last >= ?3 AND mjd_first <= ?7
                   AND n_frames > 0 AND ?8 > (
                     SELECT count(*) FROM job j JOIN candidate c ON c.job_id = j.id JOIN product p ON p.id = c.product_id
                     WHERE j.set_id = frame_set.id AND j.state <> 'superseded' AND c.need = ?4 AND c.verdict = 'chosen'
                       AND p.keys = ?5 AND p.mjd > ?6)",
            )
            .bind(recipe)
            .bind(&master.arm)
            .bind(reach.from_mjd)
            .bind(&master.catg)
            .bind(&master.keys)
            .bind(master.mjd)
            .bind(reach.to_mjd)
            .bind(reach.enough)
            .execute(&mut *self.tx)
            .await
            .during("mark the sets that a master could serve")?;
        }
        Ok(())
    }

    /// The sets that could use what a set makes must be planned again, because it makes nothing. From a day before it:
    /// partners of one night may come in any order.
    pub async fn dirty_users_of(&mut self, maker: SetId, recipes: &[String]) -> Result<()> {
        let maker: Option<(String, f64)> = sqlx::query_as("SELECT arm, mjd_first FROM frame_set WHERE id = ?1")
            .bind(maker)
            .fetch_optional(&mut *self.tx)
            .await
            .during("read a set")?;
        let Some((arm, mjd)) = maker else { return Ok(()) };
        for recipe in recipes {
            sqlx::query(
                "UPDATE frame_set SET dirty = dirty + 1
                 WHERE recipe = ?1 AND (arm = ?2 OR follows IS NOT NULL) AND mjd_last >= ?3 AND n_frames > 0",
            )
            .bind(recipe)
            .bind(&arm)
            .bind(mjd - 1.0)
            .execute(&mut *self.tx)
            .await
            .during("mark the sets that wait for a master")?;
        }
        Ok(())
    }

    /// Record a metric of a job.
    pub async fn put_qc(&mut self, job: JobId, recipe: &str, at_us: i64, judged: &JudgedMetric) -> Result<()> {
        let (value, absent) = match &judged.metric.value {
            QcValue::Measured(value) => (Some(*value), ""),
            QcValue::Absent(reason) => (None, reason.as_str()),
        };
        sqlx::query(
            "INSERT INTO qc (job_id, recipe, name, qc_order, value, absent, unit, comment, verdict, min, max, at_us, made_us)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
             ON CONFLICT (job_id, name, qc_order) DO UPDATE SET value = excluded.value, absent = excluded.absent,
                 verdict = excluded.verdict, min = excluded.min, max = excluded.max, made_us = excluded.made_us",
        )
        .bind(job)
        .bind(recipe)
        .bind(&judged.metric.name)
        .bind(&judged.metric.order)
        .bind(value)
        .bind(absent)
        .bind(&judged.metric.unit)
        .bind(&judged.metric.comment)
        .bind(judged.verdict.as_str())
        .bind(judged.min)
        .bind(judged.max)
        .bind(at_us)
        .bind(self.now_us)
        .execute(&mut *self.tx)
        .await
        .during("record a metric")
        .map(|_| ())
    }

    /// Remarks of the recipe.
    pub async fn put_remarks(&mut self, job: JobId, remarks: &str) -> Result<()> {
        sqlx::query("UPDATE job SET remarks = ?2 WHERE id = ?1")
            .bind(job)
            .bind(remarks)
            .execute(&mut *self.tx)
            .await
            .during("record remarks")
            .map(|_| ())
    }
}

/// Unique for all time: the first revision keeps the name of the tree, later ones say which they are.
fn archive_name(name: &str, revision: i64) -> String {
    match (revision, name.rsplit_once('.')) {
        (1, _) => name.to_string(),
        (_, Some((stem, suffix))) => format!("{stem}_R{revision}.{suffix}"),
        (_, None) => format!("{name}_R{revision}"),
    }
}
