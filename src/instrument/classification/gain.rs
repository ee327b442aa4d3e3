//! One conversion factor out of two keywords that are not always what their names say.

use super::rules::{GainChoice, GainRule};
use crate::fits::{Header, Value};
use crate::instrument::Arm;

/// The conversion factor in electrons per ADU. Choices that were not straightforward are added to `warnings`.
pub(super) fn choose(
    rule: &GainRule,
    arm: Arm,
    read_mode: Option<&str>,
    header: &Header,
    warnings: &mut Vec<String>,
) -> f64 {
    let default = rule.default.iter().find(|default| default.arm == arm);
    // Every arm has a default: checked when the rules are read. One electron per ADU is the neutral answer.
    let fallback = default.map_or(1.0, |default| default.value);
    let mode_gain = rule
        .nominal
        .iter()
        .find(|nominal| nominal.arm == arm && Some(nominal.read_mode.as_str()) == read_mode)
        .map(|nominal| nominal.value);
    let nominal = mode_gain.unwrap_or(fallback);
    let conad = positive(header, &rule.conad, warnings);
    let gain = positive(header, &rule.gain, warnings);

    let chosen = match (conad, gain) {
        (None, None) => {
            if default.is_some_and(|default| default.cards) {
                warnings.push(format!(
                    "neither {} nor {} has a usable value: gain {nominal} e-/ADU is the nominal one",
                    rule.conad, rule.gain
                ));
            }
            return nominal;
        }
        (Some(conad), Some(gain)) => pair(rule, conad, gain, (mode_gain, nominal), warnings),
        (Some(conad), None) => conad,
        (None, Some(gain)) => {
            let chosen = match rule.rule {
                GainChoice::Max => gain,
                GainChoice::Reciprocal => nearest(gain, 1.0 / gain, nominal),
            };
            warnings.push(format!("{} is missing: gain {chosen:.4} e-/ADU from {} = {gain}", rule.conad, rule.gain));
            chosen
        }
    };
    if chosen < rule.plausible[0] || chosen > rule.plausible[1] {
        warnings.push(format!(
            "gain {chosen} e-/ADU is outside {} to {}: the nominal {nominal} is used",
            rule.plausible[0], rule.plausible[1]
        ));
        return nominal;
    }
    chosen
}

/// Both cards are there. `nominal` is the published gain of the read mode, if there is one, and the one to compare with.
fn pair(rule: &GainRule, conad: f64, gain: f64, nominal: (Option<f64>, f64), warnings: &mut Vec<String>) -> f64 {
    let (mode_gain, nominal) = nominal;
    if rule.rule == GainChoice::Max {
        return conad.max(gain);
    }
    if (conad * gain - 1.0).abs() <= rule.tolerance {
        // Reciprocal as they should be, but possibly the wrong way round. Only a published gain can tell.
        let swapped = mode_gain.is_some_and(|nominal| {
            nearest(conad, gain, nominal) == gain && ratio(conad, gain) > 1.5 && ratio(gain, nominal) < 1.5
        });
        if swapped {
            warnings.push(format!(
                "{} = {conad} is used as e-/ADU, but {} = {gain} is the one near the nominal {nominal}: the cards may be interchanged",
                rule.conad, rule.gain
            ));
        }
        return conad;
    }
    if ratio(conad, gain) <= 1.0 + rule.tolerance {
        // Both cards hold the same number of electrons per ADU: nothing to choose.
        return conad;
    }
    let chosen = nearest(conad, gain, nominal);
    warnings.push(format!(
        "{} = {conad} and {} = {gain} are not reciprocals: gain {chosen} e-/ADU, the nearer to the nominal {nominal}",
        rule.conad, rule.gain
    ));
    chosen
}

/// The one of two whose ratio to the target is nearer to one; the first when both are.
fn nearest(first: f64, second: f64, target: f64) -> f64 {
    if ratio(second, target) < ratio(first, target) { second } else { first }
}

/// Ratio of two positive numbers, at least one.
fn ratio(a: f64, b: f64) -> f64 {
    if a > b { a / b } else { b / a }
}

/// A positive finite number; anything else in the card is said and dropped.
fn positive(header: &Header, keyword: &str, warnings: &mut Vec<String>) -> Option<f64> {
    let found = header.get(keyword)?;
    let number = match found {
        Value::Real(number) => Some(*number),
        Value::Integer(number) => Some(*number as f64),
        _ => None,
    };
    let usable = number.filter(|number| number.is_finite() && *number > 0.0);
    if usable.is_none() {
        warnings.push(format!("{keyword} is {found}, expected a number above zero: not used"));
    }
    usable
}
