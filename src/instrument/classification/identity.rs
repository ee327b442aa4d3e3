//! Data ids and times of exposures.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use super::rules::DataIdRule;
use crate::fits::{Header, Value};

/// Endings under which one frame can lie in a directory, lower case.
const ENDINGS: [&str; 6] = [".fits.gz", ".fits.fz", ".fits.z", ".fits", ".fit", ".fts"];

/// Form of the time in a data id: `d` stands for a digit.
const STAMP: &str = "dddd-dd-ddTdd:dd:dd.ddd";

/// The file name without a FITS ending, if it has one.
pub(super) fn stem(name: &str) -> &str {
    let ending = ENDINGS.iter().find(|ending| {
        name.len() > ending.len()
            && name.get(name.len() - ending.len()..).is_some_and(|tail| tail.eq_ignore_ascii_case(ending))
    });
    ending.and_then(|ending| name.get(..name.len() - ending.len())).unwrap_or(name)
}

/// The text without a FITS ending, when it is an archive name.
pub(super) fn as_data_id<'a>(rule: &DataIdRule, text: &'a str) -> Option<&'a str> {
    let candidate = stem(text);
    let stamp = candidate.strip_prefix(rule.prefix.as_str())?;
    let fits = stamp.len() == STAMP.len()
        && stamp.bytes().zip(STAMP.bytes()).all(|(found, form)| match form {
            b'd' => found.is_ascii_digit(),
            separator => found == separator,
        });
    (fits && parse_time(stamp).is_some()).then_some(candidate)
}

/// The start of the exposure that a data id names.
pub(super) fn time_of_data_id(rule: &DataIdRule, data_id: &str) -> Option<Timestamp> {
    data_id.strip_prefix(rule.prefix.as_str()).and_then(parse_time)
}

/// The data id of an exposure that started then, cut to the millisecond.
pub(super) fn data_id_from_time(rule: &DataIdRule, time: Timestamp) -> String {
    format!("{}{}", rule.prefix, time.strftime("%Y-%m-%dT%H:%M:%S.%3f"))
}

/// See [`super::Classification::data_id_of`].
pub(super) fn data_id_of(rule: &DataIdRule, date_keyword: &str, name: &str, header: &Header) -> Option<String> {
    if let Some(id) = as_data_id(rule, name) {
        return Some(id.to_string());
    }
    if let Some(Value::Text(text)) = header.get(&rule.keyword)
        && let Some(id) = as_data_id(rule, text.trim())
    {
        return Some(id.to_string());
    }
    match header.get(date_keyword) {
        Some(Value::Text(text)) => parse_time(text).map(|time| data_id_from_time(rule, time)),
        _ => None,
    }
}

/// A date and time in UT as headers write it: `2026-03-10T19:00:42.000`. Blanks around it, a blank for the `T` and a
/// trailing `Z` are forgiven; a date without a time is not a time.
pub(super) fn parse_time(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let text = text.strip_suffix(['Z', 'z']).unwrap_or(text);
    // The shortest form that names minutes; jiff would take a bare date for midnight.
    if text.len() < "2026-03-10T19:00".len() || !text.is_ascii() {
        return None;
    }
    let time: DateTime = text.parse().ok()?;
    time.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// Modified Julian date in UTC days.
pub(super) fn mjd(time: Timestamp) -> f64 {
    const UNIX_EPOCH_MJD: f64 = 40_587.0;
    UNIX_EPOCH_MJD + time.as_microsecond() as f64 / 86_400.0e6
}
