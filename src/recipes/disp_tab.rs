//! The table of a dispersion solution: the maps of all orders with their errors.
//!
//! First the layout of the reference pipeline ([`super::disp_monomials`]), then ours: ORDERS (one row per order: domain and
//! limits in nm, numbers of polynomials), MAP (one row per coefficient of the Chebyshev products, x and y in unbinned
//! trimmed pixels, 0-based), COVARIANCE (the lower triangle of each order's matrices).

use super::contract::MasterTable;
use super::disp_monomials;
use super::tables::{Column, Table, TableError};
use crate::reduction::geometry::fit::OrderCovariance;
use crate::reduction::geometry::map::{GeometryMap, OrderMap};

/// Why a table holds no dispersion solution.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DispTabError {
    /// A table or column is missing or wrong.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A table is missing.
    #[error("{file} has no table {name}; it was not made by this software's disp_solution or spat_solution")]
    Missing {
        /// File.
        file: String,
        /// Table.
        name: &'static str,
    },
    /// Numbers do not fit together.
    #[error("{file}: {reason}")]
    Content {
        /// File.
        file: String,
        /// What is wrong.
        reason: String,
    },
}

/// Largest number of polynomials along wavelength and slit that a table may ask for.
const MOST: (i64, i64) = (16, 6);

/// Make the tables.
pub fn write(map: &GeometryMap, covariance: &[OrderCovariance]) -> Result<Vec<Table>, TableError> {
    let orders = &map.orders;
    let real = |name: &str, unit: &str, pick: fn(&OrderMap) -> f64| {
        Column::real(name, unit, orders.iter().map(pick).collect())
    };
    let first = Table::new(
        "ORDERS",
        vec![
            Column::integer("order", orders.iter().map(|map| i64::from(map.order)).collect()),
            real("domain_min", "nm", |map| map.domain[0]),
            real("domain_max", "nm", |map| map.domain[1]),
            real("wavelength_min", "nm", |map| map.limits[0]),
            real("wavelength_max", "nm", |map| map.limits[1]),
            Column::integer("wavelength_terms", orders.iter().map(|map| map.size.0 as i64).collect()),
            Column::integer("slit_terms", orders.iter().map(|map| map.size.1 as i64).collect()),
        ],
    )?;
    let (mut order, mut wave, mut slit, mut x, mut y) = (vec![], vec![], vec![], vec![], vec![]);
    for map in orders {
        for (k, (cx, cy)) in map.x.iter().zip(&map.y).enumerate() {
            order.push(i64::from(map.order));
            wave.push((k / map.size.1) as i64);
            slit.push((k % map.size.1) as i64);
            x.push(*cx);
            y.push(*cy);
        }
    }
    let second = Table::new(
        "MAP",
        vec![
            Column::integer("order", order),
            Column::integer("wavelength_deg", wave),
            Column::integer("slit_deg", slit),
            Column::real("x", "pixel", x),
            Column::real("y", "pixel", y),
        ],
    )?;
    let (mut order, mut row, mut column, mut xx, mut yy) = (vec![], vec![], vec![], vec![], vec![]);
    for (map, errors) in orders.iter().zip(covariance) {
        let n = map.x.len();
        for i in 0..n {
            for j in 0..=i {
                let at = |axis: usize| errors.axes[axis].get(i * n + j).copied().unwrap_or(0.0);
                if at(0) != 0.0 || at(1) != 0.0 {
                    order.push(i64::from(map.order));
                    row.push(i as i64);
                    column.push(j as i64);
                    xx.push(at(0));
                    yy.push(at(1));
                }
            }
        }
    }
    let third = Table::new(
        "COVARIANCE",
        vec![
            Column::integer("order", order),
            Column::integer("row", row),
            Column::integer("column", column),
            Column::real("x", "pixel2", xx),
            Column::real("y", "pixel2", yy),
        ],
    )?;
    let known = disp_monomials::table(map)?;
    Ok(known.into_iter().chain([first, second, third]).collect())
}

/// Read the map and its errors back.
pub fn read(master: &MasterTable) -> Result<(GeometryMap, Vec<OrderCovariance>), DispTabError> {
    let file = || master.name.clone();
    let table = |name: &'static str| {
        master
            .tables
            .iter()
            .find(|table| table.name == name)
            .ok_or_else(|| DispTabError::Missing { file: file(), name })
    };
    let wrong = |reason: String| DispTabError::Content { file: file(), reason };
    let (orders, map, errors) = (table("ORDERS")?, table("MAP")?, table("COVARIANCE")?);
    let mut maps = Vec::new();
    for (k, order) in orders.integer("order")?.iter().enumerate() {
        // all columns of a table are of one length
        let real = |name: &str| orders.real(name).map(|values| values[k]);
        let (nw, ns) = (orders.integer("wavelength_terms")?[k], orders.integer("slit_terms")?[k]);
        let number = u8::try_from(*order).map_err(|_| wrong(format!("order {order} is no order")))?;
        if !(1..=MOST.0).contains(&nw) || !(1..=MOST.1).contains(&ns) {
            return Err(wrong(format!(
                "order {order} has {nw} x {ns} terms, at most {} x {} are known",
                MOST.0, MOST.1
            )));
        }
        let size = (nw as usize, ns as usize);
        let domain = [real("domain_min")?, real("domain_max")?];
        let limits = [real("wavelength_min")?, real("wavelength_max")?];
        if !(domain[1] > domain[0] && limits[1] > limits[0]) {
            return Err(wrong(format!("order {order} has an empty range of wavelengths")));
        }
        let zeros = || vec![0.0; size.0 * size.1];
        maps.push(OrderMap { order: number, domain, limits, size, x: zeros(), y: zeros() });
    }
    let mut covariance: Vec<OrderCovariance> =
        maps.iter().map(|map| OrderCovariance { axes: [0, 1].map(|_| vec![0.0; map.x.len() * map.x.len()]) }).collect();
    let find = |maps: &[OrderMap], order: i64| maps.iter().position(|map| i64::from(map.order) == order);
    let (x, y) = (map.real("x")?, map.real("y")?);
    for (k, order) in map.integer("order")?.iter().enumerate() {
        let (i, j) = (map.integer("wavelength_deg")?[k], map.integer("slit_deg")?[k]);
        let place = find(&maps, *order).and_then(|at| {
            let map = maps.get_mut(at)?;
            let inside = (0..map.size.0 as i64).contains(&i) && (0..map.size.1 as i64).contains(&j);
            inside.then(|| (i as usize * map.size.1 + j as usize, map))
        });
        let Some((index, map)) = place.filter(|_| x[k].is_finite() && y[k].is_finite()) else {
            return Err(wrong(format!("row {} of MAP has no place or is not finite", k + 1)));
        };
        (map.x[index], map.y[index]) = (x[k], y[k]);
    }
    let (x, y) = (errors.real("x")?, errors.real("y")?);
    for (k, order) in errors.integer("order")?.iter().enumerate() {
        let (i, j) = (errors.integer("row")?[k], errors.integer("column")?[k]);
        let at = find(&maps, *order).filter(|at| {
            let n = maps[*at].x.len() as i64;
            (0..n).contains(&i) && (0..n).contains(&j)
        });
        let Some(at) = at else { return Err(wrong(format!("row {} of COVARIANCE has no place", k + 1))) };
        let (n, i, j) = (maps[at].x.len(), i as usize, j as usize);
        for (axis, value) in [x[k], y[k]].into_iter().enumerate() {
            covariance[at].axes[axis][i * n + j] = value;
            covariance[at].axes[axis][j * n + i] = value;
        }
    }
    Ok((GeometryMap { orders: maps }, covariance))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instrument::Arm;
    use crate::instrument::format::SpectralFormat;
    use crate::reduction::geometry::guess::published;

    fn master(tables: Vec<Table>) -> MasterTable {
        MasterTable { catg: "DISP_TAB".into(), tech: "ECHELLE,PINHOLE".into(), name: "d.fits".into(), tables }
    }

    #[test]
    fn a_solution_survives_its_table() {
        let map = published(SpectralFormat::of(Arm::Vis));
        let covariance: Vec<OrderCovariance> = map
            .orders
            .iter()
            .map(|map| {
                let n = map.x.len();
                let matrix: Vec<f64> = (0..n * n).map(|k| ((k / n + 1) * (k % n + 1)) as f64).collect();
                OrderCovariance { axes: [matrix.clone(), matrix.iter().map(|v| 2.0 * v).collect()] }
            })
            .collect();
        let (back, errors) = read(&master(write(&map, &covariance).unwrap())).unwrap();
        assert_eq!((back, errors), (map, covariance));
    }

    #[test]
    fn a_table_of_something_else_is_named() {
        assert!(matches!(read(&master(vec![])), Err(DispTabError::Missing { name: "ORDERS", .. })));
        let map = published(SpectralFormat::of(Arm::Vis));
        let mut tables = write(&map, &[]).unwrap();
        assert_eq!((tables[0].name.as_str(), tables[2].name.as_str()), ("", "MAP"));
        tables[2].columns[1] = Column::integer("wavelength_deg", vec![99; tables[2].rows()]);
        assert!(read(&master(tables)).unwrap_err().to_string().contains("row 1 of MAP"));
    }
}
