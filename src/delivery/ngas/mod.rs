//! An NGAS archive over HTTP.
//!
//! The server speaks HTTP/1.0, closes each connection after its answer and never refuses a second copy: it makes a new
//! version of it, also when it lost the connection before it could answer. So an item is offered only after the server
//! was asked for it, and what happened to an offer without an answer is found out by asking, never by sending again.
//!
//! What lives here: the requests. What the answers mean is in [`reply`]; when to ask again is the outbox's affair.

mod reply;

use std::path::Path;
use std::time::Duration;

use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use reqwest::{RequestBuilder, Url};

use super::SinkError;
use super::archive::{Act, Archive, Offer, Receipt, Record};
use super::folder::blocking;
use super::http::{base_url, brief, client, limit, percent, secret, text_of, told};
use super::stored::Stored;
use crate::catalogue::deliveries::ArchiveItem;
use crate::config::{ArchiveConfig, CrcKind};
use reply::{Failure, FileStatus, Reply, checksum_agrees, failure};

/// Time limit of a question; an offer has the configured one.
const QUESTION: Duration = Duration::from_secs(60);

/// Slowest line that an offer is given time for, bytes per second.
const SLOWEST: u64 = 64 * 1024;

/// The archive.
pub struct Ngas {
    config: ArchiveConfig,
    base: Url,
    client: reqwest::Client,
}

/// An answer as it came.
struct Answer {
    http: u16,
    text: String,
}

/// A request that brought no whole answer.
enum Cut {
    /// Nothing can have arrived.
    Before(String),
    /// All or part of it may have arrived.
    During(String),
}

impl Ngas {
    /// An archive as configured.
    pub fn new(config: &ArchiveConfig) -> Result<Ngas, SinkError> {
        Ok(Ngas {
            config: config.clone(),
            base: base_url(&config.name, &config.url)?,
            client: client(&config.name, &config.url)?,
        })
    }

    fn peer(&self) -> String {
        self.config.url.clone()
    }

    /// URL of a command with its query, which is encoded already.
    fn url(&self, command: &str, query: &str) -> Url {
        let mut url = self.base.clone();
        let path = format!("{}/{command}", url.path().trim_end_matches('/'));
        url.set_path(&path);
        url.set_query((!query.is_empty()).then_some(query));
        url
    }

    async fn signed(&self, request: RequestBuilder) -> Result<RequestBuilder, SinkError> {
        if self.config.user.is_empty() {
            return Ok(request);
        }
        // The server never asks for credentials: they are sent with every request.
        let password = secret(&self.config.name, &self.config.password_file).await?;
        Ok(request.basic_auth(&self.config.user, password))
    }

    async fn send(&self, request: RequestBuilder) -> Result<Answer, Cut> {
        let response = request.send().await.map_err(|error| {
            if error.is_connect() || error.is_builder() { Cut::Before(told(&error)) } else { Cut::During(told(&error)) }
        })?;
        let http = response.status().as_u16();
        match text_of(response).await {
            Ok(text) => Ok(Answer { http, text }),
            Err(reason) => Err(Cut::During(format!("the answer (status {http}) broke off: {reason}"))),
        }
    }

    /// Ask something that changes nothing. The answer is a success, or says that there is no such file.
    async fn ask(&self, what: &'static str, key: &str, query: &str) -> Result<Option<Reply>, SinkError> {
        let request = self.client.get(self.url("STATUS", query)).timeout(QUESTION.min(limit(self.config.timeout_s)));
        let answer = self.send(self.signed(request).await?).await.map_err(|cut| match cut {
            Cut::Before(reason) | Cut::During(reason) => SinkError::Unreachable { peer: self.peer(), what, reason },
        })?;
        let parsed = Reply::parse(&answer.text);
        let message = match &parsed {
            Ok(reply) if answer.http == 200 && reply.success() => return Ok(parsed.ok()),
            Ok(reply) => reply.message.clone(),
            Err(reason) if answer.http == 200 => {
                return Err(SinkError::Reply { peer: self.peer(), what, reason: reason.clone() });
            }
            Err(_) => brief(&answer.text),
        };
        match failure(answer.http, &message) {
            Failure::Absent => Ok(None),
            other => Err(self.error(other, answer.http, key, &message)),
        }
    }

    fn error(&self, failure: Failure, http: u16, key: &str, message: &str) -> SinkError {
        let (peer, key) = (self.peer(), key.to_string());
        let reason = format!("status {http} {}", brief(message)).trim_end().to_string();
        match failure {
            Failure::NotReady => SinkError::NotReady { peer, reason },
            Failure::Damaged => SinkError::Damaged { peer, key, reason },
            Failure::Refused { class, scope, remedy } => SinkError::Refused { peer, key, reason, remedy, class, scope },
            Failure::Hiccup | Failure::Unclear | Failure::Absent | Failure::Buffered => {
                SinkError::Hiccup { peer, key, reason }
            }
        }
    }

    async fn look_up_now(&self, item: &ArchiveItem) -> Result<Record, SinkError> {
        let query = format!("file_id={}", percent(&item.key));
        let Some(reply) = self.ask("read its record", &item.key, &query).await? else {
            return Ok(Record::Absent);
        };
        let [file] = reply.files.as_slice() else {
            return Err(SinkError::Reply {
                peer: self.peer(),
                what: "the question for a file",
                reason: format!("{} files instead of one", reply.files.len()),
            });
        };
        Ok(match disagreement(item, file) {
            None => Record::Equal(receipt(file)),
            Some(found) => Record::Conflict(found),
        })
    }

    async fn offer_now(&self, item: &ArchiveItem, path: &Path) -> Result<Offer, SinkError> {
        let (owned, from) = (item.clone(), path.to_path_buf());
        let stored = blocking(move || Stored::open(&owned, &from)).await?;
        let passage = stored.passage();
        let size = item.size.unsigned_abs();
        let request = self
            .client
            .post(self.url(&self.config.command, &self.offer_query(item)))
            .timeout(limit(self.config.timeout_s) + Duration::from_secs(size / SLOWEST))
            .header(CONTENT_TYPE, self.media_type()?)
            // Said explicitly: a body of unknown length would go in chunks, which the server refuses.
            .header(CONTENT_LENGTH, size)
            .header("NGAS-File-CRC", self.crc(item))
            .body(stored.into_body());
        let sent = self.send(self.signed(request).await?).await;
        if let Some(fault) = passage.fault() {
            return Err(fault);
        }
        let answer = match sent {
            Ok(answer) => answer,
            Err(Cut::During(reason)) if passage.begun() => return Ok(Offer::Unknown(reason)),
            Err(Cut::Before(reason) | Cut::During(reason)) => {
                return Err(SinkError::Unreachable { peer: self.peer(), what: "hand over a product", reason });
            }
        };
        self.outcome(item, &answer)
    }

    /// What the answer to an offer means.
    fn outcome(&self, item: &ArchiveItem, answer: &Answer) -> Result<Offer, SinkError> {
        let parsed = Reply::parse(&answer.text);
        let message = match &parsed {
            Ok(reply) if answer.http == 200 && reply.success() => {
                return Ok(match reply.files.as_slice() {
                    [file] => match disagreement(item, file) {
                        None => Offer::Answered(receipt(file)),
                        Some(found) => Offer::Unknown(format!("the answer is a success, yet {found}")),
                    },
                    files => Offer::Unknown(format!("the answer tells of {} files instead of one", files.len())),
                });
            }
            Ok(reply) => reply.message.clone(),
            Err(reason) if answer.http == 200 => {
                return Ok(Offer::Unknown(format!("the answer cannot be understood: {reason}")));
            }
            Err(_) => brief(&answer.text),
        };
        match failure(answer.http, &message) {
            Failure::Buffered => Ok(Offer::Buffered(message)),
            Failure::Unclear | Failure::Absent => Ok(Offer::Unknown(format!("status {} {message}", answer.http))),
            other => Err(self.error(other, answer.http, &item.key, &message)),
        }
    }

    fn offer_query(&self, item: &ArchiveItem) -> String {
        let kind = match self.config.crc {
            CrcKind::Crc32 => "crc32",
            CrcKind::Crc32c => "crc32c",
            CrcKind::Crc32z => "crc32z",
        };
        let mut query =
            format!("filename={}&mime_type={}&crc_variant={kind}", percent(&item.key), percent(&self.config.mime_type));
        let further = self.config.query.trim_matches(['?', '&']);
        if !further.is_empty() {
            query.push('&');
            query.push_str(further);
        }
        query
    }

    fn crc(&self, item: &ArchiveItem) -> i64 {
        match self.config.crc {
            CrcKind::Crc32 | CrcKind::Crc32z => item.crc32,
            CrcKind::Crc32c => item.crc32c,
        }
    }

    fn media_type(&self) -> Result<HeaderValue, SinkError> {
        HeaderValue::from_str(&self.config.mime_type).map_err(|_| SinkError::Setup {
            sink: self.config.name.clone(),
            reason: format!("mime_type = {:?} cannot be sent in a header", self.config.mime_type),
        })
    }
}

impl Archive for Ngas {
    fn ready(&self) -> Act<'_, ()> {
        Box::pin(async move {
            let Some(reply) = self.ask("read its state", "STATUS", "").await? else {
                return Err(SinkError::Reply {
                    peer: self.peer(),
                    what: "the question for its state",
                    reason: "it speaks of a file".to_string(),
                });
            };
            // SubState is not looked at: BUSY stays behind after a failed request.
            if reply.state == "ONLINE" {
                Ok(())
            } else {
                Err(SinkError::NotReady { peer: self.peer(), reason: format!("its state is {:?}", reply.state) })
            }
        })
    }

    fn look_up<'a>(&'a self, item: &'a ArchiveItem) -> Act<'a, Record> {
        Box::pin(self.look_up_now(item))
    }

    fn offer<'a>(&'a self, item: &'a ArchiveItem, file: &'a Path) -> Act<'a, Offer> {
        Box::pin(self.offer_now(item, file))
    }
}

/// In what the server's record differs from the item, if in anything.
fn disagreement(item: &ArchiveItem, file: &FileStatus) -> Option<String> {
    let (crc32, crc32c) = (item.crc32 as u32, item.crc32c as u32);
    if file.id != item.key {
        return Some(format!("it is filed as {:?}: check mime_type and query of the archive", file.id));
    }
    if file.size != item.size.unsigned_abs() {
        return Some(format!("version {} holds {} bytes, the product has {}", file.version, file.size, item.size));
    }
    match checksum_agrees(file, crc32, crc32c) {
        Some(true) => {}
        Some(false) => {
            return Some(format!(
                "version {} has {} {}, the product has crc32 {crc32} and crc32c {crc32c}",
                file.version, file.kind, file.checksum
            ));
        }
        None => {
            return Some(format!(
                "version {} has no checksum that can be compared ({:?} {:?}), so equality cannot be proven",
                file.version, file.kind, file.checksum
            ));
        }
    }
    if !file.flags.bytes().all(|flag| flag == b'0') {
        return Some(format!("the archive itself has flagged version {} as bad ({})", file.version, file.flags));
    }
    None
}

fn receipt(file: &FileStatus) -> Receipt {
    Receipt {
        id: file.id.clone(),
        version: file.version,
        size: file.size,
        checksum_kind: file.kind.clone(),
        checksum: file.checksum.clone(),
        place: file.place.clone(),
    }
}
