//! One 80-byte card: parsing and formatting, each the inverse of the other.
//!
//! What never lives here: blocks, files, and which keywords a header must have (`scan`, `write`).

use super::header::{Card, Header, Value};

/// Length of a card in bytes.
pub(crate) const CARD: usize = 80;
/// Length of a FITS block in bytes; headers and data are padded to a multiple of it.
pub(crate) const BLOCK: usize = 2880;
/// Longest text that a card of an eight-character keyword can hold between its quotes.
const TEXT: usize = 68;
/// Column where the value of a fixed-format card ends (1-based 30).
const VALUE_END: usize = 30;

/// What one record of a header turned out to be.
#[derive(Debug, PartialEq)]
pub(crate) enum Record {
    /// The END card.
    End,
    /// A keyword with or without a value, or a commentary card.
    Card(Card),
    /// More text for the string of the card before (CONTINUE convention).
    Continue { text: String, comment: String },
}

/// Parse one record. The error is the reason in words; the caller adds which card of which HDU it was.
pub(crate) fn parse(record: &[u8; CARD]) -> Result<Record, String> {
    if let Some((column, byte)) = record.iter().enumerate().find(|(_, byte)| !(0x20..=0x7e).contains(*byte)) {
        return Err(format!(
            "byte 0x{byte:02x} in column {} is not printable ASCII; correct the card, or write END where the header ends",
            column + 1
        ));
    }
    // All bytes are ASCII from here on, so every byte index is a character boundary.
    let text = std::str::from_utf8(record).map_err(|error| error.to_string())?;
    let (name, rest) = text.split_at(8);
    let name = name.trim_end();
    match name {
        "END" if rest.trim().is_empty() => return Ok(Record::End),
        "COMMENT" | "HISTORY" | "" => return Ok(commentary(name, rest)),
        "CONTINUE" => {
            return Ok(match value_and_comment(rest) {
                (Some(Value::Text(text)), comment) if rest.trim_start().starts_with('\'') => {
                    Record::Continue { text, comment }
                }
                _ => commentary(name, rest),
            });
        }
        "HIERARCH" => {
            if let Some((words, value)) = rest.split_once('=') {
                let keyword = words.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
                if keyword.is_empty() {
                    return Err("a HIERARCH card without a keyword".to_string());
                }
                if keyword.bytes().any(|byte| byte.is_ascii_lowercase()) {
                    return Err(format!("the keyword {keyword} has lower-case letters"));
                }
                let (value, comment) = value_and_comment(value);
                return Ok(Record::Card(Card { keyword, value, comment }));
            }
            return Ok(commentary(name, rest));
        }
        _ => {}
    }
    if let Some(letter) = name.bytes().find(|byte| !is_name_byte(*byte)) {
        let kind = if letter.is_ascii_lowercase() { "lower-case letter" } else { "character" };
        return Err(format!("the keyword {name:?} holds the {kind} {:?}, which FITS forbids", char::from(letter)));
    }
    match rest.strip_prefix("= ") {
        Some(rest) => {
            let (value, comment) = value_and_comment(rest);
            Ok(Record::Card(Card { keyword: name.to_string(), value, comment }))
        }
        None => Ok(commentary(name, rest)),
    }
}

/// Add one parsed record to a header; joins CONTINUE cards to their string. True when the record was END.
pub(crate) fn append(header: &mut Header, record: Record) -> bool {
    match record {
        Record::End => return true,
        Record::Card(card) => header.push(card),
        Record::Continue { text, comment } => {
            // Only a string that ends in '&' is continued; any other CONTINUE card is a remark without meaning.
            match header.last_mut() {
                Some(Card { value: Some(Value::Text(head)), comment: remark, .. }) if head.ends_with('&') => {
                    head.pop();
                    head.push_str(&text);
                    if !comment.is_empty() {
                        if !remark.is_empty() {
                            remark.push(' ');
                        }
                        remark.push_str(&comment);
                    }
                }
                _ => header.push(Card { keyword: "CONTINUE".to_string(), value: None, comment: text }),
            }
        }
    }
    false
}

fn commentary(keyword: &str, text: &str) -> Record {
    Record::Card(Card { keyword: keyword.to_string(), value: None, comment: text.trim_end().to_string() })
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_'
}

/// Split the field after `=` into value and comment. What is neither number, logical nor string stays as text, so that
/// typed access can tell the operator what stands there.
fn value_and_comment(field: &str) -> (Option<Value>, String) {
    let field = field.trim_start();
    if let Some(quoted) = field.strip_prefix('\'') {
        let mut text = String::new();
        let mut rest = quoted;
        while let Some((part, after)) = rest.split_once('\'') {
            text.push_str(part);
            match after.strip_prefix('\'') {
                Some(after) => {
                    text.push('\'');
                    rest = after;
                }
                None => {
                    text.truncate(text.trim_end().len());
                    let comment = after.trim_start().strip_prefix('/').unwrap_or("").trim().to_string();
                    return (Some(Value::Text(text)), comment);
                }
            }
        }
        // The closing quote is missing: the whole field is the text.
        return (Some(Value::Text(field.trim_end().to_string())), String::new());
    }
    let (token, comment) = field.split_once('/').unwrap_or((field, ""));
    let token = token.trim();
    let value = match token {
        "" => None,
        "T" => Some(Value::Logical(true)),
        "F" => Some(Value::Logical(false)),
        _ => Some(number(token).unwrap_or_else(|| Value::Text(token.to_string()))),
    };
    (value, comment.trim().to_string())
}

/// A FITS number: integer, or real with an `E` or `D` exponent. `None` for anything else, NaN and infinities included.
fn number(token: &str) -> Option<Value> {
    if !token.bytes().all(|byte| byte.is_ascii_digit() || b"+-.EeDd".contains(&byte)) {
        return None;
    }
    if let Ok(integer) = token.parse::<i64>() {
        return Some(Value::Integer(integer));
    }
    let real = token.replace(['D', 'd', 'e'], "E").parse::<f64>().ok()?;
    real.is_finite().then_some(Value::Real(real))
}

/// Format a card as one record (several for long commentary). Strings too long for one card are cut; `&` strings and
/// CONTINUE are never written, because readers disagree about them. The error is the reason in words.
pub(crate) fn format(card: &Card) -> Result<Vec<[u8; CARD]>, String> {
    let keyword = card.keyword.as_str();
    if matches!(keyword, "COMMENT" | "HISTORY" | "") {
        let text = printable(&card.comment);
        let chunks = text.as_bytes().chunks(CARD - 8);
        let records: Vec<_> =
            chunks.map(|chunk| record(&[format!("{keyword:8}").as_bytes(), chunk].concat())).collect();
        return Ok(if records.is_empty() { vec![record(format!("{keyword:8}").as_bytes())] } else { records });
    }
    let plain = keyword.len() <= 8 && keyword.bytes().all(is_name_byte);
    let lead = if plain {
        format!("{keyword:8}= ")
    } else {
        let words: Vec<&str> = keyword.split(' ').collect();
        let fits = |word: &&str| !word.is_empty() && word.bytes().all(|byte| is_name_byte(byte) || byte == b'.');
        if words.len() < 2 && keyword.len() <= 8 || !words.iter().all(fits) {
            return Err("the keyword is not made of upper-case letters, digits, '-' and '_'".to_string());
        }
        format!("HIERARCH {keyword} = ")
    };
    // A string needs its two quotes and at least one character; other values their own length.
    let room = CARD.checked_sub(lead.len()).filter(|room| *room > 2).ok_or("the keyword is too long for a card")?;
    let value = match &card.value {
        None => return Err("it has no value".to_string()),
        Some(Value::Logical(value)) => if *value { "T" } else { "F" }.to_string(),
        Some(Value::Integer(value)) => value.to_string(),
        Some(Value::Real(value)) => real(*value)?,
        Some(Value::Text(text)) => quoted(text, room)?,
    };
    if value.len() > room {
        return Err(format!("the value {value} does not fit on a card of this keyword"));
    }
    let mut line = match &card.value {
        Some(Value::Text(_)) if plain => format!("{:VALUE_END$}", lead + &value),
        Some(_) if plain => format!("{lead}{value:>width$}", width = VALUE_END - lead.len()),
        _ => lead + &value,
    };
    let comment = printable(&card.comment);
    if !comment.trim().is_empty() && line.len() + 3 < CARD {
        line.push_str(" / ");
        line.push_str(comment.trim());
    }
    Ok(vec![record(line.as_bytes())])
}

/// Cut or pad to a record.
fn record(line: &[u8]) -> [u8; CARD] {
    let mut record = [b' '; CARD];
    for (to, from) in record.iter_mut().zip(line) {
        *to = *from;
    }
    record
}

/// The shortest decimal that reads back as the same number, with the decimal point that makes it a FITS real.
fn real(value: f64) -> Result<String, String> {
    if !value.is_finite() {
        return Err(format!("the value {value} is not finite, and FITS has no card for it"));
    }
    let magnitude = value.abs();
    Ok(if value == 0.0 || (1e-4..1e15).contains(&magnitude) {
        let text = value.to_string();
        if text.contains('.') { text } else { text + ".0" }
    } else {
        let text = format!("{value:E}");
        if text.contains('.') { text } else { text.replacen('E', ".0E", 1) }
    })
}

/// A string with its quotes doubled and closed, cut so that it needs no more than `room` bytes.
fn quoted(text: &str, room: usize) -> Result<String, String> {
    if let Some(odd) = text.chars().find(|char| !(' '..='~').contains(char)) {
        return Err(format!("the value {text:?} holds {odd:?}, which is not printable ASCII"));
    }
    let mut quoted = String::from("'");
    let limit = room.min(TEXT + 2) - 1;
    for char in text.trim_end().chars() {
        let width = if char == '\'' { 2 } else { 1 };
        if quoted.len() + width > limit {
            break;
        }
        quoted.push(char);
        if char == '\'' {
            quoted.push(char);
        }
    }
    // The standard's fixed format pads strings to eight characters; there may be no room for it after a long keyword.
    while quoted.len() < 9.min(limit) {
        quoted.push(' ');
    }
    quoted.push('\'');
    Ok(quoted)
}

/// Comments are for people: what FITS can't hold becomes `?` instead of an error.
fn printable(text: &str) -> String {
    text.chars().map(|char| if (' '..='~').contains(&char) { char } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse_text(text: &str) -> Result<Record, String> {
        parse(&record(text.as_bytes()))
    }

    fn value_of(text: &str) -> Option<Value> {
        match parse_text(text).unwrap() {
            Record::Card(card) => card.value,
            other => panic!("{other:?}"),
        }
    }

    fn card(keyword: &str, value: impl Into<Value>, comment: &str) -> Card {
        Card { keyword: keyword.to_string(), value: Some(value.into()), comment: comment.to_string() }
    }

    #[test]
    fn values_of_every_type() {
        assert_eq!(value_of("SIMPLE  =                    T / yes"), Some(Value::Logical(true)));
        assert_eq!(value_of("NAXIS1  =                  908"), Some(Value::Integer(908)));
        assert_eq!(value_of("DEC     =                -90.0"), Some(Value::Real(-90.0)));
        assert_eq!(value_of("X       = 1.5D+3 / old exponent"), Some(Value::Real(1500.0)));
        assert_eq!(value_of("X       = 99999999999999999999"), Some(Value::Real(1e20)));
        assert_eq!(value_of("X       = 'O''Neill / 2  ' / who"), Some(Value::Text("O'Neill / 2".to_string())));
        assert_eq!(value_of("X       = '' / empty"), Some(Value::Text(String::new())));
        assert_eq!(value_of("X       =            / undefined"), None);
    }

    #[test]
    fn what_is_no_number_stays_readable_text() {
        for odd in ["NaN", "nan", "Inf", "-inf", "1e999", "12abc", "(1,2)", "0x10", "1.2.3", "E", "-"] {
            assert_eq!(value_of(&format!("EXPTIME = {odd}")), Some(Value::Text(odd.to_string())), "{odd}");
        }
        assert_eq!(value_of("OBJECT  = 'never closed"), Some(Value::Text("'never closed".to_string())));
    }

    #[test]
    fn eso_keywords_lose_the_word_hierarch() {
        let parsed = parse_text("HIERARCH ESO  DPR CATG  = 'CALIB   ' / what").unwrap();
        assert_eq!(parsed, Record::Card(card("ESO DPR CATG", "CALIB", "what")));
    }

    #[test]
    fn corrupt_keywords_are_refused() {
        assert!(parse_text("exptime = 3").unwrap_err().contains("exptime"));
        assert!(parse_text("EXP*IME = 3").unwrap_err().contains('*'));
        assert!(parse_text("HIERARCH ESO dpr CATG = 3").unwrap_err().contains("ESO dpr CATG"));
        let mut bytes = record(b"OBJECT  = 'M 31'");
        bytes[12] = 0xe9;
        assert!(parse(&bytes).unwrap_err().contains("0xe9 in column 13"));
    }

    #[test]
    fn continued_strings_are_joined() {
        let mut header = Header::new();
        for line in ["LONG    = 'one &'", "CONTINUE  'two&' / a", "CONTINUE  ' three' / b", "END"] {
            append(&mut header, parse_text(line).unwrap());
        }
        assert_eq!(header.text("LONG"), Ok("one two three"));
        assert_eq!(header.cards().len(), 1);
        assert_eq!(header.cards()[0].comment, "a b");
    }

    #[test]
    fn long_strings_are_cut_and_quotes_never_split() {
        let long = "'".repeat(50);
        let records = format(&card("OBJECT", long.as_str(), "no room left")).unwrap();
        assert_eq!(parse(&records[0]).unwrap(), Record::Card(card("OBJECT", "'".repeat(34), "")));
        let records = format(&card("ESO OBS NAME", "x".repeat(90), "")).unwrap();
        assert!(records[0].ends_with(b"x'"));
    }

    #[test]
    fn values_without_a_card_are_refused() {
        assert!(format(&card("QC", f64::NAN, "")).unwrap_err().contains("NaN"));
        assert!(format(&card("QC", f64::INFINITY, "")).unwrap_err().contains("inf"));
        assert!(format(&card("OBJECT", "M\u{e9}31", "")).is_err());
        assert!(format(&card("qc", 1.0, "")).is_err());
        assert!(format(&Card { keyword: "QC".to_string(), value: None, comment: String::new() }).is_err());
        assert!(format(&card("ESO  QC", 1.0, "")).is_err());
        assert!(format(&card(&format!("ESO {}", "A".repeat(66)), 12_345_678, "")).is_err());
    }

    #[test]
    fn long_history_wraps() {
        let history = Card { keyword: "HISTORY".to_string(), value: None, comment: "h".repeat(100) };
        let records = format(&history).unwrap();
        assert_eq!(records.len(), 2);
        assert_eq!(records[1].iter().filter(|byte| **byte == b'h').count(), 28);
    }

    proptest! {
        #[test]
        fn reals_survive_exactly(value in proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL | proptest::num::f64::ZERO) {
            let records = format(&card("ESO QC VALUE", value, "")).unwrap();
            prop_assert_eq!(parse(&records[0]).unwrap(), Record::Card(card("ESO QC VALUE", value, "")));
        }

        #[test]
        fn texts_survive(text in "[ -~]{0,30}[!-~]") {
            let records = format(&card("OBJECT", text.as_str(), "c")).unwrap();
            prop_assert_eq!(parse(&records[0]).unwrap(), Record::Card(card("OBJECT", text.as_str(), "c")));
        }

        #[test]
        fn any_bytes_parse_without_panic(bytes in proptest::collection::vec(any::<u8>(), CARD)) {
            let _ = parse(&bytes.try_into().unwrap());
        }

        #[test]
        fn any_ascii_parses_without_panic(text in "[A-Z =/'&.]{80}") {
            let _ = parse_text(&text);
        }
    }
}
