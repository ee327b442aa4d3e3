//! What the lines of an arc say about their list: the offset of each lamp element from the common solution.
//!
//! All lamps are on together, so a list whose wavelengths are right gives every element an offset of zero. An element that
//! stands off was measured at another time, is misidentified, or its lines are blended.

use std::collections::BTreeMap;

use super::tables::{Column, Table};
use crate::numerics::robust::{MAD_TO_SIGMA, median_f64};
use crate::quality::QcMetric;

/// One image of a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LineOffset<'a> {
    /// Element of the lamp: `Ne`.
    pub element: &'a str,
    /// Which line of the list; images of one line through several pinholes share it.
    pub line: usize,
    /// Measured less fitted place along the dispersion, towards longer wavelengths, pixels.
    pub pixels: f64,
    /// The same in nm.
    pub nanometres: f64,
}

/// An element's lines taken together.
#[derive(Clone, Debug, PartialEq)]
pub struct ElementOffset {
    /// Element.
    pub element: String,
    /// Lines.
    pub lines: usize,
    /// Median over the lines, and its standard error: pixels.
    pub pixels: (f64, f64),
    /// The same in nm.
    pub nanometres: (f64, f64),
}

/// Fewest lines whose scatter tells the error of their median.
const FEWEST: usize = 4;
/// Standard error of a median in those of a mean, for Gaussian scatter.
const MEDIAN_ERROR: f64 = 1.2533;

/// Offsets by element, in alphabetical order. A line counts once, with the median of its images; elements of fewer than
/// four lines are left out.
pub fn element_offsets(offsets: &[LineOffset]) -> Vec<ElementOffset> {
    let mut lines: BTreeMap<(&str, usize), [Vec<f64>; 2]> = BTreeMap::new();
    for offset in offsets.iter().filter(|offset| offset.pixels.is_finite() && offset.nanometres.is_finite()) {
        let images = lines.entry((offset.element, offset.line)).or_default();
        images[0].push(offset.pixels);
        images[1].push(offset.nanometres);
    }
    let mut elements: BTreeMap<&str, [Vec<f64>; 2]> = BTreeMap::new();
    for ((element, _), mut images) in lines {
        let values = elements.entry(element).or_default();
        for (values, images) in values.iter_mut().zip(&mut images) {
            values.extend(median_f64(images));
        }
    }
    elements
        .into_iter()
        .filter(|(_, values)| values[0].len() >= FEWEST)
        .filter_map(|(element, [mut pixels, mut nanometres])| {
            let lines = pixels.len();
            let pixels = median_and_error(&mut pixels)?;
            let nanometres = median_and_error(&mut nanometres)?;
            Some(ElementOffset { element: element.to_string(), lines, pixels, nanometres })
        })
        .collect()
}

fn median_and_error(values: &mut [f64]) -> Option<(f64, f64)> {
    let median = median_f64(values)?;
    let mut sizes: Vec<f64> = values.iter().map(|value| (value - median).abs()).collect();
    let scatter = MAD_TO_SIGMA * median_f64(&mut sizes)?;
    Some((median, MEDIAN_ERROR * scatter / (values.len() as f64).sqrt()))
}

/// The table `ELEMENTS`: one row an element.
pub fn element_table(elements: &[ElementOffset]) -> Table {
    let real = |name: &str, unit: &str, value: fn(&ElementOffset) -> f64| {
        Column::real(name, unit, elements.iter().map(value).collect())
    };
    Table {
        name: "ELEMENTS".to_string(),
        columns: vec![
            Column::text("element", elements.iter().map(|one| one.element.clone()).collect()),
            Column::integer("lines", elements.iter().map(|one| one.lines as i64).collect()),
            real("offset_px", "pixel", |one| one.pixels.0),
            real("offset_px_error", "pixel", |one| one.pixels.1),
            real("offset_nm", "nm", |one| one.nanometres.0),
            real("offset_nm_error", "nm", |one| one.nanometres.1),
        ],
    }
}

/// Metrics: the offset of each element and its error, in pixels.
pub fn element_qc(elements: &[ElementOffset]) -> Vec<QcMetric> {
    let metrics = elements.iter().flat_map(|one| {
        let name = format!("OFFSET {}", one.element.to_uppercase());
        let text = format!("median of {} lines of {}, measured - fitted", one.lines, one.element);
        let error = QcMetric::measured(&format!("{name} ERR"), one.pixels.1, "pixels", "its standard error");
        [QcMetric::measured(&name, one.pixels.0, "pixels", &text), error]
    });
    metrics.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets() -> Vec<LineOffset<'static>> {
        let mut all = Vec::new();
        for line in 0..20 {
            // nine images of each line; one of them is a wild one, and one line is misidentified
            for pinhole in 0..9 {
                let scatter = 0.02 * f64::from((line * 7 % 11) - 5) / 5.0;
                let wild = if pinhole == 4 { 3.0 } else { 0.0 };
                let wrong = if line == 3 { 5.0 } else { 0.0 };
                let pixels = 0.4 + scatter + wild + wrong;
                all.push(LineOffset { element: "Ar", line: line as usize, pixels, nanometres: 0.05 * pixels });
                all.push(LineOffset { element: "Ne", line: 100 + line as usize, pixels: scatter, nanometres: 0.0 });
            }
        }
        all.push(LineOffset { element: "Hg", line: 900, pixels: 1.0, nanometres: 1.0 });
        all.push(LineOffset { element: "Ne", line: 901, pixels: f64::NAN, nanometres: 0.0 });
        all
    }

    #[test]
    fn an_element_that_stands_off_is_told_with_its_error() {
        let found = element_offsets(&offsets());
        // one line is no statistic
        assert_eq!(
            found.iter().map(|one| (one.element.as_str(), one.lines)).collect::<Vec<_>>(),
            [("Ar", 20), ("Ne", 20)]
        );
        let (offset, error) = found[0].pixels;
        assert!((offset - 0.4).abs() < 0.01 && (0.001..0.01).contains(&error), "{offset} {error}");
        assert!((found[0].nanometres.0 - 0.05 * offset).abs() < 1e-12);
        assert!(found[1].pixels.0.abs() < 0.01);
    }

    #[test]
    fn table_and_metrics_have_a_row_an_element() {
        let found = element_offsets(&offsets());
        let table = element_table(&found);
        let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["element", "lines", "offset_px", "offset_px_error", "offset_nm", "offset_nm_error"]);
        assert_eq!((table.rows(), table.text("element").unwrap()[0].as_str()), (2, "Ar"));
        let qc = element_qc(&found);
        let names: Vec<&str> = qc.iter().map(|metric| metric.name.as_str()).collect();
        assert_eq!(names, ["OFFSET AR", "OFFSET AR ERR", "OFFSET NE", "OFFSET NE ERR"]);
        assert_eq!(qc[0].number(), Some(found[0].pixels.0));
        assert!(element_table(&[]).rows() == 0 && element_qc(&[]).is_empty());
    }
}
