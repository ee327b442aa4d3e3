//! Light adds up: of stars and sky, of lamps, with brightness and with time.

use super::*;
use crate::simulator::plan::{LitLamp, Source};

/// Images are rounded to 24 bits, some of them on top of a bias.
const ROUNDING: f64 = 1.0e-6;

#[test]
fn stars_and_sky_add_up() {
    let mut plan = perfect();
    // Light that goes astray and fringes are shares of the light.
    plan.instrument.optics.vis.stray = Stray::usual(Arm::Vis);
    plan.instrument.vis.detector.fringing = 1.0;
    let mut star = target(&plan, "template:blue-transient", Some(14.0));
    let faint = Source { along: 2.5, across: 0.3, magnitude: Some(15.0), ..star.sources()[0].clone() };
    star.companions = vec![Source { spectrum: "template:cool-giant".to_string(), ..faint }];
    let plan = plan.with(on(&star, FrameKind::ObjectStare, Arm::Vis, 100.0, 1));
    let mut painter = Painter::new(&plan).unwrap();
    let both = plan.exposures().unwrap().remove(0);
    let mut image = |sources: &[Source], exptime: f64| {
        let exposure = Exposure { sources: sources.to_vec(), exptime, ..both.clone() };
        drawn(&mut painter, exposure).light
    };
    let [first, second] = &both.sources[..] else { panic!("two stars") };
    let (all, sky) = (image(&both.sources, 100.0), image(&[], 100.0));
    let (one, other) = (image(std::slice::from_ref(first), 100.0), image(std::slice::from_ref(second), 100.0));
    assert!(sum(&one) > 1.1 * sum(&sky) && sum(&other) > 1.01 * sum(&sky));
    let parts = &one + &other - &sky;
    assert!(difference(&all, &parts) < ROUNDING, "{}", difference(&all, &parts));

    let brighter = Source { magnitude: Some(11.5), ..first.clone() };
    let scaled = (&one - &sky) * 10.0 + &sky;
    let brighter = image(&[brighter], 100.0);
    assert!(difference(&brighter, &scaled) < ROUNDING, "{}", difference(&brighter, &scaled));
}

#[test]
fn lamps_add_up_and_count_with_brightness_and_time() {
    let plan = perfect().with(TemplatePlan::new(FrameKind::PinholeArc, Arm::Nir, 10.0, 1));
    let mut painter = Painter::new(&plan).unwrap();
    let exposure = plan.exposures().unwrap().remove(0);
    let mut image = |lamps: &[LitLamp], exptime: f64| {
        drawn(&mut painter, Exposure { lamps: lamps.to_vec(), exptime, ..exposure.clone() }).light
    };
    let all = image(&exposure.lamps, 10.0);
    let dark = image(&[], 10.0);
    assert!(sum(&dark) > 0.0 && sum(&all) > 10.0 * sum(&dark));
    let mut parts = dark.clone();
    for lamp in &exposure.lamps {
        parts = parts + image(std::slice::from_ref(lamp), 10.0) - &dark;
    }
    assert_eq!(exposure.lamps.len(), 4);
    assert!(difference(&all, &parts) < ROUNDING, "{}", difference(&all, &parts));
    assert!(difference(&(&all * 3.5), &image(&exposure.lamps, 35.0)) < ROUNDING);
    let bright: Vec<LitLamp> = exposure.lamps.iter().map(|lit| LitLamp { level: 7.0, ..*lit }).collect();
    let scaled = (&all - &dark) * 7.0 + &dark;
    assert!(difference(&scaled, &image(&bright, 10.0)) < ROUNDING);
}
