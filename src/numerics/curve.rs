//! Smooth curves through measured points: Chebyshev polynomials with covariance, fitted robustly.

use super::chebyshev;
use super::least_squares::NormalSums;
use super::robust::{MAD_TO_SIGMA, median_f64};

/// A measured point of a curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Abscissa.
    pub x: f64,
    /// Value.
    pub y: f64,
    /// Its standard error.
    pub sigma: f64,
}

/// A polynomial in Chebyshev form on an interval, with the covariance of its coefficients.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// Ends of the interval that is mapped to -1 and +1. Values outside are extrapolated.
    pub domain: [f64; 2],
    /// Coefficients of T0, T1, ...
    pub coefficients: Vec<f64>,
    /// Covariance, full matrix row by row; empty for a curve without errors.
    pub covariance: Vec<f64>,
}

/// A fitted curve.
#[derive(Clone, Debug, PartialEq)]
pub struct CurveFit {
    /// The curve; its covariance is scaled up when the points scatter by more than their errors.
    pub curve: Curve,
    /// Which points were used.
    pub used: Vec<bool>,
    /// Root mean square residual of the points used.
    pub scatter: f64,
    /// Root of the reduced chi-square of the points used.
    pub chi: f64,
}

impl Curve {
    /// A constant.
    pub fn constant(domain: [f64; 2], value: f64) -> Curve {
        Curve { domain, coefficients: vec![value], covariance: vec![] }
    }

    /// The polynomial of this degree through a function, by interpolation in the Chebyshev nodes.
    pub fn through(domain: [f64; 2], degree: usize, value: impl Fn(f64) -> f64) -> Curve {
        let n = degree + 1;
        let angle = |k: usize| std::f64::consts::PI * (k as f64 + 0.5) / n as f64;
        let [low, high] = domain;
        let values: Vec<f64> =
            (0..n).map(|k| value(0.5 * (low + high) + 0.5 * (high - low) * angle(k).cos())).collect();
        let coefficients = (0..n)
            .map(|j| {
                let sum: f64 = values.iter().enumerate().map(|(k, v)| v * (j as f64 * angle(k)).cos()).sum();
                sum * if j == 0 { 1.0 } else { 2.0 } / n as f64
            })
            .collect();
        Curve { domain, coefficients, covariance: vec![] }
    }

    fn reduced(&self, x: f64) -> f64 {
        let [low, high] = self.domain;
        if high > low { (2.0 * x - low - high) / (high - low) } else { 0.0 }
    }

    /// Value at `x`.
    pub fn at(&self, x: f64) -> f64 {
        let t = self.reduced(x);
        let (mut one, mut two) = (0.0, 0.0);
        for c in self.coefficients.iter().skip(1).rev() {
            (one, two) = (c + 2.0 * t * one - two, one);
        }
        self.coefficients.first().copied().unwrap_or(0.0) + t * one - two
    }

    /// Slope at `x`.
    pub fn slope(&self, x: f64) -> f64 {
        // T'_k = k U_{k-1}, U by its own recurrence
        let t = self.reduced(x);
        let (mut before, mut u, mut sum) = (0.0, 1.0, 0.0);
        for (k, c) in self.coefficients.iter().enumerate().skip(1) {
            sum += c * k as f64 * u;
            (before, u) = (u, 2.0 * t * u - before);
        }
        let [low, high] = self.domain;
        if high > low { sum * 2.0 / (high - low) } else { 0.0 }
    }

    /// Standard error of the value at `x`; 0 for a curve without errors.
    pub fn sigma(&self, x: f64) -> f64 {
        let n = self.coefficients.len();
        if self.covariance.len() != n * n {
            return 0.0;
        }
        let row = terms(self.reduced(x), n);
        let variance: f64 =
            (0..n).map(|i| row[i] * (0..n).map(|j| self.covariance[i * n + j] * row[j]).sum::<f64>()).sum();
        variance.max(0.0).sqrt()
    }
}

/// The first `n` Chebyshev polynomials at `t`.
pub fn terms(t: f64, n: usize) -> Vec<f64> {
    let mut row = vec![0.0; n];
    chebyshev::values(t, &mut row);
    row
}

/// Rounds of reweighting; the fit is repeated after the last change.
const ROUNDS: usize = 12;

/// Fit a curve of this degree. Points further than `cut` sigmas are rejected, where sigma holds the point's error, the
/// systematic `floor` that all points have, and the scatter that the points show where that is larger. The fit is
/// repeated after the last rejection.
///
/// The start is a fit with weights that fall off with the residual in units of the median residual, so that a fifth of
/// wild points does no harm. `None` when fewer points remain than the curve has coefficients plus two.
///
/// `prior` holds, for as many leading coefficients as it has entries, the width of a Gaussian about 0 within which the
/// coefficient is expected. Where points cover the interval a wide prior changes nothing; where they do not, it keeps the
/// curve sane and its error finite. Empty for none.
pub fn fit(points: &[Point], domain: [f64; 2], degree: usize, prior: &[f64], floor: f64, cut: f64) -> Option<CurveFit> {
    let n = degree + 1;
    let valid: Vec<bool> =
        points.iter().map(|p| p.x.is_finite() && p.y.is_finite() && p.sigma.is_finite() && p.sigma >= 0.0).collect();
    let empty = Curve { domain, coefficients: vec![], covariance: vec![] };
    let rows: Vec<Vec<f64>> = points.iter().map(|p| terms(empty.reduced(p.x), n)).collect();
    let variance = |p: &Point| (p.sigma * p.sigma + floor * floor).max(1e-300);
    let solve = |weights: &[f64]| {
        let mut sums = NormalSums::new(n);
        let mut scaled = vec![0.0; n];
        for ((row, point), weight) in rows.iter().zip(points).zip(weights) {
            if *weight > 0.0 {
                let root = weight.sqrt();
                scaled.iter_mut().zip(row).for_each(|(scaled, term)| *scaled = term * root);
                sums.add(&scaled, point.y * root);
            }
        }
        for (k, width) in prior.iter().enumerate().take(n) {
            scaled.fill(0.0);
            scaled[k] = 1.0 / width;
            sums.add(&scaled, 0.0);
        }
        sums.solve()
    };
    let value = |parameters: &[f64], row: &[f64]| parameters.iter().zip(row).map(|(a, b)| a * b).sum::<f64>();

    let base: Vec<f64> = points.iter().zip(&valid).map(|(p, ok)| if *ok { 1.0 / variance(p) } else { 0.0 }).collect();
    let mut weights = base.clone();
    let mut used = valid.clone();
    for round in 0..2 * ROUNDS {
        let parameters = solve(&weights)?.coefficients;
        let normalised: Vec<f64> =
            points.iter().zip(&rows).map(|(p, row)| (p.y - value(&parameters, row)) / variance(p).sqrt()).collect();
        let mut sizes: Vec<f64> = normalised.iter().zip(&valid).filter(|(_, ok)| **ok).map(|(d, _)| d.abs()).collect();
        let scale = (MAD_TO_SIGMA * median_f64(&mut sizes)?).max(1.0);
        if round < ROUNDS {
            // Cauchy weights: outliers lose their pull step by step
            for ((weight, base), d) in weights.iter_mut().zip(&base).zip(&normalised) {
                *weight = base / (1.0 + (d / (2.0 * scale)).powi(2));
            }
            continue;
        }
        let next: Vec<bool> = normalised.iter().zip(&valid).map(|(d, ok)| *ok && d.abs() <= cut * scale).collect();
        let settled = round > ROUNDS && next == used;
        used = next;
        for ((weight, base), ok) in weights.iter_mut().zip(&base).zip(&used) {
            *weight = if *ok { *base } else { 0.0 };
        }
        if settled {
            break;
        }
    }
    let count = used.iter().filter(|ok| **ok).count();
    if count < n + 2 {
        return None;
    }
    let solution = solve(&weights)?;
    let (mut squares, mut chi) = (0.0, 0.0);
    for ((point, row), _) in points.iter().zip(&rows).zip(&used).filter(|(_, ok)| **ok) {
        let residual = point.y - value(&solution.coefficients, row);
        squares += residual * residual;
        chi += residual * residual / variance(point);
    }
    let chi = (chi / (count - n) as f64).sqrt();
    let mut covariance = solution.factor.inverse();
    if chi > 1.0 {
        covariance.iter_mut().for_each(|c| *c *= chi * chi);
    }
    let curve = Curve { domain, coefficients: solution.coefficients, covariance };
    Some(CurveFit { curve, used, scatter: (squares / count as f64).sqrt(), chi })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_distr::{Distribution, Normal as Gauss};

    const DOMAIN: [f64; 2] = [0.0, 4095.0];

    fn truth(x: f64) -> f64 {
        let t = (x - 2000.0) / 2000.0;
        170.0 + 8.0 * t - 5.0 * t * t + 3.0 * t.powi(4)
    }

    fn slope(x: f64) -> f64 {
        let t = (x - 2000.0) / 2000.0;
        (8.0 - 10.0 * t + 12.0 * t.powi(3)) / 2000.0
    }

    #[test]
    fn a_polynomial_is_reproduced_with_its_slope() {
        let points: Vec<Point> =
            (0..200).map(|i| f64::from(i) * 20.0).map(|x| Point { x, y: truth(x), sigma: 0.01 }).collect();
        let found = fit(&points, DOMAIN, 5, &[], 0.0, 5.0).unwrap();
        let through = Curve::through(DOMAIN, 5, truth);
        for x in [0.0, 17.3, 2048.0, 4095.0] {
            assert!((found.curve.at(x) - truth(x)).abs() < 1e-9 && (through.at(x) - truth(x)).abs() < 1e-9);
            assert!((found.curve.slope(x) - slope(x)).abs() < 1e-11, "{x}");
        }
    }

    #[test]
    fn outliers_are_rejected_and_errors_are_true() {
        let gauss = Gauss::new(0.0, 0.05).unwrap();
        let mut pulls = Vec::new();
        for seed in 0..60 {
            let mut random = rand_pcg::Pcg64::seed_from_u64(seed);
            let mut points: Vec<Point> = (0..128)
                .map(|i| f64::from(i) * 32.0)
                .map(|x| Point { x, y: truth(x) + gauss.sample(&mut random), sigma: 0.05 })
                .collect();
            for point in points.iter_mut().skip(3).step_by(6) {
                point.y += 1.5;
            }
            let found = fit(&points, DOMAIN, 4, &[], 0.0, 5.0).unwrap();
            assert!(points.iter().zip(&found.used).all(|(p, used)| *used == ((p.y - truth(p.x)).abs() < 0.5)));
            pulls.extend([100.0, 1900.0, 4000.0].map(|x| (found.curve.at(x) - truth(x)) / found.curve.sigma(x)));
        }
        let width = (pulls.iter().map(|p| p * p).sum::<f64>() / pulls.len() as f64).sqrt();
        assert!((0.85..1.15).contains(&width), "{width}");
    }

    #[test]
    fn a_prior_holds_where_there_are_no_points() {
        let points: Vec<Point> =
            (0..40).map(|i| f64::from(i) * 30.0).map(|x| Point { x, y: 0.3, sigma: 0.02 }).collect();
        let found = fit(&points, DOMAIN, 7, &[10.0, 3.0, 1.0, 0.5, 0.3, 0.2, 0.1, 0.1], 0.0, 5.0).unwrap();
        assert!((found.curve.at(500.0) - 0.3).abs() < 0.01);
        assert!((found.curve.at(4095.0) - 0.3).abs() < 3.0 && found.curve.sigma(4095.0) > 0.3);
        assert!(fit(&points, DOMAIN, 7, &[], 0.0, 5.0).unwrap().curve.sigma(4095.0) > 30.0);
    }

    #[test]
    fn too_few_points_have_no_curve() {
        let point = |x: f64| Point { x, y: 1.0, sigma: 0.1 };
        assert!(fit(&[point(0.0), point(1.0), point(2.0)], [0.0, 2.0], 2, &[], 0.0, 5.0).is_none());
        let mut nan = vec![point(0.0); 9];
        nan.iter_mut().for_each(|p| p.y = f64::NAN);
        assert!(fit(&nan, [0.0, 2.0], 2, &[], 0.0, 5.0).is_none());
    }
}
