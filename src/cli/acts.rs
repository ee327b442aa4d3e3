//! Commands that act, and the journal of what was done.

use std::sync::Arc;

use clap::Args;

use super::table::{number, prose, render, stamp, terminal_width, text};
use super::{CliResult, OK, catalogue, local, output};
use crate::catalogue::acts::{Act, ActOutcome};
use crate::catalogue::story::one_line;
use crate::catalogue::{Catalogue, CatalogueError};
use crate::clock::SystemClock;
use crate::config::Config;

/// Arguments of every command that acts.
#[derive(Clone, Debug, Args)]
pub struct ActArgs {
    /// Exact name of a frame, set or product; or set:N, job:N, product:N, delivery:N, frame:N, night:YYYY-MM-DD
    #[arg(value_name = "WHAT", required = true)]
    pub targets: Vec<String>,
    /// Reason, kept in the journal
    #[arg(long, value_name = "REASON", default_value = "")]
    pub why: String,
    /// Who does it [default: $USER]
    #[arg(long, value_name = "NAME")]
    pub who: Option<String>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `soxsd acts`.
#[derive(Clone, Debug, Args)]
pub struct JournalArgs {
    /// Most acts to show
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Do the act on each target in turn; the first that fails ends the command, what was done before it stays done.
pub async fn run(config: &Config, act: Act, args: &ActArgs) -> CliResult {
    let who = name_of(args.who.as_deref());
    let path = config.workspace().catalogue;
    if !path.is_file() {
        return Err(CatalogueError::NotThere { path }.into());
    }
    let catalogue = match Catalogue::open(&path, Arc::new(SystemClock)).await {
        Ok(catalogue) => Some(catalogue),
        Err(CatalogueError::Locked { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    for target in &args.targets {
        let target = absolute(target);
        let outcome = match &catalogue {
            Some(catalogue) => catalogue.act(&who, act, &target, &args.why).await?,
            None => local::ask(config, act, &target, &who, &args.why).await?,
        };
        show(&outcome, args.json)?;
    }
    if let Some(catalogue) = catalogue {
        catalogue.close().await;
    }
    Ok(OK)
}

/// Who acts: as given, else as the shell says.
pub(super) fn name_of(given: Option<&str>) -> String {
    let name = given.map(str::to_string).or_else(|| std::env::var("USER").ok()).unwrap_or_default();
    if name.trim().is_empty() { "unknown".to_string() } else { name.trim().to_string() }
}

/// The catalogue knows absolute paths; everything else is a name.
fn absolute(target: &str) -> String {
    match std::fs::canonicalize(target) {
        Ok(path) if target.contains('/') && path.is_file() => path.to_string_lossy().into_owned(),
        _ => target.to_string(),
    }
}

fn show(outcome: &ActOutcome, json: bool) -> Result<(), super::CliError> {
    if json {
        return output::json(outcome);
    }
    let lines: Vec<String> = outcome.changes.iter().map(|change| told(&outcome.target, &one_line(change))).collect();
    output::print(&lines.join("\n"))
}

/// A change with its target before it, once.
fn told(target: &str, change: &str) -> String {
    if change.starts_with(&format!("{target}:")) { change.to_string() } else { format!("{target}: {change}") }
}

/// What operators did, newest first.
pub async fn journal(config: &Config, args: &JournalArgs) -> CliResult {
    let acts = catalogue(config).await?.operator_acts(i64::from(args.limit)).await?;
    if args.json {
        return output::json(&acts).map(|()| OK);
    }
    if acts.is_empty() {
        return output::print("no operator has done anything yet").map(|()| OK);
    }
    let columns = [
        number("id", 3),
        text("when", 0),
        text("who", 0),
        text("act", 0),
        text("on", 0),
        prose("why", 1),
        prose("result", 2),
    ];
    let rows: Vec<Vec<String>> = acts
        .into_iter()
        .map(|act| vec![act.id.to_string(), stamp(act.at_us), act.who, act.act, act.target, act.why, act.result])
        .collect();
    output::print(&render(&columns, &rows, terminal_width()))?;
    Ok(OK)
}
