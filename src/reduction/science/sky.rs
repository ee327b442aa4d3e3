//! The light of the sky along an order: a spline in wavelength, a polynomial along the slit.

use ndarray::Array2;

/// What the sky puts into every pixel of a strip.
///
/// `variance` is that of the model, which neighbours along an iso-wavelength line share completely: the error of a sum
/// over the slit with weights `w` is `(sum w)^2 * variance`, not `sum w^2 * variance`.
#[derive(Clone, Debug, PartialEq)]
pub struct SkyModel {
    /// Light, as [`super::strip::Strip::value`]; zero outside the order.
    pub value: Array2<f32>,
    /// Variance of the model.
    pub variance: Array2<f32>,
}
