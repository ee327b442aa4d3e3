//! The sky of a night: spectra of everything that stands in it, the air, and the airglow as it changes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::super::exposure::Exposure;
use super::super::light::air::Air;
use super::super::light::airglow::Airglow;
use super::super::light::moon::Moon;
use super::super::light::sky::Sky;
use super::super::light::star::Spectrum;
use super::super::light::telluric::Telluric;
use super::super::light::{Light, LightError};
use super::super::night::NightPlan;
use super::super::plan::Source;
use super::super::{SimError, horizon, math};

/// Where the Moon stands when it is up: plans give its phase and its distance from the target.
const MOON_ZENITH_DISTANCE: f64 = 45.0;
/// Seconds of a day.
const DAY: f64 = 86_400.0;

/// The spectra of a night by the name that plans give them, as bright as the tables have them.
pub(in crate::simulator) struct Spectra(BTreeMap<String, Spectrum>);

/// Spectra, molecules and airglow of a night.
pub(super) struct SkyOfNight {
    spectra: Spectra,
    pub telluric: Telluric,
    airglow: Airglow,
    /// Seconds of the noon before the night.
    noon: f64,
}

impl Spectra {
    /// Read every spectrum that the plan names, and see that each can have its magnitude.
    pub fn new(plan: &NightPlan) -> Result<Spectra, SimError> {
        let mut spectra = Spectra(BTreeMap::new());
        for target in plan.templates.iter().filter_map(|template| template.target.as_deref()) {
            for source in target.sources() {
                if !spectra.0.contains_key(&source.spectrum) {
                    let spectrum = read(&source.spectrum, &plan.folder)
                        .map_err(|problem| SimError::Spectrum { target: target.name.clone(), problem })?;
                    spectra.0.insert(source.spectrum.clone(), spectrum);
                }
                spectra.of(&source).map_err(|error| SimError::Spectrum {
                    target: target.name.clone(),
                    problem: format!("{}: {error}", source.spectrum),
                })?;
            }
        }
        Ok(spectra)
    }

    /// The spectrum of a source, as bright as it is.
    fn of(&self, source: &Source) -> Result<Spectrum, LightError> {
        let Some(spectrum) = self.0.get(&source.spectrum) else {
            // Every source of the plan was read at the start.
            return Err(LightError::Unknown {
                kind: "spectrum",
                found: source.spectrum.clone(),
                known: self.0.keys().cloned().collect::<Vec<_>>().join(", "),
            });
        };
        match source.magnitude {
            Some(magnitude) => spectrum.normalised(source.band, magnitude),
            None => Ok(spectrum.clone()),
        }
    }
}

impl SkyOfNight {
    /// The sky over a plan; fails as [`Spectra::new`].
    pub fn new(plan: &NightPlan) -> Result<SkyOfNight, SimError> {
        Ok(SkyOfNight {
            spectra: Spectra::new(plan)?,
            telluric: Telluric::new(&plan.seeds),
            airglow: Airglow::new(&plan.seeds),
            noon: ((horizon::mjd(plan.start) - 0.5).floor() + 0.5) * DAY,
        })
    }

    /// The spectrum of a source of an exposure, as bright as it is.
    pub fn spectrum(&self, exposure: &Exposure, source: &Source) -> Result<Spectrum, SimError> {
        self.spectra.of(source).map_err(|error| SimError::Spectrum {
            target: exposure.object.clone(),
            problem: format!("{}: {error}", source.spectrum),
        })
    }

    /// The air during an exposure.
    pub fn air(&self, exposure: &Exposure) -> Air {
        let conditions = &exposure.conditions;
        Air {
            airmass: exposure.place.airmass.clamp(1.0, 10.0),
            water: conditions.pwv,
            temperature: conditions.temperature,
            seeing: conditions.seeing,
            clouds: math::exp10(-0.4 * conditions.cloud),
            ..Air::default()
        }
    }

    /// The light of the sky during an exposure, per second and square arcsecond.
    pub fn light(&self, exposure: &Exposure) -> Light {
        let conditions = &exposure.conditions;
        let moon = (conditions.moon_phase > 0.0).then(|| Moon {
            // The lit share is (1 + cos phase) / 2.
            phase: math::acos(2.0 * conditions.moon_phase - 1.0).to_degrees(),
            zenith_distance: MOON_ZENITH_DISTANCE,
            separation: conditions.moon_distance,
        });
        let sky = Sky { airglow: conditions.airglow, moon, ..Sky::default() };
        let start = horizon::mjd(exposure.start) * DAY - self.noon;
        sky.light(exposure.place.airmass.clamp(1.0, 10.0), &self.airglow, start, exposure.exptime)
    }
}

/// The spectrum of a name as plans write it; tables are looked for beside the plan.
fn read(name: &str, folder: &std::path::Path) -> Result<Spectrum, String> {
    let told = |error: LightError| error.to_string();
    match name.split_once(':') {
        Some(("standard", star)) => Spectrum::standard(star).map_err(told),
        Some(("template", template)) => Spectrum::template(template).map_err(told),
        Some(("table", file)) => {
            let path: PathBuf = folder.join(file);
            let text = std::fs::read_to_string(&path).map_err(|error| {
                format!("cannot read {}: {error}; paths are taken from the plan's folder", path.display())
            })?;
            Spectrum::parse(file, &text).map_err(told)
        }
        _ => Err(format!("{name:?} is no spectrum; give standard:NAME, template:NAME or table:FILE")),
    }
}
