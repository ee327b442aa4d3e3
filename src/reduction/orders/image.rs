//! An image turned so that its rows run through the dispersion and its columns along the slit.

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

/// Which way the light is dispersed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dispersion {
    /// From row to row (VIS).
    Rows,
    /// From column to column (NIR).
    Columns,
}

/// Light on the detector, dispersed from row to row.
#[derive(Clone, Debug, PartialEq)]
pub struct Light {
    /// Signal in electrons, steps of `b` x steps of `a`. NaN where a pixel is bad.
    pub value: Array2<f32>,
    /// Variance per electron of signal: 1 for a single frame, 1 / n for the mean of n.
    pub shot: f64,
    /// Variance without signal, electrons squared.
    pub floor: f64,
    /// Unbinned pixels per step of `b` and of `a`.
    pub binning: [usize; 2],
}

impl Light {
    /// Steps of `b`, steps of `a`.
    pub fn shape(&self) -> (usize, usize) {
        self.value.dim()
    }

    /// The range of unbinned `b` that the image covers, at centres of unbinned pixels.
    pub fn reach(&self) -> [f64; 2] {
        [0.0, (self.value.nrows() * self.binning[0]).saturating_sub(1) as f64]
    }

    /// Unbinned `b` of the centre of a row.
    pub fn b_of(&self, row: f64) -> f64 {
        unbinned(row, self.binning[0])
    }

    /// Unbinned `a` of the centre of a column.
    pub fn a_of(&self, column: f64) -> f64 {
        unbinned(column, self.binning[1])
    }

    /// Row of an unbinned `b`, with its fraction.
    pub fn row_of(&self, b: f64) -> f64 {
        binned(b, self.binning[0])
    }

    /// Column of an unbinned `a`, with its fraction.
    pub fn column_of(&self, a: f64) -> f64 {
        binned(a, self.binning[1])
    }

    /// Noise variance of a pixel with this signal.
    pub fn variance(&self, signal: f64) -> f64 {
        self.floor + self.shot * signal.max(0.0)
    }
}

/// Unbinned coordinate of the centre of a binned pixel.
pub fn unbinned(index: f64, binning: usize) -> f64 {
    (index + 0.5) * binning as f64 - 0.5
}

/// Binned coordinate of an unbinned one.
pub fn binned(coordinate: f64, binning: usize) -> f64 {
    (coordinate + 0.5) / binning as f64 - 0.5
}

/// The image with rows along the dispersion: a copy, transposed for an arm that disperses along its rows.
pub fn turned<T: Copy + Default + Send + Sync>(image: ArrayView2<T>, dispersion: Dispersion) -> Array2<T> {
    match dispersion {
        Dispersion::Rows => image.to_owned(),
        Dispersion::Columns => transposed(image),
    }
}

/// Rows of the result that are filled together, so that a cache line of the source serves many of them.
const TILE: usize = 32;

fn transposed<T: Copy + Default + Send + Sync>(image: ArrayView2<T>) -> Array2<T> {
    let (rows, columns) = image.dim();
    let mut result = Array2::from_elem((columns, rows), T::default());
    if let Some(cells) = result.as_slice_mut().filter(|cells| !cells.is_empty()) {
        cells.par_chunks_mut(TILE * rows).enumerate().for_each(|(tile, cells)| {
            let first = tile * TILE;
            for r in 0..rows {
                let line = image.row(r);
                for (k, row) in cells.chunks_mut(rows).enumerate() {
                    row[r] = line[first + k];
                }
            }
        });
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turning_is_a_transposition_and_its_own_inverse() {
        let image = Array2::from_shape_fn((70, 45), |(r, c)| (r * 100 + c) as f32);
        let turned_once = turned(image.view(), Dispersion::Columns);
        assert_eq!(turned_once, image.t());
        assert_eq!(turned(turned_once.view(), Dispersion::Columns), image);
        assert_eq!(turned(image.view(), Dispersion::Rows), image);
        assert_eq!(turned(Array2::<f32>::zeros((0, 3)).view(), Dispersion::Columns).dim(), (3, 0));
    }

    #[test]
    fn binned_pixels_have_their_centre_between_unbinned_ones() {
        assert_eq!(unbinned(0.0, 2), 0.5);
        assert_eq!(unbinned(3.0, 1), 3.0);
        for x in [0.0, 17.25, 400.0] {
            assert!((binned(unbinned(x, 2), 2) - x).abs() < 1e-12);
        }
        let light = Light { value: Array2::zeros((10, 4)), shot: 0.2, floor: 3.0, binning: [2, 1] };
        assert_eq!((light.reach(), light.b_of(9.0), light.variance(-5.0)), ([0.0, 19.0], 18.5, 3.0));
    }
}
