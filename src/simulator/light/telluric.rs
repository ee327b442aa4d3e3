//! Absorption by the molecules of the air: bands of narrow lines.
//!
//! Where lines lie and how strong they are is random, but drawn once from [`Effect::Telluric`], so that objects and
//! standards of a night see the same sky; the mean depth of each band is that of `calibrations/telluric_bands.csv`. Lines
//! saturate as real ones do (Beer and Lambert's law holds at each wavelength), so deep bands grow more slowly with the
//! airmass than shallow ones.

use std::sync::Arc;

use rand::RngExt;

use super::Continuum;
use super::table::{field, rows};
use crate::simulator::math;
use crate::simulator::random::{Effect, Seeds};

/// Column of water for which the depths of the table hold, mm.
const TABLE_WATER: f64 = 3.0;
/// Step of the stored optical depth, nm: R = 300 000 at 600 nm and more beyond.
const STEP: f64 = 0.002;
/// Mean distance of lines, nm.
const SPACING: f64 = 0.15;
/// Full widths of lines, nm.
const WIDTHS: (f64, f64) = (0.010, 0.020);
/// Where the wings of a line end, and how far a band is stored beyond its limits, nm.
const WINGS: f64 = 2.0;
/// Share of a band over which its lines grow to full strength, at either end.
const RAMP: f64 = 0.2;

/// The optical depth of the molecules at airmass 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Telluric {
    bands: Vec<Band>,
}

#[derive(Clone, Debug, PartialEq)]
struct Band {
    water: bool,
    /// Wavelength of the first value, nm.
    first: f64,
    /// Optical depth, `STEP` apart.
    depths: Vec<f32>,
}

impl Telluric {
    /// The bands of the table, filled with lines.
    pub fn new(seeds: &Seeds) -> Telluric {
        let rows: Vec<_> = rows(include_str!("../../../calibrations/telluric_bands.csv")).collect();
        let band = |(index, row): (usize, &Vec<&str>)| {
            let (from, to, depth): (f64, f64, f64) = (field(row, 1), field(row, 2), field(row, 3));
            let shape = lines(seeds, index as u64, from, to);
            let scale = scale_to(&shape, from, to, depth);
            Band {
                water: row.first() == Some(&"H2O"),
                first: from - WINGS,
                depths: shape.iter().map(|&value| (scale * value) as f32).collect(),
            }
        };
        Telluric { bands: rows.iter().enumerate().map(band).collect() }
    }

    /// Transmission at an airmass under `water` mm of precipitable water at the zenith, as a function of wavelength: 1
    /// between the bands. Made once for an exposure, it is then only looked up.
    pub fn transmission(&self, airmass: f64, water: f64) -> Continuum {
        let through = |band: &Band| {
            let columns = if band.water { airmass * water / TABLE_WATER } else { airmass };
            let values: Vec<f64> = band.depths.iter().map(|&depth| math::exp(-columns * f64::from(depth))).collect();
            (band.first, values)
        };
        let bands: Arc<Vec<(f64, Vec<f64>)>> = Arc::new(self.bands.iter().map(through).collect());
        Arc::new(move |wavelengths| {
            let mut shares = vec![1.0; wavelengths.len()];
            let mut rest = shares.as_mut_slice();
            for rising in wavelengths.chunk_by(|a, b| a <= b) {
                let (run, later) = rest.split_at_mut(rising.len());
                rest = later;
                for (first, values) in bands.iter() {
                    let last = first + STEP * (values.len() - 2) as f64;
                    let from = rising.partition_point(|wavelength| wavelength < first);
                    let to = from + rising[from..].partition_point(|wavelength| *wavelength <= last);
                    for (wavelength, share) in rising[from..to].iter().zip(&mut run[from..to]) {
                        let place = (wavelength - first) / STEP;
                        let index = place as usize;
                        // Not beyond the last but one: see `last`.
                        let (left, right) = (values[index], values[index + 1]);
                        *share = left + (place - index as f64) * (right - left);
                    }
                }
            }
            shares
        })
    }
}

/// Lorentz profiles at random places, on the grid of a band; their scale is arbitrary.
fn lines(seeds: &Seeds, band: u64, from: f64, to: f64) -> Vec<f64> {
    let mut random = seeds.stream(Effect::Telluric, band, 0);
    let first = from - WINGS;
    let mut depths = vec![0.0; ((to - from + 2.0 * WINGS) / STEP) as usize + 1];
    let width = to - from;
    for _ in 0..(width / SPACING).ceil() as usize {
        let centre = from + width * random.random::<f64>();
        let half = 0.5 * (WIDTHS.0 + (WIDTHS.1 - WIDTHS.0) * random.random::<f64>());
        // An exponential distribution of strengths, weaker towards the ends of the band.
        let inward = ((centre - from).min(to - centre) / (RAMP * width)).min(1.0);
        let strength = -math::ln(1.0 - random.random::<f64>()) * inward * inward * (3.0 - 2.0 * inward);
        let low = (((centre - WINGS - first) / STEP).max(0.0)) as usize;
        let high = (((centre + WINGS - first) / STEP) as usize).min(depths.len() - 1);
        // Lowered so that it ends at zero.
        let floor = half * half / (WINGS * WINGS + half * half);
        for (index, depth) in depths.iter_mut().enumerate().take(high + 1).skip(low) {
            let offset = first + STEP * index as f64 - centre;
            *depth += strength * (half * half / (offset * offset + half * half) - floor).max(0.0);
        }
    }
    depths
}

/// The factor that gives optical depths the mean absorption `wanted` between the limits of the band.
fn scale_to(shape: &[f64], from: f64, to: f64, wanted: f64) -> f64 {
    let skip = (WINGS / STEP) as usize;
    let inside = &shape[skip..skip + ((to - from) / STEP) as usize];
    let count = inside.len() as f64;
    let target = -math::ln(1.0 - wanted);
    let mut scale = wanted / (inside.iter().sum::<f64>() / count);
    // Newton's method on logarithms: the curve of growth is nearly straight there.
    for _ in 0..30 {
        let (mut left, mut slope) = (0.0, 0.0);
        for &depth in inside {
            let share = math::exp(-scale * depth);
            left += share;
            slope += depth * share;
        }
        let reached = -math::ln(left / count);
        if (reached / target - 1.0).abs() < 1.0e-7 {
            break;
        }
        scale *= math::pow(target / reached, reached / (scale * slope / left));
    }
    scale
}
