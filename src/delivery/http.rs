//! HTTP as a client: how connections to archives and monitors are made, and how their failures are told apart.

use std::path::Path;
use std::time::Duration;

use reqwest::redirect::Policy;

use super::SinkError;

/// Largest answer that is read.
const LONGEST_ANSWER: usize = 8 * 1024 * 1024;

/// Install the TLS implementation of this process. May be called any number of times; must be called before any
/// [`reqwest::Client`] is built.
pub fn install_tls() {
    // An error says that one is installed already, which is what is wanted.
    rustls::crypto::ring::default_provider().install_default().ok();
}

/// A client for one peer: no proxy, no redirects, no kept connections (such archives close each one after its answer),
/// and nothing is ever sent again behind our back.
pub(super) fn client(sink: &str, url: &str) -> Result<reqwest::Client, SinkError> {
    install_tls();
    let builder = reqwest::Client::builder()
        .user_agent(concat!("soxsd/", env!("CARGO_PKG_VERSION")))
        .http1_only()
        .no_proxy()
        .redirect(Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(Duration::from_secs(10))
        .pool_max_idle_per_host(0);
    // A machine without certificate authorities can still use plain HTTP.
    let builder = if url.starts_with("https://") { builder } else { builder.tls_certs_only([]) };
    builder.build().map_err(|error| SinkError::Setup {
        sink: sink.to_string(),
        reason: format!("no HTTP client for {url}: {}", told(&error)),
    })
}

/// A base URL that requests can be made of.
pub(super) fn base_url(sink: &str, text: &str) -> Result<reqwest::Url, SinkError> {
    reqwest::Url::parse(text).map_err(|error| SinkError::Setup {
        sink: sink.to_string(),
        reason: format!("url = {text:?} is not a URL: {error}"),
    })
}

/// Seconds of the configuration as a time limit.
pub(super) fn limit(seconds: f64) -> Duration {
    // The configuration was checked; a number too large for a duration means "as long as it takes".
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::from_secs(24 * 3600))
}

/// Read a secret, so that a corrected file is used at the next request. An empty path means none.
pub(super) async fn secret(sink: &str, path: &Path) -> Result<Option<String>, SinkError> {
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    match tokio::fs::read_to_string(path).await {
        Ok(text) => Ok(Some(text.trim_end_matches(['\r', '\n']).to_string())),
        Err(error) => Err(SinkError::Setup {
            sink: sink.to_string(),
            reason: format!("cannot read the secret {}: {error}; correct the path or its permissions", path.display()),
        }),
    }
}

/// The whole answer as text, whether or not it says how long it is. Latin-1 without a declaration is what some archives send.
pub(super) async fn text_of(mut response: reqwest::Response) -> Result<String, String> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| told(&error))? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > LONGEST_ANSWER {
            return Err(format!("the answer is longer than {LONGEST_ANSWER} bytes"));
        }
    }
    Ok(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => error.into_bytes().into_iter().map(char::from).collect(),
    })
}

/// The error and its causes in one line, without the URL (it may carry a query that nobody needs to read).
pub(super) fn told(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() { "no answer in time".to_string() } else { String::new() };
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(source) = cause {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&source.to_string());
        cause = source.source();
    }
    if text.is_empty() { error.to_string() } else { text }
}

/// The first line of a text, short enough for a message.
pub(super) fn brief(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    let mut brief: String = line.chars().take(300).collect();
    if brief.len() < line.len() {
        brief.push_str("...");
    }
    brief
}

/// Everything but letters, digits and `-._~` as `%XX`, so that a blank, a plus or a colon arrives as it is.
pub(super) fn percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded() {
        assert_eq!(percent("a b+c:d&e=f%.fits"), "a%20b%2Bc%3Ad%26e%3Df%25.fits");
        assert_eq!(percent("é"), "%C3%A9");
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        assert_eq!(brief("one\ntwo"), "one");
        assert_eq!(brief(&"é".repeat(400)).chars().count(), 303);
    }
}
