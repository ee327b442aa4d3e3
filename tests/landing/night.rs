//! The frames of the test, drawn once: small ones (2x2 binned biases) but for three infrared darks.

use std::fs;
use std::io::Write;
use std::path::Path;

use soxsd::fits::Header;
use soxsd::instrument::{Arm, Binning};
use soxsd::simulator::{self, FrameKind, NightPlan, Pixels, SimFrame, TemplatePlan};

/// A frame as a file, and what it was made of.
pub struct Frame {
    pub name: String,
    pub bytes: Vec<u8>,
    drawn: SimFrame,
}

/// Everything that will land.
pub struct Night {
    /// Five biases of a template.
    pub first: Vec<Frame>,
    /// The first of them once more: same name, other pixels.
    pub retaken: Frame,
    /// Five biases in another read mode.
    pub second: Vec<Frame>,
    /// Five more in the first mode.
    pub third: Vec<Frame>,
    /// Exposures that are to be broken.
    pub spare: Vec<Frame>,
    /// Exposures whose writers have trouble.
    pub late: Vec<Frame>,
    /// Three darks, one of them with undefined pixels.
    pub darks: Vec<Frame>,
    /// A target whose name is made to hurt: slashes, quotes, 60 characters.
    pub sky: Frame,
}

impl Night {
    pub fn new() -> Night {
        let half = Binning { x: 2, y: 2 };
        let target = "../../NGC 4038/39 \"Antennae\" it's 60 characters long,you see";
        assert_eq!(target.len(), 60);
        let object = target.to_string();
        let sky =
            TemplatePlan { binning: half, object, ..TemplatePlan::new(FrameKind::ObjectStare, Arm::Vis, 60.0, 1) };
        let plan = NightPlan::new("2026-03-10T19:00:00Z".parse().expect("a time"))
            .with(TemplatePlan::vis_bias(1, half, 5))
            .with(TemplatePlan::vis_bias(3, half, 5))
            .with(TemplatePlan::vis_bias(1, half, 5))
            .with(TemplatePlan::vis_bias(1, half, 8))
            .with(TemplatePlan::vis_bias(2, half, 3))
            .with(sky)
            .with(TemplatePlan::nir_dark(10.0, 3));
        let drawn: Vec<SimFrame> =
            plan.frames(20_260_310).expect("a possible night").map(|frame| frame.expect("drawn")).collect();
        let (dark, mut vis): (Vec<_>, Vec<_>) =
            drawn.into_iter().partition(|frame| matches!(frame.pixels, Pixels::F32(_)));
        let mut take = |count: usize| -> Vec<Frame> { vis.drain(..count).map(Frame::of).collect() };
        let (first, second, third, spare, late) = (take(5), take(5), take(5), take(8), take(3));
        let sky = take(1).remove(0);
        let mut darks = dark;
        if let Pixels::F32(pixels) = &mut darks[1].pixels {
            pixels.iter_mut().skip(2048 * 700 + 300).step_by(5003).take(200).for_each(|pixel| *pixel = f32::NAN);
        }
        let mut again = first[0].drawn.clone();
        if let Pixels::U16(pixels) = &mut again.pixels {
            pixels.mapv_inplace(|count| count.saturating_add(1));
        }
        let darks = darks.into_iter().map(Frame::of).collect();
        Night { first, retaken: Frame::of(again), second, third, spare, late, darks, sky }
    }
}

impl Frame {
    fn of(drawn: SimFrame) -> Frame {
        Frame { name: drawn.name.clone(), bytes: written(&drawn), drawn }
    }
}

fn written(frame: &SimFrame) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = simulator::write(frame, folder.path()).expect("written");
    fs::read(Path::new(&path)).expect("read back")
}

/// The same pixels under another header.
pub fn edited(frame: &Frame, edit: impl FnOnce(&mut Header)) -> Vec<u8> {
    let mut drawn = frame.drawn.clone();
    edit(&mut drawn.header);
    written(&drawn)
}

/// The file with the value of one card overwritten, as no writer of FITS would. Characters are bytes (Latin-1).
pub fn patched(bytes: &[u8], keyword: &str, value: &str) -> Vec<u8> {
    let mut patched = bytes.to_vec();
    let card = &mut patched[card_of(bytes, keyword)];
    card[10..].fill(b' ');
    for (place, character) in card[10..].iter_mut().zip(value.chars()) {
        *place = u8::try_from(u32::from(character)).expect("Latin-1");
    }
    patched
}

/// The file with one card blanked out.
pub fn without_card(bytes: &[u8], keyword: &str) -> Vec<u8> {
    let mut blanked = bytes.to_vec();
    blanked[card_of(bytes, keyword)].fill(b' ');
    blanked
}

fn card_of(bytes: &[u8], keyword: &str) -> std::ops::Range<usize> {
    let name = format!("{keyword:<8}");
    let at = bytes.chunks(80).position(|card| card.starts_with(name.as_bytes())).expect("a card of that name");
    at * 80..at * 80 + 80
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("packed");
    encoder.finish().expect("packed")
}
