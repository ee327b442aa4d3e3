//! The rectified spectrum as an image product.

use super::calibration::Calibration;
use super::{Exposed, Source, SpectraParameters};
use crate::recipes::contract::{ProductCard, ProductImage};
use crate::reduction::spectrum::calibrate;
use crate::reduction::spectrum::order::OrderSpectrum;
use crate::reduction::spectrum::rectified::{OrderLight, SlitGrid, rectify};
use crate::reduction::spectrum::resample::{Grid, LIGHT};

/// PRO CATG of the product, without the arm.
pub const CATEGORY: &str = "RECTIFIED_2D";
/// Half the length of the slit, arcsec.
const HALF_SLIT: f64 = 6.0;
/// Calibrated light is written in this unit, so that its square is no subnormal number.
const UNIT: (f64, &str) = (1e-17, "10**-17 erg s-1 cm-2 Angstrom-1 arcsec-1");
/// Unit of light that is not calibrated.
const COUNTS: &str = "electron s-1 nm-1 arcsec-1";

/// The rectified spectrum on the grid of the merged one; `None` when no pixels were handed over, or no order has light of the
/// lamp. The blaze is that of the target's orders.
pub fn rectified(
    exposed: &Exposed,
    light: &[OrderLight],
    target: &Source,
    calibration: Option<&Calibration>,
    parameters: &SpectraParameters,
) -> Option<ProductImage> {
    let lamps: Vec<Lamp> =
        target.orders.iter().filter_map(|order| Lamp::of(&order.spectrum, parameters.least_blaze)).collect();
    let from = lamps.iter().filter_map(|lamp| lamp.range()).map(|range| range[0]).reduce(f64::min)?;
    let to = lamps.iter().filter_map(|lamp| lamp.range()).map(|range| range[1]).reduce(f64::max)?;
    if light.is_empty() {
        return None;
    }
    let step = parameters.step(exposed.arm);
    let grid = Grid::logarithmic(step, [from, to]);
    let cells = (2.0 * HALF_SLIT / parameters.slit_step).round().max(1.0);
    let slit = SlitGrid { from: -HALF_SLIT, step: 2.0 * HALF_SLIT / cells, cells: cells as usize };
    let made = rectify(light, &grid, slit, |order, wavelength| {
        let lamp = lamps.iter().find(|lamp| lamp.order == order)?.at(wavelength)?;
        let factor = match calibration {
            Some(found) => calibrate::factor(&found.response, order, wavelength, found.airmass)?[0] / UNIT.0,
            None => 1.0,
        };
        Some(factor / (exposed.exptime * lamp))
    });
    let unit = if calibration.is_some() { UNIT.1 } else { COUNTS };
    let (catg, suffix) = (CATEGORY, "_RECTIFIED_2D");
    Some(ProductImage {
        tech: exposed.tech.clone(),
        cards: axes(&grid, step, slit),
        ..ProductImage::new(catg, suffix, unit, made.value, Some(made.variance), made.flags, exposed.n_combined)
    })
}

/// World coordinates: wavelength in air, logarithmic, along rows; slit position along columns.
fn axes(grid: &Grid, step: f64, slit: SlitGrid) -> Vec<ProductCard> {
    let first = grid.edges().first().copied().unwrap_or(f64::NAN) * (0.5 * step / LIGHT).exp();
    let delta = first * step / LIGHT;
    let real = ProductCard::real;
    vec![
        ProductCard::text("CTYPE1", "AWAV-LOG", "air wavelength, even in its logarithm"),
        ProductCard::text("CUNIT1", "nm", "unit of axis 1"),
        real("CRPIX1", 1.0, "reference pixel"),
        real("CRVAL1", first, "[nm] wavelength there"),
        real("CD1_1", delta, "[nm] step there"),
        real("CD1_2", 0.0, ""),
        ProductCard::text("CTYPE2", "LINEAR", "slit position"),
        ProductCard::text("CUNIT2", "arcsec", "unit of axis 2"),
        real("CRPIX2", 1.0, "reference pixel"),
        real("CRVAL2", slit.from + 0.5 * slit.step, "[arcsec] slit position there"),
        real("CD2_2", slit.step, "[arcsec] step"),
        real("CD2_1", 0.0, ""),
    ]
}

/// Light of the lamp per nm along an order, relative to its maximum, as the densities of the order have it.
struct Lamp {
    order: u8,
    least: f64,
    wavelength: Vec<f64>,
    light: Vec<f64>,
}

impl Lamp {
    fn of(spectrum: &OrderSpectrum, least: f64) -> Option<Lamp> {
        let raw: Vec<(f64, f64, f64)> = (0..spectrum.len())
            .map(|k| (spectrum.wavelength[k], spectrum.blaze[k] / spectrum.width[k], spectrum.blaze[k]))
            .filter(|(_, light, _)| light.is_finite())
            .collect();
        let brightest = raw.iter().map(|(_, light, _)| *light).fold(0.0, f64::max);
        let lit = raw.iter().filter(|(.., blaze)| *blaze >= least && brightest > 0.0);
        let (wavelength, light): (Vec<f64>, Vec<f64>) = lit.map(|(w, light, _)| (*w, light / brightest)).unzip();
        (wavelength.len() > 1).then_some(Lamp { order: spectrum.order, least, wavelength, light })
    }

    fn range(&self) -> Option<[f64; 2]> {
        Some([*self.wavelength.first()?, *self.wavelength.last()?])
    }

    /// Its light at a wavelength; `None` outside of its range, or where it is too faint.
    fn at(&self, wavelength: f64) -> Option<f64> {
        let above = self.wavelength.partition_point(|w| *w <= wavelength);
        let below = above.checked_sub(1)?;
        let (a, b) = (*self.wavelength.get(below)?, *self.wavelength.get(above)?);
        let t = (wavelength - a) / (b - a);
        let light = self.light[below] * (1.0 - t) + self.light[above] * t;
        (light >= 0.5 * self.least).then_some(light)
    }
}
