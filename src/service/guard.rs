//! Who may ask what: the name under which the service is addressed, the token of acts, and the headers that keep a
//! browser from doing more with an answer than showing it.

use std::net::IpAddr;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::ApiError;
use super::{App, token};
use crate::fault::FaultClass;

/// Proof that a request carried the token of this installation.
pub struct Authorized;

impl FromRequestParts<App> for Authorized {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Authorized, ApiError> {
        let given = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some((scheme, credentials)) = given.and_then(|value| value.split_once(' ')) else {
            return Err(ApiError::unauthorized());
        };
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(ApiError::unauthorized());
        }
        if token::same(credentials.trim(), &app.token) { Ok(Authorized) } else { Err(ApiError::forbidden()) }
    }
}

/// A service that listens on the loopback address only answers to the names of the loopback address: a web page elsewhere
/// whose name was pointed at 127.0.0.1 (DNS rebinding) does not get through. Bound to another address, the service has
/// names that it cannot know, and every name is accepted. The port is not looked at: tunnels use others.
pub(super) async fn host(State(app): State<App>, request: Request, next: Next) -> Response {
    if !app.loopback {
        return next.run(request).await;
    }
    let named = request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
    // In HTTP/2 and in absolute-form requests the target names the host too; both must be local.
    let target = request.uri().host().unwrap_or("localhost").to_string();
    match named {
        Some(name) if is_local(name) && is_local(&target) => next.run(request).await,
        _ => {
            let name = named.unwrap_or("");
            ApiError::new(
                StatusCode::FORBIDDEN,
                FaultClass::BadInput,
                "foreign_host",
                format!("this service is not called {name:?}"),
                "use localhost, 127.0.0.1 or [::1]; to serve other machines set service.listen to an address they reach",
            )
            .with("host", name)
            .into_response()
        }
    }
}

/// Does a `Host` value (`name`, `name:port`, `[v6]:port`) name the loopback interface?
fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if port.is_empty() || port.starts_with(':') => address,
            _ => return false,
        },
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.trim_end_matches('.');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// What every answer carries: no foreign content, no guessing of types, no framing, no referrer, no copies kept.
pub(super) async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let fixed = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::is_local;

    #[test]
    fn only_names_of_the_loopback_interface_are_local() {
        for local in ["localhost", "LOCALHOST:8642", "localhost.:80", "127.0.0.1", "127.0.0.1:1", "[::1]:8642", "[::1]"]
        {
            assert!(is_local(local), "{local}");
        }
        for foreign in
            ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io:80", "[::2]", "[::1]x", "", "10.0.0.1"]
        {
            assert!(!is_local(foreign), "{foreign}");
        }
    }
}
