//! The detectors: geometry of raw images, default figures, and what a given raw image must look like.
//!
//! What lives here: the checked loader of `calibrations/detectors.toml` and the geometry of binned and windowed
//! read-outs. What never lives here: pixels, and measured quantities.

use std::ops::Range;
use std::sync::LazyLock;

use serde::Deserialize;

use super::frame::{Arm, Binning};

/// The figures of one detector. Limits are unbinned raw columns and rows, 0-based, half open.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Detector {
    /// Maker and model.
    pub name: String,
    /// Columns of the exposed area, first and one past the last.
    pub science_columns: [usize; 2],
    /// Rows of the exposed area, first and one past the last.
    pub science_rows: [usize; 2],
    /// Unexposed columns read before the exposed ones.
    pub prescan_columns: Option<[usize; 2]>,
    /// True when every column after the exposed area is overscan.
    pub overscan: bool,
    /// Widest raw image that is understood.
    pub max_columns: usize,
    /// Height of the raw image.
    pub rows: usize,
    /// Width of the border of reference pixels on all four sides; 0 for none.
    pub reference_border: usize,
    /// Whether the controller can bin.
    pub binned: bool,
    /// Default conversion factor, electrons per ADU.
    pub gain: f64,
    /// Plausible conversion factors, both ends included.
    pub gain_range: [f64; 2],
    /// Default read noise in electrons.
    pub ron: f64,
    /// ADU at and above which a value is saturated; 0 for no ceiling.
    pub saturation: f64,
    /// Pixel size in micrometres.
    pub pixel_size: f64,
}

/// Where things are in one raw image: columns and rows of that image, 0-based, half open.
#[derive(Clone, Debug, PartialEq)]
pub struct Geometry {
    /// Columns of the exposed area.
    pub columns: Range<usize>,
    /// Rows of the exposed area.
    pub rows: Range<usize>,
    /// Unexposed columns beside the exposed area, read in the same rows: prescan, overscan, reference pixels.
    pub side_columns: Vec<Range<usize>>,
    /// Unexposed rows above and below it (reference pixels).
    pub edge_rows: Vec<Range<usize>>,
}

impl Geometry {
    /// Shape of the trimmed image, rows x columns.
    pub fn shape(&self) -> (usize, usize) {
        (self.rows.len(), self.columns.len())
    }
}

/// Why the table of detectors or a raw image cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DetectorError {
    /// The file is not the TOML that is expected; the cause names line and key.
    #[error("detector table cannot be read: {0}")]
    Syntax(String),
    /// A value contradicts itself or another one.
    #[error("detector table, key {key} = {found}: {reason}")]
    Value {
        /// Arm and key: `VIS.gain`.
        key: String,
        /// Value found.
        found: String,
        /// What is allowed.
        reason: String,
    },
    /// The image has a shape that this detector does not deliver.
    #[error(
        "NAXIS1 x NAXIS2 = {columns} x {rows} at binning {binning} does not fit the {arm} detector, which gives {expected}; \
         check the read-out window, or describe the new one in calibrations/detectors.toml"
    )]
    Shape {
        /// Arm.
        arm: Arm,
        /// Columns found.
        columns: usize,
        /// Rows found.
        rows: usize,
        /// Binning of the frame.
        binning: Binning,
        /// What would fit.
        expected: String,
    },
    /// The binning does not exist for this detector.
    #[error("binning {binning} (DET BINX, DET BINY) does not exist for the {arm} detector; expected {expected}")]
    Binning {
        /// Arm.
        arm: Arm,
        /// Binning found.
        binning: Binning,
        /// What would fit.
        expected: &'static str,
    },
}

/// The detectors of the three arms.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Detectors {
    #[serde(rename = "VIS")]
    vis: Detector,
    #[serde(rename = "NIR")]
    nir: Detector,
    #[serde(rename = "ACQ")]
    acq: Detector,
}

impl Detectors {
    /// Read and check a table. Errors name the key.
    pub fn parse(text: &str) -> Result<Detectors, DetectorError> {
        let table: Detectors = toml::from_str(text).map_err(|error| DetectorError::Syntax(error.to_string()))?;
        for arm in [Arm::Vis, Arm::Nir, Arm::Acq] {
            table.of(arm).check(arm)?;
        }
        Ok(table)
    }

    /// The detector of an arm.
    pub fn of(&self, arm: Arm) -> &Detector {
        match arm {
            Arm::Vis => &self.vis,
            Arm::Nir => &self.nir,
            Arm::Acq => &self.acq,
        }
    }
}

#[allow(clippy::expect_used)]
static EMBEDDED: LazyLock<Detectors> = LazyLock::new(|| {
    // The embedded table is part of the program: the test `embedded_table_is_valid` proves that this cannot fail.
    Detectors::parse(include_str!("../../calibrations/detectors.toml")).expect("the embedded detector table is valid")
});

impl Detector {
    /// The detector of an arm, from the embedded table.
    pub fn of(arm: Arm) -> &'static Detector {
        EMBEDDED.of(arm)
    }

    /// Where things are in a raw image of `columns` x `rows` at this binning.
    ///
    /// The image may end right after the exposed area (no overscan) or hold exactly the exposed area (no prescan
    /// either). Any other shape is an error: guessing would move the spectra.
    pub fn geometry(
        &self,
        arm: Arm,
        columns: usize,
        rows: usize,
        binning: Option<Binning>,
    ) -> Result<Geometry, DetectorError> {
        let bin = binning.unwrap_or(Binning { x: 1, y: 1 });
        let unbinned = bin.x == 1 && bin.y == 1;
        if bin.x == 0 || bin.y == 0 || (!self.binned && !unbinned) {
            let expected = if self.binned { "1 or more on each axis" } else { "1x1 or no binning keywords" };
            return Err(DetectorError::Binning { arm, binning: bin, expected });
        }
        let science = self.science_columns[0] / bin.x..self.science_columns[1] / bin.x;
        let science_rows = self.science_rows[0] / bin.y..self.science_rows[1] / bin.y;
        let (width, height) = (science.len(), science_rows.len());
        let full_rows = self.rows / bin.y;
        let widest = self.max_columns / bin.x;

        if width > 0 && height > 0 && columns == width && rows == height {
            return Ok(Geometry { columns: 0..width, rows: 0..height, side_columns: vec![], edge_rows: vec![] });
        }
        let border = self.reference_border;
        let wide_enough = if border > 0 { columns == widest } else { (science.end..=widest).contains(&columns) };
        if width == 0 || height == 0 || !wide_enough || rows != full_rows {
            let span = if border > 0 || science.end == widest {
                widest.to_string()
            } else {
                format!("{}..{widest}", science.end)
            };
            let expected = format!("{span} x {full_rows}, or {width} x {height} for the science window alone");
            return Err(DetectorError::Shape { arm, columns, rows, binning: bin, expected });
        }
        let mut side_columns = Vec::new();
        let mut edge_rows = Vec::new();
        if let Some([first, end]) = self.prescan_columns {
            side_columns.push(first / bin.x..end / bin.x);
        }
        if self.overscan {
            side_columns.push(science.end..columns);
        }
        if border > 0 {
            side_columns.extend([0..border, columns - border..columns]);
            edge_rows.extend([0..border, rows - border..rows]);
        }
        side_columns.retain(|range| !range.is_empty());
        Ok(Geometry { columns: science, rows: science_rows, side_columns, edge_rows })
    }

    /// True when a conversion factor can be that of this detector.
    pub fn gain_is_plausible(&self, gain: f64) -> bool {
        gain >= self.gain_range[0] && gain <= self.gain_range[1]
    }

    fn check(&self, arm: Arm) -> Result<(), DetectorError> {
        let wrong = |key: &str, found: String, reason: &str| {
            Err(DetectorError::Value { key: format!("{arm}.{key}"), found, reason: reason.to_string() })
        };
        let [first, end] = self.science_columns;
        if first >= end || end > self.max_columns {
            return wrong(
                "science_columns",
                format!("{:?}", self.science_columns),
                "must be a range within max_columns",
            );
        }
        if self.science_rows[0] >= self.science_rows[1] || self.science_rows[1] > self.rows {
            return wrong("science_rows", format!("{:?}", self.science_rows), "must be a range within rows");
        }
        if let Some([a, b]) = self.prescan_columns
            && (a >= b || b > first)
        {
            return wrong(
                "prescan_columns",
                format!("{:?}", [a, b]),
                "must be a range that ends before science_columns",
            );
        }
        let border = self.reference_border;
        if border > 0
            && (first < border
                || end + border > self.max_columns
                || self.science_rows[0] < border
                || self.science_rows[1] + border > self.rows)
        {
            return wrong("reference_border", border.to_string(), "must not overlap the science area");
        }
        let [low, high] = self.gain_range;
        if !(low > 0.0 && low < high && high.is_finite()) {
            return wrong("gain_range", format!("{:?}", self.gain_range), "must be two rising positive numbers");
        }
        if !self.gain_is_plausible(self.gain) {
            return wrong("gain", self.gain.to_string(), "must lie within gain_range");
        }
        for (key, value) in [("ron", self.ron), ("pixel_size", self.pixel_size)] {
            if !(value > 0.0 && value.is_finite()) {
                return wrong(key, value.to_string(), "must be a positive number");
            }
        }
        if !(self.saturation >= 0.0 && self.saturation.is_finite()) {
            return wrong("saturation", self.saturation.to_string(), "must be 0 or a positive number");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = include_str!("../../calibrations/detectors.toml");

    fn bin(x: usize, y: usize) -> Option<Binning> {
        Some(Binning { x, y })
    }

    #[test]
    fn embedded_table_is_valid() {
        Detectors::parse(TEXT).unwrap();
        assert_eq!(Detector::of(Arm::Nir).reference_border, 4);
    }

    #[test]
    fn vis_geometry_follows_binning_and_window() {
        let vis = Detector::of(Arm::Vis);
        let full = vis.geometry(Arm::Vis, 908, 4096, bin(1, 1)).unwrap();
        assert_eq!((full.columns.clone(), full.rows.clone()), (50..858, 0..4096));
        assert_eq!(full.side_columns, vec![0..50, 858..908]);
        assert_eq!(vis.geometry(Arm::Vis, 454, 4096, bin(2, 1)).unwrap().shape(), (4096, 404));
        assert_eq!(vis.geometry(Arm::Vis, 454, 2048, bin(2, 2)).unwrap().shape(), (2048, 404));
        assert_eq!(vis.geometry(Arm::Vis, 858, 4096, None).unwrap().side_columns, vec![0..50]);
        let bare = vis.geometry(Arm::Vis, 808, 4096, bin(1, 1)).unwrap();
        assert_eq!((bare.columns, bare.side_columns), (0..808, vec![]));
    }

    #[test]
    fn nir_geometry_has_its_reference_border() {
        let nir = Detector::of(Arm::Nir).geometry(Arm::Nir, 2048, 2048, None).unwrap();
        assert_eq!((nir.columns, nir.rows), (4..2044, 4..2044));
        assert_eq!(nir.side_columns, vec![0..4, 2044..2048]);
        assert_eq!(nir.edge_rows, vec![0..4, 2044..2048]);
    }

    #[test]
    fn other_shapes_are_refused_with_the_expected_one() {
        let vis = Detector::of(Arm::Vis);
        for (columns, rows) in [(809, 4096), (857, 4096), (1025, 4096), (908, 4095), (0, 0)] {
            let text = vis.geometry(Arm::Vis, columns, rows, bin(1, 1)).unwrap_err().to_string();
            assert!(text.contains("858..1024 x 4096"), "{text}");
        }
        assert!(vis.geometry(Arm::Vis, 908, 4096, bin(0, 1)).is_err());
        assert!(vis.geometry(Arm::Vis, 908, 4096, bin(100_000, 1)).is_err());
        assert!(Detector::of(Arm::Nir).geometry(Arm::Nir, 1024, 1024, bin(2, 2)).is_err());
        assert!(Detector::of(Arm::Nir).geometry(Arm::Nir, 2047, 2048, None).is_err());
    }

    #[test]
    fn a_bad_table_names_its_key() {
        let swapped = TEXT.replacen("gain = 1.0", "gain = 9.0", 1);
        assert!(Detectors::parse(&swapped).unwrap_err().to_string().contains("VIS.gain = 9"));
        let unknown = TEXT.replacen("gain = 1.0", "gian = 1.0", 1);
        assert!(Detectors::parse(&unknown).unwrap_err().to_string().contains("gian"));
    }
}
