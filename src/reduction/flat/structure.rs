//! How well the light of a lamp can be told from a slow change of the pixels' response along an order.
//!
//! A flat shows the product of both. What the smooth curve of the light can follow is divided out of the response, whether the
//! lamp made it or the pixels did; no flat can tell. But the change of the response goes on to scales which the curve is too
//! stiff to follow, and there it is seen: in what the light leaves over. From its size and its length its share in the curve
//! follows, which is the error of the curve, common to neighbours. Spectra that are divided by the light of the lamp do not
//! have this error, for the product is known; electrons of pixels of response 1 do.
//!
//! The changes are taken as a Gaussian process with the correlation `exp(-(d / 2 length)^2)`, that of noise smoothed by a
//! Gaussian of this length, over noise that is as the points' errors say but for a factor. Size, length and factor are those
//! of greatest restricted likelihood (Patterson and Thompson 1971), all
//! orders together.

use rayon::prelude::*;

use super::spline::Basis;
use crate::numerics::least_squares::{Cholesky, NormalSums};
use crate::numerics::robust::median_f64;

/// Unbinned pixels along an order that make a cell.
const CELL: f64 = 24.0;
/// Lengths that are tried, unbinned pixels: from what two cells can show to what the curve always follows.
const LENGTHS: [f64; 8] = [32.0, 40.0, 49.0, 60.0, 74.0, 91.0, 112.0, 138.0];
/// Variances of the cells' own noise that are tried, relative to that of the changes: so much of the noise that nothing is left
/// for the changes, and so little that it is all theirs.
const NOISES: [f64; 11] = [1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];
/// Fewest cells of an order that tells something.
const FEWEST: usize = 12;
/// Share of the mean weight with which neighbouring coefficients of the curve are drawn together, where cells are coarser than
/// its intervals.
const FAINT: f64 = 1e-4;

/// Changes of the pixels' response along the orders.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Structure {
    /// Their root mean square, relative.
    pub size: f64,
    /// Their length, unbinned pixels.
    pub length: f64,
    /// Variance of the points beyond their errors: a factor, 1 for errors that are right.
    pub grain: f64,
}

/// A point of the light of a lamp: its place along the order, what the curve leaves of its logarithm, and its error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Left {
    /// Place, unbinned pixels.
    pub p: f64,
    /// Logarithm of the light less that of the curve.
    pub log: f64,
    /// Standard error from photons and from pixel to pixel.
    pub sigma: f64,
}

/// What the curve of one order left over, in cells along the order.
#[derive(Clone, Debug, PartialEq)]
pub struct Leftover {
    basis: Basis,
    cells: Vec<Cell>,
}

#[derive(Clone, Debug, PartialEq)]
struct Cell {
    p: f64,
    log: f64,
    variance: f64,
    /// Weight that the curve gave to its points.
    weight: f64,
    /// What the cell sees of the splines.
    row: Vec<f64>,
}

impl Leftover {
    /// Gather points, in rising place, into cells. `weight` is that of a point in the fit of the curve. `None` when there are
    /// too few.
    pub fn gather(points: &[Left], basis: &Basis, weight: impl Fn(&Left) -> f64) -> Option<Leftover> {
        let mut cells = Vec::new();
        let same = |a: &Left, b: &Left| (a.p / CELL).floor() == (b.p / CELL).floor();
        for points in points.chunk_by(same) {
            let total: f64 = points.iter().map(|point| point.sigma.powi(-2)).sum();
            let mean = |of: &dyn Fn(&Left) -> f64| points.iter().map(|a| of(a) * a.sigma.powi(-2)).sum::<f64>() / total;
            let mut row = vec![0.0; basis.len()];
            for point in points {
                let (first, values) = basis.at(point.p);
                let share = point.sigma.powi(-2) / total;
                row[first..].iter_mut().zip(values).for_each(|(r, v)| *r += share * v);
            }
            cells.push(Cell {
                p: mean(&|point| point.p),
                log: mean(&|point| point.log),
                variance: 1.0 / total,
                weight: points.iter().map(&weight).sum(),
                row,
            });
        }
        (cells.len() >= FEWEST).then_some(Leftover { basis: basis.clone(), cells })
    }

    /// Covariance of the cells, lower triangle in a full square.
    fn covariance(&self, structure: &Structure) -> Vec<f64> {
        let n = self.cells.len();
        let mut matrix = vec![0.0; n * n];
        for (i, a) in self.cells.iter().enumerate() {
            for (j, b) in self.cells[..=i].iter().enumerate() {
                let far = (a.p - b.p) / (2.0 * structure.length);
                matrix[i * n + j] = structure.size.powi(2) * (-far * far).exp();
            }
            matrix[i * n + i] += structure.grain * a.variance;
        }
        matrix
    }

    /// What the restricted likelihood of a structure is made of.
    fn likelihood(&self, structure: &Structure) -> Option<Likelihood> {
        let (n, k) = (self.cells.len(), self.basis.len());
        let factor = Cholesky::new(n, self.covariance(structure))?;
        let mut logs: Vec<f64> = self.cells.iter().map(|cell| cell.log).collect();
        factor.whiten(&mut logs);
        let mut columns: Vec<Vec<f64>> = (0..k).map(|j| self.cells.iter().map(|cell| cell.row[j]).collect()).collect();
        columns.iter_mut().for_each(|column| factor.whiten(column));
        let mut sums = NormalSums::new(k);
        let mut row = vec![0.0; k];
        for (i, log) in logs.iter().enumerate() {
            row.iter_mut().zip(&columns).for_each(|(value, column)| *value = column[i]);
            sums.add(&row, *log);
        }
        let measured = sums.clone();
        draw_together(&mut sums, FAINT.sqrt() / structure.size);
        let fitted = sums.solve()?;
        Some(Likelihood {
            chi: measured.chi_square(&fitted.coefficients),
            degrees: n as f64 - k as f64,
            determinants: factor.log_determinant() + fitted.factor.log_determinant(),
        })
    }

    /// The fit of the curve to the cells, with the weights that their points had.
    fn curve(&self) -> Option<Cholesky> {
        let k = self.basis.len();
        let mut sums = NormalSums::new(k);
        for cell in &self.cells {
            let root = cell.weight.sqrt();
            let row: Vec<f64> = cell.row.iter().map(|value| value * root).collect();
            sums.add(&row, cell.log * root);
        }
        let mean = self.cells.iter().map(|cell| cell.weight).sum::<f64>() / k as f64;
        draw_together(&mut sums, (FAINT * mean).sqrt());
        Some(sums.solve()?.factor)
    }

    /// By how much each cell pulls the curve, where it shows this of the splines.
    fn pulls(&self, curve: &Cholesky, mut row: Vec<f64>) -> Vec<f64> {
        curve.solve(&mut row);
        let pull = |cell: &Cell| cell.weight * cell.row.iter().zip(&row).map(|(a, b)| a * b).sum::<f64>();
        self.cells.iter().map(pull).collect()
    }

    /// Weighted sum of squares that the curve leaves of the cells; what is expected of it for changes of unit size; and for noise.
    fn squares(&self, length: f64, grain: f64) -> Option<[f64; 3]> {
        let n = self.cells.len();
        let curve = self.curve()?;
        let changes = self.covariance(&Structure { size: 1.0, length, grain: 0.0 });
        let mut squares = [0.0; 3];
        for (i, cell) in self.cells.iter().enumerate() {
            // what is left of a cell is a weighted sum of all
            let mut parts: Vec<f64> = self.pulls(&curve, cell.row.clone()).iter().map(|pull| -pull).collect();
            parts[i] += 1.0;
            let sum =
                |of: &dyn Fn(f64, &Cell) -> f64| parts.iter().zip(&self.cells).map(|(a, b)| of(*a, b)).sum::<f64>();
            // faint ends tell of noise alone
            squares[0] += cell.weight * sum(&|part, cell| part * cell.log).powi(2);
            squares[1] += cell.weight * quadratic(&changes, n, &parts);
            squares[2] += cell.weight * sum(&|part, cell| part * part * cell.variance * grain);
        }
        Some(squares)
    }

    /// Relative error of the curve at places along the order.
    pub fn errors(&self, structure: &Structure, places: &[f64]) -> Option<Vec<f64>> {
        let (n, k) = (self.cells.len(), self.basis.len());
        let curve = self.curve()?;
        let covariance = self.covariance(structure);
        let error = |p: &f64| {
            let (first, values) = self.basis.at(*p);
            let mut row = vec![0.0; k];
            row[first..].iter_mut().zip(values).for_each(|(to, value)| *to = value);
            quadratic(&covariance, n, &self.pulls(&curve, row)).max(0.0).sqrt()
        };
        let errors: Vec<f64> = places.par_iter().map(error).collect();
        errors.iter().all(|error| error.is_finite()).then_some(errors)
    }
}

/// Variance of a weighted sum of values with this covariance, lower triangle in a full square.
fn quadratic(covariance: &[f64], n: usize, parts: &[f64]) -> f64 {
    let mut sum = 0.0;
    for (i, a) in parts.iter().enumerate() {
        let line = &covariance[i * n..i * n + i];
        let off: f64 = line.iter().zip(parts).map(|(c, b)| c * b).sum();
        sum += a * (2.0 * off + covariance[i * n + i] * a);
    }
    sum
}

/// The parts of a restricted likelihood: chi-square and degrees of freedom, and the logarithms of the determinants of the
/// covariance and of the normal matrix.
#[derive(Clone, Copy, Debug)]
struct Likelihood {
    chi: f64,
    degrees: f64,
    determinants: f64,
}

/// Draw neighbouring coefficients together by a faint weight (its root).
fn draw_together(sums: &mut NormalSums, root: f64) {
    let k = sums.columns();
    let mut row = vec![0.0; k];
    for j in 1..k {
        (row[j - 1], row[j]) = (-root, root);
        sums.add(&row, 0.0);
        row[j - 1] = 0.0;
    }
}

/// The structure that all orders together make likeliest. `None` without orders.
pub fn estimate(orders: &[&Leftover]) -> Option<Structure> {
    let mut variances: Vec<f64> =
        orders.iter().flat_map(|order| order.cells.iter().map(|cell| cell.variance)).collect();
    let noise = median_f64(&mut variances)?;
    let trials: Vec<Structure> = LENGTHS
        .iter()
        .flat_map(|length| NOISES.map(|share| Structure { size: 1.0, length: *length, grain: share / noise }))
        .collect();
    let mut best: Option<(f64, Structure)> = None;
    for trial in trials {
        let each: Vec<Option<Likelihood>> = orders.par_iter().map(|order| order.likelihood(&trial)).collect();
        let Some(each) = each.into_iter().collect::<Option<Vec<Likelihood>>>() else { continue };
        let (chi, degrees, determinants) = each
            .iter()
            .fold((0.0, 0.0, 0.0), |sum, order| (sum.0 + order.chi, sum.1 + order.degrees, sum.2 + order.determinants));
        // the likeliest scale of a covariance is known in closed form
        let variance = chi / degrees;
        let height = -degrees * variance.ln() - determinants;
        if variance > 0.0 && best.is_none_or(|(most, _)| height > most) {
            best = Some((height, Structure { size: variance.sqrt(), grain: trial.grain * variance, ..trial }));
        }
    }
    let likely = best.map(|(_, structure)| structure)?;
    let squares: Vec<Option<[f64; 3]>> =
        orders.par_iter().map(|order| order.squares(likely.length, likely.grain)).collect();
    let [left, changes, noise] = squares
        .into_iter()
        .try_fold([0.0; 3], |sum, order| order.map(|order| std::array::from_fn(|k| sum[k] + order[k])))?;
    Some(Structure { size: ((left - noise).max(0.0) / changes).sqrt(), ..likely })
}

#[cfg(test)]
mod tests {
    use super::super::spline::Spline;
    use super::*;
    use rand::SeedableRng;
    use rand_distr::{Distribution, StandardNormal};
    use rand_pcg::Pcg64;

    const ROWS: usize = 2048;
    const INTERVALS: usize = 4;

    fn gauss(noise: &mut Pcg64) -> f64 {
        StandardNormal.sample(noise)
    }

    /// Response of this size, smoothed by a Gaussian of this length, of one order.
    fn changes(size: f64, length: f64, noise: &mut Pcg64) -> Vec<f64> {
        let reach = (4.0 * length) as usize;
        let white: Vec<f64> = (0..ROWS + 2 * reach).map(|_| gauss(noise)).collect();
        let kernel: Vec<f64> =
            (0..=2 * reach).map(|k| (-0.5 * ((k as f64 - reach as f64) / length).powi(2)).exp()).collect();
        let scale = size / kernel.iter().map(|k| k * k).sum::<f64>().sqrt();
        white
            .windows(kernel.len())
            .map(|part| scale * part.iter().zip(&kernel).map(|(a, b)| a * b).sum::<f64>())
            .collect()
    }

    /// Fit a curve to such an order: what is left, and the share of the changes that the curve took.
    fn order(size: f64, length: f64, noise: &mut Pcg64) -> (Leftover, Spline) {
        let changes = changes(size, length, noise);
        let breaks: Vec<f64> = (0..=INTERVALS).map(|k| (k * (ROWS - 1)) as f64 / INTERVALS as f64).collect();
        let basis = Basis::new(&breaks).unwrap();
        let sigma = 2e-3;
        let points: Vec<(f64, f64, f64)> =
            changes.iter().enumerate().map(|(k, g)| (k as f64, g + sigma * gauss(noise), 1.0)).collect();
        let curve = Spline::fit(basis.clone(), &points).unwrap();
        let left: Vec<Left> = points.iter().map(|(p, log, _)| Left { p: *p, log: log - curve.at(*p), sigma }).collect();
        (Leftover::gather(&left, &basis, |_| 1.0).unwrap(), curve)
    }

    #[test]
    fn size_and_length_of_the_changes_are_found_under_the_curve() {
        let mut noise = Pcg64::seed_from_u64(3);
        let orders: Vec<Leftover> = (0..10).map(|_| order(0.01, 60.0, &mut noise).0).collect();
        let found = estimate(&orders.iter().collect::<Vec<_>>()).unwrap();
        assert!((found.size / 0.01 - 1.0).abs() < 0.3, "{found:?}");
        assert!((49.0..=74.0).contains(&found.length), "{found:?}");
        assert!((0.3..3.0).contains(&found.grain), "{found:?}");
        // pixels that respond alike leave the curve without this error
        let quiet: Vec<Leftover> = (0..4).map(|_| order(0.0, 60.0, &mut noise).0).collect();
        let found = estimate(&quiet.iter().collect::<Vec<_>>()).unwrap();
        let errors = quiet[0].errors(&found, &[600.0, 1000.0]).unwrap();
        assert!(errors.iter().all(|error| *error < 1.5e-3), "{found:?} {errors:?}");
        assert_eq!(estimate(&[]), None);
    }

    #[test]
    fn the_error_of_the_curve_is_what_it_takes_of_the_changes() {
        let structure = Structure { size: 0.01, length: 60.0, grain: 1.0 };
        let mut noise = Pcg64::seed_from_u64(5);
        let places: Vec<f64> = (0..32).map(|k| 32.0 + 64.0 * f64::from(k)).collect();
        let (mut taken, mut expected) = (0.0, 0.0);
        for _ in 0..40 {
            let (left, curve) = order(structure.size, structure.length, &mut noise);
            let errors = left.errors(&structure, &places).unwrap();
            taken += places.iter().map(|p| curve.at(*p).powi(2)).sum::<f64>();
            expected += errors.iter().map(|error| error * error).sum::<f64>();
        }
        assert!((taken / expected - 1.0).abs() < 0.15, "{}", taken / expected);
        assert!((expected / 40.0 / 32.0).sqrt() > 0.006);
    }
}
