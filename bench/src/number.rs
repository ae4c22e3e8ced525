//! The few number conversions that figures need.
//!
//! Rounding is fine here and nowhere else: these values are printed, never sent or indexed with.
use std::time::Duration;

/// The nearest float. Exact below 2^53, which no count of a benchmark reaches.
#[expect(clippy::as_conversions, reason = "a figure to print; std has no lossy From")]
pub(crate) fn float(value: u64) -> f64 {
    value as f64
}

/// The length of a collection as a count.
pub(crate) fn count(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// Whole nanoseconds; 584 years at most.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// `part / whole`, or 0 where there is no whole.
pub(crate) fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// Microseconds for `count` pieces of work: the mean of each, or 0 where there was none.
pub(crate) fn micros_each(total: Duration, count: u64) -> f64 {
    ratio(total.as_secs_f64() * 1e6, float(count))
}
