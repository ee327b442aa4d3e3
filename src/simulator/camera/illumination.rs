//! How evenly the camera's pixels are lit: the round field, the loss towards its edge, the hole in the slit mirror, the
//! fringes in the sky's light, and the flat that twilight makes of it.

use ndarray::Array2;
use rand::RngExt;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::super::math;
use super::super::random::{Effect, Seeds};
use super::{CameraError, CameraParams, Filter, SIDE, finite};

const CENTRE: f64 = (SIDE as f64 - 1.0) / 2.0;
/// Identifies the camera among the streams of fixed patterns.
const FRINGES: u64 = 0xACC0;

/// A rectangular hole in the mirror that sends the field to the camera: light in it goes to the spectrographs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hole {
    /// Middle of the hole (x, y), pixels, 0-based.
    pub centre: [f64; 2],
    /// Along x and y, arcseconds: a slit of 1 x 12 unless said otherwise.
    pub size: [f64; 2],
}

impl Default for Hole {
    fn default() -> Hole {
        Hole { centre: [523.5, 502.5], size: [1.0, 12.0] }
    }
}

impl Hole {
    pub(super) fn check(&self) -> Result<(), CameraError> {
        for at in self.centre {
            finite("camera: hole: centre", at, -(SIDE as f64), 2.0 * SIDE as f64)?;
        }
        for length in self.size {
            finite("camera: hole: size", length, 0.0, 300.0)?;
        }
        Ok(())
    }

    /// Part of the pixel at (x, y) that the hole covers.
    fn covers(&self, scale: f64, x: f64, y: f64) -> f64 {
        let overlap = |at: f64, centre: f64, length: f64| {
            let half = length / scale / 2.0;
            ((at + 0.5).min(centre + half) - (at - 0.5).max(centre - half)).max(0.0)
        };
        overlap(x, self.centre[0], self.size[0]) * overlap(y, self.centre[1], self.size[1])
    }
}

/// A flat field in the twilight.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Twilight {
    /// Electrons in the middle of the field.
    pub level: f64,
    /// Relative change of the sky's brightness across the array.
    pub gradient: f64,
    /// Where the sky is brightest, degrees from x towards y.
    pub gradient_angle: f64,
}

impl Default for Twilight {
    fn default() -> Twilight {
        Twilight { level: 25_000.0, gradient: 0.01, gradient_angle: 30.0 }
    }
}

/// Share of the light that reaches a place (x, y) of the array, 0-based pixels. 1 in the middle of the field.
pub(super) fn illumination(camera: &CameraParams, x: f64, y: f64) -> f64 {
    let (dx, dy) = (x - CENTRE, y - CENTRE);
    let radius = (dx * dx + dy * dy).sqrt() * camera.scale;
    let part = radius / (camera.field / 2.0);
    let inner = camera.field / 2.0 - camera.edge / 2.0;
    let step = ((radius - inner) / camera.edge).clamp(0.0, 1.0);
    let through = 1.0 - (1.0 - camera.beyond) * step * step * (3.0 - 2.0 * step);
    let hole = camera.hole.map_or(0.0, |hole| hole.covers(camera.scale, x, y));
    (1.0 - camera.roll_off * part * part).max(0.0) * through * (1.0 - hole)
}

/// The light of a twilight flat: electrons, rows x columns.
///
/// # Errors
/// Figures that the camera or the sky cannot have.
pub fn twilight(
    camera: &CameraParams,
    flat: &Twilight,
    filter: Filter,
    seeds: &Seeds,
) -> Result<Array2<f32>, CameraError> {
    camera.check()?;
    finite("twilight: level", flat.level, 0.0, 1e7)?;
    finite("twilight: gradient", flat.gradient, -1.0, 1.0)?;
    finite("twilight: gradient_angle", flat.gradient_angle, -360.0, 360.0)?;
    let fringes = Fringes::new(camera, filter, seeds);
    let (sin, cos) = math::sin_cos(flat.gradient_angle.to_radians());
    Ok(by_rows(|y, row| {
        for (x, pixel) in row.iter_mut().enumerate() {
            let (x, y) = (x as f64, y as f64);
            let slope = 1.0 + flat.gradient * ((x - CENTRE) * cos + (y - CENTRE) * sin) / SIDE as f64;
            // Twilight is continuous light, which hardly makes fringes; a tenth of those of the airglow remains.
            let light = slope * (1.0 + 0.1 * fringes.at(x, y));
            *pixel = (flat.level * light * illumination(camera, x, y)) as f32;
        }
    }))
}

/// Make an image row by row.
pub(super) fn by_rows(fill: impl Fn(usize, &mut [f32]) + Sync) -> Array2<f32> {
    let mut image = Array2::zeros((SIDE, SIDE));
    // A new array is in standard layout.
    if let Some(pixels) = image.as_slice_mut() {
        pixels.par_chunks_mut(SIDE).enumerate().for_each(|(y, row)| fill(y, row));
    }
    image
}

/// Interference of the sky's lines in the thin detector: the same pattern in all frames of a detector.
pub(super) struct Fringes {
    /// Relative to the sky's light.
    pub amplitude: f64,
    /// Thickness in wavelengths: 1, x, y, xx, xy, yy, with x and y from -1 to 1 over the array.
    thickness: [f64; 6],
}

impl Fringes {
    pub fn new(camera: &CameraParams, filter: Filter, seeds: &Seeds) -> Fringes {
        let mut rng = seeds.stream(Effect::Detector, FRINGES, 0);
        let thickness = [1.0, 5.0, 5.0, 7.0, 7.0, 7.0].map(|waves| waves * (2.0 * rng.random::<f64>() - 1.0));
        Fringes { amplitude: camera.fringes * filter.fringes(), thickness }
    }

    pub fn at(&self, x: f64, y: f64) -> f64 {
        if self.amplitude == 0.0 {
            return 0.0;
        }
        let (x, y) = ((x - CENTRE) / CENTRE, (y - CENTRE) / CENTRE);
        let [constant, a, b, aa, ab, bb] = self.thickness;
        let waves = constant + a * x + b * y + aa * x * x + ab * x * y + bb * y * y;
        self.amplitude * math::sin_cos(std::f64::consts::TAU * waves).0
    }
}
