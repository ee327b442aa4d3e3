//! The sum over an aperture: the simplest extraction, kept beside the optimal one as its check.

use super::extract::Order;
use super::solve::Solution;
use super::track::Track;

/// Sums over an aperture, row by row.
pub(super) struct Aperture {
    /// Light of the source, corrected for bad pixels and for what lies outside; NaN where less than half is seen.
    pub light: Vec<f64>,
    /// Its variance.
    pub variance: Vec<f64>,
    /// Light of the sky in the aperture.
    pub sky: Vec<f64>,
}

/// The spectrum without what changes from sample to sample, which is noise; held at both ends, beyond which it is unknown.
fn calm(solution: &Solution, component: usize, sample: f64, last: f64) -> f64 {
    let at = |shift: f64| solution.at(component, (sample + shift).clamp(0.0, last));
    0.25 * (at(-1.0) + 2.0 * at(0.0) + at(1.0))
}

/// Sum an image over the aperture. Pixels that it cuts count by the fraction inside. The tilt of the slit is taken out by the
/// difference that the model has between a pixel and its row's sample, so that no resolution is lost.
pub(super) fn sum(order: &Order, solution: &Solution, component: usize, track: &Track) -> Aperture {
    let rows = track.len();
    let image = &order.images[component];
    let nothing = vec![0.0; rows];
    let (mut light, mut noise, mut share) = (nothing.clone(), nothing.clone(), nothing.clone());
    let (mut sky, mut shared, mut pixels) = (nothing.clone(), nothing.clone(), nothing);
    let residual = order.images.len();
    for pixel in &order.scene.pixels {
        let terms = order.scene.terms_of(pixel);
        let Some(term) = terms.iter().find(|term| term.component == component) else { continue };
        let row = pixel.at.0;
        let half = 0.5 * track.scale[row];
        let nearest = image.shifts.iter().map(|shift| (term.u - shift).abs()).fold(f64::INFINITY, f64::min);
        let inside = ((order.options.aperture - nearest + half) / (2.0 * half)).clamp(0.0, 1.0);
        if inside == 0.0 {
            continue;
        }
        sky[row] += inside * f64::from(order.field.sky[pixel.at]);
        if !pixel.good {
            continue;
        }
        // what the pixel would hold at the sample of its row
        let here = order.factor(row, component, row as f64, term.u);
        let others = solution.light(&order.scene, pixel) - term.factor * solution.at(component, term.sample);
        let (sample, last) = (term.sample, rows.saturating_sub(1) as f64);
        let calm = |sample: f64| calm(solution, component, sample, last);
        let tilt = term.factor * (calm(row as f64) - calm(sample));
        light[row] += inside * (pixel.value - others + tilt);
        share[row] += inside * here;
        noise[row] += inside * inside * pixel.variance;
        shared[row] += inside * f64::from(order.field.shared[pixel.at]);
        pixels[row] += inside;
    }
    for row in 0..rows {
        let seen = share[row] * image.sign;
        if seen < 0.5 {
            (light[row], noise[row]) = (f64::NAN, f64::NAN);
            continue;
        }
        light[row] /= share[row];
        let mut common = shared[row] / pixels[row];
        if order.scene.components > residual {
            common += solution.variance(residual, row);
        }
        noise[row] = (noise[row] + pixels[row] * pixels[row] * common) / (seen * seen);
    }
    Aperture { light, variance: noise, sky }
}
