//! The response of every pixel: the flat divided by the smooth light of its lamp.

use ndarray::Array2;
use rayon::prelude::*;

use super::blaze::{Blaze, RowPlace};
use crate::numerics::curve::Curve;
use crate::numerics::robust::{CHUNK_ROWS, MAD_TO_SIGMA, median_f64};
use crate::reduction::flags;
use crate::reduction::orders::edges::Edges;
use crate::reduction::orders::image::Light;

/// An order with the light found in it.
#[derive(Clone, Copy, Debug)]
pub struct LitOrder<'a> {
    /// Its edges.
    pub edges: &'a Edges,
    /// Slope of the slit's image.
    pub tilt: &'a Curve,
    /// Light of the lamp; `None` where there is none.
    pub blaze: Option<&'a Blaze>,
}

/// What is and what is not a good pixel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ResponseOptions {
    /// Least part of the light that the slit must let through for a response: pixels on the slope of an edge have none.
    pub least_open: f64,
    /// Least signal to noise of the lamp's light in a pixel.
    pub least_signal: f64,
    /// Uncertainty of the edges, unbinned pixels.
    pub edge_error: f64,
    /// Response below which a pixel is cold, when it is so significantly.
    pub cold: f64,
    /// Response above which a pixel is hot, when it is so significantly.
    pub hot: f64,
    /// Significance, sigmas of the pixel's error and of the scatter of responses.
    pub sigma: f64,
}

/// Response of all pixels, with rows along the dispersion.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// Response; 1 where the lamp gives none.
    pub value: Array2<f32>,
    /// Variance; 0 where the lamp gives none.
    pub variance: Array2<f32>,
    /// Quality bits.
    pub flags: Array2<i32>,
    /// Smooth light of the lamp, electrons per pixel; 0 outside the orders.
    pub model: Array2<f32>,
    /// Scatter of the responses beyond their noise, robust.
    pub pattern: f64,
}

/// Divide. `light` holds the flat without scattered light, `variance` and `quality` belong to it.
pub fn divide(
    light: &Light,
    variance: &Array2<f32>,
    quality: &Array2<i32>,
    orders: &[LitOrder],
    options: &ResponseOptions,
) -> Response {
    let (rows, columns) = light.shape();
    let mut value = Array2::<f32>::from_elem((rows, columns), 1.0);
    let mut error = Array2::<f32>::zeros((rows, columns));
    let mut model = Array2::<f32>::zeros((rows, columns));
    let mut bits = quality.mapv(|bits| bits | flags::UNLIT);
    let chunk = CHUNK_ROWS * columns.max(1);
    if let (Some(value), Some(error), Some(model), Some(bits)) =
        (value.as_slice_mut(), error.as_slice_mut(), model.as_slice_mut(), bits.as_slice_mut())
    {
        let planes = value
            .par_chunks_mut(chunk)
            .zip(error.par_chunks_mut(chunk))
            .zip(model.par_chunks_mut(chunk))
            .zip(bits.par_chunks_mut(chunk));
        planes.enumerate().for_each(|(index, (((value, error), model), bits))| {
            let lines = value
                .chunks_mut(columns)
                .zip(error.chunks_mut(columns))
                .zip(model.chunks_mut(columns))
                .zip(bits.chunks_mut(columns));
            for (r, (((value, error), model), bits)) in lines.enumerate() {
                let row = index * CHUNK_ROWS + r;
                let line = Line { value, error, model, bits };
                divide_row(light, variance, quality, orders, options, row, line);
            }
        });
    }
    let mut response = Response { value, variance: error, flags: bits, model, pattern: 0.0 };
    response.pattern = pattern(&response);
    flag(&mut response, options);
    response
}

struct Line<'a> {
    value: &'a mut [f32],
    error: &'a mut [f32],
    model: &'a mut [f32],
    bits: &'a mut [i32],
}

fn divide_row(
    light: &Light,
    variance: &Array2<f32>,
    quality: &Array2<i32>,
    orders: &[LitOrder],
    options: &ResponseOptions,
    row: usize,
    line: Line,
) {
    let columns = light.shape().1;
    let (flat, noise, quality) = (light.value.row(row), variance.row(row), quality.row(row));
    let edge_error = options.edge_error / light.binning[1] as f64;
    for order in orders {
        let Some(blaze) = order.blaze else { continue };
        let place = RowPlace::of(light, row, order.edges, order.tilt);
        for column in place.columns(columns) {
            let (p, u) = place.at(column as f64);
            if p < blaze.reach[0] || p > blaze.reach[1] {
                continue;
            }
            let (open, slope) = place.slit(column as f64);
            let expected = blaze.light(p) * blaze.illumination(p, u.clamp(-1.0, 1.0)) * open;
            line.model[column] = expected as f32;
            let variance = f64::from(noise[column]);
            let lit =
                open >= options.least_open && expected > options.least_signal * variance.sqrt() && !blaze.is_feature(p);
            let usable = quality[column] & (flags::NO_DATA | flags::SATURATED | flags::COSMIC_RAY) == 0;
            if !lit || !usable || !flat[column].is_finite() {
                continue;
            }
            let response = f64::from(flat[column]) / expected;
            let from_edge = response * edge_error * slope / open;
            line.value[column] = response as f32;
            line.error[column] = (variance / (expected * expected) + from_edge * from_edge) as f32;
            line.bits[column] = quality[column];
        }
    }
}

/// Pixels that are sampled for the scatter of responses.
const SAMPLES: usize = 100_000;

/// Scatter of the responses of well exposed pixels, less their noise.
fn pattern(response: &Response) -> f64 {
    let step = (response.value.len() / SAMPLES).max(1) | 1;
    let sampled = response.value.iter().zip(&response.variance).zip(&response.flags).step_by(step);
    let good: Vec<(f64, f64)> = sampled
        .filter(|((_, variance), bits)| **bits == 0 && **variance < 1e-3)
        .map(|((value, variance), _)| (f64::from(*value), f64::from(*variance)))
        .collect();
    let mut sizes: Vec<f64> = good.iter().map(|(value, _)| (value - 1.0).abs()).collect();
    let mut noises: Vec<f64> = good.iter().map(|(_, variance)| *variance).collect();
    match (median_f64(&mut sizes), median_f64(&mut noises)) {
        (Some(size), Some(noise)) => ((MAD_TO_SIGMA * size).powi(2) - noise).max(0.0).sqrt(),
        _ => 0.0,
    }
}

/// Flag pixels whose response is far off, by significance: where the lamp is faint, noise is no defect.
fn flag(response: &mut Response, options: &ResponseOptions) {
    let pattern = response.pattern * response.pattern;
    ndarray::Zip::from(&mut response.flags).and(&response.value).and(&response.variance).par_for_each(
        |bits, value, variance| {
            if *bits & flags::UNLIT != 0 {
                return;
            }
            let off = f64::from(*value) - 1.0;
            if off.abs() <= options.sigma * (f64::from(*variance) + pattern).sqrt() {
                return;
            }
            if f64::from(*value) < options.cold {
                *bits |= flags::COLD;
            } else if f64::from(*value) > options.hot {
                *bits |= flags::HOT;
            }
        },
    );
}

/// Take a second lamp's response into the first: the mean of least variance where both have one, the only one elsewhere.
/// `shared` is the variance (electrons squared) of what was subtracted from both lamps: its error is common to them. Each
/// response is relative to the smooth light of its own lamp, so their levels match as they are. Shapes must be equal.
pub fn merge(first: &mut Response, second: &Response, shared: &Array2<f32>) {
    let unlit = flags::UNLIT;
    let lights = &first.model;
    ndarray::Zip::indexed(&mut first.value).and(&mut first.variance).and(&mut first.flags).par_for_each(
        |at, value, variance, bits| {
            let (Some(other), Some(error), Some(quality)) =
                (second.value.get(at), second.variance.get(at), second.flags.get(at))
            else {
                return;
            };
            if quality & unlit != 0 || *error <= 0.0 {
                return;
            }
            if *bits & unlit != 0 || *variance <= 0.0 {
                (*value, *variance, *bits) = (*other, *error, *quality);
                return;
            }
            let lights = lights[at] * second.model.get(at).copied().unwrap_or(f32::INFINITY);
            let common = (shared.get(at).copied().unwrap_or(0.0) / lights).min(0.99 * variance.min(*error)).max(0.0);
            let weight = ((*variance - common) / (*variance + error - 2.0 * common)).clamp(0.0, 1.0);
            let rest = 1.0 - weight;
            *value = rest * *value + weight * other;
            *variance = rest * rest * *variance + weight * weight * error + 2.0 * weight * rest * common;
            *bits |= quality;
        },
    );
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::blaze::{BlazeOptions, measure};
    use super::*;
    use crate::reduction::orders::synthetic::{ROWS, Scene};

    const BLAZE: BlazeOptions = BlazeOptions { interval: 128.0, shortest: 16.0, tolerance: 0.025 };
    const OPTIONS: ResponseOptions =
        ResponseOptions { least_open: 0.9, least_signal: 5.0, edge_error: 0.01, cold: 0.7, hot: 1.5, sigma: 5.0 };

    /// The true edges.
    pub fn slit_edges(scene: &Scene) -> Vec<Edges> {
        let domain = [0.0, (ROWS - 1) as f64];
        (1..=4)
            .map(|order| Edges {
                order,
                lower: Curve::through(domain, 6, |b| scene.centre(order, b) - scene.half),
                upper: Curve::through(domain, 6, |b| scene.centre(order, b) + scene.half),
                blur: 0.8,
                covered: domain,
                scatter: [0.0; 2],
                slices: vec![],
            })
            .collect()
    }

    fn truth(r: usize, c: usize) -> f64 {
        let noise = ((r * 7919 + c * 104_729) % 1009) as f64 / 504.0 - 1.0;
        if (r * 31 + c * 17).is_multiple_of(499) { 0.3 } else { 1.0 + 0.02 * noise }
    }

    fn response(scene: &Scene, exposures: f64, seed: u64) -> Response {
        let value = scene.expose(&scene.image(truth).mapv(|v| v * exposures), seed).mapv(|v| v / exposures as f32);
        let floor = (scene.ron * scene.ron / exposures / exposures) as f32;
        let variance = value.mapv(|v| v.max(0.0) / exposures as f32 + floor);
        let light = Light { value, shot: 1.0 / exposures, floor: floor.into(), binning: [1, 1] };
        let edges = slit_edges(scene);
        let tilt = Curve::constant([0.0, 511.0], 0.0);
        let blazes: Vec<Option<Blaze>> =
            edges.iter().map(|edges| measure(&light, &variance, edges, &tilt, &BLAZE)).collect();
        let orders: Vec<LitOrder> = edges
            .iter()
            .zip(&blazes)
            .map(|(edges, blaze)| LitOrder { edges, tilt: &tilt, blaze: blaze.as_ref() })
            .collect();
        divide(&light, &variance, &Array2::zeros(variance.dim()), &orders, &OPTIONS)
    }

    fn pulls(found: &Response) -> (f64, f64, usize) {
        let (mut pulls, mut rms, mut n) = (0.0, 0.0, 0.0);
        for ((at, value), variance) in found.value.indexed_iter().zip(&found.variance) {
            if found.flags[at] == 0 {
                let miss = f64::from(*value) - truth(at.0, at.1);
                pulls += miss * miss / f64::from(*variance);
                rms += miss * miss;
                n += 1.0;
            }
        }
        (f64::sqrt(pulls / n), f64::sqrt(rms / n), n as usize)
    }

    #[test]
    fn the_response_is_the_truth_within_its_error() {
        let scene = Scene { scattered: 0.0, ..Scene::slit() };
        let found = response(&scene, 5.0, 11);
        let (width, rms, n) = pulls(&found);
        assert!((width - 1.0).abs() < 0.03 && rms < 0.008 && n > 60_000, "{width} {rms} {n}");
        assert!((found.pattern - 0.0148).abs() < 0.003, "{}", found.pattern);
        let cold = found.flags.indexed_iter().filter(|(_, bits)| **bits & flags::COLD != 0).collect::<Vec<_>>();
        assert!(cold.len() > 100 && cold.iter().all(|(at, _)| truth(at.0, at.1) < 0.5));
        // between the orders the response is 1, and says so
        let gap = [100, 52];
        assert_eq!((found.value[gap], found.variance[gap], found.flags[gap]), (1.0, 0.0, flags::UNLIT));
    }

    #[test]
    fn faint_light_gives_a_wide_error_and_no_cold_pixels() {
        let scene = Scene { scattered: 0.0, level: 120.0, ..Scene::slit() };
        let found = response(&scene, 5.0, 12);
        let (width, rms, _) = pulls(&found);
        assert!((width - 1.0).abs() < 0.06 && rms > 0.03, "{width} {rms}");
        let wrong = found
            .flags
            .indexed_iter()
            .filter(|(at, bits)| **bits & flags::COLD != 0 && truth(at.0, at.1) > 0.5)
            .count();
        assert!(wrong < 3, "{wrong}");
    }

    #[test]
    fn a_second_lamp_halves_the_variance() {
        let scene = Scene { scattered: 0.0, ..Scene::slit() };
        let (mut first, second) = (response(&scene, 5.0, 13), response(&scene, 5.0, 14));
        let before = first.variance[[256, 136]];
        merge(&mut first, &second, &Array2::zeros(second.value.dim()));
        assert!((first.variance[[256, 136]] / before - 0.5).abs() < 0.02);
        let (width, ..) = pulls(&first);
        assert!((width - 1.0).abs() < 0.04, "{width}");
        assert_eq!(first.flags[[100, 52]], flags::UNLIT);
    }

    #[test]
    fn the_error_of_a_shared_bias_is_not_averaged_away() {
        // two lamps of 40 and 10 electrons above a bias known to 2 electrons, own variances 9 and 1
        let lamp = |light: f32, own: f32| Response {
            value: Array2::from_elem((4, 4), 1.0),
            variance: Array2::from_elem((4, 4), (own + 4.0) / (light * light)),
            flags: Array2::zeros((4, 4)),
            model: Array2::from_elem((4, 4), light),
            pattern: 0.0,
        };
        let (mut first, second) = (lamp(40.0, 9.0), lamp(10.0, 1.0));
        let (a, b, c) = (13.0 / 1600.0, 5.0 / 100.0, 4.0 / 400.0);
        let shared = Array2::from_elem((4, 4), 4.0);
        merge(&mut first, &second, &shared);
        // the bias is worse known, relative to the faint lamp, than all of the bright lamp: the faint one is left out
        assert!(c > a && (f64::from(first.variance[[0, 0]]) - a).abs() < 0.02 * a, "{} {b}", first.variance[[0, 0]]);
        let (mut equal, other) = (lamp(20.0, 5.0), lamp(20.0, 5.0));
        merge(&mut equal, &other, &shared);
        assert!((f64::from(equal.variance[[0, 0]]) - (0.5 * 5.0 + 4.0) / 400.0).abs() < 1e-7);
    }
}
