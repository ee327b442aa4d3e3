//! Files that appear whole or not at all: written under a hidden temporary name, synced, renamed, directory synced.
//! The one helper for every file that others may read; watchers ignore names that begin with a dot.
//!
//! What never lives here: what is in the file.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::TempPath;

use crate::fault::{Classified, FaultClass};

/// Between the name and the random end of a temporary.
const MARK: &str = ".tmp-";
/// Length of the random end.
const RANDOM_BYTES: usize = 8;

/// Where the temporary is made and what the finished file may do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Placement<'a> {
    /// Directory of the temporary, on the same filesystem as the destination; `None` is the destination's directory.
    pub scratch: Option<&'a Path>,
    /// Give the finished file mode 0444: stored products are never edited.
    pub read_only: bool,
}

/// Which step of placing a file failed.
#[derive(Debug, thiserror::Error)]
pub enum AtomicError {
    /// The destination has no file name or no directory.
    #[error("{}: is not the name of a file", path.display())]
    NotAFile {
        /// The destination.
        path: PathBuf,
    },
    /// The two places are on different filesystems.
    #[error(
        "{}: can't be moved or linked from {}: they are on different filesystems; put both on one", path.display(),
        from.display()
    )]
    OtherFilesystem {
        /// The destination.
        path: PathBuf,
        /// Where the bytes are.
        from: PathBuf,
    },
    /// The operating system refused a step.
    #[error("{}: {operation} failed", path.display())]
    Io {
        /// The file or directory of that step.
        path: PathBuf,
        /// What was tried.
        operation: &'static str,
        /// The operating system's reason.
        source: io::Error,
    },
}

impl Classified for AtomicError {
    fn class(&self) -> FaultClass {
        match self {
            AtomicError::NotAFile { .. } => FaultClass::Bug,
            AtomicError::OtherFilesystem { .. } => FaultClass::Config,
            AtomicError::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FaultClass::Resource,
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => FaultClass::Config,
                _ => FaultClass::Transient,
            },
        }
    }
}

/// Let `write` create the file under a temporary name that does not exist yet, then put it in place of `dest`.
/// When this returns `Ok`, the whole file survives a power cut; when it fails, `dest` is as it was and no temporary stays.
pub fn write_atomically<E: From<AtomicError>>(
    dest: &Path,
    placement: &Placement<'_>,
    write: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    let directory = directory_of(dest)?;
    let temporary = temporary_name(dest, placement.scratch.unwrap_or(directory))?;
    write(&temporary)?;
    finish(&temporary, dest, directory, placement.read_only)?;
    Ok(())
}

/// Give a stored file a second name: a hard link that replaces whatever is at `dest` in one step. Returns false when
/// `dest` is that file already.
pub fn publish_link(store: &Path, dest: &Path) -> Result<bool, AtomicError> {
    let stored = fs::metadata(store).map_err(|source| failed(store, "looking it up", source))?;
    match fs::symlink_metadata(dest) {
        Ok(present) if (present.dev(), present.ino()) == (stored.dev(), stored.ino()) => return Ok(false),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(failed(dest, "looking it up", source)),
    }
    let directory = directory_of(dest)?;
    let temporary = temporary_name(dest, directory)?;
    fs::hard_link(store, &temporary).map_err(|source| moved(store, dest, "linking", source))?;
    fs::rename(&temporary, dest).map_err(|source| moved(&temporary, dest, "renaming", source))?;
    sync(directory)?;
    Ok(true)
}

fn finish(temporary: &Path, dest: &Path, directory: &Path, read_only: bool) -> Result<(), AtomicError> {
    let file = File::open(temporary).map_err(|source| failed(temporary, "opening the written file", source))?;
    if read_only {
        let mode = Permissions::from_mode(0o444);
        file.set_permissions(mode).map_err(|source| failed(temporary, "making it read-only", source))?;
    }
    file.sync_all().map_err(|source| failed(temporary, "syncing", source))?;
    fs::rename(temporary, dest).map_err(|source| moved(temporary, dest, "renaming", source))?;
    sync(directory)
}

fn sync(directory: &Path) -> Result<(), AtomicError> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|source| failed(directory, "syncing the directory", source))
}

fn directory_of(dest: &Path) -> Result<&Path, AtomicError> {
    match (dest.file_name(), dest.parent()) {
        (Some(_), Some(parent)) if parent.as_os_str().is_empty() => Ok(Path::new(".")),
        (Some(_), Some(parent)) => Ok(parent),
        _ => Err(AtomicError::NotAFile { path: dest.to_path_buf() }),
    }
}

/// Is this the name of a temporary of this module? One that is there while nobody writes was left by a dead process.
pub fn is_temporary(name: &str) -> bool {
    name.strip_prefix('.').and_then(|name| name.rsplit_once(MARK)).is_some_and(|(_, random)| {
        random.len() == RANDOM_BYTES && random.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// A free hidden name; the file is removed when the value is dropped, unless it was renamed away before.
fn temporary_name(dest: &Path, directory: &Path) -> Result<TempPath, AtomicError> {
    // Cut so that the whole stays below the 255 bytes of a file name.
    let name: String = dest.file_name().unwrap_or_default().to_string_lossy().chars().take(50).collect();
    let unused = |path: &Path| match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::from(io::ErrorKind::AlreadyExists)),
    };
    tempfile::Builder::new()
        .prefix(&format!(".{name}{MARK}"))
        .rand_bytes(RANDOM_BYTES)
        .make_in(directory, unused)
        .map(|temporary| temporary.into_temp_path())
        .map_err(|source| failed(directory, "choosing a temporary name", source))
}

fn failed(path: &Path, operation: &'static str, source: io::Error) -> AtomicError {
    AtomicError::Io { path: path.to_path_buf(), operation, source }
}

fn moved(from: &Path, dest: &Path, operation: &'static str, source: io::Error) -> AtomicError {
    if source.kind() == io::ErrorKind::CrossesDevices {
        return AtomicError::OtherFilesystem { path: dest.to_path_buf(), from: from.to_path_buf() };
    }
    failed(dest, operation, source)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn put(dest: &Path, placement: &Placement<'_>, text: &str) -> Result<(), AtomicError> {
        write_atomically(dest, placement, |temporary| {
            assert!(temporary.file_name().unwrap().to_str().unwrap().starts_with('.'), "watchers must not see it");
            assert!(is_temporary(temporary.file_name().unwrap().to_str().unwrap()));
            assert!(!temporary.exists(), "cfitsio refuses to overwrite");
            fs::write(temporary, text).map_err(|source| failed(temporary, "writing", source))
        })
    }

    #[test]
    fn a_file_appears_whole_and_replaces_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let dest = dir.path().join("product.fits");
        put(&dest, &Placement::default(), "one").unwrap();
        put(&dest, &Placement { read_only: true, ..Placement::default() }, "two").unwrap();
        assert_eq!(fs::read_to_string(&dest).unwrap(), "two");
        assert_eq!(fs::metadata(&dest).unwrap().permissions().mode() & 0o777, 0o444);
        assert_eq!(entries(dir.path()), ["product.fits"]);
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_temporary() {
        let dir = tempfile::tempdir().unwrap();
        let dest = dir.path().join("product.fits");
        put(&dest, &Placement::default(), "old").unwrap();
        let result: Result<(), AtomicError> = write_atomically(&dest, &Placement::default(), |temporary| {
            fs::write(temporary, "half").unwrap();
            Err(AtomicError::NotAFile { path: temporary.to_path_buf() })
        });
        assert!(result.is_err());
        assert_eq!(fs::read_to_string(&dest).unwrap(), "old");
        assert_eq!(entries(dir.path()), ["product.fits"]);
    }

    #[test]
    fn the_temporary_can_live_in_a_scratch_directory() {
        let dir = tempfile::tempdir().unwrap();
        let (scratch, store) = (dir.path().join("scratch"), dir.path().join("store"));
        fs::create_dir(&scratch).unwrap();
        fs::create_dir(&store).unwrap();
        let placement = Placement { scratch: Some(&scratch), read_only: false };
        let result: Result<(), AtomicError> = write_atomically(&store.join("a"), &placement, |temporary| {
            assert_eq!(temporary.parent(), Some(scratch.as_path()));
            fs::write(temporary, "x").unwrap();
            Ok(())
        });
        result.unwrap();
        assert_eq!(entries(&store), ["a"]);
        assert!(entries(&scratch).is_empty());
    }

    #[test]
    fn a_missing_directory_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = put(&dir.path().join("absent/a"), &Placement::default(), "x").unwrap_err();
        assert!(error.to_string().contains("absent"), "{error}");
        assert!(matches!(put(Path::new("/"), &Placement::default(), "x"), Err(AtomicError::NotAFile { .. })));
    }

    #[test]
    fn a_writer_that_writes_nothing_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let result: Result<(), AtomicError> =
            write_atomically(&dir.path().join("a"), &Placement::default(), |_| Ok(()));
        assert!(result.is_err());
    }

    #[test]
    fn publishing_links_replaces_and_is_idempotent() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second, dest) = (dir.path().join("k1"), dir.path().join("k2"), dir.path().join("name.fits"));
        fs::write(&first, "1").unwrap();
        fs::write(&second, "2").unwrap();
        assert!(publish_link(&first, &dest).unwrap());
        assert!(!publish_link(&first, &dest).unwrap());
        assert_eq!(fs::metadata(&dest).unwrap().ino(), fs::metadata(&first).unwrap().ino());
        assert!(publish_link(&second, &dest).unwrap());
        assert_eq!(fs::read_to_string(&dest).unwrap(), "2");
        assert_eq!(fs::read_to_string(&first).unwrap(), "1");
        assert_eq!(entries(dir.path()), ["k1", "k2", "name.fits"]);
        assert!(publish_link(&dir.path().join("no"), &dest).is_err());
    }
}
