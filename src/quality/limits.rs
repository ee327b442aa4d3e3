//! Acceptable ranges of metrics and the verdict that follows.
//!
//! What lives here: the checked form of `config/qc.toml`. What never lives here: how a metric is measured, and what is
//! done with a product that failed.

use serde::Deserialize;
use toml::Spanned;

use super::metric::{QcMetric, Verdict};
use crate::instrument::Arm;

/// What a value outside its range means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Say so and use the product.
    Warn,
    /// The product must not become a master.
    Fail,
}

/// One range. Bounds are included.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QcRange {
    /// Recipe, or `*` for every one.
    pub recipe: String,
    /// `VIS`, `NIR` or `ACQ`.
    pub arm: Arm,
    /// Metric.
    pub name: String,
    /// Order of the metric, `-1` for its global value, or `*` for every order.
    #[serde(default = "global")]
    pub order: String,
    /// Smallest good value.
    pub min: Option<f64>,
    /// Largest good value.
    pub max: Option<f64>,
    /// What a value outside means.
    pub severity: Severity,
    /// Who set the range.
    pub author: String,
    /// When, `YYYY-MM-DD`.
    pub date: String,
    /// Why; may be empty.
    #[serde(default)]
    pub note: String,
}

fn global() -> String {
    "-1".to_string()
}

/// Why a file of ranges cannot be used. The text names the line.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LimitsError {
    /// Not the TOML that is expected.
    #[error("ranges of QC metrics cannot be read: {0}")]
    Syntax(String),
    /// A range that contradicts itself or another one.
    #[error("ranges of QC metrics, line {line}: the range of {recipe} {arm} {name} (order {order}) {reason}")]
    Range {
        /// Line at which the range starts, from 1.
        line: usize,
        /// Its recipe.
        recipe: String,
        /// Its arm.
        arm: Arm,
        /// Its metric.
        name: String,
        /// Its order.
        order: String,
        /// What is wrong.
        reason: String,
    },
}

/// What a range says of a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    /// The verdict.
    pub verdict: Verdict,
    /// Lower bound that was applied.
    pub min: Option<f64>,
    /// Upper bound that was applied.
    pub max: Option<f64>,
}

/// All ranges.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    ranges: Vec<QcRange>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    range: Vec<Spanned<QcRange>>,
}

impl Limits {
    /// The ranges that the program comes with, as text: `config/qc.toml`.
    pub const DEFAULT_TEXT: &'static str = include_str!("../../config/qc.toml");

    /// Read and check a file of ranges.
    pub fn parse(text: &str) -> Result<Limits, LimitsError> {
        let file: File = toml::from_str(text).map_err(|error| LimitsError::Syntax(error.to_string()))?;
        let mut ranges: Vec<QcRange> = Vec::with_capacity(file.range.len());
        for entry in file.range {
            let before = text.get(..entry.span().start).unwrap_or(text);
            let line = 1 + before.matches('\n').count();
            let range = entry.into_inner();
            if let Some(reason) = fault_of(&range, &ranges) {
                let QcRange { recipe, arm, name, order, .. } = range;
                return Err(LimitsError::Range { line, recipe, arm, name, order, reason });
            }
            ranges.push(range);
        }
        Ok(Limits { ranges })
    }

    /// All ranges, in file order.
    pub fn ranges(&self) -> &[QcRange] {
        &self.ranges
    }

    /// The range that applies to a metric: an exact order before `*`, an exact recipe before `*`.
    pub fn range_of(&self, recipe: &str, arm: Arm, name: &str, order: &str) -> Option<&QcRange> {
        let fits = |pattern: &str, value: &str| pattern == value || pattern == "*";
        self.ranges
            .iter()
            .filter(|range| range.arm == arm && range.name == name)
            .filter(|range| fits(&range.recipe, recipe) && fits(&range.order, order))
            .max_by_key(|range| (range.order == order, range.recipe == recipe))
    }

    /// The verdict on a metric. One without a range passes. One that could not be measured although it has a range of
    /// severity "fail" is a warning: that nothing was found wrong is not the same as that nothing is wrong.
    pub fn judge(&self, recipe: &str, arm: Arm, metric: &QcMetric) -> Judged {
        let Some(range) = self.range_of(recipe, arm, &metric.name, &metric.order) else {
            return Judged { verdict: Verdict::Pass, min: None, max: None };
        };
        let outside = match range.severity {
            Severity::Warn => Verdict::Warn,
            Severity::Fail => Verdict::Fail,
        };
        let verdict = match (metric.number(), range.severity) {
            (Some(value), _) if range.holds(value) => Verdict::Pass,
            (Some(_), _) => outside,
            (None, Severity::Fail) => Verdict::Warn,
            (None, Severity::Warn) => Verdict::Pass,
        };
        Judged { verdict, min: range.min, max: range.max }
    }
}

impl QcRange {
    /// True when the value lies in the range, bounds included.
    pub fn holds(&self, value: f64) -> bool {
        self.min.is_none_or(|min| value >= min) && self.max.is_none_or(|max| value <= max) && !value.is_nan()
    }
}

fn fault_of(range: &QcRange, earlier: &[QcRange]) -> Option<String> {
    let finite = [range.min, range.max].into_iter().flatten().all(f64::is_finite);
    if range.min.is_none() && range.max.is_none() {
        return Some("has neither min nor max; give at least one".to_string());
    }
    if !finite {
        return Some("has a bound that is not a finite number; leave the bound out instead".to_string());
    }
    if let (Some(min), Some(max)) = (range.min, range.max)
        && min > max
    {
        return Some(format!("has min = {min} above max = {max}"));
    }
    if [&range.recipe, &range.name, &range.order].iter().any(|text| text.trim().is_empty()) {
        return Some("has an empty recipe, name or order".to_string());
    }
    if range.date.parse::<jiff::civil::Date>().is_err() {
        return Some(format!("has date = {:?}; expected YYYY-MM-DD", range.date));
    }
    let same = |other: &QcRange| {
        (&other.recipe, other.arm, &other.name, &other.order) == (&range.recipe, range.arm, &range.name, &range.order)
    };
    earlier.iter().any(same).then(|| "is given twice".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quality::metric::QcValue;

    fn range(text: &str) -> String {
        format!(
            "[[range]]\nrecipe = \"mbias\"\narm = \"VIS\"\nname = \"RAW RON\"\nauthor = \"me\"\ndate = \"2026-01-01\"\n{text}\n"
        )
    }

    fn metric(name: &str, value: f64) -> QcMetric {
        QcMetric::measured(name, value, "", "")
    }

    #[test]
    fn embedded_ranges_are_valid_and_inclusive() {
        let limits = Limits::parse(Limits::DEFAULT_TEXT).unwrap();
        let verdict = |recipe, arm, name, value| limits.judge(recipe, arm, &metric(name, value)).verdict;
        assert_eq!(verdict("mbias", Arm::Vis, "RAW RON", 15.0), Verdict::Pass);
        assert_eq!(verdict("mbias", Arm::Vis, "RAW RON", 0.0), Verdict::Pass);
        assert_eq!(verdict("mbias", Arm::Vis, "RAW RON", 15.001), Verdict::Fail);
        assert_eq!(verdict("mdark", Arm::Nir, "MDARK MEDIAN", -16.0), Verdict::Fail);
        assert_eq!(verdict("mdark", Arm::Nir, "NOISE RATIO", 1.2), Verdict::Warn);
        assert_eq!(verdict("mflat", Arm::Nir, "DETECTOR TEMP", 51.0), Verdict::Fail);
        assert_eq!(verdict("mdark", Arm::Vis, "MDARK MEDIAN", 1e9), Verdict::Pass);
        assert_eq!(limits.judge("mbias", Arm::Vis, &metric("MBIAS MEDIAN", 1.0)).max, Some(3000.0));
    }

    #[test]
    fn what_could_not_be_measured_never_passes_a_hard_limit() {
        let limits = Limits::parse(Limits::DEFAULT_TEXT).unwrap();
        let absent = QcMetric::absent("RAW RON", "no pixel", "electrons", "");
        assert_eq!(limits.judge("mbias", Arm::Vis, &absent).verdict, Verdict::Warn);
        let not_a_number = QcMetric { value: QcValue::Measured(f64::NAN), ..absent };
        assert_eq!(limits.judge("mbias", Arm::Vis, &not_a_number).verdict, Verdict::Fail);
    }

    #[test]
    fn the_most_specific_range_counts() {
        let text = range("min = 0\nseverity = \"fail\"\norder = \"*\"")
            + &range("max = 5\nseverity = \"warn\"")
            + &range("max = 1\nseverity = \"fail\"").replace("mbias", "*");
        let limits = Limits::parse(&text).unwrap();
        let mut value = metric("RAW RON", 7.0);
        assert_eq!(limits.judge("mbias", Arm::Vis, &value).verdict, Verdict::Warn);
        assert_eq!(limits.judge("mdark", Arm::Vis, &value).verdict, Verdict::Fail);
        value.order = "u".to_string();
        assert_eq!(limits.judge("mbias", Arm::Vis, &value).verdict, Verdict::Pass);
    }

    #[test]
    fn faults_name_line_and_reason() {
        for (text, expected) in [
            (range("severity = \"fail\""), "line 1: the range of mbias VIS RAW RON (order -1) has neither"),
            (range("min = 2\nmax = 1\nseverity = \"fail\""), "min = 2 above max = 1"),
            (range("min = nan\nseverity = \"fail\""), "not a finite number"),
            (range("min = 2\nseverity = \"fatal\""), "line 8"),
            (range("min = 2\nseverity = \"fail\"\nmaxx = 3"), "maxx"),
            (
                range("min = 1\nseverity = \"warn\"").repeat(2),
                "line 9: the range of mbias VIS RAW RON (order -1) is given twice",
            ),
            (range("min = 1\nseverity = \"warn\"").replace("2026-01-01", "spring"), "expected YYYY-MM-DD"),
        ] {
            let error = Limits::parse(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
