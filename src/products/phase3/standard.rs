//! ESO's Phase 3 standard as data: `config/phase3/keywords.tsv` and `rules.tsv`, checked field by field.
//!
//! What never lives here: the files that are judged by it.

use regex_automata::meta::Regex;
use regex_automata::util::syntax;

use crate::fault::{Classified, FaultClass};
use crate::fits::{Header, Value};

const KEYWORDS: &str = include_str!("../../../config/phase3/keywords.tsv");
const RULES: &str = include_str!("../../../config/phase3/rules.tsv");

/// A line of a table that cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{table}, line {line}: {reason}")]
pub struct StandardError {
    /// File.
    pub table: &'static str,
    /// Line, from 1; 0 for the table as a whole.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

impl Classified for StandardError {
    fn class(&self) -> FaultClass {
        // The tables are part of the program.
        FaultClass::Bug
    }
}

/// Both tables.
#[derive(Clone, Debug)]
pub struct Standard {
    /// Rows about one keyword.
    pub keywords: Vec<KeywordRow>,
    /// Rules that join several things.
    pub rules: Vec<RuleRow>,
}

/// Which files a row is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Category(String);

/// Which headers a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// HDU of this number.
    Hdu(usize),
    /// Every HDU.
    All,
    /// Every HDU after the first.
    Extensions,
    /// The HDU with the science image.
    Data,
    /// Every HDU with an image.
    Images,
}

/// A keyword, or a family in which `#` stands for a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(pub String);

/// Type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Character string.
    Text,
    /// Integer.
    Integer,
    /// Real; an integer will do.
    Real,
    /// T or F.
    Logical,
}

/// Must it be there?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Always.
    Mandatory,
    /// In ESO's data.
    MandatoryForEso,
    /// When the condition holds.
    Conditional,
    /// Better: its absence is a warning.
    Recommended,
    /// As one likes.
    Optional,
    /// Never.
    Forbidden,
    /// Never before the archive has put it there.
    Archive,
}

/// When a row applies.
#[derive(Clone, Debug)]
pub enum When {
    /// Always.
    Always,
    /// The keyword has one of these values.
    Is(String, Vec<String>),
    /// The keyword has none of these values, or is absent.
    IsNot(String, Vec<String>),
    /// The keyword does not match.
    Unlike(String, Regex),
    /// PRODCATG begins with this word.
    Category(String),
    /// The HDU is a table.
    Table,
    /// HDU 0 has no data.
    EmptyPrimary,
    /// There is an extension of this name.
    Extension(String),
    /// A keyword of one of these families is there.
    Present(Vec<Name>),
    /// For every number whose ASSON names a file that is not FITS.
    NotFits,
    /// For every column after this one.
    Column(usize),
    /// For columns of integers.
    IntegerColumn,
    /// The image has its companions in the same file.
    MultiExtension,
    /// Another HDU is of this HDUCLAS2.
    Companion(String),
    /// Nothing in the file tells.
    Unknowable(String),
}

/// What one keyword must be.
#[derive(Clone, Debug)]
pub struct KeywordRow {
    /// Stable name: `K042`.
    pub id: String,
    /// Files.
    pub category: Category,
    /// Headers.
    pub place: Place,
    /// Keyword.
    pub name: Name,
    /// Type.
    pub kind: Kind,
    /// Presence.
    pub need: Need,
    /// Condition.
    pub when: When,
    /// Condition as it stands in the table.
    pub when_text: String,
    /// Values; empty for any.
    pub allowed: Vec<String>,
    /// What the value must match.
    pub pattern: Option<Regex>,
    /// The same as text; empty for anything.
    pub pattern_text: String,
    /// Least value.
    pub min: Option<f64>,
    /// Greatest value.
    pub max: Option<f64>,
    /// Unit, for people.
    pub unit: String,
    /// What it means, for people.
    pub remark: String,
}

/// What several keywords, headers, data or files must be together.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleRow {
    /// Stable name: `S13`.
    pub id: String,
    /// Files.
    pub category: Category,
    /// Does a breach refuse the file?
    pub refuses: bool,
    /// Can it be checked here?
    pub checked: bool,
    /// The rule in words.
    pub rule: String,
    /// Tolerance; 0 for exact.
    pub tolerance: f64,
    /// What of it cannot be checked here; empty when all can.
    pub beyond: String,
}

impl Standard {
    /// The tables that are built in.
    pub fn built_in() -> Result<Standard, StandardError> {
        Standard::parse(KEYWORDS, RULES)
    }

    /// Tables from their texts.
    pub fn parse(keywords: &str, rules: &str) -> Result<Standard, StandardError> {
        const COLUMNS: [&str; 14] = [
            "id", "category", "hdu", "keyword", "type", "need", "when", "allowed", "pattern", "min", "max", "unit",
            "source", "remark",
        ];
        const RULE_COLUMNS: [&str; 8] =
            ["id", "category", "severity", "checked", "rule", "tolerance", "source", "beyond"];
        let keywords = lines("phase3/keywords.tsv", keywords, COLUMNS, keyword_row)?;
        let rules = lines("phase3/rules.tsv", rules, RULE_COLUMNS, rule_row)?;
        let mut ids = std::collections::BTreeSet::new();
        let all = keywords.iter().map(|row| &row.id).chain(rules.iter().map(|row| &row.id));
        for id in all {
            if !ids.insert(id.clone()) {
                let reason = format!("{id} is the name of two rows");
                return Err(StandardError { table: "phase3", line: 0, reason });
            }
        }
        Ok(Standard { keywords, rules })
    }
}

/// Rows of a table: comments begin with `#`, the first other line must name the columns.
fn lines<const N: usize, T>(
    table: &'static str,
    text: &str,
    columns: [&str; N],
    row: fn(&[&str; N]) -> Result<T, String>,
) -> Result<Vec<T>, StandardError> {
    let mut found = Vec::new();
    let mut named = false;
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.starts_with('#')) {
        let wrong = |reason: String| StandardError { table, line: number, reason };
        let fields: Vec<&str> = line.split('\t').collect();
        let fields: [&str; N] = fields.try_into().map_err(|fields: Vec<&str>| {
            wrong(format!("{} fields instead of {N}; fields are separated by tabs", fields.len()))
        })?;
        if named {
            found.push(row(&fields).map_err(wrong)?);
        } else if fields == columns {
            named = true;
        } else {
            return Err(wrong(format!("the columns must be {}", columns.join(", "))));
        }
    }
    Ok(found)
}

fn keyword_row(fields: &[&str; 14]) -> Result<KeywordRow, String> {
    let [id, category, hdu, keyword, kind, need, when, allowed, pattern, min, max, unit, _source, remark] = *fields;
    let place = match hdu {
        "all" => Place::All,
        "ext" => Place::Extensions,
        "data" => Place::Data,
        "images" => Place::Images,
        number => Place::Hdu(number.parse().map_err(|_| format!("hdu {number:?}"))?),
    };
    let kind = match kind {
        "S" => Kind::Text,
        "I" => Kind::Integer,
        "R" => Kind::Real,
        "L" => Kind::Logical,
        other => return Err(format!("type {other:?}; S, I, R or L")),
    };
    let need = match need {
        "M" => Need::Mandatory,
        "ME" => Need::MandatoryForEso,
        "MA" => Need::Conditional,
        "R" => Need::Recommended,
        "O" | "C" => Need::Optional,
        "X" => Need::Forbidden,
        "A" => Need::Archive,
        other => return Err(format!("need {other:?}; M, ME, MA, R, O, C, X or A")),
    };
    let limit = |text: &str| match text {
        "" => Ok(None),
        number => number.parse::<f64>().map(Some).map_err(|_| format!("{number:?} is no number")),
    };
    if !keyword.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"-_#".contains(&byte)) {
        return Err(format!("keyword {keyword:?}"));
    }
    Ok(KeywordRow {
        id: filled("id", id)?,
        category: Category(filled("category", category)?),
        place,
        name: Name(filled("keyword", keyword)?),
        kind,
        need,
        when: condition(when)?,
        when_text: when.to_string(),
        allowed: values(allowed),
        pattern: if pattern.is_empty() { None } else { Some(regex(pattern)?) },
        pattern_text: pattern.to_string(),
        min: limit(min)?,
        max: limit(max)?,
        unit: unit.to_string(),
        remark: remark.to_string(),
    })
}

fn rule_row(fields: &[&str; 8]) -> Result<RuleRow, String> {
    let [id, category, severity, checked, rule, tolerance, _source, beyond] = *fields;
    let refuses = match severity {
        "E" => true,
        "W" => false,
        other => return Err(format!("severity {other:?}; E or W")),
    };
    if !["yes", "partly", "no"].contains(&checked) || (checked == "yes") != beyond.is_empty() {
        return Err(format!("checked {checked:?} beyond {beyond:?}; yes, or partly or no with what would be needed"));
    }
    let tolerance = if tolerance.is_empty() { "0" } else { tolerance };
    Ok(RuleRow {
        id: filled("id", id)?,
        category: Category(filled("category", category)?),
        refuses,
        checked: checked != "no",
        rule: filled("rule", rule)?,
        tolerance: tolerance.parse().map_err(|_| format!("tolerance {tolerance:?} is no number"))?,
        beyond: beyond.to_string(),
    })
}

fn filled(column: &str, text: &str) -> Result<String, String> {
    if text.is_empty() { Err(format!("{column} is empty")) } else { Ok(text.to_string()) }
}

fn values(text: &str) -> Vec<String> {
    text.split('|').filter(|value| !value.is_empty()).map(str::to_string).collect()
}

/// Headers are ASCII, and so are the patterns.
fn regex(pattern: &str) -> Result<Regex, String> {
    let ascii = syntax::Config::new().unicode(false).utf8(false);
    Regex::builder().syntax(ascii).build(pattern).map_err(|error| format!("pattern {pattern:?}: {error}"))
}

fn condition(text: &str) -> Result<When, String> {
    let words: Vec<&str> = text.split(' ').collect();
    Ok(match words.as_slice() {
        [""] => When::Always,
        ["unknowable:", ..] => When::Unknowable(text.replacen("unknowable: ", "", 1)),
        ["table"] => When::Table,
        ["empty", "primary"] => When::EmptyPrimary,
        ["multi-extension"] => When::MultiExtension,
        ["integer", "column"] => When::IntegerColumn,
        ["associated", "file", "not", "FITS"] => When::NotFits,
        ["category", word] => When::Category((*word).to_string()),
        ["extension", name] => When::Extension((*name).to_string()),
        ["companion", class] => When::Companion((*class).to_string()),
        ["present", families] => When::Present(families.split('|').map(|name| Name(name.to_string())).collect()),
        ["column", ">", number] => When::Column(number.parse().map_err(|_| format!("column {number:?}"))?),
        [key, "is", "not", given] => When::IsNot((*key).to_string(), values(given)),
        [key, "is", given] => When::Is((*key).to_string(), values(given)),
        [key, "unlike", pattern] => When::Unlike((*key).to_string(), regex(pattern)?),
        _ => return Err(format!("condition {text:?}")),
    })
}

impl Category {
    /// Is a file of this PRODCATG meant?
    pub fn covers(&self, prodcatg: &str) -> bool {
        match self.0.as_str() {
            "*" => true,
            word if !word.contains('.') => prodcatg.strip_prefix(word).is_some_and(|rest| rest.starts_with('.')),
            whole => whole == prodcatg,
        }
    }
}

impl Name {
    /// Does it stand for more than one keyword?
    pub fn is_family(&self) -> bool {
        self.0.contains('#')
    }

    /// The keyword of this number.
    pub fn numbered(&self, number: usize) -> String {
        self.0.replace('#', &number.to_string())
    }

    /// Is this keyword meant?
    pub fn covers(&self, keyword: &str) -> bool {
        let mut rest = keyword;
        for (place, part) in self.0.split('#').enumerate() {
            if place > 0 {
                let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
                if digits == 0 {
                    return false;
                }
                rest = &rest[digits..];
            }
            let Some(after) = rest.strip_prefix(part) else { return false };
            rest = after;
        }
        rest.is_empty()
    }

    /// Keywords of a header that are meant, each once, in order.
    pub fn found_in<'a>(&self, header: &'a Header) -> Vec<&'a str> {
        let mut found: Vec<&str> = Vec::new();
        for card in header.cards() {
            if self.covers(&card.keyword) && !found.contains(&card.keyword.as_str()) {
                found.push(&card.keyword);
            }
        }
        found
    }
}

impl KeywordRow {
    /// What is expected in place of this value, if it is not right.
    pub fn objection(&self, value: Option<&Value>) -> Option<String> {
        let fits = match (self.kind, value) {
            (Kind::Text, Some(Value::Text(_)))
            | (Kind::Integer, Some(Value::Integer(_)))
            | (Kind::Real, Some(Value::Real(_) | Value::Integer(_)))
            | (Kind::Logical, Some(Value::Logical(_))) => true,
            (_, Some(_) | None) => false,
        };
        let Some(value) = value.filter(|_| fits) else { return Some(self.kind.words().to_string()) };
        let text = value.to_string();
        if !self.allowed.is_empty() && !self.allowed.iter().any(|allowed| self.kind.same(allowed, &text)) {
            return Some(format!("one of {}", self.allowed.join(", ")));
        }
        if self.pattern.as_ref().is_some_and(|pattern| !pattern.is_match(text.as_bytes())) {
            return Some(format!("a match of {}", self.pattern_text));
        }
        // A DATASUM is a number in a string. What is no number has its type or its pattern against it.
        let number = text.parse::<f64>().ok();
        let below = number.zip(self.min).is_some_and(|(number, min)| number < min);
        let above = number.zip(self.max).is_some_and(|(number, max)| number > max);
        if below || above {
            return Some(self.range());
        }
        None
    }

    fn range(&self) -> String {
        let unit = if self.unit.is_empty() { String::new() } else { format!(" {}", self.unit) };
        match (self.min, self.max) {
            (Some(min), Some(max)) if min == max => format!("{min}{unit}"),
            (Some(min), Some(max)) => format!("{min} to {max}{unit}"),
            (Some(min), None) => format!("at least {min}{unit}"),
            (None, Some(max)) => format!("at most {max}{unit}"),
            (None, None) => "a number".to_string(),
        }
    }

    /// What should stand there, for the message that nothing does.
    pub fn wanted(&self) -> String {
        let what = match self.allowed.as_slice() {
            [] if self.min.is_some() || self.max.is_some() => self.range(),
            [] => self.kind.words().to_string(),
            allowed => format!("one of {}", allowed.join(", ")),
        };
        if self.remark.is_empty() { what } else { format!("{what} ({})", self.remark) }
    }
}

impl Kind {
    fn words(self) -> &'static str {
        match self {
            Kind::Text => "a string",
            Kind::Integer => "an integer",
            Kind::Real => "a number",
            Kind::Logical => "T or F",
        }
    }

    fn same(self, allowed: &str, found: &str) -> bool {
        match self {
            Kind::Text | Kind::Logical => allowed == found,
            Kind::Integer | Kind::Real => {
                matches!((allowed.parse::<f64>(), found.parse::<f64>()), (Ok(allowed), Ok(found)) if allowed == found)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_tables_are_sound_and_whole() {
        let standard = Standard::built_in().unwrap();
        assert_eq!((standard.keywords.len(), standard.rules.len()), (180, 59));
    }

    #[test]
    fn a_wrong_field_is_found_with_its_line() {
        let head = "# a table\nid\tcategory\thdu\tkeyword\ttype\tneed\twhen\tallowed\tpattern\tmin\tmax\tunit\tsource\tremark\n";
        let rules = "id\tcategory\tseverity\tchecked\trule\ttolerance\tsource\tbeyond\n";
        let complaint = |row: &str| {
            let text = format!("{head}{}\n", row.replace(' ', "\t").replace('~', " "));
            Standard::parse(&text, rules).expect_err(row).to_string()
        };
        for (row, part) in [
            ("K1 * 0 A S M     1 x   ", "fields"),
            ("K1 * zero A S M        ", "hdu \"zero\""),
            ("K1 * 0 a S M        ", "keyword \"a\""),
            ("K1 * 0 A X M        ", "type \"X\""),
            ("K1 * 0 A S Q        ", "need \"Q\""),
            ("K1 * 0 A S M sometimes       ", "condition \"sometimes\""),
            ("K1 * 0 A S M   ^[     ", "pattern"),
            ("K1 * 0 A S M    low    ", "\"low\" is no number"),
        ] {
            let complaint = complaint(row);
            assert!(complaint.contains(part) && complaint.contains("line 3"), "{row}: {complaint}");
        }
        let rule = format!("{rules}F01\t*\tE\tno\tx\t\t\t\n");
        assert!(Standard::parse(head, &rule).expect_err("nothing said").to_string().contains("beyond"));
        let twice = format!("{rules}{0}{0}", "F01\t*\tE\tyes\tx\t\t\t\n");
        assert!(Standard::parse(head, &twice).expect_err("twice").to_string().contains("two rows"));
    }

    #[test]
    fn families_cover_numbers_and_nothing_else() {
        let covers = |name: &str, keyword: &str| Name(name.to_string()).covers(keyword);
        assert!(covers("PROV#", "PROV12") && !covers("PROV#", "PROVXTN") && !covers("PROV#", "PROV"));
        assert!(covers("CD#_#", "CD1_2") && !covers("CD#_#", "CD1_") && !covers("CD#_#", "CD1_2A"));
        assert!(covers("RA", "RA") && !covers("RA", "RA_ERR"));
        let category = |name: &str, prodcatg: &str| Category(name.to_string()).covers(prodcatg);
        assert!(category("SCIENCE", "SCIENCE.IMAGE") && !category("SCIENCE", "ANCILLARY.IMAGE"));
        assert!(!category("SCIENCE.IMAGE", "SCIENCE.IMAGE.FLUXMAP") && category("*", ""));
    }
}
