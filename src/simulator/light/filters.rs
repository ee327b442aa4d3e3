//! Pass bands: the filters of the acquisition camera, and J and H for the magnitudes of targets.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::star::Spectrum;
use super::table::{Beyond, Table};
use super::{AREA, LightError, PLANCK_LIGHT, photons_per_flux};
use crate::simulator::math;

/// A pass band by its usual name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Band {
    #[serde(rename = "u")]
    U,
    #[serde(rename = "g")]
    G,
    #[default]
    #[serde(rename = "r")]
    R,
    #[serde(rename = "i")]
    I,
    #[serde(rename = "z")]
    Z,
    #[serde(rename = "y")]
    Y,
    V,
    J,
    H,
}

/// What a band lets through, and what the camera makes of it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// The band.
    pub band: Band,
    /// Effective wavelength, nm.
    pub effective: f64,
    /// Width at half transmission, nm. The band is a trapezium: full over nine tenths of the width, nothing beyond eleven.
    pub width: f64,
    /// What the camera does with it; absent for J and H.
    pub camera: Option<Camera>,
}

/// A filter in front of the acquisition camera.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Camera {
    /// AB magnitude of a star above the atmosphere that gives one electron per second.
    pub zero_point: f64,
    /// Detected electrons over photons on the telescope's area.
    pub efficiency: f64,
    /// Magnitudes per airmass.
    pub extinction: f64,
    /// Dark sky, AB magnitudes per square arcsecond.
    pub sky: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Filters {
    filter: Vec<Filter>,
}

#[allow(clippy::expect_used)]
static FILTERS: LazyLock<Vec<Filter>> = LazyLock::new(|| {
    // The embedded table is part of the program: the tests read it, so this cannot fail.
    let filters: Filters =
        toml::from_str(include_str!("../../../calibrations/filters.toml")).expect("the embedded filter table is valid");
    filters.filter
});

/// AB magnitude 0, erg/s/cm2/Hz.
const AB_ZERO: f64 = 3.630_780_5e-20;

/// Step of the integrals over a band, nm.
const STEP: f64 = 0.2;

impl Band {
    /// All bands, in the order of the table.
    pub fn all() -> impl Iterator<Item = Band> {
        FILTERS.iter().map(|filter| filter.band)
    }

    /// The band that a filter of the camera is called after: `g`, `SDSS_g`, `V`.
    pub fn parse(name: &str) -> Result<Band, LightError> {
        let last = name.trim().rsplit('_').next().unwrap_or_default();
        FILTERS.iter().map(|filter| filter.band).find(|band| band.as_str() == last).ok_or_else(|| LightError::Unknown {
            kind: "pass band",
            found: name.into(),
            known: FILTERS.iter().map(|filter| filter.band.as_str()).collect::<Vec<_>>().join(", "),
        })
    }

    /// `u`, `g`, ... `V`, `J`, `H`.
    pub fn as_str(self) -> &'static str {
        match self {
            Band::U => "u",
            Band::G => "g",
            Band::R => "r",
            Band::I => "i",
            Band::Z => "z",
            Band::Y => "y",
            Band::V => "V",
            Band::J => "J",
            Band::H => "H",
        }
    }

    /// The figures of the band.
    #[allow(clippy::expect_used)]
    pub fn filter(self) -> &'static Filter {
        // Every band has an entry: the tests look all of them up.
        FILTERS.iter().find(|filter| filter.band == self).expect("every band is in the embedded table")
    }
}

impl Filter {
    /// First and last wavelength with any transmission, nm.
    pub fn limits(&self) -> (f64, f64) {
        (self.effective - 0.55 * self.width, self.effective + 0.55 * self.width)
    }

    /// Transmission relative to the middle of the band, 0 to 1.
    pub fn transmission(&self, wavelengths: &[f64]) -> Vec<f64> {
        let share = |w: f64| ((0.55 - (w - self.effective).abs() / self.width) / 0.1).clamp(0.0, 1.0);
        wavelengths.iter().map(|&wavelength| share(wavelength)).collect()
    }

    /// AB magnitude through the band: photons against those of a flat spectrum per Hz. Infinite where nothing shines.
    pub fn magnitude(&self, spectrum: &Spectrum) -> f64 {
        let (from, to) = self.limits();
        let count = ((to - from) / STEP).ceil() as usize + 1;
        let grid: Vec<f64> = (0..count).map(|index| from + (to - from) * index as f64 / (count - 1) as f64).collect();
        let shares = self.transmission(&grid);
        let step = grid[1] - grid[0];
        // Both ends of a trapezium transmit nothing: the plain sum is the trapezoidal rule.
        let continuum = spectrum.flux.sample(&grid);
        let mut photons: f64 = grid
            .iter()
            .zip(&continuum)
            .zip(&shares)
            .map(|((&w, f), share)| f * photons_per_flux(w) * share * step)
            .sum();
        let centres: Vec<f64> = spectrum.lines.iter().map(|line| line.wavelength).collect();
        photons += spectrum
            .lines
            .iter()
            .zip(self.transmission(&centres))
            .map(|(line, share)| 0.1 * line.flux * photons_per_flux(line.wavelength) * share)
            .sum::<f64>();
        // Photons per second, m2 and nm at AB 0: f_nu / (h lambda), with 1e4 cm2 in a m2.
        let reference: f64 = grid.iter().zip(&shares).map(|(&w, share)| ab_zero_photons(w) * share * step).sum();
        -2.5 * math::log10(photons / reference)
    }

    /// Electrons per second that the camera makes of a star of AB magnitude `magnitude` at an airmass; `None` for a band
    /// that the camera does not have.
    pub fn electrons(&self, magnitude: f64, airmass: f64) -> Option<f64> {
        let camera = self.camera?;
        Some(math::exp10(-0.4 * (magnitude + camera.extinction * airmass - camera.zero_point)))
    }

    /// Electrons per second at AB 0 that width and efficiency of the band give: the zero point from first principles.
    pub fn zero_flux(&self) -> Option<f64> {
        let (from, to) = self.limits();
        let band = Table::of(from, STEP, ((to - from) / STEP) as usize + 1, Beyond::Zero, ab_zero_photons);
        let shape = band.map(|w, photons| photons * self.transmission(&[w])[0]);
        Some(shape.integral(from, to) * AREA * self.camera?.efficiency)
    }
}

/// Photons per second, m2 and nm of a star of AB magnitude 0.
pub fn ab_zero_photons(wavelength: f64) -> f64 {
    // f_nu dnu / (h nu) = f_nu / (h lambda) dlambda, and h = (h c) / c.
    1.0e4 * AB_ZERO * 2.997_924_58e17 / (PLANCK_LIGHT * wavelength)
}
