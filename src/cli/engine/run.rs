//! `soxsd run`.

use super::super::{CliResult, OK};
use super::{daemon_error, stop_on_signals};
use crate::config::Config;
use crate::daemon;

/// The daemon, until a signal stops it.
pub async fn run(config: Config) -> CliResult {
    if config.paths.raw.is_empty() {
        return Err(daemon_error(&daemon::DaemonError::NoRoots));
    }
    let cancel = stop_on_signals()?;
    let announced = |address: Option<String>| match address {
        Some(address) => tracing::info!("ready; status page at http://{address}/"),
        None => tracing::info!("ready; no status page is configured"),
    };
    daemon::run(config, cancel, announced).await.map_err(|error| daemon_error(&error))?;
    Ok(OK)
}
