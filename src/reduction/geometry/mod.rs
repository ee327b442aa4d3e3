//! From lamps to geometry: where light of each order, wavelength and slit position falls on the detector.
//!
//! What lives here: the map and its inverse ([`map`]), the search for the pattern ([`register`]), the shape of a pinhole's
//! image ([`shape`]), robust fits with errors ([`fit`], made of [`family`], [`basis`] and [`problem`]), the whole way from
//! an arc frame to a proven map ([`solve`] by the steps of [`scene`], [`proof`], or a [`refusal`]), and the planes of wavelength and slit position ([`planes`]).
//! What never lives here: which lamps and which instrument, files, QC.

mod basis;
mod family;
pub mod fit;
pub mod guess;
pub mod map;
pub mod planes;
mod problem;
mod proof;
mod refusal;
pub mod register;
mod scene;
pub mod shape;
pub mod solve;

#[cfg(test)]
mod honesty;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod trials;
