//! The function that describes a profile best: width and wings of a Moffat function, from all pixels of an order.

use super::profile::{Moffat, ProfilePoint};

/// Width of the bins in which the profile is gathered, arcsec.
const BIN: f64 = 0.1;
/// Wings that are tried; the Gaussian comes first and is kept unless another one is clearly better.
const BETAS: [f64; 5] = [f64::INFINITY, 6.0, 4.0, 2.5, 1.8];
/// Drop of chi-square that wings must bring.
const CLEARLY: f64 = 16.0;
/// Signal-to-noise ratio below which the start is kept.
const ENOUGH: f64 = 25.0;
/// Widths that are believed, arcsec.
const WIDTHS: [f64; 2] = [0.35, 6.0];

/// One bin: distance, density, weight.
type Bin = (f64, f64, f64);

/// Fit width and wings, beginning from `start`, which is kept when the source is too faint to tell.
pub(super) fn fit(points: &[ProfilePoint], start: Moffat, half: f64) -> Moffat {
    let bins = gathered(points, half);
    let signal: f64 = bins.iter().map(|(u, y, w)| start.at(*u) * y * w).sum();
    let norm: f64 = bins.iter().map(|(u, _, w)| start.at(*u).powi(2) * w).sum();
    if !(norm > 0.0 && signal / norm.sqrt() > ENOUGH) {
        return start;
    }
    let mut best: Option<(f64, Moffat)> = None;
    for beta in BETAS {
        let Some((chi, fwhm)) = width(&bins, beta, start.fwhm) else { continue };
        // a profile is never exactly a function: what the best width leaves sets the scale of what counts
        let scale = best.map_or(1.0, |(chi, _)| (chi / bins.len() as f64).max(1.0));
        if best.is_none_or(|(least, _)| chi < least - CLEARLY * scale) {
            best = Some((chi, Moffat { fwhm, beta }));
        }
    }
    best.map_or(start, |(_, moffat)| moffat)
}

fn gathered(points: &[ProfilePoint], half: f64) -> Vec<Bin> {
    let count = (2.0 * half / BIN).ceil().max(1.0) as usize;
    let mut sums = vec![(0.0, 0.0); count];
    for point in points {
        let bin = (point.u + half) / BIN;
        if bin >= 0.0 && (bin as usize) < count {
            let cell = &mut sums[bin as usize];
            cell.0 += point.light * point.value / point.variance;
            cell.1 += point.light * point.light / point.variance;
        }
    }
    sums.iter()
        .enumerate()
        .filter(|(_, sum)| sum.1 > 0.0)
        .map(|(bin, sum)| ((bin as f64 + 0.5) * BIN - half, sum.0 / sum.1, sum.1))
        .collect()
}

/// Width with the least chi-square for these wings: ever finer steps about the best.
fn width(bins: &[Bin], beta: f64, start: f64) -> Option<(f64, f64)> {
    let (mut centre, mut step) = (start.clamp(WIDTHS[0], WIDTHS[1]), 0.12);
    let mut least = f64::INFINITY;
    for round in 0..5 {
        let reach = if round == 0 { 8 } else { 3 };
        let around = centre;
        for k in -reach..=reach {
            let fwhm = around * (1.0 + step * f64::from(k)).max(0.3);
            if (WIDTHS[0]..=WIDTHS[1]).contains(&fwhm) {
                let chi = chi_square(bins, Moffat { fwhm, beta })?;
                if chi < least {
                    (least, centre) = (chi, fwhm);
                }
            }
        }
        step /= 3.0;
    }
    least.is_finite().then_some((least, centre))
}

/// Chi-square of a function with the best height and level.
fn chi_square(bins: &[Bin], moffat: Moffat) -> Option<f64> {
    let (mut w, mut wt, mut wtt, mut wy, mut wty, mut wyy) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
    for (u, y, weight) in bins {
        let t = moffat.at(*u);
        w += weight;
        wt += weight * t;
        wtt += weight * t * t;
        wy += weight * y;
        wty += weight * t * y;
        wyy += weight * y * y;
    }
    let determinant = w * wtt - wt * wt;
    if determinant.is_nan() || determinant <= 1e-6 * w * wtt {
        return None;
    }
    let height = (w * wty - wt * wy) / determinant;
    let level = (wtt * wy - wt * wty) / determinant;
    Some(wyy - height * wty - level * wy)
}
