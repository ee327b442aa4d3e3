//! Where a thing comes from and where it went, as a graph: raw frames, masters, products, archives.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use sqlx::FromRow;

use crate::catalogue::target::{Resolution, Target};
use crate::catalogue::{Catalogue, During, Result};

/// Raw frames of the set in question that are drawn one by one; more are drawn as one box.
const MOST_FRAMES: usize = 12;
/// How many masters deep the origin is followed.
const MOST_STEPS: i64 = 6;

/// One box of the graph.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Node {
    /// What it is, as `kind:id`; boxes of several frames `raws:SET`, archives `sink:NAME`.
    pub id: String,
    /// `frame`, `raws`, `job`, `product` or `sink`.
    pub kind: String,
    /// Name.
    pub name: String,
    /// What it is, in a word or two: kind of frame, category, recipe.
    pub label: String,
    /// State or verdict.
    pub state: String,
    /// Where its page is; empty when it has none.
    pub target: String,
    /// The story is about this one.
    pub focus: bool,
}

/// One arrow of the graph, from what was there to what was made of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
pub struct Edge {
    /// Id of a node.
    pub from: String,
    /// Id of a node.
    pub to: String,
    /// What is to be said of it: a state of delivery; empty for nothing.
    pub label: String,
}

/// The graph of a set, or of one product of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Graph {
    /// Boxes.
    pub nodes: Vec<Node>,
    /// Arrows.
    pub edges: Vec<Edge>,
}

#[derive(FromRow)]
struct Raw {
    file_id: Option<i64>,
    data_id: String,
    kind: String,
    used: bool,
}

#[derive(FromRow)]
struct Ancestor {
    product_id: i64,
    name: String,
    catg: String,
    verdict: String,
    state: String,
    made_by: i64,
    set_id: i64,
    raws: i64,
    consumer: i64,
}

#[derive(FromRow)]
struct Made {
    id: i64,
    name: String,
    catg: String,
    verdict: String,
    state: String,
}

impl Catalogue {
    /// The graph of a frame's set, a set, a job, a product or a delivery; `None` when nothing has the name or it is a night.
    pub async fn graph(&self, target: &str) -> Result<Option<Graph>> {
        let Resolution::One(found) = self.resolve(target).await? else { return Ok(None) };
        let (set, job, product) = match &found {
            Target::Night(_) => return Ok(None),
            Target::Frame(id) => (self.frame_row(*id).await?.and_then(|frame| frame.set_id), None, None),
            Target::Set(id) => (Some(*id), None, None),
            Target::Job(id) => (self.job_row(*id).await?.map(|job| job.set_id), Some(*id), None),
            Target::Product(id) => {
                let row = self.product_row(*id).await?;
                (row.as_ref().map(|row| row.set_id), row.map(|row| row.job_id), Some(*id))
            }
            Target::Delivery(id) => {
                let row = self.delivery_row(*id).await?;
                let product = row.as_ref().and_then(|row| row.product_id);
                let job = row.map(|row| row.job_id);
                let set = match job {
                    Some(job) => self.job_row(job).await?.map(|job| job.set_id),
                    None => None,
                };
                (set, job, product)
            }
        };
        let mut draft = Draft { focus: found.to_string(), ..Draft::default() };
        let Some(set) = set else {
            if let Target::Frame(id) = found
                && let Some(frame) = self.frame_row(id).await?
            {
                let kind = frame.kind.unwrap_or_default();
                draft.node(&format!("frame:{id}"), "frame", &frame.name, &kind, &frame.outcome, true);
            }
            return Ok(Some(draft.finish()));
        };
        self.draw_set(&mut draft, set, job, product).await?;
        Ok(Some(draft.finish()))
    }

    async fn draw_set(&self, draft: &mut Draft, set: i64, job: Option<i64>, product: Option<i64>) -> Result<()> {
        let Some(row) = self.set_row(set).await? else { return Ok(()) };
        let job = job.or(row.job_id);
        let centre = job.map_or(format!("set:{set}"), |job| format!("job:{job}"));
        let state = match job {
            Some(job) => self.job_row(job).await?.map(|job| job.state).unwrap_or_default(),
            None => row.state.clone(),
        };
        draft.node(&centre, "job", &row.name, &row.recipe, &state, true);
        self.draw_raws(draft, set, job, &centre).await?;
        let Some(job) = job else { return Ok(()) };
        self.draw_masters(draft, job, &centre).await?;
        let made: Vec<Made> = sqlx::query_as(
            "SELECT id, name, catg, verdict, state FROM product WHERE job_id = ?1 AND (?2 IS NULL OR id = ?2) ORDER BY id",
        )
        .bind(job)
        .bind(product)
        .fetch_all(self.reader())
        .await
        .during("list the products of a job")?;
        for one in &made {
            let id = format!("product:{}", one.id);
            draft.node(&id, "product", &one.name, &one.catg, &condition(&one.state, &one.verdict), true);
            draft.edge(&centre, &id, "");
        }
        let deliveries: Vec<(i64, String, String)> = sqlx::query_as(
            "SELECT product_id, sink, state FROM delivery WHERE job_id = ?1 AND product_id IS NOT NULL
             AND (?2 IS NULL OR product_id = ?2) ORDER BY sink, product_id",
        )
        .bind(job)
        .bind(product)
        .fetch_all(self.reader())
        .await
        .during("list the deliveries of a job")?;
        let mut sinks: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
        for (_, sink, state) in &deliveries {
            *sinks.entry(sink).or_default().entry(state).or_default() += 1;
        }
        for (sink, states) in &sinks {
            let parts: Vec<String> = states.iter().map(|(state, n)| format!("{n} {state}")).collect();
            let worst = ["parked", "held", "queued", "sending", "unknown", "buffered", "sent", "cancelled"];
            let state = worst.iter().find(|state| states.contains_key(**state)).unwrap_or(&"confirmed");
            draft.node(&format!("sink:{sink}"), "sink", sink, &parts.join(", "), state, false);
        }
        for (product, sink, state) in &deliveries {
            draft.edge(&format!("product:{product}"), &format!("sink:{sink}"), state);
        }
        Ok(())
    }

    async fn draw_raws(&self, draft: &mut Draft, set: i64, job: Option<i64>, centre: &str) -> Result<()> {
        let raws: Vec<Raw> = sqlx::query_as(
            "SELECT (SELECT id FROM file WHERE version_id = v.id AND state = 'accepted') AS file_id, f.data_id, v.kind,
                    coalesce(i.used, 1) AS used
             FROM set_member m JOIN frame f ON f.id = m.frame_id JOIN frame_version v ON v.id = f.current_version
             LEFT JOIN job_input i ON i.version_id = v.id AND i.job_id = ?2
             WHERE m.set_id = ?1 ORDER BY v.date_obs_us, f.data_id",
        )
        .bind(set)
        .bind(job)
        .fetch_all(self.reader())
        .await
        .during("list the frames of a set")?;
        if raws.len() > MOST_FRAMES {
            let kind = raws.first().map(|raw| raw.kind.clone()).unwrap_or_default();
            draft.raws(set, raws.len() as i64, &kind);
            draft.edge(&format!("raws:{set}"), centre, "");
            return Ok(());
        }
        for raw in &raws {
            let id = raw.file_id.map_or(format!("gone:{}", raw.data_id), |file| format!("frame:{file}"));
            let state = if raw.used { "accepted" } else { "left out" };
            draft.node(&id, "frame", &raw.data_id, &raw.kind, state, raw.file_id.is_some());
            draft.edge(&id, centre, "");
        }
        Ok(())
    }

    /// The masters of a job, and theirs.
    async fn draw_masters(&self, draft: &mut Draft, job: i64, centre: &str) -> Result<()> {
        let ancestors: Vec<Ancestor> = sqlx::query_as(
            "WITH RECURSIVE up (product_id, consumer, depth) AS (
                 SELECT product_id, job_id, 1 FROM job_input WHERE job_id = ?1 AND role = 'master'
                 UNION
                 SELECT i.product_id, i.job_id, up.depth + 1 FROM up JOIN product p ON p.id = up.product_id
                 JOIN job_input i ON i.job_id = p.job_id AND i.role = 'master' WHERE up.depth < ?2)
             SELECT DISTINCT p.id AS product_id, p.name, p.catg, p.verdict, p.state, p.job_id AS made_by, p.set_id,
                    (SELECT count(*) FROM job_input r WHERE r.job_id = p.job_id AND r.role = 'raw') AS raws, up.consumer
             FROM up JOIN product p ON p.id = up.product_id ORDER BY p.id",
        )
        .bind(job)
        .bind(MOST_STEPS)
        .fetch_all(self.reader())
        .await
        .during("follow the masters of a job")?;
        let mut makers: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
        for one in &ancestors {
            let id = format!("product:{}", one.product_id);
            draft.node(&id, "product", &one.name, &one.catg, &condition(&one.state, &one.verdict), true);
            draft.raws(one.set_id, one.raws, "");
            draft.edge(&format!("raws:{}", one.set_id), &id, "");
            makers.entry(one.made_by).or_default().insert(one.product_id);
        }
        for one in &ancestors {
            let from = format!("product:{}", one.product_id);
            if one.consumer == job {
                draft.edge(&from, centre, "");
            }
            for product in makers.get(&one.consumer).into_iter().flatten() {
                draft.edge(&from, &format!("product:{product}"), "");
            }
        }
        Ok(())
    }
}

fn condition(state: &str, verdict: &str) -> String {
    if state == "current" { verdict.to_string() } else { state.to_string() }
}

/// A graph in the making: every node and arrow once.
#[derive(Default)]
struct Draft {
    focus: String,
    nodes: Vec<Node>,
    seen: BTreeSet<String>,
    edges: BTreeSet<Edge>,
}

impl Draft {
    fn node(&mut self, id: &str, kind: &str, name: &str, label: &str, state: &str, page: bool) {
        if self.seen.insert(id.to_string()) {
            self.nodes.push(Node {
                id: id.to_string(),
                kind: kind.to_string(),
                name: name.to_string(),
                label: label.to_string(),
                state: state.to_string(),
                target: if page { id.to_string() } else { String::new() },
                focus: id == self.focus,
            });
        }
    }

    /// Several raw frames as one box.
    fn raws(&mut self, set: i64, count: i64, kind: &str) {
        let id = format!("raws:{set}");
        let name = if count == 1 { "1 raw frame".to_string() } else { format!("{count} raw frames") };
        self.node(&id, "raws", &name, kind, "accepted", false);
        if let Some(node) = self.nodes.iter_mut().find(|node| node.id == id) {
            node.target = format!("set:{set}");
        }
    }

    fn edge(&mut self, from: &str, to: &str, label: &str) {
        self.edges.insert(Edge { from: from.to_string(), to: to.to_string(), label: label.to_string() });
    }

    fn finish(self) -> Graph {
        let edges = self.edges.into_iter().filter(|edge| edge.from != edge.to).collect();
        Graph { nodes: self.nodes, edges }
    }
}

#[cfg(test)]
mod tests {
    use crate::catalogue::seeded::Seeded;

    #[tokio::test]
    async fn a_product_has_its_frames_its_masters_and_its_archive() {
        let seeded = Seeded::night().await;
        let graph = seeded.catalogue.graph("set:4").await.expect("a catalogue").expect("a graph");
        for edge in &graph.edges {
            for end in [&edge.from, &edge.to] {
                assert!(graph.nodes.iter().any(|node| node.id == *end), "{end} is no node of {graph:?}");
            }
        }
        let kinds: Vec<&str> = graph.nodes.iter().map(|node| node.kind.as_str()).collect();
        for kind in ["frame", "job", "product", "raws"] {
            assert!(kinds.contains(&kind), "{kind} is not among {kinds:?}");
        }
        let master = graph.nodes.iter().find(|node| node.label == "MASTER_BIAS_VIS").expect("the master");
        let job = graph.nodes.iter().find(|node| node.kind == "job").expect("the job");
        assert!(graph.edges.iter().any(|edge| edge.from == master.id && edge.to == job.id), "{graph:?}");
    }

    #[tokio::test]
    async fn a_file_without_a_set_stands_alone_and_a_night_has_no_graph() {
        let seeded = Seeded::night().await;
        let graph = seeded.catalogue.graph("frame:1").await.expect("a catalogue").expect("a graph");
        assert_eq!((graph.nodes.len(), graph.edges.len()), (1, 0));
        assert!(graph.nodes.iter().all(|node| node.focus && node.state == "quarantined"));
        assert!(seeded.catalogue.graph("2026-03-10").await.expect("a catalogue").is_none());
        assert!(seeded.catalogue.graph("nothing").await.expect("a catalogue").is_none());
    }
}
