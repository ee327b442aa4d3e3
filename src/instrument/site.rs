//! Where SOXS stands: La Silla, and when the Sun sets there.

use jiff::{SignedDuration, Timestamp};

/// Geodetic latitude of the NTT, degrees, north positive.
pub const LATITUDE: f64 = -29.2567;
/// Longitude of the NTT, degrees, east positive.
pub const LONGITUDE: f64 = -70.7377;
/// Altitude of the Sun's centre when its upper limb sets: refraction and its radius, degrees.
const SETTING: f64 = -0.833;
/// Julian date of 1970-01-01T00:00 UTC.
const UNIX_JD: f64 = 2_440_587.5;
/// Julian date of J2000.0.
const J2000: f64 = 2_451_545.0;

/// The next sunset at or after a time, to about a minute: the low-precision Sun of the Astronomical Almanac, on a sphere.
pub fn next_sunset(after: Timestamp) -> Timestamp {
    let start = after.as_second() as f64 / 86400.0 + UNIX_JD - J2000;
    // Whole days since J2000 in mean solar time of the place; noon is at whole numbers.
    let first = (start + LONGITUDE / 360.0).floor();
    let sunset = [first, first + 1.0, first + 2.0].into_iter().map(sunset_of).find(|sunset| *sunset >= start);
    // One of three days in a row has a sunset after any time: the days are of 24 h and this is no polar place.
    let days = sunset.unwrap_or(start) + J2000 - UNIX_JD;
    let seconds = (days * 86400.0).round() as i64;
    after.checked_add(SignedDuration::from_secs(seconds - after.as_second())).unwrap_or(after)
}

/// Sunset of a day, days since J2000 (UTC).
fn sunset_of(day: f64) -> f64 {
    let noon = day - LONGITUDE / 360.0;
    let anomaly = (357.5291 + 0.985_600_28 * noon).to_radians();
    let centre = 1.9148 * anomaly.sin() + 0.02 * (2.0 * anomaly).sin() + 0.0003 * (3.0 * anomaly).sin();
    let longitude = anomaly + (centre + 180.0 + 102.9372_f64).to_radians();
    let transit = noon + 0.0053 * anomaly.sin() - 0.0069 * (2.0 * longitude).sin();
    let declination = (longitude.sin() * 23.44_f64.to_radians().sin()).asin();
    let latitude = LATITUDE.to_radians();
    let cosine =
        (SETTING.to_radians().sin() - latitude.sin() * declination.sin()) / (latitude.cos() * declination.cos());
    transit + cosine.clamp(-1.0, 1.0).acos().to_degrees() / 360.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time as written in this test")
    }

    #[test]
    fn the_sun_sets_when_the_almanac_says() {
        // From astropy 6 (IERS, without refraction but for the 34' of the definition), at sea level.
        for (after, sunset) in [
            ("2026-03-10T12:00:00Z", "2026-03-10T23:05:26Z"),
            ("2026-06-21T00:00:00Z", "2026-06-21T21:52:55Z"),
            ("2026-09-22T23:00:00Z", "2026-09-23T22:39:48Z"),
        ] {
            let off = next_sunset(at(after)).as_second() - at(sunset).as_second();
            assert!(off.abs() <= 120, "after {after}: {} is {off} s off", next_sunset(at(after)));
        }
    }

    #[test]
    fn the_next_sunset_is_never_before_and_at_most_a_day_and_some_minutes_after() {
        for hour in 0..2000 {
            let after = at("2026-01-01T00:00:00Z").checked_add(SignedDuration::from_mins(hour * 61)).expect("in range");
            let wait = next_sunset(after).as_second() - after.as_second();
            assert!((0..=86400 + 300).contains(&wait), "{after}: {wait} s");
        }
    }
}
