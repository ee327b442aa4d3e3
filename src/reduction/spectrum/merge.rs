//! Orders to one spectrum: each is resampled once onto the common grid, then those that see a wavelength are averaged.
//!
//! Weights are inverse variances, smoothed along the spectrum so that the noise of a sample does not choose its own
//! weight, and falling to zero towards the ends of an order. Scales are measured in every overlap and reported; they are
//! not forced to agree.

use super::agreement::{Pair, agreement};
use super::covariance::BandedCovariance;
use super::density::OrderDensity;
use super::merged::{FluxUnit, Join, MergedSpectrum};
use super::resample::{Grid, Resampling};
use crate::numerics::robust::median_f64;
use crate::reduction::flags;

/// Bins on either side over which weights are smoothed.
const SMOOTHED: usize = 20;
/// Bins over which the weight of an order falls to zero at its ends.
const TAPER: usize = 12;
/// Two orders contradict each other in a sample that differs by this many sigmas and by this fraction.
const CONTRADICTION: (f64, f64) = (5.0, 0.1);

/// One spectrum on the bins of a grid, before it is merged with others.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Name of the order or arm.
    pub name: String,
    /// First bin of the grid.
    pub first: usize,
    /// Flux of the bins that follow; NaN without.
    pub flux: Vec<f64>,
    /// Covariance of `flux`.
    pub covariance: BandedCovariance,
    /// Standard error of the calibration, in the unit of the flux.
    pub systematic: Vec<f64>,
    /// Sky.
    pub sky: Vec<f64>,
    /// Quality bits.
    pub flags: Vec<i32>,
    /// Exposure time, s.
    pub exposure: Vec<f64>,
    /// Weight in the average; zero where there is no value.
    weight: Vec<f64>,
}

impl Part {
    /// An order on the grid.
    pub fn of_order(order: &OrderDensity, grid: &Grid) -> Part {
        let made = Resampling::new(&order.ends, &order.good(), grid);
        Part {
            name: order.name.clone(),
            first: made.bins().start,
            flux: made.values(&order.flux),
            covariance: made.covariance(&order.variance),
            systematic: made.values(&order.systematic),
            sky: made.values(&order.sky),
            flags: made.flags(&order.flags, flags::NO_DATA),
            exposure: vec![order.exposure; made.bins().len()],
            weight: Vec::new(),
        }
        .weighted()
    }

    /// A part from its columns, all of the length of `flux`.
    pub(super) fn from_columns(
        name: &str,
        first: usize,
        columns: [Vec<f64>; 4],
        covariance: BandedCovariance,
        flags: Vec<i32>,
    ) -> Part {
        let [flux, systematic, sky, exposure] = columns;
        let part =
            Part { name: name.to_string(), first, flux, covariance, systematic, sky, flags, exposure, weight: vec![] };
        part.weighted()
    }

    /// Number of bins.
    pub fn len(&self) -> usize {
        self.flux.len()
    }

    /// Whether there is no bin.
    pub fn is_empty(&self) -> bool {
        self.flux.is_empty()
    }

    /// Divide flux, errors and sky by a factor.
    pub fn divide(&mut self, factor: f64) {
        let inverse = 1.0 / factor;
        for column in [&mut self.flux, &mut self.systematic, &mut self.sky] {
            column.iter_mut().for_each(|value| *value *= inverse);
        }
        let mut scaled = BandedCovariance::zero(self.flux.len());
        scaled.add_scaled(0, &self.covariance, &vec![inverse; self.flux.len()]);
        self.covariance = scaled;
        self.weight.iter_mut().for_each(|weight| *weight *= factor * factor);
    }

    /// Add a relative error that is common to all samples.
    pub fn add_systematic(&mut self, relative: f64) {
        for (systematic, flux) in self.systematic.iter_mut().zip(&self.flux) {
            *systematic = systematic.hypot(relative * flux);
        }
    }

    fn is_good(&self, k: usize) -> bool {
        self.flags.get(k) == Some(&0) && self.flux[k].is_finite() && self.covariance.variance(k) > 0.0
    }

    /// Bin of the grid, as a place in this part.
    fn place(&self, bin: usize) -> Option<usize> {
        bin.checked_sub(self.first).filter(|k| *k < self.len())
    }

    fn weighted(mut self) -> Part {
        let good: Vec<usize> = (0..self.len()).filter(|k| self.is_good(*k)).collect();
        let (Some(first), Some(last)) = (good.first().copied(), good.last().copied()) else {
            self.weight = vec![0.0; self.len()];
            return self;
        };
        let taper = TAPER.min(good.len() / 4);
        let near = |k: usize| -> Option<f64> {
            let window = k.saturating_sub(SMOOTHED)..(k + SMOOTHED + 1).min(self.len());
            let mut values: Vec<f64> =
                window.filter(|j| self.is_good(*j)).map(|j| self.covariance.variance(j)).collect();
            median_f64(&mut values)
        };
        self.weight = (0..self.len())
            .map(|k| match near(k) {
                Some(variance) if self.is_good(k) && variance > 0.0 => {
                    let distance = (k - first).min(last - k) + 1;
                    let ramp = if taper == 0 { 1.0 } else { (distance as f64 / (taper + 1) as f64).min(1.0) };
                    ramp / variance
                }
                _ => 0.0,
            })
            .collect();
        self
    }
}

/// Compare two parts where both have values: the first is the bluer. Samples in `without` (nm) are left out.
pub fn compare(bluer: &Part, redder: &Part, grid: &Grid, without: &[[f64; 2]]) -> Option<Join> {
    let start = bluer.first.max(redder.first);
    let end = (bluer.first + bluer.len()).min(redder.first + redder.len());
    if start >= end {
        return None;
    }
    let centres = grid.centres();
    let (mut pairs, mut inflation) = (Vec::new(), Vec::new());
    for (bin, centre) in centres.iter().enumerate().take(end).skip(start) {
        let (Some(a), Some(b)) = (bluer.place(bin), redder.place(bin)) else { continue };
        let left_out = without.iter().any(|range| (range[0]..=range[1]).contains(centre));
        if left_out || bluer.weight[a] <= 0.0 || redder.weight[b] <= 0.0 {
            continue;
        }
        pairs.push(Pair {
            values: [bluer.flux[a], redder.flux[b]],
            variances: [bluer.covariance.variance(a), redder.covariance.variance(b)],
        });
        inflation.extend(bluer.covariance.inflation(a));
        inflation.extend(redder.covariance.inflation(b));
    }
    let found = agreement(&pairs, median_f64(&mut inflation).unwrap_or(1.0));
    Some(Join {
        names: [bluer.name.clone(), redder.name.clone()],
        range: [grid.edges()[start], grid.edges()[end]],
        ratio: found.map(|found| [found.ratio, found.error]),
        scatter: found.map(|found| found.scatter),
        applied: 1.0,
        contradictions: 0,
    })
}

/// Average parts on their grid. `joins` are what [`compare`] found; contradictions are counted in them.
pub fn average(parts: &[Part], grid: &Grid, unit: FluxUnit, mut joins: Vec<Join>) -> MergedSpectrum {
    let n = grid.len();
    let mut merged = MergedSpectrum {
        wavelength: grid.centres(),
        edges: grid.edges().to_vec(),
        unit,
        flux: vec![f64::NAN; n],
        error: vec![f64::NAN; n],
        systematic: vec![f64::NAN; n],
        quality: vec![flags::NO_DATA; n],
        sky: vec![f64::NAN; n],
        exposure: vec![0.0; n],
        covariance: BandedCovariance::zero(n),
        inflation: 1.0,
        joins: Vec::new(),
    };
    // share of each part in each of its bins
    let mut shares: Vec<Vec<f64>> = parts.iter().map(|part| vec![0.0; part.len()]).collect();
    for bin in 0..n {
        let here: Vec<(usize, usize)> =
            parts.iter().enumerate().filter_map(|(p, part)| Some((p, part.place(bin)?))).collect();
        let usable = here.iter().copied().filter(|(p, k)| parts[*p].weight[*k] > 0.0);
        let Some(best) = usable.clone().max_by(|a, b| parts[a.0].weight[a.1].total_cmp(&parts[b.0].weight[b.1])) else {
            let bits = here.iter().fold(0, |bits, (p, k)| bits | parts[*p].flags[*k]);
            merged.quality[bin] = if bits == 0 { flags::NO_DATA } else { bits };
            continue;
        };
        let (mut sum, mut flux, mut systematic, mut sky, mut exposure) = (0.0, 0.0, 0.0, 0.0, 0.0);
        let mut contradicted = 0;
        for (p, k) in usable {
            if (p, k) != best && contradicts(&parts[p], k, &parts[best.0], best.1) {
                contradicted = flags::CONTRADICTORY;
                let names = [&parts[p].name, &parts[best.0].name];
                let join = joins.iter_mut().find(|join| join.names.iter().all(|name| names.contains(&name)));
                if let Some(join) = join {
                    join.contradictions += 1;
                }
                continue;
            }
            let weight = parts[p].weight[k];
            shares[p][k] = weight;
            sum += weight;
            flux += weight * parts[p].flux[k];
            // calibrations of neighbouring orders come from one star: their errors do not average out
            systematic += weight * parts[p].systematic[k];
            sky += weight * parts[p].sky[k];
            exposure += weight * parts[p].exposure[k];
        }
        for (p, k) in &here {
            shares[*p][*k] /= sum;
        }
        merged.flux[bin] = flux / sum;
        merged.systematic[bin] = systematic / sum;
        merged.sky[bin] = sky / sum;
        merged.exposure[bin] = exposure / sum;
        merged.quality[bin] = contradicted;
    }
    for (part, shares) in parts.iter().zip(&shares) {
        merged.covariance.add_scaled(part.first, &part.covariance, shares);
    }
    for bin in (0..n).filter(|bin| merged.flux[*bin].is_finite()) {
        merged.error[bin] = merged.covariance.variance(bin).sqrt();
    }
    let mut inflation: Vec<f64> =
        (0..n).filter(|k| merged.quality[*k] == 0).filter_map(|k| merged.covariance.inflation(k)).collect();
    merged.inflation = median_f64(&mut inflation).unwrap_or(1.0);
    merged.joins = joins;
    merged
}

fn contradicts(part: &Part, k: usize, best: &Part, l: usize) -> bool {
    let (sigmas, fraction) = CONTRADICTION;
    let difference = (part.flux[k] - best.flux[l]).abs();
    let sigma = (part.covariance.variance(k) + best.covariance.variance(l)).sqrt();
    difference > sigmas * sigma && difference > fraction * best.flux[l].abs()
}

/// Orders to one spectrum on a logarithmic grid of `step` km/s; in the order of their wavelengths. `None` when no order has
/// a good sample.
pub fn merge_orders(orders: &[OrderDensity], step: f64, unit: FluxUnit) -> Option<MergedSpectrum> {
    let mut ranged: Vec<([f64; 2], &OrderDensity)> =
        orders.iter().filter_map(|order| Some((order.range()?, order))).collect();
    ranged.sort_by(|a, b| a.0[0].total_cmp(&b.0[0]));
    let first = ranged.first()?.0[0];
    let last = ranged.iter().map(|(range, _)| range[1]).fold(first, f64::max);
    let grid = Grid::logarithmic(step, [first, last]);
    let parts: Vec<Part> = ranged.iter().map(|(_, order)| Part::of_order(order, &grid)).collect();
    let joins = parts.windows(2).filter_map(|pair| compare(&pair[0], &pair[1], &grid, &[])).collect();
    Some(average(&parts, &grid, unit, joins))
}
