//! How strong each effect of the detectors is in a frame or a night, against the usual instrument.

use serde::{Deserialize, Serialize};

/// Every effect with its strength: 1 is the usual size of the arm (`calibrations/simulated_detectors.toml`), 0 is off,
/// 3 is three times the usual. The default is the usual instrument: all at 1, but for the transfer inefficiency.
///
/// An effect that does not exist in an arm (blooming in the infrared, persistence in the CCD) stays absent at any
/// strength. The fixed pattern does not move with its strength: half the strength is the same pattern at half its height.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Effects {
    /// Photon noise, of light, dark signal and persistence.
    pub photon_noise: bool,
    /// Read noise.
    pub read_noise: f64,
    /// Response from pixel to pixel.
    pub prnu: f64,
    /// Response on large scales.
    pub illumination: f64,
    /// Loss of light towards the corners: roll-off and vignetting (ACQ).
    pub roll_off: f64,
    /// Shadows of dust (ACQ).
    pub dust: f64,
    /// Insensitive pixels; above 1 they lose more, down to nothing.
    pub dead_pixels: f64,
    /// Fringes in the red (see [`super::Chip::fringe`]).
    pub fringing: f64,
    /// Dark signal, and the glow of the amplifiers.
    pub dark: f64,
    /// Signal that does not grow with the exposure time (NIR).
    pub pedestal: f64,
    /// Dark signal of hot pixels.
    pub hot_pixels: f64,
    /// Bright columns and charge traps (VIS).
    pub bad_columns: f64,
    /// Jumps of unstable pixels (NIR).
    pub blinking: f64,
    /// Diffusion of charge (VIS), coupling between neighbours (NIR).
    pub diffusion: f64,
    /// After-images of bright exposures (NIR).
    pub persistence: f64,
    /// Rate of cosmic rays.
    pub cosmic_rays: f64,
    /// Loss at high signal.
    pub non_linearity: f64,
    /// Whether pixels fill up.
    pub saturation: bool,
    /// Whether charge of full pixels runs along the column; else it is cut off.
    pub blooming: bool,
    /// Charge left behind by transfers (VIS). The one effect that is off in the usual instrument: it takes a fixed
    /// share of each packet, so the noise of neighbours is no longer independent, and pairs of flats show too high a gain.
    pub cti: f64,
    /// Slope and column pattern of the bias.
    pub bias_structure: f64,
    /// Step of the bias level in ADU on top of the usual; not a strength, so 0 is usual.
    pub bias_step: f64,
    /// Drift of the level from frame to frame.
    pub frame_drift: f64,
    /// Drift of the level from row to row.
    pub row_drift: f64,
    /// Levels of the output channels (NIR).
    pub channels: f64,
    /// 50 Hz pick-up (VIS).
    pub mains: f64,
}

impl Default for Effects {
    fn default() -> Effects {
        Effects {
            photon_noise: true,
            read_noise: 1.0,
            prnu: 1.0,
            illumination: 1.0,
            roll_off: 1.0,
            dust: 1.0,
            dead_pixels: 1.0,
            fringing: 1.0,
            dark: 1.0,
            pedestal: 1.0,
            hot_pixels: 1.0,
            bad_columns: 1.0,
            blinking: 1.0,
            diffusion: 1.0,
            persistence: 1.0,
            cosmic_rays: 1.0,
            non_linearity: 1.0,
            saturation: true,
            blooming: true,
            cti: 0.0,
            bias_structure: 1.0,
            bias_step: 0.0,
            frame_drift: 1.0,
            row_drift: 1.0,
            channels: 1.0,
            mains: 1.0,
        }
    }
}

impl Effects {
    /// A perfect detector: light in, ADU out, rounded and cut off by the converter only. The bias level stays.
    pub fn none() -> Effects {
        Effects {
            photon_noise: false,
            read_noise: 0.0,
            prnu: 0.0,
            illumination: 0.0,
            roll_off: 0.0,
            dust: 0.0,
            dead_pixels: 0.0,
            fringing: 0.0,
            dark: 0.0,
            pedestal: 0.0,
            hot_pixels: 0.0,
            bad_columns: 0.0,
            blinking: 0.0,
            diffusion: 0.0,
            persistence: 0.0,
            cosmic_rays: 0.0,
            non_linearity: 0.0,
            saturation: false,
            blooming: false,
            cti: 0.0,
            bias_structure: 0.0,
            bias_step: 0.0,
            frame_drift: 0.0,
            row_drift: 0.0,
            channels: 0.0,
            mains: 0.0,
        }
    }

    /// Names of strengths that are negative, not a number, or beyond 10 000, for the checker of a plan.
    pub fn out_of_range(&self) -> Vec<&'static str> {
        let strengths = [
            ("read_noise", self.read_noise),
            ("prnu", self.prnu),
            ("illumination", self.illumination),
            ("roll_off", self.roll_off),
            ("dust", self.dust),
            ("dead_pixels", self.dead_pixels),
            ("fringing", self.fringing),
            ("dark", self.dark),
            ("pedestal", self.pedestal),
            ("hot_pixels", self.hot_pixels),
            ("bad_columns", self.bad_columns),
            ("blinking", self.blinking),
            ("diffusion", self.diffusion),
            ("persistence", self.persistence),
            ("cosmic_rays", self.cosmic_rays),
            ("non_linearity", self.non_linearity),
            ("cti", self.cti),
            ("bias_structure", self.bias_structure),
            ("frame_drift", self.frame_drift),
            ("row_drift", self.row_drift),
            ("channels", self.channels),
            ("mains", self.mains),
        ];
        let strange = strengths.into_iter().filter(|(_, strength)| !(0.0..=1.0e4).contains(strength));
        let step = (!(-65_535.0..=65_535.0).contains(&self.bias_step)).then_some("bias_step");
        strange.map(|(name, _)| name).chain(step).collect()
    }
}
