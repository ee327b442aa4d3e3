//! What lands below a raw root becomes exactly one line of the account each, whatever its writer, the network or an
//! operator does to it; and soxsd never touches it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use soxsd::catalogue::Catalogue;
use soxsd::clock::{Clock, SystemClock};
use soxsd::config::{Config, IngestConfig, WatchMode};
use soxsd::ingest::{Ingest, ScanReport};
use soxsd::instrument::Classification;
use tokio_util::sync::CancellationToken;

const START: &str = "2026-03-11T12:00:00Z";

/// A clock that stands until it is moved.
struct TestClock(AtomicI64);

impl TestClock {
    fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(self.0.load(Ordering::SeqCst)).expect("a time")
    }
}

/// A raw root, a catalogue and an ingest with a clock that the test moves.
struct Site {
    temp: tempfile::TempDir,
    raw: PathBuf,
    clock: Arc<TestClock>,
    catalogue: Catalogue,
    ingest: Ingest,
}

fn settings() -> IngestConfig {
    let mut settings = Config::defaults().expect("defaults").ingest;
    settings.settle_s = 2.0;
    settings.incomplete_deadline_s = 600.0;
    settings
}

fn rules() -> Arc<Classification> {
    Arc::new(Classification::builtin().expect("the built-in rules are valid"))
}

async fn site() -> Site {
    site_with(settings(), false).await
}

async fn site_with(settings: IngestConfig, existing: bool) -> Site {
    let temp = tempfile::tempdir().expect("a folder");
    let raw = temp.path().join("raw");
    fs::create_dir(&raw).expect("a folder");
    let start: Timestamp = START.parse().expect("a time");
    let clock = Arc::new(TestClock(AtomicI64::new(start.as_microsecond())));
    let catalogue = Catalogue::open(&temp.path().join("work/catalogue.db"), clock.clone()).await.expect("a catalogue");
    let ingest = Ingest::new(catalogue.clone(), rules(), vec![raw.clone()], settings, existing);
    Site { temp, raw, clock, catalogue, ingest }
}

impl Site {
    /// A file whose last change is `age` seconds before the clock's time.
    fn put(&self, name: &str, bytes: &[u8], age: i64) -> PathBuf {
        let path = self.raw.join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(&path, bytes).expect("a file");
        let then = self.clock.now() - jiff::SignedDuration::from_secs(age);
        let file = fs::File::options().append(true).open(&path).expect("a file");
        file.set_modified(SystemTime::from(then)).expect("a time");
        path
    }

    async fn scan(&self) -> ScanReport {
        self.ingest.scan_once().await.expect("a scan")
    }

    /// State of every file by its path below the root; a quarantine with its code.
    async fn account(&self) -> BTreeMap<String, String> {
        account(&self.catalogue, &self.raw).await
    }

    async fn state(&self, name: &str) -> String {
        self.account().await.remove(name).unwrap_or_default()
    }
}

async fn account(catalogue: &Catalogue, raw: &Path) -> BTreeMap<String, String> {
    let files = catalogue.known_files().await.expect("files");
    let states = files.into_iter().map(|file| {
        let path = Path::new(&file.path).strip_prefix(raw).expect("below the root").to_string_lossy().into_owned();
        let state = if file.state == "quarantined" { format!("{}:{}", file.state, file.code) } else { file.state };
        (path, state)
    });
    states.collect()
}

/// Every path with its size, time and content.
fn snapshot(folder: &Path) -> BTreeMap<PathBuf, (u64, SystemTime, Vec<u8>)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let metadata = fs::symlink_metadata(&path).expect("metadata");
        if metadata.is_dir() {
            found.extend(snapshot(&path));
        }
        let content = if metadata.is_file() { fs::read(&path).expect("a file") } else { Vec::new() };
        found.insert(path, (metadata.len(), metadata.modified().expect("a time"), content));
    }
    found
}

fn card(keyword: &str, value: &str) -> String {
    let text = match keyword.strip_prefix("ESO ") {
        Some(_) => format!("HIERARCH {keyword} = {value}"),
        None => format!("{keyword:<8}= {value:>20}"),
    };
    format!("{text:<80}")
}

/// Cards of an acquisition image of 64 x 64 pixels, the smallest frame that the rules admit.
fn cards(number: u32) -> Vec<(String, String)> {
    let (minute, second) = (number / 60 % 60, number % 60);
    let start = format!("2026-03-11T{:02}:{minute:02}:{second:02}.000", number / 3600 % 24);
    let mjd = 61_110.0 + f64::from(number) / 86_400.0;
    let text = |keyword: &str, value: &str| (keyword.to_string(), format!("'{value:<8}'"));
    let plain = |keyword: &str, value: &str| (keyword.to_string(), value.to_string());
    vec![
        plain("SIMPLE", "T"),
        plain("BITPIX", "16"),
        plain("NAXIS", "2"),
        plain("NAXIS1", "64"),
        plain("NAXIS2", "64"),
        text("INSTRUME", "SOXS"),
        text("OBJECT", "FIELD"),
        text("DATE-OBS", &start),
        plain("MJD-OBS", &format!("{mjd:.8}")),
        plain("EXPTIME", "20.0"),
        text("ESO SEQ ARM", "ACQ"),
        text("ESO DPR CATG", "ACQUISITION"),
        text("ESO DPR TYPE", "OBJECT"),
        text("ESO DPR TECH", "IMAGE"),
    ]
}

fn unit(cards: &[(String, String)], data: &[u8]) -> Vec<u8> {
    let mut bytes: Vec<u8> = cards.iter().flat_map(|(keyword, value)| card(keyword, value).into_bytes()).collect();
    bytes.extend(format!("{:<80}", "END").bytes());
    bytes.resize(bytes.len().next_multiple_of(2880), b' ');
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(2880), 0);
    bytes
}

/// A whole frame; the same `number` is the same exposure, another `content` other pixels.
fn frame(number: u32, content: u8) -> Vec<u8> {
    unit(&cards(number), &[content; 64 * 64 * 2])
}

fn frame_with(number: u32, keyword: &str, value: &str) -> Vec<u8> {
    let mut cards = cards(number);
    let card = cards.iter_mut().find(|(name, _)| name == keyword).expect("a card of that name");
    card.1 = value.to_string();
    unit(&cards, &[0; 64 * 64 * 2])
}

/// The archive's name of a frame, without its ending.
fn id(number: u32) -> String {
    format!("SOXS.2026-03-11T{:02}:{:02}:{:02}.000", number / 3600 % 24, number / 60 % 60, number % 60)
}

fn name(number: u32) -> String {
    format!("{}.fits", id(number))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("packed");
    encoder.finish().expect("packed")
}

/// As `compress` writes it, without compressing: literal codes of 9 bits, and a clear code before the table outgrows
/// them. Runs of 248 codes are whole groups of eight, so the clear code needs no padding.
fn compress(bytes: &[u8]) -> Vec<u8> {
    const CLEAR: u16 = 256;
    let mut packed = vec![0x1f, 0x9d, 0x90];
    let (mut held, mut count) = (0u32, 0u32);
    let mut put = |code: u16| {
        held |= u32::from(code) << count;
        count += 9;
        while count >= 8 {
            packed.push((held & 0xff) as u8);
            held >>= 8;
            count -= 8;
        }
    };
    let runs: Vec<&[u8]> = bytes.chunks(247).collect();
    for (index, run) in runs.iter().enumerate() {
        run.iter().for_each(|byte| put(u16::from(*byte)));
        if index + 1 < runs.len() {
            put(CLEAR);
        }
    }
    if count > 0 {
        packed.push((held & 0xff) as u8);
    }
    packed
}

#[tokio::test]
async fn a_slow_writer_is_waited_for() {
    let site = site().await;
    let whole = frame(1, 7);
    site.put(&name(1), &whole[..2000], 0);
    let report = site.scan().await;
    assert_eq!((report.waiting, report.pending), (1, true));
    assert_eq!(report.next_look_us, Some(site.clock.now_us() + 2_000_000));
    site.clock.advance(3);
    assert_eq!(site.scan().await.waiting, 1, "it stands still, and is not whole");
    site.put(&name(1), &whole[..5000], 0);
    assert_eq!(site.scan().await.waiting, 1);
    site.clock.advance(3);
    assert_eq!(site.scan().await.waiting, 1);
    site.put(&name(1), &whole, 0);
    assert_eq!(site.scan().await.frames, 0, "whole, but has just changed");
    site.clock.advance(3);
    let report = site.scan().await;
    assert_eq!((report.frames, report.waiting, report.pending), (1, 0, false));
    assert_eq!(site.state(&name(1)).await, "accepted");
}

#[tokio::test]
async fn a_file_that_grows_to_its_size_at_once_is_not_taken_before_it_stands_still() {
    let site = site().await;
    site.put(&name(1), &frame(1, 0), 0);
    assert_eq!(site.scan().await.waiting, 1);
    site.clock.advance(1);
    site.put(&name(1), &frame(1, 5), 0);
    assert_eq!(site.scan().await.waiting, 1);
    site.clock.advance(1);
    assert_eq!(site.scan().await.waiting, 1, "two seconds after the first look, one after the last change");
    site.clock.advance(1);
    assert_eq!(site.scan().await.frames, 1);
}

#[tokio::test]
async fn what_stays_truncated_is_quarantined_and_healed_by_good_content() {
    let site = site().await;
    let whole = frame(1, 7);
    site.put(&name(1), &whole[..5000], 0);
    for _ in 0..4 {
        site.scan().await;
        site.clock.advance(100);
    }
    assert_eq!(site.state(&name(1)).await, "waiting");
    site.clock.advance(300);
    assert_eq!(site.scan().await.quarantined, 1);
    assert_eq!(site.state(&name(1)).await, "quarantined:truncated");
    site.clock.advance(10_000);
    let report = site.scan().await;
    assert!(!report.changed() && !report.pending, "decided until it changes: {report:?}");
    site.put(&name(1), &whole, 5);
    assert_eq!(site.scan().await.frames, 1);
    assert_eq!(site.state(&name(1)).await, "accepted");
}

/// Some transfers make the file as long as it will be and fill it afterwards.
#[tokio::test]
async fn a_file_of_full_length_that_is_not_filled_waits_for_its_writer() {
    let site = site().await;
    let whole = frame(1, 7);
    let mut half = whole.clone();
    let from = whole.len() - 20 * 64 * 2 - 2880;
    half[from..].fill(0);
    site.put(&name(1), &half, 30);
    assert_eq!(site.scan().await.waiting, 1, "twenty rows are not there yet");
    site.put(&name(1), &whole, 0);
    site.scan().await;
    site.clock.advance(3);
    assert_eq!(site.scan().await.frames, 1);
    assert_eq!(site.state(&name(1)).await, "accepted");

    site.put(&name(2), &half, 30);
    site.scan().await;
    site.clock.advance(1000);
    assert_eq!(site.scan().await.quarantined, 1);
    assert_eq!(site.state(&name(2)).await, "quarantined:unwritten");
}

#[tokio::test]
async fn a_backlog_is_taken_at_once_in_any_order_and_only_once() {
    let site = site().await;
    for number in [3, 1, 2, 5, 4] {
        site.put(&format!("night/{}", name(number)), &frame(number, 0), 1000 - i64::from(number));
    }
    let before = snapshot(&site.raw);
    assert_eq!(site.scan().await.frames, 5);
    let report = site.scan().await;
    assert!(!report.changed() && !report.pending && report.seen == 5, "{report:?}");
    assert_eq!(snapshot(&site.raw), before);
}

#[tokio::test]
async fn three_packings_of_one_frame_are_one_frame() {
    let site = site().await;
    let bytes = frame(1, 7);
    site.put(&format!("{}.fits", id(1)), &bytes, 30);
    site.put(&format!("{}.fits.gz", id(1)), &gzip(&bytes), 20);
    site.put(&format!("{}.fits.Z", id(1)), &compress(&bytes), 10);
    let report = site.scan().await;
    assert_eq!((report.frames, report.duplicates, report.quarantined), (1, 2, 0));
    assert_eq!(site.state(&name(1)).await, "accepted");
}

#[tokio::test]
async fn a_packed_file_that_breaks_off_waits_and_is_quarantined() {
    let site = site().await;
    let packed = gzip(&frame(1, 7));
    site.put(&format!("{}.fits.gz", id(1)), &packed[..packed.len() - 9], 10);
    assert_eq!(site.scan().await.waiting, 1);
    site.clock.advance(10);
    site.scan().await;
    site.clock.advance(700);
    site.scan().await;
    assert_eq!(site.state(&format!("{}.fits.gz", id(1))).await, "quarantined:truncated");
}

#[tokio::test]
async fn a_renamed_file_is_the_same_frame() {
    let site = site().await;
    let path = site.put(&name(1), &frame(1, 7), 10);
    site.scan().await;
    fs::create_dir(site.raw.join("night")).expect("a folder");
    fs::rename(&path, site.raw.join("night/renamed.fits")).expect("renamed");
    let report = site.scan().await;
    assert_eq!((report.gone, report.again, report.frames), (1, 1, 0));
    assert_eq!(site.state("night/renamed.fits").await, "accepted");
    assert_eq!(site.state(&name(1)).await, "gone");
}

#[tokio::test]
async fn replaced_content_is_a_new_version_and_restored_content_the_old_one() {
    let site = site().await;
    site.put(&name(1), &frame(1, 7), 100);
    assert_eq!(site.scan().await.frames, 1);
    site.put(&name(1), &frame(1, 8), 50);
    assert_eq!(site.scan().await.versions, 1);
    site.put(&name(1), &frame(1, 7), 10);
    assert_eq!(site.scan().await.versions, 1);
    assert_eq!(site.account().await.len(), 1);
    site.put(&name(1), &frame(1, 7), 5);
    assert_eq!(site.scan().await.again, 1, "touched");
}

#[tokio::test]
async fn of_two_contents_the_newer_file_wins_whichever_came_first() {
    for newer_first in [true, false] {
        let site = site().await;
        let (old, new) = (format!("old/{}", name(1)), format!("new/{}", name(1)));
        let put_old = || site.put(&old, &frame(1, 7), 100);
        let put_new = || site.put(&new, &frame(1, 8), 50);
        if newer_first {
            put_new();
            site.scan().await;
            put_old();
        } else {
            put_old();
            site.scan().await;
            put_new();
        }
        site.scan().await;
        assert_eq!(site.state(&old).await, "superseded", "newer first: {newer_first}");
        assert_eq!(site.state(&new).await, "accepted", "newer first: {newer_first}");
    }
}

#[tokio::test]
async fn a_deleted_file_is_gone_and_its_duplicate_takes_its_place() {
    let site = site().await;
    let path = site.put(&name(1), &frame(1, 7), 100);
    site.put("copy/of.fits", &frame(1, 7), 50);
    site.scan().await;
    assert_eq!(site.state("copy/of.fits").await, "duplicate");
    fs::remove_file(path).expect("removed");
    assert_eq!(site.scan().await.gone, 1);
    assert_eq!(site.state(&name(1)).await, "gone");
    assert_eq!(site.state("copy/of.fits").await, "accepted");
    site.put(&name(1), &frame(1, 7), 20);
    assert_eq!(site.scan().await.duplicates, 1);
}

#[tokio::test]
async fn every_broken_file_is_accounted_for_with_its_reason() {
    let site = site_with(settings(), true).await;
    let whole = frame(1, 7);
    let mut image_in_extension = unit(
        &[("SIMPLE", "T"), ("BITPIX", "8"), ("NAXIS", "0"), ("EXTEND", "T")].map(|(k, v)| (k.into(), v.into())),
        &[],
    );
    let extension: [(&str, &str); 7] = [
        ("XTENSION", "'IMAGE   '"),
        ("BITPIX", "16"),
        ("NAXIS", "2"),
        ("NAXIS1", "64"),
        ("NAXIS2", "64"),
        ("PCOUNT", "0"),
        ("GCOUNT", "1"),
    ];
    image_in_extension.extend(unit(&extension.map(|(k, v)| (k.into(), v.into())), &[0; 64 * 64 * 2]));
    let mut trailing = whole.clone();
    trailing.extend([b'x'; 100]);
    let mut corrupt = gzip(&whole);
    let checksum = corrupt.len() - 8;
    corrupt[checksum] ^= 0xff;
    let mut unclosed = whole.clone();
    let end = unclosed.chunks(80).position(|card| card.starts_with(b"END ")).expect("an END card") * 80;
    unclosed[end..end + 3].copy_from_slice(b"FIN");
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("good.fits", whole.clone(), "accepted"),
        ("GOOD2.FITS", frame(2, 7), "accepted"),
        ("cut.fits", whole[..5000].to_vec(), "quarantined:truncated"),
        ("empty.fits", Vec::new(), "quarantined:empty"),
        ("text.fits", b"observing log, not a frame\n".repeat(200), "quarantined:not_fits"),
        ("garbage.fits", (0..9000u32).map(|n| (n * 7919 % 251) as u8).collect(), "quarantined:not_fits"),
        ("trailing.fits", trailing, "quarantined:trailing"),
        ("nan.fits", frame_with(3, "MJD-OBS", "NaN"), "quarantined:wrong_type"),
        ("infinite.fits", frame_with(4, "EXPTIME", "1.0E999"), "quarantined:wrong_type"),
        ("negative.fits", frame_with(5, "EXPTIME", "-3.0"), "quarantined:impossible"),
        ("huge.fits", frame_with(6, "NAXIS1", "9000000000000000000"), "quarantined:bad_header"),
        ("large.fits", frame_with(7, "NAXIS1", "2000000000"), "quarantined:too_large"),
        ("bitpix.fits", frame_with(8, "BITPIX", "17"), "quarantined:bad_header"),
        ("shape.fits", frame_with(9, "NAXIS1", "32"), "quarantined:shape"),
        ("arm.fits", frame_with(10, "ESO SEQ ARM", "'UVB     '"), "quarantined:no_arm"),
        ("other.fits", frame_with(11, "INSTRUME", "'XSHOOTER'"), "quarantined:other_instrument"),
        ("no_type.fits", frame_with(12, "ESO DPR TYPE", "'        '"), "quarantined:missing"),
        ("type.fits", frame_with(13, "DATE-OBS", "17"), "quarantined:wrong_type"),
        ("extension.fits", image_in_extension, "quarantined:structure"),
        ("unclosed.fits", unclosed, "quarantined:bad_header"),
        ("corrupt.fits.gz", corrupt, "quarantined:compressed"),
        ("notes.txt", b"seeing 0.8".to_vec(), "ignored"),
        ("image.fit", frame(14, 0), "ignored"),
    ];
    for (name, bytes, _) in &cases {
        site.put(name, bytes, 10);
    }
    site.put(".hidden.fits", &frame(15, 0), 10);
    site.put("upload.fits.part", &frame(16, 0), 10);
    site.put(".upload.fits.a1B2c3", &frame(17, 0), 10);
    let before = snapshot(&site.raw);
    let report = site.scan().await;
    assert!(!report.pending, "existing data do not wait: {report:?}");
    let account = site.account().await;
    let expected: BTreeMap<String, String> =
        cases.iter().map(|(name, _, expected)| (name.to_string(), expected.to_string())).collect();
    // Hidden and temporary names are not accounted for.
    assert_eq!(account, expected);
    assert!(!site.scan().await.changed());
    assert_eq!(snapshot(&site.raw), before);
}

#[tokio::test]
async fn odd_things_with_the_name_of_a_frame_do_no_harm() {
    let site = site().await;
    fs::create_dir(site.raw.join("folder.fits")).expect("a folder");
    site.put("folder.fits/inside.fits", &frame(1, 0), 10);
    symlink(site.temp.path().join("nowhere"), site.raw.join("link.fits")).expect("a link");
    symlink(&site.raw, site.raw.join("circle")).expect("a link");
    fs::write(site.temp.path().join("elsewhere.fits"), frame(2, 0)).expect("a file");
    symlink(site.temp.path().join("elsewhere.fits"), site.raw.join("linked.fits")).expect("a link");
    // Opening a pipe would block for ever.
    rustix::fs::mkfifoat(rustix::fs::CWD, site.raw.join("pipe.fits"), rustix::fs::Mode::RUSR).expect("a pipe");
    let report = tokio::time::timeout(Duration::from_secs(20), site.scan()).await.expect("the scan ends");
    assert_eq!(report.seen, 4);
    let account = site.account().await;
    assert_eq!(account.get("folder.fits/inside.fits").map(String::as_str), Some("accepted"));
    assert_eq!(account.get("link.fits").map(String::as_str), Some("quarantined:broken_link"));
    assert_eq!(account.get("pipe.fits").map(String::as_str), Some("quarantined:not_a_file"));
    // Written just now by the machine's clock, which is long after the test's.
    assert_eq!(account.get("linked.fits").map(String::as_str), Some("waiting"));
    fs::write(site.temp.path().join("nowhere"), frame(3, 0)).expect("a file");
    site.clock.advance(3);
    site.scan().await;
    site.clock.advance(3);
    site.scan().await;
    assert_eq!(site.state("link.fits").await, "accepted", "the link leads somewhere now");
    assert_eq!(site.state("linked.fits").await, "accepted");
}

#[tokio::test]
async fn a_file_that_may_not_be_read_is_tried_until_it_may() {
    use std::os::unix::fs::PermissionsExt;
    if rustix::process::geteuid().is_root() {
        return; // Nothing is unreadable to root.
    }
    let site = site().await;
    let path = site.put(&name(1), &frame(1, 0), 10);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).expect("mode");
    assert_eq!(site.scan().await.quarantined, 1);
    assert_eq!(site.state(&name(1)).await, "quarantined:unreadable");
    assert!(!site.scan().await.changed());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).expect("mode");
    assert_eq!(site.scan().await.frames, 1);

    let folder = site.raw.join("night");
    site.put("night/a.fits", &frame(2, 0), 10);
    site.scan().await;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o000)).expect("mode");
    let report = site.scan().await;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("mode");
    assert_eq!((report.gone, report.problems.len()), (0, 1), "unreadable is not missing");
}

#[tokio::test]
async fn a_root_that_is_not_mounted_loses_nothing() {
    let site = site().await;
    site.put(&name(1), &frame(1, 0), 10);
    site.scan().await;
    let away = site.temp.path().join("away");
    fs::rename(&site.raw, &away).expect("unmounted");
    let report = site.scan().await;
    assert_eq!((report.gone, report.problems.len()), (0, 1), "no folder");
    fs::create_dir(&site.raw).expect("the bare mount point");
    let report = site.scan().await;
    assert_eq!((report.gone, report.problems.len()), (0, 1), "an empty folder in its place");
    let fact = |facts: Vec<soxsd::catalogue::maintenance::HealthFact>| {
        facts.into_iter().find(|fact| fact.name == "raw_root_error").map(|fact| fact.value)
    };
    assert!(fact(site.catalogue.facts().await.expect("facts")).is_some_and(|text| text.contains("mount it again")));
    fs::remove_dir(&site.raw).expect("removed");
    fs::rename(&away, &site.raw).expect("mounted");
    let report = site.scan().await;
    assert_eq!((report.gone, report.problems.len(), report.changed()), (0, 0, false));
    assert_eq!(fact(site.catalogue.facts().await.expect("facts")).as_deref(), Some(""));
    fs::remove_file(site.raw.join(name(1))).expect("removed");
    assert_eq!(site.scan().await.gone, 1, "and a file that is really gone is");
}

#[tokio::test]
async fn the_work_folder_below_a_root_is_not_searched() {
    let site = site().await;
    let ingest = Ingest::new(site.catalogue.clone(), rules(), vec![site.temp.path().to_path_buf()], settings(), true)
        .excluding([site.temp.path().join("archive")]);
    for folder in ["work", "archive"] {
        fs::create_dir_all(site.temp.path().join(folder)).expect("a folder");
        fs::write(site.temp.path().join(folder).join("product.fits"), frame(1, 0)).expect("a file");
    }
    site.put(&name(2), &frame(2, 0), 10);
    let report = ingest.scan_once().await.expect("a scan");
    assert_eq!((report.seen, report.frames), (1, 1));
}

/// An ingest that runs by itself on the machine's clock, with a timer that will not help.
struct Running {
    temp: tempfile::TempDir,
    catalogue: Catalogue,
    cancel: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    async fn start(mode: WatchMode, rescan_s: f64) -> Running {
        let temp = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(SystemClock);
        let catalogue = Catalogue::open(&temp.path().join("work/catalogue.db"), clock).await.expect("a catalogue");
        let settings = IngestConfig { mode, rescan_s, settle_s: 0.05, ..settings() };
        let raw = temp.path().join("raw");
        fs::create_dir(&raw).expect("a folder");
        let ingest = Ingest::new(catalogue.clone(), rules(), vec![raw], settings, false);
        let cancel = CancellationToken::new();
        let task = tokio::spawn(ingest.run(cancel.clone()));
        let running = Running { temp, catalogue, cancel, task };
        // The first scan is over when it has left its fact.
        running
            .until("the first scan", async || {
                running.catalogue.facts().await.expect("facts").iter().any(|fact| fact.name == "last_scan")
            })
            .await;
        running
    }

    fn raw(&self) -> PathBuf {
        self.temp.path().join("raw")
    }

    async fn until(&self, what: &str, condition: impl AsyncFn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !condition().await {
            assert!(Instant::now() < deadline, "waited too long for {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn accepted(&self) -> usize {
        account(&self.catalogue, &self.raw()).await.values().filter(|state| *state == "accepted").count()
    }

    async fn stop(self) {
        self.cancel.cancel();
        tokio::time::timeout(Duration::from_secs(10), self.task).await.expect("it stops").expect("it did not panic");
    }
}

#[tokio::test]
async fn a_burst_while_watching_is_taken_whole() {
    let running = Running::start(WatchMode::Watch, 3600.0).await;
    let raw = running.raw();
    for number in 0..2000u32 {
        let folder = raw.join(format!("night{}", number % 7));
        fs::create_dir_all(&folder).expect("a folder");
        let hidden = folder.join(format!(".{}.a1B2c3", name(number)));
        fs::write(&hidden, frame(number, 0)).expect("a file");
        fs::rename(&hidden, folder.join(name(number))).expect("renamed");
    }
    running.until("2000 frames", async || running.accepted().await == 2000).await;
    assert_eq!(running.catalogue.known_files().await.expect("files").len(), 2000);
    running.stop().await;
}

#[tokio::test]
async fn events_wake_the_scan_for_every_way_in_which_a_file_can_come() {
    let running = Running::start(WatchMode::Watch, 3600.0).await;
    let raw = running.raw();
    fs::write(raw.join(name(1)), frame(1, 0)).expect("written");
    running.until("a written file", async || running.accepted().await == 1).await;
    let outside = running.temp.path().join("outside.fits");
    fs::write(&outside, frame(2, 0)).expect("written");
    fs::rename(&outside, raw.join(name(2))).expect("renamed");
    running.until("a file renamed into the tree", async || running.accepted().await == 2).await;
    fs::write(&outside, frame(3, 0)).expect("written");
    fs::hard_link(&outside, raw.join(name(3))).expect("linked");
    running.until("a hard link", async || running.accepted().await == 3).await;
    fs::create_dir_all(raw.join("a/b")).expect("folders");
    fs::write(raw.join("a/b").join(name(4)), frame(4, 0)).expect("written");
    running.until("a file in a new folder", async || running.accepted().await == 4).await;
    fs::remove_file(raw.join(name(1))).expect("removed");
    running.until("a removed file", async || running.accepted().await == 3).await;
    running.stop().await;
}

#[tokio::test]
async fn a_root_that_is_replaced_is_watched_again() {
    let running = Running::start(WatchMode::Watch, 0.3).await;
    let raw = running.raw();
    fs::remove_dir(&raw).expect("removed");
    running
        .until("the missing root to be noticed", async || {
            let facts = running.catalogue.facts().await.expect("facts");
            facts.iter().any(|fact| fact.name == "raw_root_error" && !fact.value.is_empty())
        })
        .await;
    fs::create_dir(&raw).expect("a folder");
    fs::write(raw.join(name(1)), frame(1, 0)).expect("written");
    running.until("a file in the new root", async || running.accepted().await == 1).await;
    running.stop().await;
}

#[tokio::test]
async fn polling_needs_no_events() {
    let running = Running::start(WatchMode::Poll, 0.2).await;
    fs::write(running.raw().join(name(1)), frame(1, 0)).expect("written");
    running.until("a frame", async || running.accepted().await == 1).await;
    running.stop().await;
}
