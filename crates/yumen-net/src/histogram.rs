//! How long things took, counted in fixed buckets: what a histogram of the metrics is made of.
//!
//! It never reads a clock and never allocates: whoever records hands in a duration that was measured
//! anyway. Bucket `i` ends at 2^i µs, the last at infinity, so that two histograms always add up.

use std::{array, cell::Cell, time::Duration};

/// Buckets of every histogram: 25 that end at 1 µs, 2 µs, 4 µs … 16.8 s, and one without an end.
pub const BUCKETS: usize = 26;

/// Where a bucket ends; it holds what took exactly that long, too. `None` for the last one, and for
/// those that do not exist.
pub fn bound(bucket: usize) -> Option<Duration> {
    let finite = bucket < BUCKETS.saturating_sub(1);
    let shift = u32::try_from(bucket).ok().filter(|_| finite)?;
    Some(Duration::from_micros(1_u64.checked_shl(shift)?))
}

/// Which bucket something belongs to that took so long.
pub fn bucket(took: Duration) -> usize {
    let whole = took.as_secs().saturating_mul(1_000_000);
    let micros = whole.saturating_add(u64::from(took.subsec_nanos().div_ceil(1000)));
    // The number of bits of what exceeds the bound of the bucket before.
    let bits = u64::BITS.saturating_sub(micros.saturating_sub(1).leading_zeros());
    usize::try_from(bits).unwrap_or(BUCKETS).min(BUCKETS.saturating_sub(1))
}

/// Durations that one thread has measured.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Cell<u64>; BUCKETS],
    sum_ns: Cell<u64>,
}

impl Histogram {
    /// Counts one duration. The sum wraps after 584 years.
    pub fn record(&self, took: Duration) {
        if let Some(count) = self.buckets.get(bucket(took)) {
            count.set(count.get().wrapping_add(1));
        }
        let ns = took.as_secs().wrapping_mul(1_000_000_000);
        let ns = ns.wrapping_add(u64::from(took.subsec_nanos()));
        self.sum_ns.set(self.sum_ns.get().wrapping_add(ns));
    }

    /// What has been counted so far.
    pub fn read(&self) -> Times {
        let counts = array::from_fn(|at| self.buckets.get(at).map_or(0, Cell::get));
        Times { counts, sum: Duration::from_nanos(self.sum_ns.get()) }
    }
}

/// What a histogram has counted, as plain numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// How many durations fell into each bucket, and into that one only.
    pub counts: [u64; BUCKETS],
    /// All durations together.
    pub sum: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], sum: Duration::ZERO }
    }
}

impl Times {
    /// How many durations there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Adds what another one has counted.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine = mine.saturating_add(*theirs);
        }
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// The bounds of the buckets, and how many durations were not longer; `None` is infinity. Of
    /// every `step` finite buckets the first is given; the others are added to the next one given.
    pub fn cumulative(&self, step: usize) -> impl Iterator<Item = (Option<Duration>, u64)> {
        let mut sum = 0_u64;
        let sums = self.counts.iter().enumerate().map(move |(bucket, count)| {
            sum = sum.saturating_add(*count);
            (bucket, sum)
        });
        let given = move |bucket: usize| bucket.checked_rem(step).unwrap_or(0) == 0;
        sums.filter_map(move |(bucket, sum)| match bound(bucket) {
            None => Some((None, sum)),
            Some(end) => given(bucket).then_some((Some(end), sum)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn us(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    #[test]
    fn a_bucket_holds_what_took_exactly_as_long_as_it_ends_and_nothing_longer() {
        assert_eq!(bucket(Duration::ZERO), 0);
        for at in 0..BUCKETS - 1 {
            let end = bound(at).unwrap();
            assert_eq!(end, us(1 << at));
            assert_eq!(bucket(end), at);
            assert_eq!(bucket(end + Duration::from_nanos(1)), at + 1);
        }
        assert_eq!((bound(BUCKETS - 1), bound(BUCKETS)), (None, None));
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
    }

    #[test]
    fn what_is_recorded_is_read_back_and_adds_up() {
        let (one, two) = (Histogram::default(), Histogram::default());
        for took in [us(1), us(3), us(4), Duration::from_secs(60)] {
            one.record(took);
        }
        two.record(us(4));
        let mut sum = one.read();
        sum.add(&two.read());
        assert_eq!(sum.count(), 5);
        assert_eq!(sum.sum, Duration::from_secs(60) + us(12));
        assert_eq!((sum.counts[0], sum.counts[2], sum.counts[BUCKETS - 1]), (1, 3, 1));
    }

    #[test]
    fn coarser_buckets_count_the_same_durations() {
        let all = Histogram::default();
        for took in [us(1), us(2), us(3), us(5), us(17), Duration::from_secs(100)] {
            all.record(took);
        }
        let times = all.read();
        let fine: Vec<_> = times.cumulative(1).collect();
        assert_eq!(fine.len(), BUCKETS);
        assert_eq!(fine[..4].iter().map(|row| row.1).collect::<Vec<_>>(), [1, 2, 3, 4]);
        let coarse: Vec<_> = times.cumulative(2).collect();
        assert_eq!(coarse.len(), 14);
        assert!(coarse.iter().all(|row| fine.contains(row)), "{coarse:?}");
        assert_eq!(coarse.last(), Some(&(None, 6)));
    }
}
