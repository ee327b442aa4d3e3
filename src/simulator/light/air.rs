//! The air above the telescope: extinction, seeing and refraction. Molecular bands are in `telluric`.

use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};

use super::table::{Beyond, Table, pairs};
use super::telluric::Telluric;
use super::{Continuum, LightError};
use crate::instrument::Arm;
use crate::simulator::math;

/// State of the air during an exposure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Air {
    /// Airmass, 1 to 10.
    pub airmass: f64,
    /// Precipitable water at the zenith, mm.
    pub water: f64,
    /// Pressure at the telescope, hPa.
    pub pressure: f64,
    /// Temperature at the telescope, degrees Celsius.
    pub temperature: f64,
    /// Relative humidity at the telescope, 0 to 1.
    pub humidity: f64,
    /// FWHM of the seeing at 500 nm and the zenith, arcsec.
    pub seeing: f64,
    /// Share of the light that clouds let through, the same at all wavelengths.
    pub clouds: f64,
    /// Whether the corrector in front of the VIS arm follows the airmass.
    pub adc: bool,
    /// Wavelength at which the guide camera holds the star on the slit, nm.
    pub guide: f64,
}

impl Default for Air {
    /// An ordinary night on La Silla.
    fn default() -> Air {
        Air {
            airmass: 1.1,
            water: 3.0,
            pressure: 770.0,
            temperature: 11.0,
            humidity: 0.3,
            seeing: 0.9,
            clouds: 1.0,
            adc: true,
            guide: 620.0,
        }
    }
}

/// Where refraction puts the image at some wavelength against the image at the guide wavelength, arcsec.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Displacement {
    /// Along the slit, positive towards its position angle.
    pub along: f64,
    /// Across the slit, positive to the left of that direction as seen on the sky with north up and east left.
    pub across: f64,
}

/// Extinction, mag per airmass: the table up to 900 nm; beyond it Rayleigh's law, with the fourth power of the wavelength.
/// At 900 nm the table's 0.01 mag is what 770 hPa of pure air scatter; dust, which would add as much again, and
/// molecular bands are not in it.
static EXTINCTION: LazyLock<Table> =
    LazyLock::new(|| Table::new(pairs(include_str!("../../../calibrations/extinction_lasilla.csv")), Beyond::Hold));
const TABLE_END: f64 = 900.0;

/// Magnitudes per airmass at a wavelength.
pub fn extinction(wavelength: f64) -> f64 {
    let ratio = (TABLE_END / wavelength).min(1.0);
    EXTINCTION.at(wavelength) * ratio * ratio * ratio * ratio
}

/// What the corrector leaves between the ends of the VIS arm, arcsec: at airmass 1.5, and at most.
const ADC_RESIDUAL: (f64, f64) = (0.15, 0.20);
/// Ends of the corrected range, nm.
const ADC_RANGE: (f64, f64) = (350.0, 850.0);

/// Arcseconds in a radian.
const RADIAN: f64 = 206_264.806;

impl Air {
    /// Refuses figures that cannot be.
    pub fn check(&self) -> Result<(), LightError> {
        let figures = [
            ("airmass", self.airmass, 1.0..=10.0, "expected 1 to 10"),
            ("water", self.water, 0.0..=50.0, "expected 0 to 50 mm"),
            ("pressure", self.pressure, 500.0..=1100.0, "expected 500 to 1100 hPa"),
            ("temperature", self.temperature, -40.0..=50.0, "expected -40 to 50 degrees Celsius"),
            ("humidity", self.humidity, 0.0..=1.0, "expected 0 to 1"),
            ("seeing", self.seeing, 0.05..=10.0, "expected 0.05 to 10 arcsec"),
            ("clouds", self.clouds, 0.0..=1.0, "expected a transmission from 0 to 1"),
            ("guide", self.guide, 300.0..=2500.0, "expected 300 to 2500 nm"),
        ];
        match figures.into_iter().find(|(_, found, range, _)| !range.contains(found)) {
            Some((key, found, _, reason)) => Err(LightError::Value { key, found, reason }),
            None => Ok(()),
        }
    }

    /// FWHM of the seeing at a wavelength and this airmass, arcsec.
    pub fn seeing_at(&self, wavelength: f64) -> f64 {
        self.seeing * math::pow(self.airmass, 0.6) * math::pow(wavelength / 500.0, -0.2)
    }

    /// The share of the light that reaches the telescope: extinction, molecules and clouds. Made once for an exposure.
    pub fn transmission(&self, telluric: &Telluric) -> Continuum {
        let smooth = Table::of(300.0, 0.5, 3701, Beyond::Hold, |w| {
            self.clouds * math::exp10(-0.4 * self.airmass * extinction(w))
        });
        let molecules = telluric.transmission(self.airmass, self.water);
        Arc::new(move |wavelengths| {
            let mut shares = molecules(wavelengths);
            shares.iter_mut().zip(smooth.sample(wavelengths)).for_each(|(share, smooth)| *share *= smooth);
            shares
        })
    }

    /// Angle by which light of a wavelength is lifted towards the zenith more than light of the guide wavelength, arcsec,
    /// without corrector.
    pub fn refraction(&self, wavelength: f64) -> f64 {
        let tangent = (self.airmass * self.airmass - 1.0).max(0.0).sqrt();
        RADIAN * (self.refractivity(wavelength) - self.refractivity(self.guide)) * tangent
    }

    /// Where the images of a star lie in an arm. The parallactic angle and the position angle of the slit are in degrees,
    /// north through east. VIS sits behind the corrector; NIR gets the full refraction.
    pub fn displacements(
        &self,
        arm: Arm,
        wavelengths: &[f64],
        parallactic_angle: f64,
        slit_angle: f64,
    ) -> Vec<Displacement> {
        let (sine, cosine) = math::sin_cos((parallactic_angle - slit_angle).to_radians());
        let lift = |w: f64| {
            if arm == Arm::Vis && self.adc { self.residual(w) - self.residual(self.guide) } else { self.refraction(w) }
        };
        wavelengths
            .iter()
            .map(|&w| {
                let lift = lift(w);
                Displacement { along: lift * cosine, across: lift * sine }
            })
            .collect()
    }

    /// What the corrector leaves: two prisms can remove the mean and the slope over the refractivity; a cubic wave remains.
    fn residual(&self, wavelength: f64) -> f64 {
        let (blue, red) = (self.refractivity(ADC_RANGE.0), self.refractivity(ADC_RANGE.1));
        let x = (2.0 * (self.refractivity(wavelength) - red) / (blue - red) - 1.0).clamp(-1.0, 1.0);
        let tangent = (self.airmass * self.airmass - 1.0).max(0.0).sqrt();
        // The tangent of the zenith distance at airmass 1.5 is 1.118.
        let amplitude = (ADC_RESIDUAL.0 * tangent / 1.25_f64.sqrt()).min(ADC_RESIDUAL.1);
        0.5 * amplitude * (2.5 * x * x * x - 1.5 * x)
    }

    /// Refractive index of the air at the telescope, less 1: Edlén 1953 with the corrections for pressure, temperature and
    /// water vapour of Filippenko 1982.
    fn refractivity(&self, wavelength: f64) -> f64 {
        const MMHG: f64 = 0.750_062;
        let square = 1.0e6 / (wavelength * wavelength);
        let (p, t) = (self.pressure * MMHG, self.temperature);
        // Saturation after Magnus, hPa.
        let vapour = self.humidity * 6.112 * math::exp(17.62 * t / (243.12 + t)) * MMHG;
        let sea_level = 64.328 + 29_498.1 / (146.0 - square) + 255.4 / (41.0 - square);
        let density = p * (1.0 + (1.049 - 0.0157 * t) * 1.0e-6 * p) / (720.883 * (1.0 + 0.003_661 * t));
        let water = vapour * (0.0624 - 0.000_680 * square) / (1.0 + 0.003_661 * t);
        1.0e-6 * (sea_level * density - water)
    }
}

/// Refractive index of standard air (15 degrees, 1013.25 hPa, dry) at a vacuum wavelength in nm: Peck and Reeder 1972.
/// Vacuum wavelengths divided by it are the air wavelengths of all tables.
pub fn index_standard(vacuum: f64) -> f64 {
    let square = 1.0e6 / (vacuum * vacuum);
    1.0 + 1.0e-8 * (8_060.51 + 2_480_990.0 / (132.274 - square) + 17_455.7 / (39.329_57 - square))
}
