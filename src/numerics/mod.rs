//! Statistics, stacking, fits and transforms.
//!
//! What lives here: functions on slices and arrays of numbers. Images are `f32`, sums are `f64`, and every parallel
//! reduction runs over fixed chunks that are combined in order, so that no result depends on the number of threads.
//! What never lives here: FITS, detectors, astronomy.

pub mod banded;
pub mod blocks;
pub mod bspline;
pub mod chebyshev;
pub mod curve;
pub mod fft;
pub mod least_squares;
pub mod linear;
pub mod profile;
pub mod robust;
pub mod spots;
pub mod stack;
