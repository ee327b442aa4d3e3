//! Images made small: means of blocks, as bytes between two levels.

use ndarray::ArrayView2;

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

impl Thumbnail {
    /// Means of the finite values in blocks, so that neither side exceeds `most` pixels. Every row of a block is used, and
    /// every column.
    pub fn of(image: ArrayView2<'_, f32>, most: usize, stretch: Stretch, palette: Palette) -> Thumbnail {
        let (rows, columns) = image.dim();
        let most = most.max(1);
        let (high, wide) = (rows.div_ceil(most).max(1), columns.div_ceil(most).max(1));
        let (height, width) = (rows.div_ceil(high), columns.div_ceil(wide));
        let mut sums = vec![(0.0f32, 0u32); width * height];
        for (r, row) in image.outer_iter().enumerate() {
            let line = &mut sums[r / high * width..][..width];
            let add = |cell: &mut (f32, u32), value: f32| {
                if value.is_finite() {
                    *cell = (cell.0 + value, cell.1 + 1);
                }
            };
            match row.as_slice() {
                Some(row) => line.iter_mut().zip(row.chunks(wide)).for_each(|(cell, block)| {
                    block.iter().for_each(|value| add(cell, *value));
                }),
                None => row.iter().enumerate().for_each(|(c, value)| add(&mut line[c / wide], *value)),
            }
        }
        let means = sums.into_iter().map(|(sum, n)| if n == 0 { f64::NAN } else { f64::from(sum) / f64::from(n) });
        Thumbnail::of_values(width, height, means.collect(), stretch, palette)
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
        let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let at = |percent: f64| {
            let last = sorted.len().saturating_sub(1) as f64;
            sorted.get((percent.clamp(0.0, 100.0) / 100.0 * last).round() as usize).copied().unwrap_or(0.0)
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
        assert_eq!(turned.levels[2], small.levels[8]);
        assert_eq!((turned.width, turned.height), (3, 4));
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
