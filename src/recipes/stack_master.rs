//! What the recipes share that stack frames of one kind without any calibration applied.
//!
//! What lives here: the recipe that they all are ([`Stacking`]), the order of its steps and the metrics that all report. The
//! steps themselves are in [`crate::reduction::detector`]; what differs is in `mbias`, `mdark` and `lamp_off`.

use ndarray::{Array2, Zip};

use super::contract::{ProductImage, RawFrame, Recipe, RecipeError, RecipeInput, RecipeOutput, RejectedFrame};
use super::inputs::{SetRules, check_set};
use super::pages;
use super::parameters::StackParameters;
use crate::instrument::{Arm, Detector, FrameMeta};
use crate::numerics::robust::median_f64;
use crate::numerics::stack::StackLimits;
use crate::quality::QcMetric;
use crate::reduction::detector::noise::{self, FrameLimits, NoiseModel, ReadNoise};
use crate::reduction::detector::overscan::{self, Border};
use crate::reduction::detector::stack::{self, StackOptions, Stacked};
use crate::reduction::detector::trim::{RawStack, Regions};
use crate::reduction::detector::{hot, pattern};
use crate::reduction::flags;

/// A recipe that stacks frames into a master.
#[derive(Clone, Copy, Debug)]
pub struct Stacking {
    /// What the frames must be.
    pub rules: SetRules,
    /// PRO CATG of the master, without the arm.
    pub catg: &'static str,
    /// Whether an excess over the surroundings is light with Poisson noise.
    pub exposed: bool,
    /// Whether pattern noise is measured.
    pub pattern: bool,
    /// Whether its flagged pixels are a map of bad pixels.
    pub judges: bool,
    /// The frames as the rules are to see them, or why they do not belong.
    pub admit: fn(Vec<FrameMeta>) -> Result<Vec<FrameMeta>, RecipeError>,
    /// All its metrics.
    pub quality: fn(&Master) -> Vec<QcMetric>,
}

impl Recipe for Stacking {
    fn name(&self) -> &'static str {
        self.rules.recipe
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn check_parameters(&self, parameters: &toml::Table) -> Result<(), RecipeError> {
        StackParameters::read(self.rules.recipe, parameters).map(|_| ())
    }

    fn verify(&self, frames: &[FrameMeta], parameters: &toml::Table) -> Result<(), RecipeError> {
        let frames = (self.admit)(frames.to_vec())?;
        let parameters = StackParameters::read(self.rules.recipe, parameters)?;
        check_set(&frames, self.rules, parameters.minimum_frames).map(|_| ())
    }

    /// The raw frames, the master with variance and flags, the bad-pixel map, working space.
    fn peak_bytes(&self, frames: &[FrameMeta]) -> u64 {
        let pixels = |frame: &FrameMeta| (frame.columns as u64).saturating_mul(frame.rows as u64);
        let raw: u64 = frames.iter().map(|frame| pixels(frame).saturating_mul(4)).fold(0, u64::saturating_add);
        // five planes of four bytes, samples for noise and pattern of about half a plane per frame, and a floor for the rest
        let planes = frames.iter().map(pixels).max().unwrap_or(0).saturating_mul(20);
        raw.saturating_add(planes).saturating_add(raw / 8).saturating_add(32 << 20)
    }

    fn run(&self, mut input: RecipeInput, parameters: &toml::Table) -> Result<RecipeOutput, RecipeError> {
        let metas = (self.admit)(input.frames.iter().map(|frame| frame.meta.clone()).collect())?;
        for (frame, meta) in input.frames.iter_mut().zip(metas) {
            frame.meta = meta;
        }
        let master = build(self, input, parameters)?;
        let qc = (self.quality)(&master);
        Ok(master.finish(self, qc))
    }
}

/// A finished stack with everything that the recipes report about it.
pub struct Master {
    /// The stack, flags complete.
    pub stacked: Stacked,
    /// Level of each frame used, electrons.
    pub levels: Vec<f64>,
    /// Pattern noise (see [`pattern::fourier_fraction`]), when it was asked for and could be measured.
    pub fourier_fraction: Option<f64>,
    border: Option<Border>,
    read_noise: Option<ReadNoise>,
    metas: Vec<FrameMeta>,
    rejected: Vec<RejectedFrame>,
    remarks: Vec<String>,
    /// The memory of a raw frame, for a product.
    spare: Vec<f32>,
}

fn build(kind: &Stacking, input: RecipeInput, overrides: &toml::Table) -> Result<Master, RecipeError> {
    let recipe = kind.rules.recipe;
    let parameters = StackParameters::read(recipe, overrides)?;
    let unusable = |reason: String| RecipeError::Unprocessable { recipe, reason };
    let metas: Vec<FrameMeta> = input.frames.iter().map(|frame| frame.meta.clone()).collect();
    let geometry = check_set(&metas, kind.rules, parameters.minimum_frames)?;
    check_pixels(recipe, &input.frames)?;
    let regions = Regions {
        columns: geometry.columns,
        rows: geometry.rows,
        side_columns: geometry.side_columns,
        edge_rows: geometry.edge_rows,
    };
    let mut images: Vec<Array2<f32>> = input
        .frames
        .into_iter()
        .map(
            |frame| {
                if frame.adu.is_standard_layout() { frame.adu } else { frame.adu.as_standard_layout().into_owned() }
            },
        )
        .collect();
    // check_set refuses an empty set
    let (arm, gain) = metas.first().map_or((Arm::Vis, 1.0), |meta| (meta.arm, meta.gain));
    let all = RawStack::new(&images, &regions, gain, Detector::of(arm).saturation)
        .map_err(|error| RecipeError::Input { recipe, reason: error.to_string() })?;

    // frames that do not belong
    let limits = FrameLimits {
        max_invalid: parameters.max_invalid_fraction,
        max_noise_ratio: parameters.max_noise_ratio,
        max_level_jump: parameters.max_level_jump,
    };
    let surveys = noise::survey(&all, limits.max_invalid);
    let odd = noise::odd_frames(&surveys, &limits);
    let rejected: Vec<RejectedFrame> = odd
        .iter()
        .map(|(k, reason)| RejectedFrame { data_id: metas[*k].data_id.clone(), reason: reason.clone() })
        .collect();
    let keep: Vec<usize> = (0..metas.len()).filter(|k| odd.iter().all(|(other, _)| other != k)).collect();
    if keep.len() < parameters.minimum_frames {
        let reasons: Vec<String> =
            rejected.iter().map(|frame| format!("frame {}: {}", frame.data_id, frame.reason)).collect();
        return Err(unusable(format!(
            "{} of {} frames can be used, at least {} are needed (parameter minimum_frames): {}",
            keep.len(),
            metas.len(),
            parameters.minimum_frames,
            reasons.join("; ")
        )));
    }
    let raw = all.subset(&keep);
    let surveys: Vec<_> = keep.iter().map(|k| surveys[*k]).collect();
    let metas: Vec<FrameMeta> = keep.iter().map(|k| metas[*k].clone()).collect();
    let mut remarks: Vec<String> =
        rejected.iter().map(|frame| format!("frame {} left out: {}", frame.data_id, frame.reason)).collect();

    // rows, levels, noise
    let border = overscan::measure(&raw);
    let mut offset = row_offsets(&raw, border.as_ref(), &parameters, &mut remarks);
    let mean_level = surveys.iter().map(|frame| frame.level).sum::<f64>() / surveys.len() as f64;
    let coarse: Vec<f64> = surveys.iter().map(|frame| frame.level - mean_level).collect();
    shift(&mut offset, &coarse, 1.0);
    let noises: Vec<f64> = surveys.iter().map(|frame| frame.noise).collect();
    let model = noise::measure(&raw, &offset, &noises).ok_or_else(|| {
        let values = surveys.iter().map(|frame| format!("{:.3}", frame.noise)).collect::<Vec<_>>().join(", ");
        unusable(format!(
            "the noise cannot be measured: frame noises are {values} e-, expected positive ones and valid pixels; \
             the frames may be copies of each other or empty"
        ))
    })?;
    let drift: Vec<f64> = coarse.iter().zip(&model.level).map(|(coarse, fine)| coarse + fine).collect();
    shift(&mut offset, &coarse, -1.0);
    correct_levels(&mut offset, &drift, &model, &parameters, &mut remarks);

    // the stack
    let options = StackOptions {
        limits: StackLimits {
            rejection_sigma: parameters.rejection_sigma,
            unstable_sigma: parameters.unstable_sigma,
            poisson: kind.exposed,
        },
        wing_sigma: parameters.wing_sigma,
    };
    let mut stacked = stack::stack(&raw, &offset, &model, &options);
    if stacked.sums.good == 0 {
        return Err(unusable("no pixel has ordinary values in every frame; look at the frames".to_string()));
    }
    hot::flag(&mut stacked, &model, parameters.hot_sigma);
    let good = stacked.sums.good as f64;
    let offsets_of = |k: usize| offset[k].iter().map(|value| f64::from(*value)).sum::<f64>() / offset[k].len() as f64;
    let levels =
        (0..metas.len()).map(|k| stacked.profile.mean + stacked.sums.residual[k] / good + offsets_of(k)).collect();
    let read_noise = noise::read_noise(&stacked.sums, kind.exposed);
    if let Some(found) = read_noise.as_ref().filter(|found| found.shot > 0.0) {
        remarks.push(format!(
            "shot noise of a dark signal of {:.2} +- {:.2} e- taken out of the read noise (third cumulant of the residuals)",
            found.shot,
            found.shot_error.unwrap_or(0.0)
        ));
    }
    let fourier_fraction = if kind.pattern { pattern::fourier_fraction(&raw, &offset, stacked.pivot) } else { None };
    let spare = images.pop().map_or_else(Vec::new, |image| image.into_raw_vec_and_offset().0);
    Ok(Master { stacked, levels, fourier_fraction, border, read_noise, metas, rejected, remarks, spare })
}

fn check_pixels(recipe: &'static str, frames: &[RawFrame]) -> Result<(), RecipeError> {
    match frames.iter().find(|frame| frame.adu.dim() != (frame.meta.rows, frame.meta.columns)) {
        None => Ok(()),
        Some(frame) => Err(RecipeError::Input {
            recipe,
            reason: format!(
                "frame {} has an image of {:?} rows x columns, its header says NAXIS2 x NAXIS1 = {} x {}; read it anew",
                frame.meta.data_id,
                frame.adu.dim(),
                frame.meta.rows,
                frame.meta.columns
            ),
        }),
    }
}

/// Zero offsets, or the row correction where it helps.
fn row_offsets(
    raw: &RawStack,
    border: Option<&Border>,
    parameters: &StackParameters,
    remarks: &mut Vec<String>,
) -> Vec<Vec<f32>> {
    let none = || vec![vec![0.0f32; raw.shape().0]; raw.len()];
    let Some(rows) = border.and_then(|border| border.rows.as_ref()) else {
        remarks.push("rows not corrected: the frames have no unexposed columns".to_string());
        return none();
    };
    let seen = format!(
        "unexposed columns scatter by {:.3} e- from row to row, read noise explains {:.3} e- ({:.1} sigma)",
        rows.scatter, rows.expected, rows.significance
    );
    if !parameters.correct_rows {
        remarks.push(format!("rows not corrected, as configured: {seen}"));
        return none();
    }
    match overscan::row_correction(raw, rows, parameters.significance) {
        Some(correction) => {
            let (factor, error) = correction.factor;
            remarks.push(format!("rows corrected with the factor {factor:.3} +- {error:.3}: {seen}"));
            correction.offset.iter().map(|frame| frame.iter().map(|value| *value as f32).collect()).collect()
        }
        None => {
            remarks.push(format!("rows not corrected, it would not help: {seen}"));
            none()
        }
    }
}

fn shift(offset: &mut [Vec<f32>], by: &[f64], sign: f64) {
    for (rows, shift) in offset.iter_mut().zip(by) {
        rows.iter_mut().for_each(|value| *value += (sign * shift) as f32);
    }
}

fn correct_levels(
    offset: &mut [Vec<f32>],
    drift: &[f64],
    model: &NoiseModel,
    parameters: &StackParameters,
    remarks: &mut Vec<String>,
) {
    let largest = drift.iter().map(|value| value.abs()).fold(0.0, f64::max);
    let seen = format!("largest drift {largest:.3} e- from the mean level, error {:.3} e-", model.level_error);
    if !parameters.correct_levels {
        remarks.push(format!("levels not corrected, as configured: {seen}"));
    } else if largest > parameters.significance * model.level_error {
        shift(offset, drift, 1.0);
        remarks.push(format!("frames brought to the mean level of the set: {seen}"));
    } else {
        remarks.push(format!("levels not corrected, frames agree: {seen}"));
    }
}

impl Master {
    /// Fraction of a count of pixels.
    pub fn fraction(&self, count: usize) -> f64 {
        count as f64 / self.stacked.flags.len().max(1) as f64
    }

    /// Pixels that have any of these bits.
    pub fn count(&self, bits: i32) -> usize {
        self.stacked.flags.iter().filter(|flags| **flags & bits != 0).count()
    }

    /// Median over the frames of their level, electrons.
    pub fn median_level(&self) -> f64 {
        median_f64(&mut self.levels.clone()).unwrap_or(f64::NAN)
    }

    /// The metrics that all these recipes report.
    pub fn common_qc(&self) -> Vec<QcMetric> {
        const E: &str = "electrons";
        let mut qc = Vec::new();
        match &self.read_noise {
            Some(found) => {
                let text = "read noise from frame differences";
                qc.push(QcMetric::measured("RAW RON", found.ron, E, text));
                qc.push(QcMetric::measured("RAW RON ERR", found.error, E, "standard error of RAW RON"));
                let worst = found.frames.iter().copied().fold(0.0, f64::max);
                qc.push(QcMetric::measured("RAW NOISE MAX", worst, E, "total noise of the noisiest frame used"));
                let text = "dark shot variance taken out of RAW RON";
                qc.push(match found.shot_error {
                    Some(_) => QcMetric::measured("SHOT VARIANCE", found.shot, "electrons2", text),
                    None => QcMetric::absent("SHOT VARIANCE", "the frames are not exposed", "electrons2", text),
                });
            }
            None => qc.push(QcMetric::absent("RAW RON", "no ordinary pixel to measure", E, "read noise")),
        }
        qc.push(QcMetric::measured("MASTER RON", self.stacked.profile.sigma, E, "scatter of the master, good pixels"));
        let predicted = self.stacked.profile.variance.sqrt();
        qc.push(QcMetric::measured("RON PREDICTED", predicted, E, "MASTER RON expected from noise alone"));
        let sums = &self.stacked.sums;
        let ratio = (sums.chi / (sums.good as f64 * sums.squares.len() as f64)).sqrt();
        qc.push(QcMetric::measured("NOISE RATIO", ratio, "", "residuals over their predicted noise"));
        qc.push(QcMetric::measured("NFRAMES USED", self.metas.len() as f64, "", "frames in the master"));
        qc.push(QcMetric::measured("CR NUM", self.stacked.hits as f64, "pixels", "values rejected as cosmic rays"));
        let unstable = self.count(flags::UNSTABLE) as f64;
        qc.push(QcMetric::measured("UNSTABLE NUM", unstable, "pixels", "pixels that vary beyond noise"));
        let (low, high) =
            self.levels.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), level| (a.min(*level), b.max(*level)));
        qc.push(QcMetric::measured("LEVEL RANGE", high - low, E, "spread of the frame levels, as read"));
        self.border_qc(&mut qc);
        self.temperature_qc(&mut qc);
        qc
    }

    /// How many pixels are flagged.
    pub fn bad_qc(&self) -> [QcMetric; 2] {
        let bad = self.count(-1);
        [
            QcMetric::measured("BADPIX NUM", bad as f64, "pixels", "flagged pixels"),
            QcMetric::measured("BADPIX FRAC", self.fraction(bad), "", "fraction of flagged pixels"),
        ]
    }

    fn border_qc(&self, qc: &mut Vec<QcMetric>) {
        let metrics = [
            ("OVERSCAN LEVEL", "mean level of the unexposed pixels"),
            ("OVERSCAN DRIFT", "largest deviation of a frame from that level"),
            ("REF RON", "noise of the unexposed pixels"),
            ("OVERSCAN ROW SCATTER", "row to row scatter that frames do not share"),
        ];
        let border = self.border.as_ref();
        let rows = border.and_then(|border| border.rows.as_ref());
        let values =
            [border.map(Border::mean), border.map(Border::drift), border.map(|b| b.noise), rows.map(|r| r.scatter)];
        for ((name, comment), value) in metrics.into_iter().zip(values) {
            qc.push(match value {
                Some(value) => QcMetric::measured(name, value, "electrons", comment),
                None => QcMetric::absent(name, "the read-out has no usable unexposed pixels", "electrons", comment),
            });
        }
    }

    fn temperature_qc(&self, qc: &mut Vec<QcMetric>) {
        type Pick = fn(&FrameMeta) -> Option<f64>;
        let metrics: [(&str, &str, &str, Pick); 2] = [
            ("DETECTOR TEMP", "K", "median detector temperature", |meta| meta.detector_temp),
            ("CPATH TEMP", "C", "median common path temperature", |meta| meta.common_path_temp),
        ];
        for (name, unit, comment, pick) in metrics {
            let mut values: Vec<f64> = self.metas.iter().filter_map(pick).filter(|value| value.is_finite()).collect();
            let metric = match median_f64(&mut values) {
                Some(value) => QcMetric::measured(name, value, unit, comment),
                None => QcMetric::absent(name, "no frame has it in its header", unit, comment),
            };
            qc.push(QcMetric { to_header: false, ..metric });
        }
    }

    /// Products and remarks, with the metrics given.
    fn finish(self, kind: &Stacking, qc: Vec<QcMetric>) -> RecipeOutput {
        let n_combined = self.metas.len();
        let arm = self.metas.first().map_or(Arm::Vis, |meta| meta.arm);
        let pages = vec![pages::stack::page(&self, arm, kind.exposed)];
        let Stacked { value, variance, flags, .. } = self.stacked;
        let map = kind.judges.then(|| bad_map(&flags, self.spare));
        let mut products = vec![ProductImage::new(kind.catg, "", "electron", value, Some(variance), flags, n_combined)];
        products.extend(map.map(|(bad, bits)| ProductImage::new("BP_MAP", "_BPMAP", "", bad, None, bits, n_combined)));
        RecipeOutput { products, qc, rejected: self.rejected, remarks: self.remarks, pages, ..RecipeOutput::default() }
    }
}

/// 1 where a pixel is flagged, and its bits. `spare` is memory for the first plane: fresh pages cost more than filling it.
fn bad_map(flags: &Array2<i32>, mut spare: Vec<f32>) -> (Array2<f32>, Array2<i32>) {
    spare.resize(flags.len(), 0.0);
    let mut bad = Array2::from_shape_vec(flags.dim(), spare).unwrap_or_else(|_| Array2::zeros(flags.dim()));
    let mut bits = Array2::<i32>::zeros(flags.dim());
    Zip::from(&mut bad).and(&mut bits).and(flags).par_for_each(|bad, bits, flags| {
        *bad = if *flags == 0 { 0.0 } else { 1.0 };
        *bits = *flags;
    });
    (bad, bits)
}
