//! What lies below the raw roots: one look at every name, by the file system's metadata alone.
//!
//! What never lives here: opening a file, the catalogue, a decision about a frame.

use std::collections::{HashSet, VecDeque};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::catalogue::files::Look;

/// Endings of a frame's name, lower case.
const FRAME_ENDINGS: [&str; 3] = [".fits", ".fits.gz", ".fits.z"];

/// Endings of names under which a writer hides a file until it is whole, lower case.
const TEMPORARY_ENDINGS: [&str; 4] = [".part", ".tmp", ".filepart", "~"];

/// Device and inode: what a folder is, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    pub(super) fn of(metadata: &Metadata) -> Identity {
        Identity { device: metadata.dev(), inode: metadata.ino() }
    }
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.device, self.inode)
    }
}

/// What a name promises before anything is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Promise {
    /// A frame, to be looked into.
    Frame,
    /// Never a frame.
    Other(&'static str),
    /// Called like a frame, and cannot be one: code and reason.
    Broken(&'static str, &'static str),
}

/// One name that was met.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) look: Look,
    /// The path as the operating system has it; `look.path` is its text.
    pub(super) path: PathBuf,
    pub(super) promise: Promise,
}

/// A raw root at this look.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) path: PathBuf,
    /// The folder, or why it cannot be searched.
    pub(super) state: Result<Identity, String>,
}

/// Everything below all roots.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) roots: Vec<Root>,
    pub(super) files: Vec<Seen>,
    /// Below these nothing is known: unreadable folders and links that lead nowhere. What was there is not missing.
    pub(super) blind: Vec<PathBuf>,
    /// The unreadable ones in words.
    pub(super) problems: Vec<String>,
}

/// Search all roots but the excluded folders. Every folder is searched once, by its own path before any link to it, so
/// that links in a circle end and the outcome does not depend on the order of a listing.
pub(super) fn walk(roots: &[PathBuf], excluded: &[PathBuf]) -> Tree {
    let excluded =
        excluded.iter().filter_map(|path| fs::metadata(path).ok()).map(|found| Identity::of(&found)).collect();
    let mut walker = Walker { tree: Tree::default(), visited: HashSet::new(), excluded, links: VecDeque::new() };
    for root in roots {
        let state = walker.root(root);
        walker.tree.roots.push(Root { path: root.clone(), state });
    }
    while let Some(link) = walker.links.pop_front() {
        walker.folder_and_below(link);
    }
    walker.tree
}

struct Walker {
    tree: Tree,
    visited: HashSet<Identity>,
    excluded: HashSet<Identity>,
    /// Links to folders, searched after all real ones.
    links: VecDeque<PathBuf>,
}

impl Walker {
    fn root(&mut self, path: &Path) -> Result<Identity, String> {
        let refused =
            |error: io::Error| format!("raw root {}: {error}; mount it, or correct paths.raw", path.display());
        let found = fs::metadata(path).map_err(refused)?;
        if !found.is_dir() {
            return Err(format!("raw root {}: not a folder; correct paths.raw", path.display()));
        }
        let identity = Identity::of(&found);
        if self.visited.insert(identity) {
            let folders = self.listing(path).map_err(refused)?;
            folders.into_iter().for_each(|folder| self.folder_and_below(folder));
        }
        Ok(identity)
    }

    fn folder_and_below(&mut self, first: PathBuf) {
        let mut folders = vec![first];
        while let Some(folder) = folders.pop() {
            match self.folder(&folder) {
                Ok(below) => folders.extend(below),
                // It vanished while we were on the way.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => self.is_blind(folder, &error),
            }
        }
    }

    fn folder(&mut self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let identity = Identity::of(&fs::metadata(folder)?);
        if self.excluded.contains(&identity) || !self.visited.insert(identity) {
            return Ok(Vec::new());
        }
        self.listing(folder)
    }

    /// Take in the names of one folder; returns its real sub-folders.
    fn listing(&mut self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let mut below = Vec::new();
        let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            if is_hidden(&path) {
                continue;
            }
            let kind = entry.file_type()?;
            if kind.is_dir() {
                below.push(path);
                continue;
            }
            if is_temporary(&path) {
                continue;
            }
            match fs::metadata(&path) {
                Ok(found) if found.is_dir() => self.links.push_back(path),
                Ok(found) => self.file(path, &found),
                Err(error) if kind.is_symlink() => self.broken_link(path, &error),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => self.is_blind(path, &error),
            }
        }
        Ok(below)
    }

    fn file(&mut self, path: PathBuf, found: &Metadata) {
        let promise = match (promise_of(&path), found.is_file()) {
            (Promise::Frame, false) => {
                Promise::Broken("not_a_file", "a pipe, socket or device with the name of a frame; remove it")
            }
            (promise, _) => promise,
        };
        self.take(path, found, promise);
    }

    fn broken_link(&mut self, path: PathBuf, error: &io::Error) {
        if error.kind() == io::ErrorKind::PermissionDenied {
            return self.is_blind(path, error);
        }
        let Ok(found) = fs::symlink_metadata(&path) else { return };
        let promise = match promise_of(&path) {
            Promise::Frame => {
                Promise::Broken("broken_link", "a link that leads nowhere; put its target back or remove the link")
            }
            // It may have led to a folder with frames.
            _ => Promise::Other("a link that leads nowhere"),
        };
        self.tree.blind.push(path.clone());
        self.take(path, &found, promise);
    }

    fn take(&mut self, path: PathBuf, found: &Metadata, promise: Promise) {
        let look = look_of(&path, found);
        self.tree.files.push(Seen { look, path, promise });
    }

    fn is_blind(&mut self, path: PathBuf, error: &io::Error) {
        self.tree.problems.push(format!("cannot search {}: {error}", path.display()));
        self.tree.blind.push(path);
    }
}

/// Size and time of a path.
pub(super) fn look_of(path: &Path, found: &Metadata) -> Look {
    Look {
        path: text_of(path.as_os_str()),
        name: path.file_name().map(text_of).unwrap_or_default(),
        size: i64::try_from(found.len()).unwrap_or(i64::MAX),
        mtime_us: found.mtime().saturating_mul(1_000_000).saturating_add(found.mtime_nsec() / 1000),
    }
}

/// The text of a path for the catalogue: bytes that are not UTF-8 are escaped, so that two paths never share a text.
fn text_of(path: &std::ffi::OsStr) -> String {
    match path.to_str() {
        Some(text) => text.to_string(),
        None => path.as_bytes().escape_ascii().to_string(),
    }
}

fn promise_of(path: &Path) -> Promise {
    let Some(name) = path.file_name() else { return Promise::Other("no name") };
    let is_text = name.to_str().is_some();
    let name = name.to_string_lossy().to_lowercase();
    if !FRAME_ENDINGS.iter().any(|ending| name.ends_with(ending)) {
        return Promise::Other("the name does not end in .fits, .fits.gz or .fits.Z");
    }
    if !is_text {
        return Promise::Broken("name_not_text", "the name is not UTF-8 text; rename the file");
    }
    Promise::Frame
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_none_or(|name| name.as_bytes().starts_with(b"."))
}

/// A name that ingest passes over in silence: hidden (which is how rsync names a file in the making) or temporary.
pub(super) fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    is_hidden(path) || TEMPORARY_ENDINGS.iter().any(|ending| name.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(tree: &Tree) -> Vec<&str> {
        let mut names: Vec<&str> = tree.files.iter().map(|seen| seen.look.name.as_str()).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn names_in_the_making_are_passed_over() {
        for name in [".a.fits.Xy12Zw", "a.fits.part", "a.fits.TMP", "a.fits.filepart", "a.fits~", ".hidden.fits"] {
            assert!(is_temporary(Path::new(name)), "{name}");
        }
        assert!(!is_temporary(Path::new("tmp.fits")));
    }

    #[test]
    fn endings_decide_what_a_name_promises() {
        for name in ["a.fits", "a.FITS", "a.fits.gz", "a.fits.Z", "a.fits.z"] {
            assert_eq!(promise_of(Path::new(name)), Promise::Frame, "{name}");
        }
        for name in ["a.fit", "a.fits.fz", "a.fits.txt", "fits", "a.gz"] {
            assert!(matches!(promise_of(Path::new(name)), Promise::Other(_)), "{name}");
        }
        let odd = std::ffi::OsStr::from_bytes(b"a\xff.fits");
        assert!(matches!(promise_of(Path::new(odd)), Promise::Broken("name_not_text", _)));
    }

    #[test]
    fn links_are_followed_and_circles_end() {
        let temp = tempfile::tempdir().expect("a folder");
        let root = temp.path().join("raw");
        let other = temp.path().join("other");
        fs::create_dir_all(root.join("night")).expect("a folder");
        fs::create_dir_all(&other).expect("a folder");
        fs::write(root.join("night/a.fits"), b"x").expect("a file");
        fs::write(other.join("b.fits"), b"x").expect("a file");
        // Sorted before `night`, and yet the real path must win.
        std::os::unix::fs::symlink(&root, root.join("circle")).expect("a link");
        std::os::unix::fs::symlink(root.join("night"), root.join("again")).expect("a link");
        std::os::unix::fs::symlink(&other, root.join("far")).expect("a link");
        std::os::unix::fs::symlink(temp.path().join("nowhere"), root.join("c.fits")).expect("a link");
        let tree = walk(std::slice::from_ref(&root), &[]);
        assert_eq!(names(&tree), ["a.fits", "b.fits", "c.fits"]);
        assert!(tree.files.iter().any(|seen| seen.path == root.join("night/a.fits")));
        assert!(tree.files.iter().any(|seen| matches!(seen.promise, Promise::Broken("broken_link", _))));
        assert_eq!(tree.blind, [root.join("c.fits")]);
    }

    #[test]
    fn excluded_folders_and_missing_roots() {
        let temp = tempfile::tempdir().expect("a folder");
        let work = temp.path().join("work");
        fs::create_dir_all(&work).expect("a folder");
        fs::write(work.join("product.fits"), b"x").expect("a file");
        fs::write(temp.path().join("a.fits"), b"x").expect("a file");
        let tree = walk(&[temp.path().to_path_buf(), temp.path().join("missing")], &[work]);
        assert_eq!(names(&tree), ["a.fits"]);
        assert!(tree.roots[0].state.is_ok());
        assert!(tree.roots[1].state.as_ref().is_err_and(|problem| problem.contains("missing")));
    }
}
