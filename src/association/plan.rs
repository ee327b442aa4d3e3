//! The association task: new frames into sets, marked sets into jobs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use super::keys;
use super::masters::{Choice, Seen};
use super::names;
use super::rules::{Grouping, RecipeRule, Rules};
use crate::catalogue::jobs::{Job, JobChange, NewJob};
use crate::catalogue::sets::{DirtySet, Member, OpenTemplate, SetContent, SetIdentity, Ungrouped};
use crate::catalogue::{Catalogue, CatalogueError, ProductId, Result, VersionId, WriteTx};
use crate::config::AssociationConfig;
use crate::fault::chain;
use crate::instrument::{Arm, FrameMeta, Night, Usage};

/// How many frames are grouped, and sets planned, in one transaction.
const BATCH: i64 = 500;
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
    pub(super) catalogue: Catalogue,
    pub(super) rules: Arc<Rules>,
    pub(super) config: AssociationConfig,
    pub(super) recipes: Arc<BTreeMap<String, KnownRecipe>>,
}

/// Everything that planning one set looks at.
struct Plan<'a> {
    set: &'a DirtySet,
    rule: &'a RecipeRule,
    members: &'a [Member],
    content: &'a SetContent,
    /// The newest job that was not superseded.
    latest: Option<&'a Job>,
}

/// What a new job would be.
struct JobVerdict {
    state: &'static str,
    class: &'static str,
    error: String,
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
                    follows: None,
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
        let mut content = self.content_of(tx, set, rule, &members).await?;
        let mut choice = None;
        if let (Grouping::Follow, "complete", Some(arm)) = (rule.grouping, content.state, Arm::parse(&set.arm)) {
            let found = self.choose_masters(set, rule, arm, &content, seen).await?;
            match (&found.waits, &found.missing) {
                (Some((waits_for, _)), _) => (content.state, content.why) = ("open", format!("waits for {waits_for}")),
                (None, Some(missing)) => (content.state, content.why) = ("short", missing.clone()),
                (None, None) => {}
            }
            choice = Some(found);
        }
        tx.put_set_content(set.id, &content).await?;
        let latest = self.catalogue.latest_job(set.id).await?;
        let is_running = latest.as_ref().is_some_and(|job| job.state == "running");
        if latest.as_ref().is_some_and(|job| ["done", "flagged"].contains(&job.state.as_str())) {
            self.put_followers(tx, set, &content.night).await?;
        }
        let made = match content.state {
            // The end of the running job marks the set again; nothing is planned behind its back.
            _ if is_running => false,
            "open" => false,
            "complete" | "partial" => {
                let plan = Plan { set, rule, members: &members, content: &content, latest: latest.as_ref() };
                self.plan_job(tx, &plan, choice, seen).await?
            }
            _ => {
                tx.supersede_jobs(set.id, &content.why).await?;
                self.nothing_comes_of(tx, set, rule).await?;
                false
            }
        };
        tx.clean_set(set.id, set.dirty).await?;
        Ok(made)
    }

    /// Sets that are made of what this one gave, marked to be planned.
    async fn put_followers(&self, tx: &mut WriteTx, set: &DirtySet, night: &str) -> Result<()> {
        let Some(arm) = Arm::parse(&set.arm) else { return Ok(()) };
        let ours: keys::Keys = serde_json::from_str(&set.keys)
            .map_err(|source| CatalogueError::Content { what: "keys of a set", source })?;
        for rule in self.rules.followers_of(&set.recipe, arm) {
            // the exposure time says how long the set was exposed, whatever the rule matches on
            let kept = |name: &str| rule.keys.iter().any(|key| key == name) || name == "exptime";
            let theirs: keys::Keys =
                ours.iter().filter(|(name, _)| kept(name)).map(|(k, v)| (k.clone(), v.clone())).collect();
            tx.put_set(&SetIdentity {
                key: &format!("{}|{}", set.key, rule.name),
                template: set.template_id,
                recipe: &rule.name,
                arm: &set.arm,
                night,
                object: &set.object,
                keys: &serde_json::Value::Object(theirs).to_string(),
                follows: Some(set.id),
            })
            .await?;
        }
        Ok(())
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
                let stem = match rule.grouping {
                    Grouping::Follow => names::joint_stem(&first.meta, &rule.token),
                    _ => names::stem(&first.meta, &rule.token),
                };
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

    async fn plan_job(
        &self,
        tx: &mut WriteTx,
        plan: &Plan<'_>,
        chosen: Option<Choice>,
        seen: &mut Seen,
    ) -> Result<bool> {
        let Some(arm) = Arm::parse(&plan.set.arm) else { return Ok(false) };
        let choice = match chosen {
            Some(choice) => choice,
            None => self.choose_masters(plan.set, plan.rule, arm, plan.content, seen).await?,
        };
        for awaited in &choice.awaited {
            tx.put_priority(*awaited, plan.rule.priority).await?;
        }
        let verdict = self.verdict(plan.rule, &choice);
        let key = self.job_key(plan, &verdict, &choice.masters).await?;
        if let Some(latest) = plan.latest.filter(|latest| latest.key == key) {
            self.renew(tx, latest, &choice).await?;
            return Ok(false);
        }
        match self.catalogue.job_by_key(&key).await? {
            Some(before) => self.revive(tx, plan, &before, &verdict, &choice).await?,
            None => self.create(tx, plan, &verdict, &choice, &key).await?,
        }
        if verdict.state == "parked" {
            self.nothing_comes_of(tx, plan.set, plan.rule).await?;
        }
        Ok(true)
    }

    /// Whoever waits for what this set would make must look for the next best, or be told that there is none.
    async fn nothing_comes_of(&self, tx: &mut WriteTx, set: &DirtySet, rule: &RecipeRule) -> Result<()> {
        tx.dirty_users_of(set.id, &self.rules.users_of(&rule.name)).await
    }

    /// What the needs of a set come to, as the state of a job.
    fn verdict(&self, rule: &RecipeRule, choice: &Choice) -> JobVerdict {
        let of = |state, class, error: &str| JobVerdict { state, class, error: error.to_string() };
        match (self.recipes.get(&rule.name), &choice.waits, &choice.missing) {
            (None, ..) => {
                let error = format!("recipe {} is not part of soxsd {}", rule.name, env!("CARGO_PKG_VERSION"));
                of("unsupported", "", &error)
            }
            (_, Some(_), _) => of("waiting", "", ""),
            (_, None, Some(missing)) => of("parked", "missing", missing),
            (_, None, None) => of("ready", "", ""),
        }
    }

    /// The inputs are what they were for an earlier job: it is that job again.
    async fn revive(
        &self,
        tx: &mut WriteTx,
        plan: &Plan<'_>,
        before: &Job,
        verdict: &JobVerdict,
        choice: &Choice,
    ) -> Result<()> {
        tx.supersede_jobs(plan.set.id, "its inputs changed back").await?;
        let change = JobChange {
            why: "its inputs are what they were before",
            actor: "association",
            class: verdict.class,
            error: &verdict.error,
            reset_attempts: true,
            ..JobChange::default()
        };
        tx.move_job(before.id, &["superseded"], verdict.state, &change).await?;
        self.renew(tx, before, choice).await
    }

    /// The job stands as it is; what was considered for it and what it waits for are told anew.
    async fn renew(&self, tx: &mut WriteTx, job: &Job, choice: &Choice) -> Result<()> {
        tx.put_candidates(job.id, &choice.candidates).await?;
        match &choice.waits {
            Some((waits_for, deadline)) => tx.put_waiting(job.id, waits_for, *deadline).await,
            None => Ok(()),
        }
    }

    async fn create(
        &self,
        tx: &mut WriteTx,
        plan: &Plan<'_>,
        verdict: &JobVerdict,
        choice: &Choice,
        key: &str,
    ) -> Result<()> {
        let metas: Vec<FrameMeta> = plan.members.iter().map(|member| member.meta.clone()).collect();
        let raw: Vec<VersionId> = match plan.rule.grouping {
            Grouping::Follow => self.catalogue.frames_of_products(&choice.masters).await?,
            _ => plan.members.iter().map(|member| member.version).collect(),
        };
        let (version, parameters) = self.version_and_parameters(plan.rule);
        let (waits_for, deadline_us) = choice.waits.clone().unzip();
        let was_held = plan.latest.is_some_and(|job| job.state == "held");
        let why = match plan.latest {
            None => format!("set is {}", plan.content.state),
            Some(_) => "its frames, masters, parameters or recipe changed".to_string(),
        };
        tx.create_job(&NewJob {
            set: plan.set.id,
            recipe: &plan.rule.name,
            recipe_version: version,
            key,
            parameters,
            // What an operator held stays held when its inputs change.
            state: if was_held && verdict.state == "ready" { "held" } else { verdict.state },
            priority: self.priority(plan.rule, &metas),
            newest_mjd: plan.content.mjd_last,
            peak_bytes: self
                .recipes
                .get(&plan.rule.name)
                .map_or(0, |known| (known.peak_bytes)(&plan.rule.name, &metas) as i64),
            waits_for: waits_for.as_deref().unwrap_or_default(),
            deadline_us,
            level: choice.level,
            class: verdict.class,
            error: &verdict.error,
            why: &why,
            raw: &raw,
            masters: &choice.masters,
            candidates: &choice.candidates,
        })
        .await?;
        Ok(())
    }

    fn version_and_parameters(&self, rule: &RecipeRule) -> (&str, &str) {
        self.recipes.get(&rule.name).map_or(("", "{}"), |known| (&known.version, &known.parameters))
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
    async fn job_key(&self, plan: &Plan<'_>, verdict: &JobVerdict, masters: &[ProductId]) -> Result<String> {
        let (version, parameters) = self.version_and_parameters(plan.rule);
        let mut digest = Sha256::new();
        for part in [plan.set.key.as_str(), &plan.rule.name, version, parameters, &plan.content.content] {
            digest.update(part.as_bytes());
            digest.update([0]);
        }
        // What cannot run in this build is not planned anew with every master that appears.
        let masters = if verdict.state == "unsupported" { &[] } else { masters };
        for master in masters {
            digest.update(self.catalogue.product_digest(*master).await?.as_bytes());
        }
        // A job that cannot run yet is not the job that will run.
        if verdict.state != "ready" {
            digest.update(verdict.state.as_bytes());
        }
        Ok(hex(&digest.finalize()))
    }
}

fn set_state(set: &DirtySet, rule: &RecipeRule, n_frames: usize) -> (&'static str, String) {
    let enough = n_frames >= rule.min_frames;
    let too_few =
        |end: &str| ("short", format!("{n_frames} of at least {} frames for {}; {end}", rule.min_frames, rule.name));
    if n_frames == 0 {
        return ("empty", "its frames moved elsewhere".to_string());
    }
    if matches!(rule.grouping, Grouping::Exposure | Grouping::Follow) {
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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
