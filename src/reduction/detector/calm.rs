//! The noise of a master bias or dark, taken down by what its other pixels say.
//!
//! A master of five frames is known per pixel only to half the read noise of a frame, and all of that goes into every frame it
//! is taken off. But most pixels differ from their neighbourhood by less than that: what the pixels really scatter by is seen
//! in the master as scatter beyond its noise. A pixel's best value lies between its own and that of its neighbourhood,
//! weighted by the two variances (Stein's shrinkage, with the scatter measured); few pixels stand out on their own, as hot
//! ones do, and those keep their value. Which of the two a pixel is has a probability, and the variance says so.

use ndarray::{Array2, ArrayView2, Zip};
use rayon::prelude::*;

use crate::numerics::robust::{MAD_TO_SIGMA, median_f64};

/// Rows and columns of a tile, of which the median is the neighbourhood.
const TILE: usize = 32;
/// Fewest good pixels of a tile.
const FEWEST: usize = 64;
/// Pixels that are sampled for the scatter.
const SAMPLES: usize = 200_000;
/// Scatter from which a pixel counts as standing out, sigmas of noise and scatter together.
const OUT: f64 = 4.0;
/// Least fraction of pixels that stand out: none seen is no proof.
const RARE: f64 = 1e-4;

/// A master with its noise taken down.
#[derive(Clone, Debug, PartialEq)]
pub struct Calm {
    /// Value, in the unit of the master.
    pub value: Array2<f32>,
    /// Its variance.
    pub variance: Array2<f32>,
    /// Scatter of the pixels about their neighbourhood beyond their noise.
    pub scatter: f64,
}

/// What the pixels of a master have in common.
struct Common {
    /// Variance of their scatter about the neighbourhood.
    scatter: f64,
    /// Fraction that stands out, and the variance of how far.
    out: [f64; 2],
}

/// Take the noise of a master down. Pixels with quality bits, or without a variance, stay as they are. `None` when shapes differ,
/// or too little of the master is good.
pub fn calm(value: ArrayView2<f32>, variance: ArrayView2<f32>, flags: ArrayView2<i32>) -> Option<Calm> {
    if value.dim() != variance.dim() || value.dim() != flags.dim() {
        return None;
    }
    let ground = Ground::of(value, flags)?;
    let common = common(value, variance, flags, &ground)?;
    let mut calm = Calm { value: value.to_owned(), variance: variance.to_owned(), scatter: common.scatter.sqrt() };
    Zip::indexed(&mut calm.value).and(&mut calm.variance).and(flags).par_for_each(|at, value, variance, bits| {
        let noise = f64::from(*variance);
        if *bits != 0 || !value.is_finite() || noise.is_nan() || noise <= 0.0 {
            return;
        }
        let ground = ground.at(at);
        let (best, rest) = common.believed(f64::from(*value) - ground, noise);
        // the medians of the tiles have a noise of their own
        let of_ground = noise * std::f64::consts::FRAC_PI_2 / (TILE * TILE) as f64;
        *value = (ground + best) as f32;
        *variance = (rest + of_ground) as f32;
    });
    Some(calm)
}

impl Common {
    /// Best value of a deviation with this noise variance, and its variance.
    fn believed(&self, deviation: f64, noise: f64) -> (f64, f64) {
        let [fraction, far] = self.out;
        let (wide, narrow) = (far + noise, self.scatter + noise);
        let plainness = (-0.5 * deviation * deviation * (1.0 / narrow - 1.0 / wide)).exp() * (wide / narrow).sqrt();
        let p = fraction / (fraction + (1.0 - fraction) * plainness);
        let share = |variance: f64| variance / (variance + noise);
        let (own, drawn) = (share(far), share(self.scatter));
        let mean = p * own + (1.0 - p) * drawn;
        let between = p * (1.0 - p) * ((own - drawn) * deviation).powi(2);
        (mean * deviation, mean * noise + between)
    }
}

fn common(
    value: ArrayView2<f32>,
    variance: ArrayView2<f32>,
    flags: ArrayView2<i32>,
    ground: &Ground,
) -> Option<Common> {
    let step = (value.len() / SAMPLES).max(1) | 1;
    let sampled: Vec<(f64, f64)> = value
        .indexed_iter()
        .step_by(step)
        .filter(|(at, value)| flags[*at] == 0 && value.is_finite() && variance[*at] > 0.0)
        .map(|(at, value)| (f64::from(*value) - ground.at(at), f64::from(variance[at])))
        .collect();
    let spread = MAD_TO_SIGMA * median_f64(&mut sampled.iter().map(|(off, _)| off.abs()).collect::<Vec<_>>())?;
    let noise = median_f64(&mut sampled.iter().map(|(_, noise)| *noise).collect::<Vec<_>>())?;
    let scatter = (spread * spread - noise).max(0.0);
    let far: Vec<f64> = sampled
        .iter()
        .filter(|(off, noise)| off * off > OUT * OUT * (scatter + noise))
        .map(|(off, noise)| off * off - noise)
        .collect();
    let fraction = (far.len() as f64 / sampled.len() as f64).max(RARE);
    // the middle of them: the hottest would make the others look like noise
    let reach = median_f64(&mut far.clone()).unwrap_or(0.0).max(OUT * OUT * (scatter + noise));
    Some(Common { scatter, out: [fraction.min(0.5), reach] })
}

/// The neighbourhood: medians of tiles, between them on straight lines.
struct Ground {
    medians: Array2<f64>,
}

impl Ground {
    fn of(value: ArrayView2<f32>, flags: ArrayView2<i32>) -> Option<Ground> {
        let (rows, columns) = value.dim();
        let (down, along) = (rows.div_ceil(TILE), columns.div_ceil(TILE));
        let medians: Vec<Option<f64>> = (0..down * along)
            .into_par_iter()
            .map(|k| {
                let (r, c) = (k / along * TILE, k % along * TILE);
                let (to_row, to_column) = ((r + TILE).min(rows), (c + TILE).min(columns));
                let mut good: Vec<f64> = Vec::with_capacity(TILE * TILE);
                for row in r..to_row {
                    for column in c..to_column {
                        let value = value[[row, column]];
                        if flags[[row, column]] == 0 && value.is_finite() {
                            good.push(f64::from(value));
                        }
                    }
                }
                if good.len() < FEWEST { None } else { median_f64(&mut good) }
            })
            .collect();
        // a tile without enough good pixels is as the others are
        let whole = median_f64(&mut medians.iter().flatten().copied().collect::<Vec<_>>())?;
        let filled = medians.into_iter().map(|median| median.unwrap_or(whole)).collect();
        Some(Ground { medians: Array2::from_shape_vec((down, along), filled).ok()? })
    }

    fn at(&self, (row, column): (usize, usize)) -> f64 {
        let place = |pixel: usize, tiles: usize| {
            let x = ((pixel as f64 + 0.5) / TILE as f64 - 0.5).clamp(0.0, tiles as f64 - 1.0);
            let first = (x as usize).min(tiles.saturating_sub(2));
            (first, (first + 1).min(tiles - 1), x - first as f64)
        };
        let (tiles_down, tiles_along) = self.medians.dim();
        let (top, below, down) = place(row, tiles_down);
        let (left, right, along) = place(column, tiles_along);
        let between = |row: usize| {
            let (a, b) = (self.medians[[row, left]], self.medians[[row, right]]);
            a + along * (b - a)
        };
        between(top) + down * (between(below) - between(top))
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_distr::{Distribution, Normal};

    use super::*;

    const SHAPE: (usize, usize) = (300, 200);
    const NOISE: f64 = 3.5;

    /// True values and a master of them: a slope, a scatter of the pixels, and a hot pixel in a thousand.
    fn master(scatter: f64) -> (Array2<f64>, Array2<f32>) {
        let mut random = rand_pcg::Pcg64::seed_from_u64(11);
        let normal = Normal::new(0.0, 1.0).unwrap();
        let truth = Array2::from_shape_fn(SHAPE, |(row, column)| {
            let hot = if random.random_range(0..1000) == 0 { random.random_range(10.0..3000.0) } else { 0.0 };
            5.0 + 0.02 * (row as f64 - column as f64) + scatter * normal.sample(&mut random) + hot
        });
        let seen = truth.mapv(|value| (value + NOISE * normal.sample(&mut random)) as f32);
        (truth, seen)
    }

    fn calmed(seen: &Array2<f32>) -> Calm {
        let variance = Array2::from_elem(SHAPE, (NOISE * NOISE) as f32);
        calm(seen.view(), variance.view(), Array2::zeros(SHAPE).view()).unwrap()
    }

    #[test]
    fn the_noise_falls_to_what_the_pixels_scatter_by_and_the_variance_says_so() {
        // without any scatter the little that noise feigns of it makes the variance too large, and no less
        for (scatter, noise, least) in [(1.5, 1.38, 0.8), (0.0, 0.45, 0.05)] {
            let (truth, seen) = master(scatter);
            let calm = calmed(&seen);
            // of 60000 pixels the noise is known to 0.5 %: a tenth of a square electron
            assert!((calm.scatter - scatter).abs() < 0.4, "{}", calm.scatter);
            let misses: Vec<f64> =
                calm.value.iter().zip(&truth).map(|(found, truth)| f64::from(*found) - truth).collect();
            let spread =
                MAD_TO_SIGMA * median_f64(&mut misses.iter().map(|miss| miss.abs()).collect::<Vec<_>>()).unwrap();
            assert!(spread < 1.1 * noise, "{scatter}: {spread}");
            let chi =
                misses.iter().zip(&calm.variance).map(|(m, v)| m * m / f64::from(*v)).sum::<f64>() / truth.len() as f64;
            assert!((least..1.25).contains(&chi), "{scatter}: {chi}");
        }
    }

    #[test]
    fn a_hot_pixel_keeps_its_value() {
        let (_, mut seen) = master(1.5);
        seen[[150, 100]] = 400.0;
        let calm = calmed(&seen);
        assert!((calm.value[[150, 100]] - 400.0).abs() < 1.0, "{}", calm.value[[150, 100]]);
        assert!((f64::from(calm.variance[[150, 100]]) / (NOISE * NOISE) - 1.0).abs() < 0.05);
    }

    #[test]
    fn flagged_pixels_and_exact_masters_stay_as_they_are() {
        let (_, seen) = master(1.5);
        let exact = Array2::zeros(SHAPE);
        let same = calm(seen.view(), exact.view(), Array2::zeros(SHAPE).view());
        // without a noise there is nothing to take down
        assert!(same.is_none_or(|calm| calm.value == seen));
        let variance = Array2::from_elem(SHAPE, (NOISE * NOISE) as f32);
        let mut flags = Array2::zeros(SHAPE);
        flags[[7, 9]] = 4;
        let calm = calm(seen.view(), variance.view(), flags.view()).unwrap();
        assert_eq!((calm.value[[7, 9]], calm.variance[[7, 9]]), (seen[[7, 9]], variance[[7, 9]]));
        assert_ne!(calm.value[[7, 10]], seen[[7, 10]]);
    }
}
