//! The detectors: what a frame is expected to hold, and what noise makes of it.
//!
//! Figures are those of the instrument's pages where published; the rest (bias level, gradients, glow, pedestal, gains of
//! the read modes 3 and 4) is assumed and only has to be plausible.

use std::collections::BTreeMap;
use std::sync::Arc;

use ndarray::{Array2, Axis, s};
use rand::RngExt;
use rand_distr::{Distribution, Exp, LogNormal, Normal, Poisson, StandardNormal};
use rayon::prelude::*;

use super::exposure::Exposure;
use super::kind::FrameKind;
use super::night::TemplatePlan;
use super::random::{Effect, Seeds};
use super::{FrameTruth, Pixels, SimFrame};
use crate::instrument::{Arm, Binning};

/// A read mode of the CCD.
struct ReadMode {
    id: u8,
    name: &'static str,
    /// Electrons per ADU.
    gain: f64,
    /// Electrons.
    ron: f64,
    /// Seconds for the unbinned window.
    readout: f64,
}

/// Slow and fast, high and low gain.
const VIS_MODES: [ReadMode; 4] = [
    ReadMode { id: 1, name: "1pt_100k_hg", gain: 0.6, ron: 2.8, readout: 60.0 },
    ReadMode { id: 2, name: "1pt_400k_lg", gain: 2.0, ron: 7.0, readout: 20.0 },
    ReadMode { id: 3, name: "1pt_100k_lg", gain: 1.12, ron: 3.8, readout: 60.0 },
    ReadMode { id: 4, name: "1pt_400k_hg", gain: 0.9, ron: 5.5, readout: 20.0 },
];

const VIS_BINNINGS: [(usize, usize); 3] = [(1, 1), (2, 1), (2, 2)];
/// Unbinned columns of prescan, science and overscan, and rows.
const VIS_PRESCAN: usize = 50;
const VIS_SCIENCE: usize = 808;
const VIS_ROWS: usize = 4096;
/// ADU.
const VIS_BIAS: f64 = 1000.0;
/// Electrons from the first to the last row, and from the first to the last column.
const VIS_GRADIENT: (f64, f64) = (1.5, -0.2);
/// Scatter of the columns' levels, electrons.
const VIS_COLUMN_PATTERN: f64 = 0.05;
/// Electrons per second and unbinned pixel.
const VIS_DARK: f64 = 1.0e-5;

const NIR_SIDE: usize = 2048;
/// Reference pixels on each side: they see the electronics, not the sky.
const NIR_BORDER: usize = 4;
/// Electrons per second and pixel far from and near the glowing amplifiers.
const NIR_DARK: f64 = 0.008;
const NIR_GLOW: f64 = 0.02;
/// Extent of the glow, pixels.
const NIR_GLOW_SCALE: f64 = 180.0;
/// Signal that does not grow with the exposure: settling of the ramp. Electrons, and seconds of its decay.
const NIR_PEDESTAL: (f64, f64, f64) = (2.0, 3.0, 20.0);
/// Share of hot pixels, and their rate: median in electrons per second and spread of the logarithm.
const NIR_HOT: (f64, f64, f64) = (0.007, 3.0, 1.0);
const VIS_HOT: (f64, f64, f64) = (1.4e-5, 0.5, 1.0);
/// Electrons; the ramp clips.
const NIR_FULL_WELL: f64 = 100_000.0;

const ACQ_SIDE: usize = 1024;

/// A detector in one setup.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Camera {
    pub arm: Arm,
    pub mode: u8,
    pub mode_name: &'static str,
    pub binning: Binning,
    /// Electrons per ADU.
    pub gain: f64,
    /// Electrons.
    pub ron: f64,
    /// Seconds from the end of an exposure to the start of the next.
    pub readout: f64,
}

impl Camera {
    /// The camera that a template asks for, or why there is none.
    pub fn of(template: &TemplatePlan) -> Result<Camera, String> {
        let Binning { x, y } = template.binning;
        if !(template.exptime >= 0.0 && template.exptime <= 86_400.0) {
            return Err(format!("exposure time {} s, expected 0 to 86400", template.exptime));
        }
        if (template.kind == FrameKind::Bias) != (template.exptime == 0.0) {
            return Err(format!("exposure time {} s: biases have zero, all others more", template.exptime));
        }
        if template.arm == Arm::Nir && template.kind == FrameKind::Bias {
            return Err("the NIR detector has no biases".to_string());
        }
        if template.arm != Arm::Vis && (x, y) != (1, 1) {
            return Err(format!("binning {x}x{y}, only VIS bins"));
        }
        let camera = |mode_name, gain, ron, readout| Camera {
            arm: template.arm,
            mode: template.read_mode,
            mode_name,
            binning: template.binning,
            gain,
            ron,
            readout,
        };
        match template.arm {
            Arm::Vis => {
                if !VIS_BINNINGS.contains(&(x, y)) {
                    return Err(format!("binning {x}x{y}, expected 1x1, 2x1 or 2x2"));
                }
                let mode = VIS_MODES
                    .iter()
                    .find(|mode| mode.id == template.read_mode)
                    .ok_or_else(|| format!("read mode {}, expected 1 to 4", template.read_mode))?;
                Ok(camera(mode.name, mode.gain, mode.ron, mode.readout / (x * y) as f64))
            }
            // Long ramps have many reads, which average the noise down.
            Arm::Nir if template.read_mode == 3 => {
                Ok(camera("UpTheRamp", 2.3, if template.exptime <= 10.0 { 15.0 } else { 7.3 }, 10.0))
            }
            Arm::Nir => Err(format!("read mode {}, expected 3", template.read_mode)),
            Arm::Acq => Ok(camera("Normal", 1.0, 2.9, 2.0)),
        }
    }

    /// Raw image as (rows, columns).
    pub fn shape(&self) -> (usize, usize) {
        match self.arm {
            Arm::Vis => (VIS_ROWS / self.binning.y, (VIS_SCIENCE + 2 * VIS_PRESCAN) / self.binning.x),
            Arm::Nir => (NIR_SIDE, NIR_SIDE),
            Arm::Acq => (ACQ_SIDE, ACQ_SIDE),
        }
    }

    /// Rows and columns of the area that sees light, as half-open ranges of the raw image.
    pub fn science(&self) -> ((usize, usize), (usize, usize)) {
        let (rows, columns) = self.shape();
        match self.arm {
            Arm::Vis => {
                let margin = VIS_PRESCAN / self.binning.x;
                ((0, rows), (margin, columns - margin))
            }
            Arm::Nir => ((NIR_BORDER, rows - NIR_BORDER), (NIR_BORDER, columns - NIR_BORDER)),
            Arm::Acq => ((0, rows), (0, columns)),
        }
    }
}

/// What is the same in every frame of a setup.
#[derive(Clone)]
struct Scene {
    kind: FrameKind,
    exptime: f64,
    camera: Camera,
    /// Electrons without shot noise: the level of the electronics. Whole raw image.
    electronics: Arc<Array2<f32>>,
    /// Electrons with shot noise: dark signal and light. Whole raw image.
    collected: Arc<Array2<f32>>,
    expected: Arc<Array2<f32>>,
    hot: Arc<Array2<f32>>,
    level: f64,
}

/// Draws frames. Keeps the scene of each arm, since frames of a template share it.
pub(super) struct Painter {
    seeds: Seeds,
    scenes: BTreeMap<Arm, Scene>,
}

impl Painter {
    pub fn new(seeds: Seeds) -> Painter {
        Painter { seeds, scenes: BTreeMap::new() }
    }

    /// Draw one exposure.
    pub fn paint(&mut self, exposure: &Exposure) -> SimFrame {
        let scene = self.scene(exposure);
        let offset = Normal::new(0.0, 0.3 * scene.camera.gain)
            .map_or(0.0, |jitter| jitter.sample(&mut self.seeds.stream(Effect::Offset, exposure.number, 0)));
        let rays = cosmic_rays(&self.seeds, exposure);
        let pixels = read_out(&self.seeds, exposure, &scene, offset, &rays);
        SimFrame {
            name: exposure.name.clone(),
            header: exposure.header.clone(),
            pixels,
            truth: FrameTruth {
                ron: scene.camera.ron,
                gain: scene.camera.gain,
                level: scene.level,
                offset,
                hot: scene.hot,
                cosmics: rays.into_keys().collect(),
                expected: scene.expected,
            },
        }
    }

    fn scene(&mut self, exposure: &Exposure) -> Scene {
        let fits = |scene: &&Scene| {
            scene.kind == exposure.kind && scene.exptime == exposure.exptime && scene.camera == exposure.camera
        };
        if let Some(scene) = self.scenes.get(&exposure.camera.arm).filter(fits) {
            return scene.clone();
        }
        let scene = set_the_scene(&self.seeds, exposure);
        self.scenes.insert(exposure.camera.arm, scene.clone());
        scene
    }
}

fn set_the_scene(seeds: &Seeds, exposure: &Exposure) -> Scene {
    let camera = exposure.camera.clone();
    let (rows, columns) = camera.shape();
    let hot = hot_pixels(seeds, &camera);
    let electronics = match camera.arm {
        Arm::Vis => bias_structure(seeds, &camera),
        Arm::Nir => {
            let mut level = Array2::zeros((rows, columns));
            let (constant, settling, decay) = NIR_PEDESTAL;
            let pedestal = constant + settling * (-exposure.exptime / decay).exp();
            science_of(&camera, &mut level).fill(pedestal as f32);
            level
        }
        Arm::Acq => Array2::from_elem((rows, columns), 500.0),
    };
    let mut collected = Array2::zeros((rows, columns));
    let ((row0, _), (column0, _)) = camera.science();
    let light = light(exposure.kind);
    let binned = (camera.binning.x * camera.binning.y) as f64;
    for ((row, column), pixel) in science_of(&camera, &mut collected).indexed_iter_mut() {
        let rate = match camera.arm {
            Arm::Nir => NIR_DARK + NIR_GLOW * glow(row, column),
            Arm::Vis => VIS_DARK * binned,
            Arm::Acq => 1.2e-4,
        };
        let rate = rate + f64::from(hot[(row + row0, column + column0)]);
        *pixel = (rate * exposure.exptime + light).min(NIR_FULL_WELL) as f32;
    }
    let expected: Array2<f32> = &electronics + &collected;
    let ((row0, row1), (column0, column1)) = camera.science();
    let science = expected.slice(s![row0..row1, column0..column1]);
    let level = science.iter().map(|&electrons| f64::from(electrons)).sum::<f64>() / science.len() as f64;
    Scene {
        kind: exposure.kind,
        exptime: exposure.exptime,
        camera,
        electronics: Arc::new(electronics),
        collected: Arc::new(collected),
        expected: Arc::new(expected),
        hot: Arc::new(hot),
        level,
    }
}

fn science_of<'a>(camera: &Camera, image: &'a mut Array2<f32>) -> ndarray::ArrayViewMut2<'a, f32> {
    let ((row0, row1), (column0, column1)) = camera.science();
    image.slice_mut(s![row0..row1, column0..column1])
}

/// A plain level in electrons for frames with light: enough to tell them apart.
fn light(kind: FrameKind) -> f64 {
    use FrameKind::*;
    match kind {
        Bias | Dark | LampOff => 0.0,
        PinholeArc | MultiPinholeArc | SlitArc | StandardStare | StandardNod | TelluricStare | TelluricNod
        | ObjectStare | ObjectNod | ObjectOffset => 30.0,
        PinholeFlat => 200.0,
        SlitFlat | DeuteriumFlat | TwilightFlat => 15_000.0,
        Acquisition | Imaging => 400.0,
    }
}

/// 1 in the two glowing corners of the infrared detector, 0 far away.
fn glow(row: usize, column: usize) -> f64 {
    let side = (NIR_SIDE - 2 * NIR_BORDER) as f64;
    let (y, x) = (row as f64, column as f64);
    let falls = |dx: f64, dy: f64| (-(dx * dx + dy * dy).sqrt() / NIR_GLOW_SCALE).exp();
    falls(x, y) + 0.6 * falls(side - x, y)
}

fn bias_structure(seeds: &Seeds, camera: &Camera) -> Array2<f32> {
    let (rows, columns) = camera.shape();
    let mut rng = seeds.stream(Effect::Detector, u64::from(camera.mode), camera.binning.x as u64);
    let pattern: Vec<f64> = (0..columns)
        .map(|column| {
            let scatter: f64 = StandardNormal.sample(&mut rng);
            VIS_GRADIENT.1 * column as f64 / columns as f64 + VIS_COLUMN_PATTERN * scatter
        })
        .collect();
    Array2::from_shape_fn((rows, columns), |(row, column)| {
        (VIS_BIAS * camera.gain + VIS_GRADIENT.0 * row as f64 / rows as f64 + pattern[column]) as f32
    })
}

/// Rates of hot pixels above their surroundings. The same detector has the same ones in every setup of one binning.
fn hot_pixels(seeds: &Seeds, camera: &Camera) -> Array2<f32> {
    let mut hot = Array2::zeros(camera.shape());
    let (share, median, spread) = match camera.arm {
        Arm::Vis => VIS_HOT,
        Arm::Nir => NIR_HOT,
        Arm::Acq => return hot,
    };
    let mut rng = seeds.stream(Effect::Detector, 1000 + camera.arm as u64, camera.binning.x as u64);
    let mut science = science_of(camera, &mut hot);
    let (rows, columns) = science.dim();
    // The parameters are constants for which the distribution exists.
    let Ok(rates) = LogNormal::new(median.ln(), spread) else { return hot };
    for _ in 0..(share * science.len() as f64) as usize {
        let at = (rng.random_range(0..rows), rng.random_range(0..columns));
        science[at] = rates.sample(&mut rng).min(100.0) as f32;
    }
    hot
}

/// Electrons that cosmic rays left, by (row, column) of the raw image.
type Hits = BTreeMap<(usize, usize), f64>;

/// Tracks of cosmic rays through the area that sees light.
fn cosmic_rays(seeds: &Seeds, exposure: &Exposure) -> Hits {
    let mut hits = Hits::new();
    // Hits per second on the whole detector.
    let rate = match exposure.camera.arm {
        Arm::Vis => 0.3,
        Arm::Nir => 0.6,
        Arm::Acq => 0.02,
    };
    let mut rng = seeds.stream(Effect::Cosmics, exposure.number, 0);
    // A frame without exposure time has none; the other parameters are constants for which the distributions exist.
    let distributions = (Poisson::new(rate * exposure.exptime), Exp::new(1.0 / 3.0), LogNormal::new(700_f64.ln(), 0.9));
    let (Ok(count), Ok(length), Ok(charge)) = distributions else { return hits };
    let ((row0, row1), (column0, column1)) = exposure.camera.science();
    for _ in 0..count.sample(&mut rng) as usize {
        let angle = rng.random_range(0.0..std::f64::consts::TAU);
        let (x, y) = (rng.random_range(column0 as f64..column1 as f64), rng.random_range(row0 as f64..row1 as f64));
        let electrons = charge.sample(&mut rng);
        for step in 0..=(length.sample(&mut rng) as usize) {
            let (row, column) = (y + step as f64 * angle.sin(), x + step as f64 * angle.cos());
            let inside = row >= row0 as f64 && column >= column0 as f64 && row < row1 as f64 && column < column1 as f64;
            if inside {
                *hits.entry((row as usize, column as usize)).or_insert(0.0) += electrons * rng.random_range(0.5..1.5);
            }
        }
    }
    hits
}

/// Add noise, convert to ADU and quantise, row by row with a random stream each.
fn read_out(seeds: &Seeds, exposure: &Exposure, scene: &Scene, offset: f64, rays: &Hits) -> Pixels {
    let camera = &scene.camera;
    let (rows, columns) = camera.shape();
    let row_of_adu = |row: usize, put: &mut dyn FnMut(usize, f64)| {
        let mut rng = seeds.stream(Effect::Photons, exposure.number, row as u64);
        let (level, collected) = (scene.electronics.row(row), scene.collected.row(row));
        let mut struck =
            rays.range((row, 0)..(row + 1, 0)).map(|(&(_, column), &electrons)| (column, electrons)).peekable();
        for column in 0..columns {
            let mut electrons = shot_noise(f64::from(collected[column]), &mut rng);
            if let Some((_, charge)) = struck.next_if(|(at, _)| *at == column) {
                electrons += charge;
            }
            if camera.arm == Arm::Nir {
                electrons = electrons.min(NIR_FULL_WELL);
            }
            let noise: f64 = StandardNormal.sample(&mut rng);
            put(column, (f64::from(level[column]) + offset + electrons + camera.ron * noise) / camera.gain);
        }
    };
    if camera.arm == Arm::Nir {
        let mut image = Array2::<f32>::zeros((rows, columns));
        image.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(row, mut pixels)| {
            row_of_adu(row, &mut |column, adu| pixels[column] = adu as f32);
        });
        return Pixels::F32(image);
    }
    let mut image = Array2::<u16>::zeros((rows, columns));
    image.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(row, mut pixels)| {
        // `as` clips at 0 and 65535, as the converter does.
        row_of_adu(row, &mut |column, adu| pixels[column] = adu.round() as u16);
    });
    Pixels::U16(image)
}

/// Electrons that are counted where this many are expected.
fn shot_noise(expected: f64, rng: &mut rand_pcg::Pcg64Mcg) -> f64 {
    match Poisson::new(expected) {
        Ok(counts) if expected > 0.0 => counts.sample(rng),
        _ => 0.0,
    }
}
