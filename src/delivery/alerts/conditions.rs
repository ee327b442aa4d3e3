//! What is wrong now. Every condition is asked of the catalogue, the disk or the loops afresh; nothing is remembered but what
//! would be dear to ask again.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::qc;
use crate::catalogue::alerts::Finding;
use crate::catalogue::{Catalogue, CatalogueError};
use crate::config::{AlertsConfig, Config};
use crate::instrument::site::next_sunset;
use crate::liveness::Liveness;

/// Modified Julian date of 1970-01-01.
const UNIX_MJD: f64 = 40_587.0;
/// A night of observing ends about so long after sunset; calibrations missing then are missing no more.
const NIGHT: SignedDuration = SignedDuration::from_hours(12);
/// A process that died is told of until its successor has run for so long.
const AFTER_DEATH: SignedDuration = SignedDuration::from_mins(10);

/// The watch: finds what is wrong.
pub struct Watch {
    catalogue: Catalogue,
    config: Config,
    liveness: Liveness,
    fresh_days: BTreeMap<String, f64>,
    began: Timestamp,
    /// Did the process before this one die? Asked once.
    predecessor_died: Option<bool>,
    /// Metrics out of range, as of this generation of metrics and time.
    qc: Option<(i64, Timestamp, Vec<Finding>)>,
}

impl Watch {
    /// A watch over a catalogue, the loops of this process and the disk of the work folder. `fresh_days` says how old a
    /// calibration may be, by PRO CATG with the arm.
    pub fn new(catalogue: Catalogue, config: Config, liveness: Liveness, fresh_days: BTreeMap<String, f64>) -> Watch {
        let began = catalogue.clock().now();
        Watch { catalogue, config, liveness, fresh_days, began, predecessor_died: None, qc: None }
    }

    /// The configuration that it goes by.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Everything that is wrong now.
    pub async fn findings(&mut self) -> Result<Vec<Finding>, CatalogueError> {
        let now = self.catalogue.clock().now();
        let mut findings = Vec::new();
        findings.extend(self.keep_up().await?);
        findings.extend(self.deliveries().await?);
        findings.extend(self.monitor().await?);
        findings.extend(self.disk().await?);
        findings.extend(self.daemon(now).await?);
        findings.extend(self.calibrations(now).await?);
        findings.extend(self.metrics(now).await?);
        Ok(findings)
    }

    fn alerts(&self) -> &AlertsConfig {
        &self.config.alerts
    }

    async fn keep_up(&self) -> Result<Option<Finding>, CatalogueError> {
        let late = self.catalogue.longest_waiting_job().await?.filter(|late| late.age_s > self.alerts().keep_up_s);
        Ok(late.map(|late| Finding {
            key: "keep_up".to_string(),
            kind: "keep_up",
            severity: "error",
            // Nothing that changes from look to look: the text is kept as long as the trouble is the same.
            text: format!(
                "reduction does not keep up: {} ({}) has been {} for too long",
                late.set_name, late.recipe, late.state
            ),
            hint: "`soxsd status` shows what runs and whether it is paused; `soxsd jobs --state ready` what waits"
                .to_string(),
        }))
    }

    async fn deliveries(&self) -> Result<Vec<Finding>, CatalogueError> {
        let ages = self.catalogue.undelivered_ages().await?;
        let late = ages.into_iter().filter(|age| age.seconds > self.alerts().delivery_s);
        Ok(late
            .map(|late| Finding {
                key: format!("delivery/{}", late.group),
                kind: "delivery",
                severity: "error",
                text: format!(
                    "{} has not confirmed what was sent to it for more than {}",
                    late.group,
                    span(self.alerts().delivery_s)
                ),
                hint: "nothing is lost; `soxsd deliveries` says what it answered. What is parked needs `soxsd retry`"
                    .to_string(),
            })
            .collect())
    }

    /// Nights that were closed and could not be published.
    async fn monitor(&self) -> Result<Vec<Finding>, CatalogueError> {
        let nights = self.catalogue.monitor_nights(60).await?;
        let failed = nights.into_iter().filter(|night| night.state == "closed" && !night.error.is_empty());
        Ok(failed
            .map(|night| Finding {
                key: format!("monitor/{}", night.night),
                kind: "monitor",
                severity: "error",
                text: format!("night {} is not published for the quality monitor: {}", night.night, night.error),
                hint: "it is tried again every minute; `soxsd export monitor` shows all nights".to_string(),
            })
            .collect())
    }

    async fn disk(&self) -> Result<Option<Finding>, CatalogueError> {
        let folder = self.catalogue.path().parent().unwrap_or(std::path::Path::new(".")).to_path_buf();
        // A dying disk can keep statvfs waiting: it waits on a thread of its own.
        let disk = tokio::task::spawn_blocking(move || rustix::fs::statvfs(&folder).ok()).await.unwrap_or_default();
        let free_mib = disk.map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) >> 20);
        let Some(free) = free_mib.filter(|free| *free < self.alerts().free_mib) else { return Ok(None) };
        let stops = self.config.scheduler.min_free_mib;
        let paused = free < stops;
        let work = self.config.paths.work.display();
        Ok(Some(Finding {
            key: "disk".to_string(),
            kind: "disk",
            severity: if paused { "error" } else { "warning" },
            text: match paused {
                true => format!("less than {stops} MiB are free in {work}: no recipe starts"),
                false => format!("less than {} MiB are free in {work}", self.alerts().free_mib),
            },
            hint: "make room: old products are in the archive, old raw frames are none of ours".to_string(),
        }))
    }

    async fn daemon(&mut self, now: Timestamp) -> Result<Vec<Finding>, CatalogueError> {
        let died = match self.predecessor_died {
            Some(died) => died,
            None => *self.predecessor_died.insert(self.catalogue.previous_process_died().await?),
        };
        let mut findings = Vec::new();
        if died && now.duration_since(self.began) < AFTER_DEATH {
            findings.push(Finding {
                key: "daemon/died".to_string(),
                kind: "daemon",
                severity: "warning",
                text: "the daemon died without a word and was started again".to_string(),
                hint: "its log and the system's (out of memory, power) say why; work that ran is done again"
                    .to_string(),
            });
        }
        findings.extend(self.liveness.late().into_iter().map(|late| Finding {
            key: format!("daemon/{}", late.name),
            kind: "daemon",
            severity: "error",
            text: format!("the daemon is not healthy: its {} loop stands still", late.name),
            hint: "the log says what it did last; systemd restarts it, no work is lost".to_string(),
        }));
        Ok(findings)
    }

    /// Before sunset, and until it is too late: calibrations of the kind that recent nights needed, none of them fresh.
    async fn calibrations(&self, now: Timestamp) -> Result<Vec<Finding>, CatalogueError> {
        let lead = SignedDuration::try_from_secs_f64(self.alerts().sunset_hours * 3600.0).unwrap_or_default();
        let sunset = next_sunset(now.checked_sub(NIGHT).unwrap_or(now));
        if lead.is_zero() || now < sunset.checked_sub(lead).unwrap_or(sunset) {
            return Ok(Vec::new());
        }
        let mjd = |time: Timestamp| time.as_second() as f64 / 86400.0 + UNIX_MJD;
        let since = mjd(now) - f64::from(self.alerts().sunset_nights);
        let mut stale: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for used in self.catalogue.calibrations_in_use(since).await? {
            let Some(allowed) = self.fresh_days.get(&used.catg) else { continue };
            if used.newest_mjd.is_none_or(|newest| mjd(sunset) - newest > *allowed) {
                let setup = if used.setup.is_empty() { "any set-up".to_string() } else { used.setup };
                stale.entry(used.catg).or_default().push(setup);
            }
        }
        let told = |(catg, setups): (String, Vec<String>)| Finding {
            text: format!("tonight lacks {catg} for {}", setups.join(", ")),
            key: format!("calibration/{catg}"),
            kind: "calibration",
            severity: "warning",
            hint: "take it before sunset; without it the next older one serves, at a worse level".to_string(),
        };
        Ok(stale.into_iter().map(told).collect())
    }

    async fn metrics(&mut self, now: Timestamp) -> Result<Vec<Finding>, CatalogueError> {
        let generation = self.catalogue.metrics_generation().await?;
        let held = self.qc.as_ref().filter(|(of, at, _)| *of == generation && now.duration_since(*at) < AFTER_DEATH);
        if let Some((_, _, findings)) = held {
            return Ok(findings.clone());
        }
        let findings = qc::findings(&self.catalogue, &self.config.alerts, now).await?;
        self.qc = Some((generation, now, findings.clone()));
        Ok(findings)
    }
}

fn span(seconds: f64) -> String {
    if seconds >= 120.0 { format!("{:.0} min", seconds / 60.0) } else { format!("{seconds:.0} s") }
}
