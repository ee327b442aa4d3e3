//! Reading a product from the store for delivery, its digest checked on the way: bytes that changed on disk never leave.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use tokio_util::io::{InspectReader, ReaderStream};

use super::SinkError;
use super::error::io as during;
use crate::catalogue::deliveries::ArchiveItem;
use crate::fits::digest::hex;

/// Bytes read at a time.
const CHUNK: usize = 256 * 1024;

/// A file of the store, read in chunks. The last chunk is handed out only after the digest of the whole agrees.
pub(super) struct Stored {
    file: std::fs::File,
    path: PathBuf,
    expected: String,
    left: u64,
    hash: Sha256,
    passage: Passage,
}

/// How far the reading got; shared with whoever sends.
#[derive(Clone, Default)]
pub(super) struct Passage {
    begun: Arc<AtomicBool>,
    fault: Arc<Mutex<Option<SinkError>>>,
}

impl Passage {
    /// Was any byte handed to the network?
    pub(super) fn begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }

    /// Why the reading stopped short, if it did. The file's last chunk was not handed out then.
    pub(super) fn fault(&self) -> Option<SinkError> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Stored {
    /// Open the file of an item and check its size.
    pub(super) fn open(item: &ArchiveItem, path: &Path) -> Result<Stored, SinkError> {
        let expected = item.size.unsigned_abs();
        let file = std::fs::File::open(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => SinkError::Altered {
                path: path.to_path_buf(),
                found: "no file".to_string(),
                expected: format!("{expected} bytes"),
            },
            _ => during("open", path)(source),
        })?;
        let size = file.metadata().map_err(during("examine", path))?.len();
        if size != expected {
            return Err(SinkError::Altered {
                path: path.to_path_buf(),
                found: format!("{size} bytes"),
                expected: format!("{expected} bytes"),
            });
        }
        Ok(Stored {
            file,
            path: path.to_path_buf(),
            expected: item.sha256.clone(),
            left: size,
            hash: Sha256::new(),
            passage: Passage::default(),
        })
    }

    pub(super) fn passage(&self) -> Passage {
        self.passage.clone()
    }

    /// The next chunk, `None` after the last. Blocks on the disk.
    pub(super) fn chunk(&mut self) -> Result<Option<Vec<u8>>, SinkError> {
        if self.left == 0 {
            return Ok(None);
        }
        let wanted = usize::try_from(self.left).unwrap_or(CHUNK).min(CHUNK);
        let mut chunk = vec![0u8; wanted];
        self.file.read_exact(&mut chunk).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => self.altered("it became shorter while it was read"),
            _ => during("read", &self.path)(source),
        })?;
        self.hash.update(&chunk);
        self.left -= wanted as u64;
        if self.left == 0 {
            let found = hex(&std::mem::take(&mut self.hash).finalize());
            if found != self.expected {
                return Err(self.altered(&format!("its sha256 is {found}")));
            }
        }
        Ok(Some(chunk))
    }

    fn altered(&self, found: &str) -> SinkError {
        SinkError::Altered {
            path: self.path.clone(),
            found: found.to_string(),
            expected: format!("sha256 {}", self.expected),
        }
    }

    /// The file as the body of a request. A fault cuts the body short and is left in the [`Passage`].
    pub(super) fn into_body(mut self) -> reqwest::Body {
        let (reader, mut writer) = tokio::io::duplex(2 * CHUNK);
        let begun = self.passage.begun.clone();
        let runtime = tokio::runtime::Handle::current();
        tokio::task::spawn_blocking(move || {
            loop {
                match self.chunk() {
                    Ok(None) => return,
                    // A reader that is gone means that the request ended; its own outcome says how.
                    Ok(Some(chunk)) => match runtime.block_on(writer.write_all(&chunk)) {
                        Ok(()) => {}
                        Err(_) => return,
                    },
                    Err(fault) => {
                        *self.passage.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
                        return;
                    }
                }
            }
        });
        let noted = InspectReader::new(reader, move |bytes| {
            if !bytes.is_empty() {
                begun.store(true, Ordering::Release);
            }
        });
        reqwest::Body::wrap_stream(ReaderStream::with_capacity(noted, CHUNK))
    }
}
