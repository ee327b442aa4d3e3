//! Page of the order centres: traces over the frame, what of each order was covered, residuals and errors.

use ndarray::ArrayView2;

use super::{DOTS, View, ink, residual_range};
use crate::instrument::Arm;
use crate::quality::page::{Axis, Cell, Ink, Layer, Page, Palette, Panel, Stretch, thinned};
use crate::reduction::orders::OrderGuess;
use crate::reduction::orders::trace::Trace;

const SHOWN: [&str; 12] = [
    "N ORDERS",
    "SAMPLES DET FRAC",
    "SAMPLES CLIP FRAC",
    "SAMPLES GAP MAX",
    "X RES SD",
    "Y RES SD",
    "X RES MEDIAN",
    "Y RES MEDIAN",
    "CENTRE ERR MAX",
    "TRACE OFFSET",
    "LIT FRAC",
    "NFRAMES USED",
];

/// Points of a curve.
const STATIONS: u32 = 64;
/// Standard deviations in a full width at half maximum.
const FWHM: f64 = 2.354_820_045;

/// The page. `image` is the exposed area in electrons, of any binning; traces and guesses are in unbinned pixels.
pub fn page(arm: Arm, image: ArrayView2<'_, f32>, traces: &[Trace], guesses: &[OrderGuess]) -> Page {
    let view = View { arm };
    let mut traces: Vec<&Trace> = traces.iter().collect();
    traces.sort_by_key(|trace| trace.order);
    Page {
        title: format!("Order centres · {arm}"),
        subtitle: "Traces should run through the light of every order; residuals should be noise about zero."
            .to_string(),
        show: SHOWN.map(str::to_string).to_vec(),
        panels: vec![
            frame(view, image, &traces),
            coverage(view, &traces, guesses),
            residuals(view, &traces),
            errors(view, &traces),
            widths(view, &traces),
        ],
        ..Page::default()
    }
}

/// Equal steps between two places.
fn stations([from, to]: [f64; 2]) -> impl Iterator<Item = f64> {
    (0..=STATIONS).map(move |k| from + (to - from) * f64::from(k) / f64::from(STATIONS))
}

fn frame(view: View, image: ArrayView2<'_, f32>, traces: &[&Trace]) -> Panel {
    let [x, y] = view.axes();
    let lines = traces.iter().map(|trace| {
        let points = stations(trace.covered).map(|b| [b, trace.centre.at(b)]).collect();
        Layer::Line { points, ink: Ink::Overlay, width: 0.6, dashed: false, name: "centre".to_string() }
    });
    let names = traces.iter().enumerate().map(|(k, trace)| {
        let share = if k.is_multiple_of(2) { 0.04 } else { 0.09 };
        let b = trace.covered[0] + share * (trace.covered[1] - trace.covered[0]);
        Layer::Word { at: [b, trace.centre.at(b)], text: view.order(trace.order), ink: Ink::Overlay }
    });
    Panel::new(Cell::new(0, 7, 0, 2), "Flat through one pinhole with the centres found", x, y)
        .with(view.image(image, Stretch::Asinh(30.0, 99.7), Palette::Grey))
        .with_all(lines)
        .with_all(names)
}

/// Axis along the dispersion.
fn along(view: View) -> Axis {
    let [name, _] = view.names();
    Axis { label: format!("{name} / pixel"), ..view.axes()[0].clone() }
}

/// What of each order should be lit, was seen, and was used.
fn coverage(view: View, traces: &[&Trace], guesses: &[OrderGuess]) -> Panel {
    let place = |order: u8| traces.iter().position(|trace| trace.order == order).map_or(f64::NAN, |k| k as f64);
    let bar = |order: u8, [from, to]: [f64; 2], ink, width, name: &str| Layer::Line {
        points: vec![[from, place(order)], [to, place(order)]],
        ink,
        width,
        dashed: false,
        name: name.to_string(),
    };
    let wide = if traces.len() > 6 { 6.0 } else { 12.0 };
    let ends = along(view).range.unwrap_or([0.0, 1.0]);
    let lit = guesses
        .iter()
        .map(|guess| bar(guess.order, guess.lit.map(|b| b.clamp(ends[0], ends[1])), Ink::Rejected, wide, "expected"));
    let seen = traces.iter().map(|trace| {
        let covered = trace.covered.map(|b| b.clamp(ends[0], ends[1]));
        bar(trace.order, covered, Ink::Series(0), 0.45 * wide, "covered")
    });
    let unused: Vec<[f64; 2]> = traces
        .iter()
        .flat_map(|trace| trace.slices.iter().filter(|slice| !slice.used).map(|slice| [slice.b, place(trace.order)]))
        .collect();
    let y = Axis {
        ticks: traces.iter().enumerate().map(|(k, trace)| (k as f64, view.order(trace.order))).collect(),
        ..Axis::from_to("order", -0.7, traces.len() as f64 - 0.3)
    };
    Panel::new(Cell::new(7, 5, 0, 2), "Coverage of the orders", along(view), y).with_all(lit).with_all(seen).with(
        Layer::Dots {
            points: thinned(&unused, DOTS),
            ink: Ink::Series(1),
            size: 2.0,
            name: "slice not used".to_string(),
        },
    )
}

fn residuals(view: View, traces: &[&Trace]) -> Panel {
    let off = |trace: &Trace, used: bool| -> Vec<[f64; 2]> {
        let slices = trace.slices.iter().filter(|slice| slice.used == used);
        slices.filter_map(|slice| Some([slice.b, slice.peak?.centre - trace.centre.at(slice.b)])).collect()
    };
    let all: Vec<f64> = traces.iter().flat_map(|trace| off(trace, true)).map(|point| point[1]).collect();
    let [low, high] = residual_range(&all, 0.01);
    let [_, across] = view.names();
    let share = DOTS / traces.len().max(1);
    let dots = |trace: &Trace, used: bool, ink| Layer::Dots {
        points: thinned(&off(trace, used), share),
        ink,
        size: 1.8,
        name: String::new(),
    };
    let y = Axis::from_to(&format!("{across} residual / pixel"), low, high);
    Panel::new(Cell::new(0, 12, 2, 1), "Measured centres about the curves, all orders", along(view), y)
        .with(Layer::Level { y: 0.0, ink: Ink::Grey, name: String::new() })
        .with_all(traces.iter().map(|trace| dots(trace, false, Ink::Rejected)))
        .with_all(traces.iter().map(|trace| dots(trace, true, ink(trace.order))))
}

/// Curves of all orders; a legend when they are few.
fn curves(panel: Panel, view: View, traces: &[&Trace], value: impl Fn(&Trace, f64) -> f64) -> Panel {
    panel.with_all(traces.iter().map(|trace| {
        let points = stations(trace.covered).map(|b| [b, value(trace, b)]).collect();
        let name = if traces.len() > 6 { String::new() } else { view.order(trace.order) };
        Layer::line(points, ink(trace.order)).named(&name)
    }))
}

fn errors(view: View, traces: &[&Trace]) -> Panel {
    let y = Axis::new("1 σ / pixel").log();
    let panel = Panel::new(Cell::new(0, 6, 3, 1), "Error of the centre", along(view), y);
    curves(panel, view, traces, |trace, b| trace.centre.sigma(b))
}

fn widths(view: View, traces: &[&Trace]) -> Panel {
    let y = Axis::new("FWHM / pixel");
    let panel = Panel::new(Cell::new(6, 6, 3, 1), "Width of the pinhole across", along(view), y);
    curves(panel, view, traces, |trace, b| FWHM * trace.sigma.at(b))
}
