//! From a calibrated exposure of the sky to the spectra of its sources.
//!
//! What lives here: what the noise of an exposure is ([`exposure`]), the pixels of one order with their wavelength and
//! slit position ([`strip`]).
//! What never lives here: raw frames, files, flux standards, the join of orders and arms ([`super::spectrum`]).

pub mod exposure;
pub mod sky;
pub mod strip;
