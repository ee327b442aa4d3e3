//! Two questions that machines ask: is the process alive, and is it doing its work?

use axum::extract::State;
use axum::http::StatusCode;

use super::App;
use super::error::{ApiError, ErrorBody};
use crate::fault::FaultClass;

/// Name of the fact with which the scheduler says that it starts no recipe, and why. Empty or absent: it does.
pub const PAUSED_FACT: &str = "paused";

/// Is the process alive?
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "machines",
    summary = "Is the process alive?",
    description = "200 as long as every loop of the daemon ticks in its time. For watchdogs: restart on 503.",
    responses(
        (status = 200, description = "All loops tick", content_type = "text/plain", body = String, example = "ok\n"),
        (status = 503, description = "A loop is late; `detail.late` says which and for how long", body = ErrorBody),
    )
)]
pub(super) async fn healthz(State(app): State<App>) -> Result<&'static str, ApiError> {
    let late = app.liveness.late();
    if late.is_empty() {
        return Ok("ok\n");
    }
    let sentences: Vec<String> = late.iter().map(ToString::to_string).collect();
    let names: Vec<&str> = late.iter().map(|late| late.name).collect();
    Err(ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        FaultClass::Bug,
        "loop_late",
        sentences.join("; "),
        "the log of soxsd says what the loop did last; restart soxsd, no work is lost",
    )
    .with("late", names))
}

/// Does the daemon do its work?
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "machines",
    summary = "Does the daemon do its work?",
    description = "200 when the catalogue answers and recipes may start.",
    responses(
        (status = 200, description = "Ready", content_type = "text/plain", body = String, example = "ready\n"),
        (status = 503, description = "Paused, with the reason, or the catalogue does not answer", body = ErrorBody),
    )
)]
pub(super) async fn readyz(State(app): State<App>) -> Result<&'static str, ApiError> {
    app.within(app.reader.probe()).await?;
    match paused(&app).await? {
        None => Ok("ready\n"),
        Some(reason) => Err(ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            FaultClass::Resource,
            "paused",
            format!("no recipe is started: {reason}"),
            "ingest and delivery go on; recipes resume by themselves when the reason is gone",
        )
        .with("reason", reason)),
    }
}

/// Why no recipe is started, when that is so.
pub(super) async fn paused(app: &App) -> Result<Option<String>, ApiError> {
    let facts = app.within(app.reader.facts()).await?;
    Ok(facts.into_iter().find(|fact| fact.name == PAUSED_FACT && !fact.value.is_empty()).map(|fact| fact.value))
}
