//! The arrows of the house point one way: each room may use only the rooms listed for it, and each foreign language
//! (SQL, cfitsio, HTTP) is spoken in one room only. What must give the same bits on every machine calls no function that
//! the machine rounds as it likes.

use std::fs;
use std::path::{Path, PathBuf};

/// Room, and the rooms that it may use.
const MAY_USE: [(&str, &[&str]); 20] = [
    ("fault", &[]),
    ("clock", &[]),
    ("liveness", &[]),
    ("numerics", &[]),
    ("fits", &["fault"]),
    ("instrument", &["fault", "fits"]),
    ("quality", &["fault", "instrument"]),
    ("reduction", &["fault", "instrument", "numerics"]),
    ("recipes", &["fault", "instrument", "numerics", "quality", "reduction"]),
    ("config", &["fault"]),
    ("products", &["fault", "fits", "instrument", "quality", "recipes", "reduction"]),
    ("catalogue", &["clock", "fault", "fits", "instrument", "quality"]),
    ("ingest", &["catalogue", "clock", "config", "fault", "fits", "instrument"]),
    ("association", &["catalogue", "clock", "config", "fault", "instrument"]),
    (
        "scheduler",
        &[
            "association",
            "catalogue",
            "clock",
            "config",
            "fault",
            "fits",
            "instrument",
            "products",
            "quality",
            "recipes",
        ],
    ),
    ("delivery", &["catalogue", "clock", "config", "fault", "fits", "instrument", "liveness"]),
    (
        "service",
        &[
            "association",
            "catalogue",
            "clock",
            "config",
            "delivery",
            "fault",
            "fits",
            "instrument",
            "liveness",
            "products",
        ],
    ),
    ("simulator", &["fault", "fits", "instrument"]),
    (
        "daemon",
        &[
            "association",
            "catalogue",
            "clock",
            "config",
            "delivery",
            "fault",
            "fits",
            "ingest",
            "instrument",
            "liveness",
            "quality",
            "recipes",
            "scheduler",
            "service",
            "simulator",
        ],
    ),
    (
        "cli",
        &[
            "association",
            "catalogue",
            "clock",
            "config",
            "daemon",
            "delivery",
            "fault",
            "fits",
            "ingest",
            "instrument",
            "products",
            "quality",
            "recipes",
            "scheduler",
            "service",
            "simulator",
        ],
    ),
];

/// A word that betrays a foreign language, and the only rooms that may say it.
const SPOKEN_IN: [(&str, &[&str]); 9] = [
    ("sqlx::", &["catalogue"]),
    ("fitsio::", &["fits"]),
    ("reqwest::", &["delivery", "cli"]),
    ("lettre::", &["delivery"]),
    ("axum::", &["service"]),
    ("clap::", &["cli"]),
    ("notify::", &["ingest"]),
    ("Timestamp::now", &["clock", "scheduler/joblog.rs"]),
    ("SystemTime::now", &[]),
];

/// Methods of floating-point numbers whose last bit depends on the machine's C library, or on the compiler. `sqrt`,
/// `abs`, `round`, `to_radians` and the like are exact, or plain products.
const ROUNDED_BY_THE_MACHINE: [&str; 30] = [
    "exp", "exp2", "exp_m1", "ln", "ln_1p", "log", "log2", "log10", "powf", "powi", "sin", "cos", "tan", "sin_cos",
    "asin", "acos", "atan", "atan2", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "hypot", "cbrt", "gamma",
    "ln_gamma", "erf", "erfc",
];

/// Code whose results are promised bit by bit: the simulator, and the geometry that it draws with.
const SAME_BITS_EVERYWHERE: [&str; 2] = ["simulator/", "instrument/format/"];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Path below src, the room it belongs to, and its code without comments and without its tests.
fn rooms() -> Vec<(String, String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    sources(&root, &mut paths);
    paths
        .into_iter()
        .map(|path| {
            let below = path.strip_prefix(&root).expect("below src").display().to_string();
            let room = below.split(['/', '.']).next().unwrap_or_default().to_string();
            let text = fs::read_to_string(&path).expect("readable");
            let code: Vec<&str> = text
                .split("#[cfg(test)]\nmod tests {")
                .next()
                .unwrap_or_default()
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .collect();
            (below, room, code.join("\n"))
        })
        .filter(|(below, _, _)| !below.contains("tests"))
        .collect()
}

/// The word by itself, not as the end of another one.
fn says(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back().unwrap_or(' ');
        !(before.is_alphanumeric() || before == '_')
    })
}

#[test]
fn every_arrow_points_down() {
    let mut wrong = Vec::new();
    for (below, room, code) in rooms() {
        if matches!(room.as_str(), "lib" | "main") {
            continue;
        }
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == room) else {
            wrong.push(format!("{below}: room {room} is not in the table"));
            continue;
        };
        for part in code.split("crate::").skip(1) {
            let used: String = part.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            let is_room = MAY_USE.iter().any(|(name, _)| *name == used);
            if is_room && used != room && !allowed.contains(&used.as_str()) {
                wrong.push(format!("{below} uses {used}"));
            }
        }
    }
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_language_is_spoken_in_its_room() {
    let mut wrong = Vec::new();
    for (below, room, code) in rooms() {
        for (word, allowed) in SPOKEN_IN {
            if says(&code, word) && !allowed.contains(&room.as_str()) && !allowed.contains(&below.as_str()) {
                wrong.push(format!("{below} says {word}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What breaks the promise of the same bits in a piece of code: a method (`x.exp()`, `f64::exp`), or a Fourier transform
/// that chooses its instructions, and with them its rounding, by the processor.
fn rounded_by_the_machine(code: &str) -> Vec<String> {
    let ends = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    let mut found = Vec::new();
    for method in ROUNDED_BY_THE_MACHINE {
        let call = format!(".{method}(");
        let path = |float: &str| {
            let name = format!("{float}::{method}");
            code.match_indices(&name).any(|(at, _)| ends(&code[at + name.len()..]))
        };
        if code.contains(&call) || path("f64") || path("f32") {
            found.push(method.to_string());
        }
    }
    for planner in ["FftPlanner", "FftPlannerAvx", "FftPlannerSse", "FftPlannerNeon", "FftPlannerWasmSimd"] {
        if code.match_indices(planner).any(|(at, _)| ends(&code[at + planner.len()..])) {
            found.push(planner.to_string());
        }
    }
    found
}

#[test]
fn simulated_bits_are_the_same_on_every_machine() {
    let mut wrong = Vec::new();
    let mut read = 0;
    for (below, _, code) in rooms() {
        if SAME_BITS_EVERYWHERE.iter().any(|start| below.starts_with(start)) {
            read += 1;
            wrong.extend(rounded_by_the_machine(&code).into_iter().map(|word| format!("{below} says {word}")));
        }
    }
    assert!(read > 60, "only {read} files of the simulator were found");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_breach_of_the_same_bits_would_be_seen() {
    for (code, word) in [
        ("let y = (-x).exp();", "exp"),
        ("let y = x.powi(2);", "powi"),
        ("values.iter().copied().map(f64::ln)", "ln"),
        ("f32::sin(x)", "sin"),
        ("let mut planner = FftPlanner::new();", "FftPlanner"),
        ("planner: FftPlanner<f64>", "FftPlanner"),
    ] {
        assert_eq!(rounded_by_the_machine(code), [word], "{code}");
    }
    for code in ["math::exp(x)", "x.sqrt().abs()", "FftPlannerScalar::new()", "f64::ln_table", "libm::exp(x)"] {
        assert!(rounded_by_the_machine(code).is_empty(), "{code}");
    }
}
