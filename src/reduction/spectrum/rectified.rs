//! The rectified spectrum in two dimensions: light against wavelength and slit position, orders combined.
//!
//! Pixels are cut into small pieces whose light goes to the cell that their middle falls in, together with the area of wavelength
//! and slit that they see: the density of a cell is the sum of one over the sum of the other, so that flux is conserved however
//! the pixels lie. All pieces of a pixel share its noise; neighbouring cells that share a pixel are correlated.

use ndarray::Array2;
use rayon::prelude::*;

use super::resample::Grid;
use crate::numerics::robust::median_f64;
use crate::reduction::flags;

/// Pieces of a pixel along either side, at least and at most; and how many pieces make the side of a cell.
const PIECES: (f64, f64) = (4.0, 16.0);
const PIECES_OF_CELL: f64 = 3.0;
/// Least part of a cell that must be seen.
const LEAST_SEEN: f64 = 0.5;

/// Light of one order, sky taken off: rows are steps along the dispersion, columns along the slit.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderLight {
    /// Order.
    pub order: u8,
    /// Wavelength in air at the pixel's centre, nm; NaN where the pixel does not belong to the order.
    pub wavelength: Array2<f64>,
    /// Slit position, arcsec; NaN as above.
    pub slit: Array2<f32>,
    /// Light, electrons.
    pub value: Array2<f32>,
    /// Its variance.
    pub variance: Array2<f32>,
    /// Quality bits.
    pub flags: Array2<i32>,
}

/// Even cells along the slit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlitGrid {
    /// Lower end, arcsec.
    pub from: f64,
    /// Height of a cell, arcsec.
    pub step: f64,
    /// Number of cells.
    pub cells: usize,
}

/// Light on a grid: rows are slit positions, columns wavelengths.
#[derive(Clone, Debug, PartialEq)]
pub struct Rectified {
    /// Light per nm (or Angstrom) and arcsec; NaN where nothing was seen.
    pub value: Array2<f32>,
    /// Its variance; NaN as above.
    pub variance: Array2<f32>,
    /// Quality bits.
    pub flags: Array2<i32>,
}

/// Sums over the pieces in the cells of one order; columns from `first` of the grid.
struct Sums {
    first: usize,
    light: Array2<f64>,
    variance: Array2<f64>,
    area: Array2<f64>,
    flags: Array2<i32>,
}

/// Rectify orders onto a grid and combine them. `factor` gives what electrons per nm are multiplied by in an order at a
/// wavelength, `None` where it must not be used. Weights are inverse variances of a column, so that no cell chooses its own.
pub fn rectify(
    orders: &[OrderLight],
    grid: &Grid,
    slit: SlitGrid,
    factor: impl Fn(u8, f64) -> Option<f64> + Sync,
) -> Rectified {
    let parts: Vec<(usize, Rectified, Vec<f64>)> = orders
        .par_iter()
        .filter_map(|order| Some(densities(gather(order, grid, slit)?, order.order, grid, slit, &factor)))
        .collect();
    combine(&parts, grid.len(), slit.cells)
}

/// Shortest and longest wavelength of an order's pixels.
fn covered(order: &OrderLight) -> Option<[f64; 2]> {
    let finite = || order.wavelength.iter().copied().filter(|w| w.is_finite());
    Some([finite().reduce(f64::min)?, finite().reduce(f64::max)?])
}

fn gather(order: &OrderLight, grid: &Grid, slit: SlitGrid) -> Option<Sums> {
    let bins = grid.bins(covered(order)?);
    let shape = (slit.cells, bins.len());
    let mut sums = Sums {
        first: bins.start,
        light: Array2::zeros(shape),
        variance: Array2::zeros(shape),
        area: Array2::zeros(shape),
        flags: Array2::zeros(shape),
    };
    let (rows, columns) = order.wavelength.dim();
    let [along, across] = pieces(order, grid, slit);
    let mut cells: Vec<((usize, usize), f64)> = Vec::with_capacity(along * across);
    for row in 0..rows {
        for column in 0..columns {
            let Some(pixel) = Pixel::of(order, row, column) else { continue };
            cells.clear();
            for i in 0..along {
                for j in 0..across {
                    let [u, v] = [(i, along), (j, across)].map(|(k, n)| (k as f64 + 0.5) / n as f64 - 0.5);
                    if let Some(cell) = pixel.cell(u, v, grid, slit, bins.start, shape) {
                        match cells.iter_mut().find(|(found, _)| *found == cell) {
                            Some((_, pieces)) => *pieces += 1.0,
                            None => cells.push((cell, 1.0)),
                        }
                    }
                }
            }
            let [value, variance] = [order.value[[row, column]], order.variance[[row, column]]].map(f64::from);
            let bits = order.flags[[row, column]];
            let good = bits == 0 && value.is_finite() && variance > 0.0;
            for (cell, pieces) in &cells {
                let share = pieces / (along * across) as f64;
                if good {
                    sums.light[*cell] += share * value;
                    sums.variance[*cell] += share * share * variance;
                    sums.area[*cell] += share * pixel.area;
                } else {
                    sums.flags[*cell] |= if bits == 0 { flags::NO_DATA } else { bits };
                }
            }
        }
    }
    Some(sums)
}

/// Into how many pieces the pixels of an order are cut along the dispersion and along the slit, after one in its middle: so
/// many that a cell has several of them, however the detector is binned.
fn pieces(order: &OrderLight, grid: &Grid, slit: SlitGrid) -> [usize; 2] {
    let (rows, columns) = order.wavelength.dim();
    let middle = (0..columns)
        .filter_map(|k| Pixel::of(order, rows / 2, (columns / 2 + k) % columns.max(1)))
        .find_map(|pixel| Some((grid.bin(pixel.wavelength)?, pixel)));
    let Some((bin, pixel)) = middle else { return [PIECES.0 as usize; 2] };
    let width = grid.edges()[bin + 1] - grid.edges()[bin];
    [pixel.slopes[0].abs() / width, pixel.slopes[3].abs() / slit.step]
        .map(|cells| (PIECES_OF_CELL * cells).ceil().clamp(PIECES.0, PIECES.1) as usize)
}

/// A pixel and how wavelength and slit change in it.
struct Pixel {
    wavelength: f64,
    slit: f64,
    /// Change of the wavelength per row and column, of the slit position per row and column.
    slopes: [f64; 4],
    /// nm times arcsec.
    area: f64,
}

impl Pixel {
    fn of(order: &OrderLight, row: usize, column: usize) -> Option<Pixel> {
        let wavelength = order.wavelength[[row, column]];
        let slit = f64::from(order.slit[[row, column]]);
        if !(wavelength.is_finite() && slit.is_finite()) {
            return None;
        }
        let slope = |at: &dyn Fn(isize, isize) -> Option<f64>, di: isize, dj: isize| -> Option<f64> {
            match (at(-di, -dj), at(0, 0), at(di, dj)) {
                (Some(a), _, Some(c)) => Some(0.5 * (c - a)),
                (Some(a), Some(b), None) => Some(b - a),
                (None, Some(b), Some(c)) => Some(c - b),
                _ => None,
            }
        };
        let near = |di: isize, dj: isize| Some([row.checked_add_signed(di)?, column.checked_add_signed(dj)?]);
        let waves = |di: isize, dj: isize| order.wavelength.get(near(di, dj)?).copied().filter(|w| w.is_finite());
        let slits =
            |di: isize, dj: isize| order.slit.get(near(di, dj)?).map(|s| f64::from(*s)).filter(|s| s.is_finite());
        let slopes = [slope(&waves, 1, 0)?, slope(&waves, 0, 1)?, slope(&slits, 1, 0)?, slope(&slits, 0, 1)?];
        let area = (slopes[0] * slopes[3] - slopes[1] * slopes[2]).abs();
        (area > 0.0).then_some(Pixel { wavelength, slit, slopes, area })
    }

    /// Cell of the piece at this place in the pixel: row of the slit grid, column from the order's first.
    fn cell(
        &self,
        u: f64,
        v: f64,
        grid: &Grid,
        slit: SlitGrid,
        first: usize,
        (cells, bins): (usize, usize),
    ) -> Option<(usize, usize)> {
        let wavelength = self.wavelength + self.slopes[0] * u + self.slopes[1] * v;
        let place = (self.slit + self.slopes[2] * u + self.slopes[3] * v - slit.from) / slit.step;
        let column = grid.bin(wavelength)?.checked_sub(first)?;
        (place >= 0.0 && place < cells as f64 && column < bins).then_some((place as usize, column))
    }
}

fn densities(
    sums: Sums,
    order: u8,
    grid: &Grid,
    slit: SlitGrid,
    factor: &impl Fn(u8, f64) -> Option<f64>,
) -> (usize, Rectified, Vec<f64>) {
    let shape = sums.light.dim();
    let mut part = Rectified {
        value: Array2::from_elem(shape, f32::NAN),
        variance: Array2::from_elem(shape, f32::NAN),
        flags: sums.flags,
    };
    let mut weights = vec![0.0; shape.1];
    for (column, weight) in weights.iter_mut().enumerate() {
        let edges = &grid.edges()[sums.first + column..=sums.first + column + 1];
        let whole = (edges[1] - edges[0]) * slit.step;
        let factor = factor(order, 0.5 * (edges[0] + edges[1]));
        let mut variances = Vec::with_capacity(shape.0);
        for row in 0..shape.0 {
            let (cell, area) = ([row, column], sums.area[[row, column]]);
            match factor.filter(|_| area >= LEAST_SEEN * whole) {
                Some(factor) => {
                    let scale = factor / area;
                    let variance = sums.variance[cell] * scale * scale;
                    part.value[cell] = (sums.light[cell] * scale) as f32;
                    part.variance[cell] = variance as f32;
                    part.flags[cell] = 0;
                    variances.push(variance);
                }
                None if factor.is_none() => part.flags[cell] |= flags::UNCALIBRATED,
                None if part.flags[cell] == 0 => part.flags[cell] = flags::NO_DATA,
                None => {}
            }
        }
        *weight = median_f64(&mut variances).filter(|v| *v > 0.0).map_or(0.0, |v| 1.0 / v);
    }
    (sums.first, part, weights)
}

fn combine(parts: &[(usize, Rectified, Vec<f64>)], columns: usize, rows: usize) -> Rectified {
    let mut whole = Rectified {
        value: Array2::from_elem((rows, columns), f32::NAN),
        variance: Array2::from_elem((rows, columns), f32::NAN),
        flags: Array2::from_elem((rows, columns), flags::NO_DATA),
    };
    for row in 0..rows {
        for column in 0..columns {
            let (mut sum, mut light, mut variance, mut bits) = (0.0, 0.0, 0.0, 0);
            for (first, part, weights) in parts {
                let Some(k) = column.checked_sub(*first).filter(|k| *k < weights.len()) else { continue };
                let (value, weight) = (f64::from(part.value[[row, k]]), weights[k]);
                if value.is_finite() && weight > 0.0 {
                    sum += weight;
                    light += weight * value;
                    variance += weight * weight * f64::from(part.variance[[row, k]]);
                } else {
                    bits |= part.flags[[row, k]];
                }
            }
            if sum > 0.0 {
                whole.value[[row, column]] = (light / sum) as f32;
                whole.variance[[row, column]] = (variance / (sum * sum)) as f32;
                whole.flags[[row, column]] = 0;
            } else if bits != 0 {
                whole.flags[[row, column]] = bits;
            }
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An order with tilted, curved lines: light of 500 electrons per nm and arcsec times `shape(wavelength, slit)`.
    fn order(shape: impl Fn(f64, f64) -> f64) -> OrderLight {
        let dim = (300, 50);
        let wavelength = Array2::from_shape_fn(dim, |(b, a)| {
            600.0 + 0.05 * (b as f64 + 0.1 * (a as f64 - 25.0)) + 2e-6 * (b as f64).powi(2)
        });
        let slit = Array2::from_shape_fn(dim, |(b, a)| (0.28 * (a as f64 - 24.6) + 0.001 * b as f64) as f32);
        let area = |b: usize| (0.05 + 4e-6 * b as f64) * 0.28 - 0.005 * 0.001;
        let value = Array2::from_shape_fn(dim, |(b, a)| {
            (500.0 * shape(wavelength[[b, a]], f64::from(slit[[b, a]])) * area(b)) as f32
        });
        OrderLight {
            order: 1,
            variance: Array2::from_elem(dim, 4.0),
            flags: Array2::zeros(dim),
            wavelength,
            slit,
            value,
        }
    }

    const SLIT: SlitGrid = SlitGrid { from: -6.0, step: 0.25, cells: 48 };

    #[test]
    fn constant_light_stays_constant_however_pixels_lie() {
        let grid = Grid::logarithmic(18.0, [601.0, 614.0]);
        let made = rectify(&[order(|_, _| 1.0)], &grid, SLIT, |_, _| Some(2.0));
        let width = made.value.ncols();
        let inner: Vec<f32> = made.value.slice(ndarray::s![4..44, 5..width - 5]).iter().copied().collect();
        assert!(
            inner.iter().all(|v| (v / 1000.0 - 1.0).abs() < 0.01),
            "{:?}",
            inner.iter().copied().fold(0.0, f32::max)
        );
        // a cell sees about one pixel; pieces of a pixel share its noise
        let variance = made.variance[[20, 100]];
        let expected = 4.0 * (2.0f32 / (0.052 * 0.28)).powi(2);
        assert!(variance > 0.3 * expected && variance < 1.2 * expected, "{variance} {expected}");
    }

    #[test]
    fn binned_pixels_leave_no_holes() {
        let fine = order(|_, _| 1.0);
        let every = |plane: &Array2<f32>, sum: bool| {
            Array2::from_shape_fn((75, 12), |(b, a)| {
                let block = plane.slice(ndarray::s![4 * b..4 * b + 4, 4 * a..4 * a + 4]);
                if sum { block.sum() } else { block.sum() / 16.0 }
            })
        };
        let binned = OrderLight {
            order: 1,
            wavelength: Array2::from_shape_fn((75, 12), |(b, a)| {
                fine.wavelength.slice(ndarray::s![4 * b..4 * b + 4, 4 * a..4 * a + 4]).sum() / 16.0
            }),
            slit: every(&fine.slit, false),
            value: every(&fine.value, true),
            variance: every(&fine.variance, true),
            flags: Array2::zeros((75, 12)),
        };
        let grid = Grid::logarithmic(18.0, [601.0, 614.0]);
        let made = rectify(&[binned], &grid, SLIT, |_, _| Some(1.0));
        let width = made.value.ncols();
        let inner = made.value.slice(ndarray::s![6..42, 10..width - 10]);
        assert!(inner.iter().all(|v| (v / 500.0 - 1.0).abs() < 0.02));
    }

    #[test]
    fn the_light_of_a_star_is_conserved() {
        let star = |_: f64, s: f64| (-0.5 * ((s - 1.0) / 0.5f64).powi(2)).exp();
        let grid = Grid::logarithmic(18.0, [601.0, 614.0]);
        let made = rectify(&[order(star)], &grid, SLIT, |_, _| Some(1.0));
        let sums: Vec<f64> = (20..made.value.ncols() - 20)
            .map(|k| made.value.column(k).iter().map(|v| f64::from(*v)).filter(|v| v.is_finite()).sum::<f64>() * 0.25)
            .collect();
        let mean = sums.iter().sum::<f64>() / sums.len() as f64;
        let truth = 500.0 * 0.5 * (2.0 * std::f64::consts::PI).sqrt();
        assert!((mean / truth - 1.0).abs() < 0.003, "{mean} {truth}");
    }

    #[test]
    fn bad_pixels_and_what_is_not_calibrated_are_flagged() {
        let mut bad = order(|_, _| 1.0);
        bad.flags.slice_mut(ndarray::s![100..110, 20..30]).fill(flags::HOT);
        bad.value[[200, 20]] = f32::NAN;
        let grid = Grid::logarithmic(18.0, [595.0, 614.0]);
        let made = rectify(&[bad], &grid, SLIT, |_, w| (w < 612.0).then_some(1.0));
        assert!(made.flags.iter().filter(|bits| **bits == flags::HOT).count() > 40);
        let red = grid.bins([613.0, 613.1]).start;
        assert_eq!(made.flags[[20, red]], flags::UNCALIBRATED);
        assert_eq!(made.flags[[20, 0]], flags::NO_DATA);
        for (value, bits) in made.value.iter().zip(&made.flags) {
            assert_eq!(value.is_finite(), *bits == 0);
        }
    }

    #[test]
    fn orders_are_averaged_by_their_noise() {
        let (quiet, mut noisy) = (order(|_, _| 1.0), order(|_, _| 1.5));
        noisy.variance.fill(16.0);
        let grid = Grid::logarithmic(18.0, [601.0, 614.0]);
        let made = rectify(&[quiet, noisy], &grid, SLIT, |_, _| Some(1.0));
        assert!((made.value[[20, 100]] / 550.0 - 1.0).abs() < 0.01, "{}", made.value[[20, 100]]);
    }
}
