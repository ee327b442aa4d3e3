//! Lamps, slits and filters by the names of the instrument.

use serde::{Deserialize, Serialize};

pub use crate::simulator::light::lamps::Lamp;

impl Lamp {
    /// Every lamp.
    pub const ALL: [Lamp; 7] = [Lamp::Qth, Lamp::D2, Lamp::Ar, Lamp::Ne, Lamp::Hg, Lamp::Xe, Lamp::ThAr];

    /// As in `ESO INS <lamp> NAME`.
    pub fn keyword(self) -> &'static str {
        match self {
            Lamp::Qth => "QTH",
            Lamp::D2 => "DEUT",
            Lamp::Ar => "ARGO",
            Lamp::Ne => "NEON",
            Lamp::Hg => "MERC",
            Lamp::Xe => "XENO",
            Lamp::ThAr => "THAR",
        }
    }

    /// As in the value of `ESO INS <lamp> NAME`.
    pub fn label(self) -> &'static str {
        match self {
            Lamp::Qth => "Qth_Lamp",
            Lamp::D2 => "Deut_Lamp",
            Lamp::Ar => "Argo_Lamp",
            Lamp::Ne => "Neon_Lamp",
            Lamp::Hg => "Merc_Lamp",
            Lamp::Xe => "Xeno_Lamp",
            Lamp::ThAr => "ThAr_Lamp",
        }
    }
}

/// A lamp that gives light.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LitLamp {
    /// Which.
    pub lamp: Lamp,
    /// Brightness against the usual one.
    pub level: f64,
}

/// Slits and masks in the slit units of both arms.
pub const SLITS: [&str; 7] = ["SLIT0.5", "SLIT1.0", "SLIT1.5", "SLIT5.0", "PINHOLE", "MULTPIN", "BLANK"];

/// Filters of the acquisition camera.
pub const FILTERS: [&str; 7] = ["u", "g", "r", "i", "z", "y", "V"];

/// What the GAIN card of the CCD says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GainCards {
    /// CONAD has electrons per ADU and GAIN the reciprocal, as ESO's dictionary has it.
    #[default]
    Eso,
    /// Both have electrons per ADU: pipelines that take the larger of the two then get it right.
    Both,
}

/// State of the shutter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shutter {
    /// Opens for the exposure and closes after it.
    #[default]
    Works,
    /// Never opens: no light.
    StuckClosed,
    /// Never closes: light keeps falling while the detector is read out, and trails along the columns.
    StuckOpen,
}
