//! The pixels of one order, turned so that rows run through the dispersion.

use std::ops::Range;

use ndarray::Array2;
use rayon::prelude::*;

use super::exposure::Exposure;
use crate::reduction::flags;
use crate::reduction::geometry::planes::Planes;
use crate::reduction::orders::image::{Dispersion, turned};

/// The pixels of one order in an exposure. Rows are steps along the dispersion (`b`), columns steps along the slit (`a`),
/// for both arms; the parts are those of [`super::exposure::Exposure`]. Each row begins where the order does, so that a
/// strip is hardly wider than the slit is long, however much the order leans.
#[derive(Clone, Debug, PartialEq)]
pub struct Strip {
    /// Order.
    pub order: u8,
    /// Which way the detector disperses: tells how a strip lies on it.
    pub dispersion: Dispersion,
    /// Row of the turned detector (binned pixels) that the first row is.
    pub row: usize,
    /// Column of the turned detector (binned pixels) of the first pixel of each row.
    pub columns: Vec<usize>,
    /// Unbinned pixels per row and per column.
    pub binning: [usize; 2],
    /// Wavelength in air at the pixel's centre, nm; NaN where the pixel does not belong to the order.
    pub wavelength: Array2<f64>,
    /// Slit position, arcsec; NaN as above.
    pub slit: Array2<f32>,
    /// Standard error of the wavelength, nm.
    pub wavelength_error: Array2<f32>,
    /// Light.
    pub value: Array2<f32>,
    /// Variance without light.
    pub floor: Array2<f32>,
    /// Response of the pixel.
    pub response: Array2<f32>,
    /// Relative variance of the response.
    pub flat: Array2<f32>,
    /// Quality bits; pixels outside the order carry [`crate::reduction::flags::NO_DATA`].
    pub flags: Array2<i32>,
}

/// Bits with which a pixel takes no part in any fit.
pub const UNUSABLE: i32 = flags::HOT
    | flags::COLD
    | flags::SATURATED
    | flags::NON_LINEAR
    | flags::COSMIC_RAY
    | flags::UNSTABLE
    | flags::NO_DATA
    | flags::UNLIT;

impl Strip {
    /// Rows, columns.
    pub fn shape(&self) -> (usize, usize) {
        self.value.dim()
    }

    /// Variance of a pixel that holds the light `model`, see [`Exposure::variance`].
    pub fn variance(&self, at: (usize, usize), model: f64) -> f64 {
        let light = model.max(0.0);
        f64::from(self.floor[at]) + light / f64::from(self.response[at]) + f64::from(self.flat[at]) * light * light
    }

    /// Whether a pixel belongs to the order and none of [`UNUSABLE`] is set.
    pub fn usable(&self, at: (usize, usize)) -> bool {
        self.flags[at] & UNUSABLE == 0 && self.wavelength[at].is_finite()
    }

    /// Place along the dispersion of a row (with its fraction), unbinned pixels of the trimmed detector.
    pub fn place(&self, row: f64) -> f64 {
        crate::reduction::orders::image::unbinned(self.row as f64 + row, self.binning[0])
    }

    /// Write a plane of this strip back to where it lies on the detector (rows x columns as read, binned).
    pub fn paste<T: Copy>(&self, plane: &Array2<T>, onto: &mut Array2<T>) {
        for ((r, c), value) in plane.indexed_iter() {
            if self.flags[(r, c)] & flags::NO_DATA != 0 && !self.wavelength[(r, c)].is_finite() {
                continue;
            }
            let (b, a) = (self.row + r, self.columns[r] + c);
            let at = match self.dispersion {
                Dispersion::Rows => (b, a),
                Dispersion::Columns => (a, b),
            };
            if let Some(cell) = onto.get_mut(at) {
                *cell = *value;
            }
        }
    }
}

/// Why an exposure cannot be cut.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum StripError {
    /// The maps are of another detector or window.
    #[error("the maps have {maps:?} rows x columns, the exposure {exposure:?} with bins of {binning:?}")]
    Shape {
        /// Shape of the maps, unbinned.
        maps: (usize, usize),
        /// Shape of the exposure.
        exposure: (usize, usize),
        /// Unbinned pixels per row and column.
        binning: [usize; 2],
    },
}

/// Cut an exposure along the orders of the maps, which are of the unbinned detector. Strips are sorted by order.
pub fn cut(exposure: &Exposure, maps: &Planes, dispersion: Dispersion) -> Result<Vec<Strip>, StripError> {
    let (rows, columns) = exposure.value.dim();
    let [by, bx] = exposure.binning;
    let unbinned = maps.wavelength.dim();
    // a detector need not be a multiple of its bins
    if by == 0 || bx == 0 || unbinned.0 / by != rows || unbinned.1 / bx != columns {
        return Err(StripError::Shape { maps: unbinned, exposure: (rows, columns), binning: exposure.binning });
    }
    let order = turned(maps.order.view(), dispersion);
    let bins = match dispersion {
        Dispersion::Rows => [by, bx],
        Dispersion::Columns => [bx, by],
    };
    let outlines = outlines(&order, bins);
    let source = Source {
        value: turned(exposure.value.view(), dispersion),
        floor: turned(exposure.floor.view(), dispersion),
        response: turned(exposure.response.view(), dispersion),
        flat: turned(exposure.flat.view(), dispersion),
        flags: turned(exposure.flags.view(), dispersion),
        wavelength: turned(maps.wavelength.view(), dispersion),
        slit: turned(maps.slit.view(), dispersion),
        error: turned(maps.error.view(), dispersion),
        order,
        bins,
        dispersion,
    };
    Ok(outlines.par_iter().filter_map(|outline| source.strip(outline)).collect())
}

/// The binned columns of an order in every binned row.
struct Outline {
    order: u8,
    spans: Vec<Option<(usize, usize)>>,
}

/// Unbinned pixels beyond the ends of the mapped slit that a strip covers, so that a slit which has moved is seen whole.
const MARGIN: usize = 4;
/// Columns over which the maps are continued.
const BASELINE: usize = 4;

/// Find where the orders lie.
fn outlines(order: &Array2<f32>, [bins_b, bins_a]: [usize; 2]) -> Vec<Outline> {
    let rows = order.nrows() / bins_b;
    let width = order.ncols() / bins_a;
    let by_row: Vec<Vec<(u8, usize, usize)>> = (0..rows)
        .into_par_iter()
        .map(|row| {
            let mut spans: Vec<(u8, usize, usize)> = Vec::new();
            for b in row * bins_b..(row + 1) * bins_b {
                for (a, number) in order.row(b).iter().enumerate() {
                    let (number, column) = (*number as u8, a / bins_a);
                    if number == 0 || column >= width {
                        continue;
                    }
                    match spans.iter_mut().find(|span| span.0 == number) {
                        Some(span) => (span.1, span.2) = (span.1.min(column), span.2.max(column)),
                        None => spans.push((number, column, column)),
                    }
                }
            }
            spans
        })
        .collect();
    let mut numbers: Vec<u8> = by_row.iter().flatten().map(|span| span.0).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let span = |row: &[(u8, usize, usize)], number| {
        row.iter().find(|span| span.0 == number).map(|(_, first, last)| (*first, *last))
    };
    numbers
        .into_iter()
        .map(|number| Outline { order: number, spans: by_row.iter().map(|row| span(row, number)).collect() })
        .collect()
}

/// All planes, turned.
struct Source {
    value: Array2<f32>,
    floor: Array2<f32>,
    response: Array2<f32>,
    flat: Array2<f32>,
    flags: Array2<i32>,
    wavelength: Array2<f32>,
    slit: Array2<f32>,
    error: Array2<f32>,
    order: Array2<f32>,
    bins: [usize; 2],
    dispersion: Dispersion,
}

impl Source {
    fn strip(&self, outline: &Outline) -> Option<Strip> {
        let first = outline.spans.iter().position(Option::is_some)?;
        let last = outline.spans.iter().rposition(Option::is_some)?;
        let margin = MARGIN.div_ceil(self.bins[1]);
        let longest = outline.spans.iter().flatten().map(|(a, b)| b + 1 - a).max()?;
        let width = (longest + 2 * margin).min(self.value.ncols());
        let rows = last + 1 - first;
        let mut columns = Vec::with_capacity(rows);
        let mut before = outline.spans[first]?.0.saturating_sub(margin);
        for span in &outline.spans[first..=last] {
            let start = span.map_or(before, |span| span.0.saturating_sub(margin));
            before = start.min(self.value.ncols().saturating_sub(width));
            columns.push(before);
        }
        let part = |plane: &Array2<f32>| {
            let mut out = Array2::<f32>::zeros((rows, width));
            for (r, mut line) in out.rows_mut().into_iter().enumerate() {
                line.assign(&plane.slice(ndarray::s![first + r, columns[r]..columns[r] + width]));
            }
            out
        };
        let mut strip = Strip {
            order: outline.order,
            dispersion: self.dispersion,
            row: first,
            binning: self.bins,
            wavelength: Array2::from_elem((rows, width), f64::NAN),
            slit: Array2::from_elem((rows, width), f32::NAN),
            wavelength_error: Array2::from_elem((rows, width), f32::NAN),
            value: part(&self.value),
            floor: part(&self.floor),
            response: part(&self.response),
            flat: part(&self.flat),
            flags: Array2::from_elem((rows, width), flags::NO_DATA),
            columns,
        };
        for r in 0..rows {
            for c in 0..width {
                let (b, a) = (first + r, strip.columns[r] + c);
                let Some([wavelength, slit, error]) = self.place(outline.order, b, a) else { continue };
                strip.wavelength[(r, c)] = wavelength;
                strip.slit[(r, c)] = slit as f32;
                strip.wavelength_error[(r, c)] = error as f32;
                strip.flags[(r, c)] = self.flags[(b, a)];
            }
            self.extend(&mut strip, r, margin);
        }
        Some(strip)
    }

    /// Continue wavelength and slit position of a row beyond both ends of the mapped slit, where no other order lies.
    fn extend(&self, strip: &mut Strip, r: usize, margin: usize) {
        let width = strip.value.ncols();
        let known = |c: &usize| strip.wavelength[(r, *c)].is_finite();
        let (Some(first), Some(last)) = ((0..width).find(known), (0..width).rev().find(known)) else { return };
        if last < first + BASELINE {
            return;
        }
        let ends = [(first, first + BASELINE, -1.0), (last, last - BASELINE, 1.0)];
        for (end, inner, sign) in ends {
            let per_column = |a: f64, b: f64| sign * (a - b) / BASELINE as f64;
            let wavelength = per_column(strip.wavelength[(r, end)], strip.wavelength[(r, inner)]);
            let slit = per_column(f64::from(strip.slit[(r, end)]), f64::from(strip.slit[(r, inner)]));
            for k in 1..=margin {
                let Some(c) = end.checked_add_signed(if sign > 0.0 { k as isize } else { -(k as isize) }) else {
                    break;
                };
                let (b, a) = (strip.row + r, strip.columns[r] + c);
                if c >= width || !self.is_free(b, a) {
                    break;
                }
                strip.wavelength[(r, c)] = strip.wavelength[(r, end)] + sign * k as f64 * wavelength;
                strip.slit[(r, c)] = (f64::from(strip.slit[(r, end)]) + sign * k as f64 * slit) as f32;
                strip.wavelength_error[(r, c)] = strip.wavelength_error[(r, end)];
                strip.flags[(r, c)] = self.flags[(b, a)] | flags::UNLIT;
            }
        }
    }

    /// Whether a binned pixel belongs to no order.
    fn is_free(&self, b: usize, a: usize) -> bool {
        let [bins_b, bins_a] = self.bins;
        let rows = b * bins_b..(b + 1) * bins_b;
        rows.into_iter().all(|y| (a * bins_a..(a + 1) * bins_a).all(|x| self.order[(y, x)] == 0.0))
    }

    /// Wavelength, slit position and error at the centre of a binned pixel: the mean over its unbinned pixels, all of
    /// which must belong to the order.
    fn place(&self, order: u8, b: usize, a: usize) -> Option<[f64; 3]> {
        let [bins_b, bins_a] = self.bins;
        let cells = |bins: usize, index: usize| -> Range<usize> { index * bins..(index + 1) * bins };
        let mut sums = [0.0; 3];
        for y in cells(bins_b, b) {
            for x in cells(bins_a, a) {
                if self.order[(y, x)] as u8 != order {
                    return None;
                }
                for (sum, plane) in sums.iter_mut().zip([&self.wavelength, &self.slit, &self.error]) {
                    *sum += f64::from(plane[(y, x)]);
                }
            }
        }
        let mean = sums.map(|sum| sum / (bins_a * bins_b) as f64);
        mean[0].is_finite().then_some(mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two leaning orders on a detector of 12 x 20 (turned), wavelength 100 + 2 b + 0.1 a, slit a - 0.5 b - 4.
    fn scene(bins: [usize; 2], dispersion: Dispersion) -> (Exposure, Planes) {
        let (rows, columns) = (12, 20);
        let order = |b: usize, a: usize| match a as f64 - 0.5 * b as f64 {
            x if (0.0..4.0).contains(&x) => 7.0,
            x if (8.0..11.0).contains(&x) => 3.0,
            _ => 0.0f32,
        };
        let turn = |plane: Array2<f32>| turned(plane.view(), dispersion);
        let full = |f: &dyn Fn(usize, usize) -> f32| turn(Array2::from_shape_fn((rows, columns), |(b, a)| f(b, a)));
        let maps = Planes {
            wavelength: full(&|b, a| {
                if order(b, a) > 0.0 { 100.0 + 2.0 * b as f32 + 0.1 * a as f32 } else { f32::NAN }
            }),
            slit: full(&|b, a| if order(b, a) > 0.0 { a as f32 - 0.5 * b as f32 - 4.0 } else { f32::NAN }),
            order: full(&order),
            error: full(&|_, _| 0.01),
        };
        let shape = (rows / bins[0], columns / bins[1]);
        let plane = |f: &dyn Fn(usize, usize) -> f32| turn(Array2::from_shape_fn(shape, |(b, a)| f(b, a)));
        let binning = if dispersion == Dispersion::Rows { bins } else { [bins[1], bins[0]] };
        let exposure = Exposure {
            value: plane(&|b, a| (100 * b + a) as f32),
            floor: plane(&|_, _| 4.0),
            response: plane(&|_, _| 1.0),
            flat: plane(&|_, _| 0.0),
            flags: turned(Array2::from_shape_fn(shape, |(b, a)| i32::from(b == 3 && a == 2)).view(), dispersion),
            binning,
            exptime: 1.0,
        };
        (exposure, maps)
    }

    #[test]
    fn a_strip_follows_its_order_on_both_arms() {
        for dispersion in [Dispersion::Rows, Dispersion::Columns] {
            let (exposure, maps) = scene([1, 1], dispersion);
            let strips = cut(&exposure, &maps, dispersion).unwrap();
            assert_eq!(strips.iter().map(|strip| strip.order).collect::<Vec<_>>(), vec![3, 7]);
            let strip = &strips[1];
            assert_eq!((strip.shape(), strip.columns[10]), ((12, 12), 1));
            // detector (3, 2) lies in the third column of a strip that begins at the detector's edge
            assert_eq!((strip.value[(3, 2)], strip.flags[(3, 2)]), (302.0, 1));
            assert!((strip.wavelength[(3, 2)] - 106.2).abs() < 1e-5 && (strip.slit[(3, 2)] + 3.5).abs() < 1e-6);
            assert!(!strip.usable((3, 2)) && strip.usable((3, 3)));
            let mut back = Array2::zeros(exposure.value.dim());
            strips.iter().for_each(|strip| strip.paste(&strip.value, &mut back));
            let seen = back.iter().zip(&exposure.value).filter(|(b, v)| *b == *v && **b > 0.0).count();
            assert_eq!(seen, back.iter().filter(|b| **b > 0.0).count());
            assert!(seen > 70, "{seen}");
        }
    }

    #[test]
    fn maps_go_on_beyond_the_ends_of_the_slit_but_not_into_other_orders() {
        let mut wide = scene([1, 1], Dispersion::Rows);
        // orders of eight and six columns, four apart
        let slit = |b: usize, a: usize| a as f32 - 0.5 * b as f32;
        wide.1.order = Array2::from_shape_fn((12, 20), |(b, a)| match slit(b, a) {
            x if (0.0..6.0).contains(&x) => 7.0,
            x if (8.0..14.0).contains(&x) => 3.0,
            _ => 0.0,
        });
        let lit = wide.1.order.mapv(|order| order > 0.0);
        for (plane, value) in [(&mut wide.1.slit, 0.0f32), (&mut wide.1.wavelength, 500.0)] {
            *plane = Array2::from_shape_fn((12, 20), |(b, a)| if lit[(b, a)] { value + slit(b, a) } else { f32::NAN });
        }
        let strips = cut(&wide.0, &wide.1, Dispersion::Rows).unwrap();
        let strip = &strips[1];
        let (r, c) = (0, 6 - strip.columns[0]);
        assert!((strip.wavelength[(r, c)] - 506.0).abs() < 1e-4 && (strip.slit[(r, c + 1)] - 7.0).abs() < 1e-5);
        assert!(strip.flags[(r, c)] & flags::UNLIT != 0 && !strip.usable((r, c)));
        // column 8 is of the other order
        assert!(!strip.wavelength[(r, c + 2)].is_finite());
    }

    #[test]
    fn a_binned_pixel_has_the_place_of_its_centre() {
        let (exposure, maps) = scene([2, 1], Dispersion::Rows);
        let strips = cut(&exposure, &maps, Dispersion::Rows).unwrap();
        let strip = &strips[1];
        // binned row 2 is rows 4 and 5; column 3 belongs to the order in both
        let c = 3 - strip.columns[2];
        assert!((strip.wavelength[(2, c)] - (100.0 + 2.0 * 4.5 + 0.3)).abs() < 1e-5);
        assert_eq!(strip.place(2.0), 4.5);
        let (_, other) = scene([1, 1], Dispersion::Rows);
        let wrong = Exposure { binning: [3, 1], ..exposure };
        assert!(matches!(cut(&wrong, &other, Dispersion::Rows), Err(StripError::Shape { .. })));
    }

    #[test]
    fn noise_follows_the_model() {
        let (exposure, maps) = scene([1, 1], Dispersion::Rows);
        let strip = cut(&exposure, &maps, Dispersion::Rows).unwrap().remove(0);
        assert_eq!(strip.variance((0, 0), 9.0), exposure.variance((0, 8), 9.0));
    }
}
