//! The Phase 3 files of an attempt: written beside each other under the names that the archive will know, and held against
//! the standard before anybody is offered one.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::attempt::{AttemptError, Order, Reduced, used};
use crate::catalogue::products::Claim;
use crate::fault::chain;
use crate::instrument::FrameMeta;
use crate::products::phase3::{
    Collection, Companion, Context, Finding, Kind, Phase3Error, Validator, write_paper, write_spectrum, write_two_d,
};
use crate::quality::QcMetric;
use crate::recipes::{CardValue, ProductImage};

/// MJD of 1970-01-01.
const MJD_OF_UNIX_EPOCH: f64 = 40_587.0;
const DAY_US: f64 = 86_400e6;

/// A file that was written.
pub struct ScienceFile {
    /// Where it lies.
    pub path: PathBuf,
    /// Its name in the tree of products.
    pub tree_name: String,
    /// PRO CATG without the arm.
    pub catg: &'static str,
    /// What it claims; `None` for a file that is not for Phase 3.
    pub claim: Option<Claim>,
}

/// Write the science files of an attempt into a folder, companions first: an archive that has the science file has them
/// too. None for calibrations, standards among them, and for spectra that no science file can be made of; the log says why.
pub fn write_files(order: &Order, reduced: &Reduced, folder: &Path) -> Result<Vec<ScienceFile>, AttemptError> {
    let frames: Vec<FrameMeta> = used(order, &reduced.output).map(|frame| frame.meta.clone()).collect();
    let (Some(spectrum), true) = (reduced.output.spectra.first(), frames.iter().all(is_science)) else {
        return Ok(Vec::new());
    };
    let collection = Collection::built_in()?;
    let qc: Vec<QcMetric> = reduced.qc.iter().map(|judged| judged.metric.clone()).collect();
    let mut context = Context {
        frames: &frames,
        header: &order.header,
        provenance: &reduced.provenance,
        qc: &qc,
        companions: &[],
        wavelengths: None,
        revision: order.revision,
        collection: &collection,
    };
    let observation = match context.observation() {
        Ok(observation) => observation,
        Err(reason) => {
            tracing::warn!(reason = chain(&reason), "no science file");
            return Ok(Vec::new());
        }
    };
    let name = |kind: Kind| observation.file_name(kind);
    let file = |kind: Kind, catg: &'static str, prodcatg: &str| ScienceFile {
        path: folder.join(name(kind)),
        tree_name: observation.tree_name(kind),
        catg,
        claim: (!prodcatg.is_empty()).then(|| Claim {
            prodcatg: prodcatg.to_string(),
            archive_name: name(kind),
            findings: Vec::new(),
        }),
    };
    let mut files = Vec::new();
    let mut companions = Vec::new();
    if let Some(image) = reduced.output.products.iter().find(|image| is_rectified(image)) {
        let two_d = file(Kind::TwoD, "SCI_SLIT_FLUX_MERGE2D", "ANCILLARY.2DSPECTRUM");
        write_two_d(&two_d.path, &name(Kind::TwoD), image, &context)?;
        companions.push(Companion { name: name(Kind::TwoD), foreign: None });
        files.push(two_d);
    }
    context.companions = &companions;
    let science = file(Kind::Spectrum, "SCI_SLIT_FLUX_IDP", "SCIENCE.SPECTRUM");
    match write_spectrum(&science.path, &name(Kind::Spectrum), spectrum, &context) {
        Ok(()) => files.push(science),
        Err(reason @ Phase3Error::Spectrum { .. }) => {
            tracing::warn!(reason = chain(&reason), "no science file");
            return Ok(Vec::new());
        }
        Err(error) => return Err(error.into()),
    }
    validate(&mut files, order.ordered)?;
    let paper = file(Kind::Paper, "SCI_SLIT_FLUX_SPEC", "");
    write_paper(&paper.path, &name(Kind::Paper), spectrum, &context)?;
    files.push(paper);
    Ok(files)
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

/// An image whose first axis is a wavelength.
fn is_rectified(image: &ProductImage) -> bool {
    image.cards.iter().any(|card| {
        card.keyword == "CTYPE1"
            && matches!(&card.value, CardValue::Text(axis) if ["AWAV", "WAVE"].contains(&axis.as_str()))
    })
}
