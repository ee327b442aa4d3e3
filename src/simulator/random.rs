//! One random stream per effect, frame and row, so that an effect can change without moving another, and so that the
//! number of threads cannot matter.

use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;

/// What a stream is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Effect {
    /// Hot pixels and column pattern of a detector: one stream a detector, not a frame.
    Detector,
    /// Read noise and photon noise.
    Noise,
    /// Cosmic rays.
    Cosmics,
    /// Shift of a whole frame.
    Offset,
}

/// The stream of an effect. `frame` identifies the frame or the detector, `row` the row, or 0.
pub(super) fn stream(seed: u64, effect: Effect, frame: u64, row: u64) -> Pcg64Mcg {
    let mixed = [effect as u64 + 1, frame, row].into_iter().fold(seed, |state, part| mix(state ^ mix(part)));
    Pcg64Mcg::seed_from_u64(mixed)
}

/// The output function of SplitMix64: neighbouring numbers become unrelated ones.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
