//! Metrics out of range: of the newest measurement of each set-up, by the fixed ranges with which it was judged, and by
//! comparison with recent nights of the same set-up. One alert for each set-up, however many of its metrics are out; it is
//! over when a newer measurement is good, or when an operator has judged the product.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::catalogue::alerts::Finding;
use crate::catalogue::vigil::{Measured, Newest, OutOfRange};
use crate::catalogue::{Catalogue, CatalogueError};
use crate::config::AlertsConfig;

/// Metrics that are named in a message; more are counted.
const NAMED: usize = 4;
/// Scatter that is taken at least, relative to the median: values that never changed must not make a rounding an alarm.
const LEAST_SCATTER: f64 = 1e-3;
/// Standard deviations in a median absolute deviation of a normal distribution.
const MAD: f64 = 1.4826;

/// Every set-up whose newest measurement is out of range.
pub(super) async fn findings(
    catalogue: &Catalogue,
    config: &AlertsConfig,
    now: Timestamp,
) -> Result<Vec<Finding>, CatalogueError> {
    let ago = |hours: f64| SignedDuration::try_from_secs_f64(hours * 3600.0).unwrap_or(SignedDuration::ZERO);
    let since = now.checked_sub(ago(config.qc_hours)).unwrap_or(now).as_microsecond();
    let newest = catalogue.newest_measurements(since).await?;
    let odd = unusual(catalogue, config, &newest).await?;
    let mut findings = Vec::new();
    for family in &newest {
        let out = catalogue.out_of_range(family.job_id).await?;
        findings.extend(fixed(family, &out));
        findings.extend(odd.get(&family.job_id.0).map(|metrics| Finding {
            key: format!("qc/unusual/{}/{}/{}", family.recipe, family.arm, family.setup),
            kind: "qc",
            severity: "warning",
            text: format!("{} differs from recent nights: {}", family.set_name, listed(metrics)),
            hint: format!("`soxsd why {}`; a new normal needs no act", family.set_name),
        }));
    }
    Ok(findings)
}

fn fixed(family: &Newest, out: &[OutOfRange]) -> Option<Finding> {
    // What was judged by a person, or never failed, is a warning at most.
    let (failed, warned): (Vec<_>, Vec<_>) = out.iter().partition(|metric| metric.verdict == "fail");
    let (severity, metrics) = if family.flagged { ("error", failed) } else { ("warning", warned) };
    let told: Vec<String> = metrics.into_iter().map(describe).collect();
    (!told.is_empty()).then(|| Finding {
        key: format!("qc/{}/{}/{}", family.recipe, family.arm, family.setup),
        kind: "qc",
        severity,
        text: format!("{} is out of range: {}", family.set_name, listed(&told)),
        hint: match severity {
            "error" => {
                format!("it serves no one; `soxsd why {}`, take it again, or `soxsd accept` it", family.set_name)
            }
            _ => format!("it is used all the same; `soxsd why {}`", family.set_name),
        },
    })
}

fn describe(metric: &OutOfRange) -> String {
    let name = if metric.qc_order == "-1" {
        metric.name.clone()
    } else {
        format!("{} of order {}", metric.name, metric.qc_order)
    };
    let bound = |bound: Option<f64>| bound.map_or_else(String::new, |bound| bound.to_string());
    let range = format!("{}..{}", bound(metric.min), bound(metric.max));
    match metric.value {
        Some(value) if metric.unit.is_empty() => format!("{name} = {value:.4} ({range})"),
        Some(value) => format!("{name} = {value:.4} {} ({range})", metric.unit),
        None => format!("{name} was not measured ({range})"),
    }
}

fn listed(metrics: &[String]) -> String {
    let more = metrics.len().saturating_sub(NAMED);
    let named = metrics.get(..NAMED).unwrap_or(metrics).join(", ");
    if more == 0 { named } else { format!("{named} and {more} more") }
}

/// Watched metrics of the newest measurements that differ from those before, by job.
async fn unusual(
    catalogue: &Catalogue,
    config: &AlertsConfig,
    newest: &[Newest],
) -> Result<BTreeMap<i64, Vec<String>>, CatalogueError> {
    let mut odd: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    let Some(first) = newest.iter().map(|family| family.at_us).filter(|at| *at > 0).min() else { return Ok(odd) };
    let since = first - i64::from(config.qc_nights) * 86_400_000_000;
    for name in &config.qc_watch {
        let history = catalogue.measured_since(name, since).await?;
        for family in newest {
            if let Some(told) = compare(name, family, &history, config) {
                odd.entry(family.job_id.0).or_default().push(told);
            }
        }
    }
    Ok(odd)
}

fn compare(name: &str, family: &Newest, history: &[Measured], config: &AlertsConfig) -> Option<String> {
    let own = history.iter().find(|value| value.job_id == family.job_id)?;
    let alike = |value: &&Measured| {
        value.recipe == family.recipe
            && value.arm == family.arm
            && value.setup == family.setup
            && value.at_us < own.at_us
    };
    let earlier: Vec<f64> = history.iter().filter(alike).map(|value| value.value).collect();
    if earlier.len() < config.qc_least as usize {
        return None;
    }
    let middle = median(earlier.clone())?;
    let scatter = MAD * median(earlier.iter().map(|value| (value - middle).abs()).collect())?;
    let scatter = scatter.max(LEAST_SCATTER * middle.abs());
    let off = (own.value - middle) / scatter;
    (off.abs() > config.qc_sigma).then(|| {
        format!(
            "{name} = {:.4} {} after {middle:.4} ({off:+.0} sigma of {} values)",
            own.value,
            own.unit,
            earlier.len()
        )
    })
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    let upper = *values.get(half)?;
    if values.len() % 2 == 1 {
        Some(upper)
    } else {
        values.get(half.checked_sub(1)?).map(|lower| 0.5 * (lower + upper))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::JobId;

    fn family(job: i64) -> Newest {
        Newest {
            job_id: JobId(job),
            recipe: "mbias".to_string(),
            arm: "VIS".to_string(),
            setup: "{}".to_string(),
            set_name: "SET".to_string(),
            at_us: 100,
            flagged: false,
        }
    }

    fn value(job: i64, at_us: i64, value: f64, setup: &str) -> Measured {
        let (recipe, arm, unit) = ("mbias".to_string(), "VIS".to_string(), "e".to_string());
        Measured { job_id: JobId(job), recipe, arm, setup: setup.to_string(), at_us, value, unit }
    }

    #[test]
    fn a_metric_is_unusual_against_its_own_set_up_and_only_against_enough() {
        let mut config = crate::config::Config::defaults().expect("defaults").alerts;
        config.qc_least = 5;
        let mut history: Vec<Measured> = (0..6).map(|n| value(n, n, 4.0 + 0.01 * (n % 3) as f64, "{}")).collect();
        history.push(value(20, 50, 400.0, "{\"binning\":\"2x2\"}"));
        history.push(value(9, 100, 4.5, "{}"));
        let told = compare("RON", &family(9), &history, &config).expect("unusual");
        assert!(told.starts_with("RON = 4.5000 e after 4.0100 (+33 sigma of 6 values)"), "{told}");
        history[7].value = 4.05;
        assert_eq!(compare("RON", &family(9), &history, &config), None, "within");
        history[7].value = 4.5;
        config.qc_least = 7;
        assert_eq!(compare("RON", &family(9), &history, &config), None, "too few");
    }

    #[test]
    fn a_metric_that_never_changed_is_allowed_its_rounding() {
        let mut config = crate::config::Config::defaults().expect("defaults").alerts;
        config.qc_least = 3;
        let mut history: Vec<Measured> = (0..4).map(|n| value(n, n, 100.0, "{}")).collect();
        history.push(value(9, 100, 100.5, "{}"));
        assert_eq!(compare("X", &family(9), &history, &config), None);
        history[4].value = 102.0;
        assert!(compare("X", &family(9), &history, &config).is_some());
    }
}
