//! The algorithms that recipes are written in.
//!
//! What lives here: detector effects and bad pixels, places of orders, geometry, flats; on arrays with variance and quality.
//! What never lives here: FITS, databases, file names.

pub mod bad_pixels;
pub mod detector;
pub mod flags;
pub mod flat;
pub mod geometry;
pub mod orders;
pub mod science;
pub mod spectrum;
