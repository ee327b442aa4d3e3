//! The reasons for which an arc is refused, as a person reads them.

use super::fit::FitError;

/// Why an arc was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ArcError {
    /// The lines do not determine a map.
    #[error(transparent)]
    Fit(#[from] FitError),
    /// The pattern was not found.
    #[error(
        "order {order}: {found} of {expected} lines found, at least {needed} are needed; is the lamp on, and not too bright, is \
         the right mask in, is the format within {search} pixels of where it is published?"
    )]
    Lines {
        /// Order.
        order: u8,
        /// Landmarks found.
        found: usize,
        /// Landmarks on the detector.
        expected: usize,
        /// Least number.
        needed: usize,
        /// Reach of the search.
        search: usize,
    },
    /// The lines found cover too little of an order.
    #[error("order {order}: the lines found cover {:.0} per cent of the order, at least {:.0} are needed", .cover * 100.0, .needed * 100.0)]
    Cover {
        /// Order.
        order: u8,
        /// Fraction covered.
        cover: f64,
        /// Least fraction.
        needed: f64,
    },
    /// The lines scatter about the map.
    #[error(
        "order {order}: the lines scatter by {scatter:.3} pixels about the map, at most {most:.3} are allowed; the match is wrong or the image is bad"
    )]
    Scatter {
        /// Order.
        order: u8,
        /// Robust scatter.
        scatter: f64,
        /// Largest allowed.
        most: f64,
    },
    /// The mask seems to have slipped, but the pattern has moved besides.
    #[error(
        "the pinholes fit best {slip} pitches off along the slit and {moved:.0} pixels off besides; the mask may have slipped or \
         the format may have moved since the single pinhole was taken: take both arcs again, one after the other"
    )]
    Displaced {
        /// Pitches.
        slip: i32,
        /// Largest shift besides, pixels.
        moved: f64,
    },
    /// Bright lines stand where the map has none.
    #[error("order {order}: {against} bright lines lie off the map, {used} on it; the match is wrong")]
    Contradicted {
        /// Order.
        order: u8,
        /// Certain lines off the map.
        against: usize,
        /// Certain lines on it.
        used: usize,
    },
    /// The lines left say too little about a part of an order.
    #[error(
        "order {order}: the lines found leave the place of {wavelength:.1} nm uncertain by {error:.1} pixels, at most {most:.1} \
         are allowed; is every lamp on?"
    )]
    Unsure {
        /// Order.
        order: u8,
        /// Where.
        wavelength: f64,
        /// Standard error there, pixels.
        error: f64,
        /// Largest allowed.
        most: f64,
    },
    /// The mask goes on where the map says that it ends.
    #[error(
        "order {order}: {lit} of {bright} bright lines shine beyond pinhole {pinhole} too, the last of the mask: the match is \
         off by whole pitches; has the mask slipped, or the format moved farther than {search} pixels?"
    )]
    Beyond {
        /// Order.
        order: u8,
        /// The pinhole at that end of the mask.
        pinhole: u8,
        /// Bright lines with an image beyond it.
        lit: usize,
        /// Bright lines through it.
        bright: usize,
        /// Reach of the search.
        search: usize,
    },
    /// One line that two orders show has two wavelengths.
    #[error("orders {first} and {second} disagree by {offset:.3} pixels about the {lines} lines that both show")]
    Overlap {
        /// An order.
        first: u8,
        /// The other.
        second: u8,
        /// Median disagreement, pixels.
        offset: f64,
        /// Lines in common.
        lines: usize,
    },
    /// The map is not one to one.
    #[error("order {order}: the map folds over at {wavelength:.2} nm, slit position {slit:.1} arcsec")]
    Folded {
        /// Order.
        order: u8,
        /// Where.
        wavelength: f64,
        /// Where.
        slit: f64,
    },
}
