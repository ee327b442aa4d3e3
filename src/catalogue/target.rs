//! What an operator means by a name: file, frame, set, product, job, delivery or night.
//!
//! Exact names and `kind:id` come first; when nothing has that name, a part of a name is looked for. An act never guesses:
//! it takes exact names only.

use serde::Serialize;
use sqlx::FromRow;

use super::views::like_pattern;
use super::{Catalogue, During, Result};
use crate::instrument::Night;

/// Most matches that are listed.
const MOST_MATCHES: i64 = 20;

/// One thing in the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A file and the frame that it carries, by the file's row id.
    Frame(i64),
    /// A set.
    Set(i64),
    /// A product.
    Product(i64),
    /// A job.
    Job(i64),
    /// A delivery.
    Delivery(i64),
    /// Everything of a night.
    Night(String),
}

impl std::fmt::Display for Target {
    /// The form that is understood everywhere: `set:12`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::Frame(id) => write!(f, "frame:{id}"),
            Target::Set(id) => write!(f, "set:{id}"),
            Target::Product(id) => write!(f, "product:{id}"),
            Target::Job(id) => write!(f, "job:{id}"),
            Target::Delivery(id) => write!(f, "delivery:{id}"),
            Target::Night(night) => write!(f, "night:{night}"),
        }
    }
}

/// Something that fits a name.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Match {
    /// As it can be given instead: `set:12`.
    pub target: String,
    /// Its name.
    pub name: String,
    /// What tells it from the others: path, arm, state.
    pub detail: String,
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq)]
pub enum Resolution {
    /// This.
    One(Target),
    /// Several things; the caller must say which.
    Several(Vec<Match>),
    /// Nothing has this name; these contain it.
    Nothing(Vec<Match>),
}

#[derive(FromRow)]
struct FileMatch {
    id: i64,
    path: String,
    name: String,
    state: String,
    frame_id: Option<i64>,
    arm: Option<String>,
}

#[derive(FromRow)]
struct ProductMatch {
    id: i64,
    folder: String,
    name: String,
    state: String,
    revision: i64,
}

type Found = (Target, Match);

impl Catalogue {
    /// What `text` stands for: `kind:id`, a night, a path, a file name, a data id, a set's or a product's name.
    pub async fn resolve(&self, text: &str) -> Result<Resolution> {
        if let Some(target) = parse(text) {
            return Ok(if self.exists(&target).await? {
                Resolution::One(target)
            } else {
                Resolution::Nothing(Vec::new())
            });
        }
        let exact = self.exact_matches(text).await?;
        if !exact.is_empty() {
            return Ok(one_or_several(exact));
        }
        let partial = self.partial_matches(text).await?;
        Ok(Resolution::Nothing(partial.into_iter().map(|(_, found)| found).collect()))
    }

    /// As [`Catalogue::resolve`]; a part of a name that fits one thing only stands for it.
    pub(super) async fn resolve_leniently(&self, text: &str) -> Result<Resolution> {
        match self.resolve(text).await? {
            Resolution::Nothing(matches) if matches.is_empty() => Ok(Resolution::Nothing(matches)),
            Resolution::Nothing(_) => Ok(one_or_several(self.partial_matches(text).await?)),
            found => Ok(found),
        }
    }

    async fn exists(&self, target: &Target) -> Result<bool> {
        let query = match target {
            Target::Frame(id) => sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM file WHERE id = ?1)").bind(*id),
            Target::Set(id) => sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM frame_set WHERE id = ?1)").bind(*id),
            Target::Product(id) => sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM product WHERE id = ?1)").bind(*id),
            Target::Job(id) => sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM job WHERE id = ?1)").bind(*id),
            Target::Delivery(id) => {
                sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM delivery WHERE id = ?1)").bind(*id)
            }
            Target::Night(night) => {
                sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM file_account WHERE night = ?1)").bind(night.clone())
            }
        };
        query.fetch_one(self.reader()).await.during("look for a name")
    }

    async fn exact_matches(&self, text: &str) -> Result<Vec<Found>> {
        let name = text.rsplit('/').next().unwrap_or(text);
        let files: Vec<FileMatch> = sqlx::query_as(
            "SELECT f.id, f.path, f.name, f.state, fr.id AS frame_id, fr.arm FROM file f
             LEFT JOIN frame_version v ON v.id = f.version_id LEFT JOIN frame fr ON fr.id = v.frame_id
             WHERE f.id IN (
                 SELECT id FROM file WHERE path = ?1 UNION SELECT id FROM file WHERE name = ?1
                 UNION SELECT w.id FROM frame g JOIN frame_version u ON u.frame_id = g.id JOIN file w ON w.version_id = u.id
                 WHERE g.data_id = ?1)
             ORDER BY f.path LIMIT ?2",
        )
        .bind(text)
        .bind(MOST_MATCHES)
        .fetch_all(self.reader())
        .await
        .during("look for a file")?;
        let sets: Vec<(i64, String, String)> = sqlx::query_as(
            "SELECT id, name, state FROM frame_set WHERE name = ?1 AND state <> 'empty' ORDER BY id LIMIT ?2",
        )
        .bind(text)
        .bind(MOST_MATCHES)
        .fetch_all(self.reader())
        .await
        .during("look for a set")?;
        let products: Vec<ProductMatch> = sqlx::query_as(
            "SELECT id, folder, name, state, revision FROM product WHERE name = ?1 OR archive_name = ?1
             ORDER BY folder, state = 'superseded', revision DESC LIMIT ?2",
        )
        .bind(name)
        .bind(MOST_MATCHES)
        .fetch_all(self.reader())
        .await
        .during("look for a product")?;
        let mut found = one_carrier(text, files);
        found.extend(sets.into_iter().map(set_match));
        found.extend(present_revisions(text, products));
        Ok(found)
    }

    async fn partial_matches(&self, text: &str) -> Result<Vec<Found>> {
        let pattern = like_pattern(text);
        let files: Vec<FileMatch> = sqlx::query_as(
            r"SELECT id, path, name, state, frame_id, arm FROM file_account
              WHERE path LIKE ?1 ESCAPE '\' OR data_id LIKE ?1 ESCAPE '\' ORDER BY path LIMIT ?2",
        )
        .bind(&pattern)
        .bind(MOST_MATCHES)
        .fetch_all(self.reader())
        .await
        .during("look for files")?;
        let sets: Vec<(i64, String, String)> = sqlx::query_as(
            r"SELECT id, name, state FROM frame_set WHERE name LIKE ?1 ESCAPE '\' AND state <> 'empty' ORDER BY id LIMIT ?2",
        )
        .bind(&pattern)
        .bind(MOST_MATCHES)
        .fetch_all(self.reader())
        .await
        .during("look for sets")?;
        let products: Vec<ProductMatch> = sqlx::query_as(
            r"SELECT id, folder, name, state, revision FROM product WHERE name LIKE ?1 ESCAPE '\' AND state <> 'superseded'
              ORDER BY folder, name LIMIT ?2",
        )
        .bind(&pattern)
        .bind(MOST_MATCHES)
        .fetch_all(self.reader())
        .await
        .during("look for products")?;
        let mut found: Vec<Found> = files.into_iter().map(file_match).collect();
        found.extend(sets.into_iter().map(set_match));
        found.extend(products.into_iter().map(product_match));
        Ok(found)
    }
}

/// `kind:id`, `night:DATE` or a bare date.
fn parse(text: &str) -> Option<Target> {
    if Night::parse(text).is_some() {
        return Some(Target::Night(text.to_string()));
    }
    let (kind, rest) = text.split_once(':')?;
    let id = rest.parse::<i64>().ok();
    match (kind, id) {
        ("frame" | "file", Some(id)) => Some(Target::Frame(id)),
        ("set", Some(id)) => Some(Target::Set(id)),
        ("product", Some(id)) => Some(Target::Product(id)),
        ("job", Some(id)) => Some(Target::Job(id)),
        ("delivery", Some(id)) => Some(Target::Delivery(id)),
        ("night", _) => Night::parse(rest).map(|night| Target::Night(night.to_string())),
        _ => None,
    }
}

fn one_or_several(mut found: Vec<Found>) -> Resolution {
    match found.len() {
        1 => found.pop().map_or(Resolution::Nothing(Vec::new()), |(target, _)| Resolution::One(target)),
        _ => Resolution::Several(found.into_iter().map(|(_, found)| found).collect()),
    }
}

/// Several files of one frame stand for the one that carries its content now; a whole path always stands for itself.
fn one_carrier(text: &str, files: Vec<FileMatch>) -> Vec<Found> {
    if let Some(exact) = files.iter().position(|file| file.path == text) {
        return files.into_iter().skip(exact).take(1).map(file_match).collect();
    }
    let frame = files.first().and_then(|file| file.frame_id);
    let same_frame = frame.is_some() && files.iter().all(|file| file.frame_id == frame);
    let carrier = files.iter().position(|file| file.state == "accepted");
    match (same_frame, carrier) {
        (true, Some(carrier)) => files.into_iter().skip(carrier).take(1).map(file_match).collect(),
        (true, None) => files.into_iter().take(1).map(file_match).collect(),
        (false, _) => files.into_iter().map(file_match).collect(),
    }
}

/// Of several revisions at one place in the tree, the present one; of several places, those that a given path ends with.
fn present_revisions(text: &str, products: Vec<ProductMatch>) -> Vec<Found> {
    let mut places = std::collections::BTreeSet::new();
    products
        .into_iter()
        .filter(|product| !text.contains('/') || text.ends_with(&format!("{}/{}", product.folder, product.name)))
        .filter(|product| places.insert((product.folder.clone(), product.name.clone())))
        .map(product_match)
        .collect()
}

fn file_match(file: FileMatch) -> Found {
    let target = Target::Frame(file.id);
    let detail = match file.arm {
        Some(arm) => format!("{arm}, {}, {}", file.state, file.path),
        None => format!("{}, {}", file.state, file.path),
    };
    let found = Match { target: target.to_string(), name: file.name, detail };
    (target, found)
}

fn set_match((id, name, state): (i64, String, String)) -> Found {
    let target = Target::Set(id);
    let found = Match { target: target.to_string(), name, detail: format!("{state} set") };
    (target, found)
}

fn product_match(product: ProductMatch) -> Found {
    let target = Target::Product(product.id);
    let detail = format!("{} product in {}, revision {}", product.state, product.folder, product.revision);
    let found = Match { target: target.to_string(), name: product.name, detail };
    (target, found)
}
