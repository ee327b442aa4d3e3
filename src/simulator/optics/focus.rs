//! The sharpness of the optics: a Gaussian that is round on the detector, wider here and narrower there.

use serde::{Deserialize, Serialize};

use crate::instrument::{Arm, SpectralFormat};

/// Full width at half maximum of a Gaussian of unit standard deviation.
pub const FWHM_OF_SIGMA: f64 = 2.354_820_045_030_949_3;

/// Width of the image of a point in the slit plane, without the slit, the hole of a mask or the pixel.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Focus {
    /// Mean FWHM, pixels.
    pub fwhm: f64,
    /// Relative change from the mean to the corners of the detector, and with the other sign to its centre.
    pub curvature: f64,
    /// Relative change from the centre to the right and to the upper edge.
    pub tilt: [f64; 2],
    /// Factor on all widths: 1 in focus.
    pub defocus: f64,
}

impl Focus {
    /// The usual instrument: the published widths of pinhole images (1.87 pixels in VIS, 2.15 in NIR, with pixel and
    /// hole, and with the charge that detectors share between neighbours), which vary by 13 and 10 per cent.
    pub fn usual(arm: Arm) -> Focus {
        match arm {
            Arm::Vis => Focus { fwhm: 1.31, curvature: 0.07, tilt: [0.04, 0.02], defocus: 1.0 },
            _ => Focus { fwhm: 1.83, curvature: 0.06, tilt: [0.02, 0.02], defocus: 1.0 },
        }
    }

    /// FWHM at a pixel of the trimmed frame, pixels. Never below a fifth of the mean.
    pub fn fwhm(&self, arm: Arm, x: f64, y: f64) -> f64 {
        let (rows, columns) = SpectralFormat::of(arm).shape();
        let (u, v) = (2.0 * x / columns as f64 - 1.0, 2.0 * y / rows as f64 - 1.0);
        let change = self.curvature * (u * u + v * v - 1.0) + self.tilt[0] * u + self.tilt[1] * v;
        self.fwhm * self.defocus * (1.0 + change).max(0.2)
    }
}
