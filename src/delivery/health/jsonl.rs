//! A monitor that reads a file: one JSON object a line, one line per metric, appended.
//!
//! A batch is one write, then fsync. A crash can leave a batch cut off in the middle of a line: what was cut was never
//! confirmed and is written again, so the torn end is removed and the missing lines follow. A batch that may have been
//! written before is looked for in the whole file first. Readers see a line's end only after the whole line.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::SinkError;
use super::super::archive::Act;
use super::super::error::io;
use super::super::folder::blocking;
use super::{Batch, Metric, Monitor};

/// The monitor.
pub struct Jsonl {
    path: PathBuf,
}

/// A line.
#[derive(Serialize)]
struct Line<'a> {
    batch: &'a str,
    n: usize,
    of: usize,
    job: i64,
    #[serde(flatten)]
    metric: Metric<'a>,
}

/// What tells lines of a batch apart.
#[derive(Deserialize)]
struct Mark {
    batch: String,
    n: usize,
}

impl Jsonl {
    /// A monitor that reads this file.
    pub fn new(path: &Path) -> Jsonl {
        Jsonl { path: path.to_path_buf() }
    }
}

impl Monitor for Jsonl {
    fn tell<'a>(&'a self, batch: &'a Batch) -> Act<'a, String> {
        let (path, batch) = (self.path.clone(), batch.clone());
        Box::pin(blocking(move || append(&path, &batch).map(|()| path.display().to_string())))
    }
}

fn append(path: &Path, batch: &Batch) -> Result<(), SinkError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(io("make the folder", folder))?;
    let fresh = !path.try_exists().map_err(io("look for", path))?;
    let mut file = File::options().read(true).append(true).create(true).open(path).map_err(io("open", path))?;
    // A write that a cancelled round left running ends before this one begins.
    file.lock().map_err(io("lock", path))?;
    mend(&mut file).map_err(io("mend the end of", path))?;
    let written =
        if batch.again { lines_of(&mut file, &batch.key).map_err(io("read", path))? } else { BTreeSet::new() };
    let mut text = Vec::new();
    for (n, record) in batch.records.iter().enumerate().filter(|(n, _)| !written.contains(n)) {
        let line = Line { batch: &batch.key, n, of: batch.records.len(), job: batch.job, metric: Metric::of(record) };
        serde_json::to_writer(&mut text, &line)
            .map_err(|error| SinkError::Broken { reason: format!("cannot write {} as JSON: {error}", record.name) })?;
        text.push(b'\n');
    }
    file.write_all(&text).and_then(|()| file.sync_all()).map_err(io("write", path))?;
    if fresh {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(io("write the folder", folder))?;
    }
    Ok(())
}

/// Give the file an end at a line's end: the beginning of an object is cut off, anything else gets its line feed.
fn mend(file: &mut File) -> std::io::Result<()> {
    let size = file.metadata()?.len();
    let mut tail = Vec::new();
    let mut start = size;
    while start > 0 && !tail.contains(&b'\n') {
        let step = start.min(64 * 1024);
        start -= step;
        file.seek(SeekFrom::Start(start))?;
        let mut block = Vec::new();
        Read::by_ref(file).take(step).read_to_end(&mut block)?;
        block.append(&mut tail);
        tail = block;
    }
    let line_start = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |feed| feed + 1);
    let torn = tail.get(line_start..).unwrap_or_default();
    if torn.is_empty() {
        return Ok(());
    }
    if torn.starts_with(b"{") && serde_json::from_slice::<serde::de::IgnoredAny>(torn).is_err() {
        file.set_len(size - torn.len() as u64)
    } else {
        file.write_all(b"\n")
    }
}

/// Numbers of the lines of a batch that the file has.
fn lines_of(file: &mut File, key: &str) -> std::io::Result<BTreeSet<usize>> {
    file.seek(SeekFrom::Start(0))?;
    let mut lines = BTreeSet::new();
    for line in BufReader::new(file).split(b'\n') {
        if let Ok(mark) = serde_json::from_slice::<Mark>(&line?)
            && mark.batch == key
        {
            lines.insert(mark.n);
        }
    }
    Ok(lines)
}
