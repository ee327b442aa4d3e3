//! One exposure: its header, and everything that whoever draws it has to know.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::detector::Camera;
use super::faults::Fault;
use super::horizon::Place;
use super::kind::FrameKind;
use super::optics::Flexure;
use super::plan::{Conditions, LitLamp, Shutter, Source};
use crate::fits::Header;
use crate::instrument::Arm;

/// One exposure: all but its pixels. Faults of the light are already in the lamps, sources and so on.
#[derive(Clone, Debug)]
pub struct Exposure {
    /// File name: `SOXS.2026-03-10T19:00:42.000.fits`.
    pub name: String,
    /// Cards without those about the structure of the file.
    pub header: Header,
    /// What it shows.
    pub kind: FrameKind,
    /// Exposure time, seconds.
    pub exptime: f64,
    /// Which detector.
    pub arm: Arm,
    /// True start; the header may say otherwise.
    pub start: Timestamp,
    /// Place of its template in the plan, from 1.
    pub template: usize,
    /// Number within its template, from 1.
    pub expno: u32,
    /// Identifies its random streams: unique in the night, and not moved by templates of other arms.
    pub number: u64,
    /// Slit or mask in the beam; empty for the acquisition camera.
    pub slit: String,
    /// Filter of the acquisition camera; empty for other arms.
    pub filter: String,
    /// Lamps that give light.
    pub lamps: Vec<LitLamp>,
    /// Target and companions where this exposure has them on the slit, the target first; empty: blank sky, or a lamp.
    pub sources: Vec<Source>,
    /// Name of the target, empty when there is none.
    pub object: String,
    /// Coordinates that the telescope follows, degrees.
    pub pointing: [f64; 2],
    /// Where it looks in the middle of the exposure.
    pub place: Place,
    /// Whether the sky shines in.
    pub open: bool,
    /// The air and the sky.
    pub conditions: Conditions,
    /// How the image lies on the detector.
    pub flexure: Flexure,
    /// Added in square to the width of the image, pixels FWHM.
    pub defocus: f64,
    /// Shift of the pinhole mask along the slit, arcsec.
    pub mask_shift: f64,
    /// Whether the shutter does what it should.
    pub shutter: Shutter,
    /// Everything that went wrong, for the truth.
    pub faults: Vec<Fault>,
    pub(super) camera: Camera,
}

/// An exposure in one line, for lists.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExposureLine {
    /// File name.
    pub name: String,
    /// Arm.
    pub arm: Arm,
    /// Kind.
    pub kind: FrameKind,
    /// Seconds.
    pub exptime: f64,
    /// `SLIT1.0`, a filter, or empty.
    pub slit: String,
    /// Target; empty for calibrations.
    pub object: String,
    /// Number in the template.
    pub expno: u32,
    /// Names of faults.
    pub faults: Vec<String>,
}

impl Exposure {
    /// Raw image as (rows, columns).
    pub fn shape(&self) -> (usize, usize) {
        self.camera.shape()
    }

    /// BITPIX of the file.
    pub fn bitpix(&self) -> i64 {
        if self.camera.arm == Arm::Nir { -32 } else { 16 }
    }

    /// When the shutter closed.
    pub fn end(&self) -> Timestamp {
        later(self.start, self.exptime)
    }

    /// When the detector had been read.
    pub fn read_out(&self) -> Timestamp {
        later(self.start, self.exptime + self.camera.readout)
    }

    /// In one line.
    pub fn line(&self) -> ExposureLine {
        ExposureLine {
            name: self.name.clone(),
            arm: self.arm,
            kind: self.kind,
            exptime: self.exptime,
            slit: if self.arm == Arm::Acq { self.filter.clone() } else { self.slit.clone() },
            object: self.object.clone(),
            expno: self.expno,
            faults: self.faults.iter().map(Fault::name).collect(),
        }
    }
}

/// A time so many seconds later, to the millisecond; the end of time where there is none.
pub(super) fn later(time: Timestamp, seconds: f64) -> Timestamp {
    // `as` saturates and takes NaN for zero: a silly number cannot do harm here.
    let step = SignedDuration::from_millis((seconds * 1000.0).round() as i64);
    time.saturating_add(step).unwrap_or(time)
}
