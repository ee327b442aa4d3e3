//! The products that the monitor opens must please it: one that does not keeps its whole day open. What it asks of lines
//! and of order locations, before they are shown.

use std::path::Path;

use crate::fits::{ReadColumn, ReadTable, ReadValues, read_tables};

/// Why the monitor would stumble over a file; `None` when it would not, or never opens it.
pub(super) fn fault(stored: &Path, name: &str) -> Option<String> {
    let check: fn(&[ReadTable]) -> Option<String> =
        if name.contains("_DSOL_PINHOLE_") && name.ends_with("SOXS_FITTED_LINES.fits") {
            lines
        } else if name.contains("_OLOC_") && name.ends_with("_SOXS.fits") {
            orders
        } else {
            return None;
        };
    match read_tables(stored) {
        Ok(tables) => check(&tables),
        Err(error) => Some(format!("it cannot be read: {error}")),
    }
}

fn column<'a>(table: &'a ReadTable, name: &str) -> Result<&'a ReadColumn, String> {
    table.columns.iter().find(|column| column.name == name).ok_or_else(|| format!("column {name} is missing"))
}

fn numbers(table: &ReadTable, name: &str) -> Result<Vec<f64>, String> {
    match &column(table, name)?.values {
        ReadValues::F64(values) => Ok(values.clone()),
        ReadValues::I64(values) => Ok(values.iter().map(|value| *value as f64).collect()),
        ReadValues::Text(_) => Err(format!("column {name} holds text")),
    }
}

fn finite(table: &ReadTable, name: &str) -> Result<Vec<f64>, String> {
    let values = numbers(table, name)?;
    match values.iter().position(|value| !value.is_finite()) {
        Some(row) => Err(format!("column {name} is not finite in row {}", row + 1)),
        None => Ok(values),
    }
}

/// Finite wavelengths and places, an order in every line, and a resolving power in every order.
fn lines(tables: &[ReadTable]) -> Option<String> {
    let checked = || {
        let table = tables.first().ok_or("it holds no table")?;
        for name in ["wavelength", "detector_x", "detector_y"] {
            finite(table, name)?;
        }
        let (orders, powers) = (finite(table, "order")?, numbers(table, "R_pin")?);
        let has_power =
            |order: f64| orders.iter().zip(&powers).any(|(other, power)| *other == order && power.is_finite());
        match orders.iter().find(|order| !has_power(**order)) {
            Some(order) => Err(format!("no line of order {order} has a resolving power")),
            None => Ok(()),
        }
    };
    checked().err()
}

/// One row of coefficients, all that the degrees declare and all finite; one row for each order with its range.
fn orders(tables: &[ReadTable]) -> Option<String> {
    let checked = || {
        let (models, ranges) = (tables.first().ok_or("it holds no table")?, tables.get(1).ok_or("it holds one table")?);
        let single = |name: &str| match finite(models, name)?.as_slice() {
            [value] => Ok(*value),
            values => Err(format!("column {name} has {} rows instead of one", values.len())),
        };
        let axis = if column(models, "degy_cent").is_ok() { "degy_cent" } else { "degx_cent" };
        let (order_degree, axis_degree) = (single("degorder_cent")?, single(axis)?);
        for i in 0..=order_degree as usize {
            for j in 0..=axis_degree as usize {
                single(&format!("cent_{i}{j}"))?;
            }
        }
        let range = |name: &str| finite(ranges, name);
        range("order")?;
        let ends = [(range("xmin")?, range("xmax")?), (range("ymin")?, range("ymax")?)];
        match ends.iter().any(|(low, high)| low.iter().zip(high).any(|(low, high)| low > high)) {
            true => Err("the range of an order ends before it begins".to_string()),
            false => Ok(()),
        }
    };
    checked().err()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fits::Header;

    fn table(columns: &[(&str, &[f64])]) -> ReadTable {
        let columns = columns.iter().map(|(name, values)| ReadColumn {
            name: name.to_string(),
            unit: String::new(),
            values: ReadValues::F64(values.to_vec()),
        });
        ReadTable { extname: None, header: Header::new(), columns: columns.collect() }
    }

    #[test]
    fn lines_need_places_and_a_power_in_every_order() {
        let with = |x: f64, power: f64| {
            lines(&[table(&[
                ("wavelength", &[500.0, 600.0, 700.0]),
                ("detector_x", &[x, 2.0, 3.0]),
                ("detector_y", &[1.0, 2.0, 3.0]),
                ("order", &[1.0, 1.0, 2.0]),
                ("R_pin", &[4000.0, f64::NAN, power]),
            ])])
        };
        assert_eq!(with(1.0, 5000.0), None, "one line of an order is enough");
        assert_eq!(with(1.0, f64::NAN).as_deref(), Some("no line of order 2 has a resolving power"));
        assert_eq!(with(f64::NAN, 5000.0).as_deref(), Some("column detector_x is not finite in row 1"));
        assert!(lines(&[]).is_some() && lines(&[table(&[("order", &[1.0])])]).is_some());
    }

    #[test]
    fn order_locations_need_every_declared_coefficient_and_ordered_ranges() {
        let with = |coefficient: f64, xmax: f64, degree: f64| {
            let models = table(&[
                ("degorder_cent", &[0.0]),
                ("degy_cent", &[degree]),
                ("cent_00", &[1.0]),
                ("cent_01", &[coefficient]),
            ]);
            let ranges =
                table(&[("order", &[1.0]), ("xmin", &[1.0]), ("xmax", &[xmax]), ("ymin", &[1.0]), ("ymax", &[2.0])]);
            orders(&[models, ranges])
        };
        assert_eq!(with(0.5, 2.0, 1.0), None);
        assert_eq!(with(f64::INFINITY, 2.0, 1.0).as_deref(), Some("column cent_01 is not finite in row 1"));
        assert_eq!(with(0.5, 2.0, 2.0).as_deref(), Some("column cent_02 is missing"));
        assert_eq!(with(0.5, 0.0, 1.0).as_deref(), Some("the range of an order ends before it begins"));
    }
}
