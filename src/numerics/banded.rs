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

    /// Parameters; `None` when the measurements do not determine them.
    pub fn parameters(&self) -> Option<Vec<f64>> {
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
        Some(x)
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
    fn what_is_not_determined_has_no_solution() {
        assert_eq!(Banded::new(2, 1).parameters(), None);
        let mut banded = Banded::new(2, 1);
        banded.add(&[(0, 1.0), (1, f64::NAN)], 1.0, 1.0);
        assert_eq!(banded.parameters(), None);
    }
}
