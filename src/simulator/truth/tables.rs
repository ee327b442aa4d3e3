//! Tables of truth. Those in CSV say in their first lines, marked with `#`, what each column means.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::fits::{ColumnData, ColumnValues};
use crate::simulator::camera::CameraTruth;
use crate::simulator::optics::Collected;

/// A row of a table.
pub trait Row {
    /// Name and meaning of each column, with its unit.
    const COLUMNS: &'static [(&'static str, &'static str)];

    /// One cell a column.
    fn cells(&self) -> Vec<String>;
}

/// A row from fields of one name and number each.
macro_rules! row {
    ($(#[$doc:meta])* $name:ident { $($(#[doc = $meaning:literal])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $($(#[doc = $meaning])* pub $field: $type,)*
        }

        impl Row for $name {
            const COLUMNS: &'static [(&'static str, &'static str)] =
                &[$((stringify!($field), concat!($($meaning),*)),)*];

            fn cells(&self) -> Vec<String> {
                vec![$(cell(&self.$field.to_string()),)*]
            }
        }
    };
}

row! {
    /// One knot of the geometry of an arm: where light of an order and a place on the slit falls.
    DispersionRow {
        /// order number
        order: u8,
        /// nm, air
        wavelength: f64,
        /// arcsec along the slit from its centre
        slit: f64,
        /// column of the trimmed unbinned frame, 0-based, integer at the centre of a pixel
        x: f64,
        /// row, likewise
        y: f64,
    }
}

row! {
    /// One arc line through one pinhole, or at the centre of a slit.
    LineRow {
        /// order number
        order: u8,
        /// nm, air
        wavelength: f64,
        /// arcsec of the pinhole along the slit
        slit: f64,
        /// column of the trimmed unbinned frame, 0-based
        x: f64,
        /// row, likewise
        y: f64,
        /// electrons in the frame, all pixels of the line
        flux: f64,
        /// FWHM along the dispersion, pixels
        fwhm: f64,
    }
}

row! {
    /// One point of the trace of a source.
    TraceRow {
        /// place of the source in the list of the frame, from 0
        source: usize,
        /// order number
        order: u8,
        /// nm, air
        wavelength: f64,
        /// arcsec of the source along the slit
        slit: f64,
        /// column of the trimmed unbinned frame, 0-based
        x: f64,
        /// row, likewise
        y: f64,
        /// FWHM along the slit, arcsec
        fwhm: f64,
    }
}

/// What an ideal extraction would find of one beam of a frame: a table of `spectra/<name>.fits`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SpectrumTable {
    /// EXTNAME: `SKY`, or `SOURCE` with the place in the list of the frame.
    pub name: String,
    /// Order number of each row.
    pub order: Vec<i64>,
    /// Pixel along the dispersion of the trimmed unbinned frame.
    pub pixel: Vec<i64>,
    /// nm, air, at the centre of the pixel and the centre of the slit.
    pub wavelength: Vec<f64>,
    /// nm per pixel.
    pub dispersion: Vec<f64>,
    /// Electrons in the frame: of a source all that fall between the ends of the slit, of the sky those of one arcsec along it.
    pub electrons: Vec<f64>,
    /// Of a source, erg/s/cm2/Angstrom above the atmosphere, not spread; NaN for the sky.
    pub flux: Vec<f64>,
    /// Share of a source's light in the slit plane that passes the slit; NaN for the sky.
    pub passed: Vec<f64>,
}

impl SpectrumTable {
    /// From what was collected; `source` gives flux and share at a wavelength.
    pub fn of(name: &str, collected: &[Collected], source: impl Fn(f64) -> (f64, f64)) -> SpectrumTable {
        let (flux, passed) = collected.iter().map(|pixel| source(pixel.wavelength)).unzip();
        SpectrumTable {
            name: name.to_string(),
            order: collected.iter().map(|pixel| i64::from(pixel.order)).collect(),
            pixel: collected.iter().map(|pixel| pixel.pixel as i64).collect(),
            wavelength: collected.iter().map(|pixel| pixel.wavelength).collect(),
            dispersion: collected.iter().map(|pixel| pixel.dispersion).collect(),
            electrons: collected.iter().map(|pixel| pixel.electrons).collect(),
            flux,
            passed,
        }
    }

    /// As columns of a FITS table.
    pub fn columns(&self) -> [ColumnData<'_>; 7] {
        let column = |name, unit, values| ColumnData { name, unit, values };
        [
            column("ORDER", "", ColumnValues::I64(&self.order)),
            column("PIXEL", "pixel", ColumnValues::I64(&self.pixel)),
            column("WAVE", "nm", ColumnValues::F64(&self.wavelength)),
            column("DWAVE", "nm/pixel", ColumnValues::F64(&self.dispersion)),
            column("ELECTRONS", "electron", ColumnValues::F64(&self.electrons)),
            column("FLUX", "erg/s/cm2/Angstrom", ColumnValues::F64(&self.flux)),
            column("PASSED", "", ColumnValues::F64(&self.passed)),
        ]
    }
}

/// The tables that hold for one frame.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FrameTables {
    /// Geometry on a grid.
    pub dispersion: Vec<DispersionRow>,
    /// Lines of lamps.
    pub lines: Vec<LineRow>,
    /// Traces of sources.
    pub traces: Vec<TraceRow>,
    /// Spectra of the sky and of sources.
    pub spectra: Vec<SpectrumTable>,
    /// A picture of the acquisition camera: zero point, relation of sky and pixels, and every source.
    pub field: Option<CameraTruth>,
    /// Rows of the star catalogue around the pointing, by the name of their file.
    pub catalogue: BTreeMap<String, Vec<String>>,
}

/// The text of a table.
pub fn csv<R: Row>(rows: impl IntoIterator<Item = R>) -> String {
    let mut text = String::new();
    for (name, meaning) in R::COLUMNS {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# {name}: {}", meaning.trim());
    }
    let names: Vec<&str> = R::COLUMNS.iter().map(|(name, _)| *name).collect();
    text.push_str(&names.join(","));
    text.push('\n');
    for row in rows {
        text.push_str(&row.cells().join(","));
        text.push('\n');
    }
    text
}

fn cell(text: &str) -> String {
    quoted(text)
}

/// A cell in quotes if it needs them.
pub(super) fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_string() }
}
