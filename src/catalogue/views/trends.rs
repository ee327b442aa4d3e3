//! A metric over the nights: against time, against another metric or against a value of the raw header.
//!
//! However many values there are, the answer is bounded: of a long series one of n values is read, besides those that are
//! out of range, and the answer says so.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;
use sqlx::FromRow;

use crate::catalogue::{Catalogue, During, Result};

/// Values that are read for one answer.
const MOST_VALUES: i64 = 2500;
/// Values out of range that are read for one answer, the newest.
const MOST_FLAGGED: i64 = 500;
/// A value this many standard deviations (by the median absolute deviation) from the median of its group is an outlier.
const OUTLIER_SIGMA: f64 = 5.0;
/// Groups with fewer values have no statistics.
const FEWEST: usize = 8;
/// A metric of another job belongs to a point when it was taken within this time in the same arm.
const NEAR_US: i64 = 86_400_000_000;

/// What a metric is drawn against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrendAxis {
    /// Time of the exposure.
    Time,
    /// Another metric: of the same job, else the nearest of the same arm within a day.
    Metric(String),
    /// A number in the header of the first raw frame.
    Header(String),
}

/// Which values.
#[derive(Clone, Debug)]
pub struct TrendQuery {
    /// Metric.
    pub metric: String,
    /// Only this order; `-1` for global values.
    pub order: Option<String>,
    /// Only this arm.
    pub arm: Option<String>,
    /// Only this recipe.
    pub recipe: Option<String>,
    /// Only this read mode.
    pub read_mode: Option<String>,
    /// Only this slit.
    pub slit: Option<String>,
    /// Only this lamp.
    pub lamp: Option<String>,
    /// Not before, microseconds.
    pub from_us: i64,
    /// Not after, microseconds.
    pub to_us: i64,
    /// Horizontal axis.
    pub against: TrendAxis,
}

/// A metric that there is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, FromRow, utoipa::ToSchema)]
pub struct TrendedMetric {
    /// Name.
    pub name: String,
    /// Unit.
    pub unit: String,
    /// What it is.
    pub comment: String,
    /// Recipe of its newest value.
    pub recipe: String,
}

/// One value.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct TrendPoint {
    /// Row id of its job.
    pub job_id: i64,
    /// Row id of its set.
    pub set_id: i64,
    /// Row id of the first raw file of its job; none when the file is gone.
    pub frame_id: Option<i64>,
    /// Name of its set.
    pub set_name: String,
    /// Recipe.
    pub recipe: String,
    /// Arm.
    pub arm: String,
    /// Night.
    pub night: String,
    /// Order, `-1` for a global value.
    pub qc_order: String,
    /// Read mode; empty when unknown.
    pub read_mode: String,
    /// Slit; empty for none.
    pub slit: String,
    /// Lamp; empty for none.
    pub lamp: String,
    /// Time of the first exposure.
    pub at_us: i64,
    /// Value on the horizontal axis when that is not time.
    pub x: Option<f64>,
    /// Value.
    pub value: f64,
    /// Verdict when it was measured.
    pub verdict: String,
    /// Lower limit when it was measured.
    pub min: Option<f64>,
    /// Upper limit when it was measured.
    pub max: Option<f64>,
    /// Farther from the median of its group (arm, order, recipe, read mode, slit, lamp) than five standard deviations.
    pub outlier: bool,
}

/// The values that the filters can take.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct TrendFacets {
    /// Orders.
    pub orders: Vec<String>,
    /// Arms.
    pub arms: Vec<String>,
    /// Recipes.
    pub recipes: Vec<String>,
    /// Read modes.
    pub read_modes: Vec<String>,
    /// Slits.
    pub slits: Vec<String>,
    /// Lamps.
    pub lamps: Vec<String>,
}

/// A metric over time or against something else.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Trend {
    /// Name.
    pub metric: String,
    /// Unit.
    pub unit: String,
    /// What it is.
    pub comment: String,
    /// Values in the range of dates and of the order, before the other filters.
    pub total: i64,
    /// Of how many values one was read; 1 when all were. Of those out of range the newest five hundred are read in any case.
    pub every: i64,
    /// Values, oldest first.
    pub points: Vec<TrendPoint>,
    /// What the filters can take within these dates.
    pub facets: TrendFacets,
    /// Keywords of the raw header with a number, to draw against.
    pub keywords: Vec<String>,
}

#[derive(FromRow)]
struct Row {
    job_id: i64,
    set_id: i64,
    set_name: String,
    recipe: String,
    arm: String,
    night: String,
    keys: String,
    qc_order: String,
    at_us: i64,
    value: f64,
    verdict: String,
    min: Option<f64>,
    max: Option<f64>,
}

/// Match keys that are told apart.
#[derive(Clone, Default)]
struct Setup {
    read_mode: String,
    slit: String,
    lamp: String,
}

impl Setup {
    fn of(keys: &str) -> Setup {
        let keys: serde_json::Value = serde_json::from_str(keys).unwrap_or_default();
        let text = |name: &str| match keys.get(name) {
            Some(serde_json::Value::String(text)) => text.clone(),
            Some(serde_json::Value::Null) | None => String::new(),
            Some(other) => other.to_string(),
        };
        Setup { read_mode: text("read_mode"), slit: text("slit"), lamp: text("lamp") }
    }
}

/// The name of the metric is the first parameter, dates the second and third, order the fourth. Both lists of ids come from
/// the index alone. A value is read or not by its mixed id: ids of one metric follow the rhythm of the jobs, and every n-th
/// would be of the same order or arm.
macro_rules! values {
    ($order:literal) => {
        concat!(
            "SELECT q.job_id, j.set_id, s.name AS set_name, q.recipe, s.arm, s.night, s.keys, q.qc_order, q.at_us,
                    q.value, q.verdict, q.min, q.max
             FROM (SELECT id FROM qc INDEXED BY qc_trend WHERE name = ?1 AND at_us BETWEEN ?2 AND ?3 AND ",
            $order,
            " AND verdict = 'pass' AND ((id * 2654435761) >> 16) % ?5 = 0
                   UNION ALL
                   SELECT id FROM (SELECT id FROM qc INDEXED BY qc_trend WHERE name = ?1 AND at_us BETWEEN ?2 AND ?3 AND ",
            $order,
            " AND verdict <> 'pass' ORDER BY at_us DESC LIMIT ?6)) w
             CROSS JOIN qc q ON q.id = w.id CROSS JOIN job j ON j.id = q.job_id CROSS JOIN frame_set s ON s.id = j.set_id
             WHERE q.value IS NOT NULL AND j.state <> 'superseded' ORDER BY q.at_us, q.id"
        )
    };
}

impl Catalogue {
    /// Every metric that was ever measured, by name.
    pub async fn trended_metrics(&self) -> Result<Vec<TrendedMetric>> {
        sqlx::query_as(
            "WITH RECURSIVE names (name) AS (
                 SELECT min(name) FROM qc
                 UNION ALL SELECT (SELECT min(q.name) FROM qc q WHERE q.name > names.name) FROM names WHERE names.name IS NOT NULL)
             SELECT q.name, q.unit, q.comment, q.recipe FROM names n
             JOIN qc q ON q.id = (SELECT id FROM qc WHERE name = n.name ORDER BY at_us DESC LIMIT 1) ORDER BY q.name",
        )
        .fetch_all(self.reader())
        .await
        .during("list the metrics")
    }

    /// A metric over time, or against something else. A metric without values gives no points.
    pub async fn trend(&self, query: &TrendQuery) -> Result<Trend> {
        let total = self.count_values(&query.metric, query).await?;
        let every = (total / MOST_VALUES).max(0) + 1;
        let rows = self.values(&query.metric, query.order.as_deref(), query, every).await?;
        let mut setups: HashMap<String, Setup> = HashMap::new();
        let mut facets = Facets::default();
        let mut points = Vec::with_capacity(rows.len());
        for row in rows {
            let setup = setups.entry(row.keys.clone()).or_insert_with(|| Setup::of(&row.keys)).clone();
            facets.add(&row, &setup);
            let fits = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
            if fits(&query.arm, &row.arm)
                && fits(&query.recipe, &row.recipe)
                && fits(&query.read_mode, &setup.read_mode)
                && fits(&query.slit, &setup.slit)
                && fits(&query.lamp, &setup.lamp)
            {
                points.push(point(row, setup));
            }
        }
        mark_outliers(&mut points);
        self.find_frames(&mut points).await?;
        match &query.against {
            TrendAxis::Time => {}
            TrendAxis::Metric(name) => self.set_against_metric(&mut points, name, query, every).await?,
            TrendAxis::Header(keyword) => self.set_against_header(&mut points, keyword).await?,
        }
        let keywords = match points.last().and_then(|point| point.frame_id) {
            Some(frame) => self.numeric_keywords(frame).await?,
            None => Vec::new(),
        };
        let orders = self.orders_of(&query.metric).await?;
        let (unit, comment) = self.described(&query.metric).await?;
        let facets = facets.finish(orders);
        Ok(Trend { metric: query.metric.clone(), unit, comment, total, every, points, facets, keywords })
    }

    async fn count_values(&self, metric: &str, query: &TrendQuery) -> Result<i64> {
        sqlx::query_scalar(
            "SELECT count(*) FROM qc WHERE name = ?1 AND at_us BETWEEN ?2 AND ?3 AND (?4 IS NULL OR qc_order = ?4)",
        )
        .bind(metric)
        .bind(query.from_us)
        .bind(query.to_us)
        .bind(&query.order)
        .fetch_one(self.reader())
        .await
        .during("count the values of a metric")
    }

    async fn values(&self, metric: &str, order: Option<&str>, query: &TrendQuery, every: i64) -> Result<Vec<Row>> {
        let statement = if order.is_some() { values!("qc_order = ?4") } else { values!("?4 IS NULL") };
        sqlx::query_as(statement)
            .bind(metric)
            .bind(query.from_us)
            .bind(query.to_us)
            .bind(order)
            .bind(every)
            .bind(MOST_FLAGGED)
            .fetch_all(self.reader())
            .await
            .during("read the values of a metric")
    }

    async fn described(&self, metric: &str) -> Result<(String, String)> {
        let found = sqlx::query_as("SELECT unit, comment FROM qc WHERE name = ?1 ORDER BY at_us DESC LIMIT 1")
            .bind(metric)
            .fetch_optional(self.reader())
            .await
            .during("describe a metric")?;
        Ok(found.unwrap_or_default())
    }

    async fn orders_of(&self, metric: &str) -> Result<Vec<String>> {
        let mut orders: Vec<String> = sqlx::query_scalar(
            "WITH RECURSIVE orders (qc_order) AS (
                 SELECT min(qc_order) FROM qc WHERE name = ?1
                 UNION ALL SELECT (SELECT min(q.qc_order) FROM qc q WHERE q.name = ?1 AND q.qc_order > orders.qc_order)
                 FROM orders WHERE orders.qc_order IS NOT NULL)
             SELECT qc_order FROM orders WHERE qc_order IS NOT NULL",
        )
        .bind(metric)
        .fetch_all(self.reader())
        .await
        .during("list the orders of a metric")?;
        orders.sort_by_key(|order| order.parse::<i64>().unwrap_or(i64::MAX));
        Ok(orders)
    }

    /// The first raw file of each point's job.
    async fn find_frames(&self, points: &mut [TrendPoint]) -> Result<()> {
        let found: Vec<(i64, i64)> = sqlx::query_as(
            "SELECT i.job_id, f.id FROM json_each(?1) w
             JOIN job_input i ON i.job_id = w.value AND i.role = 'raw' AND i.position = 1
             JOIN file f ON f.version_id = i.version_id AND f.state IN ('accepted', 'superseded')",
        )
        .bind(json_list(points.iter().map(|point| point.job_id)))
        .fetch_all(self.reader())
        .await
        .during("find the frames of some jobs")?;
        let frames: HashMap<i64, i64> = found.into_iter().collect();
        for point in points {
            point.frame_id = frames.get(&point.job_id).copied();
        }
        Ok(())
    }

    async fn set_against_metric(
        &self,
        points: &mut Vec<TrendPoint>,
        name: &str,
        query: &TrendQuery,
        every: i64,
    ) -> Result<()> {
        let found: Vec<(i64, String, f64)> = sqlx::query_as(
            "SELECT q.job_id, q.qc_order, q.value FROM json_each(?1) w JOIN qc q ON q.job_id = w.value
             AND q.name = ?2 WHERE q.value IS NOT NULL",
        )
        .bind(json_list(points.iter().map(|point| point.job_id)))
        .bind(name)
        .fetch_all(self.reader())
        .await
        .during("read the other metric of some jobs")?;
        let own: HashMap<(i64, String), f64> = found.into_iter().map(|(job, order, x)| ((job, order), x)).collect();
        let mut near: BTreeMap<(String, i64), f64> = BTreeMap::new();
        if own.is_empty() {
            let wide = TrendQuery { from_us: query.from_us - NEAR_US, to_us: query.to_us + NEAR_US, ..query.clone() };
            let rows = self.values(name, Some("-1"), &wide, every).await?;
            near.extend(rows.into_iter().map(|row| ((row.arm, row.at_us), row.value)));
        }
        for point in points.iter_mut() {
            let same = |order: &str| own.get(&(point.job_id, order.to_string())).copied();
            point.x = same(&point.qc_order).or_else(|| same("-1")).or_else(|| nearest(&near, &point.arm, point.at_us));
        }
        points.retain(|point| point.x.is_some());
        Ok(())
    }

    /// The catalogue writes headers in one form, and a quote inside a text is escaped: what stands after the keyword is the
    /// value, and to find it is much quicker than to read some thousand headers as JSON.
    async fn set_against_header(&self, points: &mut Vec<TrendPoint>, keyword: &str) -> Result<()> {
        let quoted = serde_json::Value::from(keyword).to_string();
        let found: Vec<(i64, String)> = sqlx::query_as(
            "SELECT i.job_id, substr(v.header, instr(v.header, ?2) + length(?2), 32) FROM json_each(?1) w
             JOIN job_input i ON i.job_id = w.value AND i.role = 'raw' AND i.position = 1
             JOIN frame_version v ON v.id = i.version_id WHERE instr(v.header, ?2) > 0",
        )
        .bind(json_list(points.iter().map(|point| point.job_id)))
        .bind(format!("\"keyword\":{quoted},\"value\":"))
        .fetch_all(self.reader())
        .await
        .during("read a keyword of some headers")?;
        let values: HashMap<i64, f64> =
            found.into_iter().filter_map(|(job, text)| Some((job, number(&text)?))).collect();
        for point in points.iter_mut() {
            point.x = values.get(&point.job_id).copied();
        }
        points.retain(|point| point.x.is_some());
        Ok(())
    }

    /// Keywords of a frame's header that have a number, sorted.
    async fn numeric_keywords(&self, file: i64) -> Result<Vec<String>> {
        sqlx::query_scalar(
            "SELECT DISTINCT json_extract(c.value, '$.keyword') AS keyword FROM file f JOIN frame_version v ON v.id = f.version_id,
                    json_each(v.header, '$.cards') c
             WHERE f.id = ?1 AND json_type(c.value, '$.value') IN ('integer', 'real')
                   AND keyword NOT IN ('BITPIX', 'NAXIS', 'NAXIS1', 'NAXIS2', 'BZERO', 'BSCALE', 'PCOUNT', 'GCOUNT')
             ORDER BY keyword",
        )
        .bind(file)
        .fetch_all(self.reader())
        .await
        .during("list the numbers of a header")
    }
}

fn point(row: Row, setup: Setup) -> TrendPoint {
    TrendPoint {
        job_id: row.job_id,
        set_id: row.set_id,
        frame_id: None,
        set_name: row.set_name,
        recipe: row.recipe,
        arm: row.arm,
        night: row.night,
        qc_order: row.qc_order,
        read_mode: setup.read_mode,
        slit: setup.slit,
        lamp: setup.lamp,
        at_us: row.at_us,
        x: None,
        value: row.value,
        verdict: row.verdict,
        min: row.min,
        max: row.max,
        outlier: false,
    }
}

/// What the filters can take, while rows are read.
#[derive(Default)]
struct Facets([BTreeSet<String>; 5]);

impl Facets {
    fn add(&mut self, row: &Row, setup: &Setup) {
        let values = [&row.arm, &row.recipe, &setup.read_mode, &setup.slit, &setup.lamp];
        for (known, value) in self.0.iter_mut().zip(values) {
            if !value.is_empty() && !known.contains(value) {
                known.insert(value.clone());
            }
        }
    }

    fn finish(self, orders: Vec<String>) -> TrendFacets {
        let [arms, recipes, read_modes, slits, lamps] = self.0.map(|values| values.into_iter().collect());
        TrendFacets { orders, arms, recipes, read_modes, slits, lamps }
    }
}

fn json_list(ids: impl Iterator<Item = i64>) -> String {
    let mut ids: Vec<i64> = ids.collect();
    ids.dedup();
    serde_json::Value::from(ids).to_string()
}

/// The number at the beginning of a piece of JSON.
fn number(text: &str) -> Option<f64> {
    let end = text.find([',', '}']).unwrap_or(text.len());
    text.get(..end)?.trim().parse().ok()
}

/// The value nearest in time of the same arm, within a day.
fn nearest(values: &BTreeMap<(String, i64), f64>, arm: &str, at_us: i64) -> Option<f64> {
    let key = |us: i64| (arm.to_string(), us);
    let before = values.range(key(at_us - NEAR_US)..=key(at_us)).next_back();
    let after = values.range(key(at_us)..=key(at_us + NEAR_US)).next();
    let distance = |found: &((String, i64), f64)| (found.0.1 - at_us).abs();
    let own = |found: Option<(&(String, i64), &f64)>| found.map(|(key, value)| (key.clone(), *value));
    [own(before), own(after)].into_iter().flatten().min_by_key(distance).map(|(_, value)| value)
}

/// Mark what lies far from the median of its group.
fn mark_outliers(points: &mut [TrendPoint]) {
    let group = |point: &TrendPoint| {
        [&point.arm, &point.recipe, &point.qc_order, &point.read_mode, &point.slit, &point.lamp].map(Clone::clone)
    };
    let mut groups: BTreeMap<[String; 6], Vec<f64>> = BTreeMap::new();
    for point in points.iter() {
        groups.entry(group(point)).or_default().push(point.value);
    }
    let limits: BTreeMap<[String; 6], (f64, f64)> =
        groups.into_iter().filter_map(|(group, values)| Some((group, usual(values)?))).collect();
    for point in points {
        point.outlier = limits.get(&group(point)).is_some_and(|(low, high)| point.value < *low || point.value > *high);
    }
}

/// Between what values lie unless they are outliers; none when nothing can be said.
fn usual(mut values: Vec<f64>) -> Option<(f64, f64)> {
    if values.len() < FEWEST {
        return None;
    }
    let middle = median(&mut values);
    let mut distances: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
    // 1.4826 median absolute deviations are one standard deviation of a normal distribution.
    let sigma = 1.4826 * median(&mut distances);
    (sigma > 0.0).then_some((middle - OUTLIER_SIGMA * sigma, middle + OUTLIER_SIGMA * sigma))
}

/// The upper of the two middle values when their number is even; the slice is not empty.
fn median(values: &mut [f64]) -> f64 {
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::seeded::Seeded;

    fn query(metric: &str) -> TrendQuery {
        TrendQuery {
            metric: metric.to_string(),
            order: None,
            arm: None,
            recipe: None,
            read_mode: None,
            slit: None,
            lamp: None,
            from_us: 0,
            to_us: i64::MAX / 2,
            against: TrendAxis::Time,
        }
    }

    #[test]
    fn outliers_are_judged_within_their_group_only() {
        let values: Vec<f64> = (0..20).map(|k| 10.0 + 0.1 * f64::from(k % 5)).collect();
        let (low, high) = usual(values).expect("limits");
        assert!(low > 9.0 && low < 9.8 && high > 10.6 && high < 11.5, "{low} {high}");
        assert!(usual(vec![1.0; 7]).is_none(), "too few");
        assert!(usual(vec![1.0; 20]).is_none(), "no scatter");
    }

    #[test]
    fn the_nearest_value_of_the_same_arm_within_a_day_counts() {
        let hour = 3_600_000_000;
        let values: BTreeMap<(String, i64), f64> =
            [(("VIS".to_string(), 0), 1.0), (("VIS".to_string(), 10 * hour), 2.0), (("NIR".to_string(), hour), 3.0)]
                .into();
        assert_eq!(nearest(&values, "VIS", 2 * hour), Some(1.0));
        assert_eq!(nearest(&values, "VIS", 9 * hour), Some(2.0));
        assert_eq!(nearest(&values, "NIR", 20 * hour), Some(3.0));
        assert_eq!(nearest(&values, "VIS", 60 * hour), None);
        assert_eq!(nearest(&values, "ACQ", 0), None);
    }

    #[test]
    fn numbers_are_cut_out_of_json() {
        assert_eq!(number("12.5,\"comment\":\"\"}"), Some(12.5));
        assert_eq!(number("-3}"), Some(-3.0));
        assert_eq!(number("\"text\",\"comment\""), None);
        assert_eq!(number("true,"), None);
    }

    #[tokio::test]
    async fn a_metric_of_the_night_is_found_with_its_limits_and_filters() {
        let seeded = Seeded::night().await;
        let metrics = seeded.catalogue.trended_metrics().await.expect("metrics");
        let metric = metrics.first().expect("a metric").name.clone();
        assert!(metrics.windows(2).all(|pair| pair[0].name < pair[1].name));
        let trend = seeded.catalogue.trend(&query(&metric)).await.expect("a trend");
        assert!(!trend.points.is_empty() && trend.every == 1 && trend.total >= trend.points.len() as i64);
        let arm = trend.points[0].arm.clone();
        assert!(trend.facets.arms.contains(&arm) && !trend.facets.orders.is_empty());
        let none = TrendQuery { lamp: Some("no such lamp".to_string()), ..query(&metric) };
        let filtered = seeded.catalogue.trend(&none).await.expect("a trend");
        assert!(
            filtered.points.is_empty() && filtered.facets == trend.facets,
            "filters do not hide what else there is"
        );
        let itself = TrendQuery { against: TrendAxis::Metric(metric.clone()), ..query(&metric) };
        let line = seeded.catalogue.trend(&itself).await.expect("a trend");
        assert_eq!(line.points.len(), trend.points.len());
        assert!(line.points.iter().all(|point| point.x == Some(point.value)));
        let nothing = TrendQuery { against: TrendAxis::Header("NO SUCH".to_string()), ..query(&metric) };
        assert!(seeded.catalogue.trend(&nothing).await.expect("a trend").points.is_empty());
        let unknown = seeded.catalogue.trend(&query("NO SUCH")).await.expect("a trend");
        assert_eq!((unknown.points.len(), unknown.total), (0, 0));
    }
}
