//! The way of a source through the strip of an order: where it lies in each row, and which sample a pixel belongs to.
//!
//! Samples of a spectrum are the rows of the strip at the track. Because the image of the slit is tilted, a pixel beside the
//! track holds light of a wavelength between two samples; its place is a row with a fraction, [`Track::sample`].

use super::strip::Strip;
use crate::reduction::orders::image::unbinned;

/// Where a source lies in a strip, row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct Track {
    /// Slit position, arcsec.
    pub slit: Vec<f64>,
    /// Wavelength at that position, nm; continued beyond rows where the order has no pixel there.
    pub wavelength: Vec<f64>,
    /// Width of a row at constant slit position, nm; positive.
    pub width: Vec<f64>,
    /// Arcseconds per column.
    pub scale: Vec<f64>,
    /// Place across the dispersion, unbinned pixels of the trimmed detector.
    pub across: Vec<f64>,
    /// Whether the row has pixels of the order at the track.
    pub covered: Vec<bool>,
}

/// Slit position and wavelength of a row as straight lines over the columns, which they are within 1e-3 pixels.
#[derive(Clone, Copy)]
struct RowLines {
    first: (usize, f64, f64),
    last: (usize, f64, f64),
}

impl RowLines {
    fn of(strip: &Strip, row: usize) -> Option<RowLines> {
        let line = strip.wavelength.row(row);
        let first = line.iter().position(|w| w.is_finite())?;
        let last = line.len() - 1 - line.iter().rev().position(|w| w.is_finite())?;
        if last < first + 2 {
            return None;
        }
        let at = |c: usize| (c, f64::from(strip.slit[(row, c)]), line[c]);
        Some(RowLines { first: at(first), last: at(last) })
    }

    /// Arcseconds per column, with its sign.
    fn scale(&self) -> f64 {
        (self.last.1 - self.first.1) / (self.last.0 - self.first.0) as f64
    }

    /// Column with its fraction at a slit position.
    fn column(&self, slit: f64) -> f64 {
        self.first.0 as f64 + (slit - self.first.1) / self.scale()
    }

    /// Wavelength at a column from the two pixels about it, from the ends of the row beyond them.
    fn wavelength(&self, strip: &Strip, row: usize, column: f64) -> f64 {
        let left = (column.floor().max(self.first.0 as f64) as usize).min(self.last.0.saturating_sub(1));
        let (a, b) = (strip.wavelength[(row, left)], strip.wavelength[(row, left + 1)]);
        a + (b - a) * (column - left as f64)
    }
}

impl Track {
    /// Follow the slit position that `position` gives for a wavelength. `None` when the strip has fewer than four rows there.
    pub fn new(strip: &Strip, position: impl Fn(f64) -> f64) -> Option<Track> {
        let rows = strip.shape().0;
        let mut track = Track {
            slit: vec![f64::NAN; rows],
            wavelength: vec![f64::NAN; rows],
            width: vec![f64::NAN; rows],
            scale: vec![f64::NAN; rows],
            across: vec![f64::NAN; rows],
            covered: vec![false; rows],
        };
        for row in 0..rows {
            let Some(lines) = RowLines::of(strip, row) else { continue };
            let mut slit = position(0.5 * (lines.first.2 + lines.last.2));
            let mut wavelength = f64::NAN;
            for _ in 0..2 {
                wavelength = lines.wavelength(strip, row, lines.column(slit));
                slit = position(wavelength);
            }
            let column = lines.column(slit);
            if !(wavelength.is_finite() && slit.is_finite()) {
                continue;
            }
            track.covered[row] = column > lines.first.0 as f64 - 0.5 && column < lines.last.0 as f64 + 0.5;
            (track.slit[row], track.wavelength[row]) = (slit, wavelength);
            track.scale[row] = lines.scale().abs();
            track.across[row] = unbinned(strip.columns[row] as f64 + column, strip.binning[1]);
        }
        track.finish(strip)
    }

    /// Continue the track into rows without pixels and find the widths.
    fn finish(mut self, strip: &Strip) -> Option<Track> {
        let known: Vec<usize> = (0..self.slit.len()).filter(|row| self.wavelength[*row].is_finite()).collect();
        let (first, last) = (*known.first()?, *known.last()?);
        if known.len() < 4 {
            return None;
        }
        continued(&mut self.wavelength, &known);
        for values in [&mut self.slit, &mut self.scale, &mut self.across] {
            held(values, &known);
        }
        let rows = self.slit.len();
        for row in 0..rows {
            let (low, high) = (row.saturating_sub(1).max(first), (row + 1).min(last).max(first + 1));
            let (low, high) = if low < high { (low, high) } else { (last - 1, last) };
            let steps = (high - low) as f64;
            let along = (self.wavelength[high] - self.wavelength[low]) / steps;
            // what the track's own motion along the slit adds to its wavelength is no width of the row
            let drift = (self.slit[high] - self.slit[low]) / steps;
            let tilt = RowLines::of(strip, row.clamp(first, last))
                .map_or(0.0, |lines| (lines.last.2 - lines.first.2) / (lines.last.1 - lines.first.1));
            self.width[row] = (along - drift * tilt).abs();
        }
        let rising = self.wavelength[last] > self.wavelength[first];
        let monotonic = known.windows(2).all(|pair| (self.wavelength[pair[1]] > self.wavelength[pair[0]]) == rising);
        monotonic.then_some(self)
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.slit.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.slit.is_empty()
    }

    /// The row, with its fraction, in which the track has the wavelength of a pixel of `row`.
    pub fn sample(&self, row: usize, wavelength: f64) -> f64 {
        let mut at = row as f64;
        for _ in 0..2 {
            let (here, slope) = self.line(at);
            at += (wavelength - here) / slope;
        }
        at
    }

    /// Slit position of the track at a row with its fraction.
    pub fn slit_at(&self, at: f64) -> f64 {
        let left = (at.floor().max(0.0) as usize).min(self.len().saturating_sub(2));
        self.slit[left] + (self.slit[left + 1] - self.slit[left]) * (at - left as f64)
    }

    /// Wavelength at a row with its fraction and its slope; straight beyond the ends.
    fn line(&self, at: f64) -> (f64, f64) {
        let left = (at.floor().max(0.0) as usize).min(self.len().saturating_sub(2));
        let slope = self.wavelength[left + 1] - self.wavelength[left];
        (self.wavelength[left] + slope * (at - left as f64), slope)
    }
}

/// Fill gaps by straight lines and continue both ends with the slope that they have.
fn continued(values: &mut [f64], known: &[usize]) {
    held(values, known);
    let (Some(&first), Some(&last)) = (known.first(), known.last()) else { return };
    let reach = (known.len() - 1).min(8);
    let slope = |a: usize, b: usize, values: &[f64]| (values[b] - values[a]) / (b - a) as f64;
    let (start, end) = (slope(first, known[reach], values), slope(known[known.len() - 1 - reach], last, values));
    for row in 0..first {
        values[row] = values[first] - start * (first - row) as f64;
    }
    for row in last + 1..values.len() {
        values[row] = values[last] + end * (row - last) as f64;
    }
}

/// Fill gaps by straight lines and hold the ends.
fn held(values: &mut [f64], known: &[usize]) {
    let (Some(&first), Some(&last)) = (known.first(), known.last()) else { return };
    let (start, end) = (values[first], values[last]);
    values[..first].fill(start);
    values[last + 1..].fill(end);
    for pair in known.windows(2) {
        let (from, to) = (values[pair[0]], values[pair[1]]);
        let step = (to - from) / (pair[1] - pair[0]) as f64;
        for (k, value) in values[pair[0]..pair[1]].iter_mut().enumerate() {
            *value = from + step * k as f64;
        }
    }
}
