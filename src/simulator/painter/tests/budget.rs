//! The light of stars and of the sky, counted.

use super::*;
use crate::simulator::light::air::extinction;
use crate::simulator::light::throughput::efficiency;
use crate::simulator::optics::{Entrance, Source};
use crate::simulator::truth::tables::SpectrumTable;

/// Bands of molecules, nm: no closed form holds there.
const BANDS: [(f64, f64); 16] = [
    (628.0, 631.0),
    (686.7, 692.5),
    (716.0, 734.0),
    (759.4, 770.0),
    (813.0, 835.0),
    (895.0, 920.0),
    (930.0, 970.0),
    (1110.0, 1165.0),
    (1255.0, 1280.0),
    (1340.0, 1480.0),
    (1568.0, 1582.0),
    (1598.0, 1615.0),
    (1630.0, 1690.0),
    (1790.0, 1960.0),
    (1995.0, 2035.0),
    (2045.0, 2075.0),
];
/// Flux of the flat template, erg/s/cm2/Angstrom.
const FLUX: f64 = 1.0e-15;
/// Planck's constant times the speed of light, erg nm.
const PLANCK_LIGHT: f64 = 1.986_445_86e-9;
/// Collecting area of the telescope, cm2.
const APERTURE: f64 = 8.9e4;
/// Pixels along the dispersion that are added up.
pub(super) const WINDOW: usize = 160;

/// Simpson's rule.
fn integral(from: f64, to: f64, value: impl Fn(f64) -> f64) -> f64 {
    const PARTS: i32 = 200;
    let step = (to - from) / f64::from(PARTS);
    let weight = |part: i32| match part {
        0 | PARTS => 1.0,
        odd if odd % 2 == 1 => 4.0,
        _ => 2.0,
    };
    step / 3.0 * (0..=PARTS).map(|part| weight(part) * value(from + step * f64::from(part))).sum::<f64>()
}

/// The share of a star's light between two lines, arcsec from its centre: a Moffat function with beta = 3, projected.
pub(super) fn share(fwhm: f64, from: f64, to: f64) -> f64 {
    let alpha = fwhm / (2.0 * (2.0_f64.cbrt() - 1.0).sqrt());
    integral(from, to, |x| 0.75 / alpha * (1.0 + (x / alpha).powi(2)).powf(-2.5))
}

/// A stretch of an order on an image.
pub(super) struct Stretch<'a> {
    pub view: &'a View,
    pub arm: Arm,
    pub order: u8,
    /// First pixel along the dispersion.
    pub first: usize,
}

impl Stretch<'_> {
    fn place(&self, wavelength: f64, slit: f64) -> (f64, f64) {
        let order = self.view.format().order(self.order).unwrap();
        let p = self.view.position(order, wavelength, slit);
        along(self.arm, (p.x, p.y))
    }

    /// Wavelengths at the edges for light from a place on the slit.
    pub fn limits(&self, slit: impl Fn(f64) -> f64) -> [f64; 2] {
        let order = self.view.format().order(self.order).unwrap();
        let edges = [self.first as f64 - 0.5, (self.first + WINDOW) as f64 - 0.5];
        let mut limits = edges.map(|edge| {
            let [mut low, mut high] = order.domain();
            let rising = self.place(high, 0.0).0 > self.place(low, 0.0).0;
            for _ in 0..60 {
                let middle = 0.5 * (low + high);
                if (self.place(middle, slit(middle)).0 < edge) == rising { low = middle } else { high = middle }
            }
            low
        });
        limits.sort_by(f64::total_cmp);
        limits
    }

    /// Whether no molecule absorbs here.
    fn clear(&self) -> bool {
        let [blue, red] = self.limits(|_| 0.0);
        BANDS.iter().all(|&(from, to)| red < from - 3.0 || blue > to + 3.0)
    }

    /// Light of the whole slit on an image; `None` where it would leave the detector.
    pub fn light(&self, image: &Array2<f32>) -> Option<f64> {
        let mut total = 0.0;
        let [blue, red] = self.limits(|_| 0.0);
        let size = along(self.arm, (image.ncols() as f64, image.nrows() as f64)).1;
        for pixel in self.first..self.first + WINDOW {
            let part = (pixel as f64 + 0.5 - self.first as f64) / WINDOW as f64;
            let rising = self.place(red, 0.0).0 > self.place(blue, 0.0).0;
            let wavelength = if rising { blue + part * (red - blue) } else { red + part * (blue - red) };
            let ends = [-6.0, 6.0].map(|slit| self.place(wavelength, slit).1);
            let (low, high) = (ends[0].min(ends[1]) - 6.0, ends[0].max(ends[1]) + 6.0);
            if low < 0.0 || high > size - 1.0 {
                return None;
            }
            for beside in low.round() as usize..=high.round() as usize {
                let at = along(self.arm, (pixel as f64, beside as f64));
                total += f64::from(image[[at.1 as usize, at.0 as usize]]);
            }
        }
        Some(total)
    }

    /// The same from a table of the truth, whose pixels are those of the middle of the slit.
    fn told(&self, table: &SpectrumTable, slit: impl Fn(f64) -> f64) -> f64 {
        let [blue, red] = self.limits(&slit);
        let middle = 0.5 * (blue + red);
        let shift = self.place(middle, slit(middle)).0 - self.place(middle, 0.0).0;
        let (from, to) = (self.first as f64 - 0.5 - shift, (self.first + WINDOW) as f64 - 0.5 - shift);
        let rows = table.order.iter().zip(&table.pixel).zip(&table.electrons);
        rows.filter(|((order, _), _)| **order == i64::from(self.order))
            .map(|((_, &pixel), electrons)| {
                let (left, right) = (pixel as f64 - 0.5, pixel as f64 + 0.5);
                electrons * (right.min(to) - left.max(from)).max(0.0)
            })
            .sum()
    }
}

/// The largest relative deviations.
#[derive(Debug, Default)]
struct Worst {
    stretches: usize,
    star_table: f64,
    star_budget: f64,
    sky_table: f64,
    sky_budget: f64,
}

#[test]
fn stars_and_sky_have_as_much_light_as_their_photons_say() {
    for arm in SPECTROGRAPHS {
        for (slit, width) in [("SLIT1.0", 1.0), ("SLIT5.0", 5.0)] {
            let mut plan = perfect();
            plan.conditions.airglow = 0.0;
            plan.conditions.pwv = 0.0;
            let star = target(&plan, "template:flat-wavelength", None);
            let template = TemplatePlan { slit: slit.to_string(), ..on(&star, FrameKind::ObjectStare, arm, 300.0, 1) };
            let plan = plan.with(template);
            let mut painter = Painter::new(&plan).unwrap();
            let exposure = plan.exposures().unwrap().remove(0);
            let shape = painter.shape(&exposure, &exposure.sources[0]);
            let Some(Entrance::Slit { across, .. }) = painter.entrance(&exposure) else { panic!("a slit") };
            let sky_light = painter.sky.light(&exposure);
            let both = drawn(&mut painter, exposure.clone());
            let sky = drawn(&mut painter, Exposure { sources: Vec::new(), ..exposure.clone() });
            let only_star = &both.light - &sky.light;
            let view = both.view();
            let airmass = exposure.place.airmass;
            assert!(airmass > 1.1 && airmass < 1.4, "{airmass}");

            let photons = |order: u8, w: f64| {
                let seeing = 0.9 * airmass.powf(0.6) * (w / 500.0).powf(-0.2);
                let Source { along, across: aside, .. } = &shape;
                let off = across - aside.at(w);
                let passed = share(seeing, off - 0.5 * width, off + 0.5 * width);
                let caught = share(seeing, -6.0 - along.at(w), 6.0 - along.at(w));
                let air = 10_f64.powf(-0.4 * airmass * extinction(w));
                let rate = 10.0 * FLUX * APERTURE * w / PLANCK_LIGHT;
                300.0 * rate * air * passed * caught * efficiency(arm, order, &[w])[0]
            };
            let from_sky = |order: u8, w: f64| {
                300.0 * width * 12.0 * (sky_light.continuum)(&[w])[0] * efficiency(arm, order, &[w])[0]
            };
            let mut worst = Worst::default();
            for order in view.format().orders().iter().map(|order| order.number()) {
                let extent = view.extent().0;
                for first in (80..extent - WINDOW - 80).step_by(if arm == Arm::Vis { 400 } else { 300 }) {
                    let stretch = Stretch { view: &view, arm, order, first };
                    let [blue, red] = stretch.limits(|_| 0.0);
                    // Where an order ends, it is dark.
                    let weak = [blue, red].into_iter().any(|w| efficiency(arm, order, &[w])[0] < 0.01);
                    let Some(measured) = stretch.light(&only_star).filter(|_| stretch.clear() && !weak) else {
                        continue;
                    };
                    let off = |found: f64, told: f64| (found / told - 1.0).abs();
                    let along = |w: f64| shape.along.at(w);
                    let [SpectrumTable { .. }, source] = &both.tables.spectra[..] else { panic!("two spectra") };
                    worst.stretches += 1;
                    worst.star_table = worst.star_table.max(off(measured, stretch.told(source, along)));
                    let [blue, red] = stretch.limits(along);
                    let budget = integral(blue, red, |w| photons(order, w));
                    worst.star_budget = worst.star_budget.max(off(measured, budget));
                    let measured = stretch.light(&sky.light).unwrap();
                    let told = 12.0 * stretch.told(&sky.tables.spectra[0], |_| 0.0);
                    worst.sky_table = worst.sky_table.max(off(measured, told));
                    let [blue, red] = stretch.limits(|_| 0.0);
                    let budget = integral(blue, red, |w| from_sky(order, w));
                    worst.sky_budget = worst.sky_budget.max(off(measured, budget));
                }
            }
            assert!(worst.stretches > 12, "{arm} {slit}: {worst:?}");
            for deviation in [worst.star_table, worst.star_budget, worst.sky_table, worst.sky_budget] {
                assert!(deviation < 1e-3, "{arm} {slit}: {worst:?}");
            }
        }
    }
}
