//! Whole frames: the same bytes on any number of threads and after an interruption, and the noise that was put in.

use super::*;
use crate::instrument::Binning;
use crate::simulator::Pixels;

fn with_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

#[test]
fn one_and_eight_threads_give_the_same_frames() {
    let plan = usual();
    let star = target(&plan, "template:solar-star", Some(15.0));
    let plan = plan
        .with(TemplatePlan { binning: Binning { x: 2, y: 2 }, ..on(&star, FrameKind::ObjectStare, Arm::Vis, 120.0, 1) })
        .with(on(&star, FrameKind::ObjectNod, Arm::Nir, 120.0, 1))
        .with(on(&star, FrameKind::Acquisition, Arm::Acq, 5.0, 1));
    let night = || draw(&plan).into_iter().map(|drawn| (drawn.frame, drawn.tables)).collect::<Vec<_>>();
    let (one, eight) = (with_threads(1, night), with_threads(8, night));
    assert_eq!(one.len(), 3);
    for ((frame, tables), (other, other_tables)) in one.iter().zip(&eight) {
        assert!(frame == other, "{}", frame.name);
        // NaN stands where the sky has no flux: texts are equal where numbers are not.
        assert!(format!("{tables:?}") == format!("{other_tables:?}"), "{}", frame.name);
    }
}

#[test]
fn a_night_that_goes_on_after_an_interruption_has_the_same_frames() {
    let plan = usual()
        .with(TemplatePlan { gap: 0.0, ..TemplatePlan::new(FrameKind::SlitFlat, Arm::Nir, 60.0, 1) })
        .with(TemplatePlan { gap: 0.0, ..TemplatePlan::nir_dark(20.0, 1) });
    let exposures = plan.exposures().unwrap();
    let [flat, dark] = &exposures[..] else { panic!("two exposures") };
    let mut painter = Painter::new(&plan).unwrap();
    painter.paint(flat).unwrap();
    let whole = painter.paint(dark).unwrap();
    let mut painter = Painter::new(&plan).unwrap();
    painter.pass(flat).unwrap();
    assert!(painter.paint(dark).unwrap() == whole);
    // There is something to remember.
    let forgotten = Painter::new(&plan).unwrap().paint(dark).unwrap();
    let left = sum(&light(dark, &whole)) - sum(&light(dark, &forgotten));
    assert!(left > 1000.0, "{left}");
}

/// Pixels in ADU.
fn adu(frame: &SimFrame) -> Array2<f64> {
    match &frame.pixels {
        Pixels::U16(pixels) => pixels.mapv(f64::from),
        Pixels::F32(pixels) => pixels.mapv(f64::from),
    }
}

#[test]
fn photon_transfer_gives_the_gain_and_read_noise_put_in() {
    for (arm, exptimes) in [(Arm::Vis, [5.0, 15.0]), (Arm::Nir, [3.0, 9.0])] {
        let mut plan = perfect();
        for spectrograph in [&mut plan.instrument.vis, &mut plan.instrument.nir] {
            spectrograph.detector = Effects { photon_noise: true, read_noise: 1.0, ..Effects::none() };
        }
        for exptime in exptimes {
            plan = plan.with(TemplatePlan::new(FrameKind::SlitFlat, arm, exptime, 2));
        }
        let mut painter = Painter::new(&plan).unwrap();
        let frames: Vec<SimFrame> =
            plan.exposures().unwrap().iter().map(|exposure| painter.paint(exposure).unwrap()).collect();
        // Sums over pixels: dark ones (their number, variance), lit ones (number, variance, level), in ADU.
        let (mut dark, mut lit) = ([0.0; 2], [0.0; 3]);
        for pair in frames.chunks(2) {
            let [one, other] = pair else { panic!("pairs") };
            let truth = &one.truth;
            // The first pixel sees no light: the level of the bias.
            let bias = f64::from(truth.expected[[0, 0]]);
            for ((a, b), &expected) in adu(one).iter().zip(&adu(other)).zip(truth.expected.iter()) {
                let (variance, level) = (0.5 * (a - b) * (a - b), 0.5 * (a + b) - bias / truth.gain);
                let electrons = f64::from(expected) - bias;
                if electrons < 0.01 {
                    dark = [dark[0] + 1.0, dark[1] + variance];
                } else if electrons > 500.0 && electrons < 0.8 * truth.gain * 60_000.0 {
                    // Each pixel counts by the inverse of its variance.
                    let weight = 1.0 / electrons;
                    lit = [lit[0] + weight, lit[1] + weight * variance, lit[2] + weight * level];
                }
            }
        }
        let truth = &frames[0].truth;
        // Rounding to whole ADU adds a twelfth.
        let rounding = if arm == Arm::Vis { 1.0 / 12.0 } else { 0.0 };
        let read = dark[1] / dark[0] - rounding;
        let gain = lit[2] / (lit[1] - lit[0] * (read + rounding));
        let ron = read.sqrt() * gain;
        assert!((gain / truth.gain - 1.0).abs() < 0.005, "{arm}: gain {gain} of {}", truth.gain);
        assert!((ron / truth.ron - 1.0).abs() < 0.005, "{arm}: read noise {ron} of {}", truth.ron);
    }
}
