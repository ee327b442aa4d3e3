//! Which configuration applies, and the commands that check and show it.

use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::{CliResult, Global, OK, output};
use crate::config::{Config, ConfigError};

/// Looked for in the present folder.
const LOCAL: &str = "soxsd.toml";
/// Looked for next.
const SYSTEM: &str = "/etc/soxsd/soxsd.toml";

/// Commands about the configuration.
#[derive(Clone, Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check every key; exit code 2 and the line of the fault when one is wrong
    Check,
    /// Show every key with the value that applies
    Show {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// The configuration that applies, and the file that it is from, if any.
pub fn load(global: &Global) -> Result<(Config, Option<PathBuf>), ConfigError> {
    let file = global
        .config
        .clone()
        .or_else(|| [LOCAL, SYSTEM].into_iter().map(Path::new).find(|path| path.is_file()).map(Path::to_path_buf));
    let environment =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let mut config = Config::load(file.as_deref(), environment)?;
    if let Some(work) = &global.work {
        config.paths.work.clone_from(work);
        config.check()?;
    }
    Ok((config, file))
}

pub fn run(global: &Global, command: &ConfigCommand) -> CliResult {
    let (config, file) = load(global)?;
    let origin = file.map_or_else(|| "built-in defaults".to_string(), |path| path.display().to_string());
    match command {
        ConfigCommand::Check => {
            output::print(&format!("{origin}: ok"))?;
            for folder in config.paths.raw.iter().filter(|folder| !folder.is_dir()) {
                output::remark(&format!("warning: raw folder {} is not there", folder.display()));
            }
            if config.paths.raw.is_empty() {
                output::remark("warning: paths.raw is empty; `soxsd run` has nowhere to look for frames");
            }
        }
        ConfigCommand::Show { json: true } => output::json(&config)?,
        ConfigCommand::Show { json: false } => output::print(&format!("# from {origin}\n{}", config.to_toml()?))?,
    }
    Ok(OK)
}
