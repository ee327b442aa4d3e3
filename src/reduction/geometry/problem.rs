//! The linear problem of one family of orders: fits, the scatters of places and of lines, rejection, hold-out tests.

use rayon::prelude::*;

use super::basis::{Layout, Slack, Term, columns_of, prior};
use crate::numerics::least_squares::{Fitted, NormalSums};
use crate::numerics::robust::{MAD_TO_SIGMA, median_f64};

/// Parts into which the lines are dealt for hold-out tests.
const FOLDS: usize = 5;
/// Passes of rejection; in practice four suffice.
const PASSES: usize = 12;
/// Least part of a line's deviation that is taken to be left by a fit: a line that decides alone tells nothing.
const LEAST_FREEDOM: f64 = 0.1;
/// Deviations beyond this many sigmas count as this many.
const TAIL: f64 = 2.5;
/// Mean square of a Gaussian deviation so cut.
const TAIL_SQUARE: f64 = 0.977_5;

/// The fit of one axis.
pub(super) struct AxisFit {
    pub(super) columns: Vec<usize>,
    pub(super) fitted: Fitted,
    /// Chi-square over its degrees of freedom, of single places or of the means of lines, whichever is larger, at least 1:
    /// what the scatters, being robust, do not see of the tails.
    pub(super) inflation: f64,
}

/// The points of a family, sorted by line, as a linear problem.
pub(super) struct Problem {
    pub(super) rows: Vec<Vec<f64>>,
    pub(super) values: [Vec<f64>; 2],
    pub(super) variances: [Vec<f64>; 2],
    /// Ranges of points that belong to one line in one order.
    pub(super) lines: Vec<std::ops::Range<usize>>,
}

/// Scatters beyond the centroids' errors, as variances.
#[derive(Clone, Copy, Default)]
pub(super) struct Scatter {
    pub(super) spot: f64,
    pub(super) line: f64,
}

impl Problem {
    /// Sums over some of the lines, whitened by the scatters.
    fn sums<'a>(
        &self,
        axis: usize,
        lines: impl Iterator<Item = &'a std::ops::Range<usize>>,
        columns: Option<&[usize]>,
        used: &[bool],
        scatter: Scatter,
    ) -> NormalSums {
        let width = columns.map_or_else(|| self.rows.first().map_or(0, Vec::len), <[usize]>::len);
        let mut sums = NormalSums::new(width);
        let (mut mean, mut row) = (vec![0.0; width], vec![0.0; width]);
        for line in lines {
            let members = || line.clone().filter(|k| used[*k]);
            let weight = |k: usize| (self.variances[axis][k] + scatter.spot).recip();
            let total: f64 = members().map(weight).sum();
            if total <= 0.0 {
                continue;
            }
            let value = |k: usize, c: usize| self.rows[k][columns.map_or(c, |columns| columns[c])];
            // (I + t vv')^-1/2 = I - g vv' with v the roots of the weights
            let g = (1.0 - (1.0 + scatter.line * total).sqrt().recip()) / total;
            mean.fill(0.0);
            let mut mean_value = 0.0;
            if g > 0.0 {
                for k in members() {
                    let weight = weight(k);
                    mean.iter_mut().enumerate().for_each(|(c, mean)| *mean += weight * value(k, c));
                    mean_value += weight * self.values[axis][k];
                }
            }
            for k in members() {
                let root = weight(k).sqrt();
                for (c, (out, mean)) in row.iter_mut().zip(&mean).enumerate() {
                    *out = root * (value(k, c) - g * mean);
                }
                sums.add(&row, root * (self.values[axis][k] - g * mean_value));
            }
        }
        sums
    }

    /// Sums of all columns for each fold; every fifth line belongs to a fold.
    pub(super) fn fold_sums(&self, axis: usize, used: &[bool], scatter: Scatter) -> Vec<NormalSums> {
        (0..FOLDS)
            .into_par_iter()
            .map(|fold| self.sums(axis, self.lines.iter().skip(fold).step_by(FOLDS), None, used, scatter))
            .collect()
    }

    /// Robust scatter of the means of lines about fits without them, pixels.
    pub(super) fn hold_out(
        &self,
        axis: usize,
        layout: &Layout,
        terms: &[Term],
        used: &[bool],
        scatter: Scatter,
    ) -> Option<f64> {
        let columns = &columns_of(layout, terms);
        let folds: Vec<NormalSums> = (0..FOLDS)
            .map(|fold| self.sums(axis, self.lines.iter().skip(fold).step_by(FOLDS), Some(columns), used, scatter))
            .collect();
        let mut deviations = Vec::new();
        for fold in 0..FOLDS {
            let mut rest = prior(terms, columns, layout, None);
            folds.iter().enumerate().filter(|(k, _)| *k != fold).for_each(|(_, sums)| rest.merge(sums, 1.0));
            let fitted = rest.solve()?;
            for line in self.lines.iter().skip(fold).step_by(FOLDS) {
                let members: Vec<f64> = line
                    .clone()
                    .filter(|k| used[*k])
                    .map(|k| predict(&self.rows[k], columns, &fitted.coefficients) - self.values[axis][k])
                    .collect();
                if !members.is_empty() {
                    deviations.push((members.iter().sum::<f64>() / members.len() as f64).abs());
                }
            }
        }
        median_f64(&mut deviations).map(|median| MAD_TO_SIGMA * median)
    }

    /// Sums of all columns over all lines.
    pub(super) fn whole_sums(&self, axis: usize, used: &[bool], scatter: Scatter) -> NormalSums {
        self.sums(axis, self.lines.iter(), None, used, scatter)
    }

    /// Fit, estimate the scatters, reject, until nothing changes; the last step is always a fit. With a slack, the terms
    /// that the layouts leave out are fitted too.
    pub(super) fn settle(
        &self,
        layouts: &[Layout; 2],
        slacks: [Option<Slack>; 2],
        terms: &[Term],
        used: &mut Vec<bool>,
        scatter: &mut [Scatter; 2],
        clip: f64,
    ) -> Option<([AxisFit; 2], [Vec<f64>; 2])> {
        let mut last = None;
        for pass in 0..PASSES {
            let fits: Vec<Option<(AxisFit, Vec<f64>)>> = [0, 1]
                .into_par_iter()
                .map(|axis| {
                    let chosen = columns_of(&layouts[axis], terms);
                    let decided = chosen.len();
                    let columns = if slacks[axis].is_some() { (0..terms.len()).collect() } else { chosen };
                    let mut sums = self.sums(axis, self.lines.iter(), Some(&columns), used, scatter[axis]);
                    sums.merge(&prior(terms, &columns, &layouts[axis], slacks[axis]), 1.0);
                    let fitted = sums.solve()?;
                    // the prior has a row for each column; what is as large as it says costs no freedom
                    let freedom = sums.rows().saturating_sub(columns.len() + decided).max(1);
                    let single = sums.chi_square(&fitted.coefficients) / freedom as f64;
                    let residuals: Vec<f64> = self
                        .rows
                        .iter()
                        .zip(&self.values[axis])
                        .map(|(row, value)| predict(row, &columns, &fitted.coefficients) - value)
                        .collect();
                    let along = layouts[axis].first().map_or(0, |(n, u)| (n + 1) * (u + 1));
                    let shared = self.chi_of_means(axis, &residuals, used, scatter[axis], along);
                    let inflation = single.max(shared).max(1.0);
                    Some((AxisFit { columns, fitted, inflation }, residuals))
                })
                .collect();
            let mut fits = fits.into_iter();
            let ((x, rx), (y, ry)) = (fits.next()??, fits.next()??);
            let residuals = [rx, ry];
            let before = *scatter;
            for (axis, fit) in [&x, &y].into_iter().enumerate() {
                scatter[axis] = self.scatter(axis, &residuals[axis], used, fit, scatter[axis]);
            }
            // start wide: the first fits are still drawn by outliers
            let cut = clip * if pass < 2 { 2.0 } else { 1.0 };
            let mut keep = vec![true; used.len()];
            for axis in 0..2 {
                self.reject(axis, &residuals[axis], scatter[axis], cut, used, &mut keep);
            }
            let same = |a: f64, b: f64| (a - b).abs() <= 0.02 * a.max(b) + 1e-8;
            let still = before.iter().zip(scatter.iter()).all(|(a, b)| same(a.spot, b.spot) && same(a.line, b.line));
            let done = pass > 2 && keep == *used && still;
            last = Some(([x, y], residuals));
            if done {
                break;
            }
            // the last fit must be one of the points that it says it used
            if pass + 1 < PASSES {
                *used = keep;
            }
        }
        last
    }

    /// Reduced chi-square of the means of lines, of which `along` coefficients have been fitted. The places of a line outvote
    /// it in the chi-square of all places, and it is the lines that decide a map.
    fn chi_of_means(&self, axis: usize, residuals: &[f64], used: &[bool], scatter: Scatter, along: usize) -> f64 {
        let (mut chi, mut count) = (0.0, 0usize);
        for line in &self.lines {
            let (mut total, mut sum) = (0.0, 0.0);
            for k in line.clone().filter(|k| used[*k]) {
                let weight = (self.variances[axis][k] + scatter.spot).recip();
                total += weight;
                sum += weight * residuals[k];
            }
            if total > 0.0 {
                chi += (sum / total).powi(2) / (total.recip() + scatter.line);
                count += 1;
            }
        }
        chi / count.saturating_sub(along).max(1) as f64
    }

    /// Scatters beyond the known errors: of single places about their line's mean, and of those means.
    fn scatter(&self, axis: usize, residuals: &[f64], used: &[bool], fit: &AxisFit, before: Scatter) -> Scatter {
        let variance = |k: usize| self.variances[axis][k];
        let mut single: Vec<(f64, f64)> = Vec::new();
        let mut count = 0;
        for line in &self.lines {
            let members: Vec<usize> = line.clone().filter(|k| used[*k]).collect();
            let n = members.len() as f64;
            let mean = members.iter().map(|k| residuals[*k]).sum::<f64>() / n;
            if members.len() >= 3 {
                let stretch = (n / (n - 1.0)).sqrt();
                single.extend(members.iter().map(|k| ((residuals[*k] - mean) * stretch, variance(*k))));
            }
            count += members.len();
        }
        if single.len() < count / 2 {
            let alone = (0..used.len()).filter(|k| used[*k]).map(|k| {
                let free = fit.freedom(&self.rows[k], variance(k) + before.spot);
                (residuals[k] / free.sqrt(), variance(k))
            });
            return Scatter { spot: excess(&alone.collect::<Vec<_>>()), line: 0.0 };
        }
        let spot = excess(&single);
        let mean = |line: &std::ops::Range<usize>| {
            let (mut total, mut sum) = (0.0, 0.0);
            let mut row = vec![0.0; self.rows.first().map_or(0, Vec::len)];
            for k in line.clone().filter(|k| used[*k]) {
                let weight = (variance(k) + spot).recip();
                total += weight;
                sum += weight * residuals[k];
                row.iter_mut().zip(&self.rows[k]).for_each(|(mean, value)| *mean += weight * value);
            }
            row.iter_mut().for_each(|mean| *mean /= total);
            let free = fit.freedom(&row, total.recip() + before.line);
            (total > 0.0).then(|| (sum / total / free.sqrt(), total.recip()))
        };
        let means: Vec<(f64, f64)> = self.lines.iter().filter_map(mean).collect();
        Scatter { spot, line: excess(&means) }
    }

    fn reject(&self, axis: usize, residuals: &[f64], scatter: Scatter, cut: f64, used: &[bool], keep: &mut [bool]) {
        for line in &self.lines {
            let (mut total, mut sum) = (0.0, 0.0);
            for k in line.clone() {
                let variance = self.variances[axis][k] + scatter.spot;
                if residuals[k].powi(2) > cut * cut * (variance + scatter.line) {
                    keep[k] = false;
                } else if used[k] {
                    total += variance.recip();
                    sum += residuals[k] / variance;
                }
            }
            if total > 0.0 && (sum / total).powi(2) > cut * cut * (total.recip() + scatter.line) {
                line.clone().for_each(|k| keep[k] = false);
            }
        }
    }
}

impl AxisFit {
    /// The part of a deviation of this variance that the fit has left: a map that follows a place hides how far it is off.
    fn freedom(&self, row: &[f64], variance: f64) -> f64 {
        let mut basis: Vec<f64> = self.columns.iter().map(|column| row[*column]).collect();
        (1.0 - self.fitted.factor.variance(&mut basis) / variance).max(LEAST_FREEDOM)
    }
}

fn predict(row: &[f64], columns: &[usize], coefficients: &[f64]) -> f64 {
    columns.iter().zip(coefficients).map(|(column, c)| row[*column] * c).sum()
}

/// The variance that must be added to the known ones: the likeliest for Gaussian deviations, with those beyond [`TAIL`]
/// sigmas counted as if they were there. The places that are known best say most, as they do in the fit.
fn excess(values: &[(f64, f64)]) -> f64 {
    if values.len() < 8 {
        return 0.0;
    }
    // positive while the deviations are larger than their variances say
    let slope = |extra: f64| -> f64 {
        values.iter().map(|(d, v)| ((d * d / (v + extra)).min(TAIL * TAIL) / TAIL_SQUARE - 1.0) / (v + extra)).sum()
    };
    if slope(0.0) <= 0.0 {
        return 0.0;
    }
    let (mut low, mut high) = (0.0, 1e-6);
    while slope(high) > 0.0 && high < 1e6 {
        (low, high) = (high, high * 8.0);
    }
    for _ in 0..16 {
        let middle = 0.5 * (low + high);
        if slope(middle) > 0.0 { low = middle } else { high = middle }
    }
    high
}
