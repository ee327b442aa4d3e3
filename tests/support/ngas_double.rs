//! A double of an NGAS server, as faithful as tests need: HTTP/1.0, a connection closed after every answer, no refusal of
//! duplicates (they become versions), status documents in Latin-1 with an external DTD, and every misbehaviour on demand.
//! It serves one connection after the other, so that what a client asks comes after what it sent before.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg32;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What happens to an offer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Whim {
    Fine,
    /// Closed before the body is read; nothing stored.
    Close,
    /// Closed in the middle of the body; nothing stored.
    CloseMidBody,
    /// Stored, and closed without an answer.
    Swallow,
    /// Stored, and the answer breaks off.
    HalfAnswer,
    /// Stored, and the answer is not XML.
    Garbage,
    /// `HTTP/1.0 503 Service Unavailable` and nothing else, before the body is read.
    Busy,
    /// 500 after storing.
    Crash,
    /// No volume has room; the message of QARCHIVE.
    Full,
    /// No volume has room; the message of ARCHIVE.
    FullArchive,
    /// 4015.
    Offline,
    /// `database is locked`, stored or not.
    Locked {
        stored: bool,
    },
    /// 4022, stored after so many looks.
    Buffer {
        looks: u32,
    },
    /// 4022, never stored.
    BufferForGood,
    /// 400 with another checksum, nothing kept.
    ChecksumError,
    /// Success, with a wrong checksum in the record.
    WrongChecksum,
    /// Success, with fewer bytes.
    Truncated,
    /// Fine, after a pause.
    Slow,
    /// Fine, with an answer of more than 64 KiB.
    Huge,
    /// Fine, with an answer without Content-Length.
    NoLength,
    /// 4047.
    BadMime,
}

/// What happens to a question.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mood {
    Fine,
    Close,
    Busy,
    Garbage,
    Locked,
}

/// A stored version.
#[derive(Clone, Debug)]
pub struct Version {
    pub bytes: Vec<u8>,
    pub kind: String,
    pub checksum: String,
    pub flags: String,
    pub mime_type: String,
}

#[derive(Default)]
pub struct State {
    pub files: BTreeMap<String, Vec<Version>>,
    pub offline: bool,
    /// `Authorization` that is required.
    pub authorization: Option<String>,
    /// 403 for offers.
    pub forbidden: bool,
    /// 404 for everything.
    pub unknown_command: bool,
    /// For the next offers, then `Fine` or at random.
    pub script: VecDeque<Whim>,
    /// For the next questions.
    pub moods: VecDeque<Mood>,
    /// Whims and moods at random, with this chance.
    pub random: Option<(Pcg32, f64)>,
    pub offers: usize,
    pub questions: usize,
    /// What no client may do.
    pub violations: Vec<String>,
    /// Full query of every offer.
    pub queries: Vec<String>,
    buffered: Vec<(String, Version, u32)>,
}

pub struct Double {
    pub url: String,
    state: Arc<Mutex<State>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Double {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Request {
    method: String,
    path: String,
    query: String,
    parameters: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
}

impl Double {
    pub async fn start() -> Double {
        Double::start_at("127.0.0.1:0").await
    }

    pub async fn start_at(address: &str) -> Double {
        let listener = TcpListener::bind(address).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                // A client that is cut off is none of the server's business.
                serve(stream, &shared).await.ok();
            }
        });
        Double { url, state, task }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn script(&self, whims: &[Whim]) {
        self.state().script.extend(whims);
    }

    pub fn misbehave(&self, seed: u64, chance: f64) {
        self.state().random = Some((Pcg32::seed_from_u64(seed), chance));
    }

    /// Every file there exactly once, with these bytes.
    pub fn holds_once(&self, expected: &BTreeMap<String, Vec<u8>>) {
        let state = self.state();
        assert_eq!(state.violations, Vec::<String>::new());
        assert_eq!(state.files.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
        for (name, versions) in &state.files {
            assert_eq!(versions.len(), 1, "{name} was archived {} times", versions.len());
            assert!(versions[0].bytes == expected[name], "{name} has other bytes");
        }
    }

    pub fn plant(&self, name: &str, bytes: &[u8]) {
        let version = Version {
            bytes: bytes.to_vec(),
            kind: "crc32".to_string(),
            checksum: crc32fast::hash(bytes).to_string(),
            flags: "00000000".to_string(),
            mime_type: "application/fits".to_string(),
        };
        self.state().files.entry(name.to_string()).or_default().push(version);
    }
}

impl State {
    fn whim(&mut self) -> Whim {
        if let Some(whim) = self.script.pop_front() {
            return whim;
        }
        let Some((random, chance)) = &mut self.random else { return Whim::Fine };
        if !random.random_bool(*chance) {
            return Whim::Fine;
        }
        let passing = [
            Whim::Close,
            Whim::CloseMidBody,
            Whim::Swallow,
            Whim::Swallow,
            Whim::HalfAnswer,
            Whim::Garbage,
            Whim::Busy,
            Whim::Crash,
            Whim::Full,
            Whim::FullArchive,
            Whim::Offline,
            Whim::Locked { stored: true },
            Whim::Locked { stored: false },
            Whim::Buffer { looks: 3 },
            Whim::Slow,
            Whim::Huge,
            Whim::NoLength,
        ];
        passing[random.random_range(0..passing.len())]
    }

    fn mood(&mut self) -> Mood {
        if let Some(mood) = self.moods.pop_front() {
            return mood;
        }
        let Some((random, chance)) = &mut self.random else { return Mood::Fine };
        if !random.random_bool(*chance / 4.0) {
            return Mood::Fine;
        }
        let moods = [Mood::Close, Mood::Busy, Mood::Garbage, Mood::Locked];
        moods[random.random_range(0..moods.len())]
    }

    /// The janitor: buffered files are stored after some looks.
    fn janitor(&mut self) {
        for entry in &mut self.buffered {
            entry.2 = entry.2.saturating_sub(1);
        }
        let (done, left) = std::mem::take(&mut self.buffered).into_iter().partition(|entry| entry.2 == 0);
        self.buffered = left;
        let done: Vec<(String, Version, u32)> = done;
        for (name, version, _) in done {
            self.files.entry(name).or_default().push(version);
        }
    }
}

const SERVER: &str = "Server: NGAMS/12.0/2022-11-29T07:00:00\r\nContent-Type: text/xml\r\n";

async fn serve(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut body = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    let end = loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        head.extend_from_slice(&buffer[..count]);
        if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
    };
    body.extend_from_slice(&head[end + 4..]);
    let request = parse(&String::from_utf8_lossy(&head[..end]));
    let (authorized, unknown, forbidden) = {
        let state = state.lock().unwrap();
        let given = request.headers.get("authorization");
        (
            state.authorization.is_none() || state.authorization.as_ref() == given,
            state.unknown_command,
            state.forbidden && request.method == "POST",
        )
    };
    let refusal = match (authorized, unknown, forbidden) {
        (false, _, _) => Some((401, "Unauthorized request received")),
        (_, true, _) => Some((404, "Command not found")),
        (_, _, true) => Some((403, "Unauthorized access denied")),
        _ => None,
    };
    if let Some((status, message)) = refusal {
        drain(&mut stream, &request, &mut body).await?;
        return answer(&mut stream, status, &document("FAILURE", "ONLINE", message, "")).await;
    }
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/STATUS") => question(&mut stream, &request, state).await,
        ("POST", "/ARCHIVE" | "/QARCHIVE") => offer(&mut stream, &request, body, state).await,
        _ => answer(&mut stream, 404, &document("FAILURE", "ONLINE", "Command not found", "")).await,
    }
}

async fn question(stream: &mut TcpStream, request: &Request, state: &Mutex<State>) -> std::io::Result<()> {
    let (mood, offline) = {
        let mut state = state.lock().unwrap();
        state.questions += 1;
        state.janitor();
        (state.mood(), state.offline)
    };
    match mood {
        Mood::Fine => {}
        Mood::Close => return Ok(()),
        Mood::Busy => return stream.write_all(b"HTTP/1.0 503 Service Unavailable\r\n\r\n").await,
        Mood::Garbage => return answer(stream, 200, b"<html>not what was asked for").await,
        Mood::Locked => return answer(stream, 400, &document("FAILURE", "ONLINE", "database is locked", "")).await,
    }
    let online = if offline { "OFFLINE" } else { "ONLINE" };
    let Some(id) = request.parameters.get("file_id") else {
        return answer(stream, 200, &document("SUCCESS", online, "Successfully handled command STATUS", "")).await;
    };
    let found = state.lock().unwrap().files.get(id).map(|versions| {
        let last = versions.last().unwrap();
        file_status(id, versions.len(), last)
    });
    match found {
        // A byte that is no UTF-8: the real server's Latin-1.
        Some(file) => {
            answer(stream, 200, &document("SUCCESS", online, "Successfully handled command STATUS \u{e9}", &file)).await
        }
        None => {
            let message =
                format!("NGAMS_ER_UNAVAIL_FILE:4019:ERROR: File with ID: {} appears not to be available.", escape(id));
            answer(stream, 400, &document("FAILURE", online, &message, "")).await
        }
    }
}

async fn offer(
    stream: &mut TcpStream,
    request: &Request,
    mut body: Vec<u8>,
    state: &Mutex<State>,
) -> std::io::Result<()> {
    let (whim, offline) = {
        let mut state = state.lock().unwrap();
        state.offers += 1;
        state.queries.push(request.query.clone());
        for (header, value) in [("expect", "100-continue"), ("transfer-encoding", "chunked")] {
            if request.headers.get(header).is_some_and(|found| found == value) {
                state.violations.push(format!("{header}: {value}"));
            }
        }
        (state.whim(), state.offline)
    };
    match whim {
        Whim::Close => return Ok(()),
        Whim::Busy => return stream.write_all(b"HTTP/1.0 503 Service Unavailable\r\n\r\n").await,
        Whim::CloseMidBody => {
            let mut some = vec![0; 1000];
            stream.read(&mut some).await?;
            return Ok(());
        }
        _ => {}
    }
    let Some(length) = request.headers.get("content-length").and_then(|length| length.parse::<usize>().ok()) else {
        state.lock().unwrap().violations.push("no Content-Length".to_string());
        return answer(stream, 411, &document("FAILURE", "ONLINE", "Content-Length is 0 or unknown", "")).await;
    };
    drain(stream, request, &mut body).await?;
    let failure = |message: &str| document("FAILURE", "ONLINE", message, "");
    if body.len() < length {
        let missing = length - body.len();
        let message = format!("Only read {} out of {length} bytes ({missing} bytes missing)", body.len());
        return answer(stream, 400, &failure(&message)).await;
    }
    let Some(name) = request.parameters.get("filename").cloned() else {
        return answer(stream, 400, &failure("NGAMS_ER_MISSING_URI:4013:ERROR")).await;
    };
    let kind = request.parameters.get("crc_variant").cloned().unwrap_or_else(|| "crc32".to_string());
    let crc = if kind == "crc32c" { crc32c::crc32c(&body) } else { crc32fast::hash(&body) };
    let given = request.headers.get("ngas-file-crc").cloned().unwrap_or_default();
    if given != crc.to_string() {
        state.lock().unwrap().violations.push(format!("{name}: NGAS-File-CRC {given:?}, local crc {crc}"));
        let message = format!("Checksum error for file {name}, local crc = {crc}, but remote crc = {given}");
        return answer(stream, 400, &failure(&message)).await;
    }
    let mut version = Version {
        bytes: body,
        kind,
        checksum: crc.to_string(),
        flags: "00000000".to_string(),
        mime_type: request.parameters.get("mime_type").cloned().unwrap_or_default(),
    };
    match whim {
        Whim::Offline => return answer(stream, 400, &failure("NGAMS_ER_IMPROPER_STATE:4015:ERROR")).await,
        _ if offline => return answer(stream, 400, &failure("NGAMS_ER_IMPROPER_STATE:4015:ERROR")).await,
        Whim::Full => {
            let message = "No disk volumes are available for ingesting any files.";
            return answer(stream, 400, &failure(message)).await;
        }
        Whim::FullArchive => return answer(stream, 400, &failure("NGAMS_AL_NO_STO_SETS:3014:ALERT")).await,
        Whim::Locked { stored: false } => return answer(stream, 400, &failure("database is locked")).await,
        Whim::ChecksumError => {
            let message = format!("Checksum error for file {name}, local crc = 1, but remote crc = {crc}");
            return answer(stream, 400, &failure(&message)).await;
        }
        Whim::BadMime => {
            return answer(stream, 400, &failure("NGAMS_ER_UNKNOWN_MIME_TYPE2:4047:ERROR: Illegal mime-type")).await;
        }
        Whim::Buffer { .. } | Whim::BufferForGood => {
            let looks = if let Whim::Buffer { looks } = whim { looks } else { u32::MAX };
            state.lock().unwrap().buffered.push((name, version, looks));
            let message = "NGAMS_WA_BUF_DATA:4022:WARNING: NGAMS_AL_MV_FILE. Data will be Back-Log Buffered";
            return answer(stream, 400, &failure(message)).await;
        }
        Whim::WrongChecksum => version.checksum = crc.wrapping_add(1).to_string(),
        Whim::Truncated => {
            version.bytes.pop();
        }
        Whim::Slow => tokio::time::sleep(Duration::from_millis(20)).await,
        _ => {}
    }
    let file = {
        let mut state = state.lock().unwrap();
        let versions = state.files.entry(name.clone()).or_default();
        versions.push(version);
        file_status(&name, versions.len(), versions.last().unwrap())
    };
    let success = document("SUCCESS", "ONLINE", "Successfully handled Archive Push Request", &file);
    match whim {
        Whim::Swallow => Ok(()),
        Whim::Garbage => answer(stream, 200, b"<html>").await,
        Whim::Crash => answer(stream, 500, b"Internal Server Error").await,
        Whim::Locked { stored: true } => answer(stream, 400, &failure("UNIQUE constraint failed: ngas_files")).await,
        Whim::HalfAnswer => {
            let head = format!("HTTP/1.0 200 OK\r\n{SERVER}Content-Length: {}\r\n\r\n", success.len());
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&success[..success.len() / 2]).await
        }
        Whim::NoLength => {
            stream.write_all(format!("HTTP/1.0 200 OK\r\n{SERVER}\r\n").as_bytes()).await?;
            stream.write_all(&success).await
        }
        Whim::Huge => {
            let mut huge = success;
            huge.extend(format!("<!--{}-->", "x".repeat(200_000)).bytes());
            answer(stream, 200, &huge).await
        }
        _ => answer(stream, 200, &success).await,
    }
}

/// Read the rest of a body; shorter when the client ends early.
async fn drain(stream: &mut TcpStream, request: &Request, body: &mut Vec<u8>) -> std::io::Result<()> {
    let length = request.headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut buffer = vec![0; 64 * 1024];
    while body.len() < length {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            break;
        }
        body.extend_from_slice(&buffer[..count]);
    }
    Ok(())
}

async fn answer(stream: &mut TcpStream, status: u16, text: &[u8]) -> std::io::Result<()> {
    let head = format!("HTTP/1.0 {status} X\r\n{SERVER}Content-Length: {}\r\n\r\n", text.len());
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(text).await?;
    stream.shutdown().await
}

/// A status document in Latin-1.
fn document(status: &str, online: &str, message: &str, file: &str) -> Vec<u8> {
    let disk = if file.is_empty() {
        String::new()
    } else {
        format!(r#"<DiskStatus DiskId="disk-1" Completed="0" Checksum="" LastCheck="">{file}</DiskStatus>"#)
    };
    let text = format!(
        r#"<?xml version="1.0" ?>
<!DOCTYPE NgamsStatus SYSTEM "http://127.0.0.1:1/RETRIEVE?internal=ngamsStatus.dtd">
<NgamsStatus><Status Date="2026-11-22T16:27:49.781" Version="12.0/2022-11-29T07:00:00" HostId="host:7777" Message="{message}" Status="{status}" State="{online}" SubState="BUSY"/>{disk}</NgamsStatus>"#
    );
    text.chars().map(|character| u8::try_from(u32::from(character)).unwrap_or(b'?')).collect()
}

fn file_status(id: &str, version: usize, stored: &Version) -> String {
    let id = escape(id);
    format!(
        r#"<FileStatus FileName="saf/2026-11-22/{version}/{id}" FileId="{id}" FileVersion="{version}" Format="{}" FileSize="{}" Checksum="{}" ChecksumPlugIn="{}" FileStatus="{}"/>"#,
        stored.mime_type,
        stored.bytes.len(),
        stored.checksum,
        stored.kind,
        stored.flags
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

fn parse(head: &str) -> Request {
    let mut lines = head.split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ');
    let method = first.next().unwrap_or_default().to_string();
    let target = first.next().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let parameters = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (decode(key), decode(value)))
        .collect();
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(key, value)| (key.to_ascii_lowercase(), value.trim().to_string()))
        .collect();
    Request { method, path: path.to_string(), query: query.to_string(), parameters, headers }
}

/// As a form is decoded: `+` is a blank.
fn decode(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let hex = [bytes.next().unwrap(), bytes.next().unwrap()];
                out.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
            }
            other => out.push(other),
        }
    }
    String::from_utf8(out).unwrap()
}
