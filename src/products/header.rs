//! The header of a product: what survives of the first raw frame's, then what was made of which inputs how, then QC.

use jiff::Timestamp;

use super::write::Product;
use crate::fits::{Card, Header, Value};
use crate::quality::QcMetric;

/// A raw frame that went in.
#[derive(Clone, Debug, PartialEq)]
pub struct RawInput {
    /// Data id.
    pub name: String,
    /// `<DPR TYPE>_<ARM>`, the tag of SOF files.
    pub category: String,
    /// sha256 of the uncompressed stream.
    pub sha256: String,
}

/// A master that went in.
#[derive(Clone, Debug, PartialEq)]
pub struct CalibrationInput {
    /// File name.
    pub name: String,
    /// PRO CATG.
    pub category: String,
    /// md5 of the file, as the reference pipeline records it.
    pub md5: String,
}

/// Everything that a product says of its origin.
#[derive(Clone, Debug)]
pub struct Provenance {
    /// Recipe: `mbias`.
    pub recipe: String,
    /// Version of the recipe's algorithm.
    pub recipe_version: String,
    /// `soxsd/0.1.0`.
    pub software: String,
    /// Stem of the set's name.
    pub set_name: String,
    /// When the job was made: the DATE of the product, the same however often it is made again.
    pub date: Timestamp,
    /// Raw frames used, in order.
    pub raw: Vec<RawInput>,
    /// Masters used, in order.
    pub calibrations: Vec<CalibrationInput>,
    /// Parameters and their values.
    pub parameters: Vec<(String, String)>,
}

/// Cards that describe the raw file, not the product.
const NOT_INHERITED: [&str; 17] = [
    "SIMPLE", "XTENSION", "BITPIX", "EXTEND", "PCOUNT", "GCOUNT", "BSCALE", "BZERO", "BUNIT", "BLANK", "CHECKSUM",
    "DATASUM", "INHERIT", "ARCFILE", "ORIGFILE", "DATE", "EXTNAME",
];
/// The same, for whole families.
const NOT_INHERITED_FAMILIES: [&str; 4] = ["NAXIS", "ESO DPR ", "ESO PRO ", "ESO QC "];

/// The primary header of a product.
pub(super) fn product_header(
    raw: &Header,
    product: Product<'_>,
    arm: &str,
    provenance: &Provenance,
    qc: &[QcMetric],
) -> Header {
    let mut header = Header::new();
    for card in raw.cards().iter().filter(|card| is_inherited(card)) {
        header.push(renamed(card));
    }
    header.set(
        "DATE",
        provenance.date.strftime("%Y-%m-%dT%H:%M:%S%.3f").to_string(),
        "when the reduction was ordered, UTC",
    );
    if let Product::Image(image) = product
        && !image.unit.is_empty()
    {
        header.set("BUNIT", image.unit.as_str(), "unit of FLUX and ERRS");
    }
    header.set("PROCSOFT", provenance.software.as_str(), "software that made this file");
    header.set("ESO PRO TYPE", "REDUCED", "type of product");
    header.set("ESO PRO CATG", format!("{}_{arm}", product.catg()), "category of product");
    header.set("ESO PRO TECH", product.tech(), "observation technique");
    header.set("ESO PRO DATANCOM", product.n_combined() as i64, "number of raw frames combined");
    add_provenance(&mut header, provenance);
    add_qc(&mut header, qc);
    header
}

/// The recipe, its inputs and its parameters.
pub(super) fn add_provenance(header: &mut Header, provenance: &Provenance) {
    header.set("ESO PRO REC1 ID", format!("soxs-{}", provenance.recipe.replace('_', "-")), "recipe");
    header.set("ESO PRO REC1 VERS", provenance.recipe_version.as_str(), "version of the recipe");
    header.set("ESO PRO REC1 PIPE ID", provenance.software.as_str(), "pipeline");
    header.set("ESO PRO REC1 SOF", provenance.set_name.as_str(), "set of frames");
    for (number, input) in (1..).zip(&provenance.raw) {
        header.set(&format!("ESO PRO REC1 RAW{number} NAME"), input.name.as_str(), "");
        header.set(&format!("ESO PRO REC1 RAW{number} CATG"), input.category.as_str(), "");
        let digest = input.sha256.get(..32).unwrap_or_default();
        header.set(&format!("ESO PRO REC1 RAW{number} SHA"), digest, "");
    }
    for (number, input) in (1..).zip(&provenance.calibrations) {
        header.set(&format!("ESO PRO REC1 CAL{number} NAME"), input.name.as_str(), "");
        header.set(&format!("ESO PRO REC1 CAL{number} CATG"), input.category.as_str(), "");
        header.set(&format!("ESO PRO REC1 CAL{number} DATAMD5"), input.md5.as_str(), "");
    }
    for (number, (name, value)) in (1..).zip(&provenance.parameters) {
        header.set(&format!("ESO PRO REC1 PARAM{number} NAME"), name.as_str(), "");
        header.set(&format!("ESO PRO REC1 PARAM{number} VALUE"), value.as_str(), "");
    }
}

/// The metrics that belong into headers and were measured.
pub(super) fn add_qc(header: &mut Header, qc: &[QcMetric]) {
    for metric in qc.iter().filter(|metric| metric.to_header) {
        if let Some(value) = metric.number() {
            // Orders of VIS are called by lower-case letters, which keywords do not have.
            let order = if metric.order == "-1" { String::new() } else { format!(" O{}", metric.order.to_uppercase()) };
            let unit = if metric.unit.is_empty() { String::new() } else { format!("[{}] ", metric.unit) };
            header.set(&format!("ESO QC {}{order}", metric.name), rounded(value), &format!("{unit}{}", metric.comment));
        }
    }
}

/// Seven digits are more than any metric knows, and leave room for its comment. The catalogue keeps the whole value.
fn rounded(value: f64) -> f64 {
    format!("{value:.6e}").parse().unwrap_or(value)
}

pub(super) fn is_inherited(card: &Card) -> bool {
    let keyword = card.keyword.as_str();
    let named =
        NOT_INHERITED.contains(&keyword) || NOT_INHERITED_FAMILIES.iter().any(|family| keyword.starts_with(family));
    let commentary = card.value.is_none();
    !named && !commentary && is_writable(card)
}

/// A raw header may hold what a FITS product must not: such a card is left out, the raw frame keeps it.
fn is_writable(card: &Card) -> bool {
    let printable = |text: &str| text.chars().all(|character| (' '..='~').contains(&character));
    let value = match &card.value {
        Some(Value::Text(text)) => printable(text),
        Some(Value::Real(number)) => number.is_finite(),
        _ => true,
    };
    let keyword = card.keyword.chars().all(|character| matches!(character, 'A'..='Z' | '0'..='9' | '-' | '_' | ' '));
    value && keyword && printable(&card.comment)
}

fn renamed(card: &Card) -> Card {
    let keyword = match card.keyword.as_str() {
        "RADECSYS" => "RADESYS",
        other => other,
    };
    Card { keyword: keyword.to_string(), ..card.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_rounded_to_seven_digits() {
        assert_eq!(rounded(7.277_796_779_880_321), 7.277_797);
        assert_eq!(rounded(-0.000_963_811_995_386_389_8), -9.638_12e-4);
        assert_eq!(rounded(4011.0), 4011.0);
        assert_eq!(rounded(0.0), 0.0);
    }

    #[test]
    fn cards_of_the_raw_file_and_cards_that_cannot_be_written_do_not_survive() {
        let card =
            |keyword: &str, value: Option<Value>| Card { keyword: keyword.to_string(), value, comment: String::new() };
        for lost in ["NAXIS1", "ESO DPR CATG", "ARCFILE", "CHECKSUM", "BZERO", "lower"] {
            assert!(!is_inherited(&card(lost, Some(Value::Integer(1)))), "{lost}");
        }
        assert!(!is_inherited(&card("OBJECT", Some(Value::Text("\u{e9}toile".to_string())))));
        assert!(!is_inherited(&card("EXPTIME", Some(Value::Real(f64::NAN)))));
        assert!(!is_inherited(&card("HISTORY", None)));
        assert!(is_inherited(&card("ESO TPL ID", Some(Value::Text("x".to_string())))));
        assert_eq!(renamed(&card("RADECSYS", None)).keyword, "RADESYS");
    }
}
