//! Reading and checking a table of the spectral format.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Axis, Fit, FormatError, OrderFormat, POWERS, SpectralFormat, TERMS, chebyshev};
use crate::instrument::Arm;

/// Read and check a table. Errors name the key.
pub(super) fn parse(text: &str) -> Result<SpectralFormat, FormatError> {
    let raw: RawFormat = toml::from_str(text).map_err(|error| FormatError::Syntax(error.to_string()))?;
    raw.check()
}

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
