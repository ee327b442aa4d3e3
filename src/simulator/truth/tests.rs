use super::tables::{LineRow, Row, csv};
use super::*;
use crate::fits::read_planes;

#[test]
fn neighbours_in_a_row_are_one_run() {
    let pixels = [(1, 4), (1, 5), (1, 6), (1, 8), (2, 9), (3, 0)];
    assert_eq!(runs(&pixels), [[1, 4, 3], [1, 8, 1], [2, 9, 1], [3, 0, 1]]);
    assert!(runs(&[]).is_empty());
}

#[test]
fn a_table_explains_its_columns() {
    let row = LineRow { order: 3, wavelength: 500.25, slit: -5.5, x: 1.5, y: 2.0, flux: 1e4, fwhm: 1.75 };
    let text = csv([row]);
    assert_eq!(text.lines().filter(|line| line.starts_with("# ")).count(), LineRow::COLUMNS.len());
    assert!(text.starts_with("# order: order number\n"), "{text}");
    assert!(text.ends_with("order,wavelength,slit,x,y,flux,fwhm\n3,500.25,-5.5,1.5,2,10000,1.75\n"));
}

#[test]
fn the_head_of_the_list_of_frames_names_its_columns() {
    assert_eq!(record::csv_line(&Value::Null).matches(',').count(), record::CSV_HEAD.matches(',').count());
}

#[test]
fn maps_are_read_back_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let truth = TruthFolder::create(folder.path(), false).expect("made");
    let map = Array2::from_elem((3, 4), 0.5_f32);
    truth.maps("vis.fits", &[("PRNU", PlaneData::F32(map.view()))]).expect("written");
    let planes = read_planes(&folder.path().join("vis.fits")).expect("read");
    assert!(format!("{planes:?}").contains("PRNU"));
}
