//! Closed forms that the images must meet.

use std::sync::Arc;

use ndarray::Array2;

use super::*;
use crate::instrument::format::Axis;
use crate::instrument::{OrderFormat, Position, SpectralFormat};
use crate::simulator::light::{Light, Line};

fn view(arm: Arm) -> View {
    View::new(arm, &Flexure::default(), &Distortion::usual(arm))
}

fn lines(lines: &[(f64, f64)]) -> Light {
    let lines = lines.iter().map(|&(wavelength, photons)| Line { wavelength, photons }).collect();
    Light { continuum: Arc::new(|wavelengths| vec![0.0; wavelengths.len()]), lines }
}

fn flat(photons: f64) -> Light {
    Light { continuum: Arc::new(move |wavelengths| vec![photons; wavelengths.len()]), lines: Vec::new() }
}

/// Every photon becomes an electron in one order, none in the others.
fn only(order: u8) -> impl Fn(u8, &[f64]) -> Vec<f64> + Sync {
    move |number, wavelengths| vec![if number == order { 1.0 } else { 0.0 }; wavelengths.len()]
}

fn even() -> Shape {
    Shape::Surface { slope: 0.0 }
}

fn slit(width: f64) -> Entrance {
    Entrance::Slit { width, across: 0.0 }
}

fn one_hole(along: f64) -> Entrance {
    Entrance::Pinholes { along: vec![along], across: 0.0, diameter: 0.5 }
}

/// Sum, centroid (x, y) and variances (x, y).
fn moments(image: &Array2<f32>) -> (f64, [f64; 2], [f64; 2]) {
    let (mut sum, mut first, mut second) = (0.0, [0.0; 2], [0.0; 2]);
    for ((y, x), value) in image.indexed_iter() {
        let value = f64::from(*value);
        sum += value;
        for (axis, at) in [x as f64, y as f64].into_iter().enumerate() {
            first[axis] += value * at;
            second[axis] += value * at * at;
        }
    }
    let centroid = first.map(|value| value / sum);
    (sum, centroid, [0, 1].map(|axis| second[axis] / sum - centroid[axis] * centroid[axis]))
}

/// Wavelengths well inside the detector, from one end of the order to the other.
fn places(view: &View, order: &OrderFormat) -> Vec<f64> {
    let [blue, red] = order.wavelengths();
    let (rows, columns) = view.format().shape();
    (1..20)
        .map(|step| blue + (red - blue) * f64::from(step) / 20.0)
        .filter(|&wavelength| {
            [-6.0, 6.0].into_iter().all(|slit| {
                let p = view.position(order, wavelength, slit);
                p.x > 20.0 && p.y > 20.0 && p.x < columns as f64 - 20.0 && p.y < rows as f64 - 20.0
            })
        })
        .collect()
}

/// Variances in x and y of the image of a pinhole: optics, pixel, and a disc with these two radii in pixels.
fn hole_variance(arm: Arm, p: &Position, across: f64) -> [f64; 2] {
    let sigma = Focus::usual(arm).fwhm(arm, p.x, p.y) / FWHM_OF_SIGMA;
    let base = sigma * sigma + 1.0 / 12.0;
    // A disc of radius r has the variance r2 / 4 along any diameter.
    let quarter = 0.25 * 0.25 / 4.0;
    let (unit_x, unit_y) = match SpectralFormat::of(arm).dispersion() {
        Axis::X => (1.0, p.dy_dw / p.dx_dw),
        Axis::Y => (p.dx_dw / p.dy_dw, 1.0),
    };
    let (a, b) = (across * unit_x, across * unit_y);
    [base + quarter * (a * a + p.dx_ds * p.dx_ds), base + quarter * (b * b + p.dy_ds * p.dy_ds)]
}

#[test]
fn a_line_through_a_pinhole_has_its_flux_place_and_width() {
    for (arm, orders) in [(Arm::Vis, [1, 2, 4]), (Arm::Nir, [10, 17, 23])] {
        let flexure = Flexure { shift: [0.3, -0.7], scale: 1e-4, rotation: 0.02 };
        let view = View::new(arm, &flexure, &Distortion::usual(arm));
        for number in orders {
            let order = view.format().order(number).unwrap();
            let places = places(&view, order);
            // The last one lies where the slit's tilt is steepest.
            for (&wavelength, hole) in
                [&places[0], &places[places.len() / 2], places.last().unwrap()].into_iter().zip([-5.5, 1.4, 5.5])
            {
                let light = lines(&[(wavelength, 1000.0)]);
                let beam = Beam { light: &light, efficiency: &only(number), shape: even() };
                let image = render(&view, &Focus::usual(arm), &one_hole(hole), &[beam], None);
                let (flux, centroid, variance) = moments(&image);
                let area = std::f64::consts::PI * 0.25 * 0.25;
                let p = view.position(order, wavelength, hole);
                assert!((flux / (1000.0 * area) - 1.0).abs() < 1e-5, "{arm} {number}: flux {flux}");
                assert!(
                    (centroid[0] - p.x).abs() < 1e-3 && (centroid[1] - p.y).abs() < 1e-3,
                    "{arm} {number}: {centroid:?} {p:?}"
                );
                let truth = hole_variance(arm, &p, view.across());
                for (found, truth) in variance.iter().zip(truth) {
                    assert!((found.sqrt() / truth.sqrt() - 1.0).abs() < 1e-3, "{arm} {number}: {variance:?} {truth:?}");
                }
            }
        }
    }
}

#[test]
fn a_continuum_through_a_pinhole_has_its_flux_and_width_across() {
    for (arm, number) in [(Arm::Vis, 3), (Arm::Nir, 12)] {
        let view = view(arm);
        let order = view.format().order(number).unwrap();
        let light = flat(100.0);
        let beam = Beam { light: &light, efficiency: &only(number), shape: even() };
        let image = render(&view, &Focus::usual(arm), &one_hole(1.0), &[beam], None);
        let lines: Vec<_> = match view.format().dispersion() {
            Axis::X => image.columns().into_iter().map(|line| line.to_vec()).collect(),
            Axis::Y => image.rows().into_iter().map(|line| line.to_vec()).collect(),
        };
        for wavelength in places(&view, order) {
            let place = view.place(order, wavelength, 1.0);
            let at = place.along.round();
            // The place of the trace in the middle of this line of pixels.
            let beside = place.beside + (at - place.along) * place.beside_dw / place.along_dw;
            let line = &lines[at as usize];
            let sum: f64 = line.iter().map(|value| f64::from(*value)).sum();
            let centroid = line.iter().enumerate().map(|(at, value)| at as f64 * f64::from(*value)).sum::<f64>() / sum;
            let expected = 100.0 * std::f64::consts::PI * 0.0625 / place.along_dw.abs();
            assert!((sum / expected - 1.0).abs() < 1e-3, "{arm} {wavelength}: {sum} {expected}");
            assert!((centroid - beside).abs() < 0.005, "{arm} {wavelength}: {centroid} {beside}");
        }
    }
}

#[test]
fn an_even_slit_has_its_light_and_its_width() {
    for (arm, number, width) in [(Arm::Vis, 4, 1.0), (Arm::Nir, 10, 0.5), (Arm::Nir, 20, 5.0)] {
        let view = view(arm);
        let order = view.format().order(number).unwrap();
        let places = places(&view, order);
        for wavelength in [places[2], places[places.len() - 1]] {
            let light = lines(&[(wavelength, 10.0)]);
            let beam = Beam { light: &light, efficiency: &only(number), shape: even() };
            let image = render(&view, &Focus::usual(arm), &slit(width), &[beam], None);
            let (flux, centroid, _) = moments(&image);
            assert!((flux / (10.0 * width * 12.0) - 1.0).abs() < 1e-3, "{arm} {number}: {flux}");
            // The centroid of a slit image is the mean of its points.
            let points = (0..120).map(|step| view.position(order, wavelength, -5.95 + 0.1 * f64::from(step)));
            let mean = points.fold([0.0; 2], |mean, p| [mean[0] + p.x / 120.0, mean[1] + p.y / 120.0]);
            assert!((centroid[0] - mean[0]).abs() < 0.005 && (centroid[1] - mean[1]).abs() < 0.005, "{arm} {number}");
            // The second moment along the dispersion of the straightened image.
            let (mut sum, mut first, mut second) = (0.0, 0.0, 0.0);
            for ((y, x), value) in image.indexed_iter().filter(|(_, value)| **value > 0.0) {
                let Some((w, s)) = view.invert(order, x as f64, y as f64) else { continue };
                if s.abs() < 4.0 {
                    let off = (w - wavelength) * view.place(order, wavelength, 0.0).along_dw.abs();
                    let value = f64::from(*value);
                    (sum, first, second) = (sum + value, first + value * off, second + value * off * off);
                }
            }
            let variance = second / sum - (first / sum) * (first / sum);
            let p = view.place(order, wavelength, 0.0);
            let (x, y) = view.pixel(p.along, p.beside);
            let sigma = Focus::usual(arm).fwhm(arm, x, y) / FWHM_OF_SIGMA;
            let tilt = (p.along_ds / (p.beside_ds - p.along_ds * p.beside_dw / p.along_dw), p.beside_dw / p.along_dw);
            // Blur and pixel act across the tilted image: the gradient of the dispersion coordinate has this square.
            let gradient = (1.0 + tilt.0 * tilt.1) * (1.0 + tilt.0 * tilt.1) + tilt.0 * tilt.0;
            let box_width = width * view.across();
            let truth = (sigma * sigma + 1.0 / 12.0) * gradient + box_width * box_width / 12.0;
            assert!(
                (variance.sqrt() / truth.sqrt() - 1.0).abs() < 0.01,
                "{arm} {number}: {} {}",
                variance.sqrt(),
                truth.sqrt()
            );
        }
    }
}

#[test]
fn the_light_of_a_star_is_its_rate_times_the_transmission() {
    for (arm, number, width) in [(Arm::Vis, 2, 1.0), (Arm::Nir, 15, 1.5), (Arm::Vis, 3, 5.0)] {
        let view = view(arm);
        let order = view.format().order(number).unwrap();
        let star = Source::star(0.9, 0.7, 0.2);
        let places = places(&view, order);
        for wavelength in [places[1], places[places.len() - 2]] {
            let light = lines(&[(wavelength, 500.0)]);
            let beam = Beam { light: &light, efficiency: &only(number), shape: Shape::Source(star.clone()) };
            let image = render(&view, &Focus::usual(arm), &slit(width), &[beam], None);
            let (flux, centroid, _) = moments(&image);
            let expected = 500.0 * star.transmission(width, 0.0, wavelength) * star.caught(12.0, wavelength);
            assert!((flux / expected - 1.0).abs() < 1e-3, "{arm} {number}: {flux} {expected}");
            let spread =
                line_spread(&view, &Focus::usual(arm), &slit(width), &Shape::Source(star.clone()), order, wavelength);
            assert!((spread.transmission / star.transmission(width, 0.0, wavelength) - 1.0).abs() < 1e-6);
            // The star's wings are cut at the ends of the slit, which moves its centroid by a few hundredths of an
            // arcsecond.
            let place = view.place(order, wavelength, 0.7);
            let along = place.along + spread.shift * place.along_dw.signum();
            let found = match view.format().dispersion() {
                Axis::X => centroid[0],
                Axis::Y => centroid[1],
            };
            assert!((found - along).abs() < 0.02, "{arm} {number}: {found} {along}");
        }
    }
}

#[test]
fn transmission_is_that_of_a_round_moffat_through_a_long_slit() {
    let alpha = 0.9 / (2.0 * (2f64.cbrt() - 1.0).sqrt());
    for (width, off) in [(0.5, 0.0), (1.0, 0.3), (5.0, -1.0)] {
        // Midpoints in both directions; the far wings along the slit (r-5) are left out.
        let (across, along) = (400, 8000);
        let mut sum = 0.0;
        for i in 0..across {
            let x = width * ((f64::from(i) + 0.5) / f64::from(across) - 0.5) - off;
            for j in 0..along {
                let y = 40.0 * (f64::from(j) + 0.5) / f64::from(along);
                sum += 2.0 * (2.0 / (std::f64::consts::PI * alpha * alpha))
                    / (1.0 + (x * x + y * y) / (alpha * alpha)).powi(3);
            }
        }
        let integral = sum * (width / f64::from(across)) * (40.0 / f64::from(along));
        let found = Source::star(0.9, 0.0, off).transmission(width, 0.0, 500.0);
        assert!((found - integral).abs() < 1e-5, "{width} {off}: {found} {integral}");
    }
}

#[test]
fn marginals_are_normalised_and_their_moments_are_theirs() {
    for marginal in [
        shape::Marginal::Even { half: 0.8 },
        shape::Marginal::Disc { radius: 0.6 },
        shape::Marginal::Moffat { alpha: 0.5 },
        shape::Marginal::Gaussian { sigma: 0.4 },
        shape::Marginal::Exponential { scale: 0.3 },
    ] {
        assert!((marginal.mass(-1e4, 1e4) - 1.0).abs() < 1e-9, "{marginal:?}");
        let (low, high, steps) = (-0.3, 0.7, 20_000);
        let width = (high - low) / f64::from(steps);
        let moment: f64 = (0..steps)
            .map(|step| {
                let from = low + width * f64::from(step);
                (from + 0.5 * width) * marginal.mass(from, from + width)
            })
            .sum();
        assert!((moment - marginal.moment(low, high)).abs() < 1e-8, "{marginal:?}");
    }
    let fwhm = |profile: Profile| {
        let source = Source { profile, ..Source::star(1.3, 0.0, 0.0) };
        source.transmission(1e-4, 0.0, 500.0) / source.transmission(1e-4, 0.65, 500.0)
    };
    assert!((fwhm(Profile::Gaussian) - 2.0).abs() < 1e-3 && (fwhm(Profile::Exponential) - 2.0).abs() < 1e-3);
}

#[test]
fn images_are_linear_in_every_source_and_the_same_for_any_number_of_threads() {
    let view = view(Arm::Nir);
    let focus = Focus::usual(Arm::Nir);
    let efficiency = |number: u8, wavelengths: &[f64]| vec![if number > 21 { 0.3 } else { 0.0 }; wavelengths.len()];
    let (sky, star) = (lines(&[(830.0, 20.0), (870.0, 5.0)]), flat(30.0));
    let make = |factor: f64, which: &[bool; 2]| {
        let mut scaled = star.clone();
        let inner = scaled.continuum.clone();
        scaled.continuum = Arc::new(move |w| inner(w).into_iter().map(|value| factor * value).collect());
        let beams = [
            Beam { light: &sky, efficiency: &efficiency, shape: Shape::Surface { slope: 0.02 } },
            Beam { light: &scaled, efficiency: &efficiency, shape: Shape::Source(Source::star(0.8, -1.0, 0.0)) },
        ];
        let chosen: Vec<Beam> =
            beams.into_iter().zip(which).filter(|(_, chosen)| **chosen).map(|(beam, _)| beam).collect();
        let mut image = render(&view, &focus, &slit(1.0), &chosen, Some(&|x, _, w| 1.0 + 0.01 * (x - w).abs().sqrt()));
        Stray::usual(Arm::Nir).throw(&mut image);
        image
    };
    let (sum, sky_only, star_only, double) =
        (make(1.0, &[true; 2]), make(1.0, &[true, false]), make(1.0, &[false, true]), make(2.0, &[false, true]));
    let peak = sum.iter().copied().fold(0.0, f32::max);
    for (((sum, a), b), c) in sum.iter().zip(&sky_only).zip(&star_only).zip(&double) {
        assert!((sum - a - b).abs() <= 1e-6 * peak && (c - 2.0 * b).abs() <= 1e-6 * peak);
    }
    let bytes = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| make(1.0, &[true; 2]).iter().map(|value| value.to_bits()).collect::<Vec<u32>>())
    };
    assert_eq!(bytes(1), bytes(8));
}

#[test]
fn flexure_moves_light_by_what_was_asked() {
    let (arm, number, wavelength) = (Arm::Vis, 3, 480.0);
    let light = lines(&[(wavelength, 100.0)]);
    let centroid = |flexure: &Flexure, distortion: &Distortion| {
        let view = View::new(arm, flexure, distortion);
        let beam = Beam { light: &light, efficiency: &only(number), shape: even() };
        moments(&render(&view, &Focus::usual(arm), &one_hole(0.0), &[beam], None)).1
    };
    let usual = Distortion::usual(arm);
    let rest = centroid(&Flexure::default(), &usual);
    let moved = centroid(&Flexure { shift: [1.25, -3.5], ..Flexure::default() }, &usual);
    assert!((moved[0] - rest[0] - 1.25).abs() < 1e-3 && (moved[1] - rest[1] + 3.5).abs() < 1e-3);
    let turned = centroid(&Flexure { rotation: 0.1, scale: 1e-3, ..Flexure::default() }, &usual);
    let (dx, dy) = (rest[0] - 403.5, rest[1] - 2047.5);
    let (sin, cos) = 0.1f64.to_radians().sin_cos();
    assert!((turned[0] - 403.5 - 1.001 * (cos * dx - sin * dy)).abs() < 1e-3);
    assert!((turned[1] - 2047.5 - 1.001 * (sin * dx + cos * dy)).abs() < 1e-3);
    let shifted = Distortion { order_shifts: vec![OrderShift { order: 3, shift: [0.5, 0.25] }], ..usual };
    let own = centroid(&Flexure::default(), &shifted);
    assert!((own[0] - rest[0] - 0.5).abs() < 1e-3 && (own[1] - rest[1] - 0.25).abs() < 1e-3);
}

#[test]
fn views_return_to_where_they_came_from() {
    for arm in [Arm::Vis, Arm::Nir] {
        let flexure = Flexure { shift: [5.0, -8.0], scale: 1e-3, rotation: 0.1 };
        let view = View::new(arm, &flexure, &Distortion::usual(arm));
        for order in view.format().orders() {
            for wavelength in places(&view, order) {
                for slit in [-6.0, 0.0, 4.5] {
                    let p = view.position(order, wavelength, slit);
                    let (w, s) = view.invert(order, p.x, p.y).unwrap();
                    let again = view.position(order, w, s);
                    assert!((again.x - p.x).abs() < 1e-6 && (again.y - p.y).abs() < 1e-6 && (s - slit).abs() < 1e-6);
                }
                let (p, step) = (view.position(order, wavelength, 5.0), 1e-4);
                let (plus, minus) =
                    (view.position(order, wavelength + step, 5.0), view.position(order, wavelength - step, 5.0));
                assert!(((plus.x - minus.x) / (2.0 * step) - p.dx_dw).abs() < 1e-6);
                assert!(((plus.y - minus.y) / (2.0 * step) - p.dy_dw).abs() < 1e-6);
            }
        }
    }
}

#[test]
fn grids_rise_in_steps_of_a_sixteenth_of_a_pixel() {
    for arm in [Arm::Vis, Arm::Nir] {
        let view = view(arm);
        for order in view.format().orders() {
            let grid = view.grid(order).unwrap();
            assert!(grid.wavelengths().windows(2).all(|pair| pair[0] < pair[1]));
            let (at, wavelength) = (5000, grid.wavelengths()[5000]);
            let place = view.place(order, wavelength, 0.0);
            assert!((place.along - grid.pixel(at)).abs() < 1e-8 && (grid.index(place.along) - 5000.0).abs() < 1e-6);
            assert!((grid.dispersion()[at] * place.along_dw.abs() - 1.0).abs() < 1e-8);
        }
    }
}

#[test]
fn line_widths_are_the_published_ones() {
    // Mean widths over an order: 3.0-3.2 pixels in VIS, 3.15-3.55 in NIR, through the slit of 1 arcsec.
    for (arm, low, high) in [(Arm::Vis, 2.95, 3.25), (Arm::Nir, 3.15, 3.75)] {
        let view = view(arm);
        for order in view.format().orders() {
            let places = places(&view, order);
            let widths =
                places.iter().map(|&w| line_spread(&view, &Focus::usual(arm), &slit(1.0), &even(), order, w).fwhm);
            let mean = widths.sum::<f64>() / places.len() as f64;
            assert!(mean > low && mean < high, "{arm} {}: {mean}", order.name());
        }
    }
}

#[test]
fn stray_light_is_taken_and_not_made() {
    let mut image = Array2::<f32>::zeros((303, 501));
    image[[150, 250]] = 1e6;
    let stray = Stray { scatter_width: 20.0, ghost: 0.01, ..Stray::usual(Arm::Vis) };
    let mut thrown = image.clone();
    stray.throw(&mut thrown);
    let sum: f64 = thrown.iter().map(|value| f64::from(*value)).sum();
    // The halo's wings beyond the edges are lost.
    assert!(sum < 1e6 && sum > 1e6 * (1.0 - 0.2 * stray.halo), "{sum}");
    assert!((f64::from(thrown[[150, 250]]) / 1e6 - (1.0 - 0.02 - 0.006 - 0.01)).abs() < 2e-3);
    assert!(thrown.iter().all(|value| *value > -1e-3));
    // The ghost lies opposite.
    let mut image = Array2::<f32>::zeros((303, 501));
    image[[110, 100]] = 1e6;
    Stray { halo: 0.0, scattered: 0.0, ..stray }.throw(&mut image);
    image[[110, 100]] = 0.0;
    let (flux, centroid, _) = moments(&image);
    assert!((flux / 1e4 - 1.0).abs() < 0.02, "{flux}");
    assert!((centroid[0] - 400.0).abs() < 2.5 && (centroid[1] - 192.0).abs() < 2.5, "{centroid:?}");
    let mut untouched = image.clone();
    Stray::none().throw(&mut untouched);
    assert_eq!(untouched, image);
}

#[test]
fn the_line_of_a_star_is_the_blurred_sum_of_its_points() {
    // At the red end of order 10 the slit leans by 18 degrees.
    let (arm, number, wavelength, along, fwhm, width) = (Arm::Nir, 10, 2020.0, 1.0, 0.8, 1.0);
    let view = view(arm);
    let order = view.format().order(number).unwrap();
    let source = Source { profile: Profile::Gaussian, ..Source::star(fwhm, along, 0.2) };
    let light = lines(&[(wavelength, 1000.0)]);
    let beam = Beam { light: &light, efficiency: &only(number), shape: Shape::Source(source) };
    let image = render(&view, &Focus::usual(arm), &slit(width), &[beam], None);
    // Directly: points in the slit plane, each a round Gaussian on the detector, integrated over pixels.
    let mut direct = Array2::<f64>::zeros(image.dim());
    let gauss = |off: f64, sigma: f64| {
        (-0.5 * (off / sigma) * (off / sigma)).exp() / (sigma * (2.0 * std::f64::consts::PI).sqrt())
    };
    let (points, size) = (40, FWHM_OF_SIGMA.recip() * fwhm);
    for i in 0..points {
        let across = width * ((f64::from(i) + 0.5) / f64::from(points) - 0.5);
        for j in 0..3 * points {
            let place = along + 5.0 * size * (2.0 * (f64::from(j) + 0.5) / f64::from(3 * points) - 1.0);
            let area = (width / f64::from(points)) * (10.0 * size / f64::from(3 * points));
            let weight = 1000.0 * area * gauss(across - 0.2, size) * gauss(place - along, size);
            let p = view.position(order, wavelength, place);
            let (x, y) = (p.x + view.across() * across, p.y + view.across() * across * p.dy_dw / p.dx_dw);
            let sigma = Focus::usual(arm).fwhm(arm, p.x, p.y) / FWHM_OF_SIGMA;
            let share = |pixel: usize, centre: f64| {
                let edge = |at: f64| 0.5 * libm::erf((at - centre) / (sigma * std::f64::consts::SQRT_2));
                edge(pixel as f64 + 0.5) - edge(pixel as f64 - 0.5)
            };
            for row in y as usize - 9..y as usize + 9 {
                for column in x as usize - 9..x as usize + 9 {
                    direct[[row, column]] += weight * share(row, y) * share(column, x);
                }
            }
        }
    }
    let peak = direct.iter().copied().fold(0.0, f64::max);
    let worst = image.iter().zip(&direct).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
    assert!(worst < 0.003 * peak, "{}", worst / peak);
}

#[test]
fn the_response_is_asked_for_the_wavelength_of_each_pixel() {
    let (arm, number) = (Arm::Nir, 16);
    let view = view(arm);
    let order = view.format().order(number).unwrap();
    let light = flat(100.0);
    let make = |response: Option<Response<'_>>| {
        let beam = Beam { light: &light, efficiency: &only(number), shape: even() };
        render(&view, &Focus::usual(arm), &slit(1.0), &[beam], response)
    };
    let (plain, marked) = (make(None), make(Some(&|x, y, wavelength| wavelength + 1e-3 * x - 1e-3 * y)));
    let bright = plain.indexed_iter().zip(&marked).filter(|((_, value), _)| **value > 0.5).step_by(97);
    for (((y, x), plain), marked) in bright {
        let (wavelength, _) = view.invert(order, x as f64, y as f64).unwrap();
        let expected = wavelength + 1e-3 * (x as f64 - y as f64);
        assert!((f64::from(marked / plain) - expected).abs() < 1e-3, "{x} {y}");
    }
}

#[test]
fn parameters_are_those_of_the_usual_instrument_but_for_what_is_named() {
    let read: Optics = toml::from_str("[NIR.focus]\nfwhm = 2\n[VIS]\nslope = 0.1").unwrap();
    let mut expected = Optics::default();
    expected.nir.focus.fwhm = 2.0;
    expected.vis.slope = 0.1;
    assert_eq!(read, expected);
    assert_eq!(toml::from_str::<Optics>(&toml::to_string(&expected).unwrap()).unwrap(), expected);
    let error = toml::from_str::<Optics>("[VIS.focus]\nfwmh = 2.0").unwrap_err().to_string();
    assert!(error.contains("fwmh"), "{error}");
    assert_eq!(Optics::default().of(Arm::Nir).focus, Focus::usual(Arm::Nir));
}

#[test]
fn pinhole_images_have_the_published_mean_width() {
    // Widths of point-sampled images for which the usual star finder reports the published ones.
    // The charge that detectors share between neighbours has its part: its variance in square pixels along each axis.
    for (arm, published, sharing) in [(Arm::Vis, 1.87_f64, 0.09), (Arm::Nir, 2.15, 0.03)] {
        let published = (published * published - FWHM_OF_SIGMA * FWHM_OF_SIGMA * sharing).sqrt();
        let view = view(arm);
        let (mut sum, mut count) = (0.0, 0.0);
        for order in view.format().orders() {
            for wavelength in places(&view, order) {
                let variance = hole_variance(arm, &view.position(order, wavelength, 0.0), view.across());
                sum += FWHM_OF_SIGMA * (0.5 * (variance[0] + variance[1])).sqrt();
                count += 1.0;
            }
        }
        assert!((sum / count - published).abs() < 0.015, "{arm} {}", sum / count);
    }
}
