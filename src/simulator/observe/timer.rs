//! Real time while a night is played at a pace.

use std::time::{Duration, Instant};

/// How often a sleeper looks whether it shall stop.
const NAP: Duration = Duration::from_millis(50);

/// Where the time comes from; tests have their own.
pub trait Timer {
    /// Time since the night began to be played.
    fn elapsed(&self) -> Duration;

    /// Wait for a time, or until `stop` says so.
    fn wait_until(&self, due: Duration, stop: &dyn Fn() -> bool);
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug)]
pub struct RealTimer(Instant);

impl RealTimer {
    /// A clock that starts now.
    pub fn start() -> RealTimer {
        RealTimer(Instant::now())
    }
}

impl Timer for RealTimer {
    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    fn wait_until(&self, due: Duration, stop: &dyn Fn() -> bool) {
        while let Some(left) = due.checked_sub(self.elapsed()).filter(|left| !left.is_zero()) {
            if stop() {
                return;
            }
            std::thread::sleep(left.min(NAP));
        }
    }
}
