//! The walk along an order: short slices, and longer ones where the light is faint.

use rayon::prelude::*;

use super::image::Light;

/// What was measured in some rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured<T> {
    /// Middle of its span, unbinned.
    pub b: f64,
    /// Span that it stands for, unbinned.
    pub length: f64,
    /// What was found; `None` without significant light.
    pub found: Option<T>,
}

/// Runs of dark slices are tried again as one: sixteen, then four.
const JOINED: [usize; 2] = [16, 4];

/// Where an order is measured along the dispersion, in unbinned pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Walk {
    /// Rows of a slice: as many as a bright order needs.
    pub length: usize,
    /// Distance of slices. Faint runs are taken together with all rows between.
    pub stride: usize,
}

/// Measure slices over the whole image. `measure` is given first row, number of rows, and their middle in unbinned pixels.
pub fn along<T: Send>(
    light: &Light,
    walk: Walk,
    measure: impl Fn(usize, usize, f64) -> Option<T> + Sync,
) -> Vec<Measured<T>> {
    let rows = light.shape().0;
    let bin = light.binning[0];
    let base = (walk.stride / bin).max(2);
    // as many rows left out before as after, so that a slice sits in the middle of its span
    let taken = (walk.length / bin).clamp(2, base);
    let taken = base - (base - taken) / 2 * 2;
    let starts: Vec<usize> = (0..rows.saturating_sub(base - 1)).step_by(base).collect();
    let one = |start: usize, span: usize, length: usize| {
        let middle = start as f64 + 0.5 * (span - 1) as f64;
        let first = start + (span - length) / 2;
        let b = light.b_of(first as f64 + 0.5 * (length - 1) as f64);
        let found = measure(first, length, b);
        // a slice stands for its span
        Measured { b: light.b_of(middle), length: (span * bin) as f64, found }
    };
    let fine: Vec<Measured<T>> = starts.par_iter().map(|start| one(*start, base, taken)).collect();
    let dark: Vec<bool> = fine.iter().map(|slice| slice.found.is_none()).collect();
    // where a run of dark slices, aligned to its size, shows light as a whole
    let mut whole: Vec<Option<(Measured<T>, usize)>> = Vec::new();
    let mut k = 0;
    while k < dark.len() {
        let joined = JOINED.into_iter().find_map(|n| {
            let run = dark.get(k..k + n)?;
            if k % n != 0 || !run.iter().all(|dark| *dark) {
                return None;
            }
            let slice = one(starts[k], base * n, base * n);
            slice.found.is_some().then_some((slice, n))
        });
        k += joined.as_ref().map_or(1, |(_, n)| *n);
        whole.push(joined);
    }
    let mut fine = fine.into_iter();
    let mut out = Vec::with_capacity(dark.len());
    for joined in whole {
        let first = fine.next();
        match joined {
            Some((slice, n)) => {
                out.push(slice);
                fine.by_ref().take(n - 1).for_each(drop);
            }
            None => out.extend(first),
        }
    }
    out
}

/// First and last place with light, and the longest gap between, unbinned pixels; of (middle, length, used) in rising
/// order. An end must be confirmed by its neighbours: of the four slices from it on, three are used.
pub fn coverage(slices: &[(f64, f64, bool)]) -> Option<([f64; 2], f64)> {
    let confirmed = |from: usize, step: i64| {
        let used = |k: i64| usize::try_from(from as i64 + step * k).ok().and_then(|i| slices.get(i)).map(|s| s.2);
        (0..4).filter(|k| used(*k) == Some(true)).count() >= 3
    };
    let first = (0..slices.len()).find(|k| slices[*k].2 && confirmed(*k, 1))?;
    let last = (first..slices.len()).rev().find(|k| slices[*k].2 && confirmed(*k, -1))?;
    let ends = [slices[first].0 - 0.5 * slices[first].1, slices[last].0 + 0.5 * slices[last].1];
    let inside: Vec<&(f64, f64, bool)> = slices[first..=last].iter().filter(|slice| slice.2).collect();
    let gaps = inside.windows(2).map(|pair| (pair[1].0 - 0.5 * pair[1].1) - (pair[0].0 + 0.5 * pair[0].1));
    (ends[1] > ends[0]).then_some((ends, gaps.fold(0.0, f64::max)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    #[test]
    fn faint_runs_are_taken_together_and_nothing_is_lost() {
        let light = Light { value: Array2::zeros((640, 4)), shot: 1.0, floor: 1.0, binning: [1, 1] };
        // light from 320 on in short slices; before 256 only in slices of at least four
        let found = along(&light, Walk { length: 16, stride: 16 }, |start, n, _| {
            (start >= 320 || (n >= 64 && start < 256)).then_some(n)
        });
        assert!((found.iter().map(|slice| slice.length).sum::<f64>() - 640.0).abs() < 1e-9);
        assert!(found.windows(2).all(|pair| pair[0].b < pair[1].b));
        assert_eq!(found[0].found, Some(256));
        assert_eq!(found.iter().filter(|slice| slice.found.is_none()).count(), 4);
        assert_eq!(found.iter().filter(|slice| slice.found == Some(16)).count(), 20);
    }

    #[test]
    fn lonely_slices_do_not_extend_the_coverage() {
        let used = [true, false, false, false, true, true, false, true, true, true, false, true];
        let slices: Vec<(f64, f64, bool)> =
            used.iter().enumerate().map(|(k, used)| (10.0 * k as f64, 10.0, *used)).collect();
        assert_eq!(coverage(&slices), Some(([35.0, 115.0], 10.0)));
        assert_eq!(coverage(&slices[..4]), None);
        assert_eq!(coverage(&[]), None);
    }
}
