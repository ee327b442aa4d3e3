//! `soxsd why`: the story of one thing.

use clap::Args;

use super::{CliError, CliResult, FAILED, OK, catalogue, output};
use crate::config::Config;

/// Arguments of `soxsd why`.
#[derive(Clone, Debug, Args)]
pub struct WhyArgs {
    /// Path, file name or data id of a frame; name of a set or product; set:N, product:N, job:N, delivery:N; a night
    #[arg(value_name = "WHAT")]
    pub target: String,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Exit code 1 when nothing, or more than one thing, has the name.
pub async fn run(config: &Config, args: &WhyArgs) -> CliResult {
    let catalogue = catalogue(config).await?;
    // The catalogue knows absolute paths.
    let absolute = std::fs::canonicalize(&args.target).ok().map(|path| path.to_string_lossy().into_owned());
    let mut story = None;
    for name in absolute.iter().chain([&args.target]) {
        story = catalogue.why(name).await?;
        if story.is_some() {
            break;
        }
    }
    let mut story = story.ok_or_else(|| CliError::NotFound { target: args.target.clone() })?;
    story.illustrate(&config.workspace().qc);
    if args.json {
        output::json(&story)?;
    } else {
        output::print(&story.to_string())?;
    }
    Ok(if story.matches.is_empty() { OK } else { FAILED })
}
