//! Electrons to flux: a response applied, or refused with the reason.

use super::density::OrderDensity;
use super::extinction;
use super::response::{MAGNITUDES, Response};
use crate::reduction::flags;

/// Why a response must not be used for a spectrum.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// It belongs to the other arm.
    #[error("the response is one of {found}, the spectrum one of {expected}")]
    Arm {
        /// Arm of the response.
        found: String,
        /// Arm of the spectrum.
        expected: String,
    },
    /// The slit through which its star was seen took light away.
    #[error("the response was measured through {found:?}; only one through {expected} has all of its star's light")]
    Slit {
        /// Slit of the response.
        found: String,
        /// Slit that is needed.
        expected: String,
    },
    /// Without the airmass the air above the telescope cannot be taken off.
    #[error("the airmass of the {of} is not known; add ESO TEL AIRM START and END to its header")]
    Airmass {
        /// `response` or `spectrum`.
        of: &'static str,
    },
}

/// Whether a response may be used for a spectrum of this arm and airmass. Binning and slit of the spectrum do not matter:
/// a density knows no binning, and what the science slit takes away is reported, not hidden in the response.
pub fn check(response: &Response, arm: &str, slit: &str, airmass: Option<f64>) -> Result<f64, Refusal> {
    let origin = &response.origin;
    if origin.arm != arm {
        return Err(Refusal::Arm { found: origin.arm.clone(), expected: arm.to_string() });
    }
    if origin.slit != slit {
        return Err(Refusal::Slit { found: origin.slit.clone(), expected: slit.to_string() });
    }
    if !origin.airmass.is_finite() {
        return Err(Refusal::Airmass { of: "response" });
    }
    airmass.filter(|airmass| airmass.is_finite()).ok_or(Refusal::Airmass { of: "spectrum" })
}

/// What a sample of an order is multiplied by to become a flux density above the atmosphere, and the relative error of
/// that. `None` where the response does not reach.
pub fn factor(response: &Response, order: u8, wavelength: f64, airmass: f64) -> Option<[f64; 2]> {
    let [magnitude, error] = response.order(order)?.at(wavelength)?;
    // the star was seen through the same air: only the difference of airmass leaves an error
    let air = (airmass - response.origin.airmass) * extinction::error(wavelength);
    let factor = 10f64.powf(0.4 * (extinction::magnitudes(wavelength) * airmass - magnitude));
    Some([factor, error.hypot(air) / MAGNITUDES])
}

/// An order in electrons per second and nm as flux density above the atmosphere. Samples that the response does not reach are
/// flagged [`flags::UNCALIBRATED`] and have no value.
pub fn calibrate(order: &OrderDensity, response: &Response, airmass: f64) -> OrderDensity {
    let mut calibrated = order.clone();
    for k in 0..order.wavelength.len() {
        match factor(response, order.order, order.wavelength[k], airmass) {
            Some([factor, error]) => {
                calibrated.flux[k] *= factor;
                calibrated.variance[k] *= factor * factor;
                calibrated.sky[k] *= factor;
                calibrated.systematic[k] = (calibrated.flux[k] * error).abs();
            }
            None => {
                calibrated.flux[k] = f64::NAN;
                calibrated.variance[k] = f64::NAN;
                calibrated.sky[k] = f64::NAN;
                calibrated.systematic[k] = f64::NAN;
                calibrated.flags[k] |= flags::UNCALIBRATED;
            }
        }
    }
    calibrated
}
