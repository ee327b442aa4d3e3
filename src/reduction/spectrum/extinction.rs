//! Extinction of the air above La Silla, without its molecular bands.

use std::sync::LazyLock;

use super::tabulated::Tabulated;

static TABLE: LazyLock<Tabulated> =
    LazyLock::new(|| Tabulated::parse(include_str!("../../../calibrations/extinction_lasilla.csv")));

/// Where the table ends, nm.
const TABLE_ENDS: f64 = 900.0;
/// Pressure at La Silla over that at sea level.
const PRESSURE: f64 = 770.0 / 1013.25;
/// Height of La Silla, km.
const HEIGHT: f64 = 2.4;
/// Night-to-night error, as a fraction of the extinction, and the error of the table's rounding, mag.
const ERROR: (f64, f64) = (0.06, 0.005);

/// Magnitudes at one airmass at a wavelength (nm). Between the points of the table linear in wavelength; beyond 900 nm it
/// goes on from its last value as Rayleigh scattering and aerosol fall together (Noll et al. 2012, A&A 543, A92; aerosol
/// after Patat et al. 2011, A&A 527, A91). Molecular bands are not in it.
pub fn magnitudes(wavelength: f64) -> f64 {
    if wavelength <= TABLE_ENDS {
        return TABLE.at(wavelength);
    }
    TABLE.at(TABLE_ENDS) * scattering(wavelength) / scattering(TABLE_ENDS)
}

/// Standard error of [`magnitudes`] in a night, mag.
pub fn error(wavelength: f64) -> f64 {
    (ERROR.0 * magnitudes(wavelength)).hypot(ERROR.1)
}

/// Rayleigh scattering and aerosol, mag at one airmass.
fn scattering(wavelength: f64) -> f64 {
    let micron = wavelength / 1000.0;
    let exponent = -(3.916 + 0.074 * micron + 0.050 / micron);
    1.086 * PRESSURE * (0.00864 + 6.5e-6 * HEIGHT) * micron.powf(exponent) + 0.013 * micron.powf(-1.38)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_interpolated_and_not_stepped() {
        for (wavelength, expected) in [(310.0, 1.53), (350.0, 0.52), (351.0, 0.514), (505.0, 0.1275), (900.0, 0.01)] {
            assert!((magnitudes(wavelength) - expected).abs() < 1e-9, "{wavelength}");
        }
    }

    #[test]
    fn beyond_the_table_it_goes_on_without_a_step_and_falls() {
        assert!((magnitudes(900.001) - 0.01).abs() < 1e-5);
        let red: Vec<f64> = [1000.0, 1250.0, 1650.0, 2000.0].map(magnitudes).to_vec();
        assert!(red.is_sorted_by(|a, b| a > b) && red[3] > 0.001, "{red:?}");
        // Rayleigh scattering at sea level is 0.0082 mag at 1020 nm (Hansen & Travis 1974: optical depth 0.0079)
        let rayleigh = (scattering(1020.0) - 0.013 * 1.02f64.powf(-1.38)) / PRESSURE;
        assert!((rayleigh - 1.086 * 0.0079).abs() < 4e-4, "{rayleigh}");
        assert!(error(350.0) > 0.03 && error(1500.0) < 0.006);
    }
}
