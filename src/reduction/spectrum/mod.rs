//! Spectra: what becomes of extracted orders until one spectrum of both arms is left.
//!
//! What lives here: the spectrum of one order on the detector's own sampling ([`order`]), the spectrum that is left in the end
//! ([`merged`]) with the covariance of its samples ([`covariance`]).
//! What never lives here: pixels of the detector, files, names of products.

pub mod agreement;
pub mod covariance;
pub mod density;
pub mod merge;
pub mod merged;
pub mod order;
pub mod resample;
