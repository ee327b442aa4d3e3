//! Both arms to one spectrum: the scale is measured where both see the light, and applied by a rule.

use super::merge::{Part, average, compare};
use super::merged::{FluxUnit, Join, MergedSpectrum};
use super::resample::{Grid, Resampling};
use super::{covariance::BandedCovariance, lines::in_band};
use crate::reduction::flags;

/// When a measured scale is applied.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ArmRule {
    /// Bins of the common grid, km/s.
    pub step: f64,
    /// Wavelengths that are compared, nm.
    pub overlap: [f64; 2],
    /// A scale further from 1 than this is not believed.
    pub largest: f64,
    /// Nor one that is less certain than this.
    pub least_certain: f64,
    /// Which arm is changed when a scale is applied: the one whose light is less certain, the redder one by default.
    pub scale_redder: bool,
}

/// What became of the scale between the arms.
#[derive(Clone, Debug, PartialEq)]
pub struct ArmScale {
    /// Redder over bluer with its standard error; `None` when nothing could be compared.
    pub ratio: Option<[f64; 2]>,
    /// Whether it was applied, and if not why.
    pub applied: Result<(), String>,
}

/// Why two arms do not make one spectrum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArmError {
    /// One is calibrated, the other is not.
    #[error("one arm is in {}, the other in {}", .0[0].fits(), .0[1].fits())]
    Units([FluxUnit; 2]),
    /// Nothing to merge.
    #[error("neither arm has a good sample")]
    Empty,
}

/// A spectrum and the covariance of its own samples on another grid: exact overlap of its bins, with all of its covariance.
fn regridded(name: &str, spectrum: &MergedSpectrum, grid: &Grid) -> Part {
    let ends: Vec<[f64; 2]> = spectrum.edges.windows(2).map(|pair| [pair[0], pair[1]]).collect();
    let good: Vec<bool> = (0..spectrum.len()).map(|k| spectrum.is_good(k)).collect();
    let made = Resampling::new(&ends, &good, grid);
    let bins = made.bins();
    let covariance: BandedCovariance = made.propagated(&spectrum.covariance);
    let columns = [
        made.values(&spectrum.flux),
        made.values(&spectrum.systematic),
        made.values(&spectrum.sky),
        made.values(&spectrum.exposure),
    ];
    Part::from_columns(name, bins.start, columns, covariance, made.flags(&spectrum.quality, flags::NO_DATA))
}

/// One spectrum of both arms on a logarithmic grid. The scale is measured in the overlap without molecular bands; it is
/// applied when it is neither absurd nor uncertain, and reported in any case.
pub fn merge_arms(
    [bluer, redder]: [(&str, &MergedSpectrum); 2],
    rule: &ArmRule,
) -> Result<(MergedSpectrum, ArmScale), ArmError> {
    if bluer.1.unit != redder.1.unit {
        return Err(ArmError::Units([bluer.1.unit, redder.1.unit]));
    }
    let range = |spectrum: &MergedSpectrum| -> Option<[f64; 2]> {
        let first = (0..spectrum.len()).find(|k| spectrum.is_good(*k))?;
        let last = (0..spectrum.len()).rfind(|k| spectrum.is_good(*k))?;
        Some([spectrum.edges[first], spectrum.edges[last + 1]])
    };
    let ranges: Vec<[f64; 2]> = [bluer.1, redder.1].into_iter().filter_map(range).collect();
    let from = ranges.iter().map(|range| range[0]).reduce(f64::min).ok_or(ArmError::Empty)?;
    let to = ranges.iter().map(|range| range[1]).fold(from, f64::max);
    let grid = Grid::logarithmic(rule.step, [from, to]);
    let mut parts = [regridded(bluer.0, bluer.1, &grid), regridded(redder.0, redder.1, &grid)];
    let mut join = compare(&parts[0], &parts[1], &grid, &without(&grid, rule.overlap));
    let scale = judge(join.as_ref(), rule);
    if let (Ok(()), Some([ratio, error])) = (&scale.applied, scale.ratio) {
        let (arm, factor) = if rule.scale_redder { (1, ratio) } else { (0, 1.0 / ratio) };
        parts[arm].divide(factor);
        // common to all of the arm, as the error of a response is
        parts[arm].add_systematic(error / ratio);
        if let Some(join) = &mut join {
            join.applied = ratio;
        }
    }
    let mut merged = average(&parts, &grid, bluer.1.unit, join.into_iter().collect());
    let mut joins: Vec<Join> = bluer.1.joins.clone();
    joins.append(&mut merged.joins);
    joins.extend(redder.1.joins.iter().cloned());
    merged.joins = joins;
    Ok((merged, scale))
}

/// Ranges that are not compared: outside of the overlap, and the bands of the air in it.
fn without(grid: &Grid, [from, to]: [f64; 2]) -> Vec<[f64; 2]> {
    let mut ranges = vec![[0.0, from], [to, f64::INFINITY]];
    let inside = grid.centres().into_iter().filter(|w| (from..=to).contains(w));
    ranges.extend(inside.filter(|w| in_band(*w, 0.03, 1.0)).map(|w| [w, w]));
    ranges
}

fn judge(join: Option<&Join>, rule: &ArmRule) -> ArmScale {
    let Some([ratio, error]) = join.and_then(|join| join.ratio) else {
        let reason = "the arms share too little light between them to compare".to_string();
        return ArmScale { ratio: None, applied: Err(reason) };
    };
    let applied = if (ratio - 1.0).abs() > rule.largest {
        Err(format!("a scale of {ratio:.3} is further from 1 than {}", rule.largest))
    } else if error > rule.least_certain {
        Err(format!("the scale {ratio:.3} is uncertain by {error:.3}, more than {}", rule.least_certain))
    } else {
        Ok(())
    };
    ArmScale { ratio: Some([ratio, error]), applied }
}
