//! Bad-pixel maps that accumulate: what darks, biases and flats have said about each pixel, taken together.
//!
//! A map holds the bits of [`super::flags`]. Each source says what it can judge: a dark knows hot pixels and nothing about
//! response, a flat knows response only where its lamp shines. A bit is set where enough of the sources that can judge it
//! agree, so that one night's cosmic ray does not stay for ever and one missed detection does not clear a defect.

use std::collections::BTreeMap;

use ndarray::Array2;

use super::flags;

/// What one product says.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    /// Name, for the record: the product's file name.
    pub name: String,
    /// Quality bits, rows x columns.
    pub bits: &'a Array2<i32>,
    /// Bits that this kind of product can judge.
    pub judges: i32,
}

/// Bits that a dark or a bias can judge.
pub const DARK_JUDGES: i32 = flags::HOT | flags::COLD | flags::UNSTABLE | flags::NO_DATA;
/// Bits that a flat can judge, where it is lit.
pub const FLAT_JUDGES: i32 = flags::COLD | flags::HOT | flags::NON_LINEAR | flags::UNSTABLE | flags::NO_DATA;

/// How often a bit was set, and by whom.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Count {
    /// Pixels with the bit in the merged map.
    pub merged: usize,
    /// Pixels that a source had set and the vote did not keep.
    pub dropped: usize,
    /// Pixels with the bit by source, in the order given.
    pub by_source: Vec<(String, usize)>,
}

/// A merged map.
#[derive(Clone, Debug, PartialEq)]
pub struct Merged {
    /// Bits, rows x columns.
    pub bits: Array2<i32>,
    /// Provenance by the name of the bit.
    pub counts: BTreeMap<&'static str, Count>,
}

/// Why maps cannot be merged.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MergeError {
    /// Nothing to merge.
    #[error("no bad-pixel map to merge; name at least one")]
    Empty,
    /// Maps of different binning or window.
    #[error(
        "bad-pixel map {name} has {found:?} rows x columns, the first one has {expected:?}; merge maps of one binning"
    )]
    Shape {
        /// Source.
        name: String,
        /// Its shape.
        found: (usize, usize),
        /// Shape of the first.
        expected: (usize, usize),
    },
}

impl crate::fault::Classified for MergeError {
    fn class(&self) -> crate::fault::FaultClass {
        crate::fault::FaultClass::Unprocessable
    }
}

/// Merge maps. A bit is kept where at least `agreement` (0 to 1) of the sources that can judge it at that pixel have it,
/// and at least one. A flat that is not lit at a pixel ([`flags::UNLIT`]) judges only whether there is data.
pub fn merge(sources: &[Source], agreement: f64) -> Result<Merged, MergeError> {
    let Some(first) = sources.first() else { return Err(MergeError::Empty) };
    let expected = first.bits.dim();
    if let Some(other) = sources.iter().find(|source| source.bits.dim() != expected) {
        return Err(MergeError::Shape { name: other.name.clone(), found: other.bits.dim(), expected });
    }
    let known: Vec<(i32, &'static str)> = flags::NAMES.into_iter().filter(|(bit, _)| *bit != flags::UNLIT).collect();
    let mut counts: BTreeMap<&'static str, Count> = known
        .iter()
        .map(|(_, name)| {
            let by_source = sources.iter().map(|source| (source.name.clone(), 0)).collect();
            (*name, Count { by_source, ..Count::default() })
        })
        .collect();
    let mut merged = Array2::<i32>::zeros(expected);
    for (at, bits) in merged.indexed_iter_mut() {
        // almost all pixels are good everywhere
        if sources.iter().all(|source| source.bits[at] & !flags::UNLIT == 0) {
            continue;
        }
        for (bit, name) in &known {
            let (mut judges, mut votes) = (0usize, 0usize);
            let Some(count) = counts.get_mut(name) else { continue };
            for (source, (_, own)) in sources.iter().zip(&mut count.by_source) {
                let found = source.bits[at];
                let judged = if found & flags::UNLIT != 0 { source.judges & flags::NO_DATA } else { source.judges };
                if judged & bit == 0 {
                    continue;
                }
                judges += 1;
                if found & bit != 0 {
                    votes += 1;
                    *own += 1;
                }
            }
            if votes == 0 {
                continue;
            }
            if votes as f64 >= agreement * judges as f64 {
                *bits |= bit;
                count.merged += 1;
            } else {
                count.dropped += 1;
            }
        }
    }
    Ok(Merged { bits: merged, counts })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(set: &[((usize, usize), i32)]) -> Array2<i32> {
        let mut bits = Array2::zeros((4, 5));
        set.iter().for_each(|(at, bit)| bits[*at] |= bit);
        bits
    }

    #[test]
    fn each_kind_judges_what_it_can_see() {
        let dark = map(&[((0, 0), flags::HOT), ((1, 1), flags::COLD), ((3, 3), flags::SATURATED)]);
        let flat = map(&[((1, 1), flags::COLD), ((2, 2), flags::COLD), ((0, 1), flags::UNLIT), ((0, 0), flags::UNLIT)]);
        let sources = [
            Source { name: "dark".into(), bits: &dark, judges: DARK_JUDGES },
            Source { name: "flat".into(), bits: &flat, judges: FLAT_JUDGES },
        ];
        let merged = merge(&sources, 0.5).unwrap();
        assert_eq!(merged.bits, map(&[((0, 0), flags::HOT), ((1, 1), flags::COLD), ((2, 2), flags::COLD)]));
        let cold = &merged.counts["COLD"];
        assert_eq!((cold.merged, cold.dropped), (2, 0));
        assert_eq!(cold.by_source, [("dark".to_string(), 1), ("flat".to_string(), 2)]);
        assert!(!merged.counts.contains_key("UNLIT"));
    }

    #[test]
    fn one_night_does_not_outvote_the_others() {
        let (clean, hit) = (map(&[]), map(&[((0, 4), flags::HOT)]));
        let source = |name: &str, bits| Source { name: name.to_string(), bits, judges: DARK_JUDGES };
        let nights = [source("a", &clean), source("b", &hit), source("c", &clean)];
        let merged = merge(&nights, 0.5).unwrap();
        assert_eq!((merged.bits[[0, 4]], merged.counts["HOT"].dropped), (0, 1));
        assert_eq!(merge(&nights, 0.0).unwrap().bits[[0, 4]], flags::HOT);
    }

    #[test]
    fn maps_of_another_shape_are_refused() {
        let (one, other) = (map(&[]), Array2::zeros((4, 4)));
        let source = |bits| Source { name: "x".to_string(), bits, judges: DARK_JUDGES };
        assert!(matches!(merge(&[source(&one), source(&other)], 0.5), Err(MergeError::Shape { .. })));
        assert_eq!(merge(&[], 0.5), Err(MergeError::Empty));
    }
}
