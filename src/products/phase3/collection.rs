//! What all files of the collection say alike: `config/phase3/collection.toml`.

use serde::Deserialize;

use super::StandardError;

/// The shipped file.
pub const COLLECTION: &str = include_str!("../../../config/phase3/collection.toml");

/// Values that are agreed with ESO, not measured.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Collection {
    /// HDUVERS.
    pub standard: String,
    /// PROVi ends in `.fits`.
    pub provenance_suffix: bool,
    /// EXT_OBJ.
    pub extended_object: bool,
    /// Slit width in arcsec from which no light is lost.
    pub wide_slit_arcsec: f64,
    /// The nights are photometric.
    pub photometric: bool,
    /// Values of OBJECT that name nothing, upper case.
    pub generic_objects: Vec<String>,
    /// Resolving power through 1 arcsec.
    pub resolving_power: PerArm<f64>,
    /// DISPELEM.
    pub disperser: Dispersers,
}

/// A value for each spectrograph.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "UPPERCASE")]
pub struct PerArm<T> {
    /// UV-VIS.
    pub vis: T,
    /// Near infrared.
    pub nir: T,
}

/// DISPELEM by what the spectrum covers.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dispersers {
    /// UV-VIS.
    #[serde(rename = "VIS")]
    pub vis: String,
    /// Near infrared.
    #[serde(rename = "NIR")]
    pub nir: String,
    /// Joined.
    pub both: String,
}

impl Collection {
    /// The shipped values.
    pub fn built_in() -> Result<Collection, StandardError> {
        Collection::parse(COLLECTION)
    }

    /// From the text of a file.
    pub fn parse(text: &str) -> Result<Collection, StandardError> {
        let table = "phase3/collection.toml";
        let wrong = |reason: String| StandardError { table, line: 0, reason };
        let collection: Collection = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let PerArm { vis, nir } = collection.resolving_power;
        let positive = [("wide_slit_arcsec", collection.wide_slit_arcsec), ("VIS", vis), ("NIR", nir)];
        match positive.into_iter().find(|(_, value)| !(*value > 0.0 && value.is_finite())) {
            Some((key, value)) => Err(wrong(format!("{key} = {value} must be greater than zero"))),
            None => Ok(collection),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_file_is_sound_and_others_are_checked() {
        let collection = Collection::built_in().unwrap();
        assert_eq!((collection.resolving_power.vis, collection.disperser.both.as_str()), (4500.0, "UVVIS+NIR"));
        let wrong = COLLECTION.replace("VIS = 4500.0", "VIS = 0.0");
        assert!(Collection::parse(&wrong).unwrap_err().to_string().contains("VIS = 0 must be greater"));
        assert!(Collection::parse(&format!("unheard = 1\n{COLLECTION}")).is_err());
    }
}
