//! The straight line by least squares.

/// A straight line through points of equal weight, with errors from their own scatter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// Value at the mean abscissa.
    pub centre: f64,
    /// Mean abscissa.
    pub pivot: f64,
    /// Change of the value per unit of the abscissa.
    pub slope: f64,
    /// Standard error of the slope.
    pub slope_error: f64,
    /// Root mean square residual (divisor n - 2).
    pub scatter: f64,
}

impl Line {
    /// The line's value at `x`.
    pub fn at(&self, x: f64) -> f64 {
        self.centre + self.slope * (x - self.pivot)
    }
}

/// Fit a line through `(x, y)`, leaving out points that are not finite. `None` for fewer than three points or when all
/// lie at one abscissa.
pub fn fit_line(points: impl Iterator<Item = (f64, f64)> + Clone) -> Option<Line> {
    let points = points.filter(|(x, y)| x.is_finite() && y.is_finite());
    let (mut n, mut sx, mut sy) = (0.0, 0.0, 0.0);
    for (x, y) in points.clone() {
        n += 1.0;
        sx += x;
        sy += y;
    }
    if n < 3.0 {
        return None;
    }
    let (pivot, centre) = (sx / n, sy / n);
    let (mut sxx, mut sxy) = (0.0, 0.0);
    for (x, y) in points.clone() {
        sxx += (x - pivot) * (x - pivot);
        sxy += (x - pivot) * (y - centre);
    }
    if sxx <= 0.0 {
        return None;
    }
    let slope = sxy / sxx;
    let residual: f64 = points.map(|(x, y)| (y - centre - slope * (x - pivot)).powi(2)).sum();
    let scatter = (residual / (n - 2.0)).sqrt();
    Some(Line { centre, pivot, slope, slope_error: scatter / sxx.sqrt(), scatter })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_points_give_the_exact_line() {
        let line = fit_line((0..50).map(|i| (f64::from(i), 3.0 - 0.25 * f64::from(i)))).unwrap();
        assert!((line.slope + 0.25).abs() < 1e-14 && (line.at(0.0) - 3.0).abs() < 1e-12);
        assert!(line.slope_error < 1e-12);
    }

    #[test]
    fn error_of_the_slope_is_the_textbook_one() {
        // residuals alternate +1, -1: scatter^2 = n / (n - 2), sxx = n (n^2 - 1) / 12
        let n = 1000.0;
        let line = fit_line((0..1000).map(|i| (f64::from(i), if i % 2 == 0 { 1.0 } else { -1.0 }))).unwrap();
        let expected = (n / (n - 2.0) / (n * (n * n - 1.0) / 12.0f64)).sqrt();
        assert!((line.slope_error / expected - 1.0).abs() < 1e-3);
    }

    #[test]
    fn too_few_or_degenerate_points_have_no_line() {
        assert_eq!(fit_line([(0.0, 1.0), (1.0, 2.0)].into_iter()), None);
        assert_eq!(fit_line([(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)].into_iter()), None);
        assert_eq!(fit_line([(0.0, 1.0), (1.0, f64::NAN), (2.0, 3.0)].into_iter()), None);
    }
}
