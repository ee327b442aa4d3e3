//! The spectrograph: from light in the slit plane to charge in pixels.
//!
//! What lives here: the geometry with its flexure (`view`), the sharpness (`focus`), the shapes of sources and of
//! what stands in the slit plane (`shape`), the spread of light along and across the slit (`spread`), its collection
//! in pixels (`render`, `holes`), what an ideal extraction would find (`extract`), the light that goes astray
//! (`stray`), and the parameters of it all (`parameters`). Coordinates are those of the trimmed, unbinned frame:
//! 0-based, integers at the centres of pixels. What never lives here: noise and defects of the detector.

mod extract;
mod focus;
mod holes;
mod parameters;
mod render;
mod shape;
mod spread;
mod stray;
#[cfg(test)]
mod tests;
mod view;

use serde::{Deserialize, Serialize};

use crate::instrument::Arm;

pub use extract::{Collected, extract};
pub use focus::{FWHM_OF_SIGMA, Focus};
pub use parameters::{ArmOptics, Optics};
pub use render::{Beam, Efficiency, Response, render};
pub use shape::{Curve, Entrance, Profile, Shape, Source};
pub use spread::{LineSpread, line_spread};
pub use stray::Stray;
pub use view::{Grid, SAMPLES, View};

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

/// What we assume of the geometry beyond the published positions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distortion {
    /// Pixels per arcsecond across the slit, along the dispersion.
    pub across: f64,
    /// Relative change of the slit's tilt from the middle of an order to its red end; the other sign at its blue end.
    pub tilt_change: f64,
    /// Own shifts of single orders.
    #[serde(default)]
    pub order_shifts: Vec<OrderShift>,
}

/// An order that lies elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderShift {
    /// Number of the order.
    pub order: u8,
    /// Pixels in x and y.
    pub shift: [f64; 2],
}

impl Distortion {
    /// The usual instrument. The scales across the slit follow from the published widths of lines through the slit of
    /// 1.0 arcsec. The published VIS positions of the outer pinholes are rigid copies of the middle one's, so that
    /// nothing is known of the tilt's change along an order: 4 per cent are an assumption. The NIR format contains
    /// its change.
    pub fn usual(arm: Arm) -> Distortion {
        match arm {
            Arm::Vis => Distortion { across: 3.0, tilt_change: 0.04, order_shifts: Vec::new() },
            _ => Distortion { across: 3.4, tilt_change: 0.0, order_shifts: Vec::new() },
        }
    }
}
