//! The Phase 3 files of an attempt: written beside each other under the names that the archive will know, and held against
//! the standard before anybody is offered one.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::attempt::{AttemptError, Order, Reduced, used};
use super::gallery;
use super::store::StoreError;
use crate::catalogue::products::Claim;
use crate::fault::chain;
use crate::fits::{FileDigests, Header};
use crate::instrument::FrameMeta;
use crate::products::phase3::{
    Collection, Companion, Context, Finding, Kind, Observation, Phase3Error, Validator, write_paper, write_spectrum,
    write_two_d,
};
use crate::products::pictures;
use crate::quality::QcMetric;
use crate::recipes::{SourceSpectrum, pages, spectra::plane};

/// MJD of 1970-01-01.
const MJD_OF_UNIX_EPOCH: f64 = 40_587.0;
const DAY_US: f64 = 86_400e6;
/// PRODCATG of a picture.
const PREVIEW: &str = "ANCILLARY.PREVIEW";
const NDIT: &str = "ESO DET NDIT";

/// A file that was written.
pub struct ScienceFile {
    /// Where it lies.
    pub path: PathBuf,
    /// Its name in the tree of products.
    pub tree_name: String,
    /// PRO CATG without the arm.
    pub catg: String,
    /// What it claims; `None` for a file that is not for Phase 3.
    pub claim: Option<Claim>,
}

impl ScienceFile {
    fn new(folder: &Path, observation: &Observation, kind: Kind, catg: &str, prodcatg: &str) -> ScienceFile {
        let name = observation.file_name(kind);
        ScienceFile {
            path: folder.join(&name),
            tree_name: observation.tree_name(kind),
            // the target's is the one that others look for
            catg: if observation.source > 1 { format!("{catg}_S{}", observation.source) } else { catg.to_string() },
            claim: (!prodcatg.is_empty()).then(|| Claim {
                prodcatg: prodcatg.to_string(),
                archive_name: name,
                findings: Vec::new(),
            }),
        }
    }
}

/// Write the science files of an attempt into a folder, companions first: an archive that has a science file has its
/// companions too. One science file a source; the spectrum in two dimensions goes with the target. None for calibrations,
/// standards among them, and for spectra that no science file can be made of; the log says why.
pub fn write_files(order: &Order, reduced: &Reduced, folder: &Path) -> Result<Vec<ScienceFile>, AttemptError> {
    let frames: Vec<FrameMeta> = used(order, &reduced.output).map(|frame| frame.meta.clone()).collect();
    if reduced.output.spectra.is_empty() || !frames.iter().all(is_science) {
        return Ok(Vec::new());
    }
    let collection = Collection::built_in()?;
    let qc: Vec<QcMetric> = reduced.qc.iter().map(|judged| judged.metric.clone()).collect();
    let mut files = Vec::new();
    let mut papers = Vec::new();
    for source in &reduced.output.spectra {
        let context = Context {
            frames: &frames,
            header: &order.header,
            provenance: &reduced.provenance,
            // they are the target's
            qc: if source.number == 1 { &qc } else { &[] },
            companions: &[],
            source: source.number,
            revision: order.revision,
            collection: &collection,
        };
        match write_source(order, reduced, source, context, folder) {
            Ok((written, paper)) => {
                files.extend(written);
                papers.push(paper);
            }
            Err(AttemptError::Phase3(
                reason @ (Phase3Error::Spectrum { .. } | Phase3Error::NoTarget { .. } | Phase3Error::Header { .. }),
            )) => tracing::warn!(source = source.number, reason = chain(&reason), "no science file"),
            Err(error) => return Err(error),
        }
    }
    validate(&mut files, order.ordered)?;
    files.extend(papers);
    Ok(files)
}

/// The files of one source: those for Phase 3, companions first, and the one in the layout of the paper.
fn write_source(
    order: &Order,
    reduced: &Reduced,
    source: &SourceSpectrum,
    context: Context<'_>,
    folder: &Path,
) -> Result<(Vec<ScienceFile>, ScienceFile), AttemptError> {
    let observation = context.observation()?;
    let file = |kind, catg: &str, prodcatg: &str| ScienceFile::new(folder, &observation, kind, catg, prodcatg);
    let science = file(Kind::Spectrum, "SCI_SLIT_FLUX_IDP", "SCIENCE.SPECTRUM");
    let two_d = file(Kind::TwoD, "SCI_SLIT_FLUX_MERGE2D", "ANCILLARY.2DSPECTRUM");
    let name = |kind| observation.file_name(kind);
    let image = reduced.output.products.iter().find(|image| image.catg == plane::CATEGORY && source.number == 1);
    let picture = file(Kind::Preview, "SCI_SLIT_FLUX_PREVIEW", PREVIEW);
    let md5 = if order.previews { draw(order, reduced, source, &picture.path)? } else { None };
    let mut companions: Vec<Companion> =
        image.iter().map(|_| Companion { name: name(Kind::TwoD), foreign: None }).collect();
    companions.extend(
        md5.iter()
            .map(|md5| Companion { name: name(Kind::Preview), foreign: Some((PREVIEW.to_string(), md5.clone())) }),
    );
    let context = Context { companions: &companions, ..context };
    // first what may be refused
    write_spectrum(&science.path, &name(Kind::Spectrum), source, &context)?;
    let paper = file(Kind::Paper, "SCI_SLIT_FLUX_SPEC", "");
    write_paper(&paper.path, &name(Kind::Paper), &source.merged, &context)?;
    let mut files = Vec::new();
    if let Some(image) = image {
        write_two_d(&two_d.path, &name(Kind::TwoD), image, &context)?;
        files.push(two_d);
    }
    files.extend(md5.map(|_| picture));
    files.push(science);
    Ok((files, paper))
}

/// Draw the page of a source as its preview; its md5, or `None` when it cannot be drawn: a picture fails nothing.
fn draw(
    order: &Order,
    reduced: &Reduced,
    source: &SourceSpectrum,
    path: &Path,
) -> Result<Option<String>, AttemptError> {
    let suffix = pages::spectrum::suffix(source.number);
    let Some(page) = reduced.output.pages.iter().find(|page| page.suffix == suffix) else { return Ok(None) };
    let picture = match pictures::draw(&gallery::dressed(order, reduced, page.clone())) {
        Ok(picture) => picture,
        Err(error) => {
            tracing::warn!(error = chain(&error), "no preview");
            return Ok(None);
        }
    };
    let io = |operation| move |source| StoreError::Io { operation, path: path.to_path_buf(), source };
    std::fs::write(path, &picture.png).map_err(io("writing"))?;
    Ok(Some(FileDigests::of(path).map_err(io("reading back"))?.md5))
}

/// The number of integrations of an exposure, which only headers of NIR have, for the header of an observation of both arms.
pub fn add_integrations(header: &mut Header, infrared: &Header) {
    if let Ok(ndit) = infrared.integer(NDIT) {
        header.set(NDIT, ndit, "integrations of an exposure, NIR");
    }
}

/// Hold the files against the standard, together; what is found goes into their claims.
fn validate(files: &mut [ScienceFile], now: Timestamp) -> Result<(), AttemptError> {
    let paths: Vec<PathBuf> = files.iter().map(|file| file.path.clone()).collect();
    let now_mjd = MJD_OF_UNIX_EPOCH + now.as_microsecond() as f64 / DAY_US;
    let report = Validator::new()?.check(&paths, now_mjd, |_| {});
    for (file, report) in files.iter_mut().zip(&report.files) {
        let mut findings: Vec<String> = report.errors().map(said).collect();
        if !report.passes() && findings.is_empty() {
            findings.push(format!("it cannot be judged: {}", report.unreadable));
        }
        if let Some(claim) = file.claim.as_mut() {
            if !findings.is_empty() {
                tracing::error!(
                    file = claim.archive_name,
                    breaches = findings.len(),
                    first = findings.first(),
                    "phase 3"
                );
            }
            claim.findings = findings;
        }
    }
    Ok(())
}

fn said(finding: &Finding) -> String {
    let hdu = finding.hdu.map_or(String::new(), |hdu| format!(" HDU {hdu}"));
    format!("{}{hdu} {}: found {}, expected {}", finding.rule, finding.keyword, finding.found, finding.expected)
}

fn is_science(frame: &FrameMeta) -> bool {
    frame.dpr_catg == "SCIENCE"
}
