//! Tables that fit the terminal: unimportant columns give way first, then long texts wrap.

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};

/// Narrowest useful width of a column that wraps.
const WRAPPED: usize = 24;

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Header.
    pub name: &'static str,
    /// 0 is always shown; the highest rank is left out first when the terminal is narrow.
    pub rank: u8,
    /// Numbers stand at the right.
    pub right: bool,
}

/// A column of text.
pub const fn text(name: &'static str, rank: u8) -> Column {
    Column { name, rank, right: false }
}

/// A column of numbers.
pub const fn number(name: &'static str, rank: u8) -> Column {
    Column { name, rank, right: true }
}

/// A table as text, `width` characters wide at most (unlimited without), with the names of columns left out below it.
pub fn render(columns: &[Column], rows: &[Vec<String>], width: Option<usize>) -> String {
    let shown = fitting(columns, rows, width);
    let mut table = Table::new();
    table.load_style(TableStyle::new().header_separator(LineStyle::none().fill('-').junction(' ')));
    table.set_content_arrangement(ContentArrangement::Disabled);
    if let Some(width) = width.and_then(|width| u16::try_from(width).ok()) {
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(width);
    }
    table.set_header(shown.iter().filter_map(|index| columns.get(*index)).map(|column| column.name));
    for row in rows {
        table.add_row(shown.iter().map(|index| row.get(*index).map_or_else(String::new, |cell| one_line(cell))));
    }
    for (place, index) in shown.iter().enumerate() {
        if let Some(column) = table.column_mut(place) {
            column.set_padding((0, 1));
            if columns.get(*index).is_some_and(|column| column.right) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    let mut out: String = table.lines().map(|line| line.trim_end().to_string() + "\n").collect();
    let hidden: Vec<&str> = (0..columns.len())
        .filter(|index| !shown.contains(index))
        .filter_map(|index| columns.get(index))
        .map(|column| column.name)
        .collect();
    if !hidden.is_empty() {
        out.push_str(&format!("(too narrow for: {})\n", hidden.join(", ")));
    }
    out
}

/// Indices of the columns that fit, and that hold anything at all.
fn fitting(columns: &[Column], rows: &[Vec<String>], width: Option<usize>) -> Vec<usize> {
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(index, column)| {
            let cells = rows.iter().filter_map(|row| row.get(index)).map(|cell| cell.chars().count());
            cells.chain([column.name.chars().count()]).max().unwrap_or(0)
        })
        .collect();
    let filled = |index: usize| rows.iter().any(|row| row.get(index).is_some_and(|cell| !cell.is_empty()));
    let mut shown: Vec<usize> = columns
        .iter()
        .enumerate()
        .filter(|(index, column)| column.rank == 0 || filled(*index))
        .map(|(index, _)| index)
        .collect();
    let Some(width) = width else { return shown };
    let needed = |shown: &[usize]| -> usize {
        shown.iter().filter_map(|index| widths.get(*index)).map(|width| (*width).min(WRAPPED) + 2).sum()
    };
    while needed(&shown) > width {
        let least = shown
            .iter()
            .filter_map(|index| columns.get(*index).map(|column| (column.rank, *index)))
            .filter(|(rank, _)| *rank > 0)
            .max();
        let Some((_, least)) = least else { break };
        shown.retain(|index| *index != least);
    }
    shown
}

fn one_line(cell: &str) -> String {
    cell.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// Width of the terminal on standard output; none when it is not a terminal and COLUMNS does not say.
pub fn terminal_width() -> Option<usize> {
    let given = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    let asked = || rustix::termios::tcgetwinsize(std::io::stdout()).ok().map(|size| usize::from(size.ws_col));
    given.or_else(asked).filter(|width| *width >= 20)
}

/// A time in microseconds as `2026-03-10T20:04:05`.
pub fn stamp(us: i64) -> String {
    crate::clock::iso(us).split('.').next().unwrap_or_default().to_string()
}

/// A duration for people: `42 s`, `3 min 5 s`, `2 h 10 min`, `3 d 4 h`.
pub fn duration(seconds: f64) -> String {
    let (sign, whole) = if seconds < 0.0 { ("-", -seconds) } else { ("", seconds) };
    // Saturates for absurd values; a duration here is never NaN.
    let whole = whole.round() as u64;
    let (days, hours, minutes, rest) = (whole / 86400, whole / 3600 % 24, whole / 60 % 60, whole % 60);
    let text = match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest} s"),
        (0, 0, _) => format!("{minutes} min {rest} s"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    };
    format!("{sign}{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [text("name", 0), number("frames", 1), text("object", 2), text("why", 0)];

    fn rows() -> Vec<Vec<String>> {
        let row = |cells: [&str; 4]| cells.iter().map(|cell| cell.to_string()).collect();
        vec![
            row(["first", "5", "M 31", "only two of at least three frames came in time"]),
            row(["second", "12", "", ""]),
        ]
    }

    #[test]
    fn a_wide_table_shows_all_on_single_lines() {
        let text = render(&COLUMNS, &rows(), None);
        assert_eq!(text.lines().count(), 4);
        assert!(text.contains("first        5  M 31    only two"), "{text}");
    }

    #[test]
    fn a_narrow_table_leaves_out_by_rank_and_says_so() {
        let text = render(&COLUMNS, &rows(), Some(36));
        assert!(text.lines().all(|line| line.chars().count() <= 36), "{text}");
        assert!(text.ends_with("(too narrow for: frames, object)\n"), "{text}");
        assert!(text.contains("three"), "the reason is wrapped, not cut: {text}");
    }

    #[test]
    fn durations_are_short() {
        let shown: Vec<String> = [0.4, 59.6, 185.0, 7800.0, 273_600.0, -5.0].map(duration).to_vec();
        assert_eq!(shown, ["0 s", "1 min 0 s", "3 min 5 s", "2 h 10 min", "3 d 4 h", "-5 s"]);
    }
}
