//! Positions of many point images at once: neighbours are fitted together, everybody else is subtracted.
//!
//! Images closer than a joint distance form a cluster and share one least-squares problem; the model of all others is
//! subtracted, and a few sweeps over all clusters let them agree. Each sweep reads only the state that the sweep before
//! it has left, so that clusters run in parallel and the result does not depend on the number of threads.

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use super::least_squares::Cholesky;
use super::profile::{self, REACH, SPAN, Shape};

/// An image whose place is known roughly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seed {
    /// Expected column, pixel centres at integers.
    pub x: f64,
    /// Expected row.
    pub y: f64,
    /// Its shape.
    pub shape: Shape,
    /// Whether the place is fitted; else only its flux is.
    pub free: bool,
    /// Images of one group are fitted together when they are close. Others only subtract each other.
    pub group: usize,
    /// Flux and background from an earlier measurement.
    pub known: Option<(f64, f64)>,
}

/// What was measured of one image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spot {
    /// Column.
    pub x: f64,
    /// Row.
    pub y: f64,
    /// Flux in the image's unit.
    pub flux: f64,
    /// Level under the cluster.
    pub background: f64,
    /// Variance of x, infinite when it was not fitted.
    pub variance_x: f64,
    /// Variance of y.
    pub variance_y: f64,
    /// Covariance of x and y.
    pub covariance: f64,
    /// Variance of the flux.
    pub variance_flux: f64,
    /// Chi-square of the cluster over its degrees of freedom.
    pub reduced_chi_square: f64,
    /// Fraction of the image's flux that falls on usable pixels.
    pub coverage: f64,
}

impl Spot {
    /// Flux over its standard error.
    pub fn signal_to_noise(&self) -> f64 {
        if self.variance_flux > 0.0 { self.flux / self.variance_flux.sqrt() } else { 0.0 }
    }
}

/// How to fit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpotOptions {
    /// Pixels further than this from every image of a cluster are left out.
    pub window: f64,
    /// Images of a group closer than this are fitted together, pixels.
    pub joint: f64,
    /// Farthest that a place may move from its seed along either axis, pixels.
    pub reach: f64,
    /// Passes over all clusters.
    pub sweeps: usize,
    /// Scatter of the pixel response, a fraction: the part of the noise that grows with the signal.
    pub response: f64,
    /// A pixel further than this from the model is left out, sigmas, with an error of the shape allowed besides.
    pub outlier: f64,
    /// That error: a fraction of the brightest pixel.
    pub tolerance: f64,
}

impl Default for SpotOptions {
    fn default() -> SpotOptions {
        SpotOptions { window: 3.2, joint: 3.4, reach: 1.5, sweeps: 3, response: 0.012, outlier: 6.0, tolerance: 0.05 }
    }
}

/// Largest cluster that is fitted as one; further images are subtracted like strangers.
const LARGEST_CLUSTER: usize = 8;

/// A step shorter than this, in pixels and in parts of the flux, is the last.
const SETTLED: f64 = 3e-3;

/// Rows of a band that one thread renders. Fixed, since sums depend on it.
const BAND: usize = 64;

/// Fit all images. `floor` is the variance of each pixel without its own shot noise, infinite where it must not be used;
/// both planes are in electrons and of one shape. Gives one spot per seed.
pub fn fit(image: ArrayView2<f32>, floor: ArrayView2<f32>, seeds: &[Seed], options: &SpotOptions) -> Vec<Spot> {
    let mut spots: Vec<Spot> = seeds.iter().map(|seed| start(&image, &floor, seed)).collect();
    let clusters = clusters(seeds, options.joint);
    for sweep in 0..options.sweeps.max(1) {
        let model = render(image.dim(), seeds, &spots);
        let first = sweep == 0;
        let updates: Vec<Vec<Spot>> = clusters
            .par_iter()
            .map(|members| fit_cluster(&image, &floor, &model, seeds, &spots, members, options, first))
            .collect();
        for (members, update) in clusters.iter().zip(updates) {
            for (k, spot) in members.iter().zip(update) {
                spots[*k] = spot;
            }
        }
    }
    spots
}

/// A first flux: the sum near the place, above the lowest pixels of the window.
fn start(image: &ArrayView2<f32>, floor: &ArrayView2<f32>, seed: &Seed) -> Spot {
    let (rows, columns) = image.dim();
    let (r0, c0) = (seed.y.round() as isize, seed.x.round() as isize);
    let mut values: Vec<f64> = Vec::with_capacity(25);
    let mut peak = 0.0f64;
    for r in r0 - 2..=r0 + 2 {
        for c in c0 - 2..=c0 + 2 {
            if r < 0 || c < 0 || r as usize >= rows || c as usize >= columns {
                continue;
            }
            let at = (r as usize, c as usize);
            if floor[at].is_finite() && image[at].is_finite() {
                let value = f64::from(image[at]);
                values.push(value);
                if (r - r0).abs() <= 1 && (c - c0).abs() <= 1 {
                    peak = peak.max(value);
                }
            }
        }
    }
    values.sort_unstable_by(f64::total_cmp);
    let low = values.get(values.len() / 5).copied().unwrap_or(0.0);
    let area = 2.0
        * std::f64::consts::PI
        * (seed.shape.sigma_x.powi(2) + 0.1).sqrt()
        * (seed.shape.sigma_y.powi(2) + 0.1).sqrt();
    let (flux, background) = seed.known.unwrap_or((((peak - low) * area).max(0.0), low));
    Spot {
        x: seed.x,
        y: seed.y,
        flux,
        background,
        variance_x: f64::INFINITY,
        variance_y: f64::INFINITY,
        covariance: 0.0,
        variance_flux: 0.0,
        reduced_chi_square: 0.0,
        coverage: 0.0,
    }
}

/// Pairs (i < j) of places of one group that lie within a distance, in ascending order. A place is (x, y, group).
pub fn close_pairs(places: &[(f64, f64, usize)], distance: f64) -> Vec<(usize, usize)> {
    let mut order: Vec<usize> = (0..places.len()).collect();
    order.sort_by(|a, b| {
        let (a, b) = (&places[*a], &places[*b]);
        a.2.cmp(&b.2).then((a.0 + a.1).total_cmp(&(b.0 + b.1)))
    });
    // places within a distance differ by at most sqrt(2) of it in x + y
    let reach = distance * std::f64::consts::SQRT_2;
    let mut pairs = Vec::new();
    for (n, k) in order.iter().enumerate() {
        let a = &places[*k];
        for other in &order[n + 1..] {
            let b = &places[*other];
            if a.2 != b.2 || b.0 + b.1 - a.0 - a.1 > reach {
                break;
            }
            if (a.0 - b.0).powi(2) + (a.1 - b.1).powi(2) < distance * distance {
                pairs.push((*k.min(other), *k.max(other)));
            }
        }
    }
    pairs.sort_unstable();
    pairs
}

/// Sets of close images within each group, in the order of their first member. A set that has grown to its largest size
/// takes no more: the rest subtract each other.
fn clusters(seeds: &[Seed], joint: f64) -> Vec<Vec<usize>> {
    let places: Vec<(f64, f64, usize)> = seeds.iter().map(|seed| (seed.x, seed.y, seed.group)).collect();
    let mut home: Vec<usize> = (0..seeds.len()).collect();
    let mut members: Vec<Vec<usize>> = (0..seeds.len()).map(|k| vec![k]).collect();
    for (a, b) in close_pairs(&places, joint) {
        let (to, from) = (home[a].min(home[b]), home[a].max(home[b]));
        if to != from && members[to].len() + members[from].len() <= LARGEST_CLUSTER {
            let moved = std::mem::take(&mut members[from]);
            moved.iter().for_each(|k| home[*k] = to);
            members[to].extend(moved);
        }
    }
    members.retain(|set| !set.is_empty());
    members
}

/// The sum of all images, without backgrounds, on an image of this shape (rows, columns).
pub fn render(shape: (usize, usize), seeds: &[Seed], spots: &[Spot]) -> Array2<f32> {
    let (rows, columns) = shape;
    let bands = rows.div_ceil(BAND);
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); bands];
    for (k, spot) in spots.iter().enumerate() {
        if spot.flux == 0.0 {
            continue;
        }
        let (low, high) = (spot.y - REACH as f64 - 1.0, spot.y + REACH as f64 + 1.0);
        let (low, high) = (low.max(0.0) as usize / BAND, (high.max(0.0) as usize / BAND).min(bands.saturating_sub(1)));
        for band in members.iter_mut().take(high + 1).skip(low) {
            band.push(k);
        }
    }
    let mut model = Array2::<f32>::zeros(shape);
    let Some(pixels) = model.as_slice_mut() else { return model };
    pixels.par_chunks_mut(BAND * columns.max(1)).zip(members.par_iter()).enumerate().for_each(
        |(band, (pixels, members))| {
            let top = (band * BAND) as isize;
            for k in members {
                let spot = &spots[*k];
                let image = profile::image(spot.x, spot.y, &seeds[*k].shape);
                for (r, line) in image.value.iter().enumerate() {
                    let row = image.origin.0 + r as isize - top;
                    if row < 0 || row as usize * columns >= pixels.len() {
                        continue;
                    }
                    for (c, value) in line.iter().enumerate() {
                        let column = image.origin.1 + c as isize;
                        if column >= 0 && (column as usize) < columns {
                            pixels[row as usize * columns + column as usize] += (spot.flux * value) as f32;
                        }
                    }
                }
            }
        },
    );
    model
}

/// One usable pixel of a cluster's window.
struct Pixel {
    row: isize,
    column: isize,
    /// Data less the images of strangers.
    value: f64,
    floor: f64,
    used: bool,
}

#[allow(clippy::too_many_arguments)]
fn fit_cluster(
    image: &ArrayView2<f32>,
    floor: &ArrayView2<f32>,
    model: &Array2<f32>,
    seeds: &[Seed],
    spots: &[Spot],
    members: &[usize],
    options: &SpotOptions,
    first: bool,
) -> Vec<Spot> {
    let first = first && members.iter().any(|k| seeds[*k].known.is_none());
    let mut state: Vec<Spot> = members.iter().map(|k| spots[*k]).collect();
    let mut images: Vec<profile::Image> =
        members.iter().zip(&state).map(|(k, s)| profile::image(s.x, s.y, &seeds[*k].shape)).collect();
    let mut pixels = window(image, floor, model, members.iter().map(|k| &seeds[*k]), &state, &images, options.window);
    // parameters: background, then per image its flux and, when free, x and y
    let mut columns = Vec::with_capacity(members.len());
    let mut size = 1;
    for k in members {
        columns.push(size);
        size += if seeds[*k].free { 3 } else { 1 };
    }
    if pixels.len() < size + 3 {
        return state
            .iter()
            .map(|s| Spot { flux: 0.0, variance_flux: 0.0, variance_x: f64::INFINITY, variance_y: f64::INFINITY, ..*s })
            .collect();
    }
    let mut background = state.iter().map(|s| s.background).sum::<f64>() / state.len() as f64;
    let (mut gram, mut right, mut row) = (vec![0.0; size * size], vec![0.0; size], vec![0.0; size]);
    // fluxes alone are a linear problem
    let rounds = match (members.iter().any(|k| seeds[*k].free), first) {
        (false, _) => 2,
        (true, true) => 4,
        (true, false) => 3,
    };
    let mut factor = None;
    let (mut chi, mut count) = (0.0, 0usize);
    let mut settled = false;
    for round in 0..=rounds {
        gram.fill(0.0);
        right.fill(0.0);
        (chi, count) = (0.0, 0);
        // a first guess is too rough to judge pixels by
        let judge = round >= if first { 2 } else { 0 };
        let peak =
            images.iter().zip(&state).map(|(image, spot)| spot.flux * image.value[REACH][REACH]).fold(0.0, f64::max);
        for pixel in &mut pixels {
            row.fill(0.0);
            row[0] = 1.0;
            let mut expected = 0.0;
            for ((image, spot), (k, column)) in images.iter().zip(&state).zip(members.iter().zip(&columns)) {
                let (r, c) = (pixel.row - image.origin.0, pixel.column - image.origin.1);
                if r < 0 || c < 0 || r as usize >= SPAN || c as usize >= SPAN {
                    continue;
                }
                let (r, c) = (r as usize, c as usize);
                expected += spot.flux * image.value[r][c];
                row[*column] = image.value[r][c];
                if seeds[*k].free {
                    row[column + 1] = spot.flux * image.dx[r][c];
                    row[column + 2] = spot.flux * image.dy[r][c];
                }
            }
            let signal = if first && round == 0 { pixel.value } else { expected + background };
            let signal = signal.max(0.0);
            let variance = pixel.floor + signal + (options.response * signal).powi(2);
            let residual = pixel.value - background - expected;
            if judge {
                let allowed = options.outlier * variance.sqrt() + options.tolerance * peak;
                pixel.used = residual.abs() <= allowed;
            }
            if !pixel.used {
                continue;
            }
            let weight = 1.0 / variance;
            for i in 0..size {
                if row[i] == 0.0 {
                    continue;
                }
                let a = row[i] * weight;
                for j in 0..=i {
                    gram[i * size + j] += a * row[j];
                }
                right[i] += a * residual;
            }
            chi += residual * residual * weight;
            count += 1;
        }
        // a flux at zero leaves its place undetermined: hold it by a width of one pixel
        for (k, column) in members.iter().zip(&columns) {
            if seeds[*k].free {
                for i in [column + 1, column + 2] {
                    gram[i * size + i] += 1e-6 + 1e-9 * gram[i * size + i];
                }
            }
            gram[column * size + column] *= 1.0 + 1e-10;
        }
        factor = Cholesky::new(size, gram.clone());
        let Some(factor) = &factor else { break };
        if round == rounds || settled {
            break;
        }
        factor.solve(&mut right);
        background += right[0];
        // what the next step would change is the square of this one
        settled = judge;
        for (((k, column), spot), image) in members.iter().zip(&columns).zip(&mut state).zip(&mut images) {
            let seed = &seeds[*k];
            spot.flux += right[*column];
            settled &= right[*column].abs() < SETTLED * spot.flux.abs() || !seed.free;
            if seed.free {
                settled &= right[column + 1].abs().max(right[column + 2].abs()) < SETTLED;
                spot.flux = spot.flux.max(0.0);
                let step = |value: f64| value.clamp(-0.6, 0.6);
                spot.x = (spot.x + step(right[column + 1])).clamp(seed.x - options.reach, seed.x + options.reach);
                spot.y = (spot.y + step(right[column + 2])).clamp(seed.y - options.reach, seed.y + options.reach);
                if !(spot.x.is_finite() && spot.y.is_finite()) {
                    (spot.x, spot.y, spot.flux) = (seed.x, seed.y, 0.0);
                }
            }
            *image = profile::image(spot.x, spot.y, &seed.shape);
        }
    }
    let inverse = factor.map(|factor| factor.inverse());
    let reduced = chi / (count.max(size + 1) - size) as f64;
    for (((k, column), spot), image) in members.iter().zip(&columns).zip(&mut state).zip(&images) {
        let at = |i: usize, j: usize| inverse.as_ref().map_or(f64::INFINITY, |inverse| inverse[i * size + j]);
        spot.background = background;
        spot.variance_flux = at(*column, *column);
        spot.reduced_chi_square = reduced;
        spot.coverage = coverage(image, &pixels);
        if seeds[*k].free && spot.flux > 0.0 {
            spot.variance_x = at(column + 1, column + 1);
            spot.variance_y = at(column + 2, column + 2);
            spot.covariance = if inverse.is_some() { at(column + 1, column + 2) } else { 0.0 };
        } else {
            (spot.variance_x, spot.variance_y, spot.covariance) = (f64::INFINITY, f64::INFINITY, 0.0);
        }
    }
    state
}

/// Usable pixels near the cluster.
fn window<'a>(
    image: &ArrayView2<f32>,
    floor: &ArrayView2<f32>,
    model: &Array2<f32>,
    seeds: impl Iterator<Item = &'a Seed>,
    state: &[Spot],
    images: &[profile::Image],
    reach: f64,
) -> Vec<Pixel> {
    let (rows, columns) = image.dim();
    let centres: Vec<(f64, f64)> = seeds.map(|seed| (seed.x, seed.y)).collect();
    let bound = |pick: fn(&(f64, f64)) -> f64, sign: f64| {
        sign * centres.iter().map(|centre| sign * pick(centre)).fold(f64::NEG_INFINITY, f64::max)
    };
    let (x0, x1) = (bound(|c| c.0, -1.0) - reach, bound(|c| c.0, 1.0) + reach);
    let (y0, y1) = (bound(|c| c.1, -1.0) - reach, bound(|c| c.1, 1.0) + reach);
    let mut pixels = Vec::with_capacity(48);
    if !(x1 >= 0.0 && y1 >= 0.0) {
        return pixels;
    }
    for r in y0.ceil().max(0.0) as usize..rows.min(y1.floor() as usize + 1) {
        for c in x0.ceil().max(0.0) as usize..columns.min(x1.floor() as usize + 1) {
            let near = |(x, y): &(f64, f64)| (x - c as f64).powi(2) + (y - r as f64).powi(2) <= reach * reach;
            if !centres.iter().any(near) {
                continue;
            }
            let (variance, value) = (f64::from(floor[(r, c)]), f64::from(image[(r, c)]));
            if !(variance.is_finite() && value.is_finite()) {
                continue;
            }
            let (row, column) = (r as isize, c as isize);
            let own: f64 = images.iter().zip(state).map(|(image, spot)| spot.flux * value_at(image, row, column)).sum();
            let strangers = f64::from(model[(r, c)]) - own;
            pixels.push(Pixel { row, column, value: value - strangers, floor: variance, used: true });
        }
    }
    pixels
}

fn value_at(image: &profile::Image, row: isize, column: isize) -> f64 {
    let (r, c) = (row - image.origin.0, column - image.origin.1);
    if r < 0 || c < 0 || r as usize >= SPAN || c as usize >= SPAN { 0.0 } else { image.value[r as usize][c as usize] }
}

/// How much of the image's flux lies on pixels in use.
fn coverage(image: &profile::Image, pixels: &[Pixel]) -> f64 {
    pixels.iter().filter(|pixel| pixel.used).map(|pixel| value_at(image, pixel.row, pixel.column)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { sigma_x: 0.8, sigma_y: 0.9, terms: [0.05, -0.01, -0.01, 0.0, 0.0, 0.0] };

    fn seed(x: f64, y: f64) -> Seed {
        Seed { x, y, shape: SHAPE, free: true, group: 0, known: None }
    }

    fn spot(x: f64, y: f64, flux: f64) -> Spot {
        Spot {
            x,
            y,
            flux,
            background: 0.0,
            variance_x: 0.0,
            variance_y: 0.0,
            covariance: 0.0,
            variance_flux: 0.0,
            reduced_chi_square: 0.0,
            coverage: 1.0,
        }
    }

    fn scene(spots: &[Spot]) -> (Array2<f32>, Array2<f32>) {
        let seeds: Vec<Seed> = spots.iter().map(|spot| seed(spot.x, spot.y)).collect();
        (render((40, 60), &seeds, spots) + 3.0, Array2::from_elem((40, 60), 16.0))
    }

    #[test]
    fn a_blend_and_its_neighbour_come_apart() {
        let truth = [spot(20.3, 18.7, 9000.0), spot(22.5, 19.4, 4000.0), spot(27.1, 18.2, 2500.0)];
        let (image, floor) = scene(&truth);
        let seeds = [seed(20.0, 19.0), seed(23.0, 19.0), seed(27.0, 18.0)];
        let found = fit(image.view(), floor.view(), &seeds, &SpotOptions { sweeps: 6, ..SpotOptions::default() });
        for (found, truth) in found.iter().zip(&truth) {
            assert!((found.x - truth.x).hypot(found.y - truth.y) < 2e-3, "{found:?}");
            assert!((found.flux / truth.flux - 1.0).abs() < 0.01 && (found.background - 3.0).abs() < 2.0, "{found:?}");
        }
    }

    #[test]
    fn the_error_is_that_of_information_theory() {
        // photon noise alone: sigma_x = width / sqrt(flux), width with the pixel's own variance
        let round = Seed { shape: Shape::gaussian(0.8, 0.9), ..seed(30.0, 20.0) };
        let image = render((40, 60), &[round], &[spot(30.2, 20.4, 1.0e6)]);
        let floor = Array2::from_elem((40, 60), 0.01);
        let options = SpotOptions { response: 0.0, window: 5.0, ..SpotOptions::default() };
        let found = fit(image.view(), floor.view(), &[round], &options)[0];
        let expected = (0.8f64.powi(2) + 1.0 / 12.0) / 1.0e6;
        assert!((found.variance_x / expected - 1.0).abs() < 0.2, "{} {expected}", found.variance_x);
    }

    #[test]
    fn a_hit_pixel_does_not_draw_and_a_bad_one_is_not_read() {
        let truth = [spot(30.2, 20.4, 8000.0)];
        let (mut image, mut floor) = scene(&truth);
        image[(22, 31)] += 3000.0;
        (image[(20, 29)], floor[(20, 29)]) = (f32::NAN, f32::INFINITY);
        let found = fit(image.view(), floor.view(), &[seed(30.0, 20.0)], &SpotOptions::default())[0];
        assert!((found.x - 30.2).hypot(found.y - 20.4) < 5e-3, "{found:?}");
        assert!(found.coverage < 0.97);
    }

    #[test]
    fn places_off_the_image_are_harmless() {
        let (image, floor) = scene(&[]);
        let seeds = [seed(-30.0, 5.0), seed(500.0, 5.0), seed(3.0, 39.9), seed(f64::from(u16::MAX), -1e6)];
        let found = fit(image.view(), floor.view(), &seeds, &SpotOptions::default());
        assert!(found.iter().all(|spot| spot.flux.is_finite() && spot.signal_to_noise() < 6.0), "{found:?}");
    }

    #[test]
    fn pairs_are_those_of_all_comparisons() {
        let places: Vec<(f64, f64, usize)> = (0..60u32)
            .map(|k| (f64::from(k * 37 % 61) * 0.7, f64::from(k * 53 % 59) * 0.6, (k % 2) as usize))
            .collect();
        let mut expected = Vec::new();
        for i in 0..places.len() {
            for j in i + 1..places.len() {
                let (a, b) = (places[i], places[j]);
                if a.2 == b.2 && (a.0 - b.0).hypot(a.1 - b.1) < 3.0 {
                    expected.push((i, j));
                }
            }
        }
        assert!(!expected.is_empty());
        assert_eq!(close_pairs(&places, 3.0), expected);
    }
}
