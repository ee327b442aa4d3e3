//! The proof of a match: every order has its lines, they cover it and lie on the map, orders agree where they overlap, the
//! map is one to one, and the mask ends where it should.

use std::collections::BTreeMap;

use super::fit;
use super::map::{GeometryMap, OrderMap};
use super::scene::{SIGNIFICANT, Scene, argument, least};
use super::shape::ShapeModel;
use super::solve::{ArcError, ArcLine, ArcSolution, Fate, Measured, Pinhole, Role, SolveOptions};
use crate::numerics::robust::{MAD_TO_SIGMA, median_f64};
use crate::numerics::spots::{self, Seed, SpotOptions};

/// Least number of common lines from which two orders are compared.
const COMMON: usize = 3;

/// Fraction of the bright lines that may lie off the map (blends with lines that nobody lists), besides two.
const AGAINST: f64 = 0.12;

/// Least number of bright lines from which the end of the mask is judged.
const WITNESSES: usize = 6;

/// Part of a line's light through the last pinhole that makes a spot beyond it another pinhole.
const ALIKE: f64 = 0.5;

/// Part of a spot's image that must fall on usable pixels.
const USABLE: f64 = 0.7;

/// Errors of the shape that are allowed where light is only weighed, fractions of the brightest pixel.
const ROUGH: f64 = 0.6;

/// Largest standard error of the map anywhere in an order, pixels: beyond, the lines left do not say where light falls.
const UNSURE: f64 = 0.5;

/// Check a solution, or say why it must not be used.
pub(super) fn prove(solution: &ArcSolution, scene: &Scene, guess: &GeometryMap) -> Result<(), ArcError> {
    let (lines, options) = (scene.lines, scene.options);
    let pinholes = &solution.pinholes;
    for map in &solution.fit.map.orders {
        let order = map.order;
        let of_order = || solution.lines.iter().filter(|found| lines[found.line].order == order);
        let landmarks = || of_order().filter(|found| lines[found.line].landmark);
        // where landmarks are saturated, fainter lines must do their work
        let saturated = landmarks().any(|found| found.fate == Fate::Saturated);
        let works = |found: &&Measured| found.fate == Fate::Used && (saturated || lines[found.line].landmark);
        let (expected, used) = (landmarks().count(), of_order().filter(works).count());
        let found = landmarks().filter(|found| !matches!(found.fate, Fate::Missed | Fate::Clipped)).count();
        let needed = least(expected, options);
        if found < needed || used < needed / 2 {
            return Err(ArcError::Lines { order, found, expected, needed, search: options.search });
        }
        let span = |wavelengths: &mut dyn Iterator<Item = f64>| {
            let (a, b) = wavelengths.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), w| (a.min(w), b.max(w)));
            (b - a).max(0.0)
        };
        let all = span(&mut landmarks().map(|found| lines[found.line].wavelength));
        let seen = span(&mut of_order().filter(|f| f.fate == Fate::Used).map(|found| lines[found.line].wavelength));
        let cover = if all > 0.0 { seen / all } else { 0.0 };
        if cover < options.least_cover {
            return Err(ArcError::Cover { order, cover, needed: options.least_cover });
        }
        let certain = |fates: &[Fate]| {
            of_order()
                .filter(|f| lines[f.line].role == Role::Certain && fates.contains(&f.fate) && significant(f))
                .count()
        };
        let (against, for_it) = (certain(&[Fate::Unconfirmed, Fate::Clipped]), certain(&[Fate::Used]));
        if against as f64 > AGAINST * for_it as f64 + 2.0 * pinholes.len() as f64 {
            return Err(ArcError::Contradicted { order, against, used: for_it });
        }
        let mut distances: Vec<f64> = of_order()
            .filter(|f| matches!(f.fate, Fate::Used | Fate::Clipped) && significant(f))
            .map(distance)
            .collect();
        let scatter = MAD_TO_SIGMA * median_f64(&mut distances).unwrap_or(0.0);
        if scatter > options.largest_scatter {
            return Err(ArcError::Scatter { order, scatter, most: options.largest_scatter });
        }
        // one to one: the sign of the determinant is that of the published format everywhere
        if let Some(first) = guess.order(order) {
            let middle = 0.5 * (map.limits[0] + map.limits[1]);
            let sign = first.place(middle, 0.0).determinant().signum();
            for i in 0..=48 {
                let wavelength = map.limits[0] + (map.limits[1] - map.limits[0]) * f64::from(i) / 48.0;
                for slit in [pinholes.first(), pinholes.last()].into_iter().flatten().map(|hole| hole.slit) {
                    // a single pinhole says nothing about the slit: the published direction serves
                    let place =
                        if pinholes.len() > 1 { map.place(wavelength, slit) } else { along(map, first, wavelength) };
                    if place.determinant() * sign <= 0.0 {
                        return Err(ArcError::Folded { order, wavelength, slit });
                    }
                }
            }
        }
    }
    known(solution)?;
    overlaps(solution, lines, options)?;
    ends(solution, scene)
}

fn along(map: &OrderMap, first: &OrderMap, wavelength: f64) -> super::map::Place {
    let slit = first.place(wavelength, 0.0);
    super::map::Place { x_slit: slit.x_slit, y_slit: slit.y_slit, ..map.place(wavelength, 0.0) }
}

fn distance(found: &Measured) -> f64 {
    (found.spot.x - found.fitted[0]).hypot(found.spot.y - found.fitted[1])
}

fn significant(found: &Measured) -> bool {
    found.spot.signal_to_noise() > SIGNIFICANT
}

/// A line that two orders show must lie on the map in both.
fn overlaps(solution: &ArcSolution, lines: &[ArcLine], options: &SolveOptions) -> Result<(), ArcError> {
    // of each order: how far every line through every pinhole lies off the map
    type Distances = BTreeMap<(u8, u64), f64>;
    let of = |order: u8| -> Distances {
        let of_order = solution
            .lines
            .iter()
            .filter(|found| lines[found.line].order == order && found.fate == Fate::Used && significant(found));
        let pinhole = |found: &Measured| solution.pinholes[found.pinhole].index;
        of_order.map(|f| ((pinhole(f), lines[f.line].wavelength.to_bits()), distance(f))).collect()
    };
    let orders: Vec<(u8, Distances)> = solution.fit.map.orders.iter().map(|map| (map.order, of(map.order))).collect();
    for (i, (first, left)) in orders.iter().enumerate() {
        for (second, right) in &orders[i + 1..] {
            let mut offsets: Vec<f64> =
                left.iter().filter_map(|(line, a)| right.get(line).map(|b| a.max(*b))).collect();
            let count = offsets.len();
            if count >= COMMON {
                let offset = median_f64(&mut offsets).unwrap_or(0.0);
                if offset > options.largest_scatter {
                    return Err(ArcError::Overlap { first: *first, second: *second, offset, lines: count });
                }
            }
        }
    }
    Ok(())
}

/// The map is known to half a pixel in the whole of every order: lines that are missing at an end leave it to a polynomial.
fn known(solution: &ArcSolution) -> Result<(), ArcError> {
    let fit = &solution.fit;
    for (map, covariance) in fit.map.orders.iter().zip(&fit.covariance) {
        let [first, last] = map.limits;
        let mut worst = (0.0f64, first);
        for i in 0..=48 {
            let wavelength = first + (last - first) * f64::from(i) / 48.0;
            for hole in [solution.pinholes.first(), solution.pinholes.last()].into_iter().flatten() {
                let [x, y] = fit::variances(map, covariance, wavelength, hole.slit);
                let error = (x + y).sqrt();
                if error > worst.0 {
                    worst = (error, wavelength);
                }
            }
        }
        let (error, wavelength) = worst;
        if error > UNSURE {
            return Err(ArcError::Unsure { order: map.order, wavelength, error, most: UNSURE });
        }
    }
    Ok(())
}

/// A match that is off by whole pitches of the pinholes puts lines on most of them, and nothing tells it from a right one
/// with dead pinholes but this: the mask goes on where the map says that it ends.
fn ends(solution: &ArcSolution, scene: &Scene) -> Result<(), ArcError> {
    let count = solution.pinholes.len();
    let pair = |end: usize, inner: usize| Some((end, solution.pinholes.get(end)?, solution.pinholes.get(inner)?));
    let sides = [pair(0, 1), count.checked_sub(2).and_then(|inner| pair(inner + 1, inner))];
    for (end, last, inner) in sides.into_iter().flatten() {
        let beyond = 2.0 * last.slit - inner.slit;
        for map in &solution.fit.map.orders {
            let (lit, bright) = beyond_the_mask(solution, scene, map, (end, last), beyond);
            if bright >= WITNESSES && 2 * lit > bright {
                let search = scene.options.search;
                return Err(ArcError::Beyond { order: map.order, pinhole: last.index, lit, bright, search });
            }
        }
    }
    Ok(())
}

/// How many bright lines of an order through the last pinhole have an image like it at the slit position `beyond`, and
/// how many could have one.
fn beyond_the_mask(
    solution: &ArcSolution,
    scene: &Scene,
    map: &OrderMap,
    (end, last): (usize, &Pinhole),
    beyond: f64,
) -> (usize, usize) {
    let shape = solution.shapes.get(&map.order).copied().unwrap_or(ShapeModel::round(scene.options.sigma));
    let bright = solution.lines.iter().filter(|found| {
        let ours = found.pinhole == end && scene.lines[found.line].order == map.order;
        ours && found.fate == Fate::Used && significant(found)
    });
    let seeds: Vec<Seed> = bright
        .enumerate()
        .flat_map(|(group, found)| {
            let line = &scene.lines[found.line];
            let shape = shape.at(argument(&solution.fit.map, line));
            [last.slit, beyond].map(|slit| {
                let (x, y) = map.at(line.wavelength, slit);
                Seed { x, y, shape, free: false, group, known: None }
            })
        })
        .collect();
    let options = SpotOptions { response: scene.options.response, tolerance: ROUGH, ..SpotOptions::default() };
    let (mut lit, mut usable) = (0, 0);
    for pair in spots::fit(scene.image, scene.floor, &seeds, &options).chunks_exact(2) {
        if pair.iter().all(|spot| spot.coverage > USABLE) {
            usable += 1;
            let alike = pair[1].flux > ALIKE * pair[0].flux;
            lit += usize::from(alike && pair[1].signal_to_noise() > scene.options.least_signal);
        }
    }
    (lit, usable)
}
