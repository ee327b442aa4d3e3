//! A calibrated exposure, and what its noise is.

use ndarray::Array2;

/// Light of one exposure on the trimmed science area: bias and dark taken off, divided by the response of the pixels.
/// All planes are rows x columns of the binned detector.
///
/// The variance is kept in its parts, so that the light's own noise can be taken from a model instead of the noisy pixel:
/// a pixel that holds `m` of light has the variance `floor + m / response + flat * m^2`.
#[derive(Clone, Debug, PartialEq)]
pub struct Exposure {
    /// Light, electrons divided by the response. Negative values are kept.
    pub value: Array2<f32>,
    /// Variance that does not depend on the light: read noise, dark current and its master, master bias; in units of
    /// `value` squared.
    pub floor: Array2<f32>,
    /// Response of the pixel that `value` was divided by; 1 where the flat says nothing.
    pub response: Array2<f32>,
    /// Relative variance of the response.
    pub flat: Array2<f32>,
    /// Quality bits, see [`crate::reduction::flags`].
    pub flags: Array2<i32>,
    /// Unbinned pixels per row and per column of these planes.
    pub binning: [usize; 2],
    /// Exposure time, s.
    pub exptime: f64,
}

impl Exposure {
    /// Variance of the pixel at this row and column if it holds the light `model`. Negative light has no noise of its own.
    pub fn variance(&self, at: (usize, usize), model: f64) -> f64 {
        let light = model.max(0.0);
        f64::from(self.floor[at]) + light / f64::from(self.response[at]) + f64::from(self.flat[at]) * light * light
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_noise_of_a_pixel_follows_the_model_and_not_its_value() {
        let plane = |value: f32| Array2::from_elem((1, 1), value);
        let exposure = Exposure {
            value: plane(-40.0),
            floor: plane(9.0),
            response: plane(0.5),
            flat: plane(1e-4),
            flags: Array2::zeros((1, 1)),
            binning: [1, 1],
            exptime: 60.0,
        };
        assert!((exposure.variance((0, 0), 100.0) - (9.0 + 200.0 + 1.0)).abs() < 1e-4);
        assert_eq!(exposure.variance((0, 0), -100.0), 9.0);
    }
}
