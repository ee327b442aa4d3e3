//! The image on the detector: spectra and profiles collected in pixels.
//!
//! Each pixel's light is an integral over its area: the coordinates of the order are worked out at nine points of it
//! (Gauss-Legendre), where the spectrum, already spread along the dispersion, times the profile along the slit is
//! read. Lines through pinholes are images of their own and drawn by `holes`.

use ndarray::{Array2, ArrayViewMut2};
use rayon::prelude::*;

use crate::instrument::OrderFormat;
use crate::instrument::format::Axis;
use crate::simulator::light::Light;

use super::Focus;
use super::holes;
use super::shape::{Entrance, Shape};
use super::spread::{self, KNOT, SLIT_STEP, Spread, share};
use super::view::{Grid, SAMPLES, View};

/// Electrons per photon: given the number of an order and wavelengths (nm), the efficiency at each.
pub type Efficiency<'a> = &'a (dyn Fn(u8, &[f64]) -> Vec<f64> + Sync);

/// A factor on the light that a pixel collects, given its x, its y and its wavelength in nm (fringes).
pub type Response<'a> = &'a (dyn Fn(f64, f64, f64) -> f64 + Sync);

/// Light with a shape in the slit plane.
pub struct Beam<'a> {
    /// Photons per second (and nm) in the telescope's aperture; of a surface, per square arcsecond.
    pub light: &'a Light,
    /// What becomes of them.
    pub efficiency: Efficiency<'a>,
    /// Where they fall.
    pub shape: Shape,
}

/// Electrons per second in each pixel of the trimmed, unbinned frame, rows x columns, without noise.
///
/// Linear in every beam. The same bytes for any number of threads.
pub fn render(
    view: &View,
    focus: &Focus,
    entrance: &Entrance,
    beams: &[Beam<'_>],
    response: Option<Response<'_>>,
) -> Array2<f32> {
    let bands: Vec<Band> = view
        .format()
        .orders()
        .par_iter()
        .filter_map(|order| {
            let grid = view.grid(order)?;
            // An order without light costs nothing more.
            let spectra: Vec<Option<Spectrum>> =
                beams.iter().map(|beam| Spectrum::of(beam, entrance, order, &grid)).collect();
            if spectra.iter().all(Option::is_none) {
                return None;
            }
            let mut band = Band::of(view, order, &grid, spread::reach(view, focus, entrance))?;
            for (beam, spectrum) in beams.iter().zip(&spectra) {
                let Some(spectrum) = spectrum else { continue };
                if spectrum.samples.iter().any(|sample| *sample != 0.0) {
                    let spread = spread::spread(view, focus, entrance, &beam.shape, order, &grid);
                    let spread_out = spread_out(&spectrum.samples, &spread);
                    band.collect(&spread_out, &spread);
                }
                holes::draw(view, focus, entrance, &beam.shape, order, &spectrum.lines, &mut band);
            }
            if let Some(response) = response {
                band.respond(view, &grid, response);
            }
            band.forget_coordinates();
            Some(band)
        })
        .collect();
    // In the order of the orders, so that overlapping ones add up to the same bits every time.
    let mut image = Array2::<f64>::zeros(view.format().shape());
    for band in &bands {
        let target = match view.format().dispersion() {
            Axis::X => image.view_mut().reversed_axes(),
            Axis::Y => image.view_mut(),
        };
        band.add_to(target);
    }
    image.mapv(|value| value as f32)
}

/// The electrons of one beam in one order.
pub(super) struct Spectrum {
    /// Electrons per second and pixel along the dispersion on the grid, before any spread.
    pub samples: Vec<f64>,
    /// Lines that are drawn one by one: wavelength and electrons per second.
    lines: Vec<(f64, f64)>,
}

impl Spectrum {
    /// `None` for an order that gets no light.
    pub fn of(beam: &Beam<'_>, entrance: &Entrance, order: &OrderFormat, grid: &Grid) -> Option<Spectrum> {
        let wavelengths = grid.wavelengths();
        let (shortest, longest) = (*wavelengths.first()?, *wavelengths.last()?);
        let efficiency = (beam.efficiency)(order.number(), wavelengths);
        let continuum = (beam.light.continuum)(wavelengths);
        let mut samples: Vec<f64> = continuum
            .iter()
            .zip(&efficiency)
            .zip(grid.dispersion())
            .map(|((photons, efficiency), nm_per_pixel)| photons * efficiency * nm_per_pixel)
            .collect();
        samples.resize(wavelengths.len(), 0.0);
        let seen: Vec<_> =
            beam.light.lines.iter().filter(|line| line.wavelength > shortest && line.wavelength < longest).collect();
        let places: Vec<f64> = seen.iter().map(|line| line.wavelength).collect();
        let efficiency = (beam.efficiency)(order.number(), &places);
        let mut lines = Vec::new();
        for (line, efficiency) in seen.iter().zip(efficiency) {
            let electrons = line.photons * efficiency;
            if electrons == 0.0 {
                continue;
            }
            match entrance {
                Entrance::Pinholes { .. } => lines.push((line.wavelength, electrons)),
                Entrance::Slit { .. } => {
                    share(&mut samples, index_of(grid, line.wavelength), electrons * SAMPLES as f64);
                }
            }
        }
        let dark = lines.is_empty() && samples.iter().all(|sample| *sample == 0.0);
        (!dark).then_some(Spectrum { samples, lines })
    }
}

/// The fractional sample of a wavelength within the grid. The grid is so fine that it is straight between its
/// samples, but for a second-order term of 1e-7 samples.
fn index_of(grid: &Grid, wavelength: f64) -> f64 {
    let wavelengths = grid.wavelengths();
    let after = wavelengths.partition_point(|sample| *sample <= wavelength).clamp(1, wavelengths.len() - 1);
    let (low, high) = (wavelengths[after - 1], wavelengths[after]);
    (after - 1) as f64 + (wavelength - low) / (high - low)
}

/// Each sample spread by the kernel of its place: nothing is lost but what leaves the grid.
pub(super) fn spread_out(samples: &[f64], spread: &Spread) -> Vec<f64> {
    let half = spread.knots.iter().map(|knot| knot.kernel.len() / 2).max().unwrap_or(0);
    let mut target = vec![0.0; samples.len() + 2 * half];
    let mut kernel = vec![0.0; 2 * half + 1];
    // The kernel changes from pixel to pixel.
    for (number, pixel) in samples.chunks(SAMPLES).enumerate() {
        if pixel.iter().all(|sample| *sample == 0.0) {
            continue;
        }
        let (left, right, part) = spread.around((number * SAMPLES) as f64 + 0.5 * SAMPLES as f64);
        kernel.fill(0.0);
        for (knot, weight) in [(left, 1.0 - part), (right, part)] {
            let knot = &spread.knots[knot].kernel;
            for (value, share) in kernel[half - knot.len() / 2..].iter_mut().zip(knot) {
                *value += weight * share;
            }
        }
        for (at, sample) in pixel.iter().enumerate().filter(|(_, sample)| **sample != 0.0) {
            let from = number * SAMPLES + at;
            for (value, share) in target[from..from + kernel.len()].iter_mut().zip(&kernel) {
                *value += sample * share;
            }
        }
    }
    target[half..half + samples.len()].to_vec()
}

impl Spread {
    /// The two knots around a sample of the grid, and the weight of the second one.
    pub fn around(&self, index: f64) -> (usize, usize, f64) {
        let last = self.knots.len().saturating_sub(1);
        let at = (index / KNOT as f64).clamp(0.0, last as f64);
        let left = (at.floor() as usize).min(last);
        (left, (left + 1).min(last), at - left as f64)
    }
}

/// Offsets and weights of the Gauss-Legendre rule with three points on a pixel.
const GAUSS: [(f64, f64); 3] =
    [(-0.387_298_334_620_741_7, 5.0 / 18.0), (0.0, 8.0 / 18.0), (0.387_298_334_620_741_7, 5.0 / 18.0)];

/// Places beside the dispersion at which the coordinates of an order are worked out for each pixel along it; a
/// quartic through them is good to 1e-8 pixels.
const NODES: usize = 5;

/// Coordinates of an order at one place: sample of the grid, slit position, and their derivatives along the
/// dispersion.
type Coordinates = [f64; 4];

/// The pixels that an order can reach: for each pixel along the dispersion, `width` pixels beside it.
pub(super) struct Band {
    /// First pixel beside the dispersion, for each pixel along it.
    pub first: Vec<i64>,
    /// Pixels beside the dispersion.
    pub width: usize,
    /// Electrons per second, `width` values for each pixel along the dispersion.
    pub pixels: Vec<f64>,
    /// Coordinates at the nodes, for each pixel along the dispersion; `None` where the order does not reach.
    nodes: Vec<Option<[Coordinates; NODES]>>,
    /// Weights of the nodes for the value and the slope at each pixel beside the dispersion.
    weights: Vec<[[f64; 2]; NODES]>,
}

impl Band {
    fn of(view: &View, order: &OrderFormat, grid: &Grid, reach: f64) -> Option<Band> {
        let length = view.extent().0;
        // Middle and half height of the band at each pixel along the dispersion.
        let rows: Vec<Option<(f64, f64, f64)>> = (0..length)
            .map(|pixel| {
                let index = grid.index(pixel as f64).round();
                let wavelength = *grid.wavelengths().get(index as usize).filter(|_| index >= 0.0)?;
                let place = view.place(order, wavelength, 0.0);
                let per_arcsec = place.beside_ds - place.beside_dw * place.along_ds / place.along_dw;
                Some((place.beside, per_arcsec, wavelength))
            })
            .collect();
        let half = rows.iter().flatten().map(|row| (row.1 * reach).abs()).fold(0.0, f64::max) + 2.0;
        let width = 2 * half.ceil() as usize + 1;
        let first: Vec<i64> =
            rows.iter().map(|row| row.map_or(0, |row| row.0.round() as i64 - half.ceil() as i64)).collect();
        let mut nodes = Vec::with_capacity(length);
        let mut guesses: [Option<(f64, f64)>; NODES] = [None; NODES];
        for (pixel, row) in rows.iter().enumerate() {
            let found = row.and_then(|(beside, per_arcsec, wavelength)| {
                let mut here = [[0.0; 4]; NODES];
                for (number, target) in here.iter_mut().enumerate() {
                    let at = first[pixel] as f64 + node(number, width);
                    let guess = guesses[number].unwrap_or((wavelength, (at - beside) / per_arcsec));
                    let (x, y) = view.pixel(pixel as f64, at);
                    let solution = view.invert_near(order, x, y, guess);
                    guesses[number] = solution;
                    let (wavelength, slit) = solution?;
                    let place = view.place(order, wavelength, slit);
                    let middle = view.place(order, wavelength, 0.0);
                    let determinant = place.along_dw * place.beside_ds - place.along_ds * place.beside_dw;
                    let per_nm = grid.index(middle.along + middle.along_dw) - grid.index(middle.along);
                    *target = [
                        grid.index(middle.along),
                        slit,
                        per_nm * place.beside_ds / determinant,
                        -place.beside_dw / determinant,
                    ];
                }
                Some(here)
            });
            nodes.push(found);
        }
        if nodes.iter().all(Option::is_none) {
            return None;
        }
        let weights = (0..width).map(|at| lagrange(at as f64, width)).collect();
        Some(Band { first, width, pixels: vec![0.0; length * width], nodes, weights })
    }

    /// Add a spectrum (already spread along the dispersion) times the profiles along the slit.
    fn collect(&mut self, spectrum: &[f64], spread: &Spread) {
        let Band { width, pixels, nodes, weights, .. } = self;
        pixels.par_chunks_mut(*width * 64).zip(nodes.par_chunks(64)).for_each(|(pixels, nodes)| {
            let (mut profile, mut ahead) = (Vec::new(), Vec::new());
            for (row, nodes) in pixels.chunks_mut(*width).zip(nodes) {
                let Some(nodes) = nodes else { continue };
                let (left, right, part) = spread.around(nodes[NODES / 2][0]);
                let (left, right) = (&spread.knots[left], &spread.knots[right]);
                let blend = |a: &[f64], b: &[f64], target: &mut Vec<f64>| {
                    target.clear();
                    target.extend(a.iter().zip(b).map(|(a, b)| a + part * (b - a)));
                };
                blend(&left.profile, &right.profile, &mut profile);
                blend(&left.ahead, &right.ahead, &mut ahead);
                for (value, weights) in row.iter_mut().zip(weights.iter()) {
                    *value += gathered(nodes, weights, spectrum, &profile, &ahead, spread.reach);
                }
            }
        });
    }

    /// Multiply each pixel by the response at its wavelength.
    fn respond(&mut self, view: &View, grid: &Grid, response: Response<'_>) {
        let Band { first, width, pixels, nodes, weights } = self;
        pixels.par_chunks_mut(*width).enumerate().for_each(|(along, row)| {
            let (Some(Some(nodes)), Some(first)) = (nodes.get(along), first.get(along)) else { return };
            for (at, (value, weights)) in row.iter_mut().zip(weights.iter()).enumerate() {
                if *value != 0.0 {
                    let index: f64 = nodes.iter().zip(weights).map(|(node, weight)| node[0] * weight[0]).sum();
                    let (x, y) = view.pixel(along as f64, *first as f64 + at as f64);
                    *value *= response(
                        x,
                        y,
                        interpolated(grid.wavelengths(), index.clamp(0.0, grid.wavelengths().len() as f64 - 2.0)),
                    );
                }
            }
        });
    }

    /// Frees what is needed for collecting only.
    fn forget_coordinates(&mut self) {
        self.nodes = Vec::new();
    }

    /// Add to an image whose rows are pixels along the dispersion.
    fn add_to(&self, mut image: ArrayViewMut2<'_, f64>) {
        for ((mut target, row), &first) in
            image.axis_iter_mut(ndarray::Axis(0)).zip(self.pixels.chunks(self.width)).zip(&self.first)
        {
            for (value, beside) in row.iter().zip(first..) {
                if let Some(pixel) = usize::try_from(beside).ok().and_then(|beside| target.get_mut(beside)) {
                    *pixel += value;
                }
            }
        }
    }
}

/// The light of one pixel.
#[inline]
fn gathered(
    nodes: &[Coordinates; NODES],
    weights: &[[f64; 2]; NODES],
    spectrum: &[f64],
    profile: &[f64],
    ahead: &[f64],
    reach: f64,
) -> f64 {
    // Index and slit position at the centre of the pixel, and their derivatives along and beside the dispersion.
    let (mut index, mut slit) = ([0.0; 3], [0.0; 3]);
    for (node, [value, slope]) in nodes.iter().zip(weights) {
        index = [index[0] + node[0] * value, index[1] + node[2] * value, index[2] + node[0] * slope];
        slit = [slit[0] + node[1] * value, slit[1] + node[3] * value, slit[2] + node[1] * slope];
    }
    if slit[0].abs() > reach + slit[2].abs() {
        return 0.0;
    }
    let mut sum = 0.0;
    for (beside, weight_beside) in GAUSS {
        for (along, weight_along) in GAUSS {
            let place = (slit[0] + slit[1] * along + slit[2] * beside + reach) / SLIT_STEP;
            let density = interpolated(profile, place);
            if density != 0.0 {
                let sample = index[0] + index[1] * along + index[2] * beside + interpolated(ahead, place);
                sum += weight_beside * weight_along * density * interpolated(spectrum, sample);
            }
        }
    }
    // Pixels along the dispersion times arcseconds on the area of one pixel.
    sum * (index[1] * slit[2] - index[2] * slit[1]).abs() / SAMPLES as f64
}

/// Straight between two samples, zero outside.
#[inline]
fn interpolated(values: &[f64], index: f64) -> f64 {
    if index < 0.0 {
        return 0.0;
    }
    let floor = index as usize;
    match values.get(floor..floor + 2) {
        Some(&[left, right]) => left + (right - left) * (index - floor as f64),
        _ => 0.0,
    }
}

/// The place of a node beside the dispersion, counted from the first pixel of the band: Chebyshev points.
fn node(number: usize, width: usize) -> f64 {
    const POINTS: [f64; NODES] =
        [-0.951_056_516_295_153_5, -0.587_785_252_292_473_1, 0.0, 0.587_785_252_292_473_1, 0.951_056_516_295_153_5];
    0.5 * (width as f64 - 1.0) * (1.0 + POINTS[number])
}

/// Weights of the nodes for the value and the slope, at a place counted from the first pixel of the band, of the
/// polynomial through them.
fn lagrange(at: f64, width: usize) -> [[f64; 2]; NODES] {
    std::array::from_fn(|own| {
        let others = || (0..NODES).filter(move |other| *other != own);
        let denominator: f64 = others().map(|other| node(own, width) - node(other, width)).product();
        let value: f64 = others().map(|other| at - node(other, width)).product();
        let slope: f64 = others()
            .map(|left_out| {
                others().filter(|other| *other != left_out).map(|other| at - node(other, width)).product::<f64>()
            })
            .sum();
        [value / denominator, slope / denominator]
    })
}
