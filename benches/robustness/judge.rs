//! What the recipes made of a trial, against the truth.

use soxsd::instrument::lines::lamp_lines;
use soxsd::instrument::{Arm, SpectralFormat};
use soxsd::numerics::robust::median_f64;
use soxsd::quality::{Limits, Verdict};
use soxsd::recipes::{RecipeError, RecipeOutput, disp_tab};
use soxsd::simulator::optics::View;
use soxsd::simulator::plan::Lamp;

use crate::stage::{Conditions, Failure};

/// Twice the limits: rms and 99.9th percentile within the span of an order's lines, rms and largest over the whole
/// illuminated detector, pixels.
pub const LIMITS: [f64; 4] = [0.08, 0.4, 0.2, 1.0];
/// Twice the limit of the slit position, arcsec rms.
const SLIT_LIMIT: f64 = 0.04;
/// Share of illuminated pixels that may have no wavelength.
const HOLES: f64 = 0.005;
/// From this width of (measured - truth) / sigma the stated errors are off by far. The few coefficients of a map move
/// thousands of places together, so that the width found in one trial scatters by a third; the report has that of all.
const PULL: f64 = 3.0;
/// Half of the illuminated slit, arcsec.
const HALF_SLIT: f64 = 6.0;

/// Errors of a solution.
#[derive(Clone, Debug, Default)]
pub struct Errors {
    /// As in [`LIMITS`].
    pub pixels: [f64; 4],
    /// Slit position, arcsec rms.
    pub slit: f64,
    /// Share of illuminated pixels without a wavelength, or of another order.
    pub holes: f64,
    /// Rms of the error over its stated standard error.
    pub pull: f64,
}

impl Errors {
    /// Whether the solution must not pass as good.
    pub fn wrong(&self) -> bool {
        // NaN is wrong too
        let good = self.pixels.iter().zip(LIMITS).all(|(found, most)| *found <= most);
        !(good && self.slit <= SLIT_LIMIT && self.holes <= HOLES && self.pull <= PULL)
    }
}

impl std::fmt::Display for Errors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [rms, tail, whole, most] = self.pixels;
        write!(
            f,
            "within {rms:.3} rms {tail:.3} tail, whole {whole:.3} rms {most:.3} max px, slit {:.4}, holes {:.4}, pull {:.2}",
            self.slit, self.holes, self.pull
        )
    }
}

/// What became of a recipe's run.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Accepted.
    Solved(Errors),
    /// The solution is held back by these metrics.
    Held(Vec<String>, Errors),
    /// The recipe gave nothing, for this reason.
    Refused(String),
}

/// Judge a run by the ranges of QC and by the truth.
pub fn judge(
    recipe: &str,
    conditions: &Conditions,
    view: &View,
    result: &Result<RecipeOutput, RecipeError>,
    limits: &Limits,
) -> Result<Outcome, Failure> {
    let output = match result {
        Ok(output) => output,
        Err(error) => return Ok(Outcome::Refused(error.to_string())),
    };
    let errors =
        if output.maps.is_empty() { of_table(conditions, view, output)? } else { of_planes(conditions, view, output)? };
    let failed: Vec<String> = output
        .qc
        .iter()
        .filter(|metric| limits.judge(recipe, conditions.arm, metric).verdict == Verdict::Fail)
        .map(|metric| format!("{} = {:.3}", metric.name, metric.number().unwrap_or(f64::NAN)))
        .collect();
    Ok(if failed.is_empty() { Outcome::Solved(errors) } else { Outcome::Held(failed, errors) })
}

/// Errors at places, gathered.
#[derive(Default)]
struct Gathered {
    within: Vec<f64>,
    whole: Vec<f64>,
    slit: Vec<f64>,
    pulls: Vec<f64>,
    holes: usize,
}

impl Gathered {
    fn errors(mut self) -> Errors {
        let rms = |values: &[f64]| (values.iter().map(|v| v * v).sum::<f64>() / values.len().max(1) as f64).sqrt();
        self.within.iter_mut().for_each(|v| *v = v.abs());
        self.within.sort_by(f64::total_cmp);
        let tail = self.within.get(self.within.len() * 999 / 1000).copied().unwrap_or(f64::NAN);
        let most = self.whole.iter().fold(0.0f64, |a, b| a.max(b.abs()));
        Errors {
            pixels: [rms(&self.within), tail, rms(&self.whole), most],
            slit: rms(&self.slit),
            holes: self.holes as f64 / (self.holes + self.whole.len()).max(1) as f64,
            pull: rms(&self.pulls),
        }
    }
}

/// By how much the list that the recipes use places lines above the simulated lamps: both are published, the NIR ones on
/// scales that differ by a constant over the wavelength, nm squared. The recipes keep the scale of the reference, so that
/// wavelengths agree with those of its users. No arc can tell, and the stated errors do not know.
struct Scale(f64);

impl Scale {
    fn of(arm: Arm) -> Scale {
        let lamps: &[Lamp] = if arm == Arm::Vis { &[Lamp::ThAr] } else { &Lamp::PENCILS };
        let shining: Vec<f64> =
            lamps.iter().flat_map(|lamp| lamp.light(arm, 1.0).lines).map(|line| line.wavelength).collect();
        let differences = lamp_lines(arm).iter().filter(|line| line.doubt.is_none()).filter_map(|line| {
            let off = |wavelength: &f64| line.wavelength - wavelength;
            let least = shining.iter().map(off).min_by(|a, b| a.abs().total_cmp(&b.abs()))?;
            (least.abs() < 0.005).then_some(least * line.wavelength)
        });
        // a line whose counterpart is missing is compared with another: the median does not mind
        Scale(median_f64(&mut differences.collect::<Vec<_>>()).unwrap_or(0.0))
    }

    fn at(&self, wavelength: f64) -> f64 {
        self.0 / wavelength
    }
}

/// First and last line of an order that shines and may constrain it.
fn span(conditions: &Conditions, order: u8) -> [f64; 2] {
    let lines = lamp_lines(conditions.arm).iter();
    lines
        .filter(|line| line.constrains(order) && conditions.shines(line.wavelength))
        .fold([f64::INFINITY, f64::NEG_INFINITY], |[a, b], line| [a.min(line.wavelength), b.max(line.wavelength)])
}

/// The map of a single pinhole, along the middle of the slit.
fn of_table(conditions: &Conditions, view: &View, output: &RecipeOutput) -> Result<Errors, Failure> {
    let table = output.tables.iter().find(|table| table.catg == "DISP_TAB").ok_or("no DISP_TAB")?;
    let table = soxsd::recipes::MasterTable {
        catg: table.catg.clone(),
        tech: table.tech.clone(),
        name: "trial".to_string(),
        tables: table.tables.clone(),
    };
    let (map, covariance) = disp_tab::read(&table)?;
    let format = SpectralFormat::of(conditions.arm);
    let (rows, columns) = format.shape();
    // the trace is that of the hole, wherever it stands
    let hole = conditions.hole();
    let scale = Scale::of(conditions.arm);
    let mut gathered = Gathered::default();
    for order in format.orders() {
        let ([first, last], [from, to]) = (span(conditions, order.number()), order.wavelengths());
        let index = map.orders.iter().position(|map| map.order == order.number());
        for step in 0..=500 {
            let wavelength = from + (to - from) * f64::from(step) / 500.0;
            let truth = view.position(order, wavelength, hole);
            let inside = |v: f64, n: usize| v >= 0.0 && v <= n as f64 - 1.0;
            if !(inside(truth.x, columns) && inside(truth.y, rows)) {
                continue;
            }
            let Some((map, covariance)) = index.and_then(|k| Some((map.orders.get(k)?, covariance.get(k)?))) else {
                gathered.holes += 1;
                continue;
            };
            let (x, y) = map.at(wavelength, 0.0);
            let variances = soxsd::reduction::geometry::fit::variances(map, covariance, wavelength, 0.0);
            let (off, variance) =
                if conditions.arm == Arm::Vis { (y - truth.y, variances[1]) } else { (x - truth.x, variances[0]) };
            let across = if conditions.arm == Arm::Vis { x - truth.x } else { y - truth.y };
            // the list calls this place by another wavelength
            let along = if conditions.arm == Arm::Vis { truth.dy_dw } else { truth.dx_dw };
            gathered.whole.push(off);
            gathered.pulls.push((off + along * scale.at(wavelength)) / variance.sqrt());
            gathered.slit.push(across / truth.dx_ds.hypot(truth.dy_ds));
            if (first..=last).contains(&wavelength) {
                gathered.within.push(off);
            }
        }
    }
    Ok(gathered.errors())
}

/// The planes of wavelength and slit position.
fn of_planes(conditions: &Conditions, view: &View, output: &RecipeOutput) -> Result<Errors, Failure> {
    let maps = output.maps.first().ok_or("no DISP_IMAGE")?;
    let plane = |name: &str| {
        maps.planes.iter().find(|plane| plane.name == name).map(|plane| &plane.values).ok_or(format!("no plane {name}"))
    };
    let (waves, slits) = (plane("WAVELENGTH")?, plane("SLIT")?);
    let (orders, errors) = (plane("ORDER")?, plane("WAVELENGTH_ERROR")?);
    let format = SpectralFormat::of(conditions.arm);
    let (rows, columns) = format.shape();
    let scale = Scale::of(conditions.arm);
    let mut gathered = Gathered::default();
    for order in format.orders() {
        let ([first, last], [from, to]) = (span(conditions, order.number()), order.wavelengths());
        for step in 0..=1200 {
            let wavelength = from + (to - from) * f64::from(step) / 1200.0;
            for hole in -6..=6 {
                let place = view.position(order, wavelength, f64::from(hole) * HALF_SLIT / 6.0);
                let (x, y) = (place.x.round(), place.y.round());
                if x < 0.0 || y < 0.0 || x >= columns as f64 || y >= rows as f64 {
                    continue;
                }
                let Some((wavelength, slit)) = view.invert(order, x, y) else { continue };
                if slit.abs() > HALF_SLIT || !(from..=to).contains(&wavelength) {
                    continue;
                }
                let at = (y as usize, x as usize);
                if orders[at] != f32::from(order.number()) || !waves[at].is_finite() {
                    gathered.holes += 1;
                    continue;
                }
                // a shift along the dispersion by one pixel at a fixed slit position
                let per_nm = place.dx_dw.hypot(place.dy_dw);
                let off = f64::from(waves[at]) - wavelength;
                gathered.whole.push(off * per_nm);
                gathered.pulls.push((off - scale.at(wavelength)) / f64::from(errors[at]));
                gathered.slit.push(f64::from(slits[at]) - slit);
                if (first..=last).contains(&wavelength) {
                    gathered.within.push(off * per_nm);
                }
            }
        }
    }
    Ok(gathered.errors())
}
