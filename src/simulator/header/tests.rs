use crate::fits::Header;
use crate::instrument::{Arm, Binning};
use crate::simulator::plan::{ConditionsChange, GainCards, Lamp, Target};
use crate::simulator::{Exposure, FrameKind, NightPlan, TemplatePlan};

fn night() -> NightPlan {
    NightPlan::new("2026-03-11T00:00:00Z".parse().expect("a time"))
}

fn taken(template: TemplatePlan) -> Vec<Exposure> {
    night().with(template).exposures().expect("a valid template")
}

fn text<'a>(header: &'a Header, keyword: &str) -> &'a str {
    header.text(keyword).unwrap_or_else(|error| panic!("{error}"))
}

fn real(header: &Header, keyword: &str) -> f64 {
    header.real(keyword).unwrap_or_else(|error| panic!("{error}"))
}

fn lamps(header: &Header) -> String {
    let lit = Lamp::ALL.iter().filter(|lamp| header.contains(&format!("ESO INS {} NAME", lamp.keyword())));
    lit.map(|lamp| lamp.keyword()).collect::<Vec<_>>().join("+")
}

/// Arm, kind; then category, type, technique, template, slit and lamps of the header.
type Row = (Arm, FrameKind, [&'static str; 6]);

const ROWS: [Row; 31] = {
    use Arm::{Acq, Nir, Vis};
    use FrameKind::*;
    const C: &str = "CALIB";
    const S: &str = "SCIENCE";
    const FOUR: &str = "ARGO+NEON+MERC+XENO";
    [
        (Vis, Bias, [C, "BIAS", "IMAGE", "SOXS_gen_cal_VISBias", "BLANK", ""]),
        (Vis, Dark, [C, "DARK", "IMAGE", "SOXS_gen_cal_VISDark", "BLANK", ""]),
        (Vis, PinholeArc, [C, "LAMP,WAVE", "ECHELLE,PINHOLE", "SOXS_slt_cal_VISArcsPinhole", "PINHOLE", "THAR"]),
        (Vis, PinholeFlat, [C, "LAMP,FLAT", "ECHELLE,PINHOLE", "SOXS_slt_cal_VISLampFlatPinhole", "PINHOLE", "QTH"]),
        (Vis, SlitFlat, [C, "LAMP,FLAT", "ECHELLE,SLIT", "SOXS_slt_cal_VISLampFlat", "SLIT1.0", "QTH"]),
        (Vis, DeuteriumFlat, [C, "LAMP,DFLAT", "ECHELLE,SLIT", "SOXS_slt_cal_VISLampFlat", "SLIT1.0", "DEUT"]),
        (
            Vis,
            MultiPinholeArc,
            [C, "LAMP,WAVE", "ECHELLE,MULTI-PINHOLE", "SOXS_slt_cal_VISArcsMultiplePinhole", "MULTPIN", "THAR"],
        ),
        (Vis, SlitArc, [C, "LAMP,WAVE", "ECHELLE,SLIT", "SOXS_slt_cal_VISArcs", "SLIT1.0", "THAR"]),
        (Vis, StandardStare, [C, "STD,FLUX", "ECHELLE,SLIT,STARE", "SOXS_slt_cal_SpecphotStdStare", "SLIT1.0", ""]),
        (Vis, StandardNod, [C, "STD,FLUX", "ECHELLE,SLIT,NODDING", "SOXS_slt_cal_SpecphotNod", "SLIT1.0", ""]),
        (Vis, TelluricStare, [C, "STD,TELLURIC", "ECHELLE,SLIT,STARE", "SOXS_slt_cal_TelluricStdStare", "SLIT1.0", ""]),
        (Vis, TelluricNod, [C, "STD,TELLURIC", "ECHELLE,SLIT,NODDING", "SOXS_slt_cal_TelluricStdNod", "SLIT1.0", ""]),
        (Vis, ObjectStare, [S, "OBJECT", "ECHELLE,SLIT,STARE", "SOXS_slt_obs_StareSynchro", "SLIT1.0", ""]),
        (Vis, ObjectNod, [S, "OBJECT", "ECHELLE,SLIT,NODDING", "SOXS_slt_obs_AutoNodOnSlit", "SLIT1.0", ""]),
        (Vis, ObjectOffset, [S, "OBJECT", "ECHELLE,SLIT,OFFSET", "SOXS_slt_obs_AutoOffsetOnSlit", "SLIT1.0", ""]),
        (Nir, Dark, [C, "DARK", "IMAGE", "SOXS_gen_cal_NIRDark", "BLANK", ""]),
        (Nir, PinholeArc, [C, "LAMP,WAVE", "ECHELLE,PINHOLE", "SOXS_slt_cal_NIRArcsPinhole", "PINHOLE", FOUR]),
        (Nir, PinholeFlat, [C, "LAMP,FLAT", "ECHELLE,PINHOLE", "SOXS_slt_cal_NIRLampFlatPinhole", "PINHOLE", "QTH"]),
        (Nir, SlitFlat, [C, "LAMP,FLAT", "ECHELLE,SLIT", "SOXS_slt_cal_NIRLampFlat", "SLIT1.0", "QTH"]),
        (Nir, LampOff, [C, "LAMP,FLAT", "IMAGE", "SOXS_slt_cal_NIRLampFlat", "SLIT1.0", ""]),
        (
            Nir,
            MultiPinholeArc,
            [C, "LAMP,WAVE", "ECHELLE,MULTI-PINHOLE", "SOXS_slt_cal_NIRArcsMultiplePinhole", "MULTPIN", FOUR],
        ),
        (Nir, SlitArc, [C, "LAMP,WAVE", "ECHELLE,SLIT", "SOXS_slt_cal_NIRArcs", "SLIT1.0", FOUR]),
        (Nir, StandardStare, [C, "STD,FLUX", "ECHELLE,SLIT,STARE", "SOXS_slt_cal_SpecphotStdStare", "SLIT1.0", ""]),
        (Nir, StandardNod, [C, "STD,FLUX", "ECHELLE,SLIT,NODDING", "SOXS_slt_cal_SpecphotNod", "SLIT1.0", ""]),
        (Nir, ObjectNod, [S, "OBJECT", "ECHELLE,SLIT,NODDING", "SOXS_slt_obs_AutoNodOnSlit", "SLIT1.0", ""]),
        (Acq, Bias, [C, "BIAS", "IMAGE", "SOXS_img_cal_Bias", "", ""]),
        (Acq, Dark, [C, "DARK", "IMAGE", "SOXS_img_cal_Dark", "", ""]),
        (Acq, TwilightFlat, [C, "FLAT,SKY", "IMAGE", "SOXS_img_cal_Flat", "", ""]),
        (Acq, Acquisition, ["ACQUISITION", "OBJECT", "IMAGE", "SOXS_img_acq", "", ""]),
        (Acq, Imaging, [S, "OBJECT", "IMAGE", "SOXS_img_obs", "", ""]),
        (Nir, ObjectStare, [S, "OBJECT", "ECHELLE,SLIT,STARE", "SOXS_slt_obs_StareSynchro", "SLIT1.0", ""]),
    ]
};

#[test]
fn each_kind_has_the_cards_of_its_template() {
    for (arm, kind, expected) in ROWS {
        let exptime = if kind == FrameKind::Bias { 0.0 } else { 12.5 };
        let exposure = &taken(TemplatePlan::new(kind, arm, exptime, 1))[0];
        let header = &exposure.header;
        let slit = match arm {
            Arm::Vis => text(header, "ESO INS VISE NAME"),
            Arm::Nir => text(header, "ESO INS NISE NAME"),
            Arm::Acq => "",
        };
        let keywords =
            ["ESO DPR CATG", "ESO DPR TYPE", "ESO DPR TECH", "ESO TPL ID"].map(|keyword| text(header, keyword));
        let found = [keywords[0], keywords[1], keywords[2], keywords[3], slit, &lamps(header)];
        assert_eq!(found, expected, "{kind:?} in {arm}");
        // Cards that differ between arms, and those that all must have.
        assert_eq!(header.contains("ESO SEQ ARM"), arm != Arm::Acq);
        assert_eq!(header.contains("EXPTIME"), arm != Arm::Acq);
        for (keyword, arms) in [
            ("ESO DET BINX", [Arm::Vis].as_slice()),
            ("ESO DET BINY", &[Arm::Vis]),
            ("ESO DET OUT1 CONAD", &[Arm::Vis]),
            ("ESO DET OUT1 GAIN", &[Arm::Vis]),
            ("ESO DET UIT1", &[Arm::Vis]),
            ("ESO INS TEMP104 VAL", &[Arm::Vis]),
            ("ESO INS TEMP217 VAL", &[Arm::Nir]),
            ("ESO DET SEQ1 DIT", &[Arm::Nir]),
            ("ESO DET READ CURID", &[Arm::Vis, Arm::Nir]),
            ("ESO DET3 CAM NAME", &[Arm::Acq]),
            ("ESO DET3 EXPO TIME", &[Arm::Acq]),
            ("ESO OCS DET2 IMGNAME", &[Arm::Vis]),
            ("ESO OCS DET1 IMGNAME", &[Arm::Nir]),
        ] {
            assert_eq!(header.contains(keyword), arms.contains(&arm), "{keyword} of {kind:?} in {arm}");
        }
        for keyword in ["OBJECT", "ESO INS ACFW ID", "ESO INS TEMP301 VAL", "ESO OBS NAME", "ESO TPL START"] {
            assert!(header.contains(keyword), "{keyword} of {kind:?} in {arm}");
        }
        assert!(header.cards().iter().all(|card| !card.keyword.starts_with("ESO PRO ")));
    }
}

#[test]
fn lamp_off_partners_differ_from_their_flat_in_lamps_and_technique_only() {
    let exposures = taken(TemplatePlan { off: 2, ..TemplatePlan::new(FrameKind::SlitFlat, Arm::Nir, 15.0, 2) });
    let (on, off) = (&exposures[0].header, &exposures[3].header);
    assert_eq!(
        exposures.iter().map(|exposure| exposure.kind == FrameKind::LampOff).collect::<Vec<_>>(),
        [false, false, true, true]
    );
    assert!(exposures[2].lamps.is_empty() && exposures[0].lamps.len() == 1);
    for keyword in ["ESO TPL ID", "ESO TPL START", "ESO TPL NEXP", "ESO OBS NAME", "ESO DPR TYPE", "ESO INS NISE NAME"]
    {
        assert_eq!(on.get(keyword), off.get(keyword), "{keyword}");
    }
    assert_eq!((text(on, "ESO DPR TECH"), text(off, "ESO DPR TECH")), ("ECHELLE,SLIT", "IMAGE"));
    assert_eq!((lamps(on).as_str(), lamps(off).as_str()), ("QTH", ""));
    assert_eq!(on.integer("ESO TPL NEXP"), Ok(4));
    let arcs = taken(TemplatePlan { off: 1, ..TemplatePlan::new(FrameKind::PinholeArc, Arm::Nir, 15.0, 1) });
    assert_eq!(text(&arcs[1].header, "ESO DPR TYPE"), "LAMP,WAVE");
    assert_eq!(text(&arcs[1].header, "ESO INS NISE NAME"), "PINHOLE");
}

#[test]
fn nodding_goes_a_b_b_a_and_offsets_tell_target_from_sky() {
    let nod = TemplatePlan { throw: 6.0, ..TemplatePlan::new(FrameKind::ObjectNod, Arm::Nir, 60.0, 4) };
    let along = |exposure: &Exposure| real(&exposure.header, "ESO SEQ CUMOFF Y");
    assert_eq!(taken(nod.clone()).iter().map(along).collect::<Vec<_>>(), [3.0, -3.0, -3.0, 3.0]);
    let shaken = taken(TemplatePlan { jitter: 1.0, ..nod });
    let moved: Vec<f64> =
        shaken.iter().zip([3.0, -3.0, -3.0, 3.0]).map(|(exposure, at)| along(exposure) - at).collect();
    assert!(moved.iter().all(|moved| moved.abs() <= 0.5) && moved.iter().any(|moved| *moved != 0.0), "{moved:?}");
    assert!(moved.windows(2).any(|pair| pair[0] != pair[1]));

    let target = Target {
        name: "X".to_string(),
        ra: 150.0,
        dec: -30.0,
        spectrum: Some("template:blue-transient".to_string()),
        magnitude: Some(17.0),
        band: Default::default(),
        along: 0.5,
        across: 0.0,
        extent: 0.0,
        slit_angle: 0.0,
        companions: Vec::new(),
    };
    let offsets = taken(TemplatePlan {
        target: Some(std::sync::Arc::new(target)),
        ..TemplatePlan::new(FrameKind::ObjectOffset, Arm::Vis, 60.0, 4)
    });
    for (exposure, on_target) in offsets.iter().zip([true, false, false, true]) {
        let sum = real(&exposure.header, "ESO SEQ FIXOFF RA") + real(&exposure.header, "ESO SEQ FIXOFF DEC");
        assert_eq!(sum < 0.0, on_target);
        assert_eq!(exposure.sources.len(), usize::from(on_target));
    }
}

#[test]
fn pointing_time_and_weather_agree_with_each_other() {
    let change = ConditionsChange { seeing: Some(1.37), ..ConditionsChange::default() };
    let exposures =
        taken(TemplatePlan { conditions: change, ..TemplatePlan::new(FrameKind::ObjectStare, Arm::Vis, 1800.0, 2) });
    for exposure in &exposures {
        let header = &exposure.header;
        let altitude = real(header, "ESO TEL ALT").to_radians();
        let (start, end) = (real(header, "ESO TEL AIRM START"), real(header, "ESO TEL AIRM END"));
        assert!((start - 1.0 / altitude.sin()).abs() < 2e-3, "{start}");
        assert!((end - start).abs() > 1e-3 && (end - start).abs() < 0.2, "{start} {end}");
        assert_ne!(real(header, "ESO TEL PARANG START"), real(header, "ESO TEL PARANG END"));
        assert_eq!(real(header, "ESO TEL AMBI FWHM START"), 1.37);
        // Hour angle from the sidereal time of the header.
        let hour = (real(header, "LST") / 240.0 - real(header, "RA")).to_radians();
        let (dec, lat) = (real(header, "DEC").to_radians(), -29.2567_f64.to_radians());
        let sine = lat.sin() * dec.sin() + lat.cos() * dec.cos() * hour.cos();
        assert!((sine.asin() - altitude).abs() < 1e-4);
        let seconds = (real(header, "MJD-OBS") - 61_110.0) * 86_400.0;
        assert!((seconds - real(header, "UTC")).abs() < 2e-3, "{seconds}");
    }
    assert!(real(&exposures[1].header, "ESO INS TEMP301 VAL") < real(&exposures[0].header, "ESO INS TEMP301 VAL"));
}

#[test]
fn gain_cards_follow_the_convention_of_the_plan() {
    let template = TemplatePlan::vis_bias(1, Binning { x: 2, y: 2 }, 1);
    let cards = |gain_cards| {
        let night = NightPlan { gain_cards, ..night().with(template.clone()) };
        let header = night.exposures().expect("valid").remove(0).header;
        (real(&header, "ESO DET OUT1 CONAD"), real(&header, "ESO DET OUT1 GAIN"))
    };
    let (conad, gain) = cards(GainCards::Eso);
    assert!((conad * gain - 1.0).abs() < 1e-5 && conad != gain);
    assert_eq!(cards(GainCards::Both), (conad, conad));
}

#[test]
fn arms_never_share_the_start_of_a_template_or_of_an_exposure() {
    let mut night = night();
    for _ in 0..20 {
        for arm in [Arm::Vis, Arm::Nir] {
            night = night.with(TemplatePlan {
                gap: 0.0,
                not_before: Some("2026-03-11T01:00:00Z".parse().expect("a time")),
                ..TemplatePlan::new(FrameKind::Dark, arm, 1.0, 3)
            });
        }
    }
    let exposures = night.exposures().expect("valid");
    let mut of_template = std::collections::BTreeMap::new();
    for exposure in &exposures {
        let before = of_template.insert(text(&exposure.header, "ESO TPL START"), exposure.template);
        assert!(before.is_none_or(|before| before == exposure.template), "{}", exposure.name);
    }
    let names: std::collections::BTreeSet<&str> = exposures.iter().map(|exposure| exposure.name.as_str()).collect();
    assert_eq!(names.len(), exposures.len());
}

#[test]
fn asynchronous_and_attenuated_variants_say_so() {
    let stare = TemplatePlan { asynchronous: true, ..TemplatePlan::new(FrameKind::ObjectStare, Arm::Vis, 60.0, 1) };
    assert_eq!(text(&taken(stare)[0].header, "ESO DPR TYPE"), "OBJECT,ASYNC");
    let flat = TemplatePlan { attenuated: true, ..TemplatePlan::new(FrameKind::SlitFlat, Arm::Nir, 60.0, 1) };
    assert_eq!(text(&taken(flat)[0].header, "ESO TPL ID"), "SOXS_slt_cal_NIRLampFlatAtt");
}
