//! Recipes: functions from typed inputs to products and QC.
//!
//! What lives here: one file per recipe and the contract they share. A recipe is given arrays with their description
//! and gives back arrays with variance and quality, metrics and remarks.
//! What never lives here: paths, FITS, clocks, the catalogue, the network. The same function serves the daemon,
//! `soxsd recipe`, the tests and the benchmarks.

pub mod contract;

pub use contract::{
    MasterImage, ProductImage, RawFrame, Recipe, RecipeError, RecipeInput, RecipeOutput, RejectedFrame,
};
