//! An image, or a part of it, as PNG.

use ndarray::{ArrayView2, s};

use crate::products::pictures::encode;
use crate::quality::page::{Palette, Stretch, Thumbnail};

/// Contrast of z-scale, as IRAF's display uses it.
const CONTRAST: f64 = 0.25;
/// Pixels from which the levels are found.
const SAMPLES: usize = 2000;
/// A fit with fewer of the samples than this part is not used.
const FEWEST: f64 = 0.5;
/// Rounds of rejection, and the deviation that is rejected, in standard deviations.
const ROUNDS: usize = 5;
const KREJ: f64 = 2.5;

/// A part of an image in pixels, 0-based, the upper ends not included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First column.
    pub x0: usize,
    /// First row.
    pub y0: usize,
    /// Column after the last.
    pub x1: usize,
    /// Row after the last.
    pub y1: usize,
}

impl Region {
    /// The part of a rows x columns image that the region covers, with at least one pixel; none of an empty image.
    pub fn within(self, (rows, columns): (usize, usize)) -> Option<Region> {
        if rows == 0 || columns == 0 {
            return None;
        }
        let (x0, y0) = (self.x0.min(columns - 1), self.y0.min(rows - 1));
        Some(Region { x0, y0, x1: self.x1.clamp(x0 + 1, columns), y1: self.y1.clamp(y0 + 1, rows) })
    }
}

/// Levels between which an image shows its background and what is faint: the algorithm of IRAF's display (Tody 1986).
/// A line is fitted to the sorted sample; where too much of it is rejected, as with strong sources, the extremes are used.
/// `(0, 1)` for an image without a finite pixel.
pub fn zscale(image: ArrayView2<'_, f32>) -> (f64, f64) {
    let stride = (image.len() / SAMPLES).max(1);
    // A stride that shares a factor with the width would look at few columns only.
    let stride = if stride > 1 && image.ncols().is_multiple_of(stride) { stride + 1 } else { stride };
    let mut sample: Vec<f64> =
        image.iter().step_by(stride).map(|value| f64::from(*value)).filter(|value| value.is_finite()).collect();
    sample.sort_by(f64::total_cmp);
    let (Some(low), Some(high)) = (sample.first().copied(), sample.last().copied()) else { return (0.0, 1.0) };
    let Some((kept, slope)) = fit(&sample) else { return widened(low, high) };
    if (kept as f64) < FEWEST * sample.len() as f64 {
        return widened(low, high);
    }
    // The sample is not empty, so the middle is one of its places.
    let middle = sample.len() / 2;
    let median = sample[middle];
    let slope = slope / CONTRAST;
    let below = median - middle as f64 * slope;
    let above = median + (sample.len() - 1 - middle) as f64 * slope;
    widened(low.max(below), high.min(above))
}

/// Two levels that differ.
fn widened(low: f64, high: f64) -> (f64, f64) {
    if high > low { (low, high) } else { (low, low + low.abs().max(1.0) * 1e-6) }
}

/// A straight line through the sorted values with rejection: how many were kept, and its slope a place.
fn fit(sorted: &[f64]) -> Option<(usize, f64)> {
    let mut good = vec![true; sorted.len()];
    let mut result = None;
    for _ in 0..ROUNDS {
        let points =
            || sorted.iter().enumerate().zip(&good).filter(|(_, good)| **good).map(|((x, y), _)| (x as f64, *y));
        let count = points().count();
        if count < 5 {
            return result;
        }
        let n = count as f64;
        let (mx, my) = points().fold((0.0, 0.0), |(mx, my), (x, y)| (mx + x / n, my + y / n));
        let (sxx, sxy) =
            points().fold((0.0, 0.0), |(sxx, sxy), (x, y)| (sxx + (x - mx).powi(2), sxy + (x - mx) * (y - my)));
        let slope = sxy / sxx;
        let rms = (points().map(|(x, y)| (y - my - slope * (x - mx)).powi(2)).sum::<f64>() / n).sqrt();
        result = Some((count, slope));
        let before = count;
        for ((x, y), good) in sorted.iter().enumerate().zip(&mut good) {
            *good = *good && (y - my - slope * (x as f64 - mx)).abs() <= KREJ * rms;
        }
        if good.iter().filter(|good| **good).count() == before {
            break;
        }
    }
    result
}

/// A part of an image as PNG, its upper row first, each side at most `most` pixels. `None` of an empty image.
pub fn picture(
    image: ArrayView2<'_, f32>,
    region: Region,
    most: usize,
    levels: (f64, f64),
    palette: Palette,
) -> Option<Vec<u8>> {
    let region = region.within(image.dim())?;
    let part = image.slice(s![region.y0..region.y1, region.x0..region.x1]);
    encode(&Thumbnail::of(part, most, Stretch::Between(levels.0, levels.1), palette))
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    #[test]
    fn the_background_is_stretched_and_a_bright_star_is_not() {
        // A flat sky of 100 with a scatter of some units, and one star.
        let mut image =
            Array2::from_shape_fn((200, 300), |(r, c)| 100.0 + ((r * 7919 + c * 104_729) % 101) as f32 / 10.0);
        image[[50, 60]] = 60_000.0;
        image[[51, 60]] = f32::NAN;
        let (low, high) = zscale(image.view());
        assert!((95.0..=102.0).contains(&low) && (108.0..=150.0).contains(&high), "{low} {high}");
    }

    #[test]
    fn images_without_contrast_or_data_have_levels_all_the_same() {
        assert_eq!(zscale(Array2::from_elem((10, 10), f32::NAN).view()), (0.0, 1.0));
        assert_eq!(zscale(Array2::zeros((0, 0)).view()), (0.0, 1.0));
        let (low, high) = zscale(Array2::from_elem((10, 10), 7.0).view());
        assert!(low == 7.0 && high > low);
    }

    #[test]
    fn a_region_is_cut_to_the_image_and_never_empty() {
        let wide = Region { x0: 5, y0: 2, x1: usize::MAX, y1: 3 };
        assert_eq!(wide.within((10, 20)), Some(Region { x0: 5, y0: 2, x1: 20, y1: 3 }));
        let outside = Region { x0: 99, y0: 99, x1: 1, y1: 1 };
        assert_eq!(outside.within((10, 20)), Some(Region { x0: 19, y0: 9, x1: 20, y1: 10 }));
        assert_eq!(outside.within((0, 20)), None);
    }

    #[test]
    fn a_picture_is_a_png_of_bounded_size() {
        let image = Array2::from_shape_fn((400, 1000), |(r, c)| (r + c) as f32);
        let whole = Region { x0: 0, y0: 0, x1: 1000, y1: 400 };
        let png = picture(image.view(), whole, 100, (0.0, 1400.0), Palette::Grey).unwrap();
        assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
        let side = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
        assert_eq!((side(16), side(20)), (100, 100));
    }
}
