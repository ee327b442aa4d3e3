//! The forward model of an order: what every pixel holds if the sources have these spectra, and the spectra that explain the
//! pixels best.
//!
//! A spectrum is a cubic B-spline with one knot a row, so that a pixel whose wavelength falls between two samples is compared
//! with the spectrum there and not with the sample of its row. Tilted slits therefore cost no resolution, and because
//! nothing is resampled the errors of samples are nearly independent (the idea of Piskunov, Wehrhahn and Marquart 2021,
//! A&A 646, A32, with known profiles). Sources are solved together; a residual sky can be one of them.

use ndarray::Array2;

use super::profile::cubic;
use crate::numerics::banded::{Banded, BandedFit};

/// Splines beyond each end of the rows.
const PAD: usize = 2;
/// Weight of the smoothness that bridges samples without data, relative to the median information of a sample.
const BRIDGE: f64 = 1e-7;
/// Weight of the fourth differences of neighbouring splines, relative to the information of their sample. Where the slit leans,
/// pixels between the samples tell hardly anything of light that alternates from sample to sample, and its noise would be
/// that of all the spectrum. No line is that narrow: light that alternates is drawn to zero by 0.15 of what a slit that does
/// not lean would tell of it (256 is the square of its fourth difference, 1 / 9 the square of what a sample shows of it), and a
/// line of three rows keeps all but a thousandth.
const CALM: f64 = 0.15 / (9.0 * 256.0);
/// Fourth differences.
const FOURTH: [f64; 5] = [1.0, -4.0, 6.0, -4.0, 1.0];

/// What one pixel takes from one component.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Term {
    /// Component.
    pub component: usize,
    /// Sample with its fraction.
    pub sample: f64,
    /// Distance from the component's track, arcsec.
    pub u: f64,
    /// Light of the pixel per light of a sample.
    pub factor: f64,
}

/// A pixel that takes part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pixel {
    /// Row and column in the strip.
    pub at: (usize, usize),
    /// Light.
    pub value: f64,
    /// Variance.
    pub variance: f64,
    /// First of the pixel's terms in the list of all.
    first: usize,
    /// Number of terms.
    count: usize,
    /// Whether the pixel counts.
    pub good: bool,
}

/// What is known beforehand of a sample of a component: a value with its error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expected {
    /// Value.
    pub value: f64,
    /// Standard deviation; infinite where nothing is known.
    pub sigma: f64,
}

/// All pixels with their terms.
#[derive(Clone, Debug, Default)]
pub struct Scene {
    /// Pixels, by row.
    pub pixels: Vec<Pixel>,
    /// Terms of all pixels, in the order of the pixels.
    pub terms: Vec<Term>,
    /// Samples of each component.
    pub samples: usize,
    /// Components.
    pub components: usize,
}

impl Scene {
    /// A scene without pixels.
    pub fn new(samples: usize, components: usize) -> Scene {
        Scene { samples, components, ..Scene::default() }
    }

    /// Add a pixel with what it takes of each component; terms whose sample is beyond the ends are left out, and a pixel
    /// without terms is no part of the scene.
    pub fn push(&mut self, at: (usize, usize), value: f64, variance: f64, good: bool, terms: &[Term]) {
        let first = self.terms.len();
        let range = -1.0..self.samples as f64;
        self.terms.extend(terms.iter().filter(|term| range.contains(&term.sample)));
        let count = self.terms.len() - first;
        if count > 0 {
            self.pixels.push(Pixel { at, value, variance, first, count, good });
        }
    }

    /// Terms of a pixel.
    pub fn terms_of(&self, pixel: &Pixel) -> &[Term] {
        &self.terms[pixel.first..pixel.first + pixel.count]
    }

    /// Set the factor of every term.
    pub fn set_factors(&mut self, factor: impl Fn((usize, usize), &Term) -> f64) {
        for pixel in &self.pixels {
            for term in &mut self.terms[pixel.first..pixel.first + pixel.count] {
                term.factor = factor(pixel.at, term);
            }
        }
    }

    /// The spectra that explain the good pixels best. `expected` may hold, for a component, what is known of its samples.
    /// `None` when the pixels do not determine them.
    pub fn solve(&self, expected: &[Option<Vec<Expected>>]) -> Option<Solution> {
        let coefficients = self.equations(expected).0.parameters()?;
        self.solution(coefficients, None, vec![])
    }

    /// The same with the covariance of the samples, which takes longer.
    pub fn solve_with_errors(&self, expected: &[Option<Vec<Expected>>]) -> Option<Solution> {
        let (sums, drawn) = self.equations(expected);
        let fit = sums.solve()?;
        self.solution(fit.parameters.clone(), Some(fit), drawn)
    }

    fn solution(&self, coefficients: Vec<f64>, fit: Option<BandedFit>, drawn: Vec<f64>) -> Option<Solution> {
        let finite = coefficients.iter().all(|c| c.is_finite());
        finite.then_some(Solution { coefficients, fit, drawn, components: self.components, samples: self.samples })
    }

    /// Normal equations of all good pixels, and the weights with which fourth differences are drawn to zero.
    fn equations(&self, expected: &[Option<Vec<Expected>>]) -> (Banded, Vec<f64>) {
        let (n, k) = (self.samples + 2 * PAD, self.components);
        let mut sums = Banded::new(n * k, self.width());
        let mut factors: Vec<(usize, f64)> = Vec::with_capacity(4 * k);
        let mut information = vec![0.0; self.samples * k];
        for pixel in self.pixels.iter().filter(|pixel| pixel.good) {
            factors.clear();
            for term in self.terms_of(pixel) {
                let (first, weights) = splines(term.sample);
                factors.extend(
                    weights.iter().enumerate().map(|(j, w)| ((first + j) * k + term.component, w * term.factor)),
                );
                let nearest = (term.sample.round().max(0.0) as usize).min(self.samples - 1);
                information[nearest * k + term.component] += term.factor * term.factor / pixel.variance;
            }
            if k > 1 {
                factors.sort_unstable_by_key(|factor| factor.0);
            }
            sums.add(&factors, pixel.value, 1.0 / pixel.variance);
        }
        for (component, expected) in expected.iter().enumerate() {
            for (j, expected) in expected.iter().flatten().enumerate() {
                if expected.sigma.is_finite() {
                    let row: Vec<(usize, f64)> =
                        SAMPLE.iter().map(|(d, w)| ((j + PAD + d - 1) * k + component, *w)).collect();
                    sums.add(&row, expected.value, 1.0 / (expected.sigma * expected.sigma));
                }
            }
        }
        let drawn: Vec<f64> = information.iter().map(|known| CALM * known).collect();
        for component in 0..k {
            let mut known: Vec<f64> =
                information.iter().skip(component).step_by(k).copied().filter(|v| *v > 0.0).collect();
            let weight = BRIDGE * crate::numerics::robust::median_f64(&mut known).unwrap_or(1.0);
            for j in 1..n - 1 {
                let row = [((j - 1) * k + component, 1.0), (j * k + component, -2.0), ((j + 1) * k + component, 1.0)];
                sums.add(&row, 0.0, weight);
            }
            for j in 0..self.samples {
                let row: [(usize, f64); 5] = std::array::from_fn(|d| ((j + d) * k + component, FOURTH[d]));
                sums.add(&row, 0.0, drawn[j * k + component]);
            }
            // the level of a component without any data is zero
            sums.add(&[(component, 1.0)], 0.0, 1e-6 * weight);
            sums.add(&[((n - 1) * k + component, 1.0)], 0.0, 1e-6 * weight);
        }
        (sums, drawn)
    }

    /// Distance from the diagonal to which the normal equations reach.
    fn width(&self) -> usize {
        let k = self.components;
        let widest = self.pixels.iter().map(|pixel| {
            let terms = self.terms_of(pixel);
            let low = terms.iter().map(|term| splines(term.sample).0 * k + term.component).min().unwrap_or(0);
            let high = terms.iter().map(|term| (splines(term.sample).0 + 3) * k + term.component).max().unwrap_or(0);
            high - low
        });
        widest.max().unwrap_or(0).max((FOURTH.len() - 1) * k)
    }
}

/// A sample in terms of the splines about it.
const SAMPLE: [(usize, f64); 3] = [(0, 1.0 / 6.0), (1, 4.0 / 6.0), (2, 1.0 / 6.0)];

/// First spline and values of the four at a sample with its fraction, at least -1.
fn splines(sample: f64) -> (usize, [f64; 4]) {
    let floor = sample.floor();
    ((floor as i64 + PAD as i64 - 1).max(0) as usize, cubic(sample - floor))
}

/// Spectra of all components.
#[derive(Clone, Debug)]
pub struct Solution {
    coefficients: Vec<f64>,
    fit: Option<BandedFit>,
    /// Weights of the fourth differences, by sample and component.
    drawn: Vec<f64>,
    components: usize,
    samples: usize,
}

impl Solution {
    /// Spectrum of a component at a sample with its fraction; zero beyond the ends.
    pub fn at(&self, component: usize, sample: f64) -> f64 {
        if !(-1.0..self.samples as f64).contains(&sample) {
            return 0.0;
        }
        let (first, weights) = splines(sample);
        (0..4).map(|j| weights[j] * self.coefficients[(first + j) * self.components + component]).sum()
    }

    /// The variance of a sample; NaN when the errors were not asked for.
    pub fn variance(&self, component: usize, sample: usize) -> f64 {
        let Some(fit) = &self.fit else { return f64::NAN };
        let index = |spline: usize| spline * self.components + component;
        let first = sample + PAD - 1;
        // covariance of the sample with a spline
        let with = |spline: usize| -> f64 {
            SAMPLE.iter().map(|(d, a)| a * fit.covariance(index(first + d), index(spline))).sum()
        };
        let all: f64 = SAMPLE.iter().map(|(d, a)| a * with(first + d)).sum();
        // what was drawn to zero was not measured: of C, the inverse of data and drawing together, C - C R C are noise. What
        // is further off than the next samples adds less than a hundredth
        let near = sample.saturating_sub(1)..(sample + 2).min(self.samples);
        let drawn: f64 = near
            .map(|j| {
                let fourth: f64 = FOURTH.iter().enumerate().map(|(d, w)| w * with(j + d)).sum();
                self.drawn.get(j * self.components + component).copied().unwrap_or(0.0) * fourth * fourth
            })
            .sum();
        all - drawn
    }

    /// Light of all components in a pixel.
    pub fn light(&self, scene: &Scene, pixel: &Pixel) -> f64 {
        scene.terms_of(pixel).iter().map(|term| term.factor * self.at(term.component, term.sample)).sum()
    }

    /// Light of some components in every pixel of a strip of this shape.
    pub fn image(&self, scene: &Scene, shape: (usize, usize), wanted: impl Fn(usize) -> bool) -> Array2<f32> {
        let mut image = Array2::zeros(shape);
        for pixel in &scene.pixels {
            let light: f64 = scene
                .terms_of(pixel)
                .iter()
                .filter(|term| wanted(term.component))
                .map(|term| term.factor * self.at(term.component, term.sample))
                .sum();
            image[pixel.at] = light as f32;
        }
        image
    }
}
