//! What an ideal extraction would find: the light of a beam in each order, spread along the dispersion as the instrument
//! spreads it, collected in pixels along the dispersion and summed along the slit.

use super::Focus;
use super::render::{Beam, Spectrum, spread_out};
use super::shape::Entrance;
use super::spread::{self, SLIT_STEP};
use super::view::{SAMPLES, View};

/// The light of a beam in one pixel along the dispersion of an order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Collected {
    /// Number of the order.
    pub order: u8,
    /// Pixel along the dispersion of the trimmed unbinned frame, in the middle of the slit.
    pub pixel: usize,
    /// nm, air, at the centre of the pixel.
    pub wavelength: f64,
    /// nm per pixel.
    pub dispersion: f64,
    /// Electrons per second: of a source within the ends of the slit, of a surface per arcsecond along the slit.
    pub electrons: f64,
}

/// The light of a beam through a slit, order by order and pixel by pixel. Stray light and fringes are not in it.
pub fn extract(view: &View, focus: &Focus, entrance: &Entrance, beam: &Beam<'_>) -> Vec<Collected> {
    let mut found = Vec::new();
    for order in view.format().orders() {
        let Some(grid) = view.grid(order) else { continue };
        let Some(spectrum) = Spectrum::of(beam, entrance, order, &grid) else { continue };
        let spread = spread::spread(view, focus, entrance, &beam.shape, order, &grid);
        let mut samples = spread_out(&spectrum.samples, &spread);
        if beam.shape.is_source() {
            // The kernels let the light through that passes the width of the slit; the profiles, what lies within its ends.
            let caught: Vec<f64> =
                spread.knots.iter().map(|knot| knot.profile.iter().sum::<f64>() * SLIT_STEP).collect();
            for (index, sample) in samples.iter_mut().enumerate() {
                let (left, right, part) = spread.around(index as f64);
                *sample *= caught[left] * (1.0 - part) + caught[right] * part;
            }
        }
        for pixel in 0..view.extent().0 {
            let centre = grid.index(pixel as f64);
            let half = 0.5 * SAMPLES as f64;
            let Some((wavelength, dispersion)) = at(&grid, centre) else { continue };
            let Some(electrons) = mean(&samples, centre - half, centre + half) else { continue };
            found.push(Collected { order: order.number(), pixel, wavelength, dispersion, electrons });
        }
    }
    found
}

/// Wavelength and dispersion at a sample with its fraction.
fn at(grid: &super::Grid, index: f64) -> Option<(f64, f64)> {
    if index.is_nan() || index < 0.0 {
        return None;
    }
    let (left, part) = (index as usize, index.fract());
    let between = |values: &[f64]| Some(values.get(left)? * (1.0 - part) + values.get(left + 1)? * part);
    Some((between(grid.wavelengths())?, between(grid.dispersion())?))
}

/// Mean of straight lines through samples, from one place to another; `None` where they do not reach.
fn mean(samples: &[f64], from: f64, to: f64) -> Option<f64> {
    if from.is_nan() || from < 0.0 || to >= (samples.len().saturating_sub(1)) as f64 {
        return None;
    }
    let value = |at: f64| {
        let left = at as usize;
        samples[left] + (samples[(left + 1).min(samples.len() - 1)] - samples[left]) * (at - left as f64)
    };
    let (first, last) = (from.ceil() as usize, to.floor() as usize);
    let trapezium = |a: f64, b: f64| 0.5 * (value(a) + value(b)) * (b - a);
    let inner: f64 = (first..last).map(|at| trapezium(at as f64, at as f64 + 1.0)).sum();
    Some((trapezium(from, first as f64) + inner + trapezium(last as f64, to)) / (to - from))
}
