//! The sky behind the target, as a surface: continuum, airglow, moonlight, twilight, and the heat of telescope and air.

use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};

use super::airglow::{Airglow, layer_path};
use super::moon::{Moon, twilight};
use super::table::{Beyond, Table, field, rows};
use super::{AREA, Light, LightError};
use crate::simulator::math;

/// What brightens the sky.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sky {
    /// Factor on the dark continuum.
    pub continuum: f64,
    /// Factor on all airglow lines, beside their own flicker.
    pub airglow: f64,
    /// The Moon, when it is up.
    pub moon: Option<Moon>,
    /// Degrees of the Sun below the horizon, in twilight.
    pub sun_depression: Option<f64>,
}

impl Default for Sky {
    /// A dark night.
    fn default() -> Sky {
        Sky { continuum: 1.0, airglow: 1.0, moon: None, sun_depression: None }
    }
}

/// Temperature of the telescope, K, and its emissivity.
const WARM: (f64, f64) = (285.0, 0.15);
/// Square arcseconds in a steradian, inverted.
const ARCSEC2: f64 = 2.350_443e-11;
/// Grid of the continuum, nm.
const GRID: (f64, f64, usize) = (300.0, 1.0, 1851);

/// Logarithm (base 10) of the dark continuum, photons per second, m2, nm and arcsec2; and the photons of Vega magnitude 0.
static DARK: LazyLock<(Table, Table)> = LazyLock::new(|| {
    let rows: Vec<_> = rows(include_str!("../../../calibrations/sky_continuum.csv")).collect();
    let knots: Vec<(f64, f64, f64)> = rows.iter().map(|row| (field(row, 0), field(row, 1), field(row, 2))).collect();
    let dark: Vec<_> = knots.iter().map(|&(w, mag, zero)| (w, math::log10(zero) - 0.4 * mag)).collect();
    let zero = knots.iter().map(|&(w, _, zero)| (w, zero));
    (Table::smooth(&dark, 1.0, Beyond::Hold), Table::new(zero, Beyond::Hold))
});

/// Photons per second, m2, nm and arcsec2 of the dark sky's continuum at the zenith.
pub fn dark_continuum(wavelength: f64) -> f64 {
    math::exp10(DARK.0.at(wavelength))
}

/// Heat of telescope and relay optics as a grey body, photons per second, m2, nm and arcsec2. It matters beyond 1900 nm.
pub fn thermal(wavelength: f64) -> f64 {
    let metres = wavelength * 1.0e-9;
    let per_metre = 2.0 * 2.997_924_58e8
        / (metres * metres * metres * metres)
        / (math::exp(1.438_777e7 / (wavelength * WARM.0)) - 1.0);
    WARM.1 * per_metre * 1.0e-9 * ARCSEC2
}

/// The heat alone, which frames with closed dome and lamps off still see: photons per second, nm and arcsec2.
pub fn thermal_light() -> Light {
    surface(Table::of(GRID.0, GRID.1, GRID.2, Beyond::Hold, thermal))
}

fn surface(photons: Table) -> Light {
    let photons = photons.map(|_, value| value * AREA);
    Light { continuum: Arc::new(move |wavelengths| photons.sample(wavelengths)), lines: Vec::new() }
}

impl Sky {
    /// Refuses figures that cannot be.
    pub fn check(&self) -> Result<(), LightError> {
        let factors = [("continuum", self.continuum), ("airglow", self.airglow)];
        if let Some((key, found)) = factors.into_iter().find(|(_, factor)| !(0.0..=1.0e4).contains(factor)) {
            return Err(LightError::Value { key, found, reason: "expected a factor from 0 to 10000" });
        }
        if let Some(found) = self.sun_depression.filter(|angle| !(0.0..=90.0).contains(angle)) {
            return Err(LightError::Value { key: "sun_depression", found, reason: "expected 0 to 90 degrees" });
        }
        self.moon.map_or(Ok(()), |moon| moon.check())
    }

    /// The sky during an exposure that starts `start` seconds after the noon before the night, per second, nm and arcsec2
    /// on the telescope's area. It is the sky as seen from the ground: no extinction is to be applied to it.
    pub fn light(&self, airmass: f64, airglow: &Airglow, start: f64, duration: f64) -> Light {
        let path = layer_path(airmass);
        let continuum = Table::of(GRID.0, GRID.1, GRID.2, Beyond::Hold, |w| {
            let moon = self.moon.map_or(0.0, |moon| moon.photons(w, airmass));
            let dusk = self.sun_depression.map_or(0.0, |angle| twilight(&DARK.1, w, angle));
            self.continuum * path * dark_continuum(w) + moon + dusk + thermal(w)
        });
        let mut lines = airglow.light(airmass, start, duration);
        lines.iter_mut().for_each(|line| line.photons *= self.airglow);
        Light { lines, ..surface(continuum) }
    }
}
