//! Chebyshev polynomials of the first kind and their derivatives.
//!
//! In them a smooth map over a range has coefficients of like size and a design matrix with a condition number near
//! one; powers of a wavelength in nm have 1e24.

/// T_0(t) .. T_{n-1}(t), n the length of `values`. Outside of -1..1 the polynomials are continued.
pub fn values(t: f64, values: &mut [f64]) {
    let (mut before, mut last) = (t, 1.0);
    for value in values.iter_mut() {
        *value = last;
        (before, last) = (last, 2.0 * t * last - before);
    }
}

/// The same with the derivatives by `t`; both slices have one length.
pub fn values_and_slopes(t: f64, values: &mut [f64], slopes: &mut [f64]) {
    self::values(t, values);
    // T_n' = n U_{n-1}, with U_0 = 1, U_1 = 2 t, U_{n+1} = 2 t U_n - U_{n-1}
    let (mut before, mut last) = (0.0, 0.0);
    for (n, slope) in slopes.iter_mut().enumerate() {
        *slope = n as f64 * last;
        (before, last) = if n == 0 { (0.0, 1.0) } else { (last, 2.0 * t * last - before) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_slopes_are_those_of_the_cosine_form() {
        // T_n(cos a) = cos(n a), T_n'(cos a) = n sin(n a) / sin a
        let angle: f64 = 0.7;
        let (mut v, mut d) = ([0.0; 9], [0.0; 9]);
        values_and_slopes(angle.cos(), &mut v, &mut d);
        for n in 0..9 {
            let a = n as f64 * angle;
            assert!((v[n] - a.cos()).abs() < 1e-12);
            assert!((d[n] - n as f64 * a.sin() / angle.sin()).abs() < 1e-11, "{n}");
        }
    }

    #[test]
    fn outside_of_the_range_they_grow_as_the_hyperbolic_cosine() {
        let (t, mut v) = (1.2f64, [0.0; 7]);
        values(t, &mut v);
        assert!((v[6] - (6.0 * t.acosh()).cosh()).abs() < 1e-9);
    }
}
