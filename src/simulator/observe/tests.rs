use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use super::*;
use crate::simulator::plan::SHIPPED;

/// A clock that jumps to whatever is waited for, and writes down how long the files were then.
struct Jumping<'a> {
    now: Cell<Duration>,
    folder: &'a Path,
    seen: RefCell<Vec<(f64, Vec<u64>)>>,
}

impl Jumping<'_> {
    fn new(folder: &Path) -> Jumping<'_> {
        Jumping { now: Cell::new(Duration::ZERO), folder, seen: RefCell::default() }
    }
}

impl Timer for Jumping<'_> {
    fn elapsed(&self) -> Duration {
        self.now.get()
    }

    fn wait_until(&self, due: Duration, _: &dyn Fn() -> bool) {
        if due > self.now.get() {
            let lengths = listing(self.folder).into_values().map(|bytes| bytes.len() as u64).collect();
            self.seen.borrow_mut().push((self.now.get().as_secs_f64(), lengths));
            self.now.set(due);
        }
    }
}

fn listing(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(listing(&path));
        } else {
            found.insert(
                path.file_name().expect("a name").to_string_lossy().into_owned(),
                fs::read(&path).expect("read"),
            );
        }
    }
    found
}

/// A plan of small VIS biases with these faults.
fn biases(frames: u32, faults: &str) -> Plan {
    let text = format!(
        "title = \"t\"\nstart = \"2026-03-10T18:00:00Z\"\nseed = 3\n[[template]]\nkind = \"bias\"\narm = \"VIS\"\n\
         frames = {frames}\nbinning = \"2x2\"\ngap = 0\nfaults = [{faults}]\n"
    );
    Plan::parse("t", &text).unwrap_or_else(|error| panic!("{error}"))
}

struct Run {
    _folder: tempfile::TempDir,
    out: PathBuf,
    truth: PathBuf,
    options: Options,
}

fn run() -> Run {
    let folder = tempfile::tempdir().expect("a folder");
    let (out, truth) = (folder.path().join("raw"), folder.path().join("truth"));
    let options = Options { out: out.clone(), truth: truth.clone(), threads: 1, ..Options::default() };
    Run { _folder: folder, out, truth, options }
}

impl Run {
    fn observe(&self, plan: &Plan) -> Result<Summary, SimError> {
        observe(plan, &self.options, &Jumping::new(&self.out), &|| false, &mut |_| {})
    }

    fn record(&self, name: &str) -> Value {
        let path = self.truth.join("frames").join(name.replace(".fits", ".json"));
        serde_json::from_slice(&fs::read(path).expect("a record")).expect("JSON")
    }
}

#[test]
fn frames_and_their_truth_land_and_the_summary_counts_them() {
    let mut run = run();
    run.options.expected = true;
    let summary = run.observe(&biases(3, "")).expect("observed");
    assert_eq!((summary.frames, summary.kept, summary.interrupted), (3, 0, false));
    let frames = listing(&run.out);
    assert_eq!(frames.len(), 3);
    assert_eq!(frames.values().map(|bytes| bytes.len() as u64).sum::<u64>(), summary.bytes);
    for name in frames.keys() {
        scan(&run.out.join(name), &ScanLimits::default()).expect("complete");
        let record = run.record(name);
        assert_eq!(record["name"], name.as_str());
        assert_eq!(record["bytes"], frames[name].len());
        assert_eq!((&record["detector"]["gain"], &record["kind"]), (&0.6.into(), &"bias".into()));
        assert_eq!(record["faults"], Value::Array(Vec::new()));
        let planes = crate::fits::read_planes(&run.truth.join("expected").join(name)).expect("expected electrons");
        assert_eq!(planes.len(), 2);
    }
    let csv = fs::read_to_string(run.truth.join("frames.csv")).expect("a list");
    assert_eq!(csv.lines().count(), 4);
    let night: Value = serde_json::from_slice(&fs::read(run.truth.join("night.json")).expect("a night")).expect("JSON");
    assert_eq!((&night["frames"], &night["night"]["seeds"]["night"]), (&3.into(), &3.into()));
    assert_eq!(night["detectors"].as_array().map(Vec::len), Some(1));
}

#[test]
fn the_same_plan_gives_the_same_bytes_on_any_number_of_threads() {
    let plan = biases(3, "");
    let bytes = [1, 3].map(|threads| {
        let mut run = run();
        run.options.threads = threads;
        run.observe(&plan).expect("observed");
        (listing(&run.out), listing(&run.truth))
    });
    assert!(bytes[0] == bytes[1]);
}

#[test]
fn frames_that_are_there_are_an_error_or_kept() {
    let mut run = run();
    let plan = biases(4, "");
    run.observe(&plan).expect("observed");
    let whole = (listing(&run.out), listing(&run.truth));
    let names: Vec<&String> = whole.0.keys().collect();
    assert!(matches!(run.observe(&plan), Err(SimError::Exists { .. })));
    fs::remove_file(run.out.join(names[1])).expect("removed");
    fs::write(run.out.join(names[2]), &whole.0[names[2]][..5000]).expect("cut");
    run.options.resume = true;
    let summary = run.observe(&plan).expect("resumed");
    assert_eq!((summary.frames, summary.kept), (2, 2));
    assert!((listing(&run.out), listing(&run.truth)) == whole, "as if it had not been interrupted");
}

#[test]
fn at_a_pace_files_grow_while_the_detector_is_read() {
    let mut run = run();
    run.options.pace = Some(10.0);
    let timer = Jumping::new(&run.out);
    observe(&biases(2, ""), &run.options, &timer, &|| false, &mut |_| {}).expect("observed");
    // The binned window is read in 15 s; the second exposure starts 2 ms later.
    assert!((timer.elapsed().as_secs_f64() - 3.0002).abs() < 1e-3, "{:?}", timer.elapsed());
    let seen = timer.seen.borrow();
    let whole = listing(&run.out).values().next().map(|bytes| bytes.len() as u64).expect("a frame");
    let halfway = seen.iter().find(|(time, _)| *time > 0.7).expect("looked at");
    assert!(halfway.1[0] > whole / 4 && halfway.1[0] < whole, "{halfway:?} of {whole}");
    assert!(seen.iter().filter(|(time, _)| *time < 1.49).all(|(_, lengths)| lengths.len() < 2));
    assert!(seen.windows(2).all(|pair| pair[0].1.iter().sum::<u64>() <= pair[1].1.iter().sum()));
}

#[test]
fn a_stopped_night_leaves_no_half_frame() {
    let mut run = run();
    run.options.pace = Some(1.0);
    let timer = Jumping::new(&run.out);
    // The second frame is half way when somebody loses patience.
    let deadline = Duration::from_secs(20);
    let seen_time = std::sync::Mutex::new(Duration::ZERO);
    struct Told<'a>(&'a Jumping<'a>, &'a std::sync::Mutex<Duration>);
    impl Timer for Told<'_> {
        fn elapsed(&self) -> Duration {
            self.0.elapsed()
        }
        fn wait_until(&self, due: Duration, stop: &dyn Fn() -> bool) {
            self.0.wait_until(due, stop);
            *self.1.lock().expect("one thread") = self.0.elapsed();
        }
    }
    let told = Told(&timer, &seen_time);
    let stop = || *seen_time.lock().expect("one thread") >= deadline;
    let summary = observe(&biases(4, ""), &run.options, &told, &stop, &mut |_| {}).expect("stopped well");
    assert!(summary.interrupted);
    assert_eq!(summary.frames, 1);
    let names = listing(&run.out);
    assert_eq!(names.len(), 1, "{:?}", names.keys());
    scan(&run.out.join(names.keys().next().expect("one")), &ScanLimits::default()).expect("whole");
}

#[test]
fn a_file_that_is_written_slowly_takes_its_time_without_a_pace_too() {
    let run = run();
    let plan = biases(2, "{ frame = 1, fault = { written-slowly = { seconds = 8, pieces = 5 } } }");
    let timer = Jumping::new(&run.out);
    observe(&plan, &run.options, &timer, &|| false, &mut |_| {}).expect("observed");
    assert_eq!(timer.elapsed(), Duration::from_secs(8));
    let lengths: Vec<u64> = timer.seen.borrow().iter().map(|(_, lengths)| lengths[0]).collect();
    assert_eq!(lengths.len(), 4);
    assert!(lengths.windows(2).all(|pair| pair[0] < pair[1]), "{lengths:?}");
    for name in listing(&run.out).keys() {
        scan(&run.out.join(name), &ScanLimits::default()).expect("whole in the end");
    }
}

#[test]
fn faults_of_files_and_headers_are_in_the_files_and_named_in_the_truth() {
    let plan = Plan::load("faults").expect("shipped");
    // Templates of the file and the header: the first three.
    let mut small = plan.clone();
    small.night.templates.truncate(3);
    let run = run();
    run.observe(&small).expect("observed");
    let files = listing(&run.out);
    let exposures = small.night.exposures().expect("valid");
    assert_eq!(files.len(), exposures.len());
    let whole = files.values().map(Vec::len).max().expect("frames");
    let mut seen = 0;
    for exposure in &exposures {
        let bytes = &files[&exposure.name];
        let header = scan(&run.out.join(&exposure.name), &ScanLimits::default());
        let text = |keyword: &str| {
            header
                .as_ref()
                .ok()
                .and_then(|scan| scan.primary().get(keyword))
                .map(ToString::to_string)
                .unwrap_or_default()
        };
        let record = run.record(&exposure.name);
        let told = record["faults"].as_array().expect("a list").clone();
        assert_eq!(told.len(), exposure.faults.len());
        for (fault, told) in exposure.faults.iter().zip(told) {
            assert_eq!(told, serde_json::to_value(fault).expect("JSON"));
            seen += 1;
            let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
            let there = match fault {
                Fault::CutShort { fraction } => bytes.len() == (whole as f64 * fraction) as usize && header.is_err(),
                Fault::WrittenSlowly { .. } => bytes.len() == whole && header.is_ok(),
                Fault::Empty => bytes.is_empty(),
                Fault::Garbage => header.is_err() && bytes.len() == whole,
                Fault::HeaderMissing => !holds(b"SIMPLE  ="),
                Fault::KeywordMissing { keyword } => header.is_ok() && text(keyword).is_empty(),
                Fault::WrongArm => text("ESO SEQ ARM") == "NIR" && exposure.arm == Arm::Vis,
                Fault::SwappedGain => text("ESO DET OUT1 GAIN") == "0.6" && text("ESO DET OUT1 CONAD") != "0.6",
                Fault::NanValue { .. } => holds(b"MJD-OBS = NaN "),
                Fault::NonAscii { .. } => bytes[..5760].iter().any(|byte| *byte > 0x7e),
                Fault::ClockJump { seconds } => {
                    let claimed: jiff::Timestamp = format!("{}Z", text("DATE-OBS")).parse().expect("a time");
                    let off = claimed.duration_since(exposure.start).as_secs_f64();
                    off == *seconds && exposure.name.contains(&text("DATE-OBS"))
                }
                Fault::DuplicateId => exposures.iter().any(|other| {
                    other.name != exposure.name && other.header.get("ARCFILE") == exposure.header.get("ARCFILE")
                }),
                Fault::WrongValue { keyword, value } => text(keyword) == value.to_string(),
                Fault::WrongLamp { .. } => {
                    text("ESO INS THAR NAME") == "ThAr_Lamp" && text("ESO INS QTH NAME").is_empty()
                }
                Fault::WrongSlit { slit } => text("ESO INS VISE NAME") == *slit && exposure.slit == "SLIT1.0",
                other => panic!("{other:?} is no fault of file or header"),
            };
            assert!(there, "{fault:?} in {}", exposure.name);
        }
    }
    assert_eq!(seen, 17);
    assert!(fs::read_to_string(run.truth.join("frames.csv")).expect("a list").contains(",cut-short\n"));
}

#[test]
fn faults_of_the_light_change_what_is_asked_of_the_instrument_and_nothing_else() {
    let exposures = Plan::load("faults").expect("shipped").night.exposures().expect("valid");
    let with = |name: &str| -> Vec<&Exposure> {
        exposures.iter().filter(|exposure| exposure.faults.iter().any(|fault| fault.name() == name)).collect()
    };
    let level = |exposure: &Exposure| exposure.lamps.iter().map(|lit| lit.level).collect::<Vec<_>>();
    let off = with("lamp-off");
    assert!(off.len() == 2 && off.iter().all(|exposure| exposure.lamps.is_empty()));
    assert!(
        off.iter().all(|exposure| exposure
            .header
            .cards()
            .iter()
            .any(|card| card.keyword.ends_with("THAR NAME") || card.keyword.ends_with("QTH NAME"))),
        "the header does not know"
    );
    assert_eq!(with("lamp-failing").len(), 3, "from the third frame on");
    assert!(with("lamp-failing").iter().all(|exposure| level(exposure) == [0.3]));
    assert_eq!(level(with("saturated-arc")[0]), [300.0]);
    assert_eq!(with("lamp-dead")[0].lamps.len(), 3);
    assert_ne!(with("shutter-stuck")[0].shutter, with("shutter-stuck")[1].shutter);
    assert!(with("blank-field").iter().all(|exposure| exposure.sources.is_empty()));
    assert_eq!(with("crowded-slit")[0].sources.len(), 7);
    assert_eq!(with("off-slit")[0].sources[0].across, 3.0);
    assert_eq!(with("trace-at-edge")[0].sources[0].along, 5.7);
    assert_eq!(with("very-faint")[0].sources[0].magnitude, Some(20.0));
    assert_eq!(with("very-bright")[0].sources[0].magnitude, Some(4.0));
    assert_eq!(with("cloud").iter().map(|exposure| exposure.conditions.cloud).collect::<Vec<_>>(), [4.0, 2.5, 2.5]);
    assert_eq!(with("defocus")[0].defocus, 4.0);
    assert_eq!(with("slipped-mask")[0].mask_shift, 4.0);
    let moved: Vec<bool> =
        exposures.iter().filter(|exposure| exposure.arm == Arm::Nir).map(|e| e.flexure.shift == [3.0, -2.0]).collect();
    assert_eq!(moved, [false, false, false, false, true, true, true, true, true], "the jump lasts");
    let aborted = with("aborted")[0];
    assert_eq!((aborted.exptime, aborted.header.integer("ESO TPL NEXP"), aborted.expno), (3.0, Ok(4), 3));
    assert_eq!(aborted.header.real("EXPTIME"), Ok(3.0));
    assert!(!exposures.iter().any(|e| e.template == aborted.template && e.expno == 4), "the template ends there");
}

#[test]
fn one_effect_can_have_a_seed_of_its_own() {
    let with = |seeds: &str| {
        let text = SHIPPED[1].text.replacen("seed = 1\n", &format!("seed = 1\n[seeds]\n{seeds}\n"), 1);
        let plan = Plan::parse("t", &text).unwrap_or_else(|error| panic!("{error}"));
        let exposure = plan.night.exposures().expect("valid").remove(0);
        Painter::new(&plan.night).expect("known spectra").paint(&exposure).expect("drawn")
    };
    let (usual, other) = (with(""), with("offset = 99"));
    assert_ne!(usual.truth.offset, other.truth.offset);
    assert_eq!(usual.truth.hot, other.truth.hot);
    assert_eq!(usual.truth.cosmics, other.truth.cosmics);
}
