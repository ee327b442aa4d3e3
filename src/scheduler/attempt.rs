//! One attempt: read the inputs, run the recipe, judge its metrics, write the products.
//!
//! Everything here is blocking and runs on the executor, or in `soxsd recipe`. Nothing is recorded here: whoever ordered
//! the attempt does that.

use std::path::PathBuf;

use jiff::Timestamp;

use super::science;
use super::store::{self, StoreError};
use crate::association::names;
use crate::catalogue::products::{Claim, JudgedMetric, NewProduct};
use crate::config::Workspace;
use crate::fault::{Classified, FaultClass};
use crate::fits::{FileDigests, FitsError, Header, ReadLimits, read_image};
use crate::instrument::{Arm, FrameMeta, Night};
use crate::products::phase3::{Phase3Error, StandardError};
use crate::products::{
    CalibrationInput, Product, ProductError, Provenance, RawInput, SofEntry, add_calibration, sof, write_product,
};
use crate::quality::{Limits, QcMetric, Verdict};
use crate::recipes::{self, RawFrame, RecipeError, RecipeInput, RecipeOutput};

/// A raw frame to be used.
#[derive(Clone, Debug)]
pub struct OrderedFrame {
    /// Typed description.
    pub meta: FrameMeta,
    /// sha256 of the uncompressed stream.
    pub digest: String,
    /// The file that carries it; `None` when no file does any more.
    pub file: Option<OrderedFile>,
}

/// A file as it was when its content was digested.
#[derive(Clone, Debug)]
pub struct OrderedFile {
    /// Path.
    pub path: PathBuf,
    /// Size in bytes.
    pub size: i64,
    /// Modification time, microseconds UTC.
    pub mtime_us: i64,
}

/// A master to be used.
#[derive(Clone, Debug)]
pub struct OrderedMaster {
    /// File name in the tree of products.
    pub name: String,
    /// PRO CATG with the arm.
    pub catg: String,
    /// md5 of the file.
    pub md5: String,
    /// Where it is read from.
    pub path: PathBuf,
    /// Where people find it: the path in the SOF.
    pub shown: PathBuf,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Order {
    /// Recipe.
    pub recipe: String,
    /// All its parameters.
    pub parameters: toml::Table,
    /// When it was ordered: the DATE of the products.
    pub ordered: Timestamp,
    /// Name of the set: stem of the products.
    pub set_name: String,
    /// Raw frames.
    pub raw: Vec<OrderedFrame>,
    /// Masters.
    pub masters: Vec<OrderedMaster>,
    /// Header of the first raw frame.
    pub header: Header,
    /// 1 for the first job of its set that makes products, counted on for later ones.
    pub revision: u32,
    /// Whether science files are given a picture that goes with them.
    pub previews: bool,
}

impl Order {
    /// Arm of its frames; `JNT` when they are of several, and nothing without frames.
    pub fn arms(&self) -> &'static str {
        let mut arms = self.raw.iter().map(|frame| frame.meta.arm);
        match arms.next() {
            None => "",
            Some(first) if arms.all(|arm| arm == first) => first.as_str(),
            Some(_) => JOINT,
        }
    }
}

/// In the place of the arm: made of both spectrographs.
pub const JOINT: &str = "JNT";

/// What the recipe gave, judged.
#[derive(Clone, Debug)]
pub struct Reduced {
    /// Products in memory, frames left out, remarks.
    pub output: RecipeOutput,
    /// Metrics with verdicts.
    pub qc: Vec<JudgedMetric>,
    /// Worst verdict.
    pub verdict: Verdict,
    /// What the products say of their origin.
    pub provenance: Provenance,
}

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
pub enum AttemptError {
    /// No file carries a raw frame any more.
    #[error("no file carries frame {data_id} any more; put it back below a raw root")]
    Gone {
        /// Data id.
        data_id: String,
    },
    /// A raw file is not what ingest took in.
    #[error("{} has changed since it was taken in; it will be looked at again", path.display())]
    Changed {
        /// File.
        path: PathBuf,
    },
    /// A file cannot be read.
    #[error(transparent)]
    Read(#[from] FitsError),
    /// The recipe is not known.
    #[error("recipe {recipe} is not part of this build")]
    NoRecipe {
        /// Recipe.
        recipe: String,
    },
    /// The recipe gave nothing.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// A master cannot be read, or a product cannot be written.
    #[error(transparent)]
    Product(#[from] ProductError),
    /// A product cannot be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A science file cannot be made.
    #[error(transparent)]
    Phase3(#[from] Phase3Error),
    /// The tables of the standard cannot be used.
    #[error(transparent)]
    Standard(#[from] StandardError),
}

impl Classified for AttemptError {
    fn class(&self) -> FaultClass {
        match self {
            AttemptError::Gone { .. } => FaultClass::Missing,
            AttemptError::Changed { .. } => FaultClass::Transient,
            AttemptError::Read(error) => error.class(),
            AttemptError::NoRecipe { .. } => FaultClass::Bug,
            AttemptError::Recipe(error) => error.class(),
            AttemptError::Product(error) => error.class(),
            AttemptError::Store(error) => error.class(),
            AttemptError::Phase3(error) => error.class(),
            AttemptError::Standard(error) => error.class(),
        }
    }
}

/// Read, verify, run, judge.
pub fn reduce(order: &Order, limits: &Limits) -> Result<Reduced, AttemptError> {
    let recipe =
        recipes::by_name(&order.recipe).ok_or_else(|| AttemptError::NoRecipe { recipe: order.recipe.clone() })?;
    let metas: Vec<FrameMeta> = order.raw.iter().map(|frame| frame.meta.clone()).collect();
    recipe.verify(&metas, &order.parameters)?;
    let read = |frame: &OrderedFrame| match recipe.reads_frames() {
        true => read_frame(frame),
        false => Ok(RawFrame { meta: frame.meta.clone(), adu: ndarray::Array2::zeros((0, 0)) }),
    };
    let frames = order.raw.iter().map(read).collect::<Result<Vec<RawFrame>, AttemptError>>()?;
    let mut input = RecipeInput { frames, ..RecipeInput::default() };
    for master in &order.masters {
        add_calibration(&mut input, &master.path, &master.name, &master.catg)?;
    }
    tracing::info!(frames = input.frames.len(), masters = order.masters.len(), "inputs read");
    let output = recipe.run(input, &order.parameters)?;
    for remark in &output.remarks {
        tracing::info!("{remark}");
    }
    let qc = judge(order, &output.qc, limits);
    let verdict = qc.iter().map(|judged| judged.verdict).max().unwrap_or(Verdict::Pass);
    let provenance = provenance(order, &output, recipe.version());
    Ok(Reduced { output, qc, verdict, provenance })
}

/// Write the products of an order into the store, by way of a scratch folder of this name, and its SOF file.
pub fn store(
    order: &Order,
    reduced: &Reduced,
    workspace: &Workspace,
    scratch: &str,
    keys: &str,
) -> Result<Vec<NewProduct>, AttemptError> {
    let Some(first) = order.raw.first() else { return Ok(Vec::new()) };
    let night = Night::of(first.meta.date_obs).to_string();
    let folder = folder(order);
    let scratch = workspace.scratch.join(scratch);
    let io = |source| StoreError::Io { operation: "making", path: scratch.clone(), source };
    if scratch.exists() {
        std::fs::remove_dir_all(&scratch).map_err(io)?;
    }
    std::fs::create_dir_all(&scratch).map_err(io)?;
    let made = |catg: &str, name: String, digests: FileDigests, n_combined: usize, claim: Option<Claim>| NewProduct {
        catg: format!("{catg}_{}", order.arms()),
        arm: order.arms().to_string(),
        night: night.clone(),
        name,
        folder: folder.clone(),
        digests,
        keys: keys.to_string(),
        mjd: last_mjd(order, &reduced.output),
        n_combined: n_combined as i64,
        claim,
    };
    let mut products = Vec::new();
    for product in Product::all(&reduced.output) {
        let name = file_name(order, product);
        let file = scratch.join(&name);
        write(order, reduced, product, &file)?;
        products.push(made(product.catg(), name, store::put(workspace, &file)?, product.n_combined(), None));
    }
    // All are written before one is moved: they are judged together.
    let combined = used(order, &reduced.output).count();
    for file in science::write_files(order, reduced, &scratch)? {
        products.push(made(&file.catg, file.tree_name, store::put(workspace, &file.path)?, combined, file.claim));
    }
    std::fs::remove_dir_all(&scratch).map_err(io)?;
    store::write_text(&workspace.sof.join(format!("{}.sof", order.set_name)), &sof_text(order))?;
    tracing::info!(products = products.len(), verdict = reduced.verdict.as_str(), "products stored");
    Ok(products)
}

/// Folder of what an order gives, below a tree: `2026-03-10/soxs-mbias`.
pub fn folder(order: &Order) -> String {
    let night = order.raw.first().map_or(String::new(), |first| Night::of(first.meta.date_obs).to_string());
    format!("{night}/soxs-{}", order.recipe.replace('_', "-"))
}

/// File name of a product: that of the set, or of the set under the product's own token, and the product's suffix.
pub fn file_name(order: &Order, product: Product<'_>) -> String {
    let stem = match (product.token(), order.raw.first()) {
        (Some(token), Some(first)) => names::stem(&first.meta, token),
        _ => order.set_name.clone(),
    };
    format!("{stem}{}.fits", product.suffix())
}

/// Write one product to a new file.
pub fn write(
    order: &Order,
    reduced: &Reduced,
    product: Product<'_>,
    file: &std::path::Path,
) -> Result<(), ProductError> {
    let arm = order.arms();
    let name = file_name(order, product);
    write_product(file, &name, product, arm, &order.header, &reduced.provenance, &reduced.output.qc)
}

fn read_frame(frame: &OrderedFrame) -> Result<RawFrame, AttemptError> {
    let file = frame.file.as_ref().ok_or_else(|| AttemptError::Gone { data_id: frame.meta.data_id.clone() })?;
    // The content was digested when the file was taken in; a file that stands still since then still has it.
    if !std::fs::metadata(&file.path).is_ok_and(|metadata| stands_still(&metadata, file)) {
        return Err(AttemptError::Changed { path: file.path.clone() });
    }
    let image = read_image(&file.path, &ReadLimits::default())?;
    Ok(RawFrame { meta: frame.meta.clone(), adu: image.data })
}

fn stands_still(metadata: &std::fs::Metadata, file: &OrderedFile) -> bool {
    metadata.len() as i64 == file.size && mtime_us(metadata) == Some(file.mtime_us)
}

/// Modification time in microseconds UTC.
pub fn mtime_us(metadata: &std::fs::Metadata) -> Option<i64> {
    let time = Timestamp::try_from(metadata.modified().ok()?).ok()?;
    Some(time.as_microsecond())
}

fn judge(order: &Order, metrics: &[QcMetric], limits: &Limits) -> Vec<JudgedMetric> {
    let arms = || order.raw.iter().map(|frame| frame.meta.arm);
    // a spectrum of both arms has the scale of UV-VIS
    let Some(arm) = arms().find(|arm| *arm == Arm::Vis).or_else(|| arms().next()) else { return Vec::new() };
    metrics
        .iter()
        .map(|metric| {
            let judged = limits.judge(&order.recipe, arm, metric);
            if judged.verdict != Verdict::Pass {
                tracing::warn!(name = metric.name, value = ?metric.number(), min = ?judged.min, max = ?judged.max, verdict = judged.verdict.as_str(), "qc");
            }
            JudgedMetric { metric: metric.clone(), verdict: judged.verdict, min: judged.min, max: judged.max }
        })
        .collect()
}

/// The frames that the recipe did not leave out.
pub(super) fn used<'a>(order: &'a Order, output: &RecipeOutput) -> impl Iterator<Item = &'a OrderedFrame> {
    let rejected: Vec<String> = output.rejected.iter().map(|rejected| rejected.data_id.clone()).collect();
    order.raw.iter().filter(move |frame| !rejected.contains(&frame.meta.data_id))
}

fn last_mjd(order: &Order, output: &RecipeOutput) -> f64 {
    used(order, output).map(|frame| frame.meta.mjd_obs).fold(f64::NEG_INFINITY, f64::max)
}

/// `<DPR TYPE>_<ARM>`.
fn tag(meta: &FrameMeta) -> String {
    format!("{}_{}", meta.dpr_type, meta.arm)
}

fn provenance(order: &Order, output: &RecipeOutput, version: &str) -> Provenance {
    let raw = used(order, output).map(|frame| RawInput {
        name: format!("{}.fits", frame.meta.data_id),
        category: tag(&frame.meta),
        sha256: frame.digest.clone(),
    });
    let calibrations = order.masters.iter().map(|master| CalibrationInput {
        name: master.name.clone(),
        category: master.catg.clone(),
        md5: master.md5.clone(),
    });
    Provenance {
        recipe: order.recipe.clone(),
        recipe_version: version.to_string(),
        software: concat!("soxsd/", env!("CARGO_PKG_VERSION")).to_string(),
        set_name: order.set_name.clone(),
        date: order.ordered,
        raw: raw.collect(),
        calibrations: calibrations.collect(),
        parameters: order.parameters.iter().map(|(name, value)| (name.clone(), value.to_string())).collect(),
    }
}

fn sof_text(order: &Order) -> String {
    let raw = order.raw.iter().filter_map(|frame| {
        let file = frame.file.as_ref()?;
        Some(SofEntry { path: file.path.clone(), tag: tag(&frame.meta) })
    });
    let masters = order.masters.iter().map(|master| SofEntry { path: master.shown.clone(), tag: master.catg.clone() });
    sof::text(&raw.chain(masters).collect::<Vec<SofEntry>>())
}
