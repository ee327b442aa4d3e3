//! How much of the light that falls on the telescope is detected, order by order, without the atmosphere.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::table::{Beyond, Table, field, pairs, rows};
use crate::instrument::Arm;
use crate::simulator::math;

/// Orders of an arm: 1 = r, 2 = u, 3 = g, 4 = i in VIS, 10 to 24 in NIR, none in the camera.
pub fn orders(arm: Arm) -> impl Iterator<Item = u8> {
    TABLES.orders.keys().filter(move |(of, _)| *of == arm).map(|&(_, order)| order)
}

/// Detected electrons per photon on the telescope's area, above the atmosphere: envelope times blaze. Zero for orders that
/// the arm does not have.
pub fn efficiency(arm: Arm, order: u8, wavelengths: &[f64]) -> Vec<f64> {
    TABLES.orders.get(&(arm, order)).map_or_else(|| vec![0.0; wavelengths.len()], |table| table.sample(wavelengths))
}

/// The smooth part that all orders of an arm share: mirrors, dichroic and detector. In VIS, whose orders are separate
/// channels behind dichroics, the best that any order reaches.
pub fn envelope(arm: Arm, wavelengths: &[f64]) -> Vec<f64> {
    TABLES.envelopes.get(&arm).map_or_else(|| vec![0.0; wavelengths.len()], |table| table.sample(wavelengths))
}

/// The share of the envelope that an order receives, 0 to 1: the grating's blaze in NIR, the dichroics of the channels in
/// VIS. Zero where the envelope is.
pub fn blaze(arm: Arm, order: u8, wavelengths: &[f64]) -> Vec<f64> {
    let all = envelope(arm, wavelengths);
    let own = efficiency(arm, order, wavelengths);
    own.iter().zip(all).map(|(&own, all)| if all > 0.0 { (own / all).min(1.0) } else { 0.0 }).collect()
}

/// The share of the light that the dichroic between VIS and NIR sends to an arm. It is part of every efficiency.
pub fn dichroic(arm: Arm, wavelengths: &[f64]) -> Vec<f64> {
    let to_nir = DICHROIC.sample(wavelengths);
    match arm {
        Arm::Nir => to_nir,
        Arm::Vis => to_nir.iter().map(|share| 1.0 - share).collect(),
        Arm::Acq => vec![0.0; wavelengths.len()],
    }
}

/// Step of the tables, nm.
const STEP: f64 = 0.1;

/// Wavelength at the top of the blaze times the order, nm.
const BLAZE: f64 = 19_390.0;

/// Width of the blaze against that of an ideal grating, whose light would vanish within the ends of orders 20 to 24: frames
/// show at least a tenth of the top there.
const BLAZE_WIDTH: f64 = 0.6;

/// Share of the light that goes to NIR. Published: the VIS efficiency halves between 803 and 812 nm, stays level to 830 nm
/// and ends at 850 nm. That some light goes astray below is assumed: order 24 would else end in the dark.
static DICHROIC: LazyLock<Table> = LazyLock::new(|| {
    let knots = [(775.0, 0.0), (792.0, 0.07), (803.0, 0.07), (812.0, 0.5), (830.0, 0.5), (850.0, 1.0), (860.0, 1.0)];
    Table::smooth(&knots, STEP, Beyond::Hold)
});

struct Tables {
    orders: BTreeMap<(Arm, u8), Table>,
    envelopes: BTreeMap<Arm, Table>,
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| {
    let mut orders = vis_orders();
    let vis =
        Table::of(335.0, STEP, 5251, Beyond::Zero, |w| orders.values().map(|table| table.at(w)).fold(0.0, f64::max));
    let mirrors = Table::smooth(&pairs(include_str!("../../../calibrations/throughput_nir.csv")), STEP, Beyond::Zero);
    let nir = mirrors.map(|w, value| value * DICHROIC.at(w));
    for order in 10..=24 {
        let table = nir.map(|w, value| {
            value * sinc_squared(BLAZE_WIDTH * f64::from(order) * (1.0 - BLAZE / f64::from(order) / w))
        });
        orders.insert((Arm::Nir, order), table);
    }
    Tables { orders, envelopes: BTreeMap::from([(Arm::Vis, vis), (Arm::Nir, nir)]) }
});

/// The measured curves, made smooth and led to zero beyond their ends.
fn vis_orders() -> BTreeMap<(Arm, u8), Table> {
    let mut knots: BTreeMap<u8, Vec<(f64, f64)>> = BTreeMap::new();
    for row in rows(include_str!("../../../calibrations/throughput_vis.csv")) {
        knots.entry(field(&row, 0)).or_default().push((field(&row, 1), field(&row, 2)));
    }
    let closed = |mut points: Vec<(f64, f64)>| {
        let (first, last) = (points.first().map_or(0.0, |point| point.0), points.last().map_or(0.0, |point| point.0));
        points.insert(0, (first - 5.0, 0.0));
        points.push((last + 5.0, 0.0));
        Table::smooth(&points, STEP, Beyond::Zero)
    };
    knots.into_iter().map(|(order, points)| ((Arm::Vis, order), closed(points))).collect()
}

/// sin²(πx) / (πx)² within its first zeros, nothing beyond.
fn sinc_squared(x: f64) -> f64 {
    let angle = std::f64::consts::PI * x;
    if angle.abs() < 1.0e-6 {
        return 1.0;
    }
    if x.abs() >= 1.0 {
        return 0.0;
    }
    let ratio = math::sin_cos(angle).0 / angle;
    ratio * ratio
}
