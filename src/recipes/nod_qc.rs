//! Metrics of exposures of which differences were reduced.

use super::lamp::temperature_qc;
use super::on_sky::OnSkySet;
use super::on_sky_qc;
use crate::quality::QcMetric;
use crate::reduction::science::align::Alignment;
use crate::reduction::science::nodding::{GroupResult, Nodded};

/// All metrics: those of the reference pipeline by its names, then ours.
pub fn quality(nodded: &Nodded, alignment: &Alignment, set: &OnSkySet) -> Vec<QcMetric> {
    let used: Vec<&GroupResult> = nodded.groups.iter().filter(|group| group.failure.is_empty()).collect();
    let orders = nodded.orders.first().map_or(0, Vec::len);
    let rejected: usize = used.iter().map(|group| group.rejected).sum();
    let mut qc = vec![
        QcMetric::measured("N ORDERS", orders as f64, "", "orders with a spectrum of the target"),
        QcMetric::measured("N GROUPS", used.len() as f64, "", "groups of exposures that were used"),
        QcMetric::measured("N GROUPS LOST", (nodded.groups.len() - used.len()) as f64, "", "groups that failed"),
        QcMetric::measured("CR NUM", rejected as f64, "pixels", "pixels that contradict the model"),
        scatter("SKY RES", &used, |group| group.sky, "residuals of the sky over their noise"),
        scatter("SOURCE RES", &used, |group| group.source, "residuals of sources over their noise"),
    ];
    qc.extend(on_sky_qc::shifts(alignment.shift.as_ref(), alignment.slit.as_ref(), set));
    qc.extend(sources(nodded, set));
    qc.extend(repeats(nodded));
    qc.extend(temperature_qc(&set.metas));
    qc
}

fn scatter(name: &str, used: &[&GroupResult], of: fn(&GroupResult) -> (f64, usize), comment: &str) -> QcMetric {
    let (sum, n) = used.iter().map(|group| of(group)).fold((0.0, 0), |(a, b), (c, d)| (a + c, b + d));
    match n >= 50 {
        true => QcMetric::measured(name, (sum / n as f64).sqrt(), "", comment),
        false => QcMetric::absent(name, "too few such pixels", "", comment),
    }
}

fn sources(nodded: &Nodded, set: &OnSkySet) -> Vec<QcMetric> {
    let mut qc = vec![QcMetric::measured("N SOURCES", nodded.sources.len() as f64, "", "sources found on the slit")];
    if let Some(target) = nodded.sources.first() {
        qc.push(QcMetric::measured("SOURCE POS", target.position, "arcsec", "slit position of the target without nod"));
        qc.push(QcMetric::measured("SOURCE SIGMA", target.significance, "", "significance of the target"));
    }
    let orders = nodded.orders.first().into_iter().flatten();
    qc.extend(on_sky_qc::widths(set, orders.map(|order| (order.combined.spectrum.order, order.fwhm))));
    qc
}

/// How the exposures agree with each other.
fn repeats(nodded: &Nodded) -> Vec<QcMetric> {
    let (mut chi, mut degrees, mut rejected) = (0.0, 0.0, 0);
    for order in nodded.orders.first().into_iter().flatten() {
        chi += order.combined.chi_square;
        degrees += order.combined.degrees;
        rejected += order.combined.rejected;
    }
    let text = "reduced chi-square between the spectra of single images";
    let mut qc = vec![match degrees > 0.0 {
        true => QcMetric::measured("REPEAT CHI2", chi / degrees, "", text),
        false => QcMetric::absent("REPEAT CHI2", "there is one image only", "", text),
    }];
    qc.push(QcMetric::measured("REPEAT REJ NUM", rejected as f64, "samples", "samples that contradict their repeats"));
    let (low, high) = nodded.scales.iter().fold((f64::INFINITY, 0.0), |(a, b): (f64, f64), s| (a.min(*s), b.max(*s)));
    let text = "faintest over brightest image of the target";
    qc.push(match high > 0.0 && low.is_finite() {
        true => QcMetric::measured("REPEAT SCALE", low / high, "", text),
        false => QcMetric::absent("REPEAT SCALE", "no image was extracted", "", text),
    });
    qc
}
