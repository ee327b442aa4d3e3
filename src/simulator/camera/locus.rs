//! What colours stars have: the main sequence from A to late M, as AB colours in u g r i z y and Vega ones in J H K.
//!
//! Rounded figures of the well-known stellar locus, good to some hundredths of a magnitude. They make skies plausible;
//! nothing is calibrated with them.

use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use super::filters::Filter;

/// Teff (K), absolute r magnitude, u-g, g-r, r-i, i-z, z-y, z-J, J-H, H-K.
const LOCUS: [[f64; 10]; 14] = [
    [9600.0, 0.8, 1.02, -0.22, -0.18, -0.12, -0.04, 0.48, 0.02, 0.01],
    [8200.0, 1.9, 1.10, -0.05, -0.11, -0.08, -0.02, 0.60, 0.07, 0.02],
    [7200.0, 2.8, 1.08, 0.12, -0.02, -0.04, 0.00, 0.70, 0.14, 0.03],
    [6500.0, 3.6, 1.06, 0.27, 0.06, 0.00, 0.01, 0.79, 0.22, 0.04],
    [6000.0, 4.3, 1.18, 0.38, 0.12, 0.02, 0.02, 0.86, 0.28, 0.05],
    [5770.0, 4.7, 1.35, 0.45, 0.15, 0.03, 0.03, 0.90, 0.32, 0.06],
    [5250.0, 5.6, 1.70, 0.61, 0.21, 0.07, 0.05, 0.98, 0.41, 0.08],
    [4800.0, 6.4, 2.02, 0.81, 0.29, 0.13, 0.07, 1.04, 0.51, 0.10],
    [4400.0, 7.0, 2.30, 1.05, 0.41, 0.21, 0.10, 1.10, 0.59, 0.12],
    [3850.0, 8.8, 2.52, 1.37, 0.68, 0.37, 0.17, 1.17, 0.64, 0.17],
    [3550.0, 10.0, 2.60, 1.44, 0.98, 0.53, 0.25, 1.24, 0.61, 0.21],
    [3200.0, 12.0, 2.66, 1.50, 1.44, 0.78, 0.40, 1.35, 0.58, 0.25],
    [2900.0, 14.8, 2.80, 1.58, 2.03, 1.10, 0.58, 1.60, 0.60, 0.33],
    [2600.0, 17.0, 2.90, 1.75, 2.50, 1.45, 0.80, 1.90, 0.68, 0.42],
];

/// Places on the locus of the two kinds of stars that fill the sky: the turn-off of old stars, and the M dwarfs.
const TURN_OFF: (f64, f64) = (4.8, 1.6);
const DWARFS: (f64, f64) = (9.8, 1.0);

/// Magnitudes of a source above the atmosphere: AB, but J, H and K of Vega's system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are the bands that they are named after")]
pub struct Magnitudes {
    pub u: f64,
    pub g: f64,
    pub r: f64,
    pub i: f64,
    pub z: f64,
    pub y: f64,
    pub v: f64,
    pub j: f64,
    pub h: f64,
    pub k: f64,
}

impl Magnitudes {
    /// The magnitude in a filter of the camera.
    pub fn of(&self, filter: Filter) -> f64 {
        match filter {
            Filter::U => self.u,
            Filter::G => self.g,
            Filter::R => self.r,
            Filter::I => self.i,
            Filter::Z => self.z,
            Filter::Y => self.y,
            Filter::V => self.v,
        }
    }

    /// Set the magnitude in a filter of the camera.
    pub fn set(&mut self, filter: Filter, magnitude: f64) {
        *match filter {
            Filter::U => &mut self.u,
            Filter::G => &mut self.g,
            Filter::R => &mut self.r,
            Filter::I => &mut self.i,
            Filter::Z => &mut self.z,
            Filter::Y => &mut self.y,
            Filter::V => &mut self.v,
        } = magnitude;
    }
}

/// A star's place on the main sequence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spectrum {
    /// K.
    pub teff: f64,
    /// Absolute magnitude in r.
    pub absolute: f64,
    /// u-g, g-r, r-i, i-z, z-y, z-J, J-H, H-K.
    colours: [f64; 8],
}

impl Spectrum {
    /// A star of the sky with this r magnitude: the fainter, the likelier a red dwarf.
    pub fn draw(r: f64, rng: &mut impl Rng) -> Spectrum {
        let dwarfs = (0.15 + 0.05 * (r - 14.0)).clamp(0.05, 0.5);
        let kind: f64 = rng.random();
        let (middle, width) = if kind < dwarfs { DWARFS } else { TURN_OFF };
        let deviate: f64 = StandardNormal.sample(rng);
        let mut spectrum = Spectrum::at(middle + width * deviate);
        // Metals and binaries widen the locus.
        for (colour, scatter) in spectrum.colours.iter_mut().zip([0.1, 0.03, 0.02, 0.015, 0.015, 0.03, 0.03, 0.02]) {
            let deviate: f64 = StandardNormal.sample(rng);
            *colour += scatter * deviate;
        }
        spectrum
    }

    /// A star of the main sequence with this effective temperature, K; the ends of the table for hotter and cooler ones.
    pub fn of(teff: f64) -> Spectrum {
        let hotter = LOCUS.iter().take_while(|row| row[0] > teff).count();
        let place = match (hotter.checked_sub(1).and_then(|row| LOCUS.get(row)), LOCUS.get(hotter)) {
            (Some(above), Some(below)) => hotter as f64 - (teff - below[0]) / (above[0] - below[0]),
            (None, _) => 0.0,
            (_, None) => LOCUS.len() as f64,
        };
        Spectrum { teff, ..Spectrum::at(place) }
    }

    /// Between the rows of the table, from 0 for the first.
    fn at(place: f64) -> Spectrum {
        let place = place.clamp(0.0, (LOCUS.len() - 1) as f64);
        let row = (place.floor() as usize).min(LOCUS.len() - 2);
        let part = place - row as f64;
        let [teff, absolute, colours @ ..]: [f64; 10] =
            std::array::from_fn(|column| LOCUS[row][column] * (1.0 - part) + LOCUS[row + 1][column] * part);
        Spectrum { teff, absolute, colours }
    }

    /// Magnitudes of a star that has `r` in r.
    pub fn magnitudes(&self, r: f64) -> Magnitudes {
        let [ug, gr, ri, iz, zy, zj, jh, hk] = self.colours;
        let (g, i) = (r + gr, r - ri);
        let z = i - iz;
        let j = z - zj;
        let v = g - 0.01 - 0.58 * gr;
        Magnitudes { u: g + ug, g, r, i, z, y: z - zy, v, j, h: j - jh, k: j - jh - hk }
    }
}
