//! A receiver that takes JSON by POST: the message, and a line for people as `headline`. The id is the `Idempotency-Key`
//! too, so that a message whose answer was lost is not taken twice.

use serde::Serialize;

use super::{Message, Teller};
use crate::config::AlertSinkConfig;
use crate::delivery::SinkError;
use crate::delivery::archive::Act;
use crate::delivery::error::Scope;
use crate::delivery::http::{base_url, brief, client, limit, secret, text_of, told};
use crate::fault::FaultClass;

/// The receiver.
pub(super) struct Webhook {
    config: AlertSinkConfig,
    url: reqwest::Url,
    client: reqwest::Client,
}

#[derive(Serialize)]
struct Document<'a> {
    headline: String,
    #[serde(flatten)]
    message: &'a Message,
}

impl Webhook {
    pub(super) fn new(config: &AlertSinkConfig) -> Result<Webhook, SinkError> {
        let (url, client) = (base_url(&config.name, &config.url)?, client(&config.name, &config.url)?);
        Ok(Webhook { config: config.clone(), url, client })
    }

    async fn post(&self, message: &Message) -> Result<(), SinkError> {
        let peer = || self.config.url.clone();
        let mut request = self
            .client
            .post(self.url.clone())
            .timeout(limit(self.config.timeout_s))
            .header("Idempotency-Key", &message.id)
            .json(&Document { headline: message.headline(), message });
        if let Some(token) = secret(&self.config.name, &self.config.token_file).await? {
            request = request.bearer_auth(token);
        }
        let unreachable =
            |error| SinkError::Unreachable { peer: peer(), what: "tell it an alert", reason: told(&error) };
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status().as_u16();
        let text = text_of(response).await.unwrap_or_default();
        let reason = format!("status {status} {}", brief(&text)).trim_end().to_string();
        match status {
            // 409: it has this key already.
            200..=299 | 409 => Ok(()),
            408 | 425 | 429 | 500..=599 => Err(SinkError::NotReady { peer: peer(), reason }),
            300..=399 | 401 | 403 | 404 | 405 | 410 => Err(SinkError::Setup {
                sink: self.config.name.clone(),
                reason: format!("{} answered {reason}; correct url or token_file", self.config.url),
            }),
            _ => Err(SinkError::Refused {
                peer: peer(),
                key: message.key.clone(),
                reason,
                remedy: "settle it with whoever runs the receiver",
                class: FaultClass::BadInput,
                scope: Scope::Item,
            }),
        }
    }
}

impl Teller for Webhook {
    fn tell<'a>(&'a self, message: &'a Message) -> Act<'a, ()> {
        Box::pin(self.post(message))
    }
}
