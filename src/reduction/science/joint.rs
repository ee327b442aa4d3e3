//! One exposure from its strips to the spectra of its sources: sky and sources are found in turns, each with the light of
//! the other taken away, until neither knows of the other's mistakes.

use ndarray::Array2;
use rayon::prelude::*;

use super::cosmic::{self, CosmicOptions};
use super::extract::{ExtractOptions, Extracted, Image, extract};
use super::field::Field;
use super::hidden;
use super::profile::Moffat;
use super::rows::Rows;
use super::shift::{self, ArmShift, ShiftOptions};
use super::sky::{self, Sky, SkyOptions};
use super::slit::{self, SlitShift};
use super::strip::Strip;
use super::trace::{self, Beam, SearchOptions, Source, Trace, TraceError, TracePrior};
use crate::instrument::airglow::SkyLine;
use crate::reduction::orders::image::{binned, unbinned};

/// How an exposure is reduced.
#[derive(Clone, Debug)]
pub struct JointOptions {
    /// Sky.
    pub sky: SkyOptions,
    /// Cosmic rays.
    pub cosmic: CosmicOptions,
    /// Shift of the lines; `None` leaves wavelengths as they are.
    pub shift: Option<ShiftOptions>,
    /// Search for sources.
    pub search: SearchOptions,
    /// Extraction.
    pub extract: ExtractOptions,
    /// What is known of traces.
    pub prior: TracePrior,
    /// Turns of sky and sources after the first sky.
    pub turns: usize,
}

/// An order when all is done.
#[derive(Clone, Debug)]
pub struct JointOrder {
    /// Its pixels, with wavelengths as the lines of the sky have them, and cosmic rays flagged.
    pub strip: Strip,
    /// The sky.
    pub sky: Sky,
    /// Light of the sources in every pixel; zero without any.
    pub sources: Array2<f32>,
    /// What was extracted; `None` without a source.
    pub extracted: Option<Extracted>,
    /// Trace of each source.
    pub traces: Vec<Trace>,
}

/// An exposure when all is done.
#[derive(Clone, Debug)]
pub struct Joint {
    /// Its orders.
    pub orders: Vec<JointOrder>,
    /// Sources, the target first.
    pub sources: Vec<Source>,
    /// Why there is none.
    pub missing: Option<TraceError>,
    /// By how much the slit had moved along itself; `None` when the sky is too faint to tell.
    pub slit: Option<SlitShift>,
    /// By how much lines lay off the map; `None` when too few can be seen, or none were looked for.
    pub shift: Option<ArmShift>,
    /// Orders without enough usable pixels for a sky.
    pub left_out: Vec<u8>,
    /// Pixels that cosmic rays have hit, in orders.
    pub cosmic_rays: usize,
}

/// An order under way.
pub(super) struct Order {
    pub(super) strip: Strip,
    rows: Rows,
    sky: Sky,
    sources: Array2<f32>,
    extracted: Option<Extracted>,
    traces: Vec<Trace>,
}

/// Reduce the strips of an exposure.
pub fn reduce(mut strips: Vec<Strip>, list: &[SkyLine], options: &JointOptions) -> Joint {
    let slit = place_slit(&mut strips);
    let numbers: Vec<u8> = strips.iter().map(|strip| strip.order).collect();
    let mut orders: Vec<Order> = strips.into_par_iter().filter_map(|strip| first_sky(strip, options)).collect();
    let shift = options.shift.as_ref().and_then(|shift| place_lines(&mut orders, list, shift));
    let mut cosmic_rays = 0;
    let (mut sources, mut missing) = (Vec::new(), None);
    for turn in 0..options.turns.max(1) {
        if turn > 0 {
            orders.par_iter_mut().for_each(|order| order.next_sky(options));
        }
        match find_sources(&mut orders, options) {
            Ok(found) => (sources, missing) = (found, None),
            Err(error) => {
                (sources, missing) = (Vec::new(), Some(error));
                orders.iter_mut().for_each(Order::forget_sources);
            }
        }
        // with the light of sources known: before that the core of a sharp star would be taken for rays
        cosmic_rays += orders.par_iter_mut().map(|order| order.flag_rays(options)).sum::<usize>();
    }
    let left_out =
        numbers.into_iter().filter(|number| orders.iter().all(|order| order.strip.order != *number)).collect();
    let orders = orders.into_iter().map(Order::finished).collect();
    Joint { orders, sources, missing, slit, shift, left_out, cosmic_rays }
}

/// Move the maps to where the slit is, and close it where its ends are.
pub(super) fn place_slit(strips: &mut [Strip]) -> Option<SlitShift> {
    let rows: Vec<Option<Rows>> = strips.par_iter().map(Rows::of).collect();
    let known: Vec<(&Strip, &Rows)> = strips.iter().zip(&rows).filter_map(|(s, r)| Some((s, r.as_ref()?))).collect();
    let lit = slit::lit(strips)?;
    let shift = slit::find(&known, lit)?;
    if shift.is_significant() {
        strips.par_iter_mut().for_each(|strip| {
            slit::move_maps(strip, shift.pixels);
            slit::close(strip, lit);
        });
    }
    Some(shift)
}

/// The sky before any source is known.
pub(super) fn first_sky(strip: Strip, options: &JointOptions) -> Option<Order> {
    let mut rows = Rows::of(&strip)?;
    let hidden = hidden::find(&strip, &rows);
    let sky = sky::fit(&strip, &mut rows, None, &hidden, &options.sky)?;
    let sources = Array2::zeros(strip.shape());
    Some(Order { strip, rows, sky, sources, extracted: None, traces: Vec::new() })
}

/// Give every pixel the wavelength that the lines of the sky say.
pub(super) fn place_lines(orders: &mut [Order], list: &[SkyLine], options: &ShiftOptions) -> Option<ArmShift> {
    let skies: Vec<_> = orders.iter().map(|order| (&order.sky.spline, &order.rows)).collect();
    let shift = shift::find(&skies, list, options)?;
    orders.par_iter_mut().zip(&shift.orders).for_each(|(order, found)| {
        let Order { strip, rows, .. } = order;
        let Strip { wavelength, wavelength_error, .. } = strip;
        ndarray::Zip::from(wavelength).and(wavelength_error).and(&rows.at).for_each(|wavelength, error, row| {
            if row.is_finite() {
                let row = f64::from(*row);
                *wavelength = rows.wavelength(row - found.at(row));
                // the lines replace the map's own zero point; its errors along the order remain the larger ones
                *error = error.hypot((rows.step(row).abs() * found.error) as f32);
            }
        });
    });
    Some(shift)
}

impl Order {
    fn next_sky(&mut self, options: &JointOptions) {
        let sources = self.extracted.as_ref().map(|_| &self.sources);
        let hidden = if sources.is_some() { Vec::new() } else { hidden::find(&self.strip, &self.rows) };
        if let Some(sky) = sky::fit(&self.strip, &mut self.rows, sources, &hidden, &options.sky) {
            self.sky = sky;
        }
    }

    fn flag_rays(&mut self, options: &JointOptions) -> usize {
        let model = &self.sky.model.value + &self.sources;
        let suspects = self.extracted.as_ref().map_or(&[][..], |extracted| &extracted.rejected);
        cosmic::flag(&mut self.strip, &model, suspects, &options.cosmic)
    }

    fn forget_sources(&mut self) {
        self.sources.fill(0.0);
        self.extracted = None;
        self.traces.clear();
    }

    fn finished(self) -> JointOrder {
        let Order { strip, sky, sources, extracted, traces, .. } = self;
        JointOrder { strip, sky, sources, extracted, traces }
    }
}

/// Find sources in all orders together, follow and extract them.
fn find_sources(orders: &mut [Order], options: &JointOptions) -> Result<Vec<Source>, TraceError> {
    let fields: Vec<Field> = orders.par_iter().map(|order| Field::of(&order.strip, &order.sky.model)).collect();
    let sources = trace::find(&fields, &Beam::SINGLE, &options.prior, &options.search)?;
    let traces: Vec<Vec<Trace>> =
        sources.iter().map(|source| trace::follow(&fields, source, Beam::SINGLE[0], &options.prior)).collect();
    let extracted: Vec<(Extracted, Vec<Trace>)> = fields
        .par_iter()
        .enumerate()
        .map(|(k, field)| {
            let traces: Vec<Trace> = traces.iter().filter_map(|traces| traces.get(k)).cloned().collect();
            let images: Vec<Image> = traces
                .iter()
                .zip(&sources)
                .map(|(trace, source)| Image {
                    trace,
                    shifts: vec![0.0],
                    sign: 1.0,
                    shot: 1.0,
                    shape: Moffat { fwhm: source.fwhm, beta: f64::INFINITY },
                })
                .collect();
            (extract(field, &images, None, &options.extract), traces)
        })
        .collect();
    drop(fields);
    for (order, (extracted, traces)) in orders.iter_mut().zip(extracted) {
        order.sources.assign(&extracted.model);
        order.extracted = Some(extracted);
        order.traces = traces;
    }
    Ok(sources)
}

impl JointOrder {
    /// Column of the turned detector, unbinned pixels of the trimmed area, at which a slit position lies in a row of the
    /// strip. `None` where the row does not reach it.
    pub fn across(&self, row: usize, slit: impl Fn(f64) -> f64) -> Option<f64> {
        let line = self.strip.slit.row(row);
        let off = |c: usize| f64::from(line[c]) - slit(self.strip.wavelength[(row, c)]);
        (1..line.len()).find_map(|c| {
            let (low, high) = (off(c - 1), off(c));
            let between = (low <= 0.0) != (high <= 0.0) && low.is_finite() && high.is_finite();
            let column = (self.strip.columns[row] + c) as f64 - high / (high - low);
            between.then(|| unbinned(column, self.strip.binning[1]))
        })
    }

    /// Row of the strip at a place along the dispersion, unbinned pixels.
    pub fn row_of(&self, place: f64) -> Option<usize> {
        let row = binned(place, self.strip.binning[0]).round() - self.strip.row as f64;
        (row >= 0.0 && (row as usize) < self.strip.shape().0).then_some(row as usize)
    }

    /// What is left of the light in units of its noise, with the sky of the pixel, for pixels that take part.
    pub fn residuals(&self) -> impl Iterator<Item = Residual> + '_ {
        self.strip.value.indexed_iter().filter(|(at, _)| self.strip.usable(*at)).map(|(at, value)| {
            let (sky, source) = (self.sky.model.value[at], self.sources[at]);
            let sigma = self.strip.variance(at, f64::from(sky + source)).sqrt();
            Residual { sky: sky.into(), source: source.into(), sigma, value: f64::from(value - sky - source) / sigma }
        })
    }
}

/// What is left in one pixel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Residual {
    /// Light of the sky.
    pub sky: f64,
    /// Light of sources.
    pub source: f64,
    /// Noise of the pixel.
    pub sigma: f64,
    /// What is left, in units of that noise.
    pub value: f64,
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::{Scene, line};
    use super::*;
    use crate::reduction::flags;

    const ROWS: usize = 600;
    const SCALE: f64 = 3.6;

    fn options(turns: usize) -> JointOptions {
        JointOptions {
            sky: SkyOptions::default(),
            cosmic: CosmicOptions::default(),
            shift: Some(ShiftOptions { search: 4.0, width: 3.6, blur: 0.6, least_signal: 8.0 }),
            search: SearchOptions::default(),
            extract: ExtractOptions::default(),
            prior: TracePrior::straight(600.0),
            turns,
        }
    }

    /// Lines of the sky lie `shift` rows off; a star of `electrons` per row stands at 0.7 arcsec.
    fn exposed(shift: f64, electrons: f64, seed: u64) -> (Vec<Strip>, Vec<SkyLine>) {
        let scene = Scene { shape: (ROWS, 50), seed: Some(seed), ..Scene::small() };
        let rows: Vec<f64> = (0..18).map(|k| 25.0 + 31.7 * f64::from(k) + 4.0 * f64::from(k % 3)).collect();
        let light = |u: f64, s: f64| {
            let lines: f64 = rows.iter().map(|row| 900.0 * line(u - row - shift, 3.6, 0.6)).sum();
            let profile = (-0.5 * ((s - 0.7) / 0.4f64).powi(2)).exp() / (0.4 * 2.506_628_3) / SCALE;
            50.0 + lines + electrons * profile
        };
        let list = rows.iter().map(|row| SkyLine { wavelength: scene.wavelength(*row), photons: 1.0 }).collect();
        (vec![scene.strip(&light)], list)
    }

    #[test]
    fn spectra_have_the_errors_that_they_claim() {
        for (electrons, seed) in [(60.0, 3), (2000.0, 4), (30_000.0, 5)] {
            let (strips, list) = exposed(0.0, electrons, seed);
            let joint = reduce(strips, &list, &options(2));
            assert_eq!(joint.sources.len(), 1, "{:?}", joint.missing);
            assert!((joint.sources[0].position - 0.7).abs() < 0.15);
            let spectrum = &joint.orders[0].extracted.as_ref().unwrap().spectra[0];
            let good = (10..spectrum.len() - 10).filter(|k| spectrum.flags[*k] == 0);
            let pulls: Vec<f64> = good.map(|k| (spectrum.flux[k] - electrons) / spectrum.variance[k].sqrt()).collect();
            let n = pulls.len() as f64;
            let mean = pulls.iter().sum::<f64>() / n;
            let width = (pulls.iter().map(|pull| (pull - mean).powi(2)).sum::<f64>() / n).sqrt();
            // 580 samples: 3 % of the width; the mean is that of a profile which is found from the same data
            assert!(n > 500.0 && (0.91..1.10).contains(&width) && mean.abs() < 0.2, "{electrons}: {n} {mean} {width}");
        }
    }

    #[test]
    fn lines_give_every_pixel_its_wavelength_back() {
        let (strips, list) = exposed(1.3, 500.0, 6);
        let scene = Scene { shape: (ROWS, 50), ..Scene::small() };
        let joint = reduce(strips, &list, &options(2));
        let strip = &joint.orders[0].strip;
        for (at, wavelength) in strip.wavelength.indexed_iter().filter(|(at, _)| strip.usable(*at)) {
            let row = scene.row_at_middle(at.0 as f64, f64::from(strip.slit[at])) - 1.3;
            assert!((wavelength - scene.wavelength(row)).abs() < 0.05 * 0.04, "{at:?}");
        }
        assert!(joint.shift.is_some_and(|shift| shift.is_significant()));
    }

    #[test]
    fn rays_are_flagged_and_do_not_change_the_spectrum() {
        let (mut strips, list) = exposed(0.0, 20_000.0, 7);
        let clean = reduce(strips.clone(), &list, &options(2));
        let trace = strips[0].slit.row(0).iter().position(|s| (*s - 0.7).abs() < 0.15).unwrap();
        let hits: Vec<(usize, usize)> = (0..50).map(|k| (11 * k + 20, trace - 8 + k % 17)).collect();
        hits.iter().for_each(|at| strips[0].value[*at] += 2000.0);
        let hit = reduce(strips, &list, &options(2));
        let strip = &hit.orders[0].strip;
        let found = hits.iter().filter(|at| strip.flags[**at] & flags::COSMIC_RAY != 0).count();
        assert!(found >= 49, "{found} of {}", hits.len());
        let sum = |joint: &Joint| joint.orders[0].extracted.as_ref().unwrap().spectra[0].flux.iter().sum::<f64>();
        assert!((sum(&hit) / sum(&clean) - 1.0).abs() < 2e-3, "{} {}", sum(&hit), sum(&clean));
    }

    #[test]
    fn without_a_source_there_is_a_sky_and_a_reason() {
        let (strips, list) = exposed(0.0, 0.0, 8);
        let joint = reduce(strips, &list, &options(2));
        assert!(joint.sources.is_empty() && joint.missing.is_some());
        assert!(joint.orders[0].extracted.is_none() && joint.orders[0].sources.iter().all(|light| *light == 0.0));
        let worst = joint.orders[0].residuals().map(|residual| residual.value.abs()).fold(0.0, f64::max);
        assert!(worst < 6.5, "{worst}");
    }
}
