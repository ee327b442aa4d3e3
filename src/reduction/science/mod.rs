//! From a calibrated exposure of the sky to the spectra of its sources.
//!
//! What lives here: what the noise of an exposure is ([`exposure`]), the pixels of one order with their wavelength and
//! slit position ([`strip`]).
//! What never lives here: raw frames, files, flux standards, the join of orders and arms ([`super::spectrum`]).

mod boxcar;
pub mod exposure;
pub mod extract;
pub mod field;
pub mod pair;
pub mod profile;
pub mod refraction;
pub mod repeats;
mod shape;
pub mod sky;
pub mod solve;
pub mod strip;
pub mod trace;
pub mod track;
