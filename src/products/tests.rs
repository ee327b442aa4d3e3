//! Products written and read back as calibrations.

use jiff::Timestamp;
use ndarray::{Array2, array};

use super::*;
use crate::fits::{Header, read_planes, scan, verify_checksums};
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
