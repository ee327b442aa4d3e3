//! What goes on, the account of a night, and why a thing is as it is.

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{ApiError, ErrorBody};
use super::params::{self, NoParams, Params};
use super::{App, ServiceInfo};
use crate::catalogue::story::Story;
use crate::catalogue::views::{Graph, NightReport, StatusView};

/// The state of everything.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StatusBody {
    /// The running process.
    pub process: ServiceInfo,
    /// Loops that do not tick in their time, each with for how long; empty when all is well.
    pub late: Vec<String>,
    /// What the catalogue says.
    #[serde(flatten)]
    pub catalogue: StatusView,
}

/// The state of everything.
#[utoipa::path(
    get,
    path = "/api/v1/status",
    tag = "status",
    summary = "The state of everything",
    description = "Counts by state, the last frame, what runs, what waits longest, delays, and facts about the process.",
    responses(
        (status = 200, description = "The state", body = StatusBody),
        (status = 503, description = "The catalogue does not answer in time", body = ErrorBody),
    )
)]
pub(super) async fn status(State(app): State<App>, _none: Params<NoParams>) -> Result<Json<StatusBody>, ApiError> {
    let catalogue = app.within(app.reader.status()).await?;
    let late = app.liveness.late().iter().map(ToString::to_string).collect();
    Ok(Json(StatusBody { process: app.info.clone(), late, catalogue }))
}

/// The account of a night.
#[utoipa::path(
    get,
    path = "/api/v1/report/{night}",
    tag = "stories",
    summary = "The account of a night",
    description = "What became of every raw file of the night, in counts that add up, and the reasons of what was not reduced.",
    params(("night" = String, Path, description = "Night, YYYY-MM-DD", example = "2026-03-10")),
    responses(
        (status = 200, description = "The account; a night without files gives zeros", body = NightReport),
        (status = 400, description = "Not a night", body = ErrorBody),
        (status = 503, description = "The catalogue does not answer in time", body = ErrorBody),
    )
)]
pub(super) async fn report(
    State(app): State<App>,
    Path(night): Path<String>,
    _none: Params<NoParams>,
) -> Result<Json<NightReport>, ApiError> {
    let night = params::night("night", &night)?;
    Ok(Json(app.within(app.reader.night_report(&night)).await?))
}

/// Why a thing is as it is.
#[utoipa::path(
    get,
    path = "/api/v1/why/{target}",
    tag = "stories",
    summary = "Why a thing is as it is",
    description = "How it was classified, which set, which masters were considered and why each was taken or refused, which \
                   job, which error, what it waits for. A part of a name that fits several things gives them in `matches`.",
    params((
        "target" = String,
        Path,
        description = "File, data id, set or product by name, a night, or `kind:id`; percent-encoded",
        example = "SOXS.2026-03-10T19:00:42.000"
    )),
    responses(
        (status = 200, description = "The story, the answer first", body = Story),
        (status = 400, description = "The target cannot be a name", body = ErrorBody),
        (status = 404, description = "Nothing has this name", body = ErrorBody),
        (status = 503, description = "The catalogue does not answer in time", body = ErrorBody),
    )
)]
pub(super) async fn why(
    State(app): State<App>,
    Path(target): Path<String>,
    _none: Params<NoParams>,
) -> Result<Json<Story>, ApiError> {
    Ok(Json(tell(&app, &target).await?))
}

/// Where a thing comes from and where it went.
#[utoipa::path(
    get,
    path = "/api/v1/graph/{target}",
    tag = "stories",
    summary = "Where a thing comes from and where it went",
    description = "Raw frames, masters and theirs, products and archives as boxes and arrows. The target is an exact name or \
                   `kind:id`; a night has no graph.",
    params((
        "target" = String,
        Path,
        description = "File, data id, set or product by name, or `kind:id`; percent-encoded",
        example = "set:1"
    )),
    responses(
        (status = 200, description = "The graph", body = Graph),
        (status = 400, description = "The target cannot be a name", body = ErrorBody),
        (status = 404, description = "Nothing has this name, or several things have", body = ErrorBody),
        (status = 503, description = "The catalogue does not answer in time", body = ErrorBody),
    )
)]
pub(super) async fn graph(
    State(app): State<App>,
    Path(target): Path<String>,
    _none: Params<NoParams>,
) -> Result<Json<Graph>, ApiError> {
    let target = target.trim();
    params::name_text("target", target)?;
    Ok(Json(app.within(app.reader.graph(target)).await?.ok_or_else(|| no_target(target))?))
}

fn no_target(target: &str) -> ApiError {
    ApiError::not_found(
        "no_target",
        format!("nothing is called {target:?}"),
        "give a file, data id, set or product by name or a part of it, a night, or kind:id such as job:12",
    )
    .with("target", target)
}

/// The story of a target, for the API and for the page.
pub(super) async fn tell(app: &App, target: &str) -> Result<Story, ApiError> {
    let target = target.trim();
    params::name_text("target", target)?;
    let story = app.within(app.reader.why(target)).await?;
    let mut story = story.ok_or_else(|| no_target(target))?;
    story.illustrate(&app.site.workspace.qc);
    Ok(story)
}
