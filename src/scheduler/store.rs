//! Where products lie: an immutable store by digest, and a tree of hard links that people and monitors know.
//!
//! A file enters the store under its digest before the catalogue knows it; the tree follows what the catalogue says. So
//! a crash can leave a stored file that nobody knows (removed at the next start) or a link that is missing (made then),
//! never a product half there.

use std::path::{Path, PathBuf};

use crate::catalogue::products::StoredProduct;
use crate::config::Workspace;
use crate::fault::{Classified, FaultClass};
use crate::fits::{AtomicError, FileDigests, Placement, is_temporary, publish_link, write_atomically};

/// Why a product could not be placed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A step of placing a file failed.
    #[error(transparent)]
    Atomic(#[from] AtomicError),
    /// The operating system refused.
    #[error("{operation} {path} failed")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// File or folder.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
}

impl Classified for StoreError {
    fn class(&self) -> FaultClass {
        match self {
            StoreError::Atomic(error) => error.class(),
            StoreError::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => FaultClass::Resource,
            StoreError::Io { .. } => FaultClass::Transient,
        }
    }
}

/// Move a finished file from the scratch folder into the store. Returns its digests.
pub fn put(workspace: &Workspace, scratch_file: &Path) -> Result<FileDigests, StoreError> {
    let digests = FileDigests::of(scratch_file).map_err(io("reading back", scratch_file))?;
    let stored = workspace.stored(&digests.sha256);
    make_folder_of(&stored)?;
    let placement = Placement { scratch: None, read_only: true };
    write_atomically::<StoreError>(&stored, &placement, |temporary| {
        std::fs::rename(scratch_file, temporary).map_err(io("moving", scratch_file))
    })?;
    Ok(digests)
}

/// Make the tree show a product.
pub fn show(workspace: &Workspace, product: &StoredProduct) -> Result<(), StoreError> {
    let shown = workspace.reduced.join(&product.folder).join(&product.name);
    make_folder_of(&shown)?;
    publish_link(&workspace.stored(&product.sha256), &shown)?;
    Ok(())
}

/// Write a small text file whole.
pub fn write_text(path: &Path, text: &str) -> Result<(), StoreError> {
    write_whole(path, text.as_bytes())
}

/// Write a small file whole.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    make_folder_of(path)?;
    write_atomically::<StoreError>(path, &Placement::default(), |temporary| {
        std::fs::write(temporary, bytes).map_err(io("writing", temporary))
    })
}

/// Make the folders of the work area, empty the scratch folder, and remove the temporaries that a dead process left. Only
/// the holder of the catalogue's lock may call this: another process may be writing.
pub fn prepare(workspace: &Workspace) -> Result<(), StoreError> {
    if workspace.scratch.exists() {
        std::fs::remove_dir_all(&workspace.scratch).map_err(io("emptying", &workspace.scratch))?;
    }
    for folder in [&workspace.root, &workspace.store, &workspace.scratch, &workspace.reduced, &workspace.sof] {
        std::fs::create_dir_all(folder).map_err(io("making", folder))?;
    }
    remove_temporaries(&workspace.root, 0);
    // Those one level below are found when the store is compared with the catalogue.
    remove_temporaries(&workspace.store, 0);
    remove_temporaries(&workspace.sof, 0);
    // <night>/<recipe>/
    remove_temporaries(&workspace.reduced, 2);
    remove_temporaries(&workspace.qc, 2);
    Ok(())
}

/// Remove what [`write_atomically`] and [`publish_link`] had begun in a folder, and so many levels below it. It is only
/// clutter, hidden from everybody: what cannot be removed stays.
fn remove_temporaries(folder: &Path, depth: usize) {
    for path in entries(folder).unwrap_or_default() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let Ok(kind) = std::fs::symlink_metadata(&path) else { continue };
        if kind.is_dir() && depth > 0 {
            remove_temporaries(&path, depth - 1);
        } else if kind.is_file() && is_temporary(&name) {
            let _ = std::fs::remove_file(&path);
        }
    }
}

/// A hard link from store to tree must be possible: tried once, at start.
pub fn check_links(workspace: &Workspace) -> Result<(), StoreError> {
    let probe = workspace.store.join(".probe");
    let shown = workspace.reduced.join(".probe");
    write_text(&probe, "probe\n")?;
    let linked = publish_link(&probe, &shown);
    let _ = std::fs::remove_file(&probe);
    let _ = std::fs::remove_file(&shown);
    linked.map(|_| ()).map_err(StoreError::from)
}

/// Every file in the store, by digest.
pub fn stored_digests(workspace: &Workspace) -> Result<Vec<(String, PathBuf)>, StoreError> {
    let mut found = Vec::new();
    for folder in entries(&workspace.store)? {
        if !folder.is_dir() {
            continue;
        }
        for file in entries(&folder)? {
            let digest = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            found.push((digest, file));
        }
    }
    found.sort();
    Ok(found)
}

/// Remove a stored file that no product uses.
pub fn remove_orphan(path: &Path) -> Result<(), StoreError> {
    std::fs::remove_file(path).map_err(io("removing", path))
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let listing = std::fs::read_dir(folder).map_err(io("listing", folder))?;
    listing.map(|entry| entry.map(|entry| entry.path()).map_err(io("listing", folder))).collect()
}

/// Make the folder of a file, and make sure that it survives a power cut.
fn make_folder_of(path: &Path) -> Result<(), StoreError> {
    let Some(folder) = path.parent().filter(|folder| !folder.is_dir()) else { return Ok(()) };
    std::fs::create_dir_all(folder).map_err(io("making", folder))?;
    // The new entry and the one above it: <night>/<recipe> are made together.
    for above in folder.ancestors().skip(1).take(2).filter(|above| above.is_dir()) {
        std::fs::File::open(above).and_then(|entry| entry.sync_all()).map_err(io("syncing", above))?;
    }
    Ok(())
}

fn io(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    let path = path.to_path_buf();
    move |source| StoreError::Io { operation, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn what_a_dead_process_had_begun_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::defaults().unwrap();
        config.paths.work = folder.path().join("work");
        let workspace = config.workspace();
        prepare(&workspace).unwrap();
        let shown = workspace.reduced.join("2026-03-10/soxs-mbias");
        std::fs::create_dir_all(&shown).unwrap();
        let keep = [shown.join("a.fits"), workspace.sof.join("a.sof"), workspace.root.join(".mine")];
        let pictures = workspace.qc.join("2026-03-10/soxs-mbias");
        std::fs::create_dir_all(&pictures).unwrap();
        let remove = [
            shown.join(".a.fits.tmp-Ab12Cd34"),
            workspace.sof.join(".a.sof.tmp-Ab12Cd34"),
            workspace.root.join(".heartbeat.json.tmp-Ab12Cd34"),
            workspace.store.join("..probe.tmp-Ab12Cd34"),
            workspace.scratch.join("job-1"),
            pictures.join(".a.png.tmp-Ab12Cd34"),
        ];
        for path in keep.iter().chain(&remove) {
            std::fs::write(path, "x").unwrap();
        }
        prepare(&workspace).unwrap();
        assert!(keep.iter().all(|path| path.exists()));
        assert!(remove.iter().all(|path| !path.exists()));
    }
}
