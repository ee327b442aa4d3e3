//! The page for people. It answers two questions at once: is it keeping up, and what needs a person?
//!
//! The server renders it whole, so that it works without JavaScript; the script only fetches it again. Nothing is loaded
//! from elsewhere.

mod look;
mod render;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html as HtmlBody, IntoResponse, Response};

use serde::Deserialize;
use utoipa::IntoParams;

use super::error::ApiError;
use super::html::Html;
use super::params::Params;
use super::{App, story};

/// The frame of every page; the content takes the place of [`CONTENT`].
const FRAME: &str = include_str!("page/index.html");
const CONTENT: &str = "<!-- content -->";
const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/app.js");

/// The page.
#[utoipa::path(
    get,
    path = "/plain",
    tag = "page",
    summary = "The page",
    description = "Is it keeping up, and what needs a person? Live with JavaScript, complete without.",
    responses(
        (status = 200, description = "The page", content_type = "text/html", body = String),
        (status = 503, description = "The page with the reason why there is no status", content_type = "text/html", body = String),
    )
)]
pub(super) async fn index(State(app): State<App>) -> Response {
    match look::Look::take(&app).await {
        Ok(look) => framed(StatusCode::OK, &render::index(&look)),
        Err(error) => failed(&error),
    }
}

/// What to explain.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WhyQuery {
    /// Name of a frame, set or product, a part of it, a night, or `kind:id`.
    #[param(example = "job:1")]
    target: String,
}

/// Why a thing is as it is, for people.
#[utoipa::path(
    get,
    path = "/why",
    tag = "page",
    summary = "Why a thing is as it is, for people",
    description = "The story of a frame, a set, a job, a product or a delivery on one page.",
    params(WhyQuery),
    responses(
        (status = 200, description = "The story", content_type = "text/html", body = String),
        (status = 400, description = "The target is missing", content_type = "text/html", body = String),
        (status = 404, description = "Nothing has this name", content_type = "text/html", body = String),
        (status = 503, description = "The catalogue does not answer in time", content_type = "text/html", body = String),
    )
)]
pub(super) async fn why(State(app): State<App>, query: Result<Params<WhyQuery>, ApiError>) -> Response {
    let told = match query {
        Ok(Params(query)) => story::tell(&app, &query.target).await,
        Err(error) => Err(error),
    };
    match told {
        Ok(told) => framed(StatusCode::OK, &render::story(&told)),
        Err(error) => failed(&error),
    }
}

/// The style of the page.
#[utoipa::path(
    get,
    path = "/plain.css",
    tag = "page",
    summary = "Style of the page",
    description = "Embedded in the program.",
    responses((status = 200, description = "CSS", content_type = "text/css", body = String))
)]
pub(super) async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE).into_response()
}

/// The script of the page.
#[utoipa::path(
    get,
    path = "/plain.js",
    tag = "page",
    summary = "Script of the page",
    description = "Embedded in the program; fetches the page again when the catalogue has changed.",
    responses((status = 200, description = "JavaScript", content_type = "text/javascript", body = String))
)]
pub(super) async fn script() -> Response {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], SCRIPT).into_response()
}

fn failed(error: &ApiError) -> Response {
    framed(error.status(), &render::failure(error))
}

fn framed(status: StatusCode, content: &Html) -> Response {
    let (head, tail) = FRAME.split_once(CONTENT).unwrap_or((FRAME, ""));
    let mut page = Html::new();
    page.raw(head).piece(content).raw(tail);
    (status, HtmlBody(page.finish())).into_response()
}
