//! A source on the slit, observed without moving the telescope: sky and source from one exposure (`stare`), and the same of
//! a standard star (`stare_std`).

use ndarray::Array2;
use serde::Deserialize;

use super::contract::{ProductImage, ProductTable, Recipe, RecipeError, RecipeInput, RecipeOutput};
use super::on_sky::{self, OnSkyRules, OnSkySet, SourceParameters};
use super::parameters::{self, check_ranges, merged};
use super::spectra::{self, Exposed, Extracted, Source, SourceOrder, SpectraParameters};
use super::stare_qc;
use super::tables::{Column, Table};
use crate::instrument::{Arm, FrameMeta, airglow};
use crate::quality::QcMetric;
use crate::reduction::science::cosmic::{self, CosmicOptions};
use crate::reduction::science::exposure::Exposure;
use crate::reduction::science::joint::{self, Joint, JointOptions, JointOrder};
use crate::reduction::science::prepare;
use crate::reduction::science::sky::SkyOptions;
use crate::reduction::science::strip::{self, UNUSABLE};
use crate::reduction::spectrum::rectified::OrderLight;

/// `ESO DPR TECH` of the frames.
const TECH: &str = "ECHELLE,SLIT,STARE";

/// Parameters; meanings, units and ranges in `config/recipes.toml`.
#[derive(Clone, Debug, PartialEq)]
struct Parameters {
    source: SourceParameters,
    own: OwnParameters,
}

/// Those that only these recipes have.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnParameters {
    stack_sigma: f64,
    sky_sigma: f64,
    sky_structure: f64,
    source_error: f64,
    cosmic_sigma: f64,
    cosmic_wing: f64,
    turns: usize,
}

impl Parameters {
    fn read(recipe: &'static str, overrides: &toml::Table) -> Result<Parameters, RecipeError> {
        let mut table = merged(recipe, overrides)?;
        let source = SourceParameters::taken(recipe, &mut table)?;
        let own: OwnParameters = parameters::read(recipe, table)?;
        check_ranges(
            recipe,
            &[
                ("stack_sigma", own.stack_sigma, 3.0..=50.0),
                ("sky_sigma", own.sky_sigma, 3.0..=20.0),
                ("sky_structure", own.sky_structure, 2.0..=10.0),
                ("source_error", own.source_error, 0.0..=0.5),
                ("cosmic_sigma", own.cosmic_sigma, 3.0..=50.0),
                ("cosmic_wing", own.cosmic_wing, 1.0..=50.0),
                ("turns", own.turns as f64, 1.0..=6.0),
            ],
        )?;
        Ok(Parameters { source, own })
    }

    fn options(&self, set: &OnSkySet) -> JointOptions {
        JointOptions {
            sky: SkyOptions {
                rejection: self.own.sky_sigma,
                structure: self.own.sky_structure,
                source_error: self.own.source_error,
                ..SkyOptions::default()
            },
            cosmic: self.cosmic(),
            shift: self.source.shift(set),
            search: self.source.search(),
            extract: self.source.extract(),
            prior: set.prior(),
            turns: self.own.turns,
        }
    }

    fn cosmic(&self) -> CosmicOptions {
        CosmicOptions { threshold: self.own.cosmic_sigma, wing: self.own.cosmic_wing, ..CosmicOptions::default() }
    }
}

/// One of the two recipes.
#[derive(Clone, Copy, Debug)]
pub struct Stare {
    name: &'static str,
    standard: bool,
}

/// The recipe `stare`.
pub const STARE: Stare = Stare { name: "stare", standard: false };
/// The recipe `stare_std`.
pub const STARE_STANDARD: Stare = Stare { name: "stare_std", standard: true };

impl Recipe for Stare {
    fn name(&self) -> &'static str {
        self.name
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn check_parameters(&self, parameters: &toml::Table) -> Result<(), RecipeError> {
        Parameters::read(self.name, parameters).map(|_| ())
    }

    fn verify(&self, frames: &[FrameMeta], parameters: &toml::Table) -> Result<(), RecipeError> {
        self.check_parameters(parameters)?;
        on_sky::check(frames, OnSkyRules { recipe: self.name, tech: TECH }).map(|_| ())
    }

    fn peak_bytes(&self, frames: &[FrameMeta]) -> u64 {
        on_sky::peak_bytes(frames)
    }

    fn run(&self, input: RecipeInput, parameters: &toml::Table) -> Result<RecipeOutput, RecipeError> {
        run(self.name, self.standard, input, &Parameters::read(self.name, parameters)?)
    }
}

fn run(
    recipe: &'static str,
    standard: bool,
    mut input: RecipeInput,
    parameters: &Parameters,
) -> Result<RecipeOutput, RecipeError> {
    let mut set = on_sky::open(&mut input, OnSkyRules { recipe, tech: TECH })?;
    let wrong = |reason: String| RecipeError::Input { recipe, reason };
    let options = parameters.options(&set);
    let mut exposure = prepare::summed(&set.exposures, parameters.own.stack_sigma)
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
        let light = joint.orders.iter().map(light).collect();
        let wavelengths = set.wavelength_scale(joint.shift.as_ref());
        let extracted = Extracted { exposed, frames: set.metas.clone(), sources, light, wavelengths };
        let finished = spectra::finish(recipe, &extracted, &input.tables, &spectra)?;
        output.append(finished);
    } else {
        let text = "light optimally extracted over that of the boxcar";
        output.qc.push(QcMetric::absent("OPT BOX RATIO", "no spectrum was extracted", "", text));
    }
    Ok(output)
}

/// What was found, for people.
fn remarks(joint: &Joint) -> Vec<String> {
    let mut out = Vec::new();
    if let Some(missing) = &joint.missing {
        out.push(format!("{missing}: only the sky is given"));
    }
    out.extend(joint.sources.iter().map(on_sky::described));
    if joint.slit.is_none() {
        out.push("the sky is too faint to tell where the slit lies: the maps are taken as they are".to_string());
    }
    out.extend(on_sky::moved(joint.slit.as_ref(), joint.shift.as_ref()));
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

/// The pixels of an order without the sky, for the spectrum in two dimensions.
fn light(order: &JointOrder) -> OrderLight {
    let strip = &order.strip;
    OrderLight {
        order: strip.order,
        wavelength: strip.wavelength.clone(),
        slit: strip.slit.clone(),
        value: &strip.value - &order.sky.model.value,
        variance: noise(order),
        flags: strip.flags.mapv(|bits| bits & UNUSABLE),
    }
}

/// Variance of the pixels of an order, that of the sky taken off included.
fn noise(order: &JointOrder) -> Array2<f32> {
    Array2::from_shape_fn(order.strip.shape(), |at| {
        let light = f64::from(order.sky.model.value[at] + order.sources[at]);
        order.strip.variance(at, light) as f32 + order.sky.model.variance[at]
    })
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
        strip.paste(&noise(order), &mut variance);
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
        let blur = set.blaze.as_ref().and_then(|blaze| blaze.blur(order.strip.order));
        Some(SourceOrder { spectrum, across, fwhm, blur })
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
