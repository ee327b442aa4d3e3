//! One frame of an arc and the steps that are made in it: which lines can be seen where, their measurement, the shape of
//! their images, and which of them may constrain a map.

use std::collections::{BTreeMap, BTreeSet};

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use super::fit::{self, FitOptions, MapFit, Point};
use super::map::GeometryMap;
use super::shape::{self, ShapeModel, Witness};
use super::solve::{ArcError, ArcLine, Fate, Pinhole, Role, SolveOptions};
use crate::numerics::profile::Shape;
use crate::numerics::robust::median_f64;
use crate::numerics::spots::{self, Seed, Spot, SpotOptions};

/// Lines closer than this to another line of the same pinhole are blended, pixels, unless the other is faint.
const BLEND: f64 = 1.7;
/// Fraction of a line's flux that a blended neighbour may have.
const FAINT: f64 = 0.03;
/// Neighbours farther than this from every line that may constrain a map are left out, pixels: the reach of both images.
const NEIGHBOURHOOD: f64 = 8.0;
/// Lines closer than this to the edge of the detector are not looked for, pixels.
const EDGE: f64 = 1.0;
/// Reduced chi-square, over the usual one, from which a fit is worse than chance makes it: two standard deviations of some
/// thirty pixels.
const UNUSUAL: f64 = 1.5;
/// Part of the landmarks from which a frame is overexposed when they are saturated.
const OVEREXPOSED: f64 = 0.15;
/// From so many times the usual chi-square of its order, in the median of its pinholes, a line is not alone: light that
/// nobody lists draws all its images the same way, so that they agree with each other.
const ODD: f64 = 5.0;
/// Signal to noise of a line that cannot be taken for another or for a cosmic ray.
pub(super) const SIGNIFICANT: f64 = 20.0;
/// A line in doubt is confirmed within this many sigmas, and not farther off than [`FARTHEST`] pixels.
const CONFIRM: f64 = 4.0;
/// See [`CONFIRM`].
const FARTHEST: f64 = 0.8;
/// Signal to noise from which a neighbour is worth a place in the final fit.
pub(super) const VISIBLE: f64 = 3.0;

/// A frame with what is looked for in it: everything that the steps of a solution share.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) image: ArrayView2<'a, f32>,
    pub(super) floor: ArrayView2<'a, f32>,
    pub(super) lines: &'a [ArcLine],
    pub(super) pinholes: &'a [Pinhole],
    pub(super) options: &'a SolveOptions,
    /// Whether neighbouring pinholes touch, as on binned frames, so that their images must be fitted together.
    pub(super) crowded: bool,
}

/// A line at a pinhole that lies on the detector.
#[derive(Clone, Copy, Debug)]
pub(super) struct Site {
    pub(super) line: usize,
    pub(super) pinhole: usize,
    pub(super) expected: [f64; 2],
}

impl Scene<'_> {
    /// The lines on the detector that `which` admits; `coarse` says where they were expected.
    pub(super) fn sites(&self, map: &GeometryMap, coarse: &GeometryMap, which: impl Fn(&ArcLine) -> bool) -> Vec<Site> {
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

    pub(super) fn line(&self, site: &Site) -> &ArcLine {
        &self.lines[site.line]
    }

    pub(super) fn seeds(&self, sites: &[Site], map: &GeometryMap, shapes: &BTreeMap<u8, ShapeModel>) -> Vec<Seed> {
        let seed = |site: &Site| {
            let line = self.line(site);
            let (x, y) = map.at(line.order, line.wavelength, self.pinholes[site.pinhole].slit).unwrap_or((0.0, 0.0));
            let free = line.role != Role::Neighbour;
            let group = if self.crowded { usize::from(line.order) } else { self.group(site) };
            Seed { x, y, shape: self.shape(site, map, shapes), free, group, known: None }
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
    pub(super) fn follow(
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
    pub(super) fn aim(&self, seeds: &mut [Seed], sites: &[Site], fates: &[Fate], map: &GeometryMap) {
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

    pub(super) fn measure(&self, seeds: &[Seed], reach: f64, sweeps: usize, tolerance: f64) -> Vec<Spot> {
        let options =
            SpotOptions { response: self.options.response, reach, sweeps, tolerance, ..SpotOptions::default() };
        spots::fit(self.image, self.floor, seeds, &options)
    }

    pub(super) fn points(&self, sites: &[Site], measured: &[Spot], fates: &[Fate]) -> Vec<Point> {
        let used = sites.iter().zip(measured).zip(fates).filter(|(_, fate)| **fate == Fate::Used);
        let usual = Usual::of(used.clone().map(|((_, spot), _)| spot));
        let unusual = |spot: &Spot| (usual.ratio(spot) / UNUSUAL).max(1.0);
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

    pub(super) fn fit_options(&self, choose: bool) -> FitOptions {
        FitOptions {
            ties: self.options.ties,
            slit: self.pinholes.len() > 1,
            clip: self.options.clip,
            least_wave: self.options.least_wave,
            max_wave: self.options.max_wave,
            max_order: self.options.max_order,
            choose,
        }
    }

    /// Improve the shapes from bright lines that stand alone.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn reshape(
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

    pub(super) fn judge(&self, sites: &[Site], measured: &[Spot]) -> Vec<Fate> {
        let blends = self.crowding(sites, measured, BLEND);
        let judge = |k: usize| {
            let (line, spot) = (self.line(&sites[k]), &measured[k]);
            let seen = spot.signal_to_noise() >= self.options.least_signal
                && spot.coverage > 0.7
                && spot.variance_x.max(spot.variance_y) < 0.25;
            match line.role {
                Role::Neighbour => Fate::Neighbour,
                _ if !seen && self.saturated(spot.x, spot.y) => Fate::Saturated,
                _ if !seen => Fate::Missed,
                _ if blends[k] > FAINT => Fate::Blended,
                _ => Fate::Unconfirmed,
            }
        };
        let mut fates: Vec<Fate> = (0..sites.len()).map(judge).collect();
        self.doubt_odd(sites, measured, &mut fates);
        fates
    }

    /// Whether the middle of an image here is saturated.
    fn saturated(&self, x: f64, y: f64) -> bool {
        let near = |v: f64| (v.round() - 1.0).max(0.0) as usize..=(v.round() + 1.0).max(0.0) as usize;
        near(y).any(|row| near(x).any(|column| self.image.get((row, column)).is_some_and(|v| *v == f32::INFINITY)))
    }

    /// Whether so many landmarks are saturated that the rest may not do.
    pub(super) fn overexposed(&self, map: &GeometryMap) -> bool {
        let sites = self.sites(map, map, |line| line.landmark);
        let saturated = sites.iter().filter(|site| self.saturated(site.expected[0], site.expected[1])).count();
        saturated as f64 > OVEREXPOSED * sites.len() as f64
    }

    /// A line with images that one line does not make has company.
    fn doubt_odd(&self, sites: &[Site], measured: &[Spot], fates: &mut [Fate]) {
        let alone: Vec<usize> = (0..sites.len()).filter(|k| fates[*k] == Fate::Unconfirmed).collect();
        let usual = Usual::of(alone.iter().map(|k| &measured[*k]));
        let mut ratios: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
        for k in &alone {
            ratios.entry(sites[*k].line).or_default().push(usual.ratio(&measured[*k]));
        }
        let of_lines: BTreeMap<usize, f64> =
            ratios.into_iter().filter_map(|(line, mut all)| Some((line, median_f64(&mut all)?))).collect();
        // where the shape of an order is not known well, all its lines look odd
        let mut of_orders: BTreeMap<u8, Vec<f64>> = BTreeMap::new();
        for (line, ratio) in &of_lines {
            of_orders.entry(self.lines[*line].order).or_default().push(*ratio);
        }
        let of_orders: BTreeMap<u8, f64> = of_orders
            .into_iter()
            .filter_map(|(order, mut all)| Some((order, median_f64(&mut all)?.max(1.0))))
            .collect();
        let odd = |line: &usize, ratio: &f64| {
            of_orders.get(&self.lines[*line].order).is_some_and(|order| *ratio > ODD * order)
        };
        let odd: BTreeSet<usize> =
            of_lines.iter().filter(|(line, ratio)| odd(line, ratio)).map(|(line, _)| *line).collect();
        for k in alone.into_iter().filter(|k| odd.contains(&sites[*k].line)) {
            fates[k] = Fate::Blended;
        }
    }

    /// Lines that lie where a map puts them that is well known there are used.
    pub(super) fn confirm(&self, sites: &[Site], measured: &[Spot], fates: &mut [Fate], fit: &MapFit) {
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
    pub(super) fn prove_found(&self, sites: &[Site], fates: &[Fate], map: &GeometryMap) -> Result<(), ArcError> {
        for order in &map.orders {
            let ours = |site: &Site| self.line(site).order == order.order && self.line(site).landmark;
            let of_order = || sites.iter().zip(fates).filter(|(site, _)| ours(site));
            let expected = of_order().count();
            let there = |fate: &Fate| matches!(fate, Fate::Unconfirmed | Fate::Blended | Fate::Saturated);
            let found = of_order().filter(|(_, fate)| there(fate)).count();
            let needed = least(expected, self.options);
            if found < needed {
                let search = self.options.search;
                return Err(ArcError::Lines { order: order.order, found, expected, needed, search });
            }
        }
        Ok(())
    }
}

/// The chi-square that bright lines usually have: a wrong wing of the shape raises it for each with the square of its
/// signal and moves none, its image being symmetric.
struct Usual(f64);

impl Usual {
    fn of<'a>(spots: impl Iterator<Item = &'a Spot>) -> Usual {
        let bright = spots.filter(|spot| spot.signal_to_noise() > SIGNIFICANT);
        let mut excess: Vec<f64> =
            bright.map(|spot| (spot.reduced_chi_square - 1.0) / spot.signal_to_noise().powi(2)).collect();
        Usual(median_f64(&mut excess).unwrap_or(0.0).max(0.0))
    }

    /// The chi-square of a spot over what is usual for its signal.
    fn ratio(&self, spot: &Spot) -> f64 {
        spot.reduced_chi_square / (1.0 + self.0 * spot.signal_to_noise().powi(2))
    }
}

/// Least number of landmarks that must be found of those expected.
pub(super) fn least(expected: usize, options: &SolveOptions) -> usize {
    ((expected as f64 * options.least_found).ceil() as usize).max(4)
}

/// Argument -1..1 of a line along its order's limits.
pub(super) fn argument(map: &GeometryMap, line: &ArcLine) -> f64 {
    map.order(line.order).map_or(0.0, |order| {
        let [a, b] = order.limits;
        (2.0 * line.wavelength - a - b) / (b - a)
    })
}
