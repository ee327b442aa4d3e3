//! One panel: title, axes with ticks, data, legend, bar of colours.

use std::fmt::Write;

use super::axis::Ruler;
use super::colour::{self, HAIR, INK, SOFT};
use super::layer::{self, Axes};
use super::svg::{Anchor, Font, Frame, Scene, number};
use super::text::{fitted, length};
use crate::quality::page::{Axis, Bar, Layer, Panel, Scale};

const TITLE: Font = Font { size: 8.2, colour: INK, bold: true, anchor: Anchor::Start };
const LABEL: Font = Font { size: 7.2, colour: INK, bold: false, anchor: Anchor::Middle };
const TICK: Font = Font { size: 6.6, colour: SOFT, bold: false, anchor: Anchor::Middle };
/// Length of a tick.
const TICK_LENGTH: f64 = 2.6;

/// The vertical axis of a panel, and the room at the left that its label and numbers need.
struct Inset {
    y: Option<Ruler>,
    ticks: Vec<(f64, String)>,
    left: f64,
}

impl Inset {
    fn of(panel: &Panel, place: Frame) -> Inset {
        let (top, bottom) = (place.y + 13.0, place.bottom() - if panel.x.bare { 4.0 } else { 22.0 });
        let data = panel.layers.iter().flat_map(|layer| layer::reach(layer)[1].clone());
        let mut y = Ruler::new(&panel.y, data, [bottom, top]);
        if panel.layers.iter().any(|layer| matches!(layer, Layer::Bars { .. })) {
            // bars stand on the axis
            y = y.map(|ruler| ruler.standing(&panel.y));
        }
        let ticks = y.as_ref().map_or(Vec::new(), |ruler| ticks(&panel.y, ruler, 22.0));
        let widest = ticks.iter().map(|(_, text)| length(&plain(text), TICK.size)).fold(8.0, f64::max);
        let left = 12.0 + if panel.y.bare { 0.0 } else { widest + 4.0 };
        Inset { y, ticks, left }
    }
}

/// Room that a panel needs at the left of its axes, so that panels above each other can share the widest.
pub fn room(panel: &Panel, place: Frame) -> f64 {
    Inset::of(panel, place).left
}

/// Draw a panel into its place, its axes so far from the left.
pub fn draw(scene: &mut Scene, panel: &Panel, place: Frame, left: f64) {
    let title = fitted(&panel.title, TITLE.size, place.w);
    scene.text([place.x, place.y + 8.0], &title, TITLE, false);
    let has_data = panel.layers.iter().any(layer::has_data);
    let data = panel.layers.iter().flat_map(|layer| layer::reach(layer)[0].clone());
    let Inset { y, ticks: y_ticks, .. } = Inset::of(panel, place);
    let (top, bottom) = (place.y + 13.0, place.bottom() - if panel.x.bare { 4.0 } else { 22.0 });
    let left = place.x + left;
    let right = place.right() - if panel.bar.is_some() { 38.0 } else { 6.0 };
    let frame = Frame { x: left, y: top, w: (right - left).max(10.0), h: (bottom - top).max(10.0) };
    let x = Ruler::new(&panel.x, data, [frame.x, frame.right()]);

    let (Some(x), Some(y), true) = (x, y, has_data) else {
        scene.fill(frame, "#f4f5f6", 1.0);
        scene.outline(frame, HAIR, 0.7);
        let font = Font { size: 8.0, colour: SOFT, ..LABEL };
        scene.text([frame.x + 0.5 * frame.w, frame.y + 0.5 * frame.h + 3.0], "no data", font, false);
        labels(scene, panel, frame, place);
        return;
    };
    let x_ticks = ticks(&panel.x, &x, 34.0);
    let axes = Axes { x, y, frame };
    let image = panel.layers.iter().any(|layer| matches!(layer, Layer::Image { .. }));
    if !image {
        grid(scene, &axes, &x_ticks, &y_ticks);
    }
    let outside: usize = panel.layers.iter().map(|layer| layer::draw(scene, &axes, layer)).sum();
    scene.outline(frame, INK, 0.7);
    numbers(scene, &axes, panel, &x_ticks, &y_ticks);
    labels(scene, panel, frame, place);
    if outside > 0 {
        let font = Font { size: 6.2, colour: SOFT, anchor: Anchor::End, bold: false };
        scene.text([frame.right(), place.y + 8.5], &format!("{outside} beyond the axis"), font, false);
    }
    legend(scene, panel, &axes);
    if let Some(bar) = &panel.bar {
        colour_bar(scene, bar, frame);
    }
}

/// A text without marks, to be measured.
fn plain(text: &str) -> String {
    text.replace(['^', '{', '}'], "")
}

fn ticks(axis: &Axis, ruler: &Ruler, spacing: f64) -> Vec<(f64, String)> {
    let own = || axis.ticks.iter().filter(|(value, _)| ruler.holds(*value)).cloned().collect();
    if axis.ticks.is_empty() { ruler.ticks(spacing) } else { own() }
}

fn grid(scene: &mut Scene, axes: &Axes, x_ticks: &[(f64, String)], y_ticks: &[(f64, String)]) {
    let frame = axes.frame;
    let mut path = String::new();
    for (value, _) in x_ticks {
        let _ = write!(path, "M{} {}V{}", number(axes.x.place(*value)), number(frame.y), number(frame.bottom()));
    }
    for (value, _) in y_ticks {
        let _ = write!(path, "M{} {}H{}", number(frame.x), number(axes.y.place(*value)), number(frame.right()));
    }
    scene.stroke(&path, "#eceef0", 0.6, "");
}

fn numbers(scene: &mut Scene, axes: &Axes, panel: &Panel, x_ticks: &[(f64, String)], y_ticks: &[(f64, String)]) {
    let frame = axes.frame;
    let mut path = String::new();
    let [left, base] = [frame.x, frame.bottom()].map(number);
    let minor = |scale: Scale, ruler: &Ruler| if scale == Scale::Log { ruler.minor() } else { Vec::new() };
    for (value, text) in x_ticks {
        let x = axes.x.place(*value);
        let _ = write!(path, "M{} {base}v{TICK_LENGTH}", number(x));
        if !panel.x.bare {
            scene.text([x, frame.bottom() + 9.4], text, TICK, false);
        }
    }
    for value in minor(panel.x.scale, &axes.x) {
        let _ = write!(path, "M{} {base}v1.4", number(axes.x.place(value)));
    }
    for (value, text) in y_ticks {
        let y = axes.y.place(*value);
        let _ = write!(path, "M{left} {}h-{TICK_LENGTH}", number(y));
        if !panel.y.bare {
            scene.text([frame.x - 4.0, y + 2.3], text, Font { anchor: Anchor::End, ..TICK }, false);
        }
    }
    for value in minor(panel.y.scale, &axes.y) {
        let _ = write!(path, "M{left} {}h-1.4", number(axes.y.place(value)));
    }
    scene.stroke(&path, INK, 0.6, "");
}

fn labels(scene: &mut Scene, panel: &Panel, frame: Frame, place: Frame) {
    if !panel.x.bare {
        scene.text([frame.x + 0.5 * frame.w, frame.bottom() + 18.5], &panel.x.label, LABEL, false);
    }
    scene.text([place.x + 7.0, frame.y + 0.5 * frame.h], &panel.y.label, LABEL, true);
}

/// Names of layers, in one block in the corner with the fewest points; layers of the same name share a line.
fn legend(scene: &mut Scene, panel: &Panel, axes: &Axes) {
    let frame = axes.frame;
    let mut lines: Vec<(&str, &Layer)> = Vec::new();
    for layer in &panel.layers {
        let name = match layer {
            Layer::Line { name, .. }
            | Layer::Band { name, .. }
            | Layer::Dots { name, .. }
            | Layer::Bars { name, .. }
            | Layer::Level { name, .. } => name.as_str(),
            _ => "",
        };
        if !name.is_empty() && lines.iter().all(|(other, _)| *other != name) {
            lines.push((name, layer));
        }
    }
    let size = 6.4;
    let widest = lines.iter().map(|(name, _)| length(&plain(name), size)).fold(0.0, f64::max);
    let (w, h) = (widest + 19.0, 8.6 * lines.len() as f64 + 2.0);
    if lines.is_empty() || w > 0.8 * frame.w || h > 0.8 * frame.h {
        return;
    }
    let corner = |right: bool, low: bool| Frame {
        x: if right { frame.right() - w - 3.0 } else { frame.x + 3.0 },
        y: if low { frame.bottom() - h - 3.0 } else { frame.y + 3.0 },
        w,
        h,
    };
    let corners = [corner(true, false), corner(false, false), corner(true, true), corner(false, true)];
    let hidden = |block: &Frame| panel.layers.iter().map(|layer| layer::within(axes, layer, *block)).sum::<usize>();
    // the first of equals
    let Some(block) = corners.into_iter().min_by_key(hidden) else { return };
    scene.fill(block, "#ffffff", 0.82);
    for (k, (name, layer)) in lines.into_iter().enumerate() {
        let y = block.y + 5.4 + 8.6 * k as f64;
        sample(scene, layer, block.x + 3.0, y);
        let font = Font { size, colour: INK, bold: false, anchor: Anchor::Start };
        scene.text([block.x + 16.0, y + 2.2], name, font, false);
    }
}

/// A small picture of a layer, 10 points wide about a height.
fn sample(scene: &mut Scene, layer: &Layer, x: f64, y: f64) {
    let stroke = format!("M{} {}h10", number(x), number(y));
    let patch = Frame { x, y: y - 2.5, w: 10.0, h: 5.0 };
    match layer {
        Layer::Line { ink, width, dashed, .. } => {
            scene.stroke(&stroke, colour::ink(*ink), width.max(0.9), if *dashed { "4 2.5" } else { "" });
        }
        Layer::Level { ink, .. } => scene.stroke(&stroke, colour::ink(*ink), 0.8, "3 2"),
        Layer::Band { ink, .. } => scene.fill(patch, colour::ink(*ink), 0.25),
        Layer::Bars { ink, .. } => scene.fill(patch, colour::ink(*ink), 0.45),
        Layer::Dots { ink, size, .. } => scene.dots(&[[x + 5.0, y]], colour::ink(*ink), size.max(2.2), 1.0),
        _ => {}
    }
}

fn colour_bar(scene: &mut Scene, bar: &Bar, frame: Frame) {
    let place = Frame { x: frame.right() + 5.0, w: 6.0, ..frame };
    let colours: Vec<String> = (0..=16).map(|k| colour::hex(colour::at(bar.palette, f64::from(k) / 16.0))).collect();
    scene.gradient(place, &colours);
    scene.outline(place, INK, 0.5);
    let axis = Axis::from_to("", bar.range[0], bar.range[1]);
    let Some(ruler) = Ruler::new(&axis, std::iter::empty(), [frame.bottom(), frame.y]) else { return };
    for (value, text) in ruler.ticks((frame.h / 7.0).max(17.0)) {
        let y = ruler.place(value);
        scene.stroke(&format!("M{} {}h2", number(place.right()), number(y)), INK, 0.5, "");
        scene.text([place.right() + 3.2, y + 2.2], &text, Font { anchor: Anchor::Start, size: 6.2, ..TICK }, false);
    }
    let font = Font { size: 6.4, colour: SOFT, bold: false, anchor: Anchor::End };
    scene.text([frame.right() + 32.0, frame.y - 4.0], &bar.label, font, false);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quality::page::{Cell, Ink};

    fn drawn(panel: &Panel) -> String {
        let mut scene = Scene::new(300.0, 200.0);
        let place = Frame { x: 0.0, y: 0.0, w: 300.0, h: 200.0 };
        draw(&mut scene, panel, place, room(panel, place));
        scene.finish()
    }

    #[test]
    fn a_panel_without_data_says_so() {
        let cell = Cell::new(0, 12, 0, 1);
        let empty = Panel::new(cell, "t", Axis::new("x"), Axis::new("y"));
        let nan = empty.clone().with(Layer::dots(vec![[f64::NAN, 1.0], [2.0, f64::NAN]], Ink::Black));
        let flat = empty.clone().with(Layer::Level { y: 0.0, ink: Ink::Grey, name: String::new() });
        for panel in [&empty, &nan, &flat] {
            assert!(drawn(panel).contains("no data"));
        }
        let one = empty.clone().with(Layer::dots(vec![[1.0, 1.0]], Ink::Black));
        assert!(!drawn(&one).contains("no data"));
    }

    #[test]
    fn points_beyond_the_axis_are_counted() {
        let panel = Panel::new(Cell::new(0, 12, 0, 1), "t", Axis::new("x"), Axis::from_to("y", -1.0, 1.0))
            .with(Layer::dots(vec![[1.0, 0.0], [2.0, 5.0], [3.0, -5.0]], Ink::Black).named("lines"));
        let svg = drawn(&panel);
        assert!(svg.contains("2 beyond the axis") && svg.contains(">lines<"));
    }
}
