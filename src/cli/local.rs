//! The running daemon of a work folder: what it says of itself, and the way to it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::CliError;
use super::error::NAMES_HINT;
use crate::catalogue::acts::{Act, ActOutcome};
use crate::config::Config;

/// How long the daemon has to answer.
const TIMEOUT: Duration = Duration::from_secs(15);

/// What the daemon leaves in `<work>/daemon.json`. Fields that it may add are passed over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Daemon {
    /// Address and port of its service; empty when it has none.
    pub address: String,
    /// Process id.
    pub pid: i32,
}

/// The daemon that says it works here, if its process lives.
pub fn running(config: &Config) -> Option<Daemon> {
    let text = std::fs::read_to_string(config.workspace().daemon).ok()?;
    let daemon: Daemon = serde_json::from_str(&text).ok()?;
    let pid = rustix::process::Pid::from_raw(daemon.pid)?;
    match rustix::process::test_kill_process(pid) {
        // "Not permitted" says that it lives, under another account.
        Ok(()) | Err(rustix::io::Errno::PERM) => Some(daemon),
        Err(_) => None,
    }
}

#[derive(Serialize)]
struct Request<'a> {
    act: Act,
    target: &'a str,
    who: &'a str,
    why: &'a str,
}

#[derive(Deserialize)]
struct Refusal {
    message: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    hint: String,
}

/// Ask the daemon to do an act.
pub async fn ask(config: &Config, act: Act, target: &str, who: &str, why: &str) -> Result<ActOutcome, CliError> {
    let workspace = config.workspace();
    let daemon = running(config).filter(|daemon| !daemon.address.is_empty()).ok_or_else(|| CliError::Daemon {
        what: format!("{} does not say where its service is", workspace.daemon.display()),
        hint: "set service.listen in the configuration and restart the daemon, or stop it and try again".to_string(),
        source: None,
    })?;
    let token_file = token_file(config);
    let token = std::fs::read_to_string(&token_file).map_err(|source| CliError::Daemon {
        what: format!("its token {} cannot be read", token_file.display()),
        hint: "act as the user who runs the daemon, or as one who may read that file".to_string(),
        source: Some(Box::new(source)),
    })?;
    let unreachable = |source: reqwest::Error| CliError::Daemon {
        what: format!("it cannot be reached at {}", daemon.address),
        hint: format!("process {} should answer there; see its log", daemon.pid),
        source: Some(Box::new(source)),
    };
    // A second installation changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build().map_err(unreachable)?;
    let answer = client
        .post(format!("http://{}/api/v1/acts", reachable(&daemon.address)))
        .bearer_auth(token.trim())
        .json(&Request { act, target, who, why })
        .send()
        .await
        .map_err(unreachable)?;
    let status = answer.status();
    let body = answer.bytes().await.map_err(unreachable)?;
    if status.is_success() {
        return serde_json::from_slice(&body).map_err(|source| CliError::Daemon {
            what: "its answer cannot be read; the act was done".to_string(),
            hint: "`soxsd acts` shows what came of it; are command and daemon of the same version?".to_string(),
            source: Some(Box::new(source)),
        });
    }
    match serde_json::from_slice::<Refusal>(&body) {
        // The service speaks to programs; people are told the command.
        Ok(refusal) if refusal.code == "no_target" => {
            Err(CliError::Refused { message: refusal.message, hint: NAMES_HINT.to_string() })
        }
        Ok(refusal) => Err(CliError::Refused { message: refusal.message, hint: refusal.hint }),
        Err(_) => Err(CliError::Refused { message: format!("the daemon answered {status}"), hint: String::new() }),
    }
}

/// An address that listens everywhere is reached on this machine.
fn reachable(address: &str) -> String {
    match address.parse::<SocketAddr>() {
        Ok(listening) if listening.ip().is_unspecified() => {
            let host = if listening.is_ipv4() { "127.0.0.1" } else { "[::1]" };
            format!("{host}:{}", listening.port())
        }
        _ => address.to_string(),
    }
}

fn token_file(config: &Config) -> PathBuf {
    if config.service.token_file.as_os_str().is_empty() {
        config.workspace().root.join("token")
    } else {
        config.service.token_file.clone()
    }
}
