//! Cosmic rays: straight tracks of muons, and the wandering ones of electrons that gamma rays knock out.

use std::collections::BTreeMap;

use rand::RngExt;
use rand_distr::{Distribution, Poisson, StandardNormal};
use rand_pcg::Pcg64Mcg;

use super::charge::sharing;
use super::effects::Effects;
use super::sizes::Sizes;
use crate::instrument::Arm;
use crate::simulator::math;
use crate::simulator::random::{Effect, Seeds};

/// Whole electrons that cosmic rays left, by (row, column) of the exposed, unbinned area.
pub(super) type Hits = BTreeMap<(usize, usize), f64>;

/// Length of a step along a track, pixels: short enough that a track has no gaps.
const STEP: f64 = 0.2;
/// Longest track, pixels: flatter ones leave through the edge of the silicon.
const LONGEST: f64 = 150.0;

/// The hits of one exposure. Nothing is left outside the exposed area.
pub(super) fn rays(seeds: &Seeds, arm: Arm, number: u64, exptime: f64, effects: &Effects) -> Hits {
    let sizes = Sizes::of(arm);
    let mut charge = BTreeMap::new();
    let mut rng = seeds.stream(Effect::Cosmics, number, 0);
    // No time or no rays: no distribution, and no hits.
    let Ok(count) = Poisson::new(sizes.rays.rate * effects.cosmic_rays * exptime) else { return charge };
    for _ in 0..count.sample(&mut rng) as usize {
        track(sizes, &mut rng, &mut charge);
    }
    // The charge of a pixel shows up in its neighbours as that of light does.
    let shared = sharing(sizes, effects);
    let mut hits = Hits::new();
    for (&(row, column), &electrons) in &charge {
        let mut put = |row: usize, column: usize, share: f64| {
            if row < sizes.area.0 && column < sizes.area.1 {
                *hits.entry((row, column)).or_insert(0.0) += share * electrons;
            }
        };
        put(row, column, 1.0 - 4.0 * shared);
        if shared > 0.0 {
            for (row, column) in
                [(row.wrapping_sub(1), column), (row + 1, column), (row, column.wrapping_sub(1)), (row, column + 1)]
            {
                put(row, column, shared);
            }
        }
    }
    hits.values_mut().for_each(|electrons| *electrons = electrons.round());
    hits.retain(|_, electrons| *electrons > 0.0);
    hits
}

/// Let one particle pass through the exposed area.
fn track(sizes: &Sizes, rng: &mut Pcg64Mcg, charge: &mut Hits) {
    let rays = &sizes.rays;
    let (rows, columns) = sizes.area;
    let (mut x, mut y) = (rng.random_range(0.0..columns as f64), rng.random_range(0.0..rows as f64));
    let mut angle = rng.random_range(0.0..std::f64::consts::TAU);
    let uniform: f64 = rng.random_range(1.0e-9..1.0);
    let deviate: f64 = StandardNormal.sample(rng);
    let worm = rng.random_range(0.0..1.0) < rays.worms;
    // `length` is that of the image on the chip, `path` that through the silicon.
    let (length, path) = if worm {
        let length = (-rays.worm_length * math::ln(uniform)).min(LONGEST);
        (length, length.max(0.5 * rays.thickness))
    } else {
        // The rate falls with the square of the cosine of the zenith distance, seen through a level surface.
        let cosine = uniform.sqrt().sqrt();
        let path = rays.thickness / cosine;
        let length = (path * (1.0 - cosine * cosine).sqrt()).min(LONGEST);
        (length, path.min(LONGEST))
    };
    let total = rays.charge * path * math::exp(0.3 * deviate);
    let steps = (length / STEP) as usize + 1;
    for _ in 0..steps {
        if x >= 0.0 && y >= 0.0 && x < columns as f64 && y < rows as f64 {
            *charge.entry((y as usize, x as usize)).or_insert(0.0) += total / steps as f64;
        }
        if worm {
            let bend: f64 = StandardNormal.sample(rng);
            angle += 0.25 * bend;
        }
        let (sine, cosine) = math::sin_cos(angle);
        x += STEP * cosine;
        y += STEP * sine;
    }
}
