//! From made orders to one calibrated spectrum: response, calibration, merging and arms together.

use super::arms::{ArmRule, merge_arms};
use super::calibrate::{Refusal, calibrate, check};
use super::density::OrderDensity;
use super::merge::merge_orders;
use super::merged::{FluxUnit, MergedSpectrum};
use super::response::{Origin, Response, ResponseError, combine, fit};
use super::standards;
use super::synthetic::{Maker, arm, sensitivity};
use crate::reduction::flags;

const STAR: &str = "LTT7987";

fn densities(maker: &Maker, flux: impl Fn(f64) -> f64, bands: impl Fn(f64) -> f64) -> Vec<OrderDensity> {
    let orders = maker.orders(flux, bands);
    orders.iter().map(|order| OrderDensity::new(order, &order.order.to_string(), maker.exptime, 0.02)).collect()
}

/// Absorption of the air: what a table of bands would mask, and a band that no table knows.
fn air(wavelength: f64) -> f64 {
    let band = |from: f64, to: f64, depth: f64| {
        let inside = wavelength > from && wavelength < to;
        if inside { 1.0 - depth * (0.5 + 0.5 * (wavelength * 20.0).sin()) } else { 1.0 }
    };
    band(759.4, 770.0, 0.9) * band(716.0, 734.0, 0.3) * band(640.0, 646.0, 0.4)
}

fn origin(maker: &Maker) -> Origin {
    Origin {
        arm: "VIS".to_string(),
        slit: "SLIT5.0".to_string(),
        binning: [maker.bin; 2],
        airmass: maker.airmass,
        ..Origin::default()
    }
}

fn response(maker: &Maker, velocity: f64) -> Response {
    let star = standards::find(None, 60_000.0, &[STAR]).unwrap();
    let orders = densities(maker, |w| star.flux(w, 60.0, velocity), air);
    fit(&orders, star, origin(maker), 60.0, 0.005).unwrap()
}

fn standard(bin: usize) -> Maker {
    Maker { bin, seed: Some(5), exptime: 120.0, airmass: 1.1 }
}

#[test]
fn the_sensitivity_is_recovered_where_the_air_lets_light_through() {
    let found = response(&standard(1), 0.0);
    let (mut squares, mut n, mut pulls) = (0.0, 0.0, 0.0);
    for order in &found.orders {
        for (wavelength, (magnitude, error)) in order.wavelength.iter().zip(order.magnitude.iter().zip(&order.error)) {
            let deviation =
                magnitude - 2.5 * sensitivity(order.order, *wavelength).log10() - level(&found, order.order);
            squares += deviation * deviation;
            pulls += (deviation / error).powi(2);
            n += 1.0;
        }
    }
    assert_eq!(found.orders.len(), 4);
    assert!((squares / n).sqrt() < 0.01, "rms {} mag", (squares / n).sqrt());
    assert!((pulls / n).sqrt() < 1.5, "{}", (pulls / n).sqrt());
    assert!(found.scatter < 0.02 && found.rejected < 0.4, "{found:?}", found = (found.scatter, found.rejected));
}

/// The lamp is at its brightest below 1 by as much as its edges take: a constant of the order.
fn level(found: &Response, order: u8) -> f64 {
    let curve = found.order(order).unwrap();
    let middle = curve.wavelength.len() / 2;
    let magnitude = curve.magnitude[middle] - 2.5 * sensitivity(order, curve.wavelength[middle]).log10();
    assert!(magnitude.abs() < 0.05, "order {order}: {magnitude}");
    magnitude
}

#[test]
fn the_velocity_of_the_star_is_found_and_allowed_for() {
    let found = response(&standard(1), 150.0);
    assert!((found.origin.velocity - 150.0).abs() < 15.0, "{}", found.origin.velocity);
    assert!(response(&standard(1), 0.0).origin.velocity.abs() < 15.0);
}

fn calibrated(maker: &Maker, response: &Response, flux: impl Fn(f64) -> f64) -> MergedSpectrum {
    let orders: Vec<OrderDensity> =
        densities(maker, flux, |_| 1.0).iter().map(|order| calibrate(order, response, maker.airmass)).collect();
    merge_orders(&orders, 18.0, FluxUnit::FluxDensity).unwrap()
}

#[test]
fn a_constant_flux_merges_to_a_constant_without_sawtooth() {
    let bright = Maker { bin: 1, seed: None, exptime: 300.0, airmass: 1.4 };
    let flux = 2e-13;
    let star = standards::find(None, 60_000.0, &[STAR]).unwrap();
    let orders = densities(&Maker { seed: None, ..standard(1) }, |w| star.flux(w, 60.0, 0.0), |_| 1.0);
    let response = fit(&orders, star, origin(&standard(1)), 60.0, 0.005).unwrap();
    let merged = calibrated(&bright, &response, |_| flux);
    let good: Vec<usize> = (0..merged.len()).filter(|k| merged.is_good(*k)).collect();
    assert!(good.len() as f64 > 0.97 * merged.len() as f64);
    let inner = &good[100..good.len() - 100];
    let worst = inner.iter().map(|k| (merged.flux[*k] / flux - 1.0).abs()).fold(0.0, f64::max);
    assert!(worst < 0.005, "{worst}");
    // no step from sample to sample where orders join
    let step =
        inner.windows(2).map(|pair| (merged.flux[pair[1]] / merged.flux[pair[0]] - 1.0).abs()).fold(0.0, f64::max);
    assert!(step < 5e-4, "{step}");
    assert_eq!(merged.joins.len(), 3);
    for join in &merged.joins {
        let [ratio, _] = join.ratio.unwrap();
        assert!((ratio - 1.0).abs() < 0.004 && join.contradictions == 0, "{join:?}");
    }
}

#[test]
fn integrals_over_10_nm_survive_the_merging() {
    // a feature-rich flux, through perfect knowledge of the sensitivity: only the merging is tested
    let flux = |w: f64| 1e-13 * (1.0 + 0.4 * (w / 1.7).sin() + 2.0 * (-((w - 600.0) / 0.3f64).powi(2)).exp());
    let maker = Maker { bin: 1, seed: None, exptime: 100.0, airmass: 1.0 };
    let mut orders = densities(&maker, flux, |_| 1.0);
    for order in &mut orders {
        for k in 0..order.flux.len() {
            order.flux[k] = flux(order.wavelength[k]);
        }
    }
    let merged = merge_orders(&orders, 18.0, FluxUnit::FluxDensity).unwrap();
    let truth = |from: f64, to: f64| -> f64 {
        let n = 20_000;
        (0..n).map(|k| flux(from + (to - from) * (f64::from(k) + 0.5) / f64::from(n))).sum::<f64>() * (to - from)
            / f64::from(n)
    };
    for from in [380.0f64, 428.0, 520.0, 535.0, 595.0, 668.0, 800.0] {
        let first = merged.edges.partition_point(|edge| *edge < from);
        let last = merged.edges.partition_point(|edge| *edge < from + 10.0);
        let sum: f64 = (first..last).map(|k| merged.flux[k] * (merged.edges[k + 1] - merged.edges[k])).sum();
        let ratio = sum / truth(merged.edges[first], merged.edges[last]);
        assert!((ratio - 1.0).abs() < 1e-4, "{from}: {ratio}");
    }
}

#[test]
fn merged_errors_have_unit_width() {
    let flux = |w: f64| 3e-16 * (w / 600.0).powi(-2);
    let star = response(&Maker { exptime: 3000.0, ..standard(1) }, 0.0);
    let (mut squares, mut n) = (0.0, 0.0);
    for seed in 0..6 {
        let maker = Maker { bin: 1, seed: Some(100 + seed), exptime: 300.0, airmass: 1.1 };
        let noisy = calibrated(&maker, &star, flux);
        let clean = calibrated(&Maker { seed: None, ..maker }, &star, flux);
        for k in (0..noisy.len()).filter(|k| noisy.is_good(*k) && clean.is_good(*k)) {
            squares += ((noisy.flux[k] - clean.flux[k]) / noisy.error[k]).powi(2);
            n += 1.0;
        }
        assert!(noisy.inflation > 1.05 && noisy.inflation < 1.5, "{}", noisy.inflation);
    }
    let width = (squares / n).sqrt();
    assert!((width - 1.0f64).abs() < 0.03, "{width}");
}

#[test]
fn a_response_of_one_binning_serves_another_and_that_of_another_slit_is_refused() {
    let (single, double) = (response(&standard(1), 0.0), response(&standard(2), 0.0));
    let maker = Maker { bin: 2, seed: None, exptime: 300.0, airmass: 1.3 };
    let (a, b) = (calibrated(&maker, &single, |_| 1e-14), calibrated(&maker, &double, |_| 1e-14));
    for k in (200..a.len() - 200).filter(|k| a.is_good(*k) && b.is_good(*k)) {
        assert!((a.flux[k] / b.flux[k] - 1.0).abs() < 0.01, "{}", a.wavelength[k]);
        assert!((a.flux[k] / 1e-14 - 1.0).abs() < 0.02, "{}", a.wavelength[k]);
    }
    let mut narrow = single.clone();
    narrow.origin.slit = "SLIT1.0".to_string();
    assert!(matches!(check(&narrow, "VIS", "SLIT5.0", Some(1.2)), Err(Refusal::Slit { .. })));
    assert!(matches!(check(&single, "NIR", "SLIT5.0", Some(1.2)), Err(Refusal::Arm { .. })));
    assert_eq!(check(&single, "VIS", "SLIT5.0", None), Err(Refusal::Airmass { of: "spectrum" }));
    assert_eq!(check(&single, "VIS", "SLIT5.0", Some(1.2)), Ok(1.2));
}

#[test]
fn beyond_the_response_there_is_no_flux() {
    let mut short = response(&standard(1), 0.0);
    short.orders.retain(|order| order.order != 4);
    let maker = Maker { bin: 1, seed: None, exptime: 300.0, airmass: 1.3 };
    let orders = densities(&maker, |_| 1e-14, |_| 1.0);
    let red = calibrate(&orders[3], &short, 1.3);
    assert!(red.flags.iter().all(|bits| bits & flags::UNCALIBRATED != 0) && red.range().is_none());
    let merged = calibrated(&maker, &short, |_| 1e-14);
    assert!(*merged.wavelength.last().unwrap() < 682.0);
}

#[test]
fn several_standards_are_one_response_and_darkness_is_none() {
    let one = response(&standard(1), 0.0);
    let mut grey = one.clone();
    for order in &mut grey.orders {
        order.magnitude.iter_mut().for_each(|magnitude| *magnitude -= 0.1);
    }
    grey.origin.star = "GD71".to_string();
    let both = combine(&[one.clone(), grey.clone()]).unwrap();
    assert_eq!((both.origin.stars, both.origin.star.as_str()), (2, "LTT7987,GD71"));
    let (a, b) = (&one.orders[0], &both.orders[0]);
    assert!((a.magnitude[50] - b.magnitude[50] - 0.05).abs() < 1e-9);
    assert!((b.error[50] - 0.05).abs() < 0.01, "{}", b.error[50]);
    grey.origin.slit = "SLIT1.0".to_string();
    assert!(combine(&[one, grey]).is_none() && combine(&[]).is_none());
    let star = standards::find(None, 60_000.0, &[STAR]).unwrap();
    let dark = densities(&standard(1), |_| 1e-22, |_| 1.0);
    assert_eq!(fit(&dark, star, origin(&standard(1)), 60.0, 0.005), Err(ResponseError::TooFaint));
    assert_eq!(fit(&[], star, origin(&standard(1)), 60.0, 0.005), Err(ResponseError::TooFaint));
}

fn rule() -> ArmRule {
    ArmRule { step: 13.0, overlap: [800.0, 850.0], largest: 0.3, least_certain: 0.1, scale_redder: true }
}

#[test]
fn a_grey_offset_of_an_arm_is_recovered_and_taken_off() {
    let (vis, nir) = (arm([700.0, 850.0], 1.0, 1), arm([795.0, 1000.0], 1.12, 2));
    let (merged, scale) = merge_arms([("VIS", &vis), ("NIR", &nir)], &rule()).unwrap();
    let [ratio, error] = scale.ratio.unwrap();
    assert!((ratio - 1.12).abs() < 0.005 && error < 0.004, "{ratio} {error}");
    assert_eq!(scale.applied, Ok(()));
    let (mut squares, mut n) = (0.0, 0.0);
    for k in (0..merged.len()).filter(|k| merged.is_good(*k)) {
        let truth = (merged.wavelength[k] / 800.0).powi(-2);
        squares += ((merged.flux[k] - truth) / merged.error[k]).powi(2);
        n += 1.0;
    }
    assert!(((squares / n).sqrt() - 1.0f64).abs() < 0.05, "{}", squares / n);
    // the arm that was scaled carries the error of the scale, the other one does not
    let systematic = |wavelength: f64| {
        let k = merged.wavelength.partition_point(|w| *w < wavelength);
        merged.systematic[k] / merged.flux[k]
    };
    assert_eq!(systematic(750.0), 0.0);
    assert!((systematic(950.0) / (error / ratio) - 1.0).abs() < 1e-9, "{}", systematic(950.0));
    let step = merged.edges[11] / merged.edges[10] - 1.0;
    assert!((step * super::resample::LIGHT / 13.0 - 1.0).abs() < 1e-3);
}

#[test]
fn a_scale_that_cannot_be_believed_is_reported_and_not_applied() {
    let (vis, nir) = (arm([700.0, 850.0], 1.0, 1), arm([795.0, 1000.0], 1.6, 2));
    let (merged, scale) = merge_arms([("VIS", &vis), ("NIR", &nir)], &rule()).unwrap();
    assert!(scale.applied.unwrap_err().contains("1.6"));
    let k = merged.wavelength.partition_point(|w| *w < 950.0);
    assert!((merged.flux[k] / (1.6 * (950.0f64 / 800.0).powi(-2)) - 1.0).abs() < 0.2);
    let join = merged.joins.iter().find(|join| join.names[1] == "NIR").unwrap();
    assert!(join.applied == 1.0 && join.contradictions > 10, "{join:?}");
    // where the two contradict each other the samples say so
    assert!(merged.quality.iter().filter(|bits| **bits == flags::CONTRADICTORY).count() == join.contradictions);
    let apart = arm([870.0, 1000.0], 1.0, 3);
    let (_, scale) = merge_arms([("VIS", &vis), ("NIR", &apart)], &rule()).unwrap();
    assert!(scale.ratio.is_none() && scale.applied.is_err());
    let mut counts = vis.clone();
    counts.unit = FluxUnit::ElectronsPerSecondNm;
    assert!(merge_arms([("VIS", &counts), ("NIR", &apart)], &rule()).is_err());
}
