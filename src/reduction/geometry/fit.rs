//! From measured places to a map: robust least squares with degrees that hold-out tests choose.
//!
//! Each place has the error of its centroid, a scatter of its own beyond that (pixel response), and one that it shares
//! with the other pinholes of its line (blends, wavelengths): both scatters are estimated from the residuals and enter
//! weights and covariance. Without the shared one a blend would count nine times.

use rayon::prelude::*;

use super::map::{GeometryMap, MAX_WAVE, OrderMap, SLIT_UNIT};
use crate::numerics::chebyshev;
use crate::numerics::least_squares::{Fitted, NormalSums};
use crate::numerics::robust::{MAD_TO_SIGMA, median_f64};

/// A measured place of a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Order.
    pub order: u8,
    /// Wavelength, nm.
    pub wavelength: f64,
    /// Slit position, arcsec.
    pub slit: f64,
    /// Column and row.
    pub place: [f64; 2],
    /// Variances of both.
    pub variance: [f64; 2],
}

/// How the orders of an arm hang together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ties {
    /// Every order is a spectrograph of its own.
    Independent,
    /// One echelle: a map of the order number and of order times wavelength.
    Echelle,
}

/// What to fit.
#[derive(Clone, Debug, PartialEq)]
pub struct FitOptions {
    /// How orders hang together.
    pub ties: Ties,
    /// Whether the slit position enters: not for a single pinhole.
    pub slit: bool,
    /// A place further than this from the fit is left out, sigmas.
    pub clip: f64,
    /// Highest degree along the wavelength that is tried.
    pub max_wave: usize,
    /// Highest degree along the order number that is tried (echelle).
    pub max_order: usize,
    /// Whether hold-out tests choose the degrees; else a first guess's are kept.
    pub choose: bool,
}

/// The error of the maps: covariances of the coefficients of an order.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderCovariance {
    /// Covariance matrices of the coefficients of x and of y, full squares.
    pub axes: [Vec<f64>; 2],
}

/// Variances of x and y (pixels squared) of the place where a map puts a wavelength and slit position.
pub fn variances(map: &OrderMap, covariance: &OrderCovariance, wavelength: f64, slit: f64) -> [f64; 2] {
    let mut row = vec![0.0; map.x.len()];
    map.basis(wavelength, slit, &mut row);
    [0, 1].map(|axis| {
        let lines = covariance.axes[axis].chunks_exact(row.len().max(1));
        lines
            .zip(&row)
            .map(|(line, a)| a * line.iter().zip(&row).map(|(c, b)| c * b).sum::<f64>())
            .sum::<f64>()
            .max(0.0)
    })
}

/// What was found along one axis of one family of orders.
#[derive(Clone, Debug, PartialEq)]
pub struct AxisReport {
    /// Orders of the family.
    pub orders: Vec<u8>,
    /// Highest degree in order number and wavelength for each power of the slit position.
    pub degrees: Vec<(usize, usize)>,
    /// Scatter of single places beyond their errors, pixels.
    pub spot_scatter: f64,
    /// Scatter that the places of a line share, pixels.
    pub line_scatter: f64,
    /// Scatter of lines that took no part in the fit that predicts them, pixels.
    pub hold_out: f64,
}

/// A fitted map.
#[derive(Clone, Debug, PartialEq)]
pub struct MapFit {
    /// The map.
    pub map: GeometryMap,
    /// Its errors, one per order of the map.
    pub covariance: Vec<OrderCovariance>,
    /// Which points were used.
    pub used: Vec<bool>,
    /// Fitted minus measured places, x and y.
    pub residuals: Vec<[f64; 2]>,
    /// What was found, per family and axis.
    pub axes: Vec<[AxisReport; 2]>,
}

/// Why no map could be fitted.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FitError {
    /// Too few places.
    #[error("orders {orders:?} have {found} usable places of lines, at least {needed} are needed")]
    Few {
        /// Orders that are fitted together.
        orders: Vec<u8>,
        /// Places.
        found: usize,
        /// Least number.
        needed: usize,
    },
    /// The places do not determine the coefficients.
    #[error(
        "the places of the lines of orders {orders:?} do not determine their map; they cover too small a part of it"
    )]
    Undetermined {
        /// Orders that are fitted together.
        orders: Vec<u8>,
    },
}

/// Parts into which the lines are dealt for hold-out tests.
const FOLDS: usize = 5;
/// Passes of rejection; in practice four suffice.
const PASSES: usize = 12;
/// Standard deviation of the difference to the guess: of the constant, pixels, its decay with each degree in order number
/// and wavelength, and with each power of the slit position.
const PRIOR: f64 = 2.0;
/// See [`PRIOR`].
const PRIOR_DECAY: f64 = 0.75;
/// See [`PRIOR`].
const PRIOR_SLIT: f64 = 0.7;
/// Factor by which a shift or a stretch may be larger than [`PRIOR`].
const PRIOR_RIGID: f64 = 10.0;
/// Deviations beyond this many sigmas count as this many.
const TAIL: f64 = 2.5;
/// Mean square of a Gaussian deviation so cut.
const TAIL_SQUARE: f64 = 0.977_5;
/// A larger basis must lower the hold-out chi-square by this to be preferred.
const WORTHWHILE: f64 = 6.0;

/// Fit the maps of all orders of `guess` to the points, as smooth differences from the guess. What the lines do not
/// determine (an order with few of them, the ends) stays near the guess, and its error says by how much it may be off.
pub fn fit(points: &[Point], guess: &GeometryMap, options: &FitOptions) -> Result<MapFit, FitError> {
    let families: Vec<Family> = match options.ties {
        Ties::Independent => guess.orders.iter().map(Family::single).collect(),
        Ties::Echelle => vec![Family::echelle(&guess.orders)],
    };
    let fitted: Vec<FamilyFit> =
        families.par_iter().map(|family| fit_family(points, guess, family, options)).collect::<Result<_, _>>()?;
    let mut used = vec![false; points.len()];
    let mut residuals = vec![[f64::NAN; 2]; points.len()];
    let (mut orders, mut covariance, mut axes) = (Vec::new(), Vec::new(), Vec::new());
    for (family, fit) in families.iter().zip(fitted) {
        for (k, index) in fit.index.iter().enumerate() {
            used[*index] = fit.used[k];
            residuals[*index] = [fit.residuals[0][k], fit.residuals[1][k]];
        }
        for (map, errors) in family.collapse(guess, &fit) {
            orders.push(map);
            covariance.push(errors);
        }
        axes.push(fit.reports);
    }
    Ok(MapFit { map: GeometryMap { orders }, covariance, used, residuals, axes })
}

/// Orders that share coefficients, and the arguments of the polynomials.
#[derive(Clone, Debug)]
struct Family {
    orders: Vec<u8>,
    /// Middle and half range of the order number; half range 0 for a single order.
    number: (f64, f64),
    /// Middle and half range of the phase: order times wavelength, or the wavelength.
    phase: (f64, f64),
    echelle: bool,
}

/// A term of the basis: degrees in order number, phase and slit position.
type Term = (usize, usize, usize);

impl Family {
    fn single(map: &OrderMap) -> Family {
        let [a, b] = map.domain;
        Family { orders: vec![map.order], number: (0.0, 0.0), phase: (0.5 * (a + b), 0.5 * (b - a)), echelle: false }
    }

    fn echelle(maps: &[OrderMap]) -> Family {
        let orders: Vec<u8> = maps.iter().map(|map| map.order).collect();
        let (first, last) = orders.iter().fold((u8::MAX, 0), |(a, b), order| (a.min(*order), b.max(*order)));
        let (first, last) = (f64::from(first), f64::from(last));
        // the maps of an echelle share one range of order times wavelength
        let phases = maps.iter().flat_map(|map| map.domain.map(|wavelength| f64::from(map.order) * wavelength));
        let (a, b) = phases.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), phase| (a.min(phase), b.max(phase)));
        Family {
            orders,
            number: (0.5 * (first + last), 0.5 * (last - first).max(1.0)),
            phase: (0.5 * (a + b), 0.5 * (b - a)),
            echelle: true,
        }
    }

    /// Arguments of the polynomials in order number and phase.
    fn arguments(&self, order: u8, wavelength: f64) -> (f64, f64) {
        if self.echelle {
            let n = f64::from(order);
            ((n - self.number.0) / self.number.1, (n * wavelength - self.phase.0) / self.phase.1)
        } else {
            (0.0, (wavelength - self.phase.0) / self.phase.1)
        }
    }

    fn row(&self, point: &Point, terms: &[Term]) -> Vec<f64> {
        let (n, u) = self.arguments(point.order, point.wavelength);
        let (mut tn, mut tu, mut ts) = ([0.0; MAX_WAVE], [0.0; MAX_WAVE], [0.0; MAX_WAVE]);
        chebyshev::values(n, &mut tn);
        chebyshev::values(u, &mut tu);
        chebyshev::values(point.slit / SLIT_UNIT, &mut ts);
        terms.iter().map(|(i, j, k)| tn[*i] * tu[*j] * ts[*k]).collect()
    }

    /// The map of each order from the coefficients of the family.
    fn collapse(&self, guess: &GeometryMap, fit: &FamilyFit) -> Vec<(OrderMap, OrderCovariance)> {
        let degrees = |pick: fn(&Term) -> usize| {
            let all = fit.axes.iter().flat_map(|axis| axis.columns.iter().map(|c| pick(&fit.terms[*c])));
            all.max().unwrap_or(0) + 1
        };
        let known = guess.orders.iter().map(|map| map.size).fold((1, 1), |(a, b), (w, s)| (a.max(w), b.max(s)));
        let size = (degrees(|term| term.1).max(known.0), degrees(|term| term.2).max(known.1));
        let inverse: Vec<Vec<f64>> = fit
            .axes
            .iter()
            .map(|axis| axis.fitted.factor.inverse().into_iter().map(|value| value * axis.inflation).collect())
            .collect();
        let mut out = Vec::new();
        for map in guess.orders.iter().filter(|map| self.orders.contains(&map.order)) {
            let mut tn = [0.0; MAX_WAVE];
            chebyshev::values(self.arguments(map.order, 0.0).0, &mut tn);
            let total = size.0 * size.1;
            let mut coefficients = [vec![0.0; total], vec![0.0; total]];
            for (a, from) in [&map.x, &map.y].into_iter().enumerate() {
                for (k, value) in from.iter().enumerate() {
                    coefficients[a][k / map.size.1 * size.1 + k % map.size.1] = *value;
                }
            }
            let mut covariance = [vec![0.0; total * total], vec![0.0; total * total]];
            for (a, axis) in fit.axes.iter().enumerate() {
                let place: Vec<(usize, f64)> = axis
                    .columns
                    .iter()
                    .map(|c| {
                        let (i, j, k) = fit.terms[*c];
                        (j * size.1 + k, tn[i])
                    })
                    .collect();
                let width = place.len();
                for (p, (row, factor)) in place.iter().enumerate() {
                    coefficients[a][*row] += factor * axis.fitted.coefficients[p];
                    for (q, (column, other)) in place.iter().enumerate() {
                        covariance[a][row * total + column] += factor * other * inverse[a][p * width + q];
                    }
                }
            }
            let [x, y] = coefficients;
            let map = OrderMap { order: map.order, domain: map.domain, limits: map.limits, size, x, y };
            out.push((map, OrderCovariance { axes: covariance }));
        }
        out
    }
}

/// The basis of an axis: highest degrees in order number and phase for each power of the slit position.
type Layout = Vec<(usize, usize)>;

fn contains(layout: &Layout, term: &Term) -> bool {
    layout.get(term.2).is_some_and(|(n, u)| term.0 <= *n && term.1 <= *u)
}

fn columns_of(layout: &Layout, terms: &[Term]) -> Vec<usize> {
    (0..terms.len()).filter(|k| contains(layout, &terms[*k])).collect()
}

/// Every layout that may be tried, for one power of the slit position.
fn choices(power: usize, options: &FitOptions) -> Vec<Option<(usize, usize)>> {
    let echelle = options.ties == Ties::Echelle;
    let numbers: Vec<usize> = match (echelle, power) {
        (false, _) => vec![0],
        (true, 0) => (3..=options.max_order).collect(),
        (true, 1) => (1..=options.max_order.min(8)).collect(),
        (true, _) => (0..=options.max_order.min(4)).collect(),
    };
    let waves: Vec<usize> = match (echelle, power) {
        (_, 0) => (4..=options.max_wave).collect(),
        (true, 1) => (1..=options.max_wave.min(5)).collect(),
        (false, 1) => (0..=options.max_wave.min(5)).collect(),
        (false, _) => (0..=options.max_wave.min(5)).collect(),
        (true, _) => (0..=3).collect(),
    };
    let pairs = numbers.iter().flat_map(|n| waves.iter().map(|u| Some((*n, *u))));
    if power >= 2 { std::iter::once(None).chain(pairs).collect() } else { pairs.collect() }
}

struct AxisFit {
    columns: Vec<usize>,
    fitted: Fitted,
    /// Chi-square over its degrees of freedom, at least 1: what the scatters, being robust, do not see of the tails.
    inflation: f64,
}

struct FamilyFit {
    index: Vec<usize>,
    used: Vec<bool>,
    residuals: [Vec<f64>; 2],
    terms: Vec<Term>,
    axes: [AxisFit; 2],
    reports: [AxisReport; 2],
}

/// The points of a family, sorted by line, as a linear problem.
struct Problem {
    rows: Vec<Vec<f64>>,
    values: [Vec<f64>; 2],
    variances: [Vec<f64>; 2],
    /// Ranges of points that belong to one line in one order.
    lines: Vec<std::ops::Range<usize>>,
}

/// Scatters beyond the centroids' errors, as variances.
#[derive(Clone, Copy, Default)]
struct Scatter {
    spot: f64,
    line: f64,
}

fn fit_family(
    points: &[Point],
    guess: &GeometryMap,
    family: &Family,
    options: &FitOptions,
) -> Result<FamilyFit, FitError> {
    let powers = if options.slit { 3 } else { 1 };
    let largest: Layout = (0..powers)
        .map(|power| {
            let choices = choices(power, options);
            choices.into_iter().flatten().fold((0, 0), |(a, b), (n, u)| (a.max(n), b.max(u)))
        })
        .collect();
    let mut terms = Vec::new();
    for (k, (n, u)) in largest.iter().enumerate() {
        terms.extend((0..=*n).flat_map(|i| (0..=*u).map(move |j| (i, j, k))));
    }
    let mut index: Vec<usize> = (0..points.len()).filter(|k| family.orders.contains(&points[*k].order)).collect();
    let key = |k: &usize| (points[*k].order, points[*k].wavelength);
    index.sort_by(|a, b| {
        let (a, b) = (key(a), key(b));
        a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
    });
    // a fit to start with: enough to see outliers, not more than a first guess needs
    let start: Layout = match options.ties {
        Ties::Independent => vec![(0, 5), (0, 5), (0, 5)],
        Ties::Echelle => vec![(options.max_order.min(8), 5), (2, 3), (1, 1)],
    };
    let mut layouts = [start[..powers].to_vec(), start[..powers].to_vec()];
    let needed = 8;
    if index.len() < needed {
        return Err(FitError::Few { orders: family.orders.clone(), found: index.len(), needed });
    }
    let chosen: Vec<&Point> = index.iter().map(|k| &points[*k]).collect();
    let problem = Problem {
        rows: chosen.par_iter().map(|point| family.row(point, &terms)).collect(),
        values: [0, 1]
            .map(|axis| chosen.iter().map(|point| point.place[axis] - expected(guess, point)[axis]).collect()),
        variances: [0, 1].map(|axis| chosen.iter().map(|point| point.variance[axis]).collect()),
        lines: runs(&chosen),
    };
    let undetermined = || FitError::Undetermined { orders: family.orders.clone() };
    let mut used = vec![true; chosen.len()];
    let mut scatter = [Scatter { spot: 0.01, line: 0.0 }; 2];
    problem.settle(&layouts, &terms, &mut used, &mut scatter, options.clip).ok_or_else(undetermined)?;
    let mut hold_out = [f64::NAN; 2];
    for axis in if options.choose { 0..2 } else { 0..0 } {
        let sums = problem.fold_sums(axis, &used, scatter[axis]);
        for power in (0..powers).chain(0..powers.min(2)) {
            layouts[axis] = better(&sums, &layouts[axis], power, &terms, options);
        }
        let columns = columns_of(&layouts[axis], &terms);
        hold_out[axis] = problem.hold_out(axis, &columns, &terms, &used, scatter[axis]).unwrap_or(f64::NAN);
    }
    let (axes, residuals) =
        problem.settle(&layouts, &terms, &mut used, &mut scatter, options.clip).ok_or_else(undetermined)?;
    let reports = [0, 1].map(|axis| AxisReport {
        orders: family.orders.clone(),
        degrees: layouts[axis].clone(),
        spot_scatter: scatter[axis].spot.sqrt(),
        line_scatter: scatter[axis].line.sqrt(),
        hold_out: hold_out[axis],
    });
    Ok(FamilyFit { index, used, residuals, terms, axes, reports })
}

/// Where the guess puts a point.
fn expected(guess: &GeometryMap, point: &Point) -> [f64; 2] {
    guess.at(point.order, point.wavelength, point.slit).map_or([f64::NAN; 2], |(x, y)| [x, y])
}

/// What is known of the coefficients before: the guess is good to pixels in its low terms and to less in the higher ones.
fn prior(terms: &[Term], columns: &[usize]) -> NormalSums {
    let mut sums = NormalSums::new(columns.len());
    let mut row = vec![0.0; columns.len()];
    for (k, column) in columns.iter().enumerate() {
        let (i, j, slit) = terms[*column];
        // flexure moves, turns and stretches the whole format
        let rigid = if i + j < 2 { PRIOR_RIGID } else { 1.0 };
        row[k] = 1.0 / (rigid * PRIOR * PRIOR_DECAY.powi((i + j) as i32) * PRIOR_SLIT.powi(slit as i32));
        sums.add(&row, 0.0);
        row[k] = 0.0;
    }
    sums
}

/// Ranges of points of one line in one order.
fn runs(points: &[&Point]) -> Vec<std::ops::Range<usize>> {
    let mut runs = Vec::new();
    let mut start = 0;
    for run in points.chunk_by(|a, b| a.order == b.order && a.wavelength == b.wavelength) {
        runs.push(start..start + run.len());
        start += run.len();
    }
    runs
}

/// The layout with the best choice for one power of the slit position.
fn better(sums: &[NormalSums], layout: &Layout, power: usize, terms: &[Term], options: &FitOptions) -> Layout {
    let candidates: Vec<Layout> = choices(power, options)
        .into_iter()
        .filter_map(|choice| {
            let mut candidate = layout.clone();
            match choice {
                Some(choice) if power < candidate.len() => candidate[power] = choice,
                Some(choice) if power == candidate.len() => candidate.push(choice),
                Some(_) => return None,
                None => candidate.truncate(power),
            }
            Some(candidate)
        })
        .collect();
    let mut whole = sums[0].clone();
    sums[1..].iter().for_each(|part| whole.merge(part, 1.0));
    let scored: Vec<(f64, usize)> = candidates
        .par_iter()
        .map(|candidate| {
            let columns = columns_of(candidate, terms);
            let mut whole = whole.subset(&columns);
            whole.merge(&prior(terms, &columns), 1.0);
            let score = sums.iter().try_fold(0.0, |total, fold| {
                let fold = fold.subset(&columns);
                let mut rest = whole.clone();
                rest.merge(&fold, -1.0);
                rest.solve().map(|fitted| total + fold.chi_square(&fitted.coefficients))
            });
            (score.filter(|score| score.is_finite()).unwrap_or(f64::INFINITY), columns.len())
        })
        .collect();
    let best = scored.iter().map(|(score, _)| *score).fold(f64::INFINITY, f64::min);
    let chosen = (0..candidates.len())
        .filter(|k| scored[*k].0 <= best + WORTHWHILE)
        .min_by(|a, b| scored[*a].1.cmp(&scored[*b].1).then(scored[*a].0.total_cmp(&scored[*b].0)));
    chosen.map_or_else(|| layout.clone(), |k| candidates[k].clone())
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
    fn fold_sums(&self, axis: usize, used: &[bool], scatter: Scatter) -> Vec<NormalSums> {
        (0..FOLDS)
            .into_par_iter()
            .map(|fold| self.sums(axis, self.lines.iter().skip(fold).step_by(FOLDS), None, used, scatter))
            .collect()
    }

    /// Robust scatter of the means of lines about fits without them, pixels.
    fn hold_out(&self, axis: usize, columns: &[usize], terms: &[Term], used: &[bool], scatter: Scatter) -> Option<f64> {
        let folds: Vec<NormalSums> = (0..FOLDS)
            .map(|fold| self.sums(axis, self.lines.iter().skip(fold).step_by(FOLDS), Some(columns), used, scatter))
            .collect();
        let mut deviations = Vec::new();
        for fold in 0..FOLDS {
            let mut rest = prior(terms, columns);
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

    /// Fit, estimate the scatters, reject, until nothing changes; the last step is always a fit.
    fn settle(
        &self,
        layouts: &[Layout; 2],
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
                    let columns = columns_of(&layouts[axis], terms);
                    let mut sums = self.sums(axis, self.lines.iter(), Some(&columns), used, scatter[axis]);
                    sums.merge(&prior(terms, &columns), 1.0);
                    let fitted = sums.solve()?;
                    // rows of the prior count as many as there are columns
                    let freedom = sums.rows().saturating_sub(2 * columns.len()).max(1);
                    let inflation = (sums.chi_square(&fitted.coefficients) / freedom as f64).max(1.0);
                    let residuals = self
                        .rows
                        .iter()
                        .zip(&self.values[axis])
                        .map(|(row, value)| predict(row, &columns, &fitted.coefficients) - value)
                        .collect();
                    Some((AxisFit { columns, fitted, inflation }, residuals))
                })
                .collect();
            let mut fits = fits.into_iter();
            let ((x, rx), (y, ry)) = (fits.next()??, fits.next()??);
            let residuals = [rx, ry];
            let before = *scatter;
            for axis in 0..2 {
                scatter[axis] = self.scatter(axis, &residuals[axis], used);
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

    /// Scatters beyond the known errors: of single places about their line's mean, and of those means.
    fn scatter(&self, axis: usize, residuals: &[f64], used: &[bool]) -> Scatter {
        let mut single: Vec<(f64, f64)> = Vec::new();
        let mut alone: Vec<(f64, f64)> = Vec::new();
        for line in &self.lines {
            let members: Vec<usize> = line.clone().filter(|k| used[*k]).collect();
            let n = members.len() as f64;
            let mean = members.iter().map(|k| residuals[*k]).sum::<f64>() / n;
            if members.len() >= 3 {
                let stretch = (n / (n - 1.0)).sqrt();
                single.extend(members.iter().map(|k| ((residuals[*k] - mean) * stretch, self.variances[axis][*k])));
            }
            alone.extend(members.iter().map(|k| (residuals[*k], self.variances[axis][*k])));
        }
        if single.len() < alone.len() / 2 {
            return Scatter { spot: excess(&alone), line: 0.0 };
        }
        let spot = excess(&single);
        let means: Vec<(f64, f64)> = self
            .lines
            .iter()
            .filter_map(|line| {
                let weights = line.clone().filter(|k| used[*k]).map(|k| (k, (self.variances[axis][k] + spot).recip()));
                let (total, sum) = weights.fold((0.0, 0.0), |(t, s), (k, w)| (t + w, s + w * residuals[k]));
                (total > 0.0).then(|| (sum / total, total.recip()))
            })
            .collect();
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
