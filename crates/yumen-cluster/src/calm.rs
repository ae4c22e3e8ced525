//! Keeps a fault that repeats with every message from filling the log.
//!
//! Pure: the caller passes the time. The one thing to know: the first of a kind is told at once, and
//! what is left out is counted and told with the next.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

/// At most one line of a kind in this time.
const QUIET: Duration = Duration::from_secs(10);

/// One kind of fault, on one instance.
#[derive(Debug, Default)]
pub(crate) struct Calm {
    told: Cell<Option<Instant>>,
    untold: Cell<u64>,
}

impl Calm {
    /// Whether to tell of it now: with how many times it was left out before.
    pub(crate) fn tells(&self, now: Instant) -> Option<u64> {
        let quiet = |told: Instant| now.saturating_duration_since(told) < QUIET;
        if self.told.get().is_some_and(quiet) {
            self.untold.set(self.untold.get().saturating_add(1));
            return None;
        }
        self.told.set(Some(now));
        Some(self.untold.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    fn a_fault_is_told_at_once_and_then_with_what_was_left_out() {
        let (calm, start) = (Calm::default(), Instant::now());
        assert_eq!(calm.tells(start), Some(0));
        assert_eq!(calm.tells(start), None);
        assert_eq!(calm.tells(start + QUIET - Duration::from_nanos(1)), None);
        assert_eq!(calm.tells(start + QUIET), Some(2));
        assert_eq!(calm.tells(start + QUIET), None);
        assert_eq!(calm.tells(start + 3 * QUIET), Some(1));
    }
}
