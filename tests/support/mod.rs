//! What the integration tests of delivery share: a catalogue with products in a folder of its own, and an NGAS double.

#![allow(dead_code)] // each test file uses its part

pub mod ngas_double;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use soxsd::catalogue::jobs::NewJob;
use soxsd::catalogue::products::{JudgedMetric, NewProduct};
use soxsd::catalogue::sets::{SetContent, SetIdentity};
use soxsd::catalogue::{Catalogue, JobId};
use soxsd::clock::SystemClock;
use soxsd::config::{ArchiveConfig, Config, HealthConfig};
use soxsd::delivery::Pace;
use soxsd::fits::digest::FileDigests;
use soxsd::quality::{QcMetric, Verdict};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longest wait for anything.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A catalogue, a store and a configuration.
pub struct Rig {
    pub folder: tempfile::TempDir,
    pub catalogue: Catalogue,
    pub config: Config,
    products: i64,
}

/// A delivery as the catalogue has it.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct Row {
    pub sink: String,
    pub key: String,
    pub state: String,
    pub attempts: i64,
    pub class: String,
    pub error: String,
    pub receipt: String,
}

impl Rig {
    pub async fn new(archives: Vec<ArchiveConfig>, monitors: Vec<HealthConfig>) -> Rig {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::defaults().unwrap();
        config.paths.work = folder.path().join("work");
        config.archive = archives;
        config.health = monitors;
        config.check().unwrap();
        let catalogue = Catalogue::open(&config.workspace().catalogue, Arc::new(SystemClock)).await.unwrap();
        Rig { folder, catalogue, config, products: 0 }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A product of these bytes, with its job, queued for every archive.
    pub async fn product(&mut self, name: &str, bytes: &[u8]) -> JobId {
        self.products += 1;
        let n = self.products;
        let staged = self.path("staged");
        std::fs::write(&staged, bytes).unwrap();
        let digests = FileDigests::of(&staged).unwrap();
        let stored = self.config.workspace().stored(&digests.sha256);
        std::fs::create_dir_all(stored.parent().unwrap()).unwrap();
        std::fs::rename(&staged, &stored).unwrap();

        let mut tx = self.catalogue.begin().await.unwrap();
        let template = tx.put_template(&format!("VIS|{n}"), "VIS", "SOXS_img_cal", n, 1).await.unwrap();
        let key = format!("set {n}");
        let identity = SetIdentity {
            key: &key,
            template,
            recipe: "mbias",
            arm: "VIS",
            night: "2026-11-21",
            object: "BIAS",
            keys: r#"{"binning":"1x1"}"#,
            follows: None,
        };
        let set = tx.put_set(&identity).await.unwrap();
        let content = SetContent {
            name: format!("SET_{n}"),
            night: "2026-11-21".to_string(),
            content: String::new(),
            n_frames: 1,
            mjd_first: 61365.0,
            mjd_last: 61365.0,
            state: "complete",
            why: String::new(),
        };
        tx.put_set_content(set, &content).await.unwrap();
        let job = NewJob {
            set,
            recipe: "mbias",
            recipe_version: "1",
            key: &format!("{n:064x}"),
            parameters: "{}",
            state: "ready",
            priority: 1,
            newest_mjd: 61365.0,
            peak_bytes: 0,
            waits_for: "",
            deadline_us: None,
            level: None,
            class: "",
            error: "",
            why: "test",
            raw: &[],
            masters: &[],
            candidates: &[],
        };
        let job = tx.create_job(&job).await.unwrap();
        let product = NewProduct {
            catg: "MASTER_BIAS_VIS".to_string(),
            arm: "VIS".to_string(),
            night: "2026-11-21".to_string(),
            name: name.to_string(),
            folder: "2026-11-21/soxs-mbias".to_string(),
            digests,
            keys: "{}".to_string(),
            mjd: 61365.0,
            n_combined: 1,
            claim: None,
        };
        let product = tx.put_product(job, set, &product, Verdict::Pass).await.unwrap();
        for archive in &self.config.archive {
            tx.enqueue_archive(&archive.name, product, job, "queued").await.unwrap();
        }
        tx.commit().await.unwrap();
        job
    }

    /// Metrics of a job, queued for every monitor under `key`.
    pub async fn metrics(&self, job: JobId, key: &str, metrics: &[QcMetric]) {
        let mut tx = self.catalogue.begin().await.unwrap();
        for metric in metrics {
            let judged = JudgedMetric { metric: metric.clone(), verdict: Verdict::Pass, min: Some(0.5), max: None };
            tx.put_qc(job, "mbias", 1_795_316_645_678_000, &judged).await.unwrap();
        }
        for monitor in &self.config.health {
            tx.enqueue_health(&monitor.name, job, key).await.unwrap();
        }
        tx.commit().await.unwrap();
    }

    /// The outboxes, running at a test's pace.
    pub fn run(&self) -> Running {
        self.run_at(pace())
    }

    pub fn run_at(&self, pace: Pace) -> Running {
        let cancel = CancellationToken::new();
        let (catalogue, config, token) = (self.catalogue.clone(), self.config.clone(), cancel.clone());
        let task = tokio::spawn(async move {
            soxsd::delivery::run_at(catalogue, config, pace, token).await.unwrap();
        });
        Running { cancel, task }
    }

    /// Wait until nothing is open.
    pub async fn drained(&self) {
        let drained = tokio::time::timeout(DEADLINE, soxsd::delivery::drained(&self.catalogue)).await;
        match drained {
            Ok(done) => done.unwrap(),
            Err(_) => panic!("not drained: {:#?}", self.rows().await),
        }
    }

    /// Wait until the deliveries satisfy a condition.
    pub async fn until(&self, what: &str, condition: impl Fn(&[Row]) -> bool) {
        let mut changes = self.catalogue.subscribe();
        let wait = async {
            while !condition(&self.rows().await) {
                changes.changed().await.unwrap();
            }
        };
        if tokio::time::timeout(DEADLINE, wait).await.is_err() {
            panic!("{what} did not happen: {:#?}", self.rows().await);
        }
    }

    pub async fn rows(&self) -> Vec<Row> {
        self.query("SELECT sink, key, state, attempts, class, error, receipt FROM delivery ORDER BY id").await
    }

    /// Every state that deliveries went through, in order.
    pub async fn journal(&self) -> Vec<(String, String)> {
        self.query("SELECT to_state, why FROM delivery_event ORDER BY id").await
    }

    pub async fn query<T>(&self, text: &'static str) -> Vec<T>
    where
        T: for<'r> sqlx::FromRow<'r, sqlx::sqlite::SqliteRow> + Send + Unpin,
    {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.catalogue.path()).read_only(true);
        let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
        let rows = sqlx::query_as(text).fetch_all(&pool).await.unwrap();
        pool.close().await;
        rows
    }

    /// What an operator's retry does: all are queued again, at once.
    pub async fn retry_parked(&self) {
        use soxsd::catalogue::DeliveryId;
        use soxsd::catalogue::deliveries::DeliveryChange;
        let parked: Vec<(DeliveryId,)> = self.query("SELECT id FROM delivery WHERE state = 'parked'").await;
        let mut tx = self.catalogue.begin().await.unwrap();
        for (id,) in parked {
            let change = DeliveryChange { why: "retry", ..DeliveryChange::default() };
            tx.move_delivery(id, &["parked"], "queued", &change).await.unwrap();
        }
        tx.commit().await.unwrap();
    }
}

/// Outboxes at work.
pub struct Running {
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    /// Ask them to stop, and wait.
    pub async fn stop(self) {
        self.cancel.cancel();
        tokio::time::timeout(DEADLINE, self.task).await.expect("delivery did not stop").unwrap();
    }

    /// Cut them off where they are.
    pub async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

/// Waits short enough for tests.
pub fn pace() -> Pace {
    Pace {
        first: Duration::from_millis(4),
        longest: Duration::from_millis(40),
        unknown_wait: Duration::from_millis(4),
        unknown_again: Duration::from_millis(4),
        poll: Duration::from_millis(4),
        buffered_longest: Duration::from_secs(20),
        stop_grace: Duration::from_secs(5),
    }
}

/// Bytes that differ by seed; a multiple of 2880.
pub fn bytes(seed: u64, blocks: usize) -> Vec<u8> {
    use rand::{Rng, SeedableRng};
    let mut random = rand_pcg::Pcg32::seed_from_u64(seed);
    let mut bytes = vec![0; 2880 * blocks];
    random.fill_bytes(&mut bytes);
    bytes
}

/// Every file below a folder that is not hidden, by its path relative to it.
pub fn tree(folder: &Path) -> std::collections::BTreeMap<String, Vec<u8>> {
    let mut files = std::collections::BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    files
}
