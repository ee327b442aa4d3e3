//! Do two spectra agree where both see the light?

use crate::numerics::robust::{MAD_TO_SIGMA, median_f64};

/// Samples of two spectra further apart than this many sigmas do not measure their ratio.
const CLIP: f64 = 4.0;
/// Fewest samples that measure a ratio.
const FEWEST: usize = 8;
/// Signal to noise of each spectrum, all samples together, below which there is no ratio.
const LEAST_SIGNAL: f64 = 5.0;

/// Two measurements of one sample with their variances.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// Values.
    pub values: [f64; 2],
    /// Variances.
    pub variances: [f64; 2],
}

/// How the second of two spectra compares to the first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    /// Second over first.
    pub ratio: f64,
    /// Its standard error, from the scatter found where that is larger than the errors say.
    pub error: f64,
    /// Robust scatter of the differences over their errors, after the ratio.
    pub scatter: f64,
    /// Samples used.
    pub samples: usize,
}

/// The factor between two spectra by least squares with errors in both: minimises the sum of
/// `(second - r first)^2 / (v2 + r^2 v1)`, without samples that are off by more than four sigmas. `inflation` is the error of
/// a sum of neighbours over that of independent ones. `None` when too little light is common to both.
pub fn agreement(pairs: &[Pair], inflation: f64) -> Option<Agreement> {
    let mut used: Vec<Pair> = pairs
        .iter()
        .copied()
        .filter(|pair| pair.values.iter().all(|v| v.is_finite()) && pair.variances.iter().all(|v| *v > 0.0))
        .collect();
    let mut ratio = start(&used)?;
    for _ in 0..10 {
        ratio = settle(&used, ratio)?;
        let before = used.len();
        let scatter = scatter(&used, ratio)?.max(1.0);
        used.retain(|pair| deviation(pair, ratio).abs() <= CLIP * scatter);
        if used.len() == before {
            break;
        }
    }
    if used.len() < FEWEST {
        return None;
    }
    let scatter = scatter(&used, ratio)?;
    let information: f64 = used.iter().map(|pair| clean(pair, ratio).powi(2) / variance(pair, ratio)).sum();
    let error = inflation.max(1.0) * scatter.max(1.0) / information.sqrt();
    (error.is_finite() && ratio > 0.0).then_some(Agreement { ratio, error, scatter, samples: used.len() })
}

fn variance(pair: &Pair, ratio: f64) -> f64 {
    pair.variances[1] + ratio * ratio * pair.variances[0]
}

fn deviation(pair: &Pair, ratio: f64) -> f64 {
    (pair.values[1] - ratio * pair.values[0]) / variance(pair, ratio).sqrt()
}

/// The best value of the first spectrum, from both.
fn clean(pair: &Pair, ratio: f64) -> f64 {
    let [a, b] = pair.variances;
    (pair.values[0] * b + ratio * pair.values[1] * a) / variance(pair, ratio)
}

/// Ratio of the weighted sums, where both are significant.
fn start(pairs: &[Pair]) -> Option<f64> {
    let mut sums = [0.0; 2];
    let mut variances = [0.0; 2];
    for pair in pairs {
        let weight = 1.0 / (pair.variances[0] + pair.variances[1]);
        for k in 0..2 {
            sums[k] += weight * pair.values[k];
            variances[k] += weight * weight * pair.variances[k];
        }
    }
    let significant = (0..2).all(|k| sums[k] > LEAST_SIGNAL * variances[k].sqrt());
    (pairs.len() >= FEWEST && significant).then(|| sums[1] / sums[0])
}

fn settle(pairs: &[Pair], mut ratio: f64) -> Option<f64> {
    for _ in 0..50 {
        let (mut up, mut down) = (0.0, 0.0);
        for pair in pairs {
            let weight = clean(pair, ratio) / variance(pair, ratio);
            up += weight * pair.values[1];
            down += weight * pair.values[0];
        }
        let next = up / down;
        if !(next.is_finite() && next > 0.0) {
            return None;
        }
        let step = (next - ratio).abs();
        ratio = next;
        if step < 1e-9 * ratio {
            break;
        }
    }
    Some(ratio)
}

fn scatter(pairs: &[Pair], ratio: f64) -> Option<f64> {
    let mut deviations: Vec<f64> = pairs.iter().map(|pair| deviation(pair, ratio).abs()).collect();
    median_f64(&mut deviations).map(|median| MAD_TO_SIGMA * median)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_distr::{Distribution, Normal};

    fn pairs(n: usize, ratio: f64, signal: f64, seed: u64) -> Vec<Pair> {
        let mut rng = rand_pcg::Pcg64Mcg::seed_from_u64(seed);
        let sigma = [1.0, 1.7];
        (0..n)
            .map(|k| {
                let light = signal * (1.0 + 0.3 * (k as f64 * 0.1).sin());
                let noise = sigma.map(|s| Normal::new(0.0, s).unwrap().sample(&mut rng));
                Pair { values: [light + noise[0], ratio * light + noise[1]], variances: sigma.map(|s| s * s) }
            })
            .collect()
    }

    #[test]
    fn the_ratio_is_unbiased_and_its_error_true_even_for_faint_light() {
        for (signal, seed) in [(30.0, 1), (1.5, 2)] {
            let (mut sum, mut squares, mut deviations) = (0.0, 0.0, 0.0);
            for trial in 0..60 {
                let found = agreement(&pairs(400, 1.12, signal, seed * 1000 + trial), 1.0).unwrap();
                sum += found.ratio;
                squares += ((found.ratio - 1.12) / found.error).powi(2);
                deviations += found.scatter;
            }
            let error = 2.0 / (signal * (400.0f64 * 60.0).sqrt());
            assert!((sum / 60.0 - 1.12).abs() < 4.0 * error, "{signal}: {}", sum / 60.0);
            assert!(((squares / 60.0f64).sqrt() - 1.0).abs() < 0.25, "{signal}: {squares}");
            assert!((deviations / 60.0 - 1.0f64).abs() < 0.05);
        }
    }

    #[test]
    fn a_hit_does_not_count_and_darkness_has_no_ratio() {
        let mut lit = pairs(200, 0.9, 20.0, 5);
        lit[30].values[1] = 5000.0;
        let found = agreement(&lit, 1.0).unwrap();
        assert!((found.ratio - 0.9).abs() < 4.0 * found.error && found.samples >= 195, "{found:?}");
        assert_eq!(agreement(&pairs(200, 1.0, 0.0, 6), 1.0), None);
        assert_eq!(agreement(&lit[..5], 1.0), None);
    }
}
