//! The spectrum of one source in one order, as it was extracted.

/// A spectrum on the detector's own sampling: nothing is resampled, so errors of neighbours are independent. All columns
/// have one length; wavelengths increase.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OrderSpectrum {
    /// Order.
    pub order: u8,
    /// Place along the dispersion, unbinned pixels of the trimmed detector.
    pub place: Vec<f64>,
    /// Wavelength in air at the middle of a sample, nm.
    pub wavelength: Vec<f64>,
    /// Width of a sample, nm.
    pub width: Vec<f64>,
    /// Light of the source in a sample, electrons (of a pixel of response 1), optimally extracted.
    pub flux: Vec<f64>,
    /// Variance of `flux`.
    pub variance: Vec<f64>,
    /// The same light summed over an aperture, corrected for what lies outside of it and on bad pixels.
    pub boxcar: Vec<f64>,
    /// Variance of `boxcar`.
    pub boxcar_variance: Vec<f64>,
    /// Light of the sky in the aperture of the boxcar, electrons.
    pub sky: Vec<f64>,
    /// Light of the flat-field lamp along the order relative to its maximum: the blaze with the lamp's colour; NaN where
    /// it is not known.
    pub blaze: Vec<f64>,
    /// Relative error of the blaze, common to neighbours: how well the light of the lamp could be told from a slow change of
    /// the pixels' response. `flux` has it too, and `variance` has not: in their ratio it cancels. Empty where it is not known.
    pub blaze_error: Vec<f64>,
    /// Quality bits of the sample, see [`crate::reduction::flags`]; zero is good.
    pub flags: Vec<i32>,
}

impl OrderSpectrum {
    /// Number of samples.
    pub fn len(&self) -> usize {
        self.wavelength.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.wavelength.is_empty()
    }
}
