//! Server-sent events: "something changed, look again". The event carries the generation of the catalogue and no data, so
//! that a client which missed events has missed nothing.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::App;
use super::error::{ApiError, ErrorBody};
use crate::fault::FaultClass;

/// Streams that may be open at the same time; more are asked to poll.
pub(super) const STREAMS: usize = 64;
/// Shortest time between two events of a stream.
const APART: Duration = Duration::from_millis(500);
/// A comment is sent so often on a silent stream, so that proxies keep it open and dead clients are noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Changes of the catalogue as they happen.
#[utoipa::path(
    get,
    path = "/api/v1/events",
    tag = "status",
    summary = "Changes as they happen",
    description = "Server-sent events. One event `changed` at once and one after changes of the catalogue, at most two a \
                   second; its data is the generation of the catalogue since the start of the process. The stream ends \
                   when the service stops.",
    responses(
        (status = 200, description = "A stream that stays open", content_type = "text/event-stream", body = String),
        (status = 503, description = "Too many streams are open: poll instead", body = ErrorBody),
    )
)]
pub(super) async fn events(State(app): State<App>) -> Result<Response, ApiError> {
    let permit = app.streams.clone().try_acquire_owned().map_err(|_| {
        ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            FaultClass::Resource,
            "too_many_streams",
            format!("{STREAMS} streams of events are open already"),
            "poll /api/v1/status every few seconds instead",
        )
    })?;
    let changes =
        Changes { generation: app.catalogue.subscribe(), cancel: app.cancel.clone(), last: None, _permit: permit };
    let events = stream::unfold(changes, |mut changes| async move {
        let generation = changes.next().await?;
        let event = Event::default().event("changed").data(generation.to_string());
        Some((Ok::<Event, Infallible>(event), changes))
    });
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response();
    // Proxies that collect answers before they pass them on must not do so here.
    response.headers_mut().insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

/// One client's view of the changes.
struct Changes {
    generation: watch::Receiver<u64>,
    cancel: CancellationToken,
    last: Option<Instant>,
    _permit: OwnedSemaphorePermit,
}

impl Changes {
    /// The next generation to tell; `None` when the service stops.
    async fn next(&mut self) -> Option<u64> {
        let cancel = self.cancel.clone();
        tokio::select! {
            biased;
            () = cancel.cancelled() => None,
            generation = self.changed() => Some(generation),
        }
    }

    /// Changes within the shortest time apart are told as one.
    async fn changed(&mut self) -> u64 {
        if let Some(last) = self.last {
            if self.generation.changed().await.is_err() {
                // Nothing writes in this process: there will be no change to tell.
                std::future::pending::<()>().await;
            }
            tokio::time::sleep_until(last + APART).await;
        }
        self.last = Some(Instant::now());
        *self.generation.borrow_and_update()
    }
}
