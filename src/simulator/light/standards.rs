//! The seven spectrophotometric standards: their spectra, and the many ways in which headers spell them.

use std::sync::LazyLock;

use super::LightError;
use super::table::{Beyond, Table, pairs};

/// A spectrophotometric standard.
#[derive(Clone, Debug, PartialEq)]
pub struct Standard {
    /// Name in the tables: `GD71`.
    pub name: &'static str,
    /// Another catalogue's name, as written in headers.
    pub alias: Option<&'static str>,
    /// Right ascension and declination, degrees, J2000.
    pub position: (f64, f64),
    /// Flux above the atmosphere, erg/s/cm2/Angstrom, 340-2110 nm.
    pub flux: Table,
}

static STANDARDS: LazyLock<Vec<Standard>> = LazyLock::new(|| {
    let star = |name, alias, position, text| {
        let flux = Table::new(pairs(text), Beyond::Zero);
        Standard { name, alias, position, flux }
    };
    macro_rules! spectrum {
        ($name:literal) => {
            include_str!(concat!("../../../calibrations/standards/", $name, ".csv"))
        };
    }
    vec![
        star("GD71", None, (88.11542, 15.88639), spectrum!("GD71")),
        star("LTT3218", Some("CD-325613"), (130.38510, -32.94250), spectrum!("LTT3218")),
        star("GD153", None, (194.25960, 22.03028), spectrum!("GD153")),
        star("EG274", Some("CD-3810980"), (245.89040, -39.22972), spectrum!("EG274")),
        star("LTT7987", Some("CD-3017706"), (302.73620, -30.21833), spectrum!("LTT7987")),
        star("Feige110", None, (349.99330, -5.16556), spectrum!("Feige110")),
        star("EG21", Some("CPD-69177"), (47.62875, -68.60111), spectrum!("EG21")),
    ]
});

impl Standard {
    /// All of them.
    pub fn all() -> &'static [Standard] {
        &STANDARDS
    }

    /// The standard that an object's name means, by the rules of the reference pipeline: upper case, cut at ` V`, blanks,
    /// `-` and `_` removed; then it is a standard's name or alias, or contains the name of one.
    pub fn find(object: &str) -> Result<&'static Standard, LightError> {
        let upper = object.to_ascii_uppercase();
        let name = plain(upper.split(" V").next().unwrap_or_default());
        let exact = |star: &&Standard| plain(star.name) == name || star.alias.is_some_and(|alias| plain(alias) == name);
        let inside = |star: &&Standard| name.contains(&plain(star.name));
        STANDARDS.iter().find(exact).or_else(|| STANDARDS.iter().find(inside)).ok_or_else(|| LightError::Unknown {
            kind: "spectrophotometric standard",
            found: object.into(),
            known: STANDARDS.iter().map(|star| star.name).collect::<Vec<_>>().join(", "),
        })
    }
}

/// A name without what people write differently.
fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, ' ' | '-' | '_')).map(|c| c.to_ascii_uppercase()).collect()
}
