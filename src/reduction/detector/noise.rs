//! The noise of a set of frames, measured from the frames themselves.
//!
//! Header values of read noise and gain are never trusted for this: everything comes from differences between frames,
//! so quantisation, wrong gains and noisy nights are included as they are. First a survey of each frame as a whole
//! finds frames that do not belong; then a smooth map gives level, noise and fixed-pattern scatter over the image; at
//! last, with the whole stack summed, the read noise is separated from the shot noise of the dark signal.

use ndarray::Array2;
use rayon::prelude::*;

use super::trim::RawStack;
use crate::numerics::blocks::{BlockGrid, BlockMap};
use crate::numerics::robust::{clipped, median, median_and_scatter, median_f64};
use crate::numerics::stack::{FrameWeights, StackSums};

/// Outlier cut of the measurements here, in sigmas.
const CUT: f64 = 5.0;
/// Size of a block of the noise map, pixels.
const BLOCK: usize = 64;
/// Rows of a block that are sampled.
const ROWS_PER_BLOCK: usize = 8;
/// Fewer valid pixels than this say nothing about a block.
const LEAST_PIXELS: usize = 16;

/// One frame as a whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FrameSurvey {
    /// Fraction of sampled pixels that are not finite or saturated.
    pub invalid: f64,
    /// Median level, electrons; NaN without valid pixels.
    pub level: f64,
    /// Noise of a single pixel, electrons; NaN when it cannot be told.
    pub noise: f64,
    /// An earlier frame that has exactly the same pixels.
    pub same_as: Option<usize>,
}

/// Survey all frames on a sample of rows. The noise of each comes from its differences to every other frame: with
/// v(i,j) = s(i) + s(j) for all pairs, the single variances s follow exactly, and one noisy frame among good ones is
/// told apart. Frames that are mostly invalid (more than `max_invalid`) take no part in this.
pub fn survey(stack: &RawStack, max_invalid: f64) -> Vec<FrameSurvey> {
    let (rows, columns) = stack.shape();
    let frames = stack.len();
    let pairs = (frames * frames.saturating_sub(1) / 2).max(1);
    let wanted = (1_000_000 / pairs).clamp(4096, 16_384);
    let step = (rows * columns / wanted).max(1).min(rows);
    let lines: Vec<usize> = (step / 2..rows).step_by(step).collect();
    let samples: Vec<Vec<f32>> = (0..frames)
        .into_par_iter()
        .map(|k| lines.iter().flat_map(|r| stack.science_row(k, *r)).map(|adu| stack.electrons(*adu)).collect())
        .collect();
    let mut found: Vec<FrameSurvey> = samples
        .par_iter()
        .map(|sample| {
            let mut valid: Vec<f32> = sample.iter().copied().filter(|value| value.is_finite()).collect();
            let invalid = 1.0 - valid.len() as f64 / sample.len().max(1) as f64;
            let level = median(&mut valid).unwrap_or(f64::NAN);
            FrameSurvey { invalid, level, noise: f64::NAN, same_as: None }
        })
        .collect();

    let members: Vec<usize> = (0..frames).filter(|k| found[*k].invalid <= max_invalid).collect();
    let pairs: Vec<(usize, usize)> =
        members.iter().flat_map(|i| members.iter().filter(move |j| *j > i).map(move |j| (*i, *j))).collect();
    let variances: Vec<f64> = pairs
        .par_iter()
        .map(|(i, j)| {
            let mut difference = samples[*i].iter().zip(&samples[*j]).map(|(a, b)| a - b).collect();
            clipped(&mut difference, CUT).map_or(f64::NAN, |found| found.sigma * found.sigma)
        })
        .collect();
    let mut total = vec![0.0; frames];
    for ((i, j), variance) in pairs.iter().zip(&variances) {
        total[*i] += variance;
        total[*j] += variance;
        if *variance == 0.0 && samples[*i].iter().zip(&samples[*j]).all(|(a, b)| a.to_bits() == b.to_bits()) {
            found[*j].same_as.get_or_insert(*i);
        }
    }
    let n = members.len() as f64;
    let sum = members.iter().map(|k| total[*k]).sum::<f64>() / (2.0 * (n - 1.0));
    for k in members {
        found[k].noise =
            if n >= 3.0 { ((total[k] - sum) / (n - 2.0)).max(0.0).sqrt() } else { (total[k] / 2.0).sqrt() };
    }
    found
}

/// When a frame does not belong to its set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FrameLimits {
    /// Largest fraction of pixels that are not finite or saturated.
    pub max_invalid: f64,
    /// Largest ratio of a frame's noise to the median noise of the set.
    pub max_noise_ratio: f64,
    /// Largest distance of a frame's level from the median level of the set, electrons.
    pub max_level_jump: f64,
}

/// Frames that do not belong, by index, with the reason in words and numbers.
pub fn odd_frames(surveys: &[FrameSurvey], limits: &FrameLimits) -> Vec<(usize, String)> {
    let mut odd: Vec<(usize, String)> = Vec::new();
    for (k, frame) in surveys.iter().enumerate() {
        if frame.invalid > limits.max_invalid {
            let (percent, most) = (100.0 * frame.invalid, 100.0 * limits.max_invalid);
            odd.push((
                k,
                format!("{percent:.1} % of its pixels are saturated or not numbers, at most {most:.1} % may be"),
            ));
        } else if let Some(other) = frame.same_as {
            odd.push((k, format!("it has exactly the same pixels as frame {} of the set", other + 1)));
        }
    }
    let remaining = |odd: &[(usize, String)]| -> Vec<usize> {
        (0..surveys.len()).filter(|k| odd.iter().all(|(other, _)| other != k)).collect()
    };

    let members = remaining(&odd);
    let typical = median_f64(&mut members.iter().map(|k| surveys[*k].noise).collect::<Vec<_>>()).unwrap_or(f64::NAN);
    for k in members {
        let noise = surveys[k].noise;
        let most = limits.max_noise_ratio;
        if noise > most * typical {
            odd.push((
                k,
                format!("its noise is {noise:.2} e-, more than {most} times the set's median of {typical:.2} e-"),
            ));
        } else if noise < typical / (1.0 + 2.0 * (most - 1.0)) {
            odd.push((k, format!("its noise is {noise:.2} e-, far below the set's median of {typical:.2} e-")));
        }
    }

    let members = remaining(&odd);
    let typical = median_f64(&mut members.iter().map(|k| surveys[*k].level).collect::<Vec<_>>()).unwrap_or(f64::NAN);
    for k in members {
        let (level, most) = (surveys[k].level, limits.max_level_jump);
        if (level - typical).abs() > most {
            let reason =
                format!("its level is {level:.1} e-, more than {most} e- from the set's median of {typical:.1} e-");
            odd.push((k, reason));
        }
    }
    odd.sort_by_key(|(k, _)| *k);
    odd
}

/// Smooth maps of level and noise, and the levels of the frames against each other.
#[derive(Clone, Debug, PartialEq)]
pub struct NoiseModel {
    /// Level of the stack's mean, electrons.
    pub background: BlockMap,
    /// Noise variance of a frame of scale 1, electrons squared.
    pub variance: BlockMap,
    /// Variance of the stack's pixels about the background: noise of the mean and fixed pattern.
    pub scatter: BlockMap,
    /// Noise of the frames relative to each other.
    pub weights: FrameWeights,
    /// Level of each frame relative to the mean level, electrons.
    pub level: Vec<f64>,
    /// Standard error of such a level.
    pub level_error: f64,
}

/// What one block gives.
struct Block {
    background: f64,
    variance: f64,
    scatter: f64,
    residual: Vec<f64>,
    pixels: f64,
}

/// Measure the maps. `offset` is what is subtracted per frame and row beforehand, electrons; `noise` the survey's noise
/// of each frame. `None` when no block has enough valid pixels, or the frames have no noise at all.
pub fn measure(stack: &RawStack, offset: &[Vec<f32>], noise: &[f64]) -> Option<NoiseModel> {
    let (rows, columns) = stack.shape();
    let frames = stack.len();
    let typical = noise.iter().map(|s| s * s).sum::<f64>() / frames as f64;
    if !(typical > 0.0 && typical.is_finite()) {
        return None;
    }
    let weights = FrameWeights::new(noise.iter().map(|s| s * s / typical).collect());
    let grid = BlockGrid::new(rows, columns, BLOCK);
    let (down, across) = grid.shape();
    let blocks: Vec<Vec<Block>> = (0..down)
        .into_par_iter()
        .map(|i| (0..across).map(|j| measure_block(stack, offset, &grid, (i, j), &weights)).collect())
        .collect();

    let map = |pick: fn(&Block) -> f64| {
        let values = Array2::from_shape_fn((down, across), |(i, j)| pick(&blocks[i][j]));
        values.iter().any(|value| value.is_finite()).then(|| BlockMap::new(grid.clone(), values, f64::NAN)).flatten()
    };
    let background = map(|block| block.background)?;
    let variance = map(|block| block.variance)?.smoothed();
    let scatter = map(|block| block.scatter)?.smoothed();
    let (mut level, mut pixels, mut squares) = (vec![0.0; frames], 0.0, 0.0);
    for block in blocks.iter().flatten().filter(|block| block.pixels > 0.0) {
        pixels += block.pixels;
        squares += block.pixels * block.variance;
        for (sum, residual) in level.iter_mut().zip(&block.residual) {
            *sum += residual;
        }
    }
    level.iter_mut().for_each(|sum| *sum /= pixels);
    let mean_variance = squares / pixels;
    if mean_variance.is_nan() || mean_variance <= 0.0 {
        return None;
    }
    let level_error = (mean_variance * (1.0 - 1.0 / frames as f64) / pixels).sqrt();
    Some(NoiseModel { background, variance, scatter, weights, level, level_error })
}

fn measure_block(
    stack: &RawStack,
    offset: &[Vec<f32>],
    grid: &BlockGrid,
    (i, j): (usize, usize),
    weights: &FrameWeights,
) -> Block {
    let frames = stack.len();
    let (rows, columns) = (grid.rows_of(i), grid.columns_of(j));
    let step = (rows.len() / ROWS_PER_BLOCK).max(1);
    let mut means: Vec<f32> = Vec::with_capacity(columns.len() * (ROWS_PER_BLOCK + 1));
    // residuals from the mean, all frames of a pixel together
    let mut residuals: Vec<f32> = Vec::with_capacity(means.capacity() * frames);
    for r in rows.step_by(step) {
        let start = residuals.len();
        let width = columns.len();
        residuals.resize(start + width * frames, 0.0);
        let part = &mut residuals[start..];
        for k in 0..frames {
            let line = &stack.science_row(k, r)[columns.clone()];
            for (pixel, adu) in part.chunks_mut(frames).zip(line) {
                pixel[k] = stack.electrons(*adu) - offset[k][r];
            }
        }
        for pixel in part.chunks_mut(frames) {
            let mean = pixel.iter().sum::<f32>() / frames as f32;
            pixel.iter_mut().for_each(|value| *value -= mean);
            means.push(mean);
        }
    }
    let nothing =
        Block { background: f64::NAN, variance: f64::NAN, scatter: f64::NAN, residual: vec![0.0; frames], pixels: 0.0 };
    let mut valid: Vec<f32> = means.iter().copied().filter(|mean| mean.is_finite()).collect();
    if valid.len() < LEAST_PIXELS {
        return nothing;
    }
    let Some((background, spread)) = median_and_scatter(&mut valid) else { return nothing };

    // Largest normalised square of each pixel decides whether it counts; the start is the scatter of the means, which
    // is robust against hits and at worst too large.
    let inverse: Vec<f32> = weights.share.iter().map(|share| (1.0 / share) as f32).collect();
    let extreme = |pixel: &[f32]| {
        let normalised = pixel.iter().zip(&inverse).map(|(r, w)| r * r * w);
        normalised.fold((0.0f32, 0.0f32), |(top, sum), z| (if z > top { z } else { top }, sum + z))
    };
    let squares: Vec<(f32, f32)> = residuals.chunks(frames).map(extreme).collect();
    let near = |mean: f32| mean.is_finite() && (f64::from(mean) - background).abs() <= CUT * spread;
    let mut variance = spread * spread / weights.mean;
    let mut kept = 0usize;
    for _ in 0..12 {
        let cut = (CUT * CUT * variance) as f32;
        let (mut count, mut sum) = (0usize, 0.0);
        for (mean, (top, total)) in means.iter().zip(&squares) {
            if near(*mean) && *top <= cut {
                count += 1;
                sum += f64::from(*total);
            }
        }
        if count < LEAST_PIXELS {
            return nothing;
        }
        let next = sum / (count * frames) as f64;
        let settled = count == kept && (next - variance).abs() <= 1e-6 * variance;
        (variance, kept) = (next, count);
        if settled {
            break;
        }
    }
    let cut = (CUT * CUT * variance) as f32;
    let (mut residual, mut pixels) = (vec![0.0; frames], 0.0);
    for ((mean, (top, _)), pixel) in means.iter().zip(&squares).zip(residuals.chunks(frames)) {
        if near(*mean) && *top <= cut {
            pixels += 1.0;
            for (sum, r) in residual.iter_mut().zip(pixel) {
                *sum += f64::from(*r);
            }
        }
    }
    let scatter = (spread * spread).max(variance * weights.mean);
    Block { background, variance, scatter, residual, pixels }
}

/// Read noise of the set, shot noise of the dark signal taken out.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadNoise {
    /// Read noise, electrons.
    pub ron: f64,
    /// Its standard error.
    pub error: f64,
    /// Total noise of each frame, electrons.
    pub frames: Vec<f64>,
    /// Variance that was taken out as shot noise, electrons squared; 0 when none was found.
    pub shot: f64,
    /// Standard error of the measured shot variance; `None` when it was not measured.
    pub shot_error: Option<f64>,
}

/// An asymmetry of the residuals counts as shot noise from this many sigmas on.
const SIGNIFICANT_SHOT: f64 = 2.0;

/// Read noise from the sums over all ordinary pixels of a stack.
///
/// The variance of frame differences holds read noise and the shot noise of the dark signal, and the level cannot tell
/// them apart because the pedestal is unknown. Their shape can: read noise is symmetric, a Poisson signal of mean m has
/// the third cumulant m. Per pixel N / ((N-1)(N-2)) sum r^3 is its unbiased estimate, with the variance
/// 6 N s^6 / ((N-1)(N-2)) for noise s. Hits and hot pixels, which would dominate it, are not in the sums.
/// `None` when nothing was summed. `poisson` is false for frames without exposure.
pub fn read_noise(sums: &StackSums, poisson: bool) -> Option<ReadNoise> {
    let n = sums.squares.len() as f64;
    let pixels = sums.good as f64;
    if sums.good == 0 || n < 2.0 {
        return None;
    }
    // residual variances are v(k) = s(k) (1 - 2/n) + sum(s) / n^2; means are taken out, in case a frame has its own level
    let residual: Vec<f64> =
        sums.squares.iter().zip(&sums.residual).map(|(q, r)| q / pixels - (r / pixels).powi(2)).collect();
    let total = residual.iter().sum::<f64>() * n / (n - 1.0);
    let variances: Vec<f64> = if n > 2.0 {
        residual.iter().map(|v| ((v - total / (n * n)) / (1.0 - 2.0 / n)).max(0.0)).collect()
    } else {
        vec![total / 2.0; 2]
    };
    let variance = total / n;
    let mut variance_error = variance * (2.0 / (pixels * (n - 1.0))).sqrt();
    let (mut shot, mut shot_error) = (0.0, None);
    if poisson && n > 2.0 {
        let factor = n / ((n - 1.0) * (n - 2.0));
        let skew = factor * sums.cubes / pixels;
        let error = (6.0 * factor / pixels).sqrt() * variance.powf(1.5);
        shot_error = Some(error);
        if skew > SIGNIFICANT_SHOT * error {
            shot = skew.min(variance);
            variance_error = variance_error.hypot(error);
        }
    }
    let ron = (variance - shot).max(0.0).sqrt();
    let error = if ron > 0.0 { 0.5 * variance_error / ron } else { variance_error.sqrt() };
    Some(ReadNoise { ron, error, frames: variances.iter().map(|v| v.sqrt()).collect(), shot, shot_error })
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::Scene;
    use super::*;

    const LIMITS: FrameLimits = FrameLimits { max_invalid: 0.2, max_noise_ratio: 1.5, max_level_jump: 50.0 };

    fn surveyed(scene: &Scene) -> (Vec<FrameSurvey>, Vec<(usize, String)>) {
        let (images, regions) = scene.render();
        let surveys = survey(&scene.stack(&images, &regions), LIMITS.max_invalid);
        let odd = odd_frames(&surveys, &LIMITS);
        (surveys, odd)
    }

    #[test]
    fn each_frame_has_its_own_noise() {
        let scene = Scene { noise_factor: vec![1.0, 1.0, 1.2, 1.0, 3.0], ..Scene::ccd() };
        let (surveys, odd) = surveyed(&scene);
        for (frame, factor) in surveys.iter().zip(&scene.noise_factor) {
            assert!((frame.noise / (scene.ron * factor) - 1.0).abs() < 0.04, "{surveys:?}");
        }
        assert_eq!(odd.len(), 1);
        assert!(odd[0].0 == 4 && odd[0].1.contains("noise"), "{odd:?}");
    }

    #[test]
    fn a_noisy_frame_among_three_is_found() {
        let scene = Scene { frames: 3, noise_factor: vec![3.0, 1.0, 1.0], ..Scene::ccd() };
        assert_eq!(surveyed(&scene).1.iter().map(|(k, _)| *k).collect::<Vec<_>>(), vec![0]);
    }

    #[test]
    fn jumps_copies_and_invalid_frames_are_found() {
        let scene = Scene { level_shift: vec![0.0, 200.0], ..Scene::ccd() };
        let (_, odd) = surveyed(&scene);
        assert!(odd.len() == 1 && odd[0].0 == 1 && odd[0].1.contains("level"), "{odd:?}");

        let scene = Scene::ccd();
        let (mut images, regions) = scene.render();
        images[3] = images[1].clone();
        images[0].rows_mut().into_iter().take(120).for_each(|mut row| row.fill(f32::NAN));
        let odd = odd_frames(&survey(&scene.stack(&images, &regions), 0.2), &LIMITS);
        assert_eq!(odd.iter().map(|(k, _)| *k).collect::<Vec<_>>(), vec![0, 3]);
        assert!(odd[0].1.contains("not numbers") && odd[1].1.contains("same pixels as frame 2"), "{odd:?}");
    }

    #[test]
    fn maps_follow_glow_and_ignore_hits() {
        let scene = Scene { dark: 40.0, glow: 1.0, pattern: 1.5, ..Scene::infrared() }.with_rays(40);
        let (images, regions) = scene.render();
        let offset = vec![vec![0.0; scene.rows]; scene.frames];
        let model = measure(&scene.stack(&images, &regions), &offset, &[7.3; 5]).unwrap();
        let across = model.variance.values().ncols();
        let (left, right) = (model.background.values()[[1, 0]], model.background.values()[[1, across - 1]]);
        assert!((left - 42.0).abs() < 1.5 && (right - left - 23.0).abs() < 4.0, "{left} {right}");
        let read = scene.ron * scene.ron;
        let variance = model.variance.values();
        assert!((variance[[1, 0]] / (read + 44.0) - 1.0).abs() < 0.06, "{variance}");
        assert!(model.level.iter().all(|level| level.abs() < 5.0 * model.level_error));
    }

    #[test]
    fn frames_without_noise_have_no_model() {
        let scene = Scene { ron: 1e-9, quantised: true, ..Scene::ccd() };
        let (images, regions) = scene.render();
        let offset = vec![vec![0.0; scene.rows]; scene.frames];
        assert_eq!(measure(&scene.stack(&images, &regions), &offset, &[0.0; 5]), None);
    }
}
