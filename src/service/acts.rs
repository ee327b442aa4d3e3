//! What operators do over HTTP, and the journal of it. Acts need the token; reading the journal does not.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::error::{ApiError, ErrorBody};
use super::guard::Authorized;
use super::params::Params;
use crate::catalogue::CatalogueError;
use crate::catalogue::acts::{Act, ActError, ActOutcome};
use crate::catalogue::views::ActRow;
use crate::fault::{Classified, FaultClass};

/// Longest name of an operator, target or reason, characters.
const LONGEST: usize = 1000;
/// Acts of the journal when the request does not say how many.
const DEFAULT_ACTS: i64 = 100;
/// Most acts of the journal in one answer.
const MOST_ACTS: i64 = 1000;

/// An act to be done.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ActRequest {
    /// What to do.
    pub act: Act,
    /// On what: `kind:id` (`job:12`), or a name that stands for one thing.
    #[schema(example = "job:12", min_length = 1, max_length = 1000, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    pub target: String,
    /// Who does it; journaled.
    #[schema(example = "night operator", min_length = 1, max_length = 1000, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    pub who: String,
    /// Why; journaled. Needed for `reject`, `withdraw` and `reopen`.
    #[serde(default)]
    #[schema(max_length = 1000, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    pub why: String,
}

impl ActRequest {
    /// Refuse what the journal could not show on one line.
    fn check(&self) -> Result<(), ApiError> {
        for (name, value, needed) in
            [("who", &self.who, true), ("target", &self.target, true), ("why", &self.why, false)]
        {
            let bad = |reason: String| Err(ApiError::body(format!("{name}: {reason}")).with("field", name));
            if needed && value.trim().is_empty() {
                return bad("must not be empty".to_string());
            }
            if value.chars().count() > LONGEST {
                return bad(format!("must have at most {LONGEST} characters, has {}", value.chars().count()));
            }
            if value.chars().any(char::is_control) {
                return bad("must be one line without control characters".to_string());
            }
        }
        Ok(())
    }
}

/// Do an act.
#[utoipa::path(
    post,
    path = "/api/v1/acts",
    tag = "operators",
    summary = "Do something",
    description = "One transaction that also journals who did it, when, why and what came of it.",
    request_body = ActRequest,
    security(("token" = [])),
    responses(
        (status = 200, description = "Done", body = ActOutcome),
        (status = 400, description = "The body cannot be used, or who is not said", body = ErrorBody),
        (status = 401, description = "No token was sent", body = ErrorBody),
        (status = 403, description = "The token is wrong", body = ErrorBody),
        (status = 404, description = "Nothing has the name of the target", body = ErrorBody),
        (status = 409, description = "The target is ambiguous, or in no state that the act can change", body = ErrorBody),
        (status = 413, description = "The body is too large", body = ErrorBody),
        (status = 503, description = "The catalogue does not answer in time", body = ErrorBody),
    )
)]
pub(super) async fn act(
    _authorized: Authorized,
    State(app): State<App>,
    body: Result<Json<ActRequest>, JsonRejection>,
) -> Result<Json<ActOutcome>, ApiError> {
    let Json(request) = body.map_err(|rejection| refusal(&rejection))?;
    request.check()?;
    // On a task of its own: a client that goes away or a timeout leaves the act whole, and its line in the journal.
    let done = tokio::spawn(async move {
        let outcome = app.catalogue.act(request.who.trim(), request.act, &request.target, &request.why).await;
        match &outcome {
            Ok(done) => tracing::info!(
                act = done.act.as_str(),
                target = %done.target,
                who = %done.who,
                "operator act: {}",
                done.changes.join("; ")
            ),
            Err(error) => tracing::info!(act = request.act.as_str(), "operator act refused: {}", error.story()),
        }
        outcome
    });
    match done.await {
        Ok(outcome) => Ok(Json(outcome?)),
        Err(error) => Err(ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            FaultClass::Bug,
            "internal",
            format!("the act broke off: {error}"),
            "see GET /api/v1/acts for whether it was done; please report it",
        )),
    }
}

fn refusal(rejection: &JsonRejection) -> ApiError {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            FaultClass::BadInput,
            "body_too_large",
            rejection.body_text(),
            "send one act in a request",
        ),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            ApiError::body("the body must be JSON, with Content-Type: application/json")
        }
        _ => ApiError::body(rejection.body_text()),
    }
}

impl From<ActError> for ApiError {
    fn from(error: ActError) -> ApiError {
        let (status, hint) = match &error {
            ActError::NoTarget { .. } => {
                (StatusCode::NOT_FOUND, "look it up in /api/v1/frames, sets, jobs or products")
            }
            ActError::Ambiguous { .. } => (StatusCode::CONFLICT, "give the target as kind:id"),
            ActError::NotAdmitted { .. } => (StatusCode::CONFLICT, "/api/v1/why/{target} says what it is and why"),
            ActError::Unsaid { .. } => (StatusCode::BAD_REQUEST, "say it in the fields who and why"),
            ActError::Catalogue(CatalogueError::LostRace { .. }) => (
                StatusCode::CONFLICT,
                "it changed at the same moment; look again and repeat the act if it is still due",
            ),
            ActError::Catalogue(_) => (StatusCode::SERVICE_UNAVAILABLE, "nothing was changed; try again"),
        };
        let matches = match &error {
            ActError::NoTarget { similar, .. } => similar.as_slice(),
            ActError::Ambiguous { matches, .. } => matches.as_slice(),
            _ => &[],
        };
        let targets: Vec<String> = matches.iter().map(|found| found.target.clone()).collect();
        ApiError::new(status, error.class(), error.code(), error.story(), hint).with("matches", targets)
    }
}

/// How much of the journal.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct JournalQuery {
    /// Most acts to return.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    pub limit: Option<i64>,
}

/// What was done.
#[utoipa::path(
    get,
    path = "/api/v1/acts",
    tag = "operators",
    summary = "What was done",
    description = "The journal of acts, newest first: who, when, why and what came of it.",
    params(JournalQuery),
    responses(
        (status = 200, description = "Acts, newest first", body = Vec<ActRow>),
        (status = 400, description = "A parameter cannot be used", body = ErrorBody),
        (status = 503, description = "The catalogue does not answer in time", body = ErrorBody),
    )
)]
pub(super) async fn journal(
    State(app): State<App>,
    Params(query): Params<JournalQuery>,
) -> Result<Json<Vec<ActRow>>, ApiError> {
    let limit = query.limit.unwrap_or(DEFAULT_ACTS);
    if !(1..=MOST_ACTS).contains(&limit) {
        return Err(ApiError::parameter("limit", &limit.to_string(), &format!("must be 1 to {MOST_ACTS}")));
    }
    Ok(Json(app.within(app.reader.operator_acts(limit)).await?))
}
