use jiff::Timestamp;
use ndarray::s;

use super::detector::Effects;
use super::*;
use crate::fits::{ReadLimits, ScanLimits, read_image, scan};
use crate::instrument::{Arm, Binning, Classification, Usage};

fn start() -> Timestamp {
    "2026-03-10T19:00:00Z".parse().expect("a time")
}

fn one(template: TemplatePlan, seed: u64) -> SimFrame {
    NightPlan::new(start()).with(template).frames(seed).expect("a valid plan").next().expect("a frame").expect("drawn")
}

fn ccd(frame: &SimFrame) -> &Array2<u16> {
    match &frame.pixels {
        Pixels::U16(pixels) => pixels,
        Pixels::F32(_) => panic!("not a CCD frame"),
    }
}

fn infrared(frame: &SimFrame) -> &Array2<f32> {
    match &frame.pixels {
        Pixels::F32(pixels) => pixels,
        Pixels::U16(_) => panic!("not an infrared frame"),
    }
}

/// Mean and standard deviation.
fn moments(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let n = values.clone().count() as f64;
    let mean = values.clone().sum::<f64>() / n;
    (mean, (values.map(|value| (value - mean).powi(2)).sum::<f64>() / n).sqrt())
}

#[test]
fn a_bias_has_the_level_noise_and_shape_of_its_mode() {
    let setups =
        [(1, (1, 1), (4096, 908)), (2, (2, 1), (4096, 454)), (3, (1, 1), (4096, 908)), (4, (2, 2), (2048, 454))];
    for (mode, (x, y), shape) in setups {
        let frame = one(TemplatePlan::vis_bias(mode, Binning { x, y }, 1), 7);
        let (adu, truth) = (ccd(&frame), &frame.truth);
        assert_eq!(adu.dim(), shape);
        let pairs = adu.iter().zip(truth.expected.iter());
        let residuals = pairs.map(|(&adu, &e)| f64::from(adu) * truth.gain - f64::from(e) - truth.offset);
        let (mean, deviation) = moments(residuals);
        // Quantisation adds gain / sqrt(12) in square.
        let noise = truth.ron.hypot(truth.gain / 12_f64.sqrt());
        assert!(mean.abs() < 0.02, "mode {mode}: mean {mean}");
        assert!((deviation / noise - 1.0).abs() < 0.005, "mode {mode}: {deviation} against {noise}");
        assert!((truth.level / truth.gain - 1000.0).abs() < 3.0);
        assert!(truth.cosmics.is_empty());
    }
}

#[test]
fn a_dark_has_signal_hot_pixels_and_cosmics_but_not_in_the_border() {
    let mut plan = NightPlan::new(start()).with(TemplatePlan::nir_dark(120.0, 1));
    let quiet = Effects { row_drift: 0.0, channels: 0.0, blinking: 0.0, diffusion: 0.0, ..Effects::default() };
    plan.instrument.nir.detector = quiet;
    let frame = plan.frames(7).expect("a valid plan").next().expect("a frame").expect("drawn");
    let (adu, truth) = (infrared(&frame), &frame.truth);
    let mut residual = adu.mapv(|adu| f64::from(adu) * truth.gain - truth.offset);
    residual.zip_mut_with(&truth.expected, |residual, &expected| *residual -= f64::from(expected));
    let (mean, deviation) = moments(residual.slice(s![0..4, ..]).iter().copied());
    assert!(mean.abs() < 0.3 && (deviation / 7.3 - 1.0).abs() < 0.03, "border {mean} {deviation}");
    assert!(truth.expected.slice(s![0..4, ..]).iter().all(|&electrons| electrons == 0.0));

    for &at in &truth.cosmics {
        assert!(at.0 >= 4 && at.0 < 2044 && at.1 >= 4 && at.1 < 2044);
        residual[at] = 0.0;
    }
    assert!((60..2000).contains(&truth.cosmics.len()), "{}", truth.cosmics.len());
    // Every pixel's deviation in units of its own noise is of unit width, hot or not.
    let scaled = residual.slice(s![4..2044, 4..2044]);
    let science = truth.expected.slice(s![4..2044, 4..2044]);
    let pedestal = 2.0 + 3.0 * (-120.0_f64 / 20.0).exp();
    let pulls = scaled
        .iter()
        .zip(science)
        .map(|(&residual, &expected)| residual / (7.3_f64.powi(2) + (f64::from(expected) - pedestal).max(0.0)).sqrt());
    let (mean, deviation) = moments(pulls);
    assert!(mean.abs() < 0.01 && (deviation - 1.0).abs() < 0.01, "pulls {mean} {deviation}");
    let hot = truth.hot.iter().filter(|&&rate| rate > 0.0).count();
    assert!((25_000..30_000).contains(&hot), "{hot}");
}

#[test]
fn same_seed_same_bytes_on_any_number_of_threads_and_another_seed_others() {
    let plan = NightPlan::new(start()).with(TemplatePlan::nir_dark(10.0, 2));
    let draw = |seed: u64, threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| plan.frames(seed).expect("a valid plan").collect::<Result<Vec<_>, _>>().expect("drawn"))
    };
    let frames = draw(1, 1);
    assert!(frames == draw(1, 3));
    assert_ne!(frames[0].pixels, frames[1].pixels);
    assert_eq!(frames[0].truth.hot, frames[1].truth.hot);
    let other = draw(2, 1);
    assert_ne!(frames[0].pixels, other[0].pixels);
    assert_ne!(frames[0].truth.hot, other[0].truth.hot);
}

#[test]
fn every_frame_of_a_complete_night_classifies_as_planned() {
    let rules = Classification::builtin().expect("valid rules");
    let exposures = NightPlan::complete(start()).exposures().expect("a valid plan");
    let mut names = std::collections::BTreeSet::new();
    for exposure in &exposures {
        let meta = rules
            .classify(&exposure.name, &exposure.header, exposure.shape(), exposure.bitpix(), exposure.start)
            .unwrap_or_else(|error| panic!("{}: {error}", exposure.name));
        assert_eq!(meta.warnings, Vec::<String>::new(), "{:?}", exposure.kind);
        assert_eq!(format!("{}.fits", meta.data_id), exposure.name);
        assert!(meta.tpl_start <= meta.date_obs && meta.tpl_expno <= meta.tpl_nexp);
        let kind = match exposure.kind {
            FrameKind::Bias if meta.arm == Arm::Acq => "acq_bias",
            FrameKind::Bias => "bias",
            FrameKind::Dark => "dark",
            FrameKind::PinholeArc => "pinhole_arc",
            FrameKind::PinholeFlat => "pinhole_flat",
            FrameKind::SlitFlat => "slit_flat",
            FrameKind::DeuteriumFlat => "d2_flat",
            FrameKind::LampOff => "lamp_off",
            FrameKind::MultiPinholeArc => "multi_pinhole_arc",
            FrameKind::StandardStare => "standard_stare",
            FrameKind::StandardNod => "standard_nod",
            FrameKind::ObjectStare => "object_stare",
            FrameKind::ObjectNod => "object_nod",
            FrameKind::Acquisition => "acq_image",
            other => panic!("{other:?} is not in this night"),
        };
        assert_eq!(meta.kind, kind);
        assert_eq!(meta.recipe.is_some(), meta.usage == Usage::Reduce);
        assert!(names.insert(exposure.name.clone()), "{} twice", exposure.name);
    }
    assert!(exposures.windows(2).all(|pair| pair[0].start < pair[1].start));
    assert_eq!(exposures.len(), 73);
}

#[test]
fn written_frames_are_read_back_as_they_were() {
    let folder = tempfile::tempdir().expect("a directory");
    let frame = one(TemplatePlan::vis_bias(1, Binning { x: 2, y: 2 }, 1), 3);
    let path = write(&frame, folder.path()).expect("written");
    let image = read_image(&path, &ReadLimits::default()).expect("read");
    assert!(image.data.iter().zip(ccd(&frame)).all(|(&read, &drawn)| read == f32::from(drawn)));
    for card in frame.header.cards() {
        assert_eq!(image.header.get(&card.keyword), card.value.as_ref(), "{}", card.keyword);
    }
    let again = write(&frame, folder.path());
    assert!(again.is_err(), "an existing file must not be replaced");
}

#[test]
fn sparse_files_are_complete_and_cost_nothing() {
    let folder = tempfile::tempdir().expect("a directory");
    let plan = NightPlan::new(start())
        .with(TemplatePlan::vis_bias(1, Binning { x: 1, y: 1 }, 1))
        .with(TemplatePlan::nir_dark(10.0, 1));
    for exposure in plan.exposures().expect("a valid plan") {
        let path = write_sparse(&exposure, folder.path()).expect("written");
        let scan = scan(&path, &ScanLimits::default()).expect("a complete file");
        assert_eq!(scan.primary().integer("BITPIX"), Ok(exposure.bitpix()));
        let image = read_image(&path, &ReadLimits::default()).expect("read");
        assert_eq!(image.data.dim(), exposure.shape());
        for card in exposure.header.cards() {
            assert_eq!(image.header.get(&card.keyword), card.value.as_ref(), "{}", card.keyword);
        }
        let used = std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(&path).expect("present")) * 512;
        assert!(used < 200_000, "{used} bytes on disk");
    }
}

#[test]
fn plans_that_the_instrument_cannot_do_are_refused_with_the_template() {
    let refused = |template: TemplatePlan, part: &str| {
        let plan = NightPlan::calibrations(start()).with(template);
        let error = plan.exposures().expect_err("impossible");
        assert!(error.to_string().starts_with("template 6 (") && error.to_string().contains(part), "{error}");
    };
    refused(TemplatePlan::vis_bias(5, Binning { x: 1, y: 1 }, 1), "read mode 5");
    refused(TemplatePlan::vis_bias(1, Binning { x: 3, y: 1 }, 1), "binning 3x1");
    refused(TemplatePlan::nir_dark(0.0, 1), "biases have zero");
    refused(TemplatePlan::nir_dark(f64::NAN, 1), "exposure time NaN");
    refused(TemplatePlan { binning: Binning { x: 2, y: 2 }, ..TemplatePlan::nir_dark(5.0, 1) }, "only VIS bins");
}
