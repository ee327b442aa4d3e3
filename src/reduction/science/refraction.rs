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
    fn air_shortens_waves_as_the_spectra_of_sodium_and_helium_show() {
        // vacuum and air wavelengths of the atomic spectra database of NIST: Na D2, Na D1, He I
        let standard = Air { airmass: 1.0, pressure: 760.0 / MMHG, temperature: 15.0, vapour: 0.0 };
        for (vacuum, air) in [(589.158_33, 588.995_10), (589.755_81, 589.592_42), (1_083.321_65, 1_083.025_01)] {
            let found = vacuum / (1.0 + standard.refractivity(vacuum));
            assert!((found - air).abs() < 1e-4, "{found} {air}");
        }
    }

    #[test]
    fn refraction_follows_the_density_of_the_air_and_the_tangent_of_the_zenith_distance() {
        let air = |airmass, pressure| Air { airmass, pressure: pressure / MMHG, temperature: 7.0, vapour: 0.0 };
        let standard = Air { airmass: 1.0, pressure: 760.0 / MMHG, temperature: 15.0, vapour: 0.0 };
        // an ideal gas of 600 mm Hg and 7 C
        let ideal = 600.0 / 760.0 * (273.15 + 15.0) / (273.15 + 7.0);
        let ratio = air(1.0, 600.0).refractivity(500.0) / standard.refractivity(500.0);
        assert!((ratio / ideal - 1.0).abs() < 1e-3, "{ratio} {ideal}");
        let [low, high] = [1.5, 2.0].map(|airmass| air(airmass, 600.0).lift(400.0, 500.0));
        assert!(low > 0.0 && (high / low - (3.0f64 / 1.25).sqrt()).abs() < 1e-9, "{low} {high}");
        assert!(air(1.5, 600.0).lift(600.0, 500.0) < 0.0);
        assert_eq!(air(1.0, 600.0).lift(400.0, 500.0), 0.0);
        assert_eq!(Air::la_silla(f64::NAN).airmass, 1.0);
    }
}
