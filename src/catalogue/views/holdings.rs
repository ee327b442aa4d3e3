//! Where the bytes of a frame or product are, for previews and downloads, and the header of a frame as it was taken in.

use sqlx::FromRow;

use crate::catalogue::{Catalogue, During, Result};

/// A raw file.
#[derive(Clone, Debug, FromRow)]
pub struct RawFile {
    /// Absolute path.
    pub path: String,
    /// File name.
    pub name: String,
    /// Size when it was last looked at, bytes.
    pub size: i64,
    /// Modification time when it was last looked at, microseconds.
    pub mtime_us: i64,
    /// Every card, JSON; none when the file could not be read as a frame.
    pub header: Option<String>,
}

/// The pictures of a set.
#[derive(Clone, Debug, FromRow)]
pub struct Pictured {
    /// Stem of the set's files.
    pub name: String,
    /// Night and recipe below the root of the pictures; none before there is a product.
    pub folder: Option<String>,
}

impl Catalogue {
    /// A raw file by its row id.
    pub async fn raw_file(&self, id: i64) -> Result<Option<RawFile>> {
        sqlx::query_as(
            "SELECT f.path, f.name, f.size, f.mtime_us, v.header FROM file f
             LEFT JOIN frame_version v ON v.id = f.version_id WHERE f.id = ?1",
        )
        .bind(id)
        .fetch_optional(self.reader())
        .await
        .during("find a raw file")
    }

    /// Where the pictures of a set are.
    pub async fn pictured(&self, set: i64) -> Result<Option<Pictured>> {
        sqlx::query_as(
            "SELECT name, (SELECT folder FROM product WHERE set_id = s.id ORDER BY id DESC LIMIT 1) AS folder
             FROM frame_set s WHERE id = ?1",
        )
        .bind(set)
        .fetch_optional(self.reader())
        .await
        .during("find the pictures of a set")
    }
}
