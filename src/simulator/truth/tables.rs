//! Tables of truth that hold for many frames, as CSV. The first lines, marked with `#`, say what each column means.

use std::fmt::Write;

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
        /// file name of the frame
        frame: String,
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
        /// file name of the frame
        frame: String,
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

row! {
    /// One point of the spectrum of a target.
    SpectrumRow {
        /// name of the target
        target: String,
        /// nm, air
        wavelength: f64,
        /// erg/s/cm2/Angstrom above the atmosphere
        flux: f64,
        /// share of the photons that become electrons, atmosphere and slit included
        efficiency: f64,
    }
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
