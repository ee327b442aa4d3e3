//! The OpenAPI document, made from the handlers and the types that they answer with.

use axum::Json;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::error::ErrorBody;
use super::{acts, console, events, health, holdings, metrics, page, plan, story, tables, tonight, trends};

/// The document.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "soxsd",
        description = "What the daemon knows: frames, sets, jobs, products, metrics and deliveries, why each is as it is, and \
                       what an operator can do. Times are microseconds since 1970 UTC unless a name says otherwise; nights \
                       are YYYY-MM-DD by UT minus 15 hours. Whatever is not a success answers with an `ErrorBody`. Bound to \
                       the loopback address, the service only answers to the host names localhost, 127.0.0.1 and [::1]."
    ),
    paths(
        story::status,
        tables::frames,
        tables::sets,
        tables::jobs,
        tables::products,
        tables::qc,
        tables::deliveries,

        tonight::tonight,
        trends::trend,
        trends::metrics,
        plan::plan,
        holdings::frame_contents,
        holdings::frame_image,
        holdings::frame_file,
        holdings::product_contents,
        holdings::product_image,
        holdings::product_spectrum,
        holdings::product_file,
        holdings::set_picture,
        holdings::set_pictures,
        holdings::job_qc,
        story::why,
        story::graph,
        story::report,
        events::events,
        acts::act,
        acts::journal,
        openapi,
        health::healthz,
        health::readyz,
        metrics::metrics,
        console::tonight,
        console::night,
        console::frame,
        console::set,
        console::job,
        console::product,
        console::delivery,
        console::find,
        console::health,
        console::plan,
        console::deliveries,
        console::browse,
        console::file,
        page::index,
        page::why,
        page::style,
        page::script,
    ),
    components(schemas(ErrorBody)),
    modifiers(&Token),
    tags(
        (name = "status", description = "What goes on"),
        (name = "tables", description = "Everything, in pages"),
        (name = "files", description = "Headers, previews and the files themselves"),
        (name = "stories", description = "Why"),
        (name = "operators", description = "What an operator can do"),
        (name = "machines", description = "For watchdogs and Prometheus"),
        (name = "page", description = "For people"),
    )
)]
struct Document;

/// The token of acts.
struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("The token of this installation, in the file <work>/token"))
            .build();
        let components = document.components.get_or_insert_with(Default::default);
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// The OpenAPI document of the service.
pub fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// This document.
#[utoipa::path(
    get,
    path = "/api/v1/openapi.json",
    tag = "machines",
    summary = "This document",
    description = "The OpenAPI document, made from the program's own types.",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json", body = Object))
)]
pub(super) async fn openapi() -> Json<utoipa::openapi::OpenApi> {
    Json(document())
}
