//! What SOXS is: arms, detectors, nights, and how a header becomes a typed frame description.
//!
//! What lives here: types and the checked data files behind them (`config/classification.toml`,
//! `calibrations/detectors.toml`, `calibrations/format_*.toml`). What never lives here: files, databases, pixels.

pub mod airglow;
pub mod classification;
pub mod detector;
pub mod format;
pub mod frame;
pub mod lines;
pub mod site;

pub use classification::{Classification, ClassificationError, ClassifyError};
pub use detector::{Detector, DetectorError, Detectors, Geometry};
pub use format::{FormatError, OrderFormat, Position, SpectralFormat};
pub use frame::{Arm, Binning, FrameMeta, Night, OnSky, Usage};
