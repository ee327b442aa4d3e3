//! Parameters of what all recipes of the sky share after the extraction.

use serde::Deserialize;

use crate::instrument::Arm;
use crate::recipes::contract::RecipeError;
use crate::recipes::parameters::{check_ranges, typed};

/// Parameters; meanings, units and ranges in `config/recipes.toml`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpectraParameters {
    /// Width of the bins of a merged VIS spectrum, km/s.
    pub vis_step: f64,
    /// Width of the bins of a merged NIR spectrum, and of both arms, km/s.
    pub nir_step: f64,
    /// Least light of the lamp, relative to its maximum in the order, for a sample to be used.
    pub least_blaze: f64,
    /// Slit through which a standard must have been seen for its response to be used.
    pub response_slit: String,
    /// Systematic error that a response always has, magnitudes.
    pub response_floor: f64,
    /// FWHM of the spectrograph's line for a star, km/s.
    pub line_width: f64,
    /// Height of a row of the rectified spectrum, arcsec.
    pub slit_step: f64,
}

impl SpectraParameters {
    /// From the section `spectra` of the parameters, every value checked.
    pub fn read(overrides: &toml::Table) -> Result<SpectraParameters, RecipeError> {
        let p: SpectraParameters = typed("spectra", overrides)?;
        check_ranges(
            "spectra",
            &[
                ("vis_step", p.vis_step, 5.0..=200.0),
                ("nir_step", p.nir_step, 5.0..=200.0),
                ("least_blaze", p.least_blaze, 0.001..=0.5),
                ("response_floor", p.response_floor, 0.0..=0.2),
                ("line_width", p.line_width, 10.0..=500.0),
                ("slit_step", p.slit_step, 0.05..=2.0),
            ],
        )?;
        Ok(p)
    }

    /// Width of the bins of an arm, km/s.
    pub fn step(&self, arm: Arm) -> f64 {
        if arm == Arm::Nir { self.nir_step } else { self.vis_step }
    }
}
