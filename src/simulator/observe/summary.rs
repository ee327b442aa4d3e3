//! What came of a night.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::instrument::Arm;
use crate::simulator::exposure::ExposureLine;
use crate::simulator::kind::FrameKind;

/// Frames of one arm and kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KindCount {
    /// Arm.
    pub arm: Arm,
    /// Kind.
    pub kind: FrameKind,
    /// Frames written.
    pub frames: usize,
    /// Frames with faults among them.
    pub faulty: usize,
    /// Bytes of their files.
    pub bytes: u64,
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Frames written.
    pub frames: usize,
    /// Frames that were there before.
    pub kept: usize,
    /// Bytes of the files written.
    pub bytes: u64,
    /// How long it took.
    pub seconds: f64,
    /// Stopped before the end.
    pub interrupted: bool,
    /// By arm and kind.
    pub kinds: Vec<KindCount>,
    /// How often each fault was applied.
    pub faults: BTreeMap<String, usize>,
}

impl Summary {
    /// Of frames in one line each, with the bytes of their files.
    pub(super) fn of(landed: &[(ExposureLine, usize)]) -> Summary {
        let mut summary = Summary::default();
        for (line, bytes) in landed {
            summary.add(line, *bytes as u64);
        }
        summary
    }

    fn add(&mut self, line: &ExposureLine, bytes: u64) {
        self.frames += 1;
        self.bytes += bytes;
        for fault in &line.faults {
            *self.faults.entry(fault.clone()).or_default() += 1;
        }
        let faulty = usize::from(!line.faults.is_empty());
        let place = (line.arm, line.kind);
        match self.kinds.binary_search_by_key(&place, |count| (count.arm, count.kind)) {
            Ok(found) => {
                let count = &mut self.kinds[found];
                count.frames += 1;
                count.faulty += faulty;
                count.bytes += bytes;
            }
            Err(free) => {
                let count = KindCount { arm: place.0, kind: place.1, frames: 1, faulty, bytes };
                self.kinds.insert(free, count);
            }
        }
    }

    /// Frames of a second; 0 when nothing was written.
    pub fn rate(&self) -> f64 {
        if self.seconds > 0.0 { self.frames as f64 / self.seconds } else { 0.0 }
    }
}
