//! Simulated frames as files.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use super::{Exposure, Pixels, SimError, SimFrame};
use crate::fits::{ImageHdu, PlaneData, write_images};

const CARD: usize = 80;
const BLOCK: usize = 2880;

/// Write a frame into a directory under its name, as the data handler of the telescope does: the file grows in place.
/// Fails when the file exists.
pub fn write(frame: &SimFrame, directory: &Path) -> Result<PathBuf, SimError> {
    let path = directory.join(&frame.name);
    let plane = match &frame.pixels {
        Pixels::U16(pixels) => PlaneData::U16(pixels.view()),
        Pixels::F32(pixels) => PlaneData::F32(pixels.view()),
    };
    write_images(&path, &[ImageHdu { extname: None, header: frame.header.clone(), plane }])?;
    Ok(path)
}

/// The bytes of a frame's file. `scratch` is a folder for a file that is gone again afterwards.
pub(super) fn encode(frame: &SimFrame, scratch: &Path) -> Result<Vec<u8>, SimError> {
    let path = write(frame, scratch)?;
    let bytes = std::fs::read(&path);
    let removed = std::fs::remove_file(&path);
    let bytes = bytes.map_err(|source| SimError::File { operation: "cannot read back", path: path.clone(), source })?;
    removed.map_err(|source| SimError::File { operation: "cannot remove", path, source })?;
    Ok(bytes)
}

/// Write only the header of an exposure, with the image as a hole of the declared size: a valid file that costs next to
/// nothing on disk. All pixels read as zero counts (as BZERO in the unsigned CCD frames). Fails when the file exists.
pub fn write_sparse(exposure: &Exposure, directory: &Path) -> Result<PathBuf, SimError> {
    let path = directory.join(&exposure.name);
    let header = ImageHdu { extname: None, header: exposure.header.clone(), plane: PlaneData::Empty };
    write_images(&path, &[header])?;
    let failed = |operation: &'static str| {
        let path = path.clone();
        move |source| SimError::File { operation, path, source }
    };
    let mut empty = Vec::new();
    File::open(&path).and_then(|mut file| file.read_to_end(&mut empty)).map_err(failed("cannot read back"))?;
    let (rows, columns) = exposure.shape();
    let header = with_image(&empty, exposure.bitpix(), rows, columns);
    let pixel_bytes = exposure.bitpix().unsigned_abs() as usize / 8;
    let size = header.len() + (rows * columns * pixel_bytes).next_multiple_of(BLOCK);
    let fill = |mut file: File| {
        file.write_all(&header)?;
        file.set_len(size as u64)
    };
    OpenOptions::new().write(true).truncate(true).open(&path).and_then(fill).map_err(failed("cannot fill"))?;
    Ok(path)
}

/// A header unit without data, changed into one that declares an image.
fn with_image(empty: &[u8], bitpix: i64, rows: usize, columns: usize) -> Vec<u8> {
    let mut unit = Vec::with_capacity(empty.len() + BLOCK);
    let mut put = |text: &[u8]| {
        unit.extend_from_slice(text);
        unit.resize(unit.len().next_multiple_of(CARD), b' ');
    };
    for card in empty.chunks(CARD) {
        if card.starts_with(b"BITPIX  ") {
            put(format!("BITPIX  = {bitpix:>20}").as_bytes());
        } else if card.starts_with(b"NAXIS   ") {
            for (keyword, value) in [("NAXIS", 2), ("NAXIS1", columns), ("NAXIS2", rows)] {
                put(format!("{keyword:<8}= {value:>20}").as_bytes());
            }
        } else if card.starts_with(b"END ") {
            if bitpix == 16 {
                put(format!("BSCALE  = {:>20}", 1).as_bytes());
                put(format!("BZERO   = {:>20}", 32768).as_bytes());
            }
            put(card);
            break;
        } else if !card.starts_with(b"CHECKSUM") && !card.starts_with(b"DATASUM ") {
            put(card);
        }
    }
    unit.resize(unit.len().next_multiple_of(BLOCK), b' ');
    unit
}
