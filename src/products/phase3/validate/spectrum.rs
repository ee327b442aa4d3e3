//! Rules S: a spectrum, its two headers and its columns.

use super::super::context::median;
use super::Check;
use super::cells::{Cell, form_of};
use super::general::DAY_S;
use super::subject::{Breach, Subject};

/// The rules, by name.
pub const CHECKS: &[(&str, Check)] = &[
    ("S01", two_units),
    ("S02", position_agrees),
    ("S03", object_agrees),
    ("S04", elapsed_is_the_span),
    ("S05", elapsed_holds_total),
    ("S06", mid_time),
    ("S07", mid_range),
    ("S08", range_length),
    ("S09", flux_error_fits),
    ("S10", total_flux_is_calibrated),
    ("S11", axis_increases),
    ("S12", no_infinity),
    ("S13", step_is_typical),
    ("S14", range_inside_axis),
    ("S15", ends_of_axis),
    ("S16", one_unit),
    ("S17", equal_cells),
    ("S18", column_names),
    ("S19", utypes),
    ("S20", background_as_flux),
    ("S21", normalised_has_no_unit),
    ("S22", title),
    ("S23", resolution_and_aperture),
    ("S24", wavelength_error),
    ("S25", signal_to_noise),
];

fn two_units(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    let count = subject.parts().len();
    let right = count == 2 || count == 3 && subject.text(2, "EXTNAME") == Some("PHASE3PROVENANCE");
    if right { Vec::new() } else { vec![Breach::file(format!("{count} HDUs"))] }
}

fn position_agrees(subject: &Subject<'_>, tolerance: f64) -> Vec<Breach> {
    let differs = |keyword: &&str| {
        let pair = subject.real(0, keyword).zip(subject.real(1, keyword));
        // A degree on the sky has its own rounding.
        pair.filter(|(first, second)| (first - second).abs() > tolerance * (1.0 + 1e-6))
    };
    let pairs = ["RA", "DEC"].into_iter().filter_map(|keyword| Some((keyword, differs(&keyword)?)));
    pairs.map(|(keyword, (first, second))| Breach::at(1, keyword, format!("{second}, HDU 0 has {first}"))).collect()
}

fn object_agrees(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    match (subject.text(0, "OBJECT"), subject.text(1, "OBJECT")) {
        (Some(first), Some(second)) if first != second => {
            vec![Breach::at(1, "OBJECT", format!("{second}, HDU 0 has {first}"))]
        }
        _ => Vec::new(),
    }
}

/// MJD-OBS and MJD-END.
fn span(subject: &Subject<'_>) -> Option<(f64, f64)> {
    subject.real(0, "MJD-OBS").zip(subject.real(0, "MJD-END"))
}

/// A breach when a number of HDU 1 is further from what it should be than the tolerance.
fn near(subject: &Subject<'_>, keyword: &str, due: Option<f64>, tolerance: f64) -> Vec<Breach> {
    let Some((found, due)) = subject.real(1, keyword).zip(due) else { return Vec::new() };
    if (found - due).abs() <= tolerance {
        return Vec::new();
    }
    vec![Breach::at(1, keyword, format!("{found} instead of {due}"))]
}

fn elapsed_is_the_span(subject: &Subject<'_>, tolerance: f64) -> Vec<Breach> {
    near(subject, "TELAPSE", span(subject).map(|(begin, end)| (end - begin) * DAY_S), tolerance)
}

fn elapsed_holds_total(subject: &Subject<'_>, tolerance: f64) -> Vec<Breach> {
    match subject.real(1, "TELAPSE").zip(subject.real(0, "TEXPTIME")) {
        Some((elapsed, total)) if elapsed < total - tolerance => {
            vec![Breach::at(1, "TELAPSE", format!("{elapsed}, TEXPTIME is {total}"))]
        }
        _ => Vec::new(),
    }
}

fn mid_time(subject: &Subject<'_>, tolerance: f64) -> Vec<Breach> {
    near(subject, "TMID", span(subject).map(|(begin, end)| 0.5 * (begin + end)), tolerance)
}

/// WAVELMIN and WAVELMAX.
fn range(subject: &Subject<'_>) -> Option<(f64, f64)> {
    subject.real(0, "WAVELMIN").zip(subject.real(0, "WAVELMAX"))
}

fn mid_range(subject: &Subject<'_>, tolerance: f64) -> Vec<Breach> {
    near(subject, "SPEC_VAL", range(subject).map(|(min, max)| 0.5 * (min + max)), tolerance)
}

fn range_length(subject: &Subject<'_>, tolerance: f64) -> Vec<Breach> {
    near(subject, "SPEC_BW", range(subject).map(|(min, max)| max - min), tolerance)
}

fn flux_error_fits(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    let Some((calibration, error)) = subject.text(0, "FLUXCAL").zip(subject.real(0, "FLUXERR")) else {
        return Vec::new();
    };
    let right = match calibration {
        "ABSOLUTE" => error == -2.0 || (0.0..=100.0).contains(&error),
        "UNCALIBRATED" => error == -1.0,
        _ => true,
    };
    if right { Vec::new() } else { vec![Breach::at(0, "FLUXERR", format!("{error}, FLUXCAL is {calibration}"))] }
}

fn total_flux_is_calibrated(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    let calibrated = subject.text(0, "FLUXCAL") == Some("ABSOLUTE");
    if subject.logical(0, "TOT_FLUX") == Some(true) && !calibrated {
        return vec![Breach::at(0, "TOT_FLUX", "T")];
    }
    Vec::new()
}

fn axis_increases(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    let Some(column) = subject.column(1) else { return Vec::new() };
    if let Some(index) = column.values.iter().position(|value| !value.is_finite()) {
        return vec![Breach::at(1, &column.name, format!("element {} is not finite", index + 1))];
    }
    let falls = column.values.windows(2).position(|pair| pair[1] <= pair[0]);
    let found = falls.map(|index| {
        let pair = (column.values[index], column.values[index + 1]);
        format!("element {} is {}, the one before it {}", index + 2, pair.1, pair.0)
    });
    found.map(|found| Breach::at(1, &column.name, found)).into_iter().collect()
}

fn no_infinity(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    let infinite = |column: &Cell| {
        let index = column.values.iter().position(|value| value.is_infinite())?;
        Some(Breach::at(1, &column.name, format!("element {} is infinite", index + 1)))
    };
    subject.cells.iter().flatten().filter_map(infinite).collect()
}

fn step_is_typical(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    let Some((step, (axis, nm, _))) = subject.real(0, "SPEC_BIN").zip(subject.axis()) else { return Vec::new() };
    let Some(typical) = median(axis.windows(2).map(|pair| (pair[1] - pair[0]) * nm).collect()) else {
        return Vec::new();
    };
    if (0.5 * typical..=1.5 * typical).contains(&step) {
        return Vec::new();
    }
    vec![Breach::at(0, "SPEC_BIN", format!("{step} nm, the median step is {typical} nm"))]
}

fn range_inside_axis(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    let (Some((min, max)), Some((axis, nm, widest))) = (range(subject), subject.axis()) else { return Vec::new() };
    let (first, last) = ends(axis);
    let slack = 0.5 * widest * nm;
    let mut breaches = Vec::new();
    if min < first * nm - slack {
        breaches.push(Breach::at(0, "WAVELMIN", format!("{min} nm, the column begins at {} nm", first * nm)));
    }
    if max > last * nm + slack {
        breaches.push(Breach::at(0, "WAVELMAX", format!("{max} nm, the column ends at {} nm", last * nm)));
    }
    breaches
}

fn ends_of_axis(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    let Some((axis, _, widest)) = subject.axis() else { return Vec::new() };
    let (first, last) = ends(axis);
    [("TDMIN1", first), ("TDMAX1", last)]
        .into_iter()
        .flat_map(|(keyword, due)| near(subject, keyword, Some(due), 0.5 * widest))
        .collect()
}

fn ends(axis: &[f64]) -> (f64, f64) {
    (axis.first().copied().unwrap_or(f64::NAN), axis.last().copied().unwrap_or(f64::NAN))
}

fn one_unit(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    match (subject.text(1, "TUNIT2"), subject.text(1, "TUNIT3")) {
        (Some(flux), Some(error)) if flux != error => {
            vec![Breach::at(1, "TUNIT3", format!("{error:?}, TUNIT2 is {flux:?}"))]
        }
        _ => Vec::new(),
    }
}

fn equal_cells(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    if subject.parts().len() < 2 {
        return Vec::new();
    }
    let Some(elements) = subject.real(1, "NELEM") else { return Vec::new() };
    let mut breaches = Vec::new();
    for column in 1..=subject.real(1, "TFIELDS").unwrap_or(0.0).clamp(0.0, 999.0) as usize {
        let keyword = format!("TFORM{column}");
        let form = subject.text(1, &keyword).unwrap_or_default();
        let repeat = form_of(form).map(|(repeat, _)| repeat as f64);
        if repeat != Some(elements) {
            breaches.push(Breach::at(1, &keyword, format!("{form:?}, NELEM is {elements}")));
        }
    }
    if let (true, Err(reason)) = (breaches.is_empty(), &subject.cells) {
        breaches.push(Breach::at(1, "NAXIS1", reason));
    }
    breaches
}

fn column_names(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let mut backgrounds = 0;
    for (number, name) in subject.numbers(1, "TTYPE") {
        let name = name.to_string();
        backgrounds += usize::from(name == "BGFLUX");
        if name == "SKYBACK" || name == "BGFLUX" && backgrounds > 1 {
            breaches.push(Breach::at(1, &format!("TTYPE{number}"), name));
        }
    }
    breaches
}

/// A utype without its prefix, lower case, and the prefix.
fn utype(cell: &Cell) -> (String, String) {
    let lower = cell.utype.to_ascii_lowercase();
    for prefix in ["spectrum.", "spec:", "eso:"] {
        if let Some(rest) = lower.strip_prefix(prefix) {
            return (prefix.to_string(), rest.to_string());
        }
    }
    (String::new(), lower)
}

const MAIN_UTYPES: [&str; 3] = ["data.spectralaxis.value", "data.fluxaxis.value", "data.fluxaxis.accuracy.staterror"];

fn utypes(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    let Ok(cells) = &subject.cells else { return Vec::new() };
    let version = subject.text(1, "VOCLASS").unwrap_or_default().to_ascii_uppercase();
    let old = match version.as_str() {
        "SPECTRUM V1.0" => true,
        "SPECTRUM V2.0" => false,
        _ => return Vec::new(),
    };
    let mut breaches = Vec::new();
    for (number, cell) in (1..).zip(cells) {
        let (prefix, name) = utype(cell);
        let ours = MAIN_UTYPES.get(number - 1).is_some_and(|main| *main == name);
        let main_again = number > 3 && MAIN_UTYPES.contains(&name.as_str());
        let marked = cell.ucd.split(';').any(|word| word == "meta.main");
        let right = match (old, number) {
            (true, 1..=3) => prefix == "spectrum." && ours,
            (true, _) => !main_again,
            (false, 1) => prefix == "spec:" && ours,
            (false, 2 | 3) => prefix == "spec:" && ours && marked,
            // A main array of another kind, its quality for example, is marked as one.
            (false, _) => name.is_empty() || prefix == "eso:" || prefix == "spec:" && marked && !main_again,
        };
        if !right {
            let found = format!("{:?} with UCD {:?} in {version}", cell.utype, cell.ucd);
            breaches.push(Breach::at(1, &format!("TUTYP{number}"), found));
        }
    }
    breaches
}

fn background_as_flux(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    if subject.logical(0, "CONTNORM") != Some(false) {
        return Vec::new();
    }
    let (Ok(cells), Some(flux)) = (&subject.cells, subject.column(2)) else { return Vec::new() };
    let differs = |cell: &&Cell| cell.name == "BGFLUX" && (cell.unit != flux.unit || cell.ucd != flux.ucd);
    let found = |cell: &Cell| Breach::at(1, "BGFLUX", format!("UCD {:?}, unit {:?}", cell.ucd, cell.unit));
    cells.iter().filter(differs).map(found).collect()
}

fn normalised_has_no_unit(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    if subject.logical(0, "CONTNORM") != Some(true) {
        return Vec::new();
    }
    let (unit, ucd) = (subject.text(1, "TUNIT2").unwrap_or_default(), subject.text(1, "TUCD2").unwrap_or_default());
    if unit.is_empty() && ucd.contains("arith.ratio") {
        return Vec::new();
    }
    vec![Breach::at(1, "TUNIT2, TUCD2", format!("{unit:?}, {ucd:?}"))]
}

fn title(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    let Some(title) = subject.text(1, "TITLE") else { return Vec::new() };
    let mut breaches = Vec::new();
    if let Some(object) = subject.text(0, "OBJECT").filter(|object| !title.contains(object)) {
        breaches.push(Breach::at(1, "TITLE", format!("{title:?} without {object:?}")));
    }
    if let Some(other) = subject.batch.same_title(title, &subject.anatomy.path) {
        breaches.push(Breach::at(1, "TITLE", format!("{title:?}, as in {}", other.display())));
    }
    breaches
}

fn resolution_and_aperture(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    let resolution = subject.real(0, "SPEC_RES").filter(|value| *value <= 0.0);
    let aperture = subject.real(1, "APERTURE").filter(|value| *value <= 0.0 || *value >= 0.1);
    let resolution = resolution.map(|value| Breach::at(0, "SPEC_RES", value));
    resolution.into_iter().chain(aperture.map(|value| Breach::at(1, "APERTURE", value))).collect()
}

fn wavelength_error(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    let (Some(error), Some(rms), Some(lines)) =
        (subject.real(0, "SPEC_ERR"), subject.real(0, "LAMRMS"), subject.real(0, "LAMNLIN"))
    else {
        return Vec::new();
    };
    let least = rms / lines.sqrt();
    // Both are rounded when they are written.
    if lines < 1.0 || error >= least * (1.0 - 1e-6) {
        return Vec::new();
    }
    vec![Breach::at(0, "SPEC_ERR", format!("{error}, LAMRMS / sqrt(LAMNLIN) is {least}"))]
}

fn signal_to_noise(subject: &Subject<'_>, tolerance: f64) -> Vec<Breach> {
    let (Some(said), Some(flux), Some(error)) = (subject.real(0, "SNR"), subject.column(2), subject.column(3)) else {
        return Vec::new();
    };
    let quality = subject.cells.iter().flatten().find(|cell| cell.name == "QUAL");
    let good = |index: usize| quality.is_none_or(|cell| cell.values.get(index) == Some(&0.0));
    let ratios = flux.values.iter().zip(&error.values).enumerate().filter_map(|(index, (flux, error))| {
        let ratio = flux / error;
        (good(index) && *error > 0.0 && ratio.is_finite()).then_some(ratio)
    });
    match median(ratios.collect()) {
        Some(real) if (said - real).abs() > tolerance * real.abs() => {
            vec![Breach::at(0, "SNR", format!("{said}, the columns give {real}"))]
        }
        _ => Vec::new(),
    }
}
