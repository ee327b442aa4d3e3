//! Draws the exposures of a plain night: dark frames in detail, frames with light as a plain level.

use std::collections::BTreeMap;

use ndarray::Array2;

use super::{Camera, Detector, Effects, Persistence, Scene};
use crate::instrument::Arm;
use crate::simulator::night::{Exposure, FrameKind};
use crate::simulator::random::Seeds;
use crate::simulator::{FrameTruth, SimFrame};

/// Draws frames. Keeps the detector and the scene of each arm, since frames of a template share it.
pub(in crate::simulator) struct Painter {
    seeds: Seeds,
    easels: BTreeMap<Arm, Easel>,
}

/// What is kept of an arm.
struct Easel {
    detector: Detector,
    /// What the last frame showed, for how long, in which setup.
    last: Option<(FrameKind, f64, Camera, Scene)>,
}

/// A plain level has no use for what shapes light; and only the frame's own shift separates it from what is expected.
fn plain() -> Effects {
    Effects {
        dark: 1.0,
        pedestal: 1.0,
        hot_pixels: 1.0,
        photon_noise: true,
        cosmic_rays: 1.0,
        saturation: true,
        blooming: true,
        bias_structure: 1.0,
        frame_drift: 1.0,
        read_noise: 1.0,
        ..Effects::none()
    }
}

impl Painter {
    pub fn new(seed: u64) -> Painter {
        Painter { seeds: Seeds::new(seed), easels: BTreeMap::new() }
    }

    /// Draw one exposure.
    pub fn paint(&mut self, exposure: Exposure) -> SimFrame {
        let Exposure { kind, exptime, camera, .. } = &exposure;
        let seeds = &self.seeds;
        let easel = self
            .easels
            .entry(camera.arm)
            .or_insert_with(|| Easel { detector: Detector::new(camera.arm, plain(), seeds), last: None });
        let same =
            |(of, time, with, _): &&(FrameKind, f64, Camera, Scene)| of == kind && time == exptime && with == camera;
        let scene = match easel.last.as_ref().filter(same) {
            Some((_, _, _, scene)) => scene.clone(),
            None => {
                let level = light(*kind);
                let light = (level > 0.0).then(|| Array2::from_elem(camera.area(), level));
                let scene = easel.detector.set(camera, *exptime, light.as_ref());
                easel.last = Some((*kind, *exptime, camera.clone(), scene.clone()));
                scene
            }
        };
        // Persistence is off: when frames start does not matter.
        let exposed = easel.detector.expose(&scene, exposure.number, 0.0, &mut Persistence::default());
        SimFrame {
            name: exposure.name,
            header: exposure.header,
            pixels: exposed.pixels,
            truth: FrameTruth {
                ron: exposed.truth.ron,
                gain: exposed.truth.gain,
                level: exposed.truth.level,
                offset: exposed.truth.offset,
                hot: exposed.truth.hot,
                cosmics: exposed.truth.cosmics,
                expected: exposed.truth.expected,
            },
        }
    }
}

/// A plain level in electrons for frames with light: enough to tell them apart.
fn light(kind: FrameKind) -> f32 {
    use FrameKind::*;
    match kind {
        Bias | Dark | LampOff => 0.0,
        PinholeArc | MultiPinholeArc | StandardStare | StandardNod | ObjectStare | ObjectNod => 30.0,
        PinholeFlat => 200.0,
        SlitFlat | DeuteriumFlat => 15_000.0,
        Acquisition => 400.0,
    }
}
