//! Association: frames become sets, sets find their master calibrations, and every choice is recorded with its reasons.
//!
//! What lives here: the rules of `config/association.toml`, the pure choice among candidates, and the task that keeps
//! sets and jobs in step with the catalogue. The task takes no input: it looks at what is new or marked, and writes what
//! follows. Running it twice changes nothing.
//! What never lives here: running recipes, reading pixels.

pub mod choose;
pub mod keys;
mod masters;
pub mod names;
pub mod plan;
pub mod rules;

pub use plan::{Association, KnownRecipe, PassReport};
pub use rules::{Rules, RulesError};
