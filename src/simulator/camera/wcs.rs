//! Where a direction in the sky falls on the detector: gnomonic projection, rotation, parity, radial distortion.

use serde::{Deserialize, Serialize};

use super::super::math;
use super::SIDE;

const ARCSEC: f64 = 1.0 / 3600.0;
/// Middle of the array, 0-based.
const CENTRE: f64 = (SIDE as f64 - 1.0) / 2.0;
/// From the middle of the array to its corner, pixels.
const CORNER: f64 = std::f64::consts::SQRT_2 * SIDE as f64 / 2.0;

/// A direction in the sky.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Direction {
    /// Right ascension, degrees, ICRS.
    pub ra: f64,
    /// Declination, degrees, ICRS.
    pub dec: f64,
}

impl Direction {
    /// The direction `east` and `north` arcseconds from this one, measured in its tangent plane.
    pub fn offset(self, east: f64, north: f64) -> Direction {
        let (sin_ra, cos_ra) = math::sin_cos(self.ra.to_radians());
        let (sin_dec, cos_dec) = math::sin_cos(self.dec.to_radians());
        let (xi, eta) = ((east * ARCSEC).to_radians(), (north * ARCSEC).to_radians());
        // Unit vectors: here, to the east, to the north.
        Direction::of([
            cos_dec * cos_ra - xi * sin_ra - eta * sin_dec * cos_ra,
            cos_dec * sin_ra + xi * cos_ra - eta * sin_dec * sin_ra,
            sin_dec + eta * cos_dec,
        ])
    }

    /// Where this direction lies in the tangent plane of `centre`, arcseconds east and north; none for the far half of
    /// the sky.
    pub fn seen_from(self, centre: Direction) -> Option<[f64; 2]> {
        let (sin_ra, cos_ra) = math::sin_cos((self.ra - centre.ra).to_radians());
        let (sin_dec, cos_dec) = math::sin_cos(self.dec.to_radians());
        let (sin_dec0, cos_dec0) = math::sin_cos(centre.dec.to_radians());
        let depth = sin_dec * sin_dec0 + cos_dec * cos_dec0 * cos_ra;
        if depth <= 1e-6 {
            return None;
        }
        let (xi, eta) = (cos_dec * sin_ra / depth, (sin_dec * cos_dec0 - cos_dec * sin_dec0 * cos_ra) / depth);
        Some([xi.to_degrees() / ARCSEC, eta.to_degrees() / ARCSEC])
    }

    /// Galactic latitude, degrees.
    pub fn galactic_latitude(self) -> f64 {
        const POLE: Direction = Direction { ra: 192.85948, dec: 27.12825 };
        let (sin_dec, cos_dec) = math::sin_cos(self.dec.to_radians());
        let (sin_pole, cos_pole) = math::sin_cos(POLE.dec.to_radians());
        let (_, cos_ra) = math::sin_cos((self.ra - POLE.ra).to_radians());
        math::asin((sin_dec * sin_pole + cos_dec * cos_pole * cos_ra).clamp(-1.0, 1.0)).to_degrees()
    }

    fn of([x, y, z]: [f64; 3]) -> Direction {
        let ra = math::atan2(y, x).to_degrees();
        Direction { ra: turned(ra), dec: math::atan2(z, (x * x + y * y).sqrt()).to_degrees() }
    }
}

/// A right ascension from 0 to below 360 degrees.
pub(super) fn turned(ra: f64) -> f64 {
    let ra = ra.rem_euclid(360.0);
    // The remainder of a tiny negative angle rounds to the whole turn.
    if ra < 360.0 { ra } else { 0.0 }
}

/// The true relation of sky and pixels in one exposure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wcs {
    /// Direction of the reference pixel.
    pub reference: Direction,
    /// Reference pixel (x, y), 0-based. FITS counts from 1.
    pub pixel: [f64; 2],
    /// Arcseconds per pixel.
    pub scale: f64,
    /// Degrees by which the sky is turned in the image, from x towards y. At zero north is up.
    pub rotation: f64,
    /// False: east is left when north is up, as seen in the sky. True: east is right.
    pub mirrored: bool,
    /// Radial distortion at the corner of the array, pixels; outwards if positive. Cubic in the distance from the middle.
    pub distortion: f64,
}

impl Wcs {
    /// Pixel (x, y), 0-based, of a direction; none for the far half of the sky.
    pub fn to_pixel(&self, direction: Direction) -> Option<[f64; 2]> {
        let [xi, eta] = direction.seen_from(self.reference)?;
        let (sin, cos) = math::sin_cos(self.rotation.to_radians());
        let (right, up) = (if self.mirrored { xi } else { -xi } / self.scale, eta / self.scale);
        let plane = [self.pixel[0] + right * cos - up * sin, self.pixel[1] + right * sin + up * cos];
        let (dx, dy) = (plane[0] - CENTRE, plane[1] - CENTRE);
        let stretch = 1.0 + self.cubic() * (dx * dx + dy * dy);
        Some([CENTRE + dx * stretch, CENTRE + dy * stretch])
    }

    /// Direction that falls on a pixel (x, y), 0-based.
    pub fn to_sky(&self, [x, y]: [f64; 2]) -> Direction {
        let (dx, dy) = (x - CENTRE, y - CENTRE);
        let shrink = 1.0 / (1.0 + self.cubic() * self.undistorted_square(dx * dx + dy * dy));
        let (dx, dy) = (CENTRE + dx * shrink - self.pixel[0], CENTRE + dy * shrink - self.pixel[1]);
        let (sin, cos) = math::sin_cos(self.rotation.to_radians());
        let (right, up) = (dx * cos + dy * sin, dy * cos - dx * sin);
        let xi = if self.mirrored { right } else { -right } * self.scale;
        self.reference.offset(xi, up * self.scale)
    }

    /// The CD matrix of a FITS header, degrees per pixel: rows east and north, columns x and y. Distortion is not in it.
    pub fn cd(&self) -> [[f64; 2]; 2] {
        let (sin, cos) = math::sin_cos(self.rotation.to_radians());
        let step = self.scale * ARCSEC;
        let east = if self.mirrored { step } else { -step };
        [[east * cos, east * sin], [-step * sin, step * cos]]
    }

    /// Whether light of a place in the image, or within `margin` pixels around it, can fall on the array.
    pub fn sees([x, y]: [f64; 2], margin: f64) -> bool {
        let inside = |at: f64| at > -0.5 - margin && at < SIDE as f64 - 0.5 + margin;
        inside(x) && inside(y)
    }

    fn cubic(&self) -> f64 {
        self.distortion / (CORNER * CORNER * CORNER)
    }

    /// Square of the distance r that distortion carried to the given square, by Newton steps on r + c r^3.
    fn undistorted_square(&self, distorted_square: f64) -> f64 {
        let (cubic, distorted) = (self.cubic(), distorted_square.sqrt());
        let mut r = distorted;
        for _ in 0..8 {
            r -= (r + cubic * r * r * r - distorted) / (1.0 + 3.0 * cubic * r * r);
        }
        r * r
    }
}
