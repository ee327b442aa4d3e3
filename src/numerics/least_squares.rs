//! Linear least squares by normal equations, for bases whose condition number is small.
//!
//! Sums over rows are kept as a matrix, so that fits with fewer columns and hold-out tests need no second pass over the
//! data.

/// Sums over the rows of a weighted linear problem: enough for every fit with a subset of its columns.
#[derive(Clone, Debug, PartialEq)]
pub struct NormalSums {
    size: usize,
    /// Lower triangle of A^T W A, row by row, in a full square.
    gram: Vec<f64>,
    right: Vec<f64>,
    square: f64,
    rows: usize,
}

impl NormalSums {
    /// Empty sums for this number of columns.
    pub fn new(size: usize) -> NormalSums {
        NormalSums { size, gram: vec![0.0; size * size], right: vec![0.0; size], square: 0.0, rows: 0 }
    }

    /// Add one row that has been divided by its standard deviation (both the row and the value).
    pub fn add(&mut self, row: &[f64], value: f64) {
        debug_assert_eq!(row.len(), self.size);
        for (i, a) in row.iter().enumerate() {
            if *a == 0.0 {
                continue;
            }
            let line = &mut self.gram[i * self.size..i * self.size + i + 1];
            for (sum, b) in line.iter_mut().zip(row) {
                *sum += a * b;
            }
            self.right[i] += a * value;
        }
        self.square += value * value;
        self.rows += 1;
    }

    /// Add the sums of other rows of the same problem, times `factor` (-1 takes them away).
    pub fn merge(&mut self, other: &NormalSums, factor: f64) {
        debug_assert_eq!(self.size, other.size);
        self.gram.iter_mut().zip(&other.gram).for_each(|(a, b)| *a += factor * b);
        self.right.iter_mut().zip(&other.right).for_each(|(a, b)| *a += factor * b);
        self.square += factor * other.square;
        if factor < 0.0 {
            self.rows = self.rows.saturating_sub(other.rows);
        } else {
            self.rows += other.rows;
        }
    }

    /// The sums of some of the columns, in the order given.
    pub fn subset(&self, columns: &[usize]) -> NormalSums {
        let mut part = NormalSums::new(columns.len());
        for (i, a) in columns.iter().enumerate() {
            for (j, b) in columns.iter().enumerate().take(i + 1) {
                part.gram[i * columns.len() + j] = self.gram[a.max(b) * self.size + a.min(b)];
            }
            part.right[i] = self.right[*a];
        }
        part.square = self.square;
        part.rows = self.rows;
        part
    }

    /// Multiply the diagonal of the matrix, as Levenberg and Marquardt do.
    pub fn damp(&mut self, factor: f64) {
        for i in 0..self.size {
            self.gram[i * self.size + i] *= factor;
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Weighted sum of squared residuals of these coefficients.
    pub fn chi_square(&self, coefficients: &[f64]) -> f64 {
        let mut chi = self.square;
        for (i, c) in coefficients.iter().enumerate() {
            let line = &self.gram[i * self.size..i * self.size + i];
            let off: f64 = line.iter().zip(coefficients).map(|(g, c)| g * c).sum();
            chi += c * (2.0 * off + c * self.gram[i * self.size + i] - 2.0 * self.right[i]);
        }
        chi
    }

    /// Coefficients of least squares; `None` when the rows do not determine every column.
    pub fn solve(&self) -> Option<Fitted> {
        let factor = Cholesky::new(self.size, self.gram.clone())?;
        let mut coefficients = self.right.clone();
        factor.solve(&mut coefficients);
        coefficients.iter().all(|c| c.is_finite()).then_some(Fitted { coefficients, factor })
    }
}

/// Coefficients and what their covariance is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    /// Coefficients.
    pub coefficients: Vec<f64>,
    /// Factor of the normal matrix.
    pub factor: Cholesky,
}

/// The lower factor of a symmetric positive definite matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct Cholesky {
    size: usize,
    lower: Vec<f64>,
}

impl Cholesky {
    /// Factor a matrix given as a full square of which the lower triangle is read. `None` when it is not positive
    /// definite to working precision.
    pub fn new(size: usize, mut matrix: Vec<f64>) -> Option<Cholesky> {
        for i in 0..size {
            let (done, rest) = matrix.split_at_mut(i * size);
            let row = &mut rest[..size];
            let original = row[i];
            for j in 0..i {
                let other = &done[j * size..j * size + j + 1];
                let sum: f64 = row[..j].iter().zip(other).map(|(a, b)| a * b).sum();
                row[j] = (row[j] - sum) / other[j];
            }
            let rest = original - row[..i].iter().map(|a| a * a).sum::<f64>();
            if rest.is_nan() || rest <= 1e-13 * original {
                return None;
            }
            row[i] = rest.sqrt();
        }
        Some(Cholesky { size, lower: matrix })
    }

    /// Replace `b` by the solution x of A x = b.
    pub fn solve(&self, b: &mut [f64]) {
        self.forward(b);
        for i in (0..self.size).rev() {
            let mut sum = b[i];
            for (j, later) in b.iter().enumerate().skip(i + 1) {
                sum -= self.lower[j * self.size + i] * later;
            }
            b[i] = sum / self.lower[i * self.size + i];
        }
    }

    /// Variance of the value a^T c that a row `a` of the basis gives. The row is overwritten.
    pub fn variance(&self, row: &mut [f64]) -> f64 {
        self.forward(row);
        row.iter().map(|v| v * v).sum()
    }

    /// Inverse of the matrix, row by row.
    pub fn inverse(&self) -> Vec<f64> {
        let n = self.size;
        let mut inverse = vec![0.0; n * n];
        let mut column = vec![0.0; n];
        for i in 0..n {
            column.fill(0.0);
            column[i] = 1.0;
            self.solve(&mut column);
            inverse[i * n..(i + 1) * n].copy_from_slice(&column);
        }
        inverse
    }

    /// Logarithm of the determinant of the matrix.
    pub fn log_determinant(&self) -> f64 {
        2.0 * (0..self.size).map(|i| self.lower[i * self.size + i].ln()).sum::<f64>()
    }

    /// b becomes L^-1 b.
    fn forward(&self, b: &mut [f64]) {
        for i in 0..self.size {
            let row = &self.lower[i * self.size..i * self.size + i + 1];
            let sum: f64 = row[..i].iter().zip(b.iter()).map(|(l, b)| l * b).sum();
            b[i] = (b[i] - sum) / row[i];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line_sums(points: &[(f64, f64, f64)]) -> NormalSums {
        let mut sums = NormalSums::new(3);
        points.iter().for_each(|(x, y, sigma)| sums.add(&[1.0 / sigma, x / sigma, x * x / sigma], y / sigma));
        sums
    }

    #[test]
    fn exact_data_give_exact_coefficients() {
        let points: Vec<_> =
            (0..20).map(|i| f64::from(i) / 10.0 - 1.0).map(|x| (x, 2.0 - x + 0.5 * x * x, 0.3)).collect();
        let sums = line_sums(&points);
        let fitted = sums.solve().unwrap();
        for (found, expected) in fitted.coefficients.iter().zip([2.0, -1.0, 0.5]) {
            assert!((found - expected).abs() < 1e-12);
        }
        assert!(sums.chi_square(&fitted.coefficients) < 1e-9);
        // without the square: the sum of squared residuals is that of the best line, and larger
        let part = sums.subset(&[0, 1]);
        assert!(part.chi_square(&part.solve().unwrap().coefficients) > 1.0);
    }

    #[test]
    fn the_variance_of_a_mean_is_that_of_the_textbook() {
        let mut sums = NormalSums::new(1);
        (0..25).for_each(|_| sums.add(&[1.0 / 0.2], 7.0 / 0.2));
        let fitted = sums.solve().unwrap();
        assert!((fitted.factor.variance(&mut [1.0]) - 0.04 / 25.0).abs() < 1e-15);
        assert!((fitted.factor.inverse()[0] - 0.04 / 25.0).abs() < 1e-15);
    }

    #[test]
    fn the_determinant_is_the_product_of_the_textbook() {
        let factor = Cholesky::new(2, vec![4.0, 0.0, 2.0, 3.0]).unwrap();
        assert!((factor.log_determinant() - 8.0f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn rows_can_be_taken_away() {
        let all: Vec<_> = (0..12).map(|i| (f64::from(i), f64::from(i * i % 7), 1.0)).collect();
        let (mut whole, part, rest) = (line_sums(&all), line_sums(&all[..5]), line_sums(&all[5..]));
        whole.merge(&part, -1.0);
        assert_eq!(whole.rows(), 7);
        let (a, b) = (whole.solve().unwrap().coefficients, rest.solve().unwrap().coefficients);
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-9));
    }

    #[test]
    fn undetermined_columns_are_refused() {
        assert_eq!(line_sums(&[(1.0, 1.0, 1.0), (2.0, 1.0, 1.0)]).solve(), None);
        assert_eq!(NormalSums::new(2).solve(), None);
    }
}
