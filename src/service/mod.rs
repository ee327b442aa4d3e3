//! The status service: what the catalogue knows, over HTTP. JSON for programs, one page for people, metrics for Prometheus.
//!
//! What lives here: routes, their forms of request and answer, the guard at the door (host name, token, limits), and the
//! page. What never lives here: decisions, SQL, and any data that is not in the catalogue. The service reads through
//! connections of its own, so that no number of browsers keeps the scheduler from its rows; it writes nothing but the acts
//! of operators, each journaled.
//!
//! Everything that is shown (object names, header values, error texts) came from outside and is escaped where it is shown.

mod acts;
mod error;
mod events;
mod guard;
mod health;
mod html;
mod metrics;
mod openapi;
mod page;
mod params;
mod story;
mod tables;
#[cfg(test)]
mod tests;
mod token;

use std::net::SocketAddr;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{StatusCode, Uri};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower_http::timeout::TimeoutLayer;
use utoipa::ToSchema;

use crate::catalogue::{self, Catalogue};
use crate::fault::{Classified, FaultClass};
use crate::liveness::Liveness;

pub use error::{ApiError, ErrorBody};
pub use health::PAUSED_FACT;
pub use openapi::document;
pub use token::load_or_make_token;

/// A request is given up after this time.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// A query of the catalogue is given up after this time.
const QUERY_BUDGET: Duration = Duration::from_secs(2);
/// Largest body of a request, bytes: an act is a few hundred.
const LARGEST_BODY: usize = 16 * 1024;
/// Open connections are given so long to end when the service stops.
const FAREWELL: Duration = Duration::from_secs(3);

/// Why the service cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The address is not one.
    #[error("service.listen = {listen:?} is not ADDRESS:PORT; write for example 127.0.0.1:8642")]
    Address {
        /// What was configured.
        listen: String,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {listen}; choose another service.listen, or \"\" for no service")]
    Bind {
        /// Address and port.
        listen: SocketAddr,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The token file cannot be read or made.
    #[error("cannot read or make the token file {path}")]
    Token {
        /// File.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The token file is there and must not be used.
    #[error("the token file {path} is not usable: {reason}")]
    TokenUnusable {
        /// File.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// The catalogue cannot be opened for reading.
    #[error("the service cannot read the catalogue")]
    Catalogue {
        /// Cause.
        #[source]
        source: catalogue::CatalogueError,
    },
    /// The listener broke.
    #[error("the service stopped listening")]
    Serve {
        /// Cause.
        #[source]
        source: std::io::Error,
    },
}

impl Classified for ServiceError {
    fn class(&self) -> FaultClass {
        match self {
            ServiceError::Address { .. }
            | ServiceError::Bind { .. }
            | ServiceError::Token { .. }
            | ServiceError::TokenUnusable { .. } => FaultClass::Config,
            ServiceError::Catalogue { source } => source.class(),
            ServiceError::Serve { .. } => FaultClass::Transient,
        }
    }
}

/// What the running process says of itself.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ServiceInfo {
    /// Version of soxsd.
    #[schema(example = "0.1.0")]
    pub version: String,
    /// Random name of this run of the process.
    pub boot_id: String,
    /// When the process started, microseconds since 1970 UTC.
    pub started_us: i64,
}

/// The service, ready to be offered on a listener.
pub struct Service {
    /// Catalogue, open for writing: acts are journaled through it and its changes are told.
    pub catalogue: Catalogue,
    /// Token that acts need, see [`load_or_make_token`].
    pub token: String,
    /// What the process says of itself.
    pub info: ServiceInfo,
    /// Pulse of the daemon's loops.
    pub liveness: Liveness,
    /// Tree of pictures.
    pub pictures: PathBuf,
}

/// Listen on `ADDRESS:PORT`; port 0 takes any free one. Separate from [`Service::serve`], so that a port that is taken is
/// known before anything else starts.
pub async fn bind(listen: &str) -> Result<TcpListener, ServiceError> {
    let address: SocketAddr = listen.parse().map_err(|_| ServiceError::Address { listen: listen.to_string() })?;
    TcpListener::bind(address).await.map_err(|source| ServiceError::Bind { listen: address, source })
}

impl Service {
    /// Answer requests until `cancel`; then end the streams of events, let requests under way finish for a few seconds, and
    /// return.
    pub async fn serve(self, listener: TcpListener, cancel: CancellationToken) -> Result<(), ServiceError> {
        let failed = |source| ServiceError::Serve { source };
        let address = listener.local_addr().map_err(failed)?;
        let reader = Catalogue::open_read_only(self.catalogue.path(), self.catalogue.clock().clone())
            .await
            .map_err(|source| ServiceError::Catalogue { source })?;
        let app = App(Arc::new(Shared {
            reader: reader.clone(),
            catalogue: self.catalogue,
            token: self.token,
            info: self.info,
            liveness: self.liveness,
            pictures: self.pictures,
            loopback: address.ip().is_loopback(),
            cancel: cancel.clone(),
            streams: Arc::new(Semaphore::new(events::STREAMS)),
        }));
        let stopped = cancel.clone();
        let server = axum::serve(listener, router(app)).with_graceful_shutdown(stopped.cancelled_owned());
        let overdue = async {
            cancel.cancelled().await;
            tokio::time::sleep(FAREWELL).await;
        };
        let outcome = tokio::select! {
            outcome = server => outcome.map_err(failed),
            // A client that never ends its request must not keep the daemon from stopping.
            () = overdue => Ok(()),
        };
        reader.close().await;
        outcome
    }
}

/// What every handler sees.
#[derive(Clone)]
struct App(Arc<Shared>);

struct Shared {
    /// Connections of our own, for reading.
    reader: Catalogue,
    /// The daemon's handle: acts and changes.
    catalogue: Catalogue,
    token: String,
    info: ServiceInfo,
    liveness: Liveness,
    /// Tree of pictures.
    pictures: PathBuf,
    /// Bound to the loopback address?
    loopback: bool,
    cancel: CancellationToken,
    streams: Arc<Semaphore>,
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Shared {
    /// Wait for the catalogue, but not longer than the budget of a query.
    async fn within<T>(&self, query: impl Future<Output = catalogue::Result<T>>) -> Result<T, ApiError> {
        within(QUERY_BUDGET, query).await
    }
}

async fn within<T>(budget: Duration, query: impl Future<Output = catalogue::Result<T>>) -> Result<T, ApiError> {
    match tokio::time::timeout(budget, query).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(ApiError::slow(budget.as_secs_f64())),
    }
}

/// All routes behind the guard. The outermost layer is named last.
fn router(app: App) -> Router {
    Router::new()
        .route("/", get(page::index))
        .route("/why", get(page::why))
        .route("/style.css", get(page::style))
        .route("/app.js", get(page::script))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::metrics))
        .route("/api/v1/status", get(story::status))
        .route("/api/v1/frames", get(tables::frames))
        .route("/api/v1/sets", get(tables::sets))
        .route("/api/v1/jobs", get(tables::jobs))
        .route("/api/v1/products", get(tables::products))
        .route("/api/v1/qc", get(tables::qc))
        .route("/api/v1/deliveries", get(tables::deliveries))
        .route("/api/v1/why/{target}", get(story::why))
        .route("/api/v1/report/{night}", get(story::report))
        .route("/api/v1/events", get(events::events))
        .route("/api/v1/acts", get(acts::journal).post(acts::act))
        .route("/api/v1/openapi.json", get(openapi::openapi))
        .fallback(no_such_path)
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, REQUEST_TIMEOUT))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(from_fn(error::uniform))
        .layer(from_fn_with_state(app.clone(), guard::host))
        .layer(from_fn(guard::headers))
        .with_state(app)
}

async fn no_such_path(uri: Uri) -> ApiError {
    ApiError::not_found(
        "no_such_path",
        format!("there is nothing at {}", uri.path()),
        "see / for people and /api/v1/openapi.json for programs",
    )
    .with("path", uri.path())
}
