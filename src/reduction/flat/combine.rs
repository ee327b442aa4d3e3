//! Frames of one lamp, combined: known noise, and a lamp that is never twice equally bright.
//!
//! The result is the sum of the electrons over the sum of the relative exposures, which is the best estimate for light
//! that is limited by its own noise, and its variance is exact: shot noise of the light, noise of every frame, and the
//! error of what was subtracted, which all frames share.

use ndarray::Array2;
use rayon::prelude::*;

use crate::numerics::robust::{CHUNK_ROWS, chi_square_limit, median, median_f64};
use crate::numerics::stack::{FrameWeights, MAX_FRAMES, PixelModel, StackLimits, combine as combine_pixel};
use crate::reduction::detector::trim::RawStack;
use crate::reduction::flags;

/// What every frame has without the lamp: a master bias, a dark, or the mean of frames with the lamp off.
#[derive(Clone, Copy, Debug)]
pub struct Pedestal<'a> {
    /// Electrons, rows x columns.
    pub value: &'a Array2<f32>,
    /// Variance of it.
    pub variance: &'a Array2<f32>,
}

/// When a value is out of the ordinary, sigmas of the known noise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CombineLimits {
    /// A value further than this from the others of its pixel is rejected.
    pub rejection_sigma: f64,
    /// Gaussian deviate of the chi-square beyond which a pixel is unstable.
    pub unstable_sigma: f64,
}

/// Result, on the exposed area. Arrays are rows x columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Combined {
    /// Electrons of a frame of mean exposure.
    pub value: Array2<f32>,
    /// Variance.
    pub variance: Array2<f32>,
    /// Quality bits.
    pub flags: Array2<i32>,
    /// Values rejected as cosmic rays.
    pub hits: usize,
    /// Root of the mean squared residual in units of its expected variance, ordinary pixels.
    pub noise_ratio: f64,
}

/// Sampling step of [`exposures`] in rows and columns: primes, so that no pattern is followed.
const STEP: (usize, usize) = (7, 5);

/// Relative exposures of the frames, mean 1: the median ratio to the first frame over the brighter pixels. `None` when
/// there is no light: fewer than 100 samples of significant signal.
pub fn exposures(raw: &RawStack, pedestal: Option<Pedestal>, ron: f64) -> Option<Vec<f64>> {
    let (rows, columns) = raw.shape();
    let level = |k: usize, r: usize, c: usize| {
        let below = pedestal.map_or(0.0, |pedestal| pedestal.value[[r, c]]);
        raw.electrons(raw.science_row(k, r)[c]) - below
    };
    let places: Vec<(usize, usize)> =
        (0..rows).step_by(STEP.0).flat_map(|r| (0..columns).step_by(STEP.1).map(move |c| (r, c))).collect();
    let first: Vec<f32> = places.iter().map(|(r, c)| level(0, *r, *c)).collect();
    let mut valid: Vec<f32> = first.iter().copied().filter(|value| value.is_finite()).collect();
    if valid.is_empty() {
        return None;
    }
    let at = (valid.len() * 98 / 100).min(valid.len() - 1);
    let bright = *valid.select_nth_unstable_by(at, f32::total_cmp).1;
    let least = (0.3 * bright).max(5.0 * ron as f32);
    let lit: Vec<((usize, usize), f32)> = places.into_iter().zip(first).filter(|(_, value)| *value > least).collect();
    if lit.len() < 100 {
        return None;
    }
    let ratios: Option<Vec<f64>> = (0..raw.len())
        .into_par_iter()
        .map(|k| {
            let mut ratios: Vec<f32> =
                lit.iter().map(|((r, c), first)| level(k, *r, *c) / first).filter(|v| v.is_finite()).collect();
            median(&mut ratios)
        })
        .collect();
    let ratios = ratios?;
    let mean = ratios.iter().sum::<f64>() / ratios.len().max(1) as f64;
    let sane = mean > 0.0 && ratios.iter().all(|ratio| *ratio > 0.0);
    sane.then(|| ratios.into_iter().map(|ratio| ratio / mean).collect())
}

/// Sums of one chunk of rows.
#[derive(Default)]
struct Tally {
    hits: usize,
    chi: f64,
    degrees: f64,
}

/// Combine the frames. `exposures` as from [`exposures`], all 1 for frames without light; `ron` is the noise of a frame
/// without light. At most [`MAX_FRAMES`] frames are used: the caller checks.
pub fn combine<'a>(
    raw: &'a RawStack<'_>,
    pedestal: Option<Pedestal<'a>>,
    exposures: &[f64],
    ron: f64,
    limits: &CombineLimits,
) -> Combined {
    let (rows, columns) = raw.shape();
    let mut value = Array2::<f32>::zeros((rows, columns));
    let mut variance = Array2::<f32>::zeros((rows, columns));
    let mut quality = Array2::<i32>::zeros((rows, columns));
    let chunk = CHUNK_ROWS * columns.max(1);
    let tallies: Vec<Tally> = match (value.as_slice_mut(), variance.as_slice_mut(), quality.as_slice_mut()) {
        (Some(value), Some(variance), Some(quality)) => value
            .par_chunks_mut(chunk)
            .zip(variance.par_chunks_mut(chunk))
            .zip(quality.par_chunks_mut(chunk))
            .enumerate()
            .map(|(index, ((value, variance), quality))| {
                let mut kernel = Kernel::new(raw, pedestal, exposures, ron, limits);
                let planes =
                    value.chunks_mut(columns).zip(variance.chunks_mut(columns)).zip(quality.chunks_mut(columns));
                for (r, ((value, variance), quality)) in planes.enumerate() {
                    kernel.row(index * CHUNK_ROWS + r, value, variance, quality);
                }
                kernel.tally
            })
            .collect(),
        // freshly made arrays are stored row by row
        _ => Vec::new(),
    };
    let total = tallies.into_iter().fold(Tally::default(), |sum, more| Tally {
        hits: sum.hits + more.hits,
        chi: sum.chi + more.chi,
        degrees: sum.degrees + more.degrees,
    });
    let noise_ratio = (total.chi / total.degrees).sqrt();
    Combined { value, variance, flags: quality, hits: total.hits, noise_ratio }
}

/// The work on rows, with its memory.
struct Kernel<'a, 'r> {
    raw: &'a RawStack<'r>,
    pedestal: Option<Pedestal<'a>>,
    exposures: Vec<f32>,
    read: f32,
    limits: CombineLimits,
    cut: f32,
    chi_cut: f32,
    /// Electrons above the pedestal, frame by frame.
    light: Vec<Vec<f32>>,
    chi: Vec<f32>,
    extreme: Vec<f32>,
    zero: Vec<f32>,
    tally: Tally,
}

impl<'a, 'r> Kernel<'a, 'r> {
    fn new(
        raw: &'a RawStack<'r>,
        pedestal: Option<Pedestal<'a>>,
        exposures: &[f64],
        ron: f64,
        limits: &CombineLimits,
    ) -> Kernel<'a, 'r> {
        let columns = raw.shape().1;
        let frames = raw.len().min(MAX_FRAMES).min(exposures.len());
        let degrees = (frames as f64 - 1.0).max(1.0);
        Kernel {
            raw,
            pedestal,
            exposures: exposures.iter().take(frames).map(|s| *s as f32).collect(),
            read: (ron * ron) as f32,
            limits: *limits,
            cut: (limits.rejection_sigma * limits.rejection_sigma * degrees / (degrees + 1.0)) as f32,
            chi_cut: chi_square_limit(degrees, limits.unstable_sigma) as f32,
            light: vec![vec![0.0; columns]; frames],
            chi: vec![0.0; columns],
            extreme: vec![0.0; columns],
            zero: vec![0.0; columns],
            tally: Tally::default(),
        }
    }

    fn row(&mut self, row: usize, value: &mut [f32], variance: &mut [f32], quality: &mut [i32]) {
        let columns = value.len();
        let line = |image: fn(Pedestal<'a>) -> &'a Array2<f32>| -> Option<&'a [f32]> {
            image(self.pedestal?).as_slice()?.get(row * columns..(row + 1) * columns)
        };
        let zero = std::mem::take(&mut self.zero);
        let below = line(|pedestal| pedestal.value).unwrap_or(&zero);
        let below_variance = line(|pedestal| pedestal.variance).unwrap_or(&zero);
        let total: f32 = self.exposures.iter().sum();
        value.fill(0.0);
        for (k, light) in self.light.iter_mut().enumerate() {
            for (((sum, light), adu), below) in value.iter_mut().zip(light).zip(self.raw.science_row(k, row)).zip(below)
            {
                *light = self.raw.electrons(*adu) - below;
                *sum += *light;
            }
        }
        value.iter_mut().for_each(|sum| *sum /= total);
        self.chi.fill(0.0);
        self.extreme.fill(0.0);
        for (light, exposure) in self.light.iter().zip(&self.exposures) {
            let (chi, extreme) = (&mut self.chi[..columns], &mut self.extreme[..columns]);
            let (light, mean) = (&light[..columns], &value[..columns]);
            for c in 0..columns {
                let expected = exposure * mean[c];
                let residual = light[c] - expected;
                let shot = if expected > 0.0 { expected } else { 0.0 };
                let squared = residual * residual / (self.read + shot);
                chi[c] += squared;
                // a NaN must stay: no maximum
                extreme[c] = if squared <= extreme[c] { extreme[c] } else { squared };
            }
        }
        let n = self.exposures.len() as f32;
        let common = (n / total) * (n / total);
        let (mut chi, mut ordinary) = (0.0f64, 0usize);
        for c in 0..columns {
            let good = (self.extreme[c] <= self.cut) & (self.chi[c] <= self.chi_cut) & below[c].is_finite();
            if good {
                let shot = if value[c] > 0.0 { value[c] } else { 0.0 };
                variance[c] = (n * self.read + total * shot) / (total * total) + common * below_variance[c];
                chi += f64::from(self.chi[c]);
                ordinary += 1;
            } else {
                let (v, error, bits, hits) = self.pixel(row, c, below_variance[c]);
                (value[c], variance[c], quality[c]) = (v, error, bits);
                self.tally.hits += hits;
            }
        }
        self.zero = zero;
        self.tally.chi += chi;
        self.tally.degrees += ordinary as f64 * (f64::from(n) - 1.0);
    }

    /// One pixel, value by value: mean, variance, quality and the number of values rejected as too high.
    fn pixel(&self, row: usize, column: usize, below_variance: f32) -> (f32, f32, i32, usize) {
        let scaled: Vec<f32> = self.light.iter().zip(&self.exposures).map(|(light, s)| light[column] / s).collect();
        let mut finite: Vec<f64> = scaled.iter().filter(|v| v.is_finite()).map(|v| f64::from(*v)).collect();
        let saturated =
            (0..scaled.len()).filter(|k| self.raw.is_saturated(self.raw.science_row(*k, row)[column])).count();
        let Some(centre) = median_f64(&mut finite) else {
            let bit = if saturated > 0 { flags::SATURATED } else { flags::NO_DATA };
            return (0.0, 0.0, bit, 0);
        };
        // variance of a scaled value: shot noise falls with the exposure, read noise with its square
        let read = f64::from(self.read);
        let own = |s: f32| (read / f64::from(s) + centre.max(0.0)) / f64::from(s);
        let unit = read + centre.max(0.0);
        let weights = FrameWeights::new(self.exposures.iter().map(|s| own(*s) / unit).collect());
        let model = PixelModel { variance: unit, background: centre };
        let limits = StackLimits {
            rejection_sigma: self.limits.rejection_sigma,
            unstable_sigma: self.limits.unstable_sigma,
            poisson: false,
        };
        let found = combine_pixel(&scaled, 0, model, &weights, &limits);
        let used: Vec<usize> = (0..scaled.len()).filter(|k| found.used & (1 << k) != 0).collect();
        if used.is_empty() {
            return (0.0, 0.0, flags::COSMIC_RAY, found.high.count_ones() as usize);
        }
        let exposure: f64 = used.iter().map(|k| f64::from(self.exposures[*k])).sum();
        let sum: f64 = used.iter().map(|k| f64::from(self.light[*k][column])).sum();
        let n = used.len() as f64;
        let value = sum / exposure;
        let variance = (n * read + exposure * value.max(0.0)) / (exposure * exposure)
            + (n / exposure).powi(2) * f64::from(below_variance);
        let mut bits = 0;
        if found.unstable {
            bits |= flags::UNSTABLE;
        }
        // most of the frames at the ceiling: the others are there because of noise
        if 2 * saturated > scaled.len() {
            bits |= flags::SATURATED;
        }
        (value as f32, variance as f32, bits, found.high.count_ones() as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reduction::detector::trim::Regions;
    use crate::reduction::orders::synthetic::{COLUMNS, ROWS, Scene};

    const LIMITS: CombineLimits = CombineLimits { rejection_sigma: 5.0, unstable_sigma: 5.2 };
    const LAMP: [f64; 5] = [1.0, 1.03, 0.96, 1.01, 0.9];

    fn frames(scene: &Scene, gain: f64) -> (Vec<Array2<f32>>, Array2<f64>) {
        let truth = scene.image(|r, c| if (r + c).is_multiple_of(97) { 0.6 } else { 1.0 });
        let frames = LAMP
            .iter()
            .enumerate()
            .map(|(k, s)| (scene.expose(&truth.mapv(|v| v * s), 40 + k as u64) + 100.0) / gain as f32)
            .collect();
        (frames, truth)
    }

    #[test]
    fn pulls_have_unit_width_whatever_the_lamp_does() {
        let scene = Scene { rays: 300, ..Scene::slit() };
        let (frames, truth) = frames(&scene, 1.7);
        let regions = Regions { columns: 0..COLUMNS, rows: 0..ROWS, side_columns: vec![], edge_rows: vec![] };
        let raw = RawStack::new(&frames, &regions, 1.7, 0.0).unwrap();
        let (level, error) = (Array2::from_elem((ROWS, COLUMNS), 100.0), Array2::from_elem((ROWS, COLUMNS), 0.0));
        let pedestal = Pedestal { value: &level, variance: &error };
        let found = exposures(&raw, Some(pedestal), 4.0).unwrap();
        let mean = LAMP.iter().sum::<f64>() / 5.0;
        assert!(found.iter().zip(LAMP).all(|(s, t)| (s / (t / mean) - 1.0).abs() < 1e-3), "{found:?}");
        let result = combine(&raw, Some(pedestal), &found, 4.0, &LIMITS);
        assert!(result.hits > 1200 && (result.noise_ratio - 1.0).abs() < 0.01, "{}", result.noise_ratio);
        for bright in [true, false] {
            let pulls: Vec<f64> = truth
                .indexed_iter()
                .filter(|(at, t)| (**t > 1000.0) == bright && result.flags[*at] == 0)
                .map(|(at, t)| (f64::from(result.value[at]) - t * mean) / f64::from(result.variance[at]).sqrt())
                .collect();
            let width = (pulls.iter().map(|p| p * p).sum::<f64>() / pulls.len() as f64).sqrt();
            assert!((width - 1.0).abs() < 0.03, "{bright} {width}");
        }
        let serial = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let again = serial.install(|| combine(&raw, Some(pedestal), &found, 4.0, &LIMITS));
        assert_eq!(again, result);
    }

    #[test]
    fn the_error_of_the_pedestal_counts_once_for_all_frames() {
        let frames: Vec<Array2<f32>> = (0..4).map(|_| Array2::from_elem((40, 40), 10.0)).collect();
        let regions = Regions { columns: 0..40, rows: 0..40, side_columns: vec![], edge_rows: vec![] };
        let raw = RawStack::new(&frames, &regions, 1.0, 0.0).unwrap();
        let (level, error) = (Array2::from_elem((40, 40), 10.0), Array2::from_elem((40, 40), 2.0));
        let pedestal = Pedestal { value: &level, variance: &error };
        let result = combine(&raw, Some(pedestal), &[1.0; 4], 3.0, &LIMITS);
        assert!((result.variance[[5, 5]] - (9.0 / 4.0 + 2.0)).abs() < 1e-5);
        assert!(exposures(&raw, Some(pedestal), 3.0).is_none());
    }

    #[test]
    fn saturated_dead_and_jumping_pixels_are_named() {
        let mut frames: Vec<Array2<f32>> = (0..5).map(|_| Array2::from_elem((40, 40), 1000.0)).collect();
        for (k, frame) in frames.iter_mut().enumerate() {
            frame[[1, 1]] = 65535.0;
            frame[[2, 2]] = f32::NAN;
            frame[[3, 3]] += if k % 2 == 0 { 800.0 } else { 0.0 };
        }
        frames[2][[4, 4]] = 65535.0;
        frames[0][[5, 5]] = 9000.0;
        let regions = Regions { columns: 0..40, rows: 0..40, side_columns: vec![], edge_rows: vec![] };
        let raw = RawStack::new(&frames, &regions, 1.0, 65535.0).unwrap();
        let result = combine(&raw, None, &[1.0; 5], 3.0, &LIMITS);
        let bits = |k: usize| result.flags[[k, k]];
        assert_eq!((bits(1), bits(2), bits(4), bits(5)), (flags::SATURATED, flags::NO_DATA, 0, 0));
        assert_ne!(bits(3) & flags::UNSTABLE, 0);
        assert_eq!((result.value[[4, 4]], result.value[[5, 5]], result.hits), (1000.0, 1000.0, 1));
    }
}
