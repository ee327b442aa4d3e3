//! Promise: every product ends in the archive exactly once, with equal bytes, whatever the archive or a crash does.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use soxsd::config::{ArchiveConfig, ArchiveKind, CrcKind};
use soxsd::delivery::Pace;
use support::ngas_double::{Double, Mood, Whim};
use support::{DEADLINE, Rig, Row, bytes, pace, tree};

fn ngas(url: &str) -> ArchiveConfig {
    ArchiveConfig {
        kind: ArchiveKind::Ngas,
        url: url.to_string(),
        timeout_s: 5.0,
        ..ArchiveConfig::directory("saf", "".into())
    }
}

async fn rig_with(double: &Double, names: &[&str]) -> (Rig, BTreeMap<String, Vec<u8>>) {
    let mut rig = Rig::new(vec![ngas(&double.url)], vec![]).await;
    let mut expected = BTreeMap::new();
    for (seed, name) in (1..).zip(names) {
        let content = bytes(seed, 3);
        rig.product(name, &content).await;
        expected.insert(name.to_string(), content);
    }
    (rig, expected)
}

fn all(state: &'static str) -> impl Fn(&[Row]) -> bool {
    move |rows| rows.iter().all(|row| row.state == state)
}

/// Deliver one file through these whims; the states that it went through.
async fn through(whims: &[Whim]) -> (Double, Rig, Vec<String>) {
    let double = Double::start().await;
    double.script(whims);
    let (rig, expected) = rig_with(&double, &["SOXS one+two:three.fits"]).await;
    let running = rig.run();
    rig.drained().await;
    running.stop().await;
    assert!(all("confirmed")(&rig.rows().await), "{whims:?}: {:#?}", rig.rows().await);
    double.holds_once(&expected);
    let states = rig.journal().await.into_iter().map(|(state, _)| state).collect();
    (double, rig, states)
}

#[tokio::test]
async fn a_healthy_archive_gets_each_file_once_and_confirms_it() {
    let (double, rig, states) = through(&[]).await;
    assert_eq!(states, ["sending", "sent", "confirmed"]);
    let rows = rig.rows().await;
    assert_eq!(rows[0].attempts, 1);
    let receipt: serde_json::Value = serde_json::from_str(&rows[0].receipt).unwrap();
    assert_eq!(receipt["version"], 1);
    assert_eq!(receipt["checksum_kind"], "crc32c");
    let query = double.state().queries[0].clone();
    assert_eq!(query, "filename=SOXS%20one%2Btwo%3Athree.fits&mime_type=application%2Ffits&crc_variant=crc32c");
}

#[tokio::test]
async fn every_checksum_variant_and_further_parameters() {
    for crc in [CrcKind::Crc32, CrcKind::Crc32c, CrcKind::Crc32z] {
        let double = Double::start().await;
        let config = ArchiveConfig {
            crc,
            command: "ARCHIVE".to_string(),
            query: "&ignore_arcfile=1".to_string(),
            ..ngas(&format!("{}/", double.url))
        };
        let mut rig = Rig::new(vec![config], vec![]).await;
        let content = bytes(1, 200);
        rig.product("a.fits", &content).await;
        let running = rig.run();
        rig.drained().await;
        running.stop().await;
        double.holds_once(&BTreeMap::from([("a.fits".to_string(), content)]));
        assert!(double.state().queries[0].ends_with("&ignore_arcfile=1"));
    }
}

#[tokio::test]
async fn nothing_stored_is_sent_again() {
    for whim in [
        Whim::Close,
        Whim::CloseMidBody,
        Whim::Busy,
        Whim::Full,
        Whim::FullArchive,
        Whim::Offline,
        Whim::ChecksumError,
        Whim::Locked { stored: false },
    ] {
        let (double, _rig, _) = through(&[whim, whim]).await;
        assert_eq!(double.state().offers, 3, "{whim:?}");
    }
}

#[tokio::test]
async fn what_was_stored_without_an_answer_is_found_and_not_sent_again() {
    for whim in [Whim::Swallow, Whim::HalfAnswer, Whim::Garbage, Whim::Crash, Whim::Locked { stored: true }] {
        let (double, _rig, states) = through(&[whim]).await;
        assert_eq!(double.state().offers, 1, "{whim:?}");
        assert_eq!(states, ["sending", "unknown", "confirmed"], "{whim:?}");
    }
}

#[tokio::test]
async fn odd_answers_are_understood() {
    for whim in [Whim::Huge, Whim::NoLength, Whim::Slow] {
        let (_double, _rig, states) = through(&[whim]).await;
        assert_eq!(states, ["sending", "sent", "confirmed"], "{whim:?}");
    }
}

#[tokio::test]
async fn a_buffered_file_is_waited_for() {
    let (double, _rig, states) = through(&[Whim::Buffer { looks: 8 }]).await;
    assert_eq!(double.state().offers, 1);
    assert_eq!(states[..2], ["sending", "buffered"]);
    assert!(!states.contains(&"unknown".to_string()));
}

#[tokio::test]
async fn a_file_that_is_buffered_for_good_is_given_to_a_person() {
    let double = Double::start().await;
    double.script(&[Whim::BufferForGood]);
    let (rig, _) = rig_with(&double, &["a.fits"]).await;
    let running = rig.run_at(Pace { buffered_longest: Duration::from_millis(30), ..pace() });
    rig.until("parking", all("parked")).await;
    running.stop().await;
    assert_eq!(double.state().offers, 1);
}

#[tokio::test]
async fn what_is_there_already_is_not_sent() {
    let double = Double::start().await;
    let (rig, expected) = rig_with(&double, &["a.fits"]).await;
    double.plant("a.fits", &expected["a.fits"]);
    let running = rig.run();
    rig.drained().await;
    running.stop().await;
    assert_eq!(double.state().offers, 0);
    double.holds_once(&expected);
    assert!(all("confirmed")(&rig.rows().await));
}

#[tokio::test]
async fn another_content_under_the_same_name_is_never_overwritten() {
    let double = Double::start().await;
    double.plant("a.fits", b"something else");
    let (rig, _) = rig_with(&double, &["a.fits", "b.fits"]).await;
    let running = rig.run();
    rig.drained().await;
    running.stop().await;
    let rows = rig.rows().await;
    assert_eq!((rows[0].state.as_str(), rows[0].class.as_str()), ("parked", "bad_input"));
    assert!(rows[0].error.contains("a.fits") && rows[0].error.contains("14 bytes"), "{}", rows[0].error);
    assert_eq!(rows[1].state, "confirmed");
    assert_eq!(double.state().files["a.fits"][0].bytes, b"something else");
}

#[tokio::test]
async fn a_success_that_the_record_does_not_bear_out_is_not_believed() {
    for whim in [Whim::WrongChecksum, Whim::Truncated] {
        let double = Double::start().await;
        double.script(&[whim]);
        let (rig, _) = rig_with(&double, &["a.fits"]).await;
        let running = rig.run();
        rig.drained().await;
        running.stop().await;
        assert_eq!(rig.rows().await[0].state, "parked", "{whim:?}");
        assert_eq!(double.state().offers, 1, "{whim:?}");
    }
}

#[tokio::test]
async fn a_copy_that_the_archive_has_flagged_is_not_a_confirmation() {
    let double = Double::start().await;
    let (rig, expected) = rig_with(&double, &["a.fits"]).await;
    double.plant("a.fits", &expected["a.fits"]);
    double.state().files.get_mut("a.fits").unwrap()[0].flags = "10000000".to_string();
    let running = rig.run();
    rig.drained().await;
    running.stop().await;
    let rows = rig.rows().await;
    assert_eq!(rows[0].state, "parked");
    assert!(rows[0].error.contains("10000000"), "{}", rows[0].error);
}

#[tokio::test]
async fn refusals_park_everything_with_one_question_and_a_remedy_helps() {
    let double = Double::start().await;
    let names = ["a.fits", "b.fits", "c.fits", "d.fits"];
    let mut rig = Rig::new(vec![], vec![]).await;
    let password = rig.path("password");
    std::fs::write(&password, "wrong\n").unwrap();
    rig.config.archive =
        vec![ArchiveConfig { user: "soxs".to_string(), password_file: password.clone(), ..ngas(&double.url) }];
    double.state().authorization = Some("Basic c294czpzb3hzcHc=".to_string());
    for (seed, name) in (1..).zip(names) {
        rig.product(name, &bytes(seed, 2)).await;
    }
    let running = rig.run();
    rig.drained().await;
    let rows = rig.rows().await;
    assert!(all("parked")(&rows), "{rows:#?}");
    assert_eq!(rows[0].class, "config");
    assert!(rows[0].error.contains("401") && rows[0].error.contains("password_file"), "{}", rows[0].error);
    assert_eq!((double.state().offers, double.state().questions), (0, 0));

    std::fs::write(&password, "soxspw\n").unwrap();
    double.state().forbidden = true;
    rig.retry_parked().await;
    rig.drained().await;
    assert!(all("parked")(&rig.rows().await));
    assert_eq!(double.state().offers, 0);
    let forbidden = rig.journal().await.iter().filter(|(state, _)| state == "sending").count();
    assert_eq!(forbidden, 1, "one 403 is enough");

    double.state().forbidden = false;
    rig.retry_parked().await;
    rig.drained().await;
    running.stop().await;
    assert!(all("confirmed")(&rig.rows().await), "{:#?}", rig.rows().await);
}

#[tokio::test]
async fn a_media_type_that_the_archive_does_not_know_is_one_refusal() {
    let double = Double::start().await;
    double.script(&[Whim::BadMime]);
    let (rig, _) = rig_with(&double, &["a.fits", "b.fits", "c.fits"]).await;
    let running = rig.run();
    rig.drained().await;
    running.stop().await;
    let rows = rig.rows().await;
    assert!(all("parked")(&rows), "{rows:#?}");
    assert!(rows[2].error.contains("mime_type"), "{}", rows[2].error);
    assert_eq!(double.state().offers, 1);
}

#[tokio::test]
async fn bytes_damaged_on_the_way_three_times_are_given_to_a_person() {
    let double = Double::start().await;
    double.script(&[Whim::ChecksumError; 5]);
    let (rig, _) = rig_with(&double, &["a.fits"]).await;
    let running = rig.run();
    rig.drained().await;
    running.stop().await;
    assert_eq!(double.state().offers, 3);
    assert_eq!(rig.rows().await[0].state, "parked");
}

#[tokio::test]
async fn a_product_altered_on_disk_never_leaves() {
    let double = Double::start().await;
    let (rig, _) = rig_with(&double, &["a.fits"]).await;
    let content = bytes(9, 400);
    let mut rig = rig;
    rig.product("large.fits", &content).await;
    let files = tree(&rig.config.workspace().store);
    for (name, mut altered) in files {
        let last = altered.len() - 1;
        altered[last] ^= 1;
        std::fs::write(rig.config.workspace().store.join(name), altered).unwrap();
    }
    let running = rig.run();
    rig.drained().await;
    running.stop().await;
    let rows = rig.rows().await;
    assert!(all("parked")(&rows), "{rows:#?}");
    assert!(rows.iter().all(|row| row.class == "bug" && row.error.contains("altered")), "{rows:#?}");
    assert!(double.state().files.is_empty());
}

#[tokio::test]
async fn a_missing_product_is_parked() {
    let double = Double::start().await;
    let (rig, _) = rig_with(&double, &["a.fits"]).await;
    std::fs::remove_dir_all(&rig.config.workspace().store).unwrap();
    let running = rig.run();
    rig.drained().await;
    running.stop().await;
    assert_eq!(rig.rows().await[0].class, "bug");
}

#[tokio::test]
async fn an_archive_that_is_down_or_offline_costs_time_only() {
    // A port that nobody listens on, later taken by the archive.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut rig = Rig::new(vec![ngas(&format!("http://{port}"))], vec![]).await;
    let content = bytes(1, 2);
    rig.product("a.fits", &content).await;
    rig.product("b.fits", &content).await;
    let running = rig.run();
    rig.until("an error", |rows| rows[0].error.contains("cannot be reached")).await;
    let rows = rig.rows().await;
    assert_eq!((rows[0].state.as_str(), rows[0].class.as_str(), rows[0].attempts), ("queued", "transient", 0));
    let double = Double::start_at(&port.to_string()).await;
    double.state().offline = true;
    rig.until("the state", |rows| rows[0].error.contains("OFFLINE")).await;
    assert_eq!(double.state().offers, 0);
    double.state().offline = false;
    rig.drained().await;
    running.stop().await;
    double.holds_once(&BTreeMap::from([("a.fits".to_string(), content.clone()), ("b.fits".to_string(), content)]));
}

#[tokio::test]
async fn questions_that_fail_are_asked_again() {
    let double = Double::start().await;
    double.state().moods.extend([
        Mood::Close,
        Mood::Fine,
        Mood::Garbage,
        Mood::Busy,
        Mood::Fine,
        Mood::Locked,
        Mood::Fine,
        Mood::Fine,
        Mood::Close,
        Mood::Garbage,
    ]);
    let (rig, expected) = rig_with(&double, &["a.fits"]).await;
    let running = rig.run();
    rig.drained().await;
    running.stop().await;
    double.holds_once(&expected);
    assert_eq!(double.state().offers, 1);
}

#[tokio::test]
async fn a_hostile_archive_ends_with_every_file_once() {
    for seed in 1..=4 {
        let double = Double::start().await;
        double.misbehave(seed, 0.6);
        let names: Vec<String> = (0..30).map(|n| format!("SOXS {n}+x.fits")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (rig, expected) = rig_with(&double, &names).await;
        let running = rig.run();
        rig.drained().await;
        running.stop().await;
        assert!(all("confirmed")(&rig.rows().await), "seed {seed}: {:#?}", rig.rows().await);
        double.holds_once(&expected);
    }
}

#[tokio::test]
async fn being_killed_at_any_moment_archives_nothing_twice() {
    use rand::{RngExt, SeedableRng};
    let mut random = rand_pcg::Pcg32::seed_from_u64(20261121);
    let double = Double::start().await;
    double.misbehave(7, 0.3);
    let names: Vec<String> = (0..25).map(|n| format!("{n}.fits")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (rig, expected) = rig_with(&double, &names).await;
    let mut kills = 0;
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while rig.catalogue.open_deliveries().await.unwrap() > 0 {
        assert!(tokio::time::Instant::now() < deadline, "{:#?}", rig.rows().await);
        let running = rig.run();
        tokio::time::timeout(Duration::from_micros(random.random_range(500..60_000)), rig.drained()).await.ok();
        running.kill().await;
        kills += 1;
    }
    assert!(kills > 5, "only {kills}");
    assert!(all("confirmed")(&rig.rows().await), "{:#?}", rig.rows().await);
    double.holds_once(&expected);
}

#[tokio::test]
async fn a_cancelled_delivery_is_left_alone() {
    let double = Double::start().await;
    double.state().offline = true;
    let (rig, _) = rig_with(&double, &["a.fits", "b.fits"]).await;
    let running = rig.run();
    rig.until("an error", |rows| rows[0].error.contains("OFFLINE")).await;
    let mut tx = rig.catalogue.begin().await.unwrap();
    tx.cancel_deliveries(soxsd::catalogue::ProductId(1), "withdrawn").await.unwrap();
    tx.commit().await.unwrap();
    double.state().offline = false;
    rig.drained().await;
    running.stop().await;
    assert_eq!(double.state().files.keys().collect::<Vec<_>>(), ["b.fits"]);
}
