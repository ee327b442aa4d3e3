//! Pictures of finished jobs: drawn after the products are safe, one at a time, and never in anybody's way.
//!
//! A picture is made from its product's data and can be made again; it is in no catalogue and no archive gets it. What
//! goes wrong here is a line in the log. A picture appears whole or not at all; one that a dying process had not drawn
//! yet is absent.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::attempt::{self, JOINT, Order, Reduced};
use super::store::{self, StoreError};
use crate::fault::chain;
use crate::products::pictures::{self, PictureError};
use crate::quality::Judged;
use crate::quality::page::Page;

/// Pages of jobs that wait to be drawn, at most; each holds about a MiB.
const MOST_WAITING: usize = 64;

/// A page with the place of its pictures.
#[derive(Clone, Debug, PartialEq)]
pub struct Sheet {
    /// Folder below the tree of pictures: `2026-03-10/soxs-mbias`.
    pub folder: String,
    /// File name without its extension.
    pub stem: String,
    /// What is shown.
    pub page: Page,
}

/// Why the pictures of a page could not be made.
#[derive(Debug, thiserror::Error)]
pub enum GalleryError {
    /// It could not be drawn.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// It could not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The pages of a reduction, with the facts and metrics that the recipe itself does not know.
pub fn sheets(order: &Order, reduced: &mut Reduced) -> Vec<Sheet> {
    let folder = attempt::folder(order);
    let pages = std::mem::take(&mut reduced.output.pages);
    let sheet = |page: Page| {
        let stem = format!("{}{}", order.set_name, page.suffix);
        Sheet { folder: folder.clone(), stem, page: dressed(order, reduced, page) }
    };
    pages.into_iter().map(sheet).collect()
}

/// A page with the facts and metrics that the recipe itself does not know.
pub fn dressed(order: &Order, reduced: &Reduced, mut page: Page) -> Page {
    let judged: Vec<_> = reduced
        .qc
        .iter()
        .map(|one| (&one.metric, Judged { verdict: one.verdict, min: one.min, max: one.max }))
        .collect();
    page.judge(&judged);
    page.name = order.set_name.clone();
    page.facts.splice(0..0, facts(order, reduced));
    page
}

fn facts(order: &Order, reduced: &Reduced) -> Vec<(String, String)> {
    let Some(first) = order.raw.first().map(|frame| &frame.meta) else { return Vec::new() };
    let rejected = reduced.output.rejected.len();
    let left_out = if rejected == 0 { String::new() } else { format!(", {rejected} left out") };
    let binning = first.binning.map_or(String::new(), |binning| format!(" {}x{}", binning.x, binning.y));
    let arms = if order.arms() == JOINT { "VIS and NIR" } else { order.arms() };
    let mut setup = format!("{arms}{binning}");
    if let Some(slit) = &first.slit {
        setup.push_str(&format!(", {slit}"));
    }
    if first.exptime > 0.0 {
        setup.push_str(&format!(", {} s", first.exptime));
    }
    let provenance = &reduced.provenance;
    let fact = |label: &str, value: String| (label.to_string(), value);
    vec![
        fact("Observed", first.date_obs.strftime("%Y-%m-%d %H:%M:%S UT").to_string()),
        fact("Setup", setup),
        fact("Frames", format!("{}{left_out}", order.raw.len())),
        fact("Recipe", format!("{} version {}, {}", provenance.recipe, provenance.recipe_version, provenance.software)),
    ]
}

/// Draw a page and write both pictures into a folder. Returns their paths.
pub fn write(folder: &Path, sheet: &Sheet) -> Result<[PathBuf; 2], GalleryError> {
    let picture = pictures::draw(&sheet.page)?;
    let paths = ["pdf", "png"].map(|extension| folder.join(format!("{}.{extension}", sheet.stem)));
    for (path, bytes) in paths.iter().zip([&picture.pdf, &picture.png]) {
        store::write_whole(path, bytes)?;
    }
    Ok(paths)
}

/// Where the pages of all jobs are drawn.
#[derive(Clone, Debug)]
pub struct Gallery {
    tree: Option<PathBuf>,
    tasks: TaskTracker,
    one: Arc<Semaphore>,
}

impl Gallery {
    /// Pictures go below this folder; `None` draws none.
    pub fn new(tree: Option<PathBuf>) -> Gallery {
        Gallery { tree, tasks: TaskTracker::new(), one: Arc::new(Semaphore::new(1)) }
    }

    /// Have sheets drawn some time soon. Returns at once.
    pub fn draw(&self, sheets: Vec<Sheet>) {
        let Some(tree) = self.tree.clone().filter(|_| !sheets.is_empty()) else { return };
        if self.tasks.len() >= MOST_WAITING {
            tracing::warn!(waiting = self.tasks.len(), "too many pictures wait; those of this job are not drawn");
            return;
        }
        let one = self.one.clone();
        let work = async move {
            // never closed; a closed one would only let more draw at a time
            let _turn = one.acquire_owned().await;
            let span = tracing::Span::current();
            let drawn = tokio::task::spawn_blocking(move || {
                span.in_scope(|| {
                    for sheet in &sheets {
                        match write(&tree.join(&sheet.folder), sheet) {
                            Ok([pdf, _]) => tracing::info!(picture = %pdf.display(), "drawn"),
                            Err(error) => tracing::warn!(error = chain(&error), stem = sheet.stem, "no picture"),
                        }
                    }
                });
            });
            if let Err(error) = drawn.await {
                tracing::warn!(%error, "no picture: drawing it ended abnormally");
            }
        };
        self.tasks.spawn(work.instrument(tracing::Span::current()));
    }

    /// Wait until everything is drawn, or so long.
    pub async fn finish(&self, longest: Duration) {
        self.tasks.close();
        if tokio::time::timeout(longest, self.tasks.wait()).await.is_err() {
            tracing::warn!("stopping with pictures not drawn");
        }
        self.tasks.reopen();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet(stem: &str) -> Sheet {
        let page = Page { title: stem.to_string(), ..Page::default() };
        Sheet { folder: "2026-03-10/soxs-mbias".to_string(), stem: stem.to_string(), page }
    }

    #[tokio::test]
    async fn pictures_appear_and_a_folder_that_cannot_be_made_hurts_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let gallery = Gallery::new(Some(folder.path().join("qc")));
        gallery.draw(vec![sheet("a"), sheet("b")]);
        gallery.finish(Duration::from_secs(60)).await;
        let made = folder.path().join("qc/2026-03-10/soxs-mbias");
        for name in ["a.pdf", "a.png", "b.pdf", "b.png"] {
            assert!(std::fs::metadata(made.join(name)).unwrap().len() > 1000, "{name}");
        }
        assert_eq!(std::fs::read_dir(&made).unwrap().count(), 4);

        let blocked = folder.path().join("a-file");
        std::fs::write(&blocked, "x").unwrap();
        let gallery = Gallery::new(Some(blocked.clone()));
        gallery.draw(vec![sheet("c")]);
        gallery.finish(Duration::from_secs(60)).await;
        assert_eq!(std::fs::read(&blocked).unwrap(), b"x");
        Gallery::new(None).draw(vec![sheet("d")]);
    }
}
