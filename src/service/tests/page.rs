//! What people see, and what must never become markup.

use reqwest::StatusCode;

use super::{Running, header};

#[tokio::test]
async fn the_page_says_what_needs_a_person_without_javascript() {
    let service = Running::night().await;
    let page = service.text("/plain").await;
    for words in [
        "<h1>Keeping up.",
        "1 file in quarantine",
        "1 product with QC out of range",
        "the data unit of HDU 0 ends after 2880 of 8640 bytes",
        "MASTER_BIAS_VIS with binning 1x2 (until 2026-03-11 08:00:00)",
        "3 of 5 exposures seen",
        "MASTER_FLAT_VIS",
    ] {
        assert!(page.contains(words), "{words}\n{page}");
    }
}

#[tokio::test]
async fn an_empty_catalogue_is_well() {
    let service = Running::over(crate::catalogue::seeded::Seeded::empty().await).await;
    let page = service.text("/plain").await;
    assert!(page.contains("Keeping up. Nothing needs a person."), "{page}");
    assert!(page.contains("No product has been made yet."));
}

#[tokio::test]
async fn values_of_headers_never_become_markup() {
    let service = Running::night().await;
    let name = "<script>alert(1)</script>\"'.fits";
    service.quarantine(name, "OBJECT = <img src=x onerror=\"alert(2)\"> is not SOXS & never was").await;
    let why = "/why?target=%3Cscript%3Ealert(1)%3C%2Fscript%3E%22%27.fits";
    let unknown = "/why?target=%3Cb%3Enothing%3C%2Fb%3E";
    let pages = [
        service.text("/plain").await,
        service.text(why).await,
        service.answer(unknown).await.text().await.unwrap(),
        service.answer("/why?%3Cb%3E=1").await.text().await.unwrap(),
    ];
    for page in &pages {
        for markup in ["<script>alert", "<img", "<b>"] {
            assert!(!page.contains(markup), "{markup}\n{page}");
        }
    }
    assert!(pages[0].contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;.fits"));
    assert!(pages[1].contains("&lt;img src=x onerror=&quot;alert(2)&quot;&gt; is not SOXS &amp; never was"));
    assert!(pages[2].contains("&lt;b&gt;nothing&lt;/b&gt;"));
}

#[tokio::test]
async fn the_page_loads_nothing_from_elsewhere_and_says_so_to_the_browser() {
    let service = Running::night().await;
    for path in ["/plain", "/why?target=job:4", "/plain.css", "/plain.js", "/api/v1/status", "/nothing", "/"] {
        let answer = service.answer(path).await;
        assert!(header(&answer, "content-security-policy").starts_with("default-src 'self'"), "{path}");
        assert_eq!(header(&answer, "x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header(&answer, "referrer-policy"), "no-referrer", "{path}");
        assert_eq!(header(&answer, "cache-control"), "no-store", "{path}");
        let text = answer.text().await.unwrap();
        for elsewhere in ["http://", "https://", "style=", "onclick="] {
            assert!(!text.contains(elsewhere), "{path} has {elsewhere}");
        }
    }
}

#[tokio::test]
async fn the_story_page_explains_or_says_that_nothing_has_the_name() {
    let service = Running::night().await;
    let page = service.text("/why?target=job:4").await;
    assert!(page.contains("waits for MASTER_BIAS_VIS with binning 1x2"));
    assert!(page.contains("binning 1x2 of the data, 1x1 of the master"));
    let several = service.text("/why?target=MBIAS").await;
    assert!(several.contains("href=\"/why?target=set%3A"), "{several}");
    assert_eq!(service.answer("/why?target=zzz").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(service.answer("/why").await.status(), StatusCode::BAD_REQUEST);
}
