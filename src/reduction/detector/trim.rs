//! Where the exposed area lies in raw images, and rows of it.

use std::ops::Range;

use ndarray::Array2;

/// Areas of a raw image: 0-based columns and rows, half open.
#[derive(Clone, Debug, PartialEq)]
pub struct Regions {
    /// Columns of the exposed area.
    pub columns: Range<usize>,
    /// Rows of the exposed area.
    pub rows: Range<usize>,
    /// Unexposed columns read in the same rows.
    pub side_columns: Vec<Range<usize>>,
    /// Unexposed rows above and below.
    pub edge_rows: Vec<Range<usize>>,
}

/// Why images cannot be stacked.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TrimError {
    /// An image has another shape than the first one.
    #[error("image {index} has {found:?} rows x columns, the first has {expected:?}")]
    Shape {
        /// Position in the list, from 0.
        index: usize,
        /// Its shape.
        found: (usize, usize),
        /// Shape of the first.
        expected: (usize, usize),
    },
    /// An area reaches beyond the image, or the exposed area is empty.
    #[error("the areas of the detector do not lie within an image of {rows} rows x {columns} columns")]
    Regions {
        /// Rows of the image.
        rows: usize,
        /// Columns of the image.
        columns: usize,
    },
    /// The image is not stored row by row.
    #[error("image {index} is not stored row by row")]
    Layout {
        /// Position in the list, from 0.
        index: usize,
    },
}

/// Raw images of one shape, with what turns them into electrons. Nothing is copied.
#[derive(Clone, Debug)]
pub struct RawStack<'a> {
    images: Vec<&'a [f32]>,
    width: usize,
    regions: &'a Regions,
    /// Electrons per ADU.
    pub gain: f32,
    saturation: f32,
}

impl<'a> RawStack<'a> {
    /// Check shapes and areas. `saturation` is in ADU, 0 for none.
    pub fn new(
        images: impl IntoIterator<Item = &'a Array2<f32>>,
        regions: &'a Regions,
        gain: f64,
        saturation: f64,
    ) -> Result<RawStack<'a>, TrimError> {
        let images: Vec<&Array2<f32>> = images.into_iter().collect();
        let expected = images.first().map_or((0, 0), |image| image.dim());
        let (rows, columns) = expected;
        let fits = |range: &Range<usize>, n: usize| range.start <= range.end && range.end <= n;
        let inside = fits(&regions.columns, columns)
            && fits(&regions.rows, rows)
            && regions.side_columns.iter().all(|range| fits(range, columns))
            && regions.edge_rows.iter().all(|range| fits(range, rows));
        if !inside || regions.columns.is_empty() || regions.rows.is_empty() {
            return Err(TrimError::Regions { rows, columns });
        }
        let mut slices = Vec::with_capacity(images.len());
        for (index, image) in images.into_iter().enumerate() {
            if image.dim() != expected {
                return Err(TrimError::Shape { index, found: image.dim(), expected });
            }
            slices.push(image.as_slice().ok_or(TrimError::Layout { index })?);
        }
        let saturation = if saturation > 0.0 { saturation as f32 } else { f32::INFINITY };
        Ok(RawStack { images: slices, width: columns, regions, gain: gain as f32, saturation })
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.images.len()
    }

    /// True without images.
    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// The areas.
    pub fn regions(&self) -> &Regions {
        self.regions
    }

    /// Shape of the exposed area, rows x columns.
    pub fn shape(&self) -> (usize, usize) {
        (self.regions.rows.len(), self.regions.columns.len())
    }

    /// The stack of some of the images, in the order given. Indices that do not exist are left out.
    pub fn subset(&self, keep: &[usize]) -> RawStack<'a> {
        let images = keep.iter().filter_map(|k| self.images.get(*k).copied()).collect();
        RawStack { images, ..self.clone() }
    }

    /// ADU of a row of the exposed area (`row` counts from its first row).
    pub fn science_row(&self, image: usize, row: usize) -> &'a [f32] {
        self.part(image, self.regions.rows.start + row, &self.regions.columns)
    }

    /// ADU of some columns of a raw row.
    pub fn part(&self, image: usize, raw_row: usize, columns: &Range<usize>) -> &'a [f32] {
        // within bounds: `new` has checked every area against the shape that all images share
        let start = raw_row * self.width;
        &self.images[image][start + columns.start..start + columns.end]
    }

    /// True when an ADU value is at the ceiling.
    pub fn is_saturated(&self, adu: f32) -> bool {
        adu >= self.saturation
    }

    /// Electrons of an ADU value; NaN when it is saturated or not finite.
    pub fn electrons(&self, adu: f32) -> f32 {
        // a NaN fails both comparisons; no short circuit, so that loops over this become vector code
        let valid = (adu < self.saturation) & (adu > f32::NEG_INFINITY);
        if valid { adu * self.gain } else { f32::NAN }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regions() -> Regions {
        Regions { columns: 2..5, rows: 1..3, side_columns: vec![0..2, 5..6], edge_rows: vec![] }
    }

    #[test]
    fn rows_of_the_exposed_area() {
        let image = Array2::from_shape_fn((3, 6), |(r, c)| (10 * r + c) as f32);
        let regions = regions();
        let stack = RawStack::new([&image], &regions, 2.0, 24.0).unwrap();
        assert_eq!(stack.shape(), (2, 3));
        assert_eq!(stack.science_row(0, 1), &[22.0, 23.0, 24.0]);
        assert_eq!(stack.electrons(23.0), 46.0);
        assert!(stack.electrons(24.0).is_nan() && stack.electrons(f32::NAN).is_nan());
    }

    #[test]
    fn images_that_do_not_fit_are_refused() {
        let (regions, image, other) = (regions(), Array2::zeros((3, 6)), Array2::zeros((4, 6)));
        assert!(matches!(RawStack::new([&image, &other], &regions, 1.0, 0.0), Err(TrimError::Shape { index: 1, .. })));
        let small = Array2::zeros((3, 4));
        assert!(matches!(RawStack::new([&small], &regions, 1.0, 0.0), Err(TrimError::Regions { .. })));
        let turned = Array2::<f32>::zeros((6, 3)).reversed_axes();
        assert!(matches!(RawStack::new([&turned], &regions, 1.0, 0.0), Err(TrimError::Layout { index: 0 })));
    }
}
