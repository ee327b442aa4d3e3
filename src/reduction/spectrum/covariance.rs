//! Covariances of neighbouring samples.

/// A symmetric matrix with nothing far from its diagonal, as resampling makes one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BandedCovariance {
    /// `diagonals[d][i]` is the covariance of samples `i` and `i + d`; all have the length of the spectrum, with zeros
    /// where `i + d` lies beyond its end. The first holds the variances.
    diagonals: Vec<Vec<f64>>,
}

impl BandedCovariance {
    /// That of `n` samples without errors.
    pub fn zero(n: usize) -> BandedCovariance {
        BandedCovariance { diagonals: vec![vec![0.0; n]] }
    }

    /// From its diagonals, the variances first. `None` when they differ in length or there is none.
    pub fn from_diagonals(diagonals: Vec<Vec<f64>>) -> Option<BandedCovariance> {
        let n = diagonals.first()?.len();
        diagonals.iter().all(|diagonal| diagonal.len() == n).then_some(BandedCovariance { diagonals })
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.diagonals.first().map_or(0, Vec::len)
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The diagonals, the variances first.
    pub fn diagonals(&self) -> &[Vec<f64>] {
        &self.diagonals
    }

    /// Covariance of two samples; zero for those far from each other.
    pub fn get(&self, i: usize, j: usize) -> f64 {
        self.diagonals.get(i.abs_diff(j)).and_then(|diagonal| diagonal.get(i.min(j))).copied().unwrap_or(0.0)
    }

    /// Variance of a sample.
    pub fn variance(&self, i: usize) -> f64 {
        self.get(i, i)
    }

    /// Add to the covariance of samples `i` and `i + distance`.
    pub fn add(&mut self, i: usize, distance: usize, value: f64) {
        let n = self.len();
        if i + distance >= n {
            return;
        }
        while self.diagonals.len() <= distance {
            self.diagonals.push(vec![0.0; n]);
        }
        self.diagonals[distance][i] += value;
    }

    /// Add another covariance whose samples are multiplied by `factors` and begin at sample `first` of this one.
    pub fn add_scaled(&mut self, first: usize, other: &BandedCovariance, factors: &[f64]) {
        for (distance, diagonal) in other.diagonals.iter().enumerate() {
            for (i, (value, pair)) in diagonal.iter().zip(factors.iter().zip(factors.iter().skip(distance))).enumerate()
            {
                if *value != 0.0 {
                    self.add(first + i, distance, value * pair.0 * pair.1);
                }
            }
        }
    }

    /// Variance of the sum of all samples, each times its factor.
    pub fn variance_of_sum(&self, factors: &[f64]) -> f64 {
        let mut sum = 0.0;
        for (distance, diagonal) in self.diagonals.iter().enumerate() {
            let twice = if distance == 0 { 1.0 } else { 2.0 };
            let pairs = factors.iter().zip(factors.iter().skip(distance));
            sum += twice * diagonal.iter().zip(pairs).map(|(value, (a, b))| value * a * b).sum::<f64>();
        }
        sum
    }

    /// Error of a sum over many neighbours of sample `i` over the one that uncorrelated samples of its error would give:
    /// the root of the sum of its row over its variance. `None` without variance.
    pub fn inflation(&self, i: usize) -> Option<f64> {
        let variance = self.variance(i);
        let mut row = variance;
        for distance in 1..self.diagonals.len() {
            row += self.get(i, i + distance) + i.checked_sub(distance).map_or(0.0, |before| self.get(before, i));
        }
        (variance > 0.0 && row > 0.0).then(|| (row / variance).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_see_the_covariance() {
        let mut covariance = BandedCovariance::zero(4);
        (0..4).for_each(|i| covariance.add(i, 0, 2.0));
        (0..3).for_each(|i| covariance.add(i, 1, 1.0));
        assert_eq!(covariance.variance_of_sum(&[1.0; 4]), 4.0 * 2.0 + 2.0 * 3.0);
        assert_eq!(covariance.variance_of_sum(&[1.0, -1.0, 0.0, 0.0]), 2.0);
        assert_eq!(covariance.inflation(1).unwrap(), 2f64.sqrt());
        assert_eq!((covariance.get(2, 1), covariance.get(0, 3)), (1.0, 0.0));
        assert_eq!(BandedCovariance::zero(1).inflation(0), None);
    }

    #[test]
    fn scaled_parts_add_where_they_belong() {
        let part = BandedCovariance::from_diagonals(vec![vec![1.0, 4.0], vec![0.5, 0.0]]).unwrap();
        let mut whole = BandedCovariance::zero(3);
        whole.add_scaled(1, &part, &[2.0, 3.0]);
        assert_eq!(whole.diagonals(), [vec![0.0, 4.0, 36.0], vec![0.0, 3.0, 0.0]]);
        assert_eq!(BandedCovariance::from_diagonals(vec![vec![1.0], vec![]]), None);
    }
}
