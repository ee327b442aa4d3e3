//! The columns of a table of one row, each a cell of many values.

use crate::fits::{Anatomy, Part};

/// Bytes of a row beyond which it is not read: a spectrum of a million elements in ten columns.
const ROW_MAX: u64 = 100 << 20;

/// One cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// TTYPE.
    pub name: String,
    /// TUNIT.
    pub unit: String,
    /// TUTYP.
    pub utype: String,
    /// TUCD.
    pub ucd: String,
    /// Values; none for a column of text.
    pub values: Vec<f64>,
    /// Number of values that TFORM declares.
    pub repeat: usize,
    /// Integers?
    pub integer: bool,
}

/// The cells of the first row, or why they cannot be read.
pub fn cells(anatomy: &Anatomy, part: &Part) -> Result<Vec<Cell>, String> {
    let header = &part.header;
    let number = |keyword: &str| header.integer(keyword).map_err(|error| error.to_string());
    let (width, rows, fields) = (number("NAXIS1")?, number("NAXIS2")?, number("TFIELDS")?);
    if part.data_bytes > ROW_MAX {
        return Err(format!("a row of {} bytes is not read", part.data_bytes));
    }
    if rows < 1 {
        return Err("there is no row".to_string());
    }
    let bytes = anatomy.data(part).map_err(|error| error.to_string())?;
    let mut start = 0usize;
    let mut cells = Vec::new();
    for field in 1..=fields.min(999) {
        let word = |family: &str| header.text(&format!("{family}{field}")).unwrap_or_default().to_string();
        let form = word("TFORM");
        let (repeat, code) = form_of(&form).ok_or_else(|| format!("TFORM{field} = {form:?} is not read"))?;
        let size = repeat.checked_mul(code.size()).ok_or_else(|| format!("TFORM{field} = {form:?}"))?;
        let cell = bytes.get(start..start.saturating_add(size)).filter(|_| start + size <= width.max(0) as usize);
        let cell = cell.ok_or_else(|| format!("the columns need more than the {width} bytes of NAXIS1"))?;
        cells.push(Cell {
            name: word("TTYPE"),
            unit: word("TUNIT"),
            utype: word("TUTYP"),
            ucd: word("TUCD"),
            values: code.read(cell),
            repeat,
            integer: code.is_integer(),
        });
        start += size;
    }
    if start != width.max(0) as usize {
        return Err(format!("the columns need {start} bytes, NAXIS1 has {width}"));
    }
    Ok(cells)
}

/// Type of a column, by its letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(u8);

/// Repeat count and type of a TFORM; `None` for arrays of variable length and what is no TFORM.
pub fn form_of(form: &str) -> Option<(usize, Code)> {
    let digits = form.bytes().take_while(u8::is_ascii_digit).count();
    let code = form.as_bytes().get(digits).copied().filter(|code| b"LBIJKAED".contains(code))?;
    let repeat = if digits == 0 { 1 } else { form.get(..digits)?.parse().ok()? };
    (form.len() == digits + 1).then_some((repeat, Code(code)))
}

impl Code {
    /// Bytes of one value.
    fn size(self) -> usize {
        match self.0 {
            b'D' | b'K' => 8,
            b'E' | b'J' => 4,
            b'I' => 2,
            _ => 1,
        }
    }

    /// Integers?
    pub fn is_integer(self) -> bool {
        b"BIJK".contains(&self.0)
    }

    fn read(self, bytes: &[u8]) -> Vec<f64> {
        fn words<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f64) -> Vec<f64> {
            bytes.as_chunks::<N>().0.iter().map(|word| value(*word)).collect()
        }
        match self.0 {
            b'D' => words(bytes, f64::from_be_bytes),
            b'E' => words(bytes, |word| f64::from(f32::from_be_bytes(word))),
            b'K' => words(bytes, |word| i64::from_be_bytes(word) as f64),
            b'J' => words(bytes, |word| f64::from(i32::from_be_bytes(word))),
            b'I' => words(bytes, |word| f64::from(i16::from_be_bytes(word))),
            b'B' => bytes.iter().map(|byte| f64::from(*byte)).collect(),
            _ => Vec::new(),
        }
    }
}
