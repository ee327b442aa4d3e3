//! The command line as people use it: exit codes, messages, and commands beside a process that has the catalogue.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use soxsd::catalogue::Catalogue;
use soxsd::catalogue::files::Look;
use soxsd::clock::SystemClock;

fn soxsd(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().expect("soxsd starts")
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("soxsd"));
    command.current_dir(folder).env_remove("SOXSD_CONFIG").env("USER", "ana").args(arguments);
    command
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A work folder `w` with one quarantined file.
async fn seeded(folder: &Path) -> Catalogue {
    let path = folder.join("w").join("catalogue.db");
    let catalogue = Catalogue::open(&path, Arc::new(SystemClock)).await.expect("a new catalogue");
    let look = Look { path: "/raw/broken.fits".to_string(), name: "broken.fits".to_string(), size: 1, mtime_us: 1 };
    let mut tx = catalogue.begin().await.expect("a transaction");
    tx.quarantine_file(&look, "truncated", "only 1 byte came").await.expect("quarantined");
    tx.commit().await.expect("kept");
    catalogue
}

#[test]
fn help_and_version_succeed_and_nonsense_is_wrong_use() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(soxsd(folder.path(), &["--help"]).status.code(), Some(0));
    assert_eq!(soxsd(folder.path(), &["--version"]).status.code(), Some(0));
    assert_eq!(soxsd(folder.path(), &["frobnicate"]).status.code(), Some(2));
    assert_eq!(soxsd(folder.path(), &["frames", "--arm", "XUV"]).status.code(), Some(2));
    assert_eq!(soxsd(folder.path(), &["completions", "bash"]).status.code(), Some(0));
}

#[test]
fn a_wrong_key_is_reported_with_file_and_line() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("soxsd.toml"), "[ingest]\nsettle_s = 1\nsetle_s = 2\n").expect("written");
    let output = soxsd(folder.path(), &["config", "check"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).starts_with("error: soxsd.toml:3: unknown field `setle_s`"), "{}", err(&output));
    assert!(err(&output).contains("\nhint: "), "{}", err(&output));
    assert_eq!(err(&output).lines().count(), 2, "one line each: {}", err(&output));
}

#[test]
fn a_wrong_value_and_broken_toml_are_configuration_errors() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("other.toml");
    std::fs::write(&file, "[ingest]\nrescan_s = -1\n").expect("written");
    let output = soxsd(folder.path(), &["config", "check", "--config", "other.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("ingest.rescan_s"), "{}", err(&output));
    std::fs::write(&file, "[ingest\n").expect("written");
    let output = soxsd(folder.path(), &["status", "--config", "other.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("line 1"), "{}", err(&output));
}

#[test]
fn the_shown_configuration_is_a_valid_configuration() {
    let folder = tempfile::tempdir().expect("a folder");
    let shown = soxsd(folder.path(), &["config", "show", "--work", "elsewhere"]);
    assert!(out(&shown).contains("work = \"elsewhere\""), "{}", out(&shown));
    std::fs::write(folder.path().join("soxsd.toml"), &shown.stdout).expect("written");
    assert_eq!(soxsd(folder.path(), &["config", "check"]).status.code(), Some(0));
}

#[test]
fn without_a_catalogue_a_table_says_where_it_looked() {
    let folder = tempfile::tempdir().expect("a folder");
    for arguments in [["frames", "--work", "w"], ["status", "--work", "w"], ["retry", "set:1", "--work=w"]] {
        let output = soxsd(folder.path(), &arguments);
        assert_eq!(output.status.code(), Some(1));
        assert!(err(&output).contains("there is no catalogue at w/catalogue.db"), "{}", err(&output));
    }
    assert!(!folder.path().join("w").exists(), "looking makes nothing");
}

#[tokio::test]
async fn tables_stories_and_reports_work_while_nobody_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    seeded(folder.path()).await.close().await;
    let run = |arguments: &[&str]| soxsd(folder.path(), &[arguments, &["--work", "w"]].concat());
    assert!(out(&run(&["frames"])).contains("only 1 byte came"));
    assert_eq!(out(&run(&["sets"])), "no sets are there yet\n");
    assert_eq!(out(&run(&["frames", "--state", "accepted"])), "no files match this filter\n");
    let rows: serde_json::Value = serde_json::from_str(&out(&run(&["frames", "--json"]))).expect("JSON");
    assert_eq!(rows[0]["outcome"], "quarantined");
    for table in ["sets", "jobs", "products", "qc", "deliveries"] {
        assert_eq!(out(&run(&[table, "--json"])), "[]\n");
    }
    let story = run(&["why", "broken.fits"]);
    assert!(out(&story).contains("not used: quarantined because only 1 byte came"), "{}", out(&story));
    assert_eq!(story.status.code(), Some(0));
    let nothing = run(&["why", "no-such-frame"]);
    assert_eq!(nothing.status.code(), Some(1));
    assert!(err(&nothing).contains("nothing is called \"no-such-frame\""), "{}", err(&nothing));
    let status: serde_json::Value = serde_json::from_str(&out(&run(&["status", "--json"]))).expect("JSON");
    assert_eq!(status["files"][0]["name"], "quarantined");
    assert_eq!(status["daemon"], serde_json::Value::Null);
    assert!(out(&run(&["report"])).contains("lost"));
    assert_eq!(out(&run(&["check"])), "w/catalogue.db: ok\n");
    let copy = run(&["backup"]);
    assert!(folder.path().join(out(&copy).trim()).is_file(), "{}{}", out(&copy), err(&copy));
}

#[tokio::test]
async fn an_act_is_done_journaled_and_refused_the_second_time() {
    let folder = tempfile::tempdir().expect("a folder");
    seeded(folder.path()).await.close().await;
    let run = |arguments: &[&str]| soxsd(folder.path(), &[arguments, &["--work", "w"]].concat());
    let first = run(&["retry", "broken.fits", "--why", "copied again"]);
    assert_eq!(first.status.code(), Some(0), "{}", err(&first));
    assert!(out(&first).contains("quarantined -> waiting"), "{}", out(&first));
    let second = run(&["retry", "broken.fits"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(err(&second).contains("it admits no act now"), "{}", err(&second));
    assert_eq!(run(&["reject", "broken.fits"]).status.code(), Some(2), "a reason is needed");
    let journal: serde_json::Value = serde_json::from_str(&out(&run(&["acts", "--json"]))).expect("JSON");
    assert_eq!((&journal[0]["who"], &journal[0]["why"]), (&"ana".into(), &"copied again".into()));
}

#[tokio::test]
async fn an_act_beside_a_daemon_goes_to_its_service_with_the_token() {
    use std::io::{BufRead, BufReader, Read, Write};
    let folder = tempfile::tempdir().expect("a folder");
    let catalogue = seeded(folder.path()).await;
    let work = folder.path().join("w");
    let output = soxsd(folder.path(), &["retry", "broken.fits", "--work", "w"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("the daemon has the catalogue, and w/daemon.json"), "{}", err(&output));

    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let daemon = serde_json::json!({ "address": address.to_string(), "pid": std::process::id(), "more": 1 });
    std::fs::write(work.join("daemon.json"), daemon.to_string()).expect("written");
    let output = soxsd(folder.path(), &["retry", "broken.fits", "--work", "w"]);
    assert!(err(&output).contains("its token w/token cannot be read"), "{}", err(&output));

    std::fs::write(work.join("token"), "secret\n").expect("written");
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a request");
        let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let mut line = String::new();
            reader.read_line(&mut line).expect("a header");
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a number");
            }
            head.push_str(&line);
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("a body");
        let reply =
            r#"{"class":"bad_input","code":"not_admitted","message":"cannot retry frame:1","hint":"look again"}"#;
        write!(stream, "HTTP/1.1 409 Conflict\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{reply}", reply.len())
            .expect("answered");
        (head, serde_json::from_slice::<serde_json::Value>(&body).expect("JSON"))
    });
    let output = soxsd(folder.path(), &["retry", "broken.fits", "--work", "w", "--who", "ben", "--why", "x"]);
    let (head, body) = server.join().expect("served");
    assert!(head.starts_with("POST /api/v1/acts "), "{head}");
    assert!(head.to_ascii_lowercase().contains("authorization: bearer secret"), "{head}");
    assert_eq!(body, serde_json::json!({"act": "retry", "target": "broken.fits", "who": "ben", "why": "x"}));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(err(&output), "error: cannot retry frame:1\nhint: look again\n");

    let status = soxsd(folder.path(), &["status", "--work", "w"]);
    assert!(
        out(&status).contains(&format!("running, process {}, http://{address}/", std::process::id())),
        "{}",
        out(&status)
    );
    drop(catalogue);
}

#[tokio::test]
async fn a_reader_that_leaves_ends_a_watch_quietly() {
    use std::io::{BufRead, BufReader};
    let folder = tempfile::tempdir().expect("a folder");
    seeded(folder.path()).await.close().await;
    let mut child = command(folder.path(), &["status", "--json", "--watch", "0.1", "--work", "w"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("soxsd starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    for _ in 0..2 {
        let line = lines.next().expect("a line").expect("text");
        assert!(serde_json::from_str::<serde_json::Value>(&line).is_ok(), "one JSON object a line: {line}");
    }
    drop(lines);
    let output = child.wait_with_output().expect("it ends by itself");
    assert_eq!((output.status.code(), err(&output)), (Some(0), String::new()));
}

/// A free-standing daemon that is stopped with the test.
struct Daemon(std::process::Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Daemon {
    /// On a raw root `raw` and a work folder `w`, without a service, up and noted.
    fn start(folder: &Path) -> Daemon {
        std::fs::create_dir_all(folder.join("raw")).expect("a folder");
        let config = "[paths]\nraw = [\"raw\"]\nwork = \"w\"\n[service]\nlisten = \"\"\n";
        std::fs::write(folder.join("soxsd.toml"), config).expect("written");
        let child = command(folder, &["run"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        let daemon = Daemon(child);
        let limit = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !folder.join("w/daemon.json").exists() {
            assert!(std::time::Instant::now() < limit, "the daemon says nothing");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        daemon
    }
}

#[test]
fn a_daemon_without_a_raw_folder_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = soxsd(folder.path(), &["run", "--work", "w"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).starts_with("error: paths.raw is empty"), "{}", err(&output));
    assert!(!folder.path().join("w").exists(), "nothing was begun");
}

#[test]
fn a_daemon_without_a_service_is_seen_and_ends_well_whenever_it_is_stopped() {
    let folder = tempfile::tempdir().expect("a folder");
    // Several times: once in a while a task ended before the signal was seen, which looked like a failure.
    for turn in 0..5 {
        let mut daemon = Daemon::start(folder.path());
        if turn == 0 {
            let status = soxsd(folder.path(), &["status"]);
            assert!(out(&status).contains(&format!("running, process {}\n", daemon.0.id())), "{}", out(&status));
            assert!(!out(&status).contains("raw_root_identity"), "nothing for programs: {}", out(&status));
            let refused = soxsd(folder.path(), &["reduce", "raw"]);
            assert_eq!(refused.status.code(), Some(2));
            assert!(err(&refused).contains("catalogue.db.lock"), "{}", err(&refused));
            assert!(err(&refused).contains("hint: `soxsd status` shows what it does"), "{}", err(&refused));
        }
        rustix::process::kill_process(rustix::process::Pid::from_child(&daemon.0), rustix::process::Signal::TERM)
            .expect("a signal");
        assert_eq!(daemon.0.wait().expect("it ends").code(), Some(0), "turn {turn}");
    }
}

#[test]
fn reducing_nothing_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("raw")).expect("a folder");
    let reduce = || soxsd(folder.path(), &["reduce", "raw", "--work", "w"]);
    let empty = reduce();
    assert_eq!(empty.status.code(), Some(2));
    assert_eq!(out(&empty), "no file was found\n");
    assert!(err(&empty).starts_with("error: there is no SOXS frame below raw\n"), "{}", err(&empty));
    std::fs::write(folder.path().join("raw/x.fits"), b"\x89PNG \"x\"").expect("written");
    let garbage = reduce();
    assert_eq!(garbage.status.code(), Some(2));
    assert!(out(&garbage).contains(r#"starts with "\x89PNG "x"" instead"#), "escaped once: {}", out(&garbage));
}

#[test]
fn a_file_that_is_no_database_is_named_with_the_way_out() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("w")).expect("a folder");
    std::fs::write(folder.path().join("w/catalogue.db"), [7; 9000]).expect("written");
    for arguments in [["status", "--work=w"], ["check", "--work=w"]] {
        let output = soxsd(folder.path(), &arguments);
        assert_eq!(output.status.code(), Some(1));
        assert!(err(&output).contains("hint: the database is damaged: stop the daemon"), "{}", err(&output));
        assert_eq!(err(&output).matches("file is not a database").count(), 1, "said once: {}", err(&output));
    }
}

#[test]
fn a_recipe_names_the_wrong_frame_and_the_wrong_parameter() {
    use soxsd::instrument::Binning;
    use soxsd::simulator::{NightPlan, TemplatePlan, write};
    let folder = tempfile::tempdir().expect("a folder");
    let half = Binning { x: 2, y: 2 };
    let plan = NightPlan::new("2026-03-10T19:00:00Z".parse().expect("a time"))
        .with(TemplatePlan::vis_bias(1, half, 2))
        .with(TemplatePlan::vis_bias(3, half, 1));
    let frames: Vec<String> = plan
        .frames(7)
        .expect("a night")
        .map(|frame| write(&frame.expect("drawn"), folder.path()).expect("written").to_string_lossy().into_owned())
        .collect();
    let run = |more: &[&str]| {
        let frames: Vec<&str> = frames.iter().map(String::as_str).collect();
        soxsd(folder.path(), &[&["recipe", "mbias"], &frames[..], more].concat())
    };
    let mixed = run(&[]);
    assert_eq!(mixed.status.code(), Some(2));
    assert!(err(&mixed).contains("SOXS.2026-03-10T19"), "it names the frame: {}", err(&mixed));
    assert!(err(&mixed).contains("READ"), "and the keyword: {}", err(&mixed));
    let wrong = run(&["--set", "rejecton_sigma=3"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(err(&wrong).contains("rejecton_sigma") && err(&wrong).contains("rejection_sigma"), "{}", err(&wrong));
    assert!(err(&wrong).contains("hint: `soxsd recipe --help`"), "{}", err(&wrong));
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 3, "nothing was written");
}
