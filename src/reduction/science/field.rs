//! The light of one order from which sources are extracted: what the sky leaves, and its noise.

use ndarray::Array2;

use super::sky::SkyModel;
use super::strip::Strip;

/// One order without its sky. All planes have the shape of the strip.
#[derive(Clone, Debug)]
pub struct Field<'a> {
    /// Where the pixels lie, their response and their flags.
    pub strip: &'a Strip,
    /// Light without the sky.
    pub light: Array2<f32>,
    /// Variance of a pixel if there were no source.
    pub variance: Array2<f32>,
    /// The sky that was taken off, or whose noise is in the light.
    pub sky: Array2<f32>,
    /// Variance of the sky's model, which the pixels of a row share; zero where the sky is a part of the extraction.
    pub shared: Array2<f32>,
    /// Pixels that take part.
    pub good: Array2<bool>,
}

impl<'a> Field<'a> {
    /// A strip less a model of its sky. Pixels that the strip flags, or without a positive variance, take no part.
    pub fn of(strip: &'a Strip, sky: &SkyModel) -> Field<'a> {
        let light = &strip.value - &sky.value;
        let variance = Array2::from_shape_fn(light.dim(), |at| strip.variance(at, f64::from(sky.value[at])) as f32);
        let good = Array2::from_shape_fn(light.dim(), |at| {
            strip.usable(at) && light[at].is_finite() && variance[at].is_finite() && variance[at] > 0.0
        });
        Field { strip, light, variance, sky: sky.value.clone(), shared: sky.variance.clone(), good }
    }

    /// Variance of a pixel that holds `light` of sources, when the light's own noise counts `shot` times.
    pub fn noise(&self, at: (usize, usize), light: f64, shot: f64) -> f64 {
        let response = f64::from(self.strip.response[at]).max(1e-3);
        let flat = f64::from(self.strip.flat[at]);
        f64::from(self.variance[at]) + shot * light.abs() / response + flat * light * light
    }
}
