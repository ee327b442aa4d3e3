//! Order centres: where the middle of the slit falls, traced on a flat through the single pinhole.

use std::ops::RangeInclusive;

use serde::Deserialize;

use super::contract::{ProductTable, Recipe, RecipeError, RecipeInput, RecipeOutput};
use super::lamp::{self, FlatRules, Flats, LampLimits, Lamps};
use super::order_table::{self, OrderRow};
use super::pages;
use super::parameters::{check_ranges, typed};
use crate::instrument::FrameMeta;
use crate::instrument::format::SpectralFormat;
use crate::numerics::robust::median_f64;
use crate::quality::QcMetric;
use crate::reduction::flat::combine::CombineLimits;
use crate::reduction::orders::image::{Dispersion, Light};
use crate::reduction::orders::search::{self, SearchLimits};
use crate::reduction::orders::slices::Walk;
use crate::reduction::orders::trace::{self, Trace, TraceOptions};
use crate::reduction::orders::{OrdersError, guess};

const NAME: &str = "order_centres";
/// `ESO DPR TECH` of flats through the pinhole.
const TECH: &str = "ECHELLE,PINHOLE";

/// Parameters; meanings, units and ranges in `config/recipes.toml`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    rejection_sigma: f64,
    max_invalid_fraction: f64,
    least_light: f64,
    max_lamp_ratio: f64,
    search_radius: f64,
    block_sigma: f64,
    least_lit: f64,
    max_order_offset: f64,
    slice_length: usize,
    slice_stride: usize,
    slice_half_width: f64,
    peak_sigma: f64,
    degree: usize,
    curve_sigma: f64,
    max_centre_error: f64,
}

impl Parameters {
    fn read(overrides: &toml::Table) -> Result<Parameters, RecipeError> {
        let p: Parameters = typed(NAME, overrides)?;
        let ranges: [(&str, f64, RangeInclusive<f64>); 15] = [
            ("rejection_sigma", p.rejection_sigma, 3.0..=50.0),
            ("max_invalid_fraction", p.max_invalid_fraction, 0.0..=0.5),
            ("least_light", p.least_light, 1.0..=1e6),
            ("max_lamp_ratio", p.max_lamp_ratio, 1.01..=100.0),
            ("search_radius", p.search_radius, 1.0..=20.0),
            ("block_sigma", p.block_sigma, 3.0..=50.0),
            ("least_lit", p.least_lit, 0.05..=1.0),
            ("max_order_offset", p.max_order_offset, 0.5..=20.0),
            ("slice_length", p.slice_length as f64, 2.0..=256.0),
            ("slice_stride", p.slice_stride as f64, 2.0..=256.0),
            ("slice_half_width", p.slice_half_width, 4.0..=20.0),
            ("peak_sigma", p.peak_sigma, 3.0..=50.0),
            ("degree", p.degree as f64, 1.0..=8.0),
            ("curve_sigma", p.curve_sigma, 2.0..=50.0),
            ("max_centre_error", p.max_centre_error, 0.001..=1.0),
        ];
        check_ranges(NAME, &ranges)?;
        Ok(p)
    }

    fn limits(&self) -> LampLimits {
        LampLimits {
            combine: CombineLimits { rejection_sigma: self.rejection_sigma, unstable_sigma: 5.2 },
            max_invalid: self.max_invalid_fraction,
            max_ratio: self.max_lamp_ratio,
            least_light: self.least_light,
            minimum: 1,
            // a pinhole lights about one pixel in a hundred
            bright: 0.01,
        }
    }

    fn search(&self) -> SearchLimits {
        SearchLimits {
            radius: self.search_radius,
            significance: self.block_sigma,
            least_lit: self.least_lit,
            spread: self.max_order_offset,
        }
    }

    fn trace(&self) -> TraceOptions {
        TraceOptions {
            walk: Walk { length: self.slice_length, stride: self.slice_stride },
            half_width: self.slice_half_width,
            degree: self.degree,
            significance: self.peak_sigma,
            cut: self.curve_sigma,
        }
    }
}

/// The recipe `order_centres`.
#[derive(Clone, Copy, Debug)]
pub struct OrderCentres;

const RULES: FlatRules = FlatRules { recipe: NAME, tech: TECH, minimum: 1, lamps: Lamps::Qth };

impl Recipe for OrderCentres {
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
        Parameters::read(parameters)?;
        lamp::sort(frames, RULES).map(|_| ())
    }

    fn peak_bytes(&self, frames: &[FrameMeta]) -> u64 {
        lamp::peak_bytes(frames)
    }

    fn run(&self, input: RecipeInput, parameters: &toml::Table) -> Result<RecipeOutput, RecipeError> {
        let parameters = Parameters::read(parameters)?;
        let unusable = |reason: String| RecipeError::Unprocessable { recipe: NAME, reason };
        let flats = Flats::new(input.frames, RULES)?;
        let limits = parameters.limits();
        let mut rejected = Vec::new();
        let below = flats.below(input.masters, &limits)?;
        let lamp = flats.lamp(&flats.sorted().lit, &below, &limits, &mut rejected)?;
        let light = flats.light(&lamp.mean, lamp.noise(below.ron));
        let metas = flats.metas(&lamp.used);
        let names: Vec<&str> = metas.iter().map(|meta| meta.data_id.as_str()).collect();
        let about = |error: OrdersError| unusable(format!("frames {}: {error}", names.join(", ")));

        let guesses = guess::published(flats.arm);
        let found = search::find(&light, &guesses, &parameters.search()).map_err(about)?;
        let traces = traced(&light, &found.places, &parameters.trace());
        let missing: Vec<String> = found
            .places
            .iter()
            .filter(|place| traces.iter().all(|trace| trace.order != place.order))
            .map(|place| place.order.to_string())
            .collect();
        if !missing.is_empty() {
            return Err(about(OrdersError::Missing { missing: missing.join(", "), offset: found.offset }));
        }
        if let Some((trace, error)) =
            traces.iter().map(|t| (t, t.error())).find(|(_, error)| *error > parameters.max_centre_error)
        {
            return Err(unusable(format!(
                "the centre of order {} is known to {error:.3} pixels only, {} are allowed (max_centre_error); expose longer",
                trace.order, parameters.max_centre_error
            )));
        }
        let mut remarks = vec![
            format!("{} subtracted", below.name),
            format!("orders lie {:+.2} pixels across from their published places", found.offset),
        ];
        for (trace, guess) in traces.iter().zip(&guesses) {
            let lost = (trace.covered[0] - guess.lit[0]).max(guess.lit[1] - trace.covered[1]);
            if lost > 4.0 * parameters.slice_stride as f64 {
                remarks.push(format!(
                    "order {} is covered from pixel {:.0} to {:.0} of {:.0} to {:.0}; beyond, its centre is extrapolated \
                     with its error",
                    trace.order, trace.covered[0], trace.covered[1], guess.lit[0], guess.lit[1]
                ));
            }
        }
        let pages = vec![pages::orders::page(flats.arm, lamp.mean.value.view(), &traces, &guesses)];
        let rows: Vec<OrderRow> = traces
            .iter()
            .map(|trace| OrderRow {
                order: trace.order,
                covered: clamped(trace.covered, light.reach()),
                centre: trace.centre.clone(),
                width: Some(trace.sigma.clone()),
                edges: None,
            })
            .collect();
        let tables = order_table::write(&rows, flats.dispersion).map_err(|error| unusable(error.to_string()))?;
        let mut qc = quality(&traces, &light, flats.dispersion, SpectralFormat::of(flats.arm));
        qc.push(QcMetric::measured("TRACE OFFSET", found.offset, "pixels", "orders across from published places"));
        qc.push(QcMetric::measured("LIT FRAC", found.lit, "", "published order area that is lit"));
        qc.push(QcMetric::measured("NFRAMES USED", lamp.used.len() as f64, "", "frames combined"));
        qc.extend(lamp::temperature_qc(&metas));
        // the reference pipeline writes this PRO TECH
        let table = ProductTable::new("ORDER_TAB", "ECHELLE,SLIT", "", tables, lamp.used.len());
        Ok(RecipeOutput { tables: vec![table], qc, rejected, remarks, pages, ..RecipeOutput::default() })
    }
}

fn traced(light: &Light, places: &[crate::reduction::orders::OrderGuess], options: &TraceOptions) -> Vec<Trace> {
    places.iter().filter_map(|place| trace::trace(light, place, options)).collect()
}

/// A range of pixels within the detector.
pub fn clamped(range: [f64; 2], reach: [f64; 2]) -> [f64; 2] {
    range.map(|end| end.clamp(reach[0], reach[1]))
}

/// Metrics with the reference pipeline's names, and ours. Samples are slices; one that was taken together with others
/// counts for all of them.
fn quality(traces: &[Trace], light: &Light, dispersion: Dispersion, format: &SpectralFormat) -> Vec<QcMetric> {
    let axis = match dispersion {
        Dispersion::Rows => "X",
        Dispersion::Columns => "Y",
    };
    let mut qc = Vec::new();
    let pixels = "pixels";
    qc.push(QcMetric::measured("N ORDERS", traces.len() as f64, "", "orders traced"));
    let (mut total, mut detected, mut clipped) = (0.0, 0.0, 0.0);
    let mut residuals: Vec<f64> = Vec::new();
    let mut errors = Vec::new();
    let mut per_order = Vec::new();
    for trace in traces {
        let shortest = trace.slices.iter().map(|slice| slice.length).fold(f64::INFINITY, f64::min);
        let mut own = Vec::new();
        for slice in &trace.slices {
            let count = slice.length / shortest;
            total += count;
            if let Some(peak) = slice.peak {
                detected += count;
                match slice.used {
                    true => own.push((peak.centre - trace.centre.at(slice.b)).abs()),
                    false => clipped += count,
                }
            }
        }
        let order = format.name_of(trace.order);
        let one = |name: &str, value: f64, unit: &str, comment: &str| QcMetric {
            order: order.clone(),
            ..QcMetric::measured(name, value, unit, comment)
        };
        per_order.push(one("SAMPLES GAP MAX", trace.longest_gap, pixels, "longest stretch without a sample"));
        per_order.push(one(&format!("{axis} RES SD"), trace.scatter, pixels, "scatter of samples about the centre"));
        per_order.push(one("CENTRE ERR", trace.error(), pixels, "rms error of the centre along the order"));
        let fwhm = 2.354_820_045 * trace.sigma.at(0.5 * (trace.covered[0] + trace.covered[1]));
        per_order.push(one("PINHOLE FWHM", fwhm, pixels, "pinhole across the order, without pixels"));
        let range = clamped(trace.covered, light.reach());
        per_order.push(one("COVERED MIN", range[0], pixels, "first pixel with samples"));
        per_order.push(one("COVERED MAX", range[1], pixels, "last pixel with samples"));
        errors.push(trace.error());
        residuals.extend(own);
    }
    let count = residuals.len().max(1) as f64;
    let mean = residuals.iter().sum::<f64>() / count;
    let scatter = (residuals.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / count).sqrt();
    let (low, high) = residuals.iter().fold((f64::INFINITY, 0.0f64), |(a, b), r| (a.min(*r), b.max(*r)));
    qc.push(QcMetric::measured("SAMPLES TOT NUM", total, "samples", "slices across the orders"));
    qc.push(QcMetric::measured("SAMPLES DET NUM", detected, "samples", "slices with light"));
    qc.push(QcMetric::measured("SAMPLES DET FRAC", detected / total, "", "slices with light / all slices"));
    qc.push(QcMetric::measured("SAMPLES CLIP NUM", clipped, "samples", "slices with light left out"));
    qc.push(QcMetric::measured("SAMPLES CLIP FRAC", clipped / total, "", "slices left out / all slices"));
    let gap = traces.iter().map(|trace| trace.longest_gap).fold(0.0, f64::max);
    qc.push(QcMetric::measured("SAMPLES GAP MAX", gap, pixels, "longest stretch without a sample"));
    let text = "absolute residuals of the centre";
    qc.push(QcMetric::measured(&format!("{axis} RES MIN"), low, pixels, text));
    qc.push(QcMetric::measured(&format!("{axis} RES MAX"), high, pixels, text));
    qc.push(QcMetric::measured(&format!("{axis} RES SD"), scatter, pixels, text));
    qc.push(QcMetric::measured(
        &format!("{axis} RES MEDIAN"),
        median_f64(&mut residuals).unwrap_or(f64::NAN),
        pixels,
        text,
    ));
    let worst = errors.iter().copied().fold(0.0, f64::max);
    qc.push(QcMetric::measured("CENTRE ERR MAX", worst, pixels, "rms error of the least known centre"));
    qc.extend(per_order);
    qc
}
