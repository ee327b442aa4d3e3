//! The one clock. Nothing else in the project asks the system for the time, so that tests can.

use jiff::Timestamp;

/// Where the time comes from.
pub trait Clock: Send + Sync {
    /// The present time, UTC.
    fn now(&self) -> Timestamp;

    /// The present time in microseconds since 1970 UTC, as the catalogue stores it.
    fn now_us(&self) -> i64 {
        self.now().as_microsecond()
    }
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A time in microseconds as ISO text with milliseconds, for tables and logs.
pub fn iso(us: i64) -> String {
    match Timestamp::from_microsecond(us) {
        Ok(time) => time.strftime("%Y-%m-%dT%H:%M:%S%.3f").to_string(),
        Err(_) => format!("{us} us"),
    }
}
