//! The table of metrics of a page.

use super::{MetricLine, Page};
use crate::quality::{Judged, QcMetric, QcValue, Verdict};

/// Order of a metric of the whole frame.
const WHOLE: &str = "-1";

impl Page {
    /// Fill the table: first what is out of its range, worst first, then what the page shows of the whole frame. The
    /// verdict is the worst of all metrics, shown or not.
    pub fn judge(&mut self, metrics: &[(&QcMetric, Judged)]) {
        self.verdict = metrics.iter().map(|(_, judged)| judged.verdict).max();
        let mut lines: Vec<MetricLine> = Vec::new();
        for wanted in [Verdict::Fail, Verdict::Warn] {
            lines.extend(metrics.iter().filter(|(_, judged)| judged.verdict == wanted).map(line));
        }
        for name in &self.show {
            let whole = |metric: &QcMetric| metric.name == *name && metric.order == WHOLE;
            let found = metrics.iter().find(|(metric, judged)| judged.verdict == Verdict::Pass && whole(metric));
            lines.extend(found.map(line));
        }
        self.metrics = lines;
    }
}

fn line((metric, judged): &(&QcMetric, Judged)) -> MetricLine {
    let order = if metric.order == WHOLE { String::new() } else { format!(" {}", metric.order) };
    let value = match &metric.value {
        QcValue::Measured(value) if metric.unit.is_empty() => short(*value),
        QcValue::Measured(value) => format!("{} {}", short(*value), unit(&metric.unit)),
        QcValue::Absent(_) => "absent".to_string(),
    };
    let range = match (judged.min, judged.max) {
        (None, None) => String::new(),
        (Some(min), None) => format!("≥ {}", short(min)),
        (None, Some(max)) => format!("≤ {}", short(max)),
        (Some(min), Some(max)) => format!("{} to {}", short(min), short(max)),
    };
    MetricLine { name: format!("{}{order}", metric.name), value, range, verdict: judged.verdict }
}

/// Units as people write them.
fn unit(unit: &str) -> &str {
    match unit {
        "electrons" => "e−",
        "electrons2" => "e−²",
        "electrons/px" => "e−/px",
        "pixels" => "px",
        other => other,
    }
}

/// Four digits, without needless zeros; by powers of ten when very large or small.
fn short(value: f64) -> String {
    if value == 0.0 {
        return "0".to_string();
    }
    let size = value.abs();
    let text = if !(1e-4..1e7).contains(&size) {
        let power = size.log10().floor();
        format!("{:.2}×10^{{{power:.0}}}", value / 10f64.powf(power))
    } else if size >= 1000.0 {
        format!("{value:.0}")
    } else {
        let decimals = (3.0 - size.log10().floor()).clamp(0.0, 7.0) as usize;
        let text = format!("{value:.decimals$}");
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_string() } else { text }
    };
    text.replace('-', "−")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_four_digits() {
        let cases = [
            (0.0, "0"),
            (1.0, "1"),
            (0.012345, "0.01235"),
            (12.3456, "12.35"),
            (-123.456, "−123.5"),
            (20479.4, "20479"),
            (3.2e-9, "3.20×10^{−9}"),
        ];
        for (value, text) in cases {
            assert_eq!(short(value), text);
        }
    }

    #[test]
    fn what_is_out_of_range_comes_first_and_the_verdict_is_the_worst() {
        let judged = |verdict, max| Judged { verdict, min: None, max };
        let metrics = [
            QcMetric::measured("A", 1.0, "pixels", ""),
            QcMetric { order: "u".to_string(), ..QcMetric::measured("B", 2.0, "", "") },
            QcMetric::measured("C", f64::NAN, "", ""),
            QcMetric::measured("D", 4.0, "", ""),
        ];
        let verdicts =
            [judged(Verdict::Pass, Some(2.0)), judged(Verdict::Warn, Some(1.0)), judged(Verdict::Fail, None)];
        let all: Vec<(&QcMetric, Judged)> =
            metrics.iter().zip(verdicts.into_iter().chain([judged(Verdict::Pass, None)])).collect();
        let mut page = Page { show: vec!["D".to_string(), "A".to_string(), "C".to_string()], ..Page::default() };
        page.judge(&all);
        let names: Vec<&str> = page.metrics.iter().map(|line| line.name.as_str()).collect();
        assert_eq!((names, page.verdict), (vec!["C", "B u", "D", "A"], Some(Verdict::Fail)));
        assert_eq!(page.metrics[0].value, "absent");
        assert_eq!((page.metrics[3].value.as_str(), page.metrics[3].range.as_str()), ("1 px", "≤ 2"));
    }
}
