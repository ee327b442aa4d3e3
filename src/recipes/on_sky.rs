//! Frames of the sky with their calibrations: from raw frames to strips, for all recipes of the slit.

use ndarray::{Array2, s};
use serde::Deserialize;

use super::contract::{MasterImage, MasterMaps, RawFrame, RecipeError, RecipeInput};
use super::inputs::{SetRules, check_set};
use super::parameters::{self, check_ranges};
use super::spectra::{WavelengthScale, slit_width};
use crate::instrument::{Arm, Detector, FrameMeta, Geometry};
use crate::numerics::robust::median_f64;
use crate::reduction::detector::calm;
use crate::reduction::geometry::planes::Planes;
use crate::reduction::orders::image::Dispersion;
use crate::reduction::science::exposure::Exposure;
use crate::reduction::science::extract::ExtractOptions;
use crate::reduction::science::prepare::{self, Pedestal, Readout, Response};
use crate::reduction::science::refraction::Air;
use crate::reduction::science::shift::{ArmShift, ShiftOptions};
use crate::reduction::science::slit::SlitShift;
use crate::reduction::science::trace::{SearchOptions, Source, TracePrior};
use crate::reduction::spectrum::order::OrderSpectrum;

/// How sources and lines of the sky are looked for, and sources extracted; meanings, units and ranges in
/// `config/recipes.toml`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceParameters {
    correct_wavelengths: bool,
    line_search: f64,
    line_signal: f64,
    source_sigma: f64,
    source_fraction: f64,
    most_sources: usize,
    target: f64,
    target_reach: f64,
    aperture: f64,
    reach: f64,
}

impl SourceParameters {
    /// Their names.
    const NAMES: [&str; 10] = [
        "correct_wavelengths",
        "line_search",
        "line_signal",
        "source_sigma",
        "source_fraction",
        "most_sources",
        "target",
        "target_reach",
        "aperture",
        "reach",
    ];

    /// Taken out of the merged parameters of a recipe, every value checked.
    pub fn taken(recipe: &'static str, table: &mut toml::Table) -> Result<SourceParameters, RecipeError> {
        let p: SourceParameters = parameters::shared(recipe, table, &SourceParameters::NAMES)?;
        check_ranges(
            recipe,
            &[
                ("line_search", p.line_search, 0.5..=12.0),
                ("line_signal", p.line_signal, 4.0..=100.0),
                ("source_sigma", p.source_sigma, 3.0..=50.0),
                ("source_fraction", p.source_fraction, 0.001..=1.0),
                ("most_sources", p.most_sources as f64, 1.0..=8.0),
                ("target", p.target, -6.0..=6.0),
                ("target_reach", p.target_reach, 0.2..=12.0),
                ("aperture", p.aperture, 0.3..=6.0),
                ("reach", p.reach, 1.0..=6.0),
            ],
        )?;
        Ok(p)
    }

    /// How sources are looked for.
    pub fn search(&self) -> SearchOptions {
        SearchOptions {
            threshold: self.source_sigma,
            fraction: self.source_fraction,
            most: self.most_sources,
            near: Some((self.target, self.target_reach)),
            ..SearchOptions::default()
        }
    }

    /// How they are extracted.
    pub fn extract(&self) -> ExtractOptions {
        ExtractOptions { aperture: self.aperture, reach: self.reach, ..ExtractOptions::default() }
    }

    /// How lines of the sky are looked for; `None` when wavelengths are to be taken as they are.
    pub fn shift(&self, set: &OnSkySet) -> Option<ShiftOptions> {
        self.correct_wavelengths.then(|| set.shift_options(self.line_search, self.line_signal))
    }
}

/// What a recipe of the slit asks of its frames.
#[derive(Clone, Copy, Debug)]
pub struct OnSkyRules {
    /// Recipe.
    pub recipe: &'static str,
    /// `ESO DPR TECH` that every frame must have.
    pub tech: &'static str,
}

/// `ESO DPR TYPE`s of frames of the sky.
const TYPES: [&str; 6] = ["OBJECT", "OBJECT,ASYNC", "STD", "STD,FLUX", "STD,TELLURIC", "STD,SKY"];

/// Check the frames from their descriptions alone and give the geometry that they share.
pub fn check(frames: &[FrameMeta], rules: OnSkyRules) -> Result<Geometry, RecipeError> {
    let OnSkyRules { recipe, tech } = rules;
    let wrong = |reason: String| RecipeError::Input { recipe, reason };
    let is = |text: &str, expected: &str| text.trim().eq_ignore_ascii_case(expected);
    if let Some(frame) = frames.iter().find(|frame| !is(&frame.dpr_tech, tech)) {
        return Err(wrong(format!(
            "frame {} has DPR TECH = {:?}, expected {tech:?}; use the recipe of its technique",
            frame.data_id, frame.dpr_tech
        )));
    }
    if let Some(frame) = frames.iter().find(|frame| !TYPES.iter().any(|kind| is(&frame.dpr_type, kind))) {
        return Err(wrong(format!(
            "frame {} has DPR TYPE = {:?}, expected one of {}; leave it out",
            frame.data_id,
            frame.dpr_type,
            TYPES.join(", ")
        )));
    }
    // a set may mix the forms of one type
    let usual: Vec<FrameMeta> =
        frames.iter().map(|frame| FrameMeta { dpr_type: "OBJECT".to_string(), ..frame.clone() }).collect();
    let geometry = check_set(&usual, SetRules { recipe, dpr_type: "OBJECT", unexposed_below: None }, 1)?;
    if let Some(first) = frames.first() {
        if first.arm == Arm::Acq {
            return Err(wrong(format!("frame {} is of the acquisition camera, which has no slit", first.data_id)));
        }
        let slit = |frame: &FrameMeta| frame.slit.clone().unwrap_or_else(|| "none".to_string());
        if let Some(other) = frames.iter().find(|frame| frame.slit != first.slit) {
            return Err(wrong(format!(
                "frame {} was taken through {}, frame {} through {}; reduce them as separate sets",
                other.data_id,
                slit(other),
                first.data_id,
                slit(first)
            )));
        }
    }
    Ok(geometry)
}

/// Bytes that a run on these frames needs: frames, calibrations, calibrated planes and their turned copies, strips.
pub fn peak_bytes(frames: &[FrameMeta]) -> u64 {
    let pixels = |frame: &FrameMeta| (frame.columns as u64).saturating_mul(frame.rows as u64);
    let raw: u64 = frames.iter().map(|frame| pixels(frame).saturating_mul(24)).fold(0, u64::saturating_add);
    raw.saturating_add(frames.iter().map(pixels).max().unwrap_or(0).saturating_mul(110)).saturating_add(64 << 20)
}

/// Calibrated frames of one set, and what is known of their wavelengths.
pub struct OnSkySet {
    /// Arm.
    pub arm: Arm,
    /// Way of the dispersion.
    pub dispersion: Dispersion,
    /// Descriptions of the frames.
    pub metas: Vec<FrameMeta>,
    /// One per frame, in the same order.
    pub exposures: Vec<Exposure>,
    /// Maps of the unbinned detector.
    pub maps: Planes,
    /// Light of the flat-field lamp along the orders; `None` without a table of it.
    pub blaze: Option<Blaze>,
    /// Remarks.
    pub remarks: Vec<String>,
}

/// Calibrate the frames of an input. Frames and masters are used up.
pub fn open(input: &mut RecipeInput, rules: OnSkyRules) -> Result<OnSkySet, RecipeError> {
    let recipe = rules.recipe;
    let metas: Vec<FrameMeta> = input.frames.iter().map(|frame| frame.meta.clone()).collect();
    let geometry = check(&metas, rules)?;
    let wrong = |reason: String| RecipeError::Input { recipe, reason };
    let Some(first) = metas.first() else { return Err(wrong("no frames; name at least one".to_string())) };
    let mut remarks = Vec::new();
    let needed = |catg: &str| -> Result<&MasterImage, RecipeError> {
        let found = input.masters.iter().find(|master| master.catg == catg);
        let master = found.ok_or_else(|| {
            wrong(format!("no {catg} among the calibrations; reduce one of the same read mode and binning, or name it"))
        })?;
        match master.value.dim() == geometry.shape() {
            true => Ok(master),
            false => Err(wrong(format!(
                "{catg} has {:?} rows x columns, the frames have {:?}; use one of the same binning and window",
                master.value.dim(),
                geometry.shape()
            ))),
        }
    };
    let below = needed(if first.arm == Arm::Nir { "MASTER_DARK" } else { "MASTER_BIAS" })?;
    let quiet = calm::calm(below.value.view(), below.variance.view(), below.flags.view());
    let flat = needed("MASTER_FLAT")?;
    let bad = input.masters.iter().find(|master| master.catg == "BP_MAP" && master.flags.dim() == geometry.shape());
    let detector = Detector::of(first.arm);
    let ron = below.ron.filter(|ron| *ron > 0.0 && ron.is_finite()).or(first.ron).unwrap_or(detector.ron);
    let scale = scale(first, below, &mut remarks);
    let mut exposures = Vec::with_capacity(input.frames.len());
    let pedestal = Pedestal {
        value: quiet.as_ref().map_or(below.value.view(), |quiet| quiet.value.view()),
        variance: quiet.as_ref().map_or(below.variance.view(), |quiet| quiet.variance.view()),
        flags: below.flags.view(),
        scale,
        shot: first.arm == Arm::Nir,
    };
    for frame in &input.frames {
        let readout = Readout {
            gain: frame.meta.gain,
            saturation: detector.saturation,
            ron,
            binning: bins_of(first),
            exptime: frame.meta.exptime,
        };
        exposures.push(exposed(frame, &geometry, &readout, &pedestal, flat, bad).ok_or_else(|| {
            wrong(format!("frame {} has another shape than its header says; read it anew", frame.meta.data_id))
        })?);
    }
    let maps = maps(&input.maps).ok_or_else(|| {
        wrong(
            "no DISP_IMAGE with WAVELENGTH, SLIT, ORDER and WAVELENGTH_ERROR is given; run spat_solution first"
                .to_string(),
        )
    })?;
    let blaze = Blaze::of(input, first.arm);
    if blaze.is_none() {
        remarks.push("no BLAZE_TAB: spectra are not corrected for the blaze".to_string());
    }
    let dispersion = if first.arm == Arm::Nir { Dispersion::Columns } else { Dispersion::Rows };
    let arm = first.arm;
    input.frames.clear();
    input.masters.clear();
    input.maps.clear();
    Ok(OnSkySet { arm, dispersion, metas, exposures, maps, blaze, remarks })
}

/// Unbinned pixels per row and per column of a frame.
fn bins_of(frame: &FrameMeta) -> [usize; 2] {
    frame.binning.map_or([1, 1], |binning| [binning.y, binning.x])
}

/// Factor of a master dark; 1 for a bias, or when the header of the dark does not say its time.
fn scale(first: &FrameMeta, below: &MasterImage, remarks: &mut Vec<String>) -> f64 {
    let Some(time) = below.exptime.filter(|time| first.arm == Arm::Nir && *time > 0.0) else { return 1.0 };
    let scale = first.exptime / time;
    if (scale - 1.0).abs() < 0.01 {
        return 1.0;
    }
    remarks.push(format!(
        "the master dark has {time} s, the frame {} s: it is scaled by {scale:.3}; take darks of the same DIT",
        first.exptime
    ));
    scale
}

fn exposed(
    frame: &RawFrame,
    geometry: &Geometry,
    readout: &Readout,
    pedestal: &Pedestal,
    flat: &MasterImage,
    bad: Option<&MasterImage>,
) -> Option<Exposure> {
    if frame.adu.dim() != (frame.meta.rows, frame.meta.columns) {
        return None;
    }
    let response = Response { value: flat.value.view(), variance: flat.variance.view(), flags: flat.flags.view() };
    let adu = frame.adu.slice(s![geometry.rows.clone(), geometry.columns.clone()]);
    prepare::prepare(adu, readout, pedestal, &response, bad.map(|bad| bad.flags.view()))
}

fn maps(maps: &[MasterMaps]) -> Option<Planes> {
    let image = maps.iter().find(|map| map.catg == "DISP_IMAGE")?;
    let plane = |name: &str| -> Option<Array2<f32>> {
        image.planes.iter().find(|plane| plane.name == name).map(|plane| plane.values.as_standard_layout().into_owned())
    };
    let planes = Planes {
        wavelength: plane("WAVELENGTH")?,
        slit: plane("SLIT")?,
        order: plane("ORDER")?.mapv(|order| if order.is_finite() { order } else { 0.0 }),
        error: plane("WAVELENGTH_ERROR")?,
    };
    let shape = planes.wavelength.dim();
    let same = [planes.slit.dim(), planes.order.dim(), planes.error.dim()].iter().all(|dim| *dim == shape);
    same.then_some(planes)
}

/// Rows by which the image of a slit of one arcsecond is wide along the dispersion, unbinned pixels: from the resolution of
/// both arms at that slit.
fn rows_per_arcsec(arm: Arm) -> f64 {
    if arm == Arm::Nir { 4.8 } else { 3.6 }
}

/// Every so many pixels of the map are asked for their error.
const MAP_STEP: usize = 16;

/// Blur of the edges of a line, sigma, unbinned pixels.
const BLUR: f64 = 0.65;

impl OnSkySet {
    /// Unbinned pixels along and across the dispersion.
    pub fn bins(&self) -> [usize; 2] {
        // of the frames: recipes use the exposures up
        let [y, x] = self.metas.first().map_or([1, 1], bins_of);
        if self.dispersion == Dispersion::Rows { [y, x] } else { [x, y] }
    }

    /// How lines of the sky are looked for, up to `search` unbinned pixels away.
    fn shift_options(&self, search: f64, least_signal: f64) -> ShiftOptions {
        let per_row = 1.0 / self.bins()[0] as f64;
        let slit = self.metas.first().and_then(|meta| meta.slit.as_deref()).and_then(slit_width).unwrap_or(1.0);
        ShiftOptions {
            search: search * per_row,
            width: slit * rows_per_arcsec(self.arm) * per_row,
            blur: BLUR * per_row.max(0.5),
            least_signal,
        }
    }

    /// How well wavelengths are known, with this correction by the lines of the sky.
    pub fn wavelength_scale(&self, shift: Option<&ArmShift>) -> WavelengthScale {
        let error = self.maps.error.iter().copied().filter(|error| error.is_finite() && *error > 0.0);
        let mut known: Vec<f64> = error.step_by(MAP_STEP).map(f64::from).collect();
        WavelengthScale { map: median_f64(&mut known), sky: shift.map(|shift| shift.error) }
    }

    /// What is known of traces: refraction in NIR, which has no corrector.
    pub fn prior(&self) -> TracePrior {
        match self.arm {
            Arm::Nir => {
                let mut known: Vec<f64> = self
                    .metas
                    .iter()
                    .filter_map(|meta| meta.on_sky.airmass.map(|[start, end]| 0.5 * (start + end)))
                    .collect();
                let airmass = median_f64(&mut known).unwrap_or(1.2);
                TracePrior { air: Some(Air::la_silla(airmass)), along: None, reference: NIR_REFERENCE }
            }
            _ => TracePrior::straight(VIS_REFERENCE),
        }
    }
}

/// A source, for people.
pub fn described(source: &Source) -> String {
    format!("source at {:.2} arcsec, FWHM {:.2} arcsec, {:.1} sigma", source.position, source.fwhm, source.significance)
}

/// How the maps were moved to the sky, for people.
pub fn moved(slit: Option<&SlitShift>, shift: Option<&ArmShift>) -> Vec<String> {
    let mut out = Vec::new();
    if let Some(shift) = slit.filter(|shift| shift.is_significant()) {
        out.push(format!(
            "the slit lies {:.2} +- {:.2} pixels off the maps along itself: they were moved with it",
            shift.pixels, shift.error
        ));
    }
    out.push(match shift {
        Some(shift) => format!(
            "lines of the sky lie {:.3} +- {:.3} rows off the map of wavelengths: wavelengths are corrected",
            shift.rows, shift.error
        ),
        None => "too few lines of the sky: wavelengths are those of the map".to_string(),
    });
    out
}

/// Wavelengths to which slit positions refer, nm.
const NIR_REFERENCE: f64 = 1250.0;
const VIS_REFERENCE: f64 = 600.0;

/// Light of the flat-field lamp along the orders.
#[derive(Clone, Debug, PartialEq)]
pub struct Blaze {
    orders: Vec<BlazeOfOrder>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct BlazeOfOrder {
    order: u8,
    /// Places along the dispersion, unbinned pixels.
    place: Vec<f64>,
    /// Light relative to its maximum.
    light: Vec<f64>,
    /// Its relative error; empty where it is not known.
    error: Vec<f64>,
    /// Blur of the slit's edges, arcsec.
    blur: Option<f64>,
}

impl Blaze {
    /// From the table of a master flat.
    pub fn of(input: &RecipeInput, arm: Arm) -> Option<Blaze> {
        let table = input.tables.iter().find(|table| table.catg == "BLAZE_TAB")?.tables.first()?;
        let along = if arm == Arm::Nir { "x" } else { "y" };
        let (numbers, places) = (table.integer("order").ok()?, table.real(along).ok()?);
        let light = table.real("blaze").ok()?;
        // tables of older flats have neither errors nor blurs
        let (errors, blurs) = (table.real("blaze_error").ok(), table.real("slit_blur").ok());
        let mut orders: Vec<BlazeOfOrder> = Vec::new();
        for (k, ((number, place), light)) in numbers.iter().zip(places).zip(light).enumerate() {
            let number = u8::try_from(*number).ok()?;
            if orders.last().is_none_or(|last| last.order != number) {
                let blur = blurs.and_then(|blurs| blurs.get(k)).copied().filter(|blur| *blur > 0.0);
                orders.push(BlazeOfOrder { order: number, blur, ..BlazeOfOrder::default() });
            }
            let last = orders.last_mut()?;
            last.place.push(*place);
            last.light.push(*light);
            last.error.extend(errors.and_then(|errors| errors.get(k)));
        }
        for BlazeOfOrder { light, .. } in &mut orders {
            let most = light.iter().copied().filter(|value| value.is_finite()).fold(0.0, f64::max);
            light.iter_mut().for_each(|value| *value = if most > 0.0 { *value / most } else { f64::NAN });
        }
        Some(Blaze { orders })
    }

    /// Gaussian sigma with which optics and pixels blur an order along the slit, arcsec; `None` when the flat does not say.
    pub fn blur(&self, order: u8) -> Option<f64> {
        self.orders.iter().find(|found| found.order == order)?.blur
    }

    /// Fill in the blaze of a spectrum.
    pub fn fill(&self, spectrum: &mut OrderSpectrum) {
        let Some(of_lamp) = self.orders.iter().find(|order| order.order == spectrum.order) else { return };
        let along = |values: &[f64]| -> Vec<f64> {
            spectrum.place.iter().map(|place| interpolated(&of_lamp.place, values, *place)).collect()
        };
        let (blaze, error) = (along(&of_lamp.light), along(&of_lamp.error));
        (spectrum.blaze, spectrum.blaze_error) = (blaze, error);
    }
}

/// Linear interpolation in rising `x`; NaN outside.
fn interpolated(x: &[f64], y: &[f64], at: f64) -> f64 {
    let above = x.partition_point(|value| *value <= at);
    let pair = |i: usize| Some((*x.get(i)?, *y.get(i)?));
    match (above.checked_sub(1).and_then(pair), pair(above)) {
        (Some((x0, y0)), Some((x1, y1))) => y0 + (y1 - y0) * (at - x0) / (x1 - x0),
        (Some((x0, y0)), None) if at <= x0 + TABLE_END => y0,
        (None, Some((x1, y1))) if at >= x1 - TABLE_END => y1,
        _ => f64::NAN,
    }
}

/// Pixels by which the ends of the table hold: it is given at every fourth pixel.
const TABLE_END: f64 = 4.0;

#[cfg(test)]
mod tests {
    use super::super::contract::MasterTable;
    use super::super::tables::{Column, Table};
    use super::*;

    #[test]
    fn a_blaze_is_relative_to_its_maximum_and_ends_with_its_table() {
        let columns = vec![
            Column::integer("order", vec![11, 11, 11, 12, 12]),
            Column::real("x", "pixel", vec![0.0, 4.0, 8.0, 0.0, 4.0]),
            Column::real("blaze", "electron", vec![50.0, 100.0, 25.0, 7.0, 7.0]),
            Column::real("blaze_error", "", vec![0.01, 0.02, 0.01, 0.0, 0.0]),
            Column::real("slit_blur", "arcsec", vec![0.15, 0.15, 0.15, f64::NAN, f64::NAN]),
        ];
        let table = MasterTable {
            catg: "BLAZE_TAB".to_string(),
            tech: String::new(),
            name: String::new(),
            tables: vec![Table::new("BLAZE", columns).unwrap()],
        };
        let input = RecipeInput { tables: vec![table], ..RecipeInput::default() };
        let blaze = Blaze::of(&input, Arm::Nir).unwrap();
        let mut spectrum = OrderSpectrum { order: 11, place: vec![2.0, 8.0, 11.0, 13.0], ..OrderSpectrum::default() };
        blaze.fill(&mut spectrum);
        assert_eq!(spectrum.blaze[..3], [0.75, 0.25, 0.25]);
        assert!(spectrum.blaze[3].is_nan());
        assert_eq!(spectrum.blaze_error[..3], [0.015, 0.01, 0.01]);
        assert_eq!((blaze.blur(11), blaze.blur(12), blaze.blur(13)), (Some(0.15), None, None));
        assert!(Blaze::of(&input, Arm::Vis).is_none());
    }
}
