//! What the recipes that reduce arcs through pinholes share: the frame in electrons, the solution, line tables and QC.

use ndarray::Array2;

use super::contract::{MasterImage, ProductTable, RawFrame, RecipeError, RecipeInput};
use super::disp_tab;
use super::inputs::{SetRules, check_set};
use super::line_tables::{self, ElementOffset, LineOffset};
use super::parameters::typed;
use super::tables::{Column, Table};
use crate::instrument::format::SpectralFormat;
use crate::instrument::lines::{LampLine, lamp_lines};
use crate::instrument::{Arm, Binning, Detector, FrameMeta, Geometry};
use crate::numerics::robust::{median, median_f64};
use crate::quality::QcMetric;
use crate::reduction::geometry::fit::Ties;
use crate::reduction::geometry::guess;
use crate::reduction::geometry::map::{GeometryMap, OrderMap};
use crate::reduction::geometry::solve::{ArcLine, ArcSolution, Fate, Measured, Pinhole, SolveOptions, solve};
use serde::Deserialize;

/// Parameters of `disp_solution` and `spat_solution`; meanings, units and ranges in `config/recipes.toml`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArcParameters {
    /// Reach of the search for the pattern, pixels.
    pub search: usize,
    /// Least signal to noise of a line.
    pub least_signal: f64,
    /// Scatter of the pixel response.
    pub response: f64,
    /// Rejection, sigmas.
    pub clip: f64,
    /// Highest degree along the wavelength.
    pub max_wavelength_degree: usize,
    /// Highest degree along the order number.
    pub max_order_degree: usize,
    /// Least fraction of landmarks found in an order.
    pub least_found: f64,
    /// Least fraction of an order covered.
    pub least_cover: f64,
    /// Largest robust scatter, pixels.
    pub largest_scatter: f64,
}

impl ArcParameters {
    /// From defaults and overrides, every value checked.
    pub fn read(recipe: &'static str, overrides: &toml::Table) -> Result<ArcParameters, RecipeError> {
        let p: ArcParameters = typed(recipe, overrides)?;
        let ranges = [
            ("search", p.search as f64, 1.0..=20.0),
            ("least_signal", p.least_signal, 3.0..=100.0),
            ("response", p.response, 0.0..=0.2),
            ("clip", p.clip, 3.0..=20.0),
            ("max_wavelength_degree", p.max_wavelength_degree as f64, 5.0..=9.0),
            ("max_order_degree", p.max_order_degree as f64, 3.0..=12.0),
            ("least_found", p.least_found, 0.1..=1.0),
            ("least_cover", p.least_cover, 0.1..=1.0),
            ("largest_scatter", p.largest_scatter, 0.01..=2.0),
        ];
        for (name, value, range) in ranges {
            // NaN is in no range
            if !range.contains(&value) {
                return Err(RecipeError::Parameter {
                    recipe,
                    parameter: name.to_string(),
                    found: value.to_string(),
                    reason: format!("must be from {} to {}", range.start(), range.end()),
                });
            }
        }
        Ok(p)
    }

    /// As the solution wants them. The lowest degree along the wavelength that an order of its own may have depends on how
    /// good the guess is.
    pub fn options(&self, ties: Ties, slips: i32, least_wave: usize) -> SolveOptions {
        SolveOptions {
            ties,
            search: self.search,
            slips,
            sigma: START_SIGMA,
            least_signal: self.least_signal,
            response: self.response,
            clip: self.clip,
            least_wave,
            max_wave: self.max_wavelength_degree,
            max_order: self.max_order_degree,
            least_found: self.least_found,
            least_cover: self.least_cover,
            largest_scatter: self.largest_scatter,
        }
    }
}

/// Lowest degree along the wavelength by which an order differs from the published format.
pub const FROM_PUBLISHED: usize = 4;
/// Standard deviation that a pinhole's image is taken to have at first, pixels.
const START_SIGMA: f64 = 0.9;

/// What an arc recipe asks of its frame.
#[derive(Clone, Copy, Debug)]
pub struct ArcRules {
    /// Recipe.
    pub recipe: &'static str,
    /// `ESO DPR TECH` of the lit frame.
    pub tech: &'static str,
}

/// `ESO DPR TECH` of a frame with the lamp off.
const OFF: &str = "IMAGE";

/// The lit frames and the geometry that they share, checked from the descriptions alone.
pub fn check(frames: &[FrameMeta], rules: ArcRules) -> Result<(Vec<usize>, Geometry), RecipeError> {
    let recipe = rules.recipe;
    let wrong = |reason: String| RecipeError::Input { recipe, reason };
    let is = |frame: &FrameMeta, tech: &str| frame.dpr_tech.trim().eq_ignore_ascii_case(tech);
    if let Some(frame) = frames.iter().find(|frame| !is(frame, rules.tech) && !is(frame, OFF)) {
        return Err(wrong(format!(
            "frame {} has DPR TECH = {:?}, expected {:?}; leave it out or use the recipe of its technique",
            frame.data_id, frame.dpr_tech, rules.tech
        )));
    }
    let lit: Vec<usize> = (0..frames.len()).filter(|k| is(&frames[*k], rules.tech)).collect();
    let usual: Vec<FrameMeta> = frames
        .iter()
        .map(|frame| {
            let found = frame.dpr_type.trim().to_ascii_uppercase();
            let alias = found == "WAVE,LAMP";
            FrameMeta { dpr_type: if alias { "LAMP,WAVE".to_string() } else { found }, ..frame.clone() }
        })
        .collect();
    let geometry = check_set(&usual, SetRules { recipe, dpr_type: "LAMP,WAVE", unexposed_below: None }, 1)?;
    if lit.is_empty() {
        return Err(wrong(format!("no frame has DPR TECH = {:?}; add the arc with its lamp on", rules.tech)));
    }
    if let Some(first) = frames.first().filter(|frame| SpectralFormat::of(frame.arm).orders().is_empty()) {
        return Err(wrong(format!("frame {} is of the {} arm, which has no orders", first.data_id, first.arm)));
    }
    Ok((lit, geometry))
}

/// Bytes that a run on these frames needs: frames, the image with its variance, significance and model, maps.
pub fn peak_bytes(frames: &[FrameMeta]) -> u64 {
    let pixels = |frame: &FrameMeta| (frame.columns as u64).saturating_mul(frame.rows as u64);
    let raw: u64 = frames.iter().map(|frame| pixels(frame).saturating_mul(4)).fold(0, u64::saturating_add);
    raw.saturating_add(frames.iter().map(pixels).max().unwrap_or(0).saturating_mul(48)).saturating_add(64 << 20)
}

/// An arc in electrons, ready to be solved.
pub struct Arc {
    /// Arm.
    pub arm: Arm,
    /// Binning of the frame.
    pub binning: Binning,
    /// Electrons above what is under the light, trimmed; infinite where there is more than the detector can tell.
    pub image: Array2<f32>,
    /// Variance of each pixel without its own shot noise; infinite where it must not be used.
    pub floor: Array2<f32>,
    /// Shape of the unbinned detector, rows and columns.
    pub unbinned: (usize, usize),
    /// Pixels at the limit of the converter.
    pub saturated: usize,
    /// Frames combined.
    pub frames: usize,
    /// Remarks.
    pub remarks: Vec<String>,
}

impl Arc {
    /// What is remarkable about the frame, for whoever has to find out why it could not be solved.
    fn blame(&self) -> String {
        match self.saturated {
            0 => String::new(),
            n => format!(
                "; {n} pixels are saturated, which makes bright lines unusable: if they are many, expose shorter"
            ),
        }
    }
}

/// Take what is under the light away: lamp-off frames of the set, else the master bias or dark, else a constant.
pub fn prepare(input: &RecipeInput, rules: ArcRules) -> Result<Arc, RecipeError> {
    let recipe = rules.recipe;
    let metas: Vec<FrameMeta> = input.frames.iter().map(|frame| frame.meta.clone()).collect();
    let (lit, geometry) = check(&metas, rules)?;
    let wrong = |reason: String| RecipeError::Input { recipe, reason };
    let meta = &metas[lit[0]];
    let detector = Detector::of(meta.arm);
    let shape = geometry.shape();
    for frame in &input.frames {
        if frame.adu.dim() != (frame.meta.rows, frame.meta.columns) {
            return Err(wrong(format!(
                "frame {} has another shape than its header says; read it anew",
                frame.meta.data_id
            )));
        }
    }
    let ceiling = if detector.saturation > 0.0 { detector.saturation as f32 } else { f32::INFINITY };
    let (gain, mut remarks) = (meta.gain as f32, Vec::new());
    let trimmed =
        |frame: &RawFrame| frame.adu.slice(ndarray::s![geometry.rows.clone(), geometry.columns.clone()]).to_owned();
    let mean = |frames: &[usize]| {
        let mut sum = Array2::<f32>::zeros(shape);
        for k in frames {
            // infinity stands for saturated and survives the sum
            sum += &trimmed(&input.frames[*k]).mapv(|adu| if adu < ceiling { adu * gain } else { f32::INFINITY });
        }
        sum / frames.len().max(1) as f32
    };
    let mut image = mean(&lit);
    let saturated = image.iter().filter(|value| value.is_infinite()).count();
    let off: Vec<usize> = (0..metas.len()).filter(|k| !lit.contains(k)).collect();
    let master = |catg: &str| input.masters.iter().find(|master| master.catg == catg);
    let below: Option<&MasterImage> = if meta.arm == Arm::Vis { master("MASTER_BIAS") } else { master("MASTER_DARK") };
    if let Some(below) = below.filter(|below| below.value.dim() != shape) {
        return Err(wrong(format!(
            "{} has {:?} rows x columns, the frames have {shape:?}; use one of the same binning",
            below.catg,
            below.value.dim()
        )));
    }
    let ron = below.and_then(|below| below.ron).or(meta.ron).unwrap_or(detector.ron) as f32;
    let own = ron * ron * (1.0 / lit.len() as f32 + if off.is_empty() { 0.0 } else { 1.0 / off.len() as f32 });
    let mut floor = Array2::from_elem(shape, own + gain * gain / 12.0);
    match (off.is_empty(), below) {
        (false, _) => {
            image -= &mean(&off);
            remarks.push(format!("{} frames with the lamp off subtracted", off.len()));
        }
        (true, Some(below)) => {
            image -= &below.value;
            floor += &below.variance;
            remarks.push(format!("{} subtracted", below.catg));
        }
        (true, None) => {
            let mut all: Vec<f32> = image.iter().copied().filter(|value| value.is_finite()).collect();
            let level = median(&mut all).unwrap_or(0.0) as f32;
            image -= level;
            remarks
                .push(format!("no master to subtract: the median of the frame, {level:.1} e-, is taken for its level"));
        }
    }
    if let Some(below) = below {
        let noisy = crate::reduction::flags::HOT | crate::reduction::flags::UNSTABLE;
        let dead = crate::reduction::flags::COLD | crate::reduction::flags::NO_DATA;
        ndarray::Zip::from(&mut floor).and(&below.flags).for_each(|floor, bits| {
            if bits & (noisy | dead) != 0 {
                *floor = f32::INFINITY;
            }
        });
    }
    ndarray::Zip::from(&mut floor).and(&mut image).for_each(|floor, value| {
        if *value == f32::INFINITY && floor.is_finite() {
            *floor = f32::INFINITY;
        } else if !(value.is_finite() && *floor > 0.0) {
            (*floor, *value) = (f32::INFINITY, 0.0);
        }
    });
    let binning = meta.binning.unwrap_or(Binning { x: 1, y: 1 });
    let [first_row, end_row] = detector.science_rows;
    let [first_column, end_column] = detector.science_columns;
    let unbinned = (end_row - first_row, end_column - first_column);
    Ok(Arc { arm: meta.arm, binning, image, floor, unbinned, saturated, frames: lit.len(), remarks })
}

/// A solved arc with what it was solved for.
pub struct Solved {
    /// Solution in unbinned pixels.
    pub solution: ArcSolution,
    /// Lines that were looked for.
    pub lines: Vec<ArcLine>,
    /// Pinholes of the mask.
    pub pinholes: Vec<Pinhole>,
    /// What the list of the lamps says of each line.
    pub lamps: Vec<Option<&'static LampLine>>,
}

/// Solve an arc. Maps are in unbinned pixels, whatever the frame's binning.
pub fn solve_arc(
    recipe: &'static str,
    arc: &Arc,
    single: bool,
    guess: &GeometryMap,
    published: &GeometryMap,
    options: &SolveOptions,
) -> Result<Solved, RecipeError> {
    let format = SpectralFormat::of(arc.arm);
    let lines = guess::arc_lines(format, lamp_lines(arc.arm));
    let pinholes = guess::pinholes(format, single);
    let (bx, by) = (arc.binning.x as f64, arc.binning.y as f64);
    let options = &SolveOptions { sigma: options.sigma / (bx * by).sqrt(), ..options.clone() };
    let binned = |map: &GeometryMap| GeometryMap {
        orders: map.orders.iter().map(|map| scaled(map, 1.0 / bx, 1.0 / by)).collect(),
    };
    let mut solution =
        solve(arc.image.view(), arc.floor.view(), &lines, &pinholes, &binned(guess), &binned(published), options)
            .map_err(|error| RecipeError::Unprocessable { recipe, reason: format!("{error}{}", arc.blame()) })?;
    if (bx, by) != (1.0, 1.0) {
        unbin(&mut solution, bx, by);
    }
    let known = lamp_lines(arc.arm);
    let lamps = lines.iter().map(|line| lamp_of(known, line.wavelength)).collect();
    Ok(Solved { solution, lines, pinholes, lamps })
}

/// The entry of a wavelength in a list that is sorted by wavelength.
fn lamp_of(known: &'static [LampLine], wavelength: f64) -> Option<&'static LampLine> {
    known.get(known.partition_point(|line| line.wavelength < wavelength)).filter(|line| line.wavelength == wavelength)
}

/// A map on pixels of another size: the middle of pixel 0 is half a pixel from the edge in both.
fn scaled(map: &OrderMap, x: f64, y: f64) -> OrderMap {
    map.moved([0.5 * (x - 1.0), x - 1.0, 0.0], [0.5 * (y - 1.0), 0.0, y - 1.0])
}

fn unbin(solution: &mut ArcSolution, bx: f64, by: f64) {
    let orders = solution.fit.map.orders.iter().map(|map| scaled(map, bx, by)).collect();
    solution.fit.map = GeometryMap { orders };
    for errors in &mut solution.fit.covariance {
        let [x, y] = &mut errors.axes;
        x.iter_mut().for_each(|value| *value *= bx * bx);
        y.iter_mut().for_each(|value| *value *= by * by);
    }
    let place = |value: f64, bin: f64| bin * value + 0.5 * (bin - 1.0);
    for found in &mut solution.lines {
        for pair in [&mut found.expected, &mut found.fitted] {
            *pair = [place(pair[0], bx), place(pair[1], by)];
        }
        (found.spot.x, found.spot.y) = (place(found.spot.x, bx), place(found.spot.y, by));
        found.spot.variance_x *= bx * bx;
        found.spot.variance_y *= by * by;
        found.spot.covariance *= bx * by;
        found.sigma = [found.sigma[0] * bx, found.sigma[1] * by];
    }
}

impl Solved {
    fn seen(&self, found: &Measured) -> bool {
        !matches!(found.fate, Fate::Missed | Fate::Neighbour | Fate::Saturated)
    }

    fn counts(&self, found: &Measured) -> bool {
        self.lines[found.line].landmark || found.fate == Fate::Used
    }

    /// The map, the lines measured and those missed, as products.
    pub fn tables(&self, rules: ArcRules, frames: usize) -> Result<Vec<ProductTable>, RecipeError> {
        let fit = &self.solution.fit;
        let map = disp_tab::write(&fit.map, &fit.covariance)
            .map_err(|error| RecipeError::Unprocessable { recipe: rules.recipe, reason: error.to_string() })?;
        let map = ProductTable::new("DISP_TAB", rules.tech, "", map, frames);
        Ok(std::iter::once(map).chain(self.line_tables(rules.tech, frames)).collect())
    }

    fn line_tables(&self, tech: &str, frames: usize) -> Vec<ProductTable> {
        let listed = |seen: bool| -> Vec<&Measured> {
            let all = self.solution.lines.iter();
            all.filter(|found| self.counts(found) && self.seen(found) == seen).collect()
        };
        [("FITTED_LINES", "_FITTED_LINES", listed(true)), ("MISSED_LINES", "_MISSED_LINES", listed(false))]
            .into_iter()
            .map(|(catg, suffix, rows)| {
                let mut tables = vec![self.line_table(catg, &rows)];
                if catg == "FITTED_LINES" {
                    tables.push(line_tables::element_table(&self.elements()));
                }
                ProductTable::new(catg, tech, suffix, tables, frames)
            })
            .collect()
    }

    /// Offsets of the lamp elements. Lines that were not used count too: they may be what is wrong with a list.
    fn elements(&self) -> Vec<ElementOffset> {
        let offset = |found: &Measured| {
            let line = &self.lines[found.line];
            let lamp = self.lamps.get(found.line).copied().flatten()?;
            let place = self
                .solution
                .fit
                .map
                .order(line.order)?
                .place(line.wavelength, self.solution.pinholes[found.pinhole].slit);
            let per_nm = place.x_wave.hypot(place.y_wave);
            let [dx, dy] = [found.spot.x - found.fitted[0], found.spot.y - found.fitted[1]];
            let pixels = (dx * place.x_wave + dy * place.y_wave) / per_nm;
            Some(LineOffset { element: lamp.element(), line: found.line, pixels, nanometres: pixels / per_nm })
        };
        let seen = self.solution.lines.iter().filter(|found| self.lines[found.line].landmark && self.seen(found));
        line_tables::element_offsets(&seen.filter_map(offset).collect::<Vec<LineOffset>>())
    }

    fn line_table(&self, name: &str, rows: &[&Measured]) -> Table {
        let real = |name: &str, unit: &str, value: &dyn Fn(&Measured) -> f64| {
            Column::real(name, unit, rows.iter().map(|row| value(row)).collect())
        };
        let flag = |value: bool| i64::from(value);
        let hole = |found: &Measured| self.solution.pinholes[found.pinhole];
        let fwhm = |found: &Measured| FWHM * (found.sigma[0] * found.sigma[1]).sqrt();
        Table {
            name: name.to_string(),
            columns: vec![
                Column::text("ion", rows.iter().map(|f| self.ion(f).to_string()).collect()),
                real("wavelength", "nm", &|f| self.lines[f.line].wavelength),
                Column::integer("order", rows.iter().map(|f| i64::from(self.lines[f.line].order)).collect()),
                Column::integer("slit_index", rows.iter().map(|f| i64::from(hole(f).index)).collect()),
                real("slit_position", "arcsec", &|f| hole(f).slit),
                real("detector_x", "pixel", &|f| f.expected[0]),
                real("detector_y", "pixel", &|f| f.expected[1]),
                real("observed_x", "pixel", &|f| f.spot.x),
                real("observed_y", "pixel", &|f| f.spot.y),
                real("x_diff", "pixel", &|f| f.expected[0] - f.spot.x),
                real("y_diff", "pixel", &|f| f.expected[1] - f.spot.y),
                real("fit_x", "pixel", &|f| f.fitted[0]),
                real("fit_y", "pixel", &|f| f.fitted[1]),
                real("residuals_x", "pixel", &|f| f.fitted[0] - f.spot.x),
                real("residuals_y", "pixel", &|f| f.fitted[1] - f.spot.y),
                real("residuals_xy", "pixel", &residual),
                Column::integer("sigma_clipped", rows.iter().map(|f| flag(f.fate != Fate::Used)).collect()),
                real("flux", "electron", &|f| f.spot.flux),
                real("fwhm_pin_px", "pixel", &fwhm),
                real("R_pin", "", &|f| self.resolution(f)),
                real("pixelScaleNm", "nm", &|f| self.scale(f)),
                real("error_x", "pixel", &|f| f.spot.variance_x.sqrt()),
                real("error_y", "pixel", &|f| f.spot.variance_y.sqrt()),
                real("flux_error", "electron", &|f| f.spot.variance_flux.sqrt()),
                real("chi2_reduced", "", &|f| f.spot.reduced_chi_square),
                Column::text("fate", rows.iter().map(|f| format!("{:?}", f.fate).to_lowercase()).collect()),
            ],
        }
    }

    fn ion(&self, found: &Measured) -> &'static str {
        self.lamps.get(found.line).copied().flatten().map_or("unknown", |lamp| lamp.ion.as_str())
    }

    /// Nanometres per pixel along the dispersion.
    fn scale(&self, found: &Measured) -> f64 {
        let line = &self.lines[found.line];
        self.solution.fit.map.order(line.order).map_or(f64::NAN, |map| {
            let place = map.place(line.wavelength, self.solution.pinholes[found.pinhole].slit);
            1.0 / place.x_wave.hypot(place.y_wave)
        })
    }

    fn resolution(&self, found: &Measured) -> f64 {
        self.lines[found.line].wavelength / (self.scale(found) * FWHM * (found.sigma[0] * found.sigma[1]).sqrt())
    }

    /// Metrics by the reference's names and ours.
    pub fn qc(&self) -> Vec<QcMetric> {
        let all: Vec<&Measured> = self.solution.lines.iter().filter(|found| self.lines[found.line].landmark).collect();
        let mut qc = self.metrics(&all, "-1");
        let mut orders: Vec<u8> = self.solution.fit.map.orders.iter().map(|map| map.order).collect();
        orders.sort_unstable();
        for order in orders {
            let part: Vec<&Measured> = all.iter().copied().filter(|f| self.lines[f.line].order == order).collect();
            let name = ["r", "u", "g", "i"]
                .get(usize::from(order).wrapping_sub(1))
                .map_or_else(|| order.to_string(), |n| n.to_string());
            qc.extend(self.metrics(&part, &name));
        }
        for axis in [0, 1] {
            let name = ["X", "Y"][axis];
            let mut held: Vec<f64> =
                self.solution.fit.axes.iter().map(|family| family[axis].hold_out).filter(|v| v.is_finite()).collect();
            let value = median_f64(&mut held).unwrap_or(f64::NAN);
            qc.push(QcMetric::measured(
                &format!("{name} HOLDOUT"),
                value,
                "pixels",
                "scatter of lines about fits without them",
            ));
        }
        qc.extend(line_tables::element_qc(&self.elements()));
        let used = self.solution.lines.iter().filter(|f| f.fate == Fate::Used).count();
        qc.push(QcMetric::measured(
            "LINES USED",
            used as f64,
            "lines",
            "lines that constrain the map, added ones included",
        ));
        let shift = |axis: usize| {
            let mut shifts: Vec<f64> = self.solution.votes.iter().map(|vote| vote.shift[axis]).collect();
            median_f64(&mut shifts).unwrap_or(f64::NAN)
        };
        qc.push(QcMetric::measured("PATTERN SHIFT X", shift(0), "pixels", "shift of the pattern in the search"));
        qc.push(QcMetric::measured("PATTERN SHIFT Y", shift(1), "pixels", "shift of the pattern in the search"));
        qc
    }

    fn metrics(&self, rows: &[&Measured], order: &str) -> Vec<QcMetric> {
        let seen: Vec<&&Measured> = rows.iter().filter(|f| self.seen(f)).collect();
        let used: Vec<&&Measured> = rows.iter().filter(|f| f.fate == Fate::Used).collect();
        let total = rows.len() as f64;
        let mut qc = vec![
            QcMetric::measured("DETLINES TOT", total, "lines", "lines of the published table on the detector"),
            QcMetric::measured("DETLINES NUM", seen.len() as f64, "lines", "those that were detected"),
            QcMetric::measured("DETLINES FRAC", seen.len() as f64 / total, "", "fraction detected"),
            QcMetric::measured("GOODLINES FRAC", used.len() as f64 / total, "", "fraction used in the final fit"),
            QcMetric::measured("DETLINES CLIP NUM", (seen.len() - used.len()) as f64, "lines", "detected but not used"),
        ];
        type Value = fn(&Measured) -> f64;
        let kinds: [(&str, &[&&Measured], Value, &str); 6] = [
            ("X RES", &used, |f| (f.fitted[0] - f.spot.x).abs(), "of |fitted - measured| in x"),
            ("Y RES", &used, |f| (f.fitted[1] - f.spot.y).abs(), "of |fitted - measured| in y"),
            ("XY RES", &used, residual, "of the distance fitted - measured"),
            ("X DIFF", &seen, |f| (f.expected[0] - f.spot.x).abs(), "of |expected - measured| in x"),
            ("Y DIFF", &seen, |f| (f.expected[1] - f.spot.y).abs(), "of |expected - measured| in y"),
            (
                "XY DIFF",
                &seen,
                |f| (f.expected[0] - f.spot.x).hypot(f.expected[1] - f.spot.y),
                "of the distance expected - measured",
            ),
        ];
        for (name, rows, value, text) in kinds {
            let mut values: Vec<f64> = rows.iter().map(|f| value(f)).filter(|v| v.is_finite()).collect();
            let stats = Stats::of(&mut values);
            let mut push = |suffix: &str, value: f64, what: &str| {
                qc.push(QcMetric::measured(&format!("{name} {suffix}"), value, "pixels", &format!("{what} {text}")));
            };
            if name.ends_with("RES") {
                push("MIN", stats.min, "smallest");
                push("MAX", stats.max, "largest");
            }
            push("MEDIAN", stats.median, "median");
            push("SD", stats.sd, "standard deviation");
        }
        let mut widths: Vec<f64> = used.iter().map(|f| FWHM * (f.sigma[0] * f.sigma[1]).sqrt()).collect();
        let widths = Stats::of(&mut widths);
        qc.push(QcMetric::measured(
            "FWHM PIN MEDIAN",
            widths.median,
            "pixels",
            "median width of pinhole images, fitted",
        ));
        qc.push(QcMetric::measured("FWHM PIN SD", widths.sd, "pixels", "scatter of the widths"));
        let mut powers: Vec<f64> = used.iter().map(|f| self.resolution(f)).collect();
        let powers = Stats::of(&mut powers);
        qc.push(QcMetric::measured("R PIN MEDIAN", powers.median, "", "median resolving power through a pinhole"));
        qc.push(QcMetric::measured("R PIN SD", powers.sd, "", "scatter of the resolving power"));
        qc.into_iter().map(|metric| QcMetric { order: order.to_string(), ..metric }).collect()
    }

    /// What people should know of the solution.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        for vote in &self.solution.votes {
            remarks.push(format!(
                "orders {:?}: the pattern lies {:+.0}, {:+.0} pixels from the guess",
                vote.orders, vote.shift[0], vote.shift[1]
            ));
        }
        for report in self.solution.fit.axes.iter().flatten() {
            remarks.push(format!(
                "orders {:?}: degrees {:?}, scatter {:.4} of spots and {:.4} pixels of lines, hold-out {:.4} pixels",
                report.orders, report.degrees, report.spot_scatter, report.line_scatter, report.hold_out
            ));
        }
        if self.solution.slip != 0 {
            remarks.push(format!(
                "the mask has slipped by {} pinholes along the slit; slit positions allow for it",
                self.solution.slip
            ));
        }
        remarks
    }
}

/// Full width at half maximum of a Gaussian in standard deviations.
const FWHM: f64 = 2.354_820_045_030_949_3;

fn residual(found: &Measured) -> f64 {
    (found.fitted[0] - found.spot.x).hypot(found.fitted[1] - found.spot.y)
}

struct Stats {
    min: f64,
    max: f64,
    median: f64,
    sd: f64,
}

impl Stats {
    /// Statistics of finite values; NaN without any, which QC reports as absent.
    fn of(values: &mut [f64]) -> Stats {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let sd = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
        let (min, max) = values.iter().fold((f64::NAN, f64::NAN), |(a, b), v| (a.min(*v), b.max(*v)));
        Stats { min, max, median: median_f64(values).unwrap_or(f64::NAN), sd }
    }
}
