//! Mean of the infrared frames with the lamp off that belong to a flat: dark, pedestal and the warm slit's own light, taken
//! minutes from the lit frames with the same exposure time.

use super::contract::{Recipe, RecipeError, RecipeInput, RecipeOutput};
use super::inputs::SetRules;
use super::lamp::{LAMP_OFF, OFF, usual};
use super::parameters::StackParameters;
use super::stack_master::{self, MasterKind};
use crate::instrument::FrameMeta;
use crate::quality::QcMetric;

const NAME: &str = "lamp_off";

const KIND: MasterKind = MasterKind {
    rules: SetRules { recipe: NAME, dpr_type: "LAMP,FLAT", unexposed_below: None },
    catg: LAMP_OFF,
    exposed: true,
};

/// The recipe `lamp_off`.
#[derive(Clone, Copy, Debug)]
pub struct LampOff;

impl Recipe for LampOff {
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
        let lit = frames.iter().find(|frame| !frame.dpr_tech.trim().eq_ignore_ascii_case(OFF) || frame.lamp.is_some());
        if let Some(frame) = lit {
            return Err(RecipeError::Input {
                recipe: NAME,
                reason: format!(
                    "frame {} has DPR TECH = {:?} and lamps {:?}, expected {OFF:?} and none; leave it out or reduce it \
                     with mflat",
                    frame.data_id,
                    frame.dpr_tech,
                    frame.lamp.as_deref().unwrap_or("none")
                ),
            });
        }
        stack_master::verify(KIND, &frames.iter().map(usual).collect::<Vec<FrameMeta>>(), parameters)
    }

    fn peak_bytes(&self, frames: &[FrameMeta]) -> u64 {
        stack_master::peak_bytes(frames)
    }

    fn run(&self, mut input: RecipeInput, parameters: &toml::Table) -> Result<RecipeOutput, RecipeError> {
        for frame in &mut input.frames {
            frame.meta = usual(&frame.meta);
        }
        let master = stack_master::build(KIND, input, parameters, false)?;
        let level = master.median_level();
        let mut qc =
            vec![QcMetric::measured("OFF MEDIAN", level, "electrons", "median over frames of the frame level")];
        qc.extend(master.common_qc());
        let mut output = master.finish(KIND, qc);
        // bad pixels are judged by darks: only the mean is of use
        output.products.truncate(1);
        Ok(output)
    }
}
