//! What the light looks like in the slit plane, and what of it the slit lets pass.
//!
//! Coordinates are arcseconds: along the slit, and across it (positive towards longer wavelengths), from the middle
//! of the nominal slit. Profiles are projections on one of the two, with closed forms for their integrals.

use serde::{Deserialize, Serialize};

use crate::simulator::math;

/// What stands in the slit plane.
#[derive(Clone, Debug, PartialEq)]
pub enum Entrance {
    /// A slit of the nominal length.
    Slit {
        /// Width, arcsec.
        width: f64,
        /// Position of its middle across, arcsec: how well the exchanger puts it back.
        across: f64,
    },
    /// A mask with round holes.
    Pinholes {
        /// Positions along the slit, arcsec.
        along: Vec<f64>,
        /// Position of all holes across, arcsec.
        across: f64,
        /// Diameter, arcsec.
        diameter: f64,
    },
}

/// A function of the wavelength: straight lines between samples, constant beyond the first and the last.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    samples: Vec<(f64, f64)>,
}

impl Curve {
    /// The same value everywhere.
    pub fn constant(value: f64) -> Curve {
        Curve { samples: vec![(0.0, value)] }
    }

    /// Through pairs of a wavelength (nm) and a value, in any order. Nothing is zero everywhere.
    pub fn through(mut samples: Vec<(f64, f64)>) -> Curve {
        samples.sort_by(|a, b| a.0.total_cmp(&b.0));
        if samples.is_empty() {
            return Curve::constant(0.0);
        }
        Curve { samples }
    }

    /// The value at a wavelength.
    pub fn at(&self, wavelength: f64) -> f64 {
        let after = self.samples.partition_point(|sample| sample.0 <= wavelength);
        match (after.checked_sub(1).and_then(|before| self.samples.get(before)), self.samples.get(after)) {
            (Some(a), Some(b)) => a.1 + (b.1 - a.1) * (wavelength - a.0) / (b.0 - a.0),
            (Some(end), None) | (None, Some(end)) => end.1,
            (None, None) => 0.0,
        }
    }
}

/// How the light of a source of finite size is spread, projected on a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// A star in seeing: a Moffat function with beta = 3.
    Moffat,
    /// A Gaussian.
    Gaussian,
    /// A peak with exponential wings, as a disc galaxy's projection.
    Exponential,
}

/// A source of finite size in the slit plane: a star, or a galaxy (whose size includes the seeing).
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Its shape.
    pub profile: Profile,
    /// FWHM, arcsec, against wavelength. Of the round image; a Gaussian's and an exponential's projections have the
    /// same.
    pub fwhm: Curve,
    /// Position along the slit, arcsec, against wavelength.
    pub along: Curve,
    /// Position across the slit, arcsec, against wavelength.
    pub across: Curve,
}

impl Source {
    /// A star of the same seeing and position at all wavelengths.
    pub fn star(fwhm: f64, along: f64, across: f64) -> Source {
        Source {
            profile: Profile::Moffat,
            fwhm: Curve::constant(fwhm),
            along: Curve::constant(along),
            across: Curve::constant(across),
        }
    }

    /// Its projection at a wavelength.
    pub(super) fn marginal(&self, wavelength: f64) -> Marginal {
        // Nothing is sharper than a thousandth of an arcsecond.
        let fwhm = self.fwhm.at(wavelength).max(1e-3);
        match self.profile {
            Profile::Moffat => Marginal::Moffat { alpha: fwhm / MOFFAT_FWHM },
            Profile::Gaussian => Marginal::Gaussian { sigma: fwhm / super::FWHM_OF_SIGMA },
            Profile::Exponential => Marginal::Exponential { scale: fwhm / (2.0 * std::f64::consts::LN_2) },
        }
    }

    /// The part of its light that a slit (width and position across, arcsec) lets pass at a wavelength, were the slit
    /// infinitely long.
    pub fn transmission(&self, width: f64, slit_across: f64, wavelength: f64) -> f64 {
        let off = slit_across - self.across.at(wavelength);
        self.marginal(wavelength).mass(off - 0.5 * width, off + 0.5 * width)
    }

    /// The part of the light that passes the slit's width that also falls between its ends.
    pub fn caught(&self, slit_length: f64, wavelength: f64) -> f64 {
        let along = self.along.at(wavelength);
        self.marginal(wavelength).mass(-0.5 * slit_length - along, 0.5 * slit_length - along)
    }
}

/// FWHM of a Moffat function with beta = 3 over its alpha: 2 sqrt(2^(1/3) - 1).
const MOFFAT_FWHM: f64 = 1.019_649_057_067_917_3;

/// How the light of a beam lies in the slit plane.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// It fills the slit plane evenly, but for a slope along the slit: the relative change from the middle to the
    /// ends.
    Surface {
        /// Relative change of the brightness from the middle to the positive end of the slit.
        slope: f64,
    },
    /// A star or a galaxy.
    Source(Source),
}

impl Shape {
    /// Whether it is a star or a galaxy.
    pub fn is_source(&self) -> bool {
        matches!(self, Shape::Source(_))
    }

    /// Brightness of a surface at a slit position against that in the middle of the slit; 1 for a source.
    pub fn brightness(&self, slit: f64, slit_length: f64) -> f64 {
        match self {
            Shape::Surface { slope } => 1.0 + slope * slit / (0.5 * slit_length),
            Shape::Source(_) => 1.0,
        }
    }
}

/// A symmetric profile of unit integral on a line, centred at zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Marginal {
    /// Even between minus and plus `half`.
    Even {
        half: f64,
    },
    /// An evenly filled disc, projected.
    Disc {
        radius: f64,
    },
    /// A Moffat function with beta = 3, projected: (1 + x2 / alpha2) to the power of -2.5.
    Moffat {
        alpha: f64,
    },
    Gaussian {
        sigma: f64,
    },
    Exponential {
        scale: f64,
    },
}

impl Marginal {
    /// Its integral from `low` to `high`.
    pub fn mass(&self, low: f64, high: f64) -> f64 {
        (self.cumulated(high) - self.cumulated(low)).max(0.0)
    }

    /// The integral of x times the profile from `low` to `high`.
    pub fn moment(&self, low: f64, high: f64) -> f64 {
        self.cumulated_moment(high) - self.cumulated_moment(low)
    }

    /// Integral from minus infinity.
    fn cumulated(&self, x: f64) -> f64 {
        match *self {
            Marginal::Even { half } => 0.5 + 0.5 * (x / half).clamp(-1.0, 1.0),
            Marginal::Disc { radius } => {
                let t = (x / radius).clamp(-1.0, 1.0);
                0.5 + (t * (1.0 - t * t).sqrt() + math::asin(t)) / std::f64::consts::PI
            }
            Marginal::Moffat { alpha } => {
                let t = x / alpha;
                let q = 1.0 + t * t;
                0.5 + t * (2.0 * t * t + 3.0) / (4.0 * q * q.sqrt())
            }
            Marginal::Gaussian { sigma } => 0.5 + 0.5 * math::erf(x / (sigma * std::f64::consts::SQRT_2)),
            Marginal::Exponential { scale } => {
                let tail = 0.5 * math::exp(-x.abs() / scale);
                if x < 0.0 { tail } else { 1.0 - tail }
            }
        }
    }

    /// An antiderivative of x times the profile.
    fn cumulated_moment(&self, x: f64) -> f64 {
        match *self {
            Marginal::Even { half } => {
                let t = (x / half).clamp(-1.0, 1.0);
                0.25 * half * t * t
            }
            Marginal::Disc { radius } => {
                let t = (x / radius).clamp(-1.0, 1.0);
                let rest = 1.0 - t * t;
                -2.0 * radius * rest * rest.sqrt() / (3.0 * std::f64::consts::PI)
            }
            Marginal::Moffat { alpha } => {
                let q = 1.0 + x * x / (alpha * alpha);
                -0.25 * alpha / (q * q.sqrt())
            }
            Marginal::Gaussian { sigma } => {
                let z = x / sigma;
                -sigma * math::exp(-0.5 * z * z) / (2.0 * std::f64::consts::PI).sqrt()
            }
            Marginal::Exponential { scale } => -0.5 * (x.abs() + scale) * math::exp(-x.abs() / scale),
        }
    }
}
