//! Parameters: defaults from `config/recipes.toml`, overrides merged over them, and the check of every value.
//!
//! A recipe may be given the whole table of its parameters or only those that differ; both are merged over the
//! embedded defaults.

use std::ops::RangeInclusive;
use std::sync::LazyLock;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::contract::RecipeError;
use crate::numerics::stack::MAX_FRAMES;

#[allow(clippy::expect_used)]
static DEFAULTS: LazyLock<toml::Table> = LazyLock::new(|| {
    // The embedded file is part of the program: the tests of every recipe prove that this cannot fail.
    toml::from_str(include_str!("../../config/recipes.toml")).expect("the embedded recipes.toml is valid TOML")
});

/// The default parameters of a recipe; empty for one without parameters.
pub fn defaults(recipe: &str) -> toml::Table {
    DEFAULTS.get(recipe).and_then(toml::Value::as_table).cloned().unwrap_or_default()
}

/// Defaults with `overrides` merged over them. An unknown name or another type than the default's is an error. An
/// integer is accepted for a real number.
pub fn merged(recipe: &'static str, overrides: &toml::Table) -> Result<toml::Table, RecipeError> {
    let mut table = defaults(recipe);
    for (name, value) in overrides {
        let known = table.keys().cloned().collect::<Vec<_>>().join(", ");
        let wrong = |reason: String| RecipeError::Parameter {
            recipe,
            parameter: name.clone(),
            found: value.to_string(),
            reason,
        };
        let Some(default) = table.get_mut(name) else {
            return Err(wrong(format!("there is no such parameter; known are {known}")));
        };
        let value = match (&*default, value) {
            (toml::Value::Float(_), toml::Value::Integer(number)) => toml::Value::Float(*number as f64),
            _ => value.clone(),
        };
        if !default.same_type(&value) {
            return Err(wrong(format!("must be of type {}, as the default {default}", default.type_str())));
        }
        *default = value;
    }
    Ok(table)
}

/// The typed parameters of a recipe, from defaults and overrides. Ranges are checked by the caller.
pub fn typed<T: DeserializeOwned>(recipe: &'static str, overrides: &toml::Table) -> Result<T, RecipeError> {
    read(recipe, merged(recipe, overrides)?)
}

/// Parameters of these names, which several recipes share, taken out of a merged table. What is left is for the recipe's
/// own structure, which refuses names that it does not know.
pub fn shared<T: DeserializeOwned>(
    recipe: &'static str,
    table: &mut toml::Table,
    names: &[&str],
) -> Result<T, RecipeError> {
    read(recipe, names.iter().filter_map(|name| table.remove_entry(*name)).collect())
}

/// The typed parameters of a table that holds nothing else. Ranges are checked by the caller.
pub fn read<T: DeserializeOwned>(recipe: &'static str, table: toml::Table) -> Result<T, RecipeError> {
    table.try_into().map_err(|error: toml::de::Error| RecipeError::Parameter {
        recipe,
        parameter: "the table".to_string(),
        found: "values of these names and types".to_string(),
        reason: error.message().to_string(),
    })
}

/// Check numbers against their allowed ranges, both ends included. An error names the first one outside.
pub fn check_ranges(recipe: &'static str, ranges: &[(&str, f64, RangeInclusive<f64>)]) -> Result<(), RecipeError> {
    // NaN is in no range
    match ranges.iter().find(|(_, value, range)| !range.contains(value)) {
        None => Ok(()),
        Some((name, value, range)) => Err(RecipeError::Parameter {
            recipe,
            parameter: (*name).to_string(),
            found: value.to_string(),
            reason: format!("must be from {} to {}", range.start(), range.end()),
        }),
    }
}

/// Parameters of the recipes that stack frames into a master; meanings, units and ranges in `config/recipes.toml`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StackParameters {
    /// Least number of frames that remain.
    pub minimum_frames: usize,
    /// Rejection threshold in sigmas of the known noise.
    pub rejection_sigma: f64,
    /// Rejection threshold for neighbours of a hit.
    pub wing_sigma: f64,
    /// Gaussian deviate beyond which a pixel is unstable.
    pub unstable_sigma: f64,
    /// Threshold for hot and cold pixels.
    pub hot_sigma: f64,
    /// Largest ratio of a frame's noise to the median.
    pub max_noise_ratio: f64,
    /// Largest distance of a frame's level from the median, electrons.
    pub max_level_jump: f64,
    /// Largest fraction of invalid pixels of a frame.
    pub max_invalid_fraction: f64,
    /// Significance from which drifts are corrected, sigmas.
    pub significance: f64,
    /// Whether levels may be corrected.
    pub correct_levels: bool,
    /// Whether rows may be corrected.
    pub correct_rows: bool,
}

impl StackParameters {
    /// From defaults and overrides, every value checked.
    pub fn read(recipe: &'static str, overrides: &toml::Table) -> Result<StackParameters, RecipeError> {
        let p: StackParameters = typed(recipe, overrides)?;
        let ranges: [(&str, f64, RangeInclusive<f64>); 9] = [
            ("minimum_frames", p.minimum_frames as f64, 3.0..=MAX_FRAMES as f64),
            ("rejection_sigma", p.rejection_sigma, 3.0..=50.0),
            ("wing_sigma", p.wing_sigma, 1.0..=50.0),
            ("unstable_sigma", p.unstable_sigma, 3.0..=20.0),
            ("hot_sigma", p.hot_sigma, 3.0..=50.0),
            ("max_noise_ratio", p.max_noise_ratio, 1.1..=100.0),
            ("max_level_jump", p.max_level_jump, 0.1..=100_000.0),
            ("max_invalid_fraction", p.max_invalid_fraction, 0.0..=0.5),
            ("significance", p.significance, 3.0..=100.0),
        ];
        check_ranges(recipe, &ranges)?;
        Ok(p)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<StackParameters, RecipeError> {
        StackParameters::read("mbias", &toml::from_str(text).unwrap())
    }

    #[test]
    fn defaults_are_valid_and_can_be_overridden() {
        assert_eq!(read("").unwrap().rejection_sigma, 5.0);
        assert_eq!(read("rejection_sigma = 7").unwrap().rejection_sigma, 7.0);
        StackParameters::read("mdark", &defaults("mdark")).unwrap();
    }

    #[test]
    fn bad_parameters_are_named() {
        for (text, expected) in [
            ("rejection_sgima = 5.0", "there is no such parameter"),
            ("rejection_sigma = \"five\"", "must be of type float"),
            ("rejection_sigma = 1.0", "must be from 3 to 50"),
            ("rejection_sigma = nan", "must be from 3 to 50"),
            ("minimum_frames = -1", "invalid value"),
            ("minimum_frames = 1000", "must be from 3 to 64"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(expected) && error.starts_with("mbias"), "{error}");
        }
    }
}
