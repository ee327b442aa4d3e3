//! Elementary functions that give the same bits on every machine.
//!
//! The functions of `std` call the C library of the machine, which may round the last bit differently with and without
//! fused multiply-add. Simulated frames promise the same bytes everywhere, so the simulator uses these only, and
//! `tests/architecture.rs` sees to it. `sqrt`, `abs`, `floor`, `round` and the like are exact everywhere and need no stand-in.

/// e to the `x`.
pub fn exp(x: f64) -> f64 {
    libm::exp(x)
}

/// Natural logarithm.
pub fn ln(x: f64) -> f64 {
    libm::log(x)
}

/// `base` to the `exponent`.
pub fn pow(base: f64, exponent: f64) -> f64 {
    libm::pow(base, exponent)
}

/// Ten to the `x`.
pub fn exp10(x: f64) -> f64 {
    libm::exp10(x)
}

/// Sine and cosine of an angle in radians.
pub fn sin_cos(angle: f64) -> (f64, f64) {
    libm::sincos(angle)
}

/// Error function.
pub fn erf(x: f64) -> f64 {
    libm::erf(x)
}

/// Logarithm to base ten.
pub fn log10(x: f64) -> f64 {
    libm::log10(x)
}
