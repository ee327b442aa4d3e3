//! Pages of master bias and master dark: the frame, its noise against what is expected, profiles, hot pixels.

use ndarray::ArrayView2;
use rayon::prelude::*;

use super::super::stack_master::Master;
use super::{DOTS, SIDE};
use crate::instrument::Arm;
use crate::quality::page::{
    Axis, Bar, Cell, Ink, Layer, Page, Palette, Panel, Stretch, Thumbnail, histogram, profile, thinned,
};
use crate::reduction::flags;

/// Side of the blocks in which noise is measured, pixels.
const BLOCK: usize = 32;
/// Pixels that a histogram looks at, about.
const SAMPLE: usize = 400_000;
/// Points of a profile.
const POINTS: usize = 400;

const SHOWN: [&str; 17] = [
    "MBIAS MEDIAN",
    "MDARK MEDIAN",
    "RAW RON",
    "MASTER RON",
    "RON PREDICTED",
    "NOISE RATIO",
    "RAW NOISE MAX",
    "HOTPIX NUM",
    "BADPIX FRAC",
    "UNSTABLE NUM",
    "CR NUM",
    "LEVEL RANGE",
    "FPN FRACMAX",
    "STRUCTX SIGNIF",
    "STRUCTY SIGNIF",
    "NFRAMES USED",
    "DETECTOR TEMP",
];

/// The page of a stack of frames; `exposed` for a dark.
pub fn page(master: &Master, arm: Arm, exposed: bool) -> Page {
    let frame = Frame { turned: arm == Arm::Vis, shape: master.stacked.value.dim() };
    let last = if exposed { hot(master, frame) } else { levels(master) };
    let title = if exposed { "Master dark" } else { "Master bias" };
    let subtitle = if exposed {
        "The frame should be smooth, its noise ratio 1, its hot pixels scattered evenly."
    } else {
        "The frame should be flat, its noise ratio 1 everywhere, its histogram the expected bell."
    };
    let names = if frame.turned { ["y", "x"] } else { ["x", "y"] };
    let profiles = &master.stacked.profile;
    let both = if frame.turned { [&profiles.rows, &profiles.columns] } else { [&profiles.columns, &profiles.rows] };
    Page {
        title: format!("{title} · {arm}"),
        subtitle: subtitle.to_string(),
        show: SHOWN.map(str::to_string).to_vec(),
        panels: vec![
            frame.image(master),
            frame.noise(master),
            values(master),
            last,
            means(Cell::new(0, 6, 3, 1), names[0], both[0], master, frame.shape, !frame.turned),
            means(Cell::new(6, 6, 3, 1), names[1], both[1], master, frame.shape, frame.turned),
        ],
        ..Page::default()
    }
}

/// A frame as it is shown: VIS turned, so that the long side lies.
#[derive(Clone, Copy)]
struct Frame {
    turned: bool,
    shape: (usize, usize),
}

impl Frame {
    fn axes(self) -> [Axis; 2] {
        let x = Axis::from_to("x / pixel", -0.5, self.shape.1 as f64 - 0.5);
        let y = Axis::from_to("y / pixel", -0.5, self.shape.0 as f64 - 0.5);
        if self.turned { [y, x] } else { [x, y] }
    }

    fn panel(self, cell: Cell, title: &str, thumbnail: Thumbnail, label: &str) -> Panel {
        let [x, y] = self.axes();
        let ends = [&x, &y].map(|axis| axis.range.unwrap_or([0.0, 1.0]));
        let bar = Bar { label: label.to_string(), range: thumbnail.range, palette: thumbnail.palette };
        Panel::new(cell, title, x, y).with(Layer::Image { thumbnail, x: ends[0], y: ends[1] }).with_bar(bar)
    }

    fn image(self, master: &Master) -> Panel {
        let (value, bits) = (master.stacked.value.view(), master.stacked.flags.view());
        let stretch = Stretch::Percentiles(1.0, 99.0);
        let thumbnail = Thumbnail::of_good(value, bits, -1, SIDE, stretch, Palette::Viridis);
        let thumbnail = if self.turned { thumbnail.turned() } else { thumbnail };
        self.panel(Cell::new(0, 6, 0, 2), "Mean of the frames, good pixels", thumbnail, "e−")
    }

    fn noise(self, master: &Master) -> Panel {
        let (high, wide, ratios) =
            noise_ratio(master.stacked.value.view(), master.stacked.variance.view(), master.stacked.flags.view());
        let stretch = Stretch::Between(0.8, 1.2);
        let thumbnail = Thumbnail::of_values(wide, high, ratios, stretch, Palette::Diverging);
        let thumbnail = if self.turned { thumbnail.turned() } else { thumbnail };
        let title = "Noise over its expectation, in blocks";
        self.panel(Cell::new(6, 6, 0, 2), title, thumbnail, "ratio")
    }
}

/// Standard deviation of the good pixels in blocks over the root of their mean variance: rows and columns of blocks, and
/// the ratios row by row; NaN for a block without good pixels. A smooth gradient within a block is taken out by looking
/// at differences of neighbours in a row.
fn noise_ratio(
    value: ArrayView2<'_, f32>,
    variance: ArrayView2<'_, f32>,
    bits: ArrayView2<'_, i32>,
) -> (usize, usize, Vec<f64>) {
    let (rows, columns) = value.dim();
    let (high, wide) = (rows / BLOCK, columns / BLOCK);
    let line = |k: usize| {
        let mut sums = vec![(0.0f64, 0.0f64); wide];
        for row in k * BLOCK..(k + 1) * BLOCK {
            let (value, variance, bits) = (value.row(row), variance.row(row), bits.row(row));
            for column in (0..wide * BLOCK).step_by(2) {
                if bits[column] | bits[column + 1] == 0 {
                    let sum = &mut sums[column / BLOCK];
                    sum.0 += f64::from(value[column] - value[column + 1]).powi(2);
                    sum.1 += f64::from(variance[column] + variance[column + 1]);
                }
            }
        }
        sums.into_iter().map(|(found, expected)| (found / expected).sqrt()).collect::<Vec<f64>>()
    };
    let lines: Vec<Vec<f64>> = (0..high).into_par_iter().map(line).collect();
    (high, wide, lines.concat())
}

/// Histogram of the values with what noise alone would give.
fn values(master: &Master) -> Panel {
    let stacked = &master.stacked;
    let (mean, sigma) = (stacked.profile.mean, stacked.profile.variance.sqrt());
    let wide = stacked.profile.sigma.max(sigma);
    let (from, to) = (mean - 7.0 * wide, mean + 12.0 * wide);
    let step = (stacked.value.len() / SAMPLE).max(1);
    let picked = |good: bool| {
        let rows = (0..stacked.value.nrows()).step_by(step);
        let pixels = rows.flat_map(|row| stacked.value.row(row).into_iter().zip(stacked.flags.row(row)));
        pixels.filter(move |(_, bits)| (**bits == 0) == good).map(|(value, _)| f64::from(*value))
    };
    let (edges, good) = histogram(picked(true), from, to, 95);
    let (_, flagged) = histogram(picked(false), from, to, 95);
    let total: f64 = good.iter().sum();
    let width = (to - from) / 95.0;
    let bell = |k: usize| {
        let x = from + (to - from) * k as f64 / 190.0;
        let density = (-0.5 * ((x - mean) / sigma).powi(2)).exp() / (sigma * (2.0 * std::f64::consts::PI).sqrt());
        [x, total * width * density]
    };
    let bell: Vec<[f64; 2]> = (0..=190).map(bell).filter(|point| point[1] > 0.5).collect();
    let most = good.iter().copied().fold(1.0, f64::max);
    let y = Axis::from_to("pixels", 0.5, 3.0 * most).log();
    Panel::new(Cell::new(0, 6, 2, 1), "Values", Axis::from_to("signal / e−", from, to), y)
        .with(Layer::Bars { edges: edges.clone(), counts: good, ink: Ink::Series(0), name: "good pixels".to_string() })
        .with(Layer::Bars { edges, counts: flagged, ink: Ink::Series(3), name: "flagged".to_string() })
        .with(Layer::line(bell, Ink::Model).named("expected of noise"))
}

/// Level of each frame.
fn levels(master: &Master) -> Panel {
    let points: Vec<[f64; 2]> = master.levels.iter().enumerate().map(|(k, level)| [k as f64 + 1.0, *level]).collect();
    let x = Axis {
        ticks: (1..=points.len()).map(|k| (k as f64, k.to_string())).collect(),
        ..Axis::from_to("frame", 0.5, points.len() as f64 + 0.5)
    };
    let mean = points.iter().map(|point| point[1]).sum::<f64>() / points.len().max(1) as f64;
    let off: Vec<[f64; 2]> = points.iter().map(|[k, level]| [*k, level - mean]).collect();
    let reach = off.iter().map(|point| point[1].abs()).fold(0.1, f64::max) * 1.3;
    let y = Axis::from_to("level − mean / e−", -reach, reach);
    Panel::new(Cell::new(6, 6, 2, 1), "Level of each frame", x, y)
        .with(Layer::Level { y: 0.0, ink: Ink::Grey, name: String::new() })
        .with(Layer::Dots { points: off, ink: Ink::Series(0), size: 4.0, name: String::new() })
}

/// Hot and unstable pixels over the detector.
fn hot(master: &Master, frame: Frame) -> Panel {
    let [x, y] = frame.axes();
    let pick = |bits: i32| {
        let pixels = master.stacked.flags.indexed_iter().filter(|(_, found)| **found & bits != 0);
        let places = pixels.map(|((row, column), _)| {
            let (row, column) = (row as f64, column as f64);
            if frame.turned { [row, column] } else { [column, row] }
        });
        thinned(&places.collect::<Vec<_>>(), DOTS / 2)
    };
    let dots = |bits, ink, name: &str| Layer::Dots { points: pick(bits), ink, size: 1.4, name: name.to_string() };
    Panel::new(Cell::new(6, 6, 2, 1), "Hot and unstable pixels", x, y)
        .with(dots(flags::HOT, Ink::Series(1), "hot"))
        .with(dots(flags::UNSTABLE & !flags::HOT, Ink::Series(0), "unstable"))
}

/// Means along one axis, with the band that noise allows.
fn means(cell: Cell, name: &str, values: &[f64], master: &Master, shape: (usize, usize), columns: bool) -> Panel {
    let points = profile(values, POINTS);
    let each = values.len().div_ceil(POINTS).max(1);
    let summed = each * if columns { shape.0 } else { shape.1 };
    let error = (master.stacked.profile.variance / summed as f64).sqrt();
    let mean = master.stacked.profile.mean;
    let ends = [-0.5, values.len() as f64 - 0.5];
    let band = ends.map(|end| [end, mean - 2.0 * error, mean + 2.0 * error]).to_vec();
    let title = format!("Mean along {name}");
    Panel::new(cell, &title, Axis::from_to(&format!("{name} / pixel"), ends[0], ends[1]), Axis::new("signal / e−"))
        .with(Layer::Band { points: band, ink: Ink::Grey, name: "2 σ of noise".to_string() })
        .with(Layer::line(points, Ink::Series(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    #[test]
    fn the_noise_ratio_is_one_for_the_stated_noise_and_knows_gradients() {
        // alternating signs: differences of neighbours of 2 with a variance of 4 in all
        let noise = |r: usize, c: usize| if (r + c).is_multiple_of(2) { 1.0f32 } else { -1.0 };
        let value = Array2::from_shape_fn((64, 96), |(r, c)| 100.0 + 3.0 * r as f32 + noise(r, c));
        let variance = Array2::from_elem((64, 96), 2.0f32);
        let mut bits = Array2::<i32>::zeros((64, 96));
        bits.slice_mut(ndarray::s![..32, ..32]).fill(1);
        let (high, wide, ratios) = noise_ratio(value.view(), variance.view(), bits.view());
        assert_eq!((high, wide), (2, 3));
        assert!(ratios[0].is_nan());
        assert!(ratios[1..].iter().all(|ratio| (ratio - 1.0).abs() < 1e-5), "{ratios:?}");
    }
}
