//! Tables of something over wavelength, and the reader of the tables under `calibrations/` and of users' spectra.

use std::str::FromStr;

use super::LightError;

/// What a table says beyond its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beyond {
    /// Nothing there: 0.
    Zero,
    /// The value of the nearest end.
    Hold,
}

/// Values at rising wavelengths, with straight lines between them.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    wavelengths: Vec<f64>,
    values: Vec<f64>,
    beyond: Beyond,
}

impl Table {
    /// Pairs of wavelength (nm, strictly rising) and value. An empty table is zero everywhere.
    pub fn new(pairs: impl IntoIterator<Item = (f64, f64)>, beyond: Beyond) -> Table {
        let (wavelengths, values): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
        debug_assert!(wavelengths.windows(2).all(|pair| pair[0] < pair[1]));
        Table { wavelengths, values, beyond }
    }

    /// A function of the wavelength on an even grid from `first` nm, `count` points, `step` nm apart.
    pub fn of(first: f64, step: f64, count: usize, beyond: Beyond, value: impl Fn(f64) -> f64) -> Table {
        Table::new((0..count).map(|index| first + step * index as f64).map(|w| (w, value(w))), beyond)
    }

    /// A smooth curve through the pairs that overshoots nowhere (Fritsch and Carlson's monotone cubic), on an even grid of
    /// `step` nm.
    pub fn smooth(pairs: &[(f64, f64)], step: f64, beyond: Beyond) -> Table {
        let (Some(&(first, _)), Some(&(last, _))) = (pairs.first(), pairs.last()) else {
            return Table::new([], beyond);
        };
        let slopes = monotone_slopes(pairs);
        let count = ((last - first) / step).ceil() as usize;
        let grid = (0..count).map(|index| first + step * index as f64).chain([last]);
        let mut piece = 0;
        let curve = grid.map(|w| {
            while piece + 2 < pairs.len() && w >= pairs[piece + 1].0 {
                piece += 1;
            }
            let ((x0, y0), (x1, y1)) = (pairs[piece], pairs[(piece + 1).min(pairs.len() - 1)]);
            let width = x1 - x0;
            if width == 0.0 {
                return (w, y0);
            }
            let t = (w - x0) / width;
            let (m0, m1) = (slopes[piece] * width, slopes[piece + 1] * width);
            let value = y0 + t * (m0 + t * (3.0 * (y1 - y0) - 2.0 * m0 - m1 + t * (2.0 * (y0 - y1) + m0 + m1)));
            // Rounding must not push it past its ends.
            (w, value.clamp(y0.min(y1), y0.max(y1)))
        });
        Table::new(curve.collect::<Vec<_>>(), beyond)
    }

    /// The wavelengths of the points, nm.
    pub fn wavelengths(&self) -> &[f64] {
        &self.wavelengths
    }

    /// The values of the points.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The same table with every value changed by a function of wavelength and value.
    pub fn map(&self, change: impl Fn(f64, f64) -> f64) -> Table {
        let values = self.wavelengths.iter().zip(&self.values).map(|(&w, &v)| change(w, v)).collect();
        Table { wavelengths: self.wavelengths.clone(), values, beyond: self.beyond }
    }

    /// The value at one wavelength.
    pub fn at(&self, wavelength: f64) -> f64 {
        self.piece(wavelength, 0).at(wavelength)
    }

    /// The values at many wavelengths; fastest when they rise.
    pub fn sample(&self, wavelengths: &[f64]) -> Vec<f64> {
        let mut piece = Piece::NOWHERE;
        let mut values = Vec::with_capacity(wavelengths.len());
        for &wavelength in wavelengths {
            if !(wavelength >= piece.from && wavelength < piece.to) {
                piece = self.piece(wavelength, piece.next);
            }
            values.push(piece.at(wavelength));
        }
        values
    }

    /// The straight piece that holds a wavelength, sought first at the node `next`.
    fn piece(&self, wavelength: f64, next: usize) -> Piece {
        let (nodes, values) = (&self.wavelengths, &self.values);
        let end = |value: Option<&f64>| match self.beyond {
            Beyond::Zero => 0.0,
            Beyond::Hold => value.copied().unwrap_or(0.0),
        };
        let beyond = |from: f64, to: f64, next: usize, value: f64| Piece { from, to, value, slope: 0.0, next };
        let (Some(&first), Some(&last)) = (nodes.first(), nodes.last()) else {
            return beyond(f64::NEG_INFINITY, f64::INFINITY, 0, 0.0);
        };
        if wavelength == last {
            return beyond(last, last, 0, values[values.len() - 1]);
        }
        if wavelength > last {
            return beyond(last, f64::INFINITY, 0, end(values.last()));
        }
        // Not a number is nowhere, and falls to the left.
        if wavelength.is_nan() || wavelength < first {
            return beyond(f64::NEG_INFINITY, first, 0, end(values.first()));
        }
        // From here on the wavelength lies between two nodes.
        let holds = |left: usize| left + 1 < nodes.len() && nodes[left] <= wavelength && wavelength < nodes[left + 1];
        let left = if holds(next) { next } else { nodes.partition_point(|&node| node <= wavelength) - 1 };
        let slope = (values[left + 1] - values[left]) / (nodes[left + 1] - nodes[left]);
        Piece { from: nodes[left], to: nodes[left + 1], value: values[left], slope, next: left + 1 }
    }

    /// The integral from `from` to `to`, of the straight lines, exactly.
    pub fn integral(&self, from: f64, to: f64) -> f64 {
        let inner = self.wavelengths.iter().copied().filter(|&node| node > from && node < to);
        let nodes: Vec<f64> = std::iter::once(from).chain(inner).chain([to]).collect();
        nodes.windows(2).map(|pair| 0.5 * (pair[1] - pair[0]) * (self.at(pair[0]) + self.at(pair[1]))).sum()
    }
}

/// A straight piece of a table, from `from` to just before `to`.
#[derive(Clone, Copy)]
struct Piece {
    from: f64,
    to: f64,
    /// Value at `from` and slope.
    value: f64,
    slope: f64,
    /// The node at `to`.
    next: usize,
}

impl Piece {
    /// Holds no wavelength.
    const NOWHERE: Piece = Piece { from: 0.0, to: 0.0, value: 0.0, slope: 0.0, next: 0 };

    fn at(&self, wavelength: f64) -> f64 {
        if self.slope == 0.0 { self.value } else { self.value + self.slope * (wavelength - self.from) }
    }
}

/// Slopes at the points of a monotone cubic: the harmonic mean of the neighbours, flat at turning points.
fn monotone_slopes(pairs: &[(f64, f64)]) -> Vec<f64> {
    let secants: Vec<f64> = pairs.windows(2).map(|pair| (pair[1].1 - pair[0].1) / (pair[1].0 - pair[0].0)).collect();
    (0..pairs.len())
        .map(|index| {
            let before = index.checked_sub(1).and_then(|piece| secants.get(piece));
            match (before, secants.get(index)) {
                (Some(&left), Some(&right)) if left * right > 0.0 => 2.0 * left * right / (left + right),
                (Some(_), Some(_)) => 0.0,
                (Some(&only), None) | (None, Some(&only)) => only,
                (None, None) => 0.0,
            }
        })
        .collect()
}

/// The rows of a table of the program: comma separated, comments after `#`, one line of column names.
pub(super) fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.skip(1).map(|line| line.split(',').map(str::trim).collect())
}

/// A field of a row of a table of the program. The tables are part of the program, and the tests read each of them: a
/// field that cannot be read never leaves the workshop.
#[allow(clippy::panic)]
pub(super) fn field<T: FromStr>(row: &[&str], column: usize) -> T {
    let text = row.get(column).copied().unwrap_or_default();
    let Ok(value) = text.parse() else { panic!("embedded table: '{text}' in column {column} of {row:?}") };
    value
}

/// The two columns of a table of the program.
pub(super) fn pairs(text: &str) -> Vec<(f64, f64)> {
    rows(text).map(|row| (field(&row, 0), field(&row, 1))).collect()
}

/// A user's spectrum: two columns, wavelength in nm (air) and flux in erg/s/cm2/Angstrom, separated by blanks, tabs,
/// commas or semicolons; `#` starts a comment; the first line may name the columns. Zero beyond its ends.
pub fn parse_spectrum(name: &str, text: &str) -> Result<Table, LightError> {
    let wrong = |line: usize, reason: String| LightError::Table { name: name.into(), line: line + 1, reason };
    let mut pairs: Vec<(f64, f64)> = Vec::new();
    let mut heading_allowed = true;
    for (number, line) in text.lines().enumerate() {
        let content = line.split('#').next().unwrap_or_default();
        let fields: Vec<&str> = content
            .split(|c: char| c.is_whitespace() || c == ',' || c == ';')
            .filter(|field| !field.is_empty())
            .collect();
        if fields.is_empty() {
            continue;
        }
        let &[wavelength, flux] = fields.as_slice() else {
            return Err(wrong(number, format!("{} columns; expected wavelength (nm) and flux", fields.len())));
        };
        let parsed = (wavelength.parse::<f64>(), flux.parse::<f64>());
        let heading = std::mem::replace(&mut heading_allowed, false) && parsed.0.is_err() && parsed.1.is_err();
        if heading {
            continue;
        }
        let (Ok(wavelength), Ok(flux)) = parsed else {
            return Err(wrong(number, format!("'{}' is not a pair of numbers", content.trim())));
        };
        if !(1.0..=1.0e5).contains(&wavelength) {
            return Err(wrong(number, format!("wavelength {wavelength} is not between 1 and 100000 nm")));
        }
        if !(0.0..=1.0e10).contains(&flux) {
            return Err(wrong(number, format!("flux {flux} is not between 0 and 1e10 erg/s/cm2/Angstrom")));
        }
        if let Some(&(last, _)) = pairs.last().filter(|(last, _)| *last >= wavelength) {
            return Err(wrong(number, format!("wavelength {wavelength} after {last}: wavelengths must rise")));
        }
        pairs.push((wavelength, flux));
    }
    if pairs.len() < 2 {
        let reason = format!("has {} points; at least 2 are needed", pairs.len());
        return Err(LightError::Coverage { name: name.into(), reason });
    }
    Ok(Table::new(pairs, Beyond::Zero))
}
