//! Panics in the log.
//!
//! The one thing to know: a panic that somebody catches is a line like any other, and if a client can
//! provoke it, there may be thousands; so only some of each second are written. A panic that ends the
//! process waits until the lines are written, since nobody comes after it.

use crate::{PANIC_TARGET, logs::Logs};
use std::{
    panic::{self, Location, PanicHookInfo},
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

/// How long the end of the process waits for its last lines; finding the names of a large program's
/// functions takes part of it.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// The most panics of one second that are written.
const PANICS_MAX: u32 = 20;
const SECOND_NS: i64 = 1_000_000_000;

/// Has every panic of this process logged, beside what was done with panics before.
pub(crate) fn install(logs: Logs) {
    let before = panic::take_hook();
    let ration = Mutex::new(Ration::default());
    panic::set_hook(Box::new(move |info| {
        // The first thread takes the process with it. Others are caught, or joined by somebody.
        let last = cfg!(panic = "abort") || thread::current().name() == Some("main");
        let now_ns = logs.shared.clock.unix_ns();
        let withheld = ration.lock().unwrap_or_else(PoisonError::into_inner).take(now_ns, last);
        if let Some(withheld) = withheld {
            say(info, withheld);
            before(info);
        }
        if last {
            logs.flush(LAST_WORDS);
        }
    }));
}

fn say(info: &PanicHookInfo<'_>, withheld: u64) {
    let message = info.payload_as_str().unwrap_or("a panic without a message");
    let thread = thread::current();
    let name = thread.name().unwrap_or("?");
    let place = info.location();
    let (file, line) = (place.map(Location::file), place.map(|place| u64::from(place.line())));
    let withheld = (withheld > 0).then_some(withheld);
    tracing::error!(
        target: PANIC_TARGET,
        { panic.file = file, panic.line = line, thread = name, withheld },
        "panicked: {message}"
    );
}

/// What is left of this second's panics.
#[derive(Debug, Default)]
struct Ration {
    since_ns: i64,
    given: u32,
    withheld: u64,
}

impl Ration {
    /// Whether this one is written, and how many before it were not.
    fn take(&mut self, now_ns: i64, last: bool) -> Option<u64> {
        if now_ns.saturating_sub(self.since_ns).saturating_abs() >= SECOND_NS {
            (self.since_ns, self.given) = (now_ns, 0);
        }
        if self.given >= PANICS_MAX && !last {
            self.withheld = self.withheld.saturating_add(1);
            return None;
        }
        self.given = self.given.saturating_add(1);
        Some(std::mem::take(&mut self.withheld))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_panics_is_rationed_and_the_next_one_says_how_many_are_missing() {
        let mut ration = Ration::default();
        let now = 1_000 * SECOND_NS;
        for _ in 0..PANICS_MAX {
            assert_eq!(ration.take(now, false), Some(0));
        }
        assert_eq!(ration.take(now + SECOND_NS - 1, false), None);
        assert_eq!(ration.take(now + SECOND_NS - 1, false), None);
        assert_eq!(ration.take(now + SECOND_NS, false), Some(2));
        assert_eq!(ration.take(now + SECOND_NS, false), Some(0));
        // A clock that jumps back holds nothing back.
        for _ in 0..2 * PANICS_MAX {
            ration.take(now + SECOND_NS, false);
        }
        assert_eq!(ration.take(now - SECOND_NS, false), Some(22));
    }

    #[test]
    fn the_last_panic_of_a_process_is_never_withheld() {
        let mut ration = Ration::default();
        for _ in 0..2 * PANICS_MAX {
            ration.take(0, false);
        }
        assert_eq!(ration.take(0, true), Some(20));
    }
}
