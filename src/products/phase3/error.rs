//! Why a Phase 3 file is not made.

use crate::fault::{Classified, FaultClass};
use crate::fits::FitsError;

/// Why a Phase 3 file is not made.
#[derive(Debug, thiserror::Error)]
pub enum Phase3Error {
    /// There is nothing that a science file could be about.
    #[error("no science file is made: {reason}")]
    NoTarget {
        /// What is missing.
        reason: String,
    },
    /// The raw header does not say what the file must.
    #[error("no science file is made: {keyword}: {reason}")]
    Header {
        /// Keyword.
        keyword: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The spectrum has nothing to show.
    #[error("no science file is made: {reason}")]
    Spectrum {
        /// What is wrong with it.
        reason: String,
    },
    /// The file could not be written.
    #[error("cannot write {name}")]
    Write {
        /// File name.
        name: String,
        /// Cause.
        #[source]
        source: Box<FitsError>,
    },
}

impl Classified for Phase3Error {
    fn class(&self) -> FaultClass {
        match self {
            Phase3Error::Write { source, .. } => source.class(),
            _ => FaultClass::Unprocessable,
        }
    }
}
