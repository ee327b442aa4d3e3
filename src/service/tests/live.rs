//! What happens while time passes: events, health, load, and the end.

use std::time::{Duration, Instant};

use reqwest::{Response, StatusCode};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{PATIENCE, Running, header};
use crate::service::PAUSED_FACT;

/// The next event of a stream, comments left out; `None` at its end.
async fn event(stream: &mut Response, unread: &mut String) -> Option<(String, String)> {
    loop {
        if let Some((block, rest)) = unread.split_once("\n\n") {
            let field =
                |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(|v| v.trim().to_string());
            let found = field("event:").zip(field("data:"));
            *unread = rest.to_string();
            if found.is_some() {
                return found;
            }
            continue;
        }
        let chunk = timeout(PATIENCE, stream.chunk()).await.expect("an event in time").ok()??;
        unread.push_str(std::str::from_utf8(&chunk).unwrap());
    }
}

#[tokio::test]
async fn a_commit_is_told_and_many_commits_are_told_together() {
    let service = Running::night().await;
    let mut stream = service.answer("/api/v1/events").await;
    assert_eq!(header(&stream, "content-type"), "text/event-stream");
    let mut unread = String::new();
    let (kind, first) = event(&mut stream, &mut unread).await.unwrap();
    assert_eq!(kind, "changed");

    let began = Instant::now();
    for index in 0..20 {
        service.quarantine(&format!("{index}.fits"), "cut short").await;
    }
    let last: u64 = first.parse::<u64>().unwrap() + 20;
    let mut told = 0;
    loop {
        let (_, generation) = event(&mut stream, &mut unread).await.unwrap();
        told += 1;
        if generation.parse::<u64>().unwrap() == last {
            break;
        }
    }
    let allowed = 1 + began.elapsed().as_millis() / 500;
    assert!(told <= allowed, "{told} events in {:?}", began.elapsed());
}

#[tokio::test]
async fn the_end_of_the_service_ends_streams_and_releases_the_port() {
    let service = Running::night().await;
    let mut stream = service.answer("/api/v1/events").await;
    let mut unread = String::new();
    event(&mut stream, &mut unread).await.unwrap();
    let began = Instant::now();
    service.cancel.cancel();
    assert!(event(&mut stream, &mut unread).await.is_none());
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    drop(stream);
    timeout(PATIENCE, service.served).await.unwrap().unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(service.address).await.is_err());
}

#[tokio::test]
async fn a_request_that_never_ends_does_not_keep_the_service_from_stopping() {
    use tokio::io::AsyncWriteExt;
    let service = Running::night().await;
    let mut rude = tokio::net::TcpStream::connect(service.address).await.unwrap();
    rude.write_all(b"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\n").await.unwrap();
    assert_eq!(service.text("/healthz").await, "ok\n");
    service.cancel.cancel();
    timeout(PATIENCE, service.served).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn streams_are_limited_and_given_back() {
    let service = Running::night().await;
    let mut streams = Vec::new();
    for _ in 0..crate::service::events::STREAMS {
        let stream = service.answer("/api/v1/events").await;
        assert_eq!(stream.status(), StatusCode::OK);
        streams.push(stream);
    }
    let (status, body) = service.error(service.get("/api/v1/events")).await;
    assert_eq!((status, body["code"].as_str()), (StatusCode::SERVICE_UNAVAILABLE, Some("too_many_streams")));
    assert_eq!(service.text("/healthz").await, "ok\n", "other requests go on");
    streams.clear();
    let deadline = Instant::now() + PATIENCE;
    while service.answer("/api/v1/events").await.status() != StatusCode::OK {
        assert!(Instant::now() < deadline, "streams of clients that are gone are closed");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_late_loop_is_unhealthy_until_it_ticks() {
    let service = Running::night().await;
    assert_eq!(service.text("/healthz").await, "ok\n");
    service.liveness.expect("ingest", Duration::from_secs(3600));
    service.liveness.expect("scheduler", Duration::ZERO);
    let (status, body) = service.error(service.get("/healthz")).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body["detail"]["late"], serde_json::json!(["scheduler"]));
    assert!(body["message"].as_str().unwrap().contains("the scheduler loop has not ticked"));
    let page = service.text("/plain").await;
    assert!(page.contains("Not keeping up.") && page.contains("the scheduler loop has not ticked"));
    service.liveness.expect("scheduler", Duration::from_secs(3600));
    assert_eq!(service.text("/healthz").await, "ok\n");
}

#[tokio::test]
async fn a_paused_daemon_is_alive_and_not_ready() {
    let service = Running::night().await;
    assert_eq!(service.text("/readyz").await, "ready\n");
    service.seeded.catalogue.set_fact(PAUSED_FACT, "1.2 GiB free, 2 GiB are the least").await.unwrap();
    let (status, body) = service.error(service.get("/readyz")).await;
    assert_eq!((status, body["code"].as_str()), (StatusCode::SERVICE_UNAVAILABLE, Some("paused")));
    assert!(body["message"].as_str().unwrap().contains("1.2 GiB free"));
    assert_eq!(service.text("/healthz").await, "ok\n");
    assert!(service.text("/plain").await.contains("No recipe is started: 1.2 GiB free"));
    service.seeded.catalogue.set_fact(PAUSED_FACT, "").await.unwrap();
    assert_eq!(service.text("/readyz").await, "ready\n");
}

#[tokio::test]
async fn a_hundred_requests_at_once_are_all_answered_while_the_catalogue_is_written() {
    let service = Running::night().await;
    let mut requests = JoinSet::new();
    let paths = ["/", "/api/v1/status", "/api/v1/frames", "/metrics", "/api/v1/why/job:4"];
    for path in paths.into_iter().cycle().take(100) {
        let request = service.get(path);
        requests.spawn(async move { request.send().await.unwrap().status() });
    }
    for index in 0..10 {
        service.quarantine(&format!("{index}.fits"), "cut short").await;
    }
    let mut answered = 0;
    while let Some(status) = requests.join_next().await {
        assert_eq!(status.unwrap(), StatusCode::OK);
        answered += 1;
    }
    assert_eq!(answered, 100);
}
