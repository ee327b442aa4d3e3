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
use crate::numerics::profile::Shape;
use crate::numerics::robust::median_f64;
use crate::numerics::spots::{self, Seed, Spot, SpotOptions};

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
    /// The mask seems to have slipped, but the pattern has moved besides.
    #[error(
        "the pinholes fit best {slip} pitches off along the slit and {moved:.0} pixels off besides; the mask may have slipped or \
         the format may have moved since the single pinhole was taken: take both arcs again, one after the other"
    )]
    Displaced {
        /// Pitches.
        slip: i32,
        /// Largest shift besides, pixels.
        moved: f64,
    },
    /// Bright lines stand where the map has none.
    #[error("order {order}: {against} bright lines lie off the map, {used} on it; the match is wrong")]
    Contradicted {
        /// Order.
        order: u8,
        /// Certain lines off the map.
        against: usize,
        /// Certain lines on it.
        used: usize,
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
/// Neighbours farther than this from every line that may constrain a map are left out, pixels: the reach of both images.
const NEIGHBOURHOOD: f64 = 8.0;
/// Fraction by which a slip must raise the vote: one pinhole of nine more or less is a ninth.
const SLIP_GAIN: f64 = 0.02;
/// Largest shift that is taken for a slip's remainder, pixels.
const SLIP_REST: f64 = 1.0;
/// Lines closer than this to the edge of the detector are not looked for, pixels.
const EDGE: f64 = 1.0;
/// Signal to noise from which a neighbour is worth a place in the final fit.
const VISIBLE: f64 = 3.0;
/// Errors of the shape that are allowed before pixels are left out, fractions of the brightest pixel: while the shape is
/// unknown, and after.
const LOOSE: f64 = 0.6;
/// See [`LOOSE`].
const FIRM: f64 = 0.06;
/// Reduced chi-square, over the usual one, from which a fit is worse than chance makes it: two standard deviations of some
/// thirty pixels.
const UNUSUAL: f64 = 1.5;
/// Rounds in which lines may be confirmed one after the other.
const CHAIN: usize = 10;
/// Landmarks closer than this to where the coarse map expects them make the first map, pixels.
const AGREES: f64 = 0.7;
/// Signal to noise of a line that cannot be taken for another or for a cosmic ray.
pub(super) const SIGNIFICANT: f64 = 20.0;
/// A line in doubt is confirmed within this many sigmas, and not farther off than [`FARTHEST`] pixels.
const CONFIRM: f64 = 4.0;
/// See [`CONFIRM`].
const FARTHEST: f64 = 0.8;

/// Solve an arc frame. `image` holds electrons without bias and dark, `floor` the variance of each pixel without its own
/// shot noise (infinite where the pixel must not be used), both trimmed and unbinned. `guess` says where to look;
/// `published` is what the solution keeps where no line says otherwise: the guess itself, or what it once came from.
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
    let rounds = [(3.0, 1), (2.5, 2), (1.8, 3)];
    let coarse = register::refine(&significance, &registration.map, &landmarks, options.ties, &rounds);
    drop(significance);

    let scene = Scene { image, floor, lines, pinholes, options };
    // the landmarks alone: shapes, first of all orders together, and a first map
    let mut shapes: BTreeMap<u8, ShapeModel> =
        coarse.orders.iter().map(|map| (map.order, ShapeModel::round(options.sigma))).collect();
    let sites = scene.sites(&coarse, &coarse, |line| line.landmark);
    let mut seeds = scene.seeds(&sites, &coarse, &shapes);
    let mut measured = scene.measure(&seeds, 2.0, 2, LOOSE);
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
    super::proof::prove(&solution, lines, guess, options)?;
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

/// Everything that the steps share.
#[derive(Clone, Copy)]
struct Scene<'a> {
    image: ArrayView2<'a, f32>,
    floor: ArrayView2<'a, f32>,
    lines: &'a [ArcLine],
    pinholes: &'a [Pinhole],
    options: &'a SolveOptions,
}

/// A line at a pinhole that lies on the detector.
#[derive(Clone, Copy, Debug)]
struct Site {
    line: usize,
    pinhole: usize,
    expected: [f64; 2],
}

impl Scene<'_> {
    /// The lines on the detector that `which` admits; `coarse` says where they were expected.
    fn sites(&self, map: &GeometryMap, coarse: &GeometryMap, which: impl Fn(&ArcLine) -> bool) -> Vec<Site> {
        let (rows, columns) = self.image.dim();
        let inside = |v: f64, n: usize| v >= EDGE && v <= n as f64 - 1.0 - EDGE;
        let mut sites = Vec::new();
        let relevant = self.relevant(map);
        let lines = self.lines.iter().zip(&relevant).enumerate();
        for (l, (line, _)) in lines.filter(|(_, (line, relevant))| which(line) && **relevant) {
            for (p, hole) in self.pinholes.iter().enumerate() {
                let Some((x, y)) = map.at(line.order, line.wavelength, hole.slit) else { continue };
                if inside(x, columns) && inside(y, rows) {
                    let (ex, ey) = coarse.at(line.order, line.wavelength, hole.slit).unwrap_or((x, y));
                    sites.push(Site { line: l, pinhole: p, expected: [ex, ey] });
                }
            }
        }
        sites
    }

    /// The lines that may constrain a map, and their neighbours near enough to matter.
    fn relevant(&self, map: &GeometryMap) -> Vec<bool> {
        let place = |line: &ArcLine| map.at(line.order, line.wavelength, 0.0);
        let mut order: Vec<usize> = (0..self.lines.len()).collect();
        order.sort_by(|a, b| {
            let (a, b) = (&self.lines[*a], &self.lines[*b]);
            a.order.cmp(&b.order).then(a.wavelength.total_cmp(&b.wavelength))
        });
        let mut relevant: Vec<bool> = self.lines.iter().map(|line| line.role != Role::Neighbour).collect();
        let near = |a: &ArcLine, b: &ArcLine| {
            a.order == b.order
                && matches!((place(a), place(b)), (Some(a), Some(b)) if (a.0 - b.0).hypot(a.1 - b.1) < NEIGHBOURHOOD)
        };
        let wanted = |k: usize| self.lines[k].role != Role::Neighbour;
        for forward in [true, false] {
            let mut last: Option<usize> = None;
            let mut visit = |k: usize| {
                if wanted(k) {
                    last = Some(k);
                } else if last.is_some_and(|last| near(&self.lines[k], &self.lines[last])) {
                    relevant[k] = true;
                }
            };
            if forward {
                order.iter().for_each(|k| visit(*k));
            } else {
                order.iter().rev().for_each(|k| visit(*k));
            }
        }
        relevant
    }

    fn line(&self, site: &Site) -> &ArcLine {
        &self.lines[site.line]
    }

    fn seeds(&self, sites: &[Site], map: &GeometryMap, shapes: &BTreeMap<u8, ShapeModel>) -> Vec<Seed> {
        let seed = |site: &Site| {
            let line = self.line(site);
            let (x, y) = map.at(line.order, line.wavelength, self.pinholes[site.pinhole].slit).unwrap_or((0.0, 0.0));
            let free = line.role != Role::Neighbour;
            Seed { x, y, shape: self.shape(site, map, shapes), free, group: self.group(site), known: None }
        };
        sites.iter().map(seed).collect()
    }

    /// Lines of one order through one pinhole may blend.
    fn group(&self, site: &Site) -> usize {
        usize::from(self.line(site).order) * self.pinholes.len() + site.pinhole
    }

    fn shape(&self, site: &Site, map: &GeometryMap, shapes: &BTreeMap<u8, ShapeModel>) -> Shape {
        let line = self.line(site);
        shapes.get(&line.order).copied().unwrap_or(ShapeModel::round(self.options.sigma)).at(argument(map, line))
    }

    /// Start the next measurement where the last one ended, with the shapes as they are known now.
    fn follow(
        &self,
        seeds: &mut [Seed],
        sites: &[Site],
        measured: &[Spot],
        map: &GeometryMap,
        shapes: &BTreeMap<u8, ShapeModel>,
    ) {
        for (seed, (site, spot)) in seeds.iter_mut().zip(sites.iter().zip(measured)) {
            seed.shape = self.shape(site, map, shapes);
            seed.known = Some((spot.flux, spot.background));
            if seed.free && spot.signal_to_noise() > self.options.least_signal {
                (seed.x, seed.y) = (spot.x, spot.y);
            }
        }
    }

    /// Look for lines that are not in use where the map puts them now.
    fn aim(&self, seeds: &mut [Seed], sites: &[Site], fates: &[Fate], map: &GeometryMap) {
        for (seed, (site, fate)) in seeds.iter_mut().zip(sites.iter().zip(fates)) {
            let line = self.line(site);
            if *fate == Fate::Missed {
                seed.known = None;
            }
            if *fate != Fate::Used
                && let Some((x, y)) = map.at(line.order, line.wavelength, self.pinholes[site.pinhole].slit)
            {
                (seed.x, seed.y) = (x, y);
            }
        }
    }

    fn measure(&self, seeds: &[Seed], reach: f64, sweeps: usize, tolerance: f64) -> Vec<Spot> {
        let options =
            SpotOptions { response: self.options.response, reach, sweeps, tolerance, ..SpotOptions::default() };
        spots::fit(self.image, self.floor, seeds, &options)
    }

    fn points(&self, sites: &[Site], measured: &[Spot], fates: &[Fate]) -> Vec<Point> {
        let used = sites.iter().zip(measured).zip(fates).filter(|(_, fate)| **fate == Fate::Used);
        // a wrong wing of the shape raises the chi-square of every bright line and moves none, its image being symmetric
        let excess = |spot: &Spot| (spot.reduced_chi_square - 1.0) / spot.signal_to_noise().powi(2);
        let mut bright: Vec<f64> = used
            .clone()
            .filter(|((_, spot), _)| spot.signal_to_noise() > SIGNIFICANT)
            .map(|((_, spot), _)| excess(spot))
            .collect();
        let usual = median_f64(&mut bright).unwrap_or(0.0).max(0.0);
        let unusual = |spot: &Spot| {
            let expected = 1.0 + usual * spot.signal_to_noise().powi(2);
            (spot.reduced_chi_square / (UNUSUAL * expected)).max(1.0)
        };
        used.map(|((site, spot), _)| Point {
            order: self.line(site).order,
            wavelength: self.line(site).wavelength,
            slit: self.pinholes[site.pinhole].slit,
            place: [spot.x, spot.y],
            // a fit worse than others (light that nobody lists, a bad pixel) says that the place is less sure
            variance: [spot.variance_x, spot.variance_y].map(|variance| variance * unusual(spot)),
        })
        .collect()
    }

    fn fit_options(&self, choose: bool) -> FitOptions {
        FitOptions {
            ties: self.options.ties,
            slit: self.pinholes.len() > 1,
            clip: self.options.clip,
            max_wave: self.options.max_wave,
            max_order: self.options.max_order,
            choose,
        }
    }

    /// Improve the shapes from bright lines that stand alone.
    #[allow(clippy::too_many_arguments)]
    fn reshape(
        &self,
        shapes: &BTreeMap<u8, ShapeModel>,
        together: bool,
        tolerance: f64,
        map: &GeometryMap,
        sites: &[Site],
        seeds: &[Seed],
        measured: &[Spot],
    ) -> BTreeMap<u8, ShapeModel> {
        let model: Array2<f32> = spots::render(self.image.dim(), seeds, measured);
        let crowded = self.crowding(sites, measured, 3.5);
        let mut witnesses: BTreeMap<u8, Vec<Witness>> = BTreeMap::new();
        for (k, (site, spot)) in sites.iter().zip(measured).enumerate() {
            let line = self.line(site);
            let clean = spot.coverage > 0.9 && crowded[k] < 0.05 && spot.variance_x.is_finite();
            if line.role == Role::Certain && spot.signal_to_noise() > 25.0 && clean {
                let t = argument(map, line).clamp(-1.0, 1.0);
                witnesses.entry(line.order).or_default().push(Witness { index: k, t });
            }
        }
        let improve = |shape: &ShapeModel, witnesses: &[Witness]| {
            shape::improve(
                shape,
                self.image,
                self.floor,
                &model,
                seeds,
                measured,
                witnesses,
                self.options.response,
                tolerance,
            )
        };
        if together {
            let all: Vec<Witness> = witnesses.into_values().flatten().collect();
            let Some(first) = shapes.values().next() else { return BTreeMap::new() };
            let better = improve(first, &all);
            return shapes.keys().map(|order| (*order, better)).collect();
        }
        let none = Vec::new();
        let of = |order: &u8| witnesses.get(order).unwrap_or(&none);
        shapes.par_iter().map(|(order, shape)| (*order, improve(shape, of(order)))).collect()
    }

    /// For each line: the largest flux of a neighbour within a distance, over its own flux.
    fn crowding(&self, sites: &[Site], measured: &[Spot], distance: f64) -> Vec<f64> {
        let places: Vec<(f64, f64, usize)> =
            sites.iter().zip(measured).map(|(site, spot)| (spot.x, spot.y, self.group(site))).collect();
        let mut worst = vec![0.0f64; sites.len()];
        for (a, b) in spots::close_pairs(&places, distance) {
            let flux =
                |k: usize| if measured[k].signal_to_noise() > VISIBLE { measured[k].flux.max(1e-9) } else { 1e-9 };
            let (fa, fb) = (flux(a), flux(b));
            worst[a] = worst[a].max(fb / fa);
            worst[b] = worst[b].max(fa / fb);
        }
        worst
    }

    fn judge(&self, sites: &[Site], measured: &[Spot]) -> Vec<Fate> {
        let blends = self.crowding(sites, measured, BLEND);
        let judge = |k: usize| {
            let (line, spot) = (self.line(&sites[k]), &measured[k]);
            let seen = spot.signal_to_noise() >= self.options.least_signal
                && spot.coverage > 0.7
                && spot.variance_x.max(spot.variance_y) < 0.25;
            match line.role {
                Role::Neighbour => Fate::Neighbour,
                _ if !seen => Fate::Missed,
                _ if blends[k] > FAINT => Fate::Blended,
                _ => Fate::Unconfirmed,
            }
        };
        (0..sites.len()).map(judge).collect()
    }

    /// Lines that lie where a map puts them that is well known there are used.
    fn confirm(&self, sites: &[Site], measured: &[Spot], fates: &mut [Fate], fit: &MapFit) {
        for ((site, spot), fate) in sites.iter().zip(measured).zip(fates) {
            if *fate != Fate::Unconfirmed {
                continue;
            }
            let (line, slit) = (self.line(site), self.pinholes[site.pinhole].slit);
            let index = fit.map.orders.iter().position(|map| map.order == line.order);
            let Some((map, errors)) = index.and_then(|k| Some((fit.map.orders.get(k)?, fit.covariance.get(k)?))) else {
                continue;
            };
            let (x, y) = map.at(line.wavelength, slit);
            let [vx, vy] = fit::variances(map, errors, line.wavelength, slit);
            let near = |d: f64, map: f64, own: f64| {
                d * d < CONFIRM * CONFIRM * (map + own + 0.03 * 0.03) && d.abs() < FARTHEST
            };
            if near(spot.x - x, vx, spot.variance_x) && near(spot.y - y, vy, spot.variance_y) {
                *fate = Fate::Used;
            }
        }
    }

    /// Enough landmarks in every order, or the reason.
    fn prove_found(&self, sites: &[Site], fates: &[Fate], map: &GeometryMap) -> Result<(), ArcError> {
        for order in &map.orders {
            let of_order = || sites.iter().zip(fates).filter(|(site, _)| self.line(site).order == order.order);
            let expected = of_order().count();
            let found = of_order().filter(|(_, fate)| matches!(fate, Fate::Unconfirmed | Fate::Blended)).count();
            let needed = least(expected, self.options);
            if found < needed {
                let search = self.options.search;
                return Err(ArcError::Lines { order: order.order, found, expected, needed, search });
            }
        }
        Ok(())
    }
}

/// Least number of landmarks that must be found of those expected.
pub(super) fn least(expected: usize, options: &SolveOptions) -> usize {
    ((expected as f64 * options.least_found).ceil() as usize).max(4)
}

/// Argument -1..1 of a line along its order's limits.
fn argument(map: &GeometryMap, line: &ArcLine) -> f64 {
    map.order(line.order).map_or(0.0, |order| {
        let [a, b] = order.limits;
        (2.0 * line.wavelength - a - b) / (b - a)
    })
}
