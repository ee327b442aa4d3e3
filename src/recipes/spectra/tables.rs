//! The tables of spectra, in columns that users of the reference pipeline know, and ours.

use super::Source;
use crate::instrument::Arm;
use crate::recipes::tables::{Column, Table, TableError};
use crate::reduction::spectrum::covariance::BandedCovariance;
use crate::reduction::spectrum::merged::{FluxUnit, MergedSpectrum};

/// Name of the extension with the orders.
const ORDERS: &str = "EXTRACTED_ORDERS";
/// Name of the extension with the merged spectrum in electrons.
const MERGED: &str = "EXTRACTED_MERGED";
/// Name of the extension with the calibrated spectrum.
const CALIBRATED: &str = "FLUXCAL";
/// Diagonals of the covariance that are written.
const DIAGONALS: usize = 3;

/// Spectra of all orders on the detector's sampling. Places are unbinned pixels of the trimmed detector; fluxes are
/// electrons in a sample. `extractedFluxBoxcar` is corrected for bad pixels, so `extractedFluxBoxcarRobust` is the same.
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
    Table::new(
        ORDERS,
        vec![
            Column::integer("order", each(&|order| i64::from(order.spectrum.order))),
            Column::real(across, "pixel", gather(&|order| order.across.clone())),
            Column::real(along, "pixel", gather(&|order| order.spectrum.place.clone())),
            Column::real("wavelengthMean", "nm", gather(&|order| order.spectrum.wavelength.clone())),
            Column::real("pixelScaleNm", "nm", gather(&|order| order.spectrum.width.clone())),
            Column::real("varianceSpectrum", "electron2", gather(&|order| order.spectrum.variance.clone())),
            Column::real("snr", "", gather(&|order| ratio(&order.spectrum.flux, &order.spectrum.variance))),
            Column::real("extractedFluxOptimal", "electron", gather(&|order| order.spectrum.flux.clone())),
            Column::real("extractedFluxBoxcar", "electron", boxcar.clone()),
            Column::real("extractedFluxBoxcarRobust", "electron", boxcar),
            Column::real("varianceBoxcar", "electron2", gather(&|order| order.spectrum.boxcar_variance.clone())),
            Column::real("skyFlux", "electron", gather(&|order| order.spectrum.sky.clone())),
            Column::real("blaze", "", gather(&|order| order.spectrum.blaze.clone())),
            Column::integer("flags", flags),
        ],
    )
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

/// The calibrated spectrum.
pub fn calibrated(merged: &MergedSpectrum) -> Result<Table, TableError> {
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
    columns.extend(correlations(&merged.covariance));
    Table::new(CALIBRATED, columns)
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
