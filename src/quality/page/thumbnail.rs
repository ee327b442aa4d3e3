//! Images made small: means of blocks, as bytes between two levels.

use ndarray::ArrayView2;
use rayon::prelude::*;

/// Colours of an image or of dots with values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Palette {
    /// Black to white.
    Grey,
    /// Dark blue over green to yellow; evenly bright steps for every kind of colour vision.
    #[default]
    Viridis,
    /// Blue over white to orange, for values about a middle.
    Diverging,
}

/// How levels are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stretch {
    /// Linear between two percentiles (0 to 100) of the blocks.
    Percentiles(f64, f64),
    /// Linear between two values.
    Between(f64, f64),
    /// Like percentiles, but by the inverse hyperbolic sine: shows faint beside bright.
    Asinh(f64, f64),
}

/// A small image: levels 0 to 254, 255 where there is no data. Row 0 is the lowest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Thumbnail {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Levels, row by row.
    pub levels: Vec<u8>,
    /// Values of levels 0 and 254.
    pub range: [f64; 2],
    /// Colours.
    pub palette: Palette,
}

/// No data.
const EMPTY: u8 = u8::MAX;
/// Highest level.
const TOP: f64 = 254.0;

/// Rows of a block that are used, at most.
const ROWS: usize = 3;

/// Add the finite values of a row to the sums and counts of its blocks.
fn add(sums: &mut [(f32, f32)], wide: usize, mut values: impl Iterator<Item = f32>) {
    for sum in sums {
        for value in values.by_ref().take(wide) {
            let counts = value.is_finite();
            *sum = (sum.0 + if counts { value } else { 0.0 }, sum.1 + if counts { 1.0 } else { 0.0 });
        }
    }
}

impl Thumbnail {
    /// Means of the finite values in blocks, so that neither side exceeds `most` pixels. Of a high block some rows are
    /// enough.
    pub fn of(image: ArrayView2<'_, f32>, most: usize, stretch: Stretch, palette: Palette) -> Thumbnail {
        Thumbnail::of_blocks(image, None, most, stretch, palette)
    }

    /// The same of pixels that have none of the bits in a plane of the same shape.
    pub fn of_good(
        image: ArrayView2<'_, f32>,
        flags: ArrayView2<'_, i32>,
        bits: i32,
        most: usize,
        stretch: Stretch,
        palette: Palette,
    ) -> Thumbnail {
        Thumbnail::of_blocks(image, Some((flags, bits)), most, stretch, palette)
    }

    fn of_blocks(
        image: ArrayView2<'_, f32>,
        flags: Option<(ArrayView2<'_, i32>, i32)>,
        most: usize,
        stretch: Stretch,
        palette: Palette,
    ) -> Thumbnail {
        let (rows, columns) = image.dim();
        let most = most.max(1);
        let (high, wide) = (rows.div_ceil(most).max(1), columns.div_ceil(most).max(1));
        let (height, width) = (rows.div_ceil(high), columns.div_ceil(wide));
        let mut means = vec![f64::NAN; width * height];
        means.par_chunks_mut(width.max(1)).enumerate().for_each(|(k, line)| {
            let mut sums = vec![(0.0f32, 0.0f32); line.len()];
            for row in (k * high..((k + 1) * high).min(rows)).step_by(high.div_ceil(ROWS)) {
                match &flags {
                    None => add(&mut sums, wide, image.row(row).iter().copied()),
                    Some((flags, bits)) => {
                        let good = |(value, found): (&f32, &i32)| if found & bits == 0 { *value } else { f32::NAN };
                        add(&mut sums, wide, image.row(row).iter().zip(flags.row(row)).map(good));
                    }
                }
            }
            for (mean, (sum, count)) in line.iter_mut().zip(sums).filter(|(_, (_, count))| *count > 0.0) {
                *mean = f64::from(sum / count);
            }
        });
        Thumbnail::of_values(width, height, means, stretch, palette)
    }

    /// Rows as columns.
    #[must_use]
    pub fn turned(self) -> Thumbnail {
        let (width, height) = (self.height, self.width);
        let at = |k: usize| self.levels.get(k % width * self.width + k / width).copied().unwrap_or(EMPTY);
        let levels = (0..self.levels.len()).map(at).collect();
        Thumbnail { width, height, levels, ..self }
    }

    /// Of values that are small already, row by row from the bottom; NaN for no data. Missing ones count as no data.
    pub fn of_values(
        width: usize,
        height: usize,
        mut values: Vec<f64>,
        stretch: Stretch,
        palette: Palette,
    ) -> Thumbnail {
        values.resize(width * height, f64::NAN);
        let mut finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
        let mut at = |percent: f64| {
            let last = finite.len().saturating_sub(1);
            let place = ((percent.clamp(0.0, 100.0) / 100.0 * last as f64).round() as usize).min(last);
            if finite.is_empty() { 0.0 } else { *finite.select_nth_unstable_by(place, f64::total_cmp).1 }
        };
        let (low, high) = match stretch {
            Stretch::Percentiles(low, high) | Stretch::Asinh(low, high) => (at(low), at(high)),
            Stretch::Between(low, high) => (low, high),
        };
        let high = if high > low { high } else { low + low.abs().max(1.0) * 1e-6 };
        let soft = |value: f64| {
            let t = ((value - low) / (high - low)).clamp(0.0, 1.0);
            if matches!(stretch, Stretch::Asinh(..)) { (30.0 * t).asinh() / 30f64.asinh() } else { t }
        };
        let level = |value: &f64| if value.is_finite() { (soft(*value) * TOP).round() as u8 } else { EMPTY };
        let levels = values.iter().map(level).collect();
        Thumbnail { width, height, levels, range: [low, high], palette }
    }

    /// Whether any pixel has data.
    pub fn has_data(&self) -> bool {
        self.levels.iter().any(|level| *level != EMPTY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    #[test]
    fn blocks_are_means_of_finite_values_and_the_last_block_may_be_smaller() {
        let mut image = Array2::from_shape_fn((5, 7), |(r, c)| (10 * (r / 2) + c / 2) as f32);
        image[[0, 0]] = f32::NAN;
        let small = Thumbnail::of(image.view(), 4, Stretch::Between(0.0, 25.4), Palette::Grey);
        assert_eq!((small.width, small.height), (4, 3));
        assert_eq!(&small.levels[..4], &[0, 10, 20, 30]);
        assert_eq!(&small.levels[8..], &[200, 210, 220, 230]);
        let turned = Thumbnail::of(image.t(), 4, Stretch::Between(0.0, 25.4), Palette::Grey);
        assert_eq!(turned, small.turned());
        assert_eq!((turned.width, turned.height, turned.levels[2]), (3, 4, 200));
    }

    #[test]
    fn flagged_pixels_do_not_count() {
        let image = Array2::from_shape_fn((4, 4), |(r, _)| if r == 1 { 100.0f32 } else { 1.0 });
        let flags = Array2::from_shape_fn((4, 4), |(r, _)| if r == 1 { 2 } else { 128 });
        let good = |bits| {
            Thumbnail::of_good(image.view(), flags.view(), bits, 2, Stretch::Between(0.0, 254.0), Palette::Grey).levels
        };
        assert_eq!(good(2), [1; 4]);
        assert_eq!(good(128), [100, 100, EMPTY, EMPTY]);
    }

    #[test]
    fn nothing_finite_is_no_data() {
        let empty = Array2::from_elem((8, 8), f32::NAN);
        let small = Thumbnail::of(empty.view(), 4, Stretch::Percentiles(1.0, 99.0), Palette::Grey);
        assert!(!small.has_data() && small.range.iter().all(|end| end.is_finite()));
        let none = Array2::zeros((0, 0));
        assert!(!Thumbnail::of(none.view(), 4, Stretch::Asinh(1.0, 99.0), Palette::Grey).has_data());
    }

    #[test]
    fn the_range_holds_the_percentiles_and_equal_values_have_one() {
        let ramp = (0..101).map(f64::from).collect();
        let small = Thumbnail::of_values(101, 1, ramp, Stretch::Percentiles(10.0, 90.0), Palette::Grey);
        assert_eq!(small.range, [10.0, 90.0]);
        assert_eq!((small.levels[5], small.levels[50], small.levels[95]), (0, 127, 254));
        let flat = Thumbnail::of_values(2, 2, vec![7.0; 4], Stretch::Percentiles(0.0, 100.0), Palette::Grey);
        assert!(flat.range[1] > flat.range[0] && flat.has_data());
    }
}
