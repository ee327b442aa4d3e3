//! Closed forms that whole exposures must meet, from the plan of a night to image and truth.

mod budget;
mod faults;
mod linear;
mod lines;
mod night;
mod seeds;

use std::sync::Arc;

use ndarray::s;

use super::*;
use crate::instrument::SpectralFormat;
use crate::instrument::format::Axis;
use crate::simulator::detector::Effects;
use crate::simulator::kind::FrameKind;
use crate::simulator::night::TemplatePlan;
use crate::simulator::optics::Stray;
use crate::simulator::plan::Target;
use crate::simulator::truth::tables::FrameTables;

const SPECTROGRAPHS: [Arm; 2] = [Arm::Vis, Arm::Nir];

/// A night by the usual instrument.
fn usual() -> NightPlan {
    NightPlan::new("2026-03-11T03:00:00Z".parse().unwrap())
}

/// A night without noise, defects, stray light and flicker: what is left is light and geometry.
fn perfect() -> NightPlan {
    let mut plan = usual();
    let instrument = &mut plan.instrument;
    for optics in [&mut instrument.optics.vis, &mut instrument.optics.nir] {
        optics.stray = Stray::none();
    }
    for spectrograph in [&mut instrument.vis, &mut instrument.nir] {
        spectrograph.flicker = 0.0;
        spectrograph.detector = Effects::none();
    }
    instrument.acq.detector = Effects::none();
    plan
}

/// A target that stands some 30 degrees from the zenith when the nights of these tests begin.
fn target(plan: &NightPlan, spectrum: &str, magnitude: Option<f64>) -> Target {
    Target {
        name: "STAR".to_string(),
        ra: horizon::sidereal(plan.start),
        dec: -60.0,
        spectrum: Some(spectrum.to_string()),
        magnitude,
        band: Default::default(),
        along: 0.0,
        across: 0.0,
        extent: 0.0,
        slit_angle: 0.0,
        companions: Vec::new(),
    }
}

/// A template with a target.
fn on(target: &Target, kind: FrameKind, arm: Arm, exptime: f64, frames: u32) -> TemplatePlan {
    TemplatePlan {
        object: target.name.clone(),
        target: Some(Arc::new(target.clone())),
        gap: 0.0,
        ..TemplatePlan::new(kind, arm, exptime, frames)
    }
}

/// An exposure as it was drawn.
struct Drawn {
    exposure: Exposure,
    frame: SimFrame,
    tables: FrameTables,
    /// Expected electrons of the exposed area above the bias level.
    light: Array2<f32>,
}

/// Every exposure of a night.
fn draw(plan: &NightPlan) -> Vec<Drawn> {
    let mut painter = Painter::new(plan).unwrap();
    plan.exposures().unwrap().into_iter().map(|exposure| drawn(&mut painter, exposure)).collect()
}

fn drawn(painter: &mut Painter, exposure: Exposure) -> Drawn {
    let frame = painter.paint(&exposure).unwrap();
    let tables = painter.tables(&exposure).unwrap();
    let light = light(&exposure, &frame);
    Drawn { exposure, frame, tables, light }
}

/// Expected electrons of the exposed area above the level of the first pixel, which sees no light in any spectrograph.
fn light(exposure: &Exposure, frame: &SimFrame) -> Array2<f32> {
    let expected = &frame.truth.expected;
    let level = expected[[0, 0]];
    let ((row0, row1), (column0, column1)) = exposure.camera.science();
    expected.slice(s![row0..row1, column0..column1]).mapv(|electrons| electrons - level)
}

impl Drawn {
    /// The geometry of this exposure.
    fn view(&self) -> View {
        View::new(self.exposure.arm, &self.exposure.flexure, &Distortion::usual(self.exposure.arm))
    }
}

/// A position as (along, beside) the dispersion.
fn along(arm: Arm, (x, y): (f64, f64)) -> (f64, f64) {
    if SpectralFormat::of(arm).dispersion() == Axis::X { (x, y) } else { (y, x) }
}

fn sum(image: &Array2<f32>) -> f64 {
    image.iter().map(|&electrons| f64::from(electrons)).sum()
}

/// The largest difference of two images against the brightest pixel of the first.
fn difference(a: &Array2<f32>, b: &Array2<f32>) -> f64 {
    let brightest = a.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    let most = a.iter().zip(b).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
    f64::from(most / brightest)
}
