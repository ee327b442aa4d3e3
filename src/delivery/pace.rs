//! How long the outbox waits before it tries again.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg32;

use crate::config::ArchiveConfig;

/// Waiting times of an outbox.
#[derive(Clone, Debug, PartialEq)]
pub struct Pace {
    /// First pause after a failure; doubles with every further one.
    pub first: Duration,
    /// Longest pause.
    pub longest: Duration,
    /// From an answer that never came to the first look at the other side.
    pub unknown_wait: Duration,
    /// Between the two looks that must find nothing before an item is sent again.
    pub unknown_again: Duration,
    /// Between looks at an item that the other side has accepted and not stored yet.
    pub poll: Duration,
    /// How long such an item may take before a person is asked.
    pub buffered_longest: Duration,
    /// How long a stopping daemon waits for the item at hand.
    pub stop_grace: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            first: Duration::from_secs(5),
            longest: Duration::from_secs(15 * 60),
            unknown_wait: Duration::from_secs(10),
            unknown_again: Duration::from_secs(30),
            poll: Duration::from_secs(30),
            buffered_longest: Duration::from_secs(6 * 3600),
            stop_grace: Duration::from_secs(10),
        }
    }
}

impl Pace {
    /// The default pace with the configured time between looks.
    pub fn of(archive: &ArchiveConfig) -> Pace {
        // A value that is no duration was refused when the configuration was checked; the default serves then.
        match Duration::try_from_secs_f64(archive.poll_s) {
            Ok(poll) => Pace { unknown_again: poll, poll, ..Pace::default() },
            Err(_) => Pace::default(),
        }
    }
}

/// Exponential pauses with jitter, so that many items or daemons do not come back at the same moment.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
    random: Pcg32,
}

impl Backoff {
    pub(super) fn new(pace: &Pace, seed: u64) -> Backoff {
        Backoff { first: pace.first, longest: pace.longest, random: Pcg32::seed_from_u64(seed) }
    }

    /// The pause after the `failures`-th failure in a row, counted from 1.
    pub(super) fn pause(&mut self, failures: i64) -> Duration {
        let doublings = i32::try_from(failures.saturating_sub(1).clamp(0, 40)).unwrap_or(40);
        let seconds = self.first.as_secs_f64() * 2f64.powi(doublings) * self.random.random_range(0.75..1.25);
        Duration::from_secs_f64(seconds.min(self.longest.as_secs_f64()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let pace = Pace::default();
        let mut backoff = Backoff::new(&pace, 7);
        let seconds: Vec<f64> = (1..=12).map(|failures| backoff.pause(failures).as_secs_f64()).collect();
        assert!((3.75..6.25).contains(&seconds[0]), "{seconds:?}");
        assert!((15.0..25.0).contains(&seconds[2]), "{seconds:?}");
        assert_eq!(seconds[11], 900.0);
        assert!(backoff.pause(i64::MAX) == pace.longest);
    }
}
