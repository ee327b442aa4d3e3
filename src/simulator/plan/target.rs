//! What the telescope is pointed at.

use serde::{Deserialize, Serialize};

use crate::simulator::light::filters::Band;

/// One source in or near the slit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// `standard:LTT7987`, `template:blue-transient` or `table:my.csv`.
    pub spectrum: String,
    /// AB magnitude above the atmosphere in `band`; absent: the flux of the spectrum itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub magnitude: Option<f64>,
    /// Band of the magnitude.
    #[serde(default)]
    pub band: Band,
    /// Position along the slit in arcsec from its centre, before nodding.
    #[serde(default)]
    pub along: f64,
    /// Position across the slit in arcsec from its centre.
    #[serde(default)]
    pub across: f64,
    /// FWHM of the source itself in arcsec, before the seeing; 0 for a point.
    #[serde(default)]
    pub extent: f64,
    /// Degrees by which the slit stands off the parallactic angle; refraction moves the source across it then.
    #[serde(default)]
    pub slit_angle: f64,
}

/// A target: a place on the sky and the sources there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// As templates and headers name it.
    pub name: String,
    /// Right ascension in degrees, J2000.
    pub ra: f64,
    /// Declination in degrees, J2000.
    pub dec: f64,
    /// See [`Source::spectrum`]. Absent: blank sky.
    #[serde(default)]
    pub spectrum: Option<String>,
    /// See [`Source::magnitude`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub magnitude: Option<f64>,
    /// See [`Source::band`].
    #[serde(default)]
    pub band: Band,
    /// See [`Source::along`].
    #[serde(default)]
    pub along: f64,
    /// See [`Source::across`].
    #[serde(default)]
    pub across: f64,
    /// See [`Source::extent`].
    #[serde(default)]
    pub extent: f64,
    /// See [`Source::slit_angle`]; companions have the target's.
    #[serde(default)]
    pub slit_angle: f64,
    /// Other sources on the same slit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub companions: Vec<Source>,
}

impl Target {
    /// The target and its companions, the target first.
    pub fn sources(&self) -> Vec<Source> {
        let main = self.spectrum.iter().map(|spectrum| Source {
            spectrum: spectrum.clone(),
            magnitude: self.magnitude,
            band: self.band,
            along: self.along,
            across: self.across,
            extent: self.extent,
            slit_angle: self.slit_angle,
        });
        let companions = self.companions.iter().map(|source| Source { slit_angle: self.slit_angle, ..source.clone() });
        main.chain(companions).collect()
    }

    /// The first key whose value makes no sense, its value, and what would.
    pub(super) fn fault(&self) -> Option<(&'static str, String, &'static str)> {
        let printable = |text: &str| !text.trim().is_empty() && text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        if !printable(&self.name) || self.name.len() > 40 {
            return Some(("name", format!("{:?}", self.name), "give 1 to 40 printable ASCII characters"));
        }
        if !(0.0..360.0).contains(&self.ra) {
            return Some(("ra", self.ra.to_string(), "give degrees, 0 to 360"));
        }
        if !(-90.0..=90.0).contains(&self.dec) {
            return Some(("dec", self.dec.to_string(), "give degrees, -90 to 90"));
        }
        self.sources().iter().find_map(Source::fault)
    }
}

impl Source {
    /// The first key whose value makes no sense, its value, and what would.
    fn fault(&self) -> Option<(&'static str, String, &'static str)> {
        let known = ["standard:", "template:", "table:"];
        if !known.iter().any(|prefix| self.spectrum.len() > prefix.len() && self.spectrum.starts_with(prefix)) {
            let remedy = "give standard:NAME, template:NAME or table:FILE";
            return Some(("spectrum", format!("{:?}", self.spectrum), remedy));
        }
        if let Some(magnitude) = self.magnitude.filter(|magnitude| !(-5.0..=35.0).contains(magnitude)) {
            return Some(("magnitude", magnitude.to_string(), "give an AB magnitude, -5 to 35"));
        }
        for (key, value) in [("along", self.along), ("across", self.across)] {
            if !(-60.0..=60.0).contains(&value) {
                return Some((key, value.to_string(), "give arcsec from the centre of the slit, -60 to 60"));
            }
        }
        if !(-180.0..=180.0).contains(&self.slit_angle) {
            return Some(("slit_angle", self.slit_angle.to_string(), "give degrees, -180 to 180"));
        }
        if !(0.0..=60.0).contains(&self.extent) {
            return Some(("extent", self.extent.to_string(), "give the FWHM in arcsec, 0 (a point) to 60"));
        }
        None
    }
}
