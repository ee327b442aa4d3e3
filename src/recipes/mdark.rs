//! Master dark: the mean of equally long exposures behind closed shutter, and the map of hot pixels.
//!
//! Pedestal and dark signal both stay in it: the infrared dark level does not scale with exposure time, so a master dark
//! serves only frames of its own exposure time.

use super::inputs::SetRules;
use super::stack_master::{Master, Stacking};
use crate::quality::QcMetric;
use crate::reduction::flags;

/// The recipe `mdark`.
pub const MASTER_DARK: Stacking = Stacking {
    rules: SetRules { recipe: "mdark", dpr_type: "DARK", unexposed_below: None },
    catg: "MASTER_DARK",
    exposed: true,
    pattern: false,
    judges: true,
    admit: Ok,
    quality,
};

fn quality(master: &Master) -> Vec<QcMetric> {
    let mut qc = vec![QcMetric::measured(
        "MDARK MEDIAN",
        master.median_level(),
        "electrons",
        "median over frames of the clipped frame level",
    )];
    qc.extend(master.common_qc());
    let (hot, cold) = (master.count(flags::HOT), master.count(flags::COLD));
    qc.push(QcMetric::measured("HOTPIX NUM", hot as f64, "pixels", "hot pixels"));
    qc.push(QcMetric::measured("HOTPIX FRAC", master.fraction(hot), "", "fraction of hot pixels"));
    qc.push(QcMetric::measured("LOWPIX NUM", cold as f64, "pixels", "pixels far below their surroundings"));
    qc.extend(master.bad_qc());
    qc
}
