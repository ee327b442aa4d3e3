//! Errors of reading and writing through cfitsio. The structural scan has its own (`ScanError`).

use std::path::PathBuf;

use super::atomic::AtomicError;
use super::cfitsio::Status;
use super::scan::ScanError;
use crate::fault::{Classified, FaultClass};

/// cfitsio ran out of memory (MEMORY_ALLOCATION).
const MEMORY: i32 = 113;
/// The operating system failed to read (READ_ERROR).
const READ: i32 = 108;

/// Why a FITS file could not be read, written or verified.
#[derive(Debug, thiserror::Error)]
pub enum FitsError {
    /// The file's structure is unsound; found before cfitsio saw it.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// cfitsio refused an operation on an existing file.
    #[error("{}: {operation} failed", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What was tried, for example "reading pixels of HDU 0".
        operation: String,
        /// cfitsio's status.
        source: Status,
    },
    /// A header read through cfitsio holds a card that can't be.
    #[error("{}: HDU {hdu}, card {card}: {reason}", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// HDU, 0 is the primary.
        hdu: usize,
        /// Card of that header, from 1.
        card: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// No two-dimensional image anywhere in the file.
    #[error("{}: holds no two-dimensional image in {hdus} HDUs", path.display())]
    NoImage {
        /// The file.
        path: PathBuf,
        /// HDUs that were looked at.
        hdus: usize,
    },
    /// The image is larger than the limits, or has a form that can't be read back.
    #[error("{}: HDU {hdu} has BITPIX {bitpix} and axes {shape:?} (columns first): {reason}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// HDU, 0 is the primary.
        hdu: usize,
        /// BITPIX as stored.
        bitpix: i32,
        /// NAXIS1, NAXIS2, ...
        shape: Vec<u64>,
        /// Which limit it breaks.
        reason: String,
    },
    /// Columns that are no table, or a table of a form that our products never have.
    #[error("{}: HDU {hdu} as a table: {reason}", path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// HDU, 0 is the primary.
        hdu: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// cfitsio refused an operation on a file that is being written; a full disk is the usual cause.
    #[error("{}: {operation} failed; check the free space and the permissions there", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What was tried.
        operation: String,
        /// cfitsio's status.
        source: Status,
    },
    /// A card that FITS can't hold was to be written.
    #[error("{}: keyword {keyword} of HDU {hdu} can't be written: {reason}", path.display())]
    Card {
        /// The file that was to be written.
        path: PathBuf,
        /// HDU, 0 is the primary.
        hdu: usize,
        /// The keyword.
        keyword: String,
        /// What is wrong with its name or value.
        reason: String,
    },
    /// A file without any HDU was to be written.
    #[error("{}: no HDU was given to write", path.display())]
    Nothing {
        /// The file that was to be written.
        path: PathBuf,
    },
    /// A checksum is absent or wrong.
    #[error("{}: {keyword} of HDU {hdu} is {state}; the file changed after it was written", path.display())]
    Checksum {
        /// The file.
        path: PathBuf,
        /// HDU, 0 is the primary.
        hdu: usize,
        /// CHECKSUM or DATASUM.
        keyword: &'static str,
        /// "absent" or "wrong".
        state: &'static str,
    },
    /// The linked cfitsio can't be used by several threads.
    #[error("cfitsio {version} was built without thread safety; link one configured with --enable-reentrant")]
    NotReentrant {
        /// Version of the library.
        version: String,
    },
    /// Putting the file in its place failed.
    #[error(transparent)]
    Place(#[from] AtomicError),
}

impl Classified for FitsError {
    fn class(&self) -> FaultClass {
        match self {
            FitsError::Scan(error) => error.class(),
            FitsError::Place(error) => error.class(),
            FitsError::Read { source, .. } => match source.code {
                MEMORY => FaultClass::Resource,
                READ => FaultClass::Transient,
                _ => FaultClass::BadInput,
            },
            FitsError::Write { .. } => FaultClass::Resource,
            FitsError::Header { .. }
            | FitsError::NoImage { .. }
            | FitsError::Shape { .. }
            | FitsError::Table { .. }
            | FitsError::Checksum { .. } => FaultClass::BadInput,
            FitsError::Card { .. } | FitsError::Nothing { .. } => FaultClass::Bug,
            FitsError::NotReentrant { .. } => FaultClass::Config,
        }
    }
}
