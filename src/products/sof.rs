//! SOF files: one line per frame, path and tag, as esorex and the reference pipeline read them.

use std::path::{Path, PathBuf};

use crate::fault::{Classified, FaultClass};

/// One line of a SOF file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SofEntry {
    /// Path of the frame.
    pub path: PathBuf,
    /// Tag: `BIAS_VIS`, `MASTER_BIAS_VIS`; empty when the line has none.
    pub tag: String,
}

/// Why a SOF file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum SofError {
    /// The file cannot be read.
    #[error("cannot read the SOF file {path}")]
    Read {
        /// SOF file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The file names no frame.
    #[error("the SOF file {path} names no frame; give one path and tag a line")]
    Empty {
        /// SOF file.
        path: PathBuf,
    },
}

impl Classified for SofError {
    fn class(&self) -> FaultClass {
        FaultClass::BadInput
    }
}

/// The text of a SOF file.
pub fn text(entries: &[SofEntry]) -> String {
    entries.iter().map(|entry| format!("{} {}\n", entry.path.display(), entry.tag)).collect()
}

/// Read a SOF file. Lines that are empty or begin with `#` are skipped; a path may hold blanks when it ends in a FITS
/// suffix; relative paths are taken from the current folder, as esorex does.
pub fn read(path: &Path) -> Result<Vec<SofEntry>, SofError> {
    let text = std::fs::read_to_string(path).map_err(|source| SofError::Read { path: path.to_path_buf(), source })?;
    let entries: Vec<SofEntry> = text.lines().filter_map(entry).collect();
    if entries.is_empty() { Err(SofError::Empty { path: path.to_path_buf() }) } else { Ok(entries) }
}

fn entry(line: &str) -> Option<SofEntry> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let (path, tag) = match line.rsplit_once(char::is_whitespace) {
        Some((path, tag)) if !tag.contains(".fits") => (path.trim_end(), tag),
        _ => (line, ""),
    };
    Some(SofEntry { path: PathBuf::from(path), tag: tag.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_what_people_write() {
        let entries = vec![
            SofEntry { path: "/raw/SOXS.2026-03-10T19:00:42.000.fits".into(), tag: "LAMP,FLAT_NIR".into() },
            SofEntry { path: "/a folder/x.fits.Z".into(), tag: "BIAS_VIS".into() },
        ];
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.sof");
        std::fs::write(&path, format!("# comment\n\n{}  /no/tag.fits\n", text(&entries))).expect("written");
        let found = read(&path).expect("read");
        assert_eq!(found[..2], entries);
        assert_eq!(found[2], SofEntry { path: "/no/tag.fits".into(), tag: String::new() });
        std::fs::write(&path, "# nothing\n").expect("written");
        assert!(matches!(read(&path), Err(SofError::Empty { .. })));
    }
}
