//! The recipes of flats on small frames with known truth: VIS binned 2 x 2, closed form, at the published places.

use ndarray::Array2;
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};

use super::tests::meta;
use super::*;
use crate::instrument::{Arm, Binning, FrameMeta};
use crate::reduction::detector::synthetic::Scene;
use crate::reduction::flags;
use crate::reduction::orders::guess;
use crate::reduction::orders::image::unbinned;
use crate::reduction::orders::profile::step;

const ROWS: usize = 2048;
const COLUMNS: usize = 404;
const SIDE: usize = 25;
const RON: f64 = 4.0;
const PEDESTAL: f64 = 600.0;
/// Offset of the orders against their published places, unbinned pixels.
const SHIFT: f64 = 2.5;
/// Half length of the slit and sigma of the optics, unbinned pixels.
const HALF: f64 = 20.0;
const BLUR: f64 = 1.1;

fn frame(name: &str, tech: &str, slit: &str, electrons: &Array2<f32>) -> RawFrame {
    let scene = Scene { rows: ROWS, columns: COLUMNS, side: SIDE, gain: 1.0, ..Scene::ccd() };
    let mut adu = Array2::from_elem((ROWS, COLUMNS + 2 * SIDE), PEDESTAL as f32);
    adu.slice_mut(ndarray::s![.., SIDE..SIDE + COLUMNS]).assign(electrons);
    let meta = FrameMeta {
        dpr_type: "LAMP,FLAT".to_string(),
        dpr_tech: tech.to_string(),
        exptime: 20.0,
        slit: Some(slit.to_string()),
        lamp: Some("QTH".to_string()),
        gain: 1.0,
        binning: Some(Binning { x: 2, y: 2 }),
        columns: COLUMNS + 2 * SIDE,
        rows: ROWS,
        ..meta(name, &scene)
    };
    RawFrame { meta, adu }
}

fn response(r: usize, c: usize) -> f64 {
    let noise = ((r * 7919 + c * 104_729) % 1009) as f64 / 504.0 - 1.0;
    if (r * 31 + c * 17).is_multiple_of(1999) { 0.2 } else { 1.0 + 0.02 * noise }
}

/// Expected electrons of the lamp through a slit of this half length, with the response of the pixels.
fn expected(half: f64, level: f64) -> Array2<f64> {
    let orders = guess::published(Arm::Vis);
    let mut image = Array2::zeros((ROWS, COLUMNS));
    for r in 0..ROWS {
        let b = unbinned(r as f64, 2);
        let t = (b - 2048.0) / 2048.0;
        for order in &orders {
            // the second order is faint, as it is
            let light = level * (1.0 - 0.6 * t * t) * if order.order == 2 { 0.1 } else { 1.0 };
            let centre = (order.centre.at(b) + SHIFT + 0.5) / 2.0 - 0.5;
            let reach = half / 2.0 + 4.0;
            for c in (centre - reach) as usize..=(centre + reach) as usize {
                let x = c as f64 - centre;
                let open = step(x + half / 2.0, BLUR / 2.0)[0] - step(x - half / 2.0, BLUR / 2.0)[0];
                image[[r, c]] += light * open;
            }
        }
        for c in 0..COLUMNS {
            image[[r, c]] = (image[[r, c]] + 0.004 * level) * response(r, c);
        }
    }
    image
}

fn exposed(expected: &Array2<f64>, seed: u64) -> Array2<f32> {
    let mut random = rand_pcg::Pcg64::seed_from_u64(seed);
    expected.mapv(|e| {
        let noise: f64 = StandardNormal.sample(&mut random);
        (PEDESTAL + e + noise * (e + RON * RON).sqrt()) as f32
    })
}

fn bias() -> MasterImage {
    let shape = (ROWS, COLUMNS);
    MasterImage {
        catg: "MASTER_BIAS".to_string(),
        value: Array2::from_elem(shape, PEDESTAL as f32),
        variance: Array2::from_elem(shape, 0.0),
        flags: Array2::zeros(shape),
        exptime: None,
        ron: Some(RON),
    }
}

fn run(recipe: &str, input: RecipeInput) -> Result<RecipeOutput, RecipeError> {
    by_name(recipe).unwrap().run(input, &toml::Table::new())
}

fn number(output: &RecipeOutput, name: &str) -> f64 {
    let found = output.qc.iter().find(|metric| metric.name == name && metric.order == "-1");
    found.and_then(|metric| metric.number()).unwrap_or(f64::NAN)
}

fn pinhole(level: f64) -> RecipeInput {
    let frame = frame("pinhole", "ECHELLE,PINHOLE", "PINHOLE", &exposed(&expected(1.6, level), 3));
    RecipeInput { frames: vec![frame], masters: vec![bias()], ..RecipeInput::default() }
}

/// The order table as it comes back from a file.
fn table(output: &RecipeOutput) -> MasterTable {
    let product = &output.tables[0];
    MasterTable {
        catg: product.catg.clone(),
        tech: product.tech.clone(),
        name: "OLOC.fits".to_string(),
        tables: product.tables.clone(),
    }
}

fn slit_flats(level: f64, n: u64) -> Vec<RawFrame> {
    let light = expected(HALF, level);
    (0..n)
        .map(|k| {
            let lamp = 1.0 + 0.01 * k as f64;
            frame(&format!("flat {k}"), "ECHELLE,SLIT", "SLIT1.0", &exposed(&light.mapv(|e| e * lamp), 20 + k))
        })
        .collect()
}

#[test]
fn centres_edges_and_response_of_a_binned_set() {
    let centres = run("order_centres", pinhole(20_000.0)).unwrap();
    assert_eq!((number(&centres, "N ORDERS"), centres.tables.len()), (4.0, 1));
    assert!((number(&centres, "TRACE OFFSET") - SHIFT).abs() < 0.2, "{}", number(&centres, "TRACE OFFSET"));
    assert!(number(&centres, "SAMPLES DET FRAC") > 0.98 && number(&centres, "X RES SD") < 0.1);
    let truth = guess::published(Arm::Vis);
    for row in order_table::read(&table(&centres)).unwrap() {
        let published = truth.iter().find(|guess| guess.order == row.order).unwrap();
        for b in [100.0, 2000.0, 4000.0] {
            let error = row.centre.at(b) - published.centre.at(b) - SHIFT;
            assert!(error.abs() < 0.05, "order {} at {b}: {error}", row.order);
        }
    }

    let mut frames = slit_flats(30_000.0, 3);
    frames.extend(d2_flats(3));
    let input = RecipeInput { frames, masters: vec![bias()], tables: vec![table(&centres)], ..RecipeInput::default() };
    let flat = run("mflat", input).unwrap();
    let catgs: Vec<&str> = flat.products.iter().map(|product| product.catg.as_str()).collect();
    assert_eq!(catgs, ["MASTER_FLAT", "BLAZE", "BP_MAP"]);
    assert_eq!(flat.tables[0].token.as_deref(), Some("OLOC"));
    let master = &flat.products[0];
    let variance = master.variance.as_ref().unwrap();
    let (mut pulls, mut n, mut cold) = (0.0, 0.0, 0);
    for ((at, value), variance) in master.value.indexed_iter().zip(variance) {
        let truth = response(at.0, at.1);
        if master.flags[at] == 0 {
            pulls += (f64::from(*value) - truth).powi(2) / f64::from(*variance);
            n += 1.0;
        }
        let found = master.flags[at] & flags::COLD != 0;
        assert!(!found || truth < 0.5, "{at:?} {value}");
        cold += usize::from(found);
    }
    let width = f64::sqrt(pulls / n);
    assert!((width - 1.0).abs() < 0.05 && n > 120_000.0 && cold > 40, "{width} {n} {cold}");
    assert!((number(&flat, "INNER ORDER PIX MEAN") - 1.0).abs() < 0.01);
    assert!(number(&flat, "X RES SD") < 0.1 && (number(&flat, "NOISE RATIO") - 1.0).abs() < 0.02);
    assert!(number(&flat, "SCATTER FRAC") < 0.01 && number(&flat, "D2 ORDERS") == 1.0);
    for row in order_table::read(&table(&flat)).unwrap() {
        let [low, high] = row.edges.unwrap();
        assert!((0.5 * (high.at(2000.0) - low.at(2000.0)) - HALF).abs() < 0.03, "order {}", row.order);
    }
}

/// Frames of the deuterium lamp, five times as strong as the other in the order where that is faint.
fn d2_flats(n: u64) -> Vec<RawFrame> {
    let light = expected(HALF, 150_000.0).mapv(|e| e.min(40_000.0));
    (0..n)
        .map(|k| {
            let mut frame = frame(&format!("d2 {k}"), "ECHELLE,SLIT", "SLIT1.0", &exposed(&light, 90 + k));
            (frame.meta.dpr_type, frame.meta.lamp) = ("LAMP,DFLAT".to_string(), Some("D".to_string()));
            frame
        })
        .collect()
}

/// An image product as it comes back from a file.
fn master(product: &ProductImage) -> MasterImage {
    MasterImage {
        catg: product.catg.clone(),
        value: product.value.clone(),
        variance: product.variance.clone().unwrap_or_else(|| Array2::zeros(product.value.dim())),
        flags: product.flags.clone(),
        ron: None,
        exptime: None,
    }
}

/// Median variance and width of the pulls of the responses in one order.
fn quality_of(flat: &RecipeOutput, order: u8) -> (f64, f64) {
    let product = &flat.products[0];
    let variance = product.variance.as_ref().unwrap();
    let published = guess::published(Arm::Vis);
    let centre = &published.iter().find(|guess| guess.order == order).unwrap().centre;
    let (mut variances, mut pulls) = (Vec::new(), 0.0);
    for ((at, value), variance) in product.value.indexed_iter().zip(variance) {
        let middle = (centre.at(unbinned(at.0 as f64, 2)) + SHIFT + 0.5) / 2.0 - 0.5;
        if product.flags[at] == 0 && (at.1 as f64 - middle).abs() < 8.0 {
            variances.push(f64::from(*variance));
            pulls += (f64::from(*value) - response(at.0, at.1)).powi(2) / f64::from(*variance);
        }
    }
    let n = variances.len() as f64;
    (crate::numerics::robust::median_f64(&mut variances).unwrap(), f64::sqrt(pulls / n))
}

#[test]
fn the_deuterium_lamp_helps_in_the_order_where_the_other_is_faint() {
    let centres = table(&run("order_centres", pinhole(20_000.0)).unwrap());
    let d2 =
        run("d2_flat", RecipeInput { frames: d2_flats(3), masters: vec![bias()], ..RecipeInput::default() }).unwrap();
    assert_eq!((d2.products.len(), d2.products[0].catg.as_str()), (1, "D2_FLAT"));
    let with = |others: Vec<MasterImage>| {
        let masters = std::iter::once(bias()).chain(others).collect();
        let frames = slit_flats(30_000.0, 3);
        run("mflat", RecipeInput { frames, masters, tables: vec![centres.clone()], ..RecipeInput::default() }).unwrap()
    };
    let map = |set: &[(usize, usize)]| {
        let mut flags = Array2::zeros((ROWS, COLUMNS));
        set.iter().for_each(|at| flags[*at] = flags::HOT);
        MasterImage { catg: "BP_MAP".to_string(), flags, ..bias() }
    };
    let alone = with(vec![]);
    assert!(alone.remarks.iter().any(|remark| remark.contains("no deuterium flat")), "{:?}", alone.remarks);
    assert!(alone.qc.iter().any(|metric| metric.name == "D2 ORDERS" && metric.number().is_none()));
    // two of three darks agree on the first pixel, one stands alone with the second
    let maps = [map(&[(7, 9), (8, 9)]), map(&[(7, 9)]), map(&[])];
    let both = with(std::iter::once(master(&d2.products[0])).chain(maps).collect());
    let (before, _) = quality_of(&alone, 2);
    let (after, width) = quality_of(&both, 2);
    // shot noise: one part of light against one and five
    assert!((after / before - 1.0 / 6.0).abs() < 0.02 && (width - 1.0).abs() < 0.05, "{before} {after} {width}");
    assert_eq!(quality_of(&alone, 3), quality_of(&both, 3));
    let share = both.qc.iter().find(|metric| metric.name == "D2 SHARE").and_then(|metric| metric.number());
    assert_eq!(share, Some(1.0));

    let bad = &both.products[2];
    assert_eq!((bad.catg.as_str(), bad.flags[[7, 9]], bad.flags[[8, 9]]), ("BP_MAP", flags::HOT, 0));
    assert_eq!((bad.value[[7, 9]], bad.value[[8, 9]]), (1.0, 0.0));
    let cold = bad.flags.iter().filter(|bits| **bits & flags::COLD != 0).count();
    assert!(cold > 40 && bad.flags.iter().all(|bits| *bits & flags::UNLIT == 0), "{cold}");
}

#[test]
fn the_mean_with_the_lamp_off_is_of_frames_without_a_lamp() {
    let (dark, rows, columns) = (Array2::from_elem((2048, 2048), 20.0f32), 2048, 2048);
    let off = |k: u64| {
        let mut random = rand_pcg::Pcg64::seed_from_u64(k);
        let adu = dark.mapv(|v| {
            let noise: f64 = StandardNormal.sample(&mut random);
            v + 7.0 * noise as f32
        });
        let mut frame = frame(&format!("off {k}"), "IMAGE", "SLIT1.0", &Array2::zeros((ROWS, COLUMNS)));
        frame.adu = adu;
        frame.meta = FrameMeta {
            arm: Arm::Nir,
            dpr_type: "FLAT,LAMP".to_string(),
            lamp: None,
            binning: None,
            gain: 2.3,
            read_mode: Some("3".to_string()),
            rows,
            columns,
            ..frame.meta
        };
        frame
    };
    let frames: Vec<RawFrame> = (0..3).map(off).collect();
    let recipe = by_name("lamp_off").unwrap();
    let metas: Vec<FrameMeta> = frames.iter().map(|frame| frame.meta.clone()).collect();
    recipe.verify(&metas, &toml::Table::new()).unwrap();
    let lit = FrameMeta { lamp: Some("QTH".to_string()), ..metas[0].clone() };
    let text = recipe.verify(&[lit, metas[1].clone()], &toml::Table::new()).unwrap_err().to_string();
    assert!(text.contains("QTH") && text.contains("expected \"IMAGE\" and none"), "{text}");
    let output = run("lamp_off", RecipeInput { frames, ..RecipeInput::default() }).unwrap();
    let product = &output.products[0];
    assert_eq!((output.products.len(), product.catg.as_str(), product.value.dim()), (1, "LAMP_OFF", (2040, 2040)));
    assert!((number(&output, "OFF MEDIAN") - 46.0).abs() < 0.1, "{}", number(&output, "OFF MEDIAN"));
    assert!((number(&output, "RAW RON") - 16.1).abs() < 0.1, "{}", number(&output, "RAW RON"));
}

#[test]
fn sets_that_are_no_flats_are_refused_with_the_reason() {
    let text = run("order_centres", pinhole(0.0)).unwrap_err().to_string();
    assert!(text.contains("is the lamp on"), "{text}");
    let mut bare = pinhole(20_000.0);
    bare.masters.clear();
    assert!(run("order_centres", bare).unwrap_err().to_string().contains("no MASTER_BIAS"));
    let input = RecipeInput { frames: slit_flats(1.0, 3), masters: vec![bias()], ..RecipeInput::default() };
    assert!(run("mflat", input).unwrap_err().to_string().contains("no ORDER_TAB"));

    let recipe = by_name("mflat").unwrap();
    let good: Vec<FrameMeta> = slit_flats(1.0, 3).into_iter().map(|frame| frame.meta).collect();
    recipe.verify(&good, &toml::Table::new()).unwrap();
    type Change = fn(&mut FrameMeta);
    let changes: [(Change, &str); 5] = [
        (|m| m.slit = Some("SLIT5.0".into()), "through SLIT5.0"),
        (|m| m.dpr_tech = "ECHELLE,PINHOLE".into(), "DPR TECH = \"ECHELLE,PINHOLE\", expected \"ECHELLE,SLIT\""),
        (|m| m.dpr_type = "DARK".into(), "DPR TYPE = \"DARK\""),
        (|m| m.exptime = 3.0, "EXPTIME = 3 s"),
        (|m| m.binning = None, "DET BINX x BINY"),
    ];
    for (change, expected) in changes {
        let mut frames = good.clone();
        change(&mut frames[1]);
        let text = recipe.verify(&frames, &toml::Table::new()).unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
    }
    let few = recipe.verify(&good[..2], &toml::Table::new()).unwrap_err().to_string();
    assert!(few.contains("2 frames, at least 3"), "{few}");
    assert!(recipe.verify(&[], &toml::Table::new()).is_err());
    let spelled: Vec<FrameMeta> =
        good.iter().map(|meta| FrameMeta { dpr_type: " flat,lamp ".to_string(), ..meta.clone() }).collect();
    recipe.verify(&spelled, &toml::Table::new()).unwrap();
}

#[test]
fn saturated_dark_and_stray_light_frames_are_told_apart() {
    let centres = table(&run("order_centres", pinhole(20_000.0)).unwrap());
    let with = |frames: Vec<RawFrame>| {
        run(
            "mflat",
            RecipeInput { frames, masters: vec![bias()], tables: vec![centres.clone()], ..RecipeInput::default() },
        )
    };
    let mut frames = slit_flats(20_000.0, 4);
    frames[1].adu.slice_mut(ndarray::s![.., 60..140]).fill(65_535.0);
    let output = with(frames.clone()).unwrap();
    assert_eq!((output.rejected.len(), output.rejected[0].data_id.as_str()), (1, "flat 1"));
    assert!(output.rejected[0].reason.contains("saturated"), "{:?}", output.rejected);
    let text = with(slit_flats(100.0, 3)).unwrap_err().to_string();
    assert!(text.contains("0 of 3 frames") && text.contains("least_light"), "{text}");
    // a shutter that closes slowly: the light is trailed along the read-out, and lies between the orders too
    for frame in &mut frames {
        for ((r, _), value) in frame.adu.indexed_iter_mut() {
            *value += 3000.0 * (1.0 - r as f32 / ROWS as f32);
        }
    }
    frames.remove(1);
    let text = with(frames).unwrap_err().to_string();
    assert!(text.contains("shutter"), "{text}");
    let pinholes: Vec<RawFrame> = (0..3)
        .map(|k| frame(&format!("p {k}"), "ECHELLE,SLIT", "SLIT1.0", &exposed(&expected(5.0, 50_000.0), 70 + k)))
        .collect();
    let text = with(pinholes).unwrap_err().to_string();
    assert!(text.contains("edge of order") || text.contains("least_light"), "{text}");
}
