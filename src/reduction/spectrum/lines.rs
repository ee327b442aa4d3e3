//! Wavelengths that say little about the instrument: bands of the air, and cores of the lines of standards.

use std::sync::LazyLock;

use super::tabulated::rows;

/// A molecular band of the atmosphere.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Band {
    /// First and last wavelength in air, nm.
    pub range: [f64; 2],
    /// Mean absorption at airmass 1.
    pub depth: f64,
    /// Whether it is one of water.
    pub water: bool,
}

static BANDS: LazyLock<Vec<Band>> = LazyLock::new(|| {
    let band = |row: Vec<&str>| -> Option<Band> {
        let numbers: Vec<f64> = row.iter().skip(1).filter_map(|number| number.parse().ok()).collect();
        let [from, to, depth] = numbers[..] else { return None };
        Some(Band { range: [from, to], depth, water: row.first() == Some(&"H2O") })
    };
    rows(include_str!("../../../calibrations/telluric_bands.csv")).filter_map(band).collect()
});

/// Bands of the atmosphere.
pub fn bands() -> &'static [Band] {
    &BANDS
}

/// Whether this wavelength (nm) lies within `margin` nm of a band that absorbs at least `depth`.
pub fn in_band(wavelength: f64, depth: f64, margin: f64) -> bool {
    let covers = |band: &Band| wavelength > band.range[0] - margin && wavelength < band.range[1] + margin;
    BANDS.iter().any(|band| band.depth >= depth && covers(band))
}

/// A band of water that absorbs more than this has wings beyond its published limits: these fractions of its first and
/// last wavelength, towards the blue and the red (the 1.4 and 1.9 micron bands absorb from 1300 to 1500 and from 1740 to 1980 nm).
const WINGS: (f64, [f64; 2]) = (0.5, [0.03, 0.012]);

/// Whether this wavelength (nm) lies where the air absorbs so much, or so unevenly, that it says nothing of the
/// instrument: in a band of at least `depth`, within `margin` nm of one, or in the wings of one of water.
pub fn is_absorbed(wavelength: f64, depth: f64, margin: f64) -> bool {
    let (deep, [blue, red]) = WINGS;
    let winged = |band: &Band| {
        let [from, to] = band.range;
        band.water && band.depth >= deep && wavelength > from * (1.0 - blue) && wavelength < to * (1.0 + red)
    };
    in_band(wavelength, depth, margin) || BANDS.iter().any(winged)
}

/// Lines of white dwarfs and hot subdwarfs, nm in air: hydrogen (Balmer, Paschen, Brackett), helium neutral and ionised.
const STELLAR: [f64; 36] = [
    656.28, 486.13, 434.05, 410.17, 397.01, 388.91, 383.54, 379.79, 1875.10, 1281.81, 1093.81, 1004.94, 954.60, 922.90,
    901.49, 886.28, 875.05, 866.50, 859.84, 854.54, 1944.56, 1817.41, 1736.21, 1680.65, 1640.72, 1611.37, 402.62,
    447.15, 471.31, 492.19, 501.57, 587.56, 667.82, 706.52, 1083.03, 468.57,
];

/// Whether this wavelength (nm) lies within `margin` nm of the core of a line that standards have.
pub fn in_stellar_core(wavelength: f64, margin: f64) -> bool {
    STELLAR.iter().any(|line| (wavelength - line).abs() < margin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_and_cores_are_found() {
        assert!(in_band(762.0, 0.5, 0.0) && !in_band(762.0, 0.9, 0.0));
        assert!(!in_band(758.0, 0.5, 0.0) && in_band(758.0, 0.5, 2.0));
        assert!(is_absorbed(1745.0, 0.03, 1.0) && is_absorbed(1310.0, 0.03, 1.0) && !is_absorbed(1720.0, 0.03, 1.0));
        // oxygen has no wings
        assert!(!is_absorbed(756.0, 0.03, 1.5) && is_absorbed(758.5, 0.03, 1.5));
        assert!(in_stellar_core(656.0, 1.0) && !in_stellar_core(650.0, 1.0));
        assert!(bands().len() > 10 && bands().iter().all(|band| band.range[0] < band.range[1] && band.depth < 1.0));
    }
}
