//! Weighted least squares whose normal equations are banded, as those of splines are.
//!
//! A matrix that is not positive definite has no solution, never a wild one.

/// Smallest pivot, relative to the diagonal before elimination, that still counts as information.
const SMALLEST_PIVOT: f64 = 1e-13;

/// Normal equations whose matrix has nothing further than `width` from its diagonal.
#[derive(Clone, Debug)]
pub struct Banded {
    n: usize,
    width: usize,
    /// Lower band: element (i, i - d) at `i * (width + 1) + d`.
    band: Vec<f64>,
    right: Vec<f64>,
}

impl Banded {
    /// Nothing added yet.
    pub fn new(n: usize, width: usize) -> Banded {
        Banded { n, width, band: vec![0.0; n * (width + 1)], right: vec![0.0; n] }
    }

    /// Add to the element of row `i` and column `j`; elements above the diagonal and outside the band are ignored.
    pub fn add_matrix(&mut self, i: usize, j: usize, value: f64) {
        if i < self.n && j <= i && i - j <= self.width {
            self.band[i * (self.width + 1) + i - j] += value;
        }
    }

    /// Add one measurement whose non-zero factors are given with their parameter, in rising order.
    pub fn add(&mut self, factors: &[(usize, f64)], value: f64, weight: f64) {
        for (k, (i, factor)) in factors.iter().enumerate() {
            if *i >= self.n {
                continue;
            }
            self.right[*i] += factor * weight * value;
            for (j, other) in &factors[..=k] {
                self.add_matrix(*i, *j, factor * weight * other);
            }
        }
    }

    /// Add one measurement that depends on the four parameters from `first` on: what [`Banded::add`] does, for cubic
    /// splines, which have millions of pixels. Nothing is added when the four do not exist or the band is narrower.
    pub fn add_four(&mut self, first: usize, factors: &[f64; 4], value: f64, weight: f64) {
        if first + 4 > self.n || self.width < 3 {
            return;
        }
        let w = self.width + 1;
        for i in 0..4 {
            let scaled = factors[i] * weight;
            self.right[first + i] += scaled * value;
            let row = &mut self.band[(first + i) * w..(first + i) * w + i + 1];
            for (d, cell) in row.iter_mut().enumerate() {
                *cell += scaled * factors[i - d];
            }
        }
    }

    /// Parameters; `None` when the measurements do not determine them.
    pub fn parameters(&self) -> Option<Vec<f64>> {
        let lower = self.factor()?;
        Some(self.substituted(&lower))
    }

    /// Parameters and their covariance within the band; `None` when the measurements do not determine them.
    pub fn solve(&self) -> Option<BandedFit> {
        let lower = self.factor()?;
        let parameters = self.substituted(&lower);
        Some(BandedFit { parameters, width: self.width, covariance: self.inverse_band(&lower) })
    }

    /// The lower factor of Cholesky, stored as the band.
    fn factor(&self) -> Option<Vec<f64>> {
        let (n, w) = (self.n, self.width + 1);
        let mut lower = self.band.clone();
        for i in 0..n {
            let first = i.saturating_sub(self.width);
            for j in first..=i {
                let start = first.max(j.saturating_sub(self.width));
                // both factors are contiguous: row i holds columns i-d at d, row j holds columns j-d at d
                let (row_i, row_j) =
                    (&lower[i * w + i - j + 1..=i * w + i - start], &lower[j * w + 1..=j * w + j - start]);
                let sum = lower[i * w + i - j] - row_i.iter().zip(row_j).map(|(a, b)| a * b).sum::<f64>();
                if i == j {
                    let enough = sum > SMALLEST_PIVOT * self.band[i * w] && sum.is_finite();
                    if !enough {
                        return None;
                    }
                    lower[i * w] = sum.sqrt();
                } else {
                    lower[i * w + i - j] = sum / lower[j * w];
                }
            }
        }
        Some(lower)
    }

    fn substituted(&self, lower: &[f64]) -> Vec<f64> {
        let (n, w) = (self.n, self.width + 1);
        let mut x = self.right.clone();
        for i in 0..n {
            let reach = i.min(self.width);
            let sum: f64 = (1..=reach).map(|d| lower[i * w + d] * x[i - d]).sum();
            x[i] = (x[i] - sum) / lower[i * w];
        }
        for i in (0..n).rev() {
            let reach = (n - 1 - i).min(self.width);
            let sum: f64 = (1..=reach).map(|d| lower[(i + d) * w + d] * x[i + d]).sum();
            x[i] = (x[i] - sum) / lower[i * w];
        }
        x
    }

    /// Elements of the inverse within the band, from the last row up (Takahashi, Fagan and Chen 1973): no element outside
    /// of the band is needed for them.
    fn inverse_band(&self, lower: &[f64]) -> Vec<f64> {
        let (n, w) = (self.n, self.width + 1);
        let mut inverse = vec![0.0; lower.len()];
        // element (i, j), j >= i, is stored with row j, as in the lower band
        for i in (0..n).rev() {
            let reach = (n - 1 - i).min(self.width);
            for d in (0..=reach).rev() {
                let j = i + d;
                let mut sum = if d == 0 { 1.0 / lower[i * w] } else { 0.0 };
                for k in i + 1..=i + reach {
                    let (low, high) = (k.min(j), k.max(j));
                    sum -= lower[k * w + k - i] * inverse[high * w + high - low];
                }
                inverse[j * w + d] = sum / lower[i * w];
            }
        }
        inverse
    }
}

/// Parameters of a banded problem with what is needed of their covariance.
#[derive(Clone, Debug, PartialEq)]
pub struct BandedFit {
    /// Parameters.
    pub parameters: Vec<f64>,
    width: usize,
    covariance: Vec<f64>,
}

impl BandedFit {
    /// Covariance of two parameters no further apart than the width of the band; 0 for others, though theirs need not be.
    pub fn covariance(&self, i: usize, j: usize) -> f64 {
        let (low, high) = (i.min(j), i.max(j));
        if high - low > self.width {
            return 0.0;
        }
        self.covariance.get(high * (self.width + 1) + high - low).copied().unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::least_squares::NormalSums;
    use super::*;

    #[test]
    fn banded_agrees_with_dense() {
        let (n, width) = (12, 3);
        let (mut dense, mut banded) = (NormalSums::new(n), Banded::new(n, width));
        for k in 0..60usize {
            let first = k % (n - width);
            let mut row = vec![0.0; n];
            let factors: Vec<(usize, f64)> =
                (0..=width).map(|d| (first + d, ((k * 7 + d * 3) % 11) as f64 - 4.0)).collect();
            factors.iter().for_each(|(i, factor)| row[*i] = *factor);
            let (value, weight) = (((k * 13) % 17) as f64, 1.0 + (k % 3) as f64);
            banded.add(&factors, value, weight);
            row.iter_mut().for_each(|r| *r *= weight.sqrt());
            dense.add(&row, value * weight.sqrt());
        }
        for (a, b) in dense.solve().unwrap().coefficients.iter().zip(banded.parameters().unwrap()) {
            assert!((a - b).abs() < 1e-10, "{a} {b}");
        }
    }

    #[test]
    fn four_at_once_are_the_same_sums() {
        let (mut one, mut other) = (Banded::new(7, 3), Banded::new(7, 3));
        for k in 0..30usize {
            let factors: [f64; 4] = std::array::from_fn(|d| ((k * 5 + d * 3) % 7) as f64 - 2.5);
            one.add(&std::array::from_fn::<_, 4, _>(|d| (k % 4 + d, factors[d])), k as f64, 0.5);
            other.add_four(k % 4, &factors, k as f64, 0.5);
        }
        other.add_four(4, &[1.0; 4], 9.0, 1.0);
        assert_eq!(one.parameters(), other.parameters());
    }

    #[test]
    fn the_covariance_is_the_band_of_the_inverse() {
        let (n, width) = (9, 2);
        let (mut dense, mut banded) = (NormalSums::new(n), Banded::new(n, width));
        for k in 0..40usize {
            let first = k % (n - width);
            let factors: Vec<(usize, f64)> =
                (0..=width).map(|d| (first + d, ((k * 5 + d * 7) % 13) as f64 - 5.5)).collect();
            let mut row = vec![0.0; n];
            factors.iter().for_each(|(i, factor)| row[*i] = *factor);
            banded.add(&factors, 1.0, 1.0);
            dense.add(&row, 1.0);
        }
        let (inverse, fit) = (dense.solve().unwrap().factor.inverse(), banded.solve().unwrap());
        for i in 0..n {
            for j in 0..n {
                let expected = if i.abs_diff(j) <= width { inverse[i * n + j] } else { 0.0 };
                assert!((fit.covariance(i, j) - expected).abs() < 1e-12, "{i} {j}");
            }
        }
    }

    #[test]
    fn what_is_not_determined_has_no_solution() {
        assert_eq!(Banded::new(2, 1).parameters(), None);
        let mut banded = Banded::new(2, 1);
        banded.add(&[(0, 1.0), (1, f64::NAN)], 1.0, 1.0);
        assert_eq!(banded.parameters(), None);
    }
}
