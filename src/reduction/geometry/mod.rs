//! From lamps to geometry: where light of each order, wavelength and slit position falls on the detector.
//!
//! What lives here: the map and its inverse ([`map`]), the search for the pattern ([`register`]), the shape of a pinhole's
//! image ([`shape`]), robust fits with errors ([`fit`]), the whole way from an arc frame to a proven map ([`solve`],
//! [`proof`]), and the planes of wavelength and slit position ([`planes`]).
//! What never lives here: which lamps and which instrument, files, QC.

pub mod fit;
pub mod guess;
pub mod map;
pub mod planes;
mod proof;
pub mod register;
pub mod shape;
pub mod solve;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod trials;
