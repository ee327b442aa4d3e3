//! Where slit and lines of the sky lie in exposures of which only differences are reduced: found in the sky that they share.

use super::joint::{JointOptions, first_sky, place_lines, place_slit};
use super::shift::ArmShift;
use super::slit::SlitShift;
use super::strip::Strip;
use crate::instrument::airglow::SkyLine;
use crate::reduction::flags::{NO_DATA, UNLIT};

/// By how much the maps were moved.
#[derive(Clone, Debug)]
pub struct Alignment {
    /// Along the slit; `None` when the sky is too faint to tell.
    pub slit: Option<SlitShift>,
    /// Along the dispersion; `None` when too few lines can be seen, or none were looked for.
    pub shift: Option<ArmShift>,
}

/// Move the maps of all exposures, each a list of the same orders, to where slit and sky lines lie in the sky of the
/// first two. Of each pixel the darker of both counts: sources lie at different places in them, and cosmic rays too.
pub fn align(exposures: &mut [Vec<Strip>], pair: [usize; 2], list: &[SkyLine], options: &JointOptions) -> Alignment {
    let nothing = Alignment { slit: None, shift: None };
    let (Some(one), Some(other)) = (exposures.get(pair[0]), exposures.get(pair[1])) else { return nothing };
    let mut sky: Vec<Strip> = one.iter().zip(other).map(|(one, other)| darker(one, other)).collect();
    let slit = place_slit(&mut sky);
    let mut orders: Vec<_> = sky.iter().filter_map(|strip| first_sky(strip.clone(), options)).collect();
    let shift = options.shift.as_ref().and_then(|shift| place_lines(&mut orders, list, shift));
    for order in orders {
        if let Some(strip) = sky.iter_mut().find(|strip| strip.order == order.strip.order) {
            *strip = order.strip;
        }
    }
    for (strip, moved) in exposures.iter_mut().flat_map(|strips| strips.iter_mut().zip(&sky)) {
        strip.wavelength.assign(&moved.wavelength);
        strip.wavelength_error.assign(&moved.wavelength_error);
        strip.slit.assign(&moved.slit);
        // the slit may have been closed where it ends now
        strip.flags.zip_mut_with(&moved.flags, |bits, moved| *bits |= moved & (UNLIT | NO_DATA));
    }
    Alignment { slit, shift }
}

/// The darker of two exposures in each pixel, with the flags of both.
fn darker(one: &Strip, other: &Strip) -> Strip {
    let mut strip = one.clone();
    if one.shape() == other.shape() {
        strip.value.zip_mut_with(&other.value, |value, other| *value = value.min(*other));
        strip.flags.zip_mut_with(&other.flags, |bits, other| *bits |= other);
    }
    strip
}
