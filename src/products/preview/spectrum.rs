//! A spectrum of a table, made short for drawing: least and largest value of each interval, so that no line and no bad pixel
//! gets lost whatever the zoom.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::fits::{ReadColumn, ReadTable, ReadValues};

/// Columns that can be the horizontal axis, the best first.
const AXES: [&str; 7] = ["WAVE", "wavelengthMean", "wavelength", "ycoord", "y", "x", "detector_y"];
/// Columns that hold the order.
const ORDER: &str = "order";
/// What a column is, by its name; the first of a role is drawn, the others can be chosen.
const ROLES: [(&str, &[&str]); 4] = [
    (
        "flux",
        &["FLUX", "FLUX_COUNTS", "extractedFluxOptimal", "extractedFluxBoxcar", "response", "EFFICIENCY", "blaze"],
    ),
    ("error", &["ERR", "VARIANCE", "varianceSpectrum", "varianceBoxcar", "error"]),
    ("sky", &["SKY", "BGFLUX", "SKY_COUNTS", "skyFlux"]),
    ("snr", &["SNR", "snr"]),
];

/// A column of a table that can be drawn.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Curve {
    /// Name of the column; a variance is drawn as its square root.
    pub name: String,
    /// Unit of what is drawn.
    pub unit: String,
    /// `flux`, `error`, `sky`, `snr`, or empty.
    pub role: String,
}

/// Part of a curve: one order, or all of a spectrum without orders.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Trace {
    /// Order; none for a spectrum without orders.
    pub order: Option<i64>,
    /// Name of the curve.
    pub curve: String,
    /// Horizontal places, rising.
    pub x: Vec<f64>,
    /// Least value in the interval at each place; null where there is none.
    pub low: Vec<Option<f64>>,
    /// Largest value; the same as `low` when every sample is given.
    pub high: Vec<Option<f64>>,
}

/// What is drawn of a range of a spectrum.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Shown {
    /// Name of the table.
    pub table: String,
    /// Name of the horizontal axis.
    pub axis: String,
    /// Its unit.
    pub axis_unit: String,
    /// Smallest and largest place of the whole spectrum.
    pub extent: [f64; 2],
    /// Curves that there are.
    pub curves: Vec<Curve>,
    /// The curves that were asked for, in the range.
    pub traces: Vec<Trace>,
    /// Every sample of the range is given; if not, intervals are.
    pub complete: bool,
}

/// A table as a spectrum.
#[derive(Clone, Debug)]
pub struct Spectrum {
    name: String,
    axis: (String, String),
    /// Order and the rows of it, by rising place.
    orders: Vec<(Option<i64>, Vec<usize>)>,
    places: Vec<f64>,
    curves: Vec<(Curve, Vec<f64>)>,
}

/// Do columns of these names make a spectrum?
pub fn drawable(names: &[&str]) -> bool {
    let known = |name: &&str| ROLES.iter().any(|(_, names)| names.contains(name));
    AXES.iter().any(|axis| names.contains(axis)) && names.iter().any(known)
}

impl Spectrum {
    /// `None` when the table has no axis, or nothing to draw over it.
    pub fn of(table: &ReadTable) -> Option<Spectrum> {
        let axis = AXES.iter().find_map(|name| table.columns.iter().find(|column| column.name == *name))?;
        let places = numbers(axis)?;
        let order = table.columns.iter().find(|column| column.name == ORDER).and_then(whole);
        let curves: Vec<(Curve, Vec<f64>)> = table
            .columns
            .iter()
            .filter(|column| column.name != axis.name && column.name != ORDER)
            .filter_map(|column| curve(column, places.len()))
            .collect();
        if curves.is_empty() || places.is_empty() || order.as_ref().is_some_and(|order| order.len() != places.len()) {
            return None;
        }
        let mut rows: BTreeMap<Option<i64>, Vec<usize>> = BTreeMap::new();
        for row in (0..places.len()).filter(|row| places[*row].is_finite()) {
            rows.entry(order.as_ref().and_then(|order| order.get(row).copied())).or_default().push(row);
        }
        for rows in rows.values_mut() {
            // Rows are places of this table, so the index is sound.
            rows.sort_by(|a, b| places[*a].total_cmp(&places[*b]));
        }
        Some(Spectrum {
            name: table.extname.clone().unwrap_or_default(),
            axis: (axis.name.clone(), axis.unit.clone()),
            orders: rows.into_iter().collect(),
            places,
            curves,
        })
    }

    /// Bytes in memory, about.
    pub fn bytes(&self) -> usize {
        (self.curves.len() + 2) * self.places.len() * size_of::<f64>()
    }

    /// The curves named (those with a role when none is) between two places, in at most `intervals` intervals an order.
    pub fn shown(&self, wanted: &[String], from: Option<f64>, to: Option<f64>, intervals: usize) -> Shown {
        let finite = || self.places.iter().copied().filter(|place| place.is_finite());
        let extent = [finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max)];
        let extent = if extent[0] <= extent[1] { extent } else { [0.0, 1.0] };
        let (from, to) = (from.unwrap_or(extent[0]), to.unwrap_or(extent[1]));
        let mut complete = true;
        let mut traces = Vec::new();
        for (curve, values) in &self.curves {
            let asked = if wanted.is_empty() { !curve.role.is_empty() } else { wanted.contains(&curve.name) };
            if !asked {
                continue;
            }
            for (order, rows) in &self.orders {
                let begin = rows.partition_point(|row| self.places[*row] < from);
                let end = rows.partition_point(|row| self.places[*row] <= to).max(begin);
                // One sample beyond each end, so that a line leaves the picture instead of stopping in it.
                let rows = &rows[begin.saturating_sub(1)..(end + 1).min(rows.len())];
                if end == begin && rows.len() < 2 {
                    continue;
                }
                let whole = rows.len() <= 2 * intervals.max(1);
                complete &= whole;
                traces.push(self.trace(*order, curve, values, rows, if whole { rows.len() } else { intervals }));
            }
        }
        Shown {
            table: self.name.clone(),
            axis: self.axis.0.clone(),
            axis_unit: self.axis.1.clone(),
            extent,
            curves: self.curves.iter().map(|(curve, _)| curve.clone()).collect(),
            traces,
            complete,
        }
    }

    fn trace(&self, order: Option<i64>, curve: &Curve, values: &[f64], rows: &[usize], intervals: usize) -> Trace {
        let intervals = intervals.max(1);
        let mut trace = Trace { order, curve: curve.name.clone(), x: Vec::new(), low: Vec::new(), high: Vec::new() };
        for k in 0..intervals {
            let part = &rows[k * rows.len() / intervals..(k + 1) * rows.len() / intervals];
            let (Some(first), Some(last)) = (part.first(), part.last()) else { continue };
            let finite = || part.iter().map(|row| values[*row]).filter(|value| value.is_finite());
            trace.x.push(0.5 * (self.places[*first] + self.places[*last]));
            trace.low.push(finite().min_by(f64::total_cmp));
            trace.high.push(finite().max_by(f64::total_cmp));
        }
        trace
    }
}

fn numbers(column: &ReadColumn) -> Option<Vec<f64>> {
    match &column.values {
        ReadValues::F64(values) => Some(values.clone()),
        ReadValues::I64(values) => Some(values.iter().map(|value| *value as f64).collect()),
        ReadValues::Text(_) => None,
    }
}

fn whole(column: &ReadColumn) -> Option<Vec<i64>> {
    match &column.values {
        ReadValues::I64(values) => Some(values.clone()),
        _ => None,
    }
}

/// A column as it is drawn: a variance as its square root.
fn curve(column: &ReadColumn, length: usize) -> Option<(Curve, Vec<f64>)> {
    let mut values = numbers(column).filter(|values| values.len() == length)?;
    let role = ROLES.iter().find(|(_, names)| names.contains(&column.name.as_str())).map_or("", |(role, _)| role);
    let mut unit = column.unit.clone();
    if column.name.to_ascii_lowercase().starts_with("variance") {
        values.iter_mut().for_each(|value| *value = if *value >= 0.0 { value.sqrt() } else { f64::NAN });
        unit = unit.strip_suffix('2').unwrap_or(&unit).trim_matches(['(', ')']).to_string();
    }
    Some((Curve { name: column.name.clone(), unit, role: role.to_string() }, values))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fits::Header;

    fn table(columns: &[(&str, ReadValues)]) -> ReadTable {
        let columns = columns.iter().map(|(name, values)| ReadColumn {
            name: name.to_string(),
            unit: if name.starts_with("var") { "electron2" } else { "nm" }.to_string(),
            values: values.clone(),
        });
        ReadTable { extname: Some("T".to_string()), header: Header::new(), columns: columns.collect() }
    }

    #[test]
    fn extremes_survive_whatever_the_zoom() {
        let mut flux = vec![1.0; 10_000];
        flux[1234] = 50.0;
        flux[7777] = -9.0;
        flux[5000] = f64::NAN;
        let wave = (0..10_000).map(|k| 500.0 + 0.01 * f64::from(k)).collect();
        let spectrum =
            Spectrum::of(&table(&[("WAVE", ReadValues::F64(wave)), ("FLUX", ReadValues::F64(flux))])).unwrap();
        let shown = spectrum.shown(&[], None, None, 100);
        assert!(!shown.complete && shown.extent == [500.0, 599.99]);
        let trace = &shown.traces[0];
        assert_eq!(trace.x.len(), 100);
        let highest = trace.high.iter().flatten().fold(f64::MIN, |a, b| a.max(*b));
        let lowest = trace.low.iter().flatten().fold(f64::MAX, |a, b| a.min(*b));
        assert_eq!((lowest, highest), (-9.0, 50.0));
        let near = spectrum.shown(&[], Some(512.3), Some(512.5), 100);
        assert!(near.complete && near.traces[0].x.len() < 30);
        assert!(near.traces[0].high.contains(&Some(50.0)));
        assert!(near.traces[0].x[0] < 512.3, "one sample beyond the end");
    }

    #[test]
    fn orders_are_apart_and_a_variance_is_drawn_as_an_error() {
        let columns = [
            ("order", ReadValues::I64(vec![11, 11, 10, 10])),
            ("wavelengthMean", ReadValues::F64(vec![2.0, 1.0, 3.0, 4.0])),
            ("extractedFluxOptimal", ReadValues::F64(vec![20.0, 10.0, 30.0, 40.0])),
            ("varianceSpectrum", ReadValues::F64(vec![4.0, 9.0, 16.0, -1.0])),
        ];
        let shown = Spectrum::of(&table(&columns)).unwrap().shown(&[], None, None, 50);
        let flux: Vec<&Trace> = shown.traces.iter().filter(|trace| trace.curve == "extractedFluxOptimal").collect();
        assert_eq!(flux.iter().map(|trace| trace.order).collect::<Vec<_>>(), [Some(10), Some(11)]);
        assert_eq!(flux[1].x, [1.0, 2.0]);
        assert_eq!(flux[1].low, [Some(10.0), Some(20.0)]);
        let errors: Vec<&Trace> = shown.traces.iter().filter(|trace| trace.curve == "varianceSpectrum").collect();
        assert_eq!(errors[0].high, [Some(4.0), None]);
        let curve = shown.curves.iter().find(|curve| curve.role == "error").unwrap();
        assert_eq!(curve.unit, "electron");
    }

    #[test]
    fn a_table_without_an_axis_is_no_spectrum() {
        assert!(Spectrum::of(&table(&[("FLUX", ReadValues::F64(vec![1.0]))])).is_none());
        assert!(Spectrum::of(&table(&[("WAVE", ReadValues::F64(vec![1.0]))])).is_none());
        let text = ReadValues::Text(vec!["a".to_string()]);
        assert!(Spectrum::of(&table(&[("WAVE", ReadValues::F64(vec![1.0])), ("ion", text)])).is_none());
    }
}
