//! The response as a product: `RESP_TAB`.
//!
//! Extensions: 1 `RESPONSE` (one row), where it comes from: arm, star, slit, binning, exposure time, airmass, seeing, and how
//! well it fits; 2 `RESPONSE_CURVES`, per order the response in magnitudes with its error on even samples, of which the first
//! and the last bound the range in which it holds.

use crate::recipes::contract::MasterTable;
use crate::recipes::tables::{Column, Table, TableError};
use crate::reduction::spectrum::response::{OrderResponse, Origin, Response};

const ORIGIN: &str = "RESPONSE";
const CURVES: &str = "RESPONSE_CURVES";

/// The tables of a response.
pub fn write(response: &Response) -> Result<Vec<Table>, TableError> {
    let origin = &response.origin;
    let real = |name: &str, unit: &str, value: f64| Column::real(name, unit, vec![value]);
    let first = Table::new(
        ORIGIN,
        vec![
            Column::text("arm", vec![origin.arm.clone()]),
            Column::text("star", vec![origin.star.clone()]),
            Column::text("slit", vec![origin.slit.clone()]),
            Column::integer("binx", vec![origin.binning[0] as i64]),
            Column::integer("biny", vec![origin.binning[1] as i64]),
            real("exptime", "s", origin.exptime),
            real("airmass", "", origin.airmass),
            real("seeing", "arcsec", origin.seeing),
            real("mjd", "d", origin.mjd),
            real("transmitted", "", origin.transmitted),
            real("velocity", "km s-1", origin.velocity),
            Column::integer("stars", vec![origin.stars as i64]),
            real("scatter", "mag", response.scatter),
            real("rejected", "", response.rejected),
        ],
    )?;
    let rows = |of: &dyn Fn(&OrderResponse) -> &Vec<f64>| -> Vec<f64> {
        response.orders.iter().flat_map(|order| of(order).iter().copied()).collect()
    };
    let orders = response.orders.iter();
    let numbers = orders.flat_map(|order| std::iter::repeat_n(i64::from(order.order), order.wavelength.len()));
    let curves = Table::new(
        CURVES,
        vec![
            Column::integer("order", numbers.collect()),
            Column::real("wavelength", "nm", rows(&|order| &order.wavelength)),
            Column::real("response", "mag", rows(&|order| &order.magnitude)),
            Column::real("error", "mag", rows(&|order| &order.error)),
        ],
    )?;
    Ok(vec![first, curves])
}

/// A response from its tables.
pub fn read(master: &MasterTable) -> Result<Response, TableError> {
    let find = |name: &str| {
        let missing = || TableError::Missing { table: master.name.clone(), column: name.to_string() };
        master.tables.iter().find(|table| table.name == name).ok_or_else(missing)
    };
    let (first, curves) = (find(ORIGIN)?, find(CURVES)?);
    let one = |name: &str| TableError::Length { table: ORIGIN.to_string(), column: name.to_string(), found: 0, expected: 1 };
    let text = |name: &str| -> Result<String, TableError> {
        first.text(name)?.first().map(|text| text.trim().to_string()).ok_or_else(|| one(name))
    };
    let real = |name: &str| first.real(name)?.first().copied().ok_or_else(|| one(name));
    let count = |name: &str| -> Result<usize, TableError> {
        let value = first.integer(name)?.first().copied().ok_or_else(|| one(name))?;
        Ok(usize::try_from(value).unwrap_or_default())
    };
    let mut orders: Vec<OrderResponse> = Vec::new();
    let columns = curves.real("wavelength")?.iter().zip(curves.real("response")?.iter().zip(curves.real("error")?));
    for (number, (wavelength, (magnitude, error))) in curves.integer("order")?.iter().zip(columns) {
        let Ok(number) = u8::try_from(*number) else { continue };
        if orders.last().is_none_or(|order| order.order != number) {
            orders.push(OrderResponse { order: number, wavelength: vec![], magnitude: vec![], error: vec![] });
        }
        if let Some(order) = orders.last_mut() {
            order.wavelength.push(*wavelength);
            order.magnitude.push(*magnitude);
            order.error.push(*error);
        }
    }
    Ok(Response {
        origin: Origin {
            arm: text("arm")?,
            star: text("star")?,
            slit: text("slit")?,
            binning: [count("binx")?, count("biny")?],
            exptime: real("exptime")?,
            airmass: real("airmass")?,
            seeing: real("seeing")?,
            mjd: real("mjd")?,
            transmitted: real("transmitted")?,
            velocity: real("velocity")?,
            stars: count("stars")?,
        },
        orders,
        scatter: real("scatter")?,
        rejected: real("rejected")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_survives_its_tables() {
        let order = |order: u8| OrderResponse {
            order,
            wavelength: vec![500.0, 500.5, 501.0],
            magnitude: vec![40.0, 40.1, 40.3],
            error: vec![0.01; 3],
        };
        let origin = Origin {
            arm: "VIS".to_string(),
            star: "GD71".to_string(),
            slit: "SLIT5.0".to_string(),
            binning: [1, 2],
            exptime: 120.0,
            airmass: 1.1,
            seeing: 0.8,
            mjd: 61_110.1,
            transmitted: 0.999,
            velocity: 12.0,
            stars: 1,
        };
        let response = Response { origin, orders: vec![order(2), order(3)], scatter: 0.01, rejected: 0.2 };
        let mut master = MasterTable {
            catg: "RESP_TAB".to_string(),
            tech: String::new(),
            name: "r.fits".to_string(),
            tables: write(&response).unwrap(),
        };
        assert_eq!(read(&master).unwrap(), response);
        master.tables.pop();
        assert!(read(&master).unwrap_err().to_string().contains("RESPONSE_CURVES"));
    }
}
