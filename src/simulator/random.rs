//! One random stream per effect, frame and row, so that an effect can change without moving another, and so that the
//! number of threads cannot matter.

use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};

/// What a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// Fixed pattern of a detector: hot, dead and unstable pixels, response, column pattern. One stream a detector.
    Detector,
    /// Photon noise.
    Photons,
    /// Read noise.
    Read,
    /// Cosmic rays.
    Cosmics,
    /// Shift of the level of a whole frame, row or channel.
    Offset,
    /// Blinking of unstable pixels.
    Telegraph,
    /// Brightness of lamps from frame to frame.
    Lamps,
    /// Brightness of the airglow from frame to frame.
    Airglow,
    /// Guiding, jitter and repositioning of the slit.
    Pointing,
    /// Stars and galaxies in the field of the camera.
    Field,
    /// Structure of the molecular absorption.
    Telluric,
}

/// The seed of a night, and of effects that shall differ from it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seeds {
    /// Seed of all effects that are not named.
    pub night: u64,
    /// Own seeds of single effects.
    #[serde(default)]
    pub effects: std::collections::BTreeMap<Effect, u64>,
}

impl Seeds {
    /// One seed for everything.
    pub fn new(night: u64) -> Seeds {
        Seeds { night, effects: Default::default() }
    }

    /// The stream of an effect. `frame` identifies the frame or the detector, `row` the row, or 0.
    pub fn stream(&self, effect: Effect, frame: u64, row: u64) -> Pcg64Mcg {
        let seed = self.effects.get(&effect).copied().unwrap_or(self.night);
        let mixed = [effect as u64 + 1, frame, row].into_iter().fold(seed, |state, part| mix(state ^ mix(part)));
        Pcg64Mcg::seed_from_u64(mixed)
    }
}

/// The output function of SplitMix64: neighbouring numbers become unrelated ones.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
