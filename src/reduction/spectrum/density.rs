//! Orders as densities: light per second and nm, whatever the dispersion and the binning of the detector.

use super::order::OrderSpectrum;
use super::resample::intervals;
use crate::reduction::flags;

/// One order as a density on the detector's own sampling. All columns have one length; wavelengths increase.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OrderDensity {
    /// Order.
    pub order: u8,
    /// Its name: a letter in VIS, the number in NIR.
    pub name: String,
    /// Wavelength in air at the middle of a sample, nm.
    pub wavelength: Vec<f64>,
    /// Where a sample begins and ends, nm.
    pub ends: Vec<[f64; 2]>,
    /// Light: electrons per second and nm over the blaze, or flux density.
    pub flux: Vec<f64>,
    /// Variance of `flux`; samples are independent.
    pub variance: Vec<f64>,
    /// Standard error of the calibration, in the unit of `flux`, common to neighbours; zero before calibration.
    pub systematic: Vec<f64>,
    /// Sky in the aperture of the boxcar, in the unit of `flux`.
    pub sky: Vec<f64>,
    /// Quality bits; zero is good.
    pub flags: Vec<i32>,
    /// Exposure time, s.
    pub exposure: f64,
}

impl OrderDensity {
    /// Electrons per second and nm, divided by the light of the lamp per nm (1 where both are largest) where the blaze is
    /// at least `least_blaze`; samples of less, or without a blaze, are flagged [`flags::UNLIT`]. The width of a sample is its
    /// own, for the star and for the lamp, so that neither dispersion nor binning is left in the result.
    pub fn new(spectrum: &OrderSpectrum, name: &str, exposure: f64, least_blaze: f64) -> OrderDensity {
        let n = spectrum.len();
        let mut density = OrderDensity {
            order: spectrum.order,
            name: name.to_string(),
            wavelength: spectrum.wavelength.clone(),
            ends: intervals(&spectrum.wavelength, &spectrum.width),
            flux: vec![f64::NAN; n],
            variance: vec![f64::NAN; n],
            systematic: vec![0.0; n],
            sky: vec![f64::NAN; n],
            flags: spectrum.flags.clone(),
            exposure,
        };
        density.flags.resize(n, flags::NO_DATA);
        let lamp = |k: usize| spectrum.blaze[k] / spectrum.width[k];
        let brightest = (0..n).map(lamp).filter(|light| light.is_finite()).fold(0.0, f64::max);
        for k in 0..n {
            let scale = brightest / (exposure * spectrum.width[k] * lamp(k));
            if spectrum.blaze[k] >= least_blaze && scale.is_finite() && scale > 0.0 {
                density.flux[k] = spectrum.flux[k] * scale;
                density.variance[k] = spectrum.variance[k] * scale * scale;
                density.sky[k] = spectrum.sky[k] * scale;
            } else {
                density.flags[k] |= flags::UNLIT;
            }
            if density.flags[k] == 0 && !(density.flux[k].is_finite() && density.variance[k] > 0.0) {
                density.flags[k] = flags::NO_DATA;
            }
        }
        density
    }

    /// Which samples can be used.
    pub fn good(&self) -> Vec<bool> {
        self.flags.iter().map(|bits| *bits == 0).collect()
    }

    /// First and last wavelength of the good samples, their outer ends, nm. `None` without any.
    pub fn range(&self) -> Option<[f64; 2]> {
        let first = self.flags.iter().position(|bits| *bits == 0)?;
        let last = self.flags.iter().rposition(|bits| *bits == 0)?;
        Some([self.ends.get(first)?[0], self.ends.get(last)?[1]])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Light of 70 electrons per second and nm in 30 s, where the lamp is as bright as at its maximum.
    fn light(n: usize, bin: f64) -> OrderSpectrum {
        let (mut wavelength, mut width, mut edge) = (Vec::new(), Vec::new(), 500.0);
        for _ in 0..n {
            // a bin sums pixels, whose widths grow
            let step = bin * (0.03 + 2e-3 * (edge - 500.0));
            wavelength.push(edge + 0.5 * step);
            width.push(step);
            edge += step;
        }
        let lamp: Vec<f64> = wavelength.iter().map(|w| 1.0 - ((w - 504.0) / 5.0).powi(2)).collect();
        let blaze: Vec<f64> = lamp.iter().zip(&width).map(|(l, w)| l * w / (0.05 * bin)).collect();
        let flux: Vec<f64> = lamp.iter().zip(&width).map(|(l, w)| 70.0 * l * w * 30.0).collect();
        OrderSpectrum {
            order: 3,
            place: wavelength.clone(),
            variance: flux.clone(),
            boxcar: flux.clone(),
            boxcar_variance: flux.clone(),
            sky: flux.clone(),
            flags: vec![0; n],
            wavelength,
            width,
            flux,
            blaze,
            blaze_error: vec![],
        }
    }

    #[test]
    fn dispersion_binning_and_blaze_cancel() {
        for (n, bin) in [(200, 1.0), (100, 2.0)] {
            let spectrum = light(n, bin);
            let density = OrderDensity::new(&spectrum, "g", 30.0, 0.02);
            let good: Vec<f64> = (0..n).filter(|k| density.flags[*k] == 0).map(|k| density.flux[k]).collect();
            assert!(good.len() > n / 2 && good.iter().all(|f| (f / 70.0 - 1.0).abs() < 1e-3));
            let relative = density.variance[n / 2].sqrt() / density.flux[n / 2];
            assert!((relative - 1.0 / spectrum.flux[n / 2].sqrt()).abs() < 1e-12);
        }
    }

    #[test]
    fn samples_without_lamp_or_value_are_flagged() {
        let density = OrderDensity::new(&light(200, 1.0), "g", 30.0, 0.5);
        assert!(density.flags[0] == flags::UNLIT && density.flux[0].is_nan() && density.flags[90] == 0);
        let [first, last] = density.range().unwrap();
        assert!(first > 500.2 && last > first && last < 508.0);
        let mut broken = light(200, 1.0);
        broken.flux[90] = f64::NAN;
        broken.blaze[91] = f64::NAN;
        let density = OrderDensity::new(&broken, "g", 30.0, 0.02);
        assert_eq!((density.flags[90], density.flags[91]), (flags::NO_DATA, flags::UNLIT));
        assert_eq!(OrderDensity::new(&OrderSpectrum::default(), "g", 30.0, 0.02).range(), None);
    }
}
