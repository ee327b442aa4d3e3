//! Template spectra: invented, but with the features that make their kind easy or hard to reduce.
//!
//! All are dense tables over 300-2200 nm around 1e-15 erg/s/cm2/Angstrom; normalise them to a magnitude before use. The
//! widths and depths of lines are right to the eye and not to the astrophysicist.

use super::LightError;
use super::star::{FluxLine, Spectrum};
use super::table::{Beyond, Table};
use crate::simulator::math;

/// The kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Template {
    /// A young supernova: a black body of 14000 K with broad P Cygni lines of hydrogen and helium.
    BlueTransient,
    /// A red giant: 3600 K with bands of TiO, H2O and CO.
    CoolGiant,
    /// A solar-type star: 5800 K with its strong lines.
    SolarStar,
    /// A telluric standard: 9600 K with Balmer, Paschen and Brackett lines and their jumps.
    HotStandard,
    /// A nebula's emission lines on no continuum.
    Nebula,
    /// A red source that is absent below 560 nm: the u and g orders stay empty.
    RedObject,
    /// Constant flux per Angstrom.
    FlatWavelength,
    /// Constant flux per Hz.
    FlatFrequency,
}

/// First wavelength of the tables, nm, points, and logarithmic step: R = 30 000.
const FIRST: f64 = 300.0;
const COUNT: usize = 60_000;
const STEP: f64 = 3.333e-5;

/// Level of the tables, erg/s/cm2/Angstrom.
const LEVEL: f64 = 1.0e-15;

/// Speed of light, km/s.
const LIGHT: f64 = 299_792.458;

/// A line of absorption (depth positive) or emission (negative): nm, depth, and full width at half maximum in km/s.
type Feature = (f64, f64, f64);

/// Nebular lines, nm (air), with their strength relative to H beta.
const NEBULA: [(f64, f64); 24] = [
    (372.603, 1.0),
    (372.882, 1.3),
    (386.876, 0.5),
    (396.747, 0.15),
    (410.173, 0.26),
    (434.047, 0.47),
    (436.321, 0.06),
    (468.571, 0.1),
    (486.133, 1.0),
    (495.891, 1.5),
    (500.684, 4.5),
    (587.562, 0.13),
    (630.030, 0.1),
    (654.805, 0.2),
    (656.280, 2.9),
    (658.345, 0.6),
    (671.644, 0.2),
    (673.082, 0.17),
    (906.860, 0.4),
    (953.060, 1.0),
    (1083.034, 0.5),
    (1093.809, 0.09),
    (1281.807, 0.16),
    (1875.101, 0.33),
];

impl Template {
    /// Every template with its name in plans.
    pub const ALL: [(&str, Template); 8] = [
        ("blue-transient", Template::BlueTransient),
        ("cool-giant", Template::CoolGiant),
        ("solar-star", Template::SolarStar),
        ("hot-standard", Template::HotStandard),
        ("nebula", Template::Nebula),
        ("red-object", Template::RedObject),
        ("flat-wavelength", Template::FlatWavelength),
        ("flat-frequency", Template::FlatFrequency),
    ];

    /// The template of a name.
    pub fn parse(name: &str) -> Result<Template, LightError> {
        let found = Template::ALL.into_iter().find(|(known, _)| *known == name);
        found.map(|(_, template)| template).ok_or_else(|| LightError::Unknown {
            kind: "template spectrum",
            found: name.to_string(),
            known: Template::ALL.map(|(known, _)| known).join(", "),
        })
    }

    /// The spectrum, at an arbitrary brightness.
    pub fn spectrum(self) -> Spectrum {
        match self {
            Template::BlueTransient => {
                // Emission and its absorption, blue by the speed of the shell.
                let lines =
                    [(656.280, 0.9), (486.133, 0.5), (434.047, 0.35), (587.562, 0.4), (1083.034, 0.7), (1281.807, 0.4)];
                let shell = |&(w, strength): &(f64, f64)| {
                    [(w, -strength, 9000.0), (w * (1.0 - 8500.0 / LIGHT), 0.45 * strength, 5000.0)]
                };
                let features: Vec<Feature> = lines.iter().flat_map(shell).collect();
                dense(|w| black_body(w, 14_000.0), &features)
            }
            Template::CoolGiant => {
                let mut features =
                    vec![(589.30, 0.6, 250.0), (849.80, 0.4, 200.0), (854.21, 0.5, 200.0), (866.21, 0.5, 200.0)];
                features.extend(hydrogen().map(|(w, strength)| (w, 0.2 * strength, 90.0)));
                dense(|w| black_body(w, 3600.0) * molecules(w), &features)
            }
            Template::SolarStar => {
                let mut features = vec![
                    (393.366, 0.93, 900.0),
                    (396.847, 0.92, 800.0),
                    (430.70, 0.45, 1200.0),
                    (516.73, 0.5, 120.0),
                    (517.27, 0.6, 140.0),
                    (518.36, 0.7, 150.0),
                    (526.95, 0.4, 100.0),
                    (588.995, 0.8, 90.0),
                    (589.592, 0.7, 90.0),
                    (849.80, 0.5, 140.0),
                    (854.21, 0.65, 180.0),
                    (866.21, 0.6, 170.0),
                    (1502.50, 0.3, 90.0),
                    (1711.00, 0.3, 90.0),
                ];
                features.extend(hydrogen().map(|(w, strength)| (w, 0.6 * strength, 150.0)));
                dense(|w| black_body(w, 5800.0), &features)
            }
            Template::HotStandard => {
                let features: Vec<Feature> = hydrogen().map(|(w, strength)| (w, 0.75 * strength, 900.0)).collect();
                dense(|w| black_body(w, 9600.0) * jumps(w), &features)
            }
            Template::Nebula => {
                let line = |&(wavelength, strength)| FluxLine { wavelength, flux: 1.0e-14 * strength };
                Spectrum {
                    flux: Table::new([(FIRST, 0.0), (2200.0, 0.0)], Beyond::Zero),
                    lines: NEBULA.iter().map(line).collect(),
                }
            }
            Template::RedObject => dense(|w| black_body(w, 2600.0) * logistic((w - 640.0) / 8.0), &[]),
            Template::FlatWavelength => dense(|_| 1.0, &[]),
            Template::FlatFrequency => dense(|w| (550.0 / w) * (550.0 / w), &[]),
        }
    }
}

/// A dense table of a continuum and Gaussian features on it.
fn dense(continuum: impl Fn(f64) -> f64, features: &[Feature]) -> Spectrum {
    let grid: Vec<f64> = (0..COUNT).map(|index| FIRST * math::exp(STEP * index as f64)).collect();
    let mut values: Vec<f64> = grid.iter().map(|&w| continuum(w) * LEVEL).collect();
    for &(centre, depth, speed) in features {
        let sigma = centre * speed / LIGHT / 2.354_82;
        let from = grid.partition_point(|&w| w < centre - 6.0 * sigma);
        let to = grid.partition_point(|&w| w < centre + 6.0 * sigma);
        for (w, value) in grid[from..to].iter().zip(&mut values[from..to]) {
            let t = (w - centre) / sigma;
            *value *= (1.0 - depth * math::exp(-0.5 * t * t)).max(0.0);
        }
    }
    Spectrum { flux: Table::new(grid.into_iter().zip(values), Beyond::Zero), lines: Vec::new() }
}

/// Planck's law per wavelength, 1 at 550 nm.
pub(super) fn black_body(wavelength: f64, kelvin: f64) -> f64 {
    // Second radiation constant, nm K.
    let planck = |w: f64| 1.0 / (w * w * w * w * w * (math::exp(1.438_777e7 / (w * kelvin)) - 1.0));
    planck(wavelength) / planck(550.0)
}

/// The lines of hydrogen by Rydberg's formula, nm (air): Balmer, Paschen and Brackett with their strength, 1 for the
/// first of a series. Series end where the lines would blend into the jump.
fn hydrogen() -> impl Iterator<Item = (f64, f64)> {
    [(2_u32, 16_u32), (3, 16), (4, 20)].into_iter().flat_map(|(lower, last)| {
        (lower + 1..=last).map(move |upper| {
            let (n, m) = (f64::from(lower), f64::from(upper));
            let vacuum = 91.176_33 / (1.0 / (n * n) - 1.0 / (m * m));
            (vacuum / super::air::index_standard(vacuum), math::pow(m - n, -0.6))
        })
    })
}

/// Continuous absorption by hydrogen: what is left below the Balmer, Paschen and Brackett limits.
fn jumps(wavelength: f64) -> f64 {
    let jump = |limit: f64, depth: f64, width: f64| 1.0 - depth * logistic((limit - wavelength) / width);
    jump(368.0, 0.6, 1.2) * jump(828.0, 0.18, 3.0) * jump(1465.0, 0.06, 6.0)
}

/// Bands of TiO, H2O, CN and CO with a sharp head and a tail to the red.
fn molecules(wavelength: f64) -> f64 {
    // Head nm, depth, length of the tail nm.
    const HEADS: [(f64, f64, f64); 16] = [
        (476.1, 0.35, 15.0),
        (495.4, 0.45, 15.0),
        (516.7, 0.55, 18.0),
        (544.8, 0.5, 15.0),
        (559.7, 0.4, 12.0),
        (584.7, 0.5, 15.0),
        (615.8, 0.6, 20.0),
        (665.1, 0.6, 20.0),
        (705.3, 0.7, 25.0),
        (758.9, 0.6, 25.0),
        (820.5, 0.35, 15.0),
        (843.2, 0.5, 15.0),
        (886.0, 0.4, 15.0),
        (1097.0, 0.12, 20.0),
        (1598.0, 0.12, 12.0),
        (1619.0, 0.14, 12.0),
    ];
    let band = |&(head, depth, tail): &(f64, f64, f64)| {
        let beyond = wavelength - head;
        1.0 - depth * logistic(beyond / 0.3) * if beyond > 0.0 { math::exp(-beyond / tail) } else { 1.0 }
    };
    let water = |centre: f64, depth: f64, width: f64| {
        let t = (wavelength - centre) / width;
        1.0 - depth * math::exp(-0.5 * t * t)
    };
    HEADS.iter().map(band).product::<f64>() * water(1420.0, 0.2, 60.0) * water(1900.0, 0.25, 80.0)
}

/// A smooth step from 0 to 1 about 0.
fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + math::exp(-x))
}
