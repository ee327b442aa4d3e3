//! Light through a slit or a mask onto one of the spectrographs' detectors.

use std::sync::Arc as Shared;

use ndarray::Array2;

use super::super::exposure::Exposure;
use super::super::light::sky::thermal_light;
use super::super::light::{Light, throughput};
use super::super::optics::{ArmOptics, Beam, Curve, Entrance, Focus, Profile, Shape, Source, render};
use super::super::plan;
use super::super::random::Effect;
use super::super::{SimError, math};
use super::{LampScene, Painter};
use crate::instrument::{Arm, SpectralFormat};

/// Diameter of the holes of the masks, arcsec.
pub(super) const HOLE: f64 = 0.5;
/// Guiding keeps a star in its place within this, arcsec rms along and across the slit.
const GUIDING: f64 = 0.05;
/// Wavelengths, nm apart, at which the shapes of stars are worked out: they change slowly.
const STEP: f64 = 25.0;
/// Where the arms see light, nm.
const VIS_RANGE: (f64, f64) = (325.0, 875.0);
const NIR_RANGE: (f64, f64) = (775.0, 2075.0);

impl Painter {
    /// Electrons over the exposure in each pixel of the exposed, unbinned area; `None` behind a closed slit.
    pub(super) fn spectra(&mut self, exposure: &Exposure) -> Result<Option<Array2<f32>>, SimError> {
        let Some(entrance) = self.entrance(exposure) else { return Ok(None) };
        let rate = if exposure.open {
            Shared::new(self.on_sky(exposure, &entrance)?)
        } else if exposure.lamps.is_empty() && exposure.arm == Arm::Vis {
            return Ok(None);
        } else {
            self.lamps(exposure, &entrance)
        };
        let seconds = self.bright_seconds(exposure);
        Ok(Some(rate.mapv(|electrons| (f64::from(electrons) * seconds) as f32)))
    }

    /// The exposure time, longer or shorter as lamps were brighter or fainter than usual.
    pub(super) fn bright_seconds(&self, exposure: &Exposure) -> f64 {
        if exposure.lamps.is_empty() {
            return exposure.exptime;
        }
        let flicker = self.instrument.spectrograph(exposure.arm).flicker;
        exposure.exptime * (1.0 + flicker * self.deviate(Effect::Lamps, exposure.number, 0)).max(0.0)
    }

    /// What stands in the slit plane; `None` if nothing passes.
    pub(super) fn entrance(&self, exposure: &Exposure) -> Option<Entrance> {
        let spectrograph = self.instrument.spectrograph(exposure.arm);
        // The exchanger moves once for a template.
        let across = spectrograph.repositioning(exposure.arm)
            * self.deviate(Effect::Pointing, exposure.template as u64, 1 + exposure.arm as u64);
        let holes = |along: Vec<f64>| {
            let along = along.iter().map(|position| position + exposure.mask_shift).collect();
            Entrance::Pinholes { along, across, diameter: HOLE }
        };
        match exposure.slit.as_str() {
            "PINHOLE" => Some(holes(vec![0.0])),
            "MULTPIN" => Some(holes(SpectralFormat::of(exposure.arm).pinholes().to_vec())),
            slit => {
                let width = slit.strip_prefix("SLIT").and_then(|width| width.parse().ok())?;
                Some(Entrance::Slit { width, across })
            }
        }
    }

    /// Sharpness of an exposure: defocus adds in square.
    pub(super) fn focus(&self, exposure: &Exposure) -> Focus {
        let focus = self.instrument.optics.of(exposure.arm).focus;
        let blurred = math::hypot(focus.fwhm * focus.defocus, exposure.defocus);
        Focus { defocus: blurred / focus.fwhm, ..focus }
    }

    /// Electrons per second from lamps and from the warmth of the instrument, astray light included.
    fn lamps(&mut self, exposure: &Exposure, entrance: &Entrance) -> Shared<Array2<f32>> {
        let (Entrance::Slit { across, .. } | Entrance::Pinholes { across, .. }) = entrance;
        let key = LampScene {
            slit: exposure.slit.clone(),
            lamps: exposure.lamps.clone(),
            flexure: exposure.flexure,
            defocus: exposure.defocus,
            mask_shift: exposure.mask_shift,
            across: *across,
        };
        if let Some((_, image)) = self.station(exposure.arm).lamps.as_ref().filter(|(of, _)| *of == key) {
            return image.clone();
        }
        let mut parts: Vec<Light> = exposure.lamps.iter().map(|lit| lit.lamp.light(exposure.arm, lit.level)).collect();
        if exposure.arm == Arm::Nir {
            parts.push(thermal_light());
        }
        let surface = self.instrument.optics.of(exposure.arm).surface();
        let image = Shared::new(self.image(exposure, entrance, &[(Light::sum(parts), surface)]));
        self.station(exposure.arm).lamps = Some((key, image.clone()));
        image
    }

    /// Electrons per second from the sky and the sources on it, astray light included.
    fn on_sky(&mut self, exposure: &Exposure, entrance: &Entrance) -> Result<Array2<f32>, SimError> {
        let surface = self.instrument.optics.of(exposure.arm).surface();
        let mut beams = vec![(self.sky.light(exposure), surface)];
        let transmission = self.sky.air(exposure).transmission(&self.sky.telluric);
        for source in &exposure.sources {
            let spectrum = self.sky.spectrum(exposure, source)?;
            let light = spectrum.light().through(transmission.clone());
            beams.push((light, Shape::Source(self.shape(exposure, source))));
        }
        Ok(self.image(exposure, entrance, &beams))
    }

    /// How a source lies in the slit plane: seeing and refraction change with the wavelength, guiding with the exposure.
    pub(super) fn shape(&self, exposure: &Exposure, source: &plan::Source) -> Source {
        let air = self.sky.air(exposure);
        let (first, last) = match exposure.arm {
            Arm::Vis => VIS_RANGE,
            _ => NIR_RANGE,
        };
        let count = ((last - first) / STEP).ceil() as usize;
        let wavelengths: Vec<f64> = (0..=count).map(|step| first + STEP * step as f64).collect();
        // The slit stands along the parallactic angle.
        let angle = exposure.place.parallactic;
        let moved = air.displacements(exposure.arm, &wavelengths, angle, angle + source.slit_angle);
        let wander = |part: u64| GUIDING * self.deviate(Effect::Pointing, exposure.number, 8 + part);
        let (along, across) = (source.along + wander(0), source.across + wander(1));
        let curve = |value: &dyn Fn(usize, f64) -> f64| {
            Curve::through(wavelengths.iter().enumerate().map(|(index, w)| (*w, value(index, *w))).collect())
        };
        Source {
            profile: if source.extent > 0.0 { Profile::Gaussian } else { Profile::Moffat },
            fwhm: curve(&|_, w| math::hypot(source.extent, air.seeing_at(w))),
            along: curve(&|index, _| along + moved[index].along),
            across: curve(&|index, _| across + moved[index].across),
        }
    }

    /// Electrons per second of light with its shapes, astray light included.
    fn image(&mut self, exposure: &Exposure, entrance: &Entrance, light: &[(Light, Shape)]) -> Array2<f32> {
        let arm = exposure.arm;
        let ArmOptics { distortion, stray, .. } = self.instrument.optics.of(arm).clone();
        let focus = self.focus(exposure);
        let station = self.station(arm);
        let (chip, fringing) = (station.detector.chip().clone(), station.detector.effects().fringing);
        let fringe = |x: f64, y: f64, wavelength: f64| chip.fringe(x, y, wavelength, fringing);
        let efficiency = |order: u8, wavelengths: &[f64]| throughput::efficiency(arm, order, wavelengths);
        let beams: Vec<Beam<'_>> =
            light.iter().map(|(light, shape)| Beam { light, efficiency: &efficiency, shape: shape.clone() }).collect();
        let view = station.view(arm, &exposure.flexure, &distortion);
        let response: Option<&(dyn Fn(f64, f64, f64) -> f64 + Sync)> =
            if arm == Arm::Vis && fringing > 0.0 { Some(&fringe) } else { None };
        let mut image = render(view, &focus, entrance, &beams, response);
        stray.throw(&mut image);
        image
    }
}
