//! From a calibrated exposure of the sky to the spectra of its sources.
//!
//! What lives here: what the noise of an exposure is ([`exposure`]), the pixels of one order with their wavelength and
//! slit position ([`strip`], [`rows`]), the light of the sky ([`sky`]).
//! What never lives here: raw frames, files, flux standards, the join of orders and arms ([`super::spectrum`]).

pub mod exposure;
pub mod hidden;
pub mod modes;
pub mod rows;
pub mod shift;
pub mod sky;
pub mod slit;
pub mod strip;
#[cfg(test)]
pub mod synthetic;
