//! Metrics of an exposure whose sky and sources were found together.

use super::lamp::temperature_qc;
use super::on_sky::OnSkySet;
use super::spectra::order_name;
use crate::numerics::robust::median_f64;
use crate::quality::QcMetric;
use crate::reduction::flags;
use crate::reduction::science::exposure::Exposure;
use crate::reduction::science::joint::{Joint, JointOrder};

/// Light of the sky above the median of the order from which a pixel lies on a line, sigmas.
const ON_LINE: f64 = 3.0;
/// Light of sources, in sigmas, below which a pixel counts for the sky.
const NO_SOURCE: f64 = 0.2;
/// Residuals beyond this are not the sky's.
const FAR: f64 = 6.0;
/// Fewest pixels of a scatter.
const FEWEST: usize = 50;

/// All metrics: those of the reference pipeline by its names, then ours.
pub fn quality(joint: &Joint, set: &OnSkySet, exposure: &Exposure, rays: usize) -> Vec<QcMetric> {
    let measured = QcMetric::measured;
    let total = exposure.flags.len().max(1) as f64;
    let bad = exposure.flags.iter().filter(|bits| **bits & !flags::UNLIT != 0).count() as f64;
    let mut qc = vec![
        measured("BADPIX NUM", bad, "pixels", "pixels that are flagged, cosmic rays included"),
        measured("BADPIX FRAC", bad / total, "", "their fraction of the frame"),
        measured("N ORDERS", joint.orders.len() as f64, "", "orders with a model of the sky"),
        measured("CR NUM", rays as f64, "pixels", "pixels hit by cosmic rays"),
    ];
    let time = exposure.exptime;
    qc.push(match time > 0.0 {
        true => measured("CR RATE", rays as f64 / total * 1e3 / time * 1e3, "", "hits per 1000 pixels and 1000 s"),
        false => QcMetric::absent("CR RATE", "the exposure has no time", "", "hits per 1000 pixels and 1000 s"),
    });
    let (mut sum, mut count) = (0.0, 0.0);
    let mut lines = Vec::new();
    let mut between = Vec::new();
    for order in &joint.orders {
        let (on, off) = residuals(order);
        qc.extend(scatters(&on, &off).map(|metric| named(metric, set, order)));
        for residual in order.residuals() {
            sum += residual.value * residual.sigma + residual.source;
            count += 1.0;
        }
        lines.extend(on);
        between.extend(off);
        qc.push(named(masked(order), set, order));
    }
    qc.push(measured(
        "INNER ORDER PIX MEAN",
        sum / f64::max(count, 1.0),
        "electrons",
        "mean light without the sky in the orders",
    ));
    qc.push(measured("INNER ORDER PIX SUM", sum, "electrons", "its sum"));
    qc.extend(scatters(&lines, &between));
    qc.extend(shifts(joint, set));
    qc.extend(sources(joint, set));
    qc.extend(temperature_qc(&set.metas));
    qc
}

fn named(metric: QcMetric, set: &OnSkySet, order: &JointOrder) -> QcMetric {
    QcMetric { order: order_name(set.arm, order.strip.order), to_header: false, ..metric }
}

/// What is left on and between the lines of the sky, away from sources, in units of the noise.
fn residuals(order: &JointOrder) -> (Vec<f64>, Vec<f64>) {
    let mut levels: Vec<f64> = order.residuals().map(|residual| residual.sky).collect();
    let level = median_f64(&mut levels).unwrap_or(0.0);
    let mut noise: Vec<f64> = order.residuals().filter(|r| r.sky <= level).map(|r| r.sigma).collect();
    let limit = level + ON_LINE * median_f64(&mut noise).unwrap_or(0.0);
    let (mut on, mut off) = (Vec::new(), Vec::new());
    for residual in order.residuals().filter(|r| r.source.abs() < NO_SOURCE * r.sigma && r.value.abs() < FAR) {
        if residual.sky > limit { on.push(residual.value) } else { off.push(residual.value) }
    }
    (on, off)
}

fn scatters(on: &[f64], off: &[f64]) -> [QcMetric; 2] {
    let scatter = |name: &str, values: &[f64], comment: &str| match values.len() >= FEWEST {
        true => {
            let n = values.len() as f64;
            let mean = values.iter().sum::<f64>() / n;
            let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n;
            QcMetric::measured(name, variance.sqrt(), "", comment)
        }
        false => QcMetric::absent(name, "too few such pixels", "", comment),
    };
    [
        scatter("SKY RES LINES", on, "residuals over their noise on lines of the sky"),
        scatter("SKY RES CONT", off, "residuals over their noise between the lines"),
    ]
}

/// Part of an order that cannot be used.
fn masked(order: &JointOrder) -> QcMetric {
    let lit = order.strip.flags.iter().filter(|bits| **bits & (flags::UNLIT | flags::NO_DATA) == 0);
    let (mut all, mut bad) = (0.0, 0.0);
    for bits in lit {
        all += 1.0;
        bad += f64::from(u8::from(*bits != 0));
    }
    QcMetric::measured("MASKED FRAC", bad / f64::max(all, 1.0), "", "part of the lit pixels that is flagged")
}

fn shifts(joint: &Joint, set: &OnSkySet) -> Vec<QcMetric> {
    let bins = set.bins()[0] as f64;
    let mut qc = Vec::new();
    let texts =
        ["shift of sky lines against the arc, along the dispersion", "its standard error", "lines of the sky measured"];
    match &joint.shift {
        Some(shift) => {
            let groups = shift.orders.iter().flat_map(|order| &order.groups).filter(|group| !group.out).count();
            qc.push(QcMetric::measured("WAVE SHIFT", shift.rows * bins, "pixels", texts[0]));
            qc.push(QcMetric::measured("WAVE SHIFT ERR", shift.error * bins, "pixels", texts[1]));
            qc.push(QcMetric::measured("WAVE SHIFT LINES", groups as f64, "", texts[2]));
            for (order, found) in joint.orders.iter().zip(&shift.orders) {
                qc.push(named(QcMetric::measured("WAVE SHIFT", found.rows * bins, "pixels", texts[0]), set, order));
            }
        }
        None => {
            let reason = "too few lines of the sky can be seen";
            qc.push(QcMetric::absent("WAVE SHIFT", reason, "pixels", texts[0]));
            qc.push(QcMetric::absent("WAVE SHIFT ERR", reason, "pixels", texts[1]));
        }
    }
    let text = "shift of the slit along itself against the arc";
    qc.push(match &joint.slit {
        Some(slit) => QcMetric::measured("SLIT SHIFT", slit.pixels, "pixels", text),
        None => QcMetric::absent("SLIT SHIFT", "the sky is too faint", "pixels", text),
    });
    qc
}

fn sources(joint: &Joint, set: &OnSkySet) -> Vec<QcMetric> {
    let mut qc = vec![QcMetric::measured("N SOURCES", joint.sources.len() as f64, "", "sources found on the slit")];
    let texts = [
        ("SOURCE POS", "arcsec", "slit position of the target"),
        ("SOURCE SIGMA", "", "significance of the target"),
        ("PROFILE FWHM", "arcsec", "median width of the target's profile"),
        ("OPT BOX RATIO", "", "median ratio of optimal to boxcar light"),
    ];
    let Some(target) = joint.sources.first() else {
        let absent =
            |(name, unit, text): &(&str, &str, &str)| QcMetric::absent(name, "no source was found", unit, text);
        qc.extend(texts.iter().map(absent));
        return qc;
    };
    let mut widths = Vec::new();
    let mut ratios = Vec::new();
    for order in &joint.orders {
        let Some(extracted) = &order.extracted else { continue };
        if let Some(fwhm) = extracted.fwhm.first().copied().filter(|fwhm| fwhm.is_finite()) {
            widths.push(fwhm);
            let metric = QcMetric::measured("PROFILE FWHM", fwhm, "arcsec", "width of the target's profile");
            qc.push(named(metric, set, order));
        }
        let Some(spectrum) = extracted.spectra.first() else { continue };
        for k in 0..spectrum.len() {
            let (flux, boxcar) = (spectrum.flux[k], spectrum.boxcar[k]);
            if spectrum.flags[k] == 0 && flux > 5.0 * spectrum.variance[k].sqrt() && boxcar > 0.0 {
                ratios.push(flux / boxcar);
            }
        }
    }
    let values = [Some(target.position), Some(target.significance), median_f64(&mut widths), median_f64(&mut ratios)];
    for ((name, unit, text), value) in texts.into_iter().zip(values) {
        qc.push(match value.filter(|value| value.is_finite()) {
            Some(value) => QcMetric::measured(name, value, unit, text),
            None => QcMetric::absent(name, "the source is too faint", unit, text),
        });
    }
    qc
}
