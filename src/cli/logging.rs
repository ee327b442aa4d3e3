//! The log on standard error: for people on a terminal, JSON lines for machines, filtered by the configuration.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use super::{CliError, output};
use crate::config::{LogConfig, LogFormat};

/// Set the log up as configured; `RUST_LOG` overrides the filter. A log that is set up already stays as it is.
pub fn init(config: &LogConfig) -> Result<(), CliError> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(text) if !text.is_empty() => parse(&text)?,
        _ => parse(&config.filter)?,
    };
    let json = match config.format {
        LogFormat::Human => false,
        LogFormat::Json => true,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // An error here says that a log is there already.
    let _ = if json {
        builder.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init()
    } else {
        builder.with_ansi(output::colour()).with_target(false).try_init()
    };
    Ok(())
}

/// Warnings only: for commands whose output is a table.
pub fn init_quiet() {
    let _ = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("warn"))
        .with_writer(std::io::stderr)
        .with_ansi(output::colour())
        .with_target(false)
        .try_init();
}

fn parse(text: &str) -> Result<EnvFilter, CliError> {
    EnvFilter::try_new(text).map_err(|error| CliError::LogFilter { found: text.to_string(), reason: error.to_string() })
}
