//! How the light of the sky changes along the slit.
//!
//! The slit is not lit evenly, light is scattered into it from elsewhere, and the lines do not lean exactly as the map of
//! wavelengths says. Each is a few numbers per order, found by linear least squares from what a spline that knows nothing
//! of the slit leaves behind; what the data cannot tell stays at zero, within the reach of a prior.

use ndarray::Array2;

use super::sky::Pixel;
use crate::numerics::bspline::Spline;
use crate::numerics::least_squares::NormalSums;

/// Half length of the slit, arcsec: the scale of the polynomials along it.
const HALF_SLIT: f64 = 6.0;
/// Terms along the slit: Legendre polynomials of degree 1 and 2.
const ALONG: usize = 2;
/// Terms along the order of the lighting, of the scattered light and of the lean.
const LIGHTING: usize = 4;
const SCATTERED: usize = 3;
const LEAN: usize = 3;
const UNKNOWNS: usize = ALONG * (LIGHTING + SCATTERED + LEAN);
/// What is expected before any data: relative change of the lighting, and rows of lean, one sigma.
const LIGHTING_PRIOR: f64 = 0.03;
const LEAN_PRIOR: f64 = 0.06;

/// Squared signal to noise below which only one row in [`THINNED`] is used.
const FAINT: f64 = 4.0;
const THINNED: usize = 4;

/// Change of the sky along the slit.
#[derive(Clone, Debug, PartialEq)]
pub struct Modes {
    rows: f64,
    lighting: [[f64; LIGHTING]; ALONG],
    scattered: [[f64; SCATTERED]; ALONG],
}

/// Rows by which lines lie off the map.
#[derive(Clone, Debug, PartialEq)]
pub struct Lean {
    rows: f64,
    terms: [[f64; LEAN]; ALONG],
}

/// Legendre polynomials of degree 1 and 2 of a slit position.
fn along(slit: f64) -> [f64; ALONG] {
    let x = slit / HALF_SLIT;
    [x, 1.5 * x * x - 0.5]
}

/// The first polynomials of Legendre of the place along the order.
fn across<const N: usize>(u: f64, rows: f64) -> [f64; N] {
    let t = (2.0 * u / rows - 1.0).clamp(-1.0, 1.0);
    let all = [1.0, t, 1.5 * t * t - 0.5, t * (2.5 * t * t - 1.5)];
    std::array::from_fn(|k| all.get(k).copied().unwrap_or(0.0))
}

fn sum<const N: usize>(terms: &[[f64; N]; ALONG], rows: f64, u: f64, slit: f64) -> f64 {
    let across = across::<N>(u, rows);
    let part = |terms: &[f64; N]| terms.iter().zip(across).map(|(a, b)| a * b).sum::<f64>();
    along(slit).iter().zip(terms).map(|(p, terms)| p * part(terms)).sum()
}

impl Modes {
    /// The same sky all along the slit, in an order of so many rows.
    pub fn none(rows: usize) -> Modes {
        Modes { rows: rows.max(1) as f64, lighting: [[0.0; LIGHTING]; ALONG], scattered: [[0.0; SCATTERED]; ALONG] }
    }

    /// Factor of the light at a row and slit position.
    pub fn factor(&self, u: f64, slit: f64) -> f64 {
        // half the light is the most that a slit may lose
        (1.0 + sum(&self.lighting, self.rows, u, slit)).max(0.5)
    }

    /// Light on top of that, electrons.
    pub fn offset(&self, u: f64, slit: f64) -> f64 {
        sum(&self.scattered, self.rows, u, slit)
    }

    /// Change against the sky at the middle of the slit, electrons.
    pub fn at(&self, sky: f64, u: f64, slit: f64) -> f64 {
        sky * (self.factor(u, slit) - 1.0) + self.offset(u, slit)
    }

    /// Largest relative change of the lighting between the ends of the slit, mid order.
    pub fn slope(&self) -> f64 {
        let middle = 0.5 * self.rows;
        self.factor(middle, HALF_SLIT) - self.factor(middle, -HALF_SLIT)
    }
}

impl Lean {
    /// Rows by which the light at a row and slit position lies off.
    pub fn at(&self, u: f64, slit: f64) -> f64 {
        sum(&self.terms, self.rows, u, slit)
    }

    /// A row with this taken into account.
    pub fn moved(&self, u: f64, slit: f64) -> f64 {
        u + self.at(u, slit)
    }

    /// Take it into account for every pixel.
    pub fn apply(&self, rows: &mut Array2<f32>, slit: &Array2<f32>) {
        ndarray::Zip::from(rows).and(slit).for_each(|u, slit| {
            if u.is_finite() {
                *u = self.moved(f64::from(*u), f64::from(*slit)) as f32;
            }
        });
    }
}

/// Find modes and lean from what a spline leaves. Without enough information both are zero.
pub(super) fn fit(pixels: &[Pixel], spline: &Spline, rows: usize) -> (Modes, Lean) {
    let rows = rows.max(1) as f64;
    let mut modes = Modes::none(rows as usize);
    let mut lean = Lean { rows, terms: [[0.0; LEAN]; ALONG] };
    let mut sums = NormalSums::new(UNKNOWNS);
    let (mut level, mut used) = (0.0, 0.0f64);
    for pixel in pixels.iter().filter(|pixel| !pixel.out) {
        let (sky, slope) = spline.with_slope(pixel.u);
        // a pixel that shows little light says little: a part of them is enough
        let faint = (sky * sky + slope * slope) * pixel.weight < FAINT;
        if faint && !(pixel.u as usize).is_multiple_of(THINNED) {
            continue;
        }
        let sigma = pixel.weight.sqrt();
        level += sky.abs();
        used += 1.0;
        let along = along(pixel.slit);
        let across = across::<4>(pixel.u, rows);
        let mut row = [0.0; UNKNOWNS];
        let mut k = 0;
        for (light, terms) in [(sky, LIGHTING), (1.0, SCATTERED), (slope, LEAN)] {
            for p in along {
                for t in &across[..terms] {
                    row[k] = light * p * t * sigma;
                    k += 1;
                }
            }
        }
        sums.add(&row, (pixel.value - sky) * sigma);
    }
    let scattered_prior = 1.0 + 0.1 * level / used.max(1.0);
    let counts = [(LIGHTING, LIGHTING_PRIOR), (SCATTERED, scattered_prior), (LEAN, LEAN_PRIOR)];
    let priors = counts.into_iter().flat_map(|(terms, prior)| std::iter::repeat_n(prior, ALONG * terms));
    for (k, prior) in priors.enumerate() {
        let mut row = [0.0; UNKNOWNS];
        row[k] = 1.0 / prior;
        sums.add(&row, 0.0);
    }
    let Some(fitted) = sums.solve() else { return (modes, lean) };
    let mut values = fitted.coefficients.iter().copied();
    let mut take = || values.next().filter(|value| value.is_finite()).unwrap_or(0.0);
    modes.lighting.iter_mut().flatten().for_each(|cell| *cell = take());
    modes.scattered.iter_mut().flatten().for_each(|cell| *cell = take());
    lean.terms.iter_mut().flatten().for_each(|cell| *cell = take());
    (modes, lean)
}
