//! The association task: new frames into sets, marked sets into jobs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use super::choose::{self, Candidate, Judged, Wanted};
use super::keys::{self, Keys};
use super::names;
use super::rules::{Grouping, Need, RecipeRule, Rules};
use crate::catalogue::jobs::{Job, JobChange, NewCandidate, NewJob};
use crate::catalogue::sets::{DirtySet, Member, OpenTemplate, SetContent, SetIdentity, Ungrouped};
use crate::catalogue::{Catalogue, CatalogueError, ProductId, Result, VersionId, WriteTx};
use crate::config::{AssociationConfig, Policy};
use crate::fault::chain;
use crate::instrument::{Arm, FrameMeta, Night, Usage};

/// How many frames are grouped, and sets planned, in one transaction.
const BATCH: i64 = 500;
/// How many refused candidates of a need are recorded: the nearest ones.
const REFUSED_KEPT: usize = 8;
/// How many sets are planned before their changes are committed.
const PLANS_PER_COMMIT: usize = 50;

/// A recipe that this build can run.
#[derive(Clone, Debug)]
pub struct KnownRecipe {
    /// Version of the algorithm.
    pub version: String,
    /// Parameters in force, canonical JSON.
    pub parameters: String,
    /// Peak memory for a set of frames, bytes.
    pub peak_bytes: fn(&str, &[FrameMeta]) -> u64,
}

/// What one pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PassReport {
    /// Frames put into sets.
    pub grouped: usize,
    /// Sets planned.
    pub planned: usize,
    /// Jobs made or revived.
    pub jobs: usize,
}

/// The association task and what it needs to know.
#[derive(Clone)]
pub struct Association {
    catalogue: Catalogue,
    rules: Arc<Rules>,
    config: AssociationConfig,
    recipes: Arc<BTreeMap<String, KnownRecipe>>,
}

/// Candidates read in this pass, so that a thousand sets do not ask for them a thousand times.
#[derive(Default)]
struct Seen {
    products: BTreeMap<String, Vec<Candidate>>,
    pending: BTreeMap<(String, Arm), Vec<Candidate>>,
}

/// A need with its judged candidates.
struct NeedStory<'a> {
    need: &'a Need,
    candidates: Vec<Candidate>,
    judged: Vec<Judged>,
}

impl NeedStory<'_> {
    /// The best master that exists, and the best that is still being made if that would be better.
    fn best(&self) -> (Option<&Candidate>, Option<&Candidate>) {
        let eligible =
            || self.judged.iter().filter(|judged| judged.outcome.is_ok()).filter_map(|j| self.candidates.get(j.index));
        let first = eligible().next();
        let existing = eligible().find(|candidate| candidate.product.is_some());
        let coming = first.filter(|candidate| candidate.product.is_none());
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

/// What the needs of a set come to.
struct Choice {
    masters: Vec<ProductId>,
    level: Option<i64>,
    /// What it waits for and until when.
    waits: Option<(String, i64)>,
    /// What is missing for good.
    missing: Option<String>,
    candidates: Vec<NewCandidate>,
    /// Sets whose masters it waits for.
    awaited: Vec<crate::catalogue::SetId>,
}

impl Association {
    /// An association task on this catalogue.
    pub fn new(
        catalogue: Catalogue,
        rules: Arc<Rules>,
        config: AssociationConfig,
        recipes: BTreeMap<String, KnownRecipe>,
    ) -> Association {
        Association { catalogue, rules, config, recipes: Arc::new(recipes) }
    }

    /// Group what is new, close what is over, plan what is marked, until nothing is left to do.
    pub async fn pass(&self) -> Result<PassReport> {
        let mut report = PassReport::default();
        loop {
            let grouped = self.group_new_frames().await?;
            report.grouped += grouped;
            if (grouped as i64) < BATCH {
                break;
            }
        }
        self.close_templates(false).await?;
        self.wake_overdue().await?;
        self.plan_marked_sets(&mut report).await?;
        Ok(report)
    }

    /// No more frames will come: close every open template. Used on existing data.
    pub async fn close_all_templates(&self) -> Result<()> {
        self.close_templates(true).await
    }

    /// Every set is planned again at the next pass: rules, recipes or parameters may have changed since the last start.
    pub async fn mark_everything(&self) -> Result<()> {
        let mut tx = self.catalogue.begin().await?;
        tx.dirty_all_sets().await?;
        tx.commit().await
    }

    /// Keep sets and jobs in step until cancelled. `tick` is called after every pass.
    pub async fn run(self, cancel: CancellationToken, tick: impl Fn()) {
        let mut changes = self.catalogue.subscribe();
        loop {
            changes.borrow_and_update();
            match self.pass().await {
                Ok(report) if report != PassReport::default() => {
                    tracing::info!(
                        grouped = report.grouped,
                        planned = report.planned,
                        jobs = report.jobs,
                        "association pass"
                    );
                }
                Ok(_) => {}
                Err(error) => tracing::error!(error = chain(&error), "association pass failed"),
            }
            tick();
            tokio::select! {
                () = cancel.cancelled() => return,
                _ = changes.changed() => {}
                // Deadlines: templates, waiting jobs.
                () = tokio::time::sleep(Duration::from_secs(2)) => {}
            }
        }
    }

    async fn group_new_frames(&self) -> Result<usize> {
        let frames = self.catalogue.ungrouped(BATCH).await?;
        if frames.is_empty() {
            return Ok(0);
        }
        let mut tx = self.catalogue.begin().await?;
        for frame in &frames {
            self.group(&mut tx, frame).await?;
        }
        tx.commit().await?;
        Ok(frames.len())
    }

    async fn group(&self, tx: &mut WriteTx, frame: &Ungrouped) -> Result<()> {
        let meta = &frame.meta;
        let key = template_key(meta);
        let template = tx
            .put_template(
                &key,
                meta.arm.as_str(),
                &meta.tpl_id,
                meta.tpl_start.as_microsecond(),
                i64::from(meta.tpl_nexp.max(1)),
            )
            .await?;
        let rule = meta
            .recipe
            .as_deref()
            .filter(|_| meta.usage == Usage::Reduce)
            .and_then(|name| self.rules.recipe(name))
            .filter(|rule| rule.arms.contains(&meta.arm));
        let set = match rule {
            Some(rule) => {
                let set_keys = keys::keys_of(meta, &rule.keys);
                let mut identity = format!("{key}|{}|{}", rule.name, keys::identity(&set_keys, &rule.keys));
                if rule.grouping == Grouping::Exposure {
                    identity.push_str(&format!("|{}", meta.data_id));
                }
                let keys_json = serde_json::Value::Object(set_keys).to_string();
                let set = SetIdentity {
                    key: &identity,
                    template,
                    recipe: &rule.name,
                    arm: meta.arm.as_str(),
                    night: &Night::of(meta.date_obs).to_string(),
                    object: &meta.object,
                    keys: &keys_json,
                };
                Some(tx.put_set(&set).await?)
            }
            None => None,
        };
        tx.put_member(frame.frame, set).await?;
        tx.put_template_member(template, frame.frame, i64::from(meta.tpl_expno)).await?;
        tx.mark_grouped(frame.version).await
    }

    async fn close_templates(&self, all: bool) -> Result<()> {
        let now = self.catalogue.clock().now_us();
        let over: Vec<(OpenTemplate, String)> = self
            .catalogue
            .open_templates()
            .await?
            .into_iter()
            .filter_map(|template| self.end_of(&template, now, all).map(|why| (template, why)))
            .collect();
        if over.is_empty() {
            return Ok(());
        }
        let mut tx = self.catalogue.begin().await?;
        for (template, why) in &over {
            tx.close_template(template.id, why).await?;
        }
        tx.commit().await
    }

    /// Why a template can bring no more frames, if it is over.
    fn end_of(&self, template: &OpenTemplate, now: i64, all: bool) -> Option<String> {
        let (seen, nexp) = (template.seen, template.nexp);
        let seconds = |us: i64| us as f64 / 1e6;
        let quiet = seconds(now - template.touched_us);
        if seen >= nexp {
            return Some(format!("all {nexp} exposures are there"));
        }
        if all {
            return Some(format!("{seen} of {nexp} exposures are there and no more will come"));
        }
        if template.next_start_us.is_some() && quiet > self.config.template_grace_s {
            return Some(format!("{seen} of {nexp} exposures are there and a later template of the arm has begun"));
        }
        let since_last = seconds(now - template.touched_us.max(template.last_end_us));
        (since_last > self.config.template_deadline_s).then(|| {
            format!("{seen} of {nexp} exposures are there and none came for {:.0} s", self.config.template_deadline_s)
        })
    }

    /// Waiting jobs whose deadline has passed are planned again, without waiting.
    async fn wake_overdue(&self) -> Result<()> {
        let now = self.catalogue.clock().now_us();
        let waiting = self.catalogue.jobs_in("waiting").await?;
        let overdue: Vec<&Job> =
            waiting.iter().filter(|job| job.deadline_us.is_some_and(|deadline| deadline <= now)).collect();
        if overdue.is_empty() {
            return Ok(());
        }
        let mut tx = self.catalogue.begin().await?;
        for job in overdue {
            tx.dirty_set(job.set_id).await?;
        }
        tx.commit().await
    }

    async fn plan_marked_sets(&self, report: &mut PassReport) -> Result<()> {
        let marked = self.catalogue.dirty_sets().await?;
        let mut seen = Seen::default();
        for sets in marked.chunks(PLANS_PER_COMMIT) {
            let mut tx = self.catalogue.begin().await?;
            for set in sets {
                report.planned += 1;
                report.jobs += usize::from(self.plan(&mut tx, set, &mut seen).await?);
            }
            tx.commit().await?;
        }
        Ok(())
    }

    /// Plan one set. Returns whether a job was made or revived.
    async fn plan(&self, tx: &mut WriteTx, set: &DirtySet, seen: &mut Seen) -> Result<bool> {
        let members = self.catalogue.members(set.id).await?;
        let Some(rule) = self.rules.recipe(&set.recipe) else {
            tx.clean_set(set.id, set.dirty).await?;
            return Ok(false);
        };
        let content = self.content_of(tx, set, rule, &members).await?;
        let latest = self.catalogue.latest_job(set.id).await?;
        if latest.as_ref().is_some_and(|job| job.state == "running")
            && matches!(content.state, "open" | "complete" | "partial")
        {
            // Its outcome marks the set again; until then the mark stays, and nothing is planned twice.
            return self.plan_behind_running(tx, set, &content).await;
        }
        tx.put_set_content(set.id, &content).await?;
        let made = match content.state {
            "complete" | "partial" => self.plan_job(tx, set, rule, &members, &content, latest, seen).await?,
            "open" => false,
            _ => {
                if latest.is_some() {
                    tx.supersede_jobs(
                        set.id,
                        if content.why.is_empty() { "its frames moved elsewhere" } else { &content.why },
                    )
                    .await?;
                }
                false
            }
        };
        tx.clean_set(set.id, set.dirty).await?;
        Ok(made)
    }

    async fn plan_behind_running(&self, tx: &mut WriteTx, set: &DirtySet, content: &SetContent) -> Result<bool> {
        tx.put_set_content(set.id, content).await?;
        tx.clean_set(set.id, set.dirty).await?;
        Ok(false)
    }

    async fn content_of(
        &self,
        tx: &mut WriteTx,
        set: &DirtySet,
        rule: &RecipeRule,
        members: &[Member],
    ) -> Result<SetContent> {
        let mut digest = Sha256::new();
        for member in members {
            digest.update(member.digest.as_bytes());
        }
        let (state, why) = set_state(set, rule, members.len());
        let (name, night) = match members.first() {
            Some(first) => {
                let stem = names::stem(&first.meta, &rule.token);
                (tx.free_set_name(set.id, &stem).await?, Night::of(first.meta.date_obs).to_string())
            }
            None => (format!("empty-{}", set.id), "0000-00-00".to_string()),
        };
        Ok(SetContent {
            name,
            night,
            content: hex(&digest.finalize()),
            n_frames: members.len() as i64,
            mjd_first: members.first().map_or(0.0, |member| member.meta.mjd_obs),
            mjd_last: members.last().map_or(0.0, |member| member.meta.mjd_obs),
            state,
            why,
        })
    }

    #[allow(clippy::too_many_arguments)]
    async fn plan_job(
        &self,
        tx: &mut WriteTx,
        set: &DirtySet,
        rule: &RecipeRule,
        members: &[Member],
        content: &SetContent,
        latest: Option<Job>,
        seen: &mut Seen,
    ) -> Result<bool> {
        let Some(arm) = Arm::parse(&set.arm) else { return Ok(false) };
        let choice = self.choose_masters(set, rule, arm, content, seen).await?;
        let known = self.recipes.get(&rule.name);
        let (version, parameters) = match known {
            Some(known) => (known.version.as_str(), known.parameters.as_str()),
            None => ("", "{}"),
        };
        let (state, class, error): (&'static str, &str, String) = match (known, &choice.waits, &choice.missing) {
            (None, ..) => {
                ("unsupported", "", format!("recipe {} is not part of soxsd {}", rule.name, env!("CARGO_PKG_VERSION")))
            }
            (_, Some(_), _) => ("waiting", "", String::new()),
            (_, None, Some(missing)) => ("parked", "missing", missing.clone()),
            (_, None, None) => ("ready", "", String::new()),
        };
        let digests: Vec<String> = members.iter().map(|member| member.digest.clone()).collect();
        // What cannot run here is not planned anew with every master that appears.
        let keyed: &[ProductId] = if state == "unsupported" { &[] } else { &choice.masters };
        let key = self.job_key(set, rule, version, parameters, state, &digests, keyed).await?;
        for awaited in &choice.awaited {
            tx.put_priority(*awaited, rule.priority).await?;
        }
        if let Some(latest) = latest.as_ref().filter(|latest| latest.key == key) {
            tx.put_candidates(latest.id, &choice.candidates).await?;
            if let Some((waits_for, deadline)) = &choice.waits {
                tx.put_waiting(latest.id, waits_for, *deadline).await?;
            }
            return Ok(false);
        }
        let why = match &latest {
            None => format!("set is {}", content.state),
            Some(_) => "its frames, masters, parameters or recipe changed".to_string(),
        };
        if let Some(old) = self.catalogue.job_by_key(&key).await? {
            tx.supersede_jobs(set.id, &why).await?;
            let change = JobChange {
                why: "its inputs are what they were before",
                actor: "association",
                reset_attempts: true,
                ..JobChange::default()
            };
            if state == "ready" {
                tx.move_job(old.id, &["superseded"], "ready", &change).await?;
                return Ok(true);
            }
            return Ok(false);
        }
        let metas: Vec<FrameMeta> = members.iter().map(|member| member.meta.clone()).collect();
        let raw: Vec<VersionId> = members.iter().map(|member| member.version).collect();
        let (waits_for, deadline) = choice.waits.clone().unzip();
        tx.create_job(&NewJob {
            set: set.id,
            recipe: &rule.name,
            recipe_version: version,
            key: &key,
            parameters,
            state: if latest.is_some_and(|job| job.state == "held") && state == "ready" { "held" } else { state },
            priority: self.priority(rule, &metas),
            newest_mjd: content.mjd_last,
            peak_bytes: known.map_or(0, |known| (known.peak_bytes)(&rule.name, &metas) as i64),
            waits_for: waits_for.as_deref().unwrap_or_default(),
            deadline_us: deadline,
            level: choice.level,
            class,
            error: &error,
            why: &why,
            raw: &raw,
            masters: &choice.masters,
            candidates: &choice.candidates,
        })
        .await?;
        Ok(true)
    }

    fn priority(&self, rule: &RecipeRule, metas: &[FrameMeta]) -> i64 {
        let urgent = &self.rules.target_of_opportunity;
        let is_urgent = metas.iter().any(|meta| {
            let name = meta.obs_name.to_lowercase();
            meta.dpr_catg == "SCIENCE" && urgent.words.iter().any(|word| name.contains(&word.to_lowercase()))
        });
        if is_urgent { urgent.priority } else { rule.priority }
    }

    /// Content key: the same inputs, recipe and parameters always have the same one.
    #[allow(clippy::too_many_arguments)]
    async fn job_key(
        &self,
        set: &DirtySet,
        rule: &RecipeRule,
        version: &str,
        parameters: &str,
        state: &str,
        raw: &[String],
        masters: &[ProductId],
    ) -> Result<String> {
        let mut digest = Sha256::new();
        for part in [&set.key, rule.name.as_str(), version, parameters] {
            digest.update(part.as_bytes());
            digest.update([0]);
        }
        for part in raw {
            digest.update(part.as_bytes());
        }
        for master in masters {
            digest.update(self.catalogue.product_digest(*master).await?.as_bytes());
        }
        // A job that cannot run yet is not the job that will run.
        if state != "ready" {
            digest.update(state.as_bytes());
        }
        Ok(hex(&digest.finalize()))
    }

    async fn choose_masters(
        &self,
        set: &DirtySet,
        rule: &RecipeRule,
        arm: Arm,
        content: &SetContent,
        seen: &mut Seen,
    ) -> Result<Choice> {
        let set_keys: Keys = serde_json::from_str(&set.keys)
            .map_err(|source| CatalogueError::Content { what: "keys of a set", source })?;
        let data = Wanted { set: set.id, arm, keys: &set_keys, mjd: content.mjd_first };
        let now = self.catalogue.clock().now_us();
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
            let better_deadline = deadline(self.config.wait_for_better_s);
            let master_deadline = deadline(self.config.wait_for_master_s);
            let mut chosen = None;
            let mut awaited = None;
            match (existing, coming) {
                (_, Some(coming))
                    if now < better_deadline || (existing.is_none() && need.required && now < master_deadline) =>
                {
                    awaited = Some(coming.set);
                    let until = if existing.is_none() && need.required { master_deadline } else { better_deadline };
                    wait(&mut choice, format!("{}: set {} is being reduced", need.catg(arm), coming.set), until);
                    choice.awaited.push(coming.set);
                }
                (Some(existing), _) => {
                    chosen = existing.product;
                    let level = existing.product.and_then(|product| story.level_of(product));
                    choice.level = choice.level.max(level);
                    choice.masters.extend(existing.product);
                }
                (None, _) if need.required && now < master_deadline => {
                    wait(&mut choice, format!("{}: none is there or being made", need.catg(arm)), master_deadline);
                }
                (None, _) if need.required => {
                    choice.missing.get_or_insert(missing_text(&story, arm));
                }
                (None, _) => {}
            }
            choice.candidates.extend(recorded(&story, arm, chosen, awaited));
        }
        Ok(choice)
    }

    async fn story_of<'a>(&self, need: &'a Need, arm: Arm, data: Wanted<'_>, seen: &mut Seen) -> Result<NeedStory<'a>> {
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
                    Ok(Candidate {
                        product: Some(product.id),
                        set: product.set_id,
                        keys: parse_keys(&product.keys)?,
                        mjd: product.mjd,
                        barred,
                    })
                })
                .collect::<Result<Vec<Candidate>>>()?;
            seen.products.insert(catg.clone(), candidates);
        }
        for from in &need.from {
            let slot = (from.clone(), arm);
            if self.recipes.contains_key(from) && !seen.pending.contains_key(&slot) {
                let found = self.catalogue.pending_candidates(from, arm.as_str()).await?;
                let candidates = found
                    .into_iter()
                    .map(|set| {
                        Ok(Candidate {
                            product: None,
                            set: set.set_id,
                            keys: parse_keys(&set.keys)?,
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
        let mut candidates: Vec<Candidate> = near(seen.products.get(&catg), window);
        for from in &need.from {
            candidates.extend(near(seen.pending.get(&(from.clone(), arm)), window));
        }
        let judged = choose::judge(need, steps, self.config.policy, data, &candidates);
        Ok(NeedStory { need, candidates, judged })
    }
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

fn near(candidates: Option<&Vec<Candidate>>, (from, to): (f64, f64)) -> Vec<Candidate> {
    let candidates = candidates.map(Vec::as_slice).unwrap_or_default();
    let start = candidates.partition_point(|candidate| candidate.mjd < from);
    candidates.iter().skip(start).take_while(|candidate| candidate.mjd <= to).cloned().collect()
}

fn wait(choice: &mut Choice, what: String, until: i64) {
    choice.waits = Some(match choice.waits.take() {
        Some((others, first)) => (format!("{others}; {what}"), first.min(until)),
        None => (what, until),
    });
}

/// What to record of a need: the eligible ones in rank, then the nearest refused ones.
fn recorded(
    story: &NeedStory<'_>,
    arm: Arm,
    chosen: Option<ProductId>,
    awaited: Option<crate::catalogue::SetId>,
) -> Vec<NewCandidate> {
    let mut refused = 0;
    let mut records = Vec::new();
    for judged in &story.judged {
        let Some(candidate) = story.candidates.get(judged.index) else { continue };
        let is_chosen = candidate.product.is_some() && candidate.product == chosen;
        let is_awaited = candidate.product.is_none() && Some(candidate.set) == awaited;
        let (verdict, rule, reason, level) = match &judged.outcome {
            Ok(fit) if is_chosen => ("chosen", "best rank", rank_text(fit), Some(fit.level as i64)),
            Ok(fit) if is_awaited => ("awaited", "best rank", rank_text(fit), Some(fit.level as i64)),
            Ok(fit) => ("eligible", "a better one is there", rank_text(fit), Some(fit.level as i64)),
            Err(refusal) => {
                refused += 1;
                if refused > REFUSED_KEPT {
                    continue;
                }
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

fn set_state(set: &DirtySet, rule: &RecipeRule, n_frames: usize) -> (&'static str, String) {
    let enough = n_frames >= rule.min_frames;
    let too_few =
        |end: &str| ("short", format!("{n_frames} of at least {} frames for {}; {end}", rule.min_frames, rule.name));
    if n_frames == 0 {
        return ("empty", "its frames moved elsewhere".to_string());
    }
    if rule.grouping == Grouping::Exposure {
        return ("complete", String::new());
    }
    let (seen, nexp) = (set.seen, set.nexp);
    if seen >= nexp {
        return if enough { ("complete", String::new()) } else { too_few("its template is complete") };
    }
    if set.template_closed == 1 {
        return if enough { ("partial", set.template_closed_why.clone()) } else { too_few(&set.template_closed_why) };
    }
    ("open", format!("{seen} of {nexp} exposures of its template are there"))
}

fn template_key(meta: &FrameMeta) -> String {
    format!("{}|{}|{}", meta.arm, meta.tpl_start, meta.tpl_id)
}

fn parse_keys(text: &str) -> Result<Keys> {
    serde_json::from_str(text).map_err(|source| CatalogueError::Content { what: "keys of a product", source })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
