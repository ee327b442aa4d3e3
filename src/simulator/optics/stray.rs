//! Light that goes astray: halos around everything bright, scattered light, a ghost, and a glow of the whole
//! detector.
//!
//! All of it is smooth, so that it is worked out on an image binned by [`BIN`] and spread over the pixels again by
//! straight lines. Each part takes its fraction away from where the light was bound to go: nothing is added, and only
//! what is thrown beyond the edges is lost.

use ndarray::{Array2, Axis};
use rayon::prelude::*;
use rustfft::FftPlannerScalar;
use rustfft::num_complex::Complex64;
use serde::{Deserialize, Serialize};

use crate::instrument::Arm;
use crate::simulator::math;

/// Pixels of the detector on a side of a binned one.
const BIN: usize = 4;
/// FWHM of the halo, pixels.
const HALO_FWHM: f64 = 12.0;
/// FWHM of a Moffat function with beta = 1.5 over its alpha: 2 sqrt(2^(2/3) - 1).
const HALO_FWHM_OF_ALPHA: f64 = 1.532_841_873_081_759_7;
/// Standard deviation of the ghost, pixels: it is far out of focus.
const GHOST_WIDTH: f64 = 25.0;
/// Standard deviation of the glow, in units of the detector's sides.
const GLOW_WIDTH: f64 = 0.3;

/// The fractions of the light that go astray. Zero switches a part off.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stray {
    /// In a halo around every image: a Moffat function, FWHM 12 pixels, beta = 1.5.
    pub halo: f64,
    /// Scattered within [`Stray::scatter_width`].
    pub scattered: f64,
    /// Standard deviation of the scattered light, pixels.
    pub scatter_width: f64,
    /// In an image that is mirrored about the centre of the detector, far out of focus.
    pub ghost: f64,
    /// In a glow centred on the detector.
    pub glow: f64,
}

impl Stray {
    /// The usual instrument.
    pub fn usual(arm: Arm) -> Stray {
        let glow = if arm == Arm::Nir { 0.002 } else { 0.0 };
        Stray { halo: 0.02, scattered: 0.006, scatter_width: 60.0, ghost: 1e-4, glow }
    }

    /// A perfect instrument.
    pub fn none() -> Stray {
        Stray { halo: 0.0, scattered: 0.0, scatter_width: 60.0, ghost: 0.0, glow: 0.0 }
    }

    /// Throw the light of an image (any unit, rows x columns) astray. Linear in the image.
    pub fn throw(&self, image: &mut Array2<f32>) {
        let (rows, columns) = image.dim();
        let thrown = self.halo + self.scattered + self.ghost + self.glow;
        if thrown == 0.0 || rows == 0 || columns == 0 {
            return;
        }
        let binned = binned(image);
        let total: f64 = binned.iter().sum();
        let (mut smooth, mirrored) = self.convolved(&binned);
        let (height, width) = binned.dim();
        let glow = normalised_glow(height, width);
        for ((row, column), value) in smooth.indexed_iter_mut() {
            *value +=
                mirrored[[height - 1 - row, width - 1 - column]] + self.glow * total * glow.0[row] * glow.1[column];
        }
        let area = (BIN * BIN) as f64;
        let across: Vec<(usize, usize, f64)> = (0..columns).map(|column| between(column, width)).collect();
        image.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(row, mut pixels)| {
            let (low, high, part) = between(row, height);
            let line = |column: usize| smooth[[low, column]] * (1.0 - part) + smooth[[high, column]] * part;
            for (pixel, &(left, right, part)) in pixels.iter_mut().zip(&across) {
                // Rounding in the transforms must not leave less than no light.
                let added = ((line(left) * (1.0 - part) + line(right) * part) / area).max(0.0);
                *pixel = (f64::from(*pixel) * (1.0 - thrown) + added) as f32;
            }
        });
    }

    /// The binned image convolved with halo and scattered light, and with the ghost.
    fn convolved(&self, image: &Array2<f64>) -> (Array2<f64>, Array2<f64>) {
        let (height, width) = image.dim();
        // Twice the size, so that nothing comes back in on the other side.
        let (rows, columns) = ((2 * height).next_power_of_two(), (2 * width).next_power_of_two());
        let mut data = vec![Complex64::default(); rows * columns];
        for (target, row) in data.chunks_mut(columns).zip(image.rows()) {
            for (target, value) in target.iter_mut().zip(row) {
                target.re = *value;
            }
        }
        // Both convolutions at once: one is the real, the other the imaginary part.
        let kernels = self.kernels(rows, columns);
        let (data, kernels) = (transformed(data, columns, false), transformed(kernels, columns, false));
        let product: Vec<Complex64> = data.iter().zip(&kernels).map(|(a, b)| a * b).collect();
        let result = transformed(product, rows, true);
        let norm = 1.0 / (rows * columns) as f64;
        let part = |take: fn(&Complex64) -> f64| {
            Array2::from_shape_fn((height, width), |(row, column)| norm * take(&result[row * columns + column]))
        };
        (part(|value| value.re), part(|value| value.im))
    }

    /// Halo and scattered light as real part, the ghost as imaginary part, centred on the first pixel and wrapped
    /// round.
    fn kernels(&self, rows: usize, columns: usize) -> Vec<Complex64> {
        let bin = BIN as f64;
        let alpha = HALO_FWHM / HALO_FWHM_OF_ALPHA;
        let lag = |at: usize, size: usize| bin * at.min(size - at) as f64;
        let gaussian = |sigma: f64, size: usize| -> Vec<f64> {
            let values: Vec<f64> = (0..size)
                .map(|at| {
                    let z = lag(at, size) / sigma;
                    math::exp(-0.5 * z * z)
                })
                .collect();
            let sum: f64 = values.iter().sum();
            values.iter().map(|value| value / sum).collect()
        };
        let width = self.scatter_width.max(bin);
        let scattered = (gaussian(width, rows), gaussian(width, columns));
        let ghost = (gaussian(GHOST_WIDTH, rows), gaussian(GHOST_WIDTH, columns));
        let halo: Vec<f64> = (0..rows * columns)
            .map(|at| {
                let (y, x) = (lag(at / columns, rows), lag(at % columns, columns));
                let q = 1.0 + (x * x + y * y) / (alpha * alpha);
                1.0 / (q * q.sqrt())
            })
            .collect();
        let sum: f64 = halo.iter().sum();
        halo.iter()
            .enumerate()
            .map(|(at, halo)| {
                let (row, column) = (at / columns, at % columns);
                Complex64::new(
                    self.halo * halo / sum + self.scattered * scattered.0[row] * scattered.1[column],
                    self.ghost * ghost.0[row] * ghost.1[column],
                )
            })
            .collect()
    }
}

/// Sums over [`BIN`] x [`BIN`] pixels; bins at the right and upper edge may be cut.
fn binned(image: &Array2<f32>) -> Array2<f64> {
    let (rows, columns) = image.dim();
    let mut target = Array2::zeros((rows.div_ceil(BIN), columns.div_ceil(BIN)));
    for (row, line) in image.rows().into_iter().enumerate() {
        for (column, value) in line.iter().enumerate() {
            target[[row / BIN, column / BIN]] += f64::from(*value);
        }
    }
    target
}

/// The bins on both sides of a pixel and the weight of the second one.
fn between(pixel: usize, bins: usize) -> (usize, usize, f64) {
    let at = ((pixel as f64 + 0.5) / BIN as f64 - 0.5).clamp(0.0, bins as f64 - 1.0);
    let low = at.floor();
    (low as usize, (low as usize + 1).min(bins - 1), at - low)
}

/// Profiles of unit sum along rows and columns, whose product is the glow.
fn normalised_glow(rows: usize, columns: usize) -> (Vec<f64>, Vec<f64>) {
    let profile = |size: usize| -> Vec<f64> {
        let values: Vec<f64> = (0..size)
            .map(|at| {
                let z = ((at as f64 + 0.5) / size as f64 - 0.5) / GLOW_WIDTH;
                math::exp(-0.5 * z * z)
            })
            .collect();
        let sum: f64 = values.iter().sum();
        values.iter().map(|value| value / sum).collect()
    };
    (profile(rows), profile(columns))
}

/// The Fourier transform of an image given as rows of `columns` values, along both axes, **transposed**, not
/// normalised.
fn transformed(mut data: Vec<Complex64>, columns: usize, back: bool) -> Vec<Complex64> {
    // The scalar planner gives the same bits on every machine; the others use what instructions they find.
    let mut planner = FftPlannerScalar::new();
    let rows = data.len() / columns;
    let mut plan = |size| if back { planner.plan_fft_inverse(size) } else { planner.plan_fft_forward(size) };
    let (first, second) = (plan(columns), plan(rows));
    data.par_chunks_mut(columns).for_each(|row| first.process(row));
    let mut turned = vec![Complex64::default(); data.len()];
    turned.par_chunks_mut(rows).enumerate().for_each(|(column, target)| {
        for (value, row) in target.iter_mut().zip(data.chunks_exact(columns)) {
            *value = row[column];
        }
        second.process(target);
    });
    turned
}
