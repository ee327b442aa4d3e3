//! What the primary headers of science and ancillary files have in common, and how files are written.

use std::path::Path;

use super::context::{Context, Observation};
use super::error::Phase3Error;
use crate::fits::{Header, ImageHdu, write_images};
use crate::products::header::{add_provenance, add_qc, is_inherited};

/// Families of the raw header that are true of the whole observation.
const INHERITED: [&str; 3] = ["ESO OBS ", "ESO TPL ID", "ESO TEL GEO"];

/// The general keywords of an observation, for a file of a category (PRODCATG); `catg` is its PRO CATG without the arm.
pub fn general_header(observation: &Observation, context: &Context<'_>, category: &str, catg: &str) -> Header {
    let mut header = Header::new();
    header.set("PRODCATG", category, "category of the product");
    for keyword in ["ORIGIN", "TELESCOP", "INSTRUME"] {
        if let Ok(text) = context.header.text(keyword) {
            header.set(keyword, text, "");
        }
    }
    let provenance = context.provenance;
    let date = provenance.date.strftime("%Y-%m-%dT%H:%M:%S%.3f").to_string();
    header.set("DATE", date, "when the reduction was ordered, UTC");
    header.set("OBJECT", observation.object.as_str(), "target");
    let [ra, dec] = observation.position;
    let of = if observation.is_pointing { "of the pointing" } else { "of the target" };
    header.set("RA", ra, &format!("[deg] {of}, J2000"));
    header.set("DEC", dec, &format!("[deg] {of}, J2000"));
    header.set("RADESYS", observation.frame, "frame of positions");
    header.set("EQUINOX", 2000.0, "");
    header.set("TIMESYS", "UTC", "");
    header.set("EXPTIME", observation.exptime, "[s] on the target, of one spectral element");
    header.set("TEXPTIME", observation.total, "[s] of all exposures on the target");
    header.set("MJD-OBS", observation.begin, "[d] begin of the first exposure");
    header.set("MJD-END", observation.end, "[d] end of the last exposure");
    header.set("DATE-OBS", observation.date_obs_text(), "begin of the first exposure");
    match observation.programmes.as_slice() {
        [] => {}
        [one] => header.set("PROG_ID", one.as_str(), "ESO programme"),
        several => {
            header.set("PROG_ID", "MULTI", "several ESO programmes");
            for (number, id) in (1..).zip(several) {
                header.set(&format!("PROGID{number}"), id.as_str(), "");
            }
        }
    }
    for (number, block) in (1..).zip(&observation.blocks) {
        header.set(&format!("OBID{number}"), *block, "observation block");
    }
    header.set("NCOMBINE", observation.precursors.len() as i64, "raw exposures of the target combined");
    header.set("OBSTECH", observation.technique, "technique of observation");
    header.set("PROCSOFT", provenance.software.as_str(), "software that made this file");
    header.set("REFERENC", "", "publication");
    let suffix = if context.collection.provenance_suffix { ".fits" } else { "" };
    for (number, id) in (1..).zip(&observation.precursors) {
        header.set(&format!("PROV{number}"), format!("{id}{suffix}"), "made of");
    }
    let inherited = context
        .header
        .cards()
        .iter()
        .filter(|card| INHERITED.iter().any(|family| card.keyword.starts_with(family)) && is_inherited(card));
    for card in inherited {
        header.replace(card.clone());
    }
    header.set("ESO PRO CATG", format!("{catg}_{}", observation.arms.as_str()), "category of product");
    add_provenance(&mut header, provenance);
    add_qc(&mut header, context.qc);
    header
}

/// Write the HDUs to a new file.
pub fn write(path: &Path, name: &str, hdus: &[ImageHdu<'_>]) -> Result<(), Phase3Error> {
    write_images(path, hdus).map_err(|source| Phase3Error::Write { name: name.to_string(), source: Box::new(source) })
}
