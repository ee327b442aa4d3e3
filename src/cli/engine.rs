//! Commands that reduce: their arguments, and the way into the engine.

use std::path::PathBuf;

use clap::Args;

use super::{CliError, CliResult};
use crate::config::Config;
use crate::fault::FaultClass;

/// Arguments of `soxsd demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// Folder to work in [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Keep the temporary folder
    #[arg(long)]
    pub keep: bool,
}

/// Arguments of `soxsd reduce`.
#[derive(Clone, Debug, Args)]
pub struct ReduceArgs {
    /// Folders with raw frames, searched with their sub-folders
    #[arg(required = true, value_name = "DIR")]
    pub dirs: Vec<PathBuf>,
    /// Closing table as JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `soxsd recipe`.
#[derive(Clone, Debug, Args)]
pub struct RecipeArgs {
    /// Recipe: mbias, mdark...
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Raw frames
    #[arg(value_name = "FRAME", required_unless_present = "sof", conflicts_with = "sof")]
    pub frames: Vec<PathBuf>,
    /// Set-of-frames file: a path and a tag on each line
    #[arg(long, value_name = "FILE")]
    pub sof: Option<PathBuf>,
    /// Folder for products
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,
    /// A parameter of the recipe
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub parameters: Vec<String>,
}

/// The daemon.
pub async fn run(_config: Config) -> CliResult {
    Err(not_in_this_build("run"))
}

/// The demonstration.
pub async fn demo(_config: Config, _args: DemoArgs) -> CliResult {
    Err(not_in_this_build("demo"))
}

/// Reduction of existing data.
pub async fn reduce(_config: Config, _args: ReduceArgs) -> CliResult {
    Err(not_in_this_build("reduce"))
}

/// One recipe.
pub async fn recipe(_config: Config, _args: RecipeArgs) -> CliResult {
    Err(not_in_this_build("recipe"))
}

fn not_in_this_build(command: &str) -> CliError {
    CliError::Engine {
        message: format!("`soxsd {command}` is not in this build"),
        class: FaultClass::Resource,
        hint: String::new(),
    }
}
