//! From extracted orders to the products of a spectrum: what all recipes of the sky share after the extraction.
//!
//! What lives here: what an extraction hands over ([`Extracted`]) and [`finish`], which makes of it the tables of orders, of
//! the merged and of the calibrated spectrum, the rectified 2D spectrum, the response of a standard, and the QC of all
//! that. What never lives here: pixels of raw frames, sky models, traces.

pub mod calibration;
pub mod metrics;
mod parameters;
pub mod plane;
pub mod response;
pub mod tables;
#[cfg(test)]
mod tests;

pub use parameters::SpectraParameters;

use super::contract::{MasterTable, ProductTable, RecipeError, RecipeOutput, SourceSpectrum, WavelengthErrors};
use super::pages;
use super::tables::TableError;
use crate::instrument::{Arm, FrameMeta, SpectralFormat};
use crate::numerics::linear::fit_line;
use crate::numerics::robust::median_f64;
use crate::reduction::spectrum::density::OrderDensity;
use crate::reduction::spectrum::merge::merge_orders;
use crate::reduction::spectrum::merged::FluxUnit;
use crate::reduction::spectrum::order::OrderSpectrum;
use crate::reduction::spectrum::rectified::OrderLight;
use crate::reduction::spectrum::slit;

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
    /// Gaussian sigma by which optics and pixels widen it, arcsec; `None` when it is not known.
    pub blur: Option<f64>,
}

impl SourceOrder {
    /// Middle wavelength (nm) and FWHM of the source where the slit is, before optics and pixels widened it, arcsec.
    fn seeing(&self) -> Option<(f64, f64)> {
        let fwhm = self.fwhm.filter(|fwhm| *fwhm > 0.0)?;
        let blur = SIGMA_TO_FWHM * self.blur.unwrap_or(0.0);
        // a source narrower than the blur has a width that is not known, but not none
        let seeing = (fwhm * fwhm - blur * blur).max(0.09 * fwhm * fwhm).sqrt();
        let middle = self.spectrum.wavelength.get(self.spectrum.len() / 2)?;
        Some((*middle, seeing))
    }
}

/// FWHM of a Gaussian of unit sigma.
const SIGMA_TO_FWHM: f64 = 2.354_820_045;
/// Power of the wavelength with which seeing changes in undisturbed turbulence.
const KOLMOGOROV: f64 = -0.2;
/// Powers that are believed when they are measured.
const POWERS: [f64; 2] = [-0.5, 0.3];
/// Orders from which a power is measured, and the ratio of their wavelengths.
const ORDERS: usize = 4;
const SPAN: f64 = 1.5;

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
    /// Descriptions of the frames.
    pub frames: Vec<FrameMeta>,
    /// Sources, the target first.
    pub sources: Vec<Source>,
    /// Pixels of the orders with the sky taken off, for the spectrum in two dimensions.
    pub light: Vec<OrderLight>,
    /// How well wavelengths are known.
    pub wavelengths: WavelengthScale,
}

/// How well the wavelengths of an exposure are known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct WavelengthScale {
    /// Median standard error of the map of wavelengths, nm; `None` when it has none.
    pub map: Option<f64>,
    /// Standard error of its correction by the lines of the sky, samples; `None` when it was not corrected.
    pub sky: Option<f64>,
}

/// Make the products of extracted spectra.
///
/// Tables: for every source the orders and the merged spectrum in electrons, and the calibrated spectrum when a response
/// serves; for a standard its response and efficiency. Images: the rectified spectrum. Metrics are those of the target;
/// categories of further sources end in their number, so that nobody takes one for the target.
/// `recipe` is named in errors. `calibrations` are the tables among the inputs, of which `RESP_TAB`s are used. What cannot be
/// made is left out with a remark that says why.
pub fn finish(
    recipe: &'static str,
    extracted: &Extracted,
    calibrations: &[MasterTable],
    parameters: &SpectraParameters,
) -> Result<RecipeOutput, RecipeError> {
    let wrong = |error: TableError| RecipeError::Unprocessable { recipe, reason: error.to_string() };
    let exposed = &extracted.exposed;
    let mut output = RecipeOutput::default();
    let densities: Vec<Vec<OrderDensity>> =
        extracted.sources.iter().map(|source| source.densities(exposed, parameters)).collect();
    let target = extracted.sources.first().zip(densities.first());
    let calibration = calibration::choose(exposed, target, calibrations, parameters, &mut output.remarks);
    for (number, (source, densities)) in extracted.sources.iter().zip(&densities).enumerate() {
        let product = |catg: &str, table| {
            let catg = if number == 0 { catg.to_string() } else { format!("{catg}_S{}", number + 1) };
            ProductTable::new(&catg, &exposed.tech, &format!("_{catg}"), vec![table], exposed.n_combined)
        };
        let wavelengths = source.wavelength_errors(extracted.wavelengths);
        output.tables.push(product("EXTRACTED_ORDERS", tables::orders(source, exposed.arm).map_err(wrong)?));
        let step = parameters.step(exposed.arm);
        let Some(counts) = merge_orders(densities, step, FluxUnit::ElectronsPerSecondNm) else {
            output.remarks.push(format!("source {}: no order has a good sample, nothing was merged", number + 1));
            continue;
        };
        output.tables.push(product("EXTRACTED_MERGED", tables::counts(&counts, exposed.exptime).map_err(wrong)?));
        let calibrated = calibration.as_ref().and_then(|calibration| calibration.apply(densities, step));
        if let (Some(merged), Some(calibration)) = (&calibrated, &calibration) {
            let transmitted = source.transmitted(exposed, &merged.wavelength);
            let mut table = product("FLUXCAL", tables::calibrated(merged, Some(&transmitted)).map_err(wrong)?);
            table.cards = calibration.cards(merged);
            if !merged.joins.is_empty() {
                table.tables.push(tables::joins(&merged.joins).map_err(wrong)?);
            }
            table.tables.push(tables::summary(source.slit, wavelengths).map_err(wrong)?);
            output.tables.push(table);
        }
        if number == 0 {
            output.qc.extend(metrics::of_target(exposed, source, densities, calibrated.as_ref().unwrap_or(&counts)));
        }
        let merged = calibrated.unwrap_or(counts);
        let spectrum = SourceSpectrum { number: number + 1, slit: source.slit, merged, wavelengths };
        output.pages.push(pages::spectrum::page(&extracted.frames.iter().collect::<Vec<_>>(), &spectrum));
        output.spectra.push(spectrum);
    }
    if let (Some(calibration), Some((source, _))) = (calibration.as_ref().filter(|found| found.own), target) {
        let tables = response::write(&calibration.response).map_err(wrong)?;
        output.tables.push(ProductTable::new("RESP_TAB", &exposed.tech, "_RESP", tables, exposed.n_combined));
        let (table, qc) = calibration::efficiency(exposed, source, parameters).map_err(wrong)?;
        output.tables.push(ProductTable::new("EFFICIENCY_TAB", &exposed.tech, "_EFFICIENCY", vec![table], 1));
        output.qc.extend(qc);
        output.qc.extend(metrics::of_response(&calibration.response));
    }
    if let Some((source, _)) = target {
        output.products.extend(plane::rectified(exposed, &extracted.light, source, calibration.as_ref(), parameters));
    }
    Ok(output)
}

impl Source {
    /// Its orders as electrons per second and nm over the lamp's light.
    fn densities(&self, exposed: &Exposed, parameters: &SpectraParameters) -> Vec<OrderDensity> {
        let density = |order: &SourceOrder| {
            let name = SpectralFormat::of(exposed.arm).name_of(order.spectrum.order);
            OrderDensity::new(&order.spectrum, &name, exposed.exptime, parameters.least_blaze)
        };
        self.orders.iter().map(density).collect()
    }

    /// How well its wavelengths are known: what is known in samples, in nm at the median sample.
    fn wavelength_errors(&self, scale: WavelengthScale) -> Option<WavelengthErrors> {
        let mut widths: Vec<f64> = self.orders.iter().flat_map(|order| order.spectrum.width.iter().copied()).collect();
        widths.retain(|width| width.is_finite());
        let width = median_f64(&mut widths)?;
        Some(WavelengthErrors { random: scale.map?, systematic: scale.sky.map(|samples| samples * width) })
    }

    /// FWHM of the source on the slit at a wavelength (nm), as a law of it: from the orders in which it was measured, or from
    /// the seeing of the headers.
    fn seeing(&self, exposed: &Exposed) -> Option<impl Fn(f64) -> f64 + use<>> {
        let measured: Vec<(f64, f64)> = self.orders.iter().filter_map(SourceOrder::seeing).collect();
        let wavelengths = measured.iter().map(|(wavelength, _)| *wavelength);
        let (least, most) = wavelengths.fold((f64::INFINITY, 0.0), |(a, b), w| (w.min(a), w.max(b)));
        let line = fit_line(measured.iter().map(|(w, fwhm)| (w.ln(), fwhm.ln())));
        let line = line.filter(|_| measured.len() >= ORDERS && most > SPAN * least);
        let (power, pivot, fwhm) = match line {
            Some(line) => (line.slope.clamp(POWERS[0], POWERS[1]), line.pivot.exp(), line.centre.exp()),
            None => {
                let middle = median_f64(&mut measured.iter().map(|(wavelength, _)| *wavelength).collect::<Vec<_>>());
                let fwhm = median_f64(&mut measured.iter().map(|(_, fwhm)| *fwhm).collect::<Vec<_>>());
                let fwhm = fwhm.or(exposed.seeing).filter(|fwhm| *fwhm > 0.0)?;
                (KOLMOGOROV, middle.unwrap_or(HEADER_WAVELENGTH), fwhm)
            }
        };
        Some(move |wavelength: f64| fwhm * (wavelength / pivot).powf(power))
    }

    /// Part of its light that the slit let through at each wavelength (nm); NaN when slit or seeing are not known.
    fn transmitted(&self, exposed: &Exposed, wavelength: &[f64]) -> Vec<f64> {
        match exposed.slit_width().zip(self.seeing(exposed)) {
            Some((width, seeing)) => wavelength.iter().map(|w| slit::transmitted(seeing(*w), width)).collect(),
            None => vec![f64::NAN; wavelength.len()],
        }
    }
}

/// Wavelength of the seeing that headers give, nm.
const HEADER_WAVELENGTH: f64 = 500.0;
