//! From flat fields to the response of every pixel.
//!
//! What lives here: frames of one lamp combined with their exposures ([`combine`]), light scattered between the orders
//! ([`scatter`]), the smooth light of the lamp along every order ([`blaze`], on splines of [`spline`], and how well it
//! is known, [`structure`]), and what is left
//! when it is divided out ([`response`]).
//! What never lives here: which lamp it was, and where orders were found.
//!
//! Coordinates are those of [`super::orders`]: `b` along the dispersion, `a` along the slit, unbinned.

pub mod blaze;
pub mod combine;
pub mod response;
pub mod scatter;
pub mod spline;
pub mod structure;
