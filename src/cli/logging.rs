//! The log on standard error: for people on a terminal, JSON lines for machines, filtered by the configuration. Beside it,
//! the last lines of every job are kept for the catalogue, whatever the filter shows.

use std::io::IsTerminal;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use super::{CliError, output};
use crate::config::{LogConfig, LogFormat};
use crate::scheduler::joblog::JobLogLayer;

/// Set the log up as configured; `RUST_LOG` overrides the filter. A log that is set up already stays as it is.
pub fn init(config: &LogConfig) -> Result<(), CliError> {
    let json = match config.format {
        LogFormat::Human => false,
        LogFormat::Json => true,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    start(filter_or(&config.filter)?, json);
    Ok(())
}

/// Warnings only, unless `RUST_LOG` says otherwise: for commands whose output is a table.
pub fn init_quiet() -> Result<(), CliError> {
    start(filter_or("warn")?, false);
    Ok(())
}

fn start(filter: EnvFilter, json: bool) {
    let shown = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let shown = if json {
        shown.json().flatten_event(true).with_current_span(true).with_span_list(false).with_filter(filter).boxed()
    } else {
        shown.with_ansi(output::colour()).with_target(false).with_filter(filter).boxed()
    };
    // An error here says that a log is there already.
    let _ = tracing_subscriber::registry().with(shown).with(JobLogLayer.with_filter(LevelFilter::INFO)).try_init();
}

fn filter_or(default: &str) -> Result<EnvFilter, CliError> {
    match std::env::var("RUST_LOG") {
        Ok(text) if !text.is_empty() => parse(&text),
        _ => parse(default),
    }
}

fn parse(text: &str) -> Result<EnvFilter, CliError> {
    EnvFilter::try_new(text).map_err(|error| CliError::LogFilter { found: text.to_string(), reason: error.to_string() })
}
