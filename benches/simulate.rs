//! How long simulated frames take, arm by arm and kind by kind.
//!
//! Frames of the shipped plan `full` are drawn and written to a temporary directory. The first frame of a template sets its
//! scene, which the others share, so that both are timed and weighed by how many there are: `cargo bench --bench simulate`
//! takes every eighth frame of a template, the first always and a second one where there is one, and `-- --every 1` all
//! of them; then the whole night is observed too, truth and all, as `soxsd simulate` does. `-- --plan NAME` takes another
//! plan. The requirement is a full night in under 10 minutes on 2 cores with under 2 GB.

use std::collections::BTreeMap;
use std::time::Instant;

use soxsd::instrument::Arm;
use soxsd::simulator::observe::{Options, RealTimer, observe};
use soxsd::simulator::{NightPlan, Plan, write};

/// Seconds for drawing and for writing one frame after another.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    frames: f64,
    drawing: f64,
    writing: f64,
}

impl Cost {
    fn add(&mut self, other: Cost) {
        self.frames += other.frames;
        self.drawing += other.drawing;
        self.writing += other.writing;
    }

    /// So many frames that cost the same on average.
    fn of(self, frames: f64) -> Cost {
        let factor = if self.frames > 0.0 { frames / self.frames } else { 0.0 };
        Cost { frames, drawing: factor * self.drawing, writing: factor * self.writing }
    }
}

/// What was timed of a template.
#[derive(Default)]
struct Timed {
    first: Cost,
    others: Cost,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (every, name) = arguments()?;
    let plan = Plan::load(&name)?;
    let short = thinned(&plan.night, every);
    let exposures = short.exposures()?;
    println!(
        "plan {name}: {} of {} frames, {} threads",
        exposures.len(),
        plan.night.exposures()?.len(),
        rayon::current_num_threads()
    );

    let directory = tempfile::tempdir()?;
    let mut timed: BTreeMap<usize, Timed> = BTreeMap::new();
    let mut frames = short.frames(short.seeds.night)?;
    for exposure in &exposures {
        let start = Instant::now();
        let frame = frames.next().ok_or("fewer frames than exposures")??;
        let drawing = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let path = write(&frame, directory.path())?;
        let writing = start.elapsed().as_secs_f64();
        std::fs::remove_file(path)?;
        let cost = Cost { frames: 1.0, drawing, writing };
        let template = timed.entry(exposure.template).or_default();
        if exposure.expno == 1 { template.first.add(cost) } else { template.others.add(cost) }
    }

    // Each template as the plan has it.
    let mut kinds: BTreeMap<(Arm, &str), Cost> = BTreeMap::new();
    for (index, template) in plan.night.templates.iter().enumerate() {
        let Some(timed) = timed.get(&(index + 1)) else { continue };
        let kind = kinds.entry((template.arm, template.kind.name())).or_default();
        kind.add(timed.first);
        kind.add(timed.others.of(f64::from(template.frames + template.off) - 1.0));
    }
    println!("\n{:4} {:20} {:>6} {:>11} {:>16}", "arm", "kind", "frames", "drawn/s", "drawn, written/s");
    let mut arms: BTreeMap<Arm, Cost> = BTreeMap::new();
    for ((arm, kind), cost) in &kinds {
        print(&arm.to_string(), kind, cost);
        arms.entry(*arm).or_default().add(*cost);
    }
    let mut night = Cost::default();
    for (arm, cost) in &arms {
        print(&arm.to_string(), "all", cost);
        night.add(*cost);
    }
    print("all", "all", &night);
    println!("\nwhole night: {:.0} s of drawing, {:.0} s of writing", night.drawing, night.writing);

    if every == 1 {
        let options =
            Options { out: directory.path().join("raw"), truth: directory.path().join("truth"), ..Options::default() };
        let summary = observe(&plan, &options, &RealTimer::start(), &|| false, &mut |_| {})?;
        println!("observed: {} frames with their truth in {:.0} s (limit 600 s)", summary.frames, summary.seconds);
    }
    match peak_memory() {
        Some(megabytes) => println!("peak memory: {megabytes:.0} MB (limit 2000 MB)"),
        None => println!("peak memory: not known on this system"),
    }
    Ok(())
}

fn print(arm: &str, kind: &str, cost: &Cost) {
    let (drawn, both) = (cost.frames / cost.drawing, cost.frames / (cost.drawing + cost.writing));
    println!("{arm:4} {kind:20} {:>6.0} {drawn:>11.2} {both:>16.2}", cost.frames);
}

/// Take every n-th frame, and the plan. `cargo bench` adds `--bench`.
fn arguments() -> Result<(u32, String), Box<dyn std::error::Error>> {
    let (mut every, mut plan) = (8, "full".to_string());
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word}: give a value"))?;
        match word.as_str() {
            "--every" => every = value.parse::<u32>().map_err(|error| format!("--every {value}: {error}"))?.max(1),
            "--plan" => plan = value,
            _ => return Err(format!("{word}: give --every N or --plan NAME").into()),
        }
    }
    Ok((every, plan))
}

/// The night with one frame in `every` of each template, at least one, and a second one where there is one.
fn thinned(night: &NightPlan, every: u32) -> NightPlan {
    let mut night = night.clone();
    let share = |frames: u32| frames.div_ceil(every).max(2).min(frames);
    for template in &mut night.templates {
        template.frames = share(template.frames);
        template.off = template.off.div_ceil(every);
        let total = template.frames + template.off;
        template.faults.retain(|planned| planned.frame.is_none_or(|frame| frame <= total));
    }
    night
}

/// The most memory that this process has held, MB.
fn peak_memory() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<f64>().ok()? / 1024.0)
}
