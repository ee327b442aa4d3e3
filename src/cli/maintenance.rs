//! Backup and integrity check of the catalogue.

use clap::Args;

use super::{CliError, CliResult, OK, catalogue, output};
use crate::catalogue::maintenance::backup_folder;
use crate::config::Config;

/// Arguments of `soxsd backup`.
#[derive(Clone, Debug, Args)]
pub struct BackupArgs {
    /// Copies to keep; older ones are removed
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..))]
    pub keep: u16,
}

/// Write a consistent copy, also while the daemon works.
pub async fn backup(config: &Config, args: &BackupArgs) -> CliResult {
    let copy = catalogue(config).await?.backup(usize::from(args.keep)).await?;
    output::print(&copy.display().to_string())?;
    Ok(OK)
}

/// Check every page, index and reference.
pub async fn check(config: &Config) -> CliResult {
    let catalogue = catalogue(config).await?;
    let findings = catalogue.integrity_check().await?;
    if findings.iter().all(|finding| finding == "ok") {
        output::print(&format!("{}: ok", catalogue.path().display()))?;
        return Ok(OK);
    }
    Err(CliError::Damaged {
        path: catalogue.path().to_path_buf(),
        findings: findings.join("; "),
        backups: backup_folder(catalogue.path()),
    })
}
