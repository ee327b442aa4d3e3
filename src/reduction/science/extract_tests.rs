//! From strips with known light to traces and spectra.

use ndarray::Array2;

use super::extract::{ExtractOptions, Extracted, Image, extract};
use super::field::Field;
use super::profile::Moffat;
use super::sky::SkyModel;
use super::strip::Strip;
use super::synthetic::{Scene, line};
use super::trace::{Beam, SearchOptions, Source, Trace, TraceError, TracePrior, find, follow};
use super::track::Track;
use crate::reduction::flags;
use crate::reduction::spectrum::order::OrderSpectrum;

/// Sigma of a source along the slit, arcsec; arcsec per column of the synthetic strips.
const SIGMA: f64 = 0.4;
const PIXEL: f64 = 1.0 / 3.6;

/// Light of a source of this many electrons per row in a pixel.
fn star(light: f64, distance: f64) -> f64 {
    light * PIXEL * (-0.5 * (distance / SIGMA).powi(2)).exp() / (SIGMA * (2.0 * std::f64::consts::PI).sqrt())
}

fn no_sky(strip: &Strip) -> SkyModel {
    SkyModel { value: Array2::zeros(strip.shape()), variance: Array2::zeros(strip.shape()) }
}

fn level(strip: &Strip, light: f32) -> SkyModel {
    SkyModel { value: Array2::from_elem(strip.shape(), light), variance: Array2::zeros(strip.shape()) }
}

fn prior() -> TracePrior {
    TracePrior::straight(600.0)
}

fn found(field: &Field) -> (Source, Trace) {
    let fields = std::slice::from_ref(field);
    let source = find(fields, &Beam::SINGLE, &prior(), &SearchOptions::default()).unwrap().remove(0);
    let trace = follow(fields, &source, Beam::SINGLE[0], &prior()).remove(0);
    (source, trace)
}

fn image(trace: &Trace, fwhm: f64) -> Image<'_> {
    Image { trace, shifts: vec![0.0], sign: 1.0, shot: 1.0, shape: Moffat { fwhm, beta: f64::INFINITY } }
}

fn extracted(field: &Field) -> (Extracted, Trace) {
    let (source, trace) = found(field);
    let extracted = extract(field, &[image(&trace, source.fwhm)], None, &ExtractOptions::default());
    (extracted, trace)
}

/// Light per row of the spectrum's grid that `light(row at the middle of the slit)` gives.
fn truth(scene: &Scene, spectrum: &OrderSpectrum, slit: f64, light: impl Fn(f64) -> f64) -> Vec<f64> {
    spectrum.place.iter().map(|row| light(scene.row_at_middle(*row, slit))).collect()
}

/// Mean and scatter of (found - truth) / error where samples are good.
fn pulls(found: &[f64], variance: &[f64], truth: &[f64], flags: &[i32]) -> (f64, f64) {
    let pulls: Vec<f64> =
        (0..found.len()).filter(|k| flags[*k] == 0).map(|k| (found[k] - truth[k]) / variance[k].sqrt()).collect();
    let n = pulls.len() as f64;
    let mean = pulls.iter().sum::<f64>() / n;
    (mean, (pulls.iter().map(|p| (p - mean).powi(2)).sum::<f64>() / n).sqrt())
}

#[test]
fn a_track_gives_pixels_beside_it_the_sample_of_their_wavelength() {
    let scene = Scene { lean: 0.7, falling: true, seed: None, ..Scene::small() };
    let strip = scene.strip(&|_, _| 0.0);
    let track = Track::new(&strip, |_| 1.0).unwrap();
    for at in [(20, 10), (100, 40), (180, 25)] {
        let middle = scene.row_at_middle(at.0 as f64, f64::from(strip.slit[at]));
        let expected = middle - scene.row_at_middle(0.0, 1.0);
        assert!((track.sample(at.0, strip.wavelength[at]) - expected).abs() < 2e-3, "{at:?}");
    }
    assert!(track.width[3..197].iter().all(|width| (width - 0.04).abs() < 1e-5));
    assert!((track.across[50] - (1.0 * 3.6 + 24.5)).abs() < 1e-3);
    assert!(Track::new(&strip, |_| f64::NAN).is_none());
}

#[test]
fn errors_are_those_that_repeats_show_from_faint_to_bright() {
    let options = ExtractOptions::default();
    for (light, slit) in [(60.0, 0.7), (800.0, -2.1), (40_000.0, 0.33)] {
        let (mut mean, mut square, mut boxcar, mut bias) = (0.0, 0.0, 0.0, 0.0);
        const REPEATS: u64 = 6;
        for seed in 0..REPEATS {
            let scene = Scene { shape: (500, 50), lean: 0.4, seed: Some(seed), ..Scene::small() };
            let wave = |u: f64| light * (1.0 + 0.4 * (u / 40.0).sin());
            let strip = scene.strip(&|u, s| 50.0 + star(wave(u), s - slit));
            let field = Field::of(&strip, &level(&strip, 50.0));
            let (source, trace) = found(&field);
            let extracted = extract(&field, &[image(&trace, source.fwhm)], None, &options);
            let spectrum = &extracted.spectra[0];
            let truth = truth(&scene, spectrum, slit, wave);
            let optimal = pulls(&spectrum.flux, &spectrum.variance, &truth, &spectrum.flags);
            let simple = pulls(&spectrum.boxcar, &spectrum.boxcar_variance, &truth, &spectrum.flags);
            mean += optimal.0 / REPEATS as f64;
            square += optimal.1 / REPEATS as f64;
            boxcar += simple.1 / REPEATS as f64;
            let (sum, all) = (spectrum.flux.iter().sum::<f64>(), truth.iter().sum::<f64>());
            bias += (sum / all - 1.0) / REPEATS as f64;
        }
        // 3000 samples: 0.018 in the mean, 0.013 in the scatter
        assert!((0.95..1.05).contains(&square), "{light}: {square}");
        assert!((0.93..1.07).contains(&boxcar), "{light}: boxcar {boxcar}");
        assert!(mean.abs() < 0.08, "{light}: {mean}");
        assert!(bias.abs() < if light > 100.0 { 0.005 } else { 0.03 }, "{light}: bias {bias}");
    }
}

/// Full width at half maximum of the line in a column of samples, in rows.
fn width(values: &[f64]) -> f64 {
    let top = values.iter().copied().fold(0.0, f64::max);
    let crossings: Vec<f64> = (1..values.len())
        .filter(|k| (values[k - 1] < 0.5 * top) != (values[*k] < 0.5 * top))
        .map(|k| k as f64 - (values[k] - 0.5 * top) / (values[k] - values[k - 1]))
        .collect();
    crossings[crossings.len() - 1] - crossings[0]
}

#[test]
fn tilt_costs_no_resolution() {
    // three rows over the slit and more
    for lean in [0.25, 0.7] {
        let scene = Scene { lean, seed: Some(3), ron: 1.0, ..Scene::small() };
        let light = |u: f64| 200.0 + 2e5 * line(u - 100.3, 3.0, 0.8);
        let strip = scene.strip(&|u, s| star(light(u), s - 0.4));
        let (extracted, _) = extracted(&Field::of(&strip, &no_sky(&strip)));
        let single: Vec<f64> = (0..200).map(|row| light(row as f64)).collect();
        let (found, simple) = (width(&extracted.spectra[0].flux), width(&extracted.spectra[0].boxcar));
        assert!((found / width(&single) - 1.0).abs() < 0.02, "{lean}: {found}");
        assert!((simple / width(&single) - 1.0).abs() < 0.03, "{lean}: boxcar {simple}");
        let rows: Vec<f64> =
            strip.value.rows().into_iter().map(|row| row.iter().map(|v| f64::from(*v)).sum()).collect();
        if lean > 0.5 {
            assert!(width(&rows) / width(&single) > 1.02, "a sum of rows does cost some: {}", width(&rows));
        }
    }
}

#[test]
fn tilt_costs_hardly_any_signal() {
    for lean in [0.0, 0.4, 0.7] {
        let scene = Scene { shape: (300, 50), lean, seed: Some(4), ..Scene::small() };
        let bare = Scene { seed: None, ..scene.clone() };
        let shape = |scene: &Scene, sky: f64| scene.strip(&|_, s| sky + star(200.0, s - 0.4));
        let strip = shape(&scene, 50.0);
        let (found, _) = extracted(&Field::of(&strip, &level(&strip, 50.0)));
        // the best that a row can tell: light and profile of every pixel known
        let alone = shape(&bare, 0.0);
        let ideal = |row: usize| -> f64 {
            let pixels = alone.value.row(row).iter().enumerate().map(|(c, v)| (c, f64::from(*v))).collect::<Vec<_>>();
            let light: f64 = pixels.iter().map(|(_, value)| value).sum();
            let signal: f64 = pixels.iter().map(|(c, v)| v * v / strip.variance((row, *c), 50.0 + v)).sum();
            signal.sqrt() / light
        };
        let spectrum = &found.spectra[0];
        let mut parts: Vec<f64> = (20..280).map(|row| 1.0 / spectrum.variance[row].sqrt() / ideal(row)).collect();
        let part = crate::numerics::robust::median_f64(&mut parts).unwrap();
        assert!((0.96..1.04).contains(&part), "{lean}: {part}");
    }
}

#[test]
fn faint_traces_are_found_where_they_are() {
    let (mut wrong, mut square) = (0, 0.0);
    const TRIALS: u64 = 40;
    for seed in 0..TRIALS {
        let scene = Scene { shape: (2000, 50), lean: 0.4, seed: Some(seed), ..Scene::small() };
        let slit = -3.0 + 6.0 * seed as f64 / TRIALS as f64;
        // noise of a row is 8 electrons in 4.3 effective pixels: S/N 0.3 a row
        let strip = scene.strip(&|_, s| 50.0 + star(0.3 * 8.0 * 2.08, s - slit));
        let field = Field::of(&strip, &level(&strip, 50.0));
        match find(&[field], &Beam::SINGLE, &prior(), &SearchOptions::default()) {
            Ok(sources) if (sources[0].position - slit).abs() < 0.5 => square += (sources[0].position - slit).powi(2),
            _ => wrong += 1,
        }
    }
    assert_eq!(wrong, 0);
    // 0.3 pixels
    assert!((square / TRIALS as f64).sqrt() < 0.3 * PIXEL, "{}", (square / TRIALS as f64).sqrt());
}

#[test]
fn an_empty_slit_shows_no_source() {
    for seed in 0..10 {
        let scene = Scene { shape: (600, 50), seed: Some(seed), ..Scene::small() };
        let strip = scene.strip(&|_, _| 50.0);
        let field = Field::of(&strip, &level(&strip, 50.0));
        let result = find(&[field], &Beam::SINGLE, &prior(), &SearchOptions::default());
        assert!(matches!(result, Err(TraceError::NotFound { .. })), "{seed}: {result:?}");
    }
    assert_eq!(find(&[], &Beam::SINGLE, &prior(), &SearchOptions::default()), Err(TraceError::NoPixels));
}

#[test]
fn a_source_of_lines_alone_is_found() {
    let scene = Scene { shape: (2000, 50), lean: 0.4, seed: Some(5), ..Scene::small() };
    let lines = [200.0, 610.0, 1105.0, 1500.0, 1830.0];
    let light = |u: f64| lines.iter().map(|at| 300.0 * line(u - at, 3.0, 0.8)).sum::<f64>();
    let strip = scene.strip(&|u, s| 20.0 + star(light(u), s - 1.4));
    let field = Field::of(&strip, &level(&strip, 20.0));
    let sources = find(&[field], &Beam::SINGLE, &prior(), &SearchOptions::default()).unwrap();
    assert!((sources[0].position - 1.4).abs() < 0.3, "{sources:?}");
}

#[test]
fn several_sources_are_found_and_the_target_is_chosen_by_its_place() {
    let scene = Scene { shape: (800, 50), lean: 0.4, seed: Some(8), ..Scene::small() };
    let strip = scene.strip(&|_, s| star(2000.0, s + 1.0) + star(700.0, s - 1.0));
    let fields = [Field::of(&strip, &no_sky(&strip))];
    let options = SearchOptions { most: 4, ..SearchOptions::default() };
    let both = find(&fields, &Beam::SINGLE, &prior(), &options).unwrap();
    let places: Vec<f64> = both.iter().map(|source| source.position).collect();
    assert_eq!(both.len(), 2, "{both:?}");
    assert!((places[0] + 1.0).abs() < 0.1 && (places[1] - 1.0).abs() < 0.15, "{places:?}");
    let near = SearchOptions { near: Some((1.0, 0.8)), ..options };
    assert!((find(&fields, &Beam::SINGLE, &prior(), &near).unwrap()[0].position - 1.0).abs() < 0.3);
    // two arcseconds apart, each spectrum is its own
    let traces: Vec<Trace> =
        both.iter().map(|source| follow(&fields, source, Beam::SINGLE[0], &prior()).remove(0)).collect();
    let images: Vec<Image> = traces.iter().map(|trace| image(trace, 0.94)).collect();
    let extracted = extract(&fields[0], &images, None, &ExtractOptions::default());
    for (spectrum, light) in extracted.spectra.iter().zip([2000.0, 700.0]) {
        let mean = spectrum.flux.iter().sum::<f64>() / spectrum.len() as f64;
        assert!((mean / light - 1.0).abs() < 0.02, "{light}: {mean}");
    }
}

#[test]
fn bright_traces_correct_the_geometry_and_faint_ones_leave_it_alone() {
    let bend = |row: f64| 0.3 * (row / 800.0 - 0.5).powi(2);
    for (light, tolerance) in [(3000.0, 0.01), (6.0, 0.2)] {
        let scene = Scene { shape: (800, 50), lean: 0.4, seed: Some(2), ..Scene::small() };
        let strip = scene.strip(&|u, s| 20.0 + star(light, s - 0.5 - bend(u)));
        let (_, trace) = found(&Field::of(&strip, &level(&strip, 20.0)));
        for row in [40.0, 400.0, 760.0] {
            let off = trace.at(scene.wavelength(row)) - 0.5 - bend(row);
            assert!(off.abs() < tolerance, "{light} {row}: {off}");
        }
    }
}

#[test]
fn cosmic_rays_are_left_out_and_bright_pixels_are_not() {
    let scene = Scene { shape: (800, 50), lean: 0.4, seed: Some(4), ..Scene::small() };
    let light = |u: f64| 2e4 * (1.0 + 5.0 * line(u - 400.0, 3.0, 0.8));
    let mut strip = scene.strip(&|u, s| star(light(u), s - 0.2));
    let hits: Vec<(usize, usize)> = (0..60).map(|k| (10 + 13 * k, 18 + (k * 7) % 15)).collect();
    for (k, at) in hits.iter().enumerate() {
        // at least 12 sigma of the pixel's own noise
        let sigma = (strip.floor[*at] + strip.value[*at].max(0.0)).sqrt();
        strip.value[*at] += sigma * (12.0 + 2.0 * k as f32);
    }
    let (extracted, _) = extracted(&Field::of(&strip, &no_sky(&strip)));
    let caught = hits.iter().filter(|at| extracted.rejected.contains(at)).count();
    assert!(caught >= 58, "{caught} of 60");
    assert!(extracted.rejected.len() <= 60 + 8, "{}", extracted.rejected.len());
    let spectrum = &extracted.spectra[0];
    let truth = truth(&scene, spectrum, 0.2, light);
    let ratio = spectrum.flux.iter().sum::<f64>() / truth.iter().sum::<f64>();
    assert!((ratio - 1.0).abs() < 0.002, "{ratio}");
}

#[test]
fn rows_without_good_pixels_are_flagged_with_what_is_wrong() {
    let scene = Scene { lean: 0.3, seed: Some(9), ..Scene::small() };
    let mut strip = scene.strip(&|_, s| star(3000.0, s));
    for row in 90..94 {
        strip.flags.row_mut(row).fill(flags::SATURATED);
    }
    // more than half of a trace is enough
    (20..24).for_each(|column| strip.flags[(50, column)] |= flags::HOT);
    let (extracted, _) = extracted(&Field::of(&strip, &no_sky(&strip)));
    let spectrum = &extracted.spectra[0];
    assert_eq!(spectrum.len(), 200);
    for row in 90..94 {
        assert_ne!(spectrum.flags[row] & flags::SATURATED, 0);
        assert!(spectrum.variance[row] > 2.0 * spectrum.variance[150]);
    }
    assert_eq!((spectrum.flags[50], spectrum.flags[80]), (0, 0));
    assert!(spectrum.variance[50] > spectrum.variance[150]);
}

#[test]
fn what_the_order_does_not_reach_has_no_spectrum() {
    let scene = Scene { seed: None, ..Scene::small() };
    let strip = scene.strip(&|_, _| 1.0);
    let source = Source { position: 9.0, significance: 9.0, fwhm: 1.0, light: 5.0 };
    let trace = Trace::expected(&source, 0.0, &prior());
    let field = Field::of(&strip, &no_sky(&strip));
    let extracted =
        extract(&field, &[image(&trace, 1.0)], None, &ExtractOptions { reach: 2.0, ..ExtractOptions::default() });
    assert!(extracted.spectra[0].is_empty() && extracted.rejected.is_empty());
}

#[test]
fn the_error_of_the_sky_is_shared_by_the_pixels_of_a_row() {
    let scene = Scene { lean: 0.0, seed: None, ..Scene::small() };
    let strip = scene.strip(&|_, s| star(500.0, s));
    let trace = Trace::expected(&Source { position: 0.0, significance: 9.0, fwhm: 0.94, light: 500.0 }, 0.0, &prior());
    let variance = |sky: f32| {
        let sky = SkyModel { variance: Array2::from_elem(strip.shape(), sky), ..no_sky(&strip) };
        extract(&Field::of(&strip, &sky), &[image(&trace, 0.94)], None, &ExtractOptions::default()).spectra[0].variance
            [100]
    };
    // a source of 1.4 arcsec of effective width: an error of 2 electrons a pixel is one of about 10 in all
    let added = (variance(4.0) - variance(0.0)).sqrt();
    assert!((8.0..14.0).contains(&added), "{added}");
}
