//! What an archive is to the outbox: something that can be asked for its own record of an item, and offered a file.
//!
//! What never lives here: states and retries ([`super::outbox`]) and the ways of any one archive.

use std::path::Path;
use std::pin::Pin;

use serde::{Deserialize, Serialize};

use super::SinkError;
use crate::catalogue::deliveries::ArchiveItem;

/// What an archive does, or why it could not.
pub type Act<'a, T> = Pin<Box<dyn Future<Output = Result<T, SinkError>> + Send + 'a>>;

/// The other side's own record of an item.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Identifier there.
    pub id: String,
    /// Version there; 1 unless it was archived before.
    pub version: u64,
    /// Bytes.
    pub size: u64,
    /// Kind of checksum: `sha256`, `crc32`, `crc32c`...
    pub checksum_kind: String,
    /// Checksum as the other side writes it.
    pub checksum: String,
    /// Where it lies there.
    pub place: String,
}

/// What the other side's own record says of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// It does not know the item.
    Absent,
    /// It holds the item with equal size and checksum.
    Equal(Receipt),
    /// It holds something else under that name, and what.
    Conflict(String),
    /// It has accepted the item and has not stored it yet, and what is waited for.
    NotYet(String),
}

/// What became of an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offer {
    /// Taken, says the answer. Only a look-up confirms it.
    Answered(Receipt),
    /// Taken, to be stored later; its own words.
    Buffered(String),
    /// No telling whether it was taken, and why.
    Unknown(String),
}

/// An archive. Calls are made one after the other; each may be cut off at any moment.
pub trait Archive: Send + Sync {
    /// Can it take items now?
    fn ready(&self) -> Act<'_, ()>;

    /// Read the archive's own record of an item.
    fn look_up<'a>(&'a self, item: &'a ArchiveItem) -> Act<'a, Record>;

    /// Hand over an item, whose bytes lie in `file`. Fails only when nothing was taken.
    fn offer<'a>(&'a self, item: &'a ArchiveItem, file: &'a Path) -> Act<'a, Offer>;
}
