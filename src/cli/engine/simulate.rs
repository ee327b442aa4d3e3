//! `soxsd simulate`: a planned night as raw frames, with its truth beside it. No daemon, no catalogue, no configuration.

use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::super::table::{self, number, prose, text};
use super::super::{CliError, CliResult, FAILED, OK, output};
use super::stop_on_signals;
use crate::fault::{Classified, FaultClass};
use crate::instrument::Arm;
use crate::simulator::observe::{self, Options, Progress, RealTimer, Summary};
use crate::simulator::plan::SHIPPED;
use crate::simulator::{ExposureLine, Plan, PlanError, SimError};

/// The part of the help that is too long for a flag.
const MORE: &str = "\
A plan is a TOML file: title, start, seed, [conditions], [flexure.VIS], [[target]], [[template]] with faults. The shipped
plans under config/nights show all of it; `soxsd simulate --plans` lists them.

The truth is a folder of its own, and a frame's truth is written before the frame:
  night.json               the plan as resolved, seeds, detectors
  frames.csv               one line a frame
  frames/NAME.json         lamps, sources, conditions, flexure, gain, read noise, cosmic rays as runs [row, first column,
                           length], faults with their parameters
  dispersion/, lines/      where light and each line of the lamps fall; traces/ likewise for sources
  spectra/NAME.fits        what an ideal extraction finds of the sky and of each source
  fields/, catalogue/      stars in the pictures of the camera, and in the star catalogue around them
  detector_ARM.fits        response, hot pixels, defects
  expected/NAME.fits       with --expected: electrons without noise, and the pixels that cosmic rays hit

Same plan and seed, same bytes, on any machine and any number of threads.";

/// Arguments of `soxsd simulate`.
#[derive(Clone, Debug, Args)]
#[command(after_help = MORE)]
pub struct SimulateArgs {
    /// Name of a shipped plan, or a file
    #[arg(value_name = "PLAN", required_unless_present = "plans")]
    pub plan: Option<String>,
    /// Folder for the raw frames
    #[arg(long, value_name = "DIR", required_unless_present_any = ["plans", "list"])]
    pub out: Option<PathBuf>,
    /// Seed, instead of the plan's
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Folder for the truth [default: DIR-truth beside DIR]
    #[arg(long, value_name = "DIR")]
    pub truth: Option<PathBuf>,
    /// Write each frame when it would be read out, N times faster than in reality [default: as fast as possible]
    #[arg(long, value_name = "N", value_parser = pace)]
    pub pace: Option<f64>,
    /// Frames of these arms only: VIS, NIR, ACQ
    #[arg(long, value_name = "ARM", value_delimiter = ',', value_parser = arm)]
    pub only: Vec<Arm>,
    /// Write the electrons without noise too
    #[arg(long)]
    pub expected: bool,
    /// Go on where an earlier run has stopped
    #[arg(long = "continue")]
    pub resume: bool,
    /// Show the exposures and draw nothing
    #[arg(long)]
    pub list: bool,
    /// Show the shipped plans
    #[arg(long, conflicts_with_all = ["plan", "out", "list"])]
    pub plans: bool,
    /// Output as JSON
    #[arg(long)]
    pub json: bool,
    /// Threads that draw [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}

fn pace(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(pace) if (1.0e-3..=1.0e9).contains(&pace) => Ok(pace),
        _ => Err("give a factor, 0.001 to 1e9: 60 plays an hour in a minute".to_string()),
    }
}

fn arm(text: &str) -> Result<Arm, String> {
    Arm::parse(text).ok_or_else(|| "give VIS, NIR or ACQ".to_string())
}

/// What was made, for `--json`.
#[derive(Serialize)]
struct Made<'a> {
    plan: &'a str,
    out: &'a Path,
    truth: &'a Path,
    frames_per_second: f64,
    #[serde(flatten)]
    summary: &'a Summary,
}

/// Simulate a night, or show what it would be.
pub fn simulate(args: &SimulateArgs) -> CliResult {
    let Some(name) = args.plan.as_deref().filter(|_| !args.plans) else {
        return shipped(args.json);
    };
    let mut plan = Plan::load(name).map_err(|error| plan_error(&error))?;
    if let Some(seed) = args.seed {
        plan.night.seeds.night = seed;
    }
    let out = args.out.clone().unwrap_or_default();
    let options = Options {
        truth: args.truth.clone().unwrap_or_else(|| beside(&out)),
        out,
        pace: args.pace,
        only: args.only.clone(),
        expected: args.expected,
        resume: args.resume,
        threads: args.threads.map_or(0, usize::from),
    };
    if args.list {
        return list(&plan, &options, args.json);
    }
    let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    if whole(&options.truth).starts_with(whole(&options.out)) {
        return Err(CliError::Engine {
            message: format!("--truth {} is inside --out {}", options.truth.display(), options.out.display()),
            class: FaultClass::Config,
            hint: "whoever reads the frames would find the truth among them; give a folder beside it".to_string(),
        });
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|source| CliError::Io { what: "start".to_string(), source })?;
    let stopped = runtime.block_on(async { stop_on_signals() })?;
    let bar = bar();
    let mut told = |progress: &Progress<'_>| {
        bar.set_length(progress.total as u64);
        bar.set_position(progress.done as u64);
        bar.set_message(progress.name.to_string());
    };
    let outcome = observe::observe(&plan, &options, &RealTimer::start(), &|| stopped.is_cancelled(), &mut told);
    bar.finish_and_clear();
    let summary = outcome.map_err(|error| sim_error(&error))?;
    if args.json {
        let frames_per_second = summary.rate();
        let (out, truth) = (&*options.out, &*options.truth);
        output::json(&Made { plan: &plan.name, out, truth, frames_per_second, summary: &summary })?;
    } else {
        output::print(&told_of(&summary, &options))?;
    }
    if summary.interrupted {
        output::remark("stopped before the end; the same command with --continue goes on");
    }
    Ok(if summary.interrupted { FAILED } else { OK })
}

/// The folder with `-truth` at the end of its name.
fn beside(out: &Path) -> PathBuf {
    let whole = std::path::absolute(out).unwrap_or_else(|_| out.to_path_buf());
    // The folder where one stands has no name; its whole path has.
    let named = if out.file_name().is_some() { out } else { whole.as_path() };
    let name = named.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    named.with_file_name(format!("{name}-truth"))
}

/// A bar on a terminal; nothing elsewhere.
fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:32} {pos}/{len} {elapsed} (left: {eta}) {msg}") {
        bar.set_style(style);
    }
    bar
}

/// A shipped plan, for `--plans`.
#[derive(Serialize)]
struct ShippedPlan {
    name: &'static str,
    frames: usize,
    title: String,
}

fn shipped(json: bool) -> CliResult {
    let mut plans = Vec::new();
    for shipped in &SHIPPED {
        let plan = Plan::parse(shipped.name, shipped.text).map_err(|error| plan_error(&error))?;
        let frames = plan.night.exposures().map_err(|error| sim_error(&error))?.len();
        plans.push(ShippedPlan { name: shipped.name, frames, title: plan.title });
    }
    if json {
        output::json(&plans)?;
        return Ok(OK);
    }
    let columns = [text("plan", 0), number("frames", 0), prose("what", 0)];
    let rows: Vec<Vec<String>> =
        plans.into_iter().map(|plan| vec![plan.name.to_string(), plan.frames.to_string(), plan.title]).collect();
    output::print(&table::render(&columns, &rows, table::terminal_width()))?;
    Ok(OK)
}

fn list(plan: &Plan, options: &Options, json: bool) -> CliResult {
    let exposures = observe::selected(plan, options).map_err(|error| sim_error(&error))?;
    let lines: Vec<ExposureLine> = exposures.iter().map(crate::simulator::Exposure::line).collect();
    if json {
        output::json(&lines)?;
        return Ok(OK);
    }
    let columns = [
        text("frame", 0),
        text("arm", 0),
        text("kind", 0),
        number("exptime", 1),
        text("slit", 2),
        text("object", 2),
        number("no", 3),
        prose("faults", 1),
    ];
    let rows: Vec<Vec<String>> = lines
        .into_iter()
        .map(|line| {
            vec![
                line.name,
                line.arm.to_string(),
                line.kind.name().to_string(),
                line.exptime.to_string(),
                line.slit,
                line.object,
                line.expno.to_string(),
                line.faults.join(", "),
            ]
        })
        .collect();
    output::print(&table::render(&columns, &rows, table::terminal_width()))?;
    output::print(&format!("{} frames\n", exposures.len()))?;
    Ok(OK)
}

fn told_of(summary: &Summary, options: &Options) -> String {
    let columns = [text("arm", 0), text("kind", 0), number("frames", 0), number("with faults", 1), number("MB", 1)];
    let megabytes = |bytes: u64| format!("{:.1}", bytes as f64 / 1.0e6);
    let rows: Vec<Vec<String>> = summary
        .kinds
        .iter()
        .map(|count| {
            vec![
                count.arm.to_string(),
                count.kind.name().to_string(),
                count.frames.to_string(),
                if count.faulty > 0 { count.faulty.to_string() } else { String::new() },
                megabytes(count.bytes),
            ]
        })
        .collect();
    let mut told = table::render(&columns, &rows, table::terminal_width());
    if !summary.faults.is_empty() {
        let faults: Vec<String> = summary.faults.iter().map(|(name, count)| format!("{name} {count}")).collect();
        told.push_str(&format!("faults: {}\n", faults.join(", ")));
    }
    if summary.kept > 0 {
        told.push_str(&format!("{} frames were there already\n", summary.kept));
    }
    told.push_str(&format!(
        "{} frames, {} MB in {} ({:.2} frames a second)\nframes in {}, truth in {}\n",
        summary.frames,
        megabytes(summary.bytes),
        table::duration(summary.seconds),
        summary.rate(),
        options.out.display(),
        options.truth.display()
    ));
    told
}

fn plan_error(error: &PlanError) -> CliError {
    let hint = match error {
        PlanError::Unknown { .. } => "`soxsd simulate --plans` shows what they are",
        PlanError::Syntax { .. } => {
            "`soxsd simulate --help` and the shipped plans under config/nights show what a plan has"
        }
        _ => "",
    };
    CliError::engine(error, hint)
}

fn sim_error(error: &SimError) -> CliError {
    let hint = match error {
        SimError::Exists { .. } => "give another --out, or --continue to go on where an earlier run has stopped",
        _ if error.class() == FaultClass::Resource => "free disk space or memory, then run it again with --continue",
        _ => "",
    };
    CliError::engine(error, hint)
}
