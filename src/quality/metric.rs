//! One QC metric. NaN cannot be represented: a metric is measured or it is absent with a reason.

use serde::{Deserialize, Serialize};

/// A measured finite value, or why it could not be measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QcValue {
    /// Finite by construction, see [`QcMetric::measured`].
    Measured(f64),
    /// The reason, for people.
    Absent(String),
}

/// Whether a value lies in its acceptable range. Bounds are inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// In range, or without a range.
    Pass,
    /// Outside a range of severity "warn".
    Warn,
    /// Outside a range of severity "fail": the product must not become a master.
    Fail,
}

impl Verdict {
    /// Stable identifier: `pass`, `warn`, `fail`.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Warn => "warn",
            Verdict::Fail => "fail",
        }
    }
}

/// One metric as a recipe emits it, before limits are applied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QcMetric {
    /// Upper-case name with blanks, as the reference pipeline has it where it has one: `RAW RON`.
    pub name: String,
    /// The number or the reason.
    pub value: QcValue,
    /// Unit, empty for a pure number.
    pub unit: String,
    /// What it is, short enough for a FITS comment.
    pub comment: String,
    /// `-1` for a global value; u, g, r, i or the order number for an order-resolved one.
    pub order: String,
    /// Whether it is written to the product header as `ESO QC <NAME>`.
    pub to_header: bool,
}

impl QcMetric {
    /// A global metric. A value that is not finite becomes an absent metric with that reason.
    pub fn measured(name: &str, value: f64, unit: &str, comment: &str) -> QcMetric {
        let value = if value.is_finite() {
            QcValue::Measured(value)
        } else {
            QcValue::Absent("the measurement gave no finite number".to_string())
        };
        QcMetric {
            name: name.to_string(),
            value,
            unit: unit.to_string(),
            comment: comment.to_string(),
            order: "-1".to_string(),
            to_header: true,
        }
    }

    /// A global metric that could not be measured, and why.
    pub fn absent(name: &str, reason: &str, unit: &str, comment: &str) -> QcMetric {
        QcMetric { value: QcValue::Absent(reason.to_string()), ..QcMetric::measured(name, 0.0, unit, comment) }
    }

    /// The number, when it was measured.
    pub fn number(&self) -> Option<f64> {
        match self.value {
            QcValue::Measured(value) => Some(value),
            QcValue::Absent(_) => None,
        }
    }
}
