//! An archive that is a folder: `<path>/<night>/<name>`, read-only files that appear whole.
//!
//! Its own record of an item is the file itself, read back from disk: size and SHA-256. Nothing is ever overwritten or
//! removed. A folder that is not there is made, so a mount point that is not mounted must not be writable.

use std::path::{Path, PathBuf};

use super::SinkError;
use super::archive::{Act, Archive, Offer, Record};
use super::folder::{blocking, copy_new, plain_name, probe, read_back};
use crate::catalogue::deliveries::ArchiveItem;

/// The archive.
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// An archive in this folder.
    pub fn new(path: &Path) -> Directory {
        Directory { path: path.to_path_buf() }
    }

    fn target(&self, item: &ArchiveItem) -> Result<PathBuf, SinkError> {
        Ok(self.path.join(plain_name(&item.night)?).join(plain_name(&item.key)?))
    }
}

impl Archive for Directory {
    fn ready(&self) -> Act<'_, ()> {
        let path = self.path.clone();
        Box::pin(blocking(move || probe(&path)))
    }

    fn look_up<'a>(&'a self, item: &'a ArchiveItem) -> Act<'a, Record> {
        Box::pin(async move {
            let (target, item) = (self.target(item)?, item.clone());
            blocking(move || read_back(&item, &target)).await
        })
    }

    fn offer<'a>(&'a self, item: &'a ArchiveItem, file: &'a Path) -> Act<'a, Offer> {
        Box::pin(async move {
            let (target, item, file) = (self.target(item)?, item.clone(), file.to_path_buf());
            blocking(move || {
                if !copy_new(&item, &file, &target)? {
                    return Ok(Offer::Unknown(format!("{} appeared meanwhile", target.display())));
                }
                match read_back(&item, &target)? {
                    Record::Equal(receipt) => Ok(Offer::Answered(receipt)),
                    other => Ok(Offer::Unknown(format!("reading back gave {other:?}"))),
                }
            })
            .await
        })
    }
}
