//! The file under judgement, and the files that are sent with it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::cells::{Cell, cells};
use crate::fits::{Anatomy, Header, Part, Value};

/// Rules that a companion which is not FITS is held to: those of its name.
pub const COMPANION_RULES: [&str; 2] = ["F01", "F03"];

/// How a rule is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// HDU, if it is one.
    pub hdu: Option<usize>,
    /// Keyword, or several.
    pub keyword: String,
    /// What stands there.
    pub found: String,
}

impl Breach {
    /// In an HDU.
    pub fn at(hdu: usize, keyword: &str, found: impl ToString) -> Breach {
        Breach { hdu: Some(hdu), keyword: keyword.to_string(), found: found.to_string() }
    }

    /// Of the file as a whole.
    pub fn file(found: impl ToString) -> Breach {
        Breach { hdu: None, keyword: String::new(), found: found.to_string() }
    }
}

/// The files that are checked together: what must differ between them.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    names: BTreeMap<String, Vec<PathBuf>>,
    titles: BTreeMap<String, Vec<PathBuf>>,
}

impl Batch {
    /// Of these files. Those that cannot be read have no title; their own check says why.
    pub fn of(paths: &[PathBuf]) -> Batch {
        let mut batch = Batch::default();
        for path in paths {
            add(&mut batch.names, name_of(path), path);
            if !is_fits_name(&name_of(path)) || paths.len() < 2 {
                continue;
            }
            let Ok(anatomy) = Anatomy::of(path) else { continue };
            for part in anatomy.parts.get(1..).unwrap_or_default() {
                if let Ok(title) = part.header.text("TITLE") {
                    add(&mut batch.titles, title.to_string(), path);
                }
            }
        }
        batch
    }

    /// The file of this name, in the batch or in a folder.
    pub fn find(&self, name: &str, folder: &Path) -> Option<PathBuf> {
        let given = self.names.get(name).and_then(|paths| paths.first()).cloned();
        given.or_else(|| Some(folder.join(name)).filter(|path| path.is_file()))
    }

    /// Another file of this name.
    pub fn namesake(&self, name: &str, path: &Path) -> Option<&PathBuf> {
        self.names.get(name)?.iter().find(|other| *other != path)
    }

    /// Another file of this title.
    pub fn same_title(&self, title: &str, path: &Path) -> Option<&PathBuf> {
        self.titles.get(title)?.iter().find(|other| *other != path)
    }
}

/// The same file given twice is one file.
fn add(map: &mut BTreeMap<String, Vec<PathBuf>>, key: String, path: &Path) {
    let files = map.entry(key).or_default();
    let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    if !files.iter().any(|other| real(other) == real(path)) {
        files.push(path.to_path_buf());
    }
}

/// File name of a path.
pub fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Does a file of this name say that it is FITS?
pub fn is_fits_name(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    [".fits", ".fits.fz", ".fits.gz", ".fits.z", ".fit", ".fts"].iter().any(|suffix| lower.ends_with(suffix))
}

/// A file, with what rules ask of it.
pub struct Subject<'a> {
    /// File name.
    pub name: String,
    /// Its parts.
    pub anatomy: &'a Anatomy,
    /// PRODCATG; empty when there is none.
    pub category: String,
    /// Columns of the single row of HDU 1, or why they cannot be read.
    pub cells: Result<Vec<Cell>, String>,
    /// Files that are sent along.
    pub batch: &'a Batch,
    /// Time of the check.
    pub now_mjd: f64,
}

impl<'a> Subject<'a> {
    /// Read what there is to read.
    pub fn new(anatomy: &'a Anatomy, batch: &'a Batch, now_mjd: f64) -> Subject<'a> {
        let mut subject = Subject {
            name: name_of(&anatomy.path),
            anatomy,
            category: String::new(),
            cells: Err("there is no table in HDU 1".to_string()),
            batch,
            now_mjd,
        };
        subject.category = subject.claim().unwrap_or_default().to_string();
        if subject.category == "SCIENCE.SPECTRUM"
            && let Some(part) = anatomy.parts.get(1)
        {
            subject.cells = cells(anatomy, part);
        }
        subject
    }

    /// What the file claims to be.
    pub fn claim(&self) -> Option<&str> {
        match self.value(0, "PRODCATG") {
            Some(Value::Text(text)) => Some(text),
            // A claim that is no text is still one.
            Some(_) => Some(""),
            None => None,
        }
    }

    /// Every HDU.
    pub fn parts(&self) -> &'a [Part] {
        &self.anatomy.parts
    }

    /// Header of an HDU.
    pub fn header(&self, hdu: usize) -> Option<&'a Header> {
        self.anatomy.parts.get(hdu).map(|part| &part.header)
    }

    /// A value.
    pub fn value(&self, hdu: usize, keyword: &str) -> Option<&'a Value> {
        self.header(hdu)?.get(keyword)
    }

    /// A number.
    pub fn real(&self, hdu: usize, keyword: &str) -> Option<f64> {
        self.header(hdu)?.real(keyword).ok()
    }

    /// A string.
    pub fn text(&self, hdu: usize, keyword: &str) -> Option<&'a str> {
        self.header(hdu)?.text(keyword).ok()
    }

    /// T or F.
    pub fn logical(&self, hdu: usize, keyword: &str) -> Option<bool> {
        self.header(hdu)?.logical(keyword).ok()
    }

    /// Numbers that follow a prefix in the keywords of a header: `PROV1`, `PROV02` give `1`, `02`.
    pub fn numbers(&self, hdu: usize, prefix: &str) -> Vec<(String, &'a Value)> {
        let Some(header) = self.header(hdu) else { return Vec::new() };
        let number = |keyword: &str| {
            let number = keyword.strip_prefix(prefix)?;
            let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| number.to_string())
        };
        let cards = header.cards().iter();
        cards.filter_map(|card| Some((number(&card.keyword)?, card.value.as_ref()?))).collect()
    }

    /// HDUs with an image.
    pub fn images(&self) -> Vec<usize> {
        let is_image = |hdu: &usize| {
            let table = self.text(*hdu, "XTENSION").is_some_and(|kind| kind != "IMAGE");
            let packed = self.logical(*hdu, "ZIMAGE") == Some(true);
            self.parts().get(*hdu).is_some_and(|part| part.data_bytes > 0) && (!table || packed)
        };
        (0..self.parts().len()).filter(is_image).collect()
    }

    /// The HDU with the science image: the one that says so, else the first image, else where it should have been.
    pub fn data_hdu(&self) -> Option<usize> {
        let images = self.images();
        let said = images.iter().find(|hdu| self.text(**hdu, "HDUCLAS2") == Some("DATA"));
        said.or(images.first()).copied().or((!self.parts().is_empty()).then_some(0))
    }

    /// Has the file its image in an extension, with companions beside it?
    pub fn is_multi_extension(&self) -> bool {
        self.parts().first().is_some_and(|primary| primary.data_bytes == 0) && !self.images().is_empty()
    }

    /// A column by its number, from 1.
    pub fn column(&self, number: usize) -> Option<&Cell> {
        self.cells.as_ref().ok()?.get(number.checked_sub(1)?)
    }

    /// Values of the spectral axis, nm per unit of it, and its widest step in that unit; when it can be read.
    pub fn axis(&self) -> Option<(&[f64], f64, f64)> {
        let values = self.column(1)?.values.as_slice();
        let nm = match self.text(1, "TUNIT1")? {
            "nm" => 1.0,
            "um" => 1000.0,
            "Angstrom" | "angstrom" => 0.1,
            _ => return None,
        };
        let widest = values.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f64::max);
        (values.len() > 1).then_some((values, nm, widest))
    }
}
