//! Pixels in: a raw frame as `f32`, and our own products back with their types.
//!
//! A shape is checked against limits before anything is allocated for it, and a packed file is unpacked by our own
//! decoders, within limits, so that cfitsio only ever sees plain FITS. What never lives here: what a frame means.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use ndarray::Array2;
use rustix::fs::MemfdFlags;

use super::card::{self, CARD};
use super::cfitsio::{self, Handle, Pixel, Status};
use super::compress::Compression;
use super::error::FitsError;
use super::header::Header;
use super::scan::{self, ScanError, ScanLimits};
use super::table::{self, ReadTable};

/// What an image may be at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimits {
    /// NAXIS1.
    pub columns: u64,
    /// NAXIS2.
    pub rows: u64,
    /// Limits on the file around the image.
    pub file: ScanLimits,
}

impl Default for ReadLimits {
    fn default() -> Self {
        ReadLimits { columns: 8192, rows: 8192, file: ScanLimits::default() }
    }
}

/// An image as the instrument wrote it.
#[derive(Clone, Debug, PartialEq)]
pub struct RawImage {
    /// The cards of the image's HDU; when that is an extension, followed by those of the primary header that it lacks.
    pub header: Header,
    /// Rows x columns (NAXIS2 x NAXIS1) with BZERO and BSCALE applied; BLANK pixels are NaN.
    pub data: Array2<f32>,
}

/// The pixels of one HDU of a product, rows x columns.
#[derive(Clone, Debug, PartialEq)]
pub enum PlaneArray {
    /// BITPIX -32.
    F32(Array2<f32>),
    /// BITPIX 8.
    U8(Array2<u8>),
    /// BITPIX 32 (or 16 without an offset).
    I32(Array2<i32>),
    /// BITPIX 16 with BZERO 32768.
    U16(Array2<u16>),
    /// NAXIS 0: only a header.
    Empty,
}

/// One HDU of a product.
#[derive(Clone, Debug, PartialEq)]
pub struct Plane {
    /// EXTNAME, if the header has one.
    pub extname: Option<String>,
    /// All cards of this HDU.
    pub header: Header,
    /// The pixels.
    pub data: PlaneArray,
}

/// Start-up check: the version of the linked cfitsio, or an error when it is not safe with several threads.
pub fn cfitsio_check() -> Result<String, FitsError> {
    let version = format!("{:.2}", cfitsio::version());
    if cfitsio::is_reentrant() { Ok(version) } else { Err(FitsError::NotReentrant { version }) }
}

/// Read the first two-dimensional image of a plain, gzip or compress FITS file.
///
/// Errors: an unsound or truncated file, no image, an image beyond the limits, a read error.
pub fn read_image(path: &Path, limits: &ReadLimits) -> Result<RawImage, FitsError> {
    let mut file = Reader::open(path, limits)?;
    let hdus = file.hdus()?;
    for hdu in 0..hdus {
        if !file.select(hdu)? {
            continue;
        }
        let (bitpix, shape) = file.image(hdu)?;
        if shape.len() != 2 {
            continue;
        }
        let mut header = file.header(hdu)?;
        let (rows, columns) = file.checked_shape(hdu, bitpix, &shape)?;
        let data = file.pixels::<f32>(hdu, rows, columns, header.contains("BLANK"))?;
        if hdu > 0 {
            file.select(0)?;
            for card in file.header(0)?.cards() {
                if !header.cards().iter().any(|present| present.keyword == card.keyword) {
                    header.push(card.clone());
                }
            }
        }
        file.close()?;
        return Ok(RawImage { header, data });
    }
    Err(FitsError::NoImage { path: path.to_path_buf(), hdus })
}

/// Read every image HDU of a product in file order; tables are passed over.
///
/// Errors: as [`read_image`], and an HDU whose type or number of axes our products never have.
pub fn read_planes(path: &Path) -> Result<Vec<Plane>, FitsError> {
    let limits = ReadLimits::default();
    let mut file = Reader::open(path, &limits)?;
    let mut planes = Vec::new();
    for hdu in 0..file.hdus()? {
        if !file.select(hdu)? {
            continue;
        }
        let (bitpix, shape) = file.image(hdu)?;
        let header = file.header(hdu)?;
        let data = match shape.len() {
            0 => PlaneArray::Empty,
            2 => {
                let (rows, columns) = file.checked_shape(hdu, bitpix, &shape)?;
                match file.equivalent_type(hdu)? {
                    -32 => PlaneArray::F32(file.pixels(hdu, rows, columns, false)?),
                    8 => PlaneArray::U8(file.pixels(hdu, rows, columns, false)?),
                    16 | 32 => PlaneArray::I32(file.pixels(hdu, rows, columns, false)?),
                    USHORT => PlaneArray::U16(file.pixels(hdu, rows, columns, false)?),
                    _ => return Err(file.refuse(hdu, bitpix, &shape, "products hold f32, u8, i32 and u16 only")),
                }
            }
            _ => return Err(file.refuse(hdu, bitpix, &shape, "products have two axes or none")),
        };
        let extname = header.text("EXTNAME").ok().map(str::to_string);
        planes.push(Plane { extname, header, data });
    }
    file.close()?;
    Ok(planes)
}

/// Read every binary table of a product in file order; images are passed over.
///
/// Errors: as [`read_planes`], and a column type that our products never have.
pub fn read_tables(path: &Path) -> Result<Vec<ReadTable>, FitsError> {
    let limits = ReadLimits::default();
    let mut file = Reader::open(path, &limits)?;
    let mut tables = Vec::new();
    for hdu in 0..file.hdus()? {
        if file.select(hdu)? {
            continue;
        }
        let header = file.header(hdu)?;
        let plan = table::Plan::of(&header).map_err(|reason| table::refused(path, hdu, reason))?;
        let mut bytes = vec![0; plan.width * plan.rows];
        if !bytes.is_empty() {
            file.handle.read_rows(&mut bytes).map_err(|source| table::failed(path, hdu, source))?;
        }
        let extname = header.text("EXTNAME").ok().map(str::to_string);
        tables.push(ReadTable { extname, columns: plan.unpack(&bytes), header });
    }
    file.close()?;
    Ok(tables)
}

/// What an HDU holds, without its pixels or rows.
#[derive(Clone, Debug, PartialEq)]
pub enum Contents {
    /// An image of two axes.
    Image {
        /// NAXIS2.
        rows: usize,
        /// NAXIS1.
        columns: usize,
    },
    /// A binary table: names and units of its columns.
    Table(Vec<(String, String)>),
    /// Only a header, or something that cannot be shown.
    Other,
}

/// An HDU without its data.
#[derive(Clone, Debug, PartialEq)]
pub struct Outline {
    /// EXTNAME, if the header has one.
    pub extname: Option<String>,
    /// All cards of this HDU.
    pub header: Header,
    /// What it holds.
    pub contents: Contents,
}

/// The headers of a file and what its HDUs hold; no pixel is read. An image beyond the limits is `Other`.
///
/// Errors: an unsound or truncated file, a read error.
pub fn read_outline(path: &Path, limits: &ReadLimits) -> Result<Vec<Outline>, FitsError> {
    let mut file = Reader::open(path, limits)?;
    let mut outlines = Vec::new();
    for hdu in 0..file.hdus()? {
        let image = file.select(hdu)?;
        let header = file.header(hdu)?;
        let contents = if image {
            let (bitpix, shape) = file.image(hdu)?;
            match (shape.len(), file.checked_shape(hdu, bitpix, &shape)) {
                (2, Ok((rows, columns))) => Contents::Image { rows, columns },
                _ => Contents::Other,
            }
        } else {
            table::Plan::of(&header).map_or(Contents::Other, |plan| Contents::Table(plan.columns()))
        };
        outlines.push(Outline { extname: header.text("EXTNAME").ok().map(str::to_string), header, contents });
    }
    file.close()?;
    Ok(outlines)
}

/// The pixels of one HDU (from 0) as `f32`, whatever their type, rows x columns; undefined ones are NaN.
///
/// Errors: as [`read_image`], and an HDU that is no image of two axes.
pub fn read_plane(path: &Path, hdu: usize, limits: &ReadLimits) -> Result<Array2<f32>, FitsError> {
    let mut file = Reader::open(path, limits)?;
    let hdus = file.hdus()?;
    if hdu >= hdus || !file.select(hdu)? {
        return Err(FitsError::NoImage { path: path.to_path_buf(), hdus });
    }
    let (bitpix, shape) = file.image(hdu)?;
    let (rows, columns) = file.checked_shape(hdu, bitpix, &shape)?;
    let undefined = file.header(hdu)?.contains("BLANK");
    let data = file.pixels::<f32>(hdu, rows, columns, undefined)?;
    file.close()?;
    Ok(data)
}

/// Verify CHECKSUM and DATASUM of every HDU; both must be there and right.
pub fn verify_checksums(path: &Path) -> Result<(), FitsError> {
    let limits = ReadLimits::default();
    let mut file = Reader::open(path, &limits)?;
    for hdu in 0..file.hdus()? {
        file.select(hdu)?;
        let (data, whole) = file.handle.verify_checksum().map_err(|source| file.failed("summing up", hdu, source))?;
        for (keyword, verdict) in [("DATASUM", data), ("CHECKSUM", whole)] {
            if verdict != 1 {
                let state = if verdict == 0 { "absent" } else { "wrong" };
                return Err(FitsError::Checksum { path: path.to_path_buf(), hdu, keyword, state });
            }
        }
    }
    file.close()
}

/// cfitsio's name for BITPIX 16 with BZERO 32768 (USHORT_IMG).
const USHORT: i32 = 20;

/// An open file with its name and limits, so that every failure can say where it happened.
struct Reader<'a> {
    path: &'a Path,
    limits: &'a ReadLimits,
    handle: Handle,
    /// The unpacked bytes of a packed file: a file in memory that vanishes with this value, after the handle.
    _unpacked: Option<File>,
}

impl<'a> Reader<'a> {
    fn open(path: &'a Path, limits: &'a ReadLimits) -> Result<Self, FitsError> {
        let opening = |source| FitsError::Read { path: path.to_path_buf(), operation: "opening".to_string(), source };
        if scan::compression(path)? == Compression::None {
            scan::peek(path, &limits.file)?;
            let handle = Handle::open(path).map_err(opening)?;
            return Ok(Reader { path, limits, handle, _unpacked: None });
        }
        // Left to itself cfitsio chooses the decoder by the name and allocates what the packed file claims to need.
        let unpacked = File::from(
            rustix::fs::memfd_create("soxsd-unpacked", MemfdFlags::CLOEXEC)
                .map_err(|source| ScanError::Io { path: path.to_path_buf(), source: source.into() })?,
        );
        scan::unpack(path, &limits.file, &unpacked)?;
        let handle =
            Handle::open(&PathBuf::from(format!("/proc/self/fd/{}", unpacked.as_raw_fd()))).map_err(opening)?;
        Ok(Reader { path, limits, handle, _unpacked: Some(unpacked) })
    }

    fn hdus(&mut self) -> Result<usize, FitsError> {
        self.handle.hdu_count().map_err(|source| self.failed("counting HDUs", 0, source))
    }

    fn select(&mut self, hdu: usize) -> Result<bool, FitsError> {
        self.handle.select(hdu).map_err(|source| self.failed("going there", hdu, source))
    }

    fn image(&mut self, hdu: usize) -> Result<(i32, Vec<u64>), FitsError> {
        self.handle.image().map_err(|source| self.failed("asking for the shape", hdu, source))
    }

    fn equivalent_type(&mut self, hdu: usize) -> Result<i32, FitsError> {
        self.handle.equivalent_type().map_err(|source| self.failed("asking for the pixel type", hdu, source))
    }

    fn header(&mut self, hdu: usize) -> Result<Header, FitsError> {
        let records: Vec<[u8; CARD]> =
            self.handle.records().map_err(|source| self.failed("reading the header", hdu, source))?;
        let mut header = Header::new();
        for (index, record) in records.iter().enumerate() {
            let parsed = card::parse(record).map_err(|reason| FitsError::Header {
                path: self.path.to_path_buf(),
                hdu,
                card: index + 1,
                reason,
            })?;
            card::append(&mut header, parsed);
        }
        Ok(header)
    }

    /// Rows and columns, once they are known to be within the limits.
    fn checked_shape(&self, hdu: usize, bitpix: i32, shape: &[u64]) -> Result<(usize, usize), FitsError> {
        if let [columns, rows] = *shape
            && columns <= self.limits.columns
            && rows <= self.limits.rows
            && let (Ok(rows), Ok(columns)) = (usize::try_from(rows), usize::try_from(columns))
        {
            return Ok((rows, columns));
        }
        let (columns, rows) = (self.limits.columns, self.limits.rows);
        Err(self.refuse(hdu, bitpix, shape, &format!("the limit is {columns} columns x {rows} rows")))
    }

    fn pixels<T: Pixel>(
        &mut self,
        hdu: usize,
        rows: usize,
        columns: usize,
        mark_undefined: bool,
    ) -> Result<Array2<T>, FitsError> {
        let mut data = Array2::from_elem((rows, columns), T::default());
        if let Some(pixels) = data.as_slice_mut().filter(|pixels| !pixels.is_empty()) {
            self.handle.read(pixels, mark_undefined).map_err(|source| self.failed("reading pixels", hdu, source))?;
        }
        Ok(data)
    }

    fn close(self) -> Result<(), FitsError> {
        let Reader { path, handle, _unpacked, .. } = self;
        handle.close().map_err(|source| FitsError::Read {
            path: path.to_path_buf(),
            operation: "closing".to_string(),
            source,
        })
    }

    fn failed(&self, operation: &str, hdu: usize, source: Status) -> FitsError {
        FitsError::Read { path: self.path.to_path_buf(), operation: format!("{operation} of HDU {hdu}"), source }
    }

    fn refuse(&self, hdu: usize, bitpix: i32, shape: &[u64], reason: &str) -> FitsError {
        let (path, shape, reason) = (self.path.to_path_buf(), shape.to_vec(), reason.to_string());
        FitsError::Shape { path, hdu, bitpix, shape, reason }
    }
}
