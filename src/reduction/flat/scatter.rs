//! Light between the orders: scattered in the spectrograph, or there without any lamp.
//!
//! It is measured in cells of the gaps between the orders and outside of them, and modelled as a smooth surface: a tensor
//! product of cubic B-splines with penalised second differences (Eilers and Marx 1996, Stat. Sci. 11, 89). The penalty is
//! the one that predicts left-out cells best. Residuals keep their sign: nothing is clipped at zero.

use ndarray::Array2;
use rayon::prelude::*;

use super::spline::Basis;
use crate::numerics::banded::Banded;
use crate::numerics::robust::{MAD_TO_SIGMA, median_f64};
use crate::reduction::orders::edges::Edges;
use crate::reduction::orders::image::Light;

/// How cells and surface are laid out, unbinned pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScatterOptions {
    /// Length of a cell along `b`.
    pub cell: usize,
    /// Largest width of a cell along `a`.
    pub width: usize,
    /// Pixels next to an edge that are left out, where the gap is wide enough.
    pub margin: f64,
    /// Distance of the knots in `b` and in `a`.
    pub knots: [f64; 2],
}

/// One measured cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cell {
    /// Middle.
    pub b: f64,
    /// Middle.
    pub a: f64,
    /// Electrons per pixel of the image.
    pub value: f64,
    /// Standard error.
    pub sigma: f64,
}

/// A smooth surface through the cells.
#[derive(Clone, Debug, PartialEq)]
pub struct Scattered {
    along: Basis,
    across: Basis,
    coefficients: Vec<f64>,
    /// The cells.
    pub cells: Vec<Cell>,
    /// Root mean square error of prediction for cells left out, robust, electrons.
    pub error: f64,
}

/// Penalties that are tried.
const PENALTIES: [f64; 4] = [0.01, 1.0, 100.0, 10_000.0];
/// Fewest pixels of a cell.
const LEAST: usize = 12;

/// Measure and fit. `None` when fewer cells than a smooth surface needs could be measured.
pub fn fit(light: &Light, orders: &[Edges], options: &ScatterOptions) -> Option<Scattered> {
    let cells = cells(light, orders, options);
    let [b_low, b_high] = light.reach();
    let a_high = (light.shape().1 * light.binning[1]).saturating_sub(1) as f64;
    let along = Basis::new(&breaks(b_low, b_high, options.knots[0]))?;
    let across = Basis::new(&breaks(0.0, a_high, options.knots[1]))?;
    if cells.len() < 40 {
        return None;
    }
    let surface = |weights: &[f64], penalty: f64| solve(&along, &across, &cells, weights, penalty);
    let value = |coefficients: &[f64], cell: &Cell| evaluate(&along, &across, coefficients, cell.b, cell.a);
    // weights: known errors with a floor, so that no cell decides alone
    let mut sigmas: Vec<f64> = cells.iter().map(|cell| cell.sigma).collect();
    let floor = 0.5 * median_f64(&mut sigmas)?;
    let base: Vec<f64> = cells.iter().map(|cell| 1.0 / (cell.sigma.powi(2) + floor * floor)).collect();
    // a robust start with a middling penalty, to know the wild cells
    let mut weights = base.clone();
    for _ in 0..3 {
        let coefficients = surface(&weights, PENALTIES[1])?;
        reweight(&mut weights, &base, &cells, |cell| value(&coefficients, cell))?;
    }
    // the penalty that predicts the other half of the cells best
    let half = |odd: bool| -> Vec<f64> {
        weights.iter().enumerate().map(|(k, w)| if (k % 2 == 1) == odd { *w } else { 0.0 }).collect()
    };
    let halves = [half(false), half(true)];
    let scored: Vec<Option<f64>> = PENALTIES
        .par_iter()
        .map(|penalty| {
            let fits = [surface(&halves[0], *penalty)?, surface(&halves[1], *penalty)?];
            let mut misses: Vec<f64> = cells
                .iter()
                .enumerate()
                .map(|(k, cell)| {
                    (cell.value - value(&fits[usize::from(k % 2 == 0)], cell)).abs() / cell.sigma.max(floor)
                })
                .collect();
            median_f64(&mut misses)
        })
        .collect();
    let best =
        (0..PENALTIES.len()).filter_map(|k| scored[k].map(|score| (k, score))).min_by(|x, y| x.1.total_cmp(&y.1))?.0;
    let mut coefficients = surface(&weights, PENALTIES[best])?;
    for _ in 0..2 {
        reweight(&mut weights, &base, &cells, |cell| value(&coefficients, cell))?;
        coefficients = surface(&weights, PENALTIES[best])?;
    }
    let mut misses: Vec<f64> = cells.iter().map(|cell| (cell.value - value(&coefficients, cell)).abs()).collect();
    let error = MAD_TO_SIGMA * median_f64(&mut misses)?;
    Some(Scattered { along, across, coefficients, cells, error })
}

impl Scattered {
    /// Electrons per pixel of the image at an unbinned place.
    pub fn at(&self, b: f64, a: f64) -> f64 {
        evaluate(&self.along, &self.across, &self.coefficients, b, a)
    }

    /// The surface on the pixels of an image, steps of `b` x steps of `a`.
    pub fn image(&self, light: &Light) -> Array2<f32> {
        let (rows, columns) = light.shape();
        let n = self.across.len();
        let columns_of: Vec<(usize, [f64; 4])> = (0..columns).map(|c| self.across.at(light.a_of(c as f64))).collect();
        let mut image = Array2::<f32>::zeros((rows, columns));
        if let Some(pixels) = image.as_slice_mut().filter(|pixels| !pixels.is_empty()) {
            pixels.par_chunks_mut(columns).enumerate().for_each(|(r, line)| {
                // first the curve across at this row, then its values
                let (first, factors) = self.along.at(light.b_of(r as f64));
                let curve: Vec<f64> =
                    (0..n).map(|j| (0..4).map(|i| factors[i] * self.coefficients[(first + i) * n + j]).sum()).collect();
                for (pixel, (start, values)) in line.iter_mut().zip(&columns_of) {
                    *pixel = values.iter().zip(&curve[*start..]).map(|(v, c)| v * c).sum::<f64>() as f32;
                }
            });
        }
        image
    }
}

fn breaks(low: f64, high: f64, distance: f64) -> Vec<f64> {
    let n = ((high - low) / distance).round().max(1.0) as usize;
    (0..=n).map(|k| low + (high - low) * k as f64 / n as f64).collect()
}

fn evaluate(along: &Basis, across: &Basis, coefficients: &[f64], b: f64, a: f64) -> f64 {
    let ((i, u), (j, v)) = (along.at(b), across.at(a));
    let n = across.len();
    let mut sum = 0.0;
    for (k, u) in u.iter().enumerate() {
        let line = &coefficients[(i + k) * n + j..(i + k) * n + j + 4];
        sum += u * line.iter().zip(&v).map(|(c, v)| c * v).sum::<f64>();
    }
    sum
}

fn solve(along: &Basis, across: &Basis, cells: &[Cell], weights: &[f64], penalty: f64) -> Option<Vec<f64>> {
    let (m, n) = (along.len(), across.len());
    let mut normal = Banded::new(m * n, 3 * n + 3);
    let mut factors = Vec::with_capacity(16);
    let mut total = 0.0;
    for (cell, weight) in cells.iter().zip(weights) {
        if *weight <= 0.0 {
            continue;
        }
        let ((i, u), (j, v)) = (along.at(cell.b), across.at(cell.a));
        factors.clear();
        for (k, u) in u.iter().enumerate() {
            factors.extend(v.iter().enumerate().map(|(l, v)| ((i + k) * n + j + l, u * v)));
        }
        normal.add(&factors, cell.value, *weight);
        total += weight;
    }
    // the penalty in units of the mean weight of a coefficient
    let scale = penalty * total / (m * n) as f64;
    let second = [1.0, -2.0, 1.0];
    for i in 0..m {
        for j in 0..n {
            if j + 2 < n {
                let row: [(usize, f64); 3] = std::array::from_fn(|k| (i * n + j + k, second[k]));
                normal.add(&row, 0.0, scale);
            }
            if i + 2 < m {
                let row: [(usize, f64); 3] = std::array::from_fn(|k| ((i + k) * n + j, second[k]));
                normal.add(&row, 0.0, scale);
            }
        }
    }
    normal.parameters()
}

/// Cauchy weights from the residuals.
fn reweight(weights: &mut [f64], base: &[f64], cells: &[Cell], value: impl Fn(&Cell) -> f64) -> Option<()> {
    let residuals: Vec<f64> = cells.iter().zip(base).map(|(cell, w)| (cell.value - value(cell)) * w.sqrt()).collect();
    let mut sizes: Vec<f64> = residuals.iter().map(|r| r.abs()).collect();
    let scale = (MAD_TO_SIGMA * median_f64(&mut sizes)?).max(1.0);
    for ((weight, base), r) in weights.iter_mut().zip(base).zip(&residuals) {
        *weight = base / (1.0 + (r / (2.0 * scale)).powi(2));
    }
    Some(())
}

/// The cells of all gaps, in a fixed order.
fn cells(light: &Light, orders: &[Edges], options: &ScatterOptions) -> Vec<Cell> {
    let (rows, columns) = light.shape();
    let step = (options.cell / light.binning[0]).max(1);
    let starts: Vec<usize> = (0..rows).step_by(step).collect();
    let last = (columns * light.binning[1]) as f64 - 1.0;
    starts
        .par_iter()
        .flat_map_iter(|start| {
            let end = (start + step).min(rows);
            let mut out = Vec::new();
            for gap in 0..=orders.len() {
                let below = gap.checked_sub(1).and_then(|k| orders.get(k));
                let above = orders.get(gap);
                let limits = |b: f64| -> [f64; 2] {
                    let low = below.map_or(0.0, |order| order.upper.at(b));
                    let high = above.map_or(last, |order| order.lower.at(b));
                    // at least three clean pixels, but never the foot of the slit's own profile
                    let blur = below.or(above).map_or(1.0, |order| order.blur);
                    let foot = 1.5 + 3.0 * blur;
                    let margin = options.margin.min(0.5 * (high - low - 3.0)).max(foot);
                    [
                        low + if below.is_some() { margin } else { 0.0 },
                        high - if above.is_some() { margin } else { 0.0 },
                    ]
                };
                let middle = light.b_of(0.5 * (start + end - 1) as f64);
                let [low, high] = limits(middle);
                let parts = ((high - low) / options.width as f64).ceil().max(1.0) as usize;
                for part in 0..parts {
                    out.extend(cell(light, *start..end, &limits, part, parts));
                }
            }
            out
        })
        .collect()
}

/// One cell: part `part` of `parts` of a gap that follows the orders.
fn cell(
    light: &Light,
    rows: std::ops::Range<usize>,
    limits: &dyn Fn(f64) -> [f64; 2],
    part: usize,
    parts: usize,
) -> Option<Cell> {
    let columns = light.shape().1 as i64;
    let mut values = Vec::new();
    let (mut b_sum, mut a_sum) = (0.0, 0.0);
    for row in rows {
        let b = light.b_of(row as f64);
        let [low, high] = limits(b);
        let width = (high - low) / parts as f64;
        if width <= 0.0 {
            continue;
        }
        let from = light.column_of(low + part as f64 * width).ceil() as i64;
        let to = light.column_of(low + (part + 1) as f64 * width).ceil() as i64;
        for column in from.max(0)..to.min(columns) {
            let value = f64::from(light.value[[row, column as usize]]);
            if value.is_finite() {
                values.push(value);
                b_sum += b;
                a_sum += light.a_of(column as f64);
            }
        }
    }
    let n = values.len();
    if n < LEAST {
        return None;
    }
    let centre = median_f64(&mut values)?;
    let sigma = light.variance(centre).sqrt();
    let (mut sum, mut count) = (0.0, 0.0);
    for value in &values {
        if (value - centre).abs() <= 4.0 * sigma {
            sum += value;
            count += 1.0;
        }
    }
    // half of the pixels contradict the noise: no place to measure
    if 2.0 * count < n as f64 {
        return None;
    }
    Some(Cell { b: b_sum / n as f64, a: a_sum / n as f64, value: sum / count, sigma: sigma / f64::sqrt(count) })
}

#[cfg(test)]
mod tests {
    use super::super::response::tests::slit_edges;
    use super::*;
    use crate::reduction::orders::synthetic::{COLUMNS, ROWS, Scene};

    const OPTIONS: ScatterOptions = ScatterOptions { cell: 32, width: 24, margin: 6.0, knots: [128.0, 60.0] };

    #[test]
    fn the_surface_is_found_under_the_orders_and_keeps_its_sign() {
        for level in [60.0, -20.0] {
            let scene = Scene { scattered: 0.0, rays: 50, half: 16.0, ..Scene::slit() };
            let surface =
                |r: usize, c: usize| level * (1.0 + 0.5 * (c as f64 / COLUMNS as f64) - 0.3 * (r as f64 / ROWS as f64));
            let mut value = scene.expose(&scene.image(|_, _| 1.0), 9);
            value.indexed_iter_mut().for_each(|((r, c), v)| *v += surface(r, c) as f32);
            let light = Light { value, shot: 1.0, floor: 16.0 + level.max(0.0), binning: [1, 1] };
            let found = fit(&light, &slit_edges(&scene), &OPTIONS).unwrap();
            let image = found.image(&light);
            let misses: Vec<f64> = image.indexed_iter().map(|((r, c), v)| f64::from(*v) - surface(r, c)).collect();
            let rms = (misses.iter().map(|m| m * m).sum::<f64>() / misses.len() as f64).sqrt();
            assert!(rms < 0.8, "{level}: {rms}");
            assert!((found.at(100.0, 50.0) - f64::from(image[[100, 50]])).abs() < 1e-4);
        }
    }

    #[test]
    fn an_image_without_gaps_has_no_surface() {
        let scene = Scene { half: 60.0, ..Scene::slit() };
        let light = Light { value: Array2::from_elem((64, COLUMNS), 5.0), shot: 1.0, floor: 1.0, binning: [1, 1] };
        assert!(fit(&light, &slit_edges(&scene), &OPTIONS).is_none());
    }
}
