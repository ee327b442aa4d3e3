//! Small strips with known light, for tests of this module.

use ndarray::Array2;
use rand::SeedableRng;
use rand_distr::{Distribution, Normal, Poisson};

use super::strip::Strip;
use crate::reduction::flags;
use crate::reduction::orders::image::Dispersion;

/// One order with leaning lines, and how it is exposed.
#[derive(Clone, Debug)]
pub struct Scene {
    /// Rows and columns.
    pub shape: (usize, usize),
    /// Rows by which a line moves over one arcsecond of the slit.
    pub lean: f64,
    /// Whether wavelengths fall from row to row.
    pub falling: bool,
    /// Read noise, electrons.
    pub ron: f64,
    /// Seed of the noise; `None` for an image without any.
    pub seed: Option<u64>,
}

/// Pixels per arcsecond along the slit, half length of the slit, nm per row.
const SCALE: f64 = 3.6;
const HALF: f64 = 6.0;
const STEP: f64 = 0.04;

impl Scene {
    /// 200 rows.
    pub fn small() -> Scene {
        Scene { shape: (200, 50), lean: 0.5, falling: false, ron: 3.8, seed: Some(1) }
    }

    /// Row at the middle of the slit of a row at a slit position.
    pub fn row_at_middle(&self, row: f64, slit: f64) -> f64 {
        row - self.lean * slit - 0.01 * slit * slit
    }

    /// Slit position of a column.
    pub fn slit(&self, column: usize) -> f64 {
        (column as f64 - 0.5 * (self.shape.1 as f64 - 1.0)) / SCALE
    }

    /// Wavelength at the middle of the slit of a row.
    pub fn wavelength(&self, row: f64) -> f64 {
        600.0 + STEP * if self.falling { -row } else { row }
    }

    /// Expose `light(row at the middle of the slit, slit position)`, electrons.
    pub fn strip(&self, light: &dyn Fn(f64, f64) -> f64) -> Strip {
        let shape = self.shape;
        let plane = |value: f32| Array2::from_elem(shape, value);
        let mut strip = Strip {
            order: 4,
            dispersion: Dispersion::Rows,
            row: 0,
            columns: vec![0; shape.0],
            binning: [1, 1],
            wavelength: Array2::from_elem(shape, f64::NAN),
            slit: plane(f32::NAN),
            wavelength_error: plane(0.001),
            value: plane(0.0),
            floor: plane((self.ron * self.ron) as f32),
            response: plane(1.0),
            flat: plane(0.0),
            flags: Array2::from_elem(shape, flags::NO_DATA),
        };
        let mut rng = rand_pcg::Pcg64Mcg::seed_from_u64(self.seed.unwrap_or(0));
        let normal = Normal::new(0.0, self.ron).unwrap();
        for r in 0..shape.0 {
            for c in 0..shape.1 {
                let slit = self.slit(c);
                let u = self.row_at_middle(r as f64, slit);
                let mut value = light(u, slit);
                if self.seed.is_some() {
                    let photons = if value > 0.0 { Poisson::new(value).unwrap().sample(&mut rng) } else { 0.0 };
                    value = photons + normal.sample(&mut rng);
                }
                strip.value[(r, c)] = value as f32;
                if slit.abs() <= HALF {
                    strip.wavelength[(r, c)] = self.wavelength(u);
                    strip.slit[(r, c)] = slit as f32;
                    strip.flags[(r, c)] = 0;
                }
            }
        }
        strip
    }
}

/// A line of unit peak: a slit of this width, blurred, at a distance from its middle, in rows.
pub fn line(distance: f64, width: f64, sigma: f64) -> f64 {
    let edge = |x: f64| libm::erf(x / (sigma * std::f64::consts::SQRT_2));
    0.5 * (edge(distance + 0.5 * width) - edge(distance - 0.5 * width))
}
