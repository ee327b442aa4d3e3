//! From raw numbers to a stack of frames in electrons, one file per effect.
//!
//! What lives here: trimming ([`trim`]), unexposed pixels ([`overscan`]), noise that is measured and not believed
//! ([`noise`]), the stack itself ([`stack`]), hot and cold pixels ([`hot`]), periodic patterns ([`pattern`]), the noise of a
//! master taken down ([`calm`]).
//! What never lives here: which detector this is, and what is done with a result.

pub mod calm;
pub mod hot;
pub mod noise;
pub mod overscan;
pub mod pattern;
pub mod stack;
pub mod trim;

#[cfg(test)]
pub(crate) mod synthetic;
