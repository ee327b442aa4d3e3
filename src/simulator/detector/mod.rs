//! The detectors: from the light that falls on them to raw pixels, with everything that a real one does to it.
//!
//! The way of the charge is the order of the modules: `charge` (light x response, dark signal, defects, sharing between
//! neighbours), `persistence`, photon noise and `cosmics` (here), `wells` (non-linearity, saturation, blooming),
//! `clocking` (transfer, binning on the chip), `readout` (levels, drifts, read noise, conversion). `chip` is what never
//! changes about a detector, `setup` its read modes and binnings, `sizes` the usual size of each effect and `effects`
//! how strong each is in a frame.
//!
//! What never lives here: wavelengths and slits (that is `optics`), headers and files.

mod charge;
mod chip;
mod clocking;
mod cosmics;
mod effects;
mod persistence;
mod readout;
mod setup;
mod sizes;
mod smooth;
#[cfg(test)]
mod tests;
mod wells;

use std::sync::Arc;

use ndarray::{Array2, Axis, s};
use rand_distr::{Distribution, Poisson};
use rand_pcg::Pcg64Mcg;
use rayon::prelude::*;

pub use chip::Chip;
pub use effects::Effects;
pub use persistence::Persistence;
pub use setup::Camera;

use super::Pixels;
use super::random::{Effect, Seeds};
use crate::fault::{Classified, FaultClass};
use crate::instrument::Arm;
use cosmics::Hits;
use readout::{Amplifier, Drifts, Levels};
use sizes::Sizes;

/// Marks in [`Truth::defects`]; a binned pixel has the marks of all its parts.
pub mod defect {
    /// Hot: more dark signal than its surroundings.
    pub const HOT: u8 = 1;
    /// Dead: less response than its surroundings.
    pub const DEAD: u8 = 2;
    /// Unstable: jumps from frame to frame.
    pub const UNSTABLE: u8 = 4;
    /// On a bright column, or in a column behind a charge trap.
    pub const COLUMN: u8 = 8;
}

/// What went into a frame, beside the light.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    /// Electrons per ADU.
    pub gain: f64,
    /// Read noise, electrons.
    pub ron: f64,
    /// Mean of the expected image over the science area, electrons.
    pub level: f64,
    /// Shift of the whole frame against the expected image, electrons.
    pub offset: f64,
    /// Shift of each row of the raw image on top of that, electrons; prescan, overscan and reference pixels share it.
    pub rows: Vec<f64>,
    /// Shift of each output channel (stripes of equally many raw columns) on top of that, electrons.
    pub channels: Vec<f64>,
    /// Dark signal of hot pixels and bright columns above their surroundings, electrons per second, raw image.
    pub hot: Arc<Array2<f32>>,
    /// Marks of [`defect`], raw image.
    pub defects: Arc<Array2<u8>>,
    /// Pixels that a cosmic ray left at least one electron in, (row, column) of the raw image, sorted, each once.
    pub cosmics: Vec<(usize, usize)>,
    /// Pixels with a full well, or at the limit of the converter; sorted, each once.
    pub saturated: Vec<(usize, usize)>,
    /// Unstable pixels that were up; sorted, each once.
    pub up: Vec<(usize, usize)>,
    /// Expected electrons without noise, cosmic rays, drifts and jumps, raw image. The bias level is in it.
    pub expected: Arc<Array2<f32>>,
}

/// A raw frame with its truth.
#[derive(Clone, Debug, PartialEq)]
pub struct Exposed {
    /// The image as the detector software writes it.
    pub pixels: Pixels,
    /// What went into it.
    pub truth: Truth,
}

/// Why light cannot fall on a detector. Both are mistakes of the caller.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DetectorError {
    /// The light has another shape than the exposed area.
    #[error("light of {found:?} rows and columns on the {arm} detector, which has {expected:?}")]
    Shape {
        /// Arm of the detector.
        arm: Arm,
        /// Rows and columns of the light.
        found: (usize, usize),
        /// Rows and columns of the exposed area.
        expected: (usize, usize),
    },
    /// The setup is that of another detector.
    #[error("a setup of the {found} detector for that of {arm}")]
    Arm {
        /// Arm of the detector.
        arm: Arm,
        /// Arm of the setup.
        found: Arm,
    },
}

impl Classified for DetectorError {
    fn class(&self) -> FaultClass {
        FaultClass::Bug
    }
}

/// What is the same in every frame of one setup, exposure time and light. Cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    camera: Camera,
    exptime: f64,
    levels: Arc<Levels>,
    /// Expected electrons of the exposed, unbinned area before saturation.
    charge: Arc<Array2<f32>>,
    expected: Arc<Array2<f32>>,
    hot: Arc<Array2<f32>>,
    defects: Arc<Array2<u8>>,
    level: f64,
}

impl Scene {
    /// The setup in which it is seen.
    pub fn camera(&self) -> &Camera {
        &self.camera
    }

    /// Expected electrons of the raw image, bias level included, without what earlier exposures leave in it.
    pub fn expected(&self) -> &Arc<Array2<f32>> {
        &self.expected
    }
}

/// One detector with its fixed pattern. Cheap to clone; make it once a night, since drawing the pattern takes a while.
#[derive(Clone, Debug)]
pub struct Detector {
    chip: Arc<Chip>,
    effects: Effects,
    seeds: Seeds,
}

impl Detector {
    /// The detector of an arm. The seed of [`Effect::Detector`] makes its pattern.
    pub fn new(arm: Arm, effects: Effects, seeds: &Seeds) -> Detector {
        Detector { chip: Arc::new(Chip::new(arm, seeds)), effects, seeds: seeds.clone() }
    }

    /// The same detector with other strengths of its effects.
    pub fn with_effects(&self, effects: Effects) -> Detector {
        Detector { effects, ..self.clone() }
    }

    /// The chip; its fringes are wanted where light is spread over wavelengths.
    pub fn chip(&self) -> &Arc<Chip> {
        &self.chip
    }

    /// The strengths of the effects.
    pub fn effects(&self) -> &Effects {
        &self.effects
    }

    /// Response to light of the exposed, unbinned area, 1 on average, dead pixels included; fringes and the charge that
    /// neighbours share are not in it.
    pub fn response(&self) -> Array2<f32> {
        let mut map = Array2::zeros(Sizes::of(self.chip.arm()).area);
        for (row, mut pixels) in map.axis_iter_mut(Axis(0)).enumerate() {
            for (pixel, response) in pixels.iter_mut().zip(charge::response(&self.chip, &self.effects, row)) {
                *pixel = response as f32;
            }
        }
        map
    }

    /// What frames with this setup, exposure time (seconds; DIT in NIR) and light have in common.
    ///
    /// `light` is in electrons over the whole exposure for each pixel of the exposed, unbinned area
    /// ([`Camera::area`]); without light the frame is a dark, and without exposure time a bias.
    pub fn scene(&self, camera: &Camera, exptime: f64, light: Option<&Array2<f32>>) -> Result<Scene, DetectorError> {
        let arm = self.chip.arm();
        if camera.arm != arm {
            return Err(DetectorError::Arm { arm, found: camera.arm });
        }
        let expected = camera.area();
        if let Some(found) = light.map(|light| light.dim()).filter(|found| *found != expected) {
            return Err(DetectorError::Shape { arm, found, expected });
        }
        Ok(self.set(camera, exptime, light))
    }

    /// The scene for a setup of this detector and light of the right shape.
    fn set(&self, camera: &Camera, exptime: f64, light: Option<&Array2<f32>>) -> Scene {
        let charge = charge::collect(&self.chip, &self.effects, exptime, light);
        let levels = Levels::new(camera, &self.effects, &self.seeds, exptime);
        let expected = self.expected(camera, &levels, charge.clone());
        let (hot, defects) = self.maps(camera);
        Scene {
            camera: camera.clone(),
            exptime,
            levels: Arc::new(levels),
            charge: Arc::new(charge),
            level: mean_of_science(camera, &expected),
            expected: Arc::new(expected),
            hot: Arc::new(hot),
            defects: Arc::new(defects),
        }
    }

    /// Take one frame of a scene.
    ///
    /// `number` tells this exposure from all others of the night, in whatever arm: its random streams hang on it.
    /// `start` is when it starts, in seconds of any clock that the night keeps. `memory` is what earlier exposures of
    /// this detector left; this one adds to it, so exposures of a detector must be taken in order of time.
    pub fn expose(&self, scene: &Scene, number: u64, start: f64, memory: &mut Persistence) -> Exposed {
        let camera = &scene.camera;
        let sizes = Sizes::of(camera.arm);
        let (charge, expected, level) = self.with_after_images(scene, start, memory);
        memory.remember(&charge, sizes, start + scene.exptime);

        let rays = cosmics::rays(&self.seeds, camera.arm, number, scene.exptime, &self.effects);
        let mut counted = self.count_photons(&charge, &rays, number);
        wells::fill(&mut counted, sizes, &self.effects);

        let drifts = Drifts::new(camera, &self.effects, &self.seeds, number);
        let amplifier = Amplifier {
            camera,
            chip: &self.chip,
            effects: &self.effects,
            seeds: &self.seeds,
            number,
            levels: &scene.levels,
            drifts: &drifts,
        };
        let (pixels, saturated, up) = if camera.arm == Arm::Nir {
            let frame = amplifier.read(&counted, |adu| (adu as f32, false));
            (Pixels::F32(frame.pixels), frame.saturated, frame.up)
        } else {
            // `as` clips at 0 and 65535, as the converter does.
            let frame = amplifier.read(&counted, |adu| (adu.round() as u16, adu.round() >= f64::from(u16::MAX)));
            (Pixels::U16(frame.pixels), frame.saturated, frame.up)
        };
        let mut cosmics: Vec<(usize, usize)> = rays.keys().map(|&(row, column)| camera.raw(row, column)).collect();
        cosmics.sort_unstable();
        cosmics.dedup();
        Exposed {
            pixels,
            truth: Truth {
                gain: camera.gain,
                ron: camera.ron * self.effects.read_noise,
                level,
                offset: drifts.offset,
                rows: drifts.rows,
                channels: drifts.channels,
                hot: scene.hot.clone(),
                defects: scene.defects.clone(),
                cosmics,
                saturated,
                up,
                expected,
            },
        }
    }

    /// Let an exposure of a scene leave its after-images without taking the frame; arguments as in [`Detector::expose`].
    pub fn pass(&self, scene: &Scene, start: f64, memory: &mut Persistence) {
        let (charge, _, _) = self.with_after_images(scene, start, memory);
        memory.remember(&charge, Sizes::of(scene.camera.arm), start + scene.exptime);
    }

    /// Expected charge, image and level of a frame, with what earlier exposures left; those of the scene if nothing.
    fn with_after_images(
        &self,
        scene: &Scene,
        start: f64,
        memory: &Persistence,
    ) -> (Arc<Array2<f32>>, Arc<Array2<f32>>, f64) {
        let (share, _) = Sizes::of(scene.camera.arm).persistence;
        let released = memory.released(share * self.effects.persistence, start, scene.exptime);
        if released.is_empty() {
            return (scene.charge.clone(), scene.expected.clone(), scene.level);
        }
        let mut charge = Array2::clone(&scene.charge);
        for (factor, pixels) in released {
            for &(row, column, signal) in pixels {
                // Every imprint has the shape of this detector.
                charge[(row as usize, column as usize)] += (factor * f64::from(signal)) as f32;
            }
        }
        let expected = self.expected(&scene.camera, &scene.levels, charge.clone());
        let level = mean_of_science(&scene.camera, &expected);
        (Arc::new(charge), Arc::new(expected), level)
    }

    fn expected(&self, camera: &Camera, levels: &Levels, mut charge: Array2<f32>) -> Array2<f32> {
        wells::fill(&mut charge, Sizes::of(camera.arm), &self.effects);
        levels.expected(camera, &charge, &self.effects)
    }

    /// Draw what is counted where this much is expected, and add the cosmic rays. A random stream for each row.
    fn count_photons(&self, charge: &Array2<f32>, rays: &Hits, number: u64) -> Array2<f32> {
        let mut counted = charge.clone();
        counted.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(row, mut pixels)| {
            if self.effects.photon_noise {
                let mut rng = self.seeds.stream(Effect::Photons, number, row as u64);
                pixels.iter_mut().for_each(|pixel| *pixel = poisson(f64::from(*pixel), &mut rng) as f32);
            }
            for (&(_, column), &electrons) in rays.range((row, 0)..(row + 1, 0)) {
                pixels[column] += electrons as f32;
            }
        });
        counted
    }

    /// Rates of hot pixels (electrons per second above their surroundings), and the marks of all [`defect`]s, for the raw
    /// image of a setup.
    pub fn maps(&self, camera: &Camera) -> (Array2<f32>, Array2<u8>) {
        let (mut hot, mut marks) = (Array2::<f32>::zeros(camera.shape()), Array2::<u8>::zeros(camera.shape()));
        let chip = &self.chip;
        if self.effects.hot_pixels > 0.0 {
            for spot in &chip.hot {
                let at = camera.raw(spot.row, spot.column);
                hot[at] += (self.effects.hot_pixels * spot.size) as f32;
                marks[at] |= defect::HOT;
            }
        }
        for (strength, spots, mark) in [
            (self.effects.dead_pixels, &chip.dead, defect::DEAD),
            (self.effects.blinking, &chip.blinking, defect::UNSTABLE),
        ] {
            for spot in spots.iter().filter(|_| strength > 0.0) {
                marks[camera.raw(spot.row, spot.column)] |= mark;
            }
        }
        let (rows, _) = camera.area();
        let strength = self.effects.bad_columns;
        for bright in chip.bright_columns.iter().filter(|_| strength > 0.0) {
            for row in bright.row..rows {
                let at = camera.raw(row, bright.column);
                hot[at] += (strength * bright.size) as f32;
                marks[at] |= defect::COLUMN;
            }
        }
        for trap in chip.traps.iter().filter(|_| strength > 0.0) {
            (trap.row..rows).for_each(|row| marks[camera.raw(row, trap.column)] |= defect::COLUMN);
        }
        (hot, marks)
    }
}

/// Mean over the area that sees light.
fn mean_of_science(camera: &Camera, image: &Array2<f32>) -> f64 {
    let ((row0, row1), (column0, column1)) = camera.science();
    let science = image.slice(s![row0..row1, column0..column1]);
    science.iter().map(|&electrons| f64::from(electrons)).sum::<f64>() / science.len() as f64
}

/// Electrons that are counted where this many are expected.
fn poisson(expected: f64, rng: &mut Pcg64Mcg) -> f64 {
    // Nothing is counted where nothing is expected, which is no Poisson distribution to the library.
    Poisson::new(expected).map_or(0.0, |counts| counts.sample(rng))
}
