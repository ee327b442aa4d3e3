//! From a calibrated exposure of the sky to the spectra of its sources.
//!
//! What lives here: raw light to calibrated light ([`prepare`]) with its noise ([`exposure`]), the pixels of one order with their wavelength and
//! slit position ([`strip`], [`rows`]), where the slit lies ([`slit`]), the light of the sky ([`sky`]) and what it says
//! of wavelengths ([`shift`]), cosmic rays ([`cosmic`]), sources ([`trace`]) and their spectra ([`extract`]), and the
//! iteration that joins them for one exposure ([`joint`]).
//! What never lives here: file names, headers, flux standards, the join of orders and arms ([`super::spectrum`]).

pub mod align;
mod boxcar;
pub mod cosmic;
pub mod exposure;
pub mod extract;
pub mod field;
pub mod hidden;
pub mod joint;
pub mod modes;
mod nodded_light;
pub mod nodding;
pub mod pair;
pub mod prepare;
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

#[cfg(test)]
mod extract_tests;
#[cfg(test)]
mod nodding_tests;
