//! A product as a FITS file.

use std::path::Path;

use ndarray::Array2;

use super::header::{Provenance, product_header};
use super::read::to_fits;
use crate::fault::{Classified, FaultClass};
use crate::fits::{ColumnData, FitsError, Header, ImageHdu, PlaneData, write_images};
use crate::quality::QcMetric;
use crate::recipes::{CardValue, ProductCard, ProductImage, ProductMaps, ProductTable, RecipeOutput};
use crate::reduction::flags;

/// Why a product could not be written, or read back.
#[derive(Debug, thiserror::Error)]
pub enum ProductError {
    /// The FITS file could not be written.
    #[error("cannot write the product {name}")]
    Write {
        /// File name in the tree of products.
        name: String,
        /// Cause.
        #[source]
        source: Box<FitsError>,
    },
    /// The FITS file could not be read.
    #[error("cannot read the product {name}")]
    Read {
        /// File name in the tree of products.
        name: String,
        /// Cause.
        #[source]
        source: Box<FitsError>,
    },
    /// The file is not what its category promises.
    #[error("the product {name} is not usable as a calibration: {part} is missing or of another type")]
    Lacks {
        /// File name in the tree of products.
        name: String,
        /// Plane, table or column.
        part: String,
    },
}

impl Classified for ProductError {
    fn class(&self) -> FaultClass {
        match self {
            ProductError::Write { source, .. } | ProductError::Read { source, .. } => source.class(),
            ProductError::Lacks { .. } => FaultClass::Bug,
        }
    }
}

/// A product of any form.
#[derive(Clone, Copy, Debug)]
pub enum Product<'a> {
    /// Flux with variance and flags.
    Image(&'a ProductImage),
    /// Tables.
    Tables(&'a ProductTable),
    /// Planes that are not flux.
    Maps(&'a ProductMaps),
}

impl<'a> Product<'a> {
    /// All products of a recipe: images, then tables, then maps.
    pub fn all(output: &'a RecipeOutput) -> impl Iterator<Item = Product<'a>> {
        let images = output.products.iter().map(Product::Image);
        let tables = output.tables.iter().map(Product::Tables);
        images.chain(tables).chain(output.maps.iter().map(Product::Maps))
    }

    /// PRO CATG without the arm.
    pub fn catg(&self) -> &'a str {
        match self {
            Product::Image(product) => &product.catg,
            Product::Tables(product) => &product.catg,
            Product::Maps(product) => &product.catg,
        }
    }

    /// PRO TECH.
    pub fn tech(&self) -> &'a str {
        match self {
            Product::Image(product) => &product.tech,
            Product::Tables(product) => &product.tech,
            Product::Maps(product) => &product.tech,
        }
    }

    /// Number of frames combined.
    pub fn n_combined(&self) -> usize {
        match self {
            Product::Image(product) => product.n_combined,
            Product::Tables(product) => product.n_combined,
            Product::Maps(product) => product.n_combined,
        }
    }

    /// Text between the stem and `.fits`.
    pub fn suffix(&self) -> &'a str {
        match self {
            Product::Image(product) => &product.suffix,
            Product::Tables(product) => &product.suffix,
            Product::Maps(product) => &product.suffix,
        }
    }

    /// Recipe token that stands in the file name in the place of the set's own.
    pub fn token(&self) -> Option<&'a str> {
        match self {
            Product::Tables(product) => product.token.as_deref(),
            Product::Image(_) | Product::Maps(_) => None,
        }
    }
}

/// Write a product to a new file. `raw` is the header of the first raw frame; `name` is used in errors.
/// The same arguments give the same bytes.
pub fn write_product(
    path: &Path,
    name: &str,
    product: Product<'_>,
    arm: &str,
    raw: &Header,
    provenance: &Provenance,
    qc: &[QcMetric],
) -> Result<(), ProductError> {
    let header = product_header(raw, product, arm, provenance, qc);
    match product {
        Product::Image(product) => write_image(path, header, product),
        Product::Tables(product) => write_tables(path, header, product),
        Product::Maps(product) => write_maps(path, header, product),
    }
    .map_err(|source| ProductError::Write { name: name.to_string(), source: Box::new(source) })
}

fn unit(text: &str) -> Header {
    let mut header = Header::new();
    if !text.is_empty() {
        header.set("BUNIT", text, "");
    }
    header
}

/// Cards that a recipe gave its product.
pub(super) fn add_cards(header: &mut Header, cards: &[ProductCard]) {
    for card in cards {
        let (keyword, comment) = (card.keyword.as_str(), card.comment.as_str());
        match &card.value {
            CardValue::Text(value) => header.set(keyword, value.as_str(), comment),
            CardValue::Real(value) => header.set(keyword, *value, comment),
            CardValue::Integer(value) => header.set(keyword, *value, comment),
            CardValue::Logical(value) => header.set(keyword, *value, comment),
        }
    }
}

fn write_image(path: &Path, mut header: Header, product: &ProductImage) -> Result<(), FitsError> {
    let mut axes = Header::new();
    add_cards(&mut axes, &product.cards);
    add_cards(&mut header, &product.cards);
    let quality: Array2<u8> = product.flags.mapv(|bits| u8::from(bits != 0));
    let errors: Option<Array2<f32>> = product.variance.as_ref().map(|variance| variance.mapv(|v| v.max(0.0).sqrt()));
    let mut hdus = vec![
        ImageHdu { extname: Some("FLUX".to_string()), header, plane: PlaneData::F32(product.value.view()) },
        ImageHdu { extname: Some("QUAL".to_string()), header: axes.clone(), plane: PlaneData::U8(quality.view()) },
    ];
    if let Some(errors) = &errors {
        let mut header = unit(&product.unit);
        add_cards(&mut header, &product.cards);
        header.set("UTYPE", "StdDevUncertainty", "standard deviation of FLUX");
        hdus.push(ImageHdu { extname: Some("ERRS".to_string()), header, plane: PlaneData::F32(errors.view()) });
    }
    hdus.push(ImageHdu {
        extname: Some("FLAGS".to_string()),
        header: flags_header(axes),
        plane: PlaneData::I32(product.flags.view()),
    });
    write_images(path, &hdus)
}

fn write_tables(path: &Path, mut header: Header, product: &ProductTable) -> Result<(), FitsError> {
    add_cards(&mut header, &product.cards);
    let tables: Vec<(&str, Vec<ColumnData<'_>>)> =
        product.tables.iter().map(|table| (table.name.as_str(), table.columns.iter().map(to_fits).collect())).collect();
    let mut hdus = vec![ImageHdu { extname: None, header, plane: PlaneData::Empty }];
    for (name, columns) in &tables {
        let extname = Some(name.to_string()).filter(|name| !name.is_empty());
        hdus.push(ImageHdu { extname, header: Header::new(), plane: PlaneData::Table(columns) });
    }
    write_images(path, &hdus)
}

fn write_maps(path: &Path, mut header: Header, product: &ProductMaps) -> Result<(), FitsError> {
    let mut hdus = Vec::with_capacity(product.planes.len());
    for (number, plane) in product.planes.iter().enumerate() {
        let mut own = if number == 0 { std::mem::take(&mut header) } else { Header::new() };
        if !plane.unit.is_empty() {
            own.set("BUNIT", plane.unit.as_str(), "");
        }
        let plane =
            ImageHdu { extname: Some(plane.name.clone()), header: own, plane: PlaneData::F32(plane.values.view()) };
        hdus.push(plane);
    }
    write_images(path, &hdus)
}

/// The meaning of each bit, in the file that uses them.
fn flags_header(mut header: Header) -> Header {
    for (bit, name) in flags::NAMES {
        header.set(&format!("FLAG{bit}"), name, "meaning of this bit");
    }
    header
}
