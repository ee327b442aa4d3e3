//! Where a target stands at La Silla: plain spherical astronomy, without nutation, aberration and refraction, which are
//! below what headers show.

use jiff::Timestamp;
use serde::Serialize;

use super::math;

/// North, degrees.
pub const LATITUDE: f64 = -29.2567;
/// East, degrees.
pub const LONGITUDE: f64 = -70.7377;

/// A direction as seen from the telescope, degrees.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Place {
    /// Above the horizon.
    pub altitude: f64,
    /// From north through east, 0 to 360.
    pub azimuth: f64,
    /// Angle at the target from the celestial pole to the zenith, north through east, -180 to 180.
    pub parallactic: f64,
    /// Path through the air against the zenith (Kasten and Young 1989); that of the horizon below it.
    pub airmass: f64,
}

impl Place {
    /// The telescope at rest, looking up.
    pub const ZENITH: Place = Place { altitude: 90.0, azimuth: 0.0, parallactic: 0.0, airmass: 1.0 };

    /// Angle of the field rotator at the Nasmyth focus for a slit along the parallactic angle, -180 to 180.
    pub fn rotator(&self) -> f64 {
        wrapped(self.parallactic - self.altitude)
    }
}

/// Modified Julian Date, UTC days.
pub fn mjd(time: Timestamp) -> f64 {
    40_587.0 + time.as_microsecond() as f64 / 86_400.0e6
}

/// Sidereal time in degrees, 0 to 360.
pub fn sidereal(time: Timestamp) -> f64 {
    (280.460_618_37 + 360.985_647_366_29 * (mjd(time) - 51_544.5) + LONGITUDE).rem_euclid(360.0)
}

/// Where coordinates (degrees) stand.
pub fn place(ra: f64, dec: f64, time: Timestamp) -> Place {
    let (sin_hour, cos_hour) = math::sin_cos((sidereal(time) - ra).to_radians());
    let (sin_dec, cos_dec) = math::sin_cos(dec.to_radians());
    let (sin_lat, cos_lat) = math::sin_cos(LATITUDE.to_radians());
    let sin_altitude = (sin_lat * sin_dec + cos_lat * cos_dec * cos_hour).clamp(-1.0, 1.0);
    let altitude = math::asin(sin_altitude).to_degrees();
    let azimuth = math::atan2(-cos_dec * sin_hour, sin_dec * cos_lat - cos_dec * sin_lat * cos_hour);
    let parallactic = math::atan2(sin_hour * cos_lat, sin_lat * cos_dec - sin_dec * cos_lat * cos_hour);
    let above = altitude.max(0.0);
    let airmass = 1.0 / (sin_altitude.max(0.0) + 0.505_72 * math::pow(above + 6.079_95, -1.636_4));
    Place {
        altitude,
        azimuth: azimuth.to_degrees().rem_euclid(360.0),
        parallactic: parallactic.to_degrees(),
        airmass: airmass.max(1.0),
    }
}

fn wrapped(angle: f64) -> f64 {
    (angle + 180.0).rem_euclid(360.0) - 180.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_in_the_zenith_and_one_on_the_meridian() {
        let time = "2026-03-11T03:00:00Z".parse().expect("a time");
        let zenith = place(sidereal(time), LATITUDE, time);
        assert!((zenith.altitude - 90.0).abs() < 1e-5 && (zenith.airmass - 1.0).abs() < 1e-3, "{zenith:?}");
        // 60 degrees from the zenith towards south: airmass 2, azimuth 180.
        let south = place(sidereal(time), LATITUDE - 60.0, time);
        assert!((south.altitude - 30.0).abs() < 1e-9 && (south.azimuth - 180.0).abs() < 1e-9, "{south:?}");
        assert!((south.airmass - 2.0).abs() < 0.01, "{south:?}");
    }

    #[test]
    fn before_the_meridian_a_target_is_in_the_east_and_rises() {
        let time: Timestamp = "2026-03-11T03:00:00Z".parse().expect("a time");
        let place_of = |hours: f64| place((sidereal(time) - hours * 15.0).rem_euclid(360.0), -10.0, time);
        let (east, west) = (place_of(-2.0), place_of(2.0));
        assert!((0.0..180.0).contains(&east.azimuth) && (180.0..360.0).contains(&west.azimuth));
        assert!((east.altitude - west.altitude).abs() < 1e-9);
        assert!((east.parallactic + west.parallactic).abs() < 1e-9);
        let later = time + jiff::SignedDuration::from_mins(10);
        assert!(place((sidereal(time) + 30.0).rem_euclid(360.0), -10.0, later).altitude > east.altitude);
    }

    #[test]
    fn the_sidereal_day_is_short_by_four_minutes() {
        let time: Timestamp = "2026-03-11T03:00:00Z".parse().expect("a time");
        let next = time + jiff::SignedDuration::from_secs(86_164) + jiff::SignedDuration::from_millis(91);
        assert!((sidereal(time) - sidereal(next)).abs() < 1e-4);
    }
}
