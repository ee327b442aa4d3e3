//! The acquisition camera: what light falls on its pixels, and the truth about it.
//!
//! A [`Field`] is the sky around a pointing, a [`Shot`] one exposure of it, [`CameraParams`] the instrument. [`expose`]
//! turns them into electrons per pixel, [`twilight`] makes a flat, [`extract`] the catalogue's rows of the field.
//! Coordinates are 0-based with integers at the centres of pixels; images are rows x columns.
//!
//! What never lives here: noise, bias, saturation and defects (that is `detector`), headers and files.

mod extract;
mod field;
mod filters;
mod illumination;
mod locus;
mod psf;
mod render;
#[cfg(test)]
mod tests;
mod wcs;

use serde::{Deserialize, Serialize};

use crate::fault::{Classified, FaultClass};

pub use extract::extract;
pub use field::{CATALOGUE_EPOCH, Field, FieldParams, Object, Shape, Source};
pub use filters::Filter;
pub use illumination::{Hole, Twilight, twilight};
pub use locus::Magnitudes;
pub use render::{CameraLight, CameraTruth, SourceTruth, expose};
pub use wcs::{Direction, Wcs};

/// Rows and columns of the detector.
pub const SIDE: usize = 1024;

/// The camera itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CameraParams {
    /// Arcseconds per pixel.
    pub scale: f64,
    /// Pixel (x, y), 0-based, of the direction to which the telescope points.
    pub reference: [f64; 2],
    /// Degrees from the rotator's angle to that of the sky in the image.
    pub rotation: f64,
    /// False: east is left when north is up. True: the image is mirrored.
    pub mirrored: bool,
    /// Radial distortion at the corner, pixels.
    pub distortion: f64,
    /// Diameter of the field that the optics let through, arcseconds.
    pub field: f64,
    /// Width of the edge of that field, arcseconds.
    pub edge: f64,
    /// Share of the light that reaches the corners beyond.
    pub beyond: f64,
    /// Loss of light at the edge of the field against its middle.
    pub roll_off: f64,
    /// Fringes in z and y, relative to the usual 1 and 3 per cent.
    pub fringes: f64,
    /// The hole in the slit mirror, if it is in the way.
    pub hole: Option<Hole>,
}

impl Default for CameraParams {
    fn default() -> CameraParams {
        CameraParams {
            scale: 0.205,
            reference: [523.5, 502.5],
            rotation: 0.0,
            mirrored: false,
            distortion: 0.25,
            field: 210.0,
            edge: 3.0,
            beyond: 0.01,
            roll_off: 0.05,
            fringes: 1.0,
            hole: None,
        }
    }
}

/// One exposure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shot {
    /// Filter.
    pub filter: Filter,
    /// Seconds.
    pub exptime: f64,
    /// Julian year.
    pub epoch: f64,
    /// Full width at half maximum at 500 nm and in the zenith, arcseconds.
    pub seeing: f64,
    /// Airmass.
    pub airmass: f64,
    /// Angle of the rotator as the header tells it, degrees.
    pub rotator: f64,
    /// True minus told angle, degrees.
    pub rotator_error: f64,
    /// How far east and north of the commanded direction the telescope really points, arcseconds.
    pub pointing_error: [f64; 2],
    /// Grey extinction of the sources by clouds, magnitudes. The sky's light is `sky_brighter`'s matter.
    pub cloud: f64,
    /// By how much the sky is brighter than in a dark night, magnitudes.
    pub sky_brighter: f64,
    /// Diameter of the ring into which defocus turns a star, arcseconds.
    pub defocus: f64,
    /// Length of the coma's tail, arcseconds.
    pub coma: f64,
    /// Where the tail points, degrees from x towards y.
    pub coma_angle: f64,
    /// Length of the trail into which bad guiding turns every source, arcseconds.
    pub trail: f64,
    /// Direction of the trail, degrees from x towards y.
    pub trail_angle: f64,
}

impl Default for Shot {
    fn default() -> Shot {
        Shot {
            filter: Filter::R,
            exptime: 20.0,
            epoch: 2026.2,
            seeing: 0.9,
            airmass: 1.2,
            rotator: 0.0,
            rotator_error: 0.0,
            pointing_error: [0.0; 2],
            cloud: 0.0,
            sky_brighter: 0.0,
            defocus: 0.0,
            coma: 0.0,
            coma_angle: 0.0,
            trail: 0.0,
            trail_angle: 0.0,
        }
    }
}

/// Why no image could be made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CameraError {
    /// A figure that the camera, the sky or the air cannot have.
    #[error("{key} is {value}, expected {low} to {high}")]
    Parameter {
        /// Which one.
        key: String,
        /// What was asked for.
        value: f64,
        /// Smallest allowed.
        low: f64,
        /// Largest allowed.
        high: f64,
    },
    /// An object has both a shape and a rate.
    #[error("object {name:?} has a shape and a rate: only points of light move, remove one of the two")]
    MovingGalaxy {
        /// Its name.
        name: String,
    },
}

impl Classified for CameraError {
    fn class(&self) -> FaultClass {
        FaultClass::Config
    }
}

/// That a figure is a number between two limits.
fn finite(key: &str, value: f64, low: f64, high: f64) -> Result<(), CameraError> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(CameraError::Parameter { key: key.to_string(), value, low, high })
}

impl CameraParams {
    /// The true relation of sky and pixels for a pointing.
    pub fn wcs(&self, centre: Direction, shot: &Shot) -> Wcs {
        Wcs {
            reference: centre.offset(shot.pointing_error[0], shot.pointing_error[1]),
            pixel: self.reference,
            scale: self.scale,
            rotation: shot.rotator + shot.rotator_error + self.rotation,
            mirrored: self.mirrored,
            distortion: self.distortion,
        }
    }

    fn check(&self) -> Result<(), CameraError> {
        finite("camera: scale", self.scale, 0.05, 1.0)?;
        for at in self.reference {
            finite("camera: reference", at, 0.0, SIDE as f64)?;
        }
        finite("camera: rotation", self.rotation, -360.0, 360.0)?;
        finite("camera: distortion", self.distortion, -5.0, 5.0)?;
        finite("camera: field", self.field, 10.0, 1000.0)?;
        finite("camera: edge", self.edge, 0.1, 100.0)?;
        finite("camera: beyond", self.beyond, 0.0, 1.0)?;
        finite("camera: roll_off", self.roll_off, 0.0, 0.5)?;
        finite("camera: fringes", self.fringes, 0.0, 10.0)?;
        self.hole.map_or(Ok(()), |hole| hole.check())
    }
}

impl Shot {
    /// Width of a star's image in the filter, before defocus and the like, arcseconds.
    pub fn fwhm(&self) -> f64 {
        let wavelength = self.filter.wavelength() / 500.0;
        self.seeing * super::math::pow(self.airmass, 0.6) * super::math::pow(wavelength, -0.2)
    }

    fn check(&self) -> Result<(), CameraError> {
        finite("shot: exptime", self.exptime, 0.0, 86_400.0)?;
        finite("shot: epoch", self.epoch, 1900.0, 2200.0)?;
        finite("shot: seeing", self.seeing, 0.2, 10.0)?;
        finite("shot: airmass", self.airmass, 1.0, 5.0)?;
        finite("shot: rotator", self.rotator, -720.0, 720.0)?;
        finite("shot: rotator_error", self.rotator_error, -360.0, 360.0)?;
        for error in self.pointing_error {
            finite("shot: pointing_error", error, -7200.0, 7200.0)?;
        }
        finite("shot: cloud", self.cloud, 0.0, 30.0)?;
        finite("shot: sky_brighter", self.sky_brighter, -3.0, 15.0)?;
        finite("shot: defocus", self.defocus, 0.0, 20.0)?;
        finite("shot: coma", self.coma, 0.0, 20.0)?;
        finite("shot: coma_angle", self.coma_angle, -360.0, 360.0)?;
        finite("shot: trail", self.trail, 0.0, 20.0)?;
        finite("shot: trail_angle", self.trail_angle, -360.0, 360.0)
    }
}
