//! The frames of the demonstration, drawn and landed as the instrument writes them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::super::super::CliError;
use super::super::engine_error;
use super::io;
use crate::clock::{Clock, SystemClock};
use crate::fault::FaultClass;
use crate::simulator::{self, Exposure, NightPlan, Plan, SimError, SimFrame};

/// The plan, one of those that come with the program.
const PLAN: &str = "demo";
/// Raw frames of one file in [`COPIED`] land once more under another name.
const COPIED: usize = 3;

/// Frames that land together: the calibrations of the day, or all exposures of one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The target; empty for calibrations.
    pub object: String,
    /// Number of frames.
    pub frames: usize,
}

/// What has landed of a block.
#[derive(Clone, Debug)]
pub struct Landed {
    /// The target.
    pub object: String,
    /// File names.
    pub names: Vec<String>,
    /// When the last byte of the last frame was on the disk, microseconds UTC.
    pub last_byte_us: i64,
}

type Frames = Box<dyn Iterator<Item = Result<SimFrame, SimError>> + Send>;

/// Draws the night frame by frame and lets it land.
pub struct Lander {
    frames: Option<Frames>,
    staging: PathBuf,
    raw: PathBuf,
    /// Files that have landed so far.
    pub files: usize,
}

impl Lander {
    /// The night of the demonstration and its blocks in order. `staging` is for frames that are drawn and have not landed.
    pub fn new(staging: &Path, raw: &Path) -> Result<(Lander, Vec<Block>), CliError> {
        let night = Plan::load(PLAN).map_err(|error| engine_error(&error))?.night;
        let blocks = blocks(&night).map_err(|error| engine_error(&error))?;
        let frames = night.frames(night.seeds.night).map_err(|error| engine_error(&error))?;
        let lander =
            Lander { frames: Some(Box::new(frames)), staging: staging.to_path_buf(), raw: raw.to_path_buf(), files: 0 };
        Ok((lander, blocks))
    }

    /// Draw and land a block. Calibrations land as they are drawn; a target's frames are drawn first, so that drawing does
    /// not compete with their reduction.
    pub async fn block(
        &mut self,
        block: &Block,
        cancel: &CancellationToken,
        bar: &indicatif::ProgressBar,
    ) -> Result<Landed, CliError> {
        let mut landed = Landed { object: block.object.clone(), names: Vec::new(), last_byte_us: 0 };
        let mut drawn = Vec::new();
        for number in 1..=block.frames {
            if cancel.is_cancelled() {
                return Ok(landed);
            }
            let of = if block.object.is_empty() { "calibrations" } else { &block.object };
            bar.set_message(format!("drawing frame {number} of {} of {of}", block.frames));
            let Some(path) = self.draw().await? else { break };
            if block.object.is_empty() {
                landed.names.push(self.land(&path).await?);
            } else {
                drawn.push(path);
            }
        }
        for path in &drawn {
            landed.names.push(self.land(path).await?);
        }
        landed.last_byte_us = SystemClock.now().as_microsecond();
        Ok(landed)
    }

    /// A transfer that breaks off and never comes back.
    pub async fn broken(&mut self) -> Result<(), CliError> {
        let broken = [b"SIMPLE  =                    T".as_slice(), &[b' '; 2850]].concat();
        write(&broken, &self.raw.join("SOXS.broken-transfer.fits"), false).await?;
        self.files += 1;
        Ok(())
    }

    /// The next frame of the night as a file of the staging folder; `None` after the last one.
    async fn draw(&mut self) -> Result<Option<PathBuf>, CliError> {
        let Some(mut frames) = self.frames.take() else { return Ok(None) };
        let folder = self.staging.clone();
        let drawing = tokio::task::spawn_blocking(move || {
            let path = match frames.next() {
                Some(frame) => Some(simulator::write(&frame?, &folder)?),
                None => None,
            };
            Ok::<_, SimError>((frames, path))
        });
        let ended = drawing.await.map_err(|error| CliError::Engine {
            message: error.to_string(),
            class: FaultClass::Bug,
            hint: String::new(),
        })?;
        let (frames, path) = ended.map_err(|error| engine_error(&error))?;
        self.frames = Some(frames);
        Ok(path)
    }

    /// Let a drawn frame land, every third in two halves, one of them twice. Returns its name.
    async fn land(&mut self, path: &Path) -> Result<String, CliError> {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let bytes = tokio::fs::read(path).await.map_err(io("read", path))?;
        write(&bytes, &self.raw.join(&name), self.files % 3 == 2).await?;
        self.files += 1;
        if self.files == COPIED {
            // Somebody copies a frame once more under another name.
            write(&bytes, &self.raw.join(format!("copy-of-{name}")), false).await?;
            self.files += 1;
        }
        tokio::fs::remove_file(path).await.map_err(io("remove", path))?;
        Ok(name)
    }
}

/// Consecutive exposures of the same target, or of none.
fn blocks(night: &NightPlan) -> Result<Vec<Block>, SimError> {
    let exposures = night.exposures()?;
    let same = |a: &Exposure, b: &Exposure| a.object == b.object;
    Ok(exposures
        .chunk_by(same)
        .map(|exposures| Block {
            object: exposures.first().map(|exposure| exposure.object.clone()).unwrap_or_default(),
            frames: exposures.len(),
        })
        .collect())
}

/// Write a file the way a transfer does: in place, with a pause in the middle when `slowly`.
async fn write(bytes: &[u8], path: &Path, slowly: bool) -> Result<(), CliError> {
    use tokio::io::AsyncWriteExt;
    let (first, rest) = bytes.split_at(if slowly { bytes.len() / 2 } else { bytes.len() });
    let mut file = tokio::fs::File::create(path).await.map_err(io("write", path))?;
    file.write_all(first).await.map_err(io("write", path))?;
    file.flush().await.map_err(io("write", path))?;
    if slowly {
        tokio::time::sleep(Duration::from_millis(700)).await;
        file.write_all(rest).await.map_err(io("write", path))?;
    }
    file.sync_all().await.map_err(io("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_night_has_its_calibrations_first_and_then_a_block_for_each_target() {
        let night = Plan::load(PLAN).expect("a shipped plan").night;
        let blocks = blocks(&night).expect("exposures");
        let told: Vec<(&str, usize)> = blocks.iter().map(|block| (block.object.as_str(), block.frames)).collect();
        assert_eq!(told, [("", 43), ("LTT3218", 2), ("AT2026abc", 3), ("SN2026xyz", 4)]);
    }
}
