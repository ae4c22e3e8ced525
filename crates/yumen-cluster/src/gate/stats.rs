//! What a gate instance counts. Plain numbers: one instance is one thread.

use std::cell::Cell;
use yumen_core::status::Code;
use yumen_proto::{
    conn::{CloseReason, HandshakeFault},
    error::WireError,
};

macro_rules! stats {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// Counters of one gate instance, since its start.
        #[derive(Debug, Default)]
        pub(crate) struct Stats {
            $(pub(crate) $name: Cell<u64>,)*
        }

        /// What a gate has counted; of several instances, the sum.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct GateStats {
            $($(#[doc = $doc])* pub $name: u64,)*
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

            /// Why connections have ended: name of the reason and count. The counts add up to
            /// [`GateStats::closed`].
            pub fn closed_by_reason(&self) -> Vec<(&'static str, u64)> {
                let reason = |(name, count): (&'static str, u64)| {
                    name.strip_prefix("closed_").map(|reason| (reason, count))
                };
                self.named().into_iter().filter_map(reason).collect()
            }

            /// Every counter by its name.
            pub fn named(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }

            /// Every name with what it counts.
            pub fn described() -> Vec<(&'static str, &'static str)> {
                vec![$((stringify!($name), concat!($($doc),*).trim_ascii()),)*]
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
    /// Connections closed as soon as they were accepted; the sum of the next three.
    refused,
    /// Of these, connections beyond what their listener may have.
    refused_listener,
    /// Of these, connections beyond what one address may have.
    refused_address,
    /// Of these, connections of load balancers that began with no PROXY header.
    refused_header,
    /// Errors of accepting connections: out of descriptors, mostly.
    accept_errors,
    /// Connections taken over so far: those that are there and those that are closed.
    accepted,
    /// Connections that have ended. Each is counted once more, under the reason it ended for: the
    /// counters that begin with `closed_` add up to this one.
    closed,
    /// Connections that ended because the client ended them.
    closed_gone,
    /// Connections that broke: reset by the client, or out of its reach.
    closed_reset,
    /// Connections that ended because they were silent.
    closed_idle,
    /// Connections that ended because nobody logged in in time.
    closed_login_deadline,
    /// Connections that ended because more bytes were queued for them than may be.
    closed_backlog,
    /// Connections that ended because the client took no byte for too long.
    closed_stalled,
    /// Connections that ended because a packet or message was larger than may be.
    closed_oversize,
    /// Connections that ended because of other nonsense in what the client sent.
    closed_malformed,
    /// WebSocket connections that ended because their frames broke the rules.
    closed_framing,
    /// WebSocket connections refused because the request was not one to upgrade.
    closed_handshake_bad_request,
    /// WebSocket connections refused because their path is not served.
    closed_handshake_path,
    /// WebSocket connections refused because of the page they come from.
    closed_handshake_origin,
    /// WebSocket connections refused because their request was too large.
    closed_handshake_too_large,
    /// Connections refused because their opening handshake, of WebSocket or TLS, took too long.
    closed_handshake_timeout,
    /// Connections to a listener for TLS that ended because what came first was no TLS.
    closed_handshake_not_tls,
    /// Connections that ended because TLS was not agreed upon: versions, or a certificate that the client
    /// does not trust.
    closed_handshake_tls,
    /// Connections that ended because of a limit of the gate other than those above.
    closed_limit,
    /// Connections that ended because the user logged in elsewhere.
    closed_kicked,
    /// Connections that the game closed.
    closed_by_game,
    /// Connections that ended because the gate stopped.
    closed_shutdown,
    /// Connections that ended because of a fault on our side, out of descriptors included.
    closed_internal,
    /// Messages that clients sent.
    messages_in,
    /// Packets queued for clients.
    messages_out,
    /// Packets of clients that were not understood: too short for their header, not exactly one to
    /// a WebSocket message, or of a kind that is not served.
    packets_skipped,
    /// Packets that make no sense as this gate is configured, and seem to be of another layout or
    /// another protocol.
    wrong_layout,
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
    /// Messages sent to another node, because they came back from one that did not have the user, or
    /// never reached one that is gone.
    sent_again,
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
    /// Counts a connection that has ended, under its one reason.
    pub(crate) fn close(&self, reason: CloseReason) {
        bump(&self.closed);
        bump(self.closed_by(reason));
    }

    fn closed_by(&self, reason: CloseReason) -> &Cell<u64> {
        match reason {
            CloseReason::Gone => &self.closed_gone,
            CloseReason::Reset => &self.closed_reset,
            CloseReason::Idle => &self.closed_idle,
            CloseReason::LoginDeadline => &self.closed_login_deadline,
            CloseReason::Backlog => &self.closed_backlog,
            CloseReason::Stalled => &self.closed_stalled,
            CloseReason::Malformed(WireError::TooLarge { .. }) => &self.closed_oversize,
            CloseReason::Malformed(WireError::Framing) => &self.closed_framing,
            CloseReason::Malformed(_) => &self.closed_malformed,
            CloseReason::Handshake(fault) => match fault {
                HandshakeFault::Path => &self.closed_handshake_path,
                HandshakeFault::Origin => &self.closed_handshake_origin,
                HandshakeFault::TooLarge => &self.closed_handshake_too_large,
                HandshakeFault::TimedOut => &self.closed_handshake_timeout,
                HandshakeFault::NotTls => &self.closed_handshake_not_tls,
                HandshakeFault::Tls(_) => &self.closed_handshake_tls,
                HandshakeFault::BadRequest | _ => &self.closed_handshake_bad_request,
            },
            CloseReason::Limit => &self.closed_limit,
            CloseReason::Kicked => &self.closed_kicked,
            CloseReason::ByGame | CloseReason::Done => &self.closed_by_game,
            CloseReason::Shutdown | CloseReason::Moved => &self.closed_shutdown,
            // Whatever else may be added counts as ours until it has a counter of its own.
            CloseReason::Internal | _ => &self.closed_internal,
        }
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use yumen_proto::conn::TlsFault;

    #[test]
    fn each_reason_is_counted_once_and_under_a_name_of_its_own() {
        use CloseReason as Reason;
        let malformed = |error| Reason::Malformed(error);
        let reasons = [
            (Reason::Gone, "gone"),
            (Reason::Reset, "reset"),
            (Reason::Idle, "idle"),
            (Reason::LoginDeadline, "login_deadline"),
            (Reason::Backlog, "backlog"),
            (Reason::Stalled, "stalled"),
            (malformed(WireError::TooLarge { size: 9, max: 1 }), "oversize"),
            (malformed(WireError::TooShort { size: 1 }), "malformed"),
            (malformed(WireError::Framing), "framing"),
            (Reason::Handshake(HandshakeFault::BadRequest), "handshake_bad_request"),
            (Reason::Handshake(HandshakeFault::Path), "handshake_path"),
            (Reason::Handshake(HandshakeFault::Origin), "handshake_origin"),
            (Reason::Handshake(HandshakeFault::TooLarge), "handshake_too_large"),
            (Reason::Handshake(HandshakeFault::TimedOut), "handshake_timeout"),
            (Reason::Handshake(HandshakeFault::NotTls), "handshake_not_tls"),
            (Reason::Handshake(HandshakeFault::Tls(TlsFault::Refused)), "handshake_tls"),
            (Reason::Limit, "limit"),
            (Reason::Kicked, "kicked"),
            (Reason::ByGame, "by_game"),
            (Reason::Shutdown, "shutdown"),
            (Reason::Internal, "internal"),
        ];
        for (reason, name) in reasons {
            assert_eq!(reason.name(), name, "one word for metrics and logs alike");
            let stats = Stats::default();
            stats.close(reason);
            let counted = stats.read().closed_by_reason();
            assert_eq!(counted.len(), reasons.len());
            let counted: Vec<_> = counted.into_iter().filter(|(_, count)| *count > 0).collect();
            assert_eq!((counted, stats.closed.get()), (vec![(name, 1)], 1));
        }
    }
}
