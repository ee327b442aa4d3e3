//! Files as the data handler writes them: they grow in place, several at a time.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::timer::Timer;
use crate::simulator::SimError;

/// Files that are being written.
pub(super) struct Landing<'a> {
    timer: &'a dyn Timer,
    stop: &'a dyn Fn() -> bool,
    growing: Vec<Growing>,
}

/// One file on its way.
struct Growing {
    path: PathBuf,
    file: File,
    bytes: Vec<u8>,
    written: usize,
    /// When the file shall have which length.
    pieces: VecDeque<(Duration, usize)>,
}

impl<'a> Landing<'a> {
    pub fn new(timer: &'a dyn Timer, stop: &'a dyn Fn() -> bool) -> Landing<'a> {
        Landing { timer, stop, growing: Vec::new() }
    }

    /// A whole file at once, replacing an older one: it never shows half.
    pub fn land(&self, path: &Path, bytes: &[u8]) -> Result<(), SimError> {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let hidden = path.with_file_name(format!(".{name}.part"));
        let written = std::fs::write(&hidden, bytes).and_then(|()| std::fs::rename(&hidden, path));
        written.map_err(|source| {
            // Nothing more can be done for it.
            let _ = std::fs::remove_file(&hidden);
            SimError::File { operation: "cannot write", path: path.to_path_buf(), source }
        })
    }

    /// Let a file grow from `first` to `last` in so many equal pieces.
    pub fn grow(
        &mut self,
        path: &Path,
        bytes: Vec<u8>,
        (first, last): (Duration, Duration),
        pieces: u32,
    ) -> Result<(), SimError> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)
            .map_err(|source| SimError::File { operation: "cannot make", path: path.to_path_buf(), source })?;
        let steps = pieces.max(2);
        let pieces = (1..=steps)
            .map(|piece| {
                let due = first + last.saturating_sub(first).mul_f64(f64::from(piece - 1) / f64::from(steps - 1));
                // Fits: the product is at most the length times 1000.
                (due, bytes.len() * piece as usize / steps as usize)
            })
            .collect();
        self.growing.push(Growing { path: path.to_path_buf(), file, bytes, written: 0, pieces });
        Ok(())
    }

    /// Write every piece that is due until then, waiting in between.
    pub fn until(&mut self, due: Duration) -> Result<(), SimError> {
        while let Some(next) = self.next_due().filter(|next| *next <= due) {
            if (self.stop)() {
                return Ok(());
            }
            self.timer.wait_until(next, self.stop);
            self.write_due()?;
        }
        if !(self.stop)() {
            self.timer.wait_until(due, self.stop);
        }
        Ok(())
    }

    /// Let every file grow to its end.
    pub fn finish(&mut self) -> Result<(), SimError> {
        while let Some(next) = self.next_due().filter(|_| !(self.stop)()) {
            self.until(next)?;
        }
        Ok(())
    }

    /// Take away what is not finished. Returns the files that this was.
    pub fn abandon(&mut self) -> Vec<PathBuf> {
        let remove = |growing: Growing| {
            // What cannot be removed stays and is taken for what it is: half a file.
            let _ = std::fs::remove_file(&growing.path);
            growing.path
        };
        self.growing.drain(..).map(remove).collect()
    }

    fn next_due(&self) -> Option<Duration> {
        self.growing.iter().filter_map(|growing| growing.pieces.front().map(|(due, _)| *due)).min()
    }

    fn write_due(&mut self) -> Result<(), SimError> {
        let now = self.timer.elapsed();
        for growing in &mut self.growing {
            while let Some((_, length)) = growing.pieces.pop_front_if(|(due, _)| *due <= now) {
                let piece = growing.bytes.get(growing.written..length).unwrap_or_default();
                growing.file.write_all(piece).map_err(|source| SimError::File {
                    operation: "cannot write",
                    path: growing.path.clone(),
                    source,
                })?;
                growing.written = length;
            }
        }
        self.growing.retain(|growing| !growing.pieces.is_empty());
        Ok(())
    }
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.abandon();
    }
}
