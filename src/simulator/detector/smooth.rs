//! Random smooth surfaces and drifts: large-scale response, thickness of a chip, wandering of an amplifier's level.

use std::ops::RangeInclusive;

use ndarray::Array2;
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64Mcg;

use crate::simulator::math;

/// Root mean square of a cubic B-spline surface through nodes of unit rms: the mean over a cell of the sum of squared
/// weights is 151/315 in each direction.
const SPLINE_RMS: f64 = 151.0 / 315.0;

/// A random smooth surface of mean about 0 and rms about 1: noise on a coarse grid, joined by cubic B-splines.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Smooth {
    nodes: Array2<f64>,
    step: f64,
}

impl Smooth {
    /// A surface over `area` (rows, columns) whose features are some `step` pixels wide.
    pub fn new(area: (usize, usize), step: f64, rng: &mut Pcg64Mcg) -> Smooth {
        let cells = |length: usize| (length as f64 / step) as usize + 4;
        let nodes = Array2::from_shape_simple_fn((cells(area.0), cells(area.1)), || {
            let node: f64 = StandardNormal.sample(rng);
            node / SPLINE_RMS
        });
        Smooth { nodes, step }
    }

    /// The surface at column `x` and row `y`; beyond the edges that of the edge.
    pub fn at(&self, x: f64, y: f64) -> f64 {
        let (rows, columns) = self.nodes.dim();
        let (i, along) = weights(x / self.step, columns);
        let (j, across) = weights(y / self.step, rows);
        let mut sum = 0.0;
        for (dj, across) in across.into_iter().enumerate() {
            for (di, along) in along.into_iter().enumerate() {
                sum += across * along * self.nodes[(j + dj, i + di)];
            }
        }
        sum
    }
}

/// First of the four nodes around a position in cells, and their weights. At least four nodes exist.
fn weights(position: f64, nodes: usize) -> (usize, [f64; 4]) {
    let position = position.clamp(0.0, (nodes - 3) as f64);
    let first = (position as usize).min(nodes - 4);
    let f = position - first as f64;
    let g = 1.0 - f;
    let (f2, f3) = (f * f, f * f * f);
    (
        first,
        [g * g * g / 6.0, (3.0 * f3 - 6.0 * f2 + 4.0) / 6.0, (-3.0 * f3 + 3.0 * f2 + 3.0 * f + 1.0) / 6.0, f3 / 6.0],
    )
}

/// A drift of rms 1 and mean exactly 0: the sum of equally strong wanderings, each correlated over 2^octave samples.
/// Over many octaves its power falls with the frequency as 1/f.
pub(super) fn drift(samples: usize, octaves: RangeInclusive<i32>, rng: &mut Pcg64Mcg) -> Vec<f64> {
    let strength = 1.0 / (octaves.clone().count().max(1) as f64).sqrt();
    let mut sum = vec![0.0; samples];
    for octave in octaves {
        let keeps = math::exp(-1.0 / math::pow(2.0, f64::from(octave)));
        let gains = (1.0 - keeps * keeps).sqrt();
        let mut state: f64 = StandardNormal.sample(rng);
        for value in &mut sum {
            *value += strength * state;
            let step: f64 = StandardNormal.sample(rng);
            state = keeps * state + gains * step;
        }
    }
    let mean = sum.iter().sum::<f64>() / samples.max(1) as f64;
    sum.iter_mut().for_each(|value| *value -= mean);
    sum
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn surfaces_are_smooth_and_of_unit_rms() {
        let mut rng = Pcg64Mcg::seed_from_u64(3);
        let surface = Smooth::new((4000, 4000), 50.0, &mut rng);
        let mut squares = 0.0;
        for row in 0..200 {
            for column in 0..200 {
                let (x, y) = (f64::from(column) * 19.9, f64::from(row) * 19.7);
                squares += surface.at(x, y) * surface.at(x, y);
                assert!((surface.at(x + 0.01, y) - surface.at(x, y)).abs() < 1e-2);
            }
        }
        assert!(((squares / 40_000.0_f64).sqrt() - 1.0).abs() < 0.05, "{squares}");
        assert_eq!(surface.at(-5.0, 10.0), surface.at(0.0, 10.0));
        assert!(surface.at(f64::NAN, 1.0e9).is_nan());
    }

    #[test]
    fn a_drift_over_many_octaves_has_more_power_at_low_frequencies() {
        let mut rng = Pcg64Mcg::seed_from_u64(4);
        let (mut rough, mut total) = (0.0, 0.0);
        for _ in 0..50 {
            let values = drift(2048, 0..=8, &mut rng);
            assert!(values.iter().sum::<f64>().abs() < 1e-9);
            total += values.iter().map(|v| v * v).sum::<f64>();
            rough += values.windows(2).map(|pair| (pair[1] - pair[0]) * (pair[1] - pair[0])).sum::<f64>();
        }
        let variance = total / (50.0 * 2048.0);
        assert!((variance - 1.0).abs() < 0.15, "{variance}");
        // White noise would have steps of variance 2; nine octaves have 2 (1 - the mean of their memories) = 0.33.
        let steps = rough / (50.0 * 2047.0) / variance;
        assert!((steps - 0.33).abs() < 0.05, "{steps}");
    }
}
