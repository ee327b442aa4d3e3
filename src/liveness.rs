//! Is every loop of the daemon still turning? Each loop ticks under its name; whoever is asked compares the last tick
//! with the time that the loop may take. Measured on the monotonic clock, so that a step of the system time kills nobody.
//!
//! What never lives here: what to do about a late loop. The service answers 503, the daemon stops feeding the watchdog.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The pulse of all loops. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Liveness {
    beats: Arc<Mutex<BTreeMap<&'static str, Beat>>>,
}

#[derive(Clone, Copy, Debug)]
struct Beat {
    last: Instant,
    allowed: Duration,
}

/// A loop that has not ticked for longer than it may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Late {
    /// Name of the loop.
    pub name: &'static str,
    /// Time since its last tick.
    pub silent: Duration,
    /// Longest time between ticks that is healthy.
    pub allowed: Duration,
}

impl std::fmt::Display for Late {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "the {} loop has not ticked for {:.1} s, {:.1} s are allowed",
            self.name,
            self.silent.as_secs_f64(),
            self.allowed.as_secs_f64()
        )
    }
}

impl Liveness {
    /// No loop is expected yet.
    pub fn new() -> Liveness {
        Liveness::default()
    }

    /// From now on a loop of this name must tick at least every `allowed`. Counts as its first tick.
    pub fn expect(&self, name: &'static str, allowed: Duration) {
        self.beats().insert(name, Beat { last: Instant::now(), allowed });
    }

    /// The loop is alive. Without effect for a name that is not expected.
    pub fn tick(&self, name: &'static str) {
        if let Some(beat) = self.beats().get_mut(name) {
            beat.last = Instant::now();
        }
    }

    /// The loop ended in good order and is not expected any more.
    pub fn retire(&self, name: &'static str) {
        self.beats().remove(name);
    }

    /// Loops that are late, by name; empty when all is well.
    pub fn late(&self) -> Vec<Late> {
        let now = Instant::now();
        self.beats()
            .iter()
            .map(|(name, beat)| Late { name, silent: now.duration_since(beat.last), allowed: beat.allowed })
            .filter(|late| late.silent > late.allowed)
            .collect()
    }

    /// Seconds since the last tick of every loop, by name.
    pub fn ages(&self) -> Vec<(&'static str, f64)> {
        let now = Instant::now();
        self.beats().iter().map(|(name, beat)| (*name, now.duration_since(beat.last).as_secs_f64())).collect()
    }

    /// A panic while the map was held cannot leave it half-written: every change is one insert or one assignment.
    fn beats(&self) -> MutexGuard<'_, BTreeMap<&'static str, Beat>> {
        self.beats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_is_late_only_after_its_allowance_and_until_it_ticks() {
        let liveness = Liveness::new();
        assert!(liveness.late().is_empty());
        liveness.expect("scheduler", Duration::ZERO);
        liveness.expect("ingest", Duration::from_secs(3600));
        while liveness.late().is_empty() {
            std::thread::yield_now();
        }
        let late = liveness.late();
        assert_eq!(late.len(), 1);
        assert_eq!(late[0].name, "scheduler");
        assert!(late[0].to_string().starts_with("the scheduler loop has not ticked for"));

        liveness.expect("scheduler", Duration::from_secs(3600));
        liveness.clone().tick("scheduler");
        assert!(liveness.late().is_empty());
    }

    #[test]
    fn a_retired_loop_is_never_late_and_an_unknown_tick_is_harmless() {
        let liveness = Liveness::new();
        liveness.expect("delivery", Duration::ZERO);
        liveness.retire("delivery");
        liveness.tick("delivery");
        assert!(liveness.late().is_empty());
        assert!(liveness.ages().is_empty());
    }
}
