//! What the recipes that reduce flats share: which frame is what, what is subtracted, and the mean frame in electrons.

use ndarray::Array2;
use serde::Deserialize;

use super::contract::{MasterImage, RawFrame, RecipeError, RejectedFrame};
use super::inputs::{SetRules, check_set};
use super::parameters::{self, check_ranges};
use crate::instrument::format::{Axis, SpectralFormat};
use crate::instrument::{Arm, Binning, Detector, FrameMeta, Geometry};
use crate::numerics::robust::median_f64;
use crate::quality::QcMetric;
use crate::reduction::detector::trim::{RawStack, Regions};
use crate::reduction::flags;
use crate::reduction::flat::combine::{self, CombineLimits, Combined, Pedestal};
use crate::reduction::orders::image::{Dispersion, Light, turned};

/// `ESO DPR TYPE` of flats.
const FLAT: &str = "LAMP,FLAT";
/// Other spellings of it.
const FLAT_ALIASES: [&str; 2] = ["FLAT,LAMP", "LAMP,QFLAT"];
/// `ESO DPR TYPE` of flats of the deuterium lamp.
const D2_FLAT: &str = "LAMP,DFLAT";
/// PRO CATG of the mean of frames with the lamp off, without the arm.
pub const LAMP_OFF: &str = "LAMP_OFF";
/// `ESO DPR TECH` of frames with the lamp off.
pub const OFF: &str = "IMAGE";

/// How frames of a lamp are judged and combined; meanings, units and ranges in `config/recipes.toml`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LampParameters {
    /// Least number of frames that remain.
    pub minimum_frames: usize,
    /// Rejection threshold in sigmas of the known noise.
    pub rejection_sigma: f64,
    /// Gaussian deviate beyond which a pixel is unstable.
    pub unstable_sigma: f64,
    /// Largest fraction of invalid pixels of a frame.
    pub max_invalid_fraction: f64,
    /// Least light of the brighter pixels, electrons.
    pub least_light: f64,
    /// Largest ratio of a frame's light to the median.
    pub max_lamp_ratio: f64,
}

impl LampParameters {
    /// Their names.
    const NAMES: [&str; 6] = [
        "minimum_frames",
        "rejection_sigma",
        "unstable_sigma",
        "max_invalid_fraction",
        "least_light",
        "max_lamp_ratio",
    ];

    /// Taken out of the merged parameters of a recipe, every value checked.
    pub fn taken(recipe: &'static str, table: &mut toml::Table) -> Result<LampParameters, RecipeError> {
        let p: LampParameters = parameters::shared(recipe, table, &LampParameters::NAMES)?;
        check_ranges(
            recipe,
            &[
                ("minimum_frames", p.minimum_frames as f64, 1.0..=64.0),
                ("rejection_sigma", p.rejection_sigma, 3.0..=50.0),
                ("unstable_sigma", p.unstable_sigma, 3.0..=20.0),
                ("max_invalid_fraction", p.max_invalid_fraction, 0.0..=0.5),
                ("least_light", p.least_light, 1.0..=1e6),
                ("max_lamp_ratio", p.max_lamp_ratio, 1.01..=100.0),
            ],
        )?;
        Ok(p)
    }

    /// What they ask of frames through a slit, which lights more than a tenth of the pixels.
    pub fn limits(&self) -> LampLimits {
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

/// What a recipe asks of its flats.
#[derive(Clone, Copy, Debug)]
pub struct FlatRules {
    /// Recipe.
    pub recipe: &'static str,
    /// `ESO DPR TECH` of the lit frames.
    pub tech: &'static str,
    /// Least number of lit frames.
    pub minimum: usize,
    /// Lamps whose frames are understood.
    pub lamps: Lamps,
}

/// Which lamps a recipe of flats wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lamps {
    /// The halogen lamp.
    Qth,
    /// The halogen lamp, and the deuterium lamp beside it.
    QthAndD2,
    /// The deuterium lamp.
    D2,
}

/// Positions of the frames of a set by what they are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sorted {
    /// The lamp is on.
    pub lit: Vec<usize>,
    /// The deuterium lamp is on.
    pub d2: Vec<usize>,
    /// The same exposures with the lamp off.
    pub off: Vec<usize>,
}

/// Name of the deuterium lamp where it alone is on.
const D2_LAMP: &str = "D";

/// A frame's description with the usual spelling of its type. A flat whose lamp is the deuterium lamp is one of that lamp,
/// whatever its type says.
pub fn usual(frame: &FrameMeta) -> FrameMeta {
    let found = frame.dpr_type.trim().to_ascii_uppercase();
    let is_flat = found == FLAT || FLAT_ALIASES.contains(&found.as_str());
    let usual = match is_flat {
        true if frame.lamp.as_deref() == Some(D2_LAMP) => D2_FLAT.to_string(),
        true => FLAT.to_string(),
        false => found,
    };
    FrameMeta { dpr_type: usual, ..frame.clone() }
}

/// Sort the frames and check that they fit together and fit the recipe, from their descriptions alone.
pub fn sort(frames: &[FrameMeta], rules: FlatRules) -> Result<(Sorted, Geometry), RecipeError> {
    let recipe = rules.recipe;
    let wrong = |reason: String| RecipeError::Input { recipe, reason };
    let mut sorted = Sorted::default();
    for (k, frame) in frames.iter().enumerate() {
        let tech = frame.dpr_tech.trim().to_ascii_uppercase();
        let is_d2 = usual(frame).dpr_type == D2_FLAT;
        if is_d2 && rules.lamps == Lamps::QthAndD2 {
            sorted.d2.push(k);
        } else if tech == OFF {
            sorted.off.push(k);
        } else {
            sorted.lit.push(k);
        }
        if tech != OFF && tech != rules.tech {
            return Err(wrong(format!(
                "frame {} has DPR TECH = {:?}, expected {:?} (or {OFF:?} with the lamp off); leave it out or use the \
                 recipe of its technique",
                frame.data_id, frame.dpr_tech, rules.tech
            )));
        }
    }
    let metas = |picked: &[usize]| -> Vec<FrameMeta> { picked.iter().map(|k| usual(&frames[*k])).collect() };
    let dpr_type = if rules.lamps == Lamps::D2 { D2_FLAT } else { FLAT };
    let flats = SetRules { recipe, dpr_type, unexposed_below: None };
    let geometry = check_set(&metas(&sorted.lit), flats, rules.minimum)?;
    let first = &frames[sorted.lit[0]];
    if !sorted.off.is_empty() {
        // one set: they must have the exposure time of the lit ones
        check_set(&metas(&[&sorted.lit[..], &sorted.off[..]].concat()), flats, 1)?;
    }
    if !sorted.d2.is_empty() {
        check_set(&metas(&sorted.d2), SetRules { dpr_type: D2_FLAT, ..flats }, rules.minimum)?;
        let other = &frames[sorted.d2[0]];
        let same = other.arm == first.arm
            && other.binning == first.binning
            && other.read_mode == first.read_mode
            && (other.columns, other.rows) == (first.columns, first.rows);
        if !same {
            return Err(wrong(format!(
                "frame {} of the deuterium lamp and frame {} differ in arm, binning, read mode or size; reduce them as \
                 separate sets",
                other.data_id, first.data_id
            )));
        }
    }
    if SpectralFormat::of(first.arm).orders().is_empty() {
        return Err(wrong(format!("frame {} is of the {} arm, which has no orders", first.data_id, first.arm)));
    }
    for k in sorted.lit.iter().chain(&sorted.d2) {
        if frames[*k].slit != first.slit {
            let text = |frame: &FrameMeta| frame.slit.clone().unwrap_or_else(|| "none".to_string());
            return Err(wrong(format!(
                "frame {} was taken through {}, frame {} through {}; reduce them as separate sets",
                frames[*k].data_id,
                text(&frames[*k]),
                first.data_id,
                text(first)
            )));
        }
    }
    Ok((sorted, geometry))
}

/// Bytes that a run on these frames needs: frames, combined planes of two lamps and of the lamp off, maps of bad pixels,
/// response and its turned copies.
pub fn peak_bytes(frames: &[FrameMeta]) -> u64 {
    let pixels = |frame: &FrameMeta| (frame.columns as u64).saturating_mul(frame.rows as u64);
    let raw: u64 = frames.iter().map(|frame| pixels(frame).saturating_mul(4)).fold(0, u64::saturating_add);
    let plane = frames.iter().map(pixels).max().unwrap_or(0).saturating_mul(4);
    raw.saturating_add(plane.saturating_mul(24)).saturating_add(32 << 20)
}

/// What is subtracted from every frame.
pub struct Below {
    value: Array2<f32>,
    /// Variance of it, electrons squared.
    pub variance: Array2<f32>,
    flags: Array2<i32>,
    /// Noise of a frame without light, electrons.
    pub ron: f64,
    /// What it is, for people.
    pub name: String,
}

/// A set of flats in memory, ready to be combined.
pub struct Flats {
    recipe: &'static str,
    frames: Vec<RawFrame>,
    sorted: Sorted,
    regions: Regions,
    /// Arm.
    pub arm: Arm,
    /// Way of the dispersion.
    pub dispersion: Dispersion,
    /// Binning.
    pub binning: Binning,
}

/// Frames of one lamp, combined.
pub struct LampMean {
    /// The mean in electrons, on the trimmed area.
    pub mean: Combined,
    /// Relative exposures of the frames used.
    pub exposures: Vec<f64>,
    /// Light of the brighter pixels of a mean frame, electrons.
    pub level: f64,
    /// Positions of the frames used.
    pub used: Vec<usize>,
}

impl LampMean {
    /// How its noise grows with its light.
    pub fn noise(&self, ron: f64) -> Noise {
        let n = self.used.len().max(1) as f64;
        // the pedestal's noise is at most that of a frame
        Noise { shot: 1.0 / n, floor: 1.2 * ron * ron / n }
    }

    /// Metrics of the mean, with the number of frames of the set that are not in it.
    pub fn qc(&self, left_out: usize) -> Vec<QcMetric> {
        let saturated = self.mean.flags.iter().filter(|bits| **bits & flags::SATURATED != 0).count() as f64;
        let (low, high) =
            self.exposures.iter().fold((f64::INFINITY, 0.0f64), |(low, high), s| (low.min(*s), high.max(*s)));
        vec![
            QcMetric::measured("NOISE RATIO", self.mean.noise_ratio, "", "residuals over their predicted noise"),
            QcMetric::measured("NFRAMES LEFT OUT", left_out as f64, "", "frames that did not belong"),
            QcMetric::measured("LAMP RANGE", high - low, "", "spread of the lamp's brightness"),
            QcMetric::measured("CR NUM", self.mean.hits as f64, "pixels", "values rejected as cosmic rays"),
            QcMetric::measured("SATURATED NUM", saturated, "pixels", "pixels saturated in most frames"),
        ]
    }
}

/// Noise of a mean frame against its light: variance = floor + shot x light, in electrons.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Noise {
    /// Variance per electron: one over the number of frames.
    pub shot: f64,
    /// Variance without light.
    pub floor: f64,
}

impl Noise {
    /// From the variances that a mean frame carries. `None` when it has no light or no noise.
    pub fn of(mean: &Combined) -> Option<Noise> {
        let good = || {
            let all = mean.value.iter().zip(&mean.variance).zip(&mean.flags).step_by(NOISE_STEP);
            all.filter(|((value, variance), bits)| **bits == 0 && value.is_finite() && **variance > 0.0)
                .map(|((value, variance), _)| (f64::from(*value), f64::from(*variance)))
        };
        let mut values: Vec<f64> = good().map(|(value, _)| value).collect();
        values.sort_unstable_by(f64::total_cmp);
        // the orders fill a fifth of the detector at least; between them there is next to no light
        let at = |part: f64| values.get((values.len() as f64 * part) as usize).copied();
        let (faint, bright) = (at(0.1)?, at(0.9)?);
        let floor = median_f64(&mut good().filter(|(v, _)| *v <= faint).map(|(_, var)| var).collect::<Vec<f64>>())?;
        let slopes = good().filter(|(v, _)| *v >= bright).map(|(v, var)| (var - floor) / (v - faint));
        let shot = median_f64(&mut slopes.filter(|slope| slope.is_finite()).collect::<Vec<f64>>())?;
        (shot > 0.0).then_some(Noise { shot, floor })
    }
}

/// Every so many pixels are asked for the noise: a prime.
const NOISE_STEP: usize = 31;

/// When a frame does not belong.
#[derive(Clone, Copy, Debug)]
pub struct LampLimits {
    /// Rejection of single values.
    pub combine: CombineLimits,
    /// Largest fraction of saturated or invalid pixels.
    pub max_invalid: f64,
    /// Largest factor between a frame's light and the median of the set.
    pub max_ratio: f64,
    /// Least light of the brighter pixels, electrons.
    pub least_light: f64,
    /// Least number of frames that remain.
    pub minimum: usize,
    /// Part of the sampled pixels that is brighter than what is called the light of the frame.
    pub bright: f64,
}

impl Flats {
    /// Check the set and take it over.
    pub fn new(frames: Vec<RawFrame>, rules: FlatRules) -> Result<Flats, RecipeError> {
        let recipe = rules.recipe;
        let metas: Vec<FrameMeta> = frames.iter().map(|frame| frame.meta.clone()).collect();
        let (sorted, geometry) = sort(&metas, rules)?;
        if let Some(frame) = frames.iter().find(|frame| frame.adu.dim() != (frame.meta.rows, frame.meta.columns)) {
            return Err(RecipeError::Input {
                recipe,
                reason: format!(
                    "frame {} has an image of {:?} rows x columns, its header says {} x {}; read it anew",
                    frame.meta.data_id,
                    frame.adu.dim(),
                    frame.meta.rows,
                    frame.meta.columns
                ),
            });
        }
        let frames = frames
            .into_iter()
            .map(|frame| match frame.adu.is_standard_layout() {
                true => frame,
                false => RawFrame { adu: frame.adu.as_standard_layout().into_owned(), ..frame },
            })
            .collect();
        let first = &metas[sorted.lit[0]];
        let dispersion = match SpectralFormat::of(first.arm).dispersion() {
            Axis::X => Dispersion::Columns,
            Axis::Y => Dispersion::Rows,
        };
        let regions = Regions {
            columns: geometry.columns,
            rows: geometry.rows,
            side_columns: geometry.side_columns,
            edge_rows: geometry.edge_rows,
        };
        let binning = first.binning.unwrap_or(Binning { x: 1, y: 1 });
        Ok(Flats { recipe, arm: first.arm, dispersion, binning, frames, sorted, regions })
    }

    /// Positions by what the frames are.
    pub fn sorted(&self) -> &Sorted {
        &self.sorted
    }

    /// Descriptions of some frames.
    pub fn metas(&self, picked: &[usize]) -> Vec<FrameMeta> {
        picked.iter().map(|k| self.frames[*k].meta.clone()).collect()
    }

    /// Shape of the trimmed area, rows x columns.
    pub fn shape(&self) -> (usize, usize) {
        (self.regions.rows.len(), self.regions.columns.len())
    }

    /// Binning along and across the dispersion.
    pub fn bins(&self) -> [usize; 2] {
        match self.dispersion {
            Dispersion::Rows => [self.binning.y, self.binning.x],
            Dispersion::Columns => [self.binning.x, self.binning.y],
        }
    }

    fn stack(&self, picked: &[usize]) -> Result<RawStack<'_>, RecipeError> {
        let gain = picked.first().map_or(1.0, |k| self.frames[*k].meta.gain);
        RawStack::new(
            picked.iter().map(|k| &self.frames[*k].adu),
            &self.regions,
            gain,
            Detector::of(self.arm).saturation,
        )
        .map_err(|error| RecipeError::Input { recipe: self.recipe, reason: error.to_string() })
    }

    /// What is subtracted: the mean of the frames with the lamp off, of the set itself or reduced before; else the master
    /// dark, else the master bias.
    pub fn below(&self, masters: Vec<MasterImage>, limits: &LampLimits) -> Result<Below, RecipeError> {
        let recipe = self.recipe;
        let wanted = match self.arm {
            Arm::Nir => ["MASTER_DARK", LAMP_OFF, "MASTER_BIAS"],
            _ => ["MASTER_BIAS", "MASTER_DARK", LAMP_OFF],
        };
        let masters: Vec<MasterImage> =
            masters.into_iter().filter(|master| wanted.contains(&master.catg.as_str())).collect();
        let header_ron = self.frames.iter().find_map(|frame| frame.meta.ron);
        let measured = masters.iter().find_map(|master| master.ron.filter(|ron| *ron > 0.0 && ron.is_finite()));
        let ron = measured.or(header_ron).unwrap_or(Detector::of(self.arm).ron);
        if self.arm == Arm::Nir && !self.sorted.off.is_empty() {
            let off = self.stack(&self.sorted.off)?;
            let same = vec![1.0; off.len()];
            let mean = combine::combine(&off, None, &same, ron, &limits.combine);
            let name = format!("mean of {} frames with the lamp off", off.len());
            return Ok(Below { value: mean.value, variance: mean.variance, flags: mean.flags, ron, name });
        }
        let of = |catg: &str| masters.iter().find(|master| master.catg == catg);
        let off = of(LAMP_OFF).filter(|_| self.arm == Arm::Nir);
        let Some(master) = off.or_else(|| wanted.iter().find_map(|catg| of(catg))) else {
            return Err(RecipeError::Input {
                recipe,
                reason: format!(
                    "no {} among the calibrations; reduce one of the same read mode and binning, or name it",
                    wanted[0]
                ),
            });
        };
        if master.value.dim() != self.shape() {
            return Err(RecipeError::Input {
                recipe,
                reason: format!(
                    "{} has {:?} rows x columns, the flats have {:?}; use one of the same binning and window",
                    master.catg,
                    master.value.dim(),
                    self.shape()
                ),
            });
        }
        let standard = |image: &Array2<f32>| image.as_standard_layout().into_owned();
        Ok(Below {
            value: standard(&master.value),
            variance: standard(&master.variance),
            flags: master.flags.clone(),
            ron,
            name: master.catg.clone(),
        })
    }

    /// Combine frames of one lamp. Frames that do not belong are left out with a reason; without enough of them there is
    /// no mean.
    pub fn lamp(
        &self,
        picked: &[usize],
        below: &Below,
        limits: &LampLimits,
        rejected: &mut Vec<RejectedFrame>,
    ) -> Result<LampMean, RecipeError> {
        let pedestal = Pedestal { value: &below.value, variance: &below.variance };
        let all = self.stack(picked)?;
        let surveys: Vec<Survey> = (0..all.len()).map(|k| survey(&all, k, &below.value, limits.bright)).collect();
        let mut levels: Vec<f64> =
            surveys.iter().map(|survey| survey.level).filter(|level| level.is_finite()).collect();
        let median = median_f64(&mut levels).unwrap_or(0.0);
        let mut reasons = Vec::new();
        let mut used = Vec::new();
        for (survey, k) in surveys.iter().zip(picked) {
            let reason = survey.reason(median, limits);
            match reason {
                None => used.push(*k),
                Some(reason) => {
                    let data_id = self.frames[*k].meta.data_id.clone();
                    reasons.push(format!("frame {data_id}: {reason}"));
                    rejected.push(RejectedFrame { data_id, reason });
                }
            }
        }
        if used.len() < limits.minimum {
            return Err(RecipeError::Unprocessable {
                recipe: self.recipe,
                reason: format!(
                    "{} of {} frames can be used, at least {} are needed: {}",
                    used.len(),
                    picked.len(),
                    limits.minimum,
                    reasons.join("; ")
                ),
            });
        }
        let raw = self.stack(&used)?;
        let exposures = match raw.len() {
            1 => vec![1.0],
            // too few lit pixels to compare lamps by (a pinhole's): they are taken as equal
            n => combine::exposures(&raw, Some(pedestal), below.ron).unwrap_or_else(|| vec![1.0; n]),
        };
        let mut mean = combine::combine(&raw, Some(pedestal), &exposures, below.ron, &limits.combine);
        // what is wrong with a pixel without light stays wrong
        let kept = flags::HOT | flags::COLD | flags::NO_DATA;
        ndarray::Zip::from(&mut mean.flags).and(&below.flags).par_for_each(|bits, below| *bits |= below & kept);
        Ok(LampMean { mean, exposures, level: median, used })
    }

    /// Give the memory of the raw images back; nothing can be combined afterwards.
    pub fn release(&mut self) {
        self.frames.iter_mut().for_each(|frame| frame.adu = Array2::zeros((0, 0)));
    }

    /// A mean as searches and fits want it: turned, bad pixels NaN.
    pub fn light(&self, mean: &Combined, noise: Noise) -> Light {
        let mut value = turned(mean.value.view(), self.dispersion);
        let bits = turned(mean.flags.view(), self.dispersion);
        ndarray::Zip::from(&mut value).and(&bits).par_for_each(|value, bits| {
            if *bits != 0 {
                *value = f32::NAN;
            }
        });
        Light { value, shot: noise.shot, floor: noise.floor, binning: self.bins() }
    }
}

/// What one frame shows at a glance.
struct Survey {
    level: f64,
    saturated: f64,
    invalid: f64,
}

/// Sampling steps in rows and columns: primes.
const STEP: (usize, usize) = (5, 3);

fn survey(raw: &RawStack, k: usize, below: &Array2<f32>, bright: f64) -> Survey {
    let (rows, columns) = raw.shape();
    let (mut saturated, mut invalid, mut total) = (0.0, 0.0, 0.0);
    let mut values = Vec::with_capacity(rows * columns / (STEP.0 * STEP.1) + 1);
    for r in (0..rows).step_by(STEP.0) {
        let line = raw.science_row(k, r);
        for c in (0..columns).step_by(STEP.1) {
            total += 1.0;
            let value = raw.electrons(line[c]) - below[[r, c]];
            if raw.is_saturated(line[c]) {
                saturated += 1.0;
                values.push(f32::INFINITY);
            } else if value.is_finite() {
                values.push(value);
            } else {
                invalid += 1.0;
            }
        }
    }
    let level = match values.len() {
        0 => f64::NAN,
        n => {
            let at = ((n as f64 * (1.0 - bright)) as usize).min(n - 1);
            f64::from(*values.select_nth_unstable_by(at, f32::total_cmp).1)
        }
    };
    Survey { level, saturated: saturated / total, invalid: invalid / total }
}

impl Survey {
    fn reason(&self, median: f64, limits: &LampLimits) -> Option<String> {
        let most = 100.0 * limits.max_invalid;
        if self.saturated > limits.max_invalid {
            return Some(format!(
                "{:.2} % of its pixels are saturated, at most {most:.2} % are allowed (max_invalid_fraction); expose less",
                100.0 * self.saturated
            ));
        }
        if self.invalid > limits.max_invalid {
            let found = 100.0 * self.invalid;
            return Some(format!("{found:.2} % of its pixels are not numbers, at most {most:.2} % are allowed"));
        }
        if self.level.is_nan() || self.level < limits.least_light {
            return Some(format!(
                "its brighter pixels have {:.0} e-, at least {:.0} are needed (least_light); is the lamp on, the mask in \
                 place and the shutter open?",
                self.level, limits.least_light
            ));
        }
        let ratio = self.level / median;
        if ratio > limits.max_ratio || ratio < 1.0 / limits.max_ratio {
            return Some(format!(
                "its light is {ratio:.2} of the set's median, allowed is a factor of {:.2} (max_lamp_ratio); was the lamp \
                 warming up?",
                limits.max_ratio
            ));
        }
        None
    }
}

/// Median temperatures, for the record only.
pub fn temperature_qc(metas: &[FrameMeta]) -> Vec<QcMetric> {
    type Pick = fn(&FrameMeta) -> Option<f64>;
    let metrics: [(&str, &str, &str, Pick); 2] = [
        ("DETECTOR TEMP", "K", "median detector temperature", |meta| meta.detector_temp),
        ("CPATH TEMP", "C", "median common path temperature", |meta| meta.common_path_temp),
    ];
    metrics
        .into_iter()
        .map(|(name, unit, comment, pick)| {
            let mut values: Vec<f64> = metas.iter().filter_map(pick).filter(|value| value.is_finite()).collect();
            let metric = match median_f64(&mut values) {
                Some(value) => QcMetric::measured(name, value, unit, comment),
                None => QcMetric::absent(name, "no frame has it in its header", unit, comment),
            };
            QcMetric { to_header: false, ..metric }
        })
        .collect()
}
