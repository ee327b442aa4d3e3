//! Full geometry: wavelength and slit position of every pixel, from an arc through the mask of nine pinholes.

use super::arc::{self, ArcParameters, ArcRules, Solved};
use super::contract::{MapPlane, MasterTable, ProductMaps, Recipe, RecipeError, RecipeInput, RecipeOutput};
use super::disp_tab;
use super::order_table::{self, OrderRow};
use super::pages;
use crate::instrument::format::SpectralFormat;
use crate::instrument::{Arm, FrameMeta};
use crate::numerics::robust::median_f64;
use crate::quality::QcMetric;
use crate::reduction::geometry::fit::Ties;
use crate::reduction::geometry::guess;
use crate::reduction::geometry::map::GeometryMap;
use crate::reduction::geometry::planes;
use crate::reduction::geometry::solve::Fate;

const NAME: &str = "spat_solution";
const TECH: &str = "ECHELLE,MULTI-PINHOLE";
const RULES: ArcRules = ArcRules { recipe: NAME, tech: TECH };

/// Arcseconds beyond the nominal slit that the maps cover, so that its blurred ends have a wavelength too.
const BEYOND_SLIT: f64 = 0.2;
/// Fraction of an order's range of wavelengths that the maps cover beyond its published limits.
const BEYOND_LIMITS: f64 = 0.02;
/// Lowest degree along the wavelength by which an order may differ from what the single pinhole found: flexure since then.
const FROM_SINGLE: usize = 1;
/// Pitches that a mask is allowed to have slipped.
const SLIPS: i32 = 1;

/// Places along an order at which its middle is compared.
const PLACES: u32 = 16;
/// Part of a pitch by which the middle of the slit may differ from that of the mask: flexure since the flat.
const SAME_MIDDLE: f64 = 0.5;

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
        let edges = edges(&input.tables)?;
        let (guess, beside) = match &edges {
            Some(edges) => centred(guess, edges, frame.arm),
            None => (guess, 0),
        };
        // nine pinholes make every order strong enough to stand alone; in NIR what no line says stays as the single
        // pinhole found it, with the help of the other orders
        let (base, least) =
            if frame.arm == Arm::Nir { (&guess, FROM_SINGLE) } else { (&published, arc::FROM_PUBLISHED) };
        let options = parameters.options(Ties::Independent, SLIPS, least);
        let solved = arc::solve_arc(NAME, &frame, false, &guess, base, &options)?;
        let fit = &solved.solution.fit;
        let slip = solved.solution.slip;
        let unusable = |reason: String| RecipeError::Unprocessable { recipe: NAME, reason };
        let middles = edges.as_ref().map(|edges| middles_of_slit(&fit.map, edges, frame.arm));
        let farthest = middles.iter().flatten().copied().max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()));
        match farthest {
            Some((order, middle)) if middle.abs() > SAME_MIDDLE * pitch(frame.arm) => {
                return Err(unusable(format!(
                    "order {order}: its edges put the middle of the slit at {middle:+.2} arcsec of the solution; either the flat that \
                     gave ORDER_TAB or one of the arcs is of another day: take them anew, one after the other"
                )));
            }
            None if slip != 0 => {
                return Err(unusable(format!(
                    "the nine pinholes stand {slip:+} pitches beside the single one, and nothing tells which of both masks has \
                     slipped; give an ORDER_TAB with edges (from mflat), or take both arcs again"
                )));
            }
            _ => {}
        }
        let half_slit = 0.5 * SpectralFormat::of(frame.arm).slit_length() + BEYOND_SLIT;
        let planes = planes::planes(&fit.map, &fit.covariance, frame.unbinned, half_slit, BEYOND_LIMITS);
        let tables = solved.tables(RULES, frame.frames)?;
        let plane =
            |name: &str, unit: &str, values| MapPlane { name: name.to_string(), unit: unit.to_string(), values };
        let mut qc = solved.qc();
        qc.push(pinhole_count(&solved));
        let mut errors: Vec<f64> =
            planes.error.iter().filter(|v| v.is_finite()).step_by(97).map(|v| f64::from(*v)).collect();
        let typical = median_f64(&mut errors).unwrap_or(f64::NAN);
        qc.push(QcMetric::measured("WAVE ERR MEDIAN", typical, "nm", "median standard error of a pixel's wavelength"));
        qc.push(QcMetric::measured(
            "MASK SLIP",
            f64::from(solved.solution.slip),
            "pinholes",
            "slip of the mask along the slit",
        ));
        let text = "farthest middle of the slit by the edges of an order";
        qc.push(match farthest {
            Some((_, middle)) => QcMetric::measured("SLIT MIDDLE", middle, "arcsec", text),
            None => QcMetric::absent("SLIT MIDDLE", "no ORDER_TAB with edges was given", "arcsec", text),
        });
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
        if beside != 0 {
            remarks.push(format!(
                "by the edges of the orders the single pinhole stood {beside:+} pitches beside the middle of the slit; slit \
                 positions allow for it"
            ));
        }
        Ok(RecipeOutput { tables, maps: vec![maps], qc, remarks, pages, ..RecipeOutput::default() })
    }
}

/// Distance of two pinholes of the mask, arcsec.
fn pitch(arm: Arm) -> f64 {
    match SpectralFormat::of(arm).pinholes() {
        [first, second, ..] => second - first,
        _ => f64::INFINITY,
    }
}

/// The orders with their edges, when an order table is given that has them.
fn edges(tables: &[MasterTable]) -> Result<Option<Vec<OrderRow>>, RecipeError> {
    let Some(table) = tables.iter().find(|table| table.catg == "ORDER_TAB") else { return Ok(None) };
    let rows = order_table::read(table).map_err(|error| RecipeError::Input {
        recipe: NAME,
        reason: format!("order table {}: {error}; reduce it anew with mflat", table.name),
    })?;
    let rows: Vec<OrderRow> = rows.into_iter().filter(|row| row.edges.is_some()).collect();
    Ok((!rows.is_empty()).then_some(rows))
}

/// Slit position, arcsec, that a map gives to the middle between the edges of each order: the median along it. It is not 0
/// when the mask that the map comes from did not stand in the middle, or when the format has moved since the flat.
fn middles_of_slit(map: &GeometryMap, rows: &[OrderRow], arm: Arm) -> Vec<(u8, f64)> {
    let middle = |row: &OrderRow| {
        let (map, [low, high]) = (map.order(row.order)?, row.edges.as_ref()?);
        let start = (0.5 * (map.limits[0] + map.limits[1]), 0.0);
        let mut found: Vec<f64> = (1..PLACES)
            .filter_map(|k| {
                let along = row.covered[0] + (row.covered[1] - row.covered[0]) * f64::from(k) / f64::from(PLACES);
                let across = 0.5 * (low.at(along) + high.at(along));
                let (x, y) = if arm == Arm::Vis { (across, along) } else { (along, across) };
                map.invert(x, y, start).map(|(_, slit)| slit)
            })
            .collect();
        median_f64(&mut found).map(|middle| (row.order, middle))
    };
    rows.iter().filter_map(middle).collect()
}

/// The map counted from the middle of the slit, when its mask stood beside it by a pitch, and by how many. All orders must
/// agree: in VIS the slit runs to the left in some and to the right in others, so that flexure looks different in them.
fn centred(map: GeometryMap, edges: &[OrderRow], arm: Arm) -> (GeometryMap, i32) {
    let pitches = |middle: f64| (middle / pitch(arm)).round() as i32;
    let mut middles = middles_of_slit(&map, edges, arm).into_iter().map(|(_, middle)| pitches(middle));
    match middles.next() {
        Some(first) if first != 0 && first.abs() <= SLIPS && middles.all(|other| other == first) => {
            // a mask that stood at +1 calls the middle -1
            (guess::slid(&map, f64::from(first) * pitch(arm)), -first)
        }
        _ => (map, 0),
    }
}

/// The least, over orders, of the most frequent number of pinholes seen of a line.
fn pinhole_count(solved: &Solved) -> QcMetric {
    let text = "least over orders of the usual number of pinholes of a line that is seen";
    let mut counts: std::collections::BTreeMap<(u8, usize), usize> = std::collections::BTreeMap::new();
    for found in solved.solution.lines.iter().filter(|found| solved.lines[found.line].landmark) {
        let seen = usize::from(!matches!(found.fate, Fate::Missed | Fate::Neighbour));
        *counts.entry((solved.lines[found.line].order, found.line)).or_default() += seen;
    }
    let mut votes: std::collections::BTreeMap<u8, std::collections::BTreeMap<usize, usize>> = Default::default();
    // lines that do not shine tell nothing of the mask
    for ((order, _), count) in counts.into_iter().filter(|(_, count)| *count > 0) {
        *votes.entry(order).or_default().entry(count).or_default() += 1;
    }
    let modes = votes
        .values()
        .filter_map(|votes| votes.iter().max_by_key(|(count, n)| (**n, **count)).map(|(count, _)| *count));
    QcMetric::measured("PINHOLE COUNT MIN", modes.min().map_or(f64::NAN, |count| count as f64), "", text)
}
