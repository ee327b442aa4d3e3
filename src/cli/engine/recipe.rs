//! `soxsd recipe`: one recipe on given files, in the manner of esorex. No daemon, no catalogue.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::super::table::{self, Column};
use super::super::{CliError, CliResult, FAILED, OK, output};
use super::engine_error;
use crate::association::rules::Grouping;
use crate::association::{Rules, names};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::daemon::{CheckedRules, DaemonError};
use crate::fault::{Classified, FaultClass, chain};
use crate::fits::{self, FitsError, Header, Placement, ScanLimits, write_atomically};
use crate::instrument::{Arm, Classification};
use crate::products::{Product, ProductError, SofEntry, sof};
use crate::quality::Verdict;
use crate::recipes::{self, RecipeError};
use crate::scheduler::attempt::{self, AttemptError, Order, OrderedFile, OrderedFrame, OrderedMaster, Reduced};
use crate::scheduler::gallery;
use crate::scheduler::science;

/// Arguments of `soxsd recipe`.
#[derive(Clone, Debug, Args)]
pub struct RecipeArgs {
    /// Recipe: mbias, mdark, disp_solution, order_centres, d2_flat, lamp_off, mflat, spat_solution, stare, nod, offset,
    /// stare_std, nod_std, offset_std, merge_arms
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Raw frames and master calibrations, in any order
    #[arg(value_name = "FRAME", required_unless_present = "sof", conflicts_with = "sof")]
    pub frames: Vec<PathBuf>,
    /// Set-of-frames file: a path and a tag on each line
    #[arg(long, value_name = "FILE")]
    pub sof: Option<PathBuf>,
    /// Folder for products
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,
    /// A parameter of the recipe, for example rejection_sigma=6; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub parameters: Vec<String>,
    /// Draw no page of pictures beside the products
    #[arg(long)]
    pub no_pictures: bool,
    /// Products and metrics as JSON
    #[arg(long)]
    pub json: bool,
}

/// Files that were written.
struct Written {
    products: Vec<PathBuf>,
    pictures: Vec<PathBuf>,
}

/// What was made, for `--json`.
#[derive(Serialize)]
struct Made {
    products: Vec<PathBuf>,
    pictures: Vec<PathBuf>,
    verdict: Verdict,
    qc: Vec<MadeMetric>,
    rejected: Vec<String>,
    remarks: Vec<String>,
}

#[derive(Serialize)]
struct MadeMetric {
    name: String,
    order: String,
    value: Option<f64>,
    absent: String,
    unit: String,
    verdict: Verdict,
    min: Option<f64>,
    max: Option<f64>,
}

/// Run one recipe. Exit code 1 when its QC failed or the data cannot be reduced, 2 when the input is wrong.
pub async fn recipe(mut config: Config, args: RecipeArgs) -> CliResult {
    let Some(recipe) = recipes::by_name(&args.name) else {
        let known: Vec<&str> = recipes::all().iter().map(|recipe| recipe.name()).collect();
        return Err(usage(format!("there is no recipe {:?}; recipes are {}", args.name, known.join(", "))));
    };
    override_parameters(&mut config, recipe.name(), &args.parameters)?;
    let rules = CheckedRules::load(&config).map_err(|error| match error {
        // What was given here is more likely wrong than what the configuration says.
        DaemonError::Recipe(error) if !args.parameters.is_empty() => usage(error.story()),
        error => engine_error(&error),
    })?;
    let entries = match &args.sof {
        Some(path) => sof::read(path).map_err(|error| usage(error.story()))?,
        None => args.frames.iter().map(|path| SofEntry { path: path.clone(), tag: String::new() }).collect(),
    };
    let parameters = rules.book.parameters(recipe.name());
    let order = Order { previews: !args.no_pictures, ..order(recipe.name(), parameters, &entries, &rules)? };
    let limits = Arc::new(rules.limits);
    let out = args.out.clone();
    let draws = !args.no_pictures;
    let (order, reduced, written) = tokio::task::spawn_blocking(move || {
        let mut reduced = attempt::reduce(&order, &limits).map_err(|error| match error {
            // The wrong frames were given.
            AttemptError::Recipe(error @ RecipeError::Input { .. }) => usage(error.story()),
            error => engine_error(&error),
        })?;
        let mut written = Written { products: write_products(&order, &reduced, &out)?, pictures: Vec::new() };
        for sheet in gallery::sheets(&order, &mut reduced).iter().filter(|_| draws) {
            // the products are there: a picture that fails is only a remark
            match gallery::write(&out, sheet) {
                Ok(paths) => written.pictures.extend(paths),
                Err(error) => reduced.output.remarks.push(format!("no picture: {}", chain(&error))),
            }
        }
        Ok::<_, CliError>((order, reduced, written))
    })
    .await
    .map_err(|error| CliError::Engine {
        message: error.to_string(),
        class: FaultClass::Bug,
        hint: String::new(),
    })??;
    tell(&order, &reduced, &written, args.json)?;
    Ok(if reduced.verdict == Verdict::Fail { FAILED } else { OK })
}

fn usage(message: String) -> CliError {
    CliError::Engine { message, class: FaultClass::BadInput, hint: "`soxsd recipe --help` shows the form".to_string() }
}

fn override_parameters(config: &mut Config, recipe: &str, given: &[String]) -> Result<(), CliError> {
    for text in given {
        let Some((key, value)) = text.split_once('=') else {
            return Err(usage(format!("--set {text}: must be KEY=VALUE")));
        };
        // A bare word is a string; everything else is read as TOML.
        let value = format!("value = {value}")
            .parse::<toml::Table>()
            .ok()
            .and_then(|mut table| table.remove("value"))
            .unwrap_or_else(|| toml::Value::String(value.to_string()));
        let table = config.recipes.entry(recipe).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        if let Some(table) = table.as_table_mut() {
            table.insert(key.trim().to_string(), value);
        }
    }
    Ok(())
}

fn order(recipe: &str, parameters: toml::Table, entries: &[SofEntry], rules: &CheckedRules) -> Result<Order, CliError> {
    let now = SystemClock.now();
    let (mut raw, mut masters): (Vec<(OrderedFrame, Header)>, Vec<OrderedMaster>) = (Vec::new(), Vec::new());
    for entry in entries {
        let scan = fits::scan(&entry.path, &ScanLimits::default()).map_err(|error| usage(error.story()))?;
        match scan.primary().text("ESO PRO CATG") {
            Ok(catg) => masters.push(master(&entry.path, catg)?),
            Err(_) => raw.push(frame(&entry.path, &scan, &rules.classification, now)?),
        }
    }
    raw.sort_by(|(a, _), (b, _)| (a.meta.date_obs, &a.meta.data_id).cmp(&(b.meta.date_obs, &b.meta.data_id)));
    let (Some((first, header)), Some(rule)) = (raw.first(), Rules::recipe(&rules.association, recipe)) else {
        return Err(usage(format!("no raw frame is given for {recipe}")));
    };
    let set_name = match rule.grouping {
        Grouping::Follow => {
            let visible = raw.iter().find(|(frame, _)| frame.meta.arm == Arm::Vis);
            names::joint_stem(&visible.map_or(first, |(frame, _)| frame).meta, &rule.token)
        }
        _ => names::stem(&first.meta, &rule.token),
    };
    let mut header = header.clone();
    let infrared = raw.iter().find(|(frame, _)| frame.meta.arm != first.meta.arm).map(|(_, header)| header);
    infrared.into_iter().for_each(|infrared| science::add_integrations(&mut header, infrared));
    let raw = raw.into_iter().map(|(frame, _)| frame).collect();
    Ok(Order {
        recipe: recipe.to_string(),
        parameters,
        ordered: now,
        set_name,
        raw,
        masters,
        header,
        revision: 1,
        previews: true,
    })
}

fn frame(
    path: &Path,
    scan: &fits::Scan,
    classification: &Classification,
    now: jiff::Timestamp,
) -> Result<(OrderedFrame, Header), CliError> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let Some(primary) = scan.hdus.first() else {
        return Err(usage(format!("{}: has no header", path.display())));
    };
    let shape = match primary.shape.as_slice() {
        [columns, rows] => (*rows as usize, *columns as usize),
        other => return Err(usage(format!("{}: has {} axes, a raw frame has two", path.display(), other.len()))),
    };
    let meta = classification
        .classify(&name, &primary.header, shape, primary.bitpix, now)
        .map_err(|error| usage(format!("{}: {}", path.display(), error.story())))?;
    let metadata = std::fs::metadata(path)
        .map_err(|source| CliError::Io { what: format!("look at {}", path.display()), source })?;
    let file = OrderedFile {
        path: path.to_path_buf(),
        size: metadata.len() as i64,
        mtime_us: attempt::mtime_us(&metadata).unwrap_or_default(),
    };
    Ok((OrderedFrame { meta, digest: scan.sha256.clone(), file: Some(file) }, primary.header.clone()))
}

fn master(path: &Path, catg: &str) -> Result<OrderedMaster, CliError> {
    let digests = fits::FileDigests::of(path)
        .map_err(|source| CliError::Io { what: format!("read {}", path.display()), source })?;
    Ok(OrderedMaster {
        name: path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        catg: catg.to_string(),
        md5: digests.md5,
        path: path.to_path_buf(),
        shown: path.to_path_buf(),
    })
}

/// A product that could not be placed.
#[derive(Debug, thiserror::Error)]
enum PlaceError {
    #[error(transparent)]
    Product(#[from] ProductError),
    #[error(transparent)]
    Atomic(#[from] fits::AtomicError),
    #[error(transparent)]
    Fits(#[from] FitsError),
}

impl Classified for PlaceError {
    fn class(&self) -> FaultClass {
        match self {
            PlaceError::Product(error) => error.class(),
            PlaceError::Atomic(error) => error.class(),
            PlaceError::Fits(error) => error.class(),
        }
    }
}

fn write_products(order: &Order, reduced: &Reduced, out: &Path) -> Result<Vec<PathBuf>, CliError> {
    std::fs::create_dir_all(out).map_err(|source| CliError::Io { what: format!("make {}", out.display()), source })?;
    let mut written = Vec::new();
    for product in Product::all(&reduced.output) {
        let path = out.join(attempt::file_name(order, product));
        write_atomically::<PlaceError>(&path, &Placement::default(), |temporary| {
            Ok(attempt::write(order, reduced, product, temporary)?)
        })
        .map_err(|error| engine_error(&error))?;
        written.push(path);
    }
    // Companions are looked for beside the file that names them, so all are written before one is moved.
    let scratch = tempfile::tempdir_in(out)
        .map_err(|source| CliError::Io { what: format!("make a folder in {}", out.display()), source })?;
    for file in science::write_files(order, reduced, scratch.path()).map_err(|error| engine_error(&error))? {
        let path = out.join(&file.tree_name);
        write_atomically::<fits::AtomicError>(&path, &Placement::default(), |temporary| {
            std::fs::rename(&file.path, temporary).map_err(|source| fits::AtomicError::Io {
                path: file.path.clone(),
                operation: "moving",
                source,
            })
        })
        .map_err(|error| engine_error(&error))?;
        let findings = file.claim.map(|claim| claim.findings).unwrap_or_default();
        findings.iter().for_each(|finding| output::remark(&format!("{}: {finding}", file.tree_name)));
        written.push(path);
    }
    Ok(written)
}

fn tell(order: &Order, reduced: &Reduced, written: &Written, json: bool) -> Result<(), CliError> {
    let qc: Vec<MadeMetric> = reduced
        .qc
        .iter()
        .map(|judged| MadeMetric {
            name: judged.metric.name.clone(),
            order: judged.metric.order.clone(),
            value: judged.metric.number(),
            absent: match &judged.metric.value {
                crate::quality::QcValue::Absent(reason) => reason.clone(),
                crate::quality::QcValue::Measured(_) => String::new(),
            },
            unit: judged.metric.unit.clone(),
            verdict: judged.verdict,
            min: judged.min,
            max: judged.max,
        })
        .collect();
    let rejected: Vec<String> =
        reduced.output.rejected.iter().map(|rejected| format!("{}: {}", rejected.data_id, rejected.reason)).collect();
    if json {
        return output::json(&Made {
            products: written.products.clone(),
            pictures: written.pictures.clone(),
            verdict: reduced.verdict,
            qc,
            rejected,
            remarks: reduced.output.remarks.clone(),
        });
    }
    const COLUMNS: [Column; 5] = [
        table::text("metric", 0),
        table::number("value", 0),
        table::text("unit", 1),
        table::text("range", 2),
        table::text("verdict", 1),
    ];
    let bound = |bound: Option<f64>| bound.map_or(String::new(), |bound| bound.to_string());
    let rows: Vec<Vec<String>> = qc
        .into_iter()
        .map(|metric| {
            let range = if metric.min.is_none() && metric.max.is_none() {
                String::new()
            } else {
                format!("{} .. {}", bound(metric.min), bound(metric.max))
            };
            let value = metric.value.map_or(format!("absent: {}", metric.absent), |value| format!("{value:.6}"));
            vec![metric.name, value, metric.unit, range, metric.verdict.as_str().to_string()]
        })
        .collect();
    output::print(&table::render(&COLUMNS, &rows, table::terminal_width()))?;
    for line in rejected.iter().map(|text| format!("left out {text}")).chain(reduced.output.remarks.iter().cloned()) {
        output::print(&format!("{line}\n"))?;
    }
    output::print(&format!("{} of {} frames used\n", order.raw.len() - rejected.len(), order.raw.len()))?;
    for path in written.products.iter().chain(&written.pictures) {
        output::print(&format!("{}\n", path.display()))?;
    }
    Ok(())
}
