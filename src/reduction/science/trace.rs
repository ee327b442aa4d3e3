//! Where sources lie along the slit, and how their traces run through the orders.
//!
//! Sources are looked for in all orders together ([`find`]): every pixel knows its slit position, so that the light of all
//! wavelengths falls onto one profile of the slit, in which a source is significant long before it can be seen in any one
//! order. The trace of an order is that position, plus refraction, plus a polynomial of low degree that is fitted to the
//! pixels themselves with a Gaussian prior about zero ([`follow`]): bright sources correct the geometry, faint ones leave
//! it alone.

use rayon::prelude::*;

use super::field::Field;
use super::profile::{Moffat, Profile};
use super::refraction::Air;
use super::track::Track;
use crate::numerics::chebyshev;
use crate::numerics::least_squares::NormalSums;
use crate::numerics::robust::{MAD_TO_SIGMA, median_f64};

/// One image of every source in the light: an exposure has one; a difference of two nod positions has a positive and a
/// negative one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Beam {
    /// Slit position of the image against the source's own, arcsec.
    pub offset: f64,
    /// 1, or -1 for the exposure that was taken off.
    pub sign: f64,
}

impl Beam {
    /// The only image in a single exposure.
    pub const SINGLE: [Beam; 1] = [Beam { offset: 0.0, sign: 1.0 }];
}

/// What is known of the traces before the data are looked at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TracePrior {
    /// The air; `None` where a corrector takes refraction away.
    pub air: Option<Air>,
    /// Cosine of the angle between the slit and the direction to the zenith; `None` when it is not known.
    pub along: Option<f64>,
    /// Wavelength to which positions refer, nm.
    pub reference: f64,
}

impl TracePrior {
    /// No refraction.
    pub fn straight(reference: f64) -> TracePrior {
        TracePrior { air: None, along: None, reference }
    }

    fn lift(&self, wavelength: f64) -> f64 {
        self.air.map_or(0.0, |air| air.lift(wavelength, self.reference))
    }

    /// Amount of refraction along the slit and the error that it has.
    fn amount(&self) -> (f64, f64) {
        match self.along {
            Some(along) => (along, 0.15),
            None => (0.0, 0.6),
        }
    }
}

/// How sources are looked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SearchOptions {
    /// Significance that a source must have.
    pub threshold: f64,
    /// Further sources must be this bright relative to the brightest.
    pub fraction: f64,
    /// Most sources that are looked for.
    pub most: usize,
    /// Distance from the ends of the slit at which no source is looked for, arcsec.
    pub margin: f64,
    /// Expected position of the target and how far from it a source may lie, arcsec; `None` for anywhere. Others are found
    /// and left out.
    pub near: Option<(f64, f64)>,
}

impl Default for SearchOptions {
    fn default() -> SearchOptions {
        SearchOptions { threshold: 5.0, fraction: 0.03, most: 1, margin: 0.3, near: None }
    }
}

/// A source on the slit.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Slit position at the reference wavelength, arcsec.
    pub position: f64,
    /// How many sigmas it stands above the noise, all orders together.
    pub significance: f64,
    /// Full width at half maximum of its profile, arcsec.
    pub fwhm: f64,
    /// Light per sample, mean over all orders.
    pub light: f64,
}

/// Why there is no source.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TraceError {
    /// Nothing stands out.
    #[error(
        "no source stands out of the noise along the slit: the best, at {position:.2} arcsec, has {significance:.1} sigma, {threshold} are needed"
    )]
    NotFound {
        /// Position of the best candidate, arcsec.
        position: f64,
        /// Its significance.
        significance: f64,
        /// Significance needed.
        threshold: f64,
    },
    /// There is nothing to look at.
    #[error("no usable pixel lies where a source could be")]
    NoPixels,
}

/// Width of a bin of the collapsed slit, arcsec.
const BIN: f64 = 0.1;
/// The slit is collapsed from -`REACH` to `REACH`, arcsec.
const REACH: f64 = 7.0;
const BINS: usize = (2.0 * REACH / BIN) as usize;
/// Rows of an order that are collapsed together.
const BLOCK: usize = 64;
/// Widths of sources that are tried, arcsec.
const WIDTHS: [f64; 7] = [0.5, 0.7, 0.95, 1.3, 1.8, 2.5, 3.5];
const WIDEST: f64 = 4.0;
/// Further sources are at most this much wider than the brightest.
const ALIKE: f64 = 1.6;
/// Neighbours of the target that are looked for.
const NEIGHBOURS: usize = 3;
/// Rounds in which sources are measured with the others taken away.
const SETTLE: usize = 4;

/// Light along the slit, collapsed over some wavelengths: sums of weighted light per arcsec and of weights.
#[derive(Clone)]
struct Slit {
    light: Vec<f64>,
    weight: Vec<f64>,
}

impl Slit {
    fn new() -> Slit {
        Slit { light: vec![0.0; BINS], weight: vec![0.0; BINS] }
    }

    fn add(&mut self, other: &Slit) {
        self.light.iter_mut().zip(&other.light).for_each(|(a, b)| *a += b);
        self.weight.iter_mut().zip(&other.weight).for_each(|(a, b)| *a += b);
    }

    /// Middle of a bin, arcsec.
    fn place(bin: usize) -> f64 {
        (bin as f64 + 0.5) * BIN - REACH
    }

    /// Light of a source of this shape at a place and its variance, on a level background of its surroundings, which
    /// end at `most` arcsec.
    fn matched(&self, place: f64, shape: Moffat, most: f64) -> Option<(f64, f64)> {
        let reach = (2.5 * shape.fwhm.max(1.0)).min(most);
        let low = (((place - reach + REACH) / BIN).floor().max(0.0)) as usize;
        let high = ((((place + reach + REACH) / BIN).ceil()).max(0.0) as usize).min(BINS);
        let norm = 1.0 / (shape.fwhm * 1.064_467);
        let (mut w, mut wt, mut wtt, mut wy, mut wty) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for bin in low..high {
            let weight = self.weight[bin];
            if weight > 0.0 {
                let t = norm * shape.at(Slit::place(bin) - place);
                w += weight;
                wt += weight * t;
                wtt += weight * t * t;
                wy += self.light[bin];
                wty += self.light[bin] * t;
            }
        }
        let determinant = w * wtt - wt * wt;
        if determinant.is_nan() || determinant <= 1e-3 * w * wtt {
            return None;
        }
        Some(((w * wty - wt * wy) / determinant, w / determinant))
    }

    /// Whether all images of a source at a position lie on the slit, this far from its ends.
    fn holds(&self, position: f64, beams: &[Beam], margin: f64) -> bool {
        let lit = |bin: &usize| self.weight[*bin] > 0.0;
        let (Some(low), Some(high)) = ((0..BINS).find(lit), (0..BINS).rev().find(lit)) else { return false };
        let range = Slit::place(low) + margin..=Slit::place(high) - margin;
        beams.iter().all(|beam| range.contains(&(position + beam.offset)))
    }

    /// Take a source away.
    fn subtract(&mut self, place: f64, shape: Moffat, light: f64) {
        let norm = light / (shape.fwhm * 1.064_467);
        for bin in 0..BINS {
            self.light[bin] -= self.weight[bin] * norm * shape.at(Slit::place(bin) - place);
        }
    }
}

/// Gaussian of this width.
fn gaussian(fwhm: f64) -> Moffat {
    Moffat { fwhm, beta: f64::INFINITY }
}

/// Collapse an order in blocks of rows.
fn collapse(field: &Field, prior: &TracePrior) -> Vec<Slit> {
    let (amount, _) = prior.amount();
    let (rows, columns) = field.light.dim();
    let Some(track) = Track::new(field.strip, |_| 0.0) else { return Vec::new() };
    let mut blocks = vec![Slit::new(); rows.div_ceil(BLOCK)];
    for row in 0..rows {
        let (slit, scale) = (&mut blocks[row / BLOCK], track.scale[row]);
        let lift = amount * prior.lift(track.wavelength[row]);
        for column in 0..columns {
            let at = (row, column);
            if !field.good[at] || isolated(field, at) {
                continue;
            }
            let bin = (f64::from(field.strip.slit[at]) - lift + REACH) / BIN;
            if bin >= 0.0 && bin < BINS as f64 {
                let weight = scale * scale / f64::from(field.variance[at]);
                slit.weight[bin as usize] += weight;
                slit.light[bin as usize] += weight * f64::from(field.light[at]) / scale;
            }
        }
    }
    blocks
}

/// Whether a pixel stands out of those before and after it along the dispersion, as a cosmic ray does that nothing has
/// found yet; the lines of a source do not, since they are wider than that.
fn isolated(field: &Field, (row, column): (usize, usize)) -> bool {
    let strip = field.strip;
    let value = field.light[(row, column)];
    let mut around = [0.0f64; 4];
    for (cell, step) in around.iter_mut().zip([-2i64, -1, 1, 2]) {
        let other = row as i64 + step;
        let Some(first) = usize::try_from(other).ok().and_then(|other| strip.columns.get(other)) else { return false };
        let place = (strip.columns[row] + column) as i64 - *first as i64;
        match field.light.get((other as usize, place.max(0) as usize)).filter(|_| place >= 0) {
            Some(light) => *cell = f64::from(*light),
            None => return false,
        }
    }
    let level = median_f64(&mut around).unwrap_or(0.0);
    let sigma = f64::from(field.variance[(row, column)]).sqrt();
    (f64::from(value) - level).abs() > 6.0 * sigma + level.abs()
}

/// A place that might hold a source.
#[derive(Clone, Copy)]
struct Candidate {
    position: f64,
    significance: f64,
    fwhm: f64,
    light: f64,
}

/// Share of its mean light that every image of a source must have, so that one image alone, or the edge of another source,
/// is not taken for two.
const LEAST_IMAGE: f64 = 0.3;

/// Fields that hold the same images, collapsed.
#[derive(Clone)]
struct View {
    total: Slit,
    blocks: Vec<Slit>,
    beams: Vec<Beam>,
}

impl View {
    /// Take the images of a candidate away.
    fn subtract(&mut self, candidate: &Candidate) {
        for beam in &self.beams {
            let light = beam.sign * candidate.light;
            self.total.subtract(candidate.position + beam.offset, gaussian(candidate.fwhm), light);
        }
    }
}

/// Light of a source at a position in each of its images: sums that make significance and mean, and the faintest image.
struct Images {
    sum: f64,
    weight: f64,
    least: f64,
}

impl Images {
    fn of(slit: &Slit, position: f64, beams: &[Beam], shape: Moffat) -> Option<Images> {
        let mut images = Images { sum: 0.0, weight: 0.0, least: f64::INFINITY };
        // the surroundings of one image must not hold another one
        let apart = |beam: &Beam| {
            let others =
                beams.iter().map(|other| (other.offset - beam.offset).abs()).filter(|distance| *distance > 0.0);
            0.5 * others.fold(f64::INFINITY, f64::min)
        };
        for beam in beams {
            let (light, variance) = slit.matched(position + beam.offset, shape, apart(beam))?;
            images.sum += beam.sign * light / variance;
            images.weight += 1.0 / variance;
            images.least = images.least.min(beam.sign * light);
        }
        Some(images)
    }

    /// Significance and light, unless one of the images is missing.
    fn rated(&self) -> Option<(f64, f64)> {
        let light = self.sum / self.weight;
        (light < 0.0 || self.least >= LEAST_IMAGE * light).then_some((self.sum / self.weight.sqrt(), light))
    }
}

/// Significance and light of a source at a position, over all views.
fn significance(views: &[View], position: f64, shape: Moffat) -> Option<(f64, f64)> {
    let mut all = Images { sum: 0.0, weight: 0.0, least: f64::INFINITY };
    let mut least = Vec::with_capacity(views.len());
    for view in views {
        let images = Images::of(&view.total, position, &view.beams, shape)?;
        all.sum += images.sum;
        all.weight += images.weight;
        least.push(images.least);
    }
    // an exposure behind a cloud does not hide the source that most of the others show
    all.least = median_f64(&mut least)?;
    all.rated()
}

/// Find sources in all orders together, the brightest first. With [`SearchOptions::near`] only those near the target's
/// expected place are looked for.
///
/// Two figures are compared with the threshold: the significance of all light together, and that of the number of blocks of
/// wavelength in which a position stands out, by which a source without continuum is found.
pub fn find(
    fields: &[Field],
    beams: &[Beam],
    prior: &TracePrior,
    options: &SearchOptions,
) -> Result<Vec<Source>, TraceError> {
    find_in_all(&[Sight { fields, beams }], prior, options)
}

/// Fields that hold the same images of a source.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// Orders.
    pub fields: &'a [Field<'a>],
    /// Images of every source.
    pub beams: &'a [Beam],
}

/// [`find`] in several exposures together, so that a source too faint for each of them is found.
pub fn find_in_all(sights: &[Sight], prior: &TracePrior, options: &SearchOptions) -> Result<Vec<Source>, TraceError> {
    let views: Vec<View> = sights
        .iter()
        .map(|sight| {
            let blocks = sight.fields.par_iter().map(|field| collapse(field, prior)).collect::<Vec<_>>().concat();
            let mut total = Slit::new();
            blocks.iter().for_each(|block| total.add(block));
            View { total, blocks, beams: sight.beams.to_vec() }
        })
        .collect();
    let inside = |position: f64| views.iter().all(|view| view.total.holds(position, &view.beams, options.margin));
    // a neighbour of the target is found first, so that its flank is not taken for the target
    let (wanted, searched) = match options.near {
        Some(_) => (options.most.max(1), options.most.max(1) + NEIGHBOURS),
        None => (options.most.max(1), options.most.max(1)),
    };
    let positions: Vec<f64> = (0..=(2.0 * REACH / 0.05) as usize)
        .map(|k| k as f64 * 0.05 - REACH)
        .filter(|position| inside(*position))
        .collect();
    if views.is_empty() || positions.is_empty() {
        return Err(TraceError::NoPixels);
    }
    let mut found: Vec<Candidate> = Vec::new();
    let mut best_refused: Option<Candidate> = None;
    while found.len() < searched {
        let apart = |position: f64| found.iter().all(|s| (s.position - position).abs() > 1.2 * s.fwhm.max(0.7));
        let free: Vec<f64> = positions.iter().copied().filter(|position| apart(*position)).collect();
        // all sources have the width of the seeing, so a further one that is much wider is what the first ones left
        let widest = found.first().map_or(WIDEST, |first| ALIKE * first.fwhm);
        let Some(candidate) = best(&without(&views, &found, None), &free, widest) else { break };
        let relative = found.first().map_or(1.0, |first| candidate.light / first.light);
        if candidate.significance < options.threshold || relative < options.fraction {
            best_refused = Some(candidate);
            break;
        }
        found.push(candidate);
        settle(&views, &mut found);
    }
    let near =
        |source: &&Candidate| options.near.is_none_or(|(centre, reach)| (source.position - centre).abs() <= reach);
    let best_refused = best_refused.or(found.first().copied().filter(|first| !near(&first)));
    let sources: Vec<Source> = found
        .iter()
        .filter(near)
        .take(wanted)
        .map(|source| Source {
            position: source.position,
            significance: source.significance,
            fwhm: source.fwhm,
            light: source.light,
        })
        .collect();
    match (sources.is_empty(), best_refused) {
        (false, _) => Ok(sources),
        (true, Some(candidate)) => Err(TraceError::NotFound {
            position: candidate.position,
            significance: candidate.significance,
            threshold: options.threshold,
        }),
        (true, None) => Err(TraceError::NoPixels),
    }
}

/// What the views hold besides the sources found, but for one of them.
fn without(views: &[View], found: &[Candidate], but: Option<usize>) -> Vec<View> {
    let mut rest = views.to_vec();
    for (_, candidate) in found.iter().enumerate().filter(|(index, _)| Some(*index) != but) {
        rest.iter_mut().for_each(|view| view.subtract(candidate));
    }
    rest
}

/// Measure each source again with the others taken away, until they no longer disturb each other.
fn settle(views: &[View], found: &mut [Candidate]) {
    if found.len() < 2 {
        return;
    }
    for _ in 0..SETTLE {
        for index in 0..found.len() {
            let rest = without(views, found, Some(index));
            let before = found[index];
            if let Some((significance, light)) = significance(&rest, before.position, gaussian(before.fwhm)) {
                let start = Candidate { significance, light, ..before };
                found[index] = Candidate { significance: before.significance, ..refined(&rest, start) };
            }
        }
    }
}

/// The most significant place.
fn best(views: &[View], positions: &[f64], widest: f64) -> Option<Candidate> {
    let mut best: Option<Candidate> = None;
    for fwhm in WIDTHS.into_iter().filter(|fwhm| *fwhm <= widest) {
        let shape = gaussian(fwhm);
        let found = positions.iter().filter_map(|position| {
            let (significance, light) = significance(views, *position, shape)?;
            Some(Candidate { position: *position, significance, fwhm, light })
        });
        let Some(top) = found.max_by(|a, b| a.significance.total_cmp(&b.significance)) else { continue };
        // wide shapes are compared with wide surroundings: they must be clearly better
        if best.is_none_or(|best| top.significance > 1.05 * best.significance) {
            best = Some(top);
        }
    }
    let best = best.map(|best| {
        let best = refined(views, best);
        let scatter = scatter(views, &best, positions);
        Candidate { significance: best.significance / scatter, ..best }
    });
    let lines = best_of_blocks(views, positions);
    match (best, lines) {
        (Some(light), Some(lines)) if lines.significance > 5.0 && light.significance < 5.0 => Some(lines),
        (light, lines) => light.or(lines),
    }
}

/// Position and width between those that were tried.
fn refined(views: &[View], start: Candidate) -> Candidate {
    let mut best = start;
    for round in 1..=4 {
        let (step, stretch) = (0.04 / f64::from(round), 0.12 / f64::from(round));
        let around = best;
        for (i, j) in (-2..=2).flat_map(|i| (-2..=2).map(move |j| (f64::from(i), f64::from(j)))) {
            let position = around.position + i * step;
            let fwhm = (around.fwhm * (1.0 + j * stretch)).min(WIDEST);
            if let Some((significance, light)) = significance(views, position, gaussian(fwhm))
                && significance > best.significance
            {
                best = Candidate { position, significance, fwhm, light };
            }
        }
    }
    best
}

/// What significances scatter by when a candidate has been taken away, relative to what noise alone does; never below 1.
fn scatter(views: &[View], candidate: &Candidate, positions: &[f64]) -> f64 {
    let away = 1.5 * candidate.fwhm.max(0.9);
    let mut rest = views.to_vec();
    rest.iter_mut().for_each(|view| view.subtract(candidate));
    let free = |position: f64| {
        views.iter().all(|view| {
            let image = |beam: &Beam| candidate.position + beam.offset;
            view.beams.iter().all(|a| view.beams.iter().all(|b| (position + a.offset - image(b)).abs() > away))
        })
    };
    let shape = gaussian(candidate.fwhm);
    let rated = |position: f64| -> Option<f64> {
        let (mut sum, mut weight) = (0.0, 0.0);
        for view in &rest {
            let images = Images::of(&view.total, position, &view.beams, shape)?;
            sum += images.sum;
            weight += images.weight;
        }
        Some((sum / weight.sqrt()).abs())
    };
    let mut rest: Vec<f64> =
        positions.iter().filter(|position| free(**position)).filter_map(|position| rated(*position)).collect();
    // neighbours on the grid are no independent measurements
    if rest.len() < 40 {
        return 1.0;
    }
    median_f64(&mut rest).map_or(1.0, |median| (MAD_TO_SIGMA * median).max(1.0))
}

/// The place at which most blocks of wavelength show something: the sum of the squares of positive significances against
/// what noise gives (half of the blocks, one each).
fn best_of_blocks(views: &[View], positions: &[f64]) -> Option<Candidate> {
    let shape = gaussian(0.95);
    let coarse: Vec<f64> = positions.iter().copied().step_by(4).collect();
    let rated: Vec<Option<Candidate>> = coarse
        .par_iter()
        .map(|position| {
            let (mut count, mut sum, mut light, mut lines) = (0usize, 0.0, 0.0, 0usize);
            for (block, beams) in views.iter().flat_map(|view| view.blocks.iter().map(|block| (block, &view.beams))) {
                let rated = Images::of(block, *position, beams, shape).and_then(|images| images.rated());
                let Some((significance, found)) = rated else { continue };
                count += 1;
                // one block is no source, however bright: it may be a cosmic ray or a residual of the sky
                sum += significance.max(0.0).powi(2).min(100.0);
                lines += usize::from(significance > 4.0);
                light += found;
            }
            let (n, fwhm) = (count as f64, 0.95);
            let significance = (sum - 0.5 * n) / (1.25 * n).sqrt();
            let seen = count >= 8 && lines >= 2;
            seen.then_some(Candidate { position: *position, significance, fwhm, light: light / n })
        })
        .collect();
    let mut all: Vec<f64> = rated.iter().flatten().map(|candidate| candidate.significance).collect();
    let level = median_f64(&mut all)?.max(0.0);
    let best = rated.into_iter().flatten().max_by(|a, b| a.significance.total_cmp(&b.significance))?;
    (best.light > 0.0).then_some(Candidate { significance: best.significance - level, ..best })
}

/// The trace of a source in an order.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// Position at the reference wavelength, arcsec.
    pub position: f64,
    /// Amount of refraction along the slit.
    pub amount: f64,
    /// What is known of refraction.
    pub prior: TracePrior,
    /// Wavelengths between which the polynomial is defined, nm.
    pub domain: [f64; 2],
    /// Chebyshev coefficients of the deviation, arcsec.
    pub deviation: Vec<f64>,
    /// Standard error of the deviation's mean, arcsec.
    pub error: f64,
}

impl Trace {
    /// The trace that a source has before any fit.
    pub fn expected(source: &Source, offset: f64, prior: &TracePrior) -> Trace {
        Trace {
            position: source.position + offset,
            amount: prior.amount().0,
            prior: *prior,
            domain: [0.0, 1.0],
            deviation: Vec::new(),
            error: f64::INFINITY,
        }
    }

    /// Slit position at a wavelength, arcsec.
    pub fn at(&self, wavelength: f64) -> f64 {
        let mut slit = self.position + self.amount * self.prior.lift(wavelength);
        if !self.deviation.is_empty() {
            let t = 2.0 * (wavelength - self.domain[0]) / (self.domain[1] - self.domain[0]) - 1.0;
            let mut terms = [0.0; DEGREE + 1];
            let terms = &mut terms[..self.deviation.len().min(DEGREE + 1)];
            chebyshev::values(t.clamp(-1.0, 1.0), terms);
            slit += terms.iter().zip(&self.deviation).map(|(t, c)| t * c).sum::<f64>();
        }
        slit
    }
}

/// Degree of the deviation.
const DEGREE: usize = 4;
/// Widths of the prior of its coefficients, arcsec, relative to that of the constant.
const PRIOR: [f64; DEGREE + 1] = [1.0, 0.6, 0.4, 0.2, 0.1];
/// Width of the prior of the constant: before and after the orders have agreed on position and refraction.
const LOOSE: f64 = 0.4;
const TIGHT: f64 = 0.08;

/// Traces of one image of a source in all orders, in their sequence: each order is fitted, the orders agree on position and
/// refraction, and each is fitted again about that. An order that does not reach the source keeps what is expected.
pub fn follow(fields: &[Field], source: &Source, beam: Beam, prior: &TracePrior) -> Vec<Trace> {
    let expected = Trace::expected(source, beam.offset, prior);
    let shape = gaussian(source.fwhm);
    let first: Vec<Trace> = fields.par_iter().map(|field| fitted(field, &expected, beam.sign, shape, LOOSE)).collect();
    let agreed = agreement(&first, &expected);
    fields.par_iter().map(|field| fitted(field, &agreed, beam.sign, shape, TIGHT)).collect()
}

/// Position and refraction that explain the constants of all orders.
fn agreement(traces: &[Trace], expected: &Trace) -> Trace {
    let (_, sigma) = expected.prior.amount();
    let mut sums = NormalSums::new(2);
    sums.add(&[0.0, 1.0 / sigma], 0.0);
    sums.add(&[1.0, 0.0], 0.0);
    for trace in traces.iter().filter(|trace| trace.error.is_finite()) {
        let middle = 0.5 * (trace.domain[0] + trace.domain[1]);
        let error = trace.error.hypot(0.03);
        let deviation = trace.at(middle) - expected.at(middle);
        // an order that disagrees by much more than its error counts less
        let weight = 1.0 / (error * (1.0 + (deviation / 0.3).powi(2)));
        sums.add(&[weight, weight * trace.prior.lift(middle)], weight * deviation);
    }
    match sums.solve() {
        Some(fit) => Trace {
            position: expected.position + fit.coefficients[0],
            amount: expected.amount + fit.coefficients[1],
            ..expected.clone()
        },
        None => expected.clone(),
    }
}

/// Rows that are brought together to find how bright the source is, at least.
const SMOOTH: usize = 16;

/// Fit the deviation of an order: Gauss and Newton on all its pixels.
fn fitted(field: &Field, start: &Trace, sign: f64, shape: Moffat, width: f64) -> Trace {
    let mut trace = start.clone();
    let ends: Vec<f64> = field.strip.wavelength.iter().copied().filter(|w| w.is_finite()).collect();
    let (low, high) = ends.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), w| (a.min(*w), b.max(*w)));
    if high <= low {
        return trace;
    }
    trace.domain = [low, high];
    trace.deviation = vec![0.0; DEGREE + 1];
    let profile = Profile::of(shape, 2.0 * shape.fwhm, field.light.nrows());
    for _ in 0..6 {
        let Some(track) = Track::new(field.strip, |wavelength| trace.at(wavelength)) else { return start.clone() };
        let near = neighbourhood(field, &track, &profile);
        let light = brightness(&near, &profile, sign, field.light.nrows());
        let Some((step, error)) = correction(&near, &profile, &light, sign, &trace, &track, width) else { break };
        let largest = step.iter().map(|s| s.abs()).fold(0.0, f64::max);
        trace.deviation.iter_mut().zip(&step).for_each(|(c, s)| *c += s.clamp(-0.5 * shape.fwhm, 0.5 * shape.fwhm));
        trace.error = error;
        if largest < 1e-3 {
            break;
        }
    }
    trace
}

/// A pixel near a track.
struct Near {
    row: usize,
    u: f64,
    scale: f64,
    value: f64,
    variance: f64,
}

fn neighbourhood(field: &Field, track: &Track, profile: &Profile) -> Vec<Near> {
    let (rows, columns) = field.light.dim();
    let mut near = Vec::with_capacity(rows * 16);
    for row in (0..rows).filter(|row| track.covered[*row]) {
        for column in 0..columns {
            let at = (row, column);
            let u = f64::from(field.strip.slit[at]) - track.slit[row];
            if field.good[at] && u.abs() < profile.half() {
                let (value, variance) = (f64::from(field.light[at]), f64::from(field.variance[at]));
                near.push(Near { row, u, scale: track.scale[row], value, variance });
            }
        }
    }
    near
}

/// Light of the source in each row, smoothed over so many rows that noise does not matter.
fn brightness(near: &[Near], profile: &Profile, sign: f64, rows: usize) -> Vec<f64> {
    let (mut sums, mut weights) = (vec![0.0; rows], vec![0.0; rows]);
    for pixel in near {
        let p = pixel.scale * profile.at(0.0, pixel.u);
        sums[pixel.row] += sign * p * pixel.value / pixel.variance;
        weights[pixel.row] += p * p / pixel.variance;
    }
    let (total, weight) = (sums.iter().sum::<f64>(), weights.iter().sum::<f64>());
    // rows over which the signal is ten times the noise
    let per_row = if weight > 0.0 { total / weight.sqrt() / (rows as f64).sqrt() } else { 0.0 };
    let half = if per_row > 0.0 { ((10.0 / per_row).powi(2).ceil() as usize).clamp(SMOOTH, rows) / 2 } else { rows };
    let running = |values: &[f64]| {
        let mut sums = vec![0.0; rows + 1];
        values.iter().enumerate().for_each(|(k, v)| sums[k + 1] = sums[k] + v);
        sums
    };
    let (sums, weights) = (running(&sums), running(&weights));
    (0..rows)
        .map(|row| {
            let (low, high) = (row.saturating_sub(half), (row + half + 1).min(rows));
            let weight = weights[high] - weights[low];
            if weight > 0.0 { (sums[high] - sums[low]) / weight } else { 0.0 }
        })
        .collect()
}

/// The step of the deviation's coefficients that brings the model closer to the pixels, and the error of the constant.
fn correction(
    near: &[Near],
    profile: &Profile,
    light: &[f64],
    sign: f64,
    trace: &Trace,
    track: &Track,
    width: f64,
) -> Option<(Vec<f64>, f64)> {
    let mut sums = NormalSums::new(DEGREE + 1);
    let mut row = [0.0; DEGREE + 1];
    for (k, relative) in PRIOR.iter().enumerate() {
        row.fill(0.0);
        row[k] = 1.0 / (width * relative);
        sums.add(&row, -trace.deviation[k] / (width * relative));
    }
    let mut terms = [0.0; DEGREE + 1];
    for pixel in near {
        let light = sign * light[pixel.row] * pixel.scale;
        let rest = pixel.value - light * profile.at(0.0, pixel.u);
        // the shape is not known yet: a tenth of the light is allowed for it
        let sigma = (pixel.variance + light.abs() + (0.1 * light * profile.at(0.0, pixel.u)).powi(2)).sqrt();
        let pull = (rest / sigma).abs();
        let weight = if pull < 3.0 { 1.0 } else { (3.0 / pull).powi(2) } / sigma;
        let t = 2.0 * (track.wavelength[pixel.row] - trace.domain[0]) / (trace.domain[1] - trace.domain[0]) - 1.0;
        chebyshev::values(t.clamp(-1.0, 1.0), &mut terms);
        let slope = -light * profile.slope(0.0, pixel.u) * weight;
        row.iter_mut().zip(&terms).for_each(|(r, t)| *r = slope * t);
        sums.add(&row, rest * weight);
    }
    let fit = sums.solve()?;
    let mut constant = [0.0; DEGREE + 1];
    constant[0] = 1.0;
    let error = fit.factor.variance(&mut constant).sqrt();
    Some((fit.coefficients, error))
}
