//! What is in the files: headers, previews of images and spectra, pictures of the recipes, and the files themselves.
//!
//! A file is only ever named by the row of the catalogue that knows it. Reading is bounded: two files at a time, images up
//! to a size, and what was read is kept for a while in a cache of limited size.

mod cache;
mod views;

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use axum::extract::Path;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ndarray::Array2;

use super::App;
use super::error::{ApiError, ErrorBody};
use crate::fault::{Classified, FaultClass, chain};
use crate::fits::{self, Contents, FitsError, ReadLimits};
use crate::products::preview::{self, Palette, Region, Spectrum};

pub(super) use cache::Cache;
use cache::{Held, Key};
pub(super) use views::*;

/// Files that are read at the same time.
pub(super) const READERS: usize = 2;
/// Longest side of an image that is shown, pixels.
const LONGEST: u64 = 65_536;
/// Most pixels of an image that is shown.
const MOST_PIXELS: usize = 32 << 20;
/// Longest and default side of a preview, pixels.
const MOST_SIDE: usize = 2048;
const SIDE: usize = 1024;
/// Most and default intervals of a spectrum.
const MOST_INTERVALS: usize = 8192;
const INTERVALS: usize = 1000;

/// A file that the catalogue knows.
struct Source {
    path: PathBuf,
    name: String,
    /// Tells contents apart: digest, or size and time.
    version: String,
}

impl Source {
    async fn product(app: &App, id: i64) -> Result<Source, ApiError> {
        let row = app.within(app.reader.product_row(id)).await?.ok_or_else(|| no_row("product", id))?;
        Ok(Source { path: app.site.workspace.stored(&row.sha256), name: row.name, version: row.sha256 })
    }

    async fn frame(app: &App, id: i64) -> Result<Source, ApiError> {
        let row = app.within(app.reader.raw_file(id)).await?.ok_or_else(|| no_row("frame", id))?;
        let version = format!("{} {} {}", row.path, row.size, row.mtime_us);
        Ok(Source { path: PathBuf::from(row.path), name: row.name, version })
    }

    /// The file must be there, and be a file: a pipe would keep its reader waiting for ever.
    async fn check(&self) -> Result<u64, ApiError> {
        match tokio::fs::metadata(&self.path).await {
            Ok(found) if found.is_file() => Ok(found.len()),
            _ => Err(ApiError::not_found(
                "file_gone",
                format!("the file {} is not there any more", self.name),
                "raw frames may have been moved to the archive; `soxsd check` says whether products are missing",
            )),
        }
    }
}

fn no_row(kind: &str, id: i64) -> ApiError {
    ApiError::not_found("no_target", format!("there is no {kind} {id}"), "see /api/v1/frames and /api/v1/products")
}

fn unreadable(error: FitsError) -> ApiError {
    let hint = "download the file and look at it; `soxsd why` says what ingest found";
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, error.class(), "unreadable", chain(&error), hint)
}

fn unshown(message: impl Into<String>) -> ApiError {
    let hint = "see contents for what can be shown of it";
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, FaultClass::BadInput, "not_shown", message, hint)
}

fn limits() -> ReadLimits {
    ReadLimits { columns: LONGEST, rows: LONGEST, ..ReadLimits::default() }
}

/// Read in a thread for blocking work, at most [`READERS`] at a time; a client that goes away gives its place back when the
/// reading ends.
async fn reading<T: Send + 'static>(
    app: &App,
    read: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let broken = |what: String| {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, FaultClass::Bug, "internal", what, "please report it")
    };
    let permit = app.readers.clone().acquire_owned().await.map_err(|error| broken(error.to_string()))?;
    tokio::task::spawn_blocking(move || {
        let read = read();
        drop(permit);
        read
    })
    .await
    .map_err(|error| broken(format!("reading broke off: {error}")))?
}

/// What the HDUs of a file hold.
async fn contents(app: &App, source: Source) -> Result<ContentsBody, ApiError> {
    let size = source.check().await?;
    let path = source.path.clone();
    let outline = reading(app, move || fits::read_outline(&path, &limits()).map_err(unreadable)).await?;
    let hdus = outline.into_iter().enumerate().map(|(index, outline)| HduBody::of(index, outline)).collect();
    Ok(ContentsBody { name: source.name, size, hdus })
}

/// The pixels of an HDU, from the cache when they are there.
async fn pixels(app: &App, source: &Source, hdu: usize) -> Result<Arc<Array2<f32>>, ApiError> {
    source.check().await?;
    let key = Key { version: source.version.clone(), hdu };
    if let Some(Held::Image(image)) = app.cache.get(&key) {
        return Ok(image);
    }
    let path = source.path.clone();
    let image = reading(app, move || read_pixels(&path, hdu)).await?;
    let image = Arc::new(image);
    app.cache.put(key, Held::Image(image.clone()));
    Ok(image)
}

fn read_pixels(path: &FilePath, hdu: usize) -> Result<Array2<f32>, ApiError> {
    let outline = fits::read_outline(path, &limits()).map_err(unreadable)?;
    match outline.get(hdu).map(|outline| &outline.contents) {
        Some(Contents::Image { rows, columns }) if rows.saturating_mul(*columns) <= MOST_PIXELS => {}
        Some(Contents::Image { rows, columns }) => {
            return Err(unshown(format!("an image of {columns} x {rows} pixels is too large to be shown")));
        }
        Some(_) => return Err(unshown(format!("HDU {hdu} is no image"))),
        None => return Err(unshown(format!("there is no HDU {hdu}"))),
    }
    fits::read_plane(path, hdu, &limits()).map_err(unreadable)
}

async fn image(app: &App, source: Source, query: ImageQuery) -> Result<Response, ApiError> {
    let side = query.side.unwrap_or(SIDE);
    if !(1..=MOST_SIDE).contains(&side) {
        return Err(ApiError::parameter("side", &side.to_string(), &format!("must be 1 to {MOST_SIDE}")));
    }
    for (name, value) in [("low", query.low), ("high", query.high)] {
        if value.is_some_and(|value| !value.is_finite()) {
            return Err(ApiError::parameter(name, "not finite", "must be a number"));
        }
    }
    let palette = match query.palette.as_deref() {
        None | Some("grey") => Palette::Grey,
        Some("viridis") => Palette::Viridis,
        Some(other) => return Err(ApiError::parameter("palette", other, "must be grey or viridis")),
    };
    let region = Region {
        x0: query.x0.unwrap_or(0),
        y0: query.y0.unwrap_or(0),
        x1: query.x1.unwrap_or(usize::MAX),
        y1: query.y1.unwrap_or(usize::MAX),
    };
    let image = pixels(app, &source, query.hdu.unwrap_or(0)).await?;
    let (png, levels) = reading(app, move || {
        let found = preview::zscale(image.view());
        let levels = (query.low.unwrap_or(found.0), query.high.unwrap_or(found.1));
        let png = preview::picture(image.view(), region, side, levels, palette);
        Ok((png.ok_or_else(|| unshown("the image is empty"))?, levels))
    })
    .await?;
    let mut response = ([(header::CONTENT_TYPE, "image/png")], png).into_response();
    if let Ok(value) = HeaderValue::from_str(&format!("{} {}", levels.0, levels.1)) {
        response.headers_mut().insert(HeaderName::from_static("soxsd-levels"), value);
    }
    Ok(response)
}

/// A table as a spectrum, from the cache when it is there.
async fn table(app: &App, source: &Source, hdu: usize) -> Result<Arc<Spectrum>, ApiError> {
    source.check().await?;
    let key = Key { version: source.version.clone(), hdu };
    if let Some(Held::Spectrum(spectrum)) = app.cache.get(&key) {
        return Ok(spectrum);
    }
    let path = source.path.clone();
    let spectrum = reading(app, move || {
        let outline = fits::read_outline(&path, &limits()).map_err(unreadable)?;
        let table = |outline: &&fits::Outline| matches!(outline.contents, Contents::Table(_));
        if !outline.get(hdu).as_ref().is_some_and(table) {
            return Err(unshown(format!("HDU {hdu} is no table that can be read")));
        }
        let before = outline.iter().take(hdu).filter(table).count();
        let tables = fits::read_tables(&path).map_err(unreadable)?;
        let spectrum = tables.get(before).and_then(Spectrum::of);
        spectrum.ok_or_else(|| unshown(format!("the table of HDU {hdu} is no spectrum")))
    })
    .await?;
    let spectrum = Arc::new(spectrum);
    app.cache.put(key, Held::Spectrum(spectrum.clone()));
    Ok(spectrum)
}

async fn spectrum(app: &App, source: Source, query: SpectrumQuery) -> Result<preview::Shown, ApiError> {
    let intervals = query.intervals.unwrap_or(INTERVALS);
    if !(1..=MOST_INTERVALS).contains(&intervals) {
        let reason = format!("must be 1 to {MOST_INTERVALS}");
        return Err(ApiError::parameter("intervals", &intervals.to_string(), &reason));
    }
    for (name, value) in [("from", query.from), ("to", query.to)] {
        if value.is_some_and(|value| !value.is_finite()) {
            return Err(ApiError::parameter(name, "not finite", "must be a number"));
        }
    }
    let curves = query.curves.unwrap_or_default();
    let curves: Vec<String> = curves.split(',').filter(|name| !name.is_empty()).map(str::to_string).collect();
    let spectrum = table(app, &source, query.hdu.unwrap_or(1)).await?;
    Ok(spectrum.shown(&curves, query.from, query.to, intervals))
}

/// A file as it is, to be kept.
async fn download(source: Source, kind: &'static str) -> Result<Response, ApiError> {
    let size = source.check().await?;
    let gone =
        |_| ApiError::not_found("file_gone", format!("the file {} cannot be read", source.name), "look at the disk");
    let file = tokio::fs::File::open(&source.path).await.map_err(gone)?;
    let body = axum::body::Body::from_stream(tokio_util::io::ReaderStream::with_capacity(file, 1 << 18));
    let name: String = source
        .name
        .chars()
        .map(|one| if one.is_ascii_alphanumeric() || ".-_+:".contains(one) { one } else { '_' })
        .collect();
    let place = format!("attachment; filename=\"{name}\"");
    let headers = [
        (header::CONTENT_TYPE, kind.to_string()),
        (header::CONTENT_LENGTH, size.to_string()),
        (header::CONTENT_DISPOSITION, place),
    ];
    Ok((headers, body).into_response())
}
