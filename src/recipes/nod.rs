//! A source that the telescope moves along the slit, or off it, between exposures: `nod` and `offset`, and the same of
//! standard stars, `nod_std` and `offset_std`.

use serde::Deserialize;

use super::contract::{ProductImage, Recipe, RecipeError, RecipeInput, RecipeOutput, RejectedFrame};
use super::nod_groups::{self, Place};
use super::nod_qc;
use super::on_sky::{self, OnSkyRules, OnSkySet, SourceParameters};
use super::parameters::{self, check_ranges, merged};
use super::spectra::{self, Exposed, Extracted, Source, SourceOrder, SpectraParameters};
use crate::instrument::{FrameMeta, airglow};
use crate::reduction::flags::NO_DATA;
use crate::reduction::science::align;
use crate::reduction::science::cosmic::CosmicOptions;
use crate::reduction::science::extract::ExtractOptions;
use crate::reduction::science::joint::JointOptions;
use crate::reduction::science::nodding::{self, Group, Nodded, NoddedOrder, NoddingOptions, Placed};
use crate::reduction::science::sky::SkyOptions;
use crate::reduction::science::strip::{self, Strip};
use crate::reduction::science::trace::TraceError;
use ndarray::Array2;

/// Parameters; meanings, units and ranges in `config/recipes.toml`.
#[derive(Clone, Debug, PartialEq)]
struct Parameters {
    source: SourceParameters,
    own: OwnParameters,
}

/// Those that only these recipes have.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnParameters {
    pixel_sigma: f64,
}

impl Parameters {
    fn read(recipe: &'static str, overrides: &toml::Table) -> Result<Parameters, RecipeError> {
        let mut table = merged(recipe, overrides)?;
        let source = SourceParameters::taken(recipe, &mut table)?;
        let own: OwnParameters = parameters::read(recipe, table)?;
        check_ranges(recipe, &[("pixel_sigma", own.pixel_sigma, 3.0..=50.0)])?;
        Ok(Parameters { source, own })
    }

    fn options(&self, set: &OnSkySet) -> NoddingOptions {
        NoddingOptions {
            search: self.source.search(),
            extract: ExtractOptions { rejection: self.own.pixel_sigma, ..self.source.extract() },
            prior: set.prior(),
        }
    }

    /// How the sky that places slit and lines is fitted.
    fn alignment(&self, set: &OnSkySet) -> JointOptions {
        let options = self.options(set);
        JointOptions {
            sky: SkyOptions::default(),
            cosmic: CosmicOptions::default(),
            shift: self.source.shift(set),
            search: options.search,
            extract: options.extract,
            prior: options.prior,
            turns: 1,
        }
    }
}

/// What one of the four recipes does.
#[derive(Clone, Copy, Debug)]
pub struct Nodding {
    name: &'static str,
    tech: &'static str,
    standard: bool,
    places: fn(&[FrameMeta]) -> Result<Vec<Place>, String>,
}

/// The recipe `nod`.
pub const NOD: Nodding =
    Nodding { name: "nod", tech: "ECHELLE,SLIT,NODDING", standard: false, places: nod_groups::nodded };
/// The recipe `nod_std`.
pub const NOD_STANDARD: Nodding = Nodding { name: "nod_std", standard: true, ..NOD };
/// The recipe `offset`.
pub const OFFSET: Nodding =
    Nodding { name: "offset", tech: "ECHELLE,SLIT,OFFSET", standard: false, places: nod_groups::offset };
/// The recipe `offset_std`.
pub const OFFSET_STANDARD: Nodding = Nodding { name: "offset_std", standard: true, ..OFFSET };

impl Recipe for Nodding {
    fn name(&self) -> &'static str {
        self.name
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn check_parameters(&self, parameters: &toml::Table) -> Result<(), RecipeError> {
        Parameters::read(self.name, parameters).map(|_| ())
    }

    fn verify(&self, frames: &[FrameMeta], parameters: &toml::Table) -> Result<(), RecipeError> {
        self.check_parameters(parameters)?;
        on_sky::check(frames, self.rules())?;
        self.plan(frames).map(|_| ())
    }

    fn peak_bytes(&self, frames: &[FrameMeta]) -> u64 {
        on_sky::peak_bytes(frames)
    }

    fn run(&self, input: RecipeInput, parameters: &toml::Table) -> Result<RecipeOutput, RecipeError> {
        self.reduce(input, &Parameters::read(self.name, parameters)?)
    }
}

impl Nodding {
    fn rules(&self) -> OnSkyRules {
        OnSkyRules { recipe: self.name, tech: self.tech }
    }

    /// Places of all frames and their groups.
    fn plan(&self, frames: &[FrameMeta]) -> Result<(Vec<Place>, Vec<Group>), RecipeError> {
        let wrong = |reason: String| RecipeError::Input { recipe: self.name, reason };
        let places = (self.places)(frames).map_err(wrong)?;
        let times: Vec<f64> = frames.iter().map(|frame| frame.mjd_obs).collect();
        let groups = nod_groups::grouped(&places, &times);
        match groups.is_empty() {
            true => Err(wrong("no frame has a partner of the other kind".to_string())),
            false => Ok((places, groups)),
        }
    }

    fn reduce(&self, mut input: RecipeInput, parameters: &Parameters) -> Result<RecipeOutput, RecipeError> {
        let wrong = |reason: String| RecipeError::Input { recipe: self.name, reason };
        // bias and dark are the same in both exposures of a difference: their errors are not in it
        for master in input.masters.iter_mut().filter(|m| ["MASTER_BIAS", "MASTER_DARK"].contains(&m.catg.as_str())) {
            master.variance.fill(0.0);
        }
        let mut set = on_sky::open(&mut input, self.rules())?;
        let (places, groups) = self.plan(&set.metas)?;
        let exposures = std::mem::take(&mut set.exposures);
        let shape = exposures.first().map_or((0, 0), |exposure| exposure.value.dim());
        let mut strips: Vec<Vec<Strip>> = Vec::with_capacity(exposures.len());
        for exposure in exposures {
            let cut = strip::cut(&exposure, &set.maps, set.dispersion);
            strips.push(cut.map_err(|error| wrong(format!("DISP_IMAGE: {error}")))?);
        }
        let pair = [groups[0].plus[0], groups[0].minus[0]];
        let alignment = align::align(&mut strips, pair, airglow::lines(), &parameters.alignment(&set));
        let mut remarks = std::mem::take(&mut set.remarks);
        remarks.extend(on_sky::moved(alignment.slit.as_ref(), alignment.shift.as_ref()));
        let mut nodded = self.nodded(&groups, &strips, &places, &parameters.options(&set), &mut remarks)?;
        let mut output = RecipeOutput { remarks, ..RecipeOutput::default() };
        output.remarks.extend(found(&nodded));
        output.rejected = lost(&nodded, &set.metas);
        output.qc = nod_qc::quality(&nodded, &alignment, &set);
        output.products = vec![self.difference(&nodded, &strips, shape, &set)];
        let exptime = set.metas.first().map_or(0.0, |meta| meta.exptime);
        let exposed = Exposed::of(&set.metas, exptime, self.standard)
            .ok_or_else(|| wrong("no frames; name at least one".to_string()))?;
        let light = std::mem::take(&mut nodded.light);
        let wavelengths = set.wavelength_scale(alignment.shift.as_ref());
        let extracted =
            Extracted { exposed, frames: set.metas.clone(), sources: sources(nodded, &set), light, wavelengths };
        let spectra = SpectraParameters::read(&toml::Table::new())?;
        let finished = spectra::finish(self.name, &extracted, &input.tables, &spectra)?;
        output.append(finished);
        Ok(output)
    }

    /// Reduce with the offsets of the headers and, when they show no source, with the slit the other way round.
    fn nodded(
        &self,
        groups: &[Group],
        strips: &[Vec<Strip>],
        places: &[Place],
        options: &NoddingOptions,
        remarks: &mut Vec<String>,
    ) -> Result<Nodded, RecipeError> {
        let with = |sign: f64| {
            let exposures: Vec<Placed> = strips
                .iter()
                .zip(places)
                .map(|(strips, place)| Placed { strips, offset: place.offset().map(|offset| sign * offset) })
                .collect();
            nodding::reduce(groups, &exposures, options)
        };
        let nothing = |error: TraceError| RecipeError::Unprocessable { recipe: self.name, reason: error.to_string() };
        match with(1.0) {
            Ok(nodded) => Ok(nodded),
            Err(error) if places.iter().any(|place| place.offset().is_some_and(|offset| offset != 0.0)) => {
                let turned = with(-1.0).map_err(|_| nothing(error))?;
                remarks.push(
                    "the source moves against ESO SEQ CUMOFF Y: the slit is taken the other way round".to_string(),
                );
                Ok(turned)
            }
            Err(error) => Err(nothing(error)),
        }
    }

    /// The mean difference on the detector.
    fn difference(
        &self,
        nodded: &Nodded,
        strips: &[Vec<Strip>],
        shape: (usize, usize),
        set: &OnSkySet,
    ) -> ProductImage {
        let (mut light, mut variance) = (Array2::<f32>::zeros(shape), Array2::<f32>::zeros(shape));
        let mut flags = Array2::from_elem(shape, NO_DATA);
        for (order, (value, noise)) in nodded.differences.iter().enumerate() {
            let Some(strip) = strips.first().and_then(|strips| strips.get(order)) else { continue };
            strip.paste(value, &mut light);
            strip.paste(noise, &mut variance);
            let mut bits = strip.flags.clone();
            for other in strips.iter().skip(1).filter_map(|strips| strips.get(order)) {
                bits.zip_mut_with(&other.flags, |bits, other| *bits |= other);
            }
            strip.paste(&bits, &mut flags);
        }
        let n = set.metas.len();
        ProductImage {
            tech: self.tech.to_string(),
            ..ProductImage::new("SKY_SUBTRACTED_OBJECT", "_SKYSUB", "electron", light, Some(variance), flags, n)
        }
    }
}

/// What was found, for people.
fn found(nodded: &Nodded) -> Vec<String> {
    let mut out: Vec<String> = nodded.sources.iter().map(on_sky::described).collect();
    let scaled = nodded.scales.iter().any(|scale| (scale - 1.0).abs() > 0.1);
    if scaled {
        let scales: Vec<String> = nodded.scales.iter().map(|scale| format!("{scale:.2}")).collect();
        out.push(format!("brightness differs between exposures, relative to the median: {}", scales.join(", ")));
    }
    out
}

/// Frames of groups that failed.
fn lost(nodded: &Nodded, metas: &[FrameMeta]) -> Vec<RejectedFrame> {
    let failed = nodded.groups.iter().filter(|result| !result.failure.is_empty());
    failed
        .flat_map(|result| {
            let frames = result.group.plus.iter().chain(&result.group.minus).filter_map(|index| metas.get(*index));
            frames.map(|meta| RejectedFrame { data_id: meta.data_id.clone(), reason: result.failure.clone() })
        })
        .collect()
}

/// Spectra of all sources.
fn sources(nodded: Nodded, set: &OnSkySet) -> Vec<Source> {
    let order = |order: NoddedOrder| {
        let mut spectrum = order.combined.spectrum;
        if let Some(blaze) = &set.blaze {
            blaze.fill(&mut spectrum);
        }
        let blur = set.blaze.as_ref().and_then(|blaze| blaze.blur(spectrum.order));
        let fwhm = Some(order.fwhm).filter(|fwhm| fwhm.is_finite());
        SourceOrder { spectrum, across: order.across, fwhm, blur }
    };
    let all = nodded
        .sources
        .iter()
        .zip(nodded.orders)
        .map(|(source, orders)| Source { slit: source.position, orders: orders.into_iter().map(order).collect() });
    all.filter(|source| !source.orders.is_empty()).collect()
}
