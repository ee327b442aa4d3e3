//! Products: what they are called, what their headers say, how they lie on disk.
//!
//! What lives here: the header of a product (what of the raw header survives, provenance, QC), its planes, the text of
//! SOF files, the drawing of pictures. What never lives here: how a product is made (`recipes`), who is told of it (`delivery`), which products
//! exist (`catalogue`).
//!
//! An image product has four planes on the trimmed science area, rows x columns, 0-based pixel centres: `FLUX` (f32, in
//! the primary HDU), `QUAL` (u8, 0 good, 1 bad), `ERRS` (f32, standard deviation, the square root of the variance that
//! recipes carry), as users of the reference pipeline expect, and `FLAGS` (i32, bits of [`crate::reduction::flags`]).
//! A table product has an empty primary HDU and one BINTABLE a table; maps have one f32 image a plane.

mod header;
pub mod phase3;
pub mod pictures;
pub mod preview;
mod read;
pub mod sof;
#[cfg(test)]
mod tests;
mod write;

pub use header::{CalibrationInput, Provenance, RawInput};
pub use read::add_calibration;
pub use sof::{SofEntry, SofError};
pub use write::{Product, ProductError, write_product};
