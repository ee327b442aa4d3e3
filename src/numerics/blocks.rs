//! Smooth maps: one number per block of an image, interpolated to every pixel.

use std::ops::Range;

use ndarray::Array2;

/// A division of an image into nearly equal blocks.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockGrid {
    rows: usize,
    columns: usize,
    across: usize,
    down: usize,
}

impl BlockGrid {
    /// Blocks of about `size` x `size` pixels for an image of `rows` x `columns`; at least one block.
    pub fn new(rows: usize, columns: usize, size: usize) -> BlockGrid {
        let size = size.max(1);
        let blocks = |n: usize| ((n + size / 2) / size).max(1);
        BlockGrid { rows, columns, across: blocks(columns), down: blocks(rows) }
    }

    /// Number of blocks, down x across.
    pub fn shape(&self) -> (usize, usize) {
        (self.down, self.across)
    }

    /// Rows of the blocks in block row `i`.
    pub fn rows_of(&self, i: usize) -> Range<usize> {
        i * self.rows / self.down..(i + 1) * self.rows / self.down
    }

    /// Columns of the blocks in block column `j`.
    pub fn columns_of(&self, j: usize) -> Range<usize> {
        j * self.columns / self.across..(j + 1) * self.columns / self.across
    }
}

/// One number per block.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockMap {
    grid: BlockGrid,
    values: Array2<f64>,
}

impl BlockMap {
    /// A map from its numbers, down x across; blocks that are not finite take the median of the others, or `fallback`
    /// when there is none. `None` when the shape is not that of the grid.
    pub fn new(grid: BlockGrid, mut values: Array2<f64>, fallback: f64) -> Option<BlockMap> {
        if values.dim() != grid.shape() {
            return None;
        }
        let mut finite: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
        let fill = super::robust::median_f64(&mut finite).unwrap_or(fallback);
        values.mapv_inplace(|v| if v.is_finite() { v } else { fill });
        Some(BlockMap { grid, values })
    }

    /// The map with each block replaced by the mean of itself and its neighbours (3 x 3).
    pub fn smoothed(&self) -> BlockMap {
        let (down, across) = self.grid.shape();
        let values = Array2::from_shape_fn((down, across), |(i, j)| {
            let near = |k: usize, n: usize| k.saturating_sub(1)..(k + 2).min(n);
            let (mut sum, mut count) = (0.0, 0.0);
            for a in near(i, down) {
                for b in near(j, across) {
                    sum += self.values[[a, b]];
                    count += 1.0;
                }
            }
            sum / count
        });
        BlockMap { grid: self.grid.clone(), values }
    }

    /// The numbers, down x across.
    pub fn values(&self) -> &Array2<f64> {
        &self.values
    }

    /// The value at one pixel, as [`BlockMap::row`] gives it.
    pub fn at(&self, row: usize, column: usize) -> f64 {
        let (down, across) = self.grid.shape();
        let (i, wy) = position(row, self.grid.rows, down, |k| self.grid.rows_of(k));
        let (j, wx) = position(column, self.grid.columns, across, |k| self.grid.columns_of(k));
        let (i1, j1) = ((i + 1).min(down - 1), (j + 1).min(across - 1));
        let along = |i: usize| (1.0 - wx) * self.values[[i, j]] + wx * self.values[[i, j1]];
        (1.0 - wy) * along(i) + wy * along(i1)
    }

    /// Interpolate one image row (bilinear between block centres, level beyond the outermost). `into` has the image's
    /// columns; further elements are left alone.
    pub fn row(&self, row: usize, into: &mut [f32]) {
        let (down, across) = self.grid.shape();
        let (i, wy) = position(row, self.grid.rows, down, |k| self.grid.rows_of(k));
        let at = |j: usize| (1.0 - wy) * self.values[[i, j]] + wy * self.values[[(i + 1).min(down - 1), j]];
        let middle = |j: usize| {
            let range = self.grid.columns_of(j);
            0.5 * (range.start + range.end) as f64 - 0.5
        };
        let width = self.grid.columns.min(into.len());
        let into = &mut into[..width];
        // level up to the first centre, straight lines between centres, level after the last one
        let mut done = ((middle(0).ceil().max(0.0)) as usize).min(width);
        into[..done].fill(at(0) as f32);
        for j in 0..across.saturating_sub(1) {
            let (x0, x1) = (middle(j), middle(j + 1));
            let end = ((x1.ceil().max(0.0)) as usize).min(width);
            let (y0, slope) = (at(j), (at(j + 1) - at(j)) / (x1 - x0));
            let start = done;
            let first = y0 + slope * (start as f64 - x0);
            for (k, value) in into[start..end].iter_mut().enumerate() {
                *value = first as f32 + slope as f32 * k as f32;
            }
            done = end;
        }
        into[done..].fill(at(across - 1) as f32);
    }
}

/// Of `n` pixels in `blocks` blocks: index of the block centre at or before pixel `x`, and the weight of the next one.
fn position(x: usize, n: usize, blocks: usize, range: impl Fn(usize) -> Range<usize>) -> (usize, f64) {
    let centre = |k: usize| {
        let range = range(k);
        0.5 * (range.start + range.end) as f64 - 0.5
    };
    // the pixel's own block is known up to one by division; its centre lies on either side
    let own = (x * blocks / n.max(1)).saturating_sub(1);
    let x = x as f64;
    if x <= centre(0) {
        return (0, 0.0);
    }
    for k in own.max(1)..blocks {
        let (a, b) = (centre(k - 1), centre(k));
        if x <= b {
            return (k - 1, (x - a) / (b - a));
        }
    }
    (blocks - 1, 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_tile_the_image() {
        let grid = BlockGrid::new(4096, 808, 64);
        let (down, across) = grid.shape();
        assert_eq!((down, across), (64, 13));
        assert_eq!((0..down).map(|i| grid.rows_of(i).len()).sum::<usize>(), 4096);
        assert_eq!((0..across).map(|j| grid.columns_of(j).len()).sum::<usize>(), 808);
        assert_eq!(BlockGrid::new(5, 3, 64).shape(), (1, 1));
    }

    #[test]
    fn a_plane_is_reproduced_between_block_centres() {
        let grid = BlockGrid::new(256, 200, 50);
        let (down, across) = grid.shape();
        let plane = |r: f64, c: f64| 10.0 + 0.5 * r - 0.25 * c;
        let centre = |range: Range<usize>| 0.5 * (range.start + range.end) as f64 - 0.5;
        let values =
            Array2::from_shape_fn((down, across), |(i, j)| plane(centre(grid.rows_of(i)), centre(grid.columns_of(j))));
        let map = BlockMap::new(grid, values, 0.0).unwrap();
        let mut row = vec![0.0f32; 200];
        for r in [30, 100, 128, 220] {
            map.row(r, &mut row);
            for c in [30, 99, 100, 101, 170] {
                assert!((f64::from(row[c]) - plane(r as f64, c as f64)).abs() < 1e-3, "{r} {c} {}", row[c]);
                assert!((f64::from(row[c]) - map.at(r, c)).abs() < 1e-3);
            }
            assert_eq!(row[0], row[20]);
            assert_eq!(row[180], row[199]);
        }
    }

    #[test]
    fn empty_blocks_take_the_median() {
        let grid = BlockGrid::new(3, 3, 1);
        let mut values = Array2::from_elem((3, 3), 2.0);
        values[[1, 1]] = f64::NAN;
        let map = BlockMap::new(grid.clone(), values, 0.0).unwrap();
        assert_eq!(map.values()[[1, 1]], 2.0);
        assert_eq!(
            BlockMap::new(grid.clone(), Array2::from_elem((3, 3), f64::NAN), 7.0).unwrap().values()[[0, 0]],
            7.0
        );
        assert_eq!(BlockMap::new(grid, Array2::zeros((2, 3)), 0.0), None);
        assert_eq!(map.smoothed().values()[[0, 0]], 2.0);
    }
}
