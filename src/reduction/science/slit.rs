//! Where the slit lies in an exposure: its ends, found in the light of the sky.
//!
//! Between the calibrations of the day and an exposure at night the spectrograph bends, and the image of the slit moves
//! along itself by up to some pixels. The maps of wavelength and slit position are moved with it, so that lines keep
//! their lean and the slit its middle.

use rayon::prelude::*;

use super::rows::Rows;
use super::sky;
use super::strip::Strip;
use crate::reduction::flags;

/// Width of a cell along the slit, arcsec, and the slit positions that are looked at.
const CELL: f64 = 0.1;
const REACH: f64 = 8.0;
const CELLS: usize = 160;
/// Width of a cell at the ends of the slit, and how far within and beyond the flat's end they reach, unbinned pixels.
const STEP: f64 = 0.25;
const WITHIN: f64 = 4.0;
const STEPS: usize = 36;
/// Parts of the slit that are surely lit, and that make the level, arcsec from the middle.
const INNER: [f64; 2] = [2.0, 4.2];
/// Largest error of the middle of the slit that still is a measurement, unbinned pixels.
const LARGEST_ERROR: f64 = 0.25;

/// Error of the flat's ends, which are known to a cell, unbinned pixels.
const ENDS_ERROR: f64 = 0.1;
/// Fewest cells of an end that must be seen.
const LEAST_SEEN: f64 = 6.0;

/// By how much the slit lies off the maps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlitShift {
    /// Unbinned pixels along the slit, towards higher columns of a strip.
    pub pixels: f64,
    /// Standard error.
    pub error: f64,
}

impl SlitShift {
    /// Whether the shift is there beyond doubt.
    pub fn is_significant(&self) -> bool {
        self.pixels.abs() > 3.0 * self.error
    }
}

/// Slit positions between which the flat calibrates the pixels of these strips, arcsec. `None` without a flat.
pub fn lit(strips: &[Strip]) -> Option<[f64; 2]> {
    let mut cells = vec![[0.0; 2]; CELLS];
    for strip in strips {
        for (slit, bits) in strip.slit.iter().zip(&strip.flags).filter(|(slit, _)| slit.is_finite()) {
            if let Some(cell) = cells.get_mut(((f64::from(*slit) + REACH) / CELL) as usize) {
                cell[0] += f64::from(u8::from(bits & flags::UNLIT == 0));
                cell[1] += 1.0;
            }
        }
    }
    ends(&ratios(&cells), 0.5)
}

/// First over second number of every cell; between cells that have none, on a line from one neighbour to the other.
fn ratios(cells: &[[f64; 2]]) -> Vec<f64> {
    let mut out = vec![0.0; cells.len()];
    let mut before: Option<usize> = None;
    for (k, [up, down]) in cells.iter().enumerate() {
        if *down <= 0.0 {
            continue;
        }
        out[k] = up / down;
        if let Some(before) = before {
            let (low, high) = (out[before], out[k]);
            for (i, cell) in out.iter_mut().enumerate().take(k).skip(before + 1) {
                *cell = low + (high - low) * (i - before) as f64 / (k - before) as f64;
            }
        }
        before = Some(k);
    }
    out
}

/// Where a profile falls below a level, from the middle outwards, arcsec.
fn ends(profile: &[f64], level: f64) -> Option<[f64; 2]> {
    let middle = profile.len() / 2;
    let position = |k: f64| (k + 0.5) * CELL - REACH;
    let up = (middle..profile.len() - 1).find(|k| profile[*k] >= level && profile[k + 1] < level)?;
    let down = (1..=middle).rev().find(|k| profile[*k] >= level && profile[k - 1] < level)?;
    let part = |inside: f64, outside: f64| (inside - level) / (inside - outside).max(1e-9);
    Some([
        position(down as f64 - part(profile[down], profile[down - 1])),
        position(up as f64 + part(profile[up], profile[up + 1])),
    ])
}

/// Find the slit in the light of the sky of all strips: by how far it has moved from where the flat shows it between the
/// slit positions `lit`. `None` when there is too little light.
pub fn find(strips: &[(&Strip, &Rows)], lit: [f64; 2]) -> Option<SlitShift> {
    let parts: Vec<Cells> = strips
        .par_iter()
        .map(|(strip, rows)| {
            let mut cells = Cells::default();
            // pixels differ in size from order to order, and so does the blur of the flat's ends in arcsec
            cells.add(strip, rows, self::lit(std::slice::from_ref(*strip)).unwrap_or(lit));
            cells
        })
        .collect();
    let mut cells = Cells::default();
    parts.iter().for_each(|part| cells.merge(part));
    cells.shift()
}

/// Light of the sky as sums of w x sky x light and w x sky^2, `w` one over the variance.
struct Cells {
    /// At the low and the high end of the slit, by pixels beyond the flat's end.
    ends: [[[f64; 2]; STEPS]; 2],
    /// On the two sides of the middle.
    inner: [[f64; 2]; 2],
}

impl Default for Cells {
    fn default() -> Cells {
        Cells { ends: [[[0.0; 2]; STEPS]; 2], inner: [[0.0; 2]; 2] }
    }
}

impl Cells {
    fn merge(&mut self, other: &Cells) {
        let mine = self.ends.iter_mut().flatten().chain(&mut self.inner);
        for (a, b) in mine.zip(other.ends.iter().flatten().chain(&other.inner)) {
            *a = [a[0] + b[0], a[1] + b[1]];
        }
    }

    fn add(&mut self, strip: &Strip, rows: &Rows, lit: [f64; 2]) {
        let medians = sky::medians(strip, rows);
        let templates = templates(strip, &medians);
        let bad = super::strip::UNUSABLE & !flags::UNLIT;
        let last = medians.len().saturating_sub(1);
        for r in 0..strip.shape().0 {
            for (c, slit) in strip.slit.row(r).indexed_iter() {
                let (at, slit) = ((r, c), f64::from(*slit));
                let Some(scale) = scale(strip, r, c) else { continue };
                if strip.flags[at] & bad != 0 {
                    continue;
                }
                let row = (rows.at[at].round().max(0.0) as usize).min(last);
                let (sky, weight, value) = (medians[row], templates[row], f64::from(strip.value[at]));
                let variance = strip.variance(at, sky) + 0.01 * sky * sky;
                // what is far above the sky is a source or a cosmic ray
                if weight <= 0.0 || (value - sky).powi(2) > 25.0 * (variance + sky * sky) {
                    continue;
                }
                let add = |cell: &mut [f64; 2]| {
                    *cell = [cell[0] + weight * value / variance, cell[1] + weight * weight / variance];
                };
                if (INNER[0]..INNER[1]).contains(&slit.abs()) {
                    add(&mut self.inner[usize::from(slit > 0.0)]);
                }
                // pixels beyond the end, whichever way slit positions run along the columns
                for (end, beyond) in [(0, lit[0] - slit), (1, slit - lit[1])] {
                    let step = (beyond / scale.abs() + WITHIN) / STEP;
                    if step >= 0.0 && (step as usize) < STEPS {
                        add(&mut self.ends[if scale > 0.0 { end } else { 1 - end }][step as usize]);
                    }
                }
            }
        }
    }

    fn shift(&self) -> Option<SlitShift> {
        // the darker side, since a source may lie on one
        let level = self.inner.iter().map(|[up, down]| up / down).fold(f64::INFINITY, f64::min);
        if !(level.is_finite() && level > 0.0) {
            return None;
        }
        let [low, high] = self.ends.each_ref().map(|cells| length(cells, level));
        let ((low, low_error), (high, high_error)) = (low?, high?);
        let error = (0.5 * low_error.hypot(high_error)).hypot(ENDS_ERROR);
        (error < LARGEST_ERROR).then_some(SlitShift { pixels: 0.5 * (high - low), error })
    }
}

/// Pixels that are lit near an end of the slit, and the error of that.
fn length(cells: &[[f64; 2]], level: f64) -> Option<(f64, f64)> {
    let known = cells.iter().filter(|[_, down]| *down > 0.0);
    let seen = known.clone().count() as f64;
    if seen < LEAST_SEEN {
        return None;
    }
    let length: f64 = ratios(cells).iter().map(|light| light / level * STEP).sum();
    let variance: f64 = known.map(|[_, down]| STEP * STEP / (down * level * level)).sum();
    // a cell between two stands for as much as they do
    Some((length, variance.sqrt() * cells.len() as f64 / seen))
}

/// What pixels are weighed with: the light of their row where that is far above its noise, else that of the
/// neighbourhood without the row itself, which knows nothing of the noise of its pixels.
fn templates(strip: &Strip, medians: &[f64]) -> Vec<f64> {
    let at = |k: isize| usize::try_from(k).ok().and_then(|k| medians.get(k)).copied();
    let middle = strip.shape().1 / 2;
    (0..medians.len() as isize)
        .zip(medians)
        .map(|(row, median)| {
            let near = (2..=6).flat_map(|k| [at(row - k), at(row + k)]).flatten();
            let (sum, n) = near.fold((0.0, 0.0), |(sum, n), value| (sum + value, n + 1.0));
            let around: f64 = if n > 0.0 { sum / n } else { 0.0 };
            let noise = strip.variance((row as usize, middle), *median) * 4.0 / strip.shape().1 as f64;
            if (median - around).powi(2) > 25.0 * noise { *median } else { around }
        })
        .collect()
}

/// Arcsec per unbinned pixel along the slit at a pixel.
fn scale(strip: &Strip, r: usize, c: usize) -> Option<f64> {
    let row = strip.slit.row(r);
    let known = |k: usize| row.get(k).filter(|slit| slit.is_finite()).map_or(c, |_| k);
    let (low, high) = (known(c.saturating_sub(1)), known(c + 1));
    let scale = f64::from(row[high] - row[low]) / ((high - low).max(1) * strip.binning[1]) as f64;
    (scale != 0.0 && scale.is_finite()).then_some(scale)
}

/// Move the maps of a strip along its columns, by unbinned pixels.
pub fn move_maps(strip: &mut Strip, pixels: f64) {
    let (rows, columns) = strip.shape();
    let binned = pixels / strip.binning[1] as f64;
    for r in 0..rows {
        let slit = strip.slit.row(r).to_owned();
        let wavelength = strip.wavelength.row(r).to_owned();
        for c in 0..columns {
            let known = |k: usize| if slit[k].is_finite() { k } else { c };
            let (low, high) = (known(c.saturating_sub(1)), known((c + 1).min(columns - 1)));
            if high > low {
                let step = binned / (high - low) as f64;
                strip.wavelength[(r, c)] -= (wavelength[high] - wavelength[low]) * step;
                strip.slit[(r, c)] -= ((slit[high] - slit[low]) as f64 * step) as f32;
            }
        }
    }
}

/// Flag what lies outside of these slit positions as [`flags::UNLIT`].
pub fn close(strip: &mut Strip, [low, high]: [f64; 2]) {
    ndarray::Zip::from(&mut strip.flags).and(&strip.slit).for_each(|bits, slit| {
        if slit.is_finite() && !(low..=high).contains(&f64::from(*slit)) {
            *bits |= flags::UNLIT;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::{Scene, line};
    use super::*;

    /// A slit from -5.4 to 5.4 arcsec, moved; the flat has it where it belongs.
    fn scene(shift: f64, sky: f64) -> (Vec<Strip>, Vec<Rows>) {
        let edge = |s: f64| line(s, 10.8, 0.15);
        let strips: Vec<Strip> = (1..4)
            .map(|seed| {
                let scene = Scene { seed: Some(seed), shape: (400, 50), ..Scene::small() };
                let mut strip = scene.strip(&|u, s| (sky + 40.0 * sky * line(u - 120.0, 3.5, 0.6)) * edge(s - shift));
                let lit = strip.slit.mapv(|s| edge(f64::from(s)) > 0.97);
                ndarray::Zip::from(&mut strip.flags).and(&lit).for_each(|bits, lit| {
                    *bits |= if *lit { 0 } else { flags::UNLIT };
                });
                strip
            })
            .collect();
        let rows = strips.iter().map(|strip| Rows::of(strip).unwrap()).collect();
        (strips, rows)
    }

    fn pairs<'a>(strips: &'a [Strip], rows: &'a [Rows]) -> Vec<(&'a Strip, &'a Rows)> {
        strips.iter().zip(rows).collect()
    }

    #[test]
    fn the_slit_is_found_where_it_is() {
        for shift in [0.0, 0.41, -0.35] {
            let (strips, rows) = scene(shift, 10.0);
            let lit = lit(&strips).unwrap();
            assert!((lit[0] + 5.12).abs() < 0.15 && (lit[1] - 5.12).abs() < 0.15, "{lit:?}");
            let found = find(&pairs(&strips, &rows), lit).unwrap();
            // 3.6 pixels per arcsec
            assert!((found.pixels - 3.6 * shift).abs() < 0.1 + 3.0 * found.error, "{shift} {found:?}");
            assert_eq!(found.is_significant(), shift != 0.0, "{found:?}");
        }
        let (strips, rows) = scene(0.4, 0.05);
        assert_eq!(find(&pairs(&strips, &rows), lit(&strips).unwrap()), None);
    }

    #[test]
    fn moved_maps_say_what_a_moved_slit_shows() {
        let scene = Scene::small();
        let mut strip = scene.strip(&|_, _| 0.0);
        move_maps(&mut strip, 1.08);
        for (at, slit) in strip.slit.indexed_iter().filter(|(_, slit)| slit.is_finite() && slit.abs() < 5.0) {
            let u = scene.row_at_middle(at.0 as f64, f64::from(*slit));
            assert!((strip.wavelength[at] - scene.wavelength(u)).abs() < 1e-4, "{at:?}");
        }
        close(&mut strip, [-3.0, 3.0]);
        assert!(!strip.usable((50, 8)) && strip.usable((50, 25)));
    }
}
