//! Weighted least squares by normal equations: dense, and banded for splines.
//!
//! Columns are expected to be of similar size (Chebyshev polynomials, B-splines), for which normal equations in double
//! precision lose nothing that matters. A matrix that is not positive definite has no solution, never a wild one.

/// Normal equations of a linear model with few parameters.
#[derive(Clone, Debug)]
pub struct Normal {
    n: usize,
    /// Full symmetric matrix, row by row; only the lower triangle is kept up to date.
    matrix: Vec<f64>,
    right: Vec<f64>,
}

/// Solution of [`Normal::solve`].
#[derive(Clone, Debug, PartialEq)]
pub struct Solution {
    /// Parameters.
    pub parameters: Vec<f64>,
    /// Covariance for weights that are inverse variances, full matrix row by row.
    pub covariance: Vec<f64>,
}

impl Normal {
    /// Nothing added yet.
    pub fn new(n: usize) -> Normal {
        Normal { n, matrix: vec![0.0; n * n], right: vec![0.0; n] }
    }

    /// Add one measurement: `value = row . parameters`, with the inverse of its variance.
    pub fn add(&mut self, row: &[f64], value: f64, weight: f64) {
        for (i, factor) in row.iter().enumerate().take(self.n) {
            let scaled = factor * weight;
            self.right[i] += scaled * value;
            let line = &mut self.matrix[i * self.n..=i * self.n + i];
            for (cell, other) in line.iter_mut().zip(row) {
                *cell += scaled * other;
            }
        }
    }

    /// Multiply the diagonal, as Levenberg and Marquardt do.
    pub fn damp(&mut self, factor: f64) {
        for i in 0..self.n {
            self.matrix[i * self.n + i] *= factor;
        }
    }

    /// Parameters and covariance; `None` when the measurements do not determine them.
    pub fn solve(&self) -> Option<Solution> {
        let n = self.n;
        let lower = factor(&self.matrix, n)?;
        let parameters = back(&lower, n, self.right.clone());
        let mut covariance = vec![0.0; n * n];
        for column in 0..n {
            let mut unit = vec![0.0; n];
            unit[column] = 1.0;
            for (row, value) in back(&lower, n, unit).into_iter().enumerate() {
                covariance[row * n + column] = value;
            }
        }
        Some(Solution { parameters, covariance })
    }

    /// Parameters alone, at a third of the cost.
    pub fn parameters(&self) -> Option<Vec<f64>> {
        Some(back(&factor(&self.matrix, self.n)?, self.n, self.right.clone()))
    }
}

/// Smallest pivot, relative to the diagonal before elimination, that still counts as information.
const SMALLEST_PIVOT: f64 = 1e-13;

/// Cholesky factor of the lower triangle; `None` when a pivot is lost to rounding.
fn factor(matrix: &[f64], n: usize) -> Option<Vec<f64>> {
    let mut lower = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..=i {
            let (row_i, row_j) = (&lower[i * n..i * n + j], &lower[j * n..j * n + j]);
            let sum = matrix[i * n + j] - row_i.iter().zip(row_j).map(|(a, b)| a * b).sum::<f64>();
            if i == j {
                // NaN fails the comparison
                let enough = sum > SMALLEST_PIVOT * matrix[i * n + i] && sum.is_finite();
                if !enough {
                    return None;
                }
                lower[i * n + i] = sum.sqrt();
            } else {
                lower[i * n + j] = sum / lower[j * n + j];
            }
        }
    }
    Some(lower)
}

fn back(lower: &[f64], n: usize, mut x: Vec<f64>) -> Vec<f64> {
    for i in 0..n {
        let sum: f64 = lower[i * n..i * n + i].iter().zip(&x).map(|(a, b)| a * b).sum();
        x[i] = (x[i] - sum) / lower[i * n + i];
    }
    for i in (0..n).rev() {
        let sum: f64 = (i + 1..n).map(|k| lower[k * n + i] * x[k]).sum();
        x[i] = (x[i] - sum) / lower[i * n + i];
    }
    x
}

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
                let (row_i, row_j) = (&lower[i * w + i - j + 1..=i * w + i - start], &lower[j * w + 1..=j * w + j - start]);
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
    use super::*;

    #[test]
    fn an_exact_model_is_found_exactly() {
        let mut normal = Normal::new(3);
        for i in 0..20 {
            let x = f64::from(i) / 10.0 - 1.0;
            normal.add(&[1.0, x, x * x], 2.0 - 3.0 * x + 0.5 * x * x, 1.0 + x * x);
        }
        let found = normal.solve().unwrap();
        for (value, truth) in found.parameters.iter().zip([2.0, -3.0, 0.5]) {
            assert!((value - truth).abs() < 1e-12);
        }
        assert_eq!(normal.parameters().unwrap(), found.parameters);
    }

    #[test]
    fn the_variance_of_a_mean_is_the_textbook_one() {
        let mut normal = Normal::new(1);
        for value in [1.0, 2.0, 6.0] {
            normal.add(&[1.0], value, 0.25);
        }
        let found = normal.solve().unwrap();
        assert!((found.parameters[0] - 3.0).abs() < 1e-14 && (found.covariance[0] - 4.0 / 3.0).abs() < 1e-14);
    }

    #[test]
    fn what_is_not_determined_has_no_solution() {
        let mut normal = Normal::new(2);
        normal.add(&[1.0, 2.0], 1.0, 1.0);
        normal.add(&[2.0, 4.0], 2.0, 1.0);
        assert_eq!(normal.solve(), None);
        assert_eq!(Banded::new(2, 1).parameters(), None);
        normal.add(&[f64::NAN, 0.0], 1.0, 1.0);
        assert_eq!(normal.solve(), None);
    }

    #[test]
    fn banded_agrees_with_dense() {
        let (n, width) = (12, 3);
        let (mut dense, mut banded) = (Normal::new(n), Banded::new(n, width));
        for k in 0..60usize {
            let first = k % (n - width);
            let mut row = vec![0.0; n];
            let factors: Vec<(usize, f64)> =
                (0..=width).map(|d| (first + d, ((k * 7 + d * 3) % 11) as f64 - 4.0)).collect();
            factors.iter().for_each(|(i, factor)| row[*i] = *factor);
            let value = ((k * 13) % 17) as f64;
            dense.add(&row, value, 1.0 + (k % 3) as f64);
            banded.add(&factors, value, 1.0 + (k % 3) as f64);
        }
        for (a, b) in dense.parameters().unwrap().iter().zip(banded.parameters().unwrap()) {
            assert!((a - b).abs() < 1e-10, "{a} {b}");
        }
    }
}
