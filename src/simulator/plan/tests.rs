use std::collections::BTreeMap;

use super::*;
use crate::instrument::{Arm, Classification, Usage};
use crate::simulator::faults::Level;
use crate::simulator::{Exposure, FrameKind};

fn shipped(name: &str) -> (Plan, Vec<Exposure>) {
    let plan = Plan::load(name).unwrap_or_else(|error| panic!("{error}"));
    let exposures = plan.night.exposures().expect("checked when it was loaded");
    (plan, exposures)
}

/// Frames of calibrations, science and the camera's pictures, by the category of their headers.
fn categories(exposures: &[Exposure]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for exposure in exposures {
        let catg = exposure.header.text("ESO DPR CATG").expect("a category");
        let camera = exposure.arm == Arm::Acq && catg != "CALIB";
        *counts.entry(if camera { "CAMERA" } else { catg }.to_string()).or_default() += 1;
    }
    counts
}

#[test]
fn the_full_night_has_as_many_frames_as_a_real_one() {
    let (_, exposures) = shipped("full");
    let expected = [("CALIB", 183), ("CAMERA", 10), ("SCIENCE", 15)].map(|(catg, n)| (catg.to_string(), n));
    assert_eq!(categories(&exposures), BTreeMap::from(expected));
    let kinds: BTreeSet<FrameKind> = exposures.iter().map(|exposure| exposure.kind).collect();
    assert_eq!(kinds.len(), 18, "all but the stare of a telluric standard: {kinds:?}");
    assert!(exposures.iter().all(|exposure| exposure.faults.is_empty()));
    // Every DIT of the infrared frames has its darks.
    let darks: BTreeSet<i64> = exposures
        .iter()
        .filter(|exposure| exposure.arm == Arm::Nir && exposure.kind == FrameKind::Dark)
        .map(|exposure| exposure.exptime as i64)
        .collect();
    assert_eq!(darks, BTreeSet::from([2, 5, 10, 15, 60, 120, 300, 600, 900]));
    for exposure in exposures.iter().filter(|exposure| exposure.arm == Arm::Nir) {
        assert!(darks.contains(&(exposure.exptime as i64)), "{} s", exposure.exptime);
    }
}

#[test]
fn every_shipped_plan_loads_and_has_names_of_its_own() {
    let counts: Vec<(&str, usize)> = SHIPPED.iter().map(|plan| (plan.name, shipped(plan.name).1.len())).collect();
    assert_eq!(counts, [("full", 208), ("quick", 39), ("extreme", 105), ("faults", 55), ("missing", 27), ("demo", 52)]);
    for plan in &SHIPPED {
        let (_, exposures) = shipped(plan.name);
        let names: BTreeSet<&str> = exposures.iter().map(|exposure| exposure.name.as_str()).collect();
        assert_eq!(names.len(), exposures.len(), "{}", plan.name);
        let numbers: BTreeSet<u64> = exposures.iter().map(|exposure| exposure.number).collect();
        assert_eq!(numbers.len(), exposures.len(), "{}", plan.name);
    }
}

#[test]
fn every_frame_without_faults_is_taken_for_what_it_is() {
    let rules = Classification::builtin().expect("valid rules");
    for plan in &SHIPPED {
        for exposure in shipped(plan.name).1.iter().filter(|exposure| exposure.faults.is_empty()) {
            let meta = rules
                .classify(&exposure.name, &exposure.header, exposure.shape(), exposure.bitpix(), exposure.start)
                .unwrap_or_else(|error| panic!("{} {}: {error}", plan.name, exposure.name));
            assert_eq!(meta.warnings, Vec::<String>::new(), "{} {:?}", plan.name, exposure.kind);
            let (kind, recipe) = expected(exposure);
            assert_eq!((meta.kind.as_str(), meta.recipe.as_deref()), (kind, recipe), "{:?}", exposure.kind);
            // VIS darks can be reduced by hand, but are not part of the cascade.
            assert_eq!(meta.usage == Usage::Reduce, recipe.is_some() && kind != "vis_dark");
            assert_eq!(format!("{}.fits", meta.data_id), exposure.name);
        }
    }
}

/// Kind and recipe of the classification.
fn expected(exposure: &Exposure) -> (&'static str, Option<&'static str>) {
    use FrameKind::*;
    match (exposure.kind, exposure.arm) {
        (Bias, Arm::Acq) => ("acq_bias", None),
        (Bias, _) => ("bias", Some("mbias")),
        (Dark, Arm::Acq) => ("acq_dark", None),
        (Dark, Arm::Vis) => ("vis_dark", Some("mdark")),
        (Dark, Arm::Nir) => ("dark", Some("mdark")),
        (PinholeArc, _) => ("pinhole_arc", Some("disp_solution")),
        (PinholeFlat, _) => ("pinhole_flat", Some("order_centres")),
        (SlitFlat, _) => ("slit_flat", Some("mflat")),
        (DeuteriumFlat, _) => ("d2_flat", Some("d2_flat")),
        (LampOff, _) if exposure.header.text("ESO DPR TYPE") == Ok("LAMP,WAVE") => ("arc_lamp_off", None),
        (LampOff, _) if exposure.header.text("ESO INS NISE NAME").is_ok_and(|slit| slit.contains("PIN")) => {
            ("pinhole_lamp_off", None)
        }
        (LampOff, _) => ("lamp_off", Some("lamp_off")),
        (MultiPinholeArc, _) => ("multi_pinhole_arc", Some("spat_solution")),
        (SlitArc, _) => ("slit_arc", None),
        (StandardStare | TelluricStare, _) => ("standard_stare", Some("stare_std")),
        (StandardNod | TelluricNod, _) => ("standard_nod", Some("nod_std")),
        (ObjectStare, _) => ("object_stare", Some("stare")),
        (ObjectNod, _) => ("object_nod", Some("nod")),
        (ObjectOffset, _) => ("object_offset", Some("offset")),
        (TwilightFlat, _) => ("acq_flat", None),
        (Acquisition | Imaging, _) => ("acq_image", None),
    }
}

#[test]
fn the_plan_of_faults_has_them_all() {
    let (_, exposures) = shipped("faults");
    let found: BTreeSet<String> =
        exposures.iter().flat_map(|exposure| exposure.faults.iter().map(|fault| fault.name())).collect();
    let all = [
        "aborted",
        "blank-field",
        "clock-jump",
        "cloud",
        "crowded-slit",
        "cut-short",
        "defocus",
        "duplicate-id",
        "empty",
        "flexure-jump",
        "garbage",
        "header-missing",
        "keyword-missing",
        "lamp-dead",
        "lamp-failing",
        "lamp-off",
        "nan-value",
        "non-ascii",
        "off-slit",
        "saturated-arc",
        "shutter-stuck",
        "slipped-mask",
        "swapped-gain",
        "trace-at-edge",
        "very-bright",
        "very-faint",
        "written-slowly",
        "wrong-arm",
        "wrong-lamp",
        "wrong-slit",
        "wrong-value",
    ];
    assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), all);
    let levels: BTreeSet<Level> =
        exposures.iter().flat_map(|exposure| exposure.faults.iter().map(|fault| fault.level())).collect();
    assert_eq!(levels.len(), 4);
    assert!(!shipped("missing").0.lacks.is_empty());
}

/// The message for a plan in which one line was put in the place of another.
fn refused(from: &str, to: &str) -> String {
    let text = "title = \"t\"\nstart = \"2026-03-10T18:00:00Z\"\n\n[conditions]\nseeing = 1\n\n[[target]]\nname = \"A\"\n\
                ra = 150\ndec = -25\nspectrum = \"template:blue-transient\"\n\n[[template]]\nkind = \"bias\"\narm = \"VIS\"\n\
                frames = 2\n\n[[template]]\nkind = \"object-nod\"\narm = \"NIR\"\nexptime = 60\nobject = \"A\"\n\
                not_before = \"2026-03-11T02:00:00Z\"\n";
    assert!(text.contains(from), "{from}");
    Plan::parse("p.toml", text).expect("valid as it is");
    Plan::parse("p.toml", &text.replacen(from, to, 1)).expect_err("wrong").to_string()
}

#[test]
fn what_is_wrong_is_told_with_file_line_key_value_and_remedy() {
    let told = [
        refused("frames = 2", "framse = 2"),
        refused("kind = \"bias\"", "kind = \"bais\""),
        refused("frames = 2", "frames = 0"),
        refused("frames = 2", "frames = 2\nbinning = \"3by1\""),
        refused("frames = 2", "frames = 2\nbinning = \"3x1\""),
        refused("frames = 2", "frames = 2\nslit = \"SLIT1.0\""),
        refused("frames = 2", "frames = 2\nfilter = \"r\""),
        refused("frames = 2", "frames = 2\nfaults = [{ fault = \"lamp-off\" }]"),
        refused("frames = 2", "frames = 2\nfaults = [{ frame = 3, fault = \"empty\" }]"),
        refused("frames = 2", "frames = 2\nfaults = [{ fault = { cut-short = { fraction = 1.5 } } }]"),
        refused("frames = 2", "frames = 2\nfaults = [{ fault = { nan-value = { keyword = \"ESO NO SUCH\" } } }]"),
        refused(
            "frames = 2",
            "frames = 2\nfaults = [{ fault = { wrong-value = { keyword = \"NAXIS1\", value = 1 } } }]",
        ),
        refused("frames = 2", "frames = 2\nfaults = [{ fault = { wrong-value = { keyword = \"RA\", value = nan } } }]"),
        refused("frames = 2", "frames = 2\nfaults = [{ frame = 1, fault = \"duplicate-id\" }]"),
        refused("seeing = 1", "seeing = nan"),
        refused("ra = 150", "ra = 450"),
        refused("spectrum = \"template:blue-transient\"", "spectrum = \"transient\""),
        refused("exptime = 60\n", ""),
        refused("object = \"A\"", "object = \"B\""),
        refused("object = \"A\"", "object = \"A\"\nthrow = 40"),
        refused("2026-03-11T02", "2026-03-11T14"),
        refused("start = \"2026-03-10T18:00:00Z\"", "start = \"yesterday\""),
    ];
    let expected = [
        "p.toml:16: unknown field `framse`, expected one of `kind`, `arm`, `exptime`, `frames`, `off`, `nexp`, `gap`, \
         `not_before`, `read_mode`, `binning`, `slit`, `lamps`, `filter`, `attenuated`, `asynchronous`, `object`, `throw`, \
         `jitter`, `offset`, `block`, `conditions`, `faults`",
        "p.toml:14: kind = \"bais\": unknown variant `bais`, expected one of `bias`, `dark`, `pinhole-arc`, `pinhole-flat`, `slit-flat`, \
         `deuterium-flat`, `lamp-off`, `multi-pinhole-arc`, `slit-arc`, `standard-stare`, `standard-nod`, \
         `telluric-stare`, `telluric-nod`, `object-stare`, `object-nod`, `object-offset`, `acquisition`, `twilight-flat`, \
         `imaging`",
        "p.toml:16: template 1 (bias in VIS): frames = 0: give 1 to 10000",
        "p.toml:17: template 1 (bias in VIS): binning = \"3by1\": give \"1x1\", \"2x1\" or \"2x2\"",
        "p.toml:13: template 1 (bias in VIS): binning 3x1, expected 1x1, 2x1 or 2x2",
        "p.toml:17: template 1 (bias in VIS): slit = \"SLIT1.0\": leave it out: this kind has a mask of its own, or none",
        "p.toml:17: template 1 (bias in VIS): filter = \"r\": leave it out: only the camera (ACQ) has filters",
        "p.toml:13: template 1 (bias in VIS): fault lamp-off: it needs a frame with lamps",
        "p.toml:13: template 1 (bias in VIS): fault empty of frame 3: the template has frames 1 to 2",
        "p.toml:13: template 1 (bias in VIS): fault cut-short: fraction = 1.5: give 0.001 to 0.999",
        "p.toml:13: template 1 (bias in VIS): fault nan-value: the header of frame 1 has no ESO NO SUCH",
        "p.toml:13: template 1 (bias in VIS): fault wrong-value: keyword = \"NAXIS1\": this card follows from the pixels; \
         use cut-short or garbage",
        "p.toml:13: template 1 (bias in VIS): fault wrong-value: value = NaN: give what a card can hold, or use nan-value \
         or non-ascii",
        "p.toml:13: template 1 (bias in VIS): duplicate-id: there is no frame before this one in its arm",
        "p.toml:5: conditions: seeing = NaN: give arcsec, 0.2 to 10",
        "p.toml:9: target 1 (A): ra = 450: give degrees, 0 to 360",
        "p.toml:11: target 1 (A): spectrum = \"transient\": give standard:NAME, template:NAME or table:FILE",
        "p.toml:18: template 2 (object-nod in NIR): exptime = nothing: give seconds; only biases have none",
        "p.toml:22: template 2 (object-nod in NIR): object = \"B\": give the name of a [[target]] of this plan: A",
        "p.toml:23: template 2 (object-nod in NIR): throw = 40: give arcsec, 0 to 20",
        "p.toml:18: template 2 (object-nod in NIR): A stands at -32 degrees at 2026-03-11T14:00:00.002: the telescope \
         follows down to 20; move the template with not_before, or choose another target",
        "p.toml:2: start = \"yesterday\": failed to parse four digit integer as year: invalid digit, expected 0-9 but got y",
    ];
    for (told, expected) in told.iter().zip(expected) {
        assert_eq!(told, expected);
    }
}

#[test]
fn a_plan_that_is_not_there_names_those_that_are() {
    let error = Plan::load("fulll").expect_err("no such plan");
    assert_eq!(
        error.to_string(),
        "there is no plan \"fulll\", neither as a file nor among the shipped ones (full, quick, extreme, faults, missing, demo)"
    );
}
