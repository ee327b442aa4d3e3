//! Differential refraction of the atmosphere: how far the image of a star moves along the slit from one wavelength to
//! another.
//!
//! The NIR arm has no corrector, so a trace leans by what the air does (half an arcsecond between 0.8 and 2.0 um at
//! airmass 1.5). The shape is known from the wavelength alone; how much of it falls along the slit depends on an angle that
//! headers give with doubtful signs, so that [`super::trace`] takes the amount from here as a prior and fits it.

/// Arcseconds in a radian.
const RADIAN: f64 = 206_264.806;
/// Millimetres of mercury in a hectopascal.
const MMHG: f64 = 0.750_062;

/// The air above the telescope.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Air {
    /// Mean airmass of the exposure, at least 1.
    pub airmass: f64,
    /// Pressure at the telescope, hPa.
    pub pressure: f64,
    /// Temperature at the telescope, degrees Celsius.
    pub temperature: f64,
    /// Partial pressure of water vapour, hPa.
    pub vapour: f64,
}

impl Air {
    /// La Silla in an ordinary night at this airmass; an airmass that cannot be counts as 1.
    pub fn la_silla(airmass: f64) -> Air {
        let airmass = if airmass.is_finite() { airmass.clamp(1.0, 5.0) } else { 1.0 };
        Air { airmass, pressure: 770.0, temperature: 12.0, vapour: 8.0 }
    }

    /// Angle by which light of `wavelength` (nm) is lifted towards the zenith more than light of `reference`, arcsec
    /// (Filippenko 1982, PASP 94, 715, equation 4, for a plane-parallel atmosphere).
    pub fn lift(&self, wavelength: f64, reference: f64) -> f64 {
        let tangent = (self.airmass * self.airmass - 1.0).max(0.0).sqrt();
        RADIAN * (self.refractivity(wavelength) - self.refractivity(reference)) * tangent
    }

    /// Refractive index of the air less 1 (Filippenko 1982, equations 1 to 3).
    fn refractivity(&self, wavelength: f64) -> f64 {
        let square = 1.0e6 / (wavelength * wavelength);
        let (p, t) = (self.pressure * MMHG, self.temperature);
        let standard = 64.328 + 29_498.1 / (146.0 - square) + 255.4 / (41.0 - square);
        let density = p * (1.0 + (1.049 - 0.0157 * t) * 1.0e-6 * p) / (720.883 * (1.0 + 0.003_661 * t));
        let water = self.vapour * MMHG * (0.0624 - 0.000_680 * square) / (1.0 + 0.003_661 * t);
        1.0e-6 * (standard * density - water)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_published_table() {
        // Filippenko 1982, table 1: 600 mm Hg, 7 C, 8 mm Hg of vapour, against 500 nm
        let air = |airmass| Air { airmass, pressure: 600.0 / MMHG, temperature: 7.0, vapour: 8.0 / MMHG };
        for (airmass, wavelength, expected) in
            [(1.5, 300.0, 2.67), (1.5, 400.0, 0.71), (1.5, 600.0, -0.36), (1.5, 1000.0, -0.85), (2.0, 400.0, 1.10)]
        {
            let lift = air(airmass).lift(wavelength, 500.0);
            assert!((lift - expected).abs() < 0.015, "{airmass} {wavelength}: {lift}");
        }
        assert_eq!(air(1.0).lift(400.0, 500.0), 0.0);
        assert_eq!(Air::la_silla(f64::NAN).airmass, 1.0);
    }
}
