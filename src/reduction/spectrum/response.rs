//! The response: magnitudes between the density of electrons and the flux of a star above the atmosphere.
//!
//! `S = 2.5 log10(n 10^(0.4 k X) / F)` with `n` the electrons per second and nm over the lamp's light in the order, `F` the flux
//! density in erg/s/cm2/Angstrom. A density knows neither dispersion nor binning, and the lamp's light takes the blaze out, so
//! that `S` is smooth: one smooth curve of the arm, a constant of each order and what little an order deviates. All three are
//! fitted at once with penalties on their bends, so that an order whose light the air takes is held by its neighbours.

use super::density::OrderDensity;
use super::extinction;
use super::lines::{in_stellar_core, is_absorbed};
use super::standards::Standard;
use crate::numerics::least_squares::{Fitted, NormalSums};
use crate::numerics::robust::{MAD_TO_SIGMA, median_f64};
use crate::reduction::flat::spline::Basis;

/// Magnitudes of a natural logarithm.
pub const MAGNITUDES: f64 = 1.085_736_204_758_129_6;
/// Samples of the detector that make one point of the fit.
const BLOCK: usize = 8;
/// Intervals of the curve of the arm, and of what an order deviates from it.
const INTERVALS: (usize, usize) = (24, 8);
/// Expected bend of the curve of the arm, in those of a lamp's spectrum at [`LAMP`]; of an order, magnitudes; and expected
/// deviation of an order, magnitudes.
const BENDS: (f64, f64, f64) = (2.0, 0.01, 0.03);
/// Second radiation constant over the temperature of the flat-field lamp, nm: 3000 K.
const LAMP: f64 = 1.4388e7 / 3000.0;
/// Scatter of the ratio of two orders in a point, magnitudes: blocks of samples cut the lines of the air differently.
const OVERLAP: f64 = 0.02;
/// Points this many sigmas below the curve are absorption, and this many above are not light of the star.
const CLIP: (f64, f64) = (2.5, 4.0);
/// Scatter that a point may always have, magnitudes.
const SCATTER: f64 = 0.006;
/// Rounds of rejection.
const ROUNDS: usize = 12;
/// Distance of the samples of a stored curve, nm.
const SAMPLING: f64 = 0.5;
/// Largest velocity of a star that is believed, km/s, and the significance that it needs, sigmas.
const VELOCITY: (f64, f64) = (400.0, 4.0);
/// Bands of this mean depth are not fitted, with this margin, nm.
const BAND: (f64, f64) = (0.03, 1.5);
/// Half width of the cores of stellar lines that are not fitted, nm.
const CORE: f64 = 1.5;
/// Fewest points of an order that give it a response.
const FEWEST: usize = 6;

/// The response in one order, on even samples.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderResponse {
    /// Order.
    pub order: u8,
    /// Wavelength, nm, increasing; first and last bound the range in which it holds.
    pub wavelength: Vec<f64>,
    /// Response, magnitudes.
    pub magnitude: Vec<f64>,
    /// Its standard error, magnitudes.
    pub error: Vec<f64>,
}

impl OrderResponse {
    /// Response and its error at a wavelength; `None` outside of the range in which it holds.
    pub fn at(&self, wavelength: f64) -> Option<[f64; 2]> {
        let (first, last) = (*self.wavelength.first()?, *self.wavelength.last()?);
        if !(first..=last).contains(&wavelength) {
            return None;
        }
        let above = self.wavelength.partition_point(|w| *w <= wavelength).clamp(1, self.wavelength.len() - 1);
        let below = above - 1;
        let t = (wavelength - self.wavelength[below]) / (self.wavelength[above] - self.wavelength[below]);
        let between = |values: &[f64]| Some(values.get(below)? * (1.0 - t) + values.get(above)? * t);
        Some([between(&self.magnitude)?, between(&self.error)?])
    }
}

/// Where a response comes from, and what must fit where it is used.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Origin {
    /// Arm: `VIS`.
    pub arm: String,
    /// Stars, joined by commas.
    pub star: String,
    /// Slit: `SLIT5.0`.
    pub slit: String,
    /// Unbinned pixels per row and per column.
    pub binning: [usize; 2],
    /// Exposure time, s.
    pub exptime: f64,
    /// Mean airmass.
    pub airmass: f64,
    /// Seeing, arcsec; NaN when unknown.
    pub seeing: f64,
    /// Start of the exposure, modified Julian date.
    pub mjd: f64,
    /// Part of the star's light that the slit let through, after its width along the slit; NaN when unknown. It is not
    /// corrected for.
    pub transmitted: f64,
    /// Radial velocity that was found for the star, km/s.
    pub velocity: f64,
    /// Number of standards.
    pub stars: usize,
}

/// A response of all orders of an arm.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// Where it comes from.
    pub origin: Origin,
    /// Orders.
    pub orders: Vec<OrderResponse>,
    /// Robust scatter of the star about it, magnitudes.
    pub scatter: f64,
    /// Part of the points that were left out.
    pub rejected: f64,
}

impl Response {
    /// The response of an order.
    pub fn order(&self, order: u8) -> Option<&OrderResponse> {
        self.orders.iter().find(|found| found.order == order)
    }
}

/// Why there is no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// No order has enough of the star's light.
    #[error("no order has {FEWEST} points with light of the star and a blaze")]
    TooFaint,
    /// The fit has no solution.
    #[error("the points do not determine a smooth response")]
    Undetermined,
}

/// One point of the fit.
#[derive(Clone, Copy, Debug)]
struct Point {
    /// Index of the order among those fitted.
    order: usize,
    wavelength: f64,
    magnitude: f64,
    sigma: f64,
    used: bool,
    /// Neither band nor core.
    free: bool,
}

/// Fit the response to the orders of a standard, in electrons per second and nm over the blaze. `fwhm` is the width of the
/// spectrograph's line for the star, km/s; `floor` the systematic error, magnitudes, that is always there.
pub fn fit(
    orders: &[OrderDensity],
    star: &Standard,
    origin: Origin,
    fwhm: f64,
    floor: f64,
) -> Result<Response, ResponseError> {
    let lit: Vec<(&OrderDensity, [f64; 2])> = orders.iter().filter_map(|order| Some((order, order.range()?))).collect();
    let ranges: Vec<[f64; 2]> = lit.iter().map(|(_, range)| *range).collect();
    let mut origin = Origin { star: star.name.clone(), stars: 1, velocity: 0.0, ..origin };
    let model = Model::new(&ranges).ok_or(ResponseError::TooFaint)?;
    let mut fitted = None;
    for _ in 0..3 {
        let mut points = points(&lit, star, &origin, fwhm);
        let counts: Vec<usize> =
            (0..lit.len()).map(|k| points.iter().filter(|point| point.order == k).count()).collect();
        if counts.iter().all(|count| *count < FEWEST) {
            return Err(ResponseError::TooFaint);
        }
        let found = settle(&model, &mut points).ok_or(ResponseError::Undetermined)?;
        let change = velocity(&points, &model, &found, star, &origin, fwhm);
        fitted = Some((points, found, counts));
        match change {
            Some(change) if (origin.velocity + change).abs() <= VELOCITY.0 => origin.velocity += change,
            _ => break,
        }
    }
    let (points, found, counts) = fitted.ok_or(ResponseError::Undetermined)?;
    let mut deviations: Vec<f64> = points
        .iter()
        .filter(|point| point.used)
        .map(|point| (point.magnitude - model.value(&found, point.order, point.wavelength)).abs())
        .collect();
    let kept = deviations.len() as f64 / points.len().max(1) as f64;
    let scatter = median_f64(&mut deviations).map_or(f64::NAN, |median| MAD_TO_SIGMA * median);
    let reduced = reduced_chi_square(&model, &points, &found).max(1.0);
    let curves = lit.iter().enumerate().filter(|(k, _)| counts[*k] >= FEWEST);
    let orders = curves
        .map(|(k, (order, range))| {
            let n = ((range[1] - range[0]) / SAMPLING).ceil().max(1.0) as usize;
            let wavelength: Vec<f64> =
                (0..=n).map(|j| range[0] + (range[1] - range[0]) * j as f64 / n as f64).collect();
            OrderResponse {
                order: order.order,
                magnitude: wavelength.iter().map(|w| model.value(&found, k, *w)).collect(),
                error: wavelength
                    .iter()
                    .map(|w| (reduced * model.variance(&found, k, *w)).sqrt().hypot(floor))
                    .collect(),
                wavelength,
            }
        })
        .collect();
    Ok(Response { origin, orders, scatter, rejected: 1.0 - kept })
}

/// Densities of the star to points: ratios of sums over blocks of samples, so that the logarithm of a noisy sample has no say.
fn points(orders: &[(&OrderDensity, [f64; 2])], star: &Standard, origin: &Origin, fwhm: f64) -> Vec<Point> {
    let mut points = Vec::new();
    for (k, (order, _)) in orders.iter().enumerate() {
        for start in (0..order.wavelength.len()).step_by(BLOCK) {
            let samples = (start..(start + BLOCK).min(order.wavelength.len())).filter(|i| order.flags[*i] == 0);
            let (mut light, mut variance, mut flux, mut place, mut n) = (0.0, 0.0, 0.0, 0.0, 0usize);
            for i in samples {
                let wavelength = order.wavelength[i];
                light += order.flux[i];
                variance += order.variance[i];
                flux += star.flux(wavelength, fwhm, origin.velocity)
                    * 10f64.powf(-0.4 * extinction::magnitudes(wavelength) * origin.airmass);
                place += wavelength;
                n += 1;
            }
            if 2 * n < BLOCK || light < 3.0 * variance.sqrt() || flux <= 0.0 {
                continue;
            }
            let wavelength = place / n as f64;
            points.push(Point {
                order: k,
                wavelength,
                magnitude: 2.5 * (light / flux).log10(),
                sigma: (MAGNITUDES * variance.sqrt() / light).hypot(SCATTER),
                used: true,
                free: !is_absorbed(wavelength, BAND.0, BAND.1) && !in_stellar_core(wavelength, CORE),
            });
        }
    }
    points
}

/// Fit with rejection until the points used no longer change.
fn settle(model: &Model, points: &mut [Point]) -> Option<Fitted> {
    points.iter_mut().for_each(|point| point.used = point.free);
    let mut overlaps = model.overlaps(points);
    let mut fitted = model.fit(points, &overlaps)?;
    for _ in 0..ROUNDS {
        let deviation = |point: &Point| point.magnitude - model.value(&fitted, point.order, point.wavelength);
        // what the air takes lies below the curve: the side above tells the scatter
        let mut sizes: Vec<f64> = points
            .iter()
            .filter(|point| point.used)
            .map(|point| deviation(point) / point.sigma)
            .filter(|size| *size > 0.0)
            .collect();
        let scale = (MAD_TO_SIGMA * median_f64(&mut sizes)?).max(1.0);
        let hit: Vec<bool> = points
            .iter()
            .map(|point| {
                let sigmas = deviation(point) / (scale * point.sigma);
                !point.free || sigmas < -CLIP.0 || sigmas > CLIP.1
            })
            .collect();
        let mut changed = false;
        for k in 0..points.len() {
            // absorption has wings: the neighbours of two hits in a row go with them
            let near = |j: Option<usize>| j.and_then(|j| hit.get(j)).copied().unwrap_or(false);
            let wing = near(k.checked_sub(1)) && near(Some(k + 1));
            let used = !(hit[k] || wing);
            changed |= used != points[k].used;
            points[k].used = used;
        }
        overlaps.retain(|(row, difference, sigma)| {
            let expected: f64 = row.iter().map(|(k, v)| fitted.coefficients[*k] * v).sum();
            (difference - expected).abs() < CLIP.1 * sigma
        });
        fitted = model.fit(points, &overlaps)?;
        if !changed {
            break;
        }
    }
    Some(fitted)
}

fn reduced_chi_square(model: &Model, points: &[Point], fitted: &Fitted) -> f64 {
    let used = points.iter().filter(|point| point.used);
    let (sum, n) = used.fold((0.0, 0.0), |(sum, n), point| {
        let deviation = (point.magnitude - model.value(fitted, point.order, point.wavelength)) / point.sigma;
        (sum + deviation * deviation, n + 1.0)
    });
    if n > 0.0 { sum / n } else { 1.0 }
}

/// How much faster (km/s) the star recedes than assumed, from the slopes of its lines; `None` when that is not
/// significant.
fn velocity(
    points: &[Point],
    model: &Model,
    fitted: &Fitted,
    star: &Standard,
    origin: &Origin,
    fwhm: f64,
) -> Option<f64> {
    let (step, mut up, mut down) = (50.0, 0.0, 0.0);
    for point in points.iter().filter(|point| !is_absorbed(point.wavelength, BAND.0, BAND.1)) {
        let deviation = point.magnitude - model.value(fitted, point.order, point.wavelength);
        if deviation.abs() > 0.3 {
            continue;
        }
        let flux = |velocity: f64| star.flux(point.wavelength, fwhm, origin.velocity + velocity);
        let slope = 2.5 * (flux(step) / flux(-step)).log10() / (2.0 * step);
        let weight = 1.0 / (point.sigma * point.sigma);
        up += weight * slope * deviation;
        down += weight * slope * slope;
    }
    let change = up / down;
    (down > 0.0 && change.abs() > VELOCITY.1 / down.sqrt() && change.abs() > 3.0).then_some(change)
}

/// A row of the problem that compares two orders, the difference found and its error.
type Overlap = (Vec<(usize, f64)>, f64, f64);

/// The smooth model: the curve of the arm over the logarithm of the wavelength, and a constant and a curve for each order.
struct Model {
    /// Range of the arm, logarithms of nm.
    range: [f64; 2],
    arm: Basis,
    orders: Vec<Basis>,
}

impl Model {
    fn new(ranges: &[[f64; 2]]) -> Option<Model> {
        let low = ranges.iter().map(|range| range[0]).fold(f64::INFINITY, f64::min);
        let high = ranges.iter().map(|range| range[1]).fold(0.0, f64::max);
        let even = |from: f64, to: f64, n: usize| -> Option<Basis> {
            let breaks: Vec<f64> = (0..=n).map(|k| from + (to - from) * k as f64 / n as f64).collect();
            Basis::new(&breaks)
        };
        let orders =
            ranges.iter().map(|range| even(range[0].ln(), range[1].ln(), INTERVALS.1)).collect::<Option<_>>()?;
        Some(Model { range: [low.ln(), high.ln()], arm: even(low.ln(), high.ln(), INTERVALS.0)?, orders })
    }

    /// Columns of the arm's curve, then for each order its constant and its curve.
    fn start(&self, order: usize) -> usize {
        self.arm.len() + order * (1 + INTERVALS.1 + 3)
    }

    fn size(&self) -> usize {
        self.start(self.orders.len())
    }

    fn row(&self, order: usize, wavelength: f64) -> Vec<(usize, f64)> {
        let x = wavelength.ln();
        let (first, values) = self.arm.at(x);
        let mut row: Vec<(usize, f64)> = values.iter().enumerate().map(|(k, v)| (first + k, *v)).collect();
        let start = self.start(order);
        row.push((start, 1.0));
        if let Some(basis) = self.orders.get(order) {
            let (first, values) = basis.at(x);
            row.extend(values.iter().enumerate().map(|(k, v)| (start + 1 + first + k, *v)));
        }
        row
    }

    /// What two orders that see the same wavelength say of each other, whatever the air or the star does there: a row of
    /// the problem, the difference and its error.
    fn overlaps(&self, points: &[Point]) -> Vec<Overlap> {
        let mut rows = Vec::new();
        for pair in points.windows(2) {
            let [a, b] = pair else { continue };
            let gap = b.wavelength - a.wavelength;
            if a.order != b.order || gap > 4.0 * BLOCK as f64 * 0.1 {
                continue;
            }
            let inside =
                |other: &&Point| other.order > a.order && (a.wavelength..b.wavelength).contains(&other.wavelength);
            for other in points.iter().filter(inside) {
                let t = (other.wavelength - a.wavelength) / gap;
                let here = a.magnitude * (1.0 - t) + b.magnitude * t;
                let mut row = self.row(a.order, other.wavelength);
                row.extend(self.row(other.order, other.wavelength).into_iter().map(|(k, v)| (k, -v)));
                rows.push((row, here - other.magnitude, a.sigma.max(b.sigma).hypot(other.sigma).hypot(OVERLAP)));
            }
        }
        rows
    }

    fn fit(&self, points: &[Point], overlaps: &[Overlap]) -> Option<Fitted> {
        let size = self.size();
        let mut sums = NormalSums::new(size);
        let mut row = vec![0.0; size];
        let mut add = |parts: &[(usize, f64)], value: f64, sigma: f64| {
            parts.iter().for_each(|(k, v)| row[*k] += v / sigma);
            sums.add(&row, value / sigma);
            parts.iter().for_each(|(k, _)| row[*k] = 0.0);
        };
        for point in points.iter().filter(|point| point.used) {
            add(&self.row(point.order, point.wavelength), point.magnitude, point.sigma);
        }
        for (row, difference, sigma) in overlaps {
            add(row, *difference, *sigma);
        }
        let mut bend = |k: usize, sigma: f64| add(&[(k - 1, 1.0), (k, -2.0), (k + 1, 1.0)], 0.0, sigma);
        // the curve is the spectrum of the lamp: d2 m / d(ln w)2 of a black body falls with the wavelength
        let step = (self.range[1] - self.range[0]) / INTERVALS.0 as f64;
        for k in 1..self.arm.len() - 1 {
            let wavelength = (self.range[0] + (k as f64 - 1.0) * step).exp();
            bend(k, BENDS.0 * MAGNITUDES * LAMP / wavelength * step * step);
        }
        for (order, basis) in self.orders.iter().enumerate() {
            (1..basis.len() - 1).for_each(|k| bend(self.start(order) + 1 + k, BENDS.1));
        }
        for (order, basis) in self.orders.iter().enumerate() {
            (0..basis.len()).for_each(|k| add(&[(self.start(order) + 1 + k, 1.0)], 0.0, BENDS.2));
            // the constants and the arm's level share one freedom: a faint pull takes it away
            add(&[(self.start(order), 1.0)], 0.0, 30.0);
        }
        sums.solve()
    }

    fn value(&self, fitted: &Fitted, order: usize, wavelength: f64) -> f64 {
        self.row(order, wavelength).iter().map(|(k, v)| fitted.coefficients[*k] * v).sum()
    }

    fn variance(&self, fitted: &Fitted, order: usize, wavelength: f64) -> f64 {
        let mut row = vec![0.0; self.size()];
        self.row(order, wavelength).iter().for_each(|(k, v)| row[*k] += v);
        fitted.factor.variance(&mut row)
    }
}

/// One response of several standards of one arm and slit: the mean shape, and the median of their levels. Its error holds how
/// the levels scatter. `None` for none, or when they do not belong together.
pub fn combine(responses: &[Response]) -> Option<Response> {
    let first = responses.first()?;
    let fits = |other: &Response| other.origin.arm == first.origin.arm && other.origin.slit == first.origin.slit;
    if responses.len() == 1 || !responses.iter().all(fits) {
        return (responses.len() == 1).then(|| first.clone());
    }
    let levels: Vec<f64> = responses.iter().map(|other| level(first, other)).collect::<Option<_>>()?;
    let middle = median_f64(&mut levels.clone())?;
    let n = responses.len() as f64;
    let spread = (levels.iter().map(|level| (level - middle).powi(2)).sum::<f64>() / (n - 1.0) / n).sqrt();
    let orders = first.orders.iter().map(|order| {
        let (mut magnitude, mut error) = (Vec::new(), Vec::new());
        for wavelength in &order.wavelength {
            let here: Vec<([f64; 2], f64)> = responses
                .iter()
                .zip(&levels)
                .filter_map(|(response, level)| Some((response.order(order.order)?.at(*wavelength)?, *level)))
                .collect();
            let count = here.len() as f64;
            magnitude.push(middle + here.iter().map(|([value, _], level)| value - level).sum::<f64>() / count);
            let variance = here.iter().map(|([_, error], _)| error * error).sum::<f64>() / (count * count);
            error.push(variance.sqrt().hypot(spread));
        }
        OrderResponse { order: order.order, wavelength: order.wavelength.clone(), magnitude, error }
    });
    let names: Vec<&str> = responses.iter().map(|response| response.origin.star.as_str()).collect();
    Some(Response {
        orders: orders.collect(),
        origin: Origin { star: names.join(","), stars: responses.len(), ..first.origin.clone() },
        scatter: responses.iter().map(|response| response.scatter).sum::<f64>() / n,
        rejected: responses.iter().map(|response| response.rejected).sum::<f64>() / n,
    })
}

/// Median difference of the second response from the first.
fn level(first: &Response, other: &Response) -> Option<f64> {
    let mut differences: Vec<f64> = Vec::new();
    for order in &first.orders {
        let Some(partner) = other.order(order.order) else { continue };
        let pairs = order.wavelength.iter().zip(&order.magnitude);
        differences.extend(pairs.filter_map(|(w, value)| Some(partner.at(*w)?[0] - value)));
    }
    median_f64(&mut differences)
}
