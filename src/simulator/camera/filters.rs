//! The seven filters of the acquisition camera: where they lie, how many electrons they give, what air and sky do there.
//!
//! Zero points follow from 5.48e10 dlambda/lambda photons per second and square metre at AB 0, the 8.9 m2 of the
//! telescope and assumed total efficiencies of 0.12 (u) to 0.35 (r); extinction and sky are those of a dark site at
//! 2400 m. All are AB.

use serde::{Deserialize, Serialize};

use super::super::math;

/// A filter of the acquisition camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Filter {
    /// 355 nm.
    #[serde(rename = "u")]
    U,
    /// 481 nm.
    #[serde(rename = "g")]
    G,
    /// 617 nm.
    #[serde(rename = "r")]
    R,
    /// 752 nm.
    #[serde(rename = "i")]
    I,
    /// 866 nm.
    #[serde(rename = "z")]
    Z,
    /// 962 nm.
    #[serde(rename = "y")]
    Y,
    /// 551 nm.
    V,
}

struct Band {
    name: &'static str,
    /// nm.
    centre: f64,
    /// Magnitude that gives one electron per second above the atmosphere.
    zero_point: f64,
    /// Magnitudes per airmass.
    extinction: f64,
    /// Magnitude of a square arcsecond of dark sky, as seen from the ground.
    sky: f64,
    /// Amplitude of the fringes in the sky's light.
    fringes: f64,
}

impl Filter {
    /// All filters, in the order of their wavelengths but for V, which stands last.
    pub const ALL: [Filter; 7] = [Filter::U, Filter::G, Filter::R, Filter::I, Filter::Z, Filter::Y, Filter::V];

    fn band(self) -> Band {
        let band = |name, centre, zero_point, extinction, sky, fringes| Band {
            name,
            centre,
            zero_point,
            extinction,
            sky,
            fringes,
        };
        match self {
            Filter::U => band("u", 355.0, 24.9, 0.50, 22.3, 0.0),
            Filter::G => band("g", 481.0, 26.5, 0.18, 22.1, 0.0),
            Filter::R => band("r", 617.0, 26.4, 0.09, 21.2, 0.0),
            Filter::I => band("i", 752.0, 26.2, 0.04, 20.3, 0.0),
            Filter::Z => band("z", 866.0, 25.5, 0.03, 19.4, 0.01),
            Filter::Y => band("y", 962.0, 23.7, 0.03, 18.5, 0.03),
            Filter::V => band("V", 551.0, 26.0, 0.11, 21.7, 0.0),
        }
    }

    /// Name as in plans, headers and tables.
    pub fn name(self) -> &'static str {
        self.band().name
    }

    /// Central wavelength, nm.
    pub fn wavelength(self) -> f64 {
        self.band().centre
    }

    /// AB magnitude of a star that gives one electron per second above the atmosphere.
    pub fn zero_point(self) -> f64 {
        self.band().zero_point
    }

    /// Extinction, magnitudes per airmass.
    pub fn extinction(self) -> f64 {
        self.band().extinction
    }

    /// Dark sky as seen from the ground, AB magnitudes per square arcsecond.
    pub fn sky(self) -> f64 {
        self.band().sky
    }

    /// Amplitude of the fringes relative to the sky's light.
    pub fn fringes(self) -> f64 {
        self.band().fringes
    }

    /// Electrons per second from a star of this AB magnitude (above the atmosphere) through `airmass` and a grey cloud
    /// of `cloud` magnitudes.
    pub fn electrons(self, magnitude: f64, airmass: f64, cloud: f64) -> f64 {
        let band = self.band();
        math::exp10(0.4 * (band.zero_point - magnitude - band.extinction * airmass - cloud))
    }

    /// Electrons per second and square arcsecond from a sky that is `brighter` magnitudes brighter than the dark one.
    pub fn sky_electrons(self, brighter: f64) -> f64 {
        let band = self.band();
        math::exp10(0.4 * (band.zero_point - band.sky + brighter))
    }
}
