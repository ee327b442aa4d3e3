//! The spectrum in the layout of the instrument's data paper: one table a quantity, one row a sample. For astronomers;
//! it makes no Phase 3 claim and is not offered to the archive as science.
//!
//! The table of the spectrum corrected for the atmosphere (`TELLCORR`) is absent as long as nothing is corrected.

use std::path::Path;

use super::context::Context;
use super::error::Phase3Error;
use super::general::{general_header, write};
use crate::fits::{ColumnData, ColumnValues, Header, ImageHdu, PlaneData};
use crate::reduction::flags;
use crate::reduction::spectrum::merged::{FluxUnit, MergedSpectrum};

/// Covariances with so many neighbours are written.
const NEIGHBOURS: usize = 3;

/// Write the tables of a merged spectrum to a new file: `FLUXCAL` (`FLUX` when it is not calibrated), `VARIANCE`, and `SKY`
/// where it is known.
pub fn write_paper(
    path: &Path,
    name: &str,
    spectrum: &MergedSpectrum,
    context: &Context<'_>,
) -> Result<(), Phase3Error> {
    let observation = context.observation()?;
    let mut primary = general_header(&observation, context, "", "SCI_SLIT_FLUX_SPEC");
    primary.remove("PRODCATG");
    let unit = spectrum.unit.fits();
    let squared = format!("({unit})2");
    let quality: Vec<i64> = spectrum.quality.iter().map(|bits| i64::from(*bits)).collect();
    let variance: Vec<f64> = spectrum.error.iter().map(|error| error * error).collect();
    let systematic: Vec<f64> = spectrum.systematic.iter().map(|error| error * error).collect();
    let wave = || real("WAVE", "nm", &spectrum.wavelength);
    let flux = vec![
        wave(),
        real("FLUX", unit, &spectrum.flux),
        real("ERR", unit, &spectrum.error),
        ColumnData { name: "QUAL", unit: "", values: ColumnValues::I64(&quality) },
    ];
    let names: Vec<String> = (1..=NEIGHBOURS).map(|distance| format!("COV{distance}")).collect();
    let mut variances = vec![wave(), real("VARIANCE", &squared, &variance), real("SYSTEMATIC", &squared, &systematic)];
    let neighbours = spectrum.covariance.diagonals().iter().skip(1).zip(&names);
    variances.extend(neighbours.map(|(covariance, name)| real(name, &squared, covariance)));
    let sky = vec![wave(), real("SKY", unit, &spectrum.sky)];
    let calibrated = spectrum.unit == FluxUnit::FluxDensity;
    let mut meanings = Header::new();
    for (bit, meaning) in flags::NAMES {
        meanings.set(&format!("FLAG{bit}"), meaning, "meaning of this bit of QUAL");
    }
    let mut hdus = vec![
        ImageHdu { extname: None, header: primary, plane: PlaneData::Empty },
        table(if calibrated { "FLUXCAL" } else { "FLUX" }, meanings, &flux),
        table("VARIANCE", Header::new(), &variances),
    ];
    if spectrum.sky.iter().any(|sky| sky.is_finite()) {
        hdus.push(table("SKY", Header::new(), &sky));
    }
    write(path, name, &hdus)
}

fn real<'a>(name: &'a str, unit: &'a str, values: &'a [f64]) -> ColumnData<'a> {
    ColumnData { name, unit, values: ColumnValues::F64(values) }
}

fn table<'a>(name: &str, header: Header, columns: &'a [ColumnData<'a>]) -> ImageHdu<'a> {
    ImageHdu { extname: Some(name.to_string()), header, plane: PlaneData::Table(columns) }
}
