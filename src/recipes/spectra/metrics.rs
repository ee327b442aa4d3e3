//! Quality of extracted, merged and calibrated spectra in numbers.

use super::{Exposed, Source};
use crate::instrument::format::SpectralFormat;
use crate::numerics::robust::median_f64;
use crate::quality::QcMetric;
use crate::reduction::spectrum::density::OrderDensity;
use crate::reduction::spectrum::merged::MergedSpectrum;
use crate::reduction::spectrum::noise::{noise_over_error, signal_to_noise};
use crate::reduction::spectrum::order::OrderSpectrum;
use crate::reduction::spectrum::response::Response;

/// Measured, or absent with the reason.
fn metric(name: &str, value: Option<f64>, reason: &str, unit: &str, comment: &str) -> QcMetric {
    match value {
        Some(value) => QcMetric::measured(name, value, unit, comment),
        None => QcMetric::absent(name, reason, unit, comment),
    }
}

fn of_order(order: &str, metric: QcMetric) -> QcMetric {
    QcMetric { order: order.to_string(), ..metric }
}

/// Signal to noise of a merged spectrum.
pub fn signal_to_noise_of(merged: &MergedSpectrum) -> QcMetric {
    metric("SNR MEDIAN", merged.signal_to_noise(), "no sample is good", "", "median signal to noise of a sample")
}

/// Metrics of the target. `merged` is the calibrated spectrum, or the one in electrons where there is none.
pub fn of_target(
    exposed: &Exposed,
    source: &Source,
    orders: &[OrderDensity],
    merged: &MergedSpectrum,
) -> Vec<QcMetric> {
    let dark = "no sample is good";
    let mut qc = Vec::new();
    let snr = "median signal to noise of a sample";
    qc.push(signal_to_noise_of(merged));
    for order in orders {
        qc.push(of_order(&order.name, metric("SNR MEDIAN", signal_to_noise(order), dark, "", snr)));
    }
    let few = "fewer than 50 samples in a row are good";
    qc.push(metric("DERSNR RATIO", noise_over_error(orders), few, "", "noise of the samples over their errors"));
    qc.push(QcMetric::measured("NOISE INFLATION", merged.inflation, "", "error of sums over that of single samples"));
    let ratio = optimal_over_boxcar(source.orders.iter().map(|order| &order.spectrum));
    let faint = "the source is too faint to compare both extractions";
    qc.push(metric("OPT BOX RATIO", ratio, faint, "", "light optimally extracted over that of the boxcar"));
    for order in &source.orders {
        let name = SpectralFormat::of(exposed.arm).name_of(order.spectrum.order);
        let ratio = optimal_over_boxcar(std::iter::once(&order.spectrum));
        qc.push(of_order(&name, metric("OPT BOX RATIO", ratio, faint, "", "optimal over boxcar")));
    }
    qc.extend(of_joins(merged));
    let middle = merged.wavelength.get(merged.len() / 2).copied().unwrap_or(f64::NAN);
    let transmitted = source.transmitted(exposed, &[middle]).first().copied().filter(|part| part.is_finite());
    let unknown = "the slit or the seeing is not known";
    qc.push(metric("SLIT TRANS", transmitted, unknown, "", "part of the light that the slit let through"));
    qc
}

/// How orders agree, each under the name of the redder one.
fn of_joins(merged: &MergedSpectrum) -> Vec<QcMetric> {
    let dark = "the two orders share too little light";
    let mut qc = Vec::new();
    let (mut worst, mut contradictions) = (None::<f64>, 0);
    for join in &merged.joins {
        let order = &join.names[1];
        let ratio = join.ratio.map(|[ratio, _]| ratio);
        if let Some(ratio) = ratio {
            worst = Some(worst.map_or((ratio - 1.0).abs(), |worst: f64| worst.max((ratio - 1.0).abs())));
        }
        contradictions += join.contradictions;
        let error = join.ratio.map(|[_, error]| error);
        qc.push(of_order(order, metric("OVERLAP RATIO", ratio, dark, "", "flux over that of the next bluer order")));
        qc.push(of_order(order, metric("OVERLAP ERROR", error, dark, "", "standard error of OVERLAP RATIO")));
        qc.push(of_order(
            order,
            metric("OVERLAP SCATTER", join.scatter, dark, "", "scatter over errors in the overlap"),
        ));
    }
    qc.push(metric("OVERLAP WORST", worst, dark, "", "largest deviation of an OVERLAP RATIO from 1"));
    let comment = "samples in which two orders contradict";
    qc.push(QcMetric::measured("OVERLAP CONTRA", contradictions as f64, "", comment));
    qc
}

/// Ratio of the sums of both extractions over good samples; `None` when the boxcar has less than 20 sigmas of light.
fn optimal_over_boxcar<'a>(orders: impl Iterator<Item = &'a OrderSpectrum>) -> Option<f64> {
    let mut ratios = Vec::new();
    let (mut light, mut variance) = (0.0, 0.0);
    for order in orders {
        // sums over blocks, so that the ratio of noisy samples has no say
        for start in (0..order.len()).step_by(32) {
            let (mut optimal, mut boxcar) = (0.0, 0.0);
            for k in start..(start + 32).min(order.len()) {
                let usable = order.flags[k] == 0 && order.boxcar[k].is_finite() && order.boxcar_variance[k] > 0.0;
                if usable && order.flux[k].is_finite() {
                    optimal += order.flux[k];
                    boxcar += order.boxcar[k];
                    light += order.boxcar[k];
                    variance += order.boxcar_variance[k];
                }
            }
            if boxcar > 0.0 {
                ratios.push(optimal / boxcar);
            }
        }
    }
    if light < 20.0 * variance.sqrt() {
        return None;
    }
    median_f64(&mut ratios)
}

/// Metrics of a response.
pub fn of_response(response: &Response) -> Vec<QcMetric> {
    let origin = &response.origin;
    vec![
        QcMetric::measured("RESP RMS", response.scatter, "mag", "scatter of the standard about the response"),
        QcMetric::measured(
            "RESP REJECTED",
            response.rejected,
            "",
            "part of the points not fitted: bands, lines, outliers",
        ),
        QcMetric::measured("RESP STAR RV", origin.velocity, "km/s", "velocity that was found for the standard"),
        QcMetric::measured("RESP NORDERS", response.orders.len() as f64, "", "orders with a response"),
    ]
}
