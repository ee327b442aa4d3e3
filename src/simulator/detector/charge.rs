//! The charge that an exposure is expected to collect, before any noise.

use ndarray::{Array2, Axis};
use rayon::prelude::*;

use super::chip::{Chip, of_row};
use super::effects::Effects;
use super::sizes::Sizes;

/// Expected electrons per pixel of the exposed, unbinned area: light x response, dark signal, hot pixels, traps, and
/// what neighbours share. `light` is in electrons over the whole exposure and has the shape of the area.
pub(super) fn collect(chip: &Chip, effects: &Effects, exptime: f64, light: Option<&Array2<f32>>) -> Array2<f32> {
    let sizes = Sizes::of(chip.arm());
    let mut charge = Array2::<f32>::zeros(sizes.area);
    charge.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(row, mut pixels)| {
        for (column, pixel) in pixels.iter_mut().enumerate() {
            *pixel = (chip.dark(row, column, effects) * exptime) as f32;
        }
        for spot in of_row(&chip.hot, row) {
            pixels[spot.column] += (effects.hot_pixels * spot.size * exptime) as f32;
        }
        for bright in chip.bright_columns.iter().filter(|bright| bright.row <= row) {
            pixels[bright.column] += (effects.bad_columns * bright.size * exptime) as f32;
        }
        if let Some(light) = light {
            let response = response(chip, effects, row);
            for ((pixel, &light), response) in pixels.iter_mut().zip(light.row(row)).zip(response) {
                // Light is never negative; a rounding error below zero must not become charge.
                *pixel += (f64::from(light.max(0.0)) * response) as f32;
            }
        }
    });
    charge = shared(charge, sharing(sizes, effects));
    for trap in &chip.traps {
        for pixel in charge.column_mut(trap.column).iter_mut().skip(trap.row) {
            *pixel -= ((effects.bad_columns * trap.size) as f32).min(0.5 * *pixel);
        }
    }
    charge
}

/// Response of a row of the exposed area to light, dead pixels included.
pub(super) fn response(chip: &Chip, effects: &Effects, row: usize) -> Vec<f64> {
    let mut response = chip.response(row, effects);
    for spot in of_row(&chip.dead, row) {
        response[spot.column] *= (1.0 - effects.dead_pixels * (1.0 - spot.size)).max(0.0);
    }
    response
}

/// Share of a pixel's charge that shows up in each neighbour.
pub(super) fn sharing(sizes: &Sizes, effects: &Effects) -> f64 {
    // At 0.2 a pixel has as much of its charge as each neighbour.
    (sizes.spread * effects.diffusion).min(0.2)
}

/// Let each pixel give `share` of its charge to each of its neighbours. Nothing leaves the area.
fn shared(charge: Array2<f32>, share: f64) -> Array2<f32> {
    if share == 0.0 {
        return charge;
    }
    let share = share as f32;
    let (rows, columns) = charge.dim();
    let mut spread = Array2::zeros((rows, columns));
    spread.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(row, mut pixels)| {
        let here = charge.row(row);
        let below = row.checked_sub(1).map(|row| charge.row(row));
        let above = (row + 1 < rows).then(|| charge.row(row + 1));
        for (column, pixel) in pixels.iter_mut().enumerate() {
            let own = here[column];
            let mut moved = 0.0;
            if column > 0 {
                moved += here[column - 1] - own;
            }
            if column + 1 < columns {
                moved += here[column + 1] - own;
            }
            for other in [&below, &above].into_iter().flatten() {
                moved += other[column] - own;
            }
            *pixel = (own + share * moved).max(0.0);
        }
    });
    spread
}
