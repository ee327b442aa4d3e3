//! Who may act, and on what terms.

use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};

use super::{Running, TOKEN, header};

fn post(service: &Running, token: Option<&str>, body: &Value) -> RequestBuilder {
    let request = service.client.post(service.url("/api/v1/acts")).json(body);
    match token {
        Some(token) => request.header("authorization", token),
        None => request,
    }
}

fn allowed(service: &Running, body: &Value) -> RequestBuilder {
    post(service, Some(&format!("Bearer {TOKEN}")), body)
}

fn hold() -> Value {
    json!({"act": "hold", "target": "job:4", "who": "maria", "why": "telescope closed"})
}

#[tokio::test]
async fn only_the_token_opens() {
    let service = Running::night().await;
    let (status, body) = service.error(post(&service, None, &hold())).await;
    assert_eq!((status, body["code"].as_str()), (StatusCode::UNAUTHORIZED, Some("token_missing")));
    let answer = post(&service, None, &hold()).send().await.unwrap();
    assert!(header(&answer, "www-authenticate").starts_with("Bearer"));

    let longer = format!("Bearer {TOKEN}0");
    let shorter = format!("Bearer {}", &TOKEN[1..]);
    let cases = [
        ("Bearer", StatusCode::UNAUTHORIZED),
        ("Basic dXNlcjpwYXNz", StatusCode::UNAUTHORIZED),
        (TOKEN, StatusCode::UNAUTHORIZED),
        ("Bearer wrong", StatusCode::FORBIDDEN),
        (longer.as_str(), StatusCode::FORBIDDEN),
        (shorter.as_str(), StatusCode::FORBIDDEN),
    ];
    for (credentials, expected) in cases {
        let (status, body) = service.error(post(&service, Some(credentials), &hold())).await;
        assert_eq!(status, expected, "{credentials}: {body}");
    }
    assert_eq!(service.json("/api/v1/jobs?state=held").await["rows"].as_array().unwrap().len(), 0);
    assert_eq!(service.json("/api/v1/acts").await.as_array().unwrap().len(), 0, "nothing was journaled");
}

#[tokio::test]
async fn an_act_is_done_and_journaled() {
    let service = Running::night().await;
    let answer = allowed(&service, &hold()).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let outcome: Value = answer.json().await.unwrap();
    assert_eq!((outcome["target"].as_str(), outcome["who"].as_str()), (Some("job:4"), Some("maria")));
    assert_eq!(service.json("/api/v1/jobs?state=held").await["rows"][0]["id"], 4);
    let journal = service.json("/api/v1/acts?limit=1").await;
    assert_eq!(journal[0]["why"], "telescope closed");
}

#[tokio::test]
async fn acts_that_cannot_be_done_say_why() {
    let service = Running::night().await;
    let with = |field: &str, value: Value| {
        let mut body = hold();
        body[field] = value;
        body
    };
    let cases = [
        (json!({"act": "hold", "target": "job:4"}), StatusCode::BAD_REQUEST, "who"),
        (with("who", json!("  ")), StatusCode::BAD_REQUEST, "who"),
        (with("who", json!("two\nlines")), StatusCode::BAD_REQUEST, "one line"),
        (with("why", json!("x".repeat(1001))), StatusCode::BAD_REQUEST, "1001"),
        (with("act", json!("destroy")), StatusCode::BAD_REQUEST, "destroy"),
        (with("force", json!(true)), StatusCode::BAD_REQUEST, "force"),
        (with("target", json!("job:999")), StatusCode::NOT_FOUND, "job:999"),
        (with("act", json!("release")), StatusCode::CONFLICT, "it admits: hold"),
        (json!({"act": "reject", "target": "product:2", "who": "maria"}), StatusCode::BAD_REQUEST, "reason"),
    ];
    for (body, expected, says) in cases {
        let (status, answer) = service.error(allowed(&service, &body)).await;
        assert_eq!(status, expected, "{body}: {answer}");
        assert!(answer["message"].as_str().unwrap().contains(says), "{body}: {answer}");
    }
    let large = with("why", json!("x".repeat(100_000)));
    let (status, answer) = service.error(allowed(&service, &large)).await;
    assert_eq!((status, answer["code"].as_str()), (StatusCode::PAYLOAD_TOO_LARGE, Some("body_too_large")));
    let text = service
        .client
        .post(service.url("/api/v1/acts"))
        .header("authorization", format!("Bearer {TOKEN}"))
        .body(hold().to_string());
    let (status, answer) = service.error(text).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(answer["message"].as_str().unwrap().contains("application/json"));
    assert_eq!(service.json("/api/v1/acts").await.as_array().unwrap().len(), 0, "nothing was journaled");
}

#[tokio::test]
async fn a_foreign_host_name_is_refused_before_anything_else() {
    let service = Running::night().await;
    for host in ["evil.example", "127.0.0.1.nip.io:80", "localhost.evil.example"] {
        let (status, body) = service.error(service.get("/api/v1/status").header("host", host)).await;
        assert_eq!((status, body["code"].as_str()), (StatusCode::FORBIDDEN, Some("foreign_host")), "{host}");
        let act = allowed(&service, &hold()).header("host", host);
        assert_eq!(service.error(act).await.0, StatusCode::FORBIDDEN, "{host}");
    }
    for host in ["localhost:1234", "127.0.0.1", "[::1]:8642"] {
        let answer = service.get("/api/v1/status").header("host", host).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{host}");
    }
}
