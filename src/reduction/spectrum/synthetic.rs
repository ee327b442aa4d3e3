//! Orders of a spectrograph with known sensitivity, for tests.

use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};

use super::density::OrderDensity;
use super::extinction;
use super::merge::merge_orders;
use super::merged::{FluxUnit, MergedSpectrum};
use super::order::OrderSpectrum;

/// A made spectrograph: orders with dispersions and blazes of their own.
pub(crate) struct Maker {
    /// Samples of the detector that are summed.
    pub bin: usize,
    /// Seed of the noise; `None` for none.
    pub seed: Option<u64>,
    /// Exposure time, s.
    pub exptime: f64,
    /// Airmass.
    pub airmass: f64,
}

/// Ranges and samples of the orders, VIS-like: the middle ones overlap by 10 to 20 nm.
pub(crate) const ORDERS: [(u8, [f64; 2], usize); 4] =
    [(2, [347.0, 440.0], 4096), (3, [424.0, 548.0], 4096), (1, [525.0, 681.0], 4096), (4, [660.0, 851.0], 4096)];

/// Light of the lamp per nm in an order, at most 1: blaze times edges of the dichroics.
fn lamp(range: [f64; 2], wavelength: f64) -> f64 {
    let middle = 0.5 * (range[0] + range[1]);
    let x = (wavelength - middle) / (0.5 * (range[1] - range[0]));
    let blaze = (1.0 - 0.75 * x * x).powi(2);
    let edge = |from: f64| 1.0 / (1.0 + (-from / 0.9).exp());
    blaze * edge(wavelength - range[0] - 6.0) * edge(range[1] - 6.0 - wavelength)
}

/// Electrons per erg/cm2/A and nm for light as bright in the lamp's order as at its maximum: what the response measures. Smooth.
pub(crate) fn sensitivity(order: u8, wavelength: f64) -> f64 {
    let level = 1.0 + 0.3 * f64::from(order);
    8e16 * level * (wavelength / 600.0).powf(1.4) * (1.0 + 0.1 * (wavelength / 90.0).sin())
}

impl Maker {
    /// Spectra of light with this flux density (erg/s/cm2/A) above the atmosphere and this transmission of the air's bands.
    pub(crate) fn orders(&self, flux: impl Fn(f64) -> f64, bands: impl Fn(f64) -> f64) -> Vec<OrderSpectrum> {
        let mut rng = self.seed.map(rand_pcg::Pcg64Mcg::seed_from_u64);
        ORDERS
            .iter()
            .map(|(number, range, samples)| {
                let n = samples / self.bin;
                let mut order = OrderSpectrum { order: *number, flags: vec![0; n], ..OrderSpectrum::default() };
                // dispersion falls along the order, by an amount of its own
                let slope = 0.1 + 0.05 * f64::from(*number);
                let place = |x: f64| {
                    let t = x / n as f64;
                    range[0] + (range[1] - range[0]) * (t + slope * t * (1.0 - t))
                };
                for k in 0..n {
                    let (low, high) = (place(k as f64), place(k as f64 + 1.0));
                    let (wavelength, width) = (0.5 * (low + high), high - low);
                    let lamp = lamp(*range, wavelength);
                    let air = 10f64.powf(-0.4 * extinction::magnitudes(wavelength) * self.airmass) * bands(wavelength);
                    let light = flux(wavelength) * air * lamp * sensitivity(*number, wavelength) * width * self.exptime;
                    let variance = light + 30.0 * self.bin as f64;
                    let noise = rng.as_mut().map_or(0.0, |rng| Distribution::<f64>::sample(&StandardNormal, rng));
                    order.place.push(k as f64);
                    order.wavelength.push(wavelength);
                    order.width.push(width);
                    order.flux.push(light + noise * variance.sqrt());
                    order.variance.push(variance);
                    order.blaze.push(lamp * width / 0.06);
                    order.sky.push(10.0);
                }
                order.boxcar = order.flux.clone();
                order.boxcar_variance = order.variance.clone();
                order
            })
            .collect()
    }
}

/// One arm: a flux of known errors on a grid of its own.
pub(crate) fn arm(range: [f64; 2], scale: f64, seed: u64) -> MergedSpectrum {
    let mut rng = rand_pcg::Pcg64Mcg::seed_from_u64(seed);
    let n = ((range[1] - range[0]) / 0.045) as usize;
    let mut order = OrderDensity { name: "arm".to_string(), exposure: 60.0, ..OrderDensity::default() };
    for k in 0..n {
        let wavelength = range[0] + 0.045 * (k as f64 + 0.5);
        order.wavelength.push(wavelength);
        order.ends.push([wavelength - 0.0225, wavelength + 0.0225]);
        order.flux.push(
            scale * ((wavelength / 800.0).powi(-2) + 0.03 * Distribution::<f64>::sample(&StandardNormal, &mut rng)),
        );
        order.variance.push((scale * 0.03).powi(2));
    }
    order.systematic = vec![0.0; n];
    order.sky = vec![0.0; n];
    order.flags = vec![0; n];
    merge_orders(&[order], 18.0, FluxUnit::FluxDensity).expect("samples")
}
