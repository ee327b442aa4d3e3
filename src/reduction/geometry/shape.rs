//! The shape of a pinhole's image, order by order, from all lines together.
//!
//! With the shape known, a line's fit has only flux and place to find; blends come apart, and an image narrower than two
//! pixels has no error that depends on where in a pixel it falls.

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use crate::numerics::least_squares::{Cholesky, NormalSums};
use crate::numerics::profile::{self, Axis, Shape, TERMS};
use crate::numerics::spots::{Seed, Spot};

/// A shape that changes slowly along an order: variances and lean are parabolas in the argument, -1..1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ShapeModel {
    /// Variance along x, pixels squared.
    pub variance_x: [f64; 3],
    /// Variance along y.
    pub variance_y: [f64; 3],
    /// Lean: the coefficient of the term (1, 1).
    pub lean: [f64; 3],
    /// Coefficients of the terms of degree four, constant along the order.
    pub kurtosis: [f64; TERMS.len() - 1],
}

/// Least and largest variance that is taken for a pinhole's, pixels squared.
const VARIANCES: (f64, f64) = (0.1, 12.0);

impl ShapeModel {
    /// A round Gaussian of this standard deviation in pixels.
    pub fn round(sigma: f64) -> ShapeModel {
        let variance = [sigma * sigma, 0.0, 0.0];
        ShapeModel { variance_x: variance, variance_y: variance, lean: [0.0; 3], kurtosis: [0.0; TERMS.len() - 1] }
    }

    /// The shape at an argument.
    pub fn at(&self, t: f64) -> Shape {
        let t = t.clamp(-1.0, 1.0);
        let value = |c: &[f64; 3]| c[0] + t * (c[1] + t * c[2]);
        let sigma = |c: &[f64; 3]| value(c).clamp(VARIANCES.0, VARIANCES.1).sqrt();
        let mut terms = [0.0; TERMS.len()];
        terms[0] = value(&self.lean).clamp(-0.7, 0.7);
        terms[1..].copy_from_slice(&self.kurtosis);
        Shape { sigma_x: sigma(&self.variance_x), sigma_y: sigma(&self.variance_y), terms }
    }
}

/// A spot that may tell the shape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Witness {
    /// Index of seed and spot.
    pub index: usize,
    /// Argument along the order.
    pub t: f64,
}

/// Half width of the pixels that are looked at.
const REACH: isize = 4;
/// Terms along the order of width and lean, and the number of unknowns in all.
const UNKNOWNS: usize = 9 + TERMS.len() - 1;
/// Flux, background and place of each spot are free.
const FREE: usize = 4;

/// Improve a shape from the residuals of spots. `model` is the sum of all spots as fitted with `shape`; a pixel that is off
/// by more than the fraction `tolerance` of its spot's brightest pixel (and by its noise) is left out.
#[allow(clippy::too_many_arguments)]
pub fn improve(
    shape: &ShapeModel,
    image: ArrayView2<f32>,
    floor: ArrayView2<f32>,
    model: &Array2<f32>,
    seeds: &[Seed],
    spots: &[Spot],
    witnesses: &[Witness],
    response: f64,
    tolerance: f64,
) -> ShapeModel {
    let parts: Vec<NormalSums> = witnesses
        .par_chunks(32)
        .map(|part| {
            let mut sums = NormalSums::new(UNKNOWNS);
            for witness in part {
                let (Some(seed), Some(spot)) = (seeds.get(witness.index), spots.get(witness.index)) else { continue };
                add_spot(&mut sums, &image, &floor, model, seed, spot, witness.t, (response, tolerance));
            }
            sums
        })
        .collect();
    let mut sums = NormalSums::new(UNKNOWNS);
    parts.iter().for_each(|part| sums.merge(part, 1.0));
    // what few lines cannot tell stays as it is
    for k in 0..UNKNOWNS {
        let mut row = [0.0; UNKNOWNS];
        row[k] = 1.0 / if k < 9 && k % 3 == 0 { 0.5 } else { 0.05 };
        sums.add(&row, 0.0);
    }
    let Some(fitted) = sums.solve() else { return *shape };
    let c = &fitted.coefficients;
    let mut better = *shape;
    for i in 0..3 {
        // the term of degree two changes the variance by twice its coefficient, in units of the variance
        better.variance_x[i] += 2.0 * c[i].clamp(-0.3, 0.5) * shape.variance_x[0];
        better.variance_y[i] += 2.0 * c[3 + i].clamp(-0.3, 0.5) * shape.variance_y[0];
        better.lean[i] += c[6 + i];
    }
    for (k, value) in better.kurtosis.iter_mut().enumerate() {
        *value = (*value + c[9 + k]).clamp(-0.1, 0.1);
    }
    better
}

/// Add the pixels of one spot, with its own flux, background and place projected out.
#[allow(clippy::too_many_arguments)]
fn add_spot(
    sums: &mut NormalSums,
    image: &ArrayView2<f32>,
    floor: &ArrayView2<f32>,
    model: &Array2<f32>,
    seed: &Seed,
    spot: &Spot,
    t: f64,
    (response, tolerance): (f64, f64),
) {
    const ALL: usize = FREE + UNKNOWNS;
    let (rows, columns) = image.dim();
    let own = profile::image(spot.x, spot.y, &seed.shape);
    let (ax, ay) = (Axis::new(spot.x, seed.shape.sigma_x), Axis::new(spot.y, seed.shape.sigma_y));
    let mut pixels: Vec<([f64; ALL], f64)> = Vec::with_capacity(81);
    for dr in -REACH..=REACH {
        for dc in -REACH..=REACH {
            let (row, column) = (spot.y.round() as isize + dr, spot.x.round() as isize + dc);
            if row < 0 || column < 0 || row as usize >= rows || column as usize >= columns {
                continue;
            }
            let at = (row as usize, column as usize);
            let (r, c) = ((row - own.origin.0) as usize, (column - own.origin.1) as usize);
            let (base, value) = (f64::from(floor[at]), f64::from(image[at]));
            if !(base.is_finite() && value.is_finite()) || r >= profile::SPAN || c >= profile::SPAN {
                continue;
            }
            let signal = f64::from(model[at]).max(0.0);
            let sigma =
                (base + signal + (response * signal).powi(2) + (0.02 * spot.flux * own.value[r][c]).powi(2)).sqrt();
            let residual = value - f64::from(model[at]) - spot.background;
            if residual.abs() > 8.0 * sigma + tolerance * spot.flux * own.value[profile::REACH][profile::REACH] {
                continue;
            }
            let mut line = [0.0; ALL];
            line[..FREE].copy_from_slice(&[own.value[r][c], 1.0, spot.flux * own.dx[r][c], spot.flux * own.dy[r][c]]);
            let term = |m: usize, n: usize| spot.flux * ax.term(m)[c] * ay.term(n)[r];
            for (k, (m, n)) in [(2, 0), (0, 2), (1, 1)].into_iter().enumerate() {
                let value = term(m, n);
                line[FREE + 3 * k..FREE + 3 * k + 3].copy_from_slice(&[value, value * t, value * t * t]);
            }
            for (k, (m, n)) in TERMS.into_iter().skip(1).enumerate() {
                line[FREE + 9 + k] = term(m, n);
            }
            line.iter_mut().for_each(|value| *value /= sigma);
            pixels.push((line, residual / sigma));
        }
    }
    if pixels.len() < 20 {
        return;
    }
    let mut gram = vec![0.0; FREE * FREE];
    for (line, _) in &pixels {
        for i in 0..FREE {
            for j in 0..FREE {
                gram[i * FREE + j] += line[i] * line[j];
            }
        }
    }
    let Some(factor) = Cholesky::new(FREE, gram) else { return };
    // projection of each unknown's column, and of the residual, on the spot's own parameters
    let mut cross = vec![[0.0; FREE]; UNKNOWNS + 1];
    for (line, residual) in &pixels {
        for (k, cross) in cross.iter_mut().enumerate() {
            let value = line.get(FREE + k).copied().unwrap_or(*residual);
            cross.iter_mut().zip(line).for_each(|(sum, own)| *sum += own * value);
        }
    }
    cross.iter_mut().for_each(|cross| factor.solve(cross));
    for (line, residual) in &pixels {
        let project = |k: usize| cross[k].iter().zip(line).map(|(c, own)| c * own).sum::<f64>();
        let mut row = [0.0; UNKNOWNS];
        for (k, out) in row.iter_mut().enumerate() {
            *out = line[FREE + k] - project(k);
        }
        sums.add(&row, residual - project(UNKNOWNS));
    }
}
