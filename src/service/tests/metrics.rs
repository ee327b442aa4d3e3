//! `/metrics` read by a strict parser of the OpenMetrics text form.

use std::collections::{BTreeMap, BTreeSet};

use super::{Running, header};

/// A sample: its name, its labels, its value.
type Samples = BTreeMap<(String, Vec<(String, String)>), f64>;

/// Every sample; panics where the text breaks a rule of the form.
fn parse(text: &str) -> Samples {
    let mut types: BTreeMap<String, String> = BTreeMap::new();
    let mut helped = BTreeSet::new();
    let mut samples = Samples::new();
    assert!(text.ends_with("# EOF\n"), "ends with its mark");
    for line in text.lines().take_while(|line| *line != "# EOF") {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help text");
            assert!(!help.is_empty() && helped.insert(name.to_string()), "{line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert!(["gauge", "histogram"].contains(&kind), "{line}");
            assert!(types.insert(name.to_string(), kind.to_string()).is_none(), "{line}: twice");
        } else {
            let (name, labels, value) = sample(line);
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .filter_map(|suffix| name.strip_suffix(suffix))
                .find(|family| types.get(*family).is_some_and(|kind| kind == "histogram"))
                .unwrap_or(&name)
                .to_string();
            assert!(types.contains_key(&family) && helped.contains(&family), "{line}: no TYPE or HELP before it");
            assert!(samples.insert((name, labels), value).is_none(), "{line}: twice");
        }
    }
    samples
}

/// `name{label="value",...} number`, with `\\`, `\"` and `\n` in values.
fn sample(line: &str) -> (String, Vec<(String, String)>, f64) {
    let end = line.find(['{', ' ']).expect("a value");
    let (name, mut rest) = line.split_at(end);
    let legal = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    assert!(legal(name), "{line}");
    let mut labels = Vec::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"").expect("a label");
            assert!(legal(label), "{line}");
            let mut value = String::new();
            let mut characters = after.char_indices();
            let close = loop {
                match characters.next().expect("a closing quote") {
                    (at, '"') => break at,
                    (_, '\\') => match characters.next().expect("an escaped character").1 {
                        'n' => value.push('\n'),
                        escaped @ ('"' | '\\') => value.push(escaped),
                        other => panic!("{line}: \\{other}"),
                    },
                    (_, character) => value.push(character),
                }
            };
            labels.push((label.to_string(), value));
            rest = &after[close + 1..];
            rest = rest.strip_prefix(',').unwrap_or(rest);
        }
        rest = &rest[1..];
    }
    let value: f64 = rest.strip_prefix(' ').expect("one blank").parse().expect("a number");
    (name.to_string(), labels, value)
}

fn value(samples: &Samples, name: &str, labels: &[(&str, &str)]) -> f64 {
    let labels = labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    *samples.get(&(name.to_string(), labels)).unwrap_or_else(|| panic!("{name} is missing in {samples:#?}"))
}

#[tokio::test]
async fn the_metrics_are_well_formed_and_count_what_is_there() {
    let service = Running::night().await;
    service.liveness.expect("ingest", std::time::Duration::from_secs(3600));
    service.seeded.set_time("2026-03-10T21:04:00Z");
    let answer = service.answer("/metrics").await;
    assert!(header(&answer, "content-type").starts_with("application/openmetrics-text"));
    let samples = parse(&answer.text().await.unwrap());
    assert!(samples.keys().all(|(name, _)| name.starts_with("soxsd_")));
    let of = |name, labels: &[(&str, &str)]| value(&samples, name, labels);
    assert_eq!(of("soxsd_files", &[("state", "quarantined")]), 1.0);
    assert_eq!(of("soxsd_frames", &[("arm", "ACQ"), ("usage", "register")]), 1.0);
    assert_eq!(of("soxsd_sets", &[("arm", "NIR"), ("state", "open")]), 1.0);
    assert_eq!(of("soxsd_jobs", &[("recipe", "stare"), ("state", "waiting")]), 1.0);
    assert_eq!(of("soxsd_products", &[("state", "current"), ("verdict", "fail")]), 1.0);
    assert_eq!(of("soxsd_deliveries", &[("sink", "archive"), ("state", "confirmed")]), 1.0);
    // The older bias was made at 20:00 and its delivery still waits at 21:04.
    assert_eq!(of("soxsd_oldest_undelivered_seconds", &[("sink", "archive")]), 64.0 * 60.0);
    assert_eq!(of("soxsd_job_duration_seconds_count", &[("recipe", "mbias")]), 2.0);
    assert_eq!(of("soxsd_job_duration_seconds_bucket", &[("le", "+Inf"), ("recipe", "mbias")]), 2.0);
    assert_eq!(of("soxsd_paused", &[]), 0.0);
    assert!(of("soxsd_resident_memory_bytes", &[]) > 1e6);
    assert!(of("soxsd_work_free_bytes", &[]) > 0.0);
    assert!(of("soxsd_loop_tick_age_seconds", &[("loop", "ingest")]) < 3600.0);
    assert_eq!(of("soxsd_build_info", &[("version", "0.0.0-test"), ("boot_id", "boot")]), 1.0);
}

#[tokio::test]
async fn an_empty_catalogue_has_metrics_too() {
    let service = Running::over(crate::catalogue::seeded::Seeded::empty().await).await;
    let samples = parse(&service.text("/metrics").await);
    assert!(!samples.keys().any(|(name, _)| name == "soxsd_oldest_waiting_set_seconds"));
    assert_eq!(value(&samples, "soxsd_paused", &[]), 0.0);
}

#[tokio::test]
async fn hostile_names_stay_inside_their_label() {
    let service = Running::night().await;
    let mut tx = service.seeded.catalogue.begin().await.unwrap();
    let hostile = "a\"} 1\nsoxsd_paused 7 \\";
    tx.enqueue_health(hostile, crate::catalogue::JobId(1), "key").await.unwrap();
    tx.commit().await.unwrap();
    let samples = parse(&service.text("/metrics").await);
    assert_eq!(value(&samples, "soxsd_deliveries", &[("sink", hostile), ("state", "queued")]), 1.0);
    assert_eq!(value(&samples, "soxsd_paused", &[]), 0.0);
}

/// Words that begin so, in a text.
fn names(text: &str, start: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with(start)).map(str::to_string).collect()
}

#[tokio::test]
async fn dashboard_and_rules_name_metrics_that_exist() {
    let service = Running::night().await;
    let text = service.text("/metrics").await;
    let families: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let dashboard = include_str!("../../../deploy/grafana-soxsd.json");
    let rules = include_str!("../../../deploy/prometheus-rules.yml");
    serde_json::from_str::<serde_json::Value>(dashboard).expect("the dashboard is JSON");
    for (file, text) in [("dashboard", dashboard), ("rules", rules)] {
        let named = names(text, "soxsd_");
        assert!(named.len() > 8, "{file} names {named:?}");
        for name in named {
            let family = name.strip_suffix("_bucket").unwrap_or(&name);
            assert!(families.contains(family), "the {file} names {name}, which /metrics does not have");
        }
    }
    // What the line protocol becomes in VictoriaMetrics: measurement and field.
    let known = ["qc_order", "qc_value", "qc_min", "qc_max"].map(str::to_string);
    for name in names(dashboard, "qc_") {
        assert!(known.contains(&name), "the dashboard names {name}, which the line protocol does not make");
    }
}
