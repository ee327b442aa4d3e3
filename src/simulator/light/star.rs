//! Point sources: what a spectrum sends through the telescope's aperture.

use std::sync::Arc;

use super::filters::Band;
use super::standards::Standard;
use super::table::{Table, parse_spectrum};
use super::templates::Template;
use super::{AREA, Light, LightError, Line, photons_per_flux};
use crate::simulator::math;

/// The spectrum of a point source above the atmosphere.
#[derive(Clone, Debug, PartialEq)]
pub struct Spectrum {
    /// Flux density over wavelength (nm, air), erg/s/cm2/Angstrom.
    pub flux: Table,
    /// Unresolved emission lines, sorted by wavelength.
    pub lines: Vec<FluxLine>,
}

/// An unresolved emission line of a point source.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FluxLine {
    /// nm, air.
    pub wavelength: f64,
    /// erg/s/cm2.
    pub flux: f64,
}

impl Spectrum {
    /// A spectrophotometric standard, by any spelling of its names.
    pub fn standard(object: &str) -> Result<Spectrum, LightError> {
        Standard::find(object).map(|star| Spectrum { flux: star.flux.clone(), lines: Vec::new() })
    }

    /// A template by its name in plans: `blue-transient`; its brightness means nothing before it is normalised.
    pub fn template(name: &str) -> Result<Spectrum, LightError> {
        Template::parse(name).map(Template::spectrum)
    }

    /// Flux at a wavelength (nm), erg/s/cm2/Angstrom, without emission lines.
    pub fn flux_at(&self, wavelength: f64) -> f64 {
        self.flux.at(wavelength)
    }

    /// A user's own table; see [`parse_spectrum`]. Errors name the line.
    pub fn parse(name: &str, text: &str) -> Result<Spectrum, LightError> {
        parse_spectrum(name, text).map(|flux| Spectrum { flux, lines: Vec::new() })
    }

    /// AB magnitude through a band; infinite where nothing shines.
    pub fn magnitude(&self, band: Band) -> f64 {
        band.filter().magnitude(self)
    }

    /// The same spectrum at an AB magnitude in a band. Fails for magnitudes outside -5 to 35, and for a spectrum that
    /// does not cover the band or shows nothing there.
    pub fn normalised(&self, band: Band, magnitude: f64) -> Result<Spectrum, LightError> {
        if !(-5.0..=35.0).contains(&magnitude) {
            return Err(LightError::Value { key: "magnitude", found: magnitude, reason: "expected -5 to 35" });
        }
        let uncovered = |reason: String| LightError::Coverage { name: "to be normalised".into(), reason };
        let (from, to) = band.filter().limits();
        let nodes = self.flux.wavelengths();
        if !matches!((nodes.first(), nodes.last()), (Some(&first), Some(&last)) if first <= from && to <= last) {
            return Err(uncovered(format!("does not cover the band {} ({from:.0}-{to:.0} nm)", band.as_str())));
        }
        let own = self.magnitude(band);
        if !own.is_finite() {
            return Err(uncovered(format!("shows nothing in the band {}", band.as_str())));
        }
        Ok(self.scaled(math::exp10(0.4 * (own - magnitude))))
    }

    /// The same spectrum, `factor` times as bright.
    pub fn scaled(&self, factor: f64) -> Spectrum {
        let lines = self.lines.iter().map(|line| FluxLine { flux: factor * line.flux, ..*line }).collect();
        Spectrum { flux: self.flux.map(|_, flux| factor * flux), lines }
    }

    /// Photons per second (and nm) on the telescope's area, before the atmosphere.
    pub fn light(&self) -> Light {
        let flux = Arc::new(self.flux.clone());
        let lines = self.lines.iter().map(|line| Line {
            wavelength: line.wavelength,
            photons: 0.1 * line.flux * photons_per_flux(line.wavelength) * AREA,
        });
        Light {
            continuum: Arc::new(move |wavelengths| {
                let mut photons = flux.sample(wavelengths);
                photons.iter_mut().zip(wavelengths).for_each(|(value, &w)| *value *= photons_per_flux(w) * AREA);
                photons
            }),
            lines: lines.collect(),
        }
    }
}
