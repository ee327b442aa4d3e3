//! Promise: until the stream is approved, science files wait at the gate and calibrations flow; what the archive would
//! refuse is never offered; what an operator does about either is told with his name and his reason.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use soxsd::catalogue::products::{Claim, NewProduct};
use soxsd::catalogue::views::Filter;
use soxsd::catalogue::{Catalogue, JobId, SetId};
use soxsd::clock::SystemClock;
use soxsd::config::{Config, Workspace};
use soxsd::fits::FileDigests;
use soxsd::instrument::Binning;
use soxsd::quality::Verdict;
use soxsd::simulator::{NightPlan, TemplatePlan, write};

const DEADLINE: Duration = Duration::from_secs(90);

struct Scene {
    folder: tempfile::TempDir,
    config_file: PathBuf,
    workspace: Workspace,
}

/// A daemon that dies with the test.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Scene {
    /// Three bias frames, and a daemon's configuration with the gate closed.
    fn set(gated: &str) -> Scene {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name).display().to_string();
        let text = format!(
            "[paths]\nraw = [\"{}\"]\nwork = \"{}\"\n[ingest]\nsettle_s = 0.1\nrescan_s = 1\n[scheduler]\nmin_free_mib = 64\n\
             [service]\nlisten = \"127.0.0.1:0\"\n[release]\ngatekeeper = true\n{gated}\n\
             [[archive]]\nname = \"saf\"\nkind = \"directory\"\npath = \"{}\"\npoll_s = 0.1\n",
            at("raw"),
            at("work"),
            at("archive")
        );
        let config_file = folder.path().join("soxsd.toml");
        std::fs::write(&config_file, text).expect("written");
        let raw = folder.path().join("raw");
        std::fs::create_dir(&raw).expect("a folder");
        let plan = NightPlan::new("2026-03-10T19:00:00Z".parse().expect("a time")).with(TemplatePlan::vis_bias(
            1,
            Binning { x: 2, y: 2 },
            3,
        ));
        for frame in plan.frames(7).expect("a night") {
            write(&frame.expect("drawn"), &raw).expect("written");
        }
        let config = Config::load(Some(&config_file), std::iter::empty()).expect("a valid configuration");
        Scene { workspace: config.workspace(), folder, config_file }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_soxsd"));
        command.args(arguments).arg("--config").arg(&self.config_file).env_remove("SOXSD_CONFIG");
        command
    }

    fn soxsd(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("soxsd runs")
    }

    fn start(&self) -> Daemon {
        let log = File::options().create(true).append(true).open(self.folder.path().join("log")).expect("a log");
        let child = self.command(&["run"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        Daemon(child.expect("soxsd starts"))
    }

    fn deliveries(&self) -> Vec<serde_json::Value> {
        serde_json::from_slice(&self.soxsd(&["deliveries", "--json"]).stdout).unwrap_or_default()
    }

    /// Wait until the delivery to the archive of a file has a state; then its row.
    fn until(&self, name: &str, state: &str) -> serde_json::Value {
        let begun = Instant::now();
        loop {
            let rows = self.deliveries();
            let found = rows
                .iter()
                .find(|row| row["kind"] == "archive" && row["key"].as_str().is_some_and(|key| key.contains(name)));
            match found {
                Some(row) if row["state"] == state => return row.clone(),
                _ if begun.elapsed() > DEADLINE => panic!("{name} is not {state}: {rows:#?}"),
                _ => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    fn is_archived(&self, name: &str) -> bool {
        fn holds(folder: &Path, name: &str) -> bool {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            entries.into_iter().any(|entry| {
                let path = entry.path();
                path.is_dir() && holds(&path, name) || entry.file_name().to_string_lossy() == name
            })
        }
        holds(&self.folder.path().join("archive"), name)
    }

    fn stop(&self, mut daemon: Daemon) {
        let pid = daemon.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill starts").success());
        assert!(daemon.0.wait().expect("waited").success());
    }

    /// Two science files beside the products of the first job: one that passed and waits, one that the archive would refuse.
    async fn add_science(&self) {
        let catalogue = Catalogue::open(&self.workspace.catalogue, Arc::new(SystemClock)).await.expect("a catalogue");
        let made = catalogue.products(&Filter::default()).await.expect("products").remove(0);
        for (name, findings) in
            [("SOXS_GOOD_1D.fits", vec![]), ("SOXS_BAD_1D.fits", vec!["K037 NCOMBINE: found 0".to_string()])]
        {
            let staged = self.folder.path().join("staged");
            std::fs::write(&staged, name.repeat(500)).expect("written");
            let digests = FileDigests::of(&staged).expect("digested");
            let stored = self.workspace.stored(&digests.sha256);
            std::fs::create_dir_all(stored.parent().expect("a folder")).expect("made");
            std::fs::rename(&staged, &stored).expect("moved");
            let (class, why) = if findings.is_empty() {
                ("gate", "it waits for `soxsd release`")
            } else {
                ("phase3", "it fails Phase 3 validation: K037 NCOMBINE: found 0")
            };
            let product = NewProduct {
                catg: "SCI_SLIT_FLUX_IDP_VIS".to_string(),
                arm: "VIS".to_string(),
                night: made.night.clone(),
                name: name.to_string(),
                folder: made.folder.clone(),
                digests,
                keys: "{}".to_string(),
                mjd: 61_109.0,
                n_combined: 1,
                claim: Some(Claim {
                    prodcatg: "SCIENCE.SPECTRUM".to_string(),
                    archive_name: name.to_string(),
                    findings,
                }),
            };
            let mut tx = catalogue.begin().await.expect("a transaction");
            let id = tx
                .put_product(JobId(made.job_id), SetId(made.set_id), &product, Verdict::Pass)
                .await
                .expect("a product");
            tx.hold_archive("saf", id, JobId(made.job_id), class, why).await.expect("held");
            tx.commit().await.expect("kept");
        }
        catalogue.close().await;
    }
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn science_waits_for_release_calibrations_do_not_and_what_fails_never_goes() {
    let scene = Scene::set("");
    let daemon = scene.start();
    scene.until("MBIAS", "confirmed");
    scene.stop(daemon);
    scene.add_science().await;

    let _daemon = scene.start();
    assert_eq!(scene.until("SOXS_GOOD", "held")["class"], "gate");
    let story = out(&scene.soxsd(&["why", "SOXS_GOOD_1D.fits"]));
    assert!(story.contains("held: it waits for `soxsd release`"), "{story}");
    assert!(!scene.is_archived("SOXS_GOOD_1D.fits"));

    let begun = Instant::now();
    let released = loop {
        // The daemon may not listen yet.
        let output = scene.soxsd(&["release", "SOXS_GOOD_1D.fits", "--who", "maria", "--why", "approved by ESO"]);
        if output.status.success() || begun.elapsed() > DEADLINE {
            break output;
        }
        std::thread::sleep(Duration::from_millis(200));
    };
    assert!(out(&released).contains("held -> queued"), "{}{}", out(&released), err(&released));
    scene.until("SOXS_GOOD", "confirmed");
    assert!(scene.is_archived("SOXS_GOOD_1D.fits"));

    let refused = scene.soxsd(&["release", "SOXS_BAD_1D.fits", "--who", "maria"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(err(&refused).contains("fails Phase 3 validation"), "{}", err(&refused));
    let story = out(&scene.soxsd(&["why", "SOXS_BAD_1D.fits"]));
    assert!(story.contains("K037 NCOMBINE: found 0"), "{story}");
    assert!(!scene.is_archived("SOXS_BAD_1D.fits"));

    let unsaid = scene.soxsd(&["withdraw", "SOXS_GOOD_1D.fits", "--who", "maria"]);
    assert!(!unsaid.status.success() && err(&unsaid).contains("a reason"), "{}", err(&unsaid));
    let withdrawn = scene.soxsd(&["withdraw", "SOXS_GOOD_1D.fits", "--who", "maria", "--why", "wrong target"]);
    assert!(out(&withdrawn).contains("ask for its removal there"), "{}{}", out(&withdrawn), err(&withdrawn));
    assert_eq!(scene.until("SOXS_GOOD", "cancelled")["class"], "withdrawn");
    let story = out(&scene.soxsd(&["why", "SOXS_GOOD_1D.fits"]));
    assert!(story.contains("withdrawn (withdraw by maria: wrong target)"), "{story}");
    let acts: Vec<serde_json::Value> =
        serde_json::from_slice(&scene.soxsd(&["acts", "--json"]).stdout).expect("a journal");
    let told: Vec<(&str, &str)> =
        acts.iter().map(|act| (act["act"].as_str().unwrap_or(""), act["why"].as_str().unwrap_or(""))).collect();
    assert_eq!(told, [("withdraw", "wrong target"), ("release", "approved by ESO")]);
}

#[test]
fn calibrations_wait_too_when_the_gate_is_for_them() {
    let scene = Scene::set("gated = [\"CALIB\"]");
    let _daemon = scene.start();
    let row = scene.until("MBIAS", "held");
    assert_eq!((row["class"].as_str(), row["attempts"].as_i64()), (Some("gate"), Some(0)));
    assert!(row["error"].as_str().is_some_and(|why| why.contains("release.gatekeeper")), "{row}");
}
