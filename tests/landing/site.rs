//! A raw root, a work folder, the running binary, and the commands that look at it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

/// How long a state of one file may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// `scheduler.drain_s` of the test.
const DRAIN: Duration = Duration::from_secs(30);

pub struct Site {
    folder: tempfile::TempDir,
    daemon: Child,
}

/// What a command said.
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// What should become of a file.
pub struct Expected {
    pub state: &'static str,
    pub outcome: &'static str,
    pub code: &'static str,
    pub words: Vec<String>,
}

impl Expected {
    pub fn difference(&self, path: &str, row: &Value) -> Option<String> {
        let text = |key: &str| row[key].as_str().unwrap_or_default();
        let found = (text("state"), text("outcome"), text("code"));
        let expected = (self.state, self.outcome, self.code);
        let why = text("outcome_why");
        let has_words = self.words.iter().all(|word| why.contains(word.as_str()));
        (found != expected || !has_words)
            .then(|| format!("{path}: {found:?} because {why:?}, expected {expected:?} with {:?}", self.words))
    }
}

impl Site {
    /// The daemon on an empty raw root, with short waits, up and ready.
    pub fn start() -> Site {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("raw")).expect("a folder");
        let config = format!(
            "[paths]\nraw = [{raw:?}]\nwork = {work:?}\n\
             [ingest]\nsettle_s = 0.2\nrescan_s = 1\nincomplete_deadline_s = 3\n\
             [association]\ntemplate_grace_s = 12\ntemplate_deadline_s = 15\n\
             [scheduler]\nmin_free_mib = 64\ndrain_s = {drain}\n\
             [service]\nlisten = \"127.0.0.1:0\"\n",
            raw = folder.path().join("raw"),
            work = folder.path().join("work"),
            drain = DRAIN.as_secs(),
        );
        fs::write(folder.path().join("soxsd.toml"), config).expect("a configuration");
        let log = File::create(folder.path().join("log")).expect("a log");
        let daemon = command(folder.path(), &["run"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("the daemon starts");
        let site = Site { folder, daemon };
        site.wait("a running daemon", PATIENCE, |site| {
            let status = site.run(&["status", "--json"]);
            status.code == 0 && parsed(&status.out)["daemon"].is_object()
        });
        site
    }

    pub fn raw(&self) -> PathBuf {
        self.folder.path().join("raw")
    }

    pub fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// A path of the account relative to the raw root.
    pub fn below_raw(&self, path: &Value) -> String {
        let path = Path::new(path.as_str().expect("a path"));
        path.strip_prefix(self.raw()).expect("below the raw root").to_string_lossy().into_owned()
    }

    /// Write a file, over the old one if there is one; its folder comes with it.
    pub fn land(&self, name: &str, bytes: &[u8]) {
        let path = self.raw().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, bytes).expect("written");
    }

    /// Write a file in a hundred pieces over about four seconds: longer than an incomplete file may stand still.
    pub fn write_slowly(&self, name: &str, bytes: &[u8]) -> JoinHandle<()> {
        let (path, bytes) = (self.raw().join(name), bytes.to_vec());
        std::thread::spawn(move || {
            let mut file = File::create(path).expect("a file");
            for piece in bytes.chunks(bytes.len() / 100 + 1) {
                file.write_all(piece).expect("written");
                file.flush().expect("written");
                // Not a wait for anything: this is how slow the line is.
                std::thread::sleep(Duration::from_millis(40));
            }
        })
    }

    /// Run a command of the same binary and configuration.
    pub fn run(&self, arguments: &[&str]) -> Said {
        let output = command(self.folder.path(), arguments).output().expect("soxsd starts");
        Said {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).expect("text"),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// What a command says as JSON.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let said = self.run(&[arguments, &["--json"]].concat());
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{arguments:?}");
        parsed(&said.out)
    }

    /// The rows of a table.
    pub fn rows(&self, arguments: &[&str]) -> Vec<Value> {
        match self.json(arguments) {
            Value::Array(rows) => rows,
            other => panic!("{arguments:?} is no table: {other}"),
        }
    }

    pub fn wait(&self, what: &str, patience: Duration, condition: impl Fn(&Site) -> bool) {
        let limit = Instant::now() + patience;
        while !condition(self) {
            if Instant::now() > limit {
                let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                let (frames, jobs) = (self.run(&["frames"]).out, self.run(&["jobs"]).out);
                panic!("{what} did not come\n{frames}\n{jobs}\n{log}");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Wait until the account has a file in a state.
    pub fn wait_state(&self, path: &str, state: &str) {
        self.wait(&format!("{path} {state}"), PATIENCE, |site| {
            site.rows(&["frames", "--state", state]).iter().any(|row| site.below_raw(&row["path"]) == path)
        });
    }

    /// Nothing is left to do: no set open, no job alive, every delivery confirmed.
    pub fn is_at_rest(&self) -> bool {
        let sets = self.rows(&["sets"]);
        // a job that waits for a master may wait for ever
        let jobs = ["ready", "running"].iter().flat_map(|state| self.rows(&["jobs", "--state", state]));
        let deliveries = self.rows(&["deliveries", "--limit", "1000"]);
        sets.iter().all(|set| set["state"] != "open")
            && jobs.count() == 0
            && deliveries.iter().all(|delivery| delivery["state"] == "confirmed")
    }

    /// Every path below the raw root with what it is, its size, its time and its digest.
    pub fn snapshot(&self) -> BTreeMap<PathBuf, (String, u64, SystemTime)> {
        let (mut found, mut folders) = (BTreeMap::new(), vec![self.raw()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                let metadata = fs::symlink_metadata(&path).expect("metadata");
                let content = if metadata.is_file() {
                    soxsd::fits::FileDigests::of(&path).expect("readable").sha256
                } else {
                    format!("{:?}", metadata.file_type())
                };
                if metadata.is_dir() {
                    folders.push(path.clone());
                }
                found.insert(path, (content, metadata.len(), metadata.modified().expect("a time")));
            }
        }
        found
    }

    /// SIGTERM; the daemon must end well, within its drain time.
    pub fn terminate(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.daemon);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a signal");
        let started = Instant::now();
        let ended: ExitStatus = loop {
            if let Some(status) = self.daemon.try_wait().expect("a child") {
                break status;
            }
            assert!(started.elapsed() < DRAIN, "the daemon does not end");
            std::thread::sleep(Duration::from_millis(20));
        };
        assert_eq!(ended.code(), Some(0), "SIGTERM is a good end");
        assert_eq!(self.json(&["status"])["daemon"], Value::Null);
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_soxsd"));
    let config = folder.join("soxsd.toml");
    command.current_dir(folder).args(arguments).arg("--config").arg(config).env("RUST_BACKTRACE", "0");
    command
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("not JSON ({error}): {text}"))
}

/// The first row with a value.
pub fn find<'a>(rows: &'a [Value], key: &str, value: impl Into<Value>) -> &'a Value {
    let value = value.into();
    rows.iter().find(|row| row[key] == value).unwrap_or_else(|| panic!("no row with {key} = {value}: {rows:#?}"))
}
