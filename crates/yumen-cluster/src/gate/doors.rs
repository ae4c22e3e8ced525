//! Connections that were refused, in the log: at once, then at most every ten seconds.
//!
//! The acceptor says itself that it cannot accept; what it refuses it only counts. An operator who looks at the log has to learn that clients are turned
//! away, by which limit, and what to do; and not once for each of them.

use super::hall::Hall;
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};
use yumen_net::acceptor::{Counts, ListenerCounts};
use yumen_proto::conn::Now;

/// At least this long between two lines.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// What the log was told. The instances of a gate share it: one of them says it.
#[derive(Debug, Default)]
pub(crate) struct Told {
    listener: AtomicU64,
    address: AtomicU64,
    header: AtomicU64,
}

/// How much was added since the last call.
fn fresh(told: &AtomicU64, counts: &Counts, of: impl Fn(&ListenerCounts) -> &AtomicU64) -> u64 {
    let counted = counts.listeners().iter().map(|listener| of(listener).load(Ordering::Relaxed));
    let all = counted.fold(0, u64::saturating_add);
    all.saturating_sub(told.swap(all, Ordering::Relaxed))
}

impl Hall {
    /// Says what has gone wrong since the last time.
    pub(super) fn report_doors(&self, now: Now) {
        let recently = |at: Instant| now.mono.saturating_duration_since(at) < LOG_EVERY;
        if self.doors_said.get().is_some_and(recently) {
            return;
        }
        let (counts, told) = (&self.plan.counts, &self.plan.told);
        let listener = fresh(&told.listener, counts, |listener| &listener.refused_total);
        let address = fresh(&told.address, counts, |listener| &listener.refused_address);
        if listener > 0 {
            tracing::warn!(
                refused = listener,
                "connections refused: a listener has as many as it may have \
                 (network.*.server.maxConnNum)"
            );
        }
        if address > 0 {
            tracing::warn!(
                refused = address,
                "connections refused: an address has as many as it may have \
                 (yumen.gate.perAddressMax)"
            );
        }
        let header = fresh(&told.header, counts, |listener| &listener.refused_header);
        if header > 0 {
            tracing::warn!(
                refused = header,
                "connections of load balancers refused: they did not begin with a PROXY header within 3 s; \
                 let the load balancer send it, or take its address out of yumen.gate.*.proxyProtocol"
            );
        }
        if listener > 0 || address > 0 || header > 0 {
            self.doors_said.set(Some(now.mono));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_told_once_whoever_asks_and_however_many_listeners_there_are() {
        let (counts, told) = (Counts::new(2), Told::default());
        let refused = || fresh(&told.listener, &counts, |listener| &listener.refused_total);
        assert_eq!(refused(), 0);
        counts.listeners()[0].refused_total.store(3, Ordering::Relaxed);
        counts.listeners()[1].refused_total.store(2, Ordering::Relaxed);
        counts.listeners()[1].refused_address.store(9, Ordering::Relaxed);
        assert_eq!((refused(), refused()), (5, 0));
        counts.listeners()[1].refused_total.store(4, Ordering::Relaxed);
        assert_eq!((refused(), refused()), (2, 0));
    }
}
