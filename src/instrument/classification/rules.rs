//! The rules as they stand in the file, and the checks that make them safe to apply.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use toml::Spanned;

use super::ClassificationError;
use crate::instrument::{Arm, Usage};

/// The version of the layout that this program reads.
const SCHEMA: u32 = 1;

/// Placeholders that a reason may use.
pub(super) const PLACEHOLDERS: [&str; 6] = ["{arm}", "{catg}", "{type}", "{tech}", "{slit}", "{lamp}"];

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rules {
    schema: Spanned<u32>,
    pub instrument: KeywordValue,
    pub product: KeywordList,
    pub data_id: DataIdRule,
    pub arm_of: ArmRule,
    pub time: TimeRule,
    pub keywords: Keywords,
    pub required: Vec<Required>,
    #[serde(rename = "arm")]
    pub arms: BTreeMap<Arm, ArmRules>,
    pub exposure: ExposureRule,
    pub slit: SlitRule,
    pub slitmask: Vec<Slitmask>,
    #[serde(rename = "lamp")]
    pub lamps: Vec<Lamp>,
    pub gain: GainRule,
    pub ron: KeywordList,
    #[serde(rename = "mark")]
    pub marks: Vec<Mark>,
    #[serde(rename = "kind")]
    pub kinds: Vec<Kind>,
    pub otherwise: Otherwise,
}

/// A keyword and the value that it must have.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeywordValue {
    pub keyword: String,
    pub value: String,
}

/// Keywords, tried in order.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeywordList {
    pub keywords: Vec<String>,
}

/// Form of the data id.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DataIdRule {
    pub prefix: String,
    pub keyword: String,
}

/// Which keywords say the arm.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ArmRule {
    pub keyword: String,
    pub fallback: Vec<ArmFallback>,
}

/// A camera that is recognised without the arm keyword.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ArmFallback {
    pub keyword: String,
    pub value: String,
    pub arm: Arm,
}

/// Which times are believed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TimeRule {
    pub earliest: Timestamp,
    pub future_warn_hours: i64,
    pub future_error_hours: i64,
    pub mjd_warn_s: f64,
    pub mjd_error_s: f64,
}

/// Where the fields of a description come from.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Keywords {
    pub date_obs: String,
    pub mjd_obs: String,
    pub dpr_catg: String,
    pub dpr_type: String,
    pub dpr_tech: String,
    pub tpl_id: String,
    pub tpl_name: String,
    pub tpl_start: String,
    pub tpl_expno: String,
    pub tpl_nexp: String,
    pub obs_id: String,
    pub obs_name: String,
    pub prog_id: String,
    pub object: String,
    pub common_path_temp: Gauge,
    pub target: String,
    pub position: [String; 2],
    pub airmass: StartEnd,
    pub seeing: StartEnd,
    pub nod: String,
    pub fixed_offset: [String; 2],
}

/// A number at the start and at the end of an exposure, with the range in which it is believed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StartEnd {
    pub start: String,
    pub end: String,
    pub plausible: [f64; 2],
}

/// A number with the range in which it is believed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Gauge {
    pub keyword: String,
    pub plausible: [f64; 2],
}

/// Type of a required keyword.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(super) enum ValueType {
    /// A string that is not blank.
    Text,
    /// A finite number.
    Real,
    /// A whole number or a string that is not blank.
    Label,
}

/// A keyword without which a frame cannot be used.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Required {
    pub keyword: String,
    #[serde(rename = "type")]
    pub value_type: ValueType,
    #[serde(default)]
    pub arms: Vec<Arm>,
    pub remedy: String,
}

/// What holds for one arm.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ArmRules {
    pub exposure: Vec<String>,
    pub columns: [usize; 2],
    pub rows: [usize; 2],
    pub bitpix: Vec<i64>,
    pub slit: Option<String>,
    pub filter: Option<String>,
    pub read_mode: Option<ReadModeRule>,
    pub binning: Option<BinningRule>,
    pub detector_temp: Option<Gauge>,
}

/// The read mode of an arm.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadModeRule {
    pub keyword: String,
    pub known: Vec<String>,
}

/// The binning of an arm.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BinningRule {
    pub x: String,
    pub y: String,
    pub allowed: Vec<[usize; 2]>,
}

/// Which exposure times are believed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExposureRule {
    pub max_s: f64,
    pub zero_types: Vec<String>,
}

/// When the slit means nothing.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SlitRule {
    pub blank_types: Vec<String>,
}

/// How a slit's name becomes a mask.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Slitmask {
    pub contains: String,
    pub value: String,
}

/// A lamp of the calibration unit.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lamp {
    pub keyword: String,
    pub label: String,
}

/// How CONAD and GAIN become one number.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(super) enum GainChoice {
    /// CONAD when the two are reciprocals, else the one nearest to nominal.
    Reciprocal,
    /// The larger, as the reference pipeline takes it.
    Max,
}

/// The gain rule.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GainRule {
    pub rule: GainChoice,
    pub conad: String,
    pub gain: String,
    pub tolerance: f64,
    pub plausible: [f64; 2],
    pub default: Vec<GainDefault>,
    pub nominal: Vec<GainNominal>,
}

/// Gain of an arm when nothing else is known.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GainDefault {
    pub arm: Arm,
    pub value: f64,
    pub cards: bool,
}

/// Published gain of a read mode.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GainNominal {
    pub arm: Arm,
    pub read_mode: String,
    pub value: f64,
}

/// A property of a header that kinds can ask for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mark {
    pub name: String,
    #[serde(default)]
    pub arms: Vec<Arm>,
    pub keywords: Vec<String>,
    pub contains: String,
}

/// One kind of frame: conditions and what follows from them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kind {
    pub name: Spanned<String>,
    pub arms: Option<Vec<Arm>>,
    pub catg: Option<Vec<String>>,
    #[serde(rename = "type")]
    pub dpr_type: Option<Vec<String>>,
    pub tech: Option<Vec<String>>,
    pub slit: Option<Vec<String>>,
    pub lamp: Option<Vec<String>>,
    pub lamp_lacks: Option<Vec<String>>,
    pub mark: Option<String>,
    pub usage: Usage,
    pub recipe: Option<String>,
    #[serde(default)]
    pub reason: String,
}

/// What becomes of a frame that no kind fits.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Otherwise {
    pub name: String,
    pub reason: String,
}

impl Rules {
    /// Read the file and refuse what could not be applied.
    pub fn parse(text: &str, origin: &str) -> Result<Rules, ClassificationError> {
        let rules: Rules = toml::from_str(text).map_err(|error| ClassificationError::Syntax {
            origin: origin.to_string(),
            line: error.span().map_or(1, |span| line_of(text, span.start)),
            message: error.message().to_string(),
        })?;
        match rules.problem() {
            None => Ok(rules),
            Some(problem) => Err(ClassificationError::Rule {
                origin: origin.to_string(),
                line: line_of(text, problem.offset),
                subject: problem.subject,
                problem: problem.text,
            }),
        }
    }

    /// The rules of an arm. Every arm has them: checked when the file is read.
    pub fn arm(&self, arm: Arm) -> Option<&ArmRules> {
        self.arms.get(&arm)
    }

    /// The first contradiction.
    fn problem(&self) -> Option<Problem> {
        if *self.schema.get_ref() != SCHEMA {
            let text = format!("{} is not known, this program reads schema {SCHEMA}", self.schema.get_ref());
            return Some(Problem { offset: self.schema.span().start, subject: "schema".to_string(), text });
        }
        self.section_problem()
            .map(|(subject, text)| Problem { offset: 0, subject, text })
            .or_else(|| self.kinds.iter().find_map(|kind| self.kind_problem(kind)))
    }

    fn section_problem(&self) -> Option<(String, String)> {
        for arm in [Arm::Vis, Arm::Nir, Arm::Acq] {
            let subject = format!("[arm.{arm}]");
            let Some(rules) = self.arms.get(&arm) else {
                return Some((subject, "the section is missing".to_string()));
            };
            if rules.exposure.is_empty() || rules.bitpix.is_empty() {
                return Some((subject, "exposure and bitpix need at least one entry".to_string()));
            }
            if rules.columns[0] > rules.columns[1] || rules.rows[0] > rules.rows[1] || rules.rows[0] == 0 {
                return Some((subject, "columns and rows are ranges [lowest, highest] above zero".to_string()));
            }
            if let Some(binning) = &rules.binning
                && (binning.allowed.is_empty() || binning.allowed.iter().flatten().any(|&factor| factor == 0))
            {
                return Some((subject, "binning.allowed needs pairs [x, y] above zero".to_string()));
            }
            if let Some(gauge) = &rules.detector_temp
                && !is_range(gauge.plausible)
            {
                return Some((subject, "detector_temp.plausible is a range [lowest, highest]".to_string()));
            }
            if !self.gain.default.iter().any(|default| default.arm == arm) {
                return Some(("[[gain.default]]".to_string(), format!("none for arm {arm}")));
            }
        }
        let gains = self.gain.default.iter().map(|d| d.value).chain(self.gain.nominal.iter().map(|n| n.value));
        if gains.into_iter().any(|value| !(value > 0.0 && value.is_finite())) {
            return Some(("[gain]".to_string(), "gains are numbers above zero".to_string()));
        }
        let tolerance = self.gain.tolerance;
        if !is_range(self.gain.plausible) || !is_range([0.0, tolerance]) || !is_range([tolerance, 1.0]) {
            return Some(("[gain]".to_string(), "plausible is a range and tolerance lies between 0 and 1".to_string()));
        }
        let time = &self.time;
        let ordered = time.mjd_warn_s >= 0.0 && time.mjd_warn_s <= time.mjd_error_s;
        if !ordered || time.future_warn_hours < 0 || time.future_warn_hours > time.future_error_hours {
            return Some(("[time]".to_string(), "a warning comes before its error, none below zero".to_string()));
        }
        if !is_range([0.0, self.exposure.max_s]) {
            return Some(("[exposure]".to_string(), "max_s is a number above zero".to_string()));
        }
        if !is_range(self.keywords.common_path_temp.plausible) {
            return Some(("[keywords]".to_string(), "common_path_temp.plausible is a range".to_string()));
        }
        unknown_placeholder(&self.otherwise.reason).map(|text| ("[otherwise]".to_string(), text))
    }

    fn kind_problem(&self, kind: &Kind) -> Option<Problem> {
        let says = |text: String| {
            let subject = format!("kind {:?}", kind.name.get_ref());
            Some(Problem { offset: kind.name.span().start, subject, text })
        };
        if kind.name.get_ref().is_empty() {
            return says("the name is empty".to_string());
        }
        if kind.usage == Usage::Reduce && kind.recipe.is_none() {
            return says("usage reduce needs a recipe".to_string());
        }
        if kind.usage == Usage::Ignore && kind.recipe.is_some() {
            return says("usage ignore and a recipe contradict each other".to_string());
        }
        if kind.usage != Usage::Reduce && kind.reason.is_empty() {
            return says("a frame that is not reduced needs a reason".to_string());
        }
        if let Some(mark) = &kind.mark
            && !self.marks.iter().any(|known| known.name == *mark)
        {
            return says(format!("mark {mark:?} is not defined by any [[mark]]"));
        }
        let labels = kind.lamp_lacks.iter().flatten();
        if let Some(label) = labels.into_iter().find(|label| !self.lamps.iter().any(|lamp| lamp.label == **label)) {
            return says(format!("lamp {label:?} is not defined by any [[lamp]]"));
        }
        unknown_placeholder(&kind.reason).and_then(says)
    }
}

/// A contradiction and where it stands.
struct Problem {
    offset: usize,
    subject: String,
    text: String,
}

fn is_range(range: [f64; 2]) -> bool {
    range[0] < range[1]
}

/// A brace in a reason that is not one of the placeholders.
fn unknown_placeholder(reason: &str) -> Option<String> {
    let rest = PLACEHOLDERS.iter().fold(reason.to_string(), |text, placeholder| text.replace(placeholder, ""));
    rest.contains(['{', '}']).then(|| format!("the reason may use only {}", PLACEHOLDERS.join(" ")))
}

/// Line of a byte offset, from 1.
fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|&byte| byte == b'\n').count()
}

/// Without any blanks and in upper case.
pub(super) fn canonical(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_whitespace()).collect::<String>().to_uppercase()
}

/// An empty list of arms means all of them.
pub(super) fn applies(arms: &[Arm], arm: Arm) -> bool {
    arms.is_empty() || arms.contains(&arm)
}
