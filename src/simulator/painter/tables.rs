//! The truth of a frame's light: where its lines and traces lie, and what an ideal extraction would find.

use super::super::SimError;
use super::super::camera::extract as catalogue;
use super::super::exposure::Exposure;
use super::super::light::{Light, throughput};
use super::super::optics::{Beam, Entrance, Shape, View, extract, line_spread};
use super::super::plan::Shutter;
use super::super::truth::tables::{DispersionRow, FrameTables, LineRow, SpectrumTable, TraceRow};
use super::Painter;
use super::spectrograph::HOLE;
use crate::instrument::format::Axis;
use crate::instrument::{Arm, OrderFormat};

/// Pixels along the dispersion between two points of a trace, and of the grid of the geometry.
const TRACE_STEP: usize = 32;
/// Slit positions of the grid of the geometry, arcsec.
const SLIT_GRID: [f64; 9] = [-6.0, -4.5, -3.0, -1.5, 0.0, 1.5, 3.0, 4.5, 6.0];
/// Radius of the catalogue around the pointing, arcmin.
const CATALOGUE: f64 = 6.0;

impl Painter {
    /// The tables of one exposure. The geometry is told when it is not that of the exposure before in its arm.
    pub fn tables(&mut self, exposure: &Exposure) -> Result<FrameTables, SimError> {
        let mut tables = FrameTables::default();
        if exposure.shutter == Shutter::StuckClosed {
            return Ok(tables);
        }
        if exposure.arm == Arm::Acq {
            if exposure.kind.on_sky() {
                tables.field = Some(self.field_light(exposure)?.truth);
                tables.catalogue = catalogue(&self.sky_around(exposure)?, CATALOGUE);
            }
            return Ok(tables);
        }
        let Some(entrance) = self.entrance(exposure) else { return Ok(tables) };
        let distortion = self.instrument.optics.of(exposure.arm).distortion.clone();
        let view = self.station(exposure.arm).view(exposure.arm, &exposure.flexure, &distortion).clone();
        if self.station(exposure.arm).told.replace(exposure.flexure) != Some(exposure.flexure) {
            tables.dispersion = dispersion(&view);
        }
        if exposure.open {
            self.on_sky_tables(exposure, &entrance, &view, &mut tables)?;
        } else {
            tables.lines = self.lines(exposure, &entrance, &view);
        }
        Ok(tables)
    }

    /// Every line of the lamps through every hole, or in the middle of the slit.
    fn lines(&self, exposure: &Exposure, entrance: &Entrance, view: &View) -> Vec<LineRow> {
        let focus = self.focus(exposure);
        let light = Light::sum(exposure.lamps.iter().map(|lit| lit.lamp.light(exposure.arm, lit.level)));
        let places: Vec<f64> = match entrance {
            Entrance::Pinholes { along, .. } => along.clone(),
            Entrance::Slit { .. } => vec![0.0],
        };
        let shape = self.instrument.optics.of(exposure.arm).surface();
        let seconds = self.bright_seconds(exposure);
        let mut rows = Vec::new();
        for order in view.format().orders() {
            for line in &light.lines {
                let efficiency = throughput::efficiency(exposure.arm, order.number(), &[line.wavelength]);
                let rate = line.photons * efficiency.first().copied().unwrap_or(0.0);
                if rate <= 0.0 || !within(order, line.wavelength) {
                    continue;
                }
                let spread = line_spread(view, &focus, entrance, &shape, order, line.wavelength);
                for &slit in &places {
                    let (x, y) = on_detector(view, order, line.wavelength, slit, spread.shift);
                    if !inside(view, x, y) {
                        continue;
                    }
                    let area = match entrance {
                        Entrance::Pinholes { .. } => std::f64::consts::FRAC_PI_4 * HOLE * HOLE,
                        Entrance::Slit { width, .. } => width * view.format().slit_length(),
                    };
                    rows.push(LineRow {
                        order: order.number(),
                        wavelength: line.wavelength,
                        slit,
                        x,
                        y,
                        flux: rate * area * shape.brightness(slit, view.format().slit_length()) * seconds,
                        fwhm: spread.fwhm,
                    });
                }
            }
        }
        rows
    }

    /// Traces of the sources, and what an ideal extraction finds of each and of the sky.
    fn on_sky_tables(
        &self,
        exposure: &Exposure,
        entrance: &Entrance,
        view: &View,
        tables: &mut FrameTables,
    ) -> Result<(), SimError> {
        let focus = self.focus(exposure);
        let efficiency = |order: u8, wavelengths: &[f64]| throughput::efficiency(exposure.arm, order, wavelengths);
        let collect = |light: &Light, shape: Shape| {
            let beam = Beam { light, efficiency: &efficiency, shape };
            let mut collected = extract(view, &focus, entrance, &beam);
            collected.iter_mut().for_each(|pixel| pixel.electrons *= exposure.exptime);
            collected
        };
        let sky = collect(&self.sky.light(exposure), self.instrument.optics.of(exposure.arm).surface());
        tables.spectra.push(SpectrumTable::of("SKY", &sky, |_| (f64::NAN, f64::NAN)));
        let transmission = self.sky.air(exposure).transmission(&self.sky.telluric);
        for (number, source) in exposure.sources.iter().enumerate() {
            let spectrum = self.sky.spectrum(exposure, source)?;
            let shape = self.shape(exposure, source);
            let light = spectrum.light().through(transmission.clone());
            let collected = collect(&light, Shape::Source(shape.clone()));
            let Entrance::Slit { width, across } = *entrance else { continue };
            let length = view.format().slit_length();
            tables.spectra.push(SpectrumTable::of(&format!("SOURCE{number}"), &collected, |wavelength| {
                let passed = shape.transmission(width, across, wavelength) * shape.caught(length, wavelength);
                (spectrum.flux_at(wavelength), passed)
            }));
            for order in view.format().orders() {
                let Some(grid) = view.grid(order) else { continue };
                for wavelength in (0..view.extent().0).step_by(TRACE_STEP).filter_map(|pixel| {
                    let index = grid.index(pixel as f64);
                    grid.wavelengths().get(index.round() as usize).copied().filter(|_| index >= 0.0)
                }) {
                    let slit = shape.along.at(wavelength);
                    let spread = line_spread(view, &focus, entrance, &Shape::Source(shape.clone()), order, wavelength);
                    let (x, y) = on_detector(view, order, wavelength, slit, spread.shift);
                    tables.traces.push(TraceRow {
                        source: number,
                        order: order.number(),
                        wavelength,
                        slit,
                        x,
                        y,
                        fwhm: shape.fwhm.at(wavelength),
                    });
                }
            }
        }
        Ok(())
    }
}

/// The geometry of an arm on a grid: every 32 pixels along the dispersion, every 1.5 arcsec along the slit.
fn dispersion(view: &View) -> Vec<DispersionRow> {
    let mut rows = Vec::new();
    for order in view.format().orders() {
        let Some(grid) = view.grid(order) else { continue };
        for pixel in (0..view.extent().0).step_by(TRACE_STEP) {
            let index = grid.index(pixel as f64);
            let Some(&wavelength) = grid.wavelengths().get(index.round() as usize).filter(|_| index >= 0.0) else {
                continue;
            };
            for slit in SLIT_GRID {
                let position = view.position(order, wavelength, slit);
                let (x, y) = (position.x, position.y);
                rows.push(DispersionRow { order: order.number(), wavelength, slit, x, y });
            }
        }
    }
    rows
}

fn within(order: &OrderFormat, wavelength: f64) -> bool {
    let [first, last] = order.domain();
    wavelength > first && wavelength < last
}

fn inside(view: &View, x: f64, y: f64) -> bool {
    let (rows, columns) = view.format().shape();
    (-0.5..columns as f64 - 0.5).contains(&x) && (-0.5..rows as f64 - 0.5).contains(&y)
}

/// Where the image of a line lies: at its place in the geometry, moved along the dispersion by `shift` pixels towards
/// longer wavelengths, as far as slit, mask or star stand aside.
fn on_detector(view: &View, order: &OrderFormat, wavelength: f64, slit: f64, shift: f64) -> (f64, f64) {
    let at = view.position(order, wavelength, slit);
    let per_pixel = match view.format().dispersion() {
        Axis::X => at.dx_dw.abs(),
        Axis::Y => at.dy_dw.abs(),
    };
    (at.x + shift * at.dx_dw / per_pixel, at.y + shift * at.dy_dw / per_pixel)
}
