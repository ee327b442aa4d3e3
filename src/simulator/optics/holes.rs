//! Lines through pinholes: each one an image of a round hole, blurred by the optics, integrated over pixels.

use std::f64::consts::FRAC_1_SQRT_2;

use crate::instrument::OrderFormat;
use crate::simulator::math;

use super::render::Band;
use super::shape::{Entrance, Shape};
use super::spread::{TAIL, hole_weight};
use super::view::View;
use super::{FWHM_OF_SIGMA, Focus};

/// Points on the unit disc, across and along, with equal accuracy to the disc's own integrals up to the fifth power,
/// and their weights: the centre has a quarter, six points at the square root of two thirds share the rest.
const DISC: [(f64, f64, f64); 7] = [
    (0.0, 0.0, 0.25),
    (0.816_496_580_927_726, 0.0, 0.125),
    (-0.816_496_580_927_726, 0.0, 0.125),
    (0.408_248_290_463_863, FRAC_1_SQRT_2, 0.125),
    (0.408_248_290_463_863, -FRAC_1_SQRT_2, 0.125),
    (-0.408_248_290_463_863, FRAC_1_SQRT_2, 0.125),
    (-0.408_248_290_463_863, -FRAC_1_SQRT_2, 0.125),
];

/// Draw lines (wavelength, electrons per second from a surface of one square arcsecond or a whole source) through all
/// holes.
pub(super) fn draw(
    view: &View,
    focus: &Focus,
    entrance: &Entrance,
    shape: &Shape,
    order: &OrderFormat,
    lines: &[(f64, f64)],
    band: &mut Band,
) {
    let Entrance::Pinholes { along: holes, across, diameter } = entrance else { return };
    let slit_length = view.format().slit_length();
    let radius = 0.5 * diameter;
    let (mut columns, mut rows) = (Vec::new(), Vec::new());
    for &(wavelength, electrons) in lines {
        for &hole in holes {
            let electrons = electrons * hole_weight(entrance, shape, hole, slit_length, wavelength);
            let place = view.place(order, wavelength, hole);
            let (x, y) = view.pixel(place.along, place.beside);
            let sigma = focus.fwhm(view.format().arm(), x, y) / FWHM_OF_SIGMA;
            // One arcsecond across the slit: along the trace, towards longer wavelengths.
            let along_dx = view.across() * place.along_dw.signum();
            let beside_dx = view.across() * place.beside_dw / place.along_dw.abs();
            let centre = (place.along + across * along_dx, place.beside + across * beside_dx);
            let half = (radius * along_dx.abs().max(place.beside_ds.abs()) + TAIL * sigma).ceil() as i64 + 1;
            let corner = (centre.0.round() as i64 - half, centre.1.round() as i64 - half);
            let size = 2 * half as usize + 1;
            for (u, v, weight) in DISC {
                let (u, v) = (u * radius, v * radius);
                let at_along = centre.0 + u * along_dx + v * place.along_ds - corner.0 as f64;
                let at_beside = centre.1 + u * beside_dx + v * place.beside_ds - corner.1 as f64;
                shares(&mut columns, at_along, sigma, size);
                shares(&mut rows, at_beside, sigma, size);
                band.stamp(corner, &columns, &rows, electrons * weight);
            }
        }
    }
}

/// The share of a Gaussian at `centre` that falls into each of `size` pixels.
fn shares(target: &mut Vec<f64>, centre: f64, sigma: f64, size: usize) {
    let edge = |pixel: f64| math::erf((pixel - 0.5 - centre) / (sigma * std::f64::consts::SQRT_2));
    target.clear();
    let mut left = edge(0.0);
    for pixel in 1..=size {
        let right = edge(pixel as f64);
        target.push(0.5 * (right - left));
        left = right;
    }
}

impl Band {
    /// Add the product of shares along and beside the dispersion, from the pixel `corner`; what falls outside is
    /// lost.
    fn stamp(&mut self, corner: (i64, i64), along: &[f64], beside: &[f64], electrons: f64) {
        for (share, pixel) in along.iter().zip(corner.0..) {
            let Some((pixel, &first)) =
                usize::try_from(pixel).ok().and_then(|pixel| Some((pixel, self.first.get(pixel)?)))
            else {
                continue;
            };
            let row = &mut self.pixels[pixel * self.width..(pixel + 1) * self.width];
            for (other, at) in beside.iter().zip(corner.1 - first..) {
                if let Some(value) = usize::try_from(at).ok().and_then(|at| row.get_mut(at)) {
                    *value += electrons * share * other;
                }
            }
        }
    }
}
