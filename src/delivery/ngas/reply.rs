//! What an NGAS server answers: its status document, and what each of its failures means for the item.
//!
//! The document names an external DTD, which is never loaded, and is Latin-1 without saying so. The server's own DTD has
//! `OK` where its code sends `SUCCESS`; both are taken.

use crate::fault::FaultClass;

use crate::delivery::error::Scope;

/// Nodes of a status document that are read at most; a real one has a few.
const MOST_NODES: u32 = 100_000;

/// A status document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reply {
    /// `SUCCESS`, `OK` or `FAILURE`.
    pub status: String,
    /// For people, and with the error's number.
    pub message: String,
    /// `ONLINE` or `OFFLINE`.
    pub state: String,
    /// Version of the server.
    pub version: String,
    /// Files that it tells of.
    pub files: Vec<FileStatus>,
}

/// One file as the server knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FileStatus {
    /// Identifier.
    pub id: String,
    /// Version, from 1.
    pub version: u64,
    /// Bytes.
    pub size: u64,
    /// Checksum in decimal, as it stands; may be negative, empty or `None`.
    pub checksum: String,
    /// Kind of checksum.
    pub kind: String,
    /// Eight flags; the first says that the checksum was found wrong.
    pub flags: String,
    /// Volume and path.
    pub place: String,
}

impl Reply {
    /// Read a status document.
    pub fn parse(text: &str) -> Result<Reply, String> {
        let options = roxmltree::ParsingOptions {
            allow_dtd: true,
            nodes_limit: MOST_NODES,
            ..roxmltree::ParsingOptions::default()
        };
        let document = roxmltree::Document::parse_with_options(text.trim_start_matches('\u{feff}').trim(), options)
            .map_err(|error| error.to_string())?;
        let root = document.root_element();
        if root.tag_name().name() != "NgamsStatus" {
            return Err(format!("its root is <{}>, not <NgamsStatus>", root.tag_name().name()));
        }
        let status =
            root.children().find(|node| node.has_tag_name("Status")).ok_or_else(|| "it has no <Status>".to_string())?;
        let of = |node: &roxmltree::Node<'_, '_>, name: &str| node.attribute(name).unwrap_or_default().to_string();
        let mut files = Vec::new();
        for node in root.descendants().filter(|node| node.has_tag_name("FileStatus")) {
            let number = |name: &str| {
                let text = node.attribute(name).unwrap_or_default();
                text.trim().parse::<u64>().map_err(|_| format!("{name}={text:?} is no number"))
            };
            let volume = node.parent().and_then(|disk| disk.attribute("DiskId")).unwrap_or_default();
            files.push(FileStatus {
                id: of(&node, "FileId"),
                version: number("FileVersion")?,
                size: number("FileSize")?,
                checksum: of(&node, "Checksum"),
                kind: of(&node, "ChecksumPlugIn"),
                flags: of(&node, "FileStatus"),
                place: format!("{volume}:{}", of(&node, "FileName")),
            });
        }
        Ok(Reply {
            status: of(&status, "Status"),
            message: of(&status, "Message"),
            state: of(&status, "State"),
            version: of(&status, "Version"),
            files,
        })
    }

    /// Did the command succeed?
    pub fn success(&self) -> bool {
        matches!(self.status.as_str(), "SUCCESS" | "OK")
    }
}

/// What a failure means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// No such file.
    Absent,
    /// Received, to be stored later.
    Buffered,
    /// It takes nothing now.
    NotReady,
    /// This one thing went wrong and nothing was kept.
    Hiccup,
    /// The bytes arrived changed and nothing was kept.
    Damaged,
    /// It may have been stored or not.
    Unclear,
    /// Refused, for good.
    Refused {
        /// Who must act.
        class: FaultClass,
        /// How far it reaches.
        scope: Scope,
        /// What to do.
        remedy: &'static str,
    },
}

fn refused(class: FaultClass, scope: Scope, remedy: &'static str) -> Failure {
    Failure::Refused { class, scope, remedy }
}

/// Classify an answer that is not a success by its HTTP status, then by the words of its message. The order of the
/// words matters: a buffered item's message also tells what went wrong before.
pub(super) fn failure(http: u16, message: &str) -> Failure {
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    match http {
        401 => refused(
            FaultClass::Config,
            Scope::Sink,
            "correct user and password_file of the archive, then retry the parked deliveries",
        ),
        403 => refused(
            FaultClass::Config,
            Scope::Sink,
            "let the archive's operators permit this user the command, then retry the parked deliveries",
        ),
        404 => refused(FaultClass::Config, Scope::Sink, "correct url and command of the archive, then retry"),
        409 => refused(FaultClass::Config, Scope::Item, "settle it with the archive's operators, then retry"),
        411 => refused(FaultClass::Bug, Scope::Item, "something between us and the archive takes Content-Length away"),
        408 | 429 | 503 => Failure::NotReady,
        300..=399 => {
            refused(FaultClass::Config, Scope::Sink, "redirects are not followed: give the final url, then retry")
        }
        500..=599 => Failure::Unclear,
        _ if says(&["NGAMS_WA_BUF_DATA", ":4022:"]) => Failure::Buffered,
        _ if says(&["NGAMS_ER_UNAVAIL_FILE", ":4019:"]) => Failure::Absent,
        _ if says(&["NGAMS_ER_IMPROPER_STATE", ":4015:"]) => Failure::NotReady,
        _ if says(&["No disk volumes are available", "NGAMS_AL_NO_STO_SETS", ":3014:"]) => Failure::NotReady,
        _ if says(&["Checksum error for file"]) => Failure::Damaged,
        _ if says(&["Only read"]) && says(&["missing"]) => Failure::Hiccup,
        _ if says(&["database is locked", "NGAMS_ER_DB_COM", "constraint failed"]) => Failure::Unclear,
        _ if says(&["NGAMS_AL_MV_FILE", "NGAMS_ER_PROB_STAGING_AREA", "NGAMS_ER_PROB_BACK_LOG_BUF"]) => {
            Failure::Unclear
        }
        _ if says(&["NGAMS_ER_DAPI_BAD_FILE", ":4003:"]) => refused(
            FaultClass::BadInput,
            Scope::Item,
            "the archive finds the file unfit: check the product with fitsverify",
        ),
        _ if says(&["Unknown mime type", "NGAMS_ER_UNKNOWN_MIME_TYPE", ":4047:"]) => refused(
            FaultClass::Config,
            Scope::Sink,
            "set mime_type to one that the archive is configured for, then retry",
        ),
        _ if says(&["No module named", "cannot access local variable"]) => refused(
            FaultClass::Config,
            Scope::Sink,
            "the archive's plug-in for this mime_type does not work: choose another, or add ignore_arcfile=1 to query, then retry",
        ),
        _ if says(&["NGAMS_ER_MISSING_URI", ":4013:", "invalid literal for int"]) => {
            refused(FaultClass::Bug, Scope::Item, "the request was wrong: keep this message and report it")
        }
        _ => refused(FaultClass::Config, Scope::Item, "settle it with the archive's operators, then retry"),
    }
}

/// Whether a checksum as the server writes it is this CRC. `None` when the server keeps none that is known here. Old
/// servers show CRC-32 as a negative number: compared modulo 2^32.
pub(super) fn checksum_agrees(file: &FileStatus, crc32: u32, crc32c: u32) -> Option<bool> {
    let ours = match file.kind.as_str() {
        "crc32" | "crc32z" | "ngamsGenCrc32" => crc32,
        "crc32c" => crc32c,
        _ => return None,
    };
    let theirs = file.checksum.trim().parse::<i64>().ok()?;
    Some(theirs.rem_euclid(1 << 32) == i64::from(ours))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARCHIVED: &str = r#"<?xml version="1.0" ?>
<!DOCTYPE NgamsStatus SYSTEM "http://127.0.0.1:7777/RETRIEVE?internal=ngamsStatus.dtd">
<NgamsStatus>
  <Status Date="2026-11-22T16:27:49.781" Version="12.0/2022-11-29T07:00:00" HostId="host:7777" Message="Successfully handled Archive Push Request for data file with URI: sx_a.fits" Status="SUCCESS" State="ONLINE" SubState="IDLE" RequestId="d653535f-01b8-4fae-9f5a-995da3c3e578" RequestTime="2026-11-22T16:27:49.774"/>
  <DiskStatus DiskId="disk-volume2" Archive="SOXSTEST" NumberOfFiles="1" Completed="0" CompletionDate="" Checksum="" LastCheck="">
    <FileStatus FileName="saf/2026-11-22/1/sx_a.fits" FileId="sx_a.fits" FileVersion="1" Format="application/fits" FileSize="8640" Checksum="2343456131" ChecksumPlugIn="crc32" FileStatus="00000000"/>
  </DiskStatus>
</NgamsStatus>"#;

    #[test]
    fn the_files_checksum_is_taken_and_not_the_volumes() {
        let reply = Reply::parse(ARCHIVED).unwrap();
        assert!(reply.success());
        assert_eq!(reply.state, "ONLINE");
        let [file] = reply.files.as_slice() else { panic!("{reply:?}") };
        assert_eq!((file.checksum.as_str(), file.size, file.version), ("2343456131", 8640, 1));
        assert_eq!(file.place, "disk-volume2:saf/2026-11-22/1/sx_a.fits");
        assert_eq!(checksum_agrees(file, 2_343_456_131, 4_222_655_642), Some(true));
        assert_eq!(checksum_agrees(file, 1, 2_343_456_131), Some(false));
    }

    #[test]
    fn checksums_of_every_kind() {
        let file = |kind: &str, checksum: &str| FileStatus {
            kind: kind.to_string(),
            checksum: checksum.to_string(),
            ..FileStatus::default()
        };
        let (crc32, crc32c) = (3_421_780_262, 3_808_858_755);
        for kind in ["crc32", "crc32z", "ngamsGenCrc32"] {
            assert_eq!(checksum_agrees(&file(kind, "3421780262"), crc32, crc32c), Some(true), "{kind}");
            assert_eq!(checksum_agrees(&file(kind, "-873187034"), crc32, crc32c), Some(true), "{kind}");
        }
        assert_eq!(checksum_agrees(&file("crc32c", "3808858755"), crc32, crc32c), Some(true));
        assert_eq!(checksum_agrees(&file("None", "None"), crc32, crc32c), None);
        assert_eq!(checksum_agrees(&file("crc32", ""), crc32, crc32c), None);
    }

    #[test]
    fn what_is_no_status_document_is_refused() {
        for text in ["", "<html/>", "<NgamsStatus/>", "<NgamsStatus><Status", "502 Bad Gateway"] {
            assert!(Reply::parse(text).is_err(), "{text:?}");
        }
        let bomb = r#"<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]><NgamsStatus><Status Message="&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;"/></NgamsStatus>"#;
        assert!(Reply::parse(bomb).is_err());
    }

    #[test]
    fn every_row_of_the_table() {
        use FaultClass::{BadInput, Bug, Config};
        let class = |http, message: &str| match failure(http, message) {
            Failure::Refused { class, scope, .. } => Some((class, scope)),
            _ => None,
        };
        for (http, message, expected) in [
            (400, "Unknown mime type: application/x-nope", (Config, Scope::Sink)),
            (400, "NGAMS_ER_UNKNOWN_MIME_TYPE2:4047:ERROR: Illegal mime-type", (Config, Scope::Sink)),
            (400, "No module named 'ngamsNone'", (Config, Scope::Sink)),
            (400, "cannot access local variable 'filename' where it is not", (Config, Scope::Sink)),
            (400, "NGAMS_ER_MISSING_URI:4013:ERROR", (Bug, Scope::Item)),
            (411, "Content-Length is 0 or unknown", (Bug, Scope::Item)),
            (400, "invalid literal for int() with base 10: 'x'", (Bug, Scope::Item)),
            (400, "NGAMS_ER_DAPI_BAD_FILE:4003:ERROR", (BadInput, Scope::Item)),
            (401, "Unauthorized request received", (Config, Scope::Sink)),
            (403, "Unauthorized access denied", (Config, Scope::Sink)),
            (404, "Command not found", (Config, Scope::Sink)),
            (409, "Different subscription with ID", (Config, Scope::Item)),
            (301, "", (Config, Scope::Sink)),
            (400, "something never heard of", (Config, Scope::Item)),
            (418, "", (Config, Scope::Item)),
        ] {
            assert_eq!(class(http, message), Some(expected), "{http} {message}");
        }
        for (http, message, expected) in [
            (400, "NGAMS_ER_UNAVAIL_FILE:4019:ERROR: File with ID: X appears not to be available.", Failure::Absent),
            (400, "NGAMS_ER_IMPROPER_STATE:4015:ERROR", Failure::NotReady),
            (400, "No disk volumes are available for ingesting any files.", Failure::NotReady),
            (400, "NGAMS_AL_NO_STO_SETS:3014:ALERT", Failure::NotReady),
            (503, "", Failure::NotReady),
            (400, "Checksum error for file F, local crc = 1, but remote crc = 2", Failure::Damaged),
            (400, "Only read 8640 out of 9000 bytes (360 bytes missing)", Failure::Hiccup),
            (400, "database is locked", Failure::Unclear),
            (400, "UNIQUE constraint failed: ngas_files.file_id", Failure::Unclear),
            (400, "NGAMS_ER_DB_COM:3:ERROR", Failure::Unclear),
            (500, "", Failure::Unclear),
            (
                400,
                "NGAMS_WA_BUF_DATA:4022:WARNING: problem NGAMS_AL_MV_FILE. Data will be Back-Log Buffered",
                Failure::Buffered,
            ),
        ] {
            assert_eq!(failure(http, message), expected, "{http} {message}");
        }
    }
}
