//! What a pixel can hold: non-linearity, full well, and charge that runs over.

use std::collections::BTreeSet;

use ndarray::{Array2, Axis};
use rayon::prelude::*;

use super::effects::Effects;
use super::sizes::Sizes;

/// Electrons that a pixel can hold; infinite without saturation.
pub(super) fn full_well(sizes: &Sizes, effects: &Effects) -> f64 {
    if effects.saturation { sizes.full_well } else { f64::INFINITY }
}

/// Non-linearity, then full wells, in place.
///
/// Of N electrons, N (1 - k N) count; beyond the full well the loss stays that of the full well, so that more charge
/// always counts for more.
pub(super) fn fill(charge: &mut Array2<f32>, sizes: &Sizes, effects: &Effects) {
    let loss = sizes.non_linearity * effects.non_linearity;
    let well = full_well(sizes, effects);
    let blooms = sizes.blooms && effects.blooming;
    let over: Vec<Vec<usize>> = charge
        .axis_iter_mut(Axis(0))
        .into_par_iter()
        .map(|mut pixels| {
            let mut over = Vec::new();
            for (column, pixel) in pixels.iter_mut().enumerate() {
                let electrons = f64::from(*pixel);
                let counted = electrons * (1.0 - loss * electrons.min(sizes.full_well)).max(0.0);
                *pixel = counted as f32;
                if counted > well {
                    if blooms {
                        over.push(column);
                    } else {
                        *pixel = well as f32;
                    }
                }
            }
            over
        })
        .collect();
    for column in over.into_iter().flatten().collect::<BTreeSet<usize>>() {
        let mut electrons: Vec<f64> = charge.column(column).iter().map(|&electrons| f64::from(electrons)).collect();
        bloom(&mut electrons, well);
        charge.column_mut(column).iter_mut().zip(electrons).for_each(|(pixel, electrons)| *pixel = electrons as f32);
    }
}

/// Let what is above `well` run along the column, half of it each way, into the next pixels with room. What passes an
/// end of the column is lost.
fn bloom(column: &mut [f64], well: f64) {
    let halves: Vec<f64> = column.iter().map(|electrons| 0.5 * (electrons - well).max(0.0)).collect();
    column.iter_mut().for_each(|electrons| *electrons = electrons.min(well));
    let mut carried = 0.0;
    let pour = |electrons: &mut f64, half: f64, carried: &mut f64| {
        let stays = (well - *electrons).min(*carried);
        *electrons += stays;
        *carried += half - stays;
    };
    for (electrons, half) in column.iter_mut().zip(&halves) {
        pour(electrons, *half, &mut carried);
    }
    carried = 0.0;
    for (electrons, half) in column.iter_mut().zip(&halves).rev() {
        pour(electrons, *half, &mut carried);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instrument::Arm;

    #[test]
    fn blooming_keeps_the_charge_and_fills_pixels_to_the_brim() {
        let mut column = vec![10.0; 41];
        column[20] = 500.0;
        column[21] = 130.0;
        let before: f64 = column.iter().sum();
        bloom(&mut column, 100.0);
        assert!((column.iter().sum::<f64>() - before).abs() < 1e-9);
        assert!(column.iter().all(|&electrons| electrons <= 100.0));
        assert_eq!(column.iter().filter(|&&electrons| electrons == 100.0).count(), 6);
        assert_eq!((column[10], column[30]), (10.0, 10.0));
    }

    #[test]
    fn charge_that_reaches_the_end_of_the_column_is_lost() {
        let mut column = vec![0.0; 4];
        column[0] = 1000.0;
        bloom(&mut column, 100.0);
        // Half of 900 goes each way: 450 over the near end at once, 300 of the rest find room.
        assert_eq!(column, vec![100.0; 4]);
    }

    #[test]
    fn the_loss_grows_with_the_signal_as_stated() {
        for (arm, level, expected) in
            [(Arm::Vis, 50_000.0, 0.01), (Arm::Nir, 90_000.0, 0.027), (Arm::Acq, 50_000.0, 0.005)]
        {
            let mut charge = Array2::from_elem((1, 2), level as f32);
            charge[(0, 1)] = 0.001 * level as f32;
            fill(&mut charge, Sizes::of(arm), &Effects::default());
            assert!((f64::from(charge[(0, 0)]) / level - (1.0 - expected)).abs() < 1e-6, "{arm}");
            assert!((f64::from(charge[(0, 1)]) / (0.001 * level) - (1.0 - 0.001 * expected)).abs() < 1e-6, "{arm}");
        }
    }

    #[test]
    fn infrared_pixels_clip_and_their_neighbours_stay_as_they_were() {
        let mut charge = Array2::from_elem((5, 5), 100.0_f32);
        charge[(2, 2)] = 1.0e7;
        let effects = Effects { non_linearity: 0.0, ..Effects::default() };
        fill(&mut charge, Sizes::of(Arm::Nir), &effects);
        assert_eq!(charge[(2, 2)], 100_000.0);
        assert_eq!(charge.sum(), 100_000.0 + 2400.0);
        charge[(2, 2)] = 1.0e7;
        fill(&mut charge, Sizes::of(Arm::Nir), &Effects { saturation: false, ..effects });
        assert_eq!(charge[(2, 2)], 1.0e7);
    }
}
