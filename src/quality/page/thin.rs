//! Data made small enough for a picture.

/// At most `most` items, evenly picked, ends included.
pub fn thinned<T: Clone>(items: &[T], most: usize) -> Vec<T> {
    let n = items.len();
    if n <= most {
        return items.to_vec();
    }
    let last = most.saturating_sub(1).max(1);
    (0..most).filter_map(|k| items.get(k * (n - 1) / last).cloned()).collect()
}

/// Counts of finite values in `bins` equal bins between two ends, and the edges of the bins. Values outside are not
/// counted.
pub fn histogram(values: impl Iterator<Item = f64>, from: f64, to: f64, bins: usize) -> (Vec<f64>, Vec<f64>) {
    let bins = bins.max(1);
    let width = (to - from) / bins as f64;
    let edges = (0..=bins).map(|k| from + width * k as f64).collect();
    let mut counts = vec![0.0; bins];
    for value in values {
        let at = (value - from) / width;
        // NaN is in no range
        if (0.0..bins as f64).contains(&at) {
            counts[at as usize] += 1.0;
        }
    }
    (edges, counts)
}

/// Means of finite values in at most `most` stretches of equal length: `[middle of the stretch, mean]`, where the middle
/// counts items from 0. A stretch without a finite value has the mean NaN.
pub fn profile(values: &[f64], most: usize) -> Vec<[f64; 2]> {
    let length = values.len().div_ceil(most.max(1)).max(1);
    let mean = |(k, part): (usize, &[f64])| {
        let (mut sum, mut n) = (0.0, 0.0);
        for value in part.iter().filter(|value| value.is_finite()) {
            (sum, n) = (sum + value, n + 1.0);
        }
        [(k * length) as f64 + 0.5 * (part.len() as f64 - 1.0), if n > 0.0 { sum / n } else { f64::NAN }]
    };
    values.chunks(length).enumerate().map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinning_keeps_the_ends_and_short_lists() {
        let items: Vec<usize> = (0..1000).collect();
        let few = thinned(&items, 11);
        assert_eq!((few.len(), few[0], few[10]), (11, 0, 999));
        assert_eq!(thinned(&items[..5], 11), items[..5]);
        assert_eq!(thinned(&items, 0).len(), 0);
        assert_eq!(thinned(&items, 1), [0]);
    }

    #[test]
    fn bins_hold_what_lies_in_them() {
        let values = [0.0, 0.5, 1.0, 1.99, 2.0, -0.1, f64::NAN];
        let (edges, counts) = histogram(values.into_iter(), 0.0, 2.0, 2);
        assert_eq!((edges, counts), (vec![0.0, 1.0, 2.0], vec![2.0, 2.0]));
        // an empty range counts nothing and does not fail
        assert_eq!(histogram(values.into_iter(), 1.0, 1.0, 3).1, [0.0; 3]);
    }

    #[test]
    fn a_profile_has_means_at_middles() {
        assert_eq!(profile(&[1.0, 3.0, f64::NAN, 5.0, 9.0], 3)[..2], [[0.5, 2.0], [2.5, 5.0]]);
        assert!(profile(&[f64::NAN; 2], 1)[0][1].is_nan());
        assert!(profile(&[], 3).is_empty());
    }
}
