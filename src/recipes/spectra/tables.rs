//! The tables of spectra, in columns that users of the reference pipeline know, and ours.

use super::Source;
use crate::instrument::Arm;
use crate::numerics::robust::median_f64;
use crate::recipes::contract::{SourceSpectrum, WavelengthErrors};
use crate::recipes::tables::{Column, Table, TableError};
use crate::reduction::spectrum::covariance::BandedCovariance;
use crate::reduction::spectrum::merged::{FluxUnit, Join, MergedSpectrum};
use crate::reduction::spectrum::order::OrderSpectrum;

/// Name of the extension with the orders.
const ORDERS: &str = "EXTRACTED_ORDERS";
/// Name of the extension with the merged spectrum in electrons.
const MERGED: &str = "EXTRACTED_MERGED";
/// Name of the extension with the calibrated spectrum.
const CALIBRATED: &str = "FLUXCAL";
/// Name of the extension with the overlaps.
const JOINS: &str = "JOINS";
/// Name of the extension with what holds for the spectrum as a whole.
const SUMMARY: &str = "SUMMARY";
/// Diagonals of the covariance that are written.
const DIAGONALS: usize = 3;

/// Spectra of all orders on the detector's sampling. Places are unbinned pixels of the trimmed detector; fluxes are
/// electrons in a sample of a pixel of response 1; their variances hold the error `blazeError` of that response, which is
/// common to neighbours and cancels in spectra over the blaze. `extractedFluxBoxcar` is corrected for bad pixels, so `extractedFluxBoxcarRobust` is the same.
pub fn orders(source: &Source, arm: Arm) -> Result<Table, TableError> {
    let along = if arm == Arm::Nir { "xcoord" } else { "ycoord" };
    let across = if arm == Arm::Nir { "ycoord_centre" } else { "xcoord_centre" };
    let gather = |of: &dyn Fn(&super::SourceOrder) -> Vec<f64>| -> Vec<f64> {
        source.orders.iter().flat_map(|order| padded(of(order), order.spectrum.len())).collect()
    };
    let ratio = |up: &[f64], variance: &[f64]| -> Vec<f64> {
        up.iter().zip(variance).map(|(f, v)| if *v > 0.0 { f / v.sqrt() } else { f64::NAN }).collect()
    };
    let each = |of: &dyn Fn(&super::SourceOrder) -> i64| -> Vec<i64> {
        source.orders.iter().flat_map(|order| std::iter::repeat_n(of(order), order.spectrum.len())).collect()
    };
    let flags = source
        .orders
        .iter()
        .flat_map(|order| (0..order.spectrum.len()).map(|k| order.spectrum.flags.get(k).copied().map_or(1, i64::from)))
        .collect();
    let boxcar = gather(&|order| order.spectrum.boxcar.clone());
    let variance = gather(&|order| counted(&order.spectrum, &order.spectrum.flux, &order.spectrum.variance));
    let boxcar_variance =
        gather(&|order| counted(&order.spectrum, &order.spectrum.boxcar, &order.spectrum.boxcar_variance));
    let signal = ratio(&gather(&|order| order.spectrum.flux.clone()), &variance);
    Table::new(
        ORDERS,
        vec![
            Column::integer("order", each(&|order| i64::from(order.spectrum.order))),
            Column::real(across, "pixel", gather(&|order| order.across.clone())),
            Column::real(along, "pixel", gather(&|order| order.spectrum.place.clone())),
            Column::real("wavelengthMean", "nm", gather(&|order| order.spectrum.wavelength.clone())),
            Column::real("pixelScaleNm", "nm", gather(&|order| order.spectrum.width.clone())),
            Column::real("varianceSpectrum", "electron2", variance),
            Column::real("snr", "", signal),
            Column::real("extractedFluxOptimal", "electron", gather(&|order| order.spectrum.flux.clone())),
            Column::real("extractedFluxBoxcar", "electron", boxcar.clone()),
            Column::real("extractedFluxBoxcarRobust", "electron", boxcar),
            Column::real("varianceBoxcar", "electron2", boxcar_variance),
            Column::real("skyFlux", "electron", gather(&|order| order.spectrum.sky.clone())),
            Column::real("blaze", "", gather(&|order| order.spectrum.blaze.clone())),
            Column::real("blazeError", "", gather(&|order| order.spectrum.blaze_error.clone())),
            Column::integer("flags", flags),
        ],
    )
}

/// Variance of a number of electrons: with the error of the response, by which the frame was divided, on the scales on which
/// it could not be told from the light of the lamp. Where that is not known, the variance is as it is.
fn counted(spectrum: &OrderSpectrum, flux: &[f64], variance: &[f64]) -> Vec<f64> {
    let error = |k: usize| spectrum.blaze_error.get(k).copied().filter(|error| error.is_finite()).unwrap_or(0.0);
    flux.iter().zip(variance).enumerate().map(|(k, (f, v))| v + (f * error(k)).powi(2)).collect()
}

fn padded(mut values: Vec<f64>, n: usize) -> Vec<f64> {
    values.resize(n, f64::NAN);
    values
}

/// The merged spectrum in electrons: `FLUX_COUNTS`, its variance and the sky are those of a bin over the whole exposure.
pub fn counts(merged: &MergedSpectrum, exptime: f64) -> Result<Table, TableError> {
    let width = |k: usize| merged.edges[k + 1] - merged.edges[k];
    let per_bin = |values: &[f64]| -> Vec<f64> {
        values.iter().enumerate().map(|(k, value)| value * width(k) * exptime).collect()
    };
    let errors = per_bin(&merged.error);
    let per_nm = |values: &[f64]| -> Vec<f64> { values.iter().map(|value| value * exptime).collect() };
    let mut columns = vec![
        Column::real("WAVE", "nm", merged.wavelength.clone()),
        Column::real("FLUX_COUNTS", "electron", per_bin(&merged.flux)),
        Column::real("VARIANCE", "electron2", errors.iter().map(|error| error * error).collect()),
        Column::real("SKY_COUNTS", "electron", per_bin(&merged.sky)),
        Column::real("SNR", "", signal(merged)),
        Column::real("FLUX_DENSITY_COUNTS", "electron nm-1", per_nm(&merged.flux)),
        Column::real("ERR", "electron", errors),
        Column::real("BIN_WIDTH", "nm", (0..merged.len()).map(width).collect()),
    ];
    columns.push(quality(merged));
    columns.extend(correlations(&merged.covariance));
    Table::new(MERGED, columns)
}

/// The calibrated spectrum. `transmitted` is the part of the light that the slit let through, by which the flux was not
/// divided; there is no such column for a spectrum of both arms, whose slits differ.
pub fn calibrated(merged: &MergedSpectrum, transmitted: Option<&[f64]>) -> Result<Table, TableError> {
    let unit = FluxUnit::FluxDensity.fits();
    let mut columns = vec![
        Column::real("WAVE", "nm", merged.wavelength.clone()),
        Column::real("FLUX", unit, merged.flux.clone()),
        Column::real("ERR", unit, merged.error.clone()),
        quality(merged),
        Column::real("SKY", unit, merged.sky.clone()),
        Column::real("ERR_CAL", unit, merged.systematic.clone()),
        Column::real("SNR", "", signal(merged)),
        Column::real("EXPOSURE", "s", merged.exposure.clone()),
        Column::real("WAVE_LOW", "nm", merged.edges.iter().take(merged.len()).copied().collect()),
        Column::real("WAVE_HIGH", "nm", merged.edges.iter().skip(1).copied().collect()),
    ];
    columns.extend(transmitted.map(|part| Column::real("SLIT_TRANS", "", part.to_vec())));
    columns.extend(correlations(&merged.covariance));
    Table::new(CALIBRATED, columns)
}

/// How orders, or arms, agree where both see the light.
pub fn joins(joins: &[Join]) -> Result<Table, TableError> {
    let real = |of: &dyn Fn(&Join) -> f64| -> Vec<f64> { joins.iter().map(of).collect() };
    let pair = |join: &Join, part: usize| join.ratio.map_or(f64::NAN, |ratio| ratio[part]);
    Table::new(
        JOINS,
        vec![
            Column::text("BLUER", joins.iter().map(|join| join.names[0].clone()).collect()),
            Column::text("REDDER", joins.iter().map(|join| join.names[1].clone()).collect()),
            Column::real("WAVE_LOW", "nm", real(&|join| join.range[0])),
            Column::real("WAVE_HIGH", "nm", real(&|join| join.range[1])),
            Column::real("RATIO", "", real(&|join| pair(join, 0))),
            Column::real("RATIO_ERR", "", real(&|join| pair(join, 1))),
            Column::real("SCATTER", "", real(&|join| join.scatter.unwrap_or(f64::NAN))),
            Column::real("APPLIED", "", real(&|join| join.applied)),
            Column::integer("CONTRADICTIONS", joins.iter().map(|join| join.contradictions as i64).collect()),
        ],
    )
}

/// Inverse of [`joins`].
fn read_joins(table: &Table) -> Result<Vec<Join>, TableError> {
    let [bluer, redder] = [table.text("BLUER")?, table.text("REDDER")?];
    let [low, high, ratio, error] = ["WAVE_LOW", "WAVE_HIGH", "RATIO", "RATIO_ERR"].map(|name| table.real(name));
    let (low, high, ratio, error) = (low?, high?, ratio?, error?);
    let (scatter, applied) = (table.real("SCATTER")?, table.real("APPLIED")?);
    let contradictions = table.integer("CONTRADICTIONS")?;
    // columns of one table have one length
    Ok((0..bluer.len())
        .map(|k| Join {
            names: [bluer[k].clone(), redder[k].clone()],
            range: [low[k], high[k]],
            ratio: Some([ratio[k], error[k]]).filter(|[ratio, error]| ratio.is_finite() && error.is_finite()),
            scatter: Some(scatter[k]).filter(|scatter| scatter.is_finite()),
            applied: applied[k],
            contradictions: usize::try_from(contradictions[k]).unwrap_or(0),
        })
        .collect())
}

/// What holds for a spectrum as a whole: its place on the slit and how well its wavelengths are known; NaN what is not known.
pub fn summary(slit: f64, wavelengths: Option<WavelengthErrors>) -> Result<Table, TableError> {
    let systematic = wavelengths.and_then(|errors| errors.systematic);
    Table::new(
        SUMMARY,
        vec![
            Column::real("SLIT", "arcsec", vec![slit]),
            Column::real("WAVE_ERR", "nm", vec![wavelengths.map_or(f64::NAN, |errors| errors.random)]),
            Column::real("WAVE_SYE", "nm", vec![systematic.unwrap_or(f64::NAN)]),
        ],
    )
}

/// The calibrated spectrum of a target from the tables of its product.
pub fn read_source(tables: &[Table]) -> Result<SourceSpectrum, TableError> {
    let named = |name: &str| tables.iter().find(|table| table.name == name);
    let lacks = |name: &str| TableError::Missing { table: name.to_string(), column: "WAVE".to_string() };
    let mut merged = read_calibrated(named(CALIBRATED).ok_or_else(|| lacks(CALIBRATED))?)?;
    // one order alone has no joins
    merged.joins = named(JOINS).map_or(Ok(Vec::new()), read_joins)?;
    let summary = named(SUMMARY).ok_or_else(|| lacks(SUMMARY))?;
    let first = |name: &str| summary.real(name).map(|values| values.first().copied().filter(|value| value.is_finite()));
    let systematic = first("WAVE_SYE")?;
    let wavelengths = first("WAVE_ERR")?.map(|random| WavelengthErrors { random, systematic });
    Ok(SourceSpectrum { number: 1, slit: first("SLIT")?.unwrap_or(f64::NAN), merged, wavelengths })
}

fn signal(merged: &MergedSpectrum) -> Vec<f64> {
    let pairs = merged.flux.iter().zip(&merged.error);
    pairs.map(|(flux, error)| if *error > 0.0 { flux / error } else { f64::NAN }).collect()
}

fn quality(merged: &MergedSpectrum) -> Column {
    Column::integer("QUAL", merged.quality.iter().map(|bits| i64::from(*bits)).collect())
}

/// Correlation with the next samples: `CORR1` with the next, `CORR2` with the one after.
fn correlations(covariance: &BandedCovariance) -> Vec<Column> {
    (1..DIAGONALS)
        .map(|distance| {
            let correlation = |k: usize| -> f64 {
                let scale = (covariance.variance(k) * covariance.variance(k + distance)).sqrt();
                if scale > 0.0 { covariance.get(k, k + distance) / scale } else { 0.0 }
            };
            Column::real(&format!("CORR{distance}"), "", (0..covariance.len()).map(correlation).collect())
        })
        .collect()
}

/// A calibrated spectrum from its table, without its joins, which have a table of their own.
pub fn read_calibrated(table: &Table) -> Result<MergedSpectrum, TableError> {
    let column = |name: &str| table.real(name).map(<[f64]>::to_vec);
    let unit = table.column("FLUX").and_then(|column| FluxUnit::parse(&column.unit)).unwrap_or(FluxUnit::FluxDensity);
    let error = column("ERR")?;
    let n = error.len();
    let mut edges = column("WAVE_LOW")?;
    edges.extend(table.real("WAVE_HIGH")?.last());
    let mut covariance = BandedCovariance::zero(n);
    let variance = |k: usize| error.get(k).filter(|error| error.is_finite()).map_or(0.0, |error| error * error);
    (0..n).for_each(|k| covariance.add(k, 0, variance(k)));
    for distance in 1..DIAGONALS {
        for (k, correlation) in table.real(&format!("CORR{distance}"))?.iter().enumerate() {
            covariance.add(k, distance, correlation * (variance(k) * variance(k + distance)).sqrt());
        }
    }
    let mut inflation: Vec<f64> = (0..n).filter_map(|k| covariance.inflation(k)).collect();
    Ok(MergedSpectrum {
        wavelength: column("WAVE")?,
        edges,
        unit,
        flux: column("FLUX")?,
        error,
        systematic: column("ERR_CAL")?,
        quality: table.integer("QUAL")?.iter().map(|bits| i32::try_from(*bits).unwrap_or(i32::MAX)).collect(),
        sky: column("SKY")?,
        exposure: column("EXPOSURE")?,
        covariance,
        inflation: median_f64(&mut inflation).unwrap_or(1.0),
        joins: Vec::new(),
    })
}
