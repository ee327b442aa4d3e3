//! The scene as PNG and as PDF, by the libraries that read SVG.

use std::sync::{Arc, LazyLock};

use krilla::Document;
use krilla::geom::Size;
use krilla::metadata::Metadata;
use krilla::page::PageSettings;
use krilla_svg::{SurfaceExt, SvgSettings};
use resvg::tiny_skia::{Pixmap, PremultipliedColorU8, Transform};
use resvg::usvg::{self, fontdb};

use super::colour;
use crate::fault::{Classified, FaultClass};
use crate::quality::page::Thumbnail;

/// Why a page could not be drawn: a mistake of this program, the data of a page cannot cause it.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// The scene is not the SVG that the libraries read.
    #[error("the scene of a page cannot be read: {0}")]
    Scene(String),
    /// The image could not be made.
    #[error("the image of a page cannot be made: {0}")]
    Image(String),
    /// The document could not be made.
    #[error("the document of a page cannot be made: {0}")]
    Document(String),
}

impl Classified for PictureError {
    fn class(&self) -> FaultClass {
        FaultClass::Bug
    }
}

/// Pixels of the PNG a point of print.
pub const ZOOM: f32 = 2.0;

/// The two embedded fonts and no others.
static FONTS: LazyLock<Arc<fontdb::Database>> = LazyLock::new(|| {
    let mut fonts = fontdb::Database::new();
    for bytes in [&include_bytes!("font/OpenSans-Regular.ttf")[..], &include_bytes!("font/OpenSans-Semibold.ttf")[..]] {
        fonts.load_font_data(bytes.to_vec());
    }
    Arc::new(fonts)
});

/// PNG and PDF of a scene.
pub fn render(svg: &str, title: &str) -> Result<(Vec<u8>, Vec<u8>), PictureError> {
    let options = usvg::Options {
        fontdb: FONTS.clone(),
        font_family: super::svg::REGULAR.to_string(),
        ..usvg::Options::default()
    };
    let tree = usvg::Tree::from_str(svg, &options).map_err(|error| PictureError::Scene(error.to_string()))?;
    let (png, pdf) = rayon::join(|| png(&tree), || pdf(&tree, title));
    Ok((png?, pdf?))
}

fn png(tree: &usvg::Tree) -> Result<Vec<u8>, PictureError> {
    let size = tree.size();
    let [width, height] = [size.width(), size.height()].map(|side| (side * ZOOM).round() as u32);
    let mut pixels =
        Pixmap::new(width, height).ok_or_else(|| PictureError::Image(format!("{width} x {height} pixels")))?;
    resvg::render(tree, Transform::from_scale(ZOOM, ZOOM), &mut pixels.as_mut());
    pixels.encode_png().map_err(|error| PictureError::Image(error.to_string()))
}

fn pdf(tree: &usvg::Tree, title: &str) -> Result<Vec<u8>, PictureError> {
    let wrong = |what: &str| PictureError::Document(what.to_string());
    let (width, height) = (tree.size().width(), tree.size().height());
    let size = Size::from_wh(width, height).ok_or_else(|| wrong("a page without a size"))?;
    let settings = PageSettings::from_wh(width, height).ok_or_else(|| wrong("a page without a size"))?;
    let mut document = Document::new();
    document.set_metadata(Metadata::new().title(title.to_string()).creator("soxsd".to_string()));
    let mut page = document.start_page_with(settings);
    let mut surface = page.surface();
    let drawn = surface.draw_svg(tree, size, SvgSettings::default());
    surface.finish();
    page.finish();
    drawn.ok_or_else(|| wrong("a part of the scene has no counterpart"))?;
    document.finish().map_err(|error| wrong(&format!("{error:?}")))
}

/// A thumbnail as a PNG file, its top row first. `None` when it has no pixels.
pub fn encode(thumbnail: &Thumbnail) -> Option<Vec<u8>> {
    let mut pixels = Pixmap::new(u32::try_from(thumbnail.width).ok()?, u32::try_from(thumbnail.height).ok()?)?;
    let colours: Vec<PremultipliedColorU8> = (0..=u8::MAX)
        .filter_map(|level| {
            let [r, g, b] = colour::at(thumbnail.palette, f64::from(level) / 254.0);
            let [r, g, b] = if level == u8::MAX { [224, 226, 229] } else { [r, g, b] };
            PremultipliedColorU8::from_rgba(r, g, b, u8::MAX)
        })
        .collect();
    let rows = thumbnail.levels.chunks_exact(thumbnail.width).rev().flatten();
    for (pixel, level) in pixels.pixels_mut().iter_mut().zip(rows) {
        *pixel = colours.get(usize::from(*level)).copied()?;
    }
    pixels.encode_png().ok()
}
