//! What kind of failure an error is, and therefore who must act. The scheduler, the delivery and the command line read
//! nothing else of an error than its class; texts are for people.
//!
//! What never lives here: concrete errors. Each module has its own enum and says its class.

use serde::{Deserialize, Serialize};

/// The class of a failure decides what happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultClass {
    /// This file can never be used as it is: quarantine it and look again when it changes.
    BadInput,
    /// This set cannot be reduced (lamp off, saturated, too few frames): park the job, another set may serve.
    Unprocessable,
    /// A calibration is missing: wait for it, with a deadline.
    Missing,
    /// The product exists but its QC is out of range: keep it, do not use it as a master.
    Quality,
    /// Disk, memory or a peer is not available: pause and try again, without counting an attempt.
    Resource,
    /// An I/O error or a lost connection: try again, a bounded number of times.
    Transient,
    /// The operator's configuration is wrong: stop trying until it changes.
    Config,
    /// A panic or a broken invariant: no retry, keep the evidence, tell someone. The daemon lives on.
    Bug,
}

impl FaultClass {
    /// Stable identifier, used in the catalogue, in metric labels and in JSON.
    pub fn code(self) -> &'static str {
        match self {
            FaultClass::BadInput => "bad_input",
            FaultClass::Unprocessable => "unprocessable",
            FaultClass::Missing => "missing",
            FaultClass::Quality => "quality",
            FaultClass::Resource => "resource",
            FaultClass::Transient => "transient",
            FaultClass::Config => "config",
            FaultClass::Bug => "bug",
        }
    }

    /// Inverse of [`FaultClass::code`].
    pub fn from_code(code: &str) -> Option<FaultClass> {
        [
            FaultClass::BadInput,
            FaultClass::Unprocessable,
            FaultClass::Missing,
            FaultClass::Quality,
            FaultClass::Resource,
            FaultClass::Transient,
            FaultClass::Config,
            FaultClass::Bug,
        ]
        .into_iter()
        .find(|class| class.code() == code)
    }
}

/// An error that knows who must act on it.
pub trait Classified: std::error::Error {
    /// The class of this failure.
    fn class(&self) -> FaultClass;

    /// The whole chain of causes in one line, for logs and for the catalogue.
    fn story(&self) -> String
    where
        Self: Sized,
    {
        chain(self)
    }
}

/// One line: the error and each of its sources, joined by ": ".
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Some libraries print their source themselves.
        let words = cause.to_string();
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        source = cause.source();
    }
    text
}
