//! One `[[template]]` of a plan file.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{ConditionsChange, FILTERS, Lamp, SLITS, Target};
use crate::instrument::{Arm, Binning};
use crate::simulator::faults::PlannedFault;
use crate::simulator::kind::FrameKind;
use crate::simulator::night::TemplatePlan;

/// A template as people write it. Absent keys are as usual for kind and arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TemplateEntry {
    kind: FrameKind,
    arm: Arm,
    #[serde(skip_serializing_if = "Option::is_none")]
    exptime: Option<f64>,
    #[serde(default = "one")]
    frames: u32,
    #[serde(default)]
    off: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    nexp: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gap: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_before: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    read_mode: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    binning: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lamps: Option<Vec<Lamp>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: Option<String>,
    #[serde(default)]
    attenuated: bool,
    #[serde(default)]
    asynchronous: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    throw: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jitter: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<[f64; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    block: Option<String>,
    #[serde(default)]
    conditions: ConditionsChange,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    faults: Vec<PlannedFault>,
}

fn one() -> u32 {
    1
}

/// A key, the value found, and what to write instead.
pub(super) type Wrong = (&'static str, String, String);

impl TemplateEntry {
    /// How messages call it: `slit-flat in VIS`.
    pub fn label(&self) -> String {
        format!("{} in {}", self.kind.name(), self.arm)
    }

    /// The template, or the first key that makes no sense.
    pub fn plan(&self, targets: &[Target]) -> Result<TemplatePlan, Wrong> {
        let (kind, arm) = (self.kind, self.arm);
        let wrong = |key, found: String, remedy: &str| Err((key, found, remedy.to_string()));
        let mut plan = TemplatePlan::new(kind, arm, 0.0, self.frames);
        plan.exptime = match self.exptime {
            Some(exptime) if (0.0..=86_400.0).contains(&exptime) => exptime,
            Some(exptime) => return wrong("exptime", exptime.to_string(), "give seconds, 0 to 86400"),
            None if kind == FrameKind::Bias => 0.0,
            None => return wrong("exptime", "nothing".to_string(), "give seconds; only biases have none"),
        };
        if !(1..=10_000).contains(&self.frames) {
            return wrong("frames", self.frames.to_string(), "give 1 to 10000");
        }
        if let Some(gap) = self.gap {
            if !(0.0..=1.0e6).contains(&gap) {
                return wrong("gap", gap.to_string(), "give seconds, 0 to 1000000");
            }
            plan.gap = gap;
        }
        if let Some(binning) = &self.binning {
            plan.binning = match binning.split_once('x').map(|(x, y)| (x.parse(), y.parse())) {
                Some((Ok(x), Ok(y))) => Binning { x, y },
                _ => return wrong("binning", format!("{binning:?}"), "give \"1x1\", \"2x1\" or \"2x2\""),
            };
        }
        if let Some(slit) = &self.slit {
            if !kind.through_slit() {
                return wrong("slit", format!("{slit:?}"), "leave it out: this kind has a mask of its own, or none");
            }
            if !SLITS.contains(&slit.as_str()) {
                return wrong("slit", format!("{slit:?}"), &format!("give one of {}", SLITS.join(", ")));
            }
            plan.slit.clone_from(slit);
        }
        if let Some(filter) = &self.filter {
            if arm != Arm::Acq {
                return wrong("filter", format!("{filter:?}"), "leave it out: only the camera (ACQ) has filters");
            }
            if !FILTERS.contains(&filter.as_str()) {
                return wrong("filter", format!("{filter:?}"), &format!("give one of {}", FILTERS.join(", ")));
            }
            plan.filter.clone_from(filter);
        }
        if self.lamps.is_some() && kind.usual_lamps(arm).is_empty() {
            let found = format!("{:?}", self.lamps.as_deref().unwrap_or_default());
            return wrong("lamps", found, "leave it out: no lamp shines into such frames");
        }
        if self.attenuated && kind != FrameKind::SlitFlat {
            return wrong("attenuated", "true".to_string(), "leave it out: only slit-flat has an attenuated variant");
        }
        if let Some(block) = &self.block
            && (block.is_empty() || block.len() > 40 || !block.bytes().all(|byte| (0x20..0x7f).contains(&byte)))
        {
            return wrong("block", format!("{block:?}"), "give 1 to 40 printable ASCII characters");
        }
        self.sky(targets, &mut plan)?;
        let changed = super::Conditions::default().with(&self.conditions);
        if let Some((key, value, remedy)) = changed.fault() {
            return wrong(key, value.to_string(), remedy);
        }
        plan.off = self.off;
        plan.nexp = self.nexp;
        plan.not_before = self.not_before;
        plan.read_mode = self.read_mode.unwrap_or(plan.read_mode);
        plan.lamps.clone_from(&self.lamps);
        plan.attenuated = self.attenuated;
        plan.asynchronous = self.asynchronous;
        plan.block = self.block.clone().unwrap_or_default();
        plan.conditions = self.conditions;
        plan.faults.clone_from(&self.faults);
        Ok(plan)
    }

    /// Target, nodding and offsets.
    fn sky(&self, targets: &[Target], plan: &mut TemplatePlan) -> Result<(), Wrong> {
        let wrong = |key, found: String, remedy: &str| Err((key, found, remedy.to_string()));
        let kind = self.kind;
        match &self.object {
            Some(name) if kind.on_sky() => match targets.iter().find(|target| target.name == *name) {
                Some(target) => {
                    plan.object.clone_from(name);
                    plan.target = Some(Arc::new(target.clone()));
                }
                None => {
                    let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
                    let remedy = format!("give the name of a [[target]] of this plan: {}", names.join(", "));
                    return wrong("object", format!("{name:?}"), &remedy);
                }
            },
            Some(name) => return wrong("object", format!("{name:?}"), "leave it out: this kind has no target"),
            None if kind.on_sky() => {
                return wrong("object", "nothing".to_string(), "give the name of a [[target]] of this plan");
            }
            None => {}
        }
        for (key, value, limit) in [("throw", self.throw, 20.0), ("jitter", self.jitter, 10.0)] {
            if let Some(value) = value {
                if !kind.nods() {
                    return wrong(key, value.to_string(), "leave it out: this kind does not nod");
                }
                if !(0.0..=limit).contains(&value) {
                    return wrong(key, value.to_string(), &format!("give arcsec, 0 to {limit}"));
                }
            }
        }
        plan.throw = self.throw.unwrap_or(plan.throw);
        plan.jitter = self.jitter.unwrap_or(plan.jitter);
        if let Some(offset) = self.offset {
            if kind != FrameKind::ObjectOffset {
                return wrong("offset", format!("{offset:?}"), "leave it out: this kind does not offset");
            }
            let [east, north] = offset;
            if !(east.abs() <= 3600.0 && north.abs() <= 3600.0 && east + north >= 0.0) {
                let remedy = "give arcsec east and north, 3600 at most, whose sum is not negative: a negative sum in the \
                              header means on target";
                return wrong("offset", format!("{offset:?}"), remedy);
            }
            plan.offset = offset;
        }
        Ok(())
    }
}
