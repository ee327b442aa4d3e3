//! What two lamps come to where both calibrate an order: metrics of the seam.

use crate::instrument::Arm;
use crate::instrument::format::SpectralFormat;
use crate::quality::QcMetric;
use crate::reduction::flat::blaze::Blaze;

/// Distance of the places at which two lamps are compared, unbinned pixels.
const STEP: f64 = 4.0;

/// Metrics of the deuterium lamp: orders calibrated with it, and for each of them how its light compares and where it takes
/// over. Photons are the noise of both lamps, so the one with more light has the better signal to noise.
pub fn quality(arm: Arm, qth: &[Option<Blaze>], d2: Option<&[Option<Blaze>]>) -> Vec<QcMetric> {
    let text = "orders calibrated with the deuterium lamp";
    let Some(d2) = d2 else { return vec![QcMetric::absent("D2 ORDERS", "no flat of that lamp was given", "", text)] };
    let mut qc = vec![QcMetric::measured("D2 ORDERS", d2.iter().flatten().count() as f64, "", text)];
    for (first, second) in qth.iter().zip(d2).filter_map(|(first, second)| first.as_ref().zip(second.as_ref())) {
        let order = SpectralFormat::of(arm).name_of(first.order);
        let seam = Seam::of(first, second);
        let mut push = |metric: QcMetric| qc.push(QcMetric { order: order.clone(), ..metric });
        push(QcMetric::measured("D2 SHARE", seam.share, "", "part of the order where that lamp is the brighter one"));
        push(QcMetric::measured("D2 LEVEL", seam.level, "", "median light of that lamp over the other's"));
        let text = "where both lamps are equally bright";
        push(match seam.place {
            Some(place) => QcMetric::measured("D2 STITCH", place, "pixels", text),
            None => QcMetric::absent("D2 STITCH", "one lamp is the brighter one all along", "pixels", text),
        });
    }
    qc
}

/// Two lamps along one order.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Seam {
    share: f64,
    level: f64,
    place: Option<f64>,
}

impl Seam {
    fn of(first: &Blaze, second: &Blaze) -> Seam {
        let from = first.reach[0].max(second.reach[0]);
        let steps = ((first.reach[1].min(second.reach[1]) - from) / STEP).max(0.0) as usize;
        let places = (0..=steps).map(|k| from + STEP * k as f64);
        let lights: Vec<(f64, f64)> = places.map(|b| (b, second.light(b) / first.light(b))).collect();
        let brighter = lights.iter().filter(|(_, ratio)| *ratio > 1.0).count();
        let mut ratios: Vec<f64> = lights.iter().map(|(_, ratio)| *ratio).filter(|ratio| ratio.is_finite()).collect();
        let level = crate::numerics::robust::median_f64(&mut ratios).unwrap_or(f64::NAN);
        let cross = lights.windows(2).find(|pair| (pair[0].1 > 1.0) != (pair[1].1 > 1.0));
        let place = cross.map(|pair| 0.5 * (pair[0].0 + pair[1].0));
        Seam { share: brighter as f64 / lights.len().max(1) as f64, level, place }
    }
}
