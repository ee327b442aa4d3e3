//! From raw light to calibrated light: what is under the light taken off, the response of the pixels divided out, and the
//! noise of all that.

use ndarray::{Array2, ArrayView2, Zip};

use super::exposure::Exposure;
use crate::reduction::flags;

/// How the detector was read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Readout {
    /// Electrons per ADU.
    pub gain: f64,
    /// ADU from which a value is saturated; 0 for none.
    pub saturation: f64,
    /// Read noise of one frame, electrons.
    pub ron: f64,
    /// Unbinned pixels per row and per column.
    pub binning: [usize; 2],
    /// Exposure time, s.
    pub exptime: f64,
}

/// What is under the light: a master bias, or a master dark with the time by which it is scaled.
#[derive(Clone, Copy, Debug)]
pub struct Pedestal<'a> {
    /// Value, electrons.
    pub value: ArrayView2<'a, f32>,
    /// Its variance.
    pub variance: ArrayView2<'a, f32>,
    /// Quality bits.
    pub flags: ArrayView2<'a, i32>,
    /// Factor of value: exposure time over that of the master, 1 for a bias.
    pub scale: f64,
    /// Whether the value has shot noise of its own in every frame, as dark current does and a bias does not.
    pub shot: bool,
}

/// Response of the pixels.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// Response.
    pub value: ArrayView2<'a, f32>,
    /// Its variance.
    pub variance: ArrayView2<'a, f32>,
    /// Quality bits.
    pub flags: ArrayView2<'a, i32>,
}

/// Least response that is divided by: less is a dead pixel, whatever its noise.
const LEAST_RESPONSE: f32 = 0.05;

/// Calibrate a raw image of the exposed area (ADU, rows x columns). `bad` adds quality bits. All planes must have one shape:
/// `None` otherwise.
pub fn prepare(
    adu: ArrayView2<f32>,
    readout: &Readout,
    pedestal: &Pedestal,
    response: &Response,
    bad: Option<ArrayView2<i32>>,
) -> Option<Exposure> {
    let shape = adu.dim();
    let planes = [pedestal.value.dim(), pedestal.variance.dim(), pedestal.flags.dim()];
    let others = [response.value.dim(), response.variance.dim(), response.flags.dim()];
    if planes.iter().chain(&others).any(|dim| *dim != shape) || bad.is_some_and(|bad| bad.dim() != shape) {
        return None;
    }
    let blank = || Array2::<f32>::zeros(shape);
    let mut exposure = Exposure {
        value: blank(),
        floor: blank(),
        response: blank(),
        flat: blank(),
        flags: bad.map_or_else(|| Array2::zeros(shape), |bad| bad.to_owned()),
        binning: readout.binning,
        exptime: readout.exptime,
    };
    let ceiling = if readout.saturation > 0.0 { readout.saturation as f32 } else { f32::INFINITY };
    let (gain, scale) = (readout.gain as f32, pedestal.scale as f32);
    // read noise, and that of rounding to whole ADU
    let floor = (readout.ron * readout.ron + readout.gain * readout.gain / 12.0) as f32;
    Zip::from(&mut exposure.value)
        .and(&mut exposure.flags)
        .and(adu)
        .and(pedestal.value)
        .and(pedestal.flags)
        .par_for_each(|value, bits, adu, below, below_bits| {
            *value = adu * gain - below * scale;
            *bits |= below_bits;
            if *adu >= ceiling {
                *bits |= flags::SATURATED;
            }
            if !value.is_finite() {
                *value = 0.0;
                *bits |= flags::NO_DATA;
            }
        });
    Zip::from(&mut exposure.floor).and(pedestal.value).and(pedestal.variance).par_for_each(|out, below, variance| {
        let shot = if pedestal.shot { (below * scale).max(0.0) } else { 0.0 };
        *out = floor + variance * scale * scale + shot;
        if !out.is_finite() {
            *out = floor;
        }
    });
    Zip::from(&mut exposure.response)
        .and(&mut exposure.flat)
        .and(&mut exposure.flags)
        .and(response.value)
        .and(response.variance)
        .par_for_each(|out, flat, bits, value, variance| {
            *out = 1.0;
            if value.is_finite() && *value >= LEAST_RESPONSE {
                *out = *value;
                *flat = if variance.is_finite() { (variance / (value * value)).max(0.0) } else { 0.0 };
            } else {
                *bits |= flags::COLD;
            }
        });
    Zip::from(&mut exposure.flags).and(response.flags).par_for_each(|bits, more| *bits |= more);
    Zip::from(&mut exposure.value).and(&mut exposure.floor).and(&exposure.response).par_for_each(
        |value, floor, response| {
            *value /= response;
            *floor /= response * response;
        },
    );
    Some(exposure)
}

/// The sum of exposures of the same field, as one long exposure. A pixel in which one stands out of the others by more than
/// `rejection` sigmas, or is bad, is summed without it and scaled. `None` when shapes differ or there is no exposure.
pub fn summed(exposures: &[Exposure], rejection: f64) -> Option<Exposure> {
    let first = exposures.first()?;
    if exposures.iter().any(|other| other.value.dim() != first.value.dim() || other.binning != first.binning) {
        return None;
    }
    let mut sum = first.clone();
    sum.exptime = exposures.iter().map(|exposure| exposure.exptime).sum();
    if exposures.len() == 1 {
        return Some(sum);
    }
    let n = exposures.len() as f32;
    let mut values: Vec<f32> = Vec::with_capacity(exposures.len());
    for (at, value) in sum.value.indexed_iter_mut() {
        let good = |exposure: &&Exposure| exposure.flags[at] & BAD == 0;
        values.clear();
        values.extend(exposures.iter().filter(good).map(|exposure| exposure.value[at]));
        values.sort_unstable_by(f32::total_cmp);
        // with two there is no majority: the lower one is believed
        let middle = values.get((values.len().max(1) - 1) / 2).copied().unwrap_or(0.0);
        let limit = rejection * 1.5 * first.variance(at, f64::from(middle).max(0.0)).sqrt();
        let kept = |exposure: &&Exposure| good(exposure) && f64::from(exposure.value[at] - middle) <= limit;
        let (mut light, mut floor, mut count) = (0.0, 0.0, 0.0f32);
        for exposure in exposures.iter().filter(kept) {
            light += exposure.value[at];
            floor += exposure.floor[at];
            count += 1.0;
        }
        if count > 0.0 {
            let scale = n / count;
            // what is missing makes the noise of the light larger too
            let shot = (scale - 1.0) * light.max(0.0) * scale / first.response[at];
            *value = light * scale;
            sum.floor[at] = floor * scale * scale + shot;
            sum.flags[at] = exposures.iter().filter(kept).fold(0, |bits, exposure| bits | exposure.flags[at]);
        } else {
            *value = exposures.iter().map(|exposure| exposure.value[at]).sum();
            sum.floor[at] = exposures.iter().map(|exposure| exposure.floor[at]).sum();
            sum.flags[at] = exposures.iter().fold(0, |bits, exposure| bits | exposure.flags[at]);
        }
    }
    Some(sum)
}

/// Bits with which a value is not summed.
const BAD: i32 = super::strip::UNUSABLE & !flags::UNLIT;

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: (usize, usize) = (2, 3);
    const READOUT: Readout = Readout { gain: 2.0, saturation: 1000.0, ron: 3.0, binning: [1, 1], exptime: 60.0 };

    fn plane(value: f32) -> Array2<f32> {
        Array2::from_elem(SHAPE, value)
    }

    fn exposed(adu: &Array2<f32>, dark: f32, scale: f64) -> Exposure {
        let (below, variance, bits) = (plane(dark), plane(0.25), Array2::zeros(SHAPE));
        let (response, noise) = (plane(0.5), plane(0.0001));
        let pedestal =
            Pedestal { value: below.view(), variance: variance.view(), flags: bits.view(), scale, shot: true };
        let response = Response { value: response.view(), variance: noise.view(), flags: bits.view() };
        prepare(adu.view(), &READOUT, &pedestal, &response, None).unwrap()
    }

    #[test]
    fn light_and_its_noise_are_those_of_the_book() {
        let exposure = exposed(&plane(110.0), 5.0, 2.0);
        // (220 - 10) / 0.5, (9 + 4 / 12 + 0.25 x 4 + 10) / 0.25
        assert_eq!(exposure.value[(0, 0)], 420.0);
        assert!((f64::from(exposure.floor[(0, 0)]) - (9.0 + 1.0 / 3.0 + 1.0 + 10.0) / 0.25).abs() < 1e-4);
        assert!((exposure.flat[(1, 1)] - 0.0004).abs() < 1e-9);
    }

    #[test]
    fn what_cannot_be_used_is_flagged_and_finite() {
        let mut adu = plane(110.0);
        adu[(0, 0)] = 1000.0;
        adu[(0, 1)] = f32::NAN;
        let exposure = exposed(&adu, 5.0, 1.0);
        assert_eq!([exposure.flags[(0, 0)], exposure.flags[(0, 1)]], [flags::SATURATED, flags::NO_DATA]);
        assert!(exposure.value.iter().all(|value| value.is_finite()));
        let wrong = Array2::zeros((3, 3));
        let (value, bits) = (plane(1.0), Array2::zeros(SHAPE));
        let pedestal =
            Pedestal { value: value.view(), variance: value.view(), flags: bits.view(), scale: 1.0, shot: false };
        let response = Response { value: value.view(), variance: value.view(), flags: bits.view() };
        assert_eq!(prepare(wrong.view(), &READOUT, &pedestal, &response, None), None);
    }

    #[test]
    fn a_sum_is_one_long_exposure_without_the_ray_in_one_of_them() {
        let mut adu = plane(110.0);
        let clean = exposed(&adu, 5.0, 1.0);
        adu[(1, 2)] = 600.0;
        let hit = exposed(&adu, 5.0, 1.0);
        let sum = summed(&[clean.clone(), hit, clean.clone()], 5.0).unwrap();
        assert_eq!((sum.value[(0, 0)], sum.exptime), (3.0 * clean.value[(0, 0)], 180.0));
        assert!((sum.value[(1, 2)] - sum.value[(0, 0)]).abs() < 1e-2);
        // two of three: the variance of the scaled sum is 3/2 that of three, but for the response, which they share
        let variance =
            |at| sum.variance(at, f64::from(sum.value[at])) - f64::from(sum.flat[at] * sum.value[at].powi(2));
        assert!((variance((1, 2)) / variance((0, 0)) - 1.5).abs() < 0.01);
        assert!(summed(&[], 5.0).is_none());
    }
}
