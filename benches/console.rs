//! The console over a full catalogue: 480 nights with 100,000 frames and 1,000,000 metrics. How long each question of its
//! views takes (the goal is 200 ms), and how long until a browser has drawn them (the goal is 1 s).
//! `cargo bench --bench console`.
//!
//! The rows are written by SQL: this measures reading. Drawing is measured when Chromium and node are there and
//! `npm ci` has been run in `tests/console`.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use soxsd::association::Rules;
use soxsd::catalogue::Catalogue;
use soxsd::clock::SystemClock;
use soxsd::config::{Config, Policy};
use soxsd::liveness::Liveness;
use soxsd::service::{Service, ServiceInfo, Site, bind};
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio_util::sync::CancellationToken;

/// Nights, frames of a night in sets of three, and metrics of a set.
const NIGHTS: i64 = 480;
const SETS: i64 = 70;
const METRICS: i64 = 30;
/// Rounds of each question; the first is not counted.
const ROUNDS: usize = 6;

/// Goals.
const ANSWER: Duration = Duration::from_millis(200);
const DRAW_MS: f64 = 1000.0;

/// What the views ask.
const QUESTIONS: [&str; 27] = [
    "tonight",
    "tonight?night=2025-06-01",
    "status",
    "report/2025-06-01",
    "frames?limit=100",
    "frames?limit=100&night=2025-06-01",
    "frames?limit=100&state=quarantined",
    "frames?limit=100&state=failed",
    "sets?limit=100",
    "sets?limit=100&night=2025-06-01&arm=VIS",
    "sets?limit=100&state=open",
    "jobs?limit=100",
    "jobs?limit=100&state=parked",
    "products?limit=100",
    "products?limit=100&state=fail",
    "qc?limit=100",
    "deliveries?limit=100",
    "deliveries?limit=100&state=held",
    "why/product:20000",
    "graph/product:20000",
    "jobs/20000/qc",
    "trends/metrics",
    "trends?metric=METRIC%207",
    "trends?metric=METRIC%207&order=-1&arm=VIS",
    "trends?metric=METRIC%207&against=header:ESO%20TEL%20AIRM%20START",
    "trends?metric=METRIC%207&against=qc:METRIC%208",
    "plan",
];
/// What is drawn.
const VIEWS: [&str; 8] = [
    "/",
    "/night/2025-06-01",
    "/set/20000",
    "/product/20000",
    "/health?metric=METRIC%207",
    "/plan",
    "/deliveries",
    "/browse/frames",
];

fn main() -> Result<()> {
    let temp = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(measure(temp.path()))
}

async fn measure(folder: &Path) -> Result<()> {
    let mut config = Config::defaults()?;
    config.paths.work = folder.to_path_buf();
    let workspace = config.workspace();
    let clock = Arc::new(SystemClock);
    let catalogue = Catalogue::open(&workspace.catalogue, clock).await?;
    let begun = Instant::now();
    seed(&workspace.catalogue).await?;
    let size = std::fs::metadata(&workspace.catalogue)?.len() >> 20;
    println!(
        "{} frames, {} metrics in {size} MiB, written in {:.0} s",
        NIGHTS * SETS * 3,
        NIGHTS * SETS * METRICS,
        begun.elapsed().as_secs_f64()
    );
    let listener = bind("127.0.0.1:0").await?;
    let origin = format!("http://{}", listener.local_addr()?);
    let cancel = CancellationToken::new();
    let service = Service {
        catalogue: catalogue.clone(),
        token: "0123456789abcdef".to_string(),
        info: ServiceInfo { version: "bench".to_string(), boot_id: "bench".to_string(), started_us: 0 },
        liveness: Liveness::new(),
        site: Site {
            workspace,
            rules: Arc::new(Rules::builtin()?),
            policy: Policy::Newest,
            jobs: config.scheduler.jobs,
            min_free_mib: config.scheduler.min_free_mib,
        },
    };
    let served = tokio::spawn(service.serve(listener, cancel.clone()));
    answers(&origin).await?;
    let there = origin.clone();
    tokio::task::spawn_blocking(move || draw(&there)).await??;
    cancel.cancel();
    served.await??;
    Ok(())
}

/// Ask every question and print the median and the longest time.
async fn answers(origin: &str) -> Result<()> {
    soxsd::delivery::install_tls();
    let client = reqwest::Client::builder().no_proxy().build()?;
    let mut over = 0;
    println!("{:60} {:>9} {:>9} {:>9}", "question", "median ms", "worst ms", "kB");
    for question in QUESTIONS {
        let mut times = Vec::new();
        let mut bytes = 0;
        for _ in 0..ROUNDS {
            let begun = Instant::now();
            let answer = client.get(format!("{origin}/api/v1/{question}")).send().await?;
            let status = answer.status();
            let body = answer.bytes().await?;
            times.push(begun.elapsed());
            ensure!(status.is_success(), "{question}: {status}: {}", String::from_utf8_lossy(&body));
            bytes = body.len();
        }
        times.remove(0);
        times.sort();
        let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
        let late = if median > ANSWER { "  over the goal" } else { "" };
        over += usize::from(median > ANSWER);
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        println!("{question:60} {:9.1} {:9.1} {:9.1}{late}", ms(median), ms(worst), bytes as f64 / 1e3);
    }
    println!("{over} questions over {} ms", ANSWER.as_millis());
    Ok(())
}

/// Let a browser draw the views and print how long each took.
fn draw(origin: &str) -> Result<()> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/console/draw.mjs");
    let output = match Command::new("node").arg(script).arg(origin).args(VIEWS).output() {
        Ok(output) if output.status.success() => output,
        Ok(output) => {
            println!("not drawn: {}", String::from_utf8_lossy(&output.stderr).trim());
            return Ok(());
        }
        Err(error) => {
            println!("not drawn, node cannot be started: {error}");
            return Ok(());
        }
    };
    println!("{:60} {:>9}", "view", "drawn ms");
    for line in String::from_utf8(output.stdout)?.lines() {
        let (view, ms) = line.rsplit_once(' ').context("a line of draw.mjs")?;
        let ms: f64 = ms.parse()?;
        println!("{view:60} {ms:9.0}{}", if ms > DRAW_MS { "  over the goal" } else { "" });
    }
    Ok(())
}

/// Fill the catalogue. Every tenth set waits or failed, every hundredth metric is out of range.
async fn seed(path: &Path) -> Result<()> {
    let mut connection = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(path)).await?;
    let header: String = (0..60)
        .map(|k| format!("{{\"keyword\":\"ESO DET CARD{k}\",\"value\":{k}.5,\"comment\":\"some words\"}},"))
        .collect();
    let header =
        format!("{{\"cards\":[{header}{{\"keyword\":\"ESO TEL AIRM START\",\"value\":@,\"comment\":\"airmass\"}}]}}");
    let mut tx = connection.begin().await?;
    for statement in seeding() {
        let mut query = sqlx::query(sqlx::AssertSqlSafe(statement.clone()));
        if statement.contains("?1") {
            query = query.bind(&header);
        }
        query.execute(&mut *tx).await.with_context(|| statement)?;
    }
    tx.commit().await?;
    connection.close().await?;
    Ok(())
}

fn seeding() -> Vec<String> {
    // Set s of night n has number n * SETS + s + 1; frames and metrics follow from it.
    let (sets, frames, metrics) = (NIGHTS * SETS, NIGHTS * SETS * 3, METRICS);
    let day = "86400000000";
    let origin = "CAST(strftime('%s', 'now', '-480 days', 'start of day', '+20 hours') AS INTEGER) * 1000000";
    let arm = "CASE i % 2 WHEN 0 THEN 'VIS' ELSE 'NIR' END";
    let recipe = "CASE (i % 70) / 10 WHEN 0 THEN 'mbias' WHEN 1 THEN 'mdark' WHEN 2 THEN 'disp_solution' WHEN 3 THEN 'mflat' \
                  WHEN 4 THEN 'stare_std' WHEN 5 THEN 'nod' ELSE 'stare' END";
    let catg = "CASE (i % 70) / 10 WHEN 0 THEN 'MASTER_BIAS_' WHEN 1 THEN 'MASTER_DARK_' WHEN 2 THEN 'DISP_TAB_' WHEN 3 THEN \
                'MASTER_FLAT_' WHEN 4 THEN 'RESP_TAB_' ELSE 'SCI_SLIT_FLUX_IDP_' END";
    let night = format!("date(({origin} + ((i - 1) / {SETS}) * {day}) / 1000000 - 54000, 'unixepoch')");
    let time = format!("({origin} + ((i - 1) / {SETS}) * {day} + ((i - 1) % {SETS}) * 500000000)");
    let keys = "json_object('read_mode', CAST(i % 3 AS TEXT), 'slit', 'SLIT' || (i % 4) || '.0', 'lamp', CASE i % 5 WHEN 0 THEN \
                'QTH' END, 'binning', '1x1', 'kind', 'k' || (i % 70) / 10)";
    let state = "CASE WHEN i % 100 = 0 THEN 'parked' WHEN i % 1000 = 1 THEN 'failed' ELSE 'done' END";
    let numbers = |name: &str, last: i64| {
        format!(
            "CREATE TEMP TABLE {name} AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {last}) SELECT i FROM n"
        )
    };
    vec![
        numbers("s", sets),
        numbers("f", frames),
        numbers("m", metrics),
        format!("CREATE TEMP TABLE sets AS SELECT i, {arm} AS arm, {recipe} AS recipe, {catg} || {arm} AS catg, {night} AS night, {time} AS time, {keys} AS keys, {state} AS state FROM s"),
        "CREATE UNIQUE INDEX temp.sets_i ON sets (i)".to_string(),
        "INSERT INTO frame (id, data_id, arm, current_version, first_seen_us) SELECT f.i, 'D' || f.i, s.arm, f.i, s.time FROM f JOIN sets s ON s.i = (f.i + 2) / 3".to_string(),
        "INSERT INTO frame_version (id, frame_id, version, digest, bytes, night, night_raw, night_calendar, kind, usage, usage_reason,
             recipe, mjd_obs, date_obs_us, exptime, object, dpr_type, dpr_tech, meta, header, taken_us, grouped)
         SELECT f.i, f.i, 1, printf('%064d', f.i), 2880, s.night, s.night, s.night, s.recipe, 'reduce', '', s.recipe,
                s.time / 86400e6 + 40587.0, s.time + (f.i % 3) * 100000000, 60, 'OBJECT', '', '', '{}',
                replace(?1, '@', 1.0 + (f.i % 997) / 1000.0), s.time, 1 FROM f JOIN sets s ON s.i = (f.i + 2) / 3".to_string(),
        "INSERT INTO file (id, path, name, size, mtime_us, state, version_id, first_seen_us, changed_us, looked_us)
         SELECT i, '/raw/D' || i, 'D' || i || '.fits', 1, 1, 'accepted', i, 0, 0, 0 FROM f".to_string(),
        format!("INSERT INTO template (id, key, arm, tpl_id, start_us, nexp, seen, touched_us, closed, closed_why)
         SELECT i, 'K' || i, arm, 'T', time, 3, 3, time, 1, 'complete' FROM sets WHERE i <= {sets}"),
        "INSERT INTO template_member (frame_id, template_id, expno) SELECT i, (i + 2) / 3, 1 + i % 3 FROM f".to_string(),
        "INSERT INTO frame_set (id, key, template_id, recipe, arm, night, name, object, keys, n_frames, mjd_first, mjd_last, state, changed_us, dirty)
         SELECT i, 'K' || i, i, recipe, arm, night, 'SET' || i, 'OBJECT', keys, 3, time / 86400e6 + 40587.0, time / 86400e6 + 40587.01,
                'complete', time, 0 FROM sets".to_string(),
        "INSERT INTO set_member (frame_id, set_id) SELECT i, (i + 2) / 3 FROM f".to_string(),
        "INSERT INTO job (id, set_id, recipe, recipe_version, key, parameters, state, priority, newest_mjd, error, created_us, started_us, finished_us)
         SELECT i, i, recipe, '1', printf('%064d', i), printf('{\"text\":\"%.300c\"}', 'x'), state, 1, time / 86400e6 + 40587.0,
                CASE state WHEN 'done' THEN '' ELSE 'an error' END, time, time + 1000000, time + 9000000 FROM sets".to_string(),
        "INSERT INTO job_input (job_id, position, role, version_id) SELECT (i + 2) / 3, 1 + (i + 2) % 3, 'raw', i FROM f".to_string(),
        "INSERT INTO product (id, job_id, set_id, catg, arm, night, name, folder, archive_name, revision, sha256, md5, crc32, crc32c,
             size, keys, mjd, verdict, state, n_combined, created_us)
         SELECT i, i, i, catg, arm, night, 'SET' || i || '.fits', night || '/r', 'A' || i, 1, printf('%064d', i), printf('%032d', i), 1, 1, 1,
                keys, time / 86400e6 + 40587.0, CASE WHEN i % 500 = 0 THEN 'fail' ELSE 'pass' END, 'current', 3, time + 9000000
         FROM sets WHERE state = 'done' OR i % 500 = 0".to_string(),
        "INSERT INTO job_input (job_id, position, role, product_id)
         SELECT s.i, k.i, 'master', s.i - k.i FROM sets s JOIN m k ON k.i <= 2
         WHERE s.i > 2 AND s.i % 70 >= 30 AND EXISTS (SELECT 1 FROM product WHERE id = s.i - k.i)".to_string(),
        "INSERT INTO candidate (job_id, need, position, product_id, set_id, verdict, rule, reason, days)
         SELECT i.job_id, 'MASTER', i.position, i.product_id, i.product_id, 'chosen', 'best rank', 'nearest', 0.5 FROM job_input i WHERE i.role = 'master'".to_string(),
        "INSERT INTO delivery (sink, kind, key, product_id, job_id, state, created_us, confirmed_us)
         SELECT 'archive', 'archive', 'A' || id, id, job_id, CASE WHEN id % 400 = 0 THEN 'held' ELSE 'confirmed' END, created_us,
                CASE WHEN id % 400 = 0 THEN NULL ELSE created_us + 1000000 END FROM product
         UNION ALL SELECT 'health', 'health', 'J' || i, NULL, i, 'confirmed', time, time + 1000000 FROM sets".to_string(),
        "INSERT INTO qc (job_id, recipe, name, qc_order, value, unit, comment, verdict, min, max, at_us, made_us)
         SELECT s.i, s.recipe, 'METRIC ' || (k.i % 10), CASE WHEN k.i <= 10 THEN '-1' ELSE CAST(k.i AS TEXT) END,
                10.0 + (s.i * 7919 + k.i * 104729) % 1000 / 1000.0, 'electrons', 'a metric',
                CASE WHEN (s.i * 31 + k.i) % 100 = 0 THEN 'fail' ELSE 'pass' END, 9.0, 12.0, s.time, s.time FROM sets s JOIN m k".to_string(),
    ]
}
