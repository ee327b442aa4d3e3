//! The configuration: one TOML file, every key checked at start.
//!
//! What lives here: the typed form of `config/soxsd.toml`, how files, environment and flags are layered, and where the
//! work folder keeps what. What never lives here: the rules of the instrument (`config/classification.toml` and its
//! siblings), which belong to the modules that apply them.

mod alerts;
mod layers;
mod monitor;
mod sinks;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::fault::{Classified, FaultClass};

pub use alerts::{AlertKind, AlertSinkConfig, AlertsConfig, MailTls, Severity};
pub use monitor::MonitorConfig;
pub use sinks::{ArchiveConfig, ArchiveKind, CrcKind, HealthConfig, HealthKind};

/// The shipped defaults, which are also the documentation of every key.
pub const DEFAULTS: &str = include_str!("../../config/soxsd.toml");

/// What is wrong with the configuration. The text names file, line or key, what was found and what is allowed.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}")]
    Read {
        /// File.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The text is not valid TOML, or a key is unknown or of the wrong type.
    #[error("{origin}: {message}")]
    Parse {
        /// File, or "environment".
        origin: String,
        /// With line and column, from the parser.
        message: String,
    },
    /// A value is not usable.
    #[error("{key} = {found}: {reason}")]
    Value {
        /// Key as `table.key`.
        key: String,
        /// Value found.
        found: String,
        /// What is allowed, and the remedy.
        reason: String,
    },
}

impl Classified for ConfigError {
    fn class(&self) -> FaultClass {
        FaultClass::Config
    }
}

/// The whole configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Folders.
    pub paths: PathsConfig,
    /// How frames are taken in.
    pub ingest: IngestConfig,
    /// How sets are closed and masters chosen.
    pub association: AssociationConfig,
    /// How recipes are run.
    pub scheduler: SchedulerConfig,
    /// Status page and API.
    pub service: ServiceConfig,
    /// Logs.
    pub log: LogConfig,
    /// Whether products flow to archives by themselves.
    pub release: ReleaseConfig,
    /// Feed of the quality monitor.
    pub monitor: MonitorConfig,
    /// What people are told of, and when.
    pub alerts: AlertsConfig,
    /// Rules that replace the built-in ones.
    pub rules: RulesConfig,
    /// Parameters that differ from `config/recipes.toml`, a table per recipe.
    pub recipes: toml::Table,
    /// Archives.
    #[serde(default)]
    pub archive: Vec<ArchiveConfig>,
    /// Health monitors.
    #[serde(default)]
    pub health: Vec<HealthConfig>,
    /// Receivers of alerts.
    #[serde(default)]
    pub alert: Vec<AlertSinkConfig>,
}

/// Folders.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PathsConfig {
    /// Raw roots.
    pub raw: Vec<PathBuf>,
    /// Work folder.
    pub work: PathBuf,
    /// Tree of products; empty for `<work>/reduced`.
    pub reduced: PathBuf,
    /// SOF files; empty for `<work>/sof`.
    pub sof: PathBuf,
    /// Tree of pictures; empty for `<work>/qc`.
    pub qc: PathBuf,
}

/// Rules that replace the built-in ones; an empty path keeps those.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RulesConfig {
    /// In place of `config/classification.toml`.
    pub classification: PathBuf,
    /// In place of `config/association.toml`.
    pub association: PathBuf,
    /// In place of `config/qc.toml`.
    pub qc: PathBuf,
}

/// How new frames are noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WatchMode {
    /// File system events wake the scan early.
    Watch,
    /// Only the timer.
    Poll,
}

/// How frames are taken in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IngestConfig {
    /// Events or timer.
    pub mode: WatchMode,
    /// Seconds between scans.
    pub rescan_s: f64,
    /// Seconds for which size and time must stand still.
    pub settle_s: f64,
    /// Seconds without change after which an incomplete file is quarantined.
    pub incomplete_deadline_s: f64,
    /// Largest file that is read, MiB.
    pub max_file_mib: u64,
}

/// How a master is chosen among those that match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// Best validity level, then newest, never later than the data.
    Newest,
    /// Best validity level, then nearest in time, before or after.
    Nearest,
    /// Nearest in time in either direction, no age limit, as the reference pipeline does.
    Peer,
}

/// How sets are closed and masters chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssociationConfig {
    /// Choice of masters.
    pub policy: Policy,
    /// Seconds after which an unfinished template is closed when a later one of the same arm has begun.
    pub template_grace_s: f64,
    /// Seconds after its last frame at which an unfinished template is closed.
    pub template_deadline_s: f64,
    /// Seconds to wait for a better master in the making.
    pub wait_for_better_s: f64,
    /// Seconds to wait for a master that nobody makes yet.
    pub wait_for_master_s: f64,
}

/// How recipes are run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SchedulerConfig {
    /// Recipes side by side.
    pub jobs: usize,
    /// Whether a page of pictures is drawn of every reduction.
    pub pictures: bool,
    /// Threads for pixels, 0 for one per processor.
    pub pixel_threads: usize,
    /// Memory for concurrent recipes, 0 for automatic.
    pub memory_mib: u64,
    /// Free disk below which no recipe starts.
    pub min_free_mib: u64,
    /// Transient failures before a job is parked.
    pub max_attempts: u32,
    /// First pause between attempts, seconds.
    pub retry_first_s: f64,
    /// Longest pause, seconds.
    pub retry_longest_s: f64,
    /// Seconds to wait for running recipes when stopping.
    pub drain_s: f64,
    /// Seconds between backups of the catalogue.
    pub backup_every_s: f64,
}

/// Status page and API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceConfig {
    /// Address and port; empty switches the service off.
    pub listen: String,
    /// File with the token for commands that act; empty for `<work>/token`.
    pub token_file: PathBuf,
}

/// Form of the log on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Human on a terminal, JSON lines otherwise.
    Auto,
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// Logs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    /// Form.
    pub format: LogFormat,
    /// What is logged.
    pub filter: String,
}

/// Whether products flow to archives by themselves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseConfig {
    /// Products that the gate is for wait for an operator's release.
    pub gatekeeper: bool,
    /// What the gate is for: PRODCATG or its first word; `CALIB` for products without a Phase 3 claim.
    pub gated: Vec<String>,
}

impl ReleaseConfig {
    /// Does a product wait? `prodcatg` is empty when it makes no Phase 3 claim.
    pub fn holds(&self, prodcatg: &str) -> bool {
        let name = if prodcatg.is_empty() { "CALIB" } else { prodcatg };
        let meant =
            |gated: &String| name == gated || name.strip_prefix(gated).is_some_and(|rest| rest.starts_with('.'));
        self.gatekeeper && self.gated.iter().any(meant)
    }
}

impl Config {
    /// The shipped defaults.
    pub fn defaults() -> Result<Config, ConfigError> {
        Config::load(None, std::iter::empty())
    }

    /// Defaults, then the file, then `SOXSD__TABLE__KEY` variables; checked.
    pub fn load(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Config, ConfigError> {
        let config = layers::merged(file, environment)?;
        config.check()?;
        Ok(config)
    }

    /// Check every value that TOML's types cannot.
    pub fn check(&self) -> Result<(), ConfigError> {
        let ingest = &self.ingest;
        let association = &self.association;
        let scheduler = &self.scheduler;
        positive("ingest.rescan_s", ingest.rescan_s)?;
        not_negative("ingest.settle_s", ingest.settle_s)?;
        not_negative("ingest.incomplete_deadline_s", ingest.incomplete_deadline_s)?;
        at_least_one("ingest.max_file_mib", ingest.max_file_mib)?;
        not_negative("association.template_grace_s", association.template_grace_s)?;
        not_negative("association.template_deadline_s", association.template_deadline_s)?;
        not_negative("association.wait_for_better_s", association.wait_for_better_s)?;
        not_negative("association.wait_for_master_s", association.wait_for_master_s)?;
        at_least_one("scheduler.jobs", scheduler.jobs as u64)?;
        at_least_one("scheduler.max_attempts", u64::from(scheduler.max_attempts))?;
        positive("scheduler.retry_first_s", scheduler.retry_first_s)?;
        positive("scheduler.retry_longest_s", scheduler.retry_longest_s)?;
        not_negative("scheduler.drain_s", scheduler.drain_s)?;
        positive("scheduler.backup_every_s", scheduler.backup_every_s)?;
        if !self.service.listen.is_empty() && self.service.listen.parse::<std::net::SocketAddr>().is_err() {
            return Err(bad(
                "service.listen",
                &self.service.listen,
                "must be ADDRESS:PORT, for example 127.0.0.1:8642",
            ));
        }
        if let Some(odd) = self.release.gated.iter().find(|name| !is_category(name)) {
            let reason = "must be SCIENCE, ANCILLARY, CALIB, or a category of Phase 3 such as SCIENCE.SPECTRUM";
            return Err(bad("release.gated", odd, reason));
        }
        if self.paths.work.as_os_str().is_empty() {
            return Err(bad("paths.work", "", "must name a folder"));
        }
        self.monitor.check(&self.workspace())?;
        alerts::check(&self.alerts, &self.alert)?;
        sinks::check(&self.archive, &self.health)
    }

    /// Layout of the work folder.
    pub fn workspace(&self) -> Workspace {
        Workspace::new(&self.paths)
    }

    /// Archives, with the embedded default when none is configured.
    pub fn archives(&self) -> Vec<ArchiveConfig> {
        if self.archive.is_empty() {
            vec![ArchiveConfig::directory("archive", self.paths.work.join("archive"))]
        } else {
            self.archive.clone()
        }
    }

    /// Health monitors, with the embedded default when none is configured.
    pub fn monitors(&self) -> Vec<HealthConfig> {
        if self.health.is_empty() {
            vec![HealthConfig::jsonl("health", self.paths.work.join("health").join("qc.jsonl"))]
        } else {
            self.health.clone()
        }
    }

    /// Receivers of alerts, with the embedded default when none is configured.
    pub fn alert_sinks(&self) -> Vec<AlertSinkConfig> {
        if self.alert.is_empty() {
            vec![AlertSinkConfig::file("alerts", self.paths.work.join("alerts.jsonl"))]
        } else {
            self.alert.clone()
        }
    }

    /// The text of a rules file and what to call it in errors: the file given, else the built-in text.
    pub fn rules_text(given: &Path, builtin: &str, name: &str) -> Result<(String, String), ConfigError> {
        if given.as_os_str().is_empty() {
            return Ok((builtin.to_string(), name.to_string()));
        }
        let text =
            std::fs::read_to_string(given).map_err(|source| ConfigError::Read { path: given.to_path_buf(), source })?;
        Ok((text, given.display().to_string()))
    }

    /// The effective configuration as TOML.
    pub fn to_toml(&self) -> Result<String, ConfigError> {
        toml::to_string_pretty(self)
            .map_err(|error| ConfigError::Parse { origin: "configuration".to_string(), message: error.to_string() })
    }
}

/// Where the work folder keeps what.
#[derive(Clone, Debug, PartialEq)]
pub struct Workspace {
    /// The work folder.
    pub root: PathBuf,
    /// SQLite database.
    pub catalogue: PathBuf,
    /// Products by digest; immutable.
    pub store: PathBuf,
    /// Files in the making; emptied at start.
    pub scratch: PathBuf,
    /// Tree of products, hard links into the store.
    pub reduced: PathBuf,
    /// SOF files.
    pub sof: PathBuf,
    /// Tree of pictures.
    pub qc: PathBuf,
    /// One JSON file that is renewed while the daemon is alive.
    pub heartbeat: PathBuf,
    /// Address, port and pid of the running daemon.
    pub daemon: PathBuf,
}

impl Workspace {
    fn new(paths: &PathsConfig) -> Workspace {
        let root = paths.work.clone();
        let or = |given: &PathBuf, default: &str| {
            if given.as_os_str().is_empty() { root.join(default) } else { given.clone() }
        };
        Workspace {
            catalogue: root.join("catalogue.db"),
            store: root.join("store"),
            scratch: root.join("scratch"),
            reduced: or(&paths.reduced, "reduced"),
            sof: or(&paths.sof, "sof"),
            qc: or(&paths.qc, "qc"),
            heartbeat: root.join("heartbeat.json"),
            daemon: root.join("daemon.json"),
            root,
        }
    }

    /// The stored file of a digest.
    pub fn stored(&self, sha256: &str) -> PathBuf {
        let prefix = sha256.get(..2).unwrap_or("00");
        self.store.join(prefix).join(format!("{sha256}.fits"))
    }
}

pub(crate) fn bad(key: &str, found: &str, reason: &str) -> ConfigError {
    ConfigError::Value { key: key.to_string(), found: format!("{found:?}"), reason: reason.to_string() }
}

fn is_category(name: &str) -> bool {
    let word = name.split('.').next().unwrap_or_default();
    let plain = name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'.');
    plain && ["SCIENCE", "ANCILLARY", "CALIB"].contains(&word) && (word != "CALIB" || name == "CALIB")
}

fn positive(key: &str, value: f64) -> Result<(), ConfigError> {
    if value.is_finite() && value > 0.0 {
        Ok(())
    } else {
        Err(bad(key, &value.to_string(), "must be greater than zero"))
    }
}

fn not_negative(key: &str, value: f64) -> Result<(), ConfigError> {
    if value.is_finite() && value >= 0.0 { Ok(()) } else { Err(bad(key, &value.to_string(), "must not be negative")) }
}

fn at_least_one(key: &str, value: u64) -> Result<(), ConfigError> {
    if value >= 1 { Ok(()) } else { Err(bad(key, &value.to_string(), "must be at least 1")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gate_holds_what_it_is_for() {
        let mut release = Config::defaults().expect("defaults").release;
        assert!(!release.holds("SCIENCE.SPECTRUM"), "the gate is open by default");
        release.gatekeeper = true;
        assert!(release.holds("SCIENCE.SPECTRUM") && release.holds("ANCILLARY.2DSPECTRUM"));
        assert!(!release.holds(""), "calibrations flow");
        release.gated = vec!["CALIB".to_string(), "SCIENCE.SPECTRUM".to_string()];
        assert!(release.holds("") && release.holds("SCIENCE.SPECTRUM") && !release.holds("SCIENCE.IMAGE"));
        let mut config = Config::defaults().expect("defaults");
        for odd in ["science", "CALIB.X", "EVERYTHING", ""] {
            config.release.gated = vec![odd.to_string()];
            assert!(config.check().is_err_and(|error| error.to_string().contains("release.gated")), "{odd}");
        }
    }
}
