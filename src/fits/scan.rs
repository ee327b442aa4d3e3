//! Structural scan of a FITS file without cfitsio: every header, the size that the headers declare against the size
//! that is there, and the digest of the unpacked stream, in one pass and bounded memory.
//!
//! Decides whether a file is complete and safe to hand to cfitsio. What never lives here: pixels, and what keywords mean.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::card::{self, BLOCK, CARD};
use super::compress::Compression;
use super::digest::hex;
use super::header::{Card, Header, Value};
use crate::fault::{Classified, FaultClass};

/// Bounds that no honest file of the instrument exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanLimits {
    /// Cards in one header.
    pub cards: u64,
    /// Header and data units in one file.
    pub hdus: u64,
    /// Bytes of the unpacked stream.
    pub bytes: u64,
}

impl Default for ScanLimits {
    fn default() -> Self {
        ScanLimits { cards: 4000, hdus: 100, bytes: 1 << 30 }
    }
}

/// What a complete file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Scan {
    /// Every header and data unit in file order; never empty.
    pub hdus: Vec<Hdu>,
    /// Length of the unpacked stream in bytes.
    pub bytes: u64,
    /// SHA-256 of the unpacked stream, 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// How the file is packed on disk.
    pub compression: Compression,
}

impl Scan {
    /// The primary header.
    pub fn primary(&self) -> &Header {
        // `scan` returns at least one HDU or an error.
        &self.hdus[0].header
    }
}

/// One header and data unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Hdu {
    /// All cards.
    pub header: Header,
    /// Bytes of the data unit with its padding: a multiple of 2880.
    pub data_bytes: u64,
    /// Bytes of the data unit after the last one that is not zero, padding included: all of them when nothing was written.
    pub zero_tail: u64,
    /// BITPIX: 8, 16, 32, 64, -32 or -64.
    pub bitpix: i64,
    /// NAXIS1, NAXIS2, ... (columns first, as in the file).
    pub shape: Vec<u64>,
}

/// Why a file is not a complete FITS file. Every message names the file and what was found.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// No bytes at all.
    #[error("{}: the file is empty; wait for its writer or send it again", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A directory, pipe or device.
    #[error("{}: is not a regular file", path.display())]
    NotAFile {
        /// The name.
        path: PathBuf,
    },
    /// The first bytes are not those of a FITS file.
    #[error("{}: not a FITS file: starts with \"{found}\" instead of \"SIMPLE  =\"", path.display())]
    NotFits {
        /// The file.
        path: PathBuf,
        /// The first bytes, odd ones escaped.
        found: String,
    },
    /// The stream ends before what the headers declare.
    #[error(
        "{}: truncated in {part}: at least {declared} bytes are declared, {found} found; \
         wait for its writer or send it again", path.display()
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Where the stream ends, for example "the data of HDU 0".
        part: String,
        /// Unpacked bytes that the headers read so far need at least.
        declared: u64,
        /// Unpacked bytes that are there.
        found: u64,
    },
    /// Bytes after the last HDU that are no padding.
    #[error(
        "{}: {trailing} bytes follow the last HDU, which ends at byte {end}, and are not blocks of padding; \
         send the file again", path.display()
    )]
    Trailing {
        /// The file.
        path: PathBuf,
        /// Unpacked offset where the last HDU ends.
        end: u64,
        /// Unpacked bytes after it.
        trailing: u64,
    },
    /// A card that can't be, or that declares something impossible.
    #[error("{}: HDU {hdu}, card {card} ({text}): {reason}", path.display())]
    BadHeader {
        /// The file.
        path: PathBuf,
        /// HDU, 0 is the primary.
        hdu: usize,
        /// Card of that header, from 1.
        card: usize,
        /// Keyword and value as found, odd bytes escaped.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// More than the limits allow.
    #[error("{}: {found} {what}, the limit is {limit}; raise the limit if the file is genuine", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What there is too much of.
        what: &'static str,
        /// How much (when counting stopped).
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// The gzip or compress stream is corrupt.
    #[error("{}: can't be unpacked: {reason}; send the file again", path.display())]
    Compressed {
        /// The file.
        path: PathBuf,
        /// The decoder's words.
        reason: String,
    },
    /// The operating system could not read the file.
    #[error("{}: can't be read", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Its reason.
        source: io::Error,
    },
}

impl ScanError {
    /// True when the file may become whole by waiting for its writer.
    pub fn is_incomplete(&self) -> bool {
        matches!(self, ScanError::Empty { .. } | ScanError::Truncated { .. })
    }
}

impl Classified for ScanError {
    fn class(&self) -> FaultClass {
        match self {
            ScanError::Io { .. } => FaultClass::Transient,
            _ => FaultClass::BadInput,
        }
    }
}

/// Read a plain, gzip or compress FITS file once from end to end. `Ok` means: every header is sound, every declared byte
/// is there, nothing but padding follows, and a packed stream ended as it should.
pub fn scan(path: &Path, limits: &ScanLimits) -> Result<Scan, ScanError> {
    let mut stream = Stream::open(path, limits, true)?;
    let hdus = stream.walk()?;
    let sha256 = stream.hash.take().map(|hash| hex(&hash.finalize())).unwrap_or_default();
    Ok(Scan { hdus, bytes: stream.bytes, sha256, compression: stream.compression })
}

/// Read the primary header only. Says nothing about the rest of the file.
pub fn peek(path: &Path, limits: &ScanLimits) -> Result<Header, ScanError> {
    let mut stream = Stream::open(path, limits, false)?;
    match stream.next_header(0)? {
        Some(header) => Ok(header),
        None => Err(ScanError::Empty { path: path.to_path_buf() }),
    }
}

/// Unpack a file into `target`, with the checks of [`scan`] and within its limits.
pub(crate) fn unpack(path: &Path, limits: &ScanLimits, target: &File) -> Result<(), ScanError> {
    let mut stream = Stream::open(path, limits, false)?;
    stream.copy = Some(target);
    stream.walk().map(|_| ())
}

/// How a file is packed, by its first bytes.
pub(crate) fn compression(path: &Path) -> Result<Compression, ScanError> {
    Stream::open(path, &ScanLimits::default(), false).map(|stream| stream.compression)
}

/// The unpacked stream of a file, with everything that has to be counted on the way.
struct Stream<'a> {
    path: &'a Path,
    limits: &'a ScanLimits,
    reader: Box<dyn Read>,
    compression: Compression,
    hash: Option<Sha256>,
    /// Where the unpacked bytes go as well.
    copy: Option<&'a File>,
    /// Unpacked bytes read so far.
    bytes: u64,
    /// Unpacked bytes that the headers read so far declare.
    declared: u64,
    /// Where the stream is, for messages.
    part: String,
    /// Empty until data has to be skipped: files that are all header never need it.
    scratch: Vec<u8>,
}

impl<'a> Stream<'a> {
    fn open(path: &'a Path, limits: &'a ScanLimits, hash: bool) -> Result<Self, ScanError> {
        let io = |source| ScanError::Io { path: path.to_path_buf(), source };
        // Opening a pipe would wait for its writer.
        if !std::fs::metadata(path).map_err(io)?.is_file() {
            return Err(ScanError::NotAFile { path: path.to_path_buf() });
        }
        let file = File::open(path).map_err(io)?;
        let mut magic = Vec::with_capacity(2);
        (&file).take(2).read_to_end(&mut magic).map_err(io)?;
        let compression = Compression::of_magic(&magic);
        let raw = BufReader::with_capacity(32 * 1024, io::Cursor::new(magic).chain(file));
        Ok(Stream {
            path,
            limits,
            reader: compression.decode(raw),
            compression,
            hash: hash.then(Sha256::new),
            copy: None,
            bytes: 0,
            declared: BLOCK as u64,
            part: "the header of HDU 0".to_string(),
            scratch: Vec::new(),
        })
    }

    fn walk(&mut self) -> Result<Vec<Hdu>, ScanError> {
        let mut hdus = Vec::new();
        while let Some(header) = self.next_header(hdus.len())? {
            let mut hdu = self.unit(hdus.len(), header)?;
            self.part = format!("the data of HDU {}", hdus.len());
            self.declared = self.bytes.saturating_add(hdu.data_bytes);
            self.check_limit("bytes", self.declared, self.limits.bytes)?;
            hdu.zero_tail = self.skip(hdu.data_bytes)?;
            hdus.push(hdu);
        }
        Ok(hdus)
    }

    /// The next header, or `None` at the end of the file and after trailing padding. Never `None` for HDU 0.
    fn next_header(&mut self, hdu: usize) -> Result<Option<Header>, ScanError> {
        self.part = format!("the header of HDU {hdu}");
        let start = self.bytes;
        let mut block = [0u8; BLOCK];
        let mut header = Header::new();
        let mut cards = 0u64;
        loop {
            self.declared = self.bytes + if cards == 0 && hdu > 0 { 0 } else { BLOCK as u64 };
            let count = self.fill(&mut block)?;
            if cards == 0 {
                if !self.opens_hdu(hdu, &block[..count], start)? {
                    return Ok(None);
                }
                self.check_limit("HDUs", hdu as u64 + 1, self.limits.hdus)?;
            }
            if count < BLOCK {
                self.declared = self.bytes - count as u64 + BLOCK as u64;
                return Err(self.truncated());
            }
            for record in block.as_chunks::<CARD>().0 {
                cards += 1;
                self.check_limit("cards in a header", cards, self.limits.cards)?;
                match card::parse(record) {
                    Ok(record) => {
                        if card::append(&mut header, record) {
                            return Ok(Some(header));
                        }
                    }
                    Err(reason) => {
                        let text = excerpt(record.trim_ascii_end());
                        return Err(self.bad_header(hdu, cards as usize, text, reason));
                    }
                }
            }
        }
    }

    /// Judge the first bytes of what should be an HDU: false when only padding follows.
    fn opens_hdu(&mut self, hdu: usize, start: &[u8], offset: u64) -> Result<bool, ScanError> {
        let expected: &[u8] = if hdu == 0 { b"SIMPLE  =" } else { b"XTENSION" };
        let count = start.len().min(expected.len());
        let matches = start[..count] == expected[..count];
        match hdu {
            0 if start.is_empty() => Err(ScanError::Empty { path: self.path.to_path_buf() }),
            // One byte of a magic number is no evidence against a packed file that is just being written.
            0 if start == [0x1f] => Err(self.truncated()),
            0 if !matches => {
                let found = excerpt(&start[..start.len().min(30)]);
                Err(ScanError::NotFits { path: self.path.to_path_buf(), found })
            }
            0 => Ok(true),
            _ if start.is_empty() => Ok(false),
            _ if matches => Ok(true),
            _ => {
                self.padding_only(start, offset)?;
                Ok(false)
            }
        }
    }

    /// Read to the end; fails unless whole blocks of zeros or blanks are all that is there.
    fn padding_only(&mut self, start: &[u8], end: u64) -> Result<(), ScanError> {
        let is_padding = |bytes: &[u8]| bytes.iter().all(|byte| matches!(byte, 0 | b' '));
        let mut clean = is_padding(start);
        let mut block = [0u8; BLOCK];
        loop {
            let count = self.fill(&mut block)?;
            if count == 0 {
                break;
            }
            clean &= is_padding(&block[..count]);
        }
        let trailing = self.bytes - end;
        if clean && trailing.is_multiple_of(BLOCK as u64) {
            return Ok(());
        }
        Err(ScanError::Trailing { path: self.path.to_path_buf(), end, trailing })
    }

    /// Derive the data unit from the mandatory keywords, which the standard wants in a fixed order.
    fn unit(&self, hdu: usize, header: Header) -> Result<Hdu, ScanError> {
        let cards = header.cards();
        let refuse = |index: usize, reason: String| {
            let text = cards.get(index).map(card_text).unwrap_or_default();
            self.bad_header(hdu, index + 1, text, reason)
        };
        let integer_at = |index: usize, keyword: &str, range: std::ops::RangeInclusive<i64>| {
            let card = cards.get(index).filter(|card| card.keyword == keyword);
            match card.map(|card| &card.value) {
                Some(Some(Value::Integer(value))) if range.contains(value) => Ok(*value),
                Some(_) => Err(refuse(index, format!("{keyword} must be a possible integer"))),
                None => Err(refuse(index, format!("{keyword} must stand here"))),
            }
        };
        let anywhere = |keyword: &str, default: u64| match cards.iter().position(|card| card.keyword == keyword) {
            Some(index) => integer_at(index, keyword, 0..=i64::MAX).map(i64::cast_unsigned),
            None => Ok(default),
        };

        if hdu == 0 && header.get("SIMPLE") != Some(&Value::Logical(true)) {
            return Err(refuse(0, "SIMPLE must be T: the file says that it does not conform to FITS".to_string()));
        }
        let bitpix = integer_at(1, "BITPIX", -64..=64)?;
        if ![8, 16, 32, 64, -32, -64].contains(&bitpix) {
            return Err(refuse(1, "BITPIX must be 8, 16, 32, 64, -32 or -64".to_string()));
        }
        let naxis = integer_at(2, "NAXIS", 0..=999)?;
        let shape = (1..=naxis as usize)
            .map(|axis| integer_at(2 + axis, &format!("NAXIS{axis}"), 0..=i64::MAX).map(i64::cast_unsigned))
            .collect::<Result<Vec<u64>, ScanError>>()?;
        let (parameters, groups) = (anywhere("PCOUNT", 0)?, anywhere("GCOUNT", 1)?);

        let random_groups =
            shape.first() == Some(&0) && shape.len() > 1 && header.get("GROUPS") == Some(&Value::Logical(true));
        let axes = if random_groups { &shape[1..] } else { &shape[..] };
        let data_bytes = if axes.is_empty() {
            Some(0)
        } else {
            axes.iter()
                .try_fold(1u64, |product, length| product.checked_mul(*length))
                .and_then(|elements| elements.checked_add(parameters))
                .and_then(|elements| elements.checked_mul(groups))
                .and_then(|elements| elements.checked_mul(bitpix.unsigned_abs() / 8))
                .and_then(|bytes| bytes.checked_next_multiple_of(BLOCK as u64))
        };
        let Some(data_bytes) = data_bytes else {
            return Err(refuse(2, format!("axes of {shape:?} declare more bytes than can be counted")));
        };
        Ok(Hdu { header, data_bytes, zero_tail: 0, bitpix, shape })
    }

    /// Read over a data unit. Returns with how many zero bytes it ends.
    fn skip(&mut self, bytes: u64) -> Result<u64, ScanError> {
        let mut scratch = std::mem::take(&mut self.scratch);
        let (mut left, mut zero_tail) = (bytes, 0);
        if left > 0 {
            scratch.resize(256 * 1024, 0);
        }
        while left > 0 {
            let want = left.min(scratch.len() as u64) as usize;
            let count = self.fill(&mut scratch[..want])?;
            if count < want {
                return Err(self.truncated());
            }
            left -= count as u64;
            zero_tail = match scratch[..count].iter().rposition(|byte| *byte != 0) {
                Some(last) => (count - 1 - last) as u64,
                None => zero_tail + count as u64,
            };
        }
        self.scratch = scratch;
        Ok(zero_tail)
    }

    /// Fill the buffer as far as the stream reaches.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, ScanError> {
        let mut count = 0;
        while count < buffer.len() {
            match self.reader.read(&mut buffer[count..]) {
                Ok(0) => break,
                Ok(more) => {
                    count += more;
                    self.bytes += more as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.unreadable(error)),
            }
        }
        self.check_limit("bytes", self.bytes, self.limits.bytes)?;
        if let Some(hash) = &mut self.hash {
            hash.update(&buffer[..count]);
        }
        if let Some(mut copy) = self.copy {
            let io = |source| ScanError::Io { path: self.path.to_path_buf(), source };
            copy.write_all(&buffer[..count]).map_err(io)?;
        }
        Ok(count)
    }

    fn unreadable(&mut self, error: io::Error) -> ScanError {
        match (self.compression, error.kind()) {
            (Compression::None, _) => ScanError::Io { path: self.path.to_path_buf(), source: error },
            (_, io::ErrorKind::UnexpectedEof) => {
                self.part.push_str(", where the packed stream breaks off");
                self.truncated()
            }
            (_, io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => {
                ScanError::Compressed { path: self.path.to_path_buf(), reason: error.to_string() }
            }
            _ => ScanError::Io { path: self.path.to_path_buf(), source: error },
        }
    }

    fn truncated(&self) -> ScanError {
        ScanError::Truncated {
            path: self.path.to_path_buf(),
            part: self.part.clone(),
            declared: self.declared,
            found: self.bytes,
        }
    }

    fn bad_header(&self, hdu: usize, card: usize, text: String, reason: String) -> ScanError {
        ScanError::BadHeader { path: self.path.to_path_buf(), hdu, card, text, reason }
    }

    fn check_limit(&self, what: &'static str, found: u64, limit: u64) -> Result<(), ScanError> {
        if found <= limit {
            return Ok(());
        }
        Err(ScanError::TooLarge { path: self.path.to_path_buf(), what, found, limit })
    }
}

fn card_text(card: &Card) -> String {
    match &card.value {
        Some(value) => format!("{} = {value}", card.keyword),
        None => card.keyword.clone(),
    }
}

/// Bytes for a message: odd ones escaped, quotes left as they are, and no more of them than a line holds.
fn excerpt(bytes: &[u8]) -> String {
    const LONGEST: usize = 80;
    let mut text = String::new();
    for byte in bytes {
        let next = match byte {
            b' '..=b'~' => char::from(*byte).to_string(),
            odd => odd.escape_ascii().to_string(),
        };
        if text.len() + next.len() > LONGEST {
            return text + "...";
        }
        text.push_str(&next);
    }
    text
}
