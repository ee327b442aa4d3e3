//! What a slit lets through.

/// Part of a star's light that a slit of this width lets through when the star stands in its middle; FWHM and width in
/// arcsec. The profile across the slit is taken as Gaussian of the width that it has along the slit.
pub fn transmitted(fwhm: f64, width: f64) -> f64 {
    libm::erf(0.5 * width / (std::f64::consts::SQRT_2 * fwhm / 2.354_820_045))
}

#[cfg(test)]
mod tests {
    use super::transmitted;

    #[test]
    fn a_wide_slit_takes_all_and_one_of_the_seeing_three_quarters() {
        assert!((transmitted(0.8, 1.0) - 0.858_915).abs() < 1e-5);
        assert!((transmitted(1.0, 1.0) - 0.760_968).abs() < 1e-5);
        assert!(transmitted(0.8, 5.0) > 0.999_999);
    }
}
