//! Fits of profiles across an order: a peak (pinhole) and a step (edge of the slit), integrated over pixels.
//!
//! A profile is fitted to a *patch*: a few rows across which the order moves by a known slope, so that signal is summed
//! without smearing the profile. Light that falls or rises along the patch has its own parameter.

use crate::numerics::least_squares::NormalSums;
use crate::numerics::robust::median_f64;

/// A pixel of a patch.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Column minus the order's place in that row, pixels of the image.
    pub offset: f64,
    /// Position of the row within the patch, -1 to +1.
    pub along: f64,
    /// Signal.
    pub value: f64,
}

/// Noise of a pixel and how far it may be from the model.
#[derive(Clone, Copy, Debug)]
pub struct PatchNoise {
    /// Variance without signal.
    pub floor: f64,
    /// Variance per unit of signal.
    pub shot: f64,
    /// A pixel further than this from the model is left out, sigmas.
    pub cut: f64,
    /// Deviation of pixels from the model in units of the model that is no noise: pixel response, shape of the profile.
    pub tolerance: f64,
}

/// A peak.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Peak {
    /// Position, same origin as the offsets.
    pub centre: f64,
    /// Its standard error.
    pub centre_error: f64,
    /// Gaussian sigma without the pixel's own width.
    pub sigma: f64,
    /// Sum of the light over a row.
    pub flux: f64,
    /// Its standard error.
    pub flux_error: f64,
    /// Pixels left out.
    pub rejected: usize,
}

/// The two edges of a slit's image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slit {
    /// Positions of the lower and the upper edge, same origin as the offsets.
    pub edges: [f64; 2],
    /// Their standard errors.
    pub errors: [f64; 2],
    /// Gaussian sigma of the edges without the pixel's own width.
    pub sigma: f64,
    /// Light per pixel in the middle.
    pub level: f64,
    /// Its standard error.
    pub level_error: f64,
    /// Pixels left out.
    pub rejected: usize,
}

/// Most steps of one fit.
const STEPS: usize = 25;
/// Most fits of one patch, each after pixels were left out.
const ROUNDS: usize = 4;

/// Standard normal density.
fn density(z: f64) -> f64 {
    0.398_942_280_401_432_7 * (-0.5 * z * z).exp()
}

/// Standard normal distribution.
fn distribution(z: f64) -> f64 {
    0.5 * libm::erfc(-z * std::f64::consts::FRAC_1_SQRT_2)
}

/// A Gaussian step from 0 to 1 at 0, integrated over the pixel at `x`: value and derivatives by `x` and by `sigma`.
pub fn step(x: f64, sigma: f64) -> [f64; 3] {
    let (high, low) = ((x + 0.5) / sigma, (x - 0.5) / sigma);
    if low > 8.0 {
        return [1.0, 0.0, 0.0];
    }
    if high < -8.0 {
        return [0.0; 3];
    }
    let (ph, pl) = (distribution(high), distribution(low));
    let (dh, dl) = (density(high), density(low));
    // the integral of the distribution is z P(z) + p(z)
    [sigma * (high * ph + dh - low * pl - dl), ph - pl, dh - dl]
}

/// A Gaussian of unit sum integrated over the pixel at `x`: value and derivatives by `x` and by `sigma`.
fn bell(x: f64, sigma: f64) -> [f64; 3] {
    let (high, low) = ((x + 0.5) / sigma, (x - 0.5) / sigma);
    if low > 9.0 || high < -9.0 {
        return [0.0; 3];
    }
    let (dh, dl) = (density(high), density(low));
    [distribution(high) - distribution(low), (dh - dl) / sigma, (low * dl - high * dh) / sigma]
}

/// What a fit has found: parameters and their covariance.
struct Fitted<const N: usize> {
    parameters: [f64; N],
    variances: [f64; N],
    rejected: usize,
}

/// Levenberg-Marquardt with known noise. Pixels that contradict the model are left out, and the fit is repeated after the
/// last change. `model` gives value and derivatives; `allowed` keeps parameters in their range.
fn levenberg<const N: usize>(
    samples: &[Sample],
    start: [f64; N],
    noise: PatchNoise,
    model: impl Fn(&[f64; N], &Sample) -> (f64, [f64; N]),
    allowed: impl Fn(&[f64; N]) -> bool,
) -> Option<Fitted<N>> {
    let mut used = vec![true; samples.len()];
    let mut parameters = start;
    let weight = |value: f64| {
        let own = noise.tolerance * value;
        1.0 / (noise.floor + noise.shot * value.max(0.0) + own * own).max(1e-12)
    };
    let mut last = NormalSums::new(N);
    for _ in 0..ROUNDS {
        let mut damping = 1e-3;
        // weights follow the model of the round's start, so that every step lowers one and the same sum
        let roots: Vec<f64> = samples.iter().map(|s| weight(model(&parameters, s).0).sqrt()).collect();
        let chi = |p: &[f64; N]| -> f64 {
            let pixels = samples.iter().zip(&roots).zip(&used).filter(|(_, ok)| **ok);
            pixels.map(|((s, root), _)| (root * (s.value - model(p, s).0)).powi(2)).sum()
        };
        let mut before = chi(&parameters);
        for _ in 0..STEPS {
            let mut sums = NormalSums::new(N);
            for ((sample, root), _) in samples.iter().zip(&roots).zip(&used).filter(|(_, ok)| **ok) {
                let (value, gradient) = model(&parameters, sample);
                sums.add(&gradient.map(|g| g * root), (sample.value - value) * root);
            }
            let (mut improved, mut gain) = (false, 0.0);
            while damping < 1e6 {
                let mut damped = sums.clone();
                damped.damp(1.0 + damping);
                let change = damped.solve()?.coefficients;
                let next: [f64; N] = std::array::from_fn(|i| parameters[i] + change[i]);
                let after = if allowed(&next) { chi(&next) } else { f64::INFINITY };
                if after <= before {
                    (gain, improved) = (before - after, true);
                    (parameters, before) = (next, after);
                    damping *= 0.1;
                    break;
                }
                damping *= 10.0;
            }
            last = sums;
            if !improved || gain < 1e-3 * (1.0 + 1e-4 * before) {
                break;
            }
        }
        let next: Vec<bool> = samples
            .iter()
            .map(|s| {
                let value = model(&parameters, s).0;
                (s.value - value).abs() <= noise.cut / weight(value).sqrt()
            })
            .collect();
        let settled = next == used;
        used = next;
        if used.iter().filter(|ok| **ok).count() < N + 2 {
            return None;
        }
        if settled {
            break;
        }
    }
    let covariance = last.solve()?.factor.inverse();
    let variances = std::array::from_fn(|i| covariance[i * N + i]);
    Some(Fitted { parameters, variances, rejected: used.iter().filter(|ok| !**ok).count() })
}

/// The samples without those that have nothing to do with the others at their distance from the order: hot pixels and
/// cosmic rays, which could pass for a peak where the order is faint. What the peak's own shape and its movement between
/// pixels can do stays.
fn without_strangers(samples: &[Sample], noise: PatchNoise) -> Vec<Sample> {
    let mut columns: std::collections::BTreeMap<i64, Vec<f64>> = std::collections::BTreeMap::new();
    for sample in samples {
        columns.entry(sample.offset.round() as i64).or_default().push(sample.value);
    }
    let medians: std::collections::BTreeMap<i64, f64> =
        columns.into_iter().filter_map(|(at, mut values)| Some((at, median_f64(&mut values)?))).collect();
    let mut levels: Vec<f64> = medians.values().copied().collect();
    let background = median_f64(&mut levels).unwrap_or(0.0);
    let height = levels.iter().copied().fold(background, f64::max) - background;
    let near = |sample: &&Sample| {
        let median = medians.get(&(sample.offset.round() as i64)).copied().unwrap_or(background);
        let sigma = (noise.floor + noise.shot * median.max(0.0)).sqrt();
        (sample.value - median).abs() <= noise.cut * sigma + height
    };
    samples.iter().filter(near).copied().collect()
}

/// Fit a peak on a sloping background. `start` is the expected centre; a centre further than `reach` from it, and a width
/// outside 0.2 to 4 pixels, are no fit.
pub fn fit_peak(samples: &[Sample], start: f64, reach: f64, noise: PatchNoise) -> Option<Peak> {
    let total = samples.len();
    let samples = without_strangers(samples, noise);
    if samples.len() < 12 {
        return None;
    }
    let mut sorted: Vec<f64> = samples.iter().map(|s| s.value).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let background = sorted[sorted.len() / 4];
    // light above the background near the expected place, per row
    let near = samples.iter().filter(|s| (s.offset - start).abs() <= 1.5);
    let (sum, count) = near.fold((0.0, 0usize), |(sum, n), s| (sum + s.value - background, n + 1));
    let flux = (3.0 * sum / count.max(1) as f64).max(3.0 * noise.floor.sqrt());
    // centre, sigma, flux, change of flux along the patch, background, its slope
    let first = [start, 0.9, flux, 0.0, background, 0.0];
    let found = levenberg(
        &samples,
        first,
        noise,
        |p, s| {
            let [value, by_x, by_sigma] = bell(s.offset - p[0], p[1]);
            let amplitude = p[2] + p[3] * s.along;
            (
                amplitude * value + p[4] + p[5] * s.offset,
                [-amplitude * by_x, amplitude * by_sigma, value, value * s.along, 1.0, s.offset],
            )
        },
        |p| (p[0] - start).abs() <= reach && (0.2..4.0).contains(&p[1]) && p[2].is_finite(),
    )?;
    let ([centre, sigma, flux, ..], [vc, _, vf, ..]) = (found.parameters, found.variances);
    Some(Peak {
        centre,
        centre_error: vc.sqrt(),
        sigma,
        flux,
        flux_error: vf.sqrt(),
        rejected: found.rejected + total - samples.len(),
    })
}

/// Fit both edges of a slit: a level with slope and curvature between two steps of one width, on a sloping background.
pub fn fit_slit(samples: &[Sample], start: [f64; 2], reach: f64, noise: PatchNoise) -> Option<Slit> {
    let [low, high] = start;
    if samples.len() < 24 || high - low < 4.0 {
        return None;
    }
    let (middle, half) = (0.5 * (low + high), 0.5 * (high - low));
    let median_of = |keep: &dyn Fn(&Sample) -> bool| {
        let mut values: Vec<f64> = samples.iter().filter(|s| keep(s)).map(|s| s.value).collect();
        median_f64(&mut values)
    };
    let level = median_of(&|s| (s.offset - middle).abs() < 0.7 * half)?;
    let background = median_of(&|s| s.offset < low - 2.0 || s.offset > high + 2.0).unwrap_or(0.0);
    // edges, sigma, level, slope, curvature, change along the patch, background, its slope
    let first = [low, high, 0.7, level - background, 0.0, 0.0, 0.0, background, 0.0];
    let found = levenberg(
        samples,
        first,
        noise,
        |p, s| {
            let rising = step(s.offset - p[0], p[2]);
            let falling = step(s.offset - p[1], p[2]);
            let u = ((s.offset - middle) / half).clamp(-1.2, 1.2);
            let plateau = p[3] + p[4] * u + p[5] * u * u + p[6] * s.along;
            let inside = rising[0] - falling[0];
            let v = s.offset / half;
            (
                plateau * inside + p[7] + p[8] * v,
                [
                    -plateau * rising[1],
                    plateau * falling[1],
                    plateau * (rising[2] - falling[2]),
                    inside,
                    inside * u,
                    inside * u * u,
                    inside * s.along,
                    1.0,
                    v,
                ],
            )
        },
        |p| {
            (p[0] - low).abs() <= reach
                && (p[1] - high).abs() <= reach
                && (0.1..4.0).contains(&p[2])
                && p[3].is_finite()
        },
    )?;
    let (p, v) = (found.parameters, found.variances);
    Some(Slit {
        edges: [p[0], p[1]],
        errors: [v[0].sqrt(), v[1].sqrt()],
        sigma: p[2],
        level: p[3],
        level_error: v[3].sqrt(),
        rejected: found.rejected,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOISE: PatchNoise = PatchNoise { floor: 16.0, shot: 1.0, cut: 6.0, tolerance: 0.02 };

    fn samples(shape: impl Fn(f64, f64) -> f64, reach: i32) -> Vec<Sample> {
        let mut out = Vec::new();
        for row in 0..16 {
            let along = f64::from(row) / 7.5 - 1.0;
            // the order moves by 0.23 pixels a row, so pixels fall on all phases
            let phase = (0.23 * f64::from(row)).fract();
            for column in -reach..=reach {
                let offset = f64::from(column) + phase;
                out.push(Sample { offset, along, value: shape(offset, along) });
            }
        }
        out
    }

    #[test]
    fn derivatives_are_those_of_the_values() {
        for shape in [step, bell] {
            for (x, sigma) in [(0.2, 0.5), (-1.1, 0.9), (2.0, 1.7)] {
                let h = 1e-5;
                let [_, by_x, by_sigma] = shape(x, sigma);
                assert!((by_x - (shape(x + h, sigma)[0] - shape(x - h, sigma)[0]) / (2.0 * h)).abs() < 1e-8);
                assert!((by_sigma - (shape(x, sigma + h)[0] - shape(x, sigma - h)[0]) / (2.0 * h)).abs() < 1e-8);
            }
        }
        assert!((step(20.0, 1.0)[0] - 1.0).abs() < 1e-12 && step(-20.0, 1.0)[0] == 0.0);
        let sum: f64 = (-20..=20).map(|i| bell(f64::from(i) + 0.3, 0.8)[0]).sum();
        assert!((sum - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_peak_is_found_to_a_hundredth_of_a_pixel_beside_a_cosmic_ray() {
        let truth = |o: f64, t: f64| 20_000.0 * (1.0 + 0.3 * t) * bell(o - 0.37, 0.8)[0] + 50.0 + 3.0 * o;
        let mut data = samples(truth, 8);
        data[200].value += 4000.0;
        let peak = fit_peak(&data, 0.0, 3.0, NOISE).unwrap();
        assert!((peak.centre - 0.37).abs() < 0.002, "{peak:?}");
        assert!((peak.sigma - 0.8).abs() < 0.01 && (peak.flux / 20_000.0 - 1.0).abs() < 0.01, "{peak:?}");
        assert!(peak.rejected >= 1 && peak.centre_error < 0.02);
        assert!(fit_peak(&data, 7.0, 0.5, NOISE).is_none_or(|p| p.flux < 5.0 * p.flux_error || p.flux < 5000.0));
    }

    #[test]
    fn hot_pixels_are_no_peaks() {
        let noise = |o: f64, t: f64| 4.0 * ((o * 12.9898 + t * 78.233).sin() * 43758.5453).fract();
        let mut data = samples(noise, 8);
        data[100].value += 9000.0;
        data[230].value += 3000.0;
        let peak = fit_peak(&data, 0.0, 2.5, NOISE);
        assert!(peak.is_none_or(|peak| peak.flux < 5.0 * peak.flux_error || peak.flux < 100.0), "{peak:?}");
        // beside a faint trace they do not move it
        let mut data = samples(|o, t| 120.0 * bell(o - 0.2, 0.8)[0] + noise(o, t), 8);
        data[101].value += 9000.0;
        let peak = fit_peak(&data, 0.0, 2.5, NOISE).unwrap();
        assert!((peak.centre - 0.2).abs() < 4.0 * peak.centre_error && peak.centre_error < 0.3, "{peak:?}");
    }

    #[test]
    fn edges_are_found_independently_under_a_tilted_lamp() {
        let truth = |o: f64, t: f64| {
            (9000.0 + 15.0 * o + 400.0 * t) * (step(o + 21.3, 0.6)[0] - step(o - 19.8, 0.6)[0]) + 60.0 - 0.5 * o
        };
        let mut data = samples(truth, 28);
        data[100].value = 0.0;
        let slit = fit_slit(&data, [-20.0, 21.0], 4.0, NOISE).unwrap();
        assert!((slit.edges[0] + 21.3).abs() < 0.003 && (slit.edges[1] - 19.8).abs() < 0.003, "{slit:?}");
        assert!((slit.sigma - 0.6).abs() < 0.02, "{slit:?}");
    }
}
