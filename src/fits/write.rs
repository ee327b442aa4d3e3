//! Products out: images and tables with their headers, checksummed, the same bytes for the same input on every run.
//!
//! Cards are formatted and summed here and handed to cfitsio as finished records; cfitsio lays out blocks and pixels.
//! What never lives here: which keywords a product has.

use std::path::Path;

use ndarray::ArrayView2;

use super::card::{self, CARD};
use super::cfitsio::{Handle, Pixel, Status};
use super::checksum;
use super::error::FitsError;
use super::header::Header;
use super::table::{self, ColumnData};

/// Pixels to write, rows x columns; borrowed, so that nothing is copied on the way.
#[derive(Clone, Copy, Debug)]
pub enum PlaneData<'a> {
    /// BITPIX -32.
    F32(ArrayView2<'a, f32>),
    /// BITPIX 8.
    U8(ArrayView2<'a, u8>),
    /// BITPIX 32.
    I32(ArrayView2<'a, i32>),
    /// BITPIX 16 with BZERO 32768.
    U16(ArrayView2<'a, u16>),
    /// NAXIS 0: only a header.
    Empty,
    /// A binary table; never the first HDU.
    Table(&'a [ColumnData<'a>]),
}

/// One HDU to write.
#[derive(Clone, Debug)]
pub struct ImageHdu<'a> {
    /// EXTNAME card, if any.
    pub extname: Option<String>,
    /// Further cards in order. Cards about the structure (SIMPLE, BITPIX, NAXISn, BZERO, CHECKSUM, ...) are left out:
    /// the pixels decide them; so are keywords without a value, which archives complain about. Of several cards with one keyword the last value stands, at the place of the first.
    pub header: Header,
    /// The pixels.
    pub plane: PlaneData<'a>,
}

/// Write a new file; the first HDU becomes the primary. Fails when the file exists, when a value can't stand on a card
/// (NaN, infinities, non-ASCII text; the error names the keyword) and when the disk is full.
pub fn write_images(path: &Path, hdus: &[ImageHdu<'_>]) -> Result<(), FitsError> {
    if hdus.is_empty() {
        return Err(FitsError::Nothing { path: path.to_path_buf() });
    }
    // Everything that can be wrong with the input is found before a file exists.
    let headers = hdus
        .iter()
        .enumerate()
        .map(|(number, hdu)| records(path, number, hdu))
        .collect::<Result<Vec<_>, FitsError>>()?;
    let failed = |operation: String| {
        move |source: Status| FitsError::Write { path: path.to_path_buf(), operation: operation.clone(), source }
    };
    let mut file = Handle::create(path).map_err(failed("creating the file".to_string()))?;
    for (number, (hdu, header)) in hdus.iter().zip(&headers).enumerate() {
        let writing = failed(format!("writing HDU {number}"));
        if number > 0 {
            file.append_hdu().map_err(&writing)?;
        }
        for record in header {
            file.write_record(record).map_err(&writing)?;
        }
        match &hdu.plane {
            PlaneData::F32(view) => write_pixels(&mut file, view),
            PlaneData::U8(view) => write_pixels(&mut file, view),
            PlaneData::I32(view) => write_pixels(&mut file, view),
            PlaneData::U16(view) => write_pixels(&mut file, view),
            PlaneData::Empty => Ok(()),
            PlaneData::Table(columns) => {
                let bytes = table::pack(columns);
                if bytes.is_empty() { Ok(()) } else { file.write_rows(&bytes) }
            }
        }
        .map_err(&writing)?;
    }
    file.close().map_err(failed("closing the file".to_string()))
}

fn write_pixels<T: Pixel>(file: &mut Handle, view: &ArrayView2<'_, T>) -> Result<(), Status> {
    match view.as_standard_layout().as_slice() {
        Some(pixels) if !pixels.is_empty() => file.write(pixels),
        _ => Ok(()),
    }
}

/// The whole header of an HDU, checksums included.
fn records(path: &Path, number: usize, hdu: &ImageHdu<'_>) -> Result<Vec<[u8; CARD]>, FitsError> {
    if let PlaneData::Table(columns) = &hdu.plane {
        let problem =
            if number == 0 { Some("the first HDU can't be a table".to_string()) } else { table::problem(columns) };
        if let Some(reason) = problem {
            return Err(table::refused(path, number, reason));
        }
    }
    let datasum = data_sum(&hdu.plane);
    let mut header = structure(number, &hdu.plane);
    if let Some(extname) = &hdu.extname {
        header.set("EXTNAME", extname.as_str(), "name of this HDU");
    }
    for card in hdu.header.cards() {
        let named_already = card.keyword == "EXTNAME" && hdu.extname.is_some();
        if named_already || is_structural(&card.keyword) {
            continue;
        }
        if is_commentary(&card.keyword) {
            header.push(card.clone());
        } else if card.value.is_some() {
            header.replace(card.clone());
        }
    }
    header.set("CHECKSUM", checksum::PLACEHOLDER, "HDU checksum");
    header.set("DATASUM", datasum.to_string(), "data unit checksum");

    let mut records = Vec::with_capacity(header.cards().len());
    let mut stamp_at = None;
    for card in header.cards() {
        let formatted = card::format(card).map_err(|reason| FitsError::Card {
            path: path.to_path_buf(),
            hdu: number,
            keyword: card.keyword.clone(),
            reason,
        })?;
        if card.keyword == "CHECKSUM" {
            stamp_at = Some(records.len());
        }
        records.extend(formatted);
    }
    let total = checksum::add(checksum::of_header(&records), datasum);
    if let Some(record) = stamp_at.and_then(|index| records.get_mut(index)) {
        checksum::stamp(record, &checksum::encode(total));
    }
    Ok(records)
}

/// The mandatory cards in the order of the standard.
fn structure(number: usize, plane: &PlaneData<'_>) -> Header {
    let mut header = Header::new();
    if let PlaneData::Table(columns) = plane {
        let (width, rows) = table::shape(columns);
        header.set("XTENSION", "BINTABLE", "binary table extension");
        header.set("BITPIX", 8, "bytes");
        header.set("NAXIS", 2, "number of axes");
        header.set("NAXIS1", width as i64, "bytes of a row");
        header.set("NAXIS2", rows as i64, "rows");
        header.set("PCOUNT", 0, "no parameters");
        header.set("GCOUNT", 1, "one group");
        header.set("TFIELDS", columns.len() as i64, "columns");
        table::describe(&mut header, columns);
        return header;
    }
    if number == 0 {
        header.set("SIMPLE", true, "file conforms to FITS standard");
    } else {
        header.set("XTENSION", "IMAGE", "image extension");
    }
    let (bitpix, shape) = match plane {
        PlaneData::F32(view) => (-32, Some(view.dim())),
        PlaneData::U8(view) => (8, Some(view.dim())),
        PlaneData::I32(view) => (32, Some(view.dim())),
        PlaneData::U16(view) => (16, Some(view.dim())),
        PlaneData::Empty | PlaneData::Table(_) => (8, None),
    };
    header.set("BITPIX", bitpix, "bits of a pixel, negative for floating point");
    header.set("NAXIS", if shape.is_some() { 2 } else { 0 }, "number of axes");
    if let Some((rows, columns)) = shape {
        header.set("NAXIS1", columns as i64, "columns");
        header.set("NAXIS2", rows as i64, "rows");
    }
    if number == 0 {
        header.set("EXTEND", true, "extensions may follow");
    } else {
        header.set("PCOUNT", 0, "no parameters");
        header.set("GCOUNT", 1, "one group");
    }
    if matches!(plane, PlaneData::U16(_)) {
        header.set("BSCALE", 1.0, "scale of the stored integers");
        header.set("BZERO", 32768.0, "offset of unsigned integers");
    }
    header
}

/// Sum of the data unit as it will stand in the file. Padding is zeros and adds nothing.
fn data_sum(plane: &PlaneData<'_>) -> u32 {
    fn contiguous<T: Clone, R>(view: &ArrayView2<'_, T>, sum: impl FnOnce(&[T]) -> R) -> R {
        // The standard layout is contiguous by definition.
        sum(view.as_standard_layout().as_slice().unwrap_or_default())
    }
    match plane {
        PlaneData::F32(view) => {
            contiguous(view, |pixels| checksum::of_words(pixels.iter().map(|pixel| pixel.to_bits())))
        }
        PlaneData::I32(view) => contiguous(view, |pixels| checksum::of_words(pixels.iter().map(|pixel| *pixel as u32))),
        PlaneData::U8(view) => contiguous(view, checksum::of_bytes),
        PlaneData::U16(view) => {
            contiguous(view, |pixels| checksum::of_halves(pixels.iter().map(|pixel| pixel ^ 0x8000)))
        }
        PlaneData::Empty => 0,
        PlaneData::Table(columns) => checksum::of_bytes(&table::pack(columns)),
    }
}

fn is_commentary(keyword: &str) -> bool {
    matches!(keyword, "COMMENT" | "HISTORY" | "")
}

/// Keywords that the pixels decide, that compression leaves behind, or that can't be copied one by one.
fn is_structural(keyword: &str) -> bool {
    const FIXED: [&str; 21] = [
        "SIMPLE", "XTENSION", "BITPIX", "NAXIS", "EXTEND", "PCOUNT", "GCOUNT", "GROUPS", "BSCALE", "BZERO", "BLANK",
        "CHECKSUM", "DATASUM", "CONTINUE", "LONGSTRN", "END", "ZHECKSUM", "ZDATASUM", "THEAP", "TFIELDS", "ZIMAGE",
    ];
    const NUMBERED: [&str; 10] =
        ["NAXIS", "TTYPE", "TFORM", "TUNIT", "TDISP", "TNULL", "TSCAL", "TZERO", "TDIM", "TBCOL"];
    let numbered = NUMBERED.iter().any(|family| {
        keyword.strip_prefix(family).is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
    });
    numbered || FIXED.contains(&keyword)
}
