//! How long recipes take compared with the I/O that nobody can avoid.
//!
//! Five VIS biases and five NIR darks of full size are written to a temporary directory. Timed are (a) reading the
//! inputs and writing the product, and (b) the same with the recipe in between. The requirement is (b) / (a) <= 2.0 in a
//! release build: `cargo bench --bench recipes`. The files stay in the page cache and nothing waits for the disk, which
//! makes (a) as small, and the requirement as hard, as it can be.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ndarray::Array2;
use rand::SeedableRng;
use rand_distr::{Distribution, Normal};
use soxsd::fits::{Header, ImageHdu, PlaneData, ReadLimits, read_image, write_images};
use soxsd::instrument::{Arm, Detector, FrameMeta, Usage};
use soxsd::recipes::{ProductImage, RawFrame, RecipeInput, by_name};

const ROUNDS: usize = 5;
const FRAMES: usize = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    println!("{} threads; median of {ROUNDS}", rayon::current_num_threads());
    for (recipe, arm, columns, rows) in [("mbias", Arm::Vis, 908, 4096), ("mdark", Arm::Nir, 2048, 2048)] {
        let paths = (0..FRAMES)
            .map(|k| write_frame(directory.path(), arm, columns, rows, k))
            .collect::<Result<Vec<PathBuf>, _>>()?;
        let recipe = by_name(recipe).ok_or("no such recipe")?;
        let parameters = toml::Table::new();
        let out = directory.path().join("product.fits");
        let first = recipe.run(read_all(&paths, arm)?, &parameters)?;

        let (mut plain, mut with_recipe) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let start = Instant::now();
            let input = read_all(&paths, arm)?;
            write_products(&out, &first.products)?;
            // the recipe consumes its input, so giving the memory back is on both sides
            drop(input);
            plain.push(start.elapsed());

            let start = Instant::now();
            let output = recipe.run(read_all(&paths, arm)?, &parameters)?;
            write_products(&out, &output.products)?;
            with_recipe.push(start.elapsed());
        }
        let (plain, with_recipe) = (median(plain), median(with_recipe));
        println!(
            "{:5} {FRAMES} {arm} frames {columns} x {rows}: I/O {:.0} ms, I/O and recipe {:.0} ms, ratio {:.2} (limit 2.00)",
            recipe.name(),
            plain.as_secs_f64() * 1e3,
            with_recipe.as_secs_f64() * 1e3,
            with_recipe.as_secs_f64() / plain.as_secs_f64()
        );
    }
    Ok(())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn write_frame(
    directory: &Path,
    arm: Arm,
    columns: usize,
    rows: usize,
    k: usize,
) -> Result<PathBuf, Box<dyn std::error::Error>> {
    let detector = Detector::of(arm);
    let level = if arm == Arm::Vis { 650.0 } else { 5.0 };
    let mut rng = rand_pcg::Pcg64Mcg::seed_from_u64(k as u64);
    let noise = Normal::new(level, (detector.ron / detector.gain) as f32)?;
    let image = Array2::from_shape_simple_fn((rows, columns), || noise.sample(&mut rng));
    let path = directory.join(format!("{arm}_{k}.fits"));
    let digital;
    let plane = match arm {
        Arm::Nir => PlaneData::F32(image.view()),
        _ => {
            digital = image.mapv(|value| value.round() as u16);
            PlaneData::U16(digital.view())
        }
    };
    write_images(&path, &[ImageHdu { extname: None, header: Header::new(), plane }])?;
    Ok(path)
}

fn read_all(paths: &[PathBuf], arm: Arm) -> Result<RecipeInput, Box<dyn std::error::Error>> {
    let frames = paths
        .iter()
        .map(|path| {
            let adu = read_image(path, &ReadLimits::default())?.data;
            Ok(RawFrame { meta: describe(path, arm, adu.dim())?, adu })
        })
        .collect::<Result<_, Box<dyn std::error::Error>>>()?;
    Ok(RecipeInput { frames, ..RecipeInput::default() })
}

fn write_products(path: &Path, products: &[ProductImage]) -> Result<(), Box<dyn std::error::Error>> {
    for product in products {
        if path.exists() {
            std::fs::remove_file(path)?;
        }
        let hdu = |name: &str, plane| ImageHdu { extname: Some(name.to_string()), header: Header::new(), plane };
        let mut hdus = vec![hdu("FLUX", PlaneData::F32(product.value.view()))];
        hdus.extend(product.variance.as_ref().map(|variance| hdu("VARIANCE", PlaneData::F32(variance.view()))));
        hdus.push(hdu("FLAGS", PlaneData::I32(product.flags.view())));
        write_images(path, &hdus)?;
    }
    Ok(())
}

fn describe(path: &Path, arm: Arm, (rows, columns): (usize, usize)) -> Result<FrameMeta, Box<dyn std::error::Error>> {
    let (kind, exptime) = if arm == Arm::Vis { ("BIAS", 0.0) } else { ("DARK", 300.0) };
    let date_obs: jiff::Timestamp = "2026-03-10T19:00:42Z".parse()?;
    Ok(FrameMeta {
        data_id: path.display().to_string(),
        arm,
        kind: kind.to_ascii_lowercase(),
        usage: Usage::Reduce,
        usage_reason: String::new(),
        recipe: None,
        date_obs,
        mjd_obs: 61_109.8,
        exptime,
        dpr_catg: "CALIB".to_string(),
        dpr_type: kind.to_string(),
        dpr_tech: "IMAGE".to_string(),
        tpl_id: String::new(),
        tpl_name: String::new(),
        tpl_start: date_obs,
        tpl_expno: 1,
        tpl_nexp: FRAMES as u32,
        obs_id: None,
        obs_name: String::new(),
        prog_id: String::new(),
        object: String::new(),
        binning: None,
        read_mode: None,
        gain: Detector::of(arm).gain,
        ron: None,
        slit: None,
        slitmask: None,
        lamp: None,
        filter: None,
        columns,
        rows,
        detector_temp: None,
        common_path_temp: None,
        on_sky: Default::default(),
        warnings: vec![],
    })
}
