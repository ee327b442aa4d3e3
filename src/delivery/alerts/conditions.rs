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
        let failed = self.catalogue.nights_that_failed().await?;
        Ok(failed
            .into_iter()
            .map(|(night, error)| Finding {
                key: format!("monitor/{night}"),
                kind: "monitor",
                severity: "error",
                text: format!("night {night} is not published for the quality monitor: {error}"),
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::catalogue::acts::Act;
    use crate::catalogue::seeded::Seeded;

    /// A watch over the seeded night; the disk and the Sun are looked at by tests of their own.
    fn watch(seeded: &Seeded) -> Watch {
        let mut config = Config::defaults().expect("defaults");
        config.alerts.free_mib = 0;
        config.alerts.sunset_hours = 0.0;
        Watch::new(seeded.catalogue.clone(), config, Liveness::new(), BTreeMap::new())
    }

    async fn keys(watch: &mut Watch) -> Vec<String> {
        watch.findings().await.expect("served").into_iter().map(|finding| finding.key).collect()
    }

    #[tokio::test]
    async fn lag_of_reduction_and_of_an_archive_is_found_when_it_is_too_long() {
        let seeded = Seeded::night().await;
        let mut watch = watch(&seeded);
        seeded.set_time("2026-03-10T20:20:00Z");
        assert!(keys(&mut watch).await.is_empty(), "deliveries of 20:00 are 20 minutes old");
        seeded.set_time("2026-03-10T20:40:00Z");
        assert_eq!(keys(&mut watch).await, ["delivery/archive", "delivery/health"]);
        seeded.catalogue.act("ana", Act::Reprocess, "set:3", "test").await.expect("admitted");
        assert_eq!(keys(&mut watch).await[0], "keep_up", "a job that was ready since 20:00 has not run");
    }

    #[tokio::test]
    async fn the_newest_measurement_decides_and_an_operators_word_ends_it() {
        let seeded = Seeded::night().await;
        let mut watch = watch(&seeded);
        seeded.set_time("2026-03-10T20:06:00Z");
        assert!(keys(&mut watch).await.is_empty(), "the older bias failed, the newer one is good");
        // Now the one that failed was taken last.
        seeded.execute("UPDATE frame_set SET mjd_last = mjd_last + 0.1 WHERE id = 2").await;
        let mut again = super::tests::watch(&seeded);
        let found = again.findings().await.expect("served");
        assert_eq!((found[0].key.as_str(), found[0].severity), ("qc/mbias/VIS/{}", "error"));
        assert!(found[0].text.contains("is out of range: RAW RON = 4.5000 electrons (1..3)"), "{}", found[0].text);
        assert_eq!(found.len(), 1, "order 12 passed, and so did the flat");
        seeded.catalogue.act("ana", Act::Reject, "product:1", "seen").await.expect("admitted");
        assert!(keys(&mut super::tests::watch(&seeded)).await.is_empty(), "a person has seen it");
        // What is old is not told for ever.
        seeded.catalogue.act("ana", Act::Accept, "product:1", "test").await.expect("admitted");
        assert_eq!(keys(&mut super::tests::watch(&seeded)).await, ["qc/mbias/VIS/{}"]);
        seeded.set_time("2026-03-11T20:06:00Z");
        assert!(keys(&mut super::tests::watch(&seeded)).await.iter().all(|key| !key.starts_with("qc/")));
    }

    #[tokio::test]
    async fn disk_and_loops_are_found() {
        let seeded = Seeded::empty().await;
        let mut watch = watch(&seeded);
        watch.config.alerts.free_mib = u64::MAX;
        watch.config.scheduler.min_free_mib = 0;
        let found = watch.findings().await.expect("served");
        assert_eq!((found[0].key.as_str(), found[0].severity), ("disk", "warning"));
        watch.config.scheduler.min_free_mib = u64::MAX;
        assert_eq!(watch.findings().await.expect("served")[0].severity, "error");
        watch.config.alerts.free_mib = 0;
        watch.liveness.expect("scheduler", Duration::ZERO);
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert_eq!(keys(&mut watch).await, ["daemon/scheduler"]);
        watch.liveness.retire("scheduler");
        assert!(keys(&mut watch).await.is_empty());
    }

    #[tokio::test]
    async fn a_predecessor_that_died_is_told_of_for_a_while() {
        let seeded = Seeded::empty().await;
        seeded.catalogue.record_boot("first", "0").await.expect("recorded");
        seeded.catalogue.record_stop("first").await.expect("recorded");
        seeded.set_time("2026-03-10T20:01:00Z");
        seeded.catalogue.record_boot("second", "0").await.expect("recorded");
        assert!(keys(&mut watch(&seeded)).await.is_empty(), "it stopped in order");
        seeded.set_time("2026-03-10T20:02:00Z");
        seeded.catalogue.record_boot("third", "0").await.expect("recorded");
        let mut watch = watch(&seeded);
        assert_eq!(keys(&mut watch).await, ["daemon/died"]);
        seeded.set_time("2026-03-10T20:13:00Z");
        assert!(keys(&mut watch).await.is_empty());
    }

    #[tokio::test]
    async fn a_calibration_that_recent_observations_used_is_missed_before_sunset() {
        let seeded = Seeded::night().await;
        // The flat's job used a bias; let it be an observation of the sky.
        seeded.execute("UPDATE frame_set SET recipe = 'stare' WHERE id = 4").await;
        let mut watch = watch(&seeded);
        watch.config.alerts.sunset_hours = 3.0;
        watch.fresh_days.insert("MASTER_BIAS_VIS".to_string(), 1.5);
        // The seeded products are of MJD 61109.1 (2026-03-10T02:24); the Sun sets at about 23:05 UTC.
        let lacks = async |watch: &mut Watch, time: &str| {
            seeded.set_time(time);
            keys(watch).await.into_iter().filter(|key| key.starts_with("calibration/")).count()
        };
        assert_eq!(lacks(&mut watch, "2026-03-10T21:00:00Z").await, 0, "it is fresh");
        assert_eq!(lacks(&mut watch, "2026-03-12T19:00:00Z").await, 0, "there is time");
        assert_eq!(lacks(&mut watch, "2026-03-12T21:00:00Z").await, 1, "it is not fresh at sunset");
        assert_eq!(lacks(&mut watch, "2026-03-13T03:00:00Z").await, 1, "the night needs it");
        assert_eq!(lacks(&mut watch, "2026-03-13T13:00:00Z").await, 0, "the night is over");
        watch.config.alerts.sunset_hours = 0.0;
        assert_eq!(lacks(&mut watch, "2026-03-12T21:00:00Z").await, 0, "switched off");
    }
}
