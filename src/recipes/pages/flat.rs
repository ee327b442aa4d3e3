//! Page of the master flat: edges over the frame, response of the pixels, light of the lamp, light between the orders.

use ndarray::ArrayView2;

use super::super::contract::{ProductImage, ProductTable};
use super::super::order_table::OrderRow;
use super::{SIDE, View, ink, integer, percentiles, real};
use crate::instrument::Arm;
use crate::quality::page::{Axis, Bar, Cell, Ink, Layer, Page, Palette, Panel, Stretch, Thumbnail, histogram, thinned};
use crate::reduction::flat::scatter;

const SHOWN: [&str; 14] = [
    "RESPONSE ERR",
    "PRNU",
    "NOISE RATIO",
    "ORDEXP50",
    "N ORDERS",
    "X RES SD",
    "SCATTER FRAC",
    "SCATTER ERR",
    "COLDPIX NUM",
    "SATURATED NUM",
    "UNSTABLE NUM",
    "LAMP RANGE",
    "D2 ORDERS",
    "NFRAMES USED",
];

/// Pixels that the histogram looks at, about.
const SAMPLE: usize = 300_000;
/// Bins of the histogram.
const BINS: usize = 100;
/// Cells of the map of scattered light, along the dispersion and across.
const CELLS: [usize; 2] = [64, 32];
/// Points of a curve.
const STATIONS: u32 = 64;

/// What the page is made of.
pub struct Shown<'a> {
    /// Arm.
    pub arm: Arm,
    /// Mean of the lit frames, electrons, as read out.
    pub light: ArrayView2<'a, f32>,
    /// Orders with edges.
    pub rows: &'a [OrderRow],
    /// The products: the response first.
    pub products: &'a [ProductImage],
    /// The tables.
    pub tables: &'a [ProductTable],
    /// Light between the orders.
    pub cells: &'a [scatter::Cell],
}

/// The page.
pub fn page(shown: &Shown<'_>) -> Page {
    let view = View { arm: shown.arm };
    let mut panels = vec![frame(view, shown)];
    if let Some(response) = shown.products.first() {
        panels.extend([map(view, response), values(response)]);
    }
    panels.extend([blaze(view, shown.tables), between(view, shown.cells), lengths(view, shown.rows)]);
    Page {
        title: format!("Master flat · {}", shown.arm),
        subtitle: "Edges should hug the light; the response should be as narrow as its errors allow, without bands."
            .to_string(),
        show: SHOWN.map(str::to_string).to_vec(),
        panels,
        ..Page::default()
    }
}

fn along(view: View) -> Axis {
    let [name, _] = view.names();
    Axis { label: format!("{name} / pixel"), ..view.axes()[0].clone() }
}

fn stations([from, to]: [f64; 2]) -> impl Iterator<Item = f64> {
    (0..=STATIONS).map(move |k| from + (to - from) * f64::from(k) / f64::from(STATIONS))
}

fn frame(view: View, shown: &Shown<'_>) -> Panel {
    let [x, y] = view.axes();
    let edges = shown.rows.iter().flat_map(|row| {
        let curves = row.edges.iter().flatten();
        curves.map(|curve| Layer::Line {
            points: stations(row.covered).map(|b| [b, curve.at(b)]).collect(),
            ink: Ink::Overlay,
            width: 0.6,
            dashed: false,
            name: "edges".to_string(),
        })
    });
    let names = shown.rows.iter().enumerate().map(|(k, row)| {
        let share = if k.is_multiple_of(2) { 0.04 } else { 0.09 };
        let b = row.covered[0] + share * (row.covered[1] - row.covered[0]);
        Layer::Word { at: [b, row.centre.at(b)], text: view.order(row.order), ink: Ink::Overlay }
    });
    Panel::new(Cell::new(0, 5, 0, 2), "Flat with the edges of the orders", x, y)
        .with(view.image(shown.light, Stretch::Asinh(10.0, 99.5), Palette::Grey))
        .with_all(edges)
        .with_all(names)
}

/// The response over the detector, a per cent about 1.
fn map(view: View, response: &ProductImage) -> Panel {
    let [x, y] = view.axes();
    let (value, bits) = (response.value.view(), response.flags.view());
    let stretch = Stretch::Between(0.97, 1.03);
    let thumbnail = view.seen(Thumbnail::of_good(value, bits, -1, SIDE, stretch, Palette::Diverging));
    let bar = Bar { label: "response".to_string(), range: thumbnail.range, palette: thumbnail.palette };
    Panel::new(Cell::new(5, 4, 0, 2), "Response, means of blocks", x, y).with(view.layer(thumbnail)).with_bar(bar)
}

/// Histogram of the response with what its errors alone would give.
fn values(response: &ProductImage) -> Panel {
    let step = (response.value.len() / SAMPLE).max(1);
    let mut good: Vec<(f64, f64)> = Vec::new();
    for row in (0..response.value.nrows()).step_by(step) {
        let Some(variance) = response.variance.as_ref().map(|plane| plane.row(row)) else { break };
        let pixels = response.value.row(row).into_iter().zip(response.flags.row(row)).zip(variance);
        let lit = pixels.filter(|((value, bits), variance)| **bits == 0 && value.is_finite() && **variance > 0.0);
        good.extend(lit.map(|((value, _), variance)| (f64::from(*value), f64::from(variance.sqrt()))));
    }
    let [low, high] = percentiles(good.iter().map(|(value, _)| *value), 0.3, 99.7);
    let reach = (high - 1.0).max(1.0 - low).clamp(0.005, 0.5) * 1.3;
    let (from, to) = (1.0 - reach, 1.0 + reach);
    let (edges, counts) = histogram(good.iter().map(|(value, _)| *value), from, to, BINS);
    let width = (to - from) / BINS as f64;
    // errors in classes of equal numbers: a sum of bells
    let mut sigmas: Vec<f64> = good.iter().map(|(_, sigma)| *sigma).collect();
    sigmas.sort_unstable_by(f64::total_cmp);
    let classes: Vec<f64> = (0..24).filter_map(|k| sigmas.get(sigmas.len() * (2 * k + 1) / 48).copied()).collect();
    let share = good.len() as f64 * width / classes.len().max(1) as f64;
    let bell = |k: usize| {
        let x = from + (to - from) * k as f64 / 200.0;
        let sum = classes.iter().map(|s| (-0.5 * ((x - 1.0) / s).powi(2)).exp() / s).sum::<f64>();
        [x, share * sum / (2.0 * std::f64::consts::PI).sqrt()]
    };
    let bell: Vec<[f64; 2]> = (0..=200).map(bell).collect();
    Panel::new(Cell::new(9, 3, 0, 2), "Response of pixels", Axis::from_to("response", from, to), Axis::new("pixels"))
        .with(Layer::Bars { edges, counts, ink: Ink::Series(0), name: "measured".to_string() })
        .with(Layer::line(bell, Ink::Model).named("errors alone"))
}

/// The light of the lamp along each order.
fn blaze(view: View, tables: &[ProductTable]) -> Panel {
    let table = tables.iter().find(|table| table.catg == "BLAZE_TAB").and_then(|product| product.tables.first());
    let [name, _] = view.names();
    let (order, place, light) = (integer(table, "order"), real(table, name), real(table, "blaze"));
    let mut orders: Vec<i64> = order.to_vec();
    orders.sort_unstable();
    orders.dedup();
    let curve = |wanted: i64| {
        let points = order.iter().zip(place).zip(light).filter(|((order, _), _)| **order == wanted);
        let points: Vec<[f64; 2]> = points.map(|((_, place), light)| [*place, *light]).collect();
        (u8::try_from(wanted).unwrap_or(0), thinned(&points, 300))
    };
    let curves: Vec<(u8, Vec<[f64; 2]>)> = orders.iter().map(|order| curve(*order)).collect();
    let [low, high] = percentiles(light.iter().copied(), 1.0, 100.0);
    let y = Axis::from_to("electrons per pixel", (0.8 * low).max(1.0), high.max(10.0) * 2.0).log();
    let last = curves.len().saturating_sub(1).max(1);
    let names = curves.iter().enumerate().filter_map(|(k, (order, points))| {
        // one after the other, so that they do not touch
        let at = points.get(points.len() * (k * 84 / last + 8) / 100)?;
        Some(Layer::Word { at: [at[0], at[1] * 1.15], text: view.order(*order), ink: ink(*order) })
    });
    let lines = curves.iter().map(|(order, points)| Layer::line(points.clone(), ink(*order)));
    Panel::new(Cell::new(0, 12, 2, 1), "Light of the lamp along each order, middle of the slit", along(view), y)
        .with_all(lines)
        .with_all(names)
}

/// Light between the orders.
fn between(view: View, cells: &[scatter::Cell]) -> Panel {
    let range = percentiles(cells.iter().map(|cell| cell.value), 1.0, 99.0);
    let means = view.cells(cells.iter().map(|cell| [cell.b, cell.a, cell.value]), CELLS);
    let [x, y] = view.axes();
    let stretch = Stretch::Between(range[0], range[1]);
    let thumbnail = Thumbnail::of_values(CELLS[0], CELLS[1], means, stretch, Palette::Viridis);
    Panel::new(Cell::new(0, 6, 3, 1), "Scattered light measured between the orders", x, y)
        .with(view.layer(thumbnail))
        .with_bar(Bar { label: "e−".to_string(), range, palette: Palette::Viridis })
}

/// Distance of the edges.
fn lengths(view: View, rows: &[OrderRow]) -> Panel {
    let panel =
        Panel::new(Cell::new(6, 6, 3, 1), "Length of the slit's image", along(view), Axis::new("length / pixel"));
    panel.with_all(rows.iter().filter_map(|row| {
        let [lower, upper] = row.edges.as_ref()?;
        let points = stations(row.covered).map(|b| [b, upper.at(b) - lower.at(b)]).collect();
        let name = if rows.len() > 6 { String::new() } else { view.order(row.order) };
        Some(Layer::line(points, ink(row.order)).named(&name))
    }))
}
