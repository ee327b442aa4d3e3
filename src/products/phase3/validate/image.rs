//! Rules I: an image and its companions.

use super::Check;
use super::subject::{Breach, Subject};

/// The rules, by name.
pub const CHECKS: &[(&str, Check)] = &[
    ("I01", one_image),
    ("I02", position_inside),
    ("I03", limit_is_fainter),
    ("I04", psf_has_a_width),
    ("I05", is_calibrated),
    ("I06", companions_fit),
];

/// HDUCLAS2 of a companion and the keyword by which others point to it.
const POINTERS: [(&str, &str); 7] = [
    ("DATA", "SCIDATA"),
    ("ERROR", "ERRDATA"),
    ("QUALITY", "QUALDATA"),
    ("CONF", "CONFDATA"),
    ("BKG_DATA", "BKGDATA"),
    ("BKG_ERROR", "BKGERR"),
    ("BKG_CONF", "BKGCONF"),
];

fn one_image(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    let images = subject.images();
    let science = if subject.is_multi_extension() {
        images.iter().filter(|hdu| subject.text(**hdu, "HDUCLAS2") == Some("DATA")).count()
    } else {
        images.len()
    };
    let axes = subject.data_hdu().and_then(|hdu| subject.real(hdu, "NAXIS"));
    if science == 1 && axes == Some(2.0) {
        return Vec::new();
    }
    let axes = axes.map_or("no".to_string(), |axes| axes.to_string());
    vec![Breach::file(format!("{science} science images, {axes} axes"))]
}

/// Where a position falls on a gnomonic image, 1-based pixels; `None` when the header does not say, or the position is
/// on the other half of the sky.
fn pixel_of(subject: &Subject<'_>, hdu: usize, ra: f64, dec: f64) -> Option<(f64, f64)> {
    let real = |keyword: &str| subject.real(hdu, keyword);
    let (ra0, dec0) = (real("CRVAL1")?.to_radians(), real("CRVAL2")?.to_radians());
    let (ra, dec) = (ra.to_radians() - ra0, dec.to_radians());
    let depth = dec0.sin() * dec.sin() + dec0.cos() * dec.cos() * ra.cos();
    if depth <= 0.0 {
        return None;
    }
    let xi = (dec.cos() * ra.sin() / depth).to_degrees();
    let eta = ((dec0.cos() * dec.sin() - dec0.sin() * dec.cos() * ra.cos()) / depth).to_degrees();
    let (a, b, c, d) = (real("CD1_1")?, real("CD1_2")?, real("CD2_1")?, real("CD2_2")?);
    let determinant = a * d - b * c;
    if determinant == 0.0 {
        return None;
    }
    Some((real("CRPIX1")? + (d * xi - b * eta) / determinant, real("CRPIX2")? + (a * eta - c * xi) / determinant))
}

fn position_inside(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    let Some(hdu) = subject.data_hdu() else { return Vec::new() };
    let (Some(ra), Some(dec)) = (subject.real(0, "RA"), subject.real(0, "DEC")) else { return Vec::new() };
    let (Some(columns), Some(rows)) = (subject.real(hdu, "NAXIS1"), subject.real(hdu, "NAXIS2")) else {
        return Vec::new();
    };
    let described = ["CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", "CD1_1", "CD1_2", "CD2_1", "CD2_2"];
    if described.iter().any(|keyword| subject.real(hdu, keyword).is_none()) {
        return Vec::new();
    }
    match pixel_of(subject, hdu, ra, dec) {
        Some((x, y)) if (0.5..=columns + 0.5).contains(&x) && (0.5..=rows + 0.5).contains(&y) => Vec::new(),
        Some((x, y)) => vec![Breach::at(0, "RA, DEC", format!("pixel {x:.1}, {y:.1} of {columns} x {rows}"))],
        None => vec![Breach::at(0, "RA, DEC", format!("{ra}, {dec}: nowhere near the image"))],
    }
}

fn limit_is_fainter(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    let Some(hdu) = subject.data_hdu() else { return Vec::new() };
    match (subject.real(hdu, "ABMAGLIM"), subject.real(hdu, "ABMAGSAT")) {
        (Some(limit), Some(saturation)) if limit <= saturation => {
            vec![Breach::at(hdu, "ABMAGLIM", format!("{limit}, ABMAGSAT is {saturation}"))]
        }
        _ => Vec::new(),
    }
}

fn psf_has_a_width(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    let hdu = subject.data_hdu();
    let width = hdu.and_then(|hdu| Some((hdu, subject.real(hdu, "PSF_FWHM").filter(|width| *width <= 0.0)?)));
    width.map(|(hdu, width)| Breach::at(hdu, "PSF_FWHM", width)).into_iter().collect()
}

fn is_calibrated(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    let calibration = subject.text(0, "FLUXCAL").filter(|calibration| *calibration != "ABSOLUTE");
    calibration.map(|calibration| Breach::at(0, "FLUXCAL", calibration)).into_iter().collect()
}

fn companions_fit(subject: &Subject<'_>, _: f64) -> Vec<Breach> {
    if !subject.is_multi_extension() {
        return Vec::new();
    }
    let Some(science) = subject.data_hdu() else { return Vec::new() };
    let images = subject.images();
    let mut breaches = Vec::new();
    for &hdu in images.iter().filter(|hdu| **hdu != science) {
        for keyword in ["NAXIS1", "NAXIS2"] {
            if subject.value(hdu, keyword) != subject.value(science, keyword) {
                breaches.push(Breach::at(hdu, keyword, "not that of the science image"));
            }
        }
        for keyword in ["CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", "CD1_1", "CD1_2", "CD2_1", "CD2_2"] {
            if subject.real(hdu, keyword) != subject.real(science, keyword) {
                breaches.push(Breach::at(hdu, keyword, "not that of the science image"));
            }
        }
    }
    for &hdu in &images {
        breaches.extend(POINTERS.iter().filter_map(|(class, pointer)| {
            let name = subject.text(hdu, pointer)?;
            let meant = images.iter().find(|other| subject.text(**other, "EXTNAME") == Some(name));
            let right = meant.is_some_and(|other| *other != hdu && subject.text(*other, "HDUCLAS2") == Some(class));
            (!right).then(|| Breach::at(hdu, pointer, format!("{name}, which is no other HDU of class {class}")))
        }));
    }
    breaches
}
