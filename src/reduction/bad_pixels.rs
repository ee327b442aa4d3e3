//! Bad-pixel maps that accumulate: what biases, darks and flats have said about each pixel, taken together.
//!
//! A map holds the bits of [`super::flags`]. Each kind of source says what it can judge, and says it of its own: HOT in a
//! dark is dark signal, HOT in a flat is response; COLD in a dark is a low level, COLD in a flat is low response, where its
//! lamp shines. So sources vote among their kind only, and a pixel is bad when one kind finds it so. A bit is set where
//! enough of the sources that can judge it agree: one set's cosmic ray does not stay for ever, one missed detection does
//! not clear a defect, and a pixel that has recovered drops out with the votes of the newer sources.

use ndarray::{Array2, Zip};

use super::flags;

/// What a source looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Frames without light: biases and darks.
    Dark,
    /// Flats.
    Flat,
}

impl Kind {
    /// Every kind.
    const ALL: [Kind; 2] = [Kind::Dark, Kind::Flat];

    /// Bits that sources of this kind can judge. What befell single exposures (SATURATED, COSMIC_RAY) is no defect.
    fn judges(self) -> i32 {
        let both = flags::HOT | flags::COLD | flags::UNSTABLE | flags::NO_DATA;
        match self {
            Kind::Dark => both,
            Kind::Flat => both | flags::NON_LINEAR,
        }
    }
}

/// What one product says.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// What it looked at.
    pub kind: Kind,
    /// Quality bits, rows x columns. A flat that is not lit at a pixel ([`flags::UNLIT`]) judges only whether there is data.
    pub bits: &'a Array2<i32>,
}

/// A merged map.
#[derive(Clone, Debug, PartialEq)]
pub struct Merged {
    /// Bits, rows x columns.
    pub bits: Array2<i32>,
    /// Pixels that are bad in the map.
    pub bad: usize,
    /// Pixels that some source called bad and the vote did not.
    pub dropped: usize,
}

/// Merge maps of one shape; those of another shape than the first are left out. `None` without any. A bit is kept where at
/// least the fraction `agreement` (0 to 1) of the sources of one kind that can judge it there have it, and at least one.
pub fn merge(sources: &[Source], agreement: f64) -> Option<Merged> {
    let shape = sources.first()?.bits.dim();
    let sources: Vec<Source> = sources.iter().copied().filter(|source| source.bits.dim() == shape).collect();
    let mut bits = Array2::<i32>::zeros(shape);
    Zip::indexed(&mut bits).par_for_each(|at, bits| *bits = vote(&sources, at, agreement));
    let accused = |at: (usize, usize)| sources.iter().any(|source| source.bits[at] & source.kind.judges() != 0);
    let (mut bad, mut dropped) = (0, 0);
    for (at, bits) in bits.indexed_iter() {
        bad += usize::from(*bits != 0);
        dropped += usize::from(*bits == 0 && accused(at));
    }
    Some(Merged { bits, bad, dropped })
}

/// The bits of one pixel. All sources have it: [`merge`] leaves out those of another shape.
fn vote(sources: &[Source], at: (usize, usize), agreement: f64) -> i32 {
    // almost all pixels are good everywhere
    if sources.iter().all(|source| source.bits[at] & !flags::UNLIT == 0) {
        return 0;
    }
    let mut kept = 0;
    for kind in Kind::ALL {
        let judges = kind.judges();
        for (bit, _) in flags::NAMES.into_iter().filter(|(bit, _)| judges & bit != 0) {
            let (mut asked, mut votes) = (0usize, 0usize);
            for source in sources.iter().filter(|source| source.kind == kind) {
                let found = source.bits[at];
                if found & flags::UNLIT == 0 || bit == flags::NO_DATA {
                    asked += 1;
                    votes += usize::from(found & bit != 0);
                }
            }
            if votes > 0 && votes as f64 >= agreement * asked as f64 {
                kept |= bit;
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(set: &[((usize, usize), i32)]) -> Array2<i32> {
        let mut bits = Array2::zeros((4, 5));
        set.iter().for_each(|(at, bit)| bits[*at] |= bit);
        bits
    }

    fn dark(bits: &Array2<i32>) -> Source<'_> {
        Source { kind: Kind::Dark, bits }
    }

    fn flat(bits: &Array2<i32>) -> Source<'_> {
        Source { kind: Kind::Flat, bits }
    }

    #[test]
    fn each_kind_judges_what_it_can_see() {
        let first = map(&[((0, 0), flags::HOT), ((1, 1), flags::COLD), ((3, 3), flags::SATURATED)]);
        let clean = map(&[]);
        let lamp = map(&[((2, 2), flags::COLD), ((0, 1), flags::UNLIT), ((0, 0), flags::UNLIT), ((3, 4), 8)]);
        let merged = merge(&[dark(&first), dark(&first), dark(&clean), flat(&lamp)], 0.5).unwrap();
        // two of three darks, and the only flat: a flat is not outvoted by darks, which do not see response
        let expected =
            [((0, 0), flags::HOT), ((1, 1), flags::COLD), ((2, 2), flags::COLD), ((3, 4), flags::NON_LINEAR)];
        assert_eq!((merged.bits, merged.bad, merged.dropped), (map(&expected), 4, 0));
    }

    #[test]
    fn a_flat_without_light_says_nothing_of_response() {
        let (lit, unlit) =
            (map(&[((1, 1), flags::COLD)]), map(&[((1, 1), flags::UNLIT), ((1, 2), flags::NO_DATA | 128)]));
        let merged = merge(&[flat(&lit), flat(&unlit), flat(&unlit)], 0.6).unwrap();
        assert_eq!(merged.bits, map(&[((1, 1), flags::COLD), ((1, 2), flags::NO_DATA)]));
    }

    #[test]
    fn a_pixel_drops_out_when_its_judges_no_longer_agree() {
        let (clean, hit) = (map(&[]), map(&[((0, 4), flags::HOT)]));
        let night = |found: [bool; 5]| {
            let sources: Vec<Source> = found.iter().map(|found| dark(if *found { &hit } else { &clean })).collect();
            merge(&sources, 0.5).unwrap()
        };
        // newest first: a hit of one set, a defect that one set missed, one that has healed
        assert_eq!(night([true, false, false, false, false]).bits[[0, 4]], 0);
        assert_eq!(night([true, false, true, true, true]).bits[[0, 4]], flags::HOT);
        let healed = night([false, false, false, true, true]);
        assert_eq!((healed.bits[[0, 4]], healed.bad, healed.dropped), (0, 0, 1));
        // the same sources give the same map, in whatever order
        assert_eq!(night([false, true, false, true, true]), night([true, true, true, false, false]));
    }

    #[test]
    fn maps_of_another_shape_are_left_out() {
        let (one, other) = (map(&[((2, 3), flags::HOT)]), Array2::from_elem((4, 4), flags::HOT));
        assert_eq!(merge(&[dark(&one), dark(&other)], 0.5).unwrap().bad, 1);
        assert_eq!(merge(&[], 0.5), None);
    }
}
