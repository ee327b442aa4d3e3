//! The kinds of frames that the instrument takes.

use serde::{Deserialize, Serialize};

use super::plan::Lamp;
use crate::instrument::Arm;

/// What a frame shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FrameKind {
    /// Shutter closed, no exposure (VIS, ACQ).
    Bias,
    /// Shutter closed.
    Dark,
    /// Arc lamps through the single pinhole.
    PinholeArc,
    /// Quartz lamp through the single pinhole.
    PinholeFlat,
    /// Quartz lamp through a slit.
    SlitFlat,
    /// Deuterium lamp through a slit (VIS).
    DeuteriumFlat,
    /// Lamp-off partner of a flat (NIR).
    LampOff,
    /// Arc lamps through the row of pinholes.
    MultiPinholeArc,
    /// Arc lamps through a slit: measures the resolution.
    SlitArc,
    /// Flux standard, stare.
    StandardStare,
    /// Flux standard, nodding.
    StandardNod,
    /// Telluric standard, stare.
    TelluricStare,
    /// Telluric standard, nodding.
    TelluricNod,
    /// Target, stare.
    ObjectStare,
    /// Target, nodding.
    ObjectNod,
    /// Target and blank sky in turn.
    ObjectOffset,
    /// Picture of the field before the slit is placed (ACQ).
    Acquisition,
    /// Twilight sky (ACQ).
    TwilightFlat,
    /// Picture for photometry (ACQ).
    Imaging,
}

impl FrameKind {
    /// The name that plans and truth use: `slit-flat`.
    pub fn name(self) -> &'static str {
        use FrameKind::*;
        match self {
            Bias => "bias",
            Dark => "dark",
            PinholeArc => "pinhole-arc",
            PinholeFlat => "pinhole-flat",
            SlitFlat => "slit-flat",
            DeuteriumFlat => "deuterium-flat",
            LampOff => "lamp-off",
            MultiPinholeArc => "multi-pinhole-arc",
            SlitArc => "slit-arc",
            StandardStare => "standard-stare",
            StandardNod => "standard-nod",
            TelluricStare => "telluric-stare",
            TelluricNod => "telluric-nod",
            ObjectStare => "object-stare",
            ObjectNod => "object-nod",
            ObjectOffset => "object-offset",
            Acquisition => "acquisition",
            TwilightFlat => "twilight-flat",
            Imaging => "imaging",
        }
    }

    /// Whether the light of a target can fall in.
    pub fn on_sky(self) -> bool {
        use FrameKind::*;
        self.nods()
            || matches!(self, StandardStare | TelluricStare | ObjectStare | ObjectOffset | Acquisition | Imaging)
    }

    /// Whether the target moves between two places on the slit.
    pub fn nods(self) -> bool {
        matches!(self, FrameKind::StandardNod | FrameKind::TelluricNod | FrameKind::ObjectNod)
    }

    /// Whether the light comes through pinholes.
    pub fn through_mask(self) -> bool {
        matches!(self, FrameKind::PinholeArc | FrameKind::PinholeFlat | FrameKind::MultiPinholeArc)
    }

    /// Whether the template chooses the slit: others have their mask or none.
    pub fn through_slit(self) -> bool {
        use FrameKind::*;
        let sky = self.on_sky() && !matches!(self, Acquisition | Imaging);
        sky || matches!(self, SlitFlat | DeuteriumFlat | SlitArc | LampOff)
    }

    /// Whether frames of this kind exist in the arm.
    pub fn exists_in(self, arm: Arm) -> bool {
        use FrameKind::*;
        match self {
            Bias => arm != Arm::Nir,
            Dark => true,
            Acquisition | TwilightFlat | Imaging => arm == Arm::Acq,
            DeuteriumFlat => arm == Arm::Vis,
            _ => arm != Arm::Acq,
        }
    }

    /// The lamps that are on when the plan does not say.
    pub fn usual_lamps(self, arm: Arm) -> &'static [Lamp] {
        use FrameKind::*;
        match self {
            PinholeFlat | SlitFlat => &[Lamp::Qth],
            DeuteriumFlat => &[Lamp::D2],
            PinholeArc | MultiPinholeArc | SlitArc if arm == Arm::Nir => &[Lamp::Ar, Lamp::Ne, Lamp::Hg, Lamp::Xe],
            PinholeArc | MultiPinholeArc | SlitArc => &[Lamp::ThAr],
            _ => &[],
        }
    }
}
