//! The masters of one set: candidates are read, judged by [`super::choose`], taken, awaited or found missing.

use std::collections::BTreeMap;

use super::choose::{self, Candidate, Judged, Wanted};
use super::keys::Keys;
use super::plan::Association;
use super::rules::{Grouping, Need, RecipeRule};
use crate::catalogue::jobs::NewCandidate;
use crate::catalogue::sets::{DirtySet, SetContent};
use crate::catalogue::{CatalogueError, ProductId, Result, SetId};
use crate::config::Policy;
use crate::instrument::Arm;

/// How many refused candidates of a need are recorded: the nearest ones.
const REFUSED_KEPT: usize = 8;
/// How many candidates that would do are recorded: the best ones.
const ELIGIBLE_KEPT: usize = 8;

/// Candidates read in this pass, so that a thousand sets do not ask for them a thousand times.
#[derive(Default)]
pub(super) struct Seen {
    products: BTreeMap<String, Vec<Candidate>>,
    pending: BTreeMap<(String, Arm), Vec<Candidate>>,
}

/// What the needs of a set come to.
pub(super) struct Choice {
    /// Masters to use, in the order of the needs.
    pub(super) masters: Vec<ProductId>,
    /// Worst validity level among them.
    pub(super) level: Option<i64>,
    /// What it waits for and until when.
    pub(super) waits: Option<(String, i64)>,
    /// What is missing for good.
    pub(super) missing: Option<String>,
    /// Everything that was considered.
    pub(super) candidates: Vec<NewCandidate>,
    /// Sets whose masters it waits for.
    pub(super) awaited: Vec<SetId>,
}

/// A need with its judged candidates.
struct NeedStory<'a> {
    need: &'a Need,
    candidates: Vec<&'a Candidate>,
    judged: Vec<Judged>,
}

impl NeedStory<'_> {
    /// The best masters that exist, as many as are wanted, and the best that is still being made if it would be among them.
    fn best(&self) -> (Vec<ProductId>, Option<&Candidate>) {
        let eligible = || {
            self.judged
                .iter()
                .filter(|judged| judged.outcome.is_ok())
                .filter_map(|j| self.candidates.get(j.index).copied())
        };
        let existing = eligible().filter_map(|candidate| candidate.product).take(self.need.count).collect();
        let coming = eligible().take(self.need.count).find(|candidate| candidate.product.is_none());
        (existing, coming)
    }

    fn level_of(&self, product: ProductId) -> Option<i64> {
        self.judged.iter().find_map(|judged| {
            let candidate = self.candidates.get(judged.index)?;
            let fit = judged.outcome.as_ref().ok()?;
            (candidate.product == Some(product)).then_some(fit.level as i64)
        })
    }
}

impl Association {
    /// Find the masters of a set, or what it waits for, or what is missing.
    pub(super) async fn choose_masters(
        &self,
        set: &DirtySet,
        rule: &RecipeRule,
        arm: Arm,
        content: &SetContent,
        seen: &mut Seen,
    ) -> Result<Choice> {
        let set_keys: Keys = serde_json::from_str(&set.keys)
            .map_err(|source| CatalogueError::Content { what: "keys of a set", source })?;
        let data = Wanted {
            set: set.id,
            arm,
            keys: &set_keys,
            mjd: content.mjd_first,
            span: span(content.mjd_first, content.mjd_last, &set_keys),
            follows: set.follows,
        };
        let now = self.catalogue.clock().now_us();
        // what is made of other products is made when these are there, and made again: it waits for nothing but them
        let (for_better_s, for_master_s) = match rule.grouping {
            Grouping::Follow => (EVER_S, 0.0),
            _ => (self.config.wait_for_better_s, self.config.wait_for_master_s),
        };
        let deadline = |seconds: f64| set.changed_us.saturating_add((seconds * 1e6) as i64);
        let mut choice = Choice {
            masters: Vec::new(),
            level: None,
            waits: None,
            missing: None,
            candidates: Vec::new(),
            awaited: Vec::new(),
        };
        for need in rule.needs_of(arm) {
            let story = self.story_of(need, arm, data, seen).await?;
            let (existing, coming) = story.best();
            let better_deadline = deadline(for_better_s);
            let master_deadline = deadline(for_master_s);
            let mut chosen = Vec::new();
            let mut awaited = None;
            match (existing.first().copied(), coming) {
                (first, Some(coming))
                    if now < better_deadline || (first.is_none() && need.required && now < master_deadline) =>
                {
                    awaited = Some(coming.set);
                    let until = if first.is_none() && need.required { master_deadline } else { better_deadline };
                    wait(&mut choice, format!("{}: set {} is being reduced", need.catg(arm), coming.set), until);
                    choice.awaited.push(coming.set);
                }
                (Some(first), _) => {
                    choice.level = choice.level.max(story.level_of(first));
                    choice.masters.extend(&existing);
                    chosen = existing;
                }
                (None, _) if need.required && now < master_deadline => {
                    wait(&mut choice, format!("{}: none is there or being made", need.catg(arm)), master_deadline);
                }
                (None, _) if need.required => {
                    choice.missing.get_or_insert(missing_text(&story, arm));
                }
                (None, _) => {}
            }
            choice.candidates.extend(recorded(&story, arm, &chosen, awaited));
        }
        Ok(choice)
    }

    async fn story_of<'a>(
        &self,
        need: &'a Need,
        arm: Arm,
        data: Wanted<'_>,
        seen: &'a mut Seen,
    ) -> Result<NeedStory<'a>> {
        let catg = need.catg(arm);
        if !seen.products.contains_key(&catg) {
            let found = self.catalogue.product_candidates(&catg).await?;
            let candidates = found
                .into_iter()
                .map(|product| {
                    let barred = match (product.state.as_str(), product.verdict.as_str()) {
                        ("bad", _) => Some(("rejected by an operator", product.state_why)),
                        ("stale", _) => Some(("stale", product.state_why)),
                        (_, "fail") => Some(("qc", format!("QC of {} failed", product.name))),
                        _ => None,
                    };
                    let keys = parse_keys(&product.keys)?;
                    Ok(Candidate {
                        product: Some(product.id),
                        set: product.set_id,
                        span: span(product.mjd_first, product.mjd, &keys),
                        keys,
                        mjd: product.mjd,
                        barred,
                    })
                })
                .collect::<Result<Vec<Candidate>>>()?;
            seen.products.insert(catg.clone(), candidates);
        }
        let arm = need.arm(arm);
        for from in &need.from {
            let slot = (from.clone(), arm);
            if self.recipes.contains_key(from) && !seen.pending.contains_key(&slot) {
                let found = self.catalogue.pending_candidates(from, arm.as_str()).await?;
                let candidates = found
                    .into_iter()
                    .map(|set| {
                        let keys = parse_keys(&set.keys)?;
                        Ok(Candidate {
                            product: None,
                            set: set.set_id,
                            span: span(set.mjd_first, set.mjd, &keys),
                            keys,
                            mjd: set.mjd,
                            barred: None,
                        })
                    })
                    .collect::<Result<Vec<Candidate>>>()?;
                seen.pending.insert(slot, candidates);
            }
        }
        let steps = self.rules.steps(&need.validity);
        let window = within(steps, self.config.policy, data.mjd);
        let mut candidates: Vec<&Candidate> = near(seen.products.get(&catg), window).collect();
        for from in &need.from {
            candidates.extend(near(seen.pending.get(&(from.clone(), arm)), window));
        }
        let judged = choose::judge(need, steps, self.config.policy, data, &candidates);
        Ok(NeedStory { need, candidates, judged })
    }
}

/// Longer than anybody waits, s.
const EVER_S: f64 = 1.0e9;

/// Begin and end of the exposures of a set, from the starts of the first and the last one.
fn span(first: f64, last: f64, keys: &Keys) -> [f64; 2] {
    let exptime = keys.get("exptime").and_then(serde_json::Value::as_f64).unwrap_or(0.0);
    [first, last + exptime / 86_400.0]
}

/// Which candidates are worth judging: the validity window and a margin, so that the nearest refused ones are seen too.
fn within(steps: &[f64], policy: Policy, mjd: f64) -> (f64, f64) {
    let reach = steps.last().copied().unwrap_or_default();
    match policy {
        Policy::Newest => (mjd - reach - 30.0, mjd + 2.0),
        Policy::Nearest => (mjd - reach - 30.0, mjd + reach + 30.0),
        Policy::Peer => (f64::NEG_INFINITY, f64::INFINITY),
    }
}

fn near(candidates: Option<&Vec<Candidate>>, (from, to): (f64, f64)) -> impl Iterator<Item = &Candidate> {
    let candidates = candidates.map(Vec::as_slice).unwrap_or_default();
    let start = candidates.partition_point(|candidate| candidate.mjd < from);
    candidates.iter().skip(start).take_while(move |candidate| candidate.mjd <= to)
}

fn wait(choice: &mut Choice, what: String, until: i64) {
    choice.waits = Some(match choice.waits.take() {
        Some((others, first)) => (format!("{others}; {what}"), first.min(until)),
        None => (what, until),
    });
}

/// What to record of a need: the eligible ones in rank, then the nearest refused ones.
fn recorded(story: &NeedStory<'_>, arm: Arm, chosen: &[ProductId], awaited: Option<SetId>) -> Vec<NewCandidate> {
    let (mut eligible, mut refused) = (0, 0);
    let mut records = Vec::new();
    for judged in &story.judged {
        let Some(candidate) = story.candidates.get(judged.index) else { continue };
        let is_chosen = candidate.product.is_some_and(|product| chosen.contains(&product));
        let is_awaited = candidate.product.is_none() && Some(candidate.set) == awaited;
        let (verdict, rule, reason, level) = match &judged.outcome {
            Ok(fit) if is_chosen => ("chosen", "best rank", rank_text(fit), Some(fit.level as i64)),
            Ok(fit) if is_awaited => ("awaited", "best rank", rank_text(fit), Some(fit.level as i64)),
            Ok(_) if eligible == ELIGIBLE_KEPT => continue,
            Ok(fit) => {
                eligible += 1;
                ("eligible", "a better one is there", rank_text(fit), Some(fit.level as i64))
            }
            Err(_) if refused == REFUSED_KEPT => continue,
            Err(refusal) => {
                refused += 1;
                ("refused", refusal.rule.as_str(), refusal.reason.clone(), None)
            }
        };
        records.push(NewCandidate {
            need: story.need.catg(arm),
            product: candidate.product,
            set: candidate.set,
            verdict,
            rule: rule.to_string(),
            reason,
            level,
            days: judged.days,
        });
    }
    records
}

fn rank_text(fit: &choose::Fit) -> String {
    let preferred = if fit.unlike == 0.0 { "" } else { ", preferred keys differ" };
    format!("level {}, {:.2} d from the data{preferred}", fit.level, fit.distance)
}

fn missing_text(story: &NeedStory<'_>, arm: Arm) -> String {
    let catg = story.need.catg(arm);
    match story.judged.iter().find_map(|judged| judged.outcome.as_ref().err()) {
        Some(refusal) => {
            format!("no {catg} serves; the nearest was refused by rule \"{}\": {}", refusal.rule, refusal.reason)
        }
        None => format!("no {catg} is there; reduce a set of {}", story.need.from.join(" or ")),
    }
}

fn parse_keys(text: &str) -> Result<Keys> {
    serde_json::from_str(text).map_err(|source| CatalogueError::Content { what: "keys of a product", source })
}
