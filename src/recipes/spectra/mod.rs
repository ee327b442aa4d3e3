//! From extracted orders to the products of a spectrum: what all recipes of the sky share after the extraction.
//!
//! What lives here: what an extraction hands over ([`Extracted`]) and [`finish`], which makes of it the tables of orders, of
//! the merged and of the calibrated spectrum, the rectified 2D spectrum, the response of a standard, and the QC of all
//! that. What never lives here: pixels of raw frames, sky models, traces.

pub mod tables;

use serde::Deserialize;

use super::contract::{MasterTable, ProductTable, RecipeError, RecipeOutput};
use super::parameters::{check_ranges, typed};
use super::tables::TableError;
use crate::instrument::{Arm, FrameMeta, SpectralFormat};
use crate::quality::QcMetric;
use crate::reduction::spectrum::density::OrderDensity;
use crate::reduction::spectrum::merge::merge_orders;
use crate::reduction::spectrum::merged::{FluxUnit, MergedSpectrum};
use crate::reduction::spectrum::order::OrderSpectrum;

/// What was exposed, as far as the calibration of its spectra needs it.
#[derive(Clone, Debug, PartialEq)]
pub struct Exposed {
    /// Arm.
    pub arm: Arm,
    /// Technique, the PRO TECH of the products: `ECHELLE,SLIT,STARE`.
    pub tech: String,
    /// Exposure time in which the electrons of the spectra were collected, s.
    pub exptime: f64,
    /// Mean airmass over all exposures; `None` when no header says it.
    pub airmass: Option<f64>,
    /// Name of the slit: `SLIT1.0`.
    pub slit: String,
    /// Unbinned pixels per row and per column.
    pub binning: [usize; 2],
    /// `OBJECT`.
    pub object: String,
    /// `ESO OBS TARG NAME`.
    pub target: String,
    /// Right ascension and declination, degrees.
    pub position: Option<[f64; 2]>,
    /// Start of the first exposure, modified Julian date.
    pub mjd: f64,
    /// FWHM of the seeing from the headers, arcsec.
    pub seeing: Option<f64>,
    /// Raw frames that were combined.
    pub n_combined: usize,
    /// Whether this is a flux standard, from which a response is made.
    pub standard: bool,
}

impl Exposed {
    /// From the frames that went in; `exptime` is the time in which the electrons of a spectrum were collected. `None`
    /// without frames.
    pub fn of(frames: &[FrameMeta], exptime: f64, standard: bool) -> Option<Exposed> {
        let first = frames.first()?;
        let mean = |of: &dyn Fn(&FrameMeta) -> Option<f64>| -> Option<f64> {
            let known: Vec<f64> = frames.iter().filter_map(of).collect();
            (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
        };
        Some(Exposed {
            arm: first.arm,
            tech: first.dpr_tech.clone(),
            exptime,
            airmass: mean(&|frame| frame.on_sky.airmass.map(|[start, end]| 0.5 * (start + end))),
            slit: first.slit.clone().unwrap_or_default(),
            binning: first.binning.map_or([1, 1], |binning| [binning.x, binning.y]),
            object: first.object.clone(),
            target: first.on_sky.target.clone(),
            position: first.on_sky.position,
            mjd: frames.iter().map(|frame| frame.mjd_obs).fold(f64::INFINITY, f64::min),
            seeing: mean(&|frame| frame.on_sky.seeing),
            n_combined: frames.len(),
            standard,
        })
    }

    /// Width of the slit, arcsec, from its name.
    pub fn slit_width(&self) -> Option<f64> {
        slit_width(&self.slit)
    }
}

/// Width of a slit from its name: 1.5 arcsec for `SLIT1.5`.
pub fn slit_width(name: &str) -> Option<f64> {
    let digits = name.trim().strip_prefix("SLIT")?;
    let end = digits.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(digits.len());
    digits[..end].parse().ok().filter(|width: &f64| *width > 0.0)
}

/// One order of a source.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceOrder {
    /// Its spectrum.
    pub spectrum: OrderSpectrum,
    /// Place of the trace across the dispersion for every sample, unbinned pixels of the trimmed detector; empty when unknown.
    pub across: Vec<f64>,
    /// FWHM of the source along the slit, arcsec; `None` when it was too faint to tell.
    pub fwhm: Option<f64>,
}

/// One source on the slit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Source {
    /// Slit position, arcsec.
    pub slit: f64,
    /// Its orders.
    pub orders: Vec<SourceOrder>,
}

/// What an extraction hands over.
#[derive(Clone, Debug, PartialEq)]
pub struct Extracted {
    /// What was exposed.
    pub exposed: Exposed,
    /// Sources, the target first.
    pub sources: Vec<Source>,
}

/// Parameters; meanings, units and ranges in `config/recipes.toml`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpectraParameters {
    /// Width of the bins of a merged VIS spectrum, km/s.
    pub vis_step: f64,
    /// Width of the bins of a merged NIR spectrum, and of both arms, km/s.
    pub nir_step: f64,
    /// Least light of the lamp, relative to its maximum in the order, for a sample to be used.
    pub least_blaze: f64,
}

impl SpectraParameters {
    /// From the section `spectra` of the parameters, every value checked.
    pub fn read(overrides: &toml::Table) -> Result<SpectraParameters, RecipeError> {
        let p: SpectraParameters = typed("spectra", overrides)?;
        check_ranges(
            "spectra",
            &[
                ("vis_step", p.vis_step, 5.0..=200.0),
                ("nir_step", p.nir_step, 5.0..=200.0),
                ("least_blaze", p.least_blaze, 0.001..=0.5),
            ],
        )?;
        Ok(p)
    }

    /// Width of the bins of an arm, km/s.
    pub fn step(&self, arm: Arm) -> f64 {
        if arm == Arm::Nir { self.nir_step } else { self.vis_step }
    }
}

/// Make the products of extracted spectra: tables of orders and of the merged spectrum for every source, their QC.
/// `recipe` is named in errors. `responses` are the `RESP_TAB`s among the inputs; other tables are ignored.
pub fn finish(
    recipe: &'static str,
    extracted: &Extracted,
    responses: &[MasterTable],
    parameters: &SpectraParameters,
) -> Result<RecipeOutput, RecipeError> {
    let wrong = |error: TableError| RecipeError::Unprocessable { recipe, reason: error.to_string() };
    let _ = responses;
    let exposed = &extracted.exposed;
    let mut output = RecipeOutput::default();
    for (number, source) in extracted.sources.iter().enumerate() {
        let suffix = |name: &str| if number == 0 { format!("_{name}") } else { format!("_{name}_S{}", number + 1) };
        let product =
            |catg: &str, table| ProductTable::new(catg, &exposed.tech, &suffix(catg), vec![table], exposed.n_combined);
        let densities: Vec<OrderDensity> = source
            .orders
            .iter()
            .map(|order| {
                let name = order_name(exposed.arm, order.spectrum.order);
                OrderDensity::new(&order.spectrum, &name, exposed.exptime, parameters.least_blaze)
            })
            .collect();
        output.tables.push(product("EXTRACTED_ORDERS", tables::orders(source, exposed.arm).map_err(wrong)?));
        let unit = FluxUnit::ElectronsPerSecondNm;
        let Some(merged) = merge_orders(&densities, parameters.step(exposed.arm), unit) else {
            output.remarks.push("no order has a good sample: nothing was merged".to_string());
            continue;
        };
        output.tables.push(product("EXTRACTED_MERGED", tables::counts(&merged, exposed.exptime).map_err(wrong)?));
        if number == 0 {
            output.qc.extend(signal_to_noise(&merged));
        }
        output.spectra.push(merged);
    }
    Ok(output)
}

fn signal_to_noise(merged: &MergedSpectrum) -> Option<QcMetric> {
    Some(QcMetric::measured("SNR MEDIAN", merged.signal_to_noise()?, "", "median signal to noise of a sample"))
}

/// Name of an order: a letter in VIS, the number in NIR.
pub fn order_name(arm: Arm, order: u8) -> String {
    match arm {
        Arm::Vis | Arm::Nir => SpectralFormat::of(arm).order(order).map(|found| found.name().to_string()),
        Arm::Acq => None,
    }
    .unwrap_or_else(|| order.to_string())
}
