//! Where the slit lies in an exposure: its ends, found in the light of the sky.
//!
//! Between the calibrations of the day and an exposure at night the spectrograph bends, and the image of the slit moves
//! along itself by up to some pixels. The maps of wavelength and slit position are moved with it, so that lines keep
//! their lean and the slit its middle.

use super::rows::Rows;
use super::sky;
use super::strip::Strip;
use crate::reduction::flags;

/// Width of a cell along the slit, arcsec, and the slit positions that are looked at.
const CELL: f64 = 0.1;
const REACH: f64 = 7.0;
const CELLS: usize = 140;
/// Parts of the slit that are surely lit, and that make the level, arcsec from the middle.
const INNER: [f64; 2] = [2.5, 4.5];
/// Largest error of the middle of the slit that still is a measurement, arcsec.
const LARGEST_ERROR: f64 = 0.08;
/// Farthest that the ends of the slit are looked for from where the flat has them, arcsec.
const SEARCH: f64 = 0.9;

/// By how much the slit lies off the maps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlitShift {
    /// Arcsec along the slit: what the maps call 0 is the middle of the slit minus this.
    pub arcsec: f64,
    /// Standard error.
    pub error: f64,
}

impl SlitShift {
    /// Whether the shift is there beyond doubt.
    pub fn is_significant(&self) -> bool {
        self.arcsec.abs() > 3.0 * self.error
    }
}

/// Light of the sky and lit pixels of the flat in cells along the slit, of all orders together.
struct Cells {
    /// Sums of weight x sky x light, weight x sky^2.
    light: Vec<[f64; 2]>,
    /// Pixels that the flat calibrates, and all.
    lit: Vec<[f64; 2]>,
}

/// Slit positions between which the flat calibrates the pixels of these strips.
pub fn lit(strips: &[Strip]) -> Option<[f64; 2]> {
    let mut cells = vec![[0.0; 2]; CELLS];
    strips.iter().for_each(|strip| count_lit(strip, &mut cells));
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

fn count_lit(strip: &Strip, cells: &mut [[f64; 2]]) {
    for (slit, bits) in strip.slit.iter().zip(&strip.flags) {
        if let Some(cell) = cells.get_mut(((f64::from(*slit) + REACH) / CELL) as usize).filter(|_| slit.is_finite()) {
            cell[0] += f64::from(u8::from(bits & flags::UNLIT == 0));
            cell[1] += 1.0;
        }
    }
}

/// Find the slit in the light of the sky of all strips. `None` when there is too little of it.
pub fn find(strips: &[Strip], rows: &[Rows]) -> Option<SlitShift> {
    let mut cells = Cells { light: vec![[0.0; 2]; CELLS], lit: vec![[0.0; 2]; CELLS] };
    for (strip, rows) in strips.iter().zip(rows) {
        cells.add(strip, rows);
    }
    cells.shift()
}

impl Cells {
    fn add(&mut self, strip: &Strip, rows: &Rows) {
        count_lit(strip, &mut self.lit);
        let medians = sky::medians(strip, rows);
        let bad = super::strip::UNUSABLE & !flags::UNLIT;
        for (((r, c), slit), bits) in strip.slit.indexed_iter().zip(&strip.flags) {
            if bits & bad != 0 || !slit.is_finite() {
                continue;
            }
            let row = (rows.at[(r, c)].round().max(0.0) as usize).min(medians.len().saturating_sub(1));
            let Some(cell) = self.light.get_mut(((f64::from(*slit) + REACH) / CELL) as usize) else { continue };
            let (sky, value) = (medians[row], f64::from(strip.value[(r, c)]));
            let variance = strip.variance((r, c), sky) + 0.01 * sky * sky;
            // what is far above the sky is a source or a cosmic ray
            if sky > 0.0 && (value - sky).powi(2) < 25.0 * (variance + sky * sky) {
                *cell = [cell[0] + sky * value / variance, cell[1] + sky * sky / variance];
            }
        }
    }

    fn shift(&self) -> Option<SlitShift> {
        let flat = ends(&ratios(&self.lit), 0.5)?;
        let level = self.level()?;
        let profile: Vec<f64> = ratios(&self.light).into_iter().map(|light| light / level).collect();
        let found = [self.end(&profile, flat[0], -1.0, level)?, self.end(&profile, flat[1], 1.0, level)?];
        let middle = |[low, high]: [f64; 2]| 0.5 * (low + high);
        let error = 0.5 * found[0].1.hypot(found[1].1);
        let arcsec = middle([found[0].0, found[1].0]) - middle(flat);
        (error < LARGEST_ERROR).then_some(SlitShift { arcsec, error })
    }

    /// Light of the sky inside of the slit, away from its ends; the lower of the two sides, since a source may lie on one.
    fn level(&self) -> Option<f64> {
        let side = |sign: f64| {
            let (mut up, mut down) = (0.0, 0.0);
            for (k, [a, b]) in self.light.iter().enumerate() {
                let slit = sign * ((k as f64 + 0.5) * CELL - REACH);
                if (INNER[0]..INNER[1]).contains(&slit) {
                    (up, down) = (up + a, down + b);
                }
            }
            (down > 0.0).then(|| up / down)
        };
        let level = side(1.0)?.min(side(-1.0)?);
        (level > 0.0).then_some(level)
    }

    /// Where the light falls to one half near an end, and the error of that: from the light in the whole stretch, which
    /// is a fraction of it as long as the slit reaches into it.
    fn end(&self, profile: &[f64], flat: f64, sign: f64, level: f64) -> Option<(f64, f64)> {
        let (mut length, mut variance, mut reach, mut seen) = (0.0, 0.0, 0.0, 0.0f64);
        for (k, (light, [_, down])) in profile.iter().zip(&self.light).enumerate() {
            let slit = (k as f64 + 0.5) * CELL - REACH;
            let beyond = sign * (slit - flat);
            if !(-SEARCH..SEARCH + 0.5).contains(&beyond) {
                continue;
            }
            length += light * CELL;
            reach += CELL;
            if *down > 0.0 {
                variance += CELL * CELL / (down * level * level);
                seen += 1.0;
            }
        }
        // a cell between two stands for as much as they do
        let share = reach / CELL / seen.max(1.0);
        (seen > 2.0).then(|| (flat + sign * (length - SEARCH), variance.sqrt() * share))
    }
}

/// Where a profile falls below a level, from the middle outwards.
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

/// Move the maps of a strip along the slit.
pub fn move_maps(strip: &mut Strip, shift: f64) {
    let (rows, columns) = strip.shape();
    for r in 0..rows {
        let slit = strip.slit.row(r).to_owned();
        let wavelength = strip.wavelength.row(r).to_owned();
        for c in 0..columns {
            let (low, high) = (c.saturating_sub(1), (c + 1).min(columns.saturating_sub(1)));
            let known = |k: usize| if slit[k].is_finite() { k } else { c };
            let (low, high) = (known(low), known(high));
            let length = f64::from(slit[high] - slit[low]);
            if length.abs() > 0.0 {
                strip.wavelength[(r, c)] -= (wavelength[high] - wavelength[low]) / length * shift;
            }
            strip.slit[(r, c)] -= shift as f32;
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

    #[test]
    fn the_slit_is_found_where_it_is() {
        for shift in [0.0, 0.41, -0.35] {
            let (strips, rows) = scene(shift, 10.0);
            let found = find(&strips, &rows).unwrap();
            assert!((found.arcsec - shift).abs() < 0.03 + 3.0 * found.error, "{shift} {found:?}");
            assert_eq!(found.is_significant(), shift != 0.0, "{found:?}");
        }
        let (strips, rows) = scene(0.4, 0.05);
        assert_eq!(find(&strips, &rows), None);
    }

    #[test]
    fn moved_maps_say_what_a_moved_slit_shows() {
        let scene = Scene::small();
        let mut strip = scene.strip(&|_, _| 0.0);
        move_maps(&mut strip, 0.3);
        for (at, slit) in strip.slit.indexed_iter().filter(|(_, slit)| slit.is_finite() && slit.abs() < 5.0) {
            let u = scene.row_at_middle(at.0 as f64, f64::from(*slit));
            assert!((strip.wavelength[at] - scene.wavelength(u)).abs() < 1e-4, "{at:?}");
        }
        close(&mut strip, [-3.0, 3.0]);
        assert!(!strip.usable((50, 8)) && strip.usable((50, 25)));
    }
}
