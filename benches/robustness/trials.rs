//! The trials: what is wrong in each, drawn from seeds.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use soxsd::instrument::{Arm, Binning};

use crate::stage::{Conditions, Upset};

/// A kind of trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Nothing is wrong.
    Usual,
    /// Up to 6 pixels of flexure along x and y, with a turn and a scale.
    Shift,
    /// Up to 2 pixels between both frames.
    Jump,
    /// The mask of nine pinholes has slipped by a pitch.
    Slip,
    /// The single pinhole has slipped by a pitch.
    SingleSlip,
    /// One of both masks has slipped, and no order table tells which.
    Blind,
    /// 40 per cent of the lines do not shine.
    Missing,
    /// One lamp, or one element of the cathode lamp, does not shine.
    LampOff,
    /// 2 per cent of bad pixels that nobody knows, and dead columns.
    BadPixels,
    /// The same, known to the master calibration.
    KnownBadPixels,
    /// A quarter of the detector is dead.
    DeadQuadrant,
    /// Lamps up to 300 times too bright.
    Saturated,
    /// Thirty times the usual cosmic rays, and no master calibration.
    Cosmics,
    /// A fifth to a half of the usual light.
    Faint,
    /// Binned VIS frames.
    Binned,
    /// Everything together, less of each.
    Combined,
    /// 7 to 14 pixels of flexure.
    TooFar,
    /// The only solution for the nine pinholes is of another day, 3 to 8 pixels off.
    Stale,
    /// No light.
    Dark,
    /// A flat in place of the arc.
    Flat,
    /// The frame is mirrored or turned.
    Mirrored,
}

/// Every kind, with its share of 100 trials of an arm.
pub const KINDS: [(Kind, usize); 21] = [
    (Kind::Usual, 2),
    (Kind::Shift, 10),
    (Kind::Jump, 6),
    (Kind::Slip, 6),
    (Kind::SingleSlip, 2),
    (Kind::Blind, 2),
    (Kind::Missing, 10),
    (Kind::LampOff, 6),
    (Kind::BadPixels, 6),
    (Kind::KnownBadPixels, 4),
    (Kind::DeadQuadrant, 4),
    (Kind::Saturated, 5),
    (Kind::Cosmics, 3),
    (Kind::Faint, 4),
    (Kind::Binned, 4),
    (Kind::Combined, 12),
    (Kind::TooFar, 4),
    (Kind::Stale, 4),
    (Kind::Dark, 2),
    (Kind::Flat, 2),
    (Kind::Mirrored, 2),
];

impl Kind {
    /// Whether nothing may be accepted: the frames show no arc as the instrument takes them.
    pub fn hopeless(self) -> bool {
        matches!(self, Kind::Dark | Kind::Flat | Kind::Mirrored)
    }
}

/// The trials of both arms, `total` in all.
pub fn trials(total: usize) -> Vec<(Kind, Conditions)> {
    let mut arms: Vec<Vec<(Kind, Conditions)>> = Vec::new();
    for arm in [Arm::Vis, Arm::Nir] {
        // the kinds take turns, so that a small number has some of each
        let mut list: Vec<(usize, Kind, usize)> = Vec::new();
        for (kind, share) in KINDS {
            list.extend((0..share).map(|k| ((2 * k + 1) * 1000 / share, kind, k)));
        }
        list.sort();
        let cycle = list.len();
        let of_arm = if arm == Arm::Vis { total.div_ceil(2) } else { total / 2 };
        let trial = |i: usize| {
            let (_, kind, k) = list[i % cycle];
            let seed = 1000 * (1 + arm as u64) + i as u64;
            (kind, draw(kind, arm, k + i / cycle, seed))
        };
        arms.push((0..of_arm).map(trial).collect());
    }
    // in turns
    let mut arms: Vec<_> = arms.into_iter().map(Vec::into_iter).collect();
    (0..total).filter_map(|i| arms.get_mut(i % 2).and_then(Iterator::next)).collect()
}

/// The conditions of a trial of a kind. `k` numbers the trials of a kind.
fn draw(kind: Kind, arm: Arm, k: usize, seed: u64) -> Conditions {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let mut within = |a: f64, b: f64| random.random_range(a..b);
    let mut it = Conditions::usual(arm, seed);
    // flexure of an ordinary day
    it.flexure.shift = [within(-2.0, 2.0), within(-2.0, 2.0)];
    it.flexure.rotation = within(-0.005, 0.005);
    it.jump = [within(-0.3, 0.3), within(-0.3, 0.3)];
    let side = if k.is_multiple_of(2) { 1 } else { -1 };
    let farther = |value: f64, least: f64| value + least * value.signum();
    match kind {
        Kind::Usual => {}
        Kind::Shift => {
            it.flexure.shift = [within(-6.0, 6.0), within(-6.0, 6.0)];
            // corners first
            if k < 4 {
                it.flexure.shift = [[6.0, 6.0], [6.0, -6.0], [-6.0, 6.0], [-6.0, -6.0]][k];
            }
            (it.flexure.rotation, it.flexure.scale) = (within(-0.02, 0.02), within(-3e-4, 3e-4));
        }
        Kind::Jump => it.jump = [within(-2.0, 2.0), within(-2.0, 2.0)],
        Kind::Slip => it.slip = side,
        Kind::SingleSlip => it.single_slip = side,
        Kind::Blind => (it.single_slip, it.slip, it.edges) = ([0, side][k % 2], [side, 0][k % 2], false),
        Kind::Missing => it.missing = 0.4,
        Kind::LampOff => {
            let off = if arm == Arm::Nir { ["Xe", "Ne", "Ar", "Hg"] } else { ["Ar", "Th", "Ar", "Th"] };
            it.off = Some(off[k % 4]);
        }
        Kind::BadPixels | Kind::KnownBadPixels => {
            (it.bad, it.dead_columns) = ((0.02, kind == Kind::KnownBadPixels), 5);
        }
        Kind::DeadQuadrant => it.dead_quadrant = Some(k % 4),
        Kind::Saturated => it.level = 300f64.powf(within(0.3, 1.0)),
        Kind::Cosmics => (it.cosmics, it.master) = (30.0, false),
        Kind::Faint => it.level = within(0.2, 0.5),
        Kind::Binned if arm == Arm::Vis => {
            it.binning = [Binning { x: 2, y: 1 }, Binning { x: 2, y: 2 }][k % 2];
            it.flexure.shift = [within(-6.0, 6.0), within(-6.0, 6.0)];
        }
        Kind::Binned => it.flexure.shift = [within(-6.0, 6.0), within(-6.0, 6.0)],
        Kind::Combined => {
            it.flexure.shift = [within(-6.0, 6.0), within(-6.0, 6.0)];
            it.flexure.rotation = within(-0.01, 0.01);
            it.jump = [within(-1.0, 1.0), within(-1.0, 1.0)];
            it.missing = within(0.0, 0.4);
            it.bad = (within(0.0, 0.02), k.is_multiple_of(3));
            it.dead_columns = k % 5;
            it.level = 10f64.powf(within(-0.6, 1.2));
            it.cosmics = within(0.0, 10.0);
            it.slip = [0, 0, 0, 1, 0, -1][k % 6];
            it.off = if arm == Arm::Nir && k % 4 == 1 { Some(["Hg", "Ar", "Ne", "Xe"][k / 4 % 4]) } else { None };
            it.master = !k.is_multiple_of(4);
        }
        Kind::TooFar => {
            it.flexure.shift = [farther(within(-7.0, 7.0), 7.0), within(-6.0, 6.0)];
            if k.is_multiple_of(2) {
                it.flexure.shift.reverse();
            }
        }
        Kind::Stale => {
            let far = [farther(within(-5.0, 5.0), 3.0), within(-2.0, 2.0)];
            it.stale = Some(if k.is_multiple_of(2) { far } else { [far[1], far[0]] });
        }
        Kind::Dark => it.upset = Upset::Dark,
        Kind::Flat => it.upset = Upset::Flat,
        Kind::Mirrored => it.upset = if k.is_multiple_of(2) { Upset::Mirrored } else { Upset::Turned },
    }
    it
}
