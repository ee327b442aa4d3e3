//! The tree of products that the monitor searches by name. Links into the store where the disk allows it, else copies; a
//! night appears, and is replaced, as a whole.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{LeftOut, lint};
use crate::catalogue::nights::NightFile;
use crate::config::Workspace;
use crate::delivery::SinkError;
use crate::delivery::error::io;

/// What of a night is in the tree.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// Number of files.
    pub(super) files: usize,
    /// Files that the monitor would stumble over.
    pub(super) left_out: Vec<LeftOut>,
}

/// An empty folder, whatever a dead process left there.
pub(super) fn empty(folder: &Path) -> Result<(), SinkError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(io("empty", folder)(error)),
        _ => {}
    }
    fs::create_dir_all(folder).map_err(io("make the folder", folder))
}

/// Put a night into the tree, in place of what is there of it.
pub(super) fn publish(
    workspace: &Workspace,
    root: &Path,
    staging: &Path,
    night: &str,
    files: &[NightFile],
) -> Result<Shown, SinkError> {
    let staged = staging.join(night);
    let reduced = root.join("reduced");
    for folder in [&staged, &reduced] {
        fs::create_dir_all(folder).map_err(io("make the folder", folder))?;
    }
    let mut shown = Shown::default();
    for file in files {
        let stored = workspace.stored(&file.sha256);
        if let Some(why) = lint::fault(&stored, &file.name) {
            shown.left_out.push(LeftOut { file: format!("{}/{}", file.folder, file.name), why });
            continue;
        }
        // <night>/soxs-<recipe>: the night is the staged folder.
        let folder = staged.join(Path::new(&file.folder).file_name().unwrap_or_default());
        fs::create_dir_all(&folder).map_err(io("make the folder", &folder))?;
        place(&stored, &folder.join(&file.name))?;
        shown.files += 1;
    }
    sync_all(&staged)?;
    swap(&staged, &reduced.join(night))?;
    sync(&reduced)?;
    Ok(shown)
}

/// A link, or a copy where links do not reach.
fn place(stored: &Path, shown: &Path) -> Result<(), SinkError> {
    match fs::hard_link(stored, shown) {
        Err(error) if error.kind() == ErrorKind::CrossesDevices => {
            fs::copy(stored, shown).map_err(io("copy", stored))?;
            sync(shown)
        }
        linked => linked.map_err(io("link", stored)),
    }
}

/// One rename: a reader sees the night as it was or as it is.
fn swap(staged: &Path, shown: &Path) -> Result<(), SinkError> {
    if !shown.exists() {
        return fs::rename(staged, shown).map_err(io("put in place", shown));
    }
    match renameat_with(CWD, staged, CWD, shown, RenameFlags::EXCHANGE) {
        // What was there before is in the staging folder now, which the next turn empties.
        Ok(()) => Ok(()),
        // A file system that cannot exchange: the night is away between two renames.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            let old = staged.with_extension("old");
            fs::rename(shown, &old).map_err(io("replace", shown))?;
            fs::rename(staged, shown).map_err(io("put in place", shown))
        }
        Err(errno) => Err(io("put in place", shown)(errno.into())),
    }
}

/// A folder and those in it, so that they survive a power cut.
fn sync_all(folder: &Path) -> Result<(), SinkError> {
    for entry in fs::read_dir(folder).map_err(io("list", folder))?.flatten() {
        if entry.path().is_dir() {
            sync_all(&entry.path())?;
        }
    }
    sync(folder)
}

fn sync(path: &Path) -> Result<(), SinkError> {
    fs::File::open(path).and_then(|file| file.sync_all()).map_err(io("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_night_is_replaced_whole_and_what_is_gone_does_not_stay() {
        let folder = tempfile::tempdir().unwrap();
        let (staging, root) = (folder.path().join(".staging"), folder.path().join("out"));
        let mut config = crate::config::Config::defaults().unwrap();
        config.paths.work = folder.path().join("work");
        let workspace = config.workspace();
        let file = |name: &str, digest: &str| {
            let stored = workspace.stored(digest);
            fs::create_dir_all(stored.parent().unwrap()).unwrap();
            fs::write(&stored, digest).unwrap();
            NightFile {
                folder: "2026-03-10/soxs-mbias".to_string(),
                name: name.to_string(),
                sha256: digest.to_string(),
            }
        };
        let (one, two) = (file("a.fits", "aa11"), file("b.fits", "bb22"));
        let night = |files: &[NightFile]| {
            empty(&staging).unwrap();
            publish(&workspace, &root, &staging, "2026-03-10", files).unwrap().files
        };
        assert_eq!(night(&[one, two.clone()]), 2);
        let shown = root.join("reduced/2026-03-10/soxs-mbias");
        assert_eq!(fs::read_to_string(shown.join("a.fits")).unwrap(), "aa11");
        assert_eq!(night(&[two]), 1);
        assert!(!shown.join("a.fits").exists() && shown.join("b.fits").exists());
        let nights: Vec<_> =
            fs::read_dir(root.join("reduced")).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(nights, ["2026-03-10"]);
    }
}
