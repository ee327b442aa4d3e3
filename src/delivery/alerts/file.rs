//! A receiver that is a file: one JSON object a line, appended and synced. A message that may have been written before is
//! looked for first.

use std::fs;
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Message, Teller};
use crate::delivery::SinkError;
use crate::delivery::archive::Act;
use crate::delivery::error::io;
use crate::delivery::folder::blocking;

/// The receiver.
pub(super) struct File {
    path: PathBuf,
}

#[derive(Deserialize, Serialize)]
struct Mark {
    id: String,
}

impl File {
    pub(super) fn new(path: &Path) -> File {
        File { path: path.to_path_buf() }
    }
}

impl Teller for File {
    fn tell<'a>(&'a self, message: &'a Message) -> Act<'a, ()> {
        let (path, message) = (self.path.clone(), message.clone());
        Box::pin(blocking(move || append(&path, &message)))
    }
}

fn append(path: &Path, message: &Message) -> Result<(), SinkError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(io("make the folder", folder))?;
    let mut file = fs::File::options().read(true).append(true).create(true).open(path).map_err(io("open", path))?;
    if message.again && holds(&mut file, &message.id).map_err(io("read", path))? {
        return Ok(());
    }
    let mut line = serde_json::to_string(message)
        .map_err(|error| SinkError::Broken { reason: format!("an alert cannot be written as JSON: {error}") })?;
    // A line that a crash tore gets its end, so that this one stands alone.
    if ends_torn(&mut file).map_err(io("read", path))? {
        line.insert(0, '\n');
    }
    line.push('\n');
    file.write_all(line.as_bytes()).and_then(|()| file.sync_all()).map_err(io("write", path))
}

fn holds(file: &mut fs::File, id: &str) -> std::io::Result<bool> {
    file.seek(SeekFrom::Start(0))?;
    for line in BufReader::new(file).split(b'\n') {
        if serde_json::from_slice::<Mark>(&line?).is_ok_and(|mark| mark.id == id) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn ends_torn(file: &mut fs::File) -> std::io::Result<bool> {
    use std::io::Read;
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}
