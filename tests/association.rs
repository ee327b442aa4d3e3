//! Sets, plans and choices are the same whatever order the frames of a night arrive in.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use soxsd::association::{Association, KnownRecipe, Rules};
use soxsd::catalogue::files::{Content, Look};
use soxsd::catalogue::views::Filter;
use soxsd::catalogue::{Catalogue, SetId};
use soxsd::clock::Clock;
use soxsd::config::{AssociationConfig, Config};
use soxsd::instrument::{Arm, Binning, Classification, FrameMeta};
use soxsd::simulator::{Exposure, FrameKind, NightPlan, TemplatePlan};

/// A clock that only the test moves.
struct TestClock(Mutex<Timestamp>);

impl TestClock {
    fn advance(&self, seconds: i64) {
        let mut now = self.0.lock().expect("no panic while held");
        *now += SignedDuration::from_secs(seconds);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().expect("no panic while held")
    }
}

struct Bench {
    _folder: tempfile::TempDir,
    catalogue: Catalogue,
    association: Association,
    clock: Arc<TestClock>,
    classification: Classification,
}

fn start() -> Timestamp {
    "2026-03-10T19:00:00Z".parse().expect("a time")
}

async fn bench() -> Bench {
    bench_with(&["mbias", "mdark"], Config::defaults().expect("defaults").association).await
}

async fn bench_with(recipes: &[&str], config: AssociationConfig) -> Bench {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Arc::new(TestClock(Mutex::new(start())));
    let catalogue = Catalogue::open(&folder.path().join("catalogue.db"), clock.clone()).await.expect("opens");
    let known = |peak_bytes: fn(&str, &[FrameMeta]) -> u64| KnownRecipe {
        version: "1".to_string(),
        parameters: "{}".to_string(),
        peak_bytes,
    };
    let recipes: BTreeMap<String, KnownRecipe> =
        recipes.iter().map(|name| (name.to_string(), known(|_, _| 1))).collect();
    let rules = Arc::new(Rules::builtin().expect("rules"));
    let association = Association::new(catalogue.clone(), rules, config, recipes);
    let classification = Classification::builtin().expect("classification");
    Bench { _folder: folder, catalogue, association, clock, classification }
}

impl Bench {
    /// One frame is taken in, as ingest does it.
    async fn land(&self, exposure: &Exposure) {
        let header = &exposure.header;
        let meta = self
            .classification
            .classify(&exposure.name, header, exposure.shape(), exposure.bitpix(), self.clock.now())
            .expect("classified");
        let digest = format!("{:064x}", u128::from_be_bytes(hash(&exposure.name)));
        let look = Look {
            path: Path::new("/raw").join(&exposure.name).display().to_string(),
            name: exposure.name.clone(),
            size: 2880,
            mtime_us: 0,
        };
        let mut tx = self.catalogue.begin().await.expect("begins");
        tx.accept_file(&look, &Content { digest: &digest, bytes: 2880, meta: &meta, header }).await.expect("accepted");
        tx.commit().await.expect("commits");
    }

    async fn pass(&self) {
        self.association.pass().await.expect("a pass");
    }

    /// Everything that must not depend on arrival: sets with their state and content, and the state of their jobs.
    async fn account(&self) -> Vec<String> {
        let filter = Filter { limit: 10_000, ..Filter::default() };
        let sets = self.catalogue.sets(&filter).await.expect("sets");
        let mut lines = Vec::new();
        for set in sets {
            let members = self.catalogue.members(SetId(set.id)).await.expect("members");
            let ids: Vec<&str> = members.iter().map(|member| member.meta.data_id.as_str()).collect();
            lines.push(format!("{} {} {:?} {:?}", set.name, set.state, set.job_state, ids));
        }
        lines.sort();
        lines
    }
}

fn hash(text: &str) -> [u8; 16] {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut bytes = [0; 16];
    for (half, salt) in bytes.chunks_mut(8).zip([1, 2]) {
        let mut hasher = DefaultHasher::new();
        (salt, text).hash(&mut hasher);
        half.copy_from_slice(&hasher.finish().to_be_bytes());
    }
    bytes
}

/// A shuffle that is the same for the same seed.
fn shuffled<T: Clone>(items: &[T], seed: u64) -> Vec<T> {
    let mut order: Vec<(u64, usize)> = (0..items.len())
        .map(|index| (u64::from_be_bytes(hash(&format!("{seed} {index}"))[..8].try_into().expect("eight")), index))
        .collect();
    order.sort_unstable();
    order.into_iter().map(|(_, index)| items[index].clone()).collect()
}

/// One template of five biases.
fn biases() -> Vec<Exposure> {
    let template = TemplatePlan::vis_bias(1, Binning { x: 1, y: 1 }, 5);
    NightPlan::new(start()).with(template).exposures().expect("a template")
}

fn night() -> Vec<Exposure> {
    NightPlan::complete(start()).exposures().expect("a night")
}

#[tokio::test]
async fn any_order_of_arrival_and_any_moment_of_looking_give_the_same_sets() {
    let frames = night();
    let mut accounts = Vec::new();
    for seed in 0..6_u64 {
        let bench = bench().await;
        for (index, frame) in shuffled(&frames, seed).iter().enumerate() {
            bench.land(frame).await;
            if (index as u64 + seed).is_multiple_of(7) {
                bench.clock.advance(300);
                bench.pass().await;
            }
        }
        bench.association.close_all_templates().await.expect("closed");
        bench.pass().await;
        bench.pass().await;
        accounts.push(bench.account().await);
    }
    assert!(accounts[0].len() > 20, "{:#?}", accounts[0]);
    assert!(
        accounts[0].iter().any(|line| line.contains("MBIAS") && line.contains("complete") && line.contains("ready"))
    );
    for account in &accounts[1..] {
        assert_eq!(account, &accounts[0]);
    }
}

#[tokio::test]
async fn a_template_that_never_ends_becomes_partial_and_a_late_frame_completes_it() {
    let bench = bench().await;
    let biases = biases();
    for frame in &biases[..4] {
        bench.land(frame).await;
    }
    bench.pass().await;
    assert!(bench.account().await[0].contains(" open None"), "{:?}", bench.account().await);
    // The deadline counts from the end of the last exposure, which the headers put minutes after the start.
    bench.clock.advance(2400);
    bench.pass().await;
    bench.pass().await;
    let partial = bench.account().await;
    assert!(partial[0].contains("partial") && partial[0].contains("ready"), "{partial:?}");
    bench.land(&biases[4]).await;
    bench.pass().await;
    let complete = bench.account().await;
    assert_eq!(complete.len(), 1);
    assert!(complete[0].contains("complete") && complete[0].contains("ready"), "{complete:?}");
}

#[tokio::test]
async fn too_few_frames_are_said_to_be_too_few() {
    let bench = bench().await;
    for frame in &biases()[..2] {
        bench.land(frame).await;
    }
    bench.pass().await;
    bench.association.close_all_templates().await.expect("closed");
    bench.pass().await;
    let sets = bench.catalogue.sets(&Filter::default()).await.expect("sets");
    assert_eq!(sets[0].state, "short");
    assert!(sets[0].why.contains("2 of at least 3 frames for mbias"), "{}", sets[0].why);
}

/// Without biases there is no first solution, and without that no map: nobody may wait for either.
#[tokio::test]
async fn what_waits_for_a_set_that_is_given_up_is_given_up_too() {
    // as for data that are all there: what is being made is waited for, what is not is missing
    let waits = Config::defaults().expect("defaults").association;
    let waits = AssociationConfig { wait_for_better_s: 1e9, wait_for_master_s: 0.0, ..waits };
    let bench = bench_with(&["disp_solution", "order_centres", "spat_solution"], waits).await;
    let frames = [FrameKind::PinholeArc, FrameKind::PinholeFlat, FrameKind::MultiPinholeArc]
        .into_iter()
        .fold(NightPlan::new(start()), |night, kind| night.with(TemplatePlan::new(kind, Arm::Vis, 10.0, 1)));
    for frame in &frames.exposures().expect("three templates") {
        bench.land(frame).await;
    }
    // a pass for each step of the chain
    for _ in 0..4 {
        bench.pass().await;
    }
    let sets = bench.catalogue.sets(&Filter::default()).await.expect("sets");
    let states: Vec<(&str, Option<&str>)> =
        sets.iter().map(|set| (set.recipe.as_str(), set.job_state.as_deref())).collect();
    let parked = Some("parked");
    assert_eq!(states, [("spat_solution", parked), ("order_centres", parked), ("disp_solution", parked)]);
    assert!(bench.catalogue.is_idle().await.expect("idle"));
}
