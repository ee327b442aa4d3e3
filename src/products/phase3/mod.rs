//! ESO's Phase 3: the files that go to the Science Archive Facility, and the check that they are what ESO asks for.
//!
//! What lives here: the standard as two tables ([`Standard`]), and [`Validator`], which holds files against them.
//! What never lives here: the spectrum itself (`reduction`), and what becomes of a file that fails (`delivery`).

mod standard;
pub mod validate;

pub use standard::{Standard, StandardError};
pub use validate::{FileReport, Finding, Report, Severity, Validator};
