//! Binary tables: columns of numbers and text, packed into the rows of a BINTABLE extension and back.
//!
//! Rows are packed and summed here and handed to cfitsio as finished bytes, so that equal tables are equal files.
//! What never lives here: what a column means.

use std::path::Path;

use super::cfitsio::Status;
use super::error::FitsError;
use super::header::Header;

/// The values of a column to write; borrowed, so that nothing is copied on the way.
#[derive(Clone, Copy, Debug)]
pub enum ColumnValues<'a> {
    /// TFORM `D`.
    F64(&'a [f64]),
    /// TFORM `K`.
    I64(&'a [i64]),
    /// TFORM `nA`, as wide as the longest text. Printable ASCII only.
    Text(&'a [String]),
    /// All values in the cell of a single row, TFORM `nD`.
    CellF64(&'a [f64]),
    /// All values in the cell of a single row, TFORM `nE`.
    CellF32(&'a [f32]),
    /// All values in the cell of a single row, TFORM `nJ`.
    CellI32(&'a [i32]),
}

impl ColumnValues<'_> {
    fn len(&self) -> usize {
        match self {
            ColumnValues::F64(values) => values.len(),
            ColumnValues::I64(values) => values.len(),
            ColumnValues::Text(values) => values.len(),
            ColumnValues::CellF64(_) | ColumnValues::CellF32(_) | ColumnValues::CellI32(_) => 1,
        }
    }

    fn is_cell(&self) -> bool {
        matches!(self, ColumnValues::CellF64(_) | ColumnValues::CellF32(_) | ColumnValues::CellI32(_))
    }

    /// Bytes of one value, or cell, in a row.
    fn width(&self) -> usize {
        match self {
            ColumnValues::F64(_) | ColumnValues::I64(_) => 8,
            ColumnValues::Text(values) => values.iter().map(String::len).max().unwrap_or(0).max(1),
            ColumnValues::CellF64(values) => 8 * values.len(),
            ColumnValues::CellF32(values) => 4 * values.len(),
            ColumnValues::CellI32(values) => 4 * values.len(),
        }
    }

    fn form(&self) -> String {
        match self {
            ColumnValues::F64(_) => "D".to_string(),
            ColumnValues::I64(_) => "K".to_string(),
            ColumnValues::Text(_) => format!("{}A", self.width()),
            ColumnValues::CellF64(values) => format!("{}D", values.len()),
            ColumnValues::CellF32(values) => format!("{}E", values.len()),
            ColumnValues::CellI32(values) => format!("{}J", values.len()),
        }
    }
}

/// A column to write.
#[derive(Clone, Debug)]
pub struct ColumnData<'a> {
    /// TTYPE.
    pub name: &'a str,
    /// TUNIT; empty for none.
    pub unit: &'a str,
    /// The values; all columns of a table have equally many.
    pub values: ColumnValues<'a>,
}

/// Why columns are no table, if they are none.
pub(super) fn problem(columns: &[ColumnData<'_>]) -> Option<String> {
    let rows = columns.first().map_or(0, |column| column.values.len());
    columns.iter().find_map(|column| {
        if column.values.len() != rows {
            return Some(format!("column {} has {} rows, the first has {rows}", column.name, column.values.len()));
        }
        let ColumnValues::Text(values) = column.values else { return None };
        let bad = values.iter().find(|text| !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)))?;
        Some(format!("column {} holds {bad:?}; only printable ASCII can stand in a table", column.name))
    })
}

/// The cards that describe a table's structure, those before TFIELDS excepted.
pub(super) fn describe(header: &mut Header, columns: &[ColumnData<'_>]) {
    for (number, column) in (1..).zip(columns) {
        header.set(&format!("TTYPE{number}"), column.name, "");
        header.set(&format!("TFORM{number}"), column.values.form(), "");
        // A cell is an array with a unit, even when it is that of a pure number: archives want to read so.
        if !column.unit.is_empty() || column.values.is_cell() {
            header.set(&format!("TUNIT{number}"), column.unit, "");
        }
    }
}

/// Bytes of a row, and rows.
pub(super) fn shape(columns: &[ColumnData<'_>]) -> (usize, usize) {
    let rows = columns.first().map_or(0, |column| column.values.len());
    (columns.iter().map(|column| column.values.width()).sum(), rows)
}

/// The data unit without its padding: rows one after the other, numbers big-endian, text padded with zero bytes.
pub(super) fn pack(columns: &[ColumnData<'_>]) -> Vec<u8> {
    let (width, rows) = shape(columns);
    // The width of a text column is found by looking at all of it.
    let ends: Vec<usize> = columns
        .iter()
        .scan(0, |end, column| {
            *end += column.values.width();
            Some(*end)
        })
        .collect();
    let mut bytes = Vec::with_capacity(width * rows);
    for row in 0..rows {
        for (column, end) in columns.iter().zip(&ends) {
            // Every column has `rows` values: `problem` was asked first.
            match column.values {
                ColumnValues::F64(values) => bytes.extend(values[row].to_be_bytes()),
                ColumnValues::I64(values) => bytes.extend(values[row].to_be_bytes()),
                ColumnValues::Text(values) => {
                    bytes.extend_from_slice(values[row].as_bytes());
                    bytes.resize(row * width + end, 0);
                }
                ColumnValues::CellF64(values) => bytes.extend(values.iter().flat_map(|value| value.to_be_bytes())),
                ColumnValues::CellF32(values) => bytes.extend(values.iter().flat_map(|value| value.to_be_bytes())),
                ColumnValues::CellI32(values) => bytes.extend(values.iter().flat_map(|value| value.to_be_bytes())),
            }
        }
    }
    bytes
}

/// The values of a column that was read.
#[derive(Clone, Debug, PartialEq)]
pub enum ReadValues {
    /// From `D` and `E`.
    F64(Vec<f64>),
    /// From `K`, `J`, `I` and `B`.
    I64(Vec<i64>),
    /// From `nA`, without padding.
    Text(Vec<String>),
}

/// A column that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadColumn {
    /// TTYPE.
    pub name: String,
    /// TUNIT; empty for none.
    pub unit: String,
    /// One value a row; of a table of one row all values of its cell.
    pub values: ReadValues,
}

/// A table that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadTable {
    /// EXTNAME, if the header has one.
    pub extname: Option<String>,
    /// All cards of this HDU.
    pub header: Header,
    /// Columns in order.
    pub columns: Vec<ReadColumn>,
}

/// How the values of a column lie in a row.
struct Layout {
    name: String,
    unit: String,
    code: u8,
    /// Bytes of a number; of a whole text.
    size: usize,
    /// Bytes of the cell.
    width: usize,
}

/// Bytes of a row, rows, and the layout of each column, from a table's header.
pub(super) struct Plan {
    pub width: usize,
    pub rows: usize,
    columns: Vec<Layout>,
}

/// Largest data unit that is read back as a table.
const BYTES_MAX: i64 = 1 << 30;

impl Plan {
    /// Names and units of the columns.
    pub fn columns(&self) -> Vec<(String, String)> {
        self.columns.iter().map(|column| (column.name.clone(), column.unit.clone())).collect()
    }

    /// From the header of a BINTABLE; `Err` says what our tables never have.
    pub fn of(header: &Header) -> Result<Plan, String> {
        let number = |keyword: &str| header.integer(keyword).map_err(|error| error.to_string());
        let (width, rows, fields) = (number("NAXIS1")?, number("NAXIS2")?, number("TFIELDS")?);
        let sound = width >= 0 && rows >= 0 && (0..=999).contains(&fields);
        if !sound || width.checked_mul(rows).is_none_or(|bytes| bytes > BYTES_MAX) {
            return Err(format!(
                "{rows} rows of {width} bytes in {fields} columns; at most {BYTES_MAX} bytes are read"
            ));
        }
        let columns: Vec<Layout> = (1..=fields).map(|field| layout(header, field)).collect::<Result<_, String>>()?;
        if let Some(column) = columns.iter().find(|column| rows != 1 && column.width != column.size) {
            return Err(format!(
                "column {} has several numbers in each of {rows} rows; they are read of one row only",
                column.name
            ));
        }
        let declared: usize = columns.iter().map(|column| column.width).sum();
        if declared as i64 != width {
            return Err(format!("columns of {declared} bytes in rows of {width}"));
        }
        Ok(Plan { width: declared, rows: rows as usize, columns })
    }

    /// Columns from the `width * rows` bytes of the data unit. The numbers of a cell of a single row become the column's
    /// values, one after the other.
    pub fn unpack(&self, bytes: &[u8]) -> Vec<ReadColumn> {
        let mut start = 0;
        let mut columns = Vec::with_capacity(self.columns.len());
        for layout in &self.columns {
            let cells = bytes.chunks_exact(self.width.max(1)).filter_map(|row| row.get(start..start + layout.width));
            if layout.code == b'A' {
                let values = ReadValues::Text(cells.map(text).collect());
                columns.push(ReadColumn { name: layout.name.clone(), unit: layout.unit.clone(), values });
                start += layout.width;
                continue;
            }
            let cells = cells.flat_map(|cell| cell.chunks_exact(layout.size.max(1)));
            let values = match layout.code {
                b'D' => ReadValues::F64(cells.map(|cell| f64::from_be_bytes(word(cell))).collect()),
                b'E' => ReadValues::F64(cells.map(|cell| f64::from(f32::from_be_bytes(word(cell)))).collect()),
                b'K' => ReadValues::I64(cells.map(|cell| i64::from_be_bytes(word(cell))).collect()),
                b'J' => ReadValues::I64(cells.map(|cell| i64::from(i32::from_be_bytes(word(cell)))).collect()),
                b'I' => ReadValues::I64(cells.map(|cell| i64::from(i16::from_be_bytes(word(cell)))).collect()),
                _ => ReadValues::I64(cells.map(|cell| i64::from(u8::from_be_bytes(word(cell)))).collect()),
            };
            columns.push(ReadColumn { name: layout.name.clone(), unit: layout.unit.clone(), values });
            start += layout.width;
        }
        columns
    }
}

/// The bytes of one number. Cells have the width of their type: `layout` gave it.
fn word<const N: usize>(cell: &[u8]) -> [u8; N] {
    cell.try_into().unwrap_or([0; N])
}

fn text(cell: &[u8]) -> String {
    let end = cell.iter().position(|byte| *byte == 0).unwrap_or(cell.len());
    String::from_utf8_lossy(&cell[..end]).trim_end().to_string()
}

fn layout(header: &Header, field: i64) -> Result<Layout, String> {
    let form = header.text(&format!("TFORM{field}")).map_err(|error| error.to_string())?.trim();
    let digits = form.bytes().take_while(u8::is_ascii_digit).count();
    let repeat: usize = if digits == 0 { 1 } else { form[..digits].parse().unwrap_or(0) };
    let refuse = || {
        format!("TFORM{field} = {form:?}; only D, E, K, J, I, B and nA are read, with a count in a table of one row")
    };
    let code = form.as_bytes().get(digits).copied().filter(|_| form.len() == digits + 1).ok_or_else(refuse)?;
    let (size, repeat) = match (code, repeat) {
        (b'A', _) => (repeat, 1),
        (_, 0) => return Err(refuse()),
        (b'D' | b'K', _) => (8, repeat),
        (b'E' | b'J', _) => (4, repeat),
        (b'I', _) => (2, repeat),
        (b'B', _) => (1, repeat),
        _ => return Err(refuse()),
    };
    // A number of elements beyond any file is refused here, so that sums of widths cannot overflow.
    let width = size.checked_mul(repeat).filter(|width| *width as i64 <= BYTES_MAX).ok_or_else(refuse)?;
    let word = |family: &str| header.text(&format!("{family}{field}")).unwrap_or_default().trim().to_string();
    Ok(Layout { name: word("TTYPE"), unit: word("TUNIT"), code, size, width })
}

/// The error of a table that cannot be written or read.
pub(super) fn refused(path: &Path, hdu: usize, reason: String) -> FitsError {
    FitsError::Table { path: path.to_path_buf(), hdu, reason }
}

/// Kept beside the other failures of reading, so that all of them say where they happened.
pub(super) fn failed(path: &Path, hdu: usize, source: Status) -> FitsError {
    FitsError::Read { path: path.to_path_buf(), operation: format!("reading the rows of HDU {hdu}"), source }
}
