//! Master bias: the mean of unexposed frames. The pedestal stays in it.

use super::inputs::SetRules;
use super::stack_master::{Master, Stacking};
use crate::numerics::linear::{Line, fit_line};
use crate::quality::QcMetric;

/// Frames exposed for less than this are biases, seconds: the shortest "exposure" that instrument software writes for
/// one is a fraction of a millisecond.
const UNEXPOSED: f64 = 0.01;

/// The recipe `mbias`.
pub const MASTER_BIAS: Stacking = Stacking {
    rules: SetRules { recipe: "mbias", dpr_type: "BIAS", unexposed_below: Some(UNEXPOSED) },
    catg: "MASTER_BIAS",
    exposed: false,
    pattern: true,
    judges: true,
    admit: Ok,
    quality,
};

fn quality(master: &Master) -> Vec<QcMetric> {
    let mut qc = vec![QcMetric::measured(
        "MBIAS MEDIAN",
        master.median_level(),
        "electrons",
        "median over frames of the clipped frame level",
    )];
    qc.extend(master.common_qc());
    qc.extend(structure_qc(master));
    let text = "pattern noise; white noise gives 1.201";
    qc.push(match master.fourier_fraction {
        Some(value) => QcMetric::measured("FPN FRACMAX", value, "", text),
        None => QcMetric::absent("FPN FRACMAX", "the image is too small or without scatter", "", text),
    });
    qc.extend(master.bad_qc());
    qc
}

/// Slopes of the profiles. The reference pipeline fits sums, whose slope grows with the number of summed pixels; the
/// slope of the mean profile with its significance is what can be compared between binnings.
fn structure_qc(master: &Master) -> Vec<QcMetric> {
    let (rows, columns) = master.stacked.value.dim();
    let line = |means: &[f64]| fit_line(means.iter().enumerate().map(|(i, mean)| (i as f64, *mean)));
    let axes = [
        ("STRUCTX", "column", line(&master.stacked.profile.columns), rows),
        ("STRUCTY", "row", line(&master.stacked.profile.rows), columns),
    ];
    let mut qc = Vec::new();
    for (name, axis, line, summed) in axes {
        let value = |value: fn(&Line) -> f64| line.as_ref().map_or(f64::NAN, value);
        let metric = |suffix: &str, value: f64, unit: &str, comment: &str| {
            QcMetric::measured(&format!("{name}{suffix}"), value, unit, comment)
        };
        qc.push(metric("", value(|l| l.slope) * summed as f64, "", &format!("slope of the {axis} sums, e-/px")));
        qc.push(metric(" MEAN SLOPE", value(|l| l.slope), "electrons/px", &format!("slope of the {axis} means")));
        let significance = value(|l| l.slope / l.slope_error);
        qc.push(metric(" SIGNIF", significance, "", &format!("slope of the {axis} means over its error")));
    }
    qc
}
