//! Metrics of an exposure whose sky and sources were found together.

use super::lamp::temperature_qc;
use super::on_sky::OnSkySet;
use super::on_sky_qc::{self, of_order};
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
        qc.extend(scatters(&on, &off).map(|metric| of_order(set, order.strip.order, metric)));
        for residual in order.residuals() {
            sum += residual.value * residual.sigma + residual.source;
            count += 1.0;
        }
        lines.extend(on);
        between.extend(off);
        qc.push(of_order(set, order.strip.order, masked(order)));
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
    let mut qc = on_sky_qc::shifts(joint.shift.as_ref(), joint.slit.as_ref(), set);
    let Some(shift) = &joint.shift else { return qc };
    let bins = set.bins()[0] as f64;
    let groups = shift.orders.iter().flat_map(|order| &order.groups).filter(|group| !group.out).count();
    qc.push(QcMetric::measured("WAVE SHIFT LINES", groups as f64, "", "lines of the sky measured"));
    let [name, text] = on_sky_qc::WAVE_SHIFT;
    for (order, found) in joint.orders.iter().zip(&shift.orders) {
        let metric = QcMetric::measured(name, found.rows * bins, "pixels", text);
        qc.push(of_order(set, order.strip.order, metric));
    }
    qc
}

/// Metrics of the target; those of its spectrum come with the spectrum.
fn sources(joint: &Joint, set: &OnSkySet) -> Vec<QcMetric> {
    let mut qc = vec![QcMetric::measured("N SOURCES", joint.sources.len() as f64, "", "sources found on the slit")];
    let Some(target) = joint.sources.first() else {
        let texts = [
            ("SOURCE POS", "arcsec", "slit position of the target"),
            ("SOURCE SIGMA", "", "significance of the target"),
            ("PROFILE FWHM", "arcsec", "median width of the target's profile"),
        ];
        let absent = |(name, unit, text)| QcMetric::absent(name, "no source was found", unit, text);
        qc.extend(texts.map(absent));
        return qc;
    };
    qc.push(QcMetric::measured("SOURCE POS", target.position, "arcsec", "slit position of the target"));
    qc.push(QcMetric::measured("SOURCE SIGMA", target.significance, "", "significance of the target"));
    let width = |order: &JointOrder| Some((order.strip.order, *order.extracted.as_ref()?.fwhm.first()?));
    qc.extend(on_sky_qc::widths(set, joint.orders.iter().filter_map(width)));
    qc
}
