//! A monitor that takes JSON by POST: `{key, job, records, absent}` with the key as `Idempotency-Key` too.
//!
//! `records` are metrics with a value, `absent` those without and why. Any 2xx takes the batch; a 409 whose answer names
//! the same key says that it has it already.

use serde::Serialize;

use super::super::SinkError;
use super::super::archive::Act;
use super::super::error::Scope;
use super::super::http::{base_url, brief, client, limit, secret, text_of, told};
use super::{Batch, Metric, Monitor};
use crate::config::HealthConfig;
use crate::fault::FaultClass;

/// The monitor.
pub struct HttpMonitor {
    config: HealthConfig,
    url: reqwest::Url,
    client: reqwest::Client,
}

#[derive(Serialize)]
struct Document<'a> {
    key: &'a str,
    job: i64,
    records: Vec<Metric<'a>>,
    absent: Vec<Metric<'a>>,
}

impl HttpMonitor {
    /// A monitor as configured.
    pub fn new(config: &HealthConfig) -> Result<HttpMonitor, SinkError> {
        Ok(HttpMonitor {
            config: config.clone(),
            url: base_url(&config.name, &config.url)?,
            client: client(&config.name, &config.url)?,
        })
    }

    async fn post(&self, batch: &Batch) -> Result<String, SinkError> {
        let metrics = batch.records.iter().map(Metric::of);
        let (records, absent) = metrics.partition(|metric| metric.value.is_some());
        let document = Document { key: &batch.key, job: batch.job, records, absent };
        let mut request = self
            .client
            .post(self.url.clone())
            .timeout(limit(self.config.timeout_s))
            .header("Idempotency-Key", &batch.key)
            .json(&document);
        if let Some(token) = secret(&self.config.name, &self.config.token_file).await? {
            request = request.bearer_auth(token);
        }
        let (status, text) = answer(&self.config, request).await?;
        match status {
            200..=299 => Ok(self.config.url.clone()),
            409 if text.contains(&batch.key) => Ok(format!("{} (it had it already)", self.config.url)),
            _ => Err(refusal(&self.config, batch, status, &text)),
        }
    }
}

impl Monitor for HttpMonitor {
    fn tell<'a>(&'a self, batch: &'a Batch) -> Act<'a, String> {
        Box::pin(self.post(batch))
    }
}

/// Send, and read the answer. An answer that never came is no more than a failure: telling again changes nothing there.
pub(super) async fn answer(
    config: &HealthConfig,
    request: reqwest::RequestBuilder,
) -> Result<(u16, String), SinkError> {
    let unreachable =
        |reason: String| SinkError::Unreachable { peer: config.url.clone(), what: "tell it metrics", reason };
    let response = request.send().await.map_err(|error| unreachable(told(&error)))?;
    let status = response.status().as_u16();
    // The status decides; a text that breaks off only makes the message shorter.
    Ok((status, text_of(response).await.unwrap_or_default()))
}

/// What a status that is not a success means.
pub(super) fn refusal(config: &HealthConfig, batch: &Batch, status: u16, text: &str) -> SinkError {
    let reason = format!("status {status} {}", brief(text)).trim_end().to_string();
    let (peer, key) = (config.url.clone(), batch.key.clone());
    let (class, scope, remedy) = match status {
        408 | 425 | 429 | 500..=599 => return SinkError::NotReady { peer, reason },
        401 | 403 => {
            (FaultClass::Config, Scope::Sink, "correct token_file of the monitor, then retry the parked deliveries")
        }
        300..=399 | 404 | 405 | 410 => {
            (FaultClass::Config, Scope::Sink, "correct url of the monitor, then retry the parked deliveries")
        }
        _ => (FaultClass::BadInput, Scope::Item, "settle it with the monitor's operators, then retry"),
    };
    SinkError::Refused { peer, key, reason, remedy, class, scope }
}
