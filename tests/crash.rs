//! The daemon dies at any moment and loses nothing: SIGKILL at seeded random moments of a run, a restart after each.
//!
//! Frames land while it is killed, some in two halves with a death in between; finished jobs are run again so that there
//! is work until the last kill. After every kill: what is visible is whole and is what the catalogue says. In the end:
//! every product made once, delivered once to every archive, told once to the monitor, and no raw file touched.
//!
//! `SOXSD_TEST_KILLS` (200) and `SOXSD_TEST_SEED` change the run.

mod support;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg32;
use soxsd::catalogue::Catalogue;
use soxsd::catalogue::acts::Act;
use soxsd::catalogue::views::{DeliveryRow, Filter, FrameRow, JobRow, ProductRow, StatusView};
use soxsd::clock::SystemClock;
use soxsd::config::Config;
use soxsd::fits::{FileDigests, ScanLimits, scan};
use soxsd::instrument::Binning;
use soxsd::simulator::{self, NightPlan, TemplatePlan};
use support::ngas_double::Double;

/// Longest time from the last kill to the end of all work.
const SETTLE: Duration = Duration::from_secs(120);
/// Longest wait for a moment that was chosen to kill at.
const AIM: Duration = Duration::from_millis(1500);
/// Part of the kills during which frames land.
const LANDING: f64 = 0.8;

/// Four read modes and two binnings of VIS, one DIT of NIR; eight sets.
fn plan() -> NightPlan {
    let (square, fast) = (Binning { x: 2, y: 2 }, Binning { x: 2, y: 1 });
    NightPlan::new("2026-03-10T19:00:00Z".parse().expect("a time"))
        .with(TemplatePlan::vis_bias(1, square, 4))
        .with(TemplatePlan::vis_bias(2, square, 3))
        .with(TemplatePlan::nir_dark(10.0, 3))
        .with(TemplatePlan::vis_bias(3, square, 4))
        .with(TemplatePlan::vis_bias(4, square, 3))
        .with(TemplatePlan::vis_bias(1, fast, 3))
        .with(TemplatePlan::vis_bias(1, square, 3))
        .with(TemplatePlan::vis_bias(3, square, 5))
}
const SETS: usize = 8;

/// When a process is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// So long after its start.
    After(Duration),
    /// A file has come into the store.
    Stored,
    /// A job runs.
    Running,
    /// Something reaches an archive.
    Archived,
}

/// What the kills hit.
#[derive(Debug, Default)]
struct Hits {
    running: usize,
    half_landed: usize,
    open_delivery: usize,
    delivery_under_way: usize,
    before_ready: usize,
    reprocessed: usize,
    stored_not_shown: usize,
}

struct Scene {
    folder: tempfile::TempDir,
    config: Config,
    config_file: PathBuf,
    archive: Double,
    /// Files that were read and found whole, as they were then.
    whole: HashMap<PathBuf, (u64, u64, i64, i64)>,
}

/// The catalogue at one time.
struct Picture {
    status: StatusView,
    frames: Vec<FrameRow>,
    jobs: Vec<JobRow>,
    products: Vec<ProductRow>,
    deliveries: Vec<DeliveryRow>,
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text:?}: not a number")))
}

fn everything() -> Filter {
    Filter { limit: 1_000_000, ..Filter::default() }
}

impl Scene {
    async fn set() -> Scene {
        let folder = tempfile::tempdir().expect("a folder");
        let archive = Double::start().await;
        let at = |name: &str| folder.path().join(name).display().to_string();
        let text = format!(
            r#"
            [paths]
            raw = ["{raw}"]
            work = "{work}"
            [ingest]
            settle_s = 0.1
            rescan_s = 1
            [association]
            template_grace_s = 600
            [scheduler]
            min_free_mib = 64
            retry_first_s = 0.1
            retry_longest_s = 0.5
            [service]
            listen = "127.0.0.1:0"
            [[archive]]
            name = "archive"
            kind = "directory"
            path = "{directory}"
            poll_s = 0.1
            [[archive]]
            name = "spool"
            kind = "spool"
            path = "{spool}"
            poll_s = 0.1
            [[archive]]
            name = "saf"
            kind = "ngas"
            url = "{url}"
            poll_s = 0.1
            timeout_s = 20
            [[health]]
            name = "monitor"
            kind = "jsonl"
            path = "{health}"
            "#,
            raw = at("raw"),
            work = at("work"),
            directory = at("archive"),
            spool = at("spool"),
            health = at("health/qc.jsonl"),
            url = archive.url,
        );
        let config_file = folder.path().join("soxsd.toml");
        std::fs::write(&config_file, text).expect("written");
        std::fs::create_dir(folder.path().join("raw")).expect("a folder");
        let config = Config::load(Some(&config_file), std::iter::empty()).expect("a valid configuration");
        Scene { folder, config, config_file, archive, whole: HashMap::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn soxsd(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_soxsd"));
        command.args(arguments).arg("--config").arg(&self.config_file).env_remove("SOXSD_CONFIG");
        command
    }

    fn start(&self) -> Daemon {
        let log = File::options().create(true).append(true).open(self.path("log")).expect("a log");
        let child = self.soxsd(&["run"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        Daemon(child.expect("soxsd starts"))
    }

    /// `None` before the first process has made a catalogue with a schema.
    async fn look(&self) -> Option<Picture> {
        let catalogue = self.read_only().await?;
        let all = everything();
        let picture = Picture {
            status: catalogue.status().await.ok()?,
            frames: catalogue.frames(&all).await.ok()?,
            jobs: catalogue.jobs(&all).await.ok()?,
            products: catalogue.products(&all).await.ok()?,
            deliveries: catalogue.deliveries(&all).await.ok()?,
        };
        catalogue.close().await;
        Some(picture)
    }

    async fn read_only(&self) -> Option<Catalogue> {
        Catalogue::open_read_only(&self.config.workspace().catalogue, Arc::new(SystemClock)).await.ok()
    }

    /// Files in the store. One that is made again is another file of the same name.
    fn stored(&self) -> BTreeSet<u64> {
        let inode = |path: &PathBuf| std::fs::metadata(path).ok().map(|metadata| metadata.ino());
        visible(&self.config.workspace().store).values().filter_map(inode).collect()
    }

    /// Files in the store that the tree does not show: killed between the two.
    fn stored_not_shown(&self) -> usize {
        let inode = |path: &PathBuf| std::fs::metadata(path).ok().map(|metadata| metadata.ino());
        let shown: BTreeSet<u64> = visible(&self.config.workspace().reduced).values().filter_map(inode).collect();
        self.stored().difference(&shown).count()
    }

    /// Wait for the moment. False when it did not come.
    async fn wait_for(&self, moment: Moment, random: &mut Pcg32) -> bool {
        let (stored, offers) = (self.stored(), self.archive.state().offers);
        let archived = visible(&self.path("archive")).len();
        let (limit, jitter) = match moment {
            Moment::After(delay) => {
                tokio::time::sleep(delay).await;
                return true;
            }
            Moment::Stored => (AIM, 8_000),
            Moment::Running => (AIM, 150_000),
            Moment::Archived => (AIM, 20_000),
        };
        let begun = Instant::now();
        let catalogue = self.read_only().await;
        let mut came = false;
        while !came && begun.elapsed() < limit {
            came = match moment {
                Moment::Stored => !self.stored().is_subset(&stored),
                Moment::Archived => {
                    self.archive.state().offers > offers || visible(&self.path("archive")).len() > archived
                }
                _ => match &catalogue {
                    Some(catalogue) => catalogue.jobs_in("running").await.is_ok_and(|jobs| !jobs.is_empty()),
                    None => false,
                },
            };
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        tokio::time::sleep(Duration::from_micros(random.random_range(0..jitter))).await;
        came
    }

    /// What is visible is whole, and is what the catalogue says.
    fn inspect(&mut self, picture: &Picture, when: &str) {
        let workspace = self.config.workspace();
        let digests = |key: fn(&ProductRow) -> String| -> BTreeMap<String, BTreeSet<String>> {
            let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
            for product in &picture.products {
                known.entry(key(product)).or_default().insert(product.sha256.clone());
            }
            known
        };
        let places = [
            (workspace.reduced, digests(|product| format!("{}/{}", product.folder, product.name))),
            (self.path("archive"), digests(|product| format!("{}/{}", product.night, product.archive_name))),
            (self.path("spool"), digests(|product| product.archive_name.clone())),
        ];
        for (root, known) in places {
            for (name, path) in visible(&root) {
                if name.ends_with(".manifest.json") {
                    let text = std::fs::read(&path).expect("readable");
                    serde_json::from_slice::<serde_json::Value>(&text)
                        .unwrap_or_else(|error| panic!("{when}: {} is no JSON: {error}", path.display()));
                    continue;
                }
                let metadata = std::fs::metadata(&path).expect("a file");
                let print = (metadata.ino(), metadata.size(), metadata.mtime(), metadata.mtime_nsec());
                if self.whole.get(&path) == Some(&print) {
                    continue;
                }
                let sha256 = whole(&path, when);
                let expected = known.get(&name).unwrap_or_else(|| panic!("{when}: nobody knows {}", path.display()));
                assert!(expected.contains(&sha256), "{when}: {} is not what the catalogue says", path.display());
                self.whole.insert(path, print);
            }
        }
    }
}

/// A running process; killed with SIGKILL when dropped.
struct Daemon(Child);

impl Daemon {
    fn kill(mut self) {
        if let Some(status) = self.0.try_wait().expect("waited") {
            panic!("soxsd ended by itself: {status}");
        }
        self.0.kill().expect("killed");
        self.0.wait().expect("waited");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // A child that is gone already needs neither.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The sha256 of a file that passes a full structural scan.
fn whole(path: &Path, when: &str) -> String {
    let scanned = scan(path, &ScanLimits::default());
    scanned.unwrap_or_else(|error| panic!("{when}: {} is not whole: {error}", path.display())).sha256
}

/// Files below a folder without a dot in front of any part of their name, by name relative to it.
fn visible(root: &Path) -> BTreeMap<String, PathBuf> {
    files(root).into_iter().filter(|(name, _)| !name.split('/').any(|part| part.starts_with('.'))).collect()
}

fn files(root: &Path) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        // The daemon makes and removes folders meanwhile.
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
                found.insert(name, path);
            }
        }
    }
    found
}

/// Frames that land in order, some of them in two halves.
struct Transfer {
    frames: Vec<(PathBuf, PathBuf)>,
    landed: usize,
    /// The file that lies there half.
    half: Option<(PathBuf, Vec<u8>)>,
}

impl Transfer {
    fn land(&mut self, halves: bool) {
        self.complete();
        let Some((from, to)) = self.frames.get(self.landed) else { return };
        let bytes = std::fs::read(from).expect("a simulated frame");
        let (first, rest) = bytes.split_at(if halves { bytes.len() / 2 } else { bytes.len() });
        std::fs::write(to, first).expect("written");
        self.half = halves.then(|| (to.clone(), rest.to_vec()));
        self.landed += 1;
    }

    fn complete(&mut self) {
        if let Some((path, rest)) = self.half.take() {
            let mut file = File::options().append(true).open(path).expect("half a frame");
            file.write_all(&rest).expect("written");
        }
    }
}

fn moment(random: &mut Pcg32) -> Moment {
    match random.random_range(0..100) {
        0..40 => Moment::After(Duration::from_micros(random.random_range(5_000..400_000))),
        40..60 => Moment::Stored,
        60..75 => Moment::Running,
        75..88 => Moment::Archived,
        _ => Moment::After(Duration::from_millis(random.random_range(400..2_500))),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_product_is_made_once_and_delivered_once_whenever_the_daemon_is_killed() {
    let (kills, seed) = (setting("SOXSD_TEST_KILLS", 200) as usize, setting("SOXSD_TEST_SEED", 20_260_310));
    println!("SOXSD_TEST_KILLS={kills} SOXSD_TEST_SEED={seed}");
    let mut random = Pcg32::seed_from_u64(seed);
    let begun = Instant::now();
    let mut scene = Scene::set().await;
    let staging = scene.path("simulated");
    std::fs::create_dir(&staging).expect("a folder");
    let raw = scene.path("raw");
    let frames = plan().frames(seed).expect("a plan").map(|frame| {
        let frame = frame.expect("drawn");
        let path = simulator::write(&frame, &staging).expect("written");
        let landed = raw.join(path.file_name().expect("a name"));
        (path, landed)
    });
    let mut transfer = Transfer { frames: frames.collect(), landed: 0, half: None };
    let total = transfer.frames.len();
    println!("{total} frames simulated after {:.1} s", begun.elapsed().as_secs_f64());

    let mut hits = Hits::default();
    for kill in 1..=kills {
        let due = (total as f64 * kill as f64 / (kills as f64 * LANDING)).ceil() as usize;
        transfer.complete();
        let daemon = scene.start();
        while transfer.landed < due.min(total) {
            transfer.land(random.random_bool(0.6));
        }
        let moment = moment(&mut random);
        scene.wait_for(moment, &mut random).await;
        hits.before_ready += usize::from(!scene.config.workspace().daemon.exists());
        daemon.kill();
        // A notice of a dead process would hide whether the next one was ready.
        let _ = std::fs::remove_file(scene.config.workspace().daemon);

        let when = format!("kill {kill} ({moment:?})");
        hits.half_landed += usize::from(transfer.half.is_some());
        let Some(picture) = scene.look().await else { continue };
        let count = |state: &str| picture.jobs.iter().filter(|job| job.state == state).count();
        let open = |item: &&DeliveryRow| !matches!(item.state.as_str(), "confirmed" | "cancelled" | "held");
        hits.running += usize::from(count("running") > 0);
        hits.open_delivery += usize::from(picture.deliveries.iter().any(|item| open(&item)));
        hits.delivery_under_way += usize::from(picture.deliveries.iter().any(|item| item.state == "sending"));
        hits.stored_not_shown += usize::from(scene.stored_not_shown() > 0);
        for state in ["parked", "failed", "flagged"] {
            assert_eq!(count(state), 0, "{when}: {:#?}", picture.jobs);
        }
        scene.inspect(&picture, &when);
        let catalogue = scene.read_only().await.expect("a catalogue");
        assert_eq!(catalogue.integrity_check().await.expect("checked"), ["ok"], "{when}");
        catalogue.close().await;
        // Never without work: a finished job runs again, as an operator may ask for.
        if count("ready") + count("running") == 0 && count("done") > 0 {
            let done: Vec<&JobRow> = picture.jobs.iter().filter(|job| job.state == "done").collect();
            let job = done[random.random_range(0..done.len())].id;
            let catalogue = Catalogue::open(&scene.config.workspace().catalogue, Arc::new(SystemClock)).await;
            let catalogue = catalogue.expect("the lock of a dead process is free");
            catalogue.act("crash test", Act::Reprocess, &format!("job:{job}"), "").await.expect("admitted");
            catalogue.close().await;
            hits.reprocessed += 1;
        }
    }
    transfer.complete();
    println!("{kills} kills after {:.1} s: {hits:?}", begun.elapsed().as_secs_f64());

    let daemon = scene.start();
    until_settled(&scene, total).await;
    let status = scene.soxsd(&["status", "--json"]).output().expect("soxsd starts");
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
    serde_json::from_slice::<serde_json::Value>(&status.stdout).expect("JSON");
    stop(daemon);
    println!("settled after {:.1} s", begun.elapsed().as_secs_f64());
    account(&mut scene, &transfer.frames).await;
    assert!(hits.running * 5 >= kills, "too few kills hit a running job: {hits:?}");
}

/// Until every file has its state and nothing is left to do or to deliver.
async fn until_settled(scene: &Scene, total: usize) {
    let begun = Instant::now();
    let mut open = String::from("no catalogue");
    while begun.elapsed() < SETTLE {
        if let Some(catalogue) = scene.read_only().await {
            let idle = catalogue.is_idle().await.unwrap_or(false);
            let undelivered = catalogue.open_deliveries().await.unwrap_or(-1);
            let files = catalogue.frames(&everything()).await.unwrap_or_default();
            let waiting = files.iter().filter(|file| file.state == "waiting").count();
            catalogue.close().await;
            if idle && undelivered == 0 && waiting == 0 && files.len() == total {
                return;
            }
            open = format!("idle {idle}, {undelivered} open deliveries, {} files, {waiting} waiting", files.len());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let picture = scene.look().await.expect("a catalogue");
    let deliveries: Vec<_> = picture.deliveries.iter().filter(|item| item.state != "confirmed").collect();
    panic!("not settled: {open}\n{:#?}\n{:#?}\n{deliveries:#?}", picture.status, picture.jobs);
}

/// SIGTERM, and the end of the process in order.
fn stop(mut daemon: Daemon) {
    let pid = daemon.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill starts").success());
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(30) {
        if let Some(status) = daemon.0.try_wait().expect("waited") {
            assert!(status.success(), "{status}");
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("the daemon does not stop");
}

/// What must be true in the end.
async fn account(scene: &mut Scene, frames: &[(PathBuf, PathBuf)]) {
    let workspace = scene.config.workspace();
    let picture = scene.look().await.expect("a catalogue");
    scene.whole.clear();
    scene.inspect(&picture, "in the end");

    // Frames: each one once, in a product that every archive has, and as it landed.
    assert_eq!(picture.frames.len(), frames.len());
    for frame in &picture.frames {
        assert_eq!(
            (frame.state.as_str(), frame.outcome.as_str(), frame.delivered),
            ("accepted", "reduced", true),
            "{frame:#?}"
        );
    }
    for (simulated, landed) in frames {
        let (simulated, landed) = (FileDigests::of(simulated).expect("read"), FileDigests::of(landed).expect("read"));
        assert_eq!(simulated.sha256, landed.sha256, "a raw file was changed");
    }

    // Products: one a set and category, in its first revision.
    let sets: BTreeSet<i64> = picture.products.iter().map(|product| product.set_id).collect();
    assert_eq!(sets.len(), SETS, "{:#?}", picture.products);
    let kinds: BTreeSet<(i64, &str)> =
        picture.products.iter().map(|product| (product.set_id, product.catg.as_str())).collect();
    assert_eq!(kinds.len(), picture.products.len(), "a product was made twice: {:#?}", picture.products);
    for product in &picture.products {
        assert_eq!((product.state.as_str(), product.revision), ("current", 1), "{product:#?}");
    }
    let masters = picture.products.iter().filter(|product| product.catg.starts_with("MASTER_")).count();
    assert_eq!(masters, SETS);
    assert!(picture.jobs.iter().all(|job| job.state == "done"), "{:#?}", picture.jobs);
    assert_eq!(picture.jobs.len(), SETS);

    // Store, tree and archives hold these and nothing else.
    let products = &picture.products;
    let names = |name: fn(&ProductRow) -> String| products.iter().map(name).collect::<BTreeSet<String>>();
    let held = |root: &Path| files(root).into_keys().collect::<BTreeSet<String>>();
    let stored = names(|product| format!("{}/{}.fits", &product.sha256[..2], product.sha256));
    assert_eq!(held(&workspace.store), stored);
    assert_eq!(held(&workspace.reduced), names(|product| format!("{}/{}", product.folder, product.name)));
    assert_eq!(held(&workspace.scratch), BTreeSet::new());
    for product in products {
        let shown = workspace.reduced.join(&product.folder).join(&product.name);
        let inode = |path: &Path| std::fs::metadata(path).expect("a file").ino();
        assert_eq!(inode(&shown), inode(&workspace.stored(&product.sha256)), "{}", product.name);
    }
    let seen = |root: &Path| visible(root).into_keys().collect::<BTreeSet<String>>();
    let archived = names(|product| product.archive_name.clone());
    assert_eq!(seen(&scene.path("archive")), names(|product| format!("{}/{}", product.night, product.archive_name)));
    let manifests = archived.iter().map(|name| format!("{name}.manifest.json"));
    assert_eq!(seen(&scene.path("spool")), archived.iter().cloned().chain(manifests).collect());
    // An unfinished backup stays for an hour, hidden: somebody may be making one by hand.
    let left = |name: &String| name.contains(".tmp-") && !name.starts_with("backups/.");
    let temporary: Vec<String> = held(&workspace.root).into_iter().filter(left).collect();
    assert_eq!(temporary, Vec::<String>::new());

    // Deliveries: one a sink and item, confirmed; the archive over the network has one version of each.
    assert_eq!(picture.deliveries.len(), 3 * products.len() + SETS, "{:#?}", picture.deliveries);
    assert!(picture.deliveries.iter().all(|item| item.state == "confirmed"), "{:#?}", picture.deliveries);
    let bytes = |product: &ProductRow| std::fs::read(workspace.stored(&product.sha256)).expect("stored");
    scene.archive.holds_once(&products.iter().map(|product| (product.archive_name.clone(), bytes(product))).collect());

    // The monitor: every batch whole and once.
    let text = std::fs::read_to_string(scene.path("health/qc.jsonl")).expect("told");
    assert!(text.ends_with('\n'));
    let mut batches: BTreeMap<String, (u64, Vec<u64>)> = BTreeMap::new();
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("a whole line");
        let number = |name: &str| line[name].as_u64().expect("a number");
        let batch = batches.entry(line["batch"].as_str().expect("a key").to_string()).or_default();
        batch.0 = number("of");
        batch.1.push(number("n"));
    }
    assert_eq!(batches.len(), SETS);
    for (key, (of, mut lines)) in batches {
        lines.sort_unstable();
        assert_eq!(lines, (0..of).collect::<Vec<u64>>(), "batch {key}");
    }
}
