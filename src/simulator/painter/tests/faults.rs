//! Faults of the light do to the image what they say.

use super::budget::{Stretch, WINDOW, share};
use super::*;
use crate::simulator::faults::{Fault, PlannedFault};
use crate::simulator::optics::{FWHM_OF_SIGMA, Focus};
use crate::simulator::plan::Lamp;
use crate::simulator::truth::tables::LineRow;

/// Magnitude of the star.
const MAGNITUDE: f64 = 14.0;
const EXPTIME: f64 = 100.0;

/// The first exposure of a night with one template, which has this fault.
fn first(plan: &NightPlan, template: &TemplatePlan, fault: Option<Fault>) -> Exposure {
    let faults = fault.into_iter().map(|fault| PlannedFault { frame: None, fault }).collect();
    plan.clone().with(TemplatePlan { faults, ..template.clone() }).exposures().unwrap().remove(0)
}

/// A night with one star, on which the same exposure is taken with one fault after the other.
struct Star {
    plan: NightPlan,
    template: TemplatePlan,
    painter: Painter,
}

impl Star {
    fn new() -> Star {
        let mut plan = perfect();
        plan.conditions.airglow = 0.0;
        let star = target(&plan, "template:blue-transient", Some(MAGNITUDE));
        let template = on(&star, FrameKind::ObjectStare, Arm::Vis, EXPTIME, 1);
        let painter = Painter::new(&plan.clone().with(template.clone())).unwrap();
        Star { plan, template, painter }
    }

    fn image(&mut self, fault: Option<Fault>) -> Array2<f32> {
        let exposure = first(&self.plan, &self.template, fault);
        light(&exposure, &self.painter.paint(&exposure).unwrap())
    }
}

/// A stretch in the middle of the g order.
fn middle(view: &View) -> Stretch<'_> {
    Stretch { view, arm: Arm::Vis, order: 3, first: 2000 }
}

/// Variance of the light beside the dispersion, in the rows of a stretch, about the centroid of each, pixels squared.
fn variance(image: &Array2<f32>, stretch: &Stretch<'_>) -> f64 {
    let order = stretch.view.format().order(stretch.order).unwrap();
    let [blue, red] = stretch.limits(|_| 0.0);
    let ends = [-6.0, 6.0].map(|slit| stretch.view.position(order, 0.5 * (blue + red), slit).x);
    let (low, high) = (ends[0].min(ends[1]) as usize - 12, ends[0].max(ends[1]) as usize + 12);
    let (mut sum, mut square) = (0.0, 0.0);
    for y in stretch.first..stretch.first + WINDOW {
        let row = || (low..=high).map(|x| (x as f64, f64::from(image[[y, x]])));
        let flux: f64 = row().map(|pixel| pixel.1).sum();
        let centre = row().map(|pixel| pixel.0 * pixel.1).sum::<f64>() / flux;
        square += row().map(|pixel| (pixel.0 - centre).powi(2) * pixel.1).sum::<f64>();
        sum += flux;
    }
    square / sum
}

#[test]
fn faults_of_sky_and_shutter_do_what_they_say() {
    let mut night = Star::new();
    let normal = night.image(None);
    let blank = night.image(Some(Fault::BlankField));
    let star = &normal - &blank;
    let view = View::new(Arm::Vis, &Flexure::default(), &Distortion::usual(Arm::Vis));
    let stretch = middle(&view);
    let of_star = stretch.light(&star).unwrap();
    let ratio = |image: &Array2<f32>| stretch.light(&(image - &blank)).unwrap() / of_star;
    assert!(sum(&star) > sum(&blank) && sum(&blank) > 0.0);

    // A blank field is what stands in the slit when the plan has no star.
    let empty = Target { spectrum: None, ..target(&night.plan, "", None) };
    let exposure = first(&night.plan, &on(&empty, FrameKind::ObjectStare, Arm::Vis, EXPTIME, 1), None);
    assert_eq!(light(&exposure, &night.painter.paint(&exposure).unwrap()), blank);

    // Light trails along the columns while the detector is read.
    let open = night.image(Some(Fault::ShutterStuck { open: true }));
    let readout = exposure.camera.readout / EXPTIME;
    assert!((sum(&open) / sum(&normal) - 1.0 - readout).abs() < 1e-4);
    let trail = &open - &normal;
    for (trail, column) in trail.columns().into_iter().zip(normal.columns()).step_by(50) {
        let told = readout * column.iter().map(|&electrons| f64::from(electrons)).sum::<f64>() / column.len() as f64;
        let worst = trail.iter().fold(0.0_f64, |most, &value| most.max((f64::from(value) - told).abs()));
        assert!(worst < 1e-3 * told + 1e-3, "{worst} of {told}");
    }
    let closed = night.image(Some(Fault::ShutterStuck { open: false }));
    assert!(closed.iter().all(|&electrons| electrons == 0.0));

    // Magnitudes are factors on the star and nothing else.
    for (fault, magnitudes) in [
        (Fault::Cloud { magnitudes: 3.0 }, 3.0),
        (Fault::VeryFaint { magnitude: 20.0 }, 20.0 - MAGNITUDE),
        (Fault::VeryBright { magnitude: 8.0 }, 8.0 - MAGNITUDE),
    ] {
        let image = night.image(Some(fault.clone()));
        let factor = 10_f64.powf(-0.4 * magnitudes);
        assert!((ratio(&image) / factor - 1.0).abs() < 1e-3, "{fault:?}: {}", ratio(&image) / factor);
        let told = &star * factor as f32 + &blank;
        // Images are rounded on top of the bias, and the star's rounding is scaled with it.
        let brightest = f64::from(image.iter().fold(0.0_f32, |most, value| most.max(*value)));
        let off = brightest * difference(&image, &told);
        assert!(off < 1e-6 * brightest + 2e-4 * (1.0 + factor), "{fault:?}: {off} of {brightest}");
    }

    // Beside the slit and at its end, the wings of the seeing are left.
    let exposure = first(&night.plan, &night.template, None);
    let shape = night.painter.shape(&exposure, &exposure.sources[0]);
    let [blue, red] = stretch.limits(|_| 0.0);
    let w = 0.5 * (blue + red);
    let fwhm = 0.9 * exposure.place.airmass.powf(0.6) * (w / 500.0).powf(-0.2);
    let Some(crate::simulator::optics::Entrance::Slit { across, .. }) = night.painter.entrance(&exposure) else {
        panic!("a slit")
    };
    let passed = |arcsec: f64| {
        let off = across - shape.across.at(w) - arcsec;
        share(fwhm, off - 0.5, off + 0.5)
    };
    let off = ratio(&night.image(Some(Fault::OffSlit { arcsec: 1.5 })));
    assert!((off / (passed(1.5) / passed(0.0)) - 1.0).abs() < 0.005, "{off} {}", passed(1.5) / passed(0.0));
    let caught = |arcsec: f64| {
        let along = shape.along.at(w) + arcsec;
        share(fwhm, -6.0 - along, 6.0 - along)
    };
    let edge = ratio(&night.image(Some(Fault::TraceAtEdge { arcsec: 5.6 })));
    // The slit's image is tilted: a few other wavelengths fall into the stretch there.
    assert!((edge / (caught(5.6) / caught(0.0)) - 1.0).abs() < 0.01, "{edge} {}", caught(5.6) / caught(0.0));

    // Out of focus, the variance grows by that of the blur, which changes over the detector as the focus does.
    let blurred = night.image(Some(Fault::Defocus { pixels: 4.0 })) - &blank;
    let order = view.format().order(3).unwrap();
    let p = view.position(order, w, 0.0);
    let focus = Focus::usual(Arm::Vis);
    let told = (4.0 / FWHM_OF_SIGMA * focus.fwhm(Arm::Vis, p.x, p.y) / focus.fwhm).powi(2);
    let found = variance(&blurred, &stretch) - variance(&star, &stretch);
    assert!((found / told - 1.0).abs() < 0.03, "{found} {told}");
}

#[test]
fn a_crowded_slit_has_more_traces() {
    let mut night = Star::new();
    let crowd = Fault::CrowdedSlit { stars: 4, fainter: 0.5 };
    let exposure = first(&night.plan, &night.template, Some(crowd));
    assert_eq!(exposure.sources.len(), 5);
    let crowded = drawn(&mut night.painter, exposure);
    let more = &crowded.light - &night.image(None);
    let brightest = more.iter().fold(0.0_f32, |most, value| most.max(*value));
    for source in 1..5 {
        let row = crowded.tables.traces.iter().find(|row| row.source == source && row.order == 3 && row.y > 2000.0);
        let row = row.expect("a trace in the middle of g");
        let value = more[[row.y.round() as usize, row.x.round() as usize]];
        assert!(value > 0.02 * brightest, "source {source} at {} arcsec: {value} of {brightest}", row.slit);
    }
}

/// The brightest row of the lines of one lamp.
fn brightest(rows: &[LineRow], lamp: Lamp) -> &LineRow {
    let own = lamp.light(Arm::Nir, 1.0).lines;
    let strongest = own.iter().fold(0.0_f64, |most, line| most.max(line.photons));
    let of_lamp =
        |row: &&LineRow| own.iter().any(|line| line.wavelength == row.wavelength && line.photons > 0.01 * strongest);
    rows.iter().filter(of_lamp).max_by(|a, b| a.flux.total_cmp(&b.flux)).expect("a line")
}

fn at(image: &Array2<f32>, row: &LineRow) -> f64 {
    f64::from(image[[row.y.round() as usize, row.x.round() as usize]])
}

#[test]
fn faults_of_lamps_masks_and_flexure_do_what_they_say() {
    let mut plan = perfect();
    plan.instrument.nir.detector.saturation = true;
    let template = TemplatePlan::new(FrameKind::MultiPinholeArc, Arm::Nir, 1.0, 1);
    let mut painter = Painter::new(&plan).unwrap();
    let mut image = |fault: Option<Fault>| drawn(&mut painter, first(&plan, &template, fault));
    let normal = image(None);
    let dark = image(Some(Fault::LampOff));
    assert!(dark.tables.lines.is_empty() && sum(&dark.light) < 0.05 * sum(&normal.light));
    let heat = &dark.light;

    let dead = image(Some(Fault::LampDead { lamp: Lamp::Xe }));
    for lamp in Lamp::PENCILS {
        let row = brightest(&normal.tables.lines, lamp);
        let kept = (at(&dead.light, row) - at(heat, row)) / (at(&normal.light, row) - at(heat, row));
        // The other lamps have a trace of each other's gases.
        let told = if lamp == Lamp::Xe { 0.0 } else { 1.0 };
        assert!((kept - told).abs() < 2e-3, "{lamp:?} at {} nm: {kept}", row.wavelength);
    }

    let failing = image(Some(Fault::LampFailing { level: 0.3 }));
    let share = (sum(&failing.light) - sum(heat)) / (sum(&normal.light) - sum(heat));
    assert!((share - 0.3).abs() < 1e-4, "{share}");
    let bright = image(Some(Fault::SaturatedArc { factor: 300.0 }));
    let (few, many) = (normal.frame.truth.saturated.len(), bright.frame.truth.saturated.len());
    assert!(many > few + 1000, "{few} {many}");

    // A mask that slips by its pitch has holes where there were holes before, but for the ends.
    let pitch = SpectralFormat::of(Arm::Nir).pinholes()[1] - SpectralFormat::of(Arm::Nir).pinholes()[0];
    let slipped = image(Some(Fault::SlippedMask { arcsec: pitch }));
    let inner = |row: &&LineRow| row.slit.abs() < 3.0;
    let rows: Vec<&LineRow> = normal.tables.lines.iter().filter(inner).collect();
    let moved: Vec<&LineRow> = slipped.tables.lines.iter().filter(inner).collect();
    assert!(rows.len() > 100 && rows.len() == moved.len());
    for (row, moved) in rows.iter().zip(&moved) {
        assert!(
            (row.x - moved.x).abs() < 1e-3 && (row.y - moved.y).abs() < 1e-3 && (row.slit - moved.slit).abs() < 1e-4
        );
        assert!((at(&normal.light, row) / at(&slipped.light, row) - 1.0).abs() < 1e-3);
    }
    let end = |drawn: &Drawn| drawn.tables.lines.iter().fold(f64::MIN, |most, row| most.max(row.slit));
    assert!((end(&slipped) - end(&normal) - pitch).abs() < 1e-4);

    // After a jump by whole pixels the image is the same elsewhere. The focus is not: it belongs to the detector.
    let jump = first(&plan, &template, None);
    let (dx, dy) = (3, -2);
    let mut faulty = template.clone();
    faulty.faults = vec![PlannedFault { frame: Some(1), fault: Fault::FlexureJump { shift: [3.0, -2.0] } }];
    let jumped = plan.clone().with(faulty).exposures().unwrap().remove(0);
    assert_eq!(jumped.flexure.shift, [jump.flexure.shift[0] + 3.0, jump.flexure.shift[1] - 2.0]);
    let jumped = drawn(&mut painter, jumped);
    let inside = |image: &Array2<f32>, (x, y): (i64, i64)| {
        let (rows, columns) = image.dim();
        let part = |shift: i64, size: usize| (10 + shift) as usize..(size as i64 - 10 + shift) as usize;
        image.slice(s![part(y, rows), part(x, columns)]).to_owned()
    };
    let (before, after) = (inside(&normal.light, (0, 0)), inside(&jumped.light, (dx, dy)));
    assert!(difference(&before, &after) < 0.01, "{}", difference(&before, &after));
    assert!(difference(&before, &inside(&jumped.light, (0, 0))) > 0.5);
}
