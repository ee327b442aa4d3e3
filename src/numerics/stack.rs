//! Averaging a stack of frames whose noise is known.
//!
//! A value is rejected when it is further from the *other* values of its pixel than the known noise allows. With five
//! frames a 3-sigma clip on the sample's own MAD throws away 9 % of good values and gains 15 % of noise; a 5-sigma cut
//! on known noise throws away less than one in a million. [`stack_row`] is the fast path: it averages a row and hands
//! every pixel that is in any way unusual to [`combine`], which looks at its values one by one.

use super::robust::{chi_square_limit, median_f64};

/// Most frames that can be stacked at once (rejections are kept as bits of a word).
pub const MAX_FRAMES: usize = 64;

/// Noise of the frames relative to each other, and what follows from it for residuals about their mean.
#[derive(Clone, Debug, PartialEq)]
pub struct FrameWeights {
    /// Variance of each frame in units of the map's variance.
    pub scale: Vec<f64>,
    /// Variance of each frame's residual from the plain mean of all, same units.
    pub share: Vec<f64>,
    /// Variance of the plain mean, same units.
    pub mean: f64,
}

impl FrameWeights {
    /// From the relative variances of the frames.
    pub fn new(scale: Vec<f64>) -> FrameWeights {
        let n = scale.len().max(1) as f64;
        let mean = scale.iter().sum::<f64>() / (n * n);
        let share = scale.iter().map(|s| (s * (1.0 - 2.0 / n) + mean).max(1e-12)).collect();
        FrameWeights { scale, share, mean }
    }
}

/// When a value, or a pixel, is out of the ordinary.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StackLimits {
    /// Rejection threshold in sigmas of the known noise.
    pub rejection_sigma: f64,
    /// Gaussian deviate of the chi-square at which a pixel is called unstable.
    pub unstable_sigma: f64,
    /// Whether a significant excess of a pixel over its surroundings is light, and so has Poisson noise of its own
    /// (darks), or structure of the electronics, which has none (biases).
    pub poisson: bool,
}

/// Sums over the pixels of a stack that were ordinary in every frame.
#[derive(Clone, Debug, PartialEq)]
pub struct StackSums {
    /// Number of such pixels.
    pub good: u64,
    /// Sum of their means above the pivot.
    pub above_pivot: f64,
    /// Sum of the squares of their means above the pivot.
    pub above_squared: f64,
    /// Sum of the noise variances of a frame of scale 1 over them.
    pub variance: f64,
    /// Sum of the residuals from the mean, per frame.
    pub residual: Vec<f64>,
    /// Sum of the squared residuals, per frame.
    pub squares: Vec<f64>,
    /// Sum of the cubed residuals of all frames.
    pub cubes: f64,
    /// Sum over pixels and frames of the squared residual in units of its expected variance.
    pub chi: f64,
}

impl StackSums {
    /// Nothing summed yet.
    pub fn new(frames: usize) -> StackSums {
        StackSums {
            good: 0,
            above_pivot: 0.0,
            above_squared: 0.0,
            variance: 0.0,
            residual: vec![0.0; frames],
            squares: vec![0.0; frames],
            cubes: 0.0,
            chi: 0.0,
        }
    }

    /// Add the sums of another part of the image. The order of such calls must be fixed.
    pub fn add(&mut self, other: &StackSums) {
        self.good += other.good;
        self.above_pivot += other.above_pivot;
        self.above_squared += other.above_squared;
        self.variance += other.variance;
        self.cubes += other.cubes;
        self.chi += other.chi;
        for (mine, theirs) in self.residual.iter_mut().zip(&other.residual) {
            *mine += theirs;
        }
        for (mine, theirs) in self.squares.iter_mut().zip(&other.squares) {
            *mine += theirs;
        }
    }
}

/// What is expected of the pixels of one row. All are as long as the row, padded to whole vectors.
#[derive(Clone, Debug)]
pub struct RowModel {
    /// Noise variance of a frame of scale 1.
    pub variance: Vec<f32>,
    /// Level of the surroundings.
    pub background: Vec<f32>,
    /// Variance of the stack's pixels about the background: noise and fixed pattern.
    pub scatter: Vec<f32>,
}

impl RowModel {
    /// Room for a row of `width` pixels.
    pub fn new(width: usize) -> RowModel {
        let row = || vec![0.0; width.next_multiple_of(LANES)];
        RowModel { variance: row(), background: row(), scatter: row() }
    }
}

/// Working memory of [`stack_row`], reused from row to row. Rows are padded to whole vectors; padding is never good.
#[derive(Debug)]
pub struct RowScratch {
    padded: usize,
    residual: Vec<f32>,
    chi: Vec<f32>,
    extreme: Vec<f32>,
    good: Vec<f32>,
    above: Vec<f32>,
}

impl RowScratch {
    /// Room for `frames` rows of `width` pixels.
    pub fn new(frames: usize, width: usize) -> RowScratch {
        let padded = width.next_multiple_of(LANES);
        let row = || vec![0.0; padded];
        RowScratch {
            padded,
            residual: vec![0.0; frames * padded],
            chi: row(),
            extreme: row(),
            good: row(),
            above: row(),
        }
    }

    /// After [`stack_row`]: 1 for every pixel of the row that was ordinary in every frame, else 0; padded with 0.
    pub fn good(&self) -> &[f32] {
        &self.good
    }

    /// After [`stack_row`]: the row's means above the pivot where they are good, else 0; padded with 0.
    pub fn above(&self) -> &[f32] {
        &self.above
    }
}

/// How raw numbers become the values that are stacked: `value = raw * gain - offset[frame]`.
#[derive(Clone, Copy, Debug)]
pub struct RowCalibration<'a> {
    /// Units per raw unit.
    pub gain: f32,
    /// Level to subtract from each frame's row.
    pub offset: &'a [f32],
    /// Level above which sums are taken, to keep digits.
    pub pivot: f32,
}

/// Average one row of all frames into `value` and list in `unusual` the columns that need [`combine`].
///
/// `frames` are the raw rows, all of one length, which is also that of `value`.
#[expect(clippy::too_many_arguments, reason = "a kernel: inputs, model, scratch and outputs of one row")]
pub fn stack_row(
    frames: &[&[f32]],
    calibration: RowCalibration,
    model: &RowModel,
    weights: &FrameWeights,
    limits: &StackLimits,
    scratch: &mut RowScratch,
    value: &mut [f32],
    sums: &mut StackSums,
    unusual: &mut Vec<usize>,
) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has been asked for the one feature that the function needs.
        #[allow(unsafe_code)]
        unsafe {
            stack_row_avx2(frames, calibration, model, weights, limits, scratch, value, sums, unusual);
        }
        return;
    }
    stack_row_portable(frames, calibration, model, weights, limits, scratch, value, sums, unusual);
}

/// The same code with vectors twice as long. Operations, their order and so every bit of the result are the same:
/// partial sums have a fixed number of lanes, and nothing is contracted.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[expect(clippy::too_many_arguments, reason = "as `stack_row`")]
fn stack_row_avx2(
    frames: &[&[f32]],
    calibration: RowCalibration,
    model: &RowModel,
    weights: &FrameWeights,
    limits: &StackLimits,
    scratch: &mut RowScratch,
    value: &mut [f32],
    sums: &mut StackSums,
    unusual: &mut Vec<usize>,
) {
    stack_row_portable(frames, calibration, model, weights, limits, scratch, value, sums, unusual);
}

#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "as `stack_row`")]
fn stack_row_portable(
    frames: &[&[f32]],
    calibration: RowCalibration,
    model: &RowModel,
    weights: &FrameWeights,
    limits: &StackLimits,
    scratch: &mut RowScratch,
    value: &mut [f32],
    sums: &mut StackSums,
    unusual: &mut Vec<usize>,
) {
    let n = frames.len();
    let gain = calibration.gain;
    let width = value.len();
    value.fill(0.0);
    for (frame, offset) in frames.iter().zip(calibration.offset) {
        for (sum, raw) in value.iter_mut().zip(*frame) {
            *sum += raw * gain - offset;
        }
    }
    let inverse = 1.0 / n as f32;
    value.iter_mut().for_each(|sum| *sum *= inverse);

    scratch.chi.fill(0.0);
    scratch.extreme.fill(0.0);
    for (k, (frame, residual)) in frames.iter().zip(scratch.residual.chunks_exact_mut(scratch.padded)).enumerate() {
        let offset = calibration.offset[k];
        let weight = 1.0 / weights.share[k] as f32;
        // slices of one length, so that the loop needs no bounds checks and becomes vector code
        let (frame, mean, residual) = (&frame[..width], &value[..width], &mut residual[..width]);
        let (chi, extreme) = (&mut scratch.chi[..width], &mut scratch.extreme[..width]);
        for c in 0..width {
            let r = frame[c] * gain - offset - mean[c];
            let squared = r * r * weight;
            residual[c] = r;
            chi[c] += squared;
            extreme[c] = if squared > extreme[c] { squared } else { extreme[c] };
        }
    }

    // NaN fails every one of these comparisons, so a pixel with an invalid value is never ordinary
    let cut = (limits.rejection_sigma * limits.rejection_sigma) as f32;
    let degrees = (n as f64 - 1.0).max(1.0);
    let chi_cut = (chi_square_limit(degrees, limits.unstable_sigma) * n as f64 / degrees) as f32;
    {
        let (variance, background, scatter) =
            (&model.variance[..width], &model.background[..width], &model.scatter[..width]);
        let (chi, extreme, mean) = (&scratch.chi[..width], &scratch.extreme[..width], &value[..width]);
        let (good, above) = (&mut scratch.good[..width], &mut scratch.above[..width]);
        for c in 0..width {
            let excess = mean[c] - background[c];
            let ordinary = (extreme[c] <= cut * variance[c])
                & (chi[c] <= chi_cut * variance[c])
                & (excess * excess <= cut * scatter[c]);
            good[c] = if ordinary { 1.0 } else { 0.0 };
            above[c] = if ordinary { mean[c] - calibration.pivot } else { 0.0 };
        }
        // chi becomes its normalised form; rows without anything unusual are most, and need no search
        for (chi, variance) in scratch.chi.iter_mut().zip(variance) {
            *chi /= variance;
        }
    }
    let good = &scratch.good;
    let count = total(good, |good| good) as usize;
    if count < width {
        unusual.extend(good[..width].iter().enumerate().filter(|(_, good)| **good == 0.0).map(|(c, _)| c));
    }
    sums.good += count as u64;
    sums.above_pivot += total(&scratch.above, |value| value);
    sums.above_squared += total(&scratch.above, |value| value * value);
    sums.chi += masked_total(&scratch.chi, good);
    sums.variance += masked_total(&model.variance, good);
    for (k, residual) in scratch.residual.chunks_exact(scratch.padded).enumerate() {
        let (first, second, third) = masked_powers(residual, good);
        sums.residual[k] += first;
        sums.squares[k] += second;
        sums.cubes += third;
    }
}

/// Independent partial sums that the compiler can keep in vector registers; their order is fixed.
const LANES: usize = 16;

#[inline(always)]
fn add_up(lanes: [f32; LANES]) -> f64 {
    lanes.into_iter().map(f64::from).sum()
}

/// Sum over a padded row.
#[inline(always)]
fn total(values: &[f32], of: impl Fn(f32) -> f32) -> f64 {
    let mut lanes = [0.0f32; LANES];
    for values in values.as_chunks::<LANES>().0 {
        for i in 0..LANES {
            lanes[i] += of(values[i]);
        }
    }
    add_up(lanes)
}

/// Sum where `good` is not 0, over padded rows.
#[inline(always)]
fn masked_total(values: &[f32], good: &[f32]) -> f64 {
    let mut lanes = [0.0f32; LANES];
    for (values, good) in values.as_chunks::<LANES>().0.iter().zip(good.as_chunks::<LANES>().0) {
        for i in 0..LANES {
            lanes[i] += if good[i] != 0.0 { values[i] } else { 0.0 };
        }
    }
    add_up(lanes)
}

/// Sums of the first three powers where `good` is not 0, over padded rows.
#[inline(always)]
fn masked_powers(values: &[f32], good: &[f32]) -> (f64, f64, f64) {
    let (mut first, mut second, mut third) = ([0.0f32; LANES], [0.0f32; LANES], [0.0f32; LANES]);
    for (values, good) in values.as_chunks::<LANES>().0.iter().zip(good.as_chunks::<LANES>().0) {
        for i in 0..LANES {
            let r = if good[i] != 0.0 { values[i] } else { 0.0 };
            first[i] += r;
            second[i] += r * r;
            third[i] += r * r * r;
        }
    }
    (add_up(first), add_up(second), add_up(third))
}

/// What is expected of one pixel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PixelModel {
    /// Noise variance of a frame of scale 1.
    pub variance: f64,
    /// Level of the surroundings.
    pub background: f64,
}

/// The result for one pixel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Combined {
    /// Mean of the values used; the background when there is none.
    pub value: f64,
    /// Variance of that mean: sum of the squared weights times the values' variances.
    pub variance: f64,
    /// Bits of the frames used.
    pub used: u64,
    /// Bits of the frames rejected as too high.
    pub high: u64,
    /// Bits of the frames rejected as too low.
    pub low: u64,
    /// The values vary by more than their noise: it cannot be trusted which of them are right.
    pub unstable: bool,
    /// The significant part of the value above its surroundings that is taken as light; 0 when there is none.
    pub excess: f64,
}

/// An excess over the surroundings counts as light from this many sigmas of the noise on.
const SIGNIFICANT_EXCESS: f64 = 4.0;

/// Combine the values of one pixel, one at a time. Values that are not finite, and frames in `banned`, are not used.
///
/// Each round takes the value furthest from the median and asks whether the known noise allows its distance from the
/// *other* values. Cosmic rays only add: where few values are left and they contradict each other, the higher goes.
pub fn combine(
    values: &[f32],
    banned: u64,
    model: PixelModel,
    weights: &FrameWeights,
    limits: &StackLimits,
) -> Combined {
    let mut used = 0u64;
    for (k, value) in values.iter().enumerate().take(MAX_FRAMES) {
        if value.is_finite() && banned & (1 << k) == 0 {
            used |= 1 << k;
        }
    }
    let start = used.count_ones() as usize;
    let (mut high, mut low, mut contradicts) = (0u64, 0u64, false);
    let mut sorted: Vec<f64> = Vec::with_capacity(values.len());
    let members = |set: u64| (0..values.len().min(MAX_FRAMES)).filter(move |k| set & (1 << k) != 0);
    let excess_of = |level: f64, variance_of_level: f64| {
        let excess = level - model.background;
        let significant = excess > SIGNIFICANT_EXCESS * variance_of_level.sqrt();
        if limits.poisson && significant { excess } else { 0.0 }
    };
    while used.count_ones() >= 2 {
        let n = used.count_ones() as usize;
        sorted.clear();
        sorted.extend(members(used).map(|k| f64::from(values[k])));
        let lowest = sorted.iter().copied().fold(f64::INFINITY, f64::min);
        let centre = if n == 2 { lowest } else { median_f64(&mut sorted).unwrap_or(lowest) };
        let light = excess_of(centre, model.variance * std::f64::consts::FRAC_PI_2 / n as f64);
        let noise = |k: usize| model.variance * weights.scale[k] + light;
        let distance = |k: usize| (f64::from(values[k]) - centre) / noise(k).sqrt();
        let furthest =
            |set: u64| members(set).max_by(|a, b| distance(*a).abs().total_cmp(&distance(*b).abs())).unwrap_or(0);
        let suspect = furthest(used);
        // the distance of a value from the others, in sigmas of that distance
        let mut deviation = |k: usize| {
            let others = used & !(1 << k);
            let count = others.count_ones() as usize;
            let mean_variance = members(others).map(&noise).sum::<f64>() / count as f64;
            sorted.clear();
            sorted.extend(members(others).map(|j| f64::from(values[j])));
            let (reference, penalty) = if count >= 3 {
                (median_f64(&mut sorted).unwrap_or(centre), std::f64::consts::FRAC_PI_2)
            } else {
                (sorted.iter().sum::<f64>() / count as f64, 1.0)
            };
            (f64::from(values[k]) - reference) / (noise(k) + penalty * mean_variance / count as f64).sqrt()
        };
        let mut d = deviation(suspect);
        if d.abs() <= limits.rejection_sigma {
            break;
        }
        let mut out = suspect;
        if n <= 3 && d < 0.0 {
            // low against two others (or one): either it is low, or the others are hit
            let top = members(used).max_by(|a, b| values[*a].total_cmp(&values[*b])).unwrap_or(suspect);
            let rest = members(used & !(1 << top) & !(1 << suspect)).next();
            let others_agree = rest.is_some_and(|other| {
                let gap = f64::from(values[top]) - f64::from(values[other]);
                gap <= limits.rejection_sigma * (noise(top) + noise(other)).sqrt()
            });
            if !others_agree {
                (out, d) = (top, f64::INFINITY);
            }
        }
        contradicts |= n == 2;
        used &= !(1 << out);
        if d > 0.0 {
            high |= 1 << out;
        } else {
            low |= 1 << out;
        }
    }

    let n = used.count_ones() as usize;
    if n == 0 {
        let variance = model.variance * weights.scale.iter().copied().fold(1.0, f64::max);
        return Combined { value: model.background, variance, used, high, low, unstable: false, excess: 0.0 };
    }
    let mean = members(used).map(|k| f64::from(values[k])).sum::<f64>() / n as f64;
    let read = members(used).map(|k| model.variance * weights.scale[k]).sum::<f64>() / (n * n) as f64;
    let excess = excess_of(mean, read);
    let chi: f64 = members(used)
        .map(|k| (f64::from(values[k]) - mean).powi(2) / (model.variance * weights.scale[k] + excess))
        .sum();
    let scattered = n >= 2 && chi > chi_square_limit(n as f64 - 1.0, limits.unstable_sigma);
    // one hit in a few frames, or one in four of many, is cosmic rays; more is a pixel that jumps
    let many_hits = high.count_ones() as usize >= 2.max(start.div_ceil(4));
    let unstable = scattered || contradicts || many_hits || low != 0;
    Combined { value: mean, variance: read + excess / n as f64, used, high, low, unstable, excess }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: StackLimits = StackLimits { rejection_sigma: 5.0, unstable_sigma: 5.2, poisson: true };
    const MODEL: PixelModel = PixelModel { variance: 16.0, background: 100.0 };

    fn combined(values: &[f32]) -> Combined {
        combine(values, 0, MODEL, &FrameWeights::new(vec![1.0; values.len()]), &LIMITS)
    }

    #[test]
    fn ordinary_values_give_the_plain_mean_and_its_variance() {
        let result = combined(&[98.0, 102.0, 100.0, 101.0, 99.0]);
        assert_eq!((result.value, result.variance, result.used), (100.0, 16.0 / 5.0, 0b11111));
        assert!(!result.unstable && result.high == 0 && result.low == 0);
    }

    #[test]
    fn cosmic_rays_are_rejected_one_by_one() {
        let one = combined(&[98.0, 102.0, 800.0, 101.0, 99.0]);
        assert_eq!((one.value, one.high, one.unstable), (100.0, 0b100, false));
        assert_eq!(one.variance, 4.0);
        let two = combined(&[98.0, 1102.0, 800.0, 101.0, 101.0]);
        assert_eq!((two.value, two.high, two.unstable), (100.0, 0b110, true));
        for two_of_three in [[100.0, 800.0, 1700.0], [2900.0, 800.0, 100.0]] {
            let result = combined(&two_of_three);
            assert_eq!((result.value, result.unstable), (100.0, true), "{two_of_three:?}");
        }
        // two of three that agree within the noise of their light cannot be told from a pixel that jumps
        assert!(combined(&[900.0, 800.0, 100.0]).unstable);
    }

    #[test]
    fn a_low_value_marks_the_pixel_unstable() {
        let result = combined(&[98.0, 102.0, 20.0, 101.0, 99.0]);
        assert_eq!((result.low, result.unstable, result.value), (0b100, true, 100.0));
    }

    #[test]
    fn a_hot_pixel_has_the_noise_of_its_light() {
        // 2500 e- above the surroundings: +-50 e- is its own noise
        let values = [2600.0, 2650.0, 2550.0, 2580.0, 2620.0];
        let result = combined(&values);
        assert_eq!((result.used, result.unstable, result.excess), (0b11111, false, 2500.0));
        assert!((result.variance - (16.0 + 2500.0) / 5.0).abs() < 1e-9);
        let electronics = StackLimits { poisson: false, ..LIMITS };
        assert!(combine(&values, 0, MODEL, &FrameWeights::new(vec![1.0; 5]), &electronics).unstable);
    }

    #[test]
    fn invalid_values_and_banned_frames_are_left_out() {
        let result = combined(&[f32::NAN, 102.0, f32::INFINITY, 98.0, f32::NEG_INFINITY]);
        assert_eq!((result.value, result.used, result.variance), (100.0, 0b1010, 8.0));
        let none = combined(&[f32::NAN; 3]);
        assert_eq!((none.used, none.value), (0, 100.0));
        let banned = combine(&[90.0, 100.0, 100.0], 0b1, MODEL, &FrameWeights::new(vec![1.0; 3]), &LIMITS);
        assert_eq!((banned.value, banned.used), (100.0, 0b110));
    }

    #[test]
    fn unequal_noise_enters_the_variance() {
        let weights = FrameWeights::new(vec![1.0, 1.0, 2.0]);
        let result = combine(&[100.0, 101.0, 99.0], 0, MODEL, &weights, &LIMITS);
        assert!((result.variance - 16.0 * 4.0 / 9.0).abs() < 1e-12);
        // residual variances: s_k (1 - 2/n) + sum / n^2
        assert!((weights.share[2] - (2.0 / 3.0 + 4.0 / 9.0)).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn the_result_lies_within_the_values(values in prop::collection::vec(-1e4f32..1e5, 1..20), poisson: bool) {
            let limits = StackLimits { poisson, ..LIMITS };
            let result = combine(&values, 0, MODEL, &FrameWeights::new(vec![1.0; values.len()]), &limits);
            let low = values.iter().copied().fold(f32::INFINITY, f32::min);
            let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            prop_assert!(result.used != 0 && result.variance > 0.0);
            prop_assert!(result.value >= f64::from(low) - 1e-2 && result.value <= f64::from(high) + 1e-2);
            prop_assert_eq!(result.used | result.high | result.low, (1u64 << values.len()) - 1);
        }

        #[test]
        fn a_row_without_outliers_agrees_with_the_pixel_path(
            values in prop::collection::vec(90.0f32..110.0, 5 * 40), offset in -3.0f32..3.0,
        ) {
            let rows: Vec<&[f32]> = values.chunks(40).collect();
            let mut model = RowModel::new(40);
            model.variance.fill(100.0);
            model.background.fill(100.0);
            model.scatter.fill(1000.0);
            let weights = FrameWeights::new(vec![1.0; 5]);
            let (mut out, mut sums, mut unusual) = (vec![0.0; 40], StackSums::new(5), vec![]);
            let offsets = [offset, 0.0, -offset, 0.0, 0.0];
            let calibration = RowCalibration { gain: 1.0, offset: &offsets, pivot: 100.0 };
            let mut scratch = RowScratch::new(5, 40);
            stack_row(&rows, calibration, &model, &weights, &LIMITS, &mut scratch, &mut out, &mut sums, &mut unusual);
            prop_assert_eq!(unusual.len(), 0);
            prop_assert_eq!(sums.good, 40);
            for c in 0..40 {
                let own: Vec<f32> = (0..5).map(|k| rows[k][c] - offsets[k]).collect();
                let pixel = combine(&own, 0, PixelModel { variance: 100.0, background: 100.0 }, &weights, &LIMITS);
                prop_assert!((pixel.value - f64::from(out[c])).abs() < 1e-3);
            }
            prop_assert!(sums.residual.iter().sum::<f64>().abs() < 1e-2);
        }
    }
}
