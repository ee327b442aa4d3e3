//! Products written and read back as calibrations.

use jiff::Timestamp;
use ndarray::{Array2, array};

use super::*;
use crate::fits::{Header, ReadValues, read_planes, read_tables, scan, verify_checksums};
use crate::recipes::tables::{Column, Table};
use crate::recipes::{MapPlane, ProductCard, ProductImage, ProductMaps, ProductTable, RecipeInput, RecipeOutput};

fn provenance() -> Provenance {
    Provenance {
        recipe: "disp_solution".to_string(),
        recipe_version: "1".to_string(),
        software: "soxsd/test".to_string(),
        set_name: "20260310T190000_VIS_1X1_1_DSOL_PINHOLE_30_0S_SOXS".to_string(),
        date: Timestamp::UNIX_EPOCH,
        raw: Vec::new(),
        calibrations: Vec::new(),
        parameters: Vec::new(),
    }
}

fn output() -> RecipeOutput {
    let lines = vec![
        Column::real("wavelength", "nm", vec![589.592_4, f64::NAN]),
        Column::integer("order", vec![1, 3]),
        Column::text("ion", vec!["NaI".to_string(), String::new()]),
    ];
    let plane = |name: &str, unit: &str, value: f32| MapPlane {
        name: name.to_string(),
        unit: unit.to_string(),
        values: array![[value, f32::NAN], [value + 1.0, 0.0]],
    };
    RecipeOutput {
        products: vec![ProductImage {
            catg: "MASTER_FLAT".to_string(),
            tech: "ECHELLE,SLIT".to_string(),
            suffix: String::new(),
            unit: String::new(),
            value: array![[1.0, 0.98]],
            variance: Some(array![[0.25, 4.0]]),
            flags: array![[0, 2]],
            n_combined: 5,
            cards: vec![
                ProductCard::text("CTYPE1", "AWAV", "air wavelength"),
                ProductCard::real("CRVAL1", 550.5, "nm"),
            ],
        }],
        tables: vec![ProductTable {
            catg: "DISP_TAB".to_string(),
            tech: "ECHELLE,PINHOLE".to_string(),
            token: None,
            suffix: String::new(),
            tables: vec![
                Table::new("LINES", lines).expect("equal lengths"),
                Table::new("EMPTY", Vec::new()).expect("none"),
            ],
            n_combined: 1,
            cards: vec![ProductCard::integer("NSTARS", 2, "standards combined")],
        }],
        maps: vec![ProductMaps {
            catg: "DISP_IMAGE".to_string(),
            tech: "ECHELLE,MULTI-PINHOLE".to_string(),
            suffix: "_IMAGE".to_string(),
            planes: vec![plane("WAVELENGTH", "nm", 500.0), plane("ORDER", "", 1.0)],
            n_combined: 1,
        }],
        ..RecipeOutput::default()
    }
}

#[test]
fn products_of_every_form_come_back_as_the_calibrations_they_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = output();
    let mut input = RecipeInput::default();
    for (number, product) in Product::all(&output).enumerate() {
        let path = folder.path().join(format!("{number}.fits"));
        write_product(&path, "name", product, "VIS", &Header::new(), &provenance(), &[]).expect("written");
        verify_checksums(&path).expect("sums are right");
        scan(&path, &Default::default()).expect("sound");
        add_calibration(&mut input, &path, "name", &format!("{}_VIS", product.catg())).expect("read back");
    }
    let ([image], [table], [maps]) = (input.masters.as_slice(), input.tables.as_slice(), input.maps.as_slice()) else {
        panic!("{input:?}")
    };
    assert_eq!((image.catg.as_str(), &image.value), ("MASTER_FLAT", &output.products[0].value));
    assert_eq!((&image.variance, &image.flags), (&array![[0.25, 4.0]], &array![[0, 2]]));
    assert_eq!((table.catg.as_str(), table.tech.as_str()), ("DISP_TAB", "ECHELLE,PINHOLE"));
    let lines = &table.tables[0];
    let waves = lines.real("wavelength").expect("a column");
    assert!(waves[0] == 589.592_4 && waves[1].is_nan());
    assert_eq!(lines.columns[0].unit, "nm");
    assert_eq!(lines.integer("order").expect("a column"), [1, 3]);
    assert_eq!(lines.text("ion").expect("a column"), ["NaI", ""]);
    assert_eq!((table.tables[1].name.as_str(), table.tables[1].rows()), ("EMPTY", 0));
    assert_eq!(maps.catg, "DISP_IMAGE");
    for plane in read_planes(&folder.path().join("0.fits")).expect("planes") {
        assert_eq!((plane.header.text("CTYPE1"), plane.header.real("CRVAL1")), (Ok("AWAV"), Ok(550.5)));
    }
    let primary = &read_planes(&folder.path().join("1.fits")).expect("planes")[0];
    assert_eq!(primary.header.integer("NSTARS"), Ok(2));
    let bits = |plane: &Array2<f32>| plane.iter().map(|value| value.to_bits()).collect::<Vec<u32>>();
    for (found, put) in maps.planes.iter().zip(&output.maps[0].planes) {
        assert_eq!((&found.name, &found.unit, bits(&found.values)), (&put.name, &put.unit, bits(&put.values)));
    }
}

#[test]
fn a_solution_stands_in_the_known_layout_in_the_first_extension_of_its_file() {
    use crate::instrument::format::SpectralFormat;
    use crate::recipes::disp_tab;
    use crate::reduction::geometry::guess;
    let map = guess::published(SpectralFormat::of(crate::instrument::Arm::Vis));
    let tables = disp_tab::write(&map, &[]).expect("tables");
    let product = ProductTable::new("DISP_TAB", "ECHELLE,PINHOLE", "", tables, 1);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("dsol.fits");
    write_product(&path, "name", Product::Tables(&product), "VIS", &Header::new(), &provenance(), &[])
        .expect("written");
    let tables = read_tables(&path).expect("read");
    let first = &tables[0];
    assert_eq!(first.extname, None);
    let column = |name: &str| first.columns.iter().find(|column| column.name == name).map(|column| &column.values);
    assert_eq!(column("axis"), Some(&ReadValues::Text(vec!["x".to_string(), "y".to_string()])));
    let real = |name: &str| match column(name) {
        Some(ReadValues::F64(values)) => values.clone(),
        other => panic!("{name}: {other:?}"),
    };
    let degree = |name: &str| match column(name) {
        Some(ReadValues::I64(values)) => values[0] as i32,
        other => panic!("{name}: {other:?}"),
    };
    for order in &map.orders {
        let (wavelength, slit) = (0.3 * order.limits[0] + 0.7 * order.limits[1], -4.0);
        let mut found = [0.0; 2];
        for i in 0..=degree("order_deg") {
            for j in 0..=degree("wavelength_deg") {
                for k in 0..=degree("slit_deg") {
                    let factor = f64::from(order.order).powi(i) * f64::powi(wavelength, j) * f64::powi(slit, k);
                    let values = real(&format!("c{i}{j}{k}"));
                    found.iter_mut().zip(values).for_each(|(sum, c)| *sum += c * factor);
                }
            }
        }
        let (x, y) = order.at(wavelength, slit);
        assert!((found[0] - x).abs() < 1e-4 && (found[1] - y).abs() < 1e-4, "{found:?} {x} {y}");
    }
    let names: Vec<Option<&str>> = tables[1..].iter().map(|table| table.extname.as_deref()).collect();
    assert_eq!(names, [Some("ORDERS"), Some("MAP"), Some("COVARIANCE")]);
}

#[test]
fn a_map_of_bad_pixels_comes_back_without_noise() {
    let product = crate::recipes::bad_pixels::product(array![[0, 2, 33]], 3);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("map.fits");
    let metrics = [crate::quality::QcMetric::measured("RAW RON", 3.8, "electrons", "of another read mode")];
    write_product(&path, "name", Product::Image(&product), "VIS", &Header::new(), &provenance(), &metrics)
        .expect("written");
    let mut input = RecipeInput::default();
    add_calibration(&mut input, &path, "name", "BP_MAP_VIS").expect("read back");
    let map = &input.masters[0];
    assert_eq!((map.catg.as_str(), &map.flags, map.ron), ("BP_MAP", &array![[0, 2, 33]], None));
    assert_eq!((&map.value, &map.variance), (&array![[0.0, 1.0, 1.0]], &Array2::zeros((1, 3))));
}

#[test]
fn a_file_that_is_no_calibration_is_refused_with_what_it_lacks() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("image.fits");
    let output = RecipeOutput {
        products: vec![ProductImage { variance: None, ..output().products.remove(0) }],
        ..RecipeOutput::default()
    };
    let product = Product::Image(&output.products[0]);
    write_product(&path, "flat.fits", product, "VIS", &Header::new(), &provenance(), &[]).expect("written");
    let error =
        add_calibration(&mut RecipeInput::default(), &path, "flat.fits", "MASTER_FLAT_VIS").expect_err("no errors");
    assert_eq!(
        error.to_string(),
        "the product flat.fits is not usable as a calibration: ERRS is missing or of another type"
    );
}
