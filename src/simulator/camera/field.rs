//! What stands in the sky: stars and galaxies that are the same on every visit, and what a plan adds to them.
//!
//! The sky is cut into small cells, each with its own random stream, so that two pointings that overlap see the same
//! stars. Counts follow the galactic latitude. Positions are those of the catalogue's epoch.

use std::collections::BTreeMap;

use rand::RngExt;
use rand_distr::{Distribution, Poisson, StandardNormal};
use serde::{Deserialize, Serialize};

use super::super::math;
use super::super::random::{Effect, Seeds};
use super::filters::Filter;
use super::locus::{Magnitudes, Spectrum};
use super::wcs::{Direction, turned};
use super::{CameraError, finite};

/// Epoch of the catalogue's positions, Julian years.
pub const CATALOGUE_EPOCH: f64 = 2015.5;

/// Bands of declination in the sky; cells are about as wide as high: 0.1 degrees.
const BANDS: u64 = 1800;
/// Area of the camera's round field of 3.5 arcmin, square arcminutes.
const FIELD_AREA: f64 = 9.62;
/// Growth of star counts, decades per magnitude.
const STAR_SLOPE: f64 = 0.24;
/// r magnitude of the brightest star that chance puts into the sky.
const BRIGHTEST: f64 = 9.0;
/// Galaxies: decades per magnitude, number per square arcminute brighter than r = 20, and the brightest.
const GALAXIES: (f64, f64, f64) = (0.45, 0.2, 14.5);
/// Share of halo stars; motion of disc and halo stars along each axis, km/s.
const HALO: f64 = 0.1;
const MOTION: (f64, f64) = (30.0, 120.0);
/// km/s of one astronomical unit per year.
const AU_PER_YEAR: f64 = 4.740_470_5;

/// What stands in the field of the camera.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FieldParams {
    /// The science target.
    pub target: Option<Object>,
    /// Other objects.
    pub objects: Vec<Object>,
    /// Mean number of field stars brighter than r = 19 in the round field; by the galactic latitude if not given.
    pub stars: Option<f64>,
    /// Whether galaxies stand among the stars.
    pub galaxies: bool,
    /// r magnitude of the faintest field stars and galaxies.
    pub faintest: f64,
}

impl Default for FieldParams {
    fn default() -> FieldParams {
        FieldParams { target: None, objects: Vec::new(), stars: None, galaxies: true, faintest: 21.5 }
    }
}

/// An object that a plan puts into the sky.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Object {
    /// How the truth calls it.
    pub name: String,
    /// Arcseconds east and north of the field's centre, at the catalogue's epoch; for a moving object at the middle of
    /// the exposure.
    pub offset: [f64; 2],
    /// AB magnitude in r.
    pub magnitude: f64,
    /// Effective temperature, K: sets the colours.
    pub teff: f64,
    /// Magnitudes in single filters, instead of those that follow from the colours.
    pub magnitudes: BTreeMap<Filter, f64>,
    /// Proper motion in right ascension (times cos dec) and declination, mas per year.
    pub proper_motion: [f64; 2],
    /// Motion east and north during the exposure, arcseconds per hour. Only points of light move.
    pub rate: [f64; 2],
    /// For a galaxy.
    pub shape: Option<Shape>,
    /// Whether the catalogue knows it.
    pub catalogued: bool,
}

impl Default for Object {
    fn default() -> Object {
        Object {
            name: "target".to_string(),
            offset: [0.0; 2],
            magnitude: 17.0,
            teff: 5770.0,
            magnitudes: BTreeMap::new(),
            proper_motion: [0.0; 2],
            rate: [0.0; 2],
            shape: None,
            catalogued: false,
        }
    }
}

/// The light of a galaxy: a Sersic profile on ellipses.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shape {
    /// Half of the light lies within this ellipse, whose longer half axis is given: arcseconds.
    pub half_light: f64,
    /// Shorter over longer axis.
    pub axis_ratio: f64,
    /// Of the longer axis, degrees from north to east.
    pub position_angle: f64,
    /// Index of the profile: 1 for a disc, 4 for a bulge.
    pub index: f64,
}

impl Default for Shape {
    fn default() -> Shape {
        Shape { half_light: 1.5, axis_ratio: 0.7, position_angle: 0.0, index: 1.0 }
    }
}

/// Something that shines.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Name from the plan; those of the sky carry their cell and their number in it.
    pub name: String,
    /// At the catalogue's epoch.
    pub direction: Direction,
    /// Parallax, mas. Positions don't swing with it.
    pub parallax: f64,
    /// Proper motion in right ascension (times cos dec) and declination, mas per year.
    pub proper_motion: [f64; 2],
    /// Motion east and north during the exposure, arcseconds per hour.
    pub rate: [f64; 2],
    /// Above the atmosphere.
    pub magnitudes: Magnitudes,
    /// K; of a star with its colours.
    pub teff: f64,
    /// None for a star.
    pub shape: Option<Shape>,
    /// Whether the catalogue knows it.
    pub catalogued: bool,
}

impl Source {
    /// Where it stands at an epoch in Julian years.
    pub fn at(&self, epoch: f64) -> Direction {
        let arcsec = (epoch - CATALOGUE_EPOCH) / 1000.0;
        self.direction.offset(self.proper_motion[0] * arcsec, self.proper_motion[1] * arcsec)
    }
}

/// The sky around a pointing.
#[derive(Clone, Debug)]
pub struct Field {
    /// What the telescope was asked to point at.
    pub centre: Direction,
    params: FieldParams,
    pub(super) seeds: Seeds,
}

impl Field {
    /// The sky around `centre`.
    ///
    /// # Errors
    /// Coordinates or figures that nothing in the sky can have.
    pub fn new(centre: Direction, params: FieldParams, seeds: Seeds) -> Result<Field, CameraError> {
        finite("field: ra", centre.ra, -360.0, 360.0)?;
        finite("field: dec", centre.dec, -90.0, 90.0)?;
        finite("field: faintest", params.faintest, BRIGHTEST, 24.0)?;
        finite("field: stars", params.stars.unwrap_or(0.0), 0.0, 10_000.0)?;
        for object in params.target.iter().chain(&params.objects) {
            object.check()?;
        }
        let centre = Direction { ra: turned(centre.ra), ..centre };
        Ok(Field { centre, params, seeds })
    }

    /// Everything within `radius` arcminutes of a direction, at the catalogue's epoch: first the target, then the other
    /// objects of the plan (wherever they are), then what chance put into the sky.
    pub fn sources(&self, around: Direction, radius: f64) -> Vec<Source> {
        let planned = self.params.target.iter().chain(&self.params.objects);
        let mut sources: Vec<Source> = planned.map(|object| object.source(self.centre)).collect();
        for (band, cell) in cells(around, radius / 60.0) {
            let drawn = self.cell(band, cell);
            sources.extend(drawn.into_iter().filter(|source| distance(source.direction, around) <= radius * 60.0));
        }
        sources
    }

    fn cell(&self, band: u64, cell: u64) -> Vec<Source> {
        let corners = Corners::of(band, cell);
        let latitude = corners.middle().galactic_latitude().abs();
        let area = corners.area();
        let key = band << 32 | cell;
        let mut sources = Vec::new();

        let density = self.params.stars.map_or_else(|| stars_per_arcmin2(latitude), |stars| stars / FIELD_AREA);
        let total = density * area * math::exp10(STAR_SLOPE * (self.params.faintest - 19.0));
        let mut rng = self.seeds.stream(Effect::Field, key, 0);
        for number in 0..count(total, &mut rng) {
            let direction = corners.draw(&mut rng);
            let r = self.magnitude(STAR_SLOPE, BRIGHTEST, &mut rng);
            let spectrum = Spectrum::draw(r, &mut rng);
            let parsec = math::exp10((r - spectrum.absolute + 5.0) / 5.0);
            let motion = if rng.random::<f64>() < HALO { MOTION.1 } else { MOTION.0 };
            let mut along = || {
                let deviate: f64 = StandardNormal.sample(&mut rng);
                1000.0 * motion * deviate / (AU_PER_YEAR * parsec)
            };
            sources.push(Source {
                name: format!("star {band}-{cell}-{number}"),
                direction,
                parallax: 1000.0 / parsec,
                proper_motion: [along(), along()],
                rate: [0.0; 2],
                magnitudes: spectrum.magnitudes(r),
                teff: spectrum.teff,
                shape: None,
                catalogued: true,
            });
        }

        if self.params.galaxies {
            let (slope, brighter_than_20, brightest) = GALAXIES;
            // Dust hides them in the plane.
            let seen = 1.0 - math::exp(-latitude / 15.0);
            let total = brighter_than_20 * seen * area * math::exp10(slope * (self.params.faintest - 20.0));
            let mut rng = self.seeds.stream(Effect::Field, key, 1);
            for number in 0..count(total, &mut rng) {
                let direction = corners.draw(&mut rng);
                let r = self.magnitude(slope, brightest, &mut rng);
                let [teff, size, ratio, angle]: [f64; 4] = std::array::from_fn(|_| rng.random());
                let teff = 4200.0 + 1300.0 * teff;
                let shape = Shape {
                    half_light: math::exp10(-0.12 * (r - 18.0)) * (1.0 + 2.0 * size),
                    axis_ratio: 0.3 + 0.7 * ratio,
                    position_angle: 180.0 * angle,
                    index: if teff < 4700.0 { 4.0 } else { 1.0 },
                };
                sources.push(Source {
                    name: format!("galaxy {band}-{cell}-{number}"),
                    direction,
                    parallax: 0.0,
                    proper_motion: [0.0; 2],
                    rate: [0.0; 2],
                    magnitudes: Spectrum::of(teff).magnitudes(r),
                    teff,
                    shape: Some(shape),
                    catalogued: false,
                });
            }
        }
        sources
    }

    /// A magnitude between `brightest` and the faintest of the field, for counts that grow with `slope`.
    fn magnitude(&self, slope: f64, brightest: f64, rng: &mut impl rand::Rng) -> f64 {
        let rank: f64 = rng.random();
        (self.params.faintest + math::log10(1.0 - rank) / slope).max(brightest)
    }
}

impl Object {
    fn source(&self, centre: Direction) -> Source {
        let spectrum = Spectrum::of(self.teff);
        let mut magnitudes = spectrum.magnitudes(self.magnitude);
        for (&filter, &magnitude) in &self.magnitudes {
            magnitudes.set(filter, magnitude);
        }
        Source {
            name: self.name.clone(),
            direction: centre.offset(self.offset[0], self.offset[1]),
            parallax: 0.0,
            proper_motion: self.proper_motion,
            rate: self.rate,
            magnitudes,
            teff: self.teff,
            shape: self.shape,
            catalogued: self.catalogued,
        }
    }

    fn check(&self) -> Result<(), CameraError> {
        let what = |key: &str| format!("object {:?}: {key}", self.name);
        for (key, values, limit) in
            [("offset", self.offset, 1800.0), ("proper_motion", self.proper_motion, 20_000.0), ("rate", self.rate, 1e6)]
        {
            for value in values {
                finite(&what(key), value, -limit, limit)?;
            }
        }
        finite(&what("magnitude"), self.magnitude, -2.0, 40.0)?;
        for &magnitude in self.magnitudes.values() {
            finite(&what("magnitudes"), magnitude, -2.0, 40.0)?;
        }
        finite(&what("teff"), self.teff, 1000.0, 200_000.0)?;
        if let Some(shape) = self.shape {
            if self.rate != [0.0; 2] {
                return Err(CameraError::MovingGalaxy { name: self.name.clone() });
            }
            finite(&what("shape: half_light"), shape.half_light, 0.05, 30.0)?;
            finite(&what("shape: axis_ratio"), shape.axis_ratio, 0.05, 1.0)?;
            finite(&what("shape: position_angle"), shape.position_angle, -360.0, 360.0)?;
            finite(&what("shape: index"), shape.index, 0.5, 6.0)?;
        }
        Ok(())
    }
}

/// Stars brighter than r = 19 per square arcminute: 6 in the camera's field at the poles, 30 at 20 degrees, 340 in the
/// plane.
fn stars_per_arcmin2(latitude: f64) -> f64 {
    0.55 + 34.0 * math::exp(-latitude / 7.5) + math::exp(-latitude / 25.0)
}

fn count(mean: f64, rng: &mut impl rand::Rng) -> u64 {
    // Without a mean there is no distribution, and nothing to count.
    Poisson::new(mean).map_or(0, |poisson| poisson.sample(rng) as u64)
}

/// Angle between two directions in arcseconds, as far as the tangent plane reaches.
pub(super) fn distance(one: Direction, other: Direction) -> f64 {
    one.seen_from(other).map_or(f64::INFINITY, |[x, y]| (x * x + y * y).sqrt())
}

/// Limits of a cell, degrees.
struct Corners {
    ra: (f64, f64),
    dec: (f64, f64),
}

impl Corners {
    fn of(band: u64, cell: u64) -> Corners {
        let step = 180.0 / BANDS as f64;
        let dec = (band as f64 * step - 90.0, (band + 1) as f64 * step - 90.0);
        let width = 360.0 / cells_in(band) as f64;
        Corners { ra: (cell as f64 * width, (cell + 1) as f64 * width), dec }
    }

    fn middle(&self) -> Direction {
        Direction { ra: (self.ra.0 + self.ra.1) / 2.0, dec: (self.dec.0 + self.dec.1) / 2.0 }
    }

    fn sines(&self) -> (f64, f64) {
        (math::sin_cos(self.dec.0.to_radians()).0, math::sin_cos(self.dec.1.to_radians()).0)
    }

    /// Square arcminutes.
    fn area(&self) -> f64 {
        let (bottom, top) = self.sines();
        (self.ra.1 - self.ra.0) * (top - bottom).to_degrees() * 3600.0
    }

    fn draw(&self, rng: &mut impl rand::Rng) -> Direction {
        let (bottom, top) = self.sines();
        let (along, up): (f64, f64) = (rng.random(), rng.random());
        Direction {
            ra: self.ra.0 + along * (self.ra.1 - self.ra.0),
            dec: math::asin(bottom + up * (top - bottom)).to_degrees(),
        }
    }
}

fn cells_in(band: u64) -> u64 {
    let middle = (band as f64 + 0.5) * 180.0 / BANDS as f64 - 90.0;
    let (_, cos) = math::sin_cos(middle.to_radians());
    ((2 * BANDS) as f64 * cos).round().max(1.0) as u64
}

/// Cells that a circle (radius in degrees) may touch, each once.
fn cells(around: Direction, radius: f64) -> Vec<(u64, u64)> {
    let per_degree = BANDS as f64 / 180.0;
    let band_of = |dec: f64| (((dec + 90.0) * per_degree).floor().max(0.0) as u64).min(BANDS - 1);
    let mut touched = Vec::new();
    for band in band_of(around.dec - radius)..=band_of(around.dec + radius) {
        let number = cells_in(band);
        // The smaller circle of the two that limit the band is the one on which the radius spans most cells.
        let widest = (around.dec.abs() + radius + 180.0 / BANDS as f64).min(90.0);
        let (_, cos) = math::sin_cos(widest.to_radians());
        let width = 360.0 / number as f64;
        let reach = (radius / cos.max(1e-9) / width).ceil() as u64 + 1;
        if 2 * reach + 1 >= number {
            touched.extend((0..number).map(|cell| (band, cell)));
            continue;
        }
        let middle = (turned(around.ra) / width).floor() as u64;
        touched.extend((0..=2 * reach).map(|step| (band, (middle + number + step - reach) % number)));
    }
    touched
}
