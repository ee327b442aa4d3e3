//! `soxsd alerts`: what is wrong now.

use clap::Args;

use super::table::{number, prose, render, stamp, terminal_width, text};
use super::{CliResult, FAILED, OK, catalogue, output};
use crate::catalogue::alerts::AlertRow;
use crate::config::Config;

/// Arguments of `soxsd alerts`.
#[derive(Clone, Debug, Args)]
pub struct AlertsArgs {
    /// Also those that are over, newest first
    #[arg(long)]
    pub all: bool,
    /// Most alerts to show with --all
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Exit code 0 when no alert is open, 1 when one is: for scripts.
pub async fn run(config: &Config, args: &AlertsArgs) -> CliResult {
    let catalogue = catalogue(config).await?;
    let open = catalogue.open_alerts().await?;
    let code = if open.is_empty() { OK } else { FAILED };
    let rows = if args.all { catalogue.alerts(i64::from(args.limit)).await? } else { open };
    if args.json {
        return output::json(&rows).map(|()| code);
    }
    if rows.is_empty() {
        return output::print(if args.all { "there was no alert yet" } else { "nothing is wrong" }).map(|()| OK);
    }
    let columns = [
        text("severity", 0),
        text("since", 0),
        text("over", 1),
        number("told", 2),
        number("waiting", 2),
        prose("what", 0),
        prose("what to do", 1),
    ];
    let rows: Vec<Vec<String>> = rows.into_iter().map(row).collect();
    output::print(&render(&columns, &rows, terminal_width())).map(|()| code)
}

fn row(alert: AlertRow) -> Vec<String> {
    let what = match (alert.waiting > 0, alert.error.is_empty()) {
        (true, false) => format!("{} (cannot be told: {})", alert.text, alert.error),
        _ => alert.text,
    };
    let waiting = if alert.waiting == 0 { String::new() } else { alert.waiting.to_string() };
    let over = alert.cleared_us.map(stamp).unwrap_or_default();
    vec![alert.severity, stamp(alert.raised_us), over, alert.sent.to_string(), waiting, what, alert.hint]
}
