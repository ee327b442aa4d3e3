//! Bits of the quality plane (`FLAGS`, 32-bit integer). Zero is a good pixel; the peer-compatible `QUAL` plane is 1
//! wherever any of these is set.

/// Hot: dark signal far above its surroundings.
pub const HOT: i32 = 1;
/// Cold or dead: responds far below its surroundings.
pub const COLD: i32 = 2;
/// Saturated in a frame that contributed.
pub const SATURATED: i32 = 4;
/// Outside the range in which the detector is linear.
pub const NON_LINEAR: i32 = 8;
/// Hit by a cosmic ray in every frame that could have served, so no value is left.
pub const COSMIC_RAY: i32 = 16;
/// Varies from frame to frame by more than its noise (telegraph noise and the like).
pub const UNSTABLE: i32 = 32;
/// No valid data at all (NaN in every frame, outside the field).
pub const NO_DATA: i32 = 64;

/// The lamp does not calibrate this pixel: between the orders, on the slope of the slit's edge, or too faint. Its response
/// is 1 by definition.
pub const UNLIT: i32 = 128;

/// Two orders or arms that both see this wavelength contradict each other; the more certain one was kept.
pub const CONTRADICTORY: i32 = 1024;

/// No flux calibration at this wavelength: outside the range of the response.
pub const UNCALIBRATED: i32 = 2048;

/// Names of the bits, lowest first, for headers and documentation.
pub const NAMES: [(i32, &str); 10] = [
    (HOT, "HOT"),
    (COLD, "COLD"),
    (SATURATED, "SATURATED"),
    (NON_LINEAR, "NON_LINEAR"),
    (COSMIC_RAY, "COSMIC_RAY"),
    (UNSTABLE, "UNSTABLE"),
    (NO_DATA, "NO_DATA"),
    (UNLIT, "UNLIT"),
    (CONTRADICTORY, "CONTRADICTORY"),
    (UNCALIBRATED, "UNCALIBRATED"),
];
