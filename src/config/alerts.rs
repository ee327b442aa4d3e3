//! What people are told of, and how, as configured.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{ConfigError, bad, not_negative, positive};

/// How grave an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Somebody should look when there is time.
    Warning,
    /// Data or time are being lost.
    Error,
}

impl Severity {
    /// As the catalogue has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

/// What is worth an alert, and when it is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertsConfig {
    /// Seconds between looks.
    pub every_s: f64,
    /// Seconds for which trouble must be gone before it counts as over.
    pub clear_after_s: f64,
    /// Seconds after which trouble that stays is told of again; 0 for never.
    pub repeat_s: f64,
    /// Begin of the quiet hours, `HH:MM` UTC; empty for none.
    pub quiet_from: String,
    /// Their end.
    pub quiet_to: String,
    /// Least severity that is told in quiet hours too.
    pub quiet_passes: Severity,
    /// Seconds for which a job may wait for its turn or run.
    pub keep_up_s: f64,
    /// Seconds for which a delivery may be under way.
    pub delivery_s: f64,
    /// Free disk below which people are told, MiB.
    pub free_mib: u64,
    /// Hours for which a metric out of range is told of when no newer one came.
    pub qc_hours: f64,
    /// Metrics that are compared with those of recent nights.
    pub qc_watch: Vec<String>,
    /// Standard deviations from the median of recent nights.
    pub qc_sigma: f64,
    /// Nights that are recent.
    pub qc_nights: u32,
    /// Fewest earlier values that make a comparison.
    pub qc_least: u32,
    /// Hours before sunset from which on a missing calibration is told of; 0 for never.
    pub sunset_hours: f64,
    /// Nights whose observations say which calibrations tonight needs.
    pub sunset_nights: u32,
}

/// How a receiver of alerts is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    /// POST of a JSON document.
    Webhook,
    /// A mail.
    Smtp,
    /// A file that grows by one JSON object a line.
    File,
}

/// How a mail server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MailTls {
    /// In the clear, as to a relay of the same machine.
    None,
    /// In the clear at first, then encrypted or not at all.
    Starttls,
    /// Encrypted from the first byte.
    Tls,
}

/// A receiver of alerts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertSinkConfig {
    /// Name in the catalogue; must not change while messages are queued.
    pub name: String,
    /// How it is reached.
    pub kind: AlertKind,
    /// Least severity that it is told of.
    #[serde(default = "warnings")]
    pub least: Severity,
    /// File, for `file`.
    #[serde(default)]
    pub path: PathBuf,
    /// URL, for `webhook`.
    #[serde(default)]
    pub url: String,
    /// File with the bearer token, for `webhook`.
    #[serde(default)]
    pub token_file: PathBuf,
    /// `HOST:PORT`, for `smtp`.
    #[serde(default)]
    pub server: String,
    /// Encryption, for `smtp`.
    #[serde(default = "starttls")]
    pub tls: MailTls,
    /// User, for `smtp`; empty for none.
    #[serde(default)]
    pub user: String,
    /// File with the password, for `smtp`.
    #[serde(default)]
    pub password_file: PathBuf,
    /// Sender, for `smtp`.
    #[serde(default)]
    pub from: String,
    /// Receivers, for `smtp`.
    #[serde(default)]
    pub to: Vec<String>,
    /// Seconds to wait for an answer.
    #[serde(default = "timeout")]
    pub timeout_s: f64,
}

fn warnings() -> Severity {
    Severity::Warning
}

fn starttls() -> MailTls {
    MailTls::Starttls
}

fn timeout() -> f64 {
    30.0
}

impl AlertSinkConfig {
    /// The embedded default.
    pub fn file(name: &str, path: PathBuf) -> AlertSinkConfig {
        AlertSinkConfig {
            name: name.to_string(),
            kind: AlertKind::File,
            least: warnings(),
            path,
            url: String::new(),
            token_file: PathBuf::new(),
            server: String::new(),
            tls: starttls(),
            user: String::new(),
            password_file: PathBuf::new(),
            from: String::new(),
            to: Vec::new(),
            timeout_s: timeout(),
        }
    }

    /// Host and port of the mail server.
    pub fn host_and_port(&self) -> Option<(&str, u16)> {
        let (host, port) = self.server.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        (!host.is_empty()).then_some(host).zip(port.parse().ok())
    }
}

impl AlertsConfig {
    /// Begin and end of the quiet hours, minutes of the UTC day; `None` when there are none.
    pub fn quiet(&self) -> Option<(u32, u32)> {
        minutes(&self.quiet_from).zip(minutes(&self.quiet_to)).filter(|(from, to)| from != to)
    }
}

/// `HH:MM` as minutes.
fn minutes(text: &str) -> Option<u32> {
    let (hours, minutes) = text.split_once(':')?;
    let (hours, minutes): (u32, u32) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
}

pub(super) fn check(alerts: &AlertsConfig, sinks: &[AlertSinkConfig]) -> Result<(), ConfigError> {
    positive("alerts.every_s", alerts.every_s)?;
    positive("alerts.qc_sigma", alerts.qc_sigma)?;
    for (key, value) in [
        ("alerts.clear_after_s", alerts.clear_after_s),
        ("alerts.repeat_s", alerts.repeat_s),
        ("alerts.keep_up_s", alerts.keep_up_s),
        ("alerts.delivery_s", alerts.delivery_s),
        ("alerts.qc_hours", alerts.qc_hours),
        ("alerts.sunset_hours", alerts.sunset_hours),
    ] {
        not_negative(key, value)?;
    }
    if alerts.qc_least < 3 {
        return Err(bad(
            "alerts.qc_least",
            &alerts.qc_least.to_string(),
            "must be at least 3: fewer say nothing of a scatter",
        ));
    }
    for (key, text) in [("alerts.quiet_from", &alerts.quiet_from), ("alerts.quiet_to", &alerts.quiet_to)] {
        let both = alerts.quiet_from.is_empty() == alerts.quiet_to.is_empty();
        if !both || (!text.is_empty() && minutes(text).is_none()) {
            return Err(bad(key, text, "must be HH:MM (UTC), and both ends or none must be given"));
        }
    }
    let mut names = std::collections::BTreeSet::new();
    for sink in sinks {
        if sink.name.is_empty() || !names.insert(&sink.name) {
            return Err(bad("alert name", &sink.name, "every receiver of alerts needs a name of its own"));
        }
        check_sink(sink)?;
    }
    Ok(())
}

fn check_sink(sink: &AlertSinkConfig) -> Result<(), ConfigError> {
    let key = |field: &str| format!("alert {:?}: {field}", sink.name);
    positive(&key("timeout_s"), sink.timeout_s)?;
    let http = sink.url.starts_with("http://") || sink.url.starts_with("https://");
    match sink.kind {
        AlertKind::File if sink.path.as_os_str().is_empty() => Err(bad(&key("path"), "", "must name a file")),
        AlertKind::Webhook if !http => Err(bad(&key("url"), &sink.url, "must begin with http:// or https://")),
        AlertKind::Smtp if sink.host_and_port().is_none() => {
            Err(bad(&key("server"), &sink.server, "must be HOST:PORT, for example mail.example:587"))
        }
        AlertKind::Smtp if sink.to.is_empty() => Err(bad(&key("to"), "", "must name at least one receiver")),
        AlertKind::Smtp => match sink.to.iter().chain([&sink.from]).find(|address| !address.contains('@')) {
            Some(odd) => Err(bad(&key("from, to"), odd, "must be mail addresses")),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn with(text: &str) -> Result<(), String> {
        let mut config = Config::defaults().expect("defaults");
        config.alert = text.parse::<toml::Table>().expect("TOML")["alert"].clone().try_into().expect("receivers");
        config.check().map_err(|error| error.to_string())
    }

    #[test]
    fn a_receiver_is_checked_at_start() {
        let mail = "[[alert]]\nname = \"m\"\nkind = \"smtp\"\nfrom = \"soxs@ls\"\nto = [\"a@b\"]\n";
        assert_eq!(with(&format!("{mail}server = \"mail:587\"")), Ok(()));
        for (text, word) in [
            (format!("{mail}server = \"mail\""), "server"),
            (format!("{mail}server = \"mail:587\"").replace("\"a@b\"", ""), "to"),
            (format!("{mail}server = \"mail:587\"").replace("soxs@ls", "soxs"), "mail addresses"),
            (format!("{mail}server = \"mail:587\"\n{mail}server = \"mail:25\""), "name of its own"),
            ("[[alert]]\nname = \"w\"\nkind = \"webhook\"\nurl = \"hook\"".to_string(), "http://"),
            ("[[alert]]\nname = \"f\"\nkind = \"file\"".to_string(), "must name a file"),
        ] {
            assert!(with(&text).is_err_and(|error| error.contains(word)), "{text}");
        }
    }

    #[test]
    fn quiet_hours_have_two_ends() {
        let mut config = Config::defaults().expect("defaults");
        assert_eq!(config.alerts.quiet(), None);
        config.alerts.quiet_from = "13:30".to_string();
        assert!(config.check().is_err(), "no end");
        config.alerts.quiet_to = "24:00".to_string();
        assert!(config.check().is_err(), "no time of day");
        config.alerts.quiet_to = "20:00".to_string();
        assert!(config.check().is_ok());
        assert_eq!(config.alerts.quiet(), Some((810, 1200)));
    }
}
