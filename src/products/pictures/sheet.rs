//! The sheet: title and verdict at the top, facts and metrics at the right, panels in the rest.

use super::colour::{self, HAIR, INK, SOFT};
use super::panel;
use super::svg::{Anchor, Font, Frame, Scene};
use super::text::{fitted, length, wrapped};
use crate::quality::page::{Cell, GRID, MetricLine, Page};

/// A4 on its side.
pub const SIZE: [f64; 2] = [842.0, 595.0];
const MARGIN: f64 = 22.0;
/// Height of the head.
const HEAD: f64 = 42.0;
/// Width of the column at the right.
const SIDE: f64 = 176.0;
/// Room between panels.
const GAP: f64 = 10.0;

/// The page as SVG.
pub fn scene(page: &Page) -> String {
    let [width, height] = SIZE;
    let mut scene = Scene::new(width, height);
    head(&mut scene, page);
    let has_side = !(page.facts.is_empty() && page.metrics.is_empty());
    let top = MARGIN + HEAD;
    if has_side {
        let side = Frame { x: width - MARGIN - SIDE, y: top, w: SIDE, h: height - MARGIN - top };
        let used = facts(&mut scene, page, side);
        metrics(&mut scene, &page.metrics, Frame { y: side.y + used, h: side.h - used, ..side });
    }
    let room = width - 2.0 * MARGIN - if has_side { SIDE + GAP + 4.0 } else { 0.0 };
    panels(&mut scene, page, Frame { x: MARGIN, y: top, w: room, h: height - MARGIN - top + 6.0 });
    scene.finish()
}

fn panels(scene: &mut Scene, page: &Page, area: Frame) {
    let rows = page.panels.iter().map(|panel| panel.cell.row + panel.cell.rows.max(1)).max().unwrap_or(1).max(1);
    let (wide, high) = ((area.w + GAP) / GRID as f64, (area.h + GAP) / rows as f64);
    let place = |cell: Cell| {
        let column = cell.column.min(GRID - 1);
        let columns = cell.columns.clamp(1, GRID - column);
        Frame {
            x: area.x + wide * column as f64,
            y: area.y + high * cell.row as f64,
            w: wide * columns as f64 - GAP,
            h: high * cell.rows.max(1) as f64 - GAP,
        }
    };
    let places: Vec<Frame> = page.panels.iter().map(|one| place(one.cell)).collect();
    let rooms: Vec<f64> = page.panels.iter().zip(&places).map(|(one, place)| panel::room(one, *place)).collect();
    for (one, place) in page.panels.iter().zip(&places) {
        // axes above each other are aligned
        let column = page.panels.iter().zip(&rooms).filter(|(other, _)| other.cell.column == one.cell.column);
        let left = column.map(|(_, room)| *room).fold(0.0, f64::max);
        panel::draw(scene, one, *place, left);
    }
}

fn head(scene: &mut Scene, page: &Page) {
    let [width, _] = SIZE;
    let title = Font { size: 15.0, colour: INK, bold: true, anchor: Anchor::Start };
    scene.text([MARGIN, MARGIN + 11.0], &fitted(&page.title, 15.0, 620.0), title, false);
    let soft = Font { size: 8.0, colour: SOFT, bold: false, anchor: Anchor::Start };
    scene.text([MARGIN, MARGIN + 24.0], &fitted(&page.subtitle, 8.0, 500.0), soft, false);
    let right = Font { anchor: Anchor::End, ..soft };
    scene.text([width - MARGIN, MARGIN + 26.0], &fitted(&page.name, 8.0, 300.0), right, false);
    if let Some(verdict) = page.verdict {
        let text = format!("QC {}", verdict.as_str());
        let wide = length(&text, 10.0) + 18.0;
        let place = Frame { x: width - MARGIN - wide, y: MARGIN - 4.0, w: wide, h: 18.0 };
        scene.pill(place, colour::verdict(verdict));
        let font = Font { size: 10.0, colour: "#ffffff", bold: true, anchor: Anchor::Middle };
        scene.text([place.x + 0.5 * wide, place.y + 12.6], &text, font, false);
    }
    scene.fill(Frame { x: MARGIN, y: MARGIN + 31.0, w: width - 2.0 * MARGIN, h: 0.7 }, HAIR, 1.0);
}

/// Label and value of each fact. Returns the height used.
fn facts(scene: &mut Scene, page: &Page, side: Frame) -> f64 {
    let mut y = side.y + 7.0;
    for (label, value) in &page.facts {
        let font = Font { size: 6.8, colour: SOFT, bold: false, anchor: Anchor::Start };
        scene.text([side.x, y], &fitted(label, 6.8, 46.0), font, false);
        for line in wrapped(value, 6.8, side.w - 50.0, 3) {
            scene.text([side.x + 50.0, y], &line, Font { colour: INK, ..font }, false);
            y += 9.2;
        }
        if value.trim().is_empty() {
            y += 9.2;
        }
    }
    if page.facts.is_empty() { 0.0 } else { y - side.y + 2.0 }
}

/// The table of metrics; what does not fit is counted.
fn metrics(scene: &mut Scene, lines: &[MetricLine], side: Frame) {
    if lines.is_empty() {
        return;
    }
    let font = Font { size: 6.8, colour: INK, bold: false, anchor: Anchor::Start };
    let mut y = side.y + 8.0;
    scene.text([side.x, y], "Quality control", Font { size: 8.2, bold: true, ..font }, false);
    y += 4.0;
    for (k, line) in lines.iter().enumerate() {
        let height = if line.range.is_empty() { 11.6 } else { 19.2 };
        let rest = lines.len() - k;
        if y + height > side.bottom() - if rest > 1 { 10.0 } else { 0.0 } {
            scene.text(
                [side.x + 8.0, y + 9.0],
                &format!("and {rest} more in the product"),
                Font { colour: SOFT, ..font },
                false,
            );
            return;
        }
        scene.fill(Frame { x: side.x, y, w: side.w, h: 0.5 }, HAIR, 1.0);
        scene.fill(Frame { x: side.x, y: y + 2.2, w: 3.0, h: height - 3.8 }, colour::verdict(line.verdict), 1.0);
        let value = Font { bold: true, anchor: Anchor::End, colour: colour::INK, ..font };
        let shown = fitted(&line.value, 6.8, 0.55 * side.w);
        let room = side.w - 12.0 - length(&shown, 6.8);
        scene.text([side.x + 8.0, y + 8.4], &fitted(&line.name, 6.8, room), font, false);
        scene.text([side.x + side.w, y + 8.4], &shown, value, false);
        if !line.range.is_empty() {
            let soft = Font { size: 6.2, colour: SOFT, ..font };
            scene.text(
                [side.x + 8.0, y + 16.0],
                line.verdict.as_str(),
                Font { colour: colour::verdict(line.verdict), bold: true, ..soft },
                false,
            );
            let range = format!("accepted {}", line.range);
            scene.text(
                [side.x + side.w, y + 16.0],
                &fitted(&range, 6.2, side.w - 40.0),
                Font { anchor: Anchor::End, ..soft },
                false,
            );
        }
        y += height;
    }
    scene.fill(Frame { x: side.x, y, w: side.w, h: 0.5 }, HAIR, 1.0);
}
