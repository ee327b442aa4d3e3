//! The operators' console: one page of plain HTML, modules and a style, all inside the program. Every view has its own path
//! and draws what the API answers; nothing is loaded from elsewhere and nothing is built.

use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::error::{ApiError, ErrorBody};

/// The page that all views share.
const SHELL: &str = include_str!("console/index.html");

/// A file of the console, by name.
fn asset(name: &str) -> Option<(&'static str, &'static str)> {
    const SCRIPT: &str = "text/javascript; charset=utf-8";
    Some(match name {
        "style.css" => ("text/css; charset=utf-8", include_str!("console/style.css")),
        "icon.svg" => ("image/svg+xml", include_str!("console/icon.svg")),
        "main.js" => (SCRIPT, include_str!("console/main.js")),
        "dom.js" => (SCRIPT, include_str!("console/dom.js")),
        "api.js" => (SCRIPT, include_str!("console/api.js")),
        "plot.js" => (SCRIPT, include_str!("console/plot.js")),
        "tonight.js" => (SCRIPT, include_str!("console/tonight.js")),
        "timeline.js" => (SCRIPT, include_str!("console/timeline.js")),
        "thing.js" => (SCRIPT, include_str!("console/thing.js")),
        "graph.js" => (SCRIPT, include_str!("console/graph.js")),
        "image.js" => (SCRIPT, include_str!("console/image.js")),
        "spectrum.js" => (SCRIPT, include_str!("console/spectrum.js")),
        "lines.js" => (SCRIPT, include_str!("console/lines.js")),
        "health.js" => (SCRIPT, include_str!("console/health.js")),
        "plan.js" => (SCRIPT, include_str!("console/plan.js")),
        "deliveries.js" => (SCRIPT, include_str!("console/deliveries.js")),
        "browse.js" => (SCRIPT, include_str!("console/browse.js")),
        "acts.js" => (SCRIPT, include_str!("console/acts.js")),
        _ => return None,
    })
}

/// A view of the console: the page is the same for all, its script looks at the path.
macro_rules! view {
    ($name:ident, $path:literal, $summary:literal $(, $parameter:literal = $example:literal)?) => {
        #[doc = $summary]
        #[utoipa::path(
            get,
            path = $path,
            tag = "page",
            summary = $summary,
            description = "A view of the console, drawn by its script from the API.",
            $(params(($parameter = String, Path, description = "Which one", example = $example)),)?
            responses((status = 200, description = "The page", content_type = "text/html", body = String))
        )]
        pub(super) async fn $name() -> Response {
            shell()
        }
    };
}

view!(tonight, "/", "Tonight, for people");
view!(night, "/night/{night}", "A night, for people", "night" = "2026-03-10");
view!(frame, "/frame/{id}", "A frame, for people", "id" = "1");
view!(set, "/set/{id}", "A set, for people", "id" = "1");
view!(job, "/job/{id}", "A job, for people", "id" = "1");
view!(product, "/product/{id}", "A product, for people", "id" = "1");
view!(delivery, "/delivery/{id}", "A delivery, for people", "id" = "1");
view!(find, "/find", "What a name stands for, for people");
view!(health, "/health", "Metrics over the nights, for people");
view!(plan, "/plan", "Calibration plan, for people");
view!(deliveries, "/deliveries", "Deliveries, for people");
view!(browse, "/browse/{table}", "A table, for people", "table" = "frames");

fn shell() -> Response {
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], SHELL).into_response()
}

/// A file of the console.
#[utoipa::path(
    get,
    path = "/console/{file}",
    tag = "page",
    summary = "A file of the console",
    description = "Script, style or icon, embedded in the program.",
    params(("file" = String, Path, description = "Name of the file", example = "main.js")),
    responses(
        (status = 200, description = "The file", content(
            (String = "text/javascript"), (String = "text/css"), (String = "image/svg+xml"))),
        (status = 404, description = "There is no such file", body = ErrorBody),
    )
)]
pub(super) async fn file(Path(name): Path<String>) -> Result<Response, ApiError> {
    let (kind, text) = asset(&name).ok_or_else(|| {
        ApiError::not_found("no_such_path", format!("the console has no file {name:?}"), "see / for people")
    })?;
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}
