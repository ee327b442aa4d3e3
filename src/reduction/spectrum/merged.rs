//! A spectrum of one source on one increasing grid: what merging makes of orders, and of arms.

use super::covariance::BandedCovariance;

/// What the flux of a spectrum is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FluxUnit {
    /// Electrons per second and nm, divided by nothing but the relative light of the lamp: not calibrated.
    ElectronsPerSecondNm,
    /// Flux density above the atmosphere, erg/s/cm2/Angstrom.
    FluxDensity,
}

impl FluxUnit {
    /// The unit as FITS writes it.
    pub fn fits(self) -> &'static str {
        match self {
            FluxUnit::ElectronsPerSecondNm => "electron s-1 nm-1",
            FluxUnit::FluxDensity => "erg s-1 cm-2 Angstrom-1",
        }
    }

    /// Inverse of [`FluxUnit::fits`].
    pub fn parse(text: &str) -> Option<FluxUnit> {
        [FluxUnit::ElectronsPerSecondNm, FluxUnit::FluxDensity].into_iter().find(|unit| unit.fits() == text.trim())
    }
}

/// How two neighbouring orders, or two arms, agree where both see the light.
#[derive(Clone, Debug, PartialEq)]
pub struct Join {
    /// The two: orders by their names (`u`, `14`), arms by theirs (`VIS`); the bluer first.
    pub names: [String; 2],
    /// Wavelengths that both cover, nm.
    pub range: [f64; 2],
    /// Flux of the redder over flux of the bluer, and its standard error; `None` where nothing could be compared.
    pub ratio: Option<[f64; 2]>,
    /// Root mean square of the differences of the two over their errors, after the ratio; `None` as above.
    pub scatter: Option<f64>,
    /// Factor that the redder was divided by; 1 when the scale was left alone.
    pub applied: f64,
    /// Samples in which the two contradict each other: the more certain one was kept.
    pub contradictions: usize,
}

/// A spectrum on an increasing grid. All columns have the length of `wavelength`.
///
/// Samples that no order covers have NaN flux and error and carry [`crate::reduction::flags::NO_DATA`]. Resampling makes
/// neighbours correlated: `error` is that of one sample, a sum over many has errors larger by `inflation`.
#[derive(Clone, Debug, PartialEq)]
pub struct MergedSpectrum {
    /// Middle of a bin in air, nm.
    pub wavelength: Vec<f64>,
    /// Edges of the bins, one more than bins, nm.
    pub edges: Vec<f64>,
    /// What flux, errors and sky are counted in.
    pub unit: FluxUnit,
    /// Flux density averaged over the bin.
    pub flux: Vec<f64>,
    /// Statistical standard error of `flux`.
    pub error: Vec<f64>,
    /// Standard error of `flux` from the response and the extinction: common to neighbours, not in `error`. Zero for
    /// what is not calibrated.
    pub systematic: Vec<f64>,
    /// Quality bits, see [`crate::reduction::flags`]; zero is good.
    pub quality: Vec<i32>,
    /// Sky in the aperture of the boxcar, in the unit of the flux; NaN where it is not known.
    pub sky: Vec<f64>,
    /// Exposure time of the sample, s: that of all spectra that went in.
    pub exposure: Vec<f64>,
    /// Covariance of neighbours; its variances are `error` squared, zero where there is no value.
    pub covariance: BandedCovariance,
    /// Error of a sum over many neighbours over the one that `error` alone would give; the median over good samples.
    pub inflation: f64,
    /// How its parts agree, blue to red.
    pub joins: Vec<Join>,
}

impl MergedSpectrum {
    /// Number of samples.
    pub fn len(&self) -> usize {
        self.wavelength.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.wavelength.is_empty()
    }

    /// Whether this sample has a value and nothing speaks against it.
    pub fn is_good(&self, sample: usize) -> bool {
        let positive = self.error.get(sample).is_some_and(|error| *error > 0.0);
        positive && self.quality.get(sample) == Some(&0) && self.flux.get(sample).is_some_and(|flux| flux.is_finite())
    }

    /// Median signal to noise per sample over the good ones; `None` without any.
    pub fn signal_to_noise(&self) -> Option<f64> {
        let good = (0..self.len()).filter(|k| self.is_good(*k));
        let mut ratios: Vec<f64> = good.map(|k| self.flux[k] / self.error[k]).collect();
        crate::numerics::robust::median_f64(&mut ratios)
    }
}
