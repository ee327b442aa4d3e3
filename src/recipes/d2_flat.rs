//! Mean flat of the deuterium lamp, in electrons above the bias: what a master flat of the same slit needs for the u band,
//! where the halogen lamp is faint. It is no master flat by itself: its lamp has lines in the other bands.

use super::contract::{ProductImage, Recipe, RecipeError, RecipeInput, RecipeOutput};
use super::lamp::{self, FlatRules, Flats, LampMean, LampParameters, Lamps};
use super::parameters::merged;
use crate::instrument::FrameMeta;
use crate::quality::QcMetric;

const NAME: &str = "d2_flat";
/// PRO CATG of the product, without the arm.
pub const D2_FLAT: &str = "D2_FLAT";
/// `ESO DPR TECH` of flats through the slit.
const TECH: &str = "ECHELLE,SLIT";

/// Every parameter of it is one of the lamp.
fn read(overrides: &toml::Table) -> Result<LampParameters, RecipeError> {
    LampParameters::taken(NAME, &mut merged(NAME, overrides)?)
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
        read(parameters).map(|_| ())
    }

    fn verify(&self, frames: &[FrameMeta], parameters: &toml::Table) -> Result<(), RecipeError> {
        lamp::sort(frames, rules(read(parameters)?.minimum_frames)).map(|_| ())
    }

    fn peak_bytes(&self, frames: &[FrameMeta]) -> u64 {
        lamp::peak_bytes(frames)
    }

    fn run(&self, input: RecipeInput, parameters: &toml::Table) -> Result<RecipeOutput, RecipeError> {
        let parameters = read(parameters)?;
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
    let mut qc = vec![
        QcMetric::measured("LAMP LEVEL", lamp.level, "electrons", "median over frames of their brighter pixels"),
        QcMetric::measured("NFRAMES USED", lamp.used.len() as f64, "", "frames in the mean"),
    ];
    qc.extend(lamp.qc(left_out));
    qc.extend(lamp::temperature_qc(&flats.metas(&lamp.used)));
    qc
}
