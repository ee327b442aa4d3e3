//! Archives and health monitors as configured.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{ConfigError, bad};

/// How an archive is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArchiveKind {
    /// A folder that is the archive.
    Directory,
    /// A hand-over folder that another system empties.
    Spool,
    /// An NGAS server.
    Ngas,
}

/// Checksum that an NGAS server is asked to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CrcKind {
    /// CRC-32 of IEEE 802.3.
    Crc32,
    /// Castagnoli.
    Crc32c,
    /// CRC-32 of IEEE 802.3 under its other name.
    Crc32z,
}

/// One archive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchiveConfig {
    /// Name in the catalogue; must not change while items are queued.
    pub name: String,
    /// How it is reached.
    pub kind: ArchiveKind,
    /// Folder, for `directory` and `spool`.
    #[serde(default)]
    pub path: PathBuf,
    /// Base URL, for `ngas`.
    #[serde(default)]
    pub url: String,
    /// `QARCHIVE` or `ARCHIVE`.
    #[serde(default = "default_command")]
    pub command: String,
    /// Media type, must be known to the server.
    #[serde(default = "default_mime")]
    pub mime_type: String,
    /// Checksum kept by the server.
    #[serde(default = "default_crc")]
    pub crc: CrcKind,
    /// Further query parameters.
    #[serde(default)]
    pub query: String,
    /// User for HTTP Basic authentication; empty for none.
    #[serde(default)]
    pub user: String,
    /// File with the password.
    #[serde(default)]
    pub password_file: PathBuf,
    /// Seconds to wait for an answer.
    #[serde(default = "default_archive_timeout")]
    pub timeout_s: f64,
    /// Seconds between looks at an item whose outcome is unknown or that the server buffers.
    #[serde(default = "default_poll")]
    pub poll_s: f64,
}

/// How a health monitor is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthKind {
    /// A file that grows by one JSON object a line.
    Jsonl,
    /// POST of a JSON document.
    Http,
    /// InfluxDB line protocol over HTTP.
    Influx,
}

/// One health monitor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthConfig {
    /// Name in the catalogue; must not change while items are queued.
    pub name: String,
    /// How it is reached.
    pub kind: HealthKind,
    /// File, for `jsonl`.
    #[serde(default)]
    pub path: PathBuf,
    /// URL, for `http` and `influx`.
    #[serde(default)]
    pub url: String,
    /// File with the bearer token (`http`) or token (`influx`).
    #[serde(default)]
    pub token_file: PathBuf,
    /// Seconds to wait for an answer.
    #[serde(default = "default_health_timeout")]
    pub timeout_s: f64,
}

impl ArchiveConfig {
    /// The embedded default.
    pub fn directory(name: &str, path: PathBuf) -> ArchiveConfig {
        ArchiveConfig {
            name: name.to_string(),
            kind: ArchiveKind::Directory,
            path,
            url: String::new(),
            command: default_command(),
            mime_type: default_mime(),
            crc: default_crc(),
            query: String::new(),
            user: String::new(),
            password_file: PathBuf::new(),
            timeout_s: default_archive_timeout(),
            poll_s: default_poll(),
        }
    }
}

impl HealthConfig {
    /// The embedded default.
    pub fn jsonl(name: &str, path: PathBuf) -> HealthConfig {
        HealthConfig {
            name: name.to_string(),
            kind: HealthKind::Jsonl,
            path,
            url: String::new(),
            token_file: PathBuf::new(),
            timeout_s: default_health_timeout(),
        }
    }
}

fn default_command() -> String {
    "QARCHIVE".to_string()
}

fn default_mime() -> String {
    "application/fits".to_string()
}

fn default_crc() -> CrcKind {
    CrcKind::Crc32c
}

fn default_archive_timeout() -> f64 {
    300.0
}

fn default_poll() -> f64 {
    30.0
}

fn default_health_timeout() -> f64 {
    30.0
}

pub(super) fn check(archives: &[ArchiveConfig], monitors: &[HealthConfig]) -> Result<(), ConfigError> {
    let mut names = std::collections::BTreeSet::new();
    for name in archives.iter().map(|archive| &archive.name).chain(monitors.iter().map(|monitor| &monitor.name)) {
        if name.is_empty() || !names.insert(name) {
            return Err(bad("archive/health name", name, "every archive and monitor needs a name of its own"));
        }
    }
    for archive in archives {
        let key = |field: &str| format!("archive {:?}: {field}", archive.name);
        match archive.kind {
            ArchiveKind::Directory | ArchiveKind::Spool if archive.path.as_os_str().is_empty() => {
                return Err(bad(&key("path"), "", "must name a folder"));
            }
            ArchiveKind::Ngas if !is_http(&archive.url) => {
                return Err(bad(&key("url"), &archive.url, "must begin with http:// or https://"));
            }
            ArchiveKind::Ngas if !["ARCHIVE", "QARCHIVE"].contains(&archive.command.as_str()) => {
                return Err(bad(&key("command"), &archive.command, "must be ARCHIVE or QARCHIVE"));
            }
            _ => {}
        }
        if !(archive.timeout_s > 0.0 && archive.poll_s > 0.0) {
            return Err(bad(&key("timeout_s, poll_s"), &archive.timeout_s.to_string(), "must be greater than zero"));
        }
    }
    for monitor in monitors {
        let key = |field: &str| format!("health {:?}: {field}", monitor.name);
        match monitor.kind {
            HealthKind::Jsonl if monitor.path.as_os_str().is_empty() => {
                return Err(bad(&key("path"), "", "must name a file"));
            }
            HealthKind::Http | HealthKind::Influx if !is_http(&monitor.url) => {
                return Err(bad(&key("url"), &monitor.url, "must begin with http:// or https://"));
            }
            _ => {}
        }
        if monitor.timeout_s.is_nan() || monitor.timeout_s <= 0.0 {
            return Err(bad(&key("timeout_s"), &monitor.timeout_s.to_string(), "must be greater than zero"));
        }
    }
    Ok(())
}

fn is_http(url: &str) -> bool {
    url.starts_with("http://") || url.starts_with("https://")
}
