//! Emission lines of the night sky, and how they flicker.

use std::sync::LazyLock;

use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};

use super::table::{field, rows};
use super::{AREA, Line};
use crate::simulator::math;
use crate::simulator::random::{Effect, Seeds};

/// An airglow line at the zenith.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AirglowLine {
    /// nm, air.
    pub wavelength: f64,
    /// Photons per second, m2 and arcsec2, on average.
    pub photons: f64,
    /// What it brightens with: index into [`groups`].
    pub group: usize,
}

struct List {
    lines: Vec<AirglowLine>,
    groups: Vec<&'static str>,
}

static LIST: LazyLock<List> = LazyLock::new(|| {
    let mut groups: Vec<&str> = Vec::new();
    let rows: Vec<_> = rows(include_str!("../../../calibrations/airglow.csv")).collect();
    groups.extend(rows.iter().filter_map(|row| row.get(2).copied()));
    groups.sort_unstable();
    groups.dedup();
    let line = |row: &Vec<&str>| AirglowLine {
        wavelength: field(row, 0),
        photons: field(row, 1),
        group: groups.iter().position(|&group| row.get(2) == Some(&group)).unwrap_or(0),
    };
    List { lines: rows.iter().map(line).collect(), groups }
});

/// The lines of the table, sorted by wavelength.
pub fn lines() -> &'static [AirglowLine] {
    &LIST.lines
}

/// Names of the groups of lines that brighten together: `OH2` to `OH9` by upper vibrational level, `O-green`, `O-red`,
/// `Na`, `O2`.
pub fn groups() -> &'static [&'static str] {
    &LIST.groups
}

/// Seconds between the steps of the random walk, and how long it remembers.
const STEP: f64 = 300.0;
const MEMORY: f64 = 7200.0;
/// Steps of a day.
const STEPS: usize = 289;
/// Spread of the change within 30 minutes: each group draws its own from this range.
const SPREAD: (f64, f64) = (0.10, 0.30);

/// The brightness of the airglow through a night: a random walk of each group, of which the logarithm wanders about 0 and
/// changes by 10 to 30 per cent in 30 minutes.
#[derive(Clone, Debug, PartialEq)]
pub struct Airglow {
    /// Brightness against the average, group by group and step by step.
    walks: Vec<Vec<f64>>,
}

impl Airglow {
    /// The walks of a night.
    pub fn new(seeds: &Seeds) -> Airglow {
        let kept = math::exp(-STEP / MEMORY);
        let half_hour = math::exp(-1800.0 / MEMORY);
        let walk = |group: usize| {
            let mut random = seeds.stream(Effect::Airglow, group as u64, 0);
            let change = SPREAD.0 + (SPREAD.1 - SPREAD.0) * random.random::<f64>();
            // The difference of two values half an hour apart has twice the variance that they do not share.
            let spread = change / (2.0 * (1.0 - half_hour)).sqrt();
            let mut draw = || -> f64 { StandardNormal.sample(&mut random) };
            let mut state = spread * draw();
            (0..STEPS)
                .map(|_| {
                    let value = math::exp(state - 0.5 * spread * spread);
                    state = kept * state + spread * (1.0 - kept * kept).sqrt() * draw();
                    value
                })
                .collect()
        };
        Airglow { walks: (0..groups().len()).map(walk).collect() }
    }

    /// An airglow that never changes.
    pub fn steady() -> Airglow {
        Airglow { walks: vec![vec![1.0]; groups().len()] }
    }

    /// Mean brightness of each group against its average, during an exposure that starts `start` seconds after the noon
    /// before the night. Beyond a day the last value holds.
    pub fn brightness(&self, start: f64, duration: f64) -> Vec<f64> {
        let mean = |walk: &Vec<f64>| {
            // The walk is straight between steps: a sum over pieces no longer than a step is exact enough at 1 per 1000.
            let pieces = (duration / (0.25 * STEP)).ceil().clamp(1.0, 1000.0) as usize;
            let at = |time: f64| {
                let place = (time / STEP).clamp(0.0, (walk.len() - 1) as f64);
                let index = place as usize;
                let (left, right) = (walk[index], walk[(index + 1).min(walk.len() - 1)]);
                left + (place - index as f64) * (right - left)
            };
            let centres = (0..pieces).map(|piece| start + duration * (piece as f64 + 0.5) / pieces as f64);
            centres.map(at).sum::<f64>() / pieces as f64
        };
        self.walks.iter().map(mean).collect()
    }

    /// The lines during an exposure at an airmass, photons per second and arcsec2 on the telescope's area.
    pub fn light(&self, airmass: f64, start: f64, duration: f64) -> Vec<Line> {
        let brightness = self.brightness(start, duration);
        let path = layer_path(airmass);
        let line = |line: &AirglowLine| Line {
            wavelength: line.wavelength,
            photons: line.photons * AREA * path * brightness.get(line.group).copied().unwrap_or(1.0),
        };
        lines().iter().map(line).collect()
    }
}

/// How much longer the path through the layer at 90 km is than at the zenith (van Rhijn).
pub fn layer_path(airmass: f64) -> f64 {
    let sine_squared = 1.0 - 1.0 / (airmass * airmass).max(1.0);
    // (radius of the Earth / radius of the layer)^2.
    let ratio = (6371.0_f64 / 6461.0) * (6371.0 / 6461.0);
    1.0 / (1.0 - ratio * sine_squared).sqrt()
}
