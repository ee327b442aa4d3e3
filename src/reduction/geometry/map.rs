//! Where light of a wavelength and slit position falls on the detector, order by order, and back.
//!
//! Coordinates are 0-based pixel centres of the trimmed, unbinned frame; wavelengths nm in air; slit positions arcsec.

use crate::numerics::chebyshev;

/// Slit positions are divided by this before they enter the polynomials, arcsec: half the nominal slit.
pub const SLIT_UNIT: f64 = 6.0;

/// Largest number of polynomials along the wavelength and along the slit.
pub(super) const MAX_WAVE: usize = 16;
/// As [`MAX_WAVE`], along the slit.
pub(super) const MAX_SLIT: usize = 6;

/// The map of one order: x and y as sums of products of Chebyshev polynomials in wavelength and slit position.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderMap {
    /// Order number (VIS 1 r, 2 u, 3 g, 4 i).
    pub order: u8,
    /// Wavelengths that the polynomials' argument -1 and 1 stand for, nm.
    pub domain: [f64; 2],
    /// Wavelengths that the order is used in, nm.
    pub limits: [f64; 2],
    /// Number of polynomials along the wavelength, and along the slit.
    pub size: (usize, usize),
    /// Coefficients of x, slit degree fastest.
    pub x: Vec<f64>,
    /// Coefficients of y.
    pub y: Vec<f64>,
}

/// A place on the detector with its derivatives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// Column.
    pub x: f64,
    /// Row.
    pub y: f64,
    /// Change of x per nm.
    pub x_wave: f64,
    /// Change of x per arcsec.
    pub x_slit: f64,
    /// Change of y per nm.
    pub y_wave: f64,
    /// Change of y per arcsec.
    pub y_slit: f64,
}

impl Place {
    /// The determinant of the derivatives, px^2 per nm and arcsec.
    pub fn determinant(&self) -> f64 {
        self.x_wave * self.y_slit - self.x_slit * self.y_wave
    }

    /// The step in (nm, arcsec) that moves the place by (dx, dy); `None` where the map is singular.
    pub fn step(&self, dx: f64, dy: f64) -> Option<(f64, f64)> {
        let det = self.determinant();
        let step = ((self.y_slit * dx - self.x_slit * dy) / det, (self.x_wave * dy - self.y_wave * dx) / det);
        (step.0.is_finite() && step.1.is_finite()).then_some(step)
    }
}

impl OrderMap {
    /// The basis at a wavelength and slit position: values, slit degree fastest. `row` has the length of `x`.
    pub fn basis(&self, wavelength: f64, slit: f64, row: &mut [f64]) {
        let (mut w, mut s) = ([0.0; MAX_WAVE], [0.0; MAX_SLIT]);
        chebyshev::values(self.argument(wavelength), &mut w[..self.size.0]);
        chebyshev::values(slit / SLIT_UNIT, &mut s[..self.size.1]);
        for (line, w) in row.chunks_exact_mut(self.size.1).zip(&w) {
            line.iter_mut().zip(&s).for_each(|(value, s)| *value = w * s);
        }
    }

    /// The place of a wavelength and slit position.
    pub fn at(&self, wavelength: f64, slit: f64) -> (f64, f64) {
        let place = self.place(wavelength, slit);
        (place.x, place.y)
    }

    /// The place with its derivatives.
    pub fn place(&self, wavelength: f64, slit: f64) -> Place {
        let (nw, ns) = self.size;
        let (mut w, mut dw) = ([0.0; MAX_WAVE], [0.0; MAX_WAVE]);
        let (mut s, mut ds) = ([0.0; MAX_SLIT], [0.0; MAX_SLIT]);
        chebyshev::values_and_slopes(self.argument(wavelength), &mut w[..nw], &mut dw[..nw]);
        chebyshev::values_and_slopes(slit / SLIT_UNIT, &mut s[..ns], &mut ds[..ns]);
        let sum = |coefficients: &[f64]| {
            let (mut value, mut by_wave, mut by_slit) = (0.0, 0.0, 0.0);
            for ((line, w), dw) in coefficients.chunks_exact(ns).zip(&w).zip(&dw) {
                let (mut along, mut across) = (0.0, 0.0);
                for ((c, s), ds) in line.iter().zip(&s).zip(&ds) {
                    along += c * s;
                    across += c * ds;
                }
                value += along * w;
                by_wave += along * dw;
                by_slit += across * w;
            }
            (value, by_wave * 2.0 / (self.domain[1] - self.domain[0]), by_slit / SLIT_UNIT)
        };
        let ((x, x_wave, x_slit), (y, y_wave, y_slit)) = (sum(&self.x), sum(&self.y));
        Place { x, y, x_wave, x_slit, y_wave, y_slit }
    }

    /// The wavelength and slit position of a pixel by Newton's method from a start; `None` when it does not converge to
    /// a thousandth of a pixel.
    pub fn invert(&self, x: f64, y: f64, start: (f64, f64)) -> Option<(f64, f64)> {
        let (mut wavelength, mut slit) = start;
        let longest = 0.25 * (self.domain[1] - self.domain[0]);
        for _ in 0..12 {
            let place = self.place(wavelength, slit);
            let (dx, dy) = (x - place.x, y - place.y);
            let (dw, ds) = place.step(dx, dy)?;
            wavelength += dw.clamp(-longest, longest);
            slit += ds.clamp(-20.0, 20.0);
            if dx.abs() < 1e-3 && dy.abs() < 1e-3 {
                // the last step was made with an error of 1e-3 px: what remains is its square
                return Some((wavelength, slit));
            }
        }
        None
    }

    /// The same map moved by a plane in each axis: x becomes x + a + b x + c y, likewise y.
    pub fn moved(&self, to_x: [f64; 3], to_y: [f64; 3]) -> OrderMap {
        let mut map = self.clone();
        for (i, (x, y)) in self.x.iter().zip(&self.y).enumerate() {
            let constant = |a: f64| if i == 0 { a } else { 0.0 };
            map.x[i] = x + constant(to_x[0]) + to_x[1] * x + to_x[2] * y;
            map.y[i] = y + constant(to_y[0]) + to_y[1] * x + to_y[2] * y;
        }
        map
    }

    fn argument(&self, wavelength: f64) -> f64 {
        (2.0 * wavelength - self.domain[0] - self.domain[1]) / (self.domain[1] - self.domain[0])
    }
}

/// The maps of all orders of an arm.
#[derive(Clone, Debug, PartialEq)]
pub struct GeometryMap {
    /// One per order, in the order of their numbers.
    pub orders: Vec<OrderMap>,
}

impl GeometryMap {
    /// The map of an order.
    pub fn order(&self, order: u8) -> Option<&OrderMap> {
        self.orders.iter().find(|map| map.order == order)
    }

    /// The place of a wavelength and slit position of an order that exists.
    pub fn at(&self, order: u8, wavelength: f64, slit: f64) -> Option<(f64, f64)> {
        self.order(order).map(|map| map.at(wavelength, slit))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An order dispersed along y with tilt and curvature.
    pub(in crate::reduction::geometry) fn curved() -> OrderMap {
        let mut map = OrderMap {
            order: 1,
            domain: [500.0, 700.0],
            limits: [500.0, 700.0],
            size: (4, 2),
            x: vec![60.0, 20.0, 4.0, 0.5, -1.0, 0.1, 0.3, 0.0],
            y: vec![300.0, 2.0, 290.0, 0.4, 8.0, 0.1, -3.0, 0.02],
        };
        map.x[1] = 21.7;
        map
    }

    #[test]
    fn derivatives_are_differences() {
        let (map, h) = (curved(), 1e-5);
        let place = map.place(555.0, -3.2);
        let along = (map.at(555.0 + h, -3.2), map.at(555.0 - h, -3.2));
        let across = (map.at(555.0, -3.2 + h), map.at(555.0, -3.2 - h));
        assert!((place.x_wave - (along.0.0 - along.1.0) / (2.0 * h)).abs() < 1e-6);
        assert!((place.y_wave - (along.0.1 - along.1.1) / (2.0 * h)).abs() < 1e-6);
        assert!((place.x_slit - (across.0.0 - across.1.0) / (2.0 * h)).abs() < 1e-6);
        assert!((place.y_slit - (across.0.1 - across.1.1) / (2.0 * h)).abs() < 1e-6);
    }

    #[test]
    fn the_way_back_leads_home() {
        let map = curved();
        for (wavelength, slit) in [(505.0, -5.9), (600.0, 0.0), (699.0, 5.9), (690.0, -2.0)] {
            let (x, y) = map.at(wavelength, slit);
            let (w, s) = map.invert(x, y, (600.0, 0.0)).unwrap();
            let (x2, y2) = map.at(w, s);
            assert!((x - x2).hypot(y - y2) < 1e-6 && (w - wavelength).abs() < 1e-6 && (s - slit).abs() < 1e-6);
        }
    }

    #[test]
    fn a_plane_moves_every_place() {
        let (map, moved) = (curved(), curved().moved([3.0, 0.001, -0.002], [-2.0, 0.002, 0.001]));
        let ((x, y), (a, b)) = (map.at(640.0, 4.0), moved.at(640.0, 4.0));
        assert!((a - (x + 3.0 + 0.001 * x - 0.002 * y)).abs() < 1e-10);
        assert!((b - (y - 2.0 + 0.002 * x + 0.001 * y)).abs() < 1e-10);
    }
}
