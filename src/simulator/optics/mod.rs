//! The spectrograph: from light in the slit plane to charge in pixels.
//!
//! What lives here: the geometry with its flexure, the spread of light, and its collection in pixels. Coordinates are
//! those of the trimmed, unbinned frame: 0-based, integers at the centres of pixels. What never lives here: noise and
//! defects of the detector.

use serde::{Deserialize, Serialize};

/// How the image on a detector lies against the published geometry.
///
/// Rotation and scale act about the centre of the trimmed frame, then the shift is added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Flexure {
    /// Pixels in x and y.
    pub shift: [f64; 2],
    /// Relative change of the scale: 1e-4 is 0.2 pixels at the edge of the infrared detector.
    pub scale: f64,
    /// Degrees, from x towards y.
    pub rotation: f64,
}
