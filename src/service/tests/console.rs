//! The console: every file that its page asks for is inside the program, and every question that it asks is answered.

use std::collections::BTreeSet;

use ndarray::Array2;
use reqwest::StatusCode;

use super::{Running, header};
use crate::config::Config;
use crate::fits::{ColumnData, ColumnValues, Header, ImageHdu, PlaneData, write_images};

#[tokio::test]
async fn every_view_is_one_page_and_all_its_files_are_there() {
    let service = Running::night().await;
    let shell = service.text("/").await;
    for view in
        ["/night/2026-03-10", "/frame/1", "/set/2", "/product/1", "/health", "/plan", "/deliveries", "/browse/qc"]
    {
        assert_eq!(service.text(view).await, shell, "{view}");
    }
    let mut wanted: BTreeSet<String> =
        shell.split("\"/console/").skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_string).collect();
    assert!(wanted.contains("main.js") && wanted.contains("style.css"));
    let mut seen = BTreeSet::new();
    while let Some(name) = wanted.pop_first() {
        if !seen.insert(name.clone()) {
            continue;
        }
        let text = service.text(&format!("/console/{name}")).await;
        let imports = text.split("from \"./").skip(1).filter_map(|rest| rest.split('"').next());
        wanted.extend(imports.map(str::to_string));
        let text = text.replace("http://www.w3.org/2000/svg", "");
        for outside in ["http://", "https://", "innerHTML", "eval("] {
            assert!(!text.contains(outside), "{name} has {outside}");
        }
    }
    assert!(seen.len() > 15, "{seen:?}");
    assert_eq!(service.answer("/console/../token").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(service.answer("/console/none.js").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn tonight_says_what_is_the_matter_and_what_to_do() {
    let service = Running::night().await;
    let tonight = service.json("/api/v1/tonight").await;
    assert_eq!(tonight["night"], "2026-03-10");
    assert_eq!(tonight["frames"].as_array().unwrap().len(), 23);
    let concerns = tonight["concerns"].as_array().unwrap();
    let quarantine = concerns.iter().find(|concern| concern["text"] == "1 file in quarantine").unwrap();
    assert_eq!(quarantine["level"], "person");
    assert_eq!(quarantine["link"], "/browse/frames?state=quarantined");
    assert!(!quarantine["remedy"].as_str().unwrap().is_empty());
    assert!(tonight["disks"][0]["total"].as_u64().unwrap() > 0);
    let other = service.json("/api/v1/tonight?night=2020-01-01").await;
    assert_eq!((other["present"].as_bool(), other["frames"].as_array().unwrap().len()), (Some(false), 0));
    let (status, body) = service.error(service.get("/api/v1/tonight?night=tonight")).await;
    assert_eq!((status, body["detail"]["parameter"].as_str()), (StatusCode::BAD_REQUEST, Some("night")));
}

#[tokio::test]
async fn the_plan_names_what_is_missing_and_what_there_is() {
    let service = Running::night().await;
    let plan = service.json("/api/v1/plan").await;
    let lines = plan["lines"].as_array().unwrap();
    let supply = |line: &serde_json::Value| line["supply"].as_str().unwrap().to_string();
    assert!(lines.iter().any(|line| supply(line) == "missing" && line["product_id"].is_null()), "{plan}");
    assert!(lines.iter().any(|line| supply(line) != "missing" && line["master"] == "MASTER_BIAS_VIS"), "{plan}");
    let order = ["missing", "stale", "ending", "fresh"];
    let ranks: Vec<usize> =
        lines.iter().map(|line| order.iter().position(|name| *name == supply(line)).unwrap()).collect();
    assert!(ranks.is_sorted(), "the worst first: {ranks:?}");
}

#[tokio::test]
async fn trends_are_filtered_and_nonsense_is_refused() {
    let service = Running::night().await;
    let metrics = service.json("/api/v1/trends/metrics").await;
    let metric = metrics[0]["name"].as_str().unwrap().replace(' ', "%20");
    let all = service.json(&format!("/api/v1/trends?metric={metric}")).await;
    let count = |trend: &serde_json::Value| trend["points"].as_array().unwrap().len();
    assert!(count(&all) > 0);
    let later = service.json(&format!("/api/v1/trends?metric={metric}&from=2100-01-01")).await;
    assert_eq!(count(&later), 0);
    let then = service.json(&format!("/api/v1/trends?metric={metric}&from=1960-01-01&to=2100-01-01")).await;
    assert_eq!(count(&then), count(&all));
    for (query, parameter) in
        [("", "metric"), ("metric=A&against=B", "against"), ("metric=A&from=x", "from"), ("metric=A&arm=X", "arm")]
    {
        let (status, body) = service.error(service.get(&format!("/api/v1/trends?{query}"))).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}");
        assert!(body["message"].as_str().unwrap().contains(parameter), "{query}: {body}");
    }
}

/// A product with an image of a slope and a spectrum, where the catalogue says that product 1 is.
async fn with_product() -> Running {
    let service = Running::night().await;
    let mut config = Config::defaults().unwrap();
    config.paths.work = service.seeded.catalogue.path().parent().unwrap().to_path_buf();
    let row = service.seeded.catalogue.product_row(1).await.unwrap().unwrap();
    let path = config.workspace().stored(&row.sha256);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let image = Array2::from_shape_fn((300, 200), |(r, c)| (r + c) as f32);
    let wave: Vec<f64> = (0..5000).map(|k| 600.0 + 0.1 * f64::from(k)).collect();
    let flux: Vec<f64> = (0..5000).map(|k| if k == 2500 { 99.0 } else { 1.0 }).collect();
    let column = |name, values| ColumnData { name, unit: "nm", values: ColumnValues::F64(values) };
    let columns = [column("WAVE", &wave), column("FLUX", &flux)];
    let hdu = |name: &str, plane| ImageHdu { extname: Some(name.to_string()), header: Header::new(), plane };
    let hdus = [hdu("FLUX", PlaneData::F32(image.view())), hdu("SPECTRUM", PlaneData::Table(&columns))];
    write_images(&path, &hdus).unwrap();
    service
}

#[tokio::test]
async fn a_product_shows_what_it_holds() {
    let service = with_product().await;
    let contents = service.json("/api/v1/products/1/contents").await;
    let kinds: Vec<&str> = contents["hdus"].as_array().unwrap().iter().filter_map(|hdu| hdu["kind"].as_str()).collect();
    assert_eq!(kinds, ["image", "spectrum"]);
    assert_eq!((contents["hdus"][0]["rows"].as_u64(), contents["hdus"][0]["columns"].as_u64()), (Some(300), Some(200)));
    assert!(contents["hdus"][0]["cards"].as_array().unwrap().iter().any(|card| card["keyword"] == "NAXIS1"));

    let answer = service.answer("/api/v1/products/1/image?x0=0&x1=100&y0=50&y1=150&side=50").await;
    assert_eq!((answer.status(), header(&answer, "content-type").as_str()), (StatusCode::OK, "image/png"));
    let levels: Vec<f64> = header(&answer, "soxsd-levels").split(' ').map(|level| level.parse().unwrap()).collect();
    assert!(levels[0] < levels[1] && levels[1] <= 498.0, "{levels:?}");
    let png = answer.bytes().await.unwrap();
    let side = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    assert_eq!((side(16), side(20)), (50, 50));

    let whole = service.json("/api/v1/products/1/spectrum?intervals=50").await;
    assert_eq!((whole["complete"].as_bool(), whole["traces"][0]["x"].as_array().unwrap().len()), (Some(false), 50));
    let highest = |shown: &serde_json::Value| {
        let high = shown["traces"][0]["high"].as_array().unwrap();
        high.iter().filter_map(serde_json::Value::as_f64).fold(f64::MIN, f64::max)
    };
    assert_eq!(highest(&whole), 99.0, "the line is not lost");
    let near = service.json("/api/v1/products/1/spectrum?from=849&to=851&intervals=50").await;
    assert_eq!((near["complete"].as_bool(), highest(&near)), (Some(true), 99.0));

    let file = service.answer("/api/v1/products/1/file").await;
    assert!(header(&file, "content-disposition").starts_with("attachment; filename=\""));
    assert!(file.bytes().await.unwrap().starts_with(b"SIMPLE  ="));
}

#[tokio::test]
async fn what_cannot_be_shown_is_refused_with_a_reason() {
    let service = with_product().await;
    for (path, status) in [
        ("/api/v1/products/1/image?hdu=1", 422),
        ("/api/v1/products/1/image?hdu=9", 422),
        ("/api/v1/products/1/spectrum?hdu=0", 422),
        ("/api/v1/products/1/image?side=0", 400),
        ("/api/v1/products/1/image?side=100000", 400),
        ("/api/v1/products/1/image?low=NaN", 400),
        ("/api/v1/products/1/image?palette=red", 400),
        ("/api/v1/products/1/spectrum?intervals=0", 400),
        ("/api/v1/products/1/spectrum?from=inf", 400),
        ("/api/v1/products/x/file", 400),
        ("/api/v1/products/999/file", 404),
        ("/api/v1/products/-1/contents", 404),
        ("/api/v1/products/2/contents", 404),
        ("/api/v1/frames/2/image", 404),
        ("/api/v1/sets/1/picture", 404),
        ("/api/v1/sets/1/picture?form=exe", 400),
        ("/api/v1/sets/999/pictures", 404),
        ("/api/v1/jobs/999/qc", 404),
        ("/api/v1/graph/nothing", 404),
    ] {
        let (found, body) = service.error(service.get(path)).await;
        assert_eq!(found.as_u16(), status, "{path}: {body}");
    }
    assert_eq!(service.json("/api/v1/sets/1/pictures").await, serde_json::json!([]));
}
