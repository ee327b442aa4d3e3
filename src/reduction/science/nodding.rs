//! Exposures with the source at different places of the slit: from their strips to one spectrum of the source.
//!
//! Exposures come in groups, each with some at one place and some at another ([`Group`]). In the difference of a group both
//! images and what is left of the sky are solved together; the spectra of all groups are combined at the end. A group that
//! fails is left out.

use ndarray::Array2;
use rayon::prelude::*;

use super::extract::{ExtractOptions, Extracted, Image, extract};
use super::field::Field;
use super::nodded_light::{NoddedLight, Plane, SAME_PLACE};
use super::pair::Difference;
use super::profile::Moffat;
use super::repeats::{self, Combined};
use super::strip::Strip;
use super::trace::{self, Beam, SearchOptions, Sight, Source, Trace, TraceError, TracePrior};
use crate::numerics::robust::median_f64;
use crate::reduction::spectrum::order::OrderSpectrum;
use crate::reduction::spectrum::rectified::OrderLight;

/// Exposures whose difference is taken, by their indices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Exposures that count positive.
    pub plus: Vec<usize>,
    /// Exposures that are taken off.
    pub minus: Vec<usize>,
}

/// An exposure.
#[derive(Clone, Copy, Debug)]
pub struct Placed<'a> {
    /// Its orders, the same in all exposures.
    pub strips: &'a [Strip],
    /// Commanded place of the target along the slit, arcsec; `None` when the target is not on the slit.
    pub offset: Option<f64>,
}

/// How they are reduced.
#[derive(Clone, Copy, Debug)]
pub struct NoddingOptions {
    /// Search for sources.
    pub search: SearchOptions,
    /// Extraction.
    pub extract: ExtractOptions,
    /// What is known of traces.
    pub prior: TracePrior,
}

/// One order of a source, all exposures together.
#[derive(Clone, Debug)]
pub struct NoddedOrder {
    /// The combined spectrum, with the light of one exposure.
    pub combined: Combined,
    /// Place of each sample across the dispersion in the first image, unbinned pixels of the trimmed detector.
    pub across: Vec<f64>,
    /// Median full width at half maximum of the images, arcsec; NaN when none was measured.
    pub fwhm: f64,
    /// Trace of the first image.
    pub trace: Trace,
}

/// What came of a group.
#[derive(Clone, Debug)]
pub struct GroupResult {
    /// Exposures.
    pub group: Group,
    /// Why it was left out; empty when it was used.
    pub failure: String,
    /// Sums over pixels outside the images: squares of what is left of the sky in units of its noise, and their number.
    pub sky: (f64, usize),
    /// The same for pixels within the images.
    pub source: (f64, usize),
    /// Pixels that contradict the model.
    pub rejected: usize,
}

impl GroupResult {
    fn of(group: &Group) -> GroupResult {
        GroupResult { group: group.clone(), failure: String::new(), sky: (0.0, 0), source: (0.0, 0), rejected: 0 }
    }
}

/// What came of all.
#[derive(Clone, Debug)]
pub struct Nodded {
    /// Sources, the target first.
    pub sources: Vec<Source>,
    /// Orders of each source.
    pub orders: Vec<Vec<NoddedOrder>>,
    /// Groups in their sequence.
    pub groups: Vec<GroupResult>,
    /// Brightness of the target in each image relative to the median, group by group, positive first.
    pub scales: Vec<f64>,
    /// Mean difference of all groups that were used, and its variance, for each order.
    pub differences: Vec<(Array2<f32>, Array2<f32>)>,
    /// Light of the images in the same light of one exposure, with the target at its own place on the slit whatever the offset:
    /// orders may occur several times, once for each place of the target.
    pub light: Vec<OrderLight>,
}

/// A group in memory.
struct Pair<'a> {
    /// All its exposures, each a list of orders.
    strips: Vec<&'a [Strip]>,
    differences: Vec<Difference<'a>>,
    beams: Vec<Beam>,
    /// Shifts of each beam's exposures against their mean, which is its offset.
    shifts: Vec<Vec<f64>>,
    shots: Vec<f64>,
}

impl<'a> Pair<'a> {
    /// `None` when exposures do not fit together.
    fn of(group: &Group, exposures: &[Placed<'a>]) -> Option<Pair<'a>> {
        let strips = |indices: &[usize], order: usize| -> Option<Vec<&'a Strip>> {
            indices.iter().map(|index| exposures.get(*index)?.strips.get(order)).collect()
        };
        let first = exposures.get(*group.plus.first()?)?;
        let differences: Vec<Difference<'a>> = (0..first.strips.len())
            .into_par_iter()
            .map(|order| Difference::of(&strips(&group.plus, order)?, &strips(&group.minus, order)?))
            .collect::<Option<Vec<_>>>()?;
        let (mut beams, mut shifts, mut shots) = (Vec::new(), Vec::new(), Vec::new());
        for (indices, sign) in [(&group.plus, 1.0), (&group.minus, -1.0)] {
            let offsets: Vec<f64> = indices.iter().filter_map(|index| exposures.get(*index)?.offset).collect();
            if offsets.is_empty() {
                continue;
            }
            let offset = offsets.iter().sum::<f64>() / offsets.len() as f64;
            beams.push(Beam { offset, sign });
            let mut own: Vec<f64> = offsets.iter().map(|other| other - offset).collect();
            if own.iter().all(|shift| shift.abs() < SAME_PLACE) {
                own = vec![0.0];
            }
            shifts.push(own);
            shots.push(1.0 / indices.len() as f64);
        }
        let strips =
            group.plus.iter().chain(&group.minus).filter_map(|index| Some(exposures.get(*index)?.strips)).collect();
        (!beams.is_empty()).then_some(Pair { strips, differences, beams, shifts, shots })
    }

    /// The differences without what is left of the sky.
    fn planes(&self, extracted: &[Extracted]) -> Vec<Plane> {
        let shot = |sign: f64| {
            self.beams.iter().zip(&self.shots).find(|(beam, _)| beam.sign == sign).map_or(1.0, |(_, shot)| *shot)
        };
        let shots = [shot(1.0), shot(-1.0)];
        (0..self.differences.len().min(extracted.len()))
            .into_par_iter()
            .map(|order| {
                let strips: Vec<&Strip> = self.strips.iter().filter_map(|strips| strips.get(order)).collect();
                Plane::of(&self.differences[order], &strips, &extracted[order], shots)
            })
            .collect()
    }
}

/// One order of one image.
struct ImageOrder {
    spectrum: OrderSpectrum,
    across: Vec<f64>,
    fwhm: f64,
    trace: Trace,
}

/// Reduce all groups. [`TraceError`] when they show no source.
pub fn reduce(groups: &[Group], exposures: &[Placed], options: &NoddingOptions) -> Result<Nodded, TraceError> {
    let pairs: Vec<Option<Pair>> = groups.iter().map(|group| Pair::of(group, exposures)).collect();
    let sources = sources(&pairs, options)?;
    let mut results: Vec<GroupResult> = Vec::with_capacity(groups.len());
    // images[source][image][order], images of all groups one after the other
    let mut images: Vec<Vec<Vec<ImageOrder>>> = sources.iter().map(|_| Vec::new()).collect();
    let mut planes: Vec<(Vec<Plane>, &[Beam])> = Vec::with_capacity(groups.len());
    for (group, pair) in groups.iter().zip(&pairs) {
        let mut result = GroupResult::of(group);
        match pair {
            None => result.failure = "its exposures do not show the same orders".to_string(),
            Some(pair) => {
                let (traces, extracted) = extracted(pair, &sources, options);
                if extracted.iter().all(|order| order.spectra.iter().all(OrderSpectrum::is_empty)) {
                    result.failure = "no order of it gives a spectrum".to_string();
                } else {
                    for (difference, order) in pair.differences.iter().zip(&extracted) {
                        judge(&difference.field, order, &mut result);
                    }
                    planes.push((pair.planes(&extracted), &pair.beams));
                    gather(&mut images, pair.beams.len(), &traces, extracted);
                }
            }
        }
        results.push(result);
    }
    let scales = images.first().map(|target| repeats::scales(&spectra(target))).unwrap_or_default();
    let orders = images.iter().map(|images| combined(images, &scales)).collect();
    let used = pairs.iter().zip(&results).filter(|(_, result)| result.failure.is_empty());
    let used: Vec<&Pair> = used.filter_map(|(pair, _)| pair.as_ref()).collect();
    let light = light(&planes, &scales, exposures.first().map_or(&[], |exposure| exposure.strips));
    Ok(Nodded { sources, orders, groups: results, scales, differences: mean_differences(&used), light })
}

/// The light of all groups in two dimensions. Scales are those of the images, group by group.
fn light(planes: &[(Vec<Plane>, &[Beam])], scales: &[f64], strips: &[Strip]) -> Vec<OrderLight> {
    let mut light = NoddedLight::default();
    let mut first = 0;
    for (planes, beams) in planes {
        light.add(planes, beams, scales.get(first..first + beams.len()).unwrap_or_default());
        first += beams.len();
    }
    light.finished(strips)
}

/// The spectra of images.
fn spectra(images: &[Vec<ImageOrder>]) -> Vec<Vec<&OrderSpectrum>> {
    images.iter().map(|orders| orders.iter().map(|order| &order.spectrum).collect()).collect()
}

/// Sort what a group gives by source, image and order. Its images are sorted by source, then by beam.
fn gather(images: &mut [Vec<Vec<ImageOrder>>], beams: usize, traces: &[Vec<Trace>], extracted: Vec<Extracted>) {
    let mut gathered: Vec<Vec<ImageOrder>> = traces.iter().map(|_| Vec::with_capacity(extracted.len())).collect();
    for (order, extracted) in extracted.into_iter().enumerate() {
        let parts = extracted.spectra.into_iter().zip(extracted.across).zip(extracted.fwhm);
        for (image, ((spectrum, across), fwhm)) in parts.enumerate() {
            gathered[image].push(ImageOrder { spectrum, across, fwhm, trace: traces[image][order].clone() });
        }
    }
    for (image, orders) in gathered.into_iter().enumerate() {
        images[image / beams].push(orders);
    }
}

/// Sources that all groups show together.
fn sources(pairs: &[Option<Pair>], options: &NoddingOptions) -> Result<Vec<Source>, TraceError> {
    let fields: Vec<Vec<Field>> = pairs
        .iter()
        .flatten()
        .map(|pair| pair.differences.iter().map(|difference| difference.field.clone()).collect())
        .collect();
    let sights: Vec<Sight> =
        fields.iter().zip(pairs.iter().flatten()).map(|(fields, pair)| Sight { fields, beams: &pair.beams }).collect();
    trace::find_in_all(&sights, &options.prior, &options.search)
}

/// Follow and extract all sources of a group. Images are sorted by source, then by beam; traces likewise.
fn extracted(pair: &Pair, sources: &[Source], options: &NoddingOptions) -> (Vec<Vec<Trace>>, Vec<Extracted>) {
    let fields: Vec<Field> = pair.differences.iter().map(|difference| difference.field.clone()).collect();
    let traces: Vec<Vec<Trace>> = sources
        .iter()
        .flat_map(|source| pair.beams.iter().map(|beam| trace::follow(&fields, source, *beam, &options.prior)))
        .collect();
    let extracted = pair
        .differences
        .par_iter()
        .zip(fields.par_iter())
        .enumerate()
        .map(|(order, (difference, field))| {
            let images: Vec<Image> = traces
                .iter()
                .enumerate()
                .map(|(image, traces)| {
                    let (source, beam) = (&sources[image / pair.beams.len()], image % pair.beams.len());
                    Image {
                        trace: &traces[order],
                        shifts: pair.shifts[beam].clone(),
                        sign: pair.beams[beam].sign,
                        shot: pair.shots[beam],
                        shape: Moffat { fwhm: source.fwhm, beta: f64::INFINITY },
                    }
                })
                .collect();
            let away = |image: &Image, fwhm: f64| {
                let middle = 0.5 * (image.trace.domain[0] + image.trace.domain[1]);
                image.shifts.iter().map(|shift| (image.trace.at(middle) + shift, 1.6 * fwhm)).collect::<Vec<_>>()
            };
            let covered: Vec<(f64, f64)> = images.iter().flat_map(|image| away(image, image.shape.fwhm)).collect();
            extract(field, &images, Some(&difference.residual(&covered)), &options.extract)
        })
        .collect();
    (traces, extracted)
}

/// Add what an order leaves to the figures of its group.
fn judge(field: &Field, order: &Extracted, result: &mut GroupResult) {
    let mut out = Array2::from_elem(field.light.dim(), false);
    order.rejected.iter().for_each(|at| out[*at] = true);
    result.rejected += order.rejected.len();
    for (at, light) in field.light.indexed_iter() {
        if !field.good[at] || out[at] {
            continue;
        }
        let model = f64::from(order.model[at]);
        let rest = f64::from(*light) - model - f64::from(order.residual[at]);
        let noise = field.noise(at, model, 1.0);
        // light below half of the noise does not count as that of a source
        let part = if model * model > 0.25 * noise { &mut result.source } else { &mut result.sky };
        part.0 += rest * rest / noise;
        part.1 += 1;
    }
}

/// All orders of one source, from all its images.
fn combined(images: &[Vec<ImageOrder>], scales: &[f64]) -> Vec<NoddedOrder> {
    let orders = images.first().map_or(0, Vec::len);
    (0..orders)
        .into_par_iter()
        .filter_map(|order| {
            let repeats: Vec<(&OrderSpectrum, f64)> =
                images.iter().zip(scales).map(|(image, scale)| (&image[order].spectrum, *scale)).collect();
            let combined = repeats::combine(&repeats)?;
            let mut widths: Vec<f64> =
                images.iter().map(|image| image[order].fwhm).filter(|fwhm| fwhm.is_finite() && *fwhm > 0.0).collect();
            let grid = &images[combined.grid][order];
            Some(NoddedOrder {
                across: grid.across.clone(),
                trace: grid.trace.clone(),
                fwhm: median_f64(&mut widths).unwrap_or(f64::NAN),
                combined,
            })
        })
        .collect()
}

/// Mean difference of each order and its variance without the light of sources.
fn mean_differences(pairs: &[&Pair]) -> Vec<(Array2<f32>, Array2<f32>)> {
    let Some(first) = pairs.first() else { return Vec::new() };
    let n = pairs.len() as f32;
    (0..first.differences.len())
        .into_par_iter()
        .map(|order| {
            let shape = first.differences[order].field.light.dim();
            let (mut light, mut variance) = (Array2::<f32>::zeros(shape), Array2::<f32>::zeros(shape));
            for pair in pairs {
                let field = &pair.differences[order].field;
                light += &field.light;
                // the light's own noise, where there is more light than noise
                variance += &Array2::from_shape_fn(shape, |at| {
                    field.noise(at, f64::from(field.light[at]).max(0.0), 1.0) as f32
                });
            }
            (light / n, variance / (n * n))
        })
        .collect()
}
