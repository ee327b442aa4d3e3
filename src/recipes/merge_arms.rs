//! The calibrated spectra of both arms to one: what `stare`, `nod` and `offset` gave of the same target at the same time.
//!
//! The scale between the arms is measured where both see the light, and reported; it is applied by a rule, and nothing is
//! smoothed over a disagreement. Only the target is merged: further sources stay spectra of their arms.

use serde::Deserialize;

use super::contract::{ProductTable, Recipe, RecipeError, RecipeInput, RecipeOutput, SourceSpectrum, WavelengthErrors};
use super::pages::spectrum;
use super::parameters::{check_ranges, typed};
use super::spectra::{SpectraParameters, metrics, tables};
use super::tables::TableError;
use crate::instrument::{Arm, FrameMeta};
use crate::quality::QcMetric;
use crate::reduction::spectrum::arms::{self, ArmRule, ArmScale};
use crate::reduction::spectrum::merged::{Join, MergedSpectrum};

const RECIPE: &str = "merge_arms";
/// PRO CATG of what is merged and of what it becomes, without the arm.
const CATEGORY: &str = "FLUXCAL";
/// Memory at the peak: some 2 kB for each of the 60 000 samples that both arms and their join have.
const BYTES: u64 = 2_000 * 60_000;

/// Parameters; meanings, units and ranges in `config/recipes.toml`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    overlap: [f64; 2],
    largest_scale: f64,
    scale_error: f64,
    scaled_arm: String,
}

impl Parameters {
    fn read(overrides: &toml::Table) -> Result<Parameters, RecipeError> {
        let p: Parameters = typed(RECIPE, overrides)?;
        let [from, to] = p.overlap;
        check_ranges(
            RECIPE,
            &[
                ("overlap", from, 700.0..=1000.0),
                ("overlap", to, from..=1000.0),
                ("largest_scale", p.largest_scale, 0.0..=1.0),
                ("scale_error", p.scale_error, 0.0..=0.5),
            ],
        )?;
        if !["VIS", "NIR"].contains(&p.scaled_arm.as_str()) {
            let reason = "must be VIS or NIR".to_string();
            return Err(RecipeError::Parameter {
                recipe: RECIPE,
                parameter: "scaled_arm".to_string(),
                found: p.scaled_arm,
                reason,
            });
        }
        Ok(p)
    }

    fn rule(&self) -> Result<ArmRule, RecipeError> {
        Ok(ArmRule {
            step: SpectraParameters::read(&toml::Table::new())?.step(Arm::Nir),
            overlap: self.overlap,
            largest: self.largest_scale,
            least_certain: self.scale_error,
            scale_redder: self.scaled_arm == "NIR",
        })
    }
}

/// The recipe `merge_arms`.
pub struct MergeArms;

impl Recipe for MergeArms {
    fn name(&self) -> &'static str {
        RECIPE
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn reads_frames(&self) -> bool {
        false
    }

    fn check_parameters(&self, parameters: &toml::Table) -> Result<(), RecipeError> {
        Parameters::read(parameters).map(|_| ())
    }

    fn verify(&self, frames: &[FrameMeta], parameters: &toml::Table) -> Result<(), RecipeError> {
        self.check_parameters(parameters)?;
        let wrong = |reason: String| RecipeError::Input { recipe: RECIPE, reason };
        for arm in [Arm::Vis, Arm::Nir] {
            if !frames.iter().any(|frame| frame.arm == arm) {
                return Err(wrong(format!("no frame of {arm}; name the raw frames that both spectra were made of")));
            }
        }
        let first = frames.first().map_or("", |frame| frame.object.as_str());
        match frames.iter().find(|frame| frame.object != first) {
            Some(other) => Err(wrong(format!(
                "frame {} has OBJECT = {:?}, others have {first:?}; merge spectra of one target",
                other.data_id, other.object
            ))),
            None => Ok(()),
        }
    }

    fn peak_bytes(&self, _frames: &[FrameMeta]) -> u64 {
        BYTES
    }

    fn run(&self, input: RecipeInput, parameters: &toml::Table) -> Result<RecipeOutput, RecipeError> {
        run(&input, &Parameters::read(parameters)?.rule()?)
    }
}

fn run(input: &RecipeInput, rule: &ArmRule) -> Result<RecipeOutput, RecipeError> {
    let unusable = |reason: String| RecipeError::Unprocessable { recipe: RECIPE, reason };
    let wrong = |error: TableError| unusable(error.to_string());
    let [bluer, redder] = both(input)?;
    let (merged, scale) = arms::merge_arms([("VIS", &bluer.merged), ("NIR", &redder.merged)], rule)
        .map_err(|error| unusable(error.to_string()))?;
    let source = SourceSpectrum {
        number: 1,
        slit: bluer.slit,
        wavelengths: larger(bluer.wavelengths, redder.wavelengths),
        merged,
    };
    let metas: Vec<&FrameMeta> = input.frames.iter().map(|frame| &frame.meta).collect();
    let tech = metas.first().map_or(String::new(), |meta| meta.dpr_tech.clone());
    let content = vec![
        tables::calibrated(&source.merged, None).map_err(wrong)?,
        tables::joins(&source.merged.joins).map_err(wrong)?,
        tables::summary(source.slit, source.wavelengths).map_err(wrong)?,
    ];
    let product = ProductTable::new(CATEGORY, &tech, &format!("_{CATEGORY}"), content, metas.len());
    Ok(RecipeOutput {
        tables: vec![product],
        qc: quality(&source.merged, &scale),
        remarks: vec![described(&scale)],
        pages: vec![spectrum::page(&metas, &source)],
        spectra: vec![source],
        ..RecipeOutput::default()
    })
}

/// The two spectra, the bluer first.
fn both(input: &RecipeInput) -> Result<[SourceSpectrum; 2], RecipeError> {
    let wrong = |reason: String| RecipeError::Input { recipe: RECIPE, reason };
    let found = input.tables.iter().filter(|table| table.catg == CATEGORY);
    let mut spectra = found
        .map(|table| tables::read_source(&table.tables).map_err(|error| wrong(format!("{}: {error}", table.name))))
        .collect::<Result<Vec<SourceSpectrum>, RecipeError>>()?;
    let first = |spectrum: &SourceSpectrum| spectrum.merged.wavelength.first().copied().unwrap_or(f64::NAN);
    spectra.sort_by(|a, b| first(a).total_cmp(&first(b)));
    let n = spectra.len();
    <[SourceSpectrum; 2]>::try_from(spectra).map_err(|_| {
        wrong(format!("{n} calibrated spectra (FLUXCAL_VIS, FLUXCAL_NIR) are given, one of each arm is needed"))
    })
}

/// The less certain of two scales of wavelengths; what is not known of one is not known of both.
fn larger(one: Option<WavelengthErrors>, other: Option<WavelengthErrors>) -> Option<WavelengthErrors> {
    let (one, other) = (one?, other?);
    let systematic = one.systematic.zip(other.systematic).map(|(one, other)| one.max(other));
    Some(WavelengthErrors { random: one.random.max(other.random), systematic })
}

/// What became of the scale, for people.
fn described(scale: &ArmScale) -> String {
    match (scale.ratio, &scale.applied) {
        (Some([ratio, error]), Ok(())) => {
            format!("NIR is {ratio:.4} +- {error:.4} of VIS in the overlap: it was divided out")
        }
        (_, Err(reason)) => format!("the arms keep their own scales: {reason}"),
        (None, Ok(())) => "the arms keep their own scales".to_string(),
    }
}

fn quality(merged: &MergedSpectrum, scale: &ArmScale) -> Vec<QcMetric> {
    let join: Option<&Join> = merged.joins.iter().find(|join| join.names == ["VIS", "NIR"]);
    let few = "the arms share too little light to compare";
    let metric = |name: &str, value: Option<f64>, text: &str| match value {
        Some(value) => QcMetric::measured(name, value, "", text),
        None => QcMetric::absent(name, few, "", text),
    };
    let applied = join.map(|join| join.applied);
    let mut qc = vec![
        metric("ARM SCALE", scale.ratio.map(|[ratio, _]| ratio), "NIR over VIS where both see the light"),
        metric("ARM SCALE ERR", scale.ratio.map(|[_, error]| error), "its standard error"),
        metric("ARM SCALE APPLIED", applied, "what NIR was divided by relative to VIS; 1 when nothing was"),
        metric("ARM SCATTER", join.and_then(|join| join.scatter), "differences of the arms over their errors, rms"),
        metric("ARM CONTRADICTIONS", join.map(|join| join.contradictions as f64), "samples in which the arms differ"),
    ];
    qc.push(metrics::signal_to_noise_of(merged));
    qc
}

#[cfg(test)]
mod tests {
    use super::super::contract::{MasterTable, RawFrame};
    use super::*;
    use crate::recipes::tests::meta;
    use crate::reduction::detector::synthetic::Scene;
    use crate::reduction::spectrum::synthetic::arm;

    fn frame(arm: Arm) -> RawFrame {
        let meta = meta(&format!("frame of {arm}"), &Scene::ccd());
        let dpr_tech = "ECHELLE,SLIT,STARE".to_string();
        let meta = FrameMeta { arm, object: "SN".to_string(), dpr_tech, ..meta };
        RawFrame { meta, adu: ndarray::Array2::zeros((0, 0)) }
    }

    fn master(range: [f64; 2], scale: f64, seed: u64, systematic: Option<f64>) -> MasterTable {
        let spectrum = arm(range, scale, seed);
        let wavelengths = Some(WavelengthErrors { random: 1e-3 * range[0] / 700.0, systematic });
        MasterTable {
            catg: CATEGORY.to_string(),
            tech: String::new(),
            name: format!("{}.fits", range[0]),
            tables: vec![tables::calibrated(&spectrum, None).unwrap(), tables::summary(0.3, wavelengths).unwrap()],
        }
    }

    fn input(tables: Vec<MasterTable>) -> RecipeInput {
        RecipeInput { frames: vec![frame(Arm::Vis), frame(Arm::Nir)], tables, ..RecipeInput::default() }
    }

    fn value(output: &RecipeOutput, name: &str) -> Option<f64> {
        output.qc.iter().find(|metric| metric.name == name).unwrap().number()
    }

    #[test]
    fn two_arms_make_one_spectrum_whose_scale_is_told() {
        // in any order
        let tables = vec![master([795.0, 1000.0], 1.04, 2, Some(0.003)), master([700.0, 850.0], 1.0, 1, Some(0.002))];
        let output = MergeArms.run(input(tables), &toml::Table::new()).unwrap();
        let [source] = output.spectra.as_slice() else { panic!("{:?}", output.remarks) };
        assert!((value(&output, "ARM SCALE").unwrap() - 1.04).abs() < 0.01, "{:?}", output.remarks);
        assert_eq!(value(&output, "ARM SCALE APPLIED"), value(&output, "ARM SCALE"));
        let wavelengths = source.wavelengths.unwrap();
        assert_eq!(wavelengths, WavelengthErrors { random: 1e-3 * 795.0 / 700.0, systematic: Some(0.003) });
        let [first, last] = [source.merged.wavelength.first(), source.merged.wavelength.last()].map(|w| *w.unwrap());
        assert!(first < 701.0 && last > 999.0);
        let again = tables::read_source(&output.tables[0].tables).unwrap();
        assert_eq!((&again.merged.flux[500], &again.merged.joins), (&source.merged.flux[500], &source.merged.joins));
        assert_eq!(output.pages.len(), 1);
    }

    #[test]
    fn an_absurd_scale_is_told_and_left_alone() {
        let tables = vec![master([700.0, 850.0], 1.0, 1, None), master([795.0, 1000.0], 1.6, 2, Some(0.1))];
        let output = MergeArms.run(input(tables), &toml::Table::new()).unwrap();
        assert!((value(&output, "ARM SCALE").unwrap() - 1.6).abs() < 0.05);
        assert_eq!(value(&output, "ARM SCALE APPLIED"), Some(1.0));
        assert!(value(&output, "ARM CONTRADICTIONS").unwrap() > 10.0);
        assert!(output.remarks[0].contains("keep their own scales"), "{:?}", output.remarks);
        assert_eq!(output.spectra[0].wavelengths.unwrap().systematic, None, "what one arm does not know nobody knows");
    }

    #[test]
    fn anything_but_one_spectrum_of_each_arm_is_refused() {
        let one = master([700.0, 850.0], 1.0, 1, None);
        let error = MergeArms.run(input(vec![one]), &toml::Table::new()).unwrap_err().to_string();
        assert!(error.contains("1 calibrated spectra"), "{error}");
        let frames = [frame(Arm::Vis).meta, frame(Arm::Nir).meta];
        assert_eq!(MergeArms.verify(&frames, &toml::Table::new()), Ok(()));
        let error = MergeArms.verify(&frames[..1], &toml::Table::new()).unwrap_err().to_string();
        assert!(error.contains("no frame of NIR"), "{error}");
        let other = FrameMeta { object: "other".to_string(), ..frames[1].clone() };
        let error = MergeArms.verify(&[frames[0].clone(), other], &toml::Table::new()).unwrap_err().to_string();
        assert!(error.contains("\"other\""), "{error}");
        let wrong: toml::Table = "scaled_arm = \"UVB\"".parse().unwrap();
        assert!(MergeArms.check_parameters(&wrong).is_err());
    }
}
