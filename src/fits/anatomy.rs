//! A FITS file taken apart without trust: what can be read is kept, what is wrong is noted, nothing is refused.
//!
//! [`scan`](super::scan) decides whether a file may go on; this is for telling somebody everything that is wrong with one.
//! What never lives here: what keywords mean.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::card::{self, BLOCK, CARD, Record};
use super::checksum;
use super::header::{Card, Header, Value};

/// Blocks in a header beyond which it is taken for no header.
const HEADER_BLOCKS: usize = 2000;
/// HDUs beyond which a file is not followed.
const HDUS: usize = 1000;

/// What is wrong with one card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// Card of that header, from 1.
    pub card: usize,
    /// The card, odd bytes replaced.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

/// One header and data unit, as far as it could be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Every card that could be read, in order, repeated ones included.
    pub header: Header,
    /// Cards that break the standard.
    pub flaws: Vec<Flaw>,
    /// CONTINUE cards.
    pub continued: usize,
    /// Offset of the data unit.
    pub data_at: u64,
    /// Bytes of the data unit without padding.
    pub data_bytes: u64,
    /// Sum over the data unit; a right DATASUM says the same.
    pub data_sum: u32,
    /// Sum over header and data; a right CHECKSUM makes it all ones.
    pub total_sum: u32,
}

/// A file and its parts.
#[derive(Clone, Debug, PartialEq)]
pub struct Anatomy {
    /// The file.
    pub path: PathBuf,
    /// Its length in bytes.
    pub bytes: u64,
    /// HDUs in order.
    pub parts: Vec<Part>,
    /// Where it stops being a FITS file, if it does.
    pub broken: Option<String>,
}

impl Anatomy {
    /// Take a plain file apart. Fails only when the operating system cannot read it.
    pub fn of(path: &Path) -> io::Result<Anatomy> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "not a regular file"));
        }
        let mut anatomy = Anatomy { path: path.to_path_buf(), bytes: metadata.len(), parts: Vec::new(), broken: None };
        let mut reader = BufReader::with_capacity(1 << 16, file);
        let mut at = 0;
        while at < anatomy.bytes {
            match part(&mut reader, anatomy.parts.len(), at)? {
                Ok((part, end)) => {
                    anatomy.parts.push(part);
                    at = end;
                }
                Err((part, reason)) => {
                    anatomy.parts.extend(part);
                    anatomy.broken = Some(reason);
                    break;
                }
            }
        }
        if anatomy.bytes == 0 {
            anatomy.broken = Some("the file is empty".to_string());
        }
        Ok(anatomy)
    }

    /// The bytes of a data unit without its padding.
    pub fn data(&self, part: &Part) -> io::Result<Vec<u8>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(part.data_at))?;
        let mut bytes = Vec::new();
        file.take(part.data_bytes).read_to_end(&mut bytes)?;
        if (bytes.len() as u64) < part.data_bytes {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(bytes)
    }
}

/// An HDU and where the next one begins; or what could be read of it, and why no more.
type Cut = Result<(Part, u64), (Option<Part>, String)>;

fn part(reader: &mut impl Read, number: usize, at: u64) -> io::Result<Cut> {
    let mut block = [0u8; BLOCK];
    let mut part = Part {
        header: Header::new(),
        flaws: Vec::new(),
        continued: 0,
        data_at: at,
        data_bytes: 0,
        data_sum: 0,
        total_sum: 0,
    };
    let mut records = 0;
    for blocks in 0.. {
        let count = fill(reader, &mut block)?;
        let expected: &[u8] = if number == 0 { b"SIMPLE  =" } else { b"XTENSION" };
        if blocks == 0 && !block[..count].starts_with(expected) {
            let kind = if number == 0 { "the file does not begin" } else { "what follows the last HDU does not begin" };
            return Ok(Err((None, format!("{kind} with {}", String::from_utf8_lossy(expected).trim_end()))));
        }
        if count < BLOCK || blocks > HEADER_BLOCKS || number > HDUS {
            return Ok(Err((Some(part), format!("the header of HDU {number} has no end"))));
        }
        part.total_sum = checksum::add(part.total_sum, checksum::of_bytes(&block));
        let mut ended = false;
        for record in block.as_chunks::<CARD>().0 {
            records += 1;
            if !ended {
                ended = take(&mut part, record, records);
            }
        }
        if ended {
            part.data_at = at + (blocks as u64 + 1) * BLOCK as u64;
            break;
        }
    }
    let Some((bytes, padded)) = data_bytes(&part.header) else {
        return Ok(Err((Some(part), format!("the header of HDU {number} does not say how long its data are"))));
    };
    part.data_bytes = bytes;
    let mut left = padded;
    while left > 0 {
        let count = fill(reader, &mut block)?;
        if count < BLOCK {
            return Ok(Err((Some(part), format!("the data of HDU {number} break off"))));
        }
        part.data_sum = checksum::add(part.data_sum, checksum::of_bytes(&block));
        left -= BLOCK as u64;
    }
    part.total_sum = checksum::add(part.total_sum, part.data_sum);
    let end = part.data_at + padded;
    Ok(Ok((part, end)))
}

/// Add a record to the header; true when it was END. What cannot stand there is a flaw; what can be read of it is kept.
fn take(part: &mut Part, record: &[u8; CARD], number: usize) -> bool {
    let parsed = card::parse(record).or_else(|reason| {
        let printable = record.map(|byte| if (0x20..=0x7e).contains(&byte) { byte } else { b'?' });
        let text = String::from_utf8_lossy(&printable).trim_end().to_string();
        part.flaws.push(Flaw { card: number, text, reason });
        card::parse(&printable)
    });
    match parsed {
        Ok(record) => {
            part.continued += usize::from(is_continued(&record));
            card::append(&mut part.header, record)
        }
        Err(_) => false,
    }
}

fn is_continued(record: &Record) -> bool {
    match record {
        Record::Continue { .. } => true,
        Record::Card(card) => card.keyword == "CONTINUE",
        Record::End => false,
    }
}

/// Bytes of the data unit, without and with its padding; `None` when the header does not say.
fn data_bytes(header: &Header) -> Option<(u64, u64)> {
    let number = |keyword: &str| match header.get(keyword) {
        Some(Value::Integer(value)) => u64::try_from(*value).ok(),
        _ => None,
    };
    let or = |keyword: &str, default: u64| if header.contains(keyword) { number(keyword) } else { Some(default) };
    let bits = header.integer("BITPIX").ok().map(i64::unsigned_abs).filter(|bits| [8, 16, 32, 64].contains(bits))?;
    let axes = number("NAXIS").filter(|axes| *axes <= 999)?;
    if axes == 0 {
        return Some((0, 0));
    }
    let lengths = (1..=axes).map(|axis| number(&format!("NAXIS{axis}"))).collect::<Option<Vec<u64>>>()?;
    let (parameters, groups) = (or("PCOUNT", 0)?, or("GCOUNT", 1)?);
    let elements = lengths.iter().try_fold(1u64, |product, length| product.checked_mul(*length))?;
    let bytes = elements.checked_add(parameters)?.checked_mul(groups)?.checked_mul(bits / 8)?;
    Some((bytes, bytes.checked_next_multiple_of(BLOCK as u64)?))
}

/// Fill a block as far as the file goes.
fn fill(reader: &mut impl Read, block: &mut [u8; BLOCK]) -> io::Result<usize> {
    let mut count = 0;
    while count < BLOCK {
        match reader.read(&mut block[count..]) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

impl Part {
    /// Does the DATASUM card say what the data are?
    pub fn data_sum_agrees(&self) -> bool {
        self.header.text("DATASUM").is_ok_and(|text| text.trim().parse() == Ok(self.data_sum))
    }

    /// Does the CHECKSUM card make the sum over the HDU what it must be?
    pub fn checksum_agrees(&self) -> bool {
        self.header.contains("CHECKSUM") && matches!(self.total_sum, 0 | u32::MAX)
    }

    /// Keywords that stand more than once, commentary excepted, each once.
    pub fn repeated(&self) -> Vec<&str> {
        let mut repeated: Vec<&str> = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        for Card { keyword, .. } in self.header.cards() {
            let commentary = matches!(keyword.as_str(), "COMMENT" | "HISTORY" | "" | "CONTINUE" | "HIERARCH");
            if !commentary && !seen.insert(keyword.as_str()) && !repeated.contains(&keyword.as_str()) {
                repeated.push(keyword);
            }
        }
        repeated
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fits::{ImageHdu, PlaneData, write_images};
    use ndarray::Array2;

    fn written(folder: &Path) -> PathBuf {
        let path = folder.join("a.fits");
        let pixels = Array2::from_shape_fn((3, 5), |(row, column)| (row * column) as f32);
        let mut header = Header::new();
        header.set("OBJECT", "M 31", "");
        let hdus = [
            ImageHdu { extname: None, header, plane: PlaneData::Empty },
            ImageHdu { extname: Some("B".to_string()), header: Header::new(), plane: PlaneData::F32(pixels.view()) },
        ];
        write_images(&path, &hdus).unwrap();
        path
    }

    #[test]
    fn a_sound_file_has_no_flaw_and_both_sums() {
        let folder = tempfile::tempdir().unwrap();
        let anatomy = Anatomy::of(&written(folder.path())).unwrap();
        assert_eq!((anatomy.broken.as_ref(), anatomy.parts.len(), anatomy.bytes), (None, 2, 3 * 2880));
        for part in &anatomy.parts {
            assert!(part.flaws.is_empty() && part.repeated().is_empty() && part.continued == 0);
            assert!(part.data_sum_agrees() && part.checksum_agrees());
        }
        let image = &anatomy.parts[1];
        assert_eq!((image.data_at, image.data_bytes), (2 * 2880, 60));
        assert_eq!(anatomy.data(image).unwrap()[24..28], 1.0f32.to_be_bytes());
    }

    #[test]
    fn each_kind_of_damage_is_seen_and_the_rest_is_still_read() {
        let folder = tempfile::tempdir().unwrap();
        let sound = std::fs::read(written(folder.path())).unwrap();
        let path = folder.path().join("b.fits");
        let damaged = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = sound.clone();
            change(&mut bytes);
            std::fs::write(&path, bytes).unwrap();
            Anatomy::of(&path).unwrap()
        };
        let object = sound.windows(6).position(|bytes| bytes == b"OBJECT").unwrap();
        let flipped = damaged(&|bytes| bytes[2 * 2880 + 3] ^= 1);
        assert!(!flipped.parts[1].data_sum_agrees() && !flipped.parts[1].checksum_agrees());
        assert!(flipped.parts[0].checksum_agrees());
        let lower = damaged(&|bytes| bytes[object] = b'o');
        assert!(lower.parts[0].flaws[0].reason.contains("lower-case"), "{lower:?}");
        assert!(!lower.parts[0].header.contains("OBJECT") && lower.parts.len() == 2);
        let odd = damaged(&|bytes| bytes[object + 12] = 0xe9);
        assert_eq!(odd.parts[0].header.text("OBJECT"), Ok("M?31"));
        assert!(odd.parts[0].flaws[0].reason.contains("0xe9"));
        let twice = damaged(&|bytes| bytes.copy_within(object..object + 80, object + 80));
        assert_eq!(twice.parts[0].repeated(), ["OBJECT"]);
        let cut = damaged(&|bytes| bytes.truncate(2 * 2880 + 30));
        assert_eq!(cut.broken.as_deref(), Some("the data of HDU 1 break off"));
        assert_eq!(cut.parts.len(), 2);
        let longer = damaged(&|bytes| bytes.extend([7; 100]));
        assert!(longer.broken.is_some_and(|reason| reason.contains("what follows")));
        let other = damaged(&|bytes| bytes[..3].copy_from_slice(b"abc"));
        assert_eq!(other.broken.as_deref(), Some("the file does not begin with SIMPLE  ="));
        assert_eq!(damaged(&|bytes| bytes.clear()).broken.as_deref(), Some("the file is empty"));
    }
}
