//! Wavelength, slit position, order and error of the wavelength for every pixel of the detector.

use ndarray::Array2;
use rayon::prelude::*;

use super::fit::{OrderCovariance, variances};
use super::map::{GeometryMap, OrderMap};

/// The planes, rows x columns; NaN (order 0) outside of the orders.
#[derive(Clone, Debug, PartialEq)]
pub struct Planes {
    /// Wavelength in air at the pixel's centre, nm.
    pub wavelength: Array2<f32>,
    /// Slit position, arcsec.
    pub slit: Array2<f32>,
    /// Order number.
    pub order: Array2<f32>,
    /// Standard error of the wavelength, nm.
    pub error: Array2<f32>,
}

/// Nodes along the wavelength and along the slit between which errors are interpolated.
const NODES: (usize, usize) = (65, 7);

/// Make the planes of a detector of this shape (rows, columns). Pixels whose slit position lies beyond `half_slit` arcsec
/// or whose wavelength lies outside the order's limits, widened by the fraction `beyond` of their distance, are left out.
/// `covariance` has one entry per order of the map.
pub fn planes(
    map: &GeometryMap,
    covariance: &[OrderCovariance],
    shape: (usize, usize),
    half_slit: f64,
    beyond: f64,
) -> Planes {
    let (rows, columns) = shape;
    let orders: Vec<OrderArea> = map
        .orders
        .par_iter()
        .zip(covariance)
        .map(|(map, errors)| OrderArea::new(map, errors, shape, half_slit, beyond))
        .collect();
    let blank = || Array2::<f32>::from_elem(shape, f32::NAN);
    let mut out = Planes { wavelength: blank(), slit: blank(), order: Array2::zeros(shape), error: blank() };
    let chunk = columns.max(1);
    if let (Some(w), Some(s), Some(o), Some(e)) =
        (out.wavelength.as_slice_mut(), out.slit.as_slice_mut(), out.order.as_slice_mut(), out.error.as_slice_mut())
    {
        w.par_chunks_mut(chunk)
            .zip(s.par_chunks_mut(chunk))
            .zip(o.par_chunks_mut(chunk).zip(e.par_chunks_mut(chunk)))
            .enumerate()
            .for_each(|(row, ((w, s), (o, e)))| {
                for area in &orders {
                    area.fill(row, w, s, o, e);
                }
            });
    }
    debug_assert_eq!(out.wavelength.dim(), (rows, columns));
    out
}

/// Where an order lies, and its errors on a grid.
struct OrderArea<'a> {
    map: &'a OrderMap,
    /// For each row: first and last column that can belong to the order.
    spans: Vec<Option<(usize, usize)>>,
    limits: [f64; 2],
    half_slit: f64,
    errors: Vec<f64>,
}

impl<'a> OrderArea<'a> {
    fn new(
        map: &'a OrderMap,
        covariance: &OrderCovariance,
        (rows, columns): (usize, usize),
        half_slit: f64,
        beyond: f64,
    ) -> OrderArea<'a> {
        let [a, b] = map.limits;
        let limits = [a - beyond * (b - a), b + beyond * (b - a)];
        let mut spans: Vec<Option<(usize, usize)>> = vec![None; rows];
        // the outline of the order, sampled densely along the wavelength
        let samples = 4 * rows.max(columns);
        let mut before: Option<[(f64, f64); 2]> = None;
        for i in 0..=samples {
            let wavelength = limits[0] + (limits[1] - limits[0]) * i as f64 / samples as f64;
            let ends = [map.at(wavelength, -half_slit), map.at(wavelength, half_slit)];
            let all: Vec<(f64, f64)> = before.iter().flatten().chain(&ends).copied().collect();
            let low = all.iter().map(|p| p.1).fold(f64::INFINITY, f64::min) - 1.0;
            let high = all.iter().map(|p| p.1).fold(f64::NEG_INFINITY, f64::max) + 1.0;
            let left = all.iter().map(|p| p.0).fold(f64::INFINITY, f64::min) - 1.0;
            let right = all.iter().map(|p| p.0).fold(f64::NEG_INFINITY, f64::max) + 1.0;
            before = Some(ends);
            if high < 0.0 || low > rows as f64 || right < 0.0 || left > columns as f64 {
                continue;
            }
            let (first, last) = (left.max(0.0) as usize, (right.max(0.0) as usize).min(columns.saturating_sub(1)));
            for span in spans.iter_mut().take(high.max(0.0) as usize + 1).skip(low.max(0.0) as usize) {
                let span = span.get_or_insert((first, last));
                *span = (span.0.min(first), span.1.max(last));
            }
        }
        let errors = error_grid(map, covariance, limits, half_slit);
        OrderArea { map, spans, limits, half_slit, errors }
    }

    fn fill(&self, row: usize, w: &mut [f32], s: &mut [f32], o: &mut [f32], e: &mut [f32]) {
        let Some((first, last)) = self.spans.get(row).copied().flatten() else { return };
        let y = row as f64;
        let middle = (0.5 * (self.limits[0] + self.limits[1]), 0.0);
        let mut before: [Option<(f64, f64)>; 2] = [None; 2];
        for column in first..=last.min(w.len().saturating_sub(1)) {
            let x = column as f64;
            // two neighbours tell where the next one is, to a step of Newton's; without any, look along the order
            let from = match before {
                [Some((w, s)), Some((w2, s2))] => (2.0 * w - w2, 2.0 * s - s2),
                [Some(neighbour), None] => neighbour,
                _ => self.nearest(x, y).unwrap_or(middle),
            };
            let Some((wavelength, slit)) = self.map.invert(x, y, from) else {
                before = [None; 2];
                continue;
            };
            before = [Some((wavelength, slit)), before[0]];
            let inside = slit.abs() <= self.half_slit && (self.limits[0]..=self.limits[1]).contains(&wavelength);
            if inside {
                w[column] = wavelength as f32;
                s[column] = slit as f32;
                o[column] = f32::from(self.map.order);
                e[column] = self.error(wavelength, slit) as f32;
            }
        }
    }

    /// A coarse search for the wavelength of a place.
    fn nearest(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        let step = (self.limits[1] - self.limits[0]) / 32.0;
        (0..=32)
            .map(|i| self.limits[0] + step * f64::from(i))
            .map(|wavelength| {
                let (a, b) = self.map.at(wavelength, 0.0);
                ((a - x).hypot(b - y), wavelength)
            })
            .min_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, wavelength)| (wavelength, 0.0))
    }

    /// The error of the wavelength, interpolated between nodes.
    fn error(&self, wavelength: f64, slit: f64) -> f64 {
        let position = |value: f64, low: f64, high: f64, nodes: usize| {
            let p = ((value - low) / (high - low) * (nodes - 1) as f64).clamp(0.0, (nodes - 1) as f64);
            let i = (p as usize).min(nodes - 2);
            (i, p - i as f64)
        };
        let (i, u) = position(wavelength, self.limits[0], self.limits[1], NODES.0);
        let (j, v) = position(slit, -self.half_slit, self.half_slit, NODES.1);
        let at = |i: usize, j: usize| self.errors[i * NODES.1 + j];
        (1.0 - u) * ((1.0 - v) * at(i, j) + v * at(i, j + 1)) + u * ((1.0 - v) * at(i + 1, j) + v * at(i + 1, j + 1))
    }
}

/// Standard error of the wavelength at the nodes.
fn error_grid(map: &OrderMap, covariance: &OrderCovariance, limits: [f64; 2], half_slit: f64) -> Vec<f64> {
    let mut errors = Vec::with_capacity(NODES.0 * NODES.1);
    for i in 0..NODES.0 {
        for j in 0..NODES.1 {
            let wavelength = limits[0] + (limits[1] - limits[0]) * i as f64 / (NODES.0 - 1) as f64;
            let slit = half_slit * (2.0 * j as f64 / (NODES.1 - 1) as f64 - 1.0);
            errors.push(wavelength_error(map, covariance, wavelength, slit));
        }
    }
    errors
}

/// Standard error of the wavelength (nm) of the pixel at which a wavelength and slit position falls.
pub fn wavelength_error(map: &OrderMap, covariance: &OrderCovariance, wavelength: f64, slit: f64) -> f64 {
    let [vx, vy] = variances(map, covariance, wavelength, slit);
    let place = map.place(wavelength, slit);
    // a step of one pixel in x and in y, as wavelength
    let by_x = place.step(1.0, 0.0).map_or(f64::NAN, |step| step.0);
    let by_y = place.step(0.0, 1.0).map_or(f64::NAN, |step| step.0);
    (by_x * by_x * vx.max(0.0) + by_y * by_y * vy.max(0.0)).sqrt()
}
