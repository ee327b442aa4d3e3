//! Why a sink did not take an item, who must act, and whether it is worth trying again.

use std::path::{Path, PathBuf};

use crate::fault::{Classified, FaultClass};

/// How far a failure reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Only this item; others may go on.
    Item,
    /// Every item of the sink would fail the same way.
    Sink,
}

/// Why a sink did not take an item. Texts name the sink's side, what was found and what to do.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// Nobody answers, or not in time. Nothing of the item was handed over.
    #[error("{peer} cannot be reached to {what}: {reason}; it is tried again by itself")]
    Unreachable {
        /// URL.
        peer: String,
        /// What was tried, as a verb.
        what: &'static str,
        /// Cause.
        reason: String,
    },
    /// The other side answers that it cannot take anything now: offline, busy, full.
    #[error("{peer} takes nothing now: {reason}; it is tried again by itself")]
    NotReady {
        /// URL or folder.
        peer: String,
        /// Its own words.
        reason: String,
    },
    /// The answer is not one that the protocol knows.
    #[error("{peer} answered {what} with something that cannot be understood: {reason}")]
    Reply {
        /// URL.
        peer: String,
        /// What was asked.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The other side reported that it could not do this one thing, and kept nothing.
    #[error("{peer} did not take {key}: {reason}")]
    Hiccup {
        /// URL.
        peer: String,
        /// Item.
        key: String,
        /// Its own words.
        reason: String,
    },
    /// The bytes arrived changed; the other side kept nothing.
    #[error(
        "{peer} received {key} damaged: {reason}; after {} damaged sends a person must look at the network and at its disks",
        SinkError::DAMAGED_SENDS
    )]
    Damaged {
        /// URL.
        peer: String,
        /// Item.
        key: String,
        /// Its own words.
        reason: String,
    },
    /// The other side refuses, and will refuse again.
    #[error("{peer} refuses {key}: {reason}; {remedy}")]
    Refused {
        /// URL.
        peer: String,
        /// Item, or what was asked.
        key: String,
        /// Its own words.
        reason: String,
        /// What to do.
        remedy: &'static str,
        /// Who must act.
        class: FaultClass,
        /// Whether other items would be refused too.
        scope: Scope,
    },
    /// The sink cannot be used as it is configured.
    #[error("sink {sink}: {reason}")]
    Setup {
        /// Name in the configuration.
        sink: String,
        /// What is wrong, and the remedy.
        reason: String,
    },
    /// The file in the store is not the one that the catalogue knows.
    #[error(
        "the stored product {path} was altered on disk: {found}, the catalogue says {expected}; it is not delivered: restore the file or make the product again"
    )]
    Altered {
        /// File in the store.
        path: PathBuf,
        /// Size or digest found.
        found: String,
        /// Size or digest expected.
        expected: String,
    },
    /// A name that cannot be a file name.
    #[error("the name {key:?} cannot be used as a file name; rename the product and make it again")]
    Name {
        /// Name.
        key: String,
    },
    /// A folder or file of the sink, or the store, does not work now.
    #[error("cannot {what} {path}; it is tried again by itself")]
    Io {
        /// What was tried, as a verb.
        what: &'static str,
        /// File or folder.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// Something of ours broke.
    #[error("delivery broke: {reason}")]
    Broken {
        /// What happened.
        reason: String,
    },
}

impl SinkError {
    /// Sends that arrive damaged before the item is parked.
    pub const DAMAGED_SENDS: i64 = 3;

    /// How far the failure reaches.
    pub fn scope(&self) -> Scope {
        match self {
            SinkError::Unreachable { .. }
            | SinkError::NotReady { .. }
            | SinkError::Setup { .. }
            | SinkError::Io { .. } => Scope::Sink,
            SinkError::Refused { scope, .. } => *scope,
            SinkError::Reply { .. }
            | SinkError::Hiccup { .. }
            | SinkError::Damaged { .. }
            | SinkError::Altered { .. }
            | SinkError::Name { .. }
            | SinkError::Broken { .. } => Scope::Item,
        }
    }

    /// Whether trying again by itself can help, after `sends` sends of the item.
    pub fn retry(&self, sends: i64) -> bool {
        match self {
            SinkError::Damaged { .. } => sends < SinkError::DAMAGED_SENDS,
            _ => matches!(self.class(), FaultClass::Resource | FaultClass::Transient),
        }
    }
}

impl Classified for SinkError {
    fn class(&self) -> FaultClass {
        match self {
            SinkError::NotReady { .. } | SinkError::Io { .. } => FaultClass::Resource,
            SinkError::Unreachable { .. }
            | SinkError::Reply { .. }
            | SinkError::Hiccup { .. }
            | SinkError::Damaged { .. } => FaultClass::Transient,
            SinkError::Refused { class, .. } => *class,
            SinkError::Setup { .. } => FaultClass::Config,
            SinkError::Altered { .. } | SinkError::Broken { .. } => FaultClass::Bug,
            SinkError::Name { .. } => FaultClass::BadInput,
        }
    }
}

/// Names a failed call to the file system. Folders of a sink come and go with their mounts, so every such failure is
/// worth trying again.
pub(super) fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> SinkError {
    let path = path.to_path_buf();
    move |source| SinkError::Io { what, path, source }
}
