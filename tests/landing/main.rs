//! The real binary and everything that can happen to a file that lands: slow, out of order, cut off, doubled, renamed,
//! replaced, deleted, with broken headers, compressed in each way. The closing account has every file exactly once, in
//! the state that it should have, with a reason that names what was found; and the raw tree is as the writers left it.

#[path = "../support/lzw.rs"]
mod lzw;
mod night;
mod site;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use night::{Night, edited, patched, without_card};
use serde_json::Value;
use site::{Expected, Site, find};

/// Longest time from the last landing to the closing account.
const CLOSING: Duration = Duration::from_secs(150);

#[test]
fn every_file_is_accounted_for_exactly_once() {
    let night = Night::new();
    let mut site = Site::start();
    second_daemon_is_refused(&site);

    let mut account = Account::default();
    land_good_sets(&site, &night, &mut account);
    land_broken_headers(&site, &night, &mut account);
    land_what_is_no_frame(&site, &night, &mut account);
    land_copies(&site, &night, &mut account);
    change_landed_files(&site, &night, &mut account);

    site.wait("the closing account", CLOSING, |site| account.differences(site).is_empty() && site.is_at_rest());
    let untouched = site.snapshot();
    check_tables(&site, &account);
    check_products(&site, &night);
    check_stories(&site, &night);
    let rows = site.json(&["frames"]);

    site.terminate();
    assert_eq!(site.json(&["frames"]), rows, "the same account without the daemon");
    check_tables(&site, &account);
    assert_eq!(site.snapshot(), untouched, "files, contents and times below the raw root");
    assert_eq!(site.run(&["check"]).code, 0);
}

/// What should become of every file, by its path below the raw root.
#[derive(Default)]
struct Account(BTreeMap<String, Expected>);

impl Account {
    /// A frame whose fate is `outcome`; the reason must contain all of `words`.
    fn frame(&mut self, path: impl Into<String>, outcome: &'static str, words: &[&str]) {
        self.put(path.into(), "accepted", outcome, "", words);
    }

    fn quarantined(&mut self, path: impl Into<String>, code: &'static str, words: &[&str]) {
        self.put(path.into(), "quarantined", "quarantined", code, words);
    }

    fn other(&mut self, path: impl Into<String>, state: &'static str, code: &'static str, words: &[&str]) {
        self.put(path.into(), state, state, code, words);
    }

    fn put(&mut self, path: String, state: &'static str, outcome: &'static str, code: &'static str, words: &[&str]) {
        let words = words.iter().map(|word| word.to_string()).collect();
        self.0.insert(path, Expected { state, outcome, code, words });
    }

    /// What is not as it should be, in words.
    fn differences(&self, site: &Site) -> Vec<String> {
        let mut differences = Vec::new();
        let mut rows: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for row in site.rows(&["frames", "--limit", "1000"]) {
            rows.entry(site.below_raw(&row["path"])).or_default().push(row);
        }
        for (path, expected) in &self.0 {
            match rows.remove(path).as_deref() {
                Some([row]) => differences.extend(expected.difference(path, row)),
                Some(several) => differences.push(format!("{path}: {} times in the account", several.len())),
                None => differences.push(format!("{path}: not in the account")),
            }
        }
        differences.extend(rows.into_keys().map(|path| format!("{path}: in the account, and should not be")));
        differences
    }
}

fn second_daemon_is_refused(site: &Site) {
    let second = site.run(&["run"]);
    assert_eq!(second.code, 2, "{}", second.err);
    let lock = site.work().join("catalogue.db.lock");
    assert!(second.err.contains("soxsd status"), "it says what to do: {}", second.err);
    assert!(second.err.contains(&*lock.to_string_lossy()), "it names the lock {}: {}", lock.display(), second.err);
}

/// Three sets of five biases and one of three darks, landing in awkward ways.
fn land_good_sets(site: &Site, night: &Night, account: &mut Account) {
    // The last exposure first, one of them byte by byte, as over a slow line.
    let slow = &night.first[2];
    let writer = site.write_slowly(&slow.name, &slow.bytes);
    for frame in night.first.iter().rev().filter(|frame| frame.name != slow.name) {
        site.land(&frame.name, &frame.bytes);
        account.frame(&frame.name, "reduced", &[]);
    }
    account.frame(&slow.name, "reduced", &[]);

    // A folder that comes together with its files, and one whose name promises a frame.
    for (index, frame) in night.second.iter().enumerate() {
        let folder = if index < 4 { "2026-03-10" } else { "folder.fits" };
        let path = format!("{folder}/{}", frame.name);
        site.land(&path, &frame.bytes);
        account.frame(path, "reduced", &[]);
    }

    // One exposure of the five never becomes whole and one has no exposure time: three remain, enough for the recipe.
    for frame in &night.third[..3] {
        site.land(&frame.name, &frame.bytes);
        account.frame(&frame.name, "partial", &["3 of 5 exposures"]);
    }
    let cut = &night.third[3];
    site.land(&cut.name, &cut.bytes[..cut.bytes.len() * 6 / 10]);
    account.quarantined(&cut.name, "truncated", &[&cut.name, "bytes"]);
    let timeless = &night.third[4];
    site.land(&timeless.name, &patched(&timeless.bytes, "EXPTIME", "                 NaN"));
    account.quarantined(&timeless.name, "wrong_type", &["EXPTIME", "NaN"]);

    // Bad pixels in one of the darks are no reason to lose the exposure.
    for frame in &night.darks {
        site.land(&frame.name, &frame.bytes);
        account.frame(&frame.name, "reduced", &[]);
    }
    writer.join().expect("the slow writer ends");
}

/// Complete files of which no frame can be made.
fn land_broken_headers(site: &Site, night: &Night, account: &mut Account) {
    let mut spare = night.spare.iter();
    let mut next = || spare.next().expect("enough spare exposures");
    let (untyped, other, shooter, swapped) = (next(), next(), next(), next());
    site.land(&untyped.name, &edited(untyped, |header| header.remove("ESO DPR TYPE")));
    account.quarantined(&untyped.name, "missing", &["ESO DPR TYPE", "missing"]);
    site.land(&other.name, &edited(other, |header| header.set("INSTRUME", "EFOSC2", "")));
    account.quarantined(&other.name, "other_instrument", &["INSTRUME", "EFOSC2"]);
    let shooter_name = shooter.name.replace("SOXS.", "XSHOO.");
    site.land(&shooter_name, &edited(shooter, |header| header.set("INSTRUME", "XSHOOTER", "")));
    account.quarantined(shooter_name, "other_instrument", &["INSTRUME", "XSHOOTER"]);
    site.land(&swapped.name, &edited(swapped, |header| header.set("ESO SEQ ARM", "NIR", "")));
    account.quarantined(&swapped.name, "shape", &["NAXIS1", "NIR"]);

    let (product, unended, worded) = (next(), next(), next());
    site.land(&product.name, &edited(product, |header| header.set("ESO PRO CATG", "MASTER_BIAS_VIS", "")));
    account.quarantined(&product.name, "product", &["ESO PRO CATG", "MASTER_BIAS_VIS"]);
    site.land(&unended.name, &without_card(&unended.bytes, "END"));
    account.quarantined(&unended.name, "bad_header", &["END"]);
    site.land(&worded.name, &patched(&worded.bytes, "NAXIS1", "'many'"));
    account.quarantined(&worded.name, "bad_header", &["NAXIS1", "many"]);

    // Bytes that no FITS header may have are not shown as they are. A target's name may be anything.
    let (accented, odd) = (next(), &night.sky);
    site.land(&accented.name, &patched(&accented.bytes, "OBSERVER", "'Jos\u{e9} \u{1b}[2J'"));
    account.quarantined(&accented.name, "bad_header", &["OBSERVER", "0xe9", r"\x1b"]);
    site.land(&odd.name, &odd.bytes);
    account.frame(&odd.name, "pending", &["MASTER_FLAT_VIS", "DISP_IMAGE_VIS"]);
}

fn land_what_is_no_frame(site: &Site, night: &Night, account: &mut Account) {
    site.land("nothing.fits", b"");
    account.quarantined("nothing.fits", "empty", &["nothing.fits"]);
    site.land("letter.fits", b"Dear astronomers, here is no frame.\n");
    account.quarantined("letter.fits", "not_fits", &["letter.fits"]);
    site.land("notes.txt", b"seeing 0.8\n");
    account.other("notes.txt", "ignored", "not_a_frame", &[".fits"]);
    symlink(site.raw(), site.raw().join("circle")).expect("a link");
    symlink("self.fits", site.raw().join("self.fits")).expect("a link");
    account.quarantined("self.fits", "broken_link", &["link"]);
    // Names that writers use until a file is whole are passed over in silence.
    for name in [".hidden.fits.Xy12Zw", "coming.fits.part"] {
        site.land(name, &night.first[0].bytes[..9000]);
    }
}

/// One exposure in each compression, and one under a second name.
fn land_copies(site: &Site, night: &Night, account: &mut Account) {
    let frame = &night.second[0];
    let (plain, stem) = (format!("2026-03-10/{}", frame.name), frame.name.trim_end_matches(".fits"));
    site.wait_state(&plain, "accepted");
    let packed = lzw::compress(&frame.bytes, 16, true, usize::MAX);
    let copies = [(format!("{stem}.fits.gz"), night::gzip(&frame.bytes)), (format!("{stem}.fits.Z"), packed), {
        ("copy_of_a_bias.fits".to_string(), frame.bytes.clone())
    }];
    for (name, bytes) in copies {
        site.land(&name, &bytes);
        account.other(name, "duplicate", "", &["same content as", &plain]);
    }
}

/// What happens to files that soxsd has met already.
fn change_landed_files(site: &Site, night: &Night, account: &mut Account) {
    // Cut off, and completed before and after soxsd gave it up.
    let mut late = night.late.iter();
    let (before, after, deleted) = (late.next(), late.next(), late.next());
    let (Some(before), Some(after), Some(deleted)) = (before, after, deleted) else { panic!("three late exposures") };
    for frame in [before, after, deleted] {
        site.land(&frame.name, &frame.bytes[..100_000]);
    }
    site.wait_state(&before.name, "waiting");
    site.land(&before.name, &before.bytes);
    site.wait_state(&deleted.name, "waiting");
    fs::remove_file(site.raw().join(&deleted.name)).expect("deleted");
    account.other(&deleted.name, "gone", "", &["no longer there"]);
    site.wait_state(&after.name, "quarantined");
    site.land(&after.name, &after.bytes);
    for frame in [before, after] {
        account.frame(&frame.name, "unreduced", &["2 of at least 3 frames for mbias"]);
    }

    // Renamed below the root after it was reduced and delivered.
    let master = |row: &Value| row["catg"] == "MASTER_BIAS_VIS" && row["n_combined"] == 5 && row["revision"] == 1;
    site.wait("two delivered master biases of five frames", CLOSING, |site| {
        let masters = site.rows(&["products"]).into_iter().filter(master);
        masters.filter(|row| row["deliveries"].as_str().is_some_and(|text| text.contains("confirmed"))).count() == 2
    });
    let moved = &night.first[1].name;
    fs::create_dir(site.raw().join("moved")).expect("a folder");
    fs::rename(site.raw().join(moved), site.raw().join("moved/another name.fits")).expect("renamed");
    account.other(moved, "gone", "", &["no longer there"]);
    account.frame("moved/another name.fits", "reduced", &[]);

    // Taken again by the instrument under the same name: what was made of the old pixels must be made anew.
    site.land(&night.first[0].name, &night.retaken.bytes);

    // A product of soxsd, put into the raw folder by mistake.
    let products = site.rows(&["products", "--text", "MBIAS"]);
    let product = find(&products, "catg", "MASTER_BIAS_VIS");
    let folder = product["folder"].as_str().unwrap_or_default();
    let name = product["name"].as_str().unwrap_or_default();
    let bytes = fs::read(site.work().join("reduced").join(folder).join(name)).expect("the product is in the tree");
    site.land(name, &bytes);
    account.quarantined(name, "product", &["ESO PRO CATG", "MASTER_BIAS_VIS"]);
}

/// Tables agree with the expectation and with one another.
fn check_tables(site: &Site, account: &Account) {
    assert_eq!(account.differences(site), Vec::<String>::new());
    let mut files = 0;
    for night in site.rows(&["report"]) {
        let name = night["night"].as_str().unwrap_or_default();
        let report = site.json(&["report", name]);
        let counted: i64 =
            report["outcomes"].as_array().expect("outcomes").iter().filter_map(|count| count["count"].as_i64()).sum();
        assert_eq!(report["files"], counted, "the report of {name} adds up");
        assert_eq!(night["files"], counted, "{name} in the list of nights");
        files += counted;
    }
    assert_eq!(files, account.0.len() as i64, "every file is in the report of one night");
    let states = |rows: &[Value], key: &str| {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for row in rows {
            *counts.entry(row[key].as_str().unwrap_or_default().to_string()).or_default() += 1;
        }
        counts
    };
    let sets = states(&site.rows(&["sets"]), "state");
    let expected = [("complete", 4), ("partial", 1), ("short", 1)].map(|(state, count)| (state.to_string(), count));
    assert_eq!(sets, BTreeMap::from(expected), "three whole templates and the sky exposure; one partial; one short");
    for state in ["parked", "failed", "running", "ready"] {
        assert_eq!(site.rows(&["jobs", "--state", state]), Vec::<Value>::new(), "no job is {state}");
    }
    let waiting = states(&site.rows(&["jobs", "--state", "waiting"]), "recipe");
    assert_eq!(waiting, BTreeMap::from([("stare".to_string(), 1)]), "the sky exposure waits for its masters");
    let deliveries = states(&site.rows(&["deliveries", "--limit", "1000"]), "state");
    assert_eq!(deliveries.keys().collect::<Vec<_>>(), ["confirmed"], "{deliveries:?}");
}

/// One current product a kind and set; the retaken exposure made a second revision, and both are in the archive.
fn check_products(site: &Site, night: &Night) {
    let rows = site.rows(&["products", "--limit", "1000"]);
    assert!(rows.iter().all(|row| row["state"] == "current"), "{rows:#?}");
    let masters: Vec<&Value> = rows.iter().filter(|row| row["catg"] == "MASTER_BIAS_VIS").collect();
    let mut combined: Vec<i64> = masters.iter().filter_map(|row| row["n_combined"].as_i64()).collect();
    combined.sort_unstable();
    assert_eq!(combined, [3, 5, 5], "{masters:#?}");
    assert_eq!(rows.iter().filter(|row| row["catg"] == "MASTER_DARK_NIR" && row["n_combined"] == 3).count(), 1);

    let replaced = site.rows(&["products", "--state", "superseded"]);
    let old = find(&replaced, "catg", "MASTER_BIAS_VIS");
    let new = rows.iter().find(|row| row["name"] == old["name"]).expect("a product of that name is current");
    assert_eq!(new["set_id"], find(&site.rows(&["frames", "--text", &night.first[0].name]), "version", 2)["set_id"]);
    assert!(new["revision"].as_i64() > old["revision"].as_i64(), "{old:#} {new:#}");
    assert_ne!(new["archive_name"], old["archive_name"]);
    assert_ne!(new["sha256"], old["sha256"]);
    let archive = site.work().join("archive");
    for row in rows.iter().chain([old]) {
        let stored = archive
            .join(row["night"].as_str().unwrap_or_default())
            .join(row["archive_name"].as_str().unwrap_or_default());
        let found = fs::metadata(&stored).unwrap_or_else(|error| panic!("{}: {error}", stored.display()));
        assert_eq!(row["size"], found.len());
    }
}

/// `why` gives the reason on one screen.
fn check_stories(site: &Site, night: &Night) {
    for (target, words) in [
        (night.third[4].name.as_str(), &["EXPTIME", "NaN"][..]),
        (night.third[3].name.as_str(), &["bytes"]),
        (night.spare[1].name.as_str(), &["INSTRUME", "EFOSC2"]),
        ("copy_of_a_bias.fits", &["same content as"]),
        ("moved/another name.fits", &["reduced"]),
        (night.first[0].name.as_str(), &["reduced"]),
    ] {
        let path = site.raw().join(target);
        let story = site.run(&["why", &path.to_string_lossy()]);
        assert_eq!(story.code, 0, "{target}: {}", story.err);
        for word in words {
            assert!(story.out.contains(word), "why {target} says {word}: {}", story.out);
        }
        assert!(story.out.lines().count() <= 50, "one screen: {}", story.out);
        assert!(!story.out.contains('\u{1b}'), "no header steers the terminal");
    }
}
