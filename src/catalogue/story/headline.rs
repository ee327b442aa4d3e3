//! The answer in one sentence, and what can be done about it.

use super::{JobStory, SetStory, Story};
use crate::catalogue::acts::{Act, WITHDRAWN};
use crate::catalogue::target::Target;
use crate::catalogue::views::{DeliveryRow, FrameRow, NightReport, ProductRow};
use crate::clock::iso;

/// Headline and remedies of a story whose parts are all there.
pub(super) fn conclude(story: &mut Story, target: &Target, admitted: &[Act]) {
    story.headline = match target {
        Target::Delivery(_) => story.deliveries.first().map(of_delivery),
        Target::Product(_) => story.product.as_ref().map(|product| of_product(product, story)),
        _ => None,
    }
    .or_else(|| story.frame.as_ref().filter(|frame| !reaches_set(&frame.file)).map(|frame| of_file(&frame.file)))
    .or_else(|| story.frame.as_ref().and_then(|frame| left_out(&frame.file)))
    .or_else(|| story.set.as_ref().map(|set| of_set(set, story)))
    .or_else(|| story.frame.as_ref().map(|frame| of_file(&frame.file)))
    .unwrap_or_else(|| "nothing is known of it".to_string());
    story.remedies = remedies(story, target, admitted);
}

/// One sentence for a night.
pub(super) fn of_night(report: &NightReport) -> String {
    if report.files == 0 {
        return "no file of this night has been seen".to_string();
    }
    let counts: Vec<String> =
        report.outcomes.iter().map(|outcome| format!("{} {}", outcome.count, outcome.name)).collect();
    format!("{} files: {}; {} delivered", report.files, counts.join(", "), report.delivered)
}

/// Does the answer lie with the frame's set, and not with the file itself?
fn reaches_set(file: &FrameRow) -> bool {
    file.state == "accepted" && file.usage.as_deref() == Some("reduce") && file.set_id.is_some()
}

fn of_file(file: &FrameRow) -> String {
    let reason = &file.outcome_why;
    match file.outcome.as_str() {
        "quarantined" => format!("not used: quarantined because {reason}"),
        "waiting" => format!("not taken in yet: {reason}"),
        "ignored" => format!("ignored: {reason}"),
        "registered" => format!("registered and counted, reduced by no recipe: {reason}"),
        "duplicate" => format!("a duplicate: {reason}"),
        "superseded" => format!("out of date: {reason}"),
        "gone" => "the file is no longer there".to_string(),
        _ => format!("not reduced yet: {reason}"),
    }
}

/// The recipe ran, but without this frame.
fn left_out(file: &FrameRow) -> Option<String> {
    let done = matches!(file.job_state.as_deref(), Some("done" | "flagged"));
    (done && matches!(file.outcome.as_str(), "unreduced" | "pending")).then(|| match file.outcome.as_str() {
        "pending" => format!("not reduced yet: {}", file.outcome_why),
        _ => format!("not used: {}; its set was reduced without it", file.outcome_why),
    })
}

fn of_set(story: &SetStory, whole: &Story) -> String {
    let set = &story.set;
    let closed = match story.template_closed_why.as_str() {
        "" => String::new(),
        why if set.why.contains(why) => String::new(),
        why => format!("; its template was closed because {why}"),
    };
    match (set.state.as_str(), &whole.job) {
        ("empty", _) => "its frames have all moved to other sets".to_string(),
        ("short", _) => format!("not reduced: {}{closed}", set.why),
        ("open", _) if set.why.is_empty() => {
            format!("not reduced yet: {} of {} exposures of its template have come", set.n_seen, set.n_planned)
        }
        ("open", _) => format!("not reduced yet: {}", set.why),
        (_, None) => "not reduced yet: it has no job so far".to_string(),
        (_, Some(job)) => of_job(job, set.state == "partial", whole),
    }
}

fn of_job(story: &JobStory, partial: bool, whole: &Story) -> String {
    let job = &story.job;
    let again = if job.attempts > 0 && !job.error.is_empty() {
        format!(" after attempt {} failed: {}", job.attempts, job.error)
    } else {
        String::new()
    };
    match job.state.as_str() {
        "waiting" => match job.deadline_us {
            Some(deadline) => format!("not reduced yet: waits for {} until {}", job.waits_for, iso(deadline)),
            None => format!("not reduced yet: waits for {}", job.waits_for),
        },
        "ready" => format!("not reduced yet: ready to run{again}"),
        "running" => format!(
            "being reduced: {} has been running since {}",
            job.recipe,
            job.started_us.map_or_else(String::new, iso)
        ),
        "held" => "not reduced: held by an operator".to_string(),
        "parked" => format!("not reduced: given up after {}: {}", attempts(job.attempts), job.error),
        "failed" => format!("not reduced: {} failed: {}", job.recipe, job.error),
        "unsupported" => format!("not reduced: {}", job.error),
        "superseded" => "superseded: its set was planned again with other inputs".to_string(),
        state => {
            let how = if partial { " from an incomplete template" } else { "" };
            let flagged = if state == "flagged" { format!(", but {}", out_of_range(story)) } else { String::new() };
            format!(
                "reduced by {}{how} into {}{flagged}{}",
                job.recipe,
                products(&whole.products),
                delivered(&whole.deliveries)
            )
        }
    }
}

fn attempts(count: i64) -> String {
    match count {
        0 => "planning".to_string(),
        1 => "1 attempt".to_string(),
        count => format!("{count} attempts"),
    }
}

fn out_of_range(story: &JobStory) -> String {
    let names: Vec<&str> = story
        .metrics
        .iter()
        .filter(|metric| metric.verdict != "pass")
        .map(|metric| metric.name.as_str())
        .take(3)
        .collect();
    match (names.is_empty(), story.job.error.is_empty()) {
        (false, _) => format!("out of range: {}", names.join(", ")),
        (true, false) => story.job.error.clone(),
        (true, true) => "flagged".to_string(),
    }
}

fn products(products: &[ProductRow]) -> String {
    match products.len() {
        1 => "1 product".to_string(),
        count => format!("{count} products"),
    }
}

/// How many items each archive and monitor has confirmed.
fn delivered(deliveries: &[DeliveryRow]) -> String {
    let mut sinks: std::collections::BTreeMap<&str, (usize, usize)> = std::collections::BTreeMap::new();
    for item in deliveries.iter().filter(|item| item.state != "cancelled") {
        let (confirmed, all) = sinks.entry(item.sink.as_str()).or_default();
        *all += 1;
        *confirmed += usize::from(item.state == "confirmed");
    }
    if sinks.is_empty() {
        return ", not queued for any archive".to_string();
    }
    let each: Vec<String> =
        sinks.iter().map(|(sink, (confirmed, all))| format!("{sink} {confirmed} of {all}")).collect();
    format!(", confirmed by {}", each.join(", "))
}

fn of_product(product: &ProductRow, story: &Story) -> String {
    let made = format!("made by {} from {} frames, verdict {}", product.recipe, product.n_combined, product.verdict);
    let state = match (product.state.as_str(), product.state_why.as_str()) {
        ("current", _) => made,
        ("bad", why) => format!("withdrawn ({why}), {made}"),
        ("stale", why) => format!("stale ({why}), {made}"),
        (state, why) => format!("{state} ({why}), {made}"),
    };
    let count = |verdict: &str| story.considered.iter().filter(|one| one.verdict == verdict).count();
    let (chosen, refused) = (count("chosen"), count("refused"));
    let first_refusal = story.considered.iter().find(|one| one.verdict == "refused");
    let considered = match (story.considered.len(), chosen, first_refusal) {
        (0, ..) => "; no set has considered it as a master".to_string(),
        (all, 0, Some(refusal)) => {
            format!("; chosen by none of {all} jobs, refused by {refused}, for example because {}", refusal.reason)
        }
        (all, 0, None) => format!("; chosen by none of {all} jobs: another was better"),
        (all, chosen, _) => format!("; chosen as a master by {chosen} of {all} jobs, refused by {refused}"),
    };
    let replaces = match product.replaces.as_str() {
        "" => String::new(),
        older => format!(", in place of {older}"),
    };
    // Nobody considers a science file as a master.
    let considered =
        if product.prodcatg.is_empty() || !story.considered.is_empty() { considered } else { String::new() };
    let held = story.deliveries.iter().find(|item| item.state == "held" && !item.error.is_empty());
    let held = held.map_or(String::new(), |item| format!("; held: {}", item.error));
    format!("{state}{replaces}{}{held}{considered}", delivered(&story.deliveries))
}

fn of_delivery(delivery: &DeliveryRow) -> String {
    match delivery.state.as_str() {
        "confirmed" => format!(
            "delivered: {} has it, confirmed {}",
            delivery.sink,
            delivery.confirmed_us.map_or_else(String::new, iso)
        ),
        "held" if delivery.error.is_empty() => "not delivered: held until an operator releases it".to_string(),
        "held" => format!("not delivered: held: {}", delivery.error),
        "parked" => format!("not delivered: given up after {}: {}", attempts(delivery.attempts), delivery.error),
        "cancelled" if delivery.class == WITHDRAWN => format!("withdrawn: {}", delivery.error),
        "cancelled" => "not delivered: cancelled because its product was replaced or withdrawn".to_string(),
        state if delivery.error.is_empty() => format!("not confirmed yet: {state}"),
        state => format!("not confirmed yet: {state}, {}", delivery.error),
    }
}

fn remedies(story: &Story, target: &Target, admitted: &[Act]) -> Vec<String> {
    let mut remedies = Vec::new();
    let file = story.frame.as_ref().map(|frame| &frame.file);
    let set = story.set.as_ref().map(|set| &set.set);
    let quarantined = file.is_some_and(|file| file.state == "quarantined");
    for act in admitted {
        let command = format!("soxsd {} {target}", act.as_str());
        match act {
            Act::Retry if quarantined => {
                remedies.push(format!("put a good copy in its place; or `{command}` to have it looked at again"));
            }
            Act::Retry => remedies.push(format!("`{command}` once the cause is removed")),
            Act::Release => remedies.push(format!("`{command}` to let it go on")),
            Act::Accept => remedies.push(format!("`{command} --why REASON` to use it all the same")),
            Act::Reject => remedies.push(format!("`{command} --why REASON` to withdraw it")),
            Act::Reprocess if matches!(target, Target::Set(_) | Target::Job(_)) && !admitted.contains(&Act::Retry) => {
                remedies.push(format!("`{command}` to run it once more"));
            }
            Act::Hold | Act::Reprocess | Act::Withdraw | Act::Close | Act::Reopen => {}
        }
    }
    let failing = story.products.iter().find(|product| product.state == "current" && product.verdict == "fail");
    if let Some(product) = failing.filter(|_| !admitted.contains(&Act::Accept)) {
        remedies.push(format!("`soxsd accept product:{} --why REASON` to use it all the same", product.id));
    }
    if let Some(set) =
        set.filter(|set| !matches!(target, Target::Product(_) | Target::Delivery(_)) && set.state == "short")
    {
        remedies
            .push(format!("take the {} frames again: fewer than the recipe's minimum cannot be reduced", set.recipe));
    }
    if story.job.as_ref().is_some_and(|job| job.job.state == "waiting") {
        remedies.push(
            "it runs by itself as soon as that is there; at the deadline it takes the next best or is given up"
                .to_string(),
        );
    }
    if remedies.is_empty() && file.is_some_and(|file| file.state == "waiting") {
        remedies
            .push("it is taken in by itself when it is complete, and quarantined when it stays incomplete".to_string());
    }
    remedies
}
