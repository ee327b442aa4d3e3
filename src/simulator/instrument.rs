//! What a plan may change of the instrument: sharpness, stray light, distortion, and the strengths of the detectors'
//! effects. What is not given is as usual.

use serde::{Deserialize, Serialize};

use super::camera::{CameraParams, Twilight};
use super::detector::Effects;
use super::optics::Optics;
use crate::instrument::Arm;

/// The instrument of a night.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Instrument {
    /// Sharpness, distortion and stray light of the spectrographs.
    pub optics: Optics,
    /// The UV-VIS spectrograph.
    #[serde(rename = "VIS")]
    pub vis: Spectrograph,
    /// The infrared spectrograph.
    #[serde(rename = "NIR")]
    pub nir: Spectrograph,
    /// The acquisition camera.
    #[serde(rename = "ACQ")]
    pub acq: Acquisition,
}

/// A spectrograph and its detector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Spectrograph {
    /// How well slits and masks come back across the dispersion, arcsec rms; absent: the usual of the arm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repositioning: Option<f64>,
    /// Brightness of lamps from frame to frame, relative rms.
    pub flicker: f64,
    /// Strengths of the detector's effects.
    pub detector: Effects,
}

impl Default for Spectrograph {
    fn default() -> Spectrograph {
        Spectrograph { repositioning: None, flicker: 0.01, detector: Effects::default() }
    }
}

/// The acquisition camera and its detector.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Acquisition {
    /// The optics.
    pub camera: CameraParams,
    /// The sky of twilight flats.
    pub twilight: Twilight,
    /// Strengths of the detector's effects.
    pub detector: Effects,
}

impl Spectrograph {
    /// How well slits come back in an arm, arcsec rms. The infrared exchanger is a piezo: 0.2 pixels of 3.4 per arcsec.
    pub(super) fn repositioning(&self, arm: Arm) -> f64 {
        self.repositioning.unwrap_or(if arm == Arm::Nir { 0.06 } else { 0.015 })
    }
}

impl Instrument {
    /// The spectrograph of an arm; the acquisition camera has none and gets the infrared one.
    pub(super) fn spectrograph(&self, arm: Arm) -> &Spectrograph {
        if arm == Arm::Vis { &self.vis } else { &self.nir }
    }

    /// Strengths of the effects of an arm's detector. The camera's optics have their own roll-off.
    pub(super) fn effects(&self, arm: Arm) -> Effects {
        match arm {
            Arm::Vis => self.vis.detector.clone(),
            Arm::Nir => self.nir.detector.clone(),
            Arm::Acq => Effects { roll_off: 0.0, ..self.acq.detector.clone() },
        }
    }

    /// The first figure that cannot be: its key, its value, and what could.
    pub(super) fn fault(&self) -> Option<(&'static str, f64, &'static str)> {
        for spectrograph in [&self.vis, &self.nir] {
            let slit = spectrograph.repositioning.unwrap_or(0.0);
            if !(0.0..=2.0).contains(&slit) {
                return Some(("repositioning", slit, "give arcsec rms, 0 to 2"));
            }
            if !(0.0..=0.5).contains(&spectrograph.flicker) {
                return Some(("flicker", spectrograph.flicker, "give a relative rms, 0 to 0.5"));
            }
        }
        for optics in [&self.optics.vis, &self.optics.nir] {
            let (focus, stray) = (optics.focus, optics.stray);
            if !(focus.fwhm > 0.1 && focus.fwhm * focus.defocus < 30.0) {
                return Some(("fwhm", focus.fwhm, "give pixels, 0.1 to 30"));
            }
            for (key, share) in
                [("halo", stray.halo), ("scattered", stray.scattered), ("ghost", stray.ghost), ("glow", stray.glow)]
            {
                if !(0.0..=0.5).contains(&share) {
                    return Some((key, share, "give a share of the light, 0 to 0.5"));
                }
            }
        }
        let effects = [&self.vis.detector, &self.nir.detector, &self.acq.detector];
        let wrong = effects.into_iter().flat_map(Effects::out_of_range).next();
        wrong.map(|effect| (effect, f64::NAN, "give a strength: 1 is usual, 0 is off"))
    }
}
