//! What people and programs look at: tables with filters, counts, and the account of a night.
//!
//! Every row type here is what the command line prints, what `--json` gives and what the API serves: one definition.
//! Times are microseconds since 1970 UTC, nights are `YYYY-MM-DD` by UT minus 15 hours. Tables come newest first; the id
//! of the last row is where the next page begins.
//! What never lives here: anything that decides or writes.

mod deliveries;
mod frames;
mod jobs;
mod products;
mod qc;
mod report;
mod sets;
mod status;

use serde::{Deserialize, Serialize};
use sqlx::{QueryBuilder, Sqlite};

pub use deliveries::{ActRow, DeliveryRow};
pub use frames::FrameRow;
pub use jobs::JobRow;
pub use products::ProductRow;
pub use qc::QcRow;
pub use report::{NightReport, NightRow, ReportLine};
pub use sets::SetRow;
pub use status::{Count, LastFrame, Latency, RunningJob, Spread, StatusView, WaitingSet};

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
