//! Which exposures of a template are taken from which: by the offsets in their headers and by time.

use crate::instrument::FrameMeta;
use crate::reduction::science::nodding::Group;

/// What a header says of where the target was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Place {
    /// Counts positive, with the target at this slit position, arcsec.
    Plus(f64),
    /// Is taken off, with the target at this slit position; `None` when it is not on the slit.
    Minus(Option<f64>),
}

impl Place {
    /// Where the target lies along the slit.
    pub fn offset(self) -> Option<f64> {
        match self {
            Place::Plus(offset) => Some(offset),
            Place::Minus(offset) => offset,
        }
    }
}

/// Beyond this distance from its middle nothing lies on the slit, arcsec.
const END_OF_SLIT: f64 = 6.5;
/// Least distance between the two places of a nod, arcsec: the width of a source in poor seeing.
const LEAST_THROW: f64 = 0.8;

/// Places of a nodding template, by `ESO SEQ CUMOFF Y`: positive is A, the rest B. Where all have one sign, the middle
/// between the extremes divides them.
pub fn nodded(frames: &[FrameMeta]) -> Result<Vec<Place>, String> {
    let offsets = frames
        .iter()
        .map(|frame| {
            frame.on_sky.nod.ok_or_else(|| {
                format!(
                    "frame {} has no ESO SEQ CUMOFF Y, so its place on the slit is not known; leave it out",
                    frame.data_id
                )
            })
        })
        .collect::<Result<Vec<f64>, String>>()?;
    let (low, high) = offsets.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), o| (a.min(*o), b.max(*o)));
    if high - low < LEAST_THROW || low > high {
        return Err(format!(
            "ESO SEQ CUMOFF Y is {low} to {high} arcsec: at least {LEAST_THROW} between A and B are needed; reduce the frames with stare"
        ));
    }
    let divide = if low <= 0.0 && high > 0.0 { 0.0 } else { 0.5 * (low + high) };
    let places = offsets.iter().map(|offset| {
        let on_slit = Some(*offset).filter(|offset| offset.abs() < END_OF_SLIT);
        if *offset > divide { Place::Plus(*offset) } else { Place::Minus(on_slit) }
    });
    let places: Vec<Place> = places.collect();
    match places.iter().any(|place| place.offset().is_some_and(|offset| offset.abs() < END_OF_SLIT)) {
        true => Ok(places),
        false => Err(format!("ESO SEQ CUMOFF Y is {low} to {high} arcsec: both places lie off the slit")),
    }
}

/// Places of an offset template, by `ESO SEQ FIXOFF RA` and `DEC`: the target is on the slit where their sum is negative.
pub fn offset(frames: &[FrameMeta]) -> Result<Vec<Place>, String> {
    let places = frames
        .iter()
        .map(|frame| match frame.on_sky.fixed_offset {
            Some([ra, dec]) if ra + dec < 0.0 => Ok(Place::Plus(0.0)),
            Some(_) => Ok(Place::Minus(None)),
            None => Err(format!("frame {} has no ESO SEQ FIXOFF RA and DEC; leave it out", frame.data_id)),
        })
        .collect::<Result<Vec<Place>, String>>()?;
    let on = places.iter().filter(|place| matches!(place, Place::Plus(_))).count();
    if on == 0 || on == places.len() {
        return Err(format!(
            "{on} of {} frames have the target on the slit (ESO SEQ FIXOFF RA + DEC below 0): one of each kind is needed",
            places.len()
        ));
    }
    Ok(places)
}

/// Group exposures: each is paired with the nearest in time of the other kind that is still free; those left over join
/// the group that is nearest in time, whose mean difference is taken then, so that no exposure counts twice. Groups are
/// sorted by time.
pub fn grouped(places: &[Place], times: &[f64]) -> Vec<Group> {
    let of = |plus: bool| -> Vec<usize> {
        (0..places.len().min(times.len())).filter(|k| matches!(places[*k], Place::Plus(_)) == plus).collect()
    };
    let (plus, minus) = (of(true), of(false));
    let mut candidates: Vec<(f64, usize, usize)> =
        plus.iter().flat_map(|a| minus.iter().map(move |b| ((times[*a] - times[*b]).abs(), *a, *b))).collect();
    candidates.sort_by(|x, y| x.0.total_cmp(&y.0).then(x.1.cmp(&y.1)).then(x.2.cmp(&y.2)));
    let mut free = vec![true; places.len()];
    let mut groups: Vec<Group> = Vec::new();
    for (_, a, b) in candidates {
        if free[a] && free[b] {
            (free[a], free[b]) = (false, false);
            groups.push(Group { plus: vec![a], minus: vec![b] });
        }
    }
    groups.sort_by(|x, y| times[x.plus[0].min(x.minus[0])].total_cmp(&times[y.plus[0].min(y.minus[0])]));
    for (kind, is_plus) in [(&plus, true), (&minus, false)] {
        for left in kind.iter().filter(|index| free[**index]) {
            let away = |group: &Group| {
                group
                    .plus
                    .iter()
                    .chain(&group.minus)
                    .map(|k| (times[*k] - times[*left]).abs())
                    .fold(f64::INFINITY, f64::min)
            };
            if let Some(group) = groups.iter_mut().min_by(|x, y| away(x).total_cmp(&away(y))) {
                if is_plus { group.plus.push(*left) } else { group.minus.push(*left) }
            }
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Place = Place::Plus(2.5);
    const B: Place = Place::Minus(Some(-2.5));

    fn group(plus: &[usize], minus: &[usize]) -> Group {
        Group { plus: plus.to_vec(), minus: minus.to_vec() }
    }

    #[test]
    fn neighbours_in_time_are_paired() {
        assert_eq!(grouped(&[A, B, B, A], &[0.0, 1.0, 2.0, 3.0]), [group(&[0], &[1]), group(&[3], &[2])]);
        assert_eq!(grouped(&[B, A], &[5.0, 4.0]), [group(&[1], &[0])]);
        assert_eq!(grouped(&[A, A], &[0.0, 1.0]), []);
    }

    #[test]
    fn what_is_left_over_joins_the_nearest_group_and_nothing_counts_twice() {
        let groups = grouped(&[A, B, B, B, A, B], &[0.0, 1.0, 2.0, 3.0, 4.0, 9.0]);
        assert_eq!(groups, [group(&[0], &[1, 2]), group(&[4], &[3, 5])]);
    }
}
