//! The account of a night: what became of every raw file, in counts that add up.

use serde::Serialize;
use sqlx::FromRow;

use super::Count;
use crate::catalogue::{Catalogue, During, Result};

/// A night and what became of its files. The counts of `outcomes` add up to `files`; `delivered` is a part of the reduced.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct NightReport {
    /// Night.
    pub night: String,
    /// Files of the night below the raw roots, also those that have vanished since.
    pub files: i64,
    /// Counts by outcome: `reduced`, `partial` (of an incomplete set), `flagged` (metric out of range), `pending`,
    /// `unreduced`, `failed`, `registered`, `ignored`, `quarantined`, `waiting`, `duplicate`, `superseded`, `gone`.
    pub outcomes: Vec<Count>,
    /// Files whose products every archive has confirmed.
    pub delivered: i64,
    /// What was not reduced and why, most files first.
    pub reasons: Vec<ReportLine>,
}

/// Files that share an outcome and its reason.
#[derive(Clone, Debug, Serialize, FromRow, utoipa::ToSchema)]
pub struct ReportLine {
    /// Outcome.
    pub outcome: String,
    /// Reason.
    pub why: String,
    /// Name of the set; empty when they have none.
    pub set_name: String,
    /// Number of files.
    pub files: i64,
    /// One of them.
    pub example: String,
}

/// A night in the list of nights.
#[derive(Clone, Debug, Serialize, FromRow, utoipa::ToSchema)]
pub struct NightRow {
    /// Night.
    pub night: String,
    /// Files.
    pub files: i64,
    /// Reduced, also from incomplete sets or with metrics out of range.
    pub reduced: i64,
    /// Still to come.
    pub pending: i64,
    /// Unreduced, failed or quarantined.
    pub lost: i64,
    /// Confirmed by every archive.
    pub delivered: i64,
}

impl Catalogue {
    /// The account of a night. A night without files gives zeros.
    pub async fn night_report(&self, night: &str) -> Result<NightReport> {
        let outcomes: Vec<Count> = sqlx::query_as(
            "SELECT outcome AS name, count(*) AS count FROM file_account WHERE night = ?1 GROUP BY outcome ORDER BY outcome",
        )
        .bind(night)
        .fetch_all(self.reader())
        .await
        .during("count a night's outcomes")?;
        let delivered: i64 = sqlx::query_scalar("SELECT count(*) FROM file_account WHERE night = ?1 AND delivered = 1")
            .bind(night)
            .fetch_one(self.reader())
            .await
            .during("count a night's deliveries")?;
        let reasons: Vec<ReportLine> = sqlx::query_as(
            "SELECT outcome, coalesce(outcome_why, '') AS why, coalesce(set_name, '') AS set_name, count(*) AS files,
                    min(name) AS example
             FROM file_account
             WHERE night = ?1 AND outcome IN ('pending', 'unreduced', 'failed', 'flagged', 'partial', 'quarantined', 'waiting', 'ignored')
             GROUP BY outcome, outcome_why, set_id ORDER BY count(*) DESC, example LIMIT 100",
        )
        .bind(night)
        .fetch_all(self.reader())
        .await
        .during("list a night's reasons")?;
        let files = outcomes.iter().map(|outcome| outcome.count).sum();
        Ok(NightReport { night: night.to_string(), files, outcomes, delivered, reasons })
    }

    /// The newest nights that have files.
    pub async fn nights(&self, limit: i64) -> Result<Vec<NightRow>> {
        sqlx::query_as(
            "SELECT night, count(*) AS files, sum(outcome IN ('reduced', 'partial', 'flagged')) AS reduced,
                    sum(outcome IN ('pending', 'waiting')) AS pending,
                    sum(outcome IN ('unreduced', 'failed', 'quarantined')) AS lost, sum(delivered) AS delivered
             FROM file_account GROUP BY night ORDER BY night DESC LIMIT ?1",
        )
        .bind(limit)
        .fetch_all(self.reader())
        .await
        .during("list nights")
    }
}
