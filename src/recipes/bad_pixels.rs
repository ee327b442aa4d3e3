//! The map of bad pixels that a flat publishes: its own findings and those of the newest biases and darks.
//!
//! How maps accumulate, in one place. Every master bias and master dark publishes what it found alone (`BP_MAP` of `mbias`
//! and `mdark`). A master flat is given the newest few of these, of whatever read mode or exposure time on the same binning
//! (`config/association.toml`), and votes with its own findings ([`crate::reduction::bad_pixels`]); its `BP_MAP` is the one
//! that other recipes use. No map is made from a merged map: the result depends on its inputs only, whatever was reduced
//! before, and making it again gives the same one.

use ndarray::Array2;

use super::contract::{MasterImage, ProductImage};
use crate::reduction::bad_pixels::{Kind, Merged, Source, merge};

/// PRO CATG of maps of bad pixels, without the arm.
pub const BP_MAP: &str = "BP_MAP";

/// Merge the maps among the calibrations with what the flats of each lamp say.
pub fn accumulated(maps: &[MasterImage], flats: &[&Array2<i32>], agreement: f64) -> Option<Merged> {
    // the flats first: their shape counts
    let flats = flats.iter().map(|bits| Source { kind: Kind::Flat, bits });
    let darks = maps.iter().filter(|map| map.catg == BP_MAP).map(|map| Source { kind: Kind::Dark, bits: &map.flags });
    merge(&flats.chain(darks).collect::<Vec<Source>>(), agreement)
}

/// The product: 1 where any bit is set, and the bits.
pub fn product(bits: Array2<i32>, n_combined: usize) -> ProductImage {
    let bad = bits.mapv(|bits| if bits == 0 { 0.0 } else { 1.0 });
    ProductImage::new(BP_MAP, "_BPMAP", "", bad, None, bits, n_combined)
}
