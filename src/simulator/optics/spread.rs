//! The spread of light across and along the slit, at one place of an order after the other.
//!
//! The optics' blur is round on the detector, while the image of the slit is tilted against the pixels. Seen in the
//! coordinates of an order (pixels along the dispersion, arcseconds along the slit), the blur is therefore an ellipse
//! at an angle, with variances `a` and `c` and covariance `b`. Writing blur as an operator, exp(a/2 dp2 + b dp ds +
//! c/2 ds2) acts on spectrum S(p) times profile P(s) to first order in b as S(p + b P'/P) P(s): the spectrum moves
//! along the dispersion where the profile slopes. Along an even slit nothing moves, and the light of a star leans
//! less than the slit. The moves widen the summed spectrum by b2 times the mean of (P'/P)2, which is taken off `a`.

use crate::instrument::OrderFormat;

use super::shape::{Entrance, Marginal, Shape};
use super::view::{Grid, SAMPLES, View};
use super::{FWHM_OF_SIGMA, Focus};
use crate::simulator::math;

/// Samples of the dispersion grid between two places at which the spread is worked out: 64 pixels.
pub(super) const KNOT: usize = 64 * SAMPLES;
/// Arcseconds between samples of a profile along the slit.
pub(super) const SLIT_STEP: f64 = 0.02;
/// Standard deviations after which a Gaussian ends. What is left out is 4e-8 of it.
pub(super) const TAIL: f64 = 5.5;

/// The spread at one place of an order.
#[derive(Clone, Debug)]
pub(super) struct Knot {
    /// Along the dispersion: `SAMPLES` per pixel, an odd number of them, centred; the sum is the transmission of the
    /// slit (for a source) or its width in arcseconds (for a surface).
    pub kernel: Vec<f64>,
    /// Along the slit, per arcsecond (source) or relative to a full slit (surface), from `-reach` in steps of
    /// [`SLIT_STEP`].
    pub profile: Vec<f64>,
    /// Where the profile slopes, light moves along the dispersion: samples of the grid to look further ahead.
    pub ahead: Vec<f64>,
}

/// All places of one beam in one order, in steps of [`KNOT`] samples.
#[derive(Clone, Debug)]
pub(super) struct Spread {
    pub knots: Vec<Knot>,
    /// Arcseconds from the middle of the slit to the first sample of the profiles.
    pub reach: f64,
}

/// The ellipse of the optics' blur in the coordinates of an order.
struct Blur {
    /// Variance along the dispersion, pixels squared.
    a: f64,
    /// Covariance, pixels times arcseconds.
    b: f64,
    /// Variance along the slit, arcseconds squared.
    c: f64,
}

impl Blur {
    fn at(view: &View, focus: &Focus, order: &OrderFormat, wavelength: f64) -> Blur {
        let place = view.place(order, wavelength, 0.0);
        let (x, y) = view.pixel(place.along, place.beside);
        let sigma = focus.fwhm(view.format().arm(), x, y) / FWHM_OF_SIGMA;
        // Derivatives of the position by p, the pixel along the dispersion in the middle of the slit, counted towards
        // longer wavelengths; then the inverse of the matrix that they form with those by the slit position.
        let per_pixel = place.along_dw.abs();
        let (along_dp, beside_dp) = (place.along_dw / per_pixel, place.beside_dw / per_pixel);
        let determinant = along_dp * place.beside_ds - place.along_ds * beside_dp;
        let p = (place.beside_ds / determinant, -place.along_ds / determinant);
        let s = (-beside_dp / determinant, along_dp / determinant);
        let variance = sigma * sigma;
        Blur {
            a: variance * (p.0 * p.0 + p.1 * p.1),
            b: variance * (p.0 * s.0 + p.1 * s.1),
            c: variance * (s.0 * s.0 + s.1 * s.1),
        }
    }
}

/// How far the light of a beam reaches from the middle of the slit along it, arcsec, blur included.
pub(super) fn reach(view: &View, focus: &Focus, entrance: &Entrance) -> f64 {
    let format = view.format();
    let half = match entrance {
        Entrance::Slit { .. } => 0.5 * format.slit_length(),
        Entrance::Pinholes { along, diameter, .. } => {
            along.iter().fold(0.0, |far: f64, hole| far.max(hole.abs())) + 0.5 * diameter
        }
    };
    let widest = format
        .orders()
        .iter()
        .flat_map(|order| {
            let [blue, red] = order.wavelengths();
            [blue, 0.5 * (blue + red), red].map(|wavelength| Blur::at(view, focus, order, wavelength).c.sqrt())
        })
        .fold(0.0, f64::max);
    // Ends and middle of an order are no maximum of the blur: a tenth more covers it.
    half + 1.1 * TAIL * widest
}

/// The spread of one beam along one order.
pub(super) fn spread(
    view: &View,
    focus: &Focus,
    entrance: &Entrance,
    shape: &Shape,
    order: &OrderFormat,
    grid: &Grid,
) -> Spread {
    let reach = reach(view, focus, entrance);
    let last = grid.wavelengths().len().saturating_sub(1);
    let knots = (0..=last.div_ceil(KNOT))
        .filter_map(|number| grid.wavelengths().get((number * KNOT).min(last)))
        .map(|&wavelength| knot(view, focus, entrance, shape, order, wavelength, reach))
        .collect();
    Spread { knots, reach }
}

fn knot(
    view: &View,
    focus: &Focus,
    entrance: &Entrance,
    shape: &Shape,
    order: &OrderFormat,
    wavelength: f64,
    reach: f64,
) -> Knot {
    let blur = Blur::at(view, focus, order, wavelength);
    let sharp = along(entrance, shape, view.format().slit_length(), wavelength, reach);
    let profile = blurred(&sharp, blur.c.sqrt() / SLIT_STEP);
    let peak = profile.iter().copied().fold(0.0, f64::max);
    let mut ahead = vec![0.0; profile.len()];
    let (mut widening, mut sum) = (0.0, 0.0);
    for at in 1..profile.len().saturating_sub(1) {
        sum += profile[at];
        if profile[at] > 1e-9 * peak {
            let slope = (profile[at + 1] - profile[at - 1]) / (2.0 * SLIT_STEP * profile[at]);
            ahead[at] = blur.b * slope * SAMPLES as f64;
            widening += profile[at] * slope * slope;
        }
    }
    let a = if sum > 0.0 { blur.a - blur.b * blur.b * widening / sum } else { blur.a };
    let kernel = across(entrance, shape, view.across(), a.max(0.5 * blur.a).sqrt(), wavelength);
    Knot { kernel, profile, ahead }
}

/// The profile along the slit before any blur, from `-reach` to `reach`.
fn along(entrance: &Entrance, shape: &Shape, slit_length: f64, wavelength: f64, reach: f64) -> Vec<f64> {
    let count = 2 * (reach / SLIT_STEP).ceil() as usize + 1;
    let mut target = vec![0.0; count];
    let line = Line { first: -reach, step: SLIT_STEP, scale: 1.0 };
    let half = 0.5 * slit_length;
    match (entrance, shape) {
        (Entrance::Slit { .. }, Shape::Surface { slope }) => {
            line.lay(&mut target, Marginal::Even { half }, 0.0, [-half, half], slit_length);
            for (at, value) in target.iter_mut().enumerate() {
                *value *= 1.0 + slope * (at as f64 * SLIT_STEP - reach) / half;
            }
        }
        (Entrance::Slit { .. }, Shape::Source(source)) => {
            let centre = source.along.at(wavelength);
            line.lay(&mut target, source.marginal(wavelength), centre, [-half, half], 1.0);
        }
        (Entrance::Pinholes { along, diameter, .. }, _) => {
            let radius = 0.5 * diameter;
            for &hole in along {
                let weight = hole_weight(entrance, shape, hole, slit_length, wavelength);
                line.lay(&mut target, Marginal::Disc { radius }, hole, [hole - radius, hole + radius], weight);
            }
        }
    }
    target
}

/// The light through one hole: its area, arcsec2, for a surface; for a source, times the surface brightness of the
/// unit source at the centre of the hole.
pub(super) fn hole_weight(entrance: &Entrance, shape: &Shape, hole: f64, slit_length: f64, wavelength: f64) -> f64 {
    let Entrance::Pinholes { across, diameter, .. } = entrance else { return 0.0 };
    let radius = 0.5 * diameter;
    let area = std::f64::consts::PI * radius * radius;
    match shape {
        Shape::Surface { slope } => area * (1.0 + slope * hole / (0.5 * slit_length)),
        Shape::Source(source) => {
            let marginal = source.marginal(wavelength);
            let mean = |off: f64| marginal.mass(off - radius, off + radius) / diameter;
            area * mean(hole - source.along.at(wavelength)) * mean(across - source.across.at(wavelength))
        }
    }
}

/// The kernel along the dispersion.
fn across(entrance: &Entrance, shape: &Shape, scale: f64, sigma: f64, wavelength: f64) -> Vec<f64> {
    let samples = SAMPLES as f64;
    let (low, high) = match entrance {
        Entrance::Slit { width, across } => (across - 0.5 * width, across + 0.5 * width),
        Entrance::Pinholes { across, diameter, .. } => (across - 0.5 * diameter, across + 0.5 * diameter),
    };
    let half = ((low.abs().max(high.abs()) * scale + TAIL * sigma) * samples).ceil() + 1.0;
    let mut target = vec![0.0; 2 * half as usize + 1];
    let line = Line { first: -half / samples, step: 1.0 / samples, scale };
    match (entrance, shape) {
        (Entrance::Slit { width, across }, Shape::Surface { .. }) => {
            line.lay(&mut target, Marginal::Even { half: 0.5 * width }, *across, [low, high], *width);
        }
        (Entrance::Slit { .. }, Shape::Source(source)) => {
            line.lay(&mut target, source.marginal(wavelength), source.across.at(wavelength), [low, high], 1.0);
        }
        (Entrance::Pinholes { across, diameter, .. }, _) => {
            line.lay(&mut target, Marginal::Disc { radius: 0.5 * diameter }, *across, [low, high], 1.0);
        }
    }
    // `lay` leaves densities per pixel; a kernel is a share per sample.
    for value in &mut target {
        *value /= samples;
    }
    blurred(&target, sigma * samples)
}

/// A sampled line onto which profiles are laid.
struct Line {
    /// Position of the first sample, in units of the line.
    first: f64,
    /// Units of the line between samples.
    step: f64,
    /// Units of the line per arcsecond.
    scale: f64,
}

impl Line {
    /// Add a profile, centred at `centre` and cut off outside `limits` (all arcsec), times `weight`, as a density per
    /// unit of the line. Integral and centroid are kept exactly: each cell's light is shared by the two samples
    /// around its centroid.
    fn lay(&self, target: &mut [f64], profile: Marginal, centre: f64, limits: [f64; 2], weight: f64) {
        let [low, high] = limits;
        if high <= low {
            return;
        }
        let cells = ((high - low) * self.scale / self.step).ceil().max(1.0);
        let width = (high - low) / cells;
        for cell in 0..cells as usize {
            let from = low + width * cell as f64 - centre;
            let mass = profile.mass(from, from + width);
            if mass <= 0.0 {
                continue;
            }
            // Rounding must not throw the centroid of a nearly empty cell out of it.
            let centroid = (profile.moment(from, from + width) / mass).clamp(from, from + width);
            let index = ((centroid + centre) * self.scale - self.first) / self.step;
            share(target, index, mass * weight / self.step);
        }
    }
}

/// Add a value at a fractional index: to the two neighbours, so that sum and centroid are exact.
pub(super) fn share(target: &mut [f64], index: f64, value: f64) {
    let floor = index.floor();
    if floor < 0.0 {
        return;
    }
    let part = index - floor;
    if let Some([left, right]) = target.get_mut(floor as usize..).and_then(|rest| rest.get_mut(..2)) {
        *left += value * (1.0 - part);
        *right += value * part;
    }
}

/// Convolved with a Gaussian of `sigma` samples; what crosses the ends is lost.
fn blurred(values: &[f64], sigma: f64) -> Vec<f64> {
    let half = (TAIL * sigma).ceil() as usize;
    let mut gaussian: Vec<f64> = (0..=2 * half)
        .map(|at| {
            let z = (at as f64 - half as f64) / sigma;
            math::exp(-0.5 * z * z)
        })
        .collect();
    let sum: f64 = gaussian.iter().sum();
    gaussian.iter_mut().for_each(|value| *value /= sum);
    let mut padded = vec![0.0; values.len() + 2 * half];
    for (at, value) in values.iter().enumerate().filter(|(_, value)| **value != 0.0) {
        for (target, weight) in padded[at..].iter_mut().zip(&gaussian) {
            *target += value * weight;
        }
    }
    padded[half..half + values.len()].to_vec()
}

/// The spread along the dispersion of an unresolved line, for the truth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LineSpread {
    /// FWHM in pixels, collection by pixels included.
    pub fwhm: f64,
    /// Shift of the centroid in pixels along the dispersion, towards longer wavelengths: a star beside the middle of
    /// the slit.
    pub shift: f64,
    /// The light of a source that passes the slit; the width of the slit, arcsec, for a surface.
    pub transmission: f64,
}

/// The spread along the dispersion of an unresolved line at a wavelength (nm) of an order, summed along the slit
/// image.
pub fn line_spread(
    view: &View,
    focus: &Focus,
    entrance: &Entrance,
    shape: &Shape,
    order: &OrderFormat,
    wavelength: f64,
) -> LineSpread {
    let blur = Blur::at(view, focus, order, wavelength);
    let kernel = across(entrance, shape, view.across(), blur.a.sqrt(), wavelength);
    let transmission: f64 = kernel.iter().sum();
    let middle = 0.5 * (kernel.len() as f64 - 1.0);
    let moment: f64 = kernel.iter().enumerate().map(|(at, value)| (at as f64 - middle) * value).sum();
    // A pixel is a running sum over its samples, the two outermost counting half.
    let mut seen = vec![0.0; kernel.len() + SAMPLES];
    for (at, value) in kernel.iter().enumerate() {
        for (step, target) in seen[at..=at + SAMPLES].iter_mut().enumerate() {
            *target += if step == 0 || step == SAMPLES { 0.5 * value } else { *value };
        }
    }
    LineSpread {
        fwhm: full_width(&seen) / SAMPLES as f64,
        shift: if transmission > 0.0 { moment / transmission / SAMPLES as f64 } else { 0.0 },
        transmission,
    }
}

/// Full width at half maximum, samples.
fn full_width(values: &[f64]) -> f64 {
    let half = 0.5 * values.iter().copied().fold(0.0, f64::max);
    let crossing = |pair: (usize, &[f64])| pair.0 as f64 + (half - pair.1[0]) / (pair.1[1] - pair.1[0]);
    let rise = values.windows(2).enumerate().find(|(_, pair)| pair[0] < half && pair[1] >= half);
    let fall = values.windows(2).enumerate().rfind(|(_, pair)| pair[0] >= half && pair[1] < half);
    match (rise, fall) {
        (Some(rise), Some(fall)) => crossing(fall) - crossing(rise),
        _ => 0.0,
    }
}
