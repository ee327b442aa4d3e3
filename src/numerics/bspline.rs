//! Cubic splines on uneven knots, with derivatives and errors.

use super::banded::{Banded, BandedFit};

/// Degree.
const DEGREE: usize = 3;

/// The cubic B-splines over rising breaks. Beyond the outermost breaks the ends hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Cubics {
    /// Breaks with the outermost repeated.
    knots: Vec<f64>,
    /// For every interval the coefficients of its four splines as cubics of the distance from its left end.
    pieces: Vec<[[f64; 4]; 4]>,
    /// First interval of every whole number from `origin` on, so that an interval is found without a search.
    index: Vec<u32>,
    origin: f64,
}

impl Cubics {
    /// `None` for fewer than two breaks, or breaks that do not rise.
    pub fn new(breaks: &[f64]) -> Option<Cubics> {
        let (first, last) = (*breaks.first()?, *breaks.last()?);
        let rising = breaks.windows(2).all(|pair| pair[0] < pair[1]);
        if breaks.len() < 2 || !rising || !(last - first).is_finite() || last - first > 1e7 {
            return None;
        }
        let mut knots = vec![first; DEGREE];
        knots.extend_from_slice(breaks);
        knots.extend([last; DEGREE]);
        let pieces = (0..breaks.len() - 1).map(|interval| piece(&knots, interval + DEGREE)).collect();
        let origin = first.floor();
        let mut index = Vec::with_capacity((last - origin) as usize + 2);
        let mut interval = 0;
        for whole in 0..=(last - origin) as usize + 1 {
            while interval + 2 < breaks.len() && breaks[interval + 1] <= origin + whole as f64 {
                interval += 1;
            }
            index.push(interval as u32);
        }
        Some(Cubics { knots, pieces, index, origin })
    }

    /// Number of splines.
    pub fn len(&self) -> usize {
        self.pieces.len() + DEGREE
    }

    /// Never true: there is at least one interval.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// First and last break.
    pub fn domain(&self) -> [f64; 2] {
        [self.knots[0], self.knots[self.knots.len() - 1]]
    }

    /// The breaks.
    pub fn breaks(&self) -> &[f64] {
        &self.knots[DEGREE..self.knots.len() - DEGREE]
    }

    /// Interval of `x` and the distance from its left end.
    fn locate(&self, x: f64) -> (usize, f64) {
        let [first, last] = self.domain();
        let x = x.clamp(first, last);
        let breaks = self.breaks();
        let mut interval = self.index.get((x - self.origin) as usize).map_or(0, |start| *start as usize);
        while interval + 2 < breaks.len() && breaks[interval + 1] <= x {
            interval += 1;
        }
        (interval, x - breaks[interval])
    }

    /// Index of the first of the four splines that are not zero at `x`, and their values. NaN is taken for the start.
    pub fn at(&self, x: f64) -> (usize, [f64; 4]) {
        let (interval, t) = self.locate(x);
        let piece = &self.pieces[interval];
        (interval, std::array::from_fn(|k| ((piece[k][3] * t + piece[k][2]) * t + piece[k][1]) * t + piece[k][0]))
    }
}

/// The four splines of the interval right of knot `i`, as cubics: from their values and derivatives at its left end,
/// which de Boor's recurrence gives for every degree.
fn piece(knots: &[f64], i: usize) -> [[f64; 4]; 4] {
    // values[d][j]: spline of degree d, the j-th of the d + 1 that live on the interval, at its left end
    let x = knots[i];
    let mut values = [[0.0; 4]; 4];
    values[0][0] = 1.0;
    for d in 1..=DEGREE {
        let mut carried = 0.0;
        for j in 0..d {
            let (right, left) = (knots[i + j + 1], knots[i + j + 1 - d]);
            let share = values[d - 1][j] / (right - left);
            values[d][j] = carried + (right - x) * share;
            carried = (x - left) * share;
        }
        values[d][d] = carried;
    }
    // the derivative of a sum of splines is a sum of those of one degree less, with differences for weights
    let mut out = [[0.0; 4]; 4];
    for (k, cubic) in out.iter_mut().enumerate() {
        let mut weights = [0.0; 4];
        weights[k] = 1.0;
        let mut factorial = 1.0;
        for (order, coefficient) in cubic.iter_mut().enumerate() {
            let d = DEGREE - order;
            *coefficient = (0..=d).map(|j| weights[j] * values[d][j]).sum::<f64>() / factorial;
            factorial *= (order + 1) as f64;
            if d > 0 {
                let mut next = [0.0; 4];
                for (j, cell) in next.iter_mut().enumerate().take(d) {
                    *cell = d as f64 * (weights[j + 1] - weights[j]) / (knots[i + j + 1] - knots[i + j + 1 - d]);
                }
                weights = next;
            }
        }
    }
    out
}

/// A spline with the covariance of its coefficients near the diagonal.
#[derive(Clone, Debug, PartialEq)]
pub struct Spline {
    basis: Cubics,
    fit: BandedFit,
}

/// Sums of a weighted fit.
#[derive(Clone, Debug)]
pub struct SplineSums {
    basis: Cubics,
    sums: Banded,
    weight: f64,
}

impl SplineSums {
    /// Nothing added yet.
    pub fn new(basis: Cubics) -> SplineSums {
        let n = basis.len();
        SplineSums { basis, sums: Banded::new(n, DEGREE), weight: 0.0 }
    }

    /// Add a point.
    pub fn add(&mut self, x: f64, value: f64, weight: f64) {
        let (first, factors) = self.basis.at(x);
        self.sums.add_four(first, &factors, value, weight);
        self.weight += weight;
    }

    /// The spline. Where points are missing, a faint pull towards equal neighbours decides and the error is large.
    /// `None` without any point.
    pub fn solve(mut self) -> Option<Spline> {
        let n = self.basis.len();
        let faint = 1e-7 * self.weight / n as f64;
        for k in 1..n {
            self.sums.add(&[(k - 1, -1.0), (k, 1.0)], 0.0, faint);
        }
        let fit = self.sums.solve()?;
        fit.parameters.iter().all(|c| c.is_finite()).then_some(Spline { basis: self.basis, fit })
    }
}

impl Spline {
    /// The splines it is made of.
    pub fn basis(&self) -> &Cubics {
        &self.basis
    }

    /// Value at `x`.
    pub fn at(&self, x: f64) -> f64 {
        let (first, values) = self.basis.at(x);
        values.iter().zip(&self.fit.parameters[first..]).map(|(v, c)| v * c).sum()
    }

    /// Value and first derivative at `x`; beyond the breaks the value of the end and no slope.
    pub fn with_slope(&self, x: f64) -> (f64, f64) {
        let [low, high] = self.basis.domain();
        let (interval, t) = self.basis.locate(x);
        let mut sums = [0.0; 4];
        for (piece, c) in self.basis.pieces[interval].iter().zip(&self.fit.parameters[interval..]) {
            sums.iter_mut().zip(piece).for_each(|(sum, p)| *sum += p * c);
        }
        let value = ((sums[3] * t + sums[2]) * t + sums[1]) * t + sums[0];
        let inside = x >= low && x <= high;
        (value, if inside { (3.0 * sums[3] * t + 2.0 * sums[2]) * t + sums[1] } else { 0.0 })
    }

    /// Variance of the value at `x`.
    pub fn variance(&self, x: f64) -> f64 {
        let (first, values) = self.basis.at(x);
        let mut sum = 0.0;
        for i in 0..4 {
            for j in 0..4 {
                sum += values[i] * values[j] * self.fit.covariance(first + i, first + j);
            }
        }
        sum.max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BREAKS: [f64; 6] = [0.5, 3.0, 3.4, 5.0, 11.0, 20.0];

    #[test]
    fn splines_add_up_to_one_and_repeat_cubics() {
        let basis = Cubics::new(&BREAKS).unwrap();
        assert_eq!(basis.len(), 8);
        for x in [0.5, 1.0, 3.0, 3.2, 10.9, 20.0, 30.0] {
            let (first, values) = basis.at(x);
            assert!((values.iter().sum::<f64>() - 1.0).abs() < 1e-12 && first + 3 < 8, "{x} {values:?}");
            assert!(values.iter().all(|value| *value >= -1e-12));
        }
        let cubic = |x: f64| 2.0 - x + 0.3 * x * x - 0.01 * x.powi(3);
        let mut sums = SplineSums::new(basis);
        (0..=40).map(|k| 0.5 + f64::from(k) * 19.5 / 40.0).for_each(|x| sums.add(x, cubic(x), 1.0));
        let spline = sums.solve().unwrap();
        for x in [0.5, 1.23, 3.3, 9.9, 19.99] {
            let (value, slope) = spline.with_slope(x);
            assert!((value - cubic(x)).abs() < 1e-3 && (value - spline.at(x)).abs() < 1e-10, "{x}");
            assert!((slope - (-1.0 + 0.6 * x - 0.03 * x * x)).abs() < 3e-3, "{x} {slope}");
        }
        assert_eq!(spline.with_slope(-5.0), (spline.at(0.5), 0.0));
    }

    #[test]
    fn the_error_of_a_constant_is_that_of_a_mean_of_its_neighbours() {
        let mut sums = SplineSums::new(Cubics::new(&[0.0, 100.0]).unwrap());
        (0..1000).for_each(|k| sums.add(f64::from(k) * 0.1, 5.0, 4.0));
        let spline = sums.solve().unwrap();
        // four parameters share 1000 points of variance 1/4: the mean variance is 4 / 1000 / 4
        let mean = (0..1000).map(|k| spline.variance(f64::from(k) * 0.1)).sum::<f64>() / 1000.0;
        assert!((mean / 1e-3 - 1.0).abs() < 1e-3, "{mean}");
        assert!((spline.at(33.0) - 5.0).abs() < 1e-9);
    }

    #[test]
    fn a_gap_has_a_large_error_and_a_finite_value() {
        let breaks: Vec<f64> = (0..=40).map(f64::from).collect();
        let mut sums = SplineSums::new(Cubics::new(&breaks).unwrap());
        (0..400).map(|k| f64::from(k) * 0.1).filter(|x| *x < 15.0 || *x > 25.0).for_each(|x| sums.add(x, 7.0, 1.0));
        let spline = sums.solve().unwrap();
        assert!((spline.at(20.0) - 7.0).abs() < 1e-3);
        assert!(spline.variance(20.0) > 1e3 * spline.variance(5.5));
        assert!(SplineSums::new(Cubics::new(&breaks).unwrap()).solve().is_none());
    }

    #[test]
    fn breaks_that_do_not_rise_are_refused() {
        assert!(Cubics::new(&[1.0]).is_none() && Cubics::new(&[0.0, 2.0, 2.0]).is_none());
        assert!(Cubics::new(&[0.0, f64::NAN]).is_none());
    }
}
