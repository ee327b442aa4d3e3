//! One attempt at one job: read the inputs, run the recipe, judge its metrics, write the products into the store.
//!
//! Everything here is blocking and runs on the executor. Nothing is recorded here: the scheduler commits the result.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use super::store::{self, StoreError};
use crate::catalogue::jobs::{Job, MasterInput, RawInput};
use crate::catalogue::products::{JudgedMetric, NewProduct};
use crate::config::Workspace;
use crate::fault::{Classified, FaultClass};
use crate::fits::{FileDigests, FitsError, Header, PlaneArray, ReadLimits, read_image, read_planes};
use crate::instrument::Night;
use crate::products::{CalibrationInput, ProductError, Provenance, RawInput as RawProvenance, SofEntry, sof, write_product};
use crate::quality::{Limits, QcMetric, Verdict};
use crate::recipes::{self, MasterImage, ProductImage, RawFrame, RecipeError, RecipeInput, RecipeOutput, RejectedFrame};

/// What an attempt needs, read from the catalogue before it starts.
#[derive(Clone, Debug)]
pub struct Order {
    /// The job.
    pub job: Job,
    /// Name of its set.
    pub set_name: String,
    /// Keys of its set as JSON.
    pub set_keys: String,
    /// Raw frames.
    pub raw: Vec<RawInput>,
    /// Masters.
    pub masters: Vec<MasterInput>,
    /// Header of the first raw frame.
    pub header: Header,
}

/// What an attempt gave.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Products, in the store already.
    pub products: Vec<NewProduct>,
    /// Metrics with verdicts.
    pub qc: Vec<JudgedMetric>,
    /// Worst verdict.
    pub verdict: Verdict,
    /// Frames left out.
    pub rejected: Vec<RejectedFrame>,
    /// Remarks of the recipe.
    pub remarks: Vec<String>,
    /// Start of the first exposure, microseconds UTC.
    pub at_us: i64,
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
    #[error("{path} has changed since it was taken in; it will be looked at again")]
    Changed {
        /// File.
        path: String,
    },
    /// A file cannot be read.
    #[error(transparent)]
    Read(#[from] FitsError),
    /// A master lacks a plane.
    #[error("master {name} has no plane {plane}")]
    Master {
        /// File name.
        name: String,
        /// Plane.
        plane: &'static str,
    },
    /// The recipe is not known.
    #[error("recipe {recipe} is not part of this build")]
    NoRecipe {
        /// Recipe.
        recipe: String,
    },
    /// The stored parameters cannot be read.
    #[error("the job's parameters cannot be read: {reason}")]
    Parameters {
        /// Cause.
        reason: String,
    },
    /// The recipe gave nothing.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// A product cannot be written.
    #[error(transparent)]
    Product(#[from] ProductError),
    /// A product cannot be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Classified for AttemptError {
    fn class(&self) -> FaultClass {
        match self {
            AttemptError::Gone { .. } => FaultClass::Missing,
            AttemptError::Changed { .. } => FaultClass::Transient,
            AttemptError::Read(error) => error.class(),
            AttemptError::Master { .. } | AttemptError::NoRecipe { .. } | AttemptError::Parameters { .. } => FaultClass::Bug,
            AttemptError::Recipe(error) => error.class(),
            AttemptError::Product(error) => error.class(),
            AttemptError::Store(error) => error.class(),
        }
    }
}

/// Do the whole attempt.
pub fn run(order: &Order, workspace: &Workspace, limits: &Arc<Limits>) -> Result<Outcome, AttemptError> {
    let recipe = recipes::by_name(&order.job.recipe)
        .ok_or_else(|| AttemptError::NoRecipe { recipe: order.job.recipe.clone() })?;
    let parameters = parameters_of(&order.job)?;
    let metas: Vec<_> = order.raw.iter().map(|input| input.meta.clone()).collect();
    recipe.verify(&metas, &parameters)?;
    let frames = order.raw.iter().map(read_frame).collect::<Result<Vec<RawFrame>, AttemptError>>()?;
    let masters = order
        .masters
        .iter()
        .map(|master| read_master(master, workspace))
        .collect::<Result<Vec<MasterImage>, AttemptError>>()?;
    tracing::info!(frames = frames.len(), masters = masters.len(), "inputs read");
    let output = recipe.run(RecipeInput { frames, masters }, &parameters)?;
    for remark in &output.remarks {
        tracing::info!(remark, "recipe");
    }
    let qc = judge(order, &output.qc, limits);
    let verdict = qc.iter().map(|judged| judged.verdict).max().unwrap_or(Verdict::Pass);
    let products = write(order, workspace, &output, &parameters, recipe.version())?;
    write_sof(order, workspace)?;
    tracing::info!(products = products.len(), verdict = verdict.as_str(), "products stored");
    let at_us = metas.first().map_or(0, |meta| meta.date_obs.as_microsecond());
    Ok(Outcome { products, qc, verdict, rejected: output.rejected, remarks: output.remarks, at_us })
}

fn parameters_of(job: &Job) -> Result<toml::Table, AttemptError> {
    serde_json::from_str(&job.parameters).map_err(|error| AttemptError::Parameters { reason: error.to_string() })
}

fn read_frame(input: &RawInput) -> Result<RawFrame, AttemptError> {
    let file =
        input.file.as_ref().ok_or_else(|| AttemptError::Gone { data_id: input.meta.data_id.clone() })?;
    let is_same = |metadata: std::fs::Metadata| {
        let mtime = metadata.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
        metadata.len() as i64 == file.size && mtime.is_some_and(|time| time.as_microsecond() == file.mtime_us)
    };
    // The content was digested when it was taken in; a file that stands still since then still has it.
    if !std::fs::metadata(&file.path).is_ok_and(is_same) {
        return Err(AttemptError::Changed { path: file.path.clone() });
    }
    let image = read_image(&PathBuf::from(&file.path), &ReadLimits::default())?;
    Ok(RawFrame { meta: input.meta.clone(), adu: image.data })
}

fn read_master(master: &MasterInput, workspace: &Workspace) -> Result<MasterImage, AttemptError> {
    let mut planes = read_planes(&workspace.stored(&master.sha256))?;
    let mut take = |plane: &'static str| {
        let index = planes.iter().position(|found| found.extname.as_deref() == Some(plane));
        index.map(|index| planes.swap_remove(index)).ok_or(AttemptError::Master { name: master.name.clone(), plane })
    };
    let absent = |plane| AttemptError::Master { name: master.name.clone(), plane };
    let value = take("FLUX")?;
    let PlaneArray::F32(flux) = value.data else { return Err(absent("FLUX")) };
    let PlaneArray::F32(errors) = take("ERRS")?.data else { return Err(absent("ERRS")) };
    let PlaneArray::I32(flags) = take("FLAGS")?.data else { return Err(absent("FLAGS")) };
    Ok(MasterImage {
        catg: master.catg.rsplit_once('_').map_or(master.catg.clone(), |(catg, _)| catg.to_string()),
        value: flux,
        variance: errors.mapv_into(|error| error * error),
        flags,
        ron: value.header.real("ESO QC RAW RON").ok(),
    })
}

fn judge(order: &Order, metrics: &[QcMetric], limits: &Arc<Limits>) -> Vec<JudgedMetric> {
    let Some(arm) = order.raw.first().map(|input| input.meta.arm) else { return Vec::new() };
    metrics
        .iter()
        .map(|metric| {
            let judged = limits.judge(&order.job.recipe, arm, metric);
            if judged.verdict != Verdict::Pass {
                tracing::warn!(name = metric.name, value = ?metric.number(), min = ?judged.min, max = ?judged.max, verdict = judged.verdict.as_str(), "qc");
            }
            JudgedMetric { metric: metric.clone(), verdict: judged.verdict, min: judged.min, max: judged.max }
        })
        .collect()
}

fn write(
    order: &Order,
    workspace: &Workspace,
    output: &RecipeOutput,
    parameters: &toml::Table,
    version: &str,
) -> Result<Vec<NewProduct>, AttemptError> {
    let Some(first) = order.raw.first() else { return Ok(Vec::new()) };
    let used: Vec<&RawInput> =
        order.raw.iter().filter(|input| !output.rejected.iter().any(|rejected| rejected.data_id == input.meta.data_id)).collect();
    let provenance = provenance(order, &used, parameters, version);
    let night = Night::of(first.meta.date_obs).to_string();
    let folder = format!("{night}/soxs-{}", order.job.recipe.replace('_', "-"));
    let arm = first.meta.arm.as_str();
    let scratch = workspace.scratch.join(format!("job-{}", order.job.id));
    let io = |source| StoreError::Io { operation: "making", path: scratch.clone(), source };
    if scratch.exists() {
        std::fs::remove_dir_all(&scratch).map_err(io)?;
    }
    std::fs::create_dir_all(&scratch).map_err(io)?;
    let mut products = Vec::with_capacity(output.products.len());
    for product in &output.products {
        let name = format!("{}{}.fits", order.set_name, product.suffix);
        let file = scratch.join(&name);
        write_product(&file, &name, product, arm, &order.header, &provenance, &output.qc)?;
        let digests = store::put(workspace, &file)?;
        products.push(described(order, product, &used, name, digests, &folder, &night));
    }
    std::fs::remove_dir_all(&scratch).map_err(io)?;
    Ok(products)
}

fn described(
    order: &Order,
    product: &ProductImage,
    used: &[&RawInput],
    name: String,
    digests: FileDigests,
    folder: &str,
    night: &str,
) -> NewProduct {
    let arm = used.first().map_or("VIS", |input| input.meta.arm.as_str());
    NewProduct {
        catg: format!("{}_{arm}", product.catg),
        arm: arm.to_string(),
        night: night.to_string(),
        name,
        folder: folder.to_string(),
        digests,
        keys: order.set_keys.clone(),
        mjd: used.iter().map(|input| input.meta.mjd_obs).fold(f64::NEG_INFINITY, f64::max),
        n_combined: product.n_combined as i64,
    }
}

fn provenance(order: &Order, used: &[&RawInput], parameters: &toml::Table, version: &str) -> Provenance {
    Provenance {
        recipe: order.job.recipe.clone(),
        recipe_version: version.to_string(),
        software: concat!("soxsd/", env!("CARGO_PKG_VERSION")).to_string(),
        set_name: order.set_name.clone(),
        date: Timestamp::from_microsecond(order.job.created_us).unwrap_or(Timestamp::UNIX_EPOCH),
        raw: used
            .iter()
            .map(|input| RawProvenance {
                name: format!("{}.fits", input.meta.data_id),
                category: format!("{}_{}", input.meta.dpr_type, input.meta.arm),
                sha256: input.digest.clone(),
            })
            .collect(),
        calibrations: order
            .masters
            .iter()
            .map(|master| CalibrationInput {
                name: master.name.clone(),
                category: master.catg.clone(),
                md5: master.md5.clone(),
            })
            .collect(),
        parameters: parameters.iter().map(|(name, value)| (name.clone(), value.to_string())).collect(),
    }
}

fn write_sof(order: &Order, workspace: &Workspace) -> Result<(), AttemptError> {
    let raw = order.raw.iter().filter_map(|input| {
        let file = input.file.as_ref()?;
        Some(SofEntry { path: PathBuf::from(&file.path), tag: format!("{}_{}", input.meta.dpr_type, input.meta.arm) })
    });
    let masters = order.masters.iter().map(|master| SofEntry {
        path: workspace.reduced.join(&master.folder).join(&master.name),
        tag: master.catg.clone(),
    });
    let entries: Vec<SofEntry> = raw.chain(masters).collect();
    store::write_text(&workspace.sof.join(format!("{}.sof", order.set_name)), &sof::text(&entries))?;
    Ok(())
}
