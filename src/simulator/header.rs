//! Headers as the instrument writes them. Per-arm peculiarities are meant: NIR frames carry neither gain nor binning, the
//! acquisition camera neither arm nor EXPTIME.

use jiff::Timestamp;

use super::detector::Camera;
use super::night::{FrameKind, TemplatePlan};
use crate::fits::{Header, Value};
use crate::instrument::Arm;

/// How the header of a kind differs from others.
struct Kind {
    catg: &'static str,
    dpr_type: &'static str,
    tech: &'static str,
    /// Template id; `{arm}` stands for the arm.
    template: &'static str,
    /// `None`: the slit of the template.
    slit: Option<&'static str>,
    lamps: Lamps,
}

/// Which lamps are on.
#[derive(Clone, Copy)]
enum Lamps {
    Off,
    Quartz,
    Deuterium,
    /// ThAr in VIS, the four pencil lamps in NIR.
    Arc,
}

fn kind(kind: FrameKind) -> Kind {
    use FrameKind as K;
    let row = |catg, dpr_type, tech, template, slit, lamps| Kind { catg, dpr_type, tech, template, slit, lamps };
    let (pinhole, row_of) = (Some("PINHOLE"), Some("MULTPIN"));
    match kind {
        K::Bias => row("CALIB", "BIAS", "IMAGE", "SOXS_gen_cal_{arm}Bias", Some("BLANK"), Lamps::Off),
        K::Dark => row("CALIB", "DARK", "IMAGE", "SOXS_gen_cal_{arm}Dark", Some("BLANK"), Lamps::Off),
        K::PinholeArc => {
            row("CALIB", "LAMP,WAVE", "ECHELLE,PINHOLE", "SOXS_slt_cal_{arm}ArcsPinhole", pinhole, Lamps::Arc)
        }
        K::PinholeFlat => {
            row("CALIB", "LAMP,FLAT", "ECHELLE,PINHOLE", "SOXS_slt_cal_{arm}LampFlatPinhole", pinhole, Lamps::Quartz)
        }
        K::SlitFlat => row("CALIB", "LAMP,FLAT", "ECHELLE,SLIT", "SOXS_slt_cal_{arm}LampFlat", None, Lamps::Quartz),
        K::DeuteriumFlat => {
            row("CALIB", "LAMP,DFLAT", "ECHELLE,SLIT", "SOXS_slt_cal_{arm}LampFlat", None, Lamps::Deuterium)
        }
        K::LampOff => row("CALIB", "LAMP,FLAT", "IMAGE", "SOXS_slt_cal_{arm}LampFlat", None, Lamps::Off),
        K::MultiPinholeArc => {
            let template = "SOXS_slt_cal_{arm}ArcsMultiplePinhole";
            row("CALIB", "LAMP,WAVE", "ECHELLE,MULTI-PINHOLE", template, row_of, Lamps::Arc)
        }
        K::StandardStare => {
            row("CALIB", "STD,FLUX", "ECHELLE,SLIT,STARE", "SOXS_slt_cal_SpecphotStdStare", None, Lamps::Off)
        }
        K::StandardNod => {
            row("CALIB", "STD,FLUX", "ECHELLE,SLIT,NODDING", "SOXS_slt_cal_SpecphotNod", None, Lamps::Off)
        }
        K::ObjectStare => row("SCIENCE", "OBJECT", "ECHELLE,SLIT,STARE", "SOXS_slt_obs_StareSynchro", None, Lamps::Off),
        K::ObjectNod => {
            row("SCIENCE", "OBJECT", "ECHELLE,SLIT,NODDING", "SOXS_slt_obs_AutoNodOnSlit", None, Lamps::Off)
        }
        K::Acquisition => row("ACQUISITION", "OBJECT", "IMAGE", "SOXS_img_acq", None, Lamps::Off),
    }
}

fn is_on_sky(kind: FrameKind) -> bool {
    use FrameKind::*;
    matches!(kind, StandardStare | StandardNod | ObjectStare | ObjectNod | Acquisition)
}

/// Time to the millisecond as DATE-OBS has it.
pub(super) fn iso(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%3f").to_string()
}

/// The cards of one exposure. `times` are the start of the template and of the exposure, `expno` counts from 1.
pub(super) fn build(
    template: &TemplatePlan,
    camera: &Camera,
    index: usize,
    times: (Timestamp, Timestamp),
    expno: u32,
) -> Header {
    let kind_of = kind(template.kind);
    let on_sky = is_on_sky(template.kind);
    let object = if on_sky { template.object.as_str() } else { kind_of.dpr_type };
    let mut cards = Cards(Header::new());
    general(&mut cards, template, object, times.1);
    sequence(&mut cards, template, &kind_of, index, object, times.0, expno);
    detector(&mut cards, template, camera);
    path(&mut cards, template, &kind_of);
    telescope(&mut cards, template, on_sky, expno);
    let label = object.replace([',', ' '], "_");
    cards.put("ORIGFILE", format!("SOXS_{label}_{}_{:03}_{expno:04}.fits", template.arm, index + 1));
    cards.put("ARCFILE", format!("SOXS.{}.fits", iso(times.1)));
    cards.0
}

/// Short form of adding a card.
struct Cards(Header);

impl Cards {
    fn put(&mut self, keyword: &str, value: impl Into<Value>) {
        self.0.set(keyword, value, "");
    }

    fn eso(&mut self, keyword: &str, value: impl Into<Value>) {
        self.put(&format!("ESO {keyword}"), value);
    }
}

fn general(cards: &mut Cards, template: &TemplatePlan, object: &str, start: Timestamp) {
    let days = start.as_microsecond() as f64 / 86_400.0e6;
    let mjd = ((40_587.0 + days) * 1.0e8).round() / 1.0e8;
    cards.put("ORIGIN", "ESO");
    cards.put("DATE", iso(start));
    cards.put("TELESCOP", "ESO-NTT");
    cards.put("INSTRUME", "SOXS");
    cards.put("OBJECT", object);
    let (ra, dec) = if is_on_sky(template.kind) { (349.993_3, -5.165_6) } else { (0.0, -90.0) };
    cards.put("RA", ra);
    cards.put("DEC", dec);
    cards.put("EQUINOX", 2000.0);
    cards.put("RADECSYS", "FK5");
    if template.arm != Arm::Acq {
        cards.put("EXPTIME", template.exptime);
    }
    cards.put("MJD-OBS", mjd);
    cards.put("DATE-OBS", iso(start));
    cards.put("UTC", (days.fract() * 86_400.0 * 1000.0).round() / 1000.0);
    // Sidereal time of La Silla (70.73 degrees west), to the second.
    let gmst = (280.460_618_37 + 360.985_647_366_29 * (mjd - 51_544.5)).rem_euclid(360.0);
    cards.put("LST", ((gmst - 70.73).rem_euclid(360.0) / 360.0 * 86_400.0).round());
    cards.put("PI-COI", "SIMULATION");
    cards.put("OBSERVER", "SIMULATOR");
    cards.put("BUNIT", "adu");
}

fn sequence(
    cards: &mut Cards,
    template: &TemplatePlan,
    kind: &Kind,
    index: usize,
    object: &str,
    start: Timestamp,
    expno: u32,
) {
    let arm = template.arm;
    let id = if arm == Arm::Acq && template.kind == FrameKind::Bias {
        "SOXS_img_cal_Bias".to_string()
    } else if arm == Arm::Acq && template.kind == FrameKind::Dark {
        "SOXS_img_cal_Dark".to_string()
    } else {
        kind.template.replace("{arm}", arm.as_str())
    };
    let start = start.strftime("%Y-%m-%dT%H:%M:%S").to_string();
    let arm_offset = match arm {
        Arm::Vis => 0,
        Arm::Nir => 500,
        Arm::Acq => 900,
    };
    cards.eso("OBS ID", 4_200_001 + arm_offset + index as i64 * 1000);
    // One name per block: lamp-off frames are matched by it in the reference pipeline.
    cards.eso("OBS NAME", format!("{arm}_{object}_{}", index + 1).replace(',', "_"));
    cards.eso("OBS PROG ID", "60.A-9999(Z)");
    cards.eso("OBS TARG NAME", object);
    cards.eso("OBS TPLNO", 1);
    cards.eso("OBS NTPL", 1);
    cards.eso("OBS START", start.as_str());
    cards.eso("TPL NAME", format!("{arm} {}", id.trim_start_matches("SOXS_")));
    cards.eso("TPL ID", id);
    cards.eso("TPL NEXP", i64::from(template.nexp.unwrap_or(template.frames)));
    cards.eso("TPL EXPNO", i64::from(expno));
    cards.eso("TPL START", start);
    cards.eso("DPR CATG", kind.catg);
    cards.eso("DPR TYPE", kind.dpr_type);
    cards.eso("DPR TECH", kind.tech);
    if arm != Arm::Acq {
        cards.eso("SEQ ARM", arm.as_str());
    }
}

fn detector(cards: &mut Cards, template: &TemplatePlan, camera: &Camera) {
    match template.arm {
        Arm::Vis => {
            cards.eso("DET READ CURID", i64::from(template.read_mode));
            cards.eso("DET READ CURNAME", camera.mode_name);
            cards.eso("DET BINX", camera.binning.x as i64);
            cards.eso("DET BINY", camera.binning.y as i64);
            cards.eso("DET OUT1 CONAD", camera.gain);
            cards.eso("DET OUT1 GAIN", (1.0e6 / camera.gain).round() / 1.0e6);
            cards.eso("DET OUT1 RON", camera.ron);
            cards.eso("DET CHIP RON", camera.ron);
            cards.eso("DET CHIP PSZX", 15.0);
            cards.eso("DET CHIP PSZY", 15.0);
            cards.eso("DET UIT1", template.exptime);
            cards.eso("DET EXP TYPE", if template.kind == FrameKind::Bias { "Bias" } else { "Normal" });
        }
        Arm::Nir => {
            cards.eso("DET READ CURID", i64::from(template.read_mode));
            cards.eso("DET READ CURNAME", camera.mode_name);
            cards.eso("DET CHIP RON", 0.0);
            cards.eso("DET SEQ1 DIT", template.exptime);
            cards.eso("DET NDIT", 1);
        }
        Arm::Acq => {
            cards.eso("DET3 CAM NAME", "ACQ");
            cards.eso("DET3 EXPO TIME", template.exptime);
        }
    }
}

fn path(cards: &mut Cards, template: &TemplatePlan, kind: &Kind) {
    let slit = kind.slit.unwrap_or(template.slit.as_str());
    match template.arm {
        Arm::Vis => {
            cards.eso("INS VISE NAME", slit);
            cards.eso("INS VISE SWSIM", false);
            cards.eso("INS TEMP104 VAL", 153.2);
        }
        Arm::Nir => {
            cards.eso("INS NISE NAME", slit);
            cards.eso("INS NISE SWSIM", false);
            cards.eso("INS TEMP217 VAL", 40.1);
        }
        Arm::Acq => cards.eso("INS ACQS ID", "FREE"),
    }
    let lamps: &[(&str, &str)] = match (kind.lamps, template.arm) {
        (Lamps::Off, _) => &[],
        (Lamps::Quartz, _) => &[("QTH", "Qth_Lamp")],
        (Lamps::Deuterium, _) => &[("DEUT", "Deut_Lamp")],
        (Lamps::Arc, Arm::Nir) => {
            &[("ARGO", "Argo_Lamp"), ("NEON", "Neon_Lamp"), ("MERC", "Merc_Lamp"), ("XENO", "Xeno_Lamp")]
        }
        (Lamps::Arc, _) => &[("THAR", "ThAr_Lamp")],
    };
    for (lamp, name) in lamps {
        cards.eso(&format!("INS {lamp} NAME"), *name);
        cards.eso(&format!("INS {lamp} ST"), true);
    }
    cards.eso("INS ACFW ID", if template.arm == Arm::Acq { "r" } else { "OPEN" });
    cards.eso("INS TEMP301 VAL", 12.4);
    for position in ["AFC1 POS1", "AFC1 POS2", "AFC2 POS1", "AFC2 POS2"] {
        cards.eso(&format!("INS {position}"), 0.0);
    }
}

fn telescope(cards: &mut Cards, template: &TemplatePlan, on_sky: bool, expno: u32) {
    let airmass = if on_sky { (1.21, 1.23) } else { (1.0, 1.0) };
    for (keyword, value) in [
        ("ADA ABSROT END", 12.5),
        ("TEL AZ", 120.0),
        ("TEL ALT", 62.0),
        ("TEL PARANG START", 10.0),
        ("TEL PARANG END", 10.4),
        ("TEL AIRM START", airmass.0),
        ("TEL AIRM END", airmass.1),
        ("TEL AMBI FWHM START", 0.8),
        ("TEL AMBI FWHM END", 0.8),
    ] {
        cards.eso(keyword, value);
    }
    if matches!(template.kind, FrameKind::StandardNod | FrameKind::ObjectNod) {
        // ABBA: the first and the fourth of four on side A.
        let throw = 5.0;
        let side = if expno % 4 < 2 { 1.0 } else { -1.0 };
        cards.eso("SEQ CUMOFF X", 0.0);
        cards.eso("SEQ CUMOFF Y", side * throw / 2.0);
        cards.eso("SEQ NOD THROW", throw);
        cards.eso("SEQ JITTER WIDTH", 0.0);
    }
}
