//! Metrics that every recipe of the slit reports: how the maps were moved to the sky, and how wide the target is.

use super::on_sky::OnSkySet;
use crate::instrument::format::SpectralFormat;
use crate::numerics::robust::median_f64;
use crate::quality::QcMetric;
use crate::reduction::science::shift::ArmShift;
use crate::reduction::science::slit::SlitShift;

/// A metric of one order, which the headers leave out.
pub fn of_order(set: &OnSkySet, order: u8, metric: QcMetric) -> QcMetric {
    QcMetric { order: SpectralFormat::of(set.arm).name_of(order), to_header: false, ..metric }
}

/// What the shift of the lines of the sky is called.
pub const WAVE_SHIFT: [&str; 2] = ["WAVE SHIFT", "shift of sky lines against the arc, along the dispersion"];

/// By how much wavelengths and slit were moved.
pub fn shifts(shift: Option<&ArmShift>, slit: Option<&SlitShift>, set: &OnSkySet) -> Vec<QcMetric> {
    let bins = set.bins()[0] as f64;
    let along = shift.map(|shift| [shift.rows * bins, shift.error * bins]);
    let metric = |name: &str, value: Option<f64>, reason: &str, text: &str| match value {
        Some(value) => QcMetric::measured(name, value, "pixels", text),
        None => QcMetric::absent(name, reason, "pixels", text),
    };
    let few = "too few lines of the sky can be seen";
    let text = "shift of the slit along itself against the arc";
    vec![
        metric(WAVE_SHIFT[0], along.map(|[shift, _]| shift), few, WAVE_SHIFT[1]),
        metric("WAVE SHIFT ERR", along.map(|[_, error]| error), few, "its standard error"),
        metric("SLIT SHIFT", slit.map(|slit| slit.pixels), "the sky is too faint", text),
    ]
}

/// Widths of the target's profile (arcsec) in the orders in which it was measured, and their median.
pub fn widths(set: &OnSkySet, orders: impl Iterator<Item = (u8, f64)>) -> Vec<QcMetric> {
    let (mut qc, mut widths) = (Vec::new(), Vec::new());
    for (order, fwhm) in orders.filter(|(_, fwhm)| fwhm.is_finite()) {
        widths.push(fwhm);
        let metric = QcMetric::measured("PROFILE FWHM", fwhm, "arcsec", "width of the target's profile");
        qc.push(of_order(set, order, metric));
    }
    let text = "median width of the target's profile";
    qc.push(match median_f64(&mut widths) {
        Some(fwhm) => QcMetric::measured("PROFILE FWHM", fwhm, "arcsec", text),
        None => QcMetric::absent("PROFILE FWHM", "the source is too faint", "arcsec", text),
    });
    qc
}
