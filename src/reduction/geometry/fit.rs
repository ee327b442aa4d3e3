//! From measured places to a map: robust least squares with degrees that hold-out tests choose.
//!
//! Each place has the error of its centroid, a scatter of its own beyond that (pixel response), and one that it shares
//! with the other pinholes of its line (blends, wavelengths): both scatters are estimated from the residuals and enter
//! weights and covariance. Without the shared one a blend would count nine times.

use rayon::prelude::*;

use super::basis::{Layout, SLACK_DEGREES, better, choices, slack};
use super::family::{Family, FamilyFit};
use super::map::{GeometryMap, OrderMap};
use super::problem::{Problem, Scatter};

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
    /// Lowest degree along the wavelength that is tried in an order that stands alone: 1 where the guess needs only to be
    /// moved, turned and stretched.
    pub least_wave: usize,
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
    #[error(
        "orders {orders:?} have {found} usable places of lines, at least {needed} are needed; is this an arc through the right mask?"
    )]
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

fn fit_family(
    points: &[Point],
    guess: &GeometryMap,
    family: &Family,
    options: &FitOptions,
) -> Result<FamilyFit, FitError> {
    let powers = if options.slit { 3 } else { 1 };
    let alone = options.ties == Ties::Independent;
    let largest: Layout = (0..powers)
        .map(|power| {
            let choices = choices(power, options);
            let (n, u) = choices.into_iter().flatten().fold((0, 0), |(a, b), (n, u)| (a.max(n), b.max(u)));
            // orders that stand alone have ends that no other order knows
            if alone { (n, u + SLACK_DEGREES) } else { (n, u) }
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
    problem.settle(&layouts, [None; 2], &terms, &mut used, &mut scatter, options.clip).ok_or_else(undetermined)?;
    let (mut hold_out, mut slacks) = ([f64::NAN; 2], [None; 2]);
    for axis in if options.choose { 0..2 } else { 0..0 } {
        let sums = problem.fold_sums(axis, &used, scatter[axis]);
        for power in (0..powers).chain(0..powers.min(2)) {
            layouts[axis] = better(&sums, &layouts[axis], power, &terms, options);
        }
        hold_out[axis] = problem.hold_out(axis, &layouts[axis], &terms, &used, scatter[axis]).unwrap_or(f64::NAN);
        if alone {
            let sums = problem.whole_sums(axis, &used, scatter[axis]);
            slacks[axis] = Some(slack(&sums, &layouts[axis], &terms));
        }
    }
    let (axes, residuals) =
        problem.settle(&layouts, [None; 2], &terms, &mut used, &mut scatter, options.clip).ok_or_else(undetermined)?;
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
