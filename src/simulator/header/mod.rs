//! Headers as the instrument writes them. Per-arm peculiarities are meant: NIR frames carry neither gain nor binning, the
//! acquisition camera neither arm nor EXPTIME.

mod kinds;
#[cfg(test)]
mod tests;

use jiff::Timestamp;

use super::detector::Camera;
use super::horizon::{self, Place};
use super::kind::FrameKind;
use super::math;
use super::night::TemplatePlan;
use super::plan::{Conditions, GainCards};
use crate::fits::{Header, Value};
use crate::instrument::Arm;

pub(super) use kinds::slit_of;

/// Longest part of an object's name in the name that the instrument gives to a file: the card must fit 80 characters.
const LABEL: usize = 16;

/// What the cards of one exposure follow from.
pub(super) struct Facts<'a> {
    pub template: &'a TemplatePlan,
    pub camera: &'a Camera,
    /// The template's, or lamp-off for its partners.
    pub kind: FrameKind,
    /// Place of the template in the plan, from 0.
    pub index: usize,
    /// From 1.
    pub expno: u32,
    pub template_start: Timestamp,
    /// As the instrument's clock tells it.
    pub start: Timestamp,
    /// Seconds that the exposure lasted.
    pub exptime: f64,
    pub conditions: &'a Conditions,
    /// At the start and at the end.
    pub places: [Place; 2],
    /// Right ascension and declination, degrees.
    pub pointing: [f64; 2],
    /// Offset across and along the slit, arcsec, in nodding templates.
    pub nod: Option<[f64; 2]>,
    /// Offset east and north, arcsec, in offset templates.
    pub fixoff: Option<[f64; 2]>,
    pub gain_cards: GainCards,
}

/// Time to the millisecond as DATE-OBS has it.
pub(super) fn iso(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%3f").to_string()
}

/// The cards of one exposure.
pub(super) fn build(facts: &Facts<'_>) -> Header {
    let kind = kinds::of(facts.template, facts.kind);
    let object = if facts.template.kind.on_sky() { facts.template.object.as_str() } else { kind.dpr_type };
    let label: String = object.replace([',', ' '], "_").chars().take(LABEL).collect();
    let image = format!("SOXS_{}_{label}_{:03}_{:04}.fits", facts.template.arm, facts.index + 1, facts.expno);
    let mut cards = Cards(Header::new());
    general(&mut cards, facts, object);
    sequence(&mut cards, facts, &kind, object);
    detector(&mut cards, facts, &image);
    path(&mut cards, facts);
    telescope(&mut cards, facts);
    cards.put("ORIGFILE", image);
    cards.put("ARCFILE", format!("SOXS.{}.fits", iso(facts.start)));
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

fn general(cards: &mut Cards, facts: &Facts<'_>, object: &str) {
    let mjd = horizon::mjd(facts.start);
    cards.put("ORIGIN", "ESO");
    cards.put("DATE", iso(facts.start));
    cards.put("TELESCOP", "ESO-NTT");
    cards.put("INSTRUME", "SOXS");
    cards.put("OBJECT", object);
    cards.put("RA", rounded(facts.pointing[0], 5));
    cards.put("DEC", rounded(facts.pointing[1], 5));
    cards.put("EQUINOX", 2000.0);
    cards.put("RADECSYS", "FK5");
    if facts.template.arm != Arm::Acq {
        cards.put("EXPTIME", facts.exptime);
    }
    cards.put("MJD-OBS", rounded(mjd, 8));
    cards.put("DATE-OBS", iso(facts.start));
    cards.put("UTC", rounded(facts.start.as_millisecond().rem_euclid(86_400_000) as f64 / 1000.0, 3));
    // Seconds of sidereal time.
    cards.put("LST", rounded(horizon::sidereal(facts.start) * 240.0, 3));
    cards.put("PI-COI", "SIMULATION");
    cards.put("OBSERVER", "SIMULATOR");
    cards.put("BUNIT", "adu");
}

fn sequence(cards: &mut Cards, facts: &Facts<'_>, kind: &kinds::Kind, object: &str) {
    let template = facts.template;
    let arm = template.arm;
    let id = kind.template_id(template);
    let start = facts.template_start.strftime("%Y-%m-%dT%H:%M:%S").to_string();
    let arm_offset = match arm {
        Arm::Vis => 0,
        Arm::Nir => 500,
        Arm::Acq => 900,
    };
    // The index of a template is far below 2^63.
    cards.eso("OBS ID", 4_200_001 + arm_offset + facts.index as i64 * 1000);
    // One name per block: lamp-off frames are matched by it in the reference pipeline.
    let block = match template.block.as_str() {
        "" => format!("{arm}_{object}_{}", facts.index + 1).replace(',', "_"),
        block => block.to_string(),
    };
    cards.eso("OBS NAME", block);
    cards.eso("OBS PROG ID", "60.A-9999(Z)");
    cards.eso("OBS TARG NAME", object);
    cards.eso("OBS TPLNO", 1);
    cards.eso("OBS NTPL", 1);
    cards.eso("OBS START", start.as_str());
    cards.eso("TPL NAME", format!("{arm} {}", id.trim_start_matches("SOXS_")));
    cards.eso("TPL ID", id);
    cards.eso("TPL NEXP", i64::from(template.nexp.unwrap_or(template.frames + template.off)));
    cards.eso("TPL EXPNO", i64::from(facts.expno));
    cards.eso("TPL START", start);
    cards.eso("DPR CATG", kind.catg);
    cards.eso("DPR TYPE", kind.dpr_type);
    cards.eso("DPR TECH", kind.tech);
    if arm != Arm::Acq {
        cards.eso("SEQ ARM", arm.as_str());
    }
}

fn detector(cards: &mut Cards, facts: &Facts<'_>, image: &str) {
    let (template, camera) = (facts.template, facts.camera);
    match template.arm {
        Arm::Vis => {
            cards.eso("DET READ CURID", i64::from(template.read_mode));
            cards.eso("DET READ CURNAME", camera.mode_name);
            cards.eso("DET BINX", camera.binning.x as i64);
            cards.eso("DET BINY", camera.binning.y as i64);
            cards.eso("DET OUT1 CONAD", camera.gain);
            cards.eso(
                "DET OUT1 GAIN",
                match facts.gain_cards {
                    GainCards::Eso => rounded(1.0 / camera.gain, 6),
                    GainCards::Both => camera.gain,
                },
            );
            cards.eso("DET OUT1 RON", camera.ron);
            cards.eso("DET CHIP RON", camera.ron);
            cards.eso("DET CHIP PSZX", 15.0);
            cards.eso("DET CHIP PSZY", 15.0);
            cards.eso("DET UIT1", template.exptime);
            cards.eso("DET EXP TYPE", if template.kind == FrameKind::Bias { "Bias" } else { "Normal" });
            cards.eso("OCS DET2 IMGNAME", image);
        }
        Arm::Nir => {
            cards.eso("DET READ CURID", i64::from(template.read_mode));
            cards.eso("DET READ CURNAME", camera.mode_name);
            cards.eso("DET CHIP RON", 0.0);
            cards.eso("DET SEQ1 DIT", template.exptime);
            cards.eso("DET NDIT", 1);
            cards.eso("OCS DET1 IMGNAME", image);
        }
        Arm::Acq => {
            cards.eso("DET3 CAM NAME", "ACQ");
            cards.eso("DET3 EXPO TIME", facts.exptime);
            cards.eso("OCS DET3 IMGNAME", image);
        }
    }
}

fn path(cards: &mut Cards, facts: &Facts<'_>) {
    let template = facts.template;
    // Hours from local midnight; the air cools until morning, and the detectors follow a little.
    let hours = (facts.start.as_second().rem_euclid(86_400) as f64 / 3600.0 - 4.7 + 12.0).rem_euclid(24.0) - 12.0;
    let (_, warmth) = math::sin_cos((hours - 10.0) / 24.0 * std::f64::consts::TAU);
    match template.arm {
        Arm::Vis => {
            cards.eso("INS VISE NAME", slit_of(template));
            cards.eso("INS VISE SWSIM", false);
            cards.eso("INS TEMP104 VAL", rounded(153.2 + 0.02 * warmth, 3));
        }
        Arm::Nir => {
            cards.eso("INS NISE NAME", slit_of(template));
            cards.eso("INS NISE SWSIM", false);
            cards.eso("INS TEMP217 VAL", rounded(40.1 + 0.01 * warmth, 3));
        }
        Arm::Acq => cards.eso("INS ACQS ID", "FREE"),
    }
    if facts.kind != FrameKind::LampOff {
        for lamp in template.lamps() {
            cards.eso(&format!("INS {} NAME", lamp.keyword()), lamp.label());
            cards.eso(&format!("INS {} ST", lamp.keyword()), true);
        }
    }
    cards.eso("INS ACFW ID", if template.arm == Arm::Acq { template.filter.as_str() } else { "OPEN" });
    cards.eso("INS TEMP301 VAL", rounded(facts.conditions.temperature + 1.4 + 2.5 * warmth, 2));
    // The mirrors of the active correction turn against the sag of the instrument, which follows the rotator.
    let (sine, cosine) = math::sin_cos(facts.places[1].rotator().to_radians());
    for (position, value) in [
        ("AFC1 POS1", 0.42 * sine),
        ("AFC1 POS2", 0.31 * cosine),
        ("AFC2 POS1", 0.55 * sine),
        ("AFC2 POS2", 0.38 * cosine),
    ] {
        // Adding zero makes of -0.0 a plain 0.
        cards.eso(&format!("INS {position}"), rounded(value, 4) + 0.0);
    }
}

fn telescope(cards: &mut Cards, facts: &Facts<'_>) {
    let [first, last] = facts.places;
    // The monitor beside the telescope measures towards the zenith.
    let seeing = facts.conditions.seeing;
    for (keyword, value) in [
        ("ADA ABSROT END", rounded(last.rotator(), 4)),
        ("TEL AZ", rounded(first.azimuth, 3)),
        ("TEL ALT", rounded(first.altitude, 3)),
        ("TEL PARANG START", rounded(first.parallactic, 3)),
        ("TEL PARANG END", rounded(last.parallactic, 3)),
        ("TEL AIRM START", rounded(first.airmass, 3)),
        ("TEL AIRM END", rounded(last.airmass, 3)),
        ("TEL AMBI FWHM START", rounded(seeing, 2)),
        ("TEL AMBI FWHM END", rounded(seeing, 2)),
    ] {
        cards.eso(keyword, value);
    }
    if let Some([across, along]) = facts.nod {
        cards.eso("SEQ CUMOFF X", across);
        cards.eso("SEQ CUMOFF Y", along);
        cards.eso("SEQ NOD THROW", facts.template.throw);
        cards.eso("SEQ JITTER WIDTH", facts.template.jitter);
    }
    if let Some([east, north]) = facts.fixoff {
        cards.eso("SEQ FIXOFF RA", east);
        cards.eso("SEQ FIXOFF DEC", north);
    }
}

/// A number as people write it in a header.
fn rounded(value: f64, digits: u32) -> f64 {
    let scale = f64::from(10_u32.pow(digits));
    (value * scale).round() / scale
}
