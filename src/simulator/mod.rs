//! The simulator: raw frames of planned nights as the instrument writes them, and the truth that went into them.
//!
//! The path of an exposure: a plan (`plan`) says what is taken; `schedule` works out when, and where the telescope looks
//! (`horizon`), and makes it an `exposure` with its header (`header`) and its faults (`faults`). The `painter` draws it:
//! lamps, stars and sky (`light`) through the spectrograph (`optics`) or the acquisition camera (`camera`) onto a
//! `detector`. `file` makes FITS of it, `truth` keeps what went in, and `observe` does so for a whole night, at any pace.
//!
//! Every random effect has a stream of its own (`random`), and elementary functions come from `math`: the same plan and
//! seed are the same bytes on any machine and any number of threads. What never lives here: anything of `recipes`,
//! `reduction` or `numerics`. The simulator and what it tests must not share a mistake.

pub mod camera;
pub mod detector;
mod exposure;
pub mod faults;
mod file;
mod header;
pub mod horizon;
pub mod instrument;
mod kind;
pub mod light;
pub mod math;
mod night;
pub mod observe;
pub mod optics;
mod painter;
pub mod plan;
pub mod random;
mod schedule;
#[cfg(test)]
mod tests;
pub mod truth;

use std::path::PathBuf;
use std::sync::Arc;

use ndarray::Array2;

use crate::fault::{Classified, FaultClass};
use crate::fits::{FitsError, Header};

pub use exposure::{Exposure, ExposureLine};
pub use file::{write, write_sparse};
pub use kind::FrameKind;
pub use night::{NightPlan, TemplatePlan};
pub use plan::{Plan, PlanError};

/// Raw pixels as the detector software writes them, rows x columns.
#[derive(Clone, Debug, PartialEq)]
pub enum Pixels {
    /// CCD frames: unsigned 16 bit.
    U16(Array2<u16>),
    /// Infrared frames: 32-bit floating point.
    F32(Array2<f32>),
}

/// What went into a frame.
#[derive(Clone, Debug, PartialEq)]
pub struct FrameTruth {
    /// Read noise, electrons.
    pub ron: f64,
    /// Electrons per ADU.
    pub gain: f64,
    /// Mean of the expected image over the science area, electrons.
    pub level: f64,
    /// Shift of the whole frame against the expected image, electrons; prescan, overscan and reference pixels share it.
    pub offset: f64,
    /// Dark signal of hot pixels above their surroundings, electrons per second, rows x columns of the raw image; zero
    /// for ordinary pixels.
    pub hot: Arc<Array2<f32>>,
    /// Marks of [`detector::defect`], rows x columns of the raw image.
    pub defects: Arc<Array2<u8>>,
    /// Pixels with a full well, or at the limit of the converter, (row, column) of the raw image, sorted, each once.
    pub saturated: Vec<(usize, usize)>,
    /// Pixels that a cosmic ray hit, (row, column) of the raw image, sorted, each once.
    pub cosmics: Vec<(usize, usize)>,
    /// Expected electrons without noise, offset and cosmic rays, rows x columns of the raw image. The bias level is in it.
    pub expected: Arc<Array2<f32>>,
}

/// One simulated raw frame.
#[derive(Clone, Debug, PartialEq)]
pub struct SimFrame {
    /// File name: `SOXS.2026-03-10T19:00:42.000.fits`.
    pub name: String,
    /// Cards without those about the structure of the file.
    pub header: Header,
    /// The image.
    pub pixels: Pixels,
    /// What went into it.
    pub truth: FrameTruth,
}

/// Why nothing could be simulated or written.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// A template asks for something that the instrument does not have.
    #[error("template {template} ({kind} in {arm}): {problem}")]
    Plan {
        /// Position in the plan, from 1.
        template: usize,
        /// Kind of frame.
        kind: String,
        /// Arm.
        arm: String,
        /// What is wrong and what is allowed.
        problem: String,
    },
    /// A frame of the plan is there already.
    #[error("{} is there already", path.display())]
    Exists {
        /// File.
        path: PathBuf,
    },
    /// Two frames of the plan would have one name.
    #[error("two frames of the plan would be called {name}: their clocks have jumped onto each other")]
    Twice {
        /// File name.
        name: String,
    },
    /// A source shines with a spectrum that does not exist or cannot be used.
    #[error("target {target}: {problem}")]
    Spectrum {
        /// Name of the target.
        target: String,
        /// What is wrong and what is allowed.
        problem: String,
    },
    /// The acquisition camera has no such filter.
    #[error("the acquisition camera has no filter {found:?}; give u, g, r, i, z, y or V")]
    Filter {
        /// Name found.
        found: String,
    },
    /// The camera, its optics or the field cannot be as asked.
    #[error(transparent)]
    Camera(#[from] camera::CameraError),
    /// Light that does not fit a detector.
    #[error(transparent)]
    Detector(#[from] detector::DetectorError),
    /// The threads could not be started.
    #[error("cannot start {threads} threads: {reason}")]
    Threads {
        /// As asked for; 0 means one a core.
        threads: usize,
        /// What the system says.
        reason: String,
    },
    /// A frame could not be written as FITS.
    #[error(transparent)]
    Fits(#[from] FitsError),
    /// A sparse file could not be made.
    #[error("{operation} {}", path.display())]
    File {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

impl Classified for SimError {
    fn class(&self) -> FaultClass {
        match self {
            SimError::Plan { .. } | SimError::Twice { .. } | SimError::Spectrum { .. } | SimError::Filter { .. } => {
                FaultClass::Config
            }
            SimError::Camera(error) => error.class(),
            SimError::Detector(error) => error.class(),
            SimError::Exists { .. } => FaultClass::BadInput,
            SimError::Fits(error) => error.class(),
            SimError::File { .. } | SimError::Threads { .. } => FaultClass::Resource,
        }
    }
}
