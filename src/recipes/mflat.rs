//! Master flat: the response of every pixel, the light of the lamp along the orders, and the edges of the orders.

use std::ops::RangeInclusive;

use ndarray::{Array2, Zip};
use rayon::prelude::*;
use serde::Deserialize;

use super::bad_pixels;
use super::blaze_table;
use super::contract::{
    MasterImage, MasterTable, ProductImage, ProductTable, Recipe, RecipeError, RecipeInput, RecipeOutput, RejectedFrame,
};
use super::d2_flat::D2_FLAT;
use super::lamp::{self, Below, FlatRules, Flats, LampLimits, LampMean, LampParameters, Lamps, Noise};
use super::order_centres::clamped;
use super::order_table::{self, OrderRow};
use super::pages;
use super::parameters::{self, check_ranges, merged};
use super::stitch;
use crate::instrument::format::SpectralFormat;
use crate::instrument::{Arm, FrameMeta};
use crate::numerics::robust::median_f64;
use crate::quality::QcMetric;
use crate::reduction::flags;
use crate::reduction::flat::blaze::{self, Blaze, BlazeOptions};
use crate::reduction::flat::combine::Combined;
use crate::reduction::flat::response::{self, LitOrder, Response, ResponseOptions};
use crate::reduction::flat::scatter::{self, ScatterOptions, Scattered};
use crate::reduction::flat::structure::{self, Leftover, Structure};
use crate::reduction::orders::edges::{self, EdgeOptions, Edges, OrderPlace};
use crate::reduction::orders::image::{Light, turned};
use crate::reduction::orders::slices::Walk;
use crate::reduction::orders::{OrderGuess, OrdersError, guess};

const NAME: &str = "mflat";
/// `ESO DPR TECH` of flats through the slit.
const TECH: &str = "ECHELLE,SLIT";

/// Parameters beside those of the lamp; meanings, units and ranges in `config/recipes.toml`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    slice_length: usize,
    slice_stride: usize,
    edge_margin: f64,
    degree: usize,
    edge_sigma: f64,
    curve_sigma: f64,
    least_edges: f64,
    scatter_knots_along: f64,
    scatter_knots_across: f64,
    scatter_margin: f64,
    max_scattered: f64,
    blaze_interval: f64,
    blaze_shortest: f64,
    blaze_tolerance: f64,
    least_open: f64,
    least_signal: f64,
    cold_response: f64,
    hot_response: f64,
    pixel_sigma: f64,
    d2_orders: Vec<u8>,
    agreement: f64,
}

impl Parameters {
    /// Those of the lamp and its own.
    fn read(overrides: &toml::Table) -> Result<(LampParameters, Parameters), RecipeError> {
        let mut table = merged(NAME, overrides)?;
        let lamp = LampParameters::taken(NAME, &mut table)?;
        let p: Parameters = parameters::read(NAME, table)?;
        let ranges: [(&str, f64, RangeInclusive<f64>); 20] = [
            ("slice_length", p.slice_length as f64, 2.0..=256.0),
            ("slice_stride", p.slice_stride as f64, 2.0..=256.0),
            ("edge_margin", p.edge_margin, 3.0..=30.0),
            ("degree", p.degree as f64, 1.0..=8.0),
            ("edge_sigma", p.edge_sigma, 3.0..=100.0),
            ("curve_sigma", p.curve_sigma, 2.0..=50.0),
            ("least_edges", p.least_edges, 0.1..=1.0),
            ("scatter_knots_along", p.scatter_knots_along, 16.0..=4096.0),
            ("scatter_knots_across", p.scatter_knots_across, 16.0..=4096.0),
            ("scatter_margin", p.scatter_margin, 2.0..=30.0),
            ("max_scattered", p.max_scattered, 0.001..=1.0),
            ("blaze_interval", p.blaze_interval, 32.0..=4096.0),
            ("blaze_shortest", p.blaze_shortest, 4.0..=512.0),
            ("blaze_tolerance", p.blaze_tolerance, 0.001..=0.5),
            ("least_open", p.least_open, 0.05..=1.0),
            ("least_signal", p.least_signal, 1.0..=1000.0),
            ("cold_response", p.cold_response, 0.0..=1.0),
            ("hot_response", p.hot_response, 1.0..=100.0),
            ("pixel_sigma", p.pixel_sigma, 3.0..=50.0),
            ("agreement", p.agreement, 0.0..=1.0),
        ];
        check_ranges(NAME, &ranges)?;
        Ok((lamp, p))
    }

    fn edges(&self) -> EdgeOptions {
        EdgeOptions {
            walk: Walk { length: self.slice_length, stride: self.slice_stride },
            margin: self.edge_margin,
            degree: self.degree,
            significance: self.edge_sigma,
            cut: self.curve_sigma,
            least_used: self.least_edges,
        }
    }

    fn scatter(&self) -> ScatterOptions {
        let knots = [self.scatter_knots_along, self.scatter_knots_across];
        ScatterOptions { cell: 32, width: 24, margin: self.scatter_margin, knots }
    }

    fn blaze(&self) -> BlazeOptions {
        BlazeOptions { interval: self.blaze_interval, shortest: self.blaze_shortest, tolerance: self.blaze_tolerance }
    }

    fn response(&self) -> ResponseOptions {
        ResponseOptions {
            least_open: self.least_open,
            least_signal: self.least_signal,
            edge_error: 0.02,
            cold: self.cold_response,
            hot: self.hot_response,
            sigma: self.pixel_sigma,
        }
    }
}

/// The recipe `mflat`.
#[derive(Clone, Copy, Debug)]
pub struct MasterFlat;

/// With the least number of frames from the parameters.
fn rules(minimum: usize) -> FlatRules {
    FlatRules { recipe: NAME, tech: TECH, minimum, lamps: Lamps::QthAndD2 }
}

impl Recipe for MasterFlat {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> &'static str {
        "3"
    }

    fn check_parameters(&self, parameters: &toml::Table) -> Result<(), RecipeError> {
        Parameters::read(parameters).map(|_| ())
    }

    fn verify(&self, frames: &[FrameMeta], parameters: &toml::Table) -> Result<(), RecipeError> {
        let (lamp, _) = Parameters::read(parameters)?;
        lamp::sort(frames, rules(lamp.minimum_frames)).map(|_| ())
    }

    fn peak_bytes(&self, frames: &[FrameMeta]) -> u64 {
        lamp::peak_bytes(frames)
    }

    fn run(&self, input: RecipeInput, parameters: &toml::Table) -> Result<RecipeOutput, RecipeError> {
        let (of_lamp, parameters) = Parameters::read(parameters)?;
        let centres = centres(&input.tables)?;
        let mut flats = Flats::new(input.frames, rules(of_lamp.minimum_frames))?;
        let limits = of_lamp.limits();
        let mut rejected = Vec::new();
        let mut remarks = Vec::new();
        let (maps, masters): (Vec<MasterImage>, Vec<MasterImage>) =
            input.masters.into_iter().partition(|master| master.catg == bad_pixels::BP_MAP);
        let (d2_means, masters) = masters.into_iter().partition(|master| master.catg == D2_FLAT);
        let below = flats.below(masters, &limits)?;
        remarks.push(format!("{} subtracted", below.name));
        let lamp = flats.lamp(&flats.sorted().lit, &below, &limits, &mut rejected)?;
        let d2 = d2_light(&flats, &below, d2_means, &limits, &mut rejected, &mut remarks)?;
        let qth = Lit { name: names(&flats, &lamp), noise: lamp.noise(below.ron), mean: &lamp.mean };
        let shared = d2.as_ref().map(|_| turned(below.variance.view(), flats.dispersion));
        // what follows needs the means only
        drop(below);
        flats.release();
        let mut guesses = guess::published(flats.arm);
        // orders that the slit's filter blocks were not traced
        guesses.retain(|guess| centres.iter().any(|row| row.order == guess.order));
        let mut flat = flatten(&flats, &qth, &centres, &guesses, None, &parameters)?;
        let mut found = vec![flat.response.flags.clone()];
        let mut blazes = None;
        if let Some(((name, mean, noise), shared)) = d2.zip(shared) {
            let lit = Lit { name, noise, mean: &mean };
            let other = flatten(&flats, &lit, &centres, &guesses, Some(&flat.edges), &parameters)?;
            response::merge(&mut flat.response, &other.response, &shared);
            let orders = other.blazes.iter().flatten().count();
            remarks.push(format!(
                "{}: response of {orders} orders stitched with the halogen lamp's, weighted by their errors",
                lit.name
            ));
            found.push(other.response.flags);
            blazes = Some(other.blazes);
        }
        for frame in &rejected {
            remarks.push(format!("frame {} left out: {}", frame.data_id, frame.reason));
        }
        let bad = bad_map(&flats, &maps, &found, parameters.agreement, &mut remarks);
        finish(&flats, &lamp, &centres, Made { flat, d2: blazes, bad }, rejected, remarks)
    }
}

/// A mean frame of one lamp, with what to call it and its noise.
struct Lit<'a> {
    name: String,
    noise: Noise,
    mean: &'a Combined,
}

fn names(flats: &Flats, lamp: &LampMean) -> String {
    let ids: Vec<String> = flats.metas(&lamp.used).into_iter().map(|meta| meta.data_id).collect();
    format!("frames {}", ids.join(", "))
}

/// The light of the deuterium lamp: of frames in the set, or as it was reduced before. In VIS the lack of it is told.
fn d2_light(
    flats: &Flats,
    below: &Below,
    means: Vec<MasterImage>,
    limits: &LampLimits,
    rejected: &mut Vec<RejectedFrame>,
    remarks: &mut Vec<String>,
) -> Result<Option<(String, Combined, Noise)>, RecipeError> {
    if !flats.sorted().d2.is_empty() {
        let lamp = flats.lamp(&flats.sorted().d2, below, limits, rejected)?;
        let (name, noise) = (names(flats, &lamp), lamp.noise(below.ron));
        return Ok(Some((name, lamp.mean, noise)));
    }
    let Some(master) = means.into_iter().next() else {
        if flats.arm == Arm::Vis {
            remarks
                .push("no deuterium flat of this slit, binning and night: the u band has the halogen lamp only".into());
        }
        return Ok(None);
    };
    if master.value.dim() != flats.shape() {
        return Err(RecipeError::Input {
            recipe: NAME,
            reason: format!(
                "{D2_FLAT} has {:?} rows x columns, the flats have {:?}; use one of the same binning",
                master.value.dim(),
                flats.shape()
            ),
        });
    }
    let standard = |image: Array2<f32>| image.as_standard_layout().into_owned();
    let mean = Combined {
        value: standard(master.value),
        variance: standard(master.variance),
        flags: master.flags,
        hits: 0,
        noise_ratio: f64::NAN,
    };
    let noise = Noise::of(&mean);
    if noise.is_none() {
        remarks.push(format!("{D2_FLAT} not used: its variance does not grow with its light"));
    }
    Ok(noise.map(|noise| (D2_FLAT.to_string(), mean, noise)))
}

/// The accumulated map of bad pixels, in the orientation of the detector.
fn bad_map(
    flats: &Flats,
    maps: &[MasterImage],
    found: &[Array2<i32>],
    agreement: f64,
    remarks: &mut Vec<String>,
) -> Array2<i32> {
    let found: Vec<Array2<i32>> = found.iter().map(|bits| turned(bits.view(), flats.dispersion)).collect();
    let merged = bad_pixels::accumulated(maps, &found.iter().collect::<Vec<_>>(), agreement);
    let Some(merged) = merged else { return Array2::zeros(flats.shape()) };
    remarks.push(format!(
        "bad pixels: {} by {} maps of biases and darks and {} flats; {} others were not confirmed",
        merged.bad,
        maps.len(),
        found.len(),
        merged.dropped
    ));
    merged.bits
}

/// The centres of the orders, from the order table among the calibrations.
fn centres(tables: &[MasterTable]) -> Result<Vec<OrderRow>, RecipeError> {
    let wrong = |reason: String| RecipeError::Input { recipe: NAME, reason };
    let Some(table) = tables.iter().find(|table| table.catg == "ORDER_TAB") else {
        return Err(wrong(
            "no ORDER_TAB among the calibrations; reduce a pinhole flat with order_centres first".into(),
        ));
    };
    let mut rows = order_table::read(table)
        .map_err(|error| wrong(format!("order table {}: {error}; reduce it anew with order_centres", table.name)))?;
    rows.sort_by_key(|row| row.order);
    Ok(rows)
}

/// What one lamp gives. Images have rows along the dispersion.
struct Flat {
    edges: Vec<Edges>,
    blazes: Vec<Option<Blaze>>,
    /// Slow changes of the response along the orders, from which the errors of the light follow.
    structure: Option<Structure>,
    response: Response,
    scattered: Scattered,
    /// Median of the scattered light over that of the light in the orders.
    scattered_fraction: f64,
    /// Electrons in the middle of the slit along all orders.
    centre_light: Vec<f64>,
}

/// Flatten a lamp. With `known` edges only the orders of the deuterium lamp are measured.
fn flatten(
    flats: &Flats,
    lit: &Lit,
    centres: &[OrderRow],
    guesses: &[OrderGuess],
    known: Option<&[Edges]>,
    parameters: &Parameters,
) -> Result<Flat, RecipeError> {
    let name = &lit.name;
    let unusable = |reason: String| RecipeError::Unprocessable { recipe: NAME, reason };
    let mut light = flats.light(lit.mean, lit.noise);
    let edges = match known {
        Some(edges) => edges.to_vec(),
        None => {
            let places = places(centres, guesses);
            edges::find(&light, &places, &parameters.edges())
                .map_err(|error: OrdersError| unusable(format!("{name}: {error}")))?
        }
    };
    let Some(scattered) = scatter::fit(&light, &edges, &parameters.scatter()) else {
        return Err(unusable(format!(
            "{name}: the light between the orders could not be measured; the gaps are hidden or invalid"
        )));
    };
    let surface = scattered.image(&light);
    let centre_light = centre_light(&light, &edges, &surface);
    let scattered_fraction = scattered_fraction(&scattered, &centre_light);
    if scattered_fraction > parameters.max_scattered {
        return Err(unusable(format!(
            "{name}: the light between the orders is {:.1} % of the light in them, at most {:.1} % are allowed \
             (max_scattered); did the shutter stick, or does the dome leak?",
            100.0 * scattered_fraction,
            100.0 * parameters.max_scattered
        )));
    }
    light.value -= &surface;
    let variance = turned(lit.mean.variance.view(), flats.dispersion);
    let quality = turned(lit.mean.flags.view(), flats.dispersion);
    let tilt = |order: u8| guesses.iter().find(|guess| guess.order == order).map(|guess| &guess.tilt);
    let options = parameters.blaze();
    let wanted = |order: u8| known.is_none() || parameters.d2_orders.contains(&order);
    let mut blazes: Vec<Option<Blaze>> = edges
        .par_iter()
        .map(|edges| {
            let tilt = tilt(edges.order).filter(|_| wanted(edges.order))?;
            blaze::measure(&light, &variance, edges, tilt, &options)
        })
        .collect();
    let leftovers: Vec<&Leftover> = blazes.iter().flatten().filter_map(Blaze::leftover).collect();
    let structure = if known.is_none() { structure::estimate(&leftovers) } else { None };
    if let Some(structure) = &structure {
        blazes.iter_mut().flatten().for_each(|blaze| blaze.set_errors(structure));
    }
    let orders: Vec<LitOrder> = edges
        .iter()
        .zip(&blazes)
        .filter_map(|(edges, blaze)| Some(LitOrder { edges, tilt: tilt(edges.order)?, blaze: blaze.as_ref() }))
        .collect();
    let response = response::divide(&light, &variance, &quality, &orders, &parameters.response());
    Ok(Flat { edges, blazes, structure, response, scattered, scattered_fraction, centre_light })
}

/// Where edges are looked for, in rising place across the orders.
fn places(centres: &[OrderRow], guesses: &[OrderGuess]) -> Vec<OrderPlace> {
    let mut places: Vec<OrderPlace> = centres
        .iter()
        .filter_map(|row| {
            let guess = guesses.iter().find(|guess| guess.order == row.order)?;
            Some(OrderPlace {
                order: row.order,
                centre: row.centre.clone(),
                half_length: guess.half_length.clone(),
                lit: row.covered,
            })
        })
        .collect();
    let middle = |place: &OrderPlace| place.centre.at(0.5 * (place.lit[0] + place.lit[1]));
    places.sort_by(|a, b| middle(a).total_cmp(&middle(b)));
    places
}

/// Half the width of the band about the centre whose light is the exposure of an order, unbinned pixels.
const BAND: f64 = 5.0;

/// Electrons in a band about the centre of the slit, all orders; every third row.
fn centre_light(light: &Light, edges: &[Edges], surface: &Array2<f32>) -> Vec<f64> {
    let (rows, columns) = light.shape();
    let mut values = Vec::new();
    for order in edges {
        for row in (0..rows).step_by(3) {
            let b = light.b_of(row as f64);
            if b < order.covered[0] || b > order.covered[1] {
                continue;
            }
            let middle = 0.5 * (order.lower.at(b) + order.upper.at(b));
            let ends = [middle - BAND, middle + BAND].map(|a| light.column_of(a).round().clamp(0.0, columns as f64));
            for column in ends[0] as usize..(ends[1] as usize).min(columns) {
                let value = light.value[[row, column]] - surface[[row, column]];
                if value.is_finite() {
                    values.push(f64::from(value));
                }
            }
        }
    }
    values.sort_unstable_by(f64::total_cmp);
    values
}

/// A percentile of sorted values.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get(last * percent / 100).copied().unwrap_or(f64::NAN)
}

fn scattered_fraction(scattered: &Scattered, centre_light: &[f64]) -> f64 {
    let mut values: Vec<f64> = scattered.cells.iter().map(|cell| cell.value.abs()).collect();
    median_f64(&mut values).unwrap_or(0.0) / percentile(centre_light, 50).max(1.0)
}

/// Everything that was made.
struct Made {
    flat: Flat,
    /// Light of the deuterium lamp by order, where it was used.
    d2: Option<Vec<Option<Blaze>>>,
    /// Bad pixels, in the orientation of the detector.
    bad: Array2<i32>,
}

fn finish(
    flats: &Flats,
    qth: &LampMean,
    centres: &[OrderRow],
    made: Made,
    rejected: Vec<RejectedFrame>,
    remarks: Vec<String>,
) -> Result<RecipeOutput, RecipeError> {
    let Made { flat, d2, bad } = made;
    let unusable = |reason: String| RecipeError::Unprocessable { recipe: NAME, reason };
    let n_combined = qth.used.len();
    let reach = [0.0, (flat.response.value.nrows() * flats.bins()[0]).saturating_sub(1) as f64];
    let mut rows: Vec<OrderRow> = flat
        .edges
        .iter()
        .filter_map(|edges| {
            let centre = centres.iter().find(|row| row.order == edges.order)?;
            Some(OrderRow {
                covered: clamped(edges.covered, reach),
                edges: Some([edges.lower.clone(), edges.upper.clone()]),
                ..centre.clone()
            })
        })
        .collect();
    rows.sort_by_key(|row| row.order);
    let order_tables = order_table::write(&rows, flats.dispersion).map_err(|error| unusable(error.to_string()))?;
    let blaze_table = blaze_table::write(flats, &flat.edges, &flat.blazes, d2.as_deref(), reach)
        .map_err(|error| unusable(error.to_string()))?;
    let qc = quality(flats, qth, &flat, d2.as_deref(), rejected.len());
    let back = |image: &Array2<f32>| turned(image.view(), flats.dispersion);
    let bits = turned(flat.response.flags.view(), flats.dispersion);
    let image = |catg: &str, suffix: &str, unit: &str, value, variance, flags| {
        ProductImage::new(catg, suffix, unit, value, variance, flags, n_combined)
    };
    let products = vec![
        image("MASTER_FLAT", "", "", back(&flat.response.value), Some(back(&flat.response.variance)), bits.clone()),
        image("BLAZE", "_BLAZE", "electron", back(&flat.response.model), None, bits),
        bad_pixels::product(bad, n_combined),
    ];
    let table = |catg: &str, token: Option<&str>, suffix: &str, tables| ProductTable {
        token: token.map(str::to_string),
        ..ProductTable::new(catg, TECH, suffix, tables, n_combined)
    };
    let tables = vec![
        table("ORDER_TAB", Some("OLOC"), "", order_tables),
        table("BLAZE_TAB", None, "_BLAZE_TABLE", vec![blaze_table]),
    ];
    let shown = pages::flat::Shown {
        arm: flats.arm,
        light: qth.mean.value.view(),
        rows: &rows,
        products: &products,
        tables: &tables,
        cells: &flat.scattered.cells,
    };
    let pages = vec![pages::flat::page(&shown)];
    Ok(RecipeOutput { products, tables, qc, rejected, remarks, pages, ..RecipeOutput::default() })
}

/// Light of the lamp from which a pixel counts as lit, electrons.
const VISIBLE: f32 = 10.0;

/// Metrics with the reference pipeline's names, and ours.
fn quality(flats: &Flats, qth: &LampMean, flat: &Flat, d2: Option<&[Option<Blaze>]>, left_out: usize) -> Vec<QcMetric> {
    let response = &flat.response;
    let total = response.value.len().max(1) as f64;
    let count = |bits: i32| response.flags.iter().filter(|flags| **flags & bits != 0).count() as f64;
    let (mut sum, mut inner, mut edge) = (0.0f64, 0.0f64, 0.0f64);
    let mut errors = Vec::new();
    Zip::from(&response.value).and(&response.variance).and(&response.flags).and(&response.model).for_each(
        |value, variance, bits, model| {
            if *bits == 0 {
                sum += f64::from(*value);
                inner += 1.0;
                errors.push(f64::from(*variance));
            } else if *bits == flags::UNLIT && *model > VISIBLE {
                edge += 1.0;
            }
        },
    );
    let error = median_f64(&mut errors).map_or(f64::NAN, f64::sqrt);
    let low = count(flags::COLD);
    let measured = QcMetric::measured;
    let mut qc = vec![
        measured("INNER ORDER PIX MEAN", sum / inner, "", "mean response between the edges"),
        measured("INNER ORDER PIX SUM", sum, "", "sum of responses between the edges"),
        measured("COLDPIX NUM", low, "pixels", "pixels of significantly low response"),
        measured("COLDPIX FRAC", low / total, "", "their fraction of the frame"),
        measured("N LOW SENS", low, "pixels", "pixels of significantly low response"),
        measured("N ORDER EDGE", edge, "pixels", "lit pixels without a response: edges, faint ends"),
        measured("ORDEXP10", percentile(&flat.centre_light, 10), "electrons", "10th percentile of mid slit light"),
        measured("ORDEXP50", percentile(&flat.centre_light, 50), "electrons", "median of mid slit light"),
        measured("ORDEXP90", percentile(&flat.centre_light, 90), "electrons", "90th percentile of mid slit light"),
        measured("N ORDERS", flat.edges.len() as f64, "", "orders with edges"),
    ];
    // edges: the reference pipeline calls the residuals X in both arms
    let mut residuals: Vec<f64> = Vec::new();
    for order in &flat.edges {
        for slice in &order.slices {
            let Some(slit) = slice.slit else { continue };
            let curves = [&order.lower, &order.upper];
            for ((found, used), curve) in slit.edges.iter().zip(slice.used).zip(curves) {
                if used {
                    residuals.push(found - curve.at(slice.b));
                }
            }
        }
    }
    let n = residuals.len().max(1) as f64;
    let scatter = (residuals.iter().map(|r| r * r).sum::<f64>() / n).sqrt();
    let (least, most) = residuals.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), r| (a.min(*r), b.max(*r)));
    qc.push(measured("X RES MIN", least, "pixels", "residuals of the edges"));
    qc.push(measured("X RES MAX", most, "pixels", "residuals of the edges"));
    qc.push(measured("X RES SD", scatter, "pixels", "residuals of the edges"));
    qc.push(measured("RESPONSE ERR", error, "", "median error of a response"));
    qc.push(measured("PRNU", response.pattern, "", "scatter of responses beyond their noise"));
    if let Some(structure) = &flat.structure {
        let changes = "slow changes of the response along the orders";
        qc.push(measured("PRNU SLOW", structure.size, "", &format!("{changes}: their size")));
        qc.push(measured("PRNU LENGTH", structure.length, "pixels", &format!("{changes}: Gaussian sigma")));
    }
    qc.push(measured("NFRAMES USED", qth.used.len() as f64, "", "frames in the master"));
    qc.extend(qth.qc(left_out));
    qc.push(measured("UNSTABLE NUM", count(flags::UNSTABLE), "pixels", "pixels that vary beyond noise"));
    qc.push(measured("SCATTER FRAC", flat.scattered_fraction, "", "light between the orders over that in them"));
    qc.push(measured("SCATTER ERR", flat.scattered.error, "electrons", "scatter of the cells about the surface"));
    qc.extend(stitch::quality(flats.arm, &flat.blazes, d2));
    let format = SpectralFormat::of(flats.arm);
    for (edges, blaze) in flat.edges.iter().zip(&flat.blazes) {
        let order = format.name_of(edges.order);
        let middle = 0.5 * (edges.covered[0] + edges.covered[1]);
        let length = edges.upper.at(middle) - edges.lower.at(middle);
        let one = |name: &str, value: f64, unit: &str, comment: &str| QcMetric {
            order: order.clone(),
            ..measured(name, value, unit, comment)
        };
        qc.push(one("SLIT LENGTH", length, "pixels", "distance of the edges, mid order"));
        qc.push(one("EDGE BLUR", edges.blur, "pixels", "Gaussian sigma of the edges"));
        let light = blaze.as_ref().map_or(f64::NAN, |blaze| blaze.light(middle));
        qc.push(one("ORDER LIGHT", light, "electrons", "light of the lamp, mid order"));
    }
    qc.extend(lamp::temperature_qc(&flats.metas(&qth.used)));
    qc
}
