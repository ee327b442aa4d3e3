//! Quality control: metrics with units, acceptable ranges, verdicts.
//!
//! What lives here: the type of a metric (a finite number or the reason why there is none), the ranges of
//! `config/qc.toml` and the verdict that follows. What never lives here: how a metric is measured (`recipes`).

pub mod limits;
pub mod metric;
pub mod page;

pub use limits::{Judged, Limits, LimitsError, QcRange, Severity};
pub use metric::{QcMetric, QcValue, Verdict};
