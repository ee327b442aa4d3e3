//! What people and programs look at: tables with filters, counts, and the account of a night.
//!
//! Every row type here is what the command line prints, what `--json` gives and what the API serves: one definition.
//! Times are microseconds since 1970 UTC, nights are `YYYY-MM-DD` by UT minus 15 hours. Tables come newest first; the id
//! of the last row is where the next page begins.
//! What never lives here: anything that decides or writes.

mod deliveries;
mod frames;
mod graph;
mod holdings;
mod jobs;
mod masters;
mod products;
mod qc;
mod report;
mod sets;
mod status;
mod tonight;
mod trends;

use serde::{Deserialize, Serialize};
use sqlx::{QueryBuilder, Sqlite};

pub use deliveries::{ActRow, DeliveryRow};
pub use frames::FrameRow;
pub use graph::{Edge, Graph, Node};
pub use holdings::{Pictured, RawFile};
pub use jobs::JobRow;
pub use masters::{NewestMaster, UsedSetup};
pub use products::ProductRow;
pub use qc::QcRow;
pub use report::{NightReport, NightRow, ReportLine};
pub use sets::SetRow;
pub use status::{Count, LastFrame, Latency, RunningJob, Spread, StatusView, WaitingSet};
pub use tonight::{FrameMark, LastSpectrum, QueuedJob, SetMark};
pub use trends::{Trend, TrendAxis, TrendFacets, TrendPoint, TrendQuery, TrendedMetric};

/// Rows of a table when nobody says how many.
pub const DEFAULT_LIMIT: i64 = 200;

/// Which rows of a table, and how many. Conditions are joined by "and".
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    /// Night, `YYYY-MM-DD`.
    pub night: Option<String>,
    /// `VIS`, `NIR` or `ACQ`, in any case.
    pub arm: Option<String>,
    /// State; for frames also the outcome, for sets also the state of the job, for products and metrics also the verdict.
    pub state: Option<String>,
    /// Recipe; for deliveries the sink.
    pub recipe: Option<String>,
    /// Part of a name: of file, data id or object, set, product, metric.
    pub text: Option<String>,
    /// Most rows to return.
    pub limit: i64,
    /// Row id: only rows that come after it, for the next page.
    pub after: Option<i64>,
}

impl Default for Filter {
    fn default() -> Filter {
        Filter { night: None, arm: None, state: None, recipe: None, text: None, limit: DEFAULT_LIMIT, after: None }
    }
}

/// A statement that grows by the conditions of a filter. Values are always bound, never part of the text.
struct Select {
    builder: QueryBuilder<Sqlite>,
    joint: &'static str,
}

impl Select {
    /// `head` is a whole SELECT up to its FROM clause.
    fn new(head: &'static str) -> Select {
        Select { builder: QueryBuilder::new(head), joint: " WHERE " }
    }

    /// `column = value`, when there is a value.
    fn equal(mut self, column: &'static str, value: Option<&str>) -> Select {
        if let Some(value) = value {
            self.condition().push(column).push(" = ").push_bind(value.to_string());
        }
        self
    }

    /// `column = id`.
    fn id(mut self, column: &'static str, id: i64) -> Select {
        self.condition().push(column).push(" = ").push_bind(id);
        self
    }

    /// A condition of its own, when it applies.
    fn only(mut self, condition: &'static str, applies: bool) -> Select {
        if applies {
            self.condition().push(condition);
        }
        self
    }

    /// The arm, in any case.
    fn arm(self, column: &'static str, filter: &Filter) -> Select {
        let arm = filter.arm.as_ref().map(|arm| arm.to_ascii_uppercase());
        self.equal(column, arm.as_deref())
    }

    /// One of the columns has the value, when there is one.
    fn any_equal(mut self, columns: &[&'static str], value: Option<&str>) -> Select {
        if let Some(value) = value {
            let builder = self.condition();
            builder.push("(");
            for (index, column) in columns.iter().enumerate() {
                builder.push(if index == 0 { "" } else { " OR " });
                builder.push(column).push(" = ").push_bind(value.to_string());
            }
            builder.push(")");
        }
        self
    }

    /// One of the columns contains the text, when there is one; `%` and `_` mean themselves.
    fn any_contains(mut self, columns: &[&'static str], text: Option<&str>) -> Select {
        if let Some(text) = text {
            let pattern = like_pattern(text);
            let builder = self.condition();
            builder.push("(");
            for (index, column) in columns.iter().enumerate() {
                builder.push(if index == 0 { "" } else { " OR " });
                builder.push(column).push(" LIKE ").push_bind(pattern.clone()).push(r" ESCAPE '\'");
            }
            builder.push(")");
        }
        self
    }

    /// Newest first, one page.
    fn page(mut self, id: &'static str, filter: &Filter) -> QueryBuilder<Sqlite> {
        if let Some(after) = filter.after {
            self.condition().push(id).push(" < ").push_bind(after);
        }
        self.builder.push(" ORDER BY ").push(id).push(" DESC LIMIT ").push_bind(filter.limit.max(0));
        self.builder
    }

    fn condition(&mut self) -> &mut QueryBuilder<Sqlite> {
        self.builder.push(self.joint);
        self.joint = " AND ";
        &mut self.builder
    }
}

/// A LIKE pattern (escape character `\`) for "contains this text".
pub(super) fn like_pattern(text: &str) -> String {
    let mut pattern = String::from("%");
    for character in text.chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::seeded::{NIGHT, Seeded};

    fn by(change: impl FnOnce(&mut Filter)) -> Filter {
        let mut filter = Filter::default();
        change(&mut filter);
        filter
    }

    #[tokio::test]
    async fn every_file_is_listed_once_and_the_pages_join_up() {
        let seeded = Seeded::night().await;
        let all = seeded.catalogue.frames(&Filter::default()).await.expect("rows");
        let mut paged = Vec::new();
        let mut after = None;
        loop {
            let page = seeded.catalogue.frames(&by(|f| (f.limit, f.after) = (7, after))).await.expect("rows");
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            paged.extend(page.into_iter().map(|row| row.path));
        }
        assert_eq!(paged, all.iter().map(|row| row.path.clone()).collect::<Vec<_>>());
        assert_eq!(all.len(), 23);
    }

    #[tokio::test]
    async fn filters_narrow_and_take_wildcards_literally() {
        let seeded = Seeded::night().await;
        let catalogue = &seeded.catalogue;
        let count = async |filter: Filter| catalogue.frames(&filter).await.expect("rows").len();
        assert_eq!(count(by(|f| f.arm = Some("nir".into()))).await, 3);
        assert_eq!(count(by(|f| f.state = Some("quarantined".into()))).await, 1);
        assert_eq!(count(by(|f| f.state = Some("reduced".into()))).await, 10);
        assert_eq!(count(by(|f| f.text = Some("T19:10".into()))).await, 1);
        assert_eq!(count(by(|f| f.text = Some("%".into()))).await, 0);
        assert_eq!(count(by(|f| f.night = Some("' OR 1=1 --".into()))).await, 0);
        let sets = catalogue.sets(&by(|f| f.state = Some("waiting".into()))).await.expect("rows");
        assert_eq!(sets.len(), 1);
        assert_eq!(sets[0].waits_for, "MASTER_BIAS_VIS with binning 1x2");
        let products = catalogue.products(&by(|f| f.state = Some("fail".into()))).await.expect("rows");
        assert_eq!(products[0].deliveries, "archive: queued");
        assert_eq!(catalogue.jobs(&by(|f| f.recipe = Some("mbias".into()))).await.expect("rows").len(), 2);
        assert_eq!(catalogue.deliveries(&by(|f| f.state = Some("confirmed".into()))).await.expect("rows").len(), 1);
    }

    #[tokio::test]
    async fn metrics_come_newest_job_first_and_global_values_before_orders_on_every_page() {
        let seeded = Seeded::night().await;
        let all = seeded.catalogue.qc(&Filter::default()).await.expect("rows");
        let shown: Vec<(i64, &str)> = all.iter().map(|row| (row.job_id, row.qc_order.as_str())).collect();
        assert_eq!(shown, [(3, "-1"), (3, "12"), (2, "-1"), (2, "12"), (1, "-1"), (1, "12")]);
        for split in 1..all.len() {
            let rest = seeded.catalogue.qc(&by(|f| f.after = Some(all[split - 1].id))).await.expect("rows");
            let ids = |rows: &[QcRow]| rows.iter().map(|row| row.id).collect::<Vec<_>>();
            assert_eq!(ids(&rest), ids(&all[split..]));
        }
    }

    #[tokio::test]
    async fn the_account_of_a_night_adds_up_to_its_files() {
        let seeded = Seeded::night().await;
        let report = seeded.catalogue.night_report(NIGHT).await.expect("a report");
        assert_eq!(report.files, 23);
        assert_eq!(report.outcomes.iter().map(|outcome| outcome.count).sum::<i64>(), report.files);
        assert_eq!(report.delivered, 5);
        assert!(report.reasons.iter().any(|line| line.why == "only 2 of at least 3 frames came" && line.files == 2));
        let nights = seeded.catalogue.nights(10).await.expect("nights");
        assert_eq!((nights.len(), nights[0].files, nights[0].lost), (1, 23, 3));
        assert_eq!(seeded.catalogue.night_report("2026-03-11").await.expect("a report").files, 0);
    }

    #[tokio::test]
    async fn the_status_counts_and_times_what_is_there() {
        let seeded = Seeded::night().await;
        let status = seeded.catalogue.status().await.expect("a status");
        let count =
            |counts: &[Count], name: &str| counts.iter().find(|one| one.name == name).map_or(0, |one| one.count);
        assert_eq!((count(&status.files, "accepted"), count(&status.files, "quarantined")), (22, 1));
        assert_eq!((count(&status.frames, "reduce"), count(&status.frames, "register")), (21, 1));
        assert_eq!((count(&status.sets, "complete"), count(&status.sets, "short")), (4, 1));
        assert_eq!((count(&status.jobs, "done"), count(&status.jobs, "waiting")), (2, 1));
        assert_eq!(count(&status.products, "current/pass"), 2);
        assert_eq!(count(&status.deliveries, "archive/confirmed"), 1);
        assert_eq!(status.oldest_waiting.expect("one waits").name, seeded.set_name(5).await);
        assert_eq!(status.oldest_undelivered_s, Some(300.0));
        let latency = status.latency.expect("products were made");
        // The one stored product: five exposures of 10 s that began at 20:00:00 + 120 s; made 20:04, confirmed 20:05.
        let stored = latency.exposure_to_archive.expect("one is stored");
        assert_eq!((stored.count, stored.median_s, stored.worst_s), (1, 170.0, 170.0));
        assert_eq!(latency.product_to_archive.map(|spread| spread.worst_s), Some(60.0));
    }

    #[tokio::test]
    async fn a_file_without_a_frame_belongs_to_the_night_of_its_name_else_of_its_arrival() {
        let seeded = Seeded::empty().await;
        let mut tx = seeded.catalogue.begin().await.expect("a transaction");
        for name in ["SOXS.2025-12-31T14:59:00.000.fits", "SOXS.2025-99-99T99:99:99.000.fits", "notes.txt"] {
            let look = crate::catalogue::seeded::look(&format!("/data/raw/{name}"));
            tx.ignore_file(&look, "not FITS").await.expect("ignored");
        }
        tx.commit().await.expect("kept");
        let rows = seeded.catalogue.frames(&Filter::default()).await.expect("rows");
        let nights: Vec<Option<&str>> = rows.iter().map(|row| row.night.as_deref()).collect();
        assert_eq!(nights, [Some(NIGHT), Some(NIGHT), Some("2025-12-30")]);
    }

    /// Ten thousand frames in two thousand sets, with a job, a product and two deliveries each, and a hundred thousand metrics.
    const FULL: [&str; 9] = [
        "CREATE TEMP TABLE n AS WITH RECURSIVE n (i) AS (SELECT 1001 UNION ALL SELECT i + 1 FROM n WHERE i < 11000) SELECT i FROM n",
        "INSERT INTO frame (id, data_id, arm, current_version, first_seen_us) SELECT i, 'D' || i, 'VIS', i, 0 FROM n",
        "INSERT INTO frame_version (id, frame_id, version, digest, bytes, night, night_raw, night_calendar, kind, usage, usage_reason,
             recipe, mjd_obs, date_obs_us, exptime, object, dpr_type, dpr_tech, meta, header, taken_us, grouped)
         SELECT i, i, 1, printf('%064d', i), 2880, '2026-03-09', '', '', 'bias', 'reduce', '', 'mbias', 1, i, 1, '', '', '', '{}',
             printf('\"%.4000c\"', 'x'), 0, 1 FROM n",
        "INSERT INTO file (id, path, name, size, mtime_us, state, version_id, first_seen_us, changed_us, looked_us)
         SELECT i, '/raw/D' || i, 'D' || i, 1, 1, 'accepted', i, 0, 0, 0 FROM n",
        "INSERT INTO frame_set (id, key, template_id, recipe, arm, night, name, object, keys, n_frames, state, changed_us, dirty)
         SELECT i, 'K' || i, 1, 'mbias', 'VIS', '2026-03-09', 'S' || i, '', '{}', 5, 'complete', 0, 0 FROM n WHERE i <= 3000",
        "INSERT INTO job (id, set_id, recipe, recipe_version, key, parameters, state, priority, newest_mjd, created_us)
         SELECT i, i, 'mbias', '1', printf('%064d', i), '{}', 'done', 1, 1, 0 FROM n WHERE i <= 3000",
        "INSERT INTO product (id, job_id, set_id, catg, arm, night, name, folder, archive_name, revision, sha256, md5, crc32, crc32c,
             size, keys, mjd, verdict, state, n_combined, created_us)
         SELECT i, i, i, 'MASTER_BIAS_VIS', 'VIS', '2026-03-09', 'S' || i, 'f', 'S' || i, 1, printf('%064d', i), printf('%032d', i),
             1, 1, 1, '{}', 1, 'pass', 'current', 5, 1 FROM n WHERE i <= 3000",
        "INSERT INTO delivery (sink, kind, key, product_id, job_id, state, created_us, confirmed_us)
         SELECT 'archive', 'archive', 'S' || i, i, i, 'confirmed', 1, 2 FROM n WHERE i <= 3000
         UNION ALL SELECT 'health', 'health', 'J' || i, NULL, i, 'confirmed', 1, 2 FROM n WHERE i <= 3000",
        "INSERT INTO qc (job_id, recipe, name, qc_order, value, unit, comment, verdict, at_us, made_us)
         SELECT j.i, 'mbias', 'Q', k.i, 1.0, '', '', 'pass', 0, 0 FROM n j JOIN n k ON k.i <= 1050 WHERE j.i <= 3000",
    ];

    #[tokio::test]
    async fn the_status_of_a_full_catalogue_comes_at_once() {
        let seeded = Seeded::night().await;
        let mut tx = seeded.catalogue.begin().await.expect("a transaction");
        for statement in FULL {
            sqlx::query(statement).execute(&mut *tx.tx).await.expect(statement);
        }
        tx.commit().await.expect("kept");
        let mut best = std::time::Duration::MAX;
        for _ in 0..10 {
            let begun = std::time::Instant::now();
            let status = seeded.catalogue.status().await.expect("a status");
            best = best.min(begun.elapsed());
            assert_eq!(status.files.iter().map(|count| count.count).sum::<i64>(), 10_023);
        }
        assert!(best.as_millis() < 100, "the best of ten took {best:?}");
    }
}
