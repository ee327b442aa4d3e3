use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::fault::Classified;
use crate::fits::Value;
use crate::instrument::{Arm, Binning, Usage};

const NAME: &str = "SOXS.2026-03-10T19:00:42.000.fits";
const VIS: (usize, usize) = (4096, 908);
const NIR: (usize, usize) = (2048, 2048);
const ACQ: (usize, usize) = (1024, 1024);

fn now() -> Timestamp {
    "2026-03-11T12:00:00Z".parse().expect("a time")
}

fn builtin() -> Classification {
    Classification::builtin().expect("the built-in rules are valid")
}

/// A header as the instrument writes it for this arm; `lamps` separated by blanks.
fn header(arm: &str, catg: &str, dpr_type: &str, tech: &str, slit: &str, lamps: &str) -> Header {
    let mut header = Header::new();
    let mut set = |keyword: &str, value: Value| header.set(keyword, value, "");
    set("INSTRUME", "SOXS".into());
    set("OBJECT", dpr_type.into());
    set("DATE-OBS", "2026-03-10T19:00:42.000".into());
    set("MJD-OBS", 61_109.792_152_78.into());
    set("ESO DPR CATG", catg.into());
    set("ESO DPR TYPE", dpr_type.into());
    set("ESO DPR TECH", tech.into());
    set("ESO OBS ID", 4_100_001_i64.into());
    set("ESO OBS NAME", "Calibration".into());
    set("ESO OBS PROG ID", "60.A-9999(Z)".into());
    set("ESO TPL ID", "SOXS_gen_cal".into());
    set("ESO TPL NAME", "a template".into());
    set("ESO TPL START", "2026-03-10T19:00:40".into());
    set("ESO TPL EXPNO", 2_i64.into());
    set("ESO TPL NEXP", 5_i64.into());
    set("ESO INS TEMP301 VAL", 12.4.into());
    set("ESO INS ACFW ID", "r".into());
    let exptime = if dpr_type == "BIAS" { 0.0 } else { 10.0 };
    if arm == "ACQ" {
        set("ESO DET3 CAM NAME", "ACQ".into());
        set("ESO DET3 EXPO TIME", exptime.into());
        return header;
    }
    set("ESO SEQ ARM", arm.into());
    set("EXPTIME", exptime.into());
    if arm == "VIS" {
        set("ESO INS VISE NAME", slit.into());
        set("ESO INS TEMP104 VAL", 153.2.into());
        set("ESO DET BINX", 1_i64.into());
        set("ESO DET BINY", 1_i64.into());
        set("ESO DET READ CURID", 1_i64.into());
        set("ESO DET OUT1 CONAD", 0.6.into());
        set("ESO DET OUT1 GAIN", 1.666_667.into());
        set("ESO DET OUT1 RON", 2.8.into());
    } else {
        set("ESO INS NISE NAME", slit.into());
        set("ESO INS TEMP217 VAL", 40.1.into());
        set("ESO DET READ CURID", 3_i64.into());
    }
    for lamp in lamps.split_whitespace() {
        set(&format!("ESO INS {lamp} NAME"), format!("{lamp}_Lamp").into());
    }
    header
}

fn vis_bias() -> Header {
    header("VIS", "CALIB", "BIAS", "IMAGE", "SLIT1.0", "")
}

fn nir_dark() -> Header {
    header("NIR", "CALIB", "DARK", "IMAGE", "BLANK", "")
}

fn vis_flat() -> Header {
    header("VIS", "CALIB", "LAMP,FLAT", "ECHELLE,SLIT", "SLIT1.0", "QTH")
}

fn shape_of(header: &Header) -> ((usize, usize), i64) {
    let stated = header.get("ESO SEQ ARM").map(Value::to_string);
    match stated.as_deref().and_then(Arm::parse) {
        Some(Arm::Nir) => (NIR, -32),
        Some(Arm::Vis) => (VIS, 16),
        _ => (ACQ, 16),
    }
}

fn classify(header: &Header) -> Result<FrameMeta, ClassifyError> {
    let (shape, bitpix) = shape_of(header);
    builtin().classify(NAME, header, shape, bitpix, now())
}

fn good(header: &Header) -> FrameMeta {
    classify(header).expect("the frame is usable")
}

/// The frame is usable, and exactly one remark contains this text.
fn warned(header: &Header, part: &str) -> FrameMeta {
    let meta = good(header);
    assert_eq!(meta.warnings.len(), 1, "{:?}", meta.warnings);
    assert!(meta.warnings[0].contains(part), "{:?} does not say {part:?}", meta.warnings);
    meta
}

/// The frame is refused, as bad input, with a message that contains all of these.
fn refused(header: &Header, parts: &[&str]) -> ClassifyError {
    let error = classify(header).expect_err("the frame is not usable");
    assert_eq!(error.class(), FaultClass::BadInput);
    for part in parts {
        assert!(error.to_string().contains(part), "{error} does not say {part:?}");
    }
    error
}

fn with(mut header: Header, keyword: &str, value: impl Into<Value>) -> Header {
    header.set(keyword, value, "");
    header
}

fn without(mut header: Header, keyword: &str) -> Header {
    header.remove(keyword);
    header
}

/// Arm, category, type, technique, slit, lamps, and then: kind, usage, recipe.
const FRAME_TYPES: &str = "
VIS CALIB BIAS IMAGE SLIT1.0 - bias reduce mbias
VIS CALIB DARK IMAGE BLANK - vis_dark register mdark
VIS CALIB LAMP,WAVE ECHELLE,PINHOLE PINHOLE THAR pinhole_arc reduce disp_solution
VIS CALIB WAVE,LAMP ECHELLE,PINHOLE PINHOLE THAR pinhole_arc reduce disp_solution
VIS CALIB LAMP,WAVE ECHELLE,PINHOLE PINHOLE XENO arc_wrong_lamp ignore -
VIS CALIB LAMP,WAVE ECHELLE,PINHOLE PINHOLE ARGO+MERC+NEON+XENO arc_wrong_lamp ignore -
VIS CALIB LAMP,FLAT ECHELLE,PINHOLE PINHOLE QTH pinhole_flat reduce order_centres
VIS CALIB LAMP,FLAT ECHELLE,SLIT SLIT1.0 QTH slit_flat reduce mflat
VIS CALIB LAMP,QFLAT ECHELLE,SLIT SLIT1.0 QTH slit_flat reduce mflat
VIS CALIB LAMP,DFLAT ECHELLE,SLIT SLIT1.0 DEUT d2_flat reduce d2_flat
VIS CALIB LAMP,FLAT ECHELLE,SLIT SLIT1.0 DEUT d2_flat reduce d2_flat
VIS CALIB LAMP,QFLAT ECHELLE,SLIT SLIT1.0 DEUT flat_wrong_lamp ignore -
VIS CALIB LAMP,DFLAT ECHELLE,PINHOLE PINHOLE DEUT d2_elsewhere ignore -
NIR CALIB LAMP,DFLAT ECHELLE,SLIT SLIT1.0 DEUT d2_elsewhere ignore -
VIS CALIB DOME,FLAT ECHELLE,SLIT SLIT1.0 - dome_flat ignore -
VIS CALIB LAMP,FLAT ECHELLE,SLIT BLANK QTH blank_flat ignore -
VIS CALIB LAMP,FLAT ECHELLE,SLIT UNDEFINED QTH undefined_slit ignore -
VIS CALIB LAMP,WAVE ECHELLE,MULTI-PINHOLE MULTPIN THAR multi_pinhole_arc reduce spat_solution
VIS CALIB LAMP,WAVE ECHELLE,SLIT SLIT1.0 THAR slit_arc register -
NIR CALIB DARK IMAGE BLANK - dark reduce mdark
NIR CALIB BIAS IMAGE BLANK - nir_bias ignore -
NIR CALIB LAMP,WAVE ECHELLE,PINHOLE PINHOLE ARGO+MERC+NEON+XENO pinhole_arc reduce disp_solution
NIR CALIB LAMP,WAVE ECHELLE,PINHOLE PINHOLE ARGO pinhole_arc reduce disp_solution
NIR CALIB LAMP,WAVE ECHELLE,PINHOLE PINHOLE THAR arc_wrong_lamp ignore -
NIR CALIB LAMP,WAVE IMAGE PINHOLE - arc_lamp_off register -
NIR CALIB LAMP,FLAT ECHELLE,PINHOLE PINHOLE QTH pinhole_flat reduce order_centres
NIR CALIB LAMP,FLAT IMAGE PINHOLE - pinhole_lamp_off register -
NIR CALIB LAMP,FLAT ECHELLE,SLIT SLIT1.0 QTH slit_flat reduce mflat
NIR CALIB LAMP,FLAT IMAGE SLIT1.0 - lamp_off reduce lamp_off
NIR CALIB FLAT,LAMP IMAGE SLIT1.0 - lamp_off reduce lamp_off
NIR CALIB LAMP,FLAT IMAGE SLIT1.0 QTH lamp_on_image register -
NIR CALIB LAMP,WAVE ECHELLE,MULTI-PINHOLE MULTPIN ARGO+MERC+NEON+XENO multi_pinhole_arc reduce spat_solution
VIS CALIB STD,FLUX ECHELLE,SLIT,STARE SLIT5.0 - standard_stare reduce stare_std
NIR CALIB STD,FLUX ECHELLE,SLIT,STARE SLIT5.0 - standard_stare reduce stare_std
VIS CALIB STD,FLUX ECHELLE,SLIT,NODDING SLIT5.0 - standard_nod reduce nod_std
NIR CALIB STD,TELLURIC ECHELLE,SLIT,NODDING SLIT1.0 - standard_nod reduce nod_std
NIR CALIB STD ECHELLE,SLIT,OFFSET SLIT5.0 - standard_offset reduce offset_std
VIS SCIENCE OBJECT ECHELLE,SLIT,STARE SLIT1.0 - object_stare reduce stare
NIR SCIENCE OBJECT,ASYNC ECHELLE,SLIT,STARE SLIT1.0 - object_stare reduce stare
VIS SCIENCE OBJECT ECHELLE,SLIT,NODDING SLIT1.0 - object_nod reduce nod
NIR SCIENCE OBJECT ECHELLE,SLIT,OFFSET SLIT1.0 - object_offset reduce offset
ACQ CALIB BIAS IMAGE - - acq_bias register -
ACQ CALIB DARK IMAGE - - acq_dark register -
ACQ CALIB FLAT,SKY IMAGE - - acq_flat register -
ACQ ACQUISITION OBJECT IMAGE - - acq_image register -
ACQ SCIENCE OBJECT IMAGE - - acq_image register -
VIS CALIB STD,SKY ECHELLE,SLIT,STARE SLIT1.0 - unknown ignore -
VIS TEST BIAS IMAGE SLIT1.0 - unknown ignore -
NIR TECHNICAL LAMP,FMTCHK ECHELLE,PINHOLE PINHOLE - unknown ignore -
";

#[test]
fn every_frame_type_of_the_instrument_has_its_kind() {
    for row in FRAME_TYPES.lines().filter(|row| !row.is_empty()) {
        let cell: Vec<&str> = row.split(' ').map(|cell| if cell == "-" { "" } else { cell }).collect();
        let [arm, catg, dpr_type, tech, slit, lamps, kind, usage, recipe] = cell[..] else {
            panic!("row {row} has {} cells", cell.len());
        };
        let meta = good(&header(arm, catg, dpr_type, tech, slit, &lamps.replace('+', " ")));
        assert_eq!(meta.kind, kind, "{row}");
        assert_eq!(meta.usage.as_str(), usage, "{row}");
        assert_eq!(meta.recipe.as_deref().unwrap_or(""), recipe, "{row}");
        assert_eq!(meta.usage_reason.is_empty(), meta.usage == Usage::Reduce, "{row}");
        assert_eq!(meta.warnings, Vec::<String>::new(), "{row}");
        let stored = serde_json::to_string(&meta).expect("a description is JSON");
        assert_eq!(serde_json::from_str::<FrameMeta>(&stored).expect("and back"), meta, "{row}");
    }
}

#[test]
fn a_bias_is_described_completely() {
    let meta = good(&vis_bias());
    assert_eq!(meta.data_id, "SOXS.2026-03-10T19:00:42.000");
    assert_eq!((meta.arm, meta.rows, meta.columns), (Arm::Vis, 4096, 908));
    assert_eq!(meta.date_obs, "2026-03-10T19:00:42Z".parse().expect("a time"));
    assert_eq!(meta.tpl_start, "2026-03-10T19:00:40Z".parse().expect("a time"));
    assert_eq!((meta.tpl_expno, meta.tpl_nexp, meta.obs_id), (2, 5, Some(4_100_001)));
    assert_eq!(meta.binning, Some(Binning { x: 1, y: 1 }));
    assert_eq!(meta.read_mode.as_deref(), Some("1"));
    assert_eq!((meta.gain, meta.ron, meta.exptime), (0.6, Some(2.8), 0.0));
    assert_eq!((meta.slit, meta.slitmask, meta.lamp, meta.filter), (None, None, None, None));
    assert_eq!((meta.detector_temp, meta.common_path_temp), (Some(153.2), Some(12.4)));
}

#[test]
fn pointing_and_air_are_read_where_they_can_be_believed() {
    let mut sky = header("VIS", "SCIENCE", "OBJECT", "ECHELLE,SLIT,STARE", "SLIT1.0", "");
    for (keyword, value) in [
        ("RA", 302.7),
        ("DEC", -30.2),
        ("ESO TEL AIRM START", 1.2),
        ("ESO TEL AIRM END", 99.0),
        ("ESO TEL AMBI FWHM START", 0.8),
        ("ESO TEL AMBI FWHM END", 1.0),
    ] {
        sky = with(sky, keyword, value);
    }
    let found = good(&with(sky.clone(), "ESO OBS TARG NAME", "SN 2026abc ")).on_sky;
    assert_eq!((found.target.as_str(), found.position), ("SN 2026abc", Some([302.7, -30.2])));
    assert_eq!((found.airmass, found.seeing), (Some([1.2, 1.2]), Some(0.9)));
    let found = good(&with(with(sky, "ESO TEL AIRM START", 0.0), "RA", "20:10:57")).on_sky;
    assert_eq!((found.airmass, found.position), (None, None));
}

#[test]
fn lamps_come_in_a_fixed_order_and_masks_from_the_slit() {
    let meta = good(&header("NIR", "CALIB", "LAMP,WAVE", "ECHELLE,MULTI-PINHOLE", "MULTPIN", "XENO MERC NEON ARGO"));
    assert_eq!((meta.lamp.as_deref(), meta.slitmask.as_deref()), (Some("ArNeHgXe"), Some("MPH")));
    let meta = good(&header("VIS", "CALIB", "LAMP,WAVE", "ECHELLE,PINHOLE", "PINHOLE", "THAR"));
    assert_eq!((meta.lamp.as_deref(), meta.slitmask.as_deref()), (Some("ThAr"), Some("PH")));
    let meta = good(&vis_flat());
    assert_eq!((meta.slit.as_deref(), meta.slitmask.as_deref()), (Some("SLIT1.0"), Some("SLIT")));
}

#[test]
fn the_acquisition_camera_is_known_by_its_name_and_has_its_own_exposure_keyword() {
    let meta = good(&header("ACQ", "ACQUISITION", "OBJECT", "IMAGE", "", ""));
    assert_eq!((meta.arm, meta.exptime, meta.filter.as_deref()), (Arm::Acq, 10.0, Some("r")));
    let no_filter = without(header("ACQ", "ACQUISITION", "OBJECT", "IMAGE", "", ""), "ESO INS ACFW ID");
    warned(&no_filter, "ESO INS ACFW ID is missing");
}

#[test]
fn strangers_and_products_are_refused() {
    refused(&with(vis_bias(), "INSTRUME", "XSHOOTER"), &["INSTRUME", "XSHOOTER", "SOXS"]);
    refused(&without(vis_bias(), "INSTRUME"), &["INSTRUME", "missing"]);
    for keyword in ["ESO PRO CATG", "ESO PRO TYPE", "ESO PRO TECH"] {
        refused(&with(vis_bias(), keyword, "MASTER_BIAS_VIS"), &[keyword, "MASTER_BIAS_VIS"]);
    }
    refused(&with(vis_bias(), "SXSPRE", true), &["SXSPRE"]);
    good(&with(vis_bias(), "ESO PRO CATG", "  "));
}

#[test]
fn keywords_without_which_nothing_can_be_done_are_named() {
    for keyword in
        ["DATE-OBS", "MJD-OBS", "EXPTIME", "ESO DPR CATG", "ESO DPR TYPE", "ESO DPR TECH", "ESO DET READ CURID"]
    {
        refused(&without(vis_bias(), keyword), &[keyword, "missing"]);
        refused(&with(vis_bias(), keyword, false), &[keyword, "\"F\"", "expected"]);
    }
    refused(&with(vis_bias(), "ESO DPR TYPE", " "), &["ESO DPR TYPE", "missing"]);
    refused(&with(vis_bias(), "EXPTIME", "ten"), &["EXPTIME", "\"ten\"", "a number"]);
    refused(&without(vis_flat(), "ESO INS VISE NAME"), &["ESO INS VISE NAME", "slit_flat", "SLIT1.0"]);
    good(&without(vis_bias(), "ESO INS VISE NAME"));
}

#[test]
fn the_arm_must_be_said() {
    let no_arm = without(vis_bias(), "ESO SEQ ARM");
    let error = builtin().classify(NAME, &no_arm, VIS, 16, now()).expect_err("no arm");
    assert!(
        error.to_string().contains("ESO SEQ ARM is absent") && error.to_string().contains("DET3 CAM NAME"),
        "{error}"
    );
    refused(&with(vis_bias(), "ESO SEQ ARM", "UVB"), &["ESO SEQ ARM", "UVB"]);
}

#[test]
fn an_image_of_the_other_arm_is_refused() {
    let rules = builtin();
    for (header, shape) in [(vis_bias(), NIR), (nir_dark(), VIS), (vis_bias(), (4096, 808)), (vis_bias(), (908, 4096))]
    {
        let error = rules.classify(NAME, &header, shape, 16, now()).expect_err("not this arm's image");
        assert!(matches!(error, ClassifyError::Shape { .. }), "{error}");
    }
    let binned = with(with(vis_bias(), "ESO DET BINX", 2_i64), "ESO DET BINY", 2_i64);
    let meta = rules.classify(NAME, &binned, (2048, 454), 16, now()).expect("2x2");
    assert_eq!(meta.binning.map(|b| b.to_string()).as_deref(), Some("2x2"));
    let error = rules.classify(NAME, &binned, VIS, 16, now()).expect_err("2x2 says the header, 1x1 the image");
    assert!(error.to_string().contains("binned 2x2") && error.to_string().contains("429..550 x 2048"), "{error}");
    let half = with(vis_bias(), "ESO DET BINX", 2_i64);
    assert!(rules.classify(NAME, &half, (4096, 454), 16, now()).is_ok());
    assert!(rules.classify(NAME, &half, VIS, 16, now()).is_err());
    refused(&with(vis_bias(), "ESO DET BINX", 3_i64), &["ESO DET BINX", "3x1", "2x2"]);
    warned(&without(vis_bias(), "ESO DET BINY"), "ESO DET BINY is missing: 1 is assumed");
    let error = rules.classify(NAME, &vis_bias(), VIS, -64, now()).expect_err("BITPIX");
    assert!(error.to_string().contains("BITPIX is -64"), "{error}");
    assert_eq!(good(&with(nir_dark(), "ESO DET BINX", 1_i64)).binning, None);
}

#[test]
fn times_that_cannot_be_are_refused_and_doubtful_ones_noted() {
    for text in ["yesterday", "2026-13-10T19:00:42.000", "2026-03-10", "1999-12-31T23:59:59.000", "2044-01-01T00:00:00"]
    {
        refused(&with(vis_bias(), "DATE-OBS", text), &["DATE-OBS", text, "expected"]);
    }
    refused(&with(vis_bias(), "MJD-OBS", 61_108.792_152_78), &["MJD-OBS", "61108.79215278", "61109.79215278"]);
    let meta = warned(&with(vis_bias(), "MJD-OBS", 61_109.792_269), "differ by 10.0 s");
    assert!((meta.mjd_obs - 61_109.792_152_78).abs() < 1e-7);
    let spaced = with(vis_bias(), "DATE-OBS", " 2026-03-10 19:00:42.000Z ");
    assert_eq!(good(&spaced).date_obs, good(&vis_bias()).date_obs);
    let late: Timestamp = "2026-03-08T00:00:00Z".parse().expect("a time");
    let meta = builtin().classify(NAME, &vis_bias(), VIS, 16, late).expect("usable");
    assert!(meta.warnings[0].contains("67 h in the future"), "{:?}", meta.warnings);
    warned(&with(vis_bias(), "ESO TPL START", "noon"), "ESO TPL START is \"noon\"");
    warned(&without(vis_bias(), "ESO TPL START"), "the start of the exposure is used");
}

#[test]
fn exposure_times_are_rounded_and_checked() {
    let dark = |seconds: f64| with(nir_dark(), "EXPTIME", seconds);
    assert_eq!(good(&dark(10.0004)).exptime, 10.0);
    assert_eq!(good(&with(nir_dark(), "EXPTIME", 10_i64)).exptime, 10.0);
    for seconds in [-1.0, -0.001, 0.0, f64::NAN, f64::INFINITY, 1.0e6] {
        refused(&dark(seconds), &["EXPTIME", "expected more than 0 s"]);
    }
    assert!(good(&with(vis_bias(), "EXPTIME", -0.0)).exptime.is_sign_positive());
}

#[test]
fn lower_case_and_blanks_are_forgiven_and_noted() {
    let meta = warned(&with(vis_bias(), "ESO DPR TYPE", " bias "), "read as \"BIAS\"");
    assert_eq!((meta.kind.as_str(), meta.dpr_type.as_str()), ("bias", "BIAS"));
    let meta = warned(&with(vis_flat(), "ESO DPR TYPE", "lamp, flat"), "read as \"LAMP,FLAT\"");
    assert_eq!(meta.kind, "slit_flat");
    assert_eq!(good(&with(vis_bias(), "ESO SEQ ARM", "vis ")).arm, Arm::Vis);
    assert_eq!(good(&with(vis_bias(), "INSTRUME", "soxs")).kind, "bias");
    warned(&with(vis_flat(), "ESO INS VISE NAME", "slit1.0"), "read as \"SLIT1.0\"");
}

#[test]
fn what_may_be_absent_has_a_default_and_a_remark() {
    assert_eq!(warned(&without(vis_bias(), "OBJECT"), "OBJECT is missing").object, "");
    let alone = with(vis_bias(), "ESO TPL EXPNO", 1_i64);
    assert_eq!(warned(&without(alone, "ESO TPL NEXP"), "ESO TPL NEXP is missing: 1 is assumed").tpl_nexp, 1);
    assert_eq!(warned(&with(vis_bias(), "ESO TPL EXPNO", -3_i64), "expected at least 1").tpl_expno, 1);
    warned(&with(vis_bias(), "ESO TPL EXPNO", 6_i64), "above ESO TPL NEXP = 5");
    assert_eq!(warned(&without(vis_bias(), "ESO OBS ID"), "ESO OBS ID is missing").obs_id, None);
    assert_eq!(warned(&with(vis_bias(), "ESO OBS ID", "77"), "read as a number").obs_id, Some(77));
    assert_eq!(warned(&with(vis_bias(), "OBJECT", 42_i64), "without quotes").object, "42");
    assert_eq!(warned(&without(vis_bias(), "ESO INS TEMP104 VAL"), "TEMP104").detector_temp, None);
    assert_eq!(
        warned(&with(vis_bias(), "ESO INS TEMP104 VAL", 300.0), "expected 100 to 200").detector_temp,
        Some(300.0)
    );
    warned(&with(vis_bias(), "ESO DET READ CURID", 9_i64), "known are 1 2 3 4");
    assert_eq!(good(&with(vis_bias(), "ESO DET READ CURID", 3.0)).read_mode.as_deref(), Some("3"));
    let object = "SN 2026/abc \u{e9} ".repeat(5);
    assert_eq!(good(&with(vis_bias(), "OBJECT", object.as_str())).object, object.trim());
}

#[test]
fn simulated_slits_and_linearity_sequences_stay_out_of_the_cascade() {
    let meta = good(&with(vis_flat(), "ESO INS VISE SWSIM", true));
    assert_eq!((meta.kind.as_str(), meta.usage), ("simulated", Usage::Ignore));
    assert_eq!(good(&with(vis_flat(), "ESO INS VISE SWSIM", false)).kind, "slit_flat");
    assert_eq!(good(&with(vis_flat(), "ESO INS NISE SWSIM", true)).kind, "slit_flat");
    let meta = good(&with(vis_bias(), "ESO OCS DET2 IMGNAME", "SOXS_VIS_DETLIN_SHG_BIAS_278_0001.fits"));
    assert_eq!((meta.kind.as_str(), meta.usage), ("linearity", Usage::Register));
}

#[test]
fn reasons_name_the_frame_and_cannot_be_abused() {
    let odd = with(with(vis_bias(), "ESO DPR TYPE", "{LAMP}"), "EXPTIME", 1.0);
    let reason = good(&odd).usage_reason;
    assert!(reason.contains("VIS frames of DPR CATG CALIB, TYPE {LAMP}, TECH IMAGE"), "{reason}");
    let arc = header("VIS", "CALIB", "LAMP,WAVE", "ECHELLE,PINHOLE", "PINHOLE", "");
    assert!(good(&arc).usage_reason.ends_with("keywords: none"));
}

#[test]
fn the_gain_rule_takes_electrons_per_adu_from_either_convention() {
    let cards = |mode: i64, conad: f64, gain: f64| {
        let header = with(vis_bias(), "ESO DET READ CURID", mode);
        with(with(header, "ESO DET OUT1 CONAD", conad), "ESO DET OUT1 GAIN", gain)
    };
    assert_eq!(good(&cards(1, 0.6, 1.667)).gain, 0.6);
    assert_eq!(good(&cards(3, 1.12, 0.892_857)).gain, 1.12);
    assert_eq!(good(&cards(1, 0.6, 0.6)).gain, 0.6);
    assert_eq!(warned(&cards(1, 1.667, 0.6), "interchanged").gain, 1.667);
    assert_eq!(warned(&cards(1, 1.2, 0.62), "not reciprocals").gain, 0.62);
    assert_eq!(warned(&cards(2, 1.2, 1.9), "not reciprocals").gain, 1.9);
    assert_eq!(warned(&cards(2, 0.01, 100.0), "outside 0.1 to 10").gain, 2.0);
    let no_cards = without(without(vis_bias(), "ESO DET OUT1 CONAD"), "ESO DET OUT1 GAIN");
    assert_eq!(warned(&no_cards, "the nominal one").gain, 0.6);
    assert_eq!(good(&without(vis_bias(), "ESO DET OUT1 GAIN")).gain, 0.6);
    let reciprocal_only = warned(&without(vis_bias(), "ESO DET OUT1 CONAD"), "ESO DET OUT1 CONAD is missing");
    assert!((reciprocal_only.gain - 0.6).abs() < 1e-6);
    assert_eq!(warned(&with(vis_bias(), "ESO DET OUT1 GAIN", -1.0), "above zero").gain, 0.6);
    assert_eq!(good(&nir_dark()).gain, 2.3);

    let max = Classification::parse(&BUILTIN.replace("rule = \"reciprocal\"", "rule = \"max\""), "t").expect("valid");
    let meta = max.classify(NAME, &cards(1, 0.6, 1.667), VIS, 16, now()).expect("usable");
    assert_eq!(meta.gain, 1.667);
}

#[test]
fn read_noise_comes_from_the_first_card_that_has_one() {
    assert_eq!(good(&with(vis_bias(), "ESO DET CHIP RON", 9.0)).ron, Some(2.8));
    let chip = with(without(vis_bias(), "ESO DET OUT1 RON"), "ESO DET CHIP RON", 3.8);
    assert_eq!(good(&chip).ron, Some(3.8));
    assert_eq!(good(&with(nir_dark(), "ESO DET CHIP RON", 0.0)).ron, None);
}

#[test]
fn data_ids_come_from_name_archive_keyword_or_start() {
    let rules = builtin();
    let with_arcfile = with(vis_bias(), "ARCFILE", "SOXS.2026-03-10T19:00:43.500.fits");
    let id = |name: &str, header: &Header| rules.data_id_of(name, header).expect("an id");
    for ending in [".fits", ".fits.gz", ".fits.Z", ".FITS", ""] {
        assert_eq!(id(&format!("SOXS.2026-03-10T19:00:42.001{ending}"), &with_arcfile), "SOXS.2026-03-10T19:00:42.001");
    }
    for name in ["copy.fits", "SOXS.2026-03-10T19:00:42.fits", "SOXS.2026-99-10T19:00:42.001.fits", ".fits", "é.fits"]
    {
        assert_eq!(id(name, &with_arcfile), "SOXS.2026-03-10T19:00:43.500", "{name}");
        assert_eq!(id(name, &with(vis_bias(), "ARCFILE", "x.fits")), "SOXS.2026-03-10T19:00:42.000", "{name}");
    }
    let nameless = without(without(vis_bias(), "ARCFILE"), "DATE-OBS");
    assert_eq!(rules.data_id_of("copy.fits", &nameless), None);
    let other = rules.classify("SOXS.2026-03-10T19:00:42.500.fits", &vis_bias(), VIS, 16, now()).expect("usable");
    assert!(other.warnings[0].contains("different times"), "{:?}", other.warnings);
}

#[test]
fn mistakes_in_the_rules_are_found_with_their_line() {
    let message = |from: &str, to: &str| {
        assert!(BUILTIN.contains(from), "{from}");
        let error = Classification::parse(&BUILTIN.replacen(from, to, 1), "my.toml").expect_err("a mistake");
        assert_eq!(error.class(), FaultClass::Config);
        error.to_string()
    };
    let line_of = |part: &str| 1 + BUILTIN[..BUILTIN.find(part).expect("present")].matches('\n').count();
    let expect = |text: String, line: usize, part: &str| {
        assert!(text.starts_with(&format!("my.toml, line {line}: ")) && text.contains(part), "{text}");
    };
    expect(message("name = \"bias\"\n", "name = \"bias\"\ncolour = 1\n"), line_of("name = \"bias\"\n") + 1, "colour");
    expect(message("recipe = \"mbias\"\n", ""), line_of("name = \"bias\"\n"), "needs a recipe");
    let second_linearity = line_of("name = \"linearity\"\nmark");
    expect(message("mark = \"linearity\"", "mark = \"lin\""), second_linearity, "\"lin\" is not defined");
    expect(message("TECH {tech}", "TECH {tec}"), 1, "may use only {arm}");
    expect(message("schema = 1", "schema = 2"), line_of("schema = 1"), "reads schema 1");
    expect(message("[arm.ACQ]", "[arm.XYZ]"), line_of("[arm.ACQ]"), "XYZ");
}

proptest! {
    /// Whatever a header holds, the answer is a description or a refusal that says something.
    #[test]
    fn no_header_can_make_it_panic(
        picks in prop::collection::vec((0usize..40, value()), 0..40),
        name in ".{0,40}",
        rows in prop_oneof![Just(2048usize), Just(4096), any::<usize>()],
        columns in prop_oneof![Just(2048usize), Just(908), any::<usize>()],
        bitpix in prop_oneof![Just(16i64), any::<i64>()],
        start in 0usize..3,
    ) {
        let mut header = [Header::new(), vis_bias(), nir_dark()][start].clone();
        let known: Vec<String> = vis_flat().cards().iter().chain(nir_dark().cards()).map(|card| card.keyword.clone()).collect();
        for (pick, value) in picks {
            header.set(&known[pick % known.len()], value, "");
        }
        match builtin().classify(&name, &header, (rows, columns), bitpix, now()) {
            Ok(meta) => {
                prop_assert!(meta.exptime >= 0.0 && meta.gain > 0.0 && meta.tpl_nexp >= 1);
                prop_assert!(!meta.data_id.is_empty());
                let stored = serde_json::to_string(&meta).expect("a description is JSON");
                let restored: FrameMeta = serde_json::from_str(&stored).expect("and back");
                prop_assert_eq!(restored.data_id, meta.data_id);
                prop_assert_eq!(restored.warnings, meta.warnings);
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::Logical),
        any::<i64>().prop_map(Value::Integer),
        (-5i64..5).prop_map(Value::Integer),
        any::<f64>().prop_map(Value::Real),
        ".{0,30}".prop_map(Value::Text),
        prop_oneof![Just("SOXS"), Just("VIS"), Just("NIR"), Just("ACQ"), Just("BIAS"), Just("2026-03-10T19:00:42.000")]
            .prop_map(|text: &str| Value::Text(text.to_string())),
    ]
}
