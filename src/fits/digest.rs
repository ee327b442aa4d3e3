//! Digests of a whole file in one pass: what the catalogue, the archives and the delivery protocols ask for.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use md5::Md5;
use sha2::{Digest, Sha256};

/// Size and digests of the bytes of a file as they lie on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileDigests {
    /// Bytes.
    pub size: u64,
    /// SHA-256, 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// MD5, 32 lower-case hexadecimal digits.
    pub md5: String,
    /// CRC-32 (ISO-HDLC, the one of zlib and gzip).
    pub crc32: u32,
    /// CRC-32C (Castagnoli, the one of iSCSI).
    pub crc32c: u32,
}

impl FileDigests {
    /// Read the file once and compute every digest. The error is the operating system's; the caller knows the path.
    pub fn of(path: &Path) -> io::Result<FileDigests> {
        let mut file = File::open(path)?;
        let mut buffer = vec![0u8; 256 * 1024];
        let (mut sha256, mut md5, mut crc32, mut crc32c) = (Sha256::new(), Md5::new(), crc32fast::Hasher::new(), 0u32);
        let mut size = 0u64;
        loop {
            let count = match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            // `read` never reports more than the buffer holds.
            let chunk = &buffer[..count];
            sha256.update(chunk);
            md5.update(chunk);
            crc32.update(chunk);
            crc32c = crc32c::crc32c_append(crc32c, chunk);
            size += count as u64;
        }
        Ok(FileDigests {
            size,
            sha256: hex(&sha256.finalize()),
            md5: hex(&md5.finalize()),
            crc32: crc32.finalize(),
            crc32c,
        })
    }
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    // A nibble is always below 16.
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|nibble| char::from(DIGITS[nibble as usize])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_check_values() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("check");
        std::fs::write(&path, b"123456789").unwrap();
        let digests = FileDigests::of(&path).unwrap();
        assert_eq!(digests.size, 9);
        assert_eq!(digests.sha256, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225");
        assert_eq!(digests.md5, "25f9e794323b453885f5181f1b624d0b");
        assert_eq!(digests.crc32, 0xcbf4_3926);
        assert_eq!(digests.crc32c, 0xe306_9283);
    }

    #[test]
    fn a_missing_file_is_an_error() {
        assert!(FileDigests::of(Path::new("no such file")).is_err());
    }
}
