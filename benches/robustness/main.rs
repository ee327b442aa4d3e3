//! Does a wrong dispersion or spatial solution ever pass as good? Seeded trials on full frames of both arms.
//!
//! Each trial draws an arc through a single pinhole and one through nine, with the truth, and something wrong: shifts, a
//! slipped mask, lines or lamps that do not shine, bad pixels, dead regions, saturation, frames that show something else.
//! `disp_solution` and `spat_solution` reduce them as the daemon would. A result counts as solved when QC lets it pass and
//! it lies within twice the limits for usual frames; held when QC keeps it from becoming a master; refused when the recipe
//! gives a reason instead; wrong when QC lets it pass although it lies outside. A single wrong one ends with exit code 1.
//!
//! `cargo bench --bench robustness` makes 200 trials; `-- --trials N` another number, `--only KIND` those of one kind, and
//! `--verbose` a line for each.

mod judge;
mod stage;
mod trials;

use std::collections::BTreeMap;
use std::time::Instant;

use judge::{LIMITS, Outcome, judge};
use soxsd::instrument::Arm;
use soxsd::quality::Limits;
use soxsd::recipes::{MasterTable, RawFrame, RecipeError, RecipeInput, RecipeOutput, by_name};
use stage::{Conditions, Failure, Stage, order_table};
use trials::{Kind, trials};

const RECIPES: [&str; 2] = ["disp_solution", "spat_solution"];

/// What the command line asks for.
struct Wishes {
    trials: usize,
    only: Option<String>,
    verbose: bool,
}

/// How many trials of a kind came to which end.
#[derive(Clone, Debug, Default)]
struct Tally {
    solved: usize,
    held: usize,
    held_right: usize,
    refused: usize,
    none: usize,
    wrong: usize,
    worst: [f64; 4],
    /// Sum of the squared pulls of the solved trials.
    pulls: f64,
    reasons: BTreeMap<String, usize>,
}

fn main() -> Result<(), Failure> {
    let wishes = wishes()?;
    let stage = Stage::new();
    let limits = Limits::parse(Limits::DEFAULT_TEXT)?;
    let mut tallies: BTreeMap<(Kind, Arm, usize), Tally> = BTreeMap::new();
    let mut times: BTreeMap<(Arm, usize), Vec<f64>> = BTreeMap::new();
    let (mut count, mut wrong) = (0, 0);
    for (kind, conditions) in trials(wishes.trials) {
        if wishes.only.as_ref().is_some_and(|only| *only != format!("{kind:?}")) {
            continue;
        }
        count += 1;
        for (k, (ended, seconds)) in trial(&stage, &conditions, &limits)?.into_iter().enumerate() {
            if let Some(seconds) = seconds {
                times.entry((conditions.arm, k)).or_default().push(seconds);
            }
            let tally = tallies.entry((kind, conditions.arm, k)).or_default();
            let before = tally.wrong;
            tally.add(kind, ended.as_ref());
            wrong += tally.wrong - before;
            if wishes.verbose || tally.wrong > before {
                let mark = if tally.wrong > before { "WRONG " } else { "" };
                println!("{mark}{kind:?} {} seed {} {}: {ended:?}", conditions.arm, conditions.seed, RECIPES[k]);
                if !matches!(ended, Some(Outcome::Solved(_))) || tally.wrong > before {
                    println!("    {conditions:?}");
                }
            }
        }
    }
    report(&tallies, &times);
    println!("\n{count} trials, {wrong} wrong solutions passed as good");
    if wrong > 0 {
        std::process::exit(1);
    }
    Ok(())
}

/// `cargo bench` adds `--bench`.
fn wishes() -> Result<Wishes, Failure> {
    let mut wishes = Wishes { trials: 200, only: None, verbose: false };
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word}: give a value"));
        match word.as_str() {
            "--trials" => wishes.trials = value()?.parse()?,
            "--only" => wishes.only = Some(value()?),
            "--verbose" => wishes.verbose = true,
            _ => return Err(format!("{word}: give --trials N, --only KIND or --verbose").into()),
        }
    }
    Ok(wishes)
}

/// What became of a recipe in a trial and how long it took, s; nothing where it had nothing to work on.
type Tried = (Option<Outcome>, Option<f64>);

/// Both recipes on one trial: what became of each, `None` where it had nothing to work on, and how long it took.
fn trial(stage: &Stage, conditions: &Conditions, limits: &Limits) -> Result<[Tried; 2], Failure> {
    let master = conditions.master.then(|| stage.master(conditions)).transpose()?;
    let run = |recipe: &str, frame: RawFrame, tables: Vec<MasterTable>| {
        let recipe = by_name(recipe).ok_or("no such recipe")?;
        let start = Instant::now();
        let input =
            RecipeInput { frames: vec![frame], masters: master.iter().cloned().collect(), tables, maps: Vec::new() };
        let result = recipe.run(input, &toml::Table::new());
        Ok::<_, Failure>((result, start.elapsed().as_secs_f64()))
    };
    let view = conditions.view(true);
    let (first, seconds) = run(RECIPES[0], stage.frame(conditions, &view, true)?, Vec::new())?;
    let outcome = judge(RECIPES[0], conditions, &view, &first, limits)?;
    // the daemon uses what QC has passed; of another day where that is all there is
    let first = if conditions.stale.is_some() {
        let before = Conditions::usual(conditions.arm, conditions.seed ^ 0x0ff);
        Some(run(RECIPES[0], stage.frame(&before, &conditions.view_before(), true)?, Vec::new())?.0)
    } else {
        matches!(outcome, Outcome::Solved(_)).then_some(first)
    };
    let first_end = (Some(outcome), Some(seconds));
    let Some(table) = first.and_then(table_of) else { return Ok([first_end, (None, None)]) };
    let mut tables = vec![table];
    if conditions.edges {
        tables.push(order_table(conditions, &conditions.view(true))?);
    }
    let view = conditions.view(false);
    let (second, seconds) = run(RECIPES[1], stage.frame(conditions, &view, false)?, tables)?;
    let outcome = judge(RECIPES[1], conditions, &view, &second, limits)?;
    Ok([first_end, (Some(outcome), Some(seconds))])
}

fn table_of(result: Result<RecipeOutput, RecipeError>) -> Option<MasterTable> {
    let table = result.ok()?.tables.into_iter().find(|table| table.catg == "DISP_TAB")?;
    Some(MasterTable {
        catg: table.catg,
        tech: table.tech,
        name: "DISP_TAB of the trial".to_string(),
        tables: table.tables,
    })
}

impl Tally {
    fn add(&mut self, kind: Kind, ended: Option<&Outcome>) {
        let reason = match ended {
            None => {
                self.none += 1;
                return;
            }
            Some(Outcome::Solved(errors)) => {
                self.solved += 1;
                self.pulls += errors.pull * errors.pull;
                if kind.hopeless() || errors.wrong() {
                    self.wrong += 1;
                }
                for (worst, found) in self.worst.iter_mut().zip(errors.pixels) {
                    *worst = worst.max(found);
                }
                return;
            }
            Some(Outcome::Held(metrics, errors)) => {
                self.held += 1;
                self.held_right += usize::from(!errors.wrong());
                format!("QC: {}", metrics.join(", "))
            }
            Some(Outcome::Refused(reason)) => {
                self.refused += 1;
                reason.clone()
            }
        };
        // one line for reasons that differ in their figures alone
        let reason =
            reason.split(|c: char| c.is_ascii_digit()).map(|part| part.trim_end_matches('.')).collect::<Vec<_>>();
        *self.reasons.entry(reason.join("#").replace("##", "#")).or_default() += 1;
    }
}

fn report(tallies: &BTreeMap<(Kind, Arm, usize), Tally>, times: &BTreeMap<(Arm, usize), Vec<f64>>) {
    println!(
        "\nlimits: {:.2} rms and {:.2} at 99.9 % within the lines, {:.2} rms and {:.2} at most in the whole, pixels",
        LIMITS[0], LIMITS[1], LIMITS[2], LIMITS[3]
    );
    println!(
        "{:15} {:4} {:14} {:>6} {:>14} {:>7} {:>5} {:>6}  worst of the solved, pixels",
        "kind", "arm", "recipe", "solved", "held (right)", "refused", "none", "wrong"
    );
    let mut all = [0; 6];
    let mut reasons: BTreeMap<&String, usize> = BTreeMap::new();
    for ((kind, arm, recipe), t) in tallies {
        let [a, b, c, d] = t.worst;
        let worst = if t.solved > 0 { format!("{a:.3} {b:.3} {c:.3} {d:.3}") } else { String::new() };
        let name = format!("{kind:?}");
        println!(
            "{name:15} {arm:4} {:14} {:>6} {:>8} ({:>3}) {:>7} {:>5} {:>6}  {worst}",
            RECIPES[*recipe], t.solved, t.held, t.held_right, t.refused, t.none, t.wrong
        );
        let ends = [t.solved, t.held, t.held_right, t.refused, t.none, t.wrong];
        all.iter_mut().zip(ends).for_each(|(sum, end)| *sum += end);
        t.reasons.iter().for_each(|(reason, n)| *reasons.entry(reason).or_default() += n);
    }
    let [solved, held, right, refused, none, wrong] = all;
    println!("{:35} {solved:>6} {held:>8} ({right:>3}) {refused:>7} {none:>5} {wrong:>6}", "all");
    println!("\nreasons");
    for (reason, n) in reasons {
        println!("{n:4} {reason}");
    }
    println!();
    for (arm, recipe) in times.keys() {
        let of = tallies.iter().filter(|((_, other, k), _)| (other, k) == (arm, recipe)).map(|(_, tally)| tally);
        let (pulls, solved) = of.fold((0.0, 0), |(pulls, solved), tally| (pulls + tally.pulls, solved + tally.solved));
        println!(
            "{arm} {}: (measured - truth) / sigma of width {:.2}",
            RECIPES[*recipe],
            (pulls / solved as f64).sqrt()
        );
    }
    for ((arm, recipe), seconds) in times {
        let mut seconds = seconds.clone();
        seconds.sort_by(f64::total_cmp);
        println!(
            "{arm} {}: median {:.2} s, longest {:.2} s",
            RECIPES[*recipe],
            seconds.get(seconds.len() / 2).copied().unwrap_or(f64::NAN),
            seconds.last().copied().unwrap_or(f64::NAN)
        );
    }
}
