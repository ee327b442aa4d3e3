//! Lines of the night sky that tell how far the spectrograph has bent.
//!
//! What lives here: the checked loader of `calibrations/airglow.csv`, whose head says where the figures come from.

use std::sync::LazyLock;

/// A line of the night sky.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SkyLine {
    /// Wavelength in air, nm.
    pub wavelength: f64,
    /// Photons per second, square metre and square arcsecond on an average night.
    pub photons: f64,
}

/// Why the list cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("calibrations/airglow.csv line {line}: {reason}")]
pub struct AirglowError {
    /// Number of the line from 1.
    pub line: usize,
    /// What is wrong, with the value found.
    pub reason: String,
}

// the embedded file is part of the program: a test proves that it is valid
#[allow(clippy::expect_used)]
static LINES: LazyLock<Vec<SkyLine>> =
    LazyLock::new(|| parse(include_str!("../../calibrations/airglow.csv")).expect("valid list of sky lines"));

/// All lines, by wavelength.
pub fn lines() -> &'static [SkyLine] {
    &LINES
}

fn parse(text: &str) -> Result<Vec<SkyLine>, AirglowError> {
    let mut lines: Vec<SkyLine> = Vec::new();
    for (number, row) in (1..).zip(text.lines()) {
        if row.starts_with('#') || row.starts_with("wavelength_nm") || row.trim().is_empty() {
            continue;
        }
        let wrong = |reason: String| AirglowError { line: number, reason };
        let mut fields = row.split(',').map(str::trim);
        let mut real = |name: &str| {
            let text = fields.next().unwrap_or("");
            text.parse::<f64>().map_err(|_| wrong(format!("{name} {text:?} is no number")))
        };
        let line = SkyLine { wavelength: real("wavelength_nm")?, photons: real("photons")? };
        if !(300.0..2500.0).contains(&line.wavelength) || line.photons.is_nan() || line.photons <= 0.0 {
            return Err(wrong(format!("{} nm with {} photons is out of range", line.wavelength, line.photons)));
        }
        if lines.last().is_some_and(|last| last.wavelength > line.wavelength) {
            return Err(wrong(format!("{} nm is less than the wavelength before", line.wavelength)));
        }
        lines.push(line);
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_valid_and_has_the_green_line() {
        let green = lines().iter().find(|line| (line.wavelength - 557.734).abs() < 0.01).unwrap();
        assert!(lines().len() > 2000 && green.photons > 1.0, "{green:?}");
    }

    #[test]
    fn a_bad_row_is_named() {
        for (text, expected) in [
            ("wavelength_nm,photons\n557.7,x", "line 2: photons \"x\""),
            ("# head\n99.0,1.0,OH", "line 2: 99 nm"),
            ("700.0,1.0\n600.0,1.0", "line 2: 600 nm is less"),
            ("700.0,NaN", "out of range"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
