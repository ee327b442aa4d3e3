//! Lines of the calibration lamps: wavelengths, ions, and which of them may constrain a solution where.
//!
//! What lives here: the checked loader of `calibrations/lines/*.csv`, whose heads say where the figures come from.
//! What never lives here: positions on a detector, see [`super::format`].

use std::sync::LazyLock;

use super::frame::Arm;

/// A line of a lamp.
#[derive(Clone, Debug, PartialEq)]
pub struct LampLine {
    /// Wavelength in air, nm.
    pub wavelength: f64,
    /// Ion: `ThI`, `NeI`; `unknown`.
    pub ion: String,
    /// Decimal logarithm of its strength on an arbitrary scale; 0 where none is known.
    pub intensity: f64,
    /// Orders in whose published table the line stands and where it may constrain a solution.
    pub published: Vec<u8>,
    /// Orders in which it may constrain a solution besides.
    pub added: Vec<u8>,
    /// Why it must not constrain a solution anywhere: `ion`, `unknown`, `position`, `single`.
    pub doubt: Option<String>,
}

impl LampLine {
    /// Whether the line may constrain the solution of an order.
    pub fn constrains(&self, order: u8) -> bool {
        self.doubt.is_none() && (self.published.contains(&order) || self.added.contains(&order))
    }

    /// The element without its state of ionisation: `Ne` of `NeI`.
    pub fn element(&self) -> &str {
        self.ion.trim_end_matches(['I', 'V', '0', '1'])
    }
}

/// Why a list of lines cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{file} line {line}: {reason}")]
pub struct LinesError {
    /// File, as it is named in the project.
    pub file: &'static str,
    /// Number of the line from 1.
    pub line: usize,
    /// What is wrong, with the value found.
    pub reason: String,
}

const VIS: (&str, &str) = ("calibrations/lines/thar_vis.csv", include_str!("../../calibrations/lines/thar_vis.csv"));
const NIR: (&str, &str) =
    ("calibrations/lines/arhgnexe_nir.csv", include_str!("../../calibrations/lines/arhgnexe_nir.csv"));

// the embedded files are part of the program: a test proves that they are valid
#[allow(clippy::expect_used)]
static VIS_LINES: LazyLock<Vec<LampLine>> = LazyLock::new(|| parse(Arm::Vis, VIS.0, VIS.1).expect("valid line list"));
#[allow(clippy::expect_used)]
static NIR_LINES: LazyLock<Vec<LampLine>> = LazyLock::new(|| parse(Arm::Nir, NIR.0, NIR.1).expect("valid line list"));

/// Lines of the lamps of an arm, by wavelength: thorium-argon for VIS, argon, mercury, neon and xenon for NIR. The
/// acquisition camera has none.
pub fn lamp_lines(arm: Arm) -> &'static [LampLine] {
    match arm {
        Arm::Vis => &VIS_LINES,
        Arm::Nir => &NIR_LINES,
        Arm::Acq => &[],
    }
}

fn parse(arm: Arm, file: &'static str, text: &str) -> Result<Vec<LampLine>, LinesError> {
    let mut lines: Vec<LampLine> = Vec::new();
    for (number, row) in (1..).zip(text.lines()) {
        if row.starts_with('#') || row.trim().is_empty() {
            continue;
        }
        let wrong = |reason: String| LinesError { file, line: number, reason };
        let fields: Vec<&str> = row.split(',').map(str::trim).collect();
        let real = |text: &str| text.parse::<f64>().map_err(|_| wrong(format!("{text:?} is no number")));
        let line = match (arm, fields.as_slice()) {
            (Arm::Vis, [wavelength, ion, intensity, published, added]) => LampLine {
                wavelength: real(wavelength)?,
                ion: (*ion).to_string(),
                intensity: real(intensity)?,
                published: orders(published).map_err(wrong)?,
                added: orders(added).map_err(wrong)?,
                doubt: None,
            },
            (Arm::Nir, [wavelength, ion, published, doubt]) => LampLine {
                wavelength: real(wavelength)?,
                ion: (*ion).to_string(),
                intensity: 0.0,
                published: orders(published).map_err(wrong)?,
                added: Vec::new(),
                doubt: match *doubt {
                    "-" => None,
                    "ion" | "unknown" | "position" | "single" => Some((*doubt).to_string()),
                    other => {
                        return Err(wrong(format!("doubt {other:?}, expected ion, unknown, position, single or -")));
                    }
                },
            },
            (_, fields) => return Err(wrong(format!("has {} fields, see the head of the file", fields.len()))),
        };
        if !(300.0..2500.0).contains(&line.wavelength) {
            return Err(wrong(format!("wavelength {} nm is out of range", line.wavelength)));
        }
        if lines.last().is_some_and(|last| last.wavelength >= line.wavelength) {
            return Err(wrong(format!("wavelength {} nm is not larger than the one before", line.wavelength)));
        }
        lines.push(line);
    }
    Ok(lines)
}

/// Order numbers joined by `+`.
fn orders(text: &str) -> Result<Vec<u8>, String> {
    if text == "-" {
        return Ok(Vec::new());
    }
    text.split('+').map(|part| part.parse::<u8>().map_err(|_| format!("{part:?} is no order"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_lists_are_valid() {
        let count = |arm: Arm, order: u8| lamp_lines(arm).iter().filter(|line| line.constrains(order)).count();
        assert_eq!(
            [1, 2, 3, 4].map(|order| lamp_lines(Arm::Vis).iter().filter(|l| l.published.contains(&order)).count()),
            [37, 34, 32, 31]
        );
        assert!([1, 2, 3, 4].into_iter().all(|order| count(Arm::Vis, order) > 100));
        assert!(
            (10..=24).all(|order| count(Arm::Nir, order) >= 7),
            "{:?}",
            (10..=24).map(|o| count(Arm::Nir, o)).collect::<Vec<_>>()
        );
        assert!(lamp_lines(Arm::Acq).is_empty());
    }

    #[test]
    fn no_doubtful_line_constrains() {
        for line in lamp_lines(Arm::Nir) {
            assert!(!(matches!(line.ion.as_str(), "ArII" | "NeII") && (10..25).any(|order| line.constrains(order))));
        }
        let wrong = lamp_lines(Arm::Nir).iter().find(|line| (line.wavelength - 1046.46).abs() < 1e-6).unwrap();
        assert_eq!((wrong.doubt.as_deref(), wrong.constrains(18)), (Some("position"), false));
    }

    #[test]
    fn elements() {
        let element = |ion: &str| {
            LampLine { wavelength: 1.0, ion: ion.into(), intensity: 0.0, published: vec![], added: vec![], doubt: None }
                .element()
                .to_string()
        };
        assert_eq!(["XeI", "NeII", "ArI", "Ar", "ThII", "HgI"].map(element), ["Xe", "Ne", "Ar", "Ar", "Th", "Hg"]);
    }

    #[test]
    fn a_bad_row_is_named() {
        let error = parse(Arm::Vis, "x.csv", "# head\n500.0,ThI,2.0,1,-\n400.0,ThI,2.0,1,-\n").unwrap_err();
        assert_eq!(error.to_string(), "x.csv line 3: wavelength 400 nm is not larger than the one before");
        assert!(parse(Arm::Nir, "x.csv", "900.0,NeI,17,perhaps\n").unwrap_err().to_string().contains("perhaps"));
        assert!(parse(Arm::Nir, "x.csv", "900.0,NeI\n").unwrap_err().to_string().contains("2 fields"));
    }
}
