//! The command line: the tree of commands, the flags that all share, and what a failure looks like.
//!
//! What lives here: arguments, tables, and the way to the running daemon. Commands that look read the catalogue, whether
//! the daemon runs or not; commands that act take the writer's lock, or ask the daemon that has it.
//! What never lives here: anything that another program would need too; that is in the library below.

mod acts;
mod alerts;
mod config;
pub mod engine;
mod error;
mod export;
mod lists;
mod local;
pub mod logging;
mod maintenance;
mod output;
mod report;
mod status;
pub mod table;
mod validate;
mod why;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::catalogue::Catalogue;
use crate::clock::SystemClock;
use crate::config::Config;

pub use error::CliError;

/// Everything went well.
pub const OK: u8 = 0;
/// Something failed or was not found.
pub const FAILED: u8 = 1;
/// The command or the configuration is wrong.
pub const USAGE: u8 = 2;

/// Result of a command: its exit code.
pub type CliResult = Result<u8, CliError>;

/// Unattended data reduction and archive delivery for SOXS at the ESO NTT
#[derive(Debug, Parser)]
#[command(name = "soxsd", version, propagate_version = true, max_term_width = 100)]
#[command(after_help = "Exit codes: 0 all well, 1 something failed or was not found, 2 wrong use or configuration.")]
pub struct Cli {
    /// Flags that all commands share.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that all commands share.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// Configuration file [default: ./soxsd.toml, else /etc/soxsd/soxsd.toml, else built-in defaults]
    #[arg(long, global = true, value_name = "FILE", env = "SOXSD_CONFIG")]
    pub config: Option<PathBuf>,
    /// Work folder, instead of paths.work of the configuration
    #[arg(long, global = true, value_name = "DIR")]
    pub work: Option<PathBuf>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon until SIGTERM or SIGINT
    Run,
    /// Show the whole way of simulated frames, from landing to archive
    Demo(engine::DemoArgs),
    /// Reduce everything in folders, then stop
    Reduce(engine::ReduceArgs),
    /// Run one recipe on given frames, without catalogue
    Recipe(engine::RecipeArgs),
    /// Simulate a night: raw frames, and the truth that went into them
    Simulate(engine::SimulateArgs),
    /// Show the state of everything
    Status(status::StatusArgs),
    /// List raw files and what became of them
    Frames(lists::ListArgs),
    /// List sets of frames
    Sets(lists::ListArgs),
    /// List jobs
    Jobs(lists::ListArgs),
    /// List products
    Products(lists::ListArgs),
    /// List metrics
    Qc(lists::ListArgs),
    /// List deliveries to archives and monitors
    Deliveries(lists::ListArgs),
    /// Tell the story of a frame, set, product, job or delivery
    Why(why::WhyArgs),
    /// Account for every raw file of a night
    Report(report::ReportArgs),
    /// Try again what was given up: a job, a delivery, a quarantined file
    Retry(acts::ActArgs),
    /// Keep a job from running or a delivery from being sent
    Hold(acts::ActArgs),
    /// Let go what is held
    Release(acts::ActArgs),
    /// Run a finished job once more
    Reprocess(acts::ActArgs),
    /// Withdraw a product (needs --why)
    Reject(acts::ActArgs),
    /// Take a withdrawn product back, or use one whose metrics are out of range
    Accept(acts::ActArgs),
    /// Take a product back from the archives, also from those that have it (needs --why)
    Withdraw(acts::ActArgs),
    /// Take a night that is closed for the quality monitor back into work (needs --why)
    Reopen(acts::ActArgs),
    /// Publish what goes out by whole nights
    #[command(subcommand)]
    Export(export::ExportCommand),
    /// Show what is wrong now, and whom it was told
    Alerts(alerts::AlertsArgs),
    /// List what operators did
    Acts(acts::JournalArgs),
    /// Check files against ESO's Phase 3 standard
    Validate(validate::ValidateArgs),
    /// Check or show the configuration
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Write a consistent copy of the catalogue beside it
    Backup(maintenance::BackupArgs),
    /// Check the integrity of the catalogue
    Check,
    /// Print completions for a shell
    Completions {
        /// Shell
        shell: clap_complete::Shell,
    },
}

/// Parse the arguments, do what they say, and say on standard error what went wrong.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are "errors" of this kind too; a closed pipe is no reason to complain.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { OK });
        }
    };
    match run(cli) {
        Ok(code) => ExitCode::from(code),
        Err(CliError::ClosedPipe) => ExitCode::from(OK),
        Err(error) => {
            output::complain(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(cli: Cli) -> CliResult {
    let global = cli.global;
    // These need no configuration, or must work when it is broken.
    match cli.command {
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "soxsd", &mut script);
            return output::write(&script).map(|()| OK);
        }
        Command::Config(command) => return config::run(&global, &command),
        Command::Simulate(args) => return engine::simulate(&args),
        Command::Validate(args) => return validate::run(&args),
        _ => {}
    }
    let (config, _) = config::load(&global)?;
    match cli.command {
        Command::Run => logging::init(&config.log)?,
        _ => logging::init_quiet()?,
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| CliError::Io { what: "start".to_string(), source })?;
    runtime.block_on(dispatch(config, cli.command))
}

async fn dispatch(config: Config, command: Command) -> CliResult {
    use crate::catalogue::acts::Act;
    match command {
        Command::Run => engine::run(config).await,
        Command::Demo(args) => engine::demo(config, args).await,
        Command::Reduce(args) => engine::reduce(config, args).await,
        Command::Recipe(args) => engine::recipe(config, args).await,
        Command::Status(args) => status::run(&config, &args).await,
        Command::Frames(args) => lists::frames(&config, &args).await,
        Command::Sets(args) => lists::sets(&config, &args).await,
        Command::Jobs(args) => lists::jobs(&config, &args).await,
        Command::Products(args) => lists::products(&config, &args).await,
        Command::Qc(args) => lists::qc(&config, &args).await,
        Command::Deliveries(args) => lists::deliveries(&config, &args).await,
        Command::Why(args) => why::run(&config, &args).await,
        Command::Report(args) => report::run(&config, &args).await,
        Command::Retry(args) => acts::run(&config, Act::Retry, &args).await,
        Command::Hold(args) => acts::run(&config, Act::Hold, &args).await,
        Command::Release(args) => acts::run(&config, Act::Release, &args).await,
        Command::Reprocess(args) => acts::run(&config, Act::Reprocess, &args).await,
        Command::Reject(args) => acts::run(&config, Act::Reject, &args).await,
        Command::Accept(args) => acts::run(&config, Act::Accept, &args).await,
        Command::Withdraw(args) => acts::run(&config, Act::Withdraw, &args).await,
        Command::Reopen(args) => acts::run(&config, Act::Reopen, &args).await,
        Command::Export(command) => export::run(&config, &command).await,
        Command::Alerts(args) => alerts::run(&config, &args).await,
        Command::Acts(args) => acts::journal(&config, &args).await,
        Command::Backup(args) => maintenance::backup(&config, &args).await,
        Command::Check => maintenance::check(&config).await,
        // Done before a configuration was read.
        Command::Config(_) | Command::Simulate(_) | Command::Validate(_) | Command::Completions { .. } => Ok(OK),
    }
}

/// The catalogue of this configuration, for reading.
async fn catalogue(config: &Config) -> Result<Catalogue, CliError> {
    Ok(Catalogue::open_read_only(&config.workspace().catalogue, Arc::new(SystemClock)).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_of_commands_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_flags_stand_before_or_after_the_command() {
        for line in [["soxsd", "--work", "w", "status"], ["soxsd", "status", "--work", "w"]] {
            let cli = Cli::try_parse_from(line).expect("a valid command");
            assert_eq!(cli.global.work, Some(PathBuf::from("w")));
        }
    }

    #[test]
    fn a_night_is_checked_before_anything_is_opened() {
        let error = Cli::try_parse_from(["soxsd", "frames", "--night", "yesterday"]).expect_err("not a night");
        assert!(error.to_string().contains("YYYY-MM-DD"), "{error}");
    }
}
