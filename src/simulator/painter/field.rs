//! Light on the acquisition camera: the field around the target, or twilight.

use std::collections::BTreeMap;

use ndarray::Array2;

use super::super::camera::{CameraLight, Direction, Field, FieldParams, Filter, Object, Shot, expose, twilight};
use super::super::exposure::Exposure;
use super::super::kind::FrameKind;
use super::super::light::filters::Band;
use super::super::{SimError, horizon};
use super::Painter;

impl Painter {
    /// Electrons over the exposure in each pixel; `None` when no light falls.
    pub(super) fn field(&mut self, exposure: &Exposure) -> Result<Option<Array2<f32>>, SimError> {
        if exposure.kind == FrameKind::TwilightFlat {
            let acq = &self.instrument.acq;
            let filter = filter(exposure)?;
            return Ok(Some(twilight(&acq.camera, &acq.twilight, filter, &self.seeds)?));
        }
        if !exposure.kind.on_sky() {
            return Ok(None);
        }
        Ok(Some(self.field_light(exposure)?.electrons))
    }

    /// The picture of a field with its truth.
    pub(super) fn field_light(&self, exposure: &Exposure) -> Result<CameraLight, SimError> {
        let shot = Shot {
            filter: filter(exposure)?,
            exptime: exposure.exptime,
            epoch: 2000.0 + (horizon::mjd(exposure.start) - 51_544.5) / 365.25,
            seeing: exposure.conditions.seeing,
            airmass: exposure.place.airmass.clamp(1.0, 5.0),
            rotator: exposure.place.rotator(),
            cloud: exposure.conditions.cloud,
            defocus: exposure.defocus * self.instrument.acq.camera.scale,
            ..Shot::default()
        };
        Ok(expose(&self.instrument.acq.camera, &shot, &self.sky_around(exposure)?)?)
    }

    /// The sky around the pointing: target and companions in their places, and what stands there anyway.
    pub(super) fn sky_around(&self, exposure: &Exposure) -> Result<Field, SimError> {
        let centre = Direction { ra: exposure.pointing[0], dec: exposure.pointing[1] };
        let objects: Vec<Object> = exposure
            .sources
            .iter()
            .enumerate()
            .filter_map(|(index, source)| {
                let spectrum = self.sky.spectrum(exposure, source).ok()?;
                let magnitudes: BTreeMap<Filter, f64> = [
                    (Band::U, Filter::U),
                    (Band::G, Filter::G),
                    (Band::R, Filter::R),
                    (Band::I, Filter::I),
                    (Band::Z, Filter::Z),
                    (Band::Y, Filter::Y),
                    (Band::V, Filter::V),
                ]
                .into_iter()
                .map(|(band, filter)| (filter, spectrum.magnitude(band)))
                .filter(|(_, magnitude)| magnitude.is_finite())
                .collect();
                let name = if index == 0 { exposure.object.clone() } else { format!("companion {index}") };
                Some(Object {
                    name,
                    // Along the slit is taken for north: the camera's truth has the place in the sky.
                    offset: [source.across, source.along],
                    magnitude: *magnitudes.get(&Filter::R)?,
                    magnitudes,
                    ..Object::default()
                })
            })
            .collect();
        let mut objects = objects.into_iter();
        let params = FieldParams { target: objects.next(), objects: objects.collect(), ..FieldParams::default() };
        Ok(Field::new(centre, params, self.seeds.clone())?)
    }
}

fn filter(exposure: &Exposure) -> Result<Filter, SimError> {
    let named = Filter::ALL.into_iter().find(|filter| filter.name() == exposure.filter);
    named.ok_or_else(|| SimError::Filter { found: exposure.filter.clone() })
}
