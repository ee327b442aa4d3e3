//! Are the errors of a spectrum those of its noise?

use super::density::OrderDensity;
use crate::numerics::robust::median_f64;

/// Median of the absolute value of a Gaussian of unit width.
const MEDIAN_ABSOLUTE: f64 = 0.674_489_750_196_081_7;

/// Noise that the samples show over the noise that their errors claim, from second differences over two samples (Stoehr et
/// al. 2008, ASP Conf. 394, 505), each in units of its own error: 1 when the errors are right, whatever the spectrum, as
/// long as it is smooth over five samples in most places. `None` when fewer than 50 differences can be formed.
pub fn noise_over_error(orders: &[OrderDensity]) -> Option<f64> {
    let mut sizes = Vec::new();
    for order in orders {
        for k in 2..order.flux.len().saturating_sub(2) {
            if [k - 2, k, k + 2].iter().any(|j| order.flags[*j] != 0) {
                continue;
            }
            let difference = 2.0 * order.flux[k] - order.flux[k - 2] - order.flux[k + 2];
            let variance = 4.0 * order.variance[k] + order.variance[k - 2] + order.variance[k + 2];
            sizes.push(difference.abs() / variance.sqrt());
        }
    }
    if sizes.len() < 50 {
        return None;
    }
    median_f64(&mut sizes).map(|median| median / MEDIAN_ABSOLUTE)
}

/// Median signal to noise of the good samples; `None` without any.
pub fn signal_to_noise(order: &OrderDensity) -> Option<f64> {
    let good = (0..order.flux.len()).filter(|k| order.flags[*k] == 0);
    let mut ratios: Vec<f64> = good.map(|k| order.flux[k] / order.variance[k].sqrt()).collect();
    median_f64(&mut ratios)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_distr::{Distribution, Normal};

    #[test]
    fn right_errors_give_one_and_halved_errors_two() {
        let mut rng = rand_pcg::Pcg64Mcg::seed_from_u64(4);
        let noise = Normal::new(0.0, 3.0).unwrap();
        let n = 4000;
        let order = |claimed: f64, rng: &mut rand_pcg::Pcg64Mcg| OrderDensity {
            flux: (0..n).map(|k| 100.0 + 20.0 * (k as f64 * 0.02).sin() + noise.sample(rng)).collect(),
            variance: vec![claimed * claimed; n],
            flags: vec![0; n],
            ..OrderDensity::default()
        };
        for (claimed, expected) in [(3.0, 1.0), (1.5, 2.0)] {
            let found = noise_over_error(&[order(claimed, &mut rng)]).unwrap();
            assert!((found / expected - 1.0).abs() < 0.05, "{found}");
        }
        let bright = order(3.0, &mut rng);
        assert!((signal_to_noise(&bright).unwrap() / 33.3 - 1.0).abs() < 0.05);
        assert_eq!(noise_over_error(&[]), None);
    }
}
