//! Tables in memory, as recipes give and take them: named columns of one length, with units.
//!
//! What never lives here: how a table is written to a file.

/// The values of a column.
#[derive(Clone, Debug, PartialEq)]
pub enum ColumnData {
    /// Real numbers; NaN where there is none.
    F64(Vec<f64>),
    /// Integers.
    I64(Vec<i64>),
    /// Text without line breaks.
    Text(Vec<String>),
}

impl ColumnData {
    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            ColumnData::F64(values) => values.len(),
            ColumnData::I64(values) => values.len(),
            ColumnData::Text(values) => values.len(),
        }
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A named column.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Name, unique in its table.
    pub name: String,
    /// FITS unit, empty for a pure number or text.
    pub unit: String,
    /// Values.
    pub data: ColumnData,
}

impl Column {
    /// A column of real numbers.
    pub fn real(name: &str, unit: &str, values: Vec<f64>) -> Column {
        Column { name: name.to_string(), unit: unit.to_string(), data: ColumnData::F64(values) }
    }

    /// A column of integers.
    pub fn integer(name: &str, values: Vec<i64>) -> Column {
        Column { name: name.to_string(), unit: String::new(), data: ColumnData::I64(values) }
    }

    /// A column of text.
    pub fn text(name: &str, values: Vec<String>) -> Column {
        Column { name: name.to_string(), unit: String::new(), data: ColumnData::Text(values) }
    }
}

/// One table, one extension of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// EXTNAME; empty for none.
    pub name: String,
    /// Columns of equal length.
    pub columns: Vec<Column>,
}

/// Why a table cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TableError {
    /// A column is not there.
    #[error("table {table:?} has no column {column:?}")]
    Missing {
        /// Table.
        table: String,
        /// Column.
        column: String,
    },
    /// A column holds another kind of values.
    #[error("column {column:?} of table {table:?} does not hold {expected}")]
    Kind {
        /// Table.
        table: String,
        /// Column.
        column: String,
        /// What was expected: `real numbers`.
        expected: &'static str,
    },
    /// Columns differ in length.
    #[error("column {column:?} of table {table:?} has {found} rows, the first column has {expected}")]
    Length {
        /// Table.
        table: String,
        /// Column.
        column: String,
        /// Its rows.
        found: usize,
        /// Rows of the first column.
        expected: usize,
    },
}

impl Table {
    /// A table; every column must be as long as the first.
    pub fn new(name: &str, columns: Vec<Column>) -> Result<Table, TableError> {
        let expected = columns.first().map_or(0, |column| column.data.len());
        match columns.iter().find(|column| column.data.len() != expected) {
            None => Ok(Table { name: name.to_string(), columns }),
            Some(column) => Err(TableError::Length {
                table: name.to_string(),
                column: column.name.clone(),
                found: column.data.len(),
                expected,
            }),
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.columns.first().map_or(0, |column| column.data.len())
    }

    /// A column by name, if it is there.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// A column of real numbers.
    pub fn real(&self, name: &str) -> Result<&[f64], TableError> {
        match &self.find(name)?.data {
            ColumnData::F64(values) => Ok(values),
            _ => Err(self.kind(name, "real numbers")),
        }
    }

    /// A column of integers.
    pub fn integer(&self, name: &str) -> Result<&[i64], TableError> {
        match &self.find(name)?.data {
            ColumnData::I64(values) => Ok(values),
            _ => Err(self.kind(name, "integers")),
        }
    }

    /// A column of text.
    pub fn text(&self, name: &str) -> Result<&[String], TableError> {
        match &self.find(name)?.data {
            ColumnData::Text(values) => Ok(values),
            _ => Err(self.kind(name, "text")),
        }
    }

    fn find(&self, name: &str) -> Result<&Column, TableError> {
        self.column(name).ok_or_else(|| TableError::Missing { table: self.name.clone(), column: name.to_string() })
    }

    fn kind(&self, name: &str, expected: &'static str) -> TableError {
        TableError::Kind { table: self.name.clone(), column: name.to_string(), expected }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_by_name_and_kind() {
        let table = Table::new("LINES", vec![Column::real("x", "pixel", vec![1.5]), Column::integer("order", vec![3])]);
        let table = table.unwrap();
        assert_eq!(
            (table.rows(), table.real("x").unwrap(), table.integer("order").unwrap()),
            (1, &[1.5][..], &[3][..])
        );
        assert_eq!(table.real("y").unwrap_err().to_string(), "table \"LINES\" has no column \"y\"");
        assert!(matches!(table.text("order"), Err(TableError::Kind { expected: "text", .. })));
    }

    #[test]
    fn columns_of_unequal_length_are_no_table() {
        let columns = vec![Column::real("x", "", vec![1.0]), Column::text("ion", vec![])];
        assert!(matches!(Table::new("T", columns), Err(TableError::Length { found: 0, expected: 1, .. })));
    }
}
