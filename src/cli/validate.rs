//! `soxsd validate`: files against ESO's Phase 3 standard, without catalogue and configuration.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use indicatif::{ProgressBar, ProgressStyle};

use super::table::{number, prose, render, terminal_width, text};
use super::{CliError, CliResult, FAILED, OK, output};
use crate::clock::{Clock, SystemClock};
use crate::products::phase3::{FileReport, Finding, Report, Severity, Validator};

/// Fewer files than this are done before anybody looks.
const MANY: usize = 8;
/// MJD of 1970-01-01.
const MJD_OF_UNIX_EPOCH: f64 = 40_587.0;

/// Arguments of `soxsd validate`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Files that are sent together are to be given together: names, titles and companions are \
    compared. Exit codes: 0 the archive may have them all, 1 it would refuse one, 2 wrong use.")]
pub struct ValidateArgs {
    /// FITS files, and previews and notes that go with them
    #[arg(value_name = "FILE", required = true, value_hint = ValueHint::FilePath)]
    pub files: Vec<PathBuf>,
    /// As JSON, passed files and undecidable rules included
    #[arg(long)]
    pub json: bool,
}

/// Check the files and say everything that is wrong with them.
pub fn run(args: &ValidateArgs) -> CliResult {
    let validator = Validator::new().map_err(|error| CliError::engine(&error, ""))?;
    let bar = if args.files.len() < MANY { ProgressBar::hidden() } else { progress_bar(args.files.len() as u64) };
    let now_mjd = MJD_OF_UNIX_EPOCH + SystemClock.now().as_second() as f64 / 86_400.0;
    let report = validator.check(&args.files, now_mjd, |path| {
        bar.set_message(path.file_name().unwrap_or_default().to_string_lossy().into_owned());
        bar.inc(1);
    });
    bar.finish_and_clear();
    if args.json {
        output::json(&report)?;
    } else {
        output::print(&told(&report, terminal_width()))?;
    }
    Ok(if report.passes() { OK } else { FAILED })
}

fn progress_bar(files: u64) -> ProgressBar {
    let bar = ProgressBar::new(files);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {wide_msg}") {
        bar.set_style(style);
    }
    bar
}

fn told(report: &Report, width: Option<usize>) -> String {
    let mut lines: Vec<String> = report.files.iter().map(verdict).collect();
    let findings: Vec<&Finding> = report.files.iter().flat_map(|file| &file.findings).collect();
    if !findings.is_empty() {
        let columns = [
            text("rule", 0),
            text("", 0),
            text("file", 1),
            number("HDU", 0),
            text("keyword", 0),
            prose("found", 0),
            prose("expected", 0),
        ];
        let rows: Vec<Vec<String>> = findings.into_iter().map(row).collect();
        lines.push(String::new());
        lines.push(render(&columns, &rows, width).trim_end().to_string());
    }
    if report.files.iter().any(|file| file.claim.is_some()) {
        lines.push(String::new());
        lines.push("not checkable here:".to_string());
        let undecided = report.not_checkable.iter();
        lines.extend(undecided.map(|row| format!("  {}  {} (needs: {})", row.rule, row.what, row.needs)));
    }
    lines.join("\n")
}

fn verdict(file: &FileReport) -> String {
    let errors = file.errors().count();
    let warnings = file.findings.len() - errors;
    let name = &file.file;
    if !file.unreadable.is_empty() {
        return format!("{name}: cannot be read: {}", file.unreadable);
    }
    let warned = match warnings {
        0 => String::new(),
        1 => ", 1 warning".to_string(),
        many => format!(", {many} warnings"),
    };
    match (&file.claim, errors) {
        (None, 0) if file.companion => format!("{name}: not FITS, belongs to another file"),
        (None, 0) => format!(
            "{name}: makes no Phase 3 claim: HDU 0 has no PRODCATG (SCIENCE.SPECTRUM, ...), so there is nothing to hold it to"
        ),
        (None, errors) => format!("{name}: {errors} failures{warned}"),
        (Some(claim), 0) => format!("{name}: {claim}: passes {} rows{warned}", file.checks),
        (Some(claim), 1) => format!("{name}: {claim}: 1 failure{warned}"),
        (Some(claim), errors) => format!("{name}: {claim}: {errors} failures{warned}"),
    }
}

fn row(finding: &Finding) -> Vec<String> {
    let severity = if finding.severity == Severity::Error { "error" } else { "warning" };
    let name = finding.file.rsplit('/').next().unwrap_or(&finding.file);
    vec![
        finding.rule.clone(),
        severity.to_string(),
        name.to_string(),
        finding.hdu.map_or(String::new(), |hdu| hdu.to_string()),
        finding.keyword.clone(),
        finding.found.clone(),
        finding.expected.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(claim: Option<&str>, findings: Vec<Finding>) -> FileReport {
        FileReport {
            file: "/tmp/a.fits".to_string(),
            claim: claim.map(str::to_string),
            companion: false,
            unreadable: String::new(),
            checks: 120,
            findings,
        }
    }

    #[test]
    fn a_report_says_for_each_file_what_became_of_it() {
        let finding = Finding {
            rule: "K037".to_string(),
            severity: Severity::Error,
            file: "/tmp/a.fits".to_string(),
            hdu: Some(0),
            keyword: "NCOMBINE".to_string(),
            found: "0".to_string(),
            expected: "at least 1".to_string(),
        };
        let warning = Finding { rule: "S25".to_string(), severity: Severity::Warning, ..finding.clone() };
        let spectrum = Some("SCIENCE.SPECTRUM");
        assert_eq!(verdict(&file(spectrum, Vec::new())), "/tmp/a.fits: SCIENCE.SPECTRUM: passes 120 rows");
        assert_eq!(
            verdict(&file(spectrum, vec![finding.clone(), warning])),
            "/tmp/a.fits: SCIENCE.SPECTRUM: 1 failure, 1 warning"
        );
        assert!(verdict(&file(None, Vec::new())).contains("no Phase 3 claim"));
        let report = Report { files: vec![file(spectrum, vec![finding])], not_checkable: Vec::new() };
        let text = told(&report, None);
        let line = text.lines().find(|line| line.starts_with("K037")).expect("a row");
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words, ["K037", "error", "a.fits", "0", "NCOMBINE", "0", "at", "least", "1"]);
    }
}
