//! The truth beside the raw frames, in a folder of its own, so that nothing takes it for data.
//!
//! ```text
//! night.json            the plan as resolved, seeds, detectors, what is missing on purpose; the plan's text
//! frames.csv            one line a frame: the most asked of the columns below
//! frames/<name>.json    everything that went into one frame
//! dispersion/<name>.csv where light of an order, a wavelength and a slit position falls, from this frame of its arm on
//!                       until the next that has such a table
//! lines/<name>.csv      lines of the lamps: place, electrons and width of each, through each hole
//! traces/<name>.csv     traces of the sources on the slit
//! spectra/<name>.fits   what an ideal extraction finds of the sky (SKY) and of each source (SOURCE0, ...), order by order
//! fields/<name>.csv     stars and galaxies in a picture of the acquisition camera
//! catalogue/*.rc2       the rows of the star catalogue around each pointing, as Refcat2 has them
//! detector_<ARM>.fits   response (exposed area), hot pixels in electrons per second and defects (raw image), unbinned
//! expected/<name>.fits  with --expected: electrons without noise (HDU 0, f32) and pixels hit by cosmic rays (HDU 1, u8)
//! ```
//!
//! Units: electrons, seconds, degrees, arcsec on the slit, millimetres of water, magnitudes AB. Pixels of raw images are
//! counted from 0 at the first of the file, row before column. `cosmics` are runs `[row, first column, length]`. `faults`
//! are written as in plans; a frame without any has an empty list. `start` is the true start, `date_obs` that of the header.
//!
//! Tables that hold for many frames (`tables`) lie beside `frames.csv`. What never lives here: what a pipeline makes of
//! the frames.

mod record;
pub mod tables;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ndarray::Array2;
use serde_json::{Value, json};

use super::detector::Camera;
use super::exposure::Exposure;
use super::plan::{Plan, Target};
use super::{SimError, SimFrame};
use tables::{FrameTables, SpectrumTable};

use crate::fits::{Header, ImageHdu, PlaneData, write_images};

pub use record::runs;

/// Version of the format described above.
pub const FORMAT: u32 = 1;

/// A folder with truth.
#[derive(Clone, Debug)]
pub struct TruthFolder {
    root: PathBuf,
}

impl TruthFolder {
    /// Make the folder and what is in it; one that exists is used.
    pub fn create(root: &Path, expected: bool) -> Result<TruthFolder, SimError> {
        let folder = TruthFolder { root: root.to_path_buf() };
        for part in ["frames"].into_iter().chain(expected.then_some("expected")) {
            let path = root.join(part);
            std::fs::create_dir_all(&path).map_err(|source| SimError::File {
                operation: "cannot make",
                path,
                source,
            })?;
        }
        Ok(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Write `night.json`.
    pub fn night(&self, plan: &Plan, exposures: &[Exposure]) -> Result<(), SimError> {
        let mut targets: BTreeMap<&str, &Target> = BTreeMap::new();
        for target in plan.night.templates.iter().filter_map(|template| template.target.as_deref()) {
            targets.insert(&target.name, target);
        }
        let mut cameras: Vec<&Camera> = Vec::new();
        for exposure in exposures {
            if !cameras.contains(&&exposure.camera) {
                cameras.push(&exposure.camera);
            }
        }
        let detectors: Vec<Value> = cameras.into_iter().map(record::camera).collect();
        let missing = (!plan.lacks.is_empty()).then(|| json!({ "missing-calibrations": plan.lacks }));
        self.json(
            "night.json",
            &json!({
                "format": FORMAT,
                "version": env!("CARGO_PKG_VERSION"),
                "title": plan.title,
                "plan": plan.name,
                "frames": exposures.len(),
                "faults": missing.into_iter().collect::<Vec<Value>>(),
                "night": plan.night,
                "targets": targets.into_values().collect::<Vec<_>>(),
                "detectors": detectors,
                "text": plan.text,
            }),
        )
    }

    /// Write what went into one frame. `bytes` is the length of its file when it is finished.
    pub fn frame(&self, exposure: &Exposure, frame: &SimFrame, bytes: usize) -> Result<(), SimError> {
        let stem = stem(&exposure.name);
        self.json(&format!("frames/{stem}.json"), &record::frame(exposure, frame, bytes))
    }

    /// Write the tables of one frame; those that it does not have are not written.
    pub fn tables(&self, name: &str, tables: &FrameTables) -> Result<(), SimError> {
        let stem = stem(name);
        self.part("dispersion", stem, &tables.dispersion)?;
        self.part("lines", stem, &tables.lines)?;
        self.part("traces", stem, &tables.traces)?;
        if let Some(field) = &tables.field {
            self.text(&format!("fields/{stem}.csv"), &field.csv())?;
            self.json(&format!("fields/{stem}.json"), &serde_json::to_value(field).unwrap_or_default())?;
        }
        for (file, rows) in &tables.catalogue {
            self.text(&format!("catalogue/{file}"), &(rows.join("\n") + "\n"))?;
        }
        if tables.spectra.is_empty() {
            return Ok(());
        }
        let columns: Vec<_> = tables.spectra.iter().map(SpectrumTable::columns).collect();
        let mut hdus = vec![ImageHdu { extname: None, header: Header::new(), plane: PlaneData::Empty }];
        for (table, columns) in tables.spectra.iter().zip(&columns) {
            let extname = Some(table.name.clone());
            hdus.push(ImageHdu { extname, header: Header::new(), plane: PlaneData::Table(columns) });
        }
        let path = self.fresh(&format!("spectra/{stem}.fits"))?;
        Ok(write_images(&path, &hdus)?)
    }

    /// A table of one frame as CSV, if it has rows.
    fn part<R: tables::Row + Clone>(&self, folder: &str, stem: &str, rows: &[R]) -> Result<(), SimError> {
        if rows.is_empty() {
            return Ok(());
        }
        self.text(&format!("{folder}/{stem}.csv"), &tables::csv(rows.iter().cloned()))
    }

    /// A path below the folder at which nothing stands, in a folder that is there.
    fn fresh(&self, name: &str) -> Result<PathBuf, SimError> {
        let path = self.root.join(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|source| SimError::File {
                operation: "cannot make",
                path: folder.to_path_buf(),
                source,
            })?;
        }
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(SimError::File { operation: "cannot replace", path, source })
            }
            _ => Ok(path),
        }
    }

    /// Write the electrons without noise and the mask of cosmic rays of one frame, replacing what is there.
    pub fn expected(&self, frame: &SimFrame) -> Result<(), SimError> {
        let path = self.fresh(&format!("expected/{}", frame.name))?;
        let mut mask = Array2::<u8>::zeros(frame.truth.expected.dim());
        for at in &frame.truth.cosmics {
            if let Some(pixel) = mask.get_mut(*at) {
                *pixel = 1;
            }
        }
        let mut header = Header::new();
        header.set("BUNIT", "electron", "");
        let planes = [
            ImageHdu {
                extname: Some("EXPECTED".to_string()),
                header,
                plane: PlaneData::F32(frame.truth.expected.view()),
            },
            ImageHdu { extname: Some("COSMICS".to_string()), header: Header::new(), plane: PlaneData::U8(mask.view()) },
        ];
        Ok(write_images(&path, &planes)?)
    }

    /// Write `frames.csv` from what has been written of each frame; frames that were not drawn are not in it.
    pub fn finish(&self, exposures: &[Exposure]) -> Result<(), SimError> {
        let mut text = record::CSV_HEAD.to_string();
        for exposure in exposures {
            let path = self.root.join("frames").join(format!("{}.json", stem(&exposure.name)));
            match std::fs::read(&path) {
                Ok(bytes) => {
                    let value: Value = serde_json::from_slice(&bytes).map_err(|error| SimError::File {
                        operation: "cannot understand",
                        path,
                        source: error.into(),
                    })?;
                    text.push_str(&record::csv_line(&value));
                }
                Err(source) if source.kind() == std::io::ErrorKind::NotFound => {}
                Err(source) => return Err(SimError::File { operation: "cannot read", path, source }),
            }
        }
        self.text("frames.csv", &text)
    }

    /// Write images that hold for many frames (maps of a detector) under the names of their extensions, behind an empty
    /// primary HDU, replacing what is there.
    pub fn maps(&self, name: &str, maps: &[(&str, PlaneData<'_>)]) -> Result<(), SimError> {
        let primary = ImageHdu { extname: None, header: Header::new(), plane: PlaneData::Empty };
        let planes = maps.iter().map(|(extname, plane)| ImageHdu {
            extname: Some(extname.to_string()),
            header: Header::new(),
            plane: *plane,
        });
        Ok(write_images(&self.fresh(name)?, &[primary].into_iter().chain(planes).collect::<Vec<_>>())?)
    }

    fn json(&self, name: &str, value: &Value) -> Result<(), SimError> {
        // A value of strings, numbers and lists always has a text.
        let text = serde_json::to_string_pretty(value).unwrap_or_default();
        self.text(name, &(text + "\n"))
    }

    fn text(&self, name: &str, text: &str) -> Result<(), SimError> {
        let path = self.fresh(name)?;
        std::fs::write(&path, text).map_err(|source| SimError::File { operation: "cannot write", path, source })
    }
}

/// A file name without its ending.
fn stem(name: &str) -> &str {
    name.strip_suffix(".fits").unwrap_or(name)
}
