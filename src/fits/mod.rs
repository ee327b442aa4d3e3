//! FITS files: headers, structure and completeness, compressed forms, pixels in, products out.
//!
//! What lives here: everything that knows about cards, 2880-byte blocks, cfitsio and atomic files. This is the only
//! module that calls cfitsio and the only one that creates product files.
//! What never lives here: what a keyword means for SOXS (`instrument`), what a product is called (`products`).

pub mod atomic;
pub mod digest;
pub mod header;

pub use header::{Card, Header, HeaderError, Value};
