//! Spectra: what becomes of extracted orders until one spectrum of both arms is left.
//!
//! What lives here: the spectrum of one order on the detector's own sampling ([`order`]) and as a density ([`density`]);
//! standards ([`standards`]), the air ([`extinction`], [`lines`]) and the response made of them ([`response`]), its use
//! ([`calibrate`]) and what a slit takes away ([`slit`]); exact resampling ([`resample`]) with its [`covariance`], the merging of
//! orders ([`merge`]) with how they agree ([`agreement`]), of arms ([`arms`]), and the spectrum that is left in the end ([`merged`]);
//! the same in two dimensions ([`rectified`]); [`noise`] and [`efficiency`] for quality control.
//! What never lives here: pixels of the detector, files, names of products.

pub mod agreement;
pub mod arms;
pub mod calibrate;
pub mod covariance;
pub mod density;
pub mod efficiency;
pub mod extinction;
pub mod lines;
pub mod merge;
pub mod merged;
pub mod noise;
pub mod order;
pub mod rectified;
pub mod resample;
pub mod response;
pub mod slit;
pub mod standards;
pub mod tabulated;

#[cfg(test)]
pub(crate) mod synthetic;
#[cfg(test)]
mod tests;
