//! The table of a master flat that says how bright the lamp was along every order, `BLAZE_TAB`.

use super::lamp::Flats;
use super::tables::{Column, Table, TableError};
use crate::instrument::format::SpectralFormat;
use crate::reduction::flat::blaze::Blaze;
use crate::reduction::orders::edges::Edges;
use crate::reduction::orders::image::Dispersion;

/// Distance of the rows of the table of the lamp's light, unbinned pixels.
const TABLE_STEP: usize = 4;

/// Gaussian sigma with which optics and pixels blur what stands on the slit, along it, arcsec: the edges of the slit are sharp.
fn slit_blur(flats: &Flats, edges: &Edges) -> f64 {
    let format = SpectralFormat::of(flats.arm);
    let Some(order) = format.order(edges.order) else { return f64::NAN };
    let [low, high] = order.useful();
    let middle = order.position(0.5 * (low + high), 0.0);
    let (scale, bin) = match flats.dispersion {
        Dispersion::Rows => (middle.dx_ds, flats.binning.x),
        Dispersion::Columns => (middle.dy_ds, flats.binning.y),
    };
    // the blur of the edges is that of the optics: the pixels' own width was taken into account
    edges.blur.hypot(bin as f64 / 12f64.sqrt()) / scale.abs()
}

/// The light of the lamp along every order: its electrons in the middle of the slit, its slope, bend and twist along the slit, its
/// relative error, how optics and pixels blur the edges of the slit, and the light of the deuterium lamp where there was one.
/// `edges` and `blazes` belong together; `reach` is the first and the last pixel of the frame along the orders.
pub fn write(
    flats: &Flats,
    edges: &[Edges],
    blazes: &[Option<Blaze>],
    d2: Option<&[Option<Blaze>]>,
    reach: [f64; 2],
) -> Result<Table, TableError> {
    let along = match flats.dispersion {
        Dispersion::Rows => "y",
        Dispersion::Columns => "x",
    };
    let (mut order, mut place) = (vec![], vec![]);
    let mut values: [Vec<f64>; 7] = Default::default();
    let mut indices: Vec<usize> = (0..edges.len()).collect();
    indices.sort_by_key(|k| edges[*k].order);
    for k in indices {
        let Some(blaze) = blazes.get(k).and_then(Option::as_ref) else { continue };
        let other = d2.and_then(|blazes| blazes.get(k)).and_then(Option::as_ref);
        let first = blaze.reach[0].max(reach[0]).ceil() as usize;
        let last = blaze.reach[1].min(reach[1]).floor().max(0.0) as usize;
        let blur = edges.get(k).map_or(f64::NAN, |edges| slit_blur(flats, edges));
        for b in (first..=last.max(first)).step_by(TABLE_STEP) {
            let b = b as f64;
            order.push(i64::from(blaze.order));
            place.push(b);
            values[0].push(blaze.light(b));
            for (list, size) in values[1..4].iter_mut().zip(blaze.shape(b)) {
                list.push(size);
            }
            let lit = other.filter(|other| (other.reach[0]..=other.reach[1]).contains(&b));
            values[4].push(lit.map_or(f64::NAN, |other| other.light(b)));
            values[5].push(blaze.error(b).unwrap_or(f64::NAN));
            values[6].push(blur);
        }
    }
    let [light, slope, bend, twist, d2_light, error, blur] = values;
    let mut columns = vec![
        Column::integer("order", order),
        Column::real(along, "pixel", place),
        Column::real("blaze", "electron", light),
        Column::real("slit_slope", "", slope),
        Column::real("slit_bend", "", bend),
        Column::real("slit_twist", "", twist),
        Column::real("blaze_error", "", error),
        Column::real("slit_blur", "arcsec", blur),
    ];
    if d2.is_some() {
        columns.push(Column::real("blaze_d2", "electron", d2_light));
    }
    Table::new("BLAZE", columns)
}
