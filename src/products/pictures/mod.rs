//! Pages drawn: one scene in SVG, from which PNG and PDF are made, so that all three show the same.
//!
//! What lives here: the layout of a page, axes and ticks, colours, the embedded font. What never lives here: what a page
//! shows (`quality::page` and the recipes). Nothing depends on the machine: no fonts of the system, no clock, no network;
//! the same page gives the same bytes.
//!
//! Lengths are in points of print, 72 an inch; a page is a sheet of A4 on its side. Text stays text in the PDF.

mod axis;
mod colour;
mod layer;
mod panel;
mod raster;
mod sheet;
mod svg;
#[cfg(test)]
mod tests;
mod text;

pub use raster::{PictureError, encode};

use crate::quality::page::Page;

/// A page in the three forms in which it is used.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// The scene, for a browser that has the font Open Sans.
    pub svg: String,
    /// As an image, [`raster::ZOOM`] pixels a point.
    pub png: Vec<u8>,
    /// As a document with vectors and searchable text.
    pub pdf: Vec<u8>,
}

/// Draw a page.
pub fn draw(page: &Page) -> Result<Picture, PictureError> {
    let svg = sheet::scene(page);
    let (png, pdf) = raster::render(&svg, &page.title)?;
    Ok(Picture { svg, png, pdf })
}
