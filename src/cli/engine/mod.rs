//! Commands that reduce: the daemon, existing data, one recipe, and the demonstration; and the one that simulates.

mod account;
mod demo;
mod recipe;
mod reduce;
mod run;
mod simulate;

pub use demo::{DemoArgs, demo};
pub use recipe::{RecipeArgs, recipe};
pub use reduce::{ReduceArgs, reduce};
pub use run::run;
pub use simulate::{SimulateArgs, simulate};

use super::CliError;
use super::error::catalogue_hint;
use crate::daemon::DaemonError;
use crate::fault::{Classified, FaultClass};

/// A failure of the engine, with its class and what to do about it.
fn engine_error(error: &impl Classified) -> CliError {
    let hint = match error.class() {
        FaultClass::Config => "`soxsd config check` says whether the configuration is right",
        FaultClass::Bug => "this should not happen; the log and the catalogue hold the evidence",
        FaultClass::Resource => "free disk space or memory, then start again: nothing is lost",
        _ => "",
    };
    CliError::Engine { message: error.story(), class: error.class(), hint: hint.to_string() }
}

/// The same for what the daemon or a batch says, which knows more about itself.
fn daemon_error(error: &DaemonError) -> CliError {
    let told = engine_error(error);
    let hint = match error {
        DaemonError::Catalogue(error) => catalogue_hint(error),
        // The message has the remedy.
        DaemonError::Service(_) | DaemonError::NoRoots => "",
        _ => return told,
    };
    CliError::Engine { message: error.story(), class: error.class(), hint: hint.to_string() }
}

/// Cancelled by the first SIGINT or SIGTERM; the second one ends the process at once.
fn stop_on_signals() -> Result<tokio_util::sync::CancellationToken, CliError> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| signal(kind).map_err(|source| CliError::Io { what: "listen for signals".to_string(), source });
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let cancel = tokio_util::sync::CancellationToken::new();
    let token = cancel.clone();
    tokio::spawn(async move {
        for turn in 0..2 {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if turn == 0 {
                token.cancel();
            } else {
                // What is unfinished is taken back at the next start.
                std::process::exit(130);
            }
        }
    });
    Ok(cancel)
}
