//! The complex Fourier transform in two dimensions.

use ndarray::Array2;
use rustfft::{FftPlanner, num_complex::Complex32};

/// Half of the forward transform of a real image (rows x columns), not normalised: the coefficients of the horizontal
/// frequencies 0..=columns/2, **transposed** (frequencies along x are the rows of the result). The other half are the
/// conjugates of these. Element (0, 0) is the sum.
pub fn forward_half(image: &Array2<f32>) -> Array2<Complex32> {
    let (rows, columns) = image.dim();
    let half = columns / 2 + 1;
    if rows == 0 || columns == 0 {
        return Array2::from_elem((0, rows), Complex32::default());
    }
    let mut planner = FftPlanner::<f32>::new();
    let mut data: Vec<Complex32> = image.iter().map(|value| Complex32::new(*value, 0.0)).collect();
    planner.plan_fft_forward(columns).process(&mut data);
    let mut turned = Vec::with_capacity(half * rows);
    for c in 0..half {
        turned.extend(data.chunks_exact(columns).map(|row| row[c]));
    }
    planner.plan_fft_forward(rows).process(&mut turned);
    // `half` columns of `rows` values each were taken, so the shape always fits
    Array2::from_shape_vec((half, rows), turned).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f32::consts::TAU;

    #[test]
    fn a_plane_wave_is_one_peak_of_the_half_plane() {
        let (rows, columns, ky, kx) = (12, 35, 3usize, 4usize);
        let wave = Array2::from_shape_fn((rows, columns), |(r, c)| {
            (TAU * (ky as f32 * r as f32 / rows as f32 + kx as f32 * c as f32 / columns as f32)).cos()
        });
        let spectrum = forward_half(&wave);
        assert_eq!(spectrum.dim(), (18, 12));
        let half = (rows * columns) as f32 / 2.0;
        for ((x, y), value) in spectrum.indexed_iter() {
            let expected = if (y, x) == (ky, kx) { half } else { 0.0 };
            assert!((value.norm() - expected).abs() < 1e-3 * half, "{y} {x} {value}");
        }
    }

    #[test]
    fn power_is_conserved() {
        let image = Array2::from_shape_fn((9, 15), |(r, c)| ((r * 31 + c * 17) % 11) as f32 - 5.0);
        let spectrum = forward_half(&image);
        let weight = |x: usize| if x == 0 { 1.0 } else { 2.0 };
        let power: f32 = spectrum.indexed_iter().map(|((x, _), v)| weight(x) * v.norm_sqr()).sum();
        let direct: f32 = image.iter().map(|v| v * v).sum::<f32>() * 135.0;
        assert!((power / direct - 1.0).abs() < 1e-5);
        assert!((spectrum[[0, 0]].re - image.sum()).abs() < 1e-3);
        assert_eq!(forward_half(&Array2::zeros((0, 4))).len(), 0);
    }
}
