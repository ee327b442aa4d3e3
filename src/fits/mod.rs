//! FITS files: headers, structure and completeness, compressed forms, pixels in, products out.
//!
//! What lives here: everything that knows about cards, 2880-byte blocks, cfitsio and atomic files. This is the only
//! module that calls cfitsio and the only one that creates product files.
//! What never lives here: what a keyword means for SOXS (`instrument`), what a product is called (`products`).

pub mod anatomy;
pub mod atomic;
mod card;
mod cfitsio;
mod checksum;
pub mod compress;
pub mod digest;
pub mod error;
pub mod header;
pub mod read;
pub mod scan;
pub mod table;
pub mod write;

pub use anatomy::{Anatomy, Flaw, Part};
pub use atomic::{AtomicError, Placement, is_temporary, publish_link, write_atomically};
pub use cfitsio::Status;
pub use compress::Compression;
pub use digest::FileDigests;
pub use error::FitsError;
pub use header::{Card, Header, HeaderError, Value};
pub use read::{
    Contents, Outline, Plane, PlaneArray, RawImage, ReadLimits, cfitsio_check, read_image, read_outline, read_plane,
    read_planes, read_tables, verify_checksums,
};
pub use scan::{Hdu, Scan, ScanError, ScanLimits, peek, scan};
pub use table::{ColumnData, ColumnValues, ReadColumn, ReadTable, ReadValues};
pub use write::{ImageHdu, PlaneData, write_images};

#[cfg(test)]
mod tests;
