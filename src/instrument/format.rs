//! The published spectral format: where the light of an order, a wavelength and a slit position falls on the detector.
//!
//! What lives here: the checked loader of `calibrations/format_*.toml`, the forward model with its derivatives, and its
//! inverse. Positions are trimmed, unbinned pixels, 0-based, with integers at the centres of pixels; wavelengths are nm
//! in air; slit positions are arcseconds from the middle of the slit. What never lives here: what a night's calibrations
//! find. The published format is a first guess, some pixels off on any given day.

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

    /// Wavelength (nm) and slit position (arcsec) that fall on a pixel, to 1e-9 pixels, or `None` where the order does not
    /// reach.
    pub fn invert(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        newton((x, y), (self.middle, 0.0), self.domain(), |wavelength, slit| self.position(wavelength, slit))
    }
}

/// Newton's method for the wavelength and the slit position of a pixel (`x`, `y`) under any model `position`, from a first
/// guess. `None` when no solution is found within the `domain` of wavelengths.
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
    /// The format of an arm, from the embedded tables. The acquisition camera disperses nothing: its format has no orders.
    pub fn of(arm: Arm) -> &'static SpectralFormat {
        match arm {
            Arm::Vis => &VIS,
            Arm::Nir => &NIR,
            Arm::Acq => &ACQ,
        }
    }

    /// Read and check a table. Errors name the key.
    pub fn parse(text: &str) -> Result<SpectralFormat, FormatError> {
        let raw: RawFormat = toml::from_str(text).map_err(|error| FormatError::Syntax(error.to_string()))?;
        raw.check()
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

    /// Pixels in x and y by which the published positions of a lamp's lines (`Xe`, `Ne`, `Ar`, `Hg`) differ from the model.
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
    SpectralFormat::parse(include_str!("../../calibrations/format_vis.toml")).expect("the embedded VIS format is valid")
});
#[allow(clippy::expect_used)]
static NIR: LazyLock<SpectralFormat> = LazyLock::new(|| {
    SpectralFormat::parse(include_str!("../../calibrations/format_nir.toml")).expect("the embedded NIR format is valid")
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFormat {
    arm: Arm,
    dispersion: Axis,
    size: [usize; 2],
    slit_length: f64,
    pinholes: Vec<f64>,
    clip: f64,
    #[serde(default)]
    lamp_offsets: BTreeMap<String, [f64; 2]>,
    global: Option<RawGlobal>,
    order: Vec<RawOrder>,
}

/// One model for all orders.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGlobal {
    order_centre: f64,
    order_half_range: f64,
    phase_centre: f64,
    phase_half_range: f64,
    x: Vec<Vec<Vec<f64>>>,
    y: Vec<Vec<Vec<f64>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOrder {
    number: u8,
    name: String,
    wavelengths: [f64; 2],
    useful: Option<[f64; 2]>,
    lines: usize,
    used: usize,
    rms: [f64; 2],
    x: Option<Vec<Vec<f64>>>,
    y: Option<Vec<Vec<f64>>>,
}

fn wrong(key: impl Into<String>, found: impl std::fmt::Debug, reason: &'static str) -> FormatError {
    FormatError::Value { key: key.into(), found: format!("{found:?}"), reason }
}

/// Two finite numbers, the first one smaller.
fn ascending(pair: [f64; 2]) -> bool {
    pair.iter().all(|value| value.is_finite()) && pair[0] < pair[1]
}

impl RawFormat {
    fn check(self) -> Result<SpectralFormat, FormatError> {
        if self.size.contains(&0) {
            return Err(wrong("size", self.size, "columns and rows must be positive"));
        }
        if !(self.slit_length > 0.0 && self.slit_length.is_finite()) {
            return Err(wrong("slit_length", self.slit_length, "must be positive"));
        }
        if !(self.clip > 0.0 && self.clip.is_finite()) {
            return Err(wrong("clip", self.clip, "must be positive"));
        }
        if !self.pinholes.windows(2).all(|pair| ascending([pair[0], pair[1]])) || self.pinholes.is_empty() {
            return Err(wrong("pinholes", &self.pinholes, "positions along the slit in ascending order are expected"));
        }
        let mut orders = Vec::with_capacity(self.order.len());
        for order in &self.order {
            orders.push(order.check(self.global.as_ref(), self.dispersion)?);
        }
        if orders.is_empty() || !orders.windows(2).all(|pair: &[OrderFormat]| pair[0].number < pair[1].number) {
            let found: Vec<u8> = orders.iter().map(|order| order.number).collect();
            return Err(wrong("order", found, "orders with ascending numbers are expected"));
        }
        Ok(SpectralFormat {
            arm: self.arm,
            size: self.size,
            dispersion: self.dispersion,
            slit_length: self.slit_length,
            pinholes: self.pinholes,
            clip: self.clip,
            lamp_offsets: self.lamp_offsets,
            orders,
        })
    }
}

impl RawOrder {
    fn check(&self, global: Option<&RawGlobal>, dispersion: Axis) -> Result<OrderFormat, FormatError> {
        let key = |name: &str| format!("order {}.{name}", self.number);
        if !ascending(self.wavelengths) {
            return Err(wrong(key("wavelengths"), self.wavelengths, "the shorter limit comes first"));
        }
        let useful = self.useful.unwrap_or(self.wavelengths);
        if !ascending(useful) || useful[0] < self.wavelengths[0] || useful[1] > self.wavelengths[1] {
            return Err(wrong(key("useful"), useful, "must lie within `wavelengths`, the shorter limit first"));
        }
        if self.used > self.lines {
            return Err(wrong(key("used"), self.used, "cannot exceed `lines`"));
        }
        let (middle, half_range, x, y) = match (global, &self.x, &self.y) {
            (Some(global), None, None) => {
                let number = f64::from(self.number);
                if !(global.order_half_range > 0.0 && global.phase_half_range > 0.0) {
                    return Err(wrong("global", global.phase_half_range, "half ranges must be positive"));
                }
                let n = (number - global.order_centre) / global.order_half_range;
                let x = collapse("global.x", &global.x, n)?;
                let y = collapse("global.y", &global.y, n)?;
                (global.phase_centre / number, global.phase_half_range / number, x, y)
            }
            (None, Some(x), Some(y)) => {
                let [blue, red] = self.wavelengths;
                let x = padded(&key("x"), x)?;
                (f64::midpoint(blue, red), 0.5 * (red - blue), x, padded(&key("y"), y)?)
            }
            _ => {
                let reason = "either [global] or both x and y of every order are expected";
                return Err(wrong(key("x"), self.x.is_some(), reason));
            }
        };
        let order = OrderFormat {
            number: self.number,
            name: self.name.clone(),
            wavelengths: self.wavelengths,
            useful,
            fit: Fit { lines: self.lines, used: self.used, rms: self.rms },
            middle,
            half_range,
            x,
            y,
        };
        // A model that turns round within its limits has no inverse.
        let slope = |step: u32| {
            let at = self.wavelengths[0] + (self.wavelengths[1] - self.wavelengths[0]) * f64::from(step) / 64.0;
            let position = order.position(at, 0.0);
            match dispersion {
                Axis::X => position.dx_dw,
                Axis::Y => position.dy_dw,
            }
        };
        let first = slope(0);
        if !(0..=64).all(|step| slope(step) * first > 0.0) {
            return Err(wrong(key("x, y"), first, "the position must rise or fall with the wavelength everywhere"));
        }
        Ok(order)
    }
}

/// Rows of coefficients, one per power of the slit position, filled up with zeros.
fn padded(key: &str, rows: &[Vec<f64>]) -> Result<[[f64; TERMS]; POWERS], FormatError> {
    let mut full = [[0.0; TERMS]; POWERS];
    if rows.len() < 2 || rows.len() > POWERS {
        return Err(wrong(
            key,
            rows.len(),
            "two or three rows of coefficients are expected, one per power of the slit position",
        ));
    }
    for (target, row) in full.iter_mut().zip(rows) {
        if row.is_empty() || row.len() > TERMS || !row.iter().all(|value| value.is_finite()) {
            return Err(wrong(key, row, "one to six finite coefficients are expected in a row"));
        }
        for (value, coefficient) in target.iter_mut().zip(row) {
            *value = *coefficient;
        }
    }
    Ok(full)
}

/// The global model at one order, `n` on the scale of its Chebyshev polynomials.
fn collapse(key: &str, blocks: &[Vec<Vec<f64>>], n: f64) -> Result<[[f64; TERMS]; POWERS], FormatError> {
    let (values, _) = chebyshev(n);
    let mut rows = Vec::with_capacity(blocks.len());
    for block in blocks {
        if block.is_empty() || block.len() > TERMS {
            return Err(wrong(key, block.len(), "one to six rows of coefficients are expected in a block"));
        }
        let width = block.iter().map(Vec::len).max().unwrap_or(0);
        let mut row = vec![0.0; width];
        for (line, weight) in block.iter().zip(values) {
            for (sum, coefficient) in row.iter_mut().zip(line) {
                *sum += weight * coefficient;
            }
        }
        rows.push(row);
    }
    padded(key, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIS_TEXT: &str = include_str!("../../calibrations/format_vis.toml");
    const NIR_TEXT: &str = include_str!("../../calibrations/format_nir.toml");

    /// Order, wavelength, x, y and lamp of the published positions of the middle pinhole.
    fn published(arm: Arm) -> Vec<(u8, f64, [f64; 2], String)> {
        let text = match arm {
            Arm::Vis => include_str!("../../calibrations/positions_vis.csv"),
            _ => include_str!("../../calibrations/positions_nir.csv"),
        };
        text.lines()
            .filter(|line| !line.starts_with('#') && !line.starts_with("order"))
            .map(|line| {
                let cells: Vec<&str> = line.split(',').collect();
                let number = |at: usize| cells[at].parse::<f64>().unwrap();
                (number(0) as u8, number(1), [number(2), number(3)], cells[4].to_string())
            })
            .collect()
    }

    #[test]
    fn embedded_tables_are_valid() {
        for (text, arm, count) in [(VIS_TEXT, Arm::Vis, 4), (NIR_TEXT, Arm::Nir, 15)] {
            let format = SpectralFormat::parse(text).unwrap();
            assert_eq!((format.arm(), format.orders().len(), format.pinholes().len()), (arm, count, 9));
            assert_eq!(&format, SpectralFormat::of(arm));
        }
        assert_eq!(SpectralFormat::of(Arm::Vis).shape(), (4096, 808));
        assert_eq!(SpectralFormat::of(Arm::Vis).order(3).unwrap().name(), "g");
        assert!(SpectralFormat::of(Arm::Nir).order(9).is_none());
        assert!(SpectralFormat::of(Arm::Acq).orders().is_empty());
    }

    #[test]
    fn stated_residuals_are_those_of_the_published_positions() {
        for arm in [Arm::Vis, Arm::Nir] {
            let format = SpectralFormat::of(arm);
            let table = published(arm);
            for order in format.orders() {
                let (mut lines, mut used, mut squares) = (0, 0, [0.0, 0.0]);
                for (_, wavelength, [x, y], lamp) in table.iter().filter(|row| row.0 == order.number()) {
                    if arm == Arm::Nir && !["XeI", "NeI", "ArI"].contains(&lamp.as_str()) {
                        continue;
                    }
                    let offset = lamp.get(..2).and_then(|lamp| format.lamp_offset(lamp)).unwrap_or_default();
                    let there = order.position(*wavelength, 0.0);
                    let off = [x - offset[0] - there.x, y - offset[1] - there.y];
                    lines += 1;
                    if off.iter().all(|value| value.abs() < format.clip()) {
                        used += 1;
                        squares = [squares[0] + off[0] * off[0], squares[1] + off[1] * off[1]];
                    }
                }
                let fit = order.fit();
                assert_eq!((lines, used), (fit.lines, fit.used), "{arm} {}", order.name());
                for (sum, stated) in squares.iter().zip(fit.rms) {
                    let rms = (sum / f64::from(used as u32)).sqrt();
                    assert!((rms - stated).abs() < 6e-4, "{arm} {}: {rms} is stated as {stated}", order.name());
                }
            }
        }
    }

    #[test]
    fn derivatives_are_those_of_the_positions() {
        for arm in [Arm::Vis, Arm::Nir] {
            for order in SpectralFormat::of(arm).orders() {
                let [blue, red] = order.wavelengths();
                for (part, slit) in [(0.0, -6.0), (0.3, 2.0), (1.0, 6.0)] {
                    let wavelength = blue + part * (red - blue);
                    let (at, step) = (order.position(wavelength, slit), 1e-4);
                    let (plus, minus) =
                        (order.position(wavelength + step, slit), order.position(wavelength - step, slit));
                    assert!(((plus.x - minus.x) / (2.0 * step) - at.dx_dw).abs() < 1e-6);
                    assert!(((plus.y - minus.y) / (2.0 * step) - at.dy_dw).abs() < 1e-6);
                    let (plus, minus) =
                        (order.position(wavelength, slit + step), order.position(wavelength, slit - step));
                    assert!(((plus.x - minus.x) / (2.0 * step) - at.dx_ds).abs() < 1e-6);
                    assert!(((plus.y - minus.y) / (2.0 * step) - at.dy_ds).abs() < 1e-6);
                }
            }
        }
    }

    #[test]
    fn inversion_returns_to_where_it_came_from() {
        for arm in [Arm::Vis, Arm::Nir] {
            let format = SpectralFormat::of(arm);
            for order in format.orders() {
                let [blue, red] = order.wavelengths();
                for step in 0..=20 {
                    for slit in [-8.0, -6.0, -1.3, 0.0, 4.0, 8.0] {
                        let wavelength = blue + (red - blue) * f64::from(step) / 20.0;
                        let there = order.position(wavelength, slit);
                        let (w, s) = order.invert(there.x, there.y).unwrap();
                        let again = order.position(w, s);
                        assert!((again.x - there.x).abs() < 1e-8 && (again.y - there.y).abs() < 1e-8);
                        assert!((s - slit).abs() < 1e-8, "{arm} {} {w} {s}", order.name());
                    }
                }
                assert_eq!(order.invert(f64::NAN, 3.0), None);
                assert_eq!(order.invert(1e6, -1e6), None);
            }
        }
    }

    #[test]
    fn a_bad_table_names_its_key() {
        let broken = |from: &str, to: &str| {
            assert!(VIS_TEXT.contains(from), "{from}");
            SpectralFormat::parse(&VIS_TEXT.replacen(from, to, 1)).unwrap_err().to_string()
        };
        assert!(broken("slit_length = 12.0", "slit_lenght = 12.0").contains("slit_lenght"));
        assert!(broken("slit_length = 12.0", "slit_length = -1.0").contains("slit_length = -1"));
        assert!(broken("[524.5, 685.0]", "[685.0, 524.5]").contains("order 1.wavelengths"));
        assert!(broken("[538.0, 675.0]", "[500.0, 675.0]").contains("order 1.useful"));
        assert!(broken("number = 2", "number = 7").contains("ascending"));
        assert!(broken("-5.5, -4.125", "-4.125, -5.5").contains("pinholes"));
        assert!(broken("size = [808, 4096]", "size = [0, 4096]").contains("size"));
        let shorn: String =
            NIR_TEXT.lines().filter(|line| !line.starts_with("phase_half")).map(|l| format!("{l}\n")).collect();
        assert!(SpectralFormat::parse(&shorn).unwrap_err().to_string().contains("phase_half_range"));
    }
}
