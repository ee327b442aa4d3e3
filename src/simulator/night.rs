//! The plan of a night: templates in order, each arm on its own clock, and the exposures that follow from it.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::exposure::Exposure;
use super::faults::PlannedFault;
use super::instrument::Instrument;
use super::kind::FrameKind;
use super::optics::Flexure;
use super::painter::Painter;
use super::plan::{Conditions, ConditionsChange, GainCards, Lamp, Target};
use super::random::Seeds;
use super::{SimError, SimFrame, schedule};
use crate::instrument::{Arm, Binning};

/// One template: frames of one kind with one setup.
#[derive(Clone, Debug, PartialEq, Serialize)]
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
    /// Lamp-off partners that are taken after them, within the same template.
    pub off: u32,
    /// `ESO TPL NEXP` where it is not the number of frames: a template that was aborted.
    pub nexp: Option<u32>,
    /// Seconds between the end of the template before in this arm and the start of this one.
    pub gap: f64,
    /// The template does not start before this time.
    pub not_before: Option<Timestamp>,
    /// Name of the target for frames on the sky.
    pub object: String,
    /// Where it is and what shines there; without one the telescope looks at an empty field near the meridian.
    #[serde(skip)]
    pub target: Option<Arc<Target>>,
    /// Slit for flats and frames on the sky: `SLIT1.0`.
    pub slit: String,
    /// Lamps that are on, where they are not the usual ones of the kind.
    pub lamps: Option<Vec<Lamp>>,
    /// Filter of the acquisition camera.
    pub filter: String,
    /// The attenuated variant of a flat's template.
    pub attenuated: bool,
    /// The two arms do not wait for each other: `OBJECT,ASYNC`.
    pub asynchronous: bool,
    /// Distance in arcsec between the two places of a nodding target on the slit.
    pub throw: f64,
    /// Full width in arcsec of the random shift of each nodding place.
    pub jitter: f64,
    /// East and north offset in arcsec of the sky frames of an offset template.
    pub offset: [f64; 2],
    /// `ESO OBS NAME`, one for each block of calibrations; empty: made of arm, object and place in the plan.
    pub block: String,
    /// What differs from the conditions of the night.
    pub conditions: ConditionsChange,
    /// What goes wrong.
    pub faults: Vec<PlannedFault>,
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
            off: 0,
            nexp: None,
            gap: 40.0,
            not_before: None,
            object: "SIM-TARGET".to_string(),
            target: None,
            slit: "SLIT1.0".to_string(),
            lamps: None,
            filter: "r".to_string(),
            attenuated: false,
            asynchronous: false,
            throw: 5.0,
            jitter: 0.0,
            offset: [20.0, 30.0],
            block: String::new(),
            conditions: ConditionsChange::default(),
            faults: Vec::new(),
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

    /// The lamps that the header says are on.
    pub(super) fn lamps(&self) -> &[Lamp] {
        self.lamps.as_deref().unwrap_or(self.kind.usual_lamps(self.arm))
    }
}

/// The templates of a night in order. Arms run side by side, each through its own templates.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NightPlan {
    /// When the first template may start.
    pub start: Timestamp,
    /// Templates in order.
    pub templates: Vec<TemplatePlan>,
    /// Seeds of all random effects.
    pub seeds: Seeds,
    /// Weather.
    pub conditions: Conditions,
    /// How the images lie on the VIS and the NIR detector.
    pub flexure: [Flexure; 2],
    /// What the GAIN card of the CCD says.
    pub gain_cards: GainCards,
    /// Strengths of everything that the instrument does to light.
    pub instrument: Instrument,
    /// Where the files that targets name are looked for.
    pub folder: PathBuf,
}

impl NightPlan {
    /// A night without templates.
    pub fn new(start: Timestamp) -> NightPlan {
        NightPlan {
            start,
            templates: Vec::new(),
            seeds: Seeds::default(),
            conditions: Conditions::default(),
            flexure: [Flexure::default(); 2],
            gain_cards: GainCards::default(),
            instrument: Instrument::default(),
            folder: PathBuf::from("."),
        }
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
        schedule::exposures(self)
    }

    /// Every frame of the night, sorted by start, drawn one by one as it is asked for. The same plan and seed give the
    /// same pixels on any number of threads. `seed` stands in place of the plan's; effects with a seed of their own keep it.
    pub fn frames(&self, seed: u64) -> Result<impl Iterator<Item = Result<SimFrame, SimError>> + use<>, SimError> {
        let mut plan = self.clone();
        plan.seeds.night = seed;
        let mut painter = Painter::new(&plan)?;
        Ok(plan.exposures()?.into_iter().map(move |exposure| painter.paint(&exposure)))
    }

    /// How the image lies on the detector of an arm; the acquisition camera does not bend.
    pub(super) fn flexure_of(&self, arm: Arm) -> Flexure {
        match arm {
            Arm::Vis => self.flexure[0],
            Arm::Nir => self.flexure[1],
            Arm::Acq => Flexure::default(),
        }
    }
}
