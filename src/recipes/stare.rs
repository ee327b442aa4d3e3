//! A source on the slit, observed without moving the telescope: sky and source from one exposure (`stare`), and the same of
//! a standard star (`stare_std`).

use ndarray::Array2;
use serde::Deserialize;

use super::contract::{ProductImage, ProductTable, Recipe, RecipeError, RecipeInput, RecipeOutput};
use super::on_sky::{self, OnSkyRules, OnSkySet};
use super::parameters::{check_ranges, typed};
use super::spectra::{self, Exposed, Extracted, Source, SourceOrder, SpectraParameters};
use super::stare_qc;
use super::tables::{Column, Table};
use crate::instrument::{Arm, FrameMeta, airglow};
use crate::reduction::science::cosmic::{self, CosmicOptions};
use crate::reduction::science::exposure::Exposure;
use crate::reduction::science::extract::ExtractOptions;
use crate::reduction::science::joint::{self, Joint, JointOptions, JointOrder};
use crate::reduction::science::prepare;
use crate::reduction::science::sky::SkyOptions;
use crate::reduction::science::strip;
use crate::reduction::science::trace::SearchOptions;

/// `ESO DPR TECH` of the frames.
const TECH: &str = "ECHELLE,SLIT,STARE";

/// Parameters; meanings, units and ranges in `config/recipes.toml`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    stack_sigma: f64,
    sky_sigma: f64,
    sky_structure: f64,
    source_error: f64,
    cosmic_sigma: f64,
    cosmic_wing: f64,
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
    turns: usize,
}

impl Parameters {
    fn read(recipe: &'static str, overrides: &toml::Table) -> Result<Parameters, RecipeError> {
        let p: Parameters = typed(recipe, overrides)?;
        check_ranges(
            recipe,
            &[
                ("stack_sigma", p.stack_sigma, 3.0..=50.0),
                ("sky_sigma", p.sky_sigma, 3.0..=20.0),
                ("sky_structure", p.sky_structure, 2.0..=10.0),
                ("source_error", p.source_error, 0.0..=0.5),
                ("cosmic_sigma", p.cosmic_sigma, 3.0..=50.0),
                ("cosmic_wing", p.cosmic_wing, 1.0..=50.0),
                ("line_search", p.line_search, 0.5..=12.0),
                ("line_signal", p.line_signal, 4.0..=100.0),
                ("source_sigma", p.source_sigma, 3.0..=50.0),
                ("source_fraction", p.source_fraction, 0.001..=1.0),
                ("most_sources", p.most_sources as f64, 1.0..=8.0),
                ("target", p.target, -6.0..=6.0),
                ("target_reach", p.target_reach, 0.2..=12.0),
                ("aperture", p.aperture, 0.3..=6.0),
                ("reach", p.reach, 1.0..=6.0),
                ("turns", p.turns as f64, 1.0..=6.0),
            ],
        )?;
        Ok(p)
    }

    fn options(&self, set: &OnSkySet) -> JointOptions {
        JointOptions {
            sky: SkyOptions {
                rejection: self.sky_sigma,
                structure: self.sky_structure,
                source_error: self.source_error,
                ..SkyOptions::default()
            },
            cosmic: self.cosmic(),
            shift: self.correct_wavelengths.then(|| set.shift_options(self.line_search, self.line_signal)),
            search: SearchOptions {
                threshold: self.source_sigma,
                fraction: self.source_fraction,
                most: self.most_sources,
                near: Some((self.target, self.target_reach)),
                ..SearchOptions::default()
            },
            extract: ExtractOptions { aperture: self.aperture, reach: self.reach, ..ExtractOptions::default() },
            prior: set.prior(),
            turns: self.turns,
        }
    }

    fn cosmic(&self) -> CosmicOptions {
        CosmicOptions { threshold: self.cosmic_sigma, wing: self.cosmic_wing, ..CosmicOptions::default() }
    }
}

/// The recipe `stare`.
#[derive(Clone, Copy, Debug)]
pub struct Stare;

/// The recipe `stare_std`.
#[derive(Clone, Copy, Debug)]
pub struct StareStandard;

const VERSION: &str = "1";

macro_rules! recipe {
    ($kind:ty, $name:literal, $standard:literal) => {
        impl Recipe for $kind {
            fn name(&self) -> &'static str {
                $name
            }

            fn version(&self) -> &'static str {
                VERSION
            }

            fn check_parameters(&self, parameters: &toml::Table) -> Result<(), RecipeError> {
                Parameters::read($name, parameters).map(|_| ())
            }

            fn verify(&self, frames: &[FrameMeta], parameters: &toml::Table) -> Result<(), RecipeError> {
                self.check_parameters(parameters)?;
                on_sky::check(frames, OnSkyRules { recipe: $name, tech: TECH }).map(|_| ())
            }

            fn peak_bytes(&self, frames: &[FrameMeta]) -> u64 {
                on_sky::peak_bytes(frames)
            }

            fn run(&self, input: RecipeInput, parameters: &toml::Table) -> Result<RecipeOutput, RecipeError> {
                run($name, $standard, input, parameters)
            }
        }
    };
}

recipe!(Stare, "stare", false);
recipe!(StareStandard, "stare_std", true);

fn run(
    recipe: &'static str,
    standard: bool,
    mut input: RecipeInput,
    parameters: &toml::Table,
) -> Result<RecipeOutput, RecipeError> {
    let parameters = Parameters::read(recipe, parameters)?;
    let mut set = on_sky::open(&mut input, OnSkyRules { recipe, tech: TECH })?;
    let wrong = |reason: String| RecipeError::Input { recipe, reason };
    let options = parameters.options(&set);
    let mut exposure = prepare::summed(&set.exposures, parameters.stack_sigma)
        .ok_or_else(|| wrong("the frames differ in shape or binning; reduce them as separate sets".to_string()))?;
    set.exposures.clear();
    let strips =
        strip::cut(&exposure, &set.maps, set.dispersion).map_err(|error| wrong(format!("DISP_IMAGE: {error}")))?;
    let joint = joint::reduce(strips, airglow::lines(), &options);
    if joint.orders.is_empty() {
        return Err(RecipeError::Unprocessable {
            recipe,
            reason: "no order has enough usable pixels for a sky; are flat and geometry of this arm and binning?"
                .to_string(),
        });
    }
    let rays = flag_between(&mut exposure, &joint, &parameters.cosmic());
    let n = set.metas.len();
    let exposed = Exposed::of(&set.metas, exposure.exptime, standard)
        .ok_or_else(|| wrong("no frames; name at least one".to_string()))?;
    let sources = sources(&joint, &set);
    let mut output = RecipeOutput { remarks: std::mem::take(&mut set.remarks), ..RecipeOutput::default() };
    output.remarks.extend(remarks(&joint));
    output.qc = stare_qc::quality(&joint, &set, &exposure, joint.cosmic_rays + rays);
    output.products = images(&exposure, &joint, n);
    if !sources.is_empty() {
        output.tables.push(object_table(&joint, set.arm, n).map_err(|error| wrong(error.to_string()))?);
        let spectra = SpectraParameters::read(&toml::Table::new())?;
        let extracted = Extracted { exposed, sources };
        let finished = spectra::finish(recipe, &extracted, &input.tables, &spectra)?;
        output.products.extend(finished.products);
        output.tables.extend(finished.tables);
        output.maps.extend(finished.maps);
        output.spectra = finished.spectra;
        output.qc.extend(finished.qc);
        output.remarks.extend(finished.remarks);
        output.pages.extend(finished.pages);
    }
    Ok(output)
}

/// What was found, for people.
fn remarks(joint: &Joint) -> Vec<String> {
    let mut out = Vec::new();
    if let Some(missing) = &joint.missing {
        out.push(format!("{missing}: only the sky is given"));
    }
    for source in &joint.sources {
        out.push(format!(
            "source at {:.2} arcsec, FWHM {:.2} arcsec, {:.1} sigma",
            source.position, source.fwhm, source.significance
        ));
    }
    match &joint.slit {
        Some(shift) if shift.is_significant() => out.push(format!(
            "the slit lies {:.2} +- {:.2} pixels off the maps along itself: they were moved with it",
            shift.pixels, shift.error
        )),
        Some(_) => {}
        None => {
            out.push("the sky is too faint to tell where the slit lies: the maps are taken as they are".to_string())
        }
    }
    match &joint.shift {
        Some(shift) => out.push(format!(
            "lines of the sky lie {:.3} +- {:.3} rows off the map of wavelengths: wavelengths are corrected",
            shift.rows, shift.error
        )),
        None => out.push("too few lines of the sky: wavelengths are those of the map".to_string()),
    }
    if !joint.left_out.is_empty() {
        out.push(format!("orders without enough usable pixels: {:?}", joint.left_out));
    }
    out
}

/// Rays between the orders, where no strip is.
fn flag_between(exposure: &mut Exposure, joint: &Joint, options: &CosmicOptions) -> usize {
    let mut covered = Array2::from_elem(exposure.value.dim(), false);
    for order in &joint.orders {
        order.strip.paste(&Array2::from_elem(order.strip.shape(), true), &mut covered);
        order.strip.paste(&order.strip.flags, &mut exposure.flags);
    }
    cosmic::flag_between(exposure, &covered, options)
}

/// The image without the sky, and the sky.
fn images(exposure: &Exposure, joint: &Joint, n: usize) -> Vec<ProductImage> {
    let shape = exposure.value.dim();
    let (mut sky, mut model) = (Array2::<f32>::zeros(shape), Array2::<f32>::zeros(shape));
    let (mut light, mut variance) = (exposure.value.clone(), exposure.floor.clone());
    for order in &joint.orders {
        let strip = &order.strip;
        strip.paste(&order.sky.model.value, &mut sky);
        strip.paste(&order.sky.model.variance, &mut model);
        strip.paste(&(&strip.value - &order.sky.model.value), &mut light);
        let noise = Array2::from_shape_fn(strip.shape(), |at| {
            let light = f64::from(order.sky.model.value[at] + order.sources[at]);
            strip.variance(at, light) as f32 + order.sky.model.variance[at]
        });
        strip.paste(&noise, &mut variance);
    }
    let image = |catg: &str, suffix: &str, value, variance| {
        let bits = exposure.flags.clone();
        ProductImage {
            tech: TECH.to_string(),
            ..ProductImage::new(catg, suffix, "electron", value, Some(variance), bits, n)
        }
    };
    vec![image("SKY_SUBTRACTED_OBJECT", "_SKYSUB", light, variance), image("SKY_MODEL", "_SKYMODEL", sky, model)]
}

/// Spectra of all sources, orders by number.
fn sources(joint: &Joint, set: &OnSkySet) -> Vec<Source> {
    let order = |order: &JointOrder, k: usize| -> Option<SourceOrder> {
        let extracted = order.extracted.as_ref()?;
        let mut spectrum = extracted.spectra.get(k).filter(|spectrum| !spectrum.is_empty())?.clone();
        if let Some(blaze) = &set.blaze {
            blaze.fill(&mut spectrum);
        }
        let trace = order.traces.get(k)?;
        let across = spectrum
            .place
            .iter()
            .map(|place| {
                order
                    .row_of(*place)
                    .and_then(|row| order.across(row, |wavelength| trace.at(wavelength)))
                    .unwrap_or(f64::NAN)
            })
            .collect();
        let fwhm = extracted.fwhm.get(k).copied().filter(|fwhm| fwhm.is_finite() && *fwhm > 0.0);
        Some(SourceOrder { spectrum, across, fwhm })
    };
    let all = joint.sources.iter().enumerate().map(|(k, source)| Source {
        slit: source.position,
        orders: joint.orders.iter().filter_map(|found| order(found, k)).collect(),
    });
    all.filter(|source| !source.orders.is_empty()).collect()
}

/// Rows between the places of a trace that are listed.
const TRACE_STEP: usize = 16;

/// Where the traces lie.
fn object_table(joint: &Joint, arm: Arm, n: usize) -> Result<ProductTable, super::tables::TableError> {
    let (mut source, mut number) = (Vec::new(), Vec::new());
    let mut columns: [Vec<f64>; 5] = Default::default();
    for k in 0..joint.sources.len() {
        for order in &joint.orders {
            let Some(trace) = order.traces.get(k) else { continue };
            let fwhm = order.extracted.as_ref().and_then(|found| found.fwhm.get(k)).copied().unwrap_or(f64::NAN);
            for row in (0..order.strip.shape().0).step_by(TRACE_STEP) {
                let Some(across) = order.across(row, |wavelength| trace.at(wavelength)) else { continue };
                let column = (0..order.strip.shape().1).min_by(|a, b| {
                    let off = |c: usize| (order.strip.columns[row] + c) as f64 * order.strip.binning[1] as f64 - across;
                    off(*a).abs().total_cmp(&off(*b).abs())
                });
                let wavelength = column.map_or(f64::NAN, |c| order.strip.wavelength[(row, c)]);
                source.push(k as i64 + 1);
                number.push(i64::from(order.strip.order));
                let values = [order.strip.place(row as f64), across, wavelength, trace.at(wavelength), fwhm];
                columns.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
            }
        }
    }
    let [along, across, wavelength, slit, fwhm] = columns;
    let names = if arm == Arm::Nir { ["x", "y"] } else { ["y", "x"] };
    let table = Table::new(
        "OBJECT_TAB",
        vec![
            Column::integer("source", source),
            Column::integer("order", number),
            Column::real(names[0], "pixel", along),
            Column::real(names[1], "pixel", across),
            Column::real("wavelength", "nm", wavelength),
            Column::real("slit_position", "arcsec", slit),
            Column::real("fwhm", "arcsec", fwhm),
        ],
    )?;
    Ok(ProductTable::new("OBJECT_TAB", TECH, "_OBJTRACE", vec![table], n))
}
