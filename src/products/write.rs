//! An image product as a FITS file.

use std::path::Path;

use ndarray::Array2;

use super::header::{Provenance, product_header};
use crate::fault::{Classified, FaultClass};
use crate::fits::{FitsError, Header, ImageHdu, PlaneData, write_images};
use crate::quality::QcMetric;
use crate::recipes::ProductImage;
use crate::reduction::flags;

/// Why a product could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ProductError {
    /// The FITS file could not be written.
    #[error("cannot write the product {name}")]
    Write {
        /// File name in the tree of products.
        name: String,
        /// Cause.
        #[source]
        source: FitsError,
    },
}

impl Classified for ProductError {
    fn class(&self) -> FaultClass {
        let ProductError::Write { source, .. } = self;
        source.class()
    }
}

/// Write a product to a new file. `raw` is the header of the first raw frame; `name` is used in errors.
/// The same arguments give the same bytes.
pub fn write_product(
    path: &Path,
    name: &str,
    product: &ProductImage,
    arm: &str,
    raw: &Header,
    provenance: &Provenance,
    qc: &[QcMetric],
) -> Result<(), ProductError> {
    let quality: Array2<u8> = product.flags.mapv(|bits| u8::from(bits != 0));
    let errors: Option<Array2<f32>> = product.variance.as_ref().map(|variance| variance.mapv(|v| v.max(0.0).sqrt()));
    let unit = |text: &str| {
        let mut header = Header::new();
        if !text.is_empty() {
            header.set("BUNIT", text, "");
        }
        header
    };
    let mut hdus = vec![
        ImageHdu {
            extname: Some("FLUX".to_string()),
            header: product_header(raw, product, arm, provenance, qc),
            plane: PlaneData::F32(product.value.view()),
        },
        ImageHdu { extname: Some("QUAL".to_string()), header: Header::new(), plane: PlaneData::U8(quality.view()) },
    ];
    if let Some(errors) = &errors {
        let mut header = unit(&product.unit);
        header.set("UTYPE", "StdDevUncertainty", "standard deviation of FLUX");
        hdus.push(ImageHdu { extname: Some("ERRS".to_string()), header, plane: PlaneData::F32(errors.view()) });
    }
    hdus.push(ImageHdu {
        extname: Some("FLAGS".to_string()),
        header: flags_header(),
        plane: PlaneData::I32(product.flags.view()),
    });
    write_images(path, &hdus).map_err(|source| ProductError::Write { name: name.to_string(), source })
}

/// The meaning of each bit, in the file that uses them.
fn flags_header() -> Header {
    let mut header = Header::new();
    for (bit, name) in flags::NAMES {
        header.set(&format!("FLAG{bit}"), name, "meaning of this bit");
    }
    header
}
