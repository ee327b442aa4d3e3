//! The published spectral format: where the light of an order, a wavelength and a slit position falls on the
//! detector.
//!
//! What lives here: the checked loader of `calibrations/format_*.toml`, the forward model with its derivatives, and
//! its inverse. Positions are trimmed, unbinned pixels, 0-based, with integers at the centres of pixels; wavelengths
//! are nm in air; slit positions are arcseconds from the middle of the slit. What never lives here: what a night's
//! calibrations find. The published format is a first guess, some pixels off on any given day.

mod load;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use super::frame::Arm;
use crate::fault::{Classified, FaultClass};

/// Terms of a polynomial along the order: degree 5.
const TERMS: usize = 6;
/// Powers of the slit position: 0, 1 and 2.
const POWERS: usize = 3;
/// Half ranges of its polynomials that an order is trusted for. Farther out, polynomials turn round.
const REACH: f64 = 1.2;
/// Slit positions beyond this, arcsec, belong to no order: the slit ends at 6.
const SLIT_REACH: f64 = 50.0;

/// An axis of the detector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Axis {
    /// Along rows: counts columns (NAXIS1).
    X,
    /// Along columns: counts rows (NAXIS2).
    Y,
}

/// Where light falls, and how that changes with its wavelength and its place in the slit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Position {
    /// Column.
    pub x: f64,
    /// Row.
    pub y: f64,
    /// Columns per nm.
    pub dx_dw: f64,
    /// Columns per arcsecond.
    pub dx_ds: f64,
    /// Rows per nm.
    pub dy_dw: f64,
    /// Rows per arcsecond.
    pub dy_ds: f64,
}

/// How well the model meets the published positions of an order's lines.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    /// Positions of the middle pinhole in the published table, of the lamps that were fitted.
    pub lines: usize,
    /// Those of them within [`SpectralFormat::clip`].
    pub used: usize,
    /// Scatter of these, pixels, in x and y.
    pub rms: [f64; 2],
}

/// One order of an arm.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderFormat {
    number: u8,
    name: String,
    wavelengths: [f64; 2],
    useful: [f64; 2],
    fit: Fit,
    middle: f64,
    half_range: f64,
    x: [[f64; TERMS]; POWERS],
    y: [[f64; TERMS]; POWERS],
}

impl OrderFormat {
    /// Number of the order: 1 = r, 2 = u, 3 = g, 4 = i in VIS; 10 to 24 in NIR.
    pub fn number(&self) -> u8 {
        self.number
    }

    /// Name of the order: a letter in VIS, the number in NIR.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Shortest and longest wavelength on the detector, nm, as published.
    pub fn wavelengths(&self) -> [f64; 2] {
        self.wavelengths
    }

    /// Shortest and longest wavelength that is kept when orders are merged, nm. All of them in NIR.
    pub fn useful(&self) -> [f64; 2] {
        self.useful
    }

    /// How well the model meets the published positions.
    pub fn fit(&self) -> Fit {
        self.fit
    }

    /// Where light of a wavelength (nm) and a slit position (arcsec) falls.
    pub fn position(&self, wavelength: f64, slit: f64) -> Position {
        let (values, slopes) = chebyshev((wavelength - self.middle) / self.half_range);
        let [x, dx_dw, dx_ds] = evaluate(&self.x, &values, &slopes, slit);
        let [y, dy_dw, dy_ds] = evaluate(&self.y, &values, &slopes, slit);
        Position { x, y, dx_dw: dx_dw / self.half_range, dx_ds, dy_dw: dy_dw / self.half_range, dy_ds }
    }

    /// Wavelengths between which the model may be evaluated, nm. They reach beyond the detector.
    pub fn domain(&self) -> [f64; 2] {
        [self.middle - REACH * self.half_range, self.middle + REACH * self.half_range]
    }

    /// Wavelength (nm) and slit position (arcsec) that fall on a pixel, to 1e-9 pixels, or `None` where the order
    /// does not reach.
    pub fn invert(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        newton((x, y), (self.middle, 0.0), self.domain(), |wavelength, slit| self.position(wavelength, slit))
    }
}

/// Newton's method for the wavelength and the slit position of a pixel (`x`, `y`) under any model `position`, from a
/// first guess. `None` when no solution is found within the `domain` of wavelengths.
pub fn newton(
    (x, y): (f64, f64),
    (mut wavelength, mut slit): (f64, f64),
    [shortest, longest]: [f64; 2],
    position: impl Fn(f64, f64) -> Position,
) -> Option<(f64, f64)> {
    for _ in 0..30 {
        let p = position(wavelength, slit);
        let (off_x, off_y) = (x - p.x, y - p.y);
        let determinant = p.dx_dw * p.dy_ds - p.dx_ds * p.dy_dw;
        if determinant == 0.0 || !determinant.is_finite() || !(off_x + off_y).is_finite() {
            return None;
        }
        // The last step is taken after convergence: it costs little and leaves rounding errors only.
        let there = off_x.abs() + off_y.abs() < 1e-9;
        // Held in the domain, since a model may turn round outside.
        wavelength = (wavelength + (p.dy_ds * off_x - p.dx_ds * off_y) / determinant).clamp(shortest, longest);
        slit = (slit + (p.dx_dw * off_y - p.dy_dw * off_x) / determinant).clamp(-SLIT_REACH, SLIT_REACH);
        if there {
            return (wavelength > shortest && wavelength < longest && slit.abs() < SLIT_REACH)
                .then_some((wavelength, slit));
        }
    }
    None
}

/// Values and derivatives of the Chebyshev polynomials T_0 to T_5.
fn chebyshev(t: f64) -> ([f64; TERMS], [f64; TERMS]) {
    let (mut values, mut slopes) = ([1.0; TERMS], [0.0; TERMS]);
    (values[1], slopes[1]) = (t, 1.0);
    for n in 2..TERMS {
        values[n] = 2.0 * t * values[n - 1] - values[n - 2];
        slopes[n] = 2.0 * values[n - 1] + 2.0 * t * slopes[n - 1] - slopes[n - 2];
    }
    (values, slopes)
}

/// Value, derivative along the order (per unit of `t`) and derivative along the slit of one coordinate.
fn evaluate(rows: &[[f64; TERMS]; POWERS], values: &[f64; TERMS], slopes: &[f64; TERMS], slit: f64) -> [f64; 3] {
    let sum = |row: &[f64; TERMS], basis: &[f64; TERMS]| row.iter().zip(basis).map(|(c, b)| c * b).sum::<f64>();
    let (constant, linear, square) = (sum(&rows[0], values), sum(&rows[1], values), sum(&rows[2], values));
    let along = sum(&rows[0], slopes) + slit * (sum(&rows[1], slopes) + slit * sum(&rows[2], slopes));
    [constant + slit * (linear + slit * square), along, linear + 2.0 * slit * square]
}

/// The published spectral format of one arm.
#[derive(Clone, Debug, PartialEq)]
pub struct SpectralFormat {
    arm: Arm,
    size: [usize; 2],
    dispersion: Axis,
    slit_length: f64,
    pinholes: Vec<f64>,
    clip: f64,
    lamp_offsets: BTreeMap<String, [f64; 2]>,
    orders: Vec<OrderFormat>,
}

impl SpectralFormat {
    /// The format of an arm, from the embedded tables. The acquisition camera disperses nothing: its format has no
    /// orders.
    pub fn of(arm: Arm) -> &'static SpectralFormat {
        match arm {
            Arm::Vis => &VIS,
            Arm::Nir => &NIR,
            Arm::Acq => &ACQ,
        }
    }

    /// Read and check a table. Errors name the key.
    pub fn parse(text: &str) -> Result<SpectralFormat, FormatError> {
        load::parse(text)
    }

    /// The arm.
    pub fn arm(&self) -> Arm {
        self.arm
    }

    /// Rows and columns of the trimmed, unbinned frame.
    pub fn shape(&self) -> (usize, usize) {
        (self.size[1], self.size[0])
    }

    /// The axis along which orders are dispersed; the slit lies along the other one, but for its tilt.
    pub fn dispersion(&self) -> Axis {
        self.dispersion
    }

    /// Nominal length of the slit, arcsec. It reaches from minus to plus one half.
    pub fn slit_length(&self) -> f64 {
        self.slit_length
    }

    /// Positions of the nine holes of the pinhole mask along the slit, arcsec, ascending.
    pub fn pinholes(&self) -> &[f64] {
        &self.pinholes
    }

    /// Published positions farther than this from the model, pixels, are taken for mistakes of the table.
    pub fn clip(&self) -> f64 {
        self.clip
    }

    /// Pixels in x and y by which the published positions of a lamp's lines (`Xe`, `Ne`, `Ar`, `Hg`) differ from the
    /// model.
    pub fn lamp_offset(&self, lamp: &str) -> Option<[f64; 2]> {
        self.lamp_offsets.get(lamp).copied()
    }

    /// All orders, by number.
    pub fn orders(&self) -> &[OrderFormat] {
        &self.orders
    }

    /// An order by its number.
    pub fn order(&self, number: u8) -> Option<&OrderFormat> {
        self.orders.iter().find(|order| order.number == number)
    }

    /// What people call an order: a letter in VIS, the number in NIR, and for an order that the arm does not have.
    pub fn name_of(&self, number: u8) -> String {
        self.order(number).map_or_else(|| number.to_string(), |order| order.name().to_string())
    }
}

/// Why a table of the spectral format cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FormatError {
    /// The file is not the TOML that is expected; the cause names line and key.
    #[error("spectral format cannot be read: {0}")]
    Syntax(String),
    /// A value contradicts itself or another one.
    #[error("spectral format, key {key} = {found}: {reason}")]
    Value {
        /// Order and key: `order 12.x`.
        key: String,
        /// Value found.
        found: String,
        /// What is allowed.
        reason: &'static str,
    },
}

impl Classified for FormatError {
    fn class(&self) -> FaultClass {
        FaultClass::Config
    }
}

// The embedded tables are part of the program: the test `embedded_tables_are_valid` proves that these cannot fail.
#[allow(clippy::expect_used)]
static VIS: LazyLock<SpectralFormat> = LazyLock::new(|| {
    SpectralFormat::parse(include_str!("../../../calibrations/format_vis.toml"))
        .expect("the embedded VIS format is valid")
});
#[allow(clippy::expect_used)]
static NIR: LazyLock<SpectralFormat> = LazyLock::new(|| {
    SpectralFormat::parse(include_str!("../../../calibrations/format_nir.toml"))
        .expect("the embedded NIR format is valid")
});
static ACQ: LazyLock<SpectralFormat> = LazyLock::new(|| SpectralFormat {
    arm: Arm::Acq,
    size: [1024, 1024],
    dispersion: Axis::X,
    slit_length: 0.0,
    pinholes: Vec::new(),
    clip: 0.0,
    lamp_offsets: BTreeMap::new(),
    orders: Vec::new(),
});
