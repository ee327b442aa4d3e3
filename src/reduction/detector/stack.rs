//! The stack: one pass over the rows of all frames, on all cores, with the same bytes on any number of them.

use std::collections::BTreeMap;

use ndarray::Array2;
use rayon::prelude::*;

use super::noise::NoiseModel;
use super::trim::RawStack;
use crate::numerics::robust::CHUNK_ROWS;
use crate::numerics::stack::{
    Combined, MAX_FRAMES, PixelModel, RowCalibration, RowModel, RowScratch, StackLimits, StackSums, combine, stack_row,
};
use crate::reduction::flags;

/// Thresholds of the stack.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StackOptions {
    /// Rejection and stability of single pixels.
    pub limits: StackLimits,
    /// Lower rejection threshold for the neighbours of a cosmic ray hit in the same frame, sigmas.
    pub wing_sigma: f64,
}

/// Result of a stack, on the exposed area. Arrays are rows x columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Stacked {
    /// Mean in electrons.
    pub value: Array2<f32>,
    /// Variance of the mean in electrons squared.
    pub variance: Array2<f32>,
    /// Quality bits.
    pub flags: Array2<i32>,
    /// Values rejected as cosmic rays, in all frames together.
    pub hits: usize,
    /// Sums over the pixels that were ordinary in every frame.
    pub sums: StackSums,
    /// Profiles over the same pixels.
    pub profile: Profile,
    /// Level above which the sums were taken.
    pub pivot: f64,
    /// Row and column of every pixel that was not ordinary, in order.
    pub unusual: Vec<(usize, usize)>,
}

/// What a chunk of rows adds to the result beside its pixels.
struct ChunkReport {
    sums: StackSums,
    /// Per column, sum above the pivot and number of good pixels.
    columns: Vec<(f32, f32)>,
    /// Per row, mean of the good pixels.
    rows: Vec<f64>,
    unusual: Vec<(usize, usize)>,
    hits: Vec<((usize, usize), u64)>,
}

/// Stack the frames. `offset` is what is subtracted per frame and row, electrons. More than [`MAX_FRAMES`] frames cannot
/// be stacked: the rest is left out, so the caller checks.
pub fn stack(raw: &RawStack, offset: &[Vec<f32>], noise: &NoiseModel, options: &StackOptions) -> Stacked {
    let (rows, columns) = raw.shape();
    let frames = raw.len().min(MAX_FRAMES);
    let pivot = {
        let mut levels: Vec<f64> = noise.background.values().iter().copied().collect();
        crate::numerics::robust::median_f64(&mut levels).unwrap_or(0.0)
    };
    let mut value = Array2::<f32>::zeros((rows, columns));
    let mut variance = Array2::<f32>::zeros((rows, columns));
    let mut quality = Array2::<i32>::zeros((rows, columns));
    let chunk = CHUNK_ROWS * columns;
    let reports: Vec<ChunkReport> = match (value.as_slice_mut(), variance.as_slice_mut(), quality.as_slice_mut()) {
        (Some(value), Some(variance), Some(quality)) => value
            .par_chunks_mut(chunk)
            .zip(variance.par_chunks_mut(chunk))
            .zip(quality.par_chunks_mut(chunk))
            .enumerate()
            .map(|(index, ((value, variance), quality))| {
                let plane = Planes { value, variance, quality };
                stack_chunk(raw, offset, noise, options, pivot, index * CHUNK_ROWS, frames, plane)
            })
            .collect(),
        // freshly made arrays are stored row by row
        _ => Vec::new(),
    };

    let mut sums = StackSums::new(frames);
    let mut by_column = vec![(0.0f64, 0.0f64); columns];
    let mut by_row = Vec::with_capacity(rows);
    let mut unusual = Vec::new();
    let mut hits: BTreeMap<(usize, usize), u64> = BTreeMap::new();
    for report in reports {
        sums.add(&report.sums);
        for ((sum, count), (more, pixels)) in by_column.iter_mut().zip(report.columns) {
            *sum += f64::from(more);
            *count += f64::from(pixels);
        }
        by_row.extend(report.rows);
        unusual.extend(report.unusual);
        hits.extend(report.hits);
    }
    let n = sums.good as f64;
    let profile = Profile {
        columns: by_column.into_iter().map(|(sum, count)| pivot + sum / count).collect(),
        rows: by_row,
        mean: pivot + sums.above_pivot / n,
        sigma: ((sums.above_squared - sums.above_pivot.powi(2) / n) / (n - 1.0)).max(0.0).sqrt(),
        variance: sums.variance * noise.weights.mean / n,
    };
    let mut result = Stacked { value, variance, flags: quality, hits: 0, sums, profile, pivot, unusual };
    let wings = reject_wings(raw, offset, noise, options, &hits, &mut result);
    result.hits = hits.values().map(|set| set.count_ones() as usize).sum::<usize>() + wings;
    result
}

struct Planes<'a> {
    value: &'a mut [f32],
    variance: &'a mut [f32],
    quality: &'a mut [i32],
}

#[expect(clippy::too_many_arguments, reason = "the loop body of `stack`, taken out to be readable")]
fn stack_chunk(
    raw: &RawStack,
    offset: &[Vec<f32>],
    noise: &NoiseModel,
    options: &StackOptions,
    pivot: f64,
    first_row: usize,
    frames: usize,
    plane: Planes,
) -> ChunkReport {
    let (_, columns) = raw.shape();
    let mut report = ChunkReport {
        sums: StackSums::new(frames),
        columns: vec![(0.0, 0.0); columns],
        rows: vec![],
        unusual: vec![],
        hits: vec![],
    };
    let mut model = RowModel::new(columns);
    let mut scratch = RowScratch::new(frames, columns);
    let mut unusual = Vec::new();
    let mean_share = noise.weights.mean as f32;
    let lines = plane
        .value
        .chunks_mut(columns)
        .zip(plane.variance.chunks_mut(columns))
        .zip(plane.quality.chunks_mut(columns))
        .enumerate();
    for (i, ((value, variance), quality)) in lines {
        let r = first_row + i;
        noise.variance.row(r, &mut model.variance);
        noise.background.row(r, &mut model.background);
        noise.scatter.row(r, &mut model.scatter);
        let adu: Vec<&[f32]> = (0..frames).map(|k| raw.science_row(k, r)).collect();
        let offsets: Vec<f32> = offset.iter().map(|rows| rows[r]).collect();
        let calibration = RowCalibration { gain: raw.gain, offset: &offsets, pivot: pivot as f32 };
        unusual.clear();
        let before = (report.sums.above_pivot, report.sums.good);
        stack_row(
            &adu,
            calibration,
            &model,
            &noise.weights,
            &options.limits,
            &mut scratch,
            value,
            &mut report.sums,
            &mut unusual,
        );
        for ((sum, count), (above, good)) in report.columns.iter_mut().zip(scratch.above().iter().zip(scratch.good())) {
            *sum += above;
            *count += good;
        }
        let (sum, good) = (report.sums.above_pivot - before.0, report.sums.good - before.1);
        report.rows.push(pivot + sum / good as f64);
        for (out, unit) in variance.iter_mut().zip(&model.variance) {
            *out = unit * mean_share;
        }
        for c in unusual.iter().copied() {
            let pixel = PixelModel { variance: model.variance[c].into(), background: model.background[c].into() };
            let values: Vec<f32> =
                adu.iter().zip(&offsets).map(|(row, offset)| raw.electrons(row[c]) - offset).collect();
            let combined = combine(&values, 0, pixel, &noise.weights, &options.limits);
            let ceiling: Vec<f32> = adu.iter().map(|row| row[c]).filter(|adu| raw.is_saturated(*adu)).collect();
            (value[c], variance[c], quality[c]) = outcome(&combined, &ceiling, raw.gain);
            report.unusual.push((r, c));
            if combined.high != 0 {
                report.hits.push(((r, c), combined.high));
            }
        }
    }
    report
}

/// Value, variance and bits of a pixel that was looked at one by one. `ceiling` holds its saturated ADU values.
fn outcome(combined: &Combined, ceiling: &[f32], gain: f32) -> (f32, f32, i32) {
    let mut bits = if combined.unstable { flags::UNSTABLE } else { 0 };
    let mut value = combined.value as f32;
    if combined.used == 0 && ceiling.is_empty() {
        bits |= flags::NO_DATA;
    } else if combined.used == 0 {
        // always at the ceiling: that is a lower limit of what it has, and the best that can be said
        value = gain * ceiling.iter().copied().fold(f32::INFINITY, f32::min);
        bits |= flags::SATURATED | flags::HOT;
    } else if ceiling.len() >= 2 {
        // once may be a cosmic ray, and that value was not used; more than once is the pixel
        bits |= flags::SATURATED;
    }
    (value, combined.variance as f32, bits)
}

/// Around each hit, test the same frame's neighbours at the lower threshold and combine those pixels anew. Returns the
/// number of values rejected.
fn reject_wings(
    raw: &RawStack,
    offset: &[Vec<f32>],
    noise: &NoiseModel,
    options: &StackOptions,
    hits: &BTreeMap<(usize, usize), u64>,
    result: &mut Stacked,
) -> usize {
    let (rows, columns) = raw.shape();
    let frames = raw.len().min(MAX_FRAMES);
    let mut suspects: BTreeMap<(usize, usize), u64> = BTreeMap::new();
    for (&(r, c), &set) in hits {
        for y in r.saturating_sub(1)..(r + 2).min(rows) {
            for x in c.saturating_sub(1)..(c + 2).min(columns) {
                *suspects.entry((y, x)).or_default() |= set;
            }
        }
    }
    let suspects: Vec<((usize, usize), u64)> = suspects.into_iter().collect();
    let again: Vec<Option<(Combined, Vec<f32>, usize)>> = suspects
        .par_iter()
        .map(|&((r, c), set)| {
            let own = hits.get(&(r, c)).copied().unwrap_or(0);
            let set = set & !own;
            let adu: Vec<f32> = (0..frames).map(|k| raw.science_row(k, r)[c]).collect();
            let values: Vec<f32> = adu.iter().zip(offset).map(|(adu, rows)| raw.electrons(*adu) - rows[r]).collect();
            let pixel = PixelModel { variance: noise.variance.at(r, c), background: noise.background.at(r, c) };
            let others = combine(&values, own | set, pixel, &noise.weights, &options.limits);
            if set == 0 || others.used == 0 {
                return None;
            }
            let mut banned = own;
            for k in (0..frames).filter(|k| set & (1 << k) != 0) {
                let sigma = (pixel.variance * noise.weights.scale[k] + others.excess + others.variance).sqrt();
                if f64::from(values[k]) - others.value > options.wing_sigma * sigma {
                    banned |= 1 << k;
                }
            }
            let rejected = (banned & !own).count_ones() as usize;
            let ceiling = adu.into_iter().filter(|adu| raw.is_saturated(*adu)).collect();
            (rejected > 0)
                .then(|| (combine(&values, banned, pixel, &noise.weights, &options.limits), ceiling, rejected))
        })
        .collect();
    let mut total = 0;
    for (((r, c), _), found) in suspects.into_iter().zip(again) {
        let Some((combined, ceiling, rejected)) = found else { continue };
        let (value, variance, bits) = outcome(&combined, &ceiling, raw.gain);
        result.value[[r, c]] = value;
        result.variance[[r, c]] = variance;
        // what made the pixel unusual in the first round stands
        result.flags[[r, c]] |= bits;
        total += rejected;
    }
    total
}

/// Means along both axes and scatter of a stack over the pixels that were ordinary in every frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Mean of each column; NaN for one without good pixels.
    pub columns: Vec<f64>,
    /// Mean of each row; NaN for one without good pixels.
    pub rows: Vec<f64>,
    /// Mean.
    pub mean: f64,
    /// Standard deviation.
    pub sigma: f64,
    /// Mean variance that the noise predicts.
    pub variance: f64,
}

#[cfg(test)]
mod tests {
    use super::super::noise::{self, read_noise};
    use super::super::synthetic::Scene;
    use super::super::{hot, overscan};
    use super::*;

    const OPTIONS: StackOptions = StackOptions {
        limits: StackLimits { rejection_sigma: 5.0, unstable_sigma: 5.2, poisson: true },
        wing_sigma: 3.0,
    };

    fn model_of(scene: &Scene, raw: &RawStack) -> (Vec<Vec<f32>>, NoiseModel) {
        let offset = vec![vec![0.0; scene.rows]; scene.frames];
        let noises: Vec<f64> = noise::survey(raw, 0.2).iter().map(|frame| frame.noise).collect();
        let model = noise::measure(raw, &offset, &noises).unwrap();
        (offset, model)
    }

    fn stacked(scene: &Scene) -> (Stacked, NoiseModel) {
        let (images, regions) = scene.render();
        let raw = scene.stack(&images, &regions);
        let (offset, model) = model_of(scene, &raw);
        let mut result = stack(&raw, &offset, &model, &OPTIONS);
        hot::flag(&mut result, &model, 5.0);
        (result, model)
    }

    /// Mean and scatter of (value - truth) / error over good pixels.
    fn pull(scene: &Scene, result: &Stacked) -> (f64, f64) {
        let truth = scene.truth();
        let pulls: Vec<f64> = ndarray::Zip::indexed(&result.value).and(&result.variance).and(&result.flags).fold(
            vec![],
            |mut all, at, value, variance, flags| {
                if *flags == 0 {
                    all.push((f64::from(*value) - truth[at]) / f64::from(*variance).sqrt());
                }
                all
            },
        );
        let n = pulls.len() as f64;
        let mean = pulls.iter().sum::<f64>() / n;
        (mean, (pulls.iter().map(|pull| (pull - mean).powi(2)).sum::<f64>() / n).sqrt())
    }

    #[test]
    fn errors_are_honest_under_glow_pattern_and_cosmic_rays() {
        let base = Scene::infrared();
        let scene = Scene { dark: 12.0, glow: 0.6, pattern: 1.5, rows: 384, ..base }.with_rays(60);
        let (result, _) = stacked(&scene);
        let (mean, width) = pull(&scene, &result);
        assert!(mean.abs() < 0.02 && (width - 1.0).abs() < 0.03, "{mean} {width}");
        // 60 tracks of two pixels in each of five frames; few fall on the same pixels or below the noise
        assert!((585..=620).contains(&result.hits), "{}", result.hits);
        let flagged = result.flags.iter().filter(|flags| **flags != 0).count();
        assert!(flagged < 5, "{flagged} pixels flagged");
    }

    #[test]
    fn hot_pixels_are_flagged_and_good_ones_are_not() {
        let sigma = 7.3 / 5f64.sqrt();
        let hot: Vec<_> = (0..300).map(|i| (1 + i / 20 * 16, 3 + i % 20 * 12, (10.0 + i as f64) * sigma)).collect();
        let scene = Scene { hot: hot.clone(), pattern: 1.5, ..Scene::infrared() };
        let (result, _) = stacked(&scene);
        let found = hot.iter().filter(|(r, c, _)| result.flags[[*r, *c]] & flags::HOT != 0).count();
        assert!(found >= 298, "{found} of 300");
        let all = result.flags.iter().filter(|flags| **flags != 0).count();
        assert!(all <= found + 2, "{all} flagged, {found} of them hot");
        let (_, width) = pull(&scene, &result);
        assert!((width - 1.0).abs() < 0.03);
    }

    #[test]
    fn dead_saturated_and_jumping_pixels() {
        let scene = Scene::ccd();
        let (mut images, regions) = scene.render();
        let (top, left) = (scene.edge, scene.side);
        for (k, image) in images.iter_mut().enumerate() {
            image[[top + 10, left + 10]] = f32::NAN;
            image[[top + 20, left + 20]] = 65535.0;
            image[[top + 30, left + 30]] -= 300.0;
            image[[top + 40, left + 40]] += if k % 2 == 0 { 60.0 } else { 0.0 };
        }
        images[1][[top + 50, left + 50]] = f32::INFINITY;
        images[2][[top + 60, left + 60]] = 65535.0;
        let raw = scene.stack(&images, &regions);
        let (offset, model) = model_of(&scene, &raw);
        let mut result = stack(&raw, &offset, &model, &OPTIONS);
        hot::flag(&mut result, &model, 5.0);
        assert_eq!(result.flags[[10, 10]], flags::NO_DATA);
        assert_eq!(result.flags[[20, 20]], flags::SATURATED | flags::HOT);
        assert_eq!(result.flags[[30, 30]], flags::COLD);
        assert_ne!(result.flags[[40, 40]] & flags::UNSTABLE, 0);
        for at in [[50, 50], [60, 60]] {
            assert_eq!(result.flags[at], 0);
            let error = f64::from(result.variance[at]).sqrt();
            assert!((f64::from(result.value[at]) - scene.pedestal).abs() < 5.0 * error);
            assert!((error / (3.814 / 2.0) - 1.0).abs() < 0.05, "four values of five are left: {error}");
        }
        assert!(result.value.iter().chain(&result.variance).all(|value| value.is_finite()));
    }

    #[test]
    fn the_wings_of_a_track_go_with_it() {
        let mut scene = Scene::ccd();
        // 16 e- is 4.2 sigma of one frame: left alone, rejected beside a hit
        scene.rays = vec![(1, 100, 100, 900.0), (1, 100, 101, 16.0), (3, 50, 50, 16.0)];
        scene.ron = 0.5;
        scene.quantised = false;
        scene.rays[1].3 = 2.2;
        let (result, _) = stacked(&scene);
        assert!((2..=4).contains(&result.hits), "{}", result.hits);
        let error = f64::from(result.variance[[100, 101]]).sqrt();
        assert!((error / (0.5 / 2.0) - 1.0).abs() < 0.05, "{error}");
    }

    #[test]
    fn bytes_do_not_depend_on_threads() {
        let scene = Scene { dark: 12.0, ..Scene::infrared() }.with_rays(60);
        let (images, regions) = scene.render();
        let with_threads = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let raw = scene.stack(&images, &regions);
                let (offset, model) = model_of(&scene, &raw);
                let mut result = stack(&raw, &offset, &model, &OPTIONS);
                hot::flag(&mut result, &model, 5.0);
                let bits = |image: &Array2<f32>| image.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
                (bits(&result.value), bits(&result.variance), result.flags, result.sums, result.profile)
            })
        };
        assert_eq!(with_threads(1), with_threads(4));
    }

    #[test]
    fn shot_noise_of_the_dark_is_not_read_noise() {
        let scene = Scene { rows: 1000, columns: 1000, dark: 9.0, ..Scene::infrared() }.with_rays(150);
        let (result, _) = stacked(&scene);
        let total = read_noise(&result.sums, false).unwrap();
        assert!((total.ron / (7.3f64 * 7.3 + 9.0).sqrt() - 1.0).abs() < 0.005, "{total:?}");
        let found = read_noise(&result.sums, true).unwrap();
        assert!((found.ron / 7.3 - 1.0).abs() < 0.02, "{found:?}");
        assert!((found.shot - 9.0).abs() < 4.0 * found.shot_error.unwrap(), "{found:?}");
        assert!((found.ron - 7.3).abs() < 4.0 * found.error, "{found:?}");
    }

    #[test]
    fn row_noise_is_taken_out() {
        let scene = Scene { row_noise: 4.0, rows: 512, ..Scene::ccd() };
        let (images, regions) = scene.render();
        let raw = scene.stack(&images, &regions);
        let rows = overscan::measure(&raw).unwrap().rows.unwrap();
        let correction = overscan::row_correction(&raw, &rows, 5.0).unwrap();
        let offset: Vec<Vec<f32>> =
            correction.offset.iter().map(|frame| frame.iter().map(|value| *value as f32).collect()).collect();
        let model = noise::measure(&raw, &offset, &[scene.ron; 5]).unwrap();
        let result = stack(&raw, &offset, &model, &OPTIONS);
        // the master's rows scatter by 4 / sqrt 5 without correction, and by about 0.78 / sqrt 5 with it
        let rows = result.profile.rows;
        let mean = rows.iter().sum::<f64>() / rows.len() as f64;
        let scatter = (rows.iter().map(|row| (row - mean).powi(2)).sum::<f64>() / rows.len() as f64).sqrt();
        assert!(scatter < 0.5, "{scatter}");
        assert!((mean - scene.pedestal).abs() < 0.3, "{mean}");
    }

    #[test]
    fn profiles_see_slopes_and_skip_what_is_not_ordinary() {
        let mut scene = Scene::ccd();
        scene.hot = vec![(3, 4, 5e4)];
        let (mut images, regions) = scene.render();
        for image in &mut images {
            for ((r, c), value) in image.indexed_iter_mut() {
                *value += 0.02 * r as f32 - 0.01 * (c as f32 - scene.side as f32);
            }
        }
        let raw = scene.stack(&images, &regions);
        let (offset, model) = model_of(&scene, &raw);
        let found = stack(&raw, &offset, &model, &OPTIONS).profile;
        let slope = |means: &[f64]| {
            crate::numerics::linear::fit_line(means.iter().enumerate().map(|(i, mean)| (i as f64, *mean)))
                .unwrap()
                .slope
        };
        assert!((slope(&found.rows) / (0.02 * scene.gain) - 1.0).abs() < 0.02, "{}", slope(&found.rows));
        assert!((slope(&found.columns) / (-0.01 * scene.gain) - 1.0).abs() < 0.05, "{}", slope(&found.columns));
        assert!((found.variance * 5.0 / 14.54 - 1.0).abs() < 0.02, "{}", found.variance);
        assert!(found.rows.len() == scene.rows && found.columns.len() == scene.columns);
    }
}
