//! The typed description of one raw frame, made from its header by the classification rules.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The part of the instrument that took a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Arm {
    /// UV-VIS spectrograph, 350-850 nm, four quasi-orders dispersed along y.
    Vis,
    /// Near-infrared spectrograph, 800-2000 nm, fifteen orders dispersed along x.
    Nir,
    /// Acquisition and guiding camera.
    Acq,
}

impl Arm {
    /// `VIS`, `NIR` or `ACQ`, as in headers and file names.
    pub fn as_str(self) -> &'static str {
        match self {
            Arm::Vis => "VIS",
            Arm::Nir => "NIR",
            Arm::Acq => "ACQ",
        }
    }

    /// Inverse of [`Arm::as_str`]; blanks around the name and lower case are forgiven.
    pub fn parse(text: &str) -> Option<Arm> {
        match text.trim().to_ascii_uppercase().as_str() {
            "VIS" => Some(Arm::Vis),
            "NIR" => Some(Arm::Nir),
            "ACQ" => Some(Arm::Acq),
            _ => None,
        }
    }
}

impl std::fmt::Display for Arm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Detector binning, columns x rows (x is the slit direction in VIS).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Binning {
    /// `ESO DET BINX`.
    pub x: usize,
    /// `ESO DET BINY`.
    pub y: usize,
}

impl std::fmt::Display for Binning {
    /// `1x1`, with a lower-case x as the reference pipeline writes it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.x, self.y)
    }
}

/// An observing night, named by the civil date on which it starts.
///
/// Three conventions are alive in the reference pipeline and its consumers; each has its constructor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Night(pub jiff::civil::Date);

impl Night {
    /// The night of products and QC: UT minus 15 hours, so 11 h to 11 h in Chile.
    pub fn of(time: Timestamp) -> Night {
        Night::shifted(time, 15)
    }

    /// The night of raw folders: UT minus 12 hours.
    pub fn of_raw_folder(time: Timestamp) -> Night {
        Night::shifted(time, 12)
    }

    /// The calendar date in UT, which the quality monitor reads from file names.
    pub fn calendar(time: Timestamp) -> Night {
        Night::shifted(time, 0)
    }

    fn shifted(time: Timestamp, hours: i64) -> Night {
        let shifted = time.saturating_sub(jiff::SignedDuration::from_hours(hours)).unwrap_or(time);
        Night(shifted.to_zoned(jiff::tz::TimeZone::UTC).date())
    }

    /// When the night of products begins, microseconds since 1970 UTC; `None` at the ends of the calendar.
    pub fn begin_us(self) -> Option<i64> {
        let begin = self.0.at(15, 0, 0, 0).to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        Some(begin.timestamp().as_microsecond())
    }

    /// Inverse of the text form `YYYY-MM-DD`.
    pub fn parse(text: &str) -> Option<Night> {
        text.parse().ok().map(Night)
    }
}

impl std::fmt::Display for Night {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0.to_string())
    }
}

/// What the project does with a classified frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Usage {
    /// It enters a set of frames and is reduced.
    Reduce,
    /// It is registered and counted, and no recipe consumes it (lamp-off partners, acquisition images).
    Register,
    /// It must not be used; the reason is kept.
    Ignore,
}

impl Usage {
    /// Stable identifier for the catalogue.
    pub fn as_str(self) -> &'static str {
        match self {
            Usage::Reduce => "reduce",
            Usage::Register => "register",
            Usage::Ignore => "ignore",
        }
    }
}

/// Where the telescope pointed, and through what, while a frame of the sky was exposed. Empty for calibrations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OnSky {
    /// `ESO OBS TARG NAME`; empty when absent.
    pub target: String,
    /// Right ascension and declination of the pointing, degrees (`RA`, `DEC`).
    pub position: Option<[f64; 2]>,
    /// Airmass at start and end of the exposure; `None` when absent or not to be believed.
    pub airmass: Option<[f64; 2]>,
    /// FWHM of the seeing, arcsec, mean of start and end; `None` as above.
    pub seeing: Option<f64>,
    /// Offset of the target along the slit that a nodding template has commanded, arcsec (`ESO SEQ CUMOFF Y`); `None` when
    /// absent.
    #[serde(default)]
    pub nod: Option<f64>,
    /// Offset of the telescope in right ascension and declination that an offset template has commanded, arcsec
    /// (`ESO SEQ FIXOFF RA`, `DEC`); `None` when absent.
    #[serde(default)]
    pub fixed_offset: Option<[f64; 2]>,
}

/// Everything association, recipes and people need to know of a raw frame, typed and checked once, at ingest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FrameMeta {
    /// Data id, unique for an exposure of an arm: `SOXS.2026-03-10T19:00:42.000`.
    pub data_id: String,
    /// Arm.
    pub arm: Arm,
    /// Name of the classification rule that matched: `bias`, `dark`, `slit_flat`...
    pub kind: String,
    /// What to do with it.
    pub usage: Usage,
    /// Why it is registered only or ignored; empty when it is reduced.
    pub usage_reason: String,
    /// Recipe that consumes it, when it is reduced.
    pub recipe: Option<String>,
    /// Start of the exposure.
    pub date_obs: Timestamp,
    /// Modified Julian date of the start of the exposure (UTC days).
    pub mjd_obs: f64,
    /// Exposure time in seconds (one DIT in NIR), rounded to 0.01 s so that sets do not split on jitter.
    pub exptime: f64,
    /// `ESO DPR CATG`.
    pub dpr_catg: String,
    /// `ESO DPR TYPE`.
    pub dpr_type: String,
    /// `ESO DPR TECH`.
    pub dpr_tech: String,
    /// `ESO TPL ID`; empty when absent.
    pub tpl_id: String,
    /// `ESO TPL NAME`; empty when absent.
    pub tpl_name: String,
    /// `ESO TPL START`; the exposure start when absent.
    pub tpl_start: Timestamp,
    /// `ESO TPL EXPNO`, from 1.
    pub tpl_expno: u32,
    /// `ESO TPL NEXP`, at least 1.
    pub tpl_nexp: u32,
    /// `ESO OBS ID`.
    pub obs_id: Option<i64>,
    /// `ESO OBS NAME`; empty when absent.
    pub obs_name: String,
    /// `ESO OBS PROG ID`; empty when absent.
    pub prog_id: String,
    /// `OBJECT`; empty when absent.
    pub object: String,
    /// Detector binning; `None` for NIR, whose headers carry none.
    pub binning: Option<Binning>,
    /// `ESO DET READ CURID` as text (VIS 1..4, NIR 3).
    pub read_mode: Option<String>,
    /// Conversion factor in electrons per ADU, from the header by the gain rule or from the arm's default.
    pub gain: f64,
    /// Read noise in electrons as the header has it; `None` when absent or not positive.
    pub ron: Option<f64>,
    /// Slit or mask name: `SLIT1.0`, `PINHOLE`; `None` for bias and dark.
    pub slit: Option<String>,
    /// `SLIT`, `PH` or `MPH`.
    pub slitmask: Option<String>,
    /// Lamps on, joined in the fixed order QTH D Ar Ne Hg Xe ThAr.
    pub lamp: Option<String>,
    /// Acquisition camera filter.
    pub filter: Option<String>,
    /// Columns of the raw image (NAXIS1).
    pub columns: usize,
    /// Rows of the raw image (NAXIS2).
    pub rows: usize,
    /// Detector temperature in kelvin.
    pub detector_temp: Option<f64>,
    /// Common path temperature in degrees Celsius.
    pub common_path_temp: Option<f64>,
    /// Pointing and air, for frames of the sky.
    #[serde(default)]
    pub on_sky: OnSky,
    /// Defaults that had to be used and oddities that do not prevent use.
    pub warnings: Vec<String>,
}
