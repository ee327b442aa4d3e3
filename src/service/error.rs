//! The one form in which the service says no: a JSON body that names the class, a stable code, what happened and what to do.

use axum::Json;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::catalogue::CatalogueError;
use crate::fault::{Classified, FaultClass};

/// Longest text of a refusal by the web framework that is passed on.
const LONGEST_REFUSAL: usize = 4096;

/// Body of every answer that is not a success.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ErrorBody {
    /// Class of the fault, as everywhere in the catalogue: `bad_input`, `missing`, `resource`, `transient`, `config`, `bug`.
    #[schema(example = "bad_input")]
    pub class: String,
    /// Stable identifier of the error.
    #[schema(example = "bad_parameter")]
    pub code: String,
    /// What happened, for people, in one line.
    #[schema(example = "parameter night = \"2026-13-40\": not a night; write YYYY-MM-DD")]
    pub message: String,
    /// The names and values that explain it.
    #[schema(value_type = Object, example = json!({"parameter": "night", "value": "2026-13-40"}))]
    pub detail: serde_json::Map<String, serde_json::Value>,
    /// What to do about it.
    #[schema(example = "see /api/v1/openapi.json for the parameters of this path")]
    pub hint: String,
}

/// An answer that is not a success.
#[derive(Clone, Debug)]
pub struct ApiError {
    status: StatusCode,
    body: Box<ErrorBody>,
    /// Names the scheme when credentials are missing.
    challenge: bool,
    /// The methods that the path allows, when another was used.
    allow: Option<HeaderValue>,
}

impl ApiError {
    /// An error with its status, class, code, message and hint.
    pub fn new(status: StatusCode, class: FaultClass, code: &str, message: impl Into<String>, hint: &str) -> ApiError {
        let body = ErrorBody {
            class: class.code().to_string(),
            code: code.to_string(),
            message: message.into(),
            detail: serde_json::Map::new(),
            hint: hint.to_string(),
        };
        ApiError { status, body: Box::new(body), challenge: false, allow: None }
    }

    /// Add a name and its value to the detail.
    pub fn with(mut self, name: &str, value: impl Into<serde_json::Value>) -> ApiError {
        self.body.detail.insert(name.to_string(), value.into());
        self
    }

    /// A parameter that cannot be used.
    pub fn parameter(name: &str, value: &str, reason: &str) -> ApiError {
        ApiError::new(
            StatusCode::BAD_REQUEST,
            FaultClass::BadInput,
            "bad_parameter",
            format!("parameter {name} = {value:?}: {reason}"),
            "see /api/v1/openapi.json for the parameters of this path",
        )
        .with("parameter", name)
        .with("value", value)
    }

    /// A body that cannot be used.
    pub fn body(message: impl Into<String>) -> ApiError {
        ApiError::new(
            StatusCode::BAD_REQUEST,
            FaultClass::BadInput,
            "bad_body",
            message,
            "see /api/v1/openapi.json for the body of this path",
        )
    }

    /// Something that was asked for by name is not there.
    pub fn not_found(code: &str, message: impl Into<String>, hint: &str) -> ApiError {
        ApiError::new(StatusCode::NOT_FOUND, FaultClass::BadInput, code, message, hint)
    }

    /// The catalogue did not answer within its budget.
    pub fn slow(seconds: f64) -> ApiError {
        ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            FaultClass::Resource,
            "catalogue_slow",
            format!("the catalogue did not answer within {seconds} s"),
            "ask for less (a night, a limit) or try again; if it stays, look at the load and the disk of the machine",
        )
        .with("budget_s", seconds)
    }

    /// No credentials were given.
    pub fn unauthorized() -> ApiError {
        let mut error = ApiError::new(
            StatusCode::UNAUTHORIZED,
            FaultClass::Config,
            "token_missing",
            "acts need the token of this installation",
            "send the header Authorization: Bearer TOKEN; the token is in the file <work>/token",
        );
        error.challenge = true;
        error
    }

    /// The credentials are wrong.
    pub fn forbidden() -> ApiError {
        ApiError::new(
            StatusCode::FORBIDDEN,
            FaultClass::Config,
            "token_wrong",
            "this is not the token of this installation",
            "the token is in the file <work>/token of the machine that runs soxsd",
        )
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The message.
    pub fn message(&self) -> &str {
        &self.body.message
    }

    /// The hint.
    pub fn hint(&self) -> &str {
        &self.body.hint
    }

    /// The refusals that the web framework utters by itself, in our form.
    fn of_framework(status: StatusCode, text: &str) -> ApiError {
        let or = |fallback: &str| if text.is_empty() { fallback.to_string() } else { text.to_string() };
        match status {
            StatusCode::METHOD_NOT_ALLOWED => ApiError::new(
                status,
                FaultClass::BadInput,
                "wrong_method",
                "this path does not know this method",
                "see the header Allow, or /api/v1/openapi.json",
            ),
            StatusCode::PAYLOAD_TOO_LARGE => ApiError::new(
                status,
                FaultClass::BadInput,
                "body_too_large",
                "the body is larger than any act needs",
                "send one act in a request",
            ),
            StatusCode::SERVICE_UNAVAILABLE => ApiError::new(
                status,
                FaultClass::Resource,
                "timeout",
                or("the request took too long and was given up"),
                "try again; if it stays, look at the load and the disk of the machine",
            ),
            _ if status.is_server_error() => ApiError::new(
                status,
                FaultClass::Bug,
                "internal",
                or("the service failed"),
                "the log of soxsd says more; please report it",
            ),
            _ => ApiError::new(
                status,
                FaultClass::BadInput,
                "bad_request",
                or("the request cannot be understood"),
                "see /api/v1/openapi.json",
            ),
        }
    }
}

impl From<CatalogueError> for ApiError {
    fn from(error: CatalogueError) -> ApiError {
        let class = error.class();
        let status = match class {
            FaultClass::Bug => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        tracing::warn!(class = class.code(), "the service could not read the catalogue: {}", error.story());
        ApiError::new(
            status,
            class,
            "catalogue",
            error.story(),
            "try again; if it stays, the log of soxsd and `soxsd status` say more",
        )
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        if self.challenge {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"soxsd\""));
        }
        if let Some(allow) = self.allow {
            response.headers_mut().insert(header::ALLOW, allow);
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        response
    }
}

/// Refusals that the web framework utters as plain text become error bodies like all others.
pub(super) async fn uniform(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) || is_ours(&response) {
        return response;
    }
    let allow = response.headers().get(header::ALLOW).cloned();
    let text = to_bytes(response.into_body(), LONGEST_REFUSAL).await.unwrap_or_default();
    let mut error = ApiError::of_framework(status, String::from_utf8_lossy(&text).trim());
    error.allow = allow;
    error.into_response()
}

/// Our own handlers answer errors as JSON, the page as HTML; the framework uses neither.
fn is_ours(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    kind.starts_with("application/json") || kind.starts_with("text/html")
}
