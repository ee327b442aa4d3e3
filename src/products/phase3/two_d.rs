//! The rectified two-dimensional spectrum as a companion of the science file.

use std::path::Path;

use super::context::Context;
use super::error::Phase3Error;
use super::general::{general_header, write};
use crate::fits::{Header, ImageHdu, PlaneData};
use crate::products::write::add_cards;
use crate::recipes::ProductImage;
use crate::reduction::flags;

/// Write a rectified image to a new file: flux, errors and quality, each of which names the others. The cards of the image
/// say what its axes are (`CTYPE1`, ...); they stand in every plane.
pub fn write_two_d(path: &Path, name: &str, image: &ProductImage, context: &Context<'_>) -> Result<(), Phase3Error> {
    let observation = context.observation()?;
    let primary = general_header(&observation, context, "ANCILLARY.2DSPECTRUM", "SCI_SLIT_FLUX_MERGE2D");
    let errors = image.variance.as_ref().map(|variance| variance.mapv(|value| value.max(0.0).sqrt()));
    let standard = context.collection.standard.as_str();
    let plane = |class: &str, kind: &str, others: &[(&str, &str)]| {
        let mut header = Header::new();
        header.set("HDUCLASS", "ESO", "who defined the classes");
        header.set("HDUDOC", "SDP", "where");
        header.set("HDUVERS", standard, "in which edition");
        header.set("HDUCLAS1", "IMAGE", "");
        header.set("HDUCLAS2", class, "");
        if !kind.is_empty() {
            header.set("HDUCLAS3", kind, "");
        }
        for (keyword, other) in others.iter().filter(|(_, other)| errors.is_some() || *other != "ERRS") {
            header.set(keyword, *other, "HDU that goes with this one");
        }
        if class != "QUALITY" {
            header.set("BUNIT", image.unit.as_str(), "");
        }
        add_cards(&mut header, &image.cards);
        header
    };
    let mut hdus = vec![
        ImageHdu { extname: None, header: primary, plane: PlaneData::Empty },
        ImageHdu {
            extname: Some("FLUX".to_string()),
            header: plane("DATA", "", &[("ERRDATA", "ERRS"), ("QUALDATA", "QUAL")]),
            plane: PlaneData::F32(image.value.view()),
        },
    ];
    if let Some(errors) = &errors {
        hdus.push(ImageHdu {
            extname: Some("ERRS".to_string()),
            header: plane("ERROR", "RMSE", &[("SCIDATA", "FLUX"), ("QUALDATA", "QUAL")]),
            plane: PlaneData::F32(errors.view()),
        });
    }
    let mut quality = plane("QUALITY", "FLAG32BIT", &[("SCIDATA", "FLUX"), ("ERRDATA", "ERRS")]);
    for (bit, meaning) in flags::NAMES {
        quality.set(&format!("FLAG{bit}"), meaning, "meaning of this bit");
    }
    hdus.push(ImageHdu {
        extname: Some("QUAL".to_string()),
        header: quality,
        plane: PlaneData::I32(image.flags.view()),
    });
    write(path, name, &hdus)
}
