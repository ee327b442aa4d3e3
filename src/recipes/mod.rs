//! Recipes: functions from typed inputs to products and QC.
//!
//! What lives here: one file per recipe, the contract they share ([`contract`]), the check of their inputs ([`inputs`])
//! and of their parameters ([`parameters`]). A recipe is given arrays with their description and gives back arrays with
//! variance and quality, metrics and remarks.
//! What never lives here: paths, FITS, clocks, the catalogue, the network. The same function serves the daemon,
//! `soxsd recipe`, the tests and the benchmarks.

pub mod arc;
pub mod bad_pixels;
mod blaze_table;
pub mod contract;
pub mod d2_flat;
pub mod disp_monomials;
pub mod disp_solution;
pub mod disp_tab;
pub mod inputs;
pub mod lamp;
pub mod lamp_off;
pub mod line_tables;
pub mod mbias;
pub mod mdark;
pub mod merge_arms;
pub mod mflat;
pub mod nod;
pub mod nod_groups;
pub mod nod_qc;
pub mod on_sky;
mod on_sky_qc;
pub mod order_centres;
pub mod order_table;
pub mod pages;
pub mod parameters;
pub mod spat_solution;
pub mod spectra;
pub mod stack_master;
pub mod stare;
pub mod stare_qc;
pub mod stitch;
pub mod tables;

pub use contract::{
    CardValue, MapPlane, MasterImage, MasterMaps, MasterTable, ProductCard, ProductImage, ProductMaps, ProductTable,
    RawFrame, Recipe, RecipeError, RecipeInput, RecipeOutput, RejectedFrame, SourceSpectrum, WavelengthErrors,
};

/// Every recipe.
pub fn all() -> &'static [&'static dyn Recipe] {
    &[
        &mbias::MASTER_BIAS,
        &mdark::MASTER_DARK,
        &disp_solution::DispersionSolution,
        &order_centres::OrderCentres,
        &d2_flat::DeuteriumFlat,
        &lamp_off::LAMP_OFF_MEAN,
        &mflat::MasterFlat,
        &spat_solution::SpatialSolution,
        &stare::STARE,
        &stare::STARE_STANDARD,
        &nod::NOD,
        &nod::NOD_STANDARD,
        &nod::OFFSET,
        &nod::OFFSET_STANDARD,
        &merge_arms::MergeArms,
    ]
}

/// The recipe of that name.
pub fn by_name(name: &str) -> Option<&'static dyn Recipe> {
    all().iter().copied().find(|recipe| recipe.name() == name)
}

#[cfg(test)]
mod flat_tests;
#[cfg(test)]
mod tests;

#[cfg(test)]
mod registry_tests {
    #[test]
    fn names_are_unique_and_have_valid_defaults() {
        for recipe in super::all() {
            assert_eq!(super::by_name(recipe.name()).map(|found| found.name()), Some(recipe.name()));
            recipe.check_parameters(&toml::Table::new()).unwrap();
            recipe.check_parameters(&super::parameters::defaults(recipe.name())).unwrap();
        }
        assert!(super::by_name("nothing").is_none());
    }
}
