//! Colours, chosen so that people with any kind of colour vision tell them apart.

use crate::quality::Verdict;
use crate::quality::page::{Ink, Palette};

/// Text and axes.
pub const INK: &str = "#1a1a1a";
/// Labels that stand back.
pub const SOFT: &str = "#5f6368";
/// Hairlines.
pub const HAIR: &str = "#d5d8dc";

/// Okabe and Ito (2008), "Color universal design": eight colours without the black and the yellow.
const SERIES: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/// Viridis (van der Walt and Smith 2015, public domain), every sixteenth of its 256 colours.
const VIRIDIS: [[u8; 3]; 17] = [
    [68, 1, 84],
    [72, 24, 106],
    [71, 45, 123],
    [66, 64, 134],
    [59, 82, 139],
    [51, 99, 141],
    [44, 114, 142],
    [38, 130, 142],
    [33, 145, 140],
    [31, 160, 136],
    [40, 174, 128],
    [63, 188, 115],
    [94, 201, 98],
    [132, 212, 75],
    [173, 220, 48],
    [216, 226, 25],
    [253, 231, 37],
];

/// Blue over almost white to brown (ColorBrewer's RdBu and PuOr, ends and middles).
const DIVERGING: [[u8; 3]; 7] =
    [[33, 102, 172], [103, 169, 207], [209, 229, 240], [247, 247, 247], [254, 224, 182], [224, 130, 20], [127, 59, 8]];

/// Colour of a layer.
pub fn ink(ink: Ink) -> &'static str {
    match ink {
        Ink::Black => INK,
        Ink::Grey => "#9aa0a6",
        Ink::Series(k) => SERIES[k % SERIES.len()],
        Ink::Model => "#d55e00",
        Ink::Rejected => "#b8bcc2",
        Ink::Overlay => "#ff8c1a",
    }
}

/// Colour of a verdict.
pub fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "#00795a",
        Verdict::Warn => "#b86e00",
        Verdict::Fail => "#b3001b",
    }
}

/// Colour at a fraction of a palette.
pub fn at(palette: Palette, fraction: f64) -> [u8; 3] {
    // NaN goes to the lowest
    let t = if fraction > 0.0 { fraction.min(1.0) } else { 0.0 };
    let between = |table: &[[u8; 3]]| {
        let place = t * (table.len() - 1) as f64;
        let low = (place as usize).min(table.len() - 2);
        let mix = |k: usize| {
            let (a, b) = (f64::from(table[low][k]), f64::from(table[low + 1][k]));
            (a + (b - a) * (place - low as f64)).round() as u8
        };
        [mix(0), mix(1), mix(2)]
    };
    match palette {
        Palette::Grey => [(255.0 * t).round() as u8; 3],
        Palette::Viridis => between(&VIRIDIS),
        Palette::Diverging => between(&DIVERGING),
    }
}

/// As SVG writes it.
pub fn hex([r, g, b]: [u8; 3]) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn palettes_end_where_they_should_and_get_brighter() {
        assert_eq!(hex(at(Palette::Viridis, 0.0)), "#440154");
        assert_eq!(hex(at(Palette::Viridis, 2.0)), "#fde725");
        assert_eq!(at(Palette::Diverging, 0.5), [247, 247, 247]);
        assert_eq!(at(Palette::Grey, f64::NAN), [0; 3]);
        let light = |k: i32| {
            let [r, g, b] = at(Palette::Viridis, f64::from(k) / 32.0).map(f64::from);
            0.2126 * r + 0.7152 * g + 0.0722 * b
        };
        assert!((0..32).all(|k| light(k + 1) > light(k)));
    }
}
