//! A small catalogue for the tests of views, stories and acts: one night of six sets, written through the catalogue's own
//! interface, with a clock that stands where the test puts it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

use super::files::{Accepted, Content, Look};
use super::jobs::{JobChange, NewCandidate, NewJob};
use super::products::{JudgedMetric, NewProduct};
use super::sets::{SetContent, SetIdentity};
use super::{Catalogue, FrameId, JobId, ProductId, SetId, VersionId};
use crate::clock::Clock;
use crate::fits::Header;
use crate::fits::digest::FileDigests;
use crate::instrument::{Arm, FrameMeta, Usage};
use crate::quality::{QcMetric, Verdict};

/// The night that everything belongs to.
pub const NIGHT: &str = "2026-03-10";

/// A clock that stands still.
pub struct StoppedClock(AtomicI64);

impl Clock for StoppedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(self.0.load(Ordering::Relaxed)).expect("tests stay within the calendar")
    }
}

/// A catalogue with its folder and clock.
pub struct Seeded {
    pub catalogue: Catalogue,
    pub clock: Arc<StoppedClock>,
    digests: AtomicI64,
    _folder: tempfile::TempDir,
}

/// A frame in the making.
pub struct Exposure<'a> {
    pub time: &'a str,
    pub arm: Arm,
    pub kind: &'a str,
    pub recipe: &'a str,
}

pub fn at(text: &str) -> Timestamp {
    text.parse().expect("a time as written in this test")
}

impl Seeded {
    /// An empty catalogue at 20:00 UTC of the night.
    pub async fn empty() -> Seeded {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let clock = Arc::new(StoppedClock(AtomicI64::new(at("2026-03-10T20:00:00Z").as_microsecond())));
        let path = folder.path().join("catalogue.db");
        let catalogue = Catalogue::open(&path, clock.clone()).await.expect("a new catalogue");
        Seeded { catalogue, clock, digests: AtomicI64::new(0), _folder: folder }
    }

    pub fn set_time(&self, text: &str) {
        self.clock.0.store(at(text).as_microsecond(), Ordering::Relaxed);
    }

    /// A hexadecimal number of 64 digits that was not used before.
    fn digest(&self) -> String {
        format!("{:064x}", self.digests.fetch_add(1, Ordering::Relaxed) + 0xa0)
    }

    pub async fn frame(&self, exposure: &Exposure<'_>, expno: u32, nexp: u32) -> (FrameId, VersionId) {
        let date_obs = at(&format!("{}Z", exposure.time));
        let data_id = format!("SOXS.{}.000", exposure.time);
        let meta = FrameMeta {
            data_id: data_id.clone(),
            arm: exposure.arm,
            kind: exposure.kind.to_string(),
            usage: if exposure.recipe.is_empty() { Usage::Register } else { Usage::Reduce },
            usage_reason: if exposure.recipe.is_empty() { "no recipe consumes it".to_string() } else { String::new() },
            recipe: (!exposure.recipe.is_empty()).then(|| exposure.recipe.to_string()),
            date_obs,
            mjd_obs: 61109.0 + date_obs.as_second() as f64 / 86400.0 % 1.0,
            exptime: 10.0,
            dpr_catg: "CALIB".to_string(),
            dpr_type: exposure.kind.to_ascii_uppercase(),
            dpr_tech: "IMAGE".to_string(),
            tpl_id: "SOXS_gen_cal".to_string(),
            tpl_name: String::new(),
            tpl_start: date_obs,
            tpl_expno: expno,
            tpl_nexp: nexp,
            obs_id: None,
            obs_name: String::new(),
            prog_id: String::new(),
            object: exposure.kind.to_ascii_uppercase(),
            binning: None,
            read_mode: None,
            gain: 1.0,
            ron: None,
            slit: None,
            slitmask: None,
            lamp: None,
            filter: None,
            columns: 16,
            rows: 16,
            detector_temp: None,
            common_path_temp: None,
            on_sky: crate::instrument::OnSky::default(),
            warnings: Vec::new(),
        };
        let look = look(&format!("/data/raw/{data_id}.fits"));
        let digest = self.digest();
        let header = Header::new();
        let content = Content { digest: &digest, bytes: 5760, meta: &meta, header: &header };
        let mut tx = self.catalogue.begin().await.expect("a transaction");
        let accepted = tx.accept_file(&look, &content).await.expect("the frame is taken in");
        tx.commit().await.expect("it is kept");
        let Accepted::NewFrame(frame) = accepted else { panic!("{data_id} was met before") };
        let version = sqlx::query_scalar("SELECT current_version FROM frame WHERE id = ?1")
            .bind(frame)
            .fetch_one(self.catalogue.reader())
            .await
            .expect("its version");
        (frame, version)
    }

    /// A set of `count` frames out of `planned`, 30 s apart from `exposure.time` on (minutes and seconds `00:00`).
    pub async fn set(
        &self,
        exposure: &Exposure<'_>,
        count: u32,
        planned: u32,
        state: &'static str,
        why: &str,
    ) -> (SetId, Vec<VersionId>) {
        let mut frames = Vec::new();
        for index in 0..count {
            let time = exposure.time.replace(":00:00", &format!(":{:02}:{:02}", index / 2, index % 2 * 30));
            frames.push(self.frame(&Exposure { time: &time, ..*exposure }, index + 1, planned).await);
        }
        let name = format!("{}_{}_{}", exposure.time, exposure.arm, exposure.recipe.to_ascii_uppercase())
            .replace(['-', ':'], "");
        let mut tx = self.catalogue.begin().await.expect("a transaction");
        let start_us = at(&format!("{}Z", exposure.time)).as_microsecond();
        let template = tx
            .put_template(&name, exposure.arm.as_str(), "SOXS_gen_cal", start_us, planned.into())
            .await
            .expect("a template");
        let identity = SetIdentity {
            key: &name,
            template,
            recipe: exposure.recipe,
            arm: exposure.arm.as_str(),
            night: NIGHT,
            object: exposure.kind,
            keys: "{}",
            follows: None,
        };
        let set = tx.put_set(&identity).await.expect("a set");
        for (expno, (frame, version)) in (1_i64..).zip(&frames) {
            tx.put_template_member(template, *frame, expno).await.expect("a member of the template");
            tx.put_member(*frame, Some(set)).await.expect("a member of the set");
            tx.mark_grouped(*version).await.expect("marked");
        }
        if state != "open" {
            let closed = if count < planned { "the next template of this arm began" } else { "all its exposures came" };
            tx.close_template(template, closed).await.expect("closed");
        }
        let content = SetContent {
            name,
            night: NIGHT.to_string(),
            content: self.digest(),
            n_frames: count.into(),
            mjd_first: 61109.0,
            mjd_last: 61109.1,
            state,
            why: why.to_string(),
        };
        tx.put_set_content(set, &content).await.expect("described");
        tx.commit().await.expect("it is kept");
        (set, frames.into_iter().map(|(_, version)| version).collect())
    }

    /// A job in state `ready`, `waiting`, `parked` or `unsupported`.
    pub async fn job(&self, new: &NewJob<'_>) -> JobId {
        let mut tx = self.catalogue.begin().await.expect("a transaction");
        let job = tx.create_job(new).await.expect("a job");
        tx.commit().await.expect("it is kept");
        job
    }

    /// Run a ready job to `end` with a product and two metrics, one of them out of range when the verdict is not "pass".
    pub async fn finish(&self, job: JobId, set: SetId, end: &'static str, verdict: Verdict, catg: &str) -> ProductId {
        let mut tx = self.catalogue.begin().await.expect("a transaction");
        assert!(tx.claim_job(job, "boot").await.expect("claimed"));
        let row = self.catalogue.set_row(set.0).await.expect("a row").expect("a set");
        let product = NewProduct {
            catg: catg.to_string(),
            arm: row.arm.clone(),
            night: NIGHT.to_string(),
            name: format!("{}.fits", row.name),
            folder: format!("{NIGHT}/soxs-{}", row.recipe),
            digests: FileDigests {
                size: 2880,
                sha256: self.digest(),
                md5: self.digest().split_off(32),
                crc32: 1,
                crc32c: 2,
            },
            keys: "{}".to_string(),
            mjd: 61109.1,
            n_combined: row.n_frames,
            claim: None,
        };
        let product = tx.put_product(job, set, &product, verdict).await.expect("a product");
        let level = JudgedMetric {
            metric: QcMetric::measured("RAW RON", 4.5, "electrons", "Read noise"),
            verdict,
            min: Some(1.0),
            max: Some(3.0),
        };
        let mut order = level.clone();
        order.metric.order = "12".to_string();
        order.verdict = Verdict::Pass;
        for metric in [&order, &level] {
            tx.put_qc(job, &row.recipe, 0, metric).await.expect("a metric");
        }
        let change = JobChange { why: "recipe ended", actor: "scheduler", ..JobChange::default() };
        tx.move_job(job, &["running"], end, &change).await.expect("ended");
        tx.enqueue_archive("archive", product, job, "queued").await.expect("queued");
        tx.enqueue_health("health", job, &format!("job-{job}")).await.expect("queued");
        tx.commit().await.expect("it is kept");
        product
    }

    /// The night: a quarantined and a registered file, a short set, a flagged older bias, a bias that is delivered, a flat
    /// that used it and refused the older one, an open set, and a science set that waits.
    pub async fn night() -> Seeded {
        let seeded = Seeded::empty().await;
        let mut tx = seeded.catalogue.begin().await.expect("a transaction");
        let broken = look("/data/raw/SOXS.2026-03-10T19:10:00.000.fits");
        tx.file_waits(&broken, true, "the data unit of HDU 0 ends after 2880 of 8640 bytes").await.expect("waits");
        let reason = "incomplete since 600 s: the data unit of HDU 0 ends after 2880 of 8640 bytes";
        tx.quarantine_file(&broken, "truncated", reason).await.expect("quarantined");
        tx.commit().await.expect("kept");
        let image = Exposure { time: "2026-03-10T23:50:00", arm: Arm::Acq, kind: "acquisition", recipe: "" };
        seeded.frame(&image, 1, 1).await;

        let bias = |time| Exposure { time, arm: Arm::Vis, kind: "bias", recipe: "mbias" };
        let short = "only 2 of at least 3 frames came";
        let (short, frames) = seeded.set(&bias("2026-03-10T18:00:00"), 2, 5, "short", short).await;
        assert_eq!((short.0, frames.len()), (1, 2));
        let (older, frames) = seeded.set(&bias("2026-03-10T19:00:00"), 5, 5, "complete", "").await;
        let older_job = seeded.job(&new_job(older, "mbias", &seeded.digest(), &frames, &[], &[])).await;
        let flagged = seeded.finish(older_job, older, "flagged", Verdict::Fail, "MASTER_BIAS_VIS").await;
        let (newer, frames) = seeded.set(&bias("2026-03-10T20:00:00"), 5, 5, "complete", "").await;
        let newer_job = seeded.job(&new_job(newer, "mbias", &seeded.digest(), &frames, &[], &[])).await;
        seeded.set_time("2026-03-10T20:04:00Z");
        let good = seeded.finish(newer_job, newer, "done", Verdict::Pass, "MASTER_BIAS_VIS").await;
        seeded.set_time("2026-03-10T20:05:00Z");
        seeded.confirm(good).await;

        let candidates = [
            candidate("MASTER_BIAS_VIS", Some(good), newer, "chosen", "newest", "newest of level 0", 0.04),
            candidate("MASTER_BIAS_VIS", Some(flagged), older, "refused", "verdict", "its QC verdict is fail", 0.08),
        ];
        let flat = Exposure { time: "2026-03-10T21:00:00", arm: Arm::Vis, kind: "slit_flat", recipe: "mflat" };
        let (flat, frames) = seeded.set(&flat, 5, 5, "complete", "").await;
        let flat_job = seeded.job(&new_job(flat, "mflat", &seeded.digest(), &frames, &[good], &candidates)).await;
        seeded.finish(flat_job, flat, "done", Verdict::Pass, "MASTER_FLAT_VIS").await;
        let dark = Exposure { time: "2026-03-10T22:00:00", arm: Arm::Nir, kind: "dark", recipe: "mdark" };
        seeded.set(&dark, 3, 5, "open", "").await;
        let science = Exposure { time: "2026-03-10T23:00:00", arm: Arm::Vis, kind: "science", recipe: "stare" };
        let (science, frames) = seeded.set(&science, 1, 1, "complete", "").await;
        let key = seeded.digest();
        let refused = [candidate(
            "MASTER_BIAS_VIS",
            Some(flagged),
            older,
            "refused",
            "binning",
            "binning 1x2 of the data, 1x1 of the master",
            0.16,
        )];
        let waiting = NewJob {
            state: "waiting",
            waits_for: "MASTER_BIAS_VIS with binning 1x2",
            deadline_us: Some(at("2026-03-11T08:00:00Z").as_microsecond()),
            ..new_job(science, "stare", &key, &frames, &[], &refused)
        };
        seeded.job(&waiting).await;
        let mut tx = seeded.catalogue.begin().await.expect("a transaction");
        for set in seeded.catalogue.dirty_sets().await.expect("sets") {
            tx.clean_set(set.id, set.dirty).await.expect("planned");
        }
        tx.commit().await.expect("it is kept");
        seeded
    }

    /// The archive's record of a product agrees.
    pub async fn confirm(&self, product: ProductId) {
        let mut tx = self.catalogue.begin().await.expect("a transaction");
        for item in self.catalogue.deliveries_of_product(product.0).await.expect("deliveries") {
            let change = super::deliveries::DeliveryChange { why: "its record agrees", ..Default::default() };
            tx.move_delivery(super::DeliveryId(item.id), &["queued"], "confirmed", &change).await.expect("confirmed");
        }
        tx.commit().await.expect("it is kept");
    }

    /// Change a row by hand.
    pub async fn execute(&self, statement: &'static str) {
        let mut tx = self.catalogue.begin().await.expect("a transaction");
        sqlx::query(statement).execute(&mut *tx.tx).await.expect("changed");
        tx.commit().await.expect("it is kept");
    }

    /// Name of a set.
    pub async fn set_name(&self, id: i64) -> String {
        self.catalogue.set_row(id).await.expect("a row").expect("a set").name
    }
}

pub fn look(path: &str) -> Look {
    let name = path.rsplit('/').next().unwrap_or(path).to_string();
    Look { path: path.to_string(), name, size: 5760, mtime_us: 1 }
}

pub fn new_job<'a>(
    set: SetId,
    recipe: &'a str,
    key: &'a str,
    raw: &'a [VersionId],
    masters: &'a [ProductId],
    candidates: &'a [NewCandidate],
) -> NewJob<'a> {
    NewJob {
        set,
        recipe,
        recipe_version: "1",
        key,
        parameters: "{}",
        state: "ready",
        priority: 5,
        newest_mjd: 61109.0,
        peak_bytes: 0,
        waits_for: "",
        deadline_us: None,
        level: Some(0),
        class: "",
        error: "",
        why: "its set is complete",
        raw,
        masters,
        candidates,
    }
}

fn candidate(
    need: &str,
    product: Option<ProductId>,
    set: SetId,
    verdict: &'static str,
    rule: &str,
    reason: &str,
    days: f64,
) -> NewCandidate {
    let (need, rule, reason) = (need.to_string(), rule.to_string(), reason.to_string());
    NewCandidate { need, product, set, verdict, rule, reason, level: Some(0), days }
}
