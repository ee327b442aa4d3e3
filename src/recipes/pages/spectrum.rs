//! Page of a merged spectrum, of one arm or of both: flux with its errors, signal to noise, sky, and how its parts join.

use super::super::contract::SourceSpectrum;
use crate::instrument::{Arm, FrameMeta};
use crate::quality::page::{Axis, Cell, Ink, Layer, Page, Panel, thinned};
use crate::reduction::spectrum::lines::bands;
use crate::reduction::spectrum::merged::{FluxUnit, Join, MergedSpectrum};

use super::percentiles;

const SHOWN: [&str; 12] = [
    "SNR MEDIAN",
    "ARM SCALE",
    "ARM SCALE ERR",
    "ARM SCALE APPLIED",
    "ARM SCATTER",
    "OVERLAP WORST",
    "OPT BOX RATIO",
    "DERSNR RATIO",
    "NOISE INFLATION",
    "SKY RES LINES",
    "PROFILE FWHM",
    "WAVE SHIFT",
];

/// Points of a curve over the whole width of the page.
const POINTS: usize = 1400;
/// Bands that absorb less than this are not marked.
const DEPTH: f64 = 0.05;
/// Calibrated light is shown in this unit.
const UNIT: f64 = 1e-17;
/// Part of the height that is left free above and below.
const MARGIN: f64 = 0.12;

/// Means over one stretch of samples, and its middle.
#[derive(Clone, Copy)]
struct Stretch {
    wavelength: f64,
    flux: f64,
    error: f64,
    sky: f64,
    signal: f64,
}

/// The page. `metas` are the frames that went in.
pub fn page(metas: &[&FrameMeta], source: &SourceSpectrum) -> Page {
    let spectrum = &source.merged;
    let calibrated = spectrum.unit == FluxUnit::FluxDensity;
    let scale = if calibrated { UNIT } else { 1.0 };
    let unit = if calibrated { "10^{-17} erg s^{-1} cm^{-2} Å^{-1}" } else { "e^{-} s^{-1} nm^{-1}" };
    let all = stretches(spectrum, ends(spectrum), POINTS, scale);
    let [from, to] = ends(spectrum);
    let axis = || ticked(Axis::from_to("wavelength in air / nm", from, to).log(), from, to);
    let shown = range(all.iter().map(|s| s.flux));
    let mut panels = vec![
        flux(Cell::new(0, 12, 0, 2), "Flux with its error", axis().bare(), unit, &all, shown)
            .with_all(marks(&spectrum.joins)),
        signal(Cell::new(0, 12, 2, 1), axis().bare(), &all),
        sky(Cell::new(0, 12, 3, 1), axis(), unit, &all),
    ];
    panels.push(zoom(spectrum, unit, scale));
    panels.push(joins(&spectrum.joins));
    let arms = arms(metas);
    let number = if source.number > 1 { format!(" · source {}", source.number) } else { String::new() };
    Page {
        suffix: suffix(source.number),
        title: format!("{} · {arms}{number}", target(metas)),
        subtitle: "The curve should run through the joins (dashed); shaded: bands of the air, which are not corrected."
            .to_string(),
        facts: facts(metas, source),
        show: SHOWN.map(str::to_string).to_vec(),
        panels,
        ..Page::default()
    }
}

/// Suffix of the page of a source: nothing for the target.
pub fn suffix(number: usize) -> String {
    if number > 1 { format!("_S{number}") } else { String::new() }
}

fn target(metas: &[&FrameMeta]) -> String {
    let first = metas.first();
    let target = first.map_or("", |meta| meta.on_sky.target.as_str());
    if target.is_empty() { first.map_or(String::new(), |meta| meta.object.clone()) } else { target.to_string() }
}

fn arms(metas: &[&FrameMeta]) -> String {
    let has = |arm: Arm| metas.iter().any(|meta| meta.arm == arm);
    match (has(Arm::Vis), has(Arm::Nir)) {
        (true, true) => "spectrum of both arms".to_string(),
        (false, true) => format!("spectrum of {}", Arm::Nir),
        _ => format!("spectrum of {}", Arm::Vis),
    }
}

/// What the headers say of the observation.
fn facts(metas: &[&FrameMeta], source: &SourceSpectrum) -> Vec<(String, String)> {
    let Some(first) = metas.first() else { return Vec::new() };
    let mut facts = Vec::new();
    let mut fact = |label: &str, value: String| facts.push((label.to_string(), value));
    if let Some([ra, dec]) = first.on_sky.position {
        fact("Pointing", format!("{ra:.5} {dec:+.5} deg"));
    }
    if !first.prog_id.is_empty() {
        fact("Programme", first.prog_id.clone());
    }
    let mean = |of: &dyn Fn(&FrameMeta) -> Option<f64>| -> Option<f64> {
        let known: Vec<f64> = metas.iter().filter_map(|meta| of(meta)).collect();
        (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
    };
    if let Some(airmass) = mean(&|meta| meta.on_sky.airmass.map(|[start, end]| 0.5 * (start + end))) {
        fact("Airmass", format!("{airmass:.3}"));
    }
    if let Some(seeing) = mean(&|meta| meta.on_sky.seeing) {
        fact("Seeing", format!("{seeing:.2} arcsec"));
    }
    if source.slit.is_finite() {
        fact("On the slit", format!("{:+.2} arcsec", source.slit));
    }
    if let Some(errors) = source.wavelengths {
        let systematic = errors.systematic.map_or(String::new(), |error| format!(" +- {error:.4}"));
        fact("Wavelengths", format!("+- {:.4}{systematic} nm", errors.random));
    }
    facts
}

/// First and last wavelength with light.
fn ends(spectrum: &MergedSpectrum) -> [f64; 2] {
    let lit = |k: &usize| spectrum.flux.get(*k).is_some_and(|flux| flux.is_finite());
    let wave = |k: Option<usize>| k.and_then(|k| spectrum.wavelength.get(k)).copied();
    match (wave((0..spectrum.len()).find(lit)), wave((0..spectrum.len()).rev().find(lit))) {
        (Some(first), Some(last)) if last > first => [first, last],
        _ => [1.0, 2.0],
    }
}

/// Means of the good samples between two wavelengths, in stretches of equal numbers of samples; light over `scale`.
fn stretches(spectrum: &MergedSpectrum, [from, to]: [f64; 2], most: usize, scale: f64) -> Vec<Stretch> {
    let start = spectrum.wavelength.partition_point(|w| *w < from);
    let end = spectrum.wavelength.partition_point(|w| *w <= to).max(start);
    let length = (end - start).div_ceil(most.max(1)).max(1);
    (start..end)
        .step_by(length)
        .map(|first| {
            let all = first..(first + length).min(end);
            let middle = 0.5 * (spectrum.wavelength[all.start] + spectrum.wavelength[all.end - 1]);
            let good: Vec<usize> = all.filter(|k| spectrum.is_good(*k)).collect();
            // 0 / 0 is no data
            let mean = |of: &dyn Fn(usize) -> f64| good.iter().map(|k| of(*k)).sum::<f64>() / good.len() as f64;
            Stretch {
                wavelength: middle,
                flux: mean(&|k| spectrum.flux[k]) / scale,
                error: mean(&|k| spectrum.error[k]) / scale,
                sky: mean(&|k| spectrum.sky[k]) / scale,
                signal: mean(&|k| spectrum.flux[k] / spectrum.error[k]),
            }
        })
        .collect()
}

/// Round wavelengths as ticks of a logarithmic axis that spans less than a decade.
fn ticked(axis: Axis, from: f64, to: f64) -> Axis {
    let step = if to / from > 1.6 { 100.0 } else { 50.0 };
    let first = (from / step).ceil() as usize;
    let ticks = (first..).map(|k| k as f64 * step).take_while(|w| *w <= to);
    let crowded = |w: f64| w > 1000.0 && (w / step) as i64 % 2 == 1;
    let text = |w: f64| if crowded(w) { String::new() } else { format!("{w:.0}") };
    Axis { ticks: ticks.map(|w| (w, text(w))).collect(), ..axis }
}

/// A range that holds nearly all values of a curve, and zero.
fn range(values: impl Iterator<Item = f64>) -> [f64; 2] {
    let [low, high] = percentiles(values, 0.5, 99.7);
    widened([low.min(0.0), high])
}

fn widened([low, high]: [f64; 2]) -> [f64; 2] {
    let margin = MARGIN * (high - low);
    [low - margin, high + margin]
}

/// Bands of the air within an axis.
fn air(from: f64, to: f64) -> impl Iterator<Item = Layer> {
    let inside = move |range: [f64; 2]| range[1] > from && range[0] < to;
    bands()
        .iter()
        .filter(move |band| band.depth >= DEPTH && inside(band.range))
        .map(move |band| Layer::Span { x: [band.range[0].max(from), band.range[1].min(to)], name: String::new() })
}

fn flux(cell: Cell, title: &str, x: Axis, unit: &str, stretches: &[Stretch], [low, high]: [f64; 2]) -> Panel {
    let [from, to] = x.range.unwrap_or([0.0, 1.0]);
    let label = if cell.columns > 6 { format!("flux / {unit}") } else { "flux".to_string() };
    let band = stretches.iter().map(|s| [s.wavelength, s.flux - s.error, s.flux + s.error]).collect();
    let line = stretches.iter().map(|s| [s.wavelength, s.flux]).collect();
    Panel::new(cell, title, x, Axis::from_to(&label, low, high))
        .with_all(air(from, to))
        .with(Layer::Band { points: band, ink: Ink::Grey, name: "error of a sample".to_string() })
        .with(Layer::Line { points: line, ink: Ink::Series(0), width: 0.6, dashed: false, name: "flux".to_string() })
}

fn signal(cell: Cell, x: Axis, stretches: &[Stretch]) -> Panel {
    let [from, to] = x.range.unwrap_or([0.0, 1.0]);
    let [low, high] = range(stretches.iter().map(|s| s.signal));
    let line = stretches.iter().map(|s| [s.wavelength, s.signal]).collect();
    Panel::new(cell, "Signal to noise of a sample", x, Axis::from_to("S/N", low, high))
        .with_all(air(from, to))
        .with(Layer::Line { points: line, ink: Ink::Series(1), width: 0.6, dashed: false, name: String::new() })
}

fn sky(cell: Cell, x: Axis, unit: &str, stretches: &[Stretch]) -> Panel {
    let label = format!("sky / {unit}");
    let label = if label.len() > 30 { "sky, as the flux".to_string() } else { label };
    let positive = |s: &Stretch| if s.sky > 0.0 { s.sky } else { f64::NAN };
    let line = stretches.iter().map(|s| [s.wavelength, positive(s)]).collect();
    Panel::new(cell, "Sky in the aperture", x, Axis::new(&label).log()).with(Layer::Line {
        points: line,
        ink: Ink::Series(2),
        width: 0.6,
        dashed: false,
        name: String::new(),
    })
}

/// Where parts of the spectrum join.
fn marks(joins: &[Join]) -> Vec<Layer> {
    let mark = |join: &Join| {
        let x = 0.5 * (join.range[0] + join.range[1]);
        let arms = join.names == ["VIS", "NIR"];
        let name = if arms { "VIS|NIR".to_string() } else { String::new() };
        Layer::Mark { x, ink: if arms { Ink::Black } else { Ink::Grey }, name }
    };
    joins.iter().map(mark).collect()
}

/// The join of the arms, else the middle of the spectrum, near by.
fn zoom(spectrum: &MergedSpectrum, unit: &str, scale: f64) -> Panel {
    let [from, to] = ends(spectrum);
    let (title, near) = match spectrum.joins.iter().find(|join| join.names == ["VIS", "NIR"]) {
        Some(join) => ("Where the arms join", [join.range[0] - 10.0, join.range[1] + 10.0]),
        None => {
            let middle = (from * to).sqrt();
            ("The middle", [middle * 0.97, middle * 1.03])
        }
    };
    let [low, high] = [near[0].max(from), near[1].min(to)];
    let part = stretches(spectrum, [low, high], POINTS, scale);
    let x = Axis::from_to("wavelength in air / nm", low, high);
    let inside = |layer: &Layer| matches!(layer, Layer::Mark { x, .. } if (low..=high).contains(x));
    let shown = widened(percentiles(part.iter().map(|s| s.flux), 0.5, 99.7));
    flux(Cell::new(0, 6, 4, 1), title, x, unit, &part, shown)
        .with_all(marks(&spectrum.joins).into_iter().filter(inside))
}

/// Ratio of the parts in every overlap.
fn joins(joins: &[Join]) -> Panel {
    let place = |join: &Join| 0.5 * (join.range[0] + join.range[1]);
    let known: Vec<(f64, [f64; 2])> = joins.iter().filter_map(|join| Some((place(join), join.ratio?))).collect();
    let points: Vec<[f64; 2]> = known.iter().map(|(w, [ratio, _])| [*w, 100.0 * (ratio - 1.0)]).collect();
    let bars = known.iter().map(|(w, [ratio, error])| {
        let at = |sign: f64| [*w, 100.0 * (ratio - 1.0 + sign * error)];
        Layer::Line {
            points: vec![at(-1.0), at(1.0)],
            ink: Ink::Series(0),
            width: 0.8,
            dashed: false,
            name: String::new(),
        }
    });
    let reach = known.iter().map(|(_, [ratio, error])| 100.0 * ((ratio - 1.0).abs() + error)).fold(2.0, f64::max);
    let y = Axis::from_to("ratio - 1, %", -1.2 * reach, 1.2 * reach);
    let span = known.iter().fold([f64::INFINITY, f64::NEG_INFINITY], |[a, b], (w, _)| [a.min(*w), b.max(*w)]);
    let margin = (0.05 * (span[1] - span[0])).max(10.0);
    let x = Axis::from_to("wavelength in air / nm", span[0] - margin, span[1] + margin);
    Panel::new(Cell::new(6, 6, 4, 1), "Redder over bluer part in their overlaps", x, y)
        .with(Layer::Level { y: 0.0, ink: Ink::Model, name: String::new() })
        .with_all(bars)
        .with(Layer::Dots { points: thinned(&points, POINTS), ink: Ink::Series(0), size: 3.0, name: String::new() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reduction::spectrum::synthetic::arm;

    fn source(merged: MergedSpectrum) -> SourceSpectrum {
        SourceSpectrum { number: 1, slit: 0.1, merged, wavelengths: None }
    }

    #[test]
    fn the_curve_is_the_spectrum_and_the_join_of_the_arms_is_marked() {
        let mut merged = arm([700.0, 850.0], 4e-16, 1);
        let names = ["VIS", "NIR"].map(str::to_string);
        merged.joins.push(Join {
            names,
            range: [800.0, 840.0],
            ratio: None,
            scatter: None,
            applied: 1.0,
            contradictions: 0,
        });
        let page = page(&[], &source(merged));
        let [flux, ..] = page.panels.as_slice() else { panic!("no panel") };
        let curve = flux.layers.iter().find_map(|layer| match layer {
            Layer::Line { points, .. } => Some(points),
            _ => None,
        });
        // 40 at 800 nm in units of 1e-17, falling as the square of the wavelength
        let near = curve.unwrap().iter().filter(|[w, _]| (*w - 750.0).abs() < 5.0);
        let (sum, n) = near.fold((0.0, 0.0), |(sum, n), [_, flux]| (sum + flux, n + 1.0));
        assert!((sum / n - 40.0 * (800.0f64 / 750.0).powi(2)).abs() < 0.5, "{}", sum / n);
        let marks = |panel: &Panel| panel.layers.iter().filter(|layer| matches!(layer, Layer::Mark { .. })).count();
        assert_eq!((marks(flux), page.panels.len()), (1, 5));
        let inside = |layer: &Layer| match layer {
            Layer::Span { x: [from, to], .. } => (700.0..=850.0).contains(from) && (700.0..=850.0).contains(to),
            _ => true,
        };
        assert!(flux.layers.iter().all(inside), "bands end with the axis");
    }

    #[test]
    fn a_spectrum_without_light_has_a_page_too() {
        let mut dark = arm([700.0, 710.0], 1.0, 1);
        dark.flux.fill(f64::NAN);
        let page = page(&[], &source(dark));
        assert_eq!(page.panels.len(), 5);
    }
}
