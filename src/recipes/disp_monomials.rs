//! A dispersion solution in the layout that the reference pipeline's users read: one table of two rows (x and y) with the
//! coefficients `c<ijk>` of order number^i, wavelength^j (nm) and slit position^k (arcsec), in unbinned pixels.
//!
//! Our maps are Chebyshev series, order by order. Up to four orders (VIS) are one polynomial of the order number exactly.
//! The fifteen of NIR are fitted: in order number n and n times wavelength, which an echelle spectrograph keeps nearly
//! constant, so that the fit is well conditioned; its products n^i (n lambda)^j are monomials of the layout as they are. The
//! largest distance between layout and map stands beside the coefficients. Measure with our own tables: a degree of nine in
//! powers of nanometres is for looking at, not for a thousandth of a pixel.

use super::tables::{Column, Table, TableError};
use crate::numerics::chebyshev;
use crate::numerics::least_squares::NormalSums;
use crate::reduction::geometry::map::{GeometryMap, OrderMap, SLIT_UNIT};

/// Orders up to which the layout holds a map exactly.
const EXACT: usize = 4;
/// Degrees of the fit in order number and in order number times wavelength; their sum is a single digit.
const DEGREES: (usize, usize) = (4, 5);
/// Wavelengths of an order at which the map is fitted and compared.
const SAMPLES: usize = 48;

/// Coefficients by power of order, wavelength and slit position, for x and y.
struct Monomials {
    size: [usize; 3],
    axes: [Vec<f64>; 2],
}

impl Monomials {
    fn new(size: [usize; 3]) -> Monomials {
        Monomials { size, axes: [0, 1].map(|_| vec![0.0; size.iter().product()]) }
    }

    fn index(&self, i: usize, j: usize, k: usize) -> usize {
        (i * self.size[1] + j) * self.size[2] + k
    }

    fn at(&self, axis: usize, order: f64, wavelength: f64, slit: f64) -> f64 {
        let [ni, nj, nk] = self.size;
        let inner =
            |i: usize, j: usize| (0..nk).rev().fold(0.0, |sum, k| sum * slit + self.axes[axis][self.index(i, j, k)]);
        let middle = |i: usize| (0..nj).rev().fold(0.0, |sum, j| sum * wavelength + inner(i, j));
        (0..ni).rev().fold(0.0, |sum, i| sum * order + middle(i))
    }
}

/// The table, and the largest distance in pixels between it and the map within the orders' limits and the slit. `None` for
/// a map that the layout cannot hold.
pub fn table(map: &GeometryMap) -> Result<Option<Table>, TableError> {
    let found = if map.orders.len() <= EXACT { exact(map) } else { fitted(map) };
    let Some(found) = found else { return Ok(None) };
    let degrees = found.size.map(|n| vec![n as i64 - 1; 2]);
    let [order, wavelength, slit] = degrees;
    let mut columns = vec![
        Column::text("axis", vec!["x".to_string(), "y".to_string()]),
        Column::integer("order_deg", order),
        Column::integer("wavelength_deg", wavelength),
        Column::integer("slit_deg", slit),
    ];
    for i in 0..found.size[0] {
        for j in 0..found.size[1] {
            for k in 0..found.size[2] {
                let at = found.index(i, j, k);
                columns.push(Column::real(&format!("c{i}{j}{k}"), "", vec![found.axes[0][at], found.axes[1][at]]));
            }
        }
    }
    columns.push(Column::real("map_distance", "pixel", [0, 1].map(|axis| distance(map, &found, axis)).to_vec()));
    Table::new("", columns).map(Some)
}

/// Places of an order: wavelengths within its limits at both ends and the middle of the slit.
fn samples(order: &OrderMap) -> impl Iterator<Item = (f64, f64)> + use<> {
    let [low, high] = order.limits;
    (0..=SAMPLES).flat_map(move |k| {
        let wavelength = low + (high - low) * k as f64 / SAMPLES as f64;
        [-SLIT_UNIT, 0.0, SLIT_UNIT].map(|slit| (wavelength, slit))
    })
}

fn distance(map: &GeometryMap, found: &Monomials, axis: usize) -> f64 {
    let all = map.orders.iter().flat_map(|order| samples(order).map(move |place| (order, place)));
    all.map(|(order, (wavelength, slit))| {
        let (x, y) = order.at(wavelength, slit);
        ([x, y][axis] - found.at(axis, f64::from(order.order), wavelength, slit)).abs()
    })
    .fold(0.0, f64::max)
}

/// Coefficients of the powers of `t` in T_0 .. T_{n-1} of the argument `scale` t + `shift`.
fn powers(n: usize, scale: f64, shift: f64) -> Vec<Vec<f64>> {
    let mut all: Vec<Vec<f64>> = vec![vec![1.0], vec![shift, scale]];
    while all.len() < n {
        let last = all.len() - 1;
        let mut next = vec![0.0; last + 2];
        for (power, c) in all[last].iter().enumerate() {
            next[power] += 2.0 * shift * c;
            next[power + 1] += 2.0 * scale * c;
        }
        for (power, c) in all[last - 1].iter().enumerate() {
            next[power] -= c;
        }
        all.push(next);
    }
    all.truncate(n);
    all
}

/// Powers of the wavelength and the slit of one order, `size` of each.
fn of_order(map: &OrderMap, coefficients: &[f64], size: (usize, usize)) -> Vec<f64> {
    let [low, high] = map.domain;
    let wave = powers(map.size.0, 2.0 / (high - low), -(high + low) / (high - low));
    let slit = powers(map.size.1, 1.0 / SLIT_UNIT, 0.0);
    let mut out = vec![0.0; size.0 * size.1];
    for (c, (w, s)) in coefficients.iter().zip(wave.iter().flat_map(|w| slit.iter().map(move |s| (w, s)))) {
        for (j, w) in w.iter().enumerate() {
            for (k, s) in s.iter().enumerate() {
                out[j * size.1 + k] += c * w * s;
            }
        }
    }
    out
}

/// Few orders: each coefficient is the polynomial of the order number through its values.
fn exact(map: &GeometryMap) -> Option<Monomials> {
    let size = (map.orders.iter().map(|order| order.size.0).max()?, map.orders.iter().map(|order| order.size.1).max()?);
    let numbers: Vec<f64> = map.orders.iter().map(|order| f64::from(order.order)).collect();
    let mut found = Monomials::new([numbers.len(), size.0, size.1]);
    for (n, order) in map.orders.iter().enumerate() {
        // the polynomial that is 1 at this order and 0 at the others
        let mut one = vec![1.0];
        for other in numbers.iter().enumerate().filter(|(k, _)| *k != n).map(|(_, other)| other) {
            let scale = numbers[n] - other;
            if scale == 0.0 {
                return None;
            }
            one.push(0.0);
            for power in (0..one.len()).rev() {
                let below = if power > 0 { one[power - 1] } else { 0.0 };
                one[power] = (below - other * one[power]) / scale;
            }
        }
        for (axis, coefficients) in [&order.x, &order.y].into_iter().enumerate() {
            let own = of_order(order, coefficients, size);
            for (i, one) in one.iter().enumerate() {
                for (at, value) in own.iter().enumerate() {
                    let index = found.index(i, 0, 0) + at;
                    found.axes[axis][index] += one * value;
                }
            }
        }
    }
    Some(found)
}

/// Many orders: a fit in order number and order number times wavelength.
fn fitted(map: &GeometryMap) -> Option<Monomials> {
    let slits = map.orders.iter().map(|order| order.size.1).max()?.min(3);
    let (terms_n, terms_w) = (DEGREES.0 + 1, DEGREES.1 + 1);
    let span = |values: &mut dyn Iterator<Item = f64>| {
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
        (2.0 / (high - low), -(high + low) / (high - low))
    };
    let numbers = |order: &OrderMap| f64::from(order.order);
    let (scale_n, shift_n) = span(&mut map.orders.iter().map(numbers));
    let products = map.orders.iter().flat_map(|order| order.limits.map(|limit| numbers(order) * limit));
    let (scale_w, shift_w) = span(&mut products.into_iter());
    let size = terms_n * terms_w * slits;
    let mut sums = [NormalSums::new(size), NormalSums::new(size)];
    let (mut u, mut v, mut s) = (vec![0.0; terms_n], vec![0.0; terms_w], vec![0.0; slits]);
    for order in &map.orders {
        let n = numbers(order);
        chebyshev::values(scale_n * n + shift_n, &mut u);
        for (wavelength, slit) in samples(order) {
            chebyshev::values(scale_w * n * wavelength + shift_w, &mut v);
            chebyshev::values(slit / SLIT_UNIT, &mut s);
            let row: Vec<f64> = u
                .iter()
                .flat_map(|u| v.iter().flat_map(|v| s.iter().map(move |s| u * v * s)).collect::<Vec<_>>())
                .collect();
            let (x, y) = order.at(wavelength, slit);
            sums[0].add(&row, x);
            sums[1].add(&row, y);
        }
    }
    let along_n = powers(terms_n, scale_n, shift_n);
    let along_w = powers(terms_w, scale_w, shift_w);
    let along_s = powers(slits, 1.0 / SLIT_UNIT, 0.0);
    let mut found = Monomials::new([terms_n + terms_w - 1, terms_w, slits]);
    for (axis, sums) in sums.iter().enumerate() {
        let coefficients = sums.solve()?.coefficients;
        for (at, c) in coefficients.iter().enumerate() {
            let (n, w, s) = (at / (terms_w * slits), at / slits % terms_w, at % slits);
            for (i, p) in along_n[n].iter().enumerate() {
                for (j, q) in along_w[w].iter().enumerate() {
                    for (k, r) in along_s[s].iter().enumerate() {
                        // (n lambda)^j has n^j in it
                        let index = found.index(i + j, j, k);
                        found.axes[axis][index] += c * p * q * r;
                    }
                }
            }
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instrument::Arm;
    use crate::instrument::format::SpectralFormat;
    use crate::reduction::geometry::guess::published;

    /// The place as a reader of the layout computes it, from the columns alone.
    fn read(table: &Table, row: usize, order: f64, wavelength: f64, slit: f64) -> f64 {
        let degree = |name: &str| table.integer(name).unwrap()[row] as i32;
        let mut sum = 0.0;
        for i in 0..=degree("order_deg") {
            for j in 0..=degree("wavelength_deg") {
                for k in 0..=degree("slit_deg") {
                    let c = table.real(&format!("c{i}{j}{k}")).unwrap()[row];
                    sum += c * order.powi(i) * wavelength.powi(j) * slit.powi(k);
                }
            }
        }
        sum
    }

    fn worst(arm: Arm) -> (f64, Table) {
        let map = published(SpectralFormat::of(arm));
        let table = table(&map).unwrap().unwrap();
        let mut worst: f64 = 0.0;
        for order in &map.orders {
            for (wavelength, slit) in samples(order) {
                let (x, y) = order.at(wavelength, slit);
                let found = [0, 1].map(|row| read(&table, row, f64::from(order.order), wavelength, slit));
                worst = worst.max((found[0] - x).abs()).max((found[1] - y).abs());
            }
        }
        (worst, table)
    }

    #[test]
    fn the_channels_of_vis_are_one_polynomial_exactly() {
        let (worst, table) = worst(Arm::Vis);
        assert!(worst < 1e-4, "{worst}");
        assert_eq!(table.text("axis").unwrap(), ["x", "y"]);
        let names: Vec<&str> = table.columns.iter().take(6).map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["axis", "order_deg", "wavelength_deg", "slit_deg", "c000", "c001"]);
        assert_eq!((table.integer("order_deg").unwrap(), table.rows()), (&[3, 3][..], 2));
    }

    #[test]
    fn the_orders_of_nir_are_met_as_well_as_the_table_says() {
        let (worst, table) = worst(Arm::Nir);
        let told = table.real("map_distance").unwrap().iter().copied().fold(0.0, f64::max);
        assert!((told - worst).abs() < 1e-3 && worst < 0.05, "{told} {worst}");
        // every exponent is one digit: a name with two would be read as another term
        assert!(
            table.columns.iter().filter(|column| column.name.starts_with('c')).all(|column| column.name.len() == 4)
        );
    }

    #[test]
    fn no_orders_give_no_table() {
        assert_eq!(table(&GeometryMap { orders: vec![] }).unwrap(), None);
    }
}
