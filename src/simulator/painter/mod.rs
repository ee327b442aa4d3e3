//! Draws the exposures of a night: what light falls on the detector, and what the detector makes of it.
//!
//! What lives here: which lamps, sources and skies an exposure sees, in the order of the light's path; and what may be
//! kept from one frame to the next. What never lives here: how light, optics and detectors work.

mod field;
mod sky;
mod spectrograph;
mod tables;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc as Shared;

use ndarray::Array2;
use rand_distr::{Distribution, StandardNormal};

use super::detector::{Detector, Persistence, Scene};
use super::exposure::Exposure;
use super::horizon;
use super::instrument::Instrument;
use super::night::NightPlan;
use super::optics::{Distortion, Flexure, View};
use super::plan::{LitLamp, Shutter};
use super::random::{Effect, Seeds};
use super::{FrameTruth, SimError, SimFrame};
use crate::instrument::Arm;
use sky::SkyOfNight;

pub(super) use sky::Spectra;

/// Draws frames, arm by arm in order of time.
pub(super) struct Painter {
    seeds: Seeds,
    instrument: Instrument,
    sky: SkyOfNight,
    stations: BTreeMap<Arm, Station>,
}

/// What is kept of an arm.
struct Station {
    detector: Detector,
    /// What bright exposures left.
    memory: Persistence,
    view: Option<(Flexure, View)>,
    /// The flexure whose geometry has been told.
    told: Option<Flexure>,
    /// The last image of lamps, electrons per second, and what it shows.
    lamps: Option<(LampScene, Shared<Array2<f32>>)>,
    /// The last scene without light, and its exposure time.
    dark: Option<(f64, Scene)>,
}

/// Everything that an image of lamps depends on.
#[derive(Clone, Debug, PartialEq)]
struct LampScene {
    slit: String,
    lamps: Vec<LitLamp>,
    flexure: Flexure,
    defocus: f64,
    mask_shift: f64,
    across: f64,
}

impl Station {
    /// The geometry as it is now.
    fn view(&mut self, arm: Arm, flexure: &Flexure, distortion: &Distortion) -> &View {
        if self.view.as_ref().is_none_or(|(of, _)| of != flexure) {
            self.view = None;
        }
        let (_, view) = self.view.get_or_insert_with(|| (*flexure, View::new(arm, flexure, distortion)));
        view
    }
}

impl Painter {
    /// For a night. Fails when a source has a spectrum that does not exist or cannot be used.
    pub fn new(plan: &NightPlan) -> Result<Painter, SimError> {
        Ok(Painter {
            seeds: plan.seeds.clone(),
            instrument: plan.instrument.clone(),
            sky: SkyOfNight::new(plan)?,
            stations: BTreeMap::new(),
        })
    }

    /// Draw one exposure. Exposures of an arm must come in order of time: detectors remember.
    pub fn paint(&mut self, exposure: &Exposure) -> Result<SimFrame, SimError> {
        let scene = self.scene(exposure)?;
        let start = seconds(exposure);
        let station = self.station(exposure.arm);
        let exposed = station.detector.expose(&scene, exposure.number, start, &mut station.memory);
        Ok(SimFrame {
            name: exposure.name.clone(),
            header: exposure.header.clone(),
            pixels: exposed.pixels,
            truth: FrameTruth {
                ron: exposed.truth.ron,
                gain: exposed.truth.gain,
                level: exposed.truth.level,
                offset: exposed.truth.offset,
                hot: exposed.truth.hot,
                defects: exposed.truth.defects,
                cosmics: exposed.truth.cosmics,
                saturated: exposed.truth.saturated,
                expected: exposed.truth.expected,
            },
        })
    }

    /// Let an exposure leave its traces in the detector without drawing it.
    pub fn pass(&mut self, exposure: &Exposure) -> Result<(), SimError> {
        self.station(exposure.arm).told = Some(exposure.flexure);
        // Only the infrared detector remembers.
        if exposure.arm == Arm::Nir {
            let scene = self.scene(exposure)?;
            let start = seconds(exposure);
            let station = self.station(exposure.arm);
            station.detector.pass(&scene, start, &mut station.memory);
        }
        Ok(())
    }

    /// The detector of an arm.
    pub fn detector(&mut self, arm: Arm) -> &Detector {
        &self.station(arm).detector
    }

    fn station(&mut self, arm: Arm) -> &mut Station {
        let (effects, seeds) = (self.instrument.effects(arm), &self.seeds);
        self.stations.entry(arm).or_insert_with(|| Station {
            detector: Detector::new(arm, effects, seeds),
            memory: Persistence::default(),
            view: None,
            told: None,
            lamps: None,
            dark: None,
        })
    }

    /// What the detector sees, without noise.
    fn scene(&mut self, exposure: &Exposure) -> Result<Scene, SimError> {
        let light = match exposure.arm {
            _ if exposure.exptime <= 0.0 || exposure.shutter == Shutter::StuckClosed => None,
            Arm::Acq => self.field(exposure)?,
            Arm::Vis | Arm::Nir => self.spectra(exposure)?,
        };
        let station = self.station(exposure.arm);
        let (camera, exptime) = (&exposure.camera, exposure.exptime);
        let Some(mut light) = light else {
            let same = |(time, scene): &&(f64, Scene)| *time == exptime && scene.camera() == camera;
            if let Some((_, scene)) = station.dark.as_ref().filter(same) {
                return Ok(scene.clone());
            }
            let scene = station.detector.scene(camera, exptime, None)?;
            station.dark = Some((exptime, scene.clone()));
            return Ok(scene);
        };
        if exposure.shutter == Shutter::StuckOpen {
            trail(&mut light, camera.readout / exptime);
        }
        Ok(station.detector.scene(camera, exptime, Some(&light))?)
    }

    /// A normal deviate of an effect.
    fn deviate(&self, effect: Effect, exposure: u64, part: u64) -> f64 {
        StandardNormal.sample(&mut self.seeds.stream(effect, exposure, part))
    }
}

/// Start of an exposure on the clock by which detectors forget.
fn seconds(exposure: &Exposure) -> f64 {
    horizon::mjd(exposure.start) * 86_400.0
}

/// Light that keeps falling while rows are shifted to the output: each pixel collects a little of every pixel of its
/// column. `share` is the time of the read-out over that of the exposure.
fn trail(light: &mut Array2<f32>, share: f64) {
    for mut column in light.columns_mut() {
        let sum: f64 = column.iter().map(|&electrons| f64::from(electrons)).sum();
        let smear = (share * sum / column.len().max(1) as f64) as f32;
        column.iter_mut().for_each(|electrons| *electrons += smear);
    }
}
