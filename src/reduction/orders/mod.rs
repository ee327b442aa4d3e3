//! Where the orders lie: centres traced on a flat through the pinhole, edges on a flat through the slit.
//!
//! What lives here: images turned so that light is dispersed along rows ([`image`]), the first guess ([`guess`]) and its offset
//! ([`search`]), centres ([`trace`]), edges ([`edges`]), and what both use: the walk along an order ([`slices`]) and
//! the fits of profiles ([`profile`]).
//! What never lives here: wavelengths, and what is done with an order.
//!
//! Coordinates: `b` runs along the dispersion (VIS rows, NIR columns), `a` across it along the slit (VIS columns, NIR
//! rows). Both are 0-based at pixel centres of the trimmed and *unbinned* frame, whatever the binning of the image.

pub mod edges;
pub mod guess;
pub mod image;
pub mod profile;
pub mod search;
pub mod slices;
pub mod trace;

#[cfg(test)]
pub(crate) mod synthetic;

use crate::fault::{Classified, FaultClass};
use crate::numerics::curve::Curve;

/// Where an order is expected.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderGuess {
    /// Number of the order.
    pub order: u8,
    /// Centre `a` against `b`.
    pub centre: Curve,
    /// Half the length of the slit's image along `a`, in pixels.
    pub half_length: Curve,
    /// Slope of the slit's image: change of `b` per pixel of `a` at one wavelength.
    pub tilt: Curve,
    /// First and last `b` at which light may be expected.
    pub lit: [f64; 2],
}

/// Why orders cannot be located.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum OrdersError {
    /// Nothing to look for, or the image is too small to look in.
    #[error("orders cannot be searched: {0}")]
    Input(String),
    /// Nothing that looks like the orders.
    #[error(
        "no light along the expected orders within +-{radius:.0} pixels: the best match has {found:.1} sigmas, at least \
         {least:.1} are needed; is the lamp on and the mask in place?"
    )]
    Dark {
        /// Largest offset that was tried, pixels.
        radius: f64,
        /// Significance of the best match.
        found: f64,
        /// Significance that would count.
        least: f64,
    },
    /// Some orders were not found.
    #[error(
        "orders {missing} were not found {offset:+.1} pixels from their published places, where the others are; is the \
         lamp's light complete, or part of the detector dead?"
    )]
    Missing {
        /// Their numbers.
        missing: String,
        /// Offset of the others across the orders, pixels.
        offset: f64,
    },
    /// The orders found do not lie to each other as they should.
    #[error(
        "the pattern of the orders does not fit: {found:.0} % of the places expected to be lit are, mirrored {axis} {mirrored:.0} % \
         would be; the image is turned, or from another format"
    )]
    Parity {
        /// Fraction lit as expected, percent.
        found: f64,
        /// Axis of the mirror image that fits better.
        axis: &'static str,
        /// Fraction lit when mirrored, percent.
        mirrored: f64,
    },
    /// Orders are displaced against each other.
    #[error(
        "order {order} lies {offset:+.1} pixels from the common offset of all orders, at most {limit:.1} are credible"
    )]
    Displaced {
        /// Order.
        order: u8,
        /// Its own offset against the others.
        offset: f64,
        /// Limit.
        limit: f64,
    },
    /// Edges of an order could not be measured.
    #[error(
        "the {side} edge of order {order} was measured in {found} of {tried} places, at least {least} are needed; is this \
         a flat through a long slit, exposed well?"
    )]
    Edges {
        /// Order.
        order: u8,
        /// `lower` or `upper`.
        side: &'static str,
        /// Places with a measurement.
        found: usize,
        /// Places tried.
        tried: usize,
        /// Places needed.
        least: usize,
    },
}

impl Classified for OrdersError {
    fn class(&self) -> FaultClass {
        FaultClass::Unprocessable
    }
}
