//! The two recipes on small frames with known truth. VIS frames binned 8 x 8 have 101 x 512 exposed pixels.

use ndarray::Array2;

use super::*;
use crate::instrument::{Arm, Binning, FrameMeta, Usage};
use crate::quality::QcValue;
use crate::reduction::detector::synthetic::Scene;
use crate::reduction::flags;

fn scene() -> Scene {
    Scene { rows: 512, columns: 101, side: 6, ..Scene::ccd() }
}

pub(super) fn meta(name: &str, scene: &Scene) -> FrameMeta {
    let date_obs: jiff::Timestamp = "2026-03-10T19:00:42Z".parse().unwrap();
    FrameMeta {
        data_id: name.to_string(),
        arm: Arm::Vis,
        kind: "bias".to_string(),
        usage: Usage::Reduce,
        usage_reason: String::new(),
        recipe: Some("mbias".to_string()),
        date_obs,
        mjd_obs: 61_109.8,
        exptime: 0.0,
        dpr_catg: "CALIB".to_string(),
        dpr_type: "BIAS".to_string(),
        dpr_tech: "IMAGE".to_string(),
        tpl_id: String::new(),
        tpl_name: String::new(),
        tpl_start: date_obs,
        tpl_expno: 1,
        tpl_nexp: 5,
        obs_id: None,
        obs_name: String::new(),
        prog_id: String::new(),
        object: String::new(),
        binning: Some(Binning { x: 8, y: 8 }),
        read_mode: Some("3".to_string()),
        gain: scene.gain,
        // wrong on purpose: nothing may believe it
        ron: Some(99.0),
        slit: None,
        slitmask: None,
        lamp: None,
        filter: None,
        columns: scene.columns + 2 * scene.side,
        rows: scene.rows + 2 * scene.edge,
        detector_temp: Some(153.2),
        common_path_temp: None,
        on_sky: crate::instrument::OnSky::default(),
        warnings: vec![],
    }
}

fn input(scene: &Scene) -> RecipeInput {
    let (images, _) = scene.render();
    let frame = |(k, adu)| RawFrame { meta: meta(&format!("frame {k}"), scene), adu };
    RecipeInput { frames: images.into_iter().enumerate().map(frame).collect(), ..RecipeInput::default() }
}

fn as_darks(mut input: RecipeInput, exptime: f64) -> RecipeInput {
    for frame in &mut input.frames {
        frame.meta.dpr_type = "DARK".to_string();
        frame.meta.exptime = exptime;
    }
    input
}

fn run(recipe: &str, input: RecipeInput) -> Result<RecipeOutput, RecipeError> {
    by_name(recipe).unwrap().run(input, &toml::Table::new())
}

fn number(output: &RecipeOutput, name: &str) -> f64 {
    output.qc.iter().find(|metric| metric.name == name).and_then(|metric| metric.number()).unwrap_or(f64::NAN)
}

/// Width of (value - truth) / error over good pixels.
fn pull_width(scene: &Scene, product: &ProductImage) -> f64 {
    let truth = scene.truth();
    let variance = product.variance.as_ref().unwrap();
    let pulls: Vec<f64> = product
        .value
        .indexed_iter()
        .filter(|(at, _)| product.flags[*at] == 0)
        .map(|(at, value)| (f64::from(*value) - truth[at]) / f64::from(variance[at]).sqrt())
        .collect();
    (pulls.iter().map(|pull| pull * pull).sum::<f64>() / pulls.len() as f64).sqrt()
}

#[test]
fn every_read_mode_gives_its_level_and_noise() {
    for (gain, ron) in [(0.6, 2.5), (2.0, 6.5), (0.55, 2.9), (1.12, 3.8)] {
        let scene = Scene { gain, ron, ..scene() };
        let output = run("mbias", input(&scene)).unwrap();
        let expected = (ron * ron + gain * gain / 12.0f64).sqrt();
        assert!((number(&output, "RAW RON") / expected - 1.0).abs() < 0.02, "{gain} {ron}: {:?}", output.qc);
        assert!((number(&output, "MBIAS MEDIAN") - scene.pedestal).abs() < 0.1);
        assert!((number(&output, "MASTER RON") / number(&output, "RON PREDICTED") - 1.0).abs() < 0.03);
        assert!((number(&output, "NOISE RATIO") - 1.0).abs() < 0.02);
        let width = pull_width(&scene, &output.products[0]);
        assert!((width - 1.0).abs() < 0.03, "{width}");
        assert_eq!(number(&output, "BADPIX NUM"), 0.0);
    }
}

#[test]
fn products_have_the_shapes_and_planes_they_promise() {
    let output = run("mbias", input(&scene())).unwrap();
    let [master, map] = &output.products[..] else { panic!("{}", output.products.len()) };
    assert_eq!((master.catg.as_str(), master.suffix.as_str(), master.unit.as_str()), ("MASTER_BIAS", "", "electron"));
    assert_eq!((map.catg.as_str(), map.suffix.as_str(), map.variance.is_none()), ("BP_MAP", "_BPMAP", true));
    assert_eq!((master.value.dim(), map.value.dim(), master.n_combined), ((512, 101), (512, 101), 5));
    assert_eq!(master.flags, map.flags);
    let temperature = output.qc.iter().find(|metric| metric.name == "DETECTOR TEMP").unwrap();
    assert_eq!((temperature.number(), temperature.to_header), (Some(153.2), false));
    let common_path = output.qc.iter().find(|metric| metric.name == "CPATH TEMP").unwrap();
    assert!(matches!(&common_path.value, QcValue::Absent(reason) if reason.contains("header")));
}

#[test]
fn unbinned_columns_of_a_2x1_frame() {
    let scene = Scene { rows: 4096, columns: 404, side: 25, frames: 3, ..Scene::ccd() };
    let mut set = input(&scene);
    set.frames.iter_mut().for_each(|frame| frame.meta.binning = Some(Binning { x: 2, y: 1 }));
    let output = run("mbias", set).unwrap();
    assert_eq!(output.products[0].value.dim(), (4096, 404));
    assert!((number(&output, "MBIAS MEDIAN") - scene.pedestal).abs() < 0.1);
    assert!((number(&output, "REF RON") / scene.ron - 1.0).abs() < 0.02);
}

#[test]
fn a_drifting_level_is_brought_back_and_said() {
    let scene = Scene { level_shift: vec![0.0, 6.0, 0.0, -3.0, -3.0], ..scene() };
    let output = run("mbias", input(&scene)).unwrap();
    assert!((pull_width(&scene, &output.products[0]) - 1.0).abs() < 0.03);
    assert!((number(&output, "RAW RON") / 3.814 - 1.0).abs() < 0.02);
    assert!((number(&output, "LEVEL RANGE") - 9.0).abs() < 0.2);
    assert!((number(&output, "OVERSCAN DRIFT") - 6.0).abs() < 0.3);
    assert!(output.remarks.iter().any(|remark| remark.contains("brought to the mean level")), "{:?}", output.remarks);
}

#[test]
fn frames_that_do_not_belong_are_left_out_by_name() {
    let scene = Scene { noise_factor: vec![1.0, 3.0], level_shift: vec![0.0, 0.0, 120.0], ..scene() };
    let output = run("mbias", input(&scene)).unwrap();
    let names: Vec<&str> = output.rejected.iter().map(|frame| frame.data_id.as_str()).collect();
    assert_eq!(names, ["frame 1", "frame 2"]);
    assert_eq!((number(&output, "NFRAMES USED"), output.products[0].n_combined), (3.0, 3));
    assert!((number(&output, "RAW RON") / 3.814 - 1.0).abs() < 0.03);

    let few = Scene { frames: 4, ..scene };
    let error = run("mbias", input(&few)).unwrap_err();
    assert!(matches!(error, RecipeError::Unprocessable { .. }));
    let text = error.to_string();
    assert!(text.contains("2 of 4 frames") && text.contains("frame 1: its noise is 11"), "{text}");
}

#[test]
fn darks_lose_cosmic_rays_and_keep_hot_pixels() {
    let hot: Vec<_> = (0..60).map(|i| (4 + i * 8, 5 + i % 9 * 10, 60.0 + 40.0 * i as f64)).collect();
    let scene = Scene { dark: 9.0, hot: hot.clone(), ..scene() }.with_rays(25);
    let output = run("mdark", as_darks(input(&scene), 300.0)).unwrap();
    let master = &output.products[0];
    assert_eq!(master.catg, "MASTER_DARK");
    assert!(hot.iter().all(|(r, c, _)| master.flags[[*r, *c]] & flags::HOT != 0));
    assert!((60.0..64.0).contains(&number(&output, "HOTPIX NUM")), "{}", number(&output, "HOTPIX NUM"));
    assert!((pull_width(&scene, master) - 1.0).abs() < 0.03, "{}", pull_width(&scene, master));
    assert!((number(&output, "MDARK MEDIAN") - scene.pedestal - 9.0).abs() < 0.1);
    assert!(number(&output, "CR NUM") > 230.0);
    assert!(output.products[1].value.iter().zip(&master.flags).all(|(bad, flags)| (*bad != 0.0) == (*flags != 0)));
}

#[test]
fn descriptions_that_do_not_fit_say_what_and_what_to_do() {
    let recipe = by_name("mbias").unwrap();
    let good: Vec<FrameMeta> = (0..4).map(|k| meta(&format!("frame {k}"), &scene())).collect();
    recipe.verify(&good, &toml::Table::new()).unwrap();
    type Change = fn(&mut FrameMeta);
    let changes: [(Change, &str); 10] = [
        (|m| m.dpr_type = "DARK".into(), "DPR TYPE = \"DARK\", expected \"BIAS\""),
        (|m| m.arm = Arm::Nir, "SEQ ARM = NIR"),
        (|m| m.binning = Some(Binning { x: 2, y: 2 }), "DET BINX x BINY = 2x2"),
        (|m| m.read_mode = None, "DET READ CURID = nothing"),
        (|m| m.gain = 1.2, "conversion factor (e-/ADU) = 1.2"),
        (|m| m.gain = 40.0, "conversion factor of 40 e-/ADU"),
        (|m| m.exptime = 5.0, "EXPTIME = 5 s, expected at most 0.01 s"),
        (|m| m.exptime = f64::NAN, "EXPTIME = NaN"),
        (|m| m.columns = 70, "NAXIS1 x NAXIS2 = 70 x 512"),
        (|m| m.data_id = "frame 0".into(), "is in the set twice"),
    ];
    for (change, expected) in changes {
        let mut frames = good.clone();
        change(&mut frames[2]);
        let text = recipe.verify(&frames, &toml::Table::new()).unwrap_err().to_string();
        assert!(text.contains(expected) && text.contains("frame"), "{text}");
    }
    let text = recipe.verify(&good[..2], &toml::Table::new()).unwrap_err().to_string();
    assert!(text.contains("2 frames, at least 3"), "{text}");
    let mut narrow = good.clone();
    narrow.iter_mut().for_each(|frame| frame.columns = 70);
    let text = recipe.verify(&narrow, &toml::Table::new()).unwrap_err().to_string();
    assert!(text.contains("read-out window"), "{text}");
    assert!(by_name("mdark").unwrap().verify(&good, &toml::Table::new()).is_err());
}

#[test]
fn frames_without_signal_or_of_another_shape_are_errors() {
    let mut copies = input(&scene());
    for k in 1..5 {
        copies.frames[k].adu = copies.frames[0].adu.clone();
    }
    assert!(run("mbias", copies).unwrap_err().to_string().contains("same pixels as frame 1"));
    let mut empty = input(&scene());
    empty.frames.iter_mut().for_each(|frame| frame.adu.fill(f32::NAN));
    assert!(run("mbias", empty).unwrap_err().to_string().contains("not numbers"));
    let mut cut = input(&scene());
    cut.frames[3].adu = Array2::zeros((10, 10));
    assert!(run("mbias", cut).unwrap_err().to_string().contains("frame 3 has an image of (10, 10)"));
    let nothing = RecipeInput::default();
    assert!(matches!(run("mdark", nothing), Err(RecipeError::Input { .. })));
}

#[test]
fn memory_is_foreseen() {
    let frames: Vec<FrameMeta> = (0..5).map(|k| meta(&format!("frame {k}"), &scene())).collect();
    let raw = 5 * 113 * 512 * 4;
    assert!(by_name("mbias").unwrap().peak_bytes(&frames) > raw);
}
