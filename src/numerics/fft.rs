//! The complex Fourier transform in two dimensions.

use ndarray::Array2;
use rustfft::{FftPlanner, num_complex::Complex32};

/// Forward transform of a real image (rows x columns), not normalised: element (0, 0) is the sum.
pub fn forward(image: &Array2<f32>) -> Array2<Complex32> {
    let (rows, columns) = image.dim();
    let mut planner = FftPlanner::<f32>::new();
    if rows == 0 || columns == 0 {
        return Array2::from_elem((rows, columns), Complex32::default());
    }
    let along_rows = planner.plan_fft_forward(columns);
    let along_columns = planner.plan_fft_forward(rows);
    let mut data: Vec<Complex32> = image.iter().map(|value| Complex32::new(*value, 0.0)).collect();
    along_rows.process(&mut data);
    let mut turned = transposed(&data, rows, columns);
    along_columns.process(&mut turned);
    let data = transposed(&turned, columns, rows);
    // transposing twice keeps the number of elements, so the shape always fits
    Array2::from_shape_vec((rows, columns), data).unwrap_or_default()
}

fn transposed(data: &[Complex32], rows: usize, columns: usize) -> Vec<Complex32> {
    let mut turned = Vec::with_capacity(data.len());
    for c in 0..columns {
        turned.extend((0..rows).map(|r| data[r * columns + c]));
    }
    turned
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f32::consts::TAU;

    #[test]
    fn a_plane_wave_is_one_pair_of_peaks() {
        let (rows, columns, ky, kx) = (12, 35, 3usize, 4usize);
        let wave = Array2::from_shape_fn((rows, columns), |(r, c)| {
            (TAU * (ky as f32 * r as f32 / rows as f32 + kx as f32 * c as f32 / columns as f32)).cos()
        });
        let spectrum = forward(&wave);
        let half = (rows * columns) as f32 / 2.0;
        for ((r, c), value) in spectrum.indexed_iter() {
            let peak = (r, c) == (ky, kx) || (r, c) == (rows - ky, columns - kx);
            let expected = if peak { half } else { 0.0 };
            assert!((value.norm() - expected).abs() < 1e-3 * half, "{r} {c} {value}");
        }
    }

    #[test]
    fn power_is_conserved() {
        let image = Array2::from_shape_fn((9, 14), |(r, c)| ((r * 31 + c * 17) % 11) as f32 - 5.0);
        let power: f32 = forward(&image).iter().map(|v| v.norm_sqr()).sum();
        let direct: f32 = image.iter().map(|v| v * v).sum::<f32>() * 126.0;
        assert!((power / direct - 1.0).abs() < 1e-5);
        assert_eq!(forward(&Array2::zeros((0, 4))).dim(), (0, 4));
    }
}
