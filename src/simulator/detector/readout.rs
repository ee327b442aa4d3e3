//! The electronics: levels that they add, read noise, conversion to ADU.

use ndarray::{Array2, Axis};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use super::chip::{Chip, of_row};
use super::clocking::Register;
use super::effects::Effects;
use super::setup::Camera;
use super::sizes::Sizes;
use super::smooth::drift;
use crate::instrument::Arm;
use crate::simulator::math;
use crate::simulator::random::{Effect, Seeds};

/// Frequency of the pick-up, Hz.
const MAINS: f64 = 50.0;

/// Levels in electrons that are the same in every frame of a setup and exposure time.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Levels {
    /// Of every pixel.
    bias: f64,
    /// From the first to the last row.
    slope: f64,
    /// Of each raw column.
    columns: Vec<f64>,
    /// Of exposed pixels.
    pedestal: f64,
}

impl Levels {
    pub fn new(camera: &Camera, effects: &Effects, seeds: &Seeds, exptime: f64) -> Levels {
        let sizes = Sizes::of(camera.arm);
        let (_, columns) = camera.shape();
        // The pattern is that of the electronics: each read mode and width of the frame has its own.
        let mut rng =
            seeds.stream(Effect::Detector, 100 * camera.arm as u64 + u64::from(camera.mode), camera.binning.x as u64);
        let structure = effects.bias_structure;
        let (constant, settling, decay) = sizes.pedestal;
        Levels {
            bias: sizes.bias * camera.gain,
            slope: structure * sizes.bias_slope.0,
            columns: (0..columns)
                .map(|column| {
                    let scatter: f64 = StandardNormal.sample(&mut rng);
                    let along = sizes.bias_slope.1 * column as f64 / columns as f64;
                    structure * (along + sizes.column_pattern * scatter)
                })
                .collect(),
            pedestal: effects.pedestal * (constant + settling * math::exp(-exptime / decay)),
        }
    }

    /// Add the levels of one row of the raw image.
    pub fn add(&self, camera: &Camera, row: usize, electrons: &mut [f64]) {
        let (rows, _) = camera.shape();
        let level = self.bias + self.slope * row as f64 / rows as f64;
        electrons.iter_mut().zip(&self.columns).for_each(|(pixel, column)| *pixel += level + column);
        let ((row0, row1), (column0, column1)) = camera.science();
        if (row0..row1).contains(&row) {
            electrons[column0..column1].iter_mut().for_each(|pixel| *pixel += self.pedestal);
        }
    }

    /// The raw image in electrons that is expected for this charge in full wells.
    pub fn expected(&self, camera: &Camera, charge: &Array2<f32>, effects: &Effects) -> Array2<f32> {
        let register = Register::new(camera, charge, effects);
        let mut expected = Array2::zeros(camera.shape());
        expected.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(row, mut pixels)| {
            let mut electrons = register.row(row, |_| {});
            self.add(camera, row, &mut electrons);
            pixels.iter_mut().zip(electrons).for_each(|(pixel, electrons)| *pixel = electrons as f32);
        });
        expected
    }
}

/// How the levels of one frame differ from the expected ones, electrons.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Drifts {
    /// Of the whole frame.
    pub offset: f64,
    /// Of each raw row.
    pub rows: Vec<f64>,
    /// Of each output channel; channels are stripes of equally many columns.
    pub channels: Vec<f64>,
    /// Amplitude of the pick-up, its phase at the first pixel, and how it advances from pixel to pixel, radians.
    mains: (f64, f64, f64),
}

impl Drifts {
    pub fn new(camera: &Camera, effects: &Effects, seeds: &Seeds, number: u64) -> Drifts {
        let sizes = Sizes::of(camera.arm);
        let (rows, columns) = camera.shape();
        // Frame, rows, channels and pick-up do not share a stream, so that each can be off without moving the others.
        let stream = |part| seeds.stream(Effect::Offset, number, part);
        let jitter: f64 = StandardNormal.sample(&mut stream(0));
        let (first, last) = sizes.row_octaves;
        let mut wanders = drift(rows, first..=last, &mut stream(1));
        wanders.iter_mut().for_each(|level| *level *= effects.row_drift * sizes.row_drift);
        let (channels, rms) = sizes.channels;
        let mut rng = stream(2);
        let mut levels: Vec<f64> = (0..channels)
            .map(|_| {
                let level: f64 = StandardNormal.sample(&mut rng);
                effects.channels * rms * level
            })
            .collect();
        let mean = levels.iter().sum::<f64>() / channels as f64;
        levels.iter_mut().for_each(|level| *level -= mean);
        let seconds = camera.readout / (rows * columns) as f64;
        let phase = stream(3).random_range(0.0..std::f64::consts::TAU);
        Drifts {
            offset: (effects.frame_drift * sizes.frame_drift * jitter + effects.bias_step) * camera.gain,
            rows: wanders,
            channels: levels,
            mains: (effects.mains * sizes.mains * camera.ron, phase, std::f64::consts::TAU * MAINS * seconds),
        }
    }

    /// Add the levels of one row of the raw image.
    fn add(&self, row: usize, electrons: &mut [f64]) {
        let columns = electrons.len();
        let level = self.offset + self.rows[row];
        electrons.iter_mut().for_each(|pixel| *pixel += level);
        if self.channels.len() > 1 {
            let stripe = columns / self.channels.len();
            for (pixels, level) in electrons.chunks_mut(stripe).zip(&self.channels) {
                pixels.iter_mut().for_each(|pixel| *pixel += level);
            }
        }
        let (amplitude, phase, advance) = self.mains;
        if amplitude > 0.0 {
            // A pointer that turns by the same angle from pixel to pixel.
            let (turn_sine, turn_cosine) = math::sin_cos(advance);
            let (mut sine, mut cosine) = math::sin_cos(phase + advance * (row * columns) as f64);
            for pixel in electrons {
                *pixel += amplitude * sine;
                (sine, cosine) = (sine * turn_cosine + cosine * turn_sine, cosine * turn_cosine - sine * turn_sine);
            }
        }
    }
}

/// What the read-out of one frame needs.
pub(super) struct Amplifier<'a> {
    pub camera: &'a Camera,
    pub chip: &'a Chip,
    pub effects: &'a Effects,
    pub seeds: &'a Seeds,
    pub number: u64,
    pub levels: &'a Levels,
    pub drifts: &'a Drifts,
}

/// Places in the raw image, (row, column), sorted.
pub(super) type Places = Vec<(usize, usize)>;

/// Raw image, saturated pixels, and unstable pixels that were up.
pub(super) struct Frame<T> {
    pub pixels: Array2<T>,
    pub saturated: Places,
    pub up: Places,
}

impl Amplifier<'_> {
    /// Read the charge, row by row with a random stream each. `convert` turns ADU into what the file holds and says
    /// whether the converter was at its limit.
    pub fn read<T: Clone + Default + Send + Sync>(
        &self,
        charge: &Array2<f32>,
        convert: impl Fn(f64) -> (T, bool) + Sync,
    ) -> Frame<T> {
        let register = Register::new(self.camera, charge, self.effects);
        let ron = self.camera.ron * self.effects.read_noise;
        let mut pixels = Array2::from_elem(self.camera.shape(), T::default());
        let places: Vec<(Places, Places)> = pixels
            .axis_iter_mut(Axis(0))
            .into_par_iter()
            .enumerate()
            .map(|(row, mut pixels)| {
                let mut saturated = Vec::new();
                let mut electrons = register.row(row, |column| saturated.push((row, column)));
                self.levels.add(self.camera, row, &mut electrons);
                self.drifts.add(row, &mut electrons);
                let up = self.blink(row, &mut electrons);
                let mut rng = self.seeds.stream(Effect::Read, self.number, row as u64);
                for (column, (pixel, electrons)) in pixels.iter_mut().zip(electrons).enumerate() {
                    let noise: f64 = StandardNormal.sample(&mut rng);
                    let (value, limit) = convert((electrons + ron * noise) / self.camera.gain);
                    *pixel = value;
                    if limit {
                        saturated.push((row, column));
                    }
                }
                saturated.sort_unstable();
                saturated.dedup();
                (saturated, up)
            })
            .collect();
        let (saturated, up): (Vec<Places>, Vec<Places>) = places.into_iter().unzip();
        Frame { pixels, saturated: saturated.concat(), up: up.concat() }
    }

    /// Unstable pixels are up or down by the throw of a coin of their own in every frame.
    fn blink(&self, row: usize, electrons: &mut [f64]) -> Places {
        let (_, _, _, often) = Sizes::of(self.camera.arm).blinking;
        let (below, _) = self.camera.margins();
        let Some(y) = row.checked_sub(below).filter(|_| self.effects.blinking > 0.0 && self.camera.arm == Arm::Nir)
        else {
            return Vec::new();
        };
        let mut rng = self.seeds.stream(Effect::Telegraph, self.number, row as u64);
        let mut up = Vec::new();
        for spot in of_row(&self.chip.blinking, y) {
            if rng.random_range(0.0..1.0) < often {
                let (_, column) = self.camera.raw(spot.row, spot.column);
                electrons[column] += self.effects.blinking * spot.size;
                up.push((row, column));
            }
        }
        up
    }
}
