//! Ten thousand frames that were there before: how long until the catalogue knows them all and every set has its plan,
//! how much memory that takes, and how long `status` takes meanwhile. `cargo bench --bench ingest`.
//!
//! Frames have headers of every kind and a few pixels, so that what is measured is ingest and not the disk. The built-in
//! rules are used but for the sizes of the detectors.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};
use soxsd::association::{Association, Rules};
use soxsd::catalogue::Catalogue;
use soxsd::catalogue::views::Filter;
use soxsd::clock::SystemClock;
use soxsd::config::Config;
use soxsd::fits::{ImageHdu, PlaneData, write_images};
use soxsd::ingest::Ingest;
use soxsd::instrument::Classification;
use soxsd::scheduler::book::RecipeBook;
use soxsd::simulator::NightPlan;

const FRAMES: usize = 10_000;

fn main() -> Result<()> {
    let temp = tempfile::tempdir()?;
    let raw = temp.path().join("raw");
    let nights = make_frames(&raw)?;
    let before = memory_kib("VmHWM")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(measure(temp.path(), raw, nights, before))
}

async fn measure(folder: &Path, raw: PathBuf, nights: usize, before: u64) -> Result<()> {
    let catalogue = Catalogue::open(&folder.join("work/catalogue.db"), Arc::new(SystemClock)).await?;
    let config = Config::defaults()?;
    let ingest = Ingest::new(catalogue.clone(), Arc::new(rules()?), vec![raw], config.ingest.clone(), true);
    let association = Association::new(
        catalogue.clone(),
        Arc::new(Rules::builtin()?),
        config.association.clone(),
        RecipeBook::new(&toml::Table::new())?.known(),
    );
    let worst = Arc::new(AtomicU64::new(0));
    let reader = tokio::spawn(read_meanwhile(catalogue.clone(), worst.clone()));
    let started = Instant::now();
    let report = ingest.scan_once().await?;
    let ingested = started.elapsed();
    anyhow::ensure!(report.frames == FRAMES && !report.pending, "not all frames were taken in: {report:?}");
    association.pass().await?;
    association.close_all_templates().await?;
    association.pass().await?;
    let associated = started.elapsed();
    reader.abort();
    let sets = catalogue.sets(&Filter { limit: 1_000_000, ..Filter::default() }).await?;
    let planned = sets.iter().filter(|set| set.job_id.is_some()).count();
    let started = Instant::now();
    let again = ingest.scan_once().await?;
    anyhow::ensure!(!again.changed(), "the second scan found something: {again:?}");
    println!("{FRAMES} frames of {nights} nights taken in:  {:.2} s", ingested.as_secs_f64());
    println!("... and {} sets made, {planned} planned:    {:.2} s", sets.len(), associated.as_secs_f64());
    println!("scan that finds nothing new:         {:.3} s", started.elapsed().as_secs_f64());
    println!("peak memory:                         {:.1} MiB", memory_kib("VmHWM")? as f64 / 1024.0);
    println!("peak memory before:                  {:.1} MiB", before as f64 / 1024.0);
    println!("longest answer of status meanwhile:  {:.1} ms", worst.load(Ordering::Relaxed) as f64 / 1000.0);
    Ok(())
}

/// Ask for the status again and again; keeps the longest time in microseconds.
async fn read_meanwhile(catalogue: Catalogue, worst: Arc<AtomicU64>) {
    loop {
        let started = Instant::now();
        if catalogue.status().await.is_ok() {
            worst.fetch_max(started.elapsed().as_micros() as u64, Ordering::Relaxed);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Frames of as many nights as are needed, each night in its folder. Returns the number of nights.
fn make_frames(raw: &Path) -> Result<usize> {
    let first: Timestamp = "2025-03-10T19:00:00Z".parse()?;
    let mut made = 0;
    for night in 0.. {
        let folder = raw.join(format!("night{night:03}"));
        fs::create_dir_all(&folder)?;
        let start = first + SignedDuration::from_hours(24 * night);
        for exposure in NightPlan::complete(start).exposures()? {
            if made == FRAMES {
                return Ok(night as usize + 1);
            }
            // Content of its own for each: frames of the same content are duplicates.
            let pixels = ndarray::Array2::<u16>::from_elem((4, 4), (made % 65_536) as u16);
            let reals = pixels.mapv(f32::from);
            let plane = match exposure.bitpix() {
                16 => PlaneData::U16(pixels.view()),
                _ => PlaneData::F32(reals.view()),
            };
            let path = folder.join(&exposure.name);
            write_images(&path, &[ImageHdu { extname: None, header: exposure.header.clone(), plane }])?;
            made += 1;
        }
    }
    Ok(0)
}

/// The built-in rules, with detectors as small as the frames made here.
fn rules() -> Result<Classification> {
    let resized = |line: &str| match line.split_once(" = [") {
        Some((key @ ("columns" | "rows"), _)) => format!("{key} = [1, 8192]"),
        _ => line.to_string(),
    };
    let text: Vec<String> = Classification::builtin_text().lines().map(resized).collect();
    Ok(Classification::parse(&text.join("\n"), "config/classification.toml with small detectors")?)
}

/// A figure of this process from the kernel, KiB.
fn memory_kib(name: &str) -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with(name)).context("the kernel does not say")?;
    Ok(line.split_whitespace().nth(1).context("no figure")?.parse()?)
}
