//! Images of arc lines through pinholes against the table of lines.

use super::*;
use crate::simulator::faults::{Fault, PlannedFault};
use crate::simulator::math;
use crate::simulator::optics::FWHM_OF_SIGMA;
use crate::simulator::painter::spectrograph::HOLE;
use crate::simulator::truth::tables::LineRow;

/// Pixels around a line that hold all of its light.
const REACH: f64 = 8.0;
/// How much light of other lines may fall there, against the line's own.
const STRANGE: f64 = 1.0e-5;
/// Electrons below which the rounding of an image shows, where the instrument is warm.
const FAINT: f64 = 1.0e3;
/// Rows of holes that are compared.
const NINES: usize = 20;

/// The largest deviations from the truth: relative flux, pixels of the centroid, relative width.
#[derive(Debug, Default)]
struct Worst {
    lines: usize,
    flux: f64,
    place: f64,
    width: f64,
}

/// A rectangle of pixels: first and last x, first and last y.
type Window = [f64; 4];

fn around(rows: &[&LineRow], reach: f64) -> Window {
    let mut window = [f64::MAX, f64::MIN, f64::MAX, f64::MIN];
    for row in rows {
        window = [
            window[0].min(row.x - reach),
            window[1].max(row.x + reach),
            window[2].min(row.y - reach),
            window[3].max(row.y + reach),
        ];
    }
    window.map(f64::round)
}

/// Whether a place lies in a window that is `more` pixels larger on each side.
fn within(window: &Window, more: f64, row: &LineRow) -> bool {
    let [left, right, low, high] = *window;
    row.x > left - more && row.x < right + more && row.y > low - more && row.y < high + more
}

/// Whether a window lies on the detector, and so far inside that no line from beyond its edge, which has no row, reaches it.
fn on_detector(window: &Window, (rows, columns): (usize, usize)) -> bool {
    let [left, right, low, high] = *window;
    left >= REACH && low >= REACH && right < columns as f64 - REACH && high < rows as f64 - REACH
}

/// Light in the window, its centroid, and its variance along (u, v).
fn moments(image: &Array2<f32>, window: &Window, (u, v): (f64, f64)) -> (f64, [f64; 2], f64) {
    let [left, right, low, high] = window.map(|edge| edge as usize);
    let pixels =
        || (low..=high).flat_map(move |y| (left..=right).map(move |x| (x as f64, y as f64, f64::from(image[[y, x]]))));
    let flux: f64 = pixels().map(|pixel| pixel.2).sum();
    let x = pixels().map(|pixel| pixel.0 * pixel.2).sum::<f64>() / flux;
    let y = pixels().map(|pixel| pixel.1 * pixel.2).sum::<f64>() / flux;
    let off = |pixel: (f64, f64, f64)| u * (pixel.0 - x) + v * (pixel.1 - y);
    let variance = pixels().map(|pixel| pixel.2 * off(pixel) * off(pixel)).sum::<f64>() / flux;
    (flux, [x, y], variance)
}

/// How pixels in x and in y count along the dispersion, for light of one place on the slit: (u, v) of an offset along the
/// trace is 1, of one along the slit 0.
fn along_trace(drawn: &Drawn, row: &LineRow) -> (f64, f64) {
    let view = drawn.view();
    let order = view.format().order(row.order).unwrap();
    let p = view.position(order, row.wavelength, row.slit);
    let per_pixel = along(drawn.exposure.arm, (p.dx_dw, p.dy_dw)).0.abs();
    let (x, y) = (p.dx_dw / per_pixel, p.dy_dw / per_pixel);
    let determinant = x * p.dy_ds - y * p.dx_ds;
    (p.dy_ds / determinant, -p.dx_ds / determinant)
}

/// FWHM of a disc, a Gaussian and a pixel, one spread by the other.
fn full_width(radius: f64, sigma: f64) -> f64 {
    let profile = |x: f64| {
        let steps = 200;
        let part = |step: i32| {
            let (sine, cosine) = (std::f64::consts::PI * (f64::from(step) + 0.5) / f64::from(steps)
                - std::f64::consts::FRAC_PI_2)
                .sin_cos();
            let edge = |side: f64| math::erf((x - radius * sine + side) / (sigma * std::f64::consts::SQRT_2));
            cosine * cosine * (edge(0.5) - edge(-0.5))
        };
        (0..steps).map(part).sum::<f64>()
    };
    let half = 0.5 * profile(0.0);
    let (mut inside, mut outside) = (0.0, 2.0 * radius + 10.0 * sigma + 2.0);
    for _ in 0..50 {
        let middle = 0.5 * (inside + outside);
        if profile(middle) > half { inside = middle } else { outside = middle }
    }
    2.0 * inside
}

/// Compare every line of a single hole that stands alone with its row.
fn single(drawn: &Drawn, worst: &mut Worst) {
    let lines = &drawn.tables.lines;
    for (number, row) in lines.iter().enumerate() {
        let window = around(&[row], REACH);
        let others = lines.iter().enumerate().filter(|(other, row)| *other != number && within(&window, REACH, row));
        let strange: f64 = others.map(|(_, row)| row.flux).sum();
        if row.flux < FAINT || strange > STRANGE * row.flux || !on_detector(&window, drawn.light.dim()) {
            continue;
        }
        let direction = along_trace(drawn, row);
        let (flux, [x, y], variance) = moments(&drawn.light, &window, direction);
        worst.lines += 1;
        worst.flux = worst.flux.max((flux / row.flux - 1.0).abs());
        worst.place = worst.place.max((x - row.x).abs()).max((y - row.y).abs());
        // What pixels and hole add to the variance is known; the rest is the Gaussian blur of the optics.
        let radius = 0.5 * HOLE * drawn.view().across();
        let pixel = (direction.0 * direction.0 + direction.1 * direction.1) / 12.0;
        let width = full_width(radius, (variance - pixel - 0.25 * radius * radius).sqrt());
        worst.width = worst.width.max((width / row.fwhm - 1.0).abs());
    }
}

/// Compare the lines of a row of holes, whose nine images touch, together with all that lies in their midst: those with
/// the least light of others at the edge of their window.
fn row_of_nine(drawn: &Drawn, worst: &mut Worst) {
    let lines = &drawn.tables.lines;
    let holes = SpectralFormat::of(drawn.exposure.arm).pinholes().len();
    let mut windows: Vec<(f64, Window)> = lines
        .chunk_by(|a, b| (a.order, a.wavelength) == (b.order, b.wavelength))
        .filter(|rows| rows.len() == holes)
        .map(|rows| {
            (rows.iter().map(|row| row.flux).sum::<f64>(), around(&rows.iter().collect::<Vec<_>>(), REACH + 1.0))
        })
        .filter(|(flux, window)| *flux > FAINT && on_detector(window, drawn.light.dim()))
        .map(|(flux, window)| {
            let edge = |row: &&LineRow| within(&window, REACH, row) && !within(&window, -REACH, row);
            (lines.iter().filter(edge).map(|row| row.flux).sum::<f64>() / flux, window)
        })
        .collect();
    windows.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (_, window) in windows.iter().take(NINES).filter(|(strange, _)| *strange < 1e-4) {
        let rows: Vec<&LineRow> = lines.iter().filter(|row| within(window, -REACH, row)).collect();
        let (flux, [x, y], _) = moments(&drawn.light, window, (1.0, 0.0));
        let total: f64 = rows.iter().map(|row| row.flux).sum();
        let mean = |of: fn(&LineRow) -> f64| rows.iter().map(|row| of(row) * row.flux).sum::<f64>() / total;
        worst.lines += 1;
        worst.flux = worst.flux.max((flux / total - 1.0).abs());
        worst.place = worst.place.max((x - mean(|row| row.x)).abs()).max((y - mean(|row| row.y)).abs());
    }
}

#[test]
fn images_of_pinholes_have_the_flux_place_and_width_of_the_truth() {
    for arm in SPECTROGRAPHS {
        let mut plan = perfect();
        plan.flexure = [Flexure { shift: [0.37, -0.61], scale: 8e-5, rotation: 0.015 }; 2];
        plan.instrument.vis.repositioning = Some(0.1);
        plan.instrument.nir.repositioning = Some(0.1);
        let slipped = |frame, arcsec| PlannedFault { frame: Some(frame), fault: Fault::SlippedMask { arcsec } };
        let faults = vec![slipped(1, -5.3), slipped(3, 4.1)];
        let plan = plan
            .with(TemplatePlan { faults, ..TemplatePlan::new(FrameKind::PinholeArc, arm, 20.0, 3) })
            .with(TemplatePlan::new(FrameKind::MultiPinholeArc, arm, 20.0, 1));
        let mut frames = draw(&plan);
        let mut painter = Painter::new(&plan).unwrap();
        for drawn in &mut frames {
            // The instrument is warm.
            let cold = Exposure { lamps: Vec::new(), ..drawn.exposure.clone() };
            drawn.light -= &light(&cold, &painter.paint(&cold).unwrap());
        }
        let (mut one, mut nine) = (Worst::default(), Worst::default());
        for drawn in &frames[..3] {
            single(drawn, &mut one);
        }
        row_of_nine(&frames[3], &mut nine);
        let mut orders: Vec<u8> = frames[0].tables.lines.iter().map(|row| row.order).collect();
        orders.dedup();
        assert_eq!(orders.len(), SpectralFormat::of(arm).orders().len(), "{arm}: {orders:?}");
        assert!(one.lines > 50 && nine.lines > 4, "{arm}: {one:?} {nine:?}");
        assert!(one.flux < 1e-3 && one.place < 0.005 && one.width < 0.01, "{arm}: {one:?}");
        assert!(nine.flux < 1e-3 && nine.place < 0.005, "{arm}: {nine:?}");
        // One row a line, however many lamps show it.
        let rows = &frames[0].tables.lines;
        let twice = |a: &LineRow, b: &LineRow| (a.order, a.wavelength) == (b.order, b.wavelength);
        assert!(rows.windows(2).all(|pair| !twice(&pair[0], &pair[1])), "{arm}: a line has two rows");
        // The test would see it: the holes have moved, and the exchanger has put the mask aside.
        let first = |drawn: &Drawn| drawn.tables.lines[0].slit;
        assert_eq!([0, 1, 2].map(|frame| first(&frames[frame])), [-5.3, 0.0, 4.1]);
    }
}

#[test]
fn the_closed_width_of_a_sharp_hole_is_that_of_its_parts() {
    assert!((full_width(1e-3, 2.0) / (FWHM_OF_SIGMA * (4.0_f64 + 1.0 / 12.0).sqrt()) - 1.0).abs() < 1e-3);
    assert!((full_width(1e-3, 0.01) - 1.0).abs() < 1e-3);
    // Half of a projected disc's height is at the root of three quarters of its radius.
    assert!((full_width(50.0, 1.0) / (100.0 * 0.75_f64.sqrt()) - 1.0).abs() < 2e-3);
}
