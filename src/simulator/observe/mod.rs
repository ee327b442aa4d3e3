//! Observing a planned night: frames are drawn one after the other while the one before is written, spoiled where the plan
//! says so, and land in a folder with their truth in another.
//!
//! What never lives here: what is in a frame or a header.

mod landing;
mod summary;
#[cfg(test)]
mod tests;
mod timer;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use super::exposure::{Exposure, ExposureLine};
use super::faults::{self, Fault};
use super::file::encode;
use super::painter::Painter;
use super::plan::Plan;
use super::truth::TruthFolder;
use super::truth::tables::FrameTables;
use super::{SimError, SimFrame};
use crate::fits::{PlaneData, ScanLimits, scan};
use crate::instrument::{Arm, Binning};
use landing::Landing;

pub use summary::{KindCount, Summary};
pub use timer::{RealTimer, Timer};

/// Pieces in which a frame grows while it is read out at a pace.
const PIECES: u32 = 8;

/// How a night is observed.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Folder for the raw frames; made when it is not there.
    pub out: PathBuf,
    /// Folder for the truth.
    pub truth: PathBuf,
    /// So many times faster than real time; absent: as fast as possible.
    pub pace: Option<f64>,
    /// Arms to draw; empty: all. The others' frames are left out, and nothing else changes.
    pub only: Vec<Arm>,
    /// Write electrons without noise too.
    pub expected: bool,
    /// Frames that are there and complete are left as they are; otherwise they are an error.
    pub resume: bool,
    /// Threads that draw; 0: one a core.
    pub threads: usize,
}

/// What has just been done, for a progress bar.
#[derive(Clone, Debug)]
pub struct Progress<'a> {
    /// File name.
    pub name: &'a str,
    /// Frames that have landed or begun to grow.
    pub done: usize,
    /// Frames in all.
    pub total: usize,
}

/// Observe the night. `stop` ends it between two frames; what is half written then is taken away.
pub fn observe(
    plan: &Plan,
    options: &Options,
    timer: &dyn Timer,
    stop: &(dyn Fn() -> bool + Sync),
    progress: &mut dyn FnMut(&Progress<'_>),
) -> Result<Summary, SimError> {
    let mut exposures = selected(plan, options)?;
    let left = left_to_do(&exposures, options)?;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads)
        .build()
        .map_err(|error| SimError::Threads { threads: options.threads, reason: error.to_string() })?;
    std::fs::create_dir_all(&options.out).map_err(|source| SimError::File {
        operation: "cannot make",
        path: options.out.clone(),
        source,
    })?;
    let truth = TruthFolder::create(&options.truth, options.expected)?;
    truth.night(plan, &exposures)?;
    let scratch = tempfile::tempdir().map_err(|source| SimError::File {
        operation: "cannot make",
        path: std::env::temp_dir(),
        source,
    })?;

    let mut observer = Observer {
        options,
        timer,
        landing: Landing::new(timer, stop),
        truth: &truth,
        scratch: scratch.path(),
        // The exposure that starts first is at time zero.
        zero: left.iter().map(|exposure| exposure.start).min(),
        landed: Vec::new(),
    };
    let (sender, frames) = sync_channel(1);
    let total = left.len();
    let mut painter = Painter::new(&plan.night)?;
    write_maps(&mut painter, &exposures, &truth)?;
    std::thread::scope(|scope| {
        scope.spawn(|| pool.install(|| draw(painter, &exposures, &left, sender, stop)));
        observer.take(frames, total, stop, progress)
    })?;
    let mut summary = Summary::of(&observer.landed);
    summary.kept = exposures.len() - total;
    summary.interrupted = summary.frames < total;
    // What did not land has no line.
    exposures.retain(|exposure| options.out.join(&exposure.name).exists());
    truth.finish(&exposures)?;
    summary.seconds = timer.elapsed().as_secs_f64();
    Ok(summary)
}

/// The exposures of the chosen arms, by the end of the exposure: the order in which files begin to grow.
pub fn selected(plan: &Plan, options: &Options) -> Result<Vec<Exposure>, SimError> {
    let mut exposures = plan.night.exposures()?;
    exposures.retain(|exposure| options.only.is_empty() || options.only.contains(&exposure.arm));
    exposures.sort_by_key(|exposure| (exposure.end(), exposure.arm));
    Ok(exposures)
}

/// The exposures whose frames are not there yet. Frames that faults of the file have spoiled are made again, since
/// nobody can see whether they are finished.
fn left_to_do(exposures: &[Exposure], options: &Options) -> Result<Vec<Exposure>, SimError> {
    let mut left = Vec::new();
    for exposure in exposures {
        let path = options.out.join(&exposure.name);
        if !path.exists() {
            left.push(exposure.clone());
        } else if !options.resume {
            return Err(SimError::Exists { path });
        } else if scan(&path, &ScanLimits::default()).is_err() {
            left.push(exposure.clone());
        }
    }
    Ok(left)
}

/// Write the maps of every detector of the night, unbinned: response of the exposed area, hot pixels and defects of the
/// whole raw image.
fn write_maps(painter: &mut Painter, exposures: &[Exposure], truth: &TruthFolder) -> Result<(), SimError> {
    for arm in [Arm::Vis, Arm::Nir, Arm::Acq] {
        let unbinned = |exposure: &&Exposure| exposure.arm == arm && exposure.camera.binning == Binning { x: 1, y: 1 };
        let Some(exposure) = exposures.iter().find(unbinned) else { continue };
        let detector = painter.detector(arm);
        let response = detector.response();
        let (hot, defects) = detector.maps(&exposure.camera);
        let maps = [
            ("RESPONSE", PlaneData::F32(response.view())),
            ("HOT", PlaneData::F32(hot.view())),
            ("DEFECTS", PlaneData::U8(defects.view())),
        ];
        truth.maps(&format!("detector_{arm}.fits"), &maps)?;
    }
    Ok(())
}

/// A frame with everything that is to be written of it.
struct Drawn {
    exposure: Exposure,
    frame: SimFrame,
    tables: FrameTables,
}

/// Draw frames until all are done or nobody takes them any more. Exposures whose frames are there already only leave
/// their traces, so that a night that was interrupted goes on with the same bytes.
fn draw(
    mut painter: Painter,
    exposures: &[Exposure],
    left: &[Exposure],
    frames: SyncSender<Result<Drawn, SimError>>,
    stop: &(dyn Fn() -> bool + Sync),
) {
    let left: BTreeSet<&str> = left.iter().map(|exposure| exposure.name.as_str()).collect();
    for exposure in exposures {
        if !left.contains(exposure.name.as_str()) {
            match painter.pass(exposure) {
                Ok(()) => continue,
                Err(error) => {
                    // Nobody takes it when the receiver has given up, and then nobody needs to know.
                    let _ = frames.send(Err(error));
                    return;
                }
            }
        }
        let drawn = painter.paint(exposure).and_then(|frame| {
            let tables = painter.tables(exposure)?;
            Ok(Drawn { exposure: exposure.clone(), frame, tables })
        });
        let failed = drawn.is_err();
        if stop() || frames.send(drawn).is_err() || failed {
            return;
        }
    }
}

struct Observer<'a> {
    options: &'a Options,
    timer: &'a dyn Timer,
    landing: Landing<'a>,
    truth: &'a TruthFolder,
    scratch: &'a Path,
    zero: Option<jiff::Timestamp>,
    /// Each frame in one line, and the bytes of its file.
    landed: Vec<(ExposureLine, usize)>,
}

impl Observer<'_> {
    fn take(
        &mut self,
        frames: Receiver<Result<Drawn, SimError>>,
        total: usize,
        stop: &(dyn Fn() -> bool + Sync),
        progress: &mut dyn FnMut(&Progress<'_>),
    ) -> Result<(), SimError> {
        for drawn in frames {
            if stop() {
                break;
            }
            let drawn = drawn?;
            self.write(&drawn)?;
            progress(&Progress { name: &drawn.exposure.name, done: self.landed.len(), total });
        }
        if !stop() {
            self.landing.finish()?;
        }
        // Frames that were still growing did not make it.
        let lost = self.landing.abandon();
        self.landed.retain(|(line, _)| !lost.contains(&self.options.out.join(&line.name)));
        Ok(())
    }

    /// Truth first: a frame without its truth would be worth nothing.
    fn write(&mut self, drawn: &Drawn) -> Result<(), SimError> {
        let Drawn { exposure, frame, tables } = drawn;
        let mut bytes = encode(frame, self.scratch)?;
        for fault in &exposure.faults {
            faults::file::apply(fault, &mut bytes);
        }
        self.truth.frame(exposure, frame, bytes.len())?;
        self.truth.tables(&exposure.name, tables)?;
        if self.options.expected {
            self.truth.expected(frame)?;
        }
        let path = self.options.out.join(&exposure.name);
        let begin = self.due(exposure.end());
        self.landing.until(begin)?;
        self.landed.push((exposure.line(), bytes.len()));
        let slowly = exposure.faults.iter().find_map(|fault| match fault {
            Fault::WrittenSlowly { seconds, pieces } => Some((Duration::from_secs_f64(*seconds), *pieces)),
            _ => None,
        });
        match (slowly, self.options.pace) {
            (Some((lasts, pieces)), _) => self.landing.grow(&path, bytes, (begin, begin + lasts), pieces),
            (None, Some(_)) => {
                let end = self.due(exposure.read_out());
                self.landing.grow(&path, bytes, (begin, end), PIECES)
            }
            (None, None) => self.landing.land(&path, &bytes),
        }
    }

    /// When something of the night's clock happens on the real one; at once without a pace.
    fn due(&self, time: jiff::Timestamp) -> Duration {
        match (self.options.pace, self.zero) {
            (Some(pace), Some(zero)) => {
                let seconds = time.duration_since(zero).as_secs_f64().max(0.0) / pace;
                Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
            }
            _ => self.timer.elapsed(),
        }
    }
}
