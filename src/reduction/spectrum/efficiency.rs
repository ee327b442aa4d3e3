//! What part of a star's photons above the atmosphere becomes electrons.

use super::extinction;
use super::order::OrderSpectrum;
use super::standards::Standard;
use crate::numerics::robust::median_f64;

/// Collecting area of the telescope, cm2.
const AREA: f64 = 89_000.0;
/// Planck's constant times the speed of light, erg nm.
const HC: f64 = 1.986_445_857e-9;
/// Angstroms in a nm.
const ANGSTROMS: f64 = 10.0;
/// Samples that make one point.
const BLOCK: usize = 8;

/// Efficiency of telescope and instrument in one order, without the air: wavelength (nm) and electrons per photon, the median
/// of every eight good samples. Bands of the air are still in it.
pub fn efficiency(spectrum: &OrderSpectrum, star: &Standard, exptime: f64, airmass: f64, fwhm: f64) -> Vec<(f64, f64)> {
    let sample = |k: usize| -> Option<f64> {
        let wavelength = *spectrum.wavelength.get(k)?;
        let photons = star.flux(wavelength, fwhm, 0.0) * wavelength / HC * AREA * ANGSTROMS;
        let air = 10f64.powf(-0.4 * extinction::magnitudes(wavelength) * airmass);
        let value = spectrum.flux[k] / (spectrum.width[k] * exptime) / (photons * air);
        (spectrum.flags.get(k) == Some(&0) && value.is_finite()).then_some(value)
    };
    (0..spectrum.len())
        .step_by(BLOCK)
        .filter_map(|start| {
            let mut values: Vec<f64> = (start..start + BLOCK).filter_map(sample).collect();
            let middle = (start + BLOCK / 2).min(spectrum.len() - 1);
            Some((*spectrum.wavelength.get(middle)?, median_f64(&mut values)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reduction::spectrum::standards::find;

    #[test]
    fn a_tenth_of_the_photons_is_an_efficiency_of_a_tenth() {
        let star = find(None, 60_000.0, &["GD71"]).unwrap();
        let wavelength: Vec<f64> = (0..400).map(|k| 600.0 + 0.04 * f64::from(k)).collect();
        // 0.1 electrons per photon, 60 s, airmass 1.2; a photon of 600 nm has 3.31e-12 erg
        let light = |w: f64| {
            let energy = 6.626e-27 * 2.998e10 / (w * 1e-7);
            let per_nm = star.flux(w, 60.0, 0.0) * 10.0 / energy * 89_000.0;
            0.1 * per_nm * 0.04 * 60.0 * 10f64.powf(-0.4 * extinction::magnitudes(w) * 1.2)
        };
        let mut spectrum = OrderSpectrum {
            flux: wavelength.iter().map(|w| light(*w)).collect(),
            width: vec![0.04; 400],
            flags: vec![0; 400],
            wavelength,
            ..OrderSpectrum::default()
        };
        spectrum.flux[100] = 1e9;
        spectrum.flags[100] = 16;
        let found = efficiency(&spectrum, star, 60.0, 1.2, 60.0);
        assert_eq!(found.len(), 50);
        assert!(found.iter().all(|(_, e)| (e / 0.1 - 1.0).abs() < 1e-3), "{:?}", found[12]);
    }
}
