//! The closing account: every file with its set, its product and its delivery.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::catalogue::Catalogue;
use crate::catalogue::views::{Filter, FrameRow, JobRow, ProductRow};

use super::super::table::{self, Column};
use super::super::{CliError, output};

/// More rows than any night has.
const ALL: i64 = 1_000_000;

/// Everything that the account is made of.
#[derive(Clone, Debug, Serialize)]
pub struct Account {
    /// Every file once.
    pub files: Vec<FrameRow>,
    /// Current products.
    pub products: Vec<ProductRow>,
    /// Jobs that were not superseded.
    pub jobs: Vec<JobRow>,
    /// Sets that are made of what other sets gave, by set, each with that one.
    #[serde(skip)]
    followers: Vec<(i64, i64)>,
}

impl Account {
    /// Read it.
    pub async fn read(catalogue: &Catalogue) -> Result<Account, CliError> {
        let filter = Filter { limit: ALL, ..Filter::default() };
        let mut files = catalogue.frames(&filter).await?;
        files.sort_by(|a, b| (a.date_obs_us, &a.name).cmp(&(b.date_obs_us, &b.name)));
        let products = catalogue.products(&filter).await?;
        let jobs = catalogue.jobs(&filter).await?;
        let followers = catalogue.followers().await?.into_iter().map(|(set, followed)| (set.0, followed.0)).collect();
        Ok(Account {
            followers,
            files,
            products: products.into_iter().filter(|product| product.state == "current").collect(),
            jobs: jobs.into_iter().filter(|job| job.state != "superseded").collect(),
        })
    }

    /// Only what lies below these folders: a work folder may know older ones.
    pub fn below(mut self, folders: &[PathBuf]) -> Account {
        let roots: Vec<PathBuf> =
            folders.iter().map(|folder| std::path::absolute(folder).unwrap_or_else(|_| folder.clone())).collect();
        self.files.retain(|file| roots.iter().any(|root| Path::new(&file.path).starts_with(root)));
        let mut sets: BTreeSet<i64> = self.files.iter().filter_map(|file| file.set_id).collect();
        let beside: Vec<i64> = self.followers.iter().filter(|(_, of)| sets.contains(of)).map(|(set, _)| *set).collect();
        sets.extend(beside);
        self.products.retain(|product| sets.contains(&product.set_id));
        self.jobs.retain(|job| sets.contains(&job.set_id));
        self
    }

    /// Has any file been a frame?
    pub fn has_frames(&self) -> bool {
        self.files.iter().any(|file| file.data_id.is_some())
    }

    /// Recipes that failed, products whose QC failed, sets that their data made impossible. A set that lacks a
    /// calibration, or whose recipe is not in this build, is no failure.
    pub fn failures(&self) -> Vec<&JobRow> {
        let failed = |job: &&JobRow| match job.state.as_str() {
            "failed" | "flagged" => true,
            "parked" => job.class != "missing",
            _ => false,
        };
        self.jobs.iter().filter(failed).collect()
    }

    /// A row per file: file, state, set, products, deliveries.
    pub fn print(&self) -> Result<(), CliError> {
        const COLUMNS: [Column; 6] = [
            table::text("file", 0),
            table::text("state", 1),
            table::text("set", 2),
            table::text("product", 3),
            table::prose("delivered to", 4),
            table::prose("why not", 0),
        ];
        let rows: Vec<Vec<String>> = self.files.iter().map(|file| self.row(file)).collect();
        output::print(&table::render(&COLUMNS, &rows, table::terminal_width()))
    }

    fn row(&self, file: &FrameRow) -> Vec<String> {
        let main =
            self.products.iter().filter(|product| Some(product.set_id) == file.set_id).min_by_key(|product| product.id);
        let carries = matches!(file.state.as_str(), "accepted");
        let product = main.filter(|_| carries);
        vec![
            file.name.clone(),
            if carries { file.outcome.clone() } else { file.state.clone() },
            file.set_name.clone().filter(|_| carries).unwrap_or_default(),
            product.map(|product| format!("{} ({})", product.catg, product.verdict)).unwrap_or_default(),
            product.map(|product| product.deliveries.clone()).unwrap_or_default(),
            if file.outcome_why.is_empty() { file.reason.clone() } else { file.outcome_why.clone() },
        ]
    }

    /// One line of totals that add up to the number of files.
    pub fn totals(&self) -> String {
        let mut counts: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
        for file in &self.files {
            let state = if file.state == "accepted" { &file.outcome } else { &file.state };
            *counts.entry(state).or_default() += 1;
        }
        let parts: Vec<String> = counts.iter().map(|(state, count)| format!("{count} {state}")).collect();
        format!("{} files: {}; {} products", self.files.len(), parts.join(", "), self.products.len())
    }
}
