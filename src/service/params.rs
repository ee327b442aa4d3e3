//! Query parameters, read strictly: an unknown name, a value of the wrong kind and a value that no row can have are
//! refused, each with its name, instead of being answered with an empty table.

use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use super::error::ApiError;
use crate::catalogue::views::Filter;
use crate::instrument::{Arm, Night};

/// Query parameters of type `T`, all checked by serde; see [`ApiError`] for how they are refused.
pub(super) struct Params<T>(pub T);

impl<S, T> FromRequestParts<S> for Params<T>
where
    S: Send + Sync,
    T: DeserializeOwned + Send,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Params<T>, ApiError> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(params)) => Ok(Params(params)),
            Err(rejection) => Err(refusal(&rejection, parts.uri.query().unwrap_or(""))),
        }
    }
}

fn refusal(rejection: &QueryRejection, query: &str) -> ApiError {
    let text = rejection.body_text();
    let reason = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
    let mut error = ApiError::new(
        axum::http::StatusCode::BAD_REQUEST,
        crate::fault::FaultClass::BadInput,
        "bad_parameter",
        format!("the parameters {query:?} cannot be used: {reason}"),
        "see /api/v1/openapi.json for the parameters of this path",
    );
    // serde says either `name: what is wrong` or "unknown field `name`".
    let named = reason.split('`').nth(1).or_else(|| reason.split_once(": ").map(|(name, _)| name));
    if let Some(name) = named {
        error = error.with("parameter", name);
    }
    error
}

/// A path that takes no parameters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoParams {}

/// Rows of a page when the request does not say.
const DEFAULT_LIMIT: i64 = 200;
/// Most rows of a page.
const MOST_ROWS: i64 = 1000;
/// Longest text to search for.
const LONGEST_TEXT: usize = 1000;

/// Which rows of a table, and how many. All conditions must hold.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TableQuery {
    /// Night, `YYYY-MM-DD`: the UT date of the exposure minus 15 hours.
    #[param(example = "2026-03-10")]
    pub night: Option<String>,
    /// `VIS`, `NIR` or `ACQ`.
    #[param(example = "VIS")]
    pub arm: Option<String>,
    /// State. For frames also the outcome, for sets also the state of the job, for products and metrics the QC verdict, for
    /// deliveries also `archive` or `health`.
    pub state: Option<String>,
    /// Recipe, for example `mbias`; for deliveries the sink.
    #[param(example = "mbias")]
    pub recipe: Option<String>,
    /// Part of a name: of file, data id or object, set, product, metric.
    pub text: Option<String>,
    /// Most rows to return.
    #[param(minimum = 1, maximum = 1000, default = 200)]
    pub limit: Option<i64>,
    /// Row id, from `next` of the page before: only rows that come after it.
    #[param(minimum = 1)]
    pub after: Option<i64>,
}

impl TableQuery {
    /// The filter, when every value is possible; `states` are those that rows of the table can have.
    pub fn filter(self, states: &[&str]) -> Result<Filter, ApiError> {
        if let Some(state) = &self.state
            && !states.contains(&state.as_str())
        {
            return Err(ApiError::parameter("state", state, &format!("must be one of {}", states.join(", ")))
                .with("allowed", states.to_vec()));
        }
        for (name, value) in [("recipe", &self.recipe), ("text", &self.text)] {
            if let Some(value) = value {
                name_text(name, value)?;
            }
        }
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MOST_ROWS).contains(&limit) {
            return Err(ApiError::parameter("limit", &limit.to_string(), &format!("must be 1 to {MOST_ROWS}")));
        }
        if let Some(after) = self.after
            && after < 1
        {
            return Err(ApiError::parameter("after", &after.to_string(), "must be a row id, 1 or more"));
        }
        Ok(Filter {
            night: self.night.as_deref().map(|text| night("night", text)).transpose()?,
            arm: self.arm.as_deref().map(arm).transpose()?,
            state: self.state,
            recipe: self.recipe,
            text: self.text,
            limit,
            after: self.after,
        })
    }
}

/// A name or a part of one: not empty, not endless, and without characters that no name has.
pub(super) fn name_text(name: &str, value: &str) -> Result<(), ApiError> {
    if value.trim().is_empty() || value.len() > LONGEST_TEXT || value.chars().any(char::is_control) {
        let reason = format!("must have 1 to {LONGEST_TEXT} bytes, not all blank, without control characters");
        return Err(ApiError::parameter(name, value, &reason));
    }
    Ok(())
}

/// A night in its one form.
pub(super) fn night(name: &str, text: &str) -> Result<String, ApiError> {
    match Night::parse(text) {
        Some(night) if text.len() == "YYYY-MM-DD".len() => Ok(night.to_string()),
        _ => Err(ApiError::parameter(name, text, "not a night; write YYYY-MM-DD")),
    }
}

/// An arm in its one form.
pub(super) fn arm(text: &str) -> Result<String, ApiError> {
    Arm::parse(text)
        .map(|arm| arm.to_string())
        .ok_or_else(|| ApiError::parameter("arm", text, "must be VIS, NIR or ACQ"))
}
