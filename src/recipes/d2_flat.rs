//! Mean flat of the deuterium lamp, in electrons above the bias: what a master flat of the same slit needs for the u band,
//! where the halogen lamp is faint. It is no master flat by itself: its lamp has lines in the other bands.

use std::ops::RangeInclusive;

use serde::Deserialize;

use super::contract::{ProductImage, Recipe, RecipeError, RecipeInput, RecipeOutput};
use super::lamp::{self, FlatRules, Flats, LampLimits, LampMean, Lamps};
use super::parameters::{check_ranges, typed};
use crate::instrument::FrameMeta;
use crate::quality::QcMetric;
use crate::reduction::flags;
use crate::reduction::flat::combine::CombineLimits;

const NAME: &str = "d2_flat";
/// PRO CATG of the product, without the arm.
pub const D2_FLAT: &str = "D2_FLAT";
/// `ESO DPR TECH` of flats through the slit.
const TECH: &str = "ECHELLE,SLIT";

/// Parameters; meanings, units and ranges in `config/recipes.toml`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    minimum_frames: usize,
    rejection_sigma: f64,
    unstable_sigma: f64,
    max_invalid_fraction: f64,
    least_light: f64,
    max_lamp_ratio: f64,
}

impl Parameters {
    fn read(overrides: &toml::Table) -> Result<Parameters, RecipeError> {
        let p: Parameters = typed(NAME, overrides)?;
        let ranges: [(&str, f64, RangeInclusive<f64>); 6] = [
            ("minimum_frames", p.minimum_frames as f64, 1.0..=64.0),
            ("rejection_sigma", p.rejection_sigma, 3.0..=50.0),
            ("unstable_sigma", p.unstable_sigma, 3.0..=20.0),
            ("max_invalid_fraction", p.max_invalid_fraction, 0.0..=0.5),
            ("least_light", p.least_light, 1.0..=1e6),
            ("max_lamp_ratio", p.max_lamp_ratio, 1.01..=100.0),
        ];
        check_ranges(NAME, &ranges)?;
        Ok(p)
    }

    fn limits(&self) -> LampLimits {
        LampLimits {
            combine: CombineLimits { rejection_sigma: self.rejection_sigma, unstable_sigma: self.unstable_sigma },
            max_invalid: self.max_invalid_fraction,
            max_ratio: self.max_lamp_ratio,
            least_light: self.least_light,
            minimum: self.minimum_frames,
            bright: 0.1,
        }
    }
}

fn rules(minimum: usize) -> FlatRules {
    FlatRules { recipe: NAME, tech: TECH, minimum, lamps: Lamps::D2 }
}

/// The recipe `d2_flat`.
#[derive(Clone, Copy, Debug)]
pub struct DeuteriumFlat;

impl Recipe for DeuteriumFlat {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn check_parameters(&self, parameters: &toml::Table) -> Result<(), RecipeError> {
        Parameters::read(parameters).map(|_| ())
    }

    fn verify(&self, frames: &[FrameMeta], parameters: &toml::Table) -> Result<(), RecipeError> {
        lamp::sort(frames, rules(Parameters::read(parameters)?.minimum_frames)).map(|_| ())
    }

    fn peak_bytes(&self, frames: &[FrameMeta]) -> u64 {
        lamp::peak_bytes(frames)
    }

    fn run(&self, input: RecipeInput, parameters: &toml::Table) -> Result<RecipeOutput, RecipeError> {
        let parameters = Parameters::read(parameters)?;
        let flats = Flats::new(input.frames, rules(parameters.minimum_frames))?;
        let limits = parameters.limits();
        let mut rejected = Vec::new();
        let below = flats.below(input.masters, &limits)?;
        let lamp = flats.lamp(&flats.sorted().lit, &below, &limits, &mut rejected)?;
        let mut remarks = vec![format!("{} subtracted", below.name)];
        remarks.extend(rejected.iter().map(|frame| format!("frame {} left out: {}", frame.data_id, frame.reason)));
        let qc = quality(&flats, &lamp, rejected.len());
        let LampMean { mean, used, .. } = lamp;
        let product =
            ProductImage::new(D2_FLAT, "", "electron", mean.value, Some(mean.variance), mean.flags, used.len());
        Ok(RecipeOutput { products: vec![product], qc, rejected, remarks, ..RecipeOutput::default() })
    }
}

fn quality(flats: &Flats, lamp: &LampMean, left_out: usize) -> Vec<QcMetric> {
    let measured = QcMetric::measured;
    let count = |bits: i32| lamp.mean.flags.iter().filter(|flags| **flags & bits != 0).count() as f64;
    let (low, high) = lamp.exposures.iter().fold((f64::INFINITY, 0.0f64), |(low, high), s| (low.min(*s), high.max(*s)));
    let mut qc = vec![
        measured("LAMP LEVEL", lamp.level, "electrons", "median over frames of their brighter pixels"),
        measured("LAMP RANGE", high - low, "", "spread of the lamp's brightness"),
        measured("NOISE RATIO", lamp.mean.noise_ratio, "", "residuals over their predicted noise"),
        measured("NFRAMES USED", lamp.used.len() as f64, "", "frames in the mean"),
        measured("NFRAMES LEFT OUT", left_out as f64, "", "frames that did not belong"),
        measured("CR NUM", lamp.mean.hits as f64, "pixels", "values rejected as cosmic rays"),
        measured("SATURATED NUM", count(flags::SATURATED), "pixels", "pixels saturated in most frames"),
    ];
    qc.extend(lamp::temperature_qc(&flats.metas(&lamp.used)));
    qc
}
