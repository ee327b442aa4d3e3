//! Reads one file and says what it is: a frame, not complete yet, or unusable with a code and a reason.
//!
//! Runs on threads that may block. What never lives here: the catalogue. A file is only ever opened for reading.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use jiff::Timestamp;

use super::decide::Patience;
use super::walk;
use crate::catalogue::files::Look;
use crate::fault::chain;
use crate::fits::{Header, Scan, ScanError, ScanLimits, scan};
use crate::instrument::{Classification, ClassifyError, FrameMeta};

/// Rows of zero bytes at the end of an image that was written in part: nobody has written there yet. A detector has noise,
/// so that two such rows would be enough; a row or two may be blank by other means.
const UNWRITTEN_ROWS: u64 = 16;

/// Code of a file that the operating system does not let us read.
pub(super) const UNREADABLE: &str = "unreadable";

/// A file to be read.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) look: Look,
    pub(super) path: PathBuf,
    /// Code under which it is quarantined already; empty otherwise.
    pub(super) known_code: String,
    /// For how long it is known to have stood still, microseconds.
    pub(super) still_us: i64,
    /// Has it changed since the last recorded look?
    pub(super) changed: bool,
}

/// What is needed to judge a file.
#[derive(Debug)]
pub(super) struct Judge {
    pub(super) classification: std::sync::Arc<Classification>,
    pub(super) limits: ScanLimits,
    pub(super) patience: Patience,
}

/// A file and what became of it.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) look: Look,
    pub(super) outcome: Outcome,
}

/// What became of a file.
#[derive(Debug)]
pub(super) enum Outcome {
    /// A complete frame.
    Frame(Box<Frame>),
    /// Not complete yet.
    Waits {
        /// Has size or time moved since the last recorded look?
        changed: bool,
        /// What is missing.
        reason: String,
        /// From when on another look can bring news, microseconds UTC.
        until_us: i64,
    },
    /// Unusable.
    Quarantined {
        /// Stable code.
        code: &'static str,
        /// For people.
        reason: String,
    },
    /// Never a frame.
    Ignored {
        /// Why.
        reason: &'static str,
    },
    /// Nothing to record: it vanished, or is as it was.
    Nothing,
}

/// A complete, classified frame.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) meta: FrameMeta,
    pub(super) header: Header,
    /// Uncompressed size in bytes.
    pub(super) bytes: i64,
    /// sha256 of the uncompressed stream, hexadecimal.
    pub(super) digest: String,
}

impl Judge {
    /// Read and judge one file. A panic on the way is a bug of ours; it costs this file, not the scan.
    pub(super) fn examine(&self, candidate: Candidate, now: Timestamp) -> Finding {
        let look = candidate.look.clone();
        catch_unwind(AssertUnwindSafe(|| self.look_into(candidate, now))).unwrap_or_else(|panic| {
            let words = panic.downcast_ref::<String>().map(String::as_str);
            let words = words.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
            let reason = format!("{}: reading it made soxsd panic ({words}); report this with the file", look.path);
            Finding { look, outcome: Outcome::Quarantined { code: "bug", reason } }
        })
    }

    fn look_into(&self, candidate: Candidate, now: Timestamp) -> Finding {
        let outcome = self.judge(&candidate, now);
        // A file that moved while it was read proves nothing, whatever was found in it.
        let after = fs::metadata(&candidate.path).map(|found| walk::look_of(&candidate.path, &found));
        match after {
            Ok(after) if after != candidate.look => {
                let until_us = now.as_microsecond().saturating_add(self.patience.settle_us);
                let reason = "it changed while it was read".to_string();
                Finding { look: after, outcome: Outcome::Waits { changed: true, reason, until_us } }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Finding { look: candidate.look, outcome: Outcome::Nothing }
            }
            _ => Finding { look: candidate.look, outcome },
        }
    }

    fn judge(&self, candidate: &Candidate, now: Timestamp) -> Outcome {
        let size = u64::try_from(candidate.look.size).unwrap_or(0);
        if size > self.limits.bytes {
            let reason = format!(
                "{}: {size} bytes, the limit is {}; raise ingest.max_file_mib if the file is genuine",
                candidate.look.path, self.limits.bytes
            );
            return Outcome::Quarantined { code: "too_large", reason };
        }
        let complete = match scan(&candidate.path, &self.limits) {
            Ok(complete) => complete,
            Err(error) if error.is_incomplete() => {
                return self.not_complete(candidate, scan_code(&error), chain(&error), now);
            }
            Err(error) => return refused(candidate, scan_code(&error), chain(&error)),
        };
        if let Some(reason) = unwritten(candidate, &complete) {
            return self.not_complete(candidate, "unwritten", reason, now);
        }
        self.classify(candidate, complete, now).unwrap_or_else(|(code, reason)| Outcome::Quarantined { code, reason })
    }

    fn not_complete(&self, candidate: &Candidate, code: &'static str, reason: String, now: Timestamp) -> Outcome {
        let patience = self.patience;
        if patience.existing || candidate.still_us >= patience.deadline_us {
            return refused(candidate, code, reason);
        }
        let left_us = patience.deadline_us.saturating_sub(candidate.still_us);
        let until_us = now.as_microsecond().saturating_add(if candidate.changed {
            // One more look when it has stood still before our eyes.
            left_us.min(patience.settle_us)
        } else {
            left_us
        });
        Outcome::Waits { changed: candidate.changed, reason, until_us }
    }

    fn classify(
        &self,
        candidate: &Candidate,
        complete: Scan,
        now: Timestamp,
    ) -> Result<Outcome, (&'static str, String)> {
        let path = &candidate.look.path;
        let further = complete.hdus.len().saturating_sub(1);
        let Some(primary) = complete.hdus.into_iter().next() else {
            return Err(("structure", format!("{path}: no header and data unit; send the file again")));
        };
        let axis = |index: usize| primary.shape.get(index).and_then(|length| usize::try_from(*length).ok());
        let (2, Some(columns), Some(rows)) = (primary.shape.len(), axis(0), axis(1)) else {
            let where_else = if further > 0 { "; is it a product, with its image in an extension?" } else { "" };
            let found = primary.shape.len();
            let reason = format!(
                "{path}: NAXIS = {found} in the primary header, expected 2: raw frames have their image there{where_else}; \
                 send the raw file"
            );
            return Err(("structure", reason));
        };
        let name = &candidate.look.name;
        let mut meta = self
            .classification
            .classify(name, &primary.header, (rows, columns), primary.bitpix, now)
            .map_err(|error| (classify_code(&error), format!("{path}: {}", chain(&error))))?;
        if further > 0 {
            meta.warnings.push(format!("{further} header and data units follow the image: not used"));
        }
        let bytes = i64::try_from(complete.bytes).unwrap_or(i64::MAX);
        let frame = Frame { meta, header: primary.header, bytes, digest: complete.sha256 };
        Ok(Outcome::Frame(Box::new(frame)))
    }
}

/// Quarantine, unless nothing is new about a file that cannot be read.
fn refused(candidate: &Candidate, code: &'static str, reason: String) -> Outcome {
    if code == UNREADABLE && candidate.known_code == UNREADABLE && !candidate.changed {
        return Outcome::Nothing;
    }
    Outcome::Quarantined { code, reason }
}

/// Why an image of full size is not complete: its writer made the file as long as it will be and has not come to its end.
/// An image without any byte is not judged here: it may be what the detector gave.
fn unwritten(candidate: &Candidate, complete: &Scan) -> Option<String> {
    let image = complete.hdus.first()?;
    let row = image.shape.first()?.saturating_mul(image.bitpix.unsigned_abs() / 8);
    let partly = image.zero_tail < image.data_bytes && image.zero_tail >= row.saturating_mul(UNWRITTEN_ROWS);
    (partly && row > 0).then(|| {
        format!(
            "{}: the last {} of {} bytes of the image are zero: nothing was written there; wait for its writer or send it \
             again",
            candidate.look.path, image.zero_tail, image.data_bytes
        )
    })
}

/// Stable code of what is wrong with the form of a file.
fn scan_code(error: &ScanError) -> &'static str {
    match error {
        ScanError::Empty { .. } => "empty",
        ScanError::NotAFile { .. } => "not_a_file",
        ScanError::NotFits { .. } => "not_fits",
        ScanError::Truncated { .. } => "truncated",
        ScanError::Trailing { .. } => "trailing",
        ScanError::BadHeader { .. } => "bad_header",
        ScanError::TooLarge { .. } => "too_large",
        ScanError::Compressed { .. } => "compressed",
        ScanError::Io { .. } => UNREADABLE,
    }
}

/// Stable code of what is wrong with the header of a complete file.
fn classify_code(error: &ClassifyError) -> &'static str {
    match error {
        ClassifyError::OtherInstrument { .. } => "other_instrument",
        ClassifyError::Product { .. } => "product",
        ClassifyError::Missing { .. } => "missing",
        ClassifyError::WrongType { .. } => "wrong_type",
        ClassifyError::Impossible { .. } => "impossible",
        ClassifyError::Shape { .. } => "shape",
        ClassifyError::NoArm { .. } => "no_arm",
    }
}
