//! Order edges, from a model of the slit's profile on a flat through the slit. Both sides are measured independently.

use super::OrdersError;
use super::image::Light;
use super::profile::{PatchNoise, Sample, Slit, fit_slit};
use super::slices::{self, Walk};
use super::trace::{PRIOR, sum};
use crate::numerics::curve::{self, Curve, Point};
use crate::numerics::robust::median_f64;

/// Where an order lies and how long its slit is, before its edges are measured. Unbinned pixels.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderPlace {
    /// Order.
    pub order: u8,
    /// Centre `a` against `b`.
    pub centre: Curve,
    /// Half the length of the slit's image along `a`.
    pub half_length: Curve,
    /// First and last `b` to look at.
    pub lit: [f64; 2],
}

/// How edges are measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EdgeOptions {
    /// Slices along the dispersion.
    pub walk: Walk,
    /// How far outside the expected edges to look, unbinned pixels; less where the next order is nearer.
    pub margin: f64,
    /// Degree of an edge along the dispersion.
    pub degree: usize,
    /// Significance of the light in a slice for it to count, sigmas.
    pub significance: f64,
    /// A slice further than this from the curve is left out, sigmas.
    pub cut: f64,
    /// Fraction of the slices with light that must agree on an edge.
    pub least_used: f64,
}

/// The slit's image in one slice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EdgeSlice {
    /// Middle of the slice, unbinned.
    pub b: f64,
    /// Rows that were taken together, unbinned.
    pub length: f64,
    /// What was found, in unbinned pixels; `None` without significant light.
    pub slit: Option<Slit>,
    /// Whether the curves use its lower and its upper edge.
    pub used: [bool; 2],
}

/// The edges of one order. Curves are in unbinned pixels.
#[derive(Clone, Debug, PartialEq)]
pub struct Edges {
    /// Order.
    pub order: u8,
    /// Lower edge `a` against `b`, with covariance: where the light has fallen to half.
    pub lower: Curve,
    /// Upper edge.
    pub upper: Curve,
    /// Gaussian sigma of the edges, median along the order.
    pub blur: f64,
    /// First and last `b` with measurements of both edges.
    pub covered: [f64; 2],
    /// Root mean square residual of the slices used, pixels, lower and upper edge.
    pub scatter: [f64; 2],
    /// Slices in rising `b`.
    pub slices: Vec<EdgeSlice>,
}

/// Error of an edge that does not average out along a slice, unbinned pixels.
const FLOOR: f64 = 0.01;
/// Error that all edges of an order share: where the model puts the half light of a slit that is not quite its model's.
const SHARED: f64 = 0.02;
/// Deviation of pixels from the profile's model that is pixel response, not noise.
const TOLERANCE: f64 = 0.02;

/// Lengths of the slit's image, in units of the expected one, that are a slit's.
const LENGTHS: std::ops::RangeInclusive<f64> = 0.7..=1.3;

/// Measure the edges of all orders. `places` in rising `a`, since neighbours limit how far out an order is looked at.
pub fn find(light: &Light, places: &[OrderPlace], options: &EdgeOptions) -> Result<Vec<Edges>, OrdersError> {
    (0..places.len()).map(|k| edges(light, places, k, options)).collect()
}

/// Limits in `a` within which an order's slit is looked for: a margin outside its edges, or half way to the next order.
fn limits(places: &[OrderPlace], k: usize, margin: f64, b: f64) -> [f64; 2] {
    let place = &places[k];
    let (centre, half) = (place.centre.at(b), place.half_length.at(b));
    let [mut low, mut high] = [centre - half - margin, centre + half + margin];
    if let Some(below) = k.checked_sub(1).and_then(|k| places.get(k)) {
        low = low.max(0.5 * (below.centre.at(b) + below.half_length.at(b) + centre - half));
    }
    if let Some(above) = places.get(k + 1) {
        high = high.min(0.5 * (above.centre.at(b) - above.half_length.at(b) + centre + half));
    }
    [low, high]
}

fn edges(light: &Light, places: &[OrderPlace], k: usize, options: &EdgeOptions) -> Result<Edges, OrdersError> {
    let place = &places[k];
    let domain = light.reach();
    let measured = slices::along(light, options.walk, |start, length, b| {
        let inside = (place.lit[0]..=place.lit[1]).contains(&b);
        if inside { slice(light, places, k, options, start, length, b) } else { None }
    });
    let tried = measured.iter().filter(|slice| slice.found.is_some()).count();
    let side = |index: usize, sign: f64, name: &'static str| {
        let expected = |b: f64| place.centre.at(b) + sign * place.half_length.at(b);
        let points: Vec<Point> = measured
            .iter()
            .map(|slice| match slice.found {
                Some(slit) => Point { x: slice.b, y: slit.edges[index] - expected(slice.b), sigma: slit.errors[index] },
                None => Point { x: slice.b, y: f64::NAN, sigma: f64::NAN },
            })
            .collect();
        let degree = options.degree.min(PRIOR.len() - 1);
        let fitted = curve::fit(&points, domain, degree, &PRIOR, FLOOR, options.cut);
        let found = fitted.as_ref().map_or(0, |fit| fit.used.iter().filter(|used| **used).count());
        let least = ((options.least_used * tried as f64).ceil() as usize).max(degree + 3);
        match fitted.filter(|_| found >= least) {
            Some(fit) => {
                let base = Curve::through(domain, degree.max(place.centre.coefficients.len()), expected);
                let mut curve = sum(&base, &fit.curve);
                if let Some(variance) = curve.covariance.first_mut() {
                    *variance += SHARED * SHARED;
                }
                Ok((curve, fit))
            }
            None => Err(OrdersError::Edges { order: place.order, side: name, found, tried: measured.len(), least }),
        }
    };
    let (lower, lower_fit) = side(0, -1.0, "lower")?;
    let (upper, upper_fit) = side(1, 1.0, "upper")?;
    let slices: Vec<EdgeSlice> = measured
        .into_iter()
        .zip(lower_fit.used.iter().zip(&upper_fit.used))
        .map(|(slice, (low, high))| EdgeSlice {
            b: slice.b,
            length: slice.length,
            slit: slice.found,
            used: [*low, *high],
        })
        .collect();
    let spans: Vec<(f64, f64, bool)> = slices.iter().map(|s| (s.b, s.length, s.used == [true, true])).collect();
    let mut blurs: Vec<f64> =
        slices.iter().filter(|s| s.used == [true, true]).filter_map(|s| s.slit.map(|slit| slit.sigma)).collect();
    let (Some((covered, _)), Some(blur)) = (slices::coverage(&spans), median_f64(&mut blurs)) else {
        let found = spans.iter().filter(|span| span.2).count();
        return Err(OrdersError::Edges { order: place.order, side: "lower", found, tried: spans.len(), least: 4 });
    };
    let scatter = [lower_fit.scatter, upper_fit.scatter];
    Ok(Edges { order: place.order, lower, upper, blur, covered, scatter, slices })
}

fn slice(
    light: &Light,
    places: &[OrderPlace],
    k: usize,
    options: &EdgeOptions,
    start: usize,
    length: usize,
    b: f64,
) -> Option<Slit> {
    let place = &places[k];
    let columns = light.shape().1 as i64;
    let bin = light.binning[1] as f64;
    let middle = start as f64 + 0.5 * (length - 1) as f64;
    let mut samples = Vec::with_capacity(length * 64);
    for row in start..start + length {
        let here = light.b_of(row as f64);
        let centre = light.column_of(place.centre.at(here));
        let [low, high] = limits(places, k, options.margin, here).map(|a| light.column_of(a));
        let along = 2.0 * (row as f64 - middle) / length as f64;
        let line = light.value.row(row);
        for column in (low.ceil() as i64).max(0)..=(high.floor() as i64).min(columns - 1) {
            let value = f64::from(line[column as usize]);
            if value.is_finite() {
                samples.push(Sample { offset: column as f64 - centre, along, value });
            }
        }
    }
    let half = place.half_length.at(b) / bin;
    let start = half_light(&samples, half)?;
    let noise = PatchNoise { floor: light.floor, shot: light.shot, cut: 6.0, tolerance: TOLERANCE };
    let slit = fit_slit(&samples, start, 3.0, noise)?;
    let errors = slit.errors.map(|error| error * bin);
    let ratio = (slit.edges[1] - slit.edges[0]) / (2.0 * half);
    let good = LENGTHS.contains(&ratio)
        && slit.level > options.significance * slit.level_error
        && errors.iter().all(|error| *error < 0.5);
    let at = place.centre.at(b);
    good.then(|| Slit { edges: slit.edges.map(|e| at + e * bin), errors, sigma: slit.sigma * bin, ..slit })
}

/// Where the light first falls to half of the middle's, going out on both sides: good to a pixel, robust against single
/// pixels. `None` when there is no light in the middle or it does not end.
fn half_light(samples: &[Sample], half: f64) -> Option<[f64; 2]> {
    let reach = samples.iter().map(|s| s.offset.abs()).fold(0.0, f64::max).ceil() as i64;
    let mut columns: Vec<Vec<f64>> = vec![vec![]; (2 * reach + 1).clamp(1, 4096) as usize];
    for sample in samples {
        let index = sample.offset.round() as i64 + reach;
        if let Some(column) = usize::try_from(index).ok().and_then(|k| columns.get_mut(k)) {
            column.push(sample.value);
        }
    }
    let profile: Vec<f64> = columns.iter_mut().map(|column| median_f64(column).unwrap_or(f64::NAN)).collect();
    let value = |k: i64| usize::try_from(k + reach).ok().and_then(|k| profile.get(k)).copied().unwrap_or(f64::NAN);
    let mut inner: Vec<f64> =
        (-(0.5 * half) as i64..=(0.5 * half) as i64).map(value).filter(|v| v.is_finite()).collect();
    let level = median_f64(&mut inner)?;
    let lowest = profile.iter().copied().filter(|v| v.is_finite()).fold(f64::INFINITY, f64::min);
    let threshold = 0.5 * (level + lowest.min(level));
    let outward = |sign: i64| {
        (1..=reach).find_map(|k| {
            let (before, here) = (value(sign * (k - 1)), value(sign * k));
            (before >= threshold && here < threshold)
                .then(|| sign as f64 * ((k - 1) as f64 + (before - threshold) / (before - here)))
        })
    };
    let (low, high) = (outward(-1)?, outward(1)?);
    (level > lowest && low < 0.0 && high > 0.0).then_some([low, high])
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::{ROWS, Scene};
    use super::*;

    const OPTIONS: EdgeOptions = EdgeOptions {
        walk: Walk { length: 8, stride: 16 },
        margin: 10.0,
        degree: 7,
        significance: 10.0,
        cut: 5.0,
        least_used: 0.5,
    };

    fn places(scene: &Scene, off: f64) -> Vec<OrderPlace> {
        let guesses = scene.guesses();
        let place = |guess: super::super::OrderGuess| OrderPlace {
            order: guess.order,
            centre: Curve::through(guess.centre.domain, 6, |b| scene.centre(guess.order, b) + off),
            half_length: Curve::constant(guess.centre.domain, 19.0),
            lit: guess.lit,
        };
        guesses.into_iter().map(place).collect()
    }

    #[test]
    fn edges_are_right_also_when_the_centre_is_off_and_pixels_differ() {
        let scene = Scene { rays: 40, ..Scene::slit() };
        let noise = |r: usize, c: usize| 1.0 + 0.012 * (((r * 7919 + c * 104_729) % 1000) as f64 / 500.0 - 1.0) * 1.7;
        let value = scene.expose(&scene.image(noise), 3);
        let light = Light { value, shot: 1.0, floor: 16.0, binning: [1, 1] };
        for edges in find(&light, &places(&scene, 2.5), &OPTIONS).unwrap() {
            for (curve, sign) in [(&edges.lower, -1.0), (&edges.upper, 1.0)] {
                let errors: Vec<f64> = (0..ROWS)
                    .step_by(8)
                    .map(|b| curve.at(b as f64) - scene.centre(edges.order, b as f64) - sign * scene.half)
                    .collect();
                let rms = (errors.iter().map(|e| e * e).sum::<f64>() / errors.len() as f64).sqrt();
                assert!(rms < 0.03, "order {}: {rms}", edges.order);
                assert!(errors[32].abs() < 5.0 * curve.sigma(256.0));
            }
            assert!((edges.blur - 0.8).abs() < 0.05, "{}", edges.blur);
        }
    }

    #[test]
    fn a_pinhole_flat_has_no_slit_edges() {
        let scene = Scene::pinhole();
        let error = find(&scene.light(4), &places(&scene, 0.0), &OPTIONS).err().unwrap();
        assert!(matches!(error, OrdersError::Edges { .. }), "{error}");
    }
}
