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
    /// Level above which the sums were taken.
    pub pivot: f64,
    /// Row and column of every pixel that was not ordinary, in order.
    pub unusual: Vec<(usize, usize)>,
}

/// What a chunk of rows adds to the result beside its pixels.
struct ChunkReport {
    sums: StackSums,
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
    let mut unusual = Vec::new();
    let mut hits: BTreeMap<(usize, usize), u64> = BTreeMap::new();
    for report in reports {
        sums.add(&report.sums);
        unusual.extend(report.unusual);
        hits.extend(report.hits);
    }
    let mut result = Stacked { value, variance, flags: quality, hits: 0, sums, pivot, unusual };
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
    let mut report = ChunkReport { sums: StackSums::new(frames), unusual: vec![], hits: vec![] };
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

/// Means along both axes and the scatter of an image over its good pixels (flags 0).
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
    /// Mean of the variance plane.
    pub variance: f64,
    /// Number of good pixels.
    pub good: usize,
}

/// Profile of a stacked image.
pub fn profile(stacked: &Stacked) -> Profile {
    let (rows, columns) = stacked.value.dim();
    let pivot = stacked.pivot;
    struct Part {
        columns: Vec<(f64, u32)>,
        rows: Vec<f64>,
        sum: f64,
        squares: f64,
        variance: f64,
        good: usize,
    }
    let starts: Vec<usize> = (0..rows).step_by(CHUNK_ROWS).collect();
    let parts: Vec<Part> = starts
        .par_iter()
        .map(|start| {
            let mut part =
                Part { columns: vec![(0.0, 0); columns], rows: vec![], sum: 0.0, squares: 0.0, variance: 0.0, good: 0 };
            for r in *start..(*start + CHUNK_ROWS).min(rows) {
                let (mut sum, mut squares, mut variance, mut count) = (0.0, 0.0, 0.0, 0u32);
                let line = stacked.value.row(r).into_iter().zip(stacked.variance.row(r)).zip(stacked.flags.row(r));
                for (((value, var), bits), column) in line.zip(part.columns.iter_mut()) {
                    let weight = u32::from(*bits == 0);
                    let d = if *bits == 0 { f64::from(*value) - pivot } else { 0.0 };
                    sum += d;
                    squares += d * d;
                    variance += f64::from(weight) * f64::from(*var);
                    count += weight;
                    column.0 += d;
                    column.1 += weight;
                }
                part.rows.push(pivot + sum / f64::from(count));
                part.sum += sum;
                part.squares += squares;
                part.variance += variance;
                part.good += count as usize;
            }
            part
        })
        .collect();
    let (mut sum, mut squares, mut variance, mut good) = (0.0, 0.0, 0.0, 0usize);
    let mut by_column = vec![(0.0, 0u32); columns];
    let mut by_row = Vec::with_capacity(rows);
    for part in parts {
        sum += part.sum;
        squares += part.squares;
        variance += part.variance;
        good += part.good;
        by_row.extend(part.rows);
        for (total, (sum, count)) in by_column.iter_mut().zip(part.columns) {
            total.0 += sum;
            total.1 += count;
        }
    }
    let n = good as f64;
    let sigma = ((squares - sum * sum / n) / (n - 1.0)).max(0.0).sqrt();
    let columns = by_column.into_iter().map(|(sum, count)| pivot + sum / f64::from(count)).collect();
    Profile { columns, rows: by_row, mean: pivot + sum / n, sigma, variance: variance / n, good }
}
