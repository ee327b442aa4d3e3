//! From the sky to electrons: every source spread over pixels, on top of the sky's light.

use std::fmt::Write;

use ndarray::Array2;
use rayon::prelude::*;
use serde::Serialize;

use super::super::math;
use super::field::{Field, Shape, Source};
use super::illumination::{Fringes, by_rows, illumination};
use super::psf::{Psf, Spread};
use super::wcs::Wcs;
use super::{CameraError, CameraParams, Direction, Magnitudes, SIDE, Shot, finite};

/// Rows that one thread draws at a time.
const BAND: usize = 32;
/// Distance from the array up to which sources shine into it, pixels.
const MARGIN: f64 = 120.0;
/// Longest way of a moving object in one exposure, arcseconds: from far outside the field to far outside.
const LONGEST: f64 = 20_000.0;
/// A galaxy is drawn up to this many half-light radii.
const GALAXY_REACH: f64 = 5.0;

/// The light of one exposure.
#[derive(Clone, Debug, PartialEq)]
pub struct CameraLight {
    /// Expected electrons, rows x columns, without any noise.
    pub electrons: Array2<f32>,
    /// What went into it.
    pub truth: CameraTruth,
}

/// What went into an exposure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CameraTruth {
    /// True relation of sky and pixels.
    pub wcs: Wcs,
    /// What was asked for.
    pub shot: Shot,
    /// Magnitude that gives one electron per second in this exposure, with its air and its clouds.
    pub zero_point: f64,
    /// Width of a star's image without defocus and the like, pixels.
    pub fwhm: f64,
    /// Electrons of the sky per pixel, in the middle of the field and without fringes.
    pub sky: f64,
    /// Amplitude of the fringes relative to the sky.
    pub fringes: f64,
    /// Every source whose light can reach the array.
    pub sources: Vec<SourceTruth>,
}

/// One source of an exposure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SourceTruth {
    /// Name from the plan, or cell and number in the sky.
    pub name: String,
    /// Where it stands at the epoch of the exposure.
    pub direction: Direction,
    /// Centroid (x, y), pixels, 0-based.
    pub pixel: [f64; 2],
    /// Electrons from it, before the field's illumination takes its share.
    pub electrons: f64,
    /// Illumination at its centroid, 1 in the middle of the field.
    pub illumination: f64,
    /// Above the atmosphere.
    pub magnitudes: Magnitudes,
    /// K.
    pub teff: f64,
    /// Half-light radius of a galaxy, arcseconds; 0 for a star.
    pub half_light: f64,
    /// Whether the catalogue's extract has it, if it is bright enough.
    pub catalogued: bool,
}

impl CameraTruth {
    /// The sources as a table of comma-separated values with a header line, at full precision.
    pub fn csv(&self) -> String {
        let mut text =
            "name,ra,dec,x,y,electrons,illumination,u,g,r,i,z,y_mag,V,J,H,K,teff,half_light,catalogued\n".to_string();
        for source in &self.sources {
            let m = &source.magnitudes;
            let name = source.name.replace([',', '\n', '\r', '"'], " ");
            // Writing to a string never fails.
            let _ = writeln!(
                text,
                "{name},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}",
                source.direction.ra,
                source.direction.dec,
                source.pixel[0],
                source.pixel[1],
                source.electrons,
                source.illumination,
                m.u,
                m.g,
                m.r,
                m.i,
                m.z,
                m.y,
                m.v,
                m.j,
                m.h,
                m.k,
                source.teff,
                source.half_light,
                source.catalogued
            );
        }
        text
    }
}

/// The light that falls on the camera's pixels in one exposure of a field.
///
/// # Errors
/// Figures that the camera, the air or the sky cannot have.
pub fn expose(camera: &CameraParams, shot: &Shot, field: &Field) -> Result<CameraLight, CameraError> {
    camera.check()?;
    shot.check()?;
    let wcs = camera.wcs(field.centre, shot);
    let fwhm = shot.fwhm() / camera.scale;
    finite("shot: width of a star's image in pixels", fwhm, 1.0, 60.0)?;
    let pixels = |arcsec: f64| arcsec / camera.scale;
    let spread = Spread {
        defocus: pixels(shot.defocus),
        coma: (pixels(shot.coma), shot.coma_angle),
        trail: (pixels(shot.trail), shot.trail_angle),
    };
    let psf = Psf::new(fwhm, &spread);

    let mut truths = Vec::new();
    let mut points = Vec::new();
    let mut galaxies = Vec::new();
    for source in field.sources(wcs.reference, drawn_radius(camera)) {
        let direction = source.at(shot.epoch);
        let Some(pixel) = wcs.to_pixel(direction) else { continue };
        let rate = shot.filter.electrons(source.magnitudes.of(shot.filter), shot.airmass, shot.cloud);
        let electrons = rate * shot.exptime;
        match source.shape {
            Some(shape) if Wcs::sees(pixel, MARGIN) => {
                galaxies.push((pixel, electrons, Galaxy::new(&shape, &wcs, fwhm)));
            }
            Some(_) => continue,
            None => {
                let seen = way_points(&source, direction, &wcs, shot, fwhm, electrons)?;
                if seen.is_empty() {
                    continue;
                }
                points.extend(seen);
            }
        }
        truths.push(SourceTruth {
            name: source.name,
            direction,
            pixel,
            electrons,
            illumination: illumination(camera, pixel[0], pixel[1]),
            magnitudes: source.magnitudes,
            teff: source.teff,
            half_light: source.shape.map_or(0.0, |shape| shape.half_light),
            catalogued: source.catalogued,
        });
    }
    let patches: Vec<Patch> =
        galaxies.par_iter().map(|(pixel, electrons, galaxy)| Patch::of(&psf, *pixel, *electrons, galaxy)).collect();

    let light = draw(&psf, &points, &patches);
    let sky = shot.filter.sky_electrons(shot.sky_brighter) * shot.exptime * camera.scale * camera.scale;
    let fringes = Fringes::new(camera, shot.filter, &field.seeds);
    let electrons = by_rows(|y, row| {
        for (x, pixel) in row.iter_mut().enumerate() {
            let (column, line) = (x as f64, y as f64);
            let sky = sky * (1.0 + fringes.at(column, line));
            *pixel = ((light[(y, x)] + sky) * illumination(camera, column, line)) as f32;
        }
    });
    let zero_point = shot.filter.zero_point() - shot.filter.extinction() * shot.airmass - shot.cloud;
    let truth =
        CameraTruth { wcs, shot: shot.clone(), zero_point, fwhm, sky, fringes: fringes.amplitude, sources: truths };
    Ok(CameraLight { electrons, truth })
}

/// A point of light on the array.
struct Point {
    at: [f64; 2],
    electrons: f64,
}

/// A source as points: one if it stands still, many if it moves during the exposure. Only those near the array.
fn way_points(
    source: &Source,
    direction: Direction,
    wcs: &Wcs,
    shot: &Shot,
    fwhm: f64,
    electrons: f64,
) -> Result<Vec<Point>, CameraError> {
    let [east, north] = source.rate.map(|rate| rate / 3600.0 * shot.exptime);
    let way = (east * east + north * north).sqrt();
    if way > LONGEST {
        let key = format!("object {:?}: way during the exposure in arcseconds", source.name);
        return Err(CameraError::Parameter { key, value: way, low: 0.0, high: LONGEST });
    }
    let length = way / wcs.scale;
    let number = if length > 0.0 { (length / (0.2 * fwhm)).ceil().max(3.0) as usize } else { 1 };
    let mut points = Vec::new();
    for step in 0..number {
        let part = (step as f64 + 0.5) / number as f64 - 0.5;
        let place = direction.offset(part * east, part * north);
        if let Some(at) = wcs.to_pixel(place).filter(|&at| Wcs::sees(at, MARGIN)) {
            points.push(Point { at, electrons: electrons / number as f64 });
        }
    }
    Ok(points)
}

/// Radius around the true pointing within which sources can shine onto the array, arcminutes.
fn drawn_radius(camera: &CameraParams) -> f64 {
    let [x, y] = camera.reference.map(|at| at.max(SIDE as f64 - at) + MARGIN);
    (x * x + y * y).sqrt() * camera.scale / 60.0
}

/// Draw everything on the array. Each pixel sums its sources in their order, whatever thread draws it.
fn draw(psf: &Psf, points: &[Point], patches: &[Patch]) -> Array2<f64> {
    let placed: Vec<_> = points
        .iter()
        .map(|point| (psf.place(point.at[0], point.at[1]), psf.extent(point.electrons) as i64, point))
        .collect();
    let mut image = Array2::zeros((SIDE, SIDE));
    let Some(pixels) = image.as_slice_mut() else { return image };
    pixels.par_chunks_mut(BAND * SIDE).enumerate().for_each(|(band, pixels)| {
        for (place, extent, point) in &placed {
            let winged = psf.has_wings(point.electrons);
            for (y, row) in pixels.chunks_mut(SIDE).enumerate() {
                let y = (band * BAND + y) as i64;
                let drawn = if (y - place.row).abs() <= *extent {
                    window(place.column - extent, place.column + extent)
                } else {
                    0..0
                };
                if winged {
                    let down = y as f64 - point.at[1];
                    for (x, pixel) in row.iter_mut().enumerate().filter(|(x, _)| !drawn.contains(x)) {
                        let across = x as f64 - point.at[0];
                        *pixel += point.electrons * psf.wing(down * down + across * across);
                    }
                }
                if let Some(row) = row.get_mut(drawn.clone()).filter(|row| !row.is_empty()) {
                    place.add(point.electrons, y - place.row, drawn.start as i64 - place.column, row);
                }
            }
        }
        for patch in patches {
            for (y, row) in pixels.chunks_mut(SIDE).enumerate() {
                patch.add((band * BAND + y) as i64, row);
            }
        }
    });
    image
}

/// Columns of the array from `first` to `last`; an empty range if there are none.
fn window(first: i64, last: i64) -> std::ops::Range<usize> {
    let end = (last + 1).clamp(0, SIDE as i64) as usize;
    (first.clamp(0, SIDE as i64) as usize).min(end)..end
}

/// A galaxy's light at whole-pixel distances from its centre.
struct Galaxy {
    /// x, y, share of the light.
    light: Vec<(i64, i64, f64)>,
    /// Largest distance along an axis.
    reach: i64,
}

impl Galaxy {
    fn new(shape: &Shape, wcs: &Wcs, fwhm: f64) -> Galaxy {
        let half_light = shape.half_light / wcs.scale;
        // Points half a star's width apart make as smooth a picture as all pixels would.
        let step = if half_light > 3.0 * fwhm { (0.45 * fwhm).floor().max(1.0) as i64 } else { 1 };
        let reach = ((GALAXY_REACH * half_light).ceil() as i64).clamp(step, 400) / step * step;
        // Direction of the longer axis in pixels: to the north, then turned to the east and with the sky.
        let (sin_east, cos_east) = math::sin_cos(shape.position_angle.to_radians());
        let (sin, cos) = math::sin_cos(wcs.rotation.to_radians());
        let right = if wcs.mirrored { sin_east } else { -sin_east };
        let axis = (right * cos - cos_east * sin, right * sin + cos_east * cos);
        let steepness = 2.0 * shape.index - 1.0 / 3.0;
        let profile = |radius: f64| math::exp(-steepness * math::pow(radius, 1.0 / shape.index));
        // Fades out instead of ending at once.
        let edge = profile(GALAXY_REACH);
        let brightness = |x: f64, y: f64| {
            let (along, across) = (x * axis.0 + y * axis.1, (y * axis.0 - x * axis.1) / shape.axis_ratio);
            let radius = (along * along + across * across).sqrt() / half_light;
            (profile(radius) - edge).max(0.0)
        };
        let thirds = [-1.0, 0.0, 1.0].map(|third| third * step as f64 / 3.0);
        let mut light = Vec::new();
        for y in (-reach..=reach).step_by(step as usize) {
            for x in (-reach..=reach).step_by(step as usize) {
                let cell = thirds.iter().flat_map(|dy| thirds.iter().map(move |dx| (dx, dy)));
                let share: f64 = cell.map(|(dx, dy)| brightness(x as f64 + dx, y as f64 + dy)).sum();
                if share > 0.0 {
                    light.push((x, y, share));
                }
            }
        }
        let total: f64 = light.iter().map(|(_, _, share)| share).sum();
        for point in &mut light {
            point.2 /= total;
        }
        Galaxy { light, reach }
    }
}

/// A drawn galaxy.
struct Patch {
    /// First column and row, may lie outside the array.
    corner: [i64; 2],
    electrons: Array2<f64>,
}

impl Patch {
    fn of(psf: &Psf, at: [f64; 2], electrons: f64, galaxy: &Galaxy) -> Patch {
        let place = psf.place(at[0], at[1]);
        let extent = psf.extent(electrons) as i64;
        let star_side = (2 * extent + 1) as usize;
        let mut star = Array2::<f64>::zeros((star_side, star_side));
        for (row, mut out) in star.rows_mut().into_iter().enumerate() {
            if let Some(out) = out.as_slice_mut() {
                place.add(electrons, row as i64 - extent, -extent, out);
            }
        }
        let half = extent + galaxy.reach;
        let side = (2 * half + 1) as usize;
        let mut sum = Array2::<f64>::zeros((side, side));
        for &(x, y, share) in &galaxy.light {
            // Never negative: no point lies beyond the galaxy's reach.
            let (left, bottom) = ((x + galaxy.reach) as usize, (y + galaxy.reach) as usize);
            for (row, from) in star.rows().into_iter().enumerate() {
                let mut out = sum.row_mut(bottom + row);
                let (Some(out), Some(from)) = (out.as_slice_mut(), from.to_slice()) else { continue };
                let Some(out) = out.get_mut(left..left + star_side) else { continue };
                for (pixel, sample) in out.iter_mut().zip(from) {
                    *pixel += share * sample;
                }
            }
        }
        Patch { corner: [place.column - half, place.row - half], electrons: sum }
    }

    /// Add what falls on row `y` of the array.
    fn add(&self, y: i64, row: &mut [f64]) {
        let Ok(line) = usize::try_from(y - self.corner[1]) else { return };
        if line >= self.electrons.nrows() {
            return;
        }
        let [left, _] = self.corner;
        for (column, electrons) in (left..).zip(self.electrons.row(line)) {
            if let Some(pixel) = usize::try_from(column).ok().and_then(|column| row.get_mut(column)) {
                *pixel += electrons;
            }
        }
    }
}
