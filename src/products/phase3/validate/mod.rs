//! The check of files against the Phase 3 standard: every row of both tables, every failure, not only the first.
//!
//! What lives here: what a report says, and the order of the check. The judgement of rows about keywords is in
//! `keywords`, that of rules in `files`, `general`, `spectrum` and `image`, one function a rule.
//! What never lives here: repair. A file is reported as it stands.

mod cells;
mod files;
#[cfg(test)]
pub(super) mod forge;
mod general;
mod image;
mod keywords;
mod spectrum;
mod subject;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Serialize;

use self::subject::{Batch, Breach, Subject};
use super::standard::{RuleRow, Standard, StandardError, When};
use crate::fits::Anatomy;

/// A rule by its name in the table; the tolerance is the table's.
type Check = fn(&Subject<'_>, f64) -> Vec<Breach>;

/// What a finding means for the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The archive refuses it.
    Error,
    /// The archive takes it.
    Warning,
}

/// One breach of the standard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Row of the tables: `K042`, `S13`.
    pub rule: String,
    /// Error or warning.
    pub severity: Severity,
    /// File.
    pub file: String,
    /// HDU, 0 is the primary; absent for the file as a whole.
    pub hdu: Option<usize>,
    /// Keyword, or several.
    pub keyword: String,
    /// What stands there.
    pub found: String,
    /// What should.
    pub expected: String,
}

/// What is to be said of one file.
#[derive(Clone, Debug, Serialize)]
pub struct FileReport {
    /// File.
    pub file: String,
    /// PRODCATG: what it claims to be; absent when it claims nothing.
    pub claim: Option<String>,
    /// It is not FITS, and was looked at only as the companion of another file.
    pub companion: bool,
    /// Why it could not be read at all; empty when it could.
    pub unreadable: String,
    /// Rows of the tables that were held against it.
    pub checks: usize,
    /// Breaches, in the order of the tables.
    pub findings: Vec<Finding>,
}

/// A row, or a part of one, that nothing here can decide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Undecided {
    /// Row of the tables.
    pub rule: String,
    /// What it says.
    pub what: String,
    /// Why it cannot be decided here.
    pub needs: String,
}

/// What is to be said of all files.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Files in the order given.
    pub files: Vec<FileReport>,
    /// What was not checked, because it cannot be here.
    pub not_checkable: Vec<Undecided>,
}

impl FileReport {
    /// May it be sent? False for a file that claims nothing: there is nothing to hold it to.
    pub fn passes(&self) -> bool {
        let sound = self.unreadable.is_empty() && self.errors().next().is_none();
        sound && (self.companion || self.claim.is_some())
    }

    /// Breaches that refuse it.
    pub fn errors(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.severity == Severity::Error)
    }
}

impl Report {
    /// May all be sent?
    pub fn passes(&self) -> bool {
        self.files.iter().all(FileReport::passes)
    }
}

/// The standard with the functions that hold files against it.
#[derive(Clone, Debug)]
pub struct Validator {
    standard: Standard,
}

impl Validator {
    /// With the built-in tables.
    pub fn new() -> Result<Validator, StandardError> {
        let standard = Standard::built_in()?;
        for rule in &standard.rules {
            if rule.checked != check_of(&rule.id).is_some() {
                let reason =
                    format!("rule {} is said to be checked: {}; it is the other way round", rule.id, rule.checked);
                return Err(StandardError { table: "phase3/rules.tsv", line: 0, reason });
            }
        }
        Ok(Validator { standard })
    }

    /// Check files that are to be sent together. `now_mjd` is the time of the check. `done` is called after each file.
    pub fn check(&self, paths: &[PathBuf], now_mjd: f64, done: impl Fn(&Path) + Sync) -> Report {
        let batch = Batch::of(paths);
        let files = paths
            .par_iter()
            .map(|path| {
                let report = self.check_file(path, &batch, now_mjd);
                done(path);
                report
            })
            .collect();
        Report { files, not_checkable: self.not_checkable() }
    }

    /// What of the tables cannot be decided with files alone.
    pub fn not_checkable(&self) -> Vec<Undecided> {
        let keywords = self.standard.keywords.iter().filter_map(|row| {
            let When::Unknowable(reason) = &row.when else { return None };
            let what = format!("{} is there when it applies", row.name.0);
            Some(Undecided { rule: row.id.clone(), what, needs: reason.clone() })
        });
        let rules = self.standard.rules.iter().filter(|rule| !rule.beyond.is_empty());
        let rules =
            rules.map(|rule| Undecided { rule: rule.id.clone(), what: rule.rule.clone(), needs: rule.beyond.clone() });
        keywords.chain(rules).collect()
    }

    fn check_file(&self, path: &Path, batch: &Batch, now_mjd: f64) -> FileReport {
        let file = path.display().to_string();
        let mut report = FileReport {
            file,
            claim: None,
            companion: !subject::is_fits_name(&subject::name_of(path)),
            unreadable: String::new(),
            checks: 0,
            findings: Vec::new(),
        };
        let anatomy = match Anatomy::of(path) {
            Ok(anatomy) => anatomy,
            Err(error) => {
                report.unreadable = error.to_string();
                return report;
            }
        };
        let subject = Subject::new(&anatomy, batch, now_mjd);
        if report.companion {
            self.apply_rules(&subject, &mut report, |rule| subject::COMPANION_RULES.contains(&rule.id.as_str()));
            return report;
        }
        report.claim = subject.claim().map(str::to_string);
        // A file that says nothing of Phase 3 is not held to its keywords; one that cannot be read as FITS says so.
        let claims = report.claim.is_some();
        if claims {
            self.apply_keywords(&subject, &mut report);
        }
        self.apply_rules(&subject, &mut report, |rule| claims || rule.id == "F04" && anatomy.broken.is_some());
        report
    }

    fn apply_keywords(&self, subject: &Subject<'_>, report: &mut FileReport) {
        for row in self.standard.keywords.iter().filter(|row| row.category.covers(&subject.category)) {
            report.checks += 1;
            for fault in keywords::faults(row, subject) {
                report.findings.push(Finding {
                    rule: row.id.clone(),
                    severity: if fault.refuses { Severity::Error } else { Severity::Warning },
                    file: report.file.clone(),
                    hdu: Some(fault.hdu),
                    keyword: fault.keyword,
                    found: fault.found,
                    expected: fault.expected,
                });
            }
        }
    }

    fn apply_rules(&self, subject: &Subject<'_>, report: &mut FileReport, wanted: impl Fn(&RuleRow) -> bool) {
        let rules = self.standard.rules.iter().filter(|rule| rule.category.covers(&subject.category) && wanted(rule));
        for rule in rules {
            let Some(check) = check_of(&rule.id) else { continue };
            report.checks += 1;
            for breach in check(subject, rule.tolerance) {
                report.findings.push(Finding {
                    rule: rule.id.clone(),
                    severity: if rule.refuses { Severity::Error } else { Severity::Warning },
                    file: report.file.clone(),
                    hdu: breach.hdu,
                    keyword: breach.keyword,
                    found: breach.found,
                    expected: rule.rule.clone(),
                });
            }
        }
    }
}

fn check_of(id: &str) -> Option<Check> {
    let all: BTreeMap<&str, Check> =
        [files::CHECKS, general::CHECKS, spectrum::CHECKS, image::CHECKS].concat().into_iter().collect();
    all.get(id).copied()
}
