//! A hand-over folder that another system empties, as an observatory's transfer system does.
//!
//! The contract with that system, the consumer:
//! - `NAME` appears whole, then `NAME.manifest.json` appears whole. A file without its manifest is none of the
//!   consumer's business yet. Names that begin with a dot are never its business.
//! - The manifest says name, size, md5, sha256, crc32, crc32c (decimal), catg, arm, night and product.
//! - The consumer takes `NAME` first. Before it removes the manifest, it leaves `NAME.ack.json` with `size` and at least
//!   one of `sha256`, `md5`, `crc32`, `crc32c`, computed from what it has taken.
//! - It may also leave everything in place: then the folder itself is the record, and the file is read back.
//!
//! So an item counts as delivered when its file lies there equal with its manifest, or when an acknowledgement of equal
//! size and checksum lies there. An item that was taken without one is waited for, and after a time a person is asked.
//! `.offered/NAME.json` is our own note, made before the manifest appears: it tells what was taken away from what was never
//! handed over.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::SinkError;
use super::archive::{Act, Archive, Offer, Receipt, Record};
use super::error::io;
use super::folder::{blocking, copy_new, plain_name, probe, read_back, write_text};
use crate::catalogue::deliveries::ArchiveItem;

/// The archive.
pub struct Spool {
    path: PathBuf,
}

/// What the consumer is told of an item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// File name.
    pub name: String,
    /// Bytes.
    pub size: i64,
    /// MD5.
    pub md5: String,
    /// SHA-256.
    pub sha256: String,
    /// CRC-32 of IEEE 802.3.
    pub crc32: i64,
    /// CRC-32C.
    pub crc32c: i64,
    /// PRO CATG with the arm.
    pub catg: String,
    /// Arm.
    pub arm: String,
    /// Night.
    pub night: String,
    /// Product in the catalogue.
    pub product: i64,
}

/// What the consumer says of an item that it has taken. Further keys are its own.
#[derive(Clone, Debug, Deserialize)]
struct Ack {
    size: i64,
    sha256: Option<String>,
    md5: Option<String>,
    crc32: Option<i64>,
    crc32c: Option<i64>,
}

/// Paths of one item.
#[derive(Clone)]
struct Places {
    file: PathBuf,
    manifest: PathBuf,
    ack: PathBuf,
    note: PathBuf,
}

impl Spool {
    /// A hand-over folder.
    pub fn new(path: &Path) -> Spool {
        Spool { path: path.to_path_buf() }
    }

    fn places(&self, item: &ArchiveItem) -> Result<Places, SinkError> {
        let name = plain_name(&item.key)?;
        Ok(Places {
            file: self.path.join(name),
            manifest: self.path.join(format!("{name}.manifest.json")),
            ack: self.path.join(format!("{name}.ack.json")),
            note: self.path.join(".offered").join(format!("{name}.json")),
        })
    }
}

impl Archive for Spool {
    fn ready(&self) -> Act<'_, ()> {
        let path = self.path.clone();
        Box::pin(blocking(move || probe(&path)))
    }

    fn look_up<'a>(&'a self, item: &'a ArchiveItem) -> Act<'a, Record> {
        Box::pin(async move {
            let (places, item) = (self.places(item)?, item.clone());
            blocking(move || look_up(&item, &places)).await
        })
    }

    fn offer<'a>(&'a self, item: &'a ArchiveItem, file: &'a Path) -> Act<'a, Offer> {
        Box::pin(async move {
            let (places, item, file) = (self.places(item)?, item.clone(), file.to_path_buf());
            blocking(move || offer(&item, &file, &places)).await
        })
    }
}

fn look_up(item: &ArchiveItem, places: &Places) -> Result<Record, SinkError> {
    if let Some(text) = read_text(&places.ack)? {
        return Ok(compare_ack(item, &places.ack, &text));
    }
    let manifest = exists(&places.manifest)?;
    match (read_back(item, &places.file)?, manifest, exists(&places.note)?) {
        (Record::Conflict(found), _, _) => Ok(Record::Conflict(found)),
        (Record::Equal(receipt), true, _) => Ok(Record::Equal(receipt)),
        // The consumer takes the file first, so this one was never announced.
        (_, false, false) | (Record::Equal(_), false, true) => Ok(Record::Absent),
        // The look at the note came last: had the acknowledgement come in between, the next look finds it.
        _ => Ok(Record::NotYet(format!(
            "{} was taken from the spool and not acknowledged; {} with its size and checksum is waited for",
            item.key,
            places.ack.display()
        ))),
    }
}

fn offer(item: &ArchiveItem, file: &Path, places: &Places) -> Result<Offer, SinkError> {
    if !copy_new(item, file, &places.file)? {
        // Left by a run that was cut off before the manifest. Whose it is, the bytes say.
        match read_back(item, &places.file)? {
            Record::Equal(_) => {}
            other => return Ok(Offer::Unknown(format!("{} appeared meanwhile: {other:?}", places.file.display()))),
        }
    }
    let manifest = Manifest {
        name: item.key.clone(),
        size: item.size,
        md5: item.md5.clone(),
        sha256: item.sha256.clone(),
        crc32: item.crc32,
        crc32c: item.crc32c,
        catg: item.catg.clone(),
        arm: item.arm.clone(),
        night: item.night.clone(),
        product: item.product_id.0,
    };
    let text = serde_json::to_string_pretty(&manifest)
        .map_err(|error| SinkError::Broken { reason: format!("cannot write the manifest of {}: {error}", item.key) })?;
    write_text(&places.note, &text)?;
    write_text(&places.manifest, &text)?;
    Ok(Offer::Answered(receipt(item, &places.file)))
}

fn compare_ack(item: &ArchiveItem, path: &Path, text: &str) -> Record {
    let ack: Ack = match serde_json::from_str(text) {
        Ok(ack) => ack,
        // The consumer may still be writing it.
        Err(error) => {
            return Record::NotYet(format!("the acknowledgement {} cannot be read: {error}", path.display()));
        }
    };
    let pairs = [
        ack.sha256.map(|found| found.eq_ignore_ascii_case(&item.sha256)),
        ack.md5.map(|found| found.eq_ignore_ascii_case(&item.md5)),
        ack.crc32.map(|found| found == item.crc32),
        ack.crc32c.map(|found| found == item.crc32c),
    ];
    let given: Vec<bool> = pairs.into_iter().flatten().collect();
    if ack.size == item.size && !given.is_empty() && given.iter().all(|equal| *equal) {
        Record::Equal(receipt(item, path))
    } else {
        Record::Conflict(format!(
            "the acknowledgement {} does not agree with {} bytes, sha256 {}: {}",
            path.display(),
            item.size,
            item.sha256,
            text.trim()
        ))
    }
}

fn receipt(item: &ArchiveItem, place: &Path) -> Receipt {
    Receipt {
        id: item.key.clone(),
        version: 1,
        size: item.size.unsigned_abs(),
        checksum_kind: "sha256".to_string(),
        checksum: item.sha256.clone(),
        place: place.display().to_string(),
    }
}

fn exists(path: &Path) -> Result<bool, SinkError> {
    path.try_exists().map_err(io("look for", path))
}

fn read_text(path: &Path) -> Result<Option<String>, SinkError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io("read", path)(error)),
    }
}
