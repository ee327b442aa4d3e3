//! Our own products back into memory, as calibrations for a recipe.

use std::path::Path;

use ndarray::Array2;

use super::ProductError;
use crate::fits::{self, Plane, PlaneArray, ReadColumn, ReadTable, ReadValues, read_planes, read_tables};
use crate::recipes::bad_pixels::BP_MAP;
use crate::recipes::tables::{Column, ColumnData, Table};
use crate::recipes::{MapPlane, MasterImage, MasterMaps, MasterTable, RecipeInput};

/// Read a product and add it to the calibrations of a recipe: an image when it has a plane `FLUX`, a table when it has
/// table extensions, else maps. `catg` is its PRO CATG with the arm, `name` is used in messages.
pub fn add_calibration(input: &mut RecipeInput, path: &Path, name: &str, catg: &str) -> Result<(), ProductError> {
    let unreadable = |source| ProductError::Read { name: name.to_string(), source: Box::new(source) };
    let planes = read_planes(path).map_err(unreadable)?;
    let catg = catg.rsplit_once('_').map_or(catg, |(catg, _arm)| catg).to_string();
    if planes.iter().any(|plane| plane.extname.as_deref() == Some("FLUX")) {
        input.masters.push(image(planes, name, catg)?);
        return Ok(());
    }
    let tables = read_tables(path).map_err(unreadable)?;
    if tables.is_empty() {
        input.maps.push(maps(planes, name, catg)?);
    } else {
        input.tables.push(table(&planes, tables, name, catg)?);
    }
    Ok(())
}

fn lacks(name: &str, part: &str) -> ProductError {
    ProductError::Lacks { name: name.to_string(), part: part.to_string() }
}

fn image(mut planes: Vec<Plane>, name: &str, catg: String) -> Result<MasterImage, ProductError> {
    let mut take = |part: &str| {
        let index = planes.iter().position(|found| found.extname.as_deref() == Some(part));
        index.map(|index| planes.swap_remove(index)).ok_or_else(|| lacks(name, part))
    };
    let value = take("FLUX")?;
    let exptime = value.header.real("EXPTIME").ok();
    let PlaneArray::F32(flux) = value.data else { return Err(lacks(name, "FLUX")) };
    let PlaneArray::I32(flags) = take("FLAGS")?.data else { return Err(lacks(name, "FLAGS")) };
    // a map of bad pixels has no noise
    let (variance, ron) = match catg == BP_MAP {
        true => (Array2::zeros(flux.dim()), None),
        false => {
            let PlaneArray::F32(errors) = take("ERRS")?.data else { return Err(lacks(name, "ERRS")) };
            (errors.mapv_into(|error| error * error), value.header.real("ESO QC RAW RON").ok())
        }
    };
    Ok(MasterImage { catg, value: flux, variance, flags, ron, exptime })
}

fn maps(planes: Vec<Plane>, name: &str, catg: String) -> Result<MasterMaps, ProductError> {
    let planes: Vec<MapPlane> = planes
        .into_iter()
        .filter_map(|plane| {
            let PlaneArray::F32(values) = plane.data else { return None };
            let unit = plane.header.text("BUNIT").unwrap_or_default().to_string();
            Some(MapPlane { name: plane.extname?, unit, values })
        })
        .collect();
    if planes.is_empty() { Err(lacks(name, "FLUX, tables or maps")) } else { Ok(MasterMaps { catg, planes }) }
}

fn table(planes: &[Plane], tables: Vec<ReadTable>, name: &str, catg: String) -> Result<MasterTable, ProductError> {
    let tech = planes.first().and_then(|primary| primary.header.text("ESO PRO TECH").ok()).unwrap_or_default();
    let tables = tables
        .into_iter()
        .map(|table| {
            let columns = table.columns.into_iter().map(column).collect();
            Table::new(&table.extname.unwrap_or_default(), columns).map_err(|error| lacks(name, &error.to_string()))
        })
        .collect::<Result<Vec<Table>, ProductError>>()?;
    Ok(MasterTable { catg, tech: tech.to_string(), name: name.to_string(), tables })
}

fn column(column: ReadColumn) -> Column {
    let data = match column.values {
        ReadValues::F64(values) => ColumnData::F64(values),
        ReadValues::I64(values) => ColumnData::I64(values),
        ReadValues::Text(values) => ColumnData::Text(values),
    };
    Column { name: column.name, unit: column.unit, data }
}

/// A column as it is written.
pub(super) fn to_fits(column: &Column) -> fits::ColumnData<'_> {
    let values = match &column.data {
        ColumnData::F64(values) => fits::ColumnValues::F64(values),
        ColumnData::I64(values) => fits::ColumnValues::I64(values),
        ColumnData::Text(values) => fits::ColumnValues::Text(values),
    };
    fits::ColumnData { name: &column.name, unit: &column.unit, values }
}
