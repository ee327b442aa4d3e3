//! From an arc frame through pinholes to a map that is proven, or refused with a reason.
//!
//! The pattern is found by a vote ([`super::register`]), lines are measured with a shape of their own order
//! ([`super::shape`]) together with every known neighbour, and a map is fitted to them ([`super::fit`]). Then the result
//! has to prove itself.

use std::collections::BTreeMap;

use ndarray::ArrayView2;

use super::fit::{self, FitError, MapFit, Ties};
use super::map::{GeometryMap, OrderMap};
pub use super::refusal::ArcError;
use super::register::{self, Expected, Vote};
use super::scene::{SIGNIFICANT, Scene, VISIBLE};
use super::shape::ShapeModel;
use crate::numerics::spots::Spot;

/// What a line may do for a solution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It constrains the map.
    Certain,
    /// It constrains the map when the frame itself confirms it: its identification is in doubt.
    Candidate,
    /// It is fitted only as a neighbour of others.
    Neighbour,
}

/// A line of the lamp, as the solution needs it.
#[derive(Clone, Debug, PartialEq)]
pub struct ArcLine {
    /// Order.
    pub order: u8,
    /// Wavelength, nm.
    pub wavelength: f64,
    /// What it may do.
    pub role: Role,
    /// Whether it counts in the search for the pattern: the lines of the published table.
    pub landmark: bool,
}

/// A pinhole of the mask.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pinhole {
    /// Number along the slit, 4 in the middle.
    pub index: u8,
    /// Slit position, arcsec.
    pub slit: f64,
}

/// How to solve.
#[derive(Clone, Debug, PartialEq)]
pub struct SolveOptions {
    /// How orders hang together.
    pub ties: Ties,
    /// Farthest that the pattern may have moved along x or y, pixels.
    pub search: usize,
    /// Farthest that the mask may have slipped along the slit, in pitches of the pinholes.
    pub slips: i32,
    /// Standard deviation of a pinhole's image to start with, pixels.
    pub sigma: f64,
    /// Least signal to noise of a line that is used.
    pub least_signal: f64,
    /// Scatter of the pixel response, a fraction.
    pub response: f64,
    /// Rejection of lines, sigmas.
    pub clip: f64,
    /// Lowest degree along the wavelength that is tried in an order that stands alone.
    pub least_wave: usize,
    /// Highest degree along the wavelength.
    pub max_wave: usize,
    /// Highest degree along the order number.
    pub max_order: usize,
    /// Least fraction of an order's landmarks that must be found.
    pub least_found: f64,
    /// Least fraction of an order's span of landmarks that the lines used must cover.
    pub least_cover: f64,
    /// Largest robust scatter of the lines about the map, pixels.
    pub largest_scatter: f64,
}

/// What became of an expected line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It constrains the map.
    Used,
    /// Measured, but too far from the map.
    Clipped,
    /// Measured, but so close to another line, listed or not, that its place is not its own.
    Blended,
    /// There, and brighter than the detector can tell: it says nothing of its place.
    Saturated,
    /// Too faint, on bad pixels, or not where it should be.
    Missed,
    /// Measured, but not where its wavelength belongs, or where nothing else tells where that is.
    Unconfirmed,
    /// Never meant to constrain the map.
    Neighbour,
}

/// An expected line at a pinhole, and what was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Index into the lines.
    pub line: usize,
    /// Index into the pinholes.
    pub pinhole: usize,
    /// Where the first guess, moved to the pattern, expected it.
    pub expected: [f64; 2],
    /// Where the map puts it.
    pub fitted: [f64; 2],
    /// The measurement.
    pub spot: Spot,
    /// Width of the image at this place, standard deviations along x and y in pixels.
    pub sigma: [f64; 2],
    /// What became of it.
    pub fate: Fate,
}

/// A solved arc.
#[derive(Clone, Debug, PartialEq)]
pub struct ArcSolution {
    /// Map, errors, degrees.
    pub fit: MapFit,
    /// Every expected line on the detector.
    pub lines: Vec<Measured>,
    /// What the vote found.
    pub votes: Vec<Vote>,
    /// Pitches by which the mask has slipped along the slit.
    pub slip: i32,
    /// The pinholes at the slit positions where they are, slip included.
    pub pinholes: Vec<Pinhole>,
    /// Shape of the images per order.
    pub shapes: BTreeMap<u8, ShapeModel>,
}

/// Fraction by which a slip must raise the vote: one pinhole of nine more or less is a ninth.
const SLIP_GAIN: f64 = 0.02;
/// Largest shift that is taken for a slip's remainder, pixels.
const SLIP_REST: f64 = 1.0;
/// Part of the distance of two pinholes within which an image is looked for.
const ROOM: f64 = 0.45;
/// Pinholes with less room than this touch, pixels.
const CROWDED: f64 = 1.8;
/// Errors of the shape that are allowed before pixels are left out, fractions of the brightest pixel: while the shape is
/// unknown, and after.
const LOOSE: f64 = 0.6;
/// See [`LOOSE`].
const FIRM: f64 = 0.06;
/// Rounds in which lines may be confirmed one after the other.
const CHAIN: usize = 10;
/// Landmarks closer than this to where the coarse map expects them make the first map, pixels.
const AGREES: f64 = 0.7;

/// Solve an arc frame. `image` holds electrons without bias and dark, infinite where it is saturated, `floor` the variance of
/// each pixel without its own shot noise, infinite where the pixel must not be used; both trimmed and unbinned. `guess` says
/// where to look; `published` is what the solution keeps where no line says otherwise: the guess itself, or what it once
/// came from.
pub fn solve(
    image: ArrayView2<f32>,
    floor: ArrayView2<f32>,
    lines: &[ArcLine],
    pinholes: &[Pinhole],
    guess: &GeometryMap,
    published: &GeometryMap,
    options: &SolveOptions,
) -> Result<ArcSolution, ArcError> {
    let significance = register::significance(image, floor);
    let landmarks = |slip: i32| -> Vec<Expected> {
        let holes = slipped(pinholes, slip);
        let expect = |line: &ArcLine, hole: &Pinhole| Expected {
            order: line.order,
            wavelength: line.wavelength,
            slit: hole.slit,
        };
        lines
            .iter()
            .filter(|line| line.landmark)
            .flat_map(|line| holes.iter().map(move |hole| expect(line, hole)))
            .collect()
    };
    let mut best: Option<(f64, i32, register::Registration)> = None;
    // no slip first: it must be beaten
    for slip in std::iter::once(0).chain((1..=options.slips).flat_map(|slip| [slip, -slip])) {
        let found = register::register(&significance, guess, &landmarks(slip), options.ties, options.search);
        let score = found.votes.iter().map(|vote| vote.score).sum::<f64>();
        if best.as_ref().is_none_or(|(other, _, _)| score > other * (1.0 + SLIP_GAIN)) {
            best = Some((score, slip, found));
        }
    }
    let Some((_, slip, registration)) = best else {
        return Err(FitError::Few { orders: Vec::new(), found: 0, needed: 1 }.into());
    };
    let moved = registration.votes.iter().flat_map(|vote| vote.shift).fold(0.0f64, |a, b| a.max(b.abs()));
    if slip != 0 && moved > SLIP_REST {
        return Err(ArcError::Displaced { slip, moved });
    }
    let landmarks = landmarks(slip);
    let pinholes = &slipped(pinholes, slip)[..];
    // nobody looks as far as the next pinhole
    let room = ROOM * spacing(&registration.map, pinholes);
    let rounds = [(3.0, 1), (2.5, 2), (1.8, 3)].map(|(search, degree)| (room.min(search), degree));
    let coarse = register::refine(&significance, &registration.map, &landmarks, options.ties, &rounds);
    drop(significance);

    let crowded = room < CROWDED;
    let scene = Scene { image, floor, lines, pinholes, options, crowded };
    // the landmarks alone (where many are saturated, fainter lines besides): shapes, first of all orders together, and a
    // first map
    let mut shapes: BTreeMap<u8, ShapeModel> =
        coarse.orders.iter().map(|map| (map.order, ShapeModel::round(options.sigma))).collect();
    let overexposed = scene.overexposed(&coarse);
    let sites = scene.sites(&coarse, &coarse, |line| line.landmark || (overexposed && line.role == Role::Certain));
    let mut seeds = scene.seeds(&sites, &coarse, &shapes);
    let mut measured = scene.measure(&seeds, room.min(2.0), 2, LOOSE);
    for (together, tolerance) in [(true, LOOSE), (false, LOOSE), (false, FIRM)] {
        shapes = scene.reshape(&shapes, together, tolerance, &coarse, &sites, &seeds, &measured);
        scene.follow(&mut seeds, &sites, &measured, &coarse, &shapes);
        measured = scene.measure(&seeds, 1.5, 1, tolerance);
    }
    let mut fates = scene.judge(&sites, &measured);
    scene.prove_found(&sites, &fates, &coarse)?;
    for (fate, (site, spot)) in fates.iter_mut().zip(sites.iter().zip(&measured)) {
        let [x, y] = site.expected;
        let sure = spot.signal_to_noise() > SIGNIFICANT;
        if *fate == Fate::Unconfirmed && sure && (spot.x - x).hypot(spot.y - y) < AGREES {
            *fate = Fate::Used;
        }
    }
    let points = scene.points(&sites, &measured, &fates);
    let first = fit::fit(&points, published, &scene.fit_options(false))?;

    // every line near its place: blends come apart; a line counts where a map that is known there confirms it
    let sites = scene.sites(&first.map, &coarse, |_| true);
    let mut seeds = scene.seeds(&sites, &first.map, &shapes);
    let mut measured = scene.measure(&seeds, 1.2, 2, FIRM);
    shapes = scene.reshape(&shapes, false, FIRM, &first.map, &sites, &seeds, &measured);
    let mut fates = scene.judge(&sites, &measured);
    scene.confirm(&sites, &measured, &mut fates, &first);
    let mut second = fit::fit(&scene.points(&sites, &measured, &fates), published, &scene.fit_options(false))?;
    // from line to line: each confirmed one tells where the next must be
    for _ in 0..CHAIN {
        scene.follow(&mut seeds, &sites, &measured, &second.map, &shapes);
        scene.aim(&mut seeds, &sites, &fates, &second.map);
        measured = scene.measure(&seeds, 1.2, 1, FIRM);
        let before = fates.iter().filter(|fate| **fate == Fate::Used).count();
        fates = scene.judge(&sites, &measured);
        scene.confirm(&sites, &measured, &mut fates, &second);
        second = fit::fit(&scene.points(&sites, &measured, &fates), published, &scene.fit_options(false))?;
        if fates.iter().filter(|fate| **fate == Fate::Used).count() <= before {
            break;
        }
    }

    // the final measurement, without lines that are not there
    let old = measured;
    seeds = scene.seeds(&sites, &second.map, &shapes);
    for (seed, spot) in seeds.iter_mut().zip(&old) {
        seed.free &= spot.signal_to_noise() > VISIBLE;
    }
    scene.follow(&mut seeds, &sites, &old, &second.map, &shapes);
    measured = scene.measure(&seeds, 1.2, 2, FIRM);
    let mut fates = scene.judge(&sites, &measured);
    scene.confirm(&sites, &measured, &mut fates, &second);
    let fit = fit::fit(&scene.points(&sites, &measured, &fates), published, &scene.fit_options(true))?;
    let used = (0..sites.len()).filter(|k| fates[*k] == Fate::Used).collect::<Vec<_>>();
    for (k, used) in used.into_iter().zip(&fit.used) {
        if !used {
            fates[k] = Fate::Clipped;
        }
    }
    let measured: Vec<Measured> = sites
        .iter()
        .zip(seeds)
        .zip(measured.into_iter().zip(fates))
        .map(|((site, seed), (spot, fate))| {
            let (order, wavelength) = (lines[site.line].order, lines[site.line].wavelength);
            let at = fit.map.at(order, wavelength, pinholes[site.pinhole].slit).unwrap_or((f64::NAN, f64::NAN));
            Measured {
                line: site.line,
                pinhole: site.pinhole,
                expected: site.expected,
                fitted: [at.0, at.1],
                spot,
                sigma: [seed.shape.sigma_x, seed.shape.sigma_y],
                fate,
            }
        })
        .collect();
    let pinholes = pinholes.to_vec();
    let solution = ArcSolution { fit, lines: measured, votes: registration.votes, slip, pinholes, shapes };
    super::proof::prove(&solution, &scene, guess)?;
    Ok(solution)
}

/// The pinholes of a mask that has slipped along the slit by a number of pitches.
fn slipped(pinholes: &[Pinhole], slip: i32) -> Vec<Pinhole> {
    let pitch = match pinholes {
        [first, second, ..] => second.slit - first.slit,
        _ => 0.0,
    };
    pinholes.iter().map(|hole| Pinhole { slit: hole.slit + f64::from(slip) * pitch, ..*hole }).collect()
}

/// Least distance of two neighbouring pinholes' images, pixels; infinite for a single pinhole.
fn spacing(map: &GeometryMap, pinholes: &[Pinhole]) -> f64 {
    let [first, second, ..] = pinholes else { return f64::INFINITY };
    let distance = |map: &OrderMap| {
        let middle = 0.5 * (map.limits[0] + map.limits[1]);
        let (a, b) = (map.at(middle, first.slit), map.at(middle, second.slit));
        (a.0 - b.0).hypot(a.1 - b.1)
    };
    map.orders.iter().map(distance).fold(f64::INFINITY, f64::min)
}
