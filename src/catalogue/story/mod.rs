//! Why: the whole story of a frame, a set, a product, a job or a delivery, the answer first.
//!
//! What lives here: what a story consists of and where its parts come from. `headline.rs` finds the one sentence and the
//! remedy, `pictures.rs` what was drawn, `text.rs` writes a story on one screen.
//! What never lives here: decisions. A story only repeats what association, scheduler, recipes and delivery recorded.

mod headline;
mod pictures;
mod text;

use serde::Serialize;
use sqlx::FromRow;

pub use text::one_line;

use super::target::{Match, Resolution, Target};
use super::views::{ActRow, DeliveryRow, FrameRow, JobRow, ProductRow, QcRow, SetRow};
use super::{Catalogue, CatalogueError, During, FrameId, Result};

/// The story of one thing. Parts that it has nothing to do with are empty.
#[derive(Clone, Debug, Default, Serialize, utoipa::ToSchema)]
pub struct Story {
    /// What it is about, as `kind:id`.
    pub target: String,
    /// Its name.
    pub name: String,
    /// The answer in one sentence.
    pub headline: String,
    /// When the name fits several things: those; everything else is empty then.
    pub matches: Vec<Match>,
    /// The frame and its file.
    pub frame: Option<FrameStory>,
    /// The set.
    pub set: Option<SetStory>,
    /// The job.
    pub job: Option<JobStory>,
    /// The masters that the recipe needs, each with its candidates.
    pub needs: Vec<NeedStory>,
    /// The product, when the story is about one.
    pub product: Option<ProductRow>,
    /// Jobs that considered the product as a master.
    pub considered: Vec<Considered>,
    /// Products of the set.
    pub products: Vec<ProductRow>,
    /// Pictures for people of the set that the story is about, paths of PDF and PNG. They are in no catalogue: whoever
    /// tells the story looks for them ([`Story::illustrate`]).
    pub pictures: Vec<String>,
    /// Deliveries of those products and their metrics.
    pub deliveries: Vec<DeliveryRow>,
    /// What operators did to any of these.
    pub acts: Vec<ActRow>,
    /// What can be done about it, as commands where there are any.
    pub remedies: Vec<String>,
}

/// A frame and its file.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct FrameStory {
    /// The file and what became of it.
    pub file: FrameRow,
    /// `ESO DPR TYPE`; empty when the file has not been read as a frame.
    pub dpr_type: String,
    /// `ESO DPR TECH`.
    pub dpr_tech: String,
    /// Why it is registered only or ignored.
    pub usage_reason: String,
    /// Defaults that had to be used, and oddities of its header.
    pub warnings: Vec<String>,
    /// What happened to the file, oldest first.
    pub history: Vec<HistoryLine>,
    /// Other files that carry or carried the same frame, as `state path`.
    pub other_files: Vec<String>,
}

/// One event.
#[derive(Clone, Debug, Serialize, FromRow, utoipa::ToSchema)]
pub struct HistoryLine {
    /// When.
    pub at_us: i64,
    /// The state that it went into.
    pub state: String,
    /// Why.
    pub why: String,
    /// Who.
    pub actor: String,
}

/// A set, its template and its members.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct SetStory {
    /// The set.
    pub set: SetRow,
    /// `ESO TPL ID`.
    pub tpl_id: String,
    /// Start of the template.
    pub template_start_us: i64,
    /// The template can bring no more frames.
    pub template_closed: bool,
    /// Why it was closed; empty while it is open.
    pub template_closed_why: String,
    /// What all its frames share, JSON.
    pub keys: String,
    /// Its frames.
    pub members: Vec<MemberLine>,
}

/// A frame of a set.
#[derive(Clone, Debug, Serialize, FromRow, utoipa::ToSchema)]
pub struct MemberLine {
    /// Data id.
    pub data_id: String,
    /// Why the recipe left it out; empty when it did not.
    pub left_out: String,
}

/// A job and what happened to it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct JobStory {
    /// The job.
    pub job: JobRow,
    /// What happened to it, oldest first.
    pub history: Vec<HistoryLine>,
    /// Remarks of the recipe.
    pub remarks: Vec<String>,
    /// Last lines of its log.
    pub log: Vec<String>,
    /// Metrics that are out of range or could not be measured.
    pub metrics: Vec<QcRow>,
}

/// A master that the recipe needs.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct NeedStory {
    /// PRO CATG that was looked for.
    pub need: String,
    /// What was considered: chosen and awaited first.
    pub candidates: Vec<CandidateLine>,
}

/// A candidate for a master.
#[derive(Clone, Debug, Serialize, FromRow, utoipa::ToSchema)]
pub struct CandidateLine {
    /// PRO CATG that was looked for.
    pub need: String,
    /// `chosen`, `awaited`, `eligible` or `refused`.
    pub verdict: String,
    /// The rule that decided.
    pub rule: String,
    /// Reason with numbers.
    pub reason: String,
    /// Validity level, 0 is best.
    pub level: Option<i64>,
    /// Days between the data and the candidate, positive when the candidate is older.
    pub days: f64,
    /// Row id of the product, when it exists.
    pub product_id: Option<i64>,
    /// Name of the product, else of the set that would make it.
    pub name: String,
    /// Row id of the set that made it or will make it.
    pub set_id: i64,
}

/// A job that considered a product as a master.
#[derive(Clone, Debug, Serialize, FromRow, utoipa::ToSchema)]
pub struct Considered {
    /// Row id of the job.
    pub job_id: i64,
    /// Row id of its set.
    pub set_id: i64,
    /// Name of its set.
    pub set_name: String,
    /// Recipe.
    pub recipe: String,
    /// `chosen`, `awaited`, `eligible` or `refused`.
    pub verdict: String,
    /// The rule that decided.
    pub rule: String,
    /// Reason with numbers.
    pub reason: String,
    /// Days between the data and the product, positive when the product is older.
    pub days: f64,
}

#[derive(FromRow)]
struct FrameFacts {
    frame_id: FrameId,
    dpr_type: String,
    dpr_tech: String,
    usage_reason: String,
    meta: String,
}

#[derive(FromRow)]
struct TemplateFacts {
    tpl_id: String,
    template_start_us: i64,
    template_closed: bool,
    template_closed_why: String,
    keys: String,
}

impl Catalogue {
    /// The story of whatever `target` stands for: `kind:id`, a path, a file name, a data id, the name of a set or product,
    /// a night, or a part of a name that fits one thing only. `None` when nothing fits.
    pub async fn why(&self, target: &str) -> Result<Option<Story>> {
        let found = match self.resolve_leniently(target).await? {
            Resolution::One(found) => found,
            Resolution::Nothing(_) => return Ok(None),
            Resolution::Several(matches) => {
                let headline = format!("{} things have this name; ask for one of them", matches.len());
                let name = target.to_string();
                return Ok(Some(Story { target: name.clone(), name, headline, matches, ..Story::default() }));
            }
        };
        let mut story = Story { target: found.to_string(), ..Story::default() };
        match &found {
            Target::Frame(id) => self.tell_frame(&mut story, *id).await?,
            Target::Set(id) => self.tell_set(&mut story, *id, None).await?,
            Target::Job(id) => self.tell_job(&mut story, *id).await?,
            Target::Product(id) => self.tell_product(&mut story, *id).await?,
            Target::Delivery(id) => self.tell_delivery(&mut story, *id).await?,
            Target::Night(night) => {
                story.name.clone_from(night);
                story.headline = headline::of_night(&self.night_report(night).await?);
                story.remedies = vec![format!("soxsd report {night}"), format!("soxsd frames --night {night}")];
                return Ok(Some(story));
            }
        }
        story.acts = self.acts_on(&story).await?;
        let admitted = self.admitted_acts(&found).await?;
        headline::conclude(&mut story, &found, &admitted);
        Ok(Some(story))
    }

    async fn tell_frame(&self, story: &mut Story, id: i64) -> Result<()> {
        let Some(file) = self.frame_row(id).await? else { return Ok(()) };
        story.name.clone_from(&file.name);
        let history = sqlx::query_as(
            "SELECT at_us, state, reason AS why, '' AS actor FROM file_event WHERE file_id = ?1 ORDER BY id",
        )
        .bind(id)
        .fetch_all(self.reader())
        .await
        .during("read the history of a file")?;
        let facts: Option<FrameFacts> = sqlx::query_as(
            "SELECT v.frame_id, v.dpr_type, v.dpr_tech, v.usage_reason, v.meta FROM file f
             JOIN frame_version v ON v.id = f.version_id WHERE f.id = ?1",
        )
        .bind(id)
        .fetch_optional(self.reader())
        .await
        .during("read a frame")?;
        let set = file.set_id;
        let mut frame = FrameStory {
            file,
            dpr_type: String::new(),
            dpr_tech: String::new(),
            usage_reason: String::new(),
            warnings: Vec::new(),
            history,
            other_files: Vec::new(),
        };
        if let Some(facts) = facts {
            frame.warnings = super::sets::parse_meta(&facts.meta)?.warnings;
            frame.other_files = sqlx::query_scalar(
                "SELECT o.state || ' ' || o.path FROM frame_version v JOIN file o ON o.version_id = v.id
                 WHERE v.frame_id = ?1 AND o.id <> ?2 ORDER BY o.path",
            )
            .bind(facts.frame_id)
            .bind(id)
            .fetch_all(self.reader())
            .await
            .during("list the files of a frame")?;
            frame.dpr_type = facts.dpr_type;
            frame.dpr_tech = facts.dpr_tech;
            frame.usage_reason = facts.usage_reason;
        }
        story.frame = Some(frame);
        match set {
            Some(set) => self.tell_set(story, set, None).await,
            None => Ok(()),
        }
    }

    /// The set with its present job, or with the job that is asked for.
    async fn tell_set(&self, story: &mut Story, id: i64, job: Option<i64>) -> Result<()> {
        let Some(set) = self.set_row(id).await? else { return Ok(()) };
        let template: TemplateFacts = sqlx::query_as(
            "SELECT tpl_id, template_start_us, template_closed, template_closed_why, keys FROM set_account WHERE id = ?1",
        )
        .bind(id)
        .fetch_one(self.reader())
        .await
        .during("read the template of a set")?;
        let job = job.or(set.job_id);
        let members = sqlx::query_as(
            "SELECT f.data_id, CASE WHEN i.used = 0 THEN i.remark ELSE '' END AS left_out
             FROM set_member m JOIN frame f ON f.id = m.frame_id JOIN frame_version v ON v.id = f.current_version
             LEFT JOIN job_input i ON i.version_id = v.id AND i.job_id = ?2
             WHERE m.set_id = (SELECT coalesce(follows, id) FROM frame_set WHERE id = ?1) ORDER BY v.date_obs_us, f.data_id",
        )
        .bind(id)
        .bind(job)
        .fetch_all(self.reader())
        .await
        .during("list the members of a set")?;
        if story.name.is_empty() {
            story.name.clone_from(&set.name);
        }
        story.set = Some(SetStory {
            set,
            tpl_id: template.tpl_id,
            template_start_us: template.template_start_us,
            template_closed: template.template_closed,
            template_closed_why: template.template_closed_why,
            keys: template.keys,
            members,
        });
        if let Some(job) = job {
            story.job = self.job_story(job).await?;
            story.needs = self.needs(job).await?;
        }
        story.products = self.products_of_set(id).await?;
        story.deliveries = self.deliveries_of_set(id).await?;
        Ok(())
    }

    async fn tell_job(&self, story: &mut Story, id: i64) -> Result<()> {
        let Some(job) = self.job_row(id).await? else { return Ok(()) };
        story.name = format!("{} {}", job.recipe, job.set_name);
        self.tell_set(story, job.set_id, Some(id)).await
    }

    async fn tell_product(&self, story: &mut Story, id: i64) -> Result<()> {
        let Some(product) = self.product_row(id).await? else { return Ok(()) };
        story.name.clone_from(&product.name);
        self.tell_set(story, product.set_id, Some(product.job_id)).await?;
        story.deliveries = self.deliveries_of_product(id).await?;
        story.considered = sqlx::query_as(
            "SELECT c.job_id, s.id AS set_id, s.name AS set_name, j.recipe, c.verdict, c.rule, c.reason, c.days
             FROM candidate c JOIN job j ON j.id = c.job_id JOIN frame_set s ON s.id = j.set_id
             WHERE c.product_id = ?1 AND j.state <> 'superseded'
             ORDER BY CASE c.verdict WHEN 'chosen' THEN 0 WHEN 'awaited' THEN 1 WHEN 'refused' THEN 2 ELSE 3 END, c.job_id DESC",
        )
        .bind(id)
        .fetch_all(self.reader())
        .await
        .during("list who considered a product")?;
        story.product = Some(product);
        Ok(())
    }

    async fn tell_delivery(&self, story: &mut Story, id: i64) -> Result<()> {
        let Some(delivery) = self.delivery_row(id).await? else { return Ok(()) };
        match delivery.product_id {
            Some(product) => self.tell_product(story, product).await?,
            None => self.tell_job(story, delivery.job_id).await?,
        }
        story.name = format!("{} to {}", delivery.key, delivery.sink);
        story.deliveries = vec![delivery];
        Ok(())
    }

    async fn job_story(&self, id: i64) -> Result<Option<JobStory>> {
        let Some(job) = self.job_row(id).await? else { return Ok(None) };
        let history =
            sqlx::query_as("SELECT at_us, to_state AS state, why, actor FROM job_event WHERE job_id = ?1 ORDER BY id")
                .bind(id)
                .fetch_all(self.reader())
                .await
                .during("read the history of a job")?;
        let (remarks, log): (String, String) = sqlx::query_as("SELECT remarks, log FROM job WHERE id = ?1")
            .bind(id)
            .fetch_one(self.reader())
            .await
            .during("read the log of a job")?;
        let remarks: Vec<serde_json::Value> = serde_json::from_str(&remarks)
            .map_err(|source| CatalogueError::Content { what: "list of remarks", source })?;
        let mut metrics = self.qc_of_job(id).await?;
        metrics.retain(|metric| metric.verdict != "pass" || metric.value.is_none());
        Ok(Some(JobStory {
            job,
            history,
            remarks: remarks
                .into_iter()
                .map(|remark| match remark {
                    serde_json::Value::String(text) => text,
                    other => other.to_string(),
                })
                .collect(),
            log: log.lines().map(str::to_string).collect(),
            metrics,
        }))
    }

    async fn needs(&self, job: i64) -> Result<Vec<NeedStory>> {
        let lines: Vec<CandidateLine> = sqlx::query_as(
            "SELECT c.need, c.verdict, c.rule, c.reason, c.level, c.days, c.product_id,
                    coalesce(p.name, s.name) AS name, c.set_id
             FROM candidate c JOIN frame_set s ON s.id = c.set_id LEFT JOIN product p ON p.id = c.product_id
             WHERE c.job_id = ?1
             ORDER BY c.need, CASE c.verdict WHEN 'chosen' THEN 0 WHEN 'awaited' THEN 1 WHEN 'eligible' THEN 2 ELSE 3 END,
                      c.position",
        )
        .bind(job)
        .fetch_all(self.reader())
        .await
        .during("list the candidates of a job")?;
        let mut needs: Vec<NeedStory> = Vec::new();
        for line in lines {
            match needs.last_mut() {
                Some(need) if need.need == line.need => need.candidates.push(line),
                _ => needs.push(NeedStory { need: line.need.clone(), candidates: vec![line] }),
            }
        }
        Ok(needs)
    }

    /// What operators did to anything in this story.
    async fn acts_on(&self, story: &Story) -> Result<Vec<ActRow>> {
        let set = story.set.as_ref();
        let job = story.job.as_ref();
        let frame = story.frame.as_ref();
        let names: Vec<String> = [
            Some(story.target.clone()),
            set.map(|set| format!("set:{}", set.set.id)),
            job.map(|job| format!("job:{}", job.job.id)),
            frame.map(|frame| format!("frame:{}", frame.file.id)),
        ]
        .into_iter()
        .flatten()
        .chain(story.products.iter().map(|product| format!("product:{}", product.id)))
        .collect();
        let list = serde_json::to_string(&names)
            .map_err(|source| CatalogueError::Content { what: "list of targets", source })?;
        sqlx::query_as(
            "SELECT id, at_us, who, act, target, why, result FROM operator_act
             WHERE target IN (SELECT value FROM json_each(?1)) ORDER BY id",
        )
        .bind(list)
        .fetch_all(self.reader())
        .await
        .during("list what operators did")
    }
}

#[cfg(test)]
mod tests {
    use crate::catalogue::acts::Act;
    use crate::catalogue::seeded::Seeded;

    async fn text(seeded: &Seeded, target: &str) -> String {
        let story = seeded.catalogue.why(target).await.expect("a readable catalogue").expect("a story");
        let text = story.to_string();
        assert!(text.lines().count() <= 45, "longer than a screen:\n{text}");
        text
    }

    #[tokio::test]
    async fn a_quarantined_file_says_why_and_what_to_do() {
        let seeded = Seeded::night().await;
        insta::assert_snapshot!(text(&seeded, "SOXS.2026-03-10T19:10:00.000.fits").await);
    }

    #[tokio::test]
    async fn a_frame_of_a_short_set_is_not_reduced() {
        let seeded = Seeded::night().await;
        insta::assert_snapshot!(text(&seeded, "SOXS.2026-03-10T18:00:00.000").await);
    }

    #[tokio::test]
    async fn a_waiting_set_says_for_what_and_until_when() {
        let seeded = Seeded::night().await;
        let name = seeded.set_name(6).await;
        insta::assert_snapshot!(text(&seeded, &name).await);
    }

    #[tokio::test]
    async fn an_open_set_says_how_many_came() {
        let seeded = Seeded::night().await;
        insta::assert_snapshot!(text(&seeded, "set:5").await);
    }

    #[tokio::test]
    async fn a_reduced_set_names_its_chosen_master_and_the_refused_one() {
        let seeded = Seeded::night().await;
        insta::assert_snapshot!(text(&seeded, "set:4").await);
    }

    #[tokio::test]
    async fn a_master_that_was_not_chosen_names_every_refusal() {
        let seeded = Seeded::night().await;
        insta::assert_snapshot!(text(&seeded, "product:1").await);
    }

    #[tokio::test]
    async fn a_delivered_frame_says_where_it_is() {
        let seeded = Seeded::night().await;
        insta::assert_snapshot!(text(&seeded, "/data/raw/SOXS.2026-03-10T20:00:00.000.fits").await);
    }

    #[tokio::test]
    async fn an_operators_act_is_part_of_the_story() {
        let seeded = Seeded::night().await;
        seeded.catalogue.act("ana", Act::Reject, "product:2", "light leak").await.expect("admitted");
        let text = text(&seeded, "product:2").await;
        assert!(text.contains("withdrawn (reject by ana: light leak)"), "{text}");
        assert!(text.contains("ana reject product:2 (light leak)"), "{text}");
        assert!(text.contains("soxsd accept product:2"), "{text}");
    }

    #[tokio::test]
    async fn a_part_of_a_name_lists_what_it_fits_and_nonsense_fits_nothing() {
        let seeded = Seeded::night().await;
        let story = seeded.catalogue.why("MBIAS").await.expect("a catalogue").expect("matches");
        assert_eq!(story.matches.len(), 5, "three sets and two products: {:?}", story.matches);
        assert!(seeded.catalogue.why("no-such-thing").await.expect("a catalogue").is_none());
        assert!(seeded.catalogue.why("set:99").await.expect("a catalogue").is_none());
        assert!(seeded.catalogue.why("%").await.expect("a catalogue").is_none(), "a wildcard means itself");
    }

    #[tokio::test]
    async fn a_night_gives_its_account() {
        let seeded = Seeded::night().await;
        let text = text(&seeded, "2026-03-10").await;
        assert!(
            text.contains(
                "23 files: 5 flagged, 4 pending, 1 quarantined, 10 reduced, 1 registered, 2 unreduced; 5 delivered"
            ),
            "{text}"
        );
    }

    #[tokio::test]
    async fn a_hostile_name_cannot_steer_the_terminal() {
        let seeded = Seeded::empty().await;
        let mut tx = seeded.catalogue.begin().await.expect("a transaction");
        let file = crate::catalogue::seeded::look("/data/raw/\u{1b}[2Jevil\n\u{202e}.fits");
        tx.quarantine_file(&file, "keyword", "OBJECT = '\u{1b}]0;owned\u{7}'").await.expect("quarantined");
        tx.commit().await.expect("kept");
        let text = text(&seeded, "frame:1").await;
        assert!(text.contains("OBJECT = ' ]0;owned '"), "{text}");
        assert!(!text.chars().any(|one| one != '\n' && (one.is_control() || one == '\u{202e}')), "{text:?}");
    }
}
