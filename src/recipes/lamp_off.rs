//! Mean of the infrared frames with the lamp off that belong to a flat: dark, pedestal and the warm slit's own light, taken
//! minutes from the lit frames with the same exposure time.

use super::contract::RecipeError;
use super::inputs::SetRules;
use super::lamp::{LAMP_OFF, OFF, usual};
use super::stack_master::{Master, Stacking};
use crate::instrument::FrameMeta;
use crate::quality::QcMetric;

const NAME: &str = "lamp_off";

/// The recipe `lamp_off`. Bad pixels are judged by darks: only the mean is of use.
pub const LAMP_OFF_MEAN: Stacking = Stacking {
    rules: SetRules { recipe: NAME, dpr_type: "LAMP,FLAT", unexposed_below: None },
    catg: LAMP_OFF,
    exposed: true,
    pattern: false,
    judges: false,
    admit,
    quality,
};

/// Frames without a lamp, with the usual spelling of their type.
fn admit(frames: Vec<FrameMeta>) -> Result<Vec<FrameMeta>, RecipeError> {
    let lit = frames.iter().find(|frame| !frame.dpr_tech.trim().eq_ignore_ascii_case(OFF) || frame.lamp.is_some());
    match lit {
        None => Ok(frames.iter().map(usual).collect()),
        Some(frame) => Err(RecipeError::Input {
            recipe: NAME,
            reason: format!(
                "frame {} has DPR TECH = {:?} and lamps {:?}, expected {OFF:?} and none; leave it out or reduce it \
                 with mflat",
                frame.data_id,
                frame.dpr_tech,
                frame.lamp.as_deref().unwrap_or("none")
            ),
        }),
    }
}

fn quality(master: &Master) -> Vec<QcMetric> {
    let level = master.median_level();
    let mut qc = vec![QcMetric::measured("OFF MEDIAN", level, "electrons", "median over frames of the frame level")];
    qc.extend(master.common_qc());
    qc
}
