//! The smooth light of a lamp along an order: its colour times the blaze, and the illumination along the slit.
//!
//! The light is a function of wavelength, so it is measured along the slit's tilted image, on the pixels as they are. Its
//! logarithm is a spline that is as stiff as the light allows: long intervals on the broad curve of lamp and blaze, short
//! ones only where the light bends by more than the pixels' response ever does, as at the edges of the dichroics. What a
//! stiff curve cannot follow stays in the response of the pixels, where it belongs.

use super::spline::{Basis, Spline};
use super::structure::{Left, Leftover, Structure};
use crate::numerics::chebyshev;
use crate::numerics::curve::Curve;
use crate::numerics::least_squares::NormalSums;
use crate::numerics::robust::{MAD_TO_SIGMA, median_f64};
use crate::reduction::orders::edges::Edges;
use crate::reduction::orders::image::Light;
use crate::reduction::orders::profile::step;

use ndarray::Array2;

/// How stiff the light is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BlazeOptions {
    /// Length of an interval of the spline, unbinned pixels.
    pub interval: f64,
    /// Shortest interval, where the light bends most.
    pub shortest: f64,
    /// Relative deviation beyond which an interval is halved.
    pub tolerance: f64,
}

/// Where a pixel lies in an order, by rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowPlace {
    /// Unbinned `b` of the row.
    pub b: f64,
    /// Lower and upper edge, columns of the image.
    pub edges: [f64; 2],
    /// Change of the place along the order per column.
    lean: f64,
    /// Gaussian sigma of the edges, columns of the image.
    blur: f64,
}

impl RowPlace {
    /// Of a row of an image. `tilt` is the slope of the slit's image.
    pub fn of(light: &Light, row: usize, edges: &Edges, tilt: &Curve) -> RowPlace {
        let b = light.b_of(row as f64);
        let slope = 0.5 * (edges.lower.slope(b) + edges.upper.slope(b));
        let bin = light.binning[1] as f64;
        let tilt = tilt.at(b);
        RowPlace {
            b,
            edges: [light.column_of(edges.lower.at(b)), light.column_of(edges.upper.at(b))],
            // a pixel off the centre shows the light of the place where its slit image crosses the centre
            lean: -tilt * bin / (1.0 - tilt * slope),
            blur: edges.blur / bin,
        }
    }

    /// Place along the order (unbinned `b` at the order's centre) and along the slit (-1 to +1 between the edges).
    pub fn at(&self, column: f64) -> (f64, f64) {
        let [low, high] = self.edges;
        let from_centre = column - 0.5 * (low + high);
        (self.b + self.lean * from_centre, 2.0 * from_centre / (high - low))
    }

    /// Light that the slit lets through, 0 to 1, and its slope per column.
    pub fn slit(&self, column: f64) -> (f64, f64) {
        let [low, high] = self.edges;
        let (rise, fall) = (step(column - low, self.blur), step(column - high, self.blur));
        (rise[0] - fall[0], rise[1].max(fall[1]))
    }

    /// Columns with light, half open, within an image of this width.
    pub fn columns(&self, width: usize) -> std::ops::Range<usize> {
        let reach = 4.0 * self.blur + 1.0;
        let first = (self.edges[0] - reach).ceil().clamp(0.0, width as f64) as usize;
        let end = (self.edges[1] + reach).floor().clamp(-1.0, width as f64 - 1.0) as i64 + 1;
        first..(end.max(first as i64) as usize)
    }
}

/// The light of a lamp in one order.
#[derive(Clone, Debug, PartialEq)]
pub struct Blaze {
    /// Order.
    pub order: u8,
    /// Logarithm of the electrons per pixel of the image in the middle of the slit, against the place along the order.
    spline: Spline,
    /// First and last place where there is light.
    pub reach: [f64; 2],
    /// Illumination along the slit: for each shape of [`shapes`] its Chebyshev coefficients along `domain`.
    illumination: [[f64; TERMS]; SHAPES],
    domain: [f64; 2],
    /// Intervals of the spline.
    pub intervals: usize,
    /// Places along the order with narrow features of the lamp (emission lines), which the curve does not follow.
    pub features: Vec<[f64; 2]>,
    table: Vec<f64>,
    leftover: Option<Leftover>,
    /// Relative error of the light at every [`ERROR_STEP`] from the first place on; empty until it is known.
    errors: Vec<f64>,
}

/// Distance of the places at which the error of the light is kept, unbinned pixels: it varies as slowly as the curve.
const ERROR_STEP: f64 = 16.0;
/// Steps of the table of the light per unbinned pixel.
const TABLE: f64 = 2.0;
/// Along the slit, between the edges, pixels within this are free of the edges' slope.
const INNER: f64 = 0.85;
/// Signal to noise that a point of the curve must have; neighbours are taken together until they do.
const POINT: f64 = 20.0;
/// Most rows that are taken together.
const MOST: usize = 32;
/// Least signal to noise of a point.
const LEAST: f64 = 5.0;
/// Scatter of pixels because they respond differently.
const PATTERN: f64 = 0.015;
/// Most and fewest terms of the illumination along the order.
const TERMS: usize = 8;
const FEWEST: usize = 4;
/// Shapes of the illumination along the slit.
const SHAPES: usize = 3;

/// Slope, bend and twist: the Legendre polynomials 1 to 3 along the slit.
fn shapes(u: f64) -> [f64; SHAPES] {
    [u, 1.5 * u * u - 0.5, (2.5 * u * u - 1.5) * u]
}

/// A point of the curve.
#[derive(Clone, Copy, Debug)]
struct Node {
    p: f64,
    log: f64,
    sigma: f64,
}

impl Blaze {
    /// Electrons per pixel of the image in the middle of the slit.
    pub fn light(&self, p: f64) -> f64 {
        let position = (p - self.reach[0]).max(0.0) * TABLE;
        let index = (position as usize).min(self.table.len().saturating_sub(2));
        let share = (position - index as f64).min(1.0);
        match self.table.get(index..index + 2) {
            Some([a, b]) => a + share * (b - a),
            _ => 0.0,
        }
    }

    /// Illumination along the slit relative to its mean.
    pub fn illumination(&self, p: f64, u: f64) -> f64 {
        1.0 + self.shape(p).iter().zip(shapes(u)).map(|(size, shape)| size * shape).sum::<f64>()
    }

    /// Slope, bend and twist of the illumination at a place along the order.
    pub fn shape(&self, p: f64) -> [f64; SHAPES] {
        let mut terms = [0.0; TERMS];
        chebyshev::values(reduced(p, self.domain), &mut terms);
        self.illumination.map(|line| line.iter().zip(terms).map(|(c, t)| c * t).sum())
    }

    /// What the curve left over; `None` when there is too little light.
    pub fn leftover(&self) -> Option<&Leftover> {
        self.leftover.as_ref()
    }

    /// Work out the error of the light from how the pixels' response changes along the orders.
    pub fn set_errors(&mut self, structure: &Structure) {
        let steps = ((self.reach[1] - self.reach[0]) / ERROR_STEP).floor() as usize + 1;
        let places: Vec<f64> = (0..steps).map(|k| self.reach[0] + k as f64 * ERROR_STEP).collect();
        let errors = self.leftover.as_ref().and_then(|leftover| leftover.errors(structure, &places));
        self.errors = errors.unwrap_or_default();
    }

    /// Relative error of the light, common to neighbouring places: how well it can be told from the pixels' response. `None`
    /// when it was not worked out.
    pub fn error(&self, p: f64) -> Option<f64> {
        let nearest = ((p - self.reach[0]) / ERROR_STEP).round().max(0.0) as usize;
        self.errors.get(nearest.min(self.errors.len().checked_sub(1)?)).copied()
    }

    /// Whether a place shows a narrow feature of the lamp.
    pub fn is_feature(&self, p: f64) -> bool {
        self.features.iter().any(|[low, high]| (*low..=*high).contains(&p))
    }
}

fn reduced(p: f64, [low, high]: [f64; 2]) -> f64 {
    ((2.0 * p - low - high) / (high - low).max(1.0)).clamp(-1.0, 1.0)
}

/// Measure the light of one order. `light` holds no scattered light and NaN in bad pixels, `variance` belongs to it.
/// `None` when there is too little light.
pub fn measure(
    light: &Light,
    variance: &Array2<f32>,
    edges: &Edges,
    tilt: &Curve,
    options: &BlazeOptions,
) -> Option<Blaze> {
    let rows = light.shape().0;
    let places: Vec<RowPlace> = (0..rows).map(|row| RowPlace::of(light, row, edges, tilt)).collect();
    let domain = light.reach();
    let mut illumination = [[0.0; TERMS]; SHAPES];
    let mut found: Option<Blaze> = None;
    for _ in 0..2 {
        let nodes = nodes(light, variance, &places, found.as_ref());
        let reach = extent(&nodes)?;
        let nodes: Vec<Node> = nodes.into_iter().filter(|n| (reach[0]..=reach[1]).contains(&n.p)).collect();
        let (spline, intervals) = adapt(&nodes, reach, options)?;
        let features = features(&nodes, &spline, options);
        let steps = ((reach[1] - reach[0]) * TABLE).ceil() as usize + 2;
        let table = (0..steps).map(|k| spline.at(reach[0] + k as f64 / TABLE).exp()).collect();
        let leftover = left(&nodes, &spline, &features);
        let order = edges.order;
        let errors = vec![];
        let mut blaze =
            Blaze { order, spline, reach, illumination, domain, intervals, features, table, leftover, errors };
        if let Some(better) = illuminate(light, variance, &places, &blaze) {
            illumination = better;
            blaze.illumination = illumination;
        }
        found = Some(blaze);
    }
    found
}

/// The light along the order, as many rows together as its noise asks for. A pixel that contradicts the light found
/// before is left out.
fn nodes(light: &Light, variance: &Array2<f32>, places: &[RowPlace], before: Option<&Blaze>) -> Vec<Node> {
    let (rows, columns) = light.shape();
    let bin = light.binning[0] as f64;
    // sum of light, of what the slit lets through, and of variance, by place along the order in rows
    let mut sums = vec![[0.0f64; 4]; rows];
    for (row, place) in places.iter().enumerate() {
        for column in place.columns(columns) {
            let value = f64::from(light.value[[row, column]]);
            let (p, u) = place.at(column as f64);
            let index = light.row_of(p).round();
            if u.abs() > INNER || !value.is_finite() || index < 0.0 || index >= rows as f64 {
                continue;
            }
            let noise = f64::from(variance[[row, column]]);
            let share = before.map_or(1.0, |blaze| blaze.illumination(p, u));
            if let Some(blaze) = before {
                let expected = blaze.light(p) * share;
                let miss = value - expected;
                if miss * miss > 36.0 * (noise + (0.05 * expected).powi(2)) && !blaze.is_feature(p) {
                    continue;
                }
            }
            let sum = &mut sums[index as usize];
            sum[0] += value;
            sum[1] += share;
            sum[2] += noise;
            sum[3] += p;
        }
    }
    let mut nodes = Vec::with_capacity(rows);
    let (mut total, mut n, mut pixels) = ([0.0f64; 4], 0, 0.0);
    let most = (MOST as f64 / bin).max(4.0) as usize;
    for (k, sum) in sums.iter().enumerate() {
        total.iter_mut().zip(sum).for_each(|(t, s)| *t += s);
        pixels += sum[1];
        n += 1;
        let signal = total[0] / total[2].sqrt();
        if signal >= POINT || n >= most || k + 1 == rows {
            if total[1] > 0.0 && total[0] > 0.0 && signal >= LEAST {
                let pattern = PATTERN / total[1].sqrt();
                nodes.push(Node {
                    p: total[3] / pixels,
                    log: (total[0] / total[1]).ln(),
                    sigma: signal.recip().hypot(pattern),
                });
            }
            (total, n, pixels) = ([0.0; 4], 0, 0.0);
        }
    }
    nodes
}

/// First and last place with light that its neighbours confirm: of the four points from an end on, the light must not
/// jump by more than a factor of ten, and must reach far enough for a curve.
fn extent(nodes: &[Node]) -> Option<[f64; 2]> {
    let steady = |pair: &[Node]| (pair[0].log - pair[1].log).abs() < 2.3 && pair[1].p - pair[0].p < 3.0 * MOST as f64;
    let runs: Vec<bool> = nodes.windows(2).map(steady).collect();
    // the longest run of steady light
    let (mut best, mut start) = (0..0, 0);
    for k in 0..=runs.len() {
        if k == runs.len() || !runs[k] {
            if k - start > best.len() {
                best = start..k;
            }
            start = k + 1;
        }
    }
    let (first, last) = (nodes.get(best.start)?, nodes.get(best.end)?);
    (best.len() >= 12).then_some([first.p, last.p])
}

/// The stiffest spline that follows the light.
fn adapt(nodes: &[Node], [low, high]: [f64; 2], options: &BlazeOptions) -> Option<(Spline, usize)> {
    let n = ((high - low) / options.interval).round().max(1.0) as usize;
    let mut breaks: Vec<f64> = (0..=n).map(|k| low + (high - low) * k as f64 / n as f64).collect();
    let mut spline = robust(&breaks, nodes)?;
    for _ in 0..32 {
        let rough = roughness(&breaks, nodes, &spline, options);
        let worst = breaks
            .windows(2)
            .zip(&rough)
            .filter(|(pair, _)| pair[1] - pair[0] >= 2.0 * options.shortest)
            .map(|(_, rough)| *rough)
            .fold(0.0, f64::max);
        if worst <= options.tolerance {
            break;
        }
        breaks = halved(&breaks, |k, length| {
            rough[k] > options.tolerance && rough[k] >= 0.5 * worst && length >= 2.0 * options.shortest
        });
        spline = robust(&breaks, nodes)?;
    }
    // where the light bends, and beside it, two more halvings bring the deviation far below the tolerance
    for _ in 0..2 {
        let bends: Vec<bool> = breaks.windows(2).map(|pair| pair[1] - pair[0] <= 0.3 * options.interval).collect();
        let near = |k: usize| (k.saturating_sub(1)..=k + 1).any(|j| bends.get(j) == Some(&true));
        breaks = halved(&breaks, |k, length| near(k) && length >= 2.0 * options.shortest);
    }
    spline = robust(&breaks, nodes).unwrap_or(spline);
    Some((spline, breaks.len() - 1))
}

fn halved(breaks: &[f64], split: impl Fn(usize, f64) -> bool) -> Vec<f64> {
    let mut out = Vec::with_capacity(2 * breaks.len());
    for (k, pair) in breaks.windows(2).enumerate() {
        out.push(pair[0]);
        if split(k, pair[1] - pair[0]) {
            out.push(0.5 * (pair[0] + pair[1]));
        }
    }
    out.extend(breaks.last());
    out
}

/// What the curve leaves over, outside of narrow features.
fn left(nodes: &[Node], spline: &Spline, features: &[[f64; 2]]) -> Option<Leftover> {
    let plain = |node: &&Node| !features.iter().any(|[low, high]| (*low..=*high).contains(&node.p));
    let points: Vec<Left> = nodes
        .iter()
        .filter(plain)
        .map(|node| Left { p: node.p, log: node.log - spline.at(node.p), sigma: node.sigma })
        .collect();
    Leftover::gather(&points, spline.basis(), |point| weight(point.sigma))
}

/// Weight of a point of this error: the curve is not drawn to points better than pixels differ.
fn weight(sigma: f64) -> f64 {
    1.0 / (sigma * sigma + 1e-4)
}

/// Points pull less the further they are off: emission lines of the lamp do not bend the curve.
fn robust(breaks: &[f64], nodes: &[Node]) -> Option<Spline> {
    let base = |node: &Node| weight(node.sigma);
    let mut weights: Vec<f64> = nodes.iter().map(base).collect();
    let mut spline = None;
    for _ in 0..5 {
        let points: Vec<(f64, f64, f64)> = nodes.iter().zip(&weights).map(|(n, w)| (n.p, n.log, *w)).collect();
        let now = Spline::fit(Basis::new(breaks)?, &points)?;
        let residuals: Vec<f64> = nodes.iter().map(|n| (n.log - now.at(n.p)) * base(n).sqrt()).collect();
        let mut sizes: Vec<f64> = residuals.iter().map(|r| r.abs()).collect();
        let scale = (MAD_TO_SIGMA * median_f64(&mut sizes)?).max(0.3);
        for ((weight, node), r) in weights.iter_mut().zip(nodes).zip(&residuals) {
            *weight = base(node) / (1.0 + (r / (3.0 * scale)).powi(2));
        }
        spline = Some(now);
    }
    spline
}

/// By how much the light deviates from the curve, interval by interval: the largest of the medians over parts of it, less
/// their noise. Medians, so that narrow features do not count.
fn roughness(breaks: &[f64], nodes: &[Node], spline: &Spline, options: &BlazeOptions) -> Vec<f64> {
    breaks
        .windows(2)
        .map(|pair| {
            let parts = ((pair[1] - pair[0]) / (4.0 * options.shortest)).floor().max(1.0) as usize;
            let mut largest = 0.0f64;
            for part in 0..parts {
                let from = pair[0] + (pair[1] - pair[0]) * part as f64 / parts as f64;
                let to = pair[0] + (pair[1] - pair[0]) * (part + 1) as f64 / parts as f64;
                let first = nodes.partition_point(|node| node.p < from);
                let end = nodes.partition_point(|node| node.p <= to);
                let inside = &nodes[first..end.max(first)];
                let mut residuals: Vec<f64> = inside.iter().map(|node| node.log - spline.at(node.p)).collect();
                let Some(median) = median_f64(&mut residuals) else { continue };
                let noise = inside.iter().map(|n| n.sigma.powi(2)).sum::<f64>() / (inside.len() as f64).powi(2);
                // four sigmas of the median's own noise are no deviation
                let size = median.abs() - 4.0 * (std::f64::consts::FRAC_PI_2 * noise).sqrt();
                largest = largest.max(size);
            }
            largest
        })
        .collect()
}

/// Places where single points stand far off the curve.
fn features(nodes: &[Node], spline: &Spline, options: &BlazeOptions) -> Vec<[f64; 2]> {
    let mut out: Vec<[f64; 2]> = Vec::new();
    for node in nodes {
        let miss = (node.log - spline.at(node.p)).abs();
        if miss > 5.0 * node.sigma && miss > 2.0 * options.tolerance {
            let around = [node.p - 3.0, node.p + 3.0];
            match out.last_mut().filter(|last| last[1] >= around[0]) {
                Some(last) => last[1] = around[1],
                None => out.push(around),
            }
        }
    }
    out
}

/// Cells along the slit.
const CELLS: usize = 8;
/// Rows of a cell along the order, unbinned.
const CELL: f64 = 64.0;

/// The illumination along the slit, slowly changing along the order.
fn illuminate(
    light: &Light,
    variance: &Array2<f32>,
    places: &[RowPlace],
    blaze: &Blaze,
) -> Option<[[f64; TERMS]; SHAPES]> {
    let columns = light.shape().1;
    let count = ((blaze.reach[1] - blaze.reach[0]) / CELL).ceil().max(1.0) as usize;
    // weighted light over expectation, weight, place along the order and along the slit
    let mut cells = vec![[0.0f64; 4]; count * CELLS];
    for (row, place) in places.iter().enumerate() {
        let [slope, bend, twist] = blaze.shape(place.b);
        for column in place.columns(columns) {
            let value = f64::from(light.value[[row, column]]);
            let (p, u) = place.at(column as f64);
            if u.abs() > INNER || !value.is_finite() || p < blaze.reach[0] || p > blaze.reach[1] || blaze.is_feature(p)
            {
                continue;
            }
            let expected = blaze.light(p);
            let noise = f64::from(variance[[row, column]]) + (0.02 * expected).powi(2);
            let [a, b, c] = shapes(u);
            let miss = value - expected * (1.0 + slope * a + bend * b + twist * c);
            if miss * miss > 100.0 * noise {
                continue;
            }
            let weight = expected * expected / noise;
            let along = (((p - blaze.reach[0]) / CELL) as usize).min(count - 1);
            let across = (((u + INNER) / (2.0 * INNER) * CELLS as f64) as usize).min(CELLS - 1);
            let cell = &mut cells[along * CELLS + across];
            cell[0] += weight * (value / expected - 1.0);
            cell[1] += weight;
            cell[2] += weight * p;
            cell[3] += weight * u;
        }
    }
    // few terms, unless more of them explain the light clearly better: they also follow what pixels do by themselves
    let (most, best) = shape_fit(&cells, blaze.domain, TERMS)?;
    let (few, simple) = shape_fit(&cells, blaze.domain, FEWEST)?;
    Some(if few > 1.2 * most { best } else { simple })
}

/// Least squares for the illumination with some terms along the order: mean square residual, and the coefficients.
fn shape_fit(cells: &[[f64; 4]], domain: [f64; 2], terms: usize) -> Option<(f64, [[f64; TERMS]; SHAPES])> {
    let n = SHAPES * terms;
    let row = |cell: &[f64; 4]| {
        let mut along = vec![0.0; terms];
        chebyshev::values(reduced(cell[2] / cell[1], domain), &mut along);
        let across = shapes(cell[3] / cell[1]);
        across.iter().flat_map(|shape| along.iter().map(move |term| shape * term)).collect::<Vec<f64>>()
    };
    let mut sums = NormalSums::new(n);
    // the mean of a block belongs to the light along the order: each block has a constant of its own
    let mut blocks = 0.0;
    for block in cells.chunks(CELLS) {
        let lit: Vec<(&[f64; 4], Vec<f64>)> =
            block.iter().filter(|cell| cell[1] > 0.0).map(|cell| (cell, row(cell))).collect();
        if lit.len() < CELLS / 2 {
            continue;
        }
        blocks += 1.0;
        let weight: f64 = lit.iter().map(|(cell, _)| cell[1]).sum();
        let mean_value = lit.iter().map(|(cell, _)| cell[0]).sum::<f64>() / weight;
        let mut mean_row = vec![0.0; n];
        for (cell, row) in &lit {
            mean_row.iter_mut().zip(row).for_each(|(mean, r)| *mean += r * cell[1] / weight);
        }
        for (cell, row) in &lit {
            let root = cell[1].sqrt();
            let scaled: Vec<f64> = row.iter().zip(&mean_row).map(|(r, mean)| (r - mean) * root).collect();
            sums.add(&scaled, (cell[0] / cell[1] - mean_value) * root);
        }
    }
    let degrees = sums.rows() as f64 - blocks - n as f64;
    if degrees < 1.0 {
        return None;
    }
    let measured = sums.clone();
    // the illumination is even to some per cent; a term that nothing determines stays there
    for k in 0..n {
        let mut unit = vec![0.0; n];
        unit[k] = 1.0 / 0.1;
        sums.add(&unit, 0.0);
    }
    let found = sums.solve()?.coefficients;
    let mut illumination = [[0.0; TERMS]; SHAPES];
    for (line, values) in illumination.iter_mut().zip(found.chunks(terms)) {
        line[..terms].copy_from_slice(values);
    }
    Some((measured.chi_square(&found) / degrees, illumination))
}

#[cfg(test)]
mod tests {
    use super::super::response::tests::slit_edges;
    use super::*;
    use crate::reduction::orders::synthetic::{ROWS, Scene};

    const OPTIONS: BlazeOptions = BlazeOptions { interval: 128.0, shortest: 16.0, tolerance: 0.025 };

    #[test]
    fn the_light_of_the_lamp_is_followed_to_a_thousandth() {
        let scene = Scene { scattered: 0.0, ..Scene::slit() };
        let value = scene.image(|_, _| 1.0).mapv(|v| v as f32);
        let variance = value.mapv(|v| v.max(1.0));
        let light = Light { value, shot: 1.0, floor: 1.0, binning: [1, 1] };
        for edges in slit_edges(&scene) {
            let tilt = Curve::constant([0.0, 511.0], 0.0);
            let blaze = measure(&light, &variance, &edges, &tilt, &OPTIONS).unwrap();
            for b in [5.0, 100.0, 300.0, 500.0] {
                let truth = scene.level * scene.blaze(edges.order, b);
                assert!((blaze.light(b) / truth - 1.0).abs() < 2e-3, "{} {b}", edges.order);
                assert!((blaze.illumination(b, 0.8) - 1.0).abs() < 2e-3);
            }
            assert!(blaze.reach[0] < 2.0 && blaze.reach[1] > ROWS as f64 - 3.0 && blaze.features.is_empty());
            assert!(blaze.intervals <= 8, "{}", blaze.intervals);
        }
    }

    #[test]
    fn steep_ends_get_short_intervals_and_lines_are_not_followed() {
        let nodes: Vec<Node> = (0..2048)
            .map(|k| {
                let p = f64::from(k);
                // a dichroic's edge: a logistic of 20 pixels; a line of four pixels
                let edge = -((-(p - 250.0) / 20.0).exp().ln_1p());
                let line = if (1000.0..1004.0).contains(&p) { 0.8 } else { 0.0 };
                Node { p, log: 8.0 + edge + 0.2 * (p / 500.0).sin() + line, sigma: 0.003 }
            })
            .collect();
        let options = BlazeOptions { interval: 512.0, shortest: 24.0, tolerance: 0.025 };
        let (spline, intervals) = adapt(&nodes, [0.0, 2047.0], &options).unwrap();
        assert!((8..40).contains(&intervals), "{intervals}");
        for node in nodes.iter().filter(|n| !(998.0..1006.0).contains(&n.p)) {
            let miss = node.log - spline.at(node.p);
            assert!(miss.abs() < 0.01, "{} {miss}", node.p);
        }
        let found = features(&nodes, &spline, &options);
        assert!(found.len() == 1 && found[0][0] > 990.0 && found[0][1] < 1010.0, "{found:?}");
    }
}
