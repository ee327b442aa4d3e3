//! Small images with known orders, for tests.

use ndarray::Array2;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Normal, Poisson};

use super::OrderGuess;
use super::image::Light;
use super::profile::step;
use crate::numerics::curve::Curve;

/// Unbinned rows.
pub const ROWS: usize = 512;
/// Unbinned columns.
pub const COLUMNS: usize = 240;
/// Sigma of the optics in pixels.
pub const BLUR: f64 = 0.8;

/// What light falls where. Closed form, so that every test knows the truth.
#[derive(Clone, Debug)]
pub struct Scene {
    /// Orders that are lit, of four.
    pub orders: u8,
    /// Electrons per pixel in the middle of an order.
    pub level: f64,
    /// Half length of the slit's image, pixels: 0.8 for a pinhole.
    pub half: f64,
    /// Shift in a and in b.
    pub shift: [f64; 2],
    /// Cosmic rays.
    pub rays: usize,
    /// Unbinned b from which the orders are dark.
    pub dark_from: f64,
    /// Pixels per step of b and of a.
    pub binning: [usize; 2],
    /// Light between the orders, electrons.
    pub scattered: f64,
    /// Read noise, electrons.
    pub ron: f64,
}

impl Scene {
    /// A flat through the pinhole.
    pub fn pinhole() -> Scene {
        Scene {
            orders: 4,
            level: 4000.0,
            half: 0.8,
            shift: [0.0, 0.0],
            rays: 0,
            dark_from: f64::INFINITY,
            binning: [1, 1],
            scattered: 0.0,
            ron: 4.0,
        }
    }

    /// A flat through the slit.
    pub fn slit() -> Scene {
        Scene { half: 18.0, level: 20_000.0, scattered: 60.0, ..Scene::pinhole() }
    }

    /// Published centre of an order (from 1).
    fn published(order: u8, b: f64) -> f64 {
        let t = (b - 256.0) / 256.0;
        // gaps differ, so that a slip by one order and a mirror image can be told
        [28.0, 78.0, 136.0, 206.0][usize::from(order) - 1] + 3.0 * t - 2.0 * t * t + t * t * t
    }

    /// True centre.
    pub fn centre(&self, order: u8, b: f64) -> f64 {
        Scene::published(order, b - self.shift[1]) + self.shift[0]
    }

    /// What is published about the orders, as always without the shift.
    pub fn guesses(&self) -> Vec<OrderGuess> {
        let domain = [0.0, (ROWS - 1) as f64];
        (1..=4)
            .map(|order| OrderGuess {
                order,
                centre: Curve::through(domain, 5, |b| Scene::published(order, b)),
                half_length: Curve::constant(domain, 18.0),
                tilt: Curve::constant(domain, 0.0),
                lit: domain,
            })
            .collect()
    }

    /// Light of the lamp along an order, relative.
    pub fn blaze(&self, order: u8, b: f64) -> f64 {
        if b >= self.dark_from {
            return 0.0;
        }
        let t = (b - 256.0) / 256.0;
        (1.0 - 0.5 * t * t) * [1.0, 0.3, 0.7, 1.2][usize::from(order) - 1]
    }

    /// Expected electrons of an unbinned pixel.
    pub fn expected(&self, b: f64, a: f64) -> f64 {
        (1..=self.orders)
            .map(|order| {
                let x = a - self.centre(order, b);
                self.level * self.blaze(order, b) * (step(x + self.half, BLUR)[0] - step(x - self.half, BLUR)[0])
            })
            .sum::<f64>()
            + self.scattered * if self.level > 0.0 { 1.0 + 0.5 * (a / COLUMNS as f64) } else { 0.0 }
    }

    /// Electrons expected, with a pixel response.
    pub fn image(&self, response: impl Fn(usize, usize) -> f64) -> Array2<f64> {
        let [nb, na] = self.binning;
        Array2::from_shape_fn((ROWS / nb, COLUMNS / na), |(r, c)| {
            let mut sum = 0.0;
            for b in r * nb..(r + 1) * nb {
                for a in c * na..(c + 1) * na {
                    sum += self.expected(b as f64, a as f64);
                }
            }
            sum * response(r, c)
        })
    }

    /// One exposure in electrons of an expected image, with shot noise, read noise and cosmic rays.
    pub fn expose(&self, expected: &Array2<f64>, seed: u64) -> Array2<f32> {
        let mut random = rand_pcg::Pcg64::seed_from_u64(seed);
        let read = Normal::new(0.0, self.ron).unwrap();
        let mut image = expected.mapv(|e| {
            let shot = if e > 0.0 { Poisson::new(e).unwrap().sample(&mut random) } else { 0.0 };
            (shot + read.sample(&mut random)) as f32
        });
        let (rows, columns) = image.dim();
        for _ in 0..self.rays {
            let (r, c) = (random.random_range(0..rows), random.random_range(0..columns));
            image[[r, c]] += random.random_range(200.0..5000.0) as f32;
        }
        image
    }

    /// One exposure as the searches want it.
    pub fn light(&self, seed: u64) -> Light {
        let value = self.expose(&self.image(|_, _| 1.0), seed);
        Light { value, shot: 1.0, floor: self.ron * self.ron, binning: self.binning }
    }
}
