//! Quiet hours: from a minute of the UTC day to another, also over midnight.

use jiff::{SignedDuration, Timestamp};

/// When the quiet hours that a time lies in end; the time itself when it lies in none.
pub(super) fn end(now: Timestamp, (from, to): (u32, u32)) -> Timestamp {
    let second = now.as_second().rem_euclid(86400);
    let (from, to) = (i64::from(from) * 60, i64::from(to) * 60);
    let since = (second - from).rem_euclid(86400);
    let length = (to - from).rem_euclid(86400);
    if since >= length {
        return now;
    }
    let whole = SignedDuration::from_nanos(i64::from(now.subsec_nanosecond()));
    now.checked_add(SignedDuration::from_secs(length - since) - whole).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_wait_for_the_end_of_the_quiet_hours_and_not_longer() {
        let ends = |now: &str, hours| end(now.parse().unwrap(), hours).to_string();
        let (day, night) = ((13 * 60, 20 * 60 + 30), (22 * 60, 6 * 60));
        assert_eq!(ends("2026-03-10T12:59:59Z", day), "2026-03-10T12:59:59Z");
        assert_eq!(ends("2026-03-10T13:00:00Z", day), "2026-03-10T20:30:00Z");
        assert_eq!(ends("2026-03-10T20:29:59.5Z", day), "2026-03-10T20:30:00Z");
        assert_eq!(ends("2026-03-10T20:30:00Z", day), "2026-03-10T20:30:00Z");
        assert_eq!(ends("2026-03-10T23:00:00Z", night), "2026-03-11T06:00:00Z");
        assert_eq!(ends("2026-03-11T05:59:00Z", night), "2026-03-11T06:00:00Z");
        assert_eq!(ends("2026-03-11T06:00:00Z", night), "2026-03-11T06:00:00Z");
    }
}
