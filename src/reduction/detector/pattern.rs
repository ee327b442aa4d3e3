//! Periodic pattern noise (pick-up), as the reference pipeline measures it.

use rayon::prelude::*;

use super::trim::RawStack;
use crate::numerics::fft;
use crate::numerics::robust::median;
use ndarray::Array2;
use rustfft::num_complex::Complex32;

/// Side of the blocks that are averaged before the transform.
const BLOCK: usize = 5;
/// Lines of blocks per unit of parallel work.
const LINES: usize = 8;
/// Coefficients further from the mean than this many scatters are left out.
const CUT: f64 = 100.0;

/// Scatter over median modulus of the Fourier coefficients of white noise: sqrt(2) / sqrt(2 ln 2).
pub const WHITE_NOISE: f64 = 1.201_122_408_786_449_8;

/// The largest over all frames of scatter / median modulus of the Fourier coefficients of the 5 x 5 block means.
/// White noise gives [`WHITE_NOISE`]; only the excess is a pattern. `offset` is subtracted per frame and row, `level`
/// from all. `None` for images smaller than 10 x 10 or without any scatter.
pub fn fourier_fraction(raw: &RawStack, offset: &[Vec<f32>], level: f64) -> Option<f64> {
    let (rows, columns) = raw.shape();
    if rows < 2 * BLOCK || columns < 2 * BLOCK {
        return None;
    }
    let means: Vec<Array2<f32>> = (0..raw.len()).map(|k| block_means(raw, k, &offset[k], level as f32)).collect();
    let fractions: Vec<Option<f64>> = means.par_iter().map(fraction).collect();
    fractions.into_iter().flatten().filter(|fraction| fraction.is_finite()).reduce(f64::max)
}

fn block_means(raw: &RawStack, frame: usize, offset: &[f32], level: f32) -> Array2<f32> {
    let (rows, columns) = raw.shape();
    let (down, across) = (rows / BLOCK, columns / BLOCK);
    let mut means = vec![0.0f32; down * across];
    means.par_chunks_mut(across * LINES).enumerate().for_each(|(part, means)| {
        let mut sums = vec![0.0f32; columns];
        for (i, line) in means.chunks_mut(across).enumerate() {
            sums.fill(0.0);
            let first = (part * LINES + i) * BLOCK;
            for (r, offset) in offset.iter().enumerate().skip(first).take(BLOCK) {
                let below = offset + level;
                for (sum, adu) in sums.iter_mut().zip(raw.science_row(frame, r)) {
                    // an invalid pixel counts as one at the level
                    let value = raw.electrons(*adu) - below;
                    *sum += if value.is_nan() { 0.0 } else { value };
                }
            }
            for (mean, block) in line.iter_mut().zip(sums.chunks_exact(BLOCK)) {
                *mean = block.iter().sum::<f32>() / (BLOCK * BLOCK) as f32;
            }
        }
    });
    // `down` lines of `across` means were made, so the shape always fits
    Array2::from_shape_vec((down, across), means).unwrap_or_default()
}

fn fraction(means: &Array2<f32>) -> Option<f64> {
    let spectrum = fft::forward_half(means);
    // The half plane stands for the whole: each coefficient off the axis counts for itself and its conjugate, whose
    // imaginary parts cancel in the mean. Distances stay squared, since a root per coefficient costs more than the FFT.
    let columns = means.ncols();
    let single = |x: usize| x == 0 || 2 * x == columns;
    let statistics = |centre: f64, limit: f64| {
        let (mut n, mut sum, mut squares) = (0.0, 0.0, 0.0);
        for (x, line) in spectrum.rows().into_iter().enumerate() {
            let weight = if single(x) { 1.0 } else { 2.0 };
            for z in line {
                let (a, b) = (f64::from(z.re) - centre, f64::from(z.im));
                let squared = a * a + b * b;
                let weight = if squared <= limit { weight } else { 0.0 };
                n += weight;
                sum += weight * a;
                squares += weight * squared;
            }
        }
        (centre + sum / n, (squares / n - (sum / n).powi(2)).max(0.0))
    };
    let (centre, variance) = statistics(0.0, f64::INFINITY);
    let limit = CUT * CUT * variance;
    let (_, clipped) = statistics(centre, limit);
    let inside = |z: &&Complex32| (f64::from(z.re) - centre).powi(2) + f64::from(z.im).powi(2) <= limit;
    let mut powers: Vec<f32> = spectrum.iter().filter(inside).map(|z| z.norm_sqr()).collect();
    let typical = median(&mut powers)?.sqrt();
    (typical > 0.0).then(|| clipped.sqrt() / typical)
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::Scene;
    use super::*;

    fn measured(ripple: f32) -> f64 {
        let scene = Scene { rows: 400, columns: 300, ..Scene::ccd() };
        let (mut images, regions) = scene.render();
        for ((r, c), value) in images[2].indexed_iter_mut() {
            *value += ripple * (0.13 * r as f32 + 0.21 * c as f32).sin();
        }
        let offset = vec![vec![0.0; scene.rows]; scene.frames];
        fourier_fraction(&scene.stack(&images, &regions), &offset, scene.pedestal).unwrap()
    }

    #[test]
    fn white_noise_has_the_known_ratio() {
        assert!((measured(0.0) / WHITE_NOISE - 1.0).abs() < 0.03);
    }

    #[test]
    fn pick_up_in_one_frame_raises_it() {
        assert!(measured(2.0) > 1.5 * WHITE_NOISE);
    }
}
