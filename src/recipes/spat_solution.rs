//! Full geometry: wavelength and slit position of every pixel, from an arc through the mask of nine pinholes.

use super::arc::{self, ArcParameters, ArcRules, Solved};
use super::contract::{MapPlane, ProductMaps, Recipe, RecipeError, RecipeInput, RecipeOutput};
use super::disp_tab;
use super::pages;
use crate::instrument::format::SpectralFormat;
use crate::instrument::{Arm, FrameMeta};
use crate::quality::QcMetric;
use crate::reduction::geometry::fit::Ties;
use crate::reduction::geometry::guess;
use crate::reduction::geometry::planes;
use crate::reduction::geometry::solve::Fate;

const NAME: &str = "spat_solution";
const TECH: &str = "ECHELLE,MULTI-PINHOLE";
const RULES: ArcRules = ArcRules { recipe: NAME, tech: TECH };

/// Arcseconds beyond the nominal slit that the maps cover, so that its blurred ends have a wavelength too.
const BEYOND_SLIT: f64 = 0.2;
/// Fraction of an order's range of wavelengths that the maps cover beyond its published limits.
const BEYOND_LIMITS: f64 = 0.02;
/// Pitches that a mask is allowed to have slipped.
const SLIPS: i32 = 1;

/// The recipe `spat_solution`.
#[derive(Clone, Copy, Debug)]
pub struct SpatialSolution;

impl Recipe for SpatialSolution {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn check_parameters(&self, parameters: &toml::Table) -> Result<(), RecipeError> {
        ArcParameters::read(NAME, parameters).map(|_| ())
    }

    fn verify(&self, frames: &[FrameMeta], parameters: &toml::Table) -> Result<(), RecipeError> {
        self.check_parameters(parameters)?;
        arc::check(frames, RULES).map(|_| ())
    }

    fn peak_bytes(&self, frames: &[FrameMeta]) -> u64 {
        arc::peak_bytes(frames)
    }

    fn run(&self, input: RecipeInput, parameters: &toml::Table) -> Result<RecipeOutput, RecipeError> {
        let parameters = ArcParameters::read(NAME, parameters)?;
        let frame = arc::prepare(&input, RULES)?;
        let wrong = |reason: String| RecipeError::Input { recipe: NAME, reason };
        let Some(first) = input.tables.iter().find(|table| table.catg == "DISP_TAB") else {
            return Err(wrong(
                "no DISP_TAB is given; the middle of the slit is only known from a single pinhole: run disp_solution first"
                    .to_string(),
            ));
        };
        let (guess, _) = disp_tab::read(first).map_err(|error| wrong(error.to_string()))?;
        let published = guess::published(SpectralFormat::of(frame.arm));
        if guess.orders.iter().map(|map| map.order).ne(published.orders.iter().map(|map| map.order)) {
            return Err(wrong(format!(
                "{} has other orders than the {} arm; use one of the same arm",
                first.name, frame.arm
            )));
        }
        // nine pinholes make every order strong enough to stand alone; in NIR what no line says stays as the single
        // pinhole found it, with the help of the other orders
        let base = if frame.arm == Arm::Nir { &guess } else { &published };
        let options = parameters.options(Ties::Independent, SLIPS);
        let solved = arc::solve_arc(NAME, &frame, false, &guess, base, &options)?;
        let fit = &solved.solution.fit;
        let half_slit = 0.5 * SpectralFormat::of(frame.arm).slit_length() + BEYOND_SLIT;
        let planes = planes::planes(&fit.map, &fit.covariance, frame.unbinned, half_slit, BEYOND_LIMITS);
        let tables = solved.tables(RULES, frame.frames)?;
        let plane =
            |name: &str, unit: &str, values| MapPlane { name: name.to_string(), unit: unit.to_string(), values };
        let mut qc = solved.qc();
        qc.push(pinhole_count(&solved));
        let mut errors: Vec<f64> =
            planes.error.iter().filter(|v| v.is_finite()).step_by(97).map(|v| f64::from(*v)).collect();
        let typical = crate::numerics::robust::median_f64(&mut errors).unwrap_or(f64::NAN);
        qc.push(QcMetric::measured("WAVE ERR MEDIAN", typical, "nm", "median standard error of a pixel's wavelength"));
        qc.push(QcMetric::measured(
            "MASK SLIP",
            f64::from(solved.solution.slip),
            "pinholes",
            "slip of the mask along the slit",
        ));
        let maps = ProductMaps {
            catg: "DISP_IMAGE".to_string(),
            tech: TECH.to_string(),
            suffix: "_IMAGE".to_string(),
            planes: vec![
                plane("WAVELENGTH", "nm", planes.wavelength),
                plane("SLIT", "arcsec", planes.slit),
                plane("ORDER", "", planes.order),
                plane("WAVELENGTH_ERROR", "nm", planes.error),
            ],
            n_combined: frame.frames,
        };
        let pages = vec![pages::arc::many(&frame, &fit.map, &tables)];
        let mut remarks = frame.remarks;
        remarks.extend(solved.remarks());
        Ok(RecipeOutput { tables, maps: vec![maps], qc, remarks, pages, ..RecipeOutput::default() })
    }
}

/// The least, over orders, of the most frequent number of pinholes seen of a line.
fn pinhole_count(solved: &Solved) -> QcMetric {
    let text = "least over orders of the usual number of pinholes of a line";
    let mut counts: std::collections::BTreeMap<(u8, usize), usize> = std::collections::BTreeMap::new();
    for found in solved.solution.lines.iter().filter(|found| solved.lines[found.line].landmark) {
        let seen = usize::from(!matches!(found.fate, Fate::Missed | Fate::Neighbour));
        *counts.entry((solved.lines[found.line].order, found.line)).or_default() += seen;
    }
    let mut votes: std::collections::BTreeMap<u8, std::collections::BTreeMap<usize, usize>> = Default::default();
    for ((order, _), count) in counts {
        *votes.entry(order).or_default().entry(count).or_default() += 1;
    }
    let modes = votes
        .values()
        .filter_map(|votes| votes.iter().max_by_key(|(count, n)| (**n, **count)).map(|(count, _)| *count));
    QcMetric::measured("PINHOLE COUNT MIN", modes.min().map_or(f64::NAN, |count| count as f64), "", text)
}
