//! What a chip is: its fixed pattern of response and defects, the same in every frame of every setup.
//!
//! Everything is defined on the exposed, unbinned pixels; binned frames sum over it. The pattern is drawn once from the
//! detector's own random streams; strengths of effects scale it when it is used, and never redraw it.

use ndarray::{Array1, Array2, Axis};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64Mcg;
use rayon::prelude::*;

use super::effects::Effects;
use super::sizes::Sizes;
use super::smooth::Smooth;
use crate::instrument::Arm;
use crate::simulator::math;
use crate::simulator::random::{Effect, Seeds};

/// Which part of the pattern a random stream is for.
#[derive(Clone, Copy)]
enum Part {
    Prnu = 0,
    Illumination,
    Dust,
    Dead,
    Fringes,
    Hot,
    Columns,
    Blinking,
}

/// A pixel that is not like the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spot {
    pub row: usize,
    pub column: usize,
    /// Electrons per second of hot pixels, response of dead ones, electrons that unstable ones jump by.
    pub size: f64,
}

/// A column with a defect that acts on its rows from `row` upwards.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct BadColumn {
    pub column: usize,
    pub row: usize,
    /// Electrons per second that a bright column adds; electrons that a trap keeps.
    pub size: f64,
}

/// The shadow of a grain of dust: a ring.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Ring {
    x: f64,
    y: f64,
    radius: f64,
    width: f64,
    depth: f64,
}

/// One detector with all its peculiarities.
#[derive(Clone, Debug, PartialEq)]
pub struct Chip {
    arm: Arm,
    /// Relative deviations of the response, rows x columns of the exposed area.
    prnu: Array2<f32>,
    illumination: Smooth,
    dust: Vec<Ring>,
    relief: Smooth,
    /// Electrons per second on top of the dark signal; empty where nothing glows.
    glow: Array2<f32>,
    /// Each sorted by row.
    pub(super) hot: Vec<Spot>,
    pub(super) dead: Vec<Spot>,
    pub(super) blinking: Vec<Spot>,
    pub(super) bright_columns: Vec<BadColumn>,
    pub(super) traps: Vec<BadColumn>,
}

impl Chip {
    /// The chip of an arm. Its pattern depends on the seed of [`Effect::Detector`] only.
    pub fn new(arm: Arm, seeds: &Seeds) -> Chip {
        let sizes = Sizes::of(arm);
        let stream = |part: Part, row: u64| seeds.stream(Effect::Detector, 1000 + 100 * arm as u64 + part as u64, row);
        let (bright_columns, traps) = bad_columns(sizes, &mut stream(Part::Columns, 0));
        Chip {
            arm,
            prnu: prnu(sizes, |row| stream(Part::Prnu, row)),
            illumination: Smooth::new(sizes.area, 400.0, &mut stream(Part::Illumination, 0)),
            dust: dust(sizes, &mut stream(Part::Dust, 0)),
            relief: Smooth::new(sizes.area, 512.0, &mut stream(Part::Fringes, 0)),
            glow: glow(sizes),
            hot: hot(sizes, &mut stream(Part::Hot, 0)),
            dead: dead(sizes, &mut stream(Part::Dead, 0)),
            blinking: blinking(sizes, &mut stream(Part::Blinking, 0)),
            bright_columns,
            traps,
        }
    }

    /// Which detector this is.
    pub fn arm(&self) -> Arm {
        self.arm
    }

    /// Factor by which interference inside the chip changes the response at column `x` and row `y` (exposed, unbinned
    /// area, 0-based pixel centres) for light of `wavelength` nm. 1 where there are no fringes.
    ///
    /// The pattern is locked to the wavelength: the phase is the optical path through the layer in wavelengths, and the
    /// layer's thickness varies smoothly over the chip. Multiply the light of each wavelength by it before it is summed
    /// into a pixel; `strength` is [`Effects::fringing`].
    pub fn fringe(&self, x: f64, y: f64, wavelength: f64, strength: f64) -> f64 {
        let sizes = Sizes::of(self.arm);
        let amplitude = strength * joined(&sizes.fringes, wavelength);
        if amplitude == 0.0 {
            return 1.0;
        }
        let path = sizes.fringe_path * (1.0 + sizes.fringe_relief * self.relief.at(x, y));
        let (_, cosine) = math::sin_cos(std::f64::consts::TAU * (path / wavelength).fract());
        1.0 + amplitude * cosine
    }

    /// Response of a row of the exposed area to light, 1 on average, dead pixels left out.
    pub(super) fn response(&self, row: usize, effects: &Effects) -> Vec<f64> {
        let sizes = Sizes::of(self.arm);
        let (rows, columns) = sizes.area;
        let (centre_y, centre_x) = ((rows as f64 - 1.0) / 2.0, (columns as f64 - 1.0) / 2.0);
        let corner = centre_x * centre_x + centre_y * centre_y;
        let (free, loss) = sizes.vignetting;
        let illumination = effects.illumination * sizes.illumination;
        let prnu = self.prnu.row(row);
        let mut response: Vec<f64> = prnu.iter().map(|&deviation| 1.0 + effects.prnu * f64::from(deviation)).collect();
        let y = row as f64;
        if illumination > 0.0 {
            for (column, response) in response.iter_mut().enumerate() {
                *response *= 1.0 + illumination * self.illumination.at(column as f64, y);
            }
        }
        if effects.roll_off > 0.0 && sizes.roll_off + loss > 0.0 {
            for (column, response) in response.iter_mut().enumerate() {
                let x = column as f64 - centre_x;
                let square = x * x + (y - centre_y) * (y - centre_y);
                let beyond = ((square.sqrt() - free) / (corner.sqrt() - free)).max(0.0);
                let lost = sizes.roll_off * square / corner + loss * beyond;
                *response *= (1.0 - effects.roll_off * lost).max(0.0);
            }
        }
        for ring in &self.dust {
            let reach = ring.radius + 4.0 * ring.width;
            let dy = y - ring.y;
            if effects.dust == 0.0 || dy.abs() > reach {
                continue;
            }
            let first = (ring.x - reach).max(0.0) as usize;
            for (column, response) in response.iter_mut().enumerate().skip(first).take(2 * reach as usize + 2) {
                let dx = column as f64 - ring.x;
                let off = ((dx * dx + dy * dy).sqrt() - ring.radius) / ring.width;
                *response *= (1.0 - effects.dust * ring.depth * math::exp(-0.5 * off * off)).max(0.0);
            }
        }
        response.iter_mut().for_each(|response| *response = response.max(0.0));
        response
    }

    /// Electrons per second of a pixel that is not hot.
    pub(super) fn dark(&self, row: usize, column: usize, effects: &Effects) -> f64 {
        let glow = self.glow.get((row, column)).map_or(0.0, |&glow| f64::from(glow));
        effects.dark * (Sizes::of(self.arm).dark + glow)
    }
}

/// The spots of one row, from a list that is sorted by row.
pub(super) fn of_row(spots: &[Spot], row: usize) -> &[Spot] {
    let first = spots.partition_point(|spot| spot.row < row);
    let end = spots.partition_point(|spot| spot.row <= row);
    &spots[first..end]
}

/// A value between the points of a table, by straight lines; that of the ends beyond them, 0 without points.
fn joined(table: &[(f64, f64)], x: f64) -> f64 {
    let after = table.partition_point(|&(at, _)| at <= x);
    match (after.checked_sub(1).and_then(|before| table.get(before)), table.get(after)) {
        (Some(&(x0, y0)), Some(&(x1, y1))) => y0 + (y1 - y0) * (x - x0) / (x1 - x0),
        (Some(&(_, only)), None) | (None, Some(&(_, only))) => only,
        (None, None) => 0.0,
    }
}

fn prnu(sizes: &Sizes, stream: impl Fn(u64) -> Pcg64Mcg + Sync) -> Array2<f32> {
    let (blue, half_width, more) = sizes.prnu_blue;
    let rms = Array1::from_shape_fn(sizes.area.1, |column| {
        let off = (column as f64 - blue) / half_width;
        sizes.prnu * (1.0 + more * (1.0 - off * off).max(0.0))
    });
    let mut prnu = Array2::zeros(sizes.area);
    prnu.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(row, mut pixels)| {
        let mut rng = stream(row as u64);
        for (pixel, rms) in pixels.iter_mut().zip(&rms) {
            let deviate: f64 = StandardNormal.sample(&mut rng);
            *pixel = (rms * deviate) as f32;
        }
    });
    prnu
}

/// The amplifiers glow in two corners of the infrared detector.
fn glow(sizes: &Sizes) -> Array2<f32> {
    if sizes.glow == 0.0 {
        return Array2::zeros((0, 0));
    }
    let side = sizes.area.1 as f64;
    let falls = |dx: f64, dy: f64| math::exp(-(dx * dx + dy * dy).sqrt() / sizes.glow_scale);
    let mut glow = Array2::zeros(sizes.area);
    glow.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(row, mut pixels)| {
        let y = row as f64;
        for (column, pixel) in pixels.iter_mut().enumerate() {
            let x = column as f64;
            *pixel = (sizes.glow * (falls(x, y) + 0.6 * falls(side - x, y))) as f32;
        }
    });
    glow
}

fn dust(sizes: &Sizes, rng: &mut Pcg64Mcg) -> Vec<Ring> {
    let (rings, shallow, deep) = sizes.dust;
    let (rows, columns) = sizes.area;
    let ring = |_| Ring {
        x: rng.random_range(0.0..columns as f64),
        y: rng.random_range(0.0..rows as f64),
        radius: rng.random_range(8.0..25.0),
        width: rng.random_range(2.0..5.0),
        depth: shallow + (deep - shallow) * rng.random_range(0.0..1.0),
    };
    (0..rings).map(ring).collect()
}

fn anywhere(sizes: &Sizes, rng: &mut Pcg64Mcg) -> (usize, usize) {
    let (rows, columns) = sizes.area;
    (rng.random_range(0..rows), rng.random_range(0..columns))
}

/// Sorted by place, each place once: the first that was drawn stays.
fn sorted(mut spots: Vec<Spot>) -> Vec<Spot> {
    spots.sort_by_key(|spot| (spot.row, spot.column));
    spots.dedup_by_key(|spot| (spot.row, spot.column));
    spots
}

fn log_normal(median: f64, spread: f64, rng: &mut Pcg64Mcg) -> f64 {
    let deviate: f64 = StandardNormal.sample(rng);
    median * math::exp(spread * deviate)
}

fn hot(sizes: &Sizes, rng: &mut Pcg64Mcg) -> Vec<Spot> {
    let (count, median, spread, least, most) = sizes.hot;
    let spot = |_| {
        let (row, column) = anywhere(sizes, rng);
        Spot { row, column, size: log_normal(median, spread, rng).clamp(least, most) }
    };
    sorted((0..count).map(spot).collect())
}

/// Insensitive pixels in clusters, which random walks fill; every second cluster lies near an edge.
fn dead(sizes: &Sizes, rng: &mut Pcg64Mcg) -> Vec<Spot> {
    /// Pixels from the edge within which clusters are more common.
    const EDGE: usize = 60;
    let (count, mean_size, most_left) = sizes.dead;
    let (rows, columns) = sizes.area;
    let mut dead = std::collections::BTreeMap::new();
    let mut cluster = 0_u32;
    while dead.len() < count {
        let (mut row, mut column) = anywhere(sizes, rng);
        cluster += 1;
        if mean_size > 1.0 && cluster.is_multiple_of(2) {
            match rng.random_range(0..4) {
                0 => row %= EDGE,
                1 => row = rows - 1 - row % EDGE,
                2 => column %= EDGE,
                _ => column = columns - 1 - column % EDGE,
            }
        }
        // Each step goes on with the probability that gives the mean.
        loop {
            dead.entry((row, column)).or_insert_with(|| most_left * rng.random_range(0.0..1.0));
            if dead.len() >= count || rng.random_range(0.0..1.0) * mean_size < 1.0 {
                break;
            }
            match rng.random_range(0..4) {
                0 => row = row.saturating_sub(1),
                1 => row = (row + 1).min(rows - 1),
                2 => column = column.saturating_sub(1),
                _ => column = (column + 1).min(columns - 1),
            }
        }
    }
    dead.into_iter().map(|((row, column), size)| Spot { row, column, size }).collect()
}

fn blinking(sizes: &Sizes, rng: &mut Pcg64Mcg) -> Vec<Spot> {
    let (share, median, spread, _) = sizes.blinking;
    let (rows, columns) = sizes.area;
    let spot = |_| {
        let (row, column) = anywhere(sizes, rng);
        Spot { row, column, size: log_normal(median, spread, rng).min(20.0 * median) }
    };
    sorted((0..(share * (rows * columns) as f64) as usize).map(spot).collect())
}

/// Bright columns, and columns with a trap.
fn bad_columns(sizes: &Sizes, rng: &mut Pcg64Mcg) -> (Vec<BadColumn>, Vec<BadColumn>) {
    let (bright, rate, traps, depth) = sizes.bad_columns;
    let mut some = |count: usize, usual: f64| -> Vec<BadColumn> {
        let column = |_| {
            let (row, column) = anywhere(sizes, rng);
            BadColumn { column, row, size: usual * rng.random_range(0.5..1.5) }
        };
        (0..count).map(column).collect()
    };
    (some(bright, rate), some(traps, depth))
}
