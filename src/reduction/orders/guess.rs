//! The first guess: the published spectral format, seen from the detector.

use super::OrderGuess;
use crate::instrument::Arm;
use crate::instrument::format::{Axis, OrderFormat, Position, SpectralFormat};
use crate::numerics::curve::Curve;

/// Degree of the curves that stand for the published model; 8 repeats it to 0.001 pixels.
const DEGREE: usize = 8;

/// Where the orders of an arm are published to lie.
pub fn published(arm: Arm) -> Vec<OrderGuess> {
    let format = SpectralFormat::of(arm);
    let (rows, columns) = format.shape();
    let steps = match format.dispersion() {
        Axis::X => columns,
        Axis::Y => rows,
    };
    let last = steps.saturating_sub(1) as f64;
    format.orders().iter().map(|order| guess(order, format.dispersion(), format.slit_length(), last)).collect()
}

/// Position and slopes as (b, a, db/dw, db/ds, da/ds).
fn turned(p: Position, dispersion: Axis) -> (f64, f64, f64, f64, f64) {
    match dispersion {
        Axis::X => (p.x, p.y, p.dx_dw, p.dx_ds, p.dy_ds),
        Axis::Y => (p.y, p.x, p.dy_dw, p.dy_ds, p.dx_ds),
    }
}

fn guess(order: &OrderFormat, dispersion: Axis, slit_length: f64, last: f64) -> OrderGuess {
    let at = |wavelength: f64| turned(order.position(wavelength, 0.0), dispersion);
    let [shortest, longest] = order.domain();
    let rising = at(longest).0 > at(shortest).0;
    // the model is monotonic along its domain (checked when it is read), so bisection finds the place
    let wavelength_at = |b: f64| {
        let (mut low, mut high) = (shortest, longest);
        for _ in 0..60 {
            let middle = f64::midpoint(low, high);
            if (at(middle).0 < b) == rising { low = middle } else { high = middle }
        }
        f64::midpoint(low, high)
    };
    let ends: Vec<f64> = order.wavelengths().iter().map(|w| at(*w).0.clamp(0.0, last)).collect();
    let lit = [ends.iter().copied().fold(last, f64::min), ends.iter().copied().fold(0.0, f64::max)];
    // beyond the domain of its model an order is continued by the tangent: polynomials may turn round there
    let reach = [at(shortest).0.min(at(longest).0), at(shortest).0.max(at(longest).0)];
    let centre_at = |b: f64| {
        let inside = b.clamp(reach[0] + 1.0, reach[1] - 1.0);
        let wavelength = wavelength_at(inside);
        let h = 1e-4 * (longest - shortest);
        let ((b0, a0, ..), (b1, a1, ..)) = (at(wavelength - h), at(wavelength + h));
        at(wavelength).1 + (b - inside) * (a1 - a0) / (b1 - b0)
    };
    let domain = [0.0, last];
    let centre = Curve::through(domain, DEGREE, centre_at);
    let shape = |b: f64| at(wavelength_at(b.clamp(lit[0], lit[1])));
    let half_length = Curve::through(domain, 3, |b| {
        let (.., db_ds, da_ds) = shape(b);
        0.5 * slit_length * (da_ds - centre.slope(b) * db_ds).abs()
    });
    let tilt = Curve::through(domain, 4, |b| {
        let (.., db_ds, da_ds) = shape(b);
        db_ds / da_ds
    });
    OrderGuess { order: order.number(), centre, half_length, tilt, lit }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_repeat_the_published_model() {
        for (arm, orders) in [(Arm::Vis, 4), (Arm::Nir, 15)] {
            let format = SpectralFormat::of(arm);
            let guesses = published(arm);
            assert_eq!(guesses.len(), orders);
            for (guess, order) in guesses.iter().zip(format.orders()) {
                assert!(guess.lit[1] - guess.lit[0] > 500.0, "{arm} {}", guess.order);
                let [short, long] = order.wavelengths();
                for k in 1..10 {
                    let w = short + (long - short) * f64::from(k) / 10.0;
                    let (b, a, ..) = turned(order.position(w, 0.0), format.dispersion());
                    if (guess.lit[0]..=guess.lit[1]).contains(&b) {
                        let error = guess.centre.at(b) - a;
                        assert!(error.abs() < 0.02, "{arm} order {} at {b}: {error}", guess.order);
                        // a point along the slit, by the half length and the tilt
                        let (eb, ea, ..) = turned(order.position(w, 4.0), format.dispersion());
                        let along = (ea - guess.centre.at(eb)).abs() * 1.5;
                        assert!((along / guess.half_length.at(eb) - 1.0).abs() < 0.03);
                        assert!((eb - b - guess.tilt.at(b) * (ea - a)).abs() < 0.3);
                    }
                }
            }
        }
        assert!(published(Arm::Acq).is_empty());
    }
}
