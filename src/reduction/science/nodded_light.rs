//! The light of nodded exposures in two dimensions: every image of the differences, each with the target brought to the
//! middle of the slit and counted positive.
//!
//! Where one image is, the difference has the other one too, negative and a throw away: it stays where it lies, on either side
//! of the target, as in the sums of shifted differences that astronomers know.

use ndarray::Array2;
use rayon::prelude::*;

use super::extract::Extracted;
use super::pair::Difference;
use super::strip::{Strip, UNUSABLE};
use super::trace::Beam;
use crate::reduction::flags::{COSMIC_RAY, NO_DATA};
use crate::reduction::spectrum::rectified::OrderLight;

/// Offsets closer than this are one place, arcsec.
pub(super) const SAME_PLACE: f64 = 0.02;

/// One order of a difference without what is left of its sky.
#[derive(Clone, Debug)]
pub(super) struct Plane {
    value: Array2<f32>,
    /// From the model of the light, not from the pixels.
    variance: Array2<f32>,
    flags: Array2<i32>,
}

impl Plane {
    /// `strips` are all exposures of the difference; `shots` say how much of a Poisson variance positive and negative light
    /// has.
    pub(super) fn of(difference: &Difference, strips: &[&Strip], extracted: &Extracted, shots: [f64; 2]) -> Plane {
        let field = &difference.field;
        let mut flags = Array2::from_shape_fn(field.light.dim(), |at| {
            let bits = strips.iter().fold(0, |bits, strip| bits | strip.flags.get(at).copied().unwrap_or(NO_DATA));
            if bits & UNUSABLE == 0 && !field.good[at] { NO_DATA } else { bits & UNUSABLE }
        });
        extracted.rejected.iter().for_each(|at| flags[*at] |= COSMIC_RAY);
        let variance = Array2::from_shape_fn(field.light.dim(), |at| {
            let model = f64::from(extracted.model[at]);
            field.noise(at, model, shots[usize::from(model < 0.0)]) as f32
        });
        Plane { value: &field.light - &extracted.residual, variance, flags }
    }
}

/// The mean of images at one place with one sign.
struct Place {
    beam: Beam,
    /// Sums over the good pixels of each order, and how many there are of each pixel.
    orders: Vec<(Plane, Array2<f32>)>,
}

/// Light of all orders, images of one place averaged.
#[derive(Default)]
pub(super) struct NoddedLight {
    places: Vec<Place>,
}

impl NoddedLight {
    /// Add a group: its orders, its images, and by how much each is brighter than the median one. An image without light (a
    /// scale of zero) is left out.
    pub(super) fn add(&mut self, planes: &[Plane], beams: &[Beam], scales: &[f64]) {
        for (beam, scale) in beams.iter().zip(scales).filter(|(_, scale)| **scale > 0.0) {
            let same =
                |place: &Place| place.beam.sign == beam.sign && (place.beam.offset - beam.offset).abs() < SAME_PLACE;
            let index = self.places.iter().position(same).unwrap_or_else(|| {
                self.places.push(Place { beam: *beam, orders: planes.iter().map(empty).collect() });
                self.places.len() - 1
            });
            let factor = (beam.sign / scale) as f32;
            self.places[index].orders.par_iter_mut().zip(planes).for_each(|((sum, count), plane)| {
                for (at, bits) in plane.flags.indexed_iter() {
                    if *bits == 0 {
                        sum.value[at] += factor * plane.value[at];
                        sum.variance[at] += factor * factor * plane.variance[at];
                        count[at] += 1.0;
                    } else {
                        sum.flags[at] |= bits;
                    }
                }
            });
        }
    }

    /// The light, in that of one exposure; slit positions are those of the target's frame: the commanded place is zero. `strips`
    /// are the orders of the first exposure.
    pub(super) fn finished(self, strips: &[Strip]) -> Vec<OrderLight> {
        let light = |beam: Beam, (sum, count): (Plane, Array2<f32>), strip: &Strip| OrderLight {
            order: strip.order,
            wavelength: strip.wavelength.clone(),
            slit: strip.slit.mapv(|slit| slit - beam.offset as f32),
            value: sum.value / &count,
            variance: sum.variance / (&count * &count),
            // a pixel that any exposure could use has a value
            flags: ndarray::Zip::from(&sum.flags)
                .and(&count)
                .map_collect(|bits, count| if *count > 0.0 { 0 } else { *bits }),
        };
        self.places
            .into_iter()
            .flat_map(|place| {
                place.orders.into_iter().zip(strips).map(move |(order, strip)| light(place.beam, order, strip))
            })
            .collect()
    }
}

fn empty(plane: &Plane) -> (Plane, Array2<f32>) {
    let shape = plane.value.dim();
    let zero = || Array2::<f32>::zeros(shape);
    (Plane { value: zero(), variance: zero(), flags: Array2::zeros(shape) }, zero())
}
