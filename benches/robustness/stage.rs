//! The stage of a trial: arcs drawn under chosen conditions, with everything that is wrong with them, and their truth.

use std::collections::BTreeMap;

use ndarray::{Array2, s};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use soxsd::instrument::lines::lamp_lines;
use soxsd::instrument::{Arm, Binning, Detector as Description, FrameMeta, SpectralFormat, Usage};
use soxsd::numerics::curve::Curve;
use soxsd::recipes::order_table::{self, OrderRow};
use soxsd::recipes::{MasterImage, MasterTable, RawFrame};
use soxsd::reduction::flags;
use soxsd::reduction::orders::image::Dispersion;
use soxsd::simulator::Pixels;
use soxsd::simulator::detector::{Camera, Detector, Effects, Persistence};
use soxsd::simulator::light::sky::thermal_light;
use soxsd::simulator::light::{Light, throughput};
use soxsd::simulator::optics::{ArmOptics, Beam, Distortion, Entrance, Flexure, View, render};
use soxsd::simulator::plan::Lamp;
use soxsd::simulator::random::Seeds;

/// Anything that can go wrong with programs like this one.
pub type Failure = Box<dyn std::error::Error>;

/// Diameter of the holes of the masks, arcsec.
const HOLE: f64 = 0.5;
/// Exposure times of arcs, seconds.
const EXPTIME: [f64; 2] = [30.0, 15.0];

/// What the frame shows in place of the arc that its header announces.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Upset {
    /// The arc.
    None,
    /// No light.
    Dark,
    /// The lamp of the flats.
    Flat,
    /// The arc, left and right exchanged.
    Mirrored,
    /// The arc, turned by half a turn.
    Turned,
}

/// The conditions of a trial.
#[derive(Clone, Debug)]
pub struct Conditions {
    /// Arm.
    pub arm: Arm,
    /// Binning.
    pub binning: Binning,
    /// Seed of everything random.
    pub seed: u64,
    /// Flexure of the frame through the single pinhole.
    pub flexure: Flexure,
    /// Shift of the frame through the nine pinholes on top of it, pixels.
    pub jump: [f64; 2],
    /// Shift of the day before, whose solution is all there is for the nine pinholes, against this day, pixels.
    pub stale: Option<[f64; 2]>,
    /// Pitches by which the mask of nine pinholes has slipped.
    pub slip: i32,
    /// Pitches by which the single pinhole has slipped.
    pub single_slip: i32,
    /// Share of the lines that do not shine.
    pub missing: f64,
    /// A lamp that is off, and for VIS the element of the cathode lamp that does not shine.
    pub off: Option<&'static str>,
    /// Share of bad pixels, and whether the master calibration knows them.
    pub bad: (f64, bool),
    /// Columns that are dead.
    pub dead_columns: usize,
    /// A quarter of the detector without signal, 0 to 3.
    pub dead_quadrant: Option<usize>,
    /// Brightness of the lamps against the usual one.
    pub level: f64,
    /// Strength of cosmic rays.
    pub cosmics: f64,
    /// Something else altogether.
    pub upset: Upset,
    /// Whether the master bias or dark is given.
    pub master: bool,
    /// Whether the order table of a flat of that day is given.
    pub edges: bool,
}

impl Conditions {
    /// Nothing is wrong.
    pub fn usual(arm: Arm, seed: u64) -> Conditions {
        Conditions {
            arm,
            binning: Binning { x: 1, y: 1 },
            seed,
            flexure: Flexure::default(),
            jump: [0.0; 2],
            stale: None,
            slip: 0,
            single_slip: 0,
            missing: 0.0,
            off: None,
            bad: (0.0, false),
            dead_columns: 0,
            dead_quadrant: None,
            level: 1.0,
            cosmics: 1.0,
            upset: Upset::None,
            master: true,
            edges: true,
        }
    }

    /// The geometry of the frame through one pinhole or nine.
    pub fn view(&self, single: bool) -> View {
        let mut flexure = self.flexure;
        if !single {
            flexure.shift = [flexure.shift[0] + self.jump[0], flexure.shift[1] + self.jump[1]];
        }
        View::new(self.arm, &flexure, &Distortion::usual(self.arm))
    }

    /// The geometry of the day before.
    pub fn view_before(&self) -> View {
        let mut flexure = self.flexure;
        let [x, y] = self.stale.unwrap_or_default();
        flexure.shift = [flexure.shift[0] + x, flexure.shift[1] + y];
        View::new(self.arm, &flexure, &Distortion::usual(self.arm))
    }

    /// Slit position of the single pinhole, arcsec.
    pub fn hole(&self) -> f64 {
        f64::from(self.single_slip) * pitch(self.arm)
    }

    /// Whether a line shines.
    pub fn shines(&self, wavelength: f64) -> bool {
        // sources differ in the third digit behind the point
        let mut random = Pcg64Mcg::seed_from_u64((self.seed << 32) ^ (wavelength * 50.0).round() as u64);
        if random.random::<f64>() < self.missing {
            return false;
        }
        self.off.is_none_or(|element| {
            let near = |line: &&soxsd::instrument::lines::LampLine| (line.wavelength - wavelength).abs() < 1e-4;
            lamp_lines(self.arm).iter().find(near).is_none_or(|line| line.element() != element)
        })
    }
}

/// The detectors and what is known of them.
pub struct Stage {
    detectors: BTreeMap<Arm, Detector>,
}

impl Stage {
    /// With the usual detectors.
    pub fn new() -> Stage {
        let seeds = Seeds::new(1);
        let detector = |arm| (arm, Detector::new(arm, Effects::default(), &seeds));
        Stage { detectors: [detector(Arm::Vis), detector(Arm::Nir)].into() }
    }

    fn detector(&self, conditions: &Conditions) -> Detector {
        let effects = Effects { cosmic_rays: conditions.cosmics, ..Effects::default() };
        self.detectors[&conditions.arm].with_effects(effects)
    }

    /// A raw arc.
    pub fn frame(&self, conditions: &Conditions, view: &View, single: bool) -> Result<RawFrame, Failure> {
        let (arm, exptime) = (conditions.arm, exptime(conditions.arm));
        let detector = self.detector(conditions);
        let camera = camera(conditions)?;
        let light = light(conditions, view, single, &detector).map(|rate| rate.mapv(|rate| rate * exptime as f32));
        let scene = detector.scene(&camera, exptime, light.as_ref())?;
        let number = conditions.seed.wrapping_mul(4).wrapping_add(u64::from(single));
        let exposed = detector.expose(&scene, number, 0.0, &mut Persistence::default());
        let mut adu = match exposed.pixels {
            Pixels::U16(pixels) => pixels.mapv(f32::from),
            Pixels::F32(pixels) => pixels,
        };
        let ((top, bottom), (left, right)) = camera.science();
        let mut science = adu.slice_mut(s![top..bottom, left..right]);
        match conditions.upset {
            Upset::Mirrored => {
                let mirrored = science.slice(s![.., ..;-1]).to_owned();
                science.assign(&mirrored);
            }
            Upset::Turned => {
                let turned = science.slice(s![..;-1, ..;-1]).to_owned();
                science.assign(&turned);
            }
            _ => {}
        }
        let bias = if arm == Arm::Vis { 1000.0 } else { 0.0 };
        let bad = bad_pixels(conditions, science.dim());
        ndarray::Zip::from(&mut science).and(&bad).for_each(|value, bad| match bad {
            Bad::Good => {}
            Bad::Dead => *value = bias,
            Bad::Hot(electrons) => *value = (*value + electrons).min(65_535.0),
        });
        Ok(RawFrame { meta: describe(conditions, single, &camera, adu.dim(), exptime)?, adu })
    }

    /// The master bias or dark for an arc: the expected level, with the bad pixels that are known.
    pub fn master(&self, conditions: &Conditions) -> Result<MasterImage, Failure> {
        let camera = camera(conditions)?;
        let exptime = if conditions.arm == Arm::Vis { 0.0 } else { exptime(conditions.arm) };
        let scene = self.detector(conditions).scene(&camera, exptime, None)?;
        let ((top, bottom), (left, right)) = camera.science();
        let value = scene.expected().slice(s![top..bottom, left..right]).to_owned();
        let variance = Array2::from_elem(value.dim(), (camera.ron * camera.ron / 5.0) as f32);
        let mut known = Array2::<i32>::zeros(value.dim());
        if conditions.bad.1 {
            let bad = bad_pixels(conditions, value.dim());
            known = bad.mapv(|bad| match bad {
                Bad::Good => 0,
                Bad::Dead => flags::COLD,
                Bad::Hot(_) => flags::HOT,
            });
        }
        let catg = if conditions.arm == Arm::Vis { "MASTER_BIAS" } else { "MASTER_DARK" };
        Ok(MasterImage {
            catg: catg.to_string(),
            value,
            variance,
            flags: known,
            ron: Some(camera.ron),
            exptime: Some(exptime),
        })
    }
}

/// The order table that a flat of this geometry gives: the edges of the slit.
pub fn order_table(conditions: &Conditions, view: &View) -> Result<MasterTable, Failure> {
    let format = SpectralFormat::of(conditions.arm);
    let vis = conditions.arm == Arm::Vis;
    let (dispersion, length) =
        if vis { (Dispersion::Rows, format.shape().0) } else { (Dispersion::Columns, format.shape().1) };
    let half = 0.5 * format.slit_length();
    let rows: Vec<OrderRow> = format
        .orders()
        .iter()
        .map(|order| {
            let place = |slit: f64, wavelength: f64| {
                let place = view.position(order, wavelength, slit);
                if vis { (place.y, place.x) } else { (place.x, place.y) }
            };
            let [blue, red] = order.wavelengths();
            let ends = [place(0.0, blue).0, place(0.0, red).0].map(|end| end.clamp(0.0, length as f64 - 1.0));
            let covered = [ends[0].min(ends[1]), ends[0].max(ends[1])];
            let along_slit = |slit: f64| {
                Curve::through(covered, 7, |along| {
                    // the wavelength at this place by bisection: places run with the wavelength, or against it
                    let rising = place(slit, red).0 > place(slit, blue).0;
                    let [mut low, mut high] = order.domain();
                    for _ in 0..60 {
                        let middle = f64::midpoint(low, high);
                        if (place(slit, middle).0 < along) == rising { low = middle } else { high = middle }
                    }
                    place(slit, f64::midpoint(low, high)).1
                })
            };
            let edges = Some([along_slit(-half), along_slit(half)]);
            OrderRow { order: order.number(), covered, centre: along_slit(0.0), width: None, edges }
        })
        .collect();
    let tables = order_table::write(&rows, dispersion)?;
    let (catg, tech) = ("ORDER_TAB".to_string(), "ECHELLE,SLIT".to_string());
    Ok(MasterTable { catg, tech, name: "ORDER_TAB of the trial".to_string(), tables })
}

fn exptime(arm: Arm) -> f64 {
    EXPTIME[usize::from(arm == Arm::Nir)]
}

/// Distance of two pinholes, arcsec.
fn pitch(arm: Arm) -> f64 {
    match SpectralFormat::of(arm).pinholes() {
        [first, second, ..] => second - first,
        _ => 0.0,
    }
}

fn camera(conditions: &Conditions) -> Result<Camera, String> {
    let mode = if conditions.arm == Arm::Nir { 3 } else { 1 };
    Camera::new(conditions.arm, mode, conditions.binning, exptime(conditions.arm))
}

/// Electrons per second on the exposed, unbinned area; `None` for a frame without light.
fn light(conditions: &Conditions, view: &View, single: bool, detector: &Detector) -> Option<Array2<f32>> {
    let arm = conditions.arm;
    let format = SpectralFormat::of(arm);
    let lamps: Vec<Lamp> = match (conditions.upset, arm) {
        (Upset::Dark, Arm::Vis) => return None,
        (Upset::Dark, _) => Vec::new(),
        (Upset::Flat, _) => vec![Lamp::Qth],
        (_, Arm::Vis) => vec![Lamp::ThAr],
        _ => Lamp::PENCILS.to_vec(),
    };
    let mut parts: Vec<Light> = lamps
        .into_iter()
        .filter(|lamp| conditions.off != Some(lamp.as_str()))
        .map(|lamp| lamp.light(arm, conditions.level))
        .collect();
    if arm == Arm::Nir {
        parts.push(thermal_light());
    }
    let mut light = Light::sum(parts);
    light.lines.retain(|line| conditions.shines(line.wavelength));
    let along = if single {
        vec![conditions.hole()]
    } else {
        format.pinholes().iter().map(|hole| hole + pitch(arm) * f64::from(conditions.slip)).collect()
    };
    let optics = ArmOptics::usual(arm);
    let entrance = Entrance::Pinholes { along, across: 0.0, diameter: HOLE };
    let efficiency = |order: u8, wavelengths: &[f64]| throughput::efficiency(arm, order, wavelengths);
    let beam = Beam { light: &light, efficiency: &efficiency, shape: optics.surface() };
    let chip = detector.chip().clone();
    let fringe = |x: f64, y: f64, wavelength: f64| chip.fringe(x, y, wavelength, 1.0);
    let response: Option<&(dyn Fn(f64, f64, f64) -> f64 + Sync)> = if arm == Arm::Vis { Some(&fringe) } else { None };
    let mut image = render(view, &optics.focus, &entrance, &[beam], response);
    optics.stray.throw(&mut image);
    Some(image)
}

/// What a pixel is.
#[derive(Clone, Copy)]
enum Bad {
    Good,
    Dead,
    /// So many ADU too bright.
    Hot(f32),
}

/// The bad pixels of a detector of this shape: half of them dead, half hot, the same in every frame of a trial.
fn bad_pixels(conditions: &Conditions, (rows, columns): (usize, usize)) -> Array2<Bad> {
    let mut random = Pcg64Mcg::seed_from_u64(conditions.seed ^ 0xbad);
    let mut map = Array2::from_elem((rows, columns), Bad::Good);
    if conditions.bad.0 > 0.0 {
        map.map_inplace(|pixel| {
            if random.random::<f64>() < conditions.bad.0 {
                let hot = random.random::<f64>();
                // from faint to saturated
                *pixel = if hot < 0.5 { Bad::Dead } else { Bad::Hot(30.0 * (8.0 * (2.0 * hot - 1.0)).exp() as f32) };
            }
        });
    }
    for _ in 0..conditions.dead_columns {
        map.column_mut(random.random_range(0..columns)).fill(Bad::Dead);
    }
    if let Some(quadrant) = conditions.dead_quadrant {
        let (r, c) = (rows / 2 * (quadrant / 2), columns / 2 * (quadrant % 2));
        map.slice_mut(s![r..r + rows / 2, c..c + columns / 2]).fill(Bad::Dead);
    }
    map
}

fn describe(
    conditions: &Conditions,
    single: bool,
    camera: &Camera,
    (rows, columns): (usize, usize),
    exptime: f64,
) -> Result<FrameMeta, Failure> {
    let arm = conditions.arm;
    let date_obs: jiff::Timestamp = "2026-03-10T19:00:42Z".parse()?;
    let vis = arm == Arm::Vis;
    Ok(FrameMeta {
        data_id: format!("trial {}", conditions.seed),
        arm,
        kind: if single { "disp_arc" } else { "spat_arc" }.to_string(),
        usage: Usage::Reduce,
        usage_reason: String::new(),
        recipe: None,
        date_obs,
        mjd_obs: 61_109.8,
        exptime,
        dpr_catg: "CALIB".to_string(),
        dpr_type: "LAMP,WAVE".to_string(),
        dpr_tech: if single { "ECHELLE,PINHOLE" } else { "ECHELLE,MULTI-PINHOLE" }.to_string(),
        tpl_id: String::new(),
        tpl_name: String::new(),
        tpl_start: date_obs,
        tpl_expno: 1,
        tpl_nexp: 1,
        obs_id: None,
        obs_name: String::new(),
        prog_id: String::new(),
        object: String::new(),
        binning: vis.then_some(conditions.binning),
        read_mode: None,
        gain: if vis { camera.gain } else { Description::of(arm).gain },
        ron: Some(camera.ron),
        slit: None,
        slitmask: None,
        lamp: None,
        filter: None,
        on_sky: Default::default(),
        columns,
        rows,
        detector_temp: None,
        common_path_temp: None,
        warnings: vec![],
    })
}
