//! A time series database that takes line protocol. One point per metric in `qc`; metrics without a value are points of
//! `qc_absent`, whose field says why. Time is the start of the set's first exposure, nanoseconds, so telling a batch again
//! writes the same points.

use super::super::SinkError;
use super::super::archive::Act;
use super::super::http::{base_url, client, limit, secret};
use super::http::{answer, refusal};
use super::{Batch, Monitor};
use crate::catalogue::deliveries::QcRecord;
use crate::config::HealthConfig;

/// The monitor.
pub struct Influx {
    config: HealthConfig,
    url: reqwest::Url,
    client: reqwest::Client,
}

impl Influx {
    /// A database as configured.
    pub fn new(config: &HealthConfig) -> Result<Influx, SinkError> {
        Ok(Influx {
            config: config.clone(),
            url: base_url(&config.name, &config.url)?,
            client: client(&config.name, &config.url)?,
        })
    }

    async fn write(&self, batch: &Batch) -> Result<String, SinkError> {
        let mut request = self
            .client
            .post(self.url.clone())
            .timeout(limit(self.config.timeout_s))
            .header("Content-Type", "text/plain; charset=utf-8")
            .body(batch.records.iter().map(point).collect::<String>());
        if let Some(token) = secret(&self.config.name, &self.config.token_file).await? {
            request = request.header("Authorization", format!("Token {token}"));
        }
        match answer(&self.config, request).await? {
            (200..=299, _) => Ok(self.config.url.clone()),
            (status, text) => Err(refusal(&self.config, batch, status, &text)),
        }
    }
}

impl Monitor for Influx {
    fn tell<'a>(&'a self, batch: &'a Batch) -> Act<'a, String> {
        Box::pin(self.write(batch))
    }
}

/// A metric as a line, with its line feed.
fn point(record: &QcRecord) -> String {
    let value = record.value.filter(|value| value.is_finite());
    let mut line = String::from(if value.is_some() { "qc" } else { "qc_absent" });
    for (key, tag) in [
        ("arm", &record.arm),
        ("name", &record.name),
        ("night", &record.night),
        ("qc_order", &record.qc_order),
        ("recipe", &record.recipe),
        ("unit", &record.unit),
    ] {
        // A tag without a value is not allowed.
        if !tag.trim().is_empty() {
            line.push_str(&format!(",{key}={}", escape_tag(tag)));
        }
    }
    match value {
        Some(value) => line.push_str(&format!(" value={value:?}")),
        None => line.push_str(&format!(" reason={}", quoted(&record.absent))),
    }
    for (key, limit) in [("min", record.min), ("max", record.max)] {
        if let Some(limit) = limit.filter(|limit| limit.is_finite()) {
            line.push_str(&format!(",{key}={limit:?}"));
        }
    }
    for (key, text) in [
        ("flag", &record.verdict),
        ("set", &record.sof),
        ("file", &record.file),
        ("recipe_version", &record.recipe_version),
    ] {
        line.push_str(&format!(",{key}={}", quoted(text)));
    }
    line.push_str(&format!(" {}\n", i128::from(record.at_us) * 1000));
    line
}

/// Comma, equals sign and blank are escaped; a line feed would end the point and a backslash at the end would escape what
/// follows, so they are replaced.
fn escape_tag(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.trim().chars() {
        match character {
            ',' | '=' | ' ' => out.extend(['\\', character]),
            '\\' => out.push('/'),
            character if character.is_control() => out.push('_'),
            character => out.push(character),
        }
    }
    out
}

/// A string field: quotes and backslashes are escaped, control characters become blanks.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            character if character.is_control() => out.push(' '),
            character => out.push(character),
        }
    }
    out.push('"');
    out
}
