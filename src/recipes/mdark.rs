//! Master dark: the mean of equally long exposures behind closed shutter, and the map of hot pixels.
//!
//! Pedestal and dark signal both stay in it: the infrared dark level does not scale with exposure time, so a master dark
//! serves only frames of its own exposure time.

use super::contract::{Recipe, RecipeError, RecipeInput, RecipeOutput};
use super::inputs::SetRules;
use super::parameters::StackParameters;
use super::stack_master::{self, MasterKind};
use crate::instrument::FrameMeta;
use crate::quality::QcMetric;
use crate::reduction::flags;

const NAME: &str = "mdark";

const KIND: MasterKind = MasterKind {
    rules: SetRules { recipe: NAME, dpr_type: "DARK", unexposed_below: None },
    catg: "MASTER_DARK",
    exposed: true,
};

/// The recipe `mdark`.
#[derive(Clone, Copy, Debug)]
pub struct MasterDark;

impl Recipe for MasterDark {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn check_parameters(&self, parameters: &toml::Table) -> Result<(), RecipeError> {
        StackParameters::read(NAME, parameters).map(|_| ())
    }

    fn verify(&self, frames: &[FrameMeta], parameters: &toml::Table) -> Result<(), RecipeError> {
        stack_master::verify(KIND, frames, parameters)
    }

    fn peak_bytes(&self, frames: &[FrameMeta]) -> u64 {
        stack_master::peak_bytes(frames)
    }

    fn run(&self, input: RecipeInput, parameters: &toml::Table) -> Result<RecipeOutput, RecipeError> {
        let master = stack_master::build(KIND, input, parameters, false)?;
        let mut qc = vec![QcMetric::measured(
            "MDARK MEDIAN",
            master.median_level(),
            "electrons",
            "median over frames of the clipped frame level",
        )];
        qc.extend(master.common_qc());
        let (hot, cold, bad) = (master.count(flags::HOT), master.count(flags::COLD), master.count(-1));
        qc.push(QcMetric::measured("HOTPIX NUM", hot as f64, "pixels", "hot pixels"));
        qc.push(QcMetric::measured("HOTPIX FRAC", master.fraction(hot), "", "fraction of hot pixels"));
        qc.push(QcMetric::measured("LOWPIX NUM", cold as f64, "pixels", "pixels far below their surroundings"));
        qc.push(QcMetric::measured("BADPIX NUM", bad as f64, "pixels", "flagged pixels"));
        qc.push(QcMetric::measured("BADPIX FRAC", master.fraction(bad), "", "fraction of flagged pixels"));
        Ok(master.finish(KIND, qc))
    }
}
