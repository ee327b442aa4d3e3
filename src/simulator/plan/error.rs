//! What can be wrong with a plan. Every message names the file, the line, the key, the value and what to write instead.

use std::path::PathBuf;

use crate::fault::{Classified, FaultClass};

/// Why a plan cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The file cannot be read.
    #[error("plan {} cannot be read", path.display())]
    Read {
        /// File.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Neither a shipped plan nor a file.
    #[error("there is no plan {name:?}, neither as a file nor among the shipped ones ({known})")]
    Unknown {
        /// As given.
        name: String,
        /// Names of shipped plans.
        known: String,
    },
    /// Not the TOML that is expected.
    #[error("{place}: {message}")]
    Syntax {
        /// Name of the plan and the line: `night.toml:12`.
        place: String,
        /// What the parser says, in one line.
        message: String,
    },
    /// A value makes no sense.
    #[error("{place}: {part}: {key} = {found}: {remedy}")]
    Value {
        /// Name of the plan and the line: `night.toml:12`.
        place: String,
        /// Which template or target: `template 3 (slit-flat in VIS)`.
        part: String,
        /// Key.
        key: String,
        /// Value found.
        found: String,
        /// What is allowed, and why.
        remedy: String,
    },
    /// A template asks for something that the instrument or the sky does not have.
    #[error("{place}: {part}: {problem}")]
    Template {
        /// Name of the plan and the line: `night.toml:12`.
        place: String,
        /// Which template.
        part: String,
        /// What is wrong and what is allowed.
        problem: String,
    },
}

impl Classified for PlanError {
    fn class(&self) -> FaultClass {
        FaultClass::Config
    }
}
