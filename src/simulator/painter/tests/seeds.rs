//! A change of one source's random stream leaves the others untouched.

use super::*;
use crate::simulator::Pixels;
use crate::simulator::detector::defect;

/// Everything that a random effect can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aspect {
    Pixels,
    Expected,
    Cosmics,
    Offset,
    Hot,
    Sky,
    Source,
    Traces,
    Field,
}

/// A short night: an infrared dark, the truth of a star in the slit, and that of a field.
struct Night {
    dark: SimFrame,
    star: FrameTables,
    field: Option<String>,
}

fn night(effect: Option<Effect>) -> Night {
    let mut plan = usual();
    plan.seeds = Seeds::new(4);
    plan.seeds.effects.extend(effect.map(|effect| (effect, 77)));
    let star = target(&plan, "template:hot-standard", Some(14.0));
    let plan = plan
        .with(TemplatePlan::new(FrameKind::Dark, Arm::Nir, 60.0, 1))
        .with(TemplatePlan { jitter: 1.0, ..on(&star, FrameKind::ObjectNod, Arm::Nir, 60.0, 1) })
        .with(on(&star, FrameKind::Acquisition, Arm::Acq, 5.0, 1));
    let mut painter = Painter::new(&plan).unwrap();
    let exposures = plan.exposures().unwrap();
    let of = |kind: FrameKind| exposures.iter().find(|exposure| exposure.kind == kind).unwrap();
    Night {
        dark: painter.paint(of(FrameKind::Dark)).unwrap(),
        star: painter.tables(of(FrameKind::ObjectNod)).unwrap(),
        field: painter.tables(of(FrameKind::Acquisition)).unwrap().field.map(|field| field.csv()),
    }
}

impl Night {
    fn differs(&self, other: &Night) -> Vec<Aspect> {
        let (a, b) = (&self.dark.truth, &other.dark.truth);
        [
            (Aspect::Pixels, self.dark.pixels != other.dark.pixels),
            (Aspect::Expected, a.expected != b.expected),
            (Aspect::Cosmics, a.cosmics != b.cosmics),
            (Aspect::Offset, a.offset != b.offset),
            (Aspect::Hot, a.hot != b.hot),
            (Aspect::Sky, self.star.spectra[0].electrons != other.star.spectra[0].electrons),
            (Aspect::Source, self.star.spectra[1].electrons != other.star.spectra[1].electrons),
            (Aspect::Traces, self.star.traces != other.star.traces),
            (Aspect::Field, self.field != other.field),
        ]
        .into_iter()
        .filter_map(|(aspect, differs)| differs.then_some(aspect))
        .collect()
    }

    fn pixels(&self) -> &Array2<f32> {
        match &self.dark.pixels {
            Pixels::F32(pixels) => pixels,
            Pixels::U16(_) => panic!("an infrared frame"),
        }
    }
}

#[test]
fn each_effect_changes_its_own_and_nothing_else() {
    use Aspect::*;
    let before = night(None);
    let table: [(Effect, &[Aspect]); 11] = [
        (Effect::Detector, &[Pixels, Expected, Hot]),
        (Effect::Photons, &[Pixels]),
        (Effect::Read, &[Pixels]),
        (Effect::Cosmics, &[Pixels, Cosmics]),
        (Effect::Offset, &[Pixels, Offset]),
        (Effect::Telegraph, &[Pixels]),
        (Effect::Lamps, &[]),
        (Effect::Airglow, &[Sky]),
        // Slit and star stand elsewhere.
        (Effect::Pointing, &[Sky, Source, Traces]),
        (Effect::Field, &[Field]),
        (Effect::Telluric, &[Source]),
    ];
    for (effect, told) in table {
        let after = night(Some(effect));
        assert_eq!(before.differs(&after), told, "{effect:?}");
        // Which pixels differ: those that were hit, and those that blink.
        let differ = before.pixels().indexed_iter().zip(after.pixels()).filter(|((_, a), b)| a != b);
        let mut differ = differ.map(|((at, _), _)| at);
        match effect {
            Effect::Cosmics => {
                let hit = |at: &(usize, usize)| {
                    [&before, &after].iter().any(|night| night.dark.truth.cosmics.binary_search(at).is_ok())
                };
                assert!(differ.all(|at| hit(&at)), "pixels that no ray hit");
            }
            Effect::Telegraph => {
                assert!(differ.all(|at| before.dark.truth.defects[at] & defect::UNSTABLE != 0), "stable pixels");
            }
            _ => {}
        }
    }
}

#[test]
fn the_seed_of_the_lamps_changes_their_brightness_only() {
    let flat = |seed: u64| {
        let mut plan = perfect().with(TemplatePlan::new(FrameKind::SlitFlat, Arm::Vis, 1.0, 1));
        plan.instrument.vis.flicker = 0.05;
        plan.seeds.effects.insert(Effect::Lamps, seed);
        draw(&plan).remove(0).light
    };
    let (a, b) = (flat(1), flat(2));
    let factor = sum(&b) / sum(&a);
    assert!((factor - 1.0).abs() > 1e-3 && (factor - 1.0).abs() < 0.5, "{factor}");
    assert!(difference(&(&a * factor as f32), &b) < 1e-5);
}
