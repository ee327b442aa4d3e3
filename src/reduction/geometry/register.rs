//! Where is the pattern of lines today? A vote over shifts, turns and scales, before any line is measured.
//!
//! Every expected line is looked up in a picture of the frame's significance at every shift; bright lines and cosmic rays
//! count no more than a dozen sigmas. No peaks are matched, so that missing lines, lamps that are off and impostors only
//! lower the vote.

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use super::fit::Ties;
use super::map::{GeometryMap, OrderMap, SLIT_UNIT};
use crate::numerics::chebyshev;

/// A line that is expected to be seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expected {
    /// Order.
    pub order: u8,
    /// Wavelength, nm.
    pub wavelength: f64,
    /// Slit position, arcsec.
    pub slit: f64,
}

/// Where the pattern was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Registration {
    /// The guess, moved.
    pub map: GeometryMap,
    /// For each family of orders: what was found.
    pub votes: Vec<Vote>,
}

/// The result of a vote.
#[derive(Clone, Debug, PartialEq)]
pub struct Vote {
    /// Orders that were moved together.
    pub orders: Vec<u8>,
    /// Shift at the middle of the family, pixels.
    pub shift: [f64; 2],
    /// Height of the best vote.
    pub score: f64,
    /// Height of the best vote over the scatter of the votes far from it.
    pub significance: f64,
    /// Best vote over the highest vote that is not a neighbour of it.
    pub lead: f64,
}

/// Ceiling of a pixel's vote, sigmas.
const CEILING: f32 = 12.0;
/// Pieces along the dispersion whose votes are kept apart.
const PIECES: usize = 6;
/// Turns and scales that are tried, as shifts in pixels at the edge of the field.
const BENDS: [f64; 9] = [0.0, -1.0, 1.0, -2.0, 2.0, -3.0, 3.0, -4.0, 4.0];
/// Shifts closer than this belong to one peak, pixels.
const PEAK: f64 = 3.5;

/// The significance of point-like light in each pixel, capped, without smooth light.
pub fn significance(image: ArrayView2<f32>, floor: ArrayView2<f32>) -> Array2<f32> {
    let (rows, columns) = image.dim();
    let mut capped = Array2::<f32>::zeros((rows, columns));
    ndarray::Zip::from(&mut capped).and(&image).and(&floor).par_for_each(|out, value, floor| {
        let sigma = (floor + value.max(0.0)).sqrt();
        let ratio = value / sigma;
        // saturated light is light, though nobody knows how much
        let saturated = *value == f32::INFINITY;
        *out = if ratio.is_finite() { ratio.clamp(-3.0, CEILING) } else { f32::from(u8::from(saturated)) * CEILING };
    });
    let narrow = smooth(&capped, 0.9);
    let wide = smooth(&capped, 3.0);
    narrow - wide
}

/// Convolution with a Gaussian, separable; beyond the edges lies nothing.
fn smooth(image: &Array2<f32>, sigma: f64) -> Array2<f32> {
    let reach = (3.0 * sigma).ceil() as usize;
    let mut kernel: Vec<f32> =
        (0..=2 * reach).map(|i| (-0.5 * ((i as f64 - reach as f64) / sigma).powi(2)).exp() as f32).collect();
    let total: f32 = kernel.iter().sum();
    kernel.iter_mut().for_each(|k| *k /= total);
    let (rows, columns) = image.dim();
    let mut along = Array2::<f32>::zeros((rows, columns));
    let source = image.as_standard_layout();
    let (Some(from), Some(to)) = (source.as_slice(), along.as_slice_mut()) else { return along };
    to.par_chunks_mut(columns.max(1)).zip(from.par_chunks(columns.max(1))).for_each(|(to, from)| {
        for (offset, k) in kernel.iter().enumerate() {
            // to[c] += k from[c + offset - reach]
            let (a, b) = if offset >= reach { (0, offset - reach) } else { (reach - offset, 0) };
            let n = columns.saturating_sub(a.max(b));
            to[a..a + n].iter_mut().zip(&from[b..b + n]).for_each(|(to, from)| *to += k * from);
        }
    });
    let mut out = Array2::<f32>::zeros((rows, columns));
    let (Some(from), Some(to)) = (along.as_slice(), out.as_slice_mut()) else { return out };
    to.par_chunks_mut(columns.max(1)).enumerate().for_each(|(row, to)| {
        for (offset, k) in kernel.iter().enumerate() {
            let Some(source) = (row + offset).checked_sub(reach).filter(|r| *r < rows) else { continue };
            let from = &from[source * columns..(source + 1) * columns];
            to.iter_mut().zip(from).for_each(|(to, from)| *to += k * from);
        }
    });
    out
}

/// Move the guess to where the expected lines are seen, at most `reach` pixels in x and y.
pub fn register(
    significance: &Array2<f32>,
    guess: &GeometryMap,
    expected: &[Expected],
    ties: Ties,
    reach: usize,
) -> Registration {
    let families: Vec<Vec<u8>> = match ties {
        Ties::Independent => guess.orders.iter().map(|map| vec![map.order]).collect(),
        Ties::Echelle => vec![guess.orders.iter().map(|map| map.order).collect()],
    };
    let moved: Vec<(Vec<OrderMap>, Vote)> = families
        .par_iter()
        .map(|orders| {
            let maps: Vec<&OrderMap> = guess.orders.iter().filter(|map| orders.contains(&map.order)).collect();
            vote(significance, &maps, expected, reach)
        })
        .collect();
    let (mut orders, mut votes) = (Vec::new(), Vec::new());
    for (maps, vote) in moved {
        orders.extend(maps);
        votes.push(vote);
    }
    Registration { map: GeometryMap { orders }, votes }
}

/// Votes of the lines of one piece of an order, over shifts.
struct Piece {
    /// Place in the field, -1..1 in both axes.
    at: [f64; 2],
    votes: Vec<f32>,
}

fn vote(significance: &Array2<f32>, maps: &[&OrderMap], expected: &[Expected], reach: usize) -> (Vec<OrderMap>, Vote) {
    let (rows, columns) = significance.dim();
    let bend = BENDS.iter().copied().fold(0.0, f64::max) as usize;
    // turns and scales add to the shift at the edges of the field
    let radius = reach + 2 * bend;
    let width = 2 * radius + 1;
    let centre = [0.5 * (columns as f64 - 1.0), 0.5 * (rows as f64 - 1.0)];
    let half = [0.5 * columns as f64, 0.5 * rows as f64];
    let pieces: Vec<Piece> = maps
        .par_iter()
        .flat_map_iter(|map| {
            let [first, last] = map.limits;
            (0..PIECES).filter_map(move |piece| {
                let span = (last - first) / PIECES as f64;
                let (a, b) = (first + span * piece as f64, first + span * (piece + 1) as f64);
                let mut votes = vec![0.0f32; width * width];
                let (mut count, mut at) = (0.0, [0.0; 2]);
                let lines = expected.iter().filter(|e| e.order == map.order && (a..b).contains(&e.wavelength));
                for line in lines {
                    let (x, y) = map.at(line.wavelength, line.slit);
                    let (c0, r0) = (x.round() as isize - radius as isize, y.round() as isize - radius as isize);
                    for r in 0..width {
                        let row = r0 + r as isize;
                        if row < 0 || row as usize >= rows {
                            continue;
                        }
                        for c in 0..width {
                            let column = c0 + c as isize;
                            if column >= 0 && (column as usize) < columns {
                                votes[r * width + c] += significance[(row as usize, column as usize)];
                            }
                        }
                    }
                    count += 1.0;
                    at = [at[0] + (x - centre[0]) / half[0], at[1] + (y - centre[1]) / half[1]];
                }
                (count > 0.0).then(|| Piece { at: at.map(|sum| sum / count), votes })
            })
        })
        .collect();
    let range = reach as isize;
    let total = |dx: f64, dy: f64, turn: f64, scale: f64| -> f32 {
        pieces
            .iter()
            .map(|piece| {
                let [u, v] = piece.at;
                let (x, y) = (dx + scale * u - turn * v, dy + scale * v + turn * u);
                let (c, r) = (x.round() as isize + radius as isize, y.round() as isize + radius as isize);
                if c < 0 || r < 0 || c as usize >= width || r as usize >= width {
                    return 0.0;
                }
                piece.votes[r as usize * width + c as usize]
            })
            .sum()
    };
    let bends: Vec<(f64, f64)> = BENDS.iter().flat_map(|turn| BENDS.iter().map(|scale| (*turn, *scale))).collect();
    // the first of equals wins, so that no turn is preferred to a small one
    let best = bends
        .par_iter()
        .enumerate()
        .map(|(k, (turn, scale))| {
            let mut best = (f32::NEG_INFINITY, k, 0.0, 0.0);
            for dy in -range..=range {
                for dx in -range..=range {
                    let score = total(dx as f64, dy as f64, *turn, *scale);
                    if score > best.0 {
                        best = (score, k, dx as f64, dy as f64);
                    }
                }
            }
            best
        })
        .reduce(
            || (f32::NEG_INFINITY, usize::MAX, 0.0, 0.0),
            |a, b| if b.0 > a.0 || (b.0 == a.0 && b.1 < a.1) { b } else { a },
        );
    let (score, k, dx, dy) = best;
    let (turn, scale) = bends.get(k).copied().unwrap_or_default();
    let (mut sum, mut squares, mut n, mut second) = (0.0f64, 0.0f64, 0.0f64, f32::NEG_INFINITY);
    for y in -range..=range {
        for x in -range..=range {
            if (x as f64 - dx).hypot(y as f64 - dy) > PEAK {
                let other = total(x as f64, y as f64, turn, scale);
                second = second.max(other);
                sum += f64::from(other);
                squares += f64::from(other).powi(2);
                n += 1.0;
            }
        }
    }
    let mean = sum / n.max(1.0);
    let scatter = (squares / n.max(1.0) - mean * mean).max(1e-12).sqrt();
    let plane = |shift: f64, by_x: f64, by_y: f64| {
        let (a, b) = (by_x / half[0], by_y / half[1]);
        [shift - a * centre[0] - b * centre[1], a, b]
    };
    let moved = maps.iter().map(|map| map.moved(plane(dx, scale, -turn), plane(dy, turn, scale))).collect();
    let vote = Vote {
        orders: maps.iter().map(|map| map.order).collect(),
        shift: [dx, dy],
        score: f64::from(score),
        significance: (f64::from(score) - mean) / scatter,
        lead: f64::from(score) / f64::from(second.max(1e-3)),
    };
    (moved, vote)
}

/// Bring the map to the nearest peaks: a low-degree correction, robust, in a few rounds with a shrinking search.
pub fn refine(
    significance: &Array2<f32>,
    map: &GeometryMap,
    expected: &[Expected],
    ties: Ties,
    rounds: &[(f64, usize)],
) -> GeometryMap {
    let mut map = map.clone();
    for (search, degree) in rounds {
        let offsets: Vec<(Expected, [f64; 2])> = expected
            .par_iter()
            .filter_map(|line| {
                let (x, y) = map.at(line.order, line.wavelength, line.slit)?;
                peak(significance, x, y, *search).map(|offset| (*line, offset))
            })
            .collect();
        map = correct(&map, &offsets, ties, *degree, 0.5 * search);
    }
    map
}

/// Least significance of a peak that may draw the map.
const PEAK_SIGMA: f32 = 3.0;

/// Offset of the highest peak within `search` pixels.
fn peak(significance: &Array2<f32>, x: f64, y: f64, search: f64) -> Option<[f64; 2]> {
    let (rows, columns) = significance.dim();
    let mut best = (PEAK_SIGMA, 0usize, 0usize);
    let low = |v: f64| (v - search).ceil().max(1.0) as usize;
    let high = |v: f64, n: usize| ((v + search).floor().max(0.0) as usize + 1).min(n.saturating_sub(1));
    for r in low(y)..high(y, rows) {
        for c in low(x)..high(x, columns) {
            let value = significance[(r, c)];
            if value > best.0 && (c as f64 - x).hypot(r as f64 - y) <= search {
                best = (value, r, c);
            }
        }
    }
    let (value, r, c) = best;
    if r == 0 || c == 0 {
        return None;
    }
    let vertex = |before: f32, after: f32| {
        let bend = 2.0 * value - before - after;
        if bend > 0.0 { f64::from(((after - before) / (2.0 * bend)).clamp(-0.5, 0.5)) } else { 0.0 }
    };
    let dx = vertex(significance[(r, c - 1)], significance[(r, c + 1)]);
    let dy = vertex(significance[(r - 1, c)], significance[(r + 1, c)]);
    Some([c as f64 + dx - x, r as f64 + dy - y])
}

/// Fit a low-degree polynomial correction to offsets by iteratively weighted least squares (bisquare) and add it.
fn correct(map: &GeometryMap, offsets: &[(Expected, [f64; 2])], ties: Ties, degree: usize, width: f64) -> GeometryMap {
    let mut map = map.clone();
    let families: Vec<Vec<u8>> = match ties {
        Ties::Independent => map.orders.iter().map(|order| vec![order.order]).collect(),
        Ties::Echelle => vec![map.orders.iter().map(|order| order.order).collect()],
    };
    for family in families {
        let (first, last) = family.iter().fold((u8::MAX, 0), |(a, b), order| (a.min(*order), b.max(*order)));
        let number = |order: u8| {
            let (a, b) = (f64::from(first), f64::from(last));
            if a == b { 0.0 } else { (2.0 * f64::from(order) - a - b) / (b - a) }
        };
        let slits = offsets.iter().map(|(line, _)| line.slit);
        let (low, high) = slits.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), slit| (a.min(slit), b.max(slit)));
        // terms (order number, wavelength, slit) up to a total degree
        let numbers = if family.len() > 1 { degree } else { 0 };
        let slit = usize::from(high > low);
        let mut terms = Vec::new();
        for i in 0..=numbers {
            for j in 0..=degree - i {
                terms.push((i, j, 0));
                if slit == 1 && i + j < degree {
                    terms.push((i, j, 1));
                }
            }
        }
        let rows: Vec<(Vec<f64>, [f64; 2])> = offsets
            .iter()
            .filter_map(|(line, offset)| {
                let order = map.order(line.order).filter(|order| family.contains(&order.order))?;
                let argument =
                    (2.0 * line.wavelength - order.domain[0] - order.domain[1]) / (order.domain[1] - order.domain[0]);
                let (mut n, mut w) = ([0.0; 4], [0.0; 4]);
                chebyshev::values(number(line.order), &mut n);
                chebyshev::values(argument, &mut w);
                let row = terms
                    .iter()
                    .map(|(i, j, k)| n[*i] * w[*j] * if *k == 1 { line.slit / SLIT_UNIT } else { 1.0 })
                    .collect();
                Some((row, *offset))
            })
            .collect();
        let mut coefficients = [vec![0.0; terms.len()], vec![0.0; terms.len()]];
        for round in 0..8 {
            // the bisquare's reach shrinks from the whole search to a narrow core
            let reach = width * (2.0f64 - f64::from(round) * 0.2).max(0.8);
            let mut sums = [
                crate::numerics::least_squares::NormalSums::new(terms.len()),
                crate::numerics::least_squares::NormalSums::new(terms.len()),
            ];
            for (row, offset) in &rows {
                let miss = |a: usize| offset[a] - row.iter().zip(&coefficients[a]).map(|(r, c)| r * c).sum::<f64>();
                let q = miss(0).hypot(miss(1)) / reach;
                if q >= 1.0 {
                    continue;
                }
                let weight = 1.0 - q * q;
                let scaled: Vec<f64> = row.iter().map(|r| r * weight).collect();
                sums.iter_mut().zip(offset).for_each(|(sums, offset)| sums.add(&scaled, offset * weight));
            }
            let fitted = sums.map(|sums| sums.solve().map(|fitted| fitted.coefficients));
            let [Some(x), Some(y)] = fitted else { break };
            coefficients = [x, y];
        }
        for order in map.orders.iter_mut().filter(|order| family.contains(&order.order)) {
            let mut n = [0.0; 4];
            chebyshev::values(number(order.order), &mut n);
            for ((i, j, k), (cx, cy)) in terms.iter().zip(coefficients[0].iter().zip(&coefficients[1])) {
                if *j < order.size.0 && *k < order.size.1 {
                    order.x[j * order.size.1 + k] += n[*i] * cx;
                    order.y[j * order.size.1 + k] += n[*i] * cy;
                }
            }
        }
    }
    map
}
