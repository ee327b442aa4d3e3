//! How long every recipe of the cascade takes on full frames, what of that is reading and writing, and its memory.
//!
//! The frames of the shipped plan `quick` are drawn into a temporary directory. Every set is reduced as the daemon would,
//! with the products of the sets before it: `cargo bench --bench recipes`, medians of 5 runs. Timed are the recipe alone
//! on inputs in memory, and the whole attempt: inputs read, recipe, products written. The files stay in the page cache and
//! nothing waits for the disk, which makes reading and writing as short as they can be; the last column is the whole over
//! them (`mbias` and `mdark`: at most 2). Peak memory is that of the process during the whole attempt (Linux).
//! `-- --plan NAME` takes another plan.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use soxsd::association::{Rules, names};
use soxsd::config::Config;
use soxsd::daemon::CheckedRules;
use soxsd::fits::{Header, ReadLimits, ScanLimits, read_image, scan};
use soxsd::instrument::{Arm, FrameMeta};
use soxsd::products::{Product, add_calibration};
use soxsd::recipes::{RawFrame, RecipeInput, all, by_name};
use soxsd::scheduler::attempt::{self, Order, OrderedFile, OrderedFrame, OrderedMaster};
use soxsd::simulator::{Plan, write};

const ROUNDS: usize = 5;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let rules = CheckedRules::load(&Config::defaults()?)?;
    let mut sets = sets(&plan()?, directory.path(), &rules)?;
    // a set comes after those that its masters are made from
    let place = |recipe: &str| all().iter().position(|known| known.name() == recipe);
    sets.sort_by_key(|set| (set.arm().as_str(), place(&set.recipe)));
    println!("{} threads; medians of {ROUNDS}", rayon::current_num_threads());
    println!(
        "{:16} {:4} {:>6} {:>10} {:>10} {:>6} {:>9} {:>9}",
        "recipe", "arm", "frames", "recipe", "with I/O", "I/O", "peak", "all / I/O"
    );
    let mut masters = BTreeMap::new();
    for set in &sets {
        if by_name(&set.recipe).is_some() {
            measure(set, &mut masters, &rules, directory.path())?;
        }
    }
    Ok(())
}

fn plan() -> Result<Plan, Failure> {
    let given: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match given.as_slice() {
        [] => Ok(Plan::load("quick")?),
        [option, name] if option == "--plan" => Ok(Plan::load(name)?),
        _ => Err("usage: cargo bench --bench recipes [-- --plan NAME]".into()),
    }
}

/// Raw frames that are reduced together.
struct Set {
    recipe: String,
    raw: Vec<OrderedFrame>,
    header: Header,
}

impl Set {
    fn arm(&self) -> Arm {
        self.raw[0].meta.arm
    }
}

/// Draw the night and put the frames of every template together.
fn sets(plan: &Plan, directory: &Path, rules: &CheckedRules) -> Result<Vec<Set>, Failure> {
    let mut sets: BTreeMap<(Arm, jiff::Timestamp, String), Set> = BTreeMap::new();
    for frame in plan.night.frames(plan.night.seeds.night)? {
        let path = write(&frame?, directory)?;
        let (frame, header) = described(&path, rules)?;
        let Some(recipe) = frame.meta.recipe.clone() else { continue };
        sets.entry((frame.meta.arm, frame.meta.tpl_start, recipe.clone()))
            .or_insert_with(|| Set { recipe, raw: Vec::new(), header })
            .raw
            .push(frame);
    }
    Ok(sets.into_values().collect())
}

fn described(path: &Path, rules: &CheckedRules) -> Result<(OrderedFrame, Header), Failure> {
    let scanned = scan(path, &ScanLimits::default())?;
    let primary = scanned.hdus.first().ok_or("no header")?;
    let (columns, rows) = (primary.shape[0] as usize, primary.shape[1] as usize);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let far_future = "2100-01-01T00:00:00Z".parse()?;
    let meta = rules.classification.classify(&name, &primary.header, (rows, columns), primary.bitpix, far_future)?;
    let metadata = std::fs::metadata(path)?;
    let mtime_us = attempt::mtime_us(&metadata).ok_or("no time of modification")?;
    let file = OrderedFile { path: path.to_path_buf(), size: metadata.len() as i64, mtime_us };
    Ok((OrderedFrame { meta, digest: scanned.sha256.clone(), file: Some(file) }, primary.header.clone()))
}

/// Time one set and keep its products for those that come after it.
fn measure(
    set: &Set,
    masters: &mut BTreeMap<String, PathBuf>,
    rules: &CheckedRules,
    directory: &Path,
) -> Result<(), Failure> {
    let order = order(set, masters, rules)?;
    let recipe = by_name(&set.recipe).ok_or("no such recipe")?;
    let (mut alone, mut whole, mut peak) = (Vec::new(), Vec::new(), 0);
    for _ in 0..ROUNDS {
        let input = input(&order)?;
        let start = Instant::now();
        recipe.run(input, &order.parameters)?;
        alone.push(start.elapsed().as_secs_f64());

        reset_peak();
        let start = Instant::now();
        let reduced = attempt::reduce(&order, &rules.limits)?;
        for product in Product::all(&reduced.output) {
            let path = directory.join(attempt::file_name(&order, product));
            if path.exists() {
                std::fs::remove_file(&path)?;
            }
            attempt::write(&order, &reduced, product, &path)?;
            masters.insert(format!("{}_{}", product.catg(), set.arm()), path);
        }
        whole.push(start.elapsed().as_secs_f64());
        peak = peak.max(peak_memory());
    }
    let (alone, whole) = (median(alone), median(whole));
    println!(
        "{:16} {:4} {:>6} {:>7.0} ms {:>7.0} ms {:>4.0} % {:>6} MB {:>9.2}",
        set.recipe,
        set.arm().as_str(),
        set.raw.len(),
        1e3 * alone,
        1e3 * whole,
        100.0 * (whole - alone).max(0.0) / whole,
        peak / 1_000_000,
        whole / (whole - alone).max(1e-9),
    );
    Ok(())
}

/// The order that the daemon would give, with the newest masters.
fn order(set: &Set, masters: &BTreeMap<String, PathBuf>, rules: &CheckedRules) -> Result<Order, Failure> {
    let rule = Rules::recipe(&rules.association, &set.recipe).ok_or("no rule for the recipe")?;
    let arm = set.arm();
    let masters = rule
        .needs_of(arm)
        .filter_map(|need| {
            let catg = need.catg(arm);
            let path = masters.get(&catg)?.clone();
            let name = path.file_name()?.to_string_lossy().into_owned();
            Some(OrderedMaster { name, catg, md5: String::new(), shown: path.clone(), path })
        })
        .collect();
    Ok(Order {
        recipe: set.recipe.clone(),
        parameters: rules.book.parameters(&set.recipe),
        ordered: set.raw[0].meta.date_obs,
        set_name: names::stem(&set.raw[0].meta, &rule.token),
        raw: set.raw.clone(),
        masters,
        header: set.header.clone(),
        revision: 1,
        previews: true,
    })
}

fn input(order: &Order) -> Result<RecipeInput, Failure> {
    let read = |frame: &OrderedFrame| -> Result<RawFrame, Failure> {
        let file = frame.file.as_ref().ok_or("no file")?;
        let meta: FrameMeta = frame.meta.clone();
        Ok(RawFrame { meta, adu: read_image(&file.path, &ReadLimits::default())?.data })
    };
    let frames = order.raw.iter().map(read).collect::<Result<_, Failure>>()?;
    let mut input = RecipeInput { frames, ..RecipeInput::default() };
    for master in &order.masters {
        add_calibration(&mut input, &master.path, &master.name, &master.catg)?;
    }
    Ok(input)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Forget the highest memory so far.
fn reset_peak() {
    // without the right to do so the peak is that of the whole run
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Highest resident memory since [`reset_peak`], bytes; 0 where the system does not tell.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}
