//! Pages of the arcs: lines over the frame, residuals, resolving power; for many pinholes the slit as well.

use super::super::arc::Arc;
use super::super::contract::ProductTable;
use super::{DOTS, View, ink, integer, percentiles, real, residual_range};
use crate::instrument::format::SpectralFormat;
use crate::quality::page::{Axis, Bar, Cell, Ink, Layer, Page, Palette, Panel, Stretch, Thumbnail, thinned};
use crate::reduction::geometry::map::{GeometryMap, OrderMap};

/// A line of the table of lines.
#[derive(Clone, Copy, Debug)]
struct Line {
    order: u8,
    wavelength: f64,
    slit: f64,
    x: f64,
    y: f64,
    residual: [f64; 2],
    power: f64,
    used: bool,
}

/// Cells of the map of mean residuals, along the dispersion and across.
const CELLS: [usize; 2] = [64, 48];

/// What the pages show of the lines.
struct Lines {
    view: View,
    found: Vec<Line>,
    missed: Vec<[f64; 2]>,
    orders: Vec<u8>,
}

impl Lines {
    fn new(view: View, tables: &[ProductTable], map: &GeometryMap) -> Lines {
        let table = |suffix: &str| tables.iter().find(|table| table.suffix == suffix).and_then(|p| p.tables.first());
        let fitted = table("_FITTED_LINES");
        let column = |name: &str| real(fitted, name);
        let (wavelength, slit) = (column("wavelength"), column("slit_position"));
        let (x, y) = (column("observed_x"), column("observed_y"));
        let (dx, dy, power) = (column("residuals_x"), column("residuals_y"), column("R_pin"));
        let (order, clipped) = (integer(fitted, "order"), integer(fitted, "sigma_clipped"));
        let line = |k: usize| {
            Some(Line {
                order: u8::try_from(*order.get(k)?).ok()?,
                wavelength: *wavelength.get(k)?,
                slit: *slit.get(k)?,
                x: *x.get(k)?,
                y: *y.get(k)?,
                residual: [*dx.get(k)?, *dy.get(k)?],
                power: *power.get(k)?,
                used: *clipped.get(k)? == 0,
            })
        };
        let found = (0..wavelength.len()).filter_map(line).collect();
        let missed = table("_MISSED_LINES");
        let places = real(missed, "fit_x").iter().zip(real(missed, "fit_y"));
        let missed = places.map(|(x, y)| view.point(*x, *y)).collect();
        let mut orders: Vec<u8> = map.orders.iter().map(|map| map.order).collect();
        orders.sort_unstable();
        Lines { view, found, missed, orders }
    }

    fn used(&self) -> impl Iterator<Item = &Line> {
        self.found.iter().filter(|line| line.used)
    }

    /// Residuals along one axis against something: lines left out in grey, the others in the colours of their orders.
    fn residuals(&self, cell: Cell, title: &str, axis: usize, x: Axis, against: impl Fn(&Line) -> f64) -> Panel {
        let name = ["x", "y"][axis];
        let values: Vec<f64> = self.used().map(|line| line.residual[axis]).collect();
        let [low, high] = residual_range(&values, 0.01);
        let share = DOTS / self.orders.len().max(1);
        let points = |order: u8, used: bool| {
            let lines = self.found.iter().filter(|line| line.order == order && line.used == used);
            thinned(&lines.map(|line| [against(line), line.residual[axis]]).collect::<Vec<_>>(), share)
        };
        let size = if self.found.len() > 900 { 1.5 } else { 2.2 };
        let dots = |points, ink| Layer::Dots { points, ink, size, name: String::new() };
        let left_out = self.orders.iter().flat_map(|order| points(*order, false)).collect();
        Panel::new(cell, title, x, Axis::from_to(&format!("{name} residual / pixel"), low, high))
            .with(Layer::Level { y: 0.0, ink: Ink::Grey, name: String::new() })
            .with(dots(left_out, Ink::Rejected))
            .with_all(self.orders.iter().map(|order| dots(points(*order, true), ink(*order))))
    }

    /// The same against wavelength, the names of the orders at the top.
    fn against_wavelength(&self, cell: Cell, axis: usize) -> Panel {
        let title =
            ["Residuals in x against wavelength (fitted − measured)", "Residuals in y against wavelength"][axis];
        let panel = self.residuals(cell, title, axis, Axis::new("wavelength / nm"), |line| line.wavelength);
        let top = panel.y.range.map_or(0.0, |ends| 0.82 * ends[1]);
        panel.with_all(self.orders.iter().filter_map(|order| {
            let mut own: Vec<f64> = self.used().filter(|l| l.order == *order).map(|line| line.wavelength).collect();
            let middle = crate::numerics::robust::median_f64(&mut own)?;
            Some(Layer::Word { at: [middle, top], text: self.view.order(*order), ink: ink(*order) })
        }))
    }

    /// Dots over the detector with colours that mean a value.
    fn map(
        &self,
        cell: Cell,
        title: &str,
        bar: &str,
        palette: Palette,
        range: [f64; 2],
        value: fn(&Line) -> f64,
    ) -> Panel {
        let [x, y] = self.view.axes();
        let points: Vec<[f64; 3]> = self
            .used()
            .map(|line| {
                let [a, b] = self.view.point(line.x, line.y);
                [a, b, value(line)]
            })
            .collect();
        let size = if points.len() > 900 { 2.2 } else { 3.4 };
        let layer = Layer::Values { points: thinned(&points, DOTS), range, palette, size };
        Panel::new(cell, title, x, y).with(layer).with_bar(Bar { label: bar.to_string(), range, palette })
    }

    /// Mean residuals in cells of the detector: what is not noise shows as patches.
    fn means(&self, cell: Cell, axis: usize) -> Panel {
        let [x, y] = self.view.axes();
        let points = self.used().map(|line| {
            let [a, b] = self.view.point(line.x, line.y);
            [a, b, line.residual[axis]]
        });
        let means = self.view.cells(points, CELLS);
        let range = residual_range(&means, 0.005).map(|end| 0.6 * end);
        let stretch = Stretch::Between(range[0], range[1]);
        let thumbnail = Thumbnail::of_values(CELLS[0], CELLS[1], means, stretch, Palette::Diverging);
        let name = ["x", "y"][axis];
        Panel::new(cell, &format!("Mean residuals in {name} over the detector"), x, y)
            .with(self.view.layer(thumbnail))
            .with_bar(Bar { label: "pixel".to_string(), range, palette: Palette::Diverging })
    }

    fn power(&self, cell: Cell) -> Panel {
        let range = percentiles(self.used().map(|line| line.power), 2.0, 98.0);
        self.map(cell, "Resolving power through a pinhole", "R", Palette::Viridis, range, |line| line.power)
    }

    /// The frame with what the map says of it.
    fn frame(&self, cell: Cell, title: &str, frame: &Arc) -> Panel {
        let [x, y] = self.view.axes();
        Panel::new(cell, title, x, y).with(self.view.image(
            frame.image.view(),
            Stretch::Asinh(55.0, 99.8),
            Palette::Grey,
        ))
    }

    /// Names of the orders at the left.
    fn names(&self, map: &GeometryMap) -> Vec<Layer> {
        let name = |own: &OrderMap| {
            let on = along(own, 0.0).into_iter().map(|(x, y)| self.view.point(x, y)).filter(|p| self.on(*p));
            let mut points: Vec<[f64; 2]> = on.collect();
            points.sort_by(|a, b| a[0].total_cmp(&b[0]));
            // neighbours take turns, so that their names do not touch
            let at = *points.get(points.len() * if own.order.is_multiple_of(2) { 2 } else { 4 } / 40)?;
            Some(Layer::Word { at, text: self.view.order(own.order), ink: Ink::Overlay })
        };
        map.orders.iter().filter_map(name).collect()
    }

    fn on(&self, [a, b]: [f64; 2]) -> bool {
        let [x, y] = self.view.axes().map(|axis| axis.range.unwrap_or([0.0, 0.0]));
        x[0] <= a && a <= x[1] && y[0] <= b && b <= y[1]
    }

    /// Where the map puts a slit position along each order.
    fn traces(&self, map: &GeometryMap, slit: f64, width: f64) -> Vec<Layer> {
        let line = |own| {
            let points = along(own, slit).into_iter().map(|(x, y)| self.view.point(x, y)).collect();
            Layer::Line { points, ink: Ink::Overlay, width, dashed: false, name: String::new() }
        };
        map.orders.iter().map(line).collect()
    }
}

/// Stations along an order.
const STATIONS: usize = 80;

fn along(map: &OrderMap, slit: f64) -> Vec<(f64, f64)> {
    let [from, to] = map.limits;
    (0..=STATIONS).map(|k| map.at(from + (to - from) * k as f64 / STATIONS as f64, slit)).collect()
}

/// Metrics that the tables show.
const SHOWN: [&str; 14] = [
    "XY RES MEDIAN",
    "X RES SD",
    "Y RES SD",
    "X HOLDOUT",
    "Y HOLDOUT",
    "DETLINES FRAC",
    "GOODLINES FRAC",
    "DETLINES NUM",
    "R PIN MEDIAN",
    "FWHM PIN MEDIAN",
    "PATTERN SHIFT X",
    "PATTERN SHIFT Y",
    "PINHOLE COUNT MIN",
    "WAVE ERR MEDIAN",
];

/// The page of `disp_solution`.
pub fn single(frame: &Arc, map: &GeometryMap, tables: &[ProductTable]) -> Page {
    let view = View { arm: frame.arm };
    let lines = Lines::new(view, tables, map);
    let used = lines.used().map(|line| view.point(line.x, line.y)).collect();
    let picture = lines
        .frame(Cell::new(0, 7, 0, 2), "Arc through one pinhole: lines used and missed", frame)
        .with_all(lines.traces(map, 0.0, 0.45))
        .with(Layer::Dots { points: used, ink: Ink::Series(5), size: 2.0, name: "used".to_string() })
        .with(Layer::Dots { points: lines.missed.clone(), ink: Ink::Series(1), size: 2.0, name: "missed".to_string() })
        .with_all(lines.names(map));
    let [along, _] = view.names();
    let place = |axis: usize, row: usize| {
        let label = format!("{along} / pixel");
        let title = ["Residuals in x along the orders", "Residuals in y along the orders"][axis];
        let ends = view.axes()[0].range.unwrap_or([0.0, 1.0]);
        let x = Axis::from_to(&label, ends[0], ends[1]);
        lines.residuals(Cell::new(8, 4, row, 1), title, axis, x, |line| view.point(line.x, line.y)[0])
    };
    Page {
        title: format!("First dispersion solution · {}", frame.arm),
        subtitle:
            "Dots should scatter evenly about zero, without waves or steps, and lines should be found on every order."
                .to_string(),
        show: SHOWN.map(str::to_string).to_vec(),
        panels: vec![
            picture,
            lines.power(Cell::new(7, 5, 0, 2)),
            lines.against_wavelength(Cell::new(0, 8, 2, 1), 0),
            place(0, 2),
            lines.against_wavelength(Cell::new(0, 8, 3, 1), 1),
            place(1, 3),
        ],
        ..Page::default()
    }
}

/// The page of `spat_solution`.
pub fn many(frame: &Arc, map: &GeometryMap, tables: &[ProductTable]) -> Page {
    let view = View { arm: frame.arm };
    let lines = Lines::new(view, tables, map);
    let format = SpectralFormat::of(frame.arm);
    let half = 0.5 * format.slit_length();
    let mut picture = lines.frame(Cell::new(0, 7, 0, 2), "Arc through nine pinholes with the grid of the map", frame);
    for slit in [-half, 0.0, half] {
        picture = picture.with_all(lines.traces(map, slit, 0.4));
    }
    let picture = picture.with_all(grid(&lines, map, half)).with_all(lines.names(map));
    let axis = usize::from(view.turned());
    let slit = Axis::from_to("slit position / arcsec", -half - 0.6, half + 0.6);
    let across = 1 - axis;
    let title = ["Residuals in x along the slit", "Residuals in y along the slit"][across];
    Page {
        title: format!("Spatial solution · {}", frame.arm),
        subtitle: "Residuals should be noise everywhere; the tilt of the slit should change smoothly along each order."
            .to_string(),
        show: SHOWN.map(str::to_string).to_vec(),
        panels: vec![
            picture,
            lines.power(Cell::new(7, 5, 0, 1)),
            lines.means(Cell::new(7, 5, 1, 1), axis),
            lines.against_wavelength(Cell::new(0, 8, 2, 1), 0),
            tilt(&lines, map, Cell::new(8, 4, 2, 1)),
            lines.against_wavelength(Cell::new(0, 8, 3, 1), 1),
            lines.residuals(Cell::new(8, 4, 3, 1), title, across, slit, |line| line.slit),
        ],
        ..Page::default()
    }
}

/// Lines of equal wavelength across each order, evenly spaced.
fn grid(lines: &Lines, map: &GeometryMap, half: f64) -> Vec<Layer> {
    let mut points = Vec::new();
    for own in &map.orders {
        let [from, to] = own.limits;
        let count = if lines.orders.len() > 4 { 10 } else { 24 };
        for k in 0..=count {
            let wavelength = from + (to - from) * f64::from(k) / f64::from(count);
            for step in 0..=4 {
                let (x, y) = own.at(wavelength, half * (f64::from(step) / 2.0 - 1.0));
                points.push(lines.view.point(x, y));
            }
            points.push([f64::NAN; 2]);
        }
    }
    vec![Layer::Line { points, ink: Ink::Series(5), width: 0.5, dashed: false, name: "equal wavelength".to_string() }]
}

/// Angle between the image of the slit and the normal to the dispersion, degrees.
fn tilt(lines: &Lines, map: &GeometryMap, cell: Cell) -> Panel {
    let curve = |own: &OrderMap| {
        let [from, to] = own.limits;
        let at = |k: usize| {
            let wavelength = from + (to - from) * k as f64 / STATIONS as f64;
            let place = own.place(wavelength, 0.0);
            let angle = (place.x_wave * place.x_slit + place.y_wave * place.y_slit)
                .atan2((place.x_wave * place.y_slit - place.y_wave * place.x_slit).abs());
            let on = lines.on(lines.view.point(place.x, place.y));
            [wavelength, if on { angle.to_degrees() } else { f64::NAN }]
        };
        Layer::line((0..=STATIONS).map(at).collect(), ink(own.order))
    };
    Panel::new(cell, "Tilt of the slit in each order", Axis::new("wavelength / nm"), Axis::new("tilt / degrees"))
        .with_all(map.orders.iter().map(curve))
}
