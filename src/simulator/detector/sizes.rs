//! The usual size of every effect on each detector: the checked reader of `calibrations/simulated_detectors.toml`, whose
//! head explains each figure.

use std::sync::LazyLock;

use serde::Deserialize;

use crate::instrument::Arm;

/// The figures of one detector. Units and meanings are in the head of the table.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sizes {
    pub area: (usize, usize),
    pub prnu: f64,
    pub prnu_blue: (f64, f64, f64),
    pub illumination: f64,
    pub roll_off: f64,
    pub vignetting: (f64, f64),
    pub dust: (usize, f64, f64),
    pub dead: (usize, f64, f64),
    pub fringes: Vec<(f64, f64)>,
    pub fringe_path: f64,
    pub fringe_relief: f64,
    pub dark: f64,
    pub glow: f64,
    pub glow_scale: f64,
    pub pedestal: (f64, f64, f64),
    pub hot: (usize, f64, f64, f64, f64),
    pub bad_columns: (usize, f64, usize, f64),
    pub blinking: (f64, f64, f64, f64),
    pub spread: f64,
    pub non_linearity: f64,
    pub full_well: f64,
    pub blooms: bool,
    pub cti: (f64, f64),
    pub persistence: (f64, f64),
    pub rays: Rays,
    pub bias: f64,
    pub bias_slope: (f64, f64),
    pub column_pattern: f64,
    pub frame_drift: f64,
    pub row_drift: f64,
    pub row_octaves: (i32, i32),
    pub channels: (usize, f64),
    pub mains: f64,
}

/// Cosmic rays.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rays {
    /// Hits per second on the exposed area.
    pub rate: f64,
    /// Depth of the sensitive layer in pixels.
    pub thickness: f64,
    /// Electrons per pixel of path.
    pub charge: f64,
    /// Share of hits that wander.
    pub worms: f64,
    /// Mean length of those, pixels.
    pub worm_length: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(rename = "VIS")]
    vis: Sizes,
    #[serde(rename = "NIR")]
    nir: Sizes,
    #[serde(rename = "ACQ")]
    acq: Sizes,
}

#[allow(clippy::expect_used)]
static EMBEDDED: LazyLock<Table> = LazyLock::new(|| {
    // The embedded table is part of the program: every test of the detectors proves that this cannot fail.
    toml::from_str(include_str!("../../../calibrations/simulated_detectors.toml")).expect("the embedded table is valid")
});

impl Sizes {
    /// The figures of an arm, from the embedded table.
    pub fn of(arm: Arm) -> &'static Sizes {
        match arm {
            Arm::Vis => &EMBEDDED.vis,
            Arm::Nir => &EMBEDDED.nir,
            Arm::Acq => &EMBEDDED.acq,
        }
    }
}
