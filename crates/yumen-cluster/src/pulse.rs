//! The pulse of a thread that hosts instances: how late its timers fire, and whether it still runs.
//!
//! One timer of 100 ms per thread. What is late by more than a millisecond or two was kept waiting by
//! something else on that thread. The numbers are atomic, so that whoever watches reads them even
//! while the thread is stuck; nothing here is on a message's path.

use std::{
    array,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use yumen_net::{
    env::Clock,
    histogram::{BUCKETS, Times, bucket},
};

/// Time between two beats.
pub const INTERVAL: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Debug)]
pub struct Pulse {
    start: Instant,
    /// When it last beat, in nanoseconds since the start.
    beat_ns: AtomicU64,
    counts: [AtomicU64; BUCKETS],
    sum_ns: AtomicU64,
    max_ns: AtomicU64,
}

/// How late the beats of a thread were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stalls {
    /// Of every beat.
    pub times: Times,
    /// Of the latest one since the start.
    pub max: Duration,
}

impl Pulse {
    /// A pulse whose first beat is due after [`INTERVAL`].
    pub fn new(now: Instant) -> Arc<Self> {
        Arc::new(Self {
            start: now,
            beat_ns: AtomicU64::new(0),
            counts: array::from_fn(|_| AtomicU64::new(0)),
            sum_ns: AtomicU64::new(0),
            max_ns: AtomicU64::new(0),
        })
    }

    /// Beats for ever. To be run once, on the thread whose pulse it is.
    pub async fn run(self: Arc<Self>, clock: Clock) {
        loop {
            let began = clock.now().mono;
            clock.sleep(INTERVAL).await;
            let now = clock.now().mono;
            self.beat(now, now.saturating_duration_since(began).saturating_sub(INTERVAL));
        }
    }

    /// How long ago the last beat was. Much more than [`INTERVAL`]: the thread is stuck.
    pub fn silence(&self, now: Instant) -> Duration {
        let beat = Duration::from_nanos(self.beat_ns.load(Ordering::Relaxed));
        now.saturating_duration_since(self.start).saturating_sub(beat)
    }

    /// How late it has been so far.
    pub fn stalls(&self) -> Stalls {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let counts = array::from_fn(|at| self.counts.get(at).map_or(0, load));
        let sum = Duration::from_nanos(load(&self.sum_ns));
        Stalls { times: Times { counts, sum }, max: Duration::from_nanos(load(&self.max_ns)) }
    }

    fn beat(&self, now: Instant, late: Duration) {
        let late_ns = nanos(late);
        self.beat_ns.store(nanos(now.saturating_duration_since(self.start)), Ordering::Relaxed);
        self.sum_ns.fetch_add(late_ns, Ordering::Relaxed);
        self.max_ns.fetch_max(late_ns, Ordering::Relaxed);
        if let Some(count) = self.counts.get(bucket(late)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use yumen_net::testing::Sim;

    #[test]
    fn a_thread_that_is_kept_busy_shows_how_long_and_recovers() {
        Sim::run(1, async |sim| {
            let env = sim.env();
            let pulse = Pulse::new(env.clock.now().mono);
            env.spawn.local(Arc::clone(&pulse).run(env.clock.clone()));
            env.clock.sleep(Duration::from_millis(1050)).await;
            let quiet = pulse.stalls();
            assert_eq!((quiet.times.count(), quiet.max), (10, Duration::ZERO));
            // Somebody uses the thread for a second and a half.
            env.clock.skip(Duration::from_millis(1500));
            assert_eq!(pulse.silence(env.clock.now().mono), Duration::from_millis(1550));
            env.clock.sleep(Duration::from_millis(60)).await;
            let stalled = pulse.stalls();
            assert_eq!((stalled.times.count(), stalled.max), (11, Duration::from_millis(1500)));
            assert!(pulse.silence(env.clock.now().mono) < INTERVAL);
            env.spawn.abort_all();
        });
    }
}
