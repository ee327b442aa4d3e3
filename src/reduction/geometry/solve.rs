//! From an arc frame through pinholes to a map that is proven, or refused with a reason.
//!
//! The pattern is found by a vote ([`super::register`]), lines are measured with a shape of their own order
//! ([`super::shape`]) together with every known neighbour, and a map is fitted to them ([`super::fit`]). Then the result
//! has to prove itself.

use std::collections::BTreeMap;

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use super::fit::{self, FitError, FitOptions, MapFit, Point, Ties};
use super::map::GeometryMap;
use super::register::{self, Expected, Vote};
use super::shape::{self, ShapeModel, Witness};
use crate::numerics::spots::{self, Seed, Spot, SpotOptions};

/// A line of the lamp, as the solution needs it.
#[derive(Clone, Debug, PartialEq)]
pub struct ArcLine {
    /// Order.
    pub order: u8,
    /// Wavelength, nm.
    pub wavelength: f64,
    /// Whether it may constrain the solution. Others are fitted as neighbours.
    pub constrains: bool,
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
    /// Standard deviation of a pinhole's image to start with, pixels.
    pub sigma: f64,
    /// Least signal to noise of a line that is used.
    pub least_signal: f64,
    /// Scatter of the pixel response, a fraction.
    pub response: f64,
    /// Rejection of lines, sigmas.
    pub clip: f64,
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
    /// Measured, but so close to another line that its place is not its own.
    Blended,
    /// Too faint, on bad pixels, or not where it should be.
    Missed,
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
    /// Shape of the images per order.
    pub shapes: BTreeMap<u8, ShapeModel>,
}

/// Why an arc was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ArcError {
    /// The lines do not determine a map.
    #[error(transparent)]
    Fit(#[from] FitError),
    /// The pattern was not found.
    #[error(
        "order {order}: {found} of {expected} lines found, at least {needed} are needed; is the lamp on, is the right mask \
         in, is the format within {search} pixels of where it is published?"
    )]
    Lines {
        /// Order.
        order: u8,
        /// Landmarks found.
        found: usize,
        /// Landmarks on the detector.
        expected: usize,
        /// Least number.
        needed: usize,
        /// Reach of the search.
        search: usize,
    },
    /// The lines found cover too little of an order.
    #[error("order {order}: the lines found cover {:.0} per cent of the order, at least {:.0} are needed", .cover * 100.0, .needed * 100.0)]
    Cover {
        /// Order.
        order: u8,
        /// Fraction covered.
        cover: f64,
        /// Least fraction.
        needed: f64,
    },
    /// The lines scatter about the map.
    #[error(
        "order {order}: the lines scatter by {scatter:.3} pixels about the map, at most {most:.3} are allowed; the match is wrong or the image is bad"
    )]
    Scatter {
        /// Order.
        order: u8,
        /// Robust scatter.
        scatter: f64,
        /// Largest allowed.
        most: f64,
    },
    /// One line that two orders show has two wavelengths.
    #[error("orders {first} and {second} disagree by {offset:.3} pixels about the {lines} lines that both show")]
    Overlap {
        /// An order.
        first: u8,
        /// The other.
        second: u8,
        /// Median disagreement, pixels.
        offset: f64,
        /// Lines in common.
        lines: usize,
    },
    /// The map is not one to one.
    #[error("order {order}: the map folds over at {wavelength:.2} nm, slit position {slit:.1} arcsec")]
    Folded {
        /// Order.
        order: u8,
        /// Where.
        wavelength: f64,
        /// Where.
        slit: f64,
    },
}

/// Lines closer than this to another line of the same pinhole are blended, pixels, unless the other is faint.
const BLEND: f64 = 1.7;
/// Fraction of a line's flux that a blended neighbour may have.
const FAINT: f64 = 0.03;
/// Pixels beyond the detector at which a line is still looked for.
const MARGIN: f64 = -1.0;

/// Solve an arc frame. `image` holds electrons without bias and dark, `floor` the variance of each pixel without its own
/// shot noise (infinite where the pixel must not be used), both trimmed and unbinned.
pub fn solve(
    image: ArrayView2<f32>,
    floor: ArrayView2<f32>,
    lines: &[ArcLine],
    pinholes: &[Pinhole],
    guess: &GeometryMap,
    options: &SolveOptions,
) -> Result<ArcSolution, ArcError> {
    let significance = register::significance(image, floor);
    let landmarks: Vec<Expected> = lines
        .iter()
        .filter(|line| line.landmark)
        .flat_map(|line| {
            pinholes.iter().map(|hole| Expected { order: line.order, wavelength: line.wavelength, slit: hole.slit })
        })
        .collect();
    let registration = register::register(&significance, guess, &landmarks, options.ties, options.search);
    let rounds = [(3.0, 1), (2.5, 2), (1.8, 3)];
    let coarse = register::refine(&significance, &registration.map, &landmarks, options.ties, &rounds);
    drop(significance);

    // first measurement: a round Gaussian, then the shape of all orders, then that of each
    let mut shapes: BTreeMap<u8, ShapeModel> =
        coarse.orders.iter().map(|map| (map.order, ShapeModel::round(options.sigma))).collect();
    let mut map = coarse.clone();
    let fit_options = FitOptions {
        ties: options.ties,
        slit: pinholes.len() > 1,
        clip: options.clip,
        max_wave: options.max_wave,
        max_order: options.max_order,
    };
    let mut outcome = None;
    for round in 0..3 {
        let sites = sites(lines, pinholes, &map, &coarse, image.dim());
        let mut seeds: Vec<Seed> = sites.iter().map(|site| site.seed(lines, pinholes, &map, &shapes)).collect();
        let spot_options = SpotOptions {
            response: options.response,
            reach: if round == 0 { 2.0 } else { 1.2 },
            ..SpotOptions::default()
        };
        let mut measured = spots::fit(image, floor, &seeds, &SpotOptions { sweeps: 2, ..spot_options });
        for step in 0..if round < 2 { 2 } else { 1 } {
            shapes = reshape(
                &shapes,
                round == 0 && step == 0,
                image,
                floor,
                lines,
                &map,
                &sites,
                &seeds,
                &measured,
                options,
            );
            for (seed, (site, spot)) in seeds.iter_mut().zip(sites.iter().zip(&measured)) {
                seed.shape = site.shape(lines, &map, &shapes);
                if seed.free && spot.signal_to_noise() > options.least_signal {
                    (seed.x, seed.y) = (spot.x, spot.y);
                }
            }
            let sweeps = if step == 0 && round < 2 { 1 } else { 2 };
            measured = spots::fit(image, floor, &seeds, &SpotOptions { sweeps, ..spot_options });
        }
        let fates = judge(lines, &sites, &measured, options);
        let points: Vec<(usize, Point)> = sites
            .iter()
            .enumerate()
            .filter(|(k, _)| fates[*k] == Fate::Used)
            .map(|(k, site)| (k, site.point(lines, pinholes, &measured[k])))
            .collect();
        let only: Vec<Point> = points.iter().map(|(_, point)| *point).collect();
        prove_found(lines, &sites, &fates, &map, options)?;
        let fitted = fit::fit(&only, &coarse, &fit_options)?;
        map = fitted.map.clone();
        outcome = Some((sites, seeds, measured, fates, points, fitted));
    }
    let Some((sites, seeds, measured, mut fates, points, fit)) = outcome else {
        return Err(FitError::Few { orders: Vec::new(), found: 0, needed: 1 }.into());
    };
    for ((k, _), used) in points.iter().zip(&fit.used) {
        if !used {
            fates[*k] = Fate::Clipped;
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
    let solution = ArcSolution { fit, lines: measured, votes: registration.votes, shapes };
    super::proof::prove(&solution, lines, pinholes, guess, options)?;
    Ok(solution)
}

/// A line at a pinhole that lies on the detector.
#[derive(Clone, Copy, Debug)]
struct Site {
    line: usize,
    pinhole: usize,
    expected: [f64; 2],
}

fn sites(
    lines: &[ArcLine],
    pinholes: &[Pinhole],
    map: &GeometryMap,
    first: &GeometryMap,
    (rows, columns): (usize, usize),
) -> Vec<Site> {
    let mut sites = Vec::new();
    for (l, line) in lines.iter().enumerate() {
        for (p, hole) in pinholes.iter().enumerate() {
            let Some((x, y)) = map.at(line.order, line.wavelength, hole.slit) else { continue };
            let inside = |v: f64, n: usize| v >= -MARGIN && v <= n as f64 - 1.0 + MARGIN;
            if inside(x, columns) && inside(y, rows) {
                let (ex, ey) = first.at(line.order, line.wavelength, hole.slit).unwrap_or((x, y));
                sites.push(Site { line: l, pinhole: p, expected: [ex, ey] });
            }
        }
    }
    sites
}

impl Site {
    fn seed(
        &self,
        lines: &[ArcLine],
        pinholes: &[Pinhole],
        map: &GeometryMap,
        shapes: &BTreeMap<u8, ShapeModel>,
    ) -> Seed {
        let line = &lines[self.line];
        let (x, y) = map.at(line.order, line.wavelength, pinholes[self.pinhole].slit).unwrap_or((0.0, 0.0));
        let group = usize::from(line.order) * pinholes.len() + self.pinhole;
        Seed { x, y, shape: self.shape(lines, map, shapes), free: line.constrains, group }
    }

    fn shape(
        &self,
        lines: &[ArcLine],
        map: &GeometryMap,
        shapes: &BTreeMap<u8, ShapeModel>,
    ) -> crate::numerics::profile::Shape {
        let line = &lines[self.line];
        let shape = shapes.get(&line.order).copied().unwrap_or(ShapeModel::round(1.0));
        shape.at(argument(map, line))
    }

    fn point(&self, lines: &[ArcLine], pinholes: &[Pinhole], spot: &Spot) -> Point {
        let line = &lines[self.line];
        Point {
            order: line.order,
            wavelength: line.wavelength,
            slit: pinholes[self.pinhole].slit,
            place: [spot.x, spot.y],
            variance: [spot.variance_x, spot.variance_y],
        }
    }
}

/// Argument -1..1 of a line along its order's limits.
fn argument(map: &GeometryMap, line: &ArcLine) -> f64 {
    map.order(line.order).map_or(0.0, |order| {
        let [a, b] = order.limits;
        (2.0 * line.wavelength - a - b) / (b - a)
    })
}

/// Improve the shapes from bright lines that stand alone.
#[allow(clippy::too_many_arguments)]
fn reshape(
    shapes: &BTreeMap<u8, ShapeModel>,
    together: bool,
    image: ArrayView2<f32>,
    floor: ArrayView2<f32>,
    lines: &[ArcLine],
    map: &GeometryMap,
    sites: &[Site],
    seeds: &[Seed],
    measured: &[Spot],
    options: &SolveOptions,
) -> BTreeMap<u8, ShapeModel> {
    let model: Array2<f32> = spots::render(image.dim(), seeds, measured);
    let crowded = neighbours(seeds, measured, 3.5);
    let witnesses = |order: Option<u8>| -> Vec<Witness> {
        (0..sites.len())
            .filter(|k| {
                let (line, spot) = (&lines[sites[*k].line], &measured[*k]);
                order.is_none_or(|order| order == line.order)
                    && line.constrains
                    && spot.signal_to_noise() > 25.0
                    && spot.coverage > 0.9
                    && crowded[*k] < 0.05
                    && spot.variance_x.is_finite()
            })
            .map(|k| Witness { index: k, t: argument(map, &lines[sites[k].line]).clamp(-1.0, 1.0) })
            .collect()
    };
    let improve = |shape: &ShapeModel, witnesses: &[Witness]| {
        shape::improve(shape, image, floor, &model, seeds, measured, witnesses, options.response)
    };
    if together {
        let Some(first) = shapes.values().next() else { return shapes.clone() };
        let better = improve(first, &witnesses(None));
        return shapes.keys().map(|order| (*order, better)).collect();
    }
    shapes.par_iter().map(|(order, shape)| (*order, improve(shape, &witnesses(Some(*order))))).collect()
}

/// For each image: the largest flux of a neighbour of its group within a distance, over its own flux.
fn neighbours(seeds: &[Seed], measured: &[Spot], distance: f64) -> Vec<f64> {
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    seeds.iter().enumerate().for_each(|(k, seed)| groups.entry(seed.group).or_default().push(k));
    let mut worst = vec![0.0f64; seeds.len()];
    for members in groups.values() {
        for k in members {
            for other in members.iter().filter(|other| *other != k) {
                let (a, b) = (&measured[*k], &measured[*other]);
                if (a.x - b.x).hypot(a.y - b.y) < distance {
                    worst[*k] = worst[*k].max(b.flux / a.flux.max(1e-9));
                }
            }
        }
    }
    worst
}

fn judge(lines: &[ArcLine], sites: &[Site], measured: &[Spot], options: &SolveOptions) -> Vec<Fate> {
    let mut groups: BTreeMap<(u8, usize), Vec<usize>> = BTreeMap::new();
    for (k, site) in sites.iter().enumerate() {
        groups.entry((lines[site.line].order, site.pinhole)).or_default().push(k);
    }
    let mut fates = vec![Fate::Neighbour; sites.len()];
    for members in groups.values() {
        for k in members {
            let spot = &measured[*k];
            if !lines[sites[*k].line].constrains {
                continue;
            }
            let seen = spot.signal_to_noise() >= options.least_signal
                && spot.coverage > 0.7
                && spot.variance_x.is_finite()
                && spot.variance_x.max(spot.variance_y) < 0.25;
            let blended = members.iter().filter(|other| *other != k).any(|other| {
                let b = &measured[*other];
                b.flux > FAINT * spot.flux && (spot.x - b.x).hypot(spot.y - b.y) < BLEND
            });
            fates[*k] = match (seen, blended) {
                (false, _) => Fate::Missed,
                (true, true) => Fate::Blended,
                (true, false) => Fate::Used,
            };
        }
    }
    fates
}

/// Enough landmarks in every order, or the reason.
fn prove_found(
    lines: &[ArcLine],
    sites: &[Site],
    fates: &[Fate],
    map: &GeometryMap,
    options: &SolveOptions,
) -> Result<(), ArcError> {
    for order in &map.orders {
        let landmarks: Vec<usize> = (0..sites.len())
            .filter(|k| lines[sites[*k].line].order == order.order && lines[sites[*k].line].landmark)
            .collect();
        let expected = landmarks.len();
        let found =
            landmarks.iter().filter(|k| matches!(fates[**k], Fate::Used | Fate::Blended | Fate::Clipped)).count();
        let needed = ((expected as f64 * options.least_found).ceil() as usize).max(6);
        if found < needed {
            return Err(ArcError::Lines { order: order.order, found, expected, needed, search: options.search });
        }
    }
    Ok(())
}
