//! The image of a point: a Moffat profile of beta 3, integrated over pixels, spread by defocus, coma and trailing.
//!
//! The integral over a pixel has a closed form. It is tabulated a few times per pixel and interpolated by cubics, which
//! keep the sum over all pixels and the centroid exactly as they are in the table.

use ndarray::Array2;
use rayon::prelude::*;

use super::super::math;

/// Share of the light that may fall outside the table.
const OUTSIDE: f64 = 2e-5;
/// Share of the light of a faint star that may be left out.
const LEFT_OUT: f64 = 3e-4;
/// Surface brightness, electrons per pixel, below which a star's wings are left out.
const NEGLIGIBLE: f64 = 0.005;
/// Half of the table's side is at most this, pixels.
const WIDEST: usize = 512;
/// Central obstruction of the telescope, as part of the diameter.
const OBSTRUCTION: f64 = 0.33;

/// What spreads the image of a point beyond the seeing. Lengths in pixels, angles in degrees from x towards y.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Spread {
    /// Outer diameter of the ring that defocus makes.
    pub defocus: f64,
    /// Length of the coma's tail, and where it points.
    pub coma: (f64, f64),
    /// Length of the trail, and its direction.
    pub trail: (f64, f64),
}

/// The image of a point of light.
pub(super) struct Psf {
    /// Moffat core width, pixels.
    alpha: f64,
    /// Samples per pixel.
    steps: usize,
    /// Whole pixels from the middle of the table to its edge.
    half: usize,
    /// Pixels that defocus, coma and trailing reach.
    reach: f64,
    /// Table of each phase (y, then x) of the samples within a pixel, (2 half + 1) square each.
    phases: Vec<Array2<f64>>,
    /// Where the centroid of the table lies, pixels (x, y).
    centroid: [f64; 2],
}

impl Psf {
    /// The image of a point for a seeing of `fwhm` pixels.
    pub fn new(fwhm: f64, spread: &Spread) -> Psf {
        // FWHM = 2 alpha sqrt(2^(1/3) - 1)
        let alpha = fwhm / (2.0 * (math::pow(2.0, 1.0 / 3.0) - 1.0).sqrt());
        let steps = if fwhm < 6.0 { 4 } else { 2 };
        let kernels = [pupil(spread, fwhm), trail(spread.trail, fwhm)];
        let reach = kernels.iter().map(kernel_reach).sum::<f64>();
        let half = ((alpha * beyond(OUTSIDE) + reach).ceil() as usize).min(WIDEST);
        let mut fine = moffat_table(alpha, steps, half);
        let mut centroid = [0.0, 0.0];
        for kernel in &kernels {
            if kernel.len() > 1 {
                let shift;
                (fine, shift) = convolve(&fine, kernel, steps);
                centroid = [centroid[0] + shift[0], centroid[1] + shift[1]];
            }
        }
        Psf { alpha, steps, half, reach, phases: phases(&fine, steps, half), centroid }
    }

    /// How many pixels around its centre a star of so many electrons must be drawn.
    pub fn extent(&self, electrons: f64) -> usize {
        let peak = electrons * std::f64::consts::FRAC_2_PI / (self.alpha * self.alpha);
        let dim = (math::pow((peak / NEGLIGIBLE).max(1.0), 1.0 / 3.0) - 1.0).sqrt();
        let wanted = (self.alpha * dim.max(beyond(LEFT_OUT)) + self.reach).ceil() as usize;
        // The cubics need a neighbour on each side, and a star's own pixel takes one.
        wanted.min(self.half - 3)
    }

    /// Whether the wings beyond the table of a star of so many electrons still matter.
    pub fn has_wings(&self, electrons: f64) -> bool {
        electrons * self.wing((self.half * self.half) as f64) > NEGLIGIBLE
    }

    /// Share of the light per pixel at a (squared) distance far from the centre.
    pub fn wing(&self, square: f64) -> f64 {
        let alpha2 = self.alpha * self.alpha;
        let fall = 1.0 + square / alpha2;
        std::f64::consts::FRAC_2_PI / (alpha2 * fall * fall * fall)
    }

    /// How the table is read for a star at this fraction of a pixel.
    pub fn place(&self, x: f64, y: f64) -> Placed<'_> {
        let (column, across) = self.taps(x - self.centroid[0]);
        let (row, along) = self.taps(y - self.centroid[1]);
        Placed { psf: self, column, row, across, along }
    }

    /// The pixel that holds a coordinate, and the four samples (phase, whole pixels, weight) that make up its value.
    fn taps(&self, at: f64) -> (i64, [(usize, i64, f64); 4]) {
        let pixel = at.floor();
        let sample = -(at - pixel) * self.steps as f64;
        let base = sample.floor();
        let t = sample - base;
        let weights = [
            -t * (t - 1.0) * (t - 2.0) / 6.0,
            (t + 1.0) * (t - 1.0) * (t - 2.0) / 2.0,
            -(t + 1.0) * t * (t - 2.0) / 2.0,
            (t + 1.0) * t * (t - 1.0) / 6.0,
        ];
        let steps = self.steps as i64;
        let mut taps = [(0, 0, 0.0); 4];
        for (tap, (offset, weight)) in taps.iter_mut().zip((-1..=2).zip(weights)) {
            let sample = base as i64 + offset;
            *tap = (sample.rem_euclid(steps) as usize, sample.div_euclid(steps), weight);
        }
        (pixel as i64, taps)
    }
}

/// A point's image at a place of the detector.
pub(super) struct Placed<'a> {
    psf: &'a Psf,
    /// Pixel from which distances count.
    pub column: i64,
    /// Pixel from which distances count.
    pub row: i64,
    across: [(usize, i64, f64); 4],
    along: [(usize, i64, f64); 4],
}

impl Placed<'_> {
    /// Add the light of one row, `down` pixels above the star's own, to `out`, whose first pixel lies `first` pixels
    /// right of the star's. All must lie within [`Psf::extent`].
    pub fn add(&self, electrons: f64, down: i64, first: i64, out: &mut [f64]) {
        let half = self.psf.half as i64;
        for &(phase_y, rows, weight_y) in &self.along {
            for &(phase_x, columns, weight_x) in &self.across {
                let weight = electrons * weight_y * weight_x;
                let start = (half + first + columns) as usize;
                let Some(table) = self.psf.phases.get(phase_y * self.psf.steps + phase_x) else { continue };
                let row = table.row((half + down + rows) as usize);
                // Rows of a table in standard layout are slices.
                let Some(samples) = row.as_slice().and_then(|row| row.get(start..start + out.len())) else { continue };
                for (pixel, sample) in out.iter_mut().zip(samples) {
                    *pixel += weight * sample;
                }
            }
        }
    }
}

/// Radius, in units of alpha, beyond which a share of the light falls: (1 + r^2)^-2.
fn beyond(share: f64) -> f64 {
    (1.0 / share.sqrt() - 1.0).sqrt()
}

/// Integral of the Moffat profile over the rectangle from the centre to (x, y), in units of alpha. Odd in both.
fn moffat_integral(x: f64, y: f64) -> f64 {
    let (a, b, s) = (1.0 + x * x, 1.0 + y * y, 1.0 + x * x + y * y);
    let (root_a, root_b) = (a.sqrt(), b.sqrt());
    let (atan_a, atan_b) = (math::atan(y / root_a), math::atan(x / root_b));
    let beta_two = (x * atan_a / root_a + y * atan_b / root_b) / 4.0;
    let rest = (x * atan_a / (a * root_a) + y * atan_b / (b * root_b) + x * y * (1.0 / a + 1.0 / b) / s) / 8.0;
    std::f64::consts::FRAC_2_PI * (beta_two + rest)
}

/// Light in pixels whose centres lie `steps` times per pixel up to `half` pixels around the star.
fn moffat_table(alpha: f64, steps: usize, half: usize) -> Array2<f64> {
    let (last, edge) = (half * steps, steps / 2);
    let unit = 1.0 / (alpha * steps as f64);
    let side = last + edge + 1;
    let mut corners = Array2::zeros((side, side));
    corners.as_slice_mut().unwrap_or_default().par_chunks_mut(side).enumerate().for_each(|(j, row)| {
        for (i, corner) in row.iter_mut().enumerate() {
            *corner = moffat_integral(i as f64 * unit, j as f64 * unit);
        }
    });
    let corner = |j: usize, i: usize, below: bool, left: bool| {
        // The integral is odd: corners on the other side of the star come from their mirror image.
        let step = |n: usize, back: bool| {
            if !back { (n + edge, 1.0) } else { (n.abs_diff(edge), if n < edge { -1.0 } else { 1.0 }) }
        };
        let ((j, sign_j), (i, sign_i)) = (step(j, below), step(i, left));
        sign_j * sign_i * corners[(j, i)]
    };
    let quadrant = Array2::from_shape_fn((last + 1, last + 1), |(j, i)| {
        corner(j, i, false, false) - corner(j, i, true, false) - corner(j, i, false, true) + corner(j, i, true, true)
    });
    Array2::from_shape_fn((2 * last + 1, 2 * last + 1), |(j, i)| quadrant[(j.abs_diff(last), i.abs_diff(last))])
}

/// Split a fine table by the place of the samples within a pixel. Sample `steps * n + phase` is pixel n of its phase.
fn phases(fine: &Array2<f64>, steps: usize, half: usize) -> Vec<Array2<f64>> {
    let side = 2 * half + 1;
    (0..steps * steps)
        .into_par_iter()
        .map(|phase| {
            Array2::from_shape_fn((side, side), |(j, i)| {
                fine.get((j * steps + phase / steps, i * steps + phase % steps)).copied().unwrap_or(0.0)
            })
        })
        .collect()
}

/// Points (x, y, weight) that a spread makes of one. The weights sum to one.
type Kernel = Vec<[f64; 3]>;

fn kernel_reach(kernel: &Kernel) -> f64 {
    kernel.iter().map(|[x, y, _]| (x * x + y * y).sqrt()).fold(0.0, f64::max)
}

/// Rays through the ring-shaped pupil, where defocus and coma take them, about their mean.
fn pupil(spread: &Spread, fwhm: f64) -> Kernel {
    let size = spread.defocus.max(spread.coma.0);
    if size <= 0.0 {
        return vec![[0.0, 0.0, 1.0]];
    }
    let spacing = (0.35 * fwhm).max(0.3);
    let rings = ((1.0 - OBSTRUCTION) * size / 2.0 / spacing).ceil().clamp(3.0, 24.0) as usize;
    let (sin_tail, cos_tail) = math::sin_cos(spread.coma.1.to_radians());
    let mut rays = Vec::new();
    for ring in 0..rings {
        let rho = OBSTRUCTION + (1.0 - OBSTRUCTION) * (ring as f64 + 0.5) / rings as f64;
        let around = (std::f64::consts::TAU * rho * size / 2.0 / spacing).ceil().clamp(12.0, 96.0) as usize;
        for ray in 0..around {
            let angle = std::f64::consts::TAU * (ray as f64 + 0.5 * (ring % 2) as f64) / around as f64;
            let (sin, cos) = math::sin_cos(angle);
            let (sin_two, cos_two) = (2.0 * sin * cos, cos * cos - sin * sin);
            // Coma throws each zone of the pupil onto a circle whose centre moves outwards with the zone's size.
            let tail = spread.coma.0 / 3.0 * rho * rho;
            let (along, across) = (tail * (2.0 + cos_two), tail * sin_two);
            let radius = spread.defocus / 2.0 * rho;
            rays.push([
                radius * cos + along * cos_tail - across * sin_tail,
                radius * sin + along * sin_tail + across * cos_tail,
                rho / around as f64,
            ]);
        }
    }
    centred(rays)
}

/// Points along a trail.
fn trail((length, angle): (f64, f64), fwhm: f64) -> Kernel {
    if length <= 0.0 {
        return vec![[0.0, 0.0, 1.0]];
    }
    let points = (length / (0.25 * fwhm).max(0.25)).ceil().clamp(5.0, 200.0) as usize;
    let (sin, cos) = math::sin_cos(angle.to_radians());
    centred(
        (0..points)
            .map(|point| {
                let along = ((point as f64 + 0.5) / points as f64 - 0.5) * length;
                [along * cos, along * sin, 1.0]
            })
            .collect(),
    )
}

fn centred(mut kernel: Kernel) -> Kernel {
    let total: f64 = kernel.iter().map(|[_, _, weight]| weight).sum();
    let mean = |axis: usize| kernel.iter().map(|point| point[axis] * point[2]).sum::<f64>() / total;
    let (x, y) = (mean(0), mean(1));
    for point in &mut kernel {
        *point = [point[0] - x, point[1] - y, point[2] / total];
    }
    kernel
}

/// Spread a fine table. Points move to the nearest sample; the shift of the centroid (pixels) that this leaves is
/// returned with the table.
fn convolve(fine: &Array2<f64>, kernel: &Kernel, steps: usize) -> (Array2<f64>, [f64; 2]) {
    let side = fine.ncols();
    let mut shift = [0.0, 0.0];
    let moved: Vec<(i64, i64, f64)> = kernel
        .iter()
        .map(|&[x, y, weight]| {
            let (i, j) = ((x * steps as f64).round(), (y * steps as f64).round());
            shift = [shift[0] + weight * i / steps as f64, shift[1] + weight * j / steps as f64];
            (i as i64, j as i64, weight)
        })
        .collect();
    let mut spread = Array2::zeros((side, side));
    spread.as_slice_mut().unwrap_or_default().par_chunks_mut(side).enumerate().for_each(|(row, out)| {
        for &(i, j, weight) in &moved {
            let Some(from) = usize::try_from(row as i64 - j).ok().filter(|&from| from < side) else { continue };
            let Some(source) = fine.row(from).to_slice() else { continue };
            let step = i.unsigned_abs() as usize;
            if step >= side {
                continue;
            }
            let (out, source) = if i >= 0 {
                (&mut out[step..], &source[..side - step])
            } else {
                (&mut out[..side - step], &source[step..])
            };
            for (pixel, sample) in out.iter_mut().zip(source) {
                *pixel += weight * sample;
            }
        }
    });
    (spread, shift)
}
