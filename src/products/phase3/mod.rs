//! ESO's Phase 3: the files that go to the Science Archive Facility, and the check that they are what ESO asks for.
//!
//! What lives here: the science file of a merged spectrum ([`write_spectrum`]), its companions, the names of all of them
//! ([`Observation::file_name`]), the standard as two tables ([`Standard`]), and [`Validator`], which holds files against
//! them. Writer and validator share nothing but the standard.
//! What never lives here: the spectrum itself (`reduction`), and what becomes of a file that fails (`delivery`).

mod collection;
mod context;
mod error;
mod general;
mod paper;
mod spectrum;
mod standard;
#[cfg(test)]
mod tests;
mod two_d;
pub mod validate;

pub use collection::Collection;
pub use context::{Arms, Companion, Context, Kind, Observation};
pub use error::Phase3Error;
pub use paper::write_paper;
pub use spectrum::write_spectrum;
pub use standard::{Standard, StandardError};
pub use two_d::write_two_d;
pub use validate::{FileReport, Finding, Report, Severity, Validator};
