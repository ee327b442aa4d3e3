//! Lamps, slits and filters by the names of the instrument.

use serde::{Deserialize, Serialize};

/// A lamp of the calibration unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Lamp {
    /// Quartz, tungsten, halogen: flats.
    Qth,
    /// Deuterium: flats in the blue.
    Deut,
    /// Argon.
    Argo,
    /// Neon.
    Neon,
    /// Mercury.
    Merc,
    /// Xenon.
    Xeno,
    /// Thorium and argon: arcs in VIS.
    Thar,
}

impl Lamp {
    /// Every lamp.
    pub const ALL: [Lamp; 7] = [Lamp::Qth, Lamp::Deut, Lamp::Argo, Lamp::Neon, Lamp::Merc, Lamp::Xeno, Lamp::Thar];

    /// As in `ESO INS <lamp> NAME`.
    pub fn keyword(self) -> &'static str {
        match self {
            Lamp::Qth => "QTH",
            Lamp::Deut => "DEUT",
            Lamp::Argo => "ARGO",
            Lamp::Neon => "NEON",
            Lamp::Merc => "MERC",
            Lamp::Xeno => "XENO",
            Lamp::Thar => "THAR",
        }
    }

    /// As in the value of `ESO INS <lamp> NAME`.
    pub fn label(self) -> &'static str {
        match self {
            Lamp::Qth => "Qth_Lamp",
            Lamp::Deut => "Deut_Lamp",
            Lamp::Argo => "Argo_Lamp",
            Lamp::Neon => "Neon_Lamp",
            Lamp::Merc => "Merc_Lamp",
            Lamp::Xeno => "Xeno_Lamp",
            Lamp::Thar => "ThAr_Lamp",
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
