//! The lamps of the calibration unit, as surfaces that fill the slit and the pinholes.
//!
//! No absolute scale is published. The levels here give, at the usual exposure times and with the efficiencies of
//! `throughput`, the counts that the instrument's frames show. The arithmetic, with about 3.6 pixels per arcsecond along
//! the slit and 1.1 times the area of the FWHM under a peak:
//!
//! - slit flat: electrons per pixel = light x efficiency x nm per pixel x slit width (arcsec) x arcsec per pixel x s. VIS at
//!   750 nm, SLIT1.0, 20 s: 4.8e5 x 0.24 x 0.048 x 1.0 x 0.27 x 20 = 30 ke. NIR at 1600 nm, 15 s: 6.9e5 x 0.17 x 0.067 x
//!   1.0 x 0.34 x 15 = 40 ke.
//! - pinhole flat: the hole is a disc of 0.5 arcsec, 0.196 arcsec2; a trace is about 2 pixels wide. VIS at 750 nm, 10 s:
//!   4.8e5 x 0.24 x 0.048 x 0.196 x 10 / 2 = 5.4 ke. NIR at 1600 nm, 15 s: 12 ke.
//! - pinhole arc: a line covers about 1.1 x FWHM^2 pixels, 4 (VIS) to 5 (NIR). VIS at 0.15, 30 s, the median of the lines
//!   in use (10^4.07): 1.7e4 x 0.15 x 0.196 x 30 / 4 = 3.8 ke. NIR at 0.12, 15 s, a line of the class most used (0.02 of
//!   the brightest, 0.14 after the square root): 2.1e5 x 0.12 x 0.196 x 15 / 5 = 15 ke. The brightest saturate.

use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};

use super::table::{Beyond, Table, field, rows};
use super::templates::black_body;
use super::{Light, Line};
use crate::instrument::Arm;
use crate::simulator::math;

/// A lamp of the calibration unit.
///
/// Plans call it as the header's keywords do: `QTH`, `DEUT`, `THAR`, `ARGO`, `NEON`, `MERC`, `XENO`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Lamp {
    /// Quartz-tungsten-halogen, for flats.
    #[serde(rename = "QTH")]
    Qth,
    /// Deuterium, for flats of the u order.
    #[serde(rename = "DEUT")]
    D2,
    /// Thorium-argon hollow cathode, for VIS arcs.
    #[serde(rename = "THAR")]
    ThAr,
    /// Argon pencil lamp.
    #[serde(rename = "ARGO")]
    Ar,
    /// Neon pencil lamp.
    #[serde(rename = "NEON")]
    Ne,
    /// Mercury pencil lamp.
    #[serde(rename = "MERC")]
    Hg,
    /// Xenon pencil lamp.
    #[serde(rename = "XENO")]
    Xe,
}

/// Photons per second, nm and arcsec2 of the QTH lamp: at 750 nm in front of VIS and at 1600 nm in front of NIR.
const QTH_VIS: f64 = 4.8e5;
const QTH_NIR: f64 = 6.9e5;
const QTH_KELVIN: f64 = 2900.0;
/// Photons per second, nm and arcsec2 of the deuterium continuum at 380 nm.
const D2_380: f64 = 9.0e5;
/// Photons per second and arcsec2 of a thorium-argon line of intensity 10^3.
const THAR_UNIT: f64 = 1.45e3;
/// Photons per second and arcsec2 of the brightest line of a pencil lamp.
const PENCIL_BRIGHTEST: f64 = 1.5e6;
/// Share of each pencil lamp's lines that the other three show as impurities.
const IMPURITY: f64 = 1.0e-4;
/// Grid of the continua, nm.
const GRID: (f64, f64, usize) = (300.0, 0.5, 3701);

/// A line of a lamp on its own scale.
struct LampLine {
    lamp: Lamp,
    wavelength: f64,
    photons: f64,
}

static LINES: LazyLock<Vec<LampLine>> = LazyLock::new(|| {
    let thar = rows(include_str!("../../../calibrations/lines_thar_vis.csv")).map(|row| LampLine {
        lamp: Lamp::ThAr,
        wavelength: field(&row, 0),
        photons: THAR_UNIT * math::exp10(field::<f64>(&row, 2) - 3.0),
    });
    let pencil = rows(include_str!("../../../calibrations/lines_pencil_nir.csv")).filter_map(|row| {
        let lamp = Lamp::PENCILS.into_iter().find(|lamp| row.get(1) == Some(&lamp.as_str()))?;
        // Catalogue intensities differ by 1e5 and exaggerate: their square root is nearer to what frames show.
        let photons = PENCIL_BRIGHTEST * field::<f64>(&row, 3).sqrt();
        Some(LampLine { lamp, wavelength: field(&row, 0), photons })
    });
    thar.chain(pencil).collect()
});

impl Lamp {
    /// The pencil lamps, which are used together for NIR arcs.
    pub const PENCILS: [Lamp; 4] = [Lamp::Ar, Lamp::Ne, Lamp::Hg, Lamp::Xe];

    /// `QTH`, `D2`, `ThAr`, `Ar`, `Ne`, `Hg` or `Xe`.
    pub fn as_str(self) -> &'static str {
        match self {
            Lamp::Qth => "QTH",
            Lamp::D2 => "D2",
            Lamp::ThAr => "ThAr",
            Lamp::Ar => "Ar",
            Lamp::Ne => "Ne",
            Lamp::Hg => "Hg",
            Lamp::Xe => "Xe",
        }
    }

    /// What the lamp sends to an arm, per square arcsecond, at `level` times its usual brightness. The relay in front of
    /// VIS and NIR differs: each balances the QTH lamp for its arm. The camera sees no lamp.
    pub fn light(self, arm: Arm, level: f64) -> Light {
        if arm == Arm::Acq {
            return Light::dark();
        }
        let light = match self {
            Lamp::Qth => Light { lines: Vec::new(), ..continuum(qth(arm)) },
            Lamp::D2 => Light { lines: deuterium_lines(), ..continuum(deuterium()) },
            Lamp::ThAr => Light { lines: own_lines(self), ..Light::dark() },
            Lamp::Ar | Lamp::Ne | Lamp::Hg | Lamp::Xe => Light { lines: pencil_lines(self), ..Light::dark() },
        };
        light.scaled(level)
    }
}

fn continuum(table: Table) -> Light {
    Light { continuum: Arc::new(move |wavelengths| table.sample(wavelengths)), lines: Vec::new() }
}

/// A black body behind the balancing filter of an arm: blue is lifted against the red with the square of the wavelength
/// in VIS below 750 nm, which leaves u some 30 times fainter than i, and with its power of 1.3 in NIR.
fn qth(arm: Arm) -> Table {
    let photons = |w: f64| black_body(w, QTH_KELVIN) * w;
    let (level, pivot) = if arm == Arm::Vis { (QTH_VIS, 750.0) } else { (QTH_NIR, 1600.0) };
    let balance = |w: f64| match arm {
        Arm::Vis => (pivot / w).max(1.0) * (pivot / w).max(1.0),
        _ => math::pow(pivot / w, 1.3),
    };
    let top = photons(pivot);
    Table::of(GRID.0, GRID.1, GRID.2, Beyond::Zero, |w| level * balance(w) * photons(w) / top)
}

/// A continuum that falls to the red with the power of 3.5 of the wavelength.
fn deuterium() -> Table {
    Table::of(GRID.0, GRID.1, GRID.2, Beyond::Zero, |w| D2_380 * math::pow(380.0 / w, 3.5))
}

/// Balmer lines of deuterium, and the strongest of the Fulcher bands of the molecule.
fn deuterium_lines() -> Vec<Line> {
    // Strengths against the continuum at 380 nm in a nm.
    const BALMER: [(f64, f64); 3] = [(656.1012, 6.0), (486.0003, 2.0), (433.9282, 0.5)];
    // Q branches of the diagonal bands (0-0) to (3-3): head nm, and lines that run to the red from it. Places assumed.
    const FULCHER: [(f64, f64); 4] = [(600.2, 0.35), (606.7, 0.45), (613.4, 0.4), (620.5, 0.3)];
    let fulcher = FULCHER.into_iter().flat_map(|(head, strength)| {
        (1..=8).map(move |rotation| {
            let j = f64::from(rotation);
            // Odd levels of D2 hold half of what the even ones hold.
            let weight = if rotation % 2 == 1 { 0.5 } else { 1.0 };
            (head + 0.021 * j * (j + 1.0), strength * weight * math::exp(-0.02 * j * (j + 1.0)))
        })
    });
    let mut lines: Vec<Line> = BALMER
        .into_iter()
        .chain(fulcher)
        .map(|(wavelength, strength)| Line { wavelength, photons: D2_380 * strength })
        .collect();
    lines.sort_by(|a, b| a.wavelength.total_cmp(&b.wavelength));
    lines
}

fn own_lines(lamp: Lamp) -> Vec<Line> {
    let own = LINES.iter().filter(|line| line.lamp == lamp);
    own.map(|line| Line { wavelength: line.wavelength, photons: line.photons }).collect()
}

/// The lines of a pencil lamp with a trace of the other three.
fn pencil_lines(lamp: Lamp) -> Vec<Line> {
    let pencils = LINES.iter().filter(|line| Lamp::PENCILS.contains(&line.lamp));
    let share = |other: Lamp| if other == lamp { 1.0 } else { IMPURITY };
    // The table is sorted by wavelength, whatever the lamp.
    pencils.map(|line| Line { wavelength: line.wavelength, photons: line.photons * share(line.lamp) }).collect()
}
