//! The light of the sky along an order, measured on the pixels as they are.
//!
//! After Kelson (2003, PASP 115, 688): lines of the sky lean on the detector, so that the pixels of an order sample them
//! far more finely than one row per pixel, and a spline in wavelength through all of them needs no resampling. Here the
//! spline has knots where the sky shows structure and few elsewhere, which keeps its error small under a faint source;
//! weights come from the noise model and never from the noisy pixel; outliers are rejected on both sides; nothing is
//! clamped at zero. How the light changes along the slit is described by a few terms ([`super::modes`]).

use ndarray::Array2;

use super::modes::{self, Modes};
use super::rows::Rows;
use super::strip::Strip;
use crate::numerics::bspline::{Cubics, Spline, SplineSums};
use crate::numerics::robust::{chi_square_limit, median};

/// What the sky puts into every pixel of a strip.
///
/// `variance` is that of the model, which neighbours along an iso-wavelength line share completely: the error of a sum
/// over the slit with weights `w` is `(sum w)^2 * variance`, not `sum w^2 * variance`.
#[derive(Clone, Debug, PartialEq)]
pub struct SkyModel {
    /// Light, as [`Strip::value`]; zero outside the order.
    pub value: Array2<f32>,
    /// Variance of the model.
    pub variance: Array2<f32>,
}

/// How the sky is fitted.
#[derive(Clone, Debug, PartialEq)]
pub struct SkyOptions {
    /// A pixel further than this from the model is left out, sigmas of the noise model.
    pub rejection: f64,
    /// Rounds of rejection.
    pub rounds: usize,
    /// Distances of knots that are tried, rows, falling. The last is used where the sky has structure.
    pub spacing: Vec<f64>,
    /// Gaussian deviate from which a stretch counts as structure.
    pub structure: f64,
    /// Relative error of the light of a source: bright sources take no part in the sky.
    pub source_error: f64,
}

impl Default for SkyOptions {
    fn default() -> SkyOptions {
        SkyOptions { rejection: 4.0, rounds: 6, spacing: vec![8.0, 3.0, 1.2, 0.6], structure: 3.3, source_error: 0.03 }
    }
}

/// The sky of a strip.
#[derive(Clone, Debug)]
pub struct Sky {
    /// Light and variance of every pixel.
    pub model: SkyModel,
    /// The sky at the middle of the slit against the row there, electrons.
    pub spline: Spline,
    /// How it changes along the slit.
    pub modes: Modes,
    /// Pixels that took part, and those that were left out as outliers.
    pub pixels: [usize; 2],
}

/// One pixel that may tell the sky.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pixel {
    /// Row at the middle of the slit.
    pub(super) u: f64,
    /// Slit position, arcsec.
    pub(super) slit: f64,
    /// Light without that of sources.
    pub(super) value: f64,
    /// One over the variance.
    pub(super) weight: f64,
    /// Left out.
    pub(super) out: bool,
    /// What the slit makes of the sky here: factor and offset, see [`Modes`].
    factor: f64,
    offset: f64,
    /// Light of sources.
    source: f64,
    floor: f32,
    shot: f32,
    flat: f32,
}

impl Pixel {
    fn variance(&self, sky: f64, source_error: f64) -> f64 {
        let light = (sky + self.source).max(0.0);
        let source = source_error * self.source;
        f64::from(self.floor) + f64::from(self.shot) * light + f64::from(self.flat) * light * light + source * source
    }
}

/// Fit the sky of a strip. `source` is the light of sources; pixels at the slit positions `hidden` (arcsec) take no part.
/// `rows` follows the lean of the lines that the sky itself shows. `None` when too few pixels are usable.
pub fn fit(
    strip: &Strip,
    rows: &mut Rows,
    source: Option<&Array2<f32>>,
    hidden: &[[f32; 2]],
    options: &SkyOptions,
) -> Option<Sky> {
    let mut pixels = pixels(strip, rows, source, hidden);
    let (least, most) =
        pixels.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), pixel| (a.min(pixel.u), b.max(pixel.u)));
    if pixels.len() < LEAST_PIXELS || most - least < LEAST_ROWS {
        return None;
    }
    start(&mut pixels, rows.len(), options);
    let finest = options.spacing.last().copied().unwrap_or(0.6);
    let domain = [least, most];
    let dense = even_breaks(domain, finest);
    let mut modes = Modes::none(rows.len());
    let mut spline = settle(&mut pixels, &dense, options, options.rounds)?;
    for _ in 0..MODE_ROUNDS {
        let (found, lean) = modes::fit(&pixels, &spline, rows.len());
        modes = found;
        lean.apply(&mut rows.at, &strip.slit);
        for pixel in &mut pixels {
            pixel.u = lean.moved(pixel.u, pixel.slit);
            (pixel.factor, pixel.offset) = (modes.factor(pixel.u, pixel.slit), modes.offset(pixel.u, pixel.slit));
        }
        spline = settle(&mut pixels, &dense, options, 1)?;
    }
    let breaks = adapted(&pixels, domain, &spline, options)?;
    let spline = settle(&mut pixels, &breaks, options, 2)?;
    let left_out = pixels.iter().filter(|pixel| pixel.out).count();
    let model = model(strip, rows, &spline, &modes);
    Some(Sky { model, spline, modes, pixels: [pixels.len() - left_out, left_out] })
}

/// Fewest pixels and rows of an order that has a sky.
const LEAST_PIXELS: usize = 200;
const LEAST_ROWS: f64 = 16.0;
/// Rounds between the spline and what changes along the slit.
const MODE_ROUNDS: usize = 2;
/// Rows per node of the table of variances.
const VARIANCE_STEP: f64 = 0.25;

fn pixels(strip: &Strip, rows: &Rows, source: Option<&Array2<f32>>, hidden: &[[f32; 2]]) -> Vec<Pixel> {
    let (count, width) = strip.shape();
    let mut pixels = Vec::with_capacity(count * width);
    for r in 0..count {
        for c in 0..width {
            let (at, slit) = ((r, c), strip.slit[(r, c)]);
            if !strip.usable(at) || hidden.iter().any(|[low, high]| (low..=high).contains(&&slit)) {
                continue;
            }
            let light = source.map_or(0.0, |source| f64::from(source[at]));
            let (u, value, floor) = (f64::from(rows.at[at]), f64::from(strip.value[at]) - light, strip.floor[at]);
            let response = strip.response[at];
            if !(u.is_finite() && value.is_finite() && floor > 0.0 && floor.is_finite() && response > 0.0) {
                continue;
            }
            pixels.push(Pixel {
                u,
                slit: f64::from(slit),
                value,
                weight: 0.0,
                out: false,
                factor: 1.0,
                offset: 0.0,
                source: light,
                floor,
                shot: 1.0 / response,
                flat: strip.flat[at],
            });
        }
    }
    pixels
}

/// Breaks at equal distances of about `spacing`.
fn even_breaks([low, high]: [f64; 2], spacing: f64) -> Vec<f64> {
    let n = ((high - low) / spacing).round().max(1.0) as usize;
    (0..=n).map(|k| low + (high - low) * k as f64 / n as f64).collect()
}

/// First weights and outliers, from the median of every row: no fit can be misled by what is far off.
fn start(pixels: &mut [Pixel], rows: usize, options: &SkyOptions) {
    let medians = row_medians(pixels, rows);
    let last = rows.saturating_sub(1);
    for pixel in pixels {
        let row = (pixel.u.round().max(0.0) as usize).min(last);
        let near = &medians[row.saturating_sub(1)..(row + 2).min(rows)];
        let (low, high) = near.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), m| (a.min(*m), b.max(*m)));
        let middle = medians[row];
        let variance = pixel.variance(middle.max(0.0), options.source_error);
        pixel.weight = 1.0 / variance;
        // within a row a line may rise by what neighbouring rows differ
        pixel.out = (pixel.value - middle).abs() > START_SIGMAS * variance.sqrt() + (high - low);
    }
}

/// Outliers before any model, sigmas.
const START_SIGMAS: f64 = 6.0;

/// Median light of every row at the middle of the slit: a first look at the sky that needs no model.
pub fn medians(strip: &Strip, rows: &Rows) -> Vec<f64> {
    row_medians(&pixels(strip, rows, None, &[]), rows.len())
}

/// Median of the pixels round every row; rows without any take that of the row before.
fn row_medians(pixels: &[Pixel], rows: usize) -> Vec<f64> {
    let last = rows.saturating_sub(1);
    let row = |pixel: &Pixel| (pixel.u.round().max(0.0) as usize).min(last);
    let mut starts = vec![0usize; rows + 1];
    pixels.iter().for_each(|pixel| starts[row(pixel) + 1] += 1);
    for r in 0..rows {
        starts[r + 1] += starts[r];
    }
    let mut sorted = vec![0.0f32; pixels.len()];
    let mut next = starts.clone();
    for pixel in pixels {
        let r = row(pixel);
        sorted[next[r]] = pixel.value as f32;
        next[r] += 1;
    }
    let mut before = 0.0;
    (0..rows)
        .map(|r| {
            before = median(&mut sorted[starts[r]..starts[r + 1]]).unwrap_or(before);
            before
        })
        .collect()
}

/// Fit, reject and weigh anew until nothing changes any more.
fn settle(pixels: &mut [Pixel], breaks: &[f64], options: &SkyOptions, rounds: usize) -> Option<Spline> {
    let basis = Cubics::new(breaks)?;
    for _ in 0..rounds.max(1) {
        let found = solve(pixels, &basis)?;
        let mut changed = 0;
        for pixel in pixels.iter_mut() {
            let model = found.at(pixel.u) * pixel.factor + pixel.offset;
            let variance = pixel.variance(model, options.source_error);
            let out = (pixel.value - model).powi(2) > options.rejection * options.rejection * variance;
            changed += usize::from(out != pixel.out);
            pixel.out = out;
            pixel.weight = 1.0 / variance;
        }
        if changed * FEW < pixels.len() {
            break;
        }
    }
    // the last judgement of pixels has its fit too
    solve(pixels, &basis)
}

/// A round that changes less than one pixel in so many is the last.
const FEW: usize = 2000;

/// One fit with the weights as they are.
fn solve(pixels: &[Pixel], basis: &Cubics) -> Option<Spline> {
    let mut sums = SplineSums::new(basis.clone());
    for pixel in pixels.iter().filter(|pixel| !pixel.out) {
        let value = (pixel.value - pixel.offset) / pixel.factor;
        sums.add(pixel.u, value, pixel.weight * pixel.factor * pixel.factor);
    }
    sums.solve()
}

/// Knots as far apart as the sky allows: stretches where coarser knots contradict the dense fit are divided.
fn adapted(pixels: &[Pixel], domain: [f64; 2], dense: &Spline, options: &SkyOptions) -> Option<Vec<f64>> {
    let mut spacings = options.spacing.iter();
    let mut breaks = even_breaks(domain, *spacings.next()?);
    // stretches that still have to be looked at, by their first break
    let mut open: Vec<bool> = vec![true; breaks.len() - 1];
    let finest = options.spacing.last().copied().unwrap_or(1.0);
    for spacing in spacings {
        let coarse = solve(pixels, &Cubics::new(&breaks)?)?;
        let bad: Vec<bool> = breaks
            .windows(2)
            .zip(&open)
            .map(|(stretch, open)| {
                *open && contradicts(&coarse, dense, [stretch[0], stretch[1]], finest, options.structure)
            })
            .collect();
        if !bad.contains(&true) {
            break;
        }
        let (mut finer, mut next) = (Vec::new(), Vec::new());
        for (stretch, bad) in breaks.windows(2).zip(bad) {
            let parts = if bad { ((stretch[1] - stretch[0]) / spacing).round().max(2.0) as usize } else { 1 };
            for k in 0..parts {
                finer.push(stretch[0] + (stretch[1] - stretch[0]) * k as f64 / parts as f64);
                next.push(bad);
            }
        }
        finer.extend(breaks.last());
        (breaks, open) = (finer, next);
    }
    Some(breaks)
}

/// Whether a coarse spline differs from the dense one by more than the error of the dense one, over a stretch and its
/// nearest surroundings.
fn contradicts(coarse: &Spline, dense: &Spline, [low, high]: [f64; 2], finest: f64, structure: f64) -> bool {
    let (low, high) = (low - finest, high + finest);
    let steps = ((high - low) / (0.5 * finest)).ceil().max(2.0) as usize;
    let (mut sum, mut largest) = (0.0, 0.0f64);
    for k in 0..=steps {
        let u = low + (high - low) * k as f64 / steps as f64;
        let square = (coarse.at(u) - dense.at(u)).powi(2) / dense.variance(u).max(f64::MIN_POSITIVE);
        sum += square;
        largest = largest.max(square);
    }
    let degrees = ((high - low) / finest).max(2.0);
    let mean = sum / (steps + 1) as f64;
    mean * degrees > chi_square_limit(degrees, structure) || largest > (structure + 0.7).powi(2)
}

/// The model on every pixel of the order, whether it took part or not.
fn model(strip: &Strip, rows: &Rows, spline: &Spline, modes: &Modes) -> SkyModel {
    let [low, high] = spline.basis().domain();
    let steps = ((high - low) / VARIANCE_STEP).ceil().max(1.0) as usize;
    let scale = steps as f64 / (high - low);
    let table: Vec<f64> = (0..=steps).map(|k| spline.variance(low + k as f64 / scale)).collect();
    let mut model = SkyModel { value: Array2::zeros(strip.shape()), variance: Array2::zeros(strip.shape()) };
    for ((at, u), slit) in rows.at.indexed_iter().zip(&strip.slit) {
        if !u.is_finite() {
            continue;
        }
        let (u, slit) = (f64::from(*u), f64::from(*slit));
        let sky = spline.at(u);
        model.value[at] = (sky + modes.at(sky, u, slit)) as f32;
        let place = ((u - low) * scale).clamp(0.0, steps as f64);
        let i = (place as usize).min(steps - 1);
        model.variance[at] = (table[i] + (table[i + 1] - table[i]) * (place - i as f64)) as f32;
    }
    model
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::{Scene, line};
    use super::*;

    const LINES: [(f64, f64); 5] = [(30.3, 800.0), (61.9, 9000.0), (66.4, 2500.0), (118.8, 300.0), (151.2, 40_000.0)];

    fn lines(u: f64) -> f64 {
        LINES.iter().map(|(row, peak)| peak * line(u - row, 3.6, 0.7)).sum()
    }

    fn star(slit: f64, total: f64, sigma: f64) -> f64 {
        total / (sigma * 2.506_628) / 3.6 * (-0.5 * ((slit - 0.8) / sigma).powi(2)).exp()
    }

    /// Scatter and mean of residuals over their noise, on lines and between them; then those of the model alone over its own
    /// error, all against the exact light.
    fn judged(light: &dyn Fn(f64, f64) -> f64, sky: &Sky, strip: &Strip) -> [(f64, f64); 3] {
        let scene = Scene { shape: strip.shape(), ..Scene::small() };
        let mut sums = [(0.0, 0.0, 0.0f64); 3];
        for (at, value) in strip.value.indexed_iter().filter(|(at, _)| strip.usable(*at)) {
            let slit = f64::from(strip.slit[at]);
            let u = scene.row_at_middle(at.0 as f64, slit);
            let exact = light(u, slit);
            let model = f64::from(sky.model.value[at]);
            let residual = (f64::from(*value) - model) / strip.variance(at, exact).sqrt();
            let own = (model - exact) / f64::from(sky.model.variance[at]).sqrt();
            let kind = usize::from(lines(u) < 1.0);
            for (k, x) in [(kind, residual), (2, own)] {
                sums[k] = (sums[k].0 + 1.0, sums[k].1 + x, sums[k].2 + x * x);
            }
        }
        sums.map(|(n, sum, squares)| ((squares / n).sqrt(), sum / n))
    }

    fn fitted(strip: &Strip, source: Option<&Array2<f32>>, hidden: &[[f32; 2]]) -> Sky {
        fit(strip, &mut Rows::of(strip).unwrap(), source, hidden, &SkyOptions::default()).unwrap()
    }

    #[test]
    fn residuals_have_the_noise_of_the_pixels_on_lines_and_between() {
        let light = |u: f64, s: f64| (40.0 + lines(u)) * (1.0 + 0.02 * s / 6.0);
        let strip = Scene::small().strip(&light);
        let sky = fitted(&strip, None, &[]);
        let [(on, _), (between, mean), (own, _)] = judged(&light, &sky, &strip);
        assert!(on < 1.15 && on > 0.9, "{on}");
        assert!((0.95..1.03).contains(&between) && mean.abs() < 0.03, "{between} {mean}");
        assert!(own < 1.6, "{own}");
        // lit 2 % brighter at each end: 4 % from end to end
        assert!((sky.modes.slope() - 0.04).abs() < 0.015, "{}", sky.modes.slope());
    }

    #[test]
    fn an_empty_sky_stays_empty_without_a_clamp() {
        let strip = Scene::small().strip(&|_, _| 0.0);
        let sky = fitted(&strip, None, &[]);
        let values: Vec<f64> = sky.model.value.iter().filter(|v| **v != 0.0).map(|v| f64::from(*v)).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        assert!(mean.abs() < 0.15 && values.iter().any(|value| *value < 0.0), "{mean}");
        // few knots where there is nothing: the error is far below that of a row of pixels
        assert!(sky.spline.basis().len() < 45, "{}", sky.spline.basis().len());
        let noise = 3.8 / 43f64.sqrt();
        let error = f64::from(sky.model.variance[(100, 25)]).sqrt();
        assert!(error < 0.6 * noise && error > 0.1 * noise, "{error} {noise}");
    }

    #[test]
    fn a_known_source_is_no_sky_though_it_covers_a_third_of_the_slit() {
        let light = |u: f64, _: f64| 40.0 + lines(u);
        for total in [300.0, 200_000.0] {
            let both = |u: f64, s: f64| light(u, s) + star(s, total, 0.9);
            let strip = Scene::small().strip(&both);
            let source = Scene { seed: None, ..Scene::small() }.strip(&|_, s| star(s, total, 0.9)).value;
            let sky = fitted(&strip, Some(&source), &[]);
            let (mut gained, mut given) = (0.0, 0.0);
            for (at, light_of_star) in source.indexed_iter().filter(|(at, _)| strip.usable(*at)) {
                gained += f64::from(strip.value[at] - sky.model.value[at]);
                given += f64::from(*light_of_star);
            }
            let noise = strip.value.iter().map(|v| f64::from(v.max(0.0)) + 14.4).sum::<f64>().sqrt();
            assert!((gained - given).abs() < 0.01 * given + 3.0 * noise, "{gained} {given} {noise}");
        }
    }

    #[test]
    fn lines_that_lean_otherwise_than_the_map_are_followed() {
        let off = |s: f64| 0.1 * s / 6.0;
        let light = |u: f64, s: f64| 40.0 + lines(u + off(s));
        let strip = Scene::small().strip(&light);
        let sky = fitted(&strip, None, &[]);
        let [(on, _), _, _] = judged(&light, &sky, &strip);
        assert!(on < 1.2, "{on}");
    }

    #[test]
    fn rays_do_not_pull_and_too_few_pixels_have_no_sky() {
        let light = |u: f64, _: f64| 40.0 + lines(u);
        let mut strip = Scene::small().strip(&light);
        for k in 0..60 {
            strip.value[(3 * k + 5, 5 + (k * 7) % 40)] += 3000.0;
            strip.value[(3 * k + 6, 5 + (k * 11) % 40)] -= 200.0;
        }
        let sky = fitted(&strip, None, &[]);
        assert!(sky.pixels[1] > 100, "{:?}", sky.pixels);
        let mut largest = 0.0f64;
        for row in (5..195).filter(|row| lines(*row as f64) < 0.5 && lines(*row as f64 + 1.0) < 0.5) {
            largest = largest.max((f64::from(sky.model.value[(row, 25)]) - light(row as f64, 0.0)).abs());
        }
        assert!(largest < 8.0, "{largest}");
        strip.flags.fill(crate::reduction::flags::HOT);
        assert!(fit(&strip, &mut Rows::of(&strip).unwrap(), None, &[], &SkyOptions::default()).is_none());
    }
}
