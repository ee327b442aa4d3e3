//! Data on a pair of axes. Everything is cut to the axes here, so that the scene needs no masks.

use std::fmt::Write;

use super::axis::Ruler;
use super::colour;
use super::svg::{Anchor, Font, Frame, Scene, number};
use super::text;
use crate::quality::page::{Ink, Layer, Palette, Thumbnail};

/// A pair of axes.
pub struct Axes {
    /// Horizontal.
    pub x: Ruler,
    /// Vertical.
    pub y: Ruler,
    /// Where they stand.
    pub frame: Frame,
}

/// Classes of colour of dots with values.
const CLASSES: usize = 24;
/// Sheets of such dots that lie on each other.
const SHEETS: usize = 8;

impl Axes {
    fn at(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        [self.x.place(x), self.y.place(y)]
    }
}

/// Draw a layer. Returns how many of its points lie above or below the axes.
pub fn draw(scene: &mut Scene, axes: &Axes, layer: &Layer) -> usize {
    match layer {
        Layer::Image { thumbnail, x, y } => image(scene, axes, thumbnail, *x, *y),
        Layer::Line { points, ink, width, dashed, .. } => {
            let dash = if *dashed { "4 2.5" } else { "" };
            scene.stroke(&line(axes, points), colour::ink(*ink), *width, dash);
        }
        Layer::Band { points, ink, .. } => band(scene, axes, points, *ink),
        Layer::Dots { points, ink, size, .. } => {
            let (inside, outside) = split(axes, points.iter().copied());
            scene.dots(&inside, colour::ink(*ink), *size, if inside.len() > 800 { 0.6 } else { 0.85 });
            strays(scene, axes.frame, &outside, colour::ink(*ink));
            return outside.len();
        }
        Layer::Values { points, range, palette, size } => values(scene, axes, points, *range, *palette, *size),
        Layer::Bars { edges, counts, ink, .. } => bars(scene, axes, edges, counts, *ink),
        Layer::Span { x, name } => span(scene, axes, *x, name),
        Layer::Level { y, ink, .. } => {
            if axes.y.holds(*y) {
                let place = axes.y.place(*y);
                let path = format!("M{} {}H{}", number(axes.frame.x), number(place), number(axes.frame.right()));
                scene.stroke(&path, colour::ink(*ink), 0.7, "3 2");
            }
        }
        Layer::Mark { x, ink, name } => mark(scene, axes, *x, *ink, name),
        Layer::Word { at, text, ink } => word(scene, axes, *at, text, *ink),
    }
    0
}

/// Every horizontal and vertical value of a layer, for axes that take their ends from the data.
pub fn reach(layer: &Layer) -> [Vec<f64>; 2] {
    let both = |points: &[[f64; 2]]| {
        let whole = points.iter().filter(|point| point.iter().all(|value| value.is_finite()));
        whole.map(|[x, y]| (*x, *y)).unzip()
    };
    let (x, y): (Vec<f64>, Vec<f64>) = match layer {
        Layer::Image { x, y, .. } => (x.to_vec(), y.to_vec()),
        Layer::Line { points, .. } | Layer::Dots { points, .. } => both(points),
        Layer::Band { points, .. } => {
            (points.iter().map(|p| p[0]).collect(), points.iter().flat_map(|p| [p[1], p[2]]).collect())
        }
        Layer::Values { points, .. } => points.iter().filter(|p| p[2].is_finite()).map(|p| (p[0], p[1])).unzip(),
        Layer::Bars { edges, counts, .. } => (edges.clone(), counts.iter().copied().chain([0.0]).collect()),
        Layer::Level { y, .. } => (Vec::new(), vec![*y]),
        Layer::Span { .. } | Layer::Mark { .. } | Layer::Word { .. } => (Vec::new(), Vec::new()),
    };
    [x, y]
}

/// Whether a layer has anything that can be seen.
pub fn has_data(layer: &Layer) -> bool {
    match layer {
        Layer::Image { thumbnail, .. } => thumbnail.has_data(),
        Layer::Bars { counts, .. } => counts.iter().any(|count| *count > 0.0),
        Layer::Level { .. } | Layer::Span { .. } | Layer::Mark { .. } | Layer::Word { .. } => false,
        Layer::Line { points, .. } | Layer::Dots { points, .. } => {
            points.iter().any(|point| point.iter().all(|value| value.is_finite()))
        }
        Layer::Band { points, .. } | Layer::Values { points, .. } => {
            points.iter().any(|point| point.iter().all(|value| value.is_finite()))
        }
    }
}

/// How many points of a layer lie within a part of the sheet. The tops of bars count; an image does not.
pub fn within(axes: &Axes, layer: &Layer, part: Frame) -> usize {
    let is_in = |point: [f64; 2]| {
        let [x, y] = axes.at(point);
        (part.x..=part.right()).contains(&x) && (part.y..=part.bottom()).contains(&y)
    };
    match layer {
        Layer::Line { points, .. } | Layer::Dots { points, .. } => points.iter().filter(|point| is_in(**point)).count(),
        Layer::Band { points, .. } => {
            points.iter().filter(|[x, low, high]| is_in([*x, *low]) || is_in([*x, *high])).count()
        }
        Layer::Values { points, .. } => points.iter().filter(|[x, y, _]| is_in([*x, *y])).count(),
        Layer::Bars { edges, counts, .. } => {
            // a bar fills the sheet from its top to the axis
            let tops = edges.windows(2).zip(counts).filter(|(_, count)| **count > 0.0);
            tops.filter(|(edge, count)| {
                let [x, y] = axes.at([0.5 * (edge[0] + edge[1]), **count]);
                (part.x..=part.right()).contains(&x) && y <= part.bottom()
            })
            .count()
        }
        Layer::Word { at, .. } => usize::from(is_in(*at)),
        Layer::Image { .. } | Layer::Span { .. } | Layer::Level { .. } | Layer::Mark { .. } => 0,
    }
}

fn image(scene: &mut Scene, axes: &Axes, thumbnail: &Thumbnail, x: [f64; 2], y: [f64; 2]) {
    let ([left, lower], [right, upper]) = (axes.at([x[0], y[0]]), axes.at([x[1], y[1]]));
    let Some(png) = super::raster::encode(thumbnail) else { return };
    let frame = Frame { x: left.min(right), y: upper.min(lower), w: (right - left).abs(), h: (lower - upper).abs() };
    scene.image(frame, &png);
}

/// A polyline cut to the axes.
fn line(axes: &Axes, points: &[[f64; 2]]) -> String {
    let mut path = String::with_capacity(points.len() * 14);
    let mut pen: Option<[f64; 2]> = None;
    for pair in points.windows(2) {
        let Some([a, b]) = clipped(axes.frame, axes.at(pair[0]), axes.at(pair[1])) else {
            pen = None;
            continue;
        };
        if pen != Some(a) {
            let _ = write!(path, "M{} {}", number(a[0]), number(a[1]));
        }
        let _ = write!(path, "L{} {}", number(b[0]), number(b[1]));
        pen = Some(b);
    }
    path
}

/// The part of a stretch within a frame (Liang and Barsky 1984); `None` when nothing is, or an end is not finite.
fn clipped(frame: Frame, a: [f64; 2], b: [f64; 2]) -> Option<[[f64; 2]; 2]> {
    if !a.iter().chain(&b).all(|value| value.is_finite()) {
        return None;
    }
    let d = [b[0] - a[0], b[1] - a[1]];
    let (mut from, mut to) = (0.0f64, 1.0f64);
    for (axis, low, high) in [(0, frame.x, frame.right()), (1, frame.y, frame.bottom())] {
        for (speed, room) in [(-d[axis], a[axis] - low), (d[axis], high - a[axis])] {
            if speed == 0.0 {
                if room < 0.0 {
                    return None;
                }
            } else if speed < 0.0 {
                from = from.max(room / speed);
            } else {
                to = to.min(room / speed);
            }
        }
    }
    let at = |t: f64| {
        // an end that is inside stays exactly where it was
        if t == 0.0 {
            a
        } else if t == 1.0 {
            b
        } else {
            [a[0] + t * d[0], a[1] + t * d[1]]
        }
    };
    (from <= to).then(|| [at(from), at(to)])
}

fn band(scene: &mut Scene, axes: &Axes, points: &[[f64; 3]], ink: Ink) {
    let inside = |place: f64| place.clamp(axes.frame.y, axes.frame.bottom());
    let mut path = String::new();
    let good = |p: &[f64; 3]| p.iter().all(|value| value.is_finite()) && axes.x.holds(p[0]);
    for part in points.split(|p| !good(p)).filter(|part| part.len() > 1) {
        let corner = |x: f64, y: f64| {
            let place = axes.y.place(y);
            // what a logarithmic axis cannot show lies below it
            let place = if place.is_finite() { inside(place) } else { axes.frame.bottom() };
            format!("{} {}", number(axes.x.place(x)), number(place))
        };
        let upper = part.iter().map(|p| corner(p[0], p[2]));
        let lower = part.iter().rev().map(|p| corner(p[0], p[1]));
        let corners: Vec<String> = upper.chain(lower).collect();
        let _ = write!(path, "M{}Z", corners.join("L"));
    }
    scene.area(&path, colour::ink(ink), 0.25);
}

/// Places of points within the axes, and of those above or below, which are brought to the edge.
fn split(axes: &Axes, points: impl Iterator<Item = [f64; 2]>) -> (Vec<[f64; 2]>, Vec<[f64; 2]>) {
    let (mut inside, mut outside) = (Vec::new(), Vec::new());
    for point in points.filter(|point| axes.x.holds(point[0]) && !point[1].is_nan()) {
        if axes.y.holds(point[1]) {
            inside.push(axes.at(point));
        } else {
            let edge = if point[1] > axes.y.ends[1] { axes.frame.y } else { axes.frame.bottom() };
            outside.push([axes.x.place(point[0]), edge]);
        }
    }
    (inside, outside)
}

/// Small arrows within the edge for points that lie beyond it.
fn strays(scene: &mut Scene, frame: Frame, places: &[[f64; 2]], colour: &str) {
    let mut path = String::new();
    for [x, y] in places {
        let (tip, back) = if *y <= frame.y { (frame.y + 0.6, 2.6) } else { (frame.bottom() - 0.6, -2.6) };
        let _ = write!(path, "M{} {}l1.5 {back}h-3z", number(*x), number(tip));
    }
    scene.area(&path, colour, 0.9);
}

fn values(scene: &mut Scene, axes: &Axes, points: &[[f64; 3]], [low, high]: [f64; 2], palette: Palette, size: f64) {
    // some of all colours at a time, so that the highest values do not lie on top of all others
    for part in points.chunks(points.len().div_ceil(SHEETS).max(1)) {
        let mut classes: Vec<Vec<[f64; 2]>> = vec![Vec::new(); CLASSES];
        for [x, y, value] in part.iter().filter(|p| p.iter().all(|v| v.is_finite())) {
            if axes.x.holds(*x) && axes.y.holds(*y) {
                let t = ((value - low) / (high - low)).clamp(0.0, 1.0);
                // a range of no width puts all into the lowest class
                let class = if t.is_finite() { (t * (CLASSES - 1) as f64).round() as usize } else { 0 };
                classes[class].push(axes.at([*x, *y]));
            }
        }
        for (k, places) in classes.iter().enumerate() {
            let colour = colour::hex(colour::at(palette, k as f64 / (CLASSES - 1) as f64));
            scene.dots(places, &colour, size, 1.0);
        }
    }
}

fn bars(scene: &mut Scene, axes: &Axes, edges: &[f64], counts: &[f64], ink: Ink) {
    let (mut area, mut top) = (String::new(), String::new());
    let base = axes.frame.bottom();
    for (edge, count) in edges.windows(2).zip(counts) {
        let [left, right] = [edge[0], edge[1]].map(|x| axes.x.place(x).clamp(axes.frame.x, axes.frame.right()));
        let height = axes.y.place(*count);
        if !(height.is_finite() && right > left) || *count <= 0.0 {
            continue;
        }
        let height = height.clamp(axes.frame.y, base);
        let [l, r, h, b] = [left, right, height, base].map(number);
        let _ = write!(area, "M{l} {b}V{h}H{r}V{b}z");
        let _ = write!(top, "M{l} {h}H{r}");
    }
    scene.area(&area, colour::ink(ink), 0.35);
    scene.stroke(&top, colour::ink(ink), 0.8, "");
}

fn span(scene: &mut Scene, axes: &Axes, [from, to]: [f64; 2], name: &str) {
    let [left, right] = [from, to].map(|x| axes.x.place(x).clamp(axes.frame.x, axes.frame.right()));
    // a NaN is not wide either
    if right.partial_cmp(&left) != Some(std::cmp::Ordering::Greater) {
        return;
    }
    scene.fill(Frame { x: left, w: right - left, ..axes.frame }, "#8a9099", 0.16);
    let font = Font { size: 6.0, colour: colour::SOFT, bold: false, anchor: Anchor::Middle };
    scene.text([0.5 * (left + right), axes.frame.y + 7.0], name, font, false);
}

fn mark(scene: &mut Scene, axes: &Axes, x: f64, ink: Ink, name: &str) {
    if !axes.x.holds(x) {
        return;
    }
    let place = axes.x.place(x);
    let path = format!("M{} {}V{}", number(place), number(axes.frame.y), number(axes.frame.bottom()));
    scene.stroke(&path, colour::ink(ink), 0.6, "3 2");
    let font = Font { size: 6.0, colour: colour::SOFT, bold: false, anchor: Anchor::Start };
    scene.text([place + 2.0, axes.frame.y + 7.0], name, font, false);
}

fn word(scene: &mut Scene, axes: &Axes, at: [f64; 2], text: &str, ink: Ink) {
    if !(axes.x.holds(at[0]) && axes.y.holds(at[1])) {
        return;
    }
    let [x, y] = axes.at(at);
    let overlay = ink == Ink::Overlay;
    let width = text::length(text, 6.5) + 3.0;
    let patch = Frame { x: x - 0.5 * width, y: y - 4.4, w: width, h: 8.2 };
    scene.fill(patch, if overlay { "#101418" } else { "#ffffff" }, 0.78);
    let colour = if overlay { "#ffffff" } else { colour::ink(ink) };
    let font = Font { size: 6.5, colour, bold: true, anchor: Anchor::Middle };
    scene.text([x, y + 2.2], text, font, false);
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Frame = Frame { x: 0.0, y: 0.0, w: 10.0, h: 10.0 };

    #[test]
    fn stretches_are_cut_at_the_frame() {
        assert_eq!(clipped(FRAME, [-5.0, 5.0], [15.0, 5.0]), Some([[0.0, 5.0], [10.0, 5.0]]));
        assert_eq!(clipped(FRAME, [1.0, 1.0], [2.0, 3.0]), Some([[1.0, 1.0], [2.0, 3.0]]));
        assert_eq!(clipped(FRAME, [5.0, -4.0], [5.0, 4.0]), Some([[5.0, 0.0], [5.0, 4.0]]));
        assert_eq!(clipped(FRAME, [-5.0, 2.0], [-1.0, 8.0]), None);
        assert_eq!(clipped(FRAME, [20.0, -20.0], [40.0, 0.0]), None);
        assert_eq!(clipped(FRAME, [f64::NAN, 0.0], [1.0, 1.0]), None);
    }
}
