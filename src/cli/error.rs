//! What can go wrong on the command line, the exit code, and the hint that goes with it.

use std::path::PathBuf;

use crate::catalogue::CatalogueError;
use crate::catalogue::acts::ActError;
use crate::config::ConfigError;
use crate::fault::{Classified, FaultClass, chain};

use super::{FAILED, USAGE};

/// How to find out what things are called.
pub const NAMES_HINT: &str = "`soxsd frames --text PART` (or sets, products, jobs) shows the names there are";

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The catalogue cannot be used.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// An act was not done.
    #[error(transparent)]
    Act(#[from] ActError),
    /// Nothing has this name.
    #[error("nothing is called {target:?}")]
    NotFound {
        /// As given.
        target: String,
    },
    /// The filter of the log cannot be read.
    #[error("log.filter = {found:?}: {reason}")]
    LogFilter {
        /// As configured.
        found: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The daemon has the catalogue and cannot be asked.
    #[error("the daemon has the catalogue, and {what}")]
    Daemon {
        /// What stands in the way.
        what: String,
        /// What to do.
        hint: String,
        /// Cause, if there is one below.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The daemon refused.
    #[error("{message}")]
    Refused {
        /// What it said.
        message: String,
        /// Its hint.
        hint: String,
    },
    /// Reading or writing failed.
    #[error("cannot {what}")]
    Io {
        /// What was tried: "write to standard output".
        what: String,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// Whoever read the output has gone; there is nobody to tell.
    #[error("the output was closed")]
    ClosedPipe,
    /// A failure of the engine below.
    #[error("{message}")]
    Engine {
        /// The whole chain in one line.
        message: String,
        /// Its class.
        class: FaultClass,
        /// What to do; empty when there is nothing to say.
        hint: String,
    },
    /// The catalogue is damaged.
    #[error("the catalogue {path} is damaged: {findings}")]
    Damaged {
        /// Database.
        path: PathBuf,
        /// First findings.
        findings: String,
        /// Folder with the dated backups.
        backups: PathBuf,
    },
}

impl CliError {
    /// A failure of the engine, with its chain of causes.
    pub fn engine(error: &impl Classified, hint: &str) -> CliError {
        CliError::Engine { message: chain(error), class: error.class(), hint: hint.to_string() }
    }

    /// Exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            CliError::Config(_) | CliError::LogFilter { .. } => USAGE,
            CliError::Act(ActError::Unsaid { .. }) => USAGE,
            CliError::Engine { class: FaultClass::Config | FaultClass::BadInput, .. } => USAGE,
            _ => FAILED,
        }
    }

    /// What to do about it; empty when the message says it all.
    pub fn hint(&self) -> String {
        match self {
            CliError::Config(ConfigError::Read { .. }) => {
                "give another file with --config, or leave it out for the defaults".to_string()
            }
            CliError::Config(_) => "`soxsd config show` prints every key with its present value".to_string(),
            CliError::Catalogue(error) | CliError::Act(ActError::Catalogue(error)) => catalogue_hint(error).to_string(),
            CliError::Act(ActError::NoTarget { .. }) | CliError::NotFound { .. } => NAMES_HINT.to_string(),
            CliError::Act(ActError::Unsaid { .. }) => "give --why REASON, and --who NAME".to_string(),
            CliError::Act(ActError::NotAdmitted { target, .. }) => {
                format!("`soxsd why {target}` tells the whole story")
            }
            CliError::Act(ActError::Ambiguous { .. }) => "give it as kind:id, for example set:12".to_string(),
            CliError::LogFilter { .. } => "for example \"info\" or \"info,soxsd::delivery=debug\"".to_string(),
            CliError::Daemon { hint, .. } | CliError::Refused { hint, .. } | CliError::Engine { hint, .. } => {
                hint.clone()
            }
            CliError::Damaged { backups, .. } => format!(
                "stop the daemon, move the file aside and copy the newest backup from {} in its place",
                backups.display()
            ),
            CliError::Io { .. } | CliError::ClosedPipe => String::new(),
        }
    }
}

/// What to do when the catalogue cannot be used; empty when the message says it all.
pub fn catalogue_hint(error: &CatalogueError) -> &'static str {
    match error {
        CatalogueError::NotThere { .. } => "--work or --config may point elsewhere",
        CatalogueError::Locked { .. } => {
            "`soxsd status` shows what it does; --work DIR gives this command a place of its own"
        }
        CatalogueError::Damaged { .. } => "",
        _ if error.is_damage() => {
            "the database is damaged: stop the daemon, move it aside and copy the newest file of <work>/backups in its place"
        }
        _ if error.is_full_disk() => "free disk space, then start again: nothing is lost",
        CatalogueError::Lock { .. } | CatalogueError::Open { .. } => {
            "paths.work (or --work) must be a folder that this account can write"
        }
        _ => "",
    }
}
