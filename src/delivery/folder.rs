//! What the archives that are folders share: file names that stay inside, copies that appear whole, reading back.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::SinkError;
use super::archive::{Receipt, Record};
use super::error::io;
use super::stored::Stored;
use crate::catalogue::deliveries::ArchiveItem;
use crate::fits::digest::FileDigests;

/// Run blocking work; a panic in it is an error of ours, not the end of the outbox.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SinkError> + Send + 'static,
) -> Result<T, SinkError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panic) => Err(SinkError::Broken { reason: panic.to_string() }),
    }
}

/// A name that is one plain, visible component of a path.
pub(super) fn plain_name(name: &str) -> Result<&str, SinkError> {
    let plain = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0']) && name.len() <= 200;
    if plain { Ok(name) } else { Err(SinkError::Name { key: name.to_string() }) }
}

/// Make a folder and those above it.
pub(super) fn make_folder(folder: &Path) -> Result<(), SinkError> {
    std::fs::create_dir_all(folder).map_err(io("make the folder", folder))
}

/// Can files be made here? An existing folder that cannot be written is found out now and not in the middle of a night.
pub(super) fn probe(folder: &Path) -> Result<(), SinkError> {
    make_folder(folder)?;
    tempfile::Builder::new().prefix(".probe.").tempfile_in(folder).map_err(io("write to", folder)).map(|_| ())
}

/// The record of an item in a folder is the file itself, read back.
pub(super) fn read_back(item: &ArchiveItem, path: &Path) -> Result<Record, SinkError> {
    let found = match FileDigests::of(path) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Record::Absent),
        Err(error) => return Err(io("read back", path)(error)),
    };
    if found.size == item.size.unsigned_abs() && found.sha256 == item.sha256 {
        return Ok(Record::Equal(Receipt {
            id: item.key.clone(),
            version: 1,
            size: found.size,
            checksum_kind: "sha256".to_string(),
            checksum: found.sha256,
            place: path.display().to_string(),
        }));
    }
    Ok(Record::Conflict(format!(
        "{} holds {} bytes with sha256 {}, the product has {} bytes with sha256 {}",
        path.display(),
        found.size,
        found.sha256,
        item.size,
        item.sha256
    )))
}

/// Copy the stored file of an item to `target`, whole or not at all, never over another file. False when a file is
/// there already.
pub(super) fn copy_new(item: &ArchiveItem, from: &Path, target: &Path) -> Result<bool, SinkError> {
    let mut stored = Stored::open(item, from)?;
    let (folder, mut part) = part_of(target)?;
    while let Some(chunk) = stored.chunk()? {
        part.write_all(&chunk).map_err(io("write", target))?;
    }
    publish(part, &folder, target, false)
}

/// Write a small text file, whole or not at all, in place of what is there.
pub(super) fn write_text(target: &Path, text: &str) -> Result<(), SinkError> {
    let (folder, mut part) = part_of(target)?;
    part.write_all(text.as_bytes()).map_err(io("write", target))?;
    publish(part, &folder, target, true).map(|_| ())
}

/// A file in the making beside its target: `.NAME.RANDOM.part`. Those that a crash left behind are removed first; only
/// one process writes here.
fn part_of(target: &Path) -> Result<(PathBuf, tempfile::NamedTempFile), SinkError> {
    let folder = target.parent().unwrap_or(Path::new(".")).to_path_buf();
    make_folder(&folder)?;
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let prefix = format!(".{name}.");
    for entry in std::fs::read_dir(&folder).map_err(io("list", &folder))?.flatten() {
        let left = entry.file_name();
        let left = left.to_string_lossy();
        if left.starts_with(&prefix) && left.ends_with(".part") {
            // Only clutter: if it stays, nothing is wrong.
            std::fs::remove_file(entry.path()).ok();
        }
    }
    let part = tempfile::Builder::new()
        .prefix(&prefix)
        .suffix(".part")
        .tempfile_in(&folder)
        .map_err(io("make a file in", &folder))?;
    Ok((folder, part))
}

fn publish(part: tempfile::NamedTempFile, folder: &Path, target: &Path, replace: bool) -> Result<bool, SinkError> {
    use std::os::unix::fs::PermissionsExt;
    let readable = std::fs::Permissions::from_mode(0o444);
    part.as_file().set_permissions(readable).map_err(io("set the permissions of", target))?;
    part.as_file().sync_all().map_err(io("write", target))?;
    let persisted = if replace { part.persist(target) } else { part.persist_noclobber(target) };
    match persisted {
        Ok(_) => {
            let synced = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
            synced.map_err(io("write the folder", folder)).map(|()| true)
        }
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(io("put in place", target)(error.error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside_the_folder() {
        for bad in ["", ".", "..", "../x", "a/b", ".hidden", "a\0b"] {
            assert!(plain_name(bad).is_err(), "{bad:?}");
        }
        assert!(plain_name("a b+c:d.fits").is_ok());
    }
}
