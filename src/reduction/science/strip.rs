//! The pixels of one order, turned so that rows run through the dispersion.

use ndarray::Array2;

use crate::reduction::orders::image::Dispersion;

/// The pixels of one order in an exposure. Rows are steps along the dispersion (`b`), columns steps along the slit (`a`),
/// for both arms; the parts are those of [`super::exposure::Exposure`].
#[derive(Clone, Debug, PartialEq)]
pub struct Strip {
    /// Order.
    pub order: u8,
    /// Which way the detector disperses: tells how a strip lies on it.
    pub dispersion: Dispersion,
    /// Row and column of the strip's first pixel in the turned detector, binned pixels.
    pub first: (usize, usize),
    /// Wavelength in air at the pixel's centre, nm; NaN where the pixel does not belong to the order.
    pub wavelength: Array2<f64>,
    /// Slit position, arcsec; NaN as above.
    pub slit: Array2<f32>,
    /// Standard error of the wavelength, nm.
    pub wavelength_error: Array2<f32>,
    /// Light.
    pub value: Array2<f32>,
    /// Variance without light.
    pub floor: Array2<f32>,
    /// Response of the pixel.
    pub response: Array2<f32>,
    /// Relative variance of the response.
    pub flat: Array2<f32>,
    /// Quality bits; pixels outside the order carry [`crate::reduction::flags::NO_DATA`].
    pub flags: Array2<i32>,
}
