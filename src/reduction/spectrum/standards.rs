//! Spectrophotometric standards: which of them was observed, and how bright it is.

use std::sync::LazyLock;

use super::resample::LIGHT;
use super::tabulated::{Tabulated, rows};

/// A star is taken for a standard within this distance, degrees.
const MATCH: f64 = 30.0 / 3600.0;
/// Epoch of the positions, modified Julian date of 2000.0.
const EPOCH: f64 = 51_544.5;
/// Days in a Julian year.
const YEAR: f64 = 365.25;
/// Reach of the kernel of the spectrograph, in its sigmas, and points on either side.
const KERNEL: (f64, i32) = (4.0, 12);

/// A standard.
#[derive(Clone, Debug, PartialEq)]
pub struct Standard {
    /// Name.
    pub name: String,
    aliases: Vec<String>,
    position: [f64; 2],
    motion: [f64; 2],
    flux: Tabulated,
}

macro_rules! fluxes {
    ($($name:literal),+) => {
        [$(($name, include_str!(concat!("../../../calibrations/standards/", $name, ".csv")))),+]
    };
}

static STANDARDS: LazyLock<Vec<Standard>> = LazyLock::new(|| {
    let fluxes = fluxes!["EG21", "EG274", "Feige110", "GD153", "GD71", "LTT3218", "LTT7987"];
    let standard = |row: Vec<&'static str>| -> Option<Standard> {
        let [name, aliases, numbers @ ..] = row.as_slice() else { return None };
        let numbers: Vec<f64> = numbers.iter().filter_map(|number| number.parse().ok()).collect();
        let [ra, dec, pm_ra, pm_dec] = numbers[..] else { return None };
        let flux = fluxes.iter().find(|(found, _)| found == name)?.1;
        Some(Standard {
            name: name.to_string(),
            aliases: aliases.split_whitespace().chain([*name]).map(plain).collect(),
            position: [ra, dec],
            motion: [pm_ra, pm_dec],
            flux: Tabulated::parse(flux),
        })
    };
    rows(include_str!("../../../calibrations/standards.csv")).filter_map(standard).collect()
});

/// All standards.
pub fn all() -> &'static [Standard] {
    &STANDARDS
}

/// A name in capitals without blanks, hyphens, underscores and plus signs, cut where a magnitude follows (` V`).
fn plain(name: &str) -> String {
    let name = name.to_uppercase();
    let name = name.split(" V").next().unwrap_or_default();
    name.chars().filter(|c| !(c.is_whitespace() || matches!(c, '-' | '_' | '+'))).collect()
}

/// The standard at this position (degrees, J2000) at a time (modified Julian date), or else the one called by any of
/// these names. A position that is known decides: a name may be a leftover of the last template.
pub fn find(position: Option<[f64; 2]>, mjd: f64, names: &[&str]) -> Option<&'static Standard> {
    if let Some(position) = position {
        let near = STANDARDS.iter().map(|standard| (standard.distance(position, mjd), standard));
        let nearest = near.min_by(|a, b| a.0.total_cmp(&b.0));
        if let Some((_, standard)) = nearest.filter(|(distance, _)| *distance <= MATCH) {
            return Some(standard);
        }
    }
    let names: Vec<String> = names.iter().map(|name| plain(name)).filter(|name| name.len() >= 4).collect();
    let called = |matches: &dyn Fn(&str, &str) -> bool| {
        STANDARDS
            .iter()
            .find(|standard| standard.aliases.iter().any(|alias| names.iter().any(|name| matches(name, alias))))
    };
    called(&|name, alias| name == alias).or_else(|| called(&|name, alias| name.contains(alias)))
}

impl Standard {
    /// Distance from a position at a time, degrees.
    fn distance(&self, [ra, dec]: [f64; 2], mjd: f64) -> f64 {
        let years = (mjd - EPOCH) / YEAR;
        let degrees = |mas: f64| mas * years / 3.6e6;
        let cos = self.position[1].to_radians().cos();
        let here = [self.position[0] + degrees(self.motion[0]) / cos, self.position[1] + degrees(self.motion[1])];
        // across 0 h the two may lie a whole turn apart
        let turn = ((ra - here[0] + 540.0).rem_euclid(360.0) - 180.0) * cos;
        turn.hypot(dec - here[1])
    }

    /// Wavelengths between which its flux is known, nm.
    pub fn range(&self) -> Option<[f64; 2]> {
        self.flux.range()
    }

    /// Flux density at a wavelength in air (nm) above the atmosphere, erg/s/cm2/Angstrom, as a spectrograph whose line has
    /// the width `fwhm` (km/s) sees it when the star recedes with `velocity` (km/s).
    pub fn flux(&self, wavelength: f64, fwhm: f64, velocity: f64) -> f64 {
        let rest = wavelength * (1.0 - velocity / LIGHT);
        let sigma = rest * fwhm / LIGHT / 2.354_820_045;
        let (reach, points) = KERNEL;
        let (mut sum, mut norm) = (0.0, 0.0);
        for k in -points..=points {
            let x = reach * f64::from(k) / f64::from(points);
            let weight = (-0.5 * x * x).exp();
            sum += weight * self.flux.at(rest + x * sigma);
            norm += weight;
        }
        sum / norm
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standards_are_complete_and_as_bright_as_published() {
        assert_eq!(all().len(), 7);
        // f_lambda at 550 nm in 1e-14, from the published table
        for (name, flux) in [("GD71", 2.193), ("LTT3218", 6.642), ("GD153", 1.645), ("EG274", 13.92), ("EG21", 9.980)] {
            let found = find(None, EPOCH, &[name]).unwrap();
            assert!((found.flux(550.0, 60.0, 0.0) / flux / 1e-14 - 1.0).abs() < 0.004, "{name}");
            let [from, to] = found.range().unwrap();
            assert!(from < 345.0 && to > 2050.0);
        }
    }

    #[test]
    fn a_position_decides_before_a_name_and_follows_the_proper_motion() {
        let mjd = EPOCH + 26.0 * YEAR;
        // LTT3218 has moved by 45 arcsec since 2000
        let moved =
            [130.38514 - 1056.0 * 26.0 / 3.6e6 / 32.94f64.to_radians().cos(), -32.94248 + 1354.0 * 26.0 / 3.6e6];
        assert_eq!(find(Some(moved), mjd, &["GD71"]).unwrap().name, "LTT3218");
        assert_eq!(find(Some(moved), EPOCH, &[]), None);
        assert_eq!(find(Some([349.9933 - 360.0, -5.1656]), mjd, &[]).unwrap().name, "Feige110");
        assert_eq!(find(Some([10.0, 10.0]), mjd, &["gd 153"]).unwrap().name, "GD153");
    }

    #[test]
    fn names_are_forgiven_much_but_not_everything() {
        for (written, name) in [
            ("LTT-7987 V=12.2", "LTT7987"),
            ("cd_38 10980", "EG274"),
            ("STD_FEIGE-110_nod", "Feige110"),
            ("CPD-69 177", "EG21"),
        ] {
            assert_eq!(find(None, EPOCH, &["", written]).map(|found| found.name.as_str()), Some(name), "{written}");
        }
        for unknown in ["", "STD,FLUX", "EG2", "HD 12345"] {
            assert_eq!(find(None, EPOCH, &[unknown]), None, "{unknown}");
        }
    }

    #[test]
    fn the_spectrograph_widens_lines_and_a_velocity_moves_them() {
        let star = find(None, EPOCH, &["LTT7987"]).unwrap();
        let core = |fwhm: f64, velocity: f64| star.flux(486.13, fwhm, velocity);
        assert!(core(600.0, 0.0) > 1.02 * core(20.0, 0.0));
        // the line is symmetric: moved either way it is shallower at its rest wavelength
        assert!(core(60.0, 400.0) > core(60.0, 0.0) && core(60.0, -400.0) > core(60.0, 0.0));
    }
}
