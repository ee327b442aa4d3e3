//! The feed of soxs-qc-monitor keeps the monitor's contract: a night goes out whole, once, and as the monitor reads it.
//!
//! The tests read as the monitor does: read-only, with five seconds of patience, by its view of 23 columns, its globs and
//! its rules of acceptance.

mod night;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use night::{NIGHT, Site};
use soxsd::catalogue::acts::Act;
use soxsd::delivery::monitor::MonitorFeed;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};

/// The columns that the monitor asks for.
const COLUMNS: [&str; 23] = [
    "night start date",
    "obs_date_utc",
    "eso seq arm",
    "soxspipe_recipe",
    "qc_name",
    "qc_value",
    "qc_order",
    "qc_unit",
    "qc_flag",
    "qc_value_min",
    "qc_value_max",
    "sof_name",
    "file",
    "status",
    "filepath",
    "binning",
    "rospeed",
    "slit",
    "slitmask",
    "lamp",
    "exptime",
    "template",
    "object",
];

/// A row as the monitor has it: every column as text, none where it is null.
type Row = BTreeMap<&'static str, Option<String>>;

async fn open(root: &Path) -> SqlitePool {
    let options = SqliteConnectOptions::new()
        .filename(root.join("soxspipe.db"))
        .read_only(true)
        .busy_timeout(Duration::from_secs(5));
    SqlitePoolOptions::new().max_connections(1).connect_with(options).await.expect("the monitor can open it")
}

async fn read(root: &Path) -> Vec<Row> {
    let pool = open(root).await;
    let listed: Vec<String> = COLUMNS.iter().map(|column| format!("CAST(\"{column}\" AS TEXT)")).collect();
    let text = format!("SELECT json_array({}) FROM quality_control_plus_lite", listed.join(", "));
    let rows: Vec<String> =
        sqlx::query_scalar(sqlx::AssertSqlSafe(text)).fetch_all(&pool).await.expect("the view has the columns");
    pool.close().await;
    let parsed = |row: &String| serde_json::from_str::<Vec<Option<String>>>(row).expect("a row");
    rows.iter().map(|row| COLUMNS.into_iter().zip(parsed(row)).collect()).collect()
}

fn text<'a>(row: &'a Row, column: &str) -> &'a str {
    row[column].as_deref().unwrap_or_default()
}

fn find<'a>(rows: &'a [Row], recipe: &str, name: &str, order: &str) -> Vec<&'a Row> {
    let wanted = |row: &&Row| {
        text(row, "soxspipe_recipe") == recipe && text(row, "qc_name") == name && text(row, "qc_order") == order
    };
    rows.iter().filter(wanted).collect()
}

/// What the monitor finds below its reduced root: folders named as days, then everything in them.
fn files(root: &Path) -> BTreeSet<String> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            if entry.path().is_dir() { walk(&entry.path(), found) } else { found.push(entry.path()) }
        }
    }
    let mut found = Vec::new();
    walk(&root.join("reduced"), &mut found);
    let below = |path: PathBuf| path.strip_prefix(root).expect("below the root").display().to_string();
    found.into_iter().map(below).collect()
}

#[tokio::test]
async fn a_closed_night_satisfies_every_clause_of_the_contract() {
    let site = Site::night().await;
    let feed = MonitorFeed::of(&site.catalogue, &site.config).expect("a feed is configured");
    feed.close_ended().await.expect("closed");
    feed.publish_closed().await.expect("the catalogue serves").expect("published");
    let root = site.root();

    // 2.6, 2: rollback journal by the header's bytes, no side files.
    let header = std::fs::read(root.join("soxspipe.db")).expect("a database");
    assert_eq!((&header[..15], &header[18..20]), (&b"SQLite format 3"[..], &[1, 1][..]));
    let names: BTreeSet<String> = std::fs::read_dir(&root)
        .expect("a root")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(names, [".staging", "closed", "reduced", "soxspipe.db"].map(String::from).into());

    // 2.2: the view and its 23 columns, no other; the table for the older monitor.
    let pool = open(&root).await;
    let columns: Vec<String> = sqlx::query_scalar("SELECT name FROM pragma_table_info('quality_control_plus_lite')")
        .fetch_all(&pool)
        .await
        .expect("a view");
    assert_eq!(columns, COLUMNS);
    let older: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM (SELECT soxspipe_recipe, qc_name, qc_value, qc_unit, obs_date_utc, reduction_date_utc, sof_name
             FROM quality_control WHERE sof_name GLOB '*_VIS_*.sof' OR sof_name GLOB '*_NIR_*.sof')",
    )
    .fetch_one(&pool)
    .await
    .expect("a table");
    let all: i64 = sqlx::query_scalar("SELECT count(*) FROM quality_control").fetch_one(&pool).await.expect("counted");
    assert!(older > 0 && older == all, "{older} of {all}");

    // 2.2, 2.4: required fields are there, arms are VIS or NIR, values are finite, identities are unique.
    let rows = read(&root).await;
    let mut identities = BTreeSet::new();
    for row in &rows {
        for column in ["night start date", "obs_date_utc", "eso seq arm", "soxspipe_recipe", "qc_name", "qc_value"] {
            assert!(!text(row, column).trim().is_empty(), "{column} of {row:?}");
        }
        assert!(["VIS", "NIR"].contains(&text(row, "eso seq arm")), "{row:?}");
        assert!(text(row, "qc_value").parse::<f64>().is_ok_and(f64::is_finite), "{row:?}");
        assert_eq!(text(row, "night start date"), NIGHT);
        let identity = ["obs_date_utc", "soxspipe_recipe", "qc_name", "eso seq arm", "qc_order", "file"];
        assert!(identities.insert(identity.map(|column| row[column].clone())), "twice: {row:?}");
        assert_eq!(text(row, "filepath"), {
            let (recipe, file) = (text(row, "soxspipe_recipe"), text(row, "file"));
            format!("./reduced/{NIGHT}/{recipe}/{file}")
        });
    }

    // 2.3: literal values.
    let bias = find(&rows, "soxs-mbias", "MASTER RON", "-1");
    assert_eq!(bias.len(), 1, "one product, one row");
    let literal =
        ["binning", "rospeed", "slit", "slitmask", "lamp", "status", "qc_flag", "obs_date_utc", "file", "sof_name"];
    assert_eq!(
        literal.map(|column| bias[0][column].as_deref()),
        [
            Some("1x1"),
            Some("1"),
            None,
            None,
            None,
            Some("pass"),
            Some("pass"),
            Some("2026-03-10T19:00:42.000"),
            Some("20260310T190042_VIS_1X1_1_MBIAS_SOXS.fits"),
            Some("20260310T190042_VIS_1X1_1_MBIAS_SOXS.sof"),
        ]
    );
    assert_eq!(text(bias[0], "qc_value").parse(), Ok(1.721_620_245_699_990_7_f64), "the number, not a rounded one");
    let flat = find(&rows, "soxs-mflat", "ORDEXP50", "-1");
    assert_eq!(flat.len(), 1, "the table of order locations is no product of it");
    let literal = ["slit", "slitmask", "lamp", "rospeed", "binning", "eso seq arm"];
    let nir = [Some("SLIT1.0"), Some("SLIT"), Some("QTH"), Some("3"), None, Some("NIR")];
    assert_eq!(literal.map(|column| flat[0][column].as_deref()), nir);
    let dark = find(&rows, "soxs-mdark", "MDARK MEDIAN", "-1");
    assert_eq!(text(dark[0], "exptime").parse(), Ok(300.0_f64));

    // 2.2: a standard's metrics appear with both of its products, orders under their labels.
    for order in ["-1", "10", "24"] {
        let found: Vec<&str> =
            find(&rows, "soxs-nod-std", "EFF MEDIAN", order).iter().map(|row| text(row, "file")).collect();
        let stem = "20260311T020353_NIR_3_NOD_STD_SLIT5_0_120_0S_SOXS";
        assert_eq!(found, [format!("{stem}_EXTRACTED_MERGED.fits"), format!("{stem}_RESP.fits")], "order {order}");
    }

    // 2.2: what the view leaves out; 2.4: what was not measured has no row and its reason elsewhere.
    for name in ["BADPIX FRAC", "ORDEXP90", "X RES MAX", "STRUCTX"] {
        assert!(rows.iter().all(|row| text(row, "qc_name") != name), "{name}");
    }
    let absent: Vec<(String, String)> =
        sqlx::query_as("SELECT qc_name, reason FROM quality_control_absent").fetch_all(&pool).await.expect("a table");
    assert_eq!(absent, [("STRUCTX".to_string(), "too few columns".to_string())]);

    // A metric that failed: its product is there, failed.
    let failed = find(&rows, "soxs-mdark", "RAW RON", "-1");
    assert_eq!(["qc_flag", "status"].map(|column| text(failed[0], column)), ["fail", "fail"]);
    assert_eq!(text(failed[0], "qc_value_max"), "30.0");

    // ACQ frames are known and nowhere else.
    let frames: Vec<(String, i64)> =
        sqlx::query_as("SELECT \"eso seq arm\", min(ignore) FROM raw_frames GROUP BY 1 ORDER BY 1")
            .fetch_all(&pool)
            .await
            .expect("a table");
    assert_eq!(frames, [("ACQ".to_string(), 1), ("NIR".to_string(), 0), ("VIS".to_string(), 0)]);
    pool.close().await;

    // 2.5, 2.6: products found by name, in day folders only, without a forbidden word; lines beside their solution.
    let shown = files(&root);
    let lines = format!(
        "reduced/{NIGHT}/soxs-disp-solution/20260310T190212_VIS_1X1_1_DSOL_PINHOLE_30_0S_SOXS_FITTED_LINES.fits"
    );
    let orders = format!("reduced/{NIGHT}/soxs-mflat/20260310T194319_NIR_3_OLOC_QTH_SLIT1_0_10_0S_SOXS.fits");
    assert!(shown.contains(&lines) && shown.contains(&orders), "{shown:?}");
    for child in std::fs::read_dir(root.join("reduced")).expect("a folder").flatten() {
        assert_eq!(child.file_name().to_string_lossy(), NIGHT, "nothing but days");
        let path = child.path().display().to_string().to_lowercase();
        assert!(["test", "tmp", "temporary", "sandbox"].iter().all(|word| !path.contains(word)), "{path}");
    }
    assert!(shown.iter().all(|file| file.ends_with(".fits") && !file.contains("/.")), "{shown:?}");
    // The monitor would stumble over this one (an order without resolving power): it is left out, and the note says so.
    assert!(!shown.iter().any(|file| file.contains("NIR_3_DSOL") && file.contains("LINES")), "{shown:?}");
    let note = std::fs::read_to_string(root.join("closed").join(format!("{NIGHT}.json"))).expect("a note");
    let note: serde_json::Value = serde_json::from_str(&note).expect("JSON");
    assert_eq!(note["metrics"], rows.len());
    assert_eq!(note["files"], shown.len());
    assert!(note["left_out"][0]["why"].as_str().is_some_and(|why| why.contains("no line of order 24")), "{note}");
}

#[tokio::test]
async fn a_night_goes_out_when_nothing_of_it_waits_and_does_not_change_until_it_is_reopened() {
    let site = Site::night().await;
    let feed = MonitorFeed::of(&site.catalogue, &site.config).expect("a feed is configured");
    let turn = || async {
        feed.close_ended().await.expect("looked");
        feed.publish_closed().await.expect("the catalogue serves").expect("no failure")
    };
    // A set that is still to come keeps the whole night in.
    let late = site.bias("2026-03-10T22:00:00").await;
    assert!(turn().await.is_empty() && !site.root().join("soxspipe.db").exists());
    let refused = site.catalogue.act("ana", Act::Close, NIGHT, "").await.expect_err("it waits");
    assert!(refused.to_string().contains("1 jobs have not ended, for example that of"), "{refused}");
    site.finish(&late, 2.5).await;
    assert_eq!(turn().await, [NIGHT]);
    let before = (read(&site.root()).await, files(&site.root()));
    assert!(before.1.iter().any(|file| file.contains("20260310T220000_VIS")), "{:?}", before.1);

    // What comes later stays out: the monitor has closed the night.
    let later = site.bias("2026-03-10T23:00:00").await;
    site.finish(&later, 3.5).await;
    assert!(turn().await.is_empty());
    assert_eq!((read(&site.root()).await, files(&site.root())), before);
    let state = site.catalogue.monitor_night(NIGHT).await.expect("a row").expect("a night");
    assert_eq!((state.state.as_str(), state.revision, state.late_jobs), ("published", 1, 1));

    // Reopened: an act, journaled. What is out stays, but for the note; closed again, the night is replaced whole.
    site.catalogue.act("ana", Act::Reopen, NIGHT, "a late bias").await.expect("admitted");
    assert!(turn().await.is_empty());
    assert!(!site.root().join("closed").join(format!("{NIGHT}.json")).exists());
    assert_eq!((read(&site.root()).await, files(&site.root())), before);
    site.catalogue.act("ana", Act::Close, NIGHT, "").await.expect("admitted");
    // A reader of the old file is not disturbed by the new one.
    let reader = open(&site.root()).await;
    let mut old = reader.begin().await.expect("a reader");
    let count = "SELECT count(*) FROM quality_control_plus_lite";
    let first: i64 = sqlx::query_scalar(count).fetch_one(&mut *old).await.expect("read");
    assert_eq!(turn().await, [NIGHT]);
    let still: i64 = sqlx::query_scalar(count).fetch_one(&mut *old).await.expect("read");
    assert_eq!((first, still), (before.0.len() as i64, before.0.len() as i64));
    let now = read(&site.root()).await;
    assert_eq!(now.len(), before.0.len() + 2);
    assert!(files(&site.root()).iter().any(|file| file.contains("20260310T230000_VIS")));
    let journal: Vec<String> =
        site.catalogue.operator_acts(10).await.expect("a journal").into_iter().map(|act| act.act).collect();
    assert_eq!(journal, ["close", "reopen"]);
}

#[tokio::test]
async fn the_other_nights_of_the_database_stay_and_a_lost_or_foreign_one_is_told_apart() {
    let site = Site::night().await;
    let feed = MonitorFeed::of(&site.catalogue, &site.config).expect("a feed is configured");
    let other = site.bias("2026-03-12T22:00:00").await;
    site.finish(&other, 2.5).await;
    feed.close_ended().await.expect("closed");
    assert_eq!(feed.publish_closed().await.expect("served").expect("published"), [NIGHT, "2026-03-12"]);
    let nights = |rows: Vec<Row>| -> BTreeSet<String> {
        rows.iter().map(|row| text(row, "night start date").to_string()).collect()
    };
    let both: BTreeSet<String> = [NIGHT.to_string(), "2026-03-12".to_string()].into();
    assert_eq!(nights(read(&site.root()).await), both);

    // Lost, or cut off by a full disk: made again, with every night that is out.
    for ruin in ["", "SQLite format 3"] {
        std::fs::write(site.root().join("soxspipe.db"), ruin).expect("ruined");
        site.catalogue.act("ana", Act::Reopen, "2026-03-12", "test").await.expect("admitted");
        site.catalogue.act("ana", Act::Close, "2026-03-12", "").await.expect("admitted");
        feed.publish_closed().await.expect("served").expect("published");
        assert_eq!(nights(read(&site.root()).await), both, "after {ruin:?}");
    }

    // The database of a pipeline that was there before is not ours to replace.
    std::fs::remove_file(site.root().join("soxspipe.db")).expect("gone");
    let options = SqliteConnectOptions::new().filename(site.root().join("soxspipe.db")).create_if_missing(true);
    let pool = SqlitePool::connect_with(options).await.expect("a database");
    sqlx::query("CREATE TABLE quality_control (qc_name TEXT)").execute(&pool).await.expect("a table");
    pool.close().await;
    site.catalogue.act("ana", Act::Reopen, "2026-03-12", "test").await.expect("admitted");
    site.catalogue.act("ana", Act::Close, "2026-03-12", "").await.expect("admitted");
    let refused = feed.publish_closed().await.expect("served").expect_err("it is not ours");
    assert!(refused.to_string().contains("is a database that soxsd did not write"), "{refused}");
    let state = site.catalogue.monitor_night("2026-03-12").await.expect("a row").expect("a night");
    assert_eq!(state.state, "closed", "it is tried again");
    assert!(state.error.contains("did not write"), "{}", state.error);
}

#[tokio::test]
async fn the_command_publishes_a_night_and_says_when_it_cannot() {
    let site = Site::night().await;
    let other = site.bias("2026-03-12T22:00:00").await;
    let (config, root) = (site.write_config(), site.root());
    let folder = site.into_folder().await;
    let soxsd = |arguments: &[&str]| {
        let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin!("soxsd"));
        let output = command.args(["--config", &config]).args(arguments).output().expect("soxsd starts");
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), said)
    };
    let (code, said) = soxsd(&["export", "monitor", "2026-03-12"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("jobs have not ended") && said.contains(&other.name), "{said}");
    let (code, said) = soxsd(&["export", "monitor", NIGHT]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("published") && root.join("soxspipe.db").is_file(), "{said}");
    assert_eq!(soxsd(&["export", "monitor", NIGHT]).0, Some(0), "it is out");
    assert_eq!(soxsd(&["reopen", NIGHT]).0, Some(2), "without a reason");
    assert_eq!(soxsd(&["reopen", NIGHT, "--why", "a late frame"]).0, Some(0));
    let (code, said) = soxsd(&["export", "monitor"]);
    assert_eq!(code, Some(0));
    assert!(said.contains("reopened") && said.contains("a late frame"), "{said}");
    drop(folder);
}
