//! How the light of a source is spread along the slit.
//!
//! A profile is a density per arcsec about the trace, as pixels see it (their own width is in it), whose integral is the
//! share of the light that falls within its reach. It begins as a Moffat function and bends towards what the data show,
//! by a spline in the distance and polynomials in the wavelength, as far as they show anything ([`Profile::fit`]): bright
//! sources get an empirical profile, faint ones keep the function.

use crate::numerics::banded::Banded;
use crate::numerics::chebyshev;

/// Step of the tables, arcsec.
const STEP: f64 = 0.02;
/// Places along the order at which a fitted profile is tabulated.
const NODES: usize = 17;

/// A Moffat function integrated across the slit: `(1 + (u / alpha)^2)^-beta`; a Gaussian for an infinite `beta`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moffat {
    /// Full width at half maximum, arcsec.
    pub fwhm: f64,
    /// Exponent, above 1.
    pub beta: f64,
}

impl Moffat {
    /// Value, 1 in the middle.
    pub fn at(&self, u: f64) -> f64 {
        let x = 2.0 * u / self.fwhm;
        if self.beta.is_infinite() {
            (-std::f64::consts::LN_2 * x * x).exp()
        } else {
            (1.0 + (2f64.powf(1.0 / self.beta) - 1.0) * x * x).powf(-self.beta)
        }
    }

    /// Integral from -`half` to `half`, arcsec.
    fn integral(&self, half: f64) -> f64 {
        const N: usize = 400;
        let h = half / N as f64;
        let sum: f64 = (1..N).map(|k| self.at(k as f64 * h) * if k % 2 == 1 { 4.0 } else { 2.0 }).sum();
        2.0 * h / 3.0 * (self.at(0.0) + self.at(half) + sum)
    }

    /// The share of all light within `half` of the middle.
    pub fn share(&self, half: f64) -> f64 {
        // beyond 40 half widths the power law is integrated in closed form
        let far = half.max(40.0 * self.fwhm);
        let tail = if self.beta.is_infinite() { 0.0 } else { 2.0 * far * self.at(far) / (2.0 * self.beta - 1.0) };
        let inner = self.integral(half.min(5.0 * self.fwhm));
        let middle = if half > 5.0 * self.fwhm { self.integral(half) } else { inner };
        let whole = self.integral(5.0 * self.fwhm) + self.between(5.0 * self.fwhm, far) + tail;
        (middle / whole).min(1.0)
    }

    fn between(&self, from: f64, to: f64) -> f64 {
        const N: usize = 400;
        let ratio = (to / from).powf(1.0 / N as f64);
        (0..N)
            .map(|k| {
                let (a, b) = (from * ratio.powi(k as i32), from * ratio.powi(k as i32 + 1));
                (self.at(a) + 4.0 * self.at(0.5 * (a + b)) + self.at(b)) * (b - a) / 3.0
            })
            .sum()
    }
}

/// A profile of one source in one order.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Distance from the trace to which it reaches, arcsec.
    half: f64,
    /// Rows of the strip.
    rows: usize,
    /// Density per arcsec at steps from -half, at one or more places along the order.
    tables: Vec<Vec<f64>>,
    /// Function that it began with.
    pub moffat: Moffat,
}

/// One pixel for the fit of a profile.
#[derive(Clone, Copy, Debug)]
pub struct ProfilePoint {
    /// Row with its fraction.
    pub row: f64,
    /// Distance from the trace, arcsec.
    pub u: f64,
    /// Light expected per unit of density: the spectrum times the width of the pixel in arcsec.
    pub light: f64,
    /// Light found.
    pub value: f64,
    /// Its variance.
    pub variance: f64,
}

impl Profile {
    /// The function alone, over this many rows.
    pub fn of(moffat: Moffat, half: f64, rows: usize) -> Profile {
        let steps = 2 * (half / STEP).ceil() as usize + 1;
        let half = STEP * ((steps - 1) / 2) as f64;
        let norm = moffat.share(half) / moffat.integral(half);
        let table = (0..steps).map(|k| norm * moffat.at(k as f64 * STEP - half)).collect();
        Profile { half, rows, tables: vec![table], moffat }
    }

    /// Distance from the trace to which it reaches, arcsec.
    pub fn half(&self) -> f64 {
        self.half
    }

    /// Density per arcsec at a row and a distance from the trace; zero out of reach.
    pub fn at(&self, row: f64, u: f64) -> f64 {
        let place = (u + self.half) / STEP;
        let steps = self.tables[0].len();
        if !(place >= 0.0 && place < (steps - 1) as f64) {
            return 0.0;
        }
        let (k, f) = (place as usize, place.fract());
        let value = |table: &[f64]| table[k] + (table[k + 1] - table[k]) * f;
        if self.tables.len() == 1 {
            return value(&self.tables[0]);
        }
        let node = (row / (self.rows.max(2) - 1) as f64).clamp(0.0, 1.0) * (self.tables.len() - 1) as f64;
        let (n, g) = ((node as usize).min(self.tables.len() - 2), node);
        let g = g - n as f64;
        value(&self.tables[n]) * (1.0 - g) + value(&self.tables[n + 1]) * g
    }

    /// The profile's derivative by the distance.
    pub fn slope(&self, row: f64, u: f64) -> f64 {
        (self.at(row, u + STEP) - self.at(row, u - STEP)) / (2.0 * STEP)
    }

    /// Full width at half maximum in the middle of the order, arcsec.
    pub fn fwhm(&self) -> f64 {
        let table = &self.tables[self.tables.len() / 2];
        let Some((top, peak)) = table.iter().copied().enumerate().max_by(|a, b| a.1.total_cmp(&b.1)) else {
            return 0.0;
        };
        let edge = |steps: &mut dyn Iterator<Item = usize>| {
            let mut before = (top, peak);
            for k in steps {
                if table[k] < 0.5 * peak {
                    let f = (before.1 - 0.5 * peak) / (before.1 - table[k]);
                    return before.0 as f64 + (k as f64 - before.0 as f64) * f;
                }
                before = (k, table[k]);
            }
            before.0 as f64
        };
        let (right, left) = (edge(&mut (top + 1..table.len())), edge(&mut (0..top).rev()));
        (right - left) * STEP
    }

    /// Bend the function towards the data: `value = light * profile(row, u)`, the difference from the function being a
    /// cubic spline in `u` times Chebyshev polynomials up to `degree` along the order. Its knots are further apart than
    /// pixels, which are `pixel` arcsec wide: where a trace keeps its place on the pixels, nothing finer is seen.
    ///
    /// Each coefficient and its second difference is expected within a Gaussian about 0 that is a tenth of the function
    /// wide, and narrower for what changes along the order, so that data of little weight change little.
    pub fn fit(&self, points: &[ProfilePoint], pixel: f64, degree: usize) -> Profile {
        let basis = Basis::new(self.half, (0.35 * self.moffat.fwhm).max(1.3 * pixel));
        let (knots, terms) = (basis.count, degree + 1);
        let base = Profile::of(self.moffat, self.half, self.rows);
        let peak = base.at(0.0, 0.0);
        let mut sums = Banded::new(knots * terms, 4 * terms - 1);
        for k in 0..knots {
            let expected = 0.1 * base.at(0.0, basis.place(k).clamp(-self.half, self.half)) + 0.002 * peak;
            for l in 0..terms {
                let weight = ((1 << (2 * l)) as f64 / expected).powi(2);
                sums.add(&[(k * terms + l, 1.0)], 0.0, weight);
                if k >= 2 {
                    let row = [((k - 2) * terms + l, 1.0), ((k - 1) * terms + l, -2.0), (k * terms + l, 1.0)];
                    sums.add(&row, 0.0, weight);
                }
            }
        }
        let mut along = vec![0.0; terms];
        let mut factors = Vec::with_capacity(4 * terms);
        for point in points {
            let Some((first, weights)) = basis.weights(point.u) else { continue };
            chebyshev::values(self.reduced(point.row), &mut along);
            factors.clear();
            for (j, weight) in weights.iter().enumerate() {
                let start = (first + j) * terms;
                factors.extend(along.iter().enumerate().map(|(l, term)| (start + l, point.light * weight * term)));
            }
            sums.add(&factors, point.value - point.light * base.at(0.0, point.u), 1.0 / point.variance);
        }
        match sums.parameters() {
            Some(coefficients) => base.bent(&basis, &coefficients, terms),
            None => base,
        }
    }

    fn reduced(&self, row: f64) -> f64 {
        (2.0 * row / (self.rows.max(2) - 1) as f64 - 1.0).clamp(-1.0, 1.0)
    }

    /// Add the fitted difference, take away what is negative and give every table the share of the function.
    fn bent(&self, basis: &Basis, coefficients: &[f64], terms: usize) -> Profile {
        let share = self.moffat.share(self.half);
        let mut along = vec![0.0; terms];
        let tables = (0..NODES)
            .map(|node| {
                let row = node as f64 / (NODES - 1) as f64 * (self.rows.max(2) - 1) as f64;
                chebyshev::values(self.reduced(row), &mut along);
                let mut table: Vec<f64> = self.tables[0].clone();
                for (k, value) in table.iter_mut().enumerate() {
                    if let Some((first, weights)) = basis.weights(k as f64 * STEP - self.half) {
                        for (j, weight) in weights.iter().enumerate() {
                            let line = &coefficients[(first + j) * terms..(first + j + 1) * terms];
                            *value += weight * line.iter().zip(&along).map(|(c, t)| c * t).sum::<f64>();
                        }
                    }
                    *value = value.max(0.0);
                }
                let total = table.iter().sum::<f64>() * STEP;
                if total > 0.0 {
                    table.iter_mut().for_each(|value| *value *= share / total);
                    table
                } else {
                    self.tables[0].clone()
                }
            })
            .collect();
        Profile { tables, ..self.clone() }
    }
}

/// Cubic B-splines on equal knots from -half to half.
struct Basis {
    half: f64,
    step: f64,
    count: usize,
}

impl Basis {
    fn new(half: f64, spacing: f64) -> Basis {
        let cells = (2.0 * half / spacing.clamp(0.1, 1.0)).floor().clamp(4.0, 80.0);
        Basis { half, step: 2.0 * half / cells, count: cells as usize + 3 }
    }

    /// Distance at which a spline has its top.
    fn place(&self, k: usize) -> f64 {
        (k as f64 - 1.0) * self.step - self.half
    }

    /// First spline and the four values at a distance.
    fn weights(&self, u: f64) -> Option<(usize, [f64; 4])> {
        let place = (u + self.half) / self.step;
        if !(place >= 0.0 && place < (self.count - 3) as f64) {
            return None;
        }
        Some((place as usize, cubic(place.fract())))
    }
}

/// The four cubic B-splines that differ from zero at a fraction between two knots.
pub fn cubic(f: f64) -> [f64; 4] {
    let g = 1.0 - f;
    let inner = |x: f64| 2.0 / 3.0 - x * x + 0.5 * x * x * x;
    [g * g * g / 6.0, inner(f), inner(g), f * f * f / 6.0]
}
