//! Which response serves, and what a standard says of the instrument.

use super::{Exposed, Source, SpectraParameters, response};
use crate::instrument::format::SpectralFormat;
use crate::numerics::robust::median_f64;
use crate::quality::QcMetric;
use crate::recipes::contract::{MasterTable, ProductCard};
use crate::recipes::tables::{Column, Table, TableError};
use crate::reduction::spectrum::calibrate::{calibrate, check};
use crate::reduction::spectrum::density::OrderDensity;
use crate::reduction::spectrum::merge::merge_orders;
use crate::reduction::spectrum::merged::{FluxUnit, MergedSpectrum};
use crate::reduction::spectrum::response::{Origin, Response, combine, fit};
use crate::reduction::spectrum::standards::{self, Standard};

/// A response and the airmass of the spectra that it is used for.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    /// The response.
    pub response: Response,
    /// Airmass of the spectra.
    pub airmass: f64,
    /// Whether it was made from these very spectra.
    pub own: bool,
}

/// The standard that was exposed, by its position or its name.
pub fn standard(exposed: &Exposed) -> Option<&'static Standard> {
    standards::find(exposed.position, exposed.mjd, &[&exposed.object, &exposed.target])
}

/// The calibration of these spectra: of a standard its own, else the responses among the tables that may be used, combined.
/// `None` with remarks that say why.
pub fn choose(
    exposed: &Exposed,
    target: Option<(&Source, &Vec<OrderDensity>)>,
    tables: &[MasterTable],
    parameters: &SpectraParameters,
    remarks: &mut Vec<String>,
) -> Option<Calibration> {
    if exposed.standard {
        let (source, densities) = target?;
        return match own(exposed, source, densities, parameters) {
            Ok(calibration) => Some(calibration),
            Err(reason) => {
                remarks.push(format!("no response was made: {reason}"));
                None
            }
        };
    }
    let mut usable = Vec::new();
    let mut airmass = None;
    for table in tables.iter().filter(|table| table.catg == "RESP_TAB") {
        let read = response::read(table).map_err(|error| error.to_string());
        let checked = read.and_then(|found| {
            let checked = check(&found, exposed.arm.as_str(), &parameters.response_slit, exposed.airmass);
            checked.map(|airmass| (found, airmass)).map_err(|refusal| refusal.to_string())
        });
        match checked {
            Ok((found, known)) => {
                airmass = Some(known);
                usable.push(found);
            }
            Err(reason) => remarks.push(format!("the response {} was not used: {reason}", table.name)),
        }
    }
    match combine(&usable).zip(airmass) {
        Some((response, airmass)) => Some(Calibration { response, airmass, own: false }),
        None => {
            remarks.push("no response among the calibrations serves: fluxes stay in electrons".to_string());
            None
        }
    }
}

fn own(
    exposed: &Exposed,
    source: &Source,
    densities: &[OrderDensity],
    parameters: &SpectraParameters,
) -> Result<Calibration, String> {
    let (object, target) = (&exposed.object, &exposed.target);
    let star = standard(exposed).ok_or_else(|| {
        format!(
            "neither its position nor OBJECT = {object:?} nor OBS TARG NAME = {target:?} is that of a known standard"
        )
    })?;
    let airmass = exposed.airmass.ok_or("the airmass is not known; add ESO TEL AIRM START and END to its header")?;
    let middle = densities.iter().filter_map(OrderDensity::range).map(|range| 0.5 * (range[0] + range[1]));
    let mut middles: Vec<f64> = middle.collect();
    let transmitted = median_f64(&mut middles).and_then(|w| source.transmitted(exposed, &[w]).first().copied());
    let origin = Origin {
        arm: exposed.arm.as_str().to_string(),
        slit: exposed.slit.clone(),
        binning: exposed.binning,
        exptime: exposed.exptime,
        airmass,
        seeing: exposed.seeing.unwrap_or(f64::NAN),
        mjd: exposed.mjd,
        transmitted: transmitted.unwrap_or(f64::NAN),
        ..Origin::default()
    };
    let response = fit(densities, star, origin, parameters.line_width, parameters.response_floor)
        .map_err(|error| error.to_string())?;
    Ok(Calibration { response, airmass, own: true })
}

impl Calibration {
    /// The orders of a source as one calibrated spectrum on a grid of `step` km/s; `None` when nothing is left.
    pub fn apply(&self, densities: &[OrderDensity], step: f64) -> Option<MergedSpectrum> {
        let orders: Vec<OrderDensity> =
            densities.iter().map(|order| calibrate(order, &self.response, self.airmass)).collect();
        merge_orders(&orders, step, FluxUnit::FluxDensity)
    }

    /// What the header of a calibrated spectrum says of its calibration.
    pub fn cards(&self, merged: &MergedSpectrum) -> Vec<ProductCard> {
        let origin = &self.response.origin;
        let mut cards = vec![
            ProductCard::text("FLUXCAL", "ABSOLUTE", "flux density above the atmosphere; slit loss is not corrected"),
            ProductCard::text("RESPSTAR", &origin.star, "standards of the response"),
            ProductCard::integer("RESPNSTD", origin.stars as i64, "number of standards"),
            ProductCard::text("RESPSLIT", &origin.slit, "slit of the standards"),
            ProductCard::real("RESPAIRM", origin.airmass, "airmass of the standard"),
            ProductCard::real("INFLATE", merged.inflation, "error of sums over that of independent samples"),
        ];
        if let Some(percent) = systematic(merged) {
            cards.push(ProductCard::real("FLUXERR", percent, "[%] systematic error of the flux"));
        }
        cards
    }
}

/// Median systematic error over the flux, per cent.
fn systematic(merged: &MergedSpectrum) -> Option<f64> {
    let good = (0..merged.len()).filter(|k| merged.is_good(*k) && merged.flux[*k] > 0.0);
    let mut ratios: Vec<f64> = good.map(|k| 100.0 * merged.systematic[k] / merged.flux[k]).collect();
    median_f64(&mut ratios).filter(|percent| percent.is_finite())
}

/// The efficiency of telescope and instrument that a standard shows: a table and its medians. Without the standard or the
/// airmass the metric is absent.
pub fn efficiency(
    exposed: &Exposed,
    source: &Source,
    parameters: &SpectraParameters,
) -> Result<(Table, Vec<QcMetric>), TableError> {
    use crate::reduction::spectrum::efficiency::efficiency;
    const NAME: &str = "EFF MEDIAN";
    const COMMENT: &str = "median efficiency without the air";
    let (mut orders, mut wavelengths, mut values, mut qc) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    if let Some((star, airmass)) = standard(exposed).zip(exposed.airmass) {
        for order in &source.orders {
            let found = efficiency(&order.spectrum, star, exposed.exptime, airmass, parameters.line_width);
            let mut own: Vec<f64> = found.iter().map(|(_, value)| *value).collect();
            if let Some(median) = median_f64(&mut own) {
                let order = SpectralFormat::of(exposed.arm).name_of(order.spectrum.order);
                qc.push(QcMetric { order, ..QcMetric::measured(NAME, median, "", COMMENT) });
            }
            orders.extend(std::iter::repeat_n(i64::from(order.spectrum.order), found.len()));
            wavelengths.extend(found.iter().map(|(wavelength, _)| *wavelength));
            values.extend(found.iter().map(|(_, value)| *value));
        }
    }
    let all = match median_f64(&mut values.clone()) {
        Some(median) => QcMetric::measured(NAME, median, "", COMMENT),
        None => QcMetric::absent(NAME, "no order has light of a known standard", "", COMMENT),
    };
    qc.insert(0, all);
    let columns = vec![
        Column::integer("ORDER", orders),
        Column::real("WAVE", "nm", wavelengths),
        Column::real("EFFICIENCY", "", values),
    ];
    Ok((Table::new("EFFICIENCY", columns)?, qc))
}
