//! A small spectrograph of two orders, drawn in closed form, through the whole way from arc to map and planes.

use ndarray::Array2;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Normal};

use super::fit::Ties;
use super::map::{GeometryMap, OrderMap};
use super::planes;
use super::solve::{ArcError, ArcLine, Fate, Pinhole, Role, SolveOptions, solve};
use crate::numerics::profile::Shape;
use crate::numerics::spots::{Seed, Spot, render};

pub(super) const SHAPE: (usize, usize) = (640, 150);

fn order(order: u8, x0: f64, range: [f64; 2]) -> OrderMap {
    OrderMap {
        order,
        domain: range,
        limits: range,
        size: (3, 2),
        x: vec![x0, 18.0, 3.0, 0.2, -0.6, 0.0],
        y: vec![318.0, 2.5, 300.0, 0.3, 6.0, 0.0],
    }
}

pub(super) fn published() -> GeometryMap {
    GeometryMap { orders: vec![order(1, 38.0, [500.0, 600.0]), order(2, 110.0, [590.0, 700.0])] }
}

fn truth() -> GeometryMap {
    let moved = |map: &OrderMap| {
        let mut map = map.moved([4.3, 0.002, -0.001], [-3.6, 0.001, 0.001]);
        map.y[4] += 0.5;
        map
    };
    GeometryMap { orders: published().orders.iter().map(moved).collect() }
}

fn lines() -> Vec<ArcLine> {
    let mut lines = Vec::new();
    for map in &published().orders {
        let [a, b] = map.limits;
        for k in 0..28u32 {
            // unevenly spaced, as lamps are
            let t = (f64::from(k) + 0.5 + 0.35 * f64::from(k * 7 % 5) / 5.0) / 29.0;
            lines.push(ArcLine { order: map.order, wavelength: a + (b - a) * t, role: Role::Certain, landmark: true });
        }
    }
    lines
}

pub(super) fn pinholes(shift: f64) -> Vec<Pinhole> {
    (0..9u8).map(|k| Pinhole { index: k, slit: (f64::from(k) - 4.0) * 1.375 + shift }).collect()
}

fn frame(lines: &[ArcLine], pinholes: &[Pinhole]) -> Array2<f32> {
    drawn(&truth(), lines, pinholes, 5)
}

/// A frame of these lines through these pinholes, with the noise of its light and a read noise of 4 electrons.
pub(super) fn drawn(map: &GeometryMap, lines: &[ArcLine], pinholes: &[Pinhole], seed: u64) -> Array2<f32> {
    let (mut seeds, mut spots) = (Vec::new(), Vec::new());
    for (k, line) in lines.iter().enumerate() {
        for hole in pinholes {
            let (x, y) = map.at(line.order, line.wavelength, hole.slit).unwrap();
            let shape = Shape::gaussian(0.75, 0.85);
            seeds.push(Seed { x, y, shape, free: true, group: 0, known: None });
            let flux = 3000.0 * (1.0 + (k % 5) as f64);
            let (zero, none) = (0.0, f64::INFINITY);
            spots.push(Spot {
                x,
                y,
                flux,
                background: zero,
                variance_x: none,
                variance_y: none,
                covariance: zero,
                variance_flux: none,
                reduced_chi_square: zero,
                coverage: 1.0,
            });
        }
    }
    let mut image = render(SHAPE, &seeds, &spots);
    let mut random = rand_pcg::Pcg64Mcg::seed_from_u64(seed);
    let unit = Normal::new(0.0, 1.0).unwrap();
    image.iter_mut().for_each(|value| *value += (unit.sample(&mut random) * f64::from(*value + 16.0).sqrt()) as f32);
    // a few cosmic rays
    for _ in 0..20 {
        let at = (random.random_range(0..SHAPE.0), random.random_range(0..SHAPE.1));
        image[at] += 4000.0;
    }
    image
}

pub(super) fn options() -> SolveOptions {
    SolveOptions {
        ties: Ties::Independent,
        search: 8,
        slips: 0,
        sigma: 0.9,
        least_signal: 6.0,
        response: 0.0,
        clip: 5.0,
        least_wave: 4,
        max_wave: 5,
        max_order: 3,
        least_found: 0.35,
        least_cover: 0.6,
        largest_scatter: 0.25,
    }
}

pub(super) fn floor() -> Array2<f32> {
    Array2::from_elem(SHAPE, 16.0)
}

fn worst(map: &GeometryMap, slits: &[f64]) -> f64 {
    distance(&truth(), map, slits)
}

/// Largest distance of a map from the truth over both orders, pixels.
pub(super) fn distance(truth: &GeometryMap, map: &GeometryMap, slits: &[f64]) -> f64 {
    let mut worst = 0.0f64;
    for order in &truth.orders {
        for k in 0..=20 {
            let wavelength = order.limits[0] + (order.limits[1] - order.limits[0]) * f64::from(k) / 20.0;
            for slit in slits {
                let (a, b) = (order.at(wavelength, *slit), map.at(order.order, wavelength, *slit).unwrap());
                worst = worst.max((a.0 - b.0).hypot(a.1 - b.1));
            }
        }
    }
    worst
}

#[test]
fn a_moved_turned_and_bent_format_is_found_and_measured() {
    let (lines, holes) = (lines(), pinholes(0.0));
    let image = frame(&lines, &holes);
    let found = solve(image.view(), floor().view(), &lines, &holes, &published(), &published(), &options()).unwrap();
    let worst = worst(&found.fit.map, &[-6.0, 0.0, 6.0]);
    assert!(worst < 0.05, "{worst}");
    let used = found.lines.iter().filter(|line| line.fate == Fate::Used).count();
    assert!(used > 450, "{used}");
    // wavelength, slit position and order of pixels, with an honest error
    let planes = planes::planes(&found.fit.map, &found.fit.covariance, SHAPE, 6.2, 0.02);
    let (mut n, mut squares) = (0.0, 0.0);
    let truth = truth();
    for row in (20..620).step_by(10) {
        for column in 0..SHAPE.1 {
            let order = planes.order[(row, column)];
            if order > 0.0 {
                let map = truth.order(order as u8).unwrap();
                let start = (0.5 * (map.limits[0] + map.limits[1]), 0.0);
                let (wavelength, slit) = map.invert(column as f64, row as f64, start).unwrap();
                let pull =
                    (f64::from(planes.wavelength[(row, column)]) - wavelength) / f64::from(planes.error[(row, column)]);
                assert!((f64::from(planes.slit[(row, column)]) - slit).abs() < 0.02);
                squares += pull * pull;
                n += 1.0;
            }
        }
    }
    let width = f64::sqrt(squares / n);
    assert!(n > 3000.0 && (0.4..1.8).contains(&width), "{n} pixels, pulls of width {width}");
}

#[test]
fn a_lamp_that_is_off_is_refused() {
    let (lines, holes) = (lines(), pinholes(0.0));
    let image = frame(&[], &holes);
    let refused = solve(image.view(), floor().view(), &lines, &holes, &published(), &published(), &options());
    assert!(matches!(refused, Err(ArcError::Lines { order: 1, .. })), "{:?}", refused.map(|_| ()));
}

#[test]
fn a_mirrored_frame_of_almost_even_lines_is_refused() {
    let lines = lines();
    // both orders have their lines at the same rows: through one pinhole, columns mirrored show a frame that could be right
    for (holes, axis) in [(0..9, 0), (0..9, 1), (4..5, 0)] {
        let holes = &pinholes(0.0)[holes];
        let mut image = frame(&lines, holes);
        image.invert_axis(ndarray::Axis(axis));
        let found = solve(image.view(), floor().view(), &lines, holes, &published(), &published(), &options());
        assert!(found.is_err(), "mirrored along axis {axis}, {} pinholes", holes.len());
    }
}

#[test]
fn four_lines_in_ten_may_be_missing() {
    let (lines, holes) = (lines(), pinholes(0.0));
    let some: Vec<ArcLine> =
        lines.iter().enumerate().filter(|(k, _)| k % 5 > 1).map(|(_, line)| line.clone()).collect();
    let image = frame(&some, &holes);
    let found = solve(image.view(), floor().view(), &lines, &holes, &published(), &published(), &options()).unwrap();
    assert!(worst(&found.fit.map, &[-6.0, 0.0, 6.0]) < 0.08);
    assert!(found.lines.iter().any(|line| line.fate == Fate::Missed));
}

#[test]
fn a_slipped_mask_is_told_from_a_moved_format() {
    let lines = lines();
    let image = frame(&lines, &pinholes(1.375));
    let options = SolveOptions { search: 2, slips: 1, ..options() };
    // the single pinhole has told where the middle of the slit is
    let found = solve(image.view(), floor().view(), &lines, &pinholes(0.0), &truth(), &published(), &options).unwrap();
    assert_eq!((found.slip, found.pinholes[0].slit), (1, pinholes(1.375)[0].slit));
    assert!(worst(&found.fit.map, &[-4.0, 0.0, 6.0]) < 0.05);
}

#[test]
fn one_pinhole_alone_gives_the_middle_of_the_slit() {
    let lines = lines();
    let middle = [Pinhole { index: 4, slit: 0.0 }];
    let image = frame(&lines, &middle);
    let found = solve(image.view(), floor().view(), &lines, &middle, &published(), &published(), &options()).unwrap();
    assert!(worst(&found.fit.map, &[0.0]) < 0.1);
}
