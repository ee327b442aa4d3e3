//! Rules G: what the keywords of every science file must be together.

use super::Check;
use super::subject::{Breach, Subject, is_fits_name};
use crate::fits::{FileDigests, Value};

/// The rules, by name.
pub const CHECKS: &[(&str, Check)] = &[
    ("G01", end_after_begin),
    ("G02", begin_is_a_date),
    ("G03", end_has_passed),
    ("G04", exposure_within_total),
    ("G05", total_within_span),
    ("G06", exposure_is_possible),
    ("G07", equinox_fits_frame),
    ("G08", multi_has_a_list),
    ("G09", lists_are_counted),
    ("G10", foreign_data_say_so),
    ("G11", range_is_a_range),
    ("G12", something_combined),
    ("G13", something_inside),
    ("G14", combined_are_precursors),
    ("G16", companions_are_there),
];

/// Earliest MJD that is taken for a date: 1970-01-01.
const MJD_FIRST: f64 = 40587.0;
/// Seconds of a day.
pub const DAY_S: f64 = 86_400.0;

/// A breach when the numbers of these keywords of HDU 0 are all there and not as `right` wants them.
fn numbers<const N: usize>(
    subject: &Subject<'_>,
    keywords: [&str; N],
    right: impl Fn([f64; N]) -> bool,
) -> Vec<Breach> {
    let mut values = [0.0; N];
    for (value, keyword) in values.iter_mut().zip(keywords) {
        let Some(found) = subject.real(0, keyword) else { return Vec::new() };
        *value = found;
    }
    if right(values) {
        return Vec::new();
    }
    let found: Vec<String> = values.iter().map(f64::to_string).collect();
    vec![Breach::at(0, &keywords.join(", "), found.join(", "))]
}

fn end_after_begin(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    numbers(subject, ["MJD-OBS", "MJD-END"], |[begin, end]| end >= begin)
}

fn begin_is_a_date(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    numbers(subject, ["MJD-OBS"], |[begin]| begin >= MJD_FIRST)
}

fn end_has_passed(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    numbers(subject, ["MJD-END"], |[end]| end <= subject.now_mjd)
}

fn exposure_within_total(subject: &Subject<'_>, tolerance: f64) -> Vec<Breach> {
    numbers(subject, ["EXPTIME", "TEXPTIME"], |[exposure, total]| exposure <= total + tolerance)
}

fn total_within_span(subject: &Subject<'_>, tolerance: f64) -> Vec<Breach> {
    numbers(subject, ["TEXPTIME", "MJD-OBS", "MJD-END"], |[total, begin, end]| {
        total <= (end - begin) * DAY_S + tolerance
    })
}

fn exposure_is_possible(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    numbers(subject, ["EXPTIME"], |[exposure]| exposure > 1e-15 && exposure < 1e15)
}

fn range_is_a_range(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    numbers(subject, ["WAVELMIN", "WAVELMAX"], |[min, max]| min > 0.0 && min <= max)
}

fn something_combined(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    numbers(subject, ["NCOMBINE"], |[count]| count > 0.0)
}

fn equinox_fits_frame(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    let equinox = subject.value(0, "EQUINOX");
    let is_2000 = subject.real(0, "EQUINOX") == Some(2000.0);
    let right = match subject.text(0, "RADESYS") {
        Some("FK5") => is_2000,
        Some("ICRS") => is_2000 || equinox.is_none(),
        _ => true,
    };
    if right {
        return Vec::new();
    }
    vec![Breach::at(0, "EQUINOX", equinox.map_or("absent".to_string(), Value::to_string))]
}

fn multi_has_a_list(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (keyword, prefix) in
        [("TELESCOP", "TELESC"), ("INSTRUME", "INSTR"), ("PROG_ID", "PROGID"), ("FILTER", "FILTER")]
    {
        let several = subject.text(0, keyword) == Some("MULTI");
        let mut list: Vec<String> = subject.numbers(0, prefix).iter().map(|(_, value)| value.to_string()).collect();
        let given = list.len();
        list.sort();
        list.dedup();
        let right = if several { given >= 2 && list.len() == given } else { given == 0 };
        if !right {
            let value = subject.value(0, keyword).map_or("absent".to_string(), Value::to_string);
            let found = format!("{value}, with {given} of {prefix}i, {} of them different", list.len());
            breaches.push(Breach::at(0, keyword, found));
        }
    }
    breaches
}

/// Numbers of a family as they are written, when they do not count from 1 on.
fn miscounted(subject: &Subject<'_>, prefix: &str) -> Option<Breach> {
    let mut numbers: Vec<String> = subject.numbers(0, prefix).into_iter().map(|(number, _)| number).collect();
    numbers.sort_by_key(|number| (number.parse::<u32>().unwrap_or(u32::MAX), number.len()));
    let right = numbers.iter().zip(1..).all(|(number, due): (&String, u32)| *number == due.to_string());
    (!right).then(|| Breach::at(0, &format!("{prefix}i"), format!("numbers {}", numbers.join(", "))))
}

fn lists_are_counted(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for prefix in ["OBID", "PROV", "PROGID"] {
        breaches.extend(miscounted(subject, prefix));
        let mut seen: Vec<&Value> = Vec::new();
        for (number, value) in subject.numbers(0, prefix) {
            if seen.contains(&value) {
                breaches.push(Breach::at(0, &format!("{prefix}{number}"), format!("{value}, a second time")));
            }
            seen.push(value);
        }
    }
    breaches
}

fn foreign_data_say_so(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    let Some(origin) = subject.text(0, "ORIGIN") else { return Vec::new() };
    let known = origin.starts_with("ESO") || ["APEX", "ALMA"].contains(&origin);
    if known || subject.logical(0, "NOESODAT") == Some(true) {
        return Vec::new();
    }
    vec![Breach::at(0, "ORIGIN, NOESODAT", origin)]
}

fn something_inside(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    let empty = subject.parts().iter().all(|part| part.data_bytes == 0);
    if empty { vec![Breach::file("no HDU has data")] } else { Vec::new() }
}

fn combined_are_precursors(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    let precursors = subject.numbers(0, "PROV");
    // A raw frame of ESO is called by instrument and time; a product is not.
    let is_raw = |name: &str| {
        let stem = name.strip_suffix(".fits").unwrap_or(name);
        let time = stem.split_once('.').map(|(instrument, time)| (instrument != "ADP", time));
        time.is_some_and(|(raw, time)| raw && time.len() == 23 && time.as_bytes().get(10) == Some(&b'T'))
    };
    let all_raw = !precursors.is_empty() && precursors.iter().all(|(_, name)| is_raw(&name.to_string()));
    let Some(combined) = subject.real(0, "NCOMBINE").filter(|_| all_raw) else { return Vec::new() };
    if combined == precursors.len() as f64 {
        return Vec::new();
    }
    vec![Breach::at(0, "NCOMBINE", format!("{combined}, with {} raw files", precursors.len()))]
}

fn companions_are_there(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    let mut breaches: Vec<Breach> = miscounted(subject, "ASSON").into_iter().collect();
    let folder = subject.anatomy.path.parent().unwrap_or(std::path::Path::new("."));
    let names = subject.numbers(0, "ASSON");
    for (number, name) in &names {
        let keyword = format!("ASSON{number}");
        let Value::Text(name) = name else { continue };
        let found = subject.batch.find(name, folder);
        if found.is_none() {
            breaches.push(Breach::at(0, &keyword, format!("{name}, which is not there")));
        }
        let (category, digest) = (format!("ASSOC{number}"), format!("ASSOM{number}"));
        if is_fits_name(name) {
            for extra in [&category, &digest] {
                if let Some(value) = subject.value(0, extra) {
                    breaches.push(Breach::at(0, extra, format!("{value}, for the FITS file {name}")));
                }
            }
        } else if let (Some(path), Some(said)) = (found, subject.text(0, &digest)) {
            let real = FileDigests::of(&path).map(|digests| digests.md5);
            if real.as_deref().ok() != Some(said) {
                let real = real.unwrap_or_else(|error| error.to_string());
                breaches.push(Breach::at(0, &digest, format!("{said}; {name} has {real}")));
            }
        }
    }
    for family in ["ASSOC", "ASSOM"] {
        for (number, _) in subject.numbers(0, family) {
            if !names.iter().any(|(named, _)| *named == number) {
                breaches.push(Breach::at(0, &format!("{family}{number}"), format!("no ASSON{number} goes with it")));
            }
        }
    }
    breaches
}
