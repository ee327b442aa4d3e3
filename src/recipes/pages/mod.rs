//! What the pictures of each recipe show, described from what the recipe holds at its end.
//!
//! What lives here: one file per kind of recipe that turns arrays and tables into panels, thinned so that a page costs
//! milliseconds. What never lives here: drawing (`products::pictures`), anything that changes a product: a recipe without
//! its page gives the same products.

pub mod arc;
pub mod flat;
pub mod orders;
pub mod spectrum;
pub mod stack;

use ndarray::ArrayView2;

use super::tables::Table;
use crate::instrument::Arm;
use crate::instrument::format::SpectralFormat;
use crate::numerics::robust::median_f64;
use crate::quality::page::{Axis, Ink, Layer, Palette, Stretch, Thumbnail};

/// Points of one cloud of dots, at most.
const DOTS: usize = 3000;
/// Pixels of the longer side of a thumbnail, at most.
const SIDE: usize = 420;

/// An arm as pictures show it: the dispersion runs from left to right. VIS is turned for that.
#[derive(Clone, Copy, Debug)]
struct View {
    arm: Arm,
}

impl View {
    /// Columns and rows of the exposed, unbinned detector become the ends of the axes.
    fn axes(self) -> [Axis; 2] {
        let (rows, columns) = SpectralFormat::of(self.arm).shape();
        let x = Axis::from_to("x / pixel", -0.5, columns as f64 - 0.5);
        let y = Axis::from_to("y / pixel", -0.5, rows as f64 - 0.5);
        if self.turned() { [y, x] } else { [x, y] }
    }

    fn turned(self) -> bool {
        self.arm == Arm::Vis
    }

    /// Column and row as abscissa and ordinate.
    fn point(self, x: f64, y: f64) -> [f64; 2] {
        if self.turned() { [y, x] } else { [x, y] }
    }

    /// Name of the axis along the dispersion, and of the one across.
    fn names(self) -> [&'static str; 2] {
        if self.turned() { ["y", "x"] } else { ["x", "y"] }
    }

    /// An image over the whole exposed area, of any binning.
    fn image(self, image: ArrayView2<'_, f32>, stretch: Stretch, palette: Palette) -> Layer {
        self.layer(self.seen(Thumbnail::of(image, SIDE, stretch, palette)))
    }

    /// A thumbnail of an image as read out, the way it is shown.
    fn seen(self, thumbnail: Thumbnail) -> Thumbnail {
        if self.turned() { thumbnail.turned() } else { thumbnail }
    }

    fn layer(self, thumbnail: Thumbnail) -> Layer {
        let [x, y] = self.axes().map(|axis| axis.range.unwrap_or([0.0, 1.0]));
        Layer::Image { thumbnail, x, y }
    }

    /// Means of scattered values `[abscissa, ordinate, value]` in cells of the detector; NaN where there is none.
    fn cells(self, points: impl Iterator<Item = [f64; 3]>, [wide, high]: [usize; 2]) -> Vec<f64> {
        let ends = self.axes().map(|axis| axis.range.unwrap_or([0.0, 1.0]));
        let at = |value: f64, [from, to]: [f64; 2], count: usize| {
            ((value - from) / (to - from) * count as f64).clamp(0.0, count as f64 - 1.0) as usize
        };
        let mut sums = vec![(0.0, 0.0); wide * high];
        for [a, b, value] in points {
            let sum = &mut sums[at(b, ends[1], high) * wide + at(a, ends[0], wide)];
            *sum = (sum.0 + value, sum.1 + 1.0);
        }
        // 0 / 0 is no data
        sums.into_iter().map(|(sum, count)| sum / count).collect()
    }

    /// Name of an order: a letter in VIS, its number in NIR.
    fn order(self, order: u8) -> String {
        SpectralFormat::of(self.arm).name_of(order)
    }
}

/// Colour of an order.
fn ink(order: u8) -> Ink {
    Ink::Series(usize::from(order))
}

/// A symmetric range that holds nearly all residuals: six robust standard deviations about zero, at least `least`.
fn residual_range(values: &[f64], least: f64) -> [f64; 2] {
    let mut sizes: Vec<f64> = values.iter().map(|value| value.abs()).filter(|value| value.is_finite()).collect();
    let reach = median_f64(&mut sizes).map_or(least, |median| (6.0 * 1.4826 * median).max(least));
    [-reach, reach]
}

/// A real column of a table; empty when there is none.
fn real<'a>(table: Option<&'a Table>, name: &str) -> &'a [f64] {
    table.and_then(|table| table.real(name).ok()).unwrap_or(&[])
}

/// An integer column of a table; empty when there is none.
fn integer<'a>(table: Option<&'a Table>, name: &str) -> &'a [i64] {
    table.and_then(|table| table.integer(name).ok()).unwrap_or(&[])
}

/// Ends of a colour scale: percentiles of the finite values, 0 and 1 without any.
fn percentiles(values: impl Iterator<Item = f64>, low: f64, high: f64) -> [f64; 2] {
    let mut sorted: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let at = |percent: f64| {
        let place = (percent / 100.0 * sorted.len().saturating_sub(1) as f64).round() as usize;
        sorted.get(place).copied()
    };
    match (at(low), at(high)) {
        (Some(low), Some(high)) if high > low => [low, high],
        (Some(low), _) => [low - 0.5, low + 0.5],
        _ => [0.0, 1.0],
    }
}
