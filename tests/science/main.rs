//! The real binary on a small night: every kind of science product is there for every kind of observation, the archive would
//! take each of them, and a spectrum of both arms is made of those of the arms, once.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use soxsd::fits::Anatomy;

const RECIPES: [&str; 3] = ["soxs-stare", "soxs-nod", "soxs-merge-arms"];

#[test]
fn every_observation_has_all_its_products_and_the_archive_takes_them() {
    let site = Site::reduced();
    every_kind_is_there(&site);
    both_arms_are_in_one(&site);
    the_archive_takes_all(&site);
    the_story_is_told(&site);
    merging_by_hand_gives_the_same(&site);
    nothing_is_made_twice(&site);
    the_same_result_again_changes_nothing(&site);
}

/// A folder with the small night and what was reduced of it.
struct Site {
    folder: tempfile::TempDir,
}

impl Site {
    fn reduced() -> Site {
        let site = Site { folder: tempfile::tempdir().expect("a folder") };
        let plan = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/science/night.toml");
        printed(&["simulate", plan, "--out", &site.at("raw")]);
        site.reduce();
        site
    }

    fn at(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn reduce(&self) {
        printed(&["reduce", &self.at("raw"), "--work", &self.at("work")]);
    }

    fn path(&self, recipe: &str, name: &str) -> PathBuf {
        self.folder.path().join("work/reduced/2026-03-10").join(recipe).join(name)
    }

    /// Files of a recipe in the tree of products, by name.
    fn files(&self, recipe: &str) -> BTreeSet<String> {
        let entries = std::fs::read_dir(self.path(recipe, "")).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    /// The one file of a recipe whose name has both in it.
    fn one(&self, recipe: &str, target: &str, kind: &str) -> PathBuf {
        let files = self.files(recipe);
        let found: Vec<&String> =
            files.iter().filter(|name| name.contains(target) && plain(name).contains(kind)).collect();
        assert_eq!(found.len(), 1, "{target} {kind} in {files:#?}");
        self.path(recipe, found[0])
    }

    fn rows(&self, what: &str) -> Vec<Value> {
        let text = printed(&[what, "--work", &self.at("work"), "--json"]);
        serde_json::from_str(&text).expect("a list of rows")
    }

    /// Sets of `merge_arms`, by their object.
    fn merged(&self, object: &str) -> Value {
        let rows = self.rows("sets");
        let mut found = rows.into_iter().filter(|set| set["recipe"] == "merge_arms" && set["object"] == object);
        let set = found.next().unwrap_or_else(|| panic!("no set of {object}"));
        assert!(found.next().is_none(), "one set beside the one of UV-VIS");
        set
    }

    fn why(&self, set: &Value) -> String {
        printed(&["why", set["name"].as_str().expect("a name"), "--work", &self.at("work")])
    }
}

/// A name without the number of its reduction: a response that comes later makes a second one.
fn plain(name: &str) -> String {
    match name.rsplit_once("_R").zip(name.rsplit_once('.')) {
        Some(((stem, number), (_, suffix))) if number.starts_with(|c: char| c.is_ascii_digit()) => {
            format!("{stem}.{suffix}")
        }
        _ => name.to_string(),
    }
}

fn soxsd(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_soxsd"));
    command.args(arguments).env_remove("SOXSD_CONFIG").output().expect("soxsd runs")
}

/// What it printed; it must have ended well.
fn printed(arguments: &[&str]) -> String {
    let output = soxsd(arguments);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "soxsd {arguments:?}: {}\n{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

fn card(path: &Path, keyword: &str) -> f64 {
    let anatomy = Anatomy::of(path).expect("a FITS file");
    anatomy.parts[0].header.real(keyword).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn associated(path: &Path) -> Vec<String> {
    let header = &Anatomy::of(path).expect("a FITS file").parts[0].header;
    (1..).map_while(|number| header.text(&format!("ASSON{number}")).ok().map(str::to_string)).collect()
}

fn every_kind_is_there(site: &Site) {
    for (recipe, target, arm) in
        [("soxs-stare", "AT2026abc", "VIS"), ("soxs-stare", "AT2026abc", "NIR"), ("soxs-nod", "AT2026xyz", "NIR")]
    {
        let science = site.one(recipe, &format!("{target}_20260311T02"), &format!("_{arm}_1D.fits"));
        let companions = associated(&science);
        assert_eq!(companions.len(), 2, "the spectrum in two dimensions, and the picture: {companions:?}");
        for companion in &companions {
            assert!(site.path(recipe, companion).is_file(), "{companion}");
        }
        assert!(
            plain(&companions[0]).ends_with("_2D.fits") && plain(&companions[1]).ends_with("_1D.png"),
            "{companions:?}"
        );
        assert!(card(&science, "SPEC_ERR") > 0.0 && card(&science, "SNR") > 3.0);
        site.one(recipe, &format!("{target}_20260311T02"), &format!("_{arm}_SPEC.fits"));
    }
}

fn both_arms_are_in_one(site: &Site) {
    let files = site.files("soxs-merge-arms");
    assert_eq!(files.len(), 4, "a table, the science file, its picture, the layout of the paper: {files:#?}");
    let science = site.one("soxs-merge-arms", "SOXS_AT2026abc", "_JNT_1D.fits");
    assert!(card(&science, "WAVELMIN") < 360.0 && card(&science, "WAVELMAX") > 1900.0);
    assert_eq!((card(&science, "NCOMBINE"), card(&science, "EXPTIME")), (2.0, 300.0));
    assert!((card(&science, "ESO QC ARM SCALE") - 1.0).abs() < 0.1, "{}", card(&science, "ESO QC ARM SCALE"));
    assert_eq!(associated(&science).len(), 1);
    site.one("soxs-merge-arms", "SOXS_AT2026abc", "_JNT_SPEC.fits");
}

fn the_archive_takes_all(site: &Site) {
    let claim = |name: &String| name.starts_with("SOXS_") && !name.contains("_SPEC.");
    let claims: Vec<String> = RECIPES
        .iter()
        .flat_map(|recipe| site.files(recipe).into_iter().filter(claim).map(|name| site.path(recipe, &name)))
        .map(|path| path.display().to_string())
        .collect();
    // three of each spectrum of an arm, two of that of both
    assert_eq!(claims.len(), 4 * 3 + 2, "{claims:#?}");
    let arguments: Vec<&str> = std::iter::once("validate").chain(claims.iter().map(String::as_str)).collect();
    let report = printed(&arguments);
    // a pair of nods shows no sky lines by which its wavelengths could be held to the sky
    let remarks: Vec<&str> = report.lines().filter(|line| line.contains(" warning ")).collect();
    assert!(remarks.len() == 1 && remarks[0].contains("SPEC_SYE") && remarks[0].contains("AT2026xyz"), "{report}");
}

/// What was merged names its parts; what could not be says what was looked for.
fn the_story_is_told(site: &Site) {
    let merged = site.merged("AT2026abc");
    assert_eq!(merged["state"], "complete");
    let story = site.why(&merged);
    for word in ["FLUXCAL_VIS", "FLUXCAL_NIR", "merge_arms"] {
        assert!(story.contains(word), "{word}: {story}");
    }
    let alone = site.merged("AT2026xyz");
    assert_eq!(alone["state"], "short");
    let story = site.why(&alone);
    assert!(
        story.contains("FLUXCAL_NIR") && story.contains("kind is object_nod, the data have object_stare"),
        "{story}"
    );
    site.one("soxs-stare", "SOXS_AT2026xyz", "_VIS_1D.fits");
}

/// `soxsd recipe` on the SOF file of the daemon.
fn merging_by_hand_gives_the_same(site: &Site) {
    let by_daemon = site.one("soxs-merge-arms", "", "_FLUXCAL.fits");
    let name = by_daemon.file_name().expect("a name").to_string_lossy().into_owned();
    let sof = site.at(&format!("work/sof/{}.sof", name.trim_end_matches("_FLUXCAL.fits")));
    let out = site.at("by-hand");
    printed(&["recipe", "merge_arms", "--sof", &sof, "--out", &out]);
    let data = |path: &Path| {
        let anatomy = Anatomy::of(path).expect("a FITS file");
        anatomy.data(&anatomy.parts[1]).expect("a table")
    };
    let by_hand = Path::new(&out).join(&name);
    assert!(data(&by_hand).len() > 1_000_000);
    assert!(data(&by_hand) == data(&by_daemon), "other numbers by hand");
    let science = site.one("soxs-merge-arms", "", "_JNT_1D.fits");
    assert!(Path::new(&out).join(science.file_name().expect("a name")).is_file(), "the science file too");
}

fn nothing_is_made_twice(site: &Site) {
    let before = RECIPES.map(|recipe| site.files(recipe));
    site.reduce();
    assert_eq!(RECIPES.map(|recipe| site.files(recipe)), before);
}

/// Another reduction that gives the same bytes is no new product, and nothing is merged or delivered again.
fn the_same_result_again_changes_nothing(site: &Site) {
    let products = || -> BTreeSet<String> {
        site.rows("products").iter().map(|product| product["archive_name"].to_string()).collect()
    };
    let before = products();
    let rows = site.rows("sets");
    let infrared = rows
        .iter()
        .find(|set| set["recipe"] == "stare" && set["arm"] == "NIR" && set["object"] == "AT2026abc")
        .expect("the set of NIR");
    let set = format!("set:{}", infrared["id"]);
    printed(&["reprocess", &set, "--why", "a test", "--work", &site.at("work")]);
    site.reduce();
    assert_eq!(products(), before);
    the_archive_takes_all(site);
}
