//! Products with their verdict and where they have been delivered.

use serde::Serialize;
use sqlx::FromRow;

use super::{Filter, Select};
use crate::catalogue::{Catalogue, During, Result};

/// A product.
#[derive(Clone, Debug, Serialize, FromRow, utoipa::ToSchema)]
pub struct ProductRow {
    /// Row id.
    pub id: i64,
    /// File name in the tree of products.
    pub name: String,
    /// Folder below the root of products.
    pub folder: String,
    /// Name in archives, unique for all time.
    pub archive_name: String,
    /// Revision of this name, from 1.
    pub revision: i64,
    /// PRO CATG with the arm.
    pub catg: String,
    /// Recipe.
    pub recipe: String,
    /// Arm.
    pub arm: String,
    /// Night.
    pub night: String,
    /// Row id of the set that it was made of.
    pub set_id: i64,
    /// Row id of the job that made it.
    pub job_id: i64,
    /// `pass`, `warn` or `fail`.
    pub verdict: String,
    /// `current`, `stale`, `superseded` or `bad`.
    pub state: String,
    /// Why it is not current; empty when there is nothing to say.
    pub state_why: String,
    /// Frames combined.
    pub n_combined: i64,
    /// Bytes.
    pub size: i64,
    /// sha256.
    pub sha256: String,
    /// What it claims before ESO's archive (PRODCATG); empty for a product without a Phase 3 claim.
    pub prodcatg: String,
    /// What the validator objected to: JSON, one text a breach.
    pub findings: String,
    /// Name in archives of the revision that it replaces; empty when it is the first.
    pub replaces: String,
    /// Deliveries as `sink: state`, joined by commas; empty when there is none.
    pub deliveries: String,
    /// When it was made.
    pub created_us: i64,
}

const SELECT: &str =
    "SELECT p.id, p.name, p.folder, p.archive_name, p.revision, p.catg, j.recipe, p.arm, p.night, p.set_id, p.job_id,
                    p.verdict, p.state, p.state_why, p.n_combined, p.size, p.sha256,
                    p.prodcatg, p.findings,
                    coalesce((SELECT archive_name FROM product q WHERE q.folder = p.folder AND q.name = p.name
                        AND q.revision < p.revision ORDER BY q.revision DESC LIMIT 1), '') AS replaces,
                    coalesce((SELECT group_concat(sink || ': ' || state, ', ') FROM (
                        SELECT sink, state FROM delivery WHERE product_id = p.id ORDER BY sink)), '') AS deliveries,
                    p.created_us
             FROM product p JOIN job j ON j.id = p.job_id";

impl Catalogue {
    /// Products, newest first. Superseded ones are listed only when asked for by state.
    pub async fn products(&self, filter: &Filter) -> Result<Vec<ProductRow>> {
        Select::new(SELECT)
            .equal("p.night", filter.night.as_deref())
            .arm("p.arm", filter)
            .any_equal(&["p.state", "p.verdict"], filter.state.as_deref())
            .only("p.state <> 'superseded'", filter.state.is_none())
            .equal("j.recipe", filter.recipe.as_deref())
            .any_contains(&["p.name", "p.catg"], filter.text.as_deref())
            .page("p.id", filter)
            .build_query_as()
            .fetch_all(self.reader())
            .await
            .during("list products")
    }

    /// A product by its row id.
    pub async fn product_row(&self, id: i64) -> Result<Option<ProductRow>> {
        Select::new(SELECT)
            .id("p.id", id)
            .builder
            .build_query_as()
            .fetch_optional(self.reader())
            .await
            .during("read a product")
    }

    /// Every product of a set, its replaced revisions left out.
    pub async fn products_of_set(&self, id: i64) -> Result<Vec<ProductRow>> {
        Select::new(SELECT)
            .id("p.set_id", id)
            .only("p.state <> 'superseded'", true)
            .builder
            .push(" ORDER BY p.id")
            .build_query_as()
            .fetch_all(self.reader())
            .await
            .during("list the products of a set")
    }
}
