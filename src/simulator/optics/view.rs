//! The geometry as it is on one frame: the published format, seen through flexure and what else we assume.

use crate::instrument::format::{Axis, newton};
use crate::instrument::{Arm, OrderFormat, Position, SpectralFormat};
use crate::simulator::math;

use super::{Distortion, Flexure};

/// Samples of a [`Grid`] per pixel.
pub const SAMPLES: usize = 16;
/// Pixels by which a [`Grid`] exceeds the detector at both ends, so that tilted and blurred light from there is not
/// missed.
const MARGIN: f64 = 40.0;

/// The geometry of one arm on one frame.
#[derive(Clone, Debug)]
pub struct View {
    format: &'static SpectralFormat,
    /// Rotation and scale: the derivatives of the position on the frame by the published one.
    matrix: [[f64; 2]; 2],
    shift: [f64; 2],
    centre: [f64; 2],
    distortion: Distortion,
}

impl View {
    /// The published format of an arm, displaced by flexure and distorted.
    pub fn new(arm: Arm, flexure: &Flexure, distortion: &Distortion) -> View {
        let format = SpectralFormat::of(arm);
        let (rows, columns) = format.shape();
        let (sin, cos) = math::sin_cos(flexure.rotation * std::f64::consts::PI / 180.0);
        let scale = 1.0 + flexure.scale;
        View {
            format,
            matrix: [[scale * cos, -scale * sin], [scale * sin, scale * cos]],
            shift: flexure.shift,
            centre: [0.5 * (columns as f64 - 1.0), 0.5 * (rows as f64 - 1.0)],
            distortion: distortion.clone(),
        }
    }

    /// The published format behind it.
    pub fn format(&self) -> &'static SpectralFormat {
        self.format
    }

    /// Pixels per arcsecond across the slit, along the dispersion. Light that enters the slit on the positive side is
    /// displaced towards longer wavelengths.
    pub fn across(&self) -> f64 {
        self.distortion.across
    }

    /// Where light of a wavelength (nm) and a slit position (arcsec) falls.
    pub fn position(&self, order: &OrderFormat, wavelength: f64, slit: f64) -> Position {
        let mut p = order.position(wavelength, slit);
        if self.distortion.tilt_change != 0.0 {
            // The tilt is the part of the slit's image along the dispersion. It changes linearly along the order.
            let [blue, red] = order.wavelengths();
            let per_nm = 2.0 * self.distortion.tilt_change / (red - blue);
            let factor = per_nm * (wavelength - f64::midpoint(blue, red));
            match self.format.dispersion() {
                Axis::X => {
                    let tilt = p.dx_ds;
                    p.x += factor * tilt * slit;
                    p.dx_ds += factor * tilt;
                    p.dx_dw += per_nm * tilt * slit;
                }
                Axis::Y => {
                    let tilt = p.dy_ds;
                    p.y += factor * tilt * slit;
                    p.dy_ds += factor * tilt;
                    p.dy_dw += per_nm * tilt * slit;
                }
            }
        }
        let moved = self.distortion.order_shifts.iter().find(|moved| moved.order == order.number());
        let own = moved.map(|moved| moved.shift).unwrap_or_default();
        let turn = |x: f64, y: f64| {
            (self.matrix[0][0] * x + self.matrix[0][1] * y, self.matrix[1][0] * x + self.matrix[1][1] * y)
        };
        let (x, y) = turn(p.x - self.centre[0], p.y - self.centre[1]);
        let (dx_dw, dy_dw) = turn(p.dx_dw, p.dy_dw);
        let (dx_ds, dy_ds) = turn(p.dx_ds, p.dy_ds);
        Position {
            x: x + self.centre[0] + self.shift[0] + own[0],
            y: y + self.centre[1] + self.shift[1] + own[1],
            dx_dw,
            dx_ds,
            dy_dw,
            dy_ds,
        }
    }

    /// Wavelength (nm) and slit position (arcsec) that fall on a pixel, or `None` where the order does not reach.
    pub fn invert(&self, order: &OrderFormat, x: f64, y: f64) -> Option<(f64, f64)> {
        let [blue, red] = order.domain();
        self.invert_near(order, x, y, (f64::midpoint(blue, red), 0.0))
    }

    /// The same from a first guess.
    pub(super) fn invert_near(&self, order: &OrderFormat, x: f64, y: f64, guess: (f64, f64)) -> Option<(f64, f64)> {
        newton((x, y), guess, order.domain(), |wavelength, slit| self.position(order, wavelength, slit))
    }

    /// [`View::position`] with the axes named by what they do instead of x and y.
    pub(super) fn place(&self, order: &OrderFormat, wavelength: f64, slit: f64) -> Place {
        let p = self.position(order, wavelength, slit);
        match self.format.dispersion() {
            Axis::X => Place {
                along: p.x,
                beside: p.y,
                along_dw: p.dx_dw,
                along_ds: p.dx_ds,
                beside_dw: p.dy_dw,
                beside_ds: p.dy_ds,
            },
            Axis::Y => Place {
                along: p.y,
                beside: p.x,
                along_dw: p.dy_dw,
                along_ds: p.dy_ds,
                beside_dw: p.dx_dw,
                beside_ds: p.dx_ds,
            },
        }
    }

    /// x and y of a place along and beside the dispersion.
    pub(super) fn pixel(&self, along: f64, beside: f64) -> (f64, f64) {
        match self.format.dispersion() {
            Axis::X => (along, beside),
            Axis::Y => (beside, along),
        }
    }

    /// Pixels along and beside the dispersion.
    pub fn extent(&self) -> (usize, usize) {
        let (rows, columns) = self.format.shape();
        match self.format.dispersion() {
            Axis::X => (columns, rows),
            Axis::Y => (rows, columns),
        }
    }

    /// The dispersion grid of an order, or `None` when the order misses the detector.
    pub fn grid(&self, order: &OrderFormat) -> Option<Grid> {
        let [shortest, longest] = order.domain();
        let extent = self.extent().0 as f64;
        let rising = self.place(order, f64::midpoint(shortest, longest), 0.0).along_dw > 0.0;
        let (low, high) = (self.place(order, shortest, 0.0).along, self.place(order, longest, 0.0).along);
        let (blue_end, red_end) = if rising { (-MARGIN, extent + MARGIN) } else { (extent + MARGIN, -MARGIN) };
        // Cut at the ends of the domain, which lie outside the detector for every published order.
        let (first, last) =
            if rising { (blue_end.max(low), red_end.min(high)) } else { (blue_end.min(low), red_end.max(high)) };
        let step = if rising { 1.0 } else { -1.0 } / SAMPLES as f64;
        let count = ((last - first) / step).floor();
        if count.is_nan() || count < 2.0 {
            return None;
        }
        let mut wavelength = f64::midpoint(shortest, longest);
        let mut grid = Grid { first, step, wavelengths: Vec::new(), dispersion: Vec::new() };
        for index in 0..count as usize {
            let target = first + step * index as f64;
            let mut slope = 0.0;
            for _ in 0..30 {
                let place = self.place(order, wavelength, 0.0);
                slope = place.along_dw;
                let off = target - place.along;
                if off.abs() < 1e-10 {
                    break;
                }
                wavelength = (wavelength + off / slope).clamp(shortest, longest);
            }
            grid.wavelengths.push(wavelength);
            grid.dispersion.push(1.0 / slope.abs());
        }
        Some(grid)
    }
}

/// Where light falls, along and beside the dispersion, and how that changes per nm and per arcsecond.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub along: f64,
    pub beside: f64,
    pub along_dw: f64,
    pub along_ds: f64,
    pub beside_dw: f64,
    pub beside_ds: f64,
}

/// Wavelengths along the middle of the slit in one order, rising, in equal steps of [`SAMPLES`] per pixel. It exceeds
/// the detector at both ends.
#[derive(Clone, Debug)]
pub struct Grid {
    first: f64,
    step: f64,
    wavelengths: Vec<f64>,
    dispersion: Vec<f64>,
}

impl Grid {
    /// nm, air.
    pub fn wavelengths(&self) -> &[f64] {
        &self.wavelengths
    }

    /// nm per pixel, positive.
    pub fn dispersion(&self) -> &[f64] {
        &self.dispersion
    }

    /// Pixel along the dispersion of a sample.
    pub fn pixel(&self, index: usize) -> f64 {
        self.first + self.step * index as f64
    }

    /// The sample, with its fraction, at a pixel along the dispersion.
    pub fn index(&self, pixel: f64) -> f64 {
        (pixel - self.first) / self.step
    }
}
