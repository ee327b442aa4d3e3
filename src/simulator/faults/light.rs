//! Faults of the light: what an exposure asks of lamps, sky, mask and shutter, changed.

use rand::RngExt;

use super::Fault;
use crate::simulator::exposure::Exposure;
use crate::simulator::plan::{Shutter, Source};
use crate::simulator::random::{Effect, Seeds};

/// Half of the slit in arcsec, less a little, so that the stars of a crowded slit are seen.
const HALF_SLIT: f64 = 5.5;

/// Change an exposure as the fault says. Faults of another level change nothing here.
pub(in crate::simulator) fn apply(fault: &Fault, exposure: &mut Exposure, seeds: &Seeds) {
    match fault {
        Fault::LampOff => exposure.lamps.clear(),
        Fault::LampDead { lamp } => exposure.lamps.retain(|lit| lit.lamp != *lamp),
        Fault::LampFailing { level: factor } | Fault::SaturatedArc { factor } => {
            for lit in &mut exposure.lamps {
                lit.level *= factor;
            }
        }
        Fault::ShutterStuck { open } => {
            exposure.shutter = if *open { Shutter::StuckOpen } else { Shutter::StuckClosed };
        }
        Fault::BlankField => exposure.sources.clear(),
        Fault::Cloud { magnitudes } => exposure.conditions.cloud += magnitudes,
        Fault::CrowdedSlit { stars, fainter } => crowd(exposure, *stars, *fainter, seeds),
        Fault::OffSlit { arcsec } => {
            for source in &mut exposure.sources {
                source.across += arcsec;
            }
        }
        Fault::TraceAtEdge { arcsec } => {
            // The whole field moves with the target.
            let moved = exposure.sources.first().map_or(0.0, |target| arcsec - target.along);
            for source in &mut exposure.sources {
                source.along += moved;
            }
        }
        Fault::VeryFaint { magnitude } | Fault::VeryBright { magnitude } => {
            if let Some(target) = exposure.sources.first_mut() {
                target.magnitude = Some(*magnitude);
            }
        }
        Fault::Defocus { pixels } => exposure.defocus = *pixels,
        Fault::SlippedMask { arcsec } => exposure.mask_shift = *arcsec,
        // The jump is kept by the schedule, since it lasts beyond the template.
        _ => {}
    }
}

/// More stars, anywhere along the slit. Their places depend on the template only: the field does not change between
/// exposures.
fn crowd(exposure: &mut Exposure, stars: u32, fainter: f64, seeds: &Seeds) {
    let Some(target) = exposure.sources.first().cloned() else { return };
    let mut rng = seeds.stream(Effect::Field, exposure.template as u64, 1);
    for _ in 0..stars {
        let along = rng.random_range(-HALF_SLIT..HALF_SLIT);
        let across = rng.random_range(-0.3..0.3);
        let dimmer = fainter + rng.random_range(-1.0..1.0);
        exposure.sources.push(Source {
            along,
            across,
            magnitude: Some(target.magnitude.unwrap_or(15.0) + dimmer),
            extent: 0.0,
            ..target.clone()
        });
    }
}
