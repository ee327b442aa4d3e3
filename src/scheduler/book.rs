//! The recipes of this build with the parameters in force.

use std::collections::BTreeMap;

use crate::association::KnownRecipe;
use crate::instrument::FrameMeta;
use crate::recipes::{self, RecipeError, parameters};

/// Recipes with their parameters, checked at start.
#[derive(Clone, Debug, Default)]
pub struct RecipeBook {
    parameters: BTreeMap<String, toml::Table>,
}

impl RecipeBook {
    /// Defaults with the overrides of the configuration; every value is checked by its recipe.
    pub fn new(overrides: &toml::Table) -> Result<RecipeBook, RecipeError> {
        let mut book = RecipeBook::default();
        if let Some(name) = overrides.keys().find(|name| recipes::by_name(name).is_none()) {
            let known: Vec<&str> = recipes::all().iter().map(|recipe| recipe.name()).collect();
            return Err(RecipeError::Parameter {
                recipe: "configuration",
                parameter: format!("recipes.{name}"),
                found: "a table".to_string(),
                reason: format!("there is no such recipe; recipes are {}", known.join(", ")),
            });
        }
        for recipe in recipes::all() {
            let given = overrides.get(recipe.name()).and_then(toml::Value::as_table).cloned().unwrap_or_default();
            let table = parameters::merged(recipe.name(), &given)?;
            recipe.check_parameters(&table)?;
            book.parameters.insert(recipe.name().to_string(), table);
        }
        Ok(book)
    }

    /// The parameters of a recipe.
    pub fn parameters(&self, recipe: &str) -> toml::Table {
        self.parameters.get(recipe).cloned().unwrap_or_default()
    }

    /// What association must know of each recipe.
    pub fn known(&self) -> BTreeMap<String, KnownRecipe> {
        recipes::all()
            .iter()
            .map(|recipe| {
                let known = KnownRecipe {
                    version: recipe.version().to_string(),
                    parameters: canonical(&self.parameters(recipe.name())),
                    peak_bytes,
                };
                (recipe.name().to_string(), known)
            })
            .collect()
    }
}

fn peak_bytes(recipe: &str, frames: &[FrameMeta]) -> u64 {
    recipes::by_name(recipe).map_or(0, |recipe| recipe.peak_bytes(frames))
}

/// Parameters as JSON with sorted names: the same parameters always have the same text.
pub fn canonical(parameters: &toml::Table) -> String {
    let sorted: BTreeMap<&String, &toml::Value> = parameters.iter().collect();
    serde_json::to_string(&sorted).unwrap_or_else(|_| "{}".to_string())
}
