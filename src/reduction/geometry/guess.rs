//! The published format as a map, to start from.

use super::map::{GeometryMap, OrderMap};
use super::solve::{ArcLine, Pinhole, Role};
use crate::instrument::Arm;
use crate::instrument::format::{OrderFormat, SpectralFormat};
use crate::instrument::lines::LampLine;
use crate::numerics::chebyshev;

/// Polynomials along the wavelength and the slit: the published format has degree 5 and 2, corrections stay below.
const SIZE: (usize, usize) = (7, 3);

/// The published format of an arm as a map; empty for the acquisition camera.
pub fn published(format: &SpectralFormat) -> GeometryMap {
    let phases = format.orders().iter().flat_map(|order| order.wavelengths().map(|w| w * f64::from(order.number())));
    let (low, high) = phases.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), phase| (a.min(phase), b.max(phase)));
    let orders = format
        .orders()
        .iter()
        .map(|order| {
            let number = f64::from(order.number());
            let domain = if format.arm() == Arm::Nir { [low / number, high / number] } else { order.wavelengths() };
            sample(order, domain)
        })
        .collect();
    GeometryMap { orders }
}

/// Chebyshev coefficients from the values at Chebyshev nodes.
fn sample(order: &OrderFormat, domain: [f64; 2]) -> OrderMap {
    let (nw, ns) = SIZE;
    let node = |k: usize, n: usize| std::f64::consts::PI * (k as f64 + 0.5) / n as f64;
    let (mut x, mut y) = (vec![0.0; nw * ns], vec![0.0; nw * ns]);
    for a in 0..nw {
        for b in 0..ns {
            let wavelength = 0.5 * (domain[0] + domain[1]) + 0.5 * (domain[1] - domain[0]) * node(a, nw).cos();
            let position = order.position(wavelength, super::map::SLIT_UNIT * node(b, ns).cos());
            for i in 0..nw {
                for j in 0..ns {
                    let half = |k: usize| if k == 0 { 1.0 } else { 2.0 };
                    let weight = half(i) * half(j) / (nw * ns) as f64
                        * (i as f64 * node(a, nw)).cos()
                        * (j as f64 * node(b, ns)).cos();
                    x[i * ns + j] += weight * position.x;
                    y[i * ns + j] += weight * position.y;
                }
            }
        }
    }
    OrderMap { order: order.number(), domain, limits: order.wavelengths(), size: SIZE, x, y }
}

/// The map whose slit positions are counted from `middle` (arcsec, in the map's own positions): what was called `middle`
/// is called 0.
pub fn slid(map: &GeometryMap, middle: f64) -> GeometryMap {
    let slide = |order: &OrderMap| {
        let (nw, ns) = order.size;
        let node = |b: usize| (std::f64::consts::PI * (b as f64 + 0.5) / ns as f64).cos();
        let mut out = order.clone();
        let mut basis = vec![0.0; ns];
        for i in 0..nw {
            let line = i * ns..(i + 1) * ns;
            for (from, to) in [(&order.x, &mut out.x), (&order.y, &mut out.y)] {
                to[line.clone()].fill(0.0);
                for b in 0..ns {
                    chebyshev::values(node(b) + middle / super::map::SLIT_UNIT, &mut basis);
                    let value: f64 = from[line.clone()].iter().zip(&basis).map(|(c, t)| c * t).sum();
                    chebyshev::values(node(b), &mut basis);
                    for (j, (to, t)) in to[line.clone()].iter_mut().zip(&basis).enumerate() {
                        *to += value * t * if j == 0 { 1.0 } else { 2.0 } / ns as f64;
                    }
                }
            }
        }
        out
    };
    GeometryMap { orders: map.orders.iter().map(slide).collect() }
}

/// Nanometres beyond an order's published limits, as a fraction of their distance, at which lines are still expected.
const BEYOND: f64 = 0.02;
/// The same for lines that are only fitted as neighbours of others: a blend at the end of an order has two sides.
const SHADOW: f64 = 0.03;

/// The lines that an arm's orders may show.
pub fn arc_lines(format: &SpectralFormat, lines: &[LampLine]) -> Vec<ArcLine> {
    let mut out = Vec::new();
    for order in format.orders() {
        let [a, b] = order.wavelengths();
        let within = |line: &LampLine, margin: f64| {
            let margin = margin * (b - a);
            (a - margin..=b + margin).contains(&line.wavelength)
        };
        for line in lines.iter().filter(|line| within(line, SHADOW)) {
            let serves = within(line, BEYOND);
            out.push(ArcLine {
                order: order.number(),
                wavelength: line.wavelength,
                role: match &line.doubt {
                    _ if !serves => Role::Neighbour,
                    Some(_) => Role::Candidate,
                    None if line.constrains(order.number()) => Role::Certain,
                    // the faint lines of an atlas are no lines to identify; elsewhere every line is strong
                    None if format.arm() == Arm::Vis => Role::Neighbour,
                    None => Role::Candidate,
                },
                landmark: serves && line.doubt.is_none() && line.published.contains(&order.number()),
            });
        }
    }
    out
}

/// The nine pinholes of the mask, or the middle one alone.
pub fn pinholes(format: &SpectralFormat, single: bool) -> Vec<Pinhole> {
    let middle = format.pinholes().len() / 2;
    (0u8..)
        .zip(format.pinholes())
        .filter(|(index, _)| !single || usize::from(*index) == middle)
        .map(|(index, slit)| Pinhole { index, slit: *slit })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_is_the_published_format() {
        for arm in [Arm::Vis, Arm::Nir] {
            let format = SpectralFormat::of(arm);
            let map = published(format);
            for order in format.orders() {
                let [a, b] = order.wavelengths();
                for (wavelength, slit) in [(a, -6.0), (0.5 * (a + b), 1.3), (b, 5.7)] {
                    let (p, (x, y)) =
                        (order.position(wavelength, slit), map.at(order.number(), wavelength, slit).unwrap());
                    assert!((p.x - x).hypot(p.y - y) < 1e-6, "{arm} {}: {p:?} {x} {y}", order.number());
                }
            }
        }
    }

    #[test]
    fn a_map_that_has_slid_gives_the_same_places_by_other_names() {
        for arm in [Arm::Vis, Arm::Nir] {
            let map = published(SpectralFormat::of(arm));
            let slid = slid(&map, 1.4);
            for order in &map.orders {
                let wavelength = 0.7 * order.limits[0] + 0.3 * order.limits[1];
                for slit in [-5.0, 0.0, 2.2] {
                    let (a, b) = (order.at(wavelength, slit + 1.4), slid.at(order.order, wavelength, slit).unwrap());
                    assert!((a.0 - b.0).hypot(a.1 - b.1) < 1e-9, "{arm} {}: {a:?} {b:?}", order.order);
                }
            }
        }
    }

    #[test]
    fn a_line_of_two_orders_is_expected_in_both() {
        let format = SpectralFormat::of(Arm::Vis);
        let lines = arc_lines(format, crate::instrument::lines::lamp_lines(Arm::Vis));
        let orders: Vec<u8> =
            lines.iter().filter(|l| (l.wavelength - 431.525447).abs() < 1e-5).map(|l| l.order).collect();
        assert_eq!(orders, [2, 3]);
        assert_eq!((pinholes(format, true).len(), pinholes(format, false).len()), (1, 9));
    }
}
