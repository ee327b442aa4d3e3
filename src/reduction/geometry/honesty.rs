//! Stated errors against true ones, over many seeded nights: (measured - truth) / sigma has unit width, ends included. And
//! what hides in neighbours and in bins.

use ndarray::Array2;
use rand::SeedableRng;
use rand_distr::{Distribution, Normal};
use rand_pcg::Pcg64Mcg;

use super::fit::{FitOptions, Point, Ties, fit, variances};
use super::map::{GeometryMap, OrderMap};
use super::solve::{ArcLine, Pinhole, Role, SolveOptions, solve};
use crate::numerics::profile::Shape;
use crate::numerics::spots::{Seed, Spot, render};

fn order() -> OrderMap {
    OrderMap {
        order: 1,
        domain: [500.0, 600.0],
        limits: [500.0, 600.0],
        size: (3, 2),
        x: vec![38.0, 21.7, 3.0, 0.2, -0.6, 0.0],
        y: vec![318.0, 2.5, 300.0, 0.3, 6.0, 0.0],
    }
}

/// What flexure makes of it.
fn truth() -> OrderMap {
    order().moved([1.2, 0.002, -0.001], [-0.9, 0.001, 0.001])
}

fn slits() -> impl Iterator<Item = f64> {
    (0..9u8).map(|k| (f64::from(k) - 4.0) * 1.375)
}

/// Places with their own errors, bright and faint, and one along y that a line's places share, as an unknown blend makes it.
fn places(seed: u64, shared: f64) -> Vec<Point> {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let unit = Normal::new(0.0, 1.0).unwrap();
    let mut points = Vec::new();
    for k in 0..40u32 {
        let wavelength = 501.0 + 2.5 * f64::from(k) + 0.3 * f64::from(k * 7 % 5);
        let sigma = if k % 2 == 0 { 0.01 } else { 0.06 };
        let together = shared * unit.sample(&mut random);
        for slit in slits() {
            let (x, y) = truth().at(wavelength, slit);
            let place = [x + sigma * unit.sample(&mut random), y + together + sigma * unit.sample(&mut random)];
            points.push(Point { order: 1, wavelength, slit, place, variance: [sigma * sigma; 2] });
        }
    }
    points
}

#[test]
fn the_error_of_a_map_knows_what_the_places_of_a_line_share() {
    let options = fit_options();
    for shared in [0.0, 0.012] {
        let (mut squares, mut count, mut found) = (0.0, 0.0, 0.0);
        let nights = 24;
        for seed in 0..nights {
            let fitted = fit(&places(seed, shared), &GeometryMap { orders: vec![order()] }, &options).unwrap();
            found += fitted.axes[0][1].line_scatter / nights as f64;
            for i in 0..=26 {
                let wavelength = 498.0 + 4.0 * f64::from(i);
                for slit in [-6.0, 0.0, 6.0] {
                    let (map, errors) = (&fitted.map.orders[0], &fitted.covariance[0]);
                    let off = map.at(wavelength, slit).1 - truth().at(wavelength, slit).1;
                    squares += off * off / variances(map, errors, wavelength, slit)[1];
                    count += 1.0;
                }
            }
        }
        let width = f64::sqrt(squares / count);
        assert!((0.85..1.2).contains(&width), "shared {shared}: pulls of width {width}");
        assert!((found - shared).abs() < 0.004, "shared {shared}, found {found}");
    }
}

/// Width of (measured - truth) / sigma of y over these wavelengths and many nights.
fn pull_width(nights: u64, places: impl Fn(u64) -> Vec<Point>, wavelengths: &[f64], truth: &OrderMap) -> f64 {
    let options = fit_options();
    let (mut squares, mut count) = (0.0, 0.0);
    for night in 0..nights {
        let fitted = fit(&places(night), &GeometryMap { orders: vec![order()] }, &options).unwrap();
        let (map, errors) = (&fitted.map.orders[0], &fitted.covariance[0]);
        for wavelength in wavelengths {
            let off = map.at(*wavelength, 0.0).1 - truth.at(*wavelength, 0.0).1;
            squares += off * off / variances(map, errors, *wavelength, 0.0)[1];
            count += 1.0;
        }
    }
    f64::sqrt(squares / count)
}

fn fit_options() -> FitOptions {
    FitOptions {
        ties: Ties::Independent,
        slit: true,
        clip: 5.0,
        least_wave: 4,
        max_wave: 7,
        max_order: 3,
        choose: true,
    }
}

#[test]
fn the_error_of_a_map_knows_that_some_lines_are_drawn_more_than_others() {
    // one line of five has company that draws its images together
    let drawn = |night: u64| {
        let mut random = Pcg64Mcg::seed_from_u64(1000 + night);
        let unit = Normal::new(0.0, 1.0).unwrap();
        let mut points = places(night, 0.004);
        for line in points.chunks_mut(9).step_by(5) {
            let together = 0.03 * unit.sample(&mut random);
            line.iter_mut().for_each(|point| point.place[1] += together);
        }
        points
    };
    let inside: Vec<f64> = (0..=24).map(|i| 502.0 + 4.0 * f64::from(i)).collect();
    let width = pull_width(24, drawn, &inside, &truth());
    assert!((0.8..1.2).contains(&width), "pulls of width {width}");
}

fn solve_options() -> SolveOptions {
    SolveOptions { search: 3, ..super::tests::options() }
}

/// Lines with a companion each on their red side, too faint for any single pinhole to show it.
fn crowded_frame(lines: &[ArcLine], holes: &[Pinhole], seed: u64) -> Array2<f32> {
    let (mut seeds, mut spots) = (Vec::new(), Vec::new());
    for line in lines {
        for slit in holes.iter().map(|hole| hole.slit) {
            let (x, y) = truth().at(line.wavelength, slit);
            let flux = if line.role == Role::Neighbour { 60.0 } else { 6000.0 };
            seeds.push(Seed { x, y, shape: Shape::gaussian(0.75, 0.85), free: true, group: 0, known: None });
            spots.push(Spot {
                x,
                y,
                flux,
                background: 0.0,
                variance_x: 0.0,
                variance_y: 0.0,
                covariance: 0.0,
                variance_flux: 0.0,
                reduced_chi_square: 1.0,
                coverage: 1.0,
            });
        }
    }
    let mut image = render((640, 80), &seeds, &spots);
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let unit = Normal::new(0.0, 1.0).unwrap();
    image.iter_mut().for_each(|value| *value += (unit.sample(&mut random) * f64::from(*value + 36.0).sqrt()) as f32);
    image
}

#[test]
fn a_companion_that_nobody_sees_hardly_moves_a_line() {
    let mut lines = Vec::new();
    for k in 0..28u32 {
        let wavelength = 502.0 + 3.4 * f64::from(k) + 0.5 * f64::from(k * 7 % 5);
        lines.push(ArcLine { order: 1, wavelength, role: Role::Certain, landmark: true });
        // 2.1 pixels away
        lines.push(ArcLine { order: 1, wavelength: wavelength + 0.35, role: Role::Neighbour, landmark: false });
    }
    let holes: Vec<Pinhole> = (0u8..).zip(slits()).map(|(index, slit)| Pinhole { index, slit }).collect();
    let options = solve_options();
    let guess = GeometryMap { orders: vec![order()] };
    let floor = Array2::from_elem((640, 80), 36.0);
    let image = crowded_frame(&lines, &holes, 3);
    let offset = |lines: &[ArcLine]| {
        let found = solve(image.view(), floor.view(), lines, &holes, &guess, &guess, &options).unwrap();
        let off = |k: u32| {
            let wavelength = 504.0 + 4.0 * f64::from(k);
            found.fit.map.orders[0].at(wavelength, 0.0).1 - truth().at(wavelength, 0.0).1
        };
        (0..24).map(off).sum::<f64>() / 24.0
    };
    let with = offset(&lines);
    lines.retain(|line| line.role == Role::Certain);
    let without = offset(&lines);
    assert!(with.abs() < 0.5 * without && without > 0.008, "{with} with the companions, {without} without");
}

#[test]
fn a_binned_single_pinhole_gives_the_map_of_an_unbinned_one() {
    let spaced = |k: u32| 502.0 + 3.4 * f64::from(k) + 0.5 * f64::from(k * 7 % 5);
    let line = |k: u32| ArcLine { order: 1, wavelength: spaced(k), role: Role::Certain, landmark: true };
    let lines: Vec<ArcLine> = (0..28).map(line).collect();
    let holes = [Pinhole { index: 4, slit: 0.0 }];
    let full = crowded_frame(&lines, &holes, 4);
    for (bx, by) in [(2, 1), (2, 2)] {
        let mut image = Array2::<f32>::zeros((640 / by, 80 / bx));
        full.indexed_iter().for_each(|((r, c), value)| image[(r / by, c / bx)] += value);
        let floor = Array2::from_elem(image.dim(), 36.0 * (bx * by) as f32);
        let (x, y) = (1.0 / bx as f64, 1.0 / by as f64);
        let binned = |map: OrderMap| map.moved([0.5 * (x - 1.0), x - 1.0, 0.0], [0.5 * (y - 1.0), 0.0, y - 1.0]);
        let guess = GeometryMap { orders: vec![binned(order())] };
        let options = SolveOptions { sigma: 0.9 * (x * y).sqrt(), ..solve_options() };
        let found = solve(image.view(), floor.view(), &lines, &holes, &guess, &guess, &options).unwrap();
        for k in 0..24 {
            let wavelength = 504.0 + 4.0 * f64::from(k);
            let (a, b) = (found.fit.map.orders[0].at(wavelength, 0.0), binned(truth()).at(wavelength, 0.0));
            let off = ((a.0 - b.0) / x).hypot((a.1 - b.1) / y);
            assert!(off < 0.06, "binned {bx} x {by}, {wavelength} nm: {off} unbinned pixels off");
        }
    }
}
