//! What time it is for a log, and how it is written there.
//!
//! The only place of this crate that reads a clock. The one thing to know: what a zone's offset is in a
//! second is looked up once for that second, since lines come in thousands to a second.

use crate::time_format::{Moment, TimeFormat};
use jiff::{
    Timestamp,
    tz::{Offset, TimeZone},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

/// Tells a log what time it is. Tests bring their own.
pub trait Clock: Send + Sync {
    /// Nanoseconds since 1970, UTC.
    fn unix_ns(&self) -> i64;
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn unix_ns(&self) -> i64 {
        (**self).unix_ns()
    }
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock of this crate")]
    fn unix_ns(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
    }
}

const SECOND: i64 = 1_000_000_000;
/// Bits of a cached word that hold an offset, and what is added so that none is negative.
const OFFSET_BITS: u32 = 18;
const OFFSET_ZERO: i64 = 1 << 17;

/// Times as the people of one zone read them.
#[derive(Debug)]
pub(crate) struct Times {
    format: TimeFormat,
    zone: TimeZone,
    /// A second since 1970 and its offset, in one word so that it needs no lock. At first impossible.
    cached: AtomicI64,
}

impl Times {
    pub(crate) fn new(format: TimeFormat, zone: TimeZone) -> Self {
        Self { format, zone, cached: AtomicI64::new(i64::MIN) }
    }

    /// Appends the time to `out`.
    pub(crate) fn write(&self, unix_ns: i64, out: &mut String) {
        let at = timestamp(unix_ns);
        let offset = self.offset(at);
        let civil = offset.to_datetime(at);
        if self.format.names_zone() {
            let info = self.zone.to_offset_info(at);
            self.format.write(&Moment { civil, offset, zone: info.abbreviation() }, out);
        } else {
            self.format.write(&Moment { civil, offset, zone: "" }, out);
        }
    }

    /// What clock and calendar of the zone show.
    pub(crate) fn civil(&self, unix_ns: i64) -> jiff::civil::DateTime {
        let at = timestamp(unix_ns);
        self.offset(at).to_datetime(at)
    }

    fn offset(&self, at: Timestamp) -> Offset {
        let second = at.as_second();
        let word = self.cached.load(Ordering::Relaxed);
        if word >> OFFSET_BITS == second {
            let seconds = (word & ((1 << OFFSET_BITS) - 1)).saturating_sub(OFFSET_ZERO);
            let offset = i32::try_from(seconds).ok().and_then(|s| Offset::from_seconds(s).ok());
            return offset.unwrap_or(Offset::UTC);
        }
        let offset = self.zone.to_offset(at);
        let low = i64::from(offset.seconds()).saturating_add(OFFSET_ZERO);
        self.cached.store((second << OFFSET_BITS) | low, Ordering::Relaxed);
        offset
    }
}

fn timestamp(unix_ns: i64) -> Timestamp {
    let nanos = i32::try_from(unix_ns.rem_euclid(SECOND)).unwrap_or_default();
    Timestamp::new(unix_ns.div_euclid(SECOND), nanos).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(times: &Times, unix_ns: i64) -> String {
        let mut out = String::new();
        times.write(unix_ns, &mut out);
        out
    }

    #[test]
    fn the_offset_of_one_second_is_not_taken_for_that_of_another() {
        // Central Europe leaves summer time on 2026-10-25 at 01:00 UTC.
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let times = Times::new(TimeFormat::new("02 15:04:05.000000 MST"), zone);
        let change = 1_792_890_000 * SECOND;
        for _ in 0..2 {
            assert_eq!(text(&times, change - 1_000), "25 02:59:59.999999 CEST");
            assert_eq!(text(&times, change - 500_000_000), "25 02:59:59.500000 CEST");
            assert_eq!(text(&times, change), "25 02:00:00.000000 CET");
        }
        assert_eq!(text(&times, -SECOND / 2), "01 00:59:59.500000 CET");
    }

    #[test]
    fn no_time_makes_it_panic() {
        let times = Times::new(TimeFormat::new("2006 15:04:05.000"), TimeZone::UTC);
        for at in [i64::MIN, -1, 0, i64::MAX] {
            assert!(!text(&times, at).is_empty());
        }
    }
}
