//! Spectra of one source from several exposures become one.
//!
//! The spectra have grids of their own, since the source lay at different places. The samples of all are compared with one
//! spline on the grid of the first ([`super::solve`]), so that nothing is resampled on the way, the errors are those of the
//! combination, and what contradicts its repeats is left out.

use super::solve::{Scene, Term};
use crate::numerics::robust::median_f64;
use crate::reduction::flags::NO_DATA;
use crate::reduction::spectrum::order::OrderSpectrum;

/// Spectra of one order combined.
#[derive(Clone, Debug, PartialEq)]
pub struct Combined {
    /// The spectrum, on the grid of the first that is not empty.
    pub spectrum: OrderSpectrum,
    /// Index of that one.
    pub grid: usize,
    /// Sum of squares of the residuals of the repeats in units of their variances.
    pub chi_square: f64,
    /// Degrees of freedom of that.
    pub degrees: f64,
    /// Samples that contradict their repeats.
    pub rejected: usize,
}

/// Sigmas at which a sample contradicts its repeats, and the share of the light that scales may be wrong by.
const CUT: f64 = 5.0;
const DOUBT: f64 = 0.05;
const PASSES: usize = 4;
/// Share of the usual light below which an exposure is lost.
const LOST: f64 = 0.05;

/// How bright the source is in each exposure relative to their median, from all orders: `exposures[k][order]`. An exposure
/// whose difference from 1 is not significant gets 1, so that faint spectra are not scaled by their noise; one that has lost
/// nearly all light gets 0.
pub fn scales(exposures: &[Vec<&OrderSpectrum>]) -> Vec<f64> {
    let orders = exposures.iter().map(Vec::len).min().unwrap_or(0);
    let mut products = vec![0.0; exposures.len()];
    let mut noise = vec![0.0; exposures.len()];
    for order in 0..orders {
        let Some(reference) = exposures.first().map(|exposure| exposure[order]) else { continue };
        for index in 0..reference.len() {
            let here: Vec<Option<(f64, f64)>> =
                exposures.iter().map(|exposure| at(exposure[order], reference.wavelength[index])).collect();
            let known: Vec<(f64, f64)> = here.iter().copied().flatten().collect();
            if known.len() < exposures.len() {
                continue;
            }
            let mean = known.iter().map(|k| k.0).sum::<f64>() / known.len() as f64;
            let variance = known.iter().map(|k| k.1).sum::<f64>() / known.len() as f64;
            // one bad sample must not set a scale
            if known.iter().any(|k| (k.0 - mean).abs() > 10.0 * variance.sqrt() + 3.0 * mean.abs()) {
                continue;
            }
            for (k, (flux, own)) in known.iter().enumerate() {
                products[k] += flux * mean / variance;
                noise[k] += own * mean * mean / (variance * variance);
            }
        }
    }
    let mut sorted = products.clone();
    let middle = median_f64(&mut sorted).unwrap_or(0.0);
    if middle <= 0.0 {
        return vec![1.0; exposures.len()];
    }
    products
        .iter()
        .zip(&noise)
        .map(|(product, noise)| {
            let (scale, sigma) = (product / middle, 1.5 * noise.sqrt() / middle);
            if (scale - 1.0).abs() < 3.0 * sigma {
                1.0
            } else if scale < LOST {
                0.0
            } else {
                scale
            }
        })
        .collect()
}

/// Flux per first spectrum's sample and variance of a spectrum at a wavelength; `None` outside and where it is bad.
fn at(spectrum: &OrderSpectrum, wavelength: f64) -> Option<(f64, f64)> {
    let right = spectrum.wavelength.partition_point(|w| *w < wavelength);
    let left = right.checked_sub(1)?;
    if right >= spectrum.len() || spectrum.flags[left] != 0 || spectrum.flags[right] != 0 {
        return None;
    }
    let f = (wavelength - spectrum.wavelength[left]) / (spectrum.wavelength[right] - spectrum.wavelength[left]);
    let flux = spectrum.flux[left] * (1.0 - f) + spectrum.flux[right] * f;
    let variance = spectrum.variance[left] * (1.0 - f) + spectrum.variance[right] * f;
    (variance > 0.0).then_some((flux, variance))
}

/// Combine spectra of one order, each divided by its scale. Empty spectra are passed over; `None` when all are.
pub fn combine(spectra: &[(&OrderSpectrum, f64)]) -> Option<Combined> {
    let used: Vec<(&OrderSpectrum, f64)> =
        spectra.iter().copied().filter(|(spectrum, scale)| spectrum.len() > 8 && *scale > 0.0).collect();
    let (first, scale) = *used.first()?;
    let grid = spectra.iter().position(|(spectrum, _)| std::ptr::eq(*spectrum, first))?;
    if used.len() == 1 {
        return Some(Combined { spectrum: scaled(first, scale), grid, chi_square: 0.0, degrees: 0.0, rejected: 0 });
    }
    let ratios = noise_ratios(&used);
    let optimal = fitted(&used, &ratios, flux_of)?;
    let simple = fitted(&used, &ratios, boxcar_of);
    let sky: Vec<f64> = (0..first.len()).map(|index| mean_sky(&used, first, index)).collect();
    let seen = seen(&used, first);
    let flags = (0..first.len()).map(|index| if seen[index] { 0 } else { first.flags[index].max(NO_DATA) }).collect();
    let (boxcar, boxcar_variance) = match simple {
        Some(simple) => (simple.flux, simple.variance),
        None => (vec![f64::NAN; first.len()], vec![f64::NAN; first.len()]),
    };
    let spectrum = OrderSpectrum {
        flux: optimal.flux,
        variance: optimal.variance,
        boxcar,
        boxcar_variance,
        sky,
        flags,
        ..first.clone()
    };
    Some(Combined {
        spectrum,
        grid,
        chi_square: optimal.chi_square,
        degrees: optimal.degrees,
        rejected: optimal.rejected,
    })
}

fn flux_of(spectrum: &OrderSpectrum) -> (&[f64], &[f64]) {
    (&spectrum.flux, &spectrum.variance)
}

fn boxcar_of(spectrum: &OrderSpectrum) -> (&[f64], &[f64]) {
    (&spectrum.boxcar, &spectrum.boxcar_variance)
}

/// A spectrum of which the light is divided by a scale.
fn scaled(spectrum: &OrderSpectrum, scale: f64) -> OrderSpectrum {
    let by = |values: &[f64], divisor: f64| values.iter().map(|value| value / divisor).collect::<Vec<f64>>();
    OrderSpectrum {
        flux: by(&spectrum.flux, scale),
        variance: by(&spectrum.variance, scale * scale),
        boxcar: by(&spectrum.boxcar, scale),
        boxcar_variance: by(&spectrum.boxcar_variance, scale * scale),
        ..spectrum.clone()
    }
}

/// Mean sky at a sample of the first spectrum.
fn mean_sky(used: &[(&OrderSpectrum, f64)], first: &OrderSpectrum, index: usize) -> f64 {
    let (mut sum, mut count) = (0.0, 0usize);
    for (spectrum, _) in used {
        let place = place(spectrum, first.wavelength[index]);
        if (0.0..=(spectrum.len() - 1) as f64).contains(&place) {
            sum += between(&spectrum.sky, place);
            count += 1;
        }
    }
    if count > 0 { sum / count as f64 } else { first.sky[index] }
}

/// Whether any exposure has a good sample next to each sample of the first.
fn seen(used: &[(&OrderSpectrum, f64)], first: &OrderSpectrum) -> Vec<bool> {
    let mut seen = vec![false; first.len()];
    for (spectrum, _) in used {
        for (wavelength, _) in spectrum.wavelength.iter().zip(&spectrum.flags).filter(|(_, flags)| **flags == 0) {
            let nearest = place(first, *wavelength).round();
            if nearest >= 0.0 && nearest < first.len() as f64 {
                seen[nearest as usize] = true;
            }
        }
    }
    seen
}

/// Sample, with its fraction, at which a spectrum has a wavelength; straight beyond the ends.
fn place(spectrum: &OrderSpectrum, wavelength: f64) -> f64 {
    let left = spectrum.wavelength.partition_point(|w| *w < wavelength).clamp(1, spectrum.len() - 1) - 1;
    let (a, b) = (spectrum.wavelength[left], spectrum.wavelength[left + 1]);
    left as f64 + (wavelength - a) / (b - a)
}

/// Value of a column at a sample with its fraction.
fn between(values: &[f64], place: f64) -> f64 {
    let left = (place.max(0.0) as usize).min(values.len().saturating_sub(2));
    let f = (place - left as f64).clamp(0.0, 1.0);
    values[left] * (1.0 - f) + values[left + 1] * f
}

/// Variance of each spectrum, scaled, relative to the mean of all: one number an exposure. A weight that followed each
/// sample's own variance would follow its noise, since the light's noise is reckoned from the light found, and would draw
/// the mean down.
fn noise_ratios(used: &[(&OrderSpectrum, f64)]) -> Vec<f64> {
    let first = used[0].0;
    let mut ratios: Vec<Vec<f64>> = vec![Vec::with_capacity(first.len()); used.len()];
    for wavelength in &first.wavelength {
        let all: Vec<f64> = used
            .iter()
            .filter_map(|(spectrum, scale)| at(spectrum, *wavelength).map(|(_, variance)| variance / (scale * scale)))
            .collect();
        if all.len() == used.len() {
            let mean = all.iter().sum::<f64>() / all.len() as f64;
            ratios.iter_mut().zip(&all).for_each(|(ratios, own)| ratios.push(own / mean));
        }
    }
    ratios.iter_mut().map(|ratios| median_f64(ratios).filter(|ratio| *ratio > 0.0).unwrap_or(1.0)).collect()
}

/// One column of all spectra, fitted.
struct Fitted {
    flux: Vec<f64>,
    variance: Vec<f64>,
    chi_square: f64,
    degrees: f64,
    rejected: usize,
}

fn fitted(
    used: &[(&OrderSpectrum, f64)],
    ratios: &[f64],
    columns: impl Fn(&OrderSpectrum) -> (&[f64], &[f64]),
) -> Option<Fitted> {
    let first = used[0].0;
    let mut scene = Scene::new(first.len(), 1);
    for (exposure, ((spectrum, scale), ratio)) in used.iter().zip(ratios).enumerate() {
        let (values, variances) = columns(spectrum);
        for index in 0..spectrum.len() {
            let sample = place(first, spectrum.wavelength[index]);
            let own = variances[index] / (scale * scale);
            let mean = mean_variance(used, &columns, spectrum.wavelength[index]).unwrap_or(own);
            // a sample much less certain than its exposure usually is lost a part of its pixels
            let variance = if own > 2.0 * mean * ratio { own } else { mean * ratio };
            let good =
                spectrum.flags[index] == 0 && values[index].is_finite() && variance > 0.0 && variance.is_finite();
            let (factor, value) = (spectrum.width[index] / between(&first.width, sample), values[index] / scale);
            let term = Term { component: 0, sample, u: 0.0, factor };
            scene.push(
                (exposure, index),
                if good { value } else { 0.0 },
                if good { variance } else { 1.0 },
                good,
                &[term],
            );
        }
    }
    let (mut rejected, mut solution) = (0, scene.solve(&[])?);
    for _ in 0..PASSES {
        let pulls: Vec<f64> = scene
            .pixels
            .iter()
            .map(|pixel| {
                let light = solution.light(&scene, pixel);
                (pixel.value - light).abs() / (pixel.variance + (DOUBT * light).powi(2)).sqrt()
            })
            .collect();
        let wild: Vec<usize> = (0..pulls.len()).filter(|k| scene.pixels[*k].good && pulls[*k] > CUT).collect();
        if wild.is_empty() {
            break;
        }
        rejected += wild.len();
        wild.into_iter().for_each(|k| scene.pixels[k].good = false);
        solution = scene.solve(&[])?;
    }
    let solution = scene.solve_with_errors(&[])?;
    let good = scene.pixels.iter().filter(|pixel| pixel.good);
    let chi_square = good.clone().map(|p| (p.value - solution.light(&scene, p)).powi(2) / p.variance).sum();
    let degrees = (good.count() as f64 - first.len() as f64).max(0.0);
    Some(Fitted {
        flux: (0..first.len()).map(|j| solution.at(0, j as f64)).collect(),
        variance: (0..first.len()).map(|j| solution.variance(0, j)).collect(),
        chi_square,
        degrees,
        rejected,
    })
}

/// Mean over the exposures of the scaled variance at a wavelength.
fn mean_variance(
    used: &[(&OrderSpectrum, f64)],
    columns: &impl Fn(&OrderSpectrum) -> (&[f64], &[f64]),
    wavelength: f64,
) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0usize);
    for (spectrum, scale) in used {
        let nearest = place(spectrum, wavelength).round();
        if nearest >= 0.0 && nearest < spectrum.len() as f64 && spectrum.flags[nearest as usize] == 0 {
            let variance = columns(spectrum).1[nearest as usize] / (scale * scale);
            if variance > 0.0 && variance.is_finite() {
                sum += variance;
                count += 1;
            }
        }
    }
    (count > 0).then(|| sum / count as f64)
}
