//! Sunlight that the air scatters: by way of the Moon, and in twilight.

use serde::{Deserialize, Serialize};

use super::LightError;
use super::air::extinction;
use super::table::{Beyond, Table};
use super::templates::black_body;
use crate::simulator::math;

/// The Moon during an exposure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moon {
    /// Phase angle, degrees: 0 full, 90 half, 180 new.
    pub phase: f64,
    /// Distance from the zenith, degrees; 90 and more: below the horizon.
    pub zenith_distance: f64,
    /// Distance from the target, degrees.
    pub separation: f64,
}

/// Photons per second, m2, nm and arcsec2 at 550 nm of V = 0 per arcsec2.
const V_ZERO: f64 = 1.005e8;

impl Moon {
    /// Refuses angles that cannot be.
    pub fn check(&self) -> Result<(), LightError> {
        let angles = [
            ("moon phase", self.phase),
            ("moon zenith distance", self.zenith_distance),
            ("moon separation", self.separation),
        ];
        match angles.into_iter().find(|(_, angle)| !(0.0..=180.0).contains(angle)) {
            Some((key, found)) => Err(LightError::Value { key, found, reason: "expected 0 to 180 degrees" }),
            None => Ok(()),
        }
    }

    /// Moonlight in the sky at an airmass, photons per second, m2, nm and arcsec2: the model of Krisciunas and Schaefer
    /// (1991) with the extinction of each wavelength in place of that in V, which makes it blue, and the Sun's colour.
    pub fn photons(&self, wavelength: f64, airmass: f64) -> f64 {
        if self.zenith_distance >= 90.0 {
            return 0.0;
        }
        let phase = self.phase.abs();
        let moon = math::exp10(-0.4 * (3.84 + 0.026 * phase + 4.0e-9 * phase * phase * phase * phase));
        let (_, cosine) = math::sin_cos(self.separation.to_radians());
        let scattering = math::exp10(5.36) * (1.06 + cosine * cosine) + math::exp10(6.15 - self.separation / 40.0);
        let path = |cosine: f64| 1.0 / (1.0 - 0.96 * (1.0 - cosine * cosine)).sqrt();
        let (_, above) = math::sin_cos(self.zenith_distance.to_radians());
        let k = extinction(wavelength);
        let nanolamberts = scattering
            * moon
            * math::exp10(-0.4 * k * path(above))
            * (1.0 - math::exp10(-0.4 * k * path(1.0 / airmass.max(1.0))));
        // V = (20.7233 - ln(nL / 34.08)) / 0.92104, so that 34.08 nanolamberts are V = 22.50.
        nanolamberts / 34.08 * math::exp10(-0.4 * (20.7233 / 0.921_04)) * V_ZERO * sunlight(wavelength)
    }
}

/// Photons of the Sun per nm, 1 at 550 nm.
fn sunlight(wavelength: f64) -> f64 {
    black_body(wavelength, 5778.0) * wavelength / 550.0
}

/// Twilight at the zenith, photons per second, m2, nm and arcsec2, for a Sun `depression` degrees below the horizon; nothing
/// beyond 18 degrees. After the fits of Patat, Ugolnikov and Postylyakov (2006) for 5 to 15 degrees, good to a few tenths: U to I in Vega
/// magnitudes, faded out to 18 degrees and constant in magnitude beyond I.
pub fn twilight(zero_flux: &Table, wavelength: f64, depression: f64) -> f64 {
    // nm, magnitude at 5 degrees, its slope and its curvature per degree.
    const FITS: [(f64, f64, f64, f64); 5] = [
        (360.0, 11.78, 1.376, -0.039),
        (440.0, 11.84, 1.411, -0.041),
        (550.0, 11.84, 1.518, -0.057),
        (640.0, 11.40, 1.567, -0.064),
        (790.0, 10.93, 1.470, -0.062),
    ];
    if depression >= 18.0 {
        return 0.0;
    }
    let deeper = (depression - 5.0).clamp(0.0, 10.0);
    let magnitude = |&(w, start, slope, curve): &(f64, f64, f64, f64)| (w, start + deeper * (slope + deeper * curve));
    let magnitudes = Table::new(FITS.iter().map(magnitude), Beyond::Hold);
    let faded = ((18.0 - depression) / 3.0).clamp(0.0, 1.0);
    faded * zero_flux.at(wavelength) * math::exp10(-0.4 * magnitudes.at(wavelength))
}
