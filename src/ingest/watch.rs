//! Events of the file system, as a hint that a scan is worth while. They never admit a file: a lost event costs time,
//! never a frame.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use super::walk::{Identity, is_temporary};

/// A watch on all raw roots.
pub(super) struct Watch {
    watcher: Option<RecommendedWatcher>,
    /// Roots and the folder that is watched under that name.
    roots: BTreeMap<PathBuf, Option<Identity>>,
}

impl Watch {
    /// No root is watched before the first [`Watch::refresh`]. `wake` is told of every event that matters.
    pub(super) fn new(roots: &[PathBuf], wake: Arc<Notify>) -> Watch {
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // Runs on the watcher's thread and must return at once: `notify_one` keeps one permit and never blocks, so
            // that a burst of events becomes one scan. An error means that events were lost: scan.
            if event.as_ref().map_or(true, matters) {
                wake.notify_one();
            }
        });
        let watcher = watcher
            .inspect_err(|error| tracing::warn!(%error, "no events from the file system: scanning by timer only"))
            .ok();
        Watch { watcher, roots: roots.iter().map(|root| (root.clone(), None)).collect() }
    }

    /// Watch roots that appeared, and again those that are another folder than before (mounted, replaced). Reads
    /// folders: blocking.
    pub(super) fn refresh(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        for (root, watched) in &mut self.roots {
            let present = fs::metadata(root).ok().filter(fs::Metadata::is_dir).map(|found| Identity::of(&found));
            if present == *watched {
                continue;
            }
            if watched.take().is_some() {
                // The folder is gone, so there may be nothing left to let go of.
                let _ = watcher.unwatch(root);
            }
            if present.is_some() {
                *watched = start(watcher, root).then_some(present).flatten();
            }
        }
    }
}

fn start(watcher: &mut RecommendedWatcher, root: &Path) -> bool {
    match watcher.watch(root, RecursiveMode::Recursive) {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(root = %root.display(), %error, "cannot watch a raw root: scanning it by timer until it can be");
            false
        }
    }
}

/// Can this event have changed what a scan would find? Our own reading must not, or every scan would cause the next.
fn matters(event: &Event) -> bool {
    if event.need_rescan() {
        return true;
    }
    let kind_matters = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        EventKind::Create(CreateKind::File | CreateKind::Folder | CreateKind::Any) => true,
        EventKind::Create(CreateKind::Other) => false,
        EventKind::Modify(ModifyKind::Name(_)) => true,
        // A writer that is not done yet; its close will be seen, and if not, the timer comes.
        EventKind::Modify(_) => false,
        EventKind::Remove(_) => true,
        EventKind::Any | EventKind::Other => false,
    };
    let in_the_making = !event.paths.is_empty() && event.paths.iter().all(|path| is_temporary(path));
    kind_matters && !in_the_making
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{DataChange, Flag, RemoveKind, RenameMode};

    fn event(kind: EventKind, path: &str) -> Event {
        Event::new(kind).add_path(PathBuf::from(path))
    }

    #[test]
    fn what_changes_the_tree_matters() {
        for kind in [
            EventKind::Access(AccessKind::Close(AccessMode::Write)),
            EventKind::Create(CreateKind::File),
            EventKind::Create(CreateKind::Folder),
            EventKind::Modify(ModifyKind::Name(RenameMode::To)),
            EventKind::Modify(ModifyKind::Name(RenameMode::From)),
            EventKind::Remove(RemoveKind::File),
        ] {
            assert!(matters(&event(kind, "/raw/a.fits")), "{kind:?}");
        }
    }

    #[test]
    fn reading_and_half_written_files_do_not() {
        for kind in [
            EventKind::Access(AccessKind::Open(AccessMode::Any)),
            EventKind::Access(AccessKind::Close(AccessMode::Read)),
            EventKind::Access(AccessKind::Read),
            EventKind::Modify(ModifyKind::Data(DataChange::Any)),
        ] {
            assert!(!matters(&event(kind, "/raw/a.fits")), "{kind:?}");
        }
        assert!(!matters(&event(EventKind::Create(CreateKind::File), "/raw/.a.fits.X1y2Z3")));
    }

    #[test]
    fn lost_events_always_matter() {
        assert!(matters(&Event::new(EventKind::Other).set_flag(Flag::Rescan)));
    }
}
