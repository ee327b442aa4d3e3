//! How far the orders lie from where they are expected, before anything is fitted.
//!
//! Every block of every order gives the profile of its light against the distance from the expected centre, in units of
//! its noise. The sum of these profiles has its peak at the common offset; single orders are then followed block by
//! block around it. The match is proven: every order must be seen where the others are, and a mirror image must not fit
//! better.

use rayon::prelude::*;

use super::image::Light;
use super::{OrderGuess, OrdersError};
use crate::numerics::curve::{self, Curve, Point};
use crate::numerics::robust::median;

/// Limits of the search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SearchLimits {
    /// Largest common offset, unbinned pixels.
    pub radius: f64,
    /// Significance from which a block counts as lit, sigmas.
    pub significance: f64,
    /// Fraction of an order's blocks that must be lit for it to be found.
    pub least_lit: f64,
    /// Largest offset of an order against the common one, unbinned pixels.
    pub spread: f64,
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Common offset across the orders, unbinned pixels.
    pub offset: f64,
    /// Per order: its place, the guess moved by what was seen of it.
    pub places: Vec<OrderGuess>,
    /// Fraction of the blocks expected to be lit that are.
    pub lit: f64,
}

/// Rows of a block.
const BLOCK: usize = 32;
/// A block's profile counts with at most this many sigmas, so that no order decides alone.
const MOST: f32 = 20.0;
/// An order may deviate from the common offset by this along its length, pixels.
const FOLLOW: f64 = 5.0;

/// The profile of one block in sigmas, at whole columns from the expected centre.
struct BlockProfile {
    b: f64,
    sigmas: Vec<f32>,
}

/// Find the orders.
pub fn find(light: &Light, guesses: &[OrderGuess], limits: &SearchLimits) -> Result<Found, OrdersError> {
    let (rows, columns) = light.shape();
    if guesses.is_empty() || rows < 4 * BLOCK || columns < 16 {
        return Err(OrdersError::Input(format!("{} orders expected on {rows} x {columns} pixels", guesses.len())));
    }
    let bin = light.binning[1] as f64;
    let reach = (limits.radius / bin).ceil() as i64;
    let profiles = profiles(light, guesses, reach + 4, [false, false]);
    let (best, score) = vote(&profiles, reach + 4);
    let blocks: usize = profiles.iter().map(Vec::len).sum();
    // an unlit block scatters by one sigma about its own median; the best of the offsets tried is a few sigmas of the mean
    let found = score * (blocks.max(1) as f64).sqrt();
    let dark = OrdersError::Dark { radius: limits.radius, found, least: 10.0 };
    if !found.is_finite() || found < 10.0 {
        return Err(dark);
    }
    let lit = lit_fraction(&profiles, reach + 4, best, limits.significance);
    if lit < 0.75 {
        for (axis, mirror) in [("along the dispersion", [true, false]), ("across the orders", [false, true])] {
            let turned = self::profiles(light, guesses, reach + 4, mirror);
            let (at, _) = vote(&turned, reach + 4);
            let mirrored = lit_fraction(&turned, reach + 4, at, limits.significance);
            if mirrored > lit + 0.1 {
                return Err(OrdersError::Parity { found: 100.0 * lit, axis, mirrored: 100.0 * mirrored });
            }
        }
    }
    let offset = best as f64 * bin;
    let mut places = Vec::with_capacity(guesses.len());
    let mut missing = Vec::new();
    let mut seen = 0;
    for (guess, blocks) in guesses.iter().zip(&profiles) {
        let points = follow(blocks, reach + 4, best, limits.significance, bin);
        seen += points.len();
        let few = (points.len() as f64) < limits.least_lit * blocks.len() as f64 || points.len() < 4;
        // constant and slope; the curvature of the published centre stands
        let moved = curve::fit(&points, guess.centre.domain, 1, &[], 0.3, 4.0);
        let (false, Some(moved)) = (few, moved) else {
            missing.push(guess.order.to_string());
            continue;
        };
        places.push((guess, moved.curve));
    }
    if !missing.is_empty() {
        return Err(if places.is_empty() {
            dark
        } else {
            OrdersError::Missing { missing: missing.join(", "), offset }
        });
    }
    for (guess, moved) in &places {
        let middle = 0.5 * (guess.lit[0] + guess.lit[1]);
        let own = moved.at(middle) - offset;
        if own.abs() > limits.spread {
            return Err(OrdersError::Displaced { order: guess.order, offset: own, limit: limits.spread });
        }
    }
    let places: Vec<OrderGuess> = places.into_iter().map(|(guess, moved)| shifted(guess, &moved)).collect();
    let middle = |place: &OrderGuess, guess: &OrderGuess| {
        let b = 0.5 * (guess.lit[0] + guess.lit[1]);
        place.centre.at(b) - guess.centre.at(b)
    };
    let offset = places.iter().zip(guesses).map(|(p, g)| middle(p, g)).sum::<f64>() / places.len() as f64;
    Ok(Found { offset, places, lit: seen as f64 / blocks.max(1) as f64 })
}

/// A guess moved by a curve over the same interval.
fn shifted(guess: &OrderGuess, by: &Curve) -> OrderGuess {
    let mut centre = guess.centre.clone();
    for (k, more) in by.coefficients.iter().enumerate() {
        match centre.coefficients.get_mut(k) {
            Some(coefficient) => *coefficient += more,
            None => centre.coefficients.push(*more),
        }
    }
    OrderGuess { centre, ..guess.clone() }
}

fn profiles(light: &Light, guesses: &[OrderGuess], reach: i64, mirror: [bool; 2]) -> Vec<Vec<BlockProfile>> {
    guesses.par_iter().map(|guess| profiles_of(light, guess, reach, mirror)).collect()
}

fn profiles_of(light: &Light, guess: &OrderGuess, reach: i64, mirror: [bool; 2]) -> Vec<BlockProfile> {
    let (rows, columns) = light.shape();
    let clamp = |b: f64| light.row_of(b).clamp(0.0, (rows - 1) as f64) as usize;
    let (first, last) = (clamp(guess.lit[0]), clamp(guess.lit[1]));
    let width = (2 * reach + 1) as usize;
    let mut out = Vec::new();
    let mut cells: Vec<Vec<f32>> = vec![Vec::with_capacity(BLOCK); width];
    let mut start = first;
    while start + BLOCK <= last + 1 {
        cells.iter_mut().for_each(Vec::clear);
        for row in start..start + BLOCK {
            let centre = light.column_of(guess.centre.at(light.b_of(row as f64)));
            let centre = centre.round() as i64;
            let source = light.value.row(if mirror[0] { rows - 1 - row } else { row });
            for (k, cell) in cells.iter_mut().enumerate() {
                let column = centre + k as i64 - reach;
                if (0..columns as i64).contains(&column) {
                    let column = if mirror[1] { columns - 1 - column as usize } else { column as usize };
                    let value = source[column];
                    if value.is_finite() {
                        cell.push(value);
                    }
                }
            }
        }
        // medians along the block, because cosmic rays are there too
        let mut profile: Vec<f32> = cells
            .iter_mut()
            .map(|cell| if cell.len() < BLOCK / 4 { f32::NAN } else { median(cell).map_or(f32::NAN, |m| m as f32) })
            .collect();
        let mut valid: Vec<f32> = profile.iter().copied().filter(|value| value.is_finite()).collect();
        let level = if valid.len() * 2 > width { median(&mut valid) } else { None };
        if let Some(level) = level {
            let noise = (std::f64::consts::FRAC_PI_2 * light.variance(level) / BLOCK as f64).sqrt();
            for value in &mut profile {
                *value = ((f64::from(*value) - level) / noise) as f32;
            }
            out.push(BlockProfile { b: light.b_of(start as f64 + 0.5 * (BLOCK - 1) as f64), sigmas: profile });
        }
        start += BLOCK;
    }
    out
}

/// The offset in columns with most light over all blocks, and its mean significance.
fn vote(profiles: &[Vec<BlockProfile>], reach: i64) -> (i64, f64) {
    let width = (2 * reach + 1) as usize;
    let mut sums = vec![(0.0f64, 0usize); width];
    for block in profiles.iter().flatten() {
        for (sum, value) in sums.iter_mut().zip(&block.sigmas) {
            if value.is_finite() {
                sum.0 += f64::from(value.clamp(-MOST, MOST));
                sum.1 += 1;
            }
        }
    }
    let means: Vec<f64> = sums.iter().map(|(sum, n)| if *n > 0 { sum / *n as f64 } else { 0.0 }).collect();
    // three columns together: the light of a pinhole is about two wide
    let best = (2..width.saturating_sub(2))
        .map(|k| (k, means[k - 1] + means[k] + means[k + 1]))
        .fold((0usize, f64::NEG_INFINITY), |best, now| if now.1 > best.1 { now } else { best });
    let peak = best.0.saturating_sub(1)..(best.0 + 2).min(width);
    (best.0 as i64 - reach, peak.map(|k| means[k]).fold(f64::NEG_INFINITY, f64::max))
}

fn lit_fraction(profiles: &[Vec<BlockProfile>], reach: i64, at: i64, significance: f64) -> f64 {
    let blocks: usize = profiles.iter().map(Vec::len).sum();
    let lit: usize = profiles.iter().map(|blocks| follow(blocks, reach, at, significance, 1.0).len()).sum();
    lit as f64 / blocks.max(1) as f64
}

/// Offset of the brightest place near the common offset, for every block that is lit there; in unbinned pixels.
fn follow(blocks: &[BlockProfile], reach: i64, at: i64, significance: f64, bin: f64) -> Vec<Point> {
    let near = (FOLLOW / bin).ceil() as i64;
    let mut points = Vec::new();
    for block in blocks {
        let value = |k: i64| -> f64 {
            usize::try_from(k)
                .ok()
                .and_then(|k| block.sigmas.get(k))
                .map_or(f64::NEG_INFINITY, |v| if v.is_finite() { f64::from(*v) } else { f64::NEG_INFINITY })
        };
        let centre = at + reach;
        let best = (centre - near..=centre + near)
            .map(|k| (k, value(k)))
            .fold((centre, f64::NEG_INFINITY), |best, now| if now.1 > best.1 { now } else { best });
        if best.1 < significance {
            continue;
        }
        // centre of gravity of three columns is good to a third of a pixel, which is all that is asked
        let (mut sum, mut weight) = (0.0, 0.0);
        for k in best.0 - 1..=best.0 + 1 {
            let w = value(k).max(0.0);
            sum += w * k as f64;
            weight += w;
        }
        if weight > 0.0 {
            points.push(Point { x: block.b, y: (sum / weight - reach as f64) * bin, sigma: 0.3 * bin });
        }
    }
    points
}

#[cfg(test)]
mod tests {
    use super::super::synthetic;
    use super::*;

    const LIMITS: SearchLimits = SearchLimits { radius: 12.0, significance: 5.0, least_lit: 0.3, spread: 4.0 };

    #[test]
    fn shifts_in_both_axes_are_found() {
        for shift in [[0.0, 0.0], [6.0, -6.0], [-6.0, 6.0], [9.7, 3.0]] {
            let scene = synthetic::Scene { shift, ..synthetic::Scene::pinhole() };
            let found = find(&scene.light(3), &scene.guesses(), &LIMITS).unwrap();
            for place in &found.places {
                for b in [20.0, 250.0, 480.0] {
                    let error = place.centre.at(b) - scene.centre(place.order, b);
                    assert!(error.abs() < 1.0, "{shift:?} order {} at {b}: {error}", place.order);
                }
            }
            assert!(found.lit > 0.9);
        }
    }

    #[test]
    fn an_unlit_frame_a_missing_order_and_a_mirror_image_are_refused() {
        let scene = synthetic::Scene::pinhole();
        let dark = synthetic::Scene { level: 0.0, ..scene.clone() };
        assert!(matches!(find(&dark.light(1), &scene.guesses(), &LIMITS), Err(OrdersError::Dark { .. })));
        let partial = synthetic::Scene { orders: 3, ..scene.clone() };
        let error = find(&partial.light(1), &scene.guesses(), &LIMITS).unwrap_err();
        assert!(matches!(&error, OrdersError::Missing { missing, .. } if missing == "4"), "{error}");
        let mut mirrored = scene.light(1);
        mirrored.value.invert_axis(ndarray::Axis(1));
        let error = find(&mirrored, &scene.guesses(), &LIMITS).unwrap_err();
        assert!(matches!(error, OrdersError::Parity { axis: "across the orders", .. }), "{error}");
        assert!(matches!(find(&scene.light(1), &[], &LIMITS), Err(OrdersError::Input(_))));
    }
}
