//! Which parts of the slit a source covers, before anything is known of sources or sky.
//!
//! Every pixel is compared with the median of its line of equal wavelength, and the medians of such differences along
//! the order make a profile of the slit. What stands out of it is hidden from the first fit of the sky; sources too
//! faint for that do no harm there, and are taken away by their own model in the next.

use super::rows::Rows;
use super::strip::Strip;
use crate::numerics::robust::{median, median_f64};

/// Width of a cell along the slit, arcsec, and the slit positions that are looked at.
const CELL: f32 = 0.25;
const REACH: f32 = 6.5;
const CELLS: usize = 52;
/// Rows of a block.
const BLOCK: usize = 64;
/// What stands out: significance, and least height in units of a pixel's noise. Less is left to the uneven lighting of
/// the slit.
const SIGMAS: f64 = 4.0;
const HEIGHT: f64 = 0.15;
/// Largest change of the lighting from one end to the other, in units of a pixel's noise.
const STEEPEST: f64 = 0.6;
/// Most of the slit that may be hidden.
const MOST: f64 = 0.75;

/// Slit positions, arcsec, that a source covers in this order.
pub fn find(strip: &Strip, rows: &Rows) -> Vec<[f32; 2]> {
    let profile = level(profile(strip, rows));
    let known: Vec<f64> = profile.iter().flatten().map(|cell| cell.0).collect();
    if known.len() < 8 {
        return Vec::new();
    }
    let mut sorted = known.clone();
    sorted.sort_unstable_by(f64::total_cmp);
    // the emptier half of the slit is the sky
    let base = median_f64(&mut sorted[..known.len() / 2]).unwrap_or(0.0);
    let least = ((1.0 - MOST) * sorted.len() as f64) as usize;
    let stands_out = |cell: &Option<(f64, f64)>| {
        cell.is_some_and(|(height, error)| height - base > (SIGMAS * error).max(HEIGHT) && height > sorted[least])
    };
    let out: Vec<bool> = profile.iter().map(stands_out).collect();
    // one cell more on each side, where that leaves enough
    let count = out.iter().filter(|out| **out).count();
    let grow = usize::from((count as f64) < (MOST - 0.15) * known.len() as f64);
    let covered: Vec<bool> =
        (0..CELLS).map(|k| out[k.saturating_sub(grow)..(k + grow + 1).min(CELLS)].contains(&true)).collect();
    ranges(&covered)
}

/// Take a straight line along the slit away: lighting that rises from end to end is no source. The line runs through the
/// medians of the outer thirds, so that a source in the middle has no say, and one in an outer third little.
fn level(profile: Vec<Option<(f64, f64)>>) -> Vec<Option<(f64, f64)>> {
    let third = |from: usize| {
        let mut heights: Vec<f64> = profile[from..from + CELLS / 3].iter().flatten().map(|cell| cell.0).collect();
        median_f64(&mut heights)
    };
    let (Some(low), Some(high)) = (third(0), third(CELLS - CELLS / 3)) else { return profile };
    // middles of the thirds, less those cells at the ends that no slit reaches
    let distance = (CELLS - CELLS / 3) as f64;
    let lower = low.min(high);
    // a source may fill one third: its height is no slope
    let slope = (high - low).clamp(-STEEPEST, STEEPEST) / distance;
    let start = if low <= high { lower } else { lower - slope * distance };
    let take = |(k, cell): (usize, Option<(f64, f64)>)| {
        cell.map(|(height, error)| (height - start - slope * (k as f64 - CELLS as f64 / 6.0), error))
    };
    profile.into_iter().enumerate().map(take).collect()
}

fn ranges(covered: &[bool]) -> Vec<[f32; 2]> {
    let mut ranges: Vec<[f32; 2]> = Vec::new();
    for (k, _) in covered.iter().enumerate().filter(|(_, covered)| **covered) {
        let (low, high) = (k as f32 * CELL - REACH, (k + 1) as f32 * CELL - REACH);
        match ranges.last_mut().filter(|last| last[1] >= low) {
            Some(last) => last[1] = high,
            None => ranges.push([low, high]),
        }
    }
    ranges
}

/// Height of every cell above the medians, in units of the noise, with its error.
fn profile(strip: &Strip, rows: &Rows) -> Vec<Option<(f64, f64)>> {
    let (count, width) = strip.shape();
    let medians = super::sky::medians(strip, rows);
    let mut sums = vec![(0.0f64, 0.0f64); CELLS];
    let mut cells: Vec<Vec<f32>> = vec![Vec::new(); CELLS];
    for block in (0..count).step_by(BLOCK) {
        cells.iter_mut().for_each(Vec::clear);
        for r in block..(block + BLOCK).min(count) {
            for c in 0..width {
                if !strip.usable((r, c)) {
                    continue;
                }
                let cell = ((strip.slit[(r, c)] + REACH) / CELL) as usize;
                let u = rows.at[(r, c)].max(0.0);
                // between the medians of two rows, as the line goes
                let low = (u as usize).min(medians.len() - 1);
                let (a, b) = (medians[low], medians[(low + 1).min(medians.len() - 1)]);
                let middle = a + (b - a) * f64::from(u - low as f32).clamp(0.0, 1.0);
                let sigma = strip.variance((r, c), middle).sqrt();
                if let Some(cell) = cells.get_mut(cell) {
                    cell.push(((f64::from(strip.value[(r, c)]) - middle) / sigma) as f32);
                }
            }
        }
        for (cell, sum) in cells.iter_mut().zip(&mut sums) {
            let n = cell.len() as f64;
            if let Some(middle) = median(cell) {
                *sum = (sum.0 + n * middle, sum.1 + n);
            }
        }
    }
    // the error of a median is that of a mean times 1.25
    sums.into_iter().map(|(sum, n)| (n >= 16.0).then(|| (sum / n, 1.25 / n.sqrt()))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::{Scene, line};
    use super::*;

    fn found(light: &dyn Fn(f64, f64) -> f64) -> Vec<[f32; 2]> {
        let strip = Scene::small().strip(light);
        find(&strip, &Rows::of(&strip).unwrap())
    }

    fn star(slit: f64, at: f64, peak: f64) -> f64 {
        peak * (-0.5 * ((slit - at) / 0.4).powi(2)).exp()
    }

    #[test]
    fn an_empty_slit_hides_nothing_though_it_is_lit_unevenly() {
        let lit = |u: f64, s: f64| (100.0 + 5000.0 * line(u - 80.3, 3.5, 0.6)) * (1.0 + 0.003 * s / 6.0);
        assert_eq!(found(&lit), Vec::<[f32; 2]>::new());
    }

    #[test]
    fn sources_are_covered_out_to_their_wings() {
        let bright = found(&|_, s| 50.0 + star(s, 1.0, 20_000.0));
        assert_eq!(bright.len(), 1);
        assert!(bright[0][0] < 1.0 - 1.5 && bright[0][1] > 1.0 + 1.5, "{bright:?}");
        let two = found(&|_, s| 50.0 + star(s, -3.0, 20.0) + star(s, 2.5, 60.0));
        assert_eq!(two.len(), 2);
        assert!(two[0][0] < -3.0 && two[0][1] > -3.0 && two[1][0] < 2.5 && two[1][1] > 2.5, "{two:?}");
    }

    #[test]
    fn some_of_the_slit_is_always_left() {
        let strip = found(&|_, s| 50.0 + 1000.0 * (-0.5 * (s / 6.0).powi(2)).exp());
        let covered: f32 = strip.iter().map(|[a, b]| b - a).sum();
        assert!(covered < 10.0, "{strip:?}");
    }
}
