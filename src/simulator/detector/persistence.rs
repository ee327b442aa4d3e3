//! Persistence: what bright exposures leave behind in later ones.

use std::sync::Arc;

use ndarray::Array2;

use super::sizes::Sizes;
use crate::simulator::math;

/// Seconds after which an exposure is forgotten: what the brightest pixel then releases is below the dark signal.
const FORGOTTEN: f64 = 20_000.0;
/// Exposures that are remembered at most; of more, the oldest are forgotten.
const REMEMBERED: usize = 12;

/// Row, column and electrons of a pixel.
type Signal = (u32, u32, f32);

/// What one bright exposure left.
#[derive(Clone, Debug, PartialEq)]
struct Imprint {
    /// When the exposure ended, seconds.
    end: f64,
    /// The pixels that were bright enough.
    pixels: Arc<Vec<Signal>>,
}

/// The memory of one detector. Starts empty, and is carried from exposure to exposure in order of time.
///
/// A pixel that held the signal S above the threshold releases share x S / t electrons per second, t seconds after the
/// end of that exposure.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Persistence {
    imprints: Vec<Imprint>,
}

impl Persistence {
    /// True when nothing is left of earlier exposures.
    pub fn is_empty(&self) -> bool {
        self.imprints.is_empty()
    }

    /// Factor and pixels of each earlier exposure: their product is released between `start` and `start + exptime`
    /// (seconds), in electrons.
    pub(super) fn released(&self, share: f64, start: f64, exptime: f64) -> Vec<(f64, &[Signal])> {
        let released = |imprint: &Imprint| {
            // Within the first second the law would diverge.
            let after = (start - imprint.end).max(1.0);
            share * math::ln((after + exptime) / after)
        };
        let alive = |imprint: &&Imprint| start >= imprint.end && start - imprint.end < FORGOTTEN;
        let imprints = self.imprints.iter().filter(alive);
        imprints
            .map(|imprint| (released(imprint), imprint.pixels.as_slice()))
            .filter(|(factor, _)| *factor > 0.0)
            .collect()
    }

    /// Remember the pixels of an exposure, ended at `end` seconds, that held more than the threshold.
    pub(super) fn remember(&mut self, charge: &Array2<f32>, sizes: &Sizes, end: f64) {
        let (share, threshold) = sizes.persistence;
        if share == 0.0 {
            return;
        }
        self.imprints.retain(|imprint| end - imprint.end < FORGOTTEN);
        let bright = charge.indexed_iter().filter(|(_, signal)| f64::from(**signal) > threshold);
        let pixels: Vec<_> = bright
            .map(|((row, column), &signal)| (row as u32, column as u32, signal.min(sizes.full_well as f32)))
            .collect();
        if !pixels.is_empty() {
            self.imprints.push(Imprint { end, pixels: Arc::new(pixels) });
            let surplus = self.imprints.len().saturating_sub(REMEMBERED);
            self.imprints.drain(..surplus);
        }
    }
}
