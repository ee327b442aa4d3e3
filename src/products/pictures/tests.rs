//! Pages as a whole.

use super::*;
use crate::quality::page::{Axis, Bar, Cell, Ink, Layer, MetricLine, Palette, Panel, Stretch, Thumbnail};
use crate::quality::{Judged, QcMetric, Verdict};

/// A page that uses every kind of layer, with some numbers that are none.
fn page() -> Page {
    let wave = |k: usize| f64::from(k as u32) / 20.0;
    let points: Vec<[f64; 2]> = (0..200).map(|k| [wave(k), if k == 50 { f64::NAN } else { wave(k).sin() }]).collect();
    let triples: Vec<[f64; 3]> = points.iter().map(|[x, y]| [*x, y - 0.1, y + 0.1]).collect();
    let pixels = (0..600).map(|k| if k == 7 { f64::NAN } else { f64::from(k % 30) }).collect();
    let thumbnail = Thumbnail::of_values(30, 20, pixels, Stretch::Percentiles(0.0, 100.0), Palette::Viridis);
    let bar = Bar { label: "e−".to_string(), range: thumbnail.range, palette: Palette::Viridis };
    let image = Panel::new(Cell::new(0, 6, 0, 1), "An image", Axis::new("x / pixel"), Axis::new("y / pixel"))
        .with(Layer::Image { thumbnail, x: [-0.5, 299.5], y: [-0.5, 199.5] })
        .with(Layer::Word { at: [100.0, 50.0], text: "u".to_string(), ink: Ink::Overlay })
        .with_bar(bar);
    let curves = Panel::new(
        Cell::new(6, 6, 0, 1),
        "Flux & its error",
        Axis::new("wavelength / nm"),
        Axis::from_to("flux / 10^{-17} erg cm^{-2}", -0.8, 1.2),
    )
    .with(Layer::Span { x: [2.0, 3.0], name: "H_{2}O".to_string() })
    .with(Layer::Band { points: triples.clone(), ink: Ink::Series(0), name: "error".to_string() })
    .with(Layer::line(points.clone(), Ink::Series(0)).named("flux"))
    .with(Layer::dots(points, Ink::Series(1)))
    .with(Layer::Mark { x: 5.0, ink: Ink::Grey, name: "join".to_string() });
    let counts = Panel::new(Cell::new(0, 6, 1, 1), "Histogram", Axis::new("value"), Axis::new("pixels").log()).with(
        Layer::Bars {
            edges: vec![0.0, 1.0, 2.0, 3.0],
            counts: vec![10.0, 0.0, 4000.0],
            ink: Ink::Series(2),
            name: String::new(),
        },
    );
    let values = Panel::new(Cell::new(6, 6, 1, 1), "Values", Axis::new("x"), Axis::new("y"))
        .with(Layer::Values { points: triples, range: [-1.0, 1.0], palette: Palette::Diverging, size: 2.0 })
        .with(Layer::Level { y: 0.0, ink: Ink::Grey, name: "zero".to_string() });
    Page {
        title: "Everything < that > can be \"shown\"".to_string(),
        subtitle: "σ(λ) ± 0.1 Å".to_string(),
        facts: vec![("Object".to_string(), "漢 & <b>".to_string()), ("Frames".to_string(), "5".to_string())],
        metrics: vec![MetricLine {
            name: "X RES SD".to_string(),
            value: "0.012 px".to_string(),
            range: "≤ 0.4".to_string(),
            verdict: Verdict::Pass,
        }],
        verdict: Some(Verdict::Warn),
        panels: vec![image, curves, counts, values],
        ..Page::default()
    }
}

/// All text of a scene, element by element.
fn texts(svg: &str) -> Vec<String> {
    let document = roxmltree::Document::parse(svg).unwrap();
    let elements = document.descendants().filter(|node| node.has_tag_name("text"));
    elements
        .map(|node| node.descendants().filter(|node| node.is_text()).filter_map(|node| node.text()).collect::<String>())
        .collect()
}

#[test]
fn the_scene_is_well_formed_and_has_every_word() {
    let svg = sheet::scene(&page());
    let texts = texts(&svg);
    let words = [
        "Everything < that > can be \"shown\"",
        "σ(λ) ± 0.1 Å",
        "? & <b>",
        "X RES SD",
        "0.012 px",
        "accepted ≤ 0.4",
        "QC warn",
        "Flux & its error",
        "flux / 10-17 erg cm-2",
        "wavelength / nm",
        "join",
        "error",
    ];
    for wanted in words {
        assert!(texts.iter().any(|text| text == wanted), "{wanted:?} is not among {texts:?}");
    }
}

#[test]
fn a_page_gives_the_same_bytes_each_time_in_forms_that_programs_know() {
    let (first, second) = (draw(&page()).unwrap(), draw(&page()).unwrap());
    assert_eq!(first, second);
    assert!(first.png.starts_with(b"\x89PNG\r\n\x1a\n"));
    assert!(first.pdf.starts_with(b"%PDF-"));
    let has = |name: &[u8]| first.pdf.windows(name.len()).any(|part| part == name);
    // embedded subsets of both fonts, with the table that makes text searchable
    assert!(has(b"OpenSans") && has(b"OpenSans-Semibold") && has(b"/FontFile") && has(b"/ToUnicode"));
}

#[test]
fn the_image_shows_the_panels() {
    let picture = draw(&page()).unwrap();
    let pixels = resvg::tiny_skia::Pixmap::decode_png(&picture.png).unwrap();
    assert_eq!([pixels.width(), pixels.height()], [1684, 1190]);
    let ink = pixels.pixels().iter().filter(|p| [p.red(), p.green(), p.blue()] != [255; 3]).count();
    let share = ink as f64 / pixels.pixels().len() as f64;
    assert!((0.1..0.6).contains(&share), "{share}");
    // the darkest blue of the image's lowest level is where the image is
    assert!(pixels.pixels().iter().any(|p| [p.red(), p.green(), p.blue()] == [68, 1, 84]));
}

#[test]
fn empty_and_infinite_data_give_a_page_that_says_so() {
    let wild = |value: f64| vec![[value, 1.0], [1.0, value]];
    let layers = [
        Layer::dots(wild(f64::NAN), Ink::Black),
        Layer::line(wild(f64::INFINITY), Ink::Black),
        Layer::Band { points: vec![[f64::NAN; 3]; 4], ink: Ink::Black, name: String::new() },
        Layer::Bars { edges: vec![], counts: vec![], ink: Ink::Black, name: String::new() },
        Layer::Values { points: vec![], range: [0.0, 0.0], palette: Palette::Grey, size: 1.0 },
        Layer::Image { thumbnail: Thumbnail::default(), x: [0.0, 0.0], y: [0.0, 0.0] },
    ];
    let panels: Vec<Panel> = layers
        .into_iter()
        .enumerate()
        .map(|(k, layer)| {
            let cell = Cell::new(2 * k, if k == 5 { 900 } else { 2 }, k % 2, 1);
            Panel::new(cell, "t", Axis::from_to("x", f64::NAN, 0.0), Axis::new("y").log()).with(layer)
        })
        .collect();
    let count = panels.len();
    let picture = draw(&Page { panels, ..Page::default() }).unwrap();
    assert_eq!(texts(&picture.svg).iter().filter(|text| *text == "no data").count(), count);
    draw(&Page::default()).unwrap();
}

#[test]
fn single_values_and_huge_ones_are_drawn() {
    let panel = |points: Vec<[f64; 2]>| {
        Panel::new(Cell::new(0, 12, 0, 1), "t", Axis::new("x"), Axis::new("y")).with(Layer::dots(points, Ink::Black))
    };
    for points in [vec![[1.0, 1.0]], vec![[0.0, 0.0]], vec![[-1e300, 1e300], [1e300, -1e300]], vec![[1e-300, 5e-324]]] {
        let picture = draw(&Page { panels: vec![panel(points)], ..Page::default() }).unwrap();
        assert!(!picture.svg.contains("NaN") && !picture.svg.contains("inf"));
    }
}

#[test]
fn a_table_that_is_too_long_counts_the_rest() {
    let metrics: Vec<QcMetric> =
        (0..90).map(|k| QcMetric { order: k.to_string(), ..QcMetric::measured("A", 1.0, "", "") }).collect();
    let judged = Judged { verdict: Verdict::Fail, min: None, max: Some(0.5) };
    let all: Vec<(&QcMetric, Judged)> = metrics.iter().map(|metric| (metric, judged)).collect();
    let mut page = Page::default();
    page.judge(&all);
    let texts = texts(&sheet::scene(&page));
    assert!(texts.iter().any(|text| text.starts_with("and ") && text.ends_with("more in the product")), "{texts:?}");
}
