//! Rows about one keyword: is it there when it must be, absent when it must be, and is its value right?

use super::cells::form_of;
use super::subject::{Subject, is_fits_name};
use crate::fits::{Card, Header, Value};
use crate::products::phase3::standard::{KeywordRow, Need, Place, When};

/// What is wrong with a keyword.
pub struct Fault {
    /// HDU.
    pub hdu: usize,
    /// Keyword.
    pub keyword: String,
    /// What stands there.
    pub found: String,
    /// What should.
    pub expected: String,
    /// Does it refuse the file?
    pub refuses: bool,
}

const ABSENT: &str = "absent";

/// Everything that is wrong by one row.
pub fn faults(row: &KeywordRow, subject: &Subject<'_>) -> Vec<Fault> {
    let places = match row.place {
        Place::Hdu(hdu) => vec![hdu],
        Place::All => (0..subject.parts().len()).collect(),
        Place::Extensions => (1..subject.parts().len()).collect(),
        Place::Data => subject.data_hdu().into_iter().collect(),
        Place::Images => subject.images(),
    };
    places
        .into_iter()
        .filter_map(|hdu| Some((hdu, subject.header(hdu)?)))
        .flat_map(|(hdu, header)| in_header(row, subject, hdu, header))
        .collect()
}

fn in_header(row: &KeywordRow, subject: &Subject<'_>, hdu: usize, header: &Header) -> Vec<Fault> {
    let fault = |keyword: &str, found: String, expected: String| Fault {
        hdu,
        keyword: keyword.to_string(),
        found,
        expected,
        refuses: row.need != Need::Recommended || found_is_value(header, keyword),
    };
    let mut present = row.name.found_in(header);
    if let When::Column(after) = row.when {
        present.retain(|keyword| number_of(keyword).is_some_and(|column| column > after));
    }
    let applies = applies(row, subject, hdu, header);
    if matches!(row.need, Need::Forbidden | Need::Archive) {
        let expected = if row.need == Need::Archive { "absent: the archive sets it" } else { "absent" };
        let forbidden = present.into_iter().filter(|_| applies);
        return forbidden.map(|keyword| fault(keyword, shown(header, keyword), expected.to_string())).collect();
    }
    let mut faults = Vec::new();
    for keyword in required(row, subject, hdu, header, applies) {
        // A keyword that the parser found no value for is there, and its value is wrong.
        if !header.cards().iter().any(|card| card.keyword == keyword) {
            faults.push(fault(&keyword, ABSENT.to_string(), row.wanted()));
        }
    }
    for keyword in present {
        if let Some(expected) = misplaced(row, subject, header, keyword, applies) {
            faults.push(fault(keyword, shown(header, keyword), expected));
        } else if let Some(expected) = row.objection(header.get(keyword)) {
            faults.push(fault(keyword, shown(header, keyword), expected));
        }
    }
    faults
}

/// The number at the end of a keyword.
fn number_of(keyword: &str) -> Option<usize> {
    keyword.trim_start_matches(|letter: char| !letter.is_ascii_digit()).parse().ok()
}

fn found_is_value(header: &Header, keyword: &str) -> bool {
    header.cards().iter().any(|card| card.keyword == keyword)
}

/// Keywords that must be there by this row.
fn required(row: &KeywordRow, subject: &Subject<'_>, hdu: usize, header: &Header, applies: bool) -> Vec<String> {
    let eso = subject.logical(0, "NOESODAT") != Some(true);
    let needed = match row.need {
        Need::Mandatory | Need::Conditional | Need::Recommended => applies,
        Need::MandatoryForEso => applies && eso,
        Need::Optional | Need::Forbidden | Need::Archive => false,
    };
    if !needed {
        return Vec::new();
    }
    match &row.when {
        _ if !row.name.is_family() => vec![row.name.0.clone()],
        When::Column(after) => {
            let columns = header.integer("TFIELDS").unwrap_or(0).clamp(0, 999) as usize;
            (after + 1..=columns).map(|column| row.name.numbered(column)).collect()
        }
        When::NotFits => {
            let named = subject.numbers(hdu, "ASSON").into_iter();
            let foreign = named.filter(|(_, name)| !is_fits_name(&name.to_string()));
            foreign.map(|(number, _)| row.name.0.replace('#', &number)).collect()
        }
        _ => vec![row.name.numbered(1)],
    }
}

/// What is said of a keyword that is there and has no business to be.
fn misplaced(row: &KeywordRow, subject: &Subject<'_>, header: &Header, keyword: &str, applies: bool) -> Option<String> {
    match &row.when {
        When::IntegerColumn => {
            let column = number_of(keyword)?;
            let form = header.text(&format!("TFORM{column}")).unwrap_or_default();
            let integer = form_of(form).is_some_and(|(_, code)| code.is_integer());
            (!integer).then(|| format!("absent: column {column} is not one of integers"))
        }
        When::EmptyPrimary if !applies && subject.logical(0, keyword) != Some(false) => {
            Some("absent: HDU 0 has data".to_string())
        }
        _ => None,
    }
}

/// Does the condition of a row hold in this header?
fn applies(row: &KeywordRow, subject: &Subject<'_>, hdu: usize, header: &Header) -> bool {
    let value = |keyword: &str| header.get(keyword).or_else(|| subject.value(0, keyword)).map(Value::to_string);
    let is = |keyword: &str, values: &[String]| value(keyword).is_some_and(|value| values.contains(&value));
    match &row.when {
        When::Always | When::Column(_) | When::IntegerColumn | When::NotFits => true,
        When::Unknowable(_) => false,
        When::Is(keyword, values) => is(keyword, values),
        When::IsNot(keyword, values) => !is(keyword, values),
        When::Unlike(keyword, pattern) => value(keyword).is_some_and(|value| !pattern.is_match(value.as_bytes())),
        When::Category(word) => subject.category.split('.').next() == Some(word),
        When::Table => header.text("XTENSION") == Ok("BINTABLE"),
        When::EmptyPrimary => subject.parts().first().is_some_and(|part| part.data_bytes == 0),
        When::Extension(name) => {
            subject.parts().iter().skip(1).any(|part| part.header.text("EXTNAME") == Ok(name.as_str()))
        }
        When::Present(families) => families.iter().any(|family| !family.found_in(header).is_empty()),
        When::MultiExtension => subject.is_multi_extension(),
        When::Companion(class) => {
            let of_class = |other: &usize| *other != hdu && subject.text(*other, "HDUCLAS2") == Some(class);
            subject.is_multi_extension()
                && subject.text(hdu, "HDUCLAS2") != Some(class)
                && subject.images().iter().any(of_class)
        }
    }
}

/// What stands on a card.
fn shown(header: &Header, keyword: &str) -> String {
    match header.cards().iter().find(|card| card.keyword == keyword) {
        Some(Card { value: Some(Value::Text(text)), .. }) => format!("'{text}'"),
        Some(Card { value: Some(Value::Real(number)), .. }) => format!("{number:?}"),
        Some(Card { value: Some(value), .. }) => value.to_string(),
        Some(Card { value: None, .. }) => "no value".to_string(),
        None => ABSENT.to_string(),
    }
}
