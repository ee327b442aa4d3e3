//! `soxsd report`: the account of a night.

use clap::Args;

use super::table::{number, render, terminal_width, text};
use super::{CliResult, OK, catalogue, lists, output};
use crate::catalogue::views::NightReport;
use crate::config::Config;

/// Arguments of `soxsd report`.
#[derive(Clone, Debug, Args)]
pub struct ReportArgs {
    /// Night, YYYY-MM-DD; without it, the newest nights in one line each
    #[arg(value_parser = lists::night)]
    pub night: Option<String>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

pub async fn run(config: &Config, args: &ReportArgs) -> CliResult {
    let catalogue = catalogue(config).await?;
    let Some(night) = &args.night else {
        let nights = catalogue.nights(30).await?;
        if args.json {
            return output::json(&nights).map(|()| OK);
        }
        let columns = [
            text("night", 0),
            number("files", 0),
            number("reduced", 0),
            number("pending", 0),
            number("lost", 0),
            number("delivered", 0),
        ];
        let rows: Vec<Vec<String>> = nights
            .into_iter()
            .map(|row| {
                let counts =
                    [row.files, row.reduced, row.pending, row.lost, row.delivered].map(|count| count.to_string());
                [row.night].into_iter().chain(counts).collect()
            })
            .collect();
        let text = if rows.is_empty() {
            "no file has been seen yet".to_string()
        } else {
            render(&columns, &rows, terminal_width())
        };
        return output::print(&text).map(|()| OK);
    };
    let report = catalogue.night_report(night).await?;
    if args.json {
        output::json(&report)?;
    } else {
        output::print(&page(&report))?;
    }
    Ok(OK)
}

/// The account as text.
pub fn page(report: &NightReport) -> String {
    let mut out = format!("night {}: {} raw files\n", report.night, report.files);
    if report.files == 0 {
        return out;
    }
    out.push('\n');
    for outcome in &report.outcomes {
        out.push_str(&format!("{:>7}  {}\n", outcome.count, outcome.name));
    }
    out.push_str(&format!("{:>7}  in all; delivered and confirmed: {}\n", report.files, report.delivered));
    if !report.reasons.is_empty() {
        let columns = [text("outcome", 0), number("files", 0), text("set", 2), text("for example", 1), text("why", 0)];
        let rows: Vec<Vec<String>> = report
            .reasons
            .iter()
            .map(|line| {
                let (outcome, files) = (line.outcome.clone(), line.files.to_string());
                vec![outcome, files, line.set_name.clone(), line.example.clone(), line.why.clone()]
            })
            .collect();
        out.push('\n');
        out.push_str(&render(&columns, &rows, terminal_width()));
    }
    out
}
