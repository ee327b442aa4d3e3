//! How far lines of the night sky lie from where the map of wavelengths puts them.
//!
//! Around every group of lines that the list can tell apart, the list itself, blurred as the slit blurs it, is fitted to
//! the sky: its height, a slope below it, and its place. Blends need no special care, since neighbours are part of the
//! pattern; only ratios within a few pixels have to be right. All groups vote for the shift of the arm, then each is
//! measured near it, and each order takes what its groups say, held together by what the others say.

use super::rows::Rows;
use crate::instrument::airglow::SkyLine;
use crate::numerics::bspline::Spline;
use crate::numerics::robust::{MAD_TO_SIGMA, median_f64};

/// How the shift is looked for.
#[derive(Clone, Debug, PartialEq)]
pub struct ShiftOptions {
    /// Farthest shift, rows.
    pub search: f64,
    /// Width of the slit, rows, and the blur of its edges, sigma in rows.
    pub width: f64,
    /// Blur of the slit's edges, sigma, rows.
    pub blur: f64,
    /// Least signal to noise of a group of lines.
    pub least_signal: f64,
}

/// What a group of lines says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Group {
    /// Row of its middle.
    pub row: f64,
    /// Wavelength of its middle, nm.
    pub wavelength: f64,
    /// Rows by which it lies farther along than the map says.
    pub shift: f64,
    /// Standard error.
    pub error: f64,
    /// Left out as an outlier.
    pub out: bool,
}

/// Shift of an order.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderShift {
    /// Rows by which its lines lie farther along than the map says, mid order.
    pub rows: f64,
    /// Change of that from its first row to its last, the same for all orders of an arm.
    pub slope: f64,
    /// Rows of the order.
    length: f64,
    /// Standard error.
    pub error: f64,
    /// Groups of lines of this order; none when only other orders tell.
    pub groups: Vec<Group>,
}

impl OrderShift {
    /// Rows by which a line at this row lies farther along than the map says.
    pub fn at(&self, row: f64) -> f64 {
        self.rows + self.slope * (row / self.length - 0.5)
    }
}

/// Shifts of all orders of an arm.
#[derive(Clone, Debug, PartialEq)]
pub struct ArmShift {
    /// Mean of the orders with lines, rows.
    pub rows: f64,
    /// Standard error.
    pub error: f64,
    /// One per order, as given.
    pub orders: Vec<OrderShift>,
}

impl ArmShift {
    /// Whether the arm has moved beyond doubt.
    pub fn is_significant(&self) -> bool {
        self.rows.abs() > 3.0 * self.error
    }
}

/// Step of trial shifts and of the samples of a window, rows.
const TRIAL: f64 = 0.1;
const SAMPLE: f64 = 0.5;
/// Error that a group has from the list and from blends, rows.
const LIST_ERROR: f64 = 0.04;
/// Spread of orders about the arm that is expected before any data, rows.
const SPREAD: f64 = 0.05;
/// Part of a line's height by which sky and pattern may differ.
const TOLERANCE: f64 = 0.03;
/// Largest part of the height that may be left over in a group that is believed.
const WORST: f64 = 0.12;
/// Fewest groups of an arm that make a measurement.
const FEWEST: usize = 3;

/// Find the shifts. `orders` are sky and rows of each order. `None` when too few lines of the sky can be seen.
pub fn find(orders: &[(&Spline, &Rows)], list: &[SkyLine], options: &ShiftOptions) -> Option<ArmShift> {
    let patterns: Vec<Pattern> = orders.iter().map(|(_, rows)| Pattern::of(rows, list, options)).collect();
    let trials = (options.search / TRIAL).ceil() as i32;
    let mut windows: Vec<(usize, Window)> = Vec::new();
    for (k, ((sky, rows), pattern)) in orders.iter().zip(&patterns).enumerate() {
        windows.extend(pattern.windows(sky, rows, options).into_iter().map(|window| (k, window)));
    }
    // votes: how much of the structure each trial explains
    let best = (-trials..=trials)
        .map(|trial| {
            let shift = f64::from(trial) * TRIAL;
            let gain: f64 = windows.iter().map(|(k, window)| window.vote(&patterns[*k], shift)).sum();
            (gain, shift)
        })
        .max_by(|a, b| a.0.total_cmp(&b.0))?
        .1;
    let mut groups: Vec<Vec<Group>> = vec![Vec::new(); orders.len()];
    for (k, window) in &windows {
        groups[*k].extend(window.measure(&patterns[*k], orders[*k].1, best, options));
    }
    combine(groups, &orders.iter().map(|(_, rows)| rows.len() as f64).collect::<Vec<f64>>())
}

/// Lines of the list in an order, as the slit shows them.
struct Pattern {
    /// Row and strength.
    lines: Vec<(f64, f64)>,
    /// The pattern on a fine grid from row `first` on.
    table: Vec<f64>,
    first: f64,
    half: f64,
}

/// Steps of the table per row.
const FINE: f64 = 16.0;

impl Pattern {
    fn of(rows: &Rows, list: &[SkyLine], options: &ShiftOptions) -> Pattern {
        let ends = [rows.wavelength(0.0), rows.wavelength(rows.len() as f64 - 1.0)];
        let (low, high) = (ends[0].min(ends[1]), ends[0].max(ends[1]));
        let first = list.partition_point(|line| line.wavelength < low);
        let mut near = 0;
        let mut lines: Vec<(f64, f64)> = Vec::new();
        for line in list[first..].iter().take_while(|line| line.wavelength <= high) {
            let row = rows.row_of(line.wavelength, near);
            near = row.max(0.0) as usize;
            lines.push((row, line.photons));
        }
        let half = 0.5 * options.width + 4.0 * options.blur + 1.0;
        let margin = half + options.search + 2.0;
        let mut table = vec![0.0; ((rows.len() as f64 + 2.0 * margin) * FINE) as usize + 2];
        let start = -margin;
        for (row, strength) in &lines {
            let from = ((row - half - start) * FINE).ceil().max(0.0) as usize;
            let to = ((row + half - start) * FINE).floor().max(0.0) as usize;
            for (k, cell) in table.iter_mut().enumerate().take(to + 1).skip(from) {
                *cell += strength * line(start + k as f64 / FINE - row, options.width, options.blur);
            }
        }
        Pattern { lines, table, first: start, half }
    }

    fn at(&self, row: f64) -> f64 {
        let place = (row - self.first) * FINE;
        if place < 0.0 {
            return 0.0;
        }
        let i = place as usize;
        match (self.table.get(i), self.table.get(i + 1)) {
            (Some(low), Some(high)) => low + (high - low) * (place - i as f64),
            _ => 0.0,
        }
    }

    /// Windows round the peaks of the pattern, sampled from the sky.
    fn windows(&self, sky: &Spline, rows: &Rows, options: &ShiftOptions) -> Vec<Window> {
        let mut strong: Vec<(f64, f64)> = self.lines.iter().map(|(row, _)| (*row, self.at(*row))).collect();
        strong.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.total_cmp(&b.0)));
        let [low, high] = sky.basis().domain();
        let reach = self.half + 1.0;
        let margin = reach + options.search;
        let mut taken: Vec<f64> = Vec::new();
        let mut windows = Vec::new();
        for (row, _) in strong {
            if windows.len() >= MOST_GROUPS {
                break;
            }
            let free = taken.iter().all(|other| (other - row).abs() > 2.0 * reach);
            if !free || row < low + margin || row > high.min(rows.len() as f64) - margin {
                continue;
            }
            taken.push(row);
            windows.push(Window::sample(sky, row, margin));
        }
        windows
    }
}

/// Most groups of an order.
const MOST_GROUPS: usize = 24;

/// The sky round a group of lines.
struct Window {
    row: f64,
    /// Row, sky, weight; it reaches as far as the search does.
    samples: Vec<(f64, f64, f64)>,
    /// Part of the samples, in rows from the middle, that a trial uses.
    reach: f64,
}

impl Window {
    fn sample(sky: &Spline, row: f64, margin: f64) -> Window {
        let steps = (margin / SAMPLE) as i32;
        let samples: Vec<(f64, f64, f64)> = (-steps..=steps)
            .map(|k| {
                let u = row + f64::from(k) * SAMPLE;
                (u, sky.at(u), sky.variance(u))
            })
            .collect();
        let (least, most) =
            samples.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), (_, v, _)| (a.min(*v), b.max(*v)));
        let height = TOLERANCE * (most - least);
        let samples =
            samples.into_iter().map(|(u, value, variance)| (u, value, 1.0 / (variance + height * height))).collect();
        Window { row, samples, reach: margin }
    }

    /// Least squares of height, level and slope for a trial shift: sum of squares left, and what the pattern takes
    /// away.
    fn fit(&self, pattern: &Pattern, shift: f64) -> Option<Fit> {
        let reach = self.reach;
        let middle = self.row;
        let mut m = [[0.0f64; 3]; 3];
        let mut v = [0.0f64; 3];
        let (mut square, mut n) = (0.0, 0.0);
        for (u, value, weight) in self.samples.iter().filter(|(u, _, _)| (u - middle - shift).abs() <= reach) {
            let f = [1.0, (u - middle) / reach, pattern.at(u - shift)];
            for i in 0..3 {
                v[i] += weight * f[i] * value;
                for j in 0..3 {
                    m[i][j] += weight * f[i] * f[j];
                }
            }
            square += weight * value * value;
            n += 1.0;
        }
        // eliminate level and slope
        for k in 0..2 {
            let (row, right) = (m[k], v[k]);
            let pivot = row[k];
            if pivot.is_nan() || pivot <= 0.0 {
                return None;
            }
            square -= right * right / pivot;
            for i in k + 1..3 {
                let factor = m[i][k] / pivot;
                m[i].iter_mut().zip(row).skip(k).for_each(|(cell, above)| *cell -= factor * above);
                v[i] -= factor * right;
            }
        }
        if m[2][2].is_nan() || m[2][2] <= 0.0 {
            return None;
        }
        let height = v[2] / m[2][2];
        let gain = if height > 0.0 { v[2] * v[2] / m[2][2] } else { 0.0 };
        Some(Fit { left: (square - gain).max(0.0), gain, samples: n })
    }

    /// Explained part of the structure in this window; noise explains little, and has little to say.
    fn vote(&self, pattern: &Pattern, shift: f64) -> f64 {
        self.fit(pattern, shift).map_or(0.0, |fit| fit.gain / (fit.gain + fit.left + QUIET))
    }

    /// The shift of this group near `best`.
    fn measure(&self, pattern: &Pattern, rows: &Rows, best: f64, options: &ShiftOptions) -> Option<Group> {
        let trials: Vec<(f64, f64)> = (-NEAR..=NEAR)
            .map(|k| best + f64::from(k) * TRIAL)
            .filter_map(|shift| self.fit(pattern, shift).map(|fit| (shift, fit.left)))
            .collect();
        let k = (1..trials.len().saturating_sub(1)).min_by(|a, b| trials[*a].1.total_cmp(&trials[*b].1))?;
        let (before, here, after) = (trials[k - 1].1, trials[k].1, trials[k + 1].1);
        let bend = before - 2.0 * here + after;
        if here > before || here > after || bend <= 0.0 {
            return None;
        }
        let shift = trials[k].0 + 0.5 * TRIAL * (before - after) / bend;
        let fit = self.fit(pattern, shift)?;
        // samples closer than a row are not independent
        let degrees = (fit.samples * SAMPLE - 4.0).max(1.0);
        let excess = (fit.left * SAMPLE / degrees).max(1.0);
        let left = (fit.left / (fit.left + fit.gain)).sqrt();
        let signal = (fit.gain * SAMPLE).sqrt();
        if signal < options.least_signal || left > WORST {
            return None;
        }
        let error = (2.0 * TRIAL * TRIAL / bend / SAMPLE * excess).sqrt();
        Some(Group {
            row: self.row,
            wavelength: rows.wavelength(self.row),
            shift,
            error: error.hypot(LIST_ERROR),
            out: false,
        })
    }
}

/// Trials on each side of the arm's shift.
const NEAR: i32 = 8;

/// Sum of squares of a window that counts half in the vote.
const QUIET: f64 = 50.0;

struct Fit {
    left: f64,
    gain: f64,
    samples: f64,
}

/// Orders from their groups, the arm from its orders.
fn combine(mut groups: Vec<Vec<Group>>, lengths: &[f64]) -> Option<ArmShift> {
    let mut all: Vec<f64> = groups.iter().flatten().map(|group| group.shift).collect();
    if all.len() < FEWEST {
        return None;
    }
    let middle = median_f64(&mut all)?;
    let mut distances: Vec<f64> = all.iter().map(|shift| (shift - middle).abs()).collect();
    let spread = (MAD_TO_SIGMA * median_f64(&mut distances)?).max(LIST_ERROR);
    groups.iter_mut().flatten().for_each(|group| {
        group.out = (group.shift - middle).abs() > 5.0 * spread.hypot(group.error);
    });
    let slope = slope(&groups, lengths);
    // as if all groups lay mid order
    let levelled: Vec<Vec<Group>> = groups
        .iter()
        .zip(lengths)
        .map(|(groups, length)| {
            let level = |group: &Group| Group { shift: group.shift - slope * (group.row / length - 0.5), ..*group };
            groups.iter().map(level).collect()
        })
        .collect();
    let (sum, weight) = mean(levelled.iter().flatten());
    let arm = sum / weight;
    if !arm.is_finite() {
        return None;
    }
    let prior = 1.0 / (SPREAD * SPREAD);
    let orders: Vec<OrderShift> = groups
        .into_iter()
        .zip(levelled.iter().zip(lengths))
        .map(|(groups, (levelled, length))| {
            let (sum, weight) = mean(levelled.iter());
            let rows = (sum + prior * arm) / (weight + prior);
            OrderShift { rows, slope, length: *length, error: (1.0 / (weight + prior)).sqrt(), groups }
        })
        .collect();
    let told: Vec<f64> = orders.iter().filter(|order| !order.groups.is_empty()).map(|order| order.rows).collect();
    let scatter = told.iter().map(|rows| (rows - arm).powi(2)).sum::<f64>() / told.len().max(1) as f64;
    let error = (1.0 / weight + scatter / told.len().max(1) as f64).sqrt();
    Some(ArmShift { rows: arm, error, orders })
}

/// Change of the shift along the orders, all of them together; nothing when it is within its error.
fn slope(groups: &[Vec<Group>], lengths: &[f64]) -> f64 {
    let (mut up, mut down) = (0.0, 1.0 / (SPREAD * SPREAD));
    for (groups, length) in groups.iter().zip(lengths) {
        let used: Vec<&Group> = groups.iter().filter(|group| !group.out).collect();
        let weight: f64 = used.iter().map(|group| group.error.powi(-2)).sum();
        let mean = |of: &dyn Fn(&Group) -> f64| used.iter().map(|g| of(g) * g.error.powi(-2)).sum::<f64>() / weight;
        let (place, shift) = (mean(&|group| group.row / length), mean(&|group| group.shift));
        for group in used {
            let (x, weight) = (group.row / length - place, group.error.powi(-2));
            up += weight * x * (group.shift - shift);
            down += weight * x * x;
        }
    }
    let slope = up / down;
    if slope.abs() > 3.0 / down.sqrt() { slope } else { 0.0 }
}

fn mean<'a>(groups: impl Iterator<Item = &'a Group>) -> (f64, f64) {
    groups.filter(|group| !group.out).fold((0.0, 0.0), |(sum, weight), group| {
        let w = 1.0 / (group.error * group.error);
        (sum + w * group.shift, weight + w)
    })
}

/// A line of unit peak height before blurring: a slit of this width with blurred edges, at a distance from its middle.
fn line(distance: f64, width: f64, blur: f64) -> f64 {
    let edge = |x: f64| libm::erf(x / (blur * std::f64::consts::SQRT_2));
    0.5 * (edge(distance + 0.5 * width) - edge(distance - 0.5 * width))
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::Scene;
    use super::super::{rows::Rows, sky};
    use super::*;

    const OPTIONS: ShiftOptions = ShiftOptions { search: 4.0, width: 3.6, blur: 0.6, least_signal: 8.0 };

    /// An order whose lines lie `shift` rows off the map; `noise` multiplies the strengths of the list one by one.
    fn order(shift: f64, strength: f64, noise: f64, falling: bool) -> (sky::Sky, Rows, Vec<SkyLine>) {
        let scene = Scene { shape: (400, 50), falling, ..Scene::small() };
        let list: Vec<SkyLine> = (0..14)
            .map(|k| {
                let row = 20.0 + 27.3 * f64::from(k) + 3.0 * f64::from(k % 3);
                SkyLine { wavelength: scene.wavelength(row), photons: 1.0 + f64::from(k * 5 % 7) }
            })
            .collect();
        let light = |u: f64, _: f64| {
            let lines = list.iter().enumerate().map(|(k, sky)| {
                let row = (sky.wavelength - scene.wavelength(0.0)) / (scene.wavelength(1.0) - scene.wavelength(0.0));
                let factor = 1.0 + noise * f64::from(k as i32 % 3 - 1);
                strength * factor * sky.photons * line(u - row - shift, 3.6, 0.6)
            });
            30.0 + lines.sum::<f64>()
        };
        let strip = scene.strip(&light);
        let mut rows = Rows::of(&strip).unwrap();
        let sky = sky::fit(&strip, &mut rows, None, &[], &sky::SkyOptions::default()).unwrap();
        let mut list = list.clone();
        list.sort_by(|a, b| a.wavelength.total_cmp(&b.wavelength));
        (sky, rows, list)
    }

    #[test]
    fn a_shift_is_found_within_its_error_though_lines_have_other_strengths() {
        for (shift, falling) in [(1.37, false), (-1.5, true), (0.0, false)] {
            let (sky, rows, list) = order(shift, 60.0, 0.4, falling);
            let found = find(&[(&sky.spline, &rows)], &list, &OPTIONS).unwrap();
            assert!((found.rows - shift).abs() < 0.05, "{shift} {} {}", found.rows, found.error);
            assert_eq!(found.is_significant(), shift != 0.0);
            assert!(found.orders[0].groups.len() >= 8);
        }
    }

    #[test]
    fn an_order_without_lines_takes_the_shift_of_the_others() {
        let (sky, rows, list) = order(0.8, 60.0, 0.2, false);
        let (dark, dark_rows, _) = order(0.0, 0.0, 0.0, false);
        let found = find(&[(&dark.spline, &dark_rows), (&sky.spline, &rows)], &list, &OPTIONS).unwrap();
        assert!(found.orders[0].groups.is_empty() && found.orders[0].error > found.orders[1].error);
        assert!((found.orders[0].rows - 0.8).abs() < 0.06);
        assert_eq!(find(&[(&dark.spline, &dark_rows)], &list, &OPTIONS), None);
    }
}
