//! Tables of frames, sets, jobs, products, metrics and deliveries.

use clap::Args;
use serde::Serialize;

use super::table::{Column, duration, number, render, stamp, terminal_width, text};
use super::{CliResult, OK, catalogue, output};
use crate::catalogue::views::{DEFAULT_LIMIT, DeliveryRow, Filter, FrameRow, JobRow, ProductRow, QcRow, SetRow};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::instrument::Night;

/// Filters of every table.
#[derive(Clone, Debug, Args)]
pub struct ListArgs {
    /// Only this night, YYYY-MM-DD or "tonight"
    #[arg(long, value_name = "NIGHT", value_parser = night)]
    pub night: Option<String>,
    /// Only this arm: VIS, NIR or ACQ
    #[arg(long, value_parser = ["VIS", "NIR", "ACQ"], ignore_case = true, value_name = "ARM")]
    pub arm: Option<String>,
    /// Only this state (frames: or outcome; products, qc: or verdict)
    #[arg(long, value_name = "STATE")]
    pub state: Option<String>,
    /// Only this recipe
    #[arg(long, value_name = "NAME")]
    pub recipe: Option<String>,
    /// Only names that contain this
    #[arg(long, value_name = "PART")]
    pub text: Option<String>,
    /// Most rows, newest first
    #[arg(long, value_name = "N", default_value_t = DEFAULT_LIMIT, value_parser = clap::value_parser!(i64).range(1..))]
    pub limit: i64,
    /// Only rows after the one with this id: the next page
    #[arg(long, value_name = "ID")]
    pub after: Option<i64>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

impl ListArgs {
    fn filter(&self) -> Filter {
        Filter {
            night: self.night.clone(),
            arm: self.arm.clone(),
            state: self.state.clone(),
            recipe: self.recipe.clone(),
            text: self.text.clone(),
            limit: self.limit,
            after: self.after,
        }
    }

    fn narrowed(&self) -> bool {
        let filters = [&self.night, &self.arm, &self.state, &self.recipe, &self.text];
        filters.into_iter().any(Option::is_some) || self.after.is_some()
    }
}

/// A night as an argument.
pub fn night(text: &str) -> Result<String, String> {
    if text == "tonight" {
        return Ok(Night::of(SystemClock.now()).to_string());
    }
    match Night::parse(text) {
        Some(night) => Ok(night.to_string()),
        None => Err("must be YYYY-MM-DD (the evening's date) or \"tonight\"".to_string()),
    }
}

/// A row that can be printed.
trait Row: Serialize {
    /// What there is none of, in the plural.
    const NAME: &'static str;
    /// Columns, in order.
    const COLUMNS: &'static [Column];
    /// Row id.
    fn id(&self) -> i64;
    /// One cell for each column.
    fn cells(&self) -> Vec<String>;
}

fn show<R: Row>(rows: &[R], args: &ListArgs) -> CliResult {
    if args.json {
        output::json(&rows)?;
        return Ok(OK);
    }
    if rows.is_empty() {
        let text = if args.narrowed() { "match this filter" } else { "are there yet" };
        output::print(&format!("no {} {text}", R::NAME))?;
        return Ok(OK);
    }
    let cells: Vec<Vec<String>> = rows.iter().map(Row::cells).collect();
    output::print(&render(R::COLUMNS, &cells, terminal_width()))?;
    if let Some(last) = rows.last().filter(|_| rows.len() as i64 == args.limit) {
        output::remark(&format!("{} newest shown; --limit N or --after {} for more", rows.len(), last.id()));
    }
    Ok(OK)
}

/// `soxsd frames`
pub async fn frames(config: &Config, args: &ListArgs) -> CliResult {
    show(&catalogue(config).await?.frames(&args.filter()).await?, args)
}

/// `soxsd sets`
pub async fn sets(config: &Config, args: &ListArgs) -> CliResult {
    show(&catalogue(config).await?.sets(&args.filter()).await?, args)
}

/// `soxsd jobs`
pub async fn jobs(config: &Config, args: &ListArgs) -> CliResult {
    show(&catalogue(config).await?.jobs(&args.filter()).await?, args)
}

/// `soxsd products`
pub async fn products(config: &Config, args: &ListArgs) -> CliResult {
    show(&catalogue(config).await?.products(&args.filter()).await?, args)
}

/// `soxsd qc`
pub async fn qc(config: &Config, args: &ListArgs) -> CliResult {
    show(&catalogue(config).await?.qc(&args.filter()).await?, args)
}

/// `soxsd deliveries`
pub async fn deliveries(config: &Config, args: &ListArgs) -> CliResult {
    show(&catalogue(config).await?.deliveries(&args.filter()).await?, args)
}

impl Row for FrameRow {
    const NAME: &'static str = "files";
    const COLUMNS: &'static [Column] = &[
        number("id", 3),
        text("file", 0),
        text("arm", 1),
        text("kind", 1),
        number("exptime", 5),
        text("object", 5),
        text("night", 4),
        text("state", 2),
        text("outcome", 0),
        text("set", 3),
        text("why", 0),
    ];

    fn id(&self) -> i64 {
        self.id
    }

    fn cells(&self) -> Vec<String> {
        let outcome = if self.delivered { format!("{}, delivered", self.outcome) } else { self.outcome.clone() };
        vec![
            self.id.to_string(),
            self.name.clone(),
            self.arm.clone().unwrap_or_default(),
            self.kind.clone().unwrap_or_default(),
            self.exptime.map_or_else(String::new, |seconds| format!("{seconds} s")),
            self.object.clone().unwrap_or_default(),
            self.night.clone().unwrap_or_default(),
            self.state.clone(),
            outcome,
            self.set_id.map_or_else(String::new, |set| format!("set:{set}")),
            self.outcome_why.clone(),
        ]
    }
}

impl Row for SetRow {
    const NAME: &'static str = "sets";
    const COLUMNS: &'static [Column] = &[
        number("id", 1),
        text("set", 0),
        text("recipe", 2),
        text("arm", 4),
        text("night", 4),
        number("frames", 1),
        text("state", 0),
        text("job", 0),
        number("products", 2),
        text("why", 0),
    ];

    fn id(&self) -> i64 {
        self.id
    }

    fn cells(&self) -> Vec<String> {
        let why = match (self.waits_for.is_empty(), self.error.is_empty()) {
            (false, _) => format!("waits for {}{}", self.waits_for, until(self.deadline_us)),
            (true, false) => self.error.clone(),
            (true, true) => self.why.clone(),
        };
        vec![
            self.id.to_string(),
            self.name.clone(),
            self.recipe.clone(),
            self.arm.clone(),
            self.night.clone(),
            format!("{}/{}", self.n_frames, self.n_planned),
            self.state.clone(),
            self.job_state.clone().unwrap_or_default(),
            self.n_products.to_string(),
            why,
        ]
    }
}

impl Row for JobRow {
    const NAME: &'static str = "jobs";
    const COLUMNS: &'static [Column] = &[
        number("id", 0),
        text("recipe", 1),
        text("set", 0),
        text("arm", 4),
        text("night", 4),
        text("state", 0),
        number("attempts", 3),
        number("took", 3),
        text("ended", 5),
        text("why", 0),
    ];

    fn id(&self) -> i64 {
        self.id
    }

    fn cells(&self) -> Vec<String> {
        let took = self.started_us.zip(self.finished_us).map(|(from, to)| duration((to - from) as f64 / 1e6));
        let why = if self.waits_for.is_empty() {
            self.error.clone()
        } else {
            format!("waits for {}{}", self.waits_for, until(self.deadline_us))
        };
        vec![
            self.id.to_string(),
            self.recipe.clone(),
            self.set_name.clone(),
            self.arm.clone(),
            self.night.clone(),
            self.state.clone(),
            self.attempts.to_string(),
            took.unwrap_or_default(),
            self.finished_us.map_or_else(String::new, stamp),
            why,
        ]
    }
}

impl Row for ProductRow {
    const NAME: &'static str = "products";
    const COLUMNS: &'static [Column] = &[
        number("id", 1),
        text("product", 0),
        text("category", 2),
        text("night", 4),
        number("frames", 3),
        text("verdict", 0),
        text("state", 0),
        text("deliveries", 1),
        text("folder", 5),
        text("why", 2),
    ];

    fn id(&self) -> i64 {
        self.id
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.to_string(),
            self.name.clone(),
            self.catg.clone(),
            self.night.clone(),
            self.n_combined.to_string(),
            self.verdict.clone(),
            self.state.clone(),
            self.deliveries.clone(),
            self.folder.clone(),
            self.state_why.clone(),
        ]
    }
}

impl Row for QcRow {
    const NAME: &'static str = "metrics";
    const COLUMNS: &'static [Column] = &[
        number("id", 5),
        text("set", 1),
        text("arm", 4),
        text("metric", 0),
        text("order", 1),
        number("value", 0),
        text("unit", 2),
        text("range", 2),
        text("verdict", 0),
        text("meaning", 3),
    ];

    fn id(&self) -> i64 {
        self.id
    }

    fn cells(&self) -> Vec<String> {
        let limit = |limit: Option<f64>| limit.map_or_else(String::new, significant);
        let range = if self.min.is_none() && self.max.is_none() {
            String::new()
        } else {
            format!("{}..{}", limit(self.min), limit(self.max))
        };
        let value = self.value.map_or_else(|| format!("absent: {}", self.absent), significant);
        vec![
            self.id.to_string(),
            self.set_name.clone(),
            self.arm.clone(),
            self.name.clone(),
            if self.qc_order == "-1" { String::new() } else { self.qc_order.clone() },
            value,
            self.unit.clone(),
            range,
            self.verdict.clone(),
            self.comment.clone(),
        ]
    }
}

impl Row for DeliveryRow {
    const NAME: &'static str = "deliveries";
    const COLUMNS: &'static [Column] = &[
        number("id", 1),
        text("sink", 0),
        text("item", 0),
        text("night", 4),
        text("state", 0),
        number("attempts", 2),
        text("queued", 3),
        text("confirmed", 3),
        text("why", 0),
    ];

    fn id(&self) -> i64 {
        self.id
    }

    fn cells(&self) -> Vec<String> {
        // A key of metrics is for machines; the set's name says whose they are.
        let item = if self.kind == "health" { format!("metrics of {}", self.set_name) } else { self.key.clone() };
        vec![
            self.id.to_string(),
            self.sink.clone(),
            item,
            self.night.clone(),
            self.state.clone(),
            self.attempts.to_string(),
            stamp(self.created_us),
            self.confirmed_us.map_or_else(String::new, stamp),
            self.error.clone(),
        ]
    }
}

fn until(deadline: Option<i64>) -> String {
    deadline.map_or_else(String::new, |deadline| format!(" until {}", stamp(deadline)))
}

/// Six significant digits, without trailing zeros.
fn significant(value: f64) -> String {
    let magnitude = value.abs();
    if value == 0.0 {
        "0".to_string()
    } else if (1e-4..1e7).contains(&magnitude) {
        // Between 1e-4 and 1e7 the exponent is small, so the cast is exact.
        let digits = (5 - magnitude.log10().floor() as i32).max(0) as usize;
        let text = format!("{value:.digits$}");
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_string() } else { text }
    } else {
        format!("{value:.5e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_six_significant_digits() {
        let shown: Vec<String> = [0.0, 4.5, -0.001_234_567, 123_456.7, 1e7, 1.5e-9].map(significant).to_vec();
        assert_eq!(shown, ["0", "4.5", "-0.00123457", "123457", "1.00000e7", "1.50000e-9"]);
    }

    #[test]
    fn a_night_is_a_date_or_tonight() {
        assert_eq!(night("2026-03-10").as_deref(), Ok("2026-03-10"));
        assert!(night("tonight").is_ok());
        assert!(night("2026-13-01").is_err());
    }
}
