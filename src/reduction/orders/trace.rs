//! Order centres, traced on a flat through the single pinhole.

use super::OrderGuess;
use super::image::Light;
use super::profile::{PatchNoise, Peak, Sample, fit_peak};
use super::slices::{self, Measured, Walk};
use crate::numerics::curve::{self, Curve, Point};

/// How orders are traced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TraceOptions {
    /// Slices along the dispersion.
    pub walk: Walk,
    /// Half the width of a slice, unbinned pixels.
    pub half_width: f64,
    /// Degree of the centre along the dispersion.
    pub degree: usize,
    /// Significance of the light in a slice for it to count, sigmas.
    pub significance: f64,
    /// A slice further than this from the curve is left out, sigmas.
    pub cut: f64,
}

/// One slice across an order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slice {
    /// Middle of the slice, unbinned.
    pub b: f64,
    /// Rows that were taken together, unbinned.
    pub length: f64,
    /// What was found; `None` without significant light.
    pub peak: Option<Peak>,
    /// Whether the curve uses it.
    pub used: bool,
}

/// The trace of one order. Curves are in unbinned pixels.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// Order.
    pub order: u8,
    /// Centre `a` against `b`, with covariance.
    pub centre: Curve,
    /// Gaussian sigma of the pinhole's image along `a`, against `b`.
    pub sigma: Curve,
    /// First and last `b` with measurements. Beyond them the centre is extrapolated and its error grows.
    pub covered: [f64; 2],
    /// Longest stretch inside `covered` without a measurement, pixels.
    pub longest_gap: f64,
    /// Root mean square residual of the slices used, pixels.
    pub scatter: f64,
    /// Slices in rising `b`; faint ones were taken together.
    pub slices: Vec<Slice>,
}

impl Trace {
    /// Root mean square error of the centre along the covered part, pixels.
    pub fn error(&self) -> f64 {
        const PLACES: u32 = 32;
        let [low, high] = self.covered;
        let at = |k: u32| self.centre.sigma(low + (high - low) * f64::from(k) / f64::from(PLACES));
        ((0..=PLACES).map(|k| at(k).powi(2)).sum::<f64>() / f64::from(PLACES + 1)).sqrt()
    }
}

/// Error of a slice's centre that does not average out along it (pixel response, shape of the profile), unbinned pixels;
/// it grows with the square of the binning.
const FLOOR: f64 = 0.006;
/// What is expected of the deviation from the searched place, per Chebyshev coefficient, unbinned pixels: the published
/// shape is good to some tenths of a pixel.
pub(super) const PRIOR: [f64; 9] = [5.0, 3.0, 1.0, 0.5, 0.3, 0.2, 0.15, 0.1, 0.1];

/// Part of its length by which the centre of a long slice may be off, because light is not spread evenly along it and the
/// order bends otherwise than expected.
const BEND: f64 = 2e-4;

/// Trace one order. `None` when too few slices show light for a curve.
///
/// Where light is so faint that slices had to be taken together, the trace is repeated along the curve found first, so
/// that a long slice is not smeared by what was not known of the order's shape.
pub fn trace(light: &Light, place: &OrderGuess, options: &TraceOptions) -> Option<Trace> {
    let first = trace_along(light, &place.centre, place, options)?;
    match first.slices.iter().any(|slice| slice.used && slice.length > options.walk.stride as f64) {
        true => trace_along(light, &first.centre, place, options),
        false => Some(first),
    }
}

/// Trace one order with slices that follow a curve.
fn trace_along(light: &Light, path: &Curve, place: &OrderGuess, options: &TraceOptions) -> Option<Trace> {
    let slices = slices::along(light, options.walk, |start, length, b| slice(light, path, options, start, length, b));
    let domain = light.reach();
    let points: Vec<Point> = slices
        .iter()
        .map(|slice| match slice.found {
            Some(peak) => {
                let long = slice.length > options.walk.stride as f64;
                let bend = if long { BEND * slice.length } else { 0.0 };
                let sigma = peak.centre_error.hypot(bend);
                Point { x: slice.b, y: peak.centre - place.centre.at(slice.b), sigma }
            }
            None => Point { x: slice.b, y: f64::NAN, sigma: f64::NAN },
        })
        .collect();
    let degree = options.degree.min(PRIOR.len() - 1);
    let fitted =
        curve::fit(&points, domain, degree, &PRIOR, FLOOR * (light.binning[1] * light.binning[1]) as f64, options.cut)?;
    let base = Curve::through(domain, degree.max(place.centre.coefficients.len()), |b| place.centre.at(b));
    let centre = sum(&base, &fitted.curve);
    let slices: Vec<Slice> = slices
        .into_iter()
        .zip(&fitted.used)
        .map(|(Measured { b, length, found }, used)| Slice { b, length, peak: found, used: *used })
        .collect();
    let widths: Vec<Point> = slices
        .iter()
        .filter_map(|slice| slice.peak.filter(|_| slice.used).map(|peak| (slice.b, peak)))
        .map(|(x, peak)| Point { x, y: peak.sigma, sigma: 0.02 + 0.5 * peak.flux_error / peak.flux.max(1.0) })
        .collect();
    let prior = [10.0, 1.0, 0.5, 0.3];
    let sigma = curve::fit(&widths, domain, 3, &prior, 0.02, 4.0)?.curve;
    let spans: Vec<(f64, f64, bool)> = slices.iter().map(|slice| (slice.b, slice.length, slice.used)).collect();
    let (covered, longest_gap) = slices::coverage(&spans)?;
    Some(Trace { order: place.order, centre, sigma, covered, longest_gap, scatter: fitted.scatter, slices })
}

/// Sum of two curves over one interval, with the covariance of the second.
pub(super) fn sum(base: &Curve, more: &Curve) -> Curve {
    let n = base.coefficients.len().max(more.coefficients.len());
    let at = |curve: &Curve, k: usize| curve.coefficients.get(k).copied().unwrap_or(0.0);
    let m = more.coefficients.len();
    let mut covariance = vec![0.0; n * n];
    if more.covariance.len() == m * m {
        for i in 0..m {
            covariance[i * n..i * n + m].copy_from_slice(&more.covariance[i * m..i * m + m]);
        }
    }
    Curve { domain: base.domain, coefficients: (0..n).map(|k| at(base, k) + at(more, k)).collect(), covariance }
}

/// Fit the peak in some rows; its centre is that at the middle row, in unbinned pixels, as are all errors and widths.
fn slice(light: &Light, path: &Curve, options: &TraceOptions, start: usize, length: usize, b: f64) -> Option<Peak> {
    let columns = light.shape().1 as i64;
    let bin = light.binning[1] as f64;
    let middle = start as f64 + 0.5 * (length - 1) as f64;
    let half = (options.half_width / bin).max(4.0);
    let mut samples = Vec::with_capacity(length * (2 * half as usize + 2));
    for row in start..start + length {
        let centre = light.column_of(path.at(light.b_of(row as f64)));
        let along = 2.0 * (row as f64 - middle) / length as f64;
        let first = (centre - half).ceil() as i64;
        let line = light.value.row(row);
        for column in first.max(0)..=((centre + half).floor() as i64).min(columns - 1) {
            let value = f64::from(line[column as usize]);
            if value.is_finite() {
                samples.push(Sample { offset: column as f64 - centre, along, value });
            }
        }
    }
    let noise = PatchNoise { floor: light.floor, shot: light.shot, cut: 6.0, tolerance: 0.03 };
    // a peak needs its background on both sides
    let whole = samples.iter().any(|s| s.offset < -0.6 * half) && samples.iter().any(|s| s.offset > 0.6 * half);
    let peak = if whole { fit_peak(&samples, 0.0, 2.5, noise) } else { None };
    let peak = peak.filter(|p| p.flux > options.significance * p.flux_error && p.centre_error * bin < 0.5);
    let at = path.at(b);
    peak.map(|p| Peak { centre: at + p.centre * bin, centre_error: p.centre_error * bin, sigma: p.sigma * bin, ..p })
}

#[cfg(test)]
mod tests {
    use super::super::synthetic;
    use super::*;

    const OPTIONS: TraceOptions =
        TraceOptions { walk: Walk { length: 8, stride: 16 }, half_width: 8.0, degree: 7, significance: 5.0, cut: 5.0 };

    #[test]
    fn centres_are_right_within_their_errors() {
        for binning in [[1, 1], [1, 2], [2, 2]] {
            let scene = synthetic::Scene { shift: [1.3, 0.0], binning, rays: 60, ..synthetic::Scene::pinhole() };
            let light = scene.light(5);
            let places: Vec<OrderGuess> = scene
                .guesses()
                .into_iter()
                .map(|mut guess| {
                    guess.centre.coefficients[0] += 1.0;
                    guess
                })
                .collect();
            for place in &places {
                let found = trace(&light, place, &OPTIONS).unwrap();
                let errors: Vec<f64> = (0..synthetic::ROWS)
                    .step_by(8)
                    .map(|b| found.centre.at(b as f64) - scene.centre(place.order, b as f64))
                    .collect();
                let rms = (errors.iter().map(|e| e * e).sum::<f64>() / errors.len() as f64).sqrt();
                assert!(rms < 0.05 * binning[1] as f64, "{binning:?} order {}: {rms}", place.order);
                let sigma = found.centre.sigma(256.0);
                assert!(errors[32].abs() < 5.0 * sigma, "{} {sigma}", errors[32]);
                assert!(found.covered[1] - found.covered[0] > 450.0 && found.longest_gap < 60.0, "{:?}", found.covered);
            }
        }
    }

    #[test]
    fn a_dark_end_is_not_covered_and_its_error_grows() {
        let scene = synthetic::Scene { dark_from: 320.0, ..synthetic::Scene::pinhole() };
        let found = trace(&scene.light(7), &scene.guesses()[1], &OPTIONS).unwrap();
        assert!((found.covered[1] - 320.0).abs() < 40.0, "{:?}", found.covered);
        assert!(found.centre.sigma(500.0) > 10.0 * found.centre.sigma(160.0));
        let error = found.centre.at(500.0) - scene.centre(2, 500.0);
        assert!(error.abs() < 3.0 * found.centre.sigma(500.0) && error.abs() < 1.5, "{error}");
    }
}
