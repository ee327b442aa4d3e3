//! The weather of a night and what changes in it for single templates.

use serde::{Deserialize, Serialize};

/// The air and the sky while a frame is taken.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Conditions {
    /// FWHM of a star in arcsec at 500 nm in the zenith.
    pub seeing: f64,
    /// Precipitable water in mm.
    pub pwv: f64,
    /// Extinction by clouds in magnitudes, the same at all wavelengths.
    pub cloud: f64,
    /// Lit share of the moon, 0 (new, or below the horizon) to 1.
    pub moon_phase: f64,
    /// Distance of the moon from the target in degrees.
    pub moon_distance: f64,
    /// Brightness of the airglow lines against an ordinary night.
    pub airglow: f64,
    /// Air temperature at midnight in degrees Celsius.
    pub temperature: f64,
}

impl Default for Conditions {
    fn default() -> Conditions {
        Conditions {
            seeing: 0.9,
            pwv: 3.0,
            cloud: 0.0,
            moon_phase: 0.0,
            moon_distance: 90.0,
            airglow: 1.0,
            temperature: 11.0,
        }
    }
}

impl Conditions {
    /// The conditions with some of them changed.
    pub fn with(self, change: &ConditionsChange) -> Conditions {
        Conditions {
            seeing: change.seeing.unwrap_or(self.seeing),
            pwv: change.pwv.unwrap_or(self.pwv),
            cloud: change.cloud.unwrap_or(self.cloud),
            moon_phase: change.moon_phase.unwrap_or(self.moon_phase),
            moon_distance: change.moon_distance.unwrap_or(self.moon_distance),
            airglow: change.airglow.unwrap_or(self.airglow),
            temperature: change.temperature.unwrap_or(self.temperature),
        }
    }

    /// The first key whose value makes no sense, its value, and what would.
    pub(super) fn fault(&self) -> Option<(&'static str, f64, &'static str)> {
        let limits: [(&'static str, f64, [f64; 2], &'static str); 7] = [
            ("seeing", self.seeing, [0.2, 10.0], "give arcsec, 0.2 to 10"),
            ("pwv", self.pwv, [0.0, 50.0], "give mm, 0 to 50"),
            ("cloud", self.cloud, [0.0, 20.0], "give magnitudes, 0 to 20"),
            ("moon_phase", self.moon_phase, [0.0, 1.0], "give the lit share, 0 to 1"),
            ("moon_distance", self.moon_distance, [0.0, 180.0], "give degrees, 0 to 180"),
            ("airglow", self.airglow, [0.0, 100.0], "give a factor, 0 to 100"),
            ("temperature", self.temperature, [-30.0, 40.0], "give degrees Celsius, -30 to 40"),
        ];
        limits
            .into_iter()
            .find(|(_, value, [low, high], _)| !(*value >= *low && *value <= *high))
            .map(|(key, value, _, remedy)| (key, value, remedy))
    }
}

/// What differs from the conditions of the night; absent keys do not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConditionsChange {
    /// See [`Conditions::seeing`].
    pub seeing: Option<f64>,
    /// See [`Conditions::pwv`].
    pub pwv: Option<f64>,
    /// See [`Conditions::cloud`].
    pub cloud: Option<f64>,
    /// See [`Conditions::moon_phase`].
    pub moon_phase: Option<f64>,
    /// See [`Conditions::moon_distance`].
    pub moon_distance: Option<f64>,
    /// See [`Conditions::airglow`].
    pub airglow: Option<f64>,
    /// See [`Conditions::temperature`].
    pub temperature: Option<f64>,
}
