//! What the calibration plan is made of: the set-ups that were used lately, and the masters that there are.

use sqlx::FromRow;

use crate::catalogue::{Catalogue, During, Result};

/// A set-up that was used.
#[derive(Clone, Debug, FromRow)]
pub struct UsedSetup {
    /// Recipe.
    pub recipe: String,
    /// Arm.
    pub arm: String,
    /// Match keys, JSON.
    pub keys: String,
    /// Sets of it.
    pub sets: i64,
    /// Start of the newest, MJD.
    pub mjd: f64,
}

/// The newest master of a category and set-up.
#[derive(Clone, Debug, FromRow)]
pub struct NewestMaster {
    /// Row id.
    pub id: i64,
    /// Name.
    pub name: String,
    /// Row id of its set.
    pub set_id: i64,
    /// PRO CATG with the arm.
    pub catg: String,
    /// Match keys, JSON.
    pub keys: String,
    /// Time of its last raw frame, MJD.
    pub mjd: f64,
    /// Verdict.
    pub verdict: String,
}

impl Catalogue {
    /// Set-ups of the sets that began after `since` (MJD), by recipe and arm.
    pub async fn used_setups(&self, since: f64) -> Result<Vec<UsedSetup>> {
        sqlx::query_as(
            "SELECT recipe, arm, keys, count(*) AS sets, max(mjd_first) AS mjd FROM frame_set
             WHERE mjd_first >= ?1 AND state <> 'empty' GROUP BY recipe, arm, keys ORDER BY recipe, arm, keys",
        )
        .bind(since)
        .fetch_all(self.reader())
        .await
        .during("list the set-ups in use")
    }

    /// Start of the newest set, MJD; none of an empty catalogue.
    pub async fn newest_set_mjd(&self) -> Result<Option<f64>> {
        sqlx::query_scalar("SELECT max(mjd_first) FROM frame_set")
            .fetch_one(self.reader())
            .await
            .during("look for the newest set")
    }

    /// The newest current product of each set-up of a category that may serve as a master.
    pub async fn newest_masters(&self, catg: &str) -> Result<Vec<NewestMaster>> {
        sqlx::query_as(
            "SELECT p.id, p.name, p.set_id, p.catg, p.keys, max(p.mjd) AS mjd, p.verdict FROM product p
             WHERE p.catg = ?1 AND p.state = 'current' AND p.verdict <> 'fail' GROUP BY p.keys ORDER BY p.keys",
        )
        .bind(catg)
        .fetch_all(self.reader())
        .await
        .during("list the newest masters")
    }
}
