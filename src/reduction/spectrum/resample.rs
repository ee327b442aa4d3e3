//! Resampling by exact overlap of bins: conserves flux, and its covariance is known.
//!
//! A bin of the new grid has the average density of the samples that it covers, each weighted by the part of it that lies
//! in the bin: `F_k = sum_i o_ki f_i / sum_i o_ki`, and the covariance is `W V W^T` with these weights. Samples that are
//! not good are left out of both sums.

use super::covariance::BandedCovariance;

/// Speed of light, km/s.
pub const LIGHT: f64 = 299_792.458;
/// Least part of a bin that good samples must cover for a value.
const LEAST_COVERED: f64 = 0.5;

/// An increasing grid of adjoining bins.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    edges: Vec<f64>,
}

impl Grid {
    /// Bins of constant width in velocity (km/s), so that a bin is a constant fraction of its wavelength, from the last
    /// edge below `from` to the first above `to` (nm). Edges are powers of the step counted from 1 nm: grids of one
    /// step fit together whatever their range. Empty when the range is.
    pub fn logarithmic(step: f64, [from, to]: [f64; 2]) -> Grid {
        let step = step / LIGHT;
        let usable = step > 0.0 && from > 0.0 && to > from && to.is_finite();
        if !usable {
            return Grid { edges: Vec::new() };
        }
        let (first, last) = ((from.ln() / step).floor() as i64, (to.ln() / step).ceil() as i64);
        Grid { edges: (first..=last).map(|k| (k as f64 * step).exp()).collect() }
    }

    /// A grid of these edges; `None` unless they increase.
    pub fn from_edges(edges: Vec<f64>) -> Option<Grid> {
        edges.is_sorted_by(|a, b| a < b).then_some(Grid { edges })
    }

    /// Number of bins.
    pub fn len(&self) -> usize {
        self.edges.len().saturating_sub(1)
    }

    /// Whether there is no bin.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Edges of the bins, one more than bins, nm.
    pub fn edges(&self) -> &[f64] {
        &self.edges
    }

    /// Middles of the bins, nm.
    pub fn centres(&self) -> Vec<f64> {
        self.edges.windows(2).map(|pair| 0.5 * (pair[0] + pair[1])).collect()
    }

    /// Bin that this wavelength lies in.
    pub fn bin(&self, wavelength: f64) -> Option<usize> {
        let above = self.edges.partition_point(|edge| *edge <= wavelength);
        above.checked_sub(1).filter(|bin| *bin < self.len())
    }

    /// Bins that this range of wavelengths touches.
    pub fn bins(&self, [from, to]: [f64; 2]) -> std::ops::Range<usize> {
        let first = self.edges.partition_point(|edge| *edge <= from).saturating_sub(1);
        let end = self.edges.partition_point(|edge| *edge < to).min(self.len());
        first.min(end)..end
    }
}

/// Where each sample begins and ends: half way to its neighbours, and half its width where none adjoins.
pub fn intervals(wavelength: &[f64], width: &[f64]) -> Vec<[f64; 2]> {
    let adjoins =
        |near: usize, far: usize| (wavelength[far] - wavelength[near]).abs() < 0.75 * (width[near] + width[far]);
    (0..wavelength.len().min(width.len()))
        .map(|i| {
            let before = i.checked_sub(1).filter(|before| adjoins(i, *before));
            let after = Some(i + 1).filter(|after| *after < wavelength.len().min(width.len()) && adjoins(i, *after));
            let half = 0.5 * width[i];
            [
                before.map_or(wavelength[i] - half, |before| 0.5 * (wavelength[before] + wavelength[i])),
                after.map_or(wavelength[i] + half, |after| 0.5 * (wavelength[i] + wavelength[after])),
            ]
        })
        .collect()
}

/// The samples that a bin is made of.
#[derive(Clone, Debug, Default, PartialEq)]
struct Row {
    /// First sample.
    first: usize,
    /// Weights of it and those that follow; they add up to one. Empty when the bin has no value.
    weights: Vec<f64>,
}

/// How the samples of one spectrum make the bins of a grid.
#[derive(Clone, Debug, PartialEq)]
pub struct Resampling {
    /// First bin of the grid.
    first: usize,
    rows: Vec<Row>,
    /// Samples that touch a bin, good or not.
    touched: Vec<std::ops::Range<usize>>,
}

impl Resampling {
    /// Of samples with these ends, of which only the `good` ones are used, onto the grid. Ends must increase.
    pub fn new(samples: &[[f64; 2]], good: &[bool], grid: &Grid) -> Resampling {
        let range = match (samples.first(), samples.last()) {
            (Some(first), Some(last)) => grid.bins([first[0], last[1]]),
            _ => 0..0,
        };
        let (mut rows, mut touched) = (Vec::with_capacity(range.len()), Vec::with_capacity(range.len()));
        let edges = grid.edges().get(range.start..range.end + 1).unwrap_or_default();
        for pair in edges.windows(2) {
            let (low, high) = (pair[0], pair[1]);
            let start = samples.partition_point(|sample| sample[1] <= low);
            let end = samples.partition_point(|sample| sample[0] < high).max(start);
            let mut weights: Vec<f64> = (start..end)
                .map(|i| {
                    let overlap = samples[i][1].min(high) - samples[i][0].max(low);
                    if good.get(i) == Some(&true) { overlap.max(0.0) } else { 0.0 }
                })
                .collect();
            let sum: f64 = weights.iter().sum();
            if sum >= LEAST_COVERED * (high - low) {
                weights.iter_mut().for_each(|weight| *weight /= sum);
            } else {
                weights.clear();
            }
            rows.push(Row { first: start, weights });
            touched.push(start..end);
        }
        Resampling { first: range.start, rows, touched }
    }

    /// Bins of the grid that were made.
    pub fn bins(&self) -> std::ops::Range<usize> {
        self.first..self.first + self.rows.len()
    }

    /// Values of the bins from those of the samples; NaN where good samples do not cover the bin.
    pub fn values(&self, samples: &[f64]) -> Vec<f64> {
        let value = |row: &Row| -> f64 {
            if row.weights.is_empty() {
                return f64::NAN;
            }
            let pairs = row.weights.iter().zip(samples.iter().skip(row.first));
            pairs.filter(|(weight, _)| **weight > 0.0).map(|(weight, value)| weight * value).sum()
        };
        self.rows.iter().map(value).collect()
    }

    /// Covariance of the bins from the variances of the samples, which are independent.
    pub fn covariance(&self, variances: &[f64]) -> BandedCovariance {
        let mut covariance = BandedCovariance::zero(self.rows.len());
        for (k, row) in self.rows.iter().enumerate() {
            for (distance, other) in self.rows[k..].iter().enumerate() {
                if other.first >= row.first + row.weights.len() {
                    break;
                }
                let offset = other.first - row.first;
                let pairs = row.weights.iter().skip(offset).zip(&other.weights);
                let shared = pairs.zip(variances.iter().skip(other.first)).map(|((a, b), v)| {
                    let product = a * b;
                    if product > 0.0 { product * v } else { 0.0 }
                });
                covariance.add(k, distance, shared.sum());
            }
        }
        covariance
    }

    /// Covariance of the bins from that of the samples, where these are not independent.
    pub fn propagated(&self, samples: &BandedCovariance) -> BandedCovariance {
        let mut covariance = BandedCovariance::zero(self.rows.len());
        let reach = samples.diagonals().len();
        for (k, row) in self.rows.iter().enumerate() {
            for (distance, other) in self.rows[k..].iter().enumerate() {
                if other.first >= row.first + row.weights.len() + reach {
                    break;
                }
                let mut sum = 0.0;
                for (i, a) in row.weights.iter().enumerate().filter(|(_, a)| **a > 0.0) {
                    for (j, b) in other.weights.iter().enumerate().filter(|(_, b)| **b > 0.0) {
                        sum += a * b * samples.get(row.first + i, other.first + j);
                    }
                }
                if sum != 0.0 {
                    covariance.add(k, distance, sum);
                }
            }
        }
        covariance
    }

    /// Quality of the bins: zero where there is a value, else the bits of all samples that touch the bin, and
    /// `without` where that gives none.
    pub fn flags(&self, samples: &[i32], without: i32) -> Vec<i32> {
        let bits = |(row, touched): (&Row, &std::ops::Range<usize>)| -> i32 {
            if !row.weights.is_empty() {
                return 0;
            }
            let all = samples.get(touched.clone()).unwrap_or_default().iter().fold(0, |all, bits| all | bits);
            if all == 0 { without } else { all }
        };
        self.rows.iter().zip(&self.touched).map(bits).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_distr::{Distribution, StandardNormal};

    fn samples(n: usize, start: f64, step: impl Fn(f64) -> f64) -> (Vec<f64>, Vec<f64>) {
        let (mut wavelength, mut width, mut edge) = (Vec::new(), Vec::new(), start);
        for _ in 0..n {
            let w = step(edge);
            wavelength.push(edge + 0.5 * w);
            width.push(w);
            edge += w;
        }
        (wavelength, width)
    }

    #[test]
    fn grids_of_one_step_fit_together() {
        let (long, short) = (Grid::logarithmic(18.0, [350.0, 850.0]), Grid::logarithmic(18.0, [520.0, 530.0]));
        let place = long.edges().iter().position(|edge| *edge == short.edges()[0]).unwrap();
        assert_eq!(&long.edges()[place..place + short.len() + 1], short.edges());
        let ratio = LIGHT * (long.edges()[100] / long.edges()[99]).ln();
        assert!((ratio - 18.0).abs() < 1e-6);
        assert_eq!(long.bins([long.edges()[10], long.edges()[12]]), 10..12);
        assert!(Grid::logarithmic(0.0, [1.0, 2.0]).is_empty() && Grid::logarithmic(18.0, [2.0, 1.0]).is_empty());
    }

    #[test]
    fn integrals_are_conserved() {
        let (wavelength, width) = samples(2000, 500.0, |w| 0.03 + 1e-5 * (w - 500.0));
        let density: Vec<f64> =
            wavelength.iter().map(|w| 5.0 + (w * 0.9).sin() + 30.0 * (-(w - 530.0f64).powi(2)).exp()).collect();
        let grid = Grid::logarithmic(18.0, [501.0, 560.0]);
        let made = Resampling::new(&intervals(&wavelength, &width), &vec![true; 2000], &grid);
        let values = made.values(&density);
        let edges = &grid.edges()[made.bins().start..];
        // over any 10 nm, against the integral of the samples between the same edges
        for start in [50usize, 300, 700] {
            let end = start + 320;
            let new: f64 = (start..end).map(|k| values[k] * (edges[k + 1] - edges[k])).sum();
            let old: f64 = intervals(&wavelength, &width)
                .iter()
                .zip(&density)
                .map(|(ends, f)| f * (ends[1].min(edges[end]) - ends[0].max(edges[start])).max(0.0))
                .sum();
            assert!((new / old - 1.0).abs() < 1e-12, "{new} {old}");
        }
    }

    #[test]
    fn errors_have_unit_width_alone_and_in_sums() {
        let (wavelength, width) = samples(1500, 700.0, |_| 0.047);
        let sigma: Vec<f64> = (0..1500).map(|i| 1.0 + 0.5 * (f64::from(i) * 0.01).sin()).collect();
        let grid = Grid::logarithmic(18.0, [705.0, 760.0]);
        let made = Resampling::new(&intervals(&wavelength, &width), &vec![true; 1500], &grid);
        let covariance = made.covariance(&sigma.iter().map(|s| s * s).collect::<Vec<_>>());
        let mut rng = rand_pcg::Pcg64Mcg::seed_from_u64(8);
        let (mut single, mut count, mut blocks, mut naive, mut n) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for _ in 0..20 {
            let noise: Vec<f64> =
                sigma.iter().map(|s| s * Distribution::<f64>::sample(&StandardNormal, &mut rng)).collect();
            let values = made.values(&noise);
            let inner = 5..values.len() - 5;
            for k in inner.clone() {
                single += values[k] * values[k] / covariance.variance(k);
                count += 1.0;
            }
            for start in inner.step_by(50).filter(|start| start + 50 < values.len()) {
                let mut factors = vec![0.0; values.len()];
                factors[start..start + 50].fill(1.0);
                let sum: f64 = values[start..start + 50].iter().sum();
                blocks += sum * sum / covariance.variance_of_sum(&factors);
                let diagonal: f64 = (start..start + 50).map(|k| covariance.variance(k)).sum();
                naive += sum * sum / (diagonal * covariance.inflation(start + 25).unwrap().powi(2));
                n += 1.0;
            }
        }
        assert!(((single / count).sqrt() - 1.0f64).abs() < 0.02, "{}", single / count);
        assert!(((blocks / n).sqrt() - 1.0f64).abs() < 0.1, "{}", blocks / n);
        assert!(((naive / n).sqrt() - 1.0f64).abs() < 0.12, "{}", naive / n);
    }

    #[test]
    fn bad_samples_leave_no_trace() {
        let (wavelength, width) = samples(40, 600.0, |_| 0.04);
        let mut values = vec![2.0; 40];
        let (mut good, mut flags) = (vec![true; 40], vec![0; 40]);
        values[20] = f64::NAN;
        (good[20], flags[20]) = (false, 16);
        (10..14).for_each(|i| (good[i], flags[i]) = (false, 4));
        let grid = Grid::logarithmic(18.0, [600.1, 601.5]);
        let made = Resampling::new(&intervals(&wavelength, &width), &good, &grid);
        let (found, bits) = (made.values(&values), made.flags(&flags, 64));
        assert!(found.iter().zip(&bits).all(|(f, b)| if *b == 0 { (*f - 2.0).abs() < 1e-12 } else { f.is_nan() }));
        assert!(bits.iter().filter(|b| **b & 4 != 0).count() >= 3, "{bits:?}");
        assert!(made.covariance(&[1.0; 40]).diagonals()[0].iter().all(|v| v.is_finite()));
    }

    #[test]
    fn a_gap_in_the_samples_is_a_gap() {
        let ends = intervals(&[1.0, 1.1, 1.5, 1.6], &[0.1; 4]);
        assert!((ends[1][1] - 1.15).abs() < 1e-12 && (ends[2][0] - 1.45).abs() < 1e-12);
        assert!((ends[0][1] - ends[1][0]).abs() < 1e-12);
    }
}
