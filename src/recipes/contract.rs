//! What every recipe is given and gives back.

use ndarray::Array2;

use crate::fault::{Classified, FaultClass};
use crate::instrument::FrameMeta;
use crate::quality::QcMetric;
use crate::quality::page::Page;
use crate::reduction::spectrum::merged::MergedSpectrum;

use super::tables::Table;

/// A raw frame in memory.
#[derive(Clone, Debug)]
pub struct RawFrame {
    /// Its checked description.
    pub meta: FrameMeta,
    /// Raw image in ADU, rows x columns, as read out (not trimmed).
    pub adu: Array2<f32>,
}

/// A master calibration in memory, on the trimmed science area.
#[derive(Clone, Debug)]
pub struct MasterImage {
    /// PRO CATG without the arm: `MASTER_BIAS`.
    pub catg: String,
    /// Value, rows x columns.
    pub value: Array2<f32>,
    /// Variance in squared units of the value.
    pub variance: Array2<f32>,
    /// Quality bits, see [`crate::reduction::flags`].
    pub flags: Array2<i32>,
    /// Read noise in electrons that was measured when the master was made.
    pub ron: Option<f64>,
    /// Exposure time of the frames it was made of, s; `None` when its header does not say.
    pub exptime: Option<f64>,
}

/// A calibration table in memory: `DISP_TAB`, `ORDER_TAB`.
#[derive(Clone, Debug)]
pub struct MasterTable {
    /// PRO CATG without the arm.
    pub catg: String,
    /// PRO TECH: tells the table of a single pinhole from that of many.
    pub tech: String,
    /// File name, for messages.
    pub name: String,
    /// Tables, one per extension.
    pub tables: Vec<Table>,
}

/// A calibration of several planes that are not flux, in memory: `DISP_IMAGE`.
#[derive(Clone, Debug)]
pub struct MasterMaps {
    /// PRO CATG without the arm.
    pub catg: String,
    /// Planes of one shape, on the unbinned trimmed science area.
    pub planes: Vec<MapPlane>,
}

/// What a recipe is run on. Frames are sorted by exposure start.
#[derive(Clone, Debug, Default)]
pub struct RecipeInput {
    /// Raw frames of one set.
    pub frames: Vec<RawFrame>,
    /// Master calibrations chosen for it.
    pub masters: Vec<MasterImage>,
    /// Calibration tables chosen for it.
    pub tables: Vec<MasterTable>,
    /// Calibration maps chosen for it.
    pub maps: Vec<MasterMaps>,
}

/// The value of a header card.
#[derive(Clone, Debug, PartialEq)]
pub enum CardValue {
    /// Text.
    Text(String),
    /// Real number, finite.
    Real(f64),
    /// Integer.
    Integer(i64),
    /// True or false.
    Logical(bool),
}

/// A header card of one product, beyond those that every product has.
#[derive(Clone, Debug, PartialEq)]
pub struct ProductCard {
    /// Keyword.
    pub keyword: String,
    /// Value.
    pub value: CardValue,
    /// Comment.
    pub comment: String,
}

impl ProductCard {
    /// A card of a real number.
    pub fn real(keyword: &str, value: f64, comment: &str) -> ProductCard {
        ProductCard { keyword: keyword.to_string(), value: CardValue::Real(value), comment: comment.to_string() }
    }

    /// A card of text.
    pub fn text(keyword: &str, value: &str, comment: &str) -> ProductCard {
        let value = CardValue::Text(value.to_string());
        ProductCard { keyword: keyword.to_string(), value, comment: comment.to_string() }
    }

    /// A card of an integer.
    pub fn integer(keyword: &str, value: i64, comment: &str) -> ProductCard {
        ProductCard { keyword: keyword.to_string(), value: CardValue::Integer(value), comment: comment.to_string() }
    }
}

/// An image product: on the trimmed science area, or on the axes that its cards describe.
#[derive(Clone, Debug)]
pub struct ProductImage {
    /// PRO CATG without the arm: `MASTER_BIAS`, `BP_MAP`.
    pub catg: String,
    /// PRO TECH: `IMAGE`.
    pub tech: String,
    /// Text between the stem of the set's name and `.fits`, empty for the main product: `_BPMAP`.
    pub suffix: String,
    /// FITS unit of the value: `electron`, or empty.
    pub unit: String,
    /// Value, rows x columns.
    pub value: Array2<f32>,
    /// Variance, same shape; `None` for a map that has none.
    pub variance: Option<Array2<f32>>,
    /// Quality bits, same shape.
    pub flags: Array2<i32>,
    /// Number of frames combined.
    pub n_combined: usize,
    /// Cards of all planes: what the axes are.
    pub cards: Vec<ProductCard>,
}

impl ProductImage {
    /// A product of the whole exposed area, whose PRO TECH is `IMAGE`.
    pub fn new(
        catg: &str,
        suffix: &str,
        unit: &str,
        value: Array2<f32>,
        variance: Option<Array2<f32>>,
        flags: Array2<i32>,
        n_combined: usize,
    ) -> ProductImage {
        ProductImage {
            catg: catg.to_string(),
            tech: "IMAGE".to_string(),
            suffix: suffix.to_string(),
            unit: unit.to_string(),
            value,
            variance,
            flags,
            n_combined,
            cards: Vec::new(),
        }
    }
}

/// A product of one or more tables.
#[derive(Clone, Debug)]
pub struct ProductTable {
    /// PRO CATG without the arm: `DISP_TAB`.
    pub catg: String,
    /// PRO TECH: `ECHELLE,PINHOLE`.
    pub tech: String,
    /// Recipe token that replaces the set's own in the file name (`OLOC` for the order table of a master flat);
    /// `None` keeps the set's.
    pub token: Option<String>,
    /// Text between the stem of the set's name and `.fits`, empty for the main product: `_FITTED_LINES`.
    pub suffix: String,
    /// Tables in the order of their extensions.
    pub tables: Vec<Table>,
    /// Number of frames combined.
    pub n_combined: usize,
    /// Cards of the primary header.
    pub cards: Vec<ProductCard>,
}

impl ProductTable {
    /// A product under the token of its set.
    pub fn new(catg: &str, tech: &str, suffix: &str, tables: Vec<Table>, n_combined: usize) -> ProductTable {
        ProductTable {
            catg: catg.to_string(),
            tech: tech.to_string(),
            token: None,
            suffix: suffix.to_string(),
            tables,
            n_combined,
            cards: Vec::new(),
        }
    }
}

/// One plane of a map.
#[derive(Clone, Debug)]
pub struct MapPlane {
    /// EXTNAME: `WAVELENGTH`.
    pub name: String,
    /// FITS unit: `nm`.
    pub unit: String,
    /// Values, rows x columns; NaN where there is none.
    pub values: Array2<f32>,
}

/// A product of several planes that are not flux: wavelength, slit position and order of every pixel.
#[derive(Clone, Debug)]
pub struct ProductMaps {
    /// PRO CATG without the arm: `DISP_IMAGE`.
    pub catg: String,
    /// PRO TECH.
    pub tech: String,
    /// Text between the stem of the set's name and `.fits`: `_IMAGE`.
    pub suffix: String,
    /// Planes of one shape, the first in the primary HDU.
    pub planes: Vec<MapPlane>,
    /// Number of frames combined.
    pub n_combined: usize,
}

/// A frame that the recipe left out, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct RejectedFrame {
    /// Data id of the frame.
    pub data_id: String,
    /// Reason with numbers.
    pub reason: String,
}

/// How well the wavelengths of a spectrum are known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WavelengthErrors {
    /// Standard error from the lines of the arc, nm.
    pub random: f64,
    /// What may be left of a shift common to the whole arm after its correction by the lines of the sky, nm; `None` when it was
    /// not corrected, so that nobody knows.
    pub systematic: Option<f64>,
}

/// The merged spectrum of a source.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceSpectrum {
    /// Its number, from 1: the target.
    pub number: usize,
    /// Slit position, arcsec.
    pub slit: f64,
    /// The spectrum.
    pub merged: MergedSpectrum,
    /// How well its wavelengths are known; `None` when the map does not say.
    pub wavelengths: Option<WavelengthErrors>,
}

/// What a recipe gives back.
#[derive(Clone, Debug, Default)]
pub struct RecipeOutput {
    /// Images, the main one first.
    pub products: Vec<ProductImage>,
    /// Tables, the main one first.
    pub tables: Vec<ProductTable>,
    /// Maps.
    pub maps: Vec<ProductMaps>,
    /// Spectra from which science files are made, the target first; calibrated where there was a response.
    pub spectra: Vec<SourceSpectrum>,
    /// Metrics, measured or absent with a reason.
    pub qc: Vec<QcMetric>,
    /// Frames of the set that were not used.
    pub rejected: Vec<RejectedFrame>,
    /// Remarks for the job's log and for people.
    pub remarks: Vec<String>,
    /// Pictures for people, described; drawn later and elsewhere.
    pub pages: Vec<Page>,
}

impl RecipeOutput {
    /// Add all that a later step gave.
    pub fn append(&mut self, other: RecipeOutput) {
        self.products.extend(other.products);
        self.tables.extend(other.tables);
        self.maps.extend(other.maps);
        self.spectra.extend(other.spectra);
        self.qc.extend(other.qc);
        self.rejected.extend(other.rejected);
        self.remarks.extend(other.remarks);
        self.pages.extend(other.pages);
    }
}

/// Why a recipe gave nothing.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RecipeError {
    /// The set of frames does not fit together or does not fit the recipe.
    #[error("{recipe} cannot use this set: {reason}")]
    Input {
        /// Recipe.
        recipe: &'static str,
        /// What is wrong, with frame, keyword, value found, value expected and the remedy.
        reason: String,
    },
    /// The frames fit, but their content cannot be reduced.
    #[error("{recipe} found data that it cannot reduce: {reason}")]
    Unprocessable {
        /// Recipe.
        recipe: &'static str,
        /// Which frame, what was measured, what was expected.
        reason: String,
    },
    /// A parameter has a value that cannot be used.
    #[error("{recipe}: parameter {parameter} = {found}: {reason}")]
    Parameter {
        /// Recipe.
        recipe: &'static str,
        /// Name as in `config/recipes.toml`.
        parameter: String,
        /// Value found.
        found: String,
        /// What is allowed.
        reason: String,
    },
}

impl Classified for RecipeError {
    fn class(&self) -> FaultClass {
        match self {
            RecipeError::Input { .. } | RecipeError::Unprocessable { .. } => FaultClass::Unprocessable,
            RecipeError::Parameter { .. } => FaultClass::Config,
        }
    }
}

/// A recipe. Implementations are stateless; everything they need is in the arguments.
pub trait Recipe: Send + Sync {
    /// Short name: `mbias`.
    fn name(&self) -> &'static str;

    /// Version of the algorithm; a new one makes new products from the same inputs.
    fn version(&self) -> &'static str;

    /// Whether it looks at the pixels of its raw frames. One that does not is given frames without any.
    fn reads_frames(&self) -> bool {
        true
    }

    /// Check parameters at start, before any data: unknown names, wrong types and values out of range are errors.
    fn check_parameters(&self, parameters: &toml::Table) -> Result<(), RecipeError>;

    /// Check that the frames fit together and fit the recipe, from their descriptions alone.
    fn verify(&self, frames: &[FrameMeta], parameters: &toml::Table) -> Result<(), RecipeError>;

    /// Memory that a run on these frames needs at its peak, in bytes, inputs included.
    fn peak_bytes(&self, frames: &[FrameMeta]) -> u64;

    /// Reduce. Deterministic: the same input gives the same bytes on any number of threads.
    fn run(&self, input: RecipeInput, parameters: &toml::Table) -> Result<RecipeOutput, RecipeError>;
}
