//! Tables, stories and refusals.

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::{Running, header};
use crate::catalogue::CatalogueError;
use crate::catalogue::seeded::NIGHT;
use crate::service::error::ApiError;

fn ids(page: &Value) -> Vec<i64> {
    page["rows"].as_array().unwrap().iter().map(|row| row["id"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn pages_follow_each_other_and_show_every_row_once() {
    let service = Running::night().await;
    for table in ["frames", "sets", "jobs", "products", "qc", "deliveries"] {
        let all = ids(&service.json(&format!("/api/v1/{table}")).await);
        assert!(all.len() >= 3, "{table}");
        let mut paged = Vec::new();
        let mut path = format!("/api/v1/{table}?limit=2");
        loop {
            let page = service.json(&path).await;
            paged.extend(ids(&page));
            match page["next"].as_i64() {
                Some(next) => path = format!("/api/v1/{table}?limit=2&after={next}"),
                None => break,
            }
        }
        assert_eq!(paged, all, "{table}");
        assert_eq!(paged.iter().collect::<BTreeSet<_>>().len(), paged.len(), "{table}");
    }
}

#[tokio::test]
async fn filters_choose_rows() {
    let service = Running::night().await;
    let frames = service.json("/api/v1/frames?state=quarantined").await;
    assert_eq!(frames["rows"].as_array().unwrap().len(), 1);
    assert!(frames["rows"][0]["reason"].as_str().unwrap().contains("2880 of 8640 bytes"));
    let jobs = service.json("/api/v1/jobs?state=waiting&arm=vis").await;
    assert_eq!(jobs["rows"][0]["waits_for"], "MASTER_BIAS_VIS with binning 1x2");
    assert_eq!(ids(&service.json("/api/v1/sets?recipe=mdark").await).len(), 1);
    assert_eq!(ids(&service.json("/api/v1/sets?arm=ACQ").await).len(), 0);
    assert_eq!(ids(&service.json("/api/v1/frames?night=2020-01-01").await).len(), 0);
    assert_eq!(ids(&service.json("/api/v1/products?text=MBIAS&state=fail").await).len(), 1);
    assert_eq!(ids(&service.json("/api/v1/products?text=%25").await).len(), 0, "a percent sign means itself");
}

#[tokio::test]
async fn the_story_of_a_product_lists_its_pictures() {
    let service = Running::night().await;
    let story = service.json("/api/v1/why/product:1").await;
    assert_eq!(story["pictures"].as_array().map(Vec::len), Some(0), "none is drawn");
    let (folder, set) = (story["product"]["folder"].as_str().unwrap(), story["set"]["set"]["name"].as_str().unwrap());
    let folder = service.pictures.join(folder);
    std::fs::create_dir_all(&folder).unwrap();
    let drawn = folder.join(format!("{set}.pdf"));
    std::fs::write(&drawn, "x").unwrap();
    let story = service.json("/api/v1/why/product:1").await;
    assert_eq!(story["pictures"][0].as_str(), drawn.to_str());
}

#[tokio::test]
async fn bad_parameters_are_refused_by_name() {
    let service = Running::night().await;
    let cases = [
        ("/api/v1/frames?nigth=2026-03-10", "nigth"),
        ("/api/v1/frames?night=yesterday", "night"),
        ("/api/v1/frames?night=20260310", "night"),
        ("/api/v1/frames?arm=UVB", "arm"),
        ("/api/v1/jobs?state=finished", "state"),
        ("/api/v1/qc?state=current", "state"),
        ("/api/v1/sets?limit=0", "limit"),
        ("/api/v1/sets?limit=1001", "limit"),
        ("/api/v1/sets?limit=ten", "limit"),
        ("/api/v1/sets?limit=99999999999999999999", "limit"),
        ("/api/v1/sets?after=-1", "after"),
        ("/api/v1/products?text=", "text"),
        ("/api/v1/products?arm=VIS&arm=NIR", "arm"),
        ("/api/v1/status?verbose=1", "verbose"),
        ("/api/v1/report/2026-3-10", "night"),
        ("/api/v1/acts?limit=0", "limit"),
        ("/api/v1/why/%20", "target"),
        ("/api/v1/why/a%00", "target"),
        ("/api/v1/frames?text=a%00", "text"),
    ];
    for (path, parameter) in cases {
        let (status, body) = service.error(service.get(path)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}");
        assert_eq!(body["detail"]["parameter"], parameter, "{path}: {body}");
        assert!(body["message"].as_str().unwrap().contains(parameter), "{path}: {body}");
    }
}

#[tokio::test]
async fn hostile_values_are_values() {
    let service = Running::night().await;
    for value in ["%27%20OR%201=1%20--", "%F0%9F%92%A9", "a".repeat(200).as_str()] {
        assert_eq!(ids(&service.json(&format!("/api/v1/frames?text={value}")).await).len(), 0, "{value}");
        let (status, _) = service.error(service.get(&format!("/api/v1/why/{value}"))).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{value}");
    }
    let (status, _) = service.error(service.get("/api/v1/why/%FF%FE")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "not UTF-8");
}

#[tokio::test]
async fn unknown_paths_and_methods_are_refused_as_json() {
    let service = Running::night().await;
    let (status, body) = service.error(service.get("/api/v1/nothing")).await;
    assert_eq!((status, body["code"].as_str()), (StatusCode::NOT_FOUND, Some("no_such_path")));
    let (status, body) = service.error(service.client.delete(service.url("/api/v1/jobs"))).await;
    assert_eq!((status, body["code"].as_str()), (StatusCode::METHOD_NOT_ALLOWED, Some("wrong_method")));
    let answer = service.client.request(Method::PUT, service.url("/api/v1/jobs")).send().await.unwrap();
    assert!(header(&answer, "allow").contains("GET"));
}

#[tokio::test]
async fn stories_and_reports_are_told() {
    let service = Running::night().await;
    let name = service.seeded.set_name(6).await;
    let story = service.json(&format!("/api/v1/why/{name}")).await;
    assert_eq!(story["target"], "set:6");
    assert!(story["headline"].as_str().unwrap().contains("waits for MASTER_BIAS_VIS"));
    // A path with its slashes encoded.
    let story = service.json("/api/v1/why/%2Fdata%2Fraw%2FSOXS.2026-03-10T19%3A10%3A00.000.fits").await;
    assert_eq!(story["frame"]["file"]["state"], "quarantined");

    let report = service.json(&format!("/api/v1/report/{NIGHT}")).await;
    let outcomes: i64 =
        report["outcomes"].as_array().unwrap().iter().map(|outcome| outcome["count"].as_i64().unwrap()).sum();
    assert_eq!(report["files"].as_i64().unwrap(), outcomes);
    assert_eq!(service.json("/api/v1/report/2020-01-01").await["files"], 0);

    let status = service.json("/api/v1/status").await;
    assert_eq!(status["process"]["boot_id"], "boot");
    assert!(status["oldest_waiting"]["reason"].is_string());
}

#[tokio::test]
async fn a_query_that_takes_too_long_is_given_up_with_a_hint() {
    let within = crate::service::within(Duration::from_millis(5), std::future::pending::<Result<(), CatalogueError>>());
    let error: ApiError = within.await.unwrap_err();
    assert_eq!(error.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(error.message().contains("0.005 s") && error.hint().contains("try again"));
}
