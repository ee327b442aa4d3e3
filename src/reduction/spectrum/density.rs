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
    /// Electrons per second and nm, divided by the blaze where it is at least `least_blaze`; samples of less, or without a
    /// blaze, are flagged [`flags::UNLIT`]. The width of a sample is its own, so that neither dispersion nor binning is
    /// left in the result.
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
        for k in 0..n {
            let scale = 1.0 / (spectrum.width[k] * exposure * spectrum.blaze[k]);
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

    #[test]
    fn dispersion_binning_and_blaze_cancel() {
        let light = |n: usize, width: f64| {
            let wavelength: Vec<f64> = (0..n).map(|k| 500.0 + width * k as f64).collect();
            let blaze: Vec<f64> = wavelength.iter().map(|w| 0.2 + (w - 500.0) / 10.0).collect();
            let flux: Vec<f64> = blaze.iter().map(|b| 70.0 * b * width * 30.0).collect();
            OrderSpectrum {
                order: 3,
                place: wavelength.clone(),
                width: vec![width; n],
                variance: flux.clone(),
                boxcar: flux.clone(),
                boxcar_variance: flux.clone(),
                sky: flux.clone(),
                flags: vec![0; n],
                wavelength,
                flux,
                blaze,
            }
        };
        for (n, width) in [(200, 0.03), (100, 0.06)] {
            let density = OrderDensity::new(&light(n, width), "g", 30.0, 0.1);
            assert!(density.flux.iter().all(|f| (f - 70.0).abs() < 1e-9));
            let relative = density.variance[50].sqrt() / density.flux[50];
            assert!((relative - 1.0 / light(n, width).flux[50].sqrt()).abs() < 1e-12);
        }
        let density = OrderDensity::new(&light(200, 0.03), "g", 30.0, 0.5);
        assert!(density.flags[0] == flags::UNLIT && density.flux[0].is_nan());
        let [first, last] = density.range().unwrap();
        assert!((first - 502.995).abs() < 0.04 && (last - 505.985).abs() < 1e-9);
        let mut broken = light(200, 0.03);
        broken.flux[7] = f64::NAN;
        assert_eq!(OrderDensity::new(&broken, "g", 30.0, 0.1).flags[7], flags::NO_DATA);
    }
}
