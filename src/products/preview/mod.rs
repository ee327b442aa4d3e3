//! Quick looks for people: an image as PNG between the levels that the z-scale algorithm chooses, and a spectrum made short
//! enough to be drawn.
//!
//! What lives here: stretching, shrinking, and the choice of columns. What never lives here: where files are, who may see
//! them, and anything that a recipe depends on.

mod image;
mod spectrum;

pub use crate::quality::page::Palette;
pub use image::{Region, picture, zscale};
pub use spectrum::{Curve, Shown, Spectrum, Trace, drawable};
