//! The image of a point, integrated over pixels: a Gaussian with Hermite terms that keep its centre of symmetry.
//!
//! Each term is a product of one-dimensional functions whose integrals over a pixel are closed forms, so that there is no
//! error from sampling, however narrow the image is. Only terms of even total degree occur: the profile is symmetric
//! under reflection at its centre, and the centre means the same for every shape.

/// Degrees (x, y) of the terms that may be added to the Gaussian: lean, then kurtosis.
pub const TERMS: [(usize, usize); 6] = [(1, 1), (4, 0), (0, 4), (2, 2), (3, 1), (1, 3)];

/// Half width in pixels of the area that an image is taken to cover.
pub const REACH: usize = 5;

/// Pixels along one axis of that area.
pub const SPAN: usize = 2 * REACH + 1;

/// Highest degree needed: the kurtosis terms' derivatives.
const DEGREES: usize = 6;

/// Shape of an image of unit flux.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// Standard deviation of the Gaussian along x, pixels, without the pixel's own width.
    pub sigma_x: f64,
    /// The same along y.
    pub sigma_y: f64,
    /// Coefficients of [`TERMS`].
    pub terms: [f64; TERMS.len()],
}

impl Shape {
    /// A Gaussian.
    pub fn gaussian(sigma_x: f64, sigma_y: f64) -> Shape {
        Shape { sigma_x, sigma_y, terms: [0.0; TERMS.len()] }
    }
}

/// Integrals of He_m(u) phi(u), u = (x - centre) / sigma, over pixels along one axis, for m below [`DEGREES`].
#[derive(Clone, Debug)]
pub struct Axis {
    /// First pixel.
    pub first: isize,
    integrals: [[f64; SPAN]; DEGREES],
    sigma: f64,
}

impl Axis {
    /// Integrals over the pixels round `centre` (pixel i reaches from i - 0.5 to i + 0.5).
    pub fn new(centre: f64, sigma: f64) -> Axis {
        let first = centre.round() as isize - REACH as isize;
        let mut integrals = [[0.0; SPAN]; DEGREES];
        let mut below = edge((first as f64 - 0.5 - centre) / sigma);
        for i in 0..SPAN {
            let above = edge((first as f64 + i as f64 + 0.5 - centre) / sigma);
            for (row, (a, b)) in integrals.iter_mut().zip(below.iter().zip(&above)) {
                row[i] = b - a;
            }
            below = above;
        }
        Axis { first, integrals, sigma }
    }

    /// Integrals of the term of degree `m`, one per pixel.
    pub fn term(&self, m: usize) -> &[f64; SPAN] {
        &self.integrals[m]
    }
}

/// Antiderivatives of He_m phi at u: the normal integral for m = 0, else -He_{m-1} phi.
fn edge(u: f64) -> [f64; DEGREES] {
    const NORM: f64 = 0.398_942_280_401_432_7;
    if u.abs() > 9.0 {
        let mut far = [0.0; DEGREES];
        far[0] = if u > 0.0 { 1.0 } else { 0.0 };
        return far;
    }
    let phi = NORM * (-0.5 * u * u).exp();
    let mut out = [0.0; DEGREES];
    out[0] = 0.5 * libm::erfc(-u * std::f64::consts::FRAC_1_SQRT_2);
    let (mut before, mut last) = (0.0, 1.0);
    for (m, value) in out.iter_mut().enumerate().skip(1) {
        *value = -last * phi;
        (before, last) = (last, u * last - (m - 1) as f64 * before);
    }
    out
}

/// Value, and derivatives by the centre's x and y, of a profile of unit flux on the pixels round it.
#[derive(Clone, Debug)]
pub struct Image {
    /// First row and column.
    pub origin: (isize, isize),
    /// Fraction of the flux in each pixel, rows x columns.
    pub value: [[f64; SPAN]; SPAN],
    /// Derivative by x.
    pub dx: [[f64; SPAN]; SPAN],
    /// Derivative by y.
    pub dy: [[f64; SPAN]; SPAN],
}

/// The image of a point at (x, y), pixel centres at integers.
pub fn image(x: f64, y: f64, shape: &Shape) -> Image {
    let (ax, ay) = (Axis::new(x, shape.sigma_x), Axis::new(y, shape.sigma_y));
    // collect the terms by their degree in y: sum over x-degrees first
    let mut by_y = [[[0.0; SPAN]; DEGREES]; 2];
    let mut used = [false; DEGREES];
    let mut collect = |m: usize, n: usize, a: f64| {
        used[n] = true;
        let (value, slope) = (ax.term(m), ax.term(m + 1));
        for i in 0..SPAN {
            by_y[0][n][i] += a * value[i];
            by_y[1][n][i] += a * slope[i] / ax.sigma;
        }
    };
    collect(0, 0, 1.0);
    for ((m, n), a) in TERMS.into_iter().zip(shape.terms) {
        if a != 0.0 {
            collect(m, n, a);
        }
    }
    let mut image = Image {
        origin: (ay.first, ax.first),
        value: [[0.0; SPAN]; SPAN],
        dx: [[0.0; SPAN]; SPAN],
        dy: [[0.0; SPAN]; SPAN],
    };
    for n in (0..DEGREES - 1).filter(|n| used[*n]) {
        let (value, slope) = (ay.term(n), ay.term(n + 1));
        let (base, by_x) = (&by_y[0][n], &by_y[1][n]);
        for r in 0..SPAN {
            for (c, (base, by_x)) in base.iter().zip(by_x).enumerate() {
                image.value[r][c] += value[r] * base;
                image.dx[r][c] += value[r] * by_x;
                image.dy[r][c] += slope[r] / ay.sigma * base;
            }
        }
    }
    image
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { sigma_x: 0.7, sigma_y: 1.1, terms: [0.1, -0.02, 0.015, 0.01, 0.005, -0.004] };

    #[test]
    fn the_flux_is_one_and_the_centre_is_the_mean() {
        let image = image(20.3, 11.8, &SHAPE);
        let (mut flux, mut mx, mut my) = (0.0, 0.0, 0.0);
        for r in 0..SPAN {
            for c in 0..SPAN {
                let v = image.value[r][c];
                flux += v;
                mx += v * (image.origin.1 as f64 + c as f64);
                my += v * (image.origin.0 as f64 + r as f64);
            }
        }
        // what lies beyond the area is lost, a few parts in 1e5 at this width
        assert!((flux - 1.0).abs() < 1e-4 && (mx - 20.3).abs() < 2e-3 && (my - 11.8).abs() < 2e-3, "{flux} {mx} {my}");
    }

    #[test]
    fn a_pixel_of_a_gaussian_is_its_integral() {
        let image = image(0.2, -0.3, &Shape::gaussian(0.5, 0.8));
        let cdf = |a: f64| 0.5 * libm::erfc(-a / 2.0f64.sqrt());
        let expected = (cdf(0.3 / 0.5) - cdf(-0.7 / 0.5)) * (cdf(0.8 / 0.8) - cdf(-0.2 / 0.8));
        assert!((image.value[REACH][REACH] - expected).abs() < 1e-14);
    }

    #[test]
    fn derivatives_are_differences() {
        let h = 1e-5;
        let at = |x, y| image(x, y, &SHAPE);
        let (middle, right, left, up, down) =
            (at(4.2, 7.1), at(4.2 + h, 7.1), at(4.2 - h, 7.1), at(4.2, 7.1 + h), at(4.2, 7.1 - h));
        for r in 0..SPAN {
            for c in 0..SPAN {
                assert!((middle.dx[r][c] - (right.value[r][c] - left.value[r][c]) / (2.0 * h)).abs() < 1e-8);
                assert!((middle.dy[r][c] - (up.value[r][c] - down.value[r][c]) / (2.0 * h)).abs() < 1e-8);
            }
        }
    }
}
