//! What goes wrong, by plan: in the file, in the header, in the course of the exposure, or in the light.
//!
//! Each fault is named in the truth of every frame that it touches, with its parameters. Faults of the file are applied
//! to the finished bytes (`file`), those of the header to the cards (`header`); faults of the light change what an
//! exposure asks of the instrument (`light`), so that whoever draws it need not know the word fault.

pub(super) mod file;
pub(super) mod header;
pub(super) mod light;

use serde::{Deserialize, Serialize};

use super::kind::FrameKind;
use super::plan::{Lamp, SLITS};
use crate::fits::Value;
use crate::instrument::Arm;

/// A fault and the frames that it touches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedFault {
    /// Exposure number within the template, from 1; absent: every frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame: Option<u32>,
    /// What happens.
    pub fault: Fault,
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// The file ends after this share of its bytes.
    CutShort {
        /// Above 0, below 1.
        fraction: f64,
    },
    /// The file grows over so many seconds of the real clock, in equal pieces.
    WrittenSlowly {
        /// Seconds from the first piece to the last.
        seconds: f64,
        /// Two or more.
        pieces: u32,
    },
    /// A file of zero bytes.
    Empty,
    /// The first block is noise.
    Garbage,
    /// The pixels without a header.
    HeaderMissing,

    /// The card is not there.
    KeywordMissing {
        /// As people say it: `ESO DPR TYPE`.
        keyword: String,
    },
    /// The card says something else.
    WrongValue {
        /// As people say it.
        keyword: String,
        /// What it says.
        value: Value,
    },
    /// The header says the other spectrograph.
    WrongArm,
    /// The header names this lamp in place of those that shine.
    WrongLamp {
        /// The lamp of the header.
        lamp: Lamp,
    },
    /// The header says another slit.
    WrongSlit {
        /// The slit of the header.
        slit: String,
    },
    /// CONAD and GAIN have changed places.
    SwappedGain,
    /// The card's value is NaN, which FITS forbids.
    NanValue {
        /// As people say it.
        keyword: String,
    },
    /// The card's value has bytes outside ASCII, which FITS forbids.
    NonAscii {
        /// As people say it.
        keyword: String,
    },
    /// The clock of the instrument was off by so many seconds.
    ClockJump {
        /// Added to every time in the header and to the name.
        seconds: f64,
    },
    /// The frame has the time and the archive name of the frame before it in the same arm.
    DuplicateId,

    /// The exposure was ended after so many seconds, and with it the template.
    Aborted {
        /// Shorter than the exposure.
        seconds: f64,
    },

    /// The header says that the lamps are on, but no light comes.
    LampOff,
    /// One lamp gives no light.
    LampDead {
        /// Which.
        lamp: Lamp,
    },
    /// From this frame on the lamps have this share of their brightness.
    LampFailing {
        /// 0 to 1.
        level: f64,
    },
    /// The lamps are so many times too bright.
    SaturatedArc {
        /// Above 1.
        factor: f64,
    },
    /// The shutter does not move.
    ShutterStuck {
        /// True: it stays open, and light trails while the detector is read; false: it stays closed.
        open: bool,
    },
    /// Nothing stands in the slit but the sky.
    BlankField,
    /// A cloud in front of the target.
    Cloud {
        /// Magnitudes on top of those of the conditions.
        magnitudes: f64,
    },
    /// Other stars stand in the slit.
    CrowdedSlit {
        /// How many.
        stars: u32,
        /// How much fainter than the target each is, magnitudes.
        fainter: f64,
    },
    /// The target stands beside the slit.
    OffSlit {
        /// Across the slit.
        arcsec: f64,
    },
    /// The target stands near the end of the slit.
    TraceAtEdge {
        /// Along the slit, from its centre.
        arcsec: f64,
    },
    /// The target is fainter than planned.
    VeryFaint {
        /// AB.
        magnitude: f64,
    },
    /// The target is brighter than planned.
    VeryBright {
        /// AB.
        magnitude: f64,
    },
    /// The spectrograph is out of focus.
    Defocus {
        /// Added in square to the width of the image, pixels FWHM.
        pixels: f64,
    },
    /// The mask does not stand where it should.
    SlippedMask {
        /// Along the slit.
        arcsec: f64,
    },
    /// From this frame on, the image of this arm lies elsewhere.
    FlexureJump {
        /// Pixels in x and y.
        shift: [f64; 2],
    },
}

/// Where a fault acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// The bytes of the file.
    File,
    /// The cards.
    Header,
    /// The course of the exposure.
    Exposure,
    /// What light falls.
    Light,
}

impl Fault {
    /// Where it acts.
    pub fn level(&self) -> Level {
        use Fault::*;
        match self {
            CutShort { .. } | WrittenSlowly { .. } | Empty | Garbage | HeaderMissing => Level::File,
            KeywordMissing { .. }
            | WrongValue { .. }
            | WrongArm
            | WrongLamp { .. }
            | WrongSlit { .. }
            | SwappedGain
            | NanValue { .. }
            | NonAscii { .. }
            | ClockJump { .. }
            | DuplicateId => Level::Header,
            Aborted { .. } => Level::Exposure,
            LampOff
            | LampDead { .. }
            | LampFailing { .. }
            | SaturatedArc { .. }
            | ShutterStuck { .. }
            | BlankField
            | Cloud { .. }
            | CrowdedSlit { .. }
            | OffSlit { .. }
            | TraceAtEdge { .. }
            | VeryFaint { .. }
            | VeryBright { .. }
            | Defocus { .. }
            | SlippedMask { .. }
            | FlexureJump { .. } => Level::Light,
        }
    }

    /// The name by which plans and truth know it: `cut-short`.
    pub fn name(&self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(name)) => name,
            Ok(serde_json::Value::Object(table)) => table.keys().next().cloned().unwrap_or_default(),
            // A fault is a word or a table of one key.
            _ => String::new(),
        }
    }

    /// The card that must be there for the fault to happen.
    pub(super) fn card(&self) -> Option<&str> {
        match self {
            Fault::KeywordMissing { keyword } | Fault::NanValue { keyword } | Fault::NonAscii { keyword } => {
                Some(keyword)
            }
            _ => None,
        }
    }

    /// Whether it happens to a target in the slit.
    pub(super) fn needs_target(&self) -> bool {
        use Fault::*;
        matches!(self, CrowdedSlit { .. } | OffSlit { .. } | TraceAtEdge { .. } | VeryFaint { .. } | VeryBright { .. })
    }

    /// Whether it lasts from its frame to the end of the template.
    pub(super) fn lasts(&self) -> bool {
        matches!(self, Fault::LampFailing { .. })
    }

    /// Why this fault cannot happen to such frames, or what is wrong with its parameters.
    pub(super) fn problem(&self, kind: FrameKind, arm: Arm, exptime: f64, lamps: &[Lamp]) -> Option<String> {
        use Fault::*;
        let within = |what: &str, value: f64, low: f64, high: f64| {
            (!(value >= low && value <= high)).then(|| format!("{what} = {value}: give {low} to {high}"))
        };
        let keyword = |keyword: &str| {
            let well_formed = !keyword.is_empty()
                && keyword.len() <= 40
                && keyword
                    .bytes()
                    .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b" -_".contains(&byte));
            let structural = ["SIMPLE", "BITPIX", "NAXIS", "EXTEND", "BZERO", "BSCALE", "CHECKSUM", "DATASUM", "END"];
            if structural.iter().any(|start| keyword.starts_with(start)) {
                return Some(format!(
                    "keyword = {keyword:?}: this card follows from the pixels; use cut-short or garbage"
                ));
            }
            (!well_formed).then(|| format!("keyword = {keyword:?}: write it in upper case as in \"ESO DPR TYPE\""))
        };
        let needs = |holds: bool, what: &str| (!holds).then(|| format!("it needs {what}"));
        match self {
            CutShort { fraction } => within("fraction", *fraction, 0.001, 0.999),
            WrittenSlowly { seconds, pieces } => {
                within("seconds", *seconds, 0.0, 3600.0).or(within("pieces", f64::from(*pieces), 2.0, 1000.0))
            }
            Empty | Garbage | HeaderMissing | DuplicateId => None,
            KeywordMissing { keyword: name } | NanValue { keyword: name } | NonAscii { keyword: name } => keyword(name),
            WrongValue { keyword: name, value } => keyword(name).or_else(|| {
                let fits = match value {
                    Value::Real(number) => number.is_finite(),
                    Value::Text(text) => text.len() <= 40 && text.bytes().all(|byte| (0x20..0x7f).contains(&byte)),
                    _ => true,
                };
                (!fits).then(|| format!("value = {value}: give what a card can hold, or use nan-value or non-ascii"))
            }),
            WrongArm => needs(arm != Arm::Acq, "a spectrograph: the camera's headers name no arm"),
            WrongLamp { .. } => needs(!lamps.is_empty(), "a frame with lamps"),
            WrongSlit { slit } => needs(arm != Arm::Acq, "a spectrograph: the camera has no slit").or_else(|| {
                let known = SLITS.contains(&slit.as_str()) || slit == "UNDEFINED";
                (!known).then(|| format!("slit = {slit:?}: give {} or UNDEFINED", SLITS.join(", ")))
            }),
            SwappedGain => needs(arm == Arm::Vis, "VIS: other arms have no gain in their headers"),
            ClockJump { seconds } => within("seconds", *seconds, -1.0e9, 1.0e9),
            Aborted { seconds } => needs(*seconds > 0.0 && *seconds < exptime, "0 < seconds < exptime"),
            LampOff => needs(!lamps.is_empty(), "a frame with lamps"),
            LampDead { lamp } => needs(lamps.contains(lamp), "a frame with this lamp"),
            LampFailing { level } => {
                needs(!lamps.is_empty(), "a frame with lamps").or(within("level", *level, 0.0, 1.0))
            }
            SaturatedArc { factor } => {
                needs(!lamps.is_empty(), "a frame with lamps").or(within("factor", *factor, 1.0, 1.0e6))
            }
            ShutterStuck { .. } => {
                needs(exptime > 0.0 && arm != Arm::Nir, "a detector with a shutter, VIS or ACQ, and an exposure")
            }
            BlankField => needs(kind.on_sky(), "a frame of the sky"),
            Cloud { magnitudes } => {
                needs(kind.on_sky(), "a frame of the sky").or(within("magnitudes", *magnitudes, 0.0, 20.0))
            }
            CrowdedSlit { stars, fainter } => needs(kind.on_sky(), "a frame of the sky")
                .or(within("stars", f64::from(*stars), 1.0, 50.0))
                .or(within("fainter", *fainter, -10.0, 20.0)),
            OffSlit { arcsec } | TraceAtEdge { arcsec } => {
                needs(kind.on_sky(), "a frame of the sky").or(within("arcsec", *arcsec, -60.0, 60.0))
            }
            VeryFaint { magnitude } | VeryBright { magnitude } => {
                needs(kind.on_sky(), "a frame of the sky").or(within("magnitude", *magnitude, -5.0, 35.0))
            }
            Defocus { pixels } => within("pixels", *pixels, 0.0, 50.0),
            SlippedMask { arcsec } => {
                needs(kind.through_mask(), "a frame through a pinhole mask").or(within("arcsec", *arcsec, -12.0, 12.0))
            }
            FlexureJump { shift: [x, y] } => within("shift", *x, -100.0, 100.0).or(within("shift", *y, -100.0, 100.0)),
        }
    }
}
