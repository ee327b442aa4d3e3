//! Do these frames fit together, and do they fit the recipe? From their descriptions alone, before any pixel is read.

use crate::instrument::{Binning, Detector, FrameMeta, Geometry};
use crate::numerics::stack::MAX_FRAMES;

use super::contract::RecipeError;

/// What a recipe that stacks frames asks of them.
#[derive(Clone, Copy, Debug)]
pub struct SetRules {
    /// Recipe.
    pub recipe: &'static str,
    /// `ESO DPR TYPE` that every frame must have.
    pub dpr_type: &'static str,
    /// Longest exposure that is still "none", seconds; `None` when frames are exposed (and must be so equally long).
    pub unexposed_below: Option<f64>,
}

/// Exposure times closer than this are the same, seconds.
const SAME_EXPOSURE: f64 = 0.01;

/// Check a set and give the geometry that its frames share. Errors name frame, keyword, value found, value expected and
/// the remedy.
pub fn check_set(frames: &[FrameMeta], rules: SetRules, minimum: usize) -> Result<Geometry, RecipeError> {
    let recipe = rules.recipe;
    let wrong = |reason: String| RecipeError::Input { recipe, reason };
    if frames.len() < minimum {
        return Err(wrong(format!(
            "{} frames, at least {minimum} are needed (parameter minimum_frames); add frames of the same template",
            frames.len()
        )));
    }
    if frames.len() > MAX_FRAMES {
        return Err(wrong(format!(
            "{} frames, at most {MAX_FRAMES} can be stacked at once; split the set",
            frames.len()
        )));
    }
    let Some(first) = frames.first() else { return Err(wrong("no frames; name at least one".to_string())) };
    let detector = Detector::of(first.arm);
    for (k, frame) in frames.iter().enumerate() {
        let name = &frame.data_id;
        if frames[..k].iter().any(|other| other.data_id == *name) {
            return Err(wrong(format!("frame {name} is in the set twice; name it once")));
        }
        if !frame.dpr_type.trim().eq_ignore_ascii_case(rules.dpr_type) {
            return Err(wrong(format!(
                "frame {name} has DPR TYPE = {:?}, expected {:?}; leave it out or use the recipe of its type",
                frame.dpr_type, rules.dpr_type
            )));
        }
        if let Some(most) = rules.unexposed_below
            && (frame.exptime > most || frame.exptime.is_nan())
        {
            return Err(wrong(format!(
                "frame {name} has EXPTIME = {} s, expected at most {most} s; an exposed frame is no {}",
                frame.exptime, rules.dpr_type
            )));
        }
        if !(frame.exptime.is_finite() && frame.exptime >= 0.0) {
            return Err(wrong(format!("frame {name} has EXPTIME = {}, expected 0 s or more", frame.exptime)));
        }
        if !detector.gain_is_plausible(frame.gain) {
            let [low, high] = detector.gain_range;
            return Err(wrong(format!(
                "frame {name} has a conversion factor of {} e-/ADU (DET OUT1 CONAD, DET OUT1 GAIN), expected {low} to \
                 {high} for {}; correct the header or the gain rule",
                frame.gain, frame.arm
            )));
        }
        let differs = |keyword: &str, found: String, expected: String| {
            Err(wrong(format!(
                "frame {name} has {keyword} = {found}, frame {} has {expected}; reduce them as separate sets",
                first.data_id
            )))
        };
        if frame.arm != first.arm {
            return differs("SEQ ARM", frame.arm.to_string(), first.arm.to_string());
        }
        if bin(frame) != bin(first) {
            return differs("DET BINX x BINY", bin(frame).to_string(), bin(first).to_string());
        }
        if frame.read_mode != first.read_mode {
            let text = |frame: &FrameMeta| frame.read_mode.clone().unwrap_or_else(|| "nothing".to_string());
            return differs("DET READ CURID", text(frame), text(first));
        }
        if (frame.gain - first.gain).abs() > 1e-6 * first.gain {
            return differs("a conversion factor (e-/ADU)", frame.gain.to_string(), first.gain.to_string());
        }
        if (frame.exptime - first.exptime).abs() > SAME_EXPOSURE {
            return differs("EXPTIME", format!("{} s", frame.exptime), format!("{} s", first.exptime));
        }
        if (frame.columns, frame.rows) != (first.columns, first.rows) {
            let text = |frame: &FrameMeta| format!("{} x {}", frame.columns, frame.rows);
            return differs("NAXIS1 x NAXIS2", text(frame), text(first));
        }
    }
    detector
        .geometry(first.arm, first.columns, first.rows, first.binning)
        .map_err(|error| wrong(format!("frame {}: {error}", first.data_id)))
}

fn bin(frame: &FrameMeta) -> Binning {
    frame.binning.unwrap_or(Binning { x: 1, y: 1 })
}
