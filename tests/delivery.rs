//! Promises: folders receive whole files and never lose one; monitors are told every metric, once, and never a NaN.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use soxsd::catalogue::JobId;
use soxsd::config::{ArchiveConfig, ArchiveKind, HealthConfig, HealthKind};
use soxsd::delivery::Pace;
use soxsd::quality::QcMetric;
use support::{DEADLINE, Rig, bytes, pace, tree};

const NIGHT: &str = "2026-11-21";

fn directory(path: &Path) -> ArchiveConfig {
    ArchiveConfig::directory("folder", path.to_path_buf())
}

fn spool(path: &Path) -> ArchiveConfig {
    ArchiveConfig { kind: ArchiveKind::Spool, ..ArchiveConfig::directory("spool", path.to_path_buf()) }
}

async fn rig(archive: impl Fn(&Path) -> ArchiveConfig) -> Rig {
    let mut rig = Rig::new(vec![], vec![]).await;
    rig.config.archive = vec![archive(&rig.path("out"))];
    rig
}

async fn deliver(rig: &Rig) {
    let running = rig.run();
    rig.drained().await;
    running.stop().await;
}

#[tokio::test]
async fn a_directory_receives_whole_files_by_night() {
    let mut rig = rig(directory).await;
    let content = bytes(1, 300);
    rig.product("a.fits", &content).await;
    deliver(&rig).await;
    assert_eq!(tree(&rig.path("out")), BTreeMap::from([(format!("{NIGHT}/a.fits"), content)]));
    assert_eq!(rig.rows().await[0].state, "confirmed");
}

#[tokio::test]
async fn a_directory_never_overwrites() {
    let mut rig = rig(directory).await;
    let (mine, other) = (bytes(1, 1), bytes(2, 1));
    rig.product("same.fits", &mine).await;
    rig.product("other.fits", &mine).await;
    let folder = rig.path("out").join(NIGHT);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("same.fits"), &mine).unwrap();
    std::fs::write(folder.join("other.fits"), &other).unwrap();
    std::fs::write(folder.join(".other.fits.abc.part"), b"left by a crash").unwrap();
    deliver(&rig).await;
    let rows = rig.rows().await;
    assert_eq!((rows[0].state.as_str(), rows[0].attempts), ("confirmed", 0));
    assert_eq!((rows[1].state.as_str(), rows[1].class.as_str()), ("parked", "bad_input"));
    assert_eq!(std::fs::read(folder.join("other.fits")).unwrap(), other);
}

#[tokio::test]
async fn a_directory_that_is_away_is_waited_for() {
    let mut rig = rig(directory).await;
    let content = bytes(1, 1);
    rig.product("a.fits", &content).await;
    // A file where the folder should be: as good as a mount that is gone.
    std::fs::write(rig.path("out"), b"").unwrap();
    let running = rig.run();
    rig.until("an error", |rows| rows[0].class == "resource").await;
    assert_eq!(rig.rows().await[0].state, "queued");
    std::fs::remove_file(rig.path("out")).unwrap();
    rig.drained().await;
    running.stop().await;
    assert_eq!(tree(&rig.path("out")).into_values().collect::<Vec<_>>(), [content]);
}

#[tokio::test]
async fn folders_survive_being_killed() {
    use rand::{RngExt, SeedableRng};
    let mut random = rand_pcg::Pcg32::seed_from_u64(3);
    let mut rig = Rig::new(vec![], vec![]).await;
    let (folder, hand_over) = (rig.path("out"), rig.path("spool"));
    rig.config.archive = vec![directory(&folder), spool(&hand_over)];
    let mut expected = BTreeMap::new();
    for n in 0..12 {
        let content = bytes(n, 40);
        rig.product(&format!("{n}.fits"), &content).await;
        expected.insert(format!("{n}.fits"), content);
    }
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while rig.catalogue.open_deliveries().await.unwrap() > 0 {
        assert!(tokio::time::Instant::now() < deadline, "{:#?}", rig.rows().await);
        let running = rig.run();
        tokio::time::timeout(Duration::from_micros(random.random_range(500..80_000)), rig.drained()).await.ok();
        running.kill().await;
    }
    assert!(rig.rows().await.iter().all(|row| row.state == "confirmed"), "{:#?}", rig.rows().await);
    for (name, content) in &expected {
        assert!(std::fs::read(folder.join(NIGHT).join(name)).unwrap() == *content);
        assert!(std::fs::read(hand_over.join(name)).unwrap() == *content);
        assert!(hand_over.join(format!("{name}.manifest.json")).exists());
    }
}

#[tokio::test]
async fn a_spool_receives_the_file_and_its_manifest() {
    let mut rig = rig(spool).await;
    let content = bytes(1, 2);
    rig.product("a.fits", &content).await;
    deliver(&rig).await;
    let manifest = std::fs::read_to_string(rig.path("out").join("a.fits.manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest["size"], content.len());
    assert_eq!(manifest["crc32c"], crc32c::crc32c(&content));
    assert_eq!(manifest["crc32"], crc32fast::hash(&content));
    assert_eq!(manifest["catg"], "MASTER_BIAS_VIS");
    assert_eq!(std::fs::read(rig.path("out").join("a.fits")).unwrap(), content);
    assert_eq!(rig.rows().await[0].state, "confirmed");
}

/// Put the spool into the state after a hand-over that the consumer has taken, the catalogue not knowing.
async fn taken(rig: &mut Rig) -> std::path::PathBuf {
    let out = rig.path("out");
    rig.product("a.fits", &bytes(1, 2)).await;
    std::fs::create_dir_all(out.join(".offered")).unwrap();
    std::fs::write(out.join(".offered/a.fits.json"), "{}").unwrap();
    out
}

#[tokio::test]
async fn what_a_consumer_took_counts_when_it_is_acknowledged() {
    let mut rig = rig(spool).await;
    let out = taken(&mut rig).await;
    let running = rig.run();
    rig.until("waiting", |rows| rows[0].state == "buffered").await;
    assert!(!out.join("a.fits").exists(), "sent again what was taken");
    let crc = crc32c::crc32c(&bytes(1, 2));
    let ack = out.join("a.fits.ack.json");
    std::fs::write(&ack, r#"{"size": 57"#).unwrap();
    std::fs::write(&ack, format!(r#"{{"size": 5760, "crc32c": {crc}, "by": "consumer"}}"#)).unwrap();
    rig.drained().await;
    running.stop().await;
    assert_eq!(rig.rows().await[0].state, "confirmed");
}

#[tokio::test]
async fn an_acknowledgement_of_something_else_is_a_conflict_and_none_is_a_question() {
    for (ack, class) in [
        (Some(r#"{"size": 5760, "crc32c": 1}"#), "bad_input"),
        (Some(r#"{"size": 5760}"#), "bad_input"),
        (None, "resource"),
    ] {
        let mut rig = rig(spool).await;
        let out = taken(&mut rig).await;
        if let Some(ack) = ack {
            std::fs::write(out.join("a.fits.ack.json"), ack).unwrap();
        }
        let running = rig.run_at(Pace { buffered_longest: Duration::from_millis(30), ..pace() });
        rig.until("parking", |rows| rows[0].state == "parked").await;
        running.stop().await;
        assert_eq!(rig.rows().await[0].class, class, "{ack:?}");
        assert!(!out.join("a.fits").exists());
    }
}

fn metrics() -> Vec<QcMetric> {
    vec![
        QcMetric::measured("RAW RON", 4.25, "e-", "read noise, \"raw\""),
        QcMetric::measured("MASTER RON", f64::NAN, "e-", "read noise"),
        QcMetric { order: "11".to_string(), ..QcMetric::measured("X RES, SD=1", 1e-9, "", "") },
    ]
}

fn monitor(kind: HealthKind, path: &Path, url: &str) -> HealthConfig {
    HealthConfig { kind, url: url.to_string(), timeout_s: 5.0, ..HealthConfig::jsonl("monitor", path.to_path_buf()) }
}

/// A rig with an archive in a folder, one job, and its metrics for this monitor.
async fn told(kind: HealthKind, url: &str) -> (Rig, JobId) {
    let mut rig = Rig::new(vec![], vec![]).await;
    let (out, lines) = (rig.path("out"), rig.path("health/qc.jsonl"));
    rig.config.archive = vec![directory(&out)];
    rig.config.health = vec![monitor(kind, &lines, url)];
    let job = rig.product("a.fits", &bytes(1, 1)).await;
    (rig, job)
}

fn lines(rig: &Rig) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(rig.path("health/qc.jsonl")).unwrap();
    assert!(text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn json_lines_carry_every_metric_and_name_the_absent() {
    let (rig, job) = told(HealthKind::Jsonl, "").await;
    rig.metrics(job, "key-1", &metrics()).await;
    deliver(&rig).await;
    let lines = lines(&rig);
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["name"], "RAW RON");
    assert_eq!(lines[0]["value"], 4.25);
    assert_eq!(lines[0]["min"], 0.5);
    assert_eq!(lines[0]["recipe"], "soxs-mbias");
    assert_eq!(lines[0]["keys"]["binning"], "1x1");
    assert!(lines[0]["time"].as_str().unwrap().ends_with('Z'));
    assert!(lines[0].get("absent").is_none());
    assert!(lines[1].get("value").is_none());
    assert_eq!(lines[1]["absent"], "the measurement gave no finite number");
    assert_eq!(lines[2]["order"], "11");
    assert!(rig.rows().await.iter().all(|row| row.state == "confirmed"));
}

#[tokio::test]
async fn a_batch_cut_off_by_a_crash_is_completed_and_not_repeated() {
    let (rig, job) = told(HealthKind::Jsonl, "").await;
    rig.metrics(job, "key-1", &metrics()).await;
    deliver(&rig).await;
    let path = rig.path("health/qc.jsonl");
    let whole = std::fs::read(&path).unwrap();
    for cut in 0..=whole.len() {
        if cut % 7 != 0 && cut + 2 < whole.len() {
            continue;
        }
        std::fs::write(&path, &whole[..cut]).unwrap();
        // As after a crash: the batch is found in `sending`.
        let monitor = soxsd::delivery::monitor_of(&rig.config.health[0]).unwrap();
        let records = rig.catalogue.qc_records(job).await.unwrap();
        let batch = soxsd::delivery::health::Batch { key: "key-1".to_string(), job: job.0, again: true, records };
        monitor.tell(&batch).await.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), whole, "cut at {cut}");
    }
    // An end that is not ours is kept.
    std::fs::write(&path, b"a note").unwrap();
    let monitor = soxsd::delivery::monitor_of(&rig.config.health[0]).unwrap();
    let records = rig.catalogue.qc_records(job).await.unwrap();
    let batch = soxsd::delivery::health::Batch { key: "key-1".to_string(), job: job.0, again: false, records };
    monitor.tell(&batch).await.unwrap();
    assert!(std::fs::read(&path).unwrap().starts_with(b"a note\n{"));
}

/// A monitor over HTTP that answers what `answers` says, then 204. Keeps heads and bodies.
struct Listener {
    url: String,
    seen: Arc<Mutex<Vec<(String, String)>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Listener {
    async fn start(answers: &[&str]) -> Listener {
        use axum::body::Bytes;
        use axum::http::{HeaderMap, StatusCode};
        let seen: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
        let answers: Arc<Mutex<Vec<String>>> =
            Arc::new(Mutex::new(answers.iter().rev().map(|text| text.to_string()).collect()));
        let kept = seen.clone();
        let router = axum::Router::new().fallback(move |headers: HeaderMap, body: Bytes| {
            let answer = answers.lock().unwrap().pop().unwrap_or_else(|| "204".to_string());
            kept.lock().unwrap().push((format!("{headers:?}"), String::from_utf8_lossy(&body).into_owned()));
            async move {
                let (status, text) = answer.split_once(' ').unwrap_or((&answer, ""));
                (StatusCode::from_u16(status.parse().unwrap()).unwrap(), text.to_string())
            }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/qc", listener.local_addr().unwrap());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Listener { url, seen, task }
    }

    fn seen(&self) -> Vec<(String, String)> {
        self.seen.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn http_sends_a_batch_until_it_is_taken() {
    for last in ["201 thanks", r#"409 {"key": "key-1"}"#] {
        let listener = Listener::start(&["503 later", "500 oops", "429 slow", last]).await;
        let (rig, job) = told(HealthKind::Http, &listener.url).await;
        rig.metrics(job, "key-1", &metrics()).await;
        deliver(&rig).await;
        let seen = listener.seen();
        assert_eq!(seen.len(), 4);
        let (headers, body) = &seen[3];
        assert!(headers.contains(r#""idempotency-key": "key-1""#), "{headers}");
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["key"], "key-1");
        assert_eq!(body["job"], job.0);
        assert_eq!(body["records"].as_array().unwrap().len(), 2);
        assert_eq!(body["absent"][0]["name"], "MASTER RON");
        assert!(rig.rows().await.iter().all(|row| row.state == "confirmed"));
    }
}

#[tokio::test]
async fn http_refusals_are_parked_and_archives_go_on() {
    for (answer, class) in [("401 no", "config"), ("422 what", "bad_input"), (r#"409 {"key": "other"}"#, "bad_input")] {
        let listener = Listener::start(&[answer, answer]).await;
        let (mut rig, job) = told(HealthKind::Http, &listener.url).await;
        let token = rig.path("token");
        std::fs::write(&token, "sesame\n").unwrap();
        rig.config.health[0].token_file = token;
        rig.metrics(job, "key-1", &metrics()).await;
        deliver(&rig).await;
        assert!(listener.seen()[0].0.contains("Bearer sesame"));
        let rows = rig.rows().await;
        assert_eq!((rows[0].sink.as_str(), rows[0].state.as_str()), ("folder", "confirmed"));
        assert_eq!((rows[1].state.as_str(), rows[1].class.as_str()), ("parked", class), "{answer}");
    }
}

#[tokio::test]
async fn a_monitor_that_is_away_does_not_hold_up_the_archive() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (rig, job) = told(HealthKind::Influx, &format!("http://{closed}/write")).await;
    rig.metrics(job, "key-1", &metrics()).await;
    let running = rig.run();
    rig.until("the archive", |rows| rows[0].state == "confirmed" && rows[1].class == "transient").await;
    running.stop().await;
}

#[tokio::test]
async fn line_protocol_is_escaped_and_absent_metrics_are_apart() {
    let listener = Listener::start(&[]).await;
    let (rig, job) = told(HealthKind::Influx, &listener.url).await;
    rig.metrics(job, "key-1", &metrics()).await;
    deliver(&rig).await;
    let (_, body) = listener.seen().remove(0);
    let lines: Vec<&str> = body.lines().collect();
    assert_eq!(
        lines,
        [
            r#"qc,arm=VIS,name=RAW\ RON,night=2026-11-21,qc_order=-1,recipe=soxs-mbias,unit=e- value=4.25,min=0.5,flag="pass",set="SET_1",file="a.fits",recipe_version="1" 1795316645678000000"#,
            r#"qc_absent,arm=VIS,name=MASTER\ RON,night=2026-11-21,qc_order=-1,recipe=soxs-mbias,unit=e- reason="the measurement gave no finite number",min=0.5,flag="pass",set="SET_1",file="a.fits",recipe_version="1" 1795316645678000000"#,
            r#"qc,arm=VIS,name=X\ RES\,\ SD\=1,night=2026-11-21,qc_order=11,recipe=soxs-mbias value=1e-9,min=0.5,flag="pass",set="SET_1",file="a.fits",recipe_version="1" 1795316645678000000"#,
        ]
    );
}

#[tokio::test]
async fn a_job_without_metrics_is_told_to_nobody() {
    let listener = Listener::start(&[]).await;
    let (rig, job) = told(HealthKind::Http, &listener.url).await;
    rig.metrics(job, "key-1", &[]).await;
    deliver(&rig).await;
    assert!(listener.seen().is_empty());
    assert!(rig.rows().await.iter().all(|row| row.state == "confirmed"));
}
