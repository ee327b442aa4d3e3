//! From a calibrated exposure of the sky to the spectra of its sources.
//!
//! What lives here: what the noise of an exposure is ([`exposure`]), the pixels of one order with their wavelength and
//! slit position ([`strip`], [`rows`]), the light of the sky ([`sky`]).
//! What never lives here: raw frames, files, flux standards, the join of orders and arms ([`super::spectrum`]).

mod boxcar;
pub mod exposure;
pub mod extract;
pub mod field;
pub mod hidden;
pub mod modes;
pub mod nodding;
pub mod pair;
pub mod profile;
pub mod refraction;
pub mod repeats;
pub mod rows;
mod shape;
pub mod shift;
pub mod sky;
pub mod slit;
pub mod solve;
pub mod strip;
#[cfg(test)]
pub mod synthetic;
pub mod trace;
pub mod track;
