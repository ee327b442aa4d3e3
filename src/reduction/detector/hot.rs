//! Hot and cold pixels of a stacked dark or bias.

use rayon::prelude::*;

use super::noise::NoiseModel;
use super::stack::Stacked;
use crate::numerics::robust::median;
use crate::reduction::flags;

/// Half width of the neighbourhood that a hot pixel is compared with.
const REACH: usize = 3;

/// Flag the pixels that stand out of their surroundings by more than `threshold` sigmas, where sigma holds both the
/// pixel's own error and the scatter that pixels have anyway (fixed pattern). Both the smooth level and the median of
/// the 7 x 7 neighbours must agree, so that a steep glow is not taken for hot pixels.
///
/// Only pixels that the stack found unusual can stand out that far; the others are not looked at again.
pub fn flag(stacked: &mut Stacked, noise: &NoiseModel, threshold: f64) {
    let (rows, columns) = stacked.value.dim();
    let seen = &*stacked;
    let found: Vec<(usize, usize, i32)> = seen
        .unusual
        .par_iter()
        .filter_map(|&(r, c)| {
            if seen.flags[[r, c]] & flags::NO_DATA != 0 {
                return None;
            }
            let value = f64::from(seen.value[[r, c]]);
            let pattern = (noise.scatter.at(r, c) - noise.variance.at(r, c) * noise.weights.mean).max(0.0);
            let sigma = (pattern + f64::from(seen.variance[[r, c]])).sqrt();
            let stands_out = |level: f64| (value - level) / sigma;
            let first = stands_out(noise.background.at(r, c));
            if first.abs() <= threshold {
                return None;
            }
            let mut around: Vec<f32> = Vec::with_capacity((2 * REACH + 1).pow(2));
            for y in r.saturating_sub(REACH)..(r + REACH + 1).min(rows) {
                for x in c.saturating_sub(REACH)..(c + REACH + 1).min(columns) {
                    if (y, x) != (r, c) && seen.flags[[y, x]] & flags::NO_DATA == 0 {
                        around.push(seen.value[[y, x]]);
                    }
                }
            }
            let second = median(&mut around).map_or(first, stands_out);
            if first > threshold && second > threshold {
                Some((r, c, flags::HOT))
            } else if first < -threshold && second < -threshold {
                Some((r, c, flags::COLD))
            } else {
                None
            }
        })
        .collect();
    for (r, c, bit) in found {
        stacked.flags[[r, c]] |= bit;
    }
}
