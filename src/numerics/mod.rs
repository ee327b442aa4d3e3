//! Statistics, stacking and transforms on plain arrays.
//!
//! What never lives here: FITS, astronomy, files, clocks.
