//! Cubic B-splines on any knots.

use crate::numerics::banded::Banded;

/// Degree of all splines here.
const DEGREE: usize = 3;

/// The B-splines over a set of intervals.
#[derive(Clone, Debug, PartialEq)]
pub struct Basis {
    knots: Vec<f64>,
    intervals: usize,
}

impl Basis {
    /// On the intervals between rising `breaks`; the outermost knots are repeated. `None` for fewer than two breaks, or
    /// breaks that do not rise.
    pub fn new(breaks: &[f64]) -> Option<Basis> {
        let (first, last) = (*breaks.first()?, *breaks.last()?);
        if breaks.len() < 2 || !breaks.windows(2).all(|pair| pair[0] < pair[1]) {
            return None;
        }
        let mut knots = vec![first; DEGREE];
        knots.extend_from_slice(breaks);
        knots.extend([last; DEGREE]);
        Some(Basis { knots, intervals: breaks.len() - 1 })
    }

    /// Number of splines.
    pub fn len(&self) -> usize {
        self.intervals + DEGREE
    }

    /// Never true: there is at least one interval.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Index of the first of the four splines that are not zero at `x`, and their values. Outside the interval the ends
    /// hold.
    pub fn at(&self, x: f64) -> (usize, [f64; DEGREE + 1]) {
        let breaks = &self.knots[DEGREE..=DEGREE + self.intervals];
        let interval = breaks.partition_point(|knot| *knot <= x).saturating_sub(1).min(self.intervals - 1);
        let x = x.clamp(breaks[0], breaks[self.intervals]);
        // de Boor's recurrence; `i` is the knot at the left of the interval
        let i = interval + DEGREE;
        let mut values = [0.0; DEGREE + 1];
        values[0] = 1.0;
        for k in 1..=DEGREE {
            let mut carried = 0.0;
            for (j, value) in values.iter_mut().enumerate().take(k) {
                let (right, left) = (self.knots[i + j + 1], self.knots[i + j + 1 - k]);
                let share = *value / (right - left);
                *value = carried + (right - x) * share;
                carried = (x - left) * share;
            }
            values[k] = carried;
        }
        (interval, values)
    }
}

/// A spline.
#[derive(Clone, Debug, PartialEq)]
pub struct Spline {
    basis: Basis,
    coefficients: Vec<f64>,
}

impl Spline {
    /// Weighted least squares through (x, y, weight). Where an interval has too few points a faint pull towards equal
    /// neighbours decides.
    pub fn fit(basis: Basis, points: &[(f64, f64, f64)]) -> Option<Spline> {
        let n = basis.len();
        let mut normal = Banded::new(n, DEGREE);
        let total: f64 = points.iter().map(|point| point.2).sum();
        for (x, y, weight) in points {
            let (first, values) = basis.at(*x);
            let factors: [(usize, f64); DEGREE + 1] = std::array::from_fn(|k| (first + k, values[k]));
            normal.add(&factors, *y, *weight);
        }
        let faint = 1e-8 * total / n as f64;
        for k in 1..n {
            normal.add(&[(k - 1, -1.0), (k, 1.0)], 0.0, faint);
        }
        let coefficients = normal.parameters()?;
        coefficients.iter().all(|c| c.is_finite()).then_some(Spline { basis, coefficients })
    }

    /// What it is made of.
    pub fn basis(&self) -> &Basis {
        &self.basis
    }

    /// Value at `x`.
    pub fn at(&self, x: f64) -> f64 {
        let (first, values) = self.basis.at(x);
        values.iter().zip(&self.coefficients[first..]).map(|(v, c)| v * c).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splines_add_up_to_one_and_repeat_cubics() {
        let basis = Basis::new(&[0.0, 3.0, 5.0, 11.0, 20.0]).unwrap();
        assert_eq!(basis.len(), 7);
        for x in [0.0, 0.5, 3.0, 10.9, 20.0] {
            let (first, values) = basis.at(x);
            assert!((values.iter().sum::<f64>() - 1.0).abs() < 1e-13 && first + 3 < 7);
            assert!(values.iter().all(|value| *value >= -1e-15));
        }
        let cubic = |x: f64| 2.0 - x + 0.3 * x * x - 0.01 * x.powi(3);
        let points: Vec<(f64, f64, f64)> = (0..=40).map(|k| f64::from(k) * 0.5).map(|x| (x, cubic(x), 1.0)).collect();
        let spline = Spline::fit(basis, &points).unwrap();
        for x in [0.0, 1.23, 9.9, 19.99] {
            assert!((spline.at(x) - cubic(x)).abs() < 1e-4, "{x}");
        }
        assert_eq!(spline.at(-5.0), spline.at(0.0));
    }

    #[test]
    fn breaks_that_do_not_rise_are_refused() {
        assert!(Basis::new(&[1.0]).is_none() && Basis::new(&[0.0, 2.0, 2.0]).is_none());
    }
}
