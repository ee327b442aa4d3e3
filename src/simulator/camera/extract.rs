//! The rows that a catalogue like Refcat2 (Tonry et al. 2018) has for a field: 44 columns of scaled integers.
//!
//! Columns: RA, Dec (1e-8 deg), parallax and its error (10 uas), proper motion in RA and Dec with errors (10 uas/yr),
//! Gaia G, BP, RP with errors (mmag), Teff (K), extinction of the star (mmag), variability and duplicity (bits),
//! extinction in g along the line of sight (mmag), rp1, r1, r10 (0.1 arcsec: where the neighbours together have 0.1, 1
//! and 10 times the star's light), then for each of g r i z magnitude, error (mmag), chi (0.01) and contributors
//! (hexadecimal bits), number of outliers, then J H K with errors (mmag). What is missing is 0.

use std::collections::BTreeMap;

use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

use super::super::math;
use super::super::random::Effect;
use super::field::{Field, Source, distance};
use super::wcs::Direction;

/// r magnitude of the faintest stars in the catalogue.
const FAINTEST: f64 = 19.5;
/// Magnitudes beyond which Gaia has no astrometry and 2MASS no photometry.
const GAIA_LIMIT: f64 = 20.7;
const NEAR_INFRARED_LIMIT: f64 = 16.5;
/// Neighbours farther away than this are not looked at, arcseconds; the columns can hold no more.
const NEIGHBOURHOOD: f64 = 36.0;
/// Radius of an isolated star, 0.1 arcsec.
const ISOLATED: u32 = 999;
/// Systematic floor of the photometry, magnitudes.
const FLOOR: f64 = 0.005;

/// The catalogue's rows within `radius` arcminutes of the field's centre, sorted by right ascension, under the name of
/// the file (`rrr+dd.rc2`, a square degree) that holds them.
///
/// The stars' magnitudes and motions carry the catalogue's errors, the same in each extract of the same sky.
pub fn extract(field: &Field, radius: f64) -> BTreeMap<String, Vec<String>> {
    // Neighbours of stars at the edge lie beyond it.
    let mut sources = field.sources(field.centre, radius + NEIGHBOURHOOD / 60.0);
    sources.retain(|source| source.catalogued && source.shape.is_none());
    sources.sort_by(|one, other| one.direction.ra.total_cmp(&other.direction.ra));
    let neighbours = Neighbours::new(&sources, field.centre);
    let mut files: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (index, source) in sources.iter().enumerate() {
        let bright = source.magnitudes.r <= FAINTEST;
        if bright && distance(source.direction, field.centre) <= radius * 60.0 {
            let key = (source.direction.ra * 1e8).round() as u64;
            let mut rng = field.seeds.stream(Effect::Field, key, ((source.direction.dec + 90.0) * 1e8).round() as u64);
            let row = row(source, neighbours.radii(index), &mut rng);
            files.entry(file_name(source)).or_default().push(row);
        }
    }
    files
}

fn file_name(source: &Source) -> String {
    format!("{:03}{:+03}.rc2", source.direction.ra.floor(), source.direction.dec.floor())
}

fn row(source: &Source, radii: [u32; 3], rng: &mut impl Rng) -> String {
    let magnitudes = &source.magnitudes;
    let ri = magnitudes.r - magnitudes.i;
    let gaia = magnitudes.r - 0.05 - 0.25 * ri - 0.15 * ri * ri;
    let blue = magnitudes.g - 0.4 * (magnitudes.g - magnitudes.r);
    let red = magnitudes.i - 0.35;
    // mas: Gaia's errors grow with the photon noise.
    let astrometric = 0.04 * math::exp10(0.2 * (gaia - 15.0).max(0.0));
    let mut columns: Vec<String> = Vec::with_capacity(44);
    columns.push(integer(source.direction.ra, 1e8));
    columns.push(integer(source.direction.dec, 1e8));
    let known = gaia < GAIA_LIMIT;
    for (value, error) in [
        (source.parallax, astrometric),
        (source.proper_motion[0], 1.7 * astrometric),
        (source.proper_motion[1], 1.7 * astrometric),
    ] {
        let measured = value + error * deviate(rng);
        columns.extend(pair(known, measured, error, 100.0));
    }
    for magnitude in [gaia, blue, red] {
        columns.extend(photometry(known, magnitude, 0.001, 19.0, rng));
    }
    columns.push(integer(source.teff, 1.0));
    // No extinction of the star, neither variable nor double, no dust in front.
    columns.extend(["0", "0", "0"].map(String::from));
    columns.extend(radii.map(|radius| radius.to_string()));
    for (magnitude, contributors) in
        [(magnitudes.g, 0x7a), (magnitudes.r, 0x7e), (magnitudes.i, 0x3e), (magnitudes.z, 0x16)]
    {
        columns.extend(photometry(true, magnitude, FLOOR, 18.0, rng));
        let chi = 0.3 + 0.3 * deviate(rng).abs();
        columns.push(integer(chi, 100.0));
        columns.push(format!("{contributors:02x}"));
    }
    columns.push("0".to_string());
    for magnitude in [magnitudes.j, magnitudes.h, magnitudes.k] {
        columns.extend(photometry(magnitude < NEAR_INFRARED_LIMIT, magnitude, 0.02, 14.0, rng));
    }
    columns.join(",")
}

/// A magnitude with its error: `floor` for bright stars, twice that for those `faint`, more beyond.
fn photometry(known: bool, magnitude: f64, floor: f64, faint: f64, rng: &mut impl Rng) -> [String; 2] {
    let photons = floor * math::exp10(0.4 * (magnitude - faint));
    let error = (floor * floor + 3.0 * photons * photons).sqrt();
    let measured = magnitude + error * deviate(rng);
    pair(known, measured, error, 1000.0)
}

fn pair(known: bool, value: f64, error: f64, scale: f64) -> [String; 2] {
    if !known {
        return ["0".to_string(), "0".to_string()];
    }
    // An error of 0 would say that the value is missing.
    [integer(value, scale), integer(error.max(1.0 / scale), scale)]
}

fn integer(value: f64, scale: f64) -> String {
    ((value * scale).round() as i64).to_string()
}

fn deviate(rng: &mut impl Rng) -> f64 {
    StandardNormal.sample(rng)
}

/// Stars by place, to find who stands near whom.
struct Neighbours {
    /// Arcseconds east and north of the field's centre, and light.
    stars: Vec<[f64; 3]>,
    /// Indices of the stars in each square of the sky as wide as the neighbourhood reaches.
    squares: BTreeMap<(i64, i64), Vec<usize>>,
}

impl Neighbours {
    fn new(sources: &[Source], centre: Direction) -> Neighbours {
        let mut squares: BTreeMap<(i64, i64), Vec<usize>> = BTreeMap::new();
        let mut stars = Vec::with_capacity(sources.len());
        for (index, source) in sources.iter().enumerate() {
            let light = math::exp10(-0.4 * source.magnitudes.r);
            // All of them were found around the centre, so none is on the far side of the sky.
            let [x, y] = source.direction.seen_from(centre).unwrap_or([f64::INFINITY; 2]);
            squares.entry(Neighbours::square(x, y)).or_default().push(index);
            stars.push([x, y, light]);
        }
        Neighbours { stars, squares }
    }

    fn square(x: f64, y: f64) -> (i64, i64) {
        ((x / NEIGHBOURHOOD).floor() as i64, (y / NEIGHBOURHOOD).floor() as i64)
    }

    /// Where the neighbours of a star together have 0.1, 1 and 10 times its light, 0.1 arcsec.
    fn radii(&self, index: usize) -> [u32; 3] {
        let mut radii = [ISOLATED; 3];
        let Some(&[x, y, own]) = self.stars.get(index) else { return radii };
        let (column, row) = Neighbours::square(x, y);
        let squares = (-1..=1).flat_map(|up| (-1..=1).map(move |right| (column + right, row + up)));
        let mut near: Vec<(f64, f64)> = squares
            .filter_map(|square| self.squares.get(&square))
            .flatten()
            .filter(|&&other| other != index)
            .filter_map(|&other| self.stars.get(other))
            .map(|&[other_x, other_y, light]| {
                let (dx, dy) = (other_x - x, other_y - y);
                ((dx * dx + dy * dy).sqrt(), light)
            })
            .filter(|(distance, _)| *distance <= NEIGHBOURHOOD)
            .collect();
        near.sort_by(|one, other| one.0.total_cmp(&other.0));
        let mut together = 0.0;
        for (distance, light) in near {
            together += light;
            for (radius, limit) in radii.iter_mut().zip([0.1, 1.0, 10.0]) {
                if *radius == ISOLATED && together >= limit * own {
                    *radius = (distance * 10.0).round() as u32;
                }
            }
        }
        radii
    }
}
