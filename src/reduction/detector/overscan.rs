//! Unexposed pixels: prescan and overscan of a CCD, the reference border of an infrared array.
//!
//! They are always measured. The level of the *exposed* pixels is known far better from those pixels themselves (see
//! [`super::noise`]), so what the border can add is what changes from row to row. That is corrected only where the rows
//! of the border scatter by more than read noise explains *and* the exposed rows are seen to follow them; the factor
//! is the measured one, so that the noise of the few border pixels is not added to the image for nothing.

use rayon::prelude::*;

use super::trim::RawStack;
use crate::numerics::linear::fit_line;
use crate::numerics::robust::{clipped, clipped_mean_known, mean_and_reach};

/// Outlier cut within the border, in sigmas.
const CUT: f64 = 5.0;
/// Border pixels that suffice for the noise.
const SAMPLES: usize = 16_384;

/// What the unexposed pixels of a set of frames show, in electrons.
#[derive(Clone, Debug, PartialEq)]
pub struct Border {
    /// Level of each frame.
    pub level: Vec<f64>,
    /// Standard error of such a level, from read noise alone.
    pub level_error: f64,
    /// Read noise of a single border pixel, from differences of successive frames.
    pub noise: f64,
    /// Row by row, the part that frames do not share; `None` without side columns.
    pub rows: Option<BorderRows>,
}

/// The level of the side columns row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct BorderRows {
    /// Per frame and row of the exposed area: deviation from a straight line, repeatable part included.
    pub deviation: Vec<Vec<f64>>,
    /// Scatter of the part that differs from frame to frame.
    pub scatter: f64,
    /// The scatter that read noise alone would give.
    pub expected: f64,
    /// By how many sigmas the variance exceeds the expected one.
    pub significance: f64,
}

impl Border {
    /// Largest distance of a frame's level from the mean level.
    pub fn drift(&self) -> f64 {
        let mean = self.level.iter().sum::<f64>() / self.level.len().max(1) as f64;
        self.level.iter().map(|level| (level - mean).abs()).fold(0.0, f64::max)
    }

    /// Mean level.
    pub fn mean(&self) -> f64 {
        self.level.iter().sum::<f64>() / self.level.len().max(1) as f64
    }
}

/// Measure the border of every frame. `None` when the raw images have none, or nothing valid in it.
pub fn measure(stack: &RawStack) -> Option<Border> {
    let regions = stack.regions();
    let side: usize = regions.side_columns.iter().map(|range| range.len()).sum();
    let edge: usize = regions.edge_rows.iter().map(|range| range.len()).sum();
    let (rows, columns) = stack.shape();
    let frames = stack.len();
    if frames < 2 || side + edge == 0 {
        return None;
    }

    // every n-th border row is enough for the noise, which is taken between successive frames
    let lines: Vec<usize> =
        regions.rows.clone().filter(|_| side > 0).chain(regions.edge_rows.iter().cloned().flatten()).collect();
    let per_line = if side > 0 { side } else { columns };
    let step = (lines.len() * per_line / SAMPLES).max(1);
    let pairs: Vec<f64> = (1..frames)
        .into_par_iter()
        .filter_map(|k| {
            let mut difference = Vec::new();
            for line in lines.iter().step_by(step) {
                for range in parts_of(stack, *line) {
                    let (a, b) = (stack.part(k, *line, range), stack.part(k - 1, *line, range));
                    difference.extend(a.iter().zip(b).map(|(a, b)| stack.electrons(*a) - stack.electrons(*b)));
                }
            }
            clipped(&mut difference, CUT).map(|found| found.sigma * found.sigma / 2.0)
        })
        .collect();
    if pairs.is_empty() {
        return None;
    }
    let noise = (pairs.iter().sum::<f64>() / pairs.len() as f64).sqrt();

    let line_mean = |k: usize, line: usize, values: &mut Vec<f32>| {
        values.clear();
        for range in parts_of(stack, line) {
            values.extend(stack.part(k, line, range).iter().map(|adu| stack.electrons(*adu)));
        }
        plain_mean(values, CUT * noise).or_else(|| clipped_mean_known(values, noise, CUT))
    };
    let measured: Vec<(Vec<f64>, f64, f64)> = (0..frames)
        .into_par_iter()
        .map(|k| {
            let mut values: Vec<f32> = Vec::with_capacity(per_line);
            let (mut sum, mut count) = (0.0, 0.0);
            let mut add = |mean: Option<(f64, usize)>| {
                let Some((mean, n)) = mean else { return f64::NAN };
                sum += mean * n as f64;
                count += n as f64;
                mean
            };
            let row_means = match side {
                0 => Vec::new(),
                _ => regions.rows.clone().map(|line| add(line_mean(k, line, &mut values))).collect(),
            };
            for line in regions.edge_rows.iter().cloned().flatten() {
                add(line_mean(k, line, &mut values));
            }
            (row_means, sum / count, count)
        })
        .collect();
    if measured.iter().any(|(_, level, _)| !level.is_finite()) {
        return None;
    }
    let pixels = measured.iter().map(|(_, _, count)| *count).fold(f64::INFINITY, f64::min);
    let level = measured.iter().map(|(_, level, _)| *level).collect();
    let means: Vec<Vec<f64>> = measured.into_iter().map(|(means, _, _)| means).collect();
    let rows = if side > 0 && rows >= 8 { border_rows(means, noise, side) } else { None };
    Some(Border { level, level_error: noise / pixels.sqrt(), noise, rows })
}

/// The mean, when no value is further from it than `reach` and so nothing needs clipping. `None` otherwise, also when a
/// value is not finite.
fn plain_mean(values: &[f32], reach: f64) -> Option<(f64, usize)> {
    let (mean, largest) = mean_and_reach(values);
    // NaN lets no comparison pass
    (f64::from(largest) <= reach).then_some((mean.into(), values.len()))
}

/// Column ranges of the unexposed pixels of a raw row.
fn parts_of<'a>(stack: &'a RawStack, line: usize) -> &'a [std::ops::Range<usize>] {
    let regions = stack.regions();
    if regions.rows.contains(&line) { &regions.side_columns } else { std::slice::from_ref(&regions.columns) }
}

fn border_rows(means: Vec<Vec<f64>>, noise: f64, side: usize) -> Option<BorderRows> {
    let frames = means.len();
    let deviation: Vec<Vec<f64>> = means
        .into_iter()
        .map(|means| {
            let line = fit_line(means.iter().enumerate().map(|(r, mean)| (r as f64, *mean)))?;
            // a row without any valid pixel says nothing about the others
            let clean = |(r, mean): (usize, f64)| if mean.is_finite() { mean - line.at(r as f64) } else { 0.0 };
            Some(means.into_iter().enumerate().map(clean).collect())
        })
        .collect::<Option<_>>()?;
    let rows = deviation.first()?.len();
    let mut squares = 0.0;
    for r in 0..rows {
        let shared = shared_part(&deviation, r);
        squares += deviation.iter().map(|frame| (frame[r] - shared).powi(2)).sum::<f64>();
    }
    let degrees = ((frames - 1) * rows) as f64;
    let variance = squares / degrees;
    let expected = noise * noise / side as f64;
    let significance = (variance / expected - 1.0) / (2.0 / degrees).sqrt();
    Some(BorderRows { deviation, scatter: variance.sqrt(), expected: expected.sqrt(), significance })
}

fn shared_part(deviation: &[Vec<f64>], row: usize) -> f64 {
    deviation.iter().map(|frame| frame[row]).sum::<f64>() / deviation.len() as f64
}

/// A correction per frame and row.
#[derive(Clone, Debug, PartialEq)]
pub struct RowCorrection {
    /// Electrons to subtract, per frame and row of the exposed area.
    pub offset: Vec<Vec<f64>>,
    /// By how much the exposed rows follow the border's rows, and the error of that factor.
    pub factor: (f64, f64),
}

/// The row correction, when it helps: see the head of this module. `significance` is in sigmas.
pub fn row_correction(stack: &RawStack, rows: &BorderRows, significance: f64) -> Option<RowCorrection> {
    // NaN (a border without noise) is no evidence either
    if rows.significance.is_nan() || rows.significance <= significance {
        return None;
    }
    let frames = stack.len();
    let exposed = exposed_rows(stack);
    let count = exposed.first().map_or(0, Vec::len);
    let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
    for r in 0..count {
        let shared = shared_part(&rows.deviation, r);
        for (border, exposed) in rows.deviation.iter().zip(&exposed) {
            let (x, y) = (border[r] - shared, exposed[r]);
            if y.is_finite() {
                xx += x * x;
                xy += x * y;
                yy += y * y;
            }
        }
    }
    let factor = xy / xx;
    let degrees = ((frames - 1) * count) as f64;
    let error = ((yy - factor * xy).max(0.0) / (degrees * xx)).sqrt();
    let follows = factor.is_finite() && factor > significance * error;
    if !follows {
        return None;
    }
    // What all frames share row by row is partly a repeatable pattern, which belongs into a master, and partly the mean
    // of what varies, which does not.
    let varying = rows.scatter * rows.scatter / frames as f64;
    let shared: Vec<f64> = (0..count).map(|r| shared_part(&rows.deviation, r)).collect();
    let total = shared.iter().map(|value| value * value).sum::<f64>() / count.max(1) as f64;
    let repeatable = (1.0 - varying / total).clamp(0.0, 1.0);
    let repeatable = if repeatable.is_finite() { repeatable } else { 0.0 };
    let factor_used = factor.min(1.0);
    let offset = rows
        .deviation
        .iter()
        .map(|frame| frame.iter().zip(&shared).map(|(d, s)| factor_used * (d - repeatable * s)).collect())
        .collect();
    Some(RowCorrection { offset, factor: (factor, error) })
}

/// Mean over the exposed columns of each frame's deviation from the mean frame, less the frame's own mean.
fn exposed_rows(stack: &RawStack) -> Vec<Vec<f64>> {
    let (rows, columns) = stack.shape();
    let frames = stack.len();
    let by_row: Vec<Vec<f64>> = (0..rows)
        .into_par_iter()
        .map(|r| {
            let mut mean = vec![0.0f32; columns];
            for k in 0..frames {
                for (sum, adu) in mean.iter_mut().zip(stack.science_row(k, r)) {
                    *sum += stack.electrons(*adu) / frames as f32;
                }
            }
            (0..frames)
                .map(|k| {
                    let row = stack.science_row(k, r).iter().zip(&mean);
                    let mut difference = row.map(|(adu, mean)| stack.electrons(*adu) - mean).collect();
                    clipped(&mut difference, CUT).map_or(f64::NAN, |found| found.mean)
                })
                .collect()
        })
        .collect();
    (0..frames)
        .map(|k| {
            let finite = by_row.iter().map(|row| row[k]).filter(|value| value.is_finite());
            let level = finite.clone().sum::<f64>() / finite.count().max(1) as f64;
            by_row.iter().map(|row| row[k] - level).collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::Scene;
    use super::*;

    #[test]
    fn level_drift_and_noise_of_the_border() {
        let scene = Scene { level_shift: vec![0.0, 2.0, -1.0, 0.0, -1.0], ..Scene::ccd() };
        let (images, regions) = scene.render();
        let border = measure(&scene.stack(&images, &regions)).unwrap();
        assert!((border.mean() - scene.pedestal).abs() < 4.0 * border.level_error, "{border:?}");
        assert!((border.drift() - 2.0).abs() < 5.0 * border.level_error);
        assert!((border.noise / scene.ron - 1.0).abs() < 0.02, "{}", border.noise);
    }

    #[test]
    fn rows_that_only_have_read_noise_are_not_corrected() {
        let scene = Scene::ccd();
        let (images, regions) = scene.render();
        let stack = scene.stack(&images, &regions);
        let rows = measure(&stack).unwrap().rows.unwrap();
        assert!(rows.significance.abs() < 5.0, "{}", rows.significance);
        assert_eq!(row_correction(&stack, &rows, 5.0), None);
    }

    #[test]
    fn row_noise_is_followed_with_the_measured_factor() {
        let scene = Scene { row_noise: 3.0, ..Scene::ccd() };
        let (images, regions) = scene.render();
        let stack = scene.stack(&images, &regions);
        let rows = measure(&stack).unwrap().rows.unwrap();
        let correction = row_correction(&stack, &rows, 5.0).unwrap();
        // 24 border pixels of 3.8 e- noise give 0.78 e- per row: the best factor is 9 / (9 + 0.6)
        assert!((correction.factor.0 - 0.94).abs() < 0.03, "{:?}", correction.factor);
    }

    #[test]
    fn a_detector_without_border_has_nothing_to_measure() {
        let mut scene = Scene::ccd();
        scene.side = 0;
        let (images, regions) = scene.render();
        assert_eq!(measure(&scene.stack(&images, &regions)), None);
    }

    #[test]
    fn reference_pixels_on_four_sides_are_used() {
        let scene = Scene::infrared();
        let (images, regions) = scene.render();
        let border = measure(&scene.stack(&images, &regions)).unwrap();
        assert!((border.noise / scene.ron - 1.0).abs() < 0.05);
        assert!((border.mean() - scene.pedestal).abs() < 5.0 * border.level_error);
    }
}
