//! The plan of a night: templates in order, each arm on its own clock, and the exposures that follow from it.

use jiff::{SignedDuration, Timestamp};

use super::detector::{self, Camera};
use super::{SimError, SimFrame, header};
use crate::fits::Header;
use crate::instrument::{Arm, Binning};

/// What a frame shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
    /// Flux standard, stare.
    StandardStare,
    /// Flux standard, nodding.
    StandardNod,
    /// Target, stare.
    ObjectStare,
    /// Target, nodding.
    ObjectNod,
    /// Picture of the field (ACQ).
    Acquisition,
}

/// One template: frames of one kind with one setup.
#[derive(Clone, Debug, PartialEq)]
pub struct TemplatePlan {
    /// What the frames show.
    pub kind: FrameKind,
    /// Which detector.
    pub arm: Arm,
    /// `ESO DET READ CURID`; not used for ACQ.
    pub read_mode: u8,
    /// Binning; must be 1x1 outside VIS.
    pub binning: Binning,
    /// Exposure time in seconds; one DIT in NIR.
    pub exptime: f64,
    /// Frames that are taken.
    pub frames: u32,
    /// `ESO TPL NEXP` where it is not the number of frames: a template that was aborted.
    pub nexp: Option<u32>,
    /// Seconds between the end of the template before in this arm and the start of this one.
    pub gap: f64,
    /// Name of the target for frames on the sky.
    pub object: String,
    /// Slit for flats and frames on the sky: `SLIT1.0`.
    pub slit: String,
}

impl TemplatePlan {
    /// Frames of any kind with the setup that is usual for the arm.
    pub fn new(kind: FrameKind, arm: Arm, exptime: f64, frames: u32) -> TemplatePlan {
        TemplatePlan {
            kind,
            arm,
            read_mode: if arm == Arm::Nir { 3 } else { 1 },
            binning: Binning { x: 1, y: 1 },
            exptime,
            frames,
            nexp: None,
            gap: 40.0,
            object: "SIM-TARGET".to_string(),
            slit: "SLIT1.0".to_string(),
        }
    }

    /// VIS biases in one of the read modes 1 to 4.
    pub fn vis_bias(read_mode: u8, binning: Binning, frames: u32) -> TemplatePlan {
        TemplatePlan { read_mode, binning, ..TemplatePlan::new(FrameKind::Bias, Arm::Vis, 0.0, frames) }
    }

    /// NIR darks of one DIT in seconds.
    pub fn nir_dark(dit: f64, frames: u32) -> TemplatePlan {
        TemplatePlan::new(FrameKind::Dark, Arm::Nir, dit, frames)
    }
}

/// The templates of a night in order. Arms run side by side, each through its own templates.
#[derive(Clone, Debug, PartialEq)]
pub struct NightPlan {
    /// When the first template may start.
    pub start: Timestamp,
    /// Templates in order.
    pub templates: Vec<TemplatePlan>,
}

impl NightPlan {
    /// A night without templates.
    pub fn new(start: Timestamp) -> NightPlan {
        NightPlan { start, templates: Vec::new() }
    }

    /// The night with one more template.
    pub fn with(mut self, template: TemplatePlan) -> NightPlan {
        self.templates.push(template);
        self
    }

    /// A short calibration block: biases in two read modes and one binned setup, darks of two DITs.
    pub fn calibrations(start: Timestamp) -> NightPlan {
        NightPlan::new(start)
            .with(TemplatePlan::vis_bias(1, Binning { x: 1, y: 1 }, 5))
            .with(TemplatePlan::vis_bias(3, Binning { x: 1, y: 1 }, 5))
            .with(TemplatePlan::vis_bias(1, Binning { x: 2, y: 2 }, 5))
            .with(TemplatePlan::nir_dark(10.0, 5))
            .with(TemplatePlan::nir_dark(120.0, 5))
    }

    /// A night with a frame of every kind: calibrations by day, a standard and two targets by night.
    pub fn complete(start: Timestamp) -> NightPlan {
        use FrameKind::*;
        let mut plan = NightPlan::calibrations(start);
        for (arm, arc, flat) in [(Arm::Vis, 30.0, 20.0), (Arm::Nir, 15.0, 15.0)] {
            plan = plan
                .with(TemplatePlan::new(PinholeArc, arm, arc, 1))
                .with(TemplatePlan::new(PinholeFlat, arm, 10.0, 1))
                .with(TemplatePlan::new(SlitFlat, arm, flat, 5))
                .with(TemplatePlan::new(MultiPinholeArc, arm, arc, 1));
        }
        plan = plan
            .with(TemplatePlan::new(DeuteriumFlat, Arm::Vis, 30.0, 5))
            .with(TemplatePlan::new(LampOff, Arm::Nir, 15.0, 5))
            .with(TemplatePlan::new(Bias, Arm::Acq, 0.0, 5))
            .with(TemplatePlan { gap: 20_000.0, ..TemplatePlan::new(Acquisition, Arm::Acq, 20.0, 1) });
        for arm in [Arm::Vis, Arm::Nir] {
            let on_sky = |kind, exptime, frames, object: &str, slit: &str| TemplatePlan {
                object: object.to_string(),
                slit: slit.to_string(),
                ..TemplatePlan::new(kind, arm, exptime, frames)
            };
            plan = plan
                .with(TemplatePlan { gap: 20_000.0, ..on_sky(StandardStare, 120.0, 1, "FEIGE-110", "SLIT5.0") })
                .with(on_sky(StandardNod, 120.0, 2, "FEIGE-110", "SLIT5.0"))
                .with(on_sky(ObjectStare, 300.0, 1, "AT2026abc", "SLIT1.0"))
                .with(on_sky(ObjectNod, 300.0, 4, "SN2026xyz", "SLIT1.0"));
        }
        plan
    }

    /// Every exposure of the night, sorted by start. Headers only: nothing is drawn.
    pub fn exposures(&self) -> Result<Vec<Exposure>, SimError> {
        let mut exposures = Vec::new();
        for arm in [Arm::Vis, Arm::Nir, Arm::Acq] {
            self.exposures_of(arm, &mut exposures)?;
        }
        exposures.sort_by_key(|exposure| (exposure.start, exposure.camera.arm));
        Ok(exposures)
    }

    /// Every frame of the night, sorted by start, drawn one by one as it is asked for. The same plan and seed give the
    /// same pixels on any number of threads.
    pub fn frames(&self, seed: u64) -> Result<impl Iterator<Item = SimFrame> + use<>, SimError> {
        let mut painter = detector::Painter::new(seed);
        Ok(self.exposures()?.into_iter().map(move |exposure| painter.paint(exposure)))
    }

    fn exposures_of(&self, arm: Arm, exposures: &mut Vec<Exposure>) -> Result<(), SimError> {
        // Arms start apart, so that no two frames share a millisecond and no two templates a second.
        let head_start = match arm {
            Arm::Vis => 0,
            Arm::Nir => 7_317,
            Arm::Acq => 13_731,
        };
        let mut clock = self.start + SignedDuration::from_millis(head_start);
        let of_arm = self.templates.iter().enumerate().filter(|(_, template)| template.arm == arm);
        for (index, template) in of_arm {
            let camera = Camera::of(template).map_err(|problem| SimError::Plan {
                template: index + 1,
                kind: format!("{:?}", template.kind),
                arm: arm.to_string(),
                problem,
            })?;
            clock += millis(template.gap);
            let template_start = clock;
            for expno in 1..=template.frames {
                let start = clock + millis(2.0);
                let number = exposures.len() as u64;
                exposures.push(Exposure {
                    name: format!("SOXS.{}.fits", header::iso(start)),
                    header: header::build(template, &camera, index, (template_start, start), expno),
                    kind: template.kind,
                    exptime: template.exptime,
                    start,
                    number,
                    camera: camera.clone(),
                });
                clock = start + millis(template.exptime + camera.readout);
            }
        }
        Ok(())
    }
}

fn millis(seconds: f64) -> SignedDuration {
    // `as` saturates and takes NaN for zero: a silly gap cannot do harm here.
    SignedDuration::from_millis((seconds * 1000.0).round() as i64)
}

/// One exposure: all but its pixels.
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
    pub(super) start: Timestamp,
    pub(super) number: u64,
    pub(super) camera: Camera,
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
}
