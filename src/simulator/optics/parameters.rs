//! The parameters of the optics of both arms, as a plan may change them.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use crate::instrument::Arm;

use super::{Distortion, Focus, Shape, Stray};

/// The optics of the two spectrographs. What a plan leaves out is as in the usual instrument.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Optics {
    /// The VIS arm.
    #[serde(rename = "VIS", deserialize_with = "vis")]
    pub vis: ArmOptics,
    /// The NIR arm.
    #[serde(rename = "NIR", deserialize_with = "nir")]
    pub nir: ArmOptics,
}

impl Default for Optics {
    fn default() -> Optics {
        Optics { vis: ArmOptics::usual(Arm::Vis), nir: ArmOptics::usual(Arm::Nir) }
    }
}

impl Optics {
    /// Those of an arm; the acquisition camera has none of its own and gets those of the NIR arm.
    pub fn of(&self, arm: Arm) -> &ArmOptics {
        match arm {
            Arm::Vis => &self.vis,
            Arm::Nir | Arm::Acq => &self.nir,
        }
    }
}

/// The optics of one spectrograph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArmOptics {
    /// Relative change of the illumination from the middle of the slit to its positive end.
    pub slope: f64,
    /// Sharpness.
    pub focus: Focus,
    /// Geometry beyond the published positions.
    pub distortion: Distortion,
    /// Light that goes astray.
    pub stray: Stray,
}

impl ArmOptics {
    /// The usual instrument.
    pub fn usual(arm: Arm) -> ArmOptics {
        ArmOptics {
            slope: 0.02,
            focus: Focus::usual(arm),
            distortion: Distortion::usual(arm),
            stray: Stray::usual(arm),
        }
    }

    /// Light that fills the slit plane, uneven along the slit as this arm makes it.
    pub fn surface(&self) -> Shape {
        Shape::Surface { slope: self.slope }
    }
}

fn vis<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ArmOptics, D::Error> {
    over(ArmOptics::usual(Arm::Vis), deserializer)
}

fn nir<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ArmOptics, D::Error> {
    over(ArmOptics::usual(Arm::Nir), deserializer)
}

/// The usual values, differing between the arms, with those of the plan laid over them.
fn over<'de, D: Deserializer<'de>>(usual: ArmOptics, deserializer: D) -> Result<ArmOptics, D::Error> {
    let mut table = toml::Table::try_from(usual).map_err(D::Error::custom)?;
    lay_over(&mut table, toml::Table::deserialize(deserializer)?);
    table.try_into().map_err(D::Error::custom)
}

fn lay_over(under: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(toml::Value::Table(under)), toml::Value::Table(over)) => lay_over(under, over),
            (_, value) => {
                under.insert(key, value);
            }
        }
    }
}
