//! Orders that share coefficients: their basis in order number, phase and slit position, and the map of each of them.

use super::basis::Term;
use super::fit::{AxisReport, OrderCovariance, Point};
use super::map::{GeometryMap, MAX_WAVE, OrderMap, SLIT_UNIT};
use super::problem::AxisFit;
use crate::numerics::chebyshev;

/// Orders that share coefficients, and the arguments of the polynomials.
#[derive(Clone, Debug)]
pub(super) struct Family {
    pub(super) orders: Vec<u8>,
    /// Middle and half range of the order number; half range 0 for a single order.
    pub(super) number: (f64, f64),
    /// Middle and half range of the phase: order times wavelength, or the wavelength.
    pub(super) phase: (f64, f64),
    pub(super) echelle: bool,
}

impl Family {
    pub(super) fn single(map: &OrderMap) -> Family {
        let [a, b] = map.domain;
        Family { orders: vec![map.order], number: (0.0, 0.0), phase: (0.5 * (a + b), 0.5 * (b - a)), echelle: false }
    }

    pub(super) fn echelle(maps: &[OrderMap]) -> Family {
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

    pub(super) fn row(&self, point: &Point, terms: &[Term]) -> Vec<f64> {
        let (n, u) = self.arguments(point.order, point.wavelength);
        let (mut tn, mut tu, mut ts) = ([0.0; MAX_WAVE], [0.0; MAX_WAVE], [0.0; MAX_WAVE]);
        chebyshev::values(n, &mut tn);
        chebyshev::values(u, &mut tu);
        chebyshev::values(point.slit / SLIT_UNIT, &mut ts);
        terms.iter().map(|(i, j, k)| tn[*i] * tu[*j] * ts[*k]).collect()
    }

    /// The map of each order from the coefficients of the family.
    pub(super) fn collapse(&self, guess: &GeometryMap, fit: &FamilyFit) -> Vec<(OrderMap, OrderCovariance)> {
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

/// The fit of a family, both axes.
pub(super) struct FamilyFit {
    pub(super) index: Vec<usize>,
    pub(super) used: Vec<bool>,
    pub(super) residuals: [Vec<f64>; 2],
    pub(super) terms: Vec<Term>,
    pub(super) axes: [AxisFit; 2],
    pub(super) reports: [AxisReport; 2],
}
