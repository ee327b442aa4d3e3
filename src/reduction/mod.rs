//! The algorithms that recipes are written in.
//!
//! What lives here: detector effects, later geometry, spectra and images, on arrays with variance and quality.
//! What never lives here: FITS, databases, file names.

pub mod detector;
pub mod flags;
pub mod geometry;
