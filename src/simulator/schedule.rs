//! From templates to exposures: clocks, pointing, nodding, and what faults make of them.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use rand::RngExt;

use super::SimError;
use super::detector::Camera;
use super::exposure::{Exposure, later};
use super::faults::{self, Fault, Level};
use super::header::{self, Facts};
use super::horizon::{self, Place};
use super::kind::FrameKind;
use super::night::{NightPlan, TemplatePlan};
use super::optics::Flexure;
use super::plan::{LitLamp, Shutter};
use super::random::Effect;
use crate::instrument::Arm;

/// Lowest target that the telescope follows: airmass 2.9.
const LOWEST: f64 = 20.0;
/// Room for the exposures of one arm in the numbers of random streams.
const ARM_STRIDE: u64 = 1_000_000;

/// Every exposure of the night, sorted by start.
pub(super) fn exposures(plan: &NightPlan) -> Result<Vec<Exposure>, SimError> {
    let mut schedule = Schedule { plan, exposures: Vec::new(), starts: BTreeSet::new(), templates: BTreeSet::new() };
    for arm in [Arm::Vis, Arm::Nir, Arm::Acq] {
        schedule.arm(arm)?;
    }
    let mut exposures = schedule.exposures;
    exposures.sort_by_key(|exposure| (exposure.start, exposure.arm));
    let mut names = BTreeSet::new();
    if let Some(twice) = exposures.iter().find(|exposure| !names.insert(exposure.name.as_str())) {
        return Err(SimError::Twice { name: twice.name.clone() });
    }
    Ok(exposures)
}

struct Schedule<'a> {
    plan: &'a NightPlan,
    exposures: Vec<Exposure>,
    /// Milliseconds at which an exposure starts: names are made of them.
    starts: BTreeSet<i64>,
    /// Seconds at which a template starts: sets are ordered by them.
    templates: BTreeSet<i64>,
}

/// What an arm carries from one template to the next.
struct Course {
    clock: Timestamp,
    number: u64,
    /// Flexure that faults have added.
    jump: [f64; 2],
    /// Time that the header of the exposure before claims.
    before: Option<Timestamp>,
    /// Frames in a row that have the time of the one before.
    copies: u32,
}

impl Schedule<'_> {
    fn arm(&mut self, arm: Arm) -> Result<(), SimError> {
        let (head_start, first) = match arm {
            Arm::Vis => (0, 0),
            Arm::Nir => (7_317, ARM_STRIDE),
            Arm::Acq => (13_731, 2 * ARM_STRIDE),
        };
        let clock = self.plan.start + SignedDuration::from_millis(head_start);
        let mut course = Course { clock, number: first, jump: [0.0; 2], before: None, copies: 0 };
        for (index, template) in self.plan.templates.iter().enumerate().filter(|(_, template)| template.arm == arm) {
            self.template(index, template, &mut course).map_err(|problem| SimError::Plan {
                template: index + 1,
                kind: template.kind.name().to_string(),
                arm: arm.to_string(),
                problem,
            })?;
        }
        Ok(())
    }

    fn template(&mut self, index: usize, template: &TemplatePlan, course: &mut Course) -> Result<(), String> {
        let camera = camera(template)?;
        check(template)?;
        course.clock = later(course.clock, template.gap);
        if let Some(earliest) = template.not_before {
            course.clock = course.clock.max(earliest);
        }
        let mut start = course.clock;
        while !self.templates.insert(start.as_second()) {
            start = later(start, 1.0);
        }
        course.clock = start;
        for expno in 1..=template.frames + template.off {
            let exposure = self.exposure(index, template, &camera, start, expno, course)?;
            let ends = exposure.faults.iter().any(|fault| matches!(fault, Fault::Aborted { .. }));
            course.clock = exposure.read_out();
            self.exposures.push(exposure);
            if ends {
                break;
            }
        }
        Ok(())
    }

    fn exposure(
        &mut self,
        index: usize,
        template: &TemplatePlan,
        camera: &Camera,
        template_start: Timestamp,
        expno: u32,
        course: &mut Course,
    ) -> Result<Exposure, String> {
        let lit = expno <= template.frames;
        let kind = if lit { template.kind } else { FrameKind::LampOff };
        let mut start = later(course.clock, 0.002);
        while !self.starts.insert(start.as_millisecond()) {
            start = later(start, 0.001);
        }
        let faults: Vec<Fault> = template
            .faults
            .iter()
            .filter(|planned| {
                planned.frame.is_none_or(|frame| frame == expno || (planned.fault.lasts() && frame < expno))
            })
            .map(|planned| planned.fault.clone())
            .collect();
        let exptime = faults.iter().fold(template.exptime, |exptime, fault| match fault {
            Fault::Aborted { seconds } => *seconds,
            _ => exptime,
        });
        for fault in &faults {
            if let Fault::FlexureJump { shift: [x, y] } = fault {
                course.jump = [course.jump[0] + x, course.jump[1] + y];
            }
        }
        let flexure = self.plan.flexure_of(template.arm);
        let flexure =
            Flexure { shift: [flexure.shift[0] + course.jump[0], flexure.shift[1] + course.jump[1]], ..flexure };
        let track = Track::of(template, template_start, start, exptime)?;
        let nod = self.nod(template, expno, course.number);
        let (off_target, fixoff) = offset(template, expno);
        let mut sources = match &template.target {
            Some(target) if template.kind.on_sky() && !off_target => target.sources(),
            _ => Vec::new(),
        };
        for source in &mut sources {
            source.along += nod.map_or(0.0, |nod| nod[1]);
        }
        let conditions = self.plan.conditions.with(&template.conditions);

        let claimed = claimed(&faults, start, course)?;
        let facts = Facts {
            template,
            camera,
            kind,
            index,
            expno,
            template_start,
            start: claimed,
            exptime,
            conditions: &conditions,
            places: [track.first, track.last],
            pointing: track.pointing,
            nod,
            fixoff,
            gain_cards: self.plan.gain_cards,
        };
        let mut header = header::build(&facts);
        for fault in &faults {
            if let Some(keyword) = fault.card().filter(|keyword| !header.contains(keyword)) {
                return Err(format!("fault {}: the header of frame {expno} has no {keyword}", fault.name()));
            }
            if fault.needs_target() && sources.is_empty() {
                return Err(format!("fault {}: no target stands in the slit in frame {expno}", fault.name()));
            }
        }
        course.copies = if faults.contains(&Fault::DuplicateId) { course.copies + 1 } else { 0 };
        let copy = if course.copies > 0 { format!("_{}", course.copies + 1) } else { String::new() };
        for fault in faults.iter().filter(|fault| fault.level() == Level::Header) {
            faults::header::apply(fault, &mut header, template.arm);
        }
        let number = course.number;
        course.number += 1;
        course.before = Some(claimed);
        let mut exposure = Exposure {
            name: format!("SOXS.{}{copy}.fits", header::iso(claimed)),
            header,
            kind,
            exptime,
            arm: template.arm,
            start,
            template: index + 1,
            expno,
            number,
            slit: header::slit_of(template).to_string(),
            filter: if template.arm == Arm::Acq { template.filter.clone() } else { String::new() },
            lamps: if lit {
                template.lamps().iter().map(|lamp| LitLamp { lamp: *lamp, level: 1.0 }).collect()
            } else {
                Vec::new()
            },
            sources,
            object: if template.kind.on_sky() { template.object.clone() } else { String::new() },
            pointing: track.pointing,
            place: track.middle,
            open: template.kind.on_sky() || template.kind == FrameKind::TwilightFlat,
            conditions,
            flexure,
            defocus: 0.0,
            mask_shift: 0.0,
            shutter: Shutter::Works,
            faults: Vec::new(),
            camera: camera.clone(),
        };
        for fault in &faults {
            faults::light::apply(fault, &mut exposure, &self.plan.seeds);
        }
        exposure.faults = faults;
        Ok(exposure)
    }

    /// Offset across and along the slit: A B B A, the first and the fourth of four on the positive side.
    fn nod(&self, template: &TemplatePlan, expno: u32, number: u64) -> Option<[f64; 2]> {
        template.kind.nods().then(|| {
            let side = if expno % 4 < 2 { 1.0 } else { -1.0 };
            let mut rng = self.plan.seeds.stream(Effect::Pointing, number, 0);
            let jitter = if template.jitter > 0.0 { rng.random_range(-0.5..0.5) * template.jitter } else { 0.0 };
            [0.0, ((side * template.throw / 2.0 + jitter) * 1000.0).round() / 1000.0]
        })
    }
}

/// Whether an exposure of an offset template looks at blank sky, and its FIXOFF cards. On and off the target in the order
/// of nodding. The rule of the header: a negative sum is on target, so that frames on target carry a step of one arcsec.
fn offset(template: &TemplatePlan, expno: u32) -> (bool, Option<[f64; 2]>) {
    match template.kind {
        FrameKind::ObjectOffset if expno % 4 < 2 => (false, Some([0.0, -1.0])),
        FrameKind::ObjectOffset => (true, Some(template.offset)),
        _ => (false, None),
    }
}

/// The start that the header tells.
fn claimed(faults: &[Fault], start: Timestamp, course: &Course) -> Result<Timestamp, String> {
    let mut claimed = start;
    for fault in faults {
        match fault {
            Fault::ClockJump { seconds } => claimed = later(claimed, *seconds),
            Fault::DuplicateId => {
                claimed = course.before.ok_or("duplicate-id: there is no frame before this one in its arm")?;
            }
            _ => {}
        }
    }
    Ok(claimed)
}

/// Where the telescope looks at the start, in the middle and at the end of an exposure.
struct Track {
    pointing: [f64; 2],
    first: Place,
    middle: Place,
    last: Place,
}

impl Track {
    fn of(template: &TemplatePlan, template_start: Timestamp, start: Timestamp, exptime: f64) -> Result<Track, String> {
        if !template.kind.on_sky() {
            let pointing = [horizon::sidereal(start), horizon::LATITUDE];
            return Ok(Track { pointing, first: Place::ZENITH, middle: Place::ZENITH, last: Place::ZENITH });
        }
        let pointing = match &template.target {
            Some(target) => [target.ra, target.dec],
            // An hour east of the meridian and ten degrees south of the zenith.
            None => [(horizon::sidereal(template_start) + 15.0).rem_euclid(360.0), horizon::LATITUDE - 10.0],
        };
        let at = |seconds: f64| horizon::place(pointing[0], pointing[1], later(start, seconds));
        let (first, middle, last) = (at(0.0), at(exptime / 2.0), at(exptime));
        let lowest = first.altitude.min(last.altitude);
        if lowest < LOWEST && template.target.is_some() {
            return Err(format!(
                "{} stands at {lowest:.0} degrees at {}: the telescope follows down to {LOWEST:.0}; move the template with \
                 not_before, or choose another target",
                template.object,
                header::iso(start)
            ));
        }
        Ok(Track { pointing, first, middle, last })
    }
}

/// The detector's setup that a template asks for, or why there is none.
fn camera(template: &TemplatePlan) -> Result<Camera, String> {
    if !(template.exptime >= 0.0 && template.exptime <= 86_400.0) {
        return Err(format!("exposure time {} s, expected 0 to 86400", template.exptime));
    }
    if (template.kind == FrameKind::Bias) != (template.exptime == 0.0) {
        return Err(format!("exposure time {} s: biases have zero, all others more", template.exptime));
    }
    if template.arm == Arm::Nir && template.kind == FrameKind::Bias {
        return Err("the NIR detector has no biases".to_string());
    }
    Camera::new(template.arm, template.read_mode, template.binning, template.exptime)
}

/// Whether the instrument can do what the template asks; the camera has been checked.
fn check(template: &TemplatePlan) -> Result<(), String> {
    let (kind, arm) = (template.kind, template.arm);
    if !kind.exists_in(arm) {
        return Err(format!("there are no {} frames in {arm}", kind.name()));
    }
    if template.off > 0 && template.lamps().is_empty() {
        return Err(format!("off = {}: only frames with lamps have lamp-off partners", template.off));
    }
    let total = template.frames.saturating_add(template.off);
    if total == 0 || total > 10_000 {
        return Err(format!("{total} frames, expected 1 to 10000"));
    }
    if !(template.gap >= 0.0 && template.gap <= 1.0e7) {
        return Err(format!("gap = {} s, expected 0 to 1e7", template.gap));
    }
    for planned in &template.faults {
        if let Some(frame) = planned.frame.filter(|frame| *frame == 0 || *frame > total) {
            return Err(format!(
                "fault {} of frame {frame}: the template has frames 1 to {total}",
                planned.fault.name()
            ));
        }
        if planned.frame.is_none() && matches!(planned.fault, Fault::FlexureJump { .. }) {
            return Err("fault flexure-jump: say with frame when it happens".to_string());
        }
        if let Some(problem) = planned.fault.problem(kind, arm, template.exptime, template.lamps()) {
            return Err(format!("fault {}: {problem}", planned.fault.name()));
        }
    }
    Ok(())
}
