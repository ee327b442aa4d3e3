//! Optimal extraction: spectra of the sources of an order from pixels that are never resampled.
//!
//! The forward model of [`super::solve`] is fitted to the pixels in turns with the profile along the slit
//! ([`super::profile`]), the noise (from the model, never from the noisy pixel) and the pixels that contradict both, which
//! are left out and never replaced (Horne 1986, PASP 98, 609; Piskunov, Wehrhahn and Marquart 2021, A&A 646, A32).

use ndarray::Array2;

use super::boxcar;
use super::field::Field;
use super::profile::{Moffat, Profile, ProfilePoint};
use super::shape;
use super::solve::{Expected, Pixel, Scene, Solution, Term};
use super::trace::Trace;
use super::track::Track;
use crate::reduction::flags;
use crate::reduction::spectrum::order::OrderSpectrum;

/// One image of a source that is extracted.
#[derive(Clone, Debug)]
pub struct Image<'a> {
    /// Its trace in this order.
    pub trace: &'a Trace,
    /// Places of the image in the exposures whose mean the field is, against the trace, arcsec: `[0.0]` for one place.
    pub shifts: Vec<f64>,
    /// 1, or -1 where the image was taken off.
    pub sign: f64,
    /// How much of a Poisson variance the light has: 1 in one exposure, 1 / n in the mean of n.
    pub shot: f64,
    /// Profile with which to begin.
    pub shape: Moffat,
}

/// How spectra are extracted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExtractOptions {
    /// Distance from the trace to which light is gathered, arcsec.
    pub reach: f64,
    /// Half width of the boxcar's aperture, arcsec.
    pub aperture: f64,
    /// Sigmas by which a pixel may exceed the model.
    pub rejection: f64,
    /// Degree of the profile's change along the order.
    pub degree: usize,
}

impl Default for ExtractOptions {
    fn default() -> ExtractOptions {
        ExtractOptions { reach: 4.0, aperture: 1.5, rejection: 5.0, degree: 2 }
    }
}

/// What an order gives.
#[derive(Clone, Debug)]
pub struct Extracted {
    /// Spectrum of each image; empty where the order does not reach it.
    pub spectra: Vec<OrderSpectrum>,
    /// Place of each sample across the dispersion, for each image, unbinned pixels of the trimmed detector.
    pub across: Vec<Vec<f64>>,
    /// Light of all images in every pixel, with their signs.
    pub model: Array2<f32>,
    /// Residual sky in every pixel; zero when none was asked for.
    pub residual: Array2<f32>,
    /// Pixels that contradict the model: cosmic rays and defects that no map has.
    pub rejected: Vec<(usize, usize)>,
    /// Full width at half maximum of each image's profile, arcsec; NaN where there is none.
    pub fwhm: Vec<f64>,
    /// Mean square of the residuals in units of their variance, within the images.
    pub chi_square: f64,
}

/// Passes of the fit; the profile follows the data in those of the middle.
const PASSES: usize = 10;
const SHAPED: [usize; 4] = [0, 1, 2, 4];
/// Share of the profile that must be seen for a sample to be good.
const ENOUGH: f64 = 0.5;

/// Extract the images of an order. `residual` holds what is expected of a sky that is left in the field, per row at the
/// middle of the slit; it is then solved together with the images.
pub fn extract(field: &Field, images: &[Image], residual: Option<&[Expected]>, options: &ExtractOptions) -> Extracted {
    let mut order = Order::new(field, images, residual, options);
    let solution = order.iterate();
    order.result(solution)
}

/// An order while it is worked on.
pub(super) struct Order<'a> {
    pub field: &'a Field<'a>,
    pub images: &'a [Image<'a>],
    residual: Option<&'a [Expected]>,
    pub options: &'a ExtractOptions,
    /// Tracks of the images; `None` where the order does not reach the image.
    pub tracks: Vec<Option<Track>>,
    pub profiles: Vec<Profile>,
    pub scene: Scene,
}

impl<'a> Order<'a> {
    fn new(
        field: &'a Field,
        images: &'a [Image],
        residual: Option<&'a [Expected]>,
        options: &'a ExtractOptions,
    ) -> Order<'a> {
        let rows = field.light.nrows();
        let tracks: Vec<Option<Track>> =
            images.iter().map(|image| Track::new(field.strip, |wavelength| image.trace.at(wavelength))).collect();
        let profiles = images.iter().map(|image| Profile::of(image.shape, options.reach, rows)).collect();
        let mut order = Order { field, images, residual, options, tracks, profiles, scene: Scene::default() };
        order.scene = order.arranged();
        order
    }

    /// Pixels and what they take of each component. The residual sky is the component after the images.
    fn arranged(&self) -> Scene {
        let (rows, columns) = self.field.light.dim();
        let middle = self.residual.and_then(|_| Track::new(self.field.strip, |_| 0.0));
        let mut scene = Scene::new(rows, self.images.len() + usize::from(middle.is_some()));
        let mut terms: Vec<Term> = Vec::new();
        for row in 0..rows {
            for column in 0..columns {
                let at = (row, column);
                let (wavelength, slit) = (self.field.strip.wavelength[at], f64::from(self.field.strip.slit[at]));
                if !wavelength.is_finite() {
                    continue;
                }
                terms.clear();
                for (component, (image, track)) in self.images.iter().zip(&self.tracks).enumerate() {
                    let Some(track) = track else { continue };
                    let sample = track.sample(row, wavelength);
                    let u = slit - track.slit_at(sample);
                    if image.shifts.iter().any(|shift| (u - shift).abs() < self.options.reach) {
                        terms.push(Term { component, sample, u, factor: 0.0 });
                    }
                }
                if let Some(middle) = &middle {
                    let sample = middle.sample(row, wavelength);
                    terms.push(Term { component: self.images.len(), sample, u: slit, factor: 0.0 });
                }
                let variance = f64::from(self.field.variance[at]);
                scene.push(at, f64::from(self.field.light[at]), variance, self.field.good[at], &terms);
            }
        }
        scene
    }

    /// Light of a pixel per light of a sample.
    pub fn factor(&self, row: usize, component: usize, sample: f64, u: f64) -> f64 {
        let (Some(image), Some(Some(track))) = (self.images.get(component), self.tracks.get(component)) else {
            return 1.0;
        };
        let profile = &self.profiles[component];
        let density: f64 = image.shifts.iter().map(|shift| profile.at(sample, u - shift)).sum();
        image.sign * track.scale[row] * density / image.shifts.len() as f64
    }

    fn iterate(&mut self) -> Option<Solution> {
        let mut expected: Vec<Option<Vec<Expected>>> = vec![None; self.images.len()];
        if self.scene.components > self.images.len() {
            expected.push(self.residual.map(<[Expected]>::to_vec));
        }
        for pass in 0..PASSES {
            self.update_factors();
            let found = self.scene.solve(&expected)?;
            let light: Vec<f64> = self.scene.pixels.iter().map(|pixel| found.light(&self.scene, pixel)).collect();
            self.update_noise(&found);
            let changed = self.reject(&light, pass);
            if SHAPED.contains(&pass) {
                self.update_profiles(&found, &light);
            }
            if !changed && pass > SHAPED[SHAPED.len() - 1] {
                break;
            }
        }
        self.update_factors();
        self.scene.solve_with_errors(&expected)
    }

    fn update_factors(&mut self) {
        let mut scene = std::mem::take(&mut self.scene);
        scene.set_factors(|at, term| self.factor(at.0, term.component, term.sample, term.u));
        self.scene = scene;
    }

    /// The noise of every pixel from the model.
    fn update_noise(&mut self, solution: &Solution) {
        let mut scene = std::mem::take(&mut self.scene);
        for index in 0..scene.pixels.len() {
            let pixel = scene.pixels[index];
            let (mut light, mut shot) = (0.0, 0.0);
            for term in scene.terms_of(&pixel).iter().filter(|term| term.component < self.images.len()) {
                let part = (term.factor * solution.at(term.component, term.sample)).abs();
                light += part;
                shot += part * self.images[term.component].shot;
            }
            let shot = if light > 0.0 { shot / light } else { 1.0 };
            scene.pixels[index].variance = self.field.noise(pixel.at, light, shot);
        }
        self.scene = scene;
    }

    /// Leave out the pixel of each row that exceeds the model most, if it does so by more than noise and the model's own
    /// uncertainty can, and take back what a better model explains. Returns whether anything changed.
    fn reject(&mut self, light: &[f64], pass: usize) -> bool {
        // the profile is a guess at first, and good to some percent in the end
        let doubt = match pass {
            0 | 1 => 0.5,
            2 | 3 => 0.15,
            _ => 0.04,
        };
        let difference = self.images.iter().any(|image| image.sign < 0.0);
        let mut worst: Vec<Option<(f64, usize)>> = vec![None; self.field.light.nrows()];
        let mut changed = false;
        for (index, light) in light.iter().enumerate() {
            let pixel = self.scene.pixels[index];
            if !self.field.good[pixel.at] {
                continue;
            }
            let pull = (pixel.value - light) / (pixel.variance + (doubt * light).powi(2)).sqrt();
            // a cosmic ray is positive in the exposure that it hits, so in a difference it has either sign; a pixel that
            // is too dark is a defect
            let excess = if difference || pass > 4 { pull.abs() } else { pull };
            if !pixel.good {
                // with some reserve, so that no pixel comes and goes for ever
                if excess < 0.7 * self.options.rejection {
                    self.scene.pixels[index].good = true;
                    changed = true;
                }
            } else if excess > self.options.rejection && worst[pixel.at.0].is_none_or(|(largest, _)| excess > largest) {
                worst[pixel.at.0] = Some((excess, index));
            }
        }
        for (_, index) in worst.into_iter().flatten() {
            self.scene.pixels[index].good = false;
            changed = true;
        }
        changed
    }

    /// Whether a pixel belongs to the images and not only to the residual sky.
    fn near(&self, pixel: &Pixel) -> bool {
        self.scene.terms_of(pixel).iter().any(|term| term.component < self.images.len())
    }

    /// Bring function and bend of every image's profile to the data.
    fn update_profiles(&mut self, solution: &Solution, light: &[f64]) {
        let rows = self.field.light.nrows();
        for component in 0..self.images.len() {
            let (Some(track), image) = (&self.tracks[component], &self.images[component]) else { continue };
            if image.shifts.len() > 1 {
                continue;
            }
            let spectrum = self.row_sums(solution, component, light);
            let mut points = Vec::with_capacity(self.scene.pixels.len());
            for (pixel, light) in self.scene.pixels.iter().zip(light).filter(|(pixel, _)| pixel.good) {
                let Some(term) = self.scene.terms_of(pixel).iter().find(|term| term.component == component) else {
                    continue;
                };
                let own = term.factor * solution.at(component, term.sample);
                points.push(ProfilePoint {
                    row: term.sample,
                    u: term.u - image.shifts[0],
                    light: image.sign * track.scale[pixel.at.0] * spectrum(term.sample),
                    value: pixel.value - (light - own),
                    variance: pixel.variance,
                });
            }
            let pixel = track.scale[rows / 2];
            let moffat = shape::fit(&points, self.profiles[component].moffat, self.options.reach);
            self.profiles[component] =
                Profile::of(moffat, self.options.reach, rows).fit(&points, pixel, self.options.degree);
        }
        // an image at several places is no place to measure a profile: it has that of one at a single place
        let single = |image: &Image| image.shifts.len() == 1;
        let Some(model) =
            self.images.iter().zip(&self.tracks).position(|(image, track)| single(image) && track.is_some())
        else {
            return;
        };
        for component in 0..self.images.len() {
            if !single(&self.images[component]) {
                self.profiles[component] = self.profiles[model].clone();
            }
        }
    }

    /// Light of an image in each row from a plain sum over its core, as a function of the sample: unlike the optimal
    /// spectrum it hardly depends on the profile, so that a wrong profile can't confirm itself.
    fn row_sums(&self, solution: &Solution, component: usize, light: &[f64]) -> impl Fn(f64) -> f64 + use<> {
        let rows = self.field.light.nrows();
        let (mut sums, mut shares, mut noise) = (vec![0.0; rows], vec![0.0; rows], vec![0.0; rows]);
        let core = 1.3 * self.profiles[component].moffat.fwhm;
        for (pixel, light) in self.scene.pixels.iter().zip(light).filter(|(pixel, _)| pixel.good) {
            let Some(term) = self.scene.terms_of(pixel).iter().find(|term| term.component == component) else {
                continue;
            };
            if term.u.abs() < core {
                let own = term.factor * solution.at(component, term.sample);
                sums[pixel.at.0] += pixel.value - light + own;
                shares[pixel.at.0] += term.factor;
                noise[pixel.at.0] += pixel.variance;
            }
        }
        steadied(&sums, &shares, &noise)
    }

    fn result(self, solution: Option<Solution>) -> Extracted {
        let shape = self.field.light.dim();
        let nothing = Array2::zeros(shape);
        let Some(solution) = solution else {
            return Extracted {
                spectra: self.images.iter().map(|_| OrderSpectrum::default()).collect(),
                across: vec![Vec::new(); self.images.len()],
                model: nothing.clone(),
                residual: nothing,
                rejected: Vec::new(),
                fwhm: vec![f64::NAN; self.images.len()],
                chi_square: f64::NAN,
            };
        };
        let count = self.images.len();
        let (spectra, across): (Vec<OrderSpectrum>, Vec<Vec<f64>>) = (0..count)
            .map(|component| match &self.tracks[component] {
                Some(track) => self.spectrum(&solution, component, track),
                None => (OrderSpectrum::default(), Vec::new()),
            })
            .unzip();
        let (mut sum, mut n) = (0.0, 0usize);
        for pixel in self.scene.pixels.iter().filter(|pixel| pixel.good && self.near(pixel)) {
            sum += (pixel.value - solution.light(&self.scene, pixel)).powi(2) / pixel.variance;
            n += 1;
        }
        let fwhm =
            (0..count).map(|c| if self.tracks[c].is_some() { self.profiles[c].fwhm() } else { f64::NAN }).collect();
        Extracted {
            model: solution.image(&self.scene, shape, |component| component < count),
            residual: solution.image(&self.scene, shape, |component| component >= count),
            chi_square: if n > 0 { sum / n as f64 } else { f64::NAN },
            spectra,
            across,
            fwhm,
            rejected: self
                .scene
                .pixels
                .iter()
                .filter(|pixel| !pixel.good && self.field.good[pixel.at])
                .map(|pixel| pixel.at)
                .collect(),
        }
    }

    /// The spectrum of one image with everything that belongs to a sample.
    fn spectrum(&self, solution: &Solution, component: usize, track: &Track) -> (OrderSpectrum, Vec<f64>) {
        let rows = track.len();
        let seen = Seen::of(self, component, rows);
        let aperture = boxcar::sum(self, solution, component, track);
        let covered: Vec<usize> = (0..rows).filter(|row| seen.share[*row] > 0.05).collect();
        let (Some(&first), Some(&last)) = (covered.first(), covered.last()) else {
            return (OrderSpectrum::default(), Vec::new());
        };
        let mut rows: Vec<usize> = (first..=last).collect();
        if track.wavelength[last] < track.wavelength[first] {
            rows.reverse();
        }
        let column = |value: &dyn Fn(usize) -> f64| rows.iter().map(|row| value(*row)).collect::<Vec<f64>>();
        let spectrum = OrderSpectrum {
            order: self.field.strip.order,
            place: column(&|row| self.field.strip.place(row as f64)),
            wavelength: column(&|row| track.wavelength[row]),
            width: column(&|row| track.width[row]),
            flux: column(&|row| solution.at(component, row as f64)),
            variance: column(&|row| solution.variance(component, row) + seen.shared[row]),
            boxcar: column(&|row| aperture.light[row]),
            boxcar_variance: column(&|row| aperture.variance[row]),
            sky: column(&|row| aperture.sky[row]),
            blaze: vec![f64::NAN; rows.len()],
            blaze_error: vec![],
            flags: rows.iter().map(|row| seen.flags[*row]).collect(),
        };
        (spectrum, column(&|row| track.across[row]))
    }
}

/// What of an image is seen in each row.
struct Seen {
    /// Share of the profile on good pixels.
    share: Vec<f64>,
    /// Flags of the bad pixels, where too little is seen.
    flags: Vec<i32>,
    /// Variance that the sky's model brings, whose error all pixels of a row share.
    shared: Vec<f64>,
}

impl Seen {
    fn of(order: &Order, component: usize, rows: usize) -> Seen {
        let mut seen = Seen { share: vec![0.0; rows], flags: vec![0; rows], shared: vec![0.0; rows] };
        let (mut plain, mut square, mut sky) = (vec![0.0; rows], vec![0.0; rows], vec![0.0; rows]);
        for pixel in &order.scene.pixels {
            let Some(term) = order.scene.terms_of(pixel).iter().find(|term| term.component == component) else {
                continue;
            };
            let (row, p) = (pixel.at.0, term.factor.abs());
            if pixel.good {
                seen.share[row] += p;
                plain[row] += p / pixel.variance;
                square[row] += p * p / pixel.variance;
                sky[row] += p * f64::from(order.field.shared[pixel.at]);
            } else if p > 0.02 {
                let bits = order.field.strip.flags[pixel.at];
                seen.flags[row] |= if bits == 0 { flags::COSMIC_RAY } else { bits };
            }
        }
        for row in 0..rows {
            if square[row] > 0.0 {
                seen.shared[row] = (plain[row] / square[row]).powi(2) * sky[row] / seen.share[row];
            }
            if seen.share[row] > ENOUGH {
                seen.flags[row] = 0;
            } else if seen.flags[row] == 0 {
                seen.flags[row] = flags::NO_DATA;
            }
        }
        seen
    }
}

/// Sums divided by the shares of the light in them, averaged over so many rows that their noise does not matter.
fn steadied(sums: &[f64], shares: &[f64], noise: &[f64]) -> impl Fn(f64) -> f64 + use<> {
    let rows = sums.len();
    let running = |values: &[f64], used: &dyn Fn(usize) -> f64| {
        let mut total = vec![0.0; rows + 1];
        values.iter().enumerate().for_each(|(k, value)| total[k + 1] = total[k] + value * used(k));
        total
    };
    // a row in which most of the light falls on bad pixels says nothing
    let used = |row: usize| if shares[row].abs() > 0.5 { shares[row].signum() } else { 0.0 };
    let (signal, share) = (running(sums, &used), running(shares, &used));
    let variance = running(noise, &|row| used(row).abs());
    let count = (0..rows).filter(|row| used(*row) != 0.0).count().max(1) as f64;
    let ratio = (signal[rows] / count) / (variance[rows] / count).sqrt().max(1e-30);
    let half = if ratio > 20.0 { 0 } else { (0.5 * (20.0 / ratio.max(0.5)).powi(2)) as usize + 1 };
    let half = half.min(rows / 4);
    let smooth: Vec<f64> = (0..rows)
        .map(|row| {
            let (low, high) = (row.saturating_sub(half), (row + half + 1).min(rows));
            let share = share[high] - share[low];
            if share > 0.25 { (signal[high] - signal[low]) / share } else { 0.0 }
        })
        .collect();
    move |sample: f64| {
        let left = (sample.max(0.0) as usize).min(rows.saturating_sub(2));
        let f = (sample - left as f64).clamp(0.0, 1.0);
        smooth[left] * (1.0 - f) + smooth[(left + 1).min(rows - 1)] * f
    }
}
