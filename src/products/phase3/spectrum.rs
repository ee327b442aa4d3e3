//! The science file: one spectrum in one row of a table, with everything that ESO asks for around it.

use std::path::Path;

use super::context::{Arms, Context, Observation, median, rounded};
use super::error::Phase3Error;
use super::general::{general_header, write};
use crate::fits::{ColumnData, ColumnValues, Header, ImageHdu, PlaneData};
use crate::recipes::SourceSpectrum;
use crate::reduction::flags;
use crate::reduction::spectrum::merged::{FluxUnit, MergedSpectrum};

/// Degrees of an arcsecond.
const ARCSEC: f64 = 1.0 / 3600.0;

/// A column with its meaning in words of the Virtual Observatory.
struct Column<'a> {
    name: &'static str,
    unit: &'static str,
    utype: &'static str,
    ucd: &'static str,
    comment: &'static str,
    values: ColumnValues<'a>,
}

/// The part of a spectrum that has light, ready to be written.
struct Cells {
    wave: Vec<f64>,
    flux: Vec<f64>,
    error: Vec<f64>,
    quality: Vec<i32>,
    snr: Vec<f32>,
    sky: Vec<f64>,
    exposure: Vec<f32>,
}

/// Numbers about the spectrum as a whole.
struct Summary {
    /// Where the useful range begins and ends, nm.
    range: [f64; 2],
    /// Median step, nm.
    step: f64,
    /// Median signal to noise of a good element.
    snr: f64,
    /// Uncertainty of the flux scale, percent, in the words of FLUXERR.
    flux_error: f64,
}

/// Write the science file of a merged spectrum to a new file. `name` is its file name, for messages. Samples at both ends
/// that no order covers are left out; other bad ones stay, with their quality bits.
///
/// Fails when nothing names the target, when a header lacks what the file must say, and when no sample is good.
pub fn write_spectrum(
    path: &Path,
    name: &str,
    source: &SourceSpectrum,
    context: &Context<'_>,
) -> Result<(), Phase3Error> {
    let spectrum = &source.merged;
    let observation = context.observation()?;
    let cells = cells(spectrum)?;
    let summary = summary(spectrum, &cells)?;
    let mut primary = general_header(&observation, context, "SCIENCE.SPECTRUM", "SCI_SLIT_FLUX_IDP");
    describe_spectrum(&mut primary, source, &summary, &observation, context);
    associate(&mut primary, context);
    let columns = columns(spectrum.unit, &cells);
    let table = table_header(&observation, &summary, &cells, &columns);
    let data: Vec<ColumnData<'_>> = columns
        .iter()
        .map(|column| ColumnData { name: column.name, unit: column.unit, values: column.values })
        .collect();
    let hdus = [
        ImageHdu { extname: None, header: primary, plane: PlaneData::Empty },
        ImageHdu { extname: Some("SPECTRUM".to_string()), header: table, plane: PlaneData::Table(&data) },
    ];
    write(path, name, &hdus)
}

/// From the first sample with light to the last one.
fn cells(spectrum: &MergedSpectrum) -> Result<Cells, Phase3Error> {
    let lit = |index: &usize| spectrum.flux.get(*index).is_some_and(|flux| flux.is_finite());
    let all = 0..spectrum.len();
    let (Some(first), Some(last)) = (all.clone().find(lit), all.rev().find(lit)) else {
        return Err(Phase3Error::Spectrum { reason: "no sample of the spectrum has a flux".to_string() });
    };
    let cut = |values: &[f64]| values.get(first..=last).unwrap_or_default().to_vec();
    let finite = |values: &[f64]| -> Vec<f64> {
        cut(values).into_iter().map(|value| if value.is_finite() { value } else { f64::NAN }).collect()
    };
    let (flux, error) = (finite(&spectrum.flux), finite(&spectrum.error));
    // What has no value or no error is not good, whatever its bits say.
    let quality = (first..=last).zip(flux.iter().zip(&error)).map(|(index, (flux, error))| {
        let bits = spectrum.quality.get(index).copied().unwrap_or(flags::NO_DATA);
        if bits == 0 && !(flux.is_finite() && *error > 0.0) { flags::NO_DATA } else { bits }
    });
    let snr = flux.iter().zip(&error).map(|(flux, error)| {
        let ratio = (flux / error) as f32;
        if ratio.is_finite() { ratio } else { f32::NAN }
    });
    Ok(Cells {
        wave: cut(&spectrum.wavelength),
        quality: quality.collect(),
        snr: snr.collect(),
        sky: finite(&spectrum.sky),
        exposure: cut(&spectrum.exposure).into_iter().map(|seconds| seconds as f32).collect(),
        flux,
        error,
    })
}

fn summary(spectrum: &MergedSpectrum, cells: &Cells) -> Result<Summary, Phase3Error> {
    let good: Vec<usize> = (0..cells.wave.len()).filter(|index| cells.quality.get(*index) == Some(&0)).collect();
    let wave_at = |index: Option<&usize>| index.and_then(|index| cells.wave.get(*index)).copied();
    let (Some(min), Some(max)) = (wave_at(good.first()), wave_at(good.last())) else {
        return Err(Phase3Error::Spectrum { reason: "no sample of the spectrum is good".to_string() });
    };
    let ratios = good.iter().filter_map(|index| Some(f64::from(*cells.snr.get(*index)?)));
    let steps = cells.wave.iter().zip(cells.wave.iter().skip(1)).map(|(left, right)| right - left);
    let (Some(snr), Some(step)) = (median(ratios.collect()), median(steps.collect())) else {
        return Err(Phase3Error::Spectrum { reason: "the spectrum has less than two samples".to_string() });
    };
    let range = [rounded(min, 6), rounded(max, 6)];
    Ok(Summary { range, step: rounded(step, 9), snr: rounded(snr, 4), flux_error: flux_error(spectrum) })
}

/// FLUXERR: percent where it is known, else what the standard says for its absence.
fn flux_error(spectrum: &MergedSpectrum) -> f64 {
    if spectrum.unit != FluxUnit::FluxDensity {
        return -1.0;
    }
    let relative = (0..spectrum.len()).filter(|index| spectrum.is_good(*index)).filter_map(|index| {
        let ratio = 100.0 * spectrum.systematic.get(index)? / spectrum.flux.get(index)?.abs();
        (ratio > 0.0 && ratio.is_finite()).then_some(ratio)
    });
    match median(relative.collect()) {
        Some(percent) if percent <= 100.0 => rounded(percent, 3),
        _ => -2.0,
    }
}

/// The keywords of HDU 0 that only a spectrum has.
fn describe_spectrum(
    header: &mut Header,
    source: &SourceSpectrum,
    summary: &Summary,
    observation: &Observation,
    context: &Context<'_>,
) {
    let spectrum = &source.merged;
    let absolute = spectrum.unit == FluxUnit::FluxDensity;
    let collection = context.collection;
    let whole = absolute && collection.photometric && observation.slit >= collection.wide_slit_arcsec;
    let [min, max] = summary.range;
    header.set("FLUXCAL", if absolute { "ABSOLUTE" } else { "UNCALIBRATED" }, "flux calibration");
    header.set("SPECSYS", "TOPOCENT", "wavelengths as seen from the telescope");
    header.set("EXT_OBJ", collection.extended_object, "extended source");
    header.set("CONTNORM", false, "normalised to the continuum");
    header.set("TOT_FLUX", whole, "photometric, and no light lost at the slit");
    header.set("FLUXERR", summary.flux_error, "[%] of the flux scale; -2 unknown, -1 uncalibrated");
    header.set("WAVELMIN", min, "[nm] where the useful range begins");
    header.set("WAVELMAX", max, "[nm] where the useful range ends");
    header.set("SPEC_BIN", summary.step, "[nm] median step");
    if let Some(errors) = source.wavelengths {
        header.set("SPEC_ERR", rounded(errors.random, 9), "[nm] random error of wavelengths");
        if let Some(systematic) = errors.systematic {
            header.set("SPEC_SYE", rounded(systematic, 9), "[nm] systematic error of wavelengths");
        }
    }
    if source.slit.is_finite() {
        header.set("SLITPOS", rounded(source.slit, 3), "[arcsec] place of the source along the slit");
    }
    let half_slit = rounded(0.5 * observation.slit * ARCSEC, 10);
    header.set("RA_ERR", half_slit, "[deg] half the width of the slit");
    header.set("DEC_ERR", half_slit, "[deg] half the width of the slit");
    header.set("SNR", summary.snr, "median of an element");
    header.set("SPEC_RES", resolving_power(observation, context), "resolving power in the middle of the range");
    let disperser = match observation.arms {
        Arms::Vis => &collection.disperser.vis,
        Arms::Nir => &collection.disperser.nir,
        Arms::Joint => &collection.disperser.both,
    };
    header.set("DISPELEM", disperser.as_str(), "dispersive elements");
    header.set("PRODLVL", 2, "science grade");
    header.set("M_EPOCH", false, "of one epoch");
    header.set("SINGLEXP", observation.precursors.len() == 1, "of one exposure");
    if spectrum.inflation.is_finite() {
        let inflation = rounded(spectrum.inflation, 4);
        header.set("COVINFL", inflation, "error of a sum of elements over that by ERR alone");
    }
}

/// That of the middle of the range: design through the slit, or through the seeing where that is narrower. The middle of
/// the joined range is in the near infrared.
fn resolving_power(observation: &Observation, context: &Context<'_>) -> f64 {
    let through_one = match observation.arms {
        Arms::Vis => context.collection.resolving_power.vis,
        Arms::Nir | Arms::Joint => context.collection.resolving_power.nir,
    };
    let width = observation.seeing.map_or(observation.slit, |seeing| seeing.min(observation.slit));
    rounded(through_one / width.max(0.1), 1)
}

fn associate(header: &mut Header, context: &Context<'_>) {
    for (number, companion) in (1..).zip(context.companions) {
        header.set(&format!("ASSON{number}"), companion.name.as_str(), "associated file");
        if let Some((category, md5)) = &companion.foreign {
            header.set(&format!("ASSOC{number}"), category.as_str(), "its category");
            header.set(&format!("ASSOM{number}"), md5.as_str(), "its md5");
        }
    }
}

fn columns(unit: FluxUnit, cells: &Cells) -> Vec<Column<'_>> {
    let (unit, flux_ucd, error_ucd) = match unit {
        FluxUnit::FluxDensity => (
            "erg.s**(-1).cm**(-2).angstrom**(-1)",
            "phot.flux.density;em.wl;src.net;meta.main",
            "stat.error;phot.flux.density;em.wl;meta.main",
        ),
        FluxUnit::ElectronsPerSecondNm => (
            "electron.s**(-1).nm**(-1)",
            "phot.flux.density;em.wl;src.net;stat.uncalib;meta.main",
            "stat.error;phot.flux.density;em.wl;stat.uncalib;meta.main",
        ),
    };
    let mut columns = vec![
        Column {
            name: "WAVE",
            unit: "nm",
            utype: "spec:Data.SpectralAxis.Value",
            ucd: "em.wl;obs.atmos",
            comment: "Air wavelength",
            values: ColumnValues::CellF64(&cells.wave),
        },
        Column {
            name: "FLUX",
            unit,
            utype: "spec:Data.FluxAxis.Value",
            ucd: flux_ucd,
            comment: "Flux density, mean over the element, sky subtracted",
            values: ColumnValues::CellF64(&cells.flux),
        },
        Column {
            name: "ERR",
            unit,
            utype: "spec:Data.FluxAxis.Accuracy.StatError",
            ucd: error_ucd,
            comment: "Standard error of FLUX; for sums see COVINFL",
            values: ColumnValues::CellF64(&cells.error),
        },
        Column {
            name: "QUAL",
            unit: "",
            utype: "spec:Data.FluxAxis.Accuracy.QualityStatus",
            ucd: "meta.code.qual;meta.main",
            comment: "0 good, else bits FLAGn of this header",
            values: ColumnValues::CellI32(&cells.quality),
        },
        Column {
            name: "SNR",
            unit: "",
            utype: "eso:Data.FluxAxis.Accuracy.SNR",
            ucd: "stat.snr;meta.main",
            comment: "FLUX / ERR",
            values: ColumnValues::CellF32(&cells.snr),
        },
    ];
    if cells.sky.iter().any(|sky| sky.is_finite()) {
        columns.push(Column {
            name: "BGFLUX",
            unit,
            utype: "",
            // The standard wants that of the flux.
            ucd: flux_ucd,
            comment: "Sky in the aperture",
            values: ColumnValues::CellF64(&cells.sky),
        });
    }
    columns.push(Column {
        name: "EXPOSURE",
        unit: "s",
        utype: "",
        ucd: "time.duration;obs.exposure",
        comment: "Exposure time of the element",
        values: ColumnValues::CellF32(&cells.exposure),
    });
    columns
}

fn table_header(observation: &Observation, summary: &Summary, cells: &Cells, columns: &[Column<'_>]) -> Header {
    let mut header = Header::new();
    let [ra, dec] = observation.position;
    let [min, max] = summary.range;
    header.set("INHERIT", true, "the primary header belongs to this one");
    header.set("VOCLASS", "SPECTRUM V2.0", "data model");
    header.set("VOPUB", "ESO/SAF", "publisher");
    header.set("TITLE", observation.title(), "");
    header.set("OBJECT", observation.object.as_str(), "target");
    header.set("RA", ra, "[deg] J2000");
    header.set("DEC", dec, "[deg] J2000");
    header.set("APERTURE", rounded(observation.slit * ARCSEC, 10), "[deg] width of the slit");
    header.set("TELAPSE", observation.elapsed(), "[s] from MJD-OBS to MJD-END");
    header.set("TMID", rounded(0.5 * (observation.begin + observation.end), 8), "[d] middle of the exposures, MJD");
    header.set("SPEC_VAL", rounded(0.5 * (min + max), 6), "[nm] middle of the range");
    header.set("SPEC_BW", rounded(max - min, 6), "[nm] length of the range");
    header.set("NELEM", cells.wave.len() as i64, "elements");
    if let (Some(first), Some(last)) = (cells.wave.first(), cells.wave.last()) {
        header.set("TDMIN1", *first, "[nm] first element");
        header.set("TDMAX1", *last, "[nm] last element");
    }
    for (number, column) in (1..).zip(columns) {
        header.set(&format!("TUTYP{number}"), column.utype, "");
        header.set(&format!("TUCD{number}"), column.ucd, "");
        header.set(&format!("TCOMM{number}"), column.comment, "");
    }
    for (bit, name) in flags::NAMES {
        header.set(&format!("FLAG{bit}"), name, "meaning of this bit of QUAL");
    }
    header
}
