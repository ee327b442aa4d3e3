//! Exposures with the source at two places of the slit, one kind less the other: sky, dark current and stray light cancel but
//! for what changed between them.

use ndarray::Array2;

use super::field::Field;
use super::solve::Expected;
use super::strip::Strip;
use super::track::Track;
use crate::numerics::robust::median_f64;

/// The difference of two means of exposures, in one order.
#[derive(Clone, Debug)]
pub struct Difference<'a> {
    /// The light that is left, with its noise.
    pub field: Field<'a>,
    /// The sky in one exposure at the middle of the slit, per row; zero where it is not known.
    pub sky: Vec<f64>,
    /// Track of the middle of the slit.
    middle: Track,
}

/// Mean of strips of one order and the parts of its variance.
struct Mean {
    value: Array2<f32>,
    floor: Array2<f32>,
    count: f64,
}

impl Mean {
    fn of(strips: &[&Strip]) -> Option<Mean> {
        let first = strips.first()?;
        let n = strips.len() as f32;
        let (mut value, mut floor) = (first.value.clone(), first.floor.clone());
        for strip in strips.iter().skip(1).filter(|strip| strip.shape() == first.shape()) {
            value += &strip.value;
            floor += &strip.floor;
        }
        value /= n;
        floor /= n * n;
        Some(Mean { value, floor, count: f64::from(n) })
    }
}

impl<'a> Difference<'a> {
    /// The mean of `plus` less the mean of `minus`, strips of one order. A pixel that is bad in any of them takes no part.
    /// `None` when one of the two is empty or the order has too few rows.
    pub fn of(plus: &[&'a Strip], minus: &[&'a Strip]) -> Option<Difference<'a>> {
        let (on, off) = (Mean::of(plus)?, Mean::of(minus)?);
        let strip = *plus.first()?;
        if minus.iter().chain(plus).any(|other| other.shape() != strip.shape() || other.order != strip.order) {
            return None;
        }
        let middle = Track::new(strip, |_| 0.0)?;
        let light = &on.value - &off.value;
        let usable = |at| plus.iter().chain(minus).all(|strip| strip.usable(at)) && light[at].is_finite();
        let good = Array2::from_shape_fn(light.dim(), usable);
        let samples = Samples::of(strip, &middle);
        let sky = samples.sky(&on, &off, &good);
        let brightness = samples.image(&sky, light.dim());
        let share = 1.0 / on.count + 1.0 / off.count;
        let variance = Array2::from_shape_fn(light.dim(), |at| {
            let response = strip.response[at].max(1e-3);
            on.floor[at] + off.floor[at] + brightness[at].max(0.0) * share as f32 / response
        });
        let good = Array2::from_shape_fn(light.dim(), |at| good[at] && variance[at].is_finite() && variance[at] > 0.0);
        let shared = Array2::zeros(light.dim());
        Some(Difference { field: Field { strip, light, variance, sky: brightness, shared, good }, sky, middle })
    }

    /// What is left of the sky: the share of it that the difference shows, and the scatter about that share from line to
    /// line, both measured where no image lies. `images` are slit positions with the distance to stay away, arcsec.
    pub fn residual(&self, images: &[(f64, f64)]) -> Vec<Expected> {
        let samples = Samples::of(self.field.strip, &self.middle);
        let left = samples.left(&self.field, images);
        let weighted = |f: &dyn Fn(f64, f64, f64) -> f64| -> f64 {
            left.iter()
                .zip(&self.sky)
                .filter(|(found, _)| found.1 > 0.0)
                .map(|(found, sky)| f(found.0, found.1, *sky))
                .sum()
        };
        let norm = weighted(&|_, variance, sky| sky * sky / variance);
        let share = if norm > 0.0 { weighted(&|left, variance, sky| left * sky / variance) / norm } else { 0.0 };
        // the scatter beyond noise, from lines that stick out of the noise; one wild sample must not set it
        let mut excess: Vec<f64> = left
            .iter()
            .zip(&self.sky)
            .filter(|((_, variance), sky)| *variance > 0.0 && *sky * *sky > 1e4 * variance)
            .map(|((left, _), sky)| (left / sky - share).abs())
            .collect();
        let scatter = if excess.len() > 8 { 1.5 * median_f64(&mut excess).unwrap_or(0.0) } else { 0.0 };
        let scatter = (1.5 * scatter).clamp(0.01, 1.0);
        let mut faint: Vec<f64> = self.sky.iter().copied().filter(|sky| *sky > 0.0).collect();
        let least = 0.02 * median_f64(&mut faint).unwrap_or(1.0) + 0.1;
        self.sky.iter().map(|sky| Expected { value: share * sky, sigma: scatter * sky.max(0.0) + least }).collect()
    }
}

/// The sample at the middle of the slit to which every pixel belongs.
struct Samples<'a> {
    strip: &'a Strip,
    sample: Array2<f32>,
}

impl<'a> Samples<'a> {
    fn of(strip: &'a Strip, middle: &Track) -> Samples<'a> {
        let sample = Array2::from_shape_fn(strip.shape(), |at| {
            let wavelength = strip.wavelength[at];
            if wavelength.is_finite() { middle.sample(at.0, wavelength) as f32 } else { f32::NAN }
        });
        Samples { strip, sample }
    }

    /// Values of the pixels that `value` gives, gathered by sample.
    fn gathered(&self, value: impl Fn((usize, usize)) -> Option<(f64, f64)>) -> Vec<Vec<(f64, f64)>> {
        let rows = self.strip.shape().0;
        let mut samples = vec![Vec::with_capacity(self.strip.shape().1); rows];
        for (at, sample) in self.sample.indexed_iter() {
            let nearest = sample.round();
            if nearest >= 0.0 && nearest < rows as f32 {
                samples[nearest as usize].extend(value(at));
            }
        }
        samples
    }

    /// The sky of one exposure. Of the two means the darker one counts, so that no image is taken for sky.
    fn sky(&self, on: &Mean, off: &Mean, good: &Array2<bool>) -> Vec<f64> {
        let gathered = self.gathered(|at| {
            let darker = f64::from(on.value[at].min(off.value[at]));
            good[at].then_some((darker, 0.5 * f64::from(on.floor[at] + off.floor[at])))
        });
        let share = 0.5 * (1.0 / on.count + 1.0 / off.count);
        gathered
            .into_iter()
            .map(|sample| {
                let mut floors: Vec<f64> = sample.iter().map(|s| s.1).collect();
                let mut values: Vec<f64> = sample.iter().map(|s| s.0).collect();
                let (Some(value), Some(floor)) = (median_f64(&mut values), median_f64(&mut floors)) else { return 0.0 };
                // the smaller of two noisy values lies below their mean by sigma / sqrt(pi)
                let sigma = (floor + share * value.max(0.0)).sqrt();
                (value + sigma / std::f64::consts::PI.sqrt()).max(0.0)
            })
            .collect()
    }

    /// Mean of what is left in each sample away from the images, with its variance; variance 0 where nothing is seen.
    fn left(&self, field: &Field, images: &[(f64, f64)]) -> Vec<(f64, f64)> {
        let gathered = self.gathered(|at| {
            let slit = f64::from(self.strip.slit[at]);
            let free = images.iter().all(|(place, distance)| (slit - place).abs() > *distance);
            (field.good[at] && free).then(|| (f64::from(field.light[at]), f64::from(field.variance[at])))
        });
        gathered
            .into_iter()
            .map(|mut sample| {
                if sample.len() < 5 {
                    return (0.0, 0.0);
                }
                let mut values: Vec<f64> = sample.iter().map(|s| s.0).collect();
                let middle = median_f64(&mut values).unwrap_or(0.0);
                sample.retain(|(value, variance)| (value - middle).powi(2) < 16.0 * variance);
                let weight: f64 = sample.iter().map(|s| 1.0 / s.1).sum();
                if weight > 0.0 {
                    (sample.iter().map(|s| s.0 / s.1).sum::<f64>() / weight, 1.0 / weight)
                } else {
                    (0.0, 0.0)
                }
            })
            .collect()
    }

    /// A spectrum at the middle of the slit as light in every pixel.
    fn image(&self, spectrum: &[f64], shape: (usize, usize)) -> Array2<f32> {
        Array2::from_shape_fn(shape, |at| {
            let sample = f64::from(self.sample[at]);
            if !sample.is_finite() || spectrum.len() < 2 {
                return 0.0;
            }
            let left = (sample.max(0.0) as usize).min(spectrum.len() - 2);
            let f = (sample - left as f64).clamp(0.0, 1.0);
            (spectrum[left] * (1.0 - f) + spectrum[left + 1] * f) as f32
        })
    }
}
