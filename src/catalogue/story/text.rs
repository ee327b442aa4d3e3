//! A story as text on one screen: the answer, then the evidence, long lists cut with "... and N more".

use std::fmt::{Display, Formatter, Result};

use super::{CandidateLine, FrameStory, HistoryLine, JobStory, SetStory, Story};
use crate::clock::iso;

/// Width of the labels at the left.
const LABEL: usize = 11;

impl Display for Story {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        if self.name == self.target {
            writeln!(f, "{}", one_line(&self.name))?;
        } else {
            writeln!(f, "{} ({})", one_line(&self.name), self.target)?;
        }
        writeln!(f, "{}", one_line(&self.headline))?;
        if !self.matches.is_empty() {
            writeln!(f)?;
        }
        list(f, "", 20, &self.matches, |one| format!("{:<12} {} ({})", one.target, one.name, one.detail))?;
        if let Some(frame) = &self.frame {
            write_frame(f, frame)?;
        }
        if let Some(product) = &self.product {
            writeln!(f)?;
            line(
                f,
                "product",
                &format!("{} {}, verdict {}, {}", product.catg, product.state, product.verdict, product.folder),
            )?;
            line(f, "", &format!("{} bytes, sha256 {}", product.size, product.sha256))?;
        }
        list(f, "considered", 8, &self.considered, |one| {
            format!(
                "{} by {} {} (job:{}, {}): {}",
                one.verdict,
                one.recipe,
                one.set_name,
                one.job_id,
                age(one.days),
                decision(&one.rule, &one.reason)
            )
        })?;
        if let Some(set) = &self.set {
            write_set(f, set)?;
        }
        if let Some(job) = &self.job {
            write_job(f, job)?;
        }
        let most = if self.needs.len() > 2 { 3 } else { 5 };
        for need in &self.needs {
            line(f, "needs", &need.need)?;
            list(f, "", most, &need.candidates, candidate)?;
        }
        if self.product.is_none() {
            list(f, "products", 4, &self.products, |product| {
                format!("product:{} {} ({}, verdict {})", product.id, product.name, product.state, product.verdict)
            })?;
        }
        list(f, "pictures", 6, &self.pictures, Clone::clone)?;
        list(f, "deliveries", 4, &self.deliveries, |item| {
            let error = if item.error.is_empty() { String::new() } else { format!(": {}", item.error) };
            format!("delivery:{} {} to {} {}{error}", item.id, item.key, item.sink, item.state)
        })?;
        list(f, "operators", 3, last(&self.acts, 3), |act| {
            let why = if act.why.is_empty() { String::new() } else { format!(" ({})", act.why) };
            format!("{} {} {} {}{why}", iso(act.at_us), act.who, act.act, act.target)
        })?;
        if !self.remedies.is_empty() {
            writeln!(f)?;
        }
        list(f, "what to do", 4, &self.remedies, Clone::clone)
    }
}

fn write_frame(f: &mut Formatter<'_>, frame: &FrameStory) -> Result {
    let file = &frame.file;
    writeln!(f)?;
    if let (Some(data_id), Some(arm), Some(kind)) = (&file.data_id, &file.arm, &file.kind) {
        let recipe = file.recipe.as_ref().map_or_else(String::new, |recipe| format!(", for {recipe}"));
        let night = file.night.as_deref().unwrap_or("unknown");
        line(f, "frame", &format!("{data_id} {arm} {kind}{recipe}, night {night}"))?;
        let version = file
            .version
            .filter(|version| *version > 1)
            .map_or_else(String::new, |version| format!(", version {version} of its content"));
        line(
            f,
            "",
            &format!(
                "DPR TYPE {}, TECH {}, {} s{version}",
                frame.dpr_type,
                frame.dpr_tech,
                file.exptime.unwrap_or_default()
            ),
        )?;
        if !frame.usage_reason.is_empty() {
            line(f, "", &frame.usage_reason)?;
        }
        list(f, "warnings", 3, &frame.warnings, Clone::clone)?;
    }
    line(f, "file", &format!("{} {}", file.state, file.path))?;
    list(f, "also in", 3, &frame.other_files, Clone::clone)?;
    history(f, &frame.history)
}

fn write_set(f: &mut Formatter<'_>, story: &SetStory) -> Result {
    let set = &story.set;
    writeln!(f)?;
    line(
        f,
        "set",
        &format!(
            "set:{} {} {}, {} {}, {} of {} exposures seen",
            set.id,
            set.name,
            set.state,
            set.n_frames,
            if set.n_frames == 1 { "frame" } else { "frames" },
            set.n_seen,
            set.n_planned
        ),
    )?;
    if !set.why.is_empty() {
        line(f, "", &set.why)?;
    }
    let closed = match (story.template_closed, story.template_closed_why.as_str()) {
        (false, _) => "still open".to_string(),
        (true, "") => "closed".to_string(),
        (true, why) => format!("closed: {why}"),
    };
    line(f, "template", &format!("{} of {}, {closed}", story.tpl_id, iso(story.template_start_us)))?;
    list(f, "members", 5, &story.members, |member| {
        if member.left_out.is_empty() {
            member.data_id.clone()
        } else {
            format!("{}, left out: {}", member.data_id, member.left_out)
        }
    })
}

fn write_job(f: &mut Formatter<'_>, story: &JobStory) -> Result {
    let job = &story.job;
    writeln!(f)?;
    let level = job.level.map_or_else(String::new, |level| format!(", worst level of its masters {level}"));
    line(
        f,
        "job",
        &format!(
            "job:{} {} {} {}, attempts {}{level}",
            job.id, job.recipe, job.recipe_version, job.state, job.attempts
        ),
    )?;
    if !job.error.is_empty() {
        line(f, "error", &format!("{} ({})", job.error, job.class))?;
    }
    history(f, &story.history)?;
    list(f, "metrics", 4, &story.metrics, |metric| {
        let value = match metric.value {
            Some(value) => format!("{value} {}", metric.unit),
            None => format!("not measured, {}", metric.absent),
        };
        let order = if metric.qc_order == "-1" { String::new() } else { format!(" order {}", metric.qc_order) };
        format!("{} {}{order}: {}{}", metric.verdict, metric.name, value.trim_end(), range(metric.min, metric.max))
    })?;
    list(f, "remarks", 3, &story.remarks, Clone::clone)?;
    if job.error.is_empty() { Ok(()) } else { list(f, "log", 5, last(&story.log, 5), Clone::clone) }
}

/// An acceptable range in words, with a blank before; empty when there is none.
fn range(min: Option<f64>, max: Option<f64>) -> String {
    match (min, max) {
        (Some(min), Some(max)) => format!(", accepted {min} to {max}"),
        (Some(min), None) => format!(", accepted from {min}"),
        (None, Some(max)) => format!(", accepted up to {max}"),
        (None, None) => String::new(),
    }
}

fn candidate(one: &CandidateLine) -> String {
    let id = one.product_id.map_or_else(|| format!("set:{}", one.set_id), |product| format!("product:{product}"));
    let level = one.level.map_or_else(String::new, |level| format!(", level {level}"));
    format!("{} {id} {} ({}{level}): {}", one.verdict, one.name, age(one.days), decision(&one.rule, &one.reason))
}

fn decision(rule: &str, reason: &str) -> String {
    match (rule, reason) {
        (rule, "") => rule.to_string(),
        ("", reason) => reason.to_string(),
        (rule, reason) => format!("{reason} [{rule}]"),
    }
}

fn age(days: f64) -> String {
    if days >= 0.0 { format!("{days:.2} d older") } else { format!("{:.2} d newer", -days) }
}

fn history(f: &mut Formatter<'_>, events: &[HistoryLine]) -> Result {
    let shown = last(events, 4);
    let hidden = events.len() - shown.len();
    if hidden > 0 {
        line(f, "history", &format!("... {hidden} earlier"))?;
    }
    list(f, if hidden > 0 { "" } else { "history" }, 4, shown, |event| {
        let by = if event.actor.is_empty() { String::new() } else { format!(", by {}", event.actor) };
        let why = if event.why.is_empty() { String::new() } else { format!(": {}", event.why) };
        format!("{} {}{why}{by}", iso(event.at_us), event.state)
    })
}

fn last<T>(items: &[T], most: usize) -> &[T] {
    items.get(items.len().saturating_sub(most)..).unwrap_or_default()
}

fn line(f: &mut Formatter<'_>, label: &str, text: &str) -> Result {
    writeln!(f, "{label:<LABEL$}{}", one_line(text))
}

/// Names and reasons can hold anything that a header or a file name held; nothing of it may steer a terminal.
pub fn one_line(text: &str) -> String {
    let steers = |character: char| {
        character.is_control() || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|character| if steers(character) { ' ' } else { character }).collect()
}

/// The first `most` items, the label at the first line; nothing at all for an empty list.
fn list<T>(f: &mut Formatter<'_>, label: &str, most: usize, items: &[T], show: impl Fn(&T) -> String) -> Result {
    for (index, item) in items.iter().take(most).enumerate() {
        line(f, if index == 0 { label } else { "" }, &show(item))?;
    }
    match items.len().saturating_sub(most) {
        0 => Ok(()),
        more => line(f, "", &format!("... and {more} more")),
    }
}
