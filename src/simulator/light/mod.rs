//! Light before it enters the spectrograph: what lamps, stars and the sky send, and what the air does to it.
//!
//! Everything here is a function of the wavelength (nm, air). What never lives here: orders, slits and pixels (that is
//! `optics`), and electrons (that is `detector`).

use std::sync::Arc;

/// A density over wavelength: given wavelengths in nm (air), photons per second and nm at each.
pub type Continuum = Arc<dyn Fn(&[f64]) -> Vec<f64> + Send + Sync>;

/// The light of one source, as it would fall through the telescope's aperture onto the slit plane.
///
/// A point source is in photons per second (and nm); a surface (sky, lamps, nebulae) in photons per second (and nm) and
/// square arcsecond.
#[derive(Clone)]
pub struct Light {
    /// The smooth part, with absorption lines in it.
    pub continuum: Continuum,
    /// Emission lines that no spectrograph resolves, sorted by wavelength.
    pub lines: Vec<Line>,
}

/// An unresolved emission line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// nm, air.
    pub wavelength: f64,
    /// Photons per second (and square arcsecond).
    pub photons: f64,
}
