//! The plan of a night as people write it: a TOML file.
//!
//! ```toml
//! title = "a small night"
//! start = "2026-03-10T19:00:00Z"   # when the first template may start
//! seed = 1
//! lacks = ["NIR flats"]            # calibrations that are missing on purpose; told in the truth
//! gain_cards = "eso"               # or "both": see GainCards
//!
//! [seeds]                          # own seeds of single effects; all others follow from `seed`
//! cosmics = 7
//!
//! [conditions]                     # weather: seeing, pwv, cloud, moon_phase, moon_distance, airglow, temperature
//! seeing = 0.8
//!
//! [flexure.NIR]                    # how the image lies on a detector: shift, scale, rotation
//! shift = [0.4, -0.2]
//!
//! [instrument.VIS.detector]        # strengths of effects: 1 usual, 0 off; see `Instrument` for all tables
//! prnu = 0.5
//!
//! [[target]]
//! name = "AT2026abc"
//! ra = 150.1
//! dec = -31.0
//! spectrum = "template:blue-transient"  # standard:NAME, template:NAME, table:FILE
//! magnitude = 18.5                 # AB above the atmosphere, in `band`
//!
//! [[template]]
//! kind = "object-nod"
//! arm = "VIS"
//! exptime = 300
//! frames = 4
//! object = "AT2026abc"
//! faults = [{ frame = 2, fault = { cloud = { magnitudes = 3 } } }]
//! ```
//!
//! What lives here: the file, its checks, and the parts of a plan. What never lives here: clocks and headers, which
//! follow from a plan.

mod conditions;
mod error;
mod setup;
mod shipped;
mod target;
mod template;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::SimError;
use super::instrument::Instrument;
use super::night::NightPlan;
use super::optics::Flexure;
use super::painter::Spectra;
use super::random::{Effect, Seeds};
use template::TemplateEntry;

pub use conditions::{Conditions, ConditionsChange};
pub use error::PlanError;
pub use setup::{FILTERS, GainCards, Lamp, LitLamp, SLITS, Shutter};
pub use shipped::{SHIPPED, Shipped};
pub use target::{Source, Target};

/// A plan: checked, with its text.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What the night is for.
    pub title: String,
    /// Calibrations that are missing on purpose.
    pub lacks: Vec<String>,
    /// The night that follows from it.
    pub night: NightPlan,
    /// Name or path under which it was found.
    pub name: String,
    /// The file as it was read.
    pub text: String,
}

/// The file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanFile {
    title: String,
    start: Timestamp,
    #[serde(default)]
    seed: u64,
    #[serde(default)]
    seeds: BTreeMap<Effect, u64>,
    #[serde(default)]
    lacks: Vec<String>,
    #[serde(default)]
    gain_cards: GainCards,
    #[serde(default)]
    conditions: Conditions,
    #[serde(default)]
    flexure: FlexureFile,
    #[serde(default)]
    instrument: Instrument,
    #[serde(default, rename = "target")]
    targets: Vec<Spanned<Target>>,
    #[serde(default, rename = "template")]
    templates: Vec<Spanned<TemplateEntry>>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FlexureFile {
    #[serde(rename = "VIS")]
    vis: Flexure,
    #[serde(rename = "NIR")]
    nir: Flexure,
}

impl Plan {
    /// A file if there is one of this name, else the shipped plan.
    pub fn load(name: &str) -> Result<Plan, PlanError> {
        let path = Path::new(name);
        if path.is_file() {
            let text =
                std::fs::read_to_string(path).map_err(|source| PlanError::Read { path: path.to_path_buf(), source })?;
            return Plan::parse(name, &text);
        }
        match SHIPPED.iter().find(|shipped| shipped.name == name) {
            Some(shipped) => Plan::parse(name, shipped.text),
            None => {
                let known: Vec<&str> = SHIPPED.iter().map(|shipped| shipped.name).collect();
                Err(PlanError::Unknown { name: name.to_string(), known: known.join(", ") })
            }
        }
    }

    /// Read and check a plan; `name` stands in messages.
    pub fn parse(name: &str, text: &str) -> Result<Plan, PlanError> {
        let file: PlanFile = toml::from_str(text).map_err(|error| syntax(name, text, &error))?;
        let place = Place { file: name, text };
        let targets = place.targets(&file.targets)?;
        if let Some((key, value, remedy)) = file.conditions.fault() {
            let from = text.find("[conditions]").unwrap_or(0);
            return Err(place.wrong(from, "conditions", key, value.to_string(), remedy));
        }
        let mut night = NightPlan::new(file.start);
        night.seeds = Seeds { night: file.seed, effects: file.seeds };
        night.conditions = file.conditions;
        night.flexure = [file.flexure.vis, file.flexure.nir];
        night.gain_cards = file.gain_cards;
        night.instrument = file.instrument;
        night.folder = Path::new(name).parent().map_or_else(PathBuf::new, Path::to_path_buf);
        if let Some((key, found, remedy)) = night.instrument.fault() {
            let from = text.find("[instrument").unwrap_or(0);
            return Err(place.wrong(from, "instrument", key, found.to_string(), remedy));
        }
        let mut labels = Vec::new();
        for (index, entry) in file.templates.iter().enumerate() {
            let label = format!("template {} ({})", index + 1, entry.get_ref().label());
            let template = entry
                .get_ref()
                .plan(&targets)
                .map_err(|(key, found, remedy)| place.wrong(entry.span().start, &label, key, found, &remedy))?;
            labels.push((label, entry.span().start));
            night.templates.push(template);
        }
        if night.templates.is_empty() {
            return Err(place.wrong(
                0,
                "the plan",
                "template",
                "nothing".to_string(),
                "give at least one [[template]]",
            ));
        }
        // What only spectra, clocks, detectors and the sky can tell.
        if let Err(SimError::Spectrum { target, problem }) = Spectra::new(&night) {
            let from =
                file.targets.iter().find(|entry| entry.get_ref().name == target).map_or(0, |entry| entry.span().start);
            let place = format!("{name}:{}", line_of(text, from));
            return Err(PlanError::Template { place, part: format!("target {target}"), problem });
        }
        night.exposures().map_err(|error| match error {
            SimError::Plan { template, problem, .. } => {
                let (part, from) = labels.get(template - 1).cloned().unwrap_or_default();
                PlanError::Template { place: format!("{name}:{}", line_of(text, from)), part, problem }
            }
            other => PlanError::Syntax { place: format!("{name}:1"), message: other.to_string() },
        })?;
        Ok(Plan { title: file.title, lacks: file.lacks, night, name: name.to_string(), text: text.to_string() })
    }
}

/// What the parser says, in one line, with the line of the plan that it is about.
fn syntax(name: &str, text: &str, error: &toml::de::Error) -> PlanError {
    let line = error.span().map_or(1, |span| line_of(text, span.start));
    let message = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
    let said = text.lines().nth(line - 1).map(str::trim).unwrap_or_default();
    let message = match said.split_once('=') {
        Some((key, _)) if !message.contains(&format!("`{}`", key.trim())) && said.len() <= 80 => {
            format!("{said}: {message}")
        }
        _ => message,
    };
    PlanError::Syntax { place: format!("{name}:{line}"), message }
}

/// A plan's text, for finding lines in it.
struct Place<'a> {
    file: &'a str,
    text: &'a str,
}

impl Place<'_> {
    fn targets(&self, entries: &[Spanned<Target>]) -> Result<Vec<Target>, PlanError> {
        let mut names = BTreeSet::new();
        for (index, entry) in entries.iter().enumerate() {
            let target = entry.get_ref();
            let part = format!("target {} ({})", index + 1, target.name);
            if let Some((key, found, remedy)) = target.fault() {
                return Err(self.wrong(entry.span().start, &part, key, found, remedy));
            }
            if !names.insert(target.name.as_str()) {
                let found = format!("{:?}", target.name);
                return Err(self.wrong(
                    entry.span().start,
                    &part,
                    "name",
                    found,
                    "give another name: this one is taken",
                ));
            }
        }
        Ok(entries.iter().map(|entry| entry.get_ref().clone()).collect())
    }

    /// An error at the first line with the key at or after `from`, or at `from`.
    fn wrong(&self, from: usize, part: &str, key: &str, found: String, remedy: &str) -> PlanError {
        let first = line_of(self.text, from);
        let below = self.text.lines().enumerate().skip(first);
        let line = below
            .take_while(|(_, line)| !line.trim_start().starts_with('['))
            .find(|(_, line)| line.trim_start().starts_with(key))
            .map_or(first, |(index, _)| index + 1);
        PlanError::Value {
            place: format!("{}:{line}", self.file),
            part: part.to_string(),
            key: key.to_string(),
            found,
            remedy: remedy.to_string(),
        }
    }
}

/// The line, from 1, of a byte.
fn line_of(text: &str, byte: usize) -> usize {
    text.bytes().take(byte).filter(|byte| *byte == b'\n').count() + 1
}
