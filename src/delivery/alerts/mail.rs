//! A receiver that is a mailbox, reached over SMTP. A message that is sent again has the `Message-ID` that it had.

use std::time::Duration;

use lettre::message::{Mailbox, MessageBuilder};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};

use super::{Message, Teller};
use crate::config::{AlertSinkConfig, MailTls};
use crate::delivery::SinkError;
use crate::delivery::archive::Act;
use crate::delivery::error::Scope;
use crate::delivery::http::{limit, secret};
use crate::fault::FaultClass;

/// The receiver.
pub(super) struct Mail {
    config: AlertSinkConfig,
    envelope: MessageBuilder,
    host: String,
    port: u16,
    tls: Tls,
    timeout: Duration,
}

impl Mail {
    pub(super) fn new(config: &AlertSinkConfig) -> Result<Mail, SinkError> {
        let setup = |reason: String| SinkError::Setup { sink: config.name.clone(), reason };
        let address = |text: &str| {
            text.parse::<Mailbox>().map_err(|error| setup(format!("{text:?} is no mail address: {error}")))
        };
        let mut envelope = lettre::Message::builder().from(address(&config.from)?);
        for receiver in &config.to {
            envelope = envelope.to(address(receiver)?);
        }
        let (host, port) = config.host_and_port().ok_or_else(|| setup("server must be HOST:PORT".to_string()))?;
        let parameters =
            || TlsParameters::new(host.to_string()).map_err(|error| setup(format!("no TLS to {host}: {error}")));
        let tls = match config.tls {
            MailTls::None => Tls::None,
            MailTls::Starttls => Tls::Required(parameters()?),
            MailTls::Tls => Tls::Wrapper(parameters()?),
        };
        let (host, timeout) = (host.to_string(), limit(config.timeout_s));
        Ok(Mail { config: config.clone(), envelope, host, port, tls, timeout })
    }

    async fn send(&self, message: &Message) -> Result<(), SinkError> {
        let written = self
            .envelope
            .clone()
            .message_id(Some(format!("<{}@soxsd>", message.id)))
            .subject(message.headline())
            .body(body(message))
            .map_err(|error| SinkError::Broken { reason: format!("a mail cannot be written: {error}") })?;
        // A connection of its own for each: alerts are rare, and a password that was corrected is used at once.
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&self.host)
            .port(self.port)
            .tls(self.tls.clone())
            .timeout(Some(self.timeout));
        if !self.config.user.is_empty() {
            let password = secret(&self.config.name, &self.config.password_file).await?.unwrap_or_default();
            transport = transport.credentials(Credentials::new(self.config.user.clone(), password));
        }
        match tokio::time::timeout(self.timeout, transport.build().send(written)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(self.refusal(message, &error)),
            Err(_) => Err(self.unreachable("no answer in time".to_string())),
        }
    }

    fn unreachable(&self, reason: String) -> SinkError {
        SinkError::Unreachable { peer: format!("smtp://{}", self.config.server), what: "tell it an alert", reason }
    }

    fn refusal(&self, message: &Message, error: &lettre::transport::smtp::Error) -> SinkError {
        let mut reason = error.to_string();
        if let Some(source) = std::error::Error::source(error) {
            reason = format!("{reason}: {source}");
        }
        let peer = format!("smtp://{}", self.config.server);
        match error.status().map(u16::from) {
            // Who we are, or whom we write to, is not accepted: a person corrects the configuration.
            Some(530 | 534 | 535 | 550 | 551 | 553) => SinkError::Setup {
                sink: self.config.name.clone(),
                reason: format!("{peer} answered {reason}; correct user, password_file, from or to"),
            },
            Some(500..=599) => SinkError::Refused {
                peer,
                key: message.key.clone(),
                reason,
                remedy: "settle it with whoever runs the mail server",
                class: FaultClass::BadInput,
                scope: Scope::Item,
            },
            Some(_) => SinkError::NotReady { peer, reason },
            None => self.unreachable(reason),
        }
    }
}

fn body(message: &Message) -> String {
    let mut lines = vec![message.text.clone()];
    if !message.hint.is_empty() && message.what != "cleared" {
        lines.push(format!("What to do: {}", message.hint));
    }
    lines.push(String::new());
    lines.push(format!("since {}", message.raised));
    lines.extend(message.cleared.as_ref().map(|cleared| format!("over  {cleared}")));
    lines.push(format!("{}, {}, {}", message.severity, message.kind, message.key));
    lines.join("\n") + "\n"
}

impl Teller for Mail {
    fn tell<'a>(&'a self, message: &'a Message) -> Act<'a, ()> {
        Box::pin(self.send(message))
    }
}
