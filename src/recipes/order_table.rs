//! The order table: centres and edges of all orders, in the layout that the reference pipeline's readers know, and in ours
//! with errors.
//!
//! Extensions: 1 (one row) the polynomials in order number and pixel, `cent_ij` for the power i of the order and j of
//! the pixel, likewise `std_ij`, `edgelow_cij`, `edgeup_cij`; 2 (one row an order) `order`, `xmin`, `xmax`, `ymin`, `ymax`;
//! 3 `ORDER_TRACES`, the curves sampled along the orders with their errors; 4 `ORDER_CURVES`, the curves themselves
//! (Chebyshev coefficients and their covariance), which is what recipes read. All in unbinned, trimmed, 0-based pixels.

use super::contract::MasterTable;
use super::tables::{Column, ColumnData, Table, TableError};
use crate::numerics::chebyshev;
use crate::numerics::curve::Curve;
use crate::numerics::least_squares::NormalSums;
use crate::reduction::orders::image::Dispersion;

/// One order as the table has it.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderRow {
    /// Order.
    pub order: u8,
    /// First and last pixel along the dispersion with measurements.
    pub covered: [f64; 2],
    /// Centre across against along.
    pub centre: Curve,
    /// Gaussian sigma of the pinhole's image across.
    pub width: Option<Curve>,
    /// Lower and upper edge.
    pub edges: Option<[Curve; 2]>,
}

/// Name of the extension with the curves.
const CURVES: &str = "ORDER_CURVES";
/// Distance of the sampled traces, pixels.
const SAMPLING: usize = 8;
/// Highest degrees of the polynomials in the layout of extension 1.
const MOST_ORDER: usize = 6;
const MOST_PIXEL: usize = 5;

/// Names of the axes: along and across the dispersion.
fn axes(dispersion: Dispersion) -> (&'static str, &'static str) {
    match dispersion {
        Dispersion::Rows => ("y", "x"),
        Dispersion::Columns => ("x", "y"),
    }
}

/// Monomial coefficients of the Chebyshev polynomial of each degree below `n`, of the argument `(x - middle) / half`.
fn monomials(n: usize, middle: f64, half: f64) -> Vec<Vec<f64>> {
    let times = |poly: &[f64]| -> Vec<f64> {
        // 2 t poly, t = x / half - middle / half
        let mut out = vec![0.0; poly.len() + 1];
        for (k, c) in poly.iter().enumerate() {
            out[k] -= 2.0 * middle / half * c;
            out[k + 1] += 2.0 / half * c;
        }
        out
    };
    let mut all = vec![vec![1.0], vec![-middle / half, 1.0 / half]];
    while all.len() < n {
        let mut next = times(&all[all.len() - 1]);
        for (c, before) in next.iter_mut().zip(&all[all.len() - 2]) {
            *c -= before;
        }
        all.push(next);
    }
    all.truncate(n);
    all
}

/// One polynomial in order number and pixel through the curves of all orders, as monomials `c[i][j]`; by least squares
/// in a well conditioned basis. `None` when the orders do not determine it.
fn joint(curves: &[(u8, [f64; 2], &Curve)]) -> Option<Vec<Vec<f64>>> {
    let numbers: Vec<f64> = curves.iter().map(|(order, ..)| f64::from(*order)).collect();
    let low = numbers.iter().copied().fold(f64::INFINITY, f64::min);
    let high = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let (middle_n, half_n) = (0.5 * (low + high), (0.5 * (high - low)).max(0.5));
    let (ni, nj) = (curves.len().min(MOST_ORDER + 1), MOST_PIXEL + 1);
    let domain = curves.first()?.2.domain;
    let (middle_b, half_b) = (0.5 * (domain[0] + domain[1]), (0.5 * (domain[1] - domain[0])).max(0.5));
    let mut sums = NormalSums::new(ni * nj);
    let (mut u, mut v) = (vec![0.0; ni], vec![0.0; nj]);
    for (order, covered, curve) in curves {
        chebyshev::values((f64::from(*order) - middle_n) / half_n, &mut u);
        for k in 0..=64 {
            let b = covered[0] + (covered[1] - covered[0]) * f64::from(k) / 64.0;
            chebyshev::values((b - middle_b) / half_b, &mut v);
            let row: Vec<f64> = u.iter().flat_map(|u| v.iter().map(move |v| u * v)).collect();
            sums.add(&row, curve.at(b));
        }
    }
    let found = sums.solve()?.coefficients;
    let (along_n, along_b) = (monomials(ni, middle_n, half_n), monomials(nj, middle_b, half_b));
    let mut out = vec![vec![0.0; nj]; ni];
    for (k, c) in found.iter().enumerate() {
        for (i, p) in along_n[k / nj].iter().enumerate() {
            for (j, q) in along_b[k % nj].iter().enumerate() {
                out[i][j] += c * p * q;
            }
        }
    }
    Some(out)
}

/// The tables of an order table.
pub fn write(rows: &[OrderRow], dispersion: Dispersion) -> Result<Vec<Table>, TableError> {
    let (along, across) = axes(dispersion);
    let mut columns = Vec::new();
    let mut polynomial = |name: &str, separator: &str, pick: &dyn Fn(&OrderRow) -> Option<&Curve>| {
        let curves: Option<Vec<_>> = rows.iter().map(|row| pick(row).map(|c| (row.order, row.covered, c))).collect();
        let Some(found) = curves.and_then(|curves| joint(&curves)) else { return };
        columns.push(Column::integer(&format!("degorder_{name}"), vec![found.len() as i64 - 1]));
        columns.push(Column::integer(&format!("deg{along}_{name}"), vec![MOST_PIXEL as i64]));
        for (i, line) in found.iter().enumerate() {
            for (j, c) in line.iter().enumerate() {
                columns.push(Column::real(&format!("{name}_{separator}{i}{j}"), "", vec![*c]));
            }
        }
    };
    polynomial("cent", "", &|row| Some(&row.centre));
    polynomial("std", "", &|row| row.width.as_ref());
    polynomial("edgelow", "c", &|row| row.edges.as_ref().map(|edges| &edges[0]));
    polynomial("edgeup", "c", &|row| row.edges.as_ref().map(|edges| &edges[1]));
    let coefficients = Table::new("", columns)?;

    let numbers: Vec<i64> = rows.iter().map(|row| i64::from(row.order)).collect();
    let extremes = |of: &dyn Fn(f64, f64) -> f64, start: f64| -> Vec<f64> {
        rows.iter().map(|row| samples(row.covered).map(|b| row.centre.at(b)).fold(start, of)).collect()
    };
    let ends = |k: usize| -> Vec<f64> { rows.iter().map(|row| row.covered[k]).collect() };
    let mut ranges = vec![
        (format!("{along}min"), ends(0)),
        (format!("{along}max"), ends(1)),
        (format!("{across}min"), extremes(&f64::min, f64::INFINITY)),
        (format!("{across}max"), extremes(&f64::max, f64::NEG_INFINITY)),
    ];
    ranges.sort_by(|a, b| a.0[..1].cmp(&b.0[..1]));
    let mut columns = vec![Column::integer("order", numbers)];
    columns.extend(ranges.into_iter().map(|(name, values)| Column::real(&name, "pixel", values)));
    let limits = Table::new("", columns)?;
    Ok(vec![coefficients, limits, traces(rows, along)?, curves(rows)?])
}

fn samples(covered: [f64; 2]) -> impl Iterator<Item = f64> {
    let (first, last) = (covered[0].max(0.0).ceil() as usize, covered[1].max(0.0).floor() as usize);
    (first..=last.max(first)).step_by(SAMPLING).map(|b| b as f64)
}

fn traces(rows: &[OrderRow], along: &str) -> Result<Table, TableError> {
    let mut order = Vec::new();
    let mut values: Vec<(String, Vec<f64>)> = vec![(along.to_string(), vec![])];
    let names = ["cent", "std", "edgelow", "edgeup"];
    for name in names {
        values.extend([(name.to_string(), vec![]), (format!("{name}_err"), vec![])]);
    }
    for row in rows {
        let edges = row.edges.as_ref();
        let picked = [Some(&row.centre), row.width.as_ref(), edges.map(|e| &e[0]), edges.map(|e| &e[1])];
        for b in samples(row.covered) {
            order.push(i64::from(row.order));
            values[0].1.push(b);
            for (k, curve) in picked.iter().enumerate() {
                values[2 * k + 1].1.push(curve.map_or(f64::NAN, |curve| curve.at(b)));
                values[2 * k + 2].1.push(curve.map_or(f64::NAN, |curve| curve.sigma(b)));
            }
        }
    }
    values.retain(|(_, values)| values.iter().any(|value| value.is_finite()));
    let mut columns = vec![Column::integer("order", order)];
    columns.extend(values.into_iter().map(|(name, values)| Column::real(&name, "pixel", values)));
    Table::new("ORDER_TRACES", columns)
}

/// The curves with their covariance: one row each, unused coefficients 0.
fn curves(rows: &[OrderRow]) -> Result<Table, TableError> {
    let mut list: Vec<(&OrderRow, &str, &Curve)> = Vec::new();
    for row in rows {
        list.push((row, "cent", &row.centre));
        list.extend(row.width.as_ref().map(|curve| (row, "std", curve)));
        if let Some([low, high]) = &row.edges {
            list.extend([(row, "edgelow", low), (row, "edgeup", high)]);
        }
    }
    let most = list.iter().map(|(.., curve)| curve.coefficients.len()).max().unwrap_or(0);
    let real = |name: &str, of: &dyn Fn(&OrderRow, &Curve) -> f64| {
        Column::real(name, "", list.iter().map(|(row, _, curve)| of(row, curve)).collect())
    };
    let mut columns = vec![
        Column::integer("order", list.iter().map(|(row, ..)| i64::from(row.order)).collect()),
        Column::text("curve", list.iter().map(|(_, name, _)| (*name).to_string()).collect()),
        real("covered_low", &|row, _| row.covered[0]),
        real("covered_high", &|row, _| row.covered[1]),
        real("domain_low", &|_, curve| curve.domain[0]),
        real("domain_high", &|_, curve| curve.domain[1]),
        Column::integer("terms", list.iter().map(|(.., curve)| curve.coefficients.len() as i64).collect()),
    ];
    for k in 0..most {
        columns.push(real(&format!("c{k}"), &|_, curve| curve.coefficients.get(k).copied().unwrap_or(0.0)));
    }
    for i in 0..most {
        for j in 0..=i {
            columns.push(real(&format!("v{i}_{j}"), &|_, curve| {
                let n = curve.coefficients.len();
                let known = i < n && curve.covariance.len() == n * n;
                if known { curve.covariance[i * n + j] } else { 0.0 }
            }));
        }
    }
    Table::new(CURVES, columns)
}

/// The orders of a table that was written by this program. Rows without a centre are left out.
pub fn read(master: &MasterTable) -> Result<Vec<OrderRow>, TableError> {
    let missing = || TableError::Missing { table: master.name.clone(), column: CURVES.to_string() };
    let table = master.tables.iter().find(|table| table.column("curve").is_some()).ok_or_else(missing)?;
    let (orders, names) = (table.integer("order")?, table.text("curve")?);
    let (low, high) = (table.real("covered_low")?, table.real("covered_high")?);
    let (from, to, terms) = (table.real("domain_low")?, table.real("domain_high")?, table.integer("terms")?);
    let cells = |name: &str, k: usize| table.column(name).and_then(|column| real_cell(&column.data, k));
    let mut rows: Vec<OrderRow> = Vec::new();
    let mut others: Vec<(u8, String, Curve)> = Vec::new();
    for k in 0..table.rows() {
        let n = usize::try_from(terms[k]).unwrap_or(0).min(32);
        let order = u8::try_from(orders[k]).unwrap_or(0);
        let value = |name: String| cells(&name, k).filter(|value| value.is_finite());
        let coefficients: Option<Vec<f64>> = (0..n).map(|i| value(format!("c{i}"))).collect();
        let covariance: Option<Vec<f64>> =
            (0..n * n).map(|at| value(format!("v{}_{}", (at / n).max(at % n), (at / n).min(at % n)))).collect();
        let (Some(coefficients), true) = (coefficients, n > 0) else { continue };
        let curve = Curve { domain: [from[k], to[k]], coefficients, covariance: covariance.unwrap_or_default() };
        match names[k].trim() {
            "cent" => {
                rows.push(OrderRow { order, covered: [low[k], high[k]], centre: curve, width: None, edges: None })
            }
            name => others.push((order, name.to_string(), curve)),
        }
    }
    for row in &mut rows {
        let find = |name: &str| {
            others
                .iter()
                .find(|(order, found, _)| *order == row.order && found == name)
                .map(|(.., curve)| curve.clone())
        };
        row.width = find("std");
        row.edges = find("edgelow").zip(find("edgeup")).map(|(low, high)| [low, high]);
    }
    if rows.is_empty() { Err(missing()) } else { Ok(rows) }
}

fn real_cell(data: &ColumnData, k: usize) -> Option<f64> {
    match data {
        ColumnData::F64(values) => values.get(k).copied(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(orders: std::ops::RangeInclusive<u8>) -> Vec<OrderRow> {
        let domain = [0.0, 2039.0];
        orders
            .map(|order| {
                let n = f64::from(order);
                let centre = |b: f64| 20.0 * n + 0.6 * n * n + (8.0 + 0.1 * n) * ((b - 900.0) / 500.0).powi(2);
                let mut curve = Curve::through(domain, 4, centre);
                curve.covariance = (0..25).map(|k| if k % 6 == 0 { 1e-4 } else { 0.0 }).collect();
                OrderRow {
                    order,
                    covered: [10.0, 2000.0],
                    edges: Some([-18.0, 17.0].map(|off| Curve::through(domain, 4, |b| centre(b) + off))),
                    width: Some(Curve { covariance: vec![1e-6], ..Curve::constant(domain, 0.8) }),
                    centre: curve,
                }
            })
            .collect()
    }

    #[test]
    fn the_known_layout_gives_the_curves_back() {
        for (orders, dispersion, name) in
            [(1..=4u8, Dispersion::Rows, "degy_cent"), (10..=24u8, Dispersion::Columns, "degx_cent")]
        {
            let rows = rows(orders);
            let tables = write(&rows, dispersion).unwrap();
            let table = &tables[0];
            assert_eq!((table.rows(), table.integer(name).unwrap()), (1, &[5][..]));
            let degree = table.integer("degorder_edgeup").unwrap()[0] as usize;
            assert_eq!(degree, rows.len().min(7) - 1);
            for row in &rows {
                for b in [10.0, 777.0, 2000.0] {
                    let value = |name: &str| {
                        let mut sum = 0.0;
                        for i in 0..=degree {
                            for j in 0..=5 {
                                let c = table.real(&format!("{name}{i}{j}")).unwrap()[0];
                                sum += c * f64::from(row.order).powi(i as i32) * f64::powi(b, j);
                            }
                        }
                        sum
                    };
                    assert!((value("cent_") - row.centre.at(b)).abs() < 1e-3, "{} {b}", row.order);
                    assert!((value("edgelow_c") - row.centre.at(b) + 18.0).abs() < 1e-3);
                }
            }
            let limits = &tables[1];
            let names: Vec<&str> = limits.columns.iter().map(|column| column.name.as_str()).collect();
            assert_eq!(names, ["order", "xmin", "xmax", "ymin", "ymax"]);
            assert!(limits.real("xmin").unwrap().iter().zip(limits.real("xmax").unwrap()).all(|(a, b)| a < b));
        }
    }

    #[test]
    fn curves_survive_the_table_with_their_errors() {
        let rows = rows(10..=12);
        let master = MasterTable {
            catg: "ORDER_TAB".to_string(),
            tech: String::new(),
            name: "a.fits".to_string(),
            tables: write(&rows, Dispersion::Columns).unwrap(),
        };
        let again = read(&master).unwrap();
        assert_eq!(again.len(), 3);
        for (a, b) in rows.iter().zip(&again) {
            assert_eq!((a.order, a.covered, &a.centre, &a.width), (b.order, b.covered, &b.centre, &b.width));
            assert_eq!(b.edges.as_ref().unwrap()[1].coefficients, a.edges.as_ref().unwrap()[1].coefficients);
        }
        let empty = MasterTable { tables: vec![], ..master };
        assert!(read(&empty).unwrap_err().to_string().contains("ORDER_CURVES"));
    }
}
