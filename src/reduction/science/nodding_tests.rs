//! Exposures at several places of the slit.

use super::extract::ExtractOptions;
use super::nodding::{Group, Nodded, NoddingOptions, Placed, reduce};
use super::pair::Difference;
use super::strip::Strip;
use super::synthetic::{Scene, line};
use super::trace::{SearchOptions, TraceError, TracePrior};

const SIGMA: f64 = 0.4;
const PIXEL: f64 = 1.0 / 3.6;
const LEAN: f64 = 0.5;

fn star(light: f64, distance: f64) -> f64 {
    light * PIXEL * (-0.5 * (distance / SIGMA).powi(2)).exp() / (SIGMA * (2.0 * std::f64::consts::PI).sqrt())
}

/// Sky of one exposure: a continuum and bright lines.
fn sky(u: f64) -> f64 {
    30.0 + (0..8).map(|k| 4000.0 * line(u - 40.0 - 70.0 * f64::from(k), 3.5, 0.8)).sum::<f64>()
}

fn spectrum(u: f64) -> f64 {
    1500.0 * (1.0 + 0.3 * (u / 50.0).cos())
}

fn exposure(seed: u64, place: Option<f64>, brightness: f64, airglow: f64) -> Vec<Strip> {
    let scene = Scene { shape: (600, 50), lean: LEAN, seed: Some(seed), ..Scene::small() };
    let source = move |u: f64, s: f64| place.map_or(0.0, |place| star(brightness * spectrum(u), s - place - 0.1));
    vec![scene.strip(&|u, s| airglow * sky(u) + source(u, s))]
}

fn options() -> NoddingOptions {
    NoddingOptions {
        search: SearchOptions::default(),
        extract: ExtractOptions::default(),
        prior: TracePrior::straight(600.0),
    }
}

fn nodded(exposures: &[(Vec<Strip>, Option<f64>)], groups: &[Group]) -> Result<Nodded, TraceError> {
    let placed: Vec<Placed> = exposures.iter().map(|(strips, offset)| Placed { strips, offset: *offset }).collect();
    reduce(groups, &placed, &options())
}

fn group(plus: &[usize], minus: &[usize]) -> Group {
    Group { plus: plus.to_vec(), minus: minus.to_vec() }
}

/// Mean and scatter of the pulls of the combined spectrum.
fn pulls(nodded: &Nodded) -> (f64, f64) {
    let found = &nodded.orders[0][0].combined.spectrum;
    // place of the source in the exposure whose grid it is
    let slit = nodded.orders[0][0].trace.at(612.0);
    let scene = Scene { lean: LEAN, ..Scene::small() };
    let pulls: Vec<f64> = (0..found.len())
        .filter(|k| found.flags[*k] == 0)
        .map(|k| (found.flux[k] - spectrum(scene.row_at_middle(found.place[k], slit))) / found.variance[k].sqrt())
        .collect();
    let mean = pulls.iter().sum::<f64>() / pulls.len() as f64;
    (mean, (pulls.iter().map(|p| (p - mean).powi(2)).sum::<f64>() / pulls.len() as f64).sqrt())
}

#[test]
fn airglow_that_drifts_between_the_places_leaves_nothing() {
    let exposures = [(exposure(1, Some(2.5), 1.0, 1.0), Some(2.5)), (exposure(2, Some(-2.5), 1.0, 1.03), Some(-2.5))];
    let nodded = nodded(&exposures, &[group(&[0], &[1])]).unwrap();
    let (sum, n) = nodded.groups[0].sky;
    let scatter = (sum / n as f64).sqrt();
    assert!((0.95..1.05).contains(&scatter), "{scatter}");
    let (mean, width) = pulls(&nodded);
    assert!(mean.abs() < 0.15 && (0.93..1.08).contains(&width), "{mean} {width}");
    assert!((nodded.sources[0].position - 0.1).abs() < 0.05);
    // the drift itself, on the lines: 120 electrons a pixel; what is left of it averages out below 0.3 % of the sky
    let difference = Difference::of(&[&exposures[0].0[0]], &[&exposures[1].0[0]]).unwrap();
    let expected = difference.residual(&[(2.6, 1.5), (-2.4, 1.5)]);
    let lit: Vec<usize> = (20..580).filter(|row| difference.sky[*row] > 2000.0).collect();
    let mean = |of: &dyn Fn(usize) -> f64| lit.iter().map(|row| of(*row)).sum::<f64>() / lit.len() as f64;
    let (drift, sky) = (mean(&|row| expected[row].value), mean(&|row| difference.sky[row]));
    assert!((drift / sky + 0.03).abs() < 0.003, "{}", drift / sky);
}

#[test]
fn repeats_agree_and_their_errors_are_those_of_the_mean() {
    let places = [2.5, -2.5, -2.5, 2.5];
    let exposures: Vec<(Vec<Strip>, Option<f64>)> = (0..4)
        .map(|k| (exposure(10 + k as u64, Some(places[k]), 1.0, 1.0 + 0.01 * k as f64), Some(places[k])))
        .collect();
    let four = nodded(&exposures, &[group(&[0], &[1]), group(&[3], &[2])]).unwrap();
    let (mean, width) = pulls(&four);
    assert!(mean.abs() < 0.15 && (0.93..1.07).contains(&width), "{mean} {width}");
    let combined = &four.orders[0][0].combined;
    assert!((0.9..1.1).contains(&(combined.chi_square / combined.degrees)), "{}", combined.chi_square);
    let two = nodded(&exposures, &[group(&[0], &[1])]).unwrap();
    let median = |nodded: &Nodded| nodded.orders[0][0].combined.spectrum.variance[300];
    assert!((median(&two) / median(&four) - 2.0).abs() < 0.3, "{} {}", median(&two), median(&four));
}

#[test]
fn counts_may_be_unequal_and_jitter_is_known() {
    let places = [2.5, -2.5, -3.1];
    let exposures: Vec<(Vec<Strip>, Option<f64>)> =
        (0..3).map(|k| (exposure(20 + k as u64, Some(places[k]), 1.0, 1.0), Some(places[k]))).collect();
    let nodded = nodded(&exposures, &[group(&[0], &[1, 2])]).unwrap();
    let (mean, width) = pulls(&nodded);
    assert!(mean.abs() < 0.3 && (0.9..1.15).contains(&width), "{mean} {width}");
}

#[test]
fn a_cloud_takes_its_weight_from_an_exposure_and_a_broken_group_is_left_out() {
    let places = [2.5, -2.5, 2.5, -2.5, 2.5, -2.5];
    let bright = [1.0, 1.0, 1.0, 0.1, 1.0, 1.0];
    let mut exposures: Vec<(Vec<Strip>, Option<f64>)> =
        (0..6).map(|k| (exposure(30 + k as u64, Some(places[k]), bright[k], 1.0), Some(places[k]))).collect();
    exposures[5].0 = Vec::new();
    let nodded = nodded(&exposures, &[group(&[0], &[1]), group(&[2], &[3]), group(&[4], &[5])]).unwrap();
    assert!((nodded.scales[3] - 0.1).abs() < 0.02, "{:?}", nodded.scales);
    let failures: Vec<bool> = nodded.groups.iter().map(|group| group.failure.is_empty()).collect();
    assert_eq!(failures, [true, true, false]);
    let (mean, width) = pulls(&nodded);
    assert!(mean.abs() < 0.3 && (0.9..1.1).contains(&width), "{mean} {width}");
}

#[test]
fn a_source_off_the_slit_in_half_of_the_exposures_has_one_image() {
    let exposures = [(exposure(40, Some(0.0), 1.0, 1.0), Some(0.0)), (exposure(41, None, 1.0, 0.97), None)];
    let nodded = nodded(&exposures, &[group(&[0], &[1])]).unwrap();
    let (mean, width) = pulls(&nodded);
    assert!(mean.abs() < 0.2 && (0.92..1.08).contains(&width), "{mean} {width}");
    assert_eq!(nodded.scales, [1.0]);
}

#[test]
fn nothing_on_the_slit_is_said_so() {
    let exposures = [(exposure(50, None, 1.0, 1.0), Some(2.5)), (exposure(51, None, 1.0, 1.02), Some(-2.5))];
    assert!(matches!(nodded(&exposures, &[group(&[0], &[1])]), Err(TraceError::NotFound { .. })));
}

#[test]
fn the_light_has_the_target_in_its_middle_and_honest_noise() {
    let at = |seed: u64, place: f64, airglow: f64| (exposure(seed, Some(place), 1.0, airglow), Some(place));
    let exposures = [at(1, 2.0, 1.0), at(2, -2.0, 1.02), at(3, -2.0, 0.99), at(4, 2.0, 1.0)];
    let two = nodded(&exposures[..2], &[group(&[0], &[1])]).unwrap();
    let four = nodded(&exposures, &[group(&[0], &[1]), group(&[3], &[2])]).unwrap();
    let total: f64 = four.orders[0][0].combined.spectrum.flux.iter().filter(|flux| flux.is_finite()).sum();
    // a place of the target is one image, however many groups have it
    assert_eq!((two.light.len(), four.light.len()), (2, 2));
    for (one, both) in two.light.iter().zip(&four.light) {
        let (mut inside, mut squares, mut n, mut gain) = (0.0, 0.0, 0.0, 0.0);
        for (at, value) in both.value.indexed_iter().filter(|(at, _)| both.flags[*at] == 0 && one.flags[*at] == 0) {
            let (value, slit) = (f64::from(*value), f64::from(both.slit[at]));
            if (slit - 0.1).abs() < 1.6 {
                inside += value;
            } else if slit.abs() > 2.0 && (slit.abs() - 4.0).abs() > 2.0 {
                squares += value * value / f64::from(both.variance[at]);
                gain += f64::from(both.variance[at] / one.variance[at]);
                n += 1.0;
            }
        }
        assert!((inside / total - 1.0).abs() < 0.015, "{inside} {total}");
        assert!(n > 1000.0 && ((squares / n).sqrt() - 1.0f64).abs() < 0.05, "{} of {n}", squares / n);
        assert!((gain / n - 0.5).abs() < 0.03, "two groups have half of the variance: {}", gain / n);
    }
}
