//! Cosmic rays in a single exposure: what is left above a model of sky and sources, and is sharp.
//!
//! The Laplacian edge detection of van Dokkum (2001, PASP 113, 1420) finds sharp edges, and has to guess what is a star or
//! a line of the sky. Here the model of both is taken away first and its variance is known, so that sharp residuals are
//! all that is looked for; the light of the model adds a small part of itself to the noise, which is what the model may
//! be wrong by. Hits are flagged and never replaced.

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use super::exposure::Exposure;
use super::strip::{Strip, UNUSABLE};
use crate::numerics::robust::median;
use crate::reduction::flags;

/// How cosmic rays are looked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CosmicOptions {
    /// Height of a hit's edge above its surroundings, sigmas.
    pub threshold: f64,
    /// Height of a neighbour of a hit that belongs to it, sigmas.
    pub wing: f64,
    /// Part of its own light by which the model may be wrong.
    pub tolerance: f64,
}

impl Default for CosmicOptions {
    fn default() -> CosmicOptions {
        CosmicOptions { threshold: 4.5, wing: 2.5, tolerance: 0.01 }
    }
}

/// Least part of a hit that stands above its surroundings: a track one pixel wide has a half, a star of two pixels' width
/// at half maximum less than a fifth.
const SHARP: f64 = 0.3;

/// Flag the cosmic rays of a strip, given the light of sky and sources; the number of pixels flagged. `suspects` are pixels
/// that contradict the extraction, which knows the profile of a source better than any neighbour does.
pub fn flag(strip: &mut Strip, model: &Array2<f32>, suspects: &[(usize, usize)], options: &CosmicOptions) -> usize {
    let (rows, columns) = strip.shape();
    let residual = Array2::from_shape_fn((rows, columns), |at| {
        let known = strip.flags[at] & UNUSABLE & !flags::UNLIT == 0 && strip.wavelength[at].is_finite();
        if known { strip.value[at] - model[at] } else { f32::NAN }
    });
    let sigma = Array2::from_shape_fn((rows, columns), |at| {
        let light = f64::from(model[at]);
        (strip.variance(at, light) + (options.tolerance * light).powi(2)).sqrt() as f32
    });
    // what lies beside a source in its own light is no background of a hit: rows lean against columns
    let aligned = Aligned { residual: residual.view(), columns: &strip.columns };
    let mut hit = Array2::from_elem((rows, columns), false);
    for r in 0..rows {
        for c in 0..columns {
            let (value, noise) = (f64::from(residual[(r, c)]), f64::from(sigma[(r, c)]));
            // the cheap test first: most pixels end here
            if value > options.threshold * noise {
                let edge = aligned.edge(r, c);
                hit[(r, c)] = edge > options.threshold * noise && edge > SHARP * value;
            }
        }
    }
    for at in suspects {
        let sharp = aligned.edge(at.0, at.1) > SHARP * f64::from(residual[*at]);
        hit[*at] |= residual[*at] > 0.0 && sharp;
    }
    let grown = grow(&hit, |at, from| {
        let c = at.1 as isize + strip.columns[at.0] as isize - strip.columns[from.0] as isize;
        let near = (c - from.1 as isize).abs() <= 1;
        near && f64::from(residual[at]) > options.wing * f64::from(sigma[at])
    });
    mark(&mut strip.flags, &grown)
}

/// Neighbouring rows of a strip begin at different columns of the detector.
struct Aligned<'a> {
    residual: ArrayView2<'a, f32>,
    columns: &'a [usize],
}

impl Aligned<'_> {
    /// A pixel of the detector, by its row and the column that it has in that of row `from`.
    fn at(&self, row: Option<usize>, from: usize, column: isize) -> f64 {
        let Some(row) = row.filter(|row| *row < self.columns.len()) else { return 0.0 };
        let shifted = column + self.columns[from] as isize - self.columns[row] as isize;
        let value = usize::try_from(shifted).ok().and_then(|c| self.residual.get((row, c))).copied();
        // a pixel that is not known says nothing: as if there were only noise
        value.filter(|value| value.is_finite()).map_or(0.0, f64::from)
    }

    /// How far a pixel stands above its surroundings: the positive parts of the Laplacian at its four corners.
    fn edge(&self, r: usize, c: usize) -> f64 {
        let here = f64::from(self.residual[(r, c)]);
        let column = c as isize;
        let sides = [self.at(Some(r), r, column - 1), self.at(Some(r), r, column + 1)];
        let ends = [self.at(r.checked_sub(1), r, column), self.at(r.checked_add(1), r, column)];
        let corners = sides.iter().flat_map(|side| ends.iter().map(move |end| (here - 0.5 * (side + end)).max(0.0)));
        corners.sum::<f64>() / 4.0
    }
}

/// Hits with those of their eight neighbours that belong to them (`joins(neighbour, hit)`; rows and columns of the array).
fn grow(hit: &Array2<bool>, joins: impl Fn((usize, usize), (usize, usize)) -> bool) -> Array2<bool> {
    let (rows, columns) = hit.dim();
    let mut grown = hit.clone();
    for ((r, c), _) in hit.indexed_iter().filter(|(_, hit)| **hit) {
        for y in r.saturating_sub(1)..(r + 2).min(rows) {
            // columns of other rows may begin one or two to the side
            for x in c.saturating_sub(3)..(c + 4).min(columns) {
                if !grown[(y, x)] && joins((y, x), (r, c)) {
                    grown[(y, x)] = true;
                }
            }
        }
    }
    grown
}

fn mark(bits: &mut Array2<i32>, hits: &Array2<bool>) -> usize {
    let mut count = 0;
    ndarray::Zip::from(bits).and(hits).for_each(|bits, hit| {
        if *hit && *bits & flags::COSMIC_RAY == 0 {
            *bits |= flags::COSMIC_RAY;
            count += 1;
        }
    });
    count
}

/// Side of the blocks whose median is the background between the orders, pixels.
const BLOCK: usize = 32;

/// Flag the cosmic rays of an exposure where no order lies (`covered` is false); the number of pixels flagged.
pub fn flag_between(exposure: &mut Exposure, covered: &Array2<bool>, options: &CosmicOptions) -> usize {
    let (rows, columns) = exposure.value.dim();
    let blank = |at: (usize, usize)| !covered[at] && exposure.flags[at] & UNUSABLE & !flags::UNLIT == 0;
    let across = columns.div_ceil(BLOCK);
    let backgrounds: Vec<f64> = (0..rows.div_ceil(BLOCK) * across)
        .into_par_iter()
        .map(|k| {
            let (top, left) = (k / across * BLOCK, k % across * BLOCK);
            let mut values: Vec<f32> = (top..(top + BLOCK).min(rows))
                .flat_map(|r| (left..(left + BLOCK).min(columns)).map(move |c| (r, c)))
                .filter(|at| blank(*at))
                .map(|at| exposure.value[at])
                .filter(|value| value.is_finite())
                .collect();
            median(&mut values).unwrap_or(0.0)
        })
        .collect();
    let residual = |r: usize, c: usize| {
        let known = r < rows && c < columns && blank((r, c));
        if known { f64::from(exposure.value[(r, c)]) - backgrounds[r / BLOCK * across + c / BLOCK] } else { 0.0 }
    };
    let sigma = |at: (usize, usize)| exposure.variance(at, backgrounds[at.0 / BLOCK * across + at.1 / BLOCK]).sqrt();
    let hits: Vec<(usize, usize)> = (0..rows)
        .into_par_iter()
        .flat_map_iter(|r| {
            let edge = move |c: usize| {
                let before = |k: usize| k.checked_sub(1).unwrap_or(usize::MAX);
                let (sides, ends) =
                    ([residual(r, before(c)), residual(r, c + 1)], [residual(before(r), c), residual(r + 1, c)]);
                let here = residual(r, c);
                let corners = sides.iter().flat_map(|s| ends.iter().map(move |e| (here - 0.5 * (s + e)).max(0.0)));
                corners.sum::<f64>() / 4.0
            };
            (0..columns)
                .filter(move |c| {
                    let (value, noise) = (residual(r, *c), options.threshold * sigma((r, *c)));
                    value > noise && edge(*c) > noise && edge(*c) > SHARP * value
                })
                .map(move |c| (r, c))
        })
        .collect();
    let mut all = hits.clone();
    for (r, c) in &hits {
        for y in r.saturating_sub(1)..(r + 2).min(rows) {
            for x in c.saturating_sub(1)..(c + 2).min(columns) {
                if residual(y, x) > options.wing * sigma((y, x)) {
                    all.push((y, x));
                }
            }
        }
    }
    let mut count = 0;
    for at in all {
        count += usize::from(exposure.flags[at] & flags::COSMIC_RAY == 0);
        exposure.flags[at] |= flags::COSMIC_RAY;
    }
    count
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};

    use super::super::synthetic::{Scene, line};
    use super::*;

    /// Pixels that were hit, and the light that they got.
    type Hits = Vec<((usize, usize), f32)>;

    /// A strip with lines and a bright star, its model, and the pixels that were hit.
    fn scene() -> (Strip, Array2<f32>, Hits) {
        let scene = Scene { shape: (1000, 50), ..Scene::small() };
        let light = |u: f64, s: f64| {
            let lines: f64 = (0..30).map(|k| 8000.0 * line(u - 33.1 * f64::from(k) - 7.0, 3.6, 0.6)).sum();
            50.0 + lines + 20_000.0 * (-0.5 * ((s - 1.0) / 0.4).powi(2)).exp()
        };
        let mut strip = scene.strip(&light);
        let exact = Scene { seed: None, ..scene }.strip(&light);
        let mut rng = rand_pcg::Pcg64Mcg::seed_from_u64(5);
        let mut hits = Vec::new();
        for _ in 0..500 {
            let (r, c) = (rng.random_range(1..999), rng.random_range(1..49));
            let charge = 50.0 * 100f32.powf(rng.random_range(0.0..1.0));
            let length = rng.random_range(1..4);
            for k in 0..length.min(999 - r) {
                strip.value[(r + k, c)] += charge;
                hits.push(((r + k, c), charge));
            }
        }
        (strip, exact.value, hits)
    }

    #[test]
    fn hits_are_found_on_and_off_the_trace_and_little_else_is() {
        let (mut strip, model, hits) = scene();
        flag(&mut strip, &model, &[], &CosmicOptions::default());
        let is_hit = |at: (usize, usize)| strip.flags[at] & flags::COSMIC_RAY != 0;
        let usable = |at: (usize, usize)| strip.wavelength[at].is_finite();
        let strong: Vec<_> = hits
            .iter()
            .filter(|(at, charge)| {
                let sigma = strip.variance(*at, f64::from(model[*at])).sqrt() + 0.01 * f64::from(model[*at]);
                usable(*at) && f64::from(*charge) > 10.0 * sigma
            })
            .collect();
        let found = strong.iter().filter(|(at, _)| is_hit(*at)).count();
        assert!(strong.len() > 300 && found as f64 > 0.98 * strong.len() as f64, "{found} of {}", strong.len());
        let (mut bright, mut wrong) = (0, 0);
        for (at, light) in model.indexed_iter().filter(|(at, light)| **light > 1000.0 && usable(*at)) {
            let touched = hits.iter().any(|(hit, _)| *hit == at);
            bright += usize::from(!touched && *light > 0.0);
            wrong += usize::from(!touched && is_hit(at));
        }
        assert!(bright > 5000 && (wrong as f64) < 1e-3 * bright as f64, "{wrong} of {bright}");
    }

    #[test]
    fn what_the_extraction_suspects_is_flagged_when_it_is_sharp_and_bright() {
        let (mut strip, model, _) = scene();
        let row = strip.slit.row(500).iter().position(|s| (*s - 1.0).abs() < 0.15).unwrap();
        strip.value[(500, row)] = model[(500, row)] + 900.0;
        flag(&mut strip, &model, &[(500, row), (510, row)], &CosmicOptions::default());
        assert!(strip.flags[(500, row)] & flags::COSMIC_RAY != 0);
    }

    #[test]
    fn between_the_orders_only_what_stands_out_is_flagged() {
        let scene = Scene { shape: (200, 50), ..Scene::small() };
        let strip = scene.strip(&|_, _| 3.0);
        let mut exposure = Exposure {
            value: strip.value.clone(),
            floor: strip.floor.clone(),
            response: strip.response.clone(),
            flat: strip.flat.clone(),
            flags: Array2::zeros(strip.shape()),
            binning: [1, 1],
            exptime: 1.0,
        };
        exposure.value[(0, 0)] += 100.0;
        exposure.value[(77, 20)] += 200.0;
        let mut covered = Array2::from_elem(strip.shape(), false);
        covered.slice_mut(ndarray::s![70..90, ..]).fill(true);
        let count = flag_between(&mut exposure, &covered, &CosmicOptions::default());
        assert!(exposure.flags[(0, 0)] & flags::COSMIC_RAY != 0 && exposure.flags[(77, 20)] == 0);
        assert!(count < 5, "{count}");
    }
}
