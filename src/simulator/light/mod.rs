//! Light before it enters the spectrograph: what lamps, stars and the sky send, and what the air does to it.
//!
//! Everything here is a function of the wavelength (nm, air). What lives here: `lamps`, `star` (points) with `standards`
//! and `templates`, `sky` (surfaces) with `airglow`, `moon` and twilight, `air` (extinction, seeing, refraction) with
//! `telluric`, `throughput` of the orders, and `filters` of the camera. The figures are tables under `calibrations/`.
//! What never lives here: orders' geometry, slits and pixels (that is `optics`), and electrons (that is `detector`).

pub mod air;
pub mod airglow;
pub mod filters;
pub mod lamps;
pub mod moon;
pub mod sky;
pub mod standards;
pub mod star;
pub mod table;
pub mod telluric;
pub mod templates;
#[cfg(test)]
mod tests;
pub mod throughput;

use std::sync::Arc;

use crate::fault::{Classified, FaultClass};

/// Collecting area of the telescope, m2. The efficiency of the instrument is defined on it.
pub const AREA: f64 = 8.9;

/// Planck's constant times the speed of light, erg nm: the energy of a photon times its wavelength.
const PLANCK_LIGHT: f64 = 6.626_070_15e-27 * 2.997_924_58e17;

/// A density over wavelength: given wavelengths in nm (air), photons per second and nm at each.
pub type Continuum = Arc<dyn Fn(&[f64]) -> Vec<f64> + Send + Sync>;

/// The light of one source, as it would fall through the telescope's aperture onto the slit plane.
///
/// A point source is in photons per second (and nm); a surface (sky, lamps, nebulae) in photons per second (and nm) and
/// square arcsecond.
#[derive(Clone)]
pub struct Light {
    /// The smooth part, with absorption lines in it.
    pub continuum: Continuum,
    /// Emission lines that no spectrograph resolves, sorted by wavelength.
    pub lines: Vec<Line>,
}

/// An unresolved emission line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// nm, air.
    pub wavelength: f64,
    /// Photons per second (and square arcsecond).
    pub photons: f64,
}

impl Light {
    /// No light at all.
    pub fn dark() -> Light {
        Light { continuum: Arc::new(|wavelengths| vec![0.0; wavelengths.len()]), lines: Vec::new() }
    }

    /// The same light, `factor` times as bright.
    pub fn scaled(self, factor: f64) -> Light {
        let Light { continuum, mut lines } = self;
        lines.iter_mut().for_each(|line| line.photons *= factor);
        Light {
            continuum: Arc::new(move |wavelengths| {
                let mut values = continuum(wavelengths);
                values.iter_mut().for_each(|value| *value *= factor);
                values
            }),
            lines,
        }
    }

    /// The same light behind something that lets a share of it through: `transmission` gives that share at each
    /// wavelength, as the continuum does, and is asked for lines at their centres.
    pub fn through(self, transmission: Continuum) -> Light {
        let Light { continuum, mut lines } = self;
        let centres: Vec<f64> = lines.iter().map(|line| line.wavelength).collect();
        lines.iter_mut().zip(transmission(&centres)).for_each(|(line, share)| line.photons *= share);
        Light {
            continuum: Arc::new(move |wavelengths| {
                let mut values = continuum(wavelengths);
                values.iter_mut().zip(transmission(wavelengths)).for_each(|(value, share)| *value *= share);
                values
            }),
            lines,
        }
    }

    /// The light of several sources at once. Lines at one wavelength are one line.
    pub fn sum(parts: impl IntoIterator<Item = Light>) -> Light {
        let (continua, lines): (Vec<Continuum>, Vec<Vec<Line>>) =
            parts.into_iter().map(|light| (light.continuum, light.lines)).unzip();
        let mut lines = lines.concat();
        lines.sort_by(|a, b| a.wavelength.total_cmp(&b.wavelength));
        lines.dedup_by(|later, kept| {
            let same = later.wavelength == kept.wavelength;
            if same {
                kept.photons += later.photons;
            }
            same
        });
        Light {
            continuum: Arc::new(move |wavelengths| {
                let mut total = vec![0.0; wavelengths.len()];
                for continuum in &continua {
                    total.iter_mut().zip(continuum(wavelengths)).for_each(|(sum, value)| *sum += value);
                }
                total
            }),
            lines,
        }
    }
}

/// Photons per second, m2 and nm of a flux density in erg/s/cm2/Angstrom at `wavelength` nm.
pub fn photons_per_flux(wavelength: f64) -> f64 {
    // 1e4 cm2 in a m2, 10 Angstrom in a nm.
    const FACTOR: f64 = 1.0e5 / PLANCK_LIGHT;
    FACTOR * wavelength
}

/// What can be wrong with a user's description of light.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LightError {
    /// A line of a table does not hold what it must.
    #[error("spectrum {name}, line {line}: {reason}")]
    Table {
        /// Name of the table, as the user knows it.
        name: String,
        /// Number of the line, from 1.
        line: usize,
        /// What was found, and what is allowed.
        reason: String,
    },
    /// A table has too few points for what is asked of it.
    #[error("spectrum {name} {reason}")]
    Coverage {
        /// Name of the table.
        name: String,
        /// What is missing.
        reason: String,
    },
    /// A name that nothing carries.
    #[error("no {kind} is called '{found}'; known are {known}")]
    Unknown {
        /// What was looked for.
        kind: &'static str,
        /// The name found.
        found: String,
        /// All names.
        known: String,
    },
    /// A figure outside its range.
    #[error("{key} = {found} is not possible: {reason}")]
    Value {
        /// Key of the figure.
        key: &'static str,
        /// Its value.
        found: f64,
        /// What is allowed.
        reason: &'static str,
    },
}

impl Classified for LightError {
    fn class(&self) -> FaultClass {
        FaultClass::Config
    }
}
