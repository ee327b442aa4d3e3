//! How a raw header becomes a [`FrameMeta`]: the rules of `config/classification.toml`, applied.
//!
//! What lives here: reading and checking the rules (`rules`), applying them to one header (`classify`), the table of
//! kinds (`kinds`), the gain rule (`gain`), data ids and times (`identity`). What never lives here: files, pixels, the
//! catalogue, a list of kinds of frames in code.

mod classify;
mod gain;
mod identity;
mod kinds;
mod rules;
#[cfg(test)]
mod tests;

use jiff::Timestamp;

use crate::fault::{Classified, FaultClass};
use crate::fits::Header;
use crate::instrument::FrameMeta;

use rules::Rules;

/// The rules that are built into the program.
const BUILTIN: &str = include_str!("../../../config/classification.toml");

/// Checked classification rules.
#[derive(Clone, Debug)]
pub struct Classification {
    rules: Rules,
}

impl Classification {
    /// Read and check rules. `origin` is the name of the file, for messages.
    pub fn parse(text: &str, origin: &str) -> Result<Classification, ClassificationError> {
        Ok(Classification { rules: Rules::parse(text, origin)? })
    }

    /// The rules that are built into the program.
    pub fn builtin() -> Result<Classification, ClassificationError> {
        Classification::parse(BUILTIN, "config/classification.toml")
    }

    /// The text of the built-in rules, for `config show`.
    pub fn builtin_text() -> &'static str {
        BUILTIN
    }

    /// Describe one raw frame. `name` is the file's name without directories, `shape` the raw image as (rows, columns)
    /// = (NAXIS2, NAXIS1), `now` the moment to which the future is relative.
    ///
    /// An error means that the file must be quarantined; oddities that do not prevent use are in
    /// [`FrameMeta::warnings`].
    pub fn classify(
        &self,
        name: &str,
        header: &Header,
        shape: (usize, usize),
        bitpix: i64,
        now: Timestamp,
    ) -> Result<FrameMeta, ClassifyError> {
        classify::classify(&self.rules, name, header, shape, bitpix, now)
    }

    /// The data id of a frame: from the file's name when that is an archive name, else from the archive keyword, else
    /// from the start of the exposure. `None` when none of the three serves.
    pub fn data_id_of(&self, name: &str, header: &Header) -> Option<String> {
        identity::data_id_of(&self.rules.data_id, &self.rules.keywords.date_obs, name, header)
    }

    /// Names of all kinds in order, without repeats and with the one for everything else last.
    pub fn kinds(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for kind in &self.rules.kinds {
            if !names.contains(&kind.name.get_ref().as_str()) {
                names.push(kind.name.get_ref());
            }
        }
        names.push(&self.rules.otherwise.name);
        names
    }
}

/// Why the rules cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ClassificationError {
    /// Not TOML, an unknown key, a missing key or a wrong type.
    #[error("{origin}, line {line}: {message}")]
    Syntax {
        /// File.
        origin: String,
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// The rules contradict themselves.
    #[error("{origin}, line {line}: {subject}: {problem}")]
    Rule {
        /// File.
        origin: String,
        /// Line of the rule, from 1; 1 when the rule is a whole section.
        line: usize,
        /// Which rule.
        subject: String,
        /// What is wrong with it and what is allowed.
        problem: String,
    },
}

impl Classified for ClassificationError {
    fn class(&self) -> FaultClass {
        FaultClass::Config
    }
}

/// Why a file cannot become a frame.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ClassifyError {
    /// Another instrument.
    #[error("not a {expected} frame: {keyword} is {found:?}; move the file out of the watched directory")]
    OtherInstrument {
        /// Keyword.
        keyword: String,
        /// Value found.
        found: String,
        /// Value expected.
        expected: String,
    },
    /// The file is a product of a pipeline.
    #[error(
        "a product, not a raw frame: {keyword} is {found:?}, expected no such keyword; keep products out of the raw tree or remove the keyword"
    )]
    Product {
        /// Keyword.
        keyword: String,
        /// Value found.
        found: String,
    },
    /// A keyword that is needed has no value.
    #[error("keyword {keyword} is missing, expected {expected}: {remedy}")]
    Missing {
        /// Keyword.
        keyword: String,
        /// What should stand there.
        expected: String,
        /// What to do.
        remedy: String,
    },
    /// A keyword has another type than it must have.
    #[error("keyword {keyword} is {found:?}, expected {expected}: {remedy}")]
    WrongType {
        /// Keyword.
        keyword: String,
        /// Value found.
        found: String,
        /// What should stand there.
        expected: String,
        /// What to do.
        remedy: String,
    },
    /// The type is right and the value cannot be true.
    #[error("keyword {keyword} is {found}, which cannot be: expected {expected}; {remedy}")]
    Impossible {
        /// Keyword.
        keyword: String,
        /// Value found.
        found: String,
        /// What could be true.
        expected: String,
        /// What to do.
        remedy: String,
    },
    /// The image is not one of this arm's detector.
    #[error(
        "the image has NAXIS1 x NAXIS2 = {columns} x {rows} with {arm} in {keyword}, expected {expected}: correct the arm or the binning keywords, or take the exposure again"
    )]
    Shape {
        /// Arm by the header, with the binning where it matters: `VIS binned 2x1`.
        arm: String,
        /// Keyword that says so.
        keyword: String,
        /// Columns found.
        columns: usize,
        /// Rows found.
        rows: usize,
        /// What the detector can give.
        expected: String,
    },
    /// Neither the arm keyword nor a camera name says which detector took the frame.
    #[error(
        "no arm: keyword {keyword} is {found}, expected VIS, NIR or ACQ, or a camera named by {fallback}; write the arm into {keyword}"
    )]
    NoArm {
        /// Arm keyword.
        keyword: String,
        /// Value found, or `absent`.
        found: String,
        /// Keywords that were tried after it.
        fallback: String,
    },
}

impl Classified for ClassifyError {
    fn class(&self) -> FaultClass {
        FaultClass::BadInput
    }
}
