//! What was observed, in the words of Phase 3: from the headers of the raw frames to times, names and positions that
//! all files of one observation share.

use jiff::Timestamp;

use super::collection::Collection;
use super::error::Phase3Error;
use crate::fits::Header;
use crate::instrument::{Arm, FrameMeta};
use crate::products::Provenance;
use crate::quality::QcMetric;

/// Longest OBJECT: with time, arm, source and revision it must fit into a TITLE of 68 characters.
const OBJECT_MAX: usize = 27;
/// Longest part of a file name that comes from the target.
const NAME_MAX: usize = 20;
const DAY_S: f64 = 86_400.0;

/// A file that is sent with the spectrum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Companion {
    /// File name.
    pub name: String,
    /// Category and md5 of a file that is not FITS: FITS files say their category themselves.
    pub foreign: Option<(String, String)>,
}

/// What the files are made from, beside the spectrum.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Frames that were combined, of one arm or of both. Frames of the sky are left out of every sum.
    pub frames: &'a [FrameMeta],
    /// Header of the first of them.
    pub header: &'a Header,
    /// Recipe, calibrations, parameters.
    pub provenance: &'a Provenance,
    /// Metrics, for the header.
    pub qc: &'a [QcMetric],
    /// Files that are sent along.
    pub companions: &'a [Companion],
    /// Number of the source on the slit, from 1: the target. Further ones carry theirs in names and titles.
    pub source: usize,
    /// 1 for the first reduction of these frames; later ones carry their number in names and titles, which must be new.
    pub revision: u32,
    /// What the collection says.
    pub collection: &'a Collection,
}

/// Which spectrographs a file is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arms {
    /// UV-VIS.
    Vis,
    /// Near infrared.
    Nir,
    /// Joined.
    Joint,
}

impl Arms {
    /// `VIS`, `NIR` or `JNT`, as in file names.
    pub fn as_str(self) -> &'static str {
        match self {
            Arms::Vis => "VIS",
            Arms::Nir => "NIR",
            Arms::Joint => "JNT",
        }
    }
}

/// The kinds of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The science file: one spectrum.
    Spectrum,
    /// Its rectified two-dimensional companion.
    TwoD,
    /// Its picture.
    Preview,
    /// The same spectrum in the layout of the instrument's data paper, a table a quantity; not for the archive.
    Paper,
}

/// Observation of a target: what its files share. Numbers are rounded as they are written, so that what is derived from
/// them agrees with what can be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// OBJECT.
    pub object: String,
    /// RA and DEC of the target, degrees, J2000.
    pub position: [f64; 2],
    /// Whether that is where the telescope pointed, because no header says where the target is.
    pub is_pointing: bool,
    /// RADESYS.
    pub frame: &'static str,
    /// Spectrographs.
    pub arms: Arms,
    /// Begin of the first exposure.
    pub date_obs: Timestamp,
    /// MJD-OBS.
    pub begin: f64,
    /// MJD-END.
    pub end: f64,
    /// EXPTIME, s.
    pub exptime: f64,
    /// TEXPTIME, s.
    pub total: f64,
    /// Programmes, each once.
    pub programmes: Vec<String>,
    /// Observation blocks, each once.
    pub blocks: Vec<i64>,
    /// OBSTECH.
    pub technique: &'static str,
    /// Width of the slit, arcsec.
    pub slit: f64,
    /// Mean seeing, arcsec.
    pub seeing: Option<f64>,
    /// Data ids of the frames, in order of time.
    pub precursors: Vec<String>,
    /// Number of the reduction, from 1.
    pub revision: u32,
    /// Number of the source, from 1.
    pub source: usize,
    /// Time in names and titles: begin of the first exposure of UV-VIS, else of the first one. Exposures of UV-VIS are in one
    /// joint spectrum each, one of NIR may be in several.
    pub stamp: Timestamp,
}

impl Context<'_> {
    /// What is observed on the target.
    pub fn observation(&self) -> Result<Observation, Phase3Error> {
        let mut frames: Vec<&FrameMeta> = self.frames.iter().filter(|frame| !is_sky(frame)).collect();
        frames.sort_by(|a, b| a.mjd_obs.total_cmp(&b.mjd_obs).then_with(|| a.data_id.cmp(&b.data_id)));
        let Some(first) = frames.first().copied() else {
            return Err(Phase3Error::NoTarget { reason: "no frame shows the target".to_string() });
        };
        let ndit = self.header.integer("ESO DET NDIT").ok().filter(|ndit| *ndit > 0).unwrap_or(1) as f64;
        let exposure = |frame: &FrameMeta| if frame.arm == Arm::Nir { frame.exptime * ndit } else { frame.exptime };
        let sum = |arm: Arm| frames.iter().filter(|frame| frame.arm == arm).map(|frame| exposure(frame)).sum::<f64>();
        let (vis, nir) = (sum(Arm::Vis), sum(Arm::Nir));
        let has = |arm: Arm| frames.iter().any(|frame| frame.arm == arm);
        let (arms, exptime, total) = match (has(Arm::Vis), has(Arm::Nir)) {
            // The arms expose at the same time: a sum over both would exceed the time that passed.
            (true, true) => (Arms::Joint, 0.5 * (vis + nir), vis.max(nir)),
            (true, false) => (Arms::Vis, vis, vis),
            (false, true) => (Arms::Nir, nir, nir),
            (false, false) => {
                let reason = "no frame is of a spectrograph".to_string();
                return Err(Phase3Error::NoTarget { reason });
            }
        };
        let end = frames.iter().map(|frame| frame.mjd_obs + exposure(frame) / DAY_S).fold(first.mjd_obs, f64::max);
        let (position, is_pointing) = self.position(first)?;
        let seeing: Vec<f64> = frames.iter().filter_map(|frame| frame.on_sky.seeing).collect();
        Ok(Observation {
            object: self.object(first)?,
            position: position.map(|angle| rounded(angle, 7)),
            is_pointing,
            frame: self.frame(),
            arms,
            date_obs: first.date_obs,
            begin: rounded(first.mjd_obs, 8),
            end: rounded(end, 8),
            exptime: rounded(exptime, 3),
            total: rounded(total, 3),
            programmes: distinct(frames.iter().map(|frame| frame.prog_id.clone()).filter(|id| !id.is_empty())),
            blocks: distinct(frames.iter().filter_map(|frame| frame.obs_id)),
            technique: technique(&first.dpr_tech)?,
            slit: self.slit(first)?,
            seeing: (!seeing.is_empty()).then(|| seeing.iter().sum::<f64>() / seeing.len() as f64),
            precursors: frames.iter().map(|frame| frame.data_id.clone()).collect(),
            revision: self.revision,
            source: self.source,
            stamp: frames.iter().find(|frame| frame.arm == Arm::Vis).map_or(first.date_obs, |frame| frame.date_obs),
        })
    }

    fn object(&self, first: &FrameMeta) -> Result<String, Phase3Error> {
        let named = |name: &str| {
            let generic = self.collection.generic_objects.iter().any(|other| other.eq_ignore_ascii_case(name));
            !name.is_empty() && !generic
        };
        let printable = |name: &str| -> String {
            let kept: String = name.chars().filter(|char| (' '..='~').contains(char)).take(OBJECT_MAX).collect();
            kept.trim().to_string()
        };
        let names = [printable(&first.on_sky.target), printable(&first.object)];
        let [target, object] = &names;
        names.iter().find(|name| named(name)).cloned().ok_or_else(|| Phase3Error::NoTarget {
            reason: format!("neither ESO OBS TARG NAME {target:?} nor OBJECT {object:?} names a target"),
        })
    }

    /// Where the target is, else where the telescope pointed.
    fn position(&self, first: &FrameMeta) -> Result<([f64; 2], bool), Phase3Error> {
        for family in ["ESO OBS TARG", "ESO TEL TARG"] {
            let packed = |name: &str| self.header.real(&format!("{family} {name}")).ok().and_then(unpacked);
            if let (Some(hours), Some(degrees)) = (packed("ALPHA"), packed("DELTA"))
                && (0.0..24.0).contains(&hours)
                && (-90.0..=90.0).contains(&degrees)
            {
                return Ok(([15.0 * hours, degrees], false));
            }
        }
        let pointing = first.on_sky.position.filter(|[ra, dec]| (0.0..=360.0).contains(ra) && dec.abs() <= 90.0);
        pointing.map(|position| (position, true)).ok_or_else(|| Phase3Error::Header {
            keyword: "RA, DEC".to_string(),
            reason: "they are absent or impossible, and so is ESO OBS TARG ALPHA, DELTA".to_string(),
        })
    }

    /// What the standard says of positions without a name of their frame: FK5 where there is an equinox.
    fn frame(&self) -> &'static str {
        let said = ["RADESYS", "RADECSYS"].into_iter().find_map(|keyword| self.header.text(keyword).ok());
        match said {
            Some("ICRS") => "ICRS",
            Some("FK5") => "FK5",
            _ if self.header.contains("EQUINOX") => "FK5",
            _ => "ICRS",
        }
    }

    fn slit(&self, first: &FrameMeta) -> Result<f64, Phase3Error> {
        let name = first.slit.as_deref().unwrap_or_default();
        crate::recipes::spectra::slit_width(name).ok_or_else(|| Phase3Error::Header {
            keyword: "ESO INS slit name".to_string(),
            reason: format!("{name:?} does not say how wide the slit is; it must begin with SLIT and a number"),
        })
    }
}

impl Observation {
    /// Name of a file of this observation in the archive: unique for all time.
    pub fn file_name(&self, kind: Kind) -> String {
        let (stem, suffix) = self.name_parts(kind);
        format!("{stem}{}.{suffix}", self.revised())
    }

    /// Name of a file of this observation in the tree of products, the same for every reduction.
    pub fn tree_name(&self, kind: Kind) -> String {
        let (stem, suffix) = self.name_parts(kind);
        format!("{stem}.{suffix}")
    }

    /// Which source it is, where it is not the target.
    fn numbered(&self) -> String {
        if self.source > 1 { format!("_S{}", self.source) } else { String::new() }
    }

    fn revised(&self) -> String {
        if self.revision > 1 { format!("_R{}", self.revision) } else { String::new() }
    }

    fn name_parts(&self, kind: Kind) -> (String, &'static str) {
        let is_plain = |char: &char| char.is_ascii_alphanumeric() || "+-".contains(*char);
        let object: String = self.object.chars().filter(is_plain).take(NAME_MAX).collect();
        let object = if object.is_empty() { "TARGET".to_string() } else { object };
        let (part, suffix) = match kind {
            Kind::Spectrum => ("1D", "fits"),
            Kind::TwoD => ("2D", "fits"),
            Kind::Preview => ("1D", "png"),
            Kind::Paper => ("SPEC", "fits"),
        };
        let time = self.stamp.strftime("%Y%m%dT%H%M%S%3f");
        (format!("SOXS_{object}_{time}_{}{}_{part}", self.arms.as_str(), self.numbered()), suffix)
    }

    /// DATE-OBS.
    pub fn date_obs_text(&self) -> String {
        written(self.date_obs)
    }

    /// TITLE.
    pub fn title(&self) -> String {
        let (time, arms) = (written(self.stamp), self.arms.as_str());
        format!("{}_SOXS_{time}_{arms}{}{}", self.object, self.numbered(), self.revised())
    }

    /// Seconds from MJD-OBS to MJD-END.
    pub fn elapsed(&self) -> f64 {
        rounded((self.end - self.begin) * DAY_S, 4)
    }
}

fn written(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.3f").to_string()
}

/// Frames of the sky are no exposures of the target, whatever their category.
fn is_sky(frame: &FrameMeta) -> bool {
    let says_sky = |text: &str| text.split(',').any(|word| word.trim().eq_ignore_ascii_case("SKY"));
    says_sky(&frame.dpr_type) || says_sky(&frame.dpr_tech)
}

fn technique(dpr_tech: &str) -> Result<&'static str, Phase3Error> {
    let words =
        [("NODDING", "ECHELLE,SLIT,NODDING"), ("OFFSET", "ECHELLE,SLIT,OFFSET"), ("STARE", "ECHELLE,SLIT,STARE")];
    let found = words.into_iter().find(|(word, _)| dpr_tech.split(',').any(|part| part.trim() == *word));
    found.map(|(_, technique)| technique).ok_or_else(|| Phase3Error::Header {
        keyword: "ESO DPR TECH".to_string(),
        reason: format!("{dpr_tech:?} is neither STARE nor NODDING nor OFFSET"),
    })
}

/// HHMMSS.sss or DDMMSS.sss as hours or degrees; `None` for minutes or seconds of 60 and more.
fn unpacked(packed: f64) -> Option<f64> {
    let magnitude = packed.abs();
    let whole = (magnitude / 10_000.0).floor();
    let minutes = ((magnitude - 10_000.0 * whole) / 100.0).floor();
    let seconds = magnitude - 10_000.0 * whole - 100.0 * minutes;
    let possible = packed.is_finite() && minutes < 60.0 && seconds < 60.0;
    possible.then(|| packed.signum() * (whole + minutes / 60.0 + seconds / 3600.0))
}

/// Values in order, each once.
fn distinct<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut distinct = Vec::new();
    for value in values {
        if !distinct.contains(&value) {
            distinct.push(value);
        }
    }
    distinct
}

/// Median of finite values; of two in the middle their mean.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.retain(|value| value.is_finite());
    values.sort_by(f64::total_cmp);
    let (below, above) = (values.get(values.len().checked_sub(1)? / 2)?, values.get(values.len() / 2)?);
    Some(0.5 * (below + above))
}

/// Rounded to so many decimals.
pub(super) fn rounded(value: f64, decimals: usize) -> f64 {
    // The text is what will stand in the header.
    format!("{value:.decimals$}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_angles_keep_their_sign() {
        let close = |packed: f64, expected: f64| (unpacked(packed).unwrap() - expected).abs() < 1e-12;
        assert!(close(100_029.5, 10.0 + 29.5 / 3600.0));
        assert!(close(-3_027.0, -(30.0 / 60.0 + 27.0 / 3600.0)), "a declination between 0 and -1 degree is negative");
        assert!(close(-453_000.0, -45.5));
        assert_eq!(unpacked(106_100.0), None);
        assert_eq!(unpacked(f64::NAN), None);
    }

    #[test]
    fn rounding_is_that_of_the_card() {
        assert_eq!(rounded(61_000.123_456_784_9, 8), 61_000.123_456_78);
        assert_eq!(rounded(0.1 + 0.2, 3), 0.3);
    }
}
