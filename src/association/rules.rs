//! The rules of `config/association.toml`, typed and checked.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::keys;
use crate::fault::{Classified, FaultClass};
use crate::instrument::Arm;

/// The shipped rules.
pub const BUILTIN: &str = include_str!("../../config/association.toml");

/// Most masters of one category that a recipe may be given: each is held in memory.
const MOST_MASTERS: usize = 8;

/// What is wrong with the rules.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// Not valid TOML, an unknown key or a wrong type.
    #[error("{origin}: {message}")]
    Parse {
        /// File.
        origin: String,
        /// With line and column.
        message: String,
    },
    /// A rule that cannot be applied.
    #[error("{origin}: recipe {recipe}: {reason}")]
    Rule {
        /// File.
        origin: String,
        /// Recipe or need group.
        recipe: String,
        /// What is wrong and what is allowed.
        reason: String,
    },
}

impl Classified for RulesError {
    fn class(&self) -> FaultClass {
        FaultClass::Config
    }
}

/// How the frames of a template are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grouping {
    /// All frames of one execution of a template that share the keys.
    Template,
    /// Every exposure by itself.
    Exposure,
    /// No frames of its own: a set beside each set of other recipes, made of their products.
    Follow,
}

/// What else a product must be when it is made of the same light, not a calibration for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Partner {
    /// Of the set that is followed.
    Followed,
    /// Exposed at the same time, at least half of the shorter exposure.
    Simultaneous,
}

/// A value that a master must have, whatever the data has.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Must {
    /// Key.
    pub key: String,
    /// Value.
    pub value: String,
}

/// A pair of different values that counts as a match.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Also {
    /// Key.
    pub key: String,
    /// Value of the data.
    pub data: String,
    /// Value of the master.
    pub master: String,
    /// Arms for which it holds; all when left out.
    #[serde(default)]
    pub arms: Vec<Arm>,
}

/// A master calibration that a recipe needs.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Need {
    /// PRO CATG without the arm.
    pub master: String,
    /// Recipes whose products of that category serve.
    pub from: Vec<String>,
    /// Arms that need it; all when left out.
    #[serde(default)]
    pub arms: Vec<Arm>,
    /// Arm of the product; that of the set when left out.
    #[serde(default)]
    pub arm: Option<Arm>,
    /// Only products of the same light serve; validity and the order in time do not matter then.
    #[serde(default)]
    pub partner: Option<Partner>,
    /// Keys that must be equal.
    #[serde(rename = "match")]
    pub matching: Vec<String>,
    /// Keys that should be equal: a master that has them goes before one that has not.
    #[serde(default)]
    pub prefer: Vec<String>,
    /// Values that the master must have.
    #[serde(default)]
    pub must: Vec<Must>,
    /// Different values that count as equal.
    #[serde(default)]
    pub also: Vec<Also>,
    /// Whether the recipe cannot run without it.
    #[serde(default = "yes")]
    pub required: bool,
    /// Most masters that are taken, the best ones first: more than one where a recipe weighs what several say.
    #[serde(default = "one")]
    pub count: usize,
    /// Only masters of the data's own night serve, and those taken after the data too: partners of one calibration block.
    #[serde(default)]
    pub same_night: bool,
    /// Name of the validity steps.
    pub validity: String,
}

impl Need {
    /// PRO CATG with the arm, as products carry it.
    pub fn catg(&self, arm: Arm) -> String {
        format!("{}_{}", self.master, self.arm(arm))
    }

    /// Arm of the products that serve a set of an arm.
    pub fn arm(&self, arm: Arm) -> Arm {
        self.arm.unwrap_or(arm)
    }
}

/// How one recipe's sets are made and what they need.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecipeRule {
    /// Recipe.
    pub name: String,
    /// Its part of file names.
    pub token: String,
    /// Arms for which it exists.
    pub arms: Vec<Arm>,
    /// How frames are put together.
    pub grouping: Grouping,
    /// Recipes whose sets this one follows.
    #[serde(default)]
    pub follows: Vec<String>,
    /// Keys that all frames of a set share.
    pub keys: Vec<String>,
    /// Fewest frames with which a set can be used.
    pub min_frames: usize,
    /// Lower runs first.
    pub priority: i64,
    /// PRO CATGs without the arm that it makes.
    pub makes: Vec<String>,
    /// Shared needs, by name.
    #[serde(default)]
    need_group: Option<String>,
    /// Needs of its own; the shared ones are appended when the rules are read.
    #[serde(default, rename = "need")]
    pub needs: Vec<Need>,
}

impl RecipeRule {
    /// What this recipe needs for an arm.
    pub fn needs_of(&self, arm: Arm) -> impl Iterator<Item = &Need> {
        self.needs.iter().filter(move |need| need.arms.is_empty() || need.arms.contains(&arm))
    }
}

/// Observations that go before all others.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetOfOpportunity {
    /// Words in OBS NAME.
    pub words: Vec<String>,
    /// Priority.
    pub priority: i64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NeedGroup {
    name: String,
    #[serde(default)]
    includes: Option<String>,
    #[serde(default, rename = "need")]
    needs: Vec<Need>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RulesFile {
    validity: BTreeMap<String, Vec<f64>>,
    target_of_opportunity: TargetOfOpportunity,
    #[serde(rename = "recipe")]
    recipes: Vec<RecipeRule>,
    #[serde(default, rename = "need_group")]
    need_groups: Vec<NeedGroup>,
}

/// All rules.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    validity: BTreeMap<String, Vec<f64>>,
    /// Observations that go first.
    pub target_of_opportunity: TargetOfOpportunity,
    recipes: Vec<RecipeRule>,
}

impl Rules {
    /// Read and check rules; `origin` is named in errors.
    pub fn parse(text: &str, origin: &str) -> Result<Rules, RulesError> {
        let file: RulesFile = toml::from_str(text).map_err(|error| RulesError::Parse {
            origin: origin.to_string(),
            message: error.to_string().trim_end().to_string(),
        })?;
        let mut recipes = file.recipes;
        for recipe in &mut recipes {
            if let Some(group) = recipe.need_group.take() {
                let shared = shared_needs(&file.need_groups, &group, 0).ok_or_else(|| RulesError::Rule {
                    origin: origin.to_string(),
                    recipe: recipe.name.clone(),
                    reason: format!("need_group = {group:?} does not exist or includes itself"),
                })?;
                recipe.needs.extend(shared);
            }
        }
        let rules = Rules { validity: file.validity, target_of_opportunity: file.target_of_opportunity, recipes };
        rules.check(origin)?;
        Ok(rules)
    }

    /// The shipped rules.
    pub fn builtin() -> Result<Rules, RulesError> {
        Rules::parse(BUILTIN, "config/association.toml")
    }

    /// The rule of a recipe.
    pub fn recipe(&self, name: &str) -> Option<&RecipeRule> {
        self.recipes.iter().find(|rule| rule.name == name)
    }

    /// Recipes whose sets follow those of a recipe and arm.
    pub fn followers_of(&self, recipe: &str, arm: Arm) -> impl Iterator<Item = &RecipeRule> {
        self.recipes
            .iter()
            .filter(move |rule| rule.arms.contains(&arm) && rule.follows.iter().any(|name| name == recipe))
    }

    /// Validity steps in days, best first; the level of a master is the index of the first step that holds it.
    pub fn steps(&self, validity: &str) -> &[f64] {
        self.validity.get(validity).map(Vec::as_slice).unwrap_or_default()
    }

    /// For how many days a calibration is inside the plan, by PRO CATG with the arm: the first step of its strictest need.
    /// Partners of one block are in no plan.
    pub fn fresh_days(&self) -> BTreeMap<String, f64> {
        let mut fresh: BTreeMap<String, f64> = BTreeMap::new();
        for rule in &self.recipes {
            for arm in &rule.arms {
                for need in rule.needs_of(*arm).filter(|need| need.required && !need.same_night) {
                    let Some(days) = self.steps(&need.validity).first() else { continue };
                    fresh.entry(need.catg(*arm)).and_modify(|least| *least = least.min(*days)).or_insert(*days);
                }
            }
        }
        fresh
    }

    /// How masters of a category (PRO CATG without the arm) are taken: whether any need takes those of its own night, and
    /// the most that one takes.
    pub fn taken(&self, master: &str) -> (bool, usize) {
        let needs = self.recipes.iter().flat_map(|rule| &rule.needs).filter(|need| need.master == master);
        needs.fold((false, 1), |(night, most), need| {
            (night || need.same_night || need.partner.is_some(), most.max(need.count))
        })
    }

    /// Recipes that need products of a category from a recipe.
    pub fn users_of(&self, maker: &str) -> Vec<String> {
        self.recipes
            .iter()
            .filter(|rule| rule.needs.iter().any(|need| need.from.iter().any(|from| from == maker)))
            .map(|rule| rule.name.clone())
            .collect()
    }

    fn check(&self, origin: &str) -> Result<(), RulesError> {
        for (index, rule) in self.recipes.iter().enumerate() {
            let wrong =
                |reason: String| RulesError::Rule { origin: origin.to_string(), recipe: rule.name.clone(), reason };
            if self.recipes.iter().take(index).any(|other| other.name == rule.name) {
                return Err(wrong("is defined twice".to_string()));
            }
            if rule.min_frames == 0 {
                return Err(wrong("min_frames = 0: must be at least 1".to_string()));
            }
            for key in
                rule.keys.iter().chain(rule.needs.iter().flat_map(|need| need.matching.iter().chain(&need.prefer)))
            {
                if !keys::NAMES.contains(&key.as_str()) {
                    return Err(wrong(format!("key {key:?} is unknown; keys are {}", keys::NAMES.join(", "))));
                }
            }
            self.check_follows(rule).map_err(&wrong)?;
            for need in &rule.needs {
                self.check_need(rule, need).map_err(&wrong)?;
            }
        }
        Ok(())
    }

    fn check_follows(&self, rule: &RecipeRule) -> Result<(), String> {
        if (rule.grouping == Grouping::Follow) == rule.follows.is_empty() {
            return Err("grouping = \"follow\" and follows = [...] go together".to_string());
        }
        for name in &rule.follows {
            let followed = self.recipe(name).filter(|other| other.grouping != Grouping::Follow);
            let Some(followed) = followed else {
                return Err(format!("follows {name:?}, which is no recipe with frames of its own"));
            };
            if let Some(key) = rule.keys.iter().find(|key| !followed.keys.contains(key)) {
                return Err(format!("key {key:?} is not one of the keys of {name}, which it follows"));
            }
        }
        Ok(())
    }

    fn check_need(&self, rule: &RecipeRule, need: &Need) -> Result<(), String> {
        let steps = self.steps(&need.validity);
        if steps.is_empty() || !steps.is_sorted() || steps.iter().any(|days| !(days.is_finite() && *days > 0.0)) {
            return Err(format!("need {}: validity {:?} must name rising steps in days", need.master, need.validity));
        }
        if !(1..=MOST_MASTERS).contains(&need.count) {
            return Err(format!("need {}: count = {} must be from 1 to {MOST_MASTERS}", need.master, need.count));
        }
        if need.partner.is_some() != (rule.grouping == Grouping::Follow) {
            return Err(format!("need {}: partner belongs to recipes that follow others, and only there", need.master));
        }
        for from in &need.from {
            let makes = self.recipe(from).is_some_and(|maker| maker.makes.contains(&need.master));
            if !makes {
                return Err(format!("need {}: recipe {from:?} does not make it", need.master));
            }
        }
        for key in need.matching.iter().chain(&need.prefer) {
            if !rule.keys.contains(key) {
                return Err(format!("need {}: key {key:?} is not one of the set's keys", need.master));
            }
        }
        Ok(())
    }
}

fn shared_needs(groups: &[NeedGroup], name: &str, depth: usize) -> Option<Vec<Need>> {
    let group = groups.iter().find(|group| group.name == name).filter(|_| depth < 8)?;
    let mut needs = match &group.includes {
        Some(other) => shared_needs(groups, other, depth + 1)?,
        None => Vec::new(),
    };
    needs.extend(group.needs.iter().cloned());
    Some(needs)
}

fn yes() -> bool {
    true
}

fn one() -> usize {
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_rules_are_sound_and_know_every_recipe_of_the_instrument() {
        let rules = Rules::builtin().expect("shipped rules");
        for name in
            ["mbias", "mdark", "disp_solution", "order_centres", "mflat", "spat_solution", "stare", "nod", "offset"]
        {
            assert!(rules.recipe(name).is_some(), "{name}");
        }
        assert!(rules.users_of("mbias").contains(&"disp_solution".to_string()));
        let science = rules.recipe("nod").expect("nod");
        let masters: Vec<&str> = science.needs_of(Arm::Nir).map(|need| need.master.as_str()).collect();
        assert_eq!(masters, ["MASTER_DARK", "MASTER_FLAT", "BP_MAP", "BLAZE_TAB", "DISP_IMAGE", "RESP_TAB"]);
    }

    #[test]
    fn a_wrong_rule_is_named() {
        let unknown = BUILTIN.replace("keys = [\"kind\", \"read_mode\", \"binning\", \"gain\"]", "keys = [\"speed\"]");
        let error = Rules::parse(&unknown, "a.toml").expect_err("unknown key").to_string();
        assert!(error.contains("mbias") && error.contains("\"speed\"") && error.contains("read_mode"), "{error}");
        let greedy = BUILTIN.replace("count = 3", "count = 500");
        let error = Rules::parse(&greedy, "a.toml").expect_err("too many").to_string();
        assert!(error.contains("mflat") && error.contains("BP_MAP") && error.contains("from 1 to 8"), "{error}");
        let ring = BUILTIN.replace(r#"follows = ["stare", "nod", "offset"]"#, r#"follows = ["merge_arms"]"#);
        let error = Rules::parse(&ring, "a.toml").expect_err("follows itself").to_string();
        assert!(error.contains("merge_arms") && error.contains("no recipe with frames of its own"), "{error}");
        let strange = BUILTIN.replace(r#"keys = ["kind", "object"]"#, r#"keys = ["kind", "object", "lamp"]"#);
        let error = Rules::parse(&strange, "a.toml").expect_err("no such key").to_string();
        assert!(error.contains("\"lamp\"") && error.contains("stare"), "{error}");
        let error = Rules::parse("[validity]\ndaily = 3", "a.toml").expect_err("wrong type").to_string();
        assert!(error.contains("a.toml") && error.contains("line 2"), "{error}");
    }
}
