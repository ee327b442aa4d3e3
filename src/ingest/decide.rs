//! What to do with one look at a file, given what is known of it: a pure function, so that every case can be tested.
//!
//! A file is complete when its structure says so and it has stood still. Standing still is judged by two looks that are
//! `settle` apart, or by one look at a file whose modification is older than that: a backlog must not wait.

use crate::catalogue::files::{KnownFile, Look};

/// Codes of quarantine that have their cause outside the file, which size and time do not show. Tried at every scan.
const TRIED_AGAIN: [&str; 2] = [super::examine::UNREADABLE, super::NOT_RECORDED];

/// How long to wait for a writer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Size and time must stand still for so long, microseconds.
    pub(super) settle_us: i64,
    /// An incomplete file that stands still for so long has been abandoned, microseconds.
    pub(super) deadline_us: i64,
    /// The data are there already and nobody writes: no waiting at all.
    pub(super) existing: bool,
}

/// The next step for a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing has changed since its state was decided.
    Leave,
    /// It waits, and this look brings nothing new before that time (microseconds UTC).
    LeaveUntil(i64),
    /// It is new or has changed: note the look, look again at that time.
    Settle(i64),
    /// Read it.
    Examine {
        /// For how long it is known to have stood still, microseconds.
        still_us: i64,
        /// Has it changed since the last recorded look?
        changed: bool,
    },
}

/// Decide. `now_us` is the time of the look.
pub(super) fn step(known: Option<&KnownFile>, look: &Look, now_us: i64, patience: Patience) -> Step {
    let age_us = now_us.saturating_sub(look.mtime_us);
    let same = known
        .filter(|known| known.state != "gone")
        .filter(|known| known.size == look.size && known.mtime_us == look.mtime_us);
    match same {
        Some(known) if known.state == "waiting" => waiting(known, now_us, patience),
        Some(known) if known.state == "quarantined" && TRIED_AGAIN.contains(&known.code.as_str()) => {
            Step::Examine { still_us: age_us, changed: false }
        }
        Some(_) => Step::Leave,
        None if patience.existing || patience.settle_us == 0 || age_us >= patience.settle_us => {
            Step::Examine { still_us: age_us, changed: true }
        }
        None => Step::Settle(now_us.saturating_add(patience.settle_us)),
    }
}

fn waiting(known: &KnownFile, now_us: i64, patience: Patience) -> Step {
    // Not by the file's own time: an operator who takes an old file out of quarantine gives it the whole time again.
    let still_us = now_us.saturating_sub(known.changed_us);
    if patience.existing {
        return Step::Examine { still_us, changed: false };
    }
    if still_us < 0 {
        // The clock was set back: start to count anew rather than wait for it to catch up.
        return Step::Settle(now_us.saturating_add(patience.settle_us));
    }
    if still_us < patience.settle_us {
        return Step::LeaveUntil(known.changed_us.saturating_add(patience.settle_us));
    }
    // Read since it stood still, and found incomplete: reading it again tells nothing before the deadline.
    let was_read = known.looked_us.saturating_sub(known.changed_us) >= patience.settle_us;
    if was_read && still_us < patience.deadline_us {
        return Step::LeaveUntil(now_us.saturating_add(patience.deadline_us - still_us));
    }
    Step::Examine { still_us, changed: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::FileId;

    const S: i64 = 1_000_000;
    const PATIENCE: Patience = Patience { settle_us: 2 * S, deadline_us: 600 * S, existing: false };
    const NOW: i64 = 1_000_000 * S;

    fn look(size: i64, mtime_us: i64) -> Look {
        Look { path: "/raw/a.fits".to_string(), name: "a.fits".to_string(), size, mtime_us }
    }

    fn known(state: &str, code: &str, changed_us: i64, looked_us: i64) -> KnownFile {
        KnownFile {
            id: FileId(1),
            path: "/raw/a.fits".to_string(),
            size: 100,
            mtime_us: NOW - S,
            state: state.to_string(),
            code: code.to_string(),
            changed_us,
            looked_us,
        }
    }

    #[test]
    fn a_new_file_settles_unless_it_is_old() {
        assert_eq!(step(None, &look(100, NOW - S), NOW, PATIENCE), Step::Settle(NOW + 2 * S));
        assert_eq!(
            step(None, &look(100, NOW - 3 * S), NOW, PATIENCE),
            Step::Examine { still_us: 3 * S, changed: true }
        );
        // The file server's clock is ahead.
        assert_eq!(step(None, &look(100, NOW + 50 * S), NOW, PATIENCE), Step::Settle(NOW + 2 * S));
        let existing = Patience { existing: true, ..PATIENCE };
        assert!(matches!(step(None, &look(100, NOW + 50 * S), NOW, existing), Step::Examine { .. }));
    }

    #[test]
    fn decided_states_stay_until_size_or_time_change() {
        for state in ["accepted", "duplicate", "superseded", "quarantined", "ignored"] {
            let known = known(state, "truncated", 0, 0);
            assert_eq!(step(Some(&known), &look(100, NOW - S), NOW, PATIENCE), Step::Leave, "{state}");
            assert!(matches!(step(Some(&known), &look(101, NOW - S), NOW, PATIENCE), Step::Settle(_)), "{state}");
            assert!(matches!(step(Some(&known), &look(100, NOW - 2), NOW, PATIENCE), Step::Settle(_)), "{state}");
        }
        let gone = known("gone", "", 0, 0);
        assert!(matches!(step(Some(&gone), &look(100, NOW - S), NOW, PATIENCE), Step::Settle(_)));
    }

    #[test]
    fn what_lies_outside_the_file_is_tried_again() {
        let known = known("quarantined", "unreadable", 0, 0);
        assert!(matches!(step(Some(&known), &look(100, NOW - S), NOW, PATIENCE), Step::Examine { .. }));
    }

    #[test]
    fn an_incomplete_file_is_read_once_and_again_at_the_deadline() {
        let look = look(100, NOW - S);
        let at = |changed, looked, now| step(Some(&known("waiting", "", changed, looked)), &look, now, PATIENCE);
        assert_eq!(at(NOW, NOW, NOW + S), Step::LeaveUntil(NOW + 2 * S));
        assert_eq!(at(NOW, NOW, NOW + 2 * S), Step::Examine { still_us: 2 * S, changed: false });
        assert_eq!(at(NOW, NOW + 2 * S, NOW + 9 * S), Step::LeaveUntil(NOW + 600 * S));
        assert!(matches!(at(NOW, NOW + 2 * S, NOW + 600 * S), Step::Examine { .. }));
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_stall() {
        let look = look(100, NOW - S);
        let waiting = known("waiting", "", NOW, NOW);
        assert_eq!(step(Some(&waiting), &look, NOW - 3600 * S, PATIENCE), Step::Settle(NOW - 3598 * S));
    }
}
