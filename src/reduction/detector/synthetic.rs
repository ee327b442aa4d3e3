//! Small frames with known truth, for the tests of this module and of the recipes.

use std::ops::Range;

use ndarray::Array2;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Normal, Poisson};

use super::trim::{RawStack, Regions};

/// What is put into the frames, in electrons.
#[derive(Clone, Debug)]
pub struct Scene {
    pub rows: usize,
    pub columns: usize,
    /// Unexposed columns on each side.
    pub side: usize,
    /// Unexposed rows at each end.
    pub edge: usize,
    pub frames: usize,
    pub gain: f64,
    pub quantised: bool,
    pub saturation: f64,
    pub pedestal: f64,
    pub ron: f64,
    /// Factor on the read noise of each frame; empty for 1.
    pub noise_factor: Vec<f64>,
    /// Addition to the level of each frame; empty for 0.
    pub level_shift: Vec<f64>,
    /// Scatter of an offset that each row of each frame has.
    pub row_noise: f64,
    /// Fixed pattern per pixel.
    pub pattern: f64,
    /// Signal per pixel: dark current times exposure time.
    pub dark: f64,
    /// The dark signal rises by this factor towards the last column.
    pub glow: f64,
    /// Hot pixels: row, column, electrons.
    pub hot: Vec<(usize, usize, f64)>,
    /// Cosmic rays: frame, row, column, electrons.
    pub rays: Vec<(usize, usize, usize, f64)>,
    pub seed: u64,
}

impl Scene {
    /// A small CCD with overscan on both sides, bias frames.
    pub fn ccd() -> Scene {
        Scene {
            rows: 256,
            columns: 192,
            side: 12,
            edge: 0,
            frames: 5,
            gain: 1.12,
            quantised: true,
            saturation: 65535.0,
            pedestal: 733.6,
            ron: 3.8,
            noise_factor: vec![],
            level_shift: vec![],
            row_noise: 0.0,
            pattern: 0.0,
            dark: 0.0,
            glow: 0.0,
            hot: vec![],
            rays: vec![],
            seed: 7,
        }
    }

    /// A small infrared array with a reference border, short darks.
    pub fn infrared() -> Scene {
        let base = Scene::ccd();
        Scene { side: 4, edge: 4, gain: 2.3, quantised: false, pedestal: 2.0, ron: 7.3, columns: 256, ..base }
    }

    pub fn regions(&self) -> Regions {
        let around = |n: usize, border: usize| -> Vec<Range<usize>> {
            if border == 0 { vec![] } else { vec![0..border, n + border..n + 2 * border] }
        };
        Regions {
            columns: self.side..self.side + self.columns,
            rows: self.edge..self.edge + self.rows,
            side_columns: around(self.columns, self.side),
            edge_rows: around(self.rows, self.edge),
        }
    }

    /// The noise-free mean, rows x columns of the exposed area, without the shifts of single frames.
    pub fn truth(&self) -> Array2<f64> {
        let mut rng = rand_pcg::Pcg64Mcg::seed_from_u64(self.seed ^ 0x5eed);
        let normal = Normal::new(0.0, self.pattern.max(1e-12)).unwrap();
        let mut truth = Array2::from_shape_fn((self.rows, self.columns), |(_, c)| {
            let glow = 1.0 + self.glow * (c as f64 / self.columns as f64).powi(4);
            self.pedestal + self.dark * glow + normal.sample(&mut rng)
        });
        for (row, column, electrons) in &self.hot {
            truth[[*row, *column]] += electrons;
        }
        truth
    }

    pub fn render(&self) -> (Vec<Array2<f32>>, Regions) {
        let mut rng = rand_pcg::Pcg64Mcg::seed_from_u64(self.seed);
        let normal = Normal::new(0.0, 1.0).unwrap();
        let hot: std::collections::HashMap<(usize, usize), f64> =
            self.hot.iter().map(|(row, column, electrons)| ((*row, *column), *electrons)).collect();
        let truth = self.truth();
        let images = (0..self.frames)
            .map(|k| {
                let shift = self.level_shift.get(k).copied().unwrap_or(0.0);
                let ron = self.ron * self.noise_factor.get(k).copied().unwrap_or(1.0);
                let (height, width) = (self.rows + 2 * self.edge, self.columns + 2 * self.side);
                let mut image = Array2::from_elem((height, width), 0.0f32);
                for r in 0..height {
                    let row_offset = self.row_noise * normal.sample(&mut rng);
                    for c in 0..width {
                        let mut value = self.pedestal + shift + row_offset + ron * normal.sample(&mut rng);
                        let (y, x) = (r.wrapping_sub(self.edge), c.wrapping_sub(self.side));
                        if y < self.rows && x < self.columns {
                            let glow = 1.0 + self.glow * (x as f64 / self.columns as f64).powi(4);
                            let light = self.dark * glow + hot.get(&(y, x)).copied().unwrap_or(0.0);
                            // the fixed pattern is what the truth has beyond pedestal and light
                            value += truth[[y, x]] - self.pedestal - light;
                            if light > 0.0 {
                                value += Poisson::new(light).unwrap().sample(&mut rng);
                            }
                        }
                        let adu = value / self.gain;
                        image[[r, c]] =
                            if self.quantised { adu.round().clamp(0.0, 65535.0) as f32 } else { adu as f32 };
                    }
                }
                for (_, row, column, electrons) in self.rays.iter().filter(|ray| ray.0 == k) {
                    image[[row + self.edge, column + self.side]] += (electrons / self.gain) as f32;
                }
                image
            })
            .collect();
        (images, self.regions())
    }

    pub fn stack<'a>(&self, images: &'a [Array2<f32>], regions: &'a Regions) -> RawStack<'a> {
        RawStack::new(images, regions, self.gain, self.saturation).unwrap()
    }

    /// Scatter `n` cosmic rays of 100-3000 e- over each frame, some of them two pixels long.
    pub fn with_rays(mut self, n: usize) -> Scene {
        let mut rng = rand_pcg::Pcg64Mcg::seed_from_u64(self.seed + 99);
        for k in 0..self.frames {
            for _ in 0..n {
                let (row, column) = (rng.random_range(0..self.rows), rng.random_range(0..self.columns - 1));
                let electrons = rng.random_range(100.0..3000.0);
                self.rays.push((k, row, column, electrons));
                self.rays.push((k, row, column + 1, 0.5 * electrons));
            }
        }
        self
    }
}
