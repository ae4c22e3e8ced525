//! What a gate instance counts. Plain numbers: one instance is one thread.

use std::cell::Cell;
use yumen_core::status::Code;

macro_rules! stats {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters of one gate instance, since its start.
        #[derive(Debug, Default)]
        pub(crate) struct Stats {
            $(pub(crate) $name: Cell<u64>,)*
        }

        /// What a gate has counted; of several instances, the sum.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct GateStats {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Stats {
            pub(crate) fn read(&self) -> GateStats {
                GateStats { $($name: self.$name.get(),)* }
            }
        }

        impl GateStats {
            /// Adds another instance's numbers.
            pub fn add(&mut self, other: &Self) {
                $(self.$name = self.$name.saturating_add(other.$name);)*
            }

            /// Messages of clients that went no further, whatever the reason.
            pub fn dropped(&self) -> u64 {
                let named = self.named();
                let dropped = named.iter().filter(|(name, _)| name.starts_with("dropped_"));
                dropped.map(|(_, count)| *count).fold(0, u64::saturating_add)
            }

            /// Every counter by its name.
            pub fn named(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }
        }
    };
}

stats! {
    /// Connections now.
    connections,
    /// Connections with a user now.
    users,
    /// Sessions that are not read, because of what they have in flight or of a full lane; those that
    /// are read again leave within a second.
    waiting,
    /// Connections beyond a listener's limits, closed at once.
    refused,
    /// Errors of accepting connections: out of descriptors, mostly.
    accept_errors,
    /// Connections that have ended.
    closed,
    /// Connections that ended because they were silent.
    closed_idle,
    /// Connections that ended because nobody logged in.
    closed_login_deadline,
    /// Connections that ended because the peer did not read.
    closed_slow,
    /// Connections that ended because of what the peer sent.
    closed_malformed,
    /// Connections that ended because the user logged in elsewhere.
    closed_kicked,
    /// Connections that ended because the gate stopped.
    closed_shutdown,
    /// Messages that clients sent.
    messages_in,
    /// Packets queued for clients.
    messages_out,
    /// Packets of clients that were not understood: too short for their header, not exactly one to
    /// a WebSocket message, or of a kind that is not served.
    packets_skipped,
    /// Bytes read from clients.
    bytes_in,
    /// Bytes written to clients.
    bytes_out,
    /// Messages nobody serves.
    dropped_unroutable,
    /// Messages that clients may not send: internal routes.
    dropped_internal,
    /// Messages that need a login.
    dropped_unauthorized,
    /// Messages of stateful routes whose user is bound to no node.
    dropped_not_bound,
    /// Messages whose route has no instance in work or busy, or whose instance is gone.
    dropped_unavailable,
    /// Messages beyond a session's bytes in flight, or a lane's.
    dropped_busy,
    /// Messages beyond a session's rate.
    dropped_rate,
    /// Messages that nodes refused.
    refused_by_nodes,
    /// Status replies sent to clients.
    statuses,
    /// Refusals that a client could not be told, because it does not know status replies.
    statuses_unsent,
    /// Packets of nodes for connections or users that are not here, one for each.
    undeliverable,
    /// Commands of peers that a gate does not serve.
    unserved,
    /// Events of connections that could not be sent to a node that wants them.
    events_lost,
    /// Events of connections that no node wants.
    events_unwanted,
    /// Users bound.
    binds,
    /// Duplicate logins resolved.
    duplicates,
    /// Times a session was not read because of what it had in flight.
    held,
}

pub(crate) fn add(counter: &Cell<u64>, count: usize) {
    counter.set(counter.get().wrapping_add(u64::try_from(count).unwrap_or(u64::MAX)));
}

pub(crate) fn bump(counter: &Cell<u64>) {
    counter.set(counter.get().wrapping_add(1));
}

impl Stats {
    /// Where a refusal with this code is counted.
    pub(crate) fn dropped(&self, code: Code) -> &Cell<u64> {
        match code {
            Code::UNROUTABLE => &self.dropped_unroutable,
            Code::ILLEGAL_REQUEST => &self.dropped_internal,
            Code::UNAUTHORIZED => &self.dropped_unauthorized,
            Code::NOT_BOUND => &self.dropped_not_bound,
            Code::BUSY => &self.dropped_busy,
            Code::TOO_MANY_REQUESTS => &self.dropped_rate,
            _ => &self.dropped_unavailable,
        }
    }
}
