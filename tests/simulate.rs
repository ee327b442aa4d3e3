//! `soxsd simulate` as people use it: what is refused before anything is written, what lands where, and what is said.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PLAN: &str = r#"title = "three small biases"
start = "2026-03-10T18:00:00Z"

[[template]]
kind = "bias"
arm = "VIS"
frames = 3
binning = "2x2"
gap = 0
faults = [{ frame = 2, fault = { cut-short = { fraction = 0.5 } } }]

[[template]]
kind = "bias"
arm = "ACQ"
frames = 1
"#;

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("soxsd"));
    command.current_dir(folder).env_remove("SOXSD_CONFIG").env_remove("COLUMNS").args(arguments);
    command
}

fn soxsd(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().expect("soxsd starts")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A folder with the plan `night.toml`.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("night.toml"), PLAN).expect("written");
    folder
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_file())
        .map(|path| (path.file_name().expect("a name").to_string_lossy().into_owned(), fs::read(&path).expect("read")))
        .collect()
}

#[test]
fn a_night_lands_with_its_truth_beside_it_and_the_table_counts_it() {
    let folder = folder();
    let output = soxsd(folder.path(), &["simulate", "night.toml", "--out", "raw"]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let told = out(&output);
    for line in ["VIS  bias       3            1", "ACQ  bias       1", "faults: cut-short 1\n", "4 frames, "] {
        assert!(told.contains(line), "{line:?} in\n{told}");
    }
    assert!(told.ends_with("frames in raw, truth in raw-truth\n"), "{told}");
    let frames = files(&folder.path().join("raw"));
    assert_eq!(frames.len(), 4);
    assert!(frames.keys().all(|name| name.starts_with("SOXS.2026-03-10T18:")), "{:?}", frames.keys());
    assert_eq!(files(&folder.path().join("raw-truth/frames")).len(), 4);
    let list: Vec<String> = files(&folder.path().join("raw-truth")).into_keys().collect();
    assert_eq!(list, ["detector_ACQ.fits", "frames.csv", "night.json"]);

    let again = soxsd(folder.path(), &["simulate", "night.toml", "--out", "raw"]);
    assert_eq!(again.status.code(), Some(2));
    assert!(err(&again).starts_with("error: raw/SOXS.2026-03-10T18:"), "{}", err(&again));
    assert!(err(&again).contains(" is there already\nhint: give another --out, or --continue"), "{}", err(&again));
    // What a fault of the file has spoiled is made again: nobody can see whether it is finished.
    let resumed = soxsd(folder.path(), &["simulate", "night.toml", "--out", "raw", "--continue", "--json"]);
    let told: serde_json::Value = serde_json::from_slice(&resumed.stdout).expect("JSON");
    assert_eq!((&told["frames"], &told["kept"]), (&1.into(), &3.into()));
    assert!(files(&folder.path().join("raw")) == frames, "the same bytes");
}

#[test]
fn the_seed_decides_and_the_arms_do_not_disturb_each_other() {
    let folder = folder();
    let made = |out: &str, more: &[&str]| {
        let arguments = [&["simulate", "night.toml", "--out", out], more].concat();
        assert_eq!(soxsd(folder.path(), &arguments).status.code(), Some(0));
        files(&folder.path().join(out))
    };
    let usual = made("a", &["--threads", "1"]);
    assert!(usual == made("b", &["--seed", "0", "--threads", "8"]), "0 is the seed when the plan has none");
    assert!(usual != made("c", &["--seed", "1"]));
    let camera = made("d", &["--only", "acq"]);
    assert_eq!(camera.len(), 1);
    assert!(camera.iter().all(|(name, bytes)| usual.get(name) == Some(bytes)));
}

#[test]
fn nothing_is_written_when_something_is_wrong() {
    let folder = folder();
    let path = folder.path();
    fs::write(path.join("wrong.toml"), PLAN.replace("frames = 3", "frames = 0")).expect("written");
    let refused = |arguments: &[&str]| {
        let output = soxsd(path, &[&["simulate"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{}", err(&output));
        assert!(!path.join("raw").exists());
        err(&output)
    };
    assert_eq!(
        refused(&["wrong.toml", "--out", "raw"]),
        "error: wrong.toml:7: template 1 (bias in VIS): frames = 0: give 1 to 10000\n"
    );
    let unknown = refused(&["fool", "--out", "raw"]);
    assert!(
        unknown.contains("there is no plan \"fool\"") && unknown.contains("hint: `soxsd simulate --plans`"),
        "{unknown}"
    );
    assert!(refused(&["night.toml", "--out", "raw", "--truth", "raw/truth"]).contains("is inside --out"));
    assert!(refused(&["night.toml", "--out", "raw", "--pace", "0"]).contains("give a factor"));
    assert!(refused(&["night.toml", "--out", "raw", "--only", "UV"]).contains("give VIS, NIR or ACQ"));
    assert!(refused(&["night.toml"]).contains("--out"));
    assert!(refused(&[]).contains("PLAN"));
}

#[test]
fn plans_and_exposures_are_listed_without_drawing() {
    let folder = folder();
    let plans = out(&soxsd(folder.path(), &["simulate", "--plans"]));
    for plan in ["full        208  a whole night in all modes", "quick", "extreme", "faults", "missing"] {
        assert!(plans.contains(plan), "{plan}: {plans}");
    }
    let list = soxsd(folder.path(), &["simulate", "night.toml", "--list"]);
    assert_eq!(list.status.code(), Some(0));
    assert!(out(&list).ends_with("4 frames\n") && out(&list).contains("cut-short"), "{}", out(&list));
    let list = soxsd(folder.path(), &["simulate", "full", "--list", "--json", "--only", "NIR,VIS"]);
    let lines: serde_json::Value = serde_json::from_slice(&list.stdout).expect("JSON");
    let lines = lines.as_array().expect("a list");
    assert!(lines.len() > 150 && lines.iter().all(|line| line["arm"] != "ACQ"));
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing was written");
}

/// Ends the process when a test fails half way.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_interrupted_night_leaves_whole_frames_and_goes_on_later() {
    let folder = folder();
    let raw = folder.path().join("raw");
    // Sixteen seconds a frame: the second one is growing when the signal comes.
    let mut arguments = vec!["simulate", "night.toml", "--out", "raw", "--pace", "1", "--only", "VIS"];
    let mut running = Running(
        command(folder.path(), &arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("soxsd starts"),
    );
    let limit = Instant::now() + Duration::from_secs(60);
    let begun = || raw.is_dir() && files(&raw).values().any(|bytes| !bytes.is_empty());
    while !begun() {
        assert!(Instant::now() < limit, "no frame begins to grow");
        std::thread::sleep(Duration::from_millis(50));
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&running.0), rustix::process::Signal::INT)
        .expect("a signal");
    assert_eq!(running.0.wait().expect("it ends").code(), Some(1));
    assert!(files(&raw).is_empty(), "no half frame is left: {:?}", files(&raw).keys());
    arguments.truncate(4);
    arguments.push("--continue");
    assert_eq!(soxsd(folder.path(), &arguments).status.code(), Some(0));
    assert_eq!(files(&raw).len(), 4);
}
