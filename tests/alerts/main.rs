//! People are told of trouble once, and once more when it is over; a receiver that is away, and a daemon that is killed,
//! neither lose a message nor tell it twice.

mod doubles;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use doubles::Mood;
use jiff::Timestamp;
use soxsd::catalogue::Catalogue;
use soxsd::catalogue::alerts::{Finding, Receiver, Timing};
use soxsd::clock::Clock;
use soxsd::config::AlertSinkConfig;
use soxsd::delivery::Pace;
use soxsd::delivery::alerts::Outbox;

const MINUTE: i64 = 60_000_000;
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// A clock that goes when it is told to.
struct HandClock(AtomicI64);

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(self.0.load(Ordering::Relaxed)).expect("within the calendar")
    }
}

struct Rig {
    catalogue: Catalogue,
    clock: Arc<HandClock>,
    folder: tempfile::TempDir,
}

impl Rig {
    async fn new() -> Rig {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(HandClock(AtomicI64::new(1_800_000_000_000_000)));
        let catalogue = Catalogue::open(&folder.path().join("catalogue.db"), clock.clone()).await.expect("a catalogue");
        Rig { catalogue, clock, folder }
    }

    fn now(&self) -> i64 {
        self.clock.0.load(Ordering::Relaxed)
    }

    fn pass(&self, minutes: i64) {
        self.clock.0.fetch_add(minutes * MINUTE, Ordering::Relaxed);
    }

    fn timing(&self) -> Timing {
        let now = self.now();
        Timing { warnings_from_us: now, errors_from_us: now, clear_after_us: 2 * MINUTE, repeat_us: 60 * MINUTE }
    }

    async fn note(&self, findings: &[Finding], timing: &Timing) {
        let receivers = [Receiver { sink: "s".to_string(), warnings: true }];
        self.catalogue.note_findings(findings, &receivers, timing).await.expect("noted");
    }

    fn outbox(&self, config: &AlertSinkConfig) -> Outbox {
        let pace = Pace { first: Duration::from_millis(1), longest: Duration::from_millis(5), ..Pace::default() };
        Outbox::of(config, self.catalogue.clone(), &pace).expect("a good receiver")
    }
}

fn trouble(severity: &'static str, text: &str) -> Finding {
    let (key, text, hint) = ("disk".to_string(), text.to_string(), "make room".to_string());
    Finding { key, kind: "disk", severity, text, hint }
}

fn receiver(text: String) -> AlertSinkConfig {
    toml::from_str(&format!("name = \"s\"\n{text}")).expect("a receiver")
}

fn hook(port: u16) -> AlertSinkConfig {
    receiver(format!("kind = \"webhook\"\nurl = \"http://127.0.0.1:{port}/hook\""))
}

fn mailbox(port: u16) -> AlertSinkConfig {
    receiver(format!(
        "kind = \"smtp\"\nserver = \"127.0.0.1:{port}\"\ntls = \"none\"\nfrom = \"soxsd@mountain.example\"\n\
         to = [\"ana@example.org\", \"luis@example.org\"]"
    ))
}

#[tokio::test]
async fn trouble_is_told_once_again_when_it_stays_and_when_it_is_over() {
    let rig = Rig::new().await;
    let web = doubles::web(&[]).await;
    let mut outbox = rig.outbox(&hook(web.port));
    let told = async |outbox: &mut Outbox| {
        outbox.send_due().await.expect("served");
        web.heard().iter().map(|post| post.body["what"].as_str().unwrap_or_default().to_string()).collect::<Vec<_>>()
    };
    for minute in 0..50 {
        rig.note(&[trouble("warning", &format!("{} MiB are free", 100 - minute))], &rig.timing()).await;
        assert_eq!(told(&mut outbox).await, ["raised"], "minute {minute}");
        rig.pass(1);
    }
    rig.note(&[trouble("error", "nothing is free")], &rig.timing()).await;
    assert_eq!(told(&mut outbox).await, ["raised", "worse"]);
    rig.pass(61);
    rig.note(&[trouble("error", "nothing is free")], &rig.timing()).await;
    assert_eq!(told(&mut outbox).await, ["raised", "worse", "reminder"]);
    // Gone for a moment only: it is the same trouble.
    rig.pass(1);
    rig.note(&[], &rig.timing()).await;
    rig.note(&[trouble("error", "nothing is free")], &rig.timing()).await;
    rig.pass(1);
    rig.note(&[], &rig.timing()).await;
    assert_eq!(told(&mut outbox).await.len(), 3);
    rig.pass(5);
    rig.note(&[], &rig.timing()).await;
    rig.note(&[], &rig.timing()).await;
    assert_eq!(told(&mut outbox).await, ["raised", "worse", "reminder", "cleared"]);
    let over = &web.heard()[3].body;
    assert_eq!(
        (over["text"].as_str(), over["headline"].as_str()),
        (Some("nothing is free"), Some("[soxsd] over: nothing is free"))
    );
    assert!(over["cleared"].is_string() && over["raised"].is_string());
    let keys: std::collections::BTreeSet<String> = web.heard().into_iter().map(|post| post.key).collect();
    assert_eq!(keys.len(), 4, "each message has an identity of its own");
    assert!(rig.catalogue.open_alerts().await.expect("alerts").is_empty());
    assert_eq!(rig.catalogue.alerts(10).await.expect("alerts")[0].sent, 4);
}

#[tokio::test]
async fn in_quiet_hours_warnings_wait_and_what_is_over_by_then_is_not_told() {
    let rig = Rig::new().await;
    let web = doubles::web(&[]).await;
    let mut outbox = rig.outbox(&hook(web.port));
    let quiet = Timing { warnings_from_us: rig.now() + 30 * MINUTE, ..rig.timing() };
    let other = Finding { key: "delivery/saf".to_string(), ..trouble("warning", "the archive is away") };
    let grave = Finding { key: "daemon/x".to_string(), ..trouble("error", "a loop stands still") };
    rig.note(&[trouble("warning", "short of room"), other.clone(), grave.clone()], &quiet).await;
    outbox.send_due().await.expect("served");
    assert_eq!(web.heard().len(), 1, "what is grave is told");
    rig.pass(10);
    // One of them ends while it is quiet.
    rig.note(&[other.clone(), grave.clone()], &quiet).await;
    rig.pass(25);
    rig.note(&[other, grave], &rig.timing()).await;
    outbox.send_due().await.expect("served");
    let told: Vec<String> =
        web.heard().iter().map(|post| post.body["key"].as_str().unwrap_or_default().to_string()).collect();
    assert_eq!(told, ["daemon/x", "delivery/saf"]);
}

#[tokio::test]
async fn a_receiver_that_is_busy_or_silent_gets_the_same_message_in_the_same_order() {
    let rig = Rig::new().await;
    let web = doubles::web(&[Mood::Busy, Mood::TakeAndVanish, Mood::Take]).await;
    let mut outbox = rig.outbox(&hook(web.port));
    rig.note(&[trouble("error", "no room")], &rig.timing()).await;
    outbox.send_due().await.expect("served");
    rig.pass(3);
    rig.note(&[], &rig.timing()).await;
    for _ in 0..2 {
        outbox.send_due().await.expect("served");
    }
    assert_eq!(web.moods_left(), 0);
    let heard: Vec<(String, String)> = web
        .heard()
        .into_iter()
        .map(|post| (post.key, post.body["what"].as_str().unwrap_or_default().to_string()))
        .collect();
    let whats: Vec<&str> = heard.iter().map(|(_, what)| what.as_str()).collect();
    assert_eq!(whats, ["raised", "raised", "cleared"], "nobody hears of an end before the beginning");
    assert_eq!(heard[0].0, heard[1].0, "told again under the same identity");
}

#[tokio::test]
async fn a_mail_goes_out_by_the_protocol_and_keeps_its_identity() {
    let rig = Rig::new().await;
    let office = doubles::post_office(&[Mood::Busy, Mood::TakeAndVanish, Mood::Take]).await;
    let mut outbox = rig.outbox(&mailbox(office.port));
    rig.note(&[trouble("error", "less than 2048 MiB are free in /var/lib/soxsd: no recipe starts")], &rig.timing())
        .await;
    for _ in 0..3 {
        outbox.send_due().await.expect("served");
    }
    let heard = office.heard();
    assert_eq!(heard.len(), 2, "once without an answer, once more");
    let mail = &heard[1];
    assert_eq!(
        (mail.from.as_str(), mail.to.clone()),
        ("soxsd@mountain.example", vec!["ana@example.org".to_string(), "luis@example.org".to_string()])
    );
    assert_eq!(
        mail.header("Subject"),
        "[soxsd] error: less than 2048 MiB are free in /var/lib/soxsd: no recipe starts"
    );
    assert!(mail.text.contains("What to do: make room"), "{}", mail.text);
    assert!(mail.header("Message-ID").ends_with("@soxsd>"), "{}", mail.text);
    assert_eq!(heard[0].header("Message-ID"), mail.header("Message-ID"), "mailboxes know it again");
    assert!(outbox.send_due().await.expect("served").is_none(), "nothing is left");

    // Refused for good: the next one is not held up.
    let office = doubles::post_office(&[Mood::Refuse]).await;
    let mut outbox = rig.outbox(&mailbox(office.port));
    rig.note(&[Finding { key: "a".to_string(), ..trouble("error", "one") }], &rig.timing()).await;
    rig.note(&[Finding { key: "b".to_string(), ..trouble("error", "two") }], &rig.timing()).await;
    outbox.send_due().await.expect("served");
    assert_eq!(office.heard().len(), 1);
    let alerts = rig.catalogue.alerts(10).await.expect("alerts");
    assert!(alerts.iter().any(|alert| alert.key == "a" && alert.error.contains("554")), "{alerts:?}");
}

#[tokio::test]
async fn a_message_that_was_cut_off_is_told_again_but_not_written_twice() {
    let rig = Rig::new().await;
    let path = rig.folder.path().join("alerts.jsonl");
    let file = receiver(format!("kind = \"file\"\npath = {path:?}"));
    rig.note(&[trouble("error", "no room")], &rig.timing()).await;
    let due = rig.catalogue.due_message("s").await.expect("served").expect("a message");
    // Killed after the write and before its record; and, in the second case, in the middle of the write.
    rig.outbox(&file).send_due().await.expect("served");
    let whole = std::fs::read_to_string(&path).expect("a file");
    assert_eq!(whole.lines().count(), 1);
    for (left, lines) in [(whole.clone(), 1), (whole[..20].to_string(), 2)] {
        std::fs::write(&path, &left).expect("written");
        let text = format!("UPDATE alert_message SET state = 'sending', sent_us = NULL WHERE id = {}", due.id);
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(rig.catalogue.path());
        let pool = sqlx::SqlitePool::connect_with(options).await.expect("a second hand");
        sqlx::query(sqlx::AssertSqlSafe(text)).execute(&pool).await.expect("as a kill leaves it");
        pool.close().await;
        rig.outbox(&file).send_due().await.expect("served");
        let now = std::fs::read_to_string(&path).expect("a file");
        assert_eq!(now.lines().count(), lines, "{now}");
        assert_eq!(now.lines().last(), whole.lines().last());
    }
}

/// The daemon, killed hard between a message and its record, and started again.
#[tokio::test]
async fn kill_minus_nine_neither_loses_nor_repeats() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("raw")).expect("a folder");
    let web = doubles::web(&[Mood::TakeAndVanish]).await;
    let config = format!(
        "[paths]\nraw = [\"raw\"]\nwork = \"work\"\n[service]\nlisten = \"\"\n[scheduler]\nmin_free_mib = 1\n\
         [alerts]\nevery_s = 0.2\nfree_mib = 1000000000\nsunset_hours = 0\n\
         [[alert]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"http://127.0.0.1:{}/hook\"\n\
         [[alert]]\nname = \"file\"\nkind = \"file\"\npath = \"alerts.jsonl\"\n",
        web.port
    );
    std::fs::write(folder.path().join("soxsd.toml"), config).expect("written");
    let mut daemon = start(folder.path());
    wait(|| !web.heard().is_empty()).await;
    daemon.kill().expect("killed");
    daemon.wait().expect("dead");
    let mut daemon = start(folder.path());
    let disk = |what: &str| {
        let wanted = |post: &doubles::Post| post.body["kind"] == "disk" && post.body["what"] == what;
        web.heard().into_iter().filter(wanted).map(|post| post.key).collect::<Vec<String>>()
    };
    // Its successor also says that its predecessor died.
    wait(|| disk("raised").len() >= 2 && web.heard().iter().any(|post| post.body["key"] == "daemon/died")).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    daemon.kill().expect("killed");
    daemon.wait().expect("dead");
    let keys = disk("raised");
    assert_eq!(keys.len(), 2, "once without an answer and once more: {keys:?}");
    assert_eq!(keys[0], keys[1], "and the receiver can tell that it is the same");
    let lines = std::fs::read_to_string(folder.path().join("alerts.jsonl")).expect("a file");
    let raised = lines
        .lines()
        .filter(|line| line.contains("\"disk\"") && line.contains("\"raised\"") && line.contains("\"what\""))
        .count();
    assert_eq!(raised, 1, "{lines}");
}

fn start(folder: &Path) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(folder.join("log")).expect("a log");
    Command::new(assert_cmd::cargo::cargo_bin!("soxsd"))
        .arg("run")
        .current_dir(folder)
        .env_remove("SOXSD_CONFIG")
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a second handle"))
        .stderr(log)
        .spawn()
        .expect("the daemon starts")
}

async fn wait(condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < PATIENCE, "it did not happen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
