//! The service over real connections, on a port of its own, before a small seeded catalogue.

mod acts;
mod console;
mod live;
mod metrics;
mod openapi;
mod page;
mod tables;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Service, ServiceError, ServiceInfo, Site, bind};
use crate::association::Rules;
use crate::catalogue::files::Look;
use crate::catalogue::seeded::Seeded;
use crate::config::{Config, Policy};
use crate::liveness::Liveness;

/// Longest time that any answer of a test may take.
const PATIENCE: Duration = Duration::from_secs(20);
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A service that runs for one test.
struct Running {
    seeded: Seeded,
    liveness: Liveness,
    address: SocketAddr,
    cancel: CancellationToken,
    served: JoinHandle<Result<(), ServiceError>>,
    client: Client,
    /// Tree of pictures.
    pictures: PathBuf,
}

impl Running {
    /// Before the seeded night.
    async fn night() -> Running {
        Running::over(Seeded::night().await).await
    }

    async fn over(seeded: Seeded) -> Running {
        // The first test of the process wins; reqwest wants a provider also for plain HTTP.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let liveness = Liveness::new();
        let workspace = {
            let mut config = Config::defaults().unwrap();
            config.paths.work = seeded.catalogue.path().parent().unwrap().to_path_buf();
            config.workspace()
        };
        let pictures = workspace.qc.clone();
        let service = Service {
            catalogue: seeded.catalogue.clone(),
            token: TOKEN.to_string(),
            info: ServiceInfo { version: "0.0.0-test".to_string(), boot_id: "boot".to_string(), started_us: 1 },
            liveness: liveness.clone(),
            site: Site {
                workspace,
                rules: Arc::new(Rules::builtin().unwrap()),
                policy: Policy::Newest,
                jobs: 2,
                min_free_mib: 1,
            },
        };
        let listener = bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cancel = CancellationToken::new();
        let served = tokio::spawn(service.serve(listener, cancel.clone()));
        let client = Client::builder().timeout(PATIENCE).no_proxy().build().unwrap();
        Running { seeded, liveness, address, cancel, served, client, pictures }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(self.url(path))
    }

    async fn answer(&self, path: &str) -> Response {
        self.get(path).send().await.unwrap()
    }

    async fn text(&self, path: &str) -> String {
        let answer = self.answer(path).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.text().await.unwrap()
    }

    async fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.text(path).await).unwrap()
    }

    /// An answer that must be an error, in the form that all errors have.
    async fn error(&self, request: RequestBuilder) -> (StatusCode, Value) {
        let answer = request.send().await.unwrap();
        let status = answer.status();
        assert!(status.is_client_error() || status.is_server_error(), "{status}");
        assert_eq!(header(&answer, "content-type"), "application/json");
        let body: Value = answer.json().await.unwrap();
        let fields: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, ["class", "code", "detail", "hint", "message"], "{body}");
        assert!(!body["message"].as_str().unwrap().is_empty() && !body["hint"].as_str().unwrap().is_empty(), "{body}");
        (status, body)
    }

    /// A file with this name and reason goes into quarantine.
    async fn quarantine(&self, name: &str, reason: &str) {
        let look = Look { path: format!("/data/raw/{name}"), name: name.to_string(), size: 1, mtime_us: 1 };
        let mut tx = self.seeded.catalogue.begin().await.unwrap();
        tx.quarantine_file(&look, "truncated", reason).await.unwrap();
        tx.commit().await.unwrap();
    }
}

fn header(answer: &Response, name: &str) -> String {
    answer.headers().get(name).map(|value| value.to_str().unwrap().to_string()).unwrap_or_default()
}
