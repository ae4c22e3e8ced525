//! The only reader of the clock in the benchmarks.
//!
//! Times are nanoseconds since the clock was started, so that a send time takes eight bytes.
use crate::number::nanos;
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::time::{Duration, Instant, SystemTime};

/// Counts nanoseconds from its start. Copies share the start.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts now.
    #[expect(clippy::disallowed_methods, reason = "this is the clock of the benchmarks")]
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Nanoseconds since the start.
    pub fn ns(&self) -> u64 {
        nanos(self.start.elapsed())
    }
}

/// Nanoseconds on the clock that all processes of a machine share: for times that travel from one
/// to the other.
pub fn shared_ns() -> u64 {
    nanos(duration(clock_gettime(ClockId::Monotonic)))
}

/// CPU time, user and system, that the calling thread has used.
pub fn thread_cpu() -> Duration {
    duration(clock_gettime(ClockId::ThreadCPUTime))
}

fn duration(time: Timespec) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanos)
}

/// Today's date in UTC as `YYYY-MM-DD`, for the name of a results file.
#[expect(clippy::disallowed_methods, reason = "this is the clock of the benchmarks")]
pub fn today() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    date(since.as_secs().checked_div(86_400).unwrap_or(0))
}

/// The civil date of a day counted from 1970-01-01.
fn date(mut days: u64) -> String {
    let mut year = 1970_u64;
    loop {
        let leap =
            year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let february = if leap { 29 } else { 28 };
        for (month, len) in (1..).zip([31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31_u64]) {
            match days.checked_sub(len) {
                Some(rest) => days = rest,
                None => return format!("{year:04}-{month:02}-{:02}", days.saturating_add(1)),
            }
        }
        year = year.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_the_dates_a_calendar_shows() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(11_016), "2000-02-29");
        assert_eq!(date(11_017), "2000-03-01");
        assert_eq!(date(20_453), "2025-12-31");
        assert_eq!(date(47_540), "2100-02-28");
        assert_eq!(date(47_541), "2100-03-01");
    }

    #[test]
    fn the_clock_does_not_go_back() {
        let clock = Clock::start();
        let first = clock.ns();
        assert!(clock.ns() >= first);
    }
}
